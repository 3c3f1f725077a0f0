//! Compact blocks that the relay rebuilds from its pool, and requests for single transactions of a block.

use super::blocks::scene;
use super::compact::{compact_leaf, compact_scene};
use super::*;
use peerloop::Network;
use peerloop::relay::{BlockForm, Rebuilt};
use peerloop::wire::{BlockHeader, Tx};
use peerloop_testkit::simulated::blocks::{
    Mined, block_item, blocktxn, chain, compact, compact_item, get_block, getblocktxn, mine_with, sendcmpct,
    transactions,
};

/// Returns transactions, and a block with them after another one that was never relayed.
fn relayed_block(count: u32) -> (Vec<Vec<u8>>, Mined) {
    let relayed: Vec<Vec<u8>> = (1..=count).map(transaction).collect();
    let first = Tx::from_parts(1, &[], &[], 9);
    let mut txs = vec![first];
    txs.extend(relayed.iter().map(|tx| peerloop::wire::TxRef::decode(tx).unwrap().into_owned()));
    let block = mine_with(&BlockHeader::genesis_of(Network::Regtest), &txs);
    (relayed, block)
}

fn names(messages: &[(String, Vec<u8>)]) -> Vec<&str> {
    messages.iter().map(|(command, _)| command.as_str()).collect()
}

#[test]
fn a_block_of_relayed_transactions_is_rebuilt_and_needs_no_fetch() {
    let (relayed, block) = relayed_block(5);
    let mut scene = compact_scene(&[]);
    relayed.iter().for_each(|tx| scene.announce(tx));
    let mut leaf = compact_leaf(&mut scene);
    scene.heard(SUBMITTING);
    scene.upstream.send(SUBMITTING, &frame("cmpctblock", &compact(&block, 3)));
    assert_eq!(scene.received(&mut leaf), [message("cmpctblock", &compact(&block, 3))]);
    let request = frame("getblocktxn", &getblocktxn(block.hash(), &[0, 2, 5]));
    assert_eq!(scene.ask(&mut leaf, &request), [message("blocktxn", &blocktxn(&block, &[0, 2, 5]))]);
    let mut other = scene.leaf();
    assert_eq!(scene.ask(&mut other, &get_block(block.hash())), [message("block", &block.payload)]);
    assert_eq!(scene.heard(SUBMITTING), [], "the block was fetched");
    let counts = scene.counts();
    assert_eq!((counts.compact_blocks_rebuilt, counts.compact_blocks_wrong, counts.blocktxn_served), (1, 0, 1));
}

#[test]
fn missing_transactions_are_requested_and_prefilled_later() {
    let (relayed, block) = relayed_block(5);
    let mut scene = compact_scene(&[]);
    [0, 1, 3].into_iter().for_each(|at| scene.announce(&relayed[at]));
    scene.heard(SUBMITTING);
    let asked = scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(&block, 3)));
    assert_eq!(asked, [message("getblocktxn", &getblocktxn(block.hash(), &[3, 5]))]);
    // A leaf's request waits for the reply, and an equal one is not sent again.
    let (mut equal, mut waiting) = (scene.leaf(), scene.leaf());
    assert_eq!(scene.ask(&mut equal, &frame("getblocktxn", &getblocktxn(block.hash(), &[3, 5]))), []);
    assert_eq!(scene.ask(&mut waiting, &frame("getblocktxn", &getblocktxn(block.hash(), &[1]))), []);
    assert_eq!(scene.ask_upstream(SUBMITTING, &frame("blocktxn", &blocktxn(&block, &[3, 5]))), []);
    assert_eq!(scene.received(&mut equal), [message("blocktxn", &blocktxn(&block, &[3, 5]))]);
    assert_eq!(scene.received(&mut waiting), [message("blocktxn", &blocktxn(&block, &[1]))]);
    let counts = scene.counts();
    assert_eq!((counts.compact_blocks_rebuilt, counts.blocktxn_served, counts.blocktxn_relayed), (1, 1, 1));
    let mut leaf = scene.leaf();
    let answer = scene.ask(&mut leaf, &frame("getdata", &compact_item(block.hash())));
    assert_eq!(names(&answer), ["cmpctblock"]);
    let prefilled = peerloop::wire::CompactBlockRef::decode(&answer[0].1).unwrap();
    assert_eq!(prefilled.prefilled().map(|tx| tx.index).collect::<Vec<_>>(), [0, 3, 5]);
    assert_eq!((prefilled.tx_count(), prefilled.short_ids.len()), (6, 3));
    let txs = transactions(&block);
    assert!(prefilled.prefilled().all(|tx| tx.tx == txs[tx.index as usize].as_ref()));
}

/// Returns a scene that lacks two transactions of a block, has requested them to rebuild it, and a leaf that waits for
/// the whole block.
fn rebuilding_scene() -> (Scene, Mined, RawPeer) {
    let (relayed, block) = relayed_block(5);
    let mut scene = compact_scene(&[]);
    [0, 1, 3].into_iter().for_each(|at| scene.announce(&relayed[at]));
    scene.heard(SUBMITTING);
    let asked = scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(&block, 3)));
    assert_eq!(asked, [message("getblocktxn", &getblocktxn(block.hash(), &[3, 5]))]);
    let mut leaf = scene.leaf();
    assert_eq!(scene.ask(&mut leaf, &get_block(block.hash())), []);
    assert_eq!(scene.heard(SUBMITTING), [message("getdata", &block_item(block.hash()))]);
    (scene, block, leaf)
}

#[test]
fn a_block_that_is_rebuilt_before_its_fetch_begins_is_sent_to_the_peers_that_wait() {
    let (mut scene, block, mut leaf) = rebuilding_scene();
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(&block, &[3, 5])));
    assert_eq!(scene.received(&mut leaf), [message("block", &block.payload)]);
    let counts = scene.counts();
    assert_eq!((counts.compact_blocks_rebuilt, counts.blocks_served, scene.stats().passing_blocks), (1, 1, 1));
    // The block arrives nevertheless.
    scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
    assert_eq!(scene.received(&mut leaf), []);
    assert_eq!((scene.stats().passing_blocks, scene.stats().kept_blocks, leaf.has_seen_end), (0, 1, false));
}

#[test]
fn a_rebuild_ends_when_the_whole_block_begins_to_pass() {
    let (mut scene, block, mut leaf) = rebuilding_scene();
    let mut waiting = scene.leaf();
    assert_eq!(scene.ask(&mut waiting, &frame("getblocktxn", &getblocktxn(block.hash(), &[1]))), []);
    assert_eq!(scene.heard(SUBMITTING), []);
    let whole = frame("block", &block.payload);
    let asked = scene.ask_upstream(SUBMITTING, &whole[..200]);
    assert_eq!(asked, [message("getblocktxn", &getblocktxn(block.hash(), &[1]))]);
    scene.upstream.send(SUBMITTING, &whole[200..]);
    assert_eq!(scene.received(&mut leaf), [message("block", &block.payload)]);
    for indexes in [&[3, 5][..], &[1]] {
        scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(&block, indexes)));
    }
    assert_eq!(scene.received(&mut waiting), [message("blocktxn", &blocktxn(&block, &[1]))]);
    let counts = scene.counts();
    assert_eq!((counts.compact_blocks_rebuilt, counts.compact_blocks_wrong, counts.blocks_relayed), (0, 0, 1));
}

#[test]
fn transactions_that_were_requested_elsewhere_are_awaited_for_20_ms() {
    for arrives in [true, false] {
        let (relayed, block) = relayed_block(3);
        let mut scene = compact_scene(&[]);
        relayed[..2].iter().for_each(|tx| scene.announce(tx));
        assert_eq!(names(&scene.ask_upstream(LISTENING, &inv(&[&relayed[2]]))), ["getdata"]);
        scene.heard(SUBMITTING);
        assert_eq!(scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(&block, 3))), []);
        scene.run_for(Duration::from_millis(14));
        if arrives {
            scene.upstream.send(LISTENING, &tx(&relayed[2]));
        }
        scene.run_for(Duration::from_millis(7));
        let asked = scene.heard(SUBMITTING);
        assert_eq!(names(&asked), if arrives { &[][..] } else { &["getblocktxn"] });
        assert_eq!(scene.counts().compact_blocks_rebuilt, u64::from(arrives));
    }
}

/// Returns a scene whose relay keeps no blocks, so that it rebuilds none, with a compact block.
pub(super) fn scene_without_kept(block: &Mined, change: impl FnOnce(RelayConfig) -> RelayConfig) -> Scene {
    let config = config().with_ping_interval(Duration::ZERO);
    let change = |settings: RelayConfig| change(settings.with_small_blocks_bytes(0));
    let mut scene = Scene::with(change, config, Conditions::default());
    scene.ask_upstream(SUBMITTING, &sendcmpct(false));
    assert_eq!(scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(block, 3))), []);
    scene
}

#[test]
fn a_request_is_passed_on_once_for_several_peers() {
    let blocks = chain(&[3_000]);
    let mut scene = scene_without_kept(&blocks[0], |settings| settings);
    let request = getblocktxn(blocks[0].hash(), &[1, 4]);
    let mut leaves = [scene.leaf(), scene.leaf()];
    for leaf in &mut leaves {
        assert_eq!(scene.ask(leaf, &frame("getblocktxn", &request)), []);
    }
    assert_eq!(scene.heard(SUBMITTING), [message("getblocktxn", &request)]);
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(&blocks[0], &[1, 4])));
    for leaf in &mut leaves {
        assert_eq!(scene.received(leaf), [message("blocktxn", &blocktxn(&blocks[0], &[1, 4]))]);
    }
    assert_eq!(scene.counts().blocktxn_relayed, 2);
    // A reply that nobody asked for is ignored.
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(&blocks[0], &[1, 4])));
    assert_eq!(scene.received(&mut leaves[0]), []);
}

#[test]
fn without_a_right_reply_the_whole_block_is_sent() {
    let blocks = chain(&[3_000]);
    let block = &blocks[0];
    let right = blocktxn(block, &[1, 4]);
    let wrong = [
        blocktxn(block, &[1, 3]),
        blocktxn(block, &[1]),
        blocktxn(block, &[1, 4, 5]),
        right[..right.len() - 1].to_vec(),
        [&right[..], &vec![0; 3 << 20]].concat(),
    ];
    for reply in wrong.iter().map(Some).chain([None]) {
        let mut scene = scene_without_kept(block, |settings| settings);
        let mut leaf = scene.leaf();
        scene.ask(&mut leaf, &frame("getblocktxn", &getblocktxn(block.hash(), &[1, 4])));
        assert_eq!(names(&scene.heard(SUBMITTING)), ["getblocktxn"]);
        let mut asked = Vec::new();
        for part in reply.map(|reply| frame("blocktxn", reply)).unwrap_or_default().chunks(60_000) {
            asked.extend(scene.ask_upstream(SUBMITTING, part));
        }
        // A reply with another number of transactions is ignored.
        if asked.is_empty() {
            scene.run_for(Duration::from_secs(4));
            asked.extend(scene.heard(SUBMITTING));
        }
        assert_eq!(asked, [message("getdata", &block_item(block.hash()))]);
        scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
        assert_eq!(scene.received(&mut leaf), [message("block", &block.payload)]);
    }
}

#[test]
fn a_lost_source_is_replaced_by_the_whole_block_of_another() {
    let blocks = chain(&[3_000]);
    let mut scene = scene_without_kept(&blocks[0], |settings| settings);
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &frame("getblocktxn", &getblocktxn(blocks[0].hash(), &[1, 4])));
    scene.upstream.close(SUBMITTING);
    assert_eq!(hashes(&scene.heard(LISTENING), "getdata"), [blocks[0].hash()]);
    scene.upstream.send(LISTENING, &frame("block", &blocks[0].payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &blocks[0].payload)]);
}

#[test]
fn wrong_and_large_requests_are_not_passed_on() {
    let blocks = chain(&[3_000; 12]);
    let mut scene = scene(&blocks, Conditions::default());
    let count = transactions(&blocks[11]).len() as u32;
    // The newest and the oldest block are kept.
    for block in [&blocks[11], &blocks[0]] {
        let mut leaf = scene.leaf();
        leaf.send(&get_block(block.hash()));
        scene.settle();
        scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
        assert_eq!(names(&scene.received(&mut leaf)), ["block"]);
    }
    let hash = blocks[11].hash();
    let nearly_all: Vec<u32> = (0..count).collect();
    let mut leaf = scene.leaf();
    let single = scene.ask(&mut leaf, &frame("getblocktxn", &getblocktxn(hash, &[1, count - 1])));
    assert_eq!(single, [message("blocktxn", &blocktxn(&blocks[11], &[1, count - 1]))]);
    let whole = scene.ask(&mut leaf, &frame("getblocktxn", &getblocktxn(hash, &nearly_all)));
    assert_eq!(whole, [message("block", &blocks[11].payload)]);
    let deep = scene.ask(&mut leaf, &frame("getblocktxn", &getblocktxn(blocks[0].hash(), &[1])));
    assert_eq!(deep, [message("block", &blocks[0].payload)]);
    // An index that does not exist, and an unknown block.
    for (request, refused) in [(getblocktxn(hash, &[count]), 0), (getblocktxn(Hash256::of(b"unknown"), &[1]), 1)] {
        let (before, mut liar) = (scene.stats().leaf_peers, scene.leaf());
        let answer = scene.ask(&mut liar, &frame("getblocktxn", &request));
        assert_eq!(answer.len(), refused, "{answer:?}");
        assert!(answer.iter().all(|(_, reject)| reject.starts_with(b"\x0bgetblocktxn")), "{answer:?}");
        scene.run_for(Duration::from_secs(3));
        assert_eq!((scene.stats().leaf_peers, scene.counts().blocks_refused), (before, refused as u64));
    }
    assert_eq!(scene.counts().blocktxn_served, 1);
}

#[test]
fn a_compact_block_with_other_transactions_is_dropped_and_the_whole_block_is_fetched() {
    let (relayed, block) = relayed_block(4);
    let mut others = transactions(&block);
    others[2] = peerloop::wire::TxRef::decode(&transaction(9)).unwrap().into_owned();
    let lie = Mined { header: block.header, payload: mine_with(&block.header, &others).payload };
    let mut scene = compact_scene(&[]);
    relayed.iter().for_each(|tx| scene.announce(tx));
    scene.announce(&transaction(9));
    scene.heard(SUBMITTING);
    // The short ids are those of transactions in the pool, but not those of the block.
    assert_eq!(scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(&lie, 3))), []);
    assert_eq!((scene.counts().compact_blocks_wrong, scene.stats().kept_blocks), (1, 0));
    let mut leaf = scene.leaf();
    assert_eq!(scene.ask(&mut leaf, &get_block(block.hash())), []);
    assert_eq!(scene.heard(SUBMITTING), [message("getdata", &block_item(block.hash()))]);
    scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &block.payload)]);
}

#[test]
fn a_compact_block_is_reported_with_its_readers_and_the_way_in_which_it_was_rebuilt() {
    for (known, rebuilt) in [(5, Rebuilt::FromPool), (3, Rebuilt::WithRequested(2)), (0, Rebuilt::No)] {
        let (relayed, block) = relayed_block(5);
        let mut scene = compact_scene(&[]);
        relayed[..known].iter().for_each(|tx| scene.announce(tx));
        let (mut announced, mut asking) = (compact_leaf(&mut scene), scene.leaf());
        let message = frame("cmpctblock", &compact(&block, 3));
        scene.upstream.send(SUBMITTING, &message[..30]);
        scene.run_for(Duration::from_millis(4));
        scene.upstream.send(SUBMITTING, &message[30..]);
        assert_eq!(names(&scene.received(&mut announced)), ["cmpctblock"]);
        scene.run_for(Duration::from_millis(3));
        asking.send(&frame("getdata", &compact_item(block.hash())));
        assert!(names(&scene.received(&mut asking)).contains(&"cmpctblock"));
        scene.run_for(Duration::from_millis(50));
        // The relay's own request, if there is one, is answered late. It is no answer if all are missing.
        assert_eq!(scene.relay.handler().policy().blocks, []);
        scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(&block, &[4, 5])));
        scene.run_for(Duration::from_secs(6));
        let [report] = scene.relay.handler().policy().blocks[..] else { panic!("the block is reported once") };
        assert_eq!(
            (report.hash, report.height, report.form),
            (block.hash(), Some(1), BlockForm::Compact { transactions: 6, rebuilt })
        );
        let whole_bytes = message.len() as u64 - 24;
        assert_eq!((report.size_bytes, report.received_in), (whole_bytes, Duration::from_millis(4)));
        assert_eq!((report.readers_finished, report.readers_cut, report.readers_open), (2, 0, 0));
        let last = report.last_byte.expect("a peer received the announcement");
        assert_eq!((report.first_byte, last.last), (None, Duration::ZERO));
        let (counts, hops) = (scene.counts(), scene.stats().hops);
        assert_eq!(counts.compact_blocks_rebuilt, u64::from(rebuilt != Rebuilt::No));
        assert_eq!(counts.compact_blocks_completed, u64::from(known == 3));
        assert_eq!((hops.compact_last_byte.last.count, hops.block_last_byte.last.count), (1, 0));
    }
}
