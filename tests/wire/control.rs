//! The small messages, and the deviations from their format that a node tolerates or rejects.

use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{MessageRef, ProtoconfRef, RejectCode, RejectRef};
use peerloop_testkit::vectors::{self, payload};

const LEAST: [u8; 4] = 1_048_576_u32.to_le_bytes();

fn encode(message: &MessageRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_payload(&mut out);
    out
}

#[test]
fn an_incomplete_nonce_is_an_error_and_bytes_after_a_nonce_are_ignored() {
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    for command in [CommandName::PING, CommandName::PONG] {
        for len in 0..8 {
            assert_eq!(MessageRef::decode(command, &bytes[..len]), Err(WireError::Truncated { command }));
        }
        let exact = MessageRef::decode(command, &bytes[..8]).unwrap();
        assert_eq!(MessageRef::decode(command, &bytes), Ok(exact.clone()), "bytes after the nonce were not ignored");
        assert_eq!(encode(&exact), bytes[..8]);
        assert_eq!(exact.command(), command);
    }
}

#[test]
fn the_payload_of_a_message_without_fields_is_ignored() {
    for message in [MessageRef::Verack, MessageRef::SendHeaders, MessageRef::SendHdrsEn, MessageRef::GetAddr] {
        assert_eq!(MessageRef::decode(message.command(), &[0xff; 100]), Ok(message.clone()));
        assert_eq!(encode(&message), []);
    }
}

#[test]
fn a_command_is_known_only_by_its_exact_name() {
    for name in ["Ping", "pin", "pings", "", "extmsg", "alert"] {
        let command = CommandName::new(name);
        assert_eq!(MessageRef::decode(command, b"any"), Ok(MessageRef::Opaque { command, payload: b"any" }));
    }
    let command = CommandName::from_bytes(*b"ping\0\0\0\0\0\0\0x");
    assert_eq!(MessageRef::decode(command, &[]), Ok(MessageRef::Opaque { command, payload: &[] }));
}

mod protoconf {
    use super::*;

    const TRUNCATED: WireError = WireError::Truncated { command: CommandName::PROTOCONF };
    const TOO_LONG: WireError = WireError::TooLong { command: CommandName::PROTOCONF };
    const OVERLONG: WireError = WireError::OverlongSize { command: CommandName::PROTOCONF };
    const BAD_VALUE: WireError = WireError::BadValue { command: CommandName::PROTOCONF };

    fn decode(parts: &[&[u8]]) -> Result<(u32, Option<Vec<u8>>), WireError> {
        let payload = parts.concat();
        let protoconf = ProtoconfRef::decode(&payload)?;
        Ok((protoconf.max_recv_payload_bytes, protoconf.stream_policies.map(<[u8]>::to_vec)))
    }

    #[test]
    fn every_truncation_is_an_error() {
        for frame in [vectors::PROTOCONF_WITH_POLICIES, vectors::PROTOCONF_WITHOUT_POLICIES] {
            let whole = payload(frame);
            for cut in 0..whole.len() {
                assert_eq!(ProtoconfRef::decode(&whole[..cut]), Err(TRUNCATED), "{cut} bytes");
            }
        }
    }

    #[test]
    fn a_protoconf_without_fields_is_invalid() {
        assert_eq!(decode(&[&[0], &LEAST, b"\x07Default"]), Err(BAD_VALUE));
    }

    #[test]
    fn a_limit_below_a_mebibyte_is_invalid() {
        for (max_bytes, is_right) in [(0, false), (1_048_575, false), (1_048_576, true), (u32::MAX, true)] {
            let expected = if is_right { Ok((max_bytes, None)) } else { Err(BAD_VALUE) };
            assert_eq!(decode(&[&[1], &max_bytes.to_le_bytes()]), expected);
        }
    }

    #[test]
    fn policies_are_read_only_if_the_field_count_includes_them() {
        assert_eq!(decode(&[&[1], &LEAST, b"\x07Default"]), Ok((1_048_576, None)));
        assert_eq!(decode(&[&[2], &LEAST]), Err(TRUNCATED));
        assert_eq!(decode(&[&[2], &LEAST, b"\0"]), Ok((1_048_576, Some(vec![]))));
        assert_eq!(decode(&[&[2], &LEAST, b"\x07Default"]), Ok((1_048_576, Some(b"Default".to_vec()))));
    }

    #[test]
    fn fields_of_a_later_protocol_are_skipped() {
        for fields in [&[3][..], &[0xfc], &[0xfd, 0xfd, 0], &[0xfe, 0xff, 0xff, 0xff, 0xff]] {
            let policies = Ok((1_048_576, Some(b"Default".to_vec())));
            assert_eq!(decode(&[fields, &LEAST, b"\x07Default"]), policies);
            assert_eq!(decode(&[fields, &LEAST, b"\x07Default", &[0xff; 50]]), policies);
            assert_eq!(decode(&[fields, &LEAST]), Err(TRUNCATED));
        }
        assert_eq!(decode(&[&[0xff; 9], &LEAST]), Err(OVERLONG));
        let non_canonical = WireError::NonCanonicalSize { command: CommandName::PROTOCONF };
        assert_eq!(decode(&[&[0xfd, 2, 0], &LEAST, b"\0"]), Err(non_canonical));
    }

    #[test]
    fn policies_have_at_most_650_bytes() {
        let [longest, too_long] = [vec![b'a'; 650], vec![b'a'; 651]];
        assert_eq!(decode(&[&[2], &LEAST, &[0xfd, 0x8a, 2], &longest]), Ok((1_048_576, Some(longest.clone()))));
        assert_eq!(decode(&[&[2], &LEAST, &[0xfd, 0x8b, 2], &too_long]), Err(TOO_LONG));
        let mut out = Vec::new();
        ProtoconfRef { max_recv_payload_bytes: 1_048_576, stream_policies: Some(&too_long) }.encode(&mut out);
        assert_eq!(decode(&[&out]), Ok((1_048_576, Some(longest))), "the policies were not shortened when encoded");
    }
}

mod reject {
    use super::*;

    const TRUNCATED: WireError = WireError::Truncated { command: CommandName::REJECT };
    const TOO_LONG: WireError = WireError::TooLong { command: CommandName::REJECT };

    fn hash_of(payload: &[u8]) -> Option<[u8; 32]> {
        RejectRef::decode(payload).expect("the payload is a reject").hash
    }

    #[test]
    fn every_truncation_but_the_one_before_the_hash_is_an_error() {
        let whole = payload(vectors::REJECT_TX);
        for cut in 0..whole.len() {
            match cut {
                13 => {
                    let reject = RejectRef::decode(&whole[..cut]).unwrap();
                    assert_eq!((reject.reason, reject.hash), (&b"bad-txns"[..], None));
                    assert_eq!(encode(&MessageRef::Reject(reject)), whole[..cut]);
                }
                _ => assert_eq!(RejectRef::decode(&whole[..cut]), Err(TRUNCATED), "{cut} bytes"),
            }
        }
    }

    #[test]
    fn every_truncation_of_a_reject_without_a_hash_is_an_error() {
        let whole = payload(vectors::NODE_REJECT_PING);
        for cut in 0..whole.len() {
            assert_eq!(RejectRef::decode(&whole[..cut]), Err(TRUNCATED), "{cut} bytes");
        }
    }

    #[test]
    fn only_a_reject_of_a_well_formed_transaction_or_block_has_a_hash() {
        let hash = [7; 32];
        assert_eq!(hash_of(&[b"\x02tx\x10\0", &hash[..]].concat()), Some(hash));
        assert_eq!(hash_of(&[b"\x05block\x43\0", &hash[..]].concat()), Some(hash));
        assert_eq!(hash_of(&[b"\x05block\x43\0", &hash[..], b"more"].concat()), Some(hash));
        assert_eq!(hash_of(&[b"\x02tx\x01\0", &hash[..]].concat()), None);
        assert_eq!(hash_of(&[b"\x05block\x01\0", &hash[..]].concat()), None);
        assert_eq!(hash_of(&[b"\x02TX\x10\0", &hash[..]].concat()), None);
        assert_eq!(hash_of(&[b"\x03txs\x10\0", &hash[..]].concat()), None);
        assert_eq!(hash_of(&[b"\x09datareftx\x10\0", &hash[..]].concat()), None);
    }

    #[test]
    fn a_hash_is_written_only_where_it_would_be_read() {
        for (message, code, is_written) in [
            (&b"tx"[..], RejectCode::INVALID, true),
            (b"block", RejectCode::INVALID, true),
            (b"tx", RejectCode::MALFORMED, false),
            (b"version", RejectCode::OBSOLETE, false),
        ] {
            let reject = RejectRef { message, code, reason: b"", hash: Some([7; 32]) };
            let encoded = encode(&MessageRef::Reject(reject));
            assert_eq!(encoded.len(), message.len() + 3 + if is_written { 32 } else { 0 });
            assert_eq!(hash_of(&encoded).is_some(), is_written);
        }
    }

    #[test]
    fn message_and_reason_lengths_are_limited() {
        let decode = |message: usize, reason: usize| {
            let parts = [&[message as u8][..], &vec![b'm'; message], &[0x10, reason as u8], &vec![b'r'; reason]];
            RejectRef::decode(&parts.concat()).map(|reject| (reject.message.len(), reject.reason.len()))
        };
        assert_eq!(decode(0, 0), Ok((0, 0)));
        assert_eq!(decode(12, 111), Ok((12, 111)));
        assert_eq!(decode(13, 0), Err(TOO_LONG));
        assert_eq!(decode(12, 112), Err(TOO_LONG));
        let long = RejectRef { message: &[b'm'; 13], code: RejectCode::INVALID, reason: &[b'r'; 112], hash: None };
        let encoded = encode(&MessageRef::Reject(long));
        let cut = RejectRef::decode(&encoded).unwrap();
        assert_eq!((cut.message.len(), cut.reason.len()), (12, 111), "a field was not shortened when encoded");
    }

    #[test]
    fn every_code_is_representable_and_some_have_names() {
        let names = [
            (0x01, "malformed"),
            (0x10, "invalid"),
            (0x11, "obsolete"),
            (0x12, "duplicate"),
            (0x13, "soft consensus freeze"),
            (0x40, "nonstandard"),
            (0x41, "dust"),
            (0x42, "insufficient fee"),
            (0x43, "checkpoint"),
            (0x44, "too busy"),
            (0x45, "rate exceeded"),
            (0x60, "stream setup"),
            (0x70, "auth connection setup"),
        ];
        for code in 0..=u8::MAX {
            let payload = [0, code, 0];
            let reject = RejectRef::decode(&payload).unwrap();
            assert_eq!(encode(&MessageRef::Reject(reject)), payload);
            let name = names.iter().find(|(named, _)| *named == code).map(|(_, name)| *name);
            assert_eq!(reject.code.name(), name, "{code:#04x}");
        }
        assert_eq!(RejectCode::TOO_BUSY.to_string(), "too busy");
        assert_eq!(RejectCode(0x99).to_string(), "code 0x99");
    }
}
