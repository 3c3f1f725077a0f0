//! The offsets of a small block's transactions in its payload, so that single ones can be served from memory.
//!
//! They are recorded while the block passes, and only if it has at most [`RELAY_INDEXED_TXS`] transactions. A list
//! without offsets is empty.

use crate::limits::{RELAY_INDEXED_TXS, RELAY_SMALL_BLOCK_BYTES};
use crate::wire::BlockHeader;
use std::ops::Range;

/// The offsets at which the transactions begin, and that of the end of the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TxOffsets(Vec<u32>);

impl TxOffsets {
    /// Returns the maximum number of bytes of a list.
    pub(super) const fn memory_bytes() -> usize {
        (RELAY_INDEXED_TXS as usize + 1) * size_of::<u32>()
    }

    /// Returns the list of a block with a payload of `len_bytes` and this many transactions, before the first one. It
    /// stays empty if the block is too large.
    pub(super) fn of_block(len_bytes: u64, tx_count: u64) -> Self {
        if len_bytes > RELAY_SMALL_BLOCK_BYTES || tx_count > RELAY_INDEXED_TXS {
            return Self::default();
        }
        // A block's count has up to nine bytes.
        let count_bytes = match tx_count {
            0..=0xfc => 1,
            0xfd..=0xffff => 3,
            _ => 5,
        };
        let mut offsets = Vec::with_capacity(tx_count as usize + 1);
        offsets.push(BlockHeader::LEN_BYTES as u32 + count_bytes);
        Self(offsets)
    }

    /// Adds the next transaction.
    pub(super) fn push(&mut self, len_bytes: u64) {
        // The length of a small block fits.
        if let Some(&begin) = self.0.last() {
            self.0.push(begin.saturating_add(u32::try_from(len_bytes).unwrap_or(u32::MAX)));
        }
    }

    /// Returns the place of a transaction in the payload.
    pub(super) fn range(&self, index: u32) -> Option<Range<u64>> {
        let [begin, end] = self.0.get(index as usize..)?.first_chunk()?;
        Some(u64::from(*begin)..u64::from(*end))
    }

    /// Returns the number of transactions.
    pub(super) fn len(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Returns the number of bytes that the list uses.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transaction_has_its_place() {
        let mut offsets = TxOffsets::of_block(1_000, 3);
        [10, 20, 30].into_iter().for_each(|len_bytes| offsets.push(len_bytes));
        let ranges: Vec<_> = (0..4).map(|index| offsets.range(index)).collect();
        assert_eq!(ranges, [Some(81..91), Some(91..111), Some(111..141), None]);
        assert_eq!((offsets.len(), offsets.bytes()), (3, 16));
        assert_eq!(TxOffsets::of_block(1_000, 253).range(0), None);
        for (len_bytes, tx_count) in [(RELAY_SMALL_BLOCK_BYTES + 1, 3), (1_000, RELAY_INDEXED_TXS + 1)] {
            let mut large = TxOffsets::of_block(len_bytes, tx_count);
            large.push(10);
            assert_eq!((large.len(), large.range(0), large.bytes()), (0, None, 0));
        }
    }
}
