//! The evidence of all trials about every tested load, and the bounds that follow.
//!
//! One noisy trial never decides for good. A generator that is not trusted twice in a row bounds a load provisionally,
//! and five times in a row for good. A pass or a fail of a short trial is provisional. It is firm if a long trial
//! is clear, if most of the long trials of a load agree (the rule of MLRsearch), or if two short trials fail. A firm
//! fail voids every pass above it, because a load that is known to fail is never below the answer. A firm pass voids
//! provisional fails below it.

use super::trial::TrialVerdict;
use std::collections::BTreeMap;
use std::time::Duration;

/// The largest part of the long trials of a load that may fail while the load passes.
const EXCEED_RATIO: f64 = 0.5;

/// The number of untrusted trials in a row after which the generator is the limit for good: more than are made at once.
const FIRMLY_UNTRUSTED: u32 = 5;

/// The state of the knowledge about a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It passes.
    Pass { is_firm: bool },
    /// It fails because of the target.
    Fail { is_firm: bool },
    /// The generator is not trusted there.
    Generator { is_firm: bool },
    /// A long trial has to decide.
    Unclear,
}

/// The trials of one load.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    short_passes: u32,
    short_fails: u32,
    /// The time of the long trials whose point estimates met all goals, and of the others.
    long_good: Duration,
    long_bad: Duration,
    /// The verdict of the last long trial that was clear.
    clear: Option<bool>,
    /// Whether a confirming run failed.
    is_refuted: bool,
    /// The trials in a row whose generator was not trusted.
    untrusted: u32,
    /// The long trials in a row whose point estimates met all goals.
    confirmations: u32,
}

impl Evidence {
    fn status(&self, duration_sum: Duration) -> Status {
        let total = duration_sum.as_secs_f64();
        let (good, bad) = (self.long_good.as_secs_f64(), self.long_bad.as_secs_f64());
        let has_long = good + bad > 0.0;
        match self {
            Self { is_refuted: true, .. } => Status::Fail { is_firm: true },
            Self { untrusted: 2.., .. } => Status::Generator { is_firm: self.untrusted >= FIRMLY_UNTRUSTED },
            Self { clear: Some(true), .. } => Status::Pass { is_firm: true },
            Self { clear: Some(false), .. } => Status::Fail { is_firm: true },
            // Even if all missing time were bad, or good.
            Self { .. } if has_long && total - good <= EXCEED_RATIO * total => Status::Pass { is_firm: true },
            Self { .. } if has_long && bad > EXCEED_RATIO * total => Status::Fail { is_firm: true },
            // Clear in a short trial, and not contradicted since.
            Self { short_passes: 1.., short_fails: 0, .. } if bad == 0.0 => Status::Pass { is_firm: false },
            Self { .. } if has_long => Status::Unclear,
            Self { short_passes: 0, short_fails: 2.., .. } => Status::Fail { is_firm: true },
            Self { short_passes: 0, short_fails: 1, .. } => Status::Fail { is_firm: false },
            Self { .. } => Status::Unclear,
        }
    }
}

/// The trials of all loads.
#[derive(Clone, Debug)]
pub(super) struct Loads {
    loads: BTreeMap<u64, Evidence>,
    /// The time of long trials after which a load is decided.
    duration_sum: Duration,
}

/// The highest load that passes, and the lowest above it that does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) lower: Option<u64>,
    pub(super) upper: Option<u64>,
}

impl Loads {
    pub(super) fn new(duration_sum: Duration) -> Self {
        Self { loads: BTreeMap::new(), duration_sum }
    }

    /// Adds a trial. `long` is its length if it was a long one.
    pub(super) fn add(&mut self, load: u64, verdict: TrialVerdict, long: Option<Duration>) {
        let evidence = self.loads.entry(load).or_default();
        if verdict != TrialVerdict::Generator {
            evidence.untrusted = 0;
        }
        match (verdict, long) {
            (TrialVerdict::Generator, _) => evidence.untrusted += 1,
            (TrialVerdict::Pass, None) => evidence.short_passes += 1,
            (TrialVerdict::Fail, None) => evidence.short_fails += 1,
            (TrialVerdict::RatherPass | TrialVerdict::RatherFail, None) => {}
            (_, Some(length)) => {
                if verdict.is_good() {
                    evidence.long_good += length;
                    evidence.confirmations += 1;
                } else {
                    evidence.long_bad += length;
                    evidence.confirmations = 0;
                }
                match verdict {
                    TrialVerdict::Pass => evidence.clear = Some(true),
                    TrialVerdict::Fail => evidence.clear = Some(false),
                    TrialVerdict::RatherPass | TrialVerdict::RatherFail | TrialVerdict::Generator => {}
                }
            }
        }
    }

    /// Notes that a confirming run of the load failed.
    pub(super) fn refute(&mut self, load: u64) {
        self.loads.entry(load).or_default().is_refuted = true;
    }

    /// Returns what is known about the load; `None` before its first trial.
    pub(super) fn status(&self, load: u64) -> Option<Status> {
        self.loads.get(&load).map(|evidence| evidence.status(self.duration_sum))
    }

    /// Returns how many of the load's last trials were not trusted.
    pub(super) fn untrusted(&self, load: u64) -> u32 {
        self.loads.get(&load).map_or(0, |evidence| evidence.untrusted)
    }

    /// Returns the lowest load above this one at which the target fails.
    pub(super) fn failing_above(&self, lower: u64) -> Option<u64> {
        let mut above = self.loads.range(lower + 1..);
        let fails = |evidence: &Evidence| matches!(evidence.status(self.duration_sum), Status::Fail { .. });
        above.find(|(_, evidence)| fails(evidence)).map(|(&load, _)| load)
    }

    /// Returns whether the generator is not trusted at this load, even after repetitions.
    pub(super) fn is_untrusted(&self, load: u64) -> bool {
        matches!(self.status(load), Some(Status::Generator { .. }))
    }

    /// Returns the number of long trials in a row that the load has passed.
    pub(super) fn confirmations(&self, load: u64) -> u32 {
        self.loads.get(&load).map_or(0, |evidence| evidence.confirmations)
    }

    pub(super) fn bounds(&self) -> Bounds {
        let statuses: Vec<(u64, Status)> =
            self.loads.iter().map(|(&load, evidence)| (load, evidence.status(self.duration_sum))).collect();
        let firm_fail = |&&(_, status): &&(u64, Status)| {
            matches!(status, Status::Fail { is_firm: true } | Status::Generator { is_firm: true })
        };
        let firm_upper = statuses.iter().find(firm_fail).map_or(u64::MAX, |&(load, _)| load);
        let firm_lower = statuses
            .iter()
            .rev()
            .find(|&&(load, status)| load < firm_upper && status == Status::Pass { is_firm: true })
            .map_or(0, |&(load, _)| load);
        let upper = statuses.iter().find(|&&(load, status)| match status {
            Status::Fail { .. } | Status::Generator { .. } => load > firm_lower,
            Status::Pass { .. } | Status::Unclear => false,
        });
        let upper = upper.map(|&(load, _)| load);
        let passes = |&&(load, status): &&(u64, Status)| {
            matches!(status, Status::Pass { .. }) && upper.is_none_or(|upper| load < upper)
        };
        Bounds { lower: statuses.iter().rev().find(passes).map(|&(load, _)| load), upper }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TrialVerdict::{Fail, Generator, Pass, RatherFail, RatherPass};

    const LONG: Option<Duration> = Some(Duration::from_secs(10));
    const FIRM_PASS: Option<Status> = Some(Status::Pass { is_firm: true });
    const FIRM_FAIL: Option<Status> = Some(Status::Fail { is_firm: true });

    fn loads(trials: &[(u64, TrialVerdict, Option<Duration>)]) -> Loads {
        let mut loads = Loads::new(Duration::from_secs(30));
        trials.iter().for_each(|&(load, verdict, long)| loads.add(load, verdict, long));
        loads
    }

    fn status(trials: &[(TrialVerdict, Option<Duration>)]) -> Option<Status> {
        let trials: Vec<_> = trials.iter().map(|&(verdict, long)| (7, verdict, long)).collect();
        loads(&trials).status(7)
    }

    #[test]
    fn short_trials_are_provisional() {
        assert_eq!(status(&[]), None);
        assert_eq!(status(&[(Pass, None)]), Some(Status::Pass { is_firm: false }));
        assert_eq!(status(&[(Fail, None)]), Some(Status::Fail { is_firm: false }));
        assert_eq!(status(&[(Fail, None), (Fail, None)]), FIRM_FAIL);
        assert_eq!(status(&[(Fail, None), (Pass, None)]), Some(Status::Unclear));
        assert_eq!(status(&[(RatherPass, None)]), Some(Status::Unclear));
    }

    #[test]
    fn long_trials_decide_if_they_are_clear_or_agree() {
        assert_eq!(status(&[(Fail, None), (Pass, LONG)]), FIRM_PASS);
        assert_eq!(status(&[(Pass, None), (Fail, LONG)]), FIRM_FAIL);
        assert_eq!(status(&[(RatherPass, LONG)]), Some(Status::Unclear));
        assert_eq!(status(&[(Pass, None), (RatherPass, LONG)]), Some(Status::Pass { is_firm: false }));
        assert_eq!(status(&[(RatherPass, LONG), (RatherFail, LONG)]), Some(Status::Unclear));
        assert_eq!(status(&[(RatherPass, LONG), (RatherFail, LONG), (RatherPass, LONG)]), FIRM_PASS);
        assert_eq!(status(&[(RatherPass, LONG), (RatherFail, LONG), (RatherFail, LONG)]), FIRM_FAIL);
    }

    #[test]
    fn one_untrusted_trial_may_be_an_accident() {
        assert_eq!(status(&[(Generator, None)]), Some(Status::Unclear));
        assert_eq!(status(&[(Generator, None), (Pass, None)]), Some(Status::Pass { is_firm: false }));
        let two = [(Pass, None), (Generator, None), (Generator, LONG)];
        assert_eq!(status(&two), Some(Status::Generator { is_firm: false }));
        assert_eq!(status(&[&two[..], &two[1..]].concat()), Some(Status::Generator { is_firm: false }));
        assert_eq!(status(&[&two[..], &two[1..], &two[1..2]].concat()), Some(Status::Generator { is_firm: true }));
        assert_eq!(status(&[&two[..], &two[..1]].concat()), Some(Status::Pass { is_firm: false }));
    }

    #[test]
    fn a_lower_bound_above_a_confirmed_upper_bound_is_void() {
        let bounds = |trials: &[_]| {
            let Bounds { lower, upper } = loads(trials).bounds();
            (lower, upper)
        };
        assert_eq!(bounds(&[(10, Pass, None), (20, Pass, None), (40, Fail, None)]), (Some(20), Some(40)));
        assert_eq!(bounds(&[(10, Pass, None), (20, Pass, LONG), (15, Fail, LONG)]), (Some(10), Some(15)));
        // A provisional fail below a firm pass is noise, below a provisional pass it counts until it is tested again.
        assert_eq!(bounds(&[(10, Pass, None), (20, Pass, LONG), (15, Fail, None)]), (Some(20), None));
        assert_eq!(bounds(&[(10, Pass, None), (20, Pass, None), (15, Fail, None)]), (Some(10), Some(15)));
        assert_eq!(bounds(&[(10, Fail, None)]), (None, Some(10)));
        assert_eq!(bounds(&[(10, RatherPass, None)]), (None, None));
    }

    #[test]
    fn a_load_whose_generator_is_not_trusted_is_no_fail_of_the_target() {
        let untrusted = [(10, Pass, None), (20, Generator, None), (20, Generator, None), (40, Fail, None)];
        let found = loads(&untrusted);
        assert_eq!(found.bounds(), Bounds { lower: Some(10), upper: Some(20) });
        assert_eq!((found.is_untrusted(20), found.is_untrusted(40), found.is_untrusted(15)), (true, false, false));
        assert_eq!(
            (found.failing_above(10), found.failing_above(39), found.failing_above(40)),
            (Some(40), Some(40), None)
        );
    }

    #[test]
    fn confirmations_are_passes_in_a_row() {
        let mut found = loads(&[(7, Pass, None), (7, Pass, LONG), (7, RatherPass, LONG)]);
        assert_eq!((found.confirmations(7), found.confirmations(8)), (2, 0));
        found.add(7, RatherFail, LONG);
        assert_eq!(found.confirmations(7), 0);
        found.refute(7);
        assert_eq!(found.status(7), FIRM_FAIL);
    }
}
