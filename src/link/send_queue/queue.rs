//! The segments that wait on one link, and the number of their bytes that overtake the others.
//!
//! It counts only its own bytes: [`SendQueue`](super::SendQueue) keeps the count of all links, with its pool.

use super::buffers::Buffers;
use super::segment::{Content, Memory, Segment, frame_boundary};
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(super) segments: VecDeque<Segment>,
    /// Bytes of the first segment that are written already.
    pub(super) head_written: usize,
    pub(super) waiting_bytes: usize,
    /// Bytes that wait of what was queued ahead.
    pub(super) ahead_bytes: usize,
    /// While there are such: bytes that leave before them, all of the frame that has begun to leave.
    pub(super) begun_bytes: usize,
    /// While there are such: segments up to the end of them.
    pub(super) ahead_segments: usize,
}

impl Queue {
    /// Forgets all but the room for segments, of which none is left, and returns for how many there is room.
    pub(super) fn reset(&mut self) -> usize {
        let Self { segments, head_written, waiting_bytes, ahead_bytes, begun_bytes, ahead_segments } = self;
        for count in [head_written, waiting_bytes, ahead_bytes, begun_bytes, ahead_segments] {
            *count = 0;
        }
        segments.capacity()
    }

    /// Bytes of its own memory, without what the segments hold.
    #[cfg(feature = "sim")]
    pub(super) fn own_bytes(&self) -> usize {
        size_of::<Self>() + self.segments.capacity() * size_of::<Segment>()
    }

    /// The last segment, if more of this content may be copied behind what it holds.
    pub(super) fn last_joinable(&mut self, content: Content) -> Option<&mut Vec<u8>> {
        let is_ahead = self.ahead_bytes > 0 && self.ahead_segments == self.segments.len();
        match self.segments.back_mut() {
            Some(Segment { memory: Memory::Pooled(last), content: of_last }) if *of_last == content && !is_ahead => {
                Some(last)
            }
            Some(_) | None => None,
        }
    }

    /// The number of segments that hold the frame which has begun to leave and nothing else, with the first one cut
    /// in two where that needs it.
    pub(super) fn part_behind_begun(&mut self, buffers: &mut Buffers) -> usize {
        let Some(head) = self.segments.front_mut() else { return 0 };
        if self.head_written == 0 && head.content != Content::Rest {
            return 0;
        }
        if head.content == Content::Frames {
            let end = frame_boundary(head.as_slice(), self.head_written);
            if end == self.head_written {
                head.skip(end);
                self.head_written = 0;
                return 0;
            }
            if end < head.as_slice().len() {
                let behind = head.split_off(end, buffers);
                self.segments.insert(1, behind);
                return 1;
            }
        }
        1 + self.segments.iter().skip(1).take_while(|segment| segment.content == Content::Rest).count()
    }
}
