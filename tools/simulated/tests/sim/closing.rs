//! Closing: queued frames are sent first, later input is dropped, and no peer can delay the close for long.

use peerloop::api::{Delivery, Event};
use peerloop::error::{CloseReason, Disconnect, LocalCause};
use peerloop::internals::limits::{
    CLOSE_GRACE, MAX_OVER_CAPACITY, REJECT_READ_TIME, SEND_STALL_TIMEOUT, SHUTDOWN_GRACE,
};
use peerloop::internals::net::Net;
use peerloop::peer::ConnectionState;
use peerloop::protocol::CommandName;
use peerloop::sim::{Conditions, Driver, RunOutcome, World};
use peerloop::time::Instant;
use peerloop::wire::MessageRef;
use peerloop::{Ctx, PeerId};
use peerloop_testkit::bytes::{commands, frame, frames, ping, verack, version};
use peerloop_testkit::simulated::{Closed, Node, Player, RawPeer, Stage, config, raw_link, secs};
use std::time::Duration;

const INSTANT_BEFORE: Duration = Duration::from_nanos(1);
/// Length in bytes of the frame that the handler of [`farewell`] sends, including the header.
const FAREWELL_LEN: usize = 24 + 10_000;

fn over_capacity() -> CloseReason {
    CloseReason::Local(LocalCause::OverCapacity)
}

/// Builds a stage whose node has room for one accepted peer. The honest peer uses this room.
fn full_stage() -> Stage {
    Stage::with(config().with_max_inbound(1), Player::default())
}

/// Builds a handler that answers any message with a large one and closes the connection.
fn farewell() -> Player {
    Player {
        on_message: Some(|ctx, peer| {
            let command = CommandName::from_bytes(*b"farewell\0\0\0\0");
            ctx.send(peer, &MessageRef::Opaque { command, payload: &[7; FAREWELL_LEN - 24] }).unwrap();
            ctx.close(peer, Disconnect::Done);
            assert!(ctx.send(peer, &MessageRef::Ping { nonce: 1 }).is_err(), "a message was accepted after the close");
        }),
        ..Player::default()
    }
}

#[test]
fn req_e24_a_peer_over_capacity_gets_a_handshake_and_a_reject_and_is_never_ready() {
    let mut stage = full_stage();
    let mut peer = stage.peer();
    peer.send(&version());
    stage.settle();
    assert_eq!(commands(&peer.receive()), ["version", "verack"]);
    assert!(!peer.has_seen_end);
    peer.send(&verack());
    stage.settle();
    let answer = frames(&peer.receive());
    assert_eq!(answer.len(), 1);
    assert_eq!((answer[0].0.as_str(), &answer[0].1[..9]), ("reject", &b"\x07version\x44"[..]));
    assert!(!peer.has_seen_end, "the stream ended at once, so a peer may discard the unread reject");
    stage.run_for(REJECT_READ_TIME - INSTANT_BEFORE);
    peer.receive();
    assert!(!peer.has_seen_end);
    stage.run_for(INSTANT_BEFORE);
    peer.receive();
    assert!(peer.has_seen_end, "writing was not shut down after the peer's time to read");
    assert_eq!(stage.node.seen().closed, [], "the connection was closed although the peer had not closed it");
    peer.close();
    stage.settle();
    let Closed { reason, state, at, .. } = stage.closed();
    let end = Instant::ZERO.plus(REJECT_READ_TIME);
    assert_eq!((reason, state, at), (over_capacity(), ConnectionState::AwaitingHandshake, end));
    assert_eq!(stage.node.seen().ready.len(), 1);
    assert_eq!(stage.node.reactor.stats().counters.handshakes, 1);
}

#[test]
fn a_peer_over_capacity_that_does_not_disconnect_is_closed_after_the_grace_period() {
    let mut stage = full_stage();
    let mut peer = stage.peer();
    peer.send(&version());
    peer.send(&verack());
    stage.run_for(REJECT_READ_TIME + CLOSE_GRACE - INSTANT_BEFORE);
    assert_eq!(commands(&peer.receive()), ["version", "verack", "reject"]);
    for _ in 0..10 {
        peer.send(&ping());
    }
    stage.settle();
    assert_eq!(stage.node.seen().closed, []);
    stage.run_for(INSTANT_BEFORE);
    assert_eq!(stage.closed().reason, over_capacity());
    assert_eq!(peer.receive(), []);
}

#[test]
fn req_e24_connections_above_the_maximum_number_of_rejected_peers_are_closed_without_a_reject() {
    let mut stage = full_stage();
    let mut rejected: Vec<RawPeer> = (0..MAX_OVER_CAPACITY).map(|_| stage.peer()).collect();
    let mut refused = stage.peer();
    assert_eq!((refused.receive(), refused.has_seen_end), (vec![], true));
    let counters = stage.node.reactor.stats().counters;
    assert_eq!((counters.accepted, counters.refused), (1 + MAX_OVER_CAPACITY as u64, 1));
    rejected.pop().expect("there are many peers").close();
    stage.settle();
    let mut next = stage.peer();
    next.send(&version());
    stage.settle();
    assert_eq!(commands(&next.receive()), ["version", "verack"]);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn the_slot_of_a_closed_peer_is_free_again() {
    let mut stage = Stage::with(config().with_max_inbound(2), Player::default());
    for round in 1..=3 {
        let mut peer = stage.ready_peer();
        assert_eq!(stage.node.seen().ready.len(), 1 + round);
        peer.close();
        stage.settle();
        assert_eq!(stage.node.seen().closed.len(), round);
    }
    assert!(stage.node.seen().closed.iter().all(|closed| closed.reason == CloseReason::ClosedByPeer));
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn req_e21_queued_frames_are_sent_before_the_close() {
    for capacity_bytes in [256, 1_000, 1 << 20] {
        let mut stage = Stage::with(config(), farewell());
        stage.world.set_conditions(Conditions { capacity_bytes, ..Conditions::default() });
        let mut peer = stage.peer();
        peer.send(&version());
        peer.send(&verack());
        peer.send(&frame("question", b""));
        let mut received = Vec::new();
        while !peer.has_seen_end {
            stage.run_for(Duration::from_millis(1));
            let more = peer.receive();
            assert!(peer.has_seen_end || !more.is_empty(), "neither bytes nor the end of the stream arrived");
            received.extend(more);
        }
        let last = frames(&received).pop().unwrap();
        assert_eq!(last, ("farewell".to_owned(), vec![7; FAREWELL_LEN - 24]));
        peer.close();
        stage.settle();
        assert_eq!(stage.closed().reason, CloseReason::Requested(Disconnect::Done));
        assert_eq!(stage.closed().state, ConnectionState::Connected);
    }
}

#[test]
fn a_peer_that_does_not_read_the_last_frames_is_closed_after_the_grace_period() {
    let mut stage = Stage::with(config(), farewell());
    stage.world.set_conditions(Conditions { capacity_bytes: 256, ..Conditions::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", b""));
    stage.run_for(CLOSE_GRACE - INSTANT_BEFORE);
    assert_eq!(stage.node.seen().closed, []);
    stage.run_for(INSTANT_BEFORE);
    assert_eq!(stage.closed().reason, CloseReason::Requested(Disconnect::Done));
}

#[test]
fn a_peer_that_reads_the_last_frames_slowly_is_closed_after_a_minute() {
    let mut stage = Stage::with(config(), farewell());
    stage.world.set_conditions(Conditions { capacity_bytes: 256, ..Conditions::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", b""));
    stage.settle();
    for second in 0..SEND_STALL_TIMEOUT.as_secs() {
        assert_eq!(stage.node.seen().closed, [], "closed after {second} s");
        peer.net.read(raw_link(), &mut [0; 10]).unwrap();
        stage.run_for(secs(1));
    }
    assert_eq!(stage.closed().reason, CloseReason::Requested(Disconnect::Done));
}

#[test]
fn a_pause_after_a_close_does_not_delay_the_close() {
    let player = Player {
        on_message: Some(|ctx, peer| {
            ctx.close(peer, Disconnect::Done);
            ctx.pause(peer);
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", b""));
    stage.settle();
    assert_eq!((peer.receive(), peer.has_seen_end), (vec![], true));
    peer.close();
    stage.settle();
    assert_eq!(stage.closed().at, Instant::ZERO, "the pause delayed the close");
}

#[test]
fn a_peer_closed_at_its_version_is_never_ready() {
    let close: fn(&mut Ctx<'_>, PeerId, Event<'_>) = |ctx, peer, event| {
        if let Event::VersionReceived = event
            && ctx.ready_count() == 1
        {
            ctx.close(peer, Disconnect::Done);
        }
    };
    let abort: fn(&mut Ctx<'_>, PeerId, Event<'_>) = |ctx, peer, event| {
        if let Event::VersionReceived = event
            && ctx.ready_count() == 1
        {
            ctx.abort(peer, Disconnect::Done);
        }
    };
    for script in [close, abort] {
        let mut stage = Stage::with(config(), Player { on_event: Some(script), ..Player::default() });
        let mut peer = stage.peer();
        // The verack is sent early, so that the version completes the handshake.
        peer.send(&verack());
        peer.send(&version());
        stage.run_for(CLOSE_GRACE);
        assert_eq!(stage.node.seen().ready.len(), 1, "the closed peer became ready");
        assert_eq!(stage.closed().state, ConnectionState::AwaitingHandshake);
    }
}

#[test]
fn a_message_is_not_delivered_if_the_handler_aborts_the_peer_at_the_messages_header() {
    let buffer: fn(&mut Ctx<'_>, PeerId) -> Delivery = |ctx, peer| {
        ctx.abort(peer, Disconnect::Done);
        Delivery::Buffer
    };
    let stream: fn(&mut Ctx<'_>, PeerId) -> Delivery = |ctx, peer| {
        ctx.abort(peer, Disconnect::Done);
        Delivery::Chunks
    };
    for script in [buffer, stream] {
        let mut stage = Stage::with(config(), Player { on_header: Some(script), ..Player::default() });
        let mut peer = stage.ready_peer();
        peer.send(&frame("question", &[0]));
        stage.settle();
        assert_eq!(stage.closed().reason, CloseReason::Requested(Disconnect::Done));
        assert_eq!((stage.node.seen().messages, stage.node.seen().chunks), (vec![], 0));
    }
}

#[test]
fn nothing_is_delivered_after_the_close() {
    let mut stage = Stage::with(config(), farewell());
    let mut peer = stage.ready_peer();
    for _ in 0..3 {
        peer.send(&frame("question", b""));
    }
    stage.settle();
    peer.send(&frame("question", b""));
    peer.send(b"garbage");
    stage.settle();
    assert_eq!(stage.node.seen().messages.len(), 1);
    assert_eq!(commands(&peer.receive()), ["farewell"]);
    peer.close();
    stage.settle();
    assert_eq!(stage.closed().reason, CloseReason::Requested(Disconnect::Done));
}

#[test]
fn req_e21_a_stopped_loop_closes_all_peers_and_ends() {
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config(), Player::default());
    let mut peer = Node::new(&world, config().with_seed(Some(2)), Player::dialling(node.address));
    let mut silent = RawPeer::dialling(&world, node.address);
    let driver = Driver::new(&world);
    driver.run_until(Instant::ZERO, &mut [&mut node.reactor, &mut peer.reactor]).unwrap();
    assert_eq!(node.reactor.stats().links, 2);
    node.reactor.handle().stop().unwrap();
    driver.run_until(Instant::ZERO, &mut [&mut node.reactor, &mut peer.reactor]).unwrap();
    assert_eq!((silent.receive(), silent.has_seen_end), (vec![], true));
    silent.close();
    let end = Instant::ZERO.plus(secs(60));
    assert_eq!(driver.run_until(end, &mut [&mut node.reactor]).unwrap(), RunOutcome::AllEnded);
    assert_eq!(world.now(), Instant::ZERO, "a peer delayed the stop");
    let seen = node.seen();
    assert_eq!(seen.closed.len(), 2);
    assert!(seen.closed.iter().all(|closed| closed.reason == CloseReason::Local(LocalCause::Shutdown)));
    let stats = node.reactor.stats();
    assert_eq!((stats.links, stats.ready, node.reactor.net().open_connections()), (0, 0, 0));
    assert_eq!(peer.closed().reason, CloseReason::ClosedByPeer);
    let mut late = RawPeer::dialling(&world, node.address);
    assert!(late.net.connected(raw_link()).is_err(), "a dial to the stopped loop did not fail");
}

#[test]
fn a_stopped_loop_without_peers_ends_at_once() {
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config(), Player::default());
    let end = Instant::ZERO.plus(secs(60));
    node.reactor.handle().stop().unwrap();
    assert_eq!(Driver::new(&world).run_until(end, &mut [&mut node.reactor]).unwrap(), RunOutcome::AllEnded);
    assert_eq!(world.now(), Instant::ZERO);
}

#[test]
fn a_peer_that_never_closes_delays_a_stopping_loop_by_the_close_grace_period() {
    let mut stage = Stage::new();
    let _peer = stage.ready_peer();
    stage.node.reactor.handle().stop().unwrap();
    let driver = Driver::new(&stage.world);
    let end = Instant::ZERO.plus(secs(60));
    assert_eq!(driver.run_until(end, &mut [&mut stage.node.reactor]).unwrap(), RunOutcome::AllEnded);
    assert_eq!(stage.world.now(), Instant::ZERO.plus(CLOSE_GRACE));
    assert_eq!(stage.node.reactor.stats().links, 0);
}

#[test]
fn fault_e22_a_peer_that_reads_its_last_bytes_slowly_delays_a_stopping_loop_by_the_shutdown_grace_period() {
    let mut stage = Stage::with(config(), farewell());
    stage.world.set_conditions(Conditions { capacity_bytes: 256, ..Conditions::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", b""));
    stage.settle();
    stage.node.reactor.handle().stop().unwrap();
    let driver = Driver::new(&stage.world);
    for second in 1..SHUTDOWN_GRACE.as_secs() {
        let now = Instant::ZERO.plus(secs(second));
        assert_eq!(driver.run_until(now, &mut [&mut stage.node.reactor]).unwrap(), RunOutcome::TimeOver);
        peer.net.read(raw_link(), &mut [0; 10]).unwrap();
    }
    let end = Instant::ZERO.plus(secs(60));
    assert_eq!(driver.run_until(end, &mut [&mut stage.node.reactor]).unwrap(), RunOutcome::AllEnded);
    assert_eq!(stage.world.now(), Instant::ZERO.plus(SHUTDOWN_GRACE));
}

#[test]
fn fault_e22_a_stopped_loop_closes_its_pending_dials() {
    let world = World::new(1, Instant::ZERO);
    world.set_backlog(0);
    let mut raw = RawPeer::new(&world);
    let mut node = Node::new(&world, config(), Player::dialling(raw.listen()));
    let driver = Driver::new(&world);
    driver.run_until(Instant::ZERO, &mut [&mut node.reactor]).unwrap();
    assert_eq!(node.reactor.net().open_connections(), 1);
    node.reactor.handle().stop().unwrap();
    let end = Instant::ZERO.plus(secs(60));
    assert_eq!(driver.run_until(end, &mut [&mut node.reactor]).unwrap(), RunOutcome::AllEnded);
    assert_eq!((world.now(), node.reactor.net().open_connections()), (Instant::ZERO, 0));
    assert_eq!(node.closed().reason, CloseReason::Local(LocalCause::Shutdown));
}
