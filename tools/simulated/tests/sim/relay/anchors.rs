//! A relay that learns from an upstream where its chain of headers begins.

use super::*;
use peerloop::protocol::{CommandName, Network};
use peerloop::relay::AnchorSource;
use peerloop::wire::{BlockHeader, Locator, LocatorRef};
use peerloop_testkit::simulated::blocks::{Mined, block_item, chain, get_block, headers};

/// The headers that the rules need on regtest.
const NEEDED: usize = 11;

fn getheaders(hashes: &[Hash256]) -> Vec<u8> {
    let mut payload = Vec::new();
    Locator::from_hashes(70_016, hashes.iter().copied(), Hash256::ZERO).as_ref().encode(&mut payload);
    frame("getheaders", &payload)
}

/// Returns the scene of a relay that learns its anchor from an upstream whose `version` states this height.
fn scene(height: u8) -> Scene {
    // The height is followed by the relay flag and an empty association id.
    let mut version = version()[24..].to_vec();
    let at = version.len() - 6;
    version[at] = height;
    let settings = config().with_ping_interval(Duration::ZERO);
    Scene::with_version(
        |relay| relay.with_anchor(AnchorSource::Upstream),
        settings,
        Conditions::default(),
        frame("version", &version),
    )
}

/// Answers the relay's requests for headers on a link as a node with these blocks, at most `max` of them. Returns the
/// numbers of the requests with and without a locator.
fn answer(scene: &mut Scene, link: u64, blocks: &[Mined], max: usize) -> [usize; 2] {
    let mut counts = [0; 2];
    while counts[0] + counts[1] < max {
        let heard = scene.heard(link);
        let Some((_, payload)) = heard.iter().find(|(command, _)| command == "getheaders") else { break };
        let request = LocatorRef::decode(CommandName::GETHEADERS, payload).unwrap();
        let position = |hash: Hash256| blocks.iter().position(|block| block.hash() == hash);
        let from = request.hashes().find_map(position);
        counts[usize::from(request.hashes().len() == 0)] += 1;
        let sent = match (from, position(request.stop)) {
            (Some(known), _) => &blocks[known + 1..],
            (None, Some(one)) => &blocks[one..=one],
            (None, None) => &[],
        };
        scene.upstream.send(link, &frame("headers", &headers(sent)));
        scene.settle();
    }
    counts
}

#[test]
fn an_anchor_is_learned_from_an_upstream_that_asks_for_headers_and_blocks_pass() {
    let blocks = chain(&[100; 30]);
    let mut scene = scene(30);
    let mut leaf = scene.leaf();
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[blocks[9].hash()])), [], "a relay without headers has replied");
    // The locator begins with the parent of the tip. A leaf's is ignored.
    assert_eq!(scene.heard(SUBMITTING), []);
    scene.upstream.send(SUBMITTING, &getheaders(&[blocks[28].hash()]));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 99), [1, NEEDED]);
    assert_eq!(scene.received(&mut leaf), [message("inv", &block_item(blocks[29].hash()))]);
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[blocks[27].hash()])), [message("headers", &headers(&blocks[28..]))]);
    let hash = blocks[29].hash();
    assert_eq!(scene.ask(&mut leaf, &get_block(hash)), []);
    assert_eq!(scene.ask_upstream(SUBMITTING, &[]), [message("getdata", &block_item(hash))]);
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[29].payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &blocks[29].payload)]);
    // The relay does not know whether it has what a peer far behind needs.
    let genesis = BlockHeader::genesis_of(Network::Regtest).hash();
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[genesis])), []);
    scene.run_for(Duration::from_secs(3));
    assert_eq!(scene.stats().leaf_peers, 0);
}

#[test]
fn an_anchor_is_learned_below_an_announced_block_also_if_its_first_upstream_link_is_lost() {
    let blocks = chain(&[100; 30]);
    let mut scene = scene(28);
    scene.upstream.send(LISTENING, &frame("inv", &block_item(blocks[27].hash())));
    scene.settle();
    assert_eq!(answer(&mut scene, LISTENING, &blocks, 5), [0, 5]);
    scene.upstream.close(LISTENING);
    scene.settle();
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[28..29])));
    scene.settle();
    // Announcements between the replies change nothing.
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[29..])));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 99), [1, NEEDED]);
    let mut leaf = scene.leaf();
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[blocks[26].hash()])), [message("headers", &headers(&blocks[27..]))]);
}

#[test]
fn another_upstream_link_is_asked_if_the_first_one_does_not_reply() {
    let blocks = chain(&[100; 30]);
    let mut scene = scene(28);
    scene.upstream.send(LISTENING, &frame("inv", &block_item(blocks[28].hash())));
    scene.settle();
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[28].hash())));
    scene.settle();
    assert_eq!(scene.heard(SUBMITTING), [], "two upstreams were asked");
    scene.run_for(Duration::from_secs(21));
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[28].hash())));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 99), [1, NEEDED]);
}

#[test]
fn headers_without_a_proof_of_work_are_refused_and_the_next_announcement_begins_again() {
    let blocks = chain(&[100; 30]);
    let mut scene = scene(28);
    let mut false_blocks = chain(&[100; 12]);
    let mut parent = false_blocks[0].hash();
    for block in &mut false_blocks[1..] {
        block.header.prev_hash = parent;
        while block.header.check_proof_of_work(Network::Regtest).is_ok() {
            block.header.nonce += 1;
        }
        parent = block.hash();
    }
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(parent)));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &false_blocks, 99), [0, NEEDED]);
    assert_eq!(scene.counts().headers_refused, 1);
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[29].hash())));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 99), [1, NEEDED]);
}
