//! Compact blocks through the relay: the peers that announce and receive them, and the blocks that are passed on.

use super::blocks::{getheaders, scene};
use super::*;
use peerloop::Network;
use peerloop::relay::CompactBlocks;
use peerloop::wire::BlockHeader;
use peerloop_testkit::simulated::blocks::{
    Mined, block_item, chain, compact, compact_item, headers, sendcmpct, sendcmpct_payload,
};

/// Returns a scene like [`scene`], whose upstream announces compact blocks.
pub(super) fn compact_scene(blocks: &[Mined]) -> Scene {
    let mut scene = scene(blocks, Conditions::default());
    scene.heard(SUBMITTING);
    let answer = scene.ask_upstream(SUBMITTING, &sendcmpct(false));
    assert_eq!(answer, [message("sendcmpct", &sendcmpct_payload(true))]);
    scene
}

/// Adds a leaf that has all headers of the relay and wants compact blocks as announcements.
pub(super) fn compact_leaf(scene: &mut Scene) -> RawPeer {
    let mut leaf = scene.leaf();
    let genesis = BlockHeader::genesis_of(Network::Regtest).hash();
    scene.ask(&mut leaf, &getheaders(&[genesis]));
    let answer = scene.ask(&mut leaf, &sendcmpct(true));
    assert_eq!(answer, [message("sendcmpct", &sendcmpct_payload(false))]);
    leaf
}

#[test]
fn compact_blocks_are_agreed_with_the_peers_of_the_setting() {
    use CompactBlocks::{All, Off, Upstreams};
    let offered = [message("sendcmpct", &sendcmpct_payload(false))];
    let wanted = [message("sendcmpct", &sendcmpct_payload(true))];
    for (setting, upstream, leaf) in
        [(Off, &[][..], &[][..]), (Upstreams, &wanted[..], &[]), (All, &wanted[..], &offered[..])]
    {
        let mut scene = Scene::with(|settings| settings.with_compact_blocks(setting), config(), Conditions::default());
        assert_eq!(scene.ask_upstream(SUBMITTING, &sendcmpct(false)), upstream, "{setting:?}");
        assert_eq!(scene.ask_upstream(LISTENING, &sendcmpct(false)), [], "a listening link is used");
        let mut peer = scene.leaf();
        assert_eq!(scene.ask(&mut peer, &sendcmpct(true)), leaf, "{setting:?}");
        // The answer is sent once.
        assert_eq!(scene.ask(&mut peer, &sendcmpct(false)), []);
        assert_eq!(scene.ask_upstream(SUBMITTING, &sendcmpct(false)), []);
    }
    let mut scene = Scene::new(TrustMode::Validated);
    let mut peer = scene.leaf();
    let other_version = frame("sendcmpct", &[1, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(scene.ask(&mut peer, &other_version), []);
}

#[test]
fn a_compact_block_passes_as_it_is_to_the_peers_that_want_it() {
    let blocks = chain(&[100, 20_000]);
    let mut scene = compact_scene(&blocks[..1]);
    let (mut fast, mut behind, mut modern, mut plain) =
        (compact_leaf(&mut scene), scene.leaf(), compact_leaf(&mut scene), scene.leaf());
    // It is not known to have the parent.
    scene.ask(&mut behind, &sendcmpct(true));
    modern.send(&[sendcmpct(false), frame("sendheaders", &[])].concat());
    scene.settle();
    let payload = compact(&blocks[1], 7);
    scene.upstream.send(SUBMITTING, &frame("cmpctblock", &payload));
    assert_eq!(scene.received(&mut fast), [message("cmpctblock", &payload)]);
    assert_eq!(scene.received(&mut behind), [message("inv", &block_item(blocks[1].hash()))]);
    assert_eq!(scene.received(&mut modern), [message("headers", &headers(&blocks[1..]))]);
    assert_eq!(scene.received(&mut plain), [message("inv", &block_item(blocks[1].hash()))]);
    let counts = scene.counts();
    assert_eq!((counts.compact_blocks_received, counts.compact_blocks_sent, counts.tips_announced), (1, 1, 4));
    // A second copy is neither passed on nor counted.
    scene.upstream.send(SUBMITTING, &frame("cmpctblock", &compact(&blocks[1], 8)));
    assert_eq!(scene.received(&mut fast), []);
    assert_eq!(scene.counts().compact_blocks_received, 1);
}

#[test]
fn no_compact_block_passes_before_its_header_is_checked() {
    let blocks = chain(&[100; 4]);
    let mut scene = compact_scene(&blocks[..1]);
    let mut leaf = compact_leaf(&mut scene);
    let mut without_work = blocks[1].header;
    while without_work.check_proof_of_work(Network::Regtest).is_ok() {
        without_work.nonce += 1;
    }
    let easy = BlockHeader { bits: 0x207f_fffe, ..blocks[1].header };
    let old = BlockHeader { time: 0, ..blocks[1].header };
    for header in [without_work, easy, old] {
        let refused = scene.counts().headers_refused;
        let wrong = Mined { header, payload: blocks[1].payload.clone() };
        scene.upstream.send(SUBMITTING, &frame("cmpctblock", &compact(&wrong, 1)));
        assert_eq!(scene.received(&mut leaf), [], "{header:?}");
        assert_eq!((scene.counts().headers_refused, scene.stats().tip_height), (refused + 1, Some(1)));
    }
    // The headers between are requested.
    scene.heard(SUBMITTING);
    let asked = scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(&blocks[3], 1)));
    assert_eq!(asked.iter().map(|(command, _)| command.as_str()).collect::<Vec<_>>(), ["getheaders"]);
    assert_eq!(scene.received(&mut leaf), []);
    // A listening link and a leaf were never asked for compact blocks.
    let mut liar = scene.leaf();
    liar.send(&frame("cmpctblock", &compact(&blocks[1], 1)));
    scene.upstream.send(LISTENING, &frame("cmpctblock", &compact(&blocks[1], 1)));
    scene.settle();
    assert_eq!((scene.stats().tip_height, scene.counts().compact_blocks_received), (Some(1), 0));
}

#[test]
fn a_malformed_or_long_compact_block_is_ignored_and_headers_are_requested() {
    let blocks = chain(&[100; 2]);
    let mut scene = compact_scene(&blocks[..1]);
    let mut leaf = compact_leaf(&mut scene);
    let whole = compact(&blocks[1], 1);
    let empty = [&whole[..88], &[0, 0]].concat();
    let cut = whole[..whole.len() - 1].to_vec();
    let long = [&whole[..], &vec![0; 2 << 20]].concat();
    for wrong in [empty, cut, long] {
        let mut asked = Vec::new();
        for part in frame("cmpctblock", &wrong).chunks(60_000) {
            asked.extend(scene.ask_upstream(SUBMITTING, part));
        }
        assert_eq!(asked.iter().map(|(command, _)| command.as_str()).collect::<Vec<_>>(), ["getheaders"]);
        assert_eq!(scene.received(&mut leaf), []);
    }
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[1..])));
    assert_eq!(scene.received(&mut leaf), [message("inv", &block_item(blocks[1].hash()))]);
}

#[test]
fn recent_compact_blocks_are_served_and_whole_blocks_in_place_of_others() {
    let blocks = chain(&[3_000; 8]);
    let mut scene = compact_scene(&[]);
    for block in &blocks {
        scene.upstream.send(SUBMITTING, &frame("cmpctblock", &compact(block, 3)));
        scene.settle();
    }
    assert_eq!((scene.stats().tip_height, scene.counts().compact_blocks_received), (Some(8), 8));
    let mut leaf = scene.leaf();
    for block in &blocks[2..] {
        let answer = scene.ask(&mut leaf, &frame("getdata", &compact_item(block.hash())));
        assert_eq!(answer, [message("cmpctblock", &compact(block, 3))]);
    }
    // A block that is deeper, and one of which no compact form is held.
    scene.heard(SUBMITTING);
    let deep = &blocks[1];
    assert_eq!(scene.ask(&mut leaf, &frame("getdata", &compact_item(deep.hash()))), []);
    assert_eq!(scene.heard(SUBMITTING), [message("getdata", &block_item(deep.hash()))]);
    scene.upstream.send(SUBMITTING, &frame("block", &deep.payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &deep.payload)]);
    let unknown = Hash256::of(b"unknown");
    let answer = scene.ask(&mut leaf, &frame("getdata", &compact_item(unknown)));
    assert_eq!(answer, [message("notfound", &compact_item(unknown))]);
}
