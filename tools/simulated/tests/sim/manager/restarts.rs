//! An address whose connection has failed or closed is dialled again at once, later, or never.

use super::support::{Claim, ManagedWorld, Stranger, Watcher, manager};
use peerloop::api::NextDial;
use peerloop::config::ManagerConfig;
use peerloop::error::{CloseReason, Disconnect, Incompatibility};
use peerloop::peer::ConnectionType;
use peerloop::sim::World;
use peerloop::store::PeerStatus;
use peerloop::time::Instant;
use peerloop::{ControlEvent, PeerId};
use peerloop_testkit::simulated::secs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)), 18_444);
const NANO: Duration = Duration::from_nanos(1);

/// Builds a managed world with a stranger in its book.
fn managed_and_stranger(config: ManagerConfig) -> (ManagedWorld, Stranger) {
    let mut managed = ManagedWorld::at(World::new(1, Instant::ZERO), config, Watcher::default());
    let mut stranger = Stranger::new(&managed.world);
    managed.remember(&[stranger.listen()], PeerStatus::Unknown);
    (managed, stranger)
}

/// Lets the managed loop dial the stranger. The stranger accepts the connection as `link` and completes the handshake.
fn meet(managed: &mut ManagedWorld, stranger: &mut Stranger, link: u64) {
    managed.settle();
    assert!(stranger.accept(link), "the address was not dialled");
    stranger.send(link, &Claim::default().handshake());
    managed.settle();
    assert_eq!(managed.ready(), 1);
}

fn peers(managed: &ManagedWorld) -> Vec<PeerId> {
    let peer = |event| match event {
        ControlEvent::HandshakeComplete { peer, .. } => Some(peer),
        _ => None,
    };
    managed.events().into_iter().filter_map(peer).collect()
}

#[test]
fn req_e18_a_lost_peer_is_dialled_again_at_once_three_times_an_hour_and_then_after_a_backoff() {
    let (mut managed, mut stranger) = managed_and_stranger(manager().with_target_peers(1));
    for link in 0..4 {
        meet(&mut managed, &mut stranger, link);
        stranger.reset(link);
    }
    managed.settle();
    assert!(!stranger.accept(4), "a fourth restart was made");
    let restarts: Vec<u32> = managed
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ControlEvent::ConnectionRestarting { restarts, .. } => Some(restarts),
            _ => None,
        })
        .collect();
    assert_eq!(restarts, [1, 2, 3]);
    let mut ids = peers(&managed);
    ids.dedup();
    assert_eq!(ids.len(), 4, "a restart kept the peer id, or a handshake was not reported");
    managed.run(secs(5) - NANO);
    assert!(!stranger.accept(4));
    managed.run(secs(5) / 4 + NANO);
    assert!(stranger.accept(4), "the address was not dialled after 5 s plus jitter");
    assert_eq!(managed.known(stranger.address()).failures, 1);
    stranger.send(4, &Claim::default().handshake());
    managed.run(secs(3_600));
    assert_eq!(managed.known(stranger.address()).failures, 0, "a success did not reset the count");
    stranger.reset(4);
    managed.settle();
    assert!(stranger.accept(5), "the address was not dialled although a new restart window had begun");
}

#[test]
fn req_e19_a_restart_is_reported_and_is_not_a_failure() {
    let (mut managed, mut stranger) = managed_and_stranger(manager().with_target_peers(1));
    meet(&mut managed, &mut stranger, 0);
    stranger.receive(0);
    stranger.close(0);
    meet(&mut managed, &mut stranger, 1);
    assert_eq!(managed.ends(), [CloseReason::ClosedByPeer]);
    assert_eq!(managed.count("connection_restarting"), 1);
    assert_eq!(managed.known(stranger.address()).failures, 0, "a restart counted as a failure");
}

#[test]
fn req_e20_failed_dials_back_off_up_to_a_maximum_and_then_make_the_address_inaccessible() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1));
    managed.remember(&[NOBODY], PeerStatus::Unknown);
    managed.run(secs(3 * 3_600));
    let failures = managed.failures();
    let counts: Vec<u32> = failures.iter().map(|(_, failures, _)| *failures).collect();
    assert_eq!(counts, (1..=failures.len() as u32).collect::<Vec<_>>());
    for (pair, least) in failures.windows(2).zip([5, 10, 20, 40, 80, 160, 320, 600, 600]) {
        let (pause, least) = (pair[1].0.since(pair[0].0), secs(least));
        assert!((least..=least * 5 / 4).contains(&pause), "the pause is {pause:?}, not {least:?} plus up to 25 %");
        assert_eq!(pair[0].2, NextDial::At(pair[1].0), "the address was not dialled at the reported moment");
    }
    assert_eq!(failures[9].2, NextDial::Inaccessible);
    let known = managed.known(NOBODY);
    assert_eq!((known.status, known.failures as usize), (PeerStatus::Inaccessible, failures.len()));
    managed.stop();
}

#[test]
fn req_e20_a_success_resets_the_count_of_failures() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1).with_max_restarts(0));
    let mut stranger = Stranger::new(&managed.world);
    managed.remember(&[stranger.address()], PeerStatus::Unknown);
    managed.run(secs(20));
    assert_eq!(managed.known(stranger.address()).failures, 3);
    stranger.listen();
    while !stranger.accept(0) {
        managed.run(secs(1));
    }
    stranger.send(0, &Claim::default().handshake());
    managed.settle();
    let known = managed.known(stranger.address());
    assert_eq!((known.failures, known.status, managed.ready()), (0, PeerStatus::Valid, 1));
    stranger.stop_listening();
    stranger.reset(0);
    managed.settle();
    assert_eq!(managed.known(stranger.address()).failures, 1);
}

#[test]
fn req_e19_a_peer_banned_for_its_blockchain_is_not_retried_during_the_ban() {
    let (mut managed, mut stranger) = managed_and_stranger(manager().with_target_peers(1));
    managed.settle();
    assert!(stranger.accept(0));
    stranger.send(0, &Claim { user_agent: "/Bitcoin ABC:0.20.0/", ..Claim::default() }.version());
    managed.settle();
    stranger.close(0);
    managed.run(secs(5));
    assert_eq!(managed.ends(), [CloseReason::Incompatible(Incompatibility::Blockchain)]);
    assert_eq!(managed.failures()[0].2, NextDial::Never);
    managed.run(secs(23 * 3_600));
    assert!(!stranger.accept(1), "the address was dialled while the ban lasted");
}

#[test]
fn req_e19_a_peer_closed_by_the_embedder_is_not_restarted() {
    let (mut managed, mut stranger) = managed_and_stranger(manager().with_target_peers(1));
    meet(&mut managed, &mut stranger, 0);
    managed.node.handle().request(()).unwrap();
    managed.settle();
    stranger.close(0);
    managed.run(secs(599));
    assert!(!stranger.accept(1), "the address was dialled before the maximum backoff had passed");
    assert_eq!((managed.ends(), managed.count("connection_restarting")), (vec![Disconnect::Done.into()], 0));
    assert_eq!(managed.known(stranger.address()).failures, 0, "this close counted as a failure");
}

#[test]
fn req_e18_an_accepted_peer_is_never_dialled_back() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, None);
    stranger.reset(0);
    managed.run(secs(3_600));
    assert_eq!((managed.node.stats().counters.dialled, managed.count("connection_restarting")), (0, 0));
    let lost = |event| match event {
        ControlEvent::ConnectionLost { connection_type, .. } => Some(connection_type),
        _ => None,
    };
    assert!(managed.events().into_iter().filter_map(lost).eq([ConnectionType::Inbound]));
}

#[test]
fn req_e20_a_peer_at_capacity_is_retried_ever_more_slowly() {
    let mut crowded = ManagedWorld::new(manager().with_target_peers(1).with_max_peers(1));
    let mut stranger = Stranger::new(&crowded.world);
    crowded.welcome(&mut stranger, 0, None);
    let world = crowded.world.clone();
    let mut managed = ManagedWorld::at(world.clone(), manager().with_target_peers(1), Watcher::default());
    managed.remember(&[crowded.address], PeerStatus::Unknown);
    let until = world.now().plus(secs(60));
    peerloop::sim::Driver::new(&world).run_until(until, &mut [&mut managed.node, &mut crowded.node]).unwrap();
    assert!((3..=4).contains(&managed.ends().len()), "{:?}", managed.ends());
    assert!(managed.ends().iter().all(|end| matches!(end, CloseReason::RejectedByPeer(_))), "{:?}", managed.ends());
    assert_eq!(managed.count("connection_restarting"), 0);
    assert_eq!(managed.known(crowded.address).failures as usize, managed.ends().len());
}

#[test]
fn req_e44_new_settings_apply_to_the_next_failure() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1));
    managed.remember(&[NOBODY], PeerStatus::Unknown);
    managed.settle();
    let hasty = manager().with_target_peers(1).with_initial_backoff(secs(1)).with_max_retries(3);
    let config = managed.node.reactor().config().clone().with_manager(hasty);
    drop(managed.node.handle().update_config(config).unwrap());
    managed.run(secs(60));
    assert_eq!(managed.failures().iter().map(|(_, failures, _)| *failures).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(managed.failures()[2].2, NextDial::Inaccessible);
}
