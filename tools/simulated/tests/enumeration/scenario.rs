//! The short scenarios in which single calls of a loop are made to fail, one in each run.

use bytes::Bytes;
use peerloop::api::{Chunk, Delivery, Event, Frame};
use peerloop::error::Disconnect;
use peerloop::handler::Handler;
use peerloop::protocol::CommandName;
use peerloop::sim::actor::{Crowd, End, Honest, Journal, Line, Persona, Profile, Role};
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Tape, World};
use peerloop::time::Instant;
use peerloop::wire::Header;
use peerloop::{Ctx, PeerId};
use peerloop_testkit::bytes::{REGTEST, frame};
use peerloop_testkit::simulated::{config, secs};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The loop's listening ports.
const PORTS: [u16; 2] = [18_444, 18_445];
const MESSAGE_BYTES: usize = 100_000;
const STREAM_BYTES: usize = 300_000;
/// The handler's pause between two steps.
const STEP: Duration = Duration::from_millis(100);

/// A short scenario of one loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Calls of many kinds: for dials, accepts, pings, whole messages, messages in parts, and closes.
    Busy,
    /// Enough dials and accepts that each of the first 50 of either kind can be made to fail.
    Crowded,
    /// One inbound and one outbound peer. Few calls precede the loop's stop, so the stop's own calls are made to fail,
    /// too.
    Short,
}

/// A handler that dials, sends one message whole and one in parts, pings, and closes peers, step by step.
pub(crate) struct Busy {
    life: Life,
    dials: Vec<SocketAddr>,
    steps: u32,
    /// The peer to which a message is fed in parts, and the rest of the message.
    feeding: Option<(PeerId, Bytes)>,
    pub(crate) seen: Seen,
}

/// A handler's record of its callbacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ready: usize,
    pub(crate) pongs: usize,
    pub(crate) messages: usize,
    pub(crate) streamed: u64,
    /// The labels of the close reasons, sorted, because the order of the closes may differ.
    pub(crate) closed: Vec<&'static str>,
}

impl Life {
    /// Returns the number of honest peers that dial the loop's first address. The loop starts the same number of
    /// dials in `on_start`.
    const fn connections(self) -> u32 {
        match self {
            Self::Busy => 3,
            Self::Crowded => 50,
            Self::Short => 1,
        }
    }

    /// Returns the scenario's duration, without the late peers and the stop.
    pub(crate) fn time(self) -> Duration {
        secs(if self == Self::Busy { 5 } else { 1 })
    }
}

impl Busy {
    fn feed(&mut self, ctx: &mut Ctx<'_>) {
        let Some((peer, part)) = &mut self.feeding else { return };
        if ctx.feed_body(*peer, part).is_err() || part.is_empty() {
            self.feeding = None;
        }
    }

    fn greet(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        match self.seen.ready {
            1 => {
                let _ = ctx.send_shared(peer, &frame("bulk", &[7; MESSAGE_BYTES]).into());
            }
            2 => {
                let payload = Bytes::from(vec![9; STREAM_BYTES]);
                if ctx.begin_body(peer, &Header::of(CommandName::BLOCK, &payload)).is_ok() {
                    self.feeding = Some((peer, payload));
                    self.feed(ctx);
                }
            }
            _ => {}
        }
    }
}

impl Handler for Busy {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for address in &self.dials {
            let _ = ctx.connect(*address);
        }
        if self.life == Life::Busy {
            ctx.wake_at(ctx.now().plus(STEP));
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => {
                self.seen.ready += 1;
                self.greet(ctx, peer);
            }
            Event::Pong { .. } => self.seen.pongs += 1,
            Event::Closed { reason, .. } => {
                let label = reason.label();
                let at = self.seen.closed.partition_point(|other| *other < label);
                self.seen.closed.insert(at, label);
            }
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == CommandName::BLOCK { Delivery::Chunks } else { Delivery::Buffer }
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _frame: Frame<'_>) {
        self.seen.messages += 1;
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, chunk: Chunk<'_>) {
        self.seen.streamed += chunk.bytes().len() as u64;
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId) {
        self.feed(ctx);
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        self.steps += 1;
        let ready: Vec<PeerId> = ctx.peers().filter(|peer| peer.is_ready()).map(|peer| peer.id()).collect();
        match (self.steps, &ready[..]) {
            (1, ready) => {
                for peer in ready {
                    let _ = ctx.ping(*peer, ctx.now());
                }
            }
            (2, [.., last]) => ctx.close(*last, Disconnect::Done),
            (3, [.., last]) => ctx.abort(*last, Disconnect::Done),
            (4, _) => {
                for address in &self.dials {
                    let _ = ctx.connect(*address);
                }
            }
            _ => {}
        }
        if self.steps < 4 {
            ctx.wake_at(ctx.now().plus(STEP));
        }
    }
}

/// An honest peer that, once connected, also sends a message to be buffered and one to be read in chunks.
struct NumberedPeer(Honest);

impl Persona for NumberedPeer {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.0.opened(line);
        line.send(&frame("bulk", &[3; MESSAGE_BYTES]));
        line.send(&frame("block", &[5; STREAM_BYTES]));
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        self.0.received(line, bytes);
    }

    fn due(&mut self, line: &mut Line<'_>) {
        self.0.due(line);
    }

    fn ended(&mut self, how: End, at: Instant) {
        self.0.ended(how, at);
    }
}

/// A peer that closes its connection in the middle of a message, with a reset or in an orderly way.
struct Leaver {
    resets: bool,
}

impl Persona for Leaver {
    fn opened(&mut self, line: &mut Line<'_>) {
        line.send(&frame("version", &[0; 46])[..40]);
        line.wake_at(line.now().plus(STEP));
    }

    fn received(&mut self, _line: &mut Line<'_>, _bytes: &[u8]) {}

    fn due(&mut self, line: &mut Line<'_>) {
        if self.resets { line.reset() } else { line.close() }
    }
}

/// A world with one loop under test and its peers.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) node: Checked<Busy>,
    pub(crate) peers: Crowd,
    /// The peers that connect after the scenario. The loop must serve them.
    pub(crate) late: Crowd,
    pub(crate) journal: Journal,
    pub(crate) late_journal: Journal,
    pub(crate) late_address: SocketAddr,
    late_kind: Rc<Profile>,
}

impl Stage {
    /// Builds a stage. The first host is the loop's; the loop does not listen yet.
    pub(crate) fn new(life: Life) -> Self {
        let world = World::new(1, Instant::ZERO);
        let net = world.host();
        let tape = Tape::from_seed(1);
        let crowd = |stream: u32| Crowd::new(world.host(), tape.stream(stream));
        let (mut peers, mut late) = (crowd(1), crowd(2));
        let (journal, late_journal) = (Journal::new(), Journal::new());
        let silent = |journal: &Journal| Profile::new(REGTEST, journal);
        let late_kind = Rc::new(silent(&late_journal).pinging(secs(1)));
        let honest = Rc::new(if life == Life::Crowded { silent(&journal) } else { silent(&journal).pinging(secs(1)) });
        let there = listen(&mut peers, &honest);
        let late_address = listen(&mut late, &late_kind);
        let here = PORTS.map(|port| SocketAddr::new(net.ip(), port));
        cast(life, &mut peers, here, &honest, &journal);
        let dials = vec![there; life.connections() as usize];
        let handler = Busy { life, dials, steps: 0, feeding: None, seen: Seen::default() };
        let is_crowded = life == Life::Crowded;
        let config = config().with_ping_interval(secs(if is_crowded { 120 } else { 1 }));
        let calls_per_sweep = if is_crowded { 256 } else { 0 };
        let node = Checked::new(&world, net, config, handler).unwrap().with_calls_per_sweep(calls_per_sweep);
        Self { world, node, peers, late, journal, late_journal, late_address, late_kind }
    }

    /// Opens both listeners. If one of them cannot be opened, tries that one once more.
    pub(crate) fn listen(&mut self) -> std::io::Result<()> {
        for port in PORTS {
            let address = SocketAddr::new(self.node.net().ip(), port);
            self.node.listen(address).or_else(|_| self.node.listen(address))?;
        }
        Ok(())
    }

    /// Makes two honest peers dial the loop, one at each listener, and makes the loop dial a third.
    pub(crate) fn invite_late_peers(&mut self) {
        for port in PORTS {
            self.late.dial(SocketAddr::new(self.node.net().ip(), port), Honest::new(&self.late_kind));
        }
        self.node.handle().connect(self.late_address, None).unwrap();
    }
}

/// Adds the peers that dial the loop.
fn cast(life: Life, peers: &mut Crowd, here: [SocketAddr; 2], honest: &Rc<Profile>, journal: &Journal) {
    let [first, second] = here;
    let (kind, pause) = (Rc::clone(honest), Duration::from_millis(10));
    let count = u64::from(life.connections());
    peers.dial_many(first, Instant::ZERO, pause, count, move |_| Honest::new(&kind).into());
    if life != Life::Busy {
        return;
    }
    let eager = Rc::new(Profile::new(REGTEST, journal).eager());
    peers.dial_at(Instant::ZERO.plus(STEP), second, None, Role::of(NumberedPeer(Honest::new(&eager))));
    for (at, resets) in [(1, true), (2, false)] {
        peers.dial_at(Instant::ZERO.plus(STEP * at), first, None, Role::of(Leaver { resets }));
    }
}

fn listen(crowd: &mut Crowd, kind: &Rc<Profile>) -> SocketAddr {
    let kind = Rc::clone(kind);
    crowd.listen(PORTS[0], move |_| Honest::new(&kind).into()).unwrap()
}
