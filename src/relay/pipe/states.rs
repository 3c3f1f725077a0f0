//! The stateful messages of one node: its wishes, which hold until it changes them.
//!
//! A pipe sends them again to a node that has become ready. It keeps the latest message of each of three commands,
//! each of at most [`MAX_STATE_BYTES`]. `sendheaders` is stateful too, but the engine itself sends it after every
//! handshake.

use crate::protocol::CommandName;
use bytes::Bytes;

/// Maximum length of a remembered message with its header. The longest valid one has 33 bytes: a `sendcmpct` with a
/// flag and a version. A longer message is passed on and not remembered.
const MAX_STATE_BYTES: usize = 64;

/// The commands of the stateful messages, in the order in which they are sent again. An SV Node sends `sendcmpct` and
/// then `feefilter` after the handshake (1.2.2, net_processing.cpp ProcessVerAckMessage and SendMessages).
const COMMANDS: [CommandName; 3] = [CommandName::SENDCMPCT, CommandName::SENDHDRSEN, CommandName::FEEFILTER];

/// The latest stateful messages of a node, as frames.
#[derive(Debug, Default)]
pub(super) struct States([Option<Bytes>; COMMANDS.len()]);

impl States {
    /// Remembers a message if it is stateful, and returns whether it is remembered.
    pub(super) fn note(&mut self, command: CommandName, frame: &Bytes) -> bool {
        let Some(index) = COMMANDS.iter().position(|stateful| *stateful == command) else { return false };
        let is_short = frame.len() <= MAX_STATE_BYTES;
        // A copy, because the frame may share a much larger block.
        self.0[index] = is_short.then(|| Bytes::copy_from_slice(frame));
        is_short
    }

    /// Returns the remembered messages in the order in which they are to be sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CommandName, &Bytes)> {
        COMMANDS.into_iter().zip(&self.0).filter_map(|(command, frame)| frame.as_ref().map(|frame| (command, frame)))
    }

    /// Forgets all messages.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_short_message_of_each_stateful_command_is_remembered() {
        let mut states = States::default();
        let frame = |byte, len| Bytes::from(vec![byte; len]);
        assert!(!states.note(CommandName::INV, &frame(1, 30)));
        assert!(states.note(CommandName::FEEFILTER, &frame(2, 32)));
        assert!(states.note(CommandName::FEEFILTER, &frame(3, 32)));
        assert!(states.note(CommandName::SENDCMPCT, &frame(4, 64)));
        let found: Vec<_> = states.iter().map(|(command, frame)| (command, frame[0])).collect();
        assert_eq!(found, [(CommandName::SENDCMPCT, 4), (CommandName::FEEFILTER, 3)]);
        // A longer message replaces the remembered one, which no longer holds.
        assert!(!states.note(CommandName::SENDCMPCT, &frame(5, 65)));
        assert_eq!(states.iter().count(), 1);
        states.clear();
        assert_eq!(states.iter().count(), 0);
    }
}
