//! The number of peers: the loop dials below the target, accepts up to the maximum, and rejects above it.

use super::support::{Claim, ManagedWorld, Stranger, Watcher, known_as, manager};
use peerloop::address::Host;
use peerloop::ban::{Ban, BanReason};
use peerloop::config::{DialMode, ManagerConfig};
use peerloop::error::{CloseReason, LocalCause, Refusal};
use peerloop::internals::limits::MAX_OVER_CAPACITY;
use peerloop::peer::ConnectionType;
use peerloop::sim::World;
use peerloop::store::PeerStatus;
use peerloop::time::Instant;
use peerloop::{Config, ControlEvent, Network};
use peerloop_testkit::bytes::{commands, frames};
use peerloop_testkit::simulated::secs;
use std::net::SocketAddr;

#[test]
fn req_e23_the_default_numbers_of_peers_are_8_and_20_and_invalid_numbers_are_refused() {
    let config = ManagerConfig::new(Network::Mainnet);
    assert_eq!((config.target_peers, config.max_peers), (8, 20));
    for (target_peers, max_peers) in [(0, 20), (21, 20), (1, 0)] {
        let manager = config.clone().with_target_peers(target_peers).with_max_peers(max_peers);
        assert!(Config::new(Network::Mainnet).with_manager(manager).validate().is_err());
    }
}

#[test]
fn req_e24_a_loop_dials_up_to_the_target() {
    let mut managed = ManagedWorld::new(manager());
    let addresses = managed.add_targets(12);
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.run(secs(60));
    assert_eq!((managed.ready(), managed.slots_in_use(), managed.established().len()), (8, 8, 8));
    assert!(managed.established().iter().all(|address| managed.known(*address).status == PeerStatus::Valid));
    assert_eq!(managed.report().book.iter().filter(|peer| peer.status == PeerStatus::Unknown).count(), 4);
    managed.stop();
}

#[test]
fn req_e24_a_loop_replaces_a_lost_peer() {
    let mut managed = ManagedWorld::new(manager().with_max_restarts(0));
    let addresses = managed.add_targets(9);
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.run(secs(1));
    let first = managed.established();
    let left = *addresses.iter().find(|address| !first.contains(address)).unwrap();
    let gone = managed.targets.iter().find(|target| target.address == first[0]).unwrap();
    gone.reactor.handle().stop().unwrap();
    managed.run(secs(2));
    assert_eq!((managed.ready(), managed.established().last()), (8, Some(&left)));
}

#[test]
fn req_e24_between_target_and_maximum_a_loop_only_accepts() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(2).with_max_peers(5));
    let addresses = managed.add_targets(4);
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.run(secs(1));
    assert_eq!(managed.slots_in_use(), 2);
    let mut stranger = Stranger::new(&managed.world);
    (0..3).for_each(|link| managed.welcome(&mut stranger, link, None));
    assert_eq!((managed.ready(), managed.slots_in_use()), (5, 5));
    // Both dialled peers close. The remaining three exceed the target.
    managed.targets.iter().for_each(|target| drop(target.reactor.handle().stop().unwrap()));
    managed.run(secs(30));
    assert_eq!((managed.ready(), managed.slots_in_use(), managed.node.stats().counters.dialled), (3, 3, 2));
    stranger.close(0);
    managed.run(secs(30));
    assert_eq!(
        (managed.slots_in_use(), managed.node.stats().counters.dialled),
        (2, 2),
        "a peer was dialled or lost although two peers meet the target"
    );
    stranger.close(1);
    managed.run(secs(30));
    assert!(
        managed.node.stats().counters.dialled > 2,
        "no peer was dialled although one peer remains and the target is two"
    );
}

#[test]
fn req_e24_a_peer_above_the_maximum_is_rejected_and_never_counted() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1).with_max_peers(2));
    let mut stranger = Stranger::new(&managed.world);
    (0..2).for_each(|link| managed.welcome(&mut stranger, link, None));
    managed.clear_log();
    managed.welcome(&mut stranger, 2, None);
    managed.run(secs(1));
    let (received, has_ended) = stranger.receive(2);
    assert_eq!((commands(&received), has_ended), (["version", "verack", "reject"].map(str::to_owned).to_vec(), true));
    let reject = &frames(&received)[2].1;
    assert_eq!((&reject[..8], reject[8]), (&b"\x07version"[..], 0x44), "the `reject` is not that of a full server");
    assert_eq!((managed.ready(), managed.slots_in_use()), (2, 2));
    stranger.close(2);
    managed.run(secs(5));
    assert_eq!(managed.labels(), ["connection_established", "rejected_over_capacity", "connection_failed"]);
    let ControlEvent::ConnectionEstablished { connection_type, .. } = managed.events()[0] else { panic!() };
    assert_eq!(connection_type, ConnectionType::OverCapacity);
    assert_eq!(managed.ends(), [CloseReason::Local(LocalCause::OverCapacity)]);
    assert_eq!(managed.slots_in_use(), 2);
    stranger.close(0);
    managed.settle();
    managed.welcome(&mut stranger, 3, None);
    assert_eq!(
        (managed.ready(), managed.count("handshake_complete")),
        (2, 1),
        "a peer was not accepted although there is room again"
    );
    managed.stop();
}

#[test]
fn req_e24_the_number_of_connections_over_capacity_is_limited() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1).with_max_peers(1));
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, None);
    let most = MAX_OVER_CAPACITY as u64;
    (1..=most + 5).for_each(|link| stranger.dial_from(link, managed.address, None));
    managed.settle();
    assert_eq!(managed.refusals(), [Refusal::TableFull { links: 1 + MAX_OVER_CAPACITY }; 5]);
    assert_eq!(managed.node.inspect().summary.over_capacity, MAX_OVER_CAPACITY);
    assert_eq!(managed.slots_in_use(), 1);
    managed.run(secs(11));
    assert_eq!(managed.node.stats().links, 1, "the silent connections were not closed in time");
    managed.stop();
}

#[test]
fn the_maximum_number_of_accepted_links_applies_in_addition_to_the_maximum_number_of_peers() {
    let world = World::new(1, Instant::ZERO);
    let mut managed = ManagedWorld::at(world, manager(), Watcher::default());
    let config = managed.node.reactor().config().clone().with_max_inbound(1);
    drop(managed.node.handle().update_config(config).unwrap());
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, None);
    managed.welcome(&mut stranger, 1, None);
    assert_eq!((managed.ready(), managed.slots_in_use(), managed.count("rejected_over_capacity")), (1, 1, 1));
}

#[test]
fn req_e25_valid_addresses_are_dialled_first_and_banned_ones_never() {
    let mut managed = ManagedWorld::new(manager());
    let addresses = managed.add_targets(7);
    managed.remember(&addresses[3..6], PeerStatus::Unknown);
    managed.remember(&addresses[..3], PeerStatus::Valid);
    let unix = managed.world.unix_time();
    let ban = Ban { host: Host::of(addresses[6].ip()), reason: BanReason::Manual, since: unix, until: None };
    let known = known_as(addresses[6], PeerStatus::Banned(BanReason::Manual), unix);
    managed.node.remember(vec![known], vec![ban]);
    managed.run(secs(3_600));
    let mut order = managed.established();
    order[..3].sort_unstable();
    order[3..].sort_unstable();
    assert_eq!(order, addresses[..6]);
    assert_eq!(managed.slots_in_use(), 6, "the six dialled peers do not use exactly six slots");
}

#[test]
fn req_e26_a_fixed_list_ignores_the_target_and_honours_the_maximum() {
    let mut managed = ManagedWorld::new(manager());
    let addresses = managed.add_targets(6);
    let mode = DialMode::Fixed(addresses[..5].to_vec());
    let fixed = manager().with_mode(mode).with_target_peers(1).with_max_peers(3);
    let world = managed.world.clone();
    let mut targets = std::mem::take(&mut managed.targets);
    let mut managed = ManagedWorld::at(world, fixed, Watcher::default());
    managed.targets.append(&mut targets);
    managed.remember(&addresses[5..], PeerStatus::Valid);
    managed.run(secs(60));
    let mut dialled: Vec<SocketAddr> = managed.established();
    dialled.sort_unstable();
    assert_eq!(dialled, addresses[..3]);
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, None);
    assert_eq!((managed.slots_in_use(), managed.count("rejected_over_capacity")), (3, 1));
}

#[test]
fn req_e26_a_fixed_peer_is_not_dialled_while_its_host_is_banned_and_is_dialled_when_the_ban_ends() {
    let mut elsewhere = ManagedWorld::new(manager());
    let addresses = elsewhere.add_targets(2);
    let mode = DialMode::Fixed(addresses.clone());
    let mut managed = ManagedWorld::at(elsewhere.world.clone(), manager().with_mode(mode), Watcher::default());
    managed.targets = std::mem::take(&mut elsewhere.targets);
    let done = managed.node.handle().ban(addresses[0].ip(), Some(secs(300))).unwrap();
    managed.run(secs(100));
    assert_eq!(done.wait(), Ok(Ok(())));
    assert_eq!(managed.established(), addresses[1..]);
    managed.run(secs(220));
    assert_eq!((managed.ready(), managed.established().len()), (2, 2));
}

#[test]
fn req_e28_a_lower_target_and_maximum_close_no_peer_and_reject_newcomers() {
    let mut managed = ManagedWorld::new(manager());
    let addresses = managed.add_targets(8);
    managed.remember(&addresses, PeerStatus::Unknown);
    managed.run(secs(1));
    let mut stranger = Stranger::new(&managed.world);
    (0..4).for_each(|link| managed.welcome(&mut stranger, link, None));
    assert_eq!(managed.ready(), 12);
    let lower = manager().with_target_peers(2).with_max_peers(5);
    let config = managed.node.reactor().config().clone().with_manager(lower);
    let changes = managed.node.handle().update_config(config).unwrap();
    managed.run(secs(60));
    assert_eq!(changes.wait().unwrap().map(|changes| changes.len()), Ok(2));
    assert_eq!(
        (managed.ready(), managed.slots_in_use(), managed.summary().max_slots, managed.ends()),
        (12, 12, 5, vec![])
    );
    managed.welcome(&mut stranger, 10, None);
    assert_eq!((managed.ready(), managed.count("rejected_over_capacity")), (12, 1));
    (0..4).for_each(|link| stranger.close(link));
    managed.settle();
    managed.welcome(&mut stranger, 11, None);
    assert_eq!(
        (managed.ready(), managed.count("rejected_over_capacity")),
        (8, 2),
        "a newcomer was accepted although eight peers exceed the maximum of five"
    );
    managed.stop();
}

#[test]
fn req_e33_a_peer_that_names_its_listener_is_remembered_and_is_accepted_even_if_its_listener_is_inaccessible() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1));
    let mut stranger = Stranger::new(&managed.world);
    let theirs = stranger.address();
    let claim = Claim { port: theirs.port(), ..Claim::default() };
    stranger.dial_from(0, managed.address, None);
    stranger.send(0, &claim.handshake());
    managed.settle();
    assert_eq!(managed.known(theirs).status, PeerStatus::Unknown);
    assert_eq!(managed.known(theirs).user_agent.as_str(), "/Bitcoin SV:1.2.2/");
    stranger.close(0);
    managed.run(secs(3_600));
    assert_eq!(
        managed.known(theirs).status,
        PeerStatus::Inaccessible,
        "the address was not marked inaccessible although nothing listens there"
    );
    stranger.dial_from(1, managed.address, None);
    stranger.send(1, &claim.handshake());
    managed.settle();
    assert_eq!(managed.ready(), 1);
    assert_eq!(
        managed.known(theirs).status,
        PeerStatus::Unknown,
        "the new connection did not reset the address's status"
    );
}
