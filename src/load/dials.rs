//! The dials that are requested while the load runs: which slot is dialled next, and when.

use super::rate::Rate;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// The dials of the latest request, at a steady rate from its moment on.
#[derive(Debug, Default)]
pub(super) struct Dials {
    slots: VecDeque<usize>,
    /// The number of dials that were started.
    started: u64,
    began: Instant,
}

impl Dials {
    /// Replaces the dials, from `now` on. Returns the slots of those that were not started.
    pub(super) fn request(&mut self, now: Instant, slots: VecDeque<usize>) -> VecDeque<usize> {
        std::mem::replace(self, Self { slots, started: 0, began: now }).slots
    }

    /// Lists the slots whose dials are not started yet.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().copied()
    }

    /// Returns the moment of the next dial; [`Instant::MAX`] if there is none.
    pub(super) fn next_moment(&self, rate: Rate) -> Instant {
        let moment = if self.slots.is_empty() { None } else { rate.moment(self.started) };
        moment.map_or(Instant::MAX, |nanos| self.began.plus(Duration::from_nanos(nanos)))
    }

    /// Returns the slot to dial next, if its dial is due.
    pub(super) fn next(&mut self, now: Instant, rate: Rate) -> Option<usize> {
        if self.next_moment(rate) > now {
            return None;
        }
        self.started += 1;
        self.slots.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dials_are_due_evenly_from_the_request_on() {
        let (mut dials, rate, at) =
            (Dials::default(), Rate::per_second(10), |millis: u64| Instant::from_nanos(millis * 1_000_000));
        assert_eq!((dials.next(at(5), rate), dials.next_moment(rate)), (None, Instant::MAX));
        assert!(dials.request(at(1_000), [7, 9, 4].into()).is_empty());
        assert_eq!((dials.next(at(1_050), rate), dials.next(at(1_050), rate)), (Some(7), None));
        assert_eq!((dials.next_moment(rate), dials.slots().collect::<Vec<_>>()), (at(1_100), vec![9, 4]));
        assert_eq!((dials.next(at(1_300), rate), dials.next(at(1_300), rate)), (Some(9), Some(4)));
        assert_eq!((dials.next(at(9_000), rate), dials.slots().count()), (None, 0));
        // A later request replaces what is not dialled yet.
        assert!(dials.request(at(2_000), [1, 2].into()).is_empty());
        assert_eq!(dials.request(at(2_500), [3].into()), [1, 2]);
        assert_eq!((dials.next(at(2_500), rate), dials.next(at(9_000), rate)), (Some(3), None));
    }
}
