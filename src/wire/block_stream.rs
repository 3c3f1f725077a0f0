//! Parsers for transactions and blocks of any size that arrive in pieces of any size.
//!
//! The parsers keep no script, however large. They keep their position, an incomplete size or header, a SHA-256 in
//! progress and, for a block, one hash per level of its Merkle tree: less than 3 KiB in all. They accept the same
//! transactions as [`TxRef`](super::TxRef), however the bytes are split.

use super::codec::Reader;
use super::hash::Hash256;
use super::headers::BlockHeader;
use super::merkle::{MerkleFrontier, MerkleVerdict};
use crate::error::WireError;
use crate::protocol::CommandName;
use sha2::{Digest, Sha256};

/// A parser for consecutive transactions.
///
/// ```
/// use peerloop::protocol::CommandName;
/// use peerloop::wire::{Hash256, TxStreamParser};
///
/// // A transaction without inputs or outputs, and the first byte of the next one.
/// let payload = [1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1];
/// let (mut first, mut second) = payload.split_at(6);
/// let mut parser = TxStreamParser::new(CommandName::BLOCK);
/// assert_eq!(parser.advance(&mut first)?, None);
/// let tx = parser.advance(&mut second)?.expect("the transaction is complete");
/// assert_eq!((tx.txid, tx.len_bytes), (Hash256::of(&payload[..10]), 10));
/// assert!(parser.is_at_boundary());
/// assert_eq!(second, [1]);
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TxStreamParser {
    command: CommandName,
    /// The number of bytes to skip before the awaited field.
    skip_bytes: u64,
    awaited: Awaited,
    size: PartialSize,
    items_left: u64,
    read: StreamedTx,
    hasher: Sha256,
}

/// A transaction that has been read completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamedTx {
    /// The transaction's id.
    pub txid: Hash256,
    /// The transaction's length on the wire, in bytes.
    pub len_bytes: u64,
    /// The number of inputs.
    pub input_count: u64,
    /// The number of outputs.
    pub output_count: u64,
}

/// A parser for one block.
///
/// ```
/// use peerloop::wire::{Block, BlockHeader, BlockStreamEvent, BlockStreamParser, MerkleVerdict, Tx};
///
/// let tx = Tx::from_parts(1, &[], &[], 7);
/// let header = BlockHeader { merkle_root: tx.as_ref().txid(), ..BlockHeader::decode(&[0; 80]) };
/// let mut payload = Vec::new();
/// Block::from_parts(header, [tx.as_ref()]).as_ref().encode(&mut payload);
///
/// let mut parser = BlockStreamParser::new();
/// for mut part in payload.chunks(16) {
///     while let Some(event) = parser.advance(&mut part)? {
///         match event {
///             BlockStreamEvent::Header { tx_count, .. } => assert_eq!(tx_count, 1),
///             BlockStreamEvent::Transaction(read) => assert_eq!(read.txid, tx.as_ref().txid()),
///             BlockStreamEvent::End(block) => assert_eq!(block.verdict, MerkleVerdict::Valid),
///         }
///     }
///     println!("{} transactions so far", parser.tx_read_count());
/// }
/// assert!(parser.is_complete(), "the payload is truncated");
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BlockStreamParser {
    stage: Stage,
    header: PartialHeader,
    count: PartialSize,
    tx_count: u64,
    tx: TxStreamParser,
    tree: MerkleFrontier,
    len_bytes: u64,
}

/// A completed part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStreamEvent {
    /// The header and the count of the transactions.
    Header {
        /// The header.
        header: BlockHeader,
        /// The number of transactions, as claimed.
        tx_count: u64,
    },
    /// The next transaction.
    Transaction(StreamedTx),
    /// The end of the block.
    End(StreamedBlock),
}

/// A block that has been read completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamedBlock {
    /// The block's header.
    pub header: BlockHeader,
    /// The number of transactions.
    pub tx_count: u64,
    /// The block's length on the wire in bytes, including the header and the count.
    pub len_bytes: u64,
    /// Whether the transactions match the header's Merkle root.
    pub verdict: MerkleVerdict,
}

/// The count or size that the parser reads next, or the transaction's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    InputCount,
    InputScriptSize,
    OutputCount,
    OutputScriptSize,
    End,
}

/// A parser's position in a block: the part to be read next, the end, or a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Count,
    Transactions,
    Ended,
    Failed(WireError),
}

/// The bytes of a CompactSize that have arrived so far.
#[derive(Clone, Copy, Debug, Default)]
struct PartialSize {
    bytes: [u8; 9],
    len_bytes: usize,
}

/// The bytes of a block header that have arrived so far.
#[derive(Clone, Copy, Debug)]
struct PartialHeader {
    bytes: [u8; BlockHeader::LEN_BYTES],
    len_bytes: usize,
}

impl TxStreamParser {
    /// Returns a parser at the start of a transaction inside the payload of `command`.
    pub fn new(command: CommandName) -> Self {
        Self {
            command,
            skip_bytes: 4,
            awaited: Awaited::InputCount,
            size: PartialSize::default(),
            items_left: 0,
            read: StreamedTx { txid: Hash256::ZERO, len_bytes: 0, input_count: 0, output_count: 0 },
            hasher: Sha256::new(),
        }
    }

    /// Consumes `unread` up to the end of the transaction and returns the transaction. If the transaction does not
    /// end in `unread`, consumes all of `unread` and returns `None`. After the end the parser is ready for the next
    /// transaction. After an error it must not be used.
    ///
    /// # Errors
    ///
    /// [`WireError::NonCanonicalSize`] or [`WireError::OverlongSize`] if a count or size is invalid.
    pub fn advance(&mut self, unread: &mut &[u8]) -> Result<Option<StreamedTx>, WireError> {
        let offered = *unread;
        let is_complete = self.walk(unread)?;
        let taken = &offered[..offered.len() - unread.len()];
        self.hasher.update(taken);
        self.read.len_bytes += taken.len() as u64;
        if !is_complete {
            return Ok(None);
        }
        let Self { hasher, read, .. } = std::mem::replace(self, Self::new(self.command));
        Ok(Some(StreamedTx { txid: Hash256::finish(hasher), ..read }))
    }

    /// Returns whether the parser has read no byte of the next transaction.
    pub const fn is_at_boundary(&self) -> bool {
        self.read.len_bytes == 0
    }

    /// Consumes `unread` up to the transaction's end, and returns whether the end was reached.
    fn walk(&mut self, unread: &mut &[u8]) -> Result<bool, WireError> {
        loop {
            let skipped = usize::try_from(self.skip_bytes).unwrap_or(usize::MAX).min(unread.len());
            *unread = &unread[skipped..];
            self.skip_bytes -= skipped as u64;
            if self.skip_bytes > 0 {
                return Ok(false);
            }
            if self.awaited == Awaited::End {
                return Ok(true);
            }
            let Some(size) = self.size.advance(self.command, unread)? else { return Ok(false) };
            self.resume(size);
        }
    }

    /// Continues after the awaited size or count.
    fn resume(&mut self, size: u64) {
        match self.awaited {
            Awaited::InputCount => {
                self.read.input_count = size;
                self.items_left = size;
                self.await_input();
            }
            Awaited::InputScriptSize => {
                self.skip_bytes = size + 4;
                self.await_input();
            }
            Awaited::OutputCount => {
                self.read.output_count = size;
                self.items_left = size;
                self.await_output();
            }
            Awaited::OutputScriptSize => {
                self.skip_bytes = size;
                self.await_output();
            }
            Awaited::End => {}
        }
    }

    const fn await_input(&mut self) {
        if self.items_left == 0 {
            self.awaited = Awaited::OutputCount;
        } else {
            self.items_left -= 1;
            self.skip_bytes += 36;
            self.awaited = Awaited::InputScriptSize;
        }
    }

    const fn await_output(&mut self) {
        if self.items_left == 0 {
            self.skip_bytes += 4;
            self.awaited = Awaited::End;
        } else {
            self.items_left -= 1;
            self.skip_bytes += 8;
            self.awaited = Awaited::OutputScriptSize;
        }
    }
}

impl BlockStreamParser {
    /// Returns a parser at the start of a `block`.
    pub fn new() -> Self {
        Self {
            stage: Stage::Header,
            header: PartialHeader { bytes: [0; BlockHeader::LEN_BYTES], len_bytes: 0 },
            count: PartialSize::default(),
            tx_count: 0,
            tx: TxStreamParser::new(CommandName::BLOCK),
            tree: MerkleFrontier::new(),
            len_bytes: 0,
        }
    }

    /// Consumes `unread` up to the end of the block's next part and returns that part. If the part does not end in
    /// `unread`, consumes all of `unread` and returns `None`. Call this until it returns `None`, even if `unread` is
    /// empty, because [`BlockStreamEvent::End`] needs no further byte. Bytes after the block's end are consumed and
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::NonCanonicalSize`] and [`WireError::OverlongSize`] for counts and sizes; every later call returns
    /// the same error.
    pub fn advance(&mut self, unread: &mut &[u8]) -> Result<Option<BlockStreamEvent>, WireError> {
        let offered_bytes = unread.len();
        let event = match self.stage {
            Stage::Header => self.advance_header(unread),
            Stage::Count => self.advance_count(unread),
            Stage::Transactions => self.advance_transactions(unread),
            Stage::Ended => {
                *unread = &[];
                return Ok(None);
            }
            Stage::Failed(error) => Err(error),
        };
        self.len_bytes += (offered_bytes - unread.len()) as u64;
        if let Err(error) = event {
            self.stage = Stage::Failed(error);
        }
        event
    }

    /// Returns whether the end of the block was reached. A block that is incomplete when its payload ends is
    /// truncated.
    pub const fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Returns the number of transactions read so far.
    pub const fn tx_read_count(&self) -> u64 {
        self.tree.leaf_count()
    }

    /// Returns a hash of all bytes that were read up to the block's end. Two parsers that have read different bytes
    /// return different hashes. The bytes need no second pass: each is part of the header, of the count, of a
    /// transaction whose id is in the Merkle tree, or of the open transaction.
    pub(crate) fn read_digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.len_bytes.to_le_bytes());
        hasher.update(&self.header.bytes[..self.header.len_bytes]);
        hasher.update(&self.count.bytes[..self.count.len_bytes]);
        // A count has one encoding only.
        hasher.update(self.tx_count.to_le_bytes());
        self.tree.commit(&mut hasher);
        hasher.update(self.tx.hasher.clone().finalize());
        hasher.finalize().into()
    }

    fn advance_header(&mut self, unread: &mut &[u8]) -> Result<Option<BlockStreamEvent>, WireError> {
        let missing = &mut self.header.bytes[self.header.len_bytes..];
        let (taken, rest) = unread.split_at(missing.len().min(unread.len()));
        missing[..taken.len()].copy_from_slice(taken);
        self.header.len_bytes += taken.len();
        *unread = rest;
        if self.header.len_bytes < BlockHeader::LEN_BYTES {
            return Ok(None);
        }
        self.stage = Stage::Count;
        self.advance_count(unread)
    }

    fn advance_count(&mut self, unread: &mut &[u8]) -> Result<Option<BlockStreamEvent>, WireError> {
        let Some(tx_count) = self.count.advance(CommandName::BLOCK, unread)? else { return Ok(None) };
        self.tx_count = tx_count;
        self.stage = Stage::Transactions;
        Ok(Some(BlockStreamEvent::Header { header: BlockHeader::decode(&self.header.bytes), tx_count }))
    }

    fn advance_transactions(&mut self, unread: &mut &[u8]) -> Result<Option<BlockStreamEvent>, WireError> {
        if self.tree.leaf_count() == self.tx_count {
            self.stage = Stage::Ended;
            let header = BlockHeader::decode(&self.header.bytes);
            let verdict = self.tree.verdict(header.merkle_root);
            let block = StreamedBlock { header, tx_count: self.tx_count, len_bytes: self.len_bytes, verdict };
            return Ok(Some(BlockStreamEvent::End(block)));
        }
        let Some(tx) = self.tx.advance(unread)? else { return Ok(None) };
        self.tree.push(tx.txid);
        Ok(Some(BlockStreamEvent::Transaction(tx)))
    }
}

impl Default for BlockStreamParser {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialSize {
    /// Consumes `unread` up to the end of the size and returns the size. If the size does not end in `unread`,
    /// consumes all of `unread` and returns `None`.
    fn advance(&mut self, command: CommandName, unread: &mut &[u8]) -> Result<Option<u64>, WireError> {
        while let Some((&byte, rest)) = unread.split_first() {
            *unread = rest;
            self.bytes[self.len_bytes] = byte;
            self.len_bytes += 1;
            let needed_bytes = match self.bytes[0] {
                0xfd => 3,
                0xfe => 5,
                0xff => 9,
                _ => 1,
            };
            if self.len_bytes == needed_bytes {
                self.len_bytes = 0;
                return Reader::new(command, &self.bytes[..needed_bytes]).compact_size().map(Some);
            }
        }
        Ok(None)
    }
}
