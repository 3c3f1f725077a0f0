//! A relay's leaf peers that send bad transactions: other leaf peers do not see them, the sender is charged for some,
//! and the relay keeps its links to an upstream that whitelists it.
//!
//! The options that a node needs, by measurement with an SV Node 1.0.13:
//!
//! - `-whitelist=IP_OF_THE_RELAY`, in every mode in which leaf peers may send transactions. Without it, one invalid
//!   transaction ends the submitting link, and an address other than loopback is banned for a day.
//! - `-whitelistforcerelay=0` besides, in the mode `validated`. Without it, the node announces double spends and
//!   non-standard transactions of a whitelisted peer although it has refused them, and the relay believes the node. In
//!   the mode `trusted` the relay does not see such announcements, and in the mode `open` it waits for none.
//!
//! A relay without leaf peers needs neither.

use crate::running::{WHITELISTING, managed_config};
use crate::scene::{IN_SIGNATURE, Scene, with_flipped_bit};
use crate::two_nodes::until;
use peerloop::relay::{RelayConfig, RelayStep, TrustMode};
use peerloop::wire::Hash256;
use serde_json::json;

fn is_seen_back_on_the_listening_link(step: &RelayStep) -> bool {
    matches!(step, RelayStep::SeenBack(link) if link.is_listening)
}

#[test]
fn bad_transactions_reach_no_other_leaf_and_a_good_one_does_once_the_node_has_announced_it() {
    let Some(mut scene) = Scene::start(&WHITELISTING, TrustMode::Validated) else { return };
    let [mut sender, mut other] = scene.leaves();
    scene.offer_bad(&mut sender);
    for (transaction, _) in scene.bad.all() {
        assert_eq!(other.fetch(Hash256::of(transaction)), None, "the relay serves a bad transaction");
    }
    let good = scene.good();
    let txid = Hash256::of(&good);
    sender.offer(&good);
    scene.until_step(txid, |step| matches!(step, RelayStep::Announced(link) if !link.is_listening));
    scene.until_step(txid, |step| matches!(step, RelayStep::Requested(link) if !link.is_listening));
    scene.until_step(txid, |step| matches!(step, RelayStep::Sent(link) if !link.is_listening));
    scene.until_step(txid, is_seen_back_on_the_listening_link);
    other.until_announced(txid);
    assert_eq!(other.fetch(txid), Some(good));
    // The node's own transaction shows that it has announced everything before.
    let last = scene.send_from_node();
    sender.until_announced(last);
    other.until_announced(last);
    let accepted_before = Hash256::of(&scene.in_mempool);
    let without_earlier = |mut announced: Vec<Hash256>| {
        announced.retain(|txid| *txid != accepted_before);
        announced
    };
    assert_eq!(without_earlier(other.announced()), [txid, last]);
    assert_eq!(without_earlier(sender.announced()), [last]);
    let stats = scene.relay.stats();
    // Without a peer manager, nobody is charged.
    assert_eq!((stats.counts.seen_back, stats.counts.rejected, stats.leaf_peers), (1, 2, 2), "{stats:?}");
    assert_eq!(stats.counts.submitted, 6);
}

#[test]
fn no_transaction_of_a_leaf_reaches_another_in_the_mode_trusted() {
    let Some(mut scene) = Scene::start(&WHITELISTING, TrustMode::Trusted) else { return };
    let [mut sender, mut other] = scene.leaves();
    scene.offer_bad(&mut sender);
    let good = scene.good();
    sender.offer(&good);
    scene.node.log_once_it_says(&format!("{} accepted", Hash256::of(&good)));
    let last = scene.send_from_node();
    other.until_announced(last);
    sender.until_announced(last);
    let accepted_before = Hash256::of(&scene.in_mempool);
    for leaf in [&mut sender, &mut other] {
        let announced: Vec<_> = leaf.announced().into_iter().filter(|txid| *txid != accepted_before).collect();
        assert_eq!(announced, [last]);
    }
    assert_eq!(other.fetch(Hash256::of(&good)), None);
    assert_eq!(scene.relay.stats().counts.seen_back, 0);
}

#[test]
fn an_open_relay_announces_bad_transactions_too() {
    let Some(scene) = Scene::start(&WHITELISTING, TrustMode::Open) else { return };
    let [mut sender, mut other] = scene.leaves();
    scene.offer_bad(&mut sender);
    for (transaction, _) in scene.bad.all() {
        other.until_announced(Hash256::of(transaction));
    }
}

/// A leaf is charged for a transaction that the node rejects with the code 0x10. It is not charged for one that the
/// node refuses silently or only does not relay.
#[test]
fn a_leaf_is_charged_for_an_invalid_transaction_only() {
    for trust in [TrustMode::Validated, TrustMode::Trusted] {
        let settings = RelayConfig::new(Vec::new()).with_trust(trust);
        let Some(scene) = Scene::start_with(&WHITELISTING, settings, managed_config()) else { return };
        let [mut watching, mut careless, mut guilty] = scene.leaves();
        for (transaction, result) in scene.bad.all() {
            let leaf = if transaction == scene.bad.script { &mut guilty } else { &mut careless };
            leaf.offer(transaction);
            scene.node.log_once_it_says(&format!("{} {result}", Hash256::of(transaction)));
        }
        guilty.observer.closed(guilty.peer);
        let rejected =
            |txid, code| scene.until_step(txid, |step| matches!(step, RelayStep::Rejected(by) if by.code == code));
        rejected(Hash256::of(&scene.bad.nonstandard), 0x40);
        assert_eq!([watching.is_closed(), careless.is_closed()], [false; 2], "{trust}");
        // A loopback address is not banned, so the leaf can connect again.
        let [mut again] = scene.leaves();
        assert!(!again.is_closed());
    }
}

/// The node counts points for the submitting link, but does not act on them.
#[test]
fn a_node_that_whitelists_the_relay_keeps_its_links_after_many_invalid_transactions() {
    let Some(mut scene) = Scene::start(&WHITELISTING, TrustMode::Validated) else { return };
    let (before, _) = scene.peers_and_scores();
    let [mut sender, mut other] = scene.leaves();
    for _ in 0..10 {
        let invalid = with_flipped_bit(scene.good(), IN_SIGNATURE);
        sender.push(&invalid);
        scene.until_step(Hash256::of(&invalid), |step| matches!(step, RelayStep::Rejected(by) if by.code == 0x10));
    }
    let good = scene.good();
    sender.push(&good);
    other.until_announced(Hash256::of(&good));
    assert_eq!(scene.peers_and_scores(), (before, 1_000));
    assert_eq!(scene.node.json(&["listbanned"]), json!([]));
    assert_eq!(scene.relay.stats().counts.rejected, 10);
}

/// The node closes the submitting link. It would ban any other address than one of loopback for a day.
#[test]
fn a_node_that_does_not_whitelist_the_relay_closes_the_link_after_one_invalid_transaction() {
    let Some(mut scene) = Scene::start(&[], TrustMode::Validated) else { return };
    let (before, _) = scene.peers_and_scores();
    let [mut sender, mut other] = scene.leaves();
    sender.push(&scene.bad.script);
    scene.node.log_once_it_says("BAN THRESHOLD EXCEEDED");
    until("the end of the link", || !scene.peers_and_scores().0.contains(&before[0]));
    // A transaction that was submitted meanwhile is announced once the link is open again.
    let good = scene.good();
    sender.push(&good);
    other.until_announced(Hash256::of(&good));
    let (after, scores) = scene.peers_and_scores();
    assert_eq!((after.len(), after[0], scores), (2, before[1], 0), "{before:?}, {after:?}");
}

/// A node announces refused transactions of a whitelisted peer, unless the option `-whitelistforcerelay=0` is set. The
/// relay cannot distinguish such an announcement from that of an accepted transaction, so the option is necessary.
#[test]
fn a_node_that_forces_relay_makes_double_spends_reach_other_leaves() {
    let Some(scene) = Scene::start(&["-whitelist=127.0.0.1"], TrustMode::Validated) else { return };
    let [mut sender, mut other] = scene.leaves();
    scene.offer_bad(&mut sender);
    let forced = [&scene.bad.conflict, &scene.bad.nonstandard].map(|transaction| Hash256::of(transaction));
    for txid in forced {
        until("the forced announcement", || other.announced().contains(&txid));
    }
    let last = scene.send_from_node();
    other.until_announced(last);
    let announced = other.announced();
    for (transaction, result) in scene.bad.all() {
        let txid = Hash256::of(transaction);
        assert_eq!(announced.contains(&txid), forced.contains(&txid), "{result}");
    }
}
