//! Peers that close only one direction, or close right after their last message.

use crate::probe::{BareSocket, Node, Seen, pattern, ping, regtest, until};
use peerloop::error::{CloseReason, Deadline};
use peerloop::peer::ConnectionState;
use peerloop::protocol::CommandName;
use peerloop::wire::MessageRef;
use peerloop_testkit::greeting::frame;
use std::net::Shutdown;
use std::time::Duration;

const INV: CommandName = CommandName::new("inv");

#[test]
fn messages_that_arrive_with_the_close_are_delivered_before_it() {
    let mut node = Node::new();
    // The frames are shorter than one read, exactly one read, slightly longer than one read, and many reads long.
    for len_bytes in [0, 36, 65_536 - 24, 65_536, 300_000, 1_500_000] {
        let (mut socket, peer) = BareSocket::ready(&mut node);
        let payload = pattern(len_bytes);
        let bytes = [frame(&MessageRef::Opaque { command: INV, payload: &payload }), ping(9)].concat();
        let writer = std::thread::spawn(move || {
            socket.write(&bytes);
            socket.shut_down(Shutdown::Write);
            socket
        });
        if len_bytes < 100_000 {
            while !writer.is_finished() {
                std::thread::yield_now();
            }
        }
        until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
        let seen = node.seen_of(peer);
        assert_eq!(
            seen[2..],
            [Seen::Message(INV, payload.into()), Seen::Closed(CloseReason::ClosedByPeer, ConnectionState::Connected)]
        );
        let mut socket = writer.join().expect("everything is written");
        assert_eq!(socket.read_frame(), (CommandName::PONG, 9_u64.to_le_bytes().to_vec()));
        assert!(socket.is_at_end());
    }
}

#[test]
fn a_message_cut_by_the_close_is_not_delivered() {
    let mut node = Node::new();
    let whole = frame(&MessageRef::Opaque { command: INV, payload: &pattern(100_000) });
    for cut in [1, 23, 24, 25, 65_536, whole.len() - 1] {
        let (mut socket, peer) = BareSocket::ready(&mut node);
        socket.write(&whole[..cut]);
        socket.shut_down(Shutdown::Write);
        until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
        assert_eq!(node.seen_of(peer)[2..], [Seen::Closed(CloseReason::ClosedByPeer, ConnectionState::Connected)]);
    }
    assert_eq!(node.reactor.stats().gathered_bytes, 0, "buffered bytes were not freed");
}

#[test]
fn a_close_without_input_is_reported() {
    let mut node = Node::new();
    let (socket, peer) = BareSocket::ready(&mut node);
    until([&mut node], "the loop sleeps", |[node]| node.reactor.next_deadline() != peerloop::time::Wait::Zero);
    socket.shut_down(Shutdown::Write);
    until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
    assert_eq!(node.end_of(peer), Some((CloseReason::ClosedByPeer, ConnectionState::Connected)));
}

#[test]
fn a_paused_peer_that_closes_is_read_to_its_end_once_it_is_resumed() {
    let mut node = Node::new();
    let (mut socket, peer) = BareSocket::ready(&mut node);
    node.act(move |ctx| ctx.pause(peer));
    socket.write(&frame(&MessageRef::Opaque { command: INV, payload: b"last" }));
    drop(socket);
    for _ in 0..5 {
        node.reactor.poll_once(Duration::from_millis(1)).expect("the poller works");
    }
    assert_eq!(node.seen_of(peer).len(), 2, "a paused peer was read");
    node.act(move |ctx| ctx.resume(peer));
    until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
    assert_eq!(node.seen_of(peer)[2], Seen::Message(INV, b"last".as_slice().into()));
}

#[test]
fn a_peer_that_closes_its_reading_direction_misses_its_pong_deadline() {
    let mut node = Node::with(regtest().with_pong_timeout(Duration::from_millis(50)));
    let (mut socket, peer) = BareSocket::ready(&mut node);
    socket.shut_down(Shutdown::Read);
    socket.write(&ping(1));
    until([&mut node], "the peer's ping is answered", |[node]| node.reactor.stats().counters.pings_answered == 1);
    node.act(move |ctx| ctx.ping(peer, ctx.now())).expect("the peer is ready");
    until([&mut node], "the peer has timed out", |[node]| node.end_of(peer).is_some());
    assert_eq!(node.end_of(peer), Some((CloseReason::TimedOut(Deadline::Pong), ConnectionState::Connected)));
}
