//! Announcements: their receivers, their moments, their order and their messages.

use super::*;

#[test]
fn an_upstreams_transaction_is_fetched_once_and_announced_to_all_leaves_at_once() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaves = [scene.leaf(), scene.leaf(), scene.leaf()];
    let began = scene.world.now();
    scene.announce(&transaction(1));
    for leaf in &mut leaves {
        assert_eq!(scene.received(leaf), [message("inv", &items(&[&transaction(1)]))]);
        assert_eq!(scene.ask(leaf, &getdata(&[&transaction(1)])), [message("tx", &transaction(1))]);
    }
    assert_eq!(scene.world.now(), began, "an announcement waited for a timer");
    assert_eq!((scene.heard(SUBMITTING), scene.heard(LISTENING)), (vec![], vec![]));
    let counts = scene.counts();
    assert_eq!((counts.accepted, counts.invs_sent, counts.invs_encoded), (1, 3, 1));
}

#[test]
fn transactions_that_arrive_in_one_read_are_announced_in_one_message_and_in_order() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    let all: Vec<Vec<u8>> = (0..300).map(transaction).collect();
    let all: Vec<&[u8]> = all.iter().map(|transaction| &transaction[..]).collect();
    let answer = scene.ask_upstream(LISTENING, &inv(&all));
    assert_eq!(answer, [message("getdata", &items(&all))]);
    let bodies: Vec<u8> = all.iter().flat_map(|transaction| tx(transaction)).collect();
    scene.upstream.send(LISTENING, &bodies);
    assert_eq!(scene.received(&mut leaf), [message("inv", &items(&all))]);
}

#[test]
fn a_peer_that_announced_a_transaction_is_not_sent_it() {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut first, mut second) = (scene.leaf(), scene.leaf());
    let [one, two] = [transaction(1), transaction(2)];
    scene.upstream.send(LISTENING, &inv(&[&one, &two]));
    first.send(&inv(&[&two]));
    scene.settle();
    scene.upstream.send(LISTENING, &[tx(&one), tx(&two)].concat());
    assert_eq!(scene.received(&mut first), [message("inv", &items(&[&one]))]);
    assert_eq!(scene.received(&mut second), [message("inv", &items(&[&one, &two]))]);
    // An announcement after the transaction was announced to the peer changes nothing.
    assert_eq!(scene.ask(&mut second, &inv(&[&one, &two])), []);
}

#[test]
fn a_new_peer_receives_only_later_transactions() {
    let mut scene = Scene::new(TrustMode::Validated);
    scene.announce(&transaction(1));
    let mut leaf = scene.leaf();
    scene.announce(&transaction(2));
    assert_eq!(scene.received(&mut leaf), [message("inv", &items(&[&transaction(2)]))]);
    assert_eq!(scene.ask(&mut leaf, &getdata(&[&transaction(1)])), [message("tx", &transaction(1))]);
}

#[test]
fn a_peer_without_the_relay_flag_receives_announcements_only_after_a_filterclear() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut payload = version()[24..].to_vec();
    // The relay flag is the byte after the height, which follows the user agent.
    let flag = 80 + 1 + usize::from(payload[80]) + 4;
    payload[flag] = 0;
    let mut leaf = scene.leaf_with(&frame("version", &payload));
    scene.announce(&transaction(1));
    assert_eq!(scene.received(&mut leaf), []);
    leaf.send(&frame("filterclear", b""));
    scene.announce(&transaction(2));
    assert_eq!(scene.received(&mut leaf), [message("inv", &items(&[&transaction(2)]))]);
}

#[test]
fn only_a_fee_filter_of_a_node_in_initial_sync_is_applied() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    for (number, fee, is_announced) in [(1, 9_577_383_i64, false), (2, 1_000_000, false), (3, 999_999, true)] {
        leaf.send(&frame("feefilter", &fee.to_le_bytes()));
        scene.settle();
        scene.announce(&transaction(number));
        let expected = is_announced.then(|| message("inv", &items(&[&transaction(number)])));
        assert_eq!(scene.received(&mut leaf), Vec::from_iter(expected));
    }
    assert_eq!(scene.counts().fee_unknown, 1);
}

#[test]
fn alerts_are_passed_on_once_and_only_from_upstreams() {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut first, mut second) = (scene.leaf(), scene.leaf());
    let key = [2; 33];
    let payload = [&[0; 4][..], &key, &key, &key, &[2, 0, 0]].concat();
    let alert = frame("revokemid", &payload);
    assert_eq!(scene.ask(&mut first, &alert), []);
    assert_eq!(scene.received(&mut second), []);
    scene.upstream.send(LISTENING, &alert);
    scene.upstream.send(SUBMITTING, &alert);
    assert_eq!(scene.received(&mut first), [message("revokemid", &payload)]);
    assert_eq!(scene.received(&mut second), [message("revokemid", &payload)]);
    assert_eq!(scene.counts().alerts, 1);
}

#[test]
fn the_hops_to_the_first_and_the_last_receiver_are_recorded() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaves: Vec<RawPeer> = (0..5).map(|_| scene.leaf()).collect();
    for number in 0..10 {
        scene.announce(&transaction(number));
        leaves.iter_mut().for_each(|leaf| drop(scene.received(leaf)));
    }
    let hops = scene.stats().hops;
    assert_eq!((hops.hop_first.count, hops.hop_first_with_lag.count, hops.tx_fetch.count), (10, 10, 10));
    assert_eq!((hops.hop_last.count, hops.hop_last_with_lag.count), (10, 10));
}

#[test]
fn a_transaction_is_not_new_again_after_its_entry_was_dropped() {
    let change = |config: RelayConfig| config.with_max_entries(10);
    let mut scene = Scene::with(change, config(), Conditions::default());
    let mut leaf = scene.leaf();
    for number in 0..30 {
        scene.announce(&transaction(number));
    }
    assert_eq!(hashes(&scene.received(&mut leaf), "inv").len(), 30);
    assert_eq!(scene.ask(&mut leaf, &inv(&[&transaction(0)])), []);
    assert_eq!((scene.counts().seen_again, scene.counts().announcements_lost), (1, 0));
    assert_eq!(scene.ask(&mut leaf, &getdata(&[&transaction(0)])), [message("tx", &transaction(0))]);
}

#[test]
fn the_hop_to_an_upstream_is_recorded_where_there_are_no_leaf_peers() {
    let mut scene = Scene::new(TrustMode::Validated);
    for number in 0..3 {
        scene.submit(&transaction(number));
        assert_eq!(hashes(&scene.heard(SUBMITTING), "inv"), [Hash256::of(&transaction(number))]);
    }
    // A transaction that the upstream itself has announced needs no announcement.
    scene.announce(&transaction(9));
    let hops = scene.stats().hops;
    assert_eq!((hops.hop_first.count, hops.hop_last.count, hops.queued.count), (3, 3, 3));
}

#[test]
fn the_histograms_are_exchanged_for_spare_ones() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    scene.announce(&transaction(1));
    scene.received(&mut leaf);
    let (reply, pending) = Pending::new();
    scene.relay.handle().request(RelayRequest::TakeHops { spare: Box::default(), reply }).unwrap();
    scene.settle();
    let taken = pending.try_take().unwrap().expect("the relay has answered");
    assert_eq!((taken.hop_first.count(), scene.stats().hops.hop_first.count), (1, 0));
}

#[test]
fn a_peer_that_announced_a_transaction_itself_counts_as_no_receiver() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    let [one, two] = [transaction(1), transaction(2)];
    scene.upstream.send(LISTENING, &inv(&[&one, &two]));
    leaf.send(&inv(&[&one]));
    scene.settle();
    scene.upstream.send(LISTENING, &[tx(&one), tx(&two)].concat());
    scene.settle();
    assert_eq!(hashes(&scene.received(&mut leaf), "inv"), [Hash256::of(&two)]);
    let stats = scene.stats();
    assert_eq!((stats.hops.hop_first.count, stats.hops.hop_last.count, stats.counts.hops_unmeasured), (1, 1, 2));
}

#[test]
fn a_transaction_that_does_not_fit_into_the_pool_is_not_announced() {
    let mut scene = Scene::with(|config| config.with_tx_pool_bytes(10_000), config(), Conditions::default());
    let mut leaf = scene.leaf();
    scene.announce(&large_transaction(1, 20_000));
    assert_eq!((scene.received(&mut leaf), scene.counts().oversized), (vec![], 1));
    scene.ask_upstream(SUBMITTING, &inv(&[&large_transaction(1, 20_000)]));
    assert_eq!(scene.stats().in_flight, 0, "the transaction was requested again");
}
