//! A node whose handler allocates nothing for its peers' events, so that only the loop's own allocations are counted.

use peerloop::MioNet;
use peerloop::error::Disconnect;
use peerloop::internals::limits::SHUTDOWN_GRACE;
use peerloop::wire::Header;
use peerloop::{Config, Ctx, Delivery, Event, Frame, Handler, Network, PeerId, Reactor};
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Maximum duration of a step, far above the expected duration, so that a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The moments at which a node pings its peers. In every mode except `Never`, it also pings each new peer once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pings {
    Never,
    /// After each pong, inside the callback that reports it.
    AfterEachPong,
    /// Every millisecond, inside `on_wake`. Peers with an unanswered ping are not pinged.
    ByTimer,
}

/// A handler that counts events and pings its peers.
#[derive(Debug)]
pub(crate) struct Tally {
    pings: Pings,
    peers: Vec<PeerId>,
    /// Number of peers that have sent `sendheaders`, which follows the handshake.
    pub(crate) settled: usize,
    pub(crate) pongs: u64,
    pub(crate) messages: u64,
    pub(crate) payload_bytes: usize,
    pub(crate) closed: usize,
}

/// A request to a node on another thread.
#[derive(Debug)]
pub(crate) enum Request {
    Dial { address: SocketAddr, peers: usize },
    CloseAll,
}

impl Tally {
    fn new(pings: Pings) -> Self {
        let peers = Vec::with_capacity(64);
        Self { pings, peers, settled: 0, pongs: 0, messages: 0, payload_bytes: 0, closed: 0 }
    }

    fn next_round(ctx: &mut Ctx<'_>) {
        ctx.wake_at(ctx.now().plus(Duration::from_millis(1)));
    }
}

impl Handler for Tally {
    type Request = Request;

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        if self.pings == Pings::ByTimer {
            Self::next_round(ctx);
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::SendHeaders => {
                self.settled += 1;
                if self.pings != Pings::Never {
                    self.peers.push(peer);
                    ctx.ping(peer, ctx.now()).expect("the peer is ready");
                }
            }
            Event::Pong { .. } => {
                self.pongs += 1;
                if self.pings == Pings::AfterEachPong {
                    ctx.ping(peer, ctx.now()).expect("the peer is ready");
                }
            }
            Event::Closed { .. } => self.closed += 1,
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _header: &Header) -> Delivery {
        Delivery::Buffer
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, frame: Frame<'_>) {
        self.messages += 1;
        self.payload_bytes += frame.payload().len();
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        for &peer in &self.peers {
            // The loop allocates memory for a peer with more than a few pings in flight.
            let is_free = ctx.peer(peer).is_some_and(|view| view.connection().ping_pong().pending_count() == 0);
            if is_free {
                ctx.ping(peer, ctx.now()).expect("the peer is ready");
            }
        }
        Self::next_round(ctx);
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, request: Request) {
        match request {
            Request::Dial { address, peers } => {
                for _ in 0..peers {
                    ctx.connect(address).expect("the table has room");
                }
            }
            Request::CloseAll => {
                let peers: Vec<PeerId> = ctx.peers().map(|view| view.id()).collect();
                for peer in peers {
                    ctx.close(peer, Disconnect::Done);
                }
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) reactor: Reactor<MioNet, Tally>,
    pub(crate) address: SocketAddr,
}

impl Node {
    pub(crate) fn new(pings: Pings) -> Self {
        let config = Config::new(Network::Regtest).with_seed(Some(7));
        let mut reactor = Reactor::new(config, Tally::new(pings)).expect("the kernel provides a poller");
        let address = reactor.listen(([127, 0, 0, 1], 0).into()).expect("a loopback port is free");
        Self { reactor, address }
    }

    pub(crate) fn turn(&mut self) {
        self.reactor.poll_once(Duration::from_millis(1)).expect("the poller works");
    }

    /// Runs turns until `done` returns true. Allocates nothing itself.
    pub(crate) fn until(&mut self, done: impl Fn(&Tally) -> bool) {
        let began = std::time::Instant::now();
        while !done(self.reactor.handler()) {
            assert!(began.elapsed() < PATIENCE, "the condition was not met in time: {:?}", self.reactor.handler());
            self.turn();
        }
    }
}

/// A node on a thread of its own, at the far end of the tested node's connections.
#[derive(Debug)]
pub(crate) struct FarEnd {
    handle: peerloop::Handle<Request>,
    thread: Option<JoinHandle<()>>,
}

impl FarEnd {
    pub(crate) fn start() -> Self {
        let (sender, receiver) = channel();
        let thread = thread::spawn(move || {
            let mut node = Node::new(Pings::Never);
            sender.send(node.reactor.handle()).expect("the test waits for the handle");
            node.reactor.run().expect("the poller works");
        });
        Self { handle: receiver.recv().expect("the far end starts"), thread: Some(thread) }
    }

    pub(crate) fn ask(&self, request: Request) {
        self.handle.request(request).expect("the queue has room");
    }

    /// Stops the far node. Meanwhile runs turns of `node`, so that it closes its connections too.
    pub(crate) fn stop(mut self, node: &mut Node) {
        self.handle.stop().expect("the queue has room");
        let thread = self.thread.take().expect("the node is stopped once");
        let began = std::time::Instant::now();
        while !thread.is_finished() {
            assert!(began.elapsed() < PATIENCE + SHUTDOWN_GRACE, "the far end does not stop");
            node.turn();
        }
        thread.join().expect("the far end did not panic");
    }
}
