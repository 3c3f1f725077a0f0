//! Messages that are cut by a close or a deadline, or have a wrong checksum: the reports to each side, and their
//! order.

use super::{Room, Seen, feed_whole, opaque, pattern};
use peerloop::Network;
use peerloop::config::ManagerConfig;
use peerloop::error::{CloseReason, Deadline, Disconnect, Misbehavior, RequestError};
use peerloop::internals::framer::ChecksumVerdict;
use peerloop::internals::limits::{BODY_WINDOW, PONG_TIMEOUT};
use peerloop::protocol::CommandName;
use peerloop::sim::{Conditions, Cut, Cuts};
use peerloop::wire::Header;
use peerloop_testkit::bytes::{frame, header};
use peerloop_testkit::simulated::{TICK, config};
use std::time::Duration;

const CORRECT: Seen = Seen::Streamed(ChecksumVerdict::Correct);
const INSTANT: Duration = Duration::from_nanos(1);
const REQUESTED: CloseReason = CloseReason::Requested(Disconnect::Done);

#[test]
fn a_graceful_close_sends_the_fed_parts_and_nothing_after_them() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    let (header, part) = (Header::of(CommandName::BLOCK, &pattern(100)), pattern(60));
    let refused = room.act(0, move |ctx| {
        ctx.begin_body(peer, &header).unwrap();
        feed_whole(ctx, peer, &part).unwrap();
        ctx.send(peer, &opaque("behind", b"")).unwrap();
        ctx.close(peer, Disconnect::Done);
        feed_whole(ctx, peer, &part)
    });
    assert_eq!(refused, Err(RequestError::NotReady));
    assert_eq!(room.drain(&mut raw), frame("block", &pattern(100))[..24 + 60]);
    assert!(raw.has_seen_end);
    raw.close();
    room.settle();
    assert_eq!(room.seen(0), [Seen::Closed(REQUESTED)]);
}

/// Builds a `block` message whose header has a wrong checksum.
fn wrong_block(payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame("block", payload);
    bytes[20] ^= 1;
    bytes
}

#[test]
fn a_streamed_message_with_a_wrong_checksum_is_counted_like_a_buffered_one() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, _) = room.add_peer();
    let [payload, one_read] = [100_000, 10].map(pattern);
    let mut wrong_message = frame("message", b"");
    wrong_message[20] ^= 1;
    for bytes in [wrong_block(&payload), frame("block", &payload), wrong_block(&one_read), wrong_message] {
        raw.send(&bytes);
        room.settle();
    }
    let wrong = Seen::Streamed(ChecksumVerdict::Wrong);
    assert_eq!(room.seen(0), [wrong.clone(), CORRECT, wrong]);
    assert_eq!(room.nodes[0].stats().counters.bad_checksums, 3);
}

#[test]
fn many_streamed_messages_with_a_wrong_checksum_close_the_connection() {
    let config = config().with_manager(ManagerConfig::new(Network::Regtest));
    let mut room = Room::with(config, Conditions::default());
    let (mut raw, _) = room.add_peer();
    raw.send(&wrong_block(&pattern(10)).repeat(201));
    room.settle();
    let ends = Seen::Closed(CloseReason::Misbehaved(Misbehavior::BadChecksums));
    assert_eq!(room.seen(0).last(), Some(&ends));
}

#[test]
fn the_receivers_close_is_reported_to_the_sender_which_can_feed_no_more() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    room.stream(0, peer, &pattern(4 << 20), 50_000);
    raw.receive();
    raw.close();
    room.streamer(0).source = None;
    room.settle();
    assert!(matches!(room.seen(0), [Seen::Closed(CloseReason::Network(_) | CloseReason::ClosedByPeer)]));
    assert_eq!(room.act(0, move |ctx| feed_whole(ctx, peer, &pattern(1))), Err(RequestError::NoSuchPeer));
    assert_eq!(room.nodes[0].stats().links, 0);
}

#[test]
fn a_cut_block_is_reported_with_its_received_length_before_the_close() {
    let block = frame("block", &pattern(1_000));
    for len in [24, 25, 500, 1_023] {
        for most in [1, 100, usize::MAX] {
            let to_acceptor = Cuts { writes: Cut::None, arrivals: Cut::AtMost(most) };
            let mut room = Room::new(Conditions { to_acceptor, ..Conditions::default() });
            let (mut raw, _) = room.add_peer();
            raw.send(&block[..len]);
            room.settle();
            assert_eq!(room.seen(0), []);
            raw.close();
            room.settle();
            let received = len as u64 - 24;
            let cut = Seen::Cut { received, reason: CloseReason::ClosedByPeer };
            assert_eq!(room.seen(0), [cut, Seen::Closed(CloseReason::ClosedByPeer)], "{len} bytes, {most} at once");
            assert_eq!(room.streamer(0).received[..], pattern(1_000)[..len - 24]);
        }
    }
}

#[test]
fn a_message_that_is_complete_or_not_begun_or_not_streamed_is_not_reported_as_cut() {
    for bytes in
        [frame("block", &pattern(100)), frame("block", b"")[..23].to_vec(), frame("tx", b"1234")[..26].to_vec()]
    {
        let mut room = Room::new(Conditions::default());
        let (mut raw, _) = room.add_peer();
        raw.send(&bytes);
        raw.close();
        room.settle();
        let seen = room.seen(0);
        assert!(!seen.iter().any(|seen| matches!(seen, Seen::Cut { .. })), "{seen:?}");
        assert_eq!(seen.last(), Some(&Seen::Closed(CloseReason::ClosedByPeer)));
    }
}

#[test]
fn a_cut_is_reported_even_to_the_handler_that_closed_the_peer_unless_it_did_so_at_the_header() {
    let block = frame("block", &pattern(1_000));
    // If the handler aborts the peer at a message's header, the message is not delivered, so no cut is reported.
    let cut = Seen::Cut { received: 400, reason: REQUESTED };
    for (at_header, len, cut) in [(true, 24, None), (true, 424, None), (true, 1_024, None), (false, 424, Some(cut))] {
        let mut room = Room::new(Conditions::default());
        let (mut raw, _) = room.add_peer();
        room.streamer(0).aborts_at_header = at_header;
        room.streamer(0).aborts_at_chunk = !at_header;
        raw.send(&block[..len]);
        room.settle();
        let expected: Vec<Seen> = cut.into_iter().chain([Seen::Closed(REQUESTED)]).collect();
        assert_eq!(room.seen(0), expected, "{len}");
    }
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    raw.send(&block[..424]);
    room.settle();
    room.act(0, move |ctx| ctx.close(peer, Disconnect::Done));
    raw.send(&block[424..]);
    room.settle();
    raw.close();
    room.settle();
    assert_eq!(room.seen(0), [Seen::Cut { received: 400, reason: REQUESTED }, Seen::Closed(REQUESTED)]);
}

#[test]
fn a_streamed_block_without_progress_for_a_minute_is_cut() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, _) = room.add_peer();
    raw.send(&header("block", 1_000_000, &[0; 4]));
    raw.send(&[7; 100_000]);
    room.run_for(BODY_WINDOW - INSTANT);
    assert_eq!(room.seen(0), []);
    room.run_for(INSTANT);
    let reason = CloseReason::TimedOut(Deadline::Body);
    assert_eq!(room.seen(0), [Seen::Cut { received: 100_000, reason }, Seen::Closed(reason)]);
}

#[test]
fn a_streamed_block_with_progress_may_last_an_hour() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, _) = room.add_peer();
    let payload = pattern(60 * 61 * 1_024);
    let block = frame("block", &payload);
    raw.send(&block[..24]);
    for part in block[24..].chunks(61 * 1_024) {
        room.run_for(BODY_WINDOW - INSTANT);
        raw.send(part);
        room.settle();
    }
    assert_eq!(room.seen(0), [CORRECT], "the block was cut, or the peer was closed before a pong was due");
    assert_eq!(room.streamer(0).received, payload);
    assert_eq!(super::ping_nonces(&raw.receive()).len(), 1);
    room.run_for(PONG_TIMEOUT - INSTANT);
    assert_eq!(room.seen(0), [CORRECT]);
    room.run_for(TICK);
    assert_eq!(room.seen(0), [CORRECT, Seen::Closed(CloseReason::TimedOut(Deadline::Pong))]);
}
