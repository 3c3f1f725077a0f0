//! Peers that send too slowly, in virtual time.

use allocation_counter::measure;
use peerloop::error::Deadline;
use peerloop::internals::framer::{Delivery, FrameLimits, Framed, FramerMemory, FramerRules, Input, MessageFramer};
use peerloop::internals::limits::{BUFFER_GROWTH_BYTES, MAX_BUFFERED_MESSAGE_BYTES};
use peerloop::time::Instant;
use peerloop_testkit::framing::{MAGIC, command, frame, head, memory, payload, rules};
use proptest::prelude::*;
use std::time::Duration;

/// Maximum memory besides the payload, in bytes: the frame's record, and the list that keeps the record for reuse.
const MAX_RECORD_BYTES: u64 = 1_024;

fn at(secs: u64) -> Instant {
    Instant::ZERO.plus(Duration::from_secs(secs))
}

/// A link in virtual time.
struct Link {
    framer: MessageFramer,
    memory: FramerMemory,
    rules: FramerRules,
    delivery: Delivery,
}

impl Link {
    fn new(delivery: Delivery) -> Self {
        Self { framer: MessageFramer::default(), memory: memory(), rules: rules(), delivery }
    }

    fn feed(&mut self, bytes: &[u8], now: Instant) -> usize {
        let (mut input, mut parts) = (Input::new(bytes), 0);
        let delivery = self.delivery;
        loop {
            match self
                .framer
                .next(&mut input, now, &self.rules, &mut self.memory, |_| Ok(delivery))
                .expect("the bytes are valid")
            {
                Some(Framed::Frame { .. } | Framed::Chunk { .. } | Framed::Dropped { .. }) => parts += 1,
                None => return parts,
            }
        }
    }

    fn overdue(&mut self, now: Instant) -> Option<Deadline> {
        self.framer.overdue(now, &self.rules)
    }
}

/// All kinds of delivery. The limits for slow peers are the same for each.
const DELIVERIES: [Delivery; 3] = [Delivery::Buffer, Delivery::Chunks, Delivery::Discard];

#[test]
fn between_frames_nothing_is_due() {
    let mut link = Link::new(Delivery::Buffer);
    assert_eq!(link.framer.deadline(), None);
    link.feed(&frame("ping", b"12345678"), at(5));
    assert_eq!(link.framer.deadline(), None);
    assert_eq!(link.overdue(Instant::MAX), None);
    link.feed(&frame("ping", b"12345678")[..30], at(6));
    assert!(link.framer.deadline().is_some());
    link.feed(&frame("ping", b"12345678")[30..], at(7));
    assert_eq!(link.framer.deadline(), None);
}

#[test]
fn a_dripping_header_is_overdue_twenty_seconds_after_its_first_byte() {
    let mut link = Link::new(Delivery::Buffer);
    link.feed(&MAGIC[..1], at(100));
    assert_eq!(link.framer.deadline(), Some(at(120)));
    link.feed(&MAGIC[1..2], at(119));
    assert_eq!(link.framer.deadline(), Some(at(120)), "a further byte moved the deadline");
    assert_eq!(link.overdue(Instant::from_nanos(at(120).as_nanos() - 1)), None);
    assert_eq!(link.overdue(at(120)), Some(Deadline::Header));
    assert_eq!(link.overdue(at(121)), Some(Deadline::Header), "the header was no longer overdue");
}

#[test]
fn a_header_that_arrives_in_time_starts_the_window_of_its_body() {
    for delivery in DELIVERIES {
        let mut link = Link::new(delivery);
        let bytes = frame("inv", &payload(1_000));
        link.feed(&bytes[..1], at(100));
        link.feed(&bytes[1..24], at(119));
        assert_eq!(link.framer.deadline(), Some(at(179)));
        assert_eq!(link.overdue(at(178)), None);
        assert_eq!(link.overdue(at(179)), Some(Deadline::Body));
    }
}

#[test]
fn time_spent_on_one_frame_is_not_charged_to_the_next() {
    let mut link = Link::new(Delivery::Buffer);
    let bytes = frame("inv", &payload(1_000));
    link.feed(&bytes[..500], at(0));
    let rest = [&bytes[500..], &MAGIC[..2]].concat();
    assert_eq!(link.feed(&rest, at(50)), 1);
    assert_eq!(link.framer.deadline(), Some(at(70)));
    link.feed(&bytes[2..100], at(60));
    assert_eq!(link.framer.deadline(), Some(at(120)));
}

#[test]
fn a_body_that_never_arrives_uses_little_memory_and_expires() {
    let header = head(command(b"inv"), MAX_BUFFERED_MESSAGE_BYTES as u32, [0; 4]);
    let mut link = Link::new(Delivery::Buffer);
    let cost = measure(|| assert_eq!(link.feed(&header, at(10)), 0));
    assert!(cost.bytes_max <= MAX_RECORD_BYTES, "{cost:?}");
    let cost = measure(|| assert!(link.framer.direct_room(&mut link.memory).is_some()));
    assert!(cost.bytes_max <= BUFFER_GROWTH_BYTES as u64, "{cost:?}");
    link.framer.received_directly(0, at(69));
    assert_eq!(link.framer.deadline(), Some(at(70)), "zero bytes counted as progress");
    assert_eq!(link.overdue(at(69)), None);
    assert_eq!(link.overdue(at(70)), Some(Deadline::Body));
}

#[test]
fn memory_follows_the_bytes_received_and_not_the_length_claimed() {
    let body = payload(MAX_BUFFERED_MESSAGE_BYTES as usize);
    let bytes = frame("tx", &body);
    for (step, is_direct) in [(1, false), (1_460, false), (1_460, true), (65_536, false), (65_536, true)] {
        let mut link = Link::new(Delivery::Buffer);
        let (mut owned, mut received) = (0, 0);
        let mut blocks = bytes.chunks(24).take(1).chain(bytes[24..].chunks(step));
        // Reading the whole payload byte by byte would be too slow. The first steps of growth are enough.
        let most = if step == 1 { 3 * BUFFER_GROWTH_BYTES } else { body.len() - 1 };
        while received < most {
            let block = blocks.next().unwrap();
            let cost = measure(|| {
                let room = if is_direct { link.framer.direct_room(&mut link.memory) } else { None };
                let Some(room) = room else {
                    link.feed(block, at(0));
                    return;
                };
                // Bytes beyond the room are skipped, because the payload's contents do not matter here.
                let taken = block.len().min(room.len());
                room[..taken].copy_from_slice(&block[..taken]);
                link.framer.received_directly(taken, at(0));
            });
            received += block.len();
            owned += cost.bytes_current;
            let bound = received + BUFFER_GROWTH_BYTES;
            assert!(link.memory.gathered_bytes() <= bound as u64, "too much is buffered after {received} bytes");
            assert!(
                owned <= (bound as u64 + MAX_RECORD_BYTES) as i64,
                "{owned} bytes are held after {received} were received"
            );
        }
    }
}

#[test]
fn a_body_below_its_minimum_rate_is_overdue_after_one_window() {
    for delivery in DELIVERIES {
        for (bytes_per_sec, is_overdue) in [(1_023, true), (1_024, false), (5_000, false)] {
            let mut link = Link::new(delivery);
            link.feed(&head(command(b"tx"), 1_000_000_000, [0; 4]), at(0));
            let piece = payload(bytes_per_sec);
            for sec in 1..60 {
                link.feed(&piece, at(sec));
                assert_eq!(link.overdue(at(sec)), None);
            }
            link.feed(&piece, at(60));
            assert_eq!(link.overdue(at(60)) == Some(Deadline::Body), is_overdue, "{bytes_per_sec} B/s");
        }
    }
}

#[test]
fn the_minimum_rate_is_configurable() {
    for (least, bytes_per_sec, is_overdue) in
        [(1, 1, false), (5_000, 4_999, true), (5_000, 5_000, false), (0, 1, false), (u64::MAX, 5_000, true)]
    {
        let mut link = Link::new(Delivery::Chunks);
        link.rules.min_body_bytes_per_second = least;
        link.feed(&head(command(b"tx"), 1_000_000_000, [0; 4]), at(0));
        let piece = payload(bytes_per_sec);
        for sec in 1..=60 {
            link.feed(&piece, at(sec));
        }
        assert_eq!(link.overdue(at(60)) == Some(Deadline::Body), is_overdue, "{bytes_per_sec} B/s of {least}");
    }
}

#[test]
fn without_a_minimum_rate_a_drip_is_in_time_and_a_stalled_body_is_not() {
    let mut link = Link::new(Delivery::Discard);
    link.rules.min_body_bytes_per_second = 0;
    link.feed(&MAGIC[..1], at(0));
    assert_eq!(link.overdue(at(20)), Some(Deadline::Header), "without a minimum rate, the header was not overdue");
    link.feed(&head(command(b"tx"), 1_000, [0; 4])[1..], at(20));
    for drip in 1..=100 {
        link.feed(b"x", at(20 + 59 * drip));
        assert_eq!(link.overdue(at(20 + 59 * drip)), None);
    }
    assert_eq!(link.overdue(at(20 + 59 * 100 + 59)), None);
    assert_eq!(link.overdue(at(20 + 59 * 100 + 60)), Some(Deadline::Body));
}

#[test]
fn a_slow_rest_is_overdue_despite_a_fast_beginning() {
    let mut link = Link::new(Delivery::Discard);
    link.feed(&head(command(b"tx"), 1_000_000_000, [0; 4]), at(0));
    link.feed(&payload(10_000_000), at(1));
    assert_eq!(link.overdue(at(60)), None);
    for sec in 61..120 {
        link.feed(b"x", at(sec));
        assert_eq!(link.overdue(at(sec)), None);
    }
    assert_eq!(link.overdue(at(120)), Some(Deadline::Body));
}

#[test]
fn a_stalled_body_is_overdue_one_window_after_its_last_byte() {
    for delivery in DELIVERIES {
        let mut link = Link::new(delivery);
        link.feed(&head(command(b"tx"), 2_000_000, [0; 4]), at(0));
        link.feed(&payload(1_000_000), at(25));
        assert_eq!(link.framer.deadline(), Some(at(60)));
        assert_eq!(link.overdue(at(60)), None);
        assert_eq!(link.framer.deadline(), Some(at(85)));
        assert_eq!(link.overdue(at(84)), None);
        assert_eq!(link.overdue(at(85)), Some(Deadline::Body));
    }
}

#[test]
fn a_body_at_its_minimum_rate_may_last_an_hour() {
    for delivery in DELIVERIES {
        let mut link = Link::new(delivery);
        link.rules.frame_limits = FrameLimits::uniform(u64::MAX);
        link.feed(&head(command(b"tx"), 4_000_000, [0; 4]), at(0));
        let piece = payload(1_024);
        for sec in 1..=3_600 {
            link.feed(&piece, at(sec));
            if link.framer.deadline().is_some_and(|deadline| deadline <= at(sec)) {
                assert_eq!(link.overdue(at(sec)), None, "second {sec}");
            }
            assert!(link.framer.deadline() > Some(at(sec)), "a deadline that was met was not replaced by a later one");
        }
        assert!(link.framer.is_within_frame());
    }
}

#[test]
fn bytes_received_directly_are_progress() {
    let mut link = Link::new(Delivery::Buffer);
    link.feed(&head(command(b"tx"), 2_000_000, [0; 4]), at(0));
    for sec in 1..=600 {
        let room = link.framer.direct_room(&mut link.memory).unwrap();
        let taken = room.len().min(1_100);
        link.framer.received_directly(taken, at(sec));
        assert_eq!(link.overdue(at(sec)), None, "second {sec}");
    }
}

proptest! {
    #[test]
    fn our_own_pause_moves_every_deadline_by_its_length(
        sent in 1..200usize,
        began in 0..100u64,
        went_on in 0..19u64,
        pause_ms in 0..10_000_000u64,
    ) {
        let pause = Duration::from_millis(pause_ms);
        let bytes = frame("inv", &payload(1_000));
        let mut link = Link::new(Delivery::Buffer);
        link.feed(&bytes[..1], at(began));
        link.feed(&bytes[1..=sent], at(began + went_on));
        let deadline = link.framer.deadline().unwrap();
        link.framer.extend_deadlines(pause);
        prop_assert_eq!(link.framer.deadline(), Some(deadline.plus(pause)));
        let just_before = Instant::from_nanos(deadline.plus(pause).as_nanos() - 1);
        prop_assert_eq!(link.overdue(just_before), None);
        prop_assert!(link.overdue(deadline.plus(pause)).is_some());
    }

    #[test]
    fn an_extension_moves_the_window_and_keeps_its_byte_count(kept_kib in 0..200usize) {
        let mut link = Link::new(Delivery::Discard);
        link.feed(&head(command(b"tx"), 1_000_000_000, [0; 4]), at(0));
        link.feed(&payload(kept_kib * 1_024), at(1));
        link.framer.extend_deadlines(Duration::from_secs(1_000));
        link.feed(b"x", at(1_059));
        prop_assert_eq!(link.overdue(at(1_059)), None);
        prop_assert_eq!(link.overdue(at(1_060)).is_none(), kept_kib >= 60);
    }
}

#[test]
fn an_extension_between_frames_does_nothing() {
    let mut link = Link::new(Delivery::Buffer);
    link.framer.extend_deadlines(Duration::from_secs(9));
    assert_eq!(link.framer.deadline(), None);
    link.feed(&MAGIC[..1], at(1));
    assert_eq!(link.framer.deadline(), Some(at(21)));
}

#[test]
fn absurd_times_do_not_overflow() {
    let mut link = Link::new(Delivery::Buffer);
    link.feed(&MAGIC[..1], Instant::MAX);
    link.framer.extend_deadlines(Duration::MAX);
    assert_eq!(link.framer.deadline(), Some(Instant::MAX));
    assert_eq!(link.overdue(at(1)), None);
}
