//! The buffers and queues that all links of a loop share, and the count of waiting bytes.
//!
//! The pool is bounded by its own limits; the bytes that wait are bounded by the limit of each link.

use super::buffers::Buffers;
use super::queue::Queue;
use crate::limits::{MAX_POOLED_BUFFERS, SLICES_PER_WRITE};

/// Small buffers that wait to be used again, and the account of all queues that are made of them.
#[derive(Debug, Default)]
pub struct BufferPool {
    pub(super) buffers: Buffers,
    #[expect(clippy::vec_box, reason = "the boxes go back into rows as they are")]
    queues: Vec<Box<Queue>>,
    /// Queues that were taken and hold something.
    queues_in_use: usize,
    /// Bytes that wait in them.
    pub(super) waiting_bytes: u64,
}

impl BufferPool {
    /// Takes an empty buffer, which owns nothing before its first use. The caller reserves [`MAX_POOLED_BUFFER_BYTES`]
    /// at once, so that it never has to grow again.
    pub fn take(&mut self) -> Vec<u8> {
        self.buffers.take()
    }

    /// Takes a buffer back, to be used again unless it is large or one too many.
    pub fn put(&mut self, buffer: Vec<u8>) {
        self.buffers.put(buffer);
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
        let queues: usize = self.queues.iter().map(|queue| queue.own_bytes()).sum();
        self.buffers.held_bytes() + queues + self.queues.capacity() * size_of::<Box<Queue>>()
    }

    pub(super) fn take_queue(&mut self) -> Box<Queue> {
        self.queues_in_use += 1;
        self.queues.pop().unwrap_or_default()
    }

    /// Takes an empty queue back.
    pub(super) fn put_queue(&mut self, mut queue: Box<Queue>) {
        self.queues_in_use -= 1;
        if queue.reset() <= SLICES_PER_WRITE && self.queues.len() < MAX_POOLED_BUFFERS {
            self.queues.push(queue);
        }
    }
}
