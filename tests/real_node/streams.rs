//! A second connection between two peers, opened by us or by the node.
//!
//! These tests write the messages of the streams on plain connections, without the engine, so that they show the
//! node's rules alone.

use crate::node::Node;
use crate::plain::{Wire, protoconf, version};
use peerloop::protocol::CommandName;
use peerloop::wire::{AssociationId, CreateStream, Message, StreamAck, StreamType};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};

/// Maximum number of polls. Each poll runs `bitcoin-cli`, so all of them together last many seconds.
const MAX_POLLS: usize = 2_000;
const POLICY: &[u8] = b"BlockPriority";

/// Waits until the node sees one peer with two connections. Asserts their types, the stream policy and a ban score
/// of 0.
fn assert_joined(node: &Node) {
    // For a moment, the node lists the second connection as a separate peer.
    let is_joined = |peers: &Value| peers[1].is_null() && !peers[0]["streams"][1].is_null();
    let peers =
        (0..MAX_POLLS).map(|_| node.json(&["getpeerinfo"])).find(is_joined).expect("the node joins the connections");
    let [general, data] = [0, 1].map(|index| &peers[0]["streams"][index]["streamtype"]);
    assert_eq!((general, data), (&json!("GENERAL"), &json!("DATA1")));
    assert_eq!((&peers[0]["streampolicy"], &peers[0]["banscore"]), (&json!("BlockPriority"), &json!(0)));
}

#[test]
fn the_node_accepts_our_second_connection() {
    let Some(node) = Node::start() else { return };
    let association_id = AssociationId::Uuid(std::array::from_fn(|at| 0x10 + at as u8));
    let mut general = Wire::dial(node.address());
    general.say(&version(association_id));
    let Message::Version(theirs) = general.receive_command(CommandName::VERSION) else {
        panic!("the message is not a version")
    };
    assert_eq!(theirs.association_id, Some(association_id), "the node did not answer with our id");
    general.say(&Message::Verack);
    general.say(&protoconf());
    general.receive_command(CommandName::SENDCMPCT);

    let mut data = Wire::dial(node.address());
    let stream_type = StreamType::Data1;
    data.say(&Message::CreateStrm(CreateStream { association_id, stream_type, policy: POLICY.into() }));
    assert_eq!(data.receive(), Message::StreamAck(StreamAck { association_id, stream_type }));
    assert_joined(&node);
    data.say(&Message::Ping { nonce: 7 });
    assert_eq!(data.receive_command(CommandName::PONG), Message::Pong { nonce: 7 });
}

#[test]
fn we_accept_a_second_connection_from_the_node() {
    let Some(node) = Node::start() else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    let address = listener.local_addr().expect("the listener is bound");
    node.cli(&["addnode", &address.to_string(), "onetry"]);
    let mut general = Wire::new(listener.accept().expect("the node dials").0);
    let Message::Version(theirs) = general.receive() else { panic!("the node's first message is not a version") };
    let Some(association_id @ AssociationId::Uuid(_)) = theirs.association_id else {
        panic!("{theirs:?} has no UUID as its association id")
    };
    general.say(&version(association_id));
    general.receive_command(CommandName::VERACK);
    general.say(&Message::Verack);
    general.say(&protoconf());

    let mut data = Wire::new(listener.accept().expect("the node dials again").0);
    let stream_type = StreamType::Data1;
    assert_eq!(
        data.receive(),
        Message::CreateStrm(CreateStream { association_id, stream_type, policy: POLICY.into() })
    );
    data.say(&Message::StreamAck(StreamAck { association_id, stream_type }));
    assert_joined(&node);
}
