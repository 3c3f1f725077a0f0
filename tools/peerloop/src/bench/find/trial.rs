//! The result of a trial, from its intervals: the numbers that the search judges, and those of its table.
//!
//! An operation without a reply is slow, and after a while it has failed. Anything that the generator's own lag may
//! have caused never counts against the target. Nothing here waits or reads a clock.

use super::history::History;
use super::load::Sample;
use crate::units::show_latency;
use peerloop_measure::{Distrust, Goal, Reading, Remainder, Share, Tally, Trial};
use std::ops::Range;
use std::time::Duration;

/// An operation without a reply counts as failed after this time, or after that of the goal if it is longer.
pub(super) const FAILED_AFTER: Duration = Duration::from_secs(1);

/// The longest lag that is not late. Only a small share of a trusted trial is late; see [`Goal::max_late`].
const MAX_LAG: Duration = Duration::from_millis(1);

/// Maximum share of a trial in which the generator's thread may be busy.
const MAX_BUSY: f64 = 0.90;

/// The longest lag of a generator whose trial may still count against the target. With a longer one, too many
/// operations are planned in one interval and replied to in another.
const MAX_EXCUSED_LAG: Duration = Duration::from_millis(100);

/// The conditions on a trial.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) goal: Goal,
    /// The latency of the goal, if it has one.
    pub(super) limit: Duration,
    /// The peers that have to be ready.
    pub(super) peers: u64,
    /// The share of the trial in which the generator's thread was busy; `None` if the generator did not answer in time.
    pub(super) busy: Option<f64>,
    /// The generator's lag.
    pub(super) lag: Lag,
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
        // An operation that is unanswered for too long is slow, like one that has failed.
        let tally = with_failed(&sample.latencies, overdue + sample.failed());
        shares.push(conditions.goal.share(&tally));
        all.add(&tally);
    }
    let sum = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>();
    let (planned, answered) = (sum(|sample| sample.planned), sum(|sample| sample.answered));
    let failed = sum(Sample::failed) + conditions.lost;
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

/// The lag of the generator in a trial.
///
/// An operation that is sent much later than the loop woke up has waited for a target that does not read. Such a lag is
/// not the generator's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Lag {
    of_loop: Tally,
    /// The lags of the operations that were answered.
    of_sends: Tally,
    /// The unanswered operations with a lag of the generator's [own](Lag::own).
    pub(super) unanswered: u64,
}

impl Lag {
    pub(super) fn of(history: &History, range: Range<usize>) -> Self {
        let mut lag = Self::default();
        for sample in history.samples(range) {
            lag.of_loop.add(&sample.loop_lag);
            lag.of_sends.add(&sample.send_lag);
        }
        lag
    }

    /// Returns the late lags of operations that the generator's own loop may have caused: up to twice its own, because
    /// the operations that are owed after a pause may meet a second one.
    pub(super) fn own(&self) -> Range<Duration> {
        MAX_LAG..2 * max(&self.of_loop)
    }

    /// Returns the longest time by which the lag may have lengthened a latency: the operation was sent late, among
    /// others that were late, and its reply was read late.
    pub(super) fn excuse(&self) -> Duration {
        let of_loop = max(&self.of_loop);
        2 * max(&self.of_sends).clamp(of_loop, 2 * of_loop)
    }

    /// Returns the operations that the generator sent late.
    fn late_sends(&self) -> u64 {
        let Range { start, end } = self.own();
        let above = |lag: Duration| self.of_sends.above(lag.as_nanos() as u64).above;
        above(start).saturating_sub(above(end)) + self.unanswered
    }

    /// Describes the lag if more than this share is late.
    fn reason(&self, max_late: f64) -> Option<String> {
        let is_too_late = |share: Share| share.ratio().is_some_and(|ratio| ratio > max_late);
        let of_loop = self.of_loop.above(MAX_LAG.as_nanos() as u64);
        let of_sends = Share { above: self.late_sends(), total: self.of_sends.total() + self.unanswered };
        match () {
            () if is_too_late(of_loop) => {
                Some(format!("its loop woke up to {} late", show_latency(max(&self.of_loop))))
            }
            () if is_too_late(of_sends) => {
                let longest = max(&self.of_sends).min(self.own().end);
                Some(format!("it sent up to {} later than planned", show_latency(longest)))
            }
            () => None,
        }
    }
}

fn max(lag: &Tally) -> Duration {
    lag.max().and_then(Reading::finite).map_or(Duration::ZERO, Duration::from_nanos)
}

/// Returns why the generator cannot be trusted in these intervals, if it cannot.
fn distrust(history: &History, range: Range<usize>, conditions: &Conditions) -> Option<Distrust> {
    match conditions.busy {
        None => return Some(Distrust::Busy("it did not answer within a second".to_owned())),
        Some(busy) if busy > MAX_BUSY => {
            return Some(Distrust::Busy(format!("its thread was busy {:.0} % of the time", 100.0 * busy)));
        }
        Some(_) => {}
    }
    let reason = conditions.lag.reason(conditions.goal.max_late())?;
    let is_short = conditions.lag.excuse() <= 2 * MAX_EXCUSED_LAG;
    Some(Distrust::Late { reason, remainder: is_short.then(|| remainder(history, range, conditions)) })
}

/// Returns the evidence against the target that the generator's lag does not explain. It may explain each operation
/// that was sent late or could not be sent, but none that the target refused.
fn remainder(history: &History, range: Range<usize>, conditions: &Conditions) -> Remainder {
    let Conditions { goal, limit, inexcusable, lost, .. } = *conditions;
    let (excuse, late) = (conditions.lag.excuse(), conditions.lag.late_sends());
    let samples = history.samples(range.clone());
    let overdue = spread(history.overdue(range, limit.saturating_add(excuse)), inexcusable);
    let mut excused = late;
    let share = |(sample, overdue): (&Sample, u64)| -> Share {
        let rest = overdue.saturating_sub(excused);
        excused -= overdue - rest;
        goal.share_beyond(&with_failed(&sample.latencies, rest + sample.broken), excuse)
    };
    let completed = samples.iter().map(|sample| sample.answered + sample.absent).sum::<u64>();
    Remainder {
        shares: samples.iter().zip(overdue).map(share).collect(),
        completed: completed + late,
        failed: lost.min(inexcusable).saturating_sub(late) + samples.iter().map(|sample| sample.broken).sum::<u64>(),
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
            busy: Some(0.5),
            lag: Lag::default(),
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
            broken: 0,
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
        let Lag { of_loop, of_sends, .. } = Lag::of(&history, 10..30);
        let lag = Lag { of_loop, of_sends, unanswered: conditions.lag.unanswered };
        let conditions = &Conditions { lag, ..conditions.clone() };
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
    fn refused_operations_fail_even_with_a_late_generator() {
        let refuses = |refused| Sample {
            answered: 100 - refused,
            broken: refused,
            latencies: Tally::from_counts([(MILLI, 100 - refused)], 0),
            ..good()
        };
        let often = |sample: fn(&Sample) -> Sample, refused| {
            move |index: usize| if index.is_multiple_of(2) { sample(&refuses(refused)) } else { sample(&good()) }
        };
        let (verdict, reason, measured) = judged(often(Sample::clone, 1), &conditions());
        assert_eq!((verdict, measured.failed), (TrialVerdict::RatherFail, 10), "{reason}");
        assert_eq!(reason.to_string(), "0.50 % of the operations failed");
        let late = |sample: &Sample| Sample { loop_lag: Tally::from_counts([(3 * MILLI, 100)], 0), ..sample.clone() };
        assert_eq!(judged(often(late, 0), &conditions()).0, TrialVerdict::Pass);
        assert_eq!(judged(often(late, 10), &conditions()).0, TrialVerdict::Fail);
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
        assert_untrusted(|_| good(), &Conditions { busy: Some(0.95), ..conditions() }, part);
        let part = "it did not answer within a second";
        assert_untrusted(|_| good(), &Conditions { busy: None, ..conditions() }, part);
        let part = "its loop woke up to 2.00 ms late";
        assert_untrusted(lagging(2 * MILLI, 1_000, slow(52)), &conditions(), part);
        let part = "it sent up to 1.50 ms later than planned";
        assert_untrusted(lagging(MILLI / 2 + MILLI / 3, 3 * MILLI / 2, slow(52)), &conditions(), part);
        for (loop_lag, send_lag) in [(1_000, 20 * MILLI), (2 * MILLI, 5_000 * MILLI)] {
            let (verdict, reason, _) = judged(lagging(loop_lag, send_lag, slow(60)), &conditions());
            assert_eq!((verdict, reason.to_string().starts_with("100.00 % miss")), (TrialVerdict::Fail, true));
        }
    }

    #[test]
    fn a_few_late_operations_are_a_doubt_about_a_goal_for_a_few_operations() {
        let goal = Goal::of(&"a:p99.9<5ms".parse().unwrap()).unwrap();
        let conditions = Conditions { goal, limit: Duration::from_millis(5), ..conditions() };
        let late = |count| {
            let of = |value| Tally::from_counts([(value, 1_000 - count), (10 * MILLI, count)], 0);
            let pause = Tally::from_counts([(1_000, 9_999), (10 * MILLI, 1)], 0);
            let (latencies, send_lag) = (of(MILLI), of(1_000));
            move |_| Sample {
                planned: 1_000,
                answered: 1_000,
                latencies: latencies.clone(),
                send_lag: send_lag.clone(),
                loop_lag: pause.clone(),
                ..good()
            }
        };
        assert_eq!(judged(late(0), &conditions).0, TrialVerdict::Pass);
        assert_untrusted(late(5), &conditions, "it sent up to 10.0 ms later than planned");
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
        let unanswered = |unanswered| Conditions { lag: Lag { unanswered, ..Lag::default() }, ..lost(100) };
        assert_eq!(judged(|_| late(0, 0), &unanswered(60)).0, TrialVerdict::Fail);
        assert_untrusted(|_| late(0, 0), &unanswered(80), "its loop woke up");
        // Of 100 lost operations, 60 were sent late; 40 of 2,000 fail a trial, and 20 do not.
        assert_eq!(judged(|_| late(0, 3), &lost(100)).0, TrialVerdict::Fail);
        assert_untrusted(|_| late(0, 4), &lost(100), "its loop woke up");
        assert_untrusted(|_| late(0, 3), &lost(0), "its loop woke up");
    }
}
