//! The one count of peers, both directions and those being dialled together.
//!
//! A place is taken before a connection is dialled or admitted and given back when its row ends, on every path and
//! once: the row says whether it holds one. The maximum may be lowered below what is taken, which closes nobody and
//! lets nobody in.

/// How many peers there are and may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerSlots {
    max: usize,
    taken: usize,
}

impl PeerSlots {
    pub(crate) const fn new(max: usize) -> Self {
        Self { max, taken: 0 }
    }

    /// Takes a place, or returns `false` if there is none.
    #[must_use]
    pub(crate) const fn try_take(&mut self) -> bool {
        let is_free = self.taken < self.max;
        self.taken += is_free as usize;
        is_free
    }

    /// Takes a place although there may be none, because somebody is about to give one back.
    pub(crate) const fn take_beyond(&mut self) {
        self.taken += 1;
    }

    /// Gives back one place that was taken.
    pub(crate) fn give_back(&mut self) {
        debug_assert!(self.taken > 0, "a place is given back that nobody has taken");
        self.taken = self.taken.saturating_sub(1);
    }

    /// Changes the maximum; who has a place keeps it.
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
    fn req_e27_no_more_places_are_taken_than_there_are() {
        let mut places = PeerSlots::new(2);
        assert!(places.try_take() && places.try_take() && !places.try_take());
        places.give_back();
        assert!(places.try_take() && !places.try_take());
        assert_eq!(places.taken(), 2);
    }

    #[test]
    fn req_e28_a_lower_maximum_takes_no_place_away_and_gives_none_out() {
        let mut places = PeerSlots::new(3);
        assert!(places.try_take() && places.try_take() && places.try_take());
        places.set_max(1);
        assert_eq!((places.taken(), places.max()), (3, 1));
        places.give_back();
        places.give_back();
        assert!(!places.try_take(), "one is left, which is all there may be");
        places.give_back();
        assert!(places.try_take());
    }

    #[test]
    #[should_panic(expected = "nobody has taken")]
    #[cfg(debug_assertions)]
    fn req_e27_a_place_cannot_be_given_back_twice() {
        let mut places = PeerSlots::new(1);
        assert!(places.try_take());
        places.give_back();
        places.give_back();
    }
}
