//! `protoconf`: the largest payload that a peer accepts, and the stream policies that the peer supports.
//!
//! Fields of later protocol versions are skipped on input and never written.

use super::codec::{Reader, put_compact_size, put_var_bytes};
use crate::error::WireError;
use crate::limits::{MAX_LEGACY_PAYLOAD_BYTES, MAX_STREAM_POLICIES_BYTES};
use crate::protocol::CommandName;

/// A borrowed `protoconf` message (SV Node 1.2.2, protocol.h CProtoconf).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtoconfRef<'a> {
    /// The largest payload in bytes that the peer accepts, at least 1 MiB when received.
    pub max_recv_payload_bytes: u32,
    /// The names of the stream policies, separated by commas, at most [`MAX_STREAM_POLICIES_BYTES`]; `None` if the
    /// message has no such field.
    pub stream_policies: Option<&'a [u8]>,
}

/// An owned `protoconf` message.
///
/// ```
/// use peerloop::wire::{Protoconf, ProtoconfRef};
///
/// let stream_policies = Some((*b"Default").into());
/// let message = Protoconf { max_recv_payload_bytes: 2_097_152, stream_policies };
/// let mut payload = Vec::new();
/// message.as_ref().encode(&mut payload);
/// assert_eq!(payload, b"\x02\x00\x00\x20\x00\x07Default");
/// assert_eq!(ProtoconfRef::decode(&payload)?.max_recv_payload_bytes, 2_097_152);
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protoconf {
    /// The largest payload in bytes that the peer accepts, at least 1 MiB when received.
    pub max_recv_payload_bytes: u32,
    /// The names of the stream policies, separated by commas, at most [`MAX_STREAM_POLICIES_BYTES`]; `None` if the
    /// message has no such field.
    pub stream_policies: Option<Box<[u8]>>,
}

impl<'a> ProtoconfRef<'a> {
    /// Reads the payload of a `protoconf`; unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::BadValue`] if there are no fields or the largest payload is below 1 MiB, [`WireError::Truncated`]
    /// if the payload ends too early, [`WireError::TooLong`] if the policies are too long,
    /// [`WireError::OverlongSize`] if the field count or the policies' length is above 2^32 - 1, and
    /// [`WireError::NonCanonicalSize`] if one of them is not in its shortest form.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::PROTOCONF, payload);
        let number_of_fields = reader.compact_size()?;
        if number_of_fields == 0 {
            return Err(reader.bad_value());
        }
        let max_recv_payload_bytes = reader.u32()?;
        if u64::from(max_recv_payload_bytes) < MAX_LEGACY_PAYLOAD_BYTES {
            return Err(reader.bad_value());
        }
        let stream_policies =
            if number_of_fields >= 2 { Some(reader.var_bytes(MAX_STREAM_POLICIES_BYTES)?) } else { None };
        Ok(Self { max_recv_payload_bytes, stream_policies })
    }

    /// Appends the payload; policies that are too long are truncated.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_compact_size(if self.stream_policies.is_some() { 2 } else { 1 }, out);
        out.extend_from_slice(&self.max_recv_payload_bytes.to_le_bytes());
        if let Some(stream_policies) = self.stream_policies {
            put_var_bytes(stream_policies, MAX_STREAM_POLICIES_BYTES, out);
        }
    }

    /// Returns an owned copy of the message.
    pub fn into_owned(self) -> Protoconf {
        Protoconf {
            max_recv_payload_bytes: self.max_recv_payload_bytes,
            stream_policies: self.stream_policies.map(Box::from),
        }
    }
}

impl Protoconf {
    /// Borrows the message.
    pub fn as_ref(&self) -> ProtoconfRef<'_> {
        ProtoconfRef {
            max_recv_payload_bytes: self.max_recv_payload_bytes,
            stream_policies: self.stream_policies.as_deref(),
        }
    }
}
