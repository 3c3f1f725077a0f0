//! Miners' messages, which the tests sign with keys of their own.
//!
//! The node checks the form of each message, and the signatures of a `revokemid`. It refuses a valid message only
//! because it does not know the miner.

use crate::mined::Chain;
use crate::observer::Happened;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{Message as Digest, PublicKey, Secp256k1, SecretKey};
use peerloop::wire::{AuthResponse, Message, RejectCode, RevokeMid, RevokeMidRef};
use peerloop_testkit::bytes::to_hex;

fn key(seed: u8) -> (SecretKey, [u8; 33]) {
    let secret = SecretKey::from_slice(&[seed; 32]).expect("the bytes are a key");
    (secret, PublicKey::from_secret_key(&Secp256k1::new(), &secret).serialize())
}

fn sign(digest: [u8; 32], secret: &SecretKey) -> Box<[u8]> {
    Secp256k1::new().sign_ecdsa(&Digest::from_digest(digest), secret).serialize_der().as_ref().into()
}

#[test]
fn the_node_refuses_a_revokemid_with_a_forged_miner_signature_and_a_valid_one_of_an_unknown_miner() {
    let Some(mut chain) = Chain::start_with(&["-debug=net"]) else { return };
    let ((revocation_secret, revocation_key), (miner_secret, miner_id)) = (key(2), key(3));
    let mut message = RevokeMid {
        revocation_key,
        miner_id,
        id_to_revoke: key(4).1,
        revocation_signature: Box::default(),
        miner_signature: Box::default(),
    };
    let digest = RevokeMidRef::signed_digest(&message.as_ref());
    assert_eq!(digest, sha256::Hash::hash(&message.id_to_revoke).to_byte_array());
    message.revocation_signature = sign(digest, &revocation_secret);
    message.miner_signature = sign(digest, &miner_secret);
    let mut forged = message.clone();
    forged.miner_signature = sign(digest, &revocation_secret);

    chain.say(Message::RevokeMid(Box::new(forged)));
    chain.node.log_once_it_says("Revokemid signature verification failed");
    chain.say(Message::RevokeMid(Box::new(message)));
    chain.node.log_once_it_says(&format!("Revokemid contains unknown miner ID {}", to_hex(&miner_id)));
}

#[test]
fn a_well_formed_authresp_is_refused_because_we_are_not_a_miner_and_a_short_signature_is_refused_for_its_size() {
    let Some(mut chain) = Chain::start_with(&[]) else { return };
    let peer = chain.peer;
    let find = |message: &Message| match message {
        Message::AuthCh(challenge) => Some(*challenge),
        _ => None,
    };
    let challenge = chain.observer.first(peer, find).expect("the node challenges every peer");
    let (secret, public_key) = key(1);
    let answer = |client_nonce| AuthResponse {
        public_key,
        client_nonce,
        signature: sign(challenge.digest(client_nonce).to_bytes(), &secret),
    };
    let sound =
        (1..).map(answer).find(|answer| answer.signature.len() >= 70).expect("most signatures have at least 70 bytes");
    let short = AuthResponse { signature: sound.signature[..69].into(), ..sound };
    let reasons = [sound, short].map(|answer| {
        let before = chain.observer.happened(peer).len();
        chain.say(Message::AuthResp(answer));
        chain.observer.settle(peer);
        let rejected = chain.observer.happened(peer)[before..].iter().find_map(|happened| match happened {
            Happened::Rejected(reject) => Some((reject.code, String::from_utf8_lossy(&reject.reason).into_owned())),
            _ => None,
        });
        rejected.expect("the node rejects the message of a peer that is not a miner")
    });
    // The node looks for the miner's address before it verifies the signature.
    let no_miner = "Public ip address does not match the one advertised in the miner info document.";
    assert_eq!(reasons[0], (RejectCode::AUTH_CONNECTION_SETUP, no_miner.to_owned()));
    assert_eq!(reasons[1], (RejectCode::AUTH_CONNECTION_SETUP, "Incorrect vSign.size()=69".to_owned()));
    chain.assert_in_good_standing();
}
