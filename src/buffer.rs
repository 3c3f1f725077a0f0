//! The bytes between the kernel and the messages: one read block, one write block, and queues that exist while needed.
//!
//! All links are read into the same [`ReadBlock`] and answer through the same [`WriteBlock`]; only what the kernel or
//! the peer does not take at once costs memory of its own, in a [`SendQueue`] made of pooled buffers. An idle link
//! owns none. Of messages nothing here knows more than where they end, of sockets and time nothing, and nothing grows
//! without a limit that its caller enforces.

mod queue;

pub use queue::SendQueue;
pub(crate) use queue::frame_boundary;

use crate::bugs::{self, Budget};
use crate::limits::{
    POOLED_BUFFER_MAX_BYTES, POOLED_BUFFERS_MAX, READ_BLOCK_BYTES, SLICES_PER_WRITE, WRITE_BLOCK_BYTES,
};
use bytes::{Bytes, BytesMut};
use queue::Queue;
use std::mem;

/// The block that every link is read into.
///
/// It is frozen while its frames are delivered, so that a handler can keep a part of it without a copy, and thawed
/// afterwards. Only if something was kept is the block given up and a new one made.
#[derive(Debug)]
pub struct ReadBlock {
    bytes: BytesMut,
}

impl ReadBlock {
    /// A zeroed block of [`READ_BLOCK_BYTES`].
    pub fn new() -> Self {
        Self { bytes: BytesMut::zeroed(READ_BLOCK_BYTES) }
    }

    /// The room to receive into, always the whole block.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The block for reading; it has to come back through [`ReadBlock::thaw`] before there is room again.
    pub fn freeze(&mut self) -> Bytes {
        mem::take(&mut self.bytes).freeze()
    }

    /// Takes the block back, or makes a new one if a part of it was kept.
    pub fn thaw(&mut self, block: Bytes) {
        self.bytes = block.try_into_mut().unwrap_or_else(|_| BytesMut::zeroed(READ_BLOCK_BYTES));
    }
}

impl Default for ReadBlock {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a part of a block is large enough to be shared. A kept slice keeps its whole block alive, so a smaller one
/// is copied: otherwise a few kept inventories would pin hundreds of megabytes. What is shared holds at most twice what
/// it is.
pub(crate) fn worth_sharing(part_len: usize, block_len: usize) -> bool {
    part_len >= block_len.div_ceil(2)
}

/// The block in which replies are gathered while one link's input is parsed.
#[derive(Debug, Default)]
pub struct WriteBlock {
    bytes: Vec<u8>,
    has_ping: bool,
}

impl WriteBlock {
    /// Where replies are appended.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was gathered.
    pub fn gathered(&self) -> &[u8] {
        &self.bytes
    }

    /// A ping of ours is among what was gathered: the moment of its write counts.
    pub(crate) fn note_ping(&mut self) {
        self.has_ping = true;
    }

    /// Whether a ping of ours is among what was gathered.
    pub(crate) fn has_ping(&self) -> bool {
        self.has_ping
    }

    /// Whether another `len` bytes may be gathered before the rest has to queue.
    pub fn has_room(&self, len: usize) -> bool {
        self.bytes.len() + len <= bugs::shrunk(Budget::ReplyBytes, WRITE_BLOCK_BYTES)
    }

    /// Empties the block and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.has_ping = false;
    }
}

/// Small buffers that wait to be used again, and the account of all queues that are made of them.
#[derive(Debug, Default)]
pub struct BufferPool {
    buffers: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "the boxes go back into rows as they are")]
    queues: Vec<Box<Queue>>,
    /// Queues that were taken and hold something.
    queues_in_use: usize,
    /// Bytes that wait in them.
    waiting_bytes: u64,
}

impl BufferPool {
    /// An empty buffer, which owns nothing before its first use. Users give it room for [`POOLED_BUFFER_MAX_BYTES`] at
    /// once, so that it never has to grow again.
    pub fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Takes a buffer back; one that has grown large, or is one too many, is freed, and one that owns nothing takes no
    /// place.
    pub fn put(&mut self, mut buffer: Vec<u8>) {
        let is_pooled = (1..=POOLED_BUFFER_MAX_BYTES).contains(&buffer.capacity());
        if is_pooled && self.buffers.len() < POOLED_BUFFERS_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Send queues that hold something.
    pub fn queues_in_use(&self) -> usize {
        self.queues_in_use
    }

    /// Bytes that wait in all send queues.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Bytes of all buffers and queues that wait to be used again.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let buffers: usize = self.buffers.iter().map(Vec::capacity).sum();
        let queues: usize = self.queues.iter().map(|queue| queue.own_bytes()).sum();
        buffers
            + queues
            + self.buffers.capacity() * size_of::<Vec<u8>>()
            + self.queues.capacity() * size_of::<Box<Queue>>()
    }

    fn take_queue(&mut self) -> Box<Queue> {
        self.queues_in_use += 1;
        self.queues.pop().unwrap_or_default()
    }

    /// Takes an empty queue back.
    fn put_queue(&mut self, mut queue: Box<Queue>) {
        self.queues_in_use -= 1;
        if queue.reset() <= SLICES_PER_WRITE && self.queues.len() < POOLED_BUFFERS_MAX {
            self.queues.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_which_nothing_is_kept_is_the_same_block_again() {
        let mut block = ReadBlock::new();
        let before = block.room().as_ptr();
        let frozen = block.freeze();
        assert_eq!(frozen.len(), READ_BLOCK_BYTES);
        block.thaw(frozen);
        assert_eq!(block.room().as_ptr(), before);
        assert_eq!(block.room().len(), READ_BLOCK_BYTES);
    }

    #[test]
    fn a_block_of_which_a_part_is_kept_is_replaced_and_the_part_is_unchanged() {
        let mut block = ReadBlock::new();
        block.room()[..4].copy_from_slice(b"kept");
        let frozen = block.freeze();
        let kept = frozen.slice(..4);
        block.thaw(frozen);
        block.room().fill(0xff);
        assert_eq!(&kept[..], b"kept");
        drop(kept);
        let frozen = block.freeze();
        block.thaw(frozen);
        assert_eq!(block.room().len(), READ_BLOCK_BYTES);
    }

    #[test]
    fn an_empty_queue_owns_nothing() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        queue.push_copy(b"", &mut pool);
        queue.push_shared(Bytes::new(), &mut pool);
        assert!(queue.is_empty());
        queue.push_copy(b"ping", &mut pool);
        assert!(!queue.is_empty());
        queue.advance(4, &mut pool);
        assert!(queue.is_empty());
        assert_eq!(size_of::<SendQueue>(), 8);
    }

    #[test]
    fn the_pool_keeps_no_large_buffer_and_not_too_many() {
        let mut pool = BufferPool::default();
        pool.put(Vec::with_capacity(POOLED_BUFFER_MAX_BYTES + 1));
        assert!(pool.buffers.is_empty());
        for _ in 0..POOLED_BUFFERS_MAX + 1 {
            pool.put(Vec::with_capacity(1));
        }
        assert_eq!(pool.buffers.len(), POOLED_BUFFERS_MAX);
    }

    #[test]
    fn a_buffer_that_owns_nothing_takes_no_place_in_the_pool() {
        let mut pool = BufferPool::default();
        pool.put(Vec::new());
        assert!(pool.buffers.is_empty());
    }

    #[test]
    fn a_queue_of_small_frames_gives_all_its_buffers_back_to_the_pool() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        for _ in 0..3 {
            queue.push_copy(&[0; 3_000], &mut pool);
            queue.push_copy(&[0; 1_000], &mut pool);
        }
        queue.advance(12_000, &mut pool);
        let capacities: Vec<usize> = pool.buffers.iter().map(Vec::capacity).collect();
        assert_eq!(capacities, [POOLED_BUFFER_MAX_BYTES; 3]);
    }
}
