//! The progress of submitted transactions, in the words that wallets' APIs use.

use super::link::UpstreamLink;
use crate::wire::Hash256;

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
    /// It is larger than the relay's limit of 2 MiB, or the pool has no room for it.
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
