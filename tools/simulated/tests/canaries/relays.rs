//! One scenario for each bug that can be planted in the relay. Each scenario returns whether the bug's symptom shows.

use peerloop::relay::TrustMode;
use peerloop::sim::Conditions;
use peerloop_testkit::bytes::frame;
use peerloop_testkit::simulated::blocks::{Mined, chain, compact, get_block, headers, offer, sendcmpct};
use peerloop_testkit::simulated::relay::{LISTENING, SUBMITTING, Scene, hashes, inv, items, message, transaction, tx};
use peerloop_testkit::simulated::{RawPeer, config};
use std::time::Duration;

/// Announces three transactions together, and returns the number of announcements that a leaf receives, also after
/// a fourth one.
fn announcements_of_four() -> usize {
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    let bodies: Vec<u8> = (0..3).flat_map(|number| tx(&transaction(number))).collect();
    scene.upstream.send(LISTENING, &bodies);
    let mut messages = scene.received(&mut leaf);
    scene.upstream.send(LISTENING, &tx(&transaction(3)));
    messages.extend(scene.received(&mut leaf));
    hashes(&messages, "inv").len()
}

pub(crate) fn an_announcement_is_missing() -> bool {
    announcements_of_four() < 4
}

pub(crate) fn an_announcement_arrives_twice() -> bool {
    announcements_of_four() > 4
}

pub(crate) fn a_leafs_transaction_is_announced_without_an_upstream() -> bool {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut sender, mut other) = (scene.leaf(), scene.leaf());
    scene.ask(&mut sender, &tx(&transaction(1)));
    !scene.received(&mut other).is_empty()
}

pub(crate) fn a_transaction_is_not_requested_from_its_second_announcer() -> bool {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut first, mut second, wanted) = (scene.leaf(), scene.leaf(), transaction(1));
    scene.ask(&mut first, &inv(&[&wanted]));
    scene.ask(&mut second, &inv(&[&wanted]));
    scene.ask(&mut first, &frame("notfound", &items(&[&wanted])));
    scene.received(&mut second) != [message("getdata", &items(&[&wanted]))]
}

/// A peer closes while the sweep for an earlier peer has already passed the first entries.
pub(crate) fn a_new_peer_misses_an_announcement_that_an_earlier_one_had_sent() -> bool {
    let mut scene = Scene::new(TrustMode::Validated);
    let (mut swept, mut early, wanted) = (scene.leaf(), scene.leaf(), transaction(1));
    early.send(&inv(&[&wanted]));
    scene.upstream.send(LISTENING, &inv(&[&wanted]));
    swept.close();
    scene.run_for(Duration::from_millis(5));
    early.close();
    scene.run_for(Duration::from_millis(3));
    let mut late = [scene.leaf(), scene.leaf()];
    scene.upstream.send(LISTENING, &tx(&wanted));
    late.iter_mut().any(|leaf| scene.received(leaf).is_empty())
}

/// Returns a scene whose upstream has one block, and a leaf that has requested it.
fn requested(block: &[Mined]) -> (Scene, RawPeer) {
    let mut scene = Scene::with(|settings| settings.with_small_blocks_bytes(0), config(), Conditions::default());
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(block)));
    scene.settle();
    let mut leaf = scene.leaf();
    leaf.send(&get_block(block[0].hash()));
    scene.settle();
    (scene, leaf)
}

pub(crate) fn a_wrong_block_arrives_whole() -> bool {
    let block = chain(&[2_000]);
    let (mut scene, mut leaf) = requested(&block);
    let mut payload = block[0].payload.clone();
    *payload.last_mut().unwrap() ^= 1;
    let wrong = frame("block", &payload);
    for part in [&wrong[..1_000], &wrong[1_000..]] {
        scene.upstream.send(SUBMITTING, part);
        scene.settle();
    }
    scene.drain(&mut leaf).len() == wrong.len()
}

pub(crate) fn a_block_does_not_continue_after_the_loss_of_its_source() -> bool {
    let block = chain(&[2_000]);
    let (mut scene, mut leaf) = requested(&block);
    let whole = frame("block", &block[0].payload);
    scene.upstream.send(SUBMITTING, &whole[..1_000]);
    scene.settle();
    scene.upstream.close(SUBMITTING);
    scene.settle();
    scene.upstream.send(LISTENING, &whole[..1_200]);
    scene.drain(&mut leaf) != whole[..1_200]
}

pub(crate) fn a_slow_reader_delays_another_one_for_seconds() -> bool {
    let block = chain(&[8_000_000]);
    let (mut scene, mut fast) = requested(&block);
    // It never reads.
    let mut slow = scene.leaf();
    slow.send(&get_block(block[0].hash()));
    scene.settle();
    let (begin, mut rest) = (scene.world.now(), frame("block", &block[0].payload));
    while !rest.is_empty() && scene.world.now().since(begin) < Duration::from_secs(3) {
        offer(&mut scene, &mut rest);
        scene.drain(&mut fast);
        if !rest.is_empty() {
            scene.run_for(Duration::from_millis(1));
        }
    }
    !rest.is_empty()
}

pub(crate) fn a_block_with_the_transactions_of_another_one_is_served() -> bool {
    let [block, other]: [Mined; 2] = chain(&[50, 50]).try_into().ok().unwrap();
    let lie = Mined { header: block.header, payload: other.payload };
    let mut scene = Scene::new(TrustMode::Validated);
    let mut leaf = scene.leaf();
    scene.ask_upstream(SUBMITTING, &sendcmpct(false));
    scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(&lie, 1)));
    scene.received(&mut leaf);
    !scene.ask(&mut leaf, &get_block(block.hash())).is_empty()
}
