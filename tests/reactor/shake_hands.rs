//! Two nodes on this machine: handshakes over IPv4 and IPv6, pings, closes, and a node with several listeners.

use crate::probe::{ANY_PORT, BareSocket, Node, Seen, regtest, until};
use peerloop::error::{CloseReason, Disconnect, LocalCause};
use peerloop::peer::{ConnectionState, ConnectionType};
use peerloop::wire::Version;
use std::net::Ipv6Addr;
use std::time::Duration;

#[test]
fn after_the_handshake_both_nodes_know_the_connections_direction_and_each_others_user_agent() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    assert_eq!(one.seen_of(there), [Seen::Opened, Seen::Ready]);
    assert_eq!(two.seen_of(here), [Seen::Opened, Seen::Ready]);
    let listening = two.address;
    let said = |version: Option<&Version>| version.and_then(|version| version.user_agent.clone());
    let (kind, address, agent) = one.act(move |ctx| {
        let view = ctx.peer(there).expect("the peer is connected");
        assert!(view.is_ready());
        (view.connection().connection_type(), view.address(), said(view.version()))
    });
    assert_eq!((kind, address), (ConnectionType::Outbound, listening));
    assert_eq!(agent.as_deref(), Some(regtest().user_agent.as_bytes()));
    let (kind, agent) = two.act(move |ctx| {
        let view = ctx.peer(here).expect("the peer is connected");
        (view.connection().connection_type(), said(view.version()))
    });
    assert_eq!(kind, ConnectionType::Inbound);
    assert_eq!(agent.as_deref(), Some(regtest().user_agent.as_bytes()));
}

#[test]
fn each_ping_is_answered_once_with_its_own_nonce() {
    const PINGS: usize = 20;
    let ([mut one, mut two], [there, here]) = Node::pair();
    let ask = |node: &mut Node, peer| -> Vec<u64> {
        let nonces = node.act(move |ctx| {
            let now = ctx.now();
            [(); PINGS].map(|()| ctx.ping(peer, now).expect("a peer may have this many pings in flight"))
        });
        nonces.to_vec()
    };
    let (from_one, from_two) = (ask(&mut one, there), ask(&mut two, here));
    let is_pong = |seen: &Seen| matches!(seen, Seen::Pong { .. });
    until([&mut one, &mut two], "all pings are answered", |nodes| {
        nodes.iter().all(|node| node.count(is_pong) == PINGS)
    });
    for (node, asked) in [(&one, from_one), (&two, from_two)] {
        let mut answered = Vec::new();
        for (_, seen) in node.seen() {
            if let Seen::Pong { nonce, planned, sent, received } = seen {
                assert!(planned <= sent && sent <= received, "{seen:?}");
                answered.push(*nonce);
            }
        }
        assert_eq!(answered, asked);
        assert_eq!(node.reactor.stats().counters.pongs_unmatched, 0);
    }
}

#[test]
fn a_quiet_peer_is_pinged_without_a_request() {
    let mut one = Node::with(regtest().with_ping_interval(Duration::from_millis(5)));
    let mut two = Node::new();
    one.dial(two.address);
    let is_pong = |seen: &Seen| matches!(seen, Seen::Pong { .. });
    until([&mut one, &mut two], "three pings are answered", |[one, _]| one.count(is_pong) >= 3);
    assert_eq!(two.reactor.stats().counters.pings_sent, 0, "the other node sent a ping before its interval passed");
}

#[test]
fn neither_node_reports_a_graceful_close_as_an_error() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    one.act(move |ctx| ctx.close(there, Disconnect::Done));
    until([&mut one, &mut two], "both nodes have closed the connection", |[one, two]| {
        one.end_of(there).is_some() && two.end_of(here).is_some()
    });
    let requested = CloseReason::Requested(Disconnect::Done);
    assert_eq!(one.end_of(there), Some((requested, ConnectionState::Connected)));
    assert_eq!(two.end_of(here), Some((CloseReason::ClosedByPeer, ConnectionState::Connected)));
    for node in [one, two] {
        let stats = node.reactor.stats();
        assert_eq!((stats.links, stats.ready, stats.counters.closed), (0, 0, 1));
    }
}

#[test]
fn a_stopped_node_closes_its_connections_and_its_listener() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    two.reactor.handle().stop().expect("the queue has room");
    while two.turn() {
        one.turn();
    }
    until([&mut one], "the other node has closed the connection", |[one]| one.end_of(there).is_some());
    assert_eq!(two.end_of(here).map(|(reason, _)| reason), Some(CloseReason::Local(LocalCause::Shutdown)));
    assert_eq!(one.end_of(there).map(|(reason, _)| reason), Some(CloseReason::ClosedByPeer));
    assert_eq!(two.reactor.listening_on().count(), 0);
    std::net::TcpStream::connect(two.address).expect_err("the listener is closed");
    assert!(!two.turn(), "the ended loop ran another turn");
}

#[test]
fn nodes_connect_over_ipv6() {
    let address = (Ipv6Addr::LOCALHOST, 0).into();
    let mut two = Node::listening_on(regtest(), address);
    assert!(two.address.is_ipv6() && two.address.port() != 0);
    let mut one = Node::new();
    one.dial(two.address);
    until([&mut one, &mut two], "the peers are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, two.address.port()))
        .expect_err("an IPv6 listener accepts no IPv4 connection");
}

#[test]
fn a_node_listens_on_several_addresses() {
    let mut node = Node::new();
    let second = node.reactor.listen(ANY_PORT).expect("a loopback port is free");
    assert_eq!(node.reactor.listening_on().collect::<Vec<_>>(), [node.address, second]);
    BareSocket::ready(&mut node);
    node.address = second;
    BareSocket::ready(&mut node);
}
