//! The framer's output does not depend on how the network cut the bytes.

use crate::frames::specified;
use peerloop::error::WireError;
use peerloop::internals::framer::{FrameLimits, FramerRules};
use peerloop::protocol::CommandName;
use peerloop::wire::PayloadLimits;
use peerloop_testkit::bytes::sha256_twice;
use peerloop_testkit::framing::{Arrival, Choice, command, frame, head, payload, read_arriving, read_whole, rules};
use proptest::prelude::*;

fn tight() -> FramerRules {
    let own = [(CommandName::TX, 4_000), (CommandName::BLOCK, 90_000)];
    FramerRules { frame_limits: FrameLimits::new(60_000, &own), ..rules() }
}

/// Asserts that the framer's results equal the model's, for `stream` cut in two at each position, and for `stream` in
/// steps of each length from 1 to 25 bytes.
pub(crate) fn check_every_cut(stream: &[u8], choices: &[Choice]) {
    let expected = read_whole(stream, &tight(), choices);
    for cut in 0..=stream.len() {
        let arrivals = [Arrival::Block(cut), Arrival::Block(usize::MAX)];
        assert_eq!(read_arriving(stream, &arrivals, &tight(), choices), expected, "cut at {cut}");
    }
    for step in 1..=25 {
        assert_eq!(read_arriving(stream, &[Arrival::Block(step)], &tight(), choices), expected, "steps of {step}");
    }
}

#[test]
fn req_e49_the_frames_of_the_specification_may_be_cut_anywhere() {
    let (stream, outcomes) = specified();
    assert_eq!(read_whole(&stream, &tight(), &[Choice::BUFFER]).outcomes, outcomes);
    check_every_cut(&stream, &[Choice::BUFFER]);
}

#[test]
fn req_e22_every_delivery_may_be_cut_anywhere() {
    let (stream, outcomes) = specified();
    let choices = [Choice::STREAM, Choice::DISCARD, Choice::BUFFER, Choice::UNCHECKED];
    assert_eq!(read_whole(&stream, &tight(), &choices).outcomes.len(), outcomes.len());
    check_every_cut(&stream, &choices);
}

#[test]
fn every_error_follows_the_same_frames_at_every_cut() {
    let good = [frame("ping", b"12345678"), frame("tx", &payload(40))].concat();
    let over = head(command(b"protoconf"), 1_048_577, [0; 4]);
    let choices = [Choice::BUFFER, Choice::STREAM, Choice::Refuse];
    for bad in [b"HTTP/1.1 400 Bad Request".to_vec(), b"\xe3\xe1\xf3\xe9".to_vec(), over, frame("inv", &payload(9))] {
        let stream = [&good[..], &bad, &good].concat();
        let expected = read_whole(&stream, &tight(), &choices);
        assert_eq!(expected.outcomes.len(), 2);
        assert!(expected.error.is_some());
        check_every_cut(&stream, &choices);
    }
}

#[test]
fn a_stream_may_end_anywhere() {
    let (stream, _) = specified();
    for choices in [&[Choice::BUFFER][..], &[Choice::STREAM], &[Choice::UNCHECKED], &[Choice::DISCARD, Choice::STREAM]]
    {
        for end in 0..stream.len() {
            let expected = read_whole(&stream[..end], &tight(), choices);
            for arrival in [Arrival::Block(usize::MAX), Arrival::Block(7)] {
                assert_eq!(read_arriving(&stream[..end], &[arrival], &tight(), choices), expected, "end at {end}");
            }
        }
    }
}

const NAMES: [&[u8]; 8] = [b"ping", b"tx", b"block", b"protoconf", b"twelve bytes", b"", b"in\0v", b"\x7f"];

/// Generates a stretch of a stream: mostly a frame, sometimes bytes that no correct peer sends.
fn stretch() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![3 => Just(0), 6 => 1..100usize, 3 => 3_000..5_000usize, 2 => 10_000..150_000usize];
    let correct = prop::bool::weighted(0.9);
    let good = (prop::sample::select(&NAMES[..]), len, correct).prop_map(|(name, len, is_correct)| {
        let body = payload(len);
        let checksum = if is_correct { sha256_twice(&body) } else { [0; 4] };
        [head(command(name), len as u32, checksum), body].concat()
    });
    let over = prop::sample::select(&NAMES[..]).prop_map(|name| head(command(name), 1_000_000_001, [0; 4]));
    let wrong_magic = (0..4usize, 1..=255u8).prop_map(|(at, change)| {
        let mut bytes = frame("ping", b"12345678");
        bytes[at] ^= change;
        bytes
    });
    prop_oneof![20 => good, 1 => over, 1 => wrong_magic]
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = prop_oneof![
        9 => Just(Choice::BUFFER),
        9 => Just(Choice::STREAM),
        9 => Just(Choice::UNCHECKED),
        5 => Just(Choice::DISCARD),
        1 => Just(Choice::Refuse),
    ];
    prop::collection::vec(choice, 1..8)
}

pub(crate) fn arrivals(can_be_direct: bool) -> impl Strategy<Value = Vec<Arrival>> {
    let most = prop_oneof![1..4usize, 1..100usize, 1..70_000usize];
    let arrival = (most, 0..2u8).prop_map(move |(most, kind)| {
        if can_be_direct && kind == 1 { Arrival::Direct(most - 1) } else { Arrival::Block(most) }
    });
    let end = if can_be_direct { Arrival::Direct(30_000) } else { Arrival::Block(30_000) };
    prop::collection::vec(arrival, 0..30).prop_map(move |mut arrivals| {
        arrivals.push(end);
        arrivals
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

    #[test]
    fn any_stream_gives_the_same_results_in_pieces_as_whole(
        stretches in prop::collection::vec(stretch(), 0..12),
        cut_off in 0..200usize,
        choices in choices(),
        arrivals in prop_oneof![arrivals(false), arrivals(true)],
    ) {
        let limits = PayloadLimits { max_block_bytes: 100_000, ..PayloadLimits::default() };
        let rules = FramerRules { limits, ..tight() };
        let stream = stretches.concat();
        let stream = &stream[..stream.len() - cut_off.min(stream.len())];
        let expected = read_whole(stream, &rules, &choices);
        prop_assert_eq!(read_arriving(stream, &arrivals, &rules, &choices), expected);
    }

    #[test]
    fn any_bytes_give_the_same_results_in_steps_as_whole(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        magics in prop::collection::vec(0..200usize, 0..4),
        step in 1..40usize,
    ) {
        let mut bytes = bytes;
        for at in magics {
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&peerloop_testkit::framing::MAGIC);
            }
        }
        let expected = read_whole(&bytes, &tight(), &[Choice::BUFFER]);
        prop_assert_eq!(read_arriving(&bytes, &[Arrival::Block(step)], &tight(), &[Choice::BUFFER]), expected);
    }
}

#[test]
fn a_refusal_is_the_error_of_every_later_call() {
    let results = read_arriving(&frame("ping", b""), &[Arrival::Block(1)], &rules(), &[Choice::Refuse]);
    assert_eq!(results.error, Some(WireError::BadValue { command: CommandName::PING }));
    assert!(results.outcomes.is_empty());
}
