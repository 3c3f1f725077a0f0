//! Carries out the steps of a search with a load.
//!
//! The driver has no clock: its time is that of the load's intervals. A trial consists of whole intervals, and the
//! interval in which the load was changed belongs to the settling time.

use super::history::History;
use super::load::{Load, Sample};
use super::terms::shown;
use super::trial::{Conditions, FAILED_AFTER, Lag, Measured, evaluate};
use crate::bench::min_peers::MinPeers;
use crate::units::show_seconds;
use peerloop_measure::{
    Answer, Goal, Search, SearchOutcome, SearchSettings, Searched, SettingsError, Step, TRIAL_INTERVAL, Tally, TrialRow,
};
use std::ops::Range;
use std::time::Duration;

/// How long an operation without a reply is kept in flight after the load has changed: long enough for a slow reply.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2);

/// The longest time for the peers of a load to become ready or to fail, in addition to the time of their dials.
const MAX_DIAL_TIME: Duration = Duration::from_secs(15);

/// The share of the operations that a target which copes has to answer.
const ANSWERED: f64 = 0.9;

/// The task of a search, and the conditions on its trials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) goal: Goal,
    pub(super) settings: SearchSettings,
    /// The latency of the goal, if it has one.
    pub(super) limit: Duration,
    /// The number of peers, if the rate is searched; 0 if the load keeps no peers.
    pub(super) peers: u64,
    pub(super) min_peers: MinPeers,
    /// Dials per second.
    pub(super) connect_rate: f64,
}

/// The result of a search.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(super) outcome: SearchOutcome,
    pub(super) trials: Vec<(TrialRow, Measured)>,
    /// The time of all trials and recoveries.
    pub(super) spent: Duration,
    /// Whether the search was ended before it was done.
    pub(crate) is_cut: bool,
}

/// A search at work.
struct Driver<'a, L> {
    load: &'a mut L,
    task: Task,
    search: Search,
    history: History,
    trials: Vec<(TrialRow, Measured)>,
}

/// Searches with this load until the search is done, or until the load or the user ends it.
///
/// # Errors
///
/// If the settings contradict each other.
pub(super) fn search(load: &mut impl Load, task: Task) -> Result<Found, SettingsError> {
    let search = Search::new(task.goal, task.settings)?;
    let mut driver = Driver { load, task, search, history: History::default(), trials: Vec::new() };
    let is_cut = driver.run().is_none();
    let (outcome, spent) = (driver.search.outcome(), driver.search.spent());
    Ok(Found { outcome, trials: driver.trials, spent, is_cut })
}

impl<L: Load> Driver<'_, L> {
    /// Carries out all steps; `None` if the load has ended before.
    fn run(&mut self) -> Option<()> {
        loop {
            match self.search.step() {
                Step::Trial { load, settle, time, .. } => {
                    if !self.try_load(load, settle, time)? {
                        return Some(());
                    }
                }
                Step::Recover { load, max_p50, calm, at_most } => self.recover(load, max_p50, calm, at_most)?,
                Step::Done => return Some(()),
            }
        }
    }

    /// Makes a trial. Returns whether there was enough time for it after its peers were opened.
    fn try_load(&mut self, load: u64, settle: Duration, time: Duration) -> Option<bool> {
        let begin = self.history.time();
        if !settle.is_zero() {
            self.give_up(GIVE_UP_AFTER.max(self.task.limit));
            self.load.apply(load);
            let left = self.task.settings.time.saturating_sub(self.search.spent());
            if !self.wait_for_peers(load, begin + left.saturating_sub(TRIAL_INTERVAL + settle + time))? {
                return Some(false);
            }
            // The load changes within the next interval.
            self.next(load, "settles")?;
            self.pass(load, settle, "settles")?;
        }
        let (first, before) = (self.history.len(), self.load.busy());
        self.pass(load, time, "is tried")?;
        let after = self.load.busy();
        let (limit, trial) = (self.task.limit, first..self.history.len());
        let mut lag = Lag::of(&self.history, trial.clone());
        let (excuse, own_lags) = (lag.excuse(), lag.own());
        let mut is_silent = false;
        let mut unanswered_since = |wait: Duration, lags: Range<Duration>| {
            let count = self.load.unanswered(wait..time.max(wait), lags);
            is_silent |= count.is_none();
            count.unwrap_or(0)
        };
        let any = Duration::ZERO..Duration::MAX;
        lag.unanswered = unanswered_since(Duration::ZERO, own_lags);
        let overdue = unanswered_since(limit, any.clone());
        let inexcusable = unanswered_since(limit.saturating_add(excuse), any.clone());
        let lost = unanswered_since(limit.max(FAILED_AFTER), any);
        let busy = before.zip(after).filter(|_| !is_silent);
        let conditions = Conditions {
            goal: self.task.goal,
            limit,
            lag,
            overdue,
            inexcusable,
            lost,
            peers: self.required_peers(load),
            busy: busy.map(|(before, after)| share(after.0.saturating_sub(before.0), after.1.saturating_sub(before.1))),
            elapsed: self.history.time().saturating_sub(begin),
        };
        let (trial, measured) = evaluate(&self.history, trial, &conditions);
        self.search.trial_ended(trial);
        self.trials.extend(self.search.rows().last().map(|row| (row.clone(), measured)));
        Some(true)
    }

    /// Waits until the requested peers are ready or have failed. Returns `false` if that lasts until `latest`.
    fn wait_for_peers(&mut self, load: u64, latest: Duration) -> Option<bool> {
        let dials = Duration::try_from_secs_f64(load as f64 / self.task.connect_rate).unwrap_or(Duration::MAX);
        let end = self.history.time().saturating_add(dials).saturating_add(MAX_DIAL_TIME);
        while !self.load.is_settled() && self.history.time() < end {
            if self.history.time() >= latest {
                return Some(false);
            }
            self.next(load, "opens its peers")?;
        }
        Some(true)
    }

    /// Gives up the operations that have waited at least this long.
    fn give_up(&mut self, older_than: Duration) {
        // If their number is unknown, none that is outstanding counts against the target later.
        let count = self.load.give_up(older_than).unwrap_or_else(|| self.history.outstanding());
        self.history.note_given_up(count);
    }

    /// Waits until the target copes with a low load for `calm`, but no longer than `at_most`.
    fn recover(&mut self, load: u64, max_p50: Option<u64>, calm: Duration, at_most: Duration) -> Option<()> {
        self.load.apply(load);
        self.load.restore_peers();
        let (first, begin) = (self.history.len(), self.history.time());
        let required = self.required_peers(load);
        let mut state = Calm::Draining;
        while state != Calm::Reached && self.history.time() < begin + at_most {
            self.next(load, "lets the target recover")?;
            state = calm_since(&self.history, first, calm, max_p50, required);
        }
        let elapsed = self.history.time().saturating_sub(begin);
        let outstanding = if state == Calm::Draining { self.history.outstanding().max(1) } else { 0 };
        self.give_up(calm);
        self.search.recovery_ended(outstanding, elapsed);
        Some(())
    }

    fn required_peers(&self, load: u64) -> u64 {
        let peers = match self.task.settings.searched {
            Searched::Rate => self.task.peers,
            Searched::Peers => load,
        };
        self.task.min_peers.of(peers as usize) as u64
    }

    /// Lets intervals of this total length pass.
    fn pass(&mut self, load: u64, time: Duration, state: &str) -> Option<()> {
        let begin = self.history.time();
        while self.history.time() < begin + time {
            self.next(load, state)?;
        }
        Some(())
    }

    /// Lets an interval pass.
    fn next(&mut self, load: u64, state: &str) -> Option<()> {
        let sample = self.load.next()?;
        self.history.push(sample);
        let best = match self.search.outcome().answer {
            Answer::Number { load, .. } | Answer::AtLeast { load, .. } => self.shown(load),
            Answer::Nothing { .. } => "-".to_owned(),
        };
        let (trial, load, time) = (self.trials.len() + 1, self.shown(load), show_seconds(self.search.spent()));
        self.load.show(&format!("search  trial {trial}: {load} {state}  best {best}  {time} of trials"));
        Some(())
    }

    fn shown(&self, load: u64) -> String {
        shown(self.task.settings.searched, load)
    }
}

/// Returns the share of a time; 0 of no time.
fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

/// How far a target has recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calm {
    /// It still answers operations from before, or nothing.
    Draining,
    /// It answers no earlier operation any more, but is not as fast as before or lacks peers.
    Slow,
    /// It copes.
    Reached,
}

/// Judges the last intervals of a recovery that began with the interval `first`.
///
/// Operations that the target has dropped are never answered, so it is not required that none is outstanding. It is
/// required that no reply to an operation from before the recovery has arrived for the time `calm`.
fn calm_since(history: &History, first: usize, calm: Duration, max_p50: Option<u64>, required: u64) -> Calm {
    let end = history.len();
    let Some(begin) = (first + 1..end).rev().find(|&begin| history.length(begin..end) >= calm) else {
        return Calm::Draining;
    };
    let (mut sum, mut latencies, mut is_old) = (Sample::default(), Tally::default(), false);
    for (index, sample) in (begin..end).zip(history.samples(begin..end)) {
        sum.planned += sample.planned;
        sum.absent += sample.absent;
        sum.answered += sample.answered;
        latencies.add(&sample.latencies);
        let since = history.length(first..index + 1);
        is_old |= sample.latencies.max().is_some_and(|max| max.as_f64() > since.as_nanos() as f64);
    }
    // One operation may be on its way.
    let is_answered = (sum.answered + sum.absent + 1) as f64 >= ANSWERED * sum.planned as f64;
    let is_fast = latencies.percentile(50.0).is_none_or(|p50| max_p50.is_none_or(|max| p50.as_f64() <= max as f64));
    let has_peers = history.samples(end - 1..end).iter().all(|sample| sample.peers >= required);
    match (is_old || !is_answered, is_fast && has_peers) {
        (true, _) => Calm::Draining,
        (false, true) => Calm::Reached,
        (false, false) => Calm::Slow,
    }
}
