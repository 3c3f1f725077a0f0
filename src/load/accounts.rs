//! The results of a running load: the connections, the causes of failures, the generator's own state, and the ledger of
//! the operations. This file sends nothing.

use super::counts::PeerCounts;
use super::judgement::{limit, verdict};
use super::ledger::Ledger;
use super::operations::Part;
use super::phase::EarlyEnd;
use super::plan::Plan;
use super::record::OperationResult;
use super::report::{Agent, Failure, OperationFailure, Ramp, Report};
use super::schedule::Schedule;
use super::stage::{Pace, RateChange};
use super::traffic::Traffic;
use super::verdict::{Limit, Verdict};
use crate::error::{CloseReason, RequestError, Side};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::MAX_LOAD_RATE_CHANGES;
use crate::peer::ConnectionState;
use crate::stats::histogram::LatencyHistogram;
use crate::time::Instant;
use crate::wire::Version;
use std::time::Duration;

/// Maximum length of the report's list of user agents, and of each of its lists of failures. Later entries are omitted.
const MAX_KINDS: usize = 64;

/// The results while the load runs.
#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) ledger: Ledger,
    peers: PeerCounts,
    ramp: Ramp,
    connect_planned: LatencyHistogram,
    connect_dialled: LatencyHistogram,
    dial_lag: LatencyHistogram,
    handshake: LatencyHistogram,
    failures: Vec<Failure>,
    operation_failures: Vec<OperationFailure>,
    agents: Vec<Agent>,
    pace: Pace,
    rate_changes: Vec<RateChange>,
    has_operations: bool,
    /// Whether connections are planned apart from the operations.
    has_peers: bool,
    early_end: Option<EarlyEnd>,
    scheduled_time: Duration,
    run: Option<Run>,
    streams_opened: u64,
    stream_failures: u64,
    run_time: Duration,
    busy: Duration,
    spinning: Duration,
    traffic: Traffic,
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
    fn here(ctx: &Ctx<'_>, has_handshakes: bool) -> Self {
        let traffic = Traffic::so_far(ctx, has_handshakes);
        Self { began: ctx.now(), busy: ctx.busy(), spinning: ctx.spinning(), traffic }
    }
}

impl Accounts {
    /// Returns the accounts of a load with these metrics, of which `mains` are the main ones. Without `has_peers`, no
    /// connection is planned; with `is_passive`, operations are expected although the plan has none.
    pub(super) fn new(
        plan: &Plan,
        metrics: &[&'static str],
        mains: &[usize],
        has_peers: bool,
        is_passive: bool,
    ) -> Self {
        let parts = Part::all(mains, metrics.len());
        let share = plan.share();
        let asked = if has_peers { plan.ramp_slots() } else { 0 };
        Self {
            ledger: Ledger::new(plan, metrics, parts, (0..asked).map(|slot| share.connection(slot))),
            peers: PeerCounts { asked, ..PeerCounts::default() },
            ramp: Ramp::default(),
            connect_planned: LatencyHistogram::new(),
            connect_dialled: LatencyHistogram::new(),
            dial_lag: LatencyHistogram::new(),
            handshake: LatencyHistogram::new(),
            failures: Vec::new(),
            operation_failures: Vec::new(),
            agents: Vec::new(),
            pace: plan.pace,
            rate_changes: Vec::new(),
            has_operations: plan.has_operations() || is_passive,
            has_peers,
            early_end: None,
            scheduled_time: Duration::ZERO,
            run: None,
            streams_opened: 0,
            stream_failures: 0,
            run_time: Duration::ZERO,
            busy: Duration::ZERO,
            spinning: Duration::ZERO,
            traffic: Traffic::default(),
        }
    }

    pub(super) fn peers(&self) -> PeerCounts {
        self.peers
    }

    pub(super) fn early_end(&self) -> Option<EarlyEnd> {
        self.early_end
    }

    pub(super) fn set_early_end(&mut self, end: EarlyEnd) {
        self.early_end = Some(end);
    }

    /// Sets the duration that the planned operations cover.
    pub(super) fn set_scheduled_time(&mut self, time: Duration) {
        self.scheduled_time = time;
        self.ledger.set_scheduled_time(time);
    }

    /// Records a change of the rate.
    pub(super) fn note_rate_change(&mut self, change: RateChange) {
        self.has_operations |= !change.to.is_zero();
        if self.rate_changes.len() < MAX_LOAD_RATE_CHANGES {
            self.rate_changes.push(change);
        }
    }

    /// Records the latest dial. Its planned and its actual time are measured from the start of the ramp.
    pub(super) fn note_dial(&mut self, planned_time: Duration, dial_time: Duration) {
        self.ramp = Ramp { dialled: self.ramp.dialled + 1, planned_time, dial_time, ..self.ramp };
    }

    /// Counts a connection that an operation opens.
    pub(super) fn note_asked(&mut self, connection: usize) {
        self.count_peer(connection, |peers| peers.asked += 1);
    }

    /// Counts a connection whose dial was requested and is no longer wanted, before or after it became ready.
    pub(super) fn note_unwanted(&mut self, connection: usize, was_ready: bool) {
        self.count_peer(connection, |peers| {
            peers.asked -= 1;
            peers.ready -= usize::from(was_ready);
        });
    }

    /// Records the duration of the ramp, if every connection has become ready or has failed.
    pub(super) fn note_ramp(&mut self, time: Duration) {
        if self.peers.is_decided() {
            self.ramp.time.get_or_insert(time);
        }
    }

    /// Starts the counted run. `schedule` is its schedule, if all operations of the schedule are planned.
    pub(super) fn begin_run(&mut self, ctx: &Ctx<'_>, schedule: Option<Schedule>) {
        self.run = Some(Run::here(ctx, !self.has_peers));
        self.ledger.begin(ctx.now(), self.peers.left(), schedule);
    }

    pub(super) fn end_run(&mut self, ctx: &Ctx<'_>) {
        self.ledger.note_end();
        self.streams_opened = ctx.counters().streams_opened;
        self.stream_failures = ctx.counters().stream_failures;
        let Some(begin) = self.run else { return };
        let end = Run::here(ctx, !self.has_peers);
        self.run_time = end.began.since(begin.began);
        self.busy = end.busy.saturating_sub(begin.busy);
        self.spinning = end.spinning.saturating_sub(begin.spinning);
        self.traffic = end.traffic.since(begin.traffic);
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
        self.connect_planned.record(since_planned);
        if let Some(connect) = connect {
            self.connect_dialled.record(connect);
            self.dial_lag.record(since_planned.saturating_sub(connect));
            self.ramp.dial_time = self.ramp.dial_time.max(since_begin.saturating_sub(connect));
        }
    }

    /// Counts a peer in the totals and in the connection's target.
    fn count_peer(&mut self, connection: usize, count: impl Fn(&mut PeerCounts)) {
        count(&mut self.peers);
        count(&mut self.ledger.target(connection).peers);
    }

    pub(super) fn note_ready(&mut self, connection: usize, handshake: Duration, version: Option<&Version>) {
        self.count_peer(connection, |peers| peers.ready += 1);
        self.handshake.record(handshake);
        let Some(version) = version else { return };
        let (user_agent, protocol_version) = (version.printable_user_agent(), version.protocol_version);
        let same = |agent: &Agent| agent.user_agent == user_agent && agent.protocol_version == protocol_version;
        match self.agents.iter().position(same) {
            Some(index) => self.agents[index].count += 1,
            None if self.agents.len() < MAX_KINDS => {
                self.agents.push(Agent::new(user_agent, protocol_version));
            }
            None => {}
        }
    }

    pub(super) fn note_closed(&mut self, now: Instant, connection: usize, reason: CloseReason, state: ConnectionState) {
        match state {
            ConnectionState::Connected => {
                self.count_peer(connection, |peers| peers.lost += 1);
                self.ledger.note_lost(now);
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

    /// Records the end of each unanswered ping of a peer.
    pub(super) fn note_unanswered_pings(
        &mut self,
        ctx: &Ctx<'_>,
        peer: PeerId,
        connection: usize,
        result: OperationResult,
    ) {
        for ping in ctx.peer(peer).into_iter().flat_map(|view| view.pings_in_flight()) {
            self.ledger.note_unanswered_ping(ctx.now(), connection, ping, result);
        }
    }

    /// Counts an operation that failed or could not be sent.
    pub(super) fn note_operation_failure(&mut self, cause: &'static str) {
        match self.operation_failures.iter().position(|failure| failure.cause == cause) {
            Some(index) => self.operation_failures[index].count += 1,
            None if self.operation_failures.len() < MAX_KINDS => {
                self.operation_failures.push(OperationFailure { cause, count: 1 });
            }
            None => {}
        }
    }

    fn note_failure(&mut self, label: &'static str, side: Side, state: ConnectionState, example: Option<CloseReason>) {
        let same = |failure: &Failure| failure.label == label && failure.state == state;
        match self.failures.iter().position(same) {
            Some(index) => self.failures[index].count += 1,
            None if self.failures.len() < MAX_KINDS => {
                self.failures.push(Failure::new(label, side, state, example));
            }
            None => {}
        }
    }

    /// Returns whether no peer has become ready and there are failures, all of one kind.
    pub(super) fn all_failed_alike(&self) -> bool {
        self.peers.ready == 0 && self.failures.len() == 1
    }

    /// Returns the report. Call it after [`Ledger::end_load`].
    pub(super) fn report(&self) -> Report {
        let share = |time: Duration| time.as_secs_f64() / self.run_time.as_secs_f64().max(f64::MIN_POSITIVE);
        let results = self.ledger.results();
        let mut report = Report {
            peers: self.peers,
            work: results.work,
            operations: results.operations,
            stages: results.stages,
            pace: self.pace,
            rate_changes: self.rate_changes.clone(),
            targets: results.targets,
            streams_opened: self.streams_opened,
            stream_failures: self.stream_failures,
            traffic: self.traffic,
            connect_planned: self.connect_planned.clone(),
            connect_dialled: self.connect_dialled.clone(),
            dial_lag: self.dial_lag.clone(),
            handshake: self.handshake.clone(),
            send_lag: results.send_lag,
            loop_lag: results.loop_lag,
            interval: results.interval,
            timeline: results.timeline,
            failures: self.failures.clone(),
            operation_failures: self.operation_failures.clone(),
            agents: self.agents.clone(),
            ramp: self.ramp,
            scheduled_time: self.scheduled_time,
            run_time: self.run_time,
            busy: share(self.busy),
            spinning: share(self.spinning),
            early_end: self.early_end,
            limit: Limit::None,
            verdict: Verdict::Trusted,
        };
        report.failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        report.operation_failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        report.agents.sort_by_key(|agent| std::cmp::Reverse(agent.count));
        report.verdict = verdict(&report, self.has_operations);
        report.limit = limit(&report, results.backlog);
        report
    }
}
