//! One link's waiting segments, and the number of bytes queued *ahead*, that is, before waiting frames.
//!
//! A queue counts only its own bytes. [`SendQueue`](super::SendQueue) maintains the totals of all links in its pool.

use super::buffers::Buffers;
use super::segment::{Content, Memory, Segment, frame_boundary};
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(super) segments: VecDeque<Segment>,
    /// The number of bytes of the first segment that are already written.
    pub(super) head_written: usize,
    pub(super) waiting_bytes: usize,
    /// The number of waiting bytes that were queued ahead.
    pub(super) ahead_bytes: usize,
    /// The number of unsent bytes of the partly sent frame. They precede the bytes queued ahead, and are counted only
    /// while bytes are queued ahead.
    pub(super) begun_bytes: usize,
    /// The number of segments up to the end of the bytes queued ahead, if there are any.
    pub(super) ahead_segments: usize,
}

impl Queue {
    /// Resets all counts and returns the segment list's capacity. The caller has removed all segments.
    pub(super) fn reset(&mut self) -> usize {
        let Self { segments, head_written, waiting_bytes, ahead_bytes, begun_bytes, ahead_segments } = self;
        for count in [head_written, waiting_bytes, ahead_bytes, begun_bytes, ahead_segments] {
            *count = 0;
        }
        segments.capacity()
    }

    /// Returns the number of bytes of the queue's own memory, without the segments' content.
    #[cfg(feature = "sim")]
    pub(super) fn own_bytes(&self) -> usize {
        size_of::<Self>() + self.segments.capacity() * size_of::<Segment>()
    }

    /// Returns the last segment's buffer, if bytes of the kind `content` may be appended to it.
    pub(super) fn last_joinable(&mut self, content: Content) -> Option<&mut Vec<u8>> {
        let is_ahead = self.ahead_bytes > 0 && self.ahead_segments == self.segments.len();
        match self.segments.back_mut() {
            Some(Segment { memory: Memory::Pooled(last), content: of_last }) if *of_last == content && !is_ahead => {
                Some(last)
            }
            Some(_) | None => None,
        }
    }

    /// Splits the first segment if necessary, so that the partly sent frame ends at a segment's end. Returns the
    /// number of segments up to that end, or 0 if no frame is partly sent.
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
