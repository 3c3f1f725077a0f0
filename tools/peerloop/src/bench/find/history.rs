//! The intervals of a load so far, and the operations that are without a reply.
//!
//! Which operations are unanswered is not recorded, so their number in each interval is a lower bound: at the end of an
//! interval, at least those operations have waited for longer than a time that were due before it, less all that have
//! ended since. A late reply lowers this number again, so only its lasting growth counts, in the interval in which it
//! grew. The bound shows when many operations are not answered; how many are is asked for at the end of a trial.

use super::load::Sample;
use std::ops::Range;
use std::time::Duration;

/// The intervals so far.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: Vec<Sample>,
    /// The totals up to the end of each interval.
    totals: Vec<Totals>,
    given_up: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    end: Duration,
    planned: u64,
    /// Operations that were answered, failed, could not be sent, or were given up.
    ended: u64,
    /// Those of them that were given up.
    given_up: u64,
}

impl History {
    /// Adds the next interval.
    pub(super) fn push(&mut self, sample: Sample) {
        let before = self.totals.last().copied().unwrap_or_default();
        self.totals.push(Totals {
            end: before.end + sample.length,
            planned: before.planned + sample.planned,
            ended: before.ended + sample.answered + sample.failed() + self.given_up - before.given_up,
            given_up: self.given_up,
        });
        self.samples.push(sample);
    }

    /// Adds operations that were given up.
    pub(super) fn note_given_up(&mut self, count: u64) {
        self.given_up += count;
    }

    /// Returns the number of intervals.
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns the time of all intervals.
    pub(super) fn time(&self) -> Duration {
        self.totals.last().map_or(Duration::ZERO, |totals| totals.end)
    }

    /// Returns these intervals.
    pub(super) fn samples(&self, range: Range<usize>) -> &[Sample] {
        &self.samples[range]
    }

    /// Returns the length of these intervals.
    pub(super) fn length(&self, range: Range<usize>) -> Duration {
        self.samples[range].iter().map(|sample| sample.length).sum()
    }

    /// Returns how many operations are without a reply.
    pub(super) fn outstanding(&self) -> u64 {
        self.totals.last().map_or(0, |totals| totals.planned.saturating_sub(totals.ended))
    }

    /// Returns how many operations have become overdue in each of these intervals and are still unanswered at the end
    /// of the range: those that have waited for at least `patience`.
    pub(super) fn overdue(&self, range: Range<usize>, patience: Duration) -> Vec<u64> {
        let Range { start, end } = range;
        // The first count is that of the begin of the range.
        let mut counts: Vec<u64> = (start..=end).map(|number| self.overdue_after(number, patience)).collect();
        for index in (1..counts.len()).rev() {
            counts[index - 1] = counts[index - 1].min(counts[index]);
        }
        counts.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Returns at least how many operations are overdue at the end of the first `number` intervals: those that were due
    /// before, less those of them that have ended. A reply is one to a later operation if its latency says so.
    fn overdue_after(&self, number: usize, patience: Duration) -> u64 {
        let Some(now) = number.checked_sub(1).map(|index| self.totals[index]) else { return 0 };
        let Some(due) = now.end.checked_sub(patience) else { return 0 };
        let first = self.totals.partition_point(|totals| totals.end <= due);
        let planned = first.checked_sub(1).map_or(0, |index| self.totals[index].planned);
        let later = (first + 1..number).map(|index| {
            let since = self.totals[index - 1].end - due;
            let latencies = &self.samples[index].latencies;
            latencies.total() - latencies.at_or_above(since.as_nanos() as u64).above
        });
        planned.saturating_sub(now.ended.saturating_sub(later.sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop_measure::Tally;

    const LENGTH: Duration = Duration::from_millis(100);

    /// Returns intervals with these numbers of planned, absent and answered operations.
    fn history(counts: &[(u64, u64, u64)]) -> History {
        let mut history = History::default();
        for &(planned, absent, answered) in counts {
            let latencies = Tally::from_counts([(1_000, answered)], 0);
            history.push(Sample { length: LENGTH, planned, absent, answered, latencies, ..Sample::default() });
        }
        history
    }

    #[test]
    fn operations_without_a_reply_are_overdue_and_keep_their_number() {
        // From the third interval on, 30 of 100 operations are never answered.
        let mut counts = vec![(100, 0, 100); 2];
        counts.extend([(100, 0, 70); 30]);
        let history = history(&counts);
        assert_eq!(history.outstanding(), 900);
        let overdue = history.overdue(12..32, LENGTH);
        assert_eq!((overdue.len(), overdue.iter().sum::<u64>()), (20, 600));
        assert!(overdue.iter().all(|&count| count == 30), "{overdue:?}");
        let long = history.overdue(12..32, 5 * LENGTH);
        assert!(long.iter().all(|&count| count == 30), "{long:?}");
        // A shorter wait than an interval is not visible.
        assert_eq!(history.overdue(12..32, LENGTH / 2), overdue);
    }

    #[test]
    fn late_replies_are_not_overdue_at_the_end() {
        let history = history(&[(100, 0, 100), (100, 0, 0), (100, 0, 0), (100, 0, 300), (100, 0, 100)]);
        assert_eq!(history.overdue(0..5, LENGTH), [0; 5]);
        assert_eq!(history.overdue(0..3, LENGTH), [0, 0, 100]);
        assert_eq!(history.length(1..3), 2 * LENGTH);
    }

    #[test]
    fn operations_that_could_not_be_sent_or_were_given_up_are_not_overdue() {
        let mut history = history(&[(100, 0, 100), (100, 40, 60), (100, 0, 0), (100, 0, 0)]);
        assert_eq!(history.overdue(0..4, LENGTH), [0, 0, 0, 100]);
        history.note_given_up(200);
        history.push(Sample { length: LENGTH, planned: 100, answered: 100, ..Sample::default() });
        assert_eq!((history.overdue(0..5, LENGTH), history.outstanding()), (vec![0; 5], 0));
        assert_eq!((history.len(), history.time()), (5, 5 * LENGTH));
    }
}
