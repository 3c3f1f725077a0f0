//! The pull step: a handler that asks for a peer's free room is offered the room once, and may then send as many
//! bytes as were offered.

use super::{Room, Task, feed_whole, opaque, pattern, waiting};
use bytes::Bytes;
use peerloop::error::{Disconnect, RequestError};
use peerloop::internals::limits::{MAX_SEND_QUEUE_BYTES, PULL_WAITING_BYTES};
use peerloop::internals::{Budget, shrink};
use peerloop::protocol::CommandName;
use peerloop::sim::Conditions;
use peerloop::wire::Header;
use peerloop::{Ctx, PeerId};
use peerloop_testkit::bytes::{commands, frame, verack, version};
use peerloop_testkit::simulated::{RawPeer, config};

/// Number of bytes that the kernel accepts before the peer reads.
const TAKEN_BYTES: usize = 4_096;

fn small_room() -> Room {
    Room::new(Conditions { capacity_bytes: TAKEN_BYTES, ..Conditions::default() })
}

/// Returns a frame of `len_bytes` bytes, including its header.
fn frame_of(len_bytes: usize) -> Bytes {
    frame("tx", &pattern(len_bytes - 24)).into()
}

/// Reads the bytes that have arrived, and lets the node continue. Returns the number of bytes read.
fn read_once(room: &mut Room, raw: &mut RawPeer) -> usize {
    let len_bytes = raw.receive().len();
    room.settle();
    len_bytes
}

#[test]
fn available_room_is_offered_once_for_any_number_of_requests() {
    let mut room = small_room();
    let (mut raw, peer) = room.add_peer();
    let sent_inside = Task(Box::new(move |ctx| ctx.send(peer, &opaque("answer", b"")).unwrap()));
    room.streamer(0).on_pull.push_back(sent_inside);
    room.act(0, move |ctx| (0..3).for_each(|_| ctx.pull(peer).unwrap()));
    assert_eq!(room.streamer(0).pulled, [(peer, usize::MAX)]);
    assert_eq!(commands(&room.drain(&mut raw)), ["answer"]);
}

#[test]
fn room_is_offered_as_soon_as_the_queue_drains_to_the_threshold() {
    let mut room = small_room();
    let (mut raw, peer) = room.add_peer();
    room.act(0, move |ctx| {
        ctx.send_shared(peer, &frame_of(2 * PULL_WAITING_BYTES)).unwrap();
        ctx.pull(peer).unwrap();
    });
    while room.act(0, move |ctx| waiting(ctx, peer)) > PULL_WAITING_BYTES {
        assert_eq!(room.streamer(0).pulled, []);
        assert!(read_once(&mut room, &mut raw) > 0);
    }
    let waits = room.act(0, move |ctx| waiting(ctx, peer));
    assert!(waits > PULL_WAITING_BYTES - TAKEN_BYTES);
    assert_eq!(room.streamer(0).pulled, [(peer, MAX_SEND_QUEUE_BYTES - waits)]);
    while read_once(&mut room, &mut raw) > 0 {}
    assert_eq!(room.streamer(0).pulled.len(), 1, "one request led to several calls");
}

#[test]
fn offered_room_accepts_every_byte_and_not_one_more() {
    let mut room = small_room();
    let (_raw, peer) = room.add_peer();
    room.streamer(0).on_pull.push_back(Task(Box::new(move |ctx| {
        let free_bytes = ctx.peer(peer).unwrap().free_bytes();
        assert_eq!(ctx.send_shared(peer, &frame_of(free_bytes + 1)), Err(RequestError::QueueFull));
        assert_eq!(ctx.send_shared(peer, &frame_of(free_bytes)), Ok(()));
        assert_eq!(ctx.peer(peer).unwrap().free_bytes(), 0);
    })));
    room.act(0, move |ctx| {
        ctx.send_shared(peer, &frame_of(100_000)).unwrap();
        ctx.pull(peer).unwrap();
    });
    assert_eq!(room.streamer(0).pulled, [(peer, MAX_SEND_QUEUE_BYTES - 100_000)]);
}

#[test]
fn an_empty_queue_offers_unlimited_room_for_one_frame() {
    let mut room = small_room();
    let (_raw, peer) = room.add_peer();
    room.streamer(0).on_pull.push_back(Task(Box::new(move |ctx| {
        ctx.send_shared(peer, &frame("block", &pattern(2 * MAX_SEND_QUEUE_BYTES)).into()).unwrap();
        assert_eq!(ctx.peer(peer).unwrap().free_bytes(), 0);
    })));
    room.act(0, move |ctx| ctx.pull(peer).unwrap());
    assert_eq!(room.streamer(0).pulled, [(peer, usize::MAX)]);
}

#[test]
fn no_room_is_offered_for_a_peer_that_is_closed_before_the_pull_step() {
    let end: [fn(&mut Ctx<'_>, PeerId); 2] =
        [|ctx, peer| ctx.close(peer, Disconnect::Done), |ctx, peer| ctx.abort(peer, Disconnect::Done)];
    for end in end {
        let mut room = small_room();
        let (_raw, peer) = room.add_peer();
        room.act(0, move |ctx| {
            ctx.pull(peer).unwrap();
            end(ctx, peer);
            assert_eq!(ctx.pull(peer), Err(RequestError::NotReady));
        });
        room.run_for(std::time::Duration::from_secs(10));
        assert_eq!(room.streamer(0).pulled, []);
        assert_eq!(room.act(0, move |ctx| ctx.pull(peer)), Err(RequestError::NoSuchPeer));
    }
}

#[test]
fn room_cannot_be_requested_for_a_peer_without_a_handshake() {
    for max_inbound in [1, 0] {
        let mut room = Room::with(config().with_max_inbound(max_inbound), Conditions::default());
        let mut raw = RawPeer::dialling(&room.world, room.address);
        room.settle();
        let asked = room.act(0, |ctx| {
            let peer = ctx.peers().next().map(|view| view.id());
            peer.map(|peer| ctx.pull(peer))
        });
        assert_eq!(asked, Some(Err(RequestError::NotReady)), "{max_inbound}");
        raw.send(&[version(), verack()].concat());
        room.settle();
        assert_eq!(room.streamer(0).pulled, []);
    }
}

#[test]
fn peers_are_served_in_rotation_when_a_turn_has_fewer_calls_than_requests() {
    let _shrunk = shrink(&[(Budget::Pulls, 2)]);
    let mut room = Room::new(Conditions::default());
    let mut raws = [room.add_peer(), room.add_peer(), room.add_peer()];
    let peers = [0, 1, 2].map(|at: usize| raws[at].1);
    // Each call sends to all peers and asks for its own peer's room again.
    for at in 0..6 {
        room.streamer(0).on_pull.push_back(Task(Box::new(move |ctx| {
            peers.iter().for_each(|peer| ctx.send(*peer, &opaque("answer", b"")).unwrap());
            ctx.pull(peers[at % 3]).unwrap();
        })));
    }
    room.act(0, move |ctx| peers.iter().for_each(|peer| ctx.pull(*peer).unwrap()));
    let called: Vec<PeerId> = room.streamer(0).pulled.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(called, [peers, peers, peers].concat());
    for (raw, _) in &mut raws {
        assert_eq!(commands(&room.drain(raw)).len(), 6);
    }
}

#[test]
fn room_after_a_body_is_offered_while_the_body_is_open_and_the_peer_is_paused() {
    let mut room = small_room();
    let (mut raw, peer) = room.add_peer();
    let payload = pattern(50_000);
    let header = Header::of(CommandName::BLOCK, &payload);
    room.act(0, move |ctx| {
        ctx.pause(peer);
        ctx.send_shared(peer, &frame_of(2 * PULL_WAITING_BYTES)).unwrap();
        ctx.pull(peer).unwrap();
    });
    assert_eq!(room.streamer(0).pulled, []);
    // Bytes that wait before a body do not reduce the room after the body.
    room.streamer(0).on_pull.push_back(Task(Box::new(move |ctx| ctx.send(peer, &opaque("behind", b"")).unwrap())));
    room.act(0, move |ctx| ctx.begin_body(peer, &header).unwrap());
    assert_eq!(room.streamer(0).pulled, [(peer, usize::MAX)]);
    let part = payload;
    room.act(0, move |ctx| feed_whole(ctx, peer, &part).unwrap());
    let received = room.drain(&mut raw);
    assert_eq!(commands(&received), ["tx", "block", "behind"]);
}
