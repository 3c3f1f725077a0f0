//! Tests: frames queued ahead are sent after a partly written frame and before all others, and every frame stays
//! whole, however many bytes the kernel accepts.

use super::{BufferPool, SendQueue, frame_boundary};
use crate::limits::{HEADER_LEN_BYTES, MAX_POOLED_BUFFER_BYTES, SLICES_PER_WRITE};
use crate::protocol::CommandName;
use crate::wire::Header;
use bytes::Bytes;
use proptest::prelude::*;
use std::io::IoSlice;

const MAGIC: [u8; 4] = *b"MAGI";

/// Returns a frame with a correct length and a payload that repeats `number`.
fn frame(command: CommandName, number: u64, payload_len: usize) -> Vec<u8> {
    let header = Header { command, payload_len: payload_len as u64, checksum: Some([number as u8; 4]) };
    let mut bytes = header.encode(MAGIC).to_vec();
    bytes.extend(number.to_le_bytes().iter().cycle().take(payload_len));
    bytes
}

fn pong(number: u64) -> Vec<u8> {
    frame(CommandName::PONG, number, 8)
}

fn message(number: u64, payload_len: usize) -> Vec<u8> {
    frame(CommandName::TX, number, payload_len)
}

/// Returns all waiting bytes in sending order.
fn waiting(queue: &SendQueue) -> Vec<u8> {
    let bytes = one_write(queue);
    assert_eq!(bytes.len(), queue.waiting_bytes(), "the queue does not fit into one write");
    bytes
}

/// Returns the bytes that one write would send.
fn one_write(queue: &SendQueue) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
    let filled = queue.fill_slices(&mut slices, usize::MAX);
    assert!(slices[..filled].iter().all(|slice| !slice.is_empty()), "a slice is empty");
    slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect()
}

#[test]
fn a_pong_is_queued_after_the_frame_in_progress_at_every_position() {
    let frames = [message(1, 40), message(2, 0), pong(3), message(4, 100)];
    let whole = frames.concat();
    for shared in [false, true] {
        for written in 0..whole.len() {
            let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
            for frame in &frames {
                match shared {
                    true => queue.push_shared(Bytes::copy_from_slice(frame), &mut pool),
                    false => queue.push_copy(frame, &mut pool),
                }
            }
            queue.advance(written, &mut pool);
            let end = frame_boundary(&whole, written);
            let waits = queue.push_ahead(&pong(5), false, &mut pool);
            assert_eq!(waits, Some(end - written + 32), "{written}");
            let waits = queue.push_ahead(&pong(6), false, &mut pool);
            assert_eq!(waits, Some(end - written + 64), "{written}");
            assert_eq!(queue.ahead_bytes(), 64);
            let expected = [&whole[written..end], &pong(5), &pong(6), &whole[end..]].concat();
            assert_eq!(waiting(&queue), expected, "{written} bytes are written, shared: {shared}");
        }
    }
}

#[test]
fn nothing_is_queued_ahead_within_an_incomplete_frame() {
    let fed = message(1, 50);
    for written in 0..=40 {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        queue.push_copy(&fed[..24], &mut pool);
        queue.push_rest(&fed[24..30], &mut pool);
        queue.push_rest_shared(Bytes::copy_from_slice(&fed[30..40]), &mut pool);
        queue.advance(written, &mut pool);
        let queued = queue.push_ahead(&pong(2), true, &mut pool);
        let pong = if written == 0 { pong(2) } else { Vec::new() };
        assert_eq!(queued, (written == 0).then_some(32), "{written}");
        assert_eq!(waiting(&queue), [&pong, &fed[written..40]].concat(), "{written}");
    }
}

#[test]
fn a_later_pong_is_sent_before_a_frame_that_was_queued_after_an_earlier_pong() {
    let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
    queue.push_copy(&message(1, 30), &mut pool);
    queue.advance(1, &mut pool);
    queue.push_ahead(&pong(2), false, &mut pool);
    queue.push_copy(&message(3, 30), &mut pool);
    queue.push_ahead(&pong(4), false, &mut pool);
    let expected = [&message(1, 30)[1..], &pong(2), &pong(4), &message(3, 30)].concat();
    assert_eq!(waiting(&queue), expected);
}

#[test]
fn pongs_queued_ahead_do_not_grow_a_warm_pool() {
    let mut pool = BufferPool::default();
    let mut most = Vec::new();
    for _ in 0..3 {
        let mut queue = SendQueue::default();
        (0..200).for_each(|number| queue.push_copy(&message(number, 60), &mut pool));
        for round in 0..40 {
            queue.advance(90, &mut pool);
            queue.push_ahead(&pong(round), false, &mut pool);
        }
        queue.advance(queue.waiting_bytes(), &mut pool);
        most.push(pool.buffers.capacities().len());
        assert!(pool.buffers.capacities().iter().all(|&capacity| capacity == MAX_POOLED_BUFFER_BYTES));
    }
    assert!(most[0] == most[1] && most[1] == most[2], "{most:?}");
}

#[test]
fn the_boundary_of_an_incomplete_frame_is_the_end_of_the_bytes() {
    let mut bytes = [message(1, 10), message(2, usize::from(u16::MAX))].concat();
    bytes.truncate(34 + 24 + 5);
    assert_eq!([0, 1, 34, 35, 60].map(|position| frame_boundary(&bytes, position)), [0, 34, 34, 63, 63]);
    assert_eq!(
        frame_boundary(&bytes[..40], 36),
        40,
        "the boundary of an incomplete header is not the end of the bytes"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Copy(usize),
    Share(usize),
    Ahead,
    /// Begins a frame that is sent in parts.
    Begin(usize),
    Feed(usize),
    Write(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = || prop_oneof![Just(0), 0..40usize, 0..6_000usize];
    let step = prop_oneof![
        3 => len().prop_map(Step::Copy),
        1 => len().prop_map(Step::Share),
        4 => Just(Step::Ahead),
        1 => len().prop_map(Step::Begin),
        3 => len().prop_map(Step::Feed),
        4 => len().prop_map(Step::Write),
    ];
    prop::collection::vec(step, 1..50)
}

/// The frames in sending order. Each has a flag for whether it was queued ahead, and the number of its queued bytes.
#[derive(Default)]
struct Model {
    frames: Vec<(Vec<u8>, bool, usize)>,
    written: usize,
}

impl Model {
    /// Returns the frame that is queued only in part, if there is one. It is always the last.
    fn fed(&mut self) -> Option<&mut (Vec<u8>, bool, usize)> {
        self.frames.last_mut().filter(|(frame, _, there)| *there < frame.len())
    }

    fn push(&mut self, frame: Vec<u8>, there: usize) {
        self.frames.push((frame, false, there));
    }

    /// Queues a frame ahead and returns its end position in the stream. Returns `None`, and queues nothing, if the
    /// frame would follow an incomplete frame.
    fn push_ahead(&mut self, frame: Vec<u8>) -> Option<usize> {
        let (mut index, mut begin) = (0, 0);
        while let Some((other, is_ahead, _)) = self.frames.get(index)
            && (begin < self.written || *is_ahead)
        {
            begin += other.len();
            index += 1;
        }
        if index == self.frames.len() && self.fed().is_some() {
            return None;
        }
        let end = begin + frame.len();
        self.frames.insert(index, (frame.clone(), true, frame.len()));
        Some(end)
    }

    fn waiting(&self) -> Vec<u8> {
        let there: Vec<u8> = self.frames.iter().flat_map(|(frame, _, there)| frame[..*there].iter().copied()).collect();
        there[self.written..].to_vec()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn frames_are_sent_in_the_order_of_a_naive_model(steps in steps()) {
        let (mut queue, mut pool, mut model) = (SendQueue::default(), BufferPool::default(), Model::default());
        for (number, step) in steps.into_iter().enumerate() {
            let is_fed = model.fed().is_some();
            match step {
                Step::Copy(len) if !is_fed => {
                    let frame = message(number as u64, len);
                    queue.push_copy(&frame, &mut pool);
                    model.push(frame.clone(), frame.len());
                }
                Step::Share(len) if !is_fed => {
                    let frame = message(number as u64, len);
                    queue.push_shared(frame.clone().into(), &mut pool);
                    model.push(frame.clone(), frame.len());
                }
                Step::Begin(len) if !is_fed => {
                    let frame = message(number as u64, len);
                    queue.push_copy(&frame[..HEADER_LEN_BYTES], &mut pool);
                    model.push(frame, HEADER_LEN_BYTES);
                }
                Step::Copy(_) | Step::Share(_) | Step::Begin(_) => {}
                Step::Ahead => {
                    let end = model.push_ahead(pong(number as u64));
                    let waiting_bytes = queue.push_ahead(&pong(number as u64), is_fed, &mut pool);
                    prop_assert_eq!(waiting_bytes, end.map(|end| end - model.written));
                }
                Step::Feed(len) => if let Some((frame, _, there)) = model.fed() {
                    let part = &frame[*there..frame.len().min(*there + len)];
                    queue.push_rest_shared(Bytes::copy_from_slice(part), &mut pool);
                    *there += part.len();
                }
                Step::Write(len) => {
                    let len = len.min(queue.waiting_bytes());
                    queue.advance(len, &mut pool);
                    model.written += len;
                }
            }
            let expected = model.waiting();
            let offered = one_write(&queue);
            prop_assert!(offered == expected[..offered.len()]);
            prop_assert_eq!(queue.waiting_bytes(), expected.len());
        }
        let mut left = Vec::new();
        while !queue.is_empty() {
            let some = one_write(&queue);
            queue.advance(some.len(), &mut pool);
            left.extend(some);
        }
        prop_assert!(left == model.waiting());
    }
}
