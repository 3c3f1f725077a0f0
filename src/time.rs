//! The loop's own clocks: monotonic [`Instant`]s that drive every decision, and [`UnixTime`] for stamps only.
//!
//! Both are plain numbers that enter through [`Net`](crate::net::Net), so a run can be replayed. Arithmetic
//! saturates: no input, however absurd, overflows a deadline. This module never reads a clock.

use std::fmt;
use std::time::Duration;

/// A moment on the loop's monotonic clock, in nanoseconds since the loop began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The moment the loop began.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the loop began.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the loop began.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `after` later; [`Instant::MAX`] if that is beyond the clock.
    #[must_use]
    pub const fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(nanos(after)))
    }

    /// The moment `before` earlier; [`Instant::ZERO`] if that is before the clock began.
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

/// Wall time in seconds since 1970, as the `version` message carries it. No timer and no decision depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The time `secs` seconds after the beginning of 1970; a peer may claim any value.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs)
    }

    /// Seconds since the beginning of 1970.
    pub const fn as_secs(self) -> i64 {
        self.0
    }
}

/// How long the loop may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: there is work, or a deadline has passed.
    Zero,
    /// Until this moment at the latest.
    Until(Instant),
    /// Until something happens.
    Forever,
}

impl Wait {
    /// The shorter of the two.
    #[must_use]
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
    fn the_sooner_wait_wins() {
        let (soon, late) = (Instant::from_nanos(1), Instant::from_nanos(2));
        assert_eq!(Wait::Forever.or_sooner(Wait::Until(late)), Wait::Until(late));
        assert_eq!(Wait::Until(late).or_sooner(Wait::Until(soon)), Wait::Until(soon));
        assert_eq!(Wait::Until(soon).or_sooner(Wait::Zero), Wait::Zero);
    }
}
