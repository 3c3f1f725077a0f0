//! A slow receiver slows only its sender: queues stay bounded, and no byte is lost. The time during which a node does
//! not read does not count towards its peers' deadlines.

use super::{Room, Seen, Source, Task, opaque, pattern, ping_nonces, waiting};
use bytes::Bytes;
use peerloop::error::{CloseReason, Deadline};
use peerloop::internals::framer::ChecksumVerdict;
use peerloop::internals::limits::{BODY_WINDOW, MAX_BODY_WAITING_BYTES, SEND_STALL_TIMEOUT};
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::Conditions;
use peerloop::wire::Header;
use peerloop_testkit::bytes::{frame, header, ping, pong};
use peerloop_testkit::simulated::{raw_link, secs};
use std::time::Duration;

const PART_BYTES: usize = 60_000;
/// Maximum number of waiting bytes beyond [`MAX_BODY_WAITING_BYTES`]: a few of our pings, one every two minutes.
const MAX_PINGS_BYTES: usize = 100;
const CORRECT: Seen = Seen::Streamed(ChecksumVerdict::Correct);

#[test]
fn a_receiver_that_pauses_slows_its_sender_and_loses_nothing() {
    let mut room = Room::new(Conditions::default());
    let (receiver_id, sender_id) = room.add_node();
    let payload = pattern(8 << 20);
    room.streamer(1).pauses = true;
    room.stream(0, receiver_id, &payload, PART_BYTES);
    for _ in 0..3 {
        let fed = |room: &mut Room| room.streamer(0).source.as_ref().map(|source| source.parts.len());
        let before = fed(&mut room);
        let received = room.streamer(1).received.len();
        room.run_for(SEND_STALL_TIMEOUT - secs(1));
        assert_eq!(
            (fed(&mut room), room.streamer(1).received.len()),
            (before, received),
            "bytes moved during the pause"
        );
        room.streamer(1).pauses = true;
        room.act(1, move |ctx| ctx.resume(sender_id));
    }
    room.streamer(1).pauses = false;
    room.act(1, move |ctx| ctx.resume(sender_id));
    assert_eq!(room.seen(1)[0], CORRECT);
    assert!([0, 1].iter().all(|&node| room.seen(node).iter().all(|seen| !matches!(seen, Seen::Closed(_)))));
    assert!(room.streamer(1).received == payload);
    let most = room.streamer(0).max_waiting;
    assert!(most <= MAX_BODY_WAITING_BYTES + MAX_PINGS_BYTES, "{most} bytes waited");
}

/// Checks that a long queue of messages to a peer does not stop a loop from reading from this peer; only unread
/// replies may do so. Otherwise both loops would stop reading, and would close the connection after a minute.
#[test]
fn two_loops_with_long_queues_for_each_other_keep_reading() {
    const MESSAGES: usize = 19;
    let payload = pattern(100_000);
    let mut room = Room::new(Conditions::default());
    let (first_id, second_id) = room.add_node();
    for (node, peer) in [(0, first_id), (1, second_id)] {
        let payload = payload.clone();
        let task = Task(Box::new(move |ctx| {
            for _ in 0..MESSAGES {
                ctx.send(peer, &opaque("bulk", &payload)).unwrap();
            }
        }));
        room.nodes[node].handle().request(task).unwrap();
    }
    room.run_for(secs(1));
    for node in [0, 1] {
        let is_whole = |seen: &Seen| matches!(seen, Seen::Message(_, received) if *received == payload);
        assert_eq!(room.seen(node).iter().filter(|seen| is_whole(seen)).count(), MESSAGES);
        assert_eq!(room.seen(node).len(), MESSAGES, "something other than the messages was reported");
    }
}

#[test]
fn a_receiver_that_never_reads_is_closed_after_a_minute() {
    let mut room = Room::new(Conditions::default());
    let (_raw, peer) = room.add_peer();
    room.stream(0, peer, &pattern(4 << 20), PART_BYTES);
    room.run_for(SEND_STALL_TIMEOUT - Duration::from_nanos(1));
    assert_eq!(room.seen(0), []);
    room.streamer(0).source = None;
    room.run_for(Duration::from_nanos(1));
    assert_eq!(room.seen(0), [Seen::Closed(CloseReason::TimedOut(Deadline::Send))]);
}

#[test]
fn a_peer_that_reads_every_part_is_kept_however_slowly_it_is_fed() {
    let mut room = Room::new(Conditions { capacity_bytes: 256, ..Conditions::default() });
    let (mut raw, peer) = room.add_peer();
    let payload = pattern(10_000);
    let header = Header::of(CommandName::BLOCK, &payload);
    room.act(0, move |ctx| ctx.begin_body(peer, &header).unwrap());
    // After the first 400 bytes, the peer reads ten bytes each second, and ten more are fed. The queue is never empty.
    let mut parts = payload.chunks(10).map(Bytes::copy_from_slice);
    let mut feed = move |room: &mut Room, count| {
        for mut part in parts.by_ref().take(count) {
            room.act(0, move |ctx| ctx.feed_body(peer, &mut part).unwrap());
        }
    };
    feed(&mut room, 40);
    for _ in 0..2 * SEND_STALL_TIMEOUT.as_secs() + 10 {
        room.run_for(secs(1));
        assert_eq!(raw.net.read(raw_link(), &mut [0; 10]).unwrap(), 10);
        room.settle();
        assert!(room.act(0, move |ctx| waiting(ctx, peer)) > 0);
        feed(&mut room, 1);
    }
    assert_eq!(room.seen(0), []);
    room.run_for(SEND_STALL_TIMEOUT);
    assert_eq!(room.seen(0), [Seen::Closed(CloseReason::TimedOut(Deadline::Send))]);
}

#[test]
fn a_body_has_its_whole_minute_after_a_pause() {
    let mut room = Room::new(Conditions::default());
    let (mut raw, peer) = room.add_peer();
    room.streamer(0).pauses = true;
    raw.send(&header("block", 1_000_000, &[0; 4]));
    raw.send(&[7; 100]);
    room.run_for(secs(1_000));
    room.act(0, move |ctx| ctx.resume(peer));
    assert_eq!(
        ping_nonces(&raw.receive()).len(),
        1,
        "no ping was sent, or a second one was sent while the block still delayed the pong"
    );
    room.run_for(BODY_WINDOW - Duration::from_nanos(1));
    assert_eq!(room.seen(0), []);
    room.run_for(Duration::from_nanos(1));
    let reason = CloseReason::TimedOut(Deadline::Body);
    assert_eq!(room.seen(0), [Seen::Cut { received: 100, reason }, Seen::Closed(reason)]);
}

#[test]
fn a_relay_buffers_about_a_mebibyte_at_most_for_a_slow_sink_and_does_not_time_out_its_source() {
    let mut room = Room::new(Conditions::default());
    let (_, relay) = room.add_node();
    let (sink, from_relay) = room.add_node();
    room.streamer(0).relays_to = Some(sink);
    let payload = pattern(8 << 20);
    room.streamer(2).pauses = true;
    room.stream(1, relay, &payload, PART_BYTES);
    // In total, the sink pauses for less time than the source waits for a peer that reads nothing.
    for _ in 0..5 {
        room.run_for(secs(11));
        room.streamer(2).pauses = true;
        room.act(2, move |ctx| ctx.resume(from_relay));
    }
    room.streamer(2).pauses = false;
    room.act(2, move |ctx| ctx.resume(from_relay));
    assert_eq!(room.seen(2), [CORRECT]);
    assert!(room.streamer(2).received == payload);
    assert_eq!((room.seen(0), room.seen(1)), (&[CORRECT][..], &[][..]));
    let most = room.streamer(0).max_waiting;
    assert!(most <= MAX_BODY_WAITING_BYTES + MAX_PINGS_BYTES, "{most} bytes waited");
}

#[test]
fn two_nodes_that_stream_to_each_other_at_once_do_not_wait_for_each_other() {
    for capacity_bytes in [16 * 1_024, 64 * 1_024] {
        let mut room = Room::new(Conditions { capacity_bytes, ..Conditions::default() });
        let (there, here) = room.add_node();
        let payload = pattern(1 << 20);
        // The payload is fed as one part, so that as many bytes as possible wait at once.
        for (node, peer) in [(0, there), (1, here)] {
            room.streamer(node).source = Some(Source { peer, parts: [payload.clone()].into() });
        }
        let header = Header::of(CommandName::BLOCK, &payload);
        let begin = |peer| {
            move |ctx: &mut peerloop::Ctx<'_>| {
                ctx.begin_body(peer, &header).unwrap();
                ctx.ping(peer, ctx.now()).unwrap();
            }
        };
        let handles = [0, 1].map(|node: usize| room.nodes[node].handle());
        let task = |peer| Task(Box::new(begin(peer)));
        handles[0].request(task(there)).unwrap();
        handles[1].request(task(here)).unwrap();
        room.settle();
        for node in [0, 1] {
            assert!(room.streamer(node).received == payload, "{capacity_bytes}");
            let seen = room.seen(node);
            let is_pong = |seen: &&Seen| matches!(seen, Seen::Pong { .. });
            assert_eq!((seen.len(), seen.iter().filter(is_pong).count(), seen.contains(&CORRECT)), (2, 1, true));
        }
    }
}

#[test]
fn pings_during_a_large_reply_do_not_close_their_peer_and_are_answered_first() {
    for shared in [false, true] {
        let mut room = Room::new(Conditions::default());
        let (mut raw, peer) = room.add_peer();
        let payload = pattern(4 << 20);
        // The peer sends a message that gets a large reply, and two pings, all in one write.
        let answer: Bytes = frame("block", &payload).into();
        room.streamer(0).answers = Some(if shared { answer.clone() } else { payload.clone() });
        room.streamer(0).answers_in_parts = !shared;
        raw.send(&[frame("getdata", b"\0"), ping(), ping()].concat());
        room.settle();
        assert_eq!(room.seen(0).len(), 1, "{:?}", room.seen(0).last());
        let received = room.drain(&mut raw);
        assert!(received == [&pong(), &pong(), &answer[..]].concat(), "{} bytes", received.len());
        assert_eq!(room.act(0, move |ctx| ctx.peer(peer).map(|view| view.is_ready())), Some(true));
    }
}
