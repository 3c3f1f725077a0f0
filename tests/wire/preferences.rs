//! `sendcmpct`, `feefilter` and `mempool`.

use crate::assert_cuts_fail_and_more_is_ignored;
use crate::exact::{MAIN, REGTEST, assert_same};
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{FeeFilter, Mempool, Message, SendCmpct};
use peerloop_testkit::vectors::{COMPUTED, RECORDED};

const MEMPOOL: CommandName = CommandName::MEMPOOL;

#[test]
fn known_messages_decode_and_encode_exactly() {
    let compact = |announce| Message::SendCmpct(SendCmpct { announce, version: SendCmpct::VERSION });
    let frames = |command| COMPUTED.iter().filter(move |(name, _)| *name == command).map(|(_, frame)| *frame);
    let [low, high] = frames("sendcmpct").collect::<Vec<_>>()[..] else { panic!("there are not two computed frames") };
    assert_same(low, MAIN, "sendcmpct", compact(false));
    assert_same(high, MAIN, "sendcmpct", compact(true));
    let (_, recorded) = RECORDED.iter().find(|(name, _)| *name == "sendcmpct").expect("a recorded frame exists");
    assert_same(recorded, REGTEST, "sendcmpct", compact(false));

    let fee = frames("feefilter").next().expect("a computed frame exists");
    assert_same(fee, MAIN, "feefilter", Message::FeeFilter(FeeFilter { satoshis_per_1000_bytes: 500 }));

    let aged = frames("mempool").next().expect("a computed frame exists");
    assert_same(aged, MAIN, "mempool", Message::Mempool(Mempool { age_secs: Some(3_600) }));
    let empty = "e3e1f3e86d656d706f6f6c0000000000000000005df6e0e2";
    assert_same(empty, MAIN, "mempool", Message::Mempool(Mempool { age_secs: None }));
}

#[test]
fn extra_bytes_are_ignored_and_truncated_payloads_are_errors_except_an_empty_mempool() {
    for command in [CommandName::SENDCMPCT, CommandName::FEEFILTER, MEMPOOL] {
        // An empty `mempool` is valid: it requests the whole pool.
        assert_cuts_fail_and_more_is_ignored(command, usize::from(command == MEMPOOL));
    }
}

#[test]
fn any_announce_byte_except_zero_is_read_as_true() {
    let decode = |byte: u8| SendCmpct::decode(&[byte, 1, 0, 0, 0, 0, 0, 0, 0x80]);
    let version = 0x8000_0000_0000_0001;
    assert_eq!(decode(0), Ok(SendCmpct { announce: false, version }), "a 0 or an unknown version was misread");
    for byte in 1..=u8::MAX {
        let message = decode(byte).unwrap();
        assert_eq!(message, SendCmpct { announce: true, version });
        let mut encoded = Vec::new();
        message.encode(&mut encoded);
        assert_eq!(encoded, [1, 1, 0, 0, 0, 0, 0, 0, 0x80], "true was not written as 1, or the version was changed");
    }
}

#[test]
fn any_fee_rate_is_accepted() {
    for satoshis_per_1000_bytes in [i64::MIN, -1, 0, 9_577_383, 2_100_000_000_000_001, i64::MAX] {
        let decoded = FeeFilter::decode(&satoshis_per_1000_bytes.to_le_bytes());
        assert_eq!(decoded, Ok(FeeFilter { satoshis_per_1000_bytes }));
    }
}

#[test]
fn an_age_is_present_unless_the_first_byte_is_0() {
    let age = |first: u8| Mempool::decode(&[first, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(age(0), Ok(Mempool { age_secs: None }), "the bytes after a 0 were not ignored");
    assert_eq!(age(1), Ok(Mempool { age_secs: Some(-1) }));
    assert_eq!(age(0xff), Ok(Mempool { age_secs: Some(-1) }));
    assert_eq!(Mempool::decode(&[0]), Ok(Mempool { age_secs: None }));
    assert_eq!(Mempool::decode(&[1]), Err(WireError::Truncated { command: MEMPOOL }));
}
