//! The changes of one metric from the base to the new version, on a scale on which changes add up.
//!
//! That scale is the logarithm for ratios, and the plain difference for shares, which may be 0. Here and in the files
//! beside, a positive change is an increase of the metric, whichever direction is better.

use super::{MetricRuns, Pairing, Verdict};
use std::iter::repeat;

/// Which direction of a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As for latencies and failures.
    SmallerIsBetter,
    /// As for rates.
    LargerIsBetter,
}

impl Direction {
    /// Returns the verdict on a change beyond the margin.
    pub(super) fn verdict(self, is_increase: bool) -> Verdict {
        match (self, is_increase) {
            (Self::SmallerIsBetter, true) | (Self::LargerIsBetter, false) => Verdict::Worse,
            (Self::SmallerIsBetter, false) | (Self::LargerIsBetter, true) => Verdict::Better,
        }
    }
}

/// How a change is expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As the new value over the base's. For latencies and rates.
    Ratio,
    /// As the new value minus the base's. For shares, which may be 0: from no failure to one failure is no ratio.
    Difference,
}

impl Scale {
    /// Converts a value to the scale on which changes add up.
    fn linear(self, value: f64) -> f64 {
        match self {
            Self::Ratio => value.ln(),
            Self::Difference => value,
        }
    }

    /// Converts a change on that scale to a ratio or a difference.
    pub(super) fn written(self, change: f64) -> f64 {
        match self {
            Self::Ratio => change.exp(),
            Self::Difference => change,
        }
    }
}

/// The part of a value that remains if its excess is as large as the value itself.
const LEAST_PART: f64 = 1e-3;

/// The linear values of one metric.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    pub(super) base: Vec<f64>,
    pub(super) new: Vec<f64>,
    pairing: Pairing,
    direction: Direction,
    margin: f64,
}

impl Changes {
    pub(super) fn of(metric: &MetricRuns<'_>, pairing: Pairing) -> Self {
        Self::between(metric, metric.base, metric.new, pairing)
    }

    /// Returns the smallest changes that agree with the metric's excesses: those to the least new values.
    pub(super) fn least_of(metric: &MetricRuns<'_>, pairing: Pairing) -> Self {
        Self::between(metric, metric.base, &least(metric.new, metric.new_excess), pairing)
    }

    /// Returns the largest changes that agree with the metric's excesses: those from the least base values.
    pub(super) fn greatest_of(metric: &MetricRuns<'_>, pairing: Pairing) -> Self {
        Self::between(metric, &least(metric.base, metric.base_excess), metric.new, pairing)
    }

    fn between(metric: &MetricRuns<'_>, base: &[f64], new: &[f64], pairing: Pairing) -> Self {
        let MetricRuns { name, direction, scale, margin, .. } = *metric;
        assert!(pairing == Pairing::Unpaired || base.len() == new.len(), "{name}: each base run needs its new run");
        assert!(margin > 0.0, "{name}: the margin {margin} is not positive");
        let linear = |&value: &f64| {
            assert!(value >= 0.0, "{name}: {value} is neither a latency, nor a rate, nor a share");
            assert!(scale == Scale::Ratio || value.is_finite(), "{name}: a share is never infinite");
            scale.linear(value)
        };
        let margin = match scale {
            Scale::Ratio => margin.ln_1p(),
            Scale::Difference => margin,
        };
        Self {
            base: base.iter().map(linear).collect(),
            new: new.iter().map(linear).collect(),
            pairing,
            direction,
            margin,
        }
    }

    /// Returns the runs of the side with fewer runs.
    pub(super) fn runs(&self) -> usize {
        self.base.len().min(self.new.len())
    }

    pub(super) fn is_paired(&self) -> bool {
        self.pairing == Pairing::Paired
    }

    /// Returns the margin on the linear scale.
    pub(super) fn margin(&self) -> f64 {
        self.margin
    }

    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    /// Returns whether all values are finite on the linear scale.
    pub(super) fn is_finite(&self) -> bool {
        self.base.iter().chain(&self.new).all(|value| value.is_finite())
    }

    /// Returns the change of each pair. Two infinite values of the same sign show no change.
    pub(super) fn of_pairs(&self) -> Vec<f64> {
        let change = |(&base, &new): (&f64, &f64)| if base == new { 0.0 } else { new - base };
        self.base.iter().zip(&self.new).map(change).collect()
    }

    /// Estimates the change: by the means if all values are finite, else by the medians.
    pub(super) fn estimate(&self) -> Option<f64> {
        if self.runs() == 0 {
            return None;
        }
        if self.is_finite() {
            return Some(mean(&self.new) - mean(&self.base));
        }
        let change = match self.pairing {
            Pairing::Paired => median(self.of_pairs()),
            Pairing::Unpaired => median(self.new.clone()) - median(self.base.clone()),
        };
        (!change.is_nan()).then_some(change)
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sum of the squared distances from the mean, divided by the degrees of freedom.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
/// Returns the least true values.
fn least(values: &[f64], excess: &[f64]) -> Vec<f64> {
    let excess = excess.iter().copied().chain(repeat(0.0));
    values.iter().zip(excess).map(|(value, excess)| (value - excess).max(value * LEAST_PART)).collect()
}
