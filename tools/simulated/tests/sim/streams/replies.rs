//! Sending to a peer inside that peer's own callback: order, pings, bodies, and `on_writable`.

use super::{Room, Seen, Source, Task, opaque, pattern, ping_nonces};
use bytes::Bytes;
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::Conditions;
use peerloop::wire::Header;
use peerloop::{Ctx, PeerId};
use peerloop_testkit::bytes::{commands, frame, ping, pong, verack, version};
use peerloop_testkit::simulated::{RawPeer, TICK, raw_link, secs};

const MESSAGE_BYTES: usize = 20_000;
/// Maximum number of bytes that the kernel holds for the peer, and that the peer reads at a time.
const TAKEN_BYTES: usize = 4_096;

/// Builds a room whose node runs `reply` at the next message, and a peer that reads 4 KiB at a time.
fn room_with_reply(reply: impl FnOnce(&mut Ctx<'_>, PeerId) + Send + 'static) -> (Room, RawPeer, PeerId) {
    let mut room = Room::new(Conditions { capacity_bytes: TAKEN_BYTES, ..Conditions::default() });
    let (raw, peer) = room.add_peer();
    room.streamer(0).replies.push_back(Task(Box::new(move |ctx| reply(ctx, peer))));
    (room, raw, peer)
}

/// Reads at most [`TAKEN_BYTES`] in one call.
fn take(raw: &mut RawPeer) -> Vec<u8> {
    let mut block = vec![0; TAKEN_BYTES];
    let len = raw.net.read(raw_link(), &mut block).unwrap_or(0);
    block.truncate(len);
    block
}

fn send_large(ctx: &mut Ctx<'_>, peer: PeerId, command: &'static str) {
    ctx.send(peer, &opaque(command, &pattern(MESSAGE_BYTES))).unwrap();
}

#[test]
fn a_ping_requested_after_two_large_replies_is_written_between_them_and_its_pong_is_matched() {
    let (mut room, mut raw, _) = room_with_reply(|ctx, peer| {
        send_large(ctx, peer, "first");
        send_large(ctx, peer, "second");
        ctx.ping(peer, ctx.now()).unwrap();
    });
    let began = room.world.now();
    raw.send(&frame("question", b""));
    room.settle();
    let first = frame("first", &pattern(MESSAGE_BYTES));
    // The fifth part contains the end of the ping. The kernel accepts this part when the fourth part is read.
    let (mut received, mut nonce) = (Vec::new(), None);
    for part in 1.. {
        room.run_for(TICK);
        let taken = take(&mut raw);
        if taken.is_empty() {
            break;
        }
        received.extend(taken);
        if nonce.is_none() && received.len() >= first.len() + 32 {
            assert_eq!(part, 5);
            let found = ping_nonces(&received[first.len()..][..32])[0];
            raw.send(&frame("pong", &found.to_le_bytes()));
            nonce = Some(found);
        }
        room.settle();
    }
    let nonce = nonce.expect("the ping has arrived");
    let ping = frame("ping", &nonce.to_le_bytes());
    let expected = [first, ping, frame("second", &pattern(MESSAGE_BYTES))].concat();
    assert!(received == expected, "{:?}", commands(&received));
    let pong = Seen::Pong { nonce, planned: began, sent: began.plus(TICK * 4) };
    assert_eq!(room.seen(0), [Seen::Message("question".to_owned(), Vec::new()), pong]);
    assert_eq!(room.nodes[0].stats().counters.pongs_unmatched, 0);
    room.run_for(secs(60));
    assert_eq!(room.seen(0).len(), 2, "the peer was closed, or another event was reported");
}

/// Prepares a body that is fed in three parts, none before `on_writable`. Returns its header and its payload.
fn feed_later(room: &mut Room, peer: PeerId) -> (Header, Bytes) {
    let payload = pattern(3 * MESSAGE_BYTES);
    let parts = payload.chunks(MESSAGE_BYTES).map(|part| payload.slice_ref(part)).collect();
    room.streamer(0).source = Some(Source { peer, parts });
    (Header::of(CommandName::BLOCK, &payload), payload)
}

#[test]
fn a_body_begun_inside_a_callback_of_its_own_peer_is_fed_when_the_peer_is_writable() {
    for capacity_bytes in [TAKEN_BYTES, 1 << 20] {
        let mut room = Room::new(Conditions { capacity_bytes, ..Conditions::default() });
        let (mut raw, peer) = room.add_peer();
        let (header, payload) = feed_later(&mut room, peer);
        let reply = Task(Box::new(move |ctx| ctx.begin_body(peer, &header).unwrap()));
        room.streamer(0).replies.push_back(reply);
        raw.send(&frame("question", b""));
        room.settle();
        raw.send(&ping());
        let received = room.drain(&mut raw);
        assert!(received == [frame("block", &payload), pong()].concat(), "{} bytes", received.len());
    }
}

#[test]
fn sending_inside_a_callback_of_the_same_peer_is_followed_by_one_on_writable() {
    for count in [1, 2] {
        let mut room = Room::new(Conditions::default());
        let (mut raw, peer) = room.add_peer();
        let reply = Task(Box::new(move |ctx| (0..count).for_each(|_| send_large(ctx, peer, "answer"))));
        room.streamer(0).replies.push_back(reply);
        let writable = room.streamer(0).writable;
        raw.send(&frame("question", b""));
        room.settle();
        assert_eq!(room.streamer(0).writable, writable + 1);
        assert!(room.drain(&mut raw) == frame("answer", &pattern(MESSAGE_BYTES)).repeat(count));
    }
}

#[test]
fn on_writable_is_not_called_before_a_peer_is_ready() {
    let mut room = Room::new(Conditions::default());
    let mut raw = RawPeer::dialling(&room.world, room.address);
    room.settle();
    raw.send(&version());
    assert_eq!(commands(&room.drain(&mut raw))[..2], ["version", "verack"]);
    assert_eq!(room.streamer(0).writable, 0);
    raw.send(&[verack(), ping()].concat());
    room.settle();
    assert!(room.streamer(0).writable > 0);
}
