//! Frames of the specification, byte for byte, and frames with unusual commands, lengths and checksums.

use peerloop::internals::framer::{
    ChecksumVerdict, Delivery, DropCause, FrameLimits, Framed, FramerRules, Input, MessageFramer, Payload,
};
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::Hash256;
use peerloop_testkit::bytes::{hex, sha256_twice};
use peerloop_testkit::framing::{
    Arrival, Choice, MAGIC, Outcome, StreamResults, command, frame, head, memory, payload, read_arriving, read_whole,
    rules,
};

/// Frames of the specification, on the main network. Each entry holds a command, a header and a payload.
const FRAMES: [(&str, &str, &str); 9] = [
    (
        "version",
        "e3e1f3e876657273696f6e0000000000750000005462ca7e",
        "80110100210000000000000000f1536500000000000000000000000000000000000000000000000000000000000021000000000000\
         0000000000000000000000000000000000000001020304050607080d2f6578616d706c653a302e312f00350c000111001011121314\
         15161718191a1b1c1d1e1f",
    ),
    ("verack", "e3e1f3e876657261636b000000000000000000005df6e0e2", ""),
    ("protoconf", "e3e1f3e870726f746f636f6e6600000005000000 9cc68f5e", "0100001000"),
    ("ping", "e3e1f3e870696e670000000000000000080000002502fa94", "0102030405060708"),
    ("pong", "e3e1f3e8706f6e670000000000000000080000002502fa94", "0102030405060708"),
    (
        "inv",
        "e3e1f3e8696e7600000000000000000025000000df22b967",
        "01010000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a",
    ),
    ("headers", "e3e1f3e8686561646572730000000000010000001406e058", "00"),
    ("sendcmpct", "e3e1f3e873656e64636d70637400000009000000ccfe104a", "000100000000000000"),
    ("getaddr", "e3e1f3e8676574616464720000000000000000005df6e0e2", ""),
];

/// Returns all frames of the specification, concatenated, and their outcomes.
pub(crate) fn specified() -> (Vec<u8>, Vec<Outcome>) {
    let mut stream = Vec::new();
    let mut outcomes = Vec::new();
    for (name, header, payload) in FRAMES {
        stream.extend(hex(header));
        stream.extend(hex(payload));
        outcomes.push(Outcome::Frame { command: command(name.as_bytes()), payload: hex(payload) });
    }
    (stream, outcomes)
}

fn read(stream: &[u8], choice: Choice) -> StreamResults {
    read_arriving(stream, &[Arrival::Block(usize::MAX)], &rules(), &[choice])
}

#[test]
fn the_frames_of_the_specification_are_read_exactly() {
    let (stream, outcomes) = specified();
    let expected = StreamResults { asked: outcomes.len(), outcomes, ..StreamResults::default() };
    assert_eq!(read(&stream, Choice::BUFFER), expected);
    assert_eq!(
        read_whole(&stream, &rules(), &[Choice::BUFFER]),
        expected,
        "the model did not read every frame correctly"
    );
}

#[test]
fn req_e49_a_frame_that_is_whole_in_the_input_is_not_copied() {
    let block = [frame("ping", b"12345678"), frame("inv", &payload(1_000))].concat();
    let (mut framer, mut memory, mut input) = (MessageFramer::default(), memory(), Input::new(&block));
    for (start, len) in [(24, 8), (24 + 8 + 24, 1_000)] {
        let next = framer.next(&mut input, Instant::ZERO, &rules(), &mut memory, |_| Ok(Delivery::Buffer));
        let Ok(Some(Framed::Frame { payload: Payload::InPlace(bytes), .. })) = next else { panic!("{next:?}") };
        assert_eq!(bytes.as_ptr_range(), block[start..start + len].as_ptr_range());
    }
}

#[test]
fn a_payload_in_one_piece_is_not_copied_after_a_cut_header() {
    let stream = frame("ping", b"12345678");
    for cut in 1..24 {
        let (mut framer, mut memory) = (MessageFramer::default(), memory());
        let mut next = |bytes| {
            let mut input = Input::new(bytes);
            framer.next(&mut input, Instant::ZERO, &rules(), &mut memory, |_| Ok(Delivery::Buffer))
        };
        assert_eq!(next(&stream[..cut]), Ok(None));
        let whole = next(&stream[cut..]);
        assert!(matches!(whole, Ok(Some(Framed::Frame { payload: Payload::InPlace(b"12345678"), .. }))), "{whole:?}");
    }
}

#[test]
fn the_hash_of_a_whole_payload_is_kept_if_the_payload_needs_more_than_one_hash_block() {
    for (len, cut) in [55, 56, 57, 300, 10_000].into_iter().flat_map(|len| [0, 24, 30].map(|cut| (len, cut))) {
        let (bytes, mut framer, mut memory) = (payload(len), MessageFramer::default(), memory());
        let stream = [frame("inv", &payload(100)), frame("tx", &bytes)].concat();
        let mut tx = None;
        for block in [&stream[..124 + cut], &stream[124 + cut..]] {
            let mut input = Input::new(block);
            while let Some(Framed::Frame { header, .. }) = framer
                .next(&mut input, Instant::ZERO, &rules(), &mut memory, |_| Ok(Delivery::Buffer))
                .expect("the stream is valid")
            {
                tx = Some((header.command, memory.hash_of_last(&header)));
            }
        }
        let hash = (len > 55).then(|| Hash256::of(&bytes));
        assert_eq!(tx, Some((CommandName::TX, hash)), "{len} bytes, cut at {cut}");
    }
}

#[test]
fn an_empty_payload_is_buffered_streamed_or_discarded_as_chosen() {
    let stream = [frame("verack", b""), frame("verack", b"")].concat();
    let verack = command(b"verack");
    let nothing = Outcome::Frame { command: verack, payload: vec![] };
    assert_eq!(read(&stream, Choice::BUFFER).outcomes, [nothing.clone(), nothing]);
    let nothing = Outcome::Streamed { command: verack, payload: vec![], verdict: ChecksumVerdict::Correct };
    assert_eq!(read(&stream, Choice::STREAM).outcomes, [nothing.clone(), nothing]);
    let nothing = Outcome::Dropped { command: verack, payload_len: 0, cause: DropCause::Discarded };
    assert_eq!(read(&stream, Choice::DISCARD).outcomes, [nothing.clone(), nothing]);
}

#[test]
fn req_e50_a_wrong_checksum_drops_a_buffered_frame_and_marks_a_streamed_one() {
    let body = payload(300);
    for wrong_bit in 0..32 {
        let mut checksum = sha256_twice(&body);
        checksum[wrong_bit / 8] ^= 1 << (wrong_bit % 8);
        let name = command(b"inv");
        let stream = [head(name, 300, checksum), body.clone(), frame("verack", b"")].concat();
        let verack = command(b"verack");

        let buffered = read(&stream, Choice::BUFFER);
        let dropped = Outcome::Dropped { command: name, payload_len: 300, cause: DropCause::BadChecksum };
        assert_eq!(buffered.outcomes, [dropped, Outcome::Frame { command: verack, payload: vec![] }]);
        assert_eq!(buffered.error, None, "the stream failed after a wrong checksum");

        let streamed = read(&stream, Choice::STREAM);
        let condemned = Outcome::Streamed { command: name, payload: body.clone(), verdict: ChecksumVerdict::Wrong };
        assert_eq!(streamed.outcomes[0], condemned);
        assert_eq!(streamed.outcomes.len(), 2);
    }
}

#[test]
fn an_empty_payload_with_a_wrong_checksum_is_dropped() {
    let stream = head(command(b"verack"), 0, [0; 4]);
    let dropped = Outcome::Dropped { command: command(b"verack"), payload_len: 0, cause: DropCause::BadChecksum };
    assert_eq!(read(&stream, Choice::BUFFER).outcomes, [dropped]);
}

#[test]
fn a_frame_with_a_malformed_command_is_dropped_without_asking_the_caller() {
    for malformed in [*b"ping\0x\0\0\0\0\0\0", *b"pi\x1fng\0\0\0\0\0\0\0", *b"\0inv\0\0\0\0\0\0\0\0", [0xff; 12]] {
        let body = payload(100);
        let stream = [head(malformed, 100, sha256_twice(&body)), body, frame("ping", b"12345678")].concat();
        for arrival in [Arrival::Block(usize::MAX), Arrival::Block(1), Arrival::Block(50)] {
            for choice in [Choice::BUFFER, Choice::STREAM, Choice::UNCHECKED, Choice::DISCARD] {
                let results = read_arriving(&stream, &[arrival], &rules(), &[choice]);
                let cause = DropCause::MalformedCommand;
                let dropped = Outcome::Dropped { command: malformed, payload_len: 100, cause };
                assert_eq!(results.outcomes[0], dropped);
                assert_eq!(results.asked, 1, "the caller was asked about the malformed command, or not about the ping");
                assert_eq!(results.error, None);
            }
        }
    }
}

#[test]
fn frames_with_unknown_or_empty_commands_are_read_like_any_other() {
    for name in ["", "~", "twelve bytes", "no such"] {
        let results = read(&frame(name, b"?"), Choice::BUFFER);
        assert_eq!(results.outcomes, [Outcome::Frame { command: command(name.as_bytes()), payload: b"?".to_vec() }]);
    }
}

#[test]
fn a_frame_above_the_buffer_limit_is_dropped_and_a_frame_at_the_limit_is_buffered() {
    let rules = FramerRules { frame_limits: FrameLimits::uniform(5_000), ..rules() };
    for arrival in [Arrival::Block(usize::MAX), Arrival::Block(999), Arrival::Direct(999)] {
        let stream = [frame("inv", &payload(5_000)), frame("inv", &payload(5_001)), frame("verack", b"")].concat();
        let results = read_arriving(&stream, &[arrival], &rules, &[Choice::BUFFER]);
        let whole = Outcome::Frame { command: command(b"inv"), payload: payload(5_000) };
        let cause = DropCause::OverBufferLimit;
        let dropped = Outcome::Dropped { command: command(b"inv"), payload_len: 5_001, cause };
        assert_eq!(results.outcomes[..2], [whole, dropped]);
        assert_eq!(results.outcomes.len(), 3);
    }
    let results = read_arriving(&frame("inv", &payload(5_001)), &[Arrival::Block(999)], &rules, &[Choice::STREAM]);
    assert!(
        matches!(&results.outcomes[..], [Outcome::Streamed { .. }]),
        "a frame above the buffer limit was not streamed"
    );
}

#[test]
fn a_command_may_have_a_smaller_or_larger_limit_of_its_own() {
    let own = [(CommandName::TX, 9_000), (CommandName::INV, 3_000)];
    let rules = FramerRules { frame_limits: FrameLimits::new(5_000, &own), ..rules() };
    for (name, max_bytes) in [("inv", 3_000), ("tx", 9_000), ("headers", 5_000)] {
        let stream = [frame(name, &payload(max_bytes)), frame(name, &payload(max_bytes + 1))].concat();
        for arrival in [Arrival::Block(usize::MAX), Arrival::Block(999), Arrival::Direct(999)] {
            let results = read_arriving(&stream, &[arrival], &rules, &[Choice::BUFFER]);
            let command = command(name.as_bytes());
            let whole = Outcome::Frame { command, payload: payload(max_bytes) };
            let (payload_len, cause) = (max_bytes as u64 + 1, DropCause::OverBufferLimit);
            assert_eq!(results.outcomes, [whole, Outcome::Dropped { command, payload_len, cause }]);
        }
    }
}

#[test]
fn a_framer_is_at_most_two_words() {
    assert!(size_of::<MessageFramer>() <= 16);
}

#[test]
fn only_the_magic_of_the_rules_is_accepted() {
    let rules = FramerRules { magic: *b"mine", ..rules() };
    let mut stream = frame("verack", b"");
    stream[..4].copy_from_slice(b"mine");
    let (mut framer, mut memory) = (MessageFramer::default(), memory());
    let mut next = |bytes| {
        let mut input = Input::new(bytes);
        framer.next(&mut input, Instant::ZERO, &rules, &mut memory, |_| Ok(Delivery::Buffer)).is_ok()
    };
    assert!(next(&stream[..]));
    assert!(!next(&MAGIC[..1]));
}
