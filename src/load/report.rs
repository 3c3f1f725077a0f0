//! The report of a load that has ended.

use super::counts::{PeerCounts, WorkCounts};
use super::interval::Interval;
use super::operations::{OperationReport, StageReport};
use super::phase::EarlyEnd;
use super::rate::Rate;
use super::stage::{Pace, RateChange};
use super::targets::TargetReport;
use super::traffic::Traffic;
use super::verdict::{Limit, Verdict};
use crate::error::{CloseReason, Side};
use crate::peer::ConnectionState;
use crate::stats::histogram::LatencyHistogram;
use std::time::Duration;

/// The opening of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Ramp {
    /// Connections dialled.
    pub dialled: usize,
    /// Planned time from the start to the last dial.
    pub planned_time: Duration,
    /// Time from the start to the last dial.
    pub dial_time: Duration,
    /// Time from the start until every connection was ready or had failed, if that happened.
    pub time: Option<Duration>,
}

impl Ramp {
    /// Computes the achieved dials per second: the planned rate, lowered in proportion if the last dial was late.
    /// Returns `None` for fewer than two dials or a planned time of zero.
    pub fn dial_rate_per_second(&self, planned: Rate) -> Option<f64> {
        let late = self.dial_time.as_secs_f64() / self.planned_time.as_secs_f64();
        (self.dialled > 1 && !self.planned_time.is_zero()).then(|| planned.as_per_second() / late.max(1.0))
    }
}

/// Connections that were closed too soon or never opened, for one cause and in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The cause, from a closed list.
    pub label: &'static str,
    /// The side at fault.
    pub side: Side,
    /// The state that the connections had reached.
    pub state: ConnectionState,
    /// The number of connections.
    pub count: u64,
    /// The close reason of the first such connection; `None` if the connections could not be started.
    pub example: Option<CloseReason>,
}

impl Failure {
    /// Returns the failure of one connection.
    pub fn new(label: &'static str, side: Side, state: ConnectionState, example: Option<CloseReason>) -> Self {
        Self { label, side, state, count: 1, example }
    }
}

/// Operations that failed, or could not be sent, for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationFailure {
    /// The cause, from a closed list of the workload.
    pub cause: &'static str,
    /// The number of operations.
    pub count: u64,
}

/// Peers with the same user agent and version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agent {
    /// The user agent in printable form.
    pub user_agent: String,
    /// The claimed protocol version.
    pub protocol_version: i32,
    /// The number of peers.
    pub count: usize,
}

impl Agent {
    /// Returns the agent of one peer.
    #[doc(hidden)]
    pub fn new(user_agent: String, protocol_version: i32) -> Self {
        Self { user_agent, protocol_version, count: 1 }
    }
}

/// The report of a load.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The connections.
    pub peers: PeerCounts,
    /// The operations, each counted once.
    pub work: WorkCounts,
    /// The results of each metric of the operations. The first one is the main metric.
    pub operations: Vec<OperationReport>,
    /// The planned stages of the run, in order.
    pub stages: Vec<StageReport>,
    /// The rule for the moments of the operations. At the pace [`Pace::Max`], planned moments are those at which the
    /// previous operations of the same peers ended.
    pub pace: Pace,
    /// The changes of the rate that were requested, in order; only the first 1,000.
    pub rate_changes: Vec<RateChange>,
    /// The connections and the operations of each target, in the order of the plan.
    pub targets: Vec<TargetReport>,
    /// Further streams of peers that were opened since the loop began.
    pub streams_opened: u64,
    /// Further streams of peers that could not be opened.
    pub stream_failures: u64,
    /// The bytes sent and received.
    pub traffic: Traffic,
    /// Time from the planned moment of a dial to the established TCP connection.
    pub connect_planned: LatencyHistogram,
    /// Time from the dial to the established TCP connection.
    pub connect_dialled: LatencyHistogram,
    /// Time from the planned moment of a dial to the dial, for connections that were established.
    pub dial_lag: LatencyHistogram,
    /// Time from the established connection to the complete handshake.
    pub handshake: LatencyHistogram,
    /// Time from the planned moment of an operation to its write.
    pub send_lag: LatencyHistogram,
    /// The delay of the loop's wake-ups.
    pub loop_lag: LatencyHistogram,
    /// The length of the timeline's intervals: 100 ms in a run of less than 20 s, else a whole number of seconds.
    pub interval: Duration,
    /// The counted part of the run and its drain, by interval.
    pub timeline: Vec<Interval>,
    /// Connections that were closed too soon or never opened, by cause and state; most frequent first. Only the first
    /// 64 kinds to occur are listed.
    pub failures: Vec<Failure>,
    /// Operations of the counted run that failed before the end, or that the workload could not send, by cause; most
    /// frequent first. Only the first 64 causes to occur are listed. Operations that were due while no peer was ready,
    /// that timed out, or whose peer was lost, have no cause here.
    pub operation_failures: Vec<OperationFailure>,
    /// The user agents and versions of the peers; most frequent first. Only the first 64 to occur are listed.
    pub agents: Vec<Agent>,
    /// The opening of the connections.
    pub ramp: Ramp,
    /// The length of the schedule that `work.planned` covers: the planned length, unless an early finish was
    /// requested.
    pub scheduled_time: Duration,
    /// The length of the counted part of the run.
    pub run_time: Duration,
    /// The share of `run_time` in which the generator's thread was busy.
    pub busy: f64,
    /// The share of `run_time` in which the generator's thread polled for exact wake-ups instead of sleeping.
    pub spinning: f64,
    /// The early end, if there was one.
    pub early_end: Option<EarlyEnd>,
    /// The cause, if any, that kept the load from being carried out as planned.
    pub limit: Limit,
    /// Whether the numbers can be trusted.
    pub verdict: Verdict,
}

impl Report {
    /// Returns whether the report covers less than was planned.
    pub fn is_partial(&self) -> bool {
        self.early_end.is_some()
    }

    /// Computes the replies per second over `scheduled_time`; `None` if that time is zero.
    pub fn answered_per_second(&self) -> Option<f64> {
        let seconds = self.scheduled_time.as_secs_f64();
        (seconds > 0.0).then(|| self.work.answered as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dial_rate_is_lowered_if_the_last_dial_was_late_and_none_for_a_single_dial() {
        let planned = Rate::per_second(5_000);
        let ramp = |planned_ms, dial_ms| Ramp {
            dialled: 19_000,
            planned_time: Duration::from_millis(planned_ms),
            dial_time: Duration::from_millis(dial_ms),
            time: None,
        };
        assert_eq!(ramp(3_800, 3_800).dial_rate_per_second(planned), Some(5_000.0));
        assert_eq!(ramp(3_800, 7_600).dial_rate_per_second(planned), Some(2_500.0));
        assert_eq!(Ramp { dialled: 1, ..ramp(0, 0) }.dial_rate_per_second(planned), None);
    }
}
