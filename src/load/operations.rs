//! The results of the operations: one report for each metric, in total and for each stage of the run.

use super::counts::WorkCounts;
use super::rate::Rate;
use super::unanswered::UnansweredWaits;
use crate::stats::histogram::LatencyHistogram;
use std::ops::Range;
use std::time::Duration;

/// The results of one metric.
///
/// A metric after the first one measures an earlier step of the same operations: its `work` counts the same operations,
/// and those are answered that reached the step.
///
/// ```
/// use peerloop::load::{EndCause, Generator, Plan, Rate};
///
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let report = Generator::new(plan).into_report_of_no_run(EndCause::Asked);
/// let ping_rtt = &report.operations[0];
/// assert_eq!((ping_rtt.metric, ping_rtt.work.planned, ping_rtt.planned.max()), ("ping_rtt", 0, None));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OperationReport {
    /// The metric's name, for example `ping_rtt`.
    pub metric: &'static str,
    /// The latencies of the answered operations from their planned moments.
    pub planned: LatencyHistogram,
    /// The latencies of the answered operations from the moments at which they were sent.
    pub sent: LatencyHistogram,
    /// The number of operations by outcome.
    pub work: WorkCounts,
    /// The shortest waits of unanswered operations: one counted from the planned moment, one from the write.
    pub unanswered_waits: UnansweredWaits,
}

impl OperationReport {
    /// Returns the report of a metric without operations.
    pub(super) fn new(metric: &'static str) -> Self {
        Self {
            metric,
            planned: LatencyHistogram::new(),
            sent: LatencyHistogram::new(),
            work: WorkCounts::default(),
            unanswered_waits: UnansweredWaits::default(),
        }
    }

    /// Adds the operations of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.planned.merge(&other.planned);
        self.sent.merge(&other.sent);
        self.work.merge(&other.work);
        self.unanswered_waits.merge(other.unanswered_waits);
    }
}

/// The results of one stage of the run. An operation belongs to the stage of its planned moment, whenever it ends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StageReport {
    /// The planned total rate at the begin of the stage.
    pub from: Rate,
    /// The planned total rate at the end of the stage.
    pub to: Rate,
    /// The begin of the stage, from the start of the run.
    pub begin: Duration,
    /// The planned end of the stage, from the start of the run.
    pub end: Duration,
    /// The results of each metric, in the order of [`Report::operations`](super::Report::operations).
    pub operations: Vec<OperationReport>,
}

/// The metrics of one kind of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    main: u8,
    end: u8,
}

impl Part {
    /// Returns the parts of `count` metrics; each of `mains`, which ascend from 0, is the first metric of a part.
    pub(super) fn all(mains: &[usize], count: usize) -> Vec<Self> {
        let ends = mains[1..].iter().copied().chain([count]);
        // There are at most 32 metrics.
        mains.iter().zip(ends).map(|(&main, end)| Self { main: main as u8, end: end as u8 }).collect()
    }

    /// Returns the index of the main metric.
    pub(super) fn main(self) -> usize {
        usize::from(self.main)
    }

    /// Returns the indices of the metrics.
    pub(super) fn metrics(self) -> Range<usize> {
        self.main()..usize::from(self.end)
    }
}
