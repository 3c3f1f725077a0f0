//! The counts and percentiles of one interval of a run.

use std::time::Duration;

/// One interval of the counted part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interval {
    /// The end, from the start of the counted part. Only the last interval may be shorter than the others.
    pub end: Duration,
    /// Operations due in the interval.
    pub planned: u64,
    /// Due operations that were sent.
    pub sent: u64,
    /// Due operations that could not be sent.
    pub absent: u64,
    /// Replies that arrived in the interval.
    pub answered: u64,
    /// Operations due in the interval that were never answered. While the load runs, only those that were not sent so
    /// far are known and counted.
    pub failed: u64,
    /// Operations that failed in the interval before the end of the load, because their peer refused them or was lost.
    pub broken: u64,
    /// The median latency of the interval's replies, from the planned moment; `None` without a reply.
    pub p50: Option<Duration>,
    /// The 99th percentile of these latencies.
    pub p99: Option<Duration>,
    /// The largest of these latencies.
    pub max: Option<Duration>,
    /// Peers that were ready at the interval's end.
    pub peers: usize,
    /// Peers lost in the interval.
    pub lost: usize,
}
