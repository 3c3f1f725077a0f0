//! Messages that are fed or arrive in parts: order, errors, closes and back-pressure.
//!
//! The node under test runs [`Task`]s, feeds a [`Source`] as far as its peer accepts it, can relay received blocks to
//! another peer, and records the events and messages as [`Seen`]. Its output is compared with bytes that the library's
//! encoder did not produce.

mod broadcast;
mod ends;
mod feeding;
mod marks;
mod order;
mod pressure;
mod pulls;
mod replies;

use bytes::Bytes;
use peerloop::api::{Delivery, Pending};
use peerloop::error::{CloseReason, Disconnect, RequestError};
use peerloop::internals::framer::ChecksumVerdict;
use peerloop::protocol::CommandName;
use peerloop::sim::{Actor, Conditions, Driver, RunOutcome, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::{Header, MessageRef};
use peerloop::{Chunk, Config, Ctx, Event, Frame, Handler, PeerId, Reactor};
use peerloop_testkit::bytes::{commands, frames, verack, version};
use peerloop_testkit::simulated::{RawPeer, config};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Pong { nonce: u64, planned: Instant, sent: Instant },
    Message(String, Vec<u8>),
    Streamed(ChecksumVerdict),
    Cut { received: u64, reason: CloseReason },
    Closed(CloseReason),
    Written { mark: u64, at: Instant },
}

/// The parts of a payload. The node feeds them as far as `peer` accepts them, and continues when the peer is writable.
#[derive(Debug)]
struct Source {
    peer: PeerId,
    parts: VecDeque<Bytes>,
}

/// An action to run inside the loop.
struct Task(Box<dyn FnOnce(&mut Ctx<'_>) + Send>);

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

#[derive(Debug, Default)]
struct Streamer {
    ready: Vec<PeerId>,
    seen: Vec<Seen>,
    writable: usize,
    /// The payload of the current or last message received in parts.
    received: Vec<u8>,
    source: Option<Source>,
    /// Whether the handler pauses the sender at the next chunk. The pause clears this flag.
    pauses: bool,
    /// The peer to which blocks are relayed.
    relays_to: Option<PeerId>,
    /// The sender of a relayed part, and the rest of the part, which the other peer has not accepted yet.
    kept: Option<(PeerId, Bytes)>,
    /// The length of the longest queue seen after a part was fed, in bytes.
    max_waiting: usize,
    /// Whether to abort the sender's connection at each message's header.
    aborts_at_header: bool,
    /// Whether to abort the sender's connection at the first chunk.
    aborts_at_chunk: bool,
    /// The reply to the next message: a frame, or the payload of a block that is fed as one part.
    answers: Option<Bytes>,
    /// Whether the reply is the payload of a block.
    answers_in_parts: bool,
    /// Actions to run inside `on_message`, one for each message that arrives.
    replies: VecDeque<Task>,
    /// Each offer of room so far: the peer, and the number of free bytes.
    pulled: Vec<(PeerId, usize)>,
    /// Actions to run inside `on_pull`, one for each call.
    on_pull: VecDeque<Task>,
}

impl Streamer {
    fn feed_source(&mut self, ctx: &mut Ctx<'_>) {
        let Some(Source { peer, parts }) = &mut self.source else { return };
        while let Some(part) = parts.front_mut() {
            ctx.feed_body(*peer, part).unwrap();
            self.max_waiting = self.max_waiting.max(waiting(ctx, *peer));
            if !part.is_empty() {
                return;
            }
            parts.pop_front();
        }
    }

    fn relay(&mut self, ctx: &mut Ctx<'_>, from: PeerId, mut part: Bytes) {
        let Some(to) = self.relays_to else { return };
        ctx.feed_body(to, &mut part).unwrap();
        if !part.is_empty() {
            assert_eq!(self.kept, None, "a chunk arrived from a paused peer");
            self.kept = Some((from, part));
            ctx.pause(from);
        }
        self.max_waiting = self.max_waiting.max(waiting(ctx, to));
    }
}

impl Handler for Streamer {
    type Request = Task;

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        self.seen.push(match event {
            Event::Ready { .. } => return self.ready.push(peer),
            Event::Pong { nonce, planned, sent, .. } => Seen::Pong { nonce, planned, sent },
            Event::BodyCut { received, reason, .. } => Seen::Cut { received, reason },
            Event::Closed { reason, .. } => Seen::Closed(reason),
            Event::Written { mark, at } => Seen::Written { mark, at },
            _ => return,
        });
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        if self.aborts_at_header {
            ctx.abort(peer, Disconnect::Done);
        }
        if header.command != CommandName::BLOCK {
            return Delivery::Buffer;
        }
        self.received.clear();
        if let Some(to) = self.relays_to {
            ctx.begin_body(to, header).unwrap();
        }
        Delivery::Chunks
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        self.seen.push(Seen::Message(frame.command().to_string(), frame.payload().to_vec()));
        match self.answers.take() {
            Some(payload) if self.answers_in_parts => {
                ctx.begin_body(peer, &Header::of(CommandName::BLOCK, &payload)).unwrap();
                self.source = Some(Source { peer, parts: [payload].into() });
                self.feed_source(ctx);
            }
            Some(frame) => ctx.send_shared(peer, &frame).unwrap(),
            None => {}
        }
        if let Some(Task(reply)) = self.replies.pop_front() {
            reply(ctx);
        }
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        assert_eq!(chunk.offset(), self.received.len() as u64, "a chunk is out of order or follows a gap");
        self.received.extend_from_slice(chunk.bytes());
        if let Some(verdict) = chunk.last() {
            self.seen.push(Seen::Streamed(verdict));
        }
        if std::mem::take(&mut self.pauses) {
            ctx.pause(peer);
        }
        if self.aborts_at_chunk {
            ctx.abort(peer, Disconnect::Done);
        }
        self.relay(ctx, peer, chunk.to_bytes());
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId) {
        self.writable += 1;
        self.feed_source(ctx);
        if let Some((from, part)) = self.kept.take() {
            ctx.resume(from);
            self.relay(ctx, from, part);
        }
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, free_bytes: usize) {
        self.pulled.push((peer, free_bytes));
        if let Some(Task(task)) = self.on_pull.pop_front() {
            task(ctx);
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, Task(task): Task) {
        task(ctx);
        self.feed_source(ctx);
    }
}

/// Feeds a part, which must be accepted whole or refused.
fn feed_whole(ctx: &mut Ctx<'_>, peer: PeerId, part: &Bytes) -> Result<(), RequestError> {
    let mut rest = part.clone();
    let fed = ctx.feed_body(peer, &mut rest);
    assert_eq!(rest.len(), if fed.is_ok() { 0 } else { part.len() });
    fed
}

fn waiting(ctx: &Ctx<'_>, peer: PeerId) -> usize {
    ctx.peer(peer).map_or(0, |view| view.waiting_bytes())
}

/// A world with one or more nodes.
struct Room {
    world: World,
    nodes: Vec<Reactor<SimNet, Streamer>>,
    address: SocketAddr,
}

impl Room {
    /// Builds a room with one node.
    fn new(conditions: Conditions) -> Self {
        Self::with(config(), conditions)
    }

    fn with(config: Config, conditions: Conditions) -> Self {
        let world = World::new(1, Instant::ZERO);
        world.set_conditions(conditions);
        let mut node = Reactor::with_net(config, world.host(), Streamer::default()).unwrap();
        let address = SocketAddr::new(node.net().ip(), 18_444);
        node.listen(address).unwrap();
        Self { world, nodes: vec![node], address }
    }

    /// Adds another node, which dials the first node. Returns the new node's peer id at the first node, and the first
    /// node's peer id at the new node.
    fn add_node(&mut self) -> (PeerId, PeerId) {
        let seed = Some(self.nodes.len() as u64 + 1);
        let config = config().with_seed(seed);
        let node = Reactor::with_net(config, self.world.host(), Streamer::default()).unwrap();
        self.nodes.push(node);
        let (index, address) = (self.nodes.len() - 1, self.address);
        self.act(index, move |ctx| ctx.connect(address).unwrap());
        (*self.nodes[0].handler().ready.last().unwrap(), self.nodes[index].handler().ready[0])
    }

    /// Adds a raw peer, completes its handshake and reads the node's greeting. Returns the peer and its id.
    fn add_peer(&mut self) -> (RawPeer, PeerId) {
        self.add_peer_with(&version())
    }

    fn add_peer_with(&mut self, version: &[u8]) -> (RawPeer, PeerId) {
        let mut peer = RawPeer::dialling(&self.world, self.address);
        self.settle();
        peer.send(version);
        peer.send(&verack());
        let answer = self.drain(&mut peer);
        assert_eq!(commands(&answer), ["version", "verack", "protoconf", "sendheaders"]);
        (peer, *self.nodes[0].handler().ready.last().unwrap())
    }

    fn settle(&mut self) {
        self.run_for(Duration::ZERO);
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let mut actors: Vec<&mut dyn Actor> = self.nodes.iter_mut().map(|node| node as &mut dyn Actor).collect();
        assert_eq!(Driver::new(&self.world).run_until(until, &mut actors).unwrap(), RunOutcome::TimeOver);
    }

    /// Runs an action inside a node's loop, and then all loops until they have no more work at this moment. Returns the
    /// action's result.
    fn act<T: Send + 'static>(&mut self, node: usize, act: impl FnOnce(&mut Ctx<'_>) -> T + Send + 'static) -> T {
        let (reply, pending) = Pending::new();
        let task = Task(Box::new(move |ctx| reply.send(act(ctx))));
        self.nodes[node].handle().request(task).unwrap();
        self.settle();
        pending.try_take().unwrap().expect("the request is handled at this moment")
    }

    /// Runs all loops and reads the peer's bytes until no more arrive at this moment. Returns the bytes.
    fn drain(&mut self, peer: &mut RawPeer) -> Vec<u8> {
        peer.receive_all(|| self.settle())
    }

    fn seen(&self, node: usize) -> &[Seen] {
        &self.nodes[node].handler().seen
    }

    fn streamer(&mut self, node: usize) -> &mut Streamer {
        self.nodes[node].handler_mut()
    }

    /// Begins a block to `peer`, and feeds it in parts of `part_len` bytes as far as the peer accepts them.
    fn stream(&mut self, node: usize, peer: PeerId, payload: &Bytes, part_len: usize) {
        let parts = payload.chunks(part_len).map(|part| payload.slice_ref(part)).collect();
        self.streamer(node).source = Some(Source { peer, parts });
        let header = Header::of(CommandName::BLOCK, payload);
        self.act(node, move |ctx| ctx.begin_body(peer, &header).unwrap());
    }
}

fn opaque<'a>(command: &'static str, payload: &'a [u8]) -> MessageRef<'a> {
    MessageRef::Opaque { command: CommandName::new(command), payload }
}

/// Returns bytes that do not repeat with a short period, so that a test detects a misplaced part.
fn pattern(len_bytes: usize) -> Bytes {
    (0..len_bytes as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Returns the nonces of all pings in a stream of frames.
fn ping_nonces(stream: &[u8]) -> Vec<u64> {
    let pings = frames(stream).into_iter().filter(|(command, _)| command == "ping");
    pings.map(|(_, payload)| u64::from_le_bytes(payload.try_into().unwrap())).collect()
}
