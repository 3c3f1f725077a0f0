//! A connection to the node without the engine: it sends only the test's messages.

use peerloop::Network;
use peerloop::protocol::CommandName;
use peerloop::time::UnixTime;
use peerloop::wire::header::checksum;
use peerloop::wire::{AssociationId, Header, Message, MessageRef, NetAddress, Protoconf, Sender, Version};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

const MAGIC: [u8; 4] = Network::Regtest.magic();
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
        Self(socket)
    }

    pub(crate) fn dial(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("the node listens"))
    }

    /// Dials from a local address of the caller's choice.
    pub(crate) fn dial_from(address: SocketAddr, source: IpAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a descriptor is free");
        socket.bind(&SocketAddr::new(source, 0).into()).expect("the address is one of this machine's");
        socket.connect(&address.into()).expect("the node listens");
        Self::new(socket.into())
    }

    /// Reads until the connection ends, and returns whether it ended within a minute.
    pub(crate) fn ends(&mut self) -> bool {
        match self.0.read_to_end(&mut Vec::new()) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    pub(crate) fn say(&mut self, message: &Message) {
        let mut frame = Vec::new();
        message.as_ref().encode_frame(MAGIC, &mut frame);
        self.0.write_all(&frame).expect("the connection is open");
    }

    /// Receives the next message, and checks that this crate encodes it to the same bytes.
    pub(crate) fn receive(&mut self) -> Message {
        let mut header = [0; 24];
        self.0.read_exact(&mut header).expect("the node answers");
        let mut payload = vec![0; Header::decode(&header).payload_len as usize];
        self.0.read_exact(&mut payload).expect("the node answers");
        assert_eq!(header[..4], MAGIC);
        assert_eq!(Header::decode(&header).checksum, Some(checksum(&payload)));
        let message = MessageRef::decode(Header::decode(&header).command, &payload).expect("the message is valid");
        let mut frame = Vec::new();
        message.encode_frame(MAGIC, &mut frame);
        assert_eq!(frame, [&header[..], &payload].concat(), "{message:?} is not encoded as it was received");
        message.into_owned()
    }

    /// Receives messages until one has this command, and returns that message.
    pub(crate) fn receive_command(&mut self, command: CommandName) -> Message {
        loop {
            let message = self.receive();
            if message.as_ref().command() == command {
                return message;
            }
        }
    }
}

pub(crate) fn version(association_id: AssociationId) -> Message {
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

pub(crate) fn protoconf() -> Message {
    let stream_policies = Some(b"BlockPriority,Default".as_slice().into());
    Message::Protoconf(Protoconf { max_recv_payload_bytes: 2_097_152, stream_policies })
}
