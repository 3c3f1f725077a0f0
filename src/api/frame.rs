//! A handler's view of a message: a borrowed frame, or a borrowed chunk of one.

use crate::error::WireError;
use crate::link::blocks::worth_sharing;
use crate::link::framer::ChecksumVerdict;
use crate::protocol::CommandName;
use crate::wire::{Header, MessageRef};
use bytes::Bytes;

/// A whole message, borrowed from the block it was received into.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    header: Header,
    payload: &'a [u8],
    /// The block that contains the payload, if it can be shared.
    source: Option<&'a Bytes>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(header: Header, payload: &'a [u8], source: Option<&'a Bytes>) -> Self {
        Self { header, payload, source }
    }

    /// Returns the command.
    pub fn command(&self) -> CommandName {
        self.header.command
    }

    /// The header as it came.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the payload, whose checksum is correct.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Decodes the payload, borrowing from it.
    ///
    /// # Errors
    ///
    /// When the payload is not a correct message of its command.
    pub fn decode(&self) -> Result<MessageRef<'a>, WireError> {
        MessageRef::decode(self.header.command, self.payload)
    }

    /// Returns the payload to keep: shared if it is large, copied if sharing would keep a much larger block alive.
    pub fn to_bytes(&self) -> Bytes {
        keep(self.payload, self.source)
    }

    /// Returns the whole message as one chunk.
    pub(crate) fn as_chunk(&self) -> Chunk<'a> {
        let verdict = if self.header.is_extended() { ChecksumVerdict::Absent } else { ChecksumVerdict::Correct };
        Chunk::new(self.header, 0, self.payload, Some(verdict), self.source)
    }
}

/// A part of a streamed message, borrowed from the block it was received into.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    header: Header,
    offset: u64,
    bytes: &'a [u8],
    last: Option<ChecksumVerdict>,
    source: Option<&'a Bytes>,
}

impl<'a> Chunk<'a> {
    pub(crate) fn new(
        header: Header,
        offset: u64,
        bytes: &'a [u8],
        last: Option<ChecksumVerdict>,
        source: Option<&'a Bytes>,
    ) -> Self {
        Self { header, offset, bytes, last, source }
    }

    /// The header of the message.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the part's offset in the payload.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the bytes of the whole payload.
    pub fn total(&self) -> u64 {
        self.header.payload_len
    }

    /// Returns the part's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns, on the last part, whether the whole payload has the header's checksum.
    pub fn last(&self) -> Option<ChecksumVerdict> {
        self.last
    }

    /// Returns the part to keep, shared or copied as by [`Frame::to_bytes`].
    pub fn to_bytes(&self) -> Bytes {
        keep(self.bytes, self.source)
    }
}

fn keep(part: &[u8], source: Option<&Bytes>) -> Bytes {
    match source {
        Some(block) if worth_sharing(part.len(), block.len()) => block.slice_ref(part),
        Some(_) | None => Bytes::copy_from_slice(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_parts_are_shared_and_small_ones_copied() {
        let block = Bytes::from(vec![7_u8; 64]);
        let header = Header::of(CommandName::TX, &block);
        let shared = Frame::new(header, &block[..32], Some(&block)).to_bytes();
        assert_eq!(shared.as_ptr(), block.as_ptr());
        let copied = Frame::new(header, &block[..31], Some(&block)).to_bytes();
        assert_ne!(copied.as_ptr(), block.as_ptr());
        assert_eq!(copied.len(), 31);
    }
}
