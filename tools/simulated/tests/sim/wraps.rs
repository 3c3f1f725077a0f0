//! The clock may begin at any value, for example at zero, or shortly before the timer wheel or a 32-bit count of
//! milliseconds wraps.

use peerloop::sim::{Actor, Driver, World};
use peerloop::time::Instant;
use peerloop_testkit::simulated::{Closed, Node, Player, RawPeer, TICK, config, secs};
use std::time::Duration;

const RING_MILLIS: u64 = 65_536;

/// Runs a node with a silent peer and a ready peer for 300 s. Returns the number of nanoseconds after which the silent
/// peer was closed, the number of pongs that the node received for its forty pings and its keepalives, and the number
/// of keepalives that the ready peer sent.
fn outcome(start: Instant) -> (u128, usize, usize) {
    let world = World::new(1, start);
    let player = Player::default().pinging(start.plus(Duration::from_millis(700)), secs(7), 40);
    let mut node = Node::new(&world, config(), player);
    let mut peer = Node::new(&world, config().with_seed(Some(2)), Player::dialling(node.address));
    let _silent = RawPeer::dialling(&world, node.address);
    let actors: &mut [&mut dyn Actor] = &mut [&mut node.reactor, &mut peer.reactor];
    Driver::new(&world).run_until(start.plus(secs(300)), actors).unwrap();
    let Closed { at, .. } = node.closed();
    let seen = node.seen();
    assert!(seen.pings.iter().all(|nonce| seen.pongs.contains(nonce)), "a ping was not answered");
    let keepalives = peer.reactor.stats().counters.pings_sent;
    (at.since(start).as_nanos(), seen.pongs.len(), usize::try_from(keepalives).unwrap())
}

#[test]
fn fault_e08_the_millisecond_at_which_the_clock_begins_does_not_affect_a_run() {
    let expected = outcome(Instant::ZERO);
    assert_eq!(expected, (10_000_000_000, 42, 2));
    let wraps = [1 << 31, 1 << 32, RING_MILLIS, 2 * RING_MILLIS, 1_000_003 * RING_MILLIS, RING_MILLIS << 16];
    for wrap in wraps {
        for before_millis in [0, 1, 9_999, 10_000, 10_001, 30_000, 120_000] {
            let start = Instant::from_nanos(wrap * 1_000_000).minus(Duration::from_millis(before_millis));
            assert_eq!(outcome(start), expected, "{before_millis} ms before {wrap} ms");
        }
    }
}

#[test]
fn fault_e08_if_the_clock_begins_between_two_ticks_no_deadline_is_early_or_more_than_a_tick_late() {
    for offset in [1, 499_999, 500_000, 999_999] {
        let start = Instant::from_nanos((RING_MILLIS - 5_000) * 1_000_000 + offset);
        let (closed_after, pongs, keepalives) = outcome(start);
        let late = closed_after - secs(10).as_nanos();
        assert!(late <= TICK.as_nanos(), "{late} ns late");
        assert_eq!((pongs, keepalives), (42, 2));
    }
}
