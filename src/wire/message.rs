//! Messages: a payload and its command, decoded, and back into a frame.
//!
//! A [`MessageRef`] borrows what it can from the payload and is what handlers see; a [`Message`] is the same on its
//! own. Every command that is not understood is `Opaque` and passes through unchanged. Frames are appended to a buffer
//! of the caller's, in one pass and without another allocation.

use super::codec::Reader;
use super::header::Header;
use super::protoconf::{Protoconf, ProtoconfRef};
use super::reject::{Reject, RejectRef};
use super::version::Version;
use crate::error::WireError;
use crate::limits::HEADER_LEN_BYTES;
use crate::protocol::CommandName;
use std::borrow::Cow;

/// A decoded message that borrows from its payload; only a `version` with a user agent allocates.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageRef<'a> {
    /// `version`: who the peer is. Owned when decoded.
    Version(Cow<'a, Version>),
    /// `verack`: the version is accepted.
    Verack,
    /// `ping`: asks for a `pong`.
    Ping {
        /// What the answer has to repeat.
        nonce: u64,
    },
    /// `pong`: answers a `ping`.
    Pong {
        /// What the `ping` said.
        nonce: u64,
    },
    /// `protoconf`: what the peer can take.
    Protoconf(ProtoconfRef<'a>),
    /// `sendheaders`: the peer wants blocks announced by their headers.
    SendHeaders,
    /// `reject`: the peer did not take a message.
    Reject(RejectRef<'a>),
    /// Any other message.
    Opaque {
        /// The command.
        command: CommandName,
        /// The payload as it came.
        payload: &'a [u8],
    },
}

/// A decoded message on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// `version`: who the peer is.
    Version(Box<Version>),
    /// `verack`: the version is accepted.
    Verack,
    /// `ping`: asks for a `pong`.
    Ping {
        /// What the answer has to repeat.
        nonce: u64,
    },
    /// `pong`: answers a `ping`.
    Pong {
        /// What the `ping` said.
        nonce: u64,
    },
    /// `protoconf`: what the peer can take.
    Protoconf(Protoconf),
    /// `sendheaders`: the peer wants blocks announced by their headers.
    SendHeaders,
    /// `reject`: the peer did not take a message.
    Reject(Reject),
    /// Any other message.
    Opaque {
        /// The command.
        command: CommandName,
        /// The payload as it came.
        payload: Box<[u8]>,
    },
}

impl<'a> MessageRef<'a> {
    /// Reads the payload of `command`; bytes behind the last known field are ignored.
    ///
    /// # Errors
    ///
    /// As the message's own `decode`; a `ping` or `pong` without a whole nonce is [`WireError::Truncated`]. An opaque
    /// message is never wrong.
    pub fn decode(command: CommandName, payload: &'a [u8]) -> Result<Self, WireError> {
        let nonce = || Reader::new(command, payload).u64();
        Ok(match command {
            CommandName::VERSION => Self::Version(Cow::Owned(Version::decode(payload)?)),
            CommandName::VERACK => Self::Verack,
            CommandName::PING => Self::Ping { nonce: nonce()? },
            CommandName::PONG => Self::Pong { nonce: nonce()? },
            CommandName::PROTOCONF => Self::Protoconf(ProtoconfRef::decode(payload)?),
            CommandName::SENDHEADERS => Self::SendHeaders,
            CommandName::REJECT => Self::Reject(RejectRef::decode(payload)?),
            _ => Self::Opaque { command, payload },
        })
    }

    /// The command that the message travels under.
    pub const fn command(&self) -> CommandName {
        match self {
            Self::Version(_) => CommandName::VERSION,
            Self::Verack => CommandName::VERACK,
            Self::Ping { .. } => CommandName::PING,
            Self::Pong { .. } => CommandName::PONG,
            Self::Protoconf(_) => CommandName::PROTOCONF,
            Self::SendHeaders => CommandName::SENDHEADERS,
            Self::Reject(_) => CommandName::REJECT,
            Self::Opaque { command, .. } => *command,
        }
    }

    /// Appends the payload alone.
    pub fn encode_payload(&self, out: &mut Vec<u8>) {
        match self {
            Self::Version(version) => version.encode(out),
            Self::Verack | Self::SendHeaders => {}
            Self::Ping { nonce } | Self::Pong { nonce } => out.extend_from_slice(&nonce.to_le_bytes()),
            Self::Protoconf(protoconf) => protoconf.encode(out),
            Self::Reject(reject) => reject.encode(out),
            Self::Opaque { payload, .. } => out.extend_from_slice(payload),
        }
    }

    /// Appends header and payload.
    ///
    /// # Panics
    ///
    /// If an opaque payload has more than 4 GiB - 1 bytes.
    pub fn encode_frame(&self, magic: [u8; 4], out: &mut Vec<u8>) {
        let header_at = out.len();
        let payload_at = header_at + HEADER_LEN_BYTES;
        out.extend_from_slice(&[0; HEADER_LEN_BYTES]);
        self.encode_payload(out);
        let header = Header::of(self.command(), &out[payload_at..]);
        out[header_at..payload_at].copy_from_slice(&header.encode(magic));
    }

    /// The message on its own.
    pub fn into_owned(self) -> Message {
        match self {
            Self::Version(version) => Message::Version(Box::new(version.into_owned())),
            Self::Verack => Message::Verack,
            Self::Ping { nonce } => Message::Ping { nonce },
            Self::Pong { nonce } => Message::Pong { nonce },
            Self::Protoconf(protoconf) => Message::Protoconf(protoconf.into_owned()),
            Self::SendHeaders => Message::SendHeaders,
            Self::Reject(reject) => Message::Reject(reject.into_owned()),
            Self::Opaque { command, payload } => Message::Opaque { command, payload: payload.into() },
        }
    }
}

impl Message {
    /// The message, borrowed; this is how it is encoded.
    pub fn as_ref(&self) -> MessageRef<'_> {
        match self {
            Self::Version(version) => MessageRef::Version(Cow::Borrowed(version)),
            Self::Verack => MessageRef::Verack,
            Self::Ping { nonce } => MessageRef::Ping { nonce: *nonce },
            Self::Pong { nonce } => MessageRef::Pong { nonce: *nonce },
            Self::Protoconf(protoconf) => MessageRef::Protoconf(protoconf.as_ref()),
            Self::SendHeaders => MessageRef::SendHeaders,
            Self::Reject(reject) => MessageRef::Reject(reject.as_ref()),
            Self::Opaque { command, payload } => MessageRef::Opaque { command: *command, payload },
        }
    }
}

/// Appends header and payload of a message whose payload is already encoded.
///
/// # Panics
///
/// If the payload has more than 4 GiB - 1 bytes.
pub fn put_frame(magic: [u8; 4], command: CommandName, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Header::of(command, payload).encode(magic));
    out.extend_from_slice(payload);
}

/// Appends the `pong` that answers a `ping` whose checksum was verified: both have the same payload, so both have the
/// same checksum.
pub fn put_pong(magic: [u8; 4], ping_payload: &[u8; 8], checksum: [u8; 4], out: &mut Vec<u8>) {
    let header = Header { command: CommandName::PONG, payload_len: ping_payload.len() as u64, checksum };
    out.extend_from_slice(&header.encode(magic));
    out.extend_from_slice(ping_payload);
}
