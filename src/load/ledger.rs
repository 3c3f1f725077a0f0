//! The ledger of the operations: counts, latencies and the timeline of the counted run.
//!
//! At the end every planned operation has been counted exactly once, even if its peer failed. An operation counts in
//! the stage of its planned moment.

use super::counts::{Fate, WorkCounts};
use super::interval::Interval;
use super::operations::{OperationReport, Part, StageReport};
use super::plan::Plan;
use super::record::{OperationRecord, OperationResult, Recorder, Recording};
use super::schedule::Schedule;
use super::targets::{TargetReport, Targets};
use super::timeline::Timeline;
use crate::peer::PingInFlight;
use crate::stats::histogram::LatencyHistogram;
use crate::time::Instant;
use std::time::Duration;

/// The results of the operations while the load runs.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The operations so far, without those that timed out.
    work: WorkCounts,
    stages: Vec<StageReport>,
    targets: Targets,
    /// The kinds of operations; the first one is that of the pings.
    parts: Vec<Part>,
    send_lag: LatencyHistogram,
    loop_lag: LatencyHistogram,
    timeline: Timeline,
    recording: Option<Recording>,
    /// The start of the counted run; [`Instant::MAX`] before it.
    began: Instant,
    /// The numbers of outstanding operations at the middle and at the end of the run. The first one is `None` until
    /// the middle.
    backlog: (Option<u64>, u64),
}

/// An operation of the counted run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) index: u64,
    /// The connection, counted over all segments.
    pub(super) connection: usize,
    pub(super) planned: Instant,
    /// The metrics of the operation.
    pub(super) part: Part,
    /// Whether the operation waited for its peer before its write, so that it has no send lag.
    pub(super) was_held: bool,
}

impl Ledger {
    /// Returns the ledger of a load with these metrics and kinds of operations, whose targets have `connections`.
    pub(super) fn new(
        plan: &Plan,
        metrics: &[&'static str],
        parts: Vec<Part>,
        connections: impl Iterator<Item = usize>,
    ) -> Self {
        let mut begin = Duration::ZERO;
        let stages = plan.stages.iter().map(|stage| {
            let operations = metrics.iter().map(|metric| OperationReport::new(metric)).collect();
            let from_begin = begin;
            begin = begin.saturating_add(stage.time);
            StageReport { from: stage.from, to: stage.to, begin: from_begin, end: begin, operations }
        });
        Self {
            work: WorkCounts::default(),
            stages: stages.collect(),
            targets: Targets::new(&plan.targets, connections),
            parts,
            send_lag: LatencyHistogram::new(),
            loop_lag: LatencyHistogram::new(),
            timeline: Timeline::new(begin, plan.interval),
            recording: None,
            began: Instant::MAX,
            backlog: (None, 0),
        }
    }

    pub(super) fn set_recorder(&mut self, recorder: Box<dyn Recorder>) {
        let metrics = self.stages[0].operations.iter().map(|operation| operation.metric).collect();
        self.recording = Some(Recording::new(recorder, metrics));
    }

    /// Removes and returns the recorder.
    pub(super) fn take_recorder(&mut self) -> Option<Box<dyn Recorder>> {
        self.recording.take().map(Recording::into_recorder)
    }

    /// Returns the metrics of a kind of operations.
    pub(super) fn part(&self, index: usize) -> Part {
        self.parts[index]
    }

    /// Returns the metrics of the kind of operations whose main metric has this index.
    pub(super) fn part_of_main(&self, metric: usize) -> Part {
        *self.parts.iter().find(|part| part.main() == metric).expect("the metric is a main one")
    }

    pub(super) fn work(&self) -> WorkCounts {
        self.work
    }

    /// Returns the results of a connection's target.
    pub(super) fn target(&mut self, connection: usize) -> &mut TargetReport {
        self.targets.of(connection)
    }

    /// Starts the counted run at `now`. `schedule` is its schedule, if all operations of the schedule are planned.
    pub(super) fn begin(&mut self, now: Instant, ready: usize, schedule: Option<Schedule>) {
        self.began = now;
        self.timeline.begin(now, ready, schedule);
        if let Some(recording) = &mut self.recording {
            recording.begin();
        }
    }

    /// Changes the schedule that was given at the start.
    pub(super) fn change_schedule(&mut self, now: Instant, change: impl FnOnce(&mut Schedule)) {
        self.end_intervals(now);
        self.timeline.change_schedule(change);
    }

    /// Sets the duration that the planned operations cover.
    pub(super) fn set_scheduled_time(&mut self, time: Duration) {
        self.timeline.set_scheduled(time);
    }

    /// Records the number of outstanding operations at the middle of the run. Later calls change nothing.
    pub(super) fn note_middle(&mut self) {
        self.backlog.0.get_or_insert_with(|| self.work.outstanding());
    }

    /// Records the number of outstanding operations at the end of the run.
    pub(super) fn note_end(&mut self) {
        self.backlog.1 = self.work.outstanding();
    }

    /// Ends the load. Nothing is counted later.
    pub(super) fn end_load(&mut self) {
        self.timeline.end(&mut self.recording);
    }

    /// Records the lag of a wake-up at `now`.
    pub(super) fn note_loop_lag(&mut self, now: Instant, lag: Duration) {
        self.loop_lag.record(lag);
        self.timeline.keep_current(now);
        if let Some(recording) = &mut self.recording {
            recording.note_loop_lag(lag);
        }
    }

    /// Counts a lost peer of the run.
    pub(super) fn note_lost(&mut self, now: Instant) {
        if self.began != Instant::MAX {
            self.timeline.advance_to_event(now, &mut self.recording);
            self.timeline.note_lost(now);
        }
    }

    /// Counts a peer that was added during the run or, with `is_added` false, closed on purpose.
    pub(super) fn note_change(&mut self, now: Instant, is_added: bool) {
        if self.began != Instant::MAX {
            self.timeline.advance_to_event(now, &mut self.recording);
            self.timeline.note_change(now, is_added);
        }
    }

    /// Returns the last complete interval of the run so far; `None` before the end of the first interval.
    pub(super) fn latest_interval(&mut self, now: Instant) -> Option<Interval> {
        self.end_intervals(now);
        self.timeline.latest()
    }

    /// Ends the intervals that are over at `now`.
    pub(super) fn end_intervals(&mut self, now: Instant) {
        self.timeline.advance(now, &mut self.recording);
    }

    /// Returns the end of the current interval if a recorder waits for it or the load has `no_schedule`, else
    /// [`Instant::MAX`].
    pub(super) fn awaited_interval_end(&self, no_schedule: bool) -> Instant {
        if no_schedule || self.recording.is_some() { self.timeline.next_end() } else { Instant::MAX }
    }

    /// Counts an operation that is due now and was sent or, with `is_sent` false, could not be sent.
    pub(super) fn note_due(&mut self, now: Instant, entry: Entry, is_sent: bool) {
        let stage = self.stage_of(entry.planned);
        self.note_planned(stage, entry.part, entry.connection, 1, if is_sent { Fate::Sent } else { Fate::Absent });
        self.timeline.note_planned(entry.planned);
        if is_sent {
            self.timeline.note_sent(entry.planned);
        } else {
            self.timeline.note_absent(entry.planned);
            self.record(entry, None, now, OperationResult::Absent);
        }
    }

    /// Keeps the index of an operation that was sent as the ping `nonce`, if a recorder wants the operations.
    pub(super) fn note_pinged(&mut self, nonce: u64, index: u64) {
        if let Some(recording) = &mut self.recording {
            recording.note_sent(nonce, index);
        }
    }

    /// Counts the operations of one connection that the load will never send. `is_ready` if the connection's peer is.
    pub(super) fn note_rest(&mut self, stage: usize, part: Part, connection: usize, count: u64, is_ready: bool) {
        self.note_planned(stage, part, connection, count, if is_ready { Fate::Unsent } else { Fate::Absent });
    }

    /// Counts one operation that is planned for a peer, and that was given up at `now` before it was sent.
    pub(super) fn note_never_sent(&mut self, entry: Entry, now: Instant, is_ready: bool) {
        self.note_rest(self.stage_of(entry.planned), entry.part, entry.connection, 1, is_ready);
        self.timeline.note_planned(entry.planned);
        self.record_never_sent(entry, entry.planned.since(self.began), now, is_ready);
    }

    fn note_planned(&mut self, stage: usize, part: Part, connection: usize, count: u64, fate: Fate) {
        self.work.note_planned(count, fate);
        for operation in &mut self.stages[stage].operations[part.metrics()] {
            operation.work.note_planned(count, fate);
        }
        self.targets.of(connection).work.note_planned(count, fate);
    }

    /// Returns the stage of a planned moment.
    fn stage_of(&self, planned: Instant) -> usize {
        match self.stages.len() {
            1 => 0,
            count => {
                let since = planned.since(self.began);
                self.stages.partition_point(|stage| stage.end <= since).min(count - 1)
            }
        }
    }

    /// Returns whether an operation belongs to the counted part of the run.
    fn is_counted(&self, planned: Instant) -> bool {
        planned >= self.began
    }

    /// Records the end of an unanswered ping, if it belongs to the counted part of the run.
    pub(super) fn note_unanswered_ping(
        &mut self,
        now: Instant,
        connection: usize,
        ping: PingInFlight,
        result: OperationResult,
    ) {
        if self.is_counted(ping.planned) {
            let entry = Entry { index: 0, connection, planned: ping.planned, part: self.parts[0], was_held: false };
            self.note_broken(now, result);
            self.note_wait(now, entry, ping.sent, 0);
            self.record_ping(ping, connection, now, result);
        }
    }

    /// Records the end of an unanswered operation, if it belongs to the counted part of the run. `measured` has a bit
    /// for each metric that was measured before.
    pub(super) fn note_unanswered(
        &mut self,
        now: Instant,
        entry: Entry,
        sent: Option<Instant>,
        measured: u32,
        result: OperationResult,
    ) {
        if self.is_counted(entry.planned) {
            self.note_broken(now, result);
            self.note_wait(now, entry, sent, measured);
            self.record(entry, sent, now, result);
        }
    }

    /// Counts an operation that its peer refused, or that was lost with its peer, in the interval.
    fn note_broken(&mut self, now: Instant, result: OperationResult) {
        if matches!(result, OperationResult::Refused | OperationResult::Lost) {
            self.timeline.advance_to_event(now, &mut self.recording);
            self.timeline.note_broken(now);
        }
    }

    /// Records the failure of an operation, if it belongs to the counted part of the run. Returns whether it does.
    pub(super) fn note_refused(&mut self, now: Instant, entry: Entry, sent: Option<Instant>, measured: u32) -> bool {
        if !self.is_counted(entry.planned) {
            return false;
        }
        self.note_unanswered(now, entry, sent, measured, OperationResult::Refused);
        let stage = self.stage_of(entry.planned);
        self.work.refused += 1;
        self.targets.of(entry.connection).work.refused += 1;
        for operation in unmeasured(&mut self.stages[stage].operations, entry.part, measured) {
            operation.work.refused += 1;
        }
        true
    }

    /// Records the wait of an operation that will not be answered.
    fn note_wait(&mut self, now: Instant, entry: Entry, sent: Option<Instant>, measured: u32) {
        let Entry { connection, planned, part, .. } = entry;
        let stage = self.stage_of(planned);
        for operation in unmeasured(&mut self.stages[stage].operations, part, measured) {
            operation.unanswered_waits.note(planned, sent, now);
        }
        self.targets.of(connection).unanswered_waits.note(planned, sent, now);
    }

    /// Records a pong received at `received`, if its ping belongs to the counted part of the run.
    pub(super) fn note_pong(&mut self, connection: usize, ping: PingInFlight, received: Instant) {
        if !self.is_counted(ping.planned) {
            return;
        }
        let sent = ping.sent.unwrap_or(received);
        self.count_reply(self.parts[0].main(), connection, ping.planned, sent, received);
        self.note_send_lag(sent.since(ping.planned));
        if self.recording.is_some() {
            self.record_ping(ping, connection, received, OperationResult::Answered);
        }
    }

    /// Records the reply to an operation, if it belongs to the counted part of the run.
    pub(super) fn note_answered(&mut self, entry: Entry, sent: Instant, received: Instant) {
        if self.is_counted(entry.planned) {
            self.count_reply(entry.part.main(), entry.connection, entry.planned, sent, received);
            if !entry.was_held {
                self.note_send_lag(sent.since(entry.planned));
            }
            self.record(entry, Some(sent), received, OperationResult::Answered);
        }
    }

    /// Records an operation that was expected of a peer and not sent, if it belongs to the counted part of the run.
    pub(super) fn note_observed(&mut self, entry: Entry, moment: Instant) {
        if self.is_counted(entry.planned) {
            self.count_reply(entry.part.main(), entry.connection, entry.planned, entry.planned, moment);
            self.record(entry, Some(entry.planned), moment, OperationResult::Answered);
        }
    }

    /// Records an operation's step at `moment`, measured by a metric after the first one, if the operation belongs to
    /// the counted part of the run.
    pub(super) fn note_step(&mut self, metric: usize, entry: Entry, sent: Instant, moment: Instant) {
        if !self.is_counted(entry.planned) {
            return;
        }
        self.timeline.advance_to_event(moment, &mut self.recording);
        self.timeline.keep_current(moment);
        let (since_planned, since_sent) = (moment.since(entry.planned), moment.since(sent));
        let stage = self.stage_of(entry.planned);
        let operation = &mut self.stages[stage].operations[metric];
        operation.work.answered += 1;
        operation.planned.record(since_planned);
        operation.sent.record(since_sent);
        if let Some(recording) = &mut self.recording {
            recording.note_answered(metric, since_planned, since_sent);
        }
    }

    /// Records how much later than planned an answered operation was sent.
    #[inline]
    fn note_send_lag(&mut self, lag: Duration) {
        self.send_lag.record(lag);
        if let Some(recording) = &mut self.recording {
            recording.note_send_lag(lag);
        }
    }

    /// Counts a reply.
    #[inline]
    fn count_reply(&mut self, main: usize, connection: usize, planned: Instant, sent: Instant, received: Instant) {
        self.timeline.advance_to_event(received, &mut self.recording);
        self.timeline.note_answered(planned, received, main == 0);
        self.work.answered += 1;
        let (since_planned, since_sent) = (received.since(planned), received.since(sent));
        let stage = self.stage_of(planned);
        let operation = &mut self.stages[stage].operations[main];
        operation.work.answered += 1;
        operation.planned.record(since_planned);
        operation.sent.record(since_sent);
        self.targets.note_answered(connection, since_planned);
        if let Some(recording) = &mut self.recording {
            recording.note_answered(main, since_planned, since_sent);
        }
    }

    /// Returns whether a recorder wants the operations.
    pub(super) fn is_recording_operations(&self) -> bool {
        self.recording.as_ref().is_some_and(Recording::wants_operations)
    }

    fn operations_recording(&mut self) -> Option<&mut Recording> {
        self.recording.as_mut().filter(|recording| recording.wants_operations())
    }

    /// Records the end of an operation that was sent as `ping`.
    fn record_ping(&mut self, ping: PingInFlight, connection: usize, ended: Instant, result: OperationResult) {
        let index = self.recording.as_mut().and_then(|recording| recording.take_index(ping.nonce));
        if let Some(index) = index {
            let entry = Entry { index, connection, planned: ping.planned, part: self.parts[0], was_held: false };
            self.record(entry, ping.sent, ended, result);
        }
    }

    /// Records the end of an operation, if a recorder wants it.
    fn record(&mut self, entry: Entry, sent: Option<Instant>, ended: Instant, result: OperationResult) {
        // Times are zero if the run has not begun.
        let since_begin = |moment: Instant| moment.since(self.began);
        let (planned, sent) = (since_begin(entry.planned), sent.map(since_begin));
        self.record_at(entry, planned, sent, since_begin(ended), result);
    }

    /// Records an operation that was never sent, and was given up at `now`. `planned` is its planned moment from the
    /// start of the run, which may not have begun.
    pub(super) fn record_never_sent(&mut self, entry: Entry, planned: Duration, now: Instant, is_ready: bool) {
        let result = if is_ready { OperationResult::Unsent } else { OperationResult::Absent };
        self.record_at(entry, planned, None, now.since(self.began), result);
    }

    fn record_at(
        &mut self,
        entry: Entry,
        planned: Duration,
        sent: Option<Duration>,
        ended: Duration,
        result: OperationResult,
    ) {
        let Entry { index, connection, part, .. } = entry;
        let (metric, target) = (self.stages[0].operations[part.main()].metric, self.targets.index_of(connection));
        if let Some(recording) = self.operations_recording() {
            recording.note_operation(&OperationRecord {
                index,
                connection,
                target,
                metric,
                planned,
                sent,
                ended,
                result,
            });
        }
    }

    /// Returns the results.
    pub(super) fn results(&self) -> Results {
        let mut stages = self.stages.clone();
        for operation in stages.iter_mut().flat_map(|stage| &mut stage.operations) {
            operation.work.end();
        }
        let mut operations = stages[0].operations.clone();
        for stage in &stages[1..] {
            operations.iter_mut().zip(&stage.operations).for_each(|(total, each)| total.merge(each));
        }
        let mut work = self.work;
        work.end();
        let (interval, timeline) = self.timeline.intervals();
        let mut all = operations[0].planned.clone();
        self.parts[1..].iter().for_each(|part| all.merge(&operations[part.main()].planned));
        Results {
            work,
            targets: self.targets.reports(&all),
            operations,
            stages,
            send_lag: self.send_lag.clone(),
            loop_lag: self.loop_lag.clone(),
            interval,
            timeline,
            backlog: self.backlog,
        }
    }
}

/// Lists the results of a part's metrics without those of the `measured` metrics, of which each has a bit.
fn unmeasured(
    operations: &mut [OperationReport],
    part: Part,
    measured: u32,
) -> impl Iterator<Item = &mut OperationReport> {
    let of_part = part.metrics().zip(&mut operations[part.metrics()]);
    of_part.filter(move |(metric, _)| measured >> metric & 1 == 0).map(|(_, report)| report)
}

/// The results of a load's operations.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) work: WorkCounts,
    pub(super) targets: Vec<TargetReport>,
    pub(super) operations: Vec<OperationReport>,
    pub(super) stages: Vec<StageReport>,
    pub(super) send_lag: LatencyHistogram,
    pub(super) loop_lag: LatencyHistogram,
    pub(super) interval: Duration,
    pub(super) timeline: Vec<Interval>,
    pub(super) backlog: (Option<u64>, u64),
}
