//! Small buffers kept for reuse.
//!
//! Their number and their size are bounded. A buffer may be reused for any content.

use crate::limits::{MAX_POOLED_BUFFER_BYTES, MAX_POOLED_BUFFERS};

/// At most [`MAX_POOLED_BUFFERS`] empty buffers of at most [`MAX_POOLED_BUFFER_BYTES`] each.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    buffers: Vec<Vec<u8>>,
}

impl Buffers {
    /// Returns an empty buffer: a kept one, or a new one that owns no memory yet.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Keeps a buffer for reuse. Frees it if it is too large or the pool is full, and ignores it if it owns no
    /// memory.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        let is_pooled = (1..=MAX_POOLED_BUFFER_BYTES).contains(&buffer.capacity());
        if is_pooled && self.buffers.len() < MAX_POOLED_BUFFERS {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Returns the capacity of each kept buffer.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> Vec<usize> {
        self.buffers.iter().map(Vec::capacity).collect()
    }

    /// Returns the memory of all kept buffers and of the list that holds them, in bytes.
    #[cfg(feature = "sim")]
    pub(super) fn held_bytes(&self) -> usize {
        let held: usize = self.buffers.iter().map(Vec::capacity).sum();
        held + self.buffers.capacity() * size_of::<Vec<u8>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_a_bounded_number_of_small_buffers() {
        let mut buffers = Buffers::default();
        buffers.put(Vec::with_capacity(MAX_POOLED_BUFFER_BYTES + 1));
        assert!(buffers.buffers.is_empty());
        for _ in 0..MAX_POOLED_BUFFERS + 1 {
            buffers.put(Vec::with_capacity(1));
        }
        assert_eq!(buffers.buffers.len(), MAX_POOLED_BUFFERS);
    }

    #[test]
    fn a_buffer_without_memory_is_not_kept_in_the_pool() {
        let mut buffers = Buffers::default();
        buffers.put(Vec::new());
        assert!(buffers.buffers.is_empty());
    }
}
