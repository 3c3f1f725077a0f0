//! Peers that are closed a fixed time after their handshake.

use crate::stage::{Stage, millis};
use peerloop::error::CloseReason;
use peerloop::load::ResponderConfig;
use std::time::Duration;

#[test]
fn each_peer_is_closed_exactly_the_time_after_its_handshake() {
    let mut stage = Stage::new(ResponderConfig::default().with_close_after(Some(Duration::from_micros(1_500_250))), 20);
    let ready = stage.asker.handler().ready.clone();
    stage.run_for(Duration::from_secs(3));
    let closed = &stage.asker.handler().closed;
    assert_eq!(closed.len(), 20);
    for (peer, at, reason) in closed {
        assert_eq!((at.since(ready[*peer]), *reason), (Duration::from_micros(1_500_250), CloseReason::ClosedByPeer));
    }
    let stats = stage.node.stats();
    let snapshot = stage.node.handler().snapshot(stats.ready, &stats.counters);
    assert_eq!((snapshot.counts.closed, snapshot.lost, snapshot.failed, snapshot.peak), (20, 0, 0, 20));
}

#[test]
fn a_peer_that_closes_first_is_lost() {
    let mut stage = Stage::new(ResponderConfig::default().with_close_after(Some(millis(500))), 3);
    stage.asker.act(|asker, ctx| ctx.close(asker.peers[1], peerloop::Disconnect::Done));
    stage.run_for(Duration::from_secs(3));
    let stats = stage.node.stats();
    let snapshot = stage.node.handler().snapshot(stats.ready, &stats.counters);
    assert_eq!((snapshot.counts.closed, snapshot.lost), (2, 1));
}

#[test]
fn replies_that_wait_for_a_peer_that_is_closed_on_purpose_are_unsent() {
    let config = ResponderConfig::default().with_close_after(Some(millis(100))).with_delay(millis(50), millis(50));
    let mut stage = Stage::new(config, 1);
    for _ in 0..10 {
        stage.ping(0);
        stage.run_for(millis(9));
    }
    stage.run_for(Duration::from_secs(10));
    // Those that were due within 100 ms are answered.
    let counts = stage.counts();
    assert_eq!((counts.requests, counts.answered, counts.unsent, counts.closed), (10, 6, 4, 1));
}
