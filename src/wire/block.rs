//! `block`: a block's header and its transactions. The transactions are read only on request.
//!
//! A block in memory is a [`BlockRef`]. [`BlockStreamParser`](super::BlockStreamParser) reads a block that arrives in
//! pieces or is larger than memory.

use super::codec::Reader;
use super::hash::Hash256;
use super::headers::BlockHeader;
use super::list::List;
use super::merkle::MerkleFrontier;
use super::transaction::{TxListRef, TxRef};
use crate::error::WireError;
use crate::protocol::CommandName;

/// A borrowed `block` message (SV Node 1.2.2, primitives/block.h CBlock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef<'a> {
    /// The header.
    pub header: BlockHeader,
    /// The transactions, not read yet.
    pub transactions: TxListRef<'a>,
}

/// An owned `block` message.
///
/// ```
/// use peerloop::wire::{Block, BlockHeader, BlockRef, Hash256, MerkleVerdict, Tx, TxInRef, TxOutRef};
///
/// let input = TxInRef { prev_txid: Hash256::ZERO, prev_index: u32::MAX, script: b"height", sequence: u32::MAX };
/// let coinbase = Tx::from_parts(1, &[input], &[TxOutRef { value: 5_000_000_000, script: &[0x51] }], 0);
/// let merkle_root = coinbase.as_ref().txid();
/// let header = BlockHeader { version: 1, prev_hash: Hash256::ZERO, merkle_root, time: 0, bits: 1, nonce: 0 };
/// let mut payload = Vec::new();
/// Block::from_parts(header, [coinbase.as_ref()]).as_ref().encode(&mut payload);
///
/// let block = BlockRef::decode(&payload)?;
/// assert_eq!(block.hash(), header.hash());
/// assert_eq!(block.merkle_tree()?.verdict(block.header.merkle_root), MerkleVerdict::Valid);
/// for tx in block.transactions {
///     assert!(tx?.is_coinbase());
/// }
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    header: BlockHeader,
    transactions: List<TxRef<'static>>,
}

impl<'a> BlockRef<'a> {
    /// Reads the header and the transaction count of a `block`. The transactions are checked by [`BlockRef::validate`]
    /// or during iteration.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside the header or is too short for its transaction count,
    /// [`WireError::NonCanonicalSize`] or [`WireError::OverlongSize`] if the count is invalid.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::BLOCK, payload);
        let header = BlockHeader::read(&mut reader)?;
        Ok(Self { header, transactions: TxListRef::read(CommandName::BLOCK, &mut reader)? })
    }

    /// Appends the payload, without the bytes after the last transaction. If a transaction is invalid, all bytes are
    /// appended.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.encode());
        self.transactions.encode(out);
    }

    /// Reads all transactions.
    ///
    /// # Errors
    ///
    /// The error of [`TxRef::decode`] for the first invalid transaction.
    pub fn validate(&self) -> Result<(), WireError> {
        self.transactions.validate()
    }

    /// Returns the block hash: the hash of its header.
    pub fn hash(&self) -> Hash256 {
        self.header.hash()
    }

    /// Computes the Merkle tree over all transactions; compare its root with the header's.
    ///
    /// # Errors
    ///
    /// The error of [`TxRef::decode`] for the first invalid transaction.
    pub fn merkle_tree(&self) -> Result<MerkleFrontier, WireError> {
        self.transactions.iter().map(|tx| tx.map(|tx| tx.txid())).collect()
    }

    /// Returns the owned message, with a copy of the transactions.
    pub fn into_owned(self) -> Block {
        Block { header: self.header, transactions: self.transactions.to_list() }
    }
}

impl Block {
    /// Returns the block with this header and these transactions. The header's Merkle root is used as given.
    pub fn from_parts<'a>(header: BlockHeader, transactions: impl IntoIterator<Item = TxRef<'a>>) -> Self {
        Self { header, transactions: List::of(transactions, |tx, out| tx.encode(out)) }
    }

    /// Borrows the message.
    pub fn as_ref(&self) -> BlockRef<'_> {
        BlockRef { header: self.header, transactions: TxListRef::of(CommandName::BLOCK, &self.transactions) }
    }
}
