//! Known frames decode to known fields, and those fields encode to the same bytes.

use peerloop::Network;
use peerloop::protocol::CommandName;
use peerloop::time::UnixTime;
use peerloop::wire::header::checksum;
use peerloop::wire::{
    AssociationId, Header, Message, MessageRef, NetAddress, Protoconf, Reject, RejectCode, Sender, Version, put_frame,
};
use peerloop_testkit::bytes::hex;
use peerloop_testkit::vectors::{self, COMPUTED, RECORDED};

pub(crate) const MAIN: [u8; 4] = [0xe3, 0xe1, 0xf3, 0xe8];
pub(crate) const REGTEST: [u8; 4] = [0xda, 0xb5, 0xbf, 0xfa];
/// The id of the genesis block's coinbase transaction, in wire order.
const GENESIS_COINBASE: [u8; 32] = [
    0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76, 0x8f, 0x61, 0x7f, 0xc8, 0x1b,
    0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa, 0x4b, 0x1e, 0x5e, 0x4a,
];
/// The id of the transaction that a live node rejected, in wire order.
const LOOSE_COINBASE: [u8; 32] = [
    0xab, 0x52, 0xcc, 0x1d, 0x2e, 0x72, 0x32, 0xf1, 0x9d, 0x5a, 0x34, 0x34, 0x5e, 0xd0, 0x08, 0xb8, 0x56, 0x3f, 0xb4,
    0x57, 0x0c, 0xc8, 0x85, 0x45, 0x78, 0x1a, 0x36, 0x85, 0x37, 0x7e, 0x45, 0x6a,
];

/// Returns the header of `frame`. Asserts that its magic is `magic`, and that its length and checksum match the
/// payload.
fn header_of(frame: &[u8], magic: [u8; 4]) -> Header {
    assert_eq!(frame[..4], magic);
    let header = Header::decode(frame[..24].try_into().expect("the frame has a header"));
    assert_eq!(header.payload_len, frame.len() as u64 - 24, "{:?}", header.command);
    assert_eq!(header.checksum, Some(checksum(&frame[24..])), "{:?}", header.command);
    header
}

/// Asserts that `text`, a frame in hexadecimal, decodes to `message`, and that `message` encodes to the same frame.
pub(crate) fn assert_same(text: &str, magic: [u8; 4], command: &str, message: Message) {
    let frame = hex(text);
    let header = header_of(&frame, magic);
    assert_eq!(header.command, CommandName::new(command));
    let decoded = MessageRef::decode(header.command, &frame[24..]).expect(command);
    assert_eq!(decoded, message.as_ref());
    assert_eq!(decoded.command(), header.command);
    assert_eq!(decoded.into_owned(), message);

    let mut payload = Vec::new();
    message.as_ref().encode_payload(&mut payload);
    assert_eq!(payload, frame[24..]);
    let mut encoded = Vec::new();
    message.as_ref().encode_frame(magic, &mut encoded);
    assert_eq!(encoded, frame);
    let mut put = Vec::new();
    put_frame(magic, header.command, &payload, &mut put);
    assert_eq!(put, frame);
}

fn example_version(association_id: AssociationId) -> Version {
    Version {
        protocol_version: 70_016,
        services: 0x21,
        time: UnixTime::from_secs(1_700_000_000),
        receiver: NetAddress::UNSPECIFIED,
        sender: Some(Sender {
            address: NetAddress { services: 0x21, ip: [0; 16], port: 0 },
            nonce: 0x0807_0605_0403_0201,
        }),
        user_agent: Some(Box::from(&b"/example:0.1/"[..])),
        start_height: Some(800_000),
        relay: Some(true),
        association_id: Some(association_id),
    }
}

fn node_version(association_id: AssociationId) -> Version {
    Version {
        protocol_version: 70_016,
        services: 0x21,
        time: UnixTime::from_secs(0x6b02_98ff),
        receiver: NetAddress::UNSPECIFIED,
        sender: Some(Sender {
            address: NetAddress { services: 0x21, ip: [0; 16], port: 0 },
            nonce: 0x8b03_dc8b_a931_f2b1,
        }),
        user_agent: Some(Box::from(&b"/Bitcoin SV:1.0.13/"[..])),
        start_height: Some(0),
        relay: Some(true),
        association_id: Some(association_id),
    }
}

fn reject(message: &[u8], code: RejectCode, reason: &[u8], hash: Option<[u8; 32]>) -> Message {
    Message::Reject(Reject { message: message.into(), code, reason: reason.into(), hash })
}

#[test]
fn req_e09_magics_are_in_wire_order() {
    assert_eq!(Network::Mainnet.magic(), MAIN);
    assert_eq!(Network::Testnet.magic(), [0xf4, 0xe5, 0xf3, 0xf4]);
    assert_eq!(Network::Stn.magic(), [0xfb, 0xce, 0xc4, 0xf9]);
    assert_eq!(Network::Regtest.magic(), REGTEST);
}

#[test]
fn req_e42_each_network_has_its_port_and_its_name_parses_back() {
    let networks = [Network::Mainnet, Network::Testnet, Network::Stn, Network::Regtest];
    assert_eq!(networks.map(Network::default_port), [8_333, 18_333, 9_333, 18_444]);
    assert_eq!(networks, Network::ALL);
    for network in Network::ALL {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
}

#[test]
fn req_e10_port_8333_is_written_as_20_8d() {
    let version = Version {
        receiver: NetAddress::from_socket(0x21, "1.2.3.4:8333".parse().expect("the string is an address")),
        ..example_version(AssociationId::Empty)
    };
    let mut payload = Vec::new();
    version.encode(&mut payload);
    let address = hex("210000000000000000000000000000000000ffff01020304208d");
    assert_eq!(payload[20..46], address, "bytes 20 to 45 are not the receiver's encoded address");
    assert_eq!(Version::decode(&payload).map(|version| version.receiver.port), Ok(8_333));
}

#[test]
fn req_e48_versions_decode_and_encode_exactly() {
    let uuid: [u8; 16] = std::array::from_fn(|at| 0x10 + at as u8);
    for (frame, association_id) in [
        (vectors::VERSION_WITH_ASSOCIATION, AssociationId::Uuid(uuid)),
        (vectors::VERSION_WITH_EMPTY_ASSOCIATION, AssociationId::Empty),
    ] {
        assert_same(frame, MAIN, "version", Message::Version(Box::new(example_version(association_id))));
    }
    let message = Message::Version(Box::new(node_version(AssociationId::Empty)));
    assert_same(vectors::NODE_VERSION, REGTEST, "version", message);
}

#[test]
fn the_nodes_version_with_an_association_id_has_123_bytes() {
    let mut expected = hex(vectors::NODE_VERSION).split_off(24);
    assert_eq!(expected.pop(), Some(0), "the recorded id is not empty");
    expected.extend(hex("1100101112131415161718191a1b1c1d1e1f"));
    assert_eq!(expected.len(), 123);
    let uuid: [u8; 16] = std::array::from_fn(|at| 0x10 + at as u8);
    let version = node_version(AssociationId::Uuid(uuid));
    assert_eq!(Version::decode(&expected), Ok(version.clone()));
    let mut encoded = Vec::new();
    version.encode(&mut encoded);
    assert_eq!(encoded, expected);
}

#[test]
fn messages_without_a_payload_decode_and_encode_exactly() {
    assert_same(vectors::VERACK, MAIN, "verack", Message::Verack);
    assert_same(vectors::NODE_VERACK, REGTEST, "verack", Message::Verack);
    assert_same(vectors::SENDHEADERS, MAIN, "sendheaders", Message::SendHeaders);
    assert_same(vectors::NODE_SENDHEADERS, REGTEST, "sendheaders", Message::SendHeaders);
}

#[test]
fn pings_and_pongs_decode_and_encode_exactly() {
    assert_same(vectors::PING, MAIN, "ping", Message::Ping { nonce: 0x0807_0605_0403_0201 });
    assert_same(vectors::PONG, MAIN, "pong", Message::Pong { nonce: 0x0807_0605_0403_0201 });
    assert_same(vectors::NODE_PING, REGTEST, "ping", Message::Ping { nonce: 0x845a_4c5c_9a25_78ac });
}

#[test]
fn protoconfs_decode_and_encode_exactly() {
    let policies = Protoconf {
        max_recv_payload_bytes: 2_097_152,
        stream_policies: Some(Box::from(&b"BlockPriority,Default"[..])),
    };
    assert_same(vectors::PROTOCONF_WITH_POLICIES, MAIN, "protoconf", Message::Protoconf(policies.clone()));
    assert_same(vectors::NODE_PROTOCONF, REGTEST, "protoconf", Message::Protoconf(policies));
    let message = Message::Protoconf(Protoconf { max_recv_payload_bytes: 1_048_576, stream_policies: None });
    assert_same(vectors::PROTOCONF_WITHOUT_POLICIES, MAIN, "protoconf", message);
}

#[test]
fn rejects_decode_and_encode_exactly() {
    let message = reject(b"tx", RejectCode::INVALID, b"bad-txns", Some(GENESIS_COINBASE));
    assert_same(vectors::REJECT_TX, MAIN, "reject", message);
    let message = reject(b"ping", RejectCode::MALFORMED, b"error parsing message", None);
    assert_same(vectors::NODE_REJECT_PING, REGTEST, "reject", message);
    let message = reject(b"version", RejectCode::DUPLICATE, b"Duplicate version message", None);
    assert_same(vectors::NODE_REJECT_VERSION, REGTEST, "reject", message);
    let message = reject(b"tx", RejectCode::INVALID, b"bad-tx-coinbase", Some(LOOSE_COINBASE));
    assert_same(vectors::NODE_REJECT_TX, REGTEST, "reject", message);
}

#[test]
fn req_e48_all_other_messages_decode_and_encode_exactly() {
    for (magic, known) in [(MAIN, &COMPUTED[..]), (REGTEST, &RECORDED)] {
        for (command, text) in known {
            let frame = hex(text);
            let message = MessageRef::decode(CommandName::new(command), &frame[24..]).expect(command);
            assert!(!matches!(message, MessageRef::Opaque { .. }), "{command}");
            assert_same(text, magic, command, message.into_owned());
        }
    }
}

#[test]
fn an_unknown_message_passes_through_unchanged() {
    let payload = b"any bytes \0\xff";
    let mut frame = Vec::new();
    put_frame(MAIN, CommandName::new("sendtxrcncl"), payload, &mut frame);
    let message = Message::Opaque { command: CommandName::new("sendtxrcncl"), payload: payload[..].into() };
    let mut encoded = Vec::new();
    message.as_ref().encode_frame(MAIN, &mut encoded);
    assert_eq!(encoded, frame);
    assert_eq!(MessageRef::decode(CommandName::new("sendtxrcncl"), &frame[24..]), Ok(message.as_ref()));
}

#[test]
fn extended_headers_decode_and_encode_exactly() {
    for (text, real_command, real_len) in
        [(vectors::EXTENDED_BLOCK_HEADER, "block", 4_294_967_296_u64), (vectors::EXTENDED_PING, "ping", 8)]
    {
        let frame = hex(text);
        let head = frame.first_chunk::<44>().unwrap();
        let basic = frame.first_chunk::<24>().unwrap();
        assert_eq!(Header::len_of(basic), 44);
        let header = Header::decode_extended(head);
        let command = CommandName::new(real_command);
        assert_eq!(header, Header { command, payload_len: real_len, checksum: None });
        assert_eq!(header.encode_extended(MAIN), *head);
    }
    let ping = hex(vectors::EXTENDED_PING);
    let message = MessageRef::decode(CommandName::PING, &ping[44..]).unwrap();
    assert_eq!(message, MessageRef::Ping { nonce: 0x0807_0605_0403_0201 });
}

#[test]
fn frames_are_appended_to_the_existing_bytes() {
    let mut out = hex(vectors::NODE_PING);
    Message::Verack.as_ref().encode_frame(MAIN, &mut out);
    Message::Pong { nonce: 0x0807_0605_0403_0201 }.as_ref().encode_frame(MAIN, &mut out);
    put_frame(MAIN, CommandName::VERACK, &[], &mut out);
    assert_eq!(out, hex(&[vectors::NODE_PING, vectors::VERACK, vectors::PONG, vectors::VERACK].concat()));
}

#[test]
fn a_frame_fits_a_buffer_of_its_own_size() {
    let message = Message::Version(Box::new(example_version(AssociationId::Empty)));
    let mut out = Vec::with_capacity(24 + 100);
    let (place, capacity) = (out.as_ptr(), out.capacity());
    message.as_ref().encode_frame(MAIN, &mut out);
    assert_eq!((out.as_ptr(), out.capacity()), (place, capacity), "the buffer was reallocated");
}
