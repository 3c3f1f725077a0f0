//! Broadcasts of one frame to many peers. The selected ready peers receive the frame, the peers without room for it
//! are returned, and all queues share one copy of it.

use super::{Room, pattern};
use bytes::Bytes;
use peerloop::error::RequestError;
use peerloop::internals::limits::MAX_SEND_QUEUE_BYTES;
use peerloop::sim::Conditions;
use peerloop_testkit::bytes::{commands, frame};
use peerloop_testkit::simulated::RawPeer;

#[test]
fn a_frame_reaches_every_ready_peer_that_the_filter_selects() {
    let mut room = Room::new(Conditions::default());
    let mut raws = [room.add_peer(), room.add_peer(), room.add_peer()];
    let mut stranger = RawPeer::dialling(&room.world, room.address);
    room.settle();
    let _version = room.drain(&mut stranger);
    let left_out = raws[1].1;
    let sent = room.act(0, move |ctx| {
        let mut seen = 0;
        let sent = ctx.broadcast(&frame("inv", b"\0").into(), |peer| {
            seen += 1;
            peer.id() != left_out
        });
        assert_eq!(seen, 3, "the filter was not called once for each of the three ready peers");
        sent
    });
    assert_eq!((sent.accepted, sent.refused), (2, Vec::new()));
    let received = raws.each_mut().map(|(raw, _)| commands(&room.drain(raw)).len());
    assert_eq!((received, room.drain(&mut stranger).len()), ([1, 0, 1], 0));
}

#[test]
fn a_broadcast_returns_the_peers_without_room_and_reaches_all_other_peers() {
    let mut room = Room::new(Conditions { capacity_bytes: 4_096, ..Conditions::default() });
    let mut raws = [room.add_peer(), room.add_peer()];
    let full = raws[0].1;
    let sent = room.act(0, move |ctx| {
        ctx.send_shared(full, &frame("block", &pattern(MAX_SEND_QUEUE_BYTES)).into()).unwrap();
        ctx.broadcast(&frame("inv", b"\0").into(), |_| true)
    });
    assert_eq!((sent.accepted, sent.refused), (1, vec![(full, RequestError::QueueFull)]));
    assert_eq!(commands(&room.drain(&mut raws[1].0)), ["inv"]);
}

#[test]
fn all_peers_share_the_bytes_of_one_frame() {
    let mut room = Room::new(Conditions { capacity_bytes: 4_096, ..Conditions::default() });
    let mut raws = [room.add_peer(), room.add_peer()];
    let frame = Bytes::from(frame("tx", &pattern(100_000)));
    let kept = frame.clone();
    let sent = room.act(0, move |ctx| {
        let sent = ctx.broadcast(&frame, |_| true);
        drop(frame);
        sent
    });
    assert_eq!(sent.accepted, 2);
    assert!(!kept.is_unique(), "the queues held copies of the frame");
    for (raw, _) in &mut raws {
        assert!(room.drain(raw) == kept);
    }
    assert!(kept.is_unique());
}
