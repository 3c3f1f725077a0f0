//! The answers to `getaddr` that are repeated for a day, so that nobody reads the whole book by asking again and again.
//!
//! There is one answer for each slot, and the asker's network group decides which, keyed: a group gets one answer a
//! day, however many connections it opens, and all groups together get no more than there are slots.

use crate::address::NetGroup;
use crate::limits::{ANSWER_LIFETIME, ANSWER_SLOTS};
use crate::manager::keyed::KeyedState;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

/// The answers to `getaddr` by network group, 2 MB at the most.
#[derive(Debug)]
pub(super) struct Answers {
    keys: KeyedState,
    by_slot: BTreeMap<u64, (Instant, Vec<SocketAddr>)>,
}

impl Answers {
    pub(super) const fn new(keys: KeyedState) -> Self {
        Self { keys, by_slot: BTreeMap::new() }
    }

    /// Returns the addresses for an asker; `draw` chooses them if its group has had none for a day.
    pub(super) fn of(&mut self, asker: IpAddr, now: Instant, draw: impl FnOnce() -> Vec<SocketAddr>) -> &[SocketAddr] {
        let slot = self.keys.hash_one(NetGroup::of(asker)) % ANSWER_SLOTS;
        let (drawn_at, addresses) = self.by_slot.entry(slot).or_default();
        if addresses.is_empty() || now >= drawn_at.plus(ANSWER_LIFETIME) {
            (*drawn_at, *addresses) = (now, draw());
        }
        addresses
    }
}
