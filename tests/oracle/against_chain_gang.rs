//! Messages compared with the crate `chain-gang`. Both codecs must encode the Bitcoin SV messages `protoconf`,
//! `createstrm`, `streamack`, `authch` and `version` (which may have an association id) to the same bytes. When the
//! crate reads one of the other, common messages and writes it again, the bytes must be the same. Bloom filters must
//! have the same contents. The hashes of headers and transactions, and the matches of Merkle trees, must be the same.
//!
//! Both sides must read a damaged Bitcoin SV message as the same values, or both must refuse it, except for the
//! differences in this table. [`Difference`] gives their reasons.
//!
//! | difference | we | `chain-gang` |
//! |---|---|---|
//! | `Form` | refuse a size in a longer form than needed | accepts it |
//! | `Limit` | refuse strings longer than the node's limits | has no limits |
//! | `Association` | accept UUIDs; read ids of 0 or 1 bytes as empty | accepts any id (a stream's must not be empty) |
//! | `Stream` | know the stream types 0 to 5 | knows 1 to 4 |
//! | `Policy` | require a stream's policy, which may be empty | treats it as optional |
//! | `Flag` | read every byte of `relay` except 0 as true | reads only 1 as true |
//! | `Text` | accept any bytes as a string | refuses all but UTF-8 |
//! | `Fields` | read the known fields of a `protoconf` that has more fields | accepts only one or two fields |
//! | `Challenge` | require a challenge of 32 bytes | accepts any length |
//! | `Version` | accept any version number, and missing last fields | requires at least 70,001, and the field `relay` |

use crate::values::{any_common, any_filter, any_hash, any_merkle_block, any_text, any_version};
use crate::{MAGIC, compare_all, frame_of, payload_of};
use chain_gang::messages as theirs;
use chain_gang::messages::{Message as TheirMessage, NodeAddr};
use chain_gang::util::{BloomFilter as TheirFilter, ChainGangError, Hash256 as TheirHash};
use peerloop::protocol::CommandName;
use peerloop::wire::{
    AssociationId, AuthChallenge, BloomFilter, CreateStream, CreateStreamRef, Hash256, Message, MessageRef, NetAddress,
    Protoconf, StreamAck, StreamType, Version, put_frame,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A listed difference between two results. Each variant's comment describes the SV Node's behaviour, which is the
/// reason for ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// The node also refuses a longer form than needed.
    Form,
    /// If a string is too long, the node closes the connection or drops the message.
    Limit,
    /// The node knows only UUIDs, and finds no association for any other id.
    Association,
    /// The node knows the types 0 to 5.
    Stream,
    /// The node also requires a policy.
    Policy,
    /// The node also reads every byte except 0 as true.
    Flag,
    /// The node does not inspect strings.
    Text,
    /// The node also reads the known fields.
    Fields,
    /// The node also requires 32 bytes.
    Challenge,
    /// The node accepts every protocol version from 31,800 on, and refuses a lower one with a `reject`.
    Version,
}

fn any_uuid() -> impl Strategy<Value = AssociationId> {
    any::<[u8; 16]>().prop_map(AssociationId::Uuid)
}

/// Generates Bitcoin SV messages, with values that both sides can represent.
fn any_own() -> impl Strategy<Value = Message> {
    let version = (any_version(), option::of(any_uuid()))
        .prop_map(|(version, association_id)| Message::Version(Box::new(Version { association_id, ..version })));
    let protoconf = (1_048_576..=u32::MAX, option::of(any_text(650))).prop_map(|(max_recv_payload_bytes, policies)| {
        Message::Protoconf(Protoconf { max_recv_payload_bytes, stream_policies: policies })
    });
    let stream_type = || select(vec![StreamType::General, StreamType::Data1, StreamType::Data2, StreamType::Data3]);
    let create =
        (any_uuid(), stream_type(), any_text(64).prop_filter("the policy must not be empty", |text| !text.is_empty()));
    prop_oneof![
        version,
        protoconf,
        any::<[u8; 32]>().prop_map(|challenge| Message::AuthCh(AuthChallenge { challenge })),
        create.prop_map(|(association_id, stream_type, policy)| {
            Message::CreateStrm(CreateStream { association_id, stream_type, policy })
        }),
        (any_uuid(), stream_type())
            .prop_map(|(association_id, stream_type)| Message::StreamAck(StreamAck { association_id, stream_type })),
    ]
}

/// Returns the crate's result for a payload in a valid frame.
fn decode(command: CommandName, payload: &[u8]) -> Result<TheirMessage, ChainGangError> {
    let mut frame = Vec::new();
    put_frame(MAGIC, command, payload, &mut frame);
    TheirMessage::read(&mut frame.as_slice(), MAGIC)
}

fn frame_of_theirs(message: &TheirMessage) -> Vec<u8> {
    let mut frame = Vec::new();
    message.write(&mut frame, MAGIC).expect("writing to memory succeeds");
    frame
}

/// Returns our message as a value of the crate, or `None` if the crate cannot represent it.
fn to_theirs(message: &MessageRef<'_>) -> Option<TheirMessage> {
    Some(match message {
        MessageRef::Version(message) => TheirMessage::Version(version(message)?),
        MessageRef::Protoconf(message) => TheirMessage::Protoconf(theirs::Protoconf {
            version: if message.stream_policies.is_some() { 2 } else { 1 },
            max_recv_payload_length: message.max_recv_payload_bytes,
            stream_policies: match message.stream_policies {
                Some(policies) => Some(text(policies)?),
                None => None,
            },
        }),
        MessageRef::AuthCh(message) => {
            TheirMessage::Authch(theirs::Authch { version: 1, message_length: 32, message: message.challenge.to_vec() })
        }
        MessageRef::CreateStrm(message) => TheirMessage::Createstrm(theirs::Createstrm {
            association_id: association(message.association_id),
            stream_type: message.stream_type as u8,
            stream_policy: text(message.policy)?,
        }),
        MessageRef::StreamAck(message) => TheirMessage::Streamack(theirs::Streamack {
            association_id: association(message.association_id),
            stream_type: message.stream_type as u8,
        }),
        _ => return None,
    })
}

fn version(message: &Version) -> Option<theirs::Version> {
    let address =
        |address: NetAddress| NodeAddr { services: address.services, ip: address.ip.into(), port: address.port };
    let sender = message.sender?;
    Some(theirs::Version {
        version: message.protocol_version as u32,
        services: message.services,
        timestamp: message.time.as_secs(),
        recv_addr: address(message.receiver),
        tx_addr: address(sender.address),
        nonce: sender.nonce,
        user_agent: text(message.user_agent.as_deref()?)?,
        start_height: message.start_height?,
        relay: message.relay?,
        association_id: association(message.association_id.unwrap_or(AssociationId::Empty)),
    })
}

/// Returns an association id's type and value as one string of bytes.
fn association(id: AssociationId) -> Vec<u8> {
    match id {
        AssociationId::Empty => Vec::new(),
        AssociationId::Uuid(id) => [&[0][..], &id].concat(),
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Compares the results for one payload, and returns the [`Difference`] between them, if there is one. Fails if the
/// results differ in any other way.
fn judge(command: CommandName, payload: &[u8]) -> Result<Option<Difference>, TestCaseError> {
    let difference = match (MessageRef::decode(command, payload), decode(command, payload)) {
        (Err(_), Err(_)) => return Ok(None),
        (Ok(ours), Ok(theirs)) => {
            let difference = how_values_differ(&ours, &theirs);
            if difference.is_none() {
                prop_assert_eq!(to_theirs(&ours), Some(theirs));
            }
            return Ok(difference);
        }
        (Err(_), Ok(theirs)) => why_we_refuse(&theirs, payload),
        (Ok(ours), Err(_)) => why_they_refuse(&ours, payload),
    };
    prop_assert!(
        difference.is_some(),
        "one side refused the payload for no listed reason: we returned {:?}, and `chain-gang` {:?}",
        MessageRef::decode(command, payload),
        decode(command, payload)
    );
    Ok(difference)
}

/// Returns the listed difference between the values that both sides have read from one payload.
fn how_values_differ(ours: &MessageRef<'_>, theirs: &TheirMessage) -> Option<Difference> {
    match (ours, theirs) {
        (MessageRef::Version(ours), TheirMessage::Version(theirs)) if ours.relays() && !theirs.relay => {
            Some(Difference::Flag)
        }
        (MessageRef::Version(_), TheirMessage::Version(theirs)) => {
            (theirs.association_id.len() == 1).then_some(Difference::Association)
        }
        (MessageRef::CreateStrm(_), TheirMessage::Createstrm(theirs::Createstrm { association_id, .. }))
        | (MessageRef::StreamAck(_), TheirMessage::Streamack(theirs::Streamack { association_id, .. })) => {
            (association_id.len() == 1).then_some(Difference::Association)
        }
        _ => None,
    }
}

/// Returns the listed reason why we refuse a payload that the crate read as `theirs`.
fn why_we_refuse(theirs: &TheirMessage, payload: &[u8]) -> Option<Difference> {
    let is_no_uuid = |id: &[u8]| id.len() > 1 && (id.len() != 17 || id[0] != 0);
    // Before the policy, the payload has the association id's size (the crate reads one byte), the id and the stream
    // type.
    let policy_at = |id: &[u8]| 1 + id.len() + 1;
    match theirs {
        TheirMessage::Version(message) if is_no_uuid(&message.association_id) => Some(Difference::Association),
        TheirMessage::Version(message) if message.user_agent.len() > 256 => Some(Difference::Limit),
        TheirMessage::Version(message) => {
            is_long_form(payload.get(80..)?, message.user_agent.len()).then_some(Difference::Form)
        }
        TheirMessage::Protoconf(message) => {
            let policies = message.stream_policies.as_deref().unwrap_or_default();
            let fields_bytes = if is_long_form(payload, message.version as usize) { size_bytes(payload[0]) } else { 1 };
            if fields_bytes > 1 || is_long_form(payload.get(fields_bytes + 4..)?, policies.len()) {
                return Some(Difference::Form);
            }
            (policies.len() > 650).then_some(Difference::Limit)
        }
        TheirMessage::Authch(message) => (message.message.len() != 32).then_some(Difference::Challenge),
        TheirMessage::Createstrm(message) if is_no_uuid(&message.association_id) => Some(Difference::Association),
        TheirMessage::Createstrm(message) => {
            let policy = payload.get(policy_at(&message.association_id)..)?;
            if policy.is_empty() || message.stream_policy.is_empty() && policy.len() < size_bytes(policy[0]) {
                return Some(Difference::Policy);
            }
            if is_long_form(policy, message.stream_policy.len()) {
                return Some(Difference::Form);
            }
            (message.stream_policy.len() > 64).then_some(Difference::Limit)
        }
        TheirMessage::Streamack(message) => is_no_uuid(&message.association_id).then_some(Difference::Association),
        _ => None,
    }
}

/// Returns the listed reason why the crate refuses a payload that we read as `ours`.
fn why_they_refuse(ours: &MessageRef<'_>, payload: &[u8]) -> Option<Difference> {
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    let is_unknown = |stream_type| matches!(stream_type, StreamType::Unknown | StreamType::Data4);
    match ours {
        MessageRef::Version(message) if message.relay.is_none() => Some(Difference::Version),
        MessageRef::Version(message) if !message.user_agent.as_deref().is_none_or(is_text) => Some(Difference::Text),
        MessageRef::Version(message) => ((message.protocol_version as u32) < 70_001).then_some(Difference::Version),
        MessageRef::Protoconf(_) if payload[0] > 2 => Some(Difference::Fields),
        MessageRef::Protoconf(message) => (!message.stream_policies.is_none_or(is_text)).then_some(Difference::Text),
        MessageRef::CreateStrm(message) if !is_text(message.policy) => Some(Difference::Text),
        MessageRef::CreateStrm(CreateStreamRef { association_id, stream_type, .. })
        | MessageRef::StreamAck(StreamAck { association_id, stream_type }) => {
            if is_unknown(*stream_type) {
                return Some(Difference::Stream);
            }
            (*association_id == AssociationId::Empty).then_some(Difference::Association)
        }
        _ => None,
    }
}

/// Returns whether `bytes` begin with `size` encoded in a longer form than needed.
fn is_long_form(bytes: &[u8], size: usize) -> bool {
    let mut short = Vec::new();
    peerloop::internals::codec::put_compact_size(size as u64, &mut short);
    bytes.first().is_some_and(|&first| size_bytes(first) > short.len())
}

/// Returns the encoded length, in bytes, of a size whose first byte is `first`.
fn size_bytes(first: u8) -> usize {
    match first {
        0xfd => 3,
        0xfe => 5,
        0xff => 9,
        _ => 1,
    }
}

#[test]
fn the_five_bitcoin_sv_messages_have_the_same_bytes_in_both_codecs() {
    let counts = RefCell::new(BTreeMap::<_, u64>::new());
    compare_all("Bitcoin SV messages against chain-gang", 1_500, any_own(), |message| {
        let ours = message.as_ref();
        let theirs = to_theirs(&ours).expect("the crate can represent the message");
        let frame = frame_of(&ours);
        let read =
            TheirMessage::read(&mut frame.as_slice(), MAGIC).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&read, &theirs);
        prop_assert_eq!(&frame_of_theirs(&theirs), &frame);
        prop_assert_eq!(MessageRef::decode(ours.command(), &frame[24..]), Ok(ours.clone()));
        *counts.borrow_mut().entry(ours.command().to_string()).or_default() += 1;
        Ok(2)
    });
    let counts = counts.into_inner();
    println!("Bitcoin SV messages by command: {counts:?}");
    assert_eq!(counts.len(), 5, "not every command was compared");
}

#[test]
fn every_common_message_passes_through_chain_gang_unchanged() {
    compare_all("common messages through chain-gang", 1_500, any_common(), |message| {
        let frame = frame_of(&message.as_ref());
        let read =
            TheirMessage::read(&mut frame.as_slice(), MAGIC).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(frame_of_theirs(&read), frame);
        Ok(1)
    });
}

#[test]
fn damaged_bitcoin_sv_messages_have_the_same_result_in_both_codecs_or_a_listed_difference() {
    let differences = RefCell::new(BTreeMap::<_, u64>::new());
    let damage = vec((any::<Index>(), select(vec![0, 1, 2, 5, 0x10, 0x11, 0x40, 0xfd, 0xfe, 0xff])), 0..3);
    let values = (any_own(), damage, option::of(any::<Index>()), vec(any::<u8>(), 0..3));
    compare_all("verdicts against chain-gang", 6_000, values, |(message, damage, cut, tail)| {
        let mut payload = payload_of(&message.as_ref());
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len() + 1));
        }
        payload.extend(tail);
        if let Some(difference) = judge(message.as_ref().command(), &payload)? {
            *differences.borrow_mut().entry(difference).or_default() += 1;
        }
        Ok(1)
    });
    println!("intended differences: {:?}", differences.borrow());
}

#[test]
fn each_difference_has_a_payload_that_shows_it() {
    use Difference::{Association, Challenge, Fields, Flag, Form, Limit, Policy, Stream, Text};
    let uuid = [&[17, 0][..], &[7; 16]].concat();
    let version = |number: u32, tail: &[u8]| [&number.to_le_bytes()[..], &[1; 76], tail, &[0; 5]].concat();
    let samples = [
        (Form, "protoconf", vec![0xfd, 1, 0, 0, 0, 0x10, 0]),
        (Form, "protoconf", vec![2, 0, 0, 0x10, 0, 0xfd, 1, 0, b'a']),
        (Form, "version", version(70_016, &[0xfd, 1, 0, b'a'])),
        (Form, "createstrm", [&uuid[..], &[1, 0xfd, 1, 0, b'a']].concat()),
        (Limit, "protoconf", [&[2, 0, 0, 0x10, 0, 0xfd, 0x8b, 2][..], &[b'a'; 651]].concat()),
        (Limit, "version", version(70_016, &[&[0xfd, 1, 1][..], &[b'a'; 257]].concat())),
        (Limit, "createstrm", [&uuid[..], &[1, 65], &[b'a'; 65]].concat()),
        (Association, "streamack", vec![2, 0, 7, 1]),
        (Association, "streamack", [&[17, 1][..], &[7; 16], &[1]].concat()),
        (Association, "streamack", vec![0, 1]),
        (Association, "streamack", vec![1, 0, 1]),
        (Association, "createstrm", vec![0, 1, 0]),
        (Association, "version", [version(70_016, &[0]), vec![1, 0]].concat()),
        (Association, "version", [version(70_016, &[0]), vec![2, 0, 7]].concat()),
        (Stream, "streamack", [&uuid[..], &[5]].concat()),
        (Stream, "createstrm", [&uuid[..], &[0, 0]].concat()),
        (Policy, "createstrm", [&uuid[..], &[1]].concat()),
        (Flag, "version", [&version(70_016, &[0])[..85], &[2]].concat()),
        (Text, "protoconf", vec![2, 0, 0, 0x10, 0, 1, 0xff]),
        (Text, "version", version(70_016, &[1, 0xff])),
        (Text, "createstrm", [&uuid[..], &[1, 1, 0xff]].concat()),
        (Fields, "protoconf", vec![3, 0, 0, 0x10, 0, 0, 9]),
        (Challenge, "authch", vec![1, 0, 0, 0, 1, 0, 0, 0, 9]),
        (Difference::Version, "version", version(70_000, &[0])),
        (Difference::Version, "version", vec![1; 46]),
    ];
    let mut shown = BTreeMap::<Difference, u64>::new();
    for (difference, command, payload) in samples {
        let verdict = judge(CommandName::new(command), &payload)
            .unwrap_or_else(|failure| panic!("{difference:?} of {command}: {failure}"));
        assert_eq!(verdict, Some(difference), "{command} {payload:x?}");
        *shown.entry(difference).or_default() += 1;
    }
    println!("differences shown: {shown:?}");
    assert_eq!(shown.len(), Difference::Version as usize + 1, "a difference has no payload");
}

#[test]
fn a_bloom_filter_has_the_same_contents_in_both_codecs() {
    let elements = vec(vec(any::<u8>(), 0..60), 1..12);
    compare_all("bloom filters against chain-gang", 512, (any_filter(), elements), |(filter, elements)| {
        let mut ours: BloomFilter = filter;
        let parts = ours.as_ref();
        // A filter without bits makes `chain-gang` panic on a division by zero.
        if parts.bits.is_empty() {
            return Ok(0);
        }
        let mut theirs =
            TheirFilter { filter: parts.bits.to_vec(), num_hash_funcs: parts.hash_count as usize, tweak: parts.tweak };
        let (inserted, others) = elements.split_at(elements.len() / 2);
        for element in inserted {
            ours.insert(element);
            theirs.add(element);
        }
        prop_assert_eq!(ours.as_ref().bits, &theirs.filter);
        for element in inserted.iter().chain(others) {
            prop_assert_eq!(ours.contains(element), theirs.contains(element));
        }
        Ok(1 + elements.len() as u64)
    });
}

#[test]
fn both_codecs_compute_the_same_hashes_of_headers_and_transactions_and_the_same_matches_of_trees() {
    let values = (crate::values::any_tx(), crate::values::any_header(), any_hash(), any_merkle_block());
    compare_all("hashes against chain-gang", 256, values, |(tx, header, hash, tree)| {
        let theirs = |hash: Hash256| TheirHash(hash.to_bytes());
        prop_assert_eq!(hash.to_string(), theirs(hash).encode());
        let Ok(TheirMessage::Tx(read)) = decode(CommandName::TX, tx.as_ref().encoded()) else {
            return Err(TestCaseError::fail("the crate refuses the transaction"));
        };
        prop_assert_eq!(theirs(tx.as_ref().txid()), read.hash());
        let list = peerloop::wire::Headers::from_headers([header]);
        let Ok(TheirMessage::Headers(read)) =
            decode(CommandName::HEADERS, &payload_of(&MessageRef::Headers(list.as_ref())))
        else {
            return Err(TestCaseError::fail("the crate refuses the header"));
        };
        prop_assert_eq!(theirs(header.hash()), read.headers[0].hash());
        let Ok(TheirMessage::MerkleBlock(read)) =
            decode(CommandName::MERKLEBLOCK, &payload_of(&MessageRef::MerkleBlock(tree.as_ref())))
        else {
            return Err(TestCaseError::fail("the crate refuses the tree"));
        };
        let matches: Option<Vec<TheirHash>> =
            tree.as_ref().matches().map(|found| found.into_iter().map(|found| theirs(found.txid)).collect());
        prop_assert_eq!(matches, read.validate().ok());
        Ok(4)
    });
}
