//! Several sluggish peers on one loop at the same time: each is closed at its deadline, and no other peer is affected.

use crate::backpressure::ping_until_blocked;
use peerloop::config::ManagerConfig;
use peerloop::error::{CloseReason, Deadline};
use peerloop::time::Instant;
use peerloop::{Config, Network};
use peerloop_testkit::bytes::{ping, version};
use peerloop_testkit::simulated::{Closed, Player, RawPeer, Stage, TICK, config, secs};
use std::time::Duration;

/// The pause between two bytes of a peer that sends them one by one.
const DRIP: Duration = Duration::from_secs(10);

/// A peer that must be closed for `reason` at `due`.
struct Victim {
    peer: RawPeer,
    reason: CloseReason,
    due: Instant,
    /// The bytes that the peer sends one by one.
    drips: Vec<u8>,
}

impl Victim {
    fn new(peer: RawPeer, deadline: Deadline, due: Instant, drips: Vec<u8>) -> Self {
        Self { peer, reason: CloseReason::TimedOut(deadline), due, drips }
    }
}

/// Connects four sluggish peers to a loop that has run for `offset`: a silent one, one that drips its `version`, one
/// that drips a ping, and one that does not read. Asserts that each peer is closed at its deadline or at most one tick
/// later.
fn each_is_closed_at_its_deadline(config: Config, offset: Duration) {
    let mut stage = Stage::with(config, Player::default());
    stage.run_for(offset);
    let now = stage.world.now();
    let mute = stage.peer();
    let early = stage.peer();
    let [late, never_reads] = [stage.ready_peer(), stage.ready_peer()];
    let mut victims = [
        Victim::new(mute, Deadline::Handshake, now.plus(secs(10)), vec![]),
        Victim::new(early, Deadline::Handshake, now.plus(secs(10)), version()),
        Victim::new(late, Deadline::Header, now.plus(secs(20)), ping()),
        Victim::new(never_reads, Deadline::Send, now.plus(secs(60)), vec![]),
    ];
    ping_until_blocked(&mut stage, &mut victims[3].peer);
    assert_eq!(stage.world.now(), now, "time passed while the pings were sent");

    for drop in 0..8 {
        for victim in victims.iter_mut().filter(|victim| !victim.drips.is_empty() && now.plus(DRIP * drop) < victim.due)
        {
            let byte = victim.drips.remove(0);
            victim.peer.send(&[byte]);
        }
        stage.run_for(DRIP);
    }

    let mut closed: Vec<Closed> = stage.node.seen().closed;
    assert_eq!(closed.len(), victims.len(), "{closed:?}");
    closed.sort_by_key(|closed| (closed.at, closed.peer.slot()));
    for (closed, victim) in closed.iter().zip(&mut victims) {
        assert_eq!(closed.reason, victim.reason);
        assert!(closed.at >= victim.due, "closed {:?} too early", victim.due.since(closed.at));
        assert!(closed.at <= victim.due.plus(TICK), "closed {:?} too late", closed.at.since(victim.due));
        victim.peer.receive();
        assert!(victim.peer.has_seen_end);
    }
    stage.assert_honest_peer_is_unaffected();
    assert_eq!(stage.node.reactor.stats().links, 1, "the honest peer's link is not the only one that remains");
}

#[test]
fn fault_p06_silent_dripping_and_non_reading_peers_are_closed_at_their_deadlines_and_the_honest_peer_is_not() {
    let managed = config().with_manager(ManagerConfig::new(Network::Regtest));
    for config in [config(), managed] {
        for offset_ns in [0, 1, 300_001, 999_999, 1_000_000, 123_456_789] {
            each_is_closed_at_its_deadline(config.clone(), Duration::from_nanos(offset_ns));
        }
    }
}
