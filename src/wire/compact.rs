//! `cmpctblock`, `getblocktxn` and `blocktxn`: compact blocks, requests for their missing transactions, and the
//! replies (BIP 152).
//!
//! A position is sent as a distance: the number of positions between the previous listed position and this one. The
//! first position is sent unchanged. Only this file adds up the distances, and it checks every sum. Callers see only
//! positions, never distances.

use super::codec::{Reader, field, put_compact_size, put_items};
use super::hash::Hash256;
use super::headers::BlockHeader;
use super::list::{Item, Items, List, ListRef};
use super::siphash::SipKey;
use super::transaction::{TxListRef, TxRef};
use crate::error::WireError;
use crate::protocol::CommandName;
use sha2::{Digest, Sha256};
use std::fmt::Debug;
use std::iter::FusedIterator;

/// The length of a short id, in bytes.
pub const SHORT_ID_BYTES: usize = 6;

/// A borrowed `cmpctblock` message (SV Node 1.2.2, blockencodings.h CBlockHeaderAndShortTxIDs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactBlockRef<'a> {
    /// The header.
    pub header: BlockHeader,
    /// The sender's salt for the short ids.
    pub nonce: u64,
    /// The short ids of the transactions that are not prefilled, in the order of the block.
    pub short_ids: &'a [[u8; SHORT_ID_BYTES]],
    prefilled: ListRef<'a, PrefilledTx<'static>>,
}

/// An owned `cmpctblock` message.
///
/// ```
/// use peerloop::wire::compact::SHORT_ID_BYTES;
/// use peerloop::wire::{BlockHeader, CompactBlock, GetBlockTxn, Tx};
/// use std::collections::HashSet;
///
/// let txs: Vec<Tx> = (0..3).map(|locktime| Tx::from_parts(1, &[], &[], locktime)).collect();
/// let header = BlockHeader { bits: 1, ..BlockHeader::decode(&[0; 80]) };
/// let message = CompactBlock::from_transactions(header, 42, txs.iter().map(Tx::as_ref), |index| index == 0);
///
/// // The receiver has the second transaction, and requests the transactions that it lacks.
/// let block = message.as_ref();
/// let key = block.short_id_key();
/// let known: HashSet<[u8; SHORT_ID_BYTES]> = HashSet::from([key.short_id(txs[1].as_ref().txid())]);
/// let prefilled: Vec<u32> = block.prefilled().map(|prefilled| prefilled.index).collect();
/// let others = (0..block.tx_count() as u32).filter(|index| !prefilled.contains(index));
/// let missing = others.zip(block.short_ids).filter(|(_, id)| !known.contains(*id)).map(|(index, _)| index);
/// let request = GetBlockTxn::from_indexes(block.header.hash(), missing);
/// assert_eq!(request.as_ref().indexes().collect::<Vec<_>>(), [2]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactBlock {
    header: BlockHeader,
    nonce: u64,
    short_ids: Box<[[u8; SHORT_ID_BYTES]]>,
    prefilled: List<PrefilledTx<'static>>,
}

/// A transaction that the sender expects the receiver to lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefilledTx<'a> {
    /// The position in the block.
    pub index: u32,
    /// The transaction.
    pub tx: TxRef<'a>,
}

/// A transaction of a compact block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompactTx<'a> {
    /// It is prefilled.
    Whole(TxRef<'a>),
    /// It has this short id.
    Named([u8; SHORT_ID_BYTES]),
}

/// The transactions of a compact block, by their positions.
#[derive(Clone, Debug)]
pub(crate) struct CompactTxs<'a> {
    short_ids: &'a [[u8; SHORT_ID_BYTES]],
    /// In the order of the block.
    prefilled: Vec<PrefilledTx<'a>>,
}

/// The prefilled transactions of a `cmpctblock`, read one by one.
pub type PrefilledTxs<'a> = Items<'a, PrefilledTx<'static>>;

/// A hasher for the short ids of one `cmpctblock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortIds {
    key: SipKey,
}

/// A borrowed `getblocktxn` message (SV Node 1.2.2, blockencodings.h BlockTransactionsRequest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetBlockTxnRef<'a> {
    /// The block hash.
    pub block_hash: Hash256,
    indexes: ListRef<'a, BlockIndex>,
}

/// An owned `getblocktxn` message.
///
/// ```
/// use peerloop::wire::{BlockTxn, BlockTxnRef, GetBlockTxn, GetBlockTxnRef, Hash256, Tx};
///
/// let mut payload = Vec::new();
/// GetBlockTxn::from_indexes(Hash256::ZERO, [5, 2, 3]).as_ref().encode(&mut payload);
/// assert_eq!(payload[32..], [3, 2, 0, 1], "the count or a distance is wrong");
///
/// // A reply holds the transactions in the order of the request.
/// let request = GetBlockTxnRef::decode(&payload)?;
/// let txs: Vec<Tx> = request.indexes().map(|index| Tx::from_parts(1, &[], &[], index)).collect();
/// let mut reply = Vec::new();
/// BlockTxn::from_transactions(request.block_hash, txs.iter().map(Tx::as_ref)).as_ref().encode(&mut reply);
/// assert_eq!(BlockTxnRef::decode(&reply)?.transactions.len(), 3);
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetBlockTxn {
    block_hash: Hash256,
    indexes: List<BlockIndex>,
}

/// A position in a block, as listed in a `getblocktxn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlockIndex;

/// A borrowed `blocktxn` message (SV Node 1.2.2, blockencodings.h BlockTransactions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockTxnRef<'a> {
    /// The block hash.
    pub block_hash: Hash256,
    /// The transactions in the order of the request, not decoded yet.
    pub transactions: TxListRef<'a>,
}

/// An owned `blocktxn` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTxn {
    block_hash: Hash256,
    transactions: List<TxRef<'static>>,
}

impl<'a> CompactBlockRef<'a> {
    /// Reads the payload of a `cmpctblock` and finds the end of each prefilled transaction.
    ///
    /// # Errors
    ///
    /// [`WireError::BadValue`] for a message that a node rejects too: a header whose `bits` are zero, no transaction
    /// at all, or a prefilled transaction at a position above the number of short ids plus the number of earlier
    /// prefilled transactions; [`WireError::TooLong`] for a position that does not fit in 32 bits;
    /// [`WireError::Truncated`], [`WireError::NonCanonicalSize`] and [`WireError::OverlongSize`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::CMPCTBLOCK, payload);
        let header = BlockHeader::read(&mut reader)?;
        let nonce = reader.u64()?;
        let short_ids: &[[u8; SHORT_ID_BYTES]] = reader.items()?;
        let prefilled_len = reader.count(PrefilledTx::MIN_BYTES)?;
        if header.bits == 0 || short_ids.len() + prefilled_len == 0 {
            return Err(reader.bad_value());
        }
        let mut most = short_ids.len();
        let prefilled = ListRef::walk_with(&mut reader, prefilled_len, |reader, least| {
            let prefilled = PrefilledTx::read(reader, least)?;
            // Every transaction at a lower position is prefilled or has a short id.
            if prefilled.index as usize > most {
                return Err(reader.bad_value());
            }
            most += 1;
            Ok(())
        })?;
        Ok(Self { header, nonce, short_ids, prefilled })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.encode());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        put_items(self.short_ids, out);
        self.prefilled.encode(out);
    }

    /// Returns the number of transactions in the block, as claimed.
    pub const fn tx_count(&self) -> usize {
        self.short_ids.len() + self.prefilled.len()
    }

    /// Returns the prefilled transactions in the order of the block.
    pub fn prefilled(&self) -> PrefilledTxs<'a> {
        self.prefilled.iter()
    }

    /// Returns all transactions in the order of the block.
    pub(crate) fn transactions(&self) -> impl Iterator<Item = CompactTx<'a>> + use<'a> {
        let (mut prefilled, mut short_ids) = (self.prefilled().peekable(), self.short_ids.iter());
        (0..self.tx_count()).filter_map(move |index| {
            match prefilled.next_if(|prefilled| prefilled.index as usize == index) {
                Some(prefilled) => Some(CompactTx::Whole(prefilled.tx)),
                None => short_ids.next().copied().map(CompactTx::Named),
            }
        })
    }

    /// Reads the prefilled transactions once, so that any transaction can then be found by its position.
    pub(crate) fn by_position(&self) -> CompactTxs<'a> {
        CompactTxs { short_ids: self.short_ids, prefilled: self.prefilled().collect() }
    }

    /// Returns the compact block in which further transactions are prefilled. Their positions ascend, and each has a
    /// short id so far.
    pub(crate) fn with_prefilled(&self, further: &[(u32, TxRef<'_>)]) -> CompactBlock {
        let mut further = further.iter().peekable();
        let (mut short_ids, mut prefilled_len, mut prefilled) = (Vec::new(), 0, Vec::new());
        let mut least = 0;
        for (index, tx) in (0..).zip(self.transactions()) {
            let further = further.next_if(|(position, _)| *position == index).map(|(_, tx)| *tx);
            let whole = match tx {
                CompactTx::Whole(tx) => Some(tx),
                CompactTx::Named(_) => further,
            };
            match (whole, tx) {
                (Some(whole), _) => {
                    prefilled_len += 1;
                    put_compact_size(distance_to(index, &mut least), &mut prefilled);
                    whole.encode(&mut prefilled);
                }
                (None, CompactTx::Named(id)) => short_ids.push(id),
                (None, CompactTx::Whole(_)) => {}
            }
        }
        let prefilled = List::from_encoded(prefilled_len, prefilled.into());
        CompactBlock { header: self.header, nonce: self.nonce, short_ids: short_ids.into(), prefilled }
    }

    /// Returns the hasher for this block's short ids.
    pub fn short_id_key(&self) -> ShortIds {
        ShortIds::new(&self.header, self.nonce)
    }

    /// Returns the owned message, with a copy of the ids and transactions.
    pub fn into_owned(self) -> CompactBlock {
        CompactBlock {
            header: self.header,
            nonce: self.nonce,
            short_ids: self.short_ids.into(),
            prefilled: self.prefilled.into_owned(),
        }
    }
}

impl<'a> CompactTxs<'a> {
    /// Returns the transaction at a position, with a binary search of the prefilled ones.
    pub(crate) fn get(&self, index: u32) -> Option<CompactTx<'a>> {
        let before = self.prefilled.partition_point(|prefilled| prefilled.index < index);
        match self.prefilled.get(before).filter(|prefilled| prefilled.index == index) {
            Some(prefilled) => Some(CompactTx::Whole(prefilled.tx)),
            None => self.short_ids.get(index as usize - before).copied().map(CompactTx::Named),
        }
    }
}

impl CompactBlock {
    /// Returns the compact block in which the transactions selected by `is_prefilled` are prefilled, usually only the
    /// first.
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
        let mut least = 0;
        for (index, tx) in transactions.into_iter().enumerate() {
            let index = u32::try_from(index).expect("a block has at most 2^32 transactions");
            if is_prefilled(index) {
                prefilled_len += 1;
                put_compact_size(distance_to(index, &mut least), &mut prefilled);
                tx.encode(&mut prefilled);
            } else {
                short_ids.push(key.short_id(tx.txid()));
            }
        }
        let prefilled = List::from_encoded(prefilled_len, prefilled.into());
        Self { header, nonce, short_ids: short_ids.into(), prefilled }
    }

    /// Borrows the message.
    pub fn as_ref(&self) -> CompactBlockRef<'_> {
        CompactBlockRef {
            header: self.header,
            nonce: self.nonce,
            short_ids: &self.short_ids,
            prefilled: self.prefilled.as_ref(),
        }
    }
}

impl Item for PrefilledTx<'_> {
    type Read<'a> = PrefilledTx<'a>;
    /// The lowest position that the next item may have.
    type State = u64;

    const MIN_BYTES: usize = 1 + TxRef::MIN_BYTES;
    const COMMAND: CommandName = CommandName::CMPCTBLOCK;
    const START: u64 = 0;

    fn read<'a>(reader: &mut Reader<'a>, least: &mut u64) -> Result<PrefilledTx<'a>, WireError> {
        Ok(PrefilledTx { index: read_index(reader, least)?, tx: TxRef::read(reader)? })
    }
}

impl Item for BlockIndex {
    type Read<'a> = u32;
    /// The lowest position that the next item may have.
    type State = u64;

    const MIN_BYTES: usize = 1;
    const COMMAND: CommandName = CommandName::GETBLOCKTXN;
    const START: u64 = 0;

    fn read(reader: &mut Reader<'_>, least: &mut u64) -> Result<u32, WireError> {
        read_index(reader, least)
    }
}

impl ShortIds {
    /// Returns the hasher for the `cmpctblock` with this header and nonce (SV Node 1.2.2, blockencodings.cpp
    /// FillShortTxIDSelector).
    pub fn new(header: &BlockHeader, nonce: u64) -> Self {
        let mut hasher = Sha256::new_with_prefix(header.encode());
        hasher.update(nonce.to_le_bytes());
        let seed: [u8; 32] = hasher.finalize().into();
        let half = |at: usize| u64::from_le_bytes(field(&seed, at));
        Self { key: SipKey { k0: half(0), k1: half(8) } }
    }

    /// Returns a transaction's short id, in the form of [`CompactBlockRef::short_ids`].
    pub fn short_id(&self, txid: Hash256) -> [u8; SHORT_ID_BYTES] {
        field(&self.key.hash(txid.as_bytes()).to_le_bytes(), 0)
    }

    /// Returns the key.
    #[doc(hidden)]
    pub const fn key(&self) -> SipKey {
        self.key
    }
}

impl<'a> GetBlockTxnRef<'a> {
    /// Reads the payload of a `getblocktxn` and computes each position once, to check it.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] for a position that does not fit in 32 bits, [`WireError::Truncated`] if the payload
    /// ends inside a field or is too short for its position count, [`WireError::NonCanonicalSize`] and
    /// [`WireError::OverlongSize`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::GETBLOCKTXN, payload);
        let block_hash = Hash256::from_bytes(reader.array()?);
        Ok(Self { block_hash, indexes: ListRef::read(&mut reader)? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.block_hash.as_bytes());
        self.indexes.encode(out);
    }

    /// Returns the positions in the block, ascending.
    pub fn indexes(&self) -> impl ExactSizeIterator<Item = u32> + FusedIterator + Clone + Debug + use<'a> {
        self.indexes.iter()
    }

    /// Returns the owned message, with a copy of the positions.
    pub fn into_owned(self) -> GetBlockTxn {
        GetBlockTxn { block_hash: self.block_hash, indexes: self.indexes.into_owned() }
    }
}

impl GetBlockTxn {
    /// Returns the request for the transactions at these positions, each once and in ascending order.
    pub fn from_indexes(block_hash: Hash256, indexes: impl IntoIterator<Item = u32>) -> Self {
        let mut indexes: Vec<u32> = indexes.into_iter().collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut least = 0;
        let distance = |index, out: &mut Vec<u8>| put_compact_size(distance_to(index, &mut least), out);
        Self { block_hash, indexes: List::of(indexes, distance) }
    }

    /// Borrows the message.
    pub fn as_ref(&self) -> GetBlockTxnRef<'_> {
        GetBlockTxnRef { block_hash: self.block_hash, indexes: self.indexes.as_ref() }
    }
}

impl<'a> BlockTxnRef<'a> {
    /// Reads the block hash and the transaction count of a `blocktxn`. The transactions are checked during iteration.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside the hash or is too short for its transaction count,
    /// [`WireError::NonCanonicalSize`] or [`WireError::OverlongSize`] if the count is invalid.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::BLOCKTXN, payload);
        let block_hash = Hash256::from_bytes(reader.array()?);
        Ok(Self { block_hash, transactions: TxListRef::read(CommandName::BLOCKTXN, &mut reader)? })
    }

    /// Appends the payload, without the bytes after the last transaction. If a transaction is invalid, all bytes are
    /// appended.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.block_hash.as_bytes());
        self.transactions.encode(out);
    }

    /// Returns the owned message, with a copy of the transactions.
    pub fn into_owned(self) -> BlockTxn {
        BlockTxn { block_hash: self.block_hash, transactions: self.transactions.to_list() }
    }
}

impl BlockTxn {
    /// Returns the reply with these transactions, which must be in the order of the request.
    pub fn from_transactions<'a>(block_hash: Hash256, transactions: impl IntoIterator<Item = TxRef<'a>>) -> Self {
        Self { block_hash, transactions: List::of(transactions, |tx, out| tx.encode(out)) }
    }

    /// Borrows the message.
    pub fn as_ref(&self) -> BlockTxnRef<'_> {
        let transactions = TxListRef::of(CommandName::BLOCKTXN, &self.transactions);
        BlockTxnRef { block_hash: self.block_hash, transactions }
    }
}

/// Reads a position, which is sent as its distance from `least`, and moves `least` past the position. The position
/// must fit in 32 bits.
fn read_index(reader: &mut Reader<'_>, least: &mut u64) -> Result<u32, WireError> {
    let index = u32::try_from(*least + reader.compact_size()?).map_err(|_| reader.too_long())?;
    *least = u64::from(index) + 1;
    Ok(index)
}

/// Returns the distance of `index` from `least`, and moves `least` past `index`.
const fn distance_to(index: u32, least: &mut u64) -> u64 {
    let distance = index as u64 - *least;
    *least = index as u64 + 1;
    distance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Tx;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_transaction_is_found_by_its_position(
            count in 1..60_u32,
            prefilled in prop::collection::btree_set(0..60_u32, 0..60),
        ) {
            let txs: Vec<Tx> = (0..count).map(|number| Tx::from_parts(1, &[], &[], number)).collect();
            let header = BlockHeader { bits: 1, ..BlockHeader::decode(&[0; 80]) };
            let txs = txs.iter().map(Tx::as_ref);
            let block = CompactBlock::from_transactions(header, 9, txs, |index| prefilled.contains(&index));
            let by_position = block.as_ref().by_position();
            let found: Vec<_> = (0..count).filter_map(|index| by_position.get(index)).collect();
            prop_assert_eq!(found, block.as_ref().transactions().collect::<Vec<_>>());
            prop_assert_eq!([count, u32::MAX].map(|index| by_position.get(index)), [None; 2]);
        }
    }
}
