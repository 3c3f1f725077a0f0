//! Addresses survive outages, stalled handshakes and restarts of the process: failed dials may make an address
//! inaccessible, but never remove it.

use super::support::{Claim, ManagedWorld, Stranger, Watcher, manager};
use peerloop::api::NextDial;
use peerloop::config::DialMode;
use peerloop::error::{CloseReason, Deadline};
use peerloop::internals::limits::INACCESSIBLE_RECHECK;
use peerloop::sim::World;
use peerloop::store::PeerStatus;
use peerloop::time::Instant;
use peerloop_testkit::simulated::secs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)), 18_444);
/// Maximum time from an outage's end until all peers are connected again. It exceeds the maximum backoff plus jitter.
const RECOVERY: Duration = Duration::from_secs(15 * 60);

fn statuses(managed: &ManagedWorld) -> Vec<PeerStatus> {
    managed.report().book.iter().map(|peer| peer.status).collect()
}

#[test]
fn req_e20_after_a_short_or_long_outage_all_peers_are_back_within_15_minutes_and_no_status_is_lost() {
    for mode_is_fixed in [false, true] {
        for outage in [secs(40 * 60), secs(5 * 3_600)] {
            let mut managed = ManagedWorld::new(manager());
            let addresses = managed.add_targets(8);
            if mode_is_fixed {
                let mode = DialMode::Fixed(addresses.clone());
                let config = manager().with_mode(mode);
                let config = managed.node.reactor().config().clone().with_manager(config);
                drop(managed.node.handle().update_config(config).unwrap());
            }
            managed.remember(&addresses, PeerStatus::Unknown);
            managed.run(secs(60));
            assert_eq!(managed.ready(), 8);
            let host = managed.node.net().host();
            managed.world.cut(host);
            for link in managed.node.inspect().links {
                assert!(managed.world.reset(host, link.id));
            }
            managed.run(outage);
            assert_eq!(managed.ready(), 0);
            assert_eq!(statuses(&managed), [PeerStatus::Valid; 8], "after {outage:?}");
            managed.world.heal(host);
            managed.run(RECOVERY);
            assert_eq!(managed.ready(), 8, "after {outage:?}");
            managed.stop();
        }
    }
}

#[test]
fn req_e20_after_a_stalled_handshake_the_address_is_dialled_again_after_the_first_backoff() {
    let mut managed =
        ManagedWorld::at(World::new(1, Instant::ZERO), manager().with_target_peers(1), Watcher::default());
    let mut stranger = Stranger::new(&managed.world);
    managed.remember(&[stranger.listen()], PeerStatus::Unknown);
    managed.settle();
    assert!(stranger.accept(0));
    managed.run(secs(10));
    assert_eq!(managed.ends(), [CloseReason::TimedOut(Deadline::Handshake)]);
    let known = managed.known(stranger.address());
    assert_eq!((known.status, known.failures), (PeerStatus::Unknown, 1));
    let (at, failures, NextDial::At(moment)) = managed.failures()[0] else { panic!("{:?}", managed.failures()) };
    assert_eq!(failures, 1);
    assert!((secs(5)..=secs(5) * 5 / 4).contains(&moment.since(at)), "{moment:?}");
    managed.run(secs(7));
    assert!(stranger.accept(1), "the address was not dialled again");
    stranger.send(1, &Claim::default().handshake());
    managed.settle();
    assert_eq!((managed.ready(), managed.known(stranger.address()).status), (1, PeerStatus::Valid));
}

#[test]
fn req_e20_a_failing_fixed_peer_is_dialled_all_day_with_pauses_of_at_most_750_seconds() {
    let mode = DialMode::Fixed(vec![NOBODY]);
    let mut managed = ManagedWorld::new(manager().with_mode(mode));
    managed.remember(&[NOBODY], PeerStatus::Unknown);
    managed.run(secs(24 * 3_600));
    let failures = managed.failures();
    assert_eq!(
        failures.iter().map(|failure| failure.1).collect::<Vec<_>>(),
        (1..=failures.len() as u32).collect::<Vec<_>>()
    );
    for pair in failures.windows(2) {
        assert!(pair[1].0.since(pair[0].0) <= secs(600) * 5 / 4, "{pair:?}");
        assert_eq!(pair[0].2, NextDial::At(pair[1].0));
    }
    assert!(failures.len() > 24 * 6 * 3 / 4, "{}", failures.len());
    assert_eq!(managed.known(NOBODY).status, PeerStatus::Unknown);
    managed.stop();
}

#[test]
fn req_e20_an_inaccessible_address_is_dialled_every_600_to_751_seconds_if_no_other_remains() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1).with_max_retries(2));
    let mut stranger = Stranger::new(&managed.world);
    managed.remember(&[stranger.address()], PeerStatus::Unknown);
    managed.run(secs(6 * 3_600));
    assert_eq!(managed.known(stranger.address()).status, PeerStatus::Inaccessible);
    let failures = managed.failures();
    assert_eq!((failures[0].1, failures[1].1, failures[1].2), (1, 2, NextDial::Inaccessible));
    let last: Vec<Instant> = failures.iter().rev().take(5).map(|failure| failure.0).collect();
    for pair in last.windows(2) {
        assert!((secs(600)..=secs(751)).contains(&pair[0].since(pair[1])), "{pair:?}");
    }
    stranger.listen();
    while !stranger.accept(0) {
        managed.run(secs(1));
    }
    stranger.send(0, &Claim::default().handshake());
    managed.settle();
    let known = managed.known(stranger.address());
    assert_eq!((known.status, known.failures), (PeerStatus::Valid, 0));
}

#[test]
fn req_e20_a_restart_of_the_process_makes_an_inaccessible_address_unknown() {
    let mut managed = ManagedWorld::new(manager().with_target_peers(1));
    managed.remember(&[NOBODY], PeerStatus::Inaccessible);
    assert_eq!(managed.known(NOBODY).status, PeerStatus::Unknown);
    managed.settle();
    assert_eq!(managed.failures()[0].1, 1);
    managed.stop();
}

#[test]
fn req_e19_an_incompatible_peer_is_dialled_again_after_an_hour() {
    let config = manager().with_target_peers(1);
    let mut managed = ManagedWorld::at(World::new(1, Instant::ZERO), config, Watcher::default());
    let mut stranger = Stranger::new(&managed.world);
    managed.remember(&[stranger.listen()], PeerStatus::Unknown);
    managed.settle();
    assert!(stranger.accept(0));
    stranger.send(0, &Claim { protocol_version: 208, ..Claim::default() }.version());
    managed.run(secs(1));
    stranger.close(0);
    managed.run(INACCESSIBLE_RECHECK - secs(2));
    assert_eq!(managed.failures()[0].2, NextDial::Inaccessible);
    assert_eq!((managed.known(stranger.address()).status, stranger.accept(1)), (PeerStatus::Inaccessible, false));
    managed.run(secs(3));
    assert!(stranger.accept(1), "the incompatible peer was not dialled again after an hour");
}
