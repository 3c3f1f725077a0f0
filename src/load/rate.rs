//! Rates in integer arithmetic, so that the moments of evenly spaced operations agree exactly with the number of
//! operations due within a duration.

use std::num::NonZeroU32;
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A rate as an exact ratio: a number of operations per duration.
///
/// A decimal rate such as 0.1/s has no exact binary form. As a ratio it is one operation in ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    operations: u64,
    /// Above zero. It has no common divisor with `operations` except 1.
    time_ns: u64,
}

impl Rate {
    /// The zero rate: no operations.
    pub const ZERO: Self = Self { operations: 0, time_ns: 1 };

    /// Returns the rate of a whole number of operations per second.
    pub const fn per_second(operations: u64) -> Self {
        Self::reduced(operations, NANOS_PER_SECOND)
    }

    /// Returns the rate of `operations` per `time`; `None` if `time` is zero or longer than 584 years.
    pub fn new(operations: u64, time: Duration) -> Option<Self> {
        let time_ns = u64::try_from(time.as_nanos()).ok().filter(|&nanos| nanos > 0)?;
        Some(Self::reduced(operations, time_ns))
    }

    /// Returns the total rate of `count` peers with this rate each; `None` if the number of operations does not fit in
    /// 64 bits.
    pub fn times(self, count: u64) -> Option<Self> {
        // The common divisor is removed first, so the product overflows only if the result does not fit.
        let common = common_divisor(count, self.time_ns);
        let operations = self.operations.checked_mul(count / common)?;
        Some(Self::reduced(operations, self.time_ns / common))
    }

    /// Returns the operations per second, rounded to a float, for display only.
    pub fn as_per_second(self) -> f64 {
        self.operations as f64 * NANOS_PER_SECOND as f64 / self.time_ns as f64
    }

    /// Returns whether the rate is zero.
    pub const fn is_zero(self) -> bool {
        self.operations == 0
    }

    /// Returns this rate multiplied by a ratio. If the exact result does not fit, it is rounded to at least 63
    /// significant bits, and a rate above `u64::MAX` per nanosecond is lowered to that.
    pub(super) fn scaled(self, numerator: u32, denominator: NonZeroU32) -> Self {
        let operations = u128::from(self.operations) * u128::from(numerator);
        Self::nearly(operations, u128::from(self.time_ns) * u128::from(denominator.get()))
    }

    /// Returns the rate of `operations` per `time_ns` nanoseconds, rounded as in [`Rate::scaled`].
    pub(super) fn nearly(operations: u128, time_ns: u128) -> Self {
        let common = gcd(operations, time_ns).max(1);
        let (operations, time_ns) = (operations / common, time_ns / common);
        let excess_bits = 64_u32.saturating_sub(operations.max(time_ns).leading_zeros());
        let [operations, time_ns] = [operations, time_ns].map(|value| (value >> excess_bits) as u64);
        Self::reduced(operations, time_ns.max(1))
    }

    /// Returns the number of operations and the time of the ratio.
    pub(super) fn ratio(self) -> (u64, u64) {
        (self.operations, self.time_ns)
    }

    /// Counts the operations that are due before `time_ns`. The first is due at once.
    pub(super) fn count_before(self, time_ns: u64) -> u64 {
        let count = (u128::from(time_ns) * u128::from(self.operations)).div_ceil(u128::from(self.time_ns));
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Returns the moment of an evenly spaced operation in nanoseconds: `index x time / operations`, rounded down. It
    /// is below `end` exactly if `index < end x operations / time`. Returns `None` if the rate is zero or the moment
    /// does not fit in 64 bits.
    pub(super) fn moment(self, index: u64) -> Option<u64> {
        let after = (u128::from(index) * u128::from(self.time_ns)).checked_div(u128::from(self.operations))?;
        u64::try_from(after).ok()
    }

    const fn reduced(operations: u64, time_ns: u64) -> Self {
        let common = common_divisor(operations, time_ns);
        Self { operations: operations / common, time_ns: time_ns / common }
    }
}

const fn common_divisor(a: u64, b: u64) -> u64 {
    gcd(a as u128, b as u128) as u64
}

/// Returns the greatest common divisor.
pub(super) const fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lists the moments before `end_ns` by adding up periods, with the fraction of a nanosecond kept separately.
    fn naive(rate: Rate, end_ns: u64) -> Vec<u64> {
        let (mut nanos, mut fraction, mut moments) = (0, 0, Vec::new());
        while nanos < end_ns {
            moments.push(nanos);
            nanos += rate.time_ns / rate.operations;
            fraction += rate.time_ns % rate.operations;
            if fraction >= rate.operations {
                fraction -= rate.operations;
                nanos += 1;
            }
        }
        moments
    }

    #[test]
    fn moments_are_evenly_spaced_from_the_start_and_a_zero_rate_has_none() {
        let rate = Rate::per_second(1_000);
        assert_eq!([0, 1, 100_000].map(|index| rate.moment(index)), [Some(0), Some(1_000_000), Some(100_000_000_000)]);
        assert_eq!((Rate::ZERO.moment(0), Rate::ZERO.count_before(u64::MAX)), (None, 0));
    }

    #[test]
    fn three_peers_at_a_tenth_of_a_ping_per_second_have_three_pings_in_ten_seconds() {
        let rate = Rate::new(1, Duration::from_secs(10)).and_then(|rate| rate.times(3)).unwrap();
        assert_eq!(rate, Rate::new(3, Duration::from_secs(10)).unwrap());
        assert_eq!(rate.count_before(10_000_000_000), 3);
        assert_eq!(rate.count_before(10_000_000_001), 4);
        assert_eq!([1, 2, 3].map(|k| rate.moment(k)), [3_333_333_333, 6_666_666_666, 10_000_000_000].map(Some));
    }

    #[test]
    fn a_rate_is_reduced_and_does_not_overflow() {
        assert_eq!(Rate::new(20, Duration::from_secs(2)), Some(Rate::per_second(10)));
        assert_eq!(Rate::new(1, Duration::ZERO), None);
        assert_eq!(Rate::new(u64::MAX, Duration::from_nanos(1)).and_then(|rate| rate.times(2)), None);
        assert_eq!(Rate::per_second(0), Rate::ZERO);
        assert_eq!(Rate::new(1, Duration::from_secs(4)).unwrap().as_per_second(), 0.25);
        let fastest = Rate::new(u64::MAX, Duration::from_nanos(1)).unwrap();
        assert_eq!(fastest.count_before(u64::MAX), u64::MAX);
        let slowest = Rate::new(1, Duration::from_nanos(u64::MAX)).unwrap();
        assert_eq!((slowest.moment(1), slowest.moment(u64::MAX)), (Some(u64::MAX), None));
    }

    #[test]
    fn a_scaled_rate_is_exact_if_it_fits_and_otherwise_nearly_so() {
        let [hundred, zero] = [100, 0].map(|numerator| Rate::per_second(1_000).scaled(numerator, NonZeroU32::MIN));
        assert_eq!((hundred, zero), (Rate::per_second(100_000), Rate::ZERO));
        let tenths = NonZeroU32::new(10).unwrap();
        assert_eq!(Rate::per_second(1_000).scaled(11, tenths), Rate::per_second(1_100));
        assert_eq!(Rate::per_second(1_100).scaled(9, tenths), Rate::per_second(990));
        let mut rate = Rate::per_second(1_000);
        for _ in 0..100 {
            rate = rate.scaled(11, tenths);
        }
        let expected = 1_000.0 * 1.1_f64.powi(100);
        assert!((rate.as_per_second() / expected - 1.0).abs() < 1e-12, "{rate:?}");
        let fastest = Rate::new(u64::MAX, Duration::from_nanos(1)).unwrap();
        assert_eq!(fastest.scaled(u32::MAX, NonZeroU32::MIN).ratio().1, 1);
    }

    proptest! {
        #[test]
        fn moments_and_counts_match_a_naive_clock(
            peers in 1..60_u64,
            mantissa in 1..2_000_u64,
            decimals in 0..5_u32,
            unit in 0..3_usize,
            end_ms in 1..20_000_u64,
        ) {
            let unit_ns = [1_000_000, NANOS_PER_SECOND, 60 * NANOS_PER_SECOND][unit];
            let time = Duration::from_nanos(unit_ns * 10_u64.pow(decimals));
            let rate = Rate::new(mantissa, time).and_then(|rate| rate.times(peers)).unwrap();
            // The naive clock is slow, so it counts at most about a thousand operations.
            let end_ns = (end_ms * 1_000_000).min(1_000 * rate.time_ns / rate.operations + 1);
            let moments = naive(rate, end_ns);
            prop_assert_eq!(rate.count_before(end_ns), moments.len() as u64);
            for (index, nanos) in moments.into_iter().enumerate() {
                prop_assert_eq!(rate.moment(index as u64), Some(nanos));
            }
        }
    }
}
