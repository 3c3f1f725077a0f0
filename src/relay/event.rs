//! The relay's reports to embedders: the progress of submitted transactions, in the words that wallets' APIs use, and
//! the passage of each block.

use super::link::UpstreamLink;
use crate::wire::Hash256;
use std::time::Duration;

/// A step in the progress of a transaction that a leaf or a request has submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayEvent {
    /// The transaction's id.
    pub txid: Hash256,
    /// The step.
    pub step: RelayStep,
}

/// A step of a submitted transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayStep {
    /// It was announced to an upstream.
    Announced(UpstreamLink),
    /// An upstream has requested it.
    Requested(UpstreamLink),
    /// It was queued for an upstream, on request or, in push mode, without one.
    Sent(UpstreamLink),
    /// An upstream has announced it, so the upstream has accepted it.
    SeenBack(UpstreamLink),
    /// An upstream has rejected it.
    Rejected(Rejection),
    /// It is no longer followed: 20 minutes have passed, or too many transactions are followed.
    Forgotten,
}

/// A block that has passed whole or as a compact block, or that could not be completed.
///
/// The readers of a whole block are the peers that requested it before it was complete. Peers that receive it from
/// memory later are none. Those of a compact block are the peers that received it as an announcement, and those that
/// requested it within a second. A compact block passes once it is whole, so its first byte is not measured, and its
/// last byte is measured only for the peers that received it as an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockRelayed {
    /// The block's hash.
    pub hash: Hash256,
    /// The block's height; `None` if its header is not known.
    pub height: Option<u32>,
    /// The form in which the block has passed.
    pub form: BlockForm,
    /// The length of the block or of the compact block in bytes, as its source announced it.
    pub size_bytes: u64,
    /// Whether the block has arrived whole and is right; always true for a compact block, of which only the header is
    /// checked.
    pub is_complete: bool,
    /// From the block's first byte in to its last byte in, or to the moment at which the relay gave up.
    pub received_in: Duration,
    /// From the block's first byte in to its first byte out, for the readers that waited for it; `None` without one.
    pub first_byte: Option<BlockHop>,
    /// From the block's last byte in to its last byte out, for all readers that have it; `None` without one.
    pub last_byte: Option<BlockHop>,
    /// Readers for which the kernel has accepted the whole block.
    pub readers_finished: u32,
    /// Readers that were closed before that, by either side.
    pub readers_cut: u32,
    /// Readers whose end is not known: they were still reading 60 s after the block was complete, or when eight newer
    /// blocks had begun to pass.
    pub readers_open: u32,
    /// Upstreams that have sent some of the block, each counted once for each attempt.
    pub sources: u32,
    /// Upstreams that were replaced by another one.
    pub fail_overs: u32,
    /// The longest time without a new byte because an upstream was lost in the middle of the block: from its last byte
    /// until another one has sent more, or until the relay gave up. `None` if none was lost in the middle.
    pub longest_gap: Option<Duration>,
}

impl BlockRelayed {
    /// Returns the report of a block without readers, for tests of code that uses it.
    pub const fn new(hash: Hash256, size_bytes: u64, is_complete: bool, received_in: Duration) -> Self {
        Self {
            hash,
            height: None,
            form: BlockForm::Whole,
            size_bytes,
            is_complete,
            received_in,
            first_byte: None,
            last_byte: None,
            readers_finished: 0,
            readers_cut: 0,
            readers_open: 0,
            sources: 0,
            fail_overs: 0,
            longest_gap: None,
        }
    }
}

/// The form in which a block has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockForm {
    /// As a whole block, while it arrived.
    Whole,
    /// As a compact block, as it arrived.
    Compact {
        /// The number of transactions that the compact block claims.
        transactions: u64,
        /// How the relay has rebuilt the block.
        rebuilt: Rebuilt,
    },
}

/// How a relay has rebuilt the block of a compact block, to answer requests for it and for its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rebuilt {
    /// From the compact block and the pool.
    FromPool,
    /// In addition, from this many transactions that were requested.
    WithRequested(u32),
    /// It was not rebuilt. The whole block is fetched if a peer requests it.
    No,
}

/// The time from one byte of a block in to the same byte out. A byte is in when it was read, and out when the kernel
/// has accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockHop {
    /// To the first reader.
    pub first: Duration,
    /// To the last reader.
    pub last: Duration,
    /// The longest time for which the byte can have waited in the kernel before it was read; see
    /// [`Ctx::max_input_age`](crate::Ctx::max_input_age). Add it to see the hop from the byte's arrival.
    pub lag: Duration,
}

impl BlockHop {
    /// Returns a hop, for tests of code that uses it.
    pub const fn new(first: Duration, last: Duration, lag: Duration) -> Self {
        Self { first, last, lag }
    }
}

/// An upstream's rejection of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// The upstream that has rejected it.
    pub by: UpstreamLink,
    /// The code of the `reject`; see [`RejectCode`](crate::wire::RejectCode).
    pub code: u8,
    /// The reason in the upstream's words, at most 111 bytes, without characters that are unsafe to print.
    pub reason: String,
}

/// The result of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubmitReport {
    /// The transaction's id.
    pub txid: Hash256,
    /// The outcome so far.
    pub outcome: SubmitOutcome,
    /// The submitting links on which it was announced or sent.
    pub announced: Vec<UpstreamLink>,
    /// The upstreams that have requested it.
    pub requested: Vec<UpstreamLink>,
    /// The links on which an upstream has announced it.
    pub seen_back: Vec<UpstreamLink>,
    /// The upstreams' rejections.
    pub rejected: Vec<Rejection>,
}

/// The outcome of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitOutcome {
    /// An upstream has announced it.
    SeenBack,
    /// An upstream has rejected it, and none has announced it.
    Rejected,
    /// No upstream has announced or rejected it within
    /// [`RELAY_SUBMIT_TIMEOUT`](crate::limits::RELAY_SUBMIT_TIMEOUT). An SV Node rejects neither orphans nor conflicts,
    /// so silence is no acceptance. The relay continues to announce it every 60 s.
    Silent,
    /// It was relayed before, so it was not submitted again.
    Known,
    /// It is malformed.
    Malformed,
    /// It is larger than the loop's buffer limit of 2 MiB, or the pool has no room for it.
    TooLarge,
    /// The policy has not let it pass.
    Refused,
}

impl SubmitReport {
    /// Returns the report of a submission that has ended at once.
    pub(super) fn ended(txid: Hash256, outcome: SubmitOutcome) -> Self {
        let (announced, requested, seen_back) = (Vec::new(), Vec::new(), Vec::new());
        Self { txid, outcome, announced, requested, seen_back, rejected: Vec::new() }
    }
}

/// Returns text of a peer without characters that are unsafe to print.
pub(super) fn printable(text: &[u8]) -> String {
    text.iter().map(|&byte| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '?' }).collect()
}
