//! A handler's queries to its loop: the clock and the statistics.

use peerloop::Ctx;
use peerloop::handler::Handler;
use peerloop::sim::World;
use peerloop::sim::invariant::Checked;
use peerloop::stats::Stats;
use peerloop::time::Instant;
use peerloop_testkit::bytes::{header, ready_bytes};
use peerloop_testkit::simulated::{RawPeer, Stage, config, secs};
use std::time::Duration;

/// A handler that, on each request, reads the clock, lets time pass, reads the clock again, and reads the statistics.
struct Curious {
    world: World,
    clock: Vec<(Instant, Instant)>,
    stats: Vec<Stats>,
}

impl Handler for Curious {
    type Request = ();

    fn on_request(&mut self, ctx: &mut Ctx<'_>, (): ()) {
        self.clock.push((ctx.now(), ctx.clock()));
        self.world.advance(Duration::from_micros(70));
        self.clock.push((ctx.now(), ctx.clock()));
        self.stats.push(ctx.stats());
    }
}

#[test]
fn the_clock_advances_during_a_callback_while_now_stays_fixed() {
    let world = World::new(1, Instant::from_nanos(5_000));
    let curious = Curious { world: world.clone(), clock: Vec::new(), stats: Vec::new() };
    let mut node = Checked::new(&world, world.host(), config(), curious).unwrap();
    node.handle().request(()).unwrap();
    node.poll_once(Duration::ZERO).unwrap();
    let [before, after] = node.handler().clock[..] else { panic!("the handler was not called exactly once") };
    let began = Instant::from_nanos(5_000);
    assert_eq!((before, after), ((began, began), (began, Instant::from_nanos(75_000))));
}

#[test]
fn a_handler_and_a_handle_get_the_same_statistics() {
    let world = World::new(1, Instant::ZERO);
    let curious = Curious { world: world.clone(), clock: Vec::new(), stats: Vec::new() };
    let mut node = Checked::new(&world, world.host(), config(), curious).unwrap();
    let address = node.listen((node.net().ip(), 18_444).into()).unwrap();
    let mut peer = RawPeer::dialling(&world, address);
    peer.send(&ready_bytes());
    for _ in 0..50 {
        node.poll_once(Duration::ZERO).unwrap();
    }
    let pending = node.handle().stats().unwrap();
    node.handle().request(()).unwrap();
    node.poll_once(Duration::ZERO).unwrap();
    let theirs = pending.try_take().unwrap().unwrap();
    let [ours] = &node.handler().stats[..] else { panic!("the handler was not called exactly once") };
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    assert_eq!((ours.ready, ours.links), (1, 1));
}

#[test]
fn a_handlers_statistics_include_the_bytes_being_buffered() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    peer.send(&header("bulk", 1_500_000, &[0; 4]));
    for _ in 0..14 {
        peer.send(&[7; 50_000]);
        stage.settle();
    }
    let gathered_bytes = stage.node.reactor.stats().gathered_bytes;
    assert!(gathered_bytes > 0);
    stage.node.reactor.handler_mut().on_request = Some(|ctx| assert!(ctx.stats().gathered_bytes >= 700_000));
    stage.node.reactor.handle().request(()).unwrap();
    stage.run_for(secs(1));
}
