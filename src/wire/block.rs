//! `block`: a header and its transactions, of which none is read before it is asked for.
//!
//! A block in memory is a [`BlockRef`]; one that comes in pieces, or is larger than memory, goes through
//! [`BlockStreamParser`](super::BlockStreamParser).

use super::codec::Reader;
use super::hash::Hash256;
use super::headers::BlockHeader;
use super::list::List;
use super::merkle::MerkleFrontier;
use super::transaction::{TxListRef, TxRef};
use crate::error::WireError;
use crate::protocol::CommandName;

/// The `block` message over the payload that it was read from (SV Node 1.2.2, primitives/block.h CBlock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef<'a> {
    /// The header.
    pub header: BlockHeader,
    /// The transactions, not read yet.
    pub transactions: TxListRef<'a>,
}

/// The `block` message on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    header: BlockHeader,
    transactions: List<TxRef<'static>>,
}

impl<'a> BlockRef<'a> {
    /// Reads the header and the count of a `block`; the transactions are for [`BlockRef::validate`] or whoever
    /// iterates.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if it ends inside the header or cannot hold what it counts,
    /// [`WireError::NonCanonicalSize`] and [`WireError::TooLong`] for the count.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::BLOCK, payload);
        let header = BlockHeader::read(&mut reader)?;
        Ok(Self { header, transactions: TxListRef::read(CommandName::BLOCK, &mut reader)? })
    }

    /// Appends the payload, without what may have followed the last transaction.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.encode());
        self.transactions.encode(out);
    }

    /// Walks over all transactions.
    ///
    /// # Errors
    ///
    /// The error of the first that is broken, as [`TxRef::read`].
    pub fn validate(&self) -> Result<(), WireError> {
        self.transactions.validate()
    }

    /// The name of the block: the hash of its header.
    pub fn hash(&self) -> Hash256 {
        self.header.hash()
    }

    /// Hashes all transactions and the tree over them; compare its root with that of the header.
    ///
    /// # Errors
    ///
    /// The error of the first transaction that is broken, as [`TxRef::read`].
    pub fn merkle_tree(&self) -> Result<MerkleFrontier, WireError> {
        self.transactions.iter().map(|tx| tx.map(|tx| tx.txid())).collect()
    }

    /// The message on its own; copies the transactions.
    pub fn into_owned(self) -> Block {
        Block { header: self.header, transactions: self.transactions.to_list() }
    }
}

impl Block {
    /// The block with this header, which is not changed, and these transactions.
    pub fn from_parts<'a>(header: BlockHeader, transactions: impl IntoIterator<Item = TxRef<'a>>) -> Self {
        Self { header, transactions: List::of(transactions, |tx, out| tx.encode(out)) }
    }

    /// The message, borrowed.
    pub fn as_ref(&self) -> BlockRef<'_> {
        BlockRef { header: self.header, transactions: TxListRef::of(CommandName::BLOCK, &self.transactions) }
    }
}
