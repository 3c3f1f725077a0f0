//! The goal of a search: a limit that at most a share of the operations may miss.
//!
//! A failed operation misses every limit.

use crate::tally::{Share, Tally};
use crate::threshold::{Function, Relation, Threshold};
use std::fmt;
use std::time::Duration;

/// The share of the operations that may fail, in addition to the goal.
pub(super) const MAX_FAILED: f64 = 0.001;

/// The goal that the searched load has to meet.
///
/// ```
/// use peerloop_measure::{Goal, Share, Tally};
///
/// let goal = Goal::of(&"ping_rtt:p99<50ms".parse().unwrap()).unwrap();
/// let tally = Tally::from_counts([(10_000_000, 97), (60_000_000, 2)], 1);
/// assert_eq!(goal.share(&tally), Share { above: 3, total: 100 });
/// assert!((goal.allowed() - 0.01).abs() < 1e-12);
/// assert!(Goal::of(&"ping_rtt:mean<50ms".parse().unwrap()).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    limit: Limit,
    allowed: f64,
}

/// Which operations miss the goal.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// Those that need this long or longer.
    Below(u64),
    /// Those that need longer.
    AtMost(u64),
    /// Those that fail.
    Answered,
}

impl Goal {
    /// Reads a goal from a threshold.
    ///
    /// # Errors
    ///
    /// If the threshold is not an upper limit of a percentile or of the failed share, or has windows or a stage: the
    /// trials of a search have neither.
    pub fn of(threshold: &Threshold) -> Result<Self, GoalError> {
        let error = |problem| Err(GoalError { text: threshold.to_string(), problem });
        if threshold.over.is_some() || threshold.stage.is_some() {
            return error("a trial has no windows or stages; remove `over` and `stage`");
        }
        if !threshold.relation.wants_small() {
            return error("more load does not raise it beyond a limit from below; write < or <=");
        }
        let nanos = threshold.limit as u64;
        let slow = |percent: f64| {
            let limit = if threshold.relation == Relation::Below { Limit::Below(nanos) } else { Limit::AtMost(nanos) };
            Ok(Self { limit, allowed: 1.0 - percent / 100.0 })
        };
        match threshold.function {
            Function::Percentile(percent) if percent < 100.0 => slow(percent),
            Function::Failed if threshold.limit > 0.0 => Ok(Self { limit: Limit::Answered, allowed: threshold.limit }),
            Function::Percentile(_) | Function::Max | Function::Failed => {
                error("no trial can show that not a single operation misses a limit; write p99.9 or failed<0.1%")
            }
            Function::Mean | Function::Count | Function::Rate => {
                error("a search needs a share of operations; write a percentile such as p99, or failed")
            }
        }
    }

    /// Returns the share of the operations that miss the limit, failed ones included.
    pub fn share(&self, tally: &Tally) -> Share {
        self.share_beyond(tally, Duration::ZERO)
    }

    /// Returns the share of the operations that miss the limit by at least `excess`, failed ones included.
    pub fn share_beyond(&self, tally: &Tally, excess: Duration) -> Share {
        let excess = u64::try_from(excess.as_nanos()).unwrap_or(u64::MAX);
        match self.limit {
            Limit::Below(limit) => tally.at_or_above(limit.saturating_add(excess)),
            Limit::AtMost(limit) => tally.above(limit.saturating_add(excess)),
            Limit::Answered => Share { above: tally.failed(), total: tally.total() },
        }
    }

    /// Returns the share that may miss the limit.
    pub fn allowed(&self) -> f64 {
        self.allowed
    }

    /// Returns the share of operations that a trusted generator may have sent late: half of those that may miss the
    /// limit or fail, so that late ones alone fail no trial.
    ///
    /// ```
    /// use peerloop_measure::Goal;
    ///
    /// let max_late = |goal: &str| Goal::of(&goal.parse().unwrap()).unwrap().max_late();
    /// assert_eq!(max_late("ping_rtt:p99<50ms"), 0.0005);
    /// assert!((max_late("ping_rtt:p99.99<50ms") - 0.00005).abs() < 1e-12);
    /// ```
    pub fn max_late(&self) -> f64 {
        self.allowed.min(MAX_FAILED) / 2.0
    }
}

/// Why a threshold is no goal of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoalError {
    text: String,
    problem: &'static str,
}

impl fmt::Display for GoalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot search for the highest load with `{}`: {}", self.text, self.problem)
    }
}

impl std::error::Error for GoalError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(text: &str) -> Result<Goal, GoalError> {
        Goal::of(&text.parse().expect("the threshold is valid"))
    }

    #[test]
    fn a_goal_agrees_with_its_threshold() {
        let tally = Tally::from_counts([(10, 95), (20, 4)], 1);
        for (text, above) in
            [("a:p99<20ns", 5), ("a:p99<=20ns", 1), ("a:p99<21ns", 1), ("a:p99<10ns", 100), ("a:failed<2%", 1)]
        {
            assert_eq!(goal(text).unwrap().share(&tally), Share { above, total: 100 }, "{text}");
        }
        for (text, excess, above) in
            [("a:p99<10ns", 10, 5), ("a:p99<=10ns", 10, 1), ("a:p99<10ns", 11, 1), ("a:failed<2%", 9, 1)]
        {
            let share = goal(text).unwrap().share_beyond(&tally, Duration::from_nanos(excess));
            assert_eq!(share, Share { above, total: 100 }, "{text} by {excess} ns");
        }
        assert!((goal("a:p99.9<1ms").unwrap().allowed() - 0.001).abs() < 1e-9);
        assert_eq!(goal("a:failed<=0.5%").unwrap().allowed(), 0.005);
    }

    #[test]
    fn conditions_that_no_trial_can_judge_are_refused() {
        for (text, problem) in [
            ("a:p100<1ms", "not a single operation"),
            ("a:max<1ms", "not a single operation"),
            ("a:failed<0", "not a single operation"),
            ("a:mean<1ms", "write a percentile"),
            ("a:rate<1k", "write a percentile"),
            ("a:p99>1ms", "write < or <="),
            ("a:p99<1ms over 2s", "no windows"),
            ("a{stage=1}:p99<1ms", "no windows"),
        ] {
            let error = goal(text).expect_err(text).to_string();
            assert!(error.contains(problem) && error.contains("cannot search"), "{error}");
        }
    }
}
