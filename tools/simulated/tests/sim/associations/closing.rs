//! The end of a peer with several streams: each stream's end is the peer's, and nothing queued is lost in a graceful
//! close.

use super::{DATA1, GENERAL, Scene, names, ping};
use bytes::Bytes;
use peerloop::api::Delivery;
use peerloop::config::Multistreams;
use peerloop::error::{CloseReason, Deadline, WireError};
use peerloop::protocol::CommandName;
use peerloop::wire::Header;
use peerloop::{Disconnect, Event};
use peerloop_testkit::bytes::frame;
use peerloop_testkit::simulated::{Player, secs};
use std::cell::RefCell;
use std::time::Duration;

/// Returns the reason for which the scene's only peer was closed.
fn reason_of(scene: &Scene) -> CloseReason {
    let peer = scene.seen().ready[0];
    let closed: Vec<CloseReason> =
        scene.seen().closed.iter().filter(|closed| closed.peer == peer).map(|closed| closed.reason).collect();
    assert_eq!(closed.len(), 1, "the peer was not closed exactly once");
    closed[0]
}

fn assert_nothing_remains(scene: &Scene) {
    let stats = scene.node.reactor.stats();
    assert_eq!((stats.links, stats.streams, stats.waiting_bytes), (0, 0, 0));
}

#[test]
fn the_end_of_either_stream_is_the_peers_end() {
    for (closed, other) in [(GENERAL, DATA1), (DATA1, GENERAL)] {
        let mut scene = Scene::new(Multistreams::Accept);
        scene.with_two_streams();
        scene.stranger.close(closed);
        scene.run(secs(3));
        assert!(scene.receive(other).1, "the other stream stayed open");
        assert_eq!(reason_of(&scene), CloseReason::ClosedByPeer);
        assert_nothing_remains(&scene);
    }
}

#[test]
fn invalid_bytes_on_a_stream_close_the_peer_for_that_reason() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    scene.stranger.send(DATA1, b"GET / HTTP/1.1\r\n\r\n      ");
    scene.run(secs(3));
    assert!(matches!(reason_of(&scene), CloseReason::Wire(WireError::BadMagic { .. })));
    assert!(scene.receive(GENERAL).1 && scene.receive(DATA1).1);
    assert_nothing_remains(&scene);
}

#[test]
fn a_ping_without_a_pong_and_a_stalled_header_on_a_stream_close_the_peer_in_time() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = scene.seen().ready[0];
    scene.act(|ctx| ctx.ping(peer, ctx.now()).unwrap());
    scene.run(secs(29));
    assert_eq!(scene.seen().closed.len(), 1, "the peer was closed early");
    scene.run(secs(2));
    assert_eq!(reason_of(&scene), CloseReason::TimedOut(Deadline::Pong));
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    scene.stranger.send(DATA1, &ping(1)[..10]);
    scene.run(secs(21));
    assert_eq!(reason_of(&scene), CloseReason::TimedOut(Deadline::Header));
    assert_nothing_remains(&scene);
}

#[test]
fn a_keepalive_uses_one_ping_for_all_streams() {
    let mut scene = Scene::with(super::config().with_ping_interval(secs(60)), Player::default());
    scene.with_two_streams();
    scene.run(secs(61));
    let (said, _) = scene.receive(DATA1);
    assert_eq!((names(&said), names(&scene.receive(GENERAL).0)), (vec!["ping"], vec![]));
    scene.stranger.send(DATA1, &frame("pong", &said[0].1));
    scene.run(secs(58));
    assert_eq!(names(&scene.receive(DATA1).0), Vec::<&str>::new());
    scene.run(secs(2));
    assert_eq!(names(&scene.receive(DATA1).0), ["ping"]);
}

#[test]
fn a_graceful_close_ends_no_stream_before_all_queues_are_sent() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = scene.seen().ready[0];
    let (txs, block) = (Bytes::from(frame("tx", &[1; 300_000])), Bytes::from(frame("block", &[2; 900_000])));
    scene.act(|ctx| {
        ctx.send_shared(peer, &txs).unwrap();
        ctx.send_shared(peer, &block).unwrap();
        ctx.close(peer, Disconnect::Done);
    });
    let (mut on_general, mut on_data1) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        scene.run(Duration::from_millis(10));
        let (bytes, general_ended) = scene.stranger.receive(GENERAL);
        on_general.extend(bytes);
        scene.settle();
        let (bytes, _) = scene.stranger.receive(DATA1);
        on_data1.extend(bytes);
        assert!(!general_ended || on_data1.len() == block.len(), "the first stream ended before DATA1 was sent");
    }
    assert!(on_general == txs[..] && on_data1 == block[..], "queued bytes were lost");
    assert!(scene.receive(GENERAL).1 && scene.receive(DATA1).1);
    [GENERAL, DATA1].into_iter().for_each(|link| scene.stranger.close(link));
    scene.run(secs(3));
    assert_nothing_remains(&scene);
}

#[test]
fn a_graceful_close_whose_peer_does_not_read_one_stream_still_ends() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = scene.seen().ready[0];
    let block = Bytes::from(frame("block", &[2; 5_000_000]));
    scene.act(|ctx| {
        ctx.send_shared(peer, &block).unwrap();
        ctx.close(peer, Disconnect::Done);
    });
    scene.run(secs(70));
    assert_nothing_remains(&scene);
}

#[test]
fn a_message_in_chunks_is_reported_as_cut_before_the_close_whichever_stream_it_uses() {
    thread_local! {
        static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }
    for (closed, with_both) in [(GENERAL, false), (DATA1, false), (GENERAL, true)] {
        let mut player = Player { on_header: Some(|_, _| Delivery::Chunks), ..Player::default() };
        player.on_event = Some(|_, _, event| {
            LOG.with_borrow_mut(|log| match event {
                Event::BodyCut { stream_type, received, .. } => log.push(format!("cut {stream_type} {received}")),
                Event::Closed { reason: CloseReason::ClosedByPeer, .. } => log.push("closed".to_owned()),
                _ => {}
            });
        });
        let mut scene = Scene::with(super::quiet(), player);
        scene.with_two_streams();
        let partial = |len: usize| frame("block", &[3; 1_000])[..24 + len].to_vec();
        scene.stranger.send(DATA1, &partial(40));
        if with_both {
            scene.stranger.send(GENERAL, &partial(30));
        }
        scene.settle();
        scene.stranger.close(closed);
        scene.run(secs(3));
        let expected: &[&str] =
            if with_both { &["cut GENERAL 30", "cut DATA1 40", "closed"] } else { &["cut DATA1 40", "closed"] };
        assert_eq!(LOG.take(), expected);
    }
}

#[test]
fn bodies_on_two_streams_arrive_side_by_side() {
    let player = Player { on_header: Some(|_, _| Delivery::Chunks), ..Player::default() };
    let mut scene = Scene::with(super::quiet(), player);
    scene.with_two_streams();
    let body = frame("block", &[3; 1_000]);
    for part in body.chunks(100) {
        [GENERAL, DATA1].into_iter().for_each(|link| scene.stranger.send(link, part));
        scene.settle();
    }
    // The first of the eleven parts of each message has its header too.
    assert_eq!(scene.seen().chunks, 22);
}

#[test]
fn a_peer_has_one_body_at_a_time_and_its_room_is_that_of_its_fullest_queue() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = scene.seen().ready[0];
    let header = Header::of(CommandName::BLOCK, &[7; 200]);
    scene.act(|ctx| {
        ctx.begin_body(peer, &header).unwrap();
        let tx = Header::of(CommandName::TX, &[7; 10]);
        assert_eq!(ctx.begin_body(peer, &tx), Err(peerloop::error::RequestError::BodyOpen));
        assert_eq!(ctx.peer(peer).unwrap().body_left_bytes(), Some(200));
        ctx.feed_body(peer, &mut Bytes::from_static(&[7; 200])).unwrap();
    });
    scene.settle();
    scene.stranger.receive(DATA1);
    let large = Bytes::from(frame("block", &[1; 1_500_000]));
    scene.act(|ctx| {
        ctx.send_shared(peer, &large).unwrap();
        let view = ctx.peer(peer).unwrap();
        assert_eq!((view.waiting_bytes(), view.free_bytes()), (large.len(), 2 * 1024 * 1024 - large.len()));
    });
}

#[test]
fn an_offer_of_room_waits_for_all_streams() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = scene.seen().ready[0];
    let large = Bytes::from(frame("block", &[1; 1_900_000]));
    scene.act(|ctx| {
        ctx.send_shared(peer, &large).unwrap();
        ctx.pull(peer).unwrap();
    });
    scene.settle();
    assert_eq!(scene.seen().pulled, 0, "room was offered while DATA1 was full");
    while scene.seen().pulled == 0 {
        assert!(!scene.stranger.receive(DATA1).0.is_empty(), "the offer is missing although DATA1 was read");
        scene.settle();
    }
}

#[test]
fn a_peer_that_reads_no_pongs_on_data1_is_not_read_on_its_first_stream() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let pings: Vec<u8> = (0..500).flat_map(ping).collect();
    for _ in 0..400 {
        let bytes = &pings[..];
        let _ = peerloop::internals::net::Net::write(
            &mut scene.stranger.net,
            peerloop::internals::id::LinkId::from_u64(GENERAL),
            bytes,
        );
        scene.settle();
    }
    let waiting = scene.node.reactor.stats().waiting_bytes;
    assert!((500_000..600_000).contains(&waiting), "{waiting} bytes of pongs wait");
    scene.run(secs(70));
    assert_eq!(reason_of(&scene), CloseReason::TimedOut(Deadline::Send));
}
