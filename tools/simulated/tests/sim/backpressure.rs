//! A peer that does not read our replies gets no more of them, so its queue stays bounded.

use peerloop::error::{CloseReason, Deadline};
use peerloop::internals::limits::{
    MAX_SEND_QUEUE_BYTES, MIN_SEND_STALL_BYTES, SEND_STALL_TIMEOUT, UNREAD_REPLIES_PAUSE_BYTES, WRITE_BLOCK_BYTES,
};
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::Conditions;
use peerloop::time::Instant;
use peerloop::wire::MessageRef;
use peerloop_testkit::bytes::{frame, frames, ping, pong, version};
use peerloop_testkit::simulated::{Player, RawPeer, Stage, TICK, config, raw_link, secs};
use std::io::ErrorKind;
use std::time::Duration;

const INSTANT_BEFORE: Duration = Duration::from_nanos(1);

/// Sends pings until the kernel accepts no more. Returns the number of bytes sent.
pub(crate) fn ping_until_blocked(stage: &mut Stage, peer: &mut RawPeer) -> usize {
    let pings = ping().repeat(1_000);
    let mut sent = 0;
    loop {
        let from = sent % ping().len();
        match peer.net.write(raw_link(), &pings[from..]) {
            Ok(written) => sent += written,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return sent;
            }
        }
        assert!(sent < 4 * 1024 * 1024, "the node did not stop reading");
        stage.settle();
    }
}

/// Returns the number of waiting bytes in the longest queue of the node's peers.
fn longest_queue(stage: &mut Stage) -> usize {
    stage.node.reactor.handle().request(()).unwrap();
    stage.settle();
    stage.node.seen().waiting.into_iter().max().unwrap()
}

#[test]
fn a_peer_that_pings_and_never_reads_is_no_longer_read_and_is_closed_after_a_minute() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    ping_until_blocked(&mut stage, &mut peer);
    let waiting = longest_queue(&mut stage);
    assert!(waiting > UNREAD_REPLIES_PAUSE_BYTES && waiting <= MAX_SEND_QUEUE_BYTES, "{waiting} bytes wait");
    let blocked_at = stage.world.now();
    stage.run_for(secs(60) - INSTANT_BEFORE);
    assert_eq!(stage.node.seen().closed, []);
    assert_eq!(longest_queue(&mut stage), waiting);
    stage.run_for(INSTANT_BEFORE);
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Send));
    assert_eq!(stage.closed().at, blocked_at.plus(secs(60)));
}

/// Without a peer manager there are no ban scores, so these messages do not close the peer.
#[test]
fn rejects_stop_while_the_peer_does_not_read_them_and_resume_once_it_has() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let versions = version().repeat(1_000);
    for _ in 0..15 {
        peer.send(&versions);
        stage.settle();
    }
    let waiting = longest_queue(&mut stage);
    let reject = frame("reject", b"\x07version\x12\x19Duplicate version message");
    let most = UNREAD_REPLIES_PAUSE_BYTES + reject.len();
    assert!((UNREAD_REPLIES_PAUSE_BYTES..=most).contains(&waiting), "{waiting} bytes wait");
    let received = stage.receive_all(&mut peer);
    assert!(frames(&received).iter().all(|frame| *frame == frames(&reject)[0]));
    peer.send(&versions);
    stage.settle();
    assert!(!peer.receive().is_empty(), "a peer that had read its rejects received no more of them");
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_peer_that_reads_its_replies_in_time_is_read_again_and_loses_nothing() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let mut sent = ping_until_blocked(&mut stage, &mut peer);
    stage.run_for(secs(59));
    let mut received = stage.receive_all(&mut peer);
    assert_eq!(
        received.len(),
        sent - sent % ping().len(),
        "the node did not answer each whole ping while the peer read the replies"
    );
    let rest = sent.next_multiple_of(ping().len()) - sent;
    peer.send(&ping()[ping().len() - rest..]);
    sent += rest;
    stage.settle();
    received.extend(peer.receive());
    assert_eq!(received.len(), sent, "the peer did not receive one pong for each ping");
    assert!(frames(&received).iter().all(|frame| *frame == frames(&pong())[0]));
    stage.run_for(secs(60));
    assert_eq!(stage.node.seen().closed, []);
    assert_eq!(longest_queue(&mut stage), 0);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_reset_is_noticed_even_if_the_peer_is_not_read() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    ping_until_blocked(&mut stage, &mut peer);
    peer.close();
    let at = stage.world.now();
    stage.settle();
    let CloseReason::Network(failure) = stage.closed().reason else { panic!("{:?}", stage.closed()) };
    assert_eq!((failure.kind, stage.closed().at), (ErrorKind::ConnectionReset, at));
}

/// Reads exactly `len` bytes.
fn take(peer: &mut RawPeer, len: usize) {
    let mut taken = 0;
    while taken < len {
        taken += peer.net.read(raw_link(), &mut vec![0; len - taken]).unwrap();
    }
}

#[test]
fn reading_a_byte_now_and_then_is_no_progress() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    ping_until_blocked(&mut stage, &mut peer);
    let blocked_at = stage.world.now();
    for _ in 0..2 {
        stage.run_for(secs(29));
        take(&mut peer, 1);
        stage.settle();
    }
    stage.run_for(secs(2) - INSTANT_BEFORE);
    assert_eq!(stage.node.seen().closed, []);
    stage.run_for(INSTANT_BEFORE);
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Send));
    assert_eq!(stage.closed().at, blocked_at.plus(secs(60)));
}

#[test]
fn reading_sixty_kibibytes_a_minute_is_progress_and_one_byte_less_is_not() {
    for (len, is_kept) in [(MIN_SEND_STALL_BYTES, true), (MIN_SEND_STALL_BYTES - 1, false)] {
        let mut stage = Stage::new();
        let mut peer = stage.ready_peer();
        ping_until_blocked(&mut stage, &mut peer);
        // In the first period, the peer has to read only the bytes that were queued when the kernel stopped accepting
        // more. Reading one write block is enough for that, and the next period requires the full minimum.
        take(&mut peer, WRITE_BLOCK_BYTES);
        stage.settle();
        let (began, parts) = (stage.world.now(), 4);
        for part in 0..parts {
            stage.run_for(SEND_STALL_TIMEOUT / parts - INSTANT_BEFORE);
            assert_eq!(stage.node.seen().closed, []);
            take(&mut peer, len * (part as usize + 1) / 4 - len * part as usize / 4);
            stage.settle();
            stage.run_for(INSTANT_BEFORE);
        }
        if is_kept {
            stage.run_for(SEND_STALL_TIMEOUT - INSTANT_BEFORE * 2);
            assert_eq!(stage.node.seen().closed, [], "the peer was closed less than a minute after it had read");
            stage.run_for(TICK);
        }
        let minutes = if is_kept { 2 } else { 1 };
        assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Send));
        assert_eq!(stage.closed().at, began.plus(SEND_STALL_TIMEOUT * minutes));
    }
}

#[test]
fn reading_a_short_queue_completely_is_progress_despite_later_messages() {
    let player = Player {
        on_message: Some(|ctx, peer| {
            let command = CommandName::from_bytes(*b"answer\0\0\0\0\0\0");
            ctx.send(peer, &MessageRef::Opaque { command, payload: &[7; 1_000] }).unwrap();
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    stage.world.set_conditions(Conditions { capacity_bytes: 256, ..Conditions::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", b""));
    stage.run_for(secs(59));
    peer.send(&frame("question", b""));
    stage.settle();
    for _ in 0..3 {
        take(&mut peer, 256);
        stage.settle();
    }
    assert_eq!(longest_queue(&mut stage), 1_024, "the queue is not exactly the second reply");
    stage.run_for(secs(60) - INSTANT_BEFORE);
    assert_eq!(stage.node.seen().closed, []);
    stage.run_for(INSTANT_BEFORE);
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Send));
    assert_eq!(stage.closed().at, Instant::ZERO.plus(secs(119)));
}
