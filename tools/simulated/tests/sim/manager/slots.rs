//! Slots: a dial claims its slot before it starts, and each slot is released once, however the connection closes.

use super::support::{Claim, ManagedWorld, Moment, Stranger, Watcher, manager};
use peerloop::config::DialMode;
use peerloop::error::RequestError;
use peerloop::sim::{Route, World};
use peerloop::store::PeerStatus;
use peerloop::time::Instant;
use peerloop_testkit::bytes;
use peerloop_testkit::simulated::secs;
use std::net::SocketAddr;
use std::time::Duration;

const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 9, 9)), 18_444);

/// Builds a managed world that dials one stranger and no other address.
fn dialling_a_stranger(watcher: Watcher) -> (ManagedWorld, Stranger) {
    let world = World::new(1, Instant::ZERO);
    let mut stranger = Stranger::new(&world);
    let mode = DialMode::Fixed(vec![stranger.listen()]);
    let config = manager().with_mode(mode).with_max_restarts(0).with_max_retries(1);
    (ManagedWorld::at(world, config, watcher), stranger)
}

#[test]
fn req_e27_a_slot_is_claimed_before_the_dial_and_released_when_the_dial_fails() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1).with_max_retries(1));
    managed.remember(&[NOBODY], PeerStatus::Unknown);
    managed.world.set_route(NOBODY.ip(), Route::Silent { least: secs(2), most: secs(2) });
    managed.settle();
    assert_eq!((managed.slots_in_use(), managed.ready()), (1, 0));
    managed.run(secs(2));
    assert_eq!((managed.slots_in_use(), managed.count("connection_failed")), (0, 1));
    managed.assert_nothing_remains();
}

#[test]
fn req_e27_an_unanswered_dial_releases_its_slot_at_the_connect_timeout() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1).with_max_retries(1));
    managed.remember(&[NOBODY], PeerStatus::Unknown);
    managed.world.set_route(NOBODY.ip(), Route::Silent { least: secs(100), most: secs(100) });
    managed.run(secs(5) - Duration::from_nanos(1));
    assert_eq!(managed.slots_in_use(), 1);
    managed.run(Duration::from_nanos(1));
    managed.assert_nothing_remains();
}

#[test]
fn req_e27_a_reset_releases_the_slot_at_any_stage_of_the_connection() {
    for steps in 0..3 {
        let (mut managed, mut stranger) = dialling_a_stranger(Watcher::default());
        managed.settle();
        assert!(stranger.accept(0));
        if steps > 0 {
            stranger.send(0, &Claim::default().version());
            managed.settle();
        }
        if steps > 1 {
            stranger.send(0, &bytes::verack());
            managed.settle();
        }
        assert_eq!((managed.slots_in_use(), managed.ready()), (1, usize::from(steps > 1)));
        stranger.reset(0);
        managed.settle();
        managed.assert_nothing_remains();
    }
}

#[test]
fn req_e27_a_handler_that_closes_the_peer_in_any_callback_releases_the_slot() {
    use Moment::{Closed, Control, Opened, Ready, VersionReceived};
    for moment in [Opened, VersionReceived, Ready, Closed, Control] {
        let (mut managed, mut stranger) =
            dialling_a_stranger(Watcher { closes_at: Some(moment), ..Watcher::default() });
        managed.settle();
        assert!(stranger.accept(0));
        if moment == VersionReceived || moment == Ready || moment == Closed {
            stranger.send(0, &Claim::default().handshake());
        }
        managed.settle();
        if moment == Closed {
            assert_eq!(managed.ready(), 1);
        }
        stranger.close(0);
        // This is shorter than the initial backoff, after which the stranger is dialled again.
        managed.run(secs(4));
        managed.assert_nothing_remains();
        let (established, ended) = (managed.count("connection_established"), managed.ends().len());
        assert_eq!((established, ended), (1, 1), "{moment:?}: {:?}", managed.labels());
    }
}

#[test]
fn req_e27_accepted_peers_that_are_closed_in_any_callback_release_everything() {
    for moment in [Moment::Opened, Moment::VersionReceived, Moment::Ready, Moment::Closed, Moment::Control] {
        let watcher = Watcher { closes_at: Some(moment), ..Watcher::default() };
        let mut managed = ManagedWorld::with(manager().with_max_peers(2).with_target_peers(1), watcher);
        let mut stranger = Stranger::new(&managed.world);
        for link in 0..4 {
            stranger.dial_from(link, managed.address, None);
        }
        managed.settle();
        for link in 0..4 {
            let bytes = Claim::default().handshake();
            let _ = peerloop::internals::net::Net::write(
                &mut stranger.net,
                peerloop::internals::id::LinkId::from_u64(link),
                &bytes,
            );
        }
        managed.settle();
        (0..4).for_each(|link| stranger.close(link));
        managed.run(secs(30));
        managed.assert_nothing_remains();
    }
}

#[test]
fn req_e21_a_shutdown_at_any_stage_releases_everything() {
    for stage in 0..4 {
        let mut managed = ManagedWorld::new(manager());
        let addresses = managed.add_targets(4);
        managed.remember(&addresses, PeerStatus::Unknown);
        let mut stranger = Stranger::new(&managed.world);
        managed.remember(&[stranger.listen(), NOBODY], PeerStatus::Unknown);
        managed.world.set_route(NOBODY.ip(), Route::Silent { least: secs(100), most: secs(100) });
        if stage > 0 {
            managed.settle();
        }
        if stage > 1 {
            managed.welcome(&mut stranger, 10, None);
        }
        if stage > 2 {
            managed.targets[0].reactor.handle().stop().unwrap();
        }
        managed.stop();
    }
}

#[test]
fn req_e27_a_request_claims_a_slot_and_is_refused_when_none_is_free() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1).with_max_peers(2));
    let addresses = managed.add_targets(3);
    let answers: Vec<_> =
        addresses.iter().map(|address| managed.node.handle().connect(*address, None).unwrap()).collect();
    managed.settle();
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.wait().unwrap()).collect();
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert_eq!(answers[2], Err(RequestError::MaxPeers));
    assert_eq!((managed.slots_in_use(), managed.ready(), managed.report().dial_records), (2, 2, 2));
    managed.stop();
}

#[test]
fn req_e27_an_accepted_connection_that_cannot_be_registered_releases_its_slot() {
    let mut managed = ManagedWorld::new(manager());
    let host = managed.node.net().host();
    managed.world.fail_sometimes(host, peerloop::sim::Site::Attach, peerloop::internals::errno::ENOSPC, 1);
    let mut stranger = Stranger::new(&managed.world);
    stranger.dial_from(0, managed.address, None);
    managed.settle();
    assert_eq!(managed.labels(), ["inbound_rejected"]);
    managed.assert_nothing_remains();
}
