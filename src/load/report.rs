//! The account of a load, and whether it can be trusted.

use crate::api::Ctx;
use crate::error::{CloseReason, Side};
use crate::histogram::LatencyHistogram;
use crate::peer::ConnectionState;
use crate::time::Instant;
use crate::wire::Version;
use std::fmt;
use std::time::Duration;

/// The most that the generator's own lag may be, at the 99th percentile, for its numbers to be trusted.
const LAG_MAX: Duration = Duration::from_millis(1);
/// The largest share of the run for which the generator's thread may be at work.
const BUSY_MAX: f64 = 0.90;
/// The largest share of planned pings that may stay unsent.
const UNSENT_MAX: f64 = 0.001;
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
    /// Whether every connection has become ready or has failed.
    pub fn is_decided(&self) -> bool {
        self.ready + self.failed >= self.asked
    }
}

/// What became of the pings of the counted part of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkCounts {
    /// Due by the schedule: `sent + unsent`.
    pub planned: u64,
    /// Sent: `answered + timed_out`, once the run has ended.
    pub sent: u64,
    /// Due when no peer could take them.
    pub unsent: u64,
    /// Answered before the end of the drain.
    pub answered: u64,
    /// Not answered by then, those of lost peers among them.
    pub timed_out: u64,
}

impl WorkCounts {
    pub(super) fn note_planned(&mut self, sent: bool) {
        self.planned += 1;
        *if sent { &mut self.sent } else { &mut self.unsent } += 1;
    }

    /// Pings that were due and that the end of the run came before.
    pub(super) fn note_skipped(&mut self, count: u64) {
        self.planned += count;
        self.unsent += count;
    }

    pub(super) fn is_settled(&self) -> bool {
        self.answered >= self.sent
    }
}

/// Bytes of the counted part of the run, headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent.
    pub sent_bytes: u64,
    /// Received.
    pub received_bytes: u64,
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

/// A reason for not trusting the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Doubt {
    /// Pings left later than planned.
    SendLag {
        /// The lag at the 99th percentile.
        p99: Duration,
    },
    /// The loop woke up later than asked.
    LoopLag {
        /// The lag at the 99th percentile.
        p99: Duration,
    },
    /// The generator's thread was at its limit.
    Busy {
        /// The share of the run for which it worked.
        share: f64,
    },
    /// Pings stayed unsent.
    Unsent {
        /// How many.
        count: u64,
    },
    /// Nothing was answered.
    NothingAnswered,
}

/// Whether the generator kept its schedule, so that the latencies are the target's and not its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It did.
    Trusted,
    /// It did not.
    NotTrusted(Vec<Doubt>),
}

/// The account of a load.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The connections.
    pub peers: PeerCounts,
    /// The pings.
    pub work: WorkCounts,
    /// The bytes.
    pub traffic: Traffic,
    /// From the dial to the established TCP connection.
    pub connect: LatencyHistogram,
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
    /// Connections that ended too soon, by cause; most frequent first.
    pub failures: Vec<Failure>,
    /// What the peers said of themselves; most frequent first.
    pub agents: Vec<Agent>,
    /// How long it took until every connection was ready or had failed, if it came to that.
    pub ramp_time: Option<Duration>,
    /// How long the counted part of the run took.
    pub run_time: Duration,
    /// The share of it for which the generator's thread worked.
    pub busy: f64,
    /// Whether it was ended before its time.
    pub is_partial: bool,
    /// Whether the numbers can be trusted.
    pub verdict: Verdict,
}

/// The account while it is being kept.
#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) peers: PeerCounts,
    pub(super) work: WorkCounts,
    pub(super) is_partial: bool,
    connect: LatencyHistogram,
    handshake: LatencyHistogram,
    ping_rtt_planned: LatencyHistogram,
    ping_rtt_sent: LatencyHistogram,
    send_lag: LatencyHistogram,
    loop_lag: LatencyHistogram,
    failures: Vec<Failure>,
    agents: Vec<Agent>,
    run: Option<Run>,
    traffic: Traffic,
    pub(super) ramp_time: Option<Duration>,
    run_time: Duration,
    busy: Duration,
}

/// Where the counted part of the run began.
#[derive(Clone, Copy, Debug)]
struct Run {
    began: Instant,
    busy: Duration,
    traffic: Traffic,
}

impl Run {
    fn here(ctx: &Ctx<'_>) -> Self {
        let traffic = Traffic { sent_bytes: ctx.counters().bytes_sent, received_bytes: ctx.counters().bytes_received };
        Self { began: ctx.now(), busy: ctx.busy(), traffic }
    }
}

impl Accounts {
    pub(super) fn new(asked: usize) -> Self {
        Self {
            peers: PeerCounts { asked, ..PeerCounts::default() },
            work: WorkCounts::default(),
            is_partial: false,
            connect: LatencyHistogram::new(),
            handshake: LatencyHistogram::new(),
            ping_rtt_planned: LatencyHistogram::new(),
            ping_rtt_sent: LatencyHistogram::new(),
            send_lag: LatencyHistogram::new(),
            loop_lag: LatencyHistogram::new(),
            failures: Vec::new(),
            agents: Vec::new(),
            run: None,
            traffic: Traffic::default(),
            ramp_time: None,
            run_time: Duration::ZERO,
            busy: Duration::ZERO,
        }
    }

    pub(super) fn begin_run(&mut self, ctx: &Ctx<'_>) {
        self.run = Some(Run::here(ctx));
    }

    pub(super) fn end_run(&mut self, ctx: &Ctx<'_>) {
        let Some(begin) = self.run else { return };
        let end = Run::here(ctx);
        self.run_time = end.began.since(begin.began);
        self.busy = end.busy.saturating_sub(begin.busy);
        self.traffic = Traffic {
            sent_bytes: end.traffic.sent_bytes - begin.traffic.sent_bytes,
            received_bytes: end.traffic.received_bytes - begin.traffic.received_bytes,
        };
    }

    pub(super) fn note_loop_lag(&mut self, lag: Duration) {
        self.loop_lag.record(lag);
    }

    pub(super) fn note_opened(&mut self, connect: Option<Duration>) {
        self.peers.opened += 1;
        if let Some(connect) = connect {
            self.connect.record(connect);
        }
    }

    pub(super) fn note_ready(&mut self, handshake: Duration, version: Option<&Version>) {
        self.peers.ready += 1;
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

    /// Records a pong, if its ping belongs to the counted part of the run.
    pub(super) fn note_pong(&mut self, planned: Instant, sent: Instant, received: Instant) -> bool {
        if self.run.is_none_or(|run| planned < run.began) {
            return false;
        }
        self.work.answered += 1;
        self.ping_rtt_planned.record(received.since(planned));
        self.ping_rtt_sent.record(received.since(sent));
        self.send_lag.record(sent.since(planned));
        true
    }

    pub(super) fn note_closed(&mut self, reason: CloseReason, state: ConnectionState) {
        match state {
            ConnectionState::Connected => self.peers.lost += 1,
            ConnectionState::Disconnected
            | ConnectionState::Connecting
            | ConnectionState::AwaitingHandshake
            | ConnectionState::Rejected
            | ConnectionState::Failed => self.peers.failed += 1,
        }
        self.note_failure(reason.label(), reason.side(), state, Some(reason));
    }

    /// A connection could not even be begun.
    pub(super) fn not_dialled(&mut self) {
        self.peers.failed += 1;
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

    pub(super) fn into_report(mut self) -> Report {
        self.work.timed_out = self.work.sent.saturating_sub(self.work.answered);
        self.failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        self.agents.sort_by_key(|agent| std::cmp::Reverse(agent.count));
        let busy = self.busy.as_secs_f64() / self.run_time.as_secs_f64().max(f64::MIN_POSITIVE);
        let verdict = self.verdict(busy);
        Report {
            peers: self.peers,
            work: self.work,
            traffic: self.traffic,
            connect: self.connect,
            handshake: self.handshake,
            ping_rtt_planned: self.ping_rtt_planned,
            ping_rtt_sent: self.ping_rtt_sent,
            send_lag: self.send_lag,
            loop_lag: self.loop_lag,
            failures: self.failures,
            agents: self.agents,
            ramp_time: self.ramp_time,
            run_time: self.run_time,
            busy,
            is_partial: self.is_partial,
            verdict,
        }
    }

    fn verdict(&self, busy: f64) -> Verdict {
        let mut doubts = Vec::new();
        if (self.run.is_none() || self.work.planned > 0) && self.work.answered == 0 {
            doubts.push(Doubt::NothingAnswered);
        }
        if busy > BUSY_MAX {
            doubts.push(Doubt::Busy { share: busy });
        }
        let late = |lag: &LatencyHistogram| lag.percentile(99.0).filter(|&p99| p99 > LAG_MAX);
        doubts.extend(late(&self.send_lag).map(|p99| Doubt::SendLag { p99 }));
        doubts.extend(late(&self.loop_lag).map(|p99| Doubt::LoopLag { p99 }));
        let count = self.work.unsent;
        if count as f64 > self.work.planned as f64 * UNSENT_MAX {
            doubts.push(Doubt::Unsent { count });
        }
        if doubts.is_empty() { Verdict::Trusted } else { Verdict::NotTrusted(doubts) }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SendLag { p99 } => write!(
                f,
                "pings left up to {} later than planned (p99); lower the rate or free a CPU for the generator",
                shown(*p99)
            ),
            Self::LoopLag { p99 } => write!(
                f,
                "the loop woke up to {} late (p99); this machine is busy with something else, or spinning is off",
                shown(*p99)
            ),
            Self::Busy { share } => write!(
                f,
                "the generator's thread was at work {:.0} % of the time; lower the rate or split the load",
                share * 100.0
            ),
            Self::Unsent { count } => {
                write!(f, "{count} pings were due when no peer could take them; see the failures, or lower the rate")
            }
            Self::NothingAnswered => f.write_str("no ping was answered, so there is nothing to measure"),
        }
    }
}

/// A lag with three digits: `1.05 ms`, `12.3 ms`, `109 ms`, `1.50 s`.
fn shown(lag: Duration) -> String {
    let millis = lag.as_secs_f64() * 1e3;
    match lag.as_nanos() {
        0..9_995_000 => format!("{millis:.2} ms"),
        9_995_000..99_950_000 => format!("{millis:.1} ms"),
        99_950_000..999_500_000 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}
