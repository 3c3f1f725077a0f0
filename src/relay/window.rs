//! The window of a block in transit: the latest part of its payload, which all readers share.
//!
//! The source's parts are kept as they arrived, and no byte is copied. A reader is only an offset. The oldest parts are
//! dropped once the window retains more than its maximum, except those that the caller keeps for tethered readers; a
//! reader that is behind the window then has lost the block. The last byte is not readable before [`Window::release`].
//! Nothing here sends, hashes or knows a peer.

use crate::limits::READ_BLOCK_BYTES;
use bytes::Bytes;
use std::collections::VecDeque;

/// The bytes that a part counts in addition to its own, so that many tiny parts are bounded, too.
const PART_BYTES: usize = 96;

/// The payload of one block between its source and its readers.
#[derive(Debug)]
pub(super) struct Window {
    /// The parts, with the offset of each.
    parts: VecDeque<(u64, Bytes)>,
    /// The offset after the last part.
    end: u64,
    /// The length of the whole payload.
    len_bytes: u64,
    retained_bytes: usize,
    is_released: bool,
}

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The bytes from the reader's offset on; more may follow.
    Part(Bytes),
    /// The reader has everything that may be read so far.
    Waits,
    /// The reader has the whole payload.
    Finished,
    /// The window no longer holds the reader's offset, but only bytes from `oldest` on.
    Overrun {
        /// The offset of the oldest byte.
        oldest: u64,
    },
}

impl Window {
    /// Creates the window of a payload with this length, at least one byte.
    pub(super) fn new(len_bytes: u64) -> Self {
        Self { parts: VecDeque::new(), end: 0, len_bytes, retained_bytes: 0, is_released: false }
    }

    /// Adds the source's next part. Bytes beyond the payload's length are a mistake of the caller, and dropped.
    pub(super) fn push(&mut self, mut part: Bytes) {
        let free = usize::try_from(self.len_bytes - self.end).unwrap_or(usize::MAX);
        debug_assert!(part.len() <= free, "a part is longer than the rest of the payload");
        part.truncate(free);
        if part.is_empty() {
            return;
        }
        let begin = self.end;
        self.end += part.len() as u64;
        self.retained_bytes += retained(part.len());
        self.parts.push_back((begin, part));
    }

    /// Drops the oldest parts that end at or before `keep_from`, until at most `max_bytes` are retained.
    pub(super) fn trim(&mut self, max_bytes: usize, keep_from: u64) {
        while self.retained_bytes > max_bytes
            && let Some((begin, part)) = self.parts.front()
            && begin + part.len() as u64 <= keep_from
        {
            self.retained_bytes -= retained(part.len());
            self.parts.pop_front();
        }
    }

    /// Makes the last byte readable.
    pub(super) fn release(&mut self) {
        self.is_released = true;
    }

    /// Reads from an offset on.
    pub(super) fn read(&self, at: u64) -> Read {
        if at == self.len_bytes {
            return Read::Finished;
        }
        let oldest = self.oldest();
        if at < oldest {
            return Read::Overrun { oldest };
        }
        let readable = self.readable();
        if at >= readable {
            return Read::Waits;
        }
        let next = self.parts.partition_point(|&(begin, _)| begin <= at);
        let (begin, part) = &self.parts[next - 1];
        // Both fit into a part's length.
        let (from, to) = ((at - begin) as usize, (readable - begin).min(part.len() as u64) as usize);
        Read::Part(part.slice(from..to))
    }

    /// Returns the offset after the last byte that may be read.
    pub(super) fn readable(&self) -> u64 {
        if self.is_released { self.end } else { self.end.min(self.len_bytes - 1) }
    }

    /// Returns the offset of the oldest byte; that of the next one if the window is empty.
    pub(super) fn oldest(&self) -> u64 {
        self.parts.front().map_or(self.end, |&(begin, _)| begin)
    }

    /// Returns the offset after the last byte that has arrived.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Returns the number of bytes that the parts retain, with the unused rest of the read blocks that they share.
    pub(super) fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }
}

/// Returns the number of bytes that received bytes of this length retain: half a read
/// block or more may share the block.
pub(super) const fn shared_bytes(len_bytes: usize) -> usize {
    let is_shared = len_bytes >= READ_BLOCK_BYTES / 2 && len_bytes < READ_BLOCK_BYTES;
    if is_shared { READ_BLOCK_BYTES } else { len_bytes }
}

/// Returns the number of bytes that a part of this length retains.
const fn retained(len_bytes: usize) -> usize {
    PART_BYTES + shared_bytes(len_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads until the reader has to wait, and returns the new offset.
    fn read_all(window: &Window, mut at: u64, into: &mut Vec<u8>) -> (u64, Read) {
        loop {
            match window.read(at) {
                Read::Part(part) => {
                    assert!(!part.is_empty());
                    at += part.len() as u64;
                    into.extend_from_slice(&part);
                }
                end @ (Read::Waits | Read::Finished | Read::Overrun { .. }) => return (at, end),
            }
        }
    }

    #[test]
    fn the_last_byte_is_not_readable_before_the_release() {
        for parts in [&[&b"abc"[..]][..], &[b"ab", b"c"], &[b"a", b"", b"b", b"c"]] {
            let (mut window, mut read) = (Window::new(3), Vec::new());
            parts.iter().for_each(|part| window.push(Bytes::from_static(part)));
            assert_eq!(read_all(&window, 0, &mut read), (2, Read::Waits));
            window.release();
            assert_eq!(read_all(&window, 2, &mut read), (3, Read::Finished));
            assert_eq!(read, b"abc");
        }
        let mut single = Window::new(1);
        single.push(Bytes::from_static(b"x"));
        assert_eq!(single.read(0), Read::Waits);
        single.release();
        assert_eq!(single.read(0), Read::Part(Bytes::from_static(b"x")));
    }

    #[test]
    fn a_reader_behind_the_window_has_lost_the_block() {
        let mut window = Window::new(100);
        (0..4).for_each(|byte| window.push(vec![byte; 10].into()));
        let max_bytes = 2 * retained(10);
        window.trim(max_bytes, 15);
        assert_eq!((window.oldest(), window.retained_bytes()), (10, 3 * retained(10)));
        window.trim(max_bytes, u64::MAX);
        assert_eq!((window.oldest(), window.end(), window.retained_bytes()), (20, 40, max_bytes));
        assert_eq!(window.read(19), Read::Overrun { oldest: 20 });
        assert_eq!(window.read(25), Read::Part(vec![2; 5].into()));
        assert_eq!(window.read(40), Read::Waits);
        window.trim(0, u64::MAX);
        assert_eq!((window.oldest(), window.retained_bytes()), (40, 0));
        assert_eq!(window.read(40), Read::Waits);
    }

    proptest! {
        /// Readers of different speeds receive the payload, or are behind the window.
        #[test]
        fn readers_receive_exactly_the_payload(
            parts in prop::collection::vec(0..50_usize, 1..20),
            readers in prop::collection::vec(0..4_usize, 1..5),
            max_bytes in 0..1_000_usize,
        ) {
            let len = parts.iter().sum::<usize>().max(1);
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 % 251) as u8).collect();
            let mut window = Window::new(len as u64);
            let mut read = vec![Vec::new(); readers.len()];
            let mut is_lost = vec![false; readers.len()];
            let mut at = 0;
            let mut step = |window: &Window, all: bool| {
                for (index, &speed) in readers.iter().enumerate() {
                    let steps = if all { usize::MAX } else { speed };
                    for _ in 0..steps {
                        match window.read(read[index].len() as u64) {
                            Read::Part(part) => read[index].extend_from_slice(&part),
                            Read::Overrun { oldest } => {
                                assert!(oldest > read[index].len() as u64);
                                is_lost[index] = true;
                                break;
                            }
                            Read::Waits | Read::Finished => break,
                        }
                    }
                    assert_eq!(read[index], payload[..read[index].len()]);
                }
                (read.clone(), is_lost.clone())
            };
            for part in parts {
                let end = (at + part).min(len);
                window.push(Bytes::copy_from_slice(&payload[at..end]));
                at = end;
                step(&window, false);
                window.trim(max_bytes, u64::MAX);
                prop_assert!(window.retained_bytes() <= max_bytes);
            }
            window.push(Bytes::copy_from_slice(&payload[at..]));
            let (before, _) = step(&window, true);
            prop_assert!(before.iter().all(|read| read.len() < len), "the last byte was read too early");
            window.release();
            let (after, is_lost) = step(&window, true);
            for (read, is_lost) in after.iter().zip(is_lost) {
                prop_assert!(is_lost || *read == payload);
            }
        }
    }
}
