//! The unfinished work of compact blocks, as plain values: the block that is being rebuilt, and the requests for
//! transactions. Nothing here sends; `work` and `ask` do.

use super::rebuild::{Assembly, Rebuild};
use crate::address::Host;
use crate::id::PeerId;
use crate::time::Instant;
use crate::wire::Hash256;
use bytes::Bytes;

/// A block that is being rebuilt.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) hash: Hash256,
    pub(super) rebuild: Rebuild,
    /// The number of the pool's next record.
    pub(super) cursor: u32,
    /// The number of pauses so far, and the end of the present one.
    pub(super) pauses: u32,
    pub(super) next_at: Instant,
    /// Whether the missing transactions were requested.
    pub(super) is_asked: bool,
    pub(super) assembly: Option<Assembly>,
}

/// A peer that waits for the reply to a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) peer: PeerId,
    /// The host that pays for the reply.
    pub(super) payer: Option<Host>,
}

/// A request for transactions of a block.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) hash: Hash256,
    /// The payload of the `getblocktxn`.
    pub(super) request: Bytes,
    /// The number of requested transactions.
    pub(super) count: usize,
    /// The peers that wait for the reply, one for each of its requests.
    pub(super) waiting: Vec<Waiting>,
    /// The host of the last peer that has closed while it waited. It pays if no peer waits any more.
    pub(super) closed_payer: Option<Host>,
    /// Whether this side needs the transactions to rebuild the block.
    pub(super) is_own: bool,
    /// The upstream that was asked; `None` while the block is being rebuilt.
    pub(super) source: Option<PeerId>,
    /// The moment at which the request arrived or was sent.
    pub(super) since: Instant,
}

impl Ask {
    /// Returns a request that is not sent yet and that no peer waits for.
    pub(super) fn new(hash: Hash256, request: Bytes, count: usize, since: Instant) -> Self {
        Self { hash, request, count, waiting: Vec::new(), closed_payer: None, is_own: false, source: None, since }
    }
}
