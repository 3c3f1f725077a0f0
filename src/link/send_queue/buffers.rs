//! Small buffers that wait for reuse.
//!
//! They are bounded in number and in size, and they know nothing of the bytes that they will hold.

use crate::limits::{MAX_POOLED_BUFFER_BYTES, MAX_POOLED_BUFFERS};

/// At most [`MAX_POOLED_BUFFERS`] empty buffers of at most [`MAX_POOLED_BUFFER_BYTES`] each.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    buffers: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer, which owns nothing before its first use. Users give it room for [`MAX_POOLED_BUFFER_BYTES`] at
    /// once, so that it never has to grow again.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Takes a buffer back; one that has grown large, or is one too many, is freed, and one that owns nothing takes no
    /// place.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        let is_pooled = (1..=MAX_POOLED_BUFFER_BYTES).contains(&buffer.capacity());
        if is_pooled && self.buffers.len() < MAX_POOLED_BUFFERS {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Returns the capacity of each buffer that waits.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> Vec<usize> {
        self.buffers.iter().map(Vec::capacity).collect()
    }

    /// Bytes of all buffers that wait.
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
    fn the_pool_keeps_no_large_buffer_and_not_too_many() {
        let mut buffers = Buffers::default();
        buffers.put(Vec::with_capacity(MAX_POOLED_BUFFER_BYTES + 1));
        assert!(buffers.buffers.is_empty());
        for _ in 0..MAX_POOLED_BUFFERS + 1 {
            buffers.put(Vec::with_capacity(1));
        }
        assert_eq!(buffers.buffers.len(), MAX_POOLED_BUFFERS);
    }

    #[test]
    fn a_buffer_that_owns_nothing_takes_no_place_in_the_pool() {
        let mut buffers = Buffers::default();
        buffers.put(Vec::new());
        assert!(buffers.buffers.is_empty());
    }
}
