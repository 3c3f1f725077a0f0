//! The timeline: the counted part of a run, by interval.
//!
//! The first interval begins when the counted part starts. A ping counts as planned and sent in the interval of its
//! planned moment, a reply in the interval of its arrival, and a lost peer in the interval of its loss. The intervals
//! continue through the drain after the planned end, so that every reply is in an interval.
//!
//! An interval uses 72 bytes. A run of up to a day has intervals of one second, in total at most about 6 MiB; a longer
//! run has longer intervals instead of more. All intervals share one histogram. Computing an interval's percentiles
//! costs the loop about 13 us, measured with optimised code and latencies up to 3 ms.

use super::schedule::Rate;
use crate::stats::histogram::{LatencyHistogram, LatencySummary};
use crate::time::Instant;
use std::time::Duration;

/// The shortest interval.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of intervals in a run, not counting its drain: one per second for a day.
const MAX_INTERVALS: u32 = 86_400;

/// One interval of the counted part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interval {
    /// The end, from the start of the counted part. Only the last interval may be shorter than the others.
    pub end: Duration,
    /// Pings due in the interval.
    pub planned: u64,
    /// Due pings that were sent.
    pub sent: u64,
    /// Replies that arrived in the interval.
    pub answered: u64,
    /// The median latency of these replies, from the planned moment; `None` without a reply.
    pub p50: Option<Duration>,
    /// The 99th percentile of these latencies.
    pub p99: Option<Duration>,
    /// The largest of these latencies.
    pub max: Option<Duration>,
    /// Peers that were ready at the interval's end.
    pub peers: usize,
    /// Peers lost in the interval.
    pub lost: usize,
}

/// The intervals while they are being counted.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    interval: Duration,
    rate: Rate,
    began: Instant,
    /// Peers that were ready at the start.
    peers: usize,
    /// Peers lost since the start.
    lost: usize,
    rows: Vec<Row>,
    /// The latencies of the interval with the index `current`.
    latencies: LatencyHistogram,
    current: usize,
    /// Time from the start to the last reply or loss.
    last: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    sent: u64,
    answered: u64,
    lost: usize,
    p50: Option<Duration>,
    p99: Option<Duration>,
    max: Option<Duration>,
}

const _: () = assert!(size_of::<Row>() == 72, "a row does not have its documented size of 72 bytes");

impl Timeline {
    /// Returns a timeline for a run of this length.
    pub(super) fn new(duration: Duration, rate: Rate) -> Self {
        Self {
            interval: interval_of(duration),
            rate,
            began: Instant::MAX,
            peers: 0,
            lost: 0,
            rows: Vec::new(),
            latencies: LatencyHistogram::new(),
            current: 0,
            last: Duration::ZERO,
        }
    }

    /// Starts the timeline with this many ready peers.
    pub(super) fn begin(&mut self, now: Instant, peers: usize) {
        (self.began, self.peers) = (now, peers);
    }

    pub(super) fn note_sent(&mut self, planned: Instant) {
        let index = self.index_at(planned);
        self.row(index).sent += 1;
    }

    pub(super) fn note_answered(&mut self, received: Instant, latency: Duration) {
        self.note_event(received).answered += 1;
        self.latencies.record(latency);
    }

    pub(super) fn note_lost(&mut self, now: Instant) {
        self.note_event(now).lost += 1;
        self.lost += 1;
    }

    /// Returns the last interval that is over at `now`; `None` before the end of the first interval.
    pub(super) fn latest(&mut self, now: Instant) -> Option<Interval> {
        if self.began > now {
            return None;
        }
        let index = self.index_at(now);
        self.seal(index);
        let before = index.checked_sub(1)?;
        let lost = self.lost - self.rows.get(index).map_or(0, |row| row.lost);
        Some(self.interval(before, self.peers.saturating_sub(lost), now.since(self.began)))
    }

    /// Returns the intervals' length, and the intervals up to the end of the schedule or up to the last event,
    /// whichever is later.
    pub(super) fn into_intervals(mut self, scheduled: Duration) -> (Duration, Vec<Interval>) {
        self.seal(usize::MAX);
        let of_schedule = scheduled.as_nanos().div_ceil(self.interval.as_nanos()) as usize;
        self.rows.resize(self.rows.len().max(of_schedule), Row::default());
        let mut left = self.peers;
        let intervals = self.rows.iter().enumerate().map(|(index, row)| {
            left = left.saturating_sub(row.lost);
            self.interval(index, left, scheduled)
        });
        (self.interval, intervals.collect())
    }

    /// Returns the interval with this index. `peers` were ready at its end.
    fn interval(&self, index: usize, peers: usize, scheduled: Duration) -> Interval {
        let edge = |index: usize| self.interval.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
        let (begin, end) = (edge(index), edge(index + 1));
        let due_by = |edge: Duration| self.rate.count_in(edge.min(scheduled));
        let Row { sent, answered, lost, p50, p99, max } = self.rows.get(index).copied().unwrap_or_default();
        Interval {
            end: end.min(scheduled.max(self.last)),
            planned: due_by(end) - due_by(begin),
            sent,
            answered,
            p50,
            p99,
            max,
            peers,
            lost,
        }
    }

    /// Returns the row for an event at `now`, and closes the rows before it.
    fn note_event(&mut self, now: Instant) -> &mut Row {
        self.last = self.last.max(now.since(self.began));
        let index = self.index_at(now);
        self.seal(index);
        self.row(index)
    }

    /// Closes the intervals before `index`.
    fn seal(&mut self, index: usize) {
        if index <= self.current {
            return;
        }
        if self.latencies.count() > 0 {
            let LatencySummary { p50, p99, max, .. } = self.latencies.summary();
            let current = self.current;
            let row = self.row(current);
            (row.p50, row.p99, row.max) = (p50, p99, max);
            self.latencies.clear();
        }
        self.current = index;
    }

    fn row(&mut self, index: usize) -> &mut Row {
        if self.rows.len() <= index {
            self.rows.resize(index + 1, Row::default());
        }
        &mut self.rows[index]
    }

    fn index_at(&self, moment: Instant) -> usize {
        (moment.since(self.began).as_nanos() / self.interval.as_nanos()) as usize
    }
}

/// Returns the length of the intervals for a run of this length: a whole number of seconds.
fn interval_of(duration: Duration) -> Duration {
    let seconds = duration.as_secs().div_ceil(u64::from(MAX_INTERVALS));
    MIN_INTERVAL.max(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Instant = Instant::from_nanos(123_456_789);

    fn at(millis: u64) -> Instant {
        BEGAN.plus(Duration::from_millis(millis))
    }

    fn timeline(duration: Duration) -> Timeline {
        let mut timeline = Timeline::new(duration, Rate::per_second(2));
        timeline.begin(BEGAN, 3);
        timeline
    }

    #[test]
    fn intervals_are_exact_and_contain_every_reply() {
        let mut timeline = timeline(Duration::from_millis(2_600));
        assert_eq!(timeline.latest(at(999)), None);
        for planned in [0, 500, 1_000, 2_000] {
            timeline.note_sent(at(planned));
        }
        timeline.note_answered(at(999), Duration::from_micros(7));
        timeline.note_lost(at(1_999));
        timeline.note_answered(at(2_000), Duration::from_micros(9));
        timeline.note_answered(at(3_100), Duration::from_micros(8));
        let latest = timeline.latest(at(3_100)).unwrap();
        assert_eq!((latest.end, latest.answered, latest.p50), (Duration::from_secs(3), 1, nanos(9_007)));
        let (interval, intervals) = timeline.into_intervals(Duration::from_millis(2_600));
        assert_eq!(interval, Duration::from_secs(1));
        let row = |end, [planned, sent, answered]: [u64; 3], latency: Option<Duration>, peers, lost| Interval {
            end: Duration::from_millis(end),
            planned,
            sent,
            answered,
            p50: latency,
            p99: latency,
            max: latency,
            peers,
            lost,
        };
        let expected = [
            row(1_000, [2, 2, 1], nanos(7_003), 3, 0),
            row(2_000, [2, 1, 0], None, 2, 1),
            row(3_000, [2, 1, 1], nanos(9_007), 2, 0),
            row(3_100, [0, 0, 1], nanos(8_003), 2, 0),
        ];
        assert_eq!(intervals, expected);
    }

    fn nanos(nanos: u64) -> Option<Duration> {
        Some(Duration::from_nanos(nanos))
    }

    #[test]
    fn every_interval_of_the_schedule_is_reported_even_without_events() {
        let (_, intervals) = timeline(Duration::from_secs(4)).into_intervals(Duration::from_secs(4));
        let planned: Vec<(u64, u64, usize)> =
            intervals.iter().map(|row| (row.planned, row.answered, row.peers)).collect();
        assert_eq!(planned, [(2, 0, 3); 4]);
        let (_, none) = timeline(Duration::ZERO).into_intervals(Duration::ZERO);
        assert_eq!(none, []);
    }

    #[test]
    fn a_long_run_has_longer_intervals_instead_of_more() {
        const DAY_SECS: u64 = 86_400;
        let seconds = |run_secs| interval_of(Duration::from_secs(run_secs)).as_secs();
        assert_eq!([0, 10, DAY_SECS, DAY_SECS + 1, 100 * DAY_SECS].map(seconds), [1, 1, 1, 2, 100]);
    }
}
