//! A handler's view of a message: a borrowed frame, or a borrowed chunk of one.

use crate::error::WireError;
use crate::link::blocks::worth_sharing;
use crate::link::framer::ChecksumVerdict;
use crate::protocol::CommandName;
use crate::wire::{Hash256, Header, MessageRef};
use bytes::Bytes;

/// A whole message, borrowed from the memory block into which it was received.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    header: Header,
    payload: &'a [u8],
    /// The memory block that contains the payload, if the block can be shared.
    source: Option<&'a Bytes>,
    /// The network's magic, with which the header begins on the wire.
    magic: [u8; 4],
    /// The hash of the payload, if the framer has kept it.
    hash: Option<&'a Hash256>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(header: Header, payload: &'a [u8], source: Option<&'a Bytes>) -> Self {
        Self { header, payload, source, magic: [0; 4], hash: None }
    }

    /// Returns the frame with the data that [`Frame::to_frame`] and [`Frame::hash`] need.
    pub(crate) fn with_origin(self, magic: [u8; 4], hash: Option<&'a Hash256>) -> Self {
        Self { magic, hash, ..self }
    }

    /// Returns the command.
    pub fn command(&self) -> CommandName {
        self.header.command
    }

    /// Returns the header as received.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the payload. It matches the header's checksum; an extended header has no checksum.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Decodes the payload, borrowing from it.
    ///
    /// # Errors
    ///
    /// A [`WireError`] if the payload is not a valid message of its command.
    pub fn decode(&self) -> Result<MessageRef<'a>, WireError> {
        MessageRef::decode(self.header.command, self.payload)
    }

    /// Returns the payload as [`Bytes`] to keep. If the payload makes up at least half of its memory block, the bytes
    /// share the block. Otherwise the payload is copied, so that it does not keep a much larger block in memory.
    pub fn to_bytes(&self) -> Bytes {
        keep(self.payload, self.source)
    }

    /// Returns the header and the payload as one frame, which [`Ctx::send_shared`](crate::Ctx::send_shared) can relay.
    /// If both lie in one memory block and make up at least half of it, the frame shares the block. Otherwise they are
    /// copied. The payload is not hashed again.
    ///
    /// A message with an extended header is the exception: it gets a basic header, which every peer understands, and
    /// the payload is hashed for its checksum. Only a message with a payload of 4 GiB or more keeps its extended
    /// header.
    pub fn to_frame(&self) -> Bytes {
        let (basic, extended);
        let header: &[u8] = if u32::try_from(self.payload.len()).is_err() {
            extended = self.header.encode_extended(self.magic);
            &extended
        } else if self.header.is_extended() {
            basic = Header::of(self.command(), self.payload).encode(self.magic);
            &basic
        } else {
            basic = self.header.encode(self.magic);
            &basic
        };
        self.shared_frame(header).unwrap_or_else(|| [header, self.payload].concat().into())
    }

    /// Returns the part of the memory block that holds this header and the payload, if the block contains both and is
    /// worth sharing.
    fn shared_frame(&self, header: &[u8]) -> Option<Bytes> {
        let block = self.source.filter(|block| worth_sharing(header.len() + self.payload.len(), block.len()))?;
        let payload_begin = self.payload.as_ptr().addr().checked_sub(block.as_ptr().addr())?;
        let begin = payload_begin.checked_sub(header.len())?;
        let is_there = block[begin..payload_begin] == *header;
        is_there.then(|| block.slice(begin..payload_begin + self.payload.len()))
    }

    /// Returns the payload's double SHA-256, which is the id of a `tx`. The loop has computed it for the checksum; only
    /// a payload of up to 55 bytes is hashed again. Returns `None` for a message with an extended header, which has no
    /// checksum.
    pub fn hash(&self) -> Option<Hash256> {
        self.header.checksum.map(|_| self.hash.copied().unwrap_or_else(|| Hash256::of(self.payload)))
    }

    /// Returns the whole message as one chunk.
    pub(crate) fn as_chunk(&self) -> Chunk<'a> {
        let verdict = if self.header.is_extended() { ChecksumVerdict::Absent } else { ChecksumVerdict::Correct };
        Chunk::new(self.header, 0, self.payload, Some(verdict), self.source)
    }
}

/// A part of a message that is delivered in chunks, borrowed from the memory block into which it was received.
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

    /// Returns the message's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the part's offset in the payload, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the length of the whole payload in bytes.
    pub fn total(&self) -> u64 {
        self.header.payload_len
    }

    /// Returns the part's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the result of the whole payload's checksum if this is the last part; `None` for every other part.
    pub fn last(&self) -> Option<ChecksumVerdict> {
        self.last
    }

    /// Returns the part as [`Bytes`] to keep, shared or copied as in [`Frame::to_bytes`].
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
    fn a_payload_of_at_least_half_its_memory_block_is_shared_and_a_smaller_one_is_copied() {
        let block = Bytes::from(vec![7_u8; 64]);
        let header = Header::of(CommandName::TX, &block);
        let frame = |payload| Frame::new(header, payload, Some(&block));
        let shared = frame(&block[..32]).to_bytes();
        assert_eq!(shared.as_ptr(), block.as_ptr());
        let copied = frame(&block[..31]).to_bytes();
        assert_ne!(copied.as_ptr(), block.as_ptr());
        assert_eq!(copied.len(), 31);
    }

    const MAGIC: [u8; 4] = *b"MAGI";

    /// Returns the header of a `tx` message, and a memory block in which `before` bytes precede the whole message.
    fn block_of(before: usize, payload: &[u8]) -> (Header, Bytes) {
        let header = Header::of(CommandName::TX, payload);
        (header, [&vec![1; before], &header.encode(MAGIC)[..], payload].concat().into())
    }

    #[test]
    fn a_message_is_shared_only_if_it_fills_at_least_half_of_a_block_that_contains_its_header() {
        let payload = vec![7_u8; 1_000];
        for before in [0, 100, 1_024, 1_025] {
            let (header, block) = block_of(before, &payload);
            let frame = Frame::new(header, &block[before + 24..], Some(&block)).with_origin(MAGIC, None).to_frame();
            assert_eq!(frame, block[before..], "{before}");
            assert_eq!(frame.as_ptr() == block[before..].as_ptr(), before <= 1_024);
        }
        let (header, block) = block_of(0, &payload);
        for (source, magic) in [(None, MAGIC), (Some(&block), *b"ELSE")] {
            let frame = Frame::new(header, &block[24..], source).with_origin(magic, None).to_frame();
            assert_eq!(frame, [&header.encode(magic)[..], &payload].concat());
        }
        let alone = Bytes::from(payload);
        assert_eq!(Frame::new(header, &alone, Some(&alone)).with_origin(MAGIC, None).to_frame(), block);
    }

    #[test]
    fn a_message_with_an_extended_header_is_relayed_with_a_basic_one() {
        let payload = [7_u8; 100];
        let (basic, block) = block_of(0, &payload);
        let header = Header { checksum: None, ..basic };
        let frame = Frame::new(header, &payload, None).with_origin(MAGIC, None);
        assert_eq!((frame.to_frame(), frame.hash()), (block, None));
    }

    #[test]
    fn a_kept_hash_is_returned_and_a_missing_one_is_computed() {
        let payload = [3_u8; 100];
        for (kept, hash) in [(None, Hash256::of(&payload)), (Some(Hash256::of(b"another")), Hash256::of(b"another"))] {
            let header = Header::of(CommandName::TX, &payload);
            let frame = Frame::new(header, &payload, None).with_origin(MAGIC, kept.as_ref());
            assert_eq!(frame.hash(), Some(hash));
        }
    }
}
