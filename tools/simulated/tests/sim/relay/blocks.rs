//! Blocks through the relay: headers, announcements, cut-through, fail-over, and wrong blocks.

use super::*;
use peerloop::Network;
use peerloop::wire::{BlockHeader, Locator};
use peerloop_testkit::simulated::blocks::{Mined, block_item, chain, get_block, headers, offer};

pub(super) fn getheaders(hashes: &[Hash256]) -> Vec<u8> {
    let mut payload = Vec::new();
    Locator::from_hashes(70_016, hashes.iter().copied(), Hash256::ZERO).as_ref().encode(&mut payload);
    frame("getheaders", &payload)
}

/// Returns a scene whose upstream has these blocks, and has sent their headers.
pub(super) fn scene(blocks: &[Mined], conditions: Conditions) -> Scene {
    scene_with(blocks, conditions, |settings| settings)
}

/// Returns a scene like [`scene`], whose upstream has a single link.
pub(super) fn scene_of_one_link(blocks: &[Mined]) -> Scene {
    scene_with(blocks, Conditions::default(), |settings| settings.with_trust(TrustMode::Trusted))
}

pub(super) fn scene_with(
    blocks: &[Mined],
    conditions: Conditions,
    change: impl FnOnce(RelayConfig) -> RelayConfig,
) -> Scene {
    let mut scene = Scene::with(change, config().with_ping_interval(Duration::ZERO), conditions);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(blocks)));
    scene.settle();
    scene
}

/// Adds a leaf for each of these blocks, which has requested it.
pub(super) fn requesting<const COUNT: usize>(scene: &mut Scene, blocks: [&Mined; COUNT]) -> [RawPeer; COUNT] {
    blocks.map(|block| {
        let mut leaf = scene.leaf();
        leaf.send(&get_block(block.hash()));
        scene.settle();
        leaf
    })
}

#[test]
fn headers_are_answered_and_a_new_tip_is_announced_as_each_peer_asked() {
    let blocks = chain(&[100; 5]);
    let mut scene = scene(&blocks[..4], Conditions::default());
    let (mut plain, mut modern) = (scene.leaf(), scene.leaf());
    modern.send(&frame("sendheaders", &[]));
    let genesis = BlockHeader::genesis_of(Network::Regtest).hash();
    let answer = [message("headers", &headers(&blocks[..4]))];
    assert_eq!(scene.ask(&mut modern, &getheaders(&[genesis])), answer);
    assert_eq!(scene.ask(&mut plain, &getheaders(&[blocks[1].hash()])), [message("headers", &headers(&blocks[2..4]))]);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[4..])));
    assert_eq!(scene.received(&mut modern), [message("headers", &headers(&blocks[4..]))]);
    assert_eq!(scene.received(&mut plain), [message("inv", &block_item(blocks[4].hash()))]);
    assert_eq!(scene.counts().tips_announced, 2, "the tip was announced to the upstream that it is from");
}

#[test]
fn a_block_passes_while_it_arrives_and_is_served_again_from_memory() {
    let blocks = chain(&[20_000]);
    let mut scene = scene(&blocks, Conditions::default());
    let mut leaf = scene.leaf();
    let hash = blocks[0].hash();
    let whole = frame("block", &blocks[0].payload);
    assert_eq!(scene.ask(&mut leaf, &get_block(hash)), []);
    assert_eq!(scene.heard(SUBMITTING), [message("getdata", &block_item(hash))]);
    let mut passed = Vec::new();
    for part in whole.chunks(7_000) {
        scene.upstream.send(SUBMITTING, part);
        passed.extend(scene.drain(&mut leaf));
        let expected = passed.len().max(1);
        assert_eq!(passed, whole[..expected]);
    }
    assert_eq!(passed, whole);
    let mut second = scene.leaf();
    assert_eq!(scene.ask(&mut second, &get_block(hash)), [message("block", &blocks[0].payload)]);
    assert_eq!(scene.heard(SUBMITTING), [], "a kept block was fetched again");
    let counts = scene.counts();
    assert_eq!((counts.blocks_served, counts.blocks_relayed, counts.blocks_wrong), (2, 1, 0));
}

#[test]
fn another_source_continues_a_block_and_its_reader_notices_nothing() {
    let blocks = chain(&[30_000]);
    let hash = blocks[0].hash();
    let whole = frame("block", &blocks[0].payload);
    for lost_at in [0, 10, 24, 25, 104, 10_000, whole.len() - 1] {
        let mut scene = scene(&blocks, Conditions::default());
        let mut leaf = scene.leaf();
        leaf.send(&get_block(hash));
        scene.settle();
        scene.heard(SUBMITTING);
        scene.upstream.send(SUBMITTING, &whole[..lost_at]);
        let mut passed = scene.drain(&mut leaf);
        scene.upstream.close(SUBMITTING);
        assert_eq!(scene.heard(LISTENING), [message("getdata", &block_item(hash))], "{lost_at}");
        scene.upstream.send(LISTENING, &whole);
        passed.extend(scene.drain(&mut leaf));
        assert!(passed == whole, "{lost_at}: {} of {} bytes", passed.len(), whole.len());
        assert_eq!(scene.counts().block_fail_overs, 1);
    }
}

#[test]
fn a_wrong_block_never_leaves_whole_and_only_its_readers_are_closed() {
    let blocks = chain(&[5_000]);
    let hash = blocks[0].hash();
    let payload = &blocks[0].payload;
    let changed = |at: usize| {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        frame("block", &changed)
    };
    let mut bad_checksum = frame("block", payload);
    bad_checksum[20] ^= 1;
    let long = frame("block", &[&payload[..], &[0]].concat());
    let short = frame("block", &payload[..payload.len() - 1]);
    for wrong in [changed(100), changed(payload.len() - 1), bad_checksum, long, short] {
        let mut scene = scene(&blocks, Conditions::default());
        let (mut leaf, mut other) = (scene.leaf(), scene.leaf());
        leaf.send(&get_block(hash));
        scene.settle();
        scene.upstream.send(SUBMITTING, &wrong);
        let passed = scene.drain(&mut leaf);
        assert!(passed.len() < wrong.len(), "the last byte of a wrong block has left");
        let counts = scene.counts();
        assert_eq!((counts.blocks_wrong, counts.block_readers_cut, counts.blocks_served), (1, 1, 0));
        scene.run_for(Duration::from_secs(3));
        assert_eq!(scene.stats().leaf_peers, 1);
        assert_eq!(commands(&scene.ask(&mut other, &getheaders(&[hash]))), ["headers"]);
    }
}

fn commands(messages: &[(String, Vec<u8>)]) -> Vec<&str> {
    messages.iter().map(|(command, _)| command.as_str()).collect()
}

#[test]
fn unknown_and_missing_blocks_are_answered_or_the_link_is_closed() {
    let blocks = chain(&[500, 500]);
    let mut scene = scene(&blocks, Conditions::default());
    let (mut curious, mut unlucky) = (scene.leaf(), scene.leaf());
    let unknown = Hash256::of(b"unknown");
    assert_eq!(scene.ask(&mut curious, &get_block(unknown)), [message("notfound", &block_item(unknown))]);
    // No upstream has the block.
    unlucky.send(&get_block(blocks[1].hash()));
    scene.settle();
    for link in [SUBMITTING, LISTENING] {
        scene.ask_upstream(link, &frame("notfound", &block_item(blocks[1].hash())));
    }
    assert_eq!(scene.counts().block_readers_cut, 1);
    scene.run_for(Duration::from_secs(3));
    assert_eq!(scene.stats().leaf_peers, 1);
}

#[test]
fn a_silent_source_is_replaced() {
    let blocks = chain(&[2_000]);
    let mut scene = scene(&blocks, Conditions::default());
    let mut leaf = scene.leaf();
    leaf.send(&get_block(blocks[0].hash()));
    scene.settle();
    scene.heard(SUBMITTING);
    scene.run_for(Duration::from_millis(9_900));
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata"), []);
    scene.run_for(Duration::from_secs(2));
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata"), [blocks[0].hash()]);
    scene.upstream.send(LISTENING, &frame("block", &blocks[0].payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &blocks[0].payload)]);
}

#[test]
fn peers_wait_while_other_blocks_pass_and_all_are_served() {
    let blocks = chain(&[2_000, 2_100, 2_200, 2_300, 2_400]);
    let mut scene = scene(&blocks, Conditions::default());
    let mut leaves = requesting(&mut scene, [0, 1, 2, 3, 4].map(|at| &blocks[at]));
    for _ in 0..blocks.len() {
        let asked = [SUBMITTING, LISTENING].map(|link| (link, hashes(&scene.heard(link), "getdata")));
        assert!(asked.iter().all(|(_, hashes)| hashes.len() <= 1), "a busy link was asked: {asked:?}");
        for (link, hash) in
            asked.into_iter().flat_map(|(link, hashes)| hashes.into_iter().map(move |hash| (link, hash)))
        {
            let block = blocks.iter().find(|block| block.hash() == hash).expect("the chain has the block");
            scene.upstream.send(link, &frame("block", &block.payload));
            scene.settle();
        }
    }
    for (leaf, block) in leaves.iter_mut().zip(&blocks) {
        assert_eq!(scene.received(leaf), [message("block", &block.payload)]);
    }
    assert_eq!((scene.counts().blocks_served, scene.counts().blocks_refused), (5, 0));
}

#[test]
fn a_peer_does_not_wait_for_ever() {
    let blocks = chain(&[1_000_000, 1_000_000, 500]);
    let mut scene = scene_of_one_link(&blocks);
    let _leaves = requesting(&mut scene, [0, 1, 2].map(|at| &blocks[at]));
    // The first block arrives slowly, and the second one waits behind it.
    let slow = frame("block", &blocks[0].payload);
    let mut sent = 0;
    while scene.counts().blocks_refused == 0 && sent < 140 {
        scene.upstream.send(SUBMITTING, &slow[4_000 * sent..4_000 * (sent + 1)]);
        sent += 1;
        scene.run_for(Duration::from_secs(1));
    }
    assert!((118..=123).contains(&sent), "the third leaf was refused after {sent} s");
    assert_eq!((scene.counts().block_fail_overs, scene.counts().block_readers_cut), (0, 0));
}

/// Returns a scene like [`scene`], whose relay keeps no blocks and whose links hold 8 KiB.
fn scene_without_room(blocks: &[Mined]) -> Scene {
    let conditions = Conditions { capacity_bytes: 8_192, ..Conditions::default() };
    scene_with(blocks, conditions, |settings| settings.with_small_blocks_bytes(0))
}

#[test]
fn without_room_for_blocks_each_request_is_served_from_a_source() {
    let blocks = chain(&[40_000]);
    let mut scene = scene_without_room(&blocks);
    let (mut first, mut second) = (scene.leaf(), scene.leaf());
    for leaf in [&mut first, &mut second] {
        leaf.send(&get_block(blocks[0].hash()));
        scene.settle();
        assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata"), [blocks[0].hash()]);
        let mut received = Vec::new();
        for part in frame("block", &blocks[0].payload).chunks(8_000) {
            scene.upstream.send(SUBMITTING, part);
            received.extend(scene.drain(leaf));
        }
        assert_eq!(frames(&received), [message("block", &blocks[0].payload)]);
    }
    let stats = scene.stats();
    assert_eq!((stats.kept_blocks, stats.passing_blocks, stats.counts.blocks_relayed), (0, 0, 2));
}

#[test]
fn slow_readers_of_complete_blocks_do_not_keep_others_waiting() {
    // The last block is the tip, for which a slot is reserved.
    let blocks = chain(&[2_000_000, 500, 2_000_000]);
    let mut scene = scene_without_room(&blocks);
    let mut leaves = requesting(&mut scene, [0, 2, 1].map(|at| &blocks[at]));
    // The first two peers do not read their blocks, which arrive whole.
    for (link, block) in [(SUBMITTING, &blocks[0]), (LISTENING, &blocks[2])] {
        for part in frame("block", &block.payload).chunks(8_000) {
            scene.upstream.send(link, part);
            scene.settle();
        }
    }
    scene.heard(SUBMITTING);
    assert_eq!((scene.counts().blocks_relayed, scene.stats().passing_blocks), (2, 2));
    scene.run_for(Duration::from_secs(28));
    assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata"), []);
    scene.run_for(Duration::from_secs(4));
    assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata"), [blocks[1].hash()]);
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[1].payload));
    assert_eq!(scene.received(&mut leaves[2]), [message("block", &blocks[1].payload)]);
    assert_eq!(scene.counts().block_readers_cut, 2);
}

#[test]
fn a_reader_that_does_not_read_is_cut_and_delays_the_others_for_a_limited_time() {
    let blocks = chain(&[12_000_000]);
    let mut scene = scene_without_room(&blocks);
    let [mut fast, _stuck] = requesting(&mut scene, [&blocks[0]; 2]);
    let (begin, mut rest, mut received) = (scene.world.now(), frame("block", &blocks[0].payload), Vec::new());
    while !rest.is_empty() {
        offer(&mut scene, &mut rest);
        received.extend(scene.drain(&mut fast));
        let bytes = scene.stats().passing_block_bytes;
        assert!(bytes <= (4 << 20) + 65_536, "{bytes} bytes are retained");
        scene.run_for(Duration::from_micros(100));
    }
    received.extend(scene.drain(&mut fast));
    assert_eq!(frames(&received), [message("block", &blocks[0].payload)]);
    assert_eq!((scene.counts().block_readers_cut, scene.counts().blocks_served), (1, 1));
    let needed = Duration::from_micros(100) * (blocks[0].payload.len() / 8_000) as u32;
    let held = scene.world.now().since(begin) - needed;
    assert!((200..400).contains(&held.as_millis()), "the source was held for {held:?}");
}

#[test]
fn a_source_continues_as_soon_as_its_reader_is_level() {
    let blocks = chain(&[12_000_000]);
    let mut scene = scene_without_room(&blocks);
    let mut leaf = scene.leaf();
    leaf.send(&get_block(blocks[0].hash()));
    scene.settle();
    let (mut rest, mut received) = (frame("block", &blocks[0].payload), Vec::new());
    let mut before = 0;
    while before != rest.len() {
        before = rest.len();
        offer(&mut scene, &mut rest);
    }
    assert!(rest.len() > 6_000_000, "the window does not fill");
    let begin = scene.world.now();
    while !rest.is_empty() {
        received.extend(scene.drain(&mut leaf));
        offer(&mut scene, &mut rest);
    }
    received.extend(scene.drain(&mut leaf));
    assert_eq!(frames(&received), [message("block", &blocks[0].payload)]);
    assert_eq!(scene.world.now(), begin, "the source has waited although its reader had read everything");
}

/// Sends this many bytes of a block's message, and lets a millisecond pass.
fn send_part(scene: &mut Scene, link: u64, rest: &mut Vec<u8>, len_bytes: usize) {
    scene.upstream.send(link, &rest[..len_bytes]);
    rest.drain(..len_bytes);
    scene.run_for(Duration::from_millis(1));
}

#[test]
fn the_hops_of_a_block_and_the_ends_of_its_readers_are_reported_once() {
    let blocks = chain(&[100, 40_000]);
    let mut scene = scene(&blocks, Conditions { capacity_bytes: 16_000, ..Conditions::default() });
    let hash = blocks[1].hash();
    let mut rest = frame("block", &blocks[1].payload);
    let [mut fast, slow, lost] = requesting(&mut scene, [&blocks[1]; 3]);
    // The message's header arrives first, and the block's first byte a millisecond later.
    send_part(&mut scene, SUBMITTING, &mut rest, 24);
    send_part(&mut scene, SUBMITTING, &mut rest, 10_000);
    drop(lost);
    let mut late = scene.leaf();
    late.send(&get_block(hash));
    scene.drain(&mut late);
    scene.drain(&mut fast);
    scene.upstream.close(SUBMITTING);
    scene.settle();
    rest = frame("block", &blocks[1].payload);
    while !rest.is_empty() {
        let len_bytes = rest.len().min(8_000);
        send_part(&mut scene, LISTENING, &mut rest, len_bytes);
        scene.drain(&mut fast);
        scene.drain(&mut late);
    }
    assert_eq!(scene.relay.handler().policy().blocks, [], "a reader has not received the last byte");
    let mut slow = slow;
    scene.drain(&mut slow);
    let [block] = scene.relay.handler().policy().blocks[..] else { panic!("the block is reported once") };
    assert_eq!((block.hash, block.height, block.size_bytes), (hash, Some(2), blocks[1].payload.len() as u64));
    assert_eq!((block.is_complete, block.sources, block.fail_overs), (true, 2, 1));
    assert_eq!((block.readers_finished, block.readers_cut, block.readers_open), (3, 1, 0));
    let millis = Duration::from_millis;
    let first = block.first_byte.expect("three readers waited");
    assert_eq!((first.first, first.last, block.received_in), (millis(1), millis(1), millis(5)));
    let last = block.last_byte.expect("three readers have the block");
    assert_eq!((last.first, last.last), (millis(0), millis(1)));
    // The first part of the second source repeats bytes of the first one.
    assert_eq!(block.longest_gap, Some(millis(2)));
    // A reader that is served from memory is none of the passage.
    assert_eq!(scene.ask(&mut fast, &get_block(hash)).len(), 1);
    assert_eq!(scene.relay.handler().policy().blocks.len(), 1);
    let hops = scene.stats().hops;
    for summary in [hops.block_first_byte, hops.block_last_byte] {
        let counts = [summary.first, summary.last, summary.first_with_lag, summary.last_with_lag].map(|one| one.count);
        assert_eq!(counts, [1; 4]);
    }
    assert!(hops.block_last_byte.last.max > hops.block_last_byte.first.max);
    assert_eq!(hops.block_gap.count, 1);
}

#[test]
fn a_block_without_further_sources_is_reported_as_incomplete() {
    let blocks = chain(&[20_000]);
    let mut scene = scene(&blocks, Conditions::default());
    let [mut leaf] = requesting(&mut scene, [&blocks[0]]);
    let mut rest = frame("block", &blocks[0].payload);
    send_part(&mut scene, SUBMITTING, &mut rest, 10_000);
    scene.drain(&mut leaf);
    scene.upstream.close(SUBMITTING);
    scene.run_for(Duration::from_millis(30));
    scene.upstream.close(LISTENING);
    scene.settle();
    let [block] = scene.relay.handler().policy().blocks[..] else { panic!("the block is reported once") };
    assert_eq!((block.is_complete, block.last_byte, block.readers_cut), (false, None, 1));
    assert_eq!((block.sources, block.fail_overs), (1, 2));
    assert!(block.longest_gap >= Some(Duration::from_millis(30)), "{block:?}");
    assert!(block.first_byte.is_some());
    let hops = scene.stats().hops;
    assert_eq!((hops.block_first_byte.first.count, hops.block_last_byte.first.count), (1, 0));
}

#[test]
fn a_block_belongs_to_the_request_with_its_hash() {
    let blocks = chain(&[900, 1_000]);
    let mut scene = scene(&blocks, Conditions::default());
    // Both blocks are requested on one link, and then there is another one.
    scene.upstream.close(LISTENING);
    scene.settle();
    let [mut old, mut new] = requesting(&mut scene, [&blocks[0], &blocks[1]]);
    assert_eq!(hashes(&scene.heard(SUBMITTING), "getdata"), [blocks[0].hash(), blocks[1].hash()]);
    scene.run_for(Duration::from_secs(3));
    scene.connect_upstream();
    let again = scene.upstream.links - 1;
    // The upstream skips the first request, as an SV Node does with blocks that it does not have.
    for part in frame("block", &blocks[1].payload).chunks(50) {
        scene.upstream.send(SUBMITTING, part);
        scene.settle();
    }
    assert_eq!(scene.received(&mut new), [message("block", &blocks[1].payload)]);
    assert_eq!(hashes(&scene.heard(again), "getdata"), [blocks[0].hash()]);
    // A block that comes late is ignored.
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[0].payload));
    assert_eq!(scene.received(&mut old), []);
    scene.upstream.send(again, &frame("block", &blocks[0].payload));
    assert_eq!(scene.received(&mut old), [message("block", &blocks[0].payload)]);
    assert_eq!((scene.counts().blocks_wrong, scene.counts().block_readers_cut), (0, 0));
}

#[test]
fn wrong_sources_are_asked_once() {
    let blocks = chain(&[9_000]);
    let hash = blocks[0].hash();
    let mut other = blocks[0].payload.clone();
    other[200] ^= 1;
    for wrong in [frame("block", &[]), frame("block", &blocks[0].payload[..50]), frame("block", &other)] {
        let mut scene = scene(&blocks, Conditions::default());
        let mut leaf = scene.leaf();
        leaf.send(&get_block(hash));
        scene.settle();
        // The first source is lost in the middle.
        scene.upstream.send(SUBMITTING, &frame("block", &blocks[0].payload)[..5_000]);
        scene.settle();
        scene.upstream.close(SUBMITTING);
        assert_eq!(hashes(&scene.heard(LISTENING), "getdata"), [hash]);
        scene.upstream.send(LISTENING, &wrong);
        scene.settle();
        scene.drain(&mut leaf);
        assert_eq!(scene.counts().block_readers_cut, 1);
        scene.run_for(Duration::from_secs(30));
        assert_eq!(hashes(&scene.heard(LISTENING), "getdata"), [], "the source was asked again");
    }
}

#[test]
fn headers_that_fit_nowhere_are_requested_once() {
    let blocks = chain(&[100; 4]);
    let mut scene = scene(&blocks[..1], Conditions::default());
    scene.heard(SUBMITTING);
    for _ in 0..3 {
        let asked = commands(&scene.ask_upstream(SUBMITTING, &frame("headers", &headers(&blocks[2..])))).len();
        assert!(asked <= 1);
        // The reply does not fit, either.
        assert_eq!(scene.ask_upstream(SUBMITTING, &frame("headers", &headers(&blocks[3..]))), []);
    }
    assert_eq!(scene.stats().tip_height, Some(1));
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks)));
    scene.settle();
    assert_eq!(scene.stats().tip_height, Some(4));
}

#[test]
fn missing_blocks_share_one_notfound() {
    let blocks = chain(&[100]);
    let mut scene = scene(&blocks, Conditions::default());
    let mut leaf = scene.leaf();
    let mut items = vec![200];
    (0..200_u8).for_each(|number| items.extend([&[2, 0, 0, 0][..], &[number; 32]].concat()));
    assert_eq!(scene.ask(&mut leaf, &frame("getdata", &items)), [message("notfound", &items)]);
}

#[test]
fn announced_blocks_are_asked_for_again_although_a_request_is_unanswered() {
    let blocks = chain(&[100; 2]);
    let mut scene = scene(&blocks[..1], Conditions::default());
    let item = |number: u8| frame("inv", &[&[1, 2, 0, 0, 0][..], &[number; 32]].concat());
    let asked = |scene: &mut Scene, bytes: &[u8]| commands(&scene.ask_upstream(SUBMITTING, bytes)).len();
    assert_eq!(asked(&mut scene, &item(1)), 1);
    assert_eq!(asked(&mut scene, &item(2)), 0, "a second request within a second");
    scene.run_for(Duration::from_secs(1));
    assert_eq!(asked(&mut scene, &item(3)), 1);
}

#[test]
fn a_source_that_rejects_the_request_is_replaced_at_once() {
    let blocks = chain(&[1_000]);
    let mut scene = scene(&blocks, Conditions::default());
    let [mut leaf] = requesting(&mut scene, [&blocks[0]]);
    let reject = [&[7][..], b"getdata", &[0x44, 4], b"busy"].concat();
    scene.upstream.send(SUBMITTING, &frame("reject", &reject));
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata"), [blocks[0].hash()]);
    scene.upstream.send(LISTENING, &frame("block", &blocks[0].payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &blocks[0].payload)]);
}

#[test]
fn a_request_for_headers_with_proofs_that_no_upstream_answers_ends_its_link_and_no_other() {
    let blocks = chain(&[100; 2]);
    let mut scene = scene(&blocks, Conditions::default());
    let (mut asking, mut other) = (scene.leaf(), scene.leaf());
    let mut request = getheaders(&[BlockHeader::genesis_of(Network::Regtest).hash()]);
    let payload = request.split_off(24);
    assert_eq!(scene.ask(&mut asking, &frame("gethdrsen", &payload)), []);
    scene.run_for(Duration::from_secs(13));
    assert_eq!(scene.stats().leaf_peers, 1);
    assert_eq!(scene.ask(&mut other, &frame("getheaders", &payload)), [message("headers", &headers(&blocks))]);
}
