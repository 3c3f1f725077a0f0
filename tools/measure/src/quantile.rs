//! The interval of a percentile within one run.
//!
//! A percentile is a statement about a share: at most 1 % of the operations are slower than p99. So its interval holds
//! every value whose share of slower operations may as well be 1 % (the method of Woodruff). How far a share may
//! be from 1 % follows from the number of operations, divided by the [`DesignEffect`].
//!
//! The design effect is estimated at the value under test, not only at the percentile. The two differ: p99 may lie
//! among operations that are late each for a reason of its own, and a value slightly above p99 among those of one
//! stall. And if fewer operations than 1 % are slower than the tested value, the effect is raised, at most to its
//! double, because shared causes matter more for larger shares. With the design effect of the percentile alone,
//! intervals in runs with stalls covered the truth in as few as 91 % of synthetic series; now in at least 96 %.
//!
//! An interval is given only if at least [`MIN_TAIL`] independent operations lie beyond the percentile, and if not a
//! single interval of the run decides. Otherwise the estimate says how much longer the run has to be. No interval can
//! know of stalls that did not happen: if they are so rare that a run may miss them, repeat the run.

use crate::design::{DesignEffect, MIN_BATCHES};
use crate::series::Series;
use crate::student::{CONFIDENCE, student_cdf};
use crate::tally::{Reading, Share};
use std::time::Duration;

/// How many independent operations have to lie beyond a percentile.
pub const MIN_TAIL: f64 = 10.0;

/// How many degrees of freedom the variance needs.
const MIN_FREEDOM: f64 = 5.0;

/// By which factor the design effect may grow at most, if the tested value's share is smaller than the percentile's.
const MAX_GROWTH: f64 = 2.0;

/// The ratio of the shares of two neighbouring candidates in the first, coarse search for a bound.
const STEP: f64 = 1.08;

/// A percentile with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimate {
    /// The percentile, with failed operations as infinitely slow.
    pub value: Reading,
    /// The interval that contains the percentile with [`CONFIDENCE`]; `None` for the maximum, and if too little was
    /// measured. Bounds may be infinite.
    pub bounds: Option<(Reading, Reading)>,
    /// If too little was measured: about how much longer the run has to be.
    pub more: Option<Duration>,
}

impl Series {
    /// Estimates a percentile and its interval; `None` without operations.
    pub fn percentile(&self, percent: f64) -> Option<Estimate> {
        let value = self.total().percentile(percent)?;
        let tail = 1.0 - percent / 100.0;
        if tail <= 0.0 || tail >= 1.0 {
            return Some(Estimate { value, bounds: None, more: None });
        }
        let lacking = |factor: f64| {
            let more = self.time().mul_f64((factor - 1.0).clamp(0.0, 1e6)).max(self.missing_intervals());
            Some(Estimate { value, bounds: None, more: Some(more) })
        };
        let Some(effect) = self.effect_around(value) else { return lacking(1.0) };
        let independent = effect.effective_count() * tail.min(1.0 - tail);
        if independent < MIN_TAIL || effect.freedom < MIN_FREEDOM {
            return lacking((MIN_TAIL / independent).max((MIN_FREEDOM + 1.0) / (effect.freedom + 1.0)));
        }
        let search = Search { tail, effect, series: self };
        Some(Estimate { value, bounds: Some((search.low(value), search.high(value))), more: None })
    }

    fn missing_intervals(&self) -> Duration {
        let missing = MIN_BATCHES.saturating_sub(self.intervals().len());
        self.interval_length().mul_f64(missing as f64)
    }

    /// Returns the larger design effect of the operations above the value, and of those at or above it. One stall may
    /// delay many operations by the same bucket.
    fn effect_around(&self, value: Reading) -> Option<DesignEffect> {
        let below = self.total().buckets_below(value).checked_sub(1).and_then(|below| self.total().value(below));
        let effects = [Some(value), below.map(Reading::Finite)].into_iter().flatten();
        let effects = effects.filter_map(|value| self.effect(value));
        effects.max_by(|one, other| one.factor.total_cmp(&other.factor))
    }

    /// Returns the design effect of the operations above the value.
    fn effect(&self, value: Reading) -> Option<DesignEffect> {
        let shares: Vec<Share> = self.intervals().iter().map(|interval| interval.slower(value)).collect();
        DesignEffect::of(&shares)
    }
}

/// The search for the bounds of one percentile.
struct Search<'a> {
    /// The share of the operations beyond the percentile, by its definition.
    tail: f64,
    /// The design effect at the percentile.
    effect: DesignEffect,
    /// The run; the values of its total are the candidates for a bound.
    series: &'a Series,
}

impl Search<'_> {
    /// Returns whether the share of operations above the value with this index may as well be the percentile's.
    fn accepts(&self, index: usize) -> bool {
        let Some(value) = self.series.total().value(index) else { return true };
        let Some(effect) = self.series.effect(Reading::Finite(value)) else { return true };
        let growth = if effect.ratio > 0.0 { (self.tail / effect.ratio).clamp(1.0, MAX_GROWTH) } else { 1.0 };
        let grown = 1.0 + (effect.factor - 1.0) * growth;
        let (factor, freedom) = match grown > self.effect.factor {
            true => (grown, effect.freedom),
            false => (self.effect.factor, self.effect.freedom),
        };
        let error = (factor * self.tail * (1.0 - self.tail) / effect.total as f64).sqrt();
        let distance = (effect.ratio - self.tail).abs() / error;
        student_cdf(distance, freedom) <= 0.5 + CONFIDENCE / 2.0
    }

    /// Finds the lowest accepted value. Searches from below, so that a rejected value in between changes nothing.
    fn low(&self, value: Reading) -> Reading {
        let estimate = self.series.total().buckets_below(value);
        let (mut first, mut accepted) = (0, estimate);
        for candidate in self.candidates(0, estimate) {
            if self.accepts(candidate) {
                accepted = candidate;
                break;
            }
            first = candidate + 1;
        }
        while first < accepted {
            let middle = first + (accepted - first) / 2;
            if self.accepts(middle) { accepted = middle } else { first = middle + 1 }
        }
        self.series.total().value(accepted).map_or(Reading::Infinite, Reading::Finite)
    }

    /// Finds the value above the highest accepted one. Searches from above, for the same reason.
    fn high(&self, value: Reading) -> Reading {
        let total = self.series.total();
        let Some(last) = total.buckets_len().checked_sub(1) else { return Reading::Infinite };
        if value == Reading::Infinite || total.failed() > 0 && self.accepts(last) {
            // The share of failed operations alone may be that of the percentile.
            return Reading::Infinite;
        }
        let estimate = total.buckets_below(value);
        let (mut accepted, mut rejected) = (estimate, last);
        for candidate in self.candidates(estimate + 1, last).into_iter().rev() {
            if self.accepts(candidate) {
                accepted = candidate;
                break;
            }
            rejected = candidate;
        }
        while rejected > accepted + 1 {
            let middle = accepted + (rejected - accepted) / 2;
            if self.accepts(middle) { accepted = middle } else { rejected = middle }
        }
        total.value((accepted + 1).min(last)).map_or(Reading::Infinite, Reading::Finite)
    }

    /// Returns some indices in this range, in order. Their shares of slower operations form two geometric rows: one
    /// near 0 and one near 1.
    fn candidates(&self, begin: usize, end: usize) -> Vec<usize> {
        let run = self.series.total();
        let mut indices = Vec::new();
        let mut next_above = u64::MAX;
        for index in begin..end {
            let Share { above, total } = run.share_beyond(index + 1);
            if above <= next_above {
                indices.push(index);
                let below = ((total - above) as f64 * STEP) as u64 + 1;
                next_above = ((above as f64 / STEP) as u64).max(total.saturating_sub(below));
            }
        }
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;
    use proptest::prelude::ProptestConfig;

    /// A series of intervals with 100 operations of 1 to 100 each, and this many failed ones.
    fn series(intervals: u64, failed: impl Fn(u64) -> u64) -> Series {
        let mut series = Series::new(Duration::from_secs(1));
        for index in 0..intervals {
            let values = (0..100).map(|i| (1 + (i * 7 + index * 13) % 100, 1));
            series.push(&Tally::from_counts(values, failed(index)));
        }
        series
    }

    #[test]
    fn the_maximum_has_no_interval() {
        let estimate = series(100, |_| 0).percentile(100.0).unwrap();
        assert_eq!(estimate, Estimate { value: Reading::Finite(100), bounds: None, more: None });
    }

    #[test]
    fn a_series_without_operations_has_no_percentile() {
        let mut series = Series::new(Duration::from_secs(1));
        assert_eq!(series.percentile(50.0), None);
        series.push(&Tally::default());
        assert_eq!(series.percentile(50.0), None);
    }

    #[test]
    fn a_short_run_has_to_be_longer() {
        // 15 intervals are one too few, however many operations they have.
        let estimate = series(15, |_| 0).percentile(50.0).unwrap();
        assert_eq!((estimate.bounds, estimate.more), (None, Some(Duration::from_secs(1))));
        // 40 intervals have 4 operations beyond p99.9, of which 10 are needed.
        let estimate = series(40, |_| 0).percentile(99.9).unwrap();
        assert_eq!((estimate.bounds, estimate.more.unwrap().as_secs_f64().round()), (None, 60.0));
        // The same holds for the low end.
        assert!(series(40, |_| 0).percentile(0.1).unwrap().more.is_some());
    }

    #[test]
    fn a_run_that_one_interval_decides_has_to_be_longer() {
        let mut series = Series::new(Duration::from_secs(1));
        for index in 0..60 {
            let slow = if index == 30 { 400 } else { 0 };
            series.push(&Tally::from_counts([(10, 1_000 - slow), (90, slow)], 0));
        }
        let estimate = series.percentile(99.5).unwrap();
        assert_eq!((estimate.value, estimate.bounds), (Reading::Finite(90), None));
        assert!(estimate.more > Some(Duration::from_secs(30)));
    }

    #[test]
    fn equal_operations_have_an_interval_without_width() {
        let mut series = Series::new(Duration::from_secs(1));
        (0..60).for_each(|_| series.push(&Tally::from_counts([(7, 1_000)], 0)));
        let estimate = series.percentile(99.0).unwrap();
        assert_eq!(estimate.bounds, Some((Reading::Finite(7), Reading::Finite(7))));
    }

    #[test]
    fn failed_operations_make_bounds_infinite() {
        // About 1 % fail, so p99 may be the longest latency or infinite.
        let estimate = series(200, |index| u64::from(index % 20 > 0)).percentile(99.0).unwrap();
        let (low, high) = estimate.bounds.unwrap();
        assert_eq!((estimate.value, high), (Reading::Finite(100), Reading::Infinite));
        assert!(low < Reading::Infinite);
        // Beyond any doubt more than 1 % fail.
        let estimate = series(200, |_| 5).percentile(99.0).unwrap();
        assert_eq!(
            (estimate.value, estimate.bounds),
            (Reading::Infinite, Some((Reading::Infinite, Reading::Infinite)))
        );
        // The median is none of it.
        assert!(series(200, |_| 5).percentile(50.0).unwrap().bounds.unwrap().1 < Reading::Finite(60));
        let mut failed = Series::new(Duration::from_secs(1));
        (0..60).for_each(|_| failed.push(&Tally::from_counts([], 10)));
        let estimate = failed.percentile(50.0).unwrap();
        assert_eq!(estimate.bounds, Some((Reading::Infinite, Reading::Infinite)));
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

        #[test]
        fn the_bounds_enclose_the_value(
            runs in proptest::collection::vec(proptest::collection::vec(1_u64..2_000, 0..40), 16..60),
            failed in 0_u64..3,
            percent in 1.0_f64..99.0,
        ) {
            let mut series = Series::new(Duration::from_secs(1));
            for values in &runs {
                series.push(&Tally::from_counts(values.iter().map(|&value| (value, 1)), failed));
            }
            if let Some(Estimate { value, bounds: Some((low, high)), .. }) = series.percentile(percent) {
                proptest::prop_assert!(low <= value && value <= high);
            }
        }
    }
}
