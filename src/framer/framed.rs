//! What goes into a framer and what comes out of it.

use crate::wire::header::{Header, PayloadLimits};

/// What becomes of a payload, chosen when its header is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is delivered whole, if the configured bounds allow it.
    Buffer,
    /// It is delivered in chunks as they arrive, in constant memory.
    Stream,
    /// It is skipped, unchecked.
    Discard,
}

/// Whether a streamed payload had the checksum of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumVerdict {
    /// It had.
    Correct,
    /// It had not: what was delivered must not be believed.
    Wrong,
    /// The header is an extended one, which has no checksum.
    Absent,
}

/// Why a frame was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// Its checksum is wrong.
    BadChecksum,
    /// Its command is not a legal name.
    MalformedCommand,
    /// It was to be discarded.
    Discarded,
    /// It is larger than what is gathered for one message.
    OverBufferLimit,
    /// All links together gather as much as they may.
    NoBufferRoom,
}

/// A whole payload.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// It lies in the input.
    InPlace(&'a [u8]),
    /// It was gathered from several inputs; hand it back with [`FramerMemory::recycle`](super::FramerMemory::recycle).
    Gathered(Vec<u8>),
}

impl Payload<'_> {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::InPlace(bytes) => bytes,
            Self::Gathered(bytes) => bytes,
        }
    }
}

/// What [`MessageFramer::next`](super::MessageFramer::next) takes out of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A whole frame with a correct checksum.
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
        /// Where in the payload the part lies.
        offset: u64,
        /// The part; empty only for a frame without payload.
        bytes: &'a [u8],
        /// Set on the last part.
        last: Option<ChecksumVerdict>,
    },
    /// A frame that is not delivered.
    Dropped {
        /// Its header.
        header: Header,
        /// Why.
        cause: DropCause,
    },
}

/// Received bytes and how far they are parsed.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Nothing parsed yet.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not parsed yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }
}

/// What frames must be like.
#[derive(Clone, Copy, Debug)]
pub struct FramerRules {
    /// The bytes that begin every frame.
    pub magic: [u8; 4],
    /// The most that each command may claim.
    pub limits: PayloadLimits,
    /// The most that is gathered for one message.
    pub buffered_message_max_bytes: u64,
}
