//! Listeners and connections that an embedder has opened, and loops that share a port.

use crate::probe::{ANY_PORT, BareSocket, Node, PATIENCE, Probe, Seen, ping, regtest, until};
use peerloop::api::Direction;
use peerloop::config::{Effect, ManagerConfig};
use peerloop::error::{AddConnectionError, Disconnect, Refusal, RequestError};
use peerloop::protocol::CommandName;
use peerloop::time::Wait;
use peerloop::{CloseReason, Reactor};
use peerloop_testkit::greeting::greeting;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Returns both ends of an established connection: the dialled end and the accepted end.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(ANY_PORT).expect("a loopback port is free");
    let dialled =
        TcpStream::connect(listener.local_addr().expect("the listener is bound")).expect("the address has a listener");
    let (accepted, _) = listener.accept().expect("a connection waits");
    (dialled, accepted)
}

#[test]
fn an_added_listener_accepts_before_and_after_a_new_configuration() {
    let listener = TcpListener::bind(ANY_PORT).expect("a loopback port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let mut node = Node::with(regtest().with_manager(ManagerConfig::new(peerloop::Network::Regtest)));
    assert_eq!(node.reactor.add_listener(listener).expect("the listener can be used"), address);
    assert_eq!(node.reactor.next_deadline(), Wait::Zero);
    node.address = address;
    BareSocket::ready(&mut node);
    let mut config = node.reactor.config().clone();
    config.manager.as_mut().expect("the configuration has a manager").listen = vec![ANY_PORT];
    let pending = node.reactor.handle().update_config(config).expect("the queue has room");
    node.turn();
    let changes = pending.wait().expect("the loop runs").expect("the configuration is valid");
    assert_eq!(changes.iter().map(|change| change.effect).collect::<Vec<_>>(), [Effect::Listeners]);
    assert_eq!(node.reactor.listening_on().count(), 3);
    BareSocket::ready(&mut node);
}

#[test]
fn both_ends_of_a_connection_become_peers_when_they_are_added() {
    let (dialled, accepted) = connection();
    let (mut one, mut two) = (Node::new(), Node::new());
    let there = one.reactor.add_connection(dialled, Direction::Outbound).expect("the connection is established");
    let here = two.reactor.add_connection(accepted, Direction::Inbound).expect("the connection is established");
    assert_eq!((one.seen(), two.seen()), (&[][..], &[][..]), "events were reported outside of a turn");
    assert_eq!([&one, &two].map(|node| node.reactor.next_deadline()), [Wait::Zero; 2]);
    until([&mut one, &mut two], "both are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    assert_eq!((one.ready(), two.ready()), (vec![there], vec![here]));
    let (first, second) = (one.reactor.stats(), two.reactor.stats());
    assert_eq!((first.counters.dialled, first.counters.accepted, first.connect.count), (1, 0, 0));
    assert_eq!((second.counters.dialled, second.counters.accepted), (0, 1));
}

#[test]
fn a_connection_is_added_from_another_thread() {
    let (dialled, accepted) = connection();
    let mut node = Node::new();
    node.turn();
    let handle = node.reactor.handle();
    let pending =
        thread::spawn(move || handle.add_connection(accepted, Direction::Inbound).expect("the queue has room"));
    let pending = pending.join().expect("the thread does not panic");
    let mut socket = BareSocket(dialled);
    socket.write(&greeting());
    until([&mut node], "the peer is ready", |[node]| node.ready().len() == 1);
    assert_eq!(pending.wait().expect("the loop runs"), Ok(node.ready()[0]));
    while socket.read_frame().0 != CommandName::SENDHEADERS {}
    socket.write(&ping(7));
    until([&mut node], "the ping is answered", |[node]| node.reactor.stats().counters.pings_answered == 1);
    assert_eq!(socket.read_frame(), (CommandName::PONG, 7_u64.to_le_bytes().to_vec()));
}

#[test]
fn an_added_connection_is_refused_if_the_table_is_full_or_the_host_is_banned() {
    let mut node = Node::with(regtest().with_max_links(1));
    let add = |direction, node: &mut Node| {
        let (dialled, accepted) = connection();
        let (given, kept) = if direction == Direction::Inbound { (accepted, dialled) } else { (dialled, accepted) };
        (node.reactor.add_connection(given, direction), BareSocket(kept))
    };
    let (first, _kept) = add(Direction::Inbound, &mut node);
    assert!(first.is_ok());
    let (inbound, mut other) = add(Direction::Inbound, &mut node);
    assert_eq!(inbound, Err(AddConnectionError::Refused(Refusal::TableFull { links: 1 })));
    assert!(other.is_at_end(), "the refused connection is still open");
    let (outbound, _other) = add(Direction::Outbound, &mut node);
    assert_eq!(outbound, Err(AddConnectionError::NotAllowed(RequestError::TableFull)));
    let reasons = [inbound, outbound].map(|refused| refused.expect_err("the socket is refused").to_string());
    assert_eq!(
        reasons[0],
        "the connection is refused: the loop has 1 connection; raise max_links, max_inbound or max_peers"
    );

    let mut node = Node::with(regtest().with_manager(ManagerConfig::new(peerloop::Network::Regtest)));
    let ban = node.reactor.handle().ban(ANY_PORT.ip(), None).expect("the queue has room");
    node.turn();
    assert_eq!(ban.wait().expect("the loop runs"), Ok(()));
    assert_eq!(add(Direction::Inbound, &mut node).0, Err(AddConnectionError::Refused(Refusal::Banned)));
    assert_eq!(add(Direction::Outbound, &mut node).0, Err(AddConnectionError::NotAllowed(RequestError::Banned)));
}

#[test]
fn a_socket_that_is_not_connected_is_refused_with_a_remedy() {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("the kernel provides a socket");
    let mut node = Node::new();
    let refused = node.reactor.add_connection(socket.into(), Direction::Outbound).expect_err("the socket has no peer");
    assert!(matches!(refused, AddConnectionError::Unusable(_)));
    let text = refused.to_string();
    assert!(text.starts_with("the connection cannot be used: "), "{text}");
    assert!(text.ends_with("; pass an established TCP connection"), "{text}");
    assert_eq!(node.reactor.stats().links, 0);
}

#[test]
fn a_connection_that_is_closed_before_the_next_turn_is_never_reported_as_opened() {
    for direction in [Direction::Inbound, Direction::Outbound] {
        let (dialled, accepted) = connection();
        let (given, kept) = if direction == Direction::Inbound { (accepted, dialled) } else { (dialled, accepted) };
        let mut node = Node::new();
        let peer = node.reactor.add_connection(given, direction).expect("the connection is established");
        node.reactor.act(|_probe, ctx| ctx.abort(peer, Disconnect::Done));
        until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
        assert!(matches!(node.seen_of(peer)[..], [Seen::Closed(CloseReason::Requested(Disconnect::Done), _)]));
        assert!(BareSocket(kept).is_at_end());
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn two_loops_share_a_port_and_both_accept() {
    let shared = || regtest().with_reuse_port(true);
    let mut one = Node::with(shared());
    let mut two = Node::listening_on(shared(), one.address);
    assert_eq!(one.address, two.address);
    assert!(
        Reactor::new(regtest(), Probe::default()).expect("the configuration is valid").listen(one.address).is_err()
    );
    // The kernel chooses the loop by a hash of the connection's addresses and ports. The probability that one of the
    // loops gets none of 1,000 connections is 2^-999.
    let began = Instant::now();
    let mut sockets = Vec::new();
    let accepted = |node: &Node| node.reactor.stats().counters.accepted;
    while accepted(&one) == 0 || accepted(&two) == 0 {
        assert!(began.elapsed() < PATIENCE && sockets.len() < 1_000, "one of the loops accepted nothing");
        sockets.push(BareSocket::connect(one.address));
        for node in [&mut one, &mut two] {
            node.reactor.poll_once(Duration::from_millis(1)).expect("the poller works");
        }
    }
}

#[test]
fn an_action_between_two_turns_makes_the_next_turn_due_at_once() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    until([&mut one, &mut two], "all is sent", |nodes| {
        nodes.iter().all(|node| node.reactor.next_deadline() != Wait::Zero)
    });
    let nonce = one.reactor.act(|_probe, ctx| ctx.ping(there, ctx.now()).expect("the peer is ready"));
    assert_eq!(one.reactor.next_deadline(), Wait::Zero);
    until([&mut one, &mut two], "the pong arrives", |[one, _]| {
        one.count(|seen| matches!(seen, Seen::Pong { nonce: answered, .. } if *answered == nonce)) == 1
    });
    two.reactor.act(|probe, ctx| {
        probe.seen.clear();
        ctx.close(here, Disconnect::Done);
    });
    assert_eq!(two.reactor.next_deadline(), Wait::Zero);
    until([&mut one, &mut two], "both are closed", |nodes| nodes.iter().all(|node| node.reactor.stats().links == 0));
    let dialled = one.reactor.act(|_probe, ctx| ctx.connect(ANY_PORT)).expect("the table has room");
    assert_eq!(one.reactor.next_deadline(), Wait::Zero);
    until([&mut one], "the dial has failed", |[one]| one.end_of(dialled).is_some());
    one.reactor.act(|_probe, ctx| ctx.wake_at(ctx.now()));
    assert!(matches!(one.reactor.next_deadline(), Wait::Until(_)));
    until([&mut one], "the loop sleeps", |[one]| one.reactor.next_deadline() == Wait::Forever);
    one.reactor.act(|_probe, ctx| ctx.stop());
    assert_eq!(one.reactor.next_deadline(), Wait::Zero, "the loop would sleep, although it must stop");
    assert!(!one.turn());
}
