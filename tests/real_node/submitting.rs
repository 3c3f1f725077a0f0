//! The ways of a good transaction from a leaf or a request to the relay's upstream, and back.

use crate::observer::config;
use crate::running::WHITELISTING;
use crate::scene::Scene;
use peerloop::relay::{RelayConfig, RelayStep, SubmitOutcome, TrustMode};
use peerloop::wire::Hash256;
use std::time::Duration;

/// The length of a chain of transactions. A node keeps far longer ones.
const CHAIN: usize = 25;

#[test]
fn a_chain_of_transactions_reaches_another_leaf_in_order() {
    let Some(mut scene) = Scene::start(&WHITELISTING, TrustMode::Validated) else { return };
    let [mut sender, mut other] = scene.leaves();
    for is_from_leaf in [true, false] {
        let chain = scene.chain(CHAIN);
        let txids: Vec<Hash256> = chain.iter().map(|transaction| Hash256::of(transaction)).collect();
        if is_from_leaf {
            chain.iter().for_each(|transaction| sender.push(transaction));
        } else {
            chain.iter().for_each(|transaction| scene.send_through_node(transaction));
        }
        other.until_announced(txids[CHAIN - 1]);
        let mut announced = other.announced();
        announced.retain(|txid| txids.contains(txid));
        assert_eq!(announced, txids, "from a leaf: {is_from_leaf}");
        for (txid, transaction) in txids.into_iter().zip(chain) {
            assert_eq!(other.fetch(txid), Some(transaction));
        }
    }
}

#[test]
fn a_pushed_transaction_is_accepted_without_a_request() {
    let settings = RelayConfig::new(Vec::new()).with_push(true);
    let Some(mut scene) = Scene::start_with(&WHITELISTING, settings, config()) else { return };
    let [mut sender, mut other] = scene.leaves();
    let good = scene.good();
    let txid = Hash256::of(&good);
    sender.offer(&good);
    other.until_announced(txid);
    let steps = scene.steps_so_far(txid);
    let [RelayStep::Announced(_), RelayStep::Sent(by), RelayStep::SeenBack(back)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!((by.is_listening, back.is_listening), (false, true));
    assert_eq!(scene.node.json(&["getrawmempool"]).as_array().map(Vec::len), Some(2));
}

#[test]
fn a_transaction_that_is_submitted_while_the_node_is_down_is_accepted_after_its_restart() {
    let Some(mut scene) = Scene::start(&WHITELISTING, TrustMode::Validated) else { return };
    let [mut sender, mut other] = scene.leaves();
    let good = scene.good();
    // This makes the node write its chain to the disk, so that it still has its coins after the kill.
    scene.node.cli(&["gettxoutsetinfo"]);
    scene.node.kill();
    scene.relay.wait_for_links(0);
    sender.offer(&good);
    assert_eq!(other.fetch(Hash256::of(&good)), None);
    assert_eq!(scene.relay.stats().counts.submitted, 1);
    scene.node.start_again();
    other.until_announced(Hash256::of(&good));
    assert_eq!(other.fetch(Hash256::of(&good)), Some(good));
    let stats = scene.relay.stats();
    assert_eq!((stats.counts.seen_back, stats.upstream_links), (1, 2));
}

#[test]
fn a_request_learns_what_the_node_says() {
    let Some(mut scene) = Scene::start(&WHITELISTING, TrustMode::Validated) else { return };
    let [mut other] = scene.leaves();
    let good = scene.good();
    let report = scene.relay.submit(good.clone());
    assert_eq!((report.outcome, report.txid), (SubmitOutcome::SeenBack, Hash256::of(&good)));
    assert_eq!([report.announced.len(), report.requested.len(), report.seen_back.len()], [1, 1, 1]);
    other.until_announced(report.txid);
    assert_eq!(scene.relay.submit(good), report, "a second request follows the same transaction");
    let report = scene.relay.submit(scene.bad.script.clone());
    let [rejection] = &report.rejected[..] else { panic!("{report:?}") };
    assert_eq!((report.outcome, rejection.code), (SubmitOutcome::Rejected, 0x10));
    assert!(rejection.reason.starts_with("mandatory-script-verify-flag-failed"), "{rejection:?}");
    // The node says nothing, so the report waits for the end of its time.
    let report = scene.relay.submit(scene.bad.orphan.clone());
    assert_eq!((report.outcome, report.requested.len()), (SubmitOutcome::Silent, 1));
    assert!(!other.announced().contains(&report.txid));
}

#[test]
fn silence_counts_as_acceptance_on_request_so_that_double_spends_and_orphans_pass() {
    let silence = Some(Duration::from_secs(3));
    let settings = RelayConfig::new(Vec::new()).with_accept_on_silence(silence);
    let Some(scene) = Scene::start_with(&WHITELISTING, settings, config()) else { return };
    let [mut sender, mut other] = scene.leaves();
    scene.offer_bad(&mut sender);
    let rejected = [&scene.bad.script, &scene.bad.nonstandard].map(|transaction| Hash256::of(transaction));
    for transaction in [&scene.bad.conflict, &scene.bad.spent, &scene.bad.orphan] {
        other.until_announced(Hash256::of(transaction));
    }
    // The orphan was offered before these two, which would be announced soon after it.
    std::thread::sleep(Duration::from_secs(1));
    assert!(other.announced().iter().all(|txid| !rejected.contains(txid)));
    assert_eq!(scene.relay.stats().counts.accepted_on_silence, 3);
}
