//! A frame with a basic or extended header and any claimed length is read as specified, whether its payload is
//! buffered, streamed or discarded. The memory of a buffered payload is bounded by the bytes received, not by the
//! length claimed; a streamed or discarded payload uses no memory. A length above the limit is refused as soon as the
//! header is complete. A parser that receives a block in chunks finds the same contents as a reader of the whole block.

use crate::framer::{MAX_RECORD_BYTES, read_and_forget};
use crate::tape::Tape;
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::internals::framer::{Delivery, FrameLimits, FramerMemory, FramerRules, Input, MessageFramer};
use peerloop::internals::limits::BUFFER_GROWTH_BYTES;
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::{BlockRef, BlockStreamEvent, BlockStreamParser, Hash256, PayloadLimits};
use peerloop_testkit::bytes::sha256_twice;
use peerloop_testkit::framing::{self, Arrival, Choice};

/// Lengths near the maximum of a basic header (32 bits) and near the default limit (63 bits), and the largest
/// possible length.
const EXTENDED_LENGTHS: [u64; 6] = [(1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 63) - 1, 1 << 63, u64::MAX];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderKind {
    Basic,
    Extended,
}

pub(crate) fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let arrivals = tape.arrivals();
    let (kind, len_claimed) = match tape.u8() {
        0x00..=0x9f => (HeaderKind::Basic, None),
        0xa0..=0xaf => (HeaderKind::Extended, None),
        0xb0..=0xcf => (HeaderKind::Extended, Some(tape.pick(&EXTENDED_LENGTHS))),
        0xd0..=0xdf => (HeaderKind::Extended, Some(tape.u64())),
        0xe0..=0xff => (HeaderKind::Basic, Some(u64::from(tape.u32()))),
    };
    let payload = tape.take(usize::MAX);
    let len = len_claimed.unwrap_or(payload.len() as u64);
    for choice in [Choice::STREAM, Choice::UNCHECKED, Choice::BUFFER, Choice::DISCARD] {
        check_frame(kind, len, payload, choice, &arrivals);
    }
    check_limits(kind, len, payload);
    check_blocks(payload, &arrivals);
}

/// Returns the header of a `block` that claims this length for this payload.
fn head(kind: HeaderKind, len: u64, payload: &[u8]) -> Vec<u8> {
    match kind {
        HeaderKind::Basic => {
            let len = len.try_into().expect("the length fits the 32 bits of a basic header");
            framing::head(framing::command(b"block"), len, sha256_twice(payload))
        }
        HeaderKind::Extended => framing::extended(b"extmsg", b"block", len, b""),
    }
}

/// Checks that a framer reads a `block` with this claimed length and this delivery like a reader of the whole stream,
/// and within its memory bound.
fn check_frame(kind: HeaderKind, len: u64, payload: &[u8], choice: Choice, arrivals: &[Arrival]) {
    let stream = [&head(kind, len, payload), payload].concat();
    // No limit for buffered messages applies, so only the received bytes bound the memory.
    let rules = FramerRules { frame_limits: FrameLimits::uniform(u64::MAX), ..framing::rules() };
    let expected = framing::read_whole(&stream, &rules, &[choice]);
    assert_eq!(framing::read_arriving(&stream, &[Arrival::Block(usize::MAX)], &rules, &[choice]), expected);
    assert_eq!(framing::read_arriving(&stream, arrivals, &rules, &[choice]), expected);
    if len > rules.limits.max_block_bytes {
        assert_eq!(
            (expected.asked, expected.outcomes.len()),
            (0, 0),
            "a length above the limit was not refused at its header"
        );
    } else if (choice == Choice::STREAM || choice == Choice::UNCHECKED) && (payload.len() as u64) < len {
        assert_eq!(expected.unfinished, payload, "the delivered bytes differ from the received ones");
    }

    let max_gathered_bytes = if choice == Choice::BUFFER { 2 * stream.len() + BUFFER_GROWTH_BYTES } else { 0 };
    let allocated = measure(|| read_and_forget(&stream, &rules, arrivals, &[choice])).bytes_max;
    assert!(
        allocated <= max_gathered_bytes as u64 + MAX_RECORD_BYTES,
        "{choice:?} of {len} bytes uses {allocated} bytes"
    );
}

/// Checks that a length up to the limit is accepted, and that a greater length is refused as soon as its header is
/// complete.
fn check_limits(kind: HeaderKind, limit: u64, payload: &[u8]) {
    let limits = PayloadLimits { max_block_bytes: limit, ..PayloadLimits::default() };
    let rules = FramerRules { limits, ..framing::rules() };
    for len in [limit.saturating_sub(1), limit, limit.saturating_add(1)] {
        if kind == HeaderKind::Basic && len > u64::from(u32::MAX) {
            continue;
        }
        let head = head(kind, len, payload);
        let stream = [&head[..], payload].concat();
        for cut in [0, head.len() - 1] {
            let (mut framer, mut memory) = (MessageFramer::default(), FramerMemory::new(u64::MAX));
            let mut next = |input: &mut Input<'_>| {
                let admit = |_: &_| {
                    assert!(len <= limit, "the framer asked about a length of {len}, above the limit of {limit}");
                    Ok(Delivery::Chunks)
                };
                framer.next(input, Instant::ZERO, &rules, &mut memory, admit).map(|_| ())
            };
            assert_eq!(next(&mut Input::new(&stream[..cut])), Ok(()));
            let mut input = Input::new(&stream[cut..]);
            let result = next(&mut input);
            if len > limit {
                let error = WireError::OverLimit { command: CommandName::BLOCK, len_bytes: len };
                assert_eq!(result, Err(error));
                assert!(input.rest().ends_with(payload), "payload was consumed after a refused header");
            } else {
                assert_eq!(result, Ok(()));
            }
        }
    }
}

/// The contents found in a block.
#[derive(Debug, Default, PartialEq)]
struct Found {
    tx_count: Option<u64>,
    txids: Vec<Hash256>,
    is_complete: bool,
}

/// Parses the payload as a `block` in chunks, and checks that the contents are the same as those of the whole
/// payload.
fn check_blocks(payload: &[u8], arrivals: &[Arrival]) {
    let mut parser = BlockStreamParser::new();
    let mut streamed = Found::default();
    let mut error = None;
    'stream: for mut chunk in pieces(payload, arrivals) {
        loop {
            match parser.advance(&mut chunk) {
                Ok(Some(BlockStreamEvent::Header { tx_count, .. })) => streamed.tx_count = Some(tx_count),
                Ok(Some(BlockStreamEvent::Transaction(tx))) => streamed.txids.push(tx.txid),
                Ok(Some(BlockStreamEvent::End(_))) => {}
                Ok(None) => break,
                Err(found) => {
                    error = Some(found);
                    break 'stream;
                }
            }
        }
        assert!(chunk.is_empty(), "a part of a chunk was not consumed");
    }
    streamed.is_complete = parser.is_complete();
    assert_eq!(parser.tx_read_count(), streamed.txids.len() as u64);

    let Ok(block) = BlockRef::decode(payload) else {
        assert!(!streamed.is_complete, "the parser has completed a block that cannot be read whole");
        return;
    };
    let mut whole = Found { tx_count: Some(block.transactions.len() as u64), ..Found::default() };
    for tx in block.transactions.iter() {
        match tx {
            Ok(tx) => whole.txids.push(tx.txid()),
            Err(WireError::Truncated { .. }) => return assert!(!streamed.is_complete),
            Err(found) => return assert!(error.is_none_or(|error| error == found) && !streamed.is_complete),
        }
    }
    whole.is_complete = true;
    assert_eq!((streamed, error), (whole, None));
}

/// Splits the bytes into the pieces in which they arrive.
fn pieces<'a>(bytes: &'a [u8], arrivals: &'a [Arrival]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut arrivals = arrivals.iter().cycle();
    std::iter::from_fn(move || {
        let (Arrival::Block(most) | Arrival::Direct(most)) = *arrivals.next()?;
        let (piece, behind) = rest.split_at(most.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}
