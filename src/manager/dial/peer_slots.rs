//! The single count of peers in both directions, including those being dialled.
//!
//! A slot is reserved before a connection is dialled or admitted. It is returned exactly once, on every path, when
//! the connection's row is removed from the table: the row stores whether the connection has a slot. The maximum may
//! be lowered below the number of used slots. That closes no link, but until enough slots are returned, a new peer is
//! admitted only in place of an evicted one.

/// The number of peers, and its maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerSlots {
    max: usize,
    taken: usize,
}

impl PeerSlots {
    pub(crate) const fn new(max: usize) -> Self {
        Self { max, taken: 0 }
    }

    /// Reserves a slot, or returns `false` if none is free.
    #[must_use]
    pub(crate) const fn try_take(&mut self) -> bool {
        let is_free = self.taken < self.max;
        self.taken += is_free as usize;
        is_free
    }

    /// Reserves a slot even if none is free, because a peer is about to return one.
    pub(crate) const fn take_beyond(&mut self) {
        self.taken += 1;
    }

    pub(crate) fn give_back(&mut self) {
        debug_assert!(self.taken > 0, "a slot was returned that was not reserved");
        self.taken = self.taken.saturating_sub(1);
    }

    /// Changes the maximum; used slots stay used.
    pub(crate) const fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) const fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_e27_at_most_the_maximum_number_of_slots_is_reserved() {
        let mut slots = PeerSlots::new(2);
        assert!(slots.try_take() && slots.try_take() && !slots.try_take());
        slots.give_back();
        assert!(slots.try_take() && !slots.try_take());
        assert_eq!(slots.taken(), 2);
    }

    #[test]
    fn req_e28_a_lowered_maximum_revokes_no_slot_and_none_is_granted_until_fewer_are_used() {
        let mut slots = PeerSlots::new(3);
        assert!(slots.try_take() && slots.try_take() && slots.try_take());
        slots.set_max(1);
        assert_eq!((slots.taken(), slots.max()), (3, 1));
        slots.give_back();
        slots.give_back();
        assert!(!slots.try_take(), "a slot was granted beyond the maximum of one");
        slots.give_back();
        assert!(slots.try_take());
    }

    #[test]
    #[should_panic(expected = "was not reserved")]
    #[cfg(debug_assertions)]
    fn req_e27_a_slot_cannot_be_returned_twice() {
        let mut slots = PeerSlots::new(1);
        assert!(slots.try_take());
        slots.give_back();
        slots.give_back();
    }
}
