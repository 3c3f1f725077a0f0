//! The results of a running load: counts of connections and operations, latencies, and the causes of failures.
//!
//! At the end every planned operation has been counted exactly once, even if its peer failed. This file sends
//! nothing.

use super::counts::{Fate, PeerCounts, WorkCounts};
use super::interval::Interval;
use super::judgement::{limit, verdict};
use super::operations::{OperationReport, PING_RTT, StageReport};
use super::phase::EarlyEnd;
use super::plan::Plan;
use super::record::{OperationRecord, OperationResult, Recorder, Recording};
use super::report::{Agent, Failure, Ramp, Report};
use super::schedule::{Rate, Schedule};
use super::targets::Targets;
use super::timeline::Timeline;
use super::traffic::Traffic;
use super::verdict::{Limit, Verdict};
use crate::error::{CloseReason, RequestError, Side};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::peer::{ConnectionState, PingInFlight};
use crate::stats::histogram::LatencyHistogram;
use crate::time::Instant;
use crate::wire::Version;
use std::ops::Range;
use std::time::Duration;

/// Maximum length of the report's list of user agents, and of its list of failures. Later entries are omitted.
const MAX_KINDS: usize = 64;

/// The results while the load runs: a report without the values that are known only at the end.
#[derive(Debug)]
pub(super) struct Accounts {
    report: Report,
    targets: Targets,
    timeline: Timeline,
    recording: Option<Recording>,
    rate: Rate,
    duration: Duration,
    run: Option<Run>,
    /// The numbers of outstanding pings at the middle and at the end of the run. The first one is `None` until the
    /// middle.
    backlog: (Option<u64>, u64),
    busy: Duration,
    spinning: Duration,
}

/// The clock, and the loop's totals, at the start or the end of the counted part of the run.
#[derive(Clone, Copy, Debug)]
struct Run {
    began: Instant,
    busy: Duration,
    spinning: Duration,
    traffic: Traffic,
}

impl Run {
    fn here(ctx: &Ctx<'_>) -> Self {
        Self { began: ctx.now(), busy: ctx.busy(), spinning: ctx.spinning(), traffic: Traffic::so_far(ctx) }
    }
}

impl Accounts {
    pub(super) fn new(plan: &Plan) -> Self {
        let peers = PeerCounts { asked: plan.connections, ..PeerCounts::default() };
        Self {
            report: Report {
                peers,
                work: WorkCounts::default(),
                operations: vec![OperationReport::new(PING_RTT)],
                stages: Vec::new(),
                targets: Vec::new(),
                streams_opened: 0,
                stream_failures: 0,
                traffic: Traffic::default(),
                connect_planned: LatencyHistogram::new(),
                connect_dialled: LatencyHistogram::new(),
                dial_lag: LatencyHistogram::new(),
                handshake: LatencyHistogram::new(),
                send_lag: LatencyHistogram::new(),
                loop_lag: LatencyHistogram::new(),
                interval: Duration::ZERO,
                timeline: Vec::new(),
                failures: Vec::new(),
                agents: Vec::new(),
                ramp: Ramp::default(),
                scheduled_time: Duration::ZERO,
                run_time: Duration::ZERO,
                busy: 0.0,
                spinning: 0.0,
                early_end: None,
                limit: Limit::None,
                verdict: Verdict::Trusted,
            },
            targets: Targets::new(&plan.targets, plan.connections),
            timeline: Timeline::new(plan.duration, plan.rate),
            recording: None,
            rate: plan.rate,
            duration: plan.duration,
            run: None,
            backlog: (None, 0),
            busy: Duration::ZERO,
            spinning: Duration::ZERO,
        }
    }

    pub(super) fn set_recorder(&mut self, recorder: Box<dyn Recorder>) {
        let metrics = self.report.operations.iter().map(|operation| operation.metric).collect();
        self.recording = Some(Recording::new(recorder, metrics));
    }

    pub(super) fn peers(&self) -> PeerCounts {
        self.report.peers
    }

    pub(super) fn work(&self) -> WorkCounts {
        self.report.work
    }

    pub(super) fn early_end(&self) -> Option<EarlyEnd> {
        self.report.early_end
    }

    pub(super) fn set_early_end(&mut self, end: EarlyEnd) {
        self.report.early_end = Some(end);
    }

    /// Sets the duration that the planned operations cover.
    pub(super) fn set_scheduled_time(&mut self, time: Duration) {
        self.report.scheduled_time = time;
        self.timeline.set_scheduled(time);
    }

    /// Records the latest dial. Its planned and its actual time are measured from the start of the ramp.
    pub(super) fn note_dial(&mut self, planned_time: Duration, dial_time: Duration) {
        let ramp = &mut self.report.ramp;
        *ramp = Ramp { dialled: ramp.dialled + 1, planned_time, dial_time, ..*ramp };
    }

    /// Records the duration of the ramp, if every connection has become ready or has failed.
    pub(super) fn end_ramp(&mut self, time: Duration) {
        self.report.ramp.time = self.report.peers.is_decided().then_some(time);
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

    /// Returns the end of the current interval if a recorder waits for it, else [`Instant::MAX`].
    pub(super) fn awaited_interval_end(&self) -> Instant {
        if self.recording.is_some() { self.timeline.next_end() } else { Instant::MAX }
    }

    pub(super) fn begin_run(&mut self, ctx: &Ctx<'_>) {
        self.run = Some(Run::here(ctx));
        self.timeline.begin(ctx.now(), self.report.peers.left());
        if let Some(recording) = &mut self.recording {
            recording.begin();
        }
    }

    /// Records the number of outstanding pings at the middle of the run. Later calls change nothing.
    pub(super) fn note_middle(&mut self) {
        self.backlog.0.get_or_insert_with(|| self.report.work.outstanding());
    }

    pub(super) fn end_run(&mut self, ctx: &Ctx<'_>) {
        self.backlog.1 = self.report.work.outstanding();
        self.report.streams_opened = ctx.counters().streams_opened;
        self.report.stream_failures = ctx.counters().stream_failures;
        let Some(begin) = self.run else { return };
        let end = Run::here(ctx);
        self.report.run_time = end.began.since(begin.began);
        self.busy = end.busy.saturating_sub(begin.busy);
        self.spinning = end.spinning.saturating_sub(begin.spinning);
        self.report.traffic = end.traffic.since(begin.traffic);
    }

    /// Ends the load. Nothing is counted later.
    pub(super) fn end_load(&mut self) {
        self.timeline.end(&mut self.recording);
    }

    /// Records the lag of a wake-up at `now`.
    pub(super) fn note_loop_lag(&mut self, now: Instant, lag: Duration) {
        self.report.loop_lag.record(lag);
        self.timeline.keep_current(now);
        if let Some(recording) = &mut self.recording {
            recording.note_loop_lag(lag);
        }
    }

    /// Records an established connection. The loop may have dialled later than planned: `connect` is the time since
    /// the dial, if known, `since_planned` the time since the planned dial, and `since_begin` the time since the start
    /// of the ramp.
    pub(super) fn note_opened(
        &mut self,
        connection: usize,
        since_planned: Duration,
        since_begin: Duration,
        connect: Option<Duration>,
    ) {
        self.count_peer(connection, |peers| peers.opened += 1);
        self.report.connect_planned.record(since_planned);
        if let Some(connect) = connect {
            self.report.connect_dialled.record(connect);
            self.report.dial_lag.record(since_planned.saturating_sub(connect));
            self.report.ramp.dial_time = self.report.ramp.dial_time.max(since_begin.saturating_sub(connect));
        }
    }

    /// Counts a peer in the totals and in the connection's target.
    fn count_peer(&mut self, connection: usize, count: impl Fn(&mut PeerCounts)) {
        count(&mut self.report.peers);
        count(&mut self.targets.of(connection).peers);
    }

    /// Counts planned operations of one connection.
    fn note_planned(&mut self, connection: usize, count: u64, fate: Fate) {
        self.report.work.note_planned(count, fate);
        self.targets.of(connection).work.note_planned(count, fate);
    }

    /// Counts the operations of one connection that the load will never send.
    pub(super) fn note_rest(&mut self, connection: usize, count: u64, is_ready: bool) {
        self.note_planned(connection, count, if is_ready { Fate::Unsent } else { Fate::Absent });
    }

    /// Records the operations that the load will never send, if a recorder wants them. `owner_of` returns an
    /// operation's connection and whether its peer is ready.
    pub(super) fn record_rest(
        &mut self,
        operations: Range<u64>,
        now: Instant,
        owner_of: impl Fn(u64) -> (usize, bool),
    ) {
        if !self.is_recording_operations() {
            return;
        }
        let (from_start, ended) = (Schedule::new(Instant::ZERO, self.rate), self.since_begin(now));
        for index in operations {
            let (connection, is_ready) = owner_of(index);
            let planned = from_start.moment(index).since(Instant::ZERO);
            let result = if is_ready { OperationResult::Unsent } else { OperationResult::Absent };
            self.record_operation(index, connection, planned, None, ended, result);
        }
    }

    fn is_recording_operations(&self) -> bool {
        self.recording.as_ref().is_some_and(Recording::wants_operations)
    }

    /// Returns the time since the start of the counted run; zero before it.
    fn since_begin(&self, moment: Instant) -> Duration {
        self.run.map_or(Duration::ZERO, |run| moment.since(run.began))
    }

    fn record_operation(
        &mut self,
        index: u64,
        connection: usize,
        planned: Duration,
        sent: Option<Duration>,
        ended: Duration,
        result: OperationResult,
    ) {
        let (metric, target) = (self.report.operations[0].metric, self.targets.index_of(connection));
        if let Some(recording) = &mut self.recording {
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

    pub(super) fn note_ready(&mut self, connection: usize, handshake: Duration, version: Option<&Version>) {
        self.count_peer(connection, |peers| peers.ready += 1);
        self.report.handshake.record(handshake);
        let Some(version) = version else { return };
        let (user_agent, protocol_version) = (version.printable_user_agent(), version.protocol_version);
        let same = |agent: &Agent| agent.user_agent == user_agent && agent.protocol_version == protocol_version;
        match self.report.agents.iter().position(same) {
            Some(index) => self.report.agents[index].count += 1,
            None if self.report.agents.len() < MAX_KINDS => {
                self.report.agents.push(Agent::new(user_agent, protocol_version));
            }
            None => {}
        }
    }

    /// Counts one operation that is due now. `nonce` is that of its ping; `None` if the peer could not be pinged.
    pub(super) fn note_due(
        &mut self,
        now: Instant,
        index: u64,
        connection: usize,
        planned: Instant,
        nonce: Option<u64>,
    ) {
        self.note_planned(connection, 1, if nonce.is_some() { Fate::Sent } else { Fate::Absent });
        if nonce.is_some() {
            self.timeline.note_sent(planned);
        }
        let Some(recording) = self.recording.as_mut().filter(|recording| recording.wants_operations()) else { return };
        if let Some(nonce) = nonce {
            recording.note_sent(nonce, index);
            return;
        }
        let (planned, ended) = (self.since_begin(planned), self.since_begin(now));
        self.record_operation(index, connection, planned, None, ended, OperationResult::Absent);
    }

    /// Returns whether a ping belongs to the counted part of the run.
    fn is_counted(&self, planned: Instant) -> bool {
        self.run.is_some_and(|run| planned >= run.began)
    }

    /// Records the end of a peer's unanswered pings of the counted part, and how long they have waited for their
    /// pongs.
    pub(super) fn note_unanswered(&mut self, ctx: &Ctx<'_>, peer: PeerId, connection: usize, result: OperationResult) {
        let Some(view) = ctx.peer(peer) else { return };
        for ping in view.pings_in_flight() {
            if self.is_counted(ping.planned) {
                self.report.operations[0].unanswered_waits.note(ping, ctx.now());
                self.targets.of(connection).unanswered_waits.note(ping, ctx.now());
                self.record_ping(ping, connection, ctx.now(), result);
            }
        }
    }

    /// Records the end of an operation that was sent as `ping`.
    fn record_ping(&mut self, ping: PingInFlight, connection: usize, ended: Instant, result: OperationResult) {
        let Some(index) = self.recording.as_mut().and_then(|recording| recording.take_index(ping.nonce)) else {
            return;
        };
        let (planned, ended) = (self.since_begin(ping.planned), self.since_begin(ended));
        let sent = ping.sent.map(|sent| self.since_begin(sent));
        self.record_operation(index, connection, planned, sent, ended, result);
    }

    /// Records a pong received at `received`, if its ping belongs to the counted part of the run.
    pub(super) fn note_pong(&mut self, connection: usize, ping: PingInFlight, received: Instant) {
        let (planned, sent) = (ping.planned, ping.sent.unwrap_or(received));
        if !self.is_counted(planned) {
            return;
        }
        self.timeline.advance_to_event(received, &mut self.recording);
        self.timeline.note_answered(planned, received);
        self.report.work.answered += 1;
        let latencies = [received.since(planned), received.since(sent), sent.since(planned)];
        let [since_planned, since_sent, send_lag] = latencies;
        let operation = &mut self.report.operations[0];
        operation.planned.record(since_planned);
        operation.sent.record(since_sent);
        self.targets.note_answered(connection, since_planned);
        self.report.send_lag.record(send_lag);
        if let Some(recording) = &mut self.recording {
            recording.note_answered(0, since_planned, since_sent, send_lag);
            self.record_ping(ping, connection, received, OperationResult::Answered);
        }
    }

    pub(super) fn note_closed(
        &mut self,
        ctx: &Ctx<'_>,
        connection: usize,
        reason: CloseReason,
        state: ConnectionState,
    ) {
        match state {
            ConnectionState::Connected => {
                self.count_peer(connection, |peers| peers.lost += 1);
                if self.run.is_some() {
                    self.timeline.advance_to_event(ctx.now(), &mut self.recording);
                    self.timeline.note_lost(ctx.now());
                }
            }
            ConnectionState::Disconnected
            | ConnectionState::Connecting
            | ConnectionState::AwaitingHandshake
            | ConnectionState::Rejected
            | ConnectionState::Failed => self.count_peer(connection, |peers| peers.failed += 1),
        }
        self.note_failure(reason.label(), reason.side(), state, Some(reason));
    }

    /// Counts a connection that could not be started.
    pub(super) fn not_dialled(&mut self, connection: usize, error: RequestError) {
        self.count_peer(connection, |peers| peers.failed += 1);
        self.note_failure(error.label(), Side::Local, ConnectionState::Disconnected, None);
    }

    fn note_failure(&mut self, label: &'static str, side: Side, state: ConnectionState, example: Option<CloseReason>) {
        let same = |failure: &Failure| failure.label == label && failure.state == state;
        match self.report.failures.iter().position(same) {
            Some(index) => self.report.failures[index].count += 1,
            None if self.report.failures.len() < MAX_KINDS => {
                self.report.failures.push(Failure::new(label, side, state, example));
            }
            None => {}
        }
    }

    /// Returns whether no peer has become ready and there are failures, all of one kind.
    pub(super) fn all_failed_alike(&self) -> bool {
        self.report.peers.ready == 0 && self.report.failures.len() == 1
    }

    /// Returns the report. Call it after [`Accounts::end_load`].
    pub(super) fn report(&self) -> Report {
        let share = |time: Duration| time.as_secs_f64() / self.report.run_time.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut report = self.report.clone();
        report.work.end();
        report.operations[0].work = report.work;
        report.stages = vec![StageReport {
            from: self.rate,
            to: self.rate,
            begin: Duration::ZERO,
            end: self.duration,
            operations: report.operations.clone(),
        }];
        (report.busy, report.spinning) = (share(self.busy), share(self.spinning));
        report.verdict = verdict(&report, !self.rate.is_zero());
        report.limit = limit(&report, self.backlog);
        report.failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        report.agents.sort_by_key(|agent| std::cmp::Reverse(agent.count));
        report.targets = self.targets.reports(&report.operations[0].planned);
        (report.interval, report.timeline) = self.timeline.intervals();
        report
    }
}
