//! The state of gossip: at most one entry for each connected peer, the slots for received addresses, and the slots for
//! replies.
//!
//! Memory is bounded by the numbers of connected peers and slots.

use super::addr_replies::AddrReplies;
use super::slots::Slots;
use crate::id::LinkId;
use crate::limits::{ADDRESS_TOKEN_INTERVAL, MAX_ADDRESSES_PER_MESSAGE};
use crate::manager::keyed::KeyedState;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The gossip state of all connected peers.
#[derive(Debug)]
pub(in crate::manager) struct Gossip {
    pub(super) slots: Slots,
    pub(super) replies: AddrReplies,
    pub(super) states: BTreeMap<LinkId, GossipState>,
}

/// The gossip state of one connected peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GossipState {
    /// The number of the peer's addresses that may still be examined.
    pub(super) tokens: u32,
    refilled_at: Instant,
    /// Whether this loop has requested addresses from the peer.
    pub(super) is_asked: bool,
    /// Whether the peer's first request for addresses has been handled.
    pub(super) is_answered: bool,
}

/// A peer that sends or requests addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GossipPeer {
    pub(crate) id: LinkId,
    pub(crate) address: SocketAddr,
}

const _: () = assert!(size_of::<(LinkId, GossipState)>() <= 32, "a peer's id and gossip state need more than 32 bytes");

impl Gossip {
    pub(in crate::manager) fn new(keys: KeyedState) -> Self {
        Self { slots: Slots::new(keys), replies: AddrReplies::new(keys), states: BTreeMap::new() }
    }

    /// Removes a closed connection's gossip state.
    pub(in crate::manager) fn link_removed(&mut self, id: LinkId) {
        self.states.remove(&id);
    }

    pub(super) fn state_of(&mut self, id: LinkId, now: Instant) -> &mut GossipState {
        self.states.entry(id).or_insert(GossipState {
            tokens: 1,
            refilled_at: now,
            is_asked: false,
            is_answered: false,
        })
    }
}

impl GossipState {
    /// Adds the tokens that are due, then removes one. Returns `false` if there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let interval = ADDRESS_TOKEN_INTERVAL.as_nanos() as u64;
        let new = now.since(self.refilled_at).as_nanos() as u64 / interval;
        self.refilled_at = Instant::from_nanos(self.refilled_at.as_nanos() + new * interval);
        let most = MAX_ADDRESSES_PER_MESSAGE as u32;
        self.tokens = u32::try_from(new).unwrap_or(u32::MAX).saturating_add(self.tokens).min(most);
        let is_allowed = self.tokens > 0;
        self.tokens -= u32::from(is_allowed);
        is_allowed
    }
}
