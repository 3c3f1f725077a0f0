//! Requests on the wire: the next announcer after a `notfound`, a close or a silence, and late transactions.

use super::*;

/// Lets the upstream and two leaf peers announce a transaction, the leaf peers first.
fn announced_by_all(scene: &mut Scene) -> (RawPeer, RawPeer, Vec<u8>) {
    let (mut first, mut second) = (scene.leaf(), scene.leaf());
    let wanted = transaction(1);
    assert_eq!(scene.ask(&mut first, &inv(&[&wanted])), [message("getdata", &items(&[&wanted]))]);
    assert_eq!(scene.ask(&mut second, &inv(&[&wanted])), []);
    assert_eq!(scene.ask_upstream(LISTENING, &inv(&[&wanted])), []);
    (first, second, wanted)
}

#[test]
fn an_upstream_is_asked_next_after_a_notfound_or_a_close() {
    for closes in [false, true] {
        let mut scene = Scene::new(TrustMode::Validated);
        let (mut first, mut second, wanted) = announced_by_all(&mut scene);
        if closes {
            first.close();
        } else {
            first.send(&frame("notfound", &items(&[&wanted])));
        }
        assert_eq!(scene.heard(LISTENING), [message("getdata", &items(&[&wanted]))]);
        scene.upstream.send(LISTENING, &frame("notfound", &items(&[&wanted])));
        assert_eq!(scene.received(&mut second), [message("getdata", &items(&[&wanted]))]);
        second.send(&tx(&wanted));
        scene.settle();
        assert_eq!(scene.counts().accepted, 1, "the upstream has announced it");
        assert_eq!(scene.stats().in_flight, 0);
    }
}

#[test]
fn a_silent_announcer_is_hedged_after_100_ms_and_its_late_answer_is_used() {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut first, _second, wanted) = announced_by_all(&mut scene);
    scene.run_for(Duration::from_millis(99));
    assert_eq!(scene.heard(LISTENING), []);
    scene.run_for(Duration::from_millis(2));
    assert_eq!(scene.heard(LISTENING), [message("getdata", &items(&[&wanted]))]);
    scene.run_for(Duration::from_secs(20));
    first.send(&tx(&wanted));
    scene.settle();
    assert_eq!((scene.counts().accepted, scene.stats().in_flight), (1, 0));
}

#[test]
fn the_second_link_of_a_slow_upstream_is_asked_at_the_deadline_and_not_before() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    let wanted = transaction(1);
    assert_eq!(scene.ask_upstream(LISTENING, &inv(&[&wanted])), [message("getdata", &items(&[&wanted]))]);
    assert_eq!(scene.ask_upstream(SUBMITTING, &inv(&[&wanted])), []);
    scene.run_for(Duration::from_millis(790));
    assert_eq!((scene.heard(SUBMITTING), scene.stats().requests.hedged), (vec![], 0));
    scene.run_for(Duration::from_millis(20));
    assert_eq!(scene.heard(SUBMITTING), [message("getdata", &items(&[&wanted]))]);
    scene.upstream.send(LISTENING, &tx(&wanted));
    assert_eq!(scene.received(&mut leaf), [message("inv", &items(&[&wanted]))]);
}

#[test]
fn the_only_upstream_is_asked_again_after_30_s_and_loses_nothing() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    let wanted = transaction(1);
    scene.ask_upstream(LISTENING, &inv(&[&wanted]));
    scene.run_for(Duration::from_secs(29));
    assert_eq!(scene.heard(LISTENING), []);
    scene.run_for(Duration::from_secs(3));
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata").len(), 1);
    scene.run_for(Duration::from_secs(20));
    scene.upstream.send(LISTENING, &tx(&wanted));
    assert_eq!(scene.received(&mut leaf), [message("inv", &items(&[&wanted]))]);
}

#[test]
fn transactions_that_wait_for_a_slow_upstream_are_requested_once_a_leaf_has_answered_for_it() {
    let conditions = Conditions { capacity_bytes: 2_000_000, ..Conditions::default() };
    let mut scene = Scene::with(|config| config, config().with_ping_interval(Duration::ZERO), conditions);
    let mut leaf = scene.leaf();
    let all: Vec<Vec<u8>> = (0..1_500).map(transaction).collect();
    let all: Vec<&[u8]> = all.iter().map(|transaction| &transaction[..]).collect();
    assert_eq!(hashes(&scene.ask_upstream(LISTENING, &inv(&all)), "getdata").len(), 1_000);
    scene.ask(&mut leaf, &inv(&all[..1_000]));
    scene.run_for(Duration::from_millis(110));
    assert_eq!(hashes(&scene.received(&mut leaf), "getdata").len(), 1_000);
    leaf.send(&all[..1_000].iter().flat_map(|transaction| tx(transaction)).collect::<Vec<u8>>());
    let expected: Vec<Hash256> = all[1_000..].iter().map(|transaction| Hash256::of(transaction)).collect();
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata"), expected);
}

#[test]
fn a_transaction_whose_announcers_all_fail_is_new_again() {
    let mut scene = Scene::new(TrustMode::Validated);
    let wanted = transaction(1);
    scene.ask_upstream(LISTENING, &inv(&[&wanted]));
    scene.ask_upstream(LISTENING, &frame("notfound", &items(&[&wanted])));
    assert_eq!((scene.stats().entries, scene.stats().requests.failed), (0, 1));
    assert_eq!(scene.ask_upstream(SUBMITTING, &inv(&[&wanted])), [message("getdata", &items(&[&wanted]))]);
}

#[test]
fn pushed_transactions_of_an_upstream_are_accepted_and_those_of_a_leaf_are_submitted() {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut sender, mut other) = (scene.leaf(), scene.leaf());
    scene.upstream.send(SUBMITTING, &tx(&transaction(1)));
    assert_eq!(scene.received(&mut other), [message("inv", &items(&[&transaction(1)]))]);
    scene.ask(&mut sender, &tx(&transaction(2)));
    assert_eq!(scene.received(&mut other), []);
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction(2)]))]);
}

#[test]
fn in_push_mode_transactions_are_sent_to_the_upstream_without_a_request_and_in_order() {
    let mut scene = Scene::with(|config| config.with_push(true), config(), Conditions::default());
    let mut sender = scene.leaf();
    sender.send(&[tx(&transaction(1)), tx(&transaction(2))].concat());
    assert_eq!(scene.heard(SUBMITTING), [message("tx", &transaction(1)), message("tx", &transaction(2))]);
    assert!(matches!(scene.steps(&transaction(1))[..], [RelayStep::Announced(_), RelayStep::Sent(_)]));
}

#[test]
fn a_transaction_that_is_too_large_is_counted_and_not_requested_again() {
    let config = config().with_max_buffered_message_bytes(2_048);
    // Transactions that arrive may use half of the pool.
    let mut scene = Scene::with(|config| config.with_tx_pool_bytes(9_000), config, Conditions::default());
    let (mut leaf, large) = (scene.leaf(), large_transaction(1, 5_000));
    scene.ask_upstream(LISTENING, &inv(&[&large]));
    scene.upstream.send(LISTENING, &tx(&large));
    scene.settle();
    assert_eq!((scene.counts().oversized, scene.counts().accepted, scene.stats().in_flight), (1, 0, 0));
    assert_eq!(scene.ask_upstream(SUBMITTING, &inv(&[&large])), []);
    assert_eq!(scene.received(&mut leaf), []);
}
