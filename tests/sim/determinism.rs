//! The same seed gives the same run, call by call; another seed gives another one.

use crate::support::{Node, Player, config, secs};
use peerloop::Config;
use peerloop::sim::{Actor, Conditions, Cut, Cuts, Driver, World};
use peerloop::time::Instant;
use std::time::Duration;

const PINGS: u32 = 500;

/// A thousand pings over a connection that is cut as the seed will have it; the hash of all calls and their number.
fn hash_of_a_run(seed: u64) -> (u64, u64) {
    let world = World::new(seed, Instant::ZERO);
    let cuts = || Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
    world.set_conditions(Conditions { capacity_bytes: 100, to_acceptor: cuts(), to_dialler: cuts() });
    let (first, pause) = (Instant::ZERO.plus(secs(1)), Duration::from_millis(10));
    let mut acceptor = Node::new(&world, config(), Player::default().pinging(first, pause, PINGS));
    let player = Player::dialling(acceptor.address).pinging(first, pause, PINGS);
    let mut dialler = Node::new(&world, Config { seed: Some(2), ..config() }, player);
    let until = Instant::ZERO.plus(secs(10));
    let actors: &mut [&mut dyn Actor] = &mut [&mut acceptor.reactor, &mut dialler.reactor];
    Driver::new(&world).run_until(until, actors).unwrap();
    for node in [&acceptor, &dialler] {
        let seen = node.seen();
        assert_eq!(seen.pings.len(), PINGS as usize);
        assert_eq!(seen.pings, seen.pongs);
    }
    let trace = world.trace();
    (trace.hash(), trace.calls())
}

#[test]
fn a_run_is_repeated_by_its_seed_and_by_no_other() {
    let first = hash_of_a_run(7);
    assert_eq!(first, hash_of_a_run(7));
    assert_ne!(first.0, hash_of_a_run(8).0);
}
