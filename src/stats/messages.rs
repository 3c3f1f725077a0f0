//! The number of messages by command.

use crate::protocol::CommandName;
use std::fmt;

/// Message counts of the protocol's commands, and of all other commands together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageCounts {
    /// Indexed by [`CommandName::index`].
    counts: [MessageCount; CommandName::ALL.len() + 1],
}

/// A number of messages and the total size of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCount {
    /// The number of messages.
    pub messages: u64,
    /// The sum of the payload lengths that the headers state, in bytes.
    pub payload_bytes: u64,
}

impl MessageCounts {
    /// Lists the commands of [`CommandName::ALL`] in their order, and `None` for all others together.
    pub fn iter(&self) -> impl Iterator<Item = (Option<CommandName>, MessageCount)> {
        CommandName::ALL.into_iter().map(Some).chain([None]).zip(self.counts)
    }

    /// Returns the count of one command. All commands outside the protocol share one count.
    pub const fn count(&self, command: CommandName) -> MessageCount {
        self.counts[command.index()]
    }

    /// Returns the sum over all commands.
    pub fn total(&self) -> MessageCount {
        self.counts.iter().fold(MessageCount::default(), |sum, count| MessageCount {
            messages: sum.messages + count.messages,
            payload_bytes: sum.payload_bytes.saturating_add(count.payload_bytes),
        })
    }

    /// Counts a message. A header may claim any length, so the sum saturates.
    #[inline]
    pub(crate) const fn add(&mut self, command: CommandName, payload_len: u64) {
        let count = &mut self.counts[command.index()];
        count.messages += 1;
        count.payload_bytes = count.payload_bytes.saturating_add(payload_len);
    }
}

impl Default for MessageCounts {
    fn default() -> Self {
        Self { counts: [MessageCount::default(); CommandName::ALL.len() + 1] }
    }
}

impl fmt::Debug for MessageCounts {
    /// Lists the commands with a count above zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().filter(|(_, count)| count.messages > 0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_own_count_and_unknown_commands_share_one() {
        let mut counts = MessageCounts::default();
        for (at, command) in CommandName::ALL.into_iter().enumerate() {
            counts.add(command, at as u64);
        }
        counts.add(CommandName::new("nonsense"), 1_000);
        counts.add(CommandName::from_bytes([0xff; 12]), 2_000);
        let expected = |messages, payload_bytes| MessageCount { messages, payload_bytes };
        for (at, (command, count)) in counts.iter().enumerate() {
            match command {
                Some(command) => assert_eq!((CommandName::ALL[at], count), (command, expected(1, at as u64))),
                None => assert_eq!((at, count), (38, expected(2, 3_000))),
            }
        }
        assert_eq!(counts.iter().count(), 39);
        assert_eq!(counts.count(CommandName::new("other")), expected(2, 3_000));
        assert_eq!(counts.total(), expected(40, 3_000 + 37 * 38 / 2));
    }

    #[test]
    fn the_sum_of_claimed_lengths_saturates() {
        let mut counts = MessageCounts::default();
        for command in [CommandName::TX, CommandName::BLOCK, CommandName::TX] {
            counts.add(command, u64::MAX - 1);
        }
        assert_eq!(counts.count(CommandName::TX), MessageCount { messages: 2, payload_bytes: u64::MAX });
        assert_eq!(counts.total(), MessageCount { messages: 3, payload_bytes: u64::MAX });
    }
}
