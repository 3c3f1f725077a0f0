//! Two kinds of actors: a [`Player`], which is a handler that writes down what it sees, and a [`RawPeer`], which speaks
//! in bytes that this crate's encoder had no part in.

use peerloop::api::{Chunk, Delivery, Event, Frame};
use peerloop::error::CloseReason;
use peerloop::handler::Handler;
use peerloop::id::LinkId;
use peerloop::net::Net;
use peerloop::peer::ConnectionState;
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Actor, Driver, RunOutcome, SimNet, World};
use peerloop::time::{Instant, Wait};
use peerloop::wire::Header;
use peerloop::{Config, Ctx, Network, PeerId};
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub(crate) const REGTEST: [u8; 4] = [0xda, 0xb5, 0xbf, 0xfa];

/// The first messages of an SV Node 1.0.13 on a regtest network.
const NODE_VERSION: &str = "dab5bffa76657273696f6e00000000006a0000004cc028f6\
    801101002100000000000000ff98026b0000000000000000000000000000000000000000000000000000000000002100\
    000000000000000000000000000000000000000000000000b1f231a98bdc038b132f426974636f696e2053563a312e30\
    2e31332f000000000100";
const NODE_VERACK: &str = "dab5bffa76657261636b000000000000000000005df6e0e2";
const NODE_PROTOCONF: &str = "dab5bffa70726f746f636f6e660000001b00000030d5edd0\
    020000200015426c6f636b5072696f726974792c44656661756c74";
const NODE_PING: &str = "dab5bffa70696e6700000000000000000800000076408747ac78259a5c4c5a84";
/// The answer to [`NODE_PING`].
const PONG: &str = "dab5bffa706f6e6700000000000000000800000076408747ac78259a5c4c5a84";

pub(crate) fn version() -> Vec<u8> {
    hex(NODE_VERSION)
}

pub(crate) fn verack() -> Vec<u8> {
    hex(NODE_VERACK)
}

pub(crate) fn protoconf() -> Vec<u8> {
    hex(NODE_PROTOCONF)
}

/// What a peer says to be ready.
pub(crate) fn ready_bytes() -> Vec<u8> {
    [version(), verack()].concat()
}

pub(crate) fn ping() -> Vec<u8> {
    hex(NODE_PING)
}

pub(crate) fn pong() -> Vec<u8> {
    hex(PONG)
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// A frame as the protocol has it, put together here.
pub(crate) fn frame(command: &str, payload: &[u8]) -> Vec<u8> {
    let hash = Sha256::digest(Sha256::digest(payload));
    let mut bytes = header(command, u32::try_from(payload.len()).expect("a small payload"), &hash[..4]);
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn header(command: &str, len_bytes: u32, checksum: &[u8]) -> Vec<u8> {
    let mut bytes = REGTEST.to_vec();
    bytes.extend_from_slice(command.as_bytes());
    bytes.resize(16, 0);
    bytes.extend_from_slice(&len_bytes.to_le_bytes());
    bytes.extend_from_slice(checksum);
    bytes
}

/// The frames in a stream, by command and payload; the stream must end between two of them.
pub(crate) fn frames(mut stream: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    while !stream.is_empty() {
        assert_eq!(stream[..4], REGTEST, "a frame begins with the magic");
        let command = String::from_utf8(stream[4..16].to_vec()).expect("ASCII").trim_end_matches('\0').to_owned();
        let len = u32::from_le_bytes(stream[16..20].try_into().expect("four bytes")) as usize;
        found.push((command, stream[24..24 + len].to_vec()));
        stream = &stream[24 + len..];
    }
    found
}

pub(crate) fn commands(stream: &[u8]) -> Vec<String> {
    frames(stream).into_iter().map(|(command, _)| command).collect()
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const TICK: Duration = Duration::from_millis(1);

pub(crate) fn config() -> Config {
    Config { seed: Some(1), ..Config::new(Network::Regtest) }
}

/// What a handler has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Journal {
    pub(crate) opened: usize,
    pub(crate) dialled: Vec<PeerId>,
    pub(crate) ready: Vec<PeerId>,
    pub(crate) pings: Vec<u64>,
    pub(crate) pongs: Vec<u64>,
    pub(crate) limits: Vec<u32>,
    pub(crate) sendheaders: usize,
    pub(crate) messages: Vec<(PeerId, String, usize)>,
    pub(crate) chunks: usize,
    pub(crate) rejects: Vec<(u8, Vec<u8>)>,
    pub(crate) writable: usize,
    /// What waited for each peer when the handle asked.
    pub(crate) waiting: Vec<usize>,
    pub(crate) closed: Vec<Closed>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Closed {
    pub(crate) peer: PeerId,
    pub(crate) at: Instant,
    pub(crate) reason: CloseReason,
    pub(crate) state: ConnectionState,
}

/// A handler that writes down what it sees, may dial at the start, and may ping all ready peers in regular intervals.
#[derive(Default)]
pub(crate) struct Player {
    pub(crate) journal: Rc<RefCell<Journal>>,
    pub(crate) dials: Vec<SocketAddr>,
    /// When the first ping is due, the pause to the next, and how many are left.
    pub(crate) pinging: Option<(Instant, Duration, u32)>,
    /// Dialled whenever a peer has ended.
    pub(crate) redials: Option<SocketAddr>,
    /// Called after the event was written down.
    pub(crate) on_event: Option<fn(&mut Ctx<'_>, PeerId, Event<'_>)>,
    /// Asked what becomes of a message; all are buffered if there is none.
    pub(crate) on_header: Option<fn(&mut Ctx<'_>, PeerId) -> Delivery>,
    pub(crate) on_message: Option<fn(&mut Ctx<'_>, PeerId)>,
    pub(crate) on_command: Option<fn(&mut Ctx<'_>)>,
}

impl Player {
    pub(crate) fn dialling(address: SocketAddr) -> Self {
        Self { dials: vec![address], ..Self::default() }
    }

    pub(crate) fn pinging(self, first: Instant, pause: Duration, count: u32) -> Self {
        Self { pinging: Some((first, pause, count)), ..self }
    }
}

impl Handler for Player {
    type Command = ();

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
            Event::SendHeaders => journal.sendheaders += 1,
            Event::Rejected(reject) => journal.rejects.push((reject.code.0, reject.reason.to_vec())),
            Event::Closed { reason, state } => journal.closed.push(Closed { peer, at: ctx.now(), reason, state }),
            other => panic!("an event that no test knows: {other:?}"),
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

    fn on_command(&mut self, ctx: &mut Ctx<'_>, (): ()) {
        self.journal.borrow_mut().waiting = ctx.peers().map(|peer| peer.waiting_bytes()).collect();
        if let Some(script) = self.on_command {
            script(ctx);
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
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

/// A loop under test and what its handler has seen.
pub(crate) struct Node {
    pub(crate) reactor: Checked<Player>,
    pub(crate) journal: Rc<RefCell<Journal>>,
    pub(crate) address: SocketAddr,
}

impl Node {
    pub(crate) fn new(world: &World, config: Config, player: Player) -> Self {
        let journal = Rc::clone(&player.journal);
        let mut reactor = Checked::new(world, world.host(), config, player).unwrap().with_calls_per_sweep(0);
        let address = SocketAddr::new(reactor.net().ip(), 18_444);
        assert_eq!(reactor.listen(address).unwrap(), address);
        Self { reactor, journal, address }
    }

    /// Whether a turn at this moment would find something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.reactor.next_deadline() == Wait::Zero || self.reactor.net().has_events()
    }

    pub(crate) fn seen(&self) -> Journal {
        self.journal.borrow().clone()
    }

    /// The only link that ended.
    pub(crate) fn closed(&self) -> Closed {
        let closed = self.seen().closed;
        assert_eq!(closed.len(), 1, "{closed:?}");
        closed[0]
    }
}

thread_local! {
    static IS_JUDGED: Cell<bool> = const { Cell::new(true) };
}

/// Whether the nodes of this thread have to hold every invariant, as they do unless something is wrong on purpose.
#[allow(dead_code, reason = "only the canaries do wrong on purpose")]
pub(crate) fn judge(is_judged: bool) {
    IS_JUDGED.set(is_judged);
}

impl Drop for Node {
    /// Whatever a test was about, every invariant held.
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

/// A world with one loop under test, and beside the hostile peer an honest one that the loop must never lose.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) node: Node,
    honest: Node,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(config(), Player::default())
    }

    pub(crate) fn with(config: Config, player: Player) -> Self {
        let world = World::new(1, Instant::ZERO);
        let node = Node::new(&world, config, player);
        let player = Player::dialling(node.address).pinging(Instant::ZERO.plus(secs(1)), secs(1), u32::MAX);
        // Its own keepalives would be pongs that the test did not plan.
        let honest_config = Config { seed: Some(2), ping_interval: Duration::ZERO, ..self::config() };
        let honest = Node::new(&world, honest_config, player);
        let mut stage = Self { world, node, honest };
        stage.settle();
        assert_eq!(stage.node.seen().ready.len(), 1, "the honest peer is ready");
        stage
    }

    /// Runs until there is nothing to do at this moment.
    pub(crate) fn settle(&mut self) {
        self.run_for(Duration::ZERO);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.node.reactor, &mut self.honest.reactor];
        assert_eq!(Driver::new(&self.world).run_until(until, actors).unwrap(), RunOutcome::TimeOver);
    }

    /// A raw peer whose handshake is complete and whose input is empty.
    pub(crate) fn ready_peer(&mut self) -> RawPeer {
        let mut peer = self.peer();
        peer.send(&version());
        peer.send(&verack());
        self.settle();
        let answer = peer.receive();
        assert_eq!(commands(&answer), ["version", "verack", "protoconf", "sendheaders"]);
        peer
    }

    /// A raw peer that has connected and said nothing.
    pub(crate) fn peer(&mut self) -> RawPeer {
        let peer = RawPeer::dialling(&self.world, self.node.address);
        self.settle();
        peer
    }

    /// Why the one link that is gone was closed, and when; the honest peer must have noticed nothing.
    pub(crate) fn closed(&self) -> Closed {
        self.assert_honest_peer_is_unaffected();
        self.node.closed()
    }

    pub(crate) fn assert_honest_peer_is_unaffected(&self) {
        let seen = self.honest.seen();
        assert_eq!(seen.closed, [], "the honest peer was closed");
        assert!(seen.pings == seen.pongs, "the honest peer waits for a pong");
        let whole_secs = self.world.now().as_nanos() / 1_000_000_000;
        assert_eq!(seen.pongs.len() as u64, whole_secs, "one pong a second");
    }
}

/// The only link of a raw peer.
pub(crate) fn raw_link() -> LinkId {
    LinkId::from_u64(0)
}

/// A host that is driven by hand and sends whatever it is told.
pub(crate) struct RawPeer {
    pub(crate) net: SimNet,
    pub(crate) has_seen_end: bool,
}

impl RawPeer {
    pub(crate) fn new(world: &World) -> Self {
        Self { net: world.host(), has_seen_end: false }
    }

    /// One that has dialled.
    pub(crate) fn dialling(world: &World, address: SocketAddr) -> Self {
        let mut peer = Self::new(world);
        peer.dial(address);
        peer
    }

    pub(crate) fn dial(&mut self, address: SocketAddr) {
        self.net.connect(raw_link(), address, None).unwrap();
    }

    pub(crate) fn listen(&mut self) -> SocketAddr {
        let address = SocketAddr::new(self.net.ip(), 18_444);
        self.net.listen(0, address).unwrap()
    }

    pub(crate) fn accept(&mut self) {
        let (socket, _) = self.net.accept(0).unwrap();
        self.net.attach(raw_link(), socket).unwrap();
    }

    /// Sends all of `bytes`, for which there must be room.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.net.write(raw_link(), bytes).unwrap(), bytes.len());
    }

    /// Takes what has come, and notes the end or the reset behind it.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
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

    pub(crate) fn close(&mut self) {
        self.net.close(raw_link());
    }
}
