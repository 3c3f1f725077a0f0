//! `revokemid`: a miner revokes a compromised id.
//!
//! This file encodes and decodes the message and returns the digest to sign; it checks neither signatures nor keys.

use super::codec::{Reader, put_compact_size};
use crate::error::WireError;
use crate::limits::{MAX_MINER_SIGNATURE_BYTES, PUBLIC_KEY_LEN_BYTES};
use crate::protocol::CommandName;
use sha2::{Digest, Sha256};

/// A borrowed `revokemid` message (SV Node 1.2.2, miner_id/revokemid.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokeMidRef<'a> {
    /// The miner's compressed revocation key.
    pub revocation_key: [u8; PUBLIC_KEY_LEN_BYTES],
    /// The miner's id, a compressed public key.
    pub miner_id: [u8; PUBLIC_KEY_LEN_BYTES],
    /// The first id that is no longer trusted.
    pub id_to_revoke: [u8; PUBLIC_KEY_LEN_BYTES],
    /// The DER signature of [`signed_digest`](Self::signed_digest) by the revocation key, at most
    /// [`MAX_MINER_SIGNATURE_BYTES`].
    pub revocation_signature: &'a [u8],
    /// The DER signature of [`signed_digest`](Self::signed_digest) by the miner's id, at most
    /// [`MAX_MINER_SIGNATURE_BYTES`].
    pub miner_signature: &'a [u8],
}

/// An owned `revokemid` message.
///
/// ```
/// use peerloop::wire::{RevokeMid, RevokeMidRef};
///
/// let message = RevokeMid {
///     revocation_key: [2; 33],
///     miner_id: [3; 33],
///     id_to_revoke: [4; 33],
///     revocation_signature: [5; 70].into(),
///     miner_signature: [6; 71].into(),
/// };
/// let mut payload = Vec::new();
/// message.as_ref().encode(&mut payload);
/// assert_eq!(payload.len(), 4 + 3 * 33 + 1 + 1 + 70 + 1 + 71);
///
/// let received = RevokeMidRef::decode(&payload)?;
/// println!("check both signatures of {:02x?}", received.signed_digest());
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeMid {
    /// The miner's compressed revocation key.
    pub revocation_key: [u8; PUBLIC_KEY_LEN_BYTES],
    /// The miner's id, a compressed public key.
    pub miner_id: [u8; PUBLIC_KEY_LEN_BYTES],
    /// The first id that is no longer trusted.
    pub id_to_revoke: [u8; PUBLIC_KEY_LEN_BYTES],
    /// The DER signature of [`RevokeMidRef::signed_digest`] by the revocation key, at most
    /// [`MAX_MINER_SIGNATURE_BYTES`].
    pub revocation_signature: Box<[u8]>,
    /// The DER signature of [`RevokeMidRef::signed_digest`] by the miner's id, at most [`MAX_MINER_SIGNATURE_BYTES`].
    pub miner_signature: Box<[u8]>,
}

impl<'a> RevokeMidRef<'a> {
    /// The only version of the message.
    const VERSION: u32 = 0;

    /// Reads the payload of a `revokemid`, without checking keys or signatures.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends before the last field does, or if the signatures' field ends
    /// before the second signature does; [`WireError::BadValue`] if the version is not 0, or if bytes follow the second
    /// signature in the signatures' field; [`WireError::TooLong`], [`WireError::OverlongSize`] or
    /// [`WireError::NonCanonicalSize`] if the length of the signatures' field is invalid.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::REVOKEMID, payload);
        if reader.u32()? != Self::VERSION {
            return Err(reader.bad_value());
        }
        let (revocation_key, miner_id, id_to_revoke) = (reader.array()?, reader.array()?, reader.array()?);
        let mut signatures =
            Reader::new(CommandName::REVOKEMID, reader.var_bytes(2 * (1 + MAX_MINER_SIGNATURE_BYTES))?);
        let revocation_signature = read_signature(&mut signatures)?;
        let miner_signature = read_signature(&mut signatures)?;
        if signatures.remaining() > 0 {
            return Err(reader.bad_value());
        }
        Ok(Self { revocation_key, miner_id, id_to_revoke, revocation_signature, miner_signature })
    }

    /// Appends the payload; signatures that are too long are truncated.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let signatures = [self.revocation_signature, self.miner_signature]
            .map(|signature| &signature[..signature.len().min(MAX_MINER_SIGNATURE_BYTES)]);
        out.extend_from_slice(&Self::VERSION.to_le_bytes());
        for key in [self.revocation_key, self.miner_id, self.id_to_revoke] {
            out.extend_from_slice(&key);
        }
        put_compact_size(signatures.iter().map(|signature| 1 + signature.len() as u64).sum(), out);
        for signature in signatures {
            out.push(signature.len() as u8);
            out.extend_from_slice(signature);
        }
    }

    /// Returns the digest that both signatures sign: a single SHA-256 of the id to revoke.
    pub fn signed_digest(&self) -> [u8; 32] {
        Sha256::digest(self.id_to_revoke).into()
    }

    /// Returns an owned copy of the message.
    pub fn into_owned(self) -> RevokeMid {
        RevokeMid {
            revocation_key: self.revocation_key,
            miner_id: self.miner_id,
            id_to_revoke: self.id_to_revoke,
            revocation_signature: self.revocation_signature.into(),
            miner_signature: self.miner_signature.into(),
        }
    }
}

impl RevokeMid {
    /// Borrows the message.
    pub fn as_ref(&self) -> RevokeMidRef<'_> {
        RevokeMidRef {
            revocation_key: self.revocation_key,
            miner_id: self.miner_id,
            id_to_revoke: self.id_to_revoke,
            revocation_signature: &self.revocation_signature,
            miner_signature: &self.miner_signature,
        }
    }
}

/// Reads a signature. The length field is one byte and not a CompactSize, so the length needs no other limit.
fn read_signature<'a>(signatures: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let len_bytes = signatures.u8()?;
    signatures.bytes(usize::from(len_bytes))
}
