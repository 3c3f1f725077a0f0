//! A node that does not read: the other node is paused, little is held, and nothing is lost.

use super::{Pair, pattern};
use peerloop::internals::limits::{
    MAX_BODY_WAITING_BYTES, MAX_MARKS_PER_PEER, MAX_SEND_QUEUE_BYTES, PIPE_ITEM_COST_BYTES, READ_BLOCK_BYTES,
};
use peerloop::internals::net::Net;
use peerloop::relay::pipe::{HopKind, Side};
use peerloop_testkit::bytes::{frame, header, sha256_twice};
use peerloop_testkit::simulated::raw_link;

/// Lets B read everything while A sends the rest, and checks what B received.
fn drain(pair: &mut Pair, stream: &[u8], sent: usize) {
    let mut received = pair.receive(Side::B);
    received.extend(pair.transfer(Side::A, &stream[sent..]));
    assert!(received == stream, "the received bytes differ");
    let report = pair.report();
    assert!(report.is_joined());
    assert_eq!((report.side(Side::A).held_bytes, report.side(Side::A).lost.total().messages), (0, 0));
}

#[test]
fn small_messages_to_a_node_that_does_not_read_pause_the_source() {
    let mut pair = Pair::joined();
    let message_len = 100_000;
    let stream: Vec<u8> = (0..120).flat_map(|seed| frame("tx", &pattern(seed, message_len))).collect();
    let (sent, max_held) = pair.fill(&stream);
    let most = message_len + 24 + READ_BLOCK_BYTES + 3 * PIPE_ITEM_COST_BYTES;
    assert!(max_held > 0 && max_held <= most, "{max_held} bytes were held, at most {most} may be");
    let waiting = pair.pipe.act(|_, ctx| ctx.peers().map(|peer| peer.waiting_bytes()).max());
    assert!(waiting.unwrap() <= MAX_SEND_QUEUE_BYTES, "{waiting:?} bytes waited");
    drain(&mut pair, &stream, sent);
}

#[test]
fn a_large_message_to_a_node_that_does_not_read_pauses_the_source() {
    let mut pair = Pair::joined();
    let payload = pattern(5, 12 << 20);
    let block = [header("block", 12 << 20, &sha256_twice(&payload)), payload].concat();
    let stream = [&frame("inv", &[0])[..], &block, &frame("tx", b"after"), &block, &frame("inv", &[0])].concat();
    let (sent, max_held) = pair.fill(&stream);
    let most = READ_BLOCK_BYTES + 4 * PIPE_ITEM_COST_BYTES;
    assert!(max_held > 0 && max_held <= most, "{max_held} bytes were held, at most {most} may be");
    let waiting = pair.pipe.act(|_, ctx| ctx.peers().map(|peer| peer.waiting_bytes()).max());
    assert!(waiting.unwrap() <= MAX_BODY_WAITING_BYTES, "{waiting:?} bytes waited");
    drain(&mut pair, &stream, sent);
}

#[test]
fn messages_whose_hops_cannot_be_measured_are_counted() {
    let mut pair = Pair::joined();
    // The large ones fill the kernel's buffer, and the small ones wait in the loop.
    let (large, small) = (frame("tx", &pattern(1, 100_000)).repeat(5), frame("inv", &[0]).repeat(400));
    for part in [&large[..250_000], &large[250_000..], &small] {
        pair.send(Side::A, part);
    }
    assert_eq!(pair.receive(Side::B).len(), large.len() + small.len());
    let counts = |pair: &Pair| -> Vec<_> {
        pair.report().hops.iter().map(|hop| (hop.kind, hop.read.count, hop.unmeasured)).collect()
    };
    let measured = MAX_MARKS_PER_PEER as u64;
    let [(HopKind::Inv, invs, missing), (HopKind::Tx, 5, 0)] = counts(&pair)[..] else { panic!("{:?}", counts(&pair)) };
    assert!(invs <= measured && missing > 0 && invs + missing == 400, "{invs} and {missing}");

    // Of two large messages in a row, the first one's end is not known to be written.
    let payload = pattern(5, 3 << 20);
    let block = [header("block", 3 << 20, &sha256_twice(&payload)), payload].concat().repeat(2);
    let (mut sent, mut part) = (0, vec![0; 64 * 1024]);
    while sent < block.len() {
        // The receiver reads less than the sender could send, so the queue is never empty.
        sent += pair.node(Side::A).write(&block[sent..]);
        pair.settle();
        let _ = pair.node(Side::B).raw.net.read(raw_link(), &mut part);
    }
    pair.receive(Side::B);
    assert_eq!(counts(&pair).last(), Some(&(HopKind::Block, 1, 1)));
}

#[test]
fn a_node_that_does_not_read_delays_nothing_in_the_other_direction() {
    let mut pair = Pair::joined();
    let stream: Vec<u8> = (0..120).flat_map(|seed| frame("tx", &pattern(seed, 100_000))).collect();
    let (sent, _) = pair.fill(&stream);
    let back: Vec<u8> = (0..50).flat_map(|seed| frame("inv", &pattern(seed, 37))).collect();
    pair.send(Side::B, &back);
    assert_eq!(pair.receive(Side::A), back);
    drain(&mut pair, &stream, sent);
}
