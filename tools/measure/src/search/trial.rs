//! The judgement of one trial.
//!
//! A trial passes if it meets every goal beyond doubt, and fails if it misses one beyond doubt. Otherwise it is
//! unclear, and its point estimates say on which side it lies.
//!
//! A generator without spare time is at its own limit, so the trial says nothing about the target. A generator that was
//! late only makes a target look slower: it lengthens latencies and bunches operations. So a trial that meets every
//! goal all the same counts. A trial that fails counts only if it also fails by its [`Remainder`].

use super::goal::{Goal, MAX_FAILED};
use crate::share::ShareInterval;
use crate::tally::Share;
use std::fmt;
use std::time::Duration;

/// The length of the intervals of which a trial reports its shares.
pub const TRIAL_INTERVAL: Duration = Duration::from_millis(100);

/// The share of the planned operations that have to be completed within the trial.
const MIN_COMPLETED: f64 = 0.99;

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
    /// Why the generator is not trusted; `None` if it is trusted.
    pub distrust: Option<Distrust>,
    /// The whole time that the trial needed, its settling time included.
    pub elapsed: Duration,
}

/// Why the generator of a trial is not trusted.
#[derive(Clone, Debug, PartialEq)]
pub enum Distrust {
    /// It had no time to spare, in a few words: the load is at its own limit.
    Busy(String),
    /// It was late.
    Late {
        /// How late, in a few words.
        reason: String,
        /// The evidence against the target that lateness does not explain; `None` if it may explain all.
        remainder: Option<Remainder>,
    },
}

/// The evidence of a trial, after every doubt that a late generator raises was decided in favour of the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Remainder {
    /// The shares of operations that miss the goal by more than lateness explains.
    pub shares: Vec<Share>,
    /// The operations that were answered or that lateness may have kept from it.
    pub completed: u64,
    /// The operations that failed for another reason than lateness.
    pub failed: u64,
}

impl Distrust {
    /// Returns the reason in a few words.
    pub fn reason(&self) -> &str {
        match self {
            Self::Busy(reason) | Self::Late { reason, .. } => reason,
        }
    }
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
        let whole = || self.judge_counts(goal, &self.shares, self.completed, self.failed);
        let judged = match &self.distrust {
            None => Some(whole()),
            Some(Distrust::Busy(_)) => None,
            Some(Distrust::Late { remainder, .. }) => {
                Some(whole()).filter(|(verdict, _)| verdict.is_good()).or_else(|| {
                    let Remainder { shares, completed, failed } = remainder.as_ref()?;
                    let rest = self.judge_counts(goal, shares, *completed, *failed);
                    (rest.0 == TrialVerdict::Fail).then_some(rest)
                })
            }
        };
        judged.unwrap_or_else(|| {
            let reason = self.distrust.as_ref().map_or("", Distrust::reason);
            (TrialVerdict::Generator, Reason::Untrusted(reason.to_owned()))
        })
    }

    fn judge_counts(&self, goal: &Goal, shares: &[Share], completed: u64, failed: u64) -> (TrialVerdict, Reason) {
        if self.missing_peers > 0 {
            return (TrialVerdict::Fail, Reason::MissingPeers(self.missing_peers));
        }
        let others = [self.judge_completed(completed), self.judge_failed(failed)].into_iter().flatten();
        // The worst verdict counts, and the goal's own reason among equals.
        let all = std::iter::once(judge_shares(goal, shares)).chain(others);
        all.min_by_key(|(verdict, _)| badness(*verdict)).unwrap_or_else(no_data)
    }

    /// A stall at the trial's end delays completions beyond it, so a small deficit is a matter of doubt.
    fn judge_completed(&self, completed: u64) -> Option<(TrialVerdict, Reason)> {
        let share = Share { above: completed, total: self.planned }.ratio()?;
        let time = TRIAL_INTERVAL.as_secs_f64() * self.shares.len() as f64;
        let edge = EDGE.as_secs_f64() / time;
        let verdict = if share < MIN_COMPLETED - edge { TrialVerdict::Fail } else { TrialVerdict::RatherFail };
        (share < MIN_COMPLETED).then_some((verdict, Reason::Completed(share)))
    }

    /// Failures are clustered, so few of them are a matter of doubt.
    fn judge_failed(&self, failed: u64) -> Option<(TrialVerdict, Reason)> {
        let share = Share { above: failed, total: self.planned }.ratio()?;
        let verdict = if share > 10.0 * MAX_FAILED { TrialVerdict::Fail } else { TrialVerdict::RatherFail };
        (share > MAX_FAILED).then_some((verdict, Reason::Failed(share)))
    }
}

fn judge_shares(goal: &Goal, shares: &[Share]) -> (TrialVerdict, Reason) {
    let (above, total) = shares.iter().fold((0, 0), |(above, total), share| (above + share.above, total + share.total));
    let Some(ratio) = Share { above, total }.ratio() else { return no_data() };
    let allowed = goal.allowed();
    let interval = ShareInterval::of(shares);
    let verdict = match interval {
        Some(interval) if interval.high <= allowed => TrialVerdict::Pass,
        Some(interval) if interval.low > allowed => TrialVerdict::Fail,
        Some(_) | None if ratio <= allowed => TrialVerdict::RatherPass,
        Some(_) | None => TrialVerdict::RatherFail,
    };
    let bounds = interval.map(|interval| (interval.low, interval.high));
    (verdict, Reason::Goal { ratio, bounds, allowed })
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
    fn a_trial_with_a_busy_generator_says_nothing_about_the_target() {
        for slow in [0, 100] {
            let distrust = Some(Distrust::Busy("its thread was busy 95 % of the time".to_owned()));
            let (verdict, reason) = Trial { distrust, missing_peers: slow, ..trial(slow) }.judge(&goal());
            assert_eq!(verdict, TrialVerdict::Generator);
            assert_eq!(reason.to_string(), "the generator was the limit: its thread was busy 95 % of the time");
        }
    }

    /// A trial whose generator was late, which may have made this many operations slow.
    fn late(trial: Trial, remainder: Option<Remainder>) -> (TrialVerdict, Reason) {
        let distrust = Some(Distrust::Late { reason: "its loop woke up to 5 ms late".to_owned(), remainder });
        Trial { distrust, ..trial }.judge(&goal())
    }

    fn remainder(of: Trial) -> Option<Remainder> {
        Some(Remainder { shares: of.shares, completed: of.completed, failed: of.failed })
    }

    #[test]
    fn a_late_generator_makes_no_pass_worse() {
        assert_eq!(late(trial(0), None), trial(0).judge(&goal()));
        assert_eq!(late(trial(8), None), trial(8).judge(&goal()));
        assert_eq!(trial(8).judge(&goal()).0, TrialVerdict::RatherPass);
    }

    #[test]
    fn a_late_generator_excuses_a_fail_that_it_may_have_caused() {
        let overloaded = || Trial { shares: vec![Share { above: 50, total: 100 }; 20], failed: 500, ..trial(0) };
        let untrusted = (TrialVerdict::Generator, Reason::Untrusted("its loop woke up to 5 ms late".to_owned()));
        assert_eq!(late(overloaded(), None), untrusted);
        assert_eq!(late(overloaded(), remainder(trial(0))), untrusted);
        // The rest is a matter of doubt.
        assert_eq!(late(overloaded(), remainder(trial(15))), untrusted);
        assert_eq!(late(overloaded(), remainder(overloaded())), overloaded().judge(&goal()));
        let drops = Trial { failed: 21, ..trial(0) };
        assert_eq!(late(overloaded(), remainder(drops)), (TrialVerdict::Fail, Reason::Failed(0.0105)));
        let behind = Trial { completed: 1_000, ..trial(0) };
        assert_eq!(late(overloaded(), remainder(behind)), (TrialVerdict::Fail, Reason::Completed(0.5)));
        let evicts = Trial { missing_peers: 3, ..trial(0) };
        assert_eq!(late(evicts.clone(), None).0, TrialVerdict::Generator);
        assert_eq!(late(evicts, remainder(trial(0))), (TrialVerdict::Fail, Reason::MissingPeers(3)));
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
