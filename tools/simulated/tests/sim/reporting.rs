//! The loop's own counts and measurements match the events exactly.

use peerloop::api::{Delivery, Event, Latency, PeerInfo};
use peerloop::error::{CloseReason, Deadline};
use peerloop::histogram::LatencyHistogram;
use peerloop::internals::limits::MAX_POLL_TIME;
use peerloop::protocol::CommandName;
use peerloop::sim::{Driver, World};
use peerloop::stats::{MessageCount, Stats};
use peerloop::time::Instant;
use peerloop::wire::{FeeFilter, MessageRef};
use peerloop::{Config, ConnectionState, ConnectionType, Reactor};
use peerloop_testkit::bytes::{frame, frames, header, ping, protoconf, ready_bytes, verack, version};
use peerloop_testkit::simulated::{Journal, Node, Player, RawPeer, Stage, config, secs};
use peerloop_testkit::simulated::{READ_TIME, SlowHost};
use std::collections::BTreeMap;
use std::time::Duration;

/// Returns the counts of messages and payload bytes for each command with traffic. `other` stands for all unknown
/// commands together.
fn by_command(counts: impl Iterator<Item = (Option<CommandName>, MessageCount)>) -> BTreeMap<String, (u64, u64)> {
    let name = |command: Option<CommandName>| command.map_or_else(|| "other".to_owned(), |command| command.to_string());
    counts
        .filter(|(_, count)| count.messages > 0)
        .map(|(command, count)| (name(command), (count.messages, count.payload_bytes)))
        .collect()
}

fn table(rows: &[(&str, u64, u64)]) -> BTreeMap<String, (u64, u64)> {
    rows.iter().map(|&(command, messages, bytes)| (command.to_owned(), (messages, bytes))).collect()
}

/// Builds a node with one raw peer and no other, so that every message is known.
fn alone(config: Config, player: Player) -> (World, Node, RawPeer) {
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config, player);
    let mut peer = RawPeer::dialling(&world, node.address);
    settle(&world, &mut node);
    peer.send(&ready_bytes());
    settle(&world, &mut node);
    peer.receive();
    (world, node, peer)
}

fn settle(world: &World, node: &mut Node) {
    Driver::new(world).run_until(world.now(), &mut [&mut node.reactor]).unwrap();
}

#[test]
fn req_e47_messages_are_counted_by_command_and_direction_with_their_bytes() {
    let player = Player { on_header: Some(|_, _| Delivery::Discard), ..Player::default() };
    let (world, mut node, mut peer) = alone(config(), player);
    let of_node = |node: &Node| {
        let Stats { received, sent, .. } = node.reactor.stats();
        (by_command(received.iter()), by_command(sent.iter()))
    };
    let version_len = version().len() as u64 - 24;
    let (received, sent) = of_node(&node);
    assert_eq!(received, table(&[("version", 1, version_len), ("verack", 1, 0)]));
    let ours = sent["version"].1;
    let announced = [("version", 1, ours), ("verack", 1, 0), ("protoconf", 1, 27), ("sendheaders", 1, 0)];
    assert_eq!(sent, table(&announced));

    peer.send(&protoconf());
    peer.send(&ping().repeat(3));
    peer.send(&frame("tx", &[7; 100]));
    peer.send(&header("tx", 5, &[1, 2, 3, 4]));
    peer.send(&[0; 5]);
    peer.send(&frame("nonsense", &[0; 9]));
    peer.send(&frame("else", &[0; 2]));
    // An incomplete message is not counted.
    peer.send(&frame("inv", &[0; 37])[..60]);
    settle(&world, &mut node);
    let (received, sent) = of_node(&node);
    let asked = [
        ("version", 1, version_len),
        ("verack", 1, 0),
        ("protoconf", 1, 27),
        ("ping", 3, 24),
        ("tx", 2, 105),
        ("other", 2, 11),
    ];
    assert_eq!(received, table(&asked));
    assert_eq!(sent, table(&[&announced[..], &[("pong", 3, 24)]].concat()));
    let Stats { received, counters, .. } = node.reactor.stats();
    assert_eq!(received.total().messages, counters.frames_received);
}

#[test]
fn req_e47_a_handlers_messages_are_counted_each_time_they_are_sent() {
    let player = Player {
        on_request: Some(|ctx| {
            let peer = ctx.peers().next().expect("the peer is connected").id();
            ctx.send(peer, &MessageRef::GetAddr).unwrap();
            ctx.ping(peer, ctx.now()).unwrap();
            let shared = ctx.encode(&MessageRef::FeeFilter(FeeFilter { satoshis_per_1000_bytes: 5 }));
            ctx.send_shared(peer, &shared).unwrap();
            ctx.send_shared(peer, &shared).unwrap();
        }),
        ..Player::default()
    };
    let (world, mut node, mut peer) = alone(config(), player);
    let before = node.reactor.stats().sent;
    node.reactor.handle().request(()).unwrap();
    settle(&world, &mut node);
    let mut said: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (command, payload) in frames(&peer.receive()) {
        let count = said.entry(command).or_default();
        *count = (count.0 + 1, count.1 + payload.len() as u64);
    }
    let after = node.reactor.stats().sent;
    let grown = after.iter().zip(before.iter()).map(|((command, after), (_, before))| {
        let messages = after.messages - before.messages;
        (command, MessageCount { messages, payload_bytes: after.payload_bytes - before.payload_bytes })
    });
    assert_eq!(by_command(grown), said);
    assert_eq!(said, table(&[("getaddr", 1, 0), ("ping", 1, 8), ("feefilter", 2, 16)]));
}

#[test]
fn req_e47_connections_are_counted_by_state_and_type_while_they_last() {
    let mut stage = Stage::with(config().with_max_inbound(3), Player::default());
    let count = |stage: &Stage, connection_type, state| stage.stats().connections.count(connection_type, state);
    use ConnectionState::{AwaitingHandshake, Connected};
    let silent = stage.peer();
    let mut ready = stage.ready_peer();
    let over = stage.peer();
    assert_eq!(count(&stage, ConnectionType::Inbound, AwaitingHandshake), 1);
    assert_eq!(count(&stage, ConnectionType::Inbound, Connected), 2);
    assert_eq!(count(&stage, ConnectionType::OverCapacity, AwaitingHandshake), 1);
    assert_eq!(stage.stats().connections.of_type(ConnectionType::Outbound), 0);
    assert_eq!((stage.stats().links, stage.stats().ready), (4, 2));
    ready.close();
    stage.settle();
    assert_eq!(count(&stage, ConnectionType::Inbound, Connected), 1);
    stage.run_for(secs(10));
    assert_eq!((stage.stats().links, stage.stats().connections.of_type(ConnectionType::Inbound)), (1, 1));
    drop((silent, over));
}

#[test]
fn req_e47_every_close_is_counted_once_by_its_reason() {
    let mut stage = Stage::new();
    let mut first = stage.ready_peer();
    first.close();
    let mut second = stage.ready_peer();
    second.send(b"GET / HTTP/1.1\r\n");
    let third = stage.peer();
    let mut fourth = stage.peer();
    fourth.send(&verack().repeat(17));
    stage.run_for(secs(10));
    let Stats { closes, counters, .. } = stage.stats();
    let ended: BTreeMap<&str, u64> = closes.iter().filter(|(_, count)| *count > 0).collect();
    let expected = [("closed_by_peer", 1), ("bad_magic", 1), ("handshake_timeout", 1), ("handshake_flood", 1)];
    assert_eq!(ended, BTreeMap::from(expected));
    assert_eq!(counters.closed, 4);
    assert_eq!(closes.count(&CloseReason::TimedOut(Deadline::Handshake)), 1);
    let labels: Vec<&str> = stage.node.seen().closed.iter().map(|closed| closed.reason.label()).collect();
    assert_eq!(labels.len(), 4);
    assert!(labels.iter().all(|label| ended.contains_key(label)), "{labels:?}");
    let listed: Vec<&str> = stage.stats().closed_by_reason().map(|(label, _)| label).collect();
    assert_eq!(listed, CloseReason::LABELS);
    drop(third);
}

#[test]
fn req_e47_queued_bytes_are_counted_until_the_connection_closes() {
    let mut stage = Stage::new();
    let depth = |stage: &Stage| (stage.stats().send_queues, stage.stats().waiting_bytes);
    let mut peer = stage.ready_peer();
    assert_eq!(depth(&stage), (0, 0));
    crate::backpressure::ping_until_blocked(&mut stage, &mut peer);
    let waiting: usize = stage.listed().iter().map(|peer| peer.waiting_bytes).sum();
    assert!(waiting > 0);
    assert_eq!(depth(&stage), (1, waiting as u64));
    peer.close();
    stage.settle();
    assert_eq!(depth(&stage), (0, 0));
}

#[test]
fn req_e47_handshakes_are_measured_and_latency_histograms_can_be_fetched_and_reset() {
    const HESITATION: Duration = Duration::from_millis(250);
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    stage.run_for(HESITATION);
    peer.send(&ready_bytes());
    stage.settle();
    let Stats { handshake, connect, counters, .. } = stage.stats();
    assert_eq!((handshake.count, counters.handshakes, connect.count), (2, 2, 0));
    assert_eq!(handshake.max.unwrap().as_millis(), HESITATION.as_millis());
    let take = |stage: &mut Stage, latency, spare| {
        let pending = stage.node.reactor.handle().take_latencies(latency, spare).unwrap();
        stage.settle();
        pending.try_take().unwrap().expect("the loop has answered")
    };
    let mut spare = LatencyHistogram::new();
    spare.record(secs(9));
    let taken = take(&mut stage, Latency::Handshake, spare);
    assert_eq!((taken.count(), taken.max().unwrap().as_millis()), (2, HESITATION.as_millis()));
    assert_eq!(stage.stats().handshake.count, 0, "the histogram in use is not the spare one, or was not cleared");
    let mut late = stage.ready_peer();
    assert_eq!(take(&mut stage, Latency::Handshake, taken).count(), 1);
    assert_eq!(take(&mut stage, Latency::Connect, LatencyHistogram::new()).count(), 0);
    assert!(take(&mut stage, Latency::Turn, LatencyHistogram::new()).count() > 0);
    late.close();
}

#[test]
fn req_e47_a_dial_is_measured_on_the_side_that_dials() {
    let world = World::new(1, Instant::ZERO);
    let mut acceptor = Node::new(&world, config(), Player::default());
    let mut dialler = Node::new(&world, config(), Player::dialling(acceptor.address));
    Driver::new(&world)
        .run_until(Instant::ZERO.plus(secs(1)), &mut [&mut acceptor.reactor, &mut dialler.reactor])
        .unwrap();
    let Stats { connect, handshake, connections, counters, .. } = dialler.reactor.stats();
    assert_eq!((connect.count, handshake.count, counters.dialled), (1, 1, 1));
    assert_eq!(connections.count(ConnectionType::Outbound, ConnectionState::Connected), 1);
    assert_eq!(acceptor.reactor.stats().connect.count, 0);
    let Journal { ready, .. } = dialler.seen();
    assert_eq!(ready.len(), 1);
}

#[test]
fn req_e47_peer_costs_are_measured_only_on_request_and_from_then_on() {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    assert_eq!(stage.last_cost(), None);
    stage.measure(true);
    peer.send(&ping().repeat(2));
    stage.settle();
    let cost = stage.last_cost().expect("the peer is measured");
    assert_eq!((cost.received_bytes, cost.sent_bytes, cost.queued), (64, 64, Duration::ZERO));
    stage.measure(false);
    assert_eq!(stage.last_cost(), None);
    stage.measure(true);
    assert_eq!(
        stage.last_cost().map(|cost| cost.received_bytes),
        Some(0),
        "an earlier measurement was kept, or the peer is not measured"
    );
    peer.close();
}

#[test]
fn req_e47_the_time_that_bytes_wait_for_a_peer_is_charged_to_that_peer_alone() {
    let mut stage = Stage::with(config().with_measure_peers(true), Player::default());
    let mut peer = stage.ready_peer();
    crate::backpressure::ping_until_blocked(&mut stage, &mut peer);
    let before = stage.last_cost().expect("the peer is measured").queued;
    stage.run_for(secs(7));
    assert_eq!(stage.last_cost().expect("the peer is measured").queued, before + secs(7));
    let honest = stage.listed()[0].cost.expect("the peer is measured");
    assert_eq!(honest.queued, Duration::ZERO);
    assert!(honest.received_bytes > 0 && honest.sent_bytes > 0);
    let sent_bytes = |peer: &PeerInfo| peer.cost.map(|cost| cost.sent_bytes);
    assert!(
        stage.listed().iter().all(|peer| sent_bytes(peer) == Some(peer.sent_bytes)),
        "the charged bytes are not exactly the sent ones"
    );
    while !peer.receive().is_empty() {
        stage.settle();
    }
    let gone = stage.last_cost().expect("the peer is measured").queued;
    stage.run_for(secs(1));
    assert_eq!(stage.last_cost().expect("the peer is measured").queued, gone, "bytes still waited");
    peer.close();
}

#[test]
fn input_can_have_waited_for_the_last_turns_work_and_not_at_all_after_a_sleep() {
    let world = World::new(1, Instant::ZERO);
    let mut net = SlowHost::new(&world);
    net.write_time = Duration::from_micros(7);
    let address = net.address();
    let mut reactor = Reactor::with_net(config(), net, Player::default()).unwrap();
    reactor.listen(address).unwrap();
    let mut peer = RawPeer::dialling(&world, address);
    peer.send(&ready_bytes());
    while reactor.stats().ready < 1 {
        reactor.poll_once(Duration::ZERO).unwrap();
    }
    let mut turn = || {
        reactor.poll_once(Duration::ZERO).unwrap();
        reactor.act(|_, ctx| (ctx.max_input_age(), ctx.busy()))
    };
    turn();
    let (_, before) = turn();
    peer.send(&ping());
    let work = READ_TIME + Duration::from_micros(7);
    assert_eq!(turn(), (Duration::ZERO, before + work), "the turn before the ping had work");
    assert_eq!(turn(), (work, before + work));
    assert_eq!(turn(), (Duration::ZERO, before + work), "an idle turn had work");
    for (pause, is_sleep) in [(MAX_POLL_TIME, false), (MAX_POLL_TIME + Duration::from_nanos(1), true)] {
        peer.send(&ping());
        turn();
        world.advance(pause);
        assert_eq!(turn().0, if is_sleep { Duration::ZERO } else { work + pause });
    }
}

#[test]
fn req_e47_the_loops_time_is_charged_only_to_the_peer_that_it_serves() {
    const WRITE_TIME: Duration = Duration::from_micros(7);
    let world = World::new(1, Instant::ZERO);
    let mut net = SlowHost::new(&world);
    net.write_time = WRITE_TIME;
    let address = net.address();
    let player = Player {
        on_request: Some(|ctx| {
            let last = ctx.peers().last().expect("the peer is connected").id();
            ctx.send_shared(last, &frame("other", b"").into()).unwrap();
        }),
        ..Player::default()
    };
    let mut reactor = Reactor::with_net(config().with_measure_peers(true), net, player).unwrap();
    reactor.listen(address).unwrap();
    let mut peers = [RawPeer::dialling(&world, address), RawPeer::dialling(&world, address)];
    peers.iter_mut().for_each(|peer| peer.send(&ready_bytes()));
    while reactor.stats().ready < 2 {
        reactor.poll_once(Duration::ZERO).unwrap();
    }
    let busy = |reactor: &mut Reactor<SlowHost, Player>| {
        let pending = reactor.handle().peers(None).unwrap();
        reactor.poll_once(Duration::ZERO).unwrap();
        let listed = pending.try_take().unwrap().expect("the loop has answered");
        let busy = listed.iter().map(|peer| peer.cost.expect("the peer is measured").busy).collect::<Vec<_>>();
        assert!(busy.iter().sum::<Duration>() <= reactor.stats().busy, "the peers' total exceeds the loop's own time");
        <[Duration; 2]>::try_from(busy).expect("two peers are listed")
    };
    let shaken_hands = busy(&mut reactor);
    assert_eq!(shaken_hands, [READ_TIME + WRITE_TIME; 2], "a handshake did not cost exactly one read and one write");

    // A ping is read and its pong is written. No other peer is charged for the read and the write.
    peers[0].send(&ping());
    reactor.poll_once(Duration::ZERO).unwrap();
    assert_eq!(peers[0].receive().len(), peers[1].receive().len() + 32);
    assert_eq!(busy(&mut reactor), [shaken_hands[0] + READ_TIME + WRITE_TIME, shaken_hands[1]]);

    // Unsolicited messages from the handler are written when queues are flushed.
    reactor.handle().request(()).unwrap();
    reactor.poll_once(Duration::ZERO).unwrap();
    assert_eq!(peers[1].receive(), frame("other", b""));
    assert_eq!(busy(&mut reactor), [shaken_hands[0] + READ_TIME + WRITE_TIME, shaken_hands[1] + WRITE_TIME]);
    world.advance(secs(5));
    assert_eq!(busy(&mut reactor)[1], shaken_hands[1] + WRITE_TIME, "idle time was charged to a peer");
}

#[test]
fn req_e47_only_a_pong_that_matches_a_ping_is_measured_and_only_once() {
    const LATE: Duration = Duration::from_secs(2);
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(config().ping_interval);
    let nonce = frames(&peer.receive()).pop().expect("the peer is pinged").1;
    peer.send(&frame("pong", &[9; 8]));
    stage.run_for(LATE);
    // The honest peer is pinged as well, and answers at once.
    assert_eq!(stage.stats().ping_rtt.count, 1, "an unmatched pong was measured, or the honest peer's pong was not");
    for _ in 0..2 {
        peer.send(&frame("pong", &nonce));
    }
    stage.settle();
    let Stats { ping_rtt, counters, .. } = stage.stats();
    assert_eq!((ping_rtt.count, ping_rtt.max.unwrap().as_secs(), counters.pongs_unmatched), (2, LATE.as_secs(), 2));
    let pending = stage.node.reactor.handle().take_latencies(Latency::PingRtt, LatencyHistogram::new()).unwrap();
    stage.settle();
    let taken = pending.try_take().unwrap().expect("the loop has answered");
    assert_eq!((taken.count(), stage.stats().ping_rtt.count), (2, 0));
}

#[test]
fn req_e47_a_ping_that_the_handler_sends_late_is_measured_from_when_it_was_due() {
    const BEHIND: Duration = Duration::from_secs(3);
    let player = Player {
        on_event: Some(|ctx, peer, event| {
            if let Event::Pong { planned, .. } = event
                && ctx.now().since(planned) < BEHIND
            {
                ctx.ping(peer, ctx.now().minus(BEHIND)).unwrap();
            }
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    stage.run_for(config().ping_interval);
    let Stats { ping_rtt, .. } = stage.stats();
    assert_eq!((ping_rtt.count, ping_rtt.max.unwrap().as_secs()), (2, BEHIND.as_secs()));
}
