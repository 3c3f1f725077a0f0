//! Requests for single transactions of a block that are passed on to an upstream: their limits, costs and replies.

use super::block_transactions::scene_without_kept;
use super::blocks::scene_with;
use super::compact::{compact_leaf, compact_scene};
use super::*;
use peerloop::Network;
use peerloop::relay::CompactBlocks;
use peerloop::wire::{BlockHeader, Tx, TxOutRef, TxRef};
use peerloop_testkit::bytes::header;
use peerloop_testkit::simulated::blocks::{
    Mined, block_item, blocktxn, chain, compact, compact_item, get_block, getblocktxn, headers, mine_with, sendcmpct,
    transactions,
};

/// The bytes that must remain of a budget before a block of unknown length is requested.
const RESERVE: u64 = 32 << 20;

fn names(messages: &[(String, Vec<u8>)]) -> Vec<&str> {
    messages.iter().map(|(command, _)| command.as_str()).collect()
}

fn request(block: &Mined, indexes: &[u32]) -> Vec<u8> {
    frame("getblocktxn", &getblocktxn(block.hash(), indexes))
}

/// Sends a long message on the submitting link, and returns the relay's messages on it.
fn send_long(scene: &mut Scene, message: &[u8]) -> Vec<(String, Vec<u8>)> {
    message.chunks(60_000).flat_map(|part| scene.ask_upstream(SUBMITTING, part)).collect()
}

/// Returns a reply that is too long to be read.
fn long_reply(block: &Mined) -> Vec<u8> {
    [&blocktxn(block, &[1])[..], &vec![0; 3 << 20]].concat()
}

#[test]
fn a_fifth_request_of_a_peer_is_answered_with_the_whole_block_although_it_is_equal() {
    let blocks = chain(&[3_000]);
    let mut scene = scene_without_kept(&blocks[0], |settings| settings);
    let mut leaf = scene.leaf();
    (0..5).for_each(|_| assert_eq!(scene.ask(&mut leaf, &request(&blocks[0], &[1, 4])), []));
    assert_eq!(names(&scene.heard(SUBMITTING)), ["getblocktxn", "getdata"]);
    let reply = blocktxn(&blocks[0], &[1, 4]);
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &reply));
    assert_eq!(scene.received(&mut leaf), vec![message("blocktxn", &reply); 4]);
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[0].payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &blocks[0].payload)]);
}

#[test]
fn a_leaf_that_requests_more_than_1_000_transactions_receives_the_whole_block() {
    let txs: Vec<Tx> = (0..1_200).map(|number| Tx::from_parts(1, &[], &[], number)).collect();
    let block = mine_with(&BlockHeader::genesis_of(Network::Regtest), &txs);
    for (asked, heard) in [(1_000, "getblocktxn"), (1_001, "getdata")] {
        let mut scene = scene_without_kept(&block, |settings| settings);
        let mut leaf = scene.leaf();
        scene.ask(&mut leaf, &request(&block, &(0..asked).collect::<Vec<_>>()));
        assert_eq!(names(&scene.heard(SUBMITTING)), [heard], "{asked}");
    }
}

#[test]
fn replies_of_an_upstream_are_charged_and_use_up_no_free_block() {
    let blocks = chain(&[3_000]);
    let block = &blocks[0];
    let (long, reply) = (long_reply(block), blocktxn(block, &[1, 3]));
    let budget = RESERVE + 2 * reply.len() as u64;
    let mut scene = scene_without_kept(block, |settings| settings.with_old_block_bytes_per_host(budget));
    let mut leaf = scene.leaf();
    for count in [1, 2] {
        assert_eq!(scene.ask(&mut leaf, &request(block, &[1, 3])), []);
        scene.upstream.send(SUBMITTING, &frame("blocktxn", &reply));
        assert_eq!(scene.received(&mut leaf), [message("blocktxn", &reply)]);
        assert_eq!(scene.counts().old_block_bytes, count * reply.len() as u64);
    }
    scene.heard(SUBMITTING);
    assert_eq!(scene.ask(&mut leaf, &request(block, &[1])), []);
    assert_eq!(names(&send_long(&mut scene, &frame("blocktxn", &long))), ["getblocktxn", "getdata"]);
    let charged = (2 * reply.len() + long.len()) as u64;
    assert_eq!(scene.counts().old_block_bytes, charged);
    scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
    assert_eq!(scene.received(&mut leaf), [message("block", &block.payload)]);
    // The whole block was free once, and less than the reserve remains. A new connection of the host renews nothing.
    scene.reconnect(&mut leaf);
    let refused = scene.ask(&mut leaf, &request(block, &[1]));
    assert_eq!(names(&refused), ["reject"]);
    assert!(refused[0].1.starts_with(b"\x07getdata"));
    assert_eq!((scene.heard(SUBMITTING), scene.counts().old_block_bytes), (Vec::new(), charged));
}

#[test]
fn parts_that_cannot_be_paid_for_are_answered_with_the_whole_block() {
    let blocks = chain(&[3_000]);
    let block = &blocks[0];
    let whole = [message("block", &block.payload)];
    let by_compact = frame("getdata", &compact_item(block.hash()));
    // One byte less than each part costs.
    let compact_bytes = frame("cmpctblock", &compact(block, 3)).len() as u64 - 1;
    let reply_bytes = frame("blocktxn", &blocktxn(block, &[1])).len() as u64 - 1;
    for (asks, budget) in [(by_compact, compact_bytes), (request(block, &[1]), RESERVE - 1)] {
        let mut scene = scene_without_kept(block, |settings| settings.with_old_block_bytes_per_host(budget));
        let mut leaf = scene.leaf();
        assert_eq!(scene.ask(&mut leaf, &asks), []);
        assert_eq!(scene.heard(SUBMITTING), [message("getdata", &block_item(block.hash()))]);
        scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
        assert_eq!(scene.received(&mut leaf), whole);
        assert_eq!(scene.counts().old_block_bytes, 0);
    }
    // A kept block.
    for (budget, answer) in [(reply_bytes, "block"), (reply_bytes + 1, "blocktxn")] {
        let change = |settings: RelayConfig| settings.with_old_block_bytes_per_host(budget);
        let mut scene = scene_with(&blocks, Conditions::default(), change);
        let (mut first, mut leaf) = (scene.leaf(), scene.leaf());
        scene.ask(&mut first, &get_block(block.hash()));
        scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
        assert_eq!(scene.received(&mut first), whole);
        assert_eq!(names(&scene.ask(&mut leaf, &request(block, &[1]))), [answer]);
    }
}

#[test]
fn the_reply_to_a_peer_that_has_closed_is_charged_to_its_host_and_ends_no_other_request() {
    let blocks = chain(&[3_000]);
    let mut scene = scene_without_kept(&blocks[0], |settings| settings);
    let (mut closing, mut other) = (scene.leaf(), scene.leaf());
    // Both requests are for as many transactions.
    scene.ask(&mut closing, &request(&blocks[0], &[1]));
    closing.close();
    scene.ask(&mut other, &request(&blocks[0], &[3]));
    assert_eq!(names(&scene.heard(SUBMITTING)), ["getblocktxn"; 2]);
    let replies = [1, 3].map(|index| blocktxn(&blocks[0], &[index]));
    assert_eq!(scene.ask_upstream(SUBMITTING, &frame("blocktxn", &replies[0])), []);
    assert_eq!(scene.received(&mut other), []);
    assert_eq!(scene.counts().old_block_bytes, replies[0].len() as u64);
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &replies[1]));
    assert_eq!(scene.received(&mut other), [message("blocktxn", &replies[1])]);
    let charged = replies.iter().map(|reply| reply.len() as u64).sum();
    assert_eq!((scene.counts().old_block_bytes, scene.counts().compact_blocks_wrong), (charged, 0));
}

#[test]
fn an_equal_request_waits_for_the_reply_to_a_peer_that_has_closed() {
    let blocks = chain(&[3_000]);
    let mut scene = scene_without_kept(&blocks[0], |settings| settings);
    let (mut closing, mut other) = (scene.leaf(), scene.leaf());
    scene.ask(&mut closing, &request(&blocks[0], &[1]));
    closing.close();
    scene.ask(&mut other, &request(&blocks[0], &[1]));
    assert_eq!(names(&scene.heard(SUBMITTING)), ["getblocktxn"]);
    let reply = blocktxn(&blocks[0], &[1]);
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &reply));
    assert_eq!(scene.received(&mut other), [message("blocktxn", &reply)]);
}

#[test]
fn nobody_pays_for_an_upstream_that_does_not_reply() {
    let blocks = chain(&[3_000]);
    let mut scene = scene_without_kept(&blocks[0], |settings| settings);
    let (mut leaf, mut closing) = (scene.leaf(), scene.leaf());
    scene.ask(&mut leaf, &request(&blocks[0], &[1]));
    scene.ask(&mut closing, &request(&blocks[0], &[2]));
    closing.close();
    scene.run_for(Duration::from_secs(4));
    let asked = names(&scene.heard(SUBMITTING)).join(" ");
    assert_eq!((&asked[..], scene.counts().old_block_bytes), ("getblocktxn getblocktxn getdata", 0));
}

#[test]
fn no_more_than_the_reserve_is_charged_for_a_claimed_length() {
    let blocks = chain(&[3_000]);
    let mut scene = scene_without_kept(&blocks[0], |settings| settings);
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &request(&blocks[0], &[1]));
    scene.upstream.send(SUBMITTING, &header("blocktxn", u32::MAX, &[0; 4]));
    scene.settle();
    assert_eq!(scene.counts().old_block_bytes, RESERVE);
}

#[test]
fn a_long_reply_to_a_peer_that_has_closed_ends_no_request_of_this_side() {
    let many: Vec<Tx> = (0..300).map(|number| Tx::from_parts(1, &[], &[], number)).collect();
    let asked = mine_with(&BlockHeader::genesis_of(Network::Regtest), &many);
    let rebuilt = mine_with(&asked.header, &[1, 2, 3].map(|number| large(10, number)));
    let mut scene = compact_scene(&[]);
    // Nearly all transactions of the first block are missing, so that it is not rebuilt.
    assert_eq!(scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(&asked, 3))), []);
    let mut closing = scene.leaf();
    scene.ask(&mut closing, &request(&asked, &[1]));
    assert_eq!(names(&scene.heard(SUBMITTING)), ["getblocktxn"]);
    closing.close();
    let own = scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(&rebuilt, 3)));
    assert_eq!(own, [message("getblocktxn", &getblocktxn(rebuilt.hash(), &[1, 2]))]);
    send_long(&mut scene, &frame("blocktxn", &long_reply(&asked)));
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(&rebuilt, &[1, 2])));
    scene.settle();
    assert_eq!(scene.counts().compact_blocks_rebuilt, 1);
}

#[test]
fn replies_from_memory_and_compact_blocks_are_charged() {
    let blocks = chain(&[3_000]);
    let (compacted, hash) = (compact(&blocks[0], 3), blocks[0].hash());
    let mut scene = compact_scene(&[]);
    scene.upstream.send(SUBMITTING, &frame("cmpctblock", &compacted));
    scene.settle();
    let mut first = scene.leaf();
    let mut charged = 0;
    for _ in 0..3 {
        let answer = scene.ask(&mut first, &frame("getdata", &compact_item(hash)));
        assert_eq!(answer, [message("cmpctblock", &compacted)]);
        charged += frame("cmpctblock", &compacted).len() as u64;
        assert_eq!(scene.counts().old_block_bytes, charged);
    }
    let mut second = scene.leaf();
    scene.ask(&mut second, &get_block(hash));
    scene.upstream.send(SUBMITTING, &frame("block", &blocks[0].payload));
    assert_eq!(names(&scene.received(&mut second)), ["block"]);
    let before = scene.counts().old_block_bytes;
    let reply = blocktxn(&blocks[0], &[1]);
    assert_eq!(scene.ask(&mut second, &request(&blocks[0], &[1])), [message("blocktxn", &reply)]);
    assert_eq!(scene.counts().old_block_bytes - before, frame("blocktxn", &reply).len() as u64);
}

#[test]
fn a_long_reply_ends_only_the_oldest_request() {
    let blocks = chain(&[3_000]);
    let mut scene = scene_without_kept(&blocks[0], |settings| settings);
    let (mut first, mut second) = (scene.leaf(), scene.leaf());
    scene.ask(&mut first, &request(&blocks[0], &[1]));
    scene.ask(&mut second, &request(&blocks[0], &[2]));
    scene.heard(SUBMITTING);
    let asked = send_long(&mut scene, &frame("blocktxn", &long_reply(&blocks[0])));
    assert_eq!(asked, [message("getdata", &block_item(blocks[0].hash()))]);
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(&blocks[0], &[2])));
    assert_eq!(scene.received(&mut second), [message("blocktxn", &blocktxn(&blocks[0], &[2]))]);
    assert_eq!(scene.received(&mut first), []);
}

#[test]
fn replies_belong_to_their_requests_in_any_order_and_a_late_one_is_no_fault() {
    let blocks = chain(&[3_000]);
    let block = &blocks[0];
    let managed = || Config::managed(Network::Regtest).with_seed(Some(1)).with_ping_interval(Duration::ZERO);
    let asked = |expires: bool| {
        let mut scene = Scene::with(|settings| settings.with_small_blocks_bytes(0), managed(), Conditions::default());
        scene.ask_upstream(SUBMITTING, &sendcmpct(false));
        scene.ask_upstream(SUBMITTING, &frame("cmpctblock", &compact(block, 3)));
        let (mut first, mut second) = (scene.leaf(), scene.leaf());
        scene.ask(&mut first, &request(block, &[4]));
        if expires {
            scene.run_for(Duration::from_millis(1_900));
        }
        scene.ask(&mut second, &request(block, &[4, 5]));
        assert_eq!(names(&scene.heard(SUBMITTING)), ["getblocktxn"; 2]);
        (scene, first, second)
    };
    let (mut scene, mut first, mut second) = asked(false);
    for (leaf, indexes) in [(&mut second, &[4, 5][..]), (&mut first, &[4])] {
        scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(block, indexes)));
        assert_eq!(scene.received(leaf), [message("blocktxn", &blocktxn(block, indexes))]);
    }
    assert_eq!(scene.counts().compact_blocks_wrong, 0);
    // The first request has ended, and no other one is for as many transactions.
    let (mut scene, mut first, mut second) = asked(true);
    scene.run_for(Duration::from_millis(1_200));
    assert_eq!(scene.heard(SUBMITTING), [message("getdata", &block_item(block.hash()))]);
    assert_eq!(scene.ask_upstream(SUBMITTING, &frame("blocktxn", &blocktxn(block, &[4]))), []);
    scene.upstream.send(SUBMITTING, &frame("blocktxn", &blocktxn(block, &[4, 5])));
    scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
    assert_eq!(scene.received(&mut first), [message("block", &block.payload)]);
    assert_eq!(scene.received(&mut second), [message("blocktxn", &blocktxn(block, &[4, 5]))]);
    assert_eq!((scene.counts().compact_blocks_wrong, scene.stats().upstream_links), (0, 2));
}

#[test]
fn a_wrong_reply_ends_the_oldest_request_for_as_many_transactions() {
    let blocks = chain(&[3_000]);
    let block = &blocks[0];
    let mut scene = scene_without_kept(block, |settings| settings);
    let mut leaves = [scene.leaf(), scene.leaf(), scene.leaf()];
    for (leaf, indexes) in leaves.iter_mut().zip([&[1, 2][..], &[3], &[4]]) {
        scene.ask(leaf, &request(block, indexes));
    }
    scene.heard(SUBMITTING);
    // It is the reply to none of them.
    let asked = scene.ask_upstream(SUBMITTING, &frame("blocktxn", &blocktxn(block, &[5])));
    assert_eq!(asked, [message("getdata", &block_item(block.hash()))]);
    scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
    let answers = leaves.each_mut().map(|leaf| names(&scene.received(leaf)).join(" "));
    assert_eq!((answers, scene.counts().compact_blocks_wrong), (["", "block", ""].map(str::to_owned), 1));
}

#[test]
fn leaf_peers_receive_whole_blocks_if_compact_ones_are_for_upstreams() {
    let blocks = chain(&[3_000]);
    let change = |settings: RelayConfig| settings.with_compact_blocks(CompactBlocks::Upstreams);
    for asks in [frame("getdata", &compact_item(blocks[0].hash())), request(&blocks[0], &[1])] {
        let mut scene = scene_without_kept(&blocks[0], change);
        let mut leaf = scene.leaf();
        assert_eq!(scene.ask(&mut leaf, &asks), []);
        assert_eq!(scene.heard(SUBMITTING), [message("getdata", &block_item(blocks[0].hash()))]);
        scene.upstream.send(SUBMITTING, &frame("block", &blocks[0].payload));
        assert_eq!(scene.received(&mut leaf), [message("block", &blocks[0].payload)]);
    }
}

#[test]
fn a_peer_is_not_blamed_for_a_compact_block_with_too_many_transactions() {
    let blocks = chain(&[3_000]);
    let block = &blocks[0];
    let mut others = transactions(block);
    let count = others.len() as u32;
    others.push(Tx::from_parts(1, &[], &[], 77));
    let lie = Mined { header: block.header, payload: mine_with(&block.header, &others).payload };
    let mut scene = compact_scene(&[]);
    scene.upstream.send(SUBMITTING, &frame("cmpctblock", &compact(&lie, 3)));
    let mut leaf = scene.leaf();
    scene.ask(&mut leaf, &get_block(block.hash()));
    scene.upstream.send(SUBMITTING, &frame("block", &block.payload));
    assert_eq!(names(&scene.received(&mut leaf)), ["block"]);
    assert_eq!(scene.ask(&mut leaf, &request(block, &[count])), [message("block", &block.payload)]);
    assert!(!leaf.has_seen_end);
}

#[test]
fn a_compact_block_whose_header_is_known_is_rebuilt() {
    let relayed: Vec<Vec<u8>> = (1..=5).map(transaction).collect();
    let mut txs = vec![Tx::from_parts(1, &[], &[], 9)];
    txs.extend(relayed.iter().map(|tx| TxRef::decode(tx).unwrap().into_owned()));
    let block = mine_with(&BlockHeader::genesis_of(Network::Regtest), &txs);
    let mut scene = compact_scene(&[]);
    relayed.iter().for_each(|tx| scene.announce(tx));
    scene.upstream.send(SUBMITTING, &frame("headers", &headers(std::slice::from_ref(&block))));
    scene.settle();
    scene.upstream.send(SUBMITTING, &frame("cmpctblock", &compact(&block, 3)));
    scene.settle();
    assert_eq!(scene.counts().compact_blocks_rebuilt, 1);
}

/// Returns a transaction with a script of this length.
fn large(len_bytes: usize, number: u32) -> Tx {
    Tx::from_parts(1, &[], &[TxOutRef { value: 1, script: &vec![0x51; len_bytes] }], number)
}

/// Returns a scene that keeps a block, and a leaf with all headers that has requested 900 kB of it a number of times
/// and has read nothing. Its queue holds 2 MiB.
fn scene_with_full_queue(requests: usize) -> (Scene, RawPeer, Mined) {
    let txs = [large(10, 1), large(450_000, 2), large(450_000, 3), large(10, 4)];
    let block = mine_with(&BlockHeader::genesis_of(Network::Regtest), &txs);
    let mut scene = compact_scene(std::slice::from_ref(&block));
    let (mut leaf, mut first) = (compact_leaf(&mut scene), scene.leaf());
    scene.ask(&mut first, &get_block(block.hash()));
    send_long(&mut scene, &frame("block", &block.payload));
    assert_eq!(names(&scene.received(&mut first)), ["block"]);
    leaf.send(&request(&block, &[1, 2]).repeat(requests));
    scene.settle();
    (scene, leaf, block)
}

#[test]
fn a_peer_whose_queue_is_full_receives_the_whole_block_in_place_of_transactions() {
    let (mut scene, mut leaf, block) = scene_with_full_queue(5);
    let answers = scene.received(&mut leaf);
    let reply = message("blocktxn", &blocktxn(&block, &[1, 2]));
    let whole = message("block", &block.payload);
    assert!(answers == [&reply, &reply, &whole, &reply, &reply].map(Clone::clone), "{:?}", names(&answers));
    assert!(!leaf.has_seen_end);
    // The whole block is free.
    assert_eq!(scene.counts().old_block_bytes, 4 * frame("blocktxn", &reply.1).len() as u64);
}

#[test]
fn a_peer_without_room_for_a_compact_block_receives_a_plain_announcement() {
    let (mut scene, mut leaf, parent) = scene_with_full_queue(2);
    let block = mine_with(&parent.header, &[large(700_000, 5), large(10, 6)]);
    send_long(&mut scene, &frame("cmpctblock", &compact(&block, 3)));
    assert_eq!(scene.stats().tip_height, Some(2));
    let answers = scene.received(&mut leaf);
    assert_eq!(answers.last(), Some(&message("inv", &block_item(block.hash()))));
}
