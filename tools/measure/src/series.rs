//! The intervals of a run, as tallies of one metric and view.
//!
//! A series keeps at most [`MAX_INTERVALS`] intervals: when they are full, neighbours are merged. So the series of a
//! day needs as little memory as that of a quarter of an hour, and its totals stay exact.

use crate::tally::Tally;
use std::time::Duration;

/// The largest number of intervals that a series keeps. A batch of a longer run is a merged interval.
pub const MAX_INTERVALS: usize = 1_024;

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
        Self { length, merged: 1, pushed: 0, intervals: Vec::new(), total: Tally::default() }
    }

    /// Adds the next interval. If several hosts measured at the same time, add the sum of their tallies, because a
    /// cause that they share delays all of them.
    pub fn push(&mut self, interval: &Tally) {
        if self.intervals.len() == MAX_INTERVALS && self.pushed.is_multiple_of(self.merged) {
            self.merge_neighbours();
        }
        match self.intervals.last_mut() {
            Some(last) if !self.pushed.is_multiple_of(self.merged) => last.add(interval),
            Some(_) | None => self.intervals.push(interval.clone()),
        }
        self.pushed += 1;
        self.total.add(interval);
    }

    fn merge_neighbours(&mut self) {
        let merge = |pair: &[Tally]| {
            let mut merged = pair[0].clone();
            pair[1..].iter().for_each(|tally| merged.add(tally));
            merged
        };
        self.intervals = self.intervals.chunks(2).map(merge).collect();
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
            let values: Vec<u64> = interval.buckets().iter().map(|&(value, _)| value).collect();
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
}
