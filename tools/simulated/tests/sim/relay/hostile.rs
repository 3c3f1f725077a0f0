//! Peers that send garbage and floods: the relay stays within its limits and serves the others.

use super::*;
use peerloop::rand::rngs::StdRng;
use peerloop::rand::{Rng, RngExt, SeedableRng};

/// Checks that a transaction still reaches a leaf.
fn assert_works(scene: &mut Scene, leaf: &mut RawPeer, number: u32) {
    scene.received(leaf);
    scene.announce(&transaction(number));
    let messages = scene.received(leaf);
    assert_eq!(hashes(&messages, "inv"), [Hash256::of(&transaction(number))]);
    assert_eq!(scene.ask(leaf, &getdata(&[&transaction(number)])), [message("tx", &transaction(number))]);
}

/// Returns the payload of an inventory of this many unknown items.
fn unknown(count: u16, first: u32) -> Vec<u8> {
    let mut payload = [&[0xfd][..], &count.to_le_bytes()].concat();
    for number in first..first + u32::from(count) {
        payload.extend_from_slice(&[1, 0, 0, 0]);
        payload.extend_from_slice(Hash256::of(&number.to_le_bytes()).as_bytes());
    }
    payload
}

#[test]
fn garbage_in_any_message_harms_nobody() {
    const COMMANDS: [&str; 12] = [
        "inv",
        "getdata",
        "notfound",
        "tx",
        "feefilter",
        "filterclear",
        "headers",
        "dsdetected",
        "revokemid",
        "mempool",
        "reject",
        "block",
    ];
    let mut rng = StdRng::seed_from_u64(3);
    let mut scene = Scene::new(TrustMode::Open);
    let mut honest = scene.leaf();
    for round in 0..60 {
        let mut leaf = scene.leaf();
        for _ in 0..20 {
            let mut payload = vec![0; rng.random_range(0..200)];
            rng.fill_bytes(&mut payload);
            if rng.random_range(0..2) == 0 && payload.len() > 37 {
                // A plausible count.
                payload[0] = (payload.len() / 36) as u8;
            }
            let command = COMMANDS[rng.random_range(0..COMMANDS.len())];
            leaf.send(&frame(command, &payload));
            if rng.random_range(0..5) == 0 {
                scene.upstream.send(LISTENING, &frame(command, &payload));
            }
            scene.settle();
        }
        scene.heard(LISTENING);
        scene.heard(SUBMITTING);
        leaf.close();
        assert_works(&mut scene, &mut honest, round);
        if scene.stats().upstream_links < 2 {
            // A `getdata` for a block has ended the link.
            scene = Scene::new(TrustMode::Open);
            honest = scene.leaf();
        }
    }
}

#[test]
fn a_flood_of_announcements_by_a_leaf_is_dropped_beyond_its_rate() {
    let conditions = Conditions { capacity_bytes: 2_000_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config(), conditions);
    let (mut honest, mut flooding) = (scene.leaf(), scene.leaf());
    for first in 0..4 {
        flooding.send(&frame("inv", &unknown(50_000, first * 50_000)));
        scene.settle();
        assert_works(&mut scene, &mut honest, first);
    }
    let stats = scene.stats();
    // A burst of ten seconds at the default rate.
    assert_eq!(stats.counts.over_rate, 200_000 - 1_000);
    assert!(stats.entries <= 1_010 && stats.in_flight <= 1_000, "{stats:?}");
}

#[test]
fn leaf_peers_that_answer_nothing_keep_no_transaction_of_an_upstream_from_being_requested() {
    let conditions = Conditions { capacity_bytes: 2_000_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config().with_ping_interval(Duration::ZERO), conditions);
    let mut leaves: Vec<RawPeer> = (0..70).map(|_| scene.leaf()).collect();
    for (leaf, at) in leaves.iter_mut().zip(0..) {
        leaf.send(&frame("inv", &unknown(1_000, 1_000_000 + at * 1_000)));
    }
    scene.settle();
    assert_eq!(scene.stats().in_flight, 32_768, "the leaf peers' share is not used up, so the test shows nothing");
    for number in 0..20 {
        let wanted = transaction(number);
        assert_eq!(scene.ask_upstream(LISTENING, &inv(&[&wanted])), [message("getdata", &items(&[&wanted]))]);
        scene.run_for(Duration::from_secs(1));
        for (leaf, at) in leaves.iter_mut().zip(0..) {
            leaf.send(&frame("inv", &unknown(300, 3_000_000 + number * 30_000 + at * 300)));
        }
        scene.settle();
    }
    assert!(scene.stats().requests.dropped > 0);
    let bodies: Vec<u8> = (0..20).flat_map(|number| tx(&transaction(number))).collect();
    scene.upstream.send(LISTENING, &bodies);
    scene.settle();
    assert_eq!(scene.counts().accepted, 20);
}

#[test]
fn made_up_announcements_of_leaf_peers_displace_no_held_transaction() {
    let mut scene = Scene::with(|config| config.with_max_entries(50), config(), Conditions::default());
    let (mut sender, mut flooding, mut other) = (scene.leaf(), scene.leaf(), scene.leaf());
    scene.ask(&mut sender, &tx(&transaction(1)));
    assert_eq!(hashes(&scene.heard(SUBMITTING), "inv").len(), 1);
    flooding.send(&frame("inv", &unknown(300, 0)));
    scene.settle();
    assert_eq!((scene.stats().entries, scene.counts().over_limit), (50, 0));
    assert_eq!(scene.ask_upstream(SUBMITTING, &getdata(&[&transaction(1)])), [message("tx", &transaction(1))]);
    assert_eq!(scene.ask_upstream(LISTENING, &inv(&[&transaction(1)])), []);
    assert_eq!(scene.received(&mut other), [message("inv", &items(&[&transaction(1)]))]);
    // An upstream's announcements displace whatever is oldest.
    (100..150).for_each(|number| drop(scene.ask(&mut sender, &tx(&transaction(number)))));
    let held = scene.stats().bodies;
    flooding.send(&frame("inv", &unknown(300, 1_000)));
    scene.settle();
    assert_eq!((scene.stats().bodies, scene.counts().over_limit), (held, 300));
    scene.announce(&transaction(2));
    assert_eq!(scene.stats().entries, 50);
}

#[test]
fn a_flood_of_an_upstream_is_requested_in_portions() {
    let conditions = Conditions { capacity_bytes: 2_000_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config(), conditions);
    scene.upstream.send(LISTENING, &frame("inv", &unknown(40_000, 0)));
    scene.upstream.send(SUBMITTING, &frame("inv", &unknown(50_000, 40_000)));
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata").len(), 1_000);
    assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata").len(), 1_000);
    let stats = scene.stats();
    assert_eq!((stats.entries, stats.in_flight), (90_000, 2_000));
    // The bodies of the announced hashes are these numbers themselves.
    let bodies: Vec<u8> = (0..500_u32).flat_map(|number| tx(&number.to_le_bytes())).collect();
    scene.upstream.send(LISTENING, &bodies);
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata").len(), 500);
    scene.upstream.close(LISTENING);
    scene.settle();
    assert_eq!(scene.stats().entries, 50_500);
}

#[test]
fn transactions_that_an_upstream_pushes_are_no_answers_to_its_announcements() {
    let conditions = Conditions { capacity_bytes: 2_000_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config().with_ping_interval(Duration::ZERO), conditions);
    scene.upstream.send(SUBMITTING, &frame("inv", &unknown(50_000, 0)));
    scene.settle();
    assert_eq!((scene.stats().entries, scene.counts().over_limit), (50_000, 0));
    // None of these has been announced, so all 50,000 announcements are still open.
    let pushed: Vec<u8> = (0..20).flat_map(|number| tx(&transaction(number))).collect();
    scene.upstream.send(SUBMITTING, &pushed);
    scene.settle();
    scene.upstream.send(SUBMITTING, &frame("inv", &unknown(300, 60_000)));
    scene.settle();
    assert_eq!((scene.counts().accepted, scene.counts().over_limit), (20, 300));
}

#[test]
fn transactions_that_a_leaf_streams_without_a_request_are_discarded_beyond_its_rate() {
    let change = |config: RelayConfig| config.with_leaf_tx_per_second(1);
    let mut scene = Scene::with(change, config().with_max_buffered_message_bytes(2_048), Conditions::default());
    let (mut flooding, mut honest) = (scene.leaf(), scene.leaf());
    // The header of a large transaction is enough to discard it, but not a requested one.
    let large = [1_000, 1_001].map(|number| large_transaction(number, 5_000));
    flooding.send(&tx(&large[0])[..24]);
    scene.settle();
    assert_eq!(scene.counts().oversized, 1);
    flooding.send(&large[0]);
    assert_eq!(scene.ask(&mut flooding, &inv(&[&large[1]])), [message("getdata", &items(&[&large[1]]))]);
    flooding.send(&tx(&large[1])[..24]);
    scene.settle();
    assert_eq!((scene.counts().oversized, scene.stats().in_flight), (1, 1));
    flooding.send(&large[1]);
    scene.settle();
    assert_eq!((scene.counts().large_received, scene.stats().in_flight), (1, 0));
    // A burst of ten seconds, of which the announcement has used one.
    (0..9).for_each(|number| flooding.send(&tx(&transaction(number))));
    scene.settle();
    assert_eq!((scene.counts().submitted, scene.counts().over_rate), (10, 0));
    (0..9).for_each(|number| flooding.send(&tx(&transaction(number))));
    scene.settle();
    assert_eq!(scene.counts().over_rate, 9, "known transactions are hashed although the rate is used up");
    assert_works(&mut scene, &mut honest, 100);
    assert!(!flooding.has_seen_end);
}

#[test]
fn a_peer_that_asks_for_everything_again_and_again_delays_nobody() {
    let conditions = Conditions { capacity_bytes: 65_536, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config(), conditions);
    let (mut greedy, mut honest) = (scene.leaf(), scene.leaf());
    let all: Vec<Vec<u8>> = (1_000..1_200).map(|number| sized_transaction(number, 200)).collect();
    all.iter().for_each(|transaction| scene.announce(transaction));
    let all: Vec<&[u8]> = all.iter().map(|transaction| &transaction[..]).collect();
    for number in 0..300 {
        // The greedy peer does not read its answers. Once its items wait, it is no longer read either.
        let request = getdata(&all);
        let sent = greedy.net.write(LinkId::from_u64(0), &request).unwrap_or(0);
        assert_works(&mut scene, &mut honest, number);
        if sent < request.len() {
            break;
        }
        assert!(number < 299, "the greedy peer is still read");
    }
    assert!(scene.stats().pending_bytes < 3_000_000, "{} bytes wait", scene.stats().pending_bytes);
}
