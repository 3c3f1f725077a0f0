//! One link's queue of outgoing bytes, including frames that are sent ahead.
//!
//! Frames are sent in the order in which they were queued, except for frames queued *ahead*. These are sent in their
//! own order, right after the frame that the kernel has begun to accept and before all others. A frame is never
//! inserted into another. A frame sent in parts is one frame from its first byte to its last, however late the last
//! byte is queued.
//!
//! The queue searches only its first segment for frame boundaries, and only when a frame is queued ahead.

mod buffers;
mod pool;
mod queue;
mod segment;

pub use pool::BufferPool;
pub(crate) use segment::frame_boundary;

use crate::bugs::budget;
use crate::limits::{MAX_POOLED_BUFFER_BYTES, SLICES_PER_WRITE};
use bytes::Bytes;
use queue::Queue;
use segment::{Content, Memory, Segment, pooled_copy};
use std::io::IoSlice;
use std::mem;

/// A link's queue of outgoing bytes, which owns no memory while it is empty.
///
/// Small frames are copied, several into one buffer. Large and shared frames are held as [`Bytes`].
#[derive(Debug, Default)]
pub struct SendQueue {
    queue: Option<Box<Queue>>,
}

/// The sizes of a [`SendQueue`], recounted from its segments.
#[cfg(feature = "sim")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueCount {
    pub(crate) waiting_bytes: usize,
    pub(crate) largest_bytes: usize,
    pub(crate) held_bytes: usize,
}

impl SendQueue {
    /// Returns whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Returns the number of waiting bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.waiting_bytes)
    }

    /// Returns the number of waiting bytes that were queued ahead.
    pub fn ahead_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.ahead_bytes)
    }

    /// Recounts the waiting bytes, the largest segment, and the memory that the queue holds.
    #[cfg(feature = "sim")]
    pub(crate) fn recount(&self) -> QueueCount {
        let Some(queue) = &self.queue else { return QueueCount::default() };
        let mut count = QueueCount { waiting_bytes: 0, largest_bytes: 0, held_bytes: queue.own_bytes() };
        for segment in &queue.segments {
            let len = segment.as_slice().len();
            count.waiting_bytes += len;
            count.largest_bytes = count.largest_bytes.max(len);
            count.held_bytes += match &segment.memory {
                Memory::Pooled(buffer) => buffer.capacity(),
                Memory::Shared(bytes) => bytes.len(),
            };
        }
        count.waiting_bytes -= queue.head_written;
        count
    }

    /// Queues a copy of frames that this side encoded. Their headers must be correct. The last frame may be
    /// incomplete; its [rest](SendQueue::push_rest) must then be queued before any other frame that is not queued
    /// ahead.
    pub fn push_copy(&mut self, frames: &[u8], pool: &mut BufferPool) {
        self.push_bytes(frames, Content::Frames, pool);
    }

    /// Queues `frame` without a copy.
    pub fn push_shared(&mut self, frame: Bytes, pool: &mut BufferPool) {
        self.push_segment(Memory::Shared(frame), Content::Frame, pool);
    }

    /// Queues a copy of the next part of the frame that was queued last, even if all its queued bytes have been sent.
    pub fn push_rest(&mut self, part: &[u8], pool: &mut BufferPool) {
        self.push_bytes(part, Content::Rest, pool);
    }

    /// Queues the next part of the frame that was queued last, without a copy if the part is large.
    pub fn push_rest_shared(&mut self, part: Bytes, pool: &mut BufferPool) {
        match part.len() <= MAX_POOLED_BUFFER_BYTES {
            true => self.push_bytes(&part, Content::Rest, pool),
            false => self.push_segment(Memory::Shared(part), Content::Rest, pool),
        }
    }

    /// Queues a copy of `frame` ahead. Returns the number of waiting bytes up to the frame's end.
    ///
    /// `is_fed` means that the last queued frame is incomplete. If sending that frame has begun, nothing can be
    /// queued ahead: the call queues nothing and returns `None`.
    pub fn push_ahead(&mut self, frame: &[u8], is_fed: bool, pool: &mut BufferPool) -> Option<usize> {
        debug_assert!(!frame.is_empty(), "the frame is empty");
        if is_fed && self.is_empty() {
            return None;
        }
        let queue = self.queue.get_or_insert_with(|| pool.take_queue());
        if queue.ahead_bytes == 0 && !queue.segments.is_empty() {
            let begun_segments = queue.part_behind_begun(&mut pool.buffers);
            if is_fed && begun_segments == queue.segments.len() {
                return None;
            }
            let begun: usize = queue.segments.range(..begun_segments).map(|segment| segment.as_slice().len()).sum();
            queue.begun_bytes = begun - queue.head_written;
            queue.ahead_segments = begun_segments;
        }
        let most = budget!(SegmentBytes, MAX_POOLED_BUFFER_BYTES);
        let last = if queue.ahead_bytes > 0 { queue.segments.get_mut(queue.ahead_segments - 1) } else { None };
        match last {
            Some(Segment { memory: Memory::Pooled(last), .. }) if last.len() + frame.len() <= most => {
                last.extend_from_slice(frame);
            }
            Some(_) | None => {
                let segment = Segment { memory: pooled_copy(frame, &mut pool.buffers), content: Content::Frames };
                match queue.ahead_segments == queue.segments.len() {
                    true => queue.segments.push_back(segment),
                    false => queue.segments.insert(queue.ahead_segments, segment),
                }
                queue.ahead_segments += 1;
            }
        }
        queue.waiting_bytes += frame.len();
        pool.waiting_bytes += frame.len() as u64;
        queue.ahead_bytes += frame.len();
        Some(queue.begun_bytes + queue.ahead_bytes)
    }

    /// Fills `slices` with the first waiting bytes, at most `most_bytes`. Returns the number of slices filled.
    pub fn fill_slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_PER_WRITE], most_bytes: usize) -> usize {
        let Some(queue) = &self.queue else { return 0 };
        let (mut filled, mut left_bytes) = (0, most_bytes);
        for (segment, slice) in queue.segments.iter().zip(slices.iter_mut()) {
            if left_bytes == 0 {
                break;
            }
            let skip = if filled == 0 { queue.head_written } else { 0 };
            let bytes = &segment.as_slice()[skip..];
            let bytes = &bytes[..bytes.len().min(left_bytes)];
            left_bytes -= bytes.len();
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// Moves all waiting bytes of `other` to the end of this queue. Frames may be queued ahead in `other` only if
    /// everything in this queue belongs to a frame whose sending has begun.
    pub fn push_queue(&mut self, other: &mut Self, pool: &mut BufferPool) {
        let Some(mut theirs) = other.queue.take() else { return };
        assert!(theirs.head_written == 0, "the appended queue is already partly written");
        let ours = self.queue.get_or_insert_with(|| pool.take_queue());
        if theirs.ahead_bytes > 0 {
            assert!(ours.ahead_bytes == 0, "both queues contain frames queued ahead");
            ours.begun_bytes = ours.waiting_bytes;
            ours.ahead_bytes = theirs.ahead_bytes;
            ours.ahead_segments = ours.segments.len() + theirs.ahead_segments;
        }
        ours.waiting_bytes += theirs.waiting_bytes;
        ours.segments.append(&mut theirs.segments);
        pool.put_queue(theirs);
    }

    /// Removes the first `written` bytes, which the kernel has accepted.
    ///
    /// # Panics
    ///
    /// If `written` exceeds the number of waiting bytes. No kernel reports such a number.
    pub fn advance(&mut self, written: usize, pool: &mut BufferPool) {
        let Some(queue) = &mut self.queue else {
            assert!(written == 0, "the kernel wrote bytes from an empty queue");
            return;
        };
        assert!(written <= queue.waiting_bytes, "the kernel wrote more bytes than were waiting");
        queue.waiting_bytes -= written;
        pool.waiting_bytes -= written as u64;
        if queue.ahead_bytes > 0 {
            let of_begun = written.min(queue.begun_bytes);
            queue.begun_bytes -= of_begun;
            queue.ahead_bytes = queue.ahead_bytes.saturating_sub(written - of_begun);
        }
        let mut left = written + mem::take(&mut queue.head_written);
        while let Some(head) = queue.segments.front() {
            let len = head.as_slice().len();
            if left < len {
                break;
            }
            left -= len;
            queue.ahead_segments = queue.ahead_segments.saturating_sub(1);
            if let Some(segment) = queue.segments.pop_front() {
                segment.retire(&mut pool.buffers);
            }
        }
        queue.head_written = left;
        if queue.waiting_bytes == 0 {
            self.clear(pool);
        }
    }

    /// Drops all waiting bytes.
    pub fn clear(&mut self, pool: &mut BufferPool) {
        let Some(mut queue) = self.queue.take() else { return };
        pool.waiting_bytes -= queue.waiting_bytes as u64;
        for segment in queue.segments.drain(..) {
            segment.retire(&mut pool.buffers);
        }
        pool.put_queue(queue);
    }

    fn push_bytes(&mut self, bytes: &[u8], content: Content, pool: &mut BufferPool) {
        let most = budget!(SegmentBytes, MAX_POOLED_BUFFER_BYTES);
        if bytes.len() > most {
            return self.push_segment(Memory::Shared(Bytes::copy_from_slice(bytes)), content, pool);
        }
        match self.queue.as_mut().and_then(|queue| queue.last_joinable(content)) {
            Some(last) if last.len() + bytes.len() <= most => last.extend_from_slice(bytes),
            Some(_) | None if bytes.is_empty() => return,
            Some(_) | None => return self.push_segment(pooled_copy(bytes, &mut pool.buffers), content, pool),
        }
        if let Some(queue) = &mut self.queue {
            queue.waiting_bytes += bytes.len();
            pool.waiting_bytes += bytes.len() as u64;
        }
    }

    fn push_segment(&mut self, memory: Memory, content: Content, pool: &mut BufferPool) {
        let segment = Segment { memory, content };
        let len = segment.as_slice().len();
        if len == 0 {
            return;
        }
        let queue = self.queue.get_or_insert_with(|| pool.take_queue());
        queue.waiting_bytes += len;
        pool.waiting_bytes += len as u64;
        queue.segments.push_back(segment);
    }
}

#[cfg(test)]
mod ahead;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Copy(usize),
        Share(usize),
        Queue(usize),
        Write(usize),
    }

    const MAX_STEP_BYTES: usize = 10_000;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let len = prop_oneof![0..64usize, 0..MAX_STEP_BYTES];
        let step = prop_oneof![
            len.clone().prop_map(Step::Copy),
            len.clone().prop_map(Step::Share),
            len.clone().prop_map(Step::Queue),
            len.prop_map(Step::Write),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// An endless periodic stream of bytes. The period is prime, so that a shift by a buffer's size never matches.
    struct Pattern(Bytes);

    impl Pattern {
        const PERIOD: usize = 251;

        fn new() -> Self {
            Self((0..MAX_STEP_BYTES + Self::PERIOD).map(|at| (at % Self::PERIOD) as u8).collect())
        }

        fn part(&self, position: usize, len: usize) -> Bytes {
            self.0.slice(position % Self::PERIOD..).slice(..len)
        }
    }

    /// Compares the waiting bytes with the stream from `position` on. Returns the number of bytes that one vectored
    /// write of at most `most` bytes sends.
    fn check_waiting(queue: &SendQueue, pattern: &Pattern, position: usize, most: usize) -> usize {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let filled = queue.fill_slices(&mut slices, most);
        let mut seen = 0;
        for slice in &slices[..filled] {
            assert!(!slice.is_empty(), "a slice is empty");
            assert_eq!(slice[..], pattern.part(position + seen, slice.len()));
            seen += slice.len();
        }
        assert!(
            filled == SLICES_PER_WRITE || seen == most.min(queue.waiting_bytes()),
            "the write is shorter than it could be"
        );
        seen
    }

    #[test]
    fn an_empty_queue_owns_no_memory() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        queue.push_copy(b"", &mut pool);
        queue.push_shared(Bytes::new(), &mut pool);
        assert!(queue.is_empty());
        queue.push_copy(b"ping", &mut pool);
        assert!(!queue.is_empty());
        queue.advance(4, &mut pool);
        assert!(queue.is_empty());
        assert_eq!(size_of::<SendQueue>(), 8);
    }

    #[test]
    fn a_queue_of_small_frames_returns_all_its_buffers_to_the_pool() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        for _ in 0..3 {
            queue.push_copy(&[0; 3_000], &mut pool);
            queue.push_copy(&[0; 1_000], &mut pool);
        }
        queue.advance(12_000, &mut pool);
        assert_eq!(pool.buffers.capacities(), [MAX_POOLED_BUFFER_BYTES; 3]);
    }

    proptest! {
        #[test]
        fn the_sent_bytes_are_the_queued_bytes(steps in steps()) {
            let (mut queue, mut pool, pattern) = (SendQueue::default(), BufferPool::default(), Pattern::new());
            let (mut pushed, mut written) = (0, 0);
            for step in steps {
                match step {
                    Step::Copy(len) => {
                        queue.push_copy(&pattern.part(pushed, len), &mut pool);
                        pushed += len;
                    }
                    Step::Share(len) => {
                        queue.push_shared(pattern.part(pushed, len), &mut pool);
                        pushed += len;
                    }
                    Step::Queue(len) => {
                        let mut behind = SendQueue::default();
                        behind.push_copy(&pattern.part(pushed, len), &mut pool);
                        behind.push_shared(pattern.part(pushed + len, len), &mut pool);
                        queue.push_queue(&mut behind, &mut pool);
                        prop_assert!(behind.is_empty());
                        pushed += 2 * len;
                    }
                    Step::Write(len) => {
                        let offered = check_waiting(&queue, &pattern, written, usize::MAX);
                        let len = check_waiting(&queue, &pattern, written, len);
                        prop_assert!(len <= offered);
                        written += len;
                        queue.advance(len, &mut pool);
                    }
                }
                prop_assert_eq!(queue.waiting_bytes(), pushed - written);
                prop_assert_eq!(queue.is_empty(), pushed == written);
                prop_assert_eq!(pool.waiting_bytes(), (pushed - written) as u64);
                prop_assert_eq!(pool.queues_in_use(), usize::from(!queue.is_empty()));
            }
        }
    }
}
