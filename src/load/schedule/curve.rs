//! The number of operations over a stage's time, and its inverse.
//!
//! Both directions use integers alone, so they agree exactly: operation k is due before `t` if and only if more than k
//! operations are due before `t`. For a constant rate the moments are those of [`Rate::moment`]. For a ramp from a to b
//! in time d, the number of operations due before t is `a t + (b - a) t^2 / 2d`, rounded up. The moment of operation k
//! is the last one before which at most k operations are due.

use super::wide::multiply_divide;
use crate::load::rate::{Rate, gcd};
use crate::load::stage::Stage;
use std::num::NonZeroU32;
use std::time::Duration;

/// The number of bits after the binary point in a position on the axis of operations.
pub(super) const FRACTION_BITS: u32 = 32;

/// Maximum common denominator of a ramp's two rates, in nanoseconds: twice its product with a stage's time in
/// nanoseconds is less than 2^127. Rates with a larger one are rounded.
const MAX_DENOMINATOR: u128 = 1 << 62;

/// The rate of a stage, as a function of the time since its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    Constant(Rate),
    Ramp(Ramp),
}

/// A steadily changing rate: from `from / denominator` at the begin to `to / denominator` at `time`, per nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ramp {
    from: u128,
    to: u128,
    denominator: u128,
    /// Above zero and below 2^63.
    time_ns: u64,
}

impl Curve {
    pub(super) fn of(stage: &Stage) -> Self {
        let time_ns = nanos(stage.time).min(u64::MAX >> 1);
        if stage.from == stage.to || time_ns == 0 {
            return Self::Constant(stage.from);
        }
        let [(from, from_time), (to, to_time)] =
            [stage.from, stage.to].map(Rate::ratio).map(|(count, time)| (count, u128::from(time)));
        let common = from_time / gcd(from_time, to_time) * to_time;
        let denominator = common.min(MAX_DENOMINATOR);
        // A rate above one operation per nanosecond is lowered to that.
        let rounded = |count, time| multiply_divide(count, denominator, time).0.min(denominator);
        let [from, to] = [rounded(from, from_time), rounded(to, to_time)];
        Self::Ramp(Ramp { from, to, denominator, time_ns })
    }

    /// Counts the evenly spaced operations due before `time_ns`.
    pub(super) fn count(&self, time_ns: u64) -> u64 {
        match self {
            Self::Constant(rate) => rate.count_before(time_ns),
            Self::Ramp(ramp) => ramp.count(time_ns),
        }
    }

    /// Returns the moment of an evenly spaced operation, in nanoseconds; the largest number if it is not due within
    /// the stage.
    pub(super) fn moment(&self, index: u64) -> u64 {
        match self {
            Self::Constant(rate) => rate.moment(index).unwrap_or(u64::MAX),
            Self::Ramp(ramp) => ramp.last_moment(index as f64, |time_ns| ramp.count(time_ns) <= index),
        }
    }

    /// Returns the moment at which the position `axis`, with [`FRACTION_BITS`], is reached.
    pub(super) fn moment_at(&self, axis: u128) -> u64 {
        match self {
            Self::Constant(rate) if rate.is_zero() => u64::MAX,
            Self::Constant(rate) => {
                let (operations, time_ns) = rate.ratio();
                let (moment, _) = multiply_divide(time_ns, axis, u128::from(operations) << FRACTION_BITS);
                u64::try_from(moment).unwrap_or(u64::MAX)
            }
            Self::Ramp(ramp) => {
                let index = axis as f64 / (1_u64 << FRACTION_BITS) as f64;
                ramp.last_moment(index, |time_ns| ramp.axis(time_ns) <= axis)
            }
        }
    }

    /// Returns the rate at `time_ns`.
    pub(super) fn rate_at(&self, time_ns: u64) -> Rate {
        match self {
            Self::Constant(rate) => *rate,
            Self::Ramp(ramp) => ramp.rate_at(time_ns),
        }
    }

    /// Returns the rest of the curve from `time_ns` on, up to `end_ns`, with each rate multiplied by a ratio.
    pub(super) fn rest(&self, time_ns: u64, end_ns: u64, numerator: u32, denominator: NonZeroU32) -> Self {
        let scaled = |time_ns| self.rate_at(time_ns).scaled(numerator, denominator);
        let time = Duration::from_nanos(end_ns.saturating_sub(time_ns));
        Self::of(&Stage::ramp(scaled(time_ns), scaled(end_ns), time))
    }
}

impl Ramp {
    /// Returns the number of operations before `time_ns` as a quotient and a remainder of `2 x time x denominator`.
    fn operations(&self, time_ns: u64) -> (u128, u128) {
        let time_ns = time_ns.min(self.time_ns);
        let (now, end) = (u128::from(time_ns), u128::from(self.time_ns));
        let twice_the_mean_rate = (2 * end - now) * self.from + now * self.to;
        multiply_divide(time_ns, twice_the_mean_rate, self.divisor())
    }

    fn divisor(&self) -> u128 {
        2 * u128::from(self.time_ns) * self.denominator
    }

    fn count(&self, time_ns: u64) -> u64 {
        let (whole, rest) = self.operations(time_ns);
        u64::try_from(whole.saturating_add(u128::from(rest > 0))).unwrap_or(u64::MAX)
    }

    /// Returns the number of operations before `time_ns`, rounded up to [`FRACTION_BITS`].
    fn axis(&self, time_ns: u64) -> u128 {
        let (whole, mut rest) = self.operations(time_ns);
        let divisor = self.divisor();
        let mut axis = whole;
        for _ in 0..FRACTION_BITS {
            rest *= 2;
            axis = axis << 1 | u128::from(rest >= divisor);
            rest -= if rest >= divisor { divisor } else { 0 };
        }
        axis + u128::from(rest > 0)
    }

    fn rate_at(&self, time_ns: u64) -> Rate {
        let (now, end) = (u128::from(time_ns.min(self.time_ns)), u128::from(self.time_ns));
        Rate::nearly((end - now) * self.from + now * self.to, end * self.denominator)
    }

    /// Returns the last moment at which `is_before` holds, or the largest number if it holds to the end. It holds at
    /// the begin and never again once it has ceased to hold. The search begins where about `index` operations are due.
    fn last_moment(&self, index: f64, is_before: impl Fn(u64) -> bool) -> u64 {
        if is_before(self.time_ns) {
            return u64::MAX;
        }
        let guess = self.guess(index);
        // The answer is at least `low` and less than `high`.
        let (mut low, mut high) = (0, self.time_ns);
        let mut step = 1;
        match is_before(guess) {
            true => {
                low = guess;
                while high - low > step && is_before(low + step) {
                    low += step;
                    step = step.saturating_mul(2);
                }
                high = high.min(low.saturating_add(step));
            }
            false => {
                high = guess;
                while high > step && !is_before(high - step) {
                    high -= step;
                    step = step.saturating_mul(2);
                }
                low = low.max(high.saturating_sub(step));
            }
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match is_before(middle) {
                true => low = middle,
                false => high = middle,
            }
        }
        low
    }

    /// Estimates the moment before which `index` operations are due. The result only speeds up the search.
    fn guess(&self, index: f64) -> u64 {
        let [from, to] = [self.from, self.to].map(|rate| rate as f64 / self.denominator as f64);
        let root = (from * from + 2.0 * (to - from) * index / self.time_ns as f64).max(0.0).sqrt();
        let moment = if from + root > 0.0 { 2.0 * index / (from + root) } else { 0.0 };
        (moment as u64).min(self.time_ns - 1)
    }
}

impl Stage {
    /// Returns the number of operations of the stage if they are evenly spaced.
    pub fn operations(&self) -> u64 {
        Curve::of(self).count(nanos(self.time))
    }
}

/// Returns a duration in nanoseconds, at most 2^63 - 1 of them: 292 years.
pub(in crate::load) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp(from: u64, to: u64, seconds: u64) -> Curve {
        Curve::of(&Stage::ramp(Rate::per_second(from), Rate::per_second(to), Duration::from_secs(seconds)))
    }

    #[test]
    fn the_operations_of_a_ramp_follow_its_mean_rate() {
        let [up, down] = [(1_000, 5_000), (5_000, 1_000)]
            .map(|(from, to)| Stage::ramp(Rate::per_second(from), Rate::per_second(to), Duration::from_secs(60)));
        assert_eq!((up.operations(), down.operations()), (180_000, 180_000));
        let minute_ns = 60_000_000_000;
        let [up, down] = [up, down].map(|stage| Curve::of(&stage));
        // Half the time has the mean of 1,000 and 3,000 per second, or of 5,000 and 3,000.
        assert_eq!((up.count(minute_ns / 2), down.count(minute_ns / 2)), (60_000, 120_000));
        assert_eq!([0, 60_000, 180_000].map(|index| up.moment(index)), [0, minute_ns / 2, u64::MAX]);
        assert_eq!(up.rate_at(minute_ns / 4), Rate::per_second(2_000));
        assert_eq!(up.rest(minute_ns / 4, minute_ns, 1, NonZeroU32::MIN), ramp(2_000, 5_000, 45));
    }

    #[test]
    fn a_ramp_from_or_to_zero_has_a_first_and_a_last_operation() {
        let from_zero = ramp(0, 2, 3);
        assert_eq!(from_zero.count(3_000_000_000), 3);
        // 3 s^2 / 3 is the number of operations: 1 after 1.73 s, and 2 after 2.45 s.
        let moments = [0, 1, 2, 3].map(|index| from_zero.moment(index));
        assert_eq!(moments, [0, 1_732_050_807, 2_449_489_742, u64::MAX]);
        let to_zero = ramp(2, 0, 3);
        assert_eq!([0, 1, 2, 3].map(|index| to_zero.moment(index)), [0, 550_510_257, 1_267_949_192, u64::MAX]);
        assert_eq!(Curve::of(&Stage::constant(Rate::ZERO, Duration::MAX)).moment_at(0), u64::MAX);
    }

    #[test]
    fn extreme_ramps_do_not_overflow() {
        let fastest = Rate::new(u64::MAX, Duration::from_nanos(1)).unwrap();
        let slowest = Rate::new(1, Duration::from_nanos(u64::MAX)).unwrap();
        for (from, to) in [(fastest, Rate::ZERO), (Rate::ZERO, fastest), (slowest, fastest), (slowest, Rate::ZERO)] {
            for time in [Duration::from_nanos(1), Duration::from_secs(7), Duration::MAX] {
                let stage = Stage::ramp(from, to, time);
                let (curve, count) = (Curve::of(&stage), stage.operations());
                assert!(count == 0 || curve.moment(count - 1) < nanos(time), "{stage:?}");
                assert_eq!(curve.moment(count), u64::MAX, "{stage:?}");
                assert!(curve.count(nanos(time)) == count && curve.rate_at(0).as_per_second() >= 0.0);
                assert_eq!(curve.moment_at(u128::MAX >> 1), u64::MAX);
            }
        }
    }

    fn any_stage() -> impl Strategy<Value = Stage> {
        let rate = (0..50_000_u64, 0..6_u32)
            .prop_map(|(mantissa, decimals)| Rate::new(mantissa, Duration::from_millis(10_u64.pow(decimals))).unwrap());
        (rate.clone(), rate, 1..100_000_000_u64).prop_map(|(from, to, micros)| {
            let scale = 1 + from.as_per_second().max(to.as_per_second()) as u64 / 10_000;
            Stage::ramp(from, to, Duration::from_micros(micros / scale + 1))
        })
    }

    proptest! {
        #[test]
        fn counts_and_moments_of_a_stage_agree_exactly(stage in any_stage(), picks in any::<[u64; 8]>()) {
            let (curve, time_ns, count) = (Curve::of(&stage), nanos(stage.time), stage.operations());
            prop_assert_eq!((curve.count(0), curve.count(time_ns)), (0, count));
            for pick in picks {
                let index = pick % (count + 1);
                let moment = curve.moment(index);
                if index < count {
                    prop_assert!(moment < time_ns);
                    prop_assert!(curve.count(moment) <= index && curve.count(moment + 1) > index);
                }
                prop_assert!(index == 0 || curve.moment(index - 1) <= moment);
                let at = pick % time_ns;
                prop_assert!(curve.count(at) <= curve.count(at + 1));
            }
        }

        #[test]
        fn the_count_of_a_ramp_is_its_integral(stage in any_stage(), share in 0..1_001_u64) {
            let time_ns = nanos(stage.time) * share / 1_000;
            let (at, end) = (time_ns as f64 / 1e9, stage.time.as_secs_f64());
            let [from, to] = [stage.from, stage.to].map(Rate::as_per_second);
            let expected = from * at + (to - from) * at * at / (2.0 * end);
            let count = Curve::of(&stage).count(time_ns) as f64;
            let error = 1e-6 * (1.0 + expected);
            prop_assert!((expected - error..expected + 1.0 + error).contains(&count), "{count} instead of {expected}");
        }

        #[test]
        fn whole_positions_on_the_axis_have_the_moments_of_the_evenly_spaced_operations(
            stage in any_stage(),
            pick in any::<u64>(),
        ) {
            let curve = Curve::of(&stage);
            let index = pick % (stage.operations() + 1);
            let at = |axis| curve.moment_at(axis);
            if index < stage.operations() {
                prop_assert_eq!(at(u128::from(index) << FRACTION_BITS), curve.moment(index));
            }
            let between = (u128::from(index) << FRACTION_BITS) + u128::from(pick >> 40);
            prop_assert!(at(between) >= at(u128::from(index) << FRACTION_BITS));
            prop_assert!(at(between) <= at(u128::from(index + 1) << FRACTION_BITS));
        }
    }
}
