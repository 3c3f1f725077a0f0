//! The messages whose delivery to the handler is in progress.
//!
//! Each stream of a peer delivers its own messages, so a record is kept for each stream. It never has a payload.

use crate::api::Delivery;
use crate::wire::{Header, StreamType};

/// The message that a stream delivers: its header, the handler's decision, and the bytes delivered so far.
pub(super) type Message = (Header, Delivery, u64);

/// The messages that a peer's streams deliver. Few peers have more than one stream.
#[derive(Debug, Default)]
pub(super) struct Messages(Vec<(StreamType, Message)>);

impl Messages {
    /// Stores a stream's message, and returns the one that it replaces.
    pub(super) fn insert(&mut self, stream: StreamType, message: Message) -> Option<Message> {
        let before = self.remove(stream);
        self.0.push((stream, message));
        before
    }

    pub(super) fn remove(&mut self, stream: StreamType) -> Option<Message> {
        let index = self.0.iter().position(|(of, _)| *of == stream)?;
        Some(self.0.swap_remove(index).1)
    }

    /// Returns whether a message is delivered in chunks and incomplete.
    pub(super) fn has_open_body(&self) -> bool {
        self.0.iter().any(|(_, (header, delivery, _))| delivery.is_chunks() && header.payload_len > 0)
    }
}
