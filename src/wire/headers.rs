//! `headers`: the headers of blocks, each with a count of transactions that nobody fills in.
//!
//! A node writes 00 for that count and reads any, so the items of the message are of one size only by custom. They are
//! walked once when the message is decoded, and again by whoever iterates; none of them is copied before that.

use super::codec::{Reader, field, put_compact_size};
use super::hash::Hash256;
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;

/// The header of a block (SV Node 1.2.2, primitives/block.h CBlockHeader).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockHeader {
    /// The block version.
    pub version: i32,
    /// The hash of the parent's header, zero for the first block.
    pub prev_hash: Hash256,
    /// The root of the Merkle tree over the ids of the transactions.
    pub merkle_root: Hash256,
    /// The miner's clock, in Unix seconds.
    pub time: u32,
    /// The target of the proof of work, in its short form.
    pub bits: u32,
    /// What the miner varied.
    pub nonce: u32,
}

/// An item of `headers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListedHeader {
    /// The header.
    pub header: BlockHeader,
    /// What stands in the place of the number of transactions, which is 0 from a node and means nothing.
    pub tx_count: u64,
}

/// The `headers` message over the items that it was read from (SV Node 1.2.2, net_processing.cpp
/// ProcessHeadersMessage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadersRef<'a> {
    len: usize,
    items: &'a [u8],
}

/// The `headers` message on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    len: usize,
    items: Bytes,
}

/// The items of a `headers` message, read one by one.
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    unread_len: usize,
    reader: Reader<'a>,
}

impl BlockHeader {
    /// Bytes on the wire.
    pub const LEN_BYTES: usize = 80;

    /// Reads a header; any bytes are one.
    pub fn decode(bytes: &[u8; Self::LEN_BYTES]) -> Self {
        Self {
            version: i32::from_le_bytes(field(bytes, 0)),
            prev_hash: Hash256::from_bytes(field(bytes, 4)),
            merkle_root: Hash256::from_bytes(field(bytes, 36)),
            time: u32::from_le_bytes(field(bytes, 68)),
            bits: u32::from_le_bytes(field(bytes, 72)),
            nonce: u32::from_le_bytes(field(bytes, 76)),
        }
    }

    /// Reads the header that comes next.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.array().map(|bytes| Self::decode(&bytes))
    }

    /// The bytes of the wire.
    pub fn encode(&self) -> [u8; Self::LEN_BYTES] {
        let mut bytes = [0; Self::LEN_BYTES];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(self.prev_hash.as_bytes());
        bytes[36..68].copy_from_slice(self.merkle_root.as_bytes());
        bytes[68..72].copy_from_slice(&self.time.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.bits.to_le_bytes());
        bytes[76..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// The name of the block: the hash of its header.
    pub fn hash(&self) -> Hash256 {
        Hash256::of(&self.encode())
    }
}

impl ListedHeader {
    /// Bytes of the shortest item.
    const MIN_BYTES: usize = BlockHeader::LEN_BYTES + 1;

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { header: BlockHeader::read(reader)?, tx_count: reader.compact_size()? })
    }
}

impl<'a> HeadersRef<'a> {
    /// Reads the payload of a `headers`, and in one pass where each item ends.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if it holds less than it counts, [`WireError::NonCanonicalSize`] and
    /// [`WireError::TooLong`] for the counts.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::HEADERS, payload);
        let len = reader.count(ListedHeader::MIN_BYTES)?;
        let mut items = reader.clone();
        for _ in 0..len {
            reader.bytes(BlockHeader::LEN_BYTES)?;
            reader.compact_size()?;
        }
        let items = items.bytes(items.remaining() - reader.remaining())?;
        Ok(Self { len, items })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_compact_size(self.len as u64, out);
        out.extend_from_slice(self.items);
    }

    /// The number of headers.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no headers, which is how a node says that it has no more.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The headers in the order of the chain.
    pub const fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { unread_len: self.len, reader: Reader::new(CommandName::HEADERS, self.items) }
    }

    /// The message on its own; copies the items.
    pub fn into_owned(self) -> Headers {
        Headers { len: self.len, items: Bytes::copy_from_slice(self.items) }
    }
}

impl Headers {
    /// The message with these headers; 2,000 are the most that a node takes.
    pub fn from_headers(headers: impl IntoIterator<Item = BlockHeader>) -> Self {
        let headers = headers.into_iter();
        let mut len = 0;
        let mut items = Vec::with_capacity(headers.size_hint().0.saturating_mul(ListedHeader::MIN_BYTES));
        for header in headers {
            len += 1;
            items.extend_from_slice(&header.encode());
            items.push(0);
        }
        Self { len, items: items.into() }
    }

    /// The message, borrowed.
    pub fn as_ref(&self) -> HeadersRef<'_> {
        HeadersRef { len: self.len, items: &self.items }
    }
}

impl Iterator for HeadersIter<'_> {
    type Item = ListedHeader;

    fn next(&mut self) -> Option<ListedHeader> {
        self.unread_len = self.unread_len.checked_sub(1)?;
        // All items were walked once, so none of them fails.
        ListedHeader::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.unread_len, Some(self.unread_len))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}
impl std::iter::FusedIterator for HeadersIter<'_> {}
