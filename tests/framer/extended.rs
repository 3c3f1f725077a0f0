//! Extended headers: 44 bytes, a length of 64 bits, and no checksum.

use crate::cuts::check_every_cut;
use peerloop::error::WireError;
use peerloop::internals::framer::{ChecksumVerdict, Delivery, DropCause, Input, MessageFramer};
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop_testkit::bytes::hex;
use peerloop_testkit::framing::{
    Arrival, Choice, Outcome, command, extended, frame, memory, payload, read_arriving, read_whole, rules,
};

/// The specification's extended ping. A node accepts extended pings but never sends any.
const PING: &str =
    "e3e1f3e86578746d7367000000000000ffffffff0000000070696e67000000000000000008000000000000000102030405060708";
/// The specification's extended header, which announces a block of 4 GiB.
const BLOCK: &str = "e3e1f3e86578746d7367000000000000ffffffff00000000626c6f636b000000000000000000000001000000";

#[test]
fn extended_frames_may_be_cut_anywhere() {
    let stream = [
        hex(PING),
        frame("ping", b"12345678"),
        extended(b"extmsg", b"block", 300, &payload(300)),
        extended(b"extmsgXYZ", b"tx", 0, b""),
        extended(b"extmsg", b"extmsg", 5, b"outer"),
        extended(b"extmsg\0x", b"tx", 3, b"abc"),
        extended(b"extmsg", b"t\0x", 3, b"abc"),
        frame("verack", b""),
    ]
    .concat();
    for choices in [[Choice::BUFFER].as_slice(), &[Choice::STREAM], &[Choice::DISCARD, Choice::STREAM, Choice::BUFFER]]
    {
        check_every_cut(&stream, choices);
    }
    let results = read_whole(&stream, &rules(), &[Choice::BUFFER]);
    assert_eq!(results.outcomes[0], Outcome::Frame { command: command(b"ping"), payload: (1..=8).collect() });
    assert_eq!(results.outcomes[4], Outcome::Frame { command: command(b"extmsg"), payload: b"outer".to_vec() });
    let malformed =
        |inner: &[u8]| Outcome::Dropped { command: command(inner), payload_len: 3, cause: DropCause::MalformedCommand };
    assert_eq!(results.outcomes[5..7], [malformed(b"tx"), malformed(b"t\0x")]);
}

#[test]
fn a_missing_checksum_is_neither_correct_nor_wrong() {
    let stream = extended(b"extmsg", b"block", 3, b"abc");
    let results = read_arriving(&stream, &[Arrival::Block(usize::MAX)], &rules(), &[Choice::STREAM]);
    let verdict = ChecksumVerdict::Absent;
    assert_eq!(results.outcomes, [Outcome::Streamed { command: command(b"block"), payload: b"abc".to_vec(), verdict }]);
}

#[test]
fn the_inner_commands_limit_is_checked_as_soon_as_the_header_is_complete() {
    for (name, len_bytes, is_taken) in [
        ("block", u64::MAX >> 1, true),
        ("block", 1 << 63, false),
        ("block", u64::MAX, false),
        ("tx", 1_000_000_000, true),
        ("tx", 1_000_000_001, false),
        ("ping", 2_097_152, true),
        ("ping", 2_097_153, false),
        ("extmsg", 1 << 32, false),
    ] {
        let head = extended(b"extmsg", name.as_bytes(), len_bytes, b"");
        let (mut framer, mut memory) = (MessageFramer::default(), memory());
        let mut feed = |bytes: &[u8]| {
            let admit = |_: &_| Ok(Delivery::Chunks);
            let framed = framer.next(&mut Input::new(bytes), Instant::ZERO, &rules(), &mut memory, admit);
            framed.map(|framed| framed.is_some())
        };
        assert_eq!(feed(&head[..43]), Ok(false), "43 of the header's 44 bytes were refused or completed a message");
        let error = WireError::OverLimit { command: CommandName::new(name), len_bytes };
        let expected = if is_taken { Ok(false) } else { Err(error) };
        assert_eq!(feed(&head[43..]), expected, "{name} of {len_bytes}");
    }
}

#[test]
fn a_block_of_more_than_four_gib_is_streamed_without_being_buffered() {
    const PIECE: usize = 1 << 16;
    let (mut framer, mut memory) = (MessageFramer::default(), memory());
    let total = (1_u64 << 32) + 1;
    let mut head = hex(BLOCK);
    head[36..44].copy_from_slice(&total.to_le_bytes());
    let piece = payload(PIECE);
    let (mut offset, mut last) = (0, None);
    let mut input = Input::new(&head);
    let admit = |_: &_| Ok(Delivery::Chunks);
    assert_eq!(framer.next(&mut input, Instant::ZERO, &rules(), &mut memory, admit), Ok(None));
    while last.is_none() {
        let len = (total - offset).min(PIECE as u64) as usize;
        let mut input = Input::new(&piece[..len]);
        let framed = framer.next(&mut input, Instant::ZERO, &rules(), &mut memory, admit).expect("the block is valid");
        let Some(peerloop::internals::framer::Framed::Chunk { offset: at, bytes, last: verdict, .. }) = framed else {
            panic!("{framed:?} is not a chunk");
        };
        assert_eq!((at, bytes.len()), (offset, len));
        (offset, last) = (offset + len as u64, verdict);
    }
    assert_eq!((offset, last), (total, Some(ChecksumVerdict::Absent)));
    assert_eq!(memory.gathered_bytes(), 0);
    assert!(!framer.is_within_frame());
}
