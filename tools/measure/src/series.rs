//! The intervals of a run, as tallies of one metric and view.
//!
//! A series keeps at most [`MAX_INTERVALS`] intervals, and of more than [`MIN_INTERVALS`] no more than [`MAX_BUCKETS`]
//! filled buckets: when one of these is full, neighbours are merged. So the series of a day needs no more memory than
//! that of some minutes, and its totals stay exact.

use crate::design::MIN_BATCHES;
use crate::tally::Tally;
use std::time::Duration;

/// The largest number of intervals that a series keeps. A batch of a longer run is a merged interval.
pub const MAX_INTERVALS: usize = 1_024;

/// The largest number of filled buckets that a series keeps in all its intervals, unless these are few: 12 MB. At
/// 10,000 operations in an interval, about 3,000 buckets are filled.
pub const MAX_BUCKETS: usize = 768 << 10;

/// The number of intervals up to which only [`MAX_INTERVALS`] counts: four times as many as a variance needs. An
/// interval of latencies of up to one minute has at most 28,000 buckets of 16 bytes, so they need at most 57 MB, and
/// only if every interval fills every bucket.
pub const MIN_INTERVALS: usize = 4 * MIN_BATCHES;

/// The tallies of a run's intervals, in the order of time.
///
/// ```
/// use peerloop_measure::{Reading, Series, Tally};
/// use std::time::Duration;
///
/// let mut series = Series::new(Duration::from_secs(1));
/// for second in 0..60 {
///     series.push(&Tally::from_counts((0..100).map(|i| (1_000 + (i * 37 + second) % 100, 1)), 0));
/// }
/// let estimate = series.percentile(50.0).unwrap();
/// let (low, high) = estimate.bounds.unwrap();
/// assert!(low <= estimate.value && estimate.value <= high && high < Reading::Finite(1_060));
/// ```
#[derive(Clone, Debug)]
pub struct Series {
    /// The time that one element of `intervals` covers.
    length: Duration,
    /// How many pushed intervals one element covers.
    merged: u64,
    pushed: u64,
    intervals: Vec<Tally>,
    /// The filled buckets of all intervals.
    buckets: usize,
    total: Tally,
}

impl Series {
    /// Returns an empty series of intervals of this length.
    ///
    /// # Panics
    ///
    /// If `length` is zero.
    pub fn new(length: Duration) -> Self {
        assert!(!length.is_zero(), "the intervals of a series need a length");
        Self { length, merged: 1, pushed: 0, intervals: Vec::new(), buckets: 0, total: Tally::default() }
    }

    /// Adds the next interval. If several hosts measured at the same time, add the sum of their tallies, because a
    /// cause that they share delays all of them.
    pub fn push(&mut self, interval: &Tally) {
        while self.is_full() && self.pushed.is_multiple_of(self.merged) {
            self.merge_neighbours();
        }
        match self.intervals.last_mut() {
            Some(last) if !self.pushed.is_multiple_of(self.merged) => {
                self.buckets -= last.buckets_len();
                last.add(interval);
            }
            Some(_) | None => self.intervals.push(interval.clone()),
        }
        self.buckets += self.intervals.last().map_or(0, Tally::buckets_len);
        self.pushed += 1;
        self.total.add(interval);
    }

    fn is_full(&self) -> bool {
        let has_many_buckets = self.buckets >= MAX_BUCKETS && self.intervals.len() > MIN_INTERVALS;
        self.intervals.len() >= MAX_INTERVALS || has_many_buckets
    }

    fn merge_neighbours(&mut self) {
        let merge = |pair: &mut [Tally]| {
            let mut merged = std::mem::take(&mut pair[0]);
            pair[1..].iter().for_each(|tally| merged.add(tally));
            merged
        };
        self.intervals = self.intervals.chunks_mut(2).map(merge).collect();
        self.buckets = self.intervals.iter().map(Tally::buckets_len).sum();
        self.length *= 2;
        self.merged *= 2;
    }

    /// Returns the sum of all intervals.
    pub fn total(&self) -> &Tally {
        &self.total
    }

    /// Returns the intervals, of which neighbours may be merged; see [`Series::interval_length`].
    pub fn intervals(&self) -> &[Tally] {
        &self.intervals
    }

    /// Returns the time that one of the intervals covers.
    pub fn interval_length(&self) -> Duration {
        self.length
    }

    /// Returns the time that the series covers.
    pub fn time(&self) -> Duration {
        self.length.mul_f64(self.pushed as f64 / self.merged as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_merges_neighbours_and_keeps_its_totals() {
        let mut series = Series::new(Duration::from_millis(100));
        for index in 0..10_000 {
            series.push(&Tally::from_counts([(index, 1)], index % 2));
        }
        assert_eq!(series.interval_length(), Duration::from_millis(1_600));
        assert_eq!(series.time(), Duration::from_secs(1_000));
        assert_eq!(
            (series.intervals().len(), series.total().answered(), series.total().failed()),
            (625, 10_000, 5_000)
        );
        for (index, interval) in (0..).zip(series.intervals()) {
            let values: Vec<u64> = interval.buckets().map(|(value, _)| value).collect();
            assert_eq!(values, (16 * index..16 * index + 16).collect::<Vec<u64>>());
        }
    }

    #[test]
    fn the_last_interval_may_be_part_of_a_merged_one() {
        let mut series = Series::new(Duration::from_secs(1));
        for index in 0..1_025 {
            series.push(&Tally::from_counts([(index, 1)], 0));
        }
        assert_eq!((series.intervals().len(), series.intervals()[512].answered()), (513, 1));
        assert_eq!((series.time(), series.total().answered()), (Duration::from_secs(1_025), 1_025));
    }

    #[test]
    fn a_series_of_many_buckets_merges_neighbours_and_keeps_its_totals() {
        let mut series = Series::new(Duration::from_secs(1));
        // Each interval fills other buckets than its neighbours, so a merged interval has twice as many.
        let buckets = 5_000;
        for index in 0..1_000 {
            series.push(&Tally::from_counts((0..buckets).map(|bucket| (2 * bucket + index % 2, 1)), 1));
            let kept: usize = series.intervals().iter().map(Tally::buckets_len).sum();
            assert_eq!(kept, series.buckets);
            assert!(kept <= MAX_BUCKETS + 2 * buckets as usize || series.intervals().len() <= MIN_INTERVALS, "{kept}");
        }
        assert_eq!((series.interval_length(), series.intervals().len()), (Duration::from_secs(16), 63));
        assert_eq!((series.total().answered(), series.total().failed()), (1_000 * buckets, 1_000));
        let answered: u64 = series.intervals().iter().map(Tally::answered).sum();
        assert_eq!(answered, 1_000 * buckets);
    }
}
