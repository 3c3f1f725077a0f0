//! Requests for headers that the relay cannot answer: they are passed on to an upstream, and its reply is passed back.

use super::blocks::{getheaders, scene};
use super::*;
use peerloop::Network;
use peerloop::relay::{AnchorSource, HeaderAnchor};
use peerloop::wire::{
    BlockHeader, EnrichedHeaderRef, EnrichedHeaders, Locator, MerkleProof, ProofSubject, ProofTarget, ProvenTxRef, Tx,
    TxOutRef,
};
use peerloop_testkit::simulated::blocks::{Mined, block_item, chain, headers, mine_with, transactions};

/// The blocks below the anchor of the relay's chain. The rules need eleven headers.
const BELOW: usize = 20;

/// Time after which the next upstream is asked, and the longest time for all of them.
const PATIENCE: Duration = Duration::from_secs(11);
const WAIT: Duration = Duration::from_secs(31);

/// Returns a scene whose chain begins at the block with this number, and whose upstream has sent all headers.
fn anchored(blocks: &[Mined], change: impl FnOnce(RelayConfig) -> RelayConfig) -> Scene {
    let first = blocks[BELOW..BELOW + 11].iter().map(|block| block.header).collect();
    let anchor = HeaderAnchor::new(Network::Regtest, BELOW as u32 + 1, first).unwrap();
    let settings = config().with_ping_interval(Duration::ZERO);
    let with_anchor = |settings: RelayConfig| change(settings.with_anchor(AnchorSource::Given(anchor)));
    let mut scene = Scene::with(with_anchor, settings, Conditions::default());
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[BELOW + 1..])));
    scene.heard(SUBMITTING);
    scene
}

fn plain(blocks: &[Mined]) -> Scene {
    anchored(blocks, |settings| settings)
}

fn genesis() -> Hash256 {
    BlockHeader::genesis_of(Network::Regtest).hash()
}

/// Returns the payload of a request.
fn locator(hashes: &[Hash256]) -> Vec<u8> {
    let mut payload = Vec::new();
    Locator::from_hashes(70_016, hashes.iter().copied(), Hash256::ZERO).as_ref().encode(&mut payload);
    payload
}

fn gethdrsen(hashes: &[Hash256]) -> Vec<u8> {
    frame("gethdrsen", &locator(hashes))
}

/// Returns the payload of an `hdrsen` with these blocks, each of which has one transaction. The last one is the tip.
fn enriched(blocks: &[Mined]) -> Vec<u8> {
    let coinbases: Vec<_> = blocks.iter().map(|block| transactions(block).remove(0)).collect();
    let proofs: Vec<_> = (blocks.iter().zip(&coinbases))
        .map(|(block, tx)| {
            let subject = ProofSubject::Txid(tx.as_ref().txid());
            MerkleProof::from_parts(0, subject, ProofTarget::BlockHash(block.hash()), [])
        })
        .collect();
    let items = blocks.iter().zip(coinbases.iter().zip(&proofs)).enumerate().map(|(at, (block, (tx, proof)))| {
        EnrichedHeaderRef {
            header: block.header,
            tx_count: 1,
            no_more_headers: at + 1 == blocks.len(),
            coinbase: Some(ProvenTxRef { tx: tx.as_ref(), proof: proof.as_ref() }),
            miner_info: None,
        }
    });
    let mut payload = Vec::new();
    EnrichedHeaders::from_headers(items).as_ref().encode(&mut payload);
    payload
}

/// Runs the world, and checks that a leaf was closed without a message.
fn assert_refused(scene: &mut Scene, leaf: &mut RawPeer) {
    assert_eq!(scene.received(leaf), []);
    scene.run_for(Duration::from_secs(2));
    scene.received(leaf);
    assert!(leaf.has_seen_end, "the leaf was not closed");
}

#[test]
fn headers_below_the_anchor_are_those_of_an_upstream() {
    let blocks = chain(&[100; 40]);
    let mut scene = plain(&blocks);
    let mut leaf = scene.leaf();
    let asked = [blocks[4].hash(), genesis()];
    assert_eq!(scene.ask(&mut leaf, &getheaders(&asked)), []);
    assert_eq!(scene.heard(SUBMITTING), [message("getheaders", &locator(&asked))]);
    assert_eq!(scene.heard(LISTENING), []);
    let reply = message("headers", &headers(&blocks[5..]));
    scene.upstream.send(SUBMITTING, &frame("headers", &reply.1));
    assert_eq!(scene.received(&mut leaf), [reply]);
    let counts = scene.counts();
    assert_eq!((counts.header_requests_relayed, counts.header_requests_refused, counts.headers_refused), (1, 0, 0));
    // The chain has these headers.
    assert_eq!(scene.ask(&mut leaf, &getheaders(&[blocks[38].hash()])), [message("headers", &headers(&blocks[39..]))]);
    assert_eq!(scene.heard(SUBMITTING), []);
}

#[test]
fn enriched_headers_are_those_of_an_upstream() {
    let blocks = chain(&[100; 3]);
    let mut scene = scene(&blocks, Conditions::default());
    let mut leaf = scene.leaf();
    let reply = enriched(&blocks[1..]);
    for asked in [&[blocks[0].hash(), genesis()][..], &[blocks[0].hash()]] {
        assert_eq!(scene.ask(&mut leaf, &gethdrsen(asked)), []);
        assert_eq!(scene.heard(SUBMITTING), [message("gethdrsen", &locator(asked))]);
        scene.upstream.send(SUBMITTING, &frame("hdrsen", &reply));
        assert_eq!(scene.received(&mut leaf), [message("hdrsen", &reply)]);
    }
    assert_eq!(scene.counts().header_requests_relayed, 2);
    // Nobody has asked for this one.
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &reply));
    assert_eq!(scene.received(&mut leaf), []);
}

#[test]
fn an_announcement_and_the_reply_to_the_relay_itself_answer_no_peer() {
    let blocks = chain(&[100; 42]);
    let mut scene = plain(&blocks[..40]);
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &getheaders(&[blocks[4].hash()]));
    scene.heard(SUBMITTING);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[40..41])));
    assert_eq!(scene.received(&mut leaf), [message("inv", &block_item(blocks[40].hash()))]);
    // The relay asks for the next block, and the empty reply to that is not the one to the leaf.
    scene.upstream.send(SUBMITTING, &frame("inv", &block_item(blocks[41].hash())));
    assert_eq!(scene.heard(SUBMITTING).len(), 1);
    scene.upstream.send(SUBMITTING, &frame("headers", &[0]));
    assert_eq!(scene.received(&mut leaf), []);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[41..])));
    assert_eq!(scene.received(&mut leaf), [message("inv", &block_item(blocks[41].hash()))]);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[5..])));
    assert_eq!(scene.received(&mut leaf), [message("headers", &headers(&blocks[5..]))]);
}

#[test]
fn an_empty_reply_is_passed_back_if_the_relay_awaits_none_itself() {
    let blocks = chain(&[100; 40]);
    let mut scene = plain(&blocks);
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &getheaders(&[blocks[4].hash()]));
    scene.upstream.send(SUBMITTING, &frame("headers", &[0]));
    assert_eq!(scene.received(&mut leaf), [message("headers", &[0])]);
}

#[test]
fn requests_pass_one_after_the_other_and_each_peer_receives_its_own_reply() {
    let blocks = chain(&[100; 40]);
    let mut scene = plain(&blocks);
    let (mut first, mut second) = (scene.leaf(), scene.leaf());
    scene.ask(&mut first, &getheaders(&[blocks[4].hash()]));
    scene.ask(&mut second, &getheaders(&[blocks[8].hash()]));
    assert_eq!(scene.heard(SUBMITTING), [message("getheaders", &locator(&[blocks[4].hash()]))]);
    // A request of the other kind does not wait.
    scene.ask(&mut second, &gethdrsen(&[blocks[37].hash()]));
    assert_eq!(scene.heard(SUBMITTING), [message("gethdrsen", &locator(&[blocks[37].hash()]))]);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[5..])));
    assert_eq!(scene.received(&mut first), [message("headers", &headers(&blocks[5..]))]);
    assert_eq!(scene.heard(SUBMITTING), [message("getheaders", &locator(&[blocks[8].hash()]))]);
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[9..])));
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &enriched(&blocks[38..])));
    let answers = [message("headers", &headers(&blocks[9..])), message("hdrsen", &enriched(&blocks[38..]))];
    assert_eq!(scene.received(&mut second), answers);
}

#[test]
fn a_block_that_only_a_reply_has_shown_is_announced() {
    let blocks = chain(&[100; 41]);
    let mut scene = plain(&blocks[..40]);
    let (mut leaf, mut other) = (scene.leaf(), scene.leaf());
    scene.ask(&mut leaf, &gethdrsen(&[blocks[38].hash()]));
    let reply = enriched(&blocks[39..]);
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &reply));
    let tip = message("inv", &block_item(blocks[40].hash()));
    assert_eq!(scene.received(&mut other), std::slice::from_ref(&tip));
    assert_eq!(scene.received(&mut leaf), [message("hdrsen", &reply), tip]);
}

#[test]
fn a_silent_upstream_is_followed_by_the_next_one_and_its_late_reply_reaches_nobody() {
    let blocks = chain(&[100; 40]);
    let mut scene = plain(&blocks);
    let mut second = scene.second_upstream();
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &gethdrsen(&[blocks[4].hash()]));
    assert_eq!(scene.heard(SUBMITTING).len(), 1);
    scene.run_for(PATIENCE);
    let asked = frames(&second.receive(SUBMITTING));
    assert_eq!(asked.last(), Some(&message("gethdrsen", &locator(&[blocks[4].hash()]))));
    let (early, late) = (enriched(&blocks[5..30]), enriched(&blocks[5..]));
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &late));
    assert_eq!(scene.received(&mut leaf), []);
    second.send(SUBMITTING, &frame("hdrsen", &early));
    assert_eq!(scene.received(&mut leaf), [message("hdrsen", &early)]);
    assert!(!leaf.has_seen_end);
}

#[test]
fn a_peer_is_closed_if_no_upstream_replies_and_the_silent_one_is_spared_for_a_while() {
    let blocks = chain(&[100; 40]);
    let mut scene = plain(&blocks);
    let (mut leaf, mut other) = (scene.leaf(), scene.leaf());
    scene.ask(&mut leaf, &getheaders(&[blocks[4].hash()]));
    scene.heard(SUBMITTING);
    scene.run_for(PATIENCE);
    assert_refused(&mut scene, &mut leaf);
    scene.ask(&mut other, &getheaders(&[blocks[5].hash()]));
    assert_eq!(scene.heard(SUBMITTING), [], "a silent upstream was asked again");
    scene.run_for(WAIT);
    assert_refused(&mut scene, &mut other);
    assert_eq!(scene.counts().header_requests_refused, 2);
    // A minute after the first request, the upstream is asked again.
    scene.run_for(PATIENCE + PATIENCE);
    let mut third = scene.leaf();
    scene.ask(&mut third, &getheaders(&[blocks[6].hash()]));
    assert_eq!(scene.heard(SUBMITTING), [message("getheaders", &locator(&[blocks[6].hash()]))]);
}

#[test]
fn a_lost_upstream_receives_the_request_again_once_it_has_returned() {
    let blocks = chain(&[100; 40]);
    let mut scene = plain(&blocks);
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &gethdrsen(&[blocks[4].hash()]));
    scene.upstream.close(SUBMITTING);
    scene.run_for(Duration::from_secs(2));
    assert!(!leaf.has_seen_end);
    let link = scene.upstream.links;
    scene.upstream.accept();
    scene.settle();
    let heard = scene.heard(link);
    assert!(heard.contains(&message("gethdrsen", &locator(&[blocks[4].hash()]))), "{heard:?}");
    scene.upstream.send(link, &frame("hdrsen", &enriched(&blocks[5..])));
    assert_eq!(scene.received(&mut leaf), [message("hdrsen", &enriched(&blocks[5..]))]);
}

#[test]
fn the_reply_to_a_closed_peer_reaches_nobody_and_its_host_pays() {
    let blocks = chain(&[100; 40]);
    let managed = Config::managed(Network::Regtest).with_seed(Some(1)).with_ping_interval(Duration::ZERO);
    let mut scene = Scene::with(|settings| settings, managed, Conditions::default());
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks)));
    let (mut leaf, mut other) = (scene.leaf(), scene.leaf());
    scene.ask(&mut leaf, &gethdrsen(&[blocks[4].hash()]));
    scene.ask(&mut other, &gethdrsen(&[blocks[5].hash()]));
    leaf.close();
    scene.settle();
    scene.heard(SUBMITTING);
    let reply = enriched(&blocks[5..]);
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &reply));
    assert_eq!(scene.received(&mut other), []);
    assert_eq!(scene.counts().old_block_bytes, reply.len() as u64);
    assert_eq!(scene.heard(SUBMITTING), [message("gethdrsen", &locator(&[blocks[5].hash()]))]);
    assert_eq!(scene.counts().header_requests_relayed, 0);
}

#[test]
fn a_host_without_budget_is_refused_and_nothing_is_passed_on() {
    let blocks = chain(&[100; 40]);
    let reply = enriched(&blocks[5..]);
    // After one reply, less than the longest one remains.
    let budget = (2 << 20) + reply.len() as u64 - 1;
    let mut scene = anchored(&blocks, |settings| settings.with_old_block_bytes_per_host(budget));
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &gethdrsen(&[blocks[4].hash()]));
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &reply));
    assert_eq!(scene.received(&mut leaf), [message("hdrsen", &reply)]);
    assert_eq!(scene.counts().old_block_bytes, reply.len() as u64);
    scene.heard(SUBMITTING);
    leaf.send(&getheaders(&[blocks[4].hash()]));
    scene.settle();
    assert_refused(&mut scene, &mut leaf);
    // A new connection renews nothing.
    scene.reconnect(&mut leaf);
    leaf.send(&getheaders(&[blocks[4].hash()]));
    scene.settle();
    assert_refused(&mut scene, &mut leaf);
    assert_eq!(scene.heard(SUBMITTING), []);
}

#[test]
fn a_fifth_request_a_long_locator_and_a_relay_without_other_upstreams_refuse() {
    let blocks = chain(&[100; 40]);
    let mut scene = plain(&blocks);
    let mut leaf = scene.leaf();
    leaf.send(&getheaders(&[blocks[4].hash()]).repeat(4));
    assert_eq!(scene.received(&mut leaf), []);
    assert!(!leaf.has_seen_end);
    leaf.send(&getheaders(&[blocks[4].hash()]));
    assert_refused(&mut scene, &mut leaf);
    let mut long = scene.leaf();
    let hashes: Vec<Hash256> = (0..102_u32).map(|number| Hash256::of(&number.to_le_bytes())).collect();
    long.send(&gethdrsen(&hashes));
    assert_refused(&mut scene, &mut long);
    let mut single = scene.leaf();
    // A node may be silent if it does not know the only block of a request.
    single.send(&gethdrsen(&[]));
    assert_refused(&mut scene, &mut single);
    assert_eq!(scene.heard(SUBMITTING).len(), 1);
    // An upstream's own request is not passed back to it.
    scene.upstream.send(SUBMITTING, &gethdrsen(&[blocks[4].hash()]));
    scene.run_for(Duration::from_secs(2));
    assert_eq!(scene.counts().header_requests_refused, 4);
    assert_eq!(scene.stats().upstream_links, 1);
}

#[test]
fn a_reply_with_other_headers_or_one_that_is_too_long_is_followed_by_the_next_upstream() {
    let blocks = chain(&[100; 40]);
    let long = frame("hdrsen", &vec![0; 3 << 20]);
    let wrong = frame("hdrsen", &enriched(&blocks[7..]));
    for reply in [wrong, long] {
        let mut scene = plain(&blocks);
        let mut second = scene.second_upstream();
        let mut leaf = scene.leaf();
        scene.ask(&mut leaf, &gethdrsen(&[blocks[4].hash()]));
        scene.heard(SUBMITTING);
        for part in reply.chunks(60_000) {
            scene.upstream.send(SUBMITTING, part);
            scene.settle();
        }
        let asked = frames(&second.receive(SUBMITTING));
        assert_eq!(asked.last(), Some(&message("gethdrsen", &locator(&[blocks[4].hash()]))));
        second.send(SUBMITTING, &frame("hdrsen", &enriched(&blocks[5..])));
        assert_eq!(scene.received(&mut leaf), [message("hdrsen", &enriched(&blocks[5..]))]);
    }
}

#[test]
fn a_late_reply_does_not_shift_the_replies_to_later_requests() {
    let blocks = chain(&[100; 10]);
    let mut scene = scene(&blocks, Conditions::default());
    let (mut one, mut two) = (scene.leaf(), scene.leaf());
    scene.ask(&mut one, &gethdrsen(&[blocks[4].hash()]));
    assert_eq!(scene.heard(SUBMITTING), [message("gethdrsen", &locator(&[blocks[4].hash()]))]);
    scene.ask(&mut two, &gethdrsen(&[blocks[6].hash()]));
    // The reply to an earlier request: there is no other upstream, so its peer is closed, but the link is not asked
    // again before the reply to its own request.
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &enriched(&blocks[8..])));
    assert_refused(&mut scene, &mut one);
    assert_eq!(scene.heard(SUBMITTING), []);
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &enriched(&blocks[5..])));
    assert_eq!(scene.heard(SUBMITTING), [message("gethdrsen", &locator(&[blocks[6].hash()]))]);
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &enriched(&blocks[7..])));
    assert_eq!(scene.received(&mut two), [message("hdrsen", &enriched(&blocks[7..]))]);
    assert_eq!(scene.counts().headers_refused, 1);
}

#[test]
fn leaf_peers_displace_no_request_of_an_upstream() {
    let blocks = chain(&[100; 3]);
    let mut scene = scene(&blocks, Conditions::default());
    let mut second = scene.second_upstream();
    let mut leaves: Vec<RawPeer> = (0..13).map(|_| scene.leaf()).collect();
    for leaf in &mut leaves {
        (0..4).for_each(|_| leaf.send(&gethdrsen(&[genesis()])));
        scene.settle();
    }
    // 48 of their 52 requests have room.
    assert_eq!(scene.counts().header_requests_refused, 1);
    scene.heard(SUBMITTING);
    second.receive(SUBMITTING);
    second.send(SUBMITTING, &gethdrsen(&[blocks[0].hash()]));
    scene.settle();
    // It is the next one that the other upstream receives.
    scene.upstream.send(SUBMITTING, &frame("hdrsen", &enriched(&blocks)));
    assert_eq!(scene.heard(SUBMITTING), [message("gethdrsen", &locator(&[blocks[0].hash()]))]);
}

#[test]
fn a_reply_that_is_longer_than_its_receiver_accepts_is_cut_between_headers() {
    // Each coinbase transaction has 30 kB, and a peer without a `protoconf` accepts 1 MiB.
    let mut blocks: Vec<Mined> = Vec::new();
    for number in 0..40 {
        let parent = blocks.last().map_or_else(|| BlockHeader::genesis_of(Network::Regtest), |block| block.header);
        let outputs = [TxOutRef { value: 1, script: &[0x51; 30_000] }];
        blocks.push(mine_with(&parent, &[Tx::from_parts(1, &[], &outputs, number)]));
    }
    let mut scene = scene(&blocks, Conditions::default());
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &gethdrsen(&[genesis()]));
    scene.heard(SUBMITTING);
    let whole = enriched(&blocks);
    for part in frame("hdrsen", &whole).chunks(60_000) {
        scene.upstream.send(SUBMITTING, part);
        scene.settle();
    }
    let one_len_bytes = enriched(&blocks[..1]).len() - 1;
    let count = ((1 << 20) - 9) / one_len_bytes;
    let mut expected = whole[..1 + count * one_len_bytes].to_vec();
    expected[0] = count as u8;
    assert_eq!(count, 34);
    assert!(scene.received(&mut leaf) == [message("hdrsen", &expected)]);
}

#[test]
fn a_peer_that_wants_enriched_headers_learns_of_new_blocks_by_inv() {
    let blocks = chain(&[100; 3]);
    let mut scene = scene(&blocks[..1], Conditions::default());
    let (mut enriched, mut both) = (scene.leaf(), scene.leaf());
    enriched.send(&frame("sendhdrsen", &[]));
    both.send(&[frame("sendhdrsen", &[]), frame("sendheaders", &[])].concat());
    scene.settle();
    for leaf in [&mut enriched, &mut both] {
        assert_eq!(scene.ask(leaf, &getheaders(&[genesis()])), [message("headers", &headers(&blocks[..1]))]);
    }
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(&blocks[1..])));
    assert_eq!(scene.received(&mut enriched), [message("inv", &block_item(blocks[2].hash()))]);
    assert_eq!(scene.received(&mut both), [message("headers", &headers(&blocks[1..]))]);
}
