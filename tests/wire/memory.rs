//! Memory that decoding uses, including for payloads that claim more items than they contain.

use crate::exact::MAIN;
use allocation_counter::measure;
use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::protocol::CommandName;
use peerloop::wire::{
    BlockHeader, EnrichedHeaderRef, ForkRef, Headers, Inventory, InventoryItem, InventoryRef, MessageRef, ProvenTxRef,
    TxListRef, TxRef,
};
use peerloop_testkit::bytes::hex;
use peerloop_testkit::vectors::payloads;
use std::collections::BTreeSet;
use std::hint::black_box;

/// Returns the maximum number of bytes that may be allocated at one time for this payload.
fn allowed(payload: &[u8]) -> u64 {
    2 * payload.len() as u64 + 4_096
}

fn assert_bounded(command: CommandName, payload: &[u8]) {
    let info = measure(|| {
        let _ = black_box(MessageRef::decode(command, payload).map(MessageRef::into_owned));
    });
    assert!(
        info.bytes_max <= allowed(payload),
        "{command}: {} bytes for a payload of {}",
        info.bytes_max,
        payload.len()
    );
}

#[test]
fn p20_a_count_alone_reserves_no_more_than_the_payload_allows() {
    for count in ["fc", "fdffff", "feffffffff", "ff0000000001000000", "ffffffffffffffffff"] {
        for len_before in 0..=120 {
            for len_behind in [0, 8, 200] {
                let payload = [vec![0; len_before], hex(count), vec![1; len_behind]].concat();
                for command in CommandName::ALL {
                    assert_bounded(command, &payload);
                }
            }
        }
    }
}

#[test]
fn p21_no_count_or_length_within_a_message_reserves_more_than_the_payload_allows() {
    for (command, whole) in payloads() {
        for at in 0..whole.len() {
            for bomb in ["fc", "fdffff", "feffffffff", "ffffffffffffffffff"] {
                let payload = [&whole[..at], &hex(bomb), &whole[at + 1..]].concat();
                assert_bounded(command, &payload);
            }
        }
    }
}

#[test]
fn decoding_walking_and_encoding_a_message_allocates_only_the_user_agent_of_a_version() {
    // A decoded `version` owns its user agent, because the version is kept until the peer is closed.
    let allocations_of_a_version = 1;
    let mut out = Vec::with_capacity(4_096);
    let mut walked = BTreeSet::new();
    for (command, payload) in payloads() {
        assert_bounded(command, &payload);
        out.clear();
        let mut items = 0;
        let info = measure(|| {
            let message = MessageRef::decode(command, &payload).expect("a known payload is valid");
            items = walk(&message);
            message.encode_frame(MAIN, &mut out);
        });
        let allowed = if command == CommandName::VERSION { allocations_of_a_version } else { 0 };
        assert_eq!(info.count_total, allowed, "{command}");
        assert_eq!(out[HEADER_LEN_BYTES..], payload, "{command}");
        if items > 0 {
            walked.insert(command.to_string());
        }
    }
    let lists = "addr block blocktxn cmpctblock datareftx dsdetected getblocks getblocktxn getdata getheaders hdrsen \
                 headers inv merkleblock notfound tx";
    assert!(walked.iter().eq(lists.split(' ')), "the messages with items differ from the list: {walked:?}");
}

/// Visits every item of a message, including nested items, and returns their number. In place of a transaction,
/// its inputs and outputs are counted.
fn walk(message: &MessageRef<'_>) -> usize {
    match message {
        MessageRef::Addr(addresses) => look_at(addresses.iter()),
        MessageRef::Inv(list) | MessageRef::GetData(list) | MessageRef::NotFound(list) => look_at(list.iter()),
        MessageRef::GetBlocks(locator) | MessageRef::GetHeaders(locator) | MessageRef::GetHdrsEn(locator) => {
            look_at(locator.hashes())
        }
        MessageRef::Headers(headers) => look_at(headers.iter().map(|item| item.header.hash())),
        MessageRef::HdrsEn(headers) => {
            let proven = |item: EnrichedHeaderRef<'_>| {
                1 + item.coinbase.iter().chain(&item.miner_info).map(walk_proven).sum::<usize>()
            };
            headers.iter().map(proven).sum()
        }
        MessageRef::Tx(tx) => walk_tx(tx),
        MessageRef::Block(block) => walk_txs(&block.transactions),
        MessageRef::BlockTxn(answer) => walk_txs(&answer.transactions),
        MessageRef::MerkleBlock(block) => look_at(block.hashes()),
        MessageRef::CmpctBlock(block) => {
            let key = block.short_id_key();
            let prefilled = block.prefilled().inspect(|item| _ = black_box(key.short_id(item.tx.txid())));
            look_at(block.short_ids.iter()) + prefilled.map(|item| walk_tx(&item.tx)).sum::<usize>()
        }
        MessageRef::GetBlockTxn(request) => look_at(request.indexes()),
        MessageRef::DsDetected(message) => {
            let fork = |fork: ForkRef<'_>| look_at(fork.headers()) + walk_tx(&fork.tx) + look_at(fork.proof.nodes());
            message.forks().map(fork).sum()
        }
        MessageRef::DataRefTx(proven) => walk_proven(proven),
        _ => 0,
    }
}

fn walk_tx(tx: &TxRef<'_>) -> usize {
    black_box(tx.txid());
    look_at(tx.inputs()) + look_at(tx.outputs())
}

fn walk_txs(transactions: &TxListRef<'_>) -> usize {
    transactions.iter().map(|tx| walk_tx(&tx.expect("a known payload is valid"))).sum()
}

fn walk_proven(proven: &ProvenTxRef<'_>) -> usize {
    black_box(proven.proof.root());
    walk_tx(&proven.tx) + look_at(proven.proof.nodes())
}

fn look_at<T>(items: impl Iterator<Item = T>) -> usize {
    items.inspect(|item| _ = black_box(item)).count()
}

#[test]
fn walking_an_inv_or_a_headers_message_allocates_nothing() {
    let mut payload = Vec::new();
    let header = BlockHeader::decode(&[7; 80]);
    let hash = header.hash();
    Inventory::from_items([InventoryItem::tx(hash); 500]).as_ref().encode(&mut payload);
    let headers = Headers::from_headers([header; 100]);
    let info = measure(|| {
        let inventory = InventoryRef::decode(CommandName::INV, &payload).expect("the payload is an inventory");
        assert!(inventory.iter().all(|item| item.hash == hash));
        assert!(headers.as_ref().iter().all(|item| item.header.hash() == hash));
    });
    assert_eq!(info.count_total, 0);
}
