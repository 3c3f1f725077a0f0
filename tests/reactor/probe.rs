//! The endpoints that the tests use: a [`Node`] whose handler records events, and a [`BareSocket`] without an engine.

use bytes::Bytes;
use peerloop::MioNet;
use peerloop::api::{Delivery, Pending};
use peerloop::error::CloseReason;
use peerloop::internals::framer::ChecksumVerdict;
use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::peer::ConnectionState;
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::{Header, MessageRef};
use peerloop::{Chunk, Config, ControlEvent, Ctx, Event, Frame, Handler, Network, PeerId, Reactor};
use peerloop_testkit::greeting::{MAGIC, frame, greeting};
use socket2::SockRef;
use std::env;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// The time limit of each wait, far longer than any wait needs, so that a test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A loopback address whose port the kernel chooses.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An event that the [`Probe`] records about a peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Opened,
    Ready,
    Pong { nonce: u64, planned: Instant, sent: Instant, received: Instant },
    Rejected(u8),
    Message(CommandName, Bytes),
    Streamed { len_bytes: u64, verdict: ChecksumVerdict },
    Cut { received: u64, reason: CloseReason },
    Closed(CloseReason, ConnectionState),
}

/// A handler that records control events and the [`Seen`] events of peers. It streams blocks, discards `addr` and
/// receives everything else whole.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub(crate) seen: Vec<(PeerId, Seen)>,
    /// The payload of the current or last streamed message.
    pub(crate) streamed: Vec<u8>,
    pub(crate) control: Vec<ControlEvent>,
}

/// A piece of work to do inside the loop.
pub(crate) struct Task(Box<dyn FnOnce(&mut Ctx<'_>) + Send>);

impl Task {
    pub(crate) fn new(task: impl FnOnce(&mut Ctx<'_>) + Send + 'static) -> Self {
        Self(Box::new(task))
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

impl Handler for Probe {
    type Request = Task;

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let seen = match event {
            Event::Opened { .. } => Seen::Opened,
            Event::Ready { .. } => Seen::Ready,
            Event::Pong { nonce, planned, sent, received } => Seen::Pong { nonce, planned, sent, received },
            Event::Rejected(reject) => Seen::Rejected(reject.code.0),
            Event::BodyCut { received, reason, .. } => Seen::Cut { received, reason },
            Event::Closed { reason, state } => Seen::Closed(reason, state),
            _ => return,
        };
        self.seen.push((peer, seen));
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        match header.command {
            CommandName::BLOCK => Delivery::Chunks,
            command if command == CommandName::new("addr") => Delivery::Discard,
            _ => Delivery::Buffer,
        }
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        self.seen.push((peer, Seen::Message(frame.command(), frame.to_bytes())));
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        if chunk.offset() == 0 {
            self.streamed.clear();
        }
        assert_eq!(chunk.offset(), self.streamed.len() as u64, "a chunk does not begin at the end of the previous one");
        self.streamed.extend_from_slice(chunk.bytes());
        if let Some(verdict) = chunk.last() {
            self.seen.push((peer, Seen::Streamed { len_bytes: chunk.total(), verdict }));
        }
    }

    fn on_control(&mut self, _ctx: &mut Ctx<'_>, event: &ControlEvent) {
        self.control.push(event.clone());
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, Task(task): Task) {
        task(ctx);
    }
}

/// A loop on the real kernel, whose turns the test runs.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) reactor: Reactor<MioNet, Probe>,
    pub(crate) address: SocketAddr,
}

impl Node {
    /// Returns a node that listens on loopback.
    pub(crate) fn new() -> Self {
        Self::with(regtest())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::listening_on(config, ANY_PORT)
    }

    pub(crate) fn listening_on(config: Config, address: SocketAddr) -> Self {
        let mut reactor = Reactor::new(config, Probe::default()).expect("the kernel provides a poller");
        let address = reactor.listen(address).expect("a loopback port is free");
        Self { reactor, address }
    }

    /// Returns two connected nodes and each node's id for the other. The first node dialled.
    pub(crate) fn pair() -> ([Self; 2], [PeerId; 2]) {
        let (mut one, mut two) = (Self::new(), Self::new());
        let there = one.dial(two.address);
        until([&mut one, &mut two], "the handshake is complete", |nodes| {
            nodes.iter().all(|node| node.ready().len() == 1)
        });
        let here = two.ready()[0];
        ([one, two], [there, here])
    }

    /// Runs one turn without waiting, and returns whether the loop continues.
    pub(crate) fn turn(&mut self) -> bool {
        self.reactor.poll_once(Duration::ZERO).expect("the poller works")
    }

    /// Runs `act` inside the loop and returns its result.
    pub(crate) fn act<T: Send + 'static>(&mut self, act: impl FnOnce(&mut Ctx<'_>) -> T + Send + 'static) -> T {
        let (reply, pending) = Pending::new();
        let task = Task::new(move |ctx| reply.send(act(ctx)));
        self.reactor.handle().request(task).expect("the queue has room");
        let began = std::time::Instant::now();
        loop {
            self.turn();
            match pending.try_take().expect("the loop has not ended") {
                Some(reply) => return reply,
                // If a turn has its maximum number of events, requests wait for a later turn.
                None => assert!(began.elapsed() < PATIENCE, "the request was not carried out in time"),
            }
        }
    }

    pub(crate) fn dial(&mut self, address: SocketAddr) -> PeerId {
        self.act(move |ctx| ctx.connect(address).expect("the table has room"))
    }

    pub(crate) fn seen(&self) -> &[(PeerId, Seen)] {
        &self.reactor.handler().seen
    }

    /// Returns all recorded events of `peer`, in order.
    pub(crate) fn seen_of(&self, peer: PeerId) -> Vec<Seen> {
        self.seen().iter().filter(|(of, _)| *of == peer).map(|(_, seen)| seen.clone()).collect()
    }

    pub(crate) fn count(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        self.seen().iter().filter(|(_, seen)| matches(seen)).count()
    }

    /// Returns all peers that were ever ready.
    pub(crate) fn ready(&self) -> Vec<PeerId> {
        self.seen().iter().filter(|(_, seen)| *seen == Seen::Ready).map(|(peer, _)| *peer).collect()
    }

    /// Returns the close reason of `peer` and its last state, if it is closed.
    pub(crate) fn end_of(&self, peer: PeerId) -> Option<(CloseReason, ConnectionState)> {
        self.seen_of(peer).into_iter().find_map(|seen| match seen {
            Seen::Closed(reason, state) => Some((reason, state)),
            _ => None,
        })
    }
}

pub(crate) fn regtest() -> Config {
    Config::new(Network::Regtest).with_seed(Some(7))
}

/// Runs turns of the nodes until `done` returns true.
///
/// # Panics
///
/// After [`PATIENCE`].
pub(crate) fn until<const N: usize>(mut nodes: [&mut Node; N], what: &str, done: impl Fn([&Node; N]) -> bool) {
    let began = std::time::Instant::now();
    let wait = if N == 1 { Duration::from_millis(1) } else { Duration::ZERO };
    while !done(nodes.each_ref().map(|node| &**node)) {
        let last = nodes.each_ref().map(|node| node.seen().last());
        assert!(began.elapsed() < PATIENCE, "timed out before {what}; last seen: {last:?}");
        for node in &mut nodes {
            node.reactor.poll_once(wait).expect("the poller works");
        }
    }
}

/// A peer without an engine. Its calls block, so run a turn of the node before you read.
#[derive(Debug)]
pub(crate) struct BareSocket(pub(crate) TcpStream);

impl BareSocket {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the address has a listener");
        socket.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
        socket.set_nodelay(true).expect("the socket is open");
        Self(socket)
    }

    /// Connects to `node`, completes the handshake, and reads the node's messages up to `sendheaders`.
    pub(crate) fn ready(node: &mut Node) -> (Self, PeerId) {
        let before = node.ready().len();
        let mut socket = Self::connect(node.address);
        socket.write(&greeting());
        until([node], "a bare socket is ready", |[node]| node.ready().len() > before);
        while socket.read_frame().0 != CommandName::SENDHEADERS {}
        (socket, node.ready()[before])
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the kernel accepts the bytes");
    }

    pub(crate) fn read_frame(&mut self) -> (CommandName, Vec<u8>) {
        let mut header = [0; HEADER_LEN_BYTES];
        self.0.read_exact(&mut header).expect("a header arrives");
        assert_eq!(header[..4], MAGIC);
        let header = Header::decode(&header);
        let mut payload = vec![0; header.payload_len as usize];
        self.0.read_exact(&mut payload).expect("a payload arrives");
        (header.command, payload)
    }

    /// Returns whether the node has closed its side and sent nothing more.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.0.read(&mut [0]).expect("the connection is not reset") == 0
    }

    pub(crate) fn shut_down(&self, which: Shutdown) {
        self.0.shutdown(which).expect("the socket is open");
    }

    /// Closes the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("the socket is open");
    }
}

pub(crate) fn ping(nonce: u64) -> Vec<u8> {
    frame(&MessageRef::Ping { nonce })
}

/// Returns bytes that do not repeat with a short period, so that a test detects a misplaced part.
pub(crate) fn pattern(len_bytes: usize) -> Vec<u8> {
    (0..len_bytes as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Runs `body` in a child process, because `body` changes state that the whole process shares. `name` is the path of
/// the calling test. Returns the child's exit status in the parent, and never returns in the child.
pub(crate) fn in_a_child(name: &str, body: impl FnOnce()) -> ExitStatus {
    const VARIABLE: &str = "PEERLOOP_TEST_CHILD";
    if env::var(VARIABLE).is_ok_and(|child| child == name) {
        body();
        std::process::exit(0);
    }
    Command::new(env::current_exe().expect("the program has a path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, name)
        .status()
        .expect("the program starts again")
}
