//! Additional connections of a peer: `createstrm` and `streamack`.

use crate::assert_cuts_fail_and_more_is_ignored;
use crate::exact::{MAIN, REGTEST, assert_same};
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{AssociationId, CreateStream, CreateStreamRef, Message, StreamAck, StreamType};
use peerloop_testkit::vectors::{COMPUTED, RECORDED, known};

const CREATESTRM: CommandName = CommandName::CREATESTRM;

fn uuid() -> AssociationId {
    AssociationId::Uuid(std::array::from_fn(|at| 0x10 + at as u8))
}

#[test]
fn known_messages_decode_and_encode_exactly() {
    let create = |association_id| {
        let policy = Box::from(&b"BlockPriority"[..]);
        Message::CreateStrm(CreateStream { association_id, stream_type: StreamType::Data1, policy })
    };
    let ack = Message::StreamAck(StreamAck { association_id: uuid(), stream_type: StreamType::Data1 });
    assert_same(known(&COMPUTED, "createstrm"), MAIN, "createstrm", create(uuid()));
    assert_same(known(&COMPUTED, "streamack"), MAIN, "streamack", ack.clone());
    assert_same(known(&RECORDED, "streamack"), REGTEST, "streamack", ack);
    let fresh = 0x38ae_0029_7317_4b2b_bc43_9429_c0b6_9eb4_u128.to_be_bytes();
    assert_same(known(&RECORDED, "createstrm"), REGTEST, "createstrm", create(AssociationId::Uuid(fresh)));
}

#[test]
fn every_truncation_is_an_error_and_trailing_bytes_are_ignored() {
    for command in [CREATESTRM, CommandName::STREAMACK] {
        assert_cuts_fail_and_more_is_ignored(command, 0);
    }
}

#[test]
fn a_stream_has_one_of_six_types() {
    let types = [
        StreamType::Unknown,
        StreamType::General,
        StreamType::Data1,
        StreamType::Data2,
        StreamType::Data3,
        StreamType::Data4,
    ];
    for byte in 0..=u8::MAX {
        let expected = types.get(usize::from(byte)).copied();
        let expect = |command| expected.ok_or(WireError::BadValue { command });
        let create = [0, byte, 0];
        let created = CreateStreamRef::decode(&create).map(|message| message.stream_type);
        assert_eq!(created, expect(CREATESTRM));
        let acknowledged = StreamAck::decode(&create[..2]).map(|message| message.stream_type);
        assert_eq!(acknowledged, expect(CommandName::STREAMACK));
        if let Some(stream_type) = expected {
            let mut encoded = Vec::new();
            StreamAck { association_id: AssociationId::Empty, stream_type }.encode(&mut encoded);
            assert_eq!(encoded, [0, byte]);
        }
    }
}

#[test]
fn an_association_id_is_a_uuid_or_empty() {
    let decode = |id: &[u8]| {
        let payload = [&[id.len() as u8], id, &[1]].concat();
        StreamAck::decode(&payload).map(|ack| ack.association_id)
    };
    let error = |error: fn(CommandName) -> WireError| Err(error(CommandName::STREAMACK));
    assert_eq!(decode(&[]), Ok(AssociationId::Empty));
    assert_eq!(decode(&[9]), Ok(AssociationId::Empty), "a type byte alone was not read as the empty id");
    assert_eq!(decode(&[0; 17]), Ok(AssociationId::Uuid([0; 16])));
    assert_eq!(decode(&[1; 17]), error(|command| WireError::BadValue { command }));
    assert_eq!(decode(&[0; 16]), error(|command| WireError::BadValue { command }));
    assert_eq!(decode(&[0; 129]), error(|command| WireError::BadValue { command }));
    assert_eq!(decode(&[0; 130]), error(|command| WireError::TooLong { command }));
}

#[test]
fn a_policy_has_at_most_64_bytes() {
    let [longest, too_long] = [[b'a'; 64].to_vec(), [b'a'; 65].to_vec()];
    let decode = |policy: &[u8]| {
        let payload = [&[0, 2, policy.len() as u8], policy].concat();
        CreateStreamRef::decode(&payload).map(|message| message.policy.to_vec())
    };
    assert_eq!(decode(&[]), Ok(vec![]));
    assert_eq!(decode(&longest), Ok(longest.clone()));
    assert_eq!(decode(&too_long), Err(WireError::TooLong { command: CREATESTRM }));
    let association_id = AssociationId::Empty;
    let message = CreateStreamRef { association_id, stream_type: StreamType::Data1, policy: &too_long };
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    assert_eq!(
        CreateStreamRef::decode(&encoded).map(|message| message.policy),
        Ok(&longest[..]),
        "the policy was not truncated to 64 bytes"
    );
}
