//! Fixed peers known by name: one address of each name is dialled, and the next one if that dial fails. After
//! the last address fails, the name is resolved again.

use super::support::{ManagedWorld, Watcher, manager};
use peerloop::api::NextDial;
use peerloop::config::DialMode;
use peerloop::internals::limits::MAX_NAME_ADDRESSES;
use peerloop_testkit::simulated::secs;
use std::net::{IpAddr, SocketAddr};

const NAME: &str = "node.example";

/// Builds a loop that dials one node by its name, in a world with `count` targets. Also returns the
/// targets' addresses.
fn named(count: usize) -> (ManagedWorld, Vec<SocketAddr>) {
    let mode = DialMode::Fixed(Vec::new());
    let mut elsewhere = ManagedWorld::new(manager());
    let addresses = elsewhere.add_targets(count);
    let fixed = manager().with_mode(mode).with_fixed_names(vec![NAME.to_owned()]);
    let mut managed = ManagedWorld::at(elsewhere.world.clone(), fixed, Watcher::default());
    managed.targets = std::mem::take(&mut elsewhere.targets);
    (managed, addresses)
}

/// Returns an unused address.
fn gone(last: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, last])
}

#[test]
fn one_address_of_a_name_is_dialled_and_if_the_dial_fails_the_next_address_is_dialled_at_once() {
    let (mut managed, addresses) = named(2);
    managed.world.set_name(NAME, vec![gone(1), addresses[0].ip(), addresses[1].ip()]);
    managed.run(secs(20));
    assert_eq!((managed.established(), managed.count("connection_failed")), (vec![addresses[0]], 1));
    assert_eq!(managed.failures()[0].2, NextDial::NextAddress);
    assert_eq!((managed.count("seed_resolved"), managed.count("seed_failed")), (1, 0));
}

#[test]
fn after_the_last_address_fails_a_name_is_resolved_again_after_growing_pauses() {
    let (mut managed, addresses) = named(1);
    managed.world.set_name(NAME, vec![gone(1), gone(2)]);
    managed.run(secs(600));
    let rounds = managed.count("seed_resolved");
    // The pauses between the rounds are 5, 10, 20, 40, 80, 160 and 320 s, each up to a quarter longer. The dials need
    // additional time.
    assert!((5..=7).contains(&rounds), "{rounds}");
    assert_eq!(managed.count("connection_failed") / 2, rounds);
    managed.world.set_name(NAME, vec![addresses[0].ip()]);
    managed.run(secs(800));
    assert_eq!(managed.established(), addresses);
}

#[test]
fn a_name_that_cannot_be_resolved_is_retried() {
    let (mut managed, addresses) = named(1);
    managed.run(secs(60));
    let failed = managed.count("seed_failed");
    assert!((3..=4).contains(&failed), "{failed} attempts; expected at 0, 5, 15 and 35 s, or slightly later");
    managed.world.set_name(NAME, vec![addresses[0].ip()]);
    managed.run(secs(60));
    assert_eq!((managed.established(), managed.ready()), (addresses, 1));
}

#[test]
fn a_peer_that_moves_is_found_at_its_new_address() {
    let (mut managed, addresses) = named(2);
    managed.world.set_name(NAME, vec![addresses[0].ip()]);
    managed.run(secs(5));
    assert_eq!(managed.established(), addresses[..1]);
    managed.world.set_name(NAME, vec![addresses[1].ip()]);
    // The first target closes its connections and accepts no more.
    managed.targets[0].reactor.handle().stop().unwrap();
    managed.run(secs(120));
    assert_eq!((managed.established().last(), managed.ready()), (Some(&addresses[1]), 1));
}

#[test]
fn no_more_than_the_maximum_number_of_a_names_addresses_are_dialled_and_none_enters_the_book() {
    let (mut managed, _) = named(0);
    managed.world.set_name(NAME, (0..=u8::MAX).map(gone).collect());
    managed.run(secs(4));
    assert!(managed.count("connection_failed") <= MAX_NAME_ADDRESSES, "{}", managed.count("connection_failed"));
    managed.run(secs(300));
    assert_eq!(managed.count("connection_failed") % MAX_NAME_ADDRESSES, 0);
    assert_eq!(managed.report().book, vec![], "an address of a fixed peer entered the book");
}
