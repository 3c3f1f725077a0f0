//! Single cases of the relay of blocks: sources that have not announced a block, headers that cannot be passed on,
//! floods of announcements, and kept blocks that are dropped while they are read.

use super::blocks::scene;
use super::*;
use peerloop_testkit::bytes::header;
use peerloop_testkit::simulated::blocks::{block_item, chain, get_block, headers};
use peerloop_testkit::simulated::relay::Upstream;

#[test]
fn the_upstream_that_has_announced_a_block_is_asked_first() {
    let blocks = chain(&[1_000; 3]);
    // Whichever upstream is connected first.
    for is_first_informed in [true, false] {
        let mut scene = scene(&[], Conditions::default());
        let mut second = scene.second_upstream();
        let mut leaf = scene.leaf();
        scene.heard(SUBMITTING);
        let announcement = frame("headers", &headers(&blocks));
        let upstream = if is_first_informed { &mut scene.upstream } else { &mut second };
        upstream.receive(SUBMITTING);
        upstream.send(SUBMITTING, &announcement);
        scene.received(&mut leaf);
        leaf.send(&get_block(blocks[2].hash()));
        scene.settle();
        let asked = |upstream: &mut Upstream| {
            let links = [SUBMITTING, LISTENING].map(|link| hashes(&frames(&upstream.receive(link)), "getdata"));
            links.concat()
        };
        let expected = [vec![blocks[2].hash()], Vec::new()];
        let asked = [asked(&mut scene.upstream), asked(&mut second)];
        let (informed, other) = if is_first_informed { (0, 1) } else { (1, 0) };
        assert_eq!([&asked[informed], &asked[other]], [&expected[0], &expected[1]]);
    }
}

#[test]
fn an_inv_of_50_000_blocks_by_a_leaf_causes_no_message_and_no_memory() {
    let blocks = chain(&[100; 3]);
    let mut scene = scene(&blocks, Conditions { capacity_bytes: 4 << 20, ..Conditions::default() });
    let mut leaf = scene.leaf();
    scene.heard(SUBMITTING);
    let before = scene.stats();
    let mut items = [&[0xfd][..], &50_000_u16.to_le_bytes()].concat();
    for number in 0..50_000_u32 {
        items.extend_from_slice(&[2, 0, 0, 0]);
        // Every other one is known.
        let hash = if number % 2 == 0 { blocks[2].hash() } else { Hash256::of(&number.to_le_bytes()) };
        items.extend_from_slice(hash.as_bytes());
    }
    assert_eq!(scene.ask(&mut leaf, &frame("inv", &items)), []);
    assert_eq!((scene.heard(SUBMITTING), scene.heard(LISTENING)), (Vec::new(), Vec::new()));
    let after = scene.stats();
    let mut counts = before.counts;
    counts.inv_items_received += 50_000;
    assert_eq!(after.counts, counts);
    assert_eq!((after.entries, after.headers, after.passing_blocks), (before.entries, before.headers, 0));
    assert_eq!((after.in_flight, after.pending_bytes), (0, 0));
}

#[test]
fn a_source_with_an_extended_header_for_a_small_block_is_replaced() {
    let blocks = chain(&[3_000]);
    let mut scene = scene(&blocks, Conditions::default());
    let mut leaf = scene.leaf();
    leaf.send(&get_block(blocks[0].hash()));
    assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata"), [blocks[0].hash()]);
    // Readers need the checksum of a basic header, which an extended one does not have.
    let payload = &blocks[0].payload;
    let mut extended = header("extmsg", u32::MAX, &[0; 4]);
    extended.extend_from_slice(b"block\0\0\0\0\0\0\0");
    extended.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    scene.upstream.send(SUBMITTING, &[&extended[..], payload].concat());
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata"), [blocks[0].hash()]);
    scene.upstream.send(LISTENING, &frame("block", payload));
    assert_eq!(scene.received(&mut leaf), [message("block", payload)]);
    let counts = scene.counts();
    assert_eq!((counts.blocks_wrong, counts.block_fail_overs, counts.block_readers_cut), (1, 1, 0));
}

#[test]
fn a_reader_whose_kept_block_was_dropped_and_is_fetched_again_is_closed() {
    let blocks = chain(&[3_000_000, 3_000_000, 500]);
    let conditions = Conditions { capacity_bytes: 8_192, ..Conditions::default() };
    let change = |settings: RelayConfig| settings.with_small_blocks_bytes(5 << 20);
    let mut scene = Scene::with(change, config().with_ping_interval(Duration::ZERO), conditions);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks)));
    scene.settle();
    let pass = |scene: &mut Scene, leaf: &mut RawPeer, at: usize| {
        leaf.send(&get_block(blocks[at].hash()));
        assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata"), [blocks[at].hash()]);
        let mut received = Vec::new();
        for part in frame("block", &blocks[at].payload).chunks(8_000) {
            scene.upstream.send(SUBMITTING, part);
            received.extend(scene.drain(leaf));
        }
        assert!(received == frame("block", &blocks[at].payload), "block {at} is not whole");
    };
    let (mut fast, mut slow, mut third) = (scene.leaf(), scene.leaf(), scene.leaf());
    pass(&mut scene, &mut fast, 0);
    // The slow peer reads the kept block, which the next one displaces.
    slow.send(&get_block(blocks[0].hash()));
    scene.settle();
    assert_eq!(scene.stats().kept_blocks, 1);
    pass(&mut scene, &mut fast, 1);
    assert_eq!(scene.stats().kept_blocks, 1);
    third.send(&get_block(blocks[0].hash()));
    assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata"), [blocks[0].hash()]);
    let begun = scene.drain(&mut slow);
    let whole = frame("block", &blocks[0].payload);
    assert!(begun.len() < whole.len() && begun == whole[..begun.len()], "{} bytes", begun.len());
    assert!(slow.has_seen_end);
    assert_eq!(scene.counts().block_readers_cut, 1);
    let mut received = Vec::new();
    for part in whole.chunks(8_000) {
        scene.upstream.send(SUBMITTING, part);
        received.extend(scene.drain(&mut third));
    }
    assert!(received == whole);
    assert_eq!(scene.ask(&mut third, &frame("getdata", &block_item(Hash256::ZERO))).len(), 1);
}
