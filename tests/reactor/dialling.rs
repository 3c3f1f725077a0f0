//! Dials: their source addresses, their failures, and the events that report the failures.

use crate::probe::{ANY_PORT, Node, Seen, regtest, until};
use peerloop::error::{CloseReason, Deadline, Disconnect, IoStep, RequestError, Shortage, Side};
use peerloop::peer::ConnectionState;
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Returns an address without a listener.
fn deserted() -> SocketAddr {
    TcpListener::bind(ANY_PORT).and_then(|listener| listener.local_addr()).expect("a loopback port is free")
}

#[test]
fn fault_e05_a_refused_connection_is_the_peers_fault() {
    let mut node = Node::new();
    let peer = node.dial(deserted());
    until([&mut node], "the dial has failed", |[node]| node.end_of(peer).is_some());
    let Some((reason @ CloseReason::Network(failure), state)) = node.end_of(peer) else {
        panic!("the connection closed with {:?}", node.end_of(peer))
    };
    assert_eq!((failure.step, failure.kind), (IoStep::Connect, ErrorKind::ConnectionRefused));
    assert_eq!((state, reason.side(), reason.is_transient()), (ConnectionState::Connecting, Side::Remote, true));
    assert_eq!(node.seen_of(peer).len(), 1, "an event other than the close was reported");
    assert_eq!(node.reactor.stats().links, 0);
}

#[test]
fn a_foreign_source_address_is_this_sides_fault() {
    let mut node = Node::new();
    let target = Node::new();
    // This address is reserved for documentation, so no machine has it.
    let foreign = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let address = target.address;
    let peer = node.act(move |ctx| ctx.connect_from(foreign, address)).expect("the table has room");
    until([&mut node], "the dial has failed", |[node]| node.end_of(peer).is_some());
    let Some((reason @ CloseReason::Network(failure), state)) = node.end_of(peer) else {
        panic!("the connection closed with {:?}", node.end_of(peer))
    };
    assert_eq!((failure.step, failure.kind), (IoStep::BindSource, ErrorKind::AddrNotAvailable));
    assert_eq!((failure.shortage(), reason.side()), (Some(Shortage::SourceAddress), Side::Local));
    assert_eq!(state, ConnectionState::Connecting);
}

#[test]
fn a_peer_sees_the_requested_source_address() {
    let (mut one, mut two) = (Node::new(), Node::new());
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
    let address = two.address;
    one.act(move |ctx| ctx.connect_from(source, address)).expect("the table has room");
    until([&mut one, &mut two], "the peers are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    let seen = two.act(|ctx| ctx.peers().map(|view| view.address().ip()).collect::<Vec<_>>());
    assert_eq!(seen, [source]);
}

#[test]
fn an_unanswered_dial_times_out() {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("the kernel provides a socket");
    full.bind(&ANY_PORT.into()).expect("a loopback port is free");
    full.listen(0).expect("the listener is bound");
    let address = full.local_addr().expect("the listener is bound").as_socket().expect("the address is an IP address");
    // The kernel accepts one connection more than the backlog, and ignores further ones.
    let _holds = TcpStream::connect(address).expect("the backlog has room");
    let mut node = Node::with(regtest().with_connect_timeout(Duration::from_millis(50)));
    let peer = node.dial(address);
    until([&mut node], "the dial has timed out", |[node]| node.end_of(peer).is_some());
    let timed_out = CloseReason::TimedOut(Deadline::Connect);
    assert_eq!(node.seen_of(peer), [Seen::Closed(timed_out, ConnectionState::Connecting)]);
    assert_eq!(node.reactor.stats().links, 0);
}

#[test]
fn a_dial_that_is_closed_before_its_outcome_reports_the_requested_close() {
    let mut node = Node::new();
    let address = node.address;
    let peer = node.act(move |ctx| {
        let peer = ctx.connect(address).expect("the table has room");
        ctx.close(peer, Disconnect::Done);
        peer
    });
    until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
    let requested = CloseReason::Requested(Disconnect::Done);
    assert_eq!(node.seen_of(peer), [Seen::Closed(requested, ConnectionState::Connecting)]);
}

#[test]
fn an_aborted_dial_reports_the_reason_that_the_handler_gave() {
    for disconnect in Disconnect::ALL {
        let mut node = Node::new();
        let address = node.address;
        let peer = node.act(move |ctx| {
            let peer = ctx.connect(address).expect("the table has room");
            ctx.abort(peer, disconnect);
            peer
        });
        until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
        assert_eq!(node.seen_of(peer), [Seen::Closed(disconnect.into(), ConnectionState::Connecting)]);
    }
}

#[test]
fn a_full_table_and_a_stopping_loop_refuse_a_dial() {
    let mut node = Node::with(regtest().with_max_links(1));
    let target = Node::new();
    node.dial(target.address);
    let address = target.address;
    assert_eq!(node.act(move |ctx| ctx.connect(address)), Err(RequestError::TableFull));
    assert_eq!(
        node.act(move |ctx| {
            ctx.stop();
            ctx.connect(address)
        }),
        Err(RequestError::Stopped)
    );
}
