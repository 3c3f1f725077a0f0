//! The trust modes: a leaf's transaction reaches other leaf peers only as the mode allows.

use super::*;

#[test]
fn a_leafs_transaction_is_announced_only_after_the_listening_link_announces_it() {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut sender, mut other) = (scene.leaf(), scene.leaf());
    let transaction = transaction(1);
    assert_eq!(scene.ask(&mut sender, &inv(&[&transaction])), [message("getdata", &items(&[&transaction]))]);
    assert_eq!(scene.ask(&mut sender, &tx(&transaction)), []);
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction]))]);
    assert_eq!(scene.heard(LISTENING), []);
    // Until then, other leaf peers can neither see nor fetch it.
    scene.run_for(Duration::from_secs(30));
    assert_eq!(scene.ask(&mut other, &getdata(&[&transaction])), [message("notfound", &items(&[&transaction]))]);
    let answer = scene.ask_upstream(SUBMITTING, &getdata(&[&transaction]));
    assert_eq!(answer, [message("tx", &transaction)]);
    assert_eq!(scene.received(&mut other), []);
    assert_eq!(scene.ask_upstream(LISTENING, &inv(&[&transaction])), []);
    assert_eq!(scene.received(&mut other), [message("inv", &items(&[&transaction]))]);
    assert_eq!(scene.received(&mut sender), []);
    assert_eq!(scene.ask(&mut other, &getdata(&[&transaction])), [message("tx", &transaction)]);
    assert_eq!((scene.counts().submitted, scene.counts().seen_back), (1, 1));
}

#[test]
fn a_transaction_that_an_upstream_rejects_reaches_no_leaf_and_costs_its_sender_100_points() {
    for (code, is_banned) in [(0x10, true), (0x40, false)] {
        let config = Config::managed(peerloop::Network::Regtest).with_seed(Some(1));
        let mut scene = Scene::with(|config| config.with_upstream_links(1), config, Conditions::default());
        let (mut sender, mut other) = (scene.leaf(), scene.leaf());
        let transaction = transaction(1);
        scene.ask(&mut sender, &tx(&transaction));
        scene.ask_upstream(SUBMITTING, &getdata(&[&transaction]));
        assert_eq!(scene.ask_upstream(SUBMITTING, &reject(&transaction, code)), []);
        scene.received(&mut sender);
        assert_eq!(sender.has_seen_end, is_banned, "{code:#x}");
        assert_eq!(scene.received(&mut other), []);
        assert!(!other.has_seen_end);
        // It is not requested again until the next block.
        assert_eq!(scene.ask(&mut other, &inv(&[&transaction])), []);
        scene.ask_upstream(SUBMITTING, &frame("inv", &[&[1, 2, 0, 0, 0][..], &[9; 32]].concat()));
        assert_eq!(scene.ask(&mut other, &inv(&[&transaction])), [message("getdata", &items(&[&transaction]))]);
        assert_eq!(scene.counts().rejected, 1);
    }
}

#[test]
fn an_upstream_that_is_not_observed_lets_nothing_fan_out() {
    let mut scene = Scene::new(TrustMode::Trusted);
    assert_eq!(scene.upstream.links, 1);
    let (mut sender, mut other) = (scene.leaf(), scene.leaf());
    scene.ask(&mut sender, &tx(&transaction(1)));
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction(1)]))]);
    scene.ask_upstream(SUBMITTING, &getdata(&[&transaction(1)]));
    scene.run_for(Duration::from_secs(50));
    assert_eq!(scene.received(&mut other), []);
}

#[test]
fn an_open_relay_announces_a_leafs_transaction_to_all_peers_at_once() {
    let mut scene = Scene::new(TrustMode::Open);
    let (mut sender, mut other) = (scene.leaf(), scene.leaf());
    scene.ask(&mut sender, &tx(&transaction(1)));
    assert_eq!(scene.received(&mut other), [message("inv", &items(&[&transaction(1)]))]);
    assert_eq!(scene.received(&mut sender), []);
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction(1)]))]);
    assert_eq!(scene.heard(LISTENING), []);
}

#[test]
fn silence_is_accepted_only_on_request_and_not_after_a_rejection() {
    for is_rejected in [false, true] {
        let change = |config: RelayConfig| config.with_accept_on_silence(Some(Duration::from_millis(700)));
        let mut scene = Scene::with(change, config(), Conditions::default());
        let (mut sender, mut other) = (scene.leaf(), scene.leaf());
        scene.ask(&mut sender, &tx(&transaction(1)));
        scene.ask_upstream(SUBMITTING, &getdata(&[&transaction(1)]));
        scene.run_for(Duration::from_millis(699));
        if is_rejected {
            scene.ask_upstream(SUBMITTING, &reject(&transaction(1), 0x40));
        }
        assert_eq!(scene.received(&mut other), []);
        scene.run_for(Duration::from_millis(2));
        let expected = (!is_rejected).then(|| message("inv", &items(&[&transaction(1)])));
        assert_eq!(scene.received(&mut other), Vec::from_iter(expected));
    }
}

#[test]
fn silence_is_no_acceptance_before_the_first_announcement_to_an_upstream() {
    let change = |config: RelayConfig| config.with_accept_on_silence(Some(Duration::from_millis(700)));
    let mut scene = Scene::with(change, config(), Conditions::default());
    let (mut sender, mut other) = (scene.leaf(), scene.leaf());
    [LISTENING, SUBMITTING].into_iter().for_each(|link| scene.upstream.close(link));
    scene.settle();
    assert_eq!(scene.stats().upstream_links, 0);
    scene.ask(&mut sender, &tx(&transaction(1)));
    scene.run_for(Duration::from_millis(720));
    assert_eq!(scene.received(&mut other), [], "a transaction that no upstream has received was announced");
    // The links are dialled again after a second at most.
    scene.run_for(Duration::from_millis(300));
    scene.connect_upstream();
    assert_eq!(scene.stats().upstream_links, 2);
    scene.run_for(Duration::from_millis(699));
    assert_eq!((scene.received(&mut other), scene.counts().accepted_on_silence), (vec![], 0));
    scene.run_for(Duration::from_millis(2));
    assert_eq!(scene.received(&mut other), [message("inv", &items(&[&transaction(1)]))]);
}

#[test]
fn a_leaf_beyond_its_rate_is_not_served_by_the_upstreams() {
    let change = |config: RelayConfig| config.with_leaf_tx_per_second(2);
    let mut scene = Scene::with(change, config(), Conditions::default());
    let mut sender = scene.leaf();
    for number in 0..50 {
        scene.ask(&mut sender, &tx(&transaction(number)));
    }
    // A burst of ten seconds.
    assert_eq!(hashes(&scene.heard(SUBMITTING), "inv").len(), 20);
    assert_eq!(scene.counts().over_rate, 30);
    scene.run_for(Duration::from_secs(1));
    scene.heard(SUBMITTING);
    for number in 50..60 {
        scene.ask(&mut sender, &inv(&[&transaction(number)]));
    }
    assert_eq!(scene.counts().over_rate, 38);
}

#[test]
fn a_malformed_transaction_is_not_submitted() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut sender = scene.leaf();
    let whole = transaction(1);
    for broken in [&whole[..whole.len() - 1], &[&whole[..], &[0]].concat(), b""] {
        scene.ask(&mut sender, &tx(broken));
    }
    assert_eq!((scene.heard(SUBMITTING), scene.counts().malformed), (vec![], 3));
}

#[test]
fn the_policy_holds_drops_and_charges() {
    for decision in [PolicyDecision::Hold, PolicyDecision::Drop, PolicyDecision::Misbehaved { points: 100 }] {
        let config = Config::managed(peerloop::Network::Regtest).with_seed(Some(1));
        let mut scene = Scene::with(|config| config.with_upstream_links(1), config, Conditions::default());
        scene.relay.handler_mut().policy_mut().decision = decision;
        let (mut sender, mut other) = (scene.leaf(), scene.leaf());
        scene.ask(&mut sender, &tx(&transaction(1)));
        assert_eq!(scene.heard(SUBMITTING), []);
        assert_eq!(sender.has_seen_end, matches!(decision, PolicyDecision::Misbehaved { .. }));
        let is_held = decision == PolicyDecision::Hold;
        let answer = scene.ask_upstream(SUBMITTING, &inv(&[&transaction(1)]));
        assert_eq!(answer, [], "the transaction is fetched again");
        let expected = is_held.then(|| message("inv", &items(&[&transaction(1)])));
        assert_eq!(scene.received(&mut other), Vec::from_iter(expected));
        scene.ask_upstream(SUBMITTING, &frame("inv", &[&[1, 2, 0, 0, 0][..], &[9; 32]].concat()));
        let answer = scene.ask_upstream(SUBMITTING, &inv(&[&transaction(1)]));
        assert_eq!(answer.len(), usize::from(!is_held), "a new block makes a dropped transaction wanted again");
    }
}
