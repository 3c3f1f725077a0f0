//! The handler's timers: a limited number, each under a key of the handler's choice.
//!
//! Setting, replacing and cancelling a timer costs one lookup and a constant number of steps, because the timers have
//! their own hashed wheel. A timer fires once and never before its moment. It is due at most one tick after its
//! moment, and fires in the first turn after that, or in a later turn if too many timers are due. A timer that is set
//! while others fire waits for the next turn, so that each turn ends. Nothing is allocated before the first timer is
//! set. The memory of removed timers is reused.
//!
//! This module never calls the handler, reads a clock, or iterates in hash order.

use crate::bugs::{budget, canary};
use crate::error::RequestError;
use crate::id::Lane;
use crate::limits::{MAX_TIMERS, WHEEL_SLOTS};
use crate::manager::keyed::KeyedState;
use crate::time::Instant;
use crate::wheel::{Wheel, instant_of, tick_at_or_after, tick_of};
use rand::Rng;
use slab::Slab;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A timer's key: the lane of the handler that set the timer, and a number that this handler chose. A peer may
/// influence the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TimerKey {
    pub(crate) lane: Lane,
    pub(crate) key: u64,
}

/// The handler's timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: Option<Box<SetTimers>>,
}

#[derive(Debug)]
struct SetTimers {
    /// Each timer's key, at its index in the wheel.
    keys: Slab<TimerKey>,
    indices: HashMap<TimerKey, u32, KeyedState>,
    wheel: Wheel,
    /// The indices of the timers that have expired in this turn and not fired yet, in reverse order of firing.
    expired: Vec<u32>,
    /// The number of times that a timer fired, was cancelled or was set again.
    settled: u64,
}

impl Timers {
    /// Sets a timer for `at`. If the timer is already set, `at` replaces its moment. When the first timer is set,
    /// `rng` draws the hash map's key.
    ///
    /// # Errors
    ///
    /// [`RequestError::TooManyTimers`] if the key is new and [`MAX_TIMERS`] timers are set.
    pub(crate) fn set(
        &mut self,
        key: TimerKey,
        at: Instant,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Result<(), RequestError> {
        let timers = self.set.get_or_insert_with(|| Box::new(SetTimers::new(now, rng)));
        let is_full = timers.keys.len() >= MAX_TIMERS;
        let index = match timers.indices.entry(key) {
            Entry::Occupied(index) => {
                timers.settled += 1;
                *index.get()
            }
            Entry::Vacant(_) if is_full => return Err(RequestError::TooManyTimers),
            Entry::Vacant(vacant) => *vacant.insert(timers.keys.insert(key) as u32),
        };
        timers.wheel.arm(index, tick_at_or_after(at));
        Ok(())
    }

    /// Cancels a timer and returns whether it was set.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> bool {
        let Some(timers) = &mut self.set else { return false };
        if canary!(CancelledTimerFires) {
            return timers.indices.contains_key(&key);
        }
        let Some(index) = timers.indices.remove(&key) else { return false };
        timers.keys.remove(index as usize);
        timers.wheel.disarm(index);
        timers.settled += 1;
        true
    }

    /// Returns the next moment at which to look for expired timers; `None` if no timer is set.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.set.as_ref()?.wheel.next_tick().map(instant_of)
    }

    /// Finds at most `limit` expired timers. [`Timers::take_expired`] then returns them one by one.
    pub(crate) fn expire(&mut self, now: Instant, limit: usize) {
        let Some(timers) = &mut self.set else { return };
        timers.wheel.expire(tick_of(now), limit, &mut timers.expired);
        timers.expired.reverse();
    }

    /// Removes the next expired timer and returns its key, which may be set again from then on.
    pub(crate) fn take_expired(&mut self) -> Option<TimerKey> {
        let timers = self.set.as_deref_mut()?;
        while let Some(index) = timers.expired.pop() {
            // An earlier callback may have cancelled the timer, set it again, or set another timer at its index.
            if timers.wheel.armed_tick(index).is_some() {
                continue;
            }
            if let Some(key) = timers.keys.try_remove(index as usize) {
                timers.indices.remove(&key);
                timers.settled += 1;
                return Some(key);
            }
        }
        None
    }

    /// Returns the number of times that a timer fired, was cancelled or was set again.
    #[cfg(feature = "sim")]
    pub(crate) fn settled(&self) -> u64 {
        self.set.as_ref().map_or(0, |timers| timers.settled)
    }
}

impl SetTimers {
    fn new(now: Instant, rng: &mut impl Rng) -> Self {
        Self {
            keys: Slab::new(),
            indices: HashMap::with_hasher(KeyedState::new(rng)),
            wheel: Wheel::new(budget!(WheelSlots, WHEEL_SLOTS), tick_of(now)),
            expired: Vec::new(),
            settled: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allocation_counter::measure;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::BTreeMap;

    const MILLI: u64 = 1_000_000;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * MILLI)
    }

    fn key(key: u64) -> TimerKey {
        TimerKey { lane: Lane::ROOT, key }
    }

    struct Stage {
        timers: Timers,
        rng: StdRng,
    }

    impl Stage {
        fn new() -> Self {
            Self { timers: Timers::default(), rng: StdRng::seed_from_u64(1) }
        }

        fn set(&mut self, number: u64, moment: Instant) -> Result<(), RequestError> {
            self.timers.set(key(number), moment, Instant::ZERO, &mut self.rng)
        }

        /// Fires the timers that are due at `now`, at most `limit`, and returns their numbers.
        fn fire(&mut self, now: Instant, limit: usize) -> Vec<u64> {
            self.timers.expire(now, limit);
            std::iter::from_fn(|| self.timers.take_expired()).map(|key| key.key).collect()
        }
    }

    #[test]
    fn timers_fire_once_in_the_order_of_their_moments_and_never_early() {
        let mut stage = Stage::new();
        assert_eq!((stage.timers.next_at(), stage.fire(at(9), 9)), (None, vec![]));
        for (number, millis) in [(7, 30), (8, 10), (9, 20)] {
            stage.set(number, at(millis)).unwrap();
        }
        assert_eq!(stage.timers.next_at(), Some(at(10)));
        assert_eq!(stage.fire(Instant::from_nanos(10 * MILLI - 1), 9), []);
        assert_eq!(stage.fire(at(20), 9), [8, 9]);
        assert_eq!((stage.fire(at(29), 9), stage.fire(at(30), 9), stage.fire(at(99), 9)), (vec![], vec![7], vec![]));
    }

    #[test]
    fn a_timer_whose_moment_is_between_two_ticks_fires_at_the_later_one() {
        let mut stage = Stage::new();
        stage.set(1, Instant::from_nanos(10 * MILLI + 1)).unwrap();
        assert_eq!((stage.fire(Instant::from_nanos(11 * MILLI - 1), 9), stage.fire(at(11), 9)), (vec![], vec![1]));
    }

    #[test]
    fn a_timer_set_again_has_only_the_new_moment_and_a_cancelled_timer_never_fires() {
        let mut stage = Stage::new();
        stage.set(1, at(10)).unwrap();
        stage.set(1, at(20)).unwrap();
        stage.set(2, at(15)).unwrap();
        assert_eq!(stage.fire(at(10), 9), []);
        assert!(stage.timers.cancel(key(2)));
        assert!(!stage.timers.cancel(key(2)), "a cancelled timer was still set");
        assert!(
            !stage.timers.cancel(TimerKey { lane: Lane::ROOT.part(true), key: 1 }),
            "a timer of another lane was cancelled"
        );
        assert_eq!(stage.fire(at(99), 9), [1]);
        assert!(!stage.timers.cancel(key(1)), "a timer that had fired was still set");
    }

    #[test]
    fn a_callback_may_cancel_and_set_timers_that_expired_together_with_its_own() {
        let mut stage = Stage::new();
        for number in 1..=4 {
            stage.set(number, at(10)).unwrap();
        }
        stage.timers.expire(at(10), 9);
        assert_eq!(stage.timers.take_expired(), Some(key(1)));
        assert!(stage.timers.cancel(key(2)));
        // Timer 5 reuses the index of the cancelled timer, and is due as well.
        stage.set(5, at(1)).unwrap();
        stage.set(3, at(50)).unwrap();
        stage.set(1, at(1)).unwrap();
        assert_eq!(stage.timers.take_expired(), Some(key(4)));
        assert_eq!(stage.timers.take_expired(), None, "a timer set or cancelled meanwhile fired in this turn");
        let mut next = stage.fire(at(10), 9);
        next.sort_unstable();
        assert_eq!((next, stage.fire(at(50), 9)), (vec![1, 5], vec![3]));
    }

    #[test]
    fn timers_beyond_the_turns_limit_fire_in_the_next_turn() {
        let mut stage = Stage::new();
        for number in 0..10 {
            stage.set(number, at(10)).unwrap();
        }
        assert_eq!(stage.fire(at(10), 4), [0, 1, 2, 3]);
        assert!(stage.timers.next_at().is_some_and(|next| next <= at(10)));
        assert_eq!(stage.fire(at(10), 9), [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_full_table_refuses_a_new_key_and_accepts_a_known_one() {
        let mut stage = Stage::new();
        for number in 0..MAX_TIMERS as u64 {
            stage.set(number, Instant::MAX).unwrap();
        }
        assert_eq!(stage.set(u64::MAX, at(1)), Err(RequestError::TooManyTimers));
        stage.set(5, at(1)).unwrap();
        assert_eq!((stage.fire(at(1), 9), stage.set(u64::MAX, at(2))), (vec![5], Ok(())));
        assert_eq!(stage.fire(at(2), 9), [u64::MAX]);
    }

    #[test]
    fn the_memory_of_timers_is_bounded_and_reused() {
        let mut stage = Stage::new();
        let fill = |stage: &mut Stage, from: u64| {
            for number in from..from + MAX_TIMERS as u64 {
                stage.set(number, Instant::MAX).unwrap();
            }
        };
        let first = measure(|| fill(&mut stage, 0));
        assert!(first.bytes_max < 9_500_000 && first.bytes_current < 7_500_000, "{first:?}");
        let again = measure(|| {
            for number in 0..MAX_TIMERS as u64 {
                stage.timers.cancel(key(number));
            }
            fill(&mut stage, 1 << 40);
        });
        assert!(
            again.bytes_max < 3_500_000 && again.bytes_current == 0,
            "the reuse allocated more than a rehash of the map, or kept memory: {again:?}"
        );
    }

    proptest! {
        #[test]
        fn timers_match_a_sorted_map(
            steps in prop::collection::vec((0..6_u8, 0..8_u64, 0..300_u64), 0..200),
            limit in 1..5_usize,
        ) {
            let mut stage = Stage::new();
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            let mut now = 0;
            for (step, number, millis) in steps {
                match step {
                    0..=2 => {
                        stage.set(number, at(millis)).unwrap();
                        model.insert(number, millis);
                    }
                    3 => prop_assert_eq!(stage.timers.cancel(key(number)), model.remove(&number).is_some()),
                    _ => {
                        now = now.max(millis);
                        let mut fired = stage.fire(at(now), limit);
                        prop_assert!(fired.len() <= limit);
                        let due = model.values().filter(|millis| **millis <= now).count();
                        prop_assert_eq!(fired.len(), due.min(limit));
                        fired.sort_unstable();
                        fired.dedup();
                        for number in fired {
                            prop_assert!(model.remove(&number).is_some_and(|millis| millis <= now));
                        }
                    }
                }
                let next = stage.timers.next_at();
                match model.values().min() {
                    Some(earliest) => prop_assert!(next.is_some_and(|next| next <= at(now.max(*earliest)))),
                    None => prop_assert_eq!(next, None),
                }
            }
        }
    }
}
