//! A loop inside an outer loop. The outer loop runs a turn of the inner loop only when the inner loop's descriptor is
//! readable or its deadline has passed.

use crate::probe::{BareSocket, Node, PATIENCE, Seen, ping, regtest};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use peerloop::internals::limits::EVENTS_PER_TURN;
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::time::Wait;
use peerloop_testkit::greeting::greeting;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The embedder's own loop. Like the inner loop, it receives each readiness edge only once.
struct Outer {
    poll: Poll,
    events: Events,
}

impl Outer {
    fn around(node: &Node) -> Self {
        let poll = Poll::new().expect("the kernel provides a poller");
        poll.registry()
            .register(&mut SourceFd(&node.reactor.as_fd().as_raw_fd()), Token(0), Interest::READABLE)
            .expect("a poller can be polled");
        Self { poll, events: Events::with_capacity(8) }
    }

    /// Returns whether a turn of the node is due: the node has work, its deadline has passed, or its descriptor has
    /// become readable.
    fn is_due(&mut self, node: &Node) -> bool {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).expect("the poller works");
        node.reactor.next_deadline() == Wait::Zero || !self.events.is_empty()
    }

    /// Runs a turn of the node whenever one is due, until `done` returns true.
    fn run(&mut self, node: &mut Node, what: &str, done: impl Fn(&Node) -> bool) {
        let began = std::time::Instant::now();
        while !done(node) {
            let timeout = match node.reactor.next_deadline() {
                Wait::Zero => Duration::ZERO,
                Wait::Until(moment) => moment.since(node.reactor.net().now()),
                Wait::Forever => PATIENCE,
            };
            let is_due = timeout.is_zero();
            self.poll.poll(&mut self.events, Some(timeout.min(PATIENCE))).expect("the poller works");
            assert!(began.elapsed() < PATIENCE, "timed out before {what}");
            if is_due || !self.events.is_empty() {
                node.turn();
            }
        }
    }
}

#[test]
fn a_nested_loop_completes_a_handshake_and_answers_pings() {
    let mut node = Node::new();
    let mut outer = Outer::around(&node);
    let mut socket = BareSocket::connect(node.address);
    socket.write(&greeting());
    outer.run(&mut node, "the peer is ready", |node| node.ready().len() == 1);
    while socket.read_frame().0 != CommandName::SENDHEADERS {}
    for nonce in 1..=100 {
        socket.write(&ping(nonce));
        outer.run(&mut node, "a ping is answered", |node| node.reactor.stats().counters.pings_answered == nonce);
        assert_eq!(socket.read_frame(), (CommandName::PONG, nonce.to_le_bytes().to_vec()));
    }
}

#[test]
fn a_request_wakes_the_outer_loop() {
    let mut node = Node::new();
    let mut outer = Outer::around(&node);
    outer.run(&mut node, "the loop sleeps", |node| node.reactor.next_deadline() == Wait::Forever);
    let handle = node.reactor.handle();
    let pending =
        std::thread::spawn(move || handle.stats().expect("the queue has room")).join().expect("the request is sent");
    outer.run(&mut node, "the request is answered", |_| pending.try_take().expect("the loop runs").is_some());
}

#[test]
fn a_turn_is_due_at_a_deadline_without_any_input() {
    let mut node = Node::with(regtest().with_handshake_timeout(Duration::from_millis(20)));
    let mut outer = Outer::around(&node);
    let _socket = BareSocket::connect(node.address);
    let is_closed = |seen: &Seen| matches!(seen, Seen::Closed(..));
    outer.run(&mut node, "the silent peer is closed", |node| node.count(is_closed) == 1);
}

#[test]
fn events_beyond_the_limit_of_one_turn_are_not_lost() {
    const ROUNDS: usize = 12;
    const EACH: usize = 100;
    const PEERS: usize = ROUNDS * EACH;
    const { assert!(PEERS > EVENTS_PER_TURN) };
    crate::capacity::allow_descriptors(2 * PEERS as u64 + 500);
    let mut node = Node::new();
    let mut outer = Outer::around(&node);
    let mut sockets = Vec::new();
    for _ in 0..ROUNDS {
        for _ in 0..EACH {
            let mut socket = BareSocket::connect(node.address);
            socket.write(&greeting());
            sockets.push(socket);
        }
        outer.run(&mut node, "the peers are ready", |node| node.ready().len() == sockets.len());
    }
    // Paused peers are not read, so their unread input does not cause another turn.
    node.act(|ctx| {
        let peers: Vec<_> = ctx.peers().map(|view| view.id()).collect();
        peers.into_iter().for_each(|peer| ctx.pause(peer));
    });
    for socket in &mut sockets {
        socket.write(&ping(7));
    }
    while outer.is_due(&node) {
        node.turn();
    }
    assert!(
        !Outer::around(&node).is_due(&node),
        "an event was lost: the descriptor is readable, but no further edge will report it"
    );
}
