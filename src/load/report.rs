//! The account of a load that has ended.

use super::counts::{PeerCounts, WorkCounts};
use super::phase::EarlyEnd;
use super::schedule::Rate;
use super::targets::TargetReport;
use super::timeline::Interval;
use super::traffic::Traffic;
use super::unanswered::UnansweredWaits;
use super::verdict::{Limit, Verdict};
use crate::error::{CloseReason, Side};
use crate::peer::ConnectionState;
use crate::stats::histogram::LatencyHistogram;
use std::time::Duration;

/// How the connections were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ramp {
    /// Connections dialled.
    pub dialled: usize,
    /// From the begin to the last dial, by the plan.
    pub planned_time: Duration,
    /// From the begin to the last dial.
    pub dial_time: Duration,
    /// From the begin until every connection was ready or had failed, if it came to that.
    pub time: Option<Duration>,
}

impl Ramp {
    /// Computes the rate at which connections were dialled, per second, from the planned one; none for fewer than two.
    pub fn dial_rate_per_second(&self, planned: Rate) -> Option<f64> {
        let late = self.dial_time.as_secs_f64() / self.planned_time.as_secs_f64();
        (self.dialled > 1 && !self.planned_time.is_zero()).then(|| planned.as_per_second() / late.max(1.0))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_dials_is_the_planned_one_unless_the_last_was_late() {
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
