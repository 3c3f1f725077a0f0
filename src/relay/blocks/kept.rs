//! The small blocks that are kept in memory, the newest ones, so that they need not be fetched again.
//!
//! Together they retain at most a fixed number of bytes. A block is kept whole or not at all, and shares the memory in
//! which it arrived. Nothing here checks a block: only complete and right ones are inserted.

use crate::relay::offsets::TxOffsets;
use crate::relay::window::Window;
use crate::wire::{Hash256, Header};
use std::collections::{BTreeMap, VecDeque};

/// Maximum number of kept blocks, however small they are.
const MAX_KEPT: usize = 10_000;

/// A whole block.
#[derive(Debug)]
pub(super) struct KeptBlock {
    pub(super) header: Header,
    pub(super) window: Window,
    /// The places of its transactions; empty if it has too many.
    pub(super) offsets: TxOffsets,
}

impl KeptBlock {
    /// Returns the number of bytes that the block retains.
    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.window, &self.offsets)
    }
}

/// Returns the number of bytes that a block retains.
pub(super) fn bytes_of(window: &Window, offsets: &TxOffsets) -> usize {
    window.retained_bytes() + offsets.bytes()
}

/// All kept blocks.
#[derive(Debug)]
pub(in crate::relay) struct Kept {
    max_bytes: usize,
    bytes: usize,
    blocks: BTreeMap<Hash256, KeptBlock>,
    /// The hashes, the oldest first.
    order: VecDeque<Hash256>,
}

impl Kept {
    /// Keeps blocks that together retain at most `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, blocks: BTreeMap::new(), order: VecDeque::new() }
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Returns whether a block that retains this many bytes can be kept.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        bytes <= self.max_bytes
    }

    /// Keeps a block, and drops the oldest ones that no longer fit. A block that is too large is not kept.
    pub(super) fn insert(&mut self, hash: Hash256, block: KeptBlock) {
        let bytes = block.bytes();
        if !self.fits(bytes) || self.blocks.contains_key(&hash) {
            return;
        }
        while self.bytes + bytes > self.max_bytes || self.order.len() == MAX_KEPT {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.blocks.remove(&oldest).map_or(0, |block| block.bytes());
        }
        self.bytes += bytes;
        self.order.push_back(hash);
        self.blocks.insert(hash, block);
    }

    pub(super) fn get(&self, hash: Hash256) -> Option<&KeptBlock> {
        self.blocks.get(&hash)
    }

    /// Returns the number of bytes that the blocks retain.
    pub(in crate::relay) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of blocks.
    pub(in crate::relay) fn len(&self) -> usize {
        self.blocks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CommandName;
    use bytes::Bytes;

    fn block(len_bytes: usize) -> KeptBlock {
        let payload = vec![7; len_bytes];
        let mut window = Window::new(len_bytes as u64);
        window.push(Bytes::from(payload.clone()));
        window.release();
        KeptBlock { header: Header::of(CommandName::BLOCK, &payload), window, offsets: TxOffsets::of_block(1_000, 1) }
    }

    #[test]
    fn the_newest_blocks_that_fit_are_kept() {
        let one = block(1_000).bytes();
        let mut kept = Kept::new(3 * one);
        let hash = |number: u8| Hash256::of(&[number]);
        for number in 0..5 {
            kept.insert(hash(number), block(1_000));
        }
        assert_eq!((kept.len(), kept.bytes()), (3, 3 * one));
        assert!(kept.get(hash(1)).is_none() && kept.get(hash(2)).is_some());
        // One that is too large changes nothing, and so does a second copy.
        for (number, len_bytes) in [(9, 3 * one + 1), (4, 1_000)] {
            kept.insert(hash(number), block(len_bytes));
        }
        assert_eq!((kept.len(), kept.bytes()), (3, 3 * one));
        kept.insert(hash(7), block(2_000));
        assert!(kept.bytes() <= 3 * one && kept.get(hash(7)).is_some() && kept.get(hash(2)).is_none());
    }
}
