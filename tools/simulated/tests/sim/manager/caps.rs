//! Caps per host and per range, the rate of accepted connections, and evictions for newcomers.

use super::support::{ManagedWorld, Stranger, Watcher, manager};
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
fn threat_p24_a_host_may_have_eight_connections_and_the_ninth_gets_no_row() {
    let mut managed = ManagedWorld::new(ManagerConfig::new(Network::Regtest));
    let mut stranger = Stranger::new(&managed.world);
    (0..8).for_each(|link| managed.welcome(&mut stranger, link, ip("8.8.8.8")));
    let (accepted, slots) = (managed.node.stats().counters.accepted, managed.node.inspect().slots);
    stranger.dial_from(8, managed.address, ip("8.8.8.8"));
    managed.settle();
    assert_eq!(managed.refusals(), [Refusal::HostFull { count: 8 }]);
    assert_eq!((managed.node.stats().counters.accepted, managed.node.inspect().slots), (accepted, slots));
    assert!(stranger.receive(8).1, "the ninth connection was not closed");
    managed.welcome(&mut stranger, 9, ip("8.8.8.9"));
    assert_eq!(managed.ready(), 9, "the neighbouring address was not admitted as a different host");
    stranger.close(0);
    managed.run(secs(1));
    managed.welcome(&mut stranger, 10, ip("8.8.8.8"));
    assert_eq!(managed.ready(), 9);
}

#[test]
fn threat_p24_a_host_is_accepted_ten_times_a_second_after_a_burst_of_twenty() {
    let mut managed =
        ManagedWorld::new(ManagerConfig::new(Network::Regtest).with_max_per_host(1_000).with_max_peers(1_000));
    let mut stranger = Stranger::new(&managed.world);
    (0..30).for_each(|link| stranger.dial_from(link, managed.address, None));
    managed.settle();
    assert_eq!(managed.node.stats().counters.accepted, 20);
    assert_eq!(managed.refusals(), [Refusal::TooFast { per_second: 10 }; 10]);
    managed.run(Duration::from_millis(100));
    (30..32).for_each(|link| stranger.dial_from(link, managed.address, None));
    managed.settle();
    assert_eq!(managed.node.stats().counters.accepted, 21);
}

#[test]
fn threat_p25_a_range_gets_at_most_its_share_of_the_peers_and_other_ranges_are_accepted() {
    let config =
        ManagerConfig::new(Network::Regtest).with_max_peers(40).with_max_per_host(2).with_max_per_group_percent(10);
    let mut managed = ManagedWorld::new(config);
    let mut stranger = Stranger::new(&managed.world);
    for link in 0..6 {
        let source = Some(IpAddr::from([8, 8, 0, link as u8 + 1]));
        stranger.dial_from(link, managed.address, source);
    }
    managed.settle();
    assert_eq!(managed.refusals(), [Refusal::GroupFull { count: 4 }; 2]);
    managed.welcome(&mut stranger, 9, ip("8.9.0.1"));
    assert_eq!(managed.ready(), 1);
}

#[test]
fn threat_p24_neither_the_cap_per_host_nor_the_accept_rate_applies_to_trusted_peers() {
    let trusted = vec![(IpAddr::from([8, 8, 8, 0]), 24)];
    let config = ManagerConfig::new(Network::Regtest).with_trusted(trusted).with_max_peers(100);
    let mut managed = ManagedWorld::new(config);
    let mut stranger = Stranger::new(&managed.world);
    (0..60).for_each(|link| managed.welcome(&mut stranger, link, ip("8.8.8.8")));
    assert_eq!((managed.ready(), managed.refusals()), (60, vec![]));
}

#[test]
fn threat_p24_the_cap_per_host_applies_to_dialled_peers() {
    let mut managed = ManagedWorld::new(ManagerConfig::new(Network::Regtest).with_max_per_host(2));
    let mut stranger = Stranger::new(&managed.world);
    let ports: Vec<SocketAddr> = (1..6).map(|port| SocketAddr::new(stranger.net.ip(), port)).collect();
    for (index, address) in ports.iter().enumerate() {
        peerloop::internals::net::Net::listen(&mut stranger.net, index as u32 + 1, *address).unwrap();
    }
    managed.remember(&ports, PeerStatus::Unknown);
    managed.run(secs(1));
    assert_eq!(managed.slots_in_use(), 2);
    assert_eq!(holds(&managed), [DialHold::HostFull]);
    assert_eq!(managed.node.stats().dial_holds.count(DialHold::HostFull), 1);
}

#[test]
fn dials_into_a_range_that_accepted_peers_fill_are_held_back_and_this_is_reported_once() {
    let mut managed = ManagedWorld::new(manager().with_max_per_host(2).with_max_per_group_percent(20));
    let mut stranger = Stranger::new(&managed.world);
    (0..4).for_each(|link| managed.welcome(&mut stranger, link, ip(&format!("9.9.0.{}", link + 1))));
    managed.remember(&["9.9.7.7:8333".parse().unwrap()], PeerStatus::Unknown);
    managed.run(secs(30));
    assert_eq!(holds(&managed), [DialHold::GroupFull]);
}

/// Returns the reported causes of held-back dials.
fn holds(managed: &ManagedWorld) -> Vec<DialHold> {
    let cause = |event| match event {
        ControlEvent::DialsHeldBack { cause } => Some(cause),
        _ => None,
    };
    managed.events().into_iter().filter_map(cause).collect()
}

#[test]
fn req_e26_the_caps_per_host_and_per_range_do_not_apply_to_a_fixed_list() {
    let world = World::new(1, Instant::ZERO);
    let mut stranger = Stranger::new(&world);
    let listed: Vec<SocketAddr> = (1..=12).map(|port| SocketAddr::new(stranger.net.ip(), port)).collect();
    for (index, address) in listed.iter().enumerate() {
        peerloop::internals::net::Net::listen(&mut stranger.net, index as u32 + 1, *address).unwrap();
    }
    let mode = DialMode::Fixed(listed);
    let config = ManagerConfig::new(Network::Regtest).with_mode(mode).with_max_per_group_percent(1);
    assert_eq!(config.max_per_host, 8);
    let mut managed = ManagedWorld::at(world, config, Watcher::default());
    managed.run(secs(1));
    assert_eq!(managed.slots_in_use(), 12);
}

/// Builds a managed world that has accepted one peer a second up to its maximum of 60 peers. Every third peer is from
/// the range 9.9.0.0/16, and each of the remaining peers is from a range of its own.
fn full_managed(evict_inbound: bool) -> (ManagedWorld, Stranger) {
    let config = manager().with_target_peers(1).with_max_peers(60).with_evict_inbound(evict_inbound);
    let mut managed = ManagedWorld::new(config);
    let mut stranger = Stranger::new(&managed.world);
    for link in 0..60_u64 {
        let flood = link % 3 == 0;
        let source = if flood { [9, 9, 1, link as u8] } else { [20 + link as u8, 1, 1, 1] };
        managed.welcome(&mut stranger, link, Some(IpAddr::from(source)));
        managed.run(secs(1));
    }
    assert_eq!(managed.ready(), 60);
    managed.clear_log();
    (managed, stranger)
}

#[test]
fn threat_p26_a_newcomer_evicts_the_youngest_peer_of_the_largest_range() {
    let (mut managed, mut stranger) = full_managed(true);
    managed.welcome(&mut stranger, 60, ip("7.7.7.7"));
    let ControlEvent::PeerEvicted { address, .. } = managed.events()[0] else { panic!("{:?}", managed.events()) };
    assert_eq!(address.ip(), IpAddr::from([9, 9, 1, 57]), "the evicted peer is not the youngest of the largest range");
    assert_eq!((managed.ready(), managed.slots_in_use(), managed.ends()), (60, 60, vec![LocalCause::Evicted.into()]));
    assert!(stranger.receive(57).1);
    assert_eq!(managed.count("rejected_over_capacity"), 0);
    managed.stop();
}

#[test]
fn threat_p25_a_flood_evicts_only_peers_of_its_own_range() {
    let (mut managed, mut stranger) = full_managed(true);
    for link in 100..300 {
        let source = Some(IpAddr::from([9, 9, 2, (link % 250) as u8]));
        managed.welcome(&mut stranger, link, source);
    }
    let evicted: Vec<IpAddr> = managed
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ControlEvent::PeerEvicted { address, .. } => Some(address.ip()),
            _ => None,
        })
        .collect();
    assert_eq!(evicted.len(), 200);
    assert!(evicted.iter().all(|address| matches!(address, IpAddr::V4(ip) if ip.octets()[..2] == [9, 9])));
    assert_eq!((managed.ready(), managed.slots_in_use()), (60, 60));
}

#[test]
fn threat_p26_without_eviction_a_newcomer_is_rejected_for_lack_of_room() {
    let (mut managed, mut stranger) = full_managed(false);
    managed.welcome(&mut stranger, 60, ip("7.7.7.7"));
    assert_eq!((managed.count("peer_evicted"), managed.count("rejected_over_capacity")), (0, 1));
    assert_eq!(managed.ready(), 60);
}

#[test]
fn threat_p26_dialled_and_trusted_peers_are_never_evicted() {
    let trusted = vec![(IpAddr::from([9, 9, 0, 0]), 16)];
    let mut managed = ManagedWorld::new(
        manager().with_target_peers(5).with_max_peers(40).with_evict_inbound(true).with_trusted(trusted),
    );
    let addresses = managed.add_targets(5);
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.run(secs(1));
    let mut stranger = Stranger::new(&managed.world);
    for link in 0..35_u64 {
        managed.welcome(&mut stranger, link, Some(IpAddr::from([9, 9, 1, link as u8])));
    }
    assert_eq!(managed.slots_in_use(), 40);
    managed.welcome(&mut stranger, 40, ip("7.7.7.7"));
    assert_eq!((managed.count("peer_evicted"), managed.count("rejected_over_capacity")), (0, 1));
}
