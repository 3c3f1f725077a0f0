//! A send queue returns the bytes that were queued, in order, even if the kernel accepts few of them at a time.

use crate::tape::Tape;
use bytes::Bytes;
use peerloop::internals::limits::{MAX_POOLED_BUFFER_BYTES, SLICES_PER_WRITE};
use peerloop::internals::send_queue::{BufferPool, SendQueue};
use std::collections::VecDeque;
use std::io::IoSlice;

/// The queue as its documentation describes it: a sequence of bytes.
#[derive(Debug, Default)]
struct Model {
    waiting: VecDeque<u8>,
    pushed_bytes: u64,
}

pub(crate) fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let (mut queue, mut pool, mut model) = (SendQueue::default(), BufferPool::default(), Model::default());
    while !tape.is_empty() {
        step(&mut tape, &mut queue, &mut pool, &mut model);
        compare(&queue, &model);
    }
    queue.clear(&mut pool);
    assert!(queue.is_empty());
    assert_eq!(queue.waiting_bytes(), 0);
}

fn step(tape: &mut Tape<'_>, queue: &mut SendQueue, pool: &mut BufferPool, model: &mut Model) {
    match tape.u8() {
        0x00..=0x5f => {
            let frame = model.next_bytes(len(tape));
            queue.push_copy(&frame, pool);
            model.waiting.extend(frame);
        }
        0x60..=0x8f => {
            let frame = model.next_bytes(len(tape));
            queue.push_shared(Bytes::from(frame.clone()), pool);
            model.waiting.extend(frame);
        }
        0x90..=0xa7 => {
            let mut behind = SendQueue::default();
            for _ in 0..tape.u8() % 4 {
                let frame = model.next_bytes(len(tape));
                behind.push_copy(&frame, pool);
                model.waiting.extend(frame);
            }
            queue.push_queue(&mut behind, pool);
            assert!(behind.is_empty());
        }
        0xa8..=0xef => {
            let offered = offered(queue, model);
            let written = len(tape).min(offered);
            queue.advance(written, pool);
            model.waiting.drain(..written);
        }
        0xf0..=0xff => {
            queue.clear(pool);
            model.waiting.clear();
        }
    }
}

/// Returns the length of a frame or a write, which is sometimes near a pooled buffer's capacity.
fn len(tape: &mut Tape<'_>) -> usize {
    match tape.u8() {
        len @ 0x00..=0x7f => usize::from(len),
        0x80..=0xbf => MAX_POOLED_BUFFER_BYTES - 8 + usize::from(tape.u8() % 16),
        0xc0..=0xff => usize::from(tape.u16() % 10_000),
    }
}

/// Compares the slices of one gathering write with the waiting bytes, and returns the slices' total length.
fn offered(queue: &SendQueue, model: &Model) -> usize {
    let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
    let filled = queue.fill_slices(&mut slices, usize::MAX);
    let offered: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
    assert!(slices[..filled].iter().all(|slice| !slice.is_empty()), "a slice is empty");
    assert!(
        offered.iter().eq(model.waiting.iter().take(offered.len())),
        "the slices differ from the first waiting bytes"
    );
    assert!(filled == SLICES_PER_WRITE || offered.len() == model.waiting.len(), "a write lacks bytes that would fit");
    offered.len()
}

fn compare(queue: &SendQueue, model: &Model) {
    assert_eq!(queue.is_empty(), model.waiting.is_empty());
    assert_eq!(queue.waiting_bytes(), model.waiting.len());
}

impl Model {
    /// Returns the next `len` bytes of an endless stream. The stream's period, 251 bytes, divides no buffer's size.
    fn next_bytes(&mut self, len: usize) -> Vec<u8> {
        let from = self.pushed_bytes;
        self.pushed_bytes += len as u64;
        (from..self.pushed_bytes).map(|at| (at % 251) as u8).collect()
    }
}
