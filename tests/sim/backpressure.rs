//! Who does not take our replies gets no more of them, and costs no more than its queue.

use crate::support::{RawPeer, Stage, frames, ping, pong, raw_link, secs};
use peerloop::error::{CloseReason, Deadline};
use peerloop::limits::{SEND_QUEUE_MAX_BYTES, SEND_QUEUE_PAUSE_BYTES};
use peerloop::net::Net;
use std::io::ErrorKind;
use std::time::Duration;

/// Sends pings until nobody takes one more; returns the bytes that went.
fn ping_until_blocked(stage: &mut Stage, peer: &mut RawPeer) -> usize {
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
        assert!(sent < 4 * 1024 * 1024, "reading never stops");
        stage.settle();
    }
}

/// The longest queue of the node's peers.
fn longest_queue(stage: &mut Stage) -> usize {
    stage.node.reactor.handle().command(()).unwrap();
    stage.settle();
    stage.node.seen().waiting.into_iter().max().unwrap()
}

#[test]
fn a_peer_that_pings_and_never_reads_is_not_read_and_is_closed_after_a_minute() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    ping_until_blocked(&mut stage, &mut peer);
    let waiting = longest_queue(&mut stage);
    assert!(waiting > SEND_QUEUE_PAUSE_BYTES && waiting <= SEND_QUEUE_MAX_BYTES, "{waiting} bytes wait");
    let blocked_at = stage.world.now();
    stage.run_for(secs(60) - Duration::from_nanos(1));
    assert_eq!(stage.node.seen().closed, []);
    assert_eq!(longest_queue(&mut stage), waiting);
    stage.run_for(Duration::from_nanos(1));
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Send));
    assert_eq!(stage.closed().at, blocked_at.plus(secs(60)));
}

#[test]
fn who_takes_its_replies_in_time_is_read_again_and_loses_nothing() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let mut sent = ping_until_blocked(&mut stage, &mut peer);
    stage.run_for(secs(59));
    let mut received = Vec::new();
    loop {
        let more = peer.receive();
        if more.is_empty() {
            break;
        }
        received.extend(more);
        stage.settle();
    }
    assert_eq!(received.len(), sent - sent % ping().len(), "what lay unread was read without another event");
    let rest = sent.next_multiple_of(ping().len()) - sent;
    peer.send(&ping()[ping().len() - rest..]);
    sent += rest;
    stage.settle();
    received.extend(peer.receive());
    assert_eq!(received.len(), sent, "a pong for every ping");
    assert!(frames(&received).iter().all(|frame| *frame == frames(&pong())[0]));
    stage.run_for(secs(60));
    assert_eq!(stage.node.seen().closed, []);
    assert_eq!(longest_queue(&mut stage), 0);
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_reset_is_noticed_though_the_peer_is_not_read() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    ping_until_blocked(&mut stage, &mut peer);
    peer.close();
    let at = stage.world.now();
    stage.settle();
    let CloseReason::Network(failure) = stage.closed().reason else { panic!("{:?}", stage.closed()) };
    assert_eq!((failure.kind, stage.closed().at), (ErrorKind::ConnectionReset, at));
}

#[test]
fn a_little_progress_is_progress() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    ping_until_blocked(&mut stage, &mut peer);
    for _ in 0..3 {
        stage.run_for(secs(59));
        let mut block = [0; 1_000];
        peer.net.read(raw_link(), &mut block).unwrap();
        stage.settle();
        assert_eq!(stage.node.seen().closed, []);
    }
    stage.run_for(secs(60));
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Send));
}
