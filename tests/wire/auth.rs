//! Authentication: `authch` and `authresp`.

use crate::exact::{MAIN, REGTEST, assert_same};
use crate::{assert_cuts_fail_and_more_is_ignored, known_payload};
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{AuthChallenge, AuthResponse, AuthResponseRef, Hash256, Message};
use peerloop_testkit::vectors::{COMPUTED, RECORDED, known};

const AUTHCH: CommandName = CommandName::AUTHCH;
const AUTHRESP: CommandName = CommandName::AUTHRESP;

#[test]
fn known_messages_decode_and_encode_exactly() {
    let challenge = std::array::from_fn(|at| at as u8);
    assert_same(known(&COMPUTED, "authch"), MAIN, "authch", Message::AuthCh(AuthChallenge { challenge }));
    let challenge = known_payload("authch");
    assert_eq!(challenge.len(), 40);
    let recorded = peerloop_testkit::vectors::payload(known(&RECORDED, "authch"))[8..].try_into().unwrap();
    assert_same(known(&RECORDED, "authch"), REGTEST, "authch", Message::AuthCh(AuthChallenge { challenge: recorded }));

    let mut public_key = [0xaa; 33];
    public_key[0] = 2;
    let mut signature = [&[0x30, 0x44, 2, 0x20], &[0x11; 32][..], &[2, 0x20], &[0x22; 32]].concat();
    let client_nonce = 0x0807_0605_0403_0201;
    let response = AuthResponse { public_key, client_nonce, signature: signature.clone().into() };
    assert_same(known(&COMPUTED, "authresp"), MAIN, "authresp", Message::AuthResp(response));
    signature.extend([1, 2, 3]);
    let mut encoded = Vec::new();
    AuthResponseRef { public_key, client_nonce, signature: &signature }.encode(&mut encoded);
    let cut = AuthResponseRef::decode(&encoded).map(|response| response.signature);
    assert_eq!(cut, Ok(&signature[..72]), "the signature was not shortened to 72 bytes");
}

#[test]
fn every_truncation_is_an_error_and_trailing_bytes_are_ignored() {
    for command in [AUTHCH, AUTHRESP] {
        assert_cuts_fail_and_more_is_ignored(command, 0);
    }
}

#[test]
fn a_challenge_has_version_1_and_32_bytes() {
    let decode = |version: u32, len: u32| {
        let payload = [&version.to_le_bytes()[..], &len.to_le_bytes(), &[7; 64]].concat();
        AuthChallenge::decode(&payload)
    };
    assert_eq!(decode(1, 32), Ok(AuthChallenge { challenge: [7; 32] }));
    for (version, len) in [(0, 32), (2, 32), (0x0100_0000, 32), (1, 0), (1, 31), (1, 33), (1, u32::MAX)] {
        assert_eq!(decode(version, len), Err(WireError::BadValue { command: AUTHCH }), "{version} {len}");
    }
}

#[test]
fn key_and_signature_lengths_are_checked() {
    let decode = |key: usize, signature: usize| {
        let parts = [&[key as u8][..], &vec![2; key], &[9; 8], &[signature as u8], &vec![0x30; signature]];
        AuthResponseRef::decode(&parts.concat()).map(|response| response.signature.len())
    };
    let [bad_value, too_long] =
        [WireError::BadValue { command: AUTHRESP }, WireError::TooLong { command: AUTHRESP }].map(Err);
    for signature in 70..=72 {
        assert_eq!(decode(33, signature), Ok(signature));
    }
    assert_eq!(decode(33, 69), bad_value);
    assert_eq!(decode(33, 0), bad_value);
    assert_eq!(decode(33, 73), too_long);
    assert_eq!(decode(32, 71), bad_value);
    assert_eq!(decode(0, 71), bad_value);
    assert_eq!(decode(34, 71), too_long);
}

#[test]
fn the_digest_covers_challenge_and_nonce() {
    let challenge = AuthChallenge { challenge: [3; 32] };
    let signed = [&[3; 32][..], &[8, 7, 6, 5, 4, 3, 2, 1]].concat();
    assert_eq!(challenge.digest(0x0102_0304_0506_0708), Hash256::of(&signed));
}
