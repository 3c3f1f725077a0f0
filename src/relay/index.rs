//! A hash index of slots: chains of slots in buckets.
//!
//! The index holds no hashes. A caller passes the keyed hash that it has computed once, and compares the candidates
//! itself. A lookup reads one bucket and, usually, one candidate. The size is fixed, so no insertion moves the others.

/// The end of a chain, and an empty bucket. Slot `s` is stored as `s + 1`, so that a new index is zeroed memory, of
/// which only the pages in use cost memory.
const NONE: u32 = 0;

/// An index of the slots below a fixed capacity.
#[derive(Debug)]
pub(in crate::relay) struct Index {
    /// The first slot of each bucket's chain.
    heads: Vec<u32>,
    /// The next slot of each slot's chain.
    next: Vec<u32>,
}

impl Index {
    /// Creates an index with at least two buckets for each of `capacity` slots, which uses 12 to 20 bytes per slot.
    pub(in crate::relay) fn new(capacity: usize) -> Self {
        let buckets = capacity.saturating_mul(2).next_power_of_two();
        Self { heads: vec![NONE; buckets], next: vec![NONE; capacity] }
    }

    /// Returns the number of bytes that an index with this capacity uses.
    pub(in crate::relay) const fn memory_bytes(capacity: usize) -> usize {
        (capacity.saturating_mul(2).next_power_of_two() + capacity) * size_of::<u32>()
    }

    /// Returns the slot with this keyed hash for which `is` returns true.
    #[inline]
    pub(in crate::relay) fn find(&self, key: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.heads[self.bucket(key)];
        while at != NONE {
            let slot = at - 1;
            if is(slot) {
                return Some(slot);
            }
            at = self.next[slot as usize];
        }
        None
    }

    /// Adds a slot that the index does not contain.
    pub(in crate::relay) fn insert(&mut self, key: u64, slot: u32) {
        let bucket = self.bucket(key);
        self.next[slot as usize] = self.heads[bucket];
        self.heads[bucket] = slot + 1;
    }

    /// Removes a slot that was inserted with the same key.
    pub(in crate::relay) fn remove(&mut self, key: u64, slot: u32) {
        let bucket = self.bucket(key);
        let after = self.next[slot as usize];
        if self.heads[bucket] == slot + 1 {
            self.heads[bucket] = after;
            return;
        }
        let mut at = self.heads[bucket];
        while at != NONE {
            let index = (at - 1) as usize;
            if self.next[index] == slot + 1 {
                self.next[index] = after;
                return;
            }
            at = self.next[index];
        }
        debug_assert!(false, "the slot is not in the bucket of its key");
    }

    fn bucket(&self, key: u64) -> usize {
        key as usize & (self.heads.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_index_finds_exactly_the_inserted_slots(steps in prop::collection::vec((0..8_u32, 0..6_u64), 0..200)) {
            let mut index = Index::new(8);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for (slot, key) in steps {
                match model.remove(&slot) {
                    Some(before) => index.remove(before, slot),
                    None => {
                        index.insert(key, slot);
                        model.insert(slot, key);
                    }
                }
                for key in 0..6 {
                    for slot in 0..8 {
                        let found = index.find(key, |found| found == slot);
                        // Keys below the number of buckets have a bucket of their own.
                        prop_assert_eq!(found.is_some(), model.get(&slot) == Some(&key));
                    }
                }
            }
        }
    }

    #[test]
    fn colliding_keys_share_a_bucket_and_stay_apart() {
        let mut index = Index::new(4);
        let colliding = [3, 3 + 8, 3 + 16, 3 + 24];
        for (slot, key) in colliding.into_iter().enumerate() {
            index.insert(key, slot as u32);
        }
        index.remove(colliding[1], 1);
        let mut seen = Vec::new();
        assert_eq!(
            index.find(3, |slot| {
                seen.push(slot);
                false
            }),
            None
        );
        assert_eq!(seen, [3, 2, 0]);
    }
}
