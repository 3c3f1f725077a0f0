//! `createstrm` and `streamack`: an additional connection to a peer that is already connected.
//!
//! Both messages name the association and the stream's type; `createstrm` also names a stream policy. This module never
//! decides which connection belongs to which peer.

use super::codec::{Reader, put_var_bytes};
use super::version::AssociationId;
use crate::error::WireError;
use crate::limits::{MAX_ASSOCIATION_ID_BYTES, MAX_STREAM_POLICY_BYTES};
use crate::protocol::CommandName;
use std::fmt;

/// A borrowed `createstrm` message, which replaces the `version` on an additional connection (SV Node 1.2.2,
/// net_processing.cpp ProcessCreateStreamMessage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateStreamRef<'a> {
    /// The association to join, from the `version` of its first connection.
    pub association_id: AssociationId,
    /// The connection's purpose.
    pub stream_type: StreamType,
    /// The stream policy's name, at most [`MAX_STREAM_POLICY_BYTES`] long. The policy assigns messages to streams. An
    /// empty name keeps the current policy.
    pub policy: &'a [u8],
}

/// An owned `createstrm` message.
///
/// ```
/// use peerloop::wire::{AssociationId, CreateStream, CreateStreamRef, StreamAck, StreamType};
///
/// let (association_id, stream_type) = (AssociationId::Uuid([7; 16]), StreamType::Data1);
/// let request = CreateStream { association_id, stream_type, policy: (*b"BlockPriority").into() };
/// let mut payload = Vec::new();
/// request.as_ref().encode(&mut payload);
/// assert_eq!(payload, [&[17, 0][..], &[7; 16], &[2, 13], b"BlockPriority"].concat());
///
/// let CreateStreamRef { association_id, stream_type, .. } = CreateStreamRef::decode(&payload)?;
/// let mut reply = Vec::new();
/// StreamAck { association_id, stream_type }.encode(&mut reply);
/// assert_eq!(reply, payload[..19]);
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateStream {
    /// The association to join, from the `version` of its first connection.
    pub association_id: AssociationId,
    /// The connection's purpose.
    pub stream_type: StreamType,
    /// The stream policy's name, at most [`MAX_STREAM_POLICY_BYTES`] long. The policy assigns messages to streams. An
    /// empty name keeps the current policy.
    pub policy: Box<[u8]>,
}

/// The `streamack` message, which accepts a `createstrm` (SV Node 1.2.2, net_processing.cpp ProcessStreamAckMessage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamAck {
    /// The association that was joined.
    pub association_id: AssociationId,
    /// The connection's purpose.
    pub stream_type: StreamType,
}

/// The purpose of one connection of an association (SV Node 1.2.2, net/stream.h StreamType).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StreamType {
    /// Unspecified.
    Unknown = 0,
    /// The first connection.
    General = 1,
    /// The first additional connection. The policy `BlockPriority` moves blocks, headers and pings to this
    /// connection.
    Data1 = 2,
    /// The second additional connection.
    Data2 = 3,
    /// The third additional connection.
    Data3 = 4,
    /// The fourth additional connection.
    Data4 = 5,
}

impl fmt::Display for StreamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'a> CreateStreamRef<'a> {
    /// Reads the payload of a `createstrm`.
    ///
    /// # Errors
    ///
    /// - [`WireError::Truncated`] if the payload ends inside a field.
    /// - [`WireError::BadValue`] for an invalid association id or stream type.
    /// - [`WireError::TooLong`], [`WireError::OverlongSize`] or [`WireError::NonCanonicalSize`] for an invalid length
    ///   of the id or the policy.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::CREATESTRM, payload);
        Ok(Self {
            association_id: AssociationId::read(&mut reader)?,
            stream_type: StreamType::read(&mut reader)?,
            policy: reader.var_bytes(MAX_STREAM_POLICY_BYTES)?,
        })
    }

    /// Returns the reason that an SV Node states in its `reject` of a payload that does not decode or has an empty
    /// association id (observed with SV Node 1.0.13).
    pub(crate) fn reject_reason(payload: &[u8]) -> Vec<u8> {
        let mut reader = Reader::new(CommandName::CREATESTRM, payload);
        let mut read = || {
            let id = reader.var_bytes(MAX_ASSOCIATION_ID_BYTES)?;
            let stream_type = reader.u8()?;
            reader.var_bytes(MAX_STREAM_POLICY_BYTES).map(|_| (id, stream_type))
        };
        match read() {
            Err(_) => b"Badly formatted message".into(),
            Ok((_, stream_type)) if stream_type > StreamType::Data4 as u8 => b"StreamType out of range".into(),
            Ok(([] | [_], _)) => b"NULL association ID".into(),
            Ok((id, _)) => AssociationId::reject_reason(id),
        }
    }

    /// Appends the payload; a policy that is too long is truncated.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.association_id.write(out);
        out.push(self.stream_type as u8);
        put_var_bytes(self.policy, MAX_STREAM_POLICY_BYTES, out);
    }

    /// Returns an owned copy of the message.
    pub fn into_owned(self) -> CreateStream {
        CreateStream { association_id: self.association_id, stream_type: self.stream_type, policy: self.policy.into() }
    }
}

impl CreateStream {
    /// Borrows the message.
    pub fn as_ref(&self) -> CreateStreamRef<'_> {
        CreateStreamRef { association_id: self.association_id, stream_type: self.stream_type, policy: &self.policy }
    }
}

impl StreamAck {
    /// Reads the payload of a `streamack`.
    ///
    /// # Errors
    ///
    /// - [`WireError::Truncated`] if the payload ends inside a field.
    /// - [`WireError::BadValue`] for an invalid association id or stream type.
    /// - [`WireError::TooLong`], [`WireError::OverlongSize`] or [`WireError::NonCanonicalSize`] for an invalid length
    ///   of the id.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::STREAMACK, payload);
        Ok(Self { association_id: AssociationId::read(&mut reader)?, stream_type: StreamType::read(&mut reader)? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.association_id.write(out);
        out.push(self.stream_type as u8);
    }
}

impl StreamType {
    /// Returns the name of the stream, as an SV Node prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::General => "GENERAL",
            Self::Data1 => "DATA1",
            Self::Data2 => "DATA2",
            Self::Data3 => "DATA3",
            Self::Data4 => "DATA4",
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match reader.u8()? {
            0 => Self::Unknown,
            1 => Self::General,
            2 => Self::Data1,
            3 => Self::Data2,
            4 => Self::Data3,
            5 => Self::Data4,
            _ => return Err(reader.bad_value()),
        })
    }
}
