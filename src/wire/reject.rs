//! `reject`: the reason why a peer refused a message.
//!
//! A `reject` is optional and needs no reply. The peer chooses the text freely.

use super::codec::{Reader, put_var_bytes};
use crate::error::WireError;
use crate::limits::{MAX_REJECT_MESSAGE_BYTES, MAX_REJECT_REASON_BYTES};
use crate::protocol::{CommandName, reject_code_name};
use std::fmt;

/// A borrowed `reject` message (SV Node 1.2.2, net_processing.cpp ProcessRejectMessage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectRef<'a> {
    /// The command of the rejected message, without padding, at most [`MAX_REJECT_MESSAGE_BYTES`].
    pub message: &'a [u8],
    /// The kind of the rejection.
    pub code: RejectCode,
    /// The reason in the peer's words, at most [`MAX_REJECT_REASON_BYTES`].
    pub reason: &'a [u8],
    /// The hash of the rejected transaction or block, in wire order. Only a `reject` of a `tx` or `block` with a code
    /// other than [`RejectCode::MALFORMED`] can have a hash.
    pub hash: Option<[u8; 32]>,
}

/// An owned `reject` message.
///
/// ```
/// use peerloop::wire::{Reject, RejectCode, RejectRef};
///
/// let (message, reason) = ((*b"version").into(), (*b"Obsolete").into());
/// let reject = Reject { message, code: RejectCode::OBSOLETE, reason, hash: None };
/// let mut payload = Vec::new();
/// reject.as_ref().encode(&mut payload);
/// assert_eq!(payload, b"\x07version\x11\x08Obsolete");
///
/// let received = RejectRef::decode(&payload)?;
/// assert_eq!(received.code.name(), Some("obsolete"));
/// assert_eq!(received.code.meaning(received.message), Some("our protocol version is too old"));
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The command of the rejected message, without padding, at most [`MAX_REJECT_MESSAGE_BYTES`].
    pub message: Box<[u8]>,
    /// The kind of the rejection.
    pub code: RejectCode,
    /// The reason in the peer's words, at most [`MAX_REJECT_REASON_BYTES`].
    pub reason: Box<[u8]>,
    /// The hash of the rejected transaction or block, in wire order. Only a `reject` of a `tx` or `block` with a code
    /// other than [`RejectCode::MALFORMED`] can have a hash.
    pub hash: Option<[u8; 32]>,
}

/// The kind of a rejection: one byte. Some of its values have names (SV Node 1.2.2, consensus/validation.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectCode(pub u8);

impl<'a> RejectRef<'a> {
    /// Reads the payload of a `reject`; a peer may omit the hash.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends before the end of the reason or inside the hash;
    /// [`WireError::TooLong`], [`WireError::OverlongSize`] and [`WireError::NonCanonicalSize`] for the lengths of the
    /// message and the reason.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::REJECT, payload);
        let message = reader.var_bytes(MAX_REJECT_MESSAGE_BYTES)?;
        let code = RejectCode(reader.u8()?);
        let reason = reader.var_bytes(MAX_REJECT_REASON_BYTES)?;
        let hash = if has_hash(message, code) { reader.optional(Reader::array)? } else { None };
        Ok(Self { message, code, reason, hash })
    }

    /// Appends the payload. Fields that are too long are truncated, and a hash is written only if the message and the
    /// code allow one.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_var_bytes(self.message, MAX_REJECT_MESSAGE_BYTES, out);
        out.push(self.code.0);
        put_var_bytes(self.reason, MAX_REJECT_REASON_BYTES, out);
        if let Some(hash) = self.hash.filter(|_| has_hash(self.message, self.code)) {
            out.extend_from_slice(&hash);
        }
    }

    /// Returns an owned copy of the message.
    pub fn into_owned(self) -> Reject {
        Reject { message: self.message.into(), code: self.code, reason: self.reason.into(), hash: self.hash }
    }
}

impl Reject {
    /// Borrows the message.
    pub fn as_ref(&self) -> RejectRef<'_> {
        RejectRef { message: &self.message, code: self.code, reason: &self.reason, hash: self.hash }
    }
}

impl RejectCode {
    /// The message could not be read.
    pub const MALFORMED: Self = Self(0x01);
    /// The message violates a consensus rule.
    pub const INVALID: Self = Self(0x10);
    /// The message belongs to an old version of the protocol.
    pub const OBSOLETE: Self = Self(0x11);
    /// The node already has the message or its contents, or a transaction that spends the same output.
    pub const DUPLICATE: Self = Self(0x12);
    /// The transaction spends a frozen output. It may still be mined.
    pub const SOFT_CONSENSUS_FREEZE: Self = Self(0x13);
    /// The message violates the node's own policy.
    pub const NONSTANDARD: Self = Self(0x40);
    /// The transaction has an output that is too small to be worth spending.
    pub const DUST: Self = Self(0x41);
    /// The transaction's fee is too low.
    pub const INSUFFICIENT_FEE: Self = Self(0x42);
    /// The block contradicts a checkpoint.
    pub const CHECKPOINT: Self = Self(0x43);
    /// The node is too busy to handle the message.
    pub const TOO_BUSY: Self = Self(0x44);
    /// The `reject`'s receiver sends too much.
    pub const RATE_EXCEEDED: Self = Self(0x45);
    /// A stream could not be set up.
    pub const STREAM_SETUP: Self = Self(0x60);
    /// The peer could not be authenticated.
    pub const AUTH_CONNECTION_SETUP: Self = Self(0x70);

    /// Returns the name of the code, if it has one.
    pub const fn name(self) -> Option<&'static str> {
        reject_code_name(self.0)
    }
}

impl RejectCode {
    /// Returns a readable description of the code in a `reject` of `message` (SV Node 1.2.2,
    /// net/net_processing.cpp). If there is no description, returns the code's [name](Self::name).
    pub fn meaning(self, message: &[u8]) -> Option<&'static str> {
        Some(match (message, self) {
            (b"version", Self::OBSOLETE) => "our protocol version is too old",
            (b"version", Self::DUPLICATE) => "it already had our version",
            (b"version", Self::NONSTANDARD) => "we lack a service that it needs",
            (b"version", Self::TOO_BUSY) => "the node is at capacity",
            (b"version", Self::STREAM_SETUP) => "our version could not be read",
            (b"getdata", Self::TOO_BUSY) => "too busy to send blocks",
            (b"createstrm" | b"streamack", Self::NONSTANDARD) => "the connection is not a new stream",
            (b"createstrm", Self::STREAM_SETUP) => "the stream could not be joined",
            (b"authch" | b"authresp", Self::AUTH_CONNECTION_SETUP) => "the miner could not be authenticated",
            (b"tx", Self::DUPLICATE) => "it is known, or spends an output that is already spent",
            (b"tx", Self::INSUFFICIENT_FEE) => "its fee is too low",
            (_, Self::MALFORMED) => "it could not be read",
            _ => return self.name(),
        })
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {:#04x}", self.0),
        }
    }
}

/// Returns whether a `reject` of `message` with this code has a hash after the reason. A peer that could not read a
/// transaction or block does not know its hash.
fn has_hash(message: &[u8], code: RejectCode) -> bool {
    code != RejectCode::MALFORMED && [&b"tx"[..], b"block"].contains(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meaning_of_a_code_depends_on_the_message() {
        for (message, code, meaning) in [
            (&b"version"[..], 0x44, Some("the node is at capacity")),
            (b"getdata", 0x44, Some("too busy to send blocks")),
            (b"tx", 0x44, Some("too busy")),
            (b"version", 0x40, Some("we lack a service that it needs")),
            (b"tx", 0x40, Some("nonstandard")),
            (b"version", 0x11, Some("our protocol version is too old")),
            (b"version", 0x60, Some("our version could not be read")),
            (b"createstrm", 0x60, Some("the stream could not be joined")),
            (b"ping", 0x01, Some("it could not be read")),
            (b"version", 0x99, None),
            (b"\xff", 0x10, Some("invalid")),
        ] {
            assert_eq!(RejectCode(code).meaning(message), meaning, "{message:?} {code:#04x}");
        }
    }
}
