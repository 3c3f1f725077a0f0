//! The begin of a block that arrives in parts: its header, whose hash is the block's.
//!
//! Nothing else of the block is kept, so a peer needs 80 bytes for a block of any size.

use crate::api::Chunk;
use crate::wire::{BlockHeader, Hash256};

/// The first bytes of an arriving block, at most its header.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockBegin(Vec<u8>);

impl BlockBegin {
    /// Reads the next part of a block. Returns whether it has completed the header.
    pub(super) fn read(&mut self, chunk: &Chunk<'_>) -> bool {
        if chunk.offset() == 0 {
            self.0.clear();
        }
        let missing = (BlockHeader::LEN_BYTES - self.0.len()).min(chunk.bytes().len());
        self.0.extend_from_slice(&chunk.bytes()[..missing]);
        missing > 0 && self.0.len() == BlockHeader::LEN_BYTES
    }

    /// Returns the block's hash, once its header is complete.
    pub(super) fn hash(&self) -> Option<Hash256> {
        (self.0.len() == BlockHeader::LEN_BYTES).then(|| Hash256::of(&self.0))
    }
}
