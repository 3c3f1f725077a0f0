//! Strategies for messages that every codec of this protocol family can represent. They generate values of our types.

use peerloop::time::UnixTime;
use peerloop::wire::{
    AddressEntry, Addresses, Block, BlockHeader, BlockTxn, BloomFilter, CompactBlock, FeeFilter, FilterAdd,
    FilterLoadRef, GetBlockTxn, Hash256, Headers, Inventory, InventoryItem, InventoryKind, Locator, Mempool,
    MerkleBlock, MerkleFrontier, Message, NetAddress, Reject, RejectCode, SendCmpct, Sender, Tx, TxInRef, TxOutRef,
    Version,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

/// Maximum number of satoshis that can ever exist.
const MAX_MONEY: i64 = 2_100_000_000_000_000;

pub(crate) fn any_hash() -> impl Strategy<Value = Hash256> {
    any::<[u8; 32]>().prop_map(Hash256::from_bytes)
}

pub(crate) fn any_header() -> impl Strategy<Value = BlockHeader> {
    let numbers = any::<(i32, u32, u32, u32)>();
    (numbers, any_hash(), any_hash()).prop_map(|((version, time, bits, nonce), prev_hash, merkle_root)| {
        // No block has `bits` of 0, and we refuse a compact block with `bits` of 0.
        BlockHeader { version, prev_hash, merkle_root, time, bits: bits.max(1), nonce }
    })
}

/// Generates a script whose size is encoded in one, three or, rarely, five bytes.
fn any_script() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![60 => 0..60_usize, 10 => 250..=256_usize, 1 => 0xfffe..=0x1_0001_usize];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

/// Generates a transaction with at least one input. A codec that supports witnesses misreads a transaction without
/// inputs.
pub(crate) fn any_tx() -> impl Strategy<Value = Tx> {
    let inputs = vec((any_hash(), any::<u32>(), any_script(), any::<u32>()), 1..4);
    let outputs = vec((0..=MAX_MONEY / 4, any_script()), 1..4);
    (any::<i32>(), inputs, outputs, any::<u32>()).prop_map(|(version, inputs, outputs, locktime)| {
        let inputs: Vec<TxInRef<'_>> = inputs
            .iter()
            .map(|(prev_txid, prev_index, script, sequence)| TxInRef {
                prev_txid: *prev_txid,
                prev_index: *prev_index,
                script,
                sequence: *sequence,
            })
            .collect();
        let outputs: Vec<_> = outputs.iter().map(|(value, script)| TxOutRef { value: *value, script }).collect();
        Tx::from_parts(version, &inputs, &outputs, locktime)
    })
}

/// Generates a block with the Merkle root of its transactions.
pub(crate) fn any_block() -> impl Strategy<Value = Block> {
    (any_header(), vec(any_tx(), 1..8)).prop_map(|(header, transactions)| {
        let tree: MerkleFrontier = transactions.iter().map(|tx| tx.as_ref().txid()).collect();
        let merkle_root = tree.root().expect("there is a transaction");
        Block::from_parts(BlockHeader { merkle_root, ..header }, transactions.iter().map(Tx::as_ref))
    })
}

pub(crate) fn any_compact_block() -> impl Strategy<Value = CompactBlock> {
    (any_header(), any::<u64>(), vec((any_tx(), any::<bool>()), 1..8)).prop_map(|(header, nonce, transactions)| {
        let is_prefilled = |index: u32| transactions[index as usize].1;
        CompactBlock::from_transactions(header, nonce, transactions.iter().map(|(tx, _)| tx.as_ref()), is_prefilled)
    })
}

pub(crate) fn any_merkle_block() -> impl Strategy<Value = MerkleBlock> {
    (any_header(), vec((any_hash(), any::<bool>()), 1..40)).prop_map(|(header, leaves)| {
        let txids: Vec<Hash256> = leaves.iter().map(|(txid, _)| *txid).collect();
        let tree: MerkleFrontier = txids.iter().copied().collect();
        let merkle_root = tree.root().expect("there is a leaf");
        MerkleBlock::from_txids(BlockHeader { merkle_root, ..header }, &txids, |index| leaves[index].1)
    })
}

pub(crate) fn any_address() -> impl Strategy<Value = NetAddress> {
    any::<(u64, [u8; 16], u16)>().prop_map(|(services, ip, port)| NetAddress { services, ip, port })
}

/// Generates a `version` without an association id, because only Bitcoin SV has such ids.
pub(crate) fn any_version() -> impl Strategy<Value = Version> {
    let head = (70_001..=70_016_i32, any::<u64>(), any::<i64>(), any_address());
    let sender = (any_address(), any::<u64>()).prop_map(|(address, nonce)| Sender { address, nonce });
    let tail = (sender, any_text(256), any::<i32>(), any::<bool>());
    (head, tail).prop_map(|((protocol_version, services, time, receiver), tail)| {
        let (sender, user_agent, start_height, relay) = tail;
        Version {
            protocol_version,
            services,
            time: UnixTime::from_secs(time),
            receiver,
            sender: Some(sender),
            user_agent: Some(user_agent),
            start_height: Some(start_height),
            relay: Some(relay),
            association_id: None,
        }
    })
}

/// Generates UTF-8 text of at most `max_bytes` bytes.
pub(crate) fn any_text(max_bytes: usize) -> impl Strategy<Value = Box<[u8]>> {
    prop_oneof![4 => vec(any::<char>(), 0..=max_bytes / 4), 1 => vec(Just('a'), max_bytes)]
        .prop_map(|text| String::from_iter(text).into_bytes().into())
}

/// Generates a `reject` whose message and code every protocol of the family knows.
pub(crate) fn any_reject() -> impl Strategy<Value = Reject> {
    let message = select(vec![Box::from(b"tx".as_slice()), Box::from(b"block".as_slice())]);
    let code = select(vec![0x10, 0x11, 0x12, 0x40, 0x41, 0x42, 0x43]).prop_map(RejectCode);
    (message, code, any_text(111), any::<[u8; 32]>()).prop_map(|(message, code, reason, hash)| Reject {
        message,
        code,
        reason,
        hash: Some(hash),
    })
}

pub(crate) fn any_filter() -> impl Strategy<Value = BloomFilter> {
    let bits = prop_oneof![8 => vec(any::<u8>(), 0..300), 1 => Just(vec![0xa5; 36_000])];
    (bits, 0..=50_u32, any::<u32>(), 0..=2_u8).prop_map(|(bits, hash_count, tweak, flags)| {
        FilterLoadRef { bits: &bits, hash_count, tweak, flags }.into_owned()
    })
}

fn any_inventory() -> impl Strategy<Value = Inventory> {
    let kind = prop_oneof![4 => 0..8_u32, 1 => any::<u32>(), 1 => 0x4000_0000..0x4000_0006_u32];
    let item = (kind, any_hash()).prop_map(|(kind, hash)| InventoryItem { kind: InventoryKind(kind), hash });
    let item = item.boxed();
    // The count is encoded in one byte or three.
    prop_oneof![20 => vec(item.clone(), 0..8), 1 => vec(item, 252..260)].prop_map(Inventory::from_items)
}

fn any_locator() -> impl Strategy<Value = Locator> {
    (any::<i32>(), vec(any_hash(), 0..40), any_hash())
        .prop_map(|(version, hashes, stop)| Locator::from_hashes(version, hashes, stop))
}

fn any_get_block_txn() -> impl Strategy<Value = GetBlockTxn> {
    (any_hash(), btree_set(prop_oneof![0..600_u32, any::<u32>()], 0..300))
        .prop_map(|(hash, indexes)| GetBlockTxn::from_indexes(hash, indexes))
}

/// Generates messages without a payload.
fn any_empty() -> impl Strategy<Value = Message> {
    select(vec![
        Message::Verack,
        Message::SendHeaders,
        Message::GetAddr,
        Message::FilterClear,
        Message::Mempool(Mempool { age_secs: None }),
    ])
}

/// Generates messages that consist of one or two fields of fixed size.
fn any_small() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<u64>().prop_map(|nonce| Message::Ping { nonce }),
        any::<u64>().prop_map(|nonce| Message::Pong { nonce }),
        any::<(bool, u64)>().prop_map(|(announce, version)| Message::SendCmpct(SendCmpct { announce, version })),
        (0..=MAX_MONEY).prop_map(|rate| Message::FeeFilter(FeeFilter { satoshis_per_1000_bytes: rate })),
    ]
}

/// Generates messages that contain a list, and `filterload`, `filteradd`, `reject` and `version`.
fn any_list() -> impl Strategy<Value = Message> {
    let entry = (any::<u32>(), any_address()).prop_map(|(time, address)| AddressEntry { time, address });
    prop_oneof![
        vec(entry, 0..8).prop_map(|entries| Message::Addr(Addresses::from_entries(entries))),
        any_inventory().prop_map(Message::Inv),
        any_inventory().prop_map(Message::GetData),
        any_inventory().prop_map(Message::NotFound),
        any_locator().prop_map(Message::GetBlocks),
        any_locator().prop_map(Message::GetHeaders),
        vec(any_header(), 0..8).prop_map(|headers| Message::Headers(Headers::from_headers(headers))),
        any_get_block_txn().prop_map(Message::GetBlockTxn),
        any_filter().prop_map(Message::FilterLoad),
        prop_oneof![vec(any::<u8>(), 0..60), Just(vec![7; 520])]
            .prop_map(|element| Message::FilterAdd(FilterAdd { element: element.into() })),
        any_reject().prop_map(Message::Reject),
        any_version().prop_map(|version| Message::Version(Box::new(version))),
    ]
}

/// Generates messages that contain transactions, and `merkleblock`.
fn any_of_transactions() -> impl Strategy<Value = Message> {
    prop_oneof![
        any_tx().prop_map(Message::Tx),
        any_block().prop_map(Message::Block),
        any_compact_block().prop_map(Message::CmpctBlock),
        any_merkle_block().prop_map(Message::MerkleBlock),
        (any_hash(), vec(any_tx(), 0..6)).prop_map(|(hash, transactions)| {
            Message::BlockTxn(BlockTxn::from_transactions(hash, transactions.iter().map(Tx::as_ref)))
        }),
    ]
}

/// Generates messages of every command in [`COMMON`](peerloop_laws::theirs::COMMON).
pub(crate) fn any_common() -> impl Strategy<Value = Message> {
    prop_oneof![1 => any_empty(), 2 => any_small(), 6 => any_list(), 4 => any_of_transactions()]
}
