//! A lack of descriptors, memory, ports or network on this machine counts against no address.

use super::support::{ManagedWorld, Stranger, manager};
use peerloop::api::NextDial;
use peerloop::internals::errno::{EADDRNOTAVAIL, EMFILE, ENETUNREACH, ENFILE, ENOBUFS};
use peerloop::internals::limits::{DIAL_PAUSE_FIRST, MAX_ACCEPT_RETRY};
use peerloop::sim::{Route, Site};
use peerloop::store::PeerStatus;
use peerloop_testkit::simulated::secs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Builds a managed world with eight targets, and runs it for `time` while every dial fails with `errno`.
fn starved(errno: i32, time: Duration) -> (ManagedWorld, Vec<SocketAddr>) {
    let mut managed = ManagedWorld::new(manager());
    let addresses = managed.add_targets(8);
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.world.fail_sometimes(managed.node.net().host(), Site::Connect, errno, 1);
    managed.run(time);
    assert_eq!((managed.ready(), managed.slots_in_use()), (0, 0));
    assert!(managed.count("connection_failed") > 0);
    for address in &addresses {
        let known = managed.known(*address);
        assert_eq!((known.status, known.failures), (PeerStatus::Unknown, 0), "a failure counted against {address}");
    }
    (managed, addresses)
}

#[test]
fn fault_e02_a_lack_of_descriptors_or_memory_counts_against_no_address_and_dialling_continues_after_it() {
    for errno in [EMFILE, ENFILE, ENOBUFS] {
        let (mut managed, _) = starved(errno, secs(3_600));
        let dialled = managed.node.stats().counters.dialled;
        assert!(dialled <= 8 * 3_610, "more than one dial a second for each wanted peer: {dialled}");
        managed.world.clear_faults();
        managed.run(Duration::from_millis(1_100));
        assert_eq!(managed.ready(), 8);
        managed.stop();
    }
}

#[test]
fn fault_e04_a_lack_of_ports_does_not_count_against_the_address_and_delays_its_next_dial() {
    let (mut managed, _) = starved(EADDRNOTAVAIL, secs(600));
    let dialled = managed.node.stats().counters.dialled;
    assert!(dialled <= 8 * 600 / 5, "an address was dialled again within five seconds: {dialled} dials");
    managed.world.clear_faults();
    managed.run(secs(10));
    assert_eq!(managed.ready(), 8);
}

#[test]
fn fault_e05_a_lost_network_counts_against_no_address() {
    let (mut managed, _) = starved(ENETUNREACH, secs(24 * 3_600));
    managed.world.clear_faults();
    managed.run(secs(10));
    assert_eq!(managed.ready(), 8);
}

#[test]
fn fault_e05_dials_to_an_unreachable_host_count_against_its_address() {
    let mut managed = ManagedWorld::new(manager().with_max_retries(3));
    let nobody = SocketAddr::from(([10, 9, 9, 9], 18_444));
    managed.remember(&[nobody], PeerStatus::Unknown);
    managed.world.set_route(nobody.ip(), Route::NoHost { least: Duration::ZERO, most: secs(1) });
    managed.run(secs(60));
    assert_eq!(managed.failures().iter().map(|failure| failure.1).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(managed.failures()[2].2, NextDial::Inaccessible);
}

#[test]
fn fault_e05_a_range_is_dialled_once_a_second_at_most() {
    let mut managed = ManagedWorld::new(manager());
    let range: Vec<SocketAddr> = (1..=50).map(|host| SocketAddr::from(([8, 8, 8, host], 8_333))).collect();
    managed.remember(&range, PeerStatus::Unknown);
    managed.run(secs(20));
    let dialled = managed.node.stats().counters.dialled;
    assert!((10..=21).contains(&dialled), "{dialled}");
}

#[test]
fn fault_e01_an_accept_without_a_free_descriptor_pauses_dials_too() {
    let mut managed = ManagedWorld::new(manager());
    let host = managed.node.net().host();
    let mut stranger = Stranger::new(&managed.world);
    managed.world.fail_sometimes(host, Site::Accept, EMFILE, 1);
    stranger.dial_from(0, managed.address, None);
    let addresses = managed.add_targets(1);
    managed.settle();
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.run(DIAL_PAUSE_FIRST / 2);
    assert_eq!(managed.node.stats().counters.dialled, 0);
    managed.world.clear_faults();
    managed.run(MAX_ACCEPT_RETRY);
    assert_eq!((managed.node.stats().counters.accepted, managed.node.stats().counters.dialled), (1, 1));
}

#[test]
fn fault_e01_a_descriptor_limit_stops_neither_accepting_nor_dialling_for_good() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(50).with_max_peers(100));
    let host = managed.node.net().host();
    managed.world.set_descriptor_limit(host, managed.world.open_descriptors(host) + 6);
    let addresses = managed.add_targets(4);
    managed.remember(&addresses, PeerStatus::Unknown);
    let mut stranger = Stranger::new(&managed.world);
    for link in 0..10 {
        stranger.dial_from(link, managed.address, Some(IpAddr::from([8, 8, 1, link as u8])));
    }
    managed.run(secs(5));
    assert_eq!(managed.node.stats().links, 6);
    managed.world.set_descriptor_limit(host, usize::MAX);
    managed.run(secs(3));
    assert_eq!((managed.node.stats().counters.accepted, managed.ready()), (10, 4));
    assert!(addresses.iter().all(|address| managed.known(*address).failures == 0));
}
