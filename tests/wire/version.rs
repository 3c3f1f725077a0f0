//! `version`: every number of optional fields, every truncation, every limit, and claims that are absurd but legal.

use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::time::UnixTime;
use peerloop::wire::{AssociationId, NetAddress, Sender, Version};
use peerloop_testkit::bytes::hex;
use peerloop_testkit::vectors::{self, payload};

const TRUNCATED: WireError = WireError::Truncated { command: CommandName::VERSION };
const TOO_LONG: WireError = WireError::TooLong { command: CommandName::VERSION };
const OVERLONG: WireError = WireError::OverlongSize { command: CommandName::VERSION };
const BAD_VALUE: WireError = WireError::BadValue { command: CommandName::VERSION };
const NON_CANONICAL: WireError = WireError::NonCanonicalSize { command: CommandName::VERSION };
/// The payload offsets at which the example may end: after the receiver, sender, user agent, height, relay and
/// association id.
const BOUNDARIES: [usize; 6] = [46, 80, 94, 98, 99, 117];

fn encode(version: &Version) -> Vec<u8> {
    let mut out = Vec::new();
    version.encode(&mut out);
    out
}

/// Decodes the example's first `boundary` bytes followed by `tail`.
fn with_tail(boundary: usize, tail: &[u8]) -> Result<Version, WireError> {
    Version::decode(&[&payload(vectors::VERSION_WITH_ASSOCIATION)[..boundary], tail].concat())
}

fn shortest() -> Version {
    Version::decode(&payload(vectors::VERSION_WITH_ASSOCIATION)[..46]).expect("the required fields are present")
}

#[test]
fn a_version_may_end_before_or_after_any_optional_field_and_nowhere_else() {
    let whole = payload(vectors::VERSION_WITH_ASSOCIATION);
    for cut in 0..=whole.len() {
        let decoded = Version::decode(&whole[..cut]);
        if !BOUNDARIES.contains(&cut) {
            assert_eq!(decoded, Err(TRUNCATED), "{cut} bytes");
            continue;
        }
        let version = decoded.unwrap();
        let present = [
            version.sender.is_some(),
            version.user_agent.is_some(),
            version.start_height.is_some(),
            version.relay.is_some(),
            version.association_id.is_some(),
        ];
        let expected: [bool; 5] = std::array::from_fn(|field| cut >= BOUNDARIES[field + 1]);
        assert_eq!(present, expected, "{cut} bytes");
        assert_eq!(encode(&version), whole[..cut], "{cut} bytes");
    }
}

#[test]
fn an_encoded_version_ends_before_the_first_missing_field() {
    let whole = payload(vectors::VERSION_WITH_ASSOCIATION);
    let full = Version::decode(&whole).unwrap();
    for (version, len) in [
        (Version { sender: None, ..full.clone() }, 46),
        (Version { user_agent: None, ..full.clone() }, 80),
        (Version { start_height: None, ..full.clone() }, 94),
        (Version { relay: None, ..full.clone() }, 98),
        (Version { association_id: None, ..full }, 99),
    ] {
        assert_eq!(encode(&version), whole[..len]);
    }
}

#[test]
fn bytes_after_the_association_id_are_ignored() {
    let whole = payload(vectors::VERSION_WITH_ASSOCIATION);
    assert_eq!(with_tail(117, b"more"), Version::decode(&whole));
    assert_eq!(with_tail(99, b"\0more"), Version::decode(&payload(vectors::VERSION_WITH_EMPTY_ASSOCIATION)));
}

#[test]
fn an_ip_address_and_its_port_are_in_network_order() {
    let wire = hex("210000000000000000000000000000000000ffff01020304208d");
    let mut whole = payload(vectors::VERSION_WITH_ASSOCIATION);
    whole[20..46].copy_from_slice(&wire);
    whole[46..72].copy_from_slice(&wire);
    let version = Version::decode(&whole).unwrap();
    let expected =
        NetAddress { services: 0x21, ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4], port: 8_333 };
    assert_eq!(version.receiver, expected);
    assert_eq!(version.sender, Some(Sender { address: expected, nonce: 0x0807_0605_0403_0201 }));
    assert_eq!(NetAddress::from_socket(0x21, "1.2.3.4:8333".parse().unwrap()), expected);
    assert_eq!(encode(&version), whole);
}

#[test]
fn an_ipv6_address_is_stored_unchanged() {
    let address = NetAddress::from_socket(5, "[2001:db8::1]:443".parse().unwrap());
    let mut ip = [0; 16];
    ip[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    ip[15] = 1;
    assert_eq!(address, NetAddress { services: 5, ip, port: 443 });
    assert_eq!(NetAddress::from_socket(0, "[::]:0".parse().unwrap()), NetAddress::UNSPECIFIED);
    assert_ne!(NetAddress::from_socket(0, "0.0.0.0:0".parse().unwrap()), NetAddress::UNSPECIFIED);
}

#[test]
fn a_user_agent_has_at_most_256_bytes() {
    for len in [0, 1, 252] {
        let version = with_tail(80, &[&[len as u8][..], &vec![b'a'; len]].concat()).unwrap();
        assert_eq!(version.user_agent.as_deref(), Some(&vec![b'a'; len][..]));
    }
    let longest = [&[0xfd, 0, 1][..], &[0xff; 256]].concat();
    let version = with_tail(80, &longest).unwrap();
    assert_eq!(version.user_agent.as_deref(), Some(&[0xff; 256][..]));
    assert_eq!(encode(&version)[80..], longest);
    assert_eq!(with_tail(80, &[&[0xfd, 1, 1][..], &[b'a'; 257]].concat()), Err(TOO_LONG));
    assert_eq!(with_tail(80, &[0xfd, 1, 1]), Err(TOO_LONG), "the length of a missing user agent was not checked");
    assert_eq!(with_tail(80, &longest[..258]), Err(TRUNCATED));
    assert_eq!(with_tail(80, &[0xfd, 2, 0, b'a', b'a']), Err(NON_CANONICAL));
    assert_eq!(with_tail(80, &[0xff; 9]), Err(OVERLONG));
}

#[test]
fn a_version_with_the_longest_user_agent_may_end_after_the_same_fields() {
    let example = payload(vectors::VERSION_WITH_ASSOCIATION);
    let whole = [&example[..80], &[0xfd, 0, 1], &[b'a'; 256], &example[94..]].concat();
    for cut in 0..=whole.len() {
        let decoded = Version::decode(&whole[..cut]);
        match cut {
            46 | 80 | 339 | 343 | 344 | 362 => assert_eq!(encode(&decoded.unwrap()), whole[..cut]),
            _ => assert_eq!(decoded, Err(TRUNCATED), "{cut} bytes"),
        }
    }
}

#[test]
fn a_user_agent_that_is_too_long_is_truncated_by_encoding() {
    let mut version = Version::decode(&payload(vectors::VERSION_WITH_ASSOCIATION)).unwrap();
    version.user_agent = Some(vec![b'a'; 257].into());
    let decoded = Version::decode(&encode(&version)).unwrap();
    assert_eq!(decoded.user_agent.as_deref(), Some(&[b'a'; 256][..]));
    assert_eq!(decoded.association_id, version.association_id);
}

#[test]
fn an_association_id_is_a_uuid_or_empty() {
    let uuid = [7; 16];
    let decode = |tail: &[u8]| with_tail(99, tail).map(|version| version.association_id.unwrap());
    assert_eq!(decode(&[0]), Ok(AssociationId::Empty));
    assert_eq!(decode(&[1, 0]), Ok(AssociationId::Empty));
    assert_eq!(decode(&[1, 9]), Ok(AssociationId::Empty), "an id of only a type byte was not read as the empty id");
    assert_eq!(decode(&[&[17, 0][..], &uuid].concat()), Ok(AssociationId::Uuid(uuid)));
    assert_eq!(decode(&[&[17, 1][..], &uuid].concat()), Err(BAD_VALUE));
    assert_eq!(decode(&[2, 1, 7]), Err(BAD_VALUE));
    assert_eq!(decode(&[&[17, 0][..], &uuid[..15]].concat()), Err(TRUNCATED));
    for len in 2..=129_u8 {
        let expected = if len == 17 { Ok(AssociationId::Uuid(uuid)) } else { Err(BAD_VALUE) };
        assert_eq!(decode(&[&[len, 0][..], &vec![7; usize::from(len) - 1]].concat()), expected);
    }
    assert_eq!(decode(&[&[130, 0][..], &[7; 129]].concat()), Err(TOO_LONG));
    assert_eq!(decode(&[130]), Err(TOO_LONG));
    assert_eq!(decode(&[129]), Err(TRUNCATED));
    assert_eq!(decode(&[&[0xfd, 17, 0, 0][..], &uuid].concat()), Err(NON_CANONICAL));
}

#[test]
fn relay_is_on_unless_it_is_switched_off() {
    assert!(shortest().relays());
    assert!(!with_tail(98, &[0]).unwrap().relays());
    for byte in 1..=u8::MAX {
        assert!(with_tail(98, &[byte]).unwrap().relays());
    }
}

#[test]
fn absurd_claims_are_stored_unchanged() {
    for protocol_version in [i32::MIN, -1, 0, i32::MAX] {
        for time in [i64::MIN, -1, 0, i64::MAX] {
            for height in [i32::MIN, -1, 0, i32::MAX] {
                for services in [0, u64::MAX] {
                    let mut version = Version::decode(&payload(vectors::VERSION_WITH_ASSOCIATION)).unwrap();
                    version.protocol_version = protocol_version;
                    version.time = UnixTime::from_secs(time);
                    version.start_height = Some(height);
                    version.services = services;
                    assert_eq!(Version::decode(&encode(&version)), Ok(version.clone()));
                    version.negotiated_version();
                    version.printable_user_agent();
                }
            }
        }
    }
    let version = Version::decode(&[0xff; 46]).unwrap();
    assert_eq!((version.protocol_version, version.services, version.time.as_secs()), (-1, u64::MAX, -1));
    assert_eq!(version.receiver, NetAddress { services: u64::MAX, ip: [0xff; 16], port: u16::MAX });
}

#[test]
fn the_smaller_protocol_version_is_negotiated_and_a_negative_one_counts_as_zero() {
    for (protocol_version, claimed, negotiated) in [
        (i32::MIN, 0, 0),
        (-1, 0, 0),
        (0, 0, 0),
        (31_800, 31_800, 31_800),
        (70_015, 70_015, 70_015),
        (70_016, 70_016, 70_016),
        (70_017, 70_017, 70_016),
        (i32::MAX, 2_147_483_647, 70_016),
    ] {
        let version = Version { protocol_version, ..shortest() };
        assert_eq!((version.claimed_version(), version.negotiated_version()), (claimed, negotiated));
    }
}

#[test]
fn a_user_agent_is_printed_without_the_characters_that_the_node_removes() {
    let kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,;-_/:?@()";
    for byte in 0..=u8::MAX {
        let version = Version { user_agent: Some(Box::new([b'<', byte, b'>'])), ..shortest() };
        let expected = if kept.as_bytes().contains(&byte) { char::from(byte).to_string() } else { String::new() };
        assert_eq!(version.printable_user_agent(), expected, "{byte:#04x}");
    }
    assert_eq!(shortest().printable_user_agent(), "");
    let node = Version::decode(&payload(vectors::NODE_VERSION)).unwrap();
    assert_eq!(node.printable_user_agent(), "/Bitcoin SV:1.0.13/");
    let long = Version { user_agent: Some(vec![b'a'; 300].into()), ..shortest() };
    assert_eq!(long.printable_user_agent().len(), 256);
}
