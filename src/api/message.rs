//! Owned, checksummed messages for subscribers, of the commands that they asked for.

use crate::error::WireError;
use crate::id::PeerId;
use crate::protocol::CommandName;
use crate::subscribe::Queued;
use crate::time::Instant;
use crate::wire::{Header, Message, MessageRef};
use bytes::Bytes;

/// A message that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageEvent {
    /// The sender.
    pub peer: PeerId,
    /// The header as it came.
    pub header: Header,
    /// The payload, whole; all subscribers share it.
    pub payload: Bytes,
    /// When it was read.
    pub received: Instant,
}

/// Selects the messages of a subscriber.
///
/// The engine handles the handshake, pings and pongs, `reject`, `protoconf` and `sendheaders` itself: no subscriber
/// receives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandFilter {
    /// All of them.
    #[default]
    All,
    /// Those of a few commands; each message that arrives is compared with all of them.
    Only(Vec<CommandName>),
}

impl MessageEvent {
    /// Decodes the payload, borrowing from it.
    ///
    /// # Errors
    ///
    /// When the payload is not a correct message of its command.
    pub fn decode(&self) -> Result<MessageRef<'_>, WireError> {
        MessageRef::decode(self.header.command, &self.payload)
    }

    /// Decodes the payload into an owned message.
    ///
    /// # Errors
    ///
    /// As [`MessageEvent::decode`].
    pub fn to_message(&self) -> Result<Message, WireError> {
        self.decode().map(MessageRef::into_owned)
    }
}

impl CommandFilter {
    /// Whether the filter selects messages of `command`.
    pub fn has(&self, command: CommandName) -> bool {
        match self {
            Self::All => true,
            Self::Only(commands) => commands.contains(&command),
        }
    }
}

impl Queued for MessageEvent {
    fn held_bytes(&self) -> usize {
        self.payload.len()
    }
}
