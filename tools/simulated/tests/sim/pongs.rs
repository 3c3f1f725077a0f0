//! Pongs without a matching ping are counted and ignored, and do not keep a connection alive.

use peerloop::error::{CloseReason, Deadline};
use peerloop::protocol::CommandName;
use peerloop::sim::Conditions;
use peerloop::time::Instant;
use peerloop::wire::MessageRef;
use peerloop_testkit::bytes::{frame, frames, verack, version};
use peerloop_testkit::simulated::{Player, Stage, config, secs};

#[test]
fn an_unsolicited_pong_is_counted_and_ignored() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let before = stage.node.seen();
    for payload in [&[][..], &[0; 8], &[1; 7], &[1; 8], &[1; 9]] {
        peer.send(&frame("pong", payload));
    }
    stage.settle();
    assert_eq!(stage.node.reactor.stats().counters.pongs_unmatched, 5);
    assert_eq!(stage.node.seen(), before);
    assert_eq!(peer.receive(), []);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn wrong_pongs_do_not_keep_a_peer_alive() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    for nonce in 1..=149_u64 {
        stage.run_for(secs(1));
        peer.send(&frame("pong", &nonce.to_le_bytes()));
        peer.send(&frame("pong", &[]));
    }
    stage.settle();
    assert_eq!(stage.node.seen().closed, []);
    stage.run_for(secs(1));
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Pong));
    assert_eq!(stage.closed().at, Instant::ZERO.plus(secs(150)));
    assert_eq!(stage.node.reactor.stats().counters.pongs_unmatched, 2 * 149);
}

#[test]
fn a_repeated_pong_is_unmatched() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(secs(120));
    let pings = frames(&peer.receive());
    let pong = frame("pong", &pings[0].1);
    for unmatched in 0..3 {
        peer.send(&pong);
        stage.settle();
        assert_eq!(stage.node.seen().pongs.len(), 2, "the number of reported pongs is not two, one for each peer");
        assert_eq!(stage.node.reactor.stats().counters.pongs_unmatched, unmatched);
    }
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_pong_to_a_ping_that_is_not_sent_yet_is_unmatched() {
    let player = Player {
        on_message: Some(|ctx, peer| {
            // This message fills the pipe, so the ping after it must wait.
            ctx.send(
                peer,
                &MessageRef::Opaque { command: CommandName::from_bytes(*b"filler\0\0\0\0\0\0"), payload: &[0; 900] },
            )
            .unwrap();
            ctx.ping(peer, ctx.now()).unwrap();
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    stage.world.set_conditions(Conditions { capacity_bytes: 600, ..Conditions::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", &[]));
    stage.settle();
    // The counter includes queued pings.
    assert_eq!(stage.node.reactor.stats().counters.pings_sent, 1);
    // All random values are drawn from the seed, so a second run draws the same nonce.
    let nonce = nonce_of_a_like_run();
    peer.send(&frame("pong", &nonce));
    stage.settle();
    assert_eq!(stage.node.reactor.stats().counters.pongs_unmatched, 1);
    assert_eq!(stage.node.seen().pongs, []);
    let mut received = peer.receive();
    stage.settle();
    received.extend(peer.receive());
    assert_eq!(
        frames(&received)[1],
        ("ping".to_owned(), nonce.clone()),
        "the second message is not a ping with the other run's nonce"
    );
    peer.send(&frame("pong", &nonce));
    stage.settle();
    assert_eq!(stage.node.seen().pongs.len(), 1);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_peer_too_old_for_pongs_is_never_pinged() {
    const PROTOCOL_WITHOUT_PONGS: i32 = 60_000;
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    let mut payload = version().split_off(24);
    payload[..4].copy_from_slice(&PROTOCOL_WITHOUT_PONGS.to_le_bytes());
    peer.send(&frame("version", &payload));
    peer.send(&verack());
    stage.settle();
    assert_eq!(stage.node.seen().ready.len(), 2);
    peer.receive();
    stage.run_for(secs(200));
    assert_eq!((peer.receive(), stage.node.seen().closed), (vec![], vec![]));
    stage.assert_honest_peer_is_unaffected();
}

/// Returns the nonce of the first ping to the second peer of a loop with the same seed.
fn nonce_of_a_like_run() -> Vec<u8> {
    let player = Player {
        on_message: Some(|ctx, peer| {
            ctx.ping(peer, ctx.now()).unwrap();
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", &[]));
    stage.settle();
    frames(&peer.receive())[0].1.clone()
}
