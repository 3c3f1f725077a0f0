//! Many honest peers at once: their cost, every kind of poller, and a cut network.

use crate::keen::{address_of, crowd, node, run};
use allocation_counter::measure;
use peerloop::sim::actor::{Crowd, Honest, Journal, Profile};
use peerloop::sim::{Poller, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes::REGTEST;
use peerloop_testkit::simulated::{config, secs};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Builds `count` honest peers, which dial `to` one after another at intervals of `every`.
fn honest_crowd(world: &World, to: SocketAddr, profile: Profile, count: u64, every: Duration) -> Crowd {
    let profile = Rc::new(profile);
    let mut peers = crowd(world).with_sources(u32::try_from(count / 20_000 + 1).unwrap());
    peers.dial_many(to, Instant::ZERO, every, count, move |_| Honest::new(&profile).into());
    peers
}

#[test]
fn small_messages_allocate_nothing_after_the_first_minute() {
    let world = World::new(1, Instant::ZERO);
    let journal = Journal::new();
    let mut node = node(&world, config().with_ping_interval(secs(2)), vec![]);
    let profile = Profile::new(REGTEST, &journal).pinging(secs(1));
    let mut peers = honest_crowd(&world, address_of(&node), profile, 50, Duration::ZERO);
    run(&world, secs(60), &mut [&mut node, &mut peers]);
    let before = journal.tally();
    let info = measure(|| run(&world, secs(100), &mut [&mut node, &mut peers]));
    let messages = journal.tally().messages - before.messages;
    assert!(messages >= 50 * 150, "{messages}");
    // The driver's own setup allocates in each run.
    assert!(info.count_total < 100, "{} allocations for {messages} messages", info.count_total);
    assert_eq!(journal.complaints(), []);
}

#[test]
fn fault_e15_honest_peers_stay_connected_under_every_poller() {
    for poller in [Poller::Linux, Poller::Mean, Poller::Noisy, Poller::Tiny] {
        let world = World::new(1, Instant::ZERO);
        let journal = Journal::new();
        let mut node = node(&world, config().with_ping_interval(secs(2)), vec![]);
        let profile = Profile::new(REGTEST, &journal).pinging(secs(1));
        let mut peers = honest_crowd(&world, address_of(&node), profile, 50, Duration::from_millis(1));
        for host in [node.net().host(), peers.net().host()] {
            world.set_poller(host, poller);
        }
        run(&world, secs(60), &mut [&mut node, &mut peers]);
        assert_eq!((journal.complaints(), journal.tally().ready, peers.len()), (vec![], 50, 50), "{poller:?}");
        let tally = journal.tally();
        assert!(tally.pongs >= 50 * 58 && tally.pings_answered >= 50 * 28, "{poller:?} {tally:?}");
    }
}

#[test]
fn a_network_cut_closes_all_peers_and_new_peers_connect_after_the_cut_is_healed() {
    let world = World::new(1, Instant::ZERO);
    let journal = Journal::new();
    let mut node = node(&world, config(), vec![]);
    let profile = Rc::new(Profile::new(REGTEST, &journal));
    let mut peers = crowd(&world);
    let (here, host) = (address_of(&node), peers.net().host());
    let again = Rc::clone(&profile);
    peers.dial_many(here, Instant::ZERO, Duration::ZERO, 30, move |_| Honest::new(&profile).into());
    run(&world, secs(1), &mut [&mut node, &mut peers]);
    world.cut(host);
    run(&world, secs(200), &mut [&mut node, &mut peers]);
    assert_eq!(node.stats().ready, 0);
    assert!(node.handler().closed.iter().all(|(.., reason)| reason.label() == "pong_timeout"));
    world.heal(host);
    peers.dial_many(here, world.now(), Duration::ZERO, 30, move |_| Honest::new(&again).into());
    run(&world, secs(200), &mut [&mut node, &mut peers]);
    assert_eq!((node.stats().ready, journal.complaints()), (30, vec![]));
}

#[test]
#[ignore = "a measurement: run it alone, with the release-test profile and --nocapture"]
#[expect(clippy::disallowed_methods, reason = "the real time of a run is measured")]
fn the_cost_of_up_to_a_million_idle_peers() {
    for count in [1_000, 100_000, 1_000_000] {
        let world = World::new(1, Instant::ZERO);
        let journal = Journal::new();
        let limits = config().with_max_links(1 << 20).with_ping_interval(secs(120));
        let mut node = node(&world, limits, vec![]);
        let here = address_of(&node);
        let began = std::time::Instant::now();
        let mut peers = None;
        let info = measure(|| {
            let profile = Profile::new(REGTEST, &journal);
            let mut crowd = honest_crowd(&world, here, profile, count, Duration::from_micros(100));
            run(&world, secs(200), &mut [&mut node, &mut crowd]);
            peers = Some(crowd);
        });
        let calls = world.trace().calls();
        assert_eq!((node.stats().ready as u64, journal.complaints()), (count, vec![]));
        println!(
            "{count} peers: {} bytes per peer including loop and kernel, {calls} calls, {:.0} ns per call",
            info.bytes_current / i64::try_from(count).unwrap(),
            began.elapsed().as_nanos() as f64 / calls as f64,
        );
    }
}
