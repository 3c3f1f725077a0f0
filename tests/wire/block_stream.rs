//! Blocks in pieces: the parser emits the same events for any pieces as for the whole block.

use crate::chain::{any_block, any_tx, block_of, encoded, numbered_tx};
use crate::known_payload;
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{
    BlockHeader, BlockRef, BlockStreamEvent, BlockStreamParser, Hash256, MerkleVerdict, StreamedBlock, StreamedTx, Tx,
    TxInRef, TxOutRef, TxRef, TxStreamParser,
};
use peerloop_testkit::bytes::hex;
use proptest::collection::vec;
use proptest::prelude::*;

/// Feeds `pieces` to a parser. Returns the events up to the first error, and either that error or whether the block
/// is complete.
fn stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<BlockStreamEvent>, Result<bool, WireError>) {
    let mut parser = BlockStreamParser::new();
    let mut events = Vec::new();
    for mut piece in pieces {
        loop {
            match parser.advance(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(parser.advance(&mut &b"more"[..]), Err(error), "the parser did not repeat its error");
                    assert!(!parser.is_complete());
                    return (events, Err(error));
                }
            }
        }
        assert!(piece.is_empty(), "a piece was not fully consumed");
    }
    (events, Ok(parser.is_complete()))
}

/// Decodes `payload` as a whole, and returns the events that the stream parser must emit for it. Returns `None` if
/// the payload is invalid.
fn whole(payload: &[u8]) -> Option<Vec<BlockStreamEvent>> {
    let block = BlockRef::decode(payload).ok()?;
    let tx_count = block.transactions.len() as u64;
    let mut events = vec![BlockStreamEvent::Header { header: block.header, tx_count }];
    let mut len_bytes = 80 + if tx_count < 0xfd { 1 } else { 3 };
    for tx in block.transactions {
        let tx = tx.ok()?;
        len_bytes += tx.encoded().len() as u64;
        events.push(BlockStreamEvent::Transaction(streamed(tx)));
    }
    let verdict = block.merkle_tree().ok()?.verdict(block.header.merkle_root);
    let header = block.header;
    events.push(BlockStreamEvent::End(StreamedBlock { header, tx_count, len_bytes, verdict }));
    Some(events)
}

fn streamed(tx: TxRef<'_>) -> StreamedTx {
    StreamedTx {
        txid: tx.txid(),
        len_bytes: tx.encoded().len() as u64,
        input_count: tx.inputs().len() as u64,
        output_count: tx.outputs().len() as u64,
    }
}

/// Returns a transaction with short scripts, whose sizes are encoded in one byte, and with long scripts, whose sizes
/// are encoded in three bytes.
fn wide_tx() -> Tx {
    let script = [0x6a; 300];
    let input = TxInRef { prev_txid: Hash256::of(b"wide"), prev_index: 7, script: &script, sequence: 8 };
    let output = TxOutRef { value: 9, script: &script[..5] };
    Tx::from_parts(1, &[input, TxInRef { script: &[], ..input }], &[output, TxOutRef { script: &script, ..output }], 3)
}

fn block_payload(transactions: &[Tx]) -> Vec<u8> {
    let header = BlockHeader::decode(&std::array::from_fn(|at| at as u8));
    let block = block_of(header, transactions);
    encoded(|out| block.as_ref().encode(out))
}

#[test]
fn every_split_into_two_gives_the_events_of_the_whole_block() {
    for payload in [known_payload("block"), block_payload(&[wide_tx(), numbered_tx(1), wide_tx()]), block_payload(&[])]
    {
        let expected = whole(&payload).unwrap();
        for at in 0..=payload.len() {
            let (first, second) = payload.split_at(at);
            assert_eq!(stream([first, second]), (expected.clone(), Ok(true)), "split at {at}");
        }
        assert_eq!(stream(payload.chunks(1)), (expected, Ok(true)), "byte by byte");
    }
}

#[test]
fn every_truncation_is_detected() {
    let payload = block_payload(&[wide_tx(), numbered_tx(1)]);
    for len in 0..payload.len() {
        let (events, end) = stream([&payload[..len]]);
        assert_eq!(end, Ok(false), "cut at {len}");
        assert!(whole(&payload).unwrap().starts_with(&events));
    }
}

#[test]
fn bytes_after_the_end_are_ignored() {
    let payload = known_payload("block");
    let expected = whole(&payload).unwrap();
    let longer = [&payload[..], b"more"].concat();
    assert_eq!(stream([&longer[..]]), (expected.clone(), Ok(true)));
    assert_eq!(stream([&payload[..], b"mo", b"re"]), (expected, Ok(true)));
}

#[test]
fn the_merkle_verdict_matches_the_tree() {
    let verdict = |payload: &[u8]| match stream([payload]).0.last() {
        Some(BlockStreamEvent::End(block)) => block.verdict,
        other => panic!("{other:?}"),
    };
    let good = block_payload(&[numbered_tx(1), numbered_tx(2), numbered_tx(3)]);
    assert_eq!(verdict(&good), MerkleVerdict::Valid);
    let mutated = block_payload(&[numbered_tx(1), numbered_tx(2), numbered_tx(3), numbered_tx(3)]);
    assert_eq!(good[..80], mutated[..80]);
    assert_eq!(verdict(&mutated), MerkleVerdict::Mutated);
    let mut other = good;
    let last = other.len() - 1;
    other[last] ^= 1;
    assert_eq!(verdict(&other), MerkleVerdict::Mismatch);
    assert_eq!(verdict(&block_payload(&[])), MerkleVerdict::Mismatch);
}

#[test]
fn invalid_sizes_are_errors_wherever_the_payload_is_split() {
    let command = CommandName::BLOCK;
    let header = "00".repeat(80);
    let input = "00".repeat(36);
    for (rest, error) in [
        ("fd0000".to_owned(), WireError::NonCanonicalSize { command }),
        ("ff0000000001000000".to_owned(), WireError::OverlongSize { command }),
        ("0101000000fdfc00".to_owned(), WireError::NonCanonicalSize { command }),
        (format!("010100000001{input}feffff0000"), WireError::NonCanonicalSize { command }),
        (format!("010100000001{input}ffffffffffffffffff"), WireError::OverlongSize { command }),
        ("010100000000fd0000".to_owned(), WireError::NonCanonicalSize { command }),
        ("010100000000010000000000000000ff0000000001000000".to_owned(), WireError::OverlongSize { command }),
    ] {
        let payload = hex(&format!("{header}{rest}"));
        for at in 0..=payload.len() {
            let (first, second) = payload.split_at(at);
            assert_eq!(stream([first, second]).1, Err(error), "{rest} split at {at}");
        }
    }
}

#[test]
fn a_script_of_16_mebibytes_is_parsed_in_at_most_4_kibibytes_of_memory() {
    const SCRIPT_BYTES: usize = 16 * 1024 * 1024;
    let mut payload = BlockHeader::decode(&[0; 80]).encode().to_vec();
    payload.extend_from_slice(&hex("01020000000001ffffffffffffffff"));
    payload.push(0xfe);
    payload.extend_from_slice(&(SCRIPT_BYTES as u32).to_le_bytes());
    let piece = [0x6a; 64 * 1024];
    let mut last = None;
    let used = measure(|| {
        let mut parser = BlockStreamParser::new();
        assert!(parser.advance(&mut &payload[..]).unwrap().is_some());
        assert_eq!(parser.advance(&mut &payload[81..]), Ok(None));
        for _ in 0..SCRIPT_BYTES / piece.len() {
            assert_eq!(parser.advance(&mut &piece[..]), Ok(None));
        }
        assert_eq!((parser.tx_read_count(), parser.is_complete()), (0, false));
        last = parser.advance(&mut &[0; 4][..]).unwrap();
        assert!(parser.advance(&mut &[][..]).unwrap().is_some());
        assert_eq!((parser.tx_read_count(), parser.is_complete()), (1, true));
    });
    assert!(used.bytes_max <= 4_096, "{used:?}");
    let Some(BlockStreamEvent::Transaction(tx)) = last else { panic!("{last:?}") };
    assert_eq!(tx.len_bytes, 4 + 1 + 1 + 8 + 5 + SCRIPT_BYTES as u64 + 4);
}

#[test]
fn the_parser_and_the_hashes_of_its_merkle_tree_fit_in_3_kibibytes() {
    assert!(size_of::<BlockStreamParser>() + 64 * 32 <= 3 * 1024);
}

#[test]
fn huge_counts_allocate_nothing() {
    let mut parser = BlockStreamParser::new();
    let payload = [&[0; 80][..], &hex("feffffffff"), &hex("01000000feffffffff")].concat();
    let mut unread = &payload[..];
    let used = measure(|| {
        assert!(parser.advance(&mut unread).unwrap().is_some());
        assert_eq!(parser.advance(&mut unread), Ok(None));
        for _ in 0..1_000 {
            assert_eq!(parser.advance(&mut &[0; 1_000][..]), Ok(None));
        }
    });
    assert_eq!(used.count_total, 0);
    assert!(!parser.is_complete());
}

#[test]
fn consecutive_transactions_are_read_by_one_parser() {
    let transactions = [wide_tx(), numbered_tx(1), Tx::from_parts(1, &[], &[], 0)];
    let bytes: Vec<u8> = transactions.iter().flat_map(|tx| tx.as_ref().encoded().to_vec()).collect();
    for piece_len in [1, 7, 50, bytes.len()] {
        let mut parser = TxStreamParser::new(CommandName::TX);
        let mut read = Vec::new();
        for mut piece in bytes.chunks(piece_len) {
            while !piece.is_empty() {
                read.extend(parser.advance(&mut piece).unwrap());
            }
        }
        assert_eq!(read, transactions.each_ref().map(|tx| streamed(tx.as_ref())));
        assert!(parser.is_at_boundary());
        assert_eq!(parser.advance(&mut &bytes[..1]), Ok(None));
        assert!(!parser.is_at_boundary());
    }
}

proptest! {
    #[test]
    fn any_pieces_give_the_events_of_the_whole_block(block in any_block(), lens in vec(0..200_usize, 1..50)) {
        let payload = encoded(|out| block.as_ref().encode(out));
        let mut rest = &payload[..];
        let mut pieces = Vec::new();
        for len in lens {
            let (piece, behind) = rest.split_at(len.min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        prop_assert_eq!(stream(pieces), (whole(&payload).unwrap(), Ok(true)));
    }

    #[test]
    fn damaged_blocks_give_the_same_result_in_pieces_as_whole(
        block in any_block(),
        damage in any::<[(proptest::sample::Index, u8); 2]>(),
        piece_len in 1..300_usize,
    ) {
        let mut payload = encoded(|out| block.as_ref().encode(out));
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let (events, end) = stream(payload.chunks(piece_len));
        prop_assert_eq!(whole(&payload), (end == Ok(true)).then_some(events));
    }

    #[test]
    fn damaged_transactions_give_the_same_result_in_pieces_as_whole(
        tx in any_tx(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        piece_len in 1..100_usize,
    ) {
        let mut bytes = tx.as_ref().encoded().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut parser = TxStreamParser::new(CommandName::TX);
        let mut first = Ok(None);
        for mut piece in bytes.chunks(piece_len) {
            first = parser.advance(&mut piece);
            if first != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(TxRef::decode(&bytes).ok().map(streamed), first.unwrap_or(None));
    }
}
