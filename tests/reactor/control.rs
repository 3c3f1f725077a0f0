//! Control events, as the handler and the subscribers receive them.

use crate::probe::{ANY_PORT, BareSocket, Node, regtest, until};
use peerloop::api::NextDial;
use peerloop::error::{CloseReason, Disconnect, IoStep, LocalCause, Refusal, RequestError};
use peerloop::peer::{ConnectionState, ConnectionType};
use peerloop::{ControlEvent, Ctx, Handler, PeerId, Reactor, Received, Subscription};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

/// Returns the control events that the handler of `node` has received.
fn events_of(node: &Node) -> &[ControlEvent] {
    &node.reactor.handler().control
}

/// Returns the queued events of a subscription. Panics if the subscription has lagged.
fn drain(subscription: &Subscription<ControlEvent>) -> Vec<ControlEvent> {
    let received = std::iter::from_fn(|| subscription.try_recv().ok().flatten());
    received.map(|received| if let Received::Item(event) = received { event } else { panic!("{received:?}") }).collect()
}

#[test]
fn req_e34_at_both_ends_the_subscribers_receive_the_same_events_as_the_handler() {
    let (mut one, mut two) = (Node::new(), Node::new());
    let subscriptions = [&one, &two].map(|node| {
        let handle = node.reactor.handle();
        [(), ()].map(|()| handle.subscribe_control_events(100).expect("the queue has room"))
    });
    let address = two.address;
    let there = one.dial(address);
    until([&mut one, &mut two], "both are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    one.act(move |ctx| ctx.close(there, Disconnect::Done));
    until([&mut one, &mut two], "both report the close", |nodes| nodes.iter().all(|node| events_of(node).len() == 3));

    let connection_type = ConnectionType::Outbound;
    let [established, complete, lost] = events_of(&one) else { panic!("there are not three events") };
    assert_eq!(*established, ControlEvent::ConnectionEstablished { peer: there, address, connection_type });
    assert!(matches!(complete, ControlEvent::HandshakeComplete { peer, address: at, handshake, .. }
            if (*peer, *at) == (there, address) && *handshake > Duration::ZERO));
    let (state, reason) = (ConnectionState::Connected, Disconnect::Done.into());
    assert_eq!(*lost, ControlEvent::ConnectionLost { peer: there, address, connection_type, state, reason });
    let labels: Vec<_> = events_of(&two).iter().map(ControlEvent::label).collect();
    assert_eq!(labels, ["connection_established", "handshake_complete", "connection_lost"]);
    for (node, subscriptions) in [&one, &two].into_iter().zip(&subscriptions) {
        subscriptions.iter().for_each(|subscription| assert_eq!(drain(subscription), events_of(node)));
    }
}

#[test]
fn req_e34_an_unsuccessful_dial_is_reported_as_failed_and_not_as_lost() {
    let mut node = Node::new();
    let listener = TcpListener::bind(ANY_PORT).expect("a loopback port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let silent = node.dial(address);
    until([&mut node], "the connection is established", |[node]| events_of(node).len() == 1);
    drop(listener);
    until([&mut node], "the silent peer is closed", |[node]| node.end_of(silent).is_some());
    let refused = node.dial(address);
    until([&mut node], "both failures are reported", |[node]| events_of(node).len() == 3);
    let expected = [(silent, ConnectionState::AwaitingHandshake), (refused, ConnectionState::Connecting)];
    for (event, (of, how_far)) in events_of(&node)[1..].iter().zip(expected) {
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
fn a_peer_without_a_slot_is_reported_differently_from_a_peer_without_a_row() {
    let mut node = Node::with(regtest().with_max_inbound(1).with_max_links(2));
    let mut visitors = Node::new();
    let address = node.address;
    visitors.dial(address);
    until([&mut node, &mut visitors], "the first is ready", |[node, _]| node.ready().len() == 1);
    let _second = BareSocket::connect(address);
    until([&mut node], "the second has a row", |[node]| node.reactor.stats().links == 2);
    let _third = BareSocket::connect(address);
    until([&mut node], "the third is refused", |[node]| node.reactor.stats().counters.refused == 1);
    let refusal = Refusal::TableFull { links: 2 };
    let last = events_of(&node).last();
    assert!(matches!(last, Some(ControlEvent::InboundRejected { refusal: found, .. }) if *found == refusal));

    let mut node = Node::with(regtest().with_max_inbound(0));
    visitors.dial(node.address);
    until([&mut node, &mut visitors], "the visitor is rejected", |[node, _]| events_of(node).len() == 3);
    let [ControlEvent::ConnectionEstablished { peer: established, .. }, rejected, lost] = events_of(&node) else {
        panic!("{:?}", events_of(&node))
    };
    assert!(matches!(rejected, ControlEvent::RejectedOverCapacity { peer, .. } if peer == established));
    let over_capacity = CloseReason::Local(LocalCause::OverCapacity);
    assert!(
        matches!(lost, ControlEvent::ConnectionLost { peer, reason, connection_type: ConnectionType::OverCapacity, .. }
        if (peer, *reason) == (established, over_capacity))
    );
}

/// A handler that aborts each peer as soon as its handshake is reported complete.
#[derive(Default)]
struct Doorman {
    events: Vec<ControlEvent>,
}

impl Handler for Doorman {
    type Request = ();

    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        self.events.push(event.clone());
        if let ControlEvent::HandshakeComplete { peer, .. } = event {
            ctx.abort(*peer, Disconnect::Done);
            assert!(ctx.peer(*peer).is_some(), "the peer's row was freed within the callback");
        }
    }
}

#[test]
fn a_handler_that_aborts_a_peer_while_handling_an_event_receives_the_close_later() {
    let mut doorman = Reactor::new(regtest(), Doorman::default()).expect("the kernel provides a poller");
    let address = doorman.listen(ANY_PORT).expect("a loopback port is free");
    let mut visitor = Node::new();
    let there: PeerId = visitor.dial(address);
    let began = std::time::Instant::now();
    while visitor.end_of(there).is_none() || doorman.handler().events.len() < 3 {
        assert!(began.elapsed() < crate::probe::PATIENCE, "the close was not reported on both sides in time");
        doorman.poll_once(Duration::ZERO).expect("the poller works");
        visitor.turn();
    }
    let labels: Vec<_> = doorman.handler().events.iter().map(ControlEvent::label).collect();
    assert_eq!(labels, ["connection_established", "handshake_complete", "connection_lost"]);
}

#[test]
fn req_e35_a_slow_subscriber_learns_how_many_events_it_lost_and_delays_no_other_subscriber() {
    let (mut one, mut two) = (Node::new(), Node::new());
    let slow = two.reactor.handle().subscribe_control_events(1).expect("the queue has room");
    let quick = two.reactor.handle().subscribe_control_events(100).expect("the queue has room");
    let there = one.dial(two.address);
    until([&mut one, &mut two], "both are ready", |nodes| nodes.iter().all(|node| node.ready().len() == 1));
    one.act(move |ctx| ctx.close(there, Disconnect::Done));
    until([&mut one, &mut two], "the close is reported", |[_, two]| events_of(two).len() == 3);
    assert_eq!(slow.try_recv(), Ok(Some(Received::Lagged { count: 2 })));
    assert_eq!(slow.try_recv(), Ok(Some(Received::Item(events_of(&two)[2].clone()))));
    assert_eq!(slow.try_recv(), Ok(None));
    assert_eq!(drain(&quick), events_of(&two));
}

#[test]
fn a_loop_that_stops_ends_its_subscriptions_after_the_last_event() {
    let ([mut one, mut two], _) = Node::pair();
    let subscription = one.reactor.handle().subscribe_control_events(8).expect("the queue has room");
    one.act(|ctx| ctx.stop());
    let began = std::time::Instant::now();
    while one.turn() {
        assert!(began.elapsed() < crate::probe::PATIENCE, "the loop did not stop in time");
        two.turn();
    }
    assert!(matches!(subscription.recv(), Ok(Received::Item(ControlEvent::ConnectionLost { .. }))));
    assert_eq!(subscription.recv(), Err(RequestError::Stopped));
}

#[test]
fn a_subscription_ends_when_a_loop_that_never_ran_is_dropped() {
    let node = Node::new();
    let subscription = node.reactor.handle().subscribe_control_events(8).expect("the queue has room");
    drop(node);
    assert_eq!(subscription.recv(), Err(RequestError::Stopped));
}
