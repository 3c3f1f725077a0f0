//! The judgement of a load that has ended: whether its numbers can be trusted, and which side limited it.

use super::counts::WorkCounts;
use super::report::Report;
use super::verdict::{Doubt, Limit, Verdict};
use crate::stats::histogram::LatencyHistogram;
use std::time::Duration;

/// Maximum lag of the generator, at the 99th percentile, for its numbers to be trusted.
const MAX_LAG: Duration = Duration::from_millis(1);
/// Maximum share of the run in which the generator's thread may be busy.
const MAX_BUSY: f64 = 0.90;
/// Maximum share of planned operations that may stay unsent. The same maximum applies to those that time out.
const MAX_UNSENT: f64 = 0.001;
/// Maximum share of planned operations that may be outstanding at the end of the run. It applies only if more than
/// twice as many are outstanding as at the middle of the run: a growing backlog means that a target falls behind.
const MAX_BACKLOG: f64 = 0.02;
/// Returns whether a report's numbers can be trusted. `has_operations` is true if
/// operations were planned.
pub(super) fn verdict(report: &Report, has_operations: bool) -> Verdict {
    let mut doubts = Vec::new();
    let samples = if has_operations { report.work.answered } else { report.handshake.count() };
    if samples == 0 {
        doubts.push(Doubt::NothingMeasured);
    }
    if report.busy > MAX_BUSY {
        doubts.push(Doubt::Busy { share: report.busy });
    }
    let late = |lag: &LatencyHistogram| lag.percentile(99.0).filter(|&p99| p99 > MAX_LAG);
    doubts.extend(late(&report.send_lag).map(|p99| Doubt::SendLag { p99 }));
    doubts.extend(late(&report.loop_lag).map(|p99| Doubt::LoopLag { p99 }));
    doubts.extend(late(&report.dial_lag).map(|p99| Doubt::DialLag { p99 }));
    let WorkCounts { planned, unsent: count, absent, .. } = report.work;
    if count as f64 > planned as f64 * MAX_UNSENT {
        doubts.push(Doubt::Unsent { count, absent });
    }
    if doubts.is_empty() { Verdict::Trusted } else { Verdict::NotTrusted(doubts) }
}

/// Returns the cause, if any, that kept the load from being carried out as planned. If the generator is at fault,
/// it is the cause, because the target's capacity is then unknown. `backlog` has the numbers of outstanding operations
/// at the middle of the run, if it was reached, and at the end.
pub(super) fn limit(report: &Report, backlog: (Option<u64>, u64)) -> Limit {
    let doubts = match &report.verdict {
        Verdict::Trusted => &[][..],
        Verdict::NotTrusted(doubts) => doubts,
    };
    let max_share = report.work.planned as f64 * MAX_UNSENT;
    let is_own = |doubt: &Doubt| match *doubt {
        Doubt::SendLag { .. } | Doubt::LoopLag { .. } | Doubt::DialLag { .. } | Doubt::Busy { .. } => true,
        Doubt::Unsent { count, absent } => (count - absent) as f64 > max_share,
        Doubt::NothingMeasured => false,
    };
    let is_refused = report.peers.lost + report.peers.failed > 0;
    let (middle, end) = (backlog.0.unwrap_or(0), backlog.1);
    let is_behind = end > 2 * middle && end as f64 > report.work.planned as f64 * MAX_BACKLOG;
    match doubts.iter().any(is_own) {
        true => Limit::Generator,
        false if is_refused || is_behind || report.work.timed_out as f64 > max_share => Limit::Node,
        false => Limit::None,
    }
}
