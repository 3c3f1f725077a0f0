//! A second connection of one peer, asked for by either side: what opens it and what accepts it.
//!
//! The engine keeps one connection for each peer, so these speak to the node over plain sockets, in frames that we
//! write and read.

use crate::node::Node;
use peerloop::Network;
use peerloop::protocol::CommandName;
use peerloop::time::UnixTime;
use peerloop::wire::header::checksum;
use peerloop::wire::{
    AssociationId, CreateStream, Header, Message, MessageRef, NetAddress, Protoconf, Sender, StreamAck, StreamType,
    Version,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const MAGIC: [u8; 4] = Network::Regtest.magic();
const PATIENCE: Duration = Duration::from_secs(60);
/// Asking the node so often takes many seconds.
const POLLS_MAX: usize = 2_000;
const POLICY: &[u8] = b"BlockPriority";

/// One connection.
struct Wire(TcpStream);

impl Wire {
    fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        Self(socket)
    }

    fn dial(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("the node listens"))
    }

    fn say(&mut self, message: &Message) {
        let mut frame = Vec::new();
        message.as_ref().encode_frame(MAGIC, &mut frame);
        self.0.write_all(&frame).expect("the node listens");
    }

    /// The next message, which we must be able to write as it came.
    fn hear(&mut self) -> Message {
        let mut header = [0; 24];
        self.0.read_exact(&mut header).expect("the node speaks");
        let mut payload = vec![0; Header::decode(&header).payload_len as usize];
        self.0.read_exact(&mut payload).expect("the node speaks");
        assert_eq!(header[..4], MAGIC);
        assert_eq!(Header::decode(&header).checksum, Some(checksum(&payload)));
        let message = MessageRef::decode(Header::decode(&header).command, &payload).expect("it can be read");
        let mut frame = Vec::new();
        message.encode_frame(MAGIC, &mut frame);
        assert_eq!(frame, [&header[..], &payload].concat(), "{message:?} is written as it was read");
        message.into_owned()
    }

    /// The next message of this command.
    fn hear_of(&mut self, command: CommandName) -> Message {
        loop {
            let message = self.hear();
            if message.as_ref().command() == command {
                return message;
            }
        }
    }
}

fn version(association_id: AssociationId) -> Message {
    Message::Version(Box::new(Version {
        protocol_version: 70_016,
        services: 0,
        time: UnixTime::from_secs(1_700_000_000),
        receiver: NetAddress::UNSPECIFIED,
        sender: Some(Sender { address: NetAddress::UNSPECIFIED, nonce: 0x5eed }),
        user_agent: Some(b"/peerloop/".as_slice().into()),
        start_height: Some(0),
        relay: Some(true),
        association_id: Some(association_id),
    }))
}

fn protoconf() -> Message {
    let stream_policies = Some(b"BlockPriority,Default".as_slice().into());
    Message::Protoconf(Protoconf { max_recv_payload_bytes: 2_097_152, stream_policies })
}

/// Waits until the node sees one peer with two connections.
fn assert_joined(node: &Node) {
    // For a moment, the second one is a peer of its own.
    let is_joined = |peers: &Value| peers[1].is_null() && !peers[0]["streams"][1].is_null();
    let peers = (0..POLLS_MAX).map(|_| node.json(&["getpeerinfo"])).find(is_joined).expect("they become one peer");
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
    let Message::Version(theirs) = general.hear_of(CommandName::VERSION) else { panic!("it is a version") };
    assert_eq!(theirs.association_id, Some(association_id), "it says ours back");
    general.say(&Message::Verack);
    general.say(&protoconf());
    general.hear_of(CommandName::SENDCMPCT);

    let mut data = Wire::dial(node.address());
    let stream_type = StreamType::Data1;
    data.say(&Message::CreateStrm(CreateStream { association_id, stream_type, policy: POLICY.into() }));
    assert_eq!(data.hear(), Message::StreamAck(StreamAck { association_id, stream_type }));
    assert_joined(&node);
    data.say(&Message::Ping { nonce: 7 });
    assert_eq!(data.hear_of(CommandName::PONG), Message::Pong { nonce: 7 });
}

#[test]
fn we_accept_a_second_connection_of_the_node() {
    let Some(node) = Node::start() else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    let address = listener.local_addr().expect("it is bound");
    node.cli(&["addnode", &address.to_string(), "onetry"]);
    let mut general = Wire::new(listener.accept().expect("the node dials").0);
    let Message::Version(theirs) = general.hear() else { panic!("it begins with its version") };
    let Some(association_id @ AssociationId::Uuid(_)) = theirs.association_id else {
        panic!("{theirs:?} names no association")
    };
    general.say(&version(association_id));
    general.hear_of(CommandName::VERACK);
    general.say(&Message::Verack);
    general.say(&protoconf());

    let mut data = Wire::new(listener.accept().expect("the node dials again").0);
    let stream_type = StreamType::Data1;
    assert_eq!(data.hear(), Message::CreateStrm(CreateStream { association_id, stream_type, policy: POLICY.into() }));
    data.say(&Message::StreamAck(StreamAck { association_id, stream_type }));
    assert_joined(&node);
}
