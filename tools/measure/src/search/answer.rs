//! The answer of a search and its table of trials.
//!
//! An answer never says more than the trials have shown: a number has a load above it at which the target fails, and a
//! search that the generator, the range or the time has ended answers "at least".

use super::Purpose;
use super::evidence::Bounds;
use super::trial::{Reason, TrialVerdict};
use std::time::Duration;

/// The result of a search.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SearchOutcome {
    /// The answer.
    pub answer: Answer,
    /// Why the search ended.
    pub end: End,
    /// How many long trials in a row the answer's load has passed, at most as many as were required.
    pub confirmations: u32,
}

/// The highest load that meets the goal.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This load passes, and the target fails at `above`.
    Number {
        /// The highest load that passes.
        load: u64,
        /// The lowest load above it that fails.
        above: u64,
        /// Why it fails.
        reason: Reason,
    },
    /// This load passes; how much more the target could do is unknown.
    AtLeast {
        /// The highest load that passes.
        load: u64,
        /// The reason why no higher load is known.
        bound: Bound,
    },
    /// No load that was tried passes.
    Nothing {
        /// The lowest load that was tried; 0 if none was.
        lowest: u64,
        /// Why it fails.
        reason: Reason,
        /// The lowest load at which the target fails, and why, if it is above `lowest`: the generator was not trusted
        /// at lower ones.
        fails: Option<(u64, Reason)>,
    },
}

/// A bound of a search from above, other than the target.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// The generator was not trusted at this load.
    Generator {
        /// The lowest load at which it was not trusted.
        above: u64,
        /// Why it was not trusted.
        reason: Reason,
    },
    /// The range's end passes.
    Range,
    /// There was no more time to try a higher load.
    Time,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The gap is as narrow as required, and the answer is confirmed.
    Narrow,
    /// The time is used up.
    Time,
    /// After an overload the target still had unanswered operations.
    NotRecovered,
}

/// A row of the table of trials.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TrialRow {
    /// The load: operations per second, or peers.
    pub load: u64,
    /// The length of the trial, without its settling time.
    pub time: Duration,
    /// Why the trial was made.
    pub purpose: Purpose,
    /// The verdict on the load.
    pub verdict: TrialVerdict,
    /// The value that decided it.
    pub reason: Reason,
    /// Why the generator was not trusted, even if that could not change the verdict.
    pub distrust: Option<String>,
    /// The median latency, in nanoseconds.
    pub p50: Option<u64>,
}

/// Returns the answer that these bounds give. `fails` is a load at which the target fails, if that bounds it.
pub(super) fn of(bounds: Bounds, fails: Option<u64>, rows: &[TrialRow], high: u64) -> Answer {
    let last_reason = |load: u64, counts: fn(TrialVerdict) -> bool| {
        let bad = rows.iter().rev().find(|row| row.load == load && counts(row.verdict));
        bad.map_or(Reason::NoData, |row| row.reason.clone())
    };
    let of_target = |load| last_reason(load, |verdict| !verdict.is_good() && verdict != TrialVerdict::Generator);
    let of_generator = |load| last_reason(load, |verdict| verdict == TrialVerdict::Generator);
    match bounds {
        Bounds { lower: None, upper } => {
            let lowest = upper.or_else(|| rows.iter().map(|row| row.load).min()).unwrap_or(0);
            let fails_above = fails.filter(|&fails| fails > lowest).map(|fails| (fails, of_target(fails)));
            let reason = last_reason(lowest, |verdict| !verdict.is_good());
            Answer::Nothing { lowest, reason, fails: fails_above }
        }
        Bounds { lower: Some(load), upper: Some(upper) } => match fails {
            Some(above) => Answer::Number { load, above, reason: of_target(above) },
            None => Answer::AtLeast { load, bound: Bound::Generator { above: upper, reason: of_generator(upper) } },
        },
        Bounds { lower: Some(load), upper: None } => {
            Answer::AtLeast { load, bound: if load >= high { Bound::Range } else { Bound::Time } }
        }
    }
}
