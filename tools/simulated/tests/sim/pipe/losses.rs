//! The loss of one node: open requests, incomplete messages, reconnects with replay, and messages that wait meanwhile.

use super::{Pair, inventory, pattern};
use peerloop::protocol::CommandName;
use peerloop::relay::pipe::{PipeProblem, Side, SideState};
use peerloop_testkit::bytes::{frame, header, sha256_twice};
use peerloop_testkit::simulated::{config, raw_link};
use std::time::Duration;

/// A moment after the first pause and its jitter.
const AFTER_FIRST_PAUSE: Duration = Duration::from_millis(550);

const TX: u32 = 1;
const BLOCK: u32 = 2;

#[test]
fn open_requests_for_transactions_get_notfound_and_answered_ones_do_not() {
    let mut pair = Pair::joined();
    let tx = frame("tx", b"the transaction");
    let txid = sha256_of(b"the transaction");
    let asked = inventory("getdata", &[(TX, [3; 32]), (TX, txid), (TX, [2; 32]), (5, [4; 32]), (TX, [1; 32])]);
    assert_eq!(pair.transfer(Side::A, &asked), asked);
    let answers = [tx, inventory("notfound", &[(TX, [2; 32])])].concat();
    assert_eq!(pair.transfer(Side::B, &answers), answers);
    assert_eq!(pair.report().side(Side::A).open_requests, 3);
    pair.node(Side::B).close();
    assert_eq!(pair.receive(Side::A), inventory("notfound", &[(TX, [1; 32]), (TX, [3; 32]), (5, [4; 32])]));
    let report = pair.report();
    assert_eq!((report.counts.notfounds, report.side(Side::A).open_requests), (3, 0));
    // Only the node's own `notfound` counts as its message.
    assert_eq!(report.side(Side::B).forwarded.total().messages, 2);
    assert_eq!(pair.states(), [SideState::Ready, SideState::Waiting]);
}

#[test]
fn messages_that_were_received_before_the_loss_are_delivered_before_the_notfound() {
    let mut pair = Pair::joined();
    let asked = inventory("getdata", &[(TX, [1; 32])]);
    assert_eq!(pair.transfer(Side::A, &asked), asked);
    let last = frame("inv", &[0]);
    pair.node(Side::B).raw.send(&last);
    pair.node(Side::B).close();
    assert_eq!(pair.receive(Side::A), [last, asked_notfound()].concat());
}

fn asked_notfound() -> Vec<u8> {
    inventory("notfound", &[(TX, [1; 32])])
}

#[test]
fn a_node_that_waits_for_a_block_or_for_headers_is_closed_and_both_return() {
    let block = pattern(1, 81);
    let waits: [(Vec<u8>, Vec<u8>); 4] = [
        (inventory("getdata", &[(BLOCK, sha256_of(&block[..80]))]), frame("block", &block)),
        (frame("getheaders", &[7; 69]), frame("headers", &[0])),
        (frame("gethdrsen", &[7; 69]), frame("hdrsen", &[0])),
        (frame("getblocktxn", &[7; 34]), frame("blocktxn", &[7; 33])),
    ];
    for (request, reply) in waits {
        for is_answered in [false, true] {
            let mut pair = Pair::joined();
            assert_eq!(pair.transfer(Side::A, &request), request);
            if is_answered {
                assert_eq!(pair.transfer(Side::B, &reply), reply);
            }
            pair.node(Side::B).close();
            assert_eq!(pair.receive(Side::A), b"");
            let report = pair.report();
            assert_eq!(pair.nodes[0].raw.has_seen_end, !is_answered, "{request:?}");
            assert_eq!(report.side(Side::A).problem, (!is_answered).then_some(PipeProblem::Unanswered));
            assert_eq!(report.counts.closed_after_loss, u64::from(!is_answered));
        }
    }
}

#[test]
fn a_large_block_answers_its_request_however_its_header_is_split() {
    let payload = pattern(9, 3 << 20);
    let block = [header("block", 3 << 20, &sha256_twice(&payload)), payload.clone()].concat();
    for first in [24 + 1, 24 + 79, 24 + 80, 24 + 200] {
        let mut pair = Pair::joined();
        let asked = inventory("getdata", &[(BLOCK, sha256_of(&payload[..80]))]);
        assert_eq!(pair.transfer(Side::A, &asked), asked);
        assert!(pair.transfer(Side::B, &block[..first]) == block[..first]);
        assert_eq!(pair.report().side(Side::A).open_requests, 1);
        assert!(pair.transfer(Side::B, &block[first..]) == block[first..]);
        assert_eq!(pair.report().side(Side::A).open_requests, 0);
    }
}

#[test]
fn a_lost_node_receives_the_other_nodes_latest_stateful_messages_after_its_reconnect() {
    let mut pair = Pair::joined();
    let sendcmpct = |high: u8| frame("sendcmpct", &[high, 1, 0, 0, 0, 0, 0, 0, 0]);
    let feefilter = |fee: u8| frame("feefilter", &[fee, 0, 0, 0, 0, 0, 0, 0]);
    let sendhdrsen = frame("sendhdrsen", b"");
    let said = [feefilter(1), sendcmpct(0), sendhdrsen.clone(), feefilter(2), sendcmpct(1)].concat();
    assert_eq!(pair.transfer(Side::A, &said), said);
    for round in 1..=2 {
        let after = pair.reconnect(Side::B);
        assert_eq!(after, [sendcmpct(1), sendhdrsen.clone(), feefilter(2)].concat());
        assert_eq!((pair.report().counts.replays, pair.report().side(Side::B).connects), (3 * round, 1 + round));
    }
    // A replay is the pipe's message, and neither forwarded nor measured.
    assert_eq!(pair.report().side(Side::A).forwarded.total().messages, 5);
    assert_eq!(pair.report().hops.iter().map(|hop| hop.read.count).sum::<u64>(), 5);
    // The other direction has nothing to replay, and a second `sendhdrsen` would cost the receiver's trust.
    assert_eq!(pair.reconnect(Side::A), b"");
    assert_eq!(pair.transfer(Side::A, &[sendhdrsen, feefilter(3)].concat()), feefilter(3));
}

#[test]
fn messages_sent_while_the_other_node_is_lost_arrive_in_order_after_its_reconnect() {
    let mut pair = Pair::joined();
    pair.node(Side::B).close();
    pair.settle();
    let sent: Vec<u8> = (0..200).flat_map(|seed| frame("inv", &pattern(seed, 37))).collect();
    pair.node(Side::A).raw.send(&sent);
    pair.run_for(AFTER_FIRST_PAUSE);
    let (_, mut after) = pair.connect(Side::B);
    after.extend(pair.receive(Side::B));
    assert_eq!(after, sent);
    assert_eq!(pair.report().side(Side::A).lost.total().messages, 0);
}

/// Returns a large message and the length of its first part.
fn large() -> (Vec<u8>, usize) {
    let payload = pattern(4, 5 << 20);
    ([header("block", 5 << 20, &sha256_twice(&payload)), payload].concat(), 1 << 20)
}

#[test]
fn the_receiver_of_a_message_whose_sender_is_lost_is_closed() {
    let mut pair = Pair::joined();
    let (block, first) = large();
    assert!(pair.transfer(Side::A, &block[..first]) == block[..first]);
    pair.node(Side::A).close();
    assert_eq!(pair.receive(Side::B), b"");
    assert!(pair.nodes[1].raw.has_seen_end, "the receiver of half a message stays connected");
    let report = pair.report();
    assert_eq!((report.side(Side::B).problem, report.counts.closed_after_loss), (Some(PipeProblem::BodyCut), 1));
    let counts = [report.side(Side::A).forwarded, report.side(Side::A).lost];
    assert_eq!(counts.map(|counts| counts.count(CommandName::BLOCK).messages), [0, 1]);
    pair.node(Side::B).close();
    pair.run_for(AFTER_FIRST_PAUSE);
    // The facts of the first node are still known.
    assert_eq!(pair.states(), [SideState::Waiting, SideState::Probing]);
    pair.probe(Side::B);
    assert_eq!(pair.states(), [SideState::Connecting; 2]);
}

#[test]
fn the_sender_of_a_message_whose_receiver_is_lost_stays_and_the_rest_of_the_message_is_dropped() {
    let mut pair = Pair::joined();
    let (block, first) = large();
    assert!(pair.transfer(Side::A, &block[..first]) == block[..first]);
    pair.node(Side::B).close();
    pair.settle();
    let (mut sent, after) = (first, frame("inv", &[0]));
    while sent < block.len() {
        let written = pair.node(Side::A).write(&block[sent..]);
        assert!(written > 0, "the sender of a message without a receiver is not read");
        sent += written;
        pair.settle();
    }
    pair.send(Side::A, &after);
    assert_eq!(pair.states(), [SideState::Ready, SideState::Waiting]);
    pair.run_for(AFTER_FIRST_PAUSE);
    let (_, mut received) = pair.connect(Side::B);
    received.extend(pair.receive(Side::B));
    assert_eq!(received, after);
    let lost = pair.report().side(Side::A).lost;
    assert_eq!((lost.total().messages, lost.count(CommandName::BLOCK).messages), (1, 1));
    assert_eq!(pair.report().side(Side::A).forwarded.count(CommandName::BLOCK).messages, 0);
}

#[test]
fn whole_messages_of_a_lost_node_are_still_delivered_and_the_receiver_stays() {
    let mut pair = Pair::joined();
    let filling: Vec<u8> = (0..120).flat_map(|seed| frame("tx", &pattern(seed, 100_000))).collect();
    pair.fill(&filling);
    pair.node(Side::A).close();
    pair.settle();
    let received = pair.receive(Side::B);
    let whole = received.len() - received.len() % (24 + 100_000);
    assert!(whole > 1 << 20 && received == filling[..whole], "{} bytes", received.len());
    assert!(!pair.nodes[1].raw.has_seen_end);
    assert_eq!(pair.states(), [SideState::Waiting, SideState::Ready]);
}

#[test]
fn frames_that_waited_for_a_lost_node_are_counted_as_lost() {
    let mut pair = Pair::joined();
    let filling: Vec<u8> = (0..120).flat_map(|seed| frame("tx", &pattern(seed, 100_000))).collect();
    pair.fill(&filling);
    pair.node(Side::B).close();
    pair.settle();
    let lost = pair.report().side(Side::A).lost.count(CommandName::TX).messages;
    // About 2 MB waited in the node's send queue.
    assert!((15..30).contains(&lost), "{lost}");
    let held = pair.report().side(Side::A).held_bytes;
    assert!(held <= 100_024 + 65_536 + 400, "{held}");
}

#[test]
fn a_node_that_is_closed_while_its_requests_are_answered_gets_no_answer_after_its_return() {
    let limit = 16 << 20;
    let config = config().with_max_message_bytes(limit).with_max_buffered_message_bytes(limit);
    let mut pair = Pair::with(config.with_max_buffered_total_bytes(limit));
    for node in &mut pair.nodes {
        node.protoconf = frame("protoconf", &[&[1][..], &u32::try_from(limit).unwrap().to_le_bytes()].concat());
    }
    Side::BOTH.into_iter().for_each(|side| pair.probe(side));
    Side::BOTH.into_iter().for_each(|side| drop(pair.connect(side)));
    // More items than one `notfound` has.
    let items: Vec<_> = (0..1_100_u16).map(|number| [number.to_le_bytes(), [0; 2]].concat().repeat(8)).collect();
    for items in items.chunks(200) {
        let items: Vec<_> = items.iter().map(|hash| (TX, hash[..].try_into().unwrap())).collect();
        pair.transfer(Side::A, &inventory("getdata", &items));
    }
    // The first node reads nothing, and so much waits for it that even a `notfound` finds no room.
    let len = 10 << 20;
    let stream = [frame("tx", &pattern(2, 1 << 20)), frame("tx", &pattern(1, len))].concat();
    let mut sent = 0;
    while sent < stream.len() {
        let written = pair.node(Side::B).write(&stream[sent..]);
        assert!(written > 0, "the source was paused too early");
        sent += written;
        pair.settle();
    }
    assert!(pair.report().side(Side::B).held_bytes > len);
    // The loop does not read the paused source, but detects the reset when it writes.
    pair.node(Side::B).raw.net.reset(raw_link());
    pair.send(Side::A, &frame("inv", &[0]));
    let report = pair.report();
    assert_eq!(report.side(Side::A).problem, Some(PipeProblem::Overflow));
    assert_eq!((pair.states(), report.side(Side::B).held_bytes), ([SideState::Waiting; 2], 0));
}

/// Returns the double SHA-256 of `bytes`.
fn sha256_of(bytes: &[u8]) -> [u8; 32] {
    *peerloop::wire::Hash256::of(bytes).as_bytes()
}
