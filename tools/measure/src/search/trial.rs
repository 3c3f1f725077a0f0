//! The judgement of one trial.
//!
//! A trial passes if it meets every goal beyond doubt, and fails if it misses one beyond doubt. Otherwise it is
//! unclear, and its point estimates say on which side it lies. If the generator was not trusted, the trial says nothing
//! about the target: neither a pass nor a fail.

use super::goal::Goal;
use crate::share::ShareInterval;
use crate::tally::Share;
use std::fmt;
use std::time::Duration;

/// The length of the intervals of which a trial reports its shares.
pub const TRIAL_INTERVAL: Duration = Duration::from_millis(100);

/// The share of the planned operations that have to be completed within the trial.
const MIN_COMPLETED: f64 = 0.99;

/// The share of the operations that may fail.
const MAX_FAILED: f64 = 0.001;

/// How long completions may be delayed at a trial's end without being missing beyond doubt.
const EDGE: Duration = Duration::from_millis(100);

/// The result of a trial, without its settling time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trial {
    /// For each interval of [`TRIAL_INTERVAL`], the share of operations that miss the goal; see [`Goal::share`]. An
    /// operation that is unanswered at the trial's end misses the goal if it has waited longer than the goal allows;
    /// otherwise it counts nowhere.
    pub shares: Vec<Share>,
    /// The operations that were planned within the trial.
    pub planned: u64,
    /// The operations, planned at any time, that were answered within the trial. In a steady state they are as many as
    /// planned.
    pub completed: u64,
    /// The operations that failed.
    pub failed: u64,
    /// The peers that should have been ready during the whole trial, but were lost or refused.
    pub missing_peers: u64,
    /// The median latency, in nanoseconds.
    pub p50: Option<u64>,
    /// Why the generator is not trusted, in a few words; `None` if it is trusted.
    pub distrust: Option<String>,
    /// The whole time that the trial needed, its settling time included.
    pub elapsed: Duration,
}

/// The verdict of a trial on its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialVerdict {
    /// All goals are met.
    Pass,
    /// A goal is missed.
    Fail,
    /// More time is needed; the point estimates meet all goals.
    RatherPass,
    /// More time is needed; a point estimate misses its goal.
    RatherFail,
    /// The generator was not trusted.
    Generator,
}

impl TrialVerdict {
    /// Returns whether the point estimates of a trusted trial meet all goals.
    pub fn is_good(self) -> bool {
        match self {
            Self::Pass | Self::RatherPass => true,
            Self::Fail | Self::RatherFail | Self::Generator => false,
        }
    }
}

/// The value that decided a trial.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The share of operations that miss the goal's limit, with its interval if there is one, and the allowed share.
    Goal {
        /// The share.
        ratio: f64,
        /// The interval of the share.
        bounds: Option<(f64, f64)>,
        /// The allowed share.
        allowed: f64,
    },
    /// Too few of the planned operations were completed: this share of them.
    Completed(f64),
    /// Too many operations failed: this share of them.
    Failed(f64),
    /// So many peers were lost or refused.
    MissingPeers(u64),
    /// No operation was planned or none has a result.
    NoData,
    /// The generator was not trusted, because of this.
    Untrusted(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        match self {
            Self::Goal { ratio, bounds, allowed } => {
                write!(f, "{} miss the limit", percent(*ratio))?;
                if let Some((low, high)) = bounds {
                    write!(f, " [{}, {}]", percent(*low), percent(*high))?;
                }
                write!(f, ", {} may", percent(*allowed))
            }
            Self::Completed(share) => write!(f, "only {} of the planned operations were completed", percent(*share)),
            Self::Failed(share) => write!(f, "{} of the operations failed", percent(*share)),
            Self::MissingPeers(1) => f.write_str("1 peer was lost or refused"),
            Self::MissingPeers(count) => write!(f, "{count} peers were lost or refused"),
            Self::NoData => f.write_str("nothing was measured"),
            Self::Untrusted(reason) => write!(f, "the generator was the limit: {reason}"),
        }
    }
}

impl Trial {
    /// Judges the trial by the goal and by the conditions of every search.
    pub fn judge(&self, goal: &Goal) -> (TrialVerdict, Reason) {
        if let Some(reason) = &self.distrust {
            return (TrialVerdict::Generator, Reason::Untrusted(reason.clone()));
        }
        if self.missing_peers > 0 {
            return (TrialVerdict::Fail, Reason::MissingPeers(self.missing_peers));
        }
        let by_goal = self.judge_share(goal);
        let others = [self.judge_completed(), self.judge_failed()].into_iter().flatten();
        // The worst verdict counts, and the goal's own reason among equals.
        std::iter::once(by_goal).chain(others).min_by_key(|(verdict, _)| badness(*verdict)).unwrap_or_else(no_data)
    }

    fn judge_share(&self, goal: &Goal) -> (TrialVerdict, Reason) {
        let (above, total) =
            self.shares.iter().fold((0, 0), |(above, total), share| (above + share.above, total + share.total));
        let Some(ratio) = Share { above, total }.ratio() else { return no_data() };
        let allowed = goal.allowed();
        let interval = ShareInterval::of(&self.shares);
        let verdict = match interval {
            Some(interval) if interval.high <= allowed => TrialVerdict::Pass,
            Some(interval) if interval.low > allowed => TrialVerdict::Fail,
            Some(_) | None if ratio <= allowed => TrialVerdict::RatherPass,
            Some(_) | None => TrialVerdict::RatherFail,
        };
        let bounds = interval.map(|interval| (interval.low, interval.high));
        (verdict, Reason::Goal { ratio, bounds, allowed })
    }

    /// A stall at the trial's end delays completions beyond it, so a small deficit is a matter of doubt.
    fn judge_completed(&self) -> Option<(TrialVerdict, Reason)> {
        let share = Share { above: self.completed, total: self.planned }.ratio()?;
        let time = TRIAL_INTERVAL.as_secs_f64() * self.shares.len() as f64;
        let edge = EDGE.as_secs_f64() / time;
        let verdict = if share < MIN_COMPLETED - edge { TrialVerdict::Fail } else { TrialVerdict::RatherFail };
        (share < MIN_COMPLETED).then_some((verdict, Reason::Completed(share)))
    }

    /// Failures are clustered, so few of them are a matter of doubt.
    fn judge_failed(&self) -> Option<(TrialVerdict, Reason)> {
        let share = Share { above: self.failed, total: self.planned }.ratio()?;
        let verdict = if share > 10.0 * MAX_FAILED { TrialVerdict::Fail } else { TrialVerdict::RatherFail };
        (share > MAX_FAILED).then_some((verdict, Reason::Failed(share)))
    }
}

fn no_data() -> (TrialVerdict, Reason) {
    (TrialVerdict::Fail, Reason::NoData)
}

/// The order in which verdicts count, from the worst on.
fn badness(verdict: TrialVerdict) -> u8 {
    match verdict {
        TrialVerdict::Generator => 0,
        TrialVerdict::Fail => 1,
        TrialVerdict::RatherFail => 2,
        TrialVerdict::RatherPass => 3,
        TrialVerdict::Pass => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal() -> Goal {
        Goal::of(&"a:p99<50ms".parse().unwrap()).unwrap()
    }

    /// A trial of two seconds with 2,000 operations, of which this many in every tenth interval are slow.
    fn trial(slow: u64) -> Trial {
        let share = |index: u64| Share { above: if index.is_multiple_of(10) { slow } else { 0 }, total: 100 };
        Trial { shares: (0..20).map(share).collect(), planned: 2_000, completed: 2_000, ..Trial::default() }
    }

    fn verdict(trial: &Trial) -> TrialVerdict {
        trial.judge(&goal()).0
    }

    #[test]
    fn the_share_of_slow_operations_passes_fails_or_is_unclear() {
        assert_eq!(verdict(&trial(0)), TrialVerdict::Pass);
        assert_eq!(verdict(&trial(1)), TrialVerdict::Pass);
        assert_eq!(verdict(&trial(8)), TrialVerdict::RatherPass);
        assert_eq!(verdict(&trial(15)), TrialVerdict::RatherFail);
        let overloaded = Trial { shares: vec![Share { above: 10, total: 100 }; 20], ..trial(0) };
        assert_eq!(verdict(&overloaded), TrialVerdict::Fail);
        // Too few intervals for an interval of the share: the estimate alone is never clear.
        let coarse = |above| Trial { shares: vec![Share { above, total: 1_000 }; 2], ..trial(0) };
        assert_eq!((verdict(&coarse(0)), verdict(&coarse(50))), (TrialVerdict::RatherPass, TrialVerdict::RatherFail));
    }

    #[test]
    fn operations_that_are_not_completed_fail_a_trial() {
        let completed = |completed| verdict(&Trial { completed, ..trial(0) });
        assert_eq!((completed(1_980), completed(1_979)), (TrialVerdict::Pass, TrialVerdict::RatherFail));
        // A stall of 100 ms at the end of 2 s delays 5 % of the completions.
        assert_eq!((completed(1_881), completed(1_879)), (TrialVerdict::RatherFail, TrialVerdict::Fail));
        let failed = |failed| verdict(&Trial { failed, ..trial(0) });
        assert_eq!((failed(2), failed(3)), (TrialVerdict::Pass, TrialVerdict::RatherFail));
        assert_eq!((failed(20), failed(21)), (TrialVerdict::RatherFail, TrialVerdict::Fail));
    }

    #[test]
    fn a_lost_peer_or_missing_data_fails_a_trial() {
        assert_eq!(verdict(&Trial { missing_peers: 1, ..trial(0) }), TrialVerdict::Fail);
        assert_eq!(Trial::default().judge(&goal()), (TrialVerdict::Fail, Reason::NoData));
        let unmeasured = Trial { shares: vec![Share::default(); 20], completed: 0, ..trial(0) };
        assert_eq!(verdict(&unmeasured), TrialVerdict::Fail);
    }

    #[test]
    fn an_untrusted_trial_says_nothing_about_the_target() {
        let distrust = Some("its loop lagged 5 ms".to_owned());
        let (verdict, reason) = Trial { distrust, missing_peers: 3, ..trial(100) }.judge(&goal());
        assert_eq!(verdict, TrialVerdict::Generator);
        assert_eq!(reason.to_string(), "the generator was the limit: its loop lagged 5 ms");
    }

    #[test]
    fn reasons_are_plain() {
        let (_, reason) = trial(15).judge(&goal());
        assert!(reason.to_string().starts_with("1.50 % miss the limit [0."), "{reason}");
        assert!(reason.to_string().ends_with("], 1.00 % may"), "{reason}");
        assert_eq!(Reason::MissingPeers(1).to_string(), "1 peer was lost or refused");
        assert_eq!(Reason::Completed(0.5).to_string(), "only 50.00 % of the planned operations were completed");
    }
}
