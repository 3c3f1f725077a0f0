//! Accepts that fail: for one connection, which costs only that one, or for good, which must not cost the loop.

use crate::host::SlowHost;
use crate::support::{Player, RawPeer, config};
use peerloop::Reactor;
use peerloop::limits::{ACCEPT_RETRY_FIRST, ACCEPT_RETRY_MAX};
use peerloop::sim::World;
use peerloop::sim::errno::EMFILE;
use peerloop::time::{Instant, Wait};
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
fn a_connection_that_failed_before_it_was_accepted_holds_no_other_up() {
    let world = World::new(1, Instant::ZERO);
    let (mut reactor, _peer) = loop_at(&world);
    let kinds = [ErrorKind::ConnectionAborted, ErrorKind::HostUnreachable, ErrorKind::Interrupted];
    reactor.net().accept_errors.borrow_mut().extend(kinds.map(io::Error::from));
    // The kernel's number of a protocol error has no kind of its own.
    let protocol_error = cfg!(target_os = "linux").then(|| io::Error::from_raw_os_error(71));
    reactor.net().accept_errors.borrow_mut().extend(protocol_error);
    let failures = reactor.net().accept_errors.borrow().len() as u64;
    reactor.poll_once(Duration::ZERO).unwrap();
    let counters = reactor.stats().counters;
    assert_eq!((counters.accepted, counters.accept_failures, counters.accept_pauses), (1, failures, 0));
}

#[test]
fn a_listener_that_is_short_of_something_is_tried_again_ever_more_slowly_and_the_loop_sleeps_meanwhile() {
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
        pause = (2 * pause).min(ACCEPT_RETRY_MAX);
    }
    reactor.poll_once(Duration::ZERO).unwrap();
    assert_eq!(reactor.stats().counters.accepted, 1);
}
