//! A process that is stopped for a while, by a debugger or an overloaded host: input that arrived in time is not
//! treated as late, even if it is read late.

use peerloop::Reactor;
use peerloop::error::{CloseReason, Deadline};
use peerloop::internals::limits::{EVENTS_PER_TURN, READ_BLOCK_BYTES, SEND_STALL_TIMEOUT, UNREAD_INPUT_GRACE};
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::{Conditions, World};
use peerloop::time::{Instant, Wait};
use peerloop::wire::MessageRef;
use peerloop_testkit::bytes::{commands, frame, frames, ping, verack, version};
use peerloop_testkit::simulated::SlowHost;
use peerloop_testkit::simulated::{Player, RawPeer, Stage, config, raw_link, secs};
use std::rc::Rc;
use std::time::Duration;

const INSTANT_BEFORE: Duration = Duration::from_nanos(1);

#[test]
fn fault_e06_a_peer_that_sent_in_time_is_kept_and_a_silent_one_is_closed() {
    // The poller needs three waits to report all peers, and the loop needs more than three read steps to read from
    // them.
    const SILENT: usize = 10;
    const SPEAKING: usize = 3 * EVENTS_PER_TURN - 1 - SILENT;
    let world = World::new(1, Instant::ZERO);
    let net = SlowHost::new(&world);
    let address = net.address();
    let player = Player::default();
    let journal = Rc::clone(&player.journal);
    let mut reactor = Reactor::with_net(config(), net, player).unwrap();
    reactor.listen(address).unwrap();
    let mut peers: Vec<RawPeer> = (0..SPEAKING + SILENT).map(|_| RawPeer::dialling(&world, address)).collect();
    while reactor.stats().links < peers.len() || reactor.next_deadline() == Wait::Zero {
        reactor.poll_once(Duration::ZERO).unwrap();
    }
    for peer in &mut peers[..SPEAKING] {
        peer.send(&version());
        peer.send(&verack());
    }
    world.advance(secs(11));
    let resumed = world.now();
    while !is_later(reactor.next_deadline(), world.now()) {
        reactor.poll_once(Duration::ZERO).unwrap();
    }
    assert!(world.now().since(resumed) < secs(1), "the loop waited out a grace period that no peer needed");
    let journal = journal.borrow();
    assert_eq!((journal.ready.len(), journal.closed.len()), (SPEAKING, SILENT));
    let reason = CloseReason::TimedOut(Deadline::Handshake);
    assert!(journal.closed.iter().all(|closed| closed.reason == reason), "{:?}", journal.closed);
}

fn is_later(wait: Wait, now: Instant) -> bool {
    match wait {
        Wait::Zero => false,
        Wait::Until(moment) => moment > now,
        Wait::Forever => true,
    }
}

#[test]
fn a_pong_and_the_rest_of_a_header_that_arrived_in_time_are_not_late() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(secs(120));
    let pings = frames(&peer.receive());
    peer.send(&ping()[..10]);
    stage.settle();
    peer.send(&ping()[10..]);
    peer.send(&frame("pong", &pings[0].1));
    stage.world.advance(secs(31));
    stage.settle();
    assert_eq!(stage.node.seen().closed, []);
    assert_eq!(commands(&peer.receive()), ["pong"]);
}

/// Builds a handler that answers each message with a frame of 1 KiB.
fn answering() -> Player {
    Player {
        on_message: Some(|ctx, peer| {
            let command = CommandName::from_bytes(*b"answer\0\0\0\0\0\0");
            ctx.send(peer, &MessageRef::Opaque { command, payload: &[7; 1_000] }).unwrap();
        }),
        ..Player::default()
    }
}

#[test]
fn room_that_a_peer_frees_in_time_is_progress_even_if_we_use_it_late() {
    let mut stage = Stage::with(config(), answering());
    stage.world.set_conditions(Conditions { capacity_bytes: 256, ..Conditions::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", b""));
    stage.run_for(SEND_STALL_TIMEOUT - secs(1));
    peer.receive();
    stage.world.advance(secs(2));
    stage.settle();
    assert_eq!(stage.node.seen().closed, []);
    assert!(!peer.receive().is_empty(), "the rest was not sent");
}

#[test]
fn room_that_is_used_late_extends_the_deadline_by_a_delay_below_the_grace_period() {
    // A delay of the whole grace period extends no deadline.
    let grace = UNREAD_INPUT_GRACE.as_secs();
    for (late, granted) in [(0, 0), (1, 1), (grace - 1, grace - 1), (grace, 0)] {
        let mut stage = Stage::with(config(), answering());
        stage.world.set_conditions(Conditions { capacity_bytes: 256, ..Conditions::default() });
        let mut peer = stage.ready_peer();
        peer.send(&frame("question", b""));
        stage.run_for(SEND_STALL_TIMEOUT - INSTANT_BEFORE);
        assert_eq!(peer.net.read(raw_link(), &mut [0]).unwrap(), 1);
        stage.world.advance(secs(late) + INSTANT_BEFORE);
        let back = stage.world.now();
        if granted > 0 {
            stage.run_for(secs(granted) - INSTANT_BEFORE);
            assert_eq!(stage.node.seen().closed, []);
            stage.run_for(INSTANT_BEFORE);
        }
        stage.settle();
        assert_eq!(stage.node.closed().reason, CloseReason::TimedOut(Deadline::Send));
        assert_eq!(stage.node.closed().at, back.plus(secs(granted)));
    }
}

#[test]
fn a_peer_whose_input_is_never_fully_read_gains_only_the_grace_period() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(secs(120));
    assert_eq!(commands(&peer.receive()), ["ping"]);
    // More bytes than two turns can read. The loop runs one turn a second.
    let message = frame("inv", &[0; 1_000]);
    let flood = message.repeat(2 * READ_BLOCK_BYTES / message.len() + 1);
    let mut sent = 0;
    for second in 0..30 + UNREAD_INPUT_GRACE.as_secs() {
        assert_eq!(stage.node.seen().closed, [], "the peer was closed only {second} s after the ping");
        sent += peer.net.write(raw_link(), &flood[sent % message.len()..]).unwrap_or(0);
        stage.world.advance(secs(1));
        stage.node.reactor.poll_once(Duration::ZERO).unwrap();
    }
    stage.node.reactor.poll_once(Duration::ZERO).unwrap();
    assert_eq!(stage.node.closed().reason, CloseReason::TimedOut(Deadline::Pong));
}
