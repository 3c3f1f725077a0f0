//! What this machine is short of is held against no address.

use super::support::{Stranger, Town, manager};
use peerloop::api::NextDial;
use peerloop::config::ManagerConfig;
use peerloop::limits::{DIAL_PAUSE_FIRST, MAX_ACCEPT_RETRY};
use peerloop::sim::errno::{EADDRNOTAVAIL, EMFILE, ENETUNREACH, ENFILE, ENOBUFS};
use peerloop::sim::{Route, Site};
use peerloop::store::PeerStatus;
use peerloop_testkit::simulated::secs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A town with eight targets whose dials all fail like this for a while.
fn starved(errno: i32, time: Duration) -> (Town, Vec<SocketAddr>) {
    let mut town = Town::new(manager());
    let addresses = town.add_targets(8);
    town.remember(&addresses, PeerStatus::Unknown);
    town.world.fail_sometimes(town.node.net().host(), Site::Connect, errno, 1);
    town.run(time);
    assert_eq!((town.ready(), town.places()), (0, 0));
    assert!(town.count("connection_failed") > 0);
    for address in &addresses {
        let known = town.known(*address);
        assert_eq!((known.status, known.failures), (PeerStatus::Unknown, 0), "nothing is held against it");
    }
    (town, addresses)
}

#[test]
fn fault_e02_want_of_descriptors_or_memory_costs_no_address_anything_and_dialling_goes_on_after_it() {
    for errno in [EMFILE, ENFILE, ENOBUFS] {
        let (mut town, _) = starved(errno, secs(3_600));
        let dialled = town.node.stats().counters.dialled;
        assert!(dialled <= 8 * 3_610, "all that are wanted once a second: {dialled}");
        town.world.clear_faults();
        town.run(Duration::from_millis(1_100));
        assert_eq!(town.ready(), 8);
        town.stop();
    }
}

#[test]
fn fault_e04_want_of_ports_is_no_fault_of_the_address_and_halves_the_rate() {
    let (mut town, _) = starved(EADDRNOTAVAIL, secs(600));
    let dialled = town.node.stats().counters.dialled;
    assert!(dialled <= 8 * 600 / 5, "each waits five seconds at least: {dialled}");
    town.world.clear_faults();
    town.run(secs(10));
    assert_eq!(town.ready(), 8);
}

#[test]
fn fault_e05_a_network_that_is_gone_costs_no_address_anything() {
    let (mut town, _) = starved(ENETUNREACH, secs(24 * 3_600));
    town.world.clear_faults();
    town.run(secs(10));
    assert_eq!(town.ready(), 8);
}

#[test]
fn fault_e05_a_host_that_cannot_be_reached_backs_off() {
    let mut town = Town::new(ManagerConfig { max_retries: 3, ..manager() });
    let nobody = SocketAddr::from(([10, 9, 9, 9], 18_444));
    town.remember(&[nobody], PeerStatus::Unknown);
    town.world.set_route(nobody.ip(), Route::NoHost { least: Duration::ZERO, most: secs(1) });
    town.run(secs(60));
    assert_eq!(town.failures().iter().map(|failure| failure.1).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(town.failures()[2].2, NextDial::Inaccessible);
}

#[test]
fn fault_e05_a_range_is_dialled_once_a_second_at_most() {
    let mut town = Town::new(manager());
    let range: Vec<SocketAddr> = (1..=50).map(|host| SocketAddr::from(([8, 8, 8, host], 8_333))).collect();
    town.remember(&range, PeerStatus::Unknown);
    town.run(secs(20));
    let dialled = town.node.stats().counters.dialled;
    assert!((10..=21).contains(&dialled), "{dialled}");
}

#[test]
fn fault_e01_want_of_descriptors_in_accepting_pauses_dials_too() {
    let mut town = Town::new(manager());
    let host = town.node.net().host();
    let mut stranger = Stranger::new(&town.world);
    town.world.fail_sometimes(host, Site::Accept, EMFILE, 1);
    stranger.dial_from(0, town.address, None);
    let addresses = town.add_targets(1);
    town.settle();
    town.remember(&addresses, PeerStatus::Unknown);
    town.run(DIAL_PAUSE_FIRST / 2);
    assert_eq!(town.node.stats().counters.dialled, 0);
    town.world.clear_faults();
    town.run(MAX_ACCEPT_RETRY);
    assert_eq!((town.node.stats().counters.accepted, town.node.stats().counters.dialled), (1, 1));
}

#[test]
fn fault_e01_a_real_limit_of_descriptors_stops_neither_accepting_nor_dialling_for_good() {
    let mut town = Town::new(ManagerConfig { target_peers: 50, max_peers: 100, ..manager() });
    let host = town.node.net().host();
    town.world.set_descriptor_limit(host, town.world.open_descriptors(host) + 6);
    let addresses = town.add_targets(4);
    town.remember(&addresses, PeerStatus::Unknown);
    let mut stranger = Stranger::new(&town.world);
    for link in 0..10 {
        stranger.dial_from(link, town.address, Some(IpAddr::from([8, 8, 1, link as u8])));
    }
    town.run(secs(5));
    assert_eq!(town.node.stats().links, 6);
    town.world.set_descriptor_limit(host, usize::MAX);
    town.run(secs(3));
    assert_eq!((town.node.stats().counters.accepted, town.ready()), (10, 4));
    assert!(addresses.iter().all(|address| town.known(*address).failures == 0));
}
