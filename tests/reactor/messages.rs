//! Messages that a handler sends: small and large, to one peer and to many. The receiver buffers, streams or skips
//! them.

use crate::probe::{BareSocket, Node, Seen, pattern, until};
use bytes::Bytes;
use peerloop::error::RequestError;
use peerloop::internals::framer::ChecksumVerdict;
use peerloop::internals::limits::HEADER_LEN_BYTES;
use peerloop::protocol::CommandName;
use peerloop::wire::MessageRef;
use peerloop_testkit::greeting::frame;

const INV: CommandName = CommandName::new("inv");
const ADDR: CommandName = CommandName::new("addr");

fn opaque(command: CommandName, payload: &[u8]) -> MessageRef<'_> {
    MessageRef::Opaque { command, payload }
}

#[test]
fn unwanted_messages_are_skipped_and_all_others_arrive_whole_and_in_order() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    let payloads: Vec<Vec<u8>> = [0, 1, 36, 4_096, 4_097, 70_000].map(pattern).to_vec();
    let sent = payloads.clone();
    one.act(move |ctx| {
        for payload in &sent {
            ctx.send(there, &opaque(ADDR, payload)).expect("the queue has room");
            ctx.send(there, &opaque(INV, payload)).expect("the queue has room");
        }
    });
    until([&mut one, &mut two], "all have arrived", |[_, two]| two.seen_of(here).len() == 2 + payloads.len());
    let expected: Vec<Seen> = payloads.into_iter().map(|payload| Seen::Message(INV, payload.into())).collect();
    assert_eq!(two.seen_of(here)[2..], expected);
    assert_eq!(two.reactor.stats().counters.discarded, 6);
}

#[test]
fn a_message_of_a_mebibyte_is_buffered() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    let payload = pattern(1 << 20);
    let sent = payload.clone();
    one.act(move |ctx| ctx.send(there, &opaque(INV, &sent)).expect("an empty queue accepts it"));
    until([&mut one, &mut two], "the message has arrived", |[_, two]| two.seen_of(here).len() == 3);
    assert_eq!(two.seen_of(here)[2], Seen::Message(INV, payload.into()));
    assert_eq!(two.reactor.stats().gathered_bytes, 0, "the delivered message still counts as buffered");
}

#[test]
fn a_block_of_sixteen_mebibytes_is_streamed_and_its_checksum_is_verified() {
    let ([mut one, mut two], [there, here]) = Node::pair();
    let payload = pattern(16 << 20);
    let correct = frame(&opaque(CommandName::BLOCK, &payload));
    let mut wrong = correct.clone();
    *wrong.last_mut().expect("a frame has bytes") ^= 1;
    for (index, (block, verdict)) in
        [(correct, ChecksumVerdict::Correct), (wrong, ChecksumVerdict::Wrong)].into_iter().enumerate()
    {
        let block = Bytes::from(block);
        let sent = block.clone();
        one.act(move |ctx| ctx.send_shared(there, &sent).expect("an empty queue accepts it"));
        until([&mut one, &mut two], "the message has arrived", |[_, two]| two.seen_of(here).len() == 3 + index);
        assert_eq!(two.seen_of(here)[2 + index], Seen::Streamed { len_bytes: 16 << 20, verdict });
        assert!(two.reactor.handler().streamed == block[HEADER_LEN_BYTES..], "the streamed bytes differ");
    }
    assert_eq!(two.end_of(here), None, "a streamed message with a wrong checksum closed the connection");
}

#[test]
fn one_frame_reaches_many_peers() {
    const PEERS: usize = 50;
    let (mut one, mut two) = (Node::new(), Node::new());
    for _ in 0..PEERS {
        one.dial(two.address);
    }
    until([&mut one, &mut two], "all are ready", |nodes| nodes.iter().all(|node| node.ready().len() == PEERS));
    let payload = pattern(36_003);
    let shared = Bytes::from(frame(&opaque(INV, &payload)));
    one.act(move |ctx| {
        let peers: Vec<_> = ctx.peers().map(|view| view.id()).collect();
        for peer in peers {
            ctx.send_shared(peer, &shared).expect("the queue has room");
        }
    });
    let is_message = |seen: &Seen| matches!(seen, Seen::Message(..));
    until([&mut one, &mut two], "all have received the message", |[_, two]| two.count(is_message) == PEERS);
    for peer in two.ready() {
        assert_eq!(two.seen_of(peer)[2..], [Seen::Message(INV, payload.clone().into())]);
    }
}

#[test]
fn fault_e19_a_peer_that_does_not_read_fills_its_queue_and_later_receives_every_message() {
    let mut node = Node::new();
    let (mut socket, peer) = BareSocket::ready(&mut node);
    let payload = Bytes::from(frame(&opaque(INV, &pattern(256 << 10))));
    let mut sent = 0;
    loop {
        let shared = payload.clone();
        match node.act(move |ctx| ctx.send_shared(peer, &shared)) {
            Ok(()) => sent += 1,
            Err(error) => break assert_eq!(error, RequestError::QueueFull),
        }
        assert!(sent < 1_000, "the queue is never full");
    }
    let reader = std::thread::spawn(move || {
        for _ in 0..sent {
            assert_eq!(socket.read_frame(), (INV, pattern(256 << 10)));
        }
        socket
    });
    until([&mut node], "all frames are read", |_| reader.is_finished());
    reader.join().expect("every frame arrives whole");
    assert_eq!(node.act(move |ctx| ctx.peer(peer).map(|view| view.waiting_bytes())), Some(0));
}
