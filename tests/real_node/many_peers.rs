//! The load generator with nearly as many peers at once as one node accepts.

use crate::node::Node;
use crate::observer::config;
use peerloop::Reactor;
use peerloop::load::{Generator, PeerCounts, Phase, Plan, Rate};
use std::time::{Duration, Instant};

const PEERS: usize = 800;
const HOLD: Duration = Duration::from_secs(10);
/// A deadline far beyond the duration of a successful run.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn eight_hundred_peers_are_held_and_none_is_lost() {
    let Some(node) = Node::start() else { return };
    let plan = Plan::new(vec![node.address()], PEERS, Rate::per_second(200))
        .with_rate(Rate::per_second(PEERS as u64), HOLD)
        .with_drain(Duration::from_secs(30));
    // Every answer must arrive, but on a busy machine an answer may be late.
    let config = config().with_pong_timeout(PATIENCE).with_handshake_timeout(PATIENCE);
    let mut reactor = Reactor::new(config, Generator::new(plan)).expect("the configuration is valid");
    let began = Instant::now();
    let mut held_by_the_node = None;
    while reactor.poll_once(Duration::from_millis(100)).expect("the poller works") {
        if reactor.handler().phase() == Phase::Run && held_by_the_node.is_none() {
            held_by_the_node = Some(node.cli(&["getconnectioncount"]));
        }
        assert!(began.elapsed() < PATIENCE, "the run did not end in time: {:?}", reactor.handler());
    }

    assert_eq!(held_by_the_node.as_deref(), Some("800"));
    let counters = reactor.stats().counters;
    let report = reactor.into_handler().into_report();
    let PeerCounts { asked, opened, ready, lost, failed, .. } = report.peers;
    assert_eq!([asked, opened, ready, lost, failed], [PEERS, PEERS, PEERS, 0, 0], "{:?}", report.failures);
    assert_eq!(report.failures, []);
    let planned = PEERS as u64 * HOLD.as_secs();
    assert_eq!((report.work.planned, report.work.unsent), (planned, 0));
    assert_eq!((report.work.sent, report.work.answered, report.work.timed_out), (planned, planned, 0));
    assert_eq!([report.operations[0].planned.count(), report.operations[0].sent.count()], [planned; 2]);
    assert_eq!([report.connect_dialled.count(), report.handshake.count()], [PEERS as u64; 2]);
    assert!(!report.is_partial());
    let agents: Vec<_> = report.agents.iter().map(|agent| (agent.user_agent.as_str(), agent.count)).collect();
    assert_eq!(agents, [("/Bitcoin SV:1.0.13/", PEERS)]);
    // The node pings each peer once, right after the handshake.
    assert_eq!(counters.pings_answered, PEERS as u64, "the number of answered pings is not one per peer");
    assert_eq!((counters.pongs_unmatched, counters.bad_checksums, counters.undecodable), (0, 0, 0));
}
