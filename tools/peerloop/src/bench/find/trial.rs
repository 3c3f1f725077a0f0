//! The result of a trial, from its intervals: the numbers that the search judges, and those of its table.

use super::history::History;
use super::load::Sample;
use crate::units::show_latency;
use peerloop_measure::{Distrust, Goal, Reading, Remainder, Share, Tally, Trial};
use std::ops::Range;
use std::time::Duration;

/// An operation without a reply counts as failed after this time, or after that of the goal if it is longer.
pub(super) const FAILED_AFTER: Duration = Duration::from_secs(1);

/// Maximum lag of the generator, at the 99th percentile, for a trial to be trusted.
const MAX_LAG: Duration = Duration::from_millis(1);

/// Maximum share of a trial in which the generator's thread may be busy.
const MAX_BUSY: f64 = 0.90;

/// The longest lag of a generator whose trial may still count against the target. With a longer one, too many
/// operations are planned in one interval and replied to in another.
const MAX_EXCUSED_LAG: Duration = Duration::from_millis(100);

/// The conditions on a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    pub(super) goal: Goal,
    /// The latency of the goal, if it has one.
    pub(super) limit: Duration,
    /// The peers that have to be ready.
    pub(super) peers: u64,
    /// The share of the trial in which the generator's thread was busy.
    pub(super) busy: f64,
    /// The operations of the trial that have waited for at least `limit` without a reply.
    pub(super) overdue: u64,
    /// Those of them whose wait is longer than `limit` by more than the generator's [`Lag::excuse`].
    pub(super) inexcusable: u64,
    /// Those of them that have waited for [`FAILED_AFTER`] or for `limit`, if it is longer.
    pub(super) lost: u64,
    /// The whole time that the trial needed.
    pub(super) elapsed: Duration,
}

/// The results of a trial that its table shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) begin: Duration,
    pub(super) length: Duration,
    pub(super) planned: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) missing_peers: u64,
    pub(super) p50: Option<Reading>,
    pub(super) p99: Option<Reading>,
}

/// Evaluates these intervals of a load.
pub(super) fn evaluate(history: &History, range: Range<usize>, conditions: &Conditions) -> (Trial, Measured) {
    let samples = history.samples(range.clone());
    let overdue = spread(history.overdue(range.clone(), conditions.limit), conditions.overdue);
    let mut all = Tally::default();
    let mut shares = Vec::new();
    for (sample, overdue) in samples.iter().zip(overdue) {
        // An operation that is unanswered for too long is slow, like one that could not be sent.
        let tally = with_failed(&sample.latencies, overdue + sample.absent);
        shares.push(conditions.goal.share(&tally));
        all.add(&tally);
    }
    let sum = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>();
    let (planned, answered) = (sum(|sample| sample.planned), sum(|sample| sample.answered));
    let failed = sum(|sample| sample.absent) + conditions.lost;
    let peers = samples.iter().map(|sample| sample.peers).min().unwrap_or(0);
    let missing_peers = conditions.peers.saturating_sub(peers);
    let (p50, p99) = (all.percentile(50.0), all.percentile(99.0));
    let trial = Trial {
        shares,
        planned,
        completed: answered,
        failed,
        missing_peers,
        p50: p50.and_then(Reading::finite),
        distrust: distrust(history, range.clone(), conditions),
        elapsed: conditions.elapsed,
    };
    let length = history.length(range.clone());
    let begin = history.length(0..range.start);
    (trial, Measured { begin, length, planned, answered, failed, missing_peers, p50, p99 })
}

/// Raises the numbers evenly until their sum is `total`. They are lower bounds of numbers with this sum.
fn spread(mut numbers: Vec<u64>, total: u64) -> Vec<u64> {
    let (count, rest) = (numbers.len() as u64, total.saturating_sub(numbers.iter().sum()));
    for (index, number) in (0..).zip(&mut numbers) {
        *number += rest * (index + 1) / count - rest * index / count;
    }
    numbers
}

fn with_failed(latencies: &Tally, failed: u64) -> Tally {
    let mut tally = latencies.clone();
    tally.add(&Tally::from_counts([], failed));
    tally
}

/// The lag of the generator in some intervals.
pub(super) struct Lag {
    of_loop: Tally,
    of_sends: Tally,
}

impl Lag {
    pub(super) fn of(history: &History, range: Range<usize>) -> Self {
        let mut lag = Self { of_loop: Tally::default(), of_sends: Tally::default() };
        for sample in history.samples(range) {
            lag.of_loop.add(&sample.loop_lag);
            lag.of_sends.add(&sample.send_lag);
        }
        lag
    }

    /// Returns the longest time by which the lag may have lengthened a latency: the operation was sent late, among
    /// others that were late, and its reply was read late.
    pub(super) fn excuse(&self) -> Duration {
        2 * percentile(&self.of_loop, 100.0).max(percentile(&self.of_sends, 100.0))
    }

    /// Returns the operations that were sent late.
    fn late_sends(&self) -> u64 {
        self.of_sends.above(MAX_LAG.as_nanos() as u64).above
    }

    /// Describes the lag if it is too long for the generator to be trusted.
    ///
    /// Operations that are late although the loop is punctual wait for a target that does not read: then the target is
    /// the limit.
    fn reason(&self) -> Option<String> {
        let (of_loop, of_sends) = (percentile(&self.of_loop, 99.0), percentile(&self.of_sends, 99.0));
        let is_own = percentile(&self.of_loop, 100.0) >= of_sends / 2;
        match () {
            () if of_loop > MAX_LAG => Some(format!("its loop woke up to {} late (p99)", show_latency(of_loop))),
            () if of_sends > MAX_LAG && is_own => {
                Some(format!("it sent up to {} later than planned (p99)", show_latency(of_sends)))
            }
            () => None,
        }
    }
}

fn percentile(lag: &Tally, percent: f64) -> Duration {
    lag.percentile(percent).and_then(Reading::finite).map_or(Duration::ZERO, Duration::from_nanos)
}

/// Returns why the generator cannot be trusted in these intervals, if it cannot.
fn distrust(history: &History, range: Range<usize>, conditions: &Conditions) -> Option<Distrust> {
    let busy = conditions.busy;
    if busy > MAX_BUSY {
        return Some(Distrust::Busy(format!("its thread was busy {:.0} % of the time", 100.0 * busy)));
    }
    let lag = Lag::of(history, range.clone());
    let reason = lag.reason()?;
    let is_short = lag.excuse() <= 2 * MAX_EXCUSED_LAG;
    Some(Distrust::Late { reason, remainder: is_short.then(|| remainder(history, range, conditions, &lag)) })
}

/// Returns the evidence against the target that the generator's lag does not explain. It may explain each operation
/// that was sent late or could not be sent.
fn remainder(history: &History, range: Range<usize>, conditions: &Conditions, lag: &Lag) -> Remainder {
    let Conditions { goal, limit, inexcusable, lost, .. } = *conditions;
    let (excuse, late) = (lag.excuse(), lag.late_sends());
    let samples = history.samples(range.clone());
    let overdue = spread(history.overdue(range, limit.saturating_add(excuse)), inexcusable);
    let mut excused = late;
    let share = |(sample, overdue): (&Sample, u64)| -> Share {
        let rest = overdue.saturating_sub(excused);
        excused -= overdue - rest;
        goal.share_beyond(&with_failed(&sample.latencies, rest), excuse)
    };
    let completed = samples.iter().map(|sample| sample.answered + sample.absent).sum::<u64>();
    Remainder {
        shares: samples.iter().zip(overdue).map(share).collect(),
        completed: completed + late,
        failed: lost.min(inexcusable).saturating_sub(late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop_measure::{Reason, TrialVerdict};

    const MILLI: u64 = 1_000_000;

    fn conditions() -> Conditions {
        Conditions {
            goal: Goal::of(&"a:p99<50ms".parse().unwrap()).unwrap(),
            limit: Duration::from_millis(50),
            peers: 5,
            busy: 0.5,
            overdue: 0,
            inexcusable: 0,
            lost: 0,
            elapsed: Duration::from_secs(3),
        }
    }

    /// An interval of a good load of 1,000 operations per second.
    fn good() -> Sample {
        Sample {
            length: Duration::from_millis(100),
            planned: 100,
            absent: 0,
            answered: 100,
            peers: 5,
            latencies: Tally::from_counts([(MILLI, 100)], 0),
            send_lag: Tally::from_counts([(1_000, 100)], 0),
            loop_lag: Tally::from_counts([(1_000, 100)], 0),
        }
    }

    /// Judges a trial of two seconds after one second of settling.
    fn judged(sample: impl Fn(usize) -> Sample, conditions: &Conditions) -> (TrialVerdict, Reason, Measured) {
        let mut history = History::default();
        (0..30).for_each(|index| history.push(sample(index)));
        let (trial, measured) = evaluate(&history, 10..30, conditions);
        let (verdict, reason) = trial.judge(&conditions.goal);
        (verdict, reason, measured)
    }

    #[test]
    fn a_good_trial_passes_and_is_measured() {
        let (verdict, _, measured) = judged(|_| good(), &conditions());
        assert_eq!(verdict, TrialVerdict::Pass);
        let p50 = Some(Reading::Finite(MILLI));
        let (begin, length) = (Duration::from_secs(1), Duration::from_secs(2));
        let expected =
            Measured { begin, length, planned: 2_000, answered: 2_000, failed: 0, missing_peers: 0, p50, p99: p50 };
        assert_eq!(measured, expected);
    }

    #[test]
    fn operations_without_a_reply_are_slow_and_after_a_second_failed() {
        let drops = |_| Sample { answered: 60, latencies: Tally::from_counts([(MILLI, 60)], 0), ..good() };
        let unanswered = Conditions { overdue: 780, lost: 400, ..conditions() };
        let (verdict, _, measured) = judged(drops, &unanswered);
        assert_eq!((verdict, measured.answered, measured.failed), (TrialVerdict::Fail, 1_200, 400));
        assert_eq!((measured.p50, measured.p99), (Some(Reading::Finite(MILLI)), Some(Reading::Infinite)));
        // At most 1 operation in 1,000 may fail, even if the goal allows more slow ones.
        let rare = |index: usize| match index % 4 {
            0 => Sample { answered: 98, latencies: Tally::from_counts([(MILLI, 98)], 0), ..good() },
            _ => good(),
        };
        let (verdict, reason, measured) = judged(rare, &Conditions { overdue: 10, lost: 5, ..conditions() });
        assert_eq!((verdict, measured.failed), (TrialVerdict::RatherFail, 5), "{reason}");
        assert_eq!(reason.to_string(), "0.25 % of the operations failed");
        let slow = Conditions { overdue: 400, ..conditions() };
        assert_eq!(judged(rare, &slow).0, TrialVerdict::Fail);
    }

    #[test]
    fn numbers_are_raised_evenly_to_their_sum() {
        assert_eq!(spread(vec![0, 5, 0, 0], 12), [1, 7, 2, 2]);
        assert_eq!(spread(vec![3, 3], 2), [3, 3]);
    }

    #[test]
    fn operations_that_cannot_be_sent_fail_at_once() {
        let full = |index: usize| match index {
            29 => Sample { absent: 100, answered: 0, latencies: Tally::default(), ..good() },
            _ => good(),
        };
        let (verdict, _, measured) = judged(full, &conditions());
        assert_eq!((verdict, measured.failed), (TrialVerdict::Fail, 100));
    }

    #[test]
    fn a_lost_peer_fails_a_trial_even_if_it_returns() {
        let evicts = |index: usize| Sample { peers: if index == 15 { 4 } else { 5 }, ..good() };
        let (verdict, reason, measured) = judged(evicts, &conditions());
        assert_eq!((verdict, reason, measured.missing_peers), (TrialVerdict::Fail, Reason::MissingPeers(1), 1));
        let (verdict, ..) = judged(evicts, &Conditions { peers: 4, ..conditions() });
        assert_eq!(verdict, TrialVerdict::Pass);
    }

    fn lagging(loop_lag: u64, send_lag: u64, sample: Sample) -> impl Fn(usize) -> Sample {
        move |_| Sample {
            loop_lag: Tally::from_counts([(loop_lag, 100)], 0),
            send_lag: Tally::from_counts([(send_lag, 100)], 0),
            ..sample.clone()
        }
    }

    /// An interval whose operations all need this long.
    fn slow(millis: u64) -> Sample {
        Sample { latencies: Tally::from_counts([(millis * MILLI, 100)], 0), ..good() }
    }

    #[track_caller]
    fn assert_untrusted(sample: impl Fn(usize) -> Sample, conditions: &Conditions, part: &str) {
        let (verdict, reason, _) = judged(sample, conditions);
        assert_eq!(verdict, TrialVerdict::Generator, "{reason}");
        assert!(reason.to_string().contains(part), "{reason}");
    }

    #[test]
    fn a_late_or_busy_generator_is_not_trusted_but_one_that_waits_for_the_target_is() {
        let part = "its thread was busy 95 % of the time";
        assert_untrusted(|_| good(), &Conditions { busy: 0.95, ..conditions() }, part);
        let part = "its loop woke up to 2.00 ms late (p99)";
        assert_untrusted(lagging(2 * MILLI, 1_000, slow(52)), &conditions(), part);
        let part = "it sent up to 1.50 ms later than planned";
        assert_untrusted(lagging(MILLI / 2 + MILLI / 3, 3 * MILLI / 2, slow(52)), &conditions(), part);
        let (verdict, reason, _) = judged(lagging(1_000, 20 * MILLI, slow(52)), &conditions());
        assert_eq!((verdict, reason.to_string().starts_with("100.00 % miss")), (TrialVerdict::Fail, true));
    }

    #[test]
    fn a_late_generator_is_no_doubt_if_the_goal_is_met_or_missed_by_more_than_its_lag() {
        let verdict = |millis, lag| judged(lagging(lag * MILLI, 1_000, slow(millis)), &conditions()).0;
        assert_eq!((verdict(49, 8), verdict(49, 300)), (TrialVerdict::Pass, TrialVerdict::Pass));
        // 50 ms and twice the lag.
        assert_eq!((verdict(65, 8), verdict(67, 8)), (TrialVerdict::Generator, TrialVerdict::Fail));
        assert_eq!((verdict(260, 100), verdict(900, 101)), (TrialVerdict::Fail, TrialVerdict::Generator));
    }

    #[test]
    fn operations_that_a_late_generator_sent_late_or_not_at_all_do_not_count_against_the_target() {
        let late = |absent, late| Sample {
            absent,
            answered: 100 - absent,
            latencies: Tally::from_counts([(MILLI, 100 - absent)], 0),
            send_lag: Tally::from_counts([(1_000, 100 - late), (2 * MILLI, late)], 0),
            loop_lag: Tally::from_counts([(3 * MILLI, 100)], 0),
            ..good()
        };
        assert_untrusted(|_| late(30, 0), &conditions(), "its loop woke up");
        let lost = |inexcusable| Conditions { overdue: 200, inexcusable, lost: 100, ..conditions() };
        // Of 100 lost operations, 60 were sent late; 40 of 2,000 fail a trial, and 20 do not.
        assert_eq!(judged(|_| late(0, 3), &lost(100)).0, TrialVerdict::Fail);
        assert_untrusted(|_| late(0, 4), &lost(100), "its loop woke up");
        assert_untrusted(|_| late(0, 3), &lost(0), "its loop woke up");
    }
}
