//! Submissions by requests: their events, their report, and their repetition.

use super::*;
use peerloop::relay::{SubmitOutcome, UpstreamLink};
use peerloop_testkit::simulated::relay::Upstream;

fn links(links: &[UpstreamLink]) -> Vec<bool> {
    links.iter().map(|link| link.is_listening).collect()
}

#[test]
fn a_submitted_transaction_is_followed_until_it_is_seen_back() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    let wanted = transaction(1);
    let pending = scene.submit(&wanted);
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&wanted]))]);
    assert_eq!(scene.ask_upstream(SUBMITTING, &getdata(&[&wanted])), [message("tx", &wanted)]);
    assert_eq!(pending.try_take().unwrap(), None);
    scene.ask_upstream(LISTENING, &inv(&[&wanted]));
    let report = pending.try_take().unwrap().expect("the report is sent at once");
    assert_eq!((report.txid, report.outcome), (Hash256::of(&wanted), SubmitOutcome::SeenBack));
    assert_eq!((links(&report.announced), links(&report.requested)), (vec![false], vec![false]));
    assert_eq!((links(&report.seen_back), report.rejected), (vec![true], vec![]));
    assert!(matches!(
        scene.steps(&wanted)[..],
        [RelayStep::Announced(_), RelayStep::Requested(_), RelayStep::Sent(_), RelayStep::SeenBack(_)]
    ));
    assert_eq!(scene.received(&mut leaf), [message("inv", &items(&[&wanted]))]);
}

#[test]
fn a_rejected_submission_reports_the_code_and_the_reason() {
    let mut scene = Scene::new(TrustMode::Validated);
    let pending = scene.submit(&transaction(1));
    scene.ask_upstream(SUBMITTING, &reject(&transaction(1), 0x41));
    let report = pending.try_take().unwrap().expect("the report is sent at once");
    assert_eq!(report.outcome, SubmitOutcome::Rejected);
    assert_eq!((report.rejected[0].code, &report.rejected[0].reason[..]), (0x41, "bad"));
    scene.run_for(Duration::from_secs(130));
    assert_eq!(hashes(&scene.heard(SUBMITTING), "inv"), [], "a rejected transaction was announced again");
}

#[test]
fn an_unanswered_submission_is_announced_every_minute_and_reported_as_silent() {
    // The upstream answers no pings.
    let config = config().with_ping_interval(Duration::ZERO);
    let mut scene = Scene::with(|config| config, config, Conditions::default());
    let pending = scene.submit(&transaction(1));
    scene.run_for(Duration::from_millis(9_900));
    assert_eq!(pending.try_take().unwrap(), None);
    scene.run_for(Duration::from_millis(1_200));
    let report = pending.try_take().unwrap().expect("the report is sent after 10 s");
    assert_eq!(report.outcome, SubmitOutcome::Silent);
    scene.run_for(Duration::from_secs(240));
    let announced = hashes(&scene.heard(SUBMITTING), "inv");
    assert_eq!(announced, [Hash256::of(&transaction(1)); 5]);
}

#[test]
fn open_submissions_are_announced_again_after_a_reconnect() {
    let mut scene = Scene::new(TrustMode::Validated);
    let [first, second, settled] = [1, 2, 3].map(transaction);
    for transaction in [&settled, &first, &second] {
        scene.submit(transaction);
    }
    scene.ask_upstream(LISTENING, &inv(&[&settled]));
    scene.heard(SUBMITTING);
    scene.upstream.close(SUBMITTING);
    scene.run_for(Duration::from_millis(1_100));
    scene.upstream.accept();
    scene.settle();
    let messages = scene.heard(2);
    assert_eq!(messages[4].0, "getheaders");
    assert_eq!(messages[5..], [message("inv", &items(&[&first, &second]))]);
}

#[test]
fn a_submission_that_cannot_be_relayed_is_reported_at_once() {
    let mut scene = Scene::new(TrustMode::Validated);
    scene.announce(&transaction(1));
    scene.submit(&transaction(2));
    let huge = large_transaction(4, 0x30_0000);
    for (transaction, outcome) in [
        (&transaction(1)[..], SubmitOutcome::Known),
        (&transaction(2), SubmitOutcome::Known),
        (b"nonsense", SubmitOutcome::Malformed),
        (&huge, SubmitOutcome::TooLarge),
    ] {
        let report = scene.submit(transaction).try_take().unwrap().expect("the report is sent at once");
        assert_eq!(report.outcome, outcome);
    }
    scene.relay.handler_mut().policy_mut().decision = PolicyDecision::Drop;
    let report = scene.submit(&transaction(3)).try_take().unwrap().expect("the report is sent at once");
    assert_eq!(report.outcome, SubmitOutcome::Refused);
}

#[test]
fn a_transaction_that_was_only_held_or_sent_by_a_leaf_before_is_submitted_and_followed() {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut sender = scene.leaf();
    scene.relay.handler_mut().policy_mut().decision = PolicyDecision::Hold;
    scene.ask(&mut sender, &tx(&transaction(1)));
    scene.relay.handler_mut().policy_mut().decision = PolicyDecision::Relay;
    assert_eq!(scene.heard(SUBMITTING), []);
    let held = scene.submit(&transaction(1));
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction(1)]))]);
    assert_eq!(scene.stats().bodies, 1, "the pool contains the transaction twice");
    scene.ask(&mut sender, &tx(&transaction(2)));
    let sent = scene.submit(&transaction(2));
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction(2)]))], "it was announced twice");
    scene.ask_upstream(LISTENING, &inv(&[&transaction(1), &transaction(2)]));
    for pending in [held, sent] {
        let report = pending.try_take().unwrap().expect("the report is sent at once");
        assert_eq!((report.outcome, links(&report.announced)), (SubmitOutcome::SeenBack, vec![false]));
    }
    let late = scene.submit(&transaction(2)).try_take().unwrap().expect("the report is sent at once");
    assert_eq!(late.outcome, SubmitOutcome::SeenBack);
}

#[test]
fn the_end_of_a_high_fee_filter_announces_the_open_submissions_at_once() {
    let mut scene = Scene::with(|c| c, config().with_ping_interval(Duration::ZERO), Conditions::default());
    let mut sender = scene.leaf();
    scene.ask_upstream(SUBMITTING, &frame("feefilter", &9_577_383_i64.to_le_bytes()));
    scene.ask(&mut sender, &tx(&transaction(1)));
    assert_eq!(scene.heard(SUBMITTING), []);
    let said = scene.ask_upstream(SUBMITTING, &frame("feefilter", &0_i64.to_le_bytes()));
    assert_eq!(said, [message("inv", &items(&[&transaction(1)]))]);
}

#[test]
fn a_submission_whose_body_was_dropped_is_not_announced_again() {
    let change = |config: RelayConfig| config.with_tx_pool_bytes(40_000);
    let mut scene = Scene::with(change, config().with_ping_interval(Duration::ZERO), Conditions::default());
    let mut sender = scene.leaf();
    scene.ask(&mut sender, &tx(&transaction(1)));
    (10..400).for_each(|number| scene.announce(&transaction(number)));
    let mut heard = hashes(&scene.heard(SUBMITTING), "inv");
    scene.run_for(Duration::from_secs(61));
    heard.extend(hashes(&scene.heard(SUBMITTING), "inv"));
    let announced = heard.iter().filter(|hash| **hash == Hash256::of(&transaction(1))).count();
    assert_eq!(announced, 1);
}

#[test]
fn a_new_upstream_receives_submissions_although_the_replaced_one_has_not_closed_yet() {
    for closes in [false, true] {
        let mut scene = Scene::with(|c| c, config().with_ping_interval(Duration::ZERO), Conditions::default());
        let mut sender = scene.leaf();
        let mut new = Upstream::new(&scene.world);
        scene.relay.handle().request(RelayRequest::set_upstreams(vec![new.address])).unwrap();
        scene.settle();
        if closes {
            [SUBMITTING, LISTENING].into_iter().for_each(|link| scene.upstream.close(link));
            scene.settle();
        }
        new.accept();
        scene.run_for(Duration::from_secs(10));
        scene.ask(&mut sender, &tx(&transaction(1)));
        scene.settle();
        let heard = frames(&new.receive(SUBMITTING));
        assert_eq!(heard.last(), Some(&message("inv", &items(&[&transaction(1)]))), "{heard:?}");
    }
}

#[test]
fn with_a_manager_an_upstream_has_both_links() {
    let config = Config::managed(peerloop::Network::Regtest).with_seed(Some(1)).with_ping_interval(Duration::ZERO);
    let mut scene = Scene::with(|config| config, config, Conditions::default());
    assert_eq!((scene.upstream.links, scene.counts().dials_refused), (2, 0));
    let pending = scene.submit(&transaction(1));
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction(1)]))]);
    scene.ask_upstream(LISTENING, &inv(&[&transaction(1)]));
    let report = pending.try_take().unwrap().expect("the report is sent at once");
    assert_eq!((report.outcome, links(&report.seen_back)), (SubmitOutcome::SeenBack, vec![true]));
}

#[test]
fn a_dial_that_the_loop_refuses_is_repeated_with_a_backoff() {
    let config = config().with_max_links(1).with_ping_interval(Duration::ZERO);
    let mut scene = Scene::with(|config| config, config, Conditions::default());
    assert_eq!(scene.upstream.links, 1);
    scene.run_for(Duration::from_secs(30));
    let refused = scene.counts().dials_refused;
    assert!((2..10).contains(&refused), "{refused} dials in 30 s");
}

#[test]
fn nothing_is_submitted_while_nobody_listens() {
    let mut scene = Scene::new(TrustMode::Validated);
    scene.upstream.close(LISTENING);
    scene.settle();
    let pending = scene.submit(&transaction(1));
    assert_eq!(scene.heard(SUBMITTING), []);
    scene.run_for(Duration::from_millis(1_100));
    scene.connect_upstream();
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction(1)]))]);
    assert_eq!(pending.try_take().unwrap(), None);
}

#[test]
fn an_announcement_after_another_upstreams_rejection_is_reported() {
    let mut scene = Scene::new(TrustMode::Validated);
    scene.submit(&transaction(1));
    scene.ask_upstream(SUBMITTING, &reject(&transaction(1), 0x41));
    scene.ask_upstream(LISTENING, &inv(&[&transaction(1)]));
    let steps = scene.steps(&transaction(1));
    assert!(
        matches!(steps[..], [RelayStep::Announced(_), RelayStep::Rejected(_), RelayStep::SeenBack(_)]),
        "{steps:?}"
    );
    assert_eq!((scene.counts().rejected, scene.counts().seen_back), (1, 1));
}

#[test]
fn a_submission_that_an_upstream_has_already_announced_is_seen_back_at_once() {
    let mut scene = Scene::new(TrustMode::Validated);
    let request = message("getdata", &items(&[&transaction(1)]));
    assert_eq!(scene.ask_upstream(LISTENING, &inv(&[&transaction(1)])), [request]);
    let report = scene.submit(&transaction(1)).try_take().unwrap().expect("the report is sent at once");
    assert_eq!((report.outcome, links(&report.seen_back)), (SubmitOutcome::SeenBack, vec![true]));
}

#[test]
fn a_submission_whose_body_a_leaf_sends_again_keeps_its_report() {
    let change = |config: RelayConfig| config.with_tx_pool_bytes(40_000);
    let mut scene = Scene::with(change, config().with_ping_interval(Duration::ZERO), Conditions::default());
    let mut sender = scene.leaf();
    let pending = scene.submit(&transaction(1));
    (10..400).for_each(|number| scene.announce(&transaction(number)));
    scene.heard(SUBMITTING);
    scene.ask(&mut sender, &tx(&transaction(1)));
    assert_eq!(scene.heard(SUBMITTING), [message("inv", &items(&[&transaction(1)]))]);
    scene.ask_upstream(LISTENING, &inv(&[&transaction(1)]));
    let report = pending.try_take().unwrap().expect("the report is sent at once");
    assert_eq!(report.outcome, SubmitOutcome::SeenBack);
    assert_eq!((scene.counts().submitted, scene.counts().resubmitted), (1, 1));
}

#[test]
fn hops_of_submitted_and_accepted_transactions_of_one_turn_are_all_measured() {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut sender, mut other) = (scene.leaf(), scene.leaf());
    // The positions are: accepted, submitted, accepted, submitted.
    for [accepted, submitted] in [[1, 2], [3, 4]] {
        scene.upstream.send(LISTENING, &tx(&transaction(accepted)));
        sender.send(&tx(&transaction(submitted)));
    }
    scene.settle();
    let announced = hashes(&scene.received(&mut other), "inv");
    assert_eq!(announced, [1, 3].map(|number| Hash256::of(&transaction(number))));
    let stats = scene.stats();
    let measured = stats.hops.hop_first.count + stats.counts.hops_unmeasured;
    assert!(stats.hops.hop_first.count >= 3, "{stats:?}");
    assert_eq!(measured + stats.hops.hop_last.count, 4 + 2, "{stats:?}");
}
