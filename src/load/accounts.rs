//! The results of a running load: counts of connections and operations, latencies, and the causes of failures.
//!
//! At the end every planned operation has been counted exactly once, even if its peer failed. This file sends
//! nothing.

use super::counts::{Fate, PeerCounts, WorkCounts};
use super::phase::EarlyEnd;
use super::plan::Plan;
use super::report::{Agent, Failure, Ramp, Report};
use super::targets::Targets;
use super::timeline::{Interval, Timeline};
use super::traffic::Traffic;
use super::unanswered::UnansweredWaits;
use super::verdict::{Doubt, Limit, Verdict};
use crate::error::{CloseReason, RequestError, Side};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::peer::ConnectionState;
use crate::stats::histogram::LatencyHistogram;
use crate::time::Instant;
use crate::wire::Version;
use std::time::Duration;

/// Maximum lag of the generator, at the 99th percentile, for its numbers to be trusted.
const MAX_LAG: Duration = Duration::from_millis(1);
/// Maximum share of the run in which the generator's thread may be busy.
const MAX_BUSY: f64 = 0.90;
/// Maximum share of planned pings that may stay unsent. The same maximum applies to pings that time out.
const MAX_UNSENT: f64 = 0.001;
/// Maximum share of planned pings that may be outstanding at the end of the run. It applies only if more than twice
/// as many pings are outstanding as at the middle of the run: a growing backlog means that a target falls behind.
const MAX_BACKLOG: f64 = 0.02;
/// Maximum length of the report's list of user agents, and of its list of failures. Later entries are omitted.
const MAX_KINDS: usize = 64;

/// The results while the load runs: a report without the values that are known only at the end.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    report: Report,
    targets: Targets,
    timeline: Timeline,
    has_pings: bool,
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
                targets: Vec::new(),
                streams_opened: 0,
                stream_failures: 0,
                traffic: Traffic::default(),
                connect_planned: LatencyHistogram::new(),
                connect_dialled: LatencyHistogram::new(),
                dial_lag: LatencyHistogram::new(),
                handshake: LatencyHistogram::new(),
                ping_rtt_planned: LatencyHistogram::new(),
                ping_rtt_sent: LatencyHistogram::new(),
                send_lag: LatencyHistogram::new(),
                loop_lag: LatencyHistogram::new(),
                unanswered_waits: UnansweredWaits::default(),
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
            has_pings: !plan.rate.is_zero(),
            run: None,
            backlog: (None, 0),
            busy: Duration::ZERO,
            spinning: Duration::ZERO,
        }
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
        self.timeline.latest(now)
    }

    pub(super) fn begin_run(&mut self, ctx: &Ctx<'_>) {
        self.run = Some(Run::here(ctx));
        self.timeline.begin(ctx.now(), self.report.peers.left());
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

    pub(super) fn note_loop_lag(&mut self, lag: Duration) {
        self.report.loop_lag.record(lag);
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
    pub(super) fn note_planned(&mut self, connection: usize, count: u64, fate: Fate) {
        self.report.work.note_planned(count, fate);
        self.targets.of(connection).work.note_planned(count, fate);
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

    /// Counts one operation that is due now.
    pub(super) fn note_due(&mut self, connection: usize, planned: Instant, fate: Fate) {
        self.note_planned(connection, 1, fate);
        if fate == Fate::Sent {
            self.timeline.note_sent(planned);
        }
    }

    /// Returns whether a ping belongs to the counted part of the run.
    fn is_counted(&self, planned: Instant) -> bool {
        self.run.is_some_and(|run| planned >= run.began)
    }

    /// Records how long a peer's unanswered pings of the counted part have waited for their pongs.
    pub(super) fn note_unanswered(&mut self, ctx: &Ctx<'_>, peer: PeerId, connection: usize) {
        let Some(view) = ctx.peer(peer) else { return };
        for ping in view.pings_in_flight() {
            if self.is_counted(ping.planned) {
                self.report.unanswered_waits.note(ping, ctx.now());
                self.targets.of(connection).unanswered_waits.note(ping, ctx.now());
            }
        }
    }

    /// Records a pong, if its ping belongs to the counted part of the run.
    pub(super) fn note_pong(&mut self, connection: usize, planned: Instant, sent: Instant, received: Instant) {
        if !self.is_counted(planned) {
            return;
        }
        self.timeline.note_answered(received, received.since(planned));
        self.report.work.answered += 1;
        self.report.ping_rtt_planned.record(received.since(planned));
        self.targets.note_answered(connection, received.since(planned));
        self.report.ping_rtt_sent.record(received.since(sent));
        self.report.send_lag.record(sent.since(planned));
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

    pub(super) fn into_report(mut self) -> Report {
        self.report.work.end();
        let share = |time: Duration| time.as_secs_f64() / self.report.run_time.as_secs_f64().max(f64::MIN_POSITIVE);
        (self.report.busy, self.report.spinning) = (share(self.busy), share(self.spinning));
        self.report.verdict = self.verdict();
        self.report.limit = self.limit();
        let mut report = self.report;
        report.failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        report.agents.sort_by_key(|agent| std::cmp::Reverse(agent.count));
        report.targets = self.targets.into_reports(&report.ping_rtt_planned);
        let (interval, timeline) = self.timeline.into_intervals(report.scheduled_time);
        report.interval = interval;
        report.timeline = if self.run.is_some() { timeline } else { Vec::new() };
        report
    }

    fn verdict(&self) -> Verdict {
        let mut doubts = Vec::new();
        let samples = if self.has_pings { self.report.work.answered } else { self.report.handshake.count() };
        if samples == 0 {
            doubts.push(Doubt::NothingMeasured);
        }
        if self.report.busy > MAX_BUSY {
            doubts.push(Doubt::Busy { share: self.report.busy });
        }
        let late = |lag: &LatencyHistogram| lag.percentile(99.0).filter(|&p99| p99 > MAX_LAG);
        doubts.extend(late(&self.report.send_lag).map(|p99| Doubt::SendLag { p99 }));
        doubts.extend(late(&self.report.loop_lag).map(|p99| Doubt::LoopLag { p99 }));
        doubts.extend(late(&self.report.dial_lag).map(|p99| Doubt::DialLag { p99 }));
        let WorkCounts { planned, unsent: count, absent, .. } = self.report.work;
        if count as f64 > planned as f64 * MAX_UNSENT {
            doubts.push(Doubt::Unsent { count, absent });
        }
        if doubts.is_empty() { Verdict::Trusted } else { Verdict::NotTrusted(doubts) }
    }

    /// Returns the cause, if any, that kept the load from being carried out as planned. If the generator is at fault,
    /// it is the cause, because the target's capacity is then unknown.
    fn limit(&self) -> Limit {
        let doubts = match &self.report.verdict {
            Verdict::Trusted => &[][..],
            Verdict::NotTrusted(doubts) => doubts,
        };
        let max_share = self.report.work.planned as f64 * MAX_UNSENT;
        let is_own = |doubt: &Doubt| match *doubt {
            Doubt::SendLag { .. } | Doubt::LoopLag { .. } | Doubt::DialLag { .. } | Doubt::Busy { .. } => true,
            Doubt::Unsent { count, absent } => (count - absent) as f64 > max_share,
            Doubt::NothingMeasured => false,
        };
        let is_refused = self.report.peers.lost + self.report.peers.failed > 0;
        let (middle, end) = (self.backlog.0.unwrap_or(0), self.backlog.1);
        let is_behind = end > 2 * middle && end as f64 > self.report.work.planned as f64 * MAX_BACKLOG;
        match doubts.iter().any(is_own) {
            true => Limit::Generator,
            false if is_refused || is_behind || self.report.work.timed_out as f64 > max_share => Limit::Node,
            false => Limit::None,
        }
    }
}
