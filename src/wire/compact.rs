//! `cmpctblock`, `getblocktxn` and `blocktxn`: a block in short, what is missing of it, and the rest (BIP 152).
//!
//! Positions travel as distances, each counted from behind the one before. They are added up here, once, with every sum
//! checked, so that who reads them sees positions in the block and nothing else.

use super::codec::{Reader, field, put_compact_size, put_items};
use super::hash::Hash256;
use super::headers::BlockHeader;
use super::siphash::SipKey;
use super::transaction::{TxListRef, TxRef};
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::iter::FusedIterator;

/// Bytes of a short id.
pub const SHORT_ID_BYTES: usize = 6;

/// The `cmpctblock` message over the payload that it was read from (SV Node 1.2.2, blockencodings.h
/// CBlockHeaderAndShortTxIDs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactBlockRef<'a> {
    /// The header.
    pub header: BlockHeader,
    /// What the sender salted the short ids with.
    pub nonce: u64,
    /// The short ids of the transactions that are not prefilled, in the order of the block.
    pub short_ids: &'a [[u8; SHORT_ID_BYTES]],
    prefilled_len: usize,
    prefilled: &'a [u8],
}

/// The `cmpctblock` message on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactBlock {
    header: BlockHeader,
    nonce: u64,
    short_ids: Box<[[u8; SHORT_ID_BYTES]]>,
    prefilled_len: usize,
    prefilled: Bytes,
}

/// A transaction that the sender expects the receiver to lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefilledTx<'a> {
    /// The position in the block.
    pub index: u32,
    /// The transaction.
    pub tx: TxRef<'a>,
}

/// The prefilled transactions of a `cmpctblock`, read one by one.
#[derive(Clone, Debug)]
pub struct PrefilledTxs<'a> {
    unread_len: usize,
    positions: Positions,
    reader: Reader<'a>,
}

/// Computes the short ids of one `cmpctblock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortIds {
    key: SipKey,
}

/// The `getblocktxn` message over the payload that it was read from (SV Node 1.2.2, blockencodings.h
/// BlockTransactionsRequest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetBlockTxnRef<'a> {
    /// The name of the block.
    pub block_hash: Hash256,
    len: usize,
    distances: &'a [u8],
}

/// The `getblocktxn` message on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetBlockTxn {
    block_hash: Hash256,
    len: usize,
    distances: Bytes,
}

/// The positions that a `getblocktxn` asks for, read one by one.
#[derive(Clone, Debug)]
pub struct BlockTxnIndexes<'a> {
    unread_len: usize,
    positions: Positions,
    reader: Reader<'a>,
}

/// The `blocktxn` message over the payload that it was read from (SV Node 1.2.2, blockencodings.h BlockTransactions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockTxnRef<'a> {
    /// The name of the block.
    pub block_hash: Hash256,
    /// The transactions in the order in which they were asked for, not read yet.
    pub transactions: TxListRef<'a>,
}

/// The `blocktxn` message on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTxn {
    block_hash: Hash256,
    len: usize,
    transactions: Bytes,
}

/// Adds up distances to positions.
#[derive(Clone, Debug, Default)]
struct Positions {
    least: u64,
}

impl<'a> CompactBlockRef<'a> {
    /// Reads the payload of a `cmpctblock`, and in one pass where each prefilled transaction ends.
    ///
    /// # Errors
    ///
    /// [`WireError::BadValue`] for what a node takes for nonsense: a header without a target, no transaction at all, a
    /// prefilled one at a position that the short ids leave no room for; [`WireError::TooLong`] for a position above
    /// 32 bits; [`WireError::Truncated`] and [`WireError::NonCanonicalSize`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::CMPCTBLOCK, payload);
        let header = BlockHeader::read(&mut reader)?;
        let nonce = reader.u64()?;
        let short_ids: &[[u8; SHORT_ID_BYTES]] = reader.items()?;
        let prefilled_len = reader.count(PrefilledTx::MIN_BYTES)?;
        if header.bits == 0 || short_ids.len() + prefilled_len == 0 {
            return Err(reader.bad_value());
        }
        let behind_count = reader.unread();
        let mut positions = Positions::default();
        for prefilled_before in 0..prefilled_len {
            let prefilled = PrefilledTx::read(&mut reader, &mut positions)?;
            // Everything in front of it is prefilled too or has a short id.
            if prefilled.index as usize > short_ids.len() + prefilled_before {
                return Err(reader.bad_value());
            }
        }
        let prefilled = &behind_count[..behind_count.len() - reader.remaining()];
        Ok(Self { header, nonce, short_ids, prefilled_len, prefilled })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.encode());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        put_items(self.short_ids, out);
        put_compact_size(self.prefilled_len as u64, out);
        out.extend_from_slice(self.prefilled);
    }

    /// The number of transactions in the block, as claimed.
    pub const fn tx_count(&self) -> usize {
        self.short_ids.len() + self.prefilled_len
    }

    /// The prefilled transactions in the order of the block.
    pub fn prefilled(&self) -> PrefilledTxs<'a> {
        PrefilledTxs {
            unread_len: self.prefilled_len,
            positions: Positions::default(),
            reader: Reader::new(CommandName::CMPCTBLOCK, self.prefilled),
        }
    }

    /// What computes the short ids of this block.
    pub fn short_id_key(&self) -> ShortIds {
        ShortIds::new(&self.header, self.nonce)
    }

    /// The message on its own; copies ids and transactions.
    pub fn into_owned(self) -> CompactBlock {
        CompactBlock {
            header: self.header,
            nonce: self.nonce,
            short_ids: self.short_ids.into(),
            prefilled_len: self.prefilled_len,
            prefilled: Bytes::copy_from_slice(self.prefilled),
        }
    }
}

impl CompactBlock {
    /// The block in short, with the transactions that `is_prefilled` picks by their position, usually the first alone.
    ///
    /// # Panics
    ///
    /// If there are more than 2^32 transactions.
    pub fn from_transactions<'a>(
        header: BlockHeader,
        nonce: u64,
        transactions: impl IntoIterator<Item = TxRef<'a>>,
        mut is_prefilled: impl FnMut(u32) -> bool,
    ) -> Self {
        let key = ShortIds::new(&header, nonce);
        let (mut short_ids, mut prefilled_len, mut prefilled) = (Vec::new(), 0, Vec::new());
        let mut positions = Positions::default();
        for (index, tx) in transactions.into_iter().enumerate() {
            let index = u32::try_from(index).expect("a block has at most 2^32 transactions");
            if is_prefilled(index) {
                prefilled_len += 1;
                put_compact_size(positions.distance_to(index), &mut prefilled);
                tx.encode(&mut prefilled);
            } else {
                short_ids.push(key.short_id(tx.txid()));
            }
        }
        Self { header, nonce, short_ids: short_ids.into(), prefilled_len, prefilled: prefilled.into() }
    }

    /// The message, borrowed.
    pub fn as_ref(&self) -> CompactBlockRef<'_> {
        CompactBlockRef {
            header: self.header,
            nonce: self.nonce,
            short_ids: &self.short_ids,
            prefilled_len: self.prefilled_len,
            prefilled: &self.prefilled,
        }
    }
}

impl<'a> PrefilledTx<'a> {
    /// Bytes of the shortest item.
    const MIN_BYTES: usize = 1 + TxRef::MIN_BYTES;

    fn read(reader: &mut Reader<'a>, positions: &mut Positions) -> Result<Self, WireError> {
        Ok(Self { index: positions.read(reader)?, tx: TxRef::read(reader)? })
    }
}

impl ShortIds {
    /// The ids of the `cmpctblock` with this header and nonce (SV Node 1.2.2, blockencodings.cpp
    /// FillShortTxIDSelector).
    pub fn new(header: &BlockHeader, nonce: u64) -> Self {
        let mut hasher = Sha256::new_with_prefix(header.encode());
        hasher.update(nonce.to_le_bytes());
        let seed: [u8; 32] = hasher.finalize().into();
        let half = |at: usize| u64::from_le_bytes(field(&seed, at));
        Self { key: SipKey { k0: half(0), k1: half(8) } }
    }

    /// The short id of a transaction, as it stands in [`CompactBlockRef::short_ids`].
    pub fn short_id(&self, txid: Hash256) -> [u8; SHORT_ID_BYTES] {
        field(&self.key.hash(txid.as_bytes()).to_le_bytes(), 0)
    }

    /// The key.
    pub const fn key(&self) -> SipKey {
        self.key
    }
}

impl<'a> GetBlockTxnRef<'a> {
    /// Reads the payload of a `getblocktxn`, and adds up its positions once.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] for a position above 32 bits, [`WireError::Truncated`] if it ends inside a field or
    /// cannot hold what it counts, [`WireError::NonCanonicalSize`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::GETBLOCKTXN, payload);
        let block_hash = Hash256::from_bytes(reader.array()?);
        let len = reader.count(1)?;
        let behind_count = reader.unread();
        let mut positions = Positions::default();
        for _ in 0..len {
            positions.read(&mut reader)?;
        }
        Ok(Self { block_hash, len, distances: &behind_count[..behind_count.len() - reader.remaining()] })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.block_hash.as_bytes());
        put_compact_size(self.len as u64, out);
        out.extend_from_slice(self.distances);
    }

    /// The positions in the block, ascending.
    pub fn indexes(&self) -> BlockTxnIndexes<'a> {
        BlockTxnIndexes {
            unread_len: self.len,
            positions: Positions::default(),
            reader: Reader::new(CommandName::GETBLOCKTXN, self.distances),
        }
    }

    /// The message on its own; copies the positions.
    pub fn into_owned(self) -> GetBlockTxn {
        GetBlockTxn { block_hash: self.block_hash, len: self.len, distances: Bytes::copy_from_slice(self.distances) }
    }
}

impl GetBlockTxn {
    /// The message that asks for the transactions at these positions, each once and in ascending order.
    pub fn from_indexes(block_hash: Hash256, indexes: impl IntoIterator<Item = u32>) -> Self {
        let mut indexes: Vec<u32> = indexes.into_iter().collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut positions = Positions::default();
        let mut distances = Vec::with_capacity(indexes.len());
        for &index in &indexes {
            put_compact_size(positions.distance_to(index), &mut distances);
        }
        Self { block_hash, len: indexes.len(), distances: distances.into() }
    }

    /// The message, borrowed.
    pub fn as_ref(&self) -> GetBlockTxnRef<'_> {
        GetBlockTxnRef { block_hash: self.block_hash, len: self.len, distances: &self.distances }
    }
}

impl<'a> BlockTxnRef<'a> {
    /// Reads the hash and the count of a `blocktxn`; the transactions are for whoever iterates.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if it ends inside the hash or cannot hold what it counts,
    /// [`WireError::NonCanonicalSize`] and [`WireError::TooLong`] for the count.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::BLOCKTXN, payload);
        let block_hash = Hash256::from_bytes(reader.array()?);
        Ok(Self { block_hash, transactions: TxListRef::read(CommandName::BLOCKTXN, &mut reader)? })
    }

    /// Appends the payload, without what may have followed the last transaction.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.block_hash.as_bytes());
        self.transactions.encode(out);
    }

    /// The message on its own; copies the transactions.
    pub fn into_owned(self) -> BlockTxn {
        let transactions = Bytes::copy_from_slice(self.transactions.encoded());
        BlockTxn { block_hash: self.block_hash, len: self.transactions.len(), transactions }
    }
}

impl BlockTxn {
    /// The answer with these transactions, in the order in which they were asked for.
    pub fn from_transactions<'a>(block_hash: Hash256, transactions: impl IntoIterator<Item = TxRef<'a>>) -> Self {
        let mut len = 0;
        let mut encoded = Vec::new();
        for tx in transactions {
            len += 1;
            tx.encode(&mut encoded);
        }
        Self { block_hash, len, transactions: encoded.into() }
    }

    /// The message, borrowed.
    pub fn as_ref(&self) -> BlockTxnRef<'_> {
        let transactions = TxListRef::from_encoded(CommandName::BLOCKTXN, self.len, &self.transactions);
        BlockTxnRef { block_hash: self.block_hash, transactions }
    }
}

impl Positions {
    /// The next position; it and its distance must fit 32 bits.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<u32, WireError> {
        let index = u32::try_from(self.least + reader.compact_size()?).map_err(|_| reader.too_long())?;
        self.least = u64::from(index) + 1;
        Ok(index)
    }

    /// How the position `index` is written behind the one before.
    fn distance_to(&mut self, index: u32) -> u64 {
        let distance = u64::from(index) - self.least;
        self.least = u64::from(index) + 1;
        distance
    }
}

impl<'a> Iterator for PrefilledTxs<'a> {
    type Item = PrefilledTx<'a>;

    fn next(&mut self) -> Option<PrefilledTx<'a>> {
        self.unread_len = self.unread_len.checked_sub(1)?;
        // All of them were walked once, so none of them fails.
        PrefilledTx::read(&mut self.reader, &mut self.positions).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.unread_len, Some(self.unread_len))
    }
}

impl Iterator for BlockTxnIndexes<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.unread_len = self.unread_len.checked_sub(1)?;
        // All of them were walked once, so none of them fails.
        self.positions.read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.unread_len, Some(self.unread_len))
    }
}

impl ExactSizeIterator for PrefilledTxs<'_> {}
impl ExactSizeIterator for BlockTxnIndexes<'_> {}
impl FusedIterator for PrefilledTxs<'_> {}
impl FusedIterator for BlockTxnIndexes<'_> {}
