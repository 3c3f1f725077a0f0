//! The settings of a search.
//!
//! Settings with which no trial could be decided are refused.

use std::fmt;
use std::time::Duration;

/// The product of a trial's operations and the allowed share that a trial without any slow operation needs to be clear:
/// the square of Student's t for its 20 intervals.
const MIN_ALLOWED_OPERATIONS: f64 = 4.4;

/// The quantity that is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searched {
    /// Operations per second.
    Rate,
    /// Peers.
    Peers,
}

/// The settings of a search. The defaults are those of `--find-max`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SearchSettings {
    /// The quantity that is searched.
    pub searched: Searched,
    /// The first load; at least 1.
    pub low: u64,
    /// The highest load that is tried.
    pub high: u64,
    /// The gap between the answer and a load that fails, as a part of the answer; 2 % by default. For peers the gap is
    /// always 1.
    pub width: f64,
    /// The time of all trials and recoveries; 5 minutes by default.
    pub time: Duration,
    /// How many long trials confirm the answer; 3 by default.
    pub confirmations: u32,
    /// The time before each trial whose operations do not count; 1 s by default.
    pub settle: Duration,
    /// The length of a first trial; 2 s by default.
    pub short: Duration,
    /// The length of a trial that decides or confirms; 10 s by default.
    pub long: Duration,
    /// The time of long trials that decides a load whose trials are not clear; 30 s by default.
    pub duration_sum: Duration,
    /// How long a target has to cope with a low load before it counts as recovered; 1 s by default.
    pub calm: Duration,
    /// The longest recovery; 30 s by default.
    pub max_recovery: Duration,
}

impl SearchSettings {
    /// Returns the default settings of a search from `low` to `high`.
    pub fn new(searched: Searched, low: u64, high: u64) -> Self {
        Self {
            searched,
            low,
            high,
            width: 0.02,
            time: Duration::from_secs(300),
            confirmations: 3,
            settle: Duration::from_secs(1),
            short: Duration::from_secs(2),
            long: Duration::from_secs(10),
            duration_sum: Duration::from_secs(30),
            calm: Duration::from_secs(1),
            max_recovery: Duration::from_secs(30),
        }
    }

    /// Returns the settings with this time for all trials and recoveries.
    pub fn with_time(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// Returns the settings with this gap between the answer and a load that fails, as a part of the answer.
    pub fn with_width(self, width: f64) -> Self {
        Self { width, ..self }
    }

    /// Returns the settings with this many confirming runs.
    pub fn with_confirmations(self, confirmations: u32) -> Self {
        Self { confirmations, ..self }
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let fail = |problem: String| Err(SettingsError { problem });
        if self.low == 0 || self.low > self.high {
            return fail(format!("the range {}..{} is empty; begin it with 1 or more", self.low, self.high));
        }
        if !(self.width > 0.0 && self.width < 1.0) {
            return fail(format!("the width {} is not between 0 and 100 %; write 2%", self.width));
        }
        if self.short < Duration::from_secs(1) || self.short >= self.long || self.long > self.duration_sum {
            return fail(format!(
                "trials of {:?}, then of {:?}, within {:?} contradict each other; the first has to have at least 1 s, \
                 and each has to be longer than the one before",
                self.short, self.long, self.duration_sum
            ));
        }
        let least = self.settle + self.long * self.confirmations.max(1) + (self.settle + self.short) * 2;
        if self.time < least {
            return fail(format!("a search of {:?} has no time for its trials; give it {least:?} or more", self.time));
        }
        Ok(())
    }

    /// Returns whether no load between both has to be tried.
    pub(super) fn is_narrow(&self, lower: u64, upper: u64) -> bool {
        upper - lower <= self.gap(lower)
    }

    /// Returns whether a gap is narrow enough for an answer, if no load within it can be decided.
    pub(super) fn is_nearly_narrow(&self, lower: u64, upper: u64) -> bool {
        upper - lower <= 2 * self.gap(lower) + 1
    }

    /// Returns the widest gap above this load that counts as narrow.
    fn gap(&self, lower: u64) -> u64 {
        match self.searched {
            Searched::Rate => ((lower as f64 * self.width) as u64).max(1),
            Searched::Peers => 1,
        }
    }

    /// Returns a load below one that a confirming run has refuted: by one gap the first time, then by 2, 4 and so on.
    pub(super) fn below(&self, upper: u64, retreats: u32) -> u64 {
        let gaps = 1_u64 << retreats.saturating_sub(1).min(32);
        let below = match self.searched {
            Searched::Rate => (upper as f64 / (1.0 + self.width * gaps as f64)).ceil() as u64,
            Searched::Peers => upper.saturating_sub(gaps),
        };
        below.clamp(1, upper - 1)
    }

    /// Returns whether a short trial of this load has enough operations to be clear. For peers the number of operations
    /// is not known.
    pub(super) fn can_be_clear(&self, load: u64, allowed: f64) -> bool {
        match self.searched {
            Searched::Rate => load as f64 * self.short.as_secs_f64() * allowed >= MIN_ALLOWED_OPERATIONS,
            Searched::Peers => true,
        }
    }
}

/// Why settings are not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    problem: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot search for the highest load: {}", self.problem)
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictory_settings_are_refused() {
        let good = SearchSettings::new(Searched::Rate, 1_000, 100_000);
        assert_eq!(good.check(), Ok(()));
        for (bad, problem) in [
            (SearchSettings { low: 0, ..good }, "begin it with 1"),
            (SearchSettings { low: 5, high: 4, ..good }, "is empty"),
            (SearchSettings { width: 0.0, ..good }, "write 2%"),
            (SearchSettings { width: f64::NAN, ..good }, "write 2%"),
            (SearchSettings { short: good.long, ..good }, "contradict"),
            (SearchSettings { duration_sum: good.short, ..good }, "contradict"),
            (SearchSettings { time: Duration::from_secs(20), ..good }, "give it 37s or more"),
        ] {
            let error = bad.check().expect_err(problem).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_gap_is_narrow_by_its_width_and_never_below_one() {
        let rate = SearchSettings::new(Searched::Rate, 1, 100_000);
        assert!(rate.is_narrow(1_000, 1_020) && !rate.is_narrow(1_000, 1_021) && rate.is_narrow(3, 4));
        assert_eq!((rate.below(1_020, 1), rate.below(1_020, 3), rate.below(2, 9)), (1_000, 945, 1));
        let peers = SearchSettings::new(Searched::Peers, 1, 100_000);
        assert!(peers.is_narrow(1_000, 1_001) && !peers.is_narrow(1_000, 1_002));
        assert_eq!((peers.below(100, 1), peers.below(100, 3), peers.below(2, 9)), (99, 96, 1));
    }
}
