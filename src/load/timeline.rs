//! The timeline: the counted part of a run, by interval.
//!
//! The first interval begins when the counted part starts. An operation counts as planned, sent and failed in the
//! interval of its planned moment, a reply in the interval of its arrival, and a lost peer or a broken operation in the
//! interval of its loss. The intervals continue through the drain after the planned end, so that every reply is in an
//! interval.
//!
//! An interval uses 104 bytes. A run of less than 20 s has intervals of 100 ms, a run of up to a day has intervals of
//! one second, in total at most about 9 MiB, unless the plan sets another length; a longer run has longer intervals
//! instead of more. All intervals share one histogram. Computing an interval's percentiles costs the loop about 13 us,
//! measured with optimised code and latencies up to 3 ms.

use super::interval::Interval;
use super::record::Recording;
use super::schedule::{Schedule, nanos};
use crate::stats::histogram::{LatencyHistogram, LatencySummary};
use crate::time::Instant;
use std::time::Duration;

/// The length of the intervals in a short run.
const SHORT_INTERVAL: Duration = Duration::from_millis(100);

/// A run of at least this length has intervals of at least one second.
const LONG_RUN: Duration = Duration::from_secs(20);

/// Maximum number of intervals in a run, not counting its drain: one per second for a day.
const MAX_INTERVALS: u32 = 86_400;

/// The intervals while they are being counted.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    interval: Duration,
    /// The schedule, if all its operations are planned. Otherwise they are counted one by one.
    schedule: Option<Schedule>,
    /// The number of planned operations in the closed intervals, if they are counted by the schedule.
    scheduled_count: u64,
    /// The length of the schedule.
    scheduled: Duration,
    began: Instant,
    /// Peers that were ready at the start.
    peers: usize,
    /// Peers lost since the start.
    lost: u32,
    /// Peers added since the start, less those closed on purpose.
    added: i32,
    rows: Vec<Row>,
    /// The latencies of the interval with the index `current`.
    latencies: LatencyHistogram,
    /// The index, the begin and the end of the current interval. All earlier intervals are closed.
    current: usize,
    current_begin: Instant,
    current_end: Instant,
    /// Time from the start to the last event.
    last: Duration,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    planned: u64,
    sent: u64,
    answered: u64,
    /// The number of operations due in the interval that were answered in any interval.
    due_and_answered: u64,
    absent: u64,
    /// Operations that failed in the interval.
    broken: u64,
    /// Peers lost in the interval.
    lost: u32,
    /// Peers added in the interval, less those closed on purpose.
    added: i32,
    p50: Option<Duration>,
    p99: Option<Duration>,
    max: Option<Duration>,
}

const _: () = assert!(size_of::<Row>() == 104, "a row does not have its documented size of 104 bytes");

impl Timeline {
    /// Returns a timeline for a run of this length, with intervals of the given or of the default length.
    pub(super) fn new(duration: Duration, interval: Option<Duration>) -> Self {
        Self {
            interval: interval_of(duration, interval),
            schedule: None,
            scheduled_count: 0,
            scheduled: duration,
            began: Instant::MAX,
            peers: 0,
            lost: 0,
            added: 0,
            rows: Vec::new(),
            latencies: LatencyHistogram::new(),
            current: 0,
            current_begin: Instant::MAX,
            current_end: Instant::MAX,
            last: Duration::ZERO,
            has_ended: false,
        }
    }

    /// Starts the timeline with this many ready peers. With a schedule, the timeline counts the planned operations
    /// itself; otherwise each is noted.
    pub(super) fn begin(&mut self, now: Instant, peers: usize, schedule: Option<Schedule>) {
        (self.began, self.peers, self.schedule) = (now, peers, schedule);
        (self.current_begin, self.current_end) = (now, now.plus(self.interval));
    }

    /// Sets the length of the schedule, if the load ends before the planned length.
    pub(super) fn set_scheduled(&mut self, time: Duration) {
        self.scheduled = time;
    }

    /// Returns the next moment at which [`Timeline::advance`] closes an interval; [`Instant::MAX`] if there is none
    /// without a further event.
    pub(super) fn next_end(&self) -> Instant {
        if self.is_current_certain() { self.current_end } else { Instant::MAX }
    }

    /// Returns whether the current interval is part of the timeline even if no further event occurs.
    fn is_current_certain(&self) -> bool {
        self.current < self.rows.len() || self.current_begin.since(self.began) < self.scheduled
    }

    /// Changes the schedule, if there is one.
    pub(super) fn change_schedule(&mut self, change: impl FnOnce(&mut Schedule)) {
        if let Some(schedule) = &mut self.schedule {
            change(schedule);
        }
    }

    /// Counts a planned operation, if the timeline has no schedule.
    pub(super) fn note_planned(&mut self, planned: Instant) {
        if self.schedule.is_none() {
            let index = self.index_at(planned);
            self.row(index).planned += 1;
        }
    }

    pub(super) fn note_sent(&mut self, planned: Instant) {
        let index = self.index_at(planned);
        self.row(index).sent += 1;
    }

    /// Counts an operation that could not be sent.
    pub(super) fn note_absent(&mut self, planned: Instant) {
        let index = self.index_at(planned);
        self.row(index).absent += 1;
    }

    /// Counts a reply in the current interval, and with `is_main` its latency. The intervals before its arrival are
    /// closed already.
    pub(super) fn note_answered(&mut self, planned: Instant, received: Instant, is_main: bool) {
        self.last = self.last.max(received.since(self.began));
        let due_in = self.index_at(planned);
        self.row(due_in).due_and_answered += 1;
        self.row(self.current).answered += 1;
        if is_main {
            self.latencies.record(received.since(planned));
        }
    }

    /// Counts an operation that failed at `now` in the current interval.
    pub(super) fn note_broken(&mut self, now: Instant) {
        self.last = self.last.max(now.since(self.began));
        self.row(self.current).broken += 1;
    }

    /// Counts a lost peer in the current interval.
    pub(super) fn note_lost(&mut self, now: Instant) {
        self.last = self.last.max(now.since(self.began));
        self.row(self.current).lost += 1;
        self.lost += 1;
    }

    /// Counts a peer that was added in the current interval or, with `is_added` false, closed on purpose.
    pub(super) fn note_change(&mut self, now: Instant, is_added: bool) {
        self.last = self.last.max(now.since(self.began));
        let change = if is_added { 1 } else { -1 };
        self.row(self.current).added += change;
        self.added += change;
    }

    /// Closes the intervals that are over at `now`, and offers each to the recorder. An interval after the end of the
    /// schedule stays open until an event occurs in it or later, because only a later event makes it part of the
    /// timeline.
    pub(super) fn advance(&mut self, now: Instant, recording: &mut Option<Recording>) {
        while now >= self.current_end && self.is_current_certain() {
            self.close_current(recording);
        }
    }

    /// Closes the intervals that are over at `now`, the moment of an event that is to be noted.
    pub(super) fn advance_to_event(&mut self, now: Instant, recording: &mut Option<Recording>) {
        while now >= self.current_end && self.current_end != Instant::MAX {
            self.close_current(recording);
        }
    }

    /// Makes the current interval part of the timeline for an event at `now` that is not counted in it.
    pub(super) fn keep_current(&mut self, now: Instant) {
        self.last = self.last.max(now.since(self.began));
        self.row(self.current);
    }

    /// Closes the last intervals: those up to the end of the schedule or up to the last event. Later calls do nothing.
    pub(super) fn end(&mut self, recording: &mut Option<Recording>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let of_schedule = self.scheduled.as_nanos().div_ceil(self.interval.as_nanos()) as usize;
        self.rows.resize(self.rows.len().max(of_schedule), Row::default());
        while self.began != Instant::MAX && self.current < self.rows.len() {
            self.close_current(recording);
        }
        if let Some(recording) = recording {
            recording.end();
        }
    }

    /// Returns the last interval that is over; `None` before the end of the first interval.
    pub(super) fn latest(&self) -> Option<Interval> {
        let before = self.current.checked_sub(1)?;
        let (lost, added) = self.rows.get(self.current).map_or((0, 0), |row| (row.lost, row.added));
        Some(self.closed(before, self.ready(self.lost - lost, self.added - added)))
    }

    /// Returns the intervals' length, and all intervals if the timeline has begun and ended.
    pub(super) fn intervals(&self) -> (Duration, Vec<Interval>) {
        let (mut lost, mut added) = (0, 0);
        let interval = |(index, row): (usize, &Row)| {
            (lost, added) = (lost + row.lost, added + row.added);
            let interval = self.closed(index, self.ready(lost, added));
            Interval { failed: interval.planned - row.due_and_answered.min(interval.planned), ..interval }
        };
        let rows = if self.began == Instant::MAX { &[][..] } else { &self.rows };
        (self.interval, rows.iter().enumerate().map(interval).collect())
    }

    /// Returns the number of ready peers after these losses and additions since the start.
    fn ready(&self, lost: u32, added: i32) -> usize {
        self.peers.saturating_add_signed(added as isize).saturating_sub(lost as usize)
    }

    /// Returns a closed interval as far as it is known. `peers` were ready at its end.
    fn closed(&self, index: usize, peers: usize) -> Interval {
        let end = self.edge(index + 1);
        let row = self.rows.get(index).copied().unwrap_or_default();
        let Row { planned, sent, absent, answered, broken, p50, p99, max, .. } = row;
        let end = if self.has_ended { end.min(self.scheduled.max(self.last)) } else { end };
        let (failed, lost) = (planned.saturating_sub(sent), row.lost as usize);
        Interval { end, planned, sent, absent, answered, failed, broken, p50, p99, max, peers, lost }
    }

    /// Returns the begin of the interval with this index, from the start.
    fn edge(&self, index: usize) -> Duration {
        self.interval.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn close_current(&mut self, recording: &mut Option<Recording>) {
        let current = self.current;
        let end = self.edge(current + 1).min(self.scheduled);
        if let Some(schedule) = &mut self.schedule {
            let before = std::mem::replace(&mut self.scheduled_count, schedule.count_before(nanos(end)));
            let planned = self.scheduled_count - before;
            self.row(current).planned = planned;
        }
        if self.latencies.count() > 0 {
            let LatencySummary { p50, p99, max, .. } = self.latencies.summary();
            let row = self.row(current);
            (row.p50, row.p99, row.max) = (p50, p99, max);
            self.latencies.clear();
        }
        if let Some(recording) = recording {
            recording.end_interval(&self.closed(current, self.ready(self.lost, self.added)));
        }
        self.current += 1;
        (self.current_begin, self.current_end) = (self.current_end, self.current_end.plus(self.interval));
    }

    fn row(&mut self, index: usize) -> &mut Row {
        if self.rows.len() <= index {
            self.rows.resize(index + 1, Row::default());
        }
        &mut self.rows[index]
    }

    fn index_at(&self, moment: Instant) -> usize {
        if (self.current_begin..self.current_end).contains(&moment) {
            return self.current;
        }
        (moment.since(self.began).as_nanos() / self.interval.as_nanos()) as usize
    }
}

/// Returns the length of the intervals for a run of this length: the requested one, unless there would be too many;
/// without a request 100 ms or a whole number of seconds.
fn interval_of(duration: Duration, interval: Option<Duration>) -> Duration {
    match interval {
        Some(interval) => interval.max(duration / MAX_INTERVALS).max(Duration::from_nanos(1)),
        None if duration < LONG_RUN => SHORT_INTERVAL,
        None => Duration::from_secs(duration.as_secs().div_ceil(u64::from(MAX_INTERVALS))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rate::Rate;
    use super::super::record::{IntervalHistograms, Recorder};
    use super::super::schedule::{Arrival, Segment, Share};
    use super::super::stage::Stage;
    use super::*;
    use std::sync::{Arc, Mutex};

    const BEGAN: Instant = Instant::from_nanos(123_456_789);

    fn at(millis: u64) -> Instant {
        BEGAN.plus(Duration::from_millis(millis))
    }

    /// Returns the schedule of 20 operations a second.
    fn schedule(duration: Duration) -> Schedule {
        let stage = Stage::constant(Rate::per_second(20), duration);
        Schedule::new(&[stage], Arrival::Even, Share::new(Segment::WHOLE, 3), u64::MAX, 0)
    }

    fn timeline(duration: Duration) -> Timeline {
        let mut timeline = Timeline::new(duration, None);
        timeline.begin(BEGAN, 3, Some(schedule(duration)));
        timeline
    }

    fn row(end: u64, [planned, sent, answered, failed]: [u64; 4], latency: u64, peers: usize, lost: usize) -> Interval {
        let latency = (latency > 0).then_some(Duration::from_nanos(latency));
        let end = Duration::from_millis(end);
        let (absent, broken) = (0, 0);
        let (p50, p99, max) = (latency, latency, latency);
        Interval { end, planned, sent, absent, answered, failed, broken, p50, p99, max, peers, lost }
    }

    #[test]
    fn intervals_are_exact_and_contain_every_reply() {
        let mut timeline = timeline(Duration::from_millis(260));
        timeline.advance(at(99), &mut None);
        assert_eq!(timeline.latest(), None);
        for planned in [0, 50, 100, 200] {
            timeline.note_sent(at(planned));
        }
        let answered = |timeline: &mut Timeline, planned: Instant, received: u64| {
            timeline.advance_to_event(at(received), &mut None);
            timeline.note_answered(planned, at(received), true);
        };
        answered(&mut timeline, at(99).minus(Duration::from_micros(7)), 99);
        timeline.advance_to_event(at(199), &mut None);
        timeline.note_lost(at(199));
        answered(&mut timeline, at(199), 200);
        answered(&mut timeline, at(100), 310);
        let latest = timeline.latest().unwrap();
        assert_eq!(latest, row(300, [2, 1, 1, 1], 1_000_447, 2, 0));
        timeline.end(&mut None);
        let (interval, intervals) = timeline.intervals();
        assert_eq!(interval, Duration::from_millis(100));
        let expected = [
            row(100, [2, 2, 1, 1], 7_003, 3, 0),
            row(200, [2, 1, 0, 0], 0, 2, 1),
            row(300, [2, 1, 1, 2], 1_000_447, 2, 0),
            row(310, [0, 0, 1, 0], 210_108_415, 2, 0),
        ];
        assert_eq!(intervals, expected);
    }

    #[test]
    fn every_interval_of_the_schedule_is_reported_even_without_events() {
        let mut timeline = timeline(Duration::from_millis(400));
        timeline.end(&mut None);
        let rows: Vec<_> = timeline.intervals().1;
        let expected = [100, 200, 300, 400].map(|end| row(end, [2, 0, 0, 2], 0, 3, 0));
        assert_eq!(rows, expected);
        let mut none = Timeline::new(Duration::from_secs(4), None);
        none.end(&mut None);
        assert_eq!(none.intervals().1, []);
    }

    #[test]
    fn operations_without_a_schedule_are_planned_in_the_interval_of_their_moment() {
        let mut timeline = Timeline::new(Duration::from_millis(300), None);
        timeline.begin(BEGAN, 3, None);
        for planned in [0, 99, 100] {
            timeline.note_planned(at(planned));
        }
        timeline.advance(at(100), &mut None);
        assert_eq!(timeline.latest().unwrap(), row(100, [2, 0, 0, 2], 0, 3, 0));
        timeline.note_planned(at(50));
        timeline.end(&mut None);
        let planned: Vec<_> = timeline.intervals().1.iter().map(|row| row.planned).collect();
        assert_eq!(planned, [3, 1, 0]);
    }

    #[test]
    fn a_change_of_the_rate_within_an_interval_is_counted_in_it() {
        let mut timeline = timeline(Duration::from_millis(300));
        timeline.advance(at(150), &mut None);
        timeline.change_schedule(|schedule| schedule.set_rate(150_000_000, Rate::per_second(100)));
        timeline.end(&mut None);
        let planned: Vec<_> = timeline.intervals().1.iter().map(|row| row.planned).collect();
        // One operation at 100 ms, and then one every 10 ms from 150 ms on.
        assert_eq!(planned, [2, 6, 10]);
    }

    /// A recorder that keeps the end of each interval, and the number of its replies.
    struct Keeper(Arc<Mutex<Vec<(u64, u64)>>>);

    impl Recorder for Keeper {
        fn on_interval(&mut self, interval: &Interval, histograms: &mut IntervalHistograms) {
            let count = histograms.iter().map(|(_, _, each)| each.count()).sum();
            self.0.lock().unwrap().push((interval.end.as_millis() as u64, count));
        }
    }

    #[test]
    fn a_recorder_receives_each_interval_of_the_timeline_once_and_in_order() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let mut recording = Some(Recording::new(Box::new(Keeper(kept.clone())), vec!["ping_rtt"]));
        let mut timeline = timeline(Duration::from_millis(500));
        timeline.advance(at(0), &mut recording);
        timeline.advance(at(310), &mut recording);
        assert_eq!(kept.lock().unwrap()[..], [(100, 0), (200, 0), (300, 0)]);
        recording.as_mut().unwrap().note_loop_lag(Duration::from_micros(5));
        timeline.advance(at(310), &mut recording);
        // A moment before the current interval reopens no closed one.
        timeline.advance(at(10), &mut recording);
        timeline.note_answered(at(10), at(10), true);
        timeline.advance(at(2_000), &mut recording);
        assert_eq!(kept.lock().unwrap()[3..], [(400, 1), (500, 0)], "an interval of the drain has no event");
        timeline.advance_to_event(at(700), &mut recording);
        recording.as_mut().unwrap().note_loop_lag(Duration::from_micros(5));
        timeline.keep_current(at(750));
        timeline.end(&mut recording);
        timeline.end(&mut recording);
        assert_eq!(kept.lock().unwrap()[5..], [(600, 0), (700, 0), (750, 1)]);
        assert_eq!(timeline.intervals().1.len(), 8);
    }

    #[test]
    fn a_short_run_has_intervals_of_100_ms_and_a_long_run_has_longer_ones_instead_of_more() {
        const DAY_SECS: u64 = 86_400;
        let millis = |run_secs| interval_of(Duration::from_secs(run_secs), None).as_millis() as u64;
        assert_eq!([0, 1, 19].map(millis), [100; 3]);
        assert_eq!(interval_of(Duration::from_nanos(19_999_999_999), None), Duration::from_millis(100));
        assert_eq!([20, 21, DAY_SECS, DAY_SECS + 1, 100 * DAY_SECS].map(millis), [1_000, 1_000, 1_000, 2_000, 100_000]);
    }
}
