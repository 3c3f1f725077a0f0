//! Messages that are fed in parts over real sockets: between other messages, with an extended header, and cut off.

use crate::probe::{BareSocket, Node, PATIENCE, Seen, pattern, ping, until};
use bytes::Bytes;
use peerloop::PeerId;
use peerloop::error::{CloseReason, Disconnect, RequestError};
use peerloop::internals::framer::ChecksumVerdict;
use peerloop::internals::limits::MAX_BODY_WAITING_BYTES;
use peerloop::protocol::CommandName;
use peerloop::wire::{Header, MessageRef};
use peerloop_testkit::greeting::{MAGIC, frame};
use std::io::Read;
use std::net::Shutdown;

const INV: CommandName = CommandName::new("inv");
/// Maximum number of bytes that a test queues behind a message that is being fed.
const MAX_BEHIND_BYTES: usize = 1_000;

/// Feeds as many bytes of `payload` from the offset `fed` on as there is room for, and returns the new offset.
fn feed(node: &mut Node, peer: PeerId, payload: &Bytes, fed: usize) -> usize {
    let mut rest = payload.slice(fed..);
    let left = node.act(move |ctx| {
        ctx.feed_body(peer, &mut rest).expect("the body is being fed");
        let waiting = ctx.peer(peer).expect("the peer is connected").waiting_bytes();
        assert!(waiting <= MAX_BODY_WAITING_BYTES + MAX_BEHIND_BYTES, "{waiting} bytes wait, more than allowed");
        rest.len()
    });
    payload.len() - left
}

fn begin(node: &mut Node, peer: PeerId, payload: &Bytes) {
    let header = Header::of(CommandName::BLOCK, payload);
    node.act(move |ctx| ctx.begin_body(peer, &header)).expect("the peer is ready");
}

#[test]
fn a_bare_socket_reads_a_block_that_was_fed_in_parts_and_then_the_later_messages() {
    let mut node = Node::new();
    let (mut socket, peer) = BareSocket::ready(&mut node);
    let payload = Bytes::from(pattern(16 << 20));
    begin(&mut node, peer, &payload);
    let mut fed = feed(&mut node, peer, &payload, 0);
    assert!(fed < payload.len(), "the whole block was fed at once");
    let nonce = node.act(move |ctx| ctx.ping(peer, ctx.now())).expect("the peer is ready");
    let opaque = MessageRef::Opaque { command: INV, payload: &[1; 36] };
    let shared = Bytes::from(frame(&opaque));
    node.act(move |ctx| ctx.send_shared(peer, &shared)).expect("there is room");
    socket.write(&ping(7));
    let expected = payload.clone();
    let reader = std::thread::spawn(move || {
        assert!(socket.read_frame() == (CommandName::BLOCK, expected.to_vec()));
        let frames = [socket.read_frame(), socket.read_frame(), socket.read_frame()];
        assert_eq!(frames[0], (CommandName::PING, nonce.to_le_bytes().to_vec()));
        assert_eq!(
            frames[1],
            (CommandName::PONG, 7_u64.to_le_bytes().to_vec()),
            "the pong is wrong, or did not overtake the `inv` that was sent earlier"
        );
        assert_eq!(frames[2], (INV, vec![1; 36]));
        socket.write(&frame(&MessageRef::Pong { nonce }));
        socket
    });
    let began = std::time::Instant::now();
    while fed < payload.len() {
        assert!(began.elapsed() < PATIENCE, "the block was not read in time");
        fed = feed(&mut node, peer, &payload, fed);
    }
    let is_pong =
        |seen: &Seen| matches!(seen, Seen::Pong { nonce: of, planned, sent, .. } if *of == nonce && sent > planned);
    until([&mut node], "the pong arrives", |[node]| node.count(is_pong) == 1);
    reader.join().expect("the frames are correct");
}

#[test]
fn the_other_node_reads_an_extended_header_and_reports_the_cut() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    let header = Header { command: CommandName::BLOCK, payload_len: 1 << 32, checksum: None };
    let mut part = Bytes::from(pattern(300_000));
    let mut sent = part.clone();
    one.act(move |ctx| {
        ctx.begin_body(there, &header).expect("the peer is ready");
        ctx.feed_body(there, &mut sent).expect("the body is being fed");
        assert!(sent.is_empty(), "there was no room for the whole part");
    });
    until([&mut one, &mut two], "the part has arrived", |[_, two]| two.reactor.handler().streamed.len() == part.len());
    assert!(two.reactor.handler().streamed == part);
    one.act(move |ctx| ctx.abort(there, Disconnect::Done));
    until([&mut one, &mut two], "the close is noticed", |[_, two]| two.end_of(here).is_some());
    let seen = two.seen_of(here);
    let [.., cut, Seen::Closed(reason, _)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*cut, Seen::Cut { received: 300_000, reason: *reason });
    assert!(matches!(reason, CloseReason::ClosedByPeer | CloseReason::Network(_)));
    assert_eq!(one.act(move |ctx| ctx.feed_body(there, &mut part)), Err(RequestError::NoSuchPeer));
}

#[test]
fn a_graceful_close_sends_the_fed_part_of_a_message_but_nothing_queued_behind_it() {
    let mut node = Node::new();
    let (mut socket, peer) = BareSocket::ready(&mut node);
    let payload = Bytes::from(pattern(200_000));
    begin(&mut node, peer, &payload);
    let mut part = payload.slice(..150_000);
    node.act(move |ctx| {
        ctx.feed_body(peer, &mut part).expect("the body is being fed");
        assert!(part.is_empty(), "there was no room for the whole part");
        ctx.ping(peer, ctx.now()).expect("the peer is ready");
        ctx.close(peer, Disconnect::Done);
    });
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        socket.0.read_to_end(&mut received).expect("the connection is not reset");
        socket.shut_down(Shutdown::Both);
        received
    });
    until([&mut node], "the connection is closed", |[node]| node.end_of(peer).is_some());
    let expected = [&Header::of(CommandName::BLOCK, &payload).encode(MAGIC)[..], &payload[..150_000]].concat();
    assert!(reader.join().expect("the reader does not panic") == expected);
}

#[test]
fn a_paused_receiver_gets_the_whole_message_after_it_resumes() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    let payload = Bytes::from(pattern(24 << 20));
    two.act(move |ctx| ctx.pause(here));
    begin(&mut one, there, &payload);
    let mut fed = 0;
    for _ in 0..200 {
        fed = feed(&mut one, there, &payload, fed);
        two.turn();
    }
    assert!(fed < payload.len(), "the whole message was fed to a paused receiver");
    assert!(two.reactor.handler().streamed.is_empty());
    two.act(move |ctx| ctx.resume(here));
    let began = std::time::Instant::now();
    while fed < payload.len() {
        assert!(began.elapsed() < PATIENCE, "the message was not read in time");
        fed = feed(&mut one, there, &payload, fed);
        two.turn();
    }
    let whole = Seen::Streamed { len_bytes: 24 << 20, verdict: ChecksumVerdict::Correct };
    until([&mut one, &mut two], "the whole message has arrived", |[_, two]| two.seen_of(here).contains(&whole));
    assert!(two.reactor.handler().streamed == payload);
    assert_eq!((one.end_of(there), two.end_of(here)), (None, None));
}
