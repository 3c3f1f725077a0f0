//! Properties of decoding and encoding, checked with random messages and random bytes.

use peerloop::protocol::CommandName;
use peerloop::time::UnixTime;
use peerloop::wire::header::checksum;
use peerloop::wire::{
    AddressEntry, Addresses, AssociationId, AuthChallenge, AuthResponse, BlockHeader, CreateStream, FeeFilter, Hash256,
    Header, Headers, Inventory, InventoryItem, InventoryKind, Locator, Mempool, Message, MessageRef, NetAddress,
    Protoconf, Reject, RejectCode, RevokeMid, SendCmpct, Sender, StreamAck, StreamType, Version, put_frame,
};
use peerloop_testkit::vectors::{self, payload};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn any_command() -> impl Strategy<Value = CommandName> {
    prop_oneof![
        8 => proptest::sample::select(&CommandName::ALL[..]),
        1 => any::<[u8; 12]>().prop_map(CommandName::from_bytes),
    ]
}

fn any_bytes(max_bytes: usize) -> impl Strategy<Value = Box<[u8]>> {
    vec(any::<u8>(), 0..=max_bytes).prop_map(Vec::into_boxed_slice)
}

fn any_address() -> impl Strategy<Value = NetAddress> {
    any::<(u64, [u8; 16], u16)>().prop_map(|(services, ip, port)| NetAddress { services, ip, port })
}

/// Generates a `version` that ends before or after any of its optional fields.
fn any_version() -> impl Strategy<Value = Version> {
    let head = (any::<(i32, u64, i64)>(), any_address());
    let sender = (any_address(), any::<u64>()).prop_map(|(address, nonce)| Sender { address, nonce });
    let id = option::of(any::<[u8; 16]>()).prop_map(|id| id.map_or(AssociationId::Empty, AssociationId::Uuid));
    let tail = (sender, any_bytes(256), any::<(i32, bool)>(), id, 0..=5_usize);
    (head, tail).prop_map(|(((protocol_version, services, time), receiver), tail)| {
        let (sender, user_agent, (start_height, relay), association_id, fields) = tail;
        Version {
            protocol_version,
            services,
            time: UnixTime::from_secs(time),
            receiver,
            sender: (fields >= 1).then_some(sender),
            user_agent: (fields >= 2).then_some(user_agent),
            start_height: (fields >= 3).then_some(start_height),
            relay: (fields >= 4).then_some(relay),
            association_id: (fields >= 5).then_some(association_id),
        }
    })
}

fn any_protoconf() -> impl Strategy<Value = Protoconf> {
    (1_048_576..=u32::MAX, option::of(any_bytes(650)))
        .prop_map(|(max_recv_payload_bytes, stream_policies)| Protoconf { max_recv_payload_bytes, stream_policies })
}

fn any_reject() -> impl Strategy<Value = Reject> {
    let hashed = prop_oneof![Just(Box::from(&b"tx"[..])), Just(Box::from(&b"block"[..]))];
    let with_hash = (hashed, 2..=u8::MAX, any_bytes(111), option::of(any::<[u8; 32]>()))
        .prop_map(|(message, code, reason, hash)| Reject { message, code: RejectCode(code), reason, hash });
    let other = (any_bytes(12), any::<u8>(), any_bytes(111)).prop_map(|(message, code, reason)| Reject {
        message,
        code: RejectCode(code),
        reason,
        hash: None,
    });
    prop_oneof![with_hash, other]
}

fn any_hash() -> impl Strategy<Value = Hash256> {
    any::<[u8; 32]>().prop_map(Hash256::from_bytes)
}

fn any_inventory() -> impl Strategy<Value = Inventory> {
    let item = (any::<u32>(), any_hash()).prop_map(|(kind, hash)| InventoryItem { kind: InventoryKind(kind), hash });
    vec(item, 0..8).prop_map(Inventory::from_items)
}

fn any_locator() -> impl Strategy<Value = Locator> {
    (any::<i32>(), vec(any_hash(), 0..8), any_hash())
        .prop_map(|(protocol_version, hashes, stop)| Locator::from_hashes(protocol_version, hashes, stop))
}

/// Generates messages that are lists.
fn any_list() -> impl Strategy<Value = Message> {
    let entry = (any::<u32>(), any_address()).prop_map(|(time, address)| AddressEntry { time, address });
    let header = any::<[[u8; 16]; 5]>()
        .prop_map(|bytes| BlockHeader::decode(bytes.as_flattened().try_into().expect("a header has 80 bytes")));
    prop_oneof![
        any_inventory().prop_map(Message::Inv),
        any_inventory().prop_map(Message::GetData),
        any_inventory().prop_map(Message::NotFound),
        any_locator().prop_map(Message::GetBlocks),
        any_locator().prop_map(Message::GetHeaders),
        any_locator().prop_map(Message::GetHdrsEn),
        vec(entry, 0..8).prop_map(|entries| Message::Addr(Addresses::from_entries(entries))),
        vec(header, 0..8).prop_map(|headers| Message::Headers(Headers::from_headers(headers))),
    ]
}

/// Generates preferences, requests without a list, and the messages that set up additional connections.
fn any_setting() -> impl Strategy<Value = Message> {
    use StreamType::{Data1, Data2, Data3, Data4, General, Unknown};
    let id = || option::of(any::<[u8; 16]>()).prop_map(|id| id.map_or(AssociationId::Empty, AssociationId::Uuid));
    let stream = || (id(), proptest::sample::select(&[Unknown, General, Data1, Data2, Data3, Data4][..]));
    prop_oneof![
        Just(Message::SendHeaders),
        Just(Message::SendHdrsEn),
        Just(Message::GetAddr),
        any::<(bool, u64)>().prop_map(|(announce, version)| Message::SendCmpct(SendCmpct { announce, version })),
        any::<i64>().prop_map(|rate| Message::FeeFilter(FeeFilter { satoshis_per_1000_bytes: rate })),
        option::of(any::<i64>()).prop_map(|age_secs| Message::Mempool(Mempool { age_secs })),
        (stream(), any_bytes(64)).prop_map(|((association_id, stream_type), policy)| {
            Message::CreateStrm(CreateStream { association_id, stream_type, policy })
        }),
        stream().prop_map(|(association_id, stream_type)| {
            Message::StreamAck(StreamAck { association_id, stream_type })
        }),
    ]
}

fn any_key() -> impl Strategy<Value = [u8; 33]> {
    any::<([u8; 32], u8)>().prop_map(|(x, parity)| std::array::from_fn(|at| if at == 0 { parity } else { x[at - 1] }))
}

/// Generates authentication messages and `revokemid`.
fn any_signed() -> impl Strategy<Value = Message> {
    let signature = vec(any::<u8>(), 70..=72).prop_map(Vec::into_boxed_slice);
    prop_oneof![
        any::<[u8; 32]>().prop_map(|challenge| Message::AuthCh(AuthChallenge { challenge })),
        (any_key(), any::<u64>(), signature).prop_map(|(public_key, client_nonce, signature)| {
            Message::AuthResp(AuthResponse { public_key, client_nonce, signature })
        }),
        ((any_key(), any_key(), any_key()), any_bytes(255), any_bytes(255)).prop_map(|(keys, first, second)| {
            let (revocation_key, miner_id, id_to_revoke) = keys;
            let (revocation_signature, miner_signature) = (first, second);
            let message = RevokeMid { revocation_key, miner_id, id_to_revoke, revocation_signature, miner_signature };
            Message::RevokeMid(Box::new(message))
        }),
    ]
}

/// Selects test vectors. Some of them have parts that must be consistent with each other. No other strategy here
/// generates such messages.
fn any_known() -> impl Strategy<Value = Message> {
    let known: Vec<_> = vectors::COMPUTED.iter().chain(&vectors::RECORDED).collect();
    proptest::sample::select(known).prop_map(|(command, frame)| {
        MessageRef::decode(CommandName::new(command), &payload(frame)).expect("a test vector is valid").into_owned()
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let opaque = ("[ -~]{0,12}", any_bytes(300))
        .prop_map(|(name, payload)| (CommandName::new(&name), payload))
        .prop_filter("the command is known", |(command, _)| !CommandName::ALL.contains(command))
        .prop_map(|(command, payload)| Message::Opaque { command, payload });
    prop_oneof![
        any_version().prop_map(|version| Message::Version(Box::new(version))),
        Just(Message::Verack),
        any::<u64>().prop_map(|nonce| Message::Ping { nonce }),
        any::<u64>().prop_map(|nonce| Message::Pong { nonce }),
        any_protoconf().prop_map(Message::Protoconf),
        any_reject().prop_map(Message::Reject),
        any_list(),
        any_setting(),
        any_signed(),
        any_known(),
        opaque,
    ]
}

fn encode(message: &MessageRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_payload(&mut out);
    out
}

/// Fills in the optional fields at the end of a message, so that bytes after the message cannot be read as such a
/// field.
fn with_optional_fields(mut message: Message) -> Message {
    if let Message::Version(version) = &mut message {
        let address = NetAddress { services: 1, ip: [2; 16], port: 3 };
        version.sender.get_or_insert(Sender { address, nonce: 4 });
        version.user_agent.get_or_insert_with(|| Box::from(&b"/agent/"[..]));
        version.start_height.get_or_insert(5);
        version.relay.get_or_insert(true);
        version.association_id.get_or_insert(AssociationId::Uuid([6; 16]));
    }
    if let Message::Reject(Reject { message, code, hash, .. }) = &mut message
        && [&b"tx"[..], b"block"].contains(&&message[..])
        && *code != RejectCode::MALFORMED
    {
        hash.get_or_insert([7; 32]);
    }
    if let Message::Mempool(Mempool { age_secs }) = &mut message {
        age_secs.get_or_insert(8);
    }
    message
}

/// Asserts, if the payload decodes, that encoding the message and decoding it again changes nothing.
fn assert_stable(command: CommandName, payload: &[u8]) -> Result<(), TestCaseError> {
    let Ok(message) = MessageRef::decode(command, payload) else { return Ok(()) };
    prop_assert_eq!(message.command(), command);
    let encoded = encode(&message);
    prop_assert!(encoded.len() <= payload.len(), "the encoding is longer than the payload");
    let again = MessageRef::decode(command, &encoded);
    // A list of transactions also holds the bytes after its last transaction, because it is read only when it is
    // iterated. If all its transactions are valid, those bytes are not encoded.
    if !matches!(message, MessageRef::Block(_) | MessageRef::BlockTxn(_)) {
        prop_assert_eq!(again.clone(), Ok(message.clone()));
    }
    let again = again.expect("an encoded message decodes");
    prop_assert_eq!(encode(&again), encoded.clone());
    let owned = again.clone().into_owned();
    prop_assert_eq!(owned.as_ref(), again);
    prop_assert_eq!(encode(&message.into_owned().as_ref()), encoded);
    Ok(())
}

proptest! {
    #[test]
    fn encoded_messages_decode_unchanged(message in any_message(), magic: [u8; 4]) {
        let mut frame = Vec::new();
        message.as_ref().encode_frame(magic, &mut frame);
        let (header, payload) = frame.split_first_chunk::<24>().unwrap();
        prop_assert_eq!(header[..4].to_vec(), magic.to_vec());
        let expected = Header {
            command: message.as_ref().command(),
            payload_len: payload.len() as u64,
            checksum: Some(checksum(payload)),
        };
        prop_assert_eq!(Header::decode(header), expected);
        let decoded = MessageRef::decode(expected.command, payload).unwrap();
        prop_assert_eq!(&decoded, &message.as_ref());
        prop_assert_eq!(decoded.into_owned(), message);
        let mut put = Vec::new();
        put_frame(magic, expected.command, payload, &mut put);
        prop_assert_eq!(put, frame);
    }

    #[test]
    fn any_bytes_decode_or_are_refused_without_a_panic(command in any_command(), payload in vec(any::<u8>(), 0..700)) {
        assert_stable(command, &payload)?;
    }

    #[test]
    fn a_damaged_message_decodes_or_is_refused_without_a_panic(
        message in any_message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        len in any::<prop::sample::Index>(),
        tail in vec(any::<u8>(), 0..40),
    ) {
        let mut payload = encode(&message.as_ref());
        for (at, byte) in damage {
            if !payload.is_empty() {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
        }
        payload.truncate(len.index(payload.len() + 1));
        payload.extend(tail);
        assert_stable(message.as_ref().command(), &payload)?;
    }

    #[test]
    fn bytes_after_a_known_message_are_ignored(message in any_message(), tail in vec(any::<u8>(), 0..40)) {
        let message = with_optional_fields(message);
        let whole = encode(&message.as_ref());
        let longer = [whole.clone(), tail].concat();
        let decoded = MessageRef::decode(message.as_ref().command(), &longer).unwrap();
        // An unknown message has no known end, so the tail belongs to it.
        let expected = if matches!(message, Message::Opaque { .. }) { longer.clone() } else { whole };
        prop_assert_eq!(encode(&decoded), expected);
    }
}

#[test]
fn a_test_vector_with_any_byte_changed_decodes_or_is_refused_without_a_panic() {
    for (command, whole) in vectors::payloads() {
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                assert_stable(command, &damaged).unwrap();
            }
        }
    }
}
