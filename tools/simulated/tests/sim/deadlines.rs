//! Deadlines in virtual time, and limits on messages before the handshake is complete. Deadlines never expire early,
//! are exact to the tick, and are not extended by traffic without progress.

use peerloop::PeerId;
use peerloop::api::Event;
use peerloop::error::{CloseReason, Deadline, Misbehavior, WireError};
use peerloop::peer::ConnectionState;
use peerloop::protocol::CommandName;
use peerloop::sim::{Driver, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes::{commands, frame, frames, header, ping, pong, verack, version};
use peerloop_testkit::simulated::{Node, Player, RawPeer, Stage, TICK, config, secs};
use std::time::Duration;

const INSTANT_BEFORE: Duration = Duration::from_nanos(1);

/// Runs the stage for `time`. Asserts that no peer is closed before the last nanosecond of this time.
fn assert_no_peer_is_closed_before(stage: &mut Stage, time: Duration) {
    stage.run_for(time - INSTANT_BEFORE);
    assert_eq!(stage.node.seen().closed, [], "a peer was closed too early");
    stage.run_for(INSTANT_BEFORE);
}

#[test]
fn req_e04_a_silent_peer_is_closed_after_exactly_ten_seconds() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    assert_no_peer_is_closed_before(&mut stage, secs(10));
    let closed = stage.closed();
    assert_eq!(closed.reason, CloseReason::TimedOut(Deadline::Handshake));
    assert_eq!((closed.at, closed.state), (Instant::ZERO.plus(secs(10)), ConnectionState::AwaitingHandshake));
    assert_eq!((peer.receive(), peer.has_seen_end), (vec![], true));
}

#[test]
fn a_deadline_within_a_tick_expires_at_the_ticks_end() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_nanos(300_001));
    let _peer = stage.peer();
    assert_no_peer_is_closed_before(&mut stage, secs(10));
    stage.run_for(TICK);
    assert_eq!(stage.closed().at, Instant::ZERO.plus(secs(10)).plus(TICK));
}

#[test]
fn req_e05_a_silent_peer_that_was_dialled_gets_a_version_and_ten_seconds() {
    let world = World::new(1, Instant::ZERO);
    let mut peer = RawPeer::new(&world);
    let player = Player::dialling(peer.listen());
    let mut node = Node::new(&world, config(), player);
    let run_until = |node: &mut Node, secs_since| {
        Driver::new(&world).run_until(Instant::ZERO.plus(secs(secs_since)), &mut [&mut node.reactor]).unwrap();
    };
    run_until(&mut node, 0);
    peer.accept();
    assert_eq!(commands(&peer.receive()), ["version"]);
    run_until(&mut node, 20);
    assert_eq!(node.closed().reason, CloseReason::TimedOut(Deadline::Handshake));
    assert_eq!(node.closed().at, Instant::ZERO.plus(secs(10)));
}

#[test]
fn traffic_does_not_extend_the_handshakes_deadline() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    for second in 0..10 {
        peer.send(&if second % 2 == 0 { ping() } else { frame("nonsense", b"") });
        stage.run_for(secs(1) - INSTANT_BEFORE);
        assert_eq!(stage.node.seen().closed, [], "a peer was closed too early");
        stage.run_for(INSTANT_BEFORE);
    }
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Handshake));
    assert_eq!(stage.closed().at, Instant::ZERO.plus(secs(10)));
    assert_eq!(peer.receive(), [], "the loop sent bytes before it received a version");
    assert_eq!(stage.node.reactor.stats().counters.before_handshake, 10);
}

#[test]
fn a_version_without_a_verack_does_not_extend_the_handshakes_deadline() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    stage.run_for(secs(9));
    peer.send(&version());
    assert_no_peer_is_closed_before(&mut stage, secs(1));
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Handshake));
}

#[test]
fn the_seventeenth_message_before_the_handshake_is_complete_is_one_too_many() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    for _ in 0..16 {
        peer.send(&ping());
        stage.settle();
    }
    assert_eq!(stage.node.seen().closed, []);
    peer.send(&ping());
    stage.settle();
    assert_eq!(stage.closed().reason, CloseReason::Misbehaved(Misbehavior::TooManyHandshakeMessages));
}

#[test]
fn a_handshake_of_sixteen_messages_is_accepted() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    for _ in 0..14 {
        peer.send(&ping());
    }
    peer.send(&version());
    peer.send(&verack());
    stage.settle();
    assert_eq!(stage.node.seen().ready.len(), 2);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn before_the_handshake_is_complete_a_payload_may_have_at_most_two_kib() {
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    peer.send(&frame("nonsense", &[0; 2_048]));
    stage.settle();
    assert_eq!(stage.node.seen().closed, []);
    peer.send(&header("nonsense", 2_049, &[0; 4]));
    stage.settle();
    let command = CommandName::from_bytes(*b"nonsense\0\0\0\0");
    assert_eq!(stage.closed().reason, CloseReason::Wire(WireError::OverLimit { command, len_bytes: 2_049 }));
}

#[test]
fn a_quiet_peer_is_pinged_after_two_minutes_and_closed_thirty_seconds_later() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(secs(120) - INSTANT_BEFORE);
    assert_eq!(peer.receive(), []);
    stage.run_for(INSTANT_BEFORE);
    assert_eq!(commands(&peer.receive()), ["ping"]);
    assert_no_peer_is_closed_before(&mut stage, secs(30));
    let closed = stage.closed();
    assert_eq!((closed.reason, closed.state), (CloseReason::TimedOut(Deadline::Pong), ConnectionState::Connected));
    assert_eq!(closed.at, Instant::ZERO.plus(secs(150)));
}

#[test]
fn a_peer_that_answers_is_pinged_every_two_minutes() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    for round in 1..=5 {
        stage.run_for(secs(120));
        let pings = frames(&peer.receive());
        assert_eq!(pings.len(), 1, "round {round}");
        peer.send(&frame("pong", &pings[0].1));
        stage.settle();
        assert_eq!(stage.world.now(), Instant::ZERO.plus(secs(120 * round)));
    }
    assert_eq!(stage.node.seen().closed, []);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_ping_from_the_handler_has_a_pong_deadline_with_and_without_keepalives() {
    for ping_interval in [secs(120), Duration::ZERO] {
        let player = Player {
            on_message: Some(|ctx, peer| {
                ctx.ping(peer, ctx.now()).unwrap();
            }),
            ..Player::default()
        };
        let mut stage = Stage::with(config().with_ping_interval(ping_interval), player);
        let mut peer = stage.ready_peer();
        // Let the handshake's timer expire first.
        stage.run_for(secs(20));
        peer.send(&frame("question", b""));
        stage.settle();
        assert_eq!(commands(&peer.receive()), ["ping"]);
        assert_no_peer_is_closed_before(&mut stage, secs(30));
        assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Pong));
    }
}

#[test]
fn a_header_sent_byte_by_byte_has_twenty_seconds_from_its_first_byte() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(secs(5));
    for byte in &ping()[..20] {
        peer.send(&[*byte]);
        stage.run_for(secs(1) - INSTANT_BEFORE);
        assert_eq!(stage.node.seen().closed, [], "a peer was closed too early");
        stage.run_for(INSTANT_BEFORE);
    }
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Header));
    assert_eq!(stage.closed().at, Instant::ZERO.plus(secs(25)));
}

#[test]
fn a_body_that_stalls_has_sixty_seconds() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    peer.send(&header("addr", 100_000, &[0; 4]));
    peer.send(&[0; 10]);
    stage.settle();
    assert_no_peer_is_closed_before(&mut stage, secs(60));
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Body));
    assert_eq!(stage.node.reactor.stats().gathered_bytes, 0);
}

#[test]
fn a_trickling_body_has_the_same_deadline_as_a_missing_one() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    peer.send(&header("addr", 100_000, &[0; 4]));
    stage.settle();
    for _ in 0..12 {
        peer.send(&[0; 1_024]);
        assert_no_peer_is_closed_before(&mut stage, secs(5));
    }
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Body));
    assert_eq!(stage.closed().at, Instant::ZERO.plus(secs(60)));
}

#[test]
fn a_bodys_minimum_rate_is_configurable() {
    for (least, is_closed) in [(0, false), (100, false), (101, true)] {
        let mut stage = Stage::with(config().with_min_body_bytes_per_second(least), Player::default());
        let mut peer = stage.ready_peer();
        peer.send(&header("addr", 100_000, &[0; 4]));
        stage.settle();
        for _ in 0..12 {
            stage.run_for(secs(5) - INSTANT_BEFORE);
            peer.send(&[0; 500]);
            stage.run_for(INSTANT_BEFORE);
        }
        assert_eq!(stage.node.seen().closed.len(), usize::from(is_closed), "{least}");
    }
}

#[test]
fn a_body_above_the_minimum_rate_may_last_longer_than_its_window() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let message = frame("addr", &[7; 100 * 1_100]);
    peer.send(&message[..24]);
    for part in message[24..].chunks(1_100) {
        stage.run_for(secs(1));
        peer.send(part);
    }
    stage.settle();
    let seen = stage.node.seen();
    assert_eq!((seen.closed, seen.messages.len()), (vec![], 1));
    assert_eq!(seen.messages[0].2, 100 * 1_100);
    peer.send(&ping());
    stage.settle();
    assert_eq!(peer.receive(), pong());
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_pause_in_reading_extends_a_peers_deadlines() {
    let player = Player {
        on_message: Some(|ctx, peer| {
            let view = ctx.peer(peer).unwrap();
            if view.connection().ping_pong().pending_count() == 0 {
                ctx.ping(peer, ctx.now()).unwrap();
            } else {
                ctx.pause(peer);
            }
        }),
        on_request: Some(|ctx| {
            let peers: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).collect();
            peers.into_iter().for_each(|peer| ctx.resume(peer));
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config().with_ping_interval(Duration::ZERO), player);
    let mut peer = stage.ready_peer();
    // When reading stops, a ping is in flight, the timer for its pong is set, and part of a header has arrived.
    stage.run_for(secs(20));
    peer.send(&frame("question", b""));
    stage.run_for(secs(10));
    peer.send(&[frame("question", b""), ping()[..10].to_vec()].concat());
    stage.settle();
    let pings = frames(&peer.receive());
    peer.send(&[&ping()[10..], &frame("pong", &pings[0].1)].concat());
    stage.run_for(secs(100));
    assert_eq!((stage.node.seen().closed, stage.node.seen().pongs), (vec![], vec![]));
    stage.node.reactor.handle().request(()).unwrap();
    stage.settle();
    assert_eq!((peer.receive(), stage.node.seen().pongs.len()), (pong(), 1));
    peer.send(&ping()[..10]);
    stage.settle();
    assert_no_peer_is_closed_before(&mut stage, secs(20));
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Header));
}

#[test]
fn a_pause_in_reading_extends_the_handshakes_deadline() {
    let player = Player {
        on_event: Some(|ctx, peer, event| {
            if let Event::Opened { .. } = event
                && ctx.ready_count() == 1
            {
                ctx.pause(peer);
            }
        }),
        on_request: Some(|ctx| {
            let peers: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).collect();
            peers.into_iter().for_each(|peer| ctx.resume(peer));
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    let mut peer = stage.peer();
    peer.send(&version());
    stage.run_for(secs(100));
    assert_eq!(stage.node.seen().closed, []);
    stage.node.reactor.handle().request(()).unwrap();
    stage.settle();
    assert_no_peer_is_closed_before(&mut stage, secs(10));
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Handshake));
}
