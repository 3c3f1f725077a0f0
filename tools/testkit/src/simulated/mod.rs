//! Hosts of the virtual network. A [`Node`] is a loop whose handler, a [`Player`], records its callbacks. A
//! [`RawPeer`] is driven by hand and sends any bytes. A [`Stage`] has a node under test and an honest peer.

pub mod blocks;
pub mod relay;
mod slow_host;

pub use slow_host::{READ_TIME, SlowHost};

use crate::bytes::{commands, verack, version};

use peerloop::api::{Chunk, Delivery, Event, Frame, PeerInfo};
use peerloop::config::{ConfigChange, Field, UpdateError};
use peerloop::error::{CloseReason, Deadline};
use peerloop::handler::Handler;
use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::peer::{ConnectionState, StreamPolicy};
use peerloop::sim::invariant::Checked;

use peerloop::sim::{Actor, Driver, RunOutcome, SimNet, World};
use peerloop::stats::{PeerCost, Stats};
use peerloop::time::{Instant, Wait};
use peerloop::wire::{Header, StreamType};
use peerloop::{Config, Ctx, Network, PeerId};
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const TICK: Duration = Duration::from_millis(1);

pub fn config() -> Config {
    Config::new(Network::Regtest).with_seed(Some(1))
}

/// A handler's record of its callbacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    pub opened: usize,
    pub dialled: Vec<PeerId>,
    pub ready: Vec<PeerId>,
    pub pings: Vec<u64>,
    pub pongs: Vec<u64>,
    pub limits: Vec<u32>,
    pub sendheaders: usize,
    pub messages: Vec<(PeerId, String, usize)>,
    pub chunks: usize,
    pub rejects: Vec<(u8, Vec<u8>)>,
    /// The further streams that were opened, with the policy in force since then.
    pub streams: Vec<(PeerId, StreamType, StreamPolicy)>,
    pub writable: usize,
    pub pulled: usize,
    /// The marks that were reported as written.
    pub written: Vec<u64>,
    /// Each peer's queued bytes at the time of the last request.
    pub waiting: Vec<usize>,
    pub closed: Vec<Closed>,
    /// The keys of the timers that fired.
    pub timers: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closed {
    pub peer: PeerId,
    pub at: Instant,
    pub reason: CloseReason,
    pub state: ConnectionState,
}

/// A handler that records its callbacks, may dial at the start, and may ping all ready peers at regular intervals.
#[derive(Default)]
pub struct Player {
    pub journal: Rc<RefCell<Journal>>,
    pub dials: Vec<SocketAddr>,
    /// The moment at which all ready peers are pinged next, the pause between two such moments, and the number of
    /// remaining moments.
    pub pinging: Option<(Instant, Duration, u32)>,
    /// The address that is dialled whenever a connection has closed.
    pub redials: Option<SocketAddr>,
    /// A function that is called after each event is recorded.
    pub on_event: Option<fn(&mut Ctx<'_>, PeerId, Event<'_>)>,
    /// A function that decides how a message is delivered. If `None`, all messages are buffered.
    pub on_header: Option<fn(&mut Ctx<'_>, PeerId) -> Delivery>,
    pub on_message: Option<fn(&mut Ctx<'_>, PeerId)>,
    pub on_request: Option<fn(&mut Ctx<'_>)>,
}

impl Player {
    pub fn dialling(address: SocketAddr) -> Self {
        Self { dials: vec![address], ..Self::default() }
    }

    pub fn pinging(self, first: Instant, pause: Duration, count: u32) -> Self {
        Self { pinging: Some((first, pause, count)), ..self }
    }
}

impl Handler for Player {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for address in self.dials.drain(..) {
            ctx.connect(address).unwrap();
        }
        if let Some((first, _, _)) = self.pinging {
            ctx.wake_at(first);
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let mut journal = self.journal.borrow_mut();
        match event {
            Event::Opened { .. } => journal.opened += 1,
            Event::Ready { .. } => journal.ready.push(peer),
            Event::Pong { nonce, .. } => journal.pongs.push(nonce),
            Event::LimitsAnnounced { max_recv_payload_bytes, .. } => journal.limits.push(max_recv_payload_bytes),
            Event::VersionReceived => {}
            Event::Written { mark, .. } => journal.written.push(mark),
            Event::StreamOpened { stream_type, policy } => journal.streams.push((peer, stream_type, policy)),
            Event::SendHeaders => journal.sendheaders += 1,
            Event::Rejected(reject) => journal.rejects.push((reject.code.0, reject.reason.to_vec())),
            Event::BodyCut { .. } => {}
            Event::Closed { reason, state } => journal.closed.push(Closed { peer, at: ctx.now(), reason, state }),
            other => panic!("unexpected event: {other:?}"),
        }
        if let (Event::Closed { .. }, Some(address)) = (event, self.redials) {
            journal.dialled.push(ctx.connect(address).unwrap());
        }
        drop(journal);
        if let Some(script) = self.on_event {
            script(ctx, peer, event);
        }
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _header: &Header) -> Delivery {
        self.on_header.map_or(Delivery::Buffer, |script| script(ctx, peer))
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let message = (peer, frame.command().to_string(), frame.payload().len());
        self.journal.borrow_mut().messages.push(message);
        if let Some(script) = self.on_message {
            script(ctx, peer);
        }
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _chunk: Chunk<'_>) {
        self.journal.borrow_mut().chunks += 1;
    }

    fn on_writable(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId) {
        self.journal.borrow_mut().writable += 1;
    }

    fn on_pull(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _free_bytes: usize) {
        self.journal.borrow_mut().pulled += 1;
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, (): ()) {
        self.journal.borrow_mut().waiting = ctx.peers().map(|peer| peer.waiting_bytes()).collect();
        if let Some(script) = self.on_request {
            script(ctx);
        }
    }

    fn on_timer(&mut self, _ctx: &mut Ctx<'_>, key: u64) {
        self.journal.borrow_mut().timers.push(key);
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        let Some((due, pause, left)) = self.pinging else { return };
        let ready: Vec<PeerId> = ctx.peers().filter(|peer| peer.is_ready()).map(|peer| peer.id()).collect();
        for peer in ready {
            let nonce = ctx.ping(peer, due).unwrap();
            self.journal.borrow_mut().pings.push(nonce);
        }
        self.pinging = (left > 1).then_some((due.plus(pause), pause, left - 1));
        if let Some((due, _, _)) = self.pinging {
            ctx.wake_at(due);
        }
    }
}

/// A loop, and its handler's record.
pub struct Node {
    pub reactor: Checked<Player>,
    pub journal: Rc<RefCell<Journal>>,
    pub address: SocketAddr,
}

impl Node {
    pub fn new(world: &World, config: Config, player: Player) -> Self {
        let journal = Rc::clone(&player.journal);
        let mut reactor = Checked::new(world, world.host(), config, player).unwrap().with_calls_per_sweep(0);
        let address = SocketAddr::new(reactor.net().ip(), 18_444);
        assert_eq!(reactor.listen(address).unwrap(), address);
        Self { reactor, journal, address }
    }

    /// Returns whether a turn at this moment would have work.
    pub fn has_work(&self) -> bool {
        self.reactor.next_deadline() == Wait::Zero || self.reactor.net().has_events()
    }

    pub fn seen(&self) -> Journal {
        self.journal.borrow().clone()
    }

    /// Returns the record of the only closed link.
    pub fn closed(&self) -> Closed {
        let closed = self.seen().closed;
        assert_eq!(closed.len(), 1, "{closed:?}");
        closed[0]
    }
}

thread_local! {
    static IS_JUDGED: Cell<bool> = const { Cell::new(true) };
}

/// Sets whether, on this thread, a node that has broken an invariant panics when it is dropped. Default: true. A test
/// that breaks an invariant on purpose sets false.
pub fn judge(is_judged: bool) {
    IS_JUDGED.set(is_judged);
}

impl Drop for Node {
    /// Checks that every invariant held.
    fn drop(&mut self) {
        if !IS_JUDGED.get() {
            return;
        }
        match (self.reactor.violations().first(), std::thread::panicking()) {
            (None, _) => {}
            (Some(first), true) => eprintln!("{first}"),
            (Some(first), false) => panic!("{first}"),
        }
    }
}

/// A world with the loop under test and an honest peer that the loop must never lose. Tests add hostile peers.
pub struct Stage {
    pub world: World,
    pub node: Node,
    honest: Node,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(config(), Player::default())
    }

    pub fn with(config: Config, player: Player) -> Self {
        let world = World::new(1, Instant::ZERO);
        let node = Node::new(&world, config, player);
        let player = Player::dialling(node.address).pinging(Instant::ZERO.plus(secs(1)), secs(1), u32::MAX);
        // The honest peer's own keepalive pings would cause pongs that the test does not expect.
        let honest_config = self::config().with_seed(Some(2)).with_ping_interval(Duration::ZERO);
        let honest = Node::new(&world, honest_config, player);
        let mut stage = Self { world, node, honest };
        stage.settle();
        assert_eq!(stage.node.seen().ready.len(), 1, "the honest peer is not ready");
        stage
    }

    /// Runs until there is nothing more to do at this moment.
    pub fn settle(&mut self) {
        self.run_for(Duration::ZERO);
    }

    pub fn run_for(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.node.reactor, &mut self.honest.reactor];
        assert_eq!(Driver::new(&self.world).run_until(until, actors).unwrap(), RunOutcome::TimeOver);
    }

    /// Returns all bytes that arrive at `peer` at this moment, including those sent while the peer reads.
    pub fn receive_all(&mut self, peer: &mut RawPeer) -> Vec<u8> {
        peer.receive_all(|| self.settle())
    }

    /// Returns a raw peer that has completed the handshake and read all input.
    pub fn ready_peer(&mut self) -> RawPeer {
        let mut peer = self.peer();
        peer.send(&version());
        peer.send(&verack());
        self.settle();
        let answer = peer.receive();
        assert_eq!(commands(&answer), ["version", "verack", "protoconf", "sendheaders"]);
        peer
    }

    /// Returns a raw peer that has connected and sent nothing.
    pub fn peer(&mut self) -> RawPeer {
        let peer = RawPeer::dialling(&self.world, self.node.address);
        self.settle();
        peer
    }

    /// Returns the record of the only closed link. Asserts that the honest peer is unaffected.
    pub fn closed(&self) -> Closed {
        self.assert_honest_peer_is_unaffected();
        self.node.closed()
    }

    pub fn assert_honest_peer_is_unaffected(&self) {
        let seen = self.honest.seen();
        assert_eq!(seen.closed, [], "the honest peer was closed");
        assert!(seen.pings == seen.pongs, "the honest peer did not receive every pong");
        let whole_secs = self.world.now().as_nanos() / 1_000_000_000;
        assert_eq!(seen.pongs.len() as u64, whole_secs, "the number of pongs is not one per second");
    }

    pub fn stats(&self) -> Stats {
        self.node.reactor.stats()
    }

    /// Returns the node's peers, as its handle lists them.
    pub fn listed(&mut self) -> Vec<PeerInfo> {
        let pending = self.node.reactor.handle().peers(None).unwrap();
        self.settle();
        pending.try_take().unwrap().expect("the loop has answered")
    }

    /// Returns the cost of the last peer in the list; `None` if the loop does not measure its peers.
    pub fn last_cost(&mut self) -> Option<PeerCost> {
        self.listed().last().expect("a peer is connected").cost
    }

    pub fn measure(&mut self, measure_peers: bool) {
        let changes = self.update(|config| config.measure_peers = measure_peers);
        assert_eq!(changes.iter().map(|change| change.field).collect::<Vec<_>>(), [Field::MeasurePeers]);
    }

    /// Applies `change` to the node's configuration.
    pub fn update(&mut self, change: impl FnOnce(&mut Config)) -> Vec<ConfigChange> {
        self.try_update(change, false).expect("the change is allowed")
    }

    pub fn try_update(
        &mut self,
        change: impl FnOnce(&mut Config),
        dry_run: bool,
    ) -> Result<Vec<ConfigChange>, UpdateError> {
        let mut config = self.node.reactor.reactor().config().clone();
        change(&mut config);
        let handle = self.node.reactor.handle();
        let pending = if dry_run { handle.check_config(config) } else { handle.update_config(config) };
        self.settle();
        pending.unwrap().try_take().unwrap().expect("the loop has answered")
    }

    /// Asserts that no peer is closed before `moment`, and that exactly one peer is closed at `moment`, because of
    /// `deadline`.
    pub fn assert_closed_at(&mut self, moment: Duration, deadline: Deadline) {
        self.run_to(moment - Duration::from_nanos(1));
        assert_eq!(self.node.seen().closed, [], "a peer was closed too early");
        self.run_to(moment);
        let closed = self.closed();
        assert_eq!((closed.at, closed.reason), (Instant::ZERO.plus(moment), CloseReason::TimedOut(deadline)));
    }

    pub fn run_to(&mut self, moment: Duration) {
        self.run_for(Instant::ZERO.plus(moment).since(self.world.now()));
    }
}

/// Returns the id of a raw peer's only link.
pub fn raw_link() -> LinkId {
    LinkId::from_u64(0)
}

/// A host that is driven by hand and sends any bytes.
pub struct RawPeer {
    pub net: SimNet,
    pub has_seen_end: bool,
}

impl RawPeer {
    pub fn new(world: &World) -> Self {
        Self { net: world.host(), has_seen_end: false }
    }

    /// Returns a raw peer that has dialled `address`.
    pub fn dialling(world: &World, address: SocketAddr) -> Self {
        let mut peer = Self::new(world);
        peer.dial(address);
        peer
    }

    pub fn dial(&mut self, address: SocketAddr) {
        self.net.connect(raw_link(), address, None).unwrap();
    }

    pub fn listen(&mut self) -> SocketAddr {
        let address = SocketAddr::new(self.net.ip(), 18_444);
        self.net.listen(0, address).unwrap()
    }

    pub fn accept(&mut self) {
        let (socket, _) = self.net.accept(0).unwrap();
        self.net.attach(raw_link(), socket).unwrap();
    }

    /// Sends all of `bytes`; the connection must have room for them.
    pub fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.net.write(raw_link(), bytes).unwrap(), bytes.len());
    }

    /// Sends all of `bytes`, and returns whether the connection is open and has room for them.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        match self.net.write(raw_link(), bytes) {
            Ok(written) => {
                assert_eq!(written, bytes.len(), "a part of a message was sent");
                true
            }
            Err(_) => false,
        }
    }

    /// Returns all bytes that arrive at this moment, including those sent while the peer reads. `settle` runs the loops
    /// before each read.
    pub fn receive_all(&mut self, mut settle: impl FnMut()) -> Vec<u8> {
        let mut received = Vec::new();
        loop {
            settle();
            let more = self.receive();
            if more.is_empty() {
                return received;
            }
            received.extend(more);
        }
    }

    /// Reads everything that has arrived, and records whether the connection was then closed or reset.
    pub fn receive(&mut self) -> Vec<u8> {
        let mut received = Vec::new();
        let mut block = vec![0; 64 * 1024];
        loop {
            match self.net.read(raw_link(), &mut block) {
                Ok(0) => {
                    self.has_seen_end = true;
                    return received;
                }
                Ok(len) => received.extend_from_slice(&block[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return received,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    self.has_seen_end = true;
                    return received;
                }
            }
        }
    }

    pub fn close(&mut self) {
        self.net.close(raw_link());
    }
}
