//! A handler's timers: every callback except `on_pull` can set, move and cancel them, their number is limited, and the
//! loop sleeps until the next one fires.

use peerloop::api::{Chunk, Delivery, Frame};
use peerloop::error::RequestError;
use peerloop::internals::limits::{EXPIRIES_PER_TURN, MAX_TIMERS};
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Driver, World};
use peerloop::time::{Instant, Wait};
use peerloop::wire::Header;
use peerloop::{ControlEvent, Ctx, Disconnect, Event, Handler, PeerId};
use peerloop_testkit::bytes::{frame, ready_bytes};
use peerloop_testkit::simulated::{RawPeer, TICK, config, secs};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

type Script = fn(&mut Timing, &mut Ctx<'_>);

/// A handler that runs one script at its start and another for each expired timer.
struct Timing {
    on_start: Script,
    on_timer: fn(&mut Self, &mut Ctx<'_>, u64),
    fired: Vec<(u64, Instant)>,
    /// Whether the handler uses timers in each callback except `on_pull`.
    uses_timers: bool,
    /// The callbacks in which the handler has used timers.
    called: BTreeSet<&'static str>,
}

impl Timing {
    fn new(on_start: Script) -> Self {
        Self { on_start, on_timer: |_, _, _| {}, fired: Vec::new(), uses_timers: false, called: BTreeSet::new() }
    }

    /// Sets and moves one timer, and sets and cancels another. Does nothing on later calls from the same callback, or
    /// if `uses_timers` is false.
    fn called(&mut self, ctx: &mut Ctx<'_>, callback: &'static str) {
        if !self.uses_timers || !self.called.insert(callback) {
            return;
        }
        let key = self.called.len() as u64;
        ctx.set_timer(key, ctx.now()).unwrap();
        ctx.set_timer(key, ctx.now().plus(secs(100))).unwrap();
        ctx.set_timer(1 << 63 | key, ctx.now()).unwrap();
        assert!(ctx.cancel_timer(1 << 63 | key), "{callback}: the timer was not set");
        assert!(!ctx.cancel_timer(1 << 63 | key), "{callback}: the cancelled timer was still set");
    }
}

impl Handler for Timing {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.called(ctx, "start");
        (self.on_start)(self, ctx);
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, _: PeerId, event: Event<'_>) {
        self.called(ctx, if matches!(event, Event::Closed { .. }) { "closed" } else { "event" });
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, _: PeerId, header: &Header) -> Delivery {
        self.called(ctx, "header");
        if header.payload_len > 100 { Delivery::Chunks } else { Delivery::Buffer }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        self.called(ctx, "message");
        ctx.send_shared(peer, &ctx.encode(&frame.decode().unwrap())).unwrap();
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _: Chunk<'_>) {
        self.called(ctx, "chunk");
        ctx.close(peer, Disconnect::Done);
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, _: PeerId) {
        self.called(ctx, "writable");
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        self.called(ctx, "wake");
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        self.called(ctx, "timer");
        self.fired.push((key, ctx.now()));
        (self.on_timer)(self, ctx, key);
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, (): ()) {
        self.called(ctx, "request");
        ctx.wake_at(ctx.now());
    }

    fn on_control(&mut self, ctx: &mut Ctx<'_>, _: &ControlEvent) {
        self.called(ctx, "control");
    }
}

fn started(world: &World, handler: Timing) -> Checked<Timing> {
    Checked::new(world, world.host(), config().with_ping_interval(Duration::ZERO), handler).unwrap()
}

/// Runs a loop without peers for `length`, and returns the loop.
fn run(handler: Timing, length: Duration) -> Checked<Timing> {
    let world = World::new(1, Instant::ZERO);
    let mut reactor = started(&world, handler);
    Driver::new(&world).run_until(Instant::ZERO.plus(length), &mut [&mut reactor]).unwrap();
    assert_eq!(reactor.violations(), []);
    reactor
}

#[test]
fn a_timer_fires_once_at_its_tick_and_the_loop_sleeps_until_then() {
    let world = World::new(1, Instant::ZERO);
    let mut reactor = started(
        &world,
        Timing::new(|_, ctx| {
            ctx.set_timer(u64::MAX, Instant::ZERO.plus(TICK * 5 - Duration::from_nanos(1))).unwrap();
            ctx.set_timer(7, Instant::ZERO.plus(secs(7_200))).unwrap();
        }),
    );
    let driver = Driver::new(&world);
    driver.run_until(Instant::ZERO, &mut [&mut reactor]).unwrap();
    assert_eq!(reactor.next_deadline(), Wait::Until(Instant::ZERO.plus(TICK * 5)));
    driver.run_until(Instant::ZERO.plus(secs(9_999)), &mut [&mut reactor]).unwrap();
    let fired = [(u64::MAX, Instant::ZERO.plus(TICK * 5)), (7, Instant::ZERO.plus(secs(7_200)))];
    assert_eq!(reactor.handler().fired, fired);
    assert!(reactor.stats().counters.turns < 200, "the idle loop ran 200 turns or more");
    assert_eq!((reactor.next_deadline(), reactor.violations()), (Wait::Forever, vec![]));
}

#[test]
fn a_timer_can_be_set_moved_and_cancelled_from_inside_every_callback_except_on_pull() {
    let world = World::new(1, Instant::ZERO);
    let mut raw = RawPeer::new(&world);
    let timing = Timing { uses_timers: true, ..Timing::new(|_, _| {}) };
    let mut reactor = started(&world, timing);
    let address = SocketAddr::new(reactor.net().ip(), 18_444);
    reactor.listen(address).unwrap();
    reactor.handle().request(()).unwrap();
    let driver = Driver::new(&world);
    driver.run_until(Instant::ZERO, &mut [&mut reactor]).unwrap();
    raw.dial(address);
    raw.send(&[ready_bytes(), frame("getaddr", &[])].concat());
    driver.run_until(Instant::ZERO.plus(secs(1)), &mut [&mut reactor]).unwrap();
    raw.send(&frame("bulk", &[0; 200]));
    driver.run_until(Instant::ZERO.plus(secs(20)), &mut [&mut reactor]).unwrap();
    raw.close();
    driver.run_until(Instant::ZERO.plus(secs(300)), &mut [&mut reactor]).unwrap();
    let called =
        ["chunk", "closed", "control", "event", "header", "message", "request", "start", "timer", "wake", "writable"];
    let timing = reactor.handler();
    assert_eq!(timing.called.iter().copied().collect::<Vec<_>>(), called);
    let mut keys: Vec<u64> = timing.fired.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    assert_eq!((keys, reactor.violations()), ((1..=called.len() as u64).collect(), vec![]));
}

#[test]
fn a_timer_set_again_and_again_in_the_past_fires_once_a_turn_and_a_timer_at_the_end_of_time_never_fires() {
    let timing = Timing {
        on_timer: |timing, ctx, key| {
            if key == 1 && timing.fired.len() < 100 {
                ctx.set_timer(1, Instant::ZERO).unwrap();
            }
        },
        ..Timing::new(|_, ctx| {
            ctx.set_timer(1, Instant::ZERO).unwrap();
            ctx.set_timer(2, Instant::MAX).unwrap();
        })
    };
    let reactor = run(timing, secs(10));
    assert_eq!(reactor.handler().fired.len(), 100);
    let turns = reactor.stats().counters.turns;
    assert!(turns >= 100, "only {turns} turns: the timer fired more than once in one");
}

#[test]
fn a_timer_that_is_set_again_each_time_it_fires_is_periodic() {
    let timing = Timing {
        on_timer: |_, ctx, key| ctx.set_timer(key, ctx.now().plus(TICK * 10)).unwrap(),
        ..Timing::new(|_, ctx| {
            ctx.set_timer(9, ctx.now().plus(TICK * 10)).unwrap();
        })
    };
    let reactor = run(timing, Duration::from_millis(105));
    let moments: Vec<Instant> = reactor.handler().fired.iter().map(|(_, at)| *at).collect();
    assert_eq!(moments, (1..=10).map(|turn| Instant::ZERO.plus(TICK * 10 * turn)).collect::<Vec<_>>());
}

#[test]
fn each_turn_fires_a_bounded_number_of_timers_and_timers_beyond_the_maximum_are_refused() {
    let timing = Timing::new(|_, ctx| {
        for key in 0..MAX_TIMERS as u64 {
            ctx.set_timer(key << 40, ctx.now().plus(TICK)).unwrap();
        }
        assert_eq!(ctx.set_timer(1, ctx.now()), Err(RequestError::TooManyTimers));
        assert_eq!(ctx.set_timer(5 << 40, ctx.now().plus(TICK)), Ok(()), "a move of a timer was refused");
        assert!(ctx.cancel_timer(6 << 40));
        assert_eq!(
            ctx.set_timer(1, ctx.now().plus(TICK)),
            Ok(()),
            "a timer was refused, although there was room again"
        );
    });
    let reactor = run(timing, secs(1));
    let fired = &reactor.handler().fired;
    assert_eq!(fired.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len(), MAX_TIMERS);
    assert!(reactor.stats().counters.turns >= (MAX_TIMERS / EXPIRIES_PER_TURN) as u64);
}
