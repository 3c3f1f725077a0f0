//! Counted latencies together with the operations that failed.
//!
//! A [`Tally`] holds the filled buckets of a histogram, so it needs a few kilobytes where the histogram reserves
//! hundreds. Failed operations count as infinitely slow in every percentile, maximum and mean: a target that answers
//! fast or not at all never looks fast. Adding tallies is exact.

use hdrhistogram::Histogram;
use std::fmt;

/// A latency in the unit of its histogram, or the infinite latency of a failed operation.
///
/// ```
/// use peerloop_measure::Reading;
///
/// assert!(Reading::Finite(u64::MAX) < Reading::Infinite);
/// assert_eq!(Reading::Finite(5).as_f64(), 5.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// A measured value.
    Finite(u64),
    /// Longer than any measured value.
    Infinite,
}

impl Reading {
    /// Returns the value; `None` if it is infinite.
    pub fn finite(self) -> Option<u64> {
        match self {
            Self::Finite(value) => Some(value),
            Self::Infinite => None,
        }
    }

    /// Returns the value as a floating-point number, which may be infinite.
    pub fn as_f64(self) -> f64 {
        self.finite().map_or(f64::INFINITY, |value| value as f64)
    }
}

/// The number of operations whose latency lies above a limit, and the number of all.
///
/// ```
/// use peerloop_measure::Share;
///
/// assert_eq!(Share { above: 1, total: 4 }.ratio(), Some(0.25));
/// assert_eq!(Share::default().ratio(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Operations above the limit, failed ones included.
    pub above: u64,
    /// All operations, failed ones included.
    pub total: u64,
}

impl Share {
    /// Returns the share of the operations above the limit; `None` without operations.
    pub fn ratio(self) -> Option<f64> {
        (self.total > 0).then(|| self.above as f64 / self.total as f64)
    }
}

/// The filled buckets of a histogram, and the number of failed operations. It uses 16 bytes for each filled bucket.
///
/// ```
/// use hdrhistogram::Histogram;
/// use peerloop_measure::{Reading, Tally};
///
/// let mut latencies = Histogram::<u64>::new_with_bounds(1, 1_000_000, 3).unwrap();
/// for latency in 1..=98 {
///     latencies.record(latency).unwrap();
/// }
/// let tally = Tally::of(&latencies, 2);
/// assert_eq!(tally.percentile(98.0), Some(Reading::Finite(98)));
/// assert_eq!(tally.percentile(99.0), Some(Reading::Infinite));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The highest value of each filled bucket, and the number of operations that are not slower, in the order of the
    /// values. The numbers are added up, so that a share needs no walk over the buckets.
    within: Vec<(u64, u64)>,
    failed: u64,
    /// The sum of all values.
    sum: u128,
}

impl Tally {
    /// Reads the filled buckets of a histogram. A bucket counts with its highest value, which never flatters.
    pub fn of(histogram: &Histogram<u64>, failed: u64) -> Self {
        let mut within: Vec<(u64, u64)> = Vec::new();
        for step in histogram.iter_recorded() {
            let faster = within.last().map_or(0, |&(_, within)| within);
            within.push((step.value_iterated_to(), faster + step.count_at_value()));
        }
        within.shrink_to_fit();
        let sum = (histogram.mean() * histogram.len() as f64) as u128;
        Self { within, failed, sum }
    }

    /// Counts pairs of a value and its count, in any order.
    ///
    /// ```
    /// use peerloop_measure::Tally;
    ///
    /// let tally = Tally::from_counts([(20, 1), (10, 2), (20, 1)], 0);
    /// assert_eq!(tally.buckets().collect::<Vec<_>>(), [(10, 2), (20, 2)]);
    /// ```
    pub fn from_counts(counts: impl IntoIterator<Item = (u64, u64)>, failed: u64) -> Self {
        let mut buckets: Vec<(u64, u64)> = counts.into_iter().filter(|&(_, count)| count > 0).collect();
        buckets.sort_unstable();
        buckets.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 += if is_same { next.1 } else { 0 };
            is_same
        });
        let sum = buckets.iter().map(|&(value, count)| u128::from(value) * u128::from(count)).sum();
        let mut faster = 0;
        for (_, count) in &mut buckets {
            faster += *count;
            *count = faster;
        }
        buckets.shrink_to_fit();
        Self { within: buckets, failed, sum }
    }

    /// Lists the highest value and the count of each filled bucket, in the order of the values.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let faster = std::iter::once(0).chain(self.within.iter().map(|&(_, within)| within));
        self.within.iter().zip(faster).map(|(&(value, within), faster)| (value, within - faster))
    }

    /// Returns the number of filled buckets.
    pub(crate) fn buckets_len(&self) -> usize {
        self.within.len()
    }

    /// Returns the highest value of the bucket with this index, in the order of the values.
    pub(crate) fn value(&self, index: usize) -> Option<u64> {
        self.within.get(index).map(|&(value, _)| value)
    }

    /// Returns the number of operations with a latency.
    pub fn answered(&self) -> u64 {
        self.within.last().map_or(0, |&(_, within)| within)
    }

    /// Returns the number of failed operations.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns the number of all operations, failed ones included.
    pub fn total(&self) -> u64 {
        self.answered() + self.failed
    }

    /// Adds all operations of `other`.
    pub fn add(&mut self, other: &Self) {
        self.within = self.merged(other);
        self.failed += other.failed;
        self.sum += other.sum;
    }

    /// Returns the filled buckets of both tallies, with the numbers of operations that are not slower.
    fn merged(&self, other: &Self) -> Vec<(u64, u64)> {
        let mut merged = Vec::with_capacity(self.within.len().max(other.within.len()));
        let (mut ours, mut theirs) = (self.buckets().peekable(), other.buckets().peekable());
        let mut within = 0;
        while let Some(value) = [ours.peek(), theirs.peek()].into_iter().flatten().map(|&(value, _)| value).min() {
            for side in [ours.next_if(|bucket| bucket.0 == value), theirs.next_if(|bucket| bucket.0 == value)] {
                within += side.map_or(0, |(_, count)| count);
            }
            merged.push((value, within));
        }
        merged.shrink_to_fit();
        merged
    }

    /// Removes the operations of `other`, which must all have been added before.
    pub(crate) fn remove(&mut self, other: &Self) {
        let mut removed = other.buckets().peekable();
        let (mut faster, mut kept) = (0, 0);
        self.within.retain_mut(|(value, within)| {
            let count = *within - faster;
            faster = *within;
            let fewer = removed.next_if(|bucket| bucket.0 == *value).map_or(0, |(_, fewer)| fewer);
            kept += count - fewer;
            *within = kept;
            count > fewer
        });
        self.failed -= other.failed;
        self.sum -= other.sum;
    }

    /// Returns the latency that at least `percent` % of all operations do not exceed, where failed operations are
    /// infinitely slow; `None` without operations. 100 % is the maximum.
    pub fn percentile(&self, percent: f64) -> Option<Reading> {
        self.at_rank(percentile_rank(percent, self.total()))
    }

    /// Returns the latency with this rank, 1 for the shortest; `None` beyond the last operation.
    pub fn at_rank(&self, rank: u64) -> Option<Reading> {
        if rank > self.total() {
            return None;
        }
        let index = self.within.partition_point(|&(_, within)| within < rank);
        Some(self.value(index).map_or(Reading::Infinite, Reading::Finite))
    }

    /// Returns the longest latency, infinite if an operation failed; `None` without operations.
    pub fn max(&self) -> Option<Reading> {
        self.percentile(100.0)
    }

    /// Returns the mean latency, infinite if an operation failed; `None` without operations.
    pub fn mean(&self) -> Option<f64> {
        match (self.total(), self.failed) {
            (0, _) => None,
            (total, 0) => Some(self.sum as f64 / total as f64),
            (_, _) => Some(f64::INFINITY),
        }
    }

    /// Returns the share of the operations that are slower than `limit`, failed ones included.
    pub fn above(&self, limit: u64) -> Share {
        self.share_beyond(self.within.partition_point(|&(value, _)| value <= limit))
    }

    /// Returns the share of the operations that are at least as slow as `limit`, failed ones included.
    pub fn at_or_above(&self, limit: u64) -> Share {
        self.share_beyond(self.within.partition_point(|&(value, _)| value < limit))
    }

    /// Returns the share of the operations that are slower than `limit`. No operation is slower than a failed one, so
    /// an infinite limit gives the share of these.
    pub(crate) fn slower(&self, limit: Reading) -> Share {
        match limit {
            Reading::Finite(limit) => self.above(limit),
            Reading::Infinite => self.share_beyond(self.buckets_len()),
        }
    }

    /// Returns the number of filled buckets whose values are lower than `limit`.
    pub(crate) fn buckets_below(&self, limit: Reading) -> usize {
        self.within.partition_point(|&(value, _)| Reading::Finite(value) < limit)
    }

    /// Returns the share of the operations beyond the first `buckets` buckets, failed ones included.
    pub(crate) fn share_beyond(&self, buckets: usize) -> Share {
        let faster = buckets.checked_sub(1).map_or(0, |last| self.within[last].1);
        Share { above: self.total() - faster, total: self.total() }
    }
}

impl fmt::Debug for Tally {
    /// Formats the counts, because hundreds of buckets would flood any message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally")
            .field("answered", &self.answered())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Returns the rank of the percentile `percent` of `count` operations: 1 for the fastest.
///
/// The rule matches HdrHistogram's Java original: `percent` is lowered by one ulp before the product is rounded up.
/// Otherwise a percentage that binary fractions cannot represent, such as 99.9, could reach one operation too far.
///
/// ```
/// use peerloop_measure::percentile_rank;
///
/// assert_eq!(percentile_rank(99.9, 1_000), 999);
/// assert_eq!(percentile_rank(0.0, 10), 1);
/// ```
pub fn percentile_rank(percent: f64, count: u64) -> u64 {
    let percent = percent.next_down().clamp(0.0, 100.0);
    ((percent * count as f64 / 100.0).ceil() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_keeps_its_counts_and_its_mean() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 1 << 40, 3).unwrap();
        for value in [1, 5, 5, 70_000, 123_456_789] {
            histogram.record(value).unwrap();
        }
        let tally = Tally::of(&histogram, 0);
        assert_eq!((tally.answered(), tally.total()), (5, 5));
        assert_eq!(tally.buckets().map(|bucket| bucket.1).collect::<Vec<u64>>(), [1, 2, 1, 1]);
        assert_eq!(tally.max(), Some(Reading::Finite(histogram.max())));
        for percent in [0.0, 20.0, 50.0, 80.0, 99.9, 100.0] {
            assert_eq!(tally.percentile(percent), Some(Reading::Finite(histogram.value_at_percentile(percent))));
        }
        assert!((tally.mean().unwrap() / histogram.mean() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn failed_operations_are_infinitely_slow() {
        let tally = Tally::from_counts([(10, 99)], 1);
        assert_eq!((tally.mean(), tally.max()), (Some(f64::INFINITY), Some(Reading::Infinite)));
        assert_eq!(
            (tally.percentile(99.0), tally.percentile(99.1)),
            (Some(Reading::Finite(10)), Some(Reading::Infinite))
        );
        assert_eq!(Tally::from_counts([], 3).percentile(1.0), Some(Reading::Infinite));
        assert_eq!(
            (Tally::default().percentile(50.0), Tally::default().mean(), Tally::default().max()),
            (None, None, None)
        );
    }

    #[test]
    fn a_rank_needs_no_more_operations_than_the_percentile_says() {
        for (percent, count, rank) in
            [(99.9, 1_000, 999), (99.99, 10_000, 9_999), (50.0, 2, 1), (100.0, 7, 7), (0.0, 7, 1), (99.9, 0, 1)]
        {
            assert_eq!(percentile_rank(percent, count), rank, "p{percent} of {count}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_percentile_is_that_of_the_sorted_operations(
            values in proptest::collection::vec(1_u64..500, 0..200),
            failed in 0_u64..20,
            percent in 0.0_f64..=100.0,
        ) {
            let tally = Tally::from_counts(values.iter().map(|&value| (value, 1)), failed);
            let mut sorted: Vec<Reading> = values.iter().map(|&value| Reading::Finite(value)).collect();
            sorted.extend((0..failed).map(|_| Reading::Infinite));
            sorted.sort_unstable();
            // The smallest value that at least this share of the operations does not exceed.
            let reaches = |&reading: &Reading| {
                let within = sorted.iter().filter(|&&other| other <= reading).count();
                within as f64 * 100.0 >= percent * sorted.len() as f64 - 1e-9
            };
            proptest::prop_assert_eq!(tally.percentile(percent), sorted.iter().copied().find(reaches));
            let limit = 250;
            let above = sorted.iter().filter(|&&reading| reading > Reading::Finite(limit)).count() as u64;
            let at = sorted.iter().filter(|&&reading| reading >= Reading::Finite(limit)).count() as u64;
            let total = sorted.len() as u64;
            proptest::prop_assert_eq!(tally.above(limit), Share { above, total });
            proptest::prop_assert_eq!(tally.at_or_above(limit), Share { above: at, total });
        }

        #[test]
        fn adding_tallies_is_counting_both(
            ours in proptest::collection::vec((1_u64..50, 0_u64..5), 0..40),
            theirs in proptest::collection::vec((1_u64..50, 0_u64..5), 0..40),
        ) {
            let ours_alone = Tally::from_counts(ours.clone(), 1);
            let theirs_alone = Tally::from_counts(theirs.clone(), 2);
            let mut sum = ours_alone.clone();
            sum.add(&theirs_alone);
            proptest::prop_assert_eq!(&sum, &Tally::from_counts(ours.into_iter().chain(theirs), 3));
            sum.remove(&theirs_alone);
            proptest::prop_assert_eq!(sum, ours_alone);
        }
    }
}
