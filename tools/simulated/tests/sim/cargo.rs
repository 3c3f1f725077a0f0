//! Payloads of any size pass through the loop from a source into a sink, at the speed of the slower of the two.

use crate::keen::{PORT, crowd, run};
use peerloop::api::{Chunk, Delivery, Event};
use peerloop::handler::Handler;
use peerloop::internals::limits::{MAX_BODY_WAITING_BYTES, READ_BLOCK_BYTES};
use peerloop::sim::actor::{Cargo, Flow, Journal, Pace, Profile, Role, Sink, Source};
use peerloop::sim::{Conditions, Cut, Cuts, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::Header;
use peerloop::{Ctx, PeerId, Reactor};
use peerloop_testkit::bytes::REGTEST;
use peerloop_testkit::simulated::{config, secs};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

/// If more bytes than this are queued for the sink, the source is paused.
const PAUSE_AT_BYTES: usize = 512 * 1024;

/// A handler that passes the source's payloads on to the sink, piece by piece.
struct Relay {
    cargo: Cargo,
    sink_address: IpAddr,
    sink: Option<PeerId>,
    source: Option<PeerId>,
    passed: u64,
    max_waited: usize,
}

impl Handler for Relay {
    type Request = ();

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        if let Event::Ready { .. } = event {
            let is_sink = ctx.peer(peer).unwrap().address().ip() == self.sink_address;
            *(if is_sink { &mut self.sink } else { &mut self.source }) = Some(peer);
        }
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        ctx.begin_body(self.sink.expect("the sink is ready"), header).unwrap();
        Delivery::Chunks
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let sink = self.sink.expect("the sink is ready");
        assert_eq!(chunk.offset(), self.passed);
        assert_eq!(self.cargo.first_wrong(chunk.offset(), chunk.bytes()), None);
        self.passed += chunk.bytes().len() as u64;
        let mut part = chunk.to_bytes();
        if !part.is_empty() {
            ctx.feed_body(sink, &mut part).unwrap();
        }
        assert!(part.is_empty(), "the source was not paused in time");
        let waiting = ctx.peer(sink).unwrap().waiting_bytes();
        self.max_waited = self.max_waited.max(waiting);
        if waiting > PAUSE_AT_BYTES {
            ctx.pause(peer);
        }
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, _peer: PeerId) {
        if let Some(source) = self.source {
            ctx.resume(source);
        }
    }
}

/// Relays a cargo. Returns the maximum length of the sink's queue in bytes, and the first whole second at which
/// everything had arrived.
fn relay(cargo: &Cargo, conditions: Conditions, from: Pace, into: Pace) -> (usize, Instant) {
    let world = World::new(11, Instant::ZERO);
    world.set_conditions(conditions);
    let profile = Rc::new(Profile::new(REGTEST, &Journal::new()));
    let (mut sources, mut sinks) = (crowd(&world), crowd(&world));
    let handler = Relay {
        cargo: cargo.clone(),
        sink_address: sinks.net().ip(),
        sink: None,
        source: None,
        passed: 0,
        max_waited: 0,
    };
    let mut node: Reactor<SimNet, Relay> = Reactor::with_net(config(), world.host(), handler).unwrap();
    let here = node.listen(SocketAddr::new(node.net().ip(), PORT)).unwrap();
    let (sent, received) = (Rc::<Flow>::default(), Rc::<Flow>::default());
    sinks.dial(here, Role::of(Sink::new(cargo.clone(), into, &profile, &received)));
    let source = Source::new(cargo.clone(), from, &profile, &sent);
    sources.dial_at(Instant::ZERO.plus(secs(1)), here, None, Role::of(source));
    while !received.is_complete() {
        assert!(world.now() < Instant::ZERO.plus(secs(3_600)), "{received:?}");
        run(&world, secs(1), &mut [&mut node, &mut sources, &mut sinks]);
    }
    let done = world.now();
    run(&world, secs(300), &mut [&mut node, &mut sources, &mut sinks]);
    assert_eq!((sent.moved(), received.moved()), (cargo.len_bytes(), cargo.len_bytes()));
    assert_eq!(
        (received.wrong_at(), sent.ended(), received.ended()),
        (None, None, None),
        "wrong bytes arrived or a connection was closed"
    );
    assert_eq!((sent.is_complete(), node.handler().passed), (true, cargo.len_bytes()));
    (node.handler().max_waited, done)
}

fn portions(len_bytes: u32, every_ms: u64) -> Pace {
    Pace::Portions { len_bytes, every: Duration::from_millis(every_ms) }
}

#[test]
fn the_slower_side_sets_the_pace_and_the_loop_holds_little() {
    // This is more than the length field of a basic header can hold.
    let len_bytes = 5 << 30;
    let portion = u32::try_from(len_bytes / 200).unwrap();
    let check = |from: Pace, into: Pace| {
        let (max_waited, done) = relay(&Cargo::new(1, len_bytes), Conditions::default(), from, into);
        // A ping and a pong may wait in addition.
        let most = PAUSE_AT_BYTES + READ_BLOCK_BYTES + 64;
        assert!(max_waited <= most, "{max_waited} bytes waited, {from:?} {into:?}");
        assert!(max_waited < MAX_BODY_WAITING_BYTES);
        let is_slow = (from, into) != (Pace::AsItCan, Pace::AsItCan);
        assert_eq!(done > Instant::ZERO.plus(secs(200)), is_slow, "{done:?}");
    };
    // Each world needs about a minute of real time. The worlds are independent, so each has its own thread.
    thread::scope(|scope| {
        scope.spawn(|| check(Pace::AsItCan, Pace::AsItCan));
        scope.spawn(|| check(Pace::AsItCan, portions(portion, 1_000)));
        scope.spawn(|| check(portions(portion, 1_000), Pace::AsItCan));
    });
}

#[test]
fn payloads_of_very_different_sizes_arrive_through_split_streams() {
    let cut = Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
    for len_bytes in [0, 1, 60_000, 65_535, 65_536, 65_537, 300_000] {
        let conditions = Conditions { capacity_bytes: 10_000, to_acceptor: cut.clone(), to_dialler: cut.clone() };
        relay(&Cargo::new(len_bytes, len_bytes), conditions, Pace::AsItCan, portions(5_000, 100));
    }
}

#[test]
fn a_sink_detects_bytes_that_are_not_its_cargo() {
    let world = World::new(11, Instant::ZERO);
    let profile = Rc::new(Profile::new(REGTEST, &Journal::new()));
    let (right, other) = (Cargo::new(1, 200_000), Cargo::new(2, 200_000));
    for (cargo, is_right) in [(right.clone(), true), (other, false), (Cargo::new(1, 200_001), false)] {
        let (mut sources, mut sinks) = (crowd(&world), crowd(&world));
        let (sent, received) = (Rc::<Flow>::default(), Rc::<Flow>::default());
        let mut source = Some(Role::of(Source::new(cargo, Pace::AsItCan, &profile, &sent)));
        let there = sources.listen(PORT, move |_| source.take().unwrap()).unwrap();
        sinks.dial(there, Role::of(Sink::new(right.clone(), Pace::AsItCan, &profile, &received)));
        run(&world, secs(1), &mut [&mut sources, &mut sinks]);
        assert_eq!((sent.is_complete(), received.is_complete()), (true, is_right));
        assert_eq!(received.wrong_at().is_none(), is_right);
    }
}
