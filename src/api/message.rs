//! Owned, checksummed messages for subscribers, selected by command.

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
    /// The header as received.
    pub header: Header,
    /// The whole payload, which all subscribers share.
    pub payload: Bytes,
    /// The moment at which the message was read.
    pub received: Instant,
}

/// Selects the messages that a subscriber receives.
///
/// The engine handles `version`, `verack`, `ping`, `pong`, `reject`, `protoconf` and `sendheaders` itself. No
/// subscriber receives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandFilter {
    /// All messages.
    #[default]
    All,
    /// Messages of the listed commands. The command of each arriving message is compared with the whole list, so keep
    /// the list short.
    Only(Vec<CommandName>),
}

impl MessageEvent {
    /// Decodes the payload, borrowing from it.
    ///
    /// # Errors
    ///
    /// A [`WireError`] if the payload is not a valid message of its command.
    pub fn decode(&self) -> Result<MessageRef<'_>, WireError> {
        MessageRef::decode(self.header.command, &self.payload)
    }

    /// Decodes the payload into an owned message.
    ///
    /// # Errors
    ///
    /// The errors of [`MessageEvent::decode`].
    pub fn to_message(&self) -> Result<Message, WireError> {
        self.decode().map(MessageRef::into_owned)
    }
}

impl CommandFilter {
    /// Returns whether the filter selects messages of `command`.
    ///
    /// ```
    /// use peerloop::api::CommandFilter;
    /// use peerloop::protocol::CommandName;
    ///
    /// let filter = CommandFilter::Only(vec![CommandName::TX, CommandName::BLOCK]);
    /// assert!(filter.has(CommandName::TX));
    /// assert!(!filter.has(CommandName::INV));
    /// ```
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
