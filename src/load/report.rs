//! The account of a load, and whether it can be trusted.

use super::ending::{EarlyEnd, Limit, Ramp};
use super::plan::Plan;
use super::targets::{TargetReport, Targets};
use super::timeline::{Interval, Timeline};
use super::traffic::Traffic;
use super::unanswered::UnansweredWaits;
use super::verdict::{Doubt, Verdict};
use crate::error::{CloseReason, Side};
use crate::handler::Ctx;
use crate::id::PeerId;
use crate::peer::ConnectionState;
use crate::stats::histogram::LatencyHistogram;
use crate::time::Instant;
use crate::wire::Version;
use std::time::Duration;

/// The most that the generator's own lag may be, at the 99th percentile, for its numbers to be trusted.
const LAG_MAX: Duration = Duration::from_millis(1);
/// The largest share of the run for which the generator's thread may be at work.
const BUSY_MAX: f64 = 0.90;
/// The largest share of planned pings that may stay unsent.
const UNSENT_MAX: f64 = 0.001;
/// The share of planned pings that may be outstanding at the end of the run, if more than twice as many are as at its
/// middle: a target that falls behind has a backlog that grows.
const BACKLOG_MAX: f64 = 0.02;
/// Distinct user agents and causes of failure that are told apart.
const KINDS_MAX: usize = 64;

/// What became of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Planned.
    pub asked: usize,
    /// TCP connections established.
    pub opened: usize,
    /// Handshakes completed.
    pub ready: usize,
    /// Closed after their handshake, before the end.
    pub lost: usize,
    /// Closed before their handshake was complete, or never opened.
    pub failed: usize,
}

impl PeerCounts {
    /// Counts the peers that are ready and not lost.
    pub fn left(&self) -> usize {
        self.ready.saturating_sub(self.lost)
    }

    /// Whether every connection has become ready or has failed.
    pub fn is_decided(&self) -> bool {
        self.ready + self.failed >= self.asked
    }
}

/// What became of the pings of the counted part of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkCounts {
    /// Due by the schedule: `sent + unsent`.
    ///
    /// The schedule is that of all planned connections until the planned end, whatever became of them: peers that never
    /// were ready or were lost keep their share. Only [`GeneratorCommand::Finish`](super::GeneratorCommand::Finish)
    /// ends it sooner.
    pub planned: u64,
    /// Sent: `answered + timed_out`, once the run has ended.
    pub sent: u64,
    /// Due and not sent.
    pub unsent: u64,
    /// Those of the unsent whose peer could take none: it never was ready, was lost, or left too many unanswered.
    pub absent: u64,
    /// Answered before the end of the drain.
    pub answered: u64,
    /// Not answered by then, those of lost peers among them.
    pub timed_out: u64,
}

impl WorkCounts {
    /// Counts operations that were due and what became of them.
    pub(super) fn note_planned(&mut self, count: u64, fate: Fate) {
        self.planned += count;
        match fate {
            Fate::Sent => self.sent += count,
            Fate::Absent => (self.unsent, self.absent) = (self.unsent + count, self.absent + count),
            Fate::Unsent => self.unsent += count,
        }
    }

    /// Closes the account: what is not answered by now has timed out.
    pub(super) fn end(&mut self) {
        self.timed_out = self.sent.saturating_sub(self.answered);
    }

    /// Counts the pings that were sent and have no answer yet.
    fn outstanding(&self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.answered >= self.sent
    }
}

/// The outcome of an operation that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    /// Its peer could not take it.
    Absent,
    /// Its turn never came.
    Unsent,
}

/// Connections that ended too soon, for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause, from a closed list.
    pub label: &'static str,
    /// Which side it lies on.
    pub side: Side,
    /// How far the connections had come.
    pub state: ConnectionState,
    /// How many they are.
    pub count: u64,
    /// The cause of the first, in full; none if it was never opened for want of a row.
    pub example: Option<CloseReason>,
}

/// Peers that said the same of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The user agent, printable.
    pub user_agent: String,
    /// The protocol version claimed.
    pub protocol_version: i32,
    /// How many they are.
    pub count: usize,
}

/// The account of a load.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The connections.
    pub peers: PeerCounts,
    /// The pings.
    pub work: WorkCounts,
    /// The connections and the pings of each target, in the order of the plan.
    pub targets: Vec<TargetReport>,
    /// The bytes.
    pub traffic: Traffic,
    /// From the planned moment of a dial to the established TCP connection.
    pub connect_planned: LatencyHistogram,
    /// From the dial to the established TCP connection.
    pub connect_dialled: LatencyHistogram,
    /// From the planned moment of a dial to the dial, of connections that were established.
    pub dial_lag: LatencyHistogram,
    /// From the established connection to the complete handshake.
    pub handshake: LatencyHistogram,
    /// From the planned moment of a ping to its pong.
    pub ping_rtt_planned: LatencyHistogram,
    /// From the moment a ping was given to the kernel to its pong.
    pub ping_rtt_sent: LatencyHistogram,
    /// From the planned moment of a ping to the one it was given to the kernel.
    pub send_lag: LatencyHistogram,
    /// How late the loop woke up for what was due.
    pub loop_lag: LatencyHistogram,
    /// The shortest waits for pings that were not answered.
    pub unanswered_waits: UnansweredWaits,
    /// The length of the intervals of the timeline, a whole number of seconds.
    pub interval: Duration,
    /// The counted part of the run and its drain, interval by interval.
    pub timeline: Vec<Interval>,
    /// Connections that ended too soon, by cause; most frequent first.
    pub failures: Vec<Failure>,
    /// What the peers said of themselves; most frequent first.
    pub agents: Vec<Agent>,
    /// How the connections were opened.
    pub ramp: Ramp,
    /// The time of the schedule that `work.planned` covers: the planned one, unless it was asked to finish before.
    pub scheduled_time: Duration,
    /// How long the counted part of the run took.
    pub run_time: Duration,
    /// The share of it for which the generator's thread worked.
    pub busy: f64,
    /// The share of it for which the generator's thread polled for exact wake-ups instead of sleeping.
    pub spinning: f64,
    /// How it ended before its time, if it did.
    pub early_end: Option<EarlyEnd>,
    /// The cause that kept it from being done as planned.
    pub limit: Limit,
    /// Whether the numbers can be trusted.
    pub verdict: Verdict,
}

impl Report {
    /// Returns whether it covers less than was planned.
    pub fn is_partial(&self) -> bool {
        self.early_end.is_some()
    }

    /// Computes the answers per second of the schedule; none if there was none.
    pub fn answered_per_second(&self) -> Option<f64> {
        let seconds = self.scheduled_time.as_secs_f64();
        (seconds > 0.0).then(|| self.work.answered as f64 / seconds)
    }
}

/// The account while it is being kept.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    pub(super) peers: PeerCounts,
    pub(super) work: WorkCounts,
    pub(super) early_end: Option<EarlyEnd>,
    pub(super) scheduled_time: Duration,
    pub(super) ramp: Ramp,
    targets: Targets,
    has_pings: bool,
    connect_planned: LatencyHistogram,
    connect_dialled: LatencyHistogram,
    dial_lag: LatencyHistogram,
    handshake: LatencyHistogram,
    ping_rtt_planned: LatencyHistogram,
    ping_rtt_sent: LatencyHistogram,
    send_lag: LatencyHistogram,
    loop_lag: LatencyHistogram,
    unanswered_waits: UnansweredWaits,
    pub(super) timeline: Timeline,
    failures: Vec<Failure>,
    agents: Vec<Agent>,
    run: Option<Run>,
    traffic: Traffic,
    /// Outstanding pings at the middle of the run, once it has come, and at its end.
    backlog: (Option<u64>, u64),
    run_time: Duration,
    busy: Duration,
    spinning: Duration,
}

/// Where the counted part of the run began.
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
        Self {
            peers: PeerCounts { asked: plan.connections, ..PeerCounts::default() },
            work: WorkCounts::default(),
            early_end: None,
            scheduled_time: Duration::ZERO,
            ramp: Ramp::default(),
            targets: Targets::new(&plan.targets, plan.connections),
            has_pings: !plan.rate.is_zero(),
            connect_planned: LatencyHistogram::new(),
            connect_dialled: LatencyHistogram::new(),
            dial_lag: LatencyHistogram::new(),
            handshake: LatencyHistogram::new(),
            ping_rtt_planned: LatencyHistogram::new(),
            ping_rtt_sent: LatencyHistogram::new(),
            send_lag: LatencyHistogram::new(),
            loop_lag: LatencyHistogram::new(),
            unanswered_waits: UnansweredWaits::default(),
            timeline: Timeline::new(plan.duration, plan.rate),
            failures: Vec::new(),
            agents: Vec::new(),
            run: None,
            traffic: Traffic::default(),
            backlog: (None, 0),
            run_time: Duration::ZERO,
            busy: Duration::ZERO,
            spinning: Duration::ZERO,
        }
    }

    pub(super) fn begin_run(&mut self, ctx: &Ctx<'_>) {
        self.run = Some(Run::here(ctx));
        self.timeline.begin(ctx.now(), self.peers.left());
    }

    /// Notes the outstanding pings when the second half of the run begins.
    pub(super) fn note_middle(&mut self) {
        self.backlog.0.get_or_insert_with(|| self.work.outstanding());
    }

    pub(super) fn end_run(&mut self, ctx: &Ctx<'_>) {
        self.backlog.1 = self.work.outstanding();
        let Some(begin) = self.run else { return };
        let end = Run::here(ctx);
        self.run_time = end.began.since(begin.began);
        self.busy = end.busy.saturating_sub(begin.busy);
        self.spinning = end.spinning.saturating_sub(begin.spinning);
        self.traffic = end.traffic.since(begin.traffic);
    }

    pub(super) fn note_loop_lag(&mut self, lag: Duration) {
        self.loop_lag.record(lag);
    }

    /// Records an established connection. The loop may dial later than it was told to: it dialled `connect` ago, which
    /// is less than `since_planned` ago, and `since_begin` is the time since the begin of the ramp.
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

    /// Counts in the account of all targets and in that of the connection's own.
    fn count_peer(&mut self, connection: usize, count: impl Fn(&mut PeerCounts)) {
        count(&mut self.peers);
        count(&mut self.targets.of(connection).peers);
    }

    /// Counts operations of one connection that were due.
    pub(super) fn note_planned(&mut self, connection: usize, count: u64, fate: Fate) {
        self.work.note_planned(count, fate);
        self.targets.of(connection).work.note_planned(count, fate);
    }

    pub(super) fn note_ready(&mut self, connection: usize, handshake: Duration, version: Option<&Version>) {
        self.count_peer(connection, |peers| peers.ready += 1);
        self.handshake.record(handshake);
        let Some(version) = version else { return };
        let (user_agent, protocol_version) = (version.printable_user_agent(), version.protocol_version);
        let same = |agent: &Agent| agent.user_agent == user_agent && agent.protocol_version == protocol_version;
        match self.agents.iter().position(same) {
            Some(index) => self.agents[index].count += 1,
            None if self.agents.len() < KINDS_MAX => {
                self.agents.push(Agent { user_agent, protocol_version, count: 1 });
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

    /// Notes how long a peer's pings were waited for that are not going to be answered.
    pub(super) fn note_unanswered(&mut self, ctx: &Ctx<'_>, peer: PeerId, connection: usize) {
        let Some(view) = ctx.peer(peer) else { return };
        for ping in view.connection().ping_pong().in_flight() {
            if self.is_counted(ping.planned) {
                self.unanswered_waits.note(ping, ctx.now());
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
        self.work.answered += 1;
        self.ping_rtt_planned.record(received.since(planned));
        self.targets.note_answered(connection, received.since(planned));
        self.ping_rtt_sent.record(received.since(sent));
        self.send_lag.record(sent.since(planned));
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

    /// A connection could not even be begun.
    pub(super) fn not_dialled(&mut self, connection: usize) {
        self.count_peer(connection, |peers| peers.failed += 1);
        self.note_failure("table_full", Side::Local, ConnectionState::Disconnected, None);
    }

    fn note_failure(&mut self, label: &'static str, side: Side, state: ConnectionState, example: Option<CloseReason>) {
        let same = |failure: &Failure| failure.label == label && failure.state == state;
        match self.failures.iter().position(same) {
            Some(index) => self.failures[index].count += 1,
            None if self.failures.len() < KINDS_MAX => {
                self.failures.push(Failure { label, side, state, count: 1, example });
            }
            None => {}
        }
    }

    /// Returns whether there is one kind of failure alone, with nobody ready.
    pub(super) fn all_failed_alike(&self) -> bool {
        self.peers.ready == 0 && self.failures.len() == 1
    }

    pub(super) fn into_report(mut self) -> Report {
        self.work.end();
        self.failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        self.agents.sort_by_key(|agent| std::cmp::Reverse(agent.count));
        let share = |time: Duration| time.as_secs_f64() / self.run_time.as_secs_f64().max(f64::MIN_POSITIVE);
        let (busy, spinning) = (share(self.busy), share(self.spinning));
        let verdict = self.verdict(busy);
        let limit = self.limit(&verdict);
        let has_run = self.run.is_some();
        let (interval, timeline) = self.timeline.into_intervals(self.scheduled_time);
        Report {
            peers: self.peers,
            work: self.work,
            targets: self.targets.into_reports(&self.ping_rtt_planned),
            traffic: self.traffic,
            connect_planned: self.connect_planned,
            connect_dialled: self.connect_dialled,
            dial_lag: self.dial_lag,
            handshake: self.handshake,
            ping_rtt_planned: self.ping_rtt_planned,
            ping_rtt_sent: self.ping_rtt_sent,
            send_lag: self.send_lag,
            loop_lag: self.loop_lag,
            unanswered_waits: self.unanswered_waits,
            interval,
            timeline: if has_run { timeline } else { Vec::new() },
            failures: self.failures,
            agents: self.agents,
            ramp: self.ramp,
            scheduled_time: self.scheduled_time,
            run_time: self.run_time,
            busy,
            spinning,
            early_end: self.early_end,
            limit,
            verdict,
        }
    }

    fn verdict(&self, busy: f64) -> Verdict {
        let mut doubts = Vec::new();
        let samples = if self.has_pings { self.work.answered } else { self.handshake.count() };
        if samples == 0 {
            doubts.push(Doubt::NothingMeasured);
        }
        if busy > BUSY_MAX {
            doubts.push(Doubt::Busy { share: busy });
        }
        let late = |lag: &LatencyHistogram| lag.percentile(99.0).filter(|&p99| p99 > LAG_MAX);
        doubts.extend(late(&self.send_lag).map(|p99| Doubt::SendLag { p99 }));
        doubts.extend(late(&self.loop_lag).map(|p99| Doubt::LoopLag { p99 }));
        doubts.extend(late(&self.dial_lag).map(|p99| Doubt::DialLag { p99 }));
        let WorkCounts { planned, unsent: count, absent, .. } = self.work;
        if count as f64 > planned as f64 * UNSENT_MAX {
            doubts.push(Doubt::Unsent { count, absent });
        }
        if doubts.is_empty() { Verdict::Trusted } else { Verdict::NotTrusted(doubts) }
    }

    /// Judges what kept the load from being done as planned. A generator at fault hides what the target can do.
    fn limit(&self, verdict: &Verdict) -> Limit {
        let doubts = match verdict {
            Verdict::Trusted => &[][..],
            Verdict::NotTrusted(doubts) => doubts,
        };
        let share_max = self.work.planned as f64 * UNSENT_MAX;
        let is_own = |doubt: &Doubt| match *doubt {
            Doubt::SendLag { .. } | Doubt::LoopLag { .. } | Doubt::DialLag { .. } | Doubt::Busy { .. } => true,
            Doubt::Unsent { count, absent } => (count - absent) as f64 > share_max,
            Doubt::NothingMeasured => false,
        };
        let is_refused = self.peers.lost + self.peers.failed > 0;
        let (middle, end) = (self.backlog.0.unwrap_or(0), self.backlog.1);
        let is_behind = end > 2 * middle && end as f64 > self.work.planned as f64 * BACKLOG_MAX;
        match doubts.iter().any(is_own) {
            true => Limit::Generator,
            false if is_refused || is_behind || self.work.timed_out as f64 > share_max => Limit::Node,
            false => Limit::None,
        }
    }
}
