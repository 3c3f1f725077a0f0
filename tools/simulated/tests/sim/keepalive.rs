//! Keepalive pings, their due times and their pongs, with and without other traffic on the link.

use peerloop::api::Event;
use peerloop::error::{CloseReason, Deadline, Disconnect};
use peerloop::sim::invariant::Violation;
use peerloop::sim::{Driver, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes::{frame, frames, header, ping, pong, ready_bytes};
use peerloop_testkit::simulated::{Node, Player, RawPeer, Stage, TICK, config, secs};
use std::collections::BTreeSet;
use std::time::Duration;

const INSTANT: Duration = Duration::from_nanos(1);
const INTERVAL: Duration = Duration::from_secs(120);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs until `until`, while the peer pings every `pause`. Asserts that the node answers each of these pings before the
/// next one. Returns the nonces of the node's pings, each with the moment at which the peer read the ping.
fn talk_until(stage: &mut Stage, peer: &mut RawPeer, until: Instant, pause: Duration) -> Vec<(Instant, Vec<u8>)> {
    let mut pings = Vec::new();
    while stage.world.now() < until {
        peer.send(&ping());
        stage.run_for(pause.min(until.since(stage.world.now())));
        let said = frames(&peer.receive());
        assert!(said.contains(&frames(&pong())[0]), "the node did not answer the peer's ping");
        pings.extend(
            said.into_iter().filter(|(command, _)| command == "ping").map(|(_, nonce)| (stage.world.now(), nonce)),
        );
    }
    pings
}

#[test]
fn req_e12_each_ping_has_its_own_nonce_and_only_a_pong_with_this_nonce_answers_it() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    let mut nonces = BTreeSet::new();
    for round in 1..=20 {
        stage.run_for(INTERVAL);
        let pings = frames(&peer.receive());
        let [(command, nonce)] = &pings[..] else { panic!("{pings:?}") };
        assert_eq!((command.as_str(), nonce.len()), ("ping", 8));
        assert!(nonces.insert(nonce.clone()) && nonce != &[0; 8]);
        for old in &nonces {
            peer.send(&frame("pong", old));
        }
        stage.settle();
        let counters = stage.node.reactor.stats().counters;
        // The honest peer is pinged as well.
        assert_eq!((counters.pongs_received, counters.pongs_unmatched), (2 * round, round * (round - 1) / 2));
    }
    stage.assert_honest_peer_is_unaffected();
}

#[test]
fn a_keepalive_ping_is_measured_from_when_it_is_sent_and_the_timer_lag_is_measured_separately() {
    const BEHIND: Duration = Duration::from_secs(2);
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config(), Player::default());
    let mut peer = RawPeer::dialling(&world, node.address);
    let mut run = |time| Driver::new(&world).run_until(world.now().plus(time), &mut [&mut node.reactor]).unwrap();
    peer.send(&ready_bytes());
    run(secs(1));
    peer.receive();
    // The loop runs no turn until `BEHIND` after the ping is due, as if its process had been stopped.
    world.advance(INTERVAL + BEHIND - secs(1));
    run(Duration::ZERO);
    let pings = frames(&peer.receive());
    let [(_, nonce)] = &pings[..] else { panic!("{pings:?}") };
    run(Duration::from_millis(5));
    peer.send(&frame("pong", nonce));
    run(Duration::ZERO);
    let stats = node.reactor.stats();
    assert_eq!((stats.ping_rtt.count, stats.keepalive_lag.count), (1, 1));
    let within = |latency: Option<Duration>, exact: Duration| {
        latency.is_some_and(|latency| latency >= exact && latency <= exact + exact / 500)
    };
    assert!(within(stats.ping_rtt.max, Duration::from_millis(5)), "{:?}", stats.ping_rtt);
    assert!(within(stats.keepalive_lag.max, BEHIND), "{:?}", stats.keepalive_lag);
}

#[test]
fn req_e13_a_pong_event_reports_when_the_ping_was_due_and_sent_and_when_the_pong_arrived() {
    let player = Player {
        on_event: Some(|ctx, peer, event| {
            if let Event::Pong { planned, sent, received, .. } = event
                && ctx.peers().last().is_some_and(|last| last.id() == peer)
            {
                assert_eq!((planned, sent), (Instant::ZERO.plus(INTERVAL), Instant::ZERO.plus(INTERVAL)));
                assert_eq!(received, Instant::ZERO.plus(INTERVAL + secs(7)));
                ctx.close(peer, Disconnect::Done);
            }
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    let mut peer = stage.ready_peer();
    stage.run_for(INTERVAL + secs(7));
    let pings = frames(&peer.receive());
    peer.send(&frame("pong", &pings[0].1));
    stage.settle();
    assert!(
        peer.receive().is_empty() && peer.has_seen_end,
        "the pong was not reported, or a message followed the ping"
    );
}

#[test]
fn req_e14_pings_are_on_time_though_the_peer_never_stops_sending() {
    for pause in [Duration::from_millis(7), secs(1), secs(50)] {
        let mut stage = Stage::new();
        let mut peer = stage.ready_peer();
        let at = |time| Instant::ZERO.plus(time);
        assert_eq!(talk_until(&mut stage, &mut peer, at(INTERVAL - INSTANT), pause), [], "a ping was sent early");
        let first = talk_until(&mut stage, &mut peer, at(INTERVAL), pause);
        assert_eq!(first.len(), 1, "not exactly one ping was sent when it was due");
        peer.send(&frame("pong", &first[0].1));
        assert_eq!(talk_until(&mut stage, &mut peer, at(2 * INTERVAL - INSTANT), pause), []);
        let second = talk_until(&mut stage, &mut peer, at(2 * INTERVAL), pause);
        assert_eq!(second.len(), 1);
        // The second ping is not answered, and no other traffic replaces its pong.
        assert_eq!(talk_until(&mut stage, &mut peer, at(2 * INTERVAL + TIMEOUT - INSTANT), pause), []);
        assert_eq!(stage.node.seen().closed, []);
        stage.run_for(INSTANT);
        assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Pong));
        assert_eq!(stage.closed().at, at(2 * INTERVAL + TIMEOUT));
    }
}

#[test]
fn req_e14_a_pong_timeout_is_transient_and_another_peer_can_connect_afterwards() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(INTERVAL + TIMEOUT);
    let reason = stage.closed().reason;
    assert_eq!((reason, reason.is_transient()), (CloseReason::TimedOut(Deadline::Pong), true));
    assert_eq!(frames(&peer.receive()).len(), 1, "the peer did not receive exactly one message, the ping");
    let mut again = stage.ready_peer();
    again.send(&ping());
    stage.settle();
    assert_eq!(again.receive(), pong());
}

#[test]
fn req_e14_a_dialled_peer_that_did_not_answer_a_ping_can_be_dialled_again() {
    let world = World::new(1, Instant::ZERO);
    let mut peer = RawPeer::new(&world);
    let address = peer.listen();
    let player = Player { redials: Some(address), ..Player::dialling(address) };
    let mut node = Node::new(&world, config(), player);
    let run_for = |node: &mut Node, time| {
        let until = world.now().plus(time);
        Driver::new(&world).run_until(until, &mut [&mut node.reactor]).unwrap();
    };
    run_for(&mut node, Duration::ZERO);
    peer.accept();
    peer.send(&ready_bytes());
    run_for(&mut node, INTERVAL + TIMEOUT);
    assert_eq!(node.closed().reason, CloseReason::TimedOut(Deadline::Pong));
    run_for(&mut node, TICK);
    assert_eq!(node.seen().dialled.len(), 1);
    peer.receive();
    peer.close();
    peer.accept();
    peer.send(&ready_bytes());
    run_for(&mut node, Duration::ZERO);
    assert_eq!(node.seen().ready.len(), 2, "the peer at the same address did not become ready again");
    assert_eq!(node.reactor.violations(), [] as [Violation; 0]);
}

#[test]
fn req_e14_a_body_in_transit_is_a_sign_of_life_while_it_progresses() {
    const LEN_BYTES: usize = 60_000;
    for bytes_per_second in [1_100, 10_000] {
        let mut stage = Stage::with(config(), Player::default());
        let mut peer = stage.ready_peer();
        stage.run_for(INTERVAL - INSTANT);
        let message = frame("addr", &[7; LEN_BYTES]);
        peer.send(&message[..24]);
        stage.run_for(INSTANT);
        let pings = frames(&peer.receive());
        assert_eq!(pings.len(), 1, "not exactly one ping was sent during the body");
        for part in message[24..].chunks(bytes_per_second) {
            stage.run_for(secs(1));
            assert_eq!(stage.node.seen().closed, [], "the peer was closed before its body was complete");
            peer.send(part);
        }
        stage.settle();
        assert_eq!(stage.node.seen().messages.len(), 1);
        let done = stage.world.now();
        stage.run_for(TIMEOUT - INSTANT);
        assert_eq!(stage.node.seen().closed, []);
        stage.run_for(INSTANT);
        assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Pong));
        assert_eq!(stage.closed().at, done.plus(TIMEOUT));
    }
}

#[test]
fn req_e14_a_peer_with_a_stalled_body_is_closed_at_the_bodys_deadline() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(INTERVAL);
    peer.send(&header("addr", 60_000, &[0; 4]));
    peer.send(&[0; 5_000]);
    stage.run_for(secs(60) - INSTANT);
    assert_eq!(stage.node.seen().closed, []);
    stage.run_for(INSTANT);
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Body));
}

#[test]
fn req_e14_a_small_body_does_not_extend_the_deadline_of_a_pong() {
    let mut stage = Stage::with(config().with_min_body_bytes_per_second(0), Player::default());
    let mut peer = stage.ready_peer();
    stage.run_for(INTERVAL);
    peer.send(&header("addr", 4_096, &[0; 4]));
    for _ in 0..TIMEOUT.as_secs() {
        assert_eq!(stage.node.seen().closed, []);
        peer.send(&[0; 100]);
        stage.run_for(secs(1));
    }
    assert_eq!(stage.closed().reason, CloseReason::TimedOut(Deadline::Pong));
    assert_eq!(stage.closed().at, Instant::ZERO.plus(INTERVAL + TIMEOUT));
}
