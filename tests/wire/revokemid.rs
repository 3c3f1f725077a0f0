//! Revocations: `revokemid`.

use crate::exact::{MAIN, assert_same};
use crate::known_payload;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{Message, RevokeMid, RevokeMidRef};
use peerloop_testkit::bytes::hex;
use peerloop_testkit::vectors::COMPUTED;

const COMMAND: CommandName = CommandName::REVOKEMID;
const KEYS_END: usize = 4 + 3 * 33;

fn key(fill: u8) -> [u8; 33] {
    let mut key = [fill; 33];
    key[0] = 2;
    key
}

/// Returns a payload with this length field and these signature bytes.
fn payload(len: &[u8], signatures: &[u8]) -> Vec<u8> {
    [&known_payload("revokemid")[..KEYS_END], len, signatures].concat()
}

#[test]
fn the_known_message_decodes_and_encodes_exactly() {
    let (_, text) = COMPUTED.iter().find(|(name, _)| *name == "revokemid").expect("a computed frame exists");
    let message = RevokeMid {
        revocation_key: key(0xa1),
        miner_id: key(0xb2),
        id_to_revoke: key(0xc3),
        revocation_signature: hex("3006020101020101").into(),
        miner_signature: hex("300702010202020080").into(),
    };
    assert_same(text, MAIN, "revokemid", Message::RevokeMid(Box::new(message)));
}

#[test]
fn every_truncation_is_an_error_and_trailing_bytes_are_ignored() {
    let whole = known_payload("revokemid");
    for cut in 0..whole.len() {
        assert_eq!(RevokeMidRef::decode(&whole[..cut]), Err(WireError::Truncated { command: COMMAND }), "{cut} bytes");
    }
    let longer = [&whole[..], &[0xff; 9]].concat();
    assert_eq!(RevokeMidRef::decode(&longer), RevokeMidRef::decode(&whole));
}

#[test]
fn versions_other_than_0_are_refused() {
    for version in [1_u32, 0x0100_0000, u32::MAX] {
        let mut payload = known_payload("revokemid");
        payload[..4].copy_from_slice(&version.to_le_bytes());
        assert_eq!(RevokeMidRef::decode(&payload), Err(WireError::BadValue { command: COMMAND }));
    }
}

#[test]
fn the_two_signatures_must_fill_their_field_exactly() {
    let lengths = |payload: &[u8]| {
        let message = RevokeMidRef::decode(payload)?;
        Ok((message.revocation_signature.len(), message.miner_signature.len()))
    };
    let truncated = Err(WireError::Truncated { command: COMMAND });
    assert_eq!(lengths(&payload(&[2], &[0, 0])), Ok((0, 0)));
    assert_eq!(lengths(&payload(&[4], &[2, 9, 9, 0])), Ok((2, 0)));
    assert_eq!(lengths(&payload(&[4], &[0, 2, 9, 9])), Ok((0, 2)));
    assert_eq!(lengths(&payload(&[0], &[])), truncated);
    assert_eq!(lengths(&payload(&[1], &[0])), truncated);
    assert_eq!(
        lengths(&payload(&[4], &[0, 3, 9, 9])),
        truncated,
        "a second signature that exceeds the field was not reported as truncated"
    );
    assert_eq!(
        lengths(&payload(&[4], &[4, 9, 9, 9, 9, 0])),
        truncated,
        "a first signature that exceeds the field was not reported as truncated"
    );
    assert_eq!(lengths(&payload(&[4], &[0, 1, 9, 9])), Err(WireError::BadValue { command: COMMAND }));
}

#[test]
fn a_signature_has_at_most_255_bytes() {
    let longest = [&[255][..], &[7; 255]].concat().repeat(2);
    let payload_of_longest = payload(&hex("fd0002"), &longest);
    let message = RevokeMidRef::decode(&payload_of_longest).unwrap();
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    assert_eq!(encoded, payload_of_longest);
    let too_long = [7; 256];
    let mut cut = Vec::new();
    RevokeMidRef { revocation_signature: &too_long, miner_signature: &too_long, ..message }.encode(&mut cut);
    assert_eq!(cut, payload_of_longest, "the encoded signatures were not truncated to the maximum");
    let decoded = RevokeMidRef::decode(&payload(&hex("fd0102"), &[0; 513])).map(|_| ());
    assert_eq!(decoded, Err(WireError::TooLong { command: COMMAND }));
}

#[test]
fn the_signed_digest_is_the_sha256_of_the_id_to_revoke() {
    let whole = known_payload("revokemid");
    let digest = RevokeMidRef::decode(&whole).unwrap().signed_digest();
    assert_eq!(digest[..], hex("6ccd1474422d54512963962243caae4879b016f64b927c92f949a4b895e01246"));
}
