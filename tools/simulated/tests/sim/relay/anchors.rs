//! A relay that learns from an upstream where its chain of headers begins.

use super::blocks::getheaders;
use super::*;
use peerloop::protocol::{CommandName, Network};
use peerloop::relay::AnchorSource;
use peerloop::wire::{BlockHeader, Headers, LocatorRef};
use peerloop_testkit::simulated::blocks::{Mined, block_item, chain, get_block, headers};

/// The number of headers that are learned on regtest: the rules need 11, and 20 may be replaced.
const LEARNED: usize = 31;

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

/// Answers the relay's requests for headers on a link as a node with these blocks, until `max` are answered. Returns
/// the numbers of the requests with and without a locator.
fn answer(scene: &mut Scene, link: u64, blocks: &[Mined], max: usize) -> [usize; 2] {
    let mut counts = [0; 2];
    loop {
        let heard = scene.heard(link);
        let requests: Vec<_> = heard.iter().filter(|(command, _)| command == "getheaders").collect();
        if requests.is_empty() {
            return counts;
        }
        for (_, payload) in requests {
            let request = LocatorRef::decode(CommandName::GETHEADERS, payload).unwrap();
            let position = |hash: Hash256| blocks.iter().position(|block| block.hash() == hash);
            counts[usize::from(request.hashes().len() == 0)] += 1;
            let sent = match (request.hashes().find_map(position), position(request.stop)) {
                (Some(known), _) => &blocks[known + 1..],
                (None, Some(one)) => &blocks[one..=one],
                (None, None) => &[],
            };
            scene.upstream.send(link, &frame("headers", &headers(sent)));
            if counts[0] + counts[1] == max {
                return counts;
            }
        }
        scene.settle();
    }
}

/// Returns the stop blocks of the requests for headers that arrived on the submitting link.
fn hashes_asked(scene: &mut Scene) -> Vec<Hash256> {
    let heard = scene.heard(SUBMITTING);
    let requests = heard.iter().filter(|(command, _)| command == "getheaders");
    requests.map(|(_, payload)| LocatorRef::decode(CommandName::GETHEADERS, payload).unwrap().stop).collect()
}

#[test]
fn an_anchor_is_learned_from_an_upstream_that_asks_for_headers_and_blocks_pass() {
    let blocks = chain(&[100; 50]);
    let mut scene = scene(50);
    let mut leaf = scene.leaf();
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[blocks[9].hash()])), [], "a relay without headers has replied");
    // A leaf's locator is ignored. That of a node begins with the parent of its tip.
    assert_eq!(scene.heard(SUBMITTING), []);
    scene.upstream.send(SUBMITTING, &getheaders(&[blocks[48].hash()]));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 99), [1, LEARNED]);
    assert_eq!(scene.stats().tip_height, Some(50));
    assert_eq!(scene.received(&mut leaf), [message("inv", &block_item(blocks[49].hash()))]);
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[blocks[47].hash()])), [message("headers", &headers(&blocks[48..]))]);
    let hash = blocks[49].hash();
    assert_eq!(scene.ask(&mut leaf, &get_block(hash)), []);
    assert_eq!(scene.ask_upstream(SUBMITTING, &[]), [message("getdata", &block_item(hash))]);
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[49].payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &blocks[49].payload)]);
    // The relay does not know whether it has what a peer far behind needs.
    let genesis = BlockHeader::genesis_of(Network::Regtest).hash();
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[genesis])), []);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks)));
    assert_eq!(scene.received(&mut leaf), [message("headers", &headers(&blocks))]);
}

#[test]
fn a_reorganisation_of_the_learned_tip_is_followed() {
    let blocks = chain(&[100; 50]);
    let mut scene = scene(49);
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[49].hash())));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 99), [1, LEARNED]);
    // The last three blocks are replaced by four.
    let mut branch: Vec<BlockHeader> = vec![blocks[46].header];
    for _ in 0..4 {
        let parent = branch[branch.len() - 1];
        let mut header = BlockHeader {
            prev_hash: parent.hash(),
            time: parent.time + 1,
            merkle_root: Hash256::of(b"other"),
            ..parent
        };
        while header.check_proof_of_work(Network::Regtest).is_err() {
            header.nonce += 1;
        }
        branch.push(header);
    }
    let mut payload = Vec::new();
    Headers::from_headers(branch[1..].iter().copied()).as_ref().encode(&mut payload);
    scene.upstream.send(SUBMITTING, &frame("headers", &payload));
    scene.settle();
    let stats = scene.stats();
    assert_eq!((stats.tip_height, stats.counts.headers_refused), (Some(51), 0));
}

#[test]
fn an_anchor_is_learned_below_an_announced_block_also_if_its_first_upstream_link_is_lost() {
    let blocks = chain(&[100; 50]);
    let mut scene = scene(47);
    scene.upstream.send(LISTENING, &frame("inv", &block_item(blocks[47].hash())));
    scene.settle();
    assert_eq!(answer(&mut scene, LISTENING, &blocks, 5), [0, 5]);
    scene.upstream.close(LISTENING);
    scene.settle();
    // A block is announced in two forms, and the next one between the replies.
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[47].hash())));
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[47..48])));
    scene.settle();
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[48..])));
    scene.settle();
    let counts = answer(&mut scene, SUBMITTING, &blocks, 99);
    assert_eq!(counts, [1, LEARNED]);
    assert_eq!(scene.stats().tip_height, Some(50));
    let mut leaf = scene.leaf();
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[blocks[46].hash()])), [message("headers", &headers(&blocks[47..]))]);
}

#[test]
fn another_upstream_link_is_asked_if_the_first_one_does_not_reply() {
    let blocks = chain(&[100; 50]);
    let mut scene = scene(48);
    for link in [SUBMITTING, LISTENING] {
        scene.upstream.send(link, &frame("inv", &block_item(blocks[48].hash())));
        scene.settle();
    }
    let asked = [SUBMITTING, LISTENING].map(|link| !scene.heard(link).is_empty());
    assert_eq!(asked, [true, false], "not one link was asked");
    scene.run_for(Duration::from_secs(22));
    assert_eq!(answer(&mut scene, LISTENING, &blocks, 99), [0, LEARNED]);
    assert_eq!(scene.stats().tip_height, Some(49));
}

#[test]
fn a_late_reply_is_no_announcement() {
    let blocks = chain(&[100; 50]);
    let mut scene = scene(48);
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[48].hash())));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 3), [0, 3]);
    scene.run_for(Duration::from_secs(22));
    assert_eq!(hashes_asked(&mut scene), [blocks[45].hash()]);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[45..46])));
    scene.settle();
    assert_eq!(hashes_asked(&mut scene), [], "the chain begins below a block that was not announced");
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[49].hash())));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 99), [1, LEARNED]);
    assert_eq!(scene.stats().tip_height, Some(50));
}

#[test]
fn headers_without_a_proof_of_work_are_refused_and_the_next_announcement_begins_again() {
    let blocks = chain(&[100; 50]);
    let mut scene = scene(48);
    let mut false_blocks = chain(&[100; 40]);
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
    assert_eq!(answer(&mut scene, SUBMITTING, &false_blocks, 99), [0, LEARNED]);
    assert_eq!(scene.counts().headers_refused, 1);
    scene.run_for(Duration::from_secs(3));
    assert_eq!(scene.heard(SUBMITTING), [], "the same headers were requested again");
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[49].hash())));
    scene.settle();
    assert_eq!(answer(&mut scene, SUBMITTING, &blocks, 99), [1, LEARNED]);
    assert_eq!(scene.stats().tip_height, Some(50));
}
