//! Marks on messages: each mark is reported with the write of its message's last byte, and not before.

use super::{Room, Seen, Task, feed_whole, pattern};
use bytes::Bytes;
use peerloop::error::{Disconnect, RequestError};
use peerloop::internals::limits::MAX_MARKS_PER_PEER;
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::Conditions;
use peerloop::wire::Header;
use peerloop::{Ctx, PeerId};
use peerloop_testkit::bytes::{commands, frame, frames, ping};
use peerloop_testkit::simulated::{RawPeer, raw_link, secs};

const CAPACITY_BYTES: usize = 1_000;

fn small_room() -> (Room, RawPeer, PeerId) {
    let mut room = Room::new(Conditions { capacity_bytes: CAPACITY_BYTES, ..Conditions::default() });
    let (raw, peer) = room.add_peer();
    (room, raw, peer)
}

/// Returns a message whose payload begins with its mark.
fn marked(mark: u64, len_bytes: usize) -> Bytes {
    frame("marked", &[&mark.to_le_bytes()[..], &pattern(len_bytes)].concat()).into()
}

fn send_marked(ctx: &mut Ctx<'_>, peer: PeerId, mark: u64, len_bytes: usize) {
    ctx.send_marked(peer, &marked(mark, len_bytes), mark).unwrap();
}

fn bytes_sent(room: &Room) -> usize {
    room.nodes[0].stats().counters.bytes_sent as usize
}

/// Returns the marks that were reported since the start.
fn reported(room: &Room) -> Vec<u64> {
    let marks = room.seen(0).iter().filter_map(|seen| match seen {
        Seen::Written { mark, .. } => Some(*mark),
        _ => None,
    });
    marks.collect()
}

/// A record of the bytes that the peer has read. For each step, it also contains the number of bytes written by then,
/// and the marks reported by then.
struct Watch {
    before: usize,
    /// The marks of a block's first and last byte.
    of_block: Option<[u64; 2]>,
    received: Vec<u8>,
    steps: Vec<(usize, Vec<u64>)>,
}

impl Watch {
    fn new(room: &Room) -> Self {
        Self { before: bytes_sent(room), of_block: None, received: Vec::new(), steps: Vec::new() }
    }

    fn note(&mut self, room: &Room) {
        self.steps.push((bytes_sent(room) - self.before, reported(room)));
    }

    /// Reads up to `step` bytes at a time, until at least `most` bytes have been read in all or no more arrive.
    fn read(&mut self, room: &mut Room, raw: &mut RawPeer, most: usize, step: usize) {
        let mut buffer = vec![0; step];
        self.note(room);
        while self.received.len() < most
            && let Ok(len) = raw.net.read(raw_link(), &mut buffer)
        {
            self.received.extend_from_slice(&buffer[..len]);
            room.settle();
            self.note(room);
        }
    }

    /// Reads the rest. Asserts that after each step exactly the marks of completely written messages were reported.
    /// Returns the commands of all received messages.
    fn finish(mut self, room: &mut Room, raw: &mut RawPeer, step: usize) -> Vec<String> {
        self.read(room, raw, usize::MAX, step);
        let (mut end, mut ends) = (0, Vec::new());
        for (command, payload) in frames(&self.received) {
            let first = end + 24 + payload.len().min(1);
            end += 24 + payload.len();
            if command == "block" {
                ends.extend(self.of_block.into_iter().flat_map(|marks| [first, end].into_iter().zip(marks)));
            }
            if command == "marked" {
                ends.push((end, u64::from_le_bytes(*payload.first_chunk().unwrap())));
            }
        }
        for (written, marks) in self.steps {
            let expected: Vec<u64> = ends.iter().filter(|(end, _)| *end <= written).map(|(_, mark)| *mark).collect();
            assert_eq!(marks, expected, "{written} bytes are written");
        }
        assert_eq!(
            reported(room).len(),
            ends.len(),
            "the number of reported marks differs from the number of marked messages"
        );
        commands(&self.received)
    }
}

#[test]
fn a_mark_is_reported_with_the_write_of_its_messages_last_byte() {
    for (step, len_bytes) in
        [1, 7, 500].into_iter().flat_map(|step| [0, 1, 967, 968, 969, 2_500].map(|len| (step, len)))
    {
        let (mut room, mut raw, peer) = small_room();
        let watch = Watch::new(&room);
        room.act(0, move |ctx| {
            send_marked(ctx, peer, 1, len_bytes);
            ctx.send_shared(peer, &frame("tx", &pattern(300)).into()).unwrap();
            send_marked(ctx, peer, 2, 10);
            send_marked(ctx, peer, 3, 0);
        });
        let received = watch.finish(&mut room, &mut raw, step);
        assert_eq!(received, ["marked", "tx", "marked", "marked"], "{len_bytes} in steps of {step}");
    }
}

#[test]
fn an_overtaken_messages_mark_moves_with_the_message() {
    for taken in [0, 1, 31, 32, 700, 1_024, 1_056, 1_700, 2_080, 2_500] {
        let (mut room, mut raw, peer) = small_room();
        let mut watch = Watch::new(&room);
        room.act(0, move |ctx| {
            send_marked(ctx, peer, 1, 992);
            send_marked(ctx, peer, 2, 992);
            ctx.ping(peer, ctx.now()).unwrap();
            send_marked(ctx, peer, 3, 992);
        });
        watch.read(&mut room, &mut raw, taken, 1);
        raw.send(&[ping(), ping()].concat());
        room.settle();
        room.act(0, move |ctx| {
            send_marked(ctx, peer, 4, 0);
            ctx.ping(peer, ctx.now()).unwrap();
        });
        let received = watch.finish(&mut room, &mut raw, 3);
        let pings = received.iter().take_while(|command| *command != "marked").count();
        assert_eq!(
            (pings, received.len()),
            (1, 8),
            "{taken}: not exactly one ping or pong precedes the marked messages, or there are not 8 messages"
        );
        assert_ne!(received[7], "ping");
        assert_eq!(reported(&room), [1, 2, 3, 4]);
    }
}

#[test]
fn an_overtaken_messages_mark_is_reported_with_the_messages_last_byte() {
    for step in [1, 5, 999] {
        let (mut room, mut raw, peer) = small_room();
        let watch = Watch::new(&room);
        room.act(0, move |ctx| {
            ctx.send_shared(peer, &frame("tx", &pattern(1_500)).into()).unwrap();
            send_marked(ctx, peer, 1, 0);
            send_marked(ctx, peer, 2, 992);
            ctx.ping(peer, ctx.now()).unwrap();
            send_marked(ctx, peer, 3, 0);
        });
        raw.send(&ping());
        room.settle();
        let received = watch.finish(&mut room, &mut raw, step);
        assert_eq!(received, ["ping", "tx", "pong", "marked", "marked", "marked"]);
    }
}

#[test]
fn a_mark_behind_a_body_waits_for_the_body_and_for_the_pong_that_follows_it() {
    for step in [1, 13, 999] {
        let (mut room, mut raw, peer) = small_room();
        let watch = Watch::new(&room);
        let payload = pattern(3_000);
        let part = payload.slice(1_200..);
        room.act(0, move |ctx| {
            send_marked(ctx, peer, 1, 100);
            ctx.begin_body(peer, &Header::of(CommandName::BLOCK, &payload)).unwrap();
            feed_whole(ctx, peer, &payload.slice(..1_200)).unwrap();
            send_marked(ctx, peer, 2, 100);
            ctx.ping(peer, ctx.now()).unwrap();
            send_marked(ctx, peer, 3, 700);
        });
        raw.send(&ping());
        room.settle();
        room.act(0, move |ctx| feed_whole(ctx, peer, &part).unwrap());
        let received = watch.finish(&mut room, &mut raw, step);
        assert_eq!(received, ["ping", "marked", "block", "pong", "marked", "marked"]);
    }
}

#[test]
fn the_marks_of_a_body_are_reported_with_its_first_and_its_last_byte() {
    for (step, len_bytes) in [1, 13, 999].into_iter().flat_map(|step| [0, 1, 2, 3_000].map(|len| (step, len))) {
        let (mut room, mut raw, peer) = small_room();
        let watch = Watch { of_block: Some([7, 8]), ..Watch::new(&room) };
        let payload = pattern(len_bytes);
        let part = payload.slice(len_bytes / 2..);
        room.act(0, move |ctx| {
            send_marked(ctx, peer, 1, 1_100);
            ctx.begin_body_marked(peer, &Header::of(CommandName::BLOCK, &payload), [7, 8]).unwrap();
            feed_whole(ctx, peer, &payload.slice(..payload.len() / 2)).unwrap();
            send_marked(ctx, peer, 2, 100);
            ctx.ping(peer, ctx.now()).unwrap();
        });
        raw.send(&ping());
        room.settle();
        room.act(0, move |ctx| feed_whole(ctx, peer, &part).unwrap());
        let received = watch.finish(&mut room, &mut raw, step);
        assert_eq!(received.iter().filter(|command| *command == "block").count(), 1, "{len_bytes} in steps of {step}");
    }
}

#[test]
fn a_marked_body_needs_room_for_two_marks_and_can_begin_inside_a_callback() {
    let (mut room, mut raw, peer) = small_room();
    let payload = pattern(10);
    let header = Header::of(CommandName::BLOCK, &payload);
    room.act(0, move |ctx| {
        ctx.send_shared(peer, &frame("tx", &pattern(2_000)).into()).unwrap();
        (1..MAX_MARKS_PER_PEER as u64).for_each(|mark| send_marked(ctx, peer, mark, 0));
        let waiting = super::waiting(ctx, peer);
        assert_eq!(ctx.begin_body_marked(peer, &header, [0, 0]), Err(RequestError::TooManyMarks));
        assert_eq!(super::waiting(ctx, peer), waiting, "the refused message was begun");
    });
    room.drain(&mut raw);
    room.streamer(0).replies.push_back(Task(Box::new(move |ctx| {
        ctx.send(peer, &super::opaque("answer", b"42")).unwrap();
        ctx.begin_body_marked(peer, &header, [1_000, 1_001]).unwrap();
        feed_whole(ctx, peer, &payload).unwrap();
    })));
    let before = reported(&room).len();
    raw.send(&frame("question", b""));
    room.run_for(secs(1));
    assert_eq!(commands(&room.drain(&mut raw)), ["answer", "block"]);
    assert_eq!(reported(&room)[before..], [1_000, 1_001]);
}

#[test]
fn a_mark_set_inside_a_callback_is_reported_with_the_write_of_its_message() {
    let (mut room, mut raw, peer) = small_room();
    let watch = Watch::new(&room);
    room.streamer(0).replies.push_back(Task(Box::new(move |ctx| {
        ctx.send(peer, &super::opaque("answer", b"42")).unwrap();
        send_marked(ctx, peer, 1, 5);
        ctx.pull(peer).unwrap();
    })));
    room.streamer(0).on_pull.push_back(Task(Box::new(move |ctx| send_marked(ctx, peer, 2, 5))));
    raw.send(&[frame("question", b""), ping()].concat());
    room.run_for(secs(1));
    assert_eq!(watch.finish(&mut room, &mut raw, 1), ["pong", "answer", "marked", "marked"]);
}

#[test]
fn a_mark_is_reported_with_the_time_of_its_write() {
    let (mut room, mut raw, peer) = small_room();
    room.act(0, move |ctx| {
        send_marked(ctx, peer, 1, 900);
        send_marked(ctx, peer, 2, 900);
    });
    let first = room.world.now();
    room.run_for(secs(3));
    let second = room.world.now();
    raw.receive();
    room.settle();
    assert_eq!(room.seen(0), [Seen::Written { mark: 1, at: first }, Seen::Written { mark: 2, at: second }]);
}

#[test]
fn a_close_reports_the_marks_of_queued_messages_but_an_abort_drops_the_marks_of_unwritten_messages() {
    for is_graceful in [true, false] {
        let (mut room, mut raw, peer) = small_room();
        room.act(0, move |ctx| {
            send_marked(ctx, peer, 1, 100);
            send_marked(ctx, peer, 2, 900);
        });
        room.act(0, move |ctx| match is_graceful {
            true => ctx.close(peer, Disconnect::Done),
            false => ctx.abort(peer, Disconnect::Done),
        });
        let received = room.drain(&mut raw);
        raw.close();
        room.run_for(secs(5));
        assert_eq!(
            reported(&room),
            if is_graceful { &[1, 2][..] } else { &[1] },
            "the peer received {} bytes",
            received.len()
        );
        assert!(matches!(room.seen(0).last(), Some(Seen::Closed(_))), "the close is not the last event");
    }
}

#[test]
fn a_marked_message_beyond_the_limit_is_refused_until_marks_are_reported() {
    let (mut room, mut raw, peer) = small_room();
    let watch = Watch::new(&room);
    let most = MAX_MARKS_PER_PEER as u64;
    room.act(0, move |ctx| {
        ctx.send_shared(peer, &frame("tx", &pattern(2_000)).into()).unwrap();
        (0..most).for_each(|mark| send_marked(ctx, peer, mark, 0));
        let waiting = super::waiting(ctx, peer);
        assert_eq!(ctx.send_marked(peer, &marked(most, 0), most), Err(RequestError::TooManyMarks));
        assert_eq!(super::waiting(ctx, peer), waiting, "the refused message was queued");
        ctx.send_shared(peer, &frame("tx", b"").into()).unwrap();
    });
    assert_eq!(watch.finish(&mut room, &mut raw, 100).len(), MAX_MARKS_PER_PEER + 2);
    room.act(0, move |ctx| send_marked(ctx, peer, most, 0));
    assert_eq!(reported(&room).last(), Some(&most));
}

#[test]
fn the_mark_of_a_refused_or_empty_message_is_not_reported() {
    let (mut room, mut raw, peer) = small_room();
    room.act(0, move |ctx| {
        assert_eq!(ctx.send_marked(peer, &Bytes::new(), 1), Ok(()));
        let large = Header { command: CommandName::INV, payload_len: 4_000_000_000, checksum: Some([0; 4]) };
        let large = Bytes::copy_from_slice(&large.encode(peerloop::Network::Regtest.magic()));
        assert_eq!(ctx.send_marked(peer, &large, 2), Err(RequestError::TooLargeForPeer));
        ctx.send_shared(peer, &frame("tx", b"").into()).unwrap();
    });
    assert_eq!(commands(&room.drain(&mut raw)), ["tx"]);
    assert_eq!(reported(&room), []);
}
