//! A segment of a send queue: contiguous bytes, and the kind of their content.
//!
//! Small frames are copied one after another into one segment's pooled buffer. A frame that other links' queues may
//! share is a segment of its own and is not copied. A frame that is too large for a pooled buffer is also a segment of
//! its own. The kind determines where a frame that overtakes others may be inserted.

use super::buffers::Buffers;
use crate::limits::{HEADER_LEN_BYTES, MAX_POOLED_BUFFER_BYTES};
use crate::wire::Header;
use bytes::{Buf, Bytes};

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) memory: Memory,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Memory {
    Pooled(Vec<u8>),
    Shared(Bytes),
}

/// The kind of a segment's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Frames with correct headers. All are whole, except that the last one may be incomplete.
    Frames,
    /// Bytes that are treated as one frame without parsing.
    Frame,
    /// A part of a frame that begins in an earlier segment.
    Rest,
}

impl Segment {
    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.memory {
            Memory::Pooled(bytes) => bytes,
            Memory::Shared(bytes) => bytes,
        }
    }

    /// Drops the first `len` bytes.
    pub(super) fn skip(&mut self, len: usize) {
        match &mut self.memory {
            Memory::Pooled(bytes) => drop(bytes.drain(..len)),
            Memory::Shared(bytes) => bytes.advance(len),
        }
    }

    /// Removes the bytes after the first `len`, and returns them as a segment.
    pub(super) fn split_off(&mut self, len: usize, buffers: &mut Buffers) -> Self {
        let memory = match &mut self.memory {
            Memory::Pooled(bytes) => {
                let behind = pooled_copy(&bytes[len..], buffers);
                bytes.truncate(len);
                behind
            }
            Memory::Shared(bytes) => Memory::Shared(bytes.split_off(len)),
        };
        Self { memory, content: self.content }
    }

    pub(super) fn retire(self, buffers: &mut Buffers) {
        match self.memory {
            Memory::Pooled(buffer) => buffers.put(buffer),
            Memory::Shared(_) => {}
        }
    }
}

/// Returns a copy of `bytes` in a buffer that never has to grow.
pub(super) fn pooled_copy(bytes: &[u8], buffers: &mut Buffers) -> Memory {
    let mut buffer = buffers.take();
    buffer.reserve_exact(MAX_POOLED_BUFFER_BYTES);
    buffer.extend_from_slice(bytes);
    Memory::Pooled(buffer)
}

/// Returns the first frame boundary at or after `position`, in bytes that start with a frame. The end of the bytes
/// counts as the end of an incomplete frame.
pub(crate) fn frame_boundary(frames: &[u8], position: usize) -> usize {
    let mut end = 0;
    while end < position {
        let Some(head) = frames[end..].first_chunk::<HEADER_LEN_BYTES>() else { return frames.len() };
        let len = HEADER_LEN_BYTES as u64 + Header::decode(head).payload_len;
        end = usize::try_from(len).map_or(frames.len(), |len| end.saturating_add(len).min(frames.len()));
    }
    end
}
