//! Many peers at once, and one peer more than the maximum.

use crate::probe::{Node, Seen, regtest, until};
use peerloop::error::{CloseReason, Disconnect, LocalCause};
use peerloop::peer::ConnectionState;
use peerloop::wire::RejectCode;
use std::net::SocketAddr;

/// Raises this process's limit on open files as far as possible.
///
/// # Panics
///
/// If the limit stays below `needed`.
pub(crate) fn allow_descriptors(needed: u64) {
    let limit = rlimit::increase_nofile_limit(u64::MAX).expect("the soft limit may be raised to the hard limit");
    assert!(
        limit >= needed,
        "this test needs {needed} descriptors, but the limit is {limit}; raise the hard limit (ulimit -Hn)"
    );
}

#[test]
fn one_peer_too_many_is_rejected_and_a_free_slot_admits_the_next() {
    let mut node = Node::with(regtest().with_max_inbound(2));
    let mut visitors = Node::new();
    let address = node.address;
    for _ in 0..2 {
        visitors.dial(address);
    }
    until([&mut node, &mut visitors], "the first two are ready", |nodes| {
        nodes.iter().all(|node| node.ready().len() == 2)
    });
    let third = visitors.dial(address);
    until([&mut node, &mut visitors], "the third is closed", |[node, visitors]| {
        visitors.end_of(third).is_some() && node.reactor.stats().links == 2
    });
    let code = RejectCode::TOO_BUSY.0;
    assert_eq!(
        visitors.seen_of(third),
        [
            Seen::Opened,
            Seen::Ready,
            Seen::Rejected(code),
            Seen::Closed(CloseReason::RejectedByPeer(code), ConnectionState::Connected)
        ]
    );
    let turned_away = CloseReason::Local(LocalCause::OverCapacity);
    let (peer, last) = node.seen().last().expect("the node has seen peers").clone();
    assert_eq!(last, Seen::Closed(turned_away, ConnectionState::AwaitingHandshake));
    assert_eq!(node.seen_of(peer).len(), 2, "the rejected peer has events other than its opening and its close");

    // A slot that becomes free serves the next peer.
    let first = visitors.ready()[0];
    visitors.act(move |ctx| ctx.close(first, Disconnect::Done));
    until([&mut node, &mut visitors], "one is closed", |[node, _]| node.reactor.stats().links == 1);
    let fourth = visitors.dial(address);
    until([&mut node, &mut visitors], "the fourth is ready", |[node, _]| node.reactor.stats().ready == 2);
    assert_eq!(visitors.end_of(fourth), None);
}

#[test]
fn a_thousand_connections_wait_in_the_backlog_of_a_loop_that_runs_no_turn() {
    const PEERS: usize = 1_000;
    allow_descriptors(2 * PEERS as u64 + 500);
    let (mut node, mut visitors) = (Node::new(), Node::new());
    let address = node.address;
    dial(&mut visitors, address, PEERS);
    let is_opened = |seen: &Seen| *seen == Seen::Opened;
    until([&mut visitors], "all are established", |[visitors]| visitors.count(is_opened) == PEERS);
    assert_eq!(node.reactor.stats().counters.accepted, 0, "the listener's loop has run a turn");
    until([&mut node, &mut visitors], "all are ready", |nodes| {
        nodes.iter().all(|node| node.reactor.stats().ready == PEERS)
    });
    assert_eq!(visitors.reactor.stats().counters.closed, 0);
}

#[test]
fn two_thousand_peers_get_a_pong_for_every_ping() {
    const PEERS: usize = 2_000;
    const ROUNDS: usize = 3;
    allow_descriptors(2 * PEERS as u64 + 500);
    let (mut node, mut visitors) = (Node::new(), Node::new());
    let address = node.address;
    dial(&mut visitors, address, PEERS);
    until([&mut node, &mut visitors], "all are ready", |nodes| {
        nodes.iter().all(|node| node.reactor.stats().ready == PEERS)
    });
    for round in 1..=ROUNDS {
        for node in [&mut node, &mut visitors] {
            node.act(|ctx| {
                let now = ctx.now();
                let peers: Vec<_> = ctx.peers().map(|view| view.id()).collect();
                for peer in peers {
                    ctx.ping(peer, now).expect("the queue has room");
                }
            });
        }
        until([&mut node, &mut visitors], "all pings are answered", |nodes| {
            nodes.iter().all(|node| node.reactor.stats().counters.pongs_received == (round * PEERS) as u64)
        });
    }
    for node in [&mut node, &mut visitors] {
        let counters = node.reactor.stats().counters;
        assert_eq!((counters.closed, counters.pongs_unmatched), (0, 0));
        assert_eq!(counters.pings_answered, (ROUNDS * PEERS) as u64);
    }
    visitors.act(|ctx| ctx.stop());
    let is_end = |seen: &Seen| matches!(seen, Seen::Closed(CloseReason::ClosedByPeer, _));
    until([&mut node, &mut visitors], "all are closed", |[node, _]| node.count(is_end) == PEERS);
    assert_eq!(node.reactor.stats().links, 0);
}

fn dial(visitors: &mut Node, address: SocketAddr, times: usize) {
    visitors.act(move |ctx| {
        for _ in 0..times {
            ctx.connect(address).expect("the table has room");
        }
    });
}
