//! Every common message beside the crate `bitcoin`, in whole frames and both ways, and the hashes that blocks and
//! transactions go by.

use crate::values::{COMMON, any_block, any_common, any_compact_block};
use crate::{MAGIC, compare_all, frame_of};
use bitcoin::absolute::LockTime;
use bitcoin::bip152::{self, BlockTransactions, BlockTransactionsRequest, HeaderAndShortIds, PrefilledTransaction};
use bitcoin::consensus::encode::{self, deserialize, serialize};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::p2p::message::{NetworkMessage, RawNetworkMessage};
use bitcoin::p2p::message_blockdata::{GetBlocksMessage, GetHeadersMessage, Inventory};
use bitcoin::p2p::message_bloom::{self, BloomFlags};
use bitcoin::p2p::message_compact_blocks as compact;
use bitcoin::p2p::message_network::{self, RejectReason, VersionMessage};
use bitcoin::p2p::{Address, Magic, ServiceFlags};
use bitcoin::{
    Amount, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Txid,
    Witness, Wtxid, block, transaction,
};
use peerloop::protocol::CommandName;
use peerloop::wire::header::checksum;
use peerloop::wire::{
    BlockHeader, BlockRef, CompactBlock, CompactBlockRef, FilterLoadRef, Hash256, Header, InventoryItem, InventoryKind,
    InventoryRef, LocatorRef, MerkleBlockRef, MessageRef, NetAddress, RejectCode, RejectRef, TxRef, Version, put_frame,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What the crate makes of a payload in a sound frame.
pub(crate) fn decode(command: CommandName, payload: &[u8]) -> Result<NetworkMessage, encode::Error> {
    let mut frame = Vec::new();
    put_frame(MAGIC, command, payload, &mut frame);
    deserialize::<RawNetworkMessage>(&frame).map(RawNetworkMessage::into_payload)
}

/// The frame that the crate writes.
pub(crate) fn frame_of_theirs(message: NetworkMessage) -> Vec<u8> {
    serialize(&RawNetworkMessage::new(Magic::from_bytes(MAGIC), message))
}

/// Our message as a value of the crate, without fields that only this protocol has: `None` for what it has no words
/// for, and for a tree, which it builds or reads but does not let anyone put together.
pub(crate) fn to_theirs(message: &MessageRef<'_>) -> Option<NetworkMessage> {
    Some(match message {
        MessageRef::Version(message) => NetworkMessage::Version(version(message)?),
        MessageRef::Verack => NetworkMessage::Verack,
        MessageRef::SendHeaders => NetworkMessage::SendHeaders,
        MessageRef::GetAddr => NetworkMessage::GetAddr,
        MessageRef::FilterClear => NetworkMessage::FilterClear,
        MessageRef::Mempool(_) => NetworkMessage::MemPool,
        MessageRef::Ping { nonce } => NetworkMessage::Ping(*nonce),
        MessageRef::Pong { nonce } => NetworkMessage::Pong(*nonce),
        MessageRef::SendCmpct(message) => {
            NetworkMessage::SendCmpct(compact::SendCmpct { send_compact: message.announce, version: message.version })
        }
        MessageRef::FeeFilter(message) => NetworkMessage::FeeFilter(message.satoshis_per_1000_bytes),
        MessageRef::Addr(message) => {
            NetworkMessage::Addr(message.iter().map(|entry| (entry.time, address(entry.address))).collect())
        }
        MessageRef::Inv(message) => NetworkMessage::Inv(inventory(message)),
        MessageRef::GetData(message) => NetworkMessage::GetData(inventory(message)),
        MessageRef::NotFound(message) => NetworkMessage::NotFound(inventory(message)),
        MessageRef::GetBlocks(message) => NetworkMessage::GetBlocks(GetBlocksMessage {
            version: message.protocol_version as u32,
            locator_hashes: locator_hashes(message),
            stop_hash: block_hash(message.stop),
        }),
        MessageRef::GetHeaders(message) => NetworkMessage::GetHeaders(GetHeadersMessage {
            version: message.protocol_version as u32,
            locator_hashes: locator_hashes(message),
            stop_hash: block_hash(message.stop),
        }),
        MessageRef::Headers(message) => {
            NetworkMessage::Headers(message.iter().map(|item| header(&item.header)).collect())
        }
        MessageRef::Tx(message) => NetworkMessage::Tx(tx(message)),
        MessageRef::Block(message) => NetworkMessage::Block(whole_block(message)?),
        MessageRef::CmpctBlock(message) => {
            NetworkMessage::CmpctBlock(compact::CmpctBlock { compact_block: compact_block(message)? })
        }
        MessageRef::GetBlockTxn(message) => NetworkMessage::GetBlockTxn(compact::GetBlockTxn {
            txs_request: BlockTransactionsRequest {
                block_hash: block_hash(message.block_hash),
                indexes: message.indexes().map(u64::from).collect(),
            },
        }),
        MessageRef::BlockTxn(message) => NetworkMessage::BlockTxn(compact::BlockTxn {
            transactions: BlockTransactions {
                block_hash: block_hash(message.block_hash),
                transactions: message
                    .transactions
                    .iter()
                    .map(|item| item.ok().map(|item| tx(&item)))
                    .collect::<Option<_>>()?,
            },
        }),
        MessageRef::FilterLoad(message) => NetworkMessage::FilterLoad(filter(message)?),
        MessageRef::FilterAdd(message) => {
            NetworkMessage::FilterAdd(message_bloom::FilterAdd { data: message.element.to_vec() })
        }
        MessageRef::Reject(message) => NetworkMessage::Reject(reject(message)?),
        _ => return None,
    })
}

/// Holds two values of one message against each other.
pub(crate) fn assert_same(ours: &MessageRef<'_>, theirs: &NetworkMessage) -> Result<(), TestCaseError> {
    match (ours, theirs) {
        (MessageRef::MerkleBlock(ours), NetworkMessage::MerkleBlock(theirs)) => {
            prop_assert_eq!(header(&ours.header), theirs.header);
            prop_assert_eq!(ours.tx_count, theirs.txn.num_transactions());
            prop_assert_eq!(&ours.hashes().map(merkle_node).collect::<Vec<_>>(), theirs.txn.hashes());
            prop_assert_eq!(&bits(ours), theirs.txn.bits());
        }
        _ => prop_assert_eq!(to_theirs(ours), Some(theirs.clone())),
    }
    Ok(())
}

/// The flag bits one by one.
fn bits(message: &MerkleBlockRef<'_>) -> Vec<bool> {
    message.flags().iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect()
}

fn version(message: &Version) -> Option<VersionMessage> {
    let sender = message.sender?;
    Some(VersionMessage {
        version: message.protocol_version as u32,
        services: ServiceFlags::from(message.services),
        timestamp: message.time.as_secs(),
        receiver: address(message.receiver),
        sender: address(sender.address),
        nonce: sender.nonce,
        user_agent: text(message.user_agent.as_deref()?)?,
        start_height: message.start_height?,
        relay: message.relay?,
    })
}

fn address(address: NetAddress) -> Address {
    let words = address.ip.as_chunks().0.iter().map(|word| u16::from_be_bytes(*word)).collect::<Vec<_>>();
    Address {
        services: ServiceFlags::from(address.services),
        address: words.try_into().expect("there are eight words"),
        port: address.port,
    }
}

fn inventory(message: &InventoryRef<'_>) -> Vec<Inventory> {
    let item = |InventoryItem { kind, hash }| match kind {
        InventoryKind::TX => Inventory::Transaction(txid(hash)),
        InventoryKind::BLOCK => Inventory::Block(block_hash(hash)),
        InventoryKind::COMPACT_BLOCK => Inventory::CompactBlock(block_hash(hash)),
        InventoryKind(5) => Inventory::WTx(Wtxid::from_byte_array(hash.to_bytes())),
        InventoryKind(0x4000_0001) => Inventory::WitnessTransaction(txid(hash)),
        InventoryKind(0x4000_0002) => Inventory::WitnessBlock(block_hash(hash)),
        InventoryKind(inv_type) => Inventory::Unknown { inv_type, hash: hash.to_bytes() },
    };
    message.iter().map(item).collect()
}

fn locator_hashes(message: &LocatorRef<'_>) -> Vec<BlockHash> {
    message.hashes().map(block_hash).collect()
}

fn header(header: &BlockHeader) -> block::Header {
    block::Header {
        version: block::Version::from_consensus(header.version),
        prev_blockhash: block_hash(header.prev_hash),
        merkle_root: merkle_node(header.merkle_root),
        time: header.time,
        bits: CompactTarget::from_consensus(header.bits),
        nonce: header.nonce,
    }
}

fn tx(tx: &TxRef<'_>) -> Transaction {
    let inputs = tx.inputs().map(|input| TxIn {
        previous_output: OutPoint { txid: txid(input.prev_txid), vout: input.prev_index },
        script_sig: ScriptBuf::from_bytes(input.script.to_vec()),
        sequence: Sequence(input.sequence),
        witness: Witness::new(),
    });
    let outputs = tx.outputs().map(|output| TxOut {
        value: Amount::from_sat(output.value as u64),
        script_pubkey: ScriptBuf::from_bytes(output.script.to_vec()),
    });
    Transaction {
        version: transaction::Version(tx.version()),
        lock_time: LockTime::from_consensus(tx.locktime()),
        input: inputs.collect(),
        output: outputs.collect(),
    }
}

fn whole_block(message: &BlockRef<'_>) -> Option<bitcoin::Block> {
    let txdata = message.transactions.iter().map(|item| item.ok().map(|item| tx(&item))).collect::<Option<_>>()?;
    Some(bitcoin::Block { header: header(&message.header), txdata })
}

/// Positions are distances there.
fn compact_block(message: &CompactBlockRef<'_>) -> Option<HeaderAndShortIds> {
    let mut least = 0;
    let mut prefilled_txs = Vec::new();
    for prefilled in message.prefilled() {
        let idx = u16::try_from(prefilled.index - least).ok()?;
        least = prefilled.index + 1;
        prefilled_txs.push(PrefilledTransaction { idx, tx: tx(&prefilled.tx) });
    }
    let short_ids = message.short_ids.iter().map(|&id| bip152::ShortId::from(id)).collect();
    Some(HeaderAndShortIds { header: header(&message.header), nonce: message.nonce, short_ids, prefilled_txs })
}

fn filter(message: &FilterLoadRef<'_>) -> Option<message_bloom::FilterLoad> {
    let flags = match message.flags {
        0 => BloomFlags::None,
        1 => BloomFlags::All,
        2 => BloomFlags::PubkeyOnly,
        _ => return None,
    };
    let FilterLoadRef { bits, hash_count, tweak, .. } = *message;
    Some(message_bloom::FilterLoad { filter: bits.to_vec(), hash_funcs: hash_count, tweak, flags })
}

fn reject(message: &RejectRef<'_>) -> Option<message_network::Reject> {
    let ccode = match message.code {
        RejectCode::MALFORMED => RejectReason::Malformed,
        RejectCode::INVALID => RejectReason::Invalid,
        RejectCode::OBSOLETE => RejectReason::Obsolete,
        RejectCode::DUPLICATE => RejectReason::Duplicate,
        RejectCode::NONSTANDARD => RejectReason::NonStandard,
        RejectCode::DUST => RejectReason::Dust,
        RejectCode::INSUFFICIENT_FEE => RejectReason::Fee,
        RejectCode::CHECKPOINT => RejectReason::Checkpoint,
        _ => return None,
    };
    Some(message_network::Reject {
        message: text(message.message)?.into(),
        ccode,
        reason: text(message.reason)?.into(),
        hash: sha256d::Hash::from_byte_array(message.hash?),
    })
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn txid(hash: Hash256) -> Txid {
    Txid::from_byte_array(hash.to_bytes())
}

fn block_hash(hash: Hash256) -> BlockHash {
    BlockHash::from_byte_array(hash.to_bytes())
}

fn merkle_node(hash: Hash256) -> TxMerkleNode {
    TxMerkleNode::from_byte_array(hash.to_bytes())
}

#[test]
fn every_common_message_is_the_same_both_ways() {
    let seen = std::cell::RefCell::new(BTreeSet::new());
    compare_all("common messages beside bitcoin", 3_000, any_common(), |message| {
        let ours = message.as_ref();
        let frame = frame_of(&ours);
        let theirs =
            deserialize::<RawNetworkMessage>(&frame).map_err(|error| TestCaseError::fail(error.to_string()))?;
        assert_same(&ours, theirs.payload())?;
        prop_assert_eq!(theirs.magic().to_bytes(), MAGIC);
        prop_assert_eq!(frame_of_theirs(theirs.into_payload()), frame.clone());

        // A tree cannot be put together there, and has a test of its own.
        if let Some(theirs) = to_theirs(&ours) {
            let frame_of_theirs = frame_of_theirs(theirs);
            prop_assert_eq!(&frame_of_theirs, &frame);
            let (header, payload) = frame_of_theirs.split_first_chunk().expect("there is a header");
            let header = Header::decode(header);
            prop_assert_eq!(header.checksum, checksum(payload));
            prop_assert_eq!(MessageRef::decode(header.command, payload), Ok(ours.clone()));
        }
        seen.borrow_mut().insert(ours.command());
        Ok(2)
    });
    assert_eq!(seen.into_inner(), COMMON.into_iter().collect(), "every command was compared");
}

#[test]
fn blocks_and_transactions_have_the_same_names_and_roots() {
    compare_all("hashes beside bitcoin", 256, any_block(), |block| {
        let ours = block.as_ref();
        let theirs = whole_block(&ours).expect("all of it can be said there");
        prop_assert_eq!(block_hash(ours.hash()), theirs.block_hash());
        prop_assert_eq!(ours.hash().to_string(), theirs.block_hash().to_string());
        let root = ours.merkle_tree().expect("it is a whole block").root();
        prop_assert_eq!(root.map(merkle_node), theirs.compute_merkle_root());
        prop_assert!(theirs.check_merkle_root());
        let mut compared = 2;
        for (ours, theirs) in ours.transactions.iter().zip(&theirs.txdata) {
            let ours = ours.expect("it is a whole block");
            prop_assert_eq!(txid(ours.txid()), theirs.compute_txid());
            prop_assert_eq!(ours.is_coinbase(), theirs.is_coinbase());
            compared += 2;
        }
        Ok(compared)
    });
}

#[test]
fn a_compact_block_is_made_of_a_block_in_the_same_way() {
    let prefill = proptest::collection::btree_set(1..8_usize, 0..4);
    compare_all(
        "compact blocks beside bitcoin",
        256,
        (any_block(), any::<u64>(), prefill),
        |(block, nonce, prefill)| {
            let block = block.as_ref();
            let theirs = whole_block(&block).expect("all of it can be said there");
            let prefill: Vec<usize> = prefill.into_iter().filter(|&index| index < theirs.txdata.len()).collect();
            let transactions = block.transactions.iter().map(|tx| tx.expect("it is a whole block"));
            let is_prefilled = |index: u32| index == 0 || prefill.contains(&(index as usize));
            let ours = CompactBlock::from_transactions(block.header, nonce, transactions, is_prefilled);
            let theirs = HeaderAndShortIds::from_block(&theirs, nonce, 1, &prefill);
            prop_assert_eq!(compact_block(&ours.as_ref()), theirs.ok());
            Ok(1)
        },
    );
}

#[test]
fn short_ids_have_the_same_key() {
    compare_all("short ids beside bitcoin", 256, (any_compact_block(), any::<[u8; 32]>()), |(block, id)| {
        let ours = block.as_ref().short_id_key();
        let header = header(&block.as_ref().header);
        let keys = bip152::ShortId::calculate_siphash_keys(&header, block.as_ref().nonce);
        prop_assert_eq!((ours.key().k0, ours.key().k1), keys);
        let theirs = bip152::ShortId::with_siphash_keys(&id, keys);
        prop_assert_eq!(bip152::ShortId::from(ours.short_id(Hash256::from_bytes(id))), theirs);
        Ok(2)
    });
}
