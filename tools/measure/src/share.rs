//! The interval of a share: how many of all operations are slower than a limit.
//!
//! This is Wilson's interval, with the number of operations divided by their [`DesignEffect`], and with Student's t
//! distribution, because the design effect is itself an estimate. Unlike the plain normal interval it has the stated
//! confidence for shares near 0, and lies within 0 and 1.

use crate::design::DesignEffect;
use crate::student::{CONFIDENCE, student_quantile};
use crate::tally::Share;

/// A share with its interval.
///
/// ```
/// use peerloop_measure::{Share, ShareInterval};
///
/// let seconds = [Share { above: 0, total: 100 }; 20];
/// let interval = ShareInterval::of(&seconds).unwrap();
/// assert_eq!((interval.ratio, interval.low), (0.0, 0.0));
/// // None of 2,000 operations was slow, so at most about 0.2 % are.
/// assert!((interval.high - 0.0022).abs() < 0.0001);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ShareInterval {
    /// The share that was measured.
    pub ratio: f64,
    /// The lowest share that agrees with the measurement.
    pub low: f64,
    /// The highest share that agrees with the measurement.
    pub high: f64,
    /// The number of independent operations that would be worth as much as the measured ones.
    pub effective_count: f64,
}

impl ShareInterval {
    /// Estimates the share from the intervals of a run, in the order of time. Returns `None` for fewer than
    /// [`MIN_BATCHES`](crate::MIN_BATCHES) intervals, or without operations.
    pub fn of(shares: &[Share]) -> Option<Self> {
        let effect = DesignEffect::of(shares)?;
        let t = student_quantile(0.5 + CONFIDENCE / 2.0, effect.freedom);
        let (low, high) = wilson(effect.ratio, effect.effective_count(), t);
        Some(Self { ratio: effect.ratio, low, high, effective_count: effect.effective_count() })
    }
}

/// Returns the shares whose distance from `ratio` is `t` standard errors.
fn wilson(ratio: f64, count: f64, t: f64) -> (f64, f64) {
    let weight = t * t / count;
    let middle = (ratio + weight / 2.0) / (1.0 + weight);
    let half = t * (ratio * (1.0 - ratio) / count + weight / (4.0 * count)).sqrt() / (1.0 + weight);
    // At the ends the exact bound is the ratio itself, which rounding could miss.
    let low = if ratio == 0.0 { 0.0 } else { (middle - half).clamp(0.0, ratio) };
    let high = if ratio == 1.0 { 1.0 } else { (middle + half).clamp(ratio, 1.0) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_published_examples() {
        for (above, total, low, high) in
            [(10.0, 100.0, 0.0552, 0.1744), (0.0, 20.0, 0.0, 0.1611), (1.0, 10.0, 0.0179, 0.4042)]
        {
            let found = wilson(above / total, total, 1.959_964);
            assert!((found.0 - low).abs() < 1e-4 && (found.1 - high).abs() < 1e-4, "{above} of {total}: {found:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn each_bound_is_as_far_from_the_ratio_as_its_error_allows(above in 0_u64..=500, total in 500_u64..100_000) {
            let (ratio, count, t) = (above as f64 / total as f64, total as f64, 2.1);
            let (low, high) = wilson(ratio, count, t);
            proptest::prop_assert!(0.0 <= low && low <= ratio && ratio <= high && high <= 1.0);
            for bound in [low, high] {
                let is_at_end = bound == 0.0 || bound == 1.0;
                let distance = (ratio - bound).abs() / (bound * (1.0 - bound) / count).sqrt();
                proptest::prop_assert!(is_at_end || (distance - t).abs() < 1e-6, "{bound} at {distance}");
            }
        }

        #[test]
        fn the_interval_of_the_complement_is_the_complement(above in 0_u64..=100, intervals in 16_usize..80) {
            let shares: Vec<Share> =
                (0..intervals).map(|i| Share { above: (above * (i as u64 * 7 % 5)) / 4, total: 100 }).collect();
            let others: Vec<Share> =
                shares.iter().map(|share| Share { above: share.total - share.above, ..*share }).collect();
            let (one, other) = (ShareInterval::of(&shares).unwrap(), ShareInterval::of(&others).unwrap());
            proptest::prop_assert!((one.low - (1.0 - other.high)).abs() < 1e-9);
            proptest::prop_assert!((one.high - (1.0 - other.low)).abs() < 1e-9);
        }
    }
}
