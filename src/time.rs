//! The loop's own clocks: monotonic [`Instant`]s for deadlines, and [`UnixTime`] for timestamps and for data that
//! outlives the process.
//!
//! Both are plain numbers, read only through the interface to the kernel, so a run can be replayed. Arithmetic
//! saturates, so no input overflows a deadline. This module never reads a clock.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A moment on the loop's monotonic clock, in nanoseconds since the clock began. On a [`MioNet`](crate::MioNet), the
/// clock begins when the network is created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The moment at which the clock began.
    pub const ZERO: Self = Self(0);
    /// A moment that is never reached.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the moment `nanos` nanoseconds after the clock began.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the clock began.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to `self`, or zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the moment that is `after` later, or [`Instant::MAX`] if that is beyond the clock's range.
    #[must_use]
    pub const fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(nanos(after)))
    }

    /// Returns the moment that is `before` earlier, or [`Instant::ZERO`] if that is before the clock began.
    ///
    /// ```
    /// use peerloop::time::Instant;
    /// use std::time::Duration;
    ///
    /// let moment = Instant::from_nanos(5_000);
    /// assert_eq!(moment.minus(Duration::from_micros(2)), Instant::from_nanos(3_000));
    /// assert_eq!(moment.minus(Duration::from_secs(1)), Instant::ZERO);
    /// ```
    #[must_use]
    pub const fn minus(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(before)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Wall-clock time in seconds since 1970, as in the `version` message. The wall clock may jump, so a connection's
/// deadlines are [`Instant`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(i64);

impl UnixTime {
    /// Returns the time `secs` seconds after the start of 1970. A peer may claim any value.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs)
    }

    /// Returns the seconds since the start of 1970.
    pub const fn as_secs(self) -> i64 {
        self.0
    }
}

/// The same moment on both clocks of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The monotonic clock's time, for deadlines.
    pub(crate) now: Instant,
    /// The wall clock's time, for timestamps and for data that outlives the process.
    pub(crate) unix: UnixTime,
}

/// The seconds since 1970 of the years 0 to 9999, the range of RFC 3339.
const CALENDAR_SECS: RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl fmt::Display for UnixTime {
    /// Writes the time as RFC 3339 in UTC, or as `@` and the seconds since 1970 if it is outside the years 0 to 9999.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_SECS: i64 = 86_400;
        if !CALENDAR_SECS.contains(&self.0) {
            return f.pad(&format!("@{}", self.0));
        }
        let (year, month, day) = civil_date(self.0.div_euclid(DAY_SECS));
        let second = self.0.rem_euclid(DAY_SECS);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        f.pad(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
    }
}

/// Converts days since 1970 to year, month and day of the Gregorian calendar.
///
/// The algorithm's years begin with March, so that the leap day is the last day of a year. An era is 400 years, after
/// which the calendar repeats.
const fn civil_date(days_since_1970: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    /// Days from 1 March of the year 0 to the start of 1970.
    const EPOCH_DAYS: i64 = 719_468;
    let days = days_since_1970 + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// The maximum duration of the loop's sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// No sleep: there is work, or a deadline has passed.
    Zero,
    /// Until this moment.
    Until(Instant),
    /// Until an event arrives.
    Forever,
}

impl Wait {
    /// Returns the shorter of the two waits.
    #[must_use]
    #[doc(hidden)]
    pub fn or_sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Zero, _) | (_, Self::Zero) => Self::Zero,
            (Self::Forever, wait) | (wait, Self::Forever) => wait,
            (Self::Until(one), Self::Until(two)) => Self::Until(one.min(two)),
        }
    }
}

const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::MAX.plus(Duration::MAX), Instant::MAX);
        assert_eq!(Instant::ZERO.minus(Duration::from_secs(1)), Instant::ZERO);
        assert_eq!(Instant::ZERO.since(Instant::MAX), Duration::ZERO);
        assert_eq!(Instant::from_nanos(7).plus(Duration::from_nanos(5)).as_nanos(), 12);
    }

    #[test]
    fn every_wall_time_is_displayed_as_rfc_3339_or_as_a_raw_number() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_796_005_391, "2026-11-30T02:23:11Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-2_203_891_200, "1900-03-01T00:00:00Z"),
            (-2_203_891_201, "1900-02-28T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "@253402300800"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
            (-62_167_219_201, "@-62167219201"),
            (i64::MIN, "@-9223372036854775808"),
            (i64::MAX, "@9223372036854775807"),
        ] {
            assert_eq!(UnixTime::from_secs(secs).to_string(), text);
        }
        assert_eq!(format!("[{:<22}]", UnixTime::from_secs(0)), "[1970-01-01T00:00:00Z  ]");
    }

    #[test]
    fn consecutive_days_have_consecutive_dates() {
        let first = CALENDAR_SECS.start() / 86_400;
        let last = CALENDAR_SECS.end() / 86_400;
        let mut expected = (0, 1, 1);
        for day in first..=last {
            assert_eq!(civil_date(day), expected);
            let (year, month, of_month) = expected;
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month {
                2 if is_leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, of_month) {
                (12, 31) => (year + 1, 1, 1),
                (_, of_month) if of_month == days => (year, month + 1, 1),
                (_, of_month) => (year, month, of_month + 1),
            };
        }
        assert_eq!(expected, (10_000, 1, 1));
    }

    #[test]
    fn or_sooner_returns_the_sooner_wait() {
        let (soon, late) = (Instant::from_nanos(1), Instant::from_nanos(2));
        assert_eq!(Wait::Forever.or_sooner(Wait::Until(late)), Wait::Until(late));
        assert_eq!(Wait::Until(late).or_sooner(Wait::Until(soon)), Wait::Until(soon));
        assert_eq!(Wait::Until(soon).or_sooner(Wait::Zero), Wait::Zero);
    }
}
