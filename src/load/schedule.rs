//! Rates and schedules in integer arithmetic, so that the moments of operations agree exactly with the number of
//! operations due within a duration.

use crate::time::Instant;
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
        let common = gcd(count, self.time_ns);
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

    /// Counts the operations that are due before `time` has passed. The first is due at once.
    pub(super) fn count_in(self, time: Duration) -> u64 {
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let count = (u128::from(time_ns) * u128::from(self.operations)).div_ceil(u128::from(self.time_ns));
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    const fn reduced(operations: u64, time_ns: u64) -> Self {
        let common = gcd(operations, time_ns);
        Self { operations: operations / common, time_ns: time_ns / common }
    }
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A rate as a sequence of evenly spaced moments.
///
/// Moment k is `k x time / operations` after the start, rounded down to a nanosecond. It is therefore less than
/// `end` after the start exactly when `k < end x operations / time`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    begin: Instant,
    rate: Rate,
}

impl Schedule {
    /// Creates a schedule whose first moment is `begin`.
    pub(super) fn new(begin: Instant, rate: Rate) -> Self {
        Self { begin, rate }
    }

    /// Returns the moment with this index, or [`Instant::MAX`] if the rate is zero.
    pub(super) fn moment(&self, index: u64) -> Instant {
        if self.rate.is_zero() {
            return Instant::MAX;
        }
        let after = u128::from(index) * u128::from(self.rate.time_ns) / u128::from(self.rate.operations);
        self.begin.plus(Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

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
        let schedule = Schedule::new(at(5), Rate::per_second(1_000));
        let moments = [0, 1, 100_000].map(|index| schedule.moment(index));
        assert_eq!(moments, [at(5), at(1_000_005), at(100_000_000_005)]);
        let never = Schedule::new(Instant::ZERO, Rate::ZERO);
        assert_eq!((never.moment(0), Rate::ZERO.count_in(Duration::MAX)), (Instant::MAX, 0));
    }

    #[test]
    fn three_peers_at_a_tenth_of_a_ping_per_second_have_three_pings_in_ten_seconds() {
        let rate = Rate::new(1, Duration::from_secs(10)).and_then(|rate| rate.times(3)).unwrap();
        assert_eq!(rate, Rate::new(3, Duration::from_secs(10)).unwrap());
        let schedule = Schedule::new(Instant::ZERO, rate);
        assert_eq!(rate.count_in(Duration::from_secs(10)), 3);
        assert_eq!(rate.count_in(Duration::from_nanos(10_000_000_001)), 4);
        assert_eq!([1, 2, 3].map(|k| schedule.moment(k)), [3_333_333_333, 6_666_666_666, 10_000_000_000].map(at));
    }

    #[test]
    fn a_rate_is_reduced_and_does_not_overflow() {
        assert_eq!(Rate::new(20, Duration::from_secs(2)), Some(Rate::per_second(10)));
        assert_eq!(Rate::new(1, Duration::ZERO), None);
        assert_eq!(Rate::new(u64::MAX, Duration::from_nanos(1)).and_then(|rate| rate.times(2)), None);
        assert_eq!(Rate::per_second(0), Rate::ZERO);
        assert_eq!(Rate::new(1, Duration::from_secs(4)).unwrap().as_per_second(), 0.25);
        let fastest = Rate::new(u64::MAX, Duration::from_nanos(1)).unwrap();
        assert_eq!(fastest.count_in(Duration::MAX), u64::MAX);
        let slowest = Schedule::new(at(1), Rate::new(1, Duration::from_nanos(u64::MAX)).unwrap());
        assert_eq!((slowest.moment(1), slowest.moment(u64::MAX)), (Instant::MAX, Instant::MAX));
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
            let begin = at(12_345);
            let schedule = Schedule::new(begin, rate);
            // The naive clock is slow, so it counts at most about a thousand operations.
            let end_ns = (end_ms * 1_000_000).min(1_000 * rate.time_ns / rate.operations + 1);
            let moments = naive(rate, end_ns);
            prop_assert_eq!(rate.count_in(Duration::from_nanos(end_ns)), moments.len() as u64);
            for (index, nanos) in moments.into_iter().enumerate() {
                prop_assert_eq!(schedule.moment(index as u64), begin.plus(Duration::from_nanos(nanos)));
            }
        }
    }
}
