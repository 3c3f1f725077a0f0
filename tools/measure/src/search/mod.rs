//! The search for the highest load that meets a goal, as a state machine without a clock.
//!
//! [`Search::step`] says what to do next: a trial at a load, a recovery after an overload, or nothing more. The caller
//! does it, in real or simulated time, and reports the result. The steps:
//!
//! 1. Climb from the low end of the range by doubling the load, with short trials. A first value that fails is halved.
//! 2. Halve the gap between the highest load that passes and the lowest that fails, on a logarithmic scale, until it is
//!    narrow. A trial that is not clear is repeated as a long one; if that is not clear either, most of three decide.
//! 3. Confirm the load that passes by several long trials. After the first of them, the load that fails is tested again
//!    if it failed only in one short trial. A confirming run that fails lowers the load, by one width, then by two, by
//!    four and so on, and the gap is halved again with long trials.
//!
//! After each trial that was not good, the target recovers at a low load. A target that an overload harms for longer
//! than that gives a lower answer: the load that it copes with after an overload.
//!
//! A trial that says nothing because of its generator is repeated: up to three times if the generator was busy, and
//! twice, the second time as a long trial, if it was late. A load at which no repetition is trusted either bounds the
//! search like one that fails. Then the answer is a number of the target only if the target fails at a load that is
//! close. If the first load is one of them, the search ends.

mod answer;
mod evidence;
mod goal;
mod settings;
mod trial;

pub use answer::{Answer, Bound, End, SearchOutcome, TrialRow};
pub use goal::{Goal, GoalError};
pub use settings::{SearchSettings, Searched, SettingsError};
pub use trial::{Distrust, Reason, Remainder, TRIAL_INTERVAL, Trial, TrialVerdict};

use evidence::{Bounds, Loads, Status};
use std::time::Duration;

/// How often an untrusted trial is repeated at once, if its generator was busy or late. If each trial is disturbed with
/// a chance of 20 %, a whole search is misled in 1 of 100.
const MAX_BUSY_REPETITIONS: u32 = 3;
const MAX_LATE_REPETITIONS: u32 = 2;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Apply the load; then call [`Search::trial_ended`].
    Trial {
        /// The load: operations per second, or peers.
        load: u64,
        /// The time before the trial, whose operations do not count.
        settle: Duration,
        /// The length of the trial.
        time: Duration,
        /// Why the trial is needed.
        purpose: Purpose,
    },
    /// Lower the load and wait, until the target has coped with it for `calm`: no operation of the trial is
    /// outstanding, and the median latency is low again. But wait no longer than `at_most`. Then call
    /// [`Search::recovery_ended`].
    Recover {
        /// The load during the wait.
        load: u64,
        /// The median latency, in nanoseconds, at which the target counts as recovered; `None` if no trial has passed.
        max_p50: Option<u64>,
        /// How long the target has to cope with the load.
        calm: Duration,
        /// The longest time to wait.
        at_most: Duration,
    },
    /// The search has ended; see [`Search::outcome`].
    Done,
}

/// Why a trial is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To find a load that fails.
    Climb,
    /// To find a load that passes.
    Descend,
    /// To narrow the gap between both.
    Bisect,
    /// To decide a load whose trials are not clear.
    Decide,
    /// To test a load again that failed in one short trial.
    Recheck,
    /// To confirm the answer.
    Confirm,
}

/// The state of a search.
///
/// ```
/// use peerloop_measure::{Answer, Goal, Search, SearchSettings, Searched, Share, Step, Trial};
/// use std::time::Duration;
///
/// let goal = Goal::of(&"ping_rtt:p99<50ms".parse().unwrap()).unwrap();
/// let mut search = Search::new(goal, SearchSettings::new(Searched::Rate, 1_000, 100_000)).unwrap();
/// loop {
///     match search.step() {
///         Step::Trial { load, settle, time, .. } => {
///             // A target that answers at most 20,000 operations per second in time.
///             let intervals = time.as_millis() as u64 / 100;
///             let share = Share { above: if load > 20_000 { load / 20 } else { 0 }, total: load / 10 };
///             let operations = intervals * share.total;
///             search.trial_ended(Trial {
///                 shares: vec![share; intervals as usize],
///                 planned: operations,
///                 completed: operations,
///                 elapsed: settle + time,
///                 ..Trial::default()
///             });
///         }
///         Step::Recover { .. } => search.recovery_ended(0, Duration::from_secs(1)),
///         Step::Done => break,
///     }
/// }
/// let outcome = search.outcome();
/// let Answer::Number { load, .. } = outcome.answer else { panic!("{outcome:?}") };
/// assert!((19_600..=20_000).contains(&load) && outcome.confirmations == 3);
/// ```
#[derive(Clone, Debug)]
pub struct Search {
    goal: Goal,
    settings: SearchSettings,
    loads: Loads,
    rows: Vec<TrialRow>,
    spent: Duration,
    /// The trial to repeat, because its generator was not trusted.
    repeat: Option<(u64, Duration, Purpose)>,
    /// Whether the target has to recover before the next trial.
    must_recover: bool,
    /// The factor of the next load while climbing.
    climb: f64,
    /// How many confirming runs in a row have failed.
    retreats: u32,
    /// Whether a confirming run has contradicted short trials, so that only long ones are used.
    is_long_only: bool,
    /// Whether there is no time to narrow the gap further.
    is_out_of_time: bool,
    /// The number by which the load of a recovery is divided further, because the target did not recover at more.
    recovery_divisor: u64,
    /// Whether the target has recovered each time.
    has_recovered: bool,
}

impl Search {
    /// Returns a search at its begin.
    ///
    /// # Errors
    ///
    /// If the settings contradict each other.
    pub fn new(goal: Goal, settings: SearchSettings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            goal,
            loads: Loads::new(settings.duration_sum),
            settings,
            rows: Vec::new(),
            spent: Duration::ZERO,
            repeat: None,
            must_recover: false,
            climb: 2.0,
            retreats: 0,
            is_long_only: false,
            is_out_of_time: false,
            recovery_divisor: 1,
            has_recovered: true,
        })
    }

    /// Returns the next step. Without a result in between, the answer stays the same.
    pub fn step(&self) -> Step {
        if !self.has_recovered {
            return Step::Done;
        }
        let Some((load, time, purpose)) = self.next_trial() else { return Step::Done };
        if self.must_recover {
            return self.recovery(load);
        }
        let settle = if self.is_settled_at(load) { Duration::ZERO } else { self.settings.settle };
        Step::Trial { load, settle, time, purpose }
    }

    fn recovery(&self, next: u64) -> Step {
        let load = match self.settings.searched {
            Searched::Rate => self.rows.last().map_or(next, |row| row.load) / 10,
            // Nine of ten connections closed and opened again would be a load of its own.
            Searched::Peers => self.loads.bounds().lower.unwrap_or(next / 2),
        };
        let load = (load / self.recovery_divisor).max(1);
        let max_p50 = self.good_p50(load).map(|p50| p50 + p50 / 2);
        let at_most = self.settings.max_recovery.min(self.settings.time.saturating_sub(self.spent));
        Step::Recover { load, max_p50, calm: self.settings.calm, at_most }
    }

    /// Returns the longest median latency of the good trials at the lowest load that is not below this one; without
    /// such a load, of those at the highest one. Latencies grow with the number of peers, so the target need not be as
    /// fast as at a lower load.
    fn good_p50(&self, load: u64) -> Option<u64> {
        let good = || self.rows.iter().filter(|row| row.verdict.is_good());
        let near =
            good().map(|row| row.load).filter(|&one| one >= load).min().or_else(|| good().map(|row| row.load).max())?;
        good().filter(|row| row.load == near).filter_map(|row| row.p50).max()
    }

    /// The load is applied already, and the target has coped with it.
    fn is_settled_at(&self, load: u64) -> bool {
        self.rows.last().is_some_and(|row| row.load == load && row.verdict.is_good())
    }

    fn next_trial(&self) -> Option<(u64, Duration, Purpose)> {
        if !self.is_out_of_time
            && let Some(next) = self.deciding_trial()
        {
            return Some(next);
        }
        let lower = self.loads.bounds().lower?;
        let is_confirmed = self.loads.confirmations(lower) >= self.settings.confirmations;
        let long = self.settings.long;
        (!is_confirmed && self.has_time(long)).then_some((lower, long, Purpose::Confirm))
    }

    /// Returns the repetition of an untrusted trial, or the next trial that narrows the gap; `None` if it is narrow.
    fn deciding_trial(&self) -> Option<(u64, Duration, Purpose)> {
        self.repeat.or_else(|| self.narrowing_trial())
    }

    /// Returns the next trial that narrows the gap; `None` if it is narrow, or if there is no trusted load to begin
    /// with.
    fn narrowing_trial(&self) -> Option<(u64, Duration, Purpose)> {
        let open = self.rows.last().map(|row| row.load);
        if let Some(load) = open.filter(|&load| self.loads.status(load) == Some(Status::Unclear)) {
            return Some((load, self.settings.long, Purpose::Decide));
        }
        let SearchSettings { low, high, .. } = self.settings;
        let (load, purpose) = match self.loads.bounds() {
            Bounds { lower: None, upper: None } => (low, Purpose::Climb),
            Bounds { lower: None, upper: Some(1) } => return None,
            Bounds { lower: None, upper: Some(upper) } if self.loads.is_untrusted(upper) => return None,
            Bounds { lower: None, upper: Some(upper) } => (upper / 2, Purpose::Descend),
            Bounds { lower: Some(lower), upper: None } if lower >= high => return None,
            Bounds { lower: Some(lower), upper: None } => {
                (((lower as f64 * self.climb) as u64).clamp(lower + 1, high), Purpose::Climb)
            }
            Bounds { lower: Some(lower), upper: Some(upper) } => {
                if let Some(fails) = self.limit_of_target(self.loads.bounds()).filter(|&fails| fails != upper) {
                    return self.recheck(lower, fails);
                }
                if self.settings.is_narrow(lower, upper) {
                    return self.recheck(lower, upper);
                }
                match self.retreats {
                    0 => (middle(lower, upper), Purpose::Bisect),
                    retreats => (self.settings.below(upper, retreats).max(lower), Purpose::Confirm),
                }
            }
        };
        Some((load, self.length(load), purpose))
    }

    /// Returns the load at which the target fails, if the answer is a number of the target: that load is the upper
    /// bound, or it is close although the generator could not be trusted at a load in between.
    fn limit_of_target(&self, Bounds { lower, upper }: Bounds) -> Option<u64> {
        let (lower, upper) = lower.zip(upper)?;
        let fails = self.loads.failing_above(lower)?;
        (fails == upper || self.settings.is_nearly_narrow(lower, fails)).then_some(fails)
    }

    /// Returns another trial of a load that only provisionally does not pass, and before it a long one of the load that
    /// passes: it confirms that load, and an overload's effects have ended then.
    fn recheck(&self, lower: u64, upper: u64) -> Option<(u64, Duration, Purpose)> {
        match self.loads.status(upper) {
            Some(Status::Fail { is_firm: false } | Status::Generator { is_firm: false }) => {}
            Some(Status::Pass { .. } | Status::Fail { .. } | Status::Generator { .. } | Status::Unclear) | None => {
                return None;
            }
        }
        Some(match self.loads.confirmations(lower) {
            0 => (lower, self.settings.long, Purpose::Confirm),
            _ => (upper, self.length(upper), Purpose::Recheck),
        })
    }

    /// Returns the length of a first trial of this load: a short one if it can be clear.
    fn length(&self, load: u64) -> Duration {
        let can_be_clear = self.settings.can_be_clear(load, self.goal.allowed());
        if self.is_long_only || !can_be_clear { self.settings.long } else { self.settings.short }
    }

    fn has_time(&self, trial: Duration) -> bool {
        // The load changes within an interval, which counts nowhere.
        self.spent + TRIAL_INTERVAL + self.settings.settle + trial <= self.settings.time
    }

    /// Reports the result of the trial that [`Search::step`] has asked for. Ignored if it has asked for none.
    pub fn trial_ended(&mut self, trial: Trial) {
        let Step::Trial { load, time, purpose, .. } = self.step() else { return };
        let (verdict, reason) = trial.judge(&self.goal);
        let is_long = time >= self.settings.long;
        let has_failed = matches!(self.loads.status(load), Some(Status::Fail { .. }));
        let was_bound = has_failed && self.loads.bounds().upper == Some(load);
        self.loads.add(load, verdict, is_long.then_some(time));
        let distrust = trial.distrust.as_ref().map(|distrust| distrust.reason().to_owned());
        self.rows.push(TrialRow { load, time, purpose, verdict, reason, distrust, p50: trial.p50 });
        self.spent += trial.elapsed;
        self.must_recover = !verdict.is_good();
        let was_late = matches!(trial.distrust, Some(Distrust::Late { .. }));
        self.repeat = match (self.loads.untrusted(load), was_late) {
            (1, _) | (2..=MAX_BUSY_REPETITIONS, false) => Some((load, time, purpose)),
            (MAX_LATE_REPETITIONS, true) => Some((load, self.settings.long, purpose)),
            _ => None,
        };
        if purpose == Purpose::Confirm {
            self.note_confirmation(load, verdict);
        }
        if was_bound && verdict.is_good() {
            // The bound was noise. The next load that fails is probably near.
            self.climb = 1.0 + 2.0 * self.settings.width;
        } else if purpose == Purpose::Climb && self.repeat.is_none() {
            self.climb = (self.climb * self.climb).min(2.0);
        }
        self.note_time();
    }

    fn note_confirmation(&mut self, load: u64, verdict: TrialVerdict) {
        match verdict {
            TrialVerdict::Pass | TrialVerdict::RatherPass => self.retreats = 0,
            TrialVerdict::Fail | TrialVerdict::RatherFail => {
                self.loads.refute(load);
                self.retreats += 1;
                self.is_long_only = true;
            }
            TrialVerdict::Generator => {}
        }
    }

    /// Stops narrowing the gap if the next trial and a recovery after it would use the time that confirming runs need.
    fn note_time(&mut self) {
        let Some((_, time, _)) = self.deciding_trial() else { return };
        let SearchSettings { confirmations, settle, long, calm, .. } = self.settings;
        let has_answer = self.loads.bounds().lower.is_some();
        let reserve = if has_answer { long * confirmations + settle * 2 + calm } else { Duration::ZERO };
        self.is_out_of_time |= !self.has_time(time + reserve);
    }

    /// Reports that the target has recovered or that the longest time for it has passed. `outstanding` is the number of
    /// operations that are still unanswered. With any of them, the next step is a recovery at a tenth of the load;
    /// after a recovery at the lowest load, the search ends.
    pub fn recovery_ended(&mut self, outstanding: u64, elapsed: Duration) {
        let Step::Recover { load, .. } = self.step() else { return };
        self.spent += elapsed;
        self.must_recover = outstanding > 0;
        self.has_recovered = outstanding == 0 || load > 1;
        if outstanding > 0 {
            self.recovery_divisor = self.recovery_divisor.saturating_mul(10);
        }
        self.note_time();
    }

    /// Returns the table of trials.
    pub fn rows(&self) -> &[TrialRow] {
        &self.rows
    }

    /// Returns the time that all trials and recoveries have needed.
    pub fn spent(&self) -> Duration {
        self.spent
    }

    /// Returns the answer that the trials so far give.
    pub fn outcome(&self) -> SearchOutcome {
        let bounds = self.loads.bounds();
        let end = match self.has_recovered {
            false => End::NotRecovered,
            true if self.is_settled(bounds) => End::Narrow,
            true => End::Time,
        };
        let confirmations = bounds.lower.map_or(0, |lower| self.loads.confirmations(lower));
        // Without a load that passes, any failing load bounds the target.
        let fails = match bounds.lower {
            Some(_) => self.limit_of_target(bounds),
            None => self.loads.failing_above(0),
        };
        let answer = answer::of(bounds, fails, &self.rows, self.settings.high);
        SearchOutcome { answer, end, confirmations: confirmations.min(self.settings.confirmations) }
    }

    /// Returns whether the answer needs no more time.
    fn is_settled(&self, bounds: Bounds) -> bool {
        let is_confirmed = |lower| self.loads.confirmations(lower) >= self.settings.confirmations;
        bounds.lower.is_none_or(is_confirmed) && self.narrowing_trial().is_none()
    }
}

/// Returns the load in the middle of a wide gap, on a logarithmic scale.
fn middle(lower: u64, upper: u64) -> u64 {
    let middle = (lower as f64 * upper as f64).sqrt().round() as u64;
    middle.clamp(lower + 1, upper - 1)
}
