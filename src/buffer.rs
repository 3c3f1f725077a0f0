//! The bytes between the kernel and the messages: one read block, one write block, and queues that exist while needed.
//!
//! All links are read into the same [`ReadBlock`] and answer through the same [`WriteBlock`]; only what the kernel or
//! the peer does not take at once costs memory of its own, in a [`SendQueue`] made of pooled buffers. An idle link
//! owns none. Nothing here knows messages, sockets or time, and nothing grows without a limit that its caller
//! enforces.

use crate::bugs::{self, Budget};
use crate::limits::{
    POOLED_BUFFER_MAX_BYTES, POOLED_BUFFERS_MAX, READ_BLOCK_BYTES, SLICES_PER_WRITE, WRITE_BLOCK_BYTES,
};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

/// The block that every link is read into.
///
/// It is frozen while its frames are delivered, so that a handler can keep a part of it without a copy, and thawed
/// afterwards. Only if something was kept is the block given up and a new one made.
#[derive(Debug)]
pub struct ReadBlock {
    bytes: BytesMut,
}

impl ReadBlock {
    /// A zeroed block of [`READ_BLOCK_BYTES`].
    pub fn new() -> Self {
        Self { bytes: BytesMut::zeroed(READ_BLOCK_BYTES) }
    }

    /// The room to receive into, always the whole block.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The block for reading; it has to come back through [`ReadBlock::thaw`] before there is room again.
    pub fn freeze(&mut self) -> Bytes {
        mem::take(&mut self.bytes).freeze()
    }

    /// Takes the block back, or makes a new one if a part of it was kept.
    pub fn thaw(&mut self, block: Bytes) {
        self.bytes = block.try_into_mut().unwrap_or_else(|_| BytesMut::zeroed(READ_BLOCK_BYTES));
    }
}

impl Default for ReadBlock {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a part of a block is large enough to be shared. A kept slice keeps its whole block alive, so a smaller one
/// is copied: otherwise a few kept inventories would pin hundreds of megabytes. What is shared holds at most twice what
/// it is.
pub(crate) fn worth_sharing(part_len: usize, block_len: usize) -> bool {
    part_len >= block_len.div_ceil(2)
}

/// The block in which replies are gathered while one link's input is parsed.
#[derive(Debug, Default)]
pub struct WriteBlock {
    bytes: Vec<u8>,
}

impl WriteBlock {
    /// Where replies are appended.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was gathered.
    pub fn gathered(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether another `len` bytes may be gathered before the rest has to queue.
    pub fn has_room(&self, len: usize) -> bool {
        self.bytes.len() + len <= bugs::shrunk(Budget::ReplyBytes, WRITE_BLOCK_BYTES)
    }

    /// Empties the block and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Small buffers that wait to be used again.
#[derive(Debug, Default)]
pub struct BufferPool {
    buffers: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "the boxes go back into rows as they are")]
    queues: Vec<Box<Queue>>,
}

impl BufferPool {
    /// An empty buffer, which owns nothing before its first use. Users give it room for [`POOLED_BUFFER_MAX_BYTES`] at
    /// once, so that it never has to grow again.
    pub fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Takes a buffer back; one that has grown large, or is one too many, is freed, and one that owns nothing takes no
    /// place.
    pub fn put(&mut self, mut buffer: Vec<u8>) {
        let is_pooled = (1..=POOLED_BUFFER_MAX_BYTES).contains(&buffer.capacity());
        if is_pooled && self.buffers.len() < POOLED_BUFFERS_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Bytes of all buffers and queues that wait to be used again.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let buffers: usize = self.buffers.iter().map(Vec::capacity).sum();
        let of_queue = |queue: &Queue| size_of::<Queue>() + queue.segments.capacity() * size_of::<Segment>();
        let queues: usize = self.queues.iter().map(|queue| of_queue(queue)).sum();
        buffers
            + queues
            + self.buffers.capacity() * size_of::<Vec<u8>>()
            + self.queues.capacity() * size_of::<Box<Queue>>()
    }

    fn take_queue(&mut self) -> Box<Queue> {
        self.queues.pop().unwrap_or_default()
    }

    fn put_queue(&mut self, mut queue: Box<Queue>) {
        queue.head_written = 0;
        if queue.segments.capacity() <= SLICES_PER_WRITE && self.queues.len() < POOLED_BUFFERS_MAX {
            self.queues.push(queue);
        }
    }
}

/// What waits to be sent on one link: nothing at all when nothing waits.
///
/// Small frames are copied together, large and shared ones are held as [`Bytes`].
#[derive(Debug, Default)]
pub struct SendQueue {
    queue: Option<Box<Queue>>,
}

/// What a [`SendQueue`] comes to when its parts are counted.
#[cfg(feature = "sim")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueCount {
    pub(crate) waiting_bytes: usize,
    pub(crate) largest_bytes: usize,
    pub(crate) held_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    segments: VecDeque<Segment>,
    /// Bytes of the first segment that are written already.
    head_written: usize,
    waiting_bytes: usize,
}

#[derive(Debug)]
enum Segment {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Segment {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl SendQueue {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.waiting_bytes)
    }

    /// What waits, counted anew, the largest part of it, and the memory that all of it holds.
    #[cfg(feature = "sim")]
    pub(crate) fn recount(&self) -> QueueCount {
        let Some(queue) = &self.queue else { return QueueCount::default() };
        let mut count = QueueCount {
            waiting_bytes: 0,
            largest_bytes: 0,
            held_bytes: size_of::<Queue>() + queue.segments.capacity() * size_of::<Segment>(),
        };
        for segment in &queue.segments {
            let (len, held_bytes) = match segment {
                Segment::Copied(buffer) => (buffer.len(), buffer.capacity()),
                Segment::Shared(bytes) => (bytes.len(), bytes.len()),
            };
            count.waiting_bytes += len;
            count.largest_bytes = count.largest_bytes.max(len);
            count.held_bytes += held_bytes;
        }
        count.waiting_bytes -= queue.head_written;
        count
    }

    /// Queues a copy of `frame`.
    pub fn push_copy(&mut self, frame: &[u8], pool: &mut BufferPool) {
        if frame.is_empty() {
            return;
        }
        let most = bugs::shrunk(Budget::SegmentBytes, POOLED_BUFFER_MAX_BYTES);
        if frame.len() > most {
            return self.push_shared(Bytes::copy_from_slice(frame), pool);
        }
        let queue = self.queue.get_or_insert_with(|| pool.take_queue());
        queue.waiting_bytes += frame.len();
        match queue.segments.back_mut() {
            Some(Segment::Copied(last)) if last.len() + frame.len() <= most => {
                last.extend_from_slice(frame);
            }
            Some(Segment::Copied(_) | Segment::Shared(_)) | None => {
                let mut buffer = pool.take();
                buffer.reserve_exact(POOLED_BUFFER_MAX_BYTES);
                buffer.extend_from_slice(frame);
                queue.segments.push_back(Segment::Copied(buffer));
            }
        }
    }

    /// Queues `frame` without a copy.
    pub fn push_shared(&mut self, frame: Bytes, pool: &mut BufferPool) {
        if frame.is_empty() {
            return;
        }
        let queue = self.queue.get_or_insert_with(|| pool.take_queue());
        queue.waiting_bytes += frame.len();
        queue.segments.push_back(Segment::Shared(frame));
    }

    /// Fills `slices` with the beginning of what waits, at most `most_bytes` of it, and returns how many it filled.
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

    /// Queues all that waits in `other` behind what waits here, and leaves `other` empty.
    pub fn push_queue(&mut self, other: &mut Self, pool: &mut BufferPool) {
        let Some(mut theirs) = other.queue.take() else { return };
        assert!(theirs.head_written == 0, "nothing of a queue that waits behind another is written");
        let ours = self.queue.get_or_insert_with(|| pool.take_queue());
        ours.waiting_bytes += mem::take(&mut theirs.waiting_bytes);
        ours.segments.append(&mut theirs.segments);
        pool.put_queue(theirs);
    }

    /// Removes `written` bytes from the front.
    ///
    /// # Panics
    ///
    /// If more is said to be written than waits, which no kernel does.
    pub fn advance(&mut self, written: usize, pool: &mut BufferPool) {
        let Some(queue) = &mut self.queue else {
            assert!(written == 0, "nothing waits, so nothing was written");
            return;
        };
        assert!(written <= queue.waiting_bytes, "no more is written than waits");
        queue.waiting_bytes -= written;
        let mut left = written + mem::take(&mut queue.head_written);
        while let Some(head) = queue.segments.front() {
            let len = head.as_slice().len();
            if left < len {
                break;
            }
            left -= len;
            if let Some(Segment::Copied(buffer)) = queue.segments.pop_front() {
                pool.put(buffer);
            }
        }
        queue.head_written = left;
        if queue.waiting_bytes == 0 {
            self.clear(pool);
        }
    }

    /// Drops everything that waits.
    pub fn clear(&mut self, pool: &mut BufferPool) {
        let Some(mut queue) = self.queue.take() else { return };
        for segment in queue.segments.drain(..) {
            match segment {
                Segment::Copied(buffer) => pool.put(buffer),
                Segment::Shared(_) => {}
            }
        }
        queue.waiting_bytes = 0;
        pool.put_queue(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_of_which_nothing_is_kept_is_the_same_block_again() {
        let mut block = ReadBlock::new();
        let before = block.room().as_ptr();
        let frozen = block.freeze();
        assert_eq!(frozen.len(), READ_BLOCK_BYTES);
        block.thaw(frozen);
        assert_eq!(block.room().as_ptr(), before);
        assert_eq!(block.room().len(), READ_BLOCK_BYTES);
    }

    #[test]
    fn a_block_of_which_a_part_is_kept_is_replaced_and_the_part_is_unchanged() {
        let mut block = ReadBlock::new();
        block.room()[..4].copy_from_slice(b"kept");
        let frozen = block.freeze();
        let kept = frozen.slice(..4);
        block.thaw(frozen);
        block.room().fill(0xff);
        assert_eq!(&kept[..], b"kept");
        drop(kept);
        let frozen = block.freeze();
        block.thaw(frozen);
        assert_eq!(block.room().len(), READ_BLOCK_BYTES);
    }

    #[test]
    fn an_empty_queue_owns_nothing() {
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
    fn the_pool_keeps_no_large_buffer_and_not_too_many() {
        let mut pool = BufferPool::default();
        pool.put(Vec::with_capacity(POOLED_BUFFER_MAX_BYTES + 1));
        assert!(pool.buffers.is_empty());
        for _ in 0..POOLED_BUFFERS_MAX + 1 {
            pool.put(Vec::with_capacity(1));
        }
        assert_eq!(pool.buffers.len(), POOLED_BUFFERS_MAX);
    }

    #[test]
    fn a_buffer_that_owns_nothing_takes_no_place_in_the_pool() {
        let mut pool = BufferPool::default();
        pool.put(Vec::new());
        assert!(pool.buffers.is_empty());
    }

    #[test]
    fn a_queue_of_small_frames_gives_all_its_buffers_back_to_the_pool() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        for _ in 0..3 {
            queue.push_copy(&[0; 3_000], &mut pool);
            queue.push_copy(&[0; 1_000], &mut pool);
        }
        queue.advance(12_000, &mut pool);
        let capacities: Vec<usize> = pool.buffers.iter().map(Vec::capacity).collect();
        assert_eq!(capacities, [POOLED_BUFFER_MAX_BYTES; 3]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Copy(usize),
        Share(usize),
        Queue(usize),
        Write(usize),
    }

    const STEP_MAX_BYTES: usize = 10_000;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let len = prop_oneof![0..64usize, 0..STEP_MAX_BYTES];
        let step = prop_oneof![
            len.clone().prop_map(Step::Copy),
            len.clone().prop_map(Step::Share),
            len.clone().prop_map(Step::Queue),
            len.prop_map(Step::Write),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// The byte at each position of an endless stream; its period is prime, so that no shift by a buffer's size fits.
    struct Pattern(Bytes);

    impl Pattern {
        const PERIOD: usize = 251;

        fn new() -> Self {
            Self((0..STEP_MAX_BYTES + Self::PERIOD).map(|at| (at % Self::PERIOD) as u8).collect())
        }

        fn part(&self, position: usize, len: usize) -> Bytes {
            self.0.slice(position % Self::PERIOD..).slice(..len)
        }
    }

    /// Compares what waits with the stream from `position` on and returns how much of it is in one gathered write of
    /// at most `most` bytes.
    fn check_waiting(queue: &SendQueue, pattern: &Pattern, position: usize, most: usize) -> usize {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let filled = queue.fill_slices(&mut slices, most);
        let mut seen = 0;
        for slice in &slices[..filled] {
            assert!(!slice.is_empty(), "no slice is wasted");
            assert_eq!(slice[..], pattern.part(position + seen, slice.len()));
            seen += slice.len();
        }
        assert!(filled == SLICES_PER_WRITE || seen == most.min(queue.waiting_bytes()), "a write takes all that it may");
        seen
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(steps in steps()) {
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
            }
        }
    }
}
