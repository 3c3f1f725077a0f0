//! Connections that the node or we close, and the close reason that our loop reports for each.

use crate::handshake::is_end_or_reset;
use crate::node::Node;
use crate::observer::{Happened, Observer, config};
use peerloop::config::VersionRules;
use peerloop::error::{CloseReason, Incompatibility, LocalCause, Side};
use peerloop::peer::ConnectionState;
use peerloop::wire::{Reject, RejectCode};
use serde_json::json;

#[test]
fn a_version_that_the_node_rejects_is_reported_with_the_nodes_reason() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config().with_protocol_version(31_799));
    let peer = observer.connect(node.address());
    assert_eq!(observer.closed(peer), (CloseReason::RejectedByPeer(0x11), ConnectionState::AwaitingHandshake));
    let reject = Reject {
        message: b"version".as_slice().into(),
        code: RejectCode::OBSOLETE,
        reason: b"Version must be 31800 or greater".as_slice().into(),
        hash: None,
    };
    let [opened, rejected, _closed] = observer.happened(peer).try_into().expect("there are three events");
    assert_eq!((opened, rejected), (Happened::Opened { accepted: false }, Happened::Rejected(reject)));

    let mut observer = Observer::new(config().with_protocol_version(31_800));
    let peer = observer.connect(node.address());
    observer.until("completed handshake", peer, |happened| *happened == Happened::Ready);
}

#[test]
fn a_node_that_bans_our_user_agent_closes_without_a_reject() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config().with_user_agent("/cash:1/".to_owned()));
    let peer = observer.connect(node.address());
    let (reason, state) = observer.closed(peer);
    assert_eq!(state, ConnectionState::AwaitingHandshake);
    assert!(is_end_or_reset(reason), "{reason:?}");
    assert_eq!(observer.happened(peer).len(), 2, "the peer's events are not just its opening and its close");
    assert_eq!(reason.side(), Side::Remote);
}

#[test]
fn req_e19_a_node_that_stops_is_a_transient_failure() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config());
    let peer = observer.ready(node.address());
    node.cli(&["stop"]);
    let (reason, state) = observer.closed(peer);
    assert_eq!(state, ConnectionState::Connected);
    assert!(is_end_or_reset(reason) && reason.is_transient(), "{reason:?}");
    assert_eq!(observer.ask(|ctx| (ctx.ready_count(), ctx.peers().count())), (0, 0));
}

#[test]
fn a_killed_node_is_reported_as_a_closed_connection() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config());
    let address = node.address();
    let peer = observer.ready(address);
    drop(node);
    let (reason, state) = observer.closed(peer);
    assert_eq!(state, ConnectionState::Connected);
    assert!(is_end_or_reset(reason), "{reason:?}");

    let again = observer.connect(address);
    let (reason, state) = observer.closed(again);
    assert_eq!((reason.label(), state), ("refused", ConnectionState::Connecting));
    assert_eq!(observer.happened(again).len(), 1, "the failed dial has an event other than its close");
}

#[test]
fn a_reject_followed_by_other_messages_is_not_the_close_reason() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config());
    let peer = observer.ready(node.address());
    observer.send(peer, "ping", vec![0; 3]);
    let reject = observer.until("reject", peer, |happened| matches!(happened, Happened::Rejected(_)));
    let Happened::Rejected(reject) = reject else { panic!("{reject:?} is not a reject") };
    assert_eq!((&*reject.message, reject.code), (b"ping".as_slice(), RejectCode::MALFORMED));
    observer.ask(move |ctx| ctx.ping(peer, ctx.now())).expect("the peer is still ready after its reject");
    observer.until("pong", peer, |happened| matches!(happened, Happened::Pong { .. }));

    node.cli(&["disconnectnode", node.peer_once(|_| true)["addr"].as_str().expect("the peer has an address")]);
    let (reason, _) = observer.closed(peer);
    assert!(is_end_or_reset(reason) && reason.is_transient(), "{reason:?}");
}

#[test]
fn only_the_peer_that_the_node_disconnects_is_closed() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config());
    let staying = observer.ready(node.address());
    let going = observer.ready(node.address());
    let peers = node.json(&["getpeerinfo"]);
    node.cli(&["disconnectnode", peers[1]["addr"].as_str().expect("the peer has an address")]);
    let (reason, state) = observer.closed(going);
    assert_eq!(state, ConnectionState::Connected);
    assert!(is_end_or_reset(reason), "{reason:?}");

    let nonce = observer.ask(move |ctx| ctx.ping(staying, ctx.now())).expect("the peer is ready");
    observer.until("pong", staying, |happened| matches!(*happened, Happened::Pong { nonce: n, .. } if n == nonce));
    assert!(
        observer.ask(move |ctx| ctx.ping(going, ctx.now())).is_err(),
        "a ping with the id of a closed peer was accepted"
    );
}

#[test]
fn a_node_at_capacity_closes_the_connection_before_the_handshake_is_complete() {
    // The node reserves nine of its slots for peers that it dials itself.
    let Some(node) = Node::start_with(&["-maxconnections=10"]) else { return };
    let mut observer = Observer::new(config());
    let first = observer.ready(node.address());
    let second = observer.connect(node.address());
    let (reason, state) = observer.closed(second);
    assert_eq!(state, ConnectionState::AwaitingHandshake);
    assert!(is_end_or_reset(reason), "{reason:?}");
    assert!(!observer.happened(second).contains(&Happened::Ready));
    assert!(
        observer.ask(move |ctx| ctx.peer(first).is_some_and(|view| view.is_ready())),
        "the first connection is no longer ready"
    );
}

#[test]
fn req_e08_we_close_the_connection_to_a_node_whose_user_agent_is_banned() {
    let Some(node) = Node::start() else { return };
    let version_rules = VersionRules::default().with_banned_agents(vec!["/bitcoin sv:1.0.*/".to_owned()]);
    let mut observer = Observer::new(config().with_version_rules(version_rules));
    let peer = observer.connect(node.address());
    let banned = CloseReason::Incompatible(Incompatibility::BannedUserAgent);
    assert_eq!(observer.closed(peer), (banned, ConnectionState::AwaitingHandshake));
}

#[test]
fn req_e24_a_node_beyond_our_maximum_is_rejected_after_its_handshake() {
    let Some(node) = Node::start_with(&["-debug=net"]) else { return };
    let mut observer = Observer::new(config().with_max_inbound(0));
    let address = observer.listen().to_string();
    node.cli(&["addnode", &address, "onetry"]);
    let peer = observer.accepted();
    let over_capacity = CloseReason::Local(LocalCause::OverCapacity);
    assert_eq!(observer.closed(peer), (over_capacity, ConnectionState::AwaitingHandshake));
    assert!(!observer.happened(peer).contains(&Happened::Ready), "the rejected node was reported ready");
    // A node drops unread input when the connection closes, so our reject may be missing from its log.
    let log = node.log_once_it_says("Removing peer=0");
    assert!(log.contains("stream socket gracefully closed by peer=0"), "the log shows no graceful close: {log}");
    assert_eq!(node.json(&["getconnectioncount"]), json!(0));
}
