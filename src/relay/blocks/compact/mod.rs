//! Compact blocks (BIP 152, SV Node 1.2.2, blockencodings.h): blocks whose transactions are named by short ids.
//!
//! An upstream's compact block is passed on as it arrived, once its header is checked, and held for requests while it
//! is one of the newest. The newest one is rebuilt from the pool, so that requests for the block and for single
//! transactions need no fetch. This file is the table of those that are held; it sends nothing.
//!
//! `agree` exchanges `sendcmpct`, `receive` handles a compact block's arrival, and `work` rebuilds it. `serve` answers
//! `getblocktxn` with `transactions` of a kept block, or `ask` passes it on; `reply` handles the reply to that.

mod agree;
mod ask;
mod pending;
mod rebuild;
mod receive;
mod reply;
mod serve;
mod transactions;
mod work;

use super::passages::Stamp;
use crate::id::PeerId;
use crate::limits::{
    HEADER_LEN_BYTES, RELAY_BLOCKTXN_ASKS, RELAY_COMPACT_BLOCKS, RELAY_COMPACT_BYTES, RELAY_PEER_BLOCKTXN_ASKS,
    RELAY_PREFILLED_BYTES, RELAY_REBUILT_BYTES, RELAY_REBUILT_TXS, RELAY_REQUEST_BYTES,
};
use crate::wire::Hash256;
pub(in crate::relay) use agree::{choose_sources, is_used, on_sendcmpct};
pub(in crate::relay) use ask::{expire_asks, on_peer_lost};
use bytes::Bytes;
use pending::{Ask, Job, Waiting};
pub(in crate::relay) use receive::{on_compact, on_compact_header};
pub(in crate::relay) use reply::{on_blocktxn, on_blocktxn_header};
pub(in crate::relay) use serve::on_getblocktxn;
use std::collections::VecDeque;
pub(in crate::relay) use work::{advance, end as end_rebuild};

/// Maximum number of bytes of the tables with which a block of [`RELAY_REBUILT_TXS`] transactions is rebuilt, for each
/// of them.
const REBUILD_BYTES_PER_TX: usize = 128;

/// The exchange of compact blocks with one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    /// Whether both sides support compact blocks.
    is_supported: bool,
    /// Whether the peer wants new blocks announced as compact ones.
    is_announced: bool,
    /// Whether this side has asked the peer to announce new blocks as compact ones.
    is_source: bool,
    /// The arrival of the header of the latest `cmpctblock`.
    begun: Option<Stamp>,
}

impl Exchange {
    pub(super) const fn is_announced(&self) -> bool {
        self.is_announced
    }
}

/// The newest compact blocks, and the work on them.
#[derive(Debug, Default)]
pub(in crate::relay) struct Compacts {
    /// The oldest first.
    blocks: VecDeque<Compact>,
    /// The block that is rebuilt from the next turn on.
    due: Option<Hash256>,
    /// The block that is being rebuilt.
    job: Option<Job>,
    /// The requests for transactions, the oldest first.
    asks: Vec<Ask>,
}

/// A compact block whose header is in the chain.
#[derive(Debug)]
struct Compact {
    hash: Hash256,
    /// The message as it arrived, with a basic header.
    frame: Bytes,
    /// The message with further prefilled transactions: those that this relay had to request.
    prefilled: Option<Bytes>,
    /// The link that has sent it.
    announcer: PeerId,
    /// The number of transactions, as claimed.
    tx_count: usize,
}

impl Compacts {
    /// Returns the maximum number of bytes of all compact blocks and of the work on them, for a number of peers.
    pub(in crate::relay) const fn memory_bytes(peers: usize) -> usize {
        let frame = HEADER_LEN_BYTES + RELAY_COMPACT_BYTES as usize;
        let held = RELAY_COMPACT_BLOCKS * (2 * frame + RELAY_PREFILLED_BYTES + size_of::<Compact>());
        // Bodies share read blocks of up to twice their length.
        let rebuilt = 3 * RELAY_REBUILT_BYTES + RELAY_REBUILT_TXS * REBUILD_BYTES_PER_TX;
        let asks = RELAY_BLOCKTXN_ASKS * (2 * RELAY_REQUEST_BYTES + size_of::<Ask>());
        // A list that grows has up to twice its length.
        held + rebuilt + asks + peers * 2 * RELAY_PEER_BLOCKTXN_ASKS * size_of::<Waiting>()
    }

    /// Returns the message with a compact block.
    pub(in crate::relay) fn frame(&self, hash: Hash256) -> Option<Bytes> {
        self.get(hash).map(|block| block.prefilled.as_ref().unwrap_or(&block.frame).clone())
    }

    /// Returns the block that is being rebuilt, or will be.
    pub(super) fn rebuilt(&self) -> Option<Hash256> {
        self.due.or_else(|| self.job.as_ref().map(|job| job.hash))
    }

    /// Returns the payload of a compact block as it arrived.
    fn payload(&self, hash: Hash256) -> Option<Bytes> {
        self.get(hash).map(|block| block.frame.slice(HEADER_LEN_BYTES..))
    }

    fn tx_count(&self, hash: Hash256) -> Option<usize> {
        self.get(hash).map(|block| block.tx_count)
    }

    fn announcer(&self, hash: Hash256) -> Option<PeerId> {
        self.get(hash).map(|block| block.announcer)
    }

    fn get(&self, hash: Hash256) -> Option<&Compact> {
        self.blocks.iter().find(|block| block.hash == hash)
    }

    /// Holds a compact block, and drops the oldest one if there are too many.
    fn insert(&mut self, block: Compact) {
        if self.blocks.len() == RELAY_COMPACT_BLOCKS {
            self.blocks.pop_front();
        }
        self.blocks.push_back(block);
    }

    fn set_prefilled(&mut self, hash: Hash256, frame: Bytes) {
        if let Some(block) = self.blocks.iter_mut().find(|block| block.hash == hash) {
            block.prefilled = Some(frame);
        }
    }
}
