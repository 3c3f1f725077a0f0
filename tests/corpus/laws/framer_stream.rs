//! A streamed payload comes out whole, in order and in constant memory, and a parser that is fed with its chunks finds
//! what a reader of the whole block finds.

use super::tape::Tape;
use super::tape::model::{self, Arrival, Choice};
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::framer::{Delivery, Framed, FramerMemory, Input, MessageFramer};
use peerloop::protocol::CommandName;
use peerloop::time::Instant;
use peerloop::wire::{BlockRef, BlockStreamEvent, BlockStreamParser, Hash256, PayloadLimits};

pub(crate) fn check(data: &[u8]) {
    let mut tape = Tape::new(data);
    let arrivals = tape.arrivals();
    let len_claimed = match tape.u8() {
        0x00..=0xbf => None,
        0xc0..=0xff => Some(tape.u32()),
    };
    let payload = tape.take(usize::MAX);
    check_frames(payload, len_claimed, &arrivals);
    check_blocks(payload, &arrivals);
}

/// One streamed `block` with this payload, or with a claim of another length.
fn check_frames(payload: &[u8], len_claimed: Option<u32>, arrivals: &[Arrival]) {
    let len = len_claimed.unwrap_or(payload.len() as u32);
    let mut stream = model::head(model::command(b"block"), len, model::sha256_twice(payload));
    stream.extend_from_slice(payload);
    let rules = model::rules();
    let expected = model::read_whole(&stream, &rules, &[Choice::STREAM]);
    assert_eq!(model::read_arriving(&stream, arrivals, &rules, &[Choice::STREAM]), expected);
    if payload.len() < len as usize {
        assert_eq!(expected.unfinished, payload, "what came of it is told as it came");
    }

    let allocated = measure(|| {
        let (mut framer, mut memory) = (MessageFramer::default(), FramerMemory::new(u64::MAX));
        for block in pieces(&stream, arrivals) {
            let mut input = Input::new(block);
            let mut next = || framer.next(&mut input, Instant::ZERO, &rules, &mut memory, |_| Ok(Delivery::Stream));
            while let Ok(Some(Framed::Chunk { .. })) = next() {}
        }
    });
    assert!(allocated.bytes_max <= 64 * 1024, "{} bytes are resident", allocated.bytes_max);
    check_limits(u64::from(len), payload);
}

/// Of the lengths around a limit, the limit itself is the last that is taken.
fn check_limits(limit: u64, payload: &[u8]) {
    let limits = PayloadLimits { block_max_bytes: limit, ..PayloadLimits::default() };
    let rules = peerloop::framer::FramerRules { limits, ..model::rules() };
    for len in [limit.saturating_sub(1), limit, limit + 1] {
        let Ok(payload_len) = u32::try_from(len) else { continue };
        let head = model::head(model::command(b"block"), payload_len, [0; 4]);
        let (mut framer, mut memory) = (MessageFramer::default(), FramerMemory::new(u64::MAX));
        let stream = [&head[..], payload].concat();
        let mut input = Input::new(&stream);
        let result = framer.next(&mut input, Instant::ZERO, &rules, &mut memory, |_| Ok(Delivery::Stream));
        if len > limit {
            let error = WireError::OverLimit { command: CommandName::BLOCK, len_bytes: len };
            assert_eq!(result, Err(error));
            assert_eq!(input.rest(), &stream[..], "no payload is looked at");
        } else {
            assert!(result.is_ok());
        }
    }
}

/// What is found in a block.
#[derive(Debug, Default, PartialEq)]
struct Found {
    tx_count: Option<u64>,
    txids: Vec<Hash256>,
    is_complete: bool,
}

/// The payload as a `block`, in chunks and whole.
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
        assert!(chunk.is_empty(), "all of a chunk is taken");
    }
    streamed.is_complete = parser.is_complete();
    assert_eq!(parser.tx_read_count(), streamed.txids.len() as u64);

    let Ok(block) = BlockRef::decode(payload) else {
        assert!(!streamed.is_complete, "who reads it whole must be able to");
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

/// The bytes cut as they arrive.
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
