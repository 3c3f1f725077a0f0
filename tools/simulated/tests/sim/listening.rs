//! Configured listeners, and failures to bind or to accept.

use peerloop::config::ManagerConfig;
use peerloop::internals::errno::{EADDRINUSE, EADDRNOTAVAIL, EMFILE};
use peerloop::internals::limits::{LISTEN_RETRY_FIRST, MAX_ACCEPT_RETRY, MAX_LISTEN_RETRY, TICK};
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Actor, Driver, Site, World};
use peerloop::time::Instant;
use peerloop::{Config, Network, Reactor};
use peerloop_testkit::bytes::ready_bytes;
use peerloop_testkit::simulated::SlowHost;
use peerloop_testkit::simulated::{Node, Player, RawPeer, config, secs};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// EINVAL, the error of an accept on a socket that no longer listens. The number is the same on every Unix system.
const INVALID: i32 = 22;

/// Returns an address of the world's first host.
fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn listening_on(listen: Vec<SocketAddr>) -> Config {
    let manager = ManagerConfig::new(Network::Regtest).with_listen(listen);
    config().with_manager(manager)
}

fn checked(world: &World, config: Config, player: Player) -> Checked<Player> {
    Checked::new(world, world.host(), config, player).unwrap().with_calls_per_sweep(0)
}

fn run(world: &World, time: Duration, actors: &mut [&mut dyn Actor]) {
    Driver::new(world).run_until(world.now().plus(time), actors).unwrap();
}

/// Returns how many listeners were opened, and how many attempts to open a listener failed.
fn bound_and_failed(node: &Checked<Player>) -> (u64, u64) {
    let counters = node.stats().counters;
    (counters.listeners_bound, counters.listen_failures)
}

#[test]
fn req_e32_the_configured_addresses_are_bound_at_the_start_and_accept() {
    let world = World::new(1, Instant::ZERO);
    let mut node = checked(&world, listening_on(vec![here(1), here(0)]), Player::default());
    node.poll_once(Duration::ZERO).unwrap();
    let addresses: Vec<SocketAddr> = node.reactor().listening_on().collect();
    assert_eq!((addresses.len(), addresses[0]), (2, here(1)));
    assert_ne!(addresses[1].port(), 0);
    let mut peers: Vec<RawPeer> = addresses.iter().map(|_| RawPeer::new(&world)).collect();
    for (peer, address) in peers.iter_mut().zip(&addresses) {
        peer.dial(*address);
        peer.send(&ready_bytes());
    }
    run(&world, secs(1), &mut [&mut node]);
    assert_eq!(node.stats().ready, 2);
    node.handle().stop().unwrap();
    run(&world, secs(10), &mut [&mut node]);
    assert!(node.has_ended());
    assert_eq!(node.violations(), []);
}

#[test]
fn req_e32_an_address_that_cannot_be_bound_is_retried_after_pauses_that_double_up_to_a_minute() {
    let world = World::new(1, Instant::ZERO);
    let net = world.host();
    let host = net.host();
    world.fail_sometimes(host, Site::Listen, EADDRNOTAVAIL, 1);
    let mut node = Checked::new(&world, net, listening_on(vec![here(1)]), Player::default()).unwrap();
    let mut pause = LISTEN_RETRY_FIRST;
    for failure in 1..=9 {
        node.poll_once(Duration::ZERO).unwrap();
        assert_eq!(bound_and_failed(&node), (0, failure));
        world.advance(pause - TICK);
        node.poll_once(Duration::ZERO).unwrap();
        assert_eq!(bound_and_failed(&node), (0, failure), "the loop did not wait for the whole pause");
        world.advance(TICK);
        pause = (2 * pause).min(MAX_LISTEN_RETRY);
    }
    assert_eq!(pause, MAX_LISTEN_RETRY);
    world.clear_faults();
    node.poll_once(Duration::ZERO).unwrap();
    assert_eq!(bound_and_failed(&node), (1, 9));
    node.sweep();
    assert_eq!(node.violations(), []);
}

#[test]
fn req_e32_an_address_that_cannot_be_bound_does_not_prevent_dialling() {
    let world = World::new(1, Instant::ZERO);
    let net = world.host();
    world.fail_sometimes(net.host(), Site::Listen, EADDRINUSE, 1);
    let mut target = Node::new(&world, config(), Player::default());
    let player = Player::dialling(target.address);
    let mut node = Checked::new(&world, net, listening_on(vec![here(1)]), player).unwrap();
    run(&world, secs(1), &mut [&mut node, &mut target.reactor]);
    assert_eq!((node.stats().ready, bound_and_failed(&node)), (1, (0, 2)));
    assert_eq!(node.violations(), []);
}

#[test]
fn a_loop_that_waits_to_bind_an_address_ends_when_it_is_stopped() {
    let world = World::new(1, Instant::ZERO);
    let net = world.host();
    world.fail_sometimes(net.host(), Site::Listen, EADDRINUSE, 1);
    let mut node = Checked::new(&world, net, listening_on(vec![here(1)]), Player::default()).unwrap();
    run(&world, secs(10), &mut [&mut node]);
    assert_eq!(node.inspect().unbound_addresses, 1);
    node.handle().stop().unwrap();
    run(&world, secs(1), &mut [&mut node]);
    assert!(node.has_ended());
    assert_eq!(node.violations(), [], "the loop violated an invariant");
}

/// Builds a loop whose accepts can be made to fail, and a peer that waits to be accepted.
fn loop_at(world: &World, config: Config) -> (Reactor<SlowHost, Player>, RawPeer) {
    let net = SlowHost::new(world);
    let address = net.address();
    let mut reactor = Reactor::with_net(config, net, Player::default()).unwrap();
    reactor.poll_once(Duration::ZERO).unwrap();
    if reactor.listening_on().count() == 0 {
        reactor.listen(address).unwrap();
    }
    let mut peer = RawPeer::new(world);
    peer.dial(address);
    (reactor, peer)
}

#[test]
fn fault_e17_a_listener_that_keeps_failing_is_reopened_and_accepts_again() {
    for config in [config(), listening_on(vec![here(18_444)])] {
        let world = World::new(1, Instant::ZERO);
        let (mut reactor, _peer) = loop_at(&world, config);
        let errors = (0..6).map(|_| io::Error::from_raw_os_error(INVALID));
        reactor.net().accept_errors.borrow_mut().extend(errors);
        while reactor.stats().counters.listen_failures == 0 {
            reactor.poll_once(Duration::ZERO).unwrap();
            assert!(world.now() < Instant::ZERO.plus(MAX_ACCEPT_RETRY * 4));
            world.advance(Duration::from_millis(50));
        }
        assert_eq!(reactor.stats().counters.accept_pauses, 5);
        assert_eq!(reactor.listening_on().count(), 0, "the broken listener is still open");
        world.advance(LISTEN_RETRY_FIRST);
        reactor.poll_once(Duration::ZERO).unwrap();
        assert_eq!(reactor.listening_on().collect::<Vec<_>>(), [here(18_444)]);
        let mut late = RawPeer::new(&world);
        late.dial(here(18_444));
        reactor.poll_once(Duration::ZERO).unwrap();
        assert_eq!(reactor.stats().counters.accepted, 1);
    }
}

#[test]
fn fault_e17_a_lack_of_descriptors_closes_neither_the_listener_nor_a_waiting_connection() {
    let world = World::new(1, Instant::ZERO);
    let (mut reactor, _peer) = loop_at(&world, config());
    let errors = (0..100).map(|_| io::Error::from_raw_os_error(EMFILE));
    reactor.net().accept_errors.borrow_mut().extend(errors);
    for _ in 0..200 {
        reactor.poll_once(Duration::ZERO).unwrap();
        world.advance(MAX_ACCEPT_RETRY);
    }
    let counters = reactor.stats().counters;
    assert_eq!((counters.accepted, counters.accept_pauses, counters.listen_failures), (1, 100, 0));
}

#[test]
fn fault_e18_an_address_of_an_unknown_family_affects_only_its_own_connection() {
    let world = World::new(1, Instant::ZERO);
    let (mut reactor, _peer) = loop_at(&world, config());
    // The standard library's error for an address of an unknown family.
    let errors = (0..3).map(|_| io::Error::from(ErrorKind::InvalidInput));
    reactor.net().accept_errors.borrow_mut().extend(errors);
    reactor.poll_once(Duration::ZERO).unwrap();
    let counters = reactor.stats().counters;
    assert_eq!((counters.accepted, counters.accept_failures, counters.accept_pauses), (1, 3, 0));
}
