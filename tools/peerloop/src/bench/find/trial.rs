//! The result of a trial, from its intervals: the numbers that the search judges, and those of its table.

use super::history::History;
use crate::units::show_latency;
use peerloop_measure::{Goal, Reading, Tally, Trial};
use std::ops::Range;
use std::time::Duration;

/// An operation without a reply counts as failed after this time, or after that of the goal if it is longer.
pub(super) const FAILED_AFTER: Duration = Duration::from_secs(1);

/// Maximum lag of the generator, at the 99th percentile, for a trial to be trusted.
const MAX_LAG: Duration = Duration::from_millis(1);

/// Maximum share of a trial in which the generator's thread may be busy.
const MAX_BUSY: f64 = 0.90;

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
        let failed = Tally::from_counts([], overdue + sample.absent);
        let mut tally = sample.latencies.clone();
        tally.add(&failed);
        shares.push(conditions.goal.share(&tally));
        all.add(&tally);
    }
    let sum = |of: fn(&super::load::Sample) -> u64| samples.iter().map(of).sum::<u64>();
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
        distrust: distrust(history, range.clone(), conditions.busy),
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

/// Returns why the generator cannot be trusted in these intervals, if it cannot.
///
/// Operations that are late although the loop is punctual wait for a target that does not read: then the target is the
/// limit.
fn distrust(history: &History, range: Range<usize>, busy: f64) -> Option<String> {
    let (mut loop_lag, mut send_lag) = (Tally::default(), Tally::default());
    for sample in history.samples(range) {
        loop_lag.add(&sample.loop_lag);
        send_lag.add(&sample.send_lag);
    }
    let lag = |tally: &Tally, percent| {
        tally.percentile(percent).and_then(Reading::finite).map_or(Duration::ZERO, Duration::from_nanos)
    };
    let (of_loop, of_sends) = (lag(&loop_lag, 99.0), lag(&send_lag, 99.0));
    let is_own = lag(&loop_lag, 100.0) >= of_sends / 2;
    match () {
        () if of_loop > MAX_LAG => Some(format!("its loop woke up to {} late (p99)", show_latency(of_loop))),
        () if of_sends > MAX_LAG && is_own => {
            Some(format!("it sent up to {} later than planned (p99)", show_latency(of_sends)))
        }
        () if busy > MAX_BUSY => Some(format!("its thread was busy {:.0} % of the time", 100.0 * busy)),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Sample;
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

    #[test]
    fn a_late_or_busy_generator_is_not_trusted_but_one_that_waits_for_the_target_is() {
        let lag = |loop_lag, send_lag| {
            move |_| Sample {
                loop_lag: Tally::from_counts([(loop_lag, 100)], 0),
                send_lag: Tally::from_counts([(send_lag, 100)], 0),
                ..good()
            }
        };
        let untrusted = |sample: &dyn Fn(usize) -> Sample, busy, part: &str| {
            let (verdict, reason, _) = judged(sample, &Conditions { busy, ..conditions() });
            assert_eq!(verdict, TrialVerdict::Generator);
            assert!(reason.to_string().contains(part), "{reason}");
        };
        untrusted(&lag(2 * MILLI, 1_000), 0.5, "its loop woke up to 2.00 ms late (p99)");
        untrusted(&lag(MILLI / 2 + MILLI / 3, 3 * MILLI / 2), 0.5, "it sent up to 1.50 ms later than planned");
        untrusted(&|_| good(), 0.95, "its thread was busy 95 % of the time");
        let (verdict, ..) = judged(lag(1_000, 20 * MILLI), &conditions());
        assert_eq!(verdict, TrialVerdict::Pass);
    }
}
