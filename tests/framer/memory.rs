//! Framing allocates no memory in the steady state, and never more than the bounds.

use allocation_counter::measure;
use peerloop::internals::blocks::ReadBlock;
use peerloop::internals::framer::{Delivery, DropCause, Framed, FramerMemory, Input, MessageFramer, Payload};
use peerloop::internals::limits::{
    BUFFER_GROWTH_BYTES, MAX_LARGE_BUFFERS, MAX_POOLED_BUFFER_BYTES, MAX_POOLED_BUFFERS, READ_BLOCK_BYTES,
};
use peerloop::time::Instant;
use peerloop_testkit::framing::{Arrival, Choice, Link, Outcome, command, frame, memory, payload, rules};
use proptest::prelude::*;

/// Returns a stream of frames whose payloads each fit into one buffer of the pool.
fn small_stream() -> Vec<u8> {
    [
        frame("verack", b""),
        frame("ping", b"12345678"),
        frame("inv", &payload(37)),
        frame("inv", &payload(36 * 100 + 3)),
        frame("tx", &payload(250)),
        frame("tx", &payload(MAX_POOLED_BUFFER_BYTES)),
        frame("addr", &payload(31)),
    ]
    .concat()
}

/// Feeds one block, recycles the buffers of completed frames, and returns the number of completed frames.
fn feed(framer: &mut MessageFramer, block: &[u8], memory: &mut FramerMemory, delivery: Delivery) -> usize {
    let (rules, mut input, mut frames) = (rules(), Input::new(block), 0);
    while let Some(framed) =
        framer.next(&mut input, Instant::ZERO, &rules, memory, |_| Ok(delivery)).expect("the bytes are valid")
    {
        match framed {
            Framed::Frame { payload: Payload::Gathered(payload), .. } => memory.recycle(payload),
            Framed::Frame { payload: Payload::InPlace(_), .. } | Framed::Dropped { .. } => {}
            Framed::Chunk { last: None, .. } => continue,
            Framed::Chunk { last: Some(_), .. } => {}
        }
        frames += 1;
    }
    frames
}

#[test]
fn frames_that_are_whole_in_the_input_allocate_nothing_not_even_the_first() {
    let block = small_stream().repeat(10);
    for delivery in [Delivery::Buffer, Delivery::Chunks, Delivery::Discard] {
        let (mut framer, mut memory) = (MessageFramer::default(), memory());
        let cost = measure(|| assert_eq!(feed(&mut framer, &block, &mut memory, delivery), 70));
        assert_eq!(cost.count_total, 0, "{delivery:?}");
    }
}

#[test]
fn a_recycled_read_block_allocates_nothing() {
    let mut block = ReadBlock::new();
    let cost = measure(|| {
        for _ in 0..10 {
            assert_eq!(block.room().len(), READ_BLOCK_BYTES);
            let frozen = block.freeze();
            block.thaw(frozen);
        }
    });
    assert_eq!(cost.count_total, 0);
}

#[test]
fn the_pool_serves_more_frames_than_it_has_buffers() {
    let (mut framer, mut memory) = (MessageFramer::default(), memory());
    let bytes = frame("ping", b"12345678");
    let mut cut_once = |at: usize| {
        feed(&mut framer, &bytes[..at], &mut memory, Delivery::Buffer);
        feed(&mut framer, &bytes[at..], &mut memory, Delivery::Buffer)
    };
    cut_once(30);
    let cost = measure(|| {
        for _ in 0..2 * MAX_POOLED_BUFFERS {
            assert_eq!(cut_once(30), 1);
        }
    });
    assert_eq!(cost.count_total, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn frames_cut_anywhere_allocate_nothing_once_the_pool_is_warm(
        cuts in prop::collection::vec(prop_oneof![1..40usize, 1..3_000usize], 1..100),
        links in 1..20usize,
        delivery in prop::sample::select(&[Delivery::Buffer, Delivery::Chunks, Delivery::Discard][..]),
    ) {
        let (stream, mut memory) = (small_stream(), memory());
        let mut framers: Vec<MessageFramer> = (0..links).map(|_| MessageFramer::default()).collect();
        // The pool is warm once all links have buffered a frame at the same time, however small.
        for bytes in [&stream[..24 + 24 + 1], &stream[24 + 24 + 1..24 + 24 + 8]] {
            for framer in &mut framers {
                feed(framer, bytes, &mut memory, Delivery::Buffer);
            }
        }
        let (mut at, mut cuts) = (vec![24 + 24 + 8; links], cuts.iter().cycle());
        let cost = measure(|| {
            for turn in 0..200 {
                let link = turn % links;
                let rest = &stream[at[link]..];
                let (block, rest) = rest.split_at(cuts.next().map_or(0, |&cut| cut.min(rest.len())));
                feed(&mut framers[link], block, &mut memory, delivery);
                at[link] = if rest.is_empty() { 0 } else { stream.len() - rest.len() };
            }
        });
        prop_assert_eq!(cost.count_total, 0);
    }
}

#[test]
fn small_frames_are_buffered_even_without_room_for_large_ones() {
    let (rules, choices, mut memory) = (rules(), [Choice::BUFFER], FramerMemory::new(0));
    for len in [1, 100, MAX_POOLED_BUFFER_BYTES, MAX_POOLED_BUFFER_BYTES + 1, 100_000] {
        let stream = frame("tx", &payload(len));
        for step in [1, 1_000, 60_000] {
            let mut link = Link::new(&rules, &choices);
            let mut rest = &stream[..];
            while !rest.is_empty() {
                // The frame arrives in at least two pieces, because a frame that is whole in the input needs no
                // memory.
                let step = step.min(stream.len() - 1);
                rest = &rest[link.arrive(rest, Arrival::Block(step), &mut memory)..];
                assert_eq!(memory.gathered_bytes(), 0);
            }
            let outcome = &link.results.outcomes[..];
            let is_kept = matches!(outcome, [Outcome::Frame { .. }]);
            let is_dropped = matches!(outcome, [Outcome::Dropped { cause: DropCause::NoBufferRoom, .. }]);
            // The first bytes of a large frame may fit into a buffer of the pool, but the whole frame does not.
            assert_eq!((is_kept, is_dropped), (len <= MAX_POOLED_BUFFER_BYTES, len > MAX_POOLED_BUFFER_BYTES));
        }
    }
}

#[test]
fn dropping_a_frame_for_lack_of_room_allocates_nothing() {
    let mut memory = FramerMemory::new(0);
    let (mut framer, bytes) = (MessageFramer::default(), frame("tx", &payload(100_000)));
    let small = frame("ping", b"12345678");
    let mut drop_one = || {
        // A large frame begins in a buffer of the pool, which must be returned to the pool.
        assert_eq!(feed(&mut framer, &small[..30], &mut memory, Delivery::Buffer), 0);
        assert_eq!(feed(&mut framer, &small[30..], &mut memory, Delivery::Buffer), 1);
        assert_eq!(feed(&mut framer, &bytes[..1_000], &mut memory, Delivery::Buffer), 0);
        assert_eq!(feed(&mut framer, &bytes[1_000..50_000], &mut memory, Delivery::Buffer), 0);
        assert!(framer.direct_room(&mut memory).is_none());
        assert_eq!(feed(&mut framer, &bytes[50_000..], &mut memory, Delivery::Buffer), 1);
    };
    drop_one();
    let cost = measure(drop_one);
    assert_eq!(cost.count_total, 0, "{cost:?}");
}

#[test]
fn a_frame_returns_all_its_memory_however_it_ends() {
    let large = frame("tx", &payload(200_000));
    let mut wrong = large.clone();
    wrong[20] ^= 1;
    let bad_header = [&wrong[..], b"garbage"].concat();
    for (stream, end) in [(&large, 200_024), (&large, 150_000), (&wrong, 200_024), (&bad_header, 200_031)] {
        let mut memory = memory();
        let (rules, choices) = (rules(), [Choice::BUFFER]);
        let mut link = Link::new(&rules, &choices);
        let mut rest = &stream[..end];
        while !rest.is_empty() && link.results.error.is_none() {
            rest = &rest[link.arrive(rest, Arrival::Direct(10_000), &mut memory)..];
        }
        assert_eq!(
            memory.gathered_bytes() > 0,
            end == 150_000,
            "a finished frame uses memory, or an unfinished one uses none"
        );
        link.framer.reset(&mut memory);
        assert_eq!(memory.gathered_bytes(), 0);
        assert!(!link.framer.is_within_frame());
    }
}

#[test]
fn a_reset_framer_behaves_like_a_new_one() {
    let (mut framer, mut memory) = (MessageFramer::default(), memory());
    let stream = small_stream();
    for delivery in [Delivery::Buffer, Delivery::Chunks, Delivery::Discard] {
        for end in (0..stream.len()).step_by(7) {
            feed(&mut framer, &stream[..end], &mut memory, delivery);
            framer.reset(&mut memory);
            // A frame delivered in two chunks shows whether the hash was restarted.
            let (first, second) = stream[24..56].split_at(28);
            assert_eq!(feed(&mut framer, first, &mut memory, Delivery::Chunks), 0);
            let mut input = Input::new(second);
            let next = framer
                .next(&mut input, Instant::ZERO, &rules(), &mut memory, |_| panic!("the framer read another header"));
            let correct = Some(peerloop::internals::framer::ChecksumVerdict::Correct);
            assert!(matches!(next, Ok(Some(Framed::Chunk { last, .. })) if last == correct), "{next:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn the_large_frames_of_many_links_together_never_exceed_the_bound(
        bound in 0..1_000_000u64,
        lens in prop::collection::vec(prop_oneof![1..5_000usize, 1..300_000usize], 2..12),
        turns in prop::collection::vec((0..12usize, 1..70_000usize, prop::bool::ANY), 0..80),
    ) {
        let (rules, choices, mut memory) = (rules(), [Choice::BUFFER], FramerMemory::new(bound));
        let streams: Vec<Vec<u8>> = lens.iter().map(|&len| frame("tx", &payload(len)).repeat(2)).collect();
        let mut links: Vec<Link<'_>> = lens.iter().map(|_| Link::new(&rules, &choices)).collect();
        let mut at = vec![0; lens.len()];
        let drain = (0..lens.len()).flat_map(|link| [(link, 100_000, false); 8]);
        for (link, most, is_direct) in turns.into_iter().chain(drain) {
            let link = link % lens.len();
            let arrival = if is_direct { Arrival::Direct(most) } else { Arrival::Block(most) };
            at[link] += links[link].arrive(&streams[link][at[link]..], arrival, &mut memory);
            prop_assert!(memory.gathered_bytes() <= bound);
        }
        prop_assert_eq!(memory.gathered_bytes(), 0, "memory is in use although all frames are complete");
        for (link, len) in links.iter().zip(lens) {
            prop_assert_eq!(link.results.outcomes.len(), 2);
            for outcome in &link.results.outcomes {
                let whole = Outcome::Frame { command: command(b"tx"), payload: payload(len) };
                let (payload_len, cause) = (len as u64, DropCause::NoBufferRoom);
                let dropped = Outcome::Dropped { command: command(b"tx"), payload_len, cause };
                let may_be_dropped = len > MAX_POOLED_BUFFER_BYTES;
                prop_assert!(*outcome == whole || may_be_dropped && *outcome == dropped);
            }
        }
    }
}

#[test]
fn the_bound_can_be_used_to_its_last_byte() {
    let bound = 2 * BUFFER_GROWTH_BYTES as u64;
    let mut memory = FramerMemory::new(bound);
    let bytes = frame("tx", &payload(BUFFER_GROWTH_BYTES));
    let mut framers: [MessageFramer; 3] = Default::default();
    for framer in &mut framers {
        feed(framer, &bytes[..5_024], &mut memory, Delivery::Buffer);
    }
    assert_eq!(memory.gathered_bytes(), bound, "the two frames that fit do not fill the bound exactly");
    let rest = &bytes[5_024..];
    let is_delivered = framers.map(|mut framer| {
        let next = framer.next(&mut Input::new(rest), Instant::ZERO, &rules(), &mut memory, |_| {
            panic!("the framer asked about a second header")
        });
        matches!(next, Ok(Some(Framed::Frame { .. })))
    });
    assert_eq!(is_delivered, [true, true, false]);
}

#[test]
fn payloads_of_4_to_64_kib_share_one_buffer_size_but_count_at_their_own_size() {
    let mut memory = memory();
    let mut framers: [MessageFramer; MAX_LARGE_BUFFERS] = Default::default();
    let mut round = || {
        let mut counted = 0;
        for (index, framer) in framers.iter_mut().enumerate() {
            let payload_len = MAX_POOLED_BUFFER_BYTES + 1 + index * 4_000;
            let bytes = frame("tx", &payload(payload_len));
            counted += payload_len as u64;
            let most = 24 + payload_len - 1;
            let cost = measure(|| assert_eq!(feed(framer, &bytes[..most], &mut memory, Delivery::Buffer), 0));
            assert!(cost.bytes_max <= 2 * BUFFER_GROWTH_BYTES as u64, "{cost:?}");
            assert_eq!(memory.gathered_bytes(), counted);
        }
        for framer in &mut framers {
            framer.reset(&mut memory);
        }
        assert_eq!(memory.gathered_bytes(), 0);
    };
    round();
    // The frames themselves are allocated again in each round.
    let warm = measure(&mut round);
    let frames_alone = measure(|| {
        (0..MAX_LARGE_BUFFERS).for_each(|index| {
            drop(frame("tx", &payload(MAX_POOLED_BUFFER_BYTES + 1 + index * 4_000)));
        });
    });
    assert_eq!(warm.count_total, frames_alone.count_total, "the buffers were allocated again");
}
