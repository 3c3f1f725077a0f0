//! A segment of a send queue: bytes that lie in one piece, and the kind of frames among them.
//!
//! Small frames share the pooled buffer of one segment; a large or shared frame is a segment of its own, held without a
//! copy. The kind says where an overtaking frame may be inserted.

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

/// What is in a segment, as far as it has to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Whole frames with truthful headers; of the last one there may be no more than its beginning.
    Frames,
    /// Something to be taken as one frame, whatever it is.
    Frame,
    /// A part of the frame that began before it.
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

    /// Cuts off what is behind the first `len` bytes.
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

/// A copy in a buffer that never has to grow again.
pub(super) fn pooled_copy(bytes: &[u8], buffers: &mut Buffers) -> Memory {
    let mut buffer = buffers.take();
    buffer.reserve_exact(MAX_POOLED_BUFFER_BYTES);
    buffer.extend_from_slice(bytes);
    Memory::Pooled(buffer)
}

/// The first end of a frame that is not before `position`, in bytes that begin with a frame. One of which there is no
/// more than the beginning ends with that.
pub(crate) fn frame_boundary(frames: &[u8], position: usize) -> usize {
    let mut end = 0;
    while end < position {
        let Some(head) = frames[end..].first_chunk::<HEADER_LEN_BYTES>() else { return frames.len() };
        let len = HEADER_LEN_BYTES as u64 + Header::decode(head).payload_len;
        end = usize::try_from(len).map_or(frames.len(), |len| end.saturating_add(len).min(frames.len()));
    }
    end
}
