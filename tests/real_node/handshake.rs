//! The handshake in both directions, and each side's view of the other afterwards.
//!
//! The node's RPC reports the fields of our `version`. So the tests detect a field in the wrong byte order, even if our
//! decoder has the same error.

use crate::node::Node;
use crate::observer::{Happened, Observer, config};
use peerloop::error::{CloseReason, IoStep, WireError};
use peerloop::peer::{ConnectionState, ConnectionType};
use peerloop::wire::{AssociationId, NetAddress};
use peerloop::{Config, Network, PeerId};
use serde_json::{Value, json};

/// Returns a configuration in which every number changes if its bytes are reversed.
fn unmistakable() -> Config {
    config()
        .with_protocol_version(70_015)
        .with_services(0x0102_0304_0506_0721)
        .with_user_agent("/peerloop:0.1.0(real; node)/".to_owned())
        .with_start_height(0x0012_d687)
        .with_relay(false)
}

/// Asserts that the node's view of us matches [`unmistakable`]. `has_id` states whether the node must have an
/// association id for us.
fn assert_the_node_knows_us(seen: &Value, has_id: bool) {
    let claimed = unmistakable();
    assert_eq!(seen["version"], json!(claimed.protocol_version));
    assert_eq!(seen["services"], json!(format!("{:016x}", claimed.services)));
    assert_eq!(seen["subver"], json!(claimed.user_agent));
    assert_eq!(seen["startingheight"], json!(claimed.start_height));
    assert_eq!(seen["relaytxes"], json!(claimed.relay));
    assert_eq!(seen["timeoffset"].as_i64().map(|secs| secs.abs() <= 5), Some(true), "our time is wrong: {seen}");
    assert_eq!(seen["banscore"], json!(0), "the node did not accept all that we sent");
    assert_eq!(seen["associd"] != json!("Not-Set"), has_id, "the node's association id for us: {seen}");
}

/// Asserts that we have the node's whole `version`, and that all four steps of the handshake are recorded.
fn assert_we_know_the_node(observer: &mut Observer, peer: PeerId, height: i32) {
    let version = observer.version(peer);
    assert_eq!(version.user_agent.as_deref(), Some(b"/Bitcoin SV:1.0.13/".as_slice()));
    assert_eq!(version.protocol_version, 70_016);
    assert_eq!(version.services, 0x21);
    assert_eq!(version.start_height, Some(height));
    assert_eq!(version.relay, Some(true));
    let sender = version.sender.expect("the node's version is complete");
    assert_eq!(sender.address, NetAddress { services: 0x21, ..NetAddress::UNSPECIFIED });
    assert_eq!(version.receiver, NetAddress::UNSPECIFIED, "the node sent an address for us, although we use loopback");
    let marks = observer.ask(move |ctx| {
        let handshake = ctx.peer(peer).expect("the peer is connected").connection().handshake();
        [
            handshake.version_sent(),
            handshake.version_received(),
            handshake.verack_sent(),
            handshake.verack_received(),
            handshake.is_complete(),
        ]
    });
    assert_eq!(marks, [true; 5]);
    let clock = observer.ask(|ctx| ctx.unix_time());
    assert!(clock.as_secs().abs_diff(version.time.as_secs()) < 100, "{:?} is not close to {clock:?}", version.time);
}

fn connection_type(observer: &mut Observer, peer: PeerId) -> ConnectionType {
    observer.ask(move |ctx| ctx.peer(peer).expect("the peer is connected").connection().connection_type())
}

#[test]
fn req_e52_when_we_dial_the_node_each_side_has_the_others_version() {
    let Some(node) = Node::start() else { return };
    node.cli(&["generate", "3"]);
    let mut observer = Observer::new(unmistakable());
    let peer = observer.ready(node.address());

    assert_we_know_the_node(&mut observer, peer, 3);
    assert_eq!(connection_type(&mut observer, peer), ConnectionType::Outbound);
    assert_eq!(
        observer.version(peer).association_id,
        Some(AssociationId::Empty),
        "the node did not return our empty association id"
    );
    let seen = node.peer_once(|_| true);
    assert_the_node_knows_us(&seen, false);
    assert_eq!(seen["inbound"], json!(true));
}

#[test]
fn req_e52_when_the_node_dials_us_each_side_has_the_others_version() {
    let Some(node) = Node::start() else { return };
    node.cli(&["generate", "2"]);
    let mut observer = Observer::new(unmistakable());
    let address = observer.listen().to_string();
    node.cli(&["addnode", &address, "onetry"]);
    let peer = observer.accepted();
    observer.until_ready(peer);

    assert_we_know_the_node(&mut observer, peer, 2);
    assert_eq!(connection_type(&mut observer, peer), ConnectionType::Inbound);
    let association_id = observer.version(peer).association_id;
    assert!(
        matches!(association_id, Some(AssociationId::Uuid(_))),
        "the node did not offer further streams: {association_id:?}"
    );
    observer.until("second stream", peer, |happened| matches!(happened, Happened::StreamOpened(..)));
    let has_both = |peer: &Value| !peer["streams"][1].is_null();
    let seen = node.peer_once(|peer| peer["bytesrecv_per_msg"]["protoconf"] == json!(51) && has_both(peer));
    assert_the_node_knows_us(&seen, true);
    assert_eq!(seen["inbound"], json!(false));
    assert_eq!(seen["addr"], json!(address));
    let came_from = observer.ask(move |ctx| ctx.peer(peer).expect("the peer is connected").address());
    assert_eq!(
        seen["addrlocal"],
        json!(came_from.to_string()),
        "our version did not contain the address at which we see the node"
    );
    assert_eq!(observer.ask(|ctx| ctx.peers().count()), 1, "the second stream counts as a peer");
}

#[test]
fn req_e05_our_messages_arrive_in_the_order_that_the_node_expects() {
    let Some(node) = Node::start_with(&["-debug=net"]) else { return };
    let mut observer = Observer::new(config());
    let address = observer.listen().to_string();
    observer.ready(node.address());
    node.cli(&["addnode", &address, "onetry"]);
    let peer = observer.accepted();
    observer.until_ready(peer);

    for number in [0, 1] {
        let last = format!("received: sendheaders (0 bytes) peer={number}");
        let log = node.log_once_it_says(&last);
        let of_peer = format!("peer={number}");
        let received = log.lines().filter(|line| line.ends_with(&of_peer));
        let commands: Vec<_> = received
            .filter_map(|line| line.split_once("received: "))
            .map(|(_, rest)| rest.split(' ').next().expect("a line has a first word"))
            .filter(|command| *command != "pong")
            .collect();
        assert_eq!(commands, ["version", "verack", "protoconf", "sendheaders"], "from {of_peer}");
    }
}

#[test]
fn req_e09_the_magic_is_sent_in_wire_order_and_not_reversed() {
    let Some(node) = Node::start() else { return };
    let mut reversed = Network::Regtest.magic();
    reversed.reverse();
    let mut observer = Observer::new(config().with_magic(Some(reversed)));
    let peer = observer.connect(node.address());
    let (reason, state) = observer.closed(peer);
    assert_eq!(state, ConnectionState::AwaitingHandshake);
    assert!(is_end_or_reset(reason), "{reason:?}");
    assert_eq!(
        node.json(&["listbanned"])[0]["address"],
        json!("127.0.0.1/32"),
        "the node did not ban our host for the wrong magic"
    );

    node.cli(&["clearbanned"]);
    let mut observer = Observer::new(config());
    observer.ready(node.address());
}

#[test]
fn a_connection_from_a_node_of_another_network_is_closed_and_that_network_is_reported() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config().with_network(Network::Mainnet));
    let address = observer.listen().to_string();
    node.cli(&["addnode", &address, "onetry"]);
    let peer = observer.accepted();
    let (reason, state) = observer.closed(peer);
    assert_eq!(state, ConnectionState::AwaitingHandshake);
    let expected = WireError::BadMagic { found: Network::Regtest.magic(), network: Some(Network::Regtest) };
    assert_eq!(reason, CloseReason::Wire(expected));
}

#[test]
fn req_e10_the_nodes_address_and_port_arrive_unchanged() {
    let Some(node) = Node::start_with(&["-debug=net"]) else { return };
    let mut observer = Observer::new(config());
    observer.ready(node.address());
    assert_eq!(node.peer_once(|_| true)["addrlocal"], json!(node.address().to_string()));
    node.log_once_it_says(&format!("blocks=0, us={}, assocID=Not-Set", node.address()));
}

/// Returns whether an open connection was closed by the other side or ended by a network failure other than a shortage.
/// A node that closes with unread input causes a reset.
pub(crate) fn is_end_or_reset(reason: CloseReason) -> bool {
    match reason {
        CloseReason::ClosedByPeer => true,
        CloseReason::Network(failure) => failure.step != IoStep::Connect && failure.shortage().is_none(),
        _ => false,
    }
}
