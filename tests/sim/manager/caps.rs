//! Caps per host and per range, the rate at which hosts come, and who has to go for a newcomer.

use super::support::{Stranger, Town, Watcher, manager};
use peerloop::config::{DialMode, ManagerConfig};
use peerloop::error::{DialHold, LocalCause, Refusal};
use peerloop::sim::World;
use peerloop::store::PeerStatus;
use peerloop::time::Instant;
use peerloop::{ControlEvent, Network};
use peerloop_testkit::simulated::secs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn threat_p24_a_host_has_eight_connections_and_the_ninth_takes_no_row() {
    let mut town = Town::new(ManagerConfig::new(Network::Regtest));
    let mut stranger = Stranger::new(&town.world);
    (0..8).for_each(|link| town.welcome(&mut stranger, link, ip("8.8.8.8")));
    let (accepted, slots) = (town.node.stats().counters.accepted, town.node.inspect().slots);
    stranger.dial_from(8, town.address, ip("8.8.8.8"));
    town.settle();
    assert_eq!(town.refusals(), [Refusal::HostFull { count: 8 }]);
    assert_eq!((town.node.stats().counters.accepted, town.node.inspect().slots), (accepted, slots));
    assert!(stranger.receive(8).1, "it is closed without a word");
    town.welcome(&mut stranger, 9, ip("8.8.8.9"));
    assert_eq!(town.ready(), 9, "its neighbour is another host");
    stranger.close(0);
    town.run(secs(1));
    town.welcome(&mut stranger, 10, ip("8.8.8.8"));
    assert_eq!(town.ready(), 9);
}

#[test]
fn threat_p24_a_host_comes_ten_times_a_second_after_a_burst_of_twenty() {
    let mut town =
        Town::new(ManagerConfig { max_per_host: 1_000, max_peers: 1_000, ..ManagerConfig::new(Network::Regtest) });
    let mut stranger = Stranger::new(&town.world);
    (0..30).for_each(|link| stranger.dial_from(link, town.address, None));
    town.settle();
    assert_eq!(town.node.stats().counters.accepted, 20);
    assert_eq!(town.refusals(), [Refusal::TooFast { per_second: 10 }; 10]);
    town.run(Duration::from_millis(100));
    (30..32).for_each(|link| stranger.dial_from(link, town.address, None));
    town.settle();
    assert_eq!(town.node.stats().counters.accepted, 21);
}

#[test]
fn threat_p25_a_range_has_its_share_of_the_peers_and_others_are_let_in() {
    let config = ManagerConfig {
        max_peers: 40,
        max_per_host: 2,
        max_per_group_percent: 10,
        ..ManagerConfig::new(Network::Regtest)
    };
    let mut town = Town::new(config);
    let mut stranger = Stranger::new(&town.world);
    for link in 0..6 {
        let source = Some(IpAddr::from([8, 8, 0, link as u8 + 1]));
        stranger.dial_from(link, town.address, source);
    }
    town.settle();
    assert_eq!(town.refusals(), [Refusal::GroupFull { count: 4 }; 2]);
    town.welcome(&mut stranger, 9, ip("8.9.0.1"));
    assert_eq!(town.ready(), 1);
}

#[test]
fn threat_p24_no_cap_and_no_rate_is_for_the_trusted() {
    let trusted = vec![(IpAddr::from([8, 8, 8, 0]), 24)];
    let config = ManagerConfig { trusted, max_peers: 100, ..ManagerConfig::new(Network::Regtest) };
    let mut town = Town::new(config);
    let mut stranger = Stranger::new(&town.world);
    (0..60).for_each(|link| town.welcome(&mut stranger, link, ip("8.8.8.8")));
    assert_eq!((town.ready(), town.refusals()), (60, vec![]));
}

#[test]
fn threat_p24_the_caps_hold_for_whom_it_dials_itself() {
    let mut town = Town::new(ManagerConfig { max_per_host: 2, ..ManagerConfig::new(Network::Regtest) });
    let mut stranger = Stranger::new(&town.world);
    let ports: Vec<SocketAddr> = (1..6).map(|port| SocketAddr::new(stranger.net.ip(), port)).collect();
    for (index, address) in ports.iter().enumerate() {
        peerloop::net::Net::listen(&mut stranger.net, index as u32 + 1, *address).unwrap();
    }
    town.remember(&ports, PeerStatus::Unknown);
    town.run(secs(1));
    assert_eq!(town.places(), 2);
    assert_eq!(holds(&town), [DialHold::HostFull]);
    assert_eq!(town.node.stats().dial_holds.count(DialHold::HostFull), 1);
}

#[test]
fn a_range_that_is_full_of_accepted_peers_holds_the_dials_back_and_that_is_reported_once() {
    let mut town = Town::new(ManagerConfig { max_per_host: 2, max_per_group_percent: 20, ..manager() });
    let mut stranger = Stranger::new(&town.world);
    (0..4).for_each(|link| town.welcome(&mut stranger, link, ip(&format!("9.9.0.{}", link + 1))));
    town.remember(&["9.9.7.7:8333".parse().unwrap()], PeerStatus::Unknown);
    town.run(secs(30));
    assert_eq!(holds(&town), [DialHold::GroupFull]);
}

/// The causes that were reported for which wanted peers are not dialled.
fn holds(town: &Town) -> Vec<DialHold> {
    let cause = |event| match event {
        ControlEvent::DialsHeldBack { cause } => Some(cause),
        _ => None,
    };
    town.events().into_iter().filter_map(cause).collect()
}

#[test]
fn req_e26_the_caps_are_not_for_a_fixed_list() {
    let world = World::new(1, Instant::ZERO);
    let mut stranger = Stranger::new(&world);
    let listed: Vec<SocketAddr> = (1..=12).map(|port| SocketAddr::new(stranger.net.ip(), port)).collect();
    for (index, address) in listed.iter().enumerate() {
        peerloop::net::Net::listen(&mut stranger.net, index as u32 + 1, *address).unwrap();
    }
    let mode = DialMode::Fixed(listed);
    let config = ManagerConfig { mode, max_per_group_percent: 1, ..ManagerConfig::new(Network::Regtest) };
    assert_eq!(config.max_per_host, 8);
    let mut town = Town::at(world, config, Watcher::default());
    town.run(secs(1));
    assert_eq!(town.places(), 12);
}

/// A full town whose peers are all accepted, one a second, from as many ranges as there are but for every third.
fn full_town(evict_inbound: bool) -> (Town, Stranger) {
    let config = ManagerConfig { target_peers: 1, max_peers: 60, evict_inbound, ..manager() };
    let mut town = Town::new(config);
    let mut stranger = Stranger::new(&town.world);
    for link in 0..60_u64 {
        let flood = link % 3 == 0;
        let source = if flood { [9, 9, 1, link as u8] } else { [20 + link as u8, 1, 1, 1] };
        town.welcome(&mut stranger, link, Some(IpAddr::from(source)));
        town.run(secs(1));
    }
    assert_eq!(town.ready(), 60);
    town.forget_log();
    (town, stranger)
}

#[test]
fn threat_p26_a_newcomer_takes_the_place_of_the_youngest_of_the_largest_range() {
    let (mut town, mut stranger) = full_town(true);
    town.welcome(&mut stranger, 60, ip("7.7.7.7"));
    let ControlEvent::PeerEvicted { address, .. } = town.events()[0] else { panic!("{:?}", town.events()) };
    assert_eq!(address.ip(), IpAddr::from([9, 9, 1, 57]), "the last that came from there");
    assert_eq!((town.ready(), town.places(), town.ends()), (60, 60, vec![LocalCause::Evicted.into()]));
    assert!(stranger.receive(57).1);
    assert_eq!(town.count("rejected_over_capacity"), 0);
    town.stop();
}

#[test]
fn threat_p25_a_flood_displaces_its_own_and_nobody_else() {
    let (mut town, mut stranger) = full_town(true);
    for link in 100..300 {
        let source = Some(IpAddr::from([9, 9, 2, (link % 250) as u8]));
        town.welcome(&mut stranger, link, source);
    }
    let evicted: Vec<IpAddr> = town
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ControlEvent::PeerEvicted { address, .. } => Some(address.ip()),
            _ => None,
        })
        .collect();
    assert_eq!(evicted.len(), 200);
    assert!(evicted.iter().all(|address| matches!(address, IpAddr::V4(ip) if ip.octets()[..2] == [9, 9])));
    assert_eq!((town.ready(), town.places()), (60, 60));
}

#[test]
fn threat_p26_without_eviction_a_newcomer_is_told_that_there_is_no_room() {
    let (mut town, mut stranger) = full_town(false);
    town.welcome(&mut stranger, 60, ip("7.7.7.7"));
    assert_eq!((town.count("peer_evicted"), town.count("rejected_over_capacity")), (0, 1));
    assert_eq!(town.ready(), 60);
}

#[test]
fn threat_p26_who_was_dialled_or_is_trusted_never_has_to_go() {
    let trusted = vec![(IpAddr::from([9, 9, 0, 0]), 16)];
    let mut town =
        Town::new(ManagerConfig { target_peers: 5, max_peers: 40, evict_inbound: true, trusted, ..manager() });
    let addresses = town.add_targets(5);
    town.remember(&addresses, PeerStatus::Unknown);
    town.run(secs(1));
    let mut stranger = Stranger::new(&town.world);
    for link in 0..35_u64 {
        town.welcome(&mut stranger, link, Some(IpAddr::from([9, 9, 1, link as u8])));
    }
    assert_eq!(town.places(), 40);
    town.welcome(&mut stranger, 40, ip("7.7.7.7"));
    assert_eq!((town.count("peer_evicted"), town.count("rejected_over_capacity")), (0, 1));
}
