//! `hdrsen`: headers, each with data about its block for light clients.
//!
//! Decoding checks each item's encoding once; iteration reads the items one by one, without copying their
//! transactions. Neither checks a proof; call [`ProvenTxRef::is_proven_by`] for that.

use super::codec::{Reader, put_compact_size};
use super::headers::BlockHeader;
use super::list::{Item, List, ListRef};
use super::proven_tx::ProvenTxRef;
use crate::error::WireError;
use crate::protocol::CommandName;

/// A borrowed `hdrsen` message (SV Node 1.2.2, protocol.h NetMsgType::HDRSEN), whose headers are in chain order.
pub type EnrichedHeadersRef<'a> = ListRef<'a, EnrichedHeaderRef<'static>>;

/// An owned `hdrsen` message.
///
/// ```
/// use peerloop::wire::{BlockHeader, EnrichedHeaderRef, EnrichedHeaders, EnrichedHeadersRef};
///
/// let header = BlockHeader::decode(&[7; 80]);
/// let item = EnrichedHeaderRef { header, tx_count: 5, no_more_headers: true, coinbase: None, miner_info: None };
/// let mut payload = Vec::new();
/// EnrichedHeaders::from_headers([item]).as_ref().encode(&mut payload);
/// assert_eq!(payload, [&[1][..], &[7; 80], &[5, 1, 0, 0]].concat());
///
/// let mut received = EnrichedHeadersRef::decode(&payload)?.iter();
/// assert_eq!(received.next(), Some(item));
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
pub type EnrichedHeaders = List<EnrichedHeaderRef<'static>>;

/// A header with the sender's data about its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrichedHeaderRef<'a> {
    /// The header.
    pub header: BlockHeader,
    /// The number of transactions in the block.
    pub tx_count: u64,
    /// Whether this is the last header of the sender's chain.
    pub no_more_headers: bool,
    /// The coinbase transaction, if the sender included it.
    pub coinbase: Option<ProvenTxRef<'a>>,
    /// The transaction with further information about the miner, if the sender included it.
    pub miner_info: Option<ProvenTxRef<'a>>,
}

impl<'a> EnrichedHeadersRef<'a> {
    /// Reads the payload of a `hdrsen` and finds the end of each item.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside a field or is too short for its item count,
    /// [`WireError::NonCanonicalSize`] or [`WireError::OverlongSize`] if a count is invalid, and the errors of its
    /// transactions and proofs.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        Self::read(&mut Reader::new(CommandName::HDRSEN, payload))
    }
}

impl EnrichedHeaders {
    /// Returns the message with these items; a node sends at most 2,000.
    pub fn from_headers<'a>(headers: impl IntoIterator<Item = EnrichedHeaderRef<'a>>) -> Self {
        Self::of(headers, |header, out| header.write(out))
    }
}

impl Item for EnrichedHeaderRef<'_> {
    type Read<'a> = EnrichedHeaderRef<'a>;
    type State = ();

    /// The size in bytes of the shortest item: a header, a count of one byte, and three zero flags.
    const MIN_BYTES: usize = BlockHeader::LEN_BYTES + 1 + 3;
    const COMMAND: CommandName = CommandName::HDRSEN;
    const START: () = ();
    const NAMES: [&'static str; 2] = ["EnrichedHeaders", "EnrichedHeadersRef"];

    fn read<'a>(reader: &mut Reader<'a>, (): &mut ()) -> Result<EnrichedHeaderRef<'a>, WireError> {
        let option = |reader: &mut Reader<'a>| {
            if reader.bool()? { ProvenTxRef::read(reader).map(Some) } else { Ok(None) }
        };
        Ok(EnrichedHeaderRef {
            header: BlockHeader::read(reader)?,
            tx_count: reader.compact_size()?,
            no_more_headers: reader.bool()?,
            coinbase: option(reader)?,
            miner_info: option(reader)?,
        })
    }
}

impl EnrichedHeaderRef<'_> {
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
