//! For any stream, cut into any pieces, a framer reports the same frames and error as a reader of the whole stream.
//! The framer's memory is at most twice the stream's length, plus one growth step, one large buffer kept for reuse,
//! and one frame's record.

use crate::tape::Tape;
use allocation_counter::measure;
use peerloop::internals::framer::{FrameLimits, Framed, FramerMemory, FramerRules, Input, MessageFramer, Payload};
use peerloop::internals::limits::BUFFER_GROWTH_BYTES;
use peerloop::time::Instant;
use peerloop_testkit::framing::{self, Arrival, Choice};

const CHOICES: [Choice; 6] =
    [Choice::BUFFER, Choice::BUFFER, Choice::STREAM, Choice::UNCHECKED, Choice::DISCARD, Choice::Refuse];

/// Maximum memory of a frame in progress, in bytes, without its payload.
pub(super) const MAX_RECORD_BYTES: u64 = 512;

pub(crate) fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut arrivals = tape.arrivals();
    let choices = tape.choices(&CHOICES);
    let max_buffered_message_bytes = tape.pick(&[2_000_000, 60_000, 4_096, 100, 0]);
    let rules = FramerRules { frame_limits: FrameLimits::uniform(max_buffered_message_bytes), ..framing::rules() };
    let stream = tape.arriving_stream(&mut arrivals);

    let expected = framing::read_whole(&stream, &rules, &choices);
    assert_eq!(framing::read_arriving(&stream, &[Arrival::Block(usize::MAX)], &rules, &choices), expected);
    assert_eq!(framing::read_arriving(&stream, &arrivals, &rules, &choices), expected);

    let allocated = measure(|| read_and_forget(&stream, &rules, &arrivals, &choices));
    let allowed = 2 * stream.len() as u64 + 2 * BUFFER_GROWTH_BYTES as u64 + MAX_RECORD_BYTES;
    assert!(
        allocated.bytes_max <= allowed,
        "the framer used {} bytes for a stream of {} bytes, more than {allowed}",
        allocated.bytes_max,
        stream.len()
    );
}

/// Reads the stream in pieces through a framer and stores no output, so that all memory in use is the framer's.
pub(super) fn read_and_forget(stream: &[u8], rules: &FramerRules, arrivals: &[Arrival], choices: &[Choice]) {
    let (mut framer, mut memory) = (MessageFramer::default(), FramerMemory::new(u64::MAX));
    let (mut rest, mut asked) = (stream, 0);
    for arrival in arrivals.iter().cycle() {
        let (Arrival::Block(most) | Arrival::Direct(most)) = *arrival;
        let (block, behind) = rest.split_at(most.min(rest.len()));
        rest = behind;
        let mut input = Input::new(block);
        loop {
            let next = framer.next(&mut input, Instant::ZERO, rules, &mut memory, |header| {
                asked += 1;
                choices[(asked - 1) % choices.len()].decide(header)
            });
            match next {
                Ok(Some(Framed::Frame { payload: Payload::Gathered(payload), .. })) => memory.recycle(payload),
                Ok(Some(Framed::Frame { .. } | Framed::Chunk { .. } | Framed::Dropped { .. })) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        if rest.is_empty() {
            return;
        }
    }
}
