//! The two blocks that all links of a loop share: one receives input, and the other collects replies.
//!
//! A link needs its own memory only for an incomplete message, and for outgoing bytes that the kernel does not accept
//! at once. Its framer holds the message, and its [`SendQueue`](super::send_queue::SendQueue) the outgoing bytes. An
//! idle link owns no such memory.

use crate::bugs::budget;
use crate::limits::{MAX_LENT_BLOCKS, READ_BLOCK_BYTES, WRITE_BLOCK_BYTES};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::mem;

/// The block that links are read into. Only the rest of a partly received payload may be read into its own buffer.
///
/// While the frames in it are delivered, the block is frozen, so that a handler can keep a part of it without a copy.
/// The block is thawed afterwards. If a part was kept, another block is used until the part is dropped: a stream of
/// large parts needs no new memory. At most `MAX_LENT_BLOCKS` are waited for, so as many may be held unused.
#[derive(Debug)]
pub struct ReadBlock {
    bytes: BytesMut,
    /// The blocks of which a part was kept, the oldest first.
    lent: VecDeque<Bytes>,
}

impl ReadBlock {
    /// Returns a zeroed block of [`READ_BLOCK_BYTES`].
    pub fn new() -> Self {
        Self { bytes: zeroed_block(), lent: VecDeque::new() }
    }

    /// Returns the buffer to receive into, which is always the whole block.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Returns the block for reading. Pass it to [`ReadBlock::thaw`] before the next receive.
    pub fn freeze(&mut self) -> Bytes {
        mem::take(&mut self.bytes).freeze()
    }

    /// Restores the block, or replaces it if a part of it was kept.
    pub fn thaw(&mut self, block: Bytes) {
        self.bytes = match block.try_into_mut() {
            Ok(block) => {
                // The parts arrive no longer, or less often, so fewer blocks are needed.
                drop(self.returned());
                block
            }
            Err(block) => {
                let returned = self.returned();
                if self.lent.len() == MAX_LENT_BLOCKS {
                    self.lent.pop_front();
                }
                self.lent.push_back(block);
                returned.unwrap_or_else(zeroed_block)
            }
        };
    }

    /// Removes and returns the oldest lent block if all its parts were dropped.
    fn returned(&mut self) -> Option<BytesMut> {
        let is_returned = self.lent.front()?.is_unique();
        if is_returned { self.lent.pop_front()?.try_into_mut().ok() } else { None }
    }

    /// Returns the allocated memory of the lent blocks in bytes.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.lent.len() * READ_BLOCK_BYTES
    }
}

fn zeroed_block() -> BytesMut {
    BytesMut::zeroed(READ_BLOCK_BYTES)
}

impl Default for ReadBlock {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns whether a part of a block is large enough to be shared. A shared part keeps its whole block alive, so a few
/// thousand small parts could pin hundreds of megabytes. Parts below half of their block are therefore copied, and a
/// shared part pins at most twice its own size.
pub(crate) fn worth_sharing(part_len: usize, block_len: usize) -> bool {
    part_len >= block_len.div_ceil(2)
}

/// The block in which replies are collected while one link's input is parsed.
#[derive(Debug, Default)]
pub struct WriteBlock {
    bytes: Vec<u8>,
    has_ping: bool,
}

impl WriteBlock {
    /// Returns the buffer to append replies to.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns the collected replies.
    pub fn gathered(&self) -> &[u8] {
        &self.bytes
    }

    /// Records that the block holds one of our pings, so that its send time is recorded when the block is written.
    pub(crate) fn note_ping(&mut self) {
        self.has_ping = true;
    }

    /// Returns whether the block holds one of our pings.
    pub(crate) fn has_ping(&self) -> bool {
        self.has_ping
    }

    /// Returns whether another `len` bytes of replies fit. Replies that do not fit are queued.
    pub fn has_room(&self, len: usize) -> bool {
        self.bytes.len() + len <= budget!(ReplyBytes, WRITE_BLOCK_BYTES)
    }

    /// Empties the block and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.has_ping = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unshared_block_is_reused() {
        let mut block = ReadBlock::new();
        let before = block.room().as_ptr();
        let frozen = block.freeze();
        assert_eq!(frozen.len(), READ_BLOCK_BYTES);
        block.thaw(frozen);
        assert_eq!(block.room().as_ptr(), before);
        assert_eq!(block.room().len(), READ_BLOCK_BYTES);
    }

    #[test]
    fn a_block_with_a_kept_part_is_replaced_and_the_part_is_unchanged() {
        let mut block = ReadBlock::new();
        block.room()[..4].copy_from_slice(b"kept");
        let frozen = block.freeze();
        let kept = frozen.slice(..4);
        block.thaw(frozen);
        block.room().fill(0xff);
        assert_eq!(&kept[..], b"kept");
        // A dropped part returns its block.
        let first = kept.as_ptr();
        drop(kept);
        let frozen = block.freeze();
        let second = frozen.slice(..4);
        block.thaw(frozen);
        assert_eq!((block.room().as_ptr(), block.room().len()), (first, READ_BLOCK_BYTES));
        drop(second);
    }

    #[test]
    fn the_number_of_lent_blocks_is_bounded_and_unused_ones_are_freed() {
        let mut block = ReadBlock::new();
        let mut kept = Vec::new();
        for _ in 0..2 * MAX_LENT_BLOCKS {
            let frozen = block.freeze();
            kept.push(frozen.clone());
            block.thaw(frozen);
        }
        assert_eq!(block.lent.len(), MAX_LENT_BLOCKS);
        kept.clear();
        for left in (0..MAX_LENT_BLOCKS).rev() {
            let frozen = block.freeze();
            block.thaw(frozen);
            assert_eq!(block.lent.len(), left);
        }
    }
}
