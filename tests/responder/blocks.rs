//! Blocks of any length, in constant memory.

use crate::stage::{Stage, encoded, millis, unknown};
use peerloop::api::ChecksumVerdict;
use peerloop::config::Multistreams;
use peerloop::load::ResponderConfig;
use peerloop::protocol::CommandName;
use peerloop::sim::{Conditions, World};
use peerloop::time::Instant;
use peerloop::wire::{InventoryItem, MerkleVerdict};
use std::time::Duration;

const MIB: u64 = 1024 * 1024;

fn stage(block_bytes: u64, peers: usize) -> Stage {
    Stage::new(ResponderConfig::default().with_blocks(5).with_block_bytes(block_bytes), peers)
}

#[test]
fn a_block_of_any_length_arrives_whole_with_its_checksum_and_its_merkle_root() {
    for block_bytes in [143, 144, 100_000, MIB, MIB + 1, 5 * MIB + 333] {
        let mut stage = stage(block_bytes, 1);
        let hashes = stage.block_hashes(0);
        let items = [InventoryItem::block(hashes[2]), InventoryItem::block(hashes[0])];
        stage.get(0, &items);
        stage.get(0, &items[..1]);
        stage.run_for(millis(1));
        let blocks = &stage.asker.handler().blocks;
        let received: Vec<_> = blocks.iter().map(|block| block.block.header.hash()).collect();
        assert_eq!(received, [hashes[2], hashes[0], hashes[2]], "{block_bytes}");
        for received in blocks {
            assert_eq!((received.checksum, received.block.verdict), (ChecksumVerdict::Correct, MerkleVerdict::Valid));
            assert_eq!(received.block.len_bytes, block_bytes);
        }
        assert_eq!(stage.counts().blocks_sent, 3);
    }
}

#[test]
fn many_peers_receive_long_blocks_while_little_waits_for_each() {
    const LEN: u64 = 3 * MIB + 7;
    let world = World::new(5, Instant::from_nanos(77));
    world.set_conditions(Conditions { capacity_bytes: 30_000, ..Conditions::default() });
    let config = ResponderConfig::default().with_blocks(2).with_block_bytes(LEN);
    let mut stage = Stage::on(world, config, 6, |config| config);
    let hashes = stage.block_hashes(0);
    for peer in 0..6 {
        stage.get(peer, &[InventoryItem::block(hashes[peer % 2]), unknown(7)]);
        stage.ping(peer);
    }
    let mut max_waiting_bytes = 0;
    for _ in 0..50 {
        stage.node.poll_once(Duration::ZERO).unwrap();
        stage.asker.poll_once(Duration::ZERO).unwrap();
        max_waiting_bytes = max_waiting_bytes.max(stage.node.stats().waiting_bytes);
    }
    stage.run_for(millis(1));
    max_waiting_bytes = max_waiting_bytes.max(stage.node.stats().waiting_bytes);
    assert!(max_waiting_bytes > 0 && max_waiting_bytes <= 6 * (MIB + 100_000), "{max_waiting_bytes}");
    let mut received: Vec<_> = stage.asker.handler().blocks.iter().map(|block| block.peer).collect();
    received.sort_unstable();
    assert_eq!(received, [0, 1, 2, 3, 4, 5]);
    assert!(stage.asker.handler().blocks.iter().all(|block| block.checksum == ChecksumVerdict::Correct));
    let not_found: Vec<_> =
        stage.arrived().into_iter().filter(|(_, command, _)| *command == CommandName::NOTFOUND).collect();
    assert_eq!(not_found.len(), 6);
    assert!(not_found.iter().all(|(_, _, payload)| *payload == encoded(&[unknown(7)])));
    assert_eq!(stage.asker.handler().pongs.len(), 6);
}

#[test]
fn a_pong_to_a_peer_with_two_streams_does_not_wait_for_its_block() {
    let world = World::new(5, Instant::from_nanos(77));
    world.set_conditions(Conditions { capacity_bytes: 30_000, ..Conditions::default() });
    // The responder answers pings itself, because it drops some requests, but hardly any.
    let config = ResponderConfig::default().with_blocks(1).with_block_bytes(2 * MIB).with_drop_share(1e-9);
    let mut stage = Stage::on(world, config, 1, |config| config.with_multistreams(Multistreams::Open));
    let item = InventoryItem::block(stage.block_hashes(0)[0]);
    stage.get(0, &[item]);
    while stage.asker.handler().block_headers.is_empty() {
        stage.asker.poll_once(Duration::ZERO).unwrap();
        stage.node.poll_once(Duration::ZERO).unwrap();
    }
    stage.ping(0);
    for _ in 0..10 {
        stage.asker.poll_once(Duration::ZERO).unwrap();
        stage.node.poll_once(Duration::ZERO).unwrap();
    }
    assert_eq!((stage.asker.handler().pongs.len(), stage.asker.handler().blocks.len()), (1, 0));
    stage.run_for(millis(1));
    assert_eq!(stage.asker.handler().blocks[0].checksum, ChecksumVerdict::Correct);
}

#[test]
fn a_peer_that_closes_while_its_block_is_hashed_or_sent_disturbs_no_other() {
    let mut stage = stage(9 * MIB, 3);
    let hashes = stage.block_hashes(0);
    (0..3).for_each(|peer| stage.get(peer, &[InventoryItem::block(hashes[peer])]));
    for closing in [0, 1] {
        let blocks = stage.asker.handler().block_headers.len();
        // The block of the first peer is being hashed, and that of the second peer is being sent.
        while stage.asker.handler().block_headers.len() < blocks + closing {
            stage.asker.poll_once(Duration::ZERO).unwrap();
            stage.node.poll_once(Duration::ZERO).unwrap();
        }
        stage.asker.act(|asker, ctx| ctx.abort(asker.peers[closing], peerloop::Disconnect::Done));
        stage.asker.poll_once(Duration::ZERO).unwrap();
    }
    stage.run_for(millis(1));
    let received: Vec<_> = stage.asker.handler().blocks.iter().map(|block| (block.peer, block.checksum)).collect();
    assert_eq!(received, [(2, ChecksumVerdict::Correct)]);
    assert_eq!(stage.counts().blocks_sent, 1);
}

#[test]
fn a_block_of_4_gib_is_sent_with_an_extended_header_only_to_peers_that_understand_it() {
    for (version, is_sent) in [(70_016, true), (70_015, false)] {
        let world = World::new(5, Instant::from_nanos(77));
        let config = ResponderConfig::default().with_blocks(1).with_block_bytes(1 << 32);
        let mut stage = Stage::on(world, config, 1, |config| config.with_protocol_version(version));
        let item = InventoryItem::block(stage.block_hashes(0)[0]);
        stage.get(0, &[item]);
        // Only the first turns, because the whole block costs seconds.
        for _ in 0..100 {
            stage.asker.poll_once(Duration::ZERO).unwrap();
            stage.node.poll_once(Duration::ZERO).unwrap();
        }
        let headers = &stage.asker.handler().block_headers;
        assert_eq!(
            headers.iter().map(|header| (header.payload_len, header.checksum)).collect::<Vec<_>>(),
            if is_sent { vec![(1 << 32, None)] } else { vec![] }
        );
        let expected = if is_sent { vec![] } else { vec![(0, CommandName::NOTFOUND, encoded(&[item]))] };
        assert_eq!(stage.arrived(), expected);
        assert!(stage.node.stats().waiting_bytes <= 2 * MIB);
    }
}
