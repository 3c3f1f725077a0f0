//! Subscriptions to messages. Subscribers receive messages independently of the handler, and change nothing
//! for the handler.

use crate::probe::{BareSocket, Node, Seen, pattern, until};
use bytes::Bytes;
use peerloop::api::{CommandFilter, MessageEvent};
use peerloop::protocol::CommandName;
use peerloop::wire::{Message, MessageRef};
use peerloop::{Received, Subscription};
use peerloop_testkit::greeting::frame;

const INV: CommandName = CommandName::new("inv");
/// A command that the handler discards.
const ADDR: CommandName = CommandName::new("addr");

fn opaque(command: CommandName, payload: &[u8]) -> Vec<u8> {
    frame(&MessageRef::Opaque { command, payload })
}

/// Returns the same frame as [`opaque`], but with a wrong checksum.
fn damaged(command: CommandName, payload: &[u8]) -> Vec<u8> {
    let mut bytes = opaque(command, payload);
    bytes[20] ^= 1;
    bytes
}

fn subscribe(node: &Node, commands: CommandFilter) -> Subscription<MessageEvent> {
    node.reactor.handle().subscribe_messages(commands, 100).expect("the queue has room")
}

fn drain(subscription: &Subscription<MessageEvent>) -> Vec<(CommandName, Bytes)> {
    let received = std::iter::from_fn(|| subscription.try_recv().ok().flatten());
    received
        .map(|received| match received {
            Received::Item(message) => (message.header.command, message.payload),
            Received::Lagged { count } => panic!("{count} messages were lost"),
        })
        .collect()
}

/// Returns the whole messages that the handler received.
fn delivered(node: &Node) -> Vec<(CommandName, Bytes)> {
    let of =
        |seen: &Seen| if let Seen::Message(command, bytes) = seen { Some((*command, bytes.clone())) } else { None };
    node.seen().iter().filter_map(|(_, seen)| of(seen)).collect()
}

/// Sends `frames` and waits until the node has received all of them.
fn send(node: &mut Node, socket: &mut BareSocket, frames: &[Vec<u8>]) {
    let target = node.reactor.stats().counters.frames_received + frames.len() as u64;
    socket.write(&frames.concat());
    until([node], "all frames have arrived", |[node]| node.reactor.stats().counters.frames_received == target);
}

#[test]
fn req_e35_subscribers_and_the_handler_each_receive_the_commands_of_their_choice() {
    let mut node = Node::new();
    let (mut socket, peer) = BareSocket::ready(&mut node);
    let all = subscribe(&node, CommandFilter::All);
    let some = subscribe(&node, CommandFilter::Only(vec![ADDR]));
    node.turn();
    let payloads = [0, 1, 36, 4_096, 4_097, 70_000].map(|len_bytes| Bytes::from(pattern(len_bytes)));
    let frames: Vec<_> = payloads.iter().flat_map(|payload| [opaque(ADDR, payload), opaque(INV, payload)]).collect();
    send(&mut node, &mut socket, &frames);
    let both: Vec<_> = payloads.iter().flat_map(|payload| [(ADDR, payload.clone()), (INV, payload.clone())]).collect();
    let only = |command| both.iter().filter(|(of, _)| *of == command).cloned().collect::<Vec<_>>();
    assert_eq!(drain(&all), both);
    assert_eq!(drain(&some), only(ADDR));
    assert_eq!(delivered(&node), only(INV));
    assert_eq!(node.reactor.stats().counters.discarded, 0, "a wanted message was discarded");
    assert_eq!((node.reactor.stats().gathered_bytes, node.end_of(peer)), (0, None));
}

#[test]
fn req_e35_a_ping_that_the_engine_answers_is_not_published_and_a_getaddr_is() {
    let mut node = Node::new();
    let (mut socket, peer) = BareSocket::ready(&mut node);
    let all = subscribe(&node, CommandFilter::All);
    node.turn();
    send(&mut node, &mut socket, &[frame(&MessageRef::Ping { nonce: 7 }), frame(&MessageRef::GetAddr)]);
    let Ok(Some(Received::Item(message))) = all.try_recv() else { panic!("getaddr was not published") };
    assert_eq!((message.peer, message.to_message()), (peer, Ok(Message::GetAddr)));
    assert_eq!(all.try_recv(), Ok(None));
}

#[test]
fn only_whole_and_checked_messages_are_published() {
    let mut node = Node::new();
    let (mut socket, _) = BareSocket::ready(&mut node);
    let all = subscribe(&node, CommandFilter::All);
    node.turn();
    let block = pattern(1_000);
    send(&mut node, &mut socket, &[damaged(ADDR, b"a"), opaque(CommandName::BLOCK, &block), opaque(INV, b"b")]);
    assert_eq!(
        drain(&all),
        [(INV, Bytes::from_static(b"b"))],
        "the subscriber did not receive exactly the one whole message with a correct checksum"
    );
    assert_eq!(delivered(&node), [(INV, Bytes::from_static(b"b"))]);
    assert_eq!(node.reactor.handler().streamed, block);
    let half = opaque(ADDR, &pattern(100));
    socket.write(&half[..60]);
    drop(socket);
    until([&mut node], "the peer is closed", |[node]| node.reactor.stats().links == 0);
    assert_eq!(drain(&all), []);
}

#[test]
fn fault_e20_a_dropped_subscription_changes_nothing_for_the_handler() {
    let mut node = Node::new();
    let (mut socket, _) = BareSocket::ready(&mut node);
    let all = subscribe(&node, CommandFilter::All);
    node.turn();
    // These messages, one with a correct and one with a wrong checksum, are for the subscriber alone.
    for unwanted in [opaque(ADDR, &pattern(9_000)), damaged(ADDR, &pattern(9_000))] {
        socket.write(&unwanted[..5_000]);
        let received = node.reactor.stats().counters.bytes_received + 5_000;
        until([&mut node], "a part has arrived", |[node]| node.reactor.stats().counters.bytes_received == received);
        let before = node.reactor.stats().counters.frames_received;
        socket.write(&unwanted[5_000..]);
        until([&mut node], "the rest has arrived", |[node]| {
            node.reactor.stats().counters.frames_received == before + 1
        });
        assert_eq!(delivered(&node), []);
    }
    drop(all);
    send(&mut node, &mut socket, &[opaque(INV, b"first"), opaque(ADDR, b"second")]);
    send(&mut node, &mut socket, &[opaque(ADDR, b"third"), opaque(INV, b"fourth")]);
    let wanted = [(INV, Bytes::from_static(b"first")), (INV, Bytes::from_static(b"fourth"))];
    assert_eq!(delivered(&node), wanted);
    assert!(
        node.reactor.stats().counters.discarded >= 1,
        "no message was discarded, although the only subscription was dropped"
    );
}
