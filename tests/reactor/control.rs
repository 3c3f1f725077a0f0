//! Control events: what the handler hears of them, and what subscribers get.

use crate::probe::{ANY_PORT, BareSocket, Node, regtest, until};
use peerloop::api::NextDial;
use peerloop::error::{CloseReason, CommandError, IoStep, LocalCause, Refusal};
use peerloop::peer::{ConnectionState, ConnectionType};
use peerloop::{Config, ControlEvent, Ctx, Handler, Heard, PeerId, Reactor, Subscription};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

/// What the handler of `node` has heard.
fn told(node: &Node) -> &[ControlEvent] {
    &node.reactor.handler().control
}

/// What waits in a subscription that was never slow.
fn drain(subscription: &Subscription<ControlEvent>) -> Vec<ControlEvent> {
    let heard = std::iter::from_fn(|| subscription.try_recv().ok().flatten());
    heard.map(|heard| if let Heard::Item(event) = heard { event } else { panic!("{heard:?}") }).collect()
}

#[test]
fn seed_e34_both_ends_are_told_the_life_of_a_peer_and_subscribers_get_what_the_handler_heard() {
    let (mut one, mut two) = (Node::new(), Node::new());
    let subscriptions = [&one, &two].map(|node| {
        let handle = node.reactor.handle();
        [(), ()].map(|()| handle.subscribe_control_events(100).expect("the queue has room"))
    });
    let address = two.address;
    let there = one.dial(address);
    until([&mut one, &mut two], "both are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    one.act(move |ctx| ctx.close(there, LocalCause::Requested.into()));
    until([&mut one, &mut two], "both are told the end", |nodes| nodes.iter().all(|node| told(node).len() == 3));

    let connection_type = ConnectionType::Outbound;
    let [established, complete, lost] = told(&one) else { panic!("it is told three events") };
    assert_eq!(*established, ControlEvent::ConnectionEstablished { peer: there, address, connection_type });
    assert!(matches!(complete, ControlEvent::HandshakeComplete { peer, address: at, handshake, .. }
            if (*peer, *at) == (there, address) && *handshake > Duration::ZERO));
    let (state, reason) = (ConnectionState::Connected, LocalCause::Requested.into());
    assert_eq!(*lost, ControlEvent::ConnectionLost { peer: there, address, connection_type, state, reason });
    let labels: Vec<_> = told(&two).iter().map(ControlEvent::label).collect();
    assert_eq!(labels, ["connection_established", "handshake_complete", "connection_lost"]);
    for (node, subscriptions) in [&one, &two].into_iter().zip(&subscriptions) {
        subscriptions.iter().for_each(|subscription| assert_eq!(drain(subscription), told(node)));
    }
}

#[test]
fn seed_e34_a_dial_that_comes_to_nothing_has_failed_and_was_never_lost() {
    let mut node = Node::new();
    let listener = TcpListener::bind(ANY_PORT).expect("a loopback port is free");
    let address = listener.local_addr().expect("it is bound");
    let silent = node.dial(address);
    until([&mut node], "it is established", |[node]| told(node).len() == 1);
    drop(listener);
    until([&mut node], "the silent one is gone", |[node]| node.end_of(silent).is_some());
    let refused = node.dial(address);
    until([&mut node], "both are told", |[node]| told(node).len() == 3);
    let expected = [(silent, ConnectionState::AwaitingHandshake), (refused, ConnectionState::Connecting)];
    for (event, (of, how_far)) in told(&node)[1..].iter().zip(expected) {
        match event {
            ControlEvent::ConnectionFailed {
                peer,
                state,
                reason: CloseReason::Network(failure),
                failures,
                next,
                ..
            } => {
                assert_eq!((*peer, *state, *failures, *next), (of, how_far, 1, NextDial::Never));
                if *peer == refused {
                    assert_eq!((failure.step, failure.kind), (IoStep::Connect, ErrorKind::ConnectionRefused));
                }
            }
            ControlEvent::ConnectionFailed { peer, reason: CloseReason::ClosedByPeer, .. } => assert_eq!(*peer, silent),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn who_finds_no_place_is_told_apart_from_who_finds_no_row() {
    let mut node = Node::with(Config { max_inbound: 1, max_links: 2, ..regtest() });
    let mut visitors = Node::new();
    let address = node.address;
    visitors.dial(address);
    until([&mut node, &mut visitors], "the first is ready", |[node, _]| node.ready().len() == 1);
    let _second = BareSocket::connect(address);
    until([&mut node], "the second has a row", |[node]| node.reactor.stats().links == 2);
    let _third = BareSocket::connect(address);
    until([&mut node], "the third is turned away", |[node]| node.reactor.stats().counters.refused == 1);
    let refusal = Refusal::TableFull { links: 2 };
    assert!(
        matches!(told(&node).last(), Some(ControlEvent::InboundRejected { refusal: found, .. }) if *found == refusal)
    );

    let mut node = Node::with(Config { max_inbound: 0, ..regtest() });
    visitors.dial(node.address);
    until([&mut node, &mut visitors], "it is told so", |[node, _]| told(node).len() == 3);
    let [ControlEvent::ConnectionEstablished { peer: established, .. }, rejected, lost] = told(&node) else {
        panic!("{:?}", told(&node))
    };
    assert!(matches!(rejected, ControlEvent::RejectedOverCapacity { peer, .. } if peer == established));
    let over_capacity = CloseReason::Local(LocalCause::OverCapacity);
    assert!(
        matches!(lost, ControlEvent::ConnectionLost { peer, reason, connection_type: ConnectionType::OverCapacity, .. }
        if (peer, *reason) == (established, over_capacity))
    );
}

/// Closes whoever completes a handshake, where it is told so.
#[derive(Default)]
struct Doorman {
    told: Vec<ControlEvent>,
}

impl Handler for Doorman {
    type Command = ();

    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        self.told.push(event.clone());
        if let ControlEvent::HandshakeComplete { peer, .. } = event {
            ctx.abort(*peer, LocalCause::Requested.into());
            assert!(ctx.peer(*peer).is_some(), "its row is freed in a later turn");
        }
    }
}

#[test]
fn a_handler_may_act_on_what_it_is_told_and_hears_of_it_later() {
    let mut doorman = Reactor::new(regtest(), Doorman::default()).expect("the kernel gives a poller");
    let address = doorman.listen(ANY_PORT).expect("a loopback port is free");
    let mut visitor = Node::new();
    let there: PeerId = visitor.dial(address);
    let began = std::time::Instant::now();
    while visitor.end_of(there).is_none() || doorman.handler().told.len() < 3 {
        assert!(began.elapsed() < crate::probe::PATIENCE, "it is never closed");
        doorman.poll_once(Duration::ZERO).expect("the poller works");
        visitor.turn();
    }
    let labels: Vec<_> = doorman.handler().told.iter().map(ControlEvent::label).collect();
    assert_eq!(labels, ["connection_established", "handshake_complete", "connection_lost"]);
}

#[test]
fn seed_e35_a_slow_subscriber_is_told_how_many_it_lost_and_holds_nobody_up() {
    let (mut one, mut two) = (Node::new(), Node::new());
    let slow = two.reactor.handle().subscribe_control_events(1).expect("the queue has room");
    let quick = two.reactor.handle().subscribe_control_events(100).expect("the queue has room");
    let there = one.dial(two.address);
    until([&mut one, &mut two], "both are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    one.act(move |ctx| ctx.close(there, LocalCause::Requested.into()));
    until([&mut one, &mut two], "the end is told", |[_, two]| told(two).len() == 3);
    assert_eq!(slow.try_recv(), Ok(Some(Heard::Lost { count: 2 })));
    assert_eq!(slow.try_recv(), Ok(Some(Heard::Item(told(&two)[2].clone()))));
    assert_eq!(slow.try_recv(), Ok(None));
    assert_eq!(drain(&quick), told(&two));
}

#[test]
fn a_loop_that_ends_ends_its_subscriptions_after_the_last_event() {
    let ([mut one, mut two], _) = Node::pair();
    let subscription = one.reactor.handle().subscribe_control_events(8).expect("the queue has room");
    one.act(|ctx| ctx.stop());
    let began = std::time::Instant::now();
    while one.turn() {
        assert!(began.elapsed() < crate::probe::PATIENCE, "it never ends");
        two.turn();
    }
    assert!(matches!(subscription.recv(), Ok(Heard::Item(ControlEvent::ConnectionLost { .. }))));
    assert_eq!(subscription.recv(), Err(CommandError::Stopped));
}

#[test]
fn a_subscription_to_a_loop_that_never_turned_ends_with_it() {
    let node = Node::new();
    let subscription = node.reactor.handle().subscribe_control_events(8).expect("the queue has room");
    drop(node);
    assert_eq!(subscription.recv(), Err(CommandError::Stopped));
}
