//! The memory that the framers of one loop share, and its bound.

use super::partial::{Body, Fate, Partial, Progress};
use crate::buffer::BufferPool;
use crate::limits::{BUFFER_GROWTH_BYTES, POOLED_BUFFER_MAX_BYTES, POOLED_BUFFERS_MAX};
use crate::time::Instant;
use sha2::{Digest, Sha256};
use std::mem;

/// Memory shared by the framers of one loop: pooled buffers, and the account of what they all gather.
#[derive(Debug)]
pub struct FramerMemory {
    buffers: BufferPool,
    /// Records that wait to be used again; boxed because a link's row has room for a pointer only.
    #[expect(clippy::vec_box, reason = "the boxes go back into rows as they are")]
    partials: Vec<Box<Partial>>,
    gathered_bytes: u64,
    gathered_max_bytes: u64,
}

impl FramerMemory {
    /// Memory in which at most `gathered_max_bytes` of large frames are gathered at once. Frames up to
    /// [`POOLED_BUFFER_MAX_BYTES`] are not counted, so that nobody's large frames can push out another's small ones.
    pub fn new(gathered_max_bytes: u64) -> Self {
        Self { buffers: BufferPool::default(), partials: Vec::new(), gathered_bytes: 0, gathered_max_bytes }
    }

    /// Sets another bound; what is gathered above it stays and does not grow.
    pub fn set_gathered_max_bytes(&mut self, gathered_max_bytes: u64) {
        self.gathered_max_bytes = gathered_max_bytes;
    }

    /// Bytes held for large frames that are being gathered.
    pub fn gathered_bytes(&self) -> u64 {
        self.gathered_bytes
    }

    /// Bytes of all that waits to be used again.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let partials: usize =
            self.partials.iter().map(|partial| size_of::<Partial>() + partial.gathered.capacity()).sum();
        self.buffers.held_bytes() + partials + self.partials.capacity() * size_of::<Box<Partial>>()
    }

    /// The pool of small buffers.
    pub fn buffers(&mut self) -> &mut BufferPool {
        &mut self.buffers
    }

    /// Takes a gathered payload back.
    pub fn recycle(&mut self, payload: Vec<u8>) {
        self.buffers.put(payload);
    }

    /// Makes room for `more` bytes after the `received` ones in `gathered`; `false` if the bound does not allow it.
    pub(super) fn reserve(&mut self, gathered: &mut Vec<u8>, received: u64, more: usize, payload_len: u64) -> bool {
        if gathered.capacity() as u64 - received >= more as u64 {
            return true;
        }
        if payload_len <= POOLED_BUFFER_MAX_BYTES as u64 {
            // Every pooled buffer has the same room, so that one kind of frame never has to enlarge another's.
            gathered.reserve_exact(POOLED_BUFFER_MAX_BYTES - gathered.len());
            return true;
        }
        let left = payload_len - received;
        let target = received + left.min(more.max(BUFFER_GROWTH_BYTES) as u64);
        let charge = target - charged(gathered);
        if self.gathered_bytes + charge > self.gathered_max_bytes {
            return false;
        }
        self.gathered_bytes -= charged(gathered);
        gathered.reserve_exact(target as usize - gathered.len());
        self.gathered_bytes += charged(gathered);
        true
    }

    pub(super) fn release(&mut self, gathered: &Vec<u8>) {
        self.gathered_bytes -= charged(gathered);
    }

    /// Takes back a buffer whose payload is given up.
    pub(super) fn abandon(&mut self, gathered: &mut Vec<u8>) {
        self.release(gathered);
        self.buffers.put(mem::take(gathered));
    }

    pub(super) fn partial(&mut self, now: Instant) -> Box<Partial> {
        let mut partial = self.partials.pop().unwrap_or_default();
        partial.progress = Progress::new(now);
        partial.gathered = self.buffers.take();
        partial
    }

    pub(super) fn retire(&mut self, mut partial: Box<Partial>) {
        self.abandon(&mut partial.gathered);
        partial.head_len = 0;
        if let Some(Body { fate: Fate::Stream, .. }) = partial.body.take() {
            partial.hasher = Sha256::new();
        }
        if self.partials.len() < POOLED_BUFFERS_MAX {
            self.partials.push(partial);
        }
    }
}

/// What a buffer counts in the account: nothing while it is small enough for the pool.
fn charged(gathered: &Vec<u8>) -> u64 {
    let capacity = gathered.capacity();
    if capacity > POOLED_BUFFER_MAX_BYTES { capacity as u64 } else { 0 }
}
