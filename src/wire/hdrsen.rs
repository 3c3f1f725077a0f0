//! `hdrsen`: headers, each with what a light client wants to know of its block.
//!
//! The items are walked once when the message is decoded, and read one by one when they are iterated over; the
//! transactions in them stay where they are. Whether a proof is right is asked of it, not of the message.

use super::codec::{Reader, put_compact_size};
use super::headers::BlockHeader;
use super::proven_tx::ProvenTxRef;
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;
use std::iter::FusedIterator;

/// The `hdrsen` message over the payload that it was read from (SV Node 1.2.2, protocol.h
/// NetMsgType::HDRSEN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrichedHeadersRef<'a> {
    len: usize,
    items: &'a [u8],
}

/// The `hdrsen` message on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnrichedHeaders {
    len: usize,
    items: Bytes,
}

/// A header and what its sender knows of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrichedHeaderRef<'a> {
    /// The header.
    pub header: BlockHeader,
    /// The number of transactions in the block.
    pub tx_count: u64,
    /// Whether this is the last header of the sender's chain.
    pub no_more_headers: bool,
    /// The coinbase transaction.
    pub coinbase: Option<ProvenTxRef<'a>>,
    /// The transaction in which the miner says more of itself.
    pub miner_info: Option<ProvenTxRef<'a>>,
}

/// The items of a `hdrsen`, read one by one.
#[derive(Clone, Debug)]
pub struct EnrichedHeadersIter<'a> {
    unread_len: usize,
    reader: Reader<'a>,
}

impl<'a> EnrichedHeadersRef<'a> {
    /// Reads the payload of a `hdrsen`, and in one pass where each item ends.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if it ends inside a field or cannot hold what it counts, and what transactions and
    /// proofs fail with.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::HDRSEN, payload);
        let len = reader.count(EnrichedHeaderRef::MIN_BYTES)?;
        let behind_count = reader.unread();
        for _ in 0..len {
            EnrichedHeaderRef::read(&mut reader)?;
        }
        Ok(Self { len, items: &behind_count[..behind_count.len() - reader.remaining()] })
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

    /// Whether there are no headers.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The headers in the order of the chain.
    pub const fn iter(&self) -> EnrichedHeadersIter<'a> {
        EnrichedHeadersIter { unread_len: self.len, reader: Reader::new(CommandName::HDRSEN, self.items) }
    }

    /// The message on its own; copies the items.
    pub fn into_owned(self) -> EnrichedHeaders {
        EnrichedHeaders { len: self.len, items: Bytes::copy_from_slice(self.items) }
    }
}

impl EnrichedHeaders {
    /// The message with these items; 2,000 are the most that a node sends.
    pub fn from_headers<'a>(headers: impl IntoIterator<Item = EnrichedHeaderRef<'a>>) -> Self {
        let mut len = 0;
        let mut items = Vec::new();
        for header in headers {
            len += 1;
            header.write(&mut items);
        }
        Self { len, items: items.into() }
    }

    /// The message, borrowed.
    pub fn as_ref(&self) -> EnrichedHeadersRef<'_> {
        EnrichedHeadersRef { len: self.len, items: &self.items }
    }
}

impl<'a> EnrichedHeaderRef<'a> {
    /// Bytes of the shortest item: header, count, and three times no.
    const MIN_BYTES: usize = BlockHeader::LEN_BYTES + 1 + 3;

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let option = |reader: &mut Reader<'a>| {
            if reader.bool()? { ProvenTxRef::read(reader).map(Some) } else { Ok(None) }
        };
        Ok(Self {
            header: BlockHeader::read(reader)?,
            tx_count: reader.compact_size()?,
            no_more_headers: reader.bool()?,
            coinbase: option(reader)?,
            miner_info: option(reader)?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.encode());
        put_compact_size(self.tx_count, out);
        out.push(u8::from(self.no_more_headers));
        for proven_tx in [self.coinbase, self.miner_info] {
            out.push(u8::from(proven_tx.is_some()));
            if let Some(proven_tx) = proven_tx {
                proven_tx.encode(out);
            }
        }
    }
}

impl<'a> Iterator for EnrichedHeadersIter<'a> {
    type Item = EnrichedHeaderRef<'a>;

    fn next(&mut self) -> Option<EnrichedHeaderRef<'a>> {
        self.unread_len = self.unread_len.checked_sub(1)?;
        // All items were walked once, so none of them fails.
        EnrichedHeaderRef::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.unread_len, Some(self.unread_len))
    }
}

impl ExactSizeIterator for EnrichedHeadersIter<'_> {}
impl FusedIterator for EnrichedHeadersIter<'_> {}
