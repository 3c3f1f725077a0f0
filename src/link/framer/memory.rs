//! The memory that the framers of one loop share, and its bound.
//!
//! There are two kinds of buffers, so that odd-sized messages do not fragment the heap. A payload of up to
//! [`MAX_POOLED_BUFFER_BYTES`] uses a small buffer from the pool. A longer payload moves to a large buffer of at least
//! [`BUFFER_GROWTH_BYTES`] when it outgrows a small one. An allocator can map large buffers separately, and return them
//! to the system when they are freed. In a mapped buffer only written pages cost memory, so a large buffer counts as no
//! more than its payload's length.

use super::partial::{Body, Fate, Partial, Progress};
use crate::limits::{BUFFER_GROWTH_BYTES, MAX_LARGE_BUFFERS, MAX_POOLED_BUFFER_BYTES, MAX_POOLED_BUFFERS};
use crate::link::send_queue::BufferPool;
use crate::time::Instant;
use crate::wire::header::{MAX_ONE_BLOCK_BYTES, checksum, checksum_of_hash};
use crate::wire::{Hash256, Header};
use sha2::{Digest, Sha256};
use std::mem;

/// Memory shared by the framers of one loop: pooled buffers, and the count of buffered bytes.
#[derive(Debug)]
pub struct FramerMemory {
    buffers: BufferPool,
    /// Unused buffers of [`BUFFER_GROWTH_BYTES`], kept so that a busy loop need not map memory.
    large: Vec<Vec<u8>>,
    /// Unused records of incomplete frames. They are boxed, because a link's row has room only for a pointer.
    #[expect(clippy::vec_box, reason = "the boxes are moved back into rows")]
    partials: Vec<Box<Partial>>,
    gathered_bytes: u64,
    max_gathered_bytes: u64,
    /// The last whole payload's hash, for payloads longer than one block of SHA-256. The hash is stored here, because
    /// storing it in each frame would slow down every ping.
    hash: Hash256,
}

impl FramerMemory {
    /// Returns memory in which at most `max_gathered_bytes` of large payloads are buffered at once. Payloads of up
    /// to [`MAX_POOLED_BUFFER_BYTES`] are not counted, so that one peer's large payloads cannot displace another's
    /// small ones.
    pub fn new(max_gathered_bytes: u64) -> Self {
        Self {
            buffers: BufferPool::default(),
            large: Vec::new(),
            partials: Vec::new(),
            gathered_bytes: 0,
            max_gathered_bytes,
            hash: Hash256::ZERO,
        }
    }

    /// Returns the checksum of a whole payload.
    #[inline]
    pub(super) fn checksum(&mut self, payload: &[u8]) -> [u8; 4] {
        if payload.len() <= MAX_ONE_BLOCK_BYTES {
            return checksum(payload);
        }
        self.hash = Hash256::of(payload);
        checksum_of_hash(&self.hash)
    }

    /// Returns the last whole payload's hash; `header` must be its frame's header. Returns `None` for a frame without
    /// a checksum, and for a payload of up to 55 bytes.
    pub fn hash_of_last(&self, header: &Header) -> Option<Hash256> {
        let is_kept = header.payload_len > MAX_ONE_BLOCK_BYTES as u64 && !header.is_extended();
        debug_assert!(
            !is_kept || header.checksum == Some(checksum_of_hash(&self.hash)),
            "the header is not that of the last frame"
        );
        is_kept.then_some(self.hash)
    }

    /// Changes the bound. Frees no buffer. While the count exceeds the bound, no large buffer is allocated or enlarged.
    pub fn set_gathered_max_bytes(&mut self, max_gathered_bytes: u64) {
        self.max_gathered_bytes = max_gathered_bytes;
    }

    /// Returns the number of bytes held for incomplete large frames.
    pub fn gathered_bytes(&self) -> u64 {
        self.gathered_bytes
    }

    /// Returns the number of bytes kept for reuse.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let partials: usize =
            self.partials.iter().map(|partial| size_of::<Partial>() + partial.gathered.capacity()).sum();
        let large: usize = self.large.iter().map(Vec::capacity).sum();
        self.buffers.held_bytes()
            + large
            + partials
            + self.large.capacity() * size_of::<Vec<u8>>()
            + self.partials.capacity() * size_of::<Box<Partial>>()
    }

    /// Returns the pool of small buffers.
    #[cfg(feature = "internals")]
    pub fn buffers(&mut self) -> &mut BufferPool {
        &mut self.buffers
    }

    /// Returns a payload's buffer to its pool. Frees the buffer if its size fits neither pool, or if its pool is full.
    pub fn recycle(&mut self, mut payload: Vec<u8>) {
        if payload.capacity() != BUFFER_GROWTH_BYTES {
            self.buffers.put(payload);
        } else if self.large.len() < MAX_LARGE_BUFFERS {
            payload.clear();
            self.large.push(payload);
        }
    }

    /// Makes room for `more` bytes after the `received` ones in `gathered`. Returns `false` if the bound forbids it.
    pub(super) fn reserve(&mut self, gathered: &mut Vec<u8>, received: u64, more: usize, payload_len: u64) -> bool {
        if gathered.capacity() as u64 - received >= more as u64 {
            return true;
        }
        if payload_len <= MAX_POOLED_BUFFER_BYTES as u64 {
            // Every small buffer gets the full capacity, so it need not be enlarged when it is reused.
            gathered.reserve_exact(MAX_POOLED_BUFFER_BYTES - gathered.len());
            return true;
        }
        let left = payload_len - received;
        let target = received + left.min(more.max(BUFFER_GROWTH_BYTES) as u64);
        let charge = target - charged(gathered, payload_len);
        if self.gathered_bytes + charge > self.max_gathered_bytes {
            return false;
        }
        self.gathered_bytes -= charged(gathered, payload_len);
        if gathered.capacity() > MAX_POOLED_BUFFER_BYTES {
            gathered.reserve_exact(target as usize - gathered.len());
        } else {
            // A small buffer's bytes are copied, so that the buffer returns to the pool with its capacity unchanged.
            let mut large = self.large(target as usize);
            large.extend_from_slice(&gathered[..received as usize]);
            self.buffers.put(mem::replace(gathered, large));
        }
        self.gathered_bytes += charged(gathered, payload_len);
        true
    }

    /// Returns an empty large buffer with room for `len` bytes.
    fn large(&mut self, len: usize) -> Vec<u8> {
        let pooled = if len <= BUFFER_GROWTH_BYTES { self.large.pop() } else { None };
        pooled.unwrap_or_else(|| Vec::with_capacity(len.max(BUFFER_GROWTH_BYTES)))
    }

    /// Stops counting the buffer of a payload of `payload_len` bytes.
    pub(super) fn release(&mut self, gathered: &Vec<u8>, payload_len: u64) {
        self.gathered_bytes -= charged(gathered, payload_len);
    }

    /// Returns the buffer of an abandoned payload to its pool.
    pub(super) fn abandon(&mut self, gathered: &mut Vec<u8>, payload_len: u64) {
        self.release(gathered, payload_len);
        self.recycle(mem::take(gathered));
    }

    pub(super) fn partial(&mut self, now: Instant) -> Box<Partial> {
        let mut partial = self.partials.pop().unwrap_or_default();
        partial.progress = Progress::new(now);
        partial.gathered = self.buffers.take();
        partial
    }

    pub(super) fn retire(&mut self, mut partial: Box<Partial>) {
        let body = partial.body.take();
        self.abandon(&mut partial.gathered, body.map_or(0, |body| body.header.payload_len));
        partial.head_len = 0;
        if let Some(Body { fate: Fate::Chunks, .. }) = body {
            partial.hasher = Sha256::new();
        }
        if self.partials.len() < MAX_POOLED_BUFFERS {
            self.partials.push(partial);
        }
    }
}

/// Returns the size at which a buffer is counted: 0 for a small buffer, otherwise its capacity, but at most its
/// payload's length.
pub(super) fn charged(gathered: &Vec<u8>, payload_len: u64) -> u64 {
    let capacity = gathered.capacity();
    if capacity > MAX_POOLED_BUFFER_BYTES { payload_len.min(capacity as u64) } else { 0 }
}
