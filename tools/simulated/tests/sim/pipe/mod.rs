//! The pipe between two nodes that the test drives by hand, byte for byte.
//!
//! A [`Pair`] has the pipe's loop and two [`TestNode`]s. Each node has a version of its own, so a test sees whose facts
//! the pipe states. The bytes that a node receives are compared with bytes that the library's encoder did not produce.

mod answers;
mod joining;
mod losses;
mod passing;
mod pressure;

use peerloop::Config;
use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::internals::net::Net;
use peerloop::relay::pipe::{Pipe, PipeReport, Side, SideState};
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Driver, RunOutcome, World};
use peerloop::time::Instant;
use peerloop::wire::{NetAddress, Version};
use peerloop_testkit::bytes::{commands, frame, frames, protoconf, verack, version};
use peerloop_testkit::simulated::{RawPeer, config, raw_link};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

/// A node that is driven by hand. It accepts one connection at a time.
struct TestNode {
    raw: RawPeer,
    address: SocketAddr,
    /// The frame of the node's `version`.
    version: Vec<u8>,
    protoconf: Vec<u8>,
}

impl TestNode {
    fn new(world: &World, version: Vec<u8>) -> Self {
        let mut raw = RawPeer::new(world);
        let address = raw.listen();
        Self { raw, address, version, protoconf: protoconf() }
    }

    /// Closes the connection and forgets it.
    fn close(&mut self) {
        self.raw.close();
        self.raw.has_seen_end = false;
    }

    /// Writes as much of `bytes` as the connection accepts, and returns how much.
    fn write(&mut self, bytes: &[u8]) -> usize {
        match self.raw.net.write(raw_link(), bytes) {
            Ok(written) => written,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                0
            }
        }
    }
}

/// A pipe and its two nodes.
struct Pair {
    world: World,
    /// The pipe's loop, whose invariants are checked in each turn.
    pipe: Checked<Pipe>,
    nodes: [TestNode; 2],
}

impl Pair {
    /// Returns a pair whose probes have not been accepted yet.
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        Self::dialling(config, |address| vec![address])
    }

    /// Returns a pair whose first node has the addresses that `list` returns for its own one.
    fn dialling(config: Config, list: impl FnOnce(SocketAddr) -> Vec<SocketAddr>) -> Self {
        let world = World::new(1, Instant::ZERO);
        let nodes = [TestNode::new(&world, version()), TestNode::new(&world, other_version())];
        let addresses = [list(nodes[0].address), vec![nodes[1].address]];
        let pipe = Checked::new(&world, world.host(), config, Pipe::new(addresses)).unwrap().with_calls_per_sweep(0);
        let mut pair = Self { world, pipe, nodes };
        pair.settle();
        pair
    }

    /// Returns a pair whose nodes are joined, and have read all that they received until then.
    fn joined() -> Self {
        Self::joined_with(config())
    }

    fn joined_with(config: Config) -> Self {
        let mut pair = Self::with(config);
        Side::BOTH.into_iter().for_each(|side| pair.probe(side));
        Side::BOTH.into_iter().for_each(|side| drop(pair.connect(side)));
        assert!(pair.report().is_joined(), "{:?}", pair.report());
        pair
    }

    fn node(&mut self, side: Side) -> &mut TestNode {
        &mut self.nodes[side.index()]
    }

    fn settle(&mut self) {
        self.run_for(Duration::ZERO);
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        assert_eq!(Driver::new(&self.world).run_until(until, &mut [&mut self.pipe]).unwrap(), RunOutcome::TimeOver);
    }

    fn report(&self) -> PipeReport {
        self.pipe.handler().report(self.world.now())
    }

    fn states(&self) -> [SideState; 2] {
        self.report().sides.map(|side| side.state)
    }

    /// Accepts the next connection, completes its handshake, and returns the frames of the pipe's greeting.
    fn greet(&mut self, side: Side) -> Vec<(String, Vec<u8>)> {
        self.node(side).raw.accept();
        self.settle();
        let node = self.node(side);
        let greeting = [&node.version[..], &verack(), &node.protoconf].concat();
        node.raw.send(&greeting);
        frames(&self.receive(side))
    }

    /// Accepts a probe, completes it, and checks that the pipe closes it.
    fn probe(&mut self, side: Side) {
        let greeting = self.greet(side);
        let names: Vec<_> = greeting.iter().map(|(command, _)| command.as_str()).collect();
        assert_eq!(names, ["version", "verack", "protoconf", "sendheaders"]);
        let node = self.node(side);
        assert!(node.raw.has_seen_end, "the probe stays open");
        node.close();
        self.settle();
    }

    /// Accepts a connection, completes its handshake, and returns the pipe's `version` and the frames after the
    /// greeting.
    fn connect(&mut self, side: Side) -> (Version, Vec<u8>) {
        self.node(side).raw.accept();
        self.settle();
        let hello = self.receive(side);
        assert_eq!(commands(&hello), ["version"]);
        let node = self.node(side);
        let greeting = [&node.version[..], &verack(), &node.protoconf].concat();
        node.raw.send(&greeting);
        let mut received = self.receive(side);
        let greeting_len = verack().len() + protoconf().len() + 24;
        assert_eq!(commands(&received[..greeting_len]), ["verack", "protoconf", "sendheaders"]);
        (Version::decode(&hello[24..]).unwrap(), received.split_off(greeting_len))
    }

    /// Closes a node's connection, and accepts the next one after the pause. Returns the frames after the greeting.
    fn reconnect(&mut self, side: Side) -> Vec<u8> {
        self.node(side).close();
        self.settle();
        while self.report().side(side).state == SideState::Waiting {
            self.run_for(Duration::from_millis(10));
        }
        self.connect(side).1
    }

    /// Returns everything that has arrived at a node.
    fn receive(&mut self, side: Side) -> Vec<u8> {
        let mut received = Vec::new();
        loop {
            self.settle();
            let more = self.node(side).raw.receive();
            if more.is_empty() {
                return received;
            }
            received.extend(more);
        }
    }

    /// Sends bytes that the connection has room for, and lets the pipe pass them on.
    fn send(&mut self, side: Side, bytes: &[u8]) {
        self.node(side).raw.send(bytes);
        self.settle();
    }

    /// Sends from A until the connection accepts no more, while B reads nothing. Returns the number of bytes sent, and
    /// the largest number of bytes that the pipe held.
    fn fill(&mut self, stream: &[u8]) -> (usize, usize) {
        let (mut sent, mut max_held) = (0, 0);
        loop {
            let written = self.node(Side::A).write(&stream[sent..]);
            sent += written;
            self.settle();
            max_held = max_held.max(self.report().side(Side::A).held_bytes);
            assert!(sent < stream.len(), "the source was never paused");
            if written == 0 {
                return (sent, max_held);
            }
        }
    }

    /// Sends `bytes` from a node as fast as they are accepted, while the opposite node reads. Returns what it read.
    fn transfer(&mut self, from: Side, bytes: &[u8]) -> Vec<u8> {
        let (mut sent, mut received) = (0, Vec::new());
        while sent < bytes.len() {
            sent += self.node(from).write(&bytes[sent..]);
            received.extend(self.receive(from.other()));
        }
        received.extend(self.receive(from.other()));
        received
    }
}

/// The invariant about marks. It is checked only for messages that contain their mark, which no node sends.
const MARKS: u8 = 45;

impl Drop for Pair {
    /// Checks that every other invariant of the loop held.
    fn drop(&mut self) {
        let violations = self.pipe.violations();
        let broken = violations.iter().find(|violation| violation.invariant != MARKS);
        if let (Some(broken), false) = (broken, std::thread::panicking()) {
            panic!("{broken}");
        }
    }
}

/// Returns the `version` of the second node. It differs from the first node's in every fact.
fn other_version() -> Vec<u8> {
    let mut other = Version::decode(&version()[HEADER_LEN_BYTES..]).unwrap();
    (other.protocol_version, other.services, other.start_height) = (70_015, 0x25, Some(777));
    (other.user_agent, other.relay) = (Some((*b"/Bitcoin SV:9.9.9/").into()), Some(false));
    other.receiver = NetAddress::UNSPECIFIED;
    let mut payload = Vec::new();
    other.encode(&mut payload);
    frame("version", &payload)
}

/// Returns bytes that do not repeat with a short period, so that a test detects a misplaced part.
fn pattern(seed: u64, len_bytes: usize) -> Vec<u8> {
    let byte = |at: u64| (at.wrapping_add(seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (0..len_bytes as u64).map(byte).collect()
}

/// Returns a `getdata`, `notfound` or `inv` with one item per hash byte.
fn inventory(command: &str, items: &[(u32, [u8; 32])]) -> Vec<u8> {
    let mut payload = vec![u8::try_from(items.len()).unwrap()];
    for (kind, hash) in items {
        payload.extend(kind.to_le_bytes());
        payload.extend(hash);
    }
    frame(command, &payload)
}
