//! The interval of a change, by Student's t distribution: of the pairs' changes if runs are paired, else by Welch's
//! method, which allows both sides a spread of their own.

use super::change::{Changes, mean, variance};
use crate::student::{CONFIDENCE, NORMAL_FREEDOM, student_quantile, student_tail};

/// The chance with which the suggested number of rounds decides.
const POWER: f64 = 0.8;

/// The interval of a change on its linear scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    middle: f64,
    /// The standard error of the middle.
    error: f64,
    freedom: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The variance of the difference of one run a side.
    variance: f64,
}

impl Interval {
    /// Computes the interval of at least two finite runs a side.
    pub(super) fn of(changes: &Changes) -> Self {
        let (middle, error_squared, freedom, variance) = match changes.is_paired() {
            true => {
                let pairs = changes.of_pairs();
                let variance = variance(&pairs);
                (mean(&pairs), variance / pairs.len() as f64, (pairs.len() - 1) as f64, variance)
            }
            false => {
                let (base, new) = (changes.base.as_slice(), changes.new.as_slice());
                let (base_error, new_error) = (variance(base) / base.len() as f64, variance(new) / new.len() as f64);
                let sum = base_error + new_error;
                let parts = base_error.powi(2) / (base.len() - 1) as f64 + new_error.powi(2) / (new.len() - 1) as f64;
                // Without any spread, the degrees of freedom do not matter.
                let freedom = if parts > 0.0 { sum * sum / parts } else { 1.0 };
                (mean(new) - mean(base), sum, freedom, variance(base) + variance(new))
            }
        };
        let error = error_squared.sqrt();
        let half = student_quantile(0.5 + CONFIDENCE / 2.0, freedom) * error;
        Self { middle, error, freedom, low: middle - half, high: middle + half, variance }
    }

    /// Returns the probability of a change like this one or a larger one if the true change were just the margin.
    pub(super) fn tail_beyond(&self, is_increase: bool, margin: f64) -> f64 {
        let beyond = if is_increase { self.middle - margin } else { -self.middle - margin };
        match self.error > 0.0 {
            true => student_tail(beyond / self.error, self.freedom),
            false => f64::from(u8::from(beyond <= 0.0)),
        }
    }

    /// Returns whether the whole interval lies within the margin.
    pub(super) fn is_within(&self, margin: f64) -> bool {
        -margin < self.low && self.high < margin
    }

    /// Returns whether the whole interval lies beyond the margin, on one side.
    pub(super) fn is_beyond(&self, margin: f64) -> bool {
        self.low > margin || self.high < -margin
    }

    /// Returns about how many runs a side decide this change in four of five cases, if it is judged among this many
    /// metrics. A change beyond the margin has to pass one bound of the interval, with the confidence of all metrics
    /// together. A change within it has to pass both bounds, so each in nine of ten cases. If the interval contains 0,
    /// no change is assumed.
    pub(super) fn rounds(&self, margin: f64, metrics: usize) -> f64 {
        let change = if self.low <= 0.0 && 0.0 <= self.high { 0.0 } else { self.middle.abs() };
        let gap = (change - margin).abs();
        let (tails, chance) = match change > margin {
            true => (2.0 * metrics.max(1) as f64, POWER),
            false => (2.0, (1.0 + POWER) / 2.0),
        };
        let bound = student_quantile(1.0 - (1.0 - CONFIDENCE) / tails, NORMAL_FREEDOM);
        let power = student_quantile(chance, NORMAL_FREEDOM);
        // The last term is the difference between Student's t distribution and the normal one.
        ((bound + power).powi(2) * self.variance / (gap * gap) + bound * bound / 2.0).ceil()
    }
}
