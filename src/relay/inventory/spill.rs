//! Bitsets of announcers, for entries that have more of them than an entry holds.
//!
//! At most [`MAX_RELAY_SPILLS`] entries have one. A set has one bit for each peer index up to the highest one that was
//! added, and its memory is kept for the next entry.

use super::super::bits::PeerSet;
use crate::limits::MAX_RELAY_SPILLS;

/// The sets of all entries.
#[derive(Debug, Default)]
pub(super) struct Spills {
    sets: Vec<PeerSet>,
    free: Vec<u32>,
}

impl Spills {
    /// Returns the number of bytes that all sets use for peers with indexes below `peers`.
    pub(super) const fn memory_bytes(peers: usize) -> usize {
        MAX_RELAY_SPILLS * (size_of::<PeerSet>() + size_of::<u32>() + peers.div_ceil(64) * 16)
    }

    /// Returns an empty set; `None` if the maximum number of sets is in use.
    pub(super) fn add_set(&mut self) -> Option<u32> {
        if let Some(set) = self.free.pop() {
            return Some(set);
        }
        if self.sets.len() == MAX_RELAY_SPILLS {
            return None;
        }
        self.sets.push(PeerSet::default());
        Some(self.sets.len() as u32 - 1)
    }

    /// Empties a set and frees it.
    pub(super) fn remove_set(&mut self, set: u32) {
        self.sets[set as usize].clear();
        self.free.push(set);
    }

    /// Adds a peer, and returns whether it was not in the set.
    pub(super) fn insert(&mut self, set: u32, peer: u32) -> bool {
        self.sets[set as usize].insert(peer)
    }

    pub(super) fn contains(&self, set: u32, peer: u32) -> bool {
        self.sets[set as usize].contains(peer)
    }

    /// Adds all peers of a set to `peers`.
    pub(super) fn add_to(&self, set: u32, peers: &mut PeerSet) {
        peers.add_all(&self.sets[set as usize]);
    }

    /// Returns the peers of a set in ascending order.
    pub(super) fn peers(&self, set: u32) -> impl Iterator<Item = u32> {
        self.sets[set as usize].iter()
    }

    /// Returns the number of sets, free ones included.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    #[cfg(test)]
    /// Returns the number of sets in use.
    pub(super) fn used(&self) -> usize {
        self.sets.len() - self.free.len()
    }

    /// Removes all peers of `closed` from a set.
    pub(super) fn sweep(&mut self, set: usize, closed: &PeerSet) {
        self.sets[set].remove_all(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_contains_exactly_the_added_peers(peers in prop::collection::vec(0..300_u32, 0..50)) {
            let mut spills = Spills::default();
            let other = spills.add_set().expect("no set is in use");
            let set = spills.add_set().expect("one set is in use");
            let mut model = BTreeSet::new();
            for &peer in &peers {
                prop_assert_eq!(spills.insert(set, peer), model.insert(peer));
            }
            prop_assert_eq!(spills.peers(set).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert!((0..320).all(|peer| spills.contains(set, peer) == model.contains(&peer)));
            prop_assert_eq!(spills.peers(other).count(), 0);
            let mut all = PeerSet::from_iter([0]);
            spills.add_to(set, &mut all);
            prop_assert!((0..320).all(|peer| all.contains(peer) == (peer == 0 || model.contains(&peer))));
            spills.sweep(set as usize, &(0..64).chain(128..192).collect());
            model.retain(|peer| (64..128).contains(peer) || *peer >= 192);
            prop_assert_eq!(spills.peers(set).collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
            spills.remove_set(set);
            prop_assert_eq!(spills.add_set(), Some(set));
            prop_assert_eq!(spills.peers(set).count(), 0);
        }
    }

    #[test]
    fn the_number_of_sets_is_limited_and_a_freed_set_is_reused() {
        let mut spills = Spills::default();
        let sets: Vec<u32> = (0..MAX_RELAY_SPILLS).filter_map(|_| spills.add_set()).collect();
        assert_eq!((sets.len(), spills.add_set()), (MAX_RELAY_SPILLS, None));
        spills.remove_set(sets[9]);
        assert_eq!((spills.used(), spills.add_set()), (MAX_RELAY_SPILLS - 1, Some(sets[9])));
    }
}
