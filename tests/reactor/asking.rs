//! Requests through a loop's handle (to list peers, send a message, read counters and change bans), and a handler's
//! clock.

use crate::probe::{Node, Seen, regtest, until};
use peerloop::api::Pending;
use peerloop::error::{Disconnect, RequestError};
use peerloop::peer::{ConnectionState, ConnectionType};
use peerloop::protocol::{CommandName, PROTOCOL_VERSION};
use peerloop::{Config, Message, Network};
use std::time::Duration;

/// Runs turns of the loop until it answers the request, and returns the answer.
fn answer<T>(node: &mut Node, pending: Pending<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        node.turn();
        if let Some(answer) = pending.try_take().expect("the loop runs") {
            return answer;
        }
        assert!(began.elapsed() < crate::probe::PATIENCE, "no answer arrived in time");
    }
}

#[test]
fn req_e30_a_peer_is_listed_with_its_state_its_claims_and_its_round_trip_times() {
    let (mut one, mut two) = (Node::with(regtest().with_user_agent("/a\n\"b\u{1b}/".into())), Node::new());
    let (address, here) = (two.address, one.dial(two.address));
    until([&mut one, &mut two], "both are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    let handle = one.reactor.handle();
    let [info] = &answer(&mut one, handle.peers(None).expect("the queue has room"))[..] else {
        panic!("the loop does not have exactly one peer")
    };
    assert_eq!((info.id, info.address, info.connection_type), (here, address, ConnectionType::Outbound));
    assert_eq!((info.state, info.waiting_bytes), (ConnectionState::Connected, 0));
    assert_eq!((info.protocol_version, info.services, info.height), (Some(PROTOCOL_VERSION), Some(0), Some(0)));
    assert!(info.sent_bytes > 100, "fewer bytes were sent than a `version` has");
    assert_eq!((info.last_rtt, info.least_rtt), (None, None));
    let nonce = one.act(move |ctx| ctx.ping(here, ctx.now()).expect("the queue has room"));
    let is_pong = |seen: &Seen| matches!(seen, Seen::Pong { nonce: of, .. } if *of == nonce);
    until([&mut one, &mut two], "the ping is answered", |[one, _]| one.count(is_pong) == 1);
    let [info] = &answer(&mut one, handle.peers(None).expect("the queue has room"))[..] else {
        panic!("the loop does not have exactly one peer")
    };
    assert!(info.last_rtt.is_some() && info.last_rtt == info.least_rtt);
    let handle = two.reactor.handle();
    let [info] = &answer(&mut two, handle.peers(None).expect("the queue has room"))[..] else {
        panic!("the loop does not have exactly one peer")
    };
    assert_eq!(info.user_agent.as_deref(), Some("/ab/"));
    let rest = answer(&mut two, handle.peers(Some(info.id)).expect("the queue has room"));
    assert_eq!(rest, []);
    let count = answer(&mut two, handle.connection_count().expect("the queue has room"));
    assert_eq!(count, 1);
}

#[test]
fn req_e30_a_message_is_encoded_for_the_loops_network_and_its_outcome_is_reported() {
    let config = || Config::new(Network::Mainnet).with_magic(Some(*b"TEST"));
    let (mut one, mut two) = (Node::with(config()), Node::with(config()));
    let there = one.dial(two.address);
    let handle = one.reactor.handle();
    let early = answer(&mut one, handle.send_message(there, &Message::GetAddr).expect("the queue has room"));
    assert_eq!(early, Err(RequestError::NotReady));
    until([&mut one, &mut two], "both are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    let sent = answer(&mut one, handle.send_message(there, &Message::GetAddr).expect("the queue has room"));
    assert_eq!(sent, Ok(()));
    let is_message = |seen: &Seen| matches!(seen, Seen::Message(CommandName::GETADDR, payload) if payload.is_empty());
    until([&mut one, &mut two], "the message has arrived", |[_, two]| two.count(is_message) == 1);
}

#[test]
fn a_loop_without_a_manager_refuses_requests_about_bans() {
    let mut node = Node::new();
    let (handle, host) = (node.reactor.handle(), [192, 0, 2, 1].into());
    let ban = handle.ban(host, None).expect("the queue has room");
    assert_eq!(answer(&mut node, ban), Err(RequestError::NoManager));
    let unban = handle.unban(host).expect("the queue has room");
    assert_eq!(answer(&mut node, unban), Err(RequestError::NoManager));
    let bans = handle.bans().expect("the queue has room");
    assert_eq!(answer(&mut node, bans), Err(RequestError::NoManager));
}

#[test]
fn req_e47_a_loop_reports_its_counters() {
    let (mut nodes, [there, _]) = Node::pair();
    nodes[0].act(move |ctx| ctx.close(there, Disconnect::Done));
    let [one, two] = &mut nodes;
    until([one, two], "both links are closed", |nodes| nodes.iter().all(|node| node.reactor.stats().links == 0));
    for (node, dialled) in nodes.iter_mut().zip([1, 0]) {
        let handle = node.reactor.handle();
        let stats = answer(node, handle.stats().expect("the queue has room"));
        let counters = &stats.counters;
        assert_eq!((counters.dialled, counters.accepted), (dialled, 1 - dialled));
        assert_eq!((counters.handshakes, counters.closed, stats.ready), (1, 1, 0));
        assert!(
            counters.bytes_received > 100 && counters.bytes_sent > 100,
            "one direction had fewer bytes than a `version` has"
        );
        assert!(counters.frames_received >= 2, "fewer than two frames were received");
    }
}

#[test]
fn a_handler_can_read_the_clock_during_a_call() {
    let mut node = Node::new();
    let (now, before, after) = node.act(|ctx| {
        let before = ctx.clock();
        std::thread::sleep(Duration::from_millis(2));
        (ctx.now(), before, ctx.clock())
    });
    assert!(now <= before && after.since(before) >= Duration::from_millis(2), "{now:?} {before:?} {after:?}");
}
