//! The framer's input, rules and output.

use crate::limits::BODY_WINDOW;
use crate::protocol::CommandName;
use crate::wire::header::{Header, PayloadLimits};

/// How a payload is delivered, chosen when its header is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The payload is delivered whole, if the configured bounds allow it.
    Buffer,
    /// The payload is delivered in chunks as they arrive, in constant memory.
    Chunks,
    /// The payload is delivered in chunks, and its checksum is not checked. A handler that hashes the payload itself
    /// saves half of the hashing.
    UncheckedChunks,
    /// The payload is skipped and not checked.
    Discard,
}

impl Delivery {
    /// Returns whether the payload is delivered in chunks.
    ///
    /// ```
    /// use peerloop::api::Delivery;
    ///
    /// assert!(Delivery::UncheckedChunks.is_chunks() && !Delivery::Buffer.is_chunks());
    /// ```
    pub const fn is_chunks(self) -> bool {
        match self {
            Self::Chunks | Self::UncheckedChunks => true,
            Self::Buffer | Self::Discard => false,
        }
    }
}

/// Whether a streamed payload matches its header's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChecksumVerdict {
    /// It matches.
    Correct,
    /// It does not match, so the delivered chunks must not be trusted.
    Wrong,
    /// The header is extended and has no checksum.
    Absent,
    /// The handler chose [`Delivery::UncheckedChunks`].
    Unchecked,
}

/// The reason why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// Its checksum is wrong.
    BadChecksum,
    /// Its command is not a valid name.
    MalformedCommand,
    /// The caller chose to discard it.
    Discarded,
    /// Its payload exceeds the number of bytes that may be buffered for one message of its command.
    OverBufferLimit,
    /// With this payload, all links together would buffer more than the maximum number of bytes.
    NoBufferRoom,
}

/// A whole payload.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// The payload is contained in the input.
    InPlace(&'a [u8]),
    /// The payload was collected from several inputs. Return it with
    /// [`FramerMemory::recycle`](super::FramerMemory::recycle).
    Gathered(Vec<u8>),
}

#[cfg(feature = "internals")]
impl Payload<'_> {
    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::InPlace(bytes) => bytes,
            Self::Gathered(bytes) => bytes,
        }
    }
}

/// An item returned by [`MessageFramer::next`](super::MessageFramer::next).
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A whole frame. Its checksum is correct, or its header is extended and has no checksum.
    Frame {
        /// Its header.
        header: Header,
        /// Its payload.
        payload: Payload<'a>,
    },
    /// A part of a streamed frame.
    Chunk {
        /// The frame's header.
        header: Header,
        /// The part's offset in the payload.
        offset: u64,
        /// The part; empty only for a frame without a payload.
        bytes: &'a [u8],
        /// The verdict on the checksum; only the last part has one.
        last: Option<ChecksumVerdict>,
    },
    /// A frame that is not delivered.
    Dropped {
        /// Its header.
        header: Header,
        /// The reason.
        cause: DropCause,
    },
}

/// Received bytes and the parsing position in them.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Returns an input that has not been parsed yet.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the bytes that have not been parsed yet.
    #[cfg(feature = "internals")]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Removes and returns a payload if all of it has arrived. A payload of more than `usize::MAX` bytes never arrives
    /// whole.
    #[inline]
    pub(super) fn take_whole(&mut self, payload_len: u64) -> Option<&'a [u8]> {
        let len = usize::try_from(payload_len).ok().filter(|&len| len <= self.rest.len())?;
        Some(self.take(len))
    }

    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }
}

/// The rules that frames must meet.
#[derive(Clone, Debug)]
pub struct FramerRules {
    /// The bytes at the start of every frame.
    pub magic: [u8; 4],
    /// The largest payload that each command may claim.
    pub limits: PayloadLimits,
    /// The largest payload that is buffered for one message of each command.
    pub frame_limits: FrameLimits,
    /// The minimum rate of a body, in bytes per second over a [`BODY_WINDOW`]; 0 requires only that the body does not
    /// stall.
    pub min_body_bytes_per_second: u64,
}

impl FramerRules {
    /// Returns the minimum number of a body's bytes that must arrive in each [`BODY_WINDOW`].
    pub(super) fn min_body_window_bytes(&self) -> u64 {
        self.min_body_bytes_per_second.saturating_mul(BODY_WINDOW.as_secs())
    }
}

/// For each command, the maximum number of payload bytes that are buffered for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    general: u64,
    /// Sorted by command.
    by_command: Vec<(CommandName, u64)>,
    /// The smallest of all limits. Payloads up to this limit need no search of the list.
    smallest: u64,
}

impl FrameLimits {
    /// Returns limits with one value for every command.
    #[cfg(feature = "internals")]
    pub const fn uniform(max_bytes: u64) -> Self {
        Self { general: max_bytes, by_command: Vec::new(), smallest: max_bytes }
    }

    /// Returns the limits in `by_command`, which must not list a command twice, and the limit `general` for every
    /// other command.
    pub fn new(general: u64, by_command: &[(CommandName, u64)]) -> Self {
        let mut by_command = by_command.to_vec();
        by_command.sort_unstable();
        let smallest = by_command.iter().fold(general, |smallest, &(_, max_bytes)| smallest.min(max_bytes));
        Self { general, by_command, smallest }
    }

    /// Returns the limit of `command`.
    pub fn limit(&self, command: CommandName) -> u64 {
        match self.by_command.binary_search_by_key(&command, |&(named, _)| named) {
            Ok(index) => self.by_command[index].1,
            Err(_) => self.general,
        }
    }

    /// Returns whether a payload is within its command's limit.
    #[inline]
    pub fn allow(&self, command: CommandName, payload_len: u64) -> bool {
        payload_len <= self.smallest || payload_len <= self.limit(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_listed_command_has_its_own_limit_and_any_other_the_general_one(
            general in 0..9u64,
            given in prop::collection::hash_map(0..6usize, 0..9u64, 0..6),
            payload_len in 0..9u64,
        ) {
            let by_command: Vec<_> = given.iter().map(|(&at, &max_bytes)| (CommandName::ALL[at], max_bytes)).collect();
            let limits = FrameLimits::new(general, &by_command);
            for at in 0..8 {
                let (command, max_bytes) = (CommandName::ALL[at], given.get(&at).copied().unwrap_or(general));
                prop_assert_eq!(limits.limit(command), max_bytes);
                prop_assert_eq!(limits.allow(command, payload_len), payload_len <= max_bytes);
            }
            prop_assert_eq!(FrameLimits::uniform(general), FrameLimits::new(general, &[]));
        }
    }
}
