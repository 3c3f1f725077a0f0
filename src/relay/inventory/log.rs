//! The log: the order in which transactions were accepted or submitted, which is the order of all announcements.
//!
//! A position is a number that never repeats; a peer's cursor is a position. The log keeps the last
//! [`RELAY_LOG_LEN`] records and the moment of each. It never grows.

use crate::limits::RELAY_LOG_LEN;
use crate::time::Instant;
use std::time::Duration;

/// A moment is kept in units of 2^7 ns, modulo 2^48.
const MOMENT_SHIFT: u32 = 7;
/// A lag is kept in units of 2^12 ns, up to 0.27 s.
const LAG_SHIFT: u32 = 12;
const LAG_BITS: u32 = 16;

const SUBMITTED_BIT: u32 = 1 << 31;
/// A record that nobody is to announce any more.
const WITHDRAWN: u32 = u32::MAX;
/// A record whose entry was dropped before all peers had passed it.
const LOST: u32 = u32::MAX - 1;

/// The content of the log at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Record {
    /// The entry in this slot was accepted: it is for all peers.
    Accepted(u32),
    /// The entry in this slot was submitted: it is for the upstreams.
    Submitted(u32),
    /// The transaction was rejected or mined in the meantime.
    Withdrawn,
    /// The entry was dropped for lack of room.
    Lost,
}

/// The last announcements.
#[derive(Debug)]
pub(in crate::relay) struct Log {
    records: Vec<u32>,
    /// The moment and the lag of each record.
    moments: Vec<u64>,
    head: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { records: vec![0; RELAY_LOG_LEN], moments: vec![0; RELAY_LOG_LEN], head: 0 }
    }

    /// Returns the number of bytes that the log uses.
    pub(super) const fn memory_bytes() -> usize {
        RELAY_LOG_LEN * (size_of::<u32>() + size_of::<u64>())
    }

    /// Returns the position of the next record.
    pub(in crate::relay) const fn head(&self) -> u64 {
        self.head
    }

    /// Returns the position of the oldest record.
    pub(in crate::relay) const fn tail(&self) -> u64 {
        self.head.saturating_sub(RELAY_LOG_LEN as u64)
    }

    /// Adds a record, replaces the oldest one if the log is full, and returns the new record's position.
    ///
    /// `at` is the moment of its acceptance, and `lag` the time for which the message that caused it may have waited.
    pub(super) fn push(&mut self, slot: u32, is_submission: bool, at: Instant, lag: Duration) -> u64 {
        debug_assert!(slot < SUBMITTED_BIT - 2, "a slot needs more than 31 bits");
        let index = index_of(self.head);
        self.records[index] = if is_submission { slot | SUBMITTED_BIT } else { slot };
        let lag = u64::try_from(lag.as_nanos() >> LAG_SHIFT).unwrap_or(u64::MAX).min((1 << LAG_BITS) - 1);
        self.moments[index] = at.as_nanos() >> MOMENT_SHIFT << LAG_BITS | lag;
        self.head += 1;
        self.head - 1
    }

    /// Returns the record at a position from [`Log::tail`] to below [`Log::head`].
    pub(in crate::relay) fn get(&self, position: u64) -> Record {
        match self.records[index_of(position)] {
            WITHDRAWN => Record::Withdrawn,
            LOST => Record::Lost,
            record if record & SUBMITTED_BIT != 0 => Record::Submitted(record & !SUBMITTED_BIT),
            slot => Record::Accepted(slot),
        }
    }

    /// Returns the time from the acceptance of the record at a position to `now`, and its lag; `None` if the log no
    /// longer holds the record. The results are exact to 128 ns and 4 us.
    pub(in crate::relay) fn age(&self, position: u64, now: Instant) -> Option<(Duration, Duration)> {
        if !(self.tail()..self.head).contains(&position) {
            return None;
        }
        let packed = self.moments[index_of(position)];
        let elapsed = (now.as_nanos() >> MOMENT_SHIFT).wrapping_sub(packed >> LAG_BITS) << LAG_BITS >> LAG_BITS;
        let lag = Duration::from_nanos((packed & ((1 << LAG_BITS) - 1)) << LAG_SHIFT);
        Some((Duration::from_nanos(elapsed << MOMENT_SHIFT), lag))
    }

    /// Removes the announcement at a position, if the log still holds it.
    pub(super) fn remove(&mut self, position: u64, is_lost: bool) {
        if (self.tail()..self.head).contains(&position) {
            self.records[index_of(position)] = if is_lost { LOST } else { WITHDRAWN };
        }
    }

    /// Returns the full position whose low 32 bits are `low`, which is among the last 2^32 positions.
    pub(super) const fn full_position(&self, low: u32) -> u64 {
        self.head - (self.head as u32).wrapping_sub(low) as u64
    }
}

const fn index_of(position: u64) -> usize {
    position as usize % RELAY_LOG_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_holds_the_last_records_in_order() {
        let mut log = Log::new();
        for slot in 0..RELAY_LOG_LEN as u32 + 10 {
            let position = log.push(slot, slot % 2 == 1, Instant::ZERO, Duration::ZERO);
            assert_eq!(position, u64::from(slot));
        }
        assert_eq!((log.tail(), log.head()), (10, RELAY_LOG_LEN as u64 + 10));
        for position in log.tail()..log.head() {
            let slot = position as u32;
            let record = if slot % 2 == 1 { Record::Submitted(slot) } else { Record::Accepted(slot) };
            assert_eq!(log.get(position), record);
        }
        assert_eq!((log.age(9, Instant::ZERO), log.age(log.head(), Instant::ZERO)), (None, None));
    }

    #[test]
    fn a_removed_record_is_withdrawn_or_lost_and_a_forgotten_position_changes_nothing() {
        let mut log = Log::new();
        (0..3).for_each(|slot| {
            let _ = log.push(slot, false, Instant::ZERO, Duration::ZERO);
        });
        log.remove(0, true);
        log.remove(2, false);
        log.remove(3, true);
        assert_eq!([0, 1, 2].map(|at| log.get(at)), [Record::Lost, Record::Accepted(1), Record::Withdrawn]);
        (0..RELAY_LOG_LEN).for_each(|_| {
            let _ = log.push(7, false, Instant::ZERO, Duration::ZERO);
        });
        log.remove(1, true);
        assert_eq!(log.get(RELAY_LOG_LEN as u64 + 1), Record::Accepted(7));
    }

    #[test]
    fn the_age_and_the_lag_of_a_record_are_exact_within_their_units() {
        let year = Duration::from_secs(365 * 86_400);
        for start in [Duration::ZERO, year, 3 * year] {
            for (age_us, lag_us) in [(0, 0), (20, 300), (5_000_000, 1_000_000)] {
                let (mut log, at) = (Log::new(), Instant::ZERO.plus(start));
                let (age, lag) = (Duration::from_micros(age_us), Duration::from_micros(lag_us));
                log.push(0, false, at, lag);
                let (seen_age, seen_lag) = log.age(0, at.plus(age)).expect("the log holds the record");
                assert!(seen_age.abs_diff(age) <= Duration::from_nanos(256), "{seen_age:?} of {age:?}");
                let lag = lag.min(Duration::from_nanos(65_535 << LAG_SHIFT));
                assert!(seen_lag.abs_diff(lag) <= Duration::from_nanos(4_096), "{seen_lag:?} of {lag:?}");
            }
        }
    }

    #[test]
    fn a_position_is_restored_from_its_low_bits() {
        let mut log = Log::new();
        log.head = (5 << 32) + 3;
        for position in [log.head - 1, log.head - 3, log.head - 4, log.head - 65_536, log.head] {
            assert_eq!(log.full_position(position as u32), position);
        }
    }
}
