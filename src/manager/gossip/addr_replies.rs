//! The replies to `getaddr`, which are repeated for a day so that repeated requests do not reveal the whole book.
//!
//! There is one reply per slot, and a keyed hash of the requester's network group chooses the slot. A group therefore
//! gets the same reply on any number of connections until the reply expires. At any time, there are at most as many
//! different replies as slots. An empty reply expires at once.

use crate::address::NetGroup;
use crate::limits::{ANSWER_LIFETIME, ANSWER_SLOTS};
use crate::manager::keyed::KeyedState;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

/// The current reply of each slot, at most 2 MB in all.
#[derive(Debug)]
pub(super) struct AddrReplies {
    keys: KeyedState,
    by_slot: BTreeMap<u64, (Instant, Vec<SocketAddr>)>,
}

impl AddrReplies {
    pub(super) const fn new(keys: KeyedState) -> Self {
        Self { keys, by_slot: BTreeMap::new() }
    }

    /// Returns the addresses for a requester. `draw` chooses them if the slot of the requester's group has no
    /// addresses from the last day.
    pub(super) fn of(
        &mut self,
        requester: IpAddr,
        now: Instant,
        draw: impl FnOnce() -> Vec<SocketAddr>,
    ) -> &[SocketAddr] {
        let slot = self.keys.hash_one(NetGroup::of(requester)) % ANSWER_SLOTS;
        let (drawn_at, addresses) = self.by_slot.entry(slot).or_default();
        if addresses.is_empty() || now >= drawn_at.plus(ANSWER_LIFETIME) {
            (*drawn_at, *addresses) = (now, draw());
        }
        addresses
    }
}
