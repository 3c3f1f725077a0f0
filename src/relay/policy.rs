//! The trust modes, and the decisions that an embedder makes per transaction.

use super::event::{BlockRelayed, RelayEvent};
use super::window::{Read, Window};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::wire::{Hash256, TxRef};
use bytes::Bytes;
use std::fmt;

/// The treatment of transactions from leaf peers, which are the peers that are no upstreams.
///
/// Announcements of upstreams are believed in every mode, and passed on at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustMode {
    /// A leaf's transaction is submitted to the upstreams only. It is announced to other leaf peers once an upstream
    /// has announced it on a listening link. An SV Node announces only transactions that it has accepted.
    #[default]
    Validated,
    /// A leaf's transaction is submitted to the upstreams only, and the upstreams are not observed: they have no
    /// listening links. It is announced to other leaf peers only if another upstream announces it.
    Trusted,
    /// A leaf's transaction is announced to all peers at once. Only for test networks: an invalid transaction would
    /// cost this host a ban at every node that receives it.
    Open,
}

/// A policy's decision about a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyDecision {
    /// Treat it as the trust mode says.
    #[default]
    Relay,
    /// Keep it without announcing or submitting it. It is announced if an upstream announces it.
    Hold,
    /// Drop it. While it is remembered, it is requested from no peer until the next block.
    Drop,
    /// Drop it, and charge the peer that sent it these points; see [`Ctx::penalize`]. An upstream is not charged.
    Misbehaved {
        /// The points.
        points: u32,
    },
}

/// A transaction that has arrived, before the relay uses it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct IncomingTransaction<'a> {
    /// The transaction's id.
    pub txid: Hash256,
    /// The peer that sent it; `None` if it was submitted by a request.
    pub peer: Option<PeerId>,
    /// Whether an upstream sent it.
    pub is_from_upstream: bool,
    /// The transaction as received. Its payload is complete and has the id `txid`; only the transaction of a leaf or of
    /// a request has been decoded.
    pub payload: &'a [u8],
}

impl<'a> IncomingTransaction<'a> {
    /// Decodes the transaction; `None` if it is malformed.
    pub fn decode(&self) -> Option<TxRef<'a>> {
        TxRef::decode(self.payload).ok()
    }
}

/// A large transaction that has arrived, in parts, before the relay uses it. It is longer than
/// [`Config::max_buffered_message_bytes`](crate::Config::max_buffered_message_bytes), and has been decoded.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LargeTransaction<'a> {
    /// The transaction's id.
    pub txid: Hash256,
    /// The peer that sent it.
    pub peer: PeerId,
    /// Whether an upstream sent it.
    pub is_from_upstream: bool,
    pub(super) window: &'a Window,
}

impl LargeTransaction<'_> {
    /// Returns the length of the payload in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.window.end()
    }

    /// Returns the payload in parts of any length, in order.
    pub fn parts(&self) -> impl Iterator<Item = Bytes> {
        let mut at = 0;
        std::iter::from_fn(move || match self.window.read(at) {
            Read::Part(part) => {
                at += part.len() as u64;
                Some(part)
            }
            Read::Waits | Read::Finished | Read::Overrun { .. } => None,
        })
    }
}

/// An embedder's decisions, and its view of each transaction's progress. Every method has a default.
///
/// ```
/// use peerloop::relay::{IncomingTransaction, PolicyDecision, RelayEvent, RelayPolicy};
/// use peerloop::Ctx;
///
/// /// Relays transactions of at most 10 kB, and prints the progress of submitted ones.
/// struct Small;
///
/// impl RelayPolicy for Small {
///     fn on_transaction(&mut self, _ctx: &mut Ctx<'_>, transaction: IncomingTransaction<'_>) -> PolicyDecision {
///         if transaction.payload.len() > 10_000 { PolicyDecision::Drop } else { PolicyDecision::Relay }
///     }
///
///     fn on_relay_event(&mut self, _ctx: &mut Ctx<'_>, event: &RelayEvent) {
///         println!("{event:?}");
///     }
/// }
/// ```
pub trait RelayPolicy {
    /// Decides about a transaction that has arrived and was not known, and that is not a large one. The default relays
    /// it.
    fn on_transaction(&mut self, ctx: &mut Ctx<'_>, transaction: IncomingTransaction<'_>) -> PolicyDecision {
        let _ = (ctx, transaction);
        PolicyDecision::Relay
    }

    /// Decides about a large transaction that has arrived and was not known. The default relays it, so a policy that
    /// inspects transactions has to implement this method, too.
    ///
    /// ```
    /// use peerloop::relay::{LargeTransaction, PolicyDecision, RelayPolicy};
    /// use peerloop::Ctx;
    ///
    /// /// Relays no large transaction of a leaf, and none with this marker within a part.
    /// struct Unmarked;
    ///
    /// impl RelayPolicy for Unmarked {
    ///     fn on_large_transaction(&mut self, _ctx: &mut Ctx<'_>, large: LargeTransaction<'_>) -> PolicyDecision {
    ///         println!("{} of {} bytes", large.txid, large.len_bytes());
    ///         let is_marked = large.parts().any(|part| part.windows(4).any(|bytes| bytes == b"mark"));
    ///         if is_marked || !large.is_from_upstream { PolicyDecision::Drop } else { PolicyDecision::Relay }
    ///     }
    /// }
    /// ```
    fn on_large_transaction(&mut self, ctx: &mut Ctx<'_>, transaction: LargeTransaction<'_>) -> PolicyDecision {
        let _ = (ctx, transaction);
        PolicyDecision::Relay
    }

    /// Handles a step in the progress of a transaction that a leaf or a request has submitted.
    fn on_relay_event(&mut self, ctx: &mut Ctx<'_>, event: &RelayEvent) {
        let _ = (ctx, event);
    }

    /// Handles the end of a block's passage, once for each block that was fetched and for each compact block.
    ///
    /// ```
    /// use peerloop::relay::{BlockRelayed, RelayPolicy};
    /// use peerloop::Ctx;
    ///
    /// /// Prints the blocks whose first byte took long.
    /// struct Watch;
    ///
    /// impl RelayPolicy for Watch {
    ///     fn on_block_relayed(&mut self, _ctx: &mut Ctx<'_>, block: &BlockRelayed) {
    ///         if let Some(hop) = block.first_byte.filter(|hop| hop.last.as_millis() > 0) {
    ///             println!("{} of {} bytes: {:?}", block.hash, block.size_bytes, hop.last + hop.lag);
    ///         }
    ///     }
    /// }
    /// ```
    fn on_block_relayed(&mut self, ctx: &mut Ctx<'_>, block: &BlockRelayed) {
        let _ = (ctx, block);
    }
}

/// The policy that relays every transaction as the trust mode says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayAll;

impl RelayPolicy for RelayAll {}

impl fmt::Display for TrustMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validated => "validated",
            Self::Trusted => "trusted",
            Self::Open => "open",
        })
    }
}
