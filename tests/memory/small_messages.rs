//! Small messages allocate nothing once a loop's buffers, lists and pools have grown to their final sizes.

use crate::node::{Node, Pings, Request};
use allocation_counter::measure;
use peerloop::protocol::CommandName;
use peerloop::wire::MessageRef;
use peerloop_testkit::greeting::{frame, greeting};
use peerloop_testkit::vectors::payloads;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// The number of known messages that the engine consumes itself: `ping`, `pong` and `reject`.
const BY_THE_ENGINE: usize = 3;
const PEERS: usize = 16;
const PONGS: u64 = 5_000;

/// Runs two nodes that ping each other. Returns each node's number of allocations while it received `PONGS` pongs.
fn allocations_of_both_ends(pings: Pings) -> [u64; 2] {
    static MEASURED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    let measured = &MEASURED[usize::from(pings == Pings::ByTimer)];
    let run = move |mut node: Node| {
        node.until(|tally| tally.settled == PEERS && tally.pongs >= 1_000);
        // During each sleep, all messages in flight arrive. The next turn then grows the node's lists to their
        // final lengths.
        for round in 1..=5 {
            thread::sleep(Duration::from_millis(20));
            node.until(|tally| tally.pongs >= 1_000 + round * 100);
        }
        let warm = node.reactor.handler().pongs;
        let info = measure(|| node.until(|tally| tally.pongs >= warm + PONGS));
        assert_eq!(node.reactor.handler().closed, 0);
        measured.fetch_add(1, Ordering::SeqCst);
        // The other end may still be measuring, and needs our pongs.
        while measured.load(Ordering::SeqCst) < 2 {
            node.turn();
        }
        info.count_total
    };
    let (sender, receiver) = channel();
    let far = thread::spawn(move || {
        let node = Node::new(pings);
        sender.send(node.reactor.handle()).expect("the test waits for the handle");
        run(node)
    });
    let node = Node::new(pings);
    let far_handle = receiver.recv().expect("the far end starts");
    far_handle.request(Request::Dial { address: node.address, peers: PEERS }).expect("the queue has room");
    let here = run(node);
    [here, far.join().expect("the far end did not panic")]
}

#[test]
fn pings_sent_inside_a_callback_and_their_pongs_allocate_nothing_on_either_node() {
    assert_eq!(allocations_of_both_ends(Pings::AfterEachPong), [0, 0]);
}

#[test]
fn pings_from_the_timer_allocate_at_most_three_times_per_peer() {
    // The pool grows once, to the largest number of queues in use at the same time. This costs each peer at most three
    // allocations, however many pings it receives: a queue, the queue's list and a buffer.
    for allocations in allocations_of_both_ends(Pings::ByTimer) {
        assert!(allocations <= 3 * PEERS as u64, "{allocations} allocations while {PONGS} pongs arrived");
    }
}

/// Returns a node and a plain socket that is its ready peer.
fn ready() -> (Node, TcpStream) {
    let mut node = Node::new(Pings::Never);
    let mut socket = TcpStream::connect(node.address).expect("the node listens");
    socket.set_nodelay(true).expect("the socket is open");
    socket.write_all(&[greeting(), frame(&MessageRef::SendHeaders)].concat()).expect("the kernel accepts the bytes");
    node.until(|tally| tally.settled == 1);
    (node, socket)
}

#[test]
fn a_small_message_in_two_parts_allocates_nothing_wherever_it_is_split() {
    let (mut node, mut socket) = ready();
    let inv = frame(&MessageRef::Opaque { command: CommandName::new("inv"), payload: &[7; 37] });
    let ping = frame(&MessageRef::Ping { nonce: 7 });
    let mut answers = [0; 65_536];
    let mut round = |node: &mut Node| {
        for message in [&inv, &ping] {
            for cut in 1..message.len() {
                for part in [&message[..cut], &message[cut..]] {
                    socket.write_all(part).expect("the kernel accepts the bytes");
                    // On loopback, written bytes can be read at once.
                    node.turn();
                }
            }
        }
    };
    round(&mut node);
    let before = node.reactor.handler().messages;
    let info = measure(|| round(&mut node));
    assert_eq!(node.reactor.handler().messages - before, inv.len() as u64 - 1, "not every `inv` arrived exactly once");
    assert_eq!(node.reactor.stats().counters.pings_answered, 2 * (ping.len() as u64 - 1));
    assert_eq!(info.count_total, 0);
    assert_ne!(socket.read(&mut answers).expect("the socket is connected"), 0);
}

/// Returns every known payload as a frame, except the payloads that a peer sends only at the start of a connection.
fn known_frames() -> Vec<Vec<u8>> {
    let said_at_start = [
        CommandName::VERSION,
        CommandName::VERACK,
        CommandName::PROTOCONF,
        CommandName::SENDHEADERS,
        CommandName::CREATESTRM,
        CommandName::STREAMACK,
    ];
    let is_said_later = |command: &CommandName| !said_at_start.contains(command);
    let known = payloads().filter(|(command, _)| is_said_later(command));
    known.map(|(command, payload)| frame(&MessageRef::Opaque { command, payload: &payload })).collect()
}

#[test]
fn known_messages_after_the_opening_ones_allocate_nothing_on_their_way_to_the_handler() {
    let (mut node, mut socket) = ready();
    let frames = known_frames();
    let mut round = |node: &mut Node| {
        for frame in &frames {
            let received = node.reactor.stats().counters.bytes_received + frame.len() as u64;
            socket.write_all(frame).expect("the kernel accepts the bytes");
            while node.reactor.stats().counters.bytes_received < received {
                node.turn();
            }
        }
    };
    round(&mut node);
    let before = node.reactor.handler().messages;
    let info = measure(|| round(&mut node));
    assert_eq!((node.reactor.handler().messages - before) as usize, frames.len() - BY_THE_ENGINE);
    assert_eq!(node.reactor.handler().closed, 0);
    assert_eq!(info.count_total, 0);
}
