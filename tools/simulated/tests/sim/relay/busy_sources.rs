//! Sources that send another block first: an idle link is asked before, and a block moves to one that becomes idle.

use super::blocks::{requesting, scene, scene_of_one_link, scene_with};
use super::*;
use peerloop_testkit::simulated::blocks::{chain, headers};
use peerloop_testkit::simulated::relay::Upstream;

/// Sends a kilobyte of a message on the submitting link each second, for this time.
fn trickle(scene: &mut Scene, rest: &mut Vec<u8>, secs: usize) {
    for _ in 0..secs {
        scene.upstream.send(SUBMITTING, &rest[..1_000]);
        rest.drain(..1_000);
        scene.run_for(Duration::from_secs(1));
    }
}

/// Returns the blocks that the relay has requested on a link of the upstream.
fn asked(scene: &mut Scene, link: u64) -> Vec<Hash256> {
    hashes(&scene.heard(link), "getdata")
}

fn asked_of(scene: &mut Scene, upstream: &mut Upstream) -> Vec<Hash256> {
    scene.settle();
    hashes(&frames(&upstream.receive(0)), "getdata")
}

#[test]
fn the_tip_is_requested_on_the_other_link_while_a_large_block_arrives_on_the_first() {
    let blocks = chain(&[40_000, 1_000]);
    let mut scene = scene(&blocks, Conditions::default());
    let [mut old] = requesting(&mut scene, [&blocks[0]]);
    assert_eq!(asked(&mut scene, SUBMITTING), [blocks[0].hash()]);
    let whole = frame("block", &blocks[0].payload);
    scene.upstream.send(SUBMITTING, &whole[..20_000]);
    let begun = scene.drain(&mut old);
    let [mut new] = requesting(&mut scene, [&blocks[1]]);
    assert_eq!((asked(&mut scene, SUBMITTING), asked(&mut scene, LISTENING)), (vec![], vec![blocks[1].hash()]));
    scene.upstream.send(LISTENING, &frame("block", &blocks[1].payload));
    assert_eq!(scene.received(&mut new), [message("block", &blocks[1].payload)]);
    scene.upstream.send(SUBMITTING, &whole[20_000..]);
    assert!([begun, scene.drain(&mut old)].concat() == whole);
    assert_eq!(scene.counts().block_fail_overs, 0);
}

#[test]
fn an_idle_upstream_is_asked_if_it_has_the_block_and_the_busy_one_otherwise() {
    let blocks = chain(&[40_000, 1_000]);
    let tip = vec![blocks[1].hash()];
    for is_informed in [true, false] {
        let mut scene = scene_of_one_link(&blocks);
        let mut second = scene.second_upstream();
        if is_informed {
            second.send(0, &frame("headers", &headers(&blocks)));
            scene.settle();
        }
        let [_old] = requesting(&mut scene, [&blocks[0]]);
        assert_eq!(asked(&mut scene, SUBMITTING), [blocks[0].hash()]);
        let [_new] = requesting(&mut scene, [&blocks[1]]);
        let expected = if is_informed { (Vec::new(), tip.clone()) } else { (tip.clone(), Vec::new()) };
        assert_eq!((asked(&mut scene, SUBMITTING), asked_of(&mut scene, &mut second)), expected);
    }
}

#[test]
fn a_block_that_waits_behind_another_moves_to_an_idle_upstream_that_announces_it() {
    let blocks = chain(&[40_000, 1_000]);
    let mut scene = scene_of_one_link(&blocks);
    let mut second = scene.second_upstream();
    let [mut old, mut new] = requesting(&mut scene, [&blocks[0], &blocks[1]]);
    assert_eq!(asked(&mut scene, SUBMITTING), [blocks[0].hash(), blocks[1].hash()]);
    let mut rest = frame("block", &blocks[0].payload);
    trickle(&mut scene, &mut rest, 15);
    assert_eq!(asked_of(&mut scene, &mut second), [], "an upstream that may lack the block was asked");
    second.send(0, &frame("headers", &headers(&blocks)));
    trickle(&mut scene, &mut rest, 2);
    assert_eq!(asked_of(&mut scene, &mut second), [blocks[1].hash()]);
    second.send(0, &frame("block", &blocks[1].payload));
    assert_eq!(scene.received(&mut new), [message("block", &blocks[1].payload)]);
    // The first source serves both requests nevertheless.
    scene.upstream.send(SUBMITTING, &[rest, frame("block", &blocks[1].payload)].concat());
    assert_eq!(scene.received(&mut old), [message("block", &blocks[0].payload)]);
    let counts = scene.counts();
    assert_eq!((counts.block_fail_overs, counts.blocks_wrong, counts.block_readers_cut), (1, 0, 0));
    assert_eq!((counts.blocks_served, scene.stats().passing_blocks), (2, 0));
}

#[test]
fn a_block_that_waits_behind_another_has_time_to_begin_after_it() {
    let blocks = chain(&[40_000, 1_000]);
    let mut scene = scene_of_one_link(&blocks);
    let [_old, mut new] = requesting(&mut scene, [&blocks[0], &blocks[1]]);
    let mut rest = frame("block", &blocks[0].payload);
    trickle(&mut scene, &mut rest, 15);
    scene.upstream.send(SUBMITTING, &rest);
    scene.run_for(Duration::from_secs(8));
    assert_eq!((scene.counts().blocks_relayed, scene.counts().block_fail_overs), (1, 0));
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[1].payload));
    assert_eq!(scene.received(&mut new), [message("block", &blocks[1].payload)]);
}

#[test]
fn a_link_is_busy_while_the_rest_of_a_block_without_readers_arrives() {
    let blocks = chain(&[40_000, 1_000]);
    for trust in [TrustMode::Validated, TrustMode::Trusted] {
        // No block is kept, so nobody wants the rest.
        let change = |settings: RelayConfig| settings.with_trust(trust).with_small_blocks_bytes(0);
        let mut scene = scene_with(&blocks, Conditions::default(), change);
        let [old] = requesting(&mut scene, [&blocks[0]]);
        assert_eq!(asked(&mut scene, SUBMITTING), [blocks[0].hash()]);
        let mut rest = frame("block", &blocks[0].payload);
        trickle(&mut scene, &mut rest, 1);
        drop(old);
        trickle(&mut scene, &mut rest, 2);
        assert_eq!(scene.stats().passing_blocks, 0);
        let [mut new] = requesting(&mut scene, [&blocks[1]]);
        let link = if trust == TrustMode::Trusted { SUBMITTING } else { LISTENING };
        assert_eq!(asked(&mut scene, link), [blocks[1].hash()]);
        if link == SUBMITTING {
            // It is the only link, and not silent.
            trickle(&mut scene, &mut rest, 15);
            scene.upstream.send(SUBMITTING, &rest);
            scene.settle();
        }
        scene.upstream.send(link, &frame("block", &blocks[1].payload));
        assert_eq!(scene.received(&mut new), [message("block", &blocks[1].payload)]);
        assert_eq!((scene.counts().block_fail_overs, scene.counts().blocks_served), (0, 1));
    }
}

#[test]
fn a_link_that_sends_a_block_too_late_is_busy() {
    let blocks = chain(&[1_000, 40_000, 1_000]);
    let mut scene = scene(&blocks, Conditions::default());
    let [mut old] = requesting(&mut scene, [&blocks[1]]);
    assert_eq!(asked(&mut scene, SUBMITTING), [blocks[1].hash()]);
    scene.run_for(Duration::from_secs(12));
    assert_eq!(asked(&mut scene, LISTENING), [blocks[1].hash()]);
    let whole = frame("block", &blocks[1].payload);
    scene.upstream.send(LISTENING, &whole);
    assert_eq!(scene.drain(&mut old), whole);
    // The first link sends it now, and nobody reads it.
    scene.upstream.send(SUBMITTING, &whole[..20_000]);
    scene.settle();
    requesting(&mut scene, [&blocks[2]]);
    assert_eq!([SUBMITTING, LISTENING].map(|link| asked(&mut scene, link)), [vec![], vec![blocks[2].hash()]]);
    // It is idle after the block.
    scene.upstream.send(LISTENING, &frame("block", &blocks[2].payload));
    scene.upstream.send(SUBMITTING, &whole[20_000..]);
    scene.settle();
    requesting(&mut scene, [&blocks[0]]);
    assert_eq!(asked(&mut scene, SUBMITTING), [blocks[0].hash()]);
}

#[test]
fn a_source_that_a_block_has_moved_away_from_is_asked_again_if_the_next_one_fails() {
    let blocks = chain(&[40_000, 1_000]);
    let mut scene = scene_of_one_link(&blocks);
    let mut second = scene.second_upstream();
    let [_old, mut new] = requesting(&mut scene, [&blocks[0], &blocks[1]]);
    let mut rest = frame("block", &blocks[0].payload);
    trickle(&mut scene, &mut rest, 5);
    second.send(0, &frame("headers", &headers(&blocks)));
    trickle(&mut scene, &mut rest, 7);
    assert_eq!(asked_of(&mut scene, &mut second), [blocks[1].hash()]);
    assert_eq!(asked(&mut scene, SUBMITTING), [blocks[0].hash(), blocks[1].hash()]);
    second.close(0);
    assert_eq!(asked(&mut scene, SUBMITTING), [blocks[1].hash()]);
    scene.upstream.send(SUBMITTING, &[rest, frame("block", &blocks[1].payload)].concat());
    assert_eq!(scene.received(&mut new), [message("block", &blocks[1].payload)]);
    assert_eq!((scene.counts().block_fail_overs, scene.counts().block_readers_cut), (2, 0));
    let reports = &scene.relay.handler().policy().blocks;
    assert_eq!(reports.iter().map(|block| block.fail_overs).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_source_that_sends_other_blocks_than_were_requested_is_replaced() {
    let blocks = chain(&[1_000, 1_000]);
    let mut scene = scene(&blocks, Conditions::default());
    let [mut new] = requesting(&mut scene, [&blocks[1]]);
    assert_eq!(asked(&mut scene, SUBMITTING), [blocks[1].hash()]);
    for _ in 0..6 {
        scene.upstream.send(SUBMITTING, &frame("block", &blocks[0].payload));
        scene.run_for(Duration::from_secs(2));
    }
    assert_eq!(asked(&mut scene, LISTENING), [blocks[1].hash()]);
    scene.upstream.send(LISTENING, &frame("block", &blocks[1].payload));
    assert_eq!(scene.received(&mut new), [message("block", &blocks[1].payload)]);
}

#[test]
fn a_source_that_sends_a_requested_block_too_late_is_not_silent() {
    let blocks = chain(&[40_000, 1_000]);
    // The late block begins before or after the request for the next one.
    for is_before in [true, false] {
        let mut scene = scene_of_one_link(&blocks);
        requesting(&mut scene, [&blocks[0]]);
        scene.run_for(Duration::from_secs(12));
        assert_eq!((asked(&mut scene, SUBMITTING), scene.stats().passing_blocks), (vec![blocks[0].hash()], 0));
        let mut rest = frame("block", &blocks[0].payload);
        if is_before {
            trickle(&mut scene, &mut rest, 1);
        }
        let [mut new] = requesting(&mut scene, [&blocks[1]]);
        assert_eq!(asked(&mut scene, SUBMITTING), [blocks[1].hash()]);
        trickle(&mut scene, &mut rest, 15);
        scene.upstream.send(SUBMITTING, &[rest, frame("block", &blocks[1].payload)].concat());
        assert_eq!(scene.received(&mut new), [message("block", &blocks[1].payload)], "{is_before}");
    }
}
