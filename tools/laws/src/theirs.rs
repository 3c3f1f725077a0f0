//! Converts our messages to types of the crate `bitcoin`, and compares our messages with the crate's.

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
use peerloop::wire::{
    BlockHeader, BlockRef, CompactBlockRef, FilterLoadRef, Hash256, InventoryItem, InventoryKind, InventoryRef,
    LocatorRef, MerkleBlockRef, MessageRef, NetAddress, RejectCode, RejectRef, TxRef, Version, put_frame,
};

/// The magic of the compared frames; any magic would do.
pub const MAGIC: [u8; 4] = [0xe3, 0xe1, 0xf3, 0xe8];

/// The commands that Bitcoin SV's protocol and the crate's protocol share.
pub const COMMON: [CommandName; 26] = [
    CommandName::VERSION,
    CommandName::VERACK,
    CommandName::ADDR,
    CommandName::INV,
    CommandName::GETDATA,
    CommandName::NOTFOUND,
    CommandName::GETBLOCKS,
    CommandName::GETHEADERS,
    CommandName::HEADERS,
    CommandName::TX,
    CommandName::BLOCK,
    CommandName::PING,
    CommandName::PONG,
    CommandName::REJECT,
    CommandName::SENDHEADERS,
    CommandName::FEEFILTER,
    CommandName::MEMPOOL,
    CommandName::GETADDR,
    CommandName::MERKLEBLOCK,
    CommandName::FILTERLOAD,
    CommandName::FILTERADD,
    CommandName::FILTERCLEAR,
    CommandName::SENDCMPCT,
    CommandName::CMPCTBLOCK,
    CommandName::GETBLOCKTXN,
    CommandName::BLOCKTXN,
];

/// Puts a payload into a valid frame, and decodes the frame with the crate.
pub fn decode(command: CommandName, payload: &[u8]) -> Result<NetworkMessage, encode::Error> {
    let mut frame = Vec::new();
    put_frame(MAGIC, command, payload, &mut frame);
    deserialize::<RawNetworkMessage>(&frame).map(RawNetworkMessage::into_payload)
}

/// Encodes one of the crate's messages as a frame, with the crate.
pub fn frame_of_theirs(message: NetworkMessage) -> Vec<u8> {
    serialize(&RawNetworkMessage::new(Magic::from_bytes(MAGIC), message))
}

/// Converts our message to a value of the crate, without the fields that only Bitcoin SV has. Returns `None` if the
/// crate cannot represent the message, if one of its transactions does not decode, and for `merkleblock`, which the
/// crate cannot assemble from its parts.
pub fn to_theirs(message: &MessageRef<'_>) -> Option<NetworkMessage> {
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

/// Asserts that `ours` and `theirs` are the same message, apart from the fields that only Bitcoin SV has.
pub fn assert_same(ours: &MessageRef<'_>, theirs: &NetworkMessage) {
    match (ours, theirs) {
        (MessageRef::MerkleBlock(ours), NetworkMessage::MerkleBlock(theirs)) => {
            assert_eq!(header(&ours.header), theirs.header);
            assert_eq!(ours.tx_count, theirs.txn.num_transactions());
            assert_eq!(&ours.hashes().map(merkle_node).collect::<Vec<_>>(), theirs.txn.hashes());
            assert_eq!(&bits(ours), theirs.txn.bits());
        }
        _ => assert_eq!(to_theirs(ours), Some(theirs.clone())),
    }
}

/// Returns the bits of the flags, beginning with the lowest bit of the first byte.
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

/// Converts a header.
pub fn header(header: &BlockHeader) -> block::Header {
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

/// Converts a block. Returns `None` if one of its transactions does not decode.
pub fn whole_block(message: &BlockRef<'_>) -> Option<bitcoin::Block> {
    let txdata = message.transactions.iter().map(|item| item.ok().map(|item| tx(&item))).collect::<Option<_>>()?;
    Some(bitcoin::Block { header: header(&message.header), txdata })
}

/// Converts a compact block. The crate stores a prefilled transaction's position as the number of positions between it
/// and the previous prefilled transaction. Returns `None` if such a number does not fit in 16 bits.
pub fn compact_block(message: &CompactBlockRef<'_>) -> Option<HeaderAndShortIds> {
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

/// Converts a transaction's id.
pub fn txid(hash: Hash256) -> Txid {
    Txid::from_byte_array(hash.to_bytes())
}

/// Converts a block's hash.
pub fn block_hash(hash: Hash256) -> BlockHash {
    BlockHash::from_byte_array(hash.to_bytes())
}

/// Converts the hash of a node in a Merkle tree.
pub fn merkle_node(hash: Hash256) -> TxMerkleNode {
    TxMerkleNode::from_byte_array(hash.to_bytes())
}

/// Encodes our message's payload.
pub fn payload_of(message: &MessageRef<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    message.encode_payload(&mut payload);
    payload
}
