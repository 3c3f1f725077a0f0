//! The answers of a well-behaved responder, message by message.

use crate::stage::{Stage, encoded, genesis, tx, unknown};
use peerloop::api::Pending;
use peerloop::load::{ResponderConfig, ResponderRequest};
use peerloop::protocol::CommandName;
use peerloop::sim::World;
use peerloop::time::Instant;
use peerloop::wire::{Hash256, HeadersRef, InventoryItem, InventoryKind, Locator, MessageRef};
use peerloop::{Network, wire::Inventory};
use std::time::Duration;

#[test]
fn the_loop_answers_pings_unless_a_setting_alters_replies() {
    let mut stage = Stage::new(ResponderConfig::default(), 3);
    (0..3).for_each(|peer| stage.ping(peer));
    stage.run_for(Duration::ZERO);
    assert_eq!(stage.asker.handler().pongs.len(), 3);
    assert_eq!((stage.counts().requests, stage.node.stats().counters.pings_answered), (0, 3));
    let mut stage = Stage::new(ResponderConfig::default().with_drop_share(1e-9), 3);
    (0..3).for_each(|peer| stage.ping(peer));
    stage.run_for(Duration::ZERO);
    assert_eq!(stage.asker.handler().pongs.len(), 3);
    let counts = stage.counts();
    assert_eq!((counts.requests, counts.answered), (3, 3));
    assert_eq!(stage.node.stats().counters.pings_answered, 3);
}

#[test]
fn headers_are_listed_up_to_the_tip_with_their_proof_of_work() {
    let mut stage = Stage::new(ResponderConfig::default().with_blocks(2_500), 1);
    let mut prev = genesis();
    for count in [2_000, 500, 0] {
        stage.get_headers(0, prev);
        stage.run_for(Duration::ZERO);
        let arrived = stage.arrived();
        let [(0, CommandName::HEADERS, payload)] = &arrived[..] else { panic!("{arrived:?}") };
        let headers = HeadersRef::decode(payload).unwrap();
        assert_eq!(headers.iter().len(), count);
        for item in headers.iter() {
            assert_eq!((item.header.prev_hash, item.header.check_proof_of_work(Network::Regtest)), (prev, Ok(())));
            prev = item.header.hash();
        }
    }
    let counts = stage.counts();
    assert_eq!((counts.requests, counts.answered, counts.headers_sent), (3, 3, 3));
}

#[test]
fn a_request_for_one_unknown_header_is_not_answered() {
    let mut stage = Stage::new(ResponderConfig::default(), 1);
    let locator = Locator::from_hashes(70_016, [], Hash256::from_bytes([1; 32]));
    stage.send(0, &MessageRef::GetHeaders(locator.as_ref()));
    stage.run_for(Duration::ZERO);
    assert_eq!((stage.arrived(), stage.counts().requests), (vec![], 0));
}

#[test]
fn all_announced_transactions_and_blocks_are_requested_every_time() {
    let mut stage = Stage::new(ResponderConfig::default(), 2);
    let wanted = [unknown(1), InventoryItem::block(Hash256::from_bytes([2; 32])), unknown(3)];
    let odd = [0, 3, 4, 5, 6].map(|kind| InventoryItem { kind: InventoryKind(kind), ..unknown(9) });
    for peer in [0, 1, 0] {
        stage.announce(peer, &[&odd[..2], &wanted[..2], &odd[2..], &wanted[2..]].concat());
        stage.run_for(Duration::ZERO);
        assert_eq!(stage.arrived(), [(peer, CommandName::GETDATA, encoded(&wanted))]);
    }
    stage.announce(0, &odd);
    stage.announce(0, &[]);
    stage.run_for(Duration::ZERO);
    assert_eq!(stage.arrived(), []);
    let counts = stage.counts();
    assert_eq!((counts.requests, counts.answered, counts.requested), (3, 3, 9));
}

#[test]
fn a_large_announcement_is_requested_in_parts_that_the_peer_accepts() {
    let mut stage = Stage::new(ResponderConfig::default(), 1);
    let items: Vec<_> = (0..50_000_u32).map(|number| InventoryItem::tx(Hash256::of(&number.to_le_bytes()))).collect();
    stage.announce(0, &items);
    stage.run_for(Duration::ZERO);
    let arrived = stage.arrived();
    let requested = arrived.iter().flat_map(|(_, command, payload)| {
        let MessageRef::GetData(items) = MessageRef::decode(*command, payload).unwrap() else { panic!("{command}") };
        items.iter().collect::<Vec<_>>()
    });
    assert!(requested.eq(items.iter().copied()));
    assert_eq!(stage.counts().requested, 50_000);
}

#[test]
fn a_given_transaction_is_served_byte_for_byte() {
    let given = [tx(1, 10), tx(2, 40_000), tx(3, 300_000)];
    let preset = tx(4, 99);
    let config = ResponderConfig::default()
        .with_transactions(vec![preset.as_ref().encoded().to_vec().into(), b"no transaction".to_vec().into()]);
    let mut stage = Stage::new(config, 2);
    for tx in &given {
        stage.send(0, &MessageRef::Tx(tx.as_ref()));
        stage.send(0, &MessageRef::Tx(tx.as_ref()));
        stage.run_for(Duration::ZERO);
    }
    let all: Vec<_> = given.iter().chain([&preset]).collect();
    let items: Vec<_> = all.iter().map(|tx| InventoryItem::tx(tx.as_ref().txid())).collect();
    stage.get(1, &items);
    stage.run_for(Duration::ZERO);
    let expected: Vec<_> = all.iter().map(|tx| (1, CommandName::TX, tx.as_ref().encoded().to_vec())).collect();
    assert_eq!(stage.arrived(), expected);
    let counts = stage.counts();
    assert_eq!((counts.txs_received, counts.txs_sent, counts.undecodable), (6, 4, 1));
}

#[test]
fn items_are_answered_in_order_and_missing_ones_by_one_notfound_for_each_run() {
    let known = tx(1, 10);
    let encoded_tx = known.as_ref().encoded().to_vec();
    let config = ResponderConfig::default().with_block_bytes(500).with_transactions(vec![encoded_tx.clone().into()]);
    let mut stage = Stage::new(config, 1);
    let hashes = stage.block_hashes(0);
    let tx_item = InventoryItem::tx(known.as_ref().txid());
    let (block, compact) = (InventoryItem::block(hashes[3]), InventoryKind::COMPACT_BLOCK);
    let compact = InventoryItem { kind: compact, hash: hashes[4] };
    let filtered = InventoryItem { kind: InventoryKind::FILTERED_BLOCK, hash: hashes[3] };
    let first_block = InventoryItem::block(genesis());
    stage.get(0, &[tx_item, unknown(1), filtered, block, first_block, compact, tx_item]);
    stage.get(0, &[unknown(2)]);
    stage.get(0, &[]);
    stage.run_for(Duration::ZERO);
    let expected = [
        (0, CommandName::TX, encoded_tx.clone()),
        (0, CommandName::NOTFOUND, encoded(&[unknown(1), filtered])),
        (0, CommandName::BLOCK, vec![]),
        (0, CommandName::NOTFOUND, encoded(&[first_block])),
        (0, CommandName::BLOCK, vec![]),
        (0, CommandName::TX, encoded_tx),
        (0, CommandName::NOTFOUND, encoded(&[unknown(2)])),
    ];
    assert_eq!(stage.arrived(), expected);
    let blocks: Vec<_> = stage.asker.handler().blocks.iter().map(|block| block.block.header.hash()).collect();
    assert_eq!(blocks, [hashes[3], hashes[4]]);
    let counts = stage.counts();
    assert_eq!((counts.requests, counts.answered, counts.not_found), (3, 3, 4));
    assert_eq!((counts.txs_sent, counts.blocks_sent), (2, 2));
}

#[test]
fn a_peer_that_reads_slowly_receives_all_of_many_requested_transactions() {
    let transactions: Vec<_> = (0..60).map(|number| tx(number, 100_000)).collect();
    let payloads = transactions.iter().map(|tx| tx.as_ref().encoded().to_vec().into()).collect();
    let mut stage = Stage::new(ResponderConfig::default().with_transactions(payloads), 1);
    let items: Vec<_> = transactions.iter().map(|tx| InventoryItem::tx(tx.as_ref().txid())).collect();
    stage.get(0, &items);
    stage.run_for(Duration::ZERO);
    assert_eq!(stage.arrived().len(), 60);
    assert_eq!((stage.counts().txs_sent, stage.counts().unsent), (60, 0));
}

#[test]
fn received_blocks_are_counted_and_dropped() {
    let mut stage = Stage::new(ResponderConfig::default(), 1);
    for command in [CommandName::BLOCK, CommandName::CMPCTBLOCK, CommandName::ADDR] {
        stage.send(0, &MessageRef::Opaque { command, payload: &[7; 100_000] });
    }
    stage.run_for(Duration::ZERO);
    assert_eq!((stage.counts().blocks_received, stage.counts().requests), (1, 0));
    assert_eq!(stage.asker.handler().closed, []);
}

#[test]
fn malformed_messages_are_counted_and_ignored() {
    let mut stage = Stage::new(ResponderConfig::default().with_drop_share(1e-9), 1);
    for command in [CommandName::GETHEADERS, CommandName::INV, CommandName::GETDATA, CommandName::PING] {
        stage.send(0, &MessageRef::Opaque { command, payload: &[5, 0, 0] });
    }
    stage.run_for(Duration::ZERO);
    assert_eq!((stage.arrived(), stage.counts().undecodable, stage.counts().requests), (vec![], 4, 0));
    assert_eq!(stage.asker.handler().closed, []);
}

#[test]
fn items_are_announced_on_request_to_the_peers_that_want_them() {
    for (relay, is_wanted) in [(true, true), (false, false)] {
        let world = World::new(5, Instant::from_nanos(77));
        let mut stage = Stage::on(world, ResponderConfig::default(), 2, |config| config.with_relay(relay));
        let block = InventoryItem::block(Hash256::from_bytes([2; 32]));
        let txs: Vec<_> = (0..1_500_u32).map(|number| InventoryItem::tx(Hash256::of(&number.to_le_bytes()))).collect();
        let items = [&txs[..700], &[block], &txs[700..]].concat();
        let (reply, pending) = Pending::new();
        stage.node.handle().request(ResponderRequest::Announce { items, reply }).unwrap();
        stage.run_for(Duration::ZERO);
        let sent = if is_wanted { 6 } else { 2 };
        assert_eq!((pending.wait(), stage.counts().announcements), (Ok(sent), sent as u64));
        let arrived = stage.arrived();
        for peer in 0..2 {
            let payloads = arrived.iter().filter(|(of, ..)| *of == peer).map(|(_, command, payload)| {
                let MessageRef::Inv(items) = MessageRef::decode(*command, payload).unwrap() else {
                    panic!("{command}")
                };
                items.into_owned()
            });
            let expected =
                [&[block][..], &txs[..1_000], &txs[1_000..]].map(|items| Inventory::from_items(items.to_vec()));
            assert!(payloads.eq(expected.into_iter().take(if is_wanted { 3 } else { 1 })), "{peer}");
        }
    }
}

#[test]
fn a_new_transaction_is_announced_once_to_all_peers_but_its_sender() {
    let mut stage = Stage::new(ResponderConfig::default().with_announce(true), 4);
    let new = tx(1, 10);
    for peer in [2, 0, 2] {
        stage.send(peer, &MessageRef::Tx(new.as_ref()));
        stage.run_for(Duration::ZERO);
    }
    let inv = encoded(&[InventoryItem::tx(new.as_ref().txid())]);
    assert_eq!(stage.arrived(), [0, 1, 3].map(|peer| (peer, CommandName::INV, inv.clone())));
    assert_eq!(stage.counts().announcements, 3);
}
