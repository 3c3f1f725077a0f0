//! Messages that are passed on byte for byte and in order, and those that are not.

use super::{Pair, inventory, pattern};
use peerloop::protocol::CommandName;
use peerloop::relay::pipe::{HopKind, Side};
use peerloop_testkit::bytes::{frame, header, sha256_twice};
use proptest::prelude::*;
use std::time::Duration;

/// Commands of which each payload is passed on, however little sense it makes.
const PASSED: [&str; 25] = [
    "inv",
    "getdata",
    "notfound",
    "getblocks",
    "getheaders",
    "headers",
    "gethdrsen",
    "hdrsen",
    "tx",
    "block",
    "merkleblock",
    "cmpctblock",
    "getblocktxn",
    "blocktxn",
    "mempool",
    "filterload",
    "filteradd",
    "filterclear",
    "dsdetected",
    "revokemid",
    "datareftx",
    "addr",
    "getaddr",
    "feefilter",
    "unheard-of",
];

#[test]
fn every_message_that_is_not_the_engines_arrives_byte_for_byte_and_in_order_both_ways() {
    let mut pair = Pair::joined();
    for from in Side::BOTH {
        let sent: Vec<u8> = (1..).zip(PASSED).flat_map(|(seed, name)| frame(name, &pattern(seed, 40))).collect();
        assert_eq!(pair.transfer(from, &sent), sent);
        let counts = pair.report().side(from).forwarded;
        assert_eq!(counts.total().messages, PASSED.len() as u64);
        assert_eq!(counts.count(CommandName::TX).payload_bytes, 40);
    }
}

#[test]
fn messages_that_concern_one_connection_are_withheld_and_counted() {
    let mut pair = Pair::joined();
    let own: Vec<u8> = ["authch", "authresp"].into_iter().flat_map(|name| frame(name, &[1; 32])).collect();
    let after = frame("inv", &[0]);
    assert_eq!(pair.transfer(Side::A, &[&own[..], &after].concat()), after);
    assert_eq!(pair.report().side(Side::A).withheld.total().messages, 2);
    assert_eq!(pair.report().side(Side::A).forwarded.total().messages, 1);
}

#[test]
fn a_reject_of_a_transaction_is_passed_on_and_one_of_our_version_is_not() {
    let mut pair = Pair::joined();
    let of_tx = frame("reject", &[&b"\x02tx\x10\x03bad"[..], &[9; 32]].concat());
    let of_getdata = frame("reject", b"\x07getdata\x44\x04busy");
    let sent = [frame("reject", b"\x07version\x12\x03dup"), of_tx.clone(), of_getdata.clone()].concat();
    assert_eq!(pair.transfer(Side::B, &sent), [of_tx, of_getdata].concat());
    let withheld = pair.report().side(Side::B).withheld.count(CommandName::REJECT);
    assert_eq!((withheld.messages, withheld.payload_bytes), (1, 13));
}

#[test]
fn a_message_with_a_wrong_checksum_is_dropped_if_small_and_passed_on_if_large() {
    let mut pair = Pair::joined();
    let small = [header("tx", 3, &[1, 2, 3, 4]), b"abc".to_vec()].concat();
    let large = pattern(1, 2_097_153);
    let large = [header("block", 2_097_153, &[1, 2, 3, 4]), large].concat();
    let after = frame("inv", &[0]);
    let sent = [small, large.clone(), after.clone()].concat();
    // The receiver detects a wrong checksum by itself.
    assert!(pair.transfer(Side::A, &sent) == [large, after].concat(), "the received bytes differ");
}

#[test]
fn a_large_message_is_passed_on_while_it_arrives() {
    let mut pair = Pair::joined();
    let payload = pattern(3, 9 << 20);
    let sent = [header("block", 9 << 20, &sha256_twice(&payload)), payload].concat();
    let first = 150_000;
    assert!(pair.transfer(Side::B, &sent[..first]) == sent[..first], "the first part differs");
    assert!(pair.transfer(Side::B, &sent[first..]) == sent[first..], "the rest differs");
    let report = pair.report();
    assert_eq!(report.side(Side::B).forwarded.count(CommandName::BLOCK).payload_bytes, 9 << 20);
    assert_eq!(report.hops.iter().map(|hop| (hop.kind, hop.read.count)).collect::<Vec<_>>(), [(HopKind::Block, 1)]);
}

#[test]
fn the_hop_of_each_small_message_is_recorded_until_its_write() {
    let mut pair = Pair::joined();
    let sent = [frame("tx", b"a"), frame("tx", b"b"), inventory("inv", &[(1, [1; 32])])].concat();
    assert_eq!(pair.transfer(Side::A, &sent), sent);
    let hops = pair.report().hops;
    let found: Vec<_> = hops.iter().map(|hop| (hop.kind, hop.read.count, hop.arrived.count)).collect();
    assert_eq!(found, [(HopKind::Inv, 1, 1), (HopKind::Tx, 2, 2)]);
    // In the virtual world, a turn takes no time, and the write follows in the same turn.
    assert!(hops.iter().all(|hop| hop.read.max == Some(Duration::from_nanos(1))));
}

#[test]
fn the_second_view_of_a_hop_has_the_time_for_which_the_source_was_paused() {
    let mut pair = Pair::joined();
    pair.node(Side::B).close();
    pair.settle();
    pair.node(Side::A).raw.send(&frame("inv", &[0]));
    let pause = Duration::from_millis(700);
    pair.run_for(pause);
    pair.connect(Side::B);
    // A message that arrives after the backlog was read is not affected.
    pair.send(Side::A, &frame("tx", b"a"));
    let hops = pair.report().hops;
    let found: Vec<_> = hops.iter().map(|hop| (hop.kind, hop.read.count, hop.arrived.max)).collect();
    let [(HopKind::Inv, 1, Some(long)), (HopKind::Tx, 1, Some(short))] = found[..] else { panic!("{found:?}") };
    assert!(long >= pause.mul_f64(0.99) && long < pause.mul_f64(1.01), "{long:?}");
    assert_eq!(short, Duration::from_nanos(1));
}

/// Commands whose payload may exceed the general limit of 2 MiB.
const LARGE: [&str; 6] = ["tx", "block", "cmpctblock", "blocktxn", "hdrsen", "datareftx"];

/// A message: its command, and the length of its payload.
fn message() -> impl Strategy<Value = (&'static str, usize)> {
    let any_command = || (0..PASSED.len()).prop_map(|index| PASSED[index]);
    let large = ((0..LARGE.len()).prop_map(|index| LARGE[index]), 2_097_150..2_600_000_usize);
    prop_oneof![8 => (any_command(), 0..500_usize), 3 => (any_command(), 0..150_000_usize), 1 => large]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    #[test]
    fn any_messages_in_any_portions_arrive_byte_for_byte(
        messages in prop::collection::vec((any::<bool>(), message()), 1..30),
        portions in prop::collection::vec((any::<bool>(), 1..400_000_usize), 0..60),
    ) {
        let mut pair = Pair::joined();
        let mut streams: [Vec<u8>; 2] = Default::default();
        for (seed, (is_second, (command, len))) in (1..).zip(messages) {
            streams[usize::from(is_second)].extend(frame(command, &pattern(seed, len)));
        }
        let (mut sent, mut received) = ([0, 0], <[Vec<u8>; 2]>::default());
        for (is_second, portion) in portions {
            let from = Side::BOTH[usize::from(is_second)];
            let index = from.index();
            let end = streams[index].len().min(sent[index] + portion);
            sent[index] += pair.node(from).write(&streams[index][sent[index]..end]);
            pair.settle();
            // Only some of the portions are followed by a read.
            if portion % 3 == 0 {
                received[1 - index].extend(pair.node(from.other()).raw.receive());
            }
        }
        for from in Side::BOTH {
            let rest = streams[from.index()].split_off(sent[from.index()]);
            streams[from.index()].extend(&rest);
            let more = pair.transfer(from, &rest);
            received[from.other().index()].extend(more);
        }
        for side in Side::BOTH {
            prop_assert!(received[side.other().index()] == streams[side.index()], "the stream of {side} differs");
        }
        prop_assert!(pair.report().sides.iter().all(|side| side.held_bytes == 0 && side.lost.total().messages == 0));
    }
}
