//! DNS seeds are resolved at the start and every hour, or every minute while there is no address to dial. A reply's
//! addresses are used up to a limit. In fixed mode, no seed is resolved.

use super::support::{ManagedWorld, Watcher, manager};
use peerloop::ControlEvent;
use peerloop::config::{DialMode, ManagerConfig};
use peerloop::error::ResolveCause;
use peerloop::internals::limits::{MAX_SEED_ANSWERS, RESOLVE_TIMEOUT};
use peerloop::sim::{Names, Route, World};
use peerloop::store::PeerStatus;
use peerloop::time::Instant;
use peerloop_testkit::simulated::secs;
use std::net::IpAddr;
use std::time::Duration;

fn seeded(names: &[&str]) -> ManagerConfig {
    manager().with_dns_seeds(names.iter().map(|&name| name.to_owned()).collect())
}

/// Returns each reported result of a seed: how many addresses can be dialled, and how many of these are new.
fn resolved(managed: &ManagedWorld) -> Vec<(usize, usize)> {
    let answer = |event| match event {
        ControlEvent::SeedResolved { found, new, .. } => Some((found, new)),
        _ => None,
    };
    managed.events().into_iter().filter_map(answer).collect()
}

#[test]
fn req_e41_the_addresses_of_a_seed_are_added_to_the_book_and_dialled_at_the_default_port() {
    let mut managed = ManagedWorld::new(seeded(&["seed.example"]));
    let addresses = managed.add_targets(3);
    managed.world.set_name("seed.example", addresses.iter().map(|address| address.ip()).collect());
    managed.run(secs(1));
    assert_eq!((managed.ready(), resolved(&managed)), (3, vec![(3, 3)]));
    assert!(addresses.iter().all(|address| managed.known(*address).status == PeerStatus::Valid));
}

#[test]
fn req_e41_seeds_are_resolved_at_the_start_and_hourly_and_a_failed_seed_delays_no_other() {
    let mut managed = ManagedWorld::new(seeded(&["gone.example", "seed.example"]).with_target_peers(1));
    let addresses = managed.add_targets(1);
    managed.world.set_name("seed.example", vec![addresses[0].ip()]);
    managed.run(secs(1));
    assert_eq!((managed.count("seed_failed"), resolved(&managed), managed.ready()), (1, vec![(1, 1)], 1));
    managed.run(secs(3_597));
    assert_eq!(managed.count("seed_failed"), 1);
    managed.run(secs(3));
    assert_eq!(
        (managed.count("seed_failed"), resolved(&managed)),
        (2, vec![(1, 1), (1, 0)]),
        "the second round was not one failure and one known address"
    );
    managed.run(secs(3_600));
    assert_eq!(managed.count("seed_failed"), 3);
}

#[test]
fn req_e41_without_an_address_to_dial_seeds_are_resolved_every_minute() {
    let mut managed = ManagedWorld::new(seeded(&["gone.example"]));
    managed.run(secs(200));
    assert_eq!(managed.count("seed_failed"), 4, "the seed did not fail exactly four times: at 0, 60, 120 and 180 s");
}

#[test]
fn req_e41_banned_and_own_addresses_of_a_seed_are_omitted_and_an_inaccessible_one_becomes_unknown() {
    let mut managed = ManagedWorld::new(seeded(&["seed.example"]).with_max_retries(1));
    let addresses = managed.add_targets(3);
    let host = addresses[0].ip();
    managed.world.set_route(host, Route::NoHost { least: Duration::ZERO, most: Duration::ZERO });
    managed.remember(&addresses[..1], PeerStatus::Unknown);
    managed.run(secs(1));
    assert_eq!(managed.known(addresses[0]).status, PeerStatus::Inaccessible);
    drop(managed.node.handle().ban(addresses[1].ip(), None).unwrap());
    let mut answer: Vec<IpAddr> = addresses.iter().map(|address| address.ip()).collect();
    answer.push(managed.address.ip());
    managed.world.set_name("seed.example", answer);
    managed.clear_log();
    managed.run(secs(60));
    assert_eq!((resolved(&managed), managed.ready()), (vec![(2, 1)], 1));
    let named = managed.known(addresses[0]);
    assert_eq!(named.status, PeerStatus::Unknown);
    assert_eq!(managed.report().book.len(), 2);
}

#[test]
fn fault_e12_a_reply_with_too_many_addresses_is_used_up_to_the_limit() {
    let mut managed = ManagedWorld::new(seeded(&["seed.example"]));
    let many = (0..1_000_u16).map(|n| IpAddr::from([52, 1, (n >> 8) as u8, n as u8])).collect();
    managed.world.set_name("seed.example", many);
    managed.settle();
    assert_eq!(
        (resolved(&managed), managed.report().book.len()),
        (vec![(MAX_SEED_ANSWERS, MAX_SEED_ANSWERS)], MAX_SEED_ANSWERS)
    );
    assert!(managed.slots_in_use() <= 1, "more than one address of the same range is in use");
}

#[test]
fn fault_e12_each_seed_is_reported_within_five_seconds_whether_it_answers_or_not() {
    const NAMES: [&str; 3] = ["a.example", "b.example", "c.example"];
    let (mut given_up, mut others) = (0, 0);
    for seed in 0..24 {
        let mut managed = ManagedWorld::at(World::new(seed, Instant::ZERO), seeded(&NAMES), Watcher::default());
        managed.world.set_names(managed.node.net().host(), Names::Wild);
        managed.run(RESOLVE_TIMEOUT - Duration::from_nanos(1));
        let is_given_up =
            |event: &ControlEvent| matches!(event, ControlEvent::SeedFailed { cause: ResolveCause::TimedOut, .. });
        assert!(!managed.events().iter().any(is_given_up), "a look-up timed out early");
        let answered = managed.count("seed_resolved") + managed.count("seed_failed");
        managed.run(Duration::from_nanos(1));
        let silent = managed.events().iter().filter(|event| is_given_up(event)).count();
        assert_eq!(answered + silent, NAMES.len());
        managed.run(secs(50));
        let reported = managed.count("seed_resolved") + managed.count("seed_failed");
        assert_eq!(reported, NAMES.len(), "a late result was reported");
        (given_up, others) = (given_up + silent, others + answered);
    }
    assert!(given_up > 3 && others > 30, "{given_up} timed out, {others} did not");
}

#[test]
fn req_e41_in_fixed_mode_no_seed_is_resolved() {
    let mut elsewhere = ManagedWorld::new(manager());
    let addresses = elsewhere.add_targets(2);
    let mode = DialMode::Fixed(addresses[..1].to_vec());
    let config = seeded(&["seed.example"]).with_mode(mode);
    elsewhere.world.set_name("seed.example", vec![addresses[1].ip()]);
    let mut managed = ManagedWorld::at(elsewhere.world.clone(), config, Watcher::default());
    managed.targets = std::mem::take(&mut elsewhere.targets);
    managed.run(secs(2 * 3_600));
    assert_eq!((managed.ready(), managed.count("seed_resolved") + managed.count("seed_failed")), (1, 0));
}

#[test]
fn fault_e12_no_behaviour_of_a_resolver_stops_the_loop() {
    for seed in 0..4 {
        let world = World::new(seed, Instant::ZERO);
        let mut managed = ManagedWorld::at(world, seeded(&["a.example", "b.example", "c.example"]), Watcher::default());
        let addresses = managed.add_targets(2);
        managed.remember(&addresses, PeerStatus::Unknown);
        managed.world.set_names(managed.node.net().host(), Names::Wild);
        managed.world.set_name("a.example", vec![addresses[0].ip()]);
        managed.run(secs(70));
        assert_eq!(managed.ready(), 2);
        managed.stop();
    }
}
