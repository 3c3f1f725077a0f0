//! Accepts that fail: one connection's failure affects no other, and a lasting failure does not stop the loop.

use peerloop::Reactor;
use peerloop::internals::errno::EMFILE;
use peerloop::internals::limits::{ACCEPT_RETRY_FIRST, MAX_ACCEPT_RETRY};
use peerloop::sim::World;
use peerloop::time::{Instant, Wait};
use peerloop_testkit::simulated::SlowHost;
use peerloop_testkit::simulated::{Player, RawPeer, config};
use std::io::{self, ErrorKind};
use std::time::Duration;

fn loop_at(world: &World) -> (Reactor<SlowHost, Player>, RawPeer) {
    let net = SlowHost::new(world);
    let address = net.address();
    let mut reactor = Reactor::with_net(config(), net, Player::default()).unwrap();
    reactor.listen(address).unwrap();
    (reactor, RawPeer::dialling(world, address))
}

#[test]
fn a_connection_that_failed_before_it_was_accepted_delays_no_other() {
    let world = World::new(1, Instant::ZERO);
    let (mut reactor, _peer) = loop_at(&world);
    let kinds = [ErrorKind::ConnectionAborted, ErrorKind::HostUnreachable, ErrorKind::Interrupted];
    reactor.net().accept_errors.borrow_mut().extend(kinds.map(io::Error::from));
    // The kernel's error number for a protocol error has no `ErrorKind` of its own.
    let protocol_error = cfg!(target_os = "linux").then(|| io::Error::from_raw_os_error(71));
    reactor.net().accept_errors.borrow_mut().extend(protocol_error);
    let failures = reactor.net().accept_errors.borrow().len() as u64;
    reactor.poll_once(Duration::ZERO).unwrap();
    let counters = reactor.stats().counters;
    assert_eq!((counters.accepted, counters.accept_failures, counters.accept_pauses), (1, failures, 0));
}

#[test]
fn fault_e01_a_failing_listener_backs_off_and_the_loop_sleeps() {
    const FAILURES: u64 = 8;
    let world = World::new(1, Instant::ZERO);
    let (mut reactor, _peer) = loop_at(&world);
    let errors = (0..FAILURES).map(|_| io::Error::from_raw_os_error(EMFILE));
    reactor.net().accept_errors.borrow_mut().extend(errors);
    let mut pause = ACCEPT_RETRY_FIRST;
    for failure in 1..=FAILURES {
        reactor.poll_once(Duration::ZERO).unwrap();
        let counters = reactor.stats().counters;
        assert_eq!((counters.accept_pauses, counters.accept_failures, counters.accepted), (failure, 0, 0));
        assert_eq!(reactor.next_deadline(), Wait::Until(world.now().plus(pause)));
        world.advance(pause);
        pause = (2 * pause).min(MAX_ACCEPT_RETRY);
    }
    reactor.poll_once(Duration::ZERO).unwrap();
    assert_eq!(reactor.stats().counters.accepted, 1);
}

#[test]
fn fault_e01_a_listener_accepts_again_within_1100_ms_after_a_descriptor_is_freed() {
    const BOUND: Duration = Duration::from_millis(1_100);
    for starved_ms in [0, 1, 99, 100, 101, 299, 700, 1_499, 1_500, 1_501, 2_500, 10_000, 60_000] {
        let world = World::new(1, Instant::ZERO);
        let (mut reactor, _peer) = loop_at(&world);
        let freed_at = Instant::ZERO.plus(Duration::from_millis(starved_ms));
        let mut turns = 0;
        while reactor.stats().counters.accepted == 0 {
            let is_starved = world.now() < freed_at;
            reactor.net().accept_errors.borrow_mut().extend(is_starved.then(|| io::Error::from_raw_os_error(EMFILE)));
            reactor.poll_once(Duration::ZERO).unwrap();
            turns += 1;
            match reactor.next_deadline() {
                Wait::Until(due) => world.advance(due.since(world.now())),
                other => {
                    assert!(reactor.stats().counters.accepted == 1, "{other:?}: the loop spins or sleeps for ever")
                }
            }
            assert!(
                world.now() < freed_at.plus(BOUND) || reactor.stats().counters.accepted == 1,
                "no accept within {BOUND:?} after {starved_ms} ms without a descriptor"
            );
        }
        // The pauses are 100, 200, 400 and 800 ms, then 1 s each.
        assert!(turns <= 6 + starved_ms / 1_000, "{turns} turns are too many for {starved_ms} ms without a descriptor");
    }
}
