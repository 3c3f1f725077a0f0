//! `authch` and `authresp`: a miner proves its identity by signing with its key.
//!
//! This file encodes and decodes the messages and computes the digest to sign; it neither creates nor checks
//! signatures. A peer need not reply to a challenge.

use super::codec::{Reader, put_var_bytes};
use super::hash::Hash256;
use crate::error::WireError;
use crate::limits::{MAX_AUTH_SIGNATURE_BYTES, MIN_AUTH_SIGNATURE_BYTES, PUBLIC_KEY_LEN_BYTES};
use crate::protocol::CommandName;
use sha2::{Digest, Sha256};

/// The `authch` message, 40 bytes (SV Node 1.2.2, net_processing.cpp ProcessAuthChMessage).
///
/// ```
/// use peerloop::wire::{AuthChallenge, AuthResponse, AuthResponseRef, Hash256};
///
/// # fn sign(_: Hash256) -> Box<[u8]> { [0x30; 70].into() }
/// let challenge = AuthChallenge { challenge: [7; 32] };
/// let mut payload = Vec::new();
/// challenge.encode(&mut payload);
/// assert_eq!(payload, [&[1, 0, 0, 0, 32, 0, 0, 0][..], &[7; 32]].concat());
///
/// // The miner adds a nonce of its own, and signs the digest with its key.
/// let (public_key, client_nonce) = ([2; 33], 9);
/// let signature = sign(AuthChallenge::decode(&payload)?.digest(client_nonce));
/// let mut reply = Vec::new();
/// AuthResponse { public_key, client_nonce, signature }.as_ref().encode(&mut reply);
/// assert_eq!(AuthResponseRef::decode(&reply)?.client_nonce, 9);
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthChallenge {
    /// The random part of the signed bytes.
    pub challenge: [u8; 32],
}

/// A borrowed `authresp` message (SV Node 1.2.2, net_processing.cpp ProcessAuthRespMessage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthResponseRef<'a> {
    /// The miner's compressed public key.
    pub public_key: [u8; PUBLIC_KEY_LEN_BYTES],
    /// The miner's own part of the signed bytes, so that the challenger does not choose all of them. A node rejects
    /// 0.
    pub client_nonce: u64,
    /// The DER signature of [`AuthChallenge::digest`], from 70 to 72 bytes.
    pub signature: &'a [u8],
}

/// An owned `authresp` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthResponse {
    /// The miner's compressed public key.
    pub public_key: [u8; PUBLIC_KEY_LEN_BYTES],
    /// The miner's own part of the signed bytes, so that the challenger does not choose all of them. A node rejects
    /// 0.
    pub client_nonce: u64,
    /// The DER signature of [`AuthChallenge::digest`], from 70 to 72 bytes.
    pub signature: Box<[u8]>,
}

impl AuthChallenge {
    /// The only version of the message.
    const VERSION: u32 = 1;
    const CHALLENGE_LEN_BYTES: u32 = 32;

    /// Reads the payload of an `authch`.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside a field, [`WireError::BadValue`] if the version is not 1
    /// or the length is not 32.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::AUTHCH, payload);
        if reader.u32()? != Self::VERSION {
            return Err(reader.bad_value());
        }
        if reader.u32()? != Self::CHALLENGE_LEN_BYTES {
            return Err(reader.bad_value());
        }
        Ok(Self { challenge: reader.array()? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::VERSION.to_le_bytes());
        out.extend_from_slice(&Self::CHALLENGE_LEN_BYTES.to_le_bytes());
        out.extend_from_slice(&self.challenge);
    }

    /// Returns the digest to sign for a reply with `client_nonce`.
    pub fn digest(&self, client_nonce: u64) -> Hash256 {
        let hasher = Sha256::new_with_prefix(self.challenge).chain_update(client_nonce.to_le_bytes());
        Hash256::finish(hasher)
    }
}

impl<'a> AuthResponseRef<'a> {
    /// Reads the payload of an `authresp`, without checking the key or the signature.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside a field, [`WireError::TooLong`],
    /// [`WireError::OverlongSize`] and [`WireError::NonCanonicalSize`] for the length of the key or the signature,
    /// [`WireError::BadValue`] if the key or the signature is too short.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::AUTHRESP, payload);
        let public_key = reader.var_bytes(PUBLIC_KEY_LEN_BYTES)?.try_into().map_err(|_| reader.bad_value())?;
        let client_nonce = reader.u64()?;
        let signature = reader.var_bytes(MAX_AUTH_SIGNATURE_BYTES)?;
        if signature.len() < MIN_AUTH_SIGNATURE_BYTES {
            return Err(reader.bad_value());
        }
        Ok(Self { public_key, client_nonce, signature })
    }

    /// Appends the payload; a signature that is too long is truncated.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_var_bytes(&self.public_key, PUBLIC_KEY_LEN_BYTES, out);
        out.extend_from_slice(&self.client_nonce.to_le_bytes());
        put_var_bytes(self.signature, MAX_AUTH_SIGNATURE_BYTES, out);
    }

    /// Returns an owned copy of the message.
    pub fn into_owned(self) -> AuthResponse {
        AuthResponse { public_key: self.public_key, client_nonce: self.client_nonce, signature: self.signature.into() }
    }
}

impl AuthResponse {
    /// Borrows the message.
    pub fn as_ref(&self) -> AuthResponseRef<'_> {
        AuthResponseRef { public_key: self.public_key, client_nonce: self.client_nonce, signature: &self.signature }
    }
}
