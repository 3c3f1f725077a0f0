//! The buffers and queues that all links of a loop share, and the count of waiting bytes.
//!
//! The pool limits only the memory that it keeps for reuse. It never limits waiting bytes; each link has a limit for
//! these.

use super::buffers::Buffers;
use super::queue::Queue;
use crate::limits::{MAX_POOLED_BUFFERS, SLICES_PER_WRITE};

/// Small buffers and empty queues kept for reuse, and the totals of all queues in use.
#[derive(Debug, Default)]
pub struct BufferPool {
    pub(super) buffers: Buffers,
    #[expect(clippy::vec_box, reason = "a link holds its queue in a box, and the pool reuses the box")]
    queues: Vec<Box<Queue>>,
    /// The number of non-empty queues.
    queues_in_use: usize,
    /// The number of waiting bytes in these queues.
    pub(super) waiting_bytes: u64,
}

impl BufferPool {
    /// Returns an empty buffer: a kept one, or a new one that owns no memory yet.
    pub fn take(&mut self) -> Vec<u8> {
        self.buffers.take()
    }

    /// Keeps a buffer for reuse, or frees it if it is large or the pool is full.
    pub fn put(&mut self, buffer: Vec<u8>) {
        self.buffers.put(buffer);
    }

    /// Returns the number of non-empty send queues.
    pub fn queues_in_use(&self) -> usize {
        self.queues_in_use
    }

    /// Returns the number of waiting bytes in all send queues.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Returns the number of bytes of all buffers and queues kept for reuse.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let queues: usize = self.queues.iter().map(|queue| queue.own_bytes()).sum();
        self.buffers.held_bytes() + queues + self.queues.capacity() * size_of::<Box<Queue>>()
    }

    pub(super) fn take_queue(&mut self) -> Box<Queue> {
        self.queues_in_use += 1;
        self.queues.pop().unwrap_or_default()
    }

    /// Keeps an emptied queue for reuse, or frees it if its segment list is large or the pool is full.
    pub(super) fn put_queue(&mut self, mut queue: Box<Queue>) {
        self.queues_in_use -= 1;
        if queue.reset() <= SLICES_PER_WRITE && self.queues.len() < MAX_POOLED_BUFFERS {
            self.queues.push(queue);
        }
    }
}
