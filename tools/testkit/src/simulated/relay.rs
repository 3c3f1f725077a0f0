//! A relay in the virtual world: a [`Scene`] has a relay, an upstream with a submitting and a listening link, and leaf
//! peers. The upstream and the leaf peers are driven by hand, byte by byte.

use super::{RawPeer, config};
use crate::bytes::{commands, frame, frames, verack, version};
use peerloop::api::Pending;
use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::relay::{
    BlockRelayed, IncomingTransaction, LargeTransaction, PolicyDecision, Relay, RelayConfig, RelayCounts, RelayEvent,
    RelayPolicy, RelayRequest, RelayStats, RelayStep, SubmitReport, TrustMode,
};
use peerloop::sim::{Actor, Conditions, Driver, RunOutcome, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::Hash256;
use peerloop::{Config, Ctx, Reactor};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

/// The submitting and the listening link of an upstream.
pub const SUBMITTING: u64 = 0;
pub const LISTENING: u64 = 1;

/// A policy that records all events, and decides as it is set.
#[derive(Debug, Default)]
pub struct Recorder {
    pub events: Vec<RelayEvent>,
    pub blocks: Vec<BlockRelayed>,
    pub decision: PolicyDecision,
}

impl RelayPolicy for Recorder {
    fn on_transaction(&mut self, _ctx: &mut Ctx<'_>, transaction: IncomingTransaction<'_>) -> PolicyDecision {
        assert_eq!(Hash256::of(transaction.payload), transaction.txid);
        self.decision
    }

    fn on_large_transaction(&mut self, _ctx: &mut Ctx<'_>, transaction: LargeTransaction<'_>) -> PolicyDecision {
        let payload: Vec<u8> = transaction.parts().flatten().collect();
        assert_eq!((Hash256::of(&payload), payload.len() as u64), (transaction.txid, transaction.len_bytes()));
        self.decision
    }

    fn on_relay_event(&mut self, _ctx: &mut Ctx<'_>, event: &RelayEvent) {
        self.events.push(event.clone());
    }

    fn on_block_relayed(&mut self, _ctx: &mut Ctx<'_>, block: &BlockRelayed) {
        self.blocks.push(*block);
    }
}

/// A node that accepts the relay's connections and is driven by hand.
pub struct Upstream {
    pub net: SimNet,
    pub address: SocketAddr,
    pub links: u64,
    /// The frame of its `version`.
    pub version: Vec<u8>,
}

impl Upstream {
    pub fn new(world: &World) -> Self {
        let mut net = world.host();
        let address = net.listen(0, SocketAddr::new(net.ip(), 18_444)).unwrap();
        Self { net, address, links: 0, version: version() }
    }

    /// Accepts the connections that wait, and sends the greeting on each.
    pub fn accept(&mut self) {
        loop {
            match self.net.accept(0) {
                Ok((socket, _)) => {
                    self.net.attach(LinkId::from_u64(self.links), socket).unwrap();
                    self.send(self.links, &[&self.version[..], &verack()].concat());
                    self.links += 1;
                }
                Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }

    pub fn send(&mut self, link: u64, bytes: &[u8]) {
        assert_eq!(self.net.write(LinkId::from_u64(link), bytes).unwrap(), bytes.len());
    }

    pub fn receive(&mut self, link: u64) -> Vec<u8> {
        let (mut received, mut block) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(len @ 1..) = self.net.read(LinkId::from_u64(link), &mut block) {
            received.extend_from_slice(&block[..len]);
        }
        received
    }

    pub fn close(&mut self, link: u64) {
        self.net.close(LinkId::from_u64(link));
    }
}

/// A relay, its upstream and the world.
pub struct Scene {
    pub world: World,
    pub relay: Reactor<SimNet, Relay<Recorder>>,
    pub address: SocketAddr,
    pub upstream: Upstream,
}

impl Scene {
    pub fn new(trust: TrustMode) -> Self {
        Self::with(|config| config.with_trust(trust), config(), Conditions::default())
    }

    pub fn with(change: impl FnOnce(RelayConfig) -> RelayConfig, config: Config, conditions: Conditions) -> Self {
        Self::with_version(change, config, conditions, version())
    }

    /// Returns a scene whose upstream sends this `version`.
    pub fn with_version(
        change: impl FnOnce(RelayConfig) -> RelayConfig,
        config: Config,
        conditions: Conditions,
        version: Vec<u8>,
    ) -> Self {
        let world = World::new(1, Instant::ZERO);
        world.set_conditions(conditions);
        let upstream = Upstream { version, ..Upstream::new(&world) };
        let settings = change(RelayConfig::new(vec![upstream.address]));
        let relay = Relay::with_policy(settings, Recorder::default());
        let mut relay = Reactor::with_net(config, world.host(), relay).unwrap();
        let address = SocketAddr::new(relay.net().ip(), 18_444);
        relay.listen(address).unwrap();
        let mut scene = Self { world, relay, address, upstream };
        scene.connect_upstream();
        scene
    }

    /// Completes the handshakes of the upstream's links, reads the relay's greetings, and answers its requests for
    /// headers: the upstream has none.
    pub fn connect_upstream(&mut self) {
        self.settle();
        let before = self.upstream.links;
        self.upstream.accept();
        self.settle();
        for link in before..self.upstream.links {
            let greeting = commands(&self.upstream.receive(link));
            assert_eq!(greeting[..4], ["version", "verack", "protoconf", "sendheaders"]);
            if greeting[4..].iter().any(|command| command == "getheaders") {
                self.upstream.send(link, &frame("headers", &[0]));
            }
        }
        self.settle();
    }

    /// Adds a leaf, completes its handshake and reads the relay's greeting.
    pub fn leaf(&mut self) -> RawPeer {
        self.leaf_with(&version())
    }

    pub fn leaf_with(&mut self, version: &[u8]) -> RawPeer {
        let mut leaf = RawPeer::dialling(&self.world, self.address);
        self.settle();
        leaf.send(version);
        leaf.send(&verack());
        let greeting = self.drain(&mut leaf);
        assert_eq!(commands(&greeting), ["version", "verack", "protoconf", "sendheaders"]);
        leaf
    }

    /// Connects a second upstream, and reads the relay's greetings.
    pub fn second_upstream(&mut self) -> Upstream {
        let mut second = Upstream::new(&self.world);
        let upstreams = vec![self.upstream.address, second.address];
        self.relay.handle().request(RelayRequest::set_upstreams(upstreams)).expect("the loop runs");
        self.settle();
        second.accept();
        self.settle();
        for link in 0..second.links {
            second.receive(link);
        }
        second
    }

    /// Closes a leaf, connects its host again, and completes the handshake.
    pub fn reconnect(&mut self, leaf: &mut RawPeer) {
        leaf.close();
        self.settle();
        leaf.has_seen_end = false;
        leaf.dial(self.address);
        self.settle();
        leaf.send(&[version(), verack()].concat());
        self.drain(leaf);
    }

    pub fn settle(&mut self) {
        self.run_for(Duration::ZERO);
    }

    pub fn run_for(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.relay];
        assert_eq!(Driver::new(&self.world).run_until(until, actors).unwrap(), RunOutcome::TimeOver);
    }

    /// Runs the relay and reads a leaf's bytes until no more arrive at this moment.
    pub fn drain(&mut self, leaf: &mut RawPeer) -> Vec<u8> {
        leaf.receive_all(|| self.settle())
    }

    /// Returns the messages that a leaf receives at this moment.
    pub fn received(&mut self, leaf: &mut RawPeer) -> Vec<(String, Vec<u8>)> {
        frames(&self.drain(leaf))
    }

    /// Sends bytes on one of the upstream's links, and returns the relay's messages on that link.
    pub fn ask_upstream(&mut self, link: u64, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        self.upstream.send(link, bytes);
        self.heard(link)
    }

    /// Returns the relay's messages on one of the upstream's links.
    pub fn heard(&mut self, link: u64) -> Vec<(String, Vec<u8>)> {
        self.settle();
        frames(&self.upstream.receive(link))
    }

    /// Lets a leaf send bytes, and returns the relay's messages to it.
    pub fn ask(&mut self, leaf: &mut RawPeer, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        leaf.send(bytes);
        self.received(leaf)
    }

    /// Announces a transaction on the upstream's listening link, and serves it on request.
    pub fn announce(&mut self, transaction: &[u8]) {
        let answer = self.ask_upstream(LISTENING, &inv(&[transaction]));
        assert_eq!(answer, [message("getdata", &items(&[transaction]))]);
        self.upstream.send(LISTENING, &tx(transaction));
        self.settle();
    }

    pub fn stats(&self) -> RelayStats {
        self.relay.handler().stats()
    }

    pub fn counts(&self) -> RelayCounts {
        self.stats().counts
    }

    pub fn submit(&mut self, transaction: &[u8]) -> Pending<SubmitReport> {
        let (request, pending) = RelayRequest::submit(transaction.to_vec());
        self.relay.handle().request(request).unwrap();
        self.settle();
        pending
    }

    /// Returns the steps of a transaction so far.
    pub fn steps(&self, transaction: &[u8]) -> Vec<RelayStep> {
        let events = self.relay.handler().policy().events.iter();
        let of_it = events.filter(|event| event.txid == Hash256::of(transaction));
        of_it.map(|event| event.step.clone()).collect()
    }
}

/// Returns a small transaction that differs for each number.
pub fn transaction(number: u32) -> Vec<u8> {
    sized_transaction(number, 3)
}

/// Returns a transaction with an unlocking script of this length, below 253 bytes.
pub fn sized_transaction(number: u32, script_len: u8) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 1];
    bytes.extend_from_slice(&[7; 28]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, script_len]);
    bytes.extend(vec![0x51; script_len.into()]);
    bytes.extend_from_slice(&[0xff; 4]);
    bytes.extend_from_slice(&[1, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0x51]);
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// Returns a transaction with an unlocking script of this length, of at least 253 bytes.
pub fn large_transaction(number: u32, script_len: u32) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 1];
    bytes.extend_from_slice(&[7; 28]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0]);
    match u16::try_from(script_len) {
        Ok(len) => bytes.extend_from_slice(&[&[0xfd][..], &len.to_le_bytes()].concat()),
        Err(_) => bytes.extend_from_slice(&[&[0xfe][..], &script_len.to_le_bytes()].concat()),
    }
    bytes.extend(vec![0x51; script_len as usize]);
    bytes.extend_from_slice(&[0xff; 4]);
    bytes.extend_from_slice(&[1, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0x51]);
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// Returns the payload of an inventory of transactions.
pub fn items(transactions: &[&[u8]]) -> Vec<u8> {
    let mut payload = match transactions.len() {
        count @ ..253 => vec![count as u8],
        count => [&[0xfd][..], &(count as u16).to_le_bytes()].concat(),
    };
    for transaction in transactions {
        payload.extend_from_slice(&[1, 0, 0, 0]);
        payload.extend_from_slice(Hash256::of(transaction).as_bytes());
    }
    payload
}

pub fn message(command: &str, payload: &[u8]) -> (String, Vec<u8>) {
    (command.to_owned(), payload.to_vec())
}

pub fn inv(transactions: &[&[u8]]) -> Vec<u8> {
    frame("inv", &items(transactions))
}

pub fn getdata(transactions: &[&[u8]]) -> Vec<u8> {
    frame("getdata", &items(transactions))
}

pub fn tx(transaction: &[u8]) -> Vec<u8> {
    frame("tx", transaction)
}

/// Returns a `reject` of a transaction.
pub fn reject(transaction: &[u8], code: u8) -> Vec<u8> {
    frame("reject", &[&[2][..], b"tx", &[code, 3], b"bad", Hash256::of(transaction).as_bytes()].concat())
}

/// Returns the hashes of all items of all messages of this kind, in order.
pub fn hashes(messages: &[(String, Vec<u8>)], command: &str) -> Vec<Hash256> {
    let payloads = messages.iter().filter(|(name, _)| name == command).map(|(_, payload)| payload);
    payloads
        .flat_map(|payload| {
            let count_len = if payload[0] < 253 { 1 } else { 3 };
            payload[count_len..].chunks(36).map(|item| Hash256::from_bytes(item[4..].try_into().unwrap()))
        })
        .collect()
}
