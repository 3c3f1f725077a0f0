//! Receiving directly into a frame's buffer: never beyond the frame and never with a gap.

use peerloop::internals::framer::{
    Delivery, FrameLimits, Framed, FramerMemory, FramerRules, Input, MessageFramer, Payload,
};
use peerloop::internals::limits::{BUFFER_GROWTH_BYTES, MAX_POOLED_BUFFER_BYTES};
use peerloop::time::Instant;
use peerloop_testkit::framing::{
    Arrival, Choice, Link, Outcome, command, frame, memory, payload, read_arriving, read_whole, rules,
};
use proptest::prelude::*;

/// Minimum number of a frame's missing bytes for which the framer offers room for a direct read.
const MIN_DIRECT: usize = 16 * 1_024;
const GROWTH: usize = BUFFER_GROWTH_BYTES;
const MAX_BUFFERED: usize = 3 * GROWTH + 100;

fn bounded() -> FramerRules {
    FramerRules { frame_limits: FrameLimits::uniform(MAX_BUFFERED as u64), ..rules() }
}

/// Returns every payload length at which the framer's behaviour changes, and the lengths one byte shorter and longer.
fn edges() -> Vec<usize> {
    [MAX_POOLED_BUFFER_BYTES, MIN_DIRECT, GROWTH, GROWTH + MIN_DIRECT, 2 * GROWTH, 3 * GROWTH, MAX_BUFFERED]
        .into_iter()
        .flat_map(|edge| [edge - 1, edge, edge + 1])
        .collect()
}

/// Feeds a new framer the header and the first `received` payload bytes of a frame with `len` payload bytes. Returns
/// the framer and the frame's remaining bytes.
fn begun(len: usize, received: usize, memory: &mut FramerMemory) -> (MessageFramer, Vec<u8>) {
    let mut bytes = frame("tx", &payload(len));
    let rest = bytes.split_off(24 + received);
    let (mut framer, mut input) = (MessageFramer::default(), Input::new(&bytes));
    let next = framer.next(&mut input, Instant::ZERO, &bounded(), memory, |_| Ok(Delivery::Buffer));
    assert_eq!(next, Ok(None));
    (framer, rest)
}

fn finish(framer: &mut MessageFramer, bytes: &[u8], memory: &mut FramerMemory) -> Option<Vec<u8>> {
    let next = framer
        .next(&mut Input::new(bytes), Instant::ZERO, &bounded(), memory, |_| panic!("the framer read another header"));
    match next {
        Ok(Some(Framed::Frame { payload, .. })) => Some(payload.as_slice().to_vec()),
        Ok(Some(Framed::Chunk { .. } | Framed::Dropped { .. }) | None) | Err(_) => None,
    }
}

#[test]
fn direct_reads_in_steps_of_several_sizes_give_the_same_results_as_one_block() {
    let choices = [Choice::BUFFER];
    for len in edges() {
        let stream = [frame("tx", &payload(len)), frame("ping", b"12345678"), frame("tx", &payload(len))].concat();
        let expected = read_whole(&stream, &bounded(), &choices);
        for step in [1_460, MIN_DIRECT - 1, MIN_DIRECT, GROWTH - 1, GROWTH, GROWTH + 1, usize::MAX] {
            // The first block contains the whole header, so that direct reads receive the payload.
            for first in [24, 25, 24 + len / 2] {
                let arrivals = [&[Arrival::Block(first)][..], &[Arrival::Direct(step); 1_000]].concat();
                assert_eq!(read_arriving(&stream, &arrivals, &bounded(), &choices), expected, "{len} by {step}");
            }
        }
    }
}

#[test]
fn room_is_offered_exactly_when_enough_bytes_are_missing() {
    for len in edges().into_iter().filter(|&len| len <= MAX_BUFFERED) {
        for received in [0, 1, len / 2, len - MIN_DIRECT.min(len), len - (MIN_DIRECT - 1).min(len), len - 1] {
            let mut memory = memory();
            let (mut framer, rest) = begun(len, received, &mut memory);
            let room = framer.direct_room(&mut memory).map(|room| room.len());
            match room {
                None => assert!(rest.len() < MIN_DIRECT),
                Some(room) => {
                    assert!(rest.len() >= MIN_DIRECT && room <= rest.len().min(GROWTH));
                    assert!(room >= MIN_DIRECT, "room for only {room} bytes was offered");
                    assert!(
                        room <= received.max(MIN_DIRECT),
                        "{room} bytes were zeroed for a peer that sent only {received}"
                    );
                }
            }
        }
    }
}

#[test]
fn there_is_no_room_for_frames_that_are_not_buffered() {
    for choice in [Choice::STREAM, Choice::UNCHECKED, Choice::DISCARD] {
        let (rules, choices, mut memory) = (rules(), [choice], memory());
        let stream = frame("tx", &payload(100_000));
        let mut link = Link::new(&rules, &choices);
        assert!(link.framer.direct_room(&mut memory).is_none(), "room was offered before a frame had begun");
        link.arrive(&stream, Arrival::Block(10), &mut memory);
        assert!(link.framer.direct_room(&mut memory).is_none(), "room was offered before the header was complete");
        link.arrive(&stream[10..], Arrival::Block(100), &mut memory);
        assert!(link.framer.direct_room(&mut memory).is_none());
    }
    let mut memory = memory();
    let (mut framer, _) = begun(MAX_BUFFERED + 1, 0, &mut memory);
    assert!(framer.direct_room(&mut memory).is_none(), "room was offered for a frame that is too large to be buffered");
}

#[test]
fn the_next_call_returns_a_frame_that_a_direct_read_completed() {
    let mut memory = memory();
    let (mut framer, rest) = begun(MIN_DIRECT, 0, &mut memory);
    framer.direct_room(&mut memory).unwrap().copy_from_slice(&rest);
    framer.received_directly(rest.len(), Instant::ZERO);
    assert!(framer.direct_room(&mut memory).is_none());
    let next_frame = frame("ping", b"12345678");
    let mut input = Input::new(&next_frame);
    let next =
        framer.next(&mut input, Instant::ZERO, &bounded(), &mut memory, |_| panic!("the framer read another header"));
    assert!(matches!(next, Ok(Some(Framed::Frame { payload: Payload::Gathered(_), .. }))));
    assert_eq!(input.rest(), next_frame, "bytes of the next frame were consumed");
    assert!(!framer.is_within_frame());
}

#[test]
fn a_failed_read_leaves_no_gap() {
    for fills_room in [false, true] {
        let mut memory = memory();
        let (mut framer, rest) = begun(100_000, 1_000, &mut memory);
        for _ in 0..3 {
            let room = framer.direct_room(&mut memory).unwrap();
            if fills_room {
                room.fill(0xee);
            }
        }
        framer.received_directly(0, Instant::ZERO);
        let room = framer.direct_room(&mut memory).unwrap();
        room[..500].copy_from_slice(&rest[..500]);
        framer.received_directly(500, Instant::ZERO);
        // The caller gets room, but reads into a block instead.
        assert!(framer.direct_room(&mut memory).is_some());
        assert_eq!(finish(&mut framer, &rest[500..], &mut memory), Some(payload(100_000)));
        assert_eq!(memory.gathered_bytes(), 0);
    }
}

#[test]
fn room_that_a_read_did_not_fill_is_not_zeroed_again() {
    let mut memory = memory();
    let (mut framer, rest) = begun(MAX_BUFFERED, 0, &mut memory);
    framer.direct_room(&mut memory).unwrap().fill(0xee);
    framer.received_directly(1_448, Instant::ZERO);
    // The caller looks for a whole frame between two reads.
    assert_eq!(finish(&mut framer, &[], &mut memory), None);
    let room = framer.direct_room(&mut memory).unwrap();
    let (prepared, new) = room.split_at(MIN_DIRECT - 1_448);
    assert!(prepared.iter().all(|&byte| byte == 0xee), "the unfilled room was zeroed again after a small read");
    assert_eq!(new, [0; 1_448], "the room did not grow by one zero for each received byte");
    assert!(rest.len() > room.len());
}

#[test]
#[should_panic(expected = "the kernel filled more than the buffer")]
fn receiving_more_than_the_room_panics() {
    let mut memory = memory();
    let (mut framer, _) = begun(2 * GROWTH, 0, &mut memory);
    let room = framer.direct_room(&mut memory).unwrap().len();
    framer.received_directly(room + 1, Instant::ZERO);
}

#[test]
fn receiving_zero_bytes_without_room_does_nothing() {
    let (mut framer, mut memory) = (MessageFramer::default(), memory());
    framer.received_directly(0, Instant::ZERO);
    assert!(!framer.is_within_frame());
    let (mut framer, rest) = begun(100, 50, &mut memory);
    framer.received_directly(0, Instant::ZERO);
    assert_eq!(finish(&mut framer, &rest, &mut memory), Some(payload(100)));
    let (mut framer, _) = begun(MAX_BUFFERED + 1, 50, &mut memory);
    framer.received_directly(0, Instant::ZERO);
    assert!(framer.is_within_frame());
}

#[test]
fn a_frame_beyond_the_bound_on_all_gathered_bytes_is_dropped_and_the_link_stays_open() {
    for bound in [0, 1_000, GROWTH as u64 - 1, GROWTH as u64, 2 * GROWTH as u64] {
        let (rules, choices, mut memory) = (bounded(), [Choice::BUFFER], FramerMemory::new(bound));
        let stream = [frame("tx", &payload(3 * GROWTH)), frame("ping", b"12345678")].concat();
        let mut link = Link::new(&rules, &choices);
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let arrival = if rest.len() == stream.len() { Arrival::Block(24) } else { Arrival::Direct(50_000) };
            rest = &rest[link.arrive(rest, arrival, &mut memory)..];
            assert!(memory.gathered_bytes() <= bound);
        }
        assert_eq!(memory.gathered_bytes(), 0);
        assert_eq!(link.results.outcomes.len(), 2);
        assert!(matches!(&link.results.outcomes[0], Outcome::Dropped { .. }), "{bound}");
        let ping = Outcome::Frame { command: command(b"ping"), payload: b"12345678".to_vec() };
        assert_eq!(link.results.outcomes[1], ping);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Gets room and fills at most this many bytes of it.
    Direct(usize),
    /// Gets room and does not use it.
    Unused,
    /// Receives a block of at most this many bytes.
    Block(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let most = prop_oneof![Just(0), 1..3_000usize, 1..GROWTH + 1, Just(usize::MAX)];
    let step = (0..5u8, most).prop_map(|(kind, most)| match kind {
        0 => Step::Unused,
        1 => Step::Block(most),
        2.. => Step::Direct(most),
    });
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn any_mixture_of_direct_reads_and_blocks_gives_the_payload(
        len in prop_oneof![prop::sample::select(edges()), 1..MAX_BUFFERED],
        start in 0..20_000usize,
        steps in steps(),
    ) {
        let len = len.min(MAX_BUFFERED);
        let mut memory = memory();
        let (mut framer, rest) = begun(len, start.min(len - 1), &mut memory);
        let mut rest = &rest[..];
        for step in steps {
            let taken = match step {
                Step::Unused => framer.direct_room(&mut memory).map_or(0, |_| 0),
                Step::Block(most) => {
                    // The last byte is kept back, so that only the last call completes the frame.
                    let (block, _) = rest.split_at(most.min(rest.len() - 1));
                    prop_assert_eq!(finish(&mut framer, block, &mut memory), None);
                    block.len()
                }
                Step::Direct(most) => match framer.direct_room(&mut memory) {
                    None => 0,
                    Some(room) => {
                        let taken = most.min(room.len()).min(rest.len() - 1);
                        room[..taken].copy_from_slice(&rest[..taken]);
                        framer.received_directly(taken, Instant::ZERO);
                        taken
                    }
                },
            };
            rest = &rest[taken..];
            let received = (24 + len - rest.len()) as u64;
            prop_assert!(memory.gathered_bytes() <= received + GROWTH as u64);
        }
        prop_assert_eq!(finish(&mut framer, rest, &mut memory), Some(payload(len)));
        prop_assert_eq!(memory.gathered_bytes(), 0);
    }
}
