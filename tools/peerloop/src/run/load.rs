//! The metrics of a load, with the same names, labels and buckets while it runs and in its report.

use super::exposition::{LabelledHistogram, Metrics};
use std::fmt;

/// The labels of a load's histogram: its metric and its view.
pub(crate) type LatencyRow<'a> = LabelledHistogram<'a, 2>;

impl Metrics<'_> {
    /// Writes the planned peers that were asked, opened, ready, lost and failed, and the operations that were planned,
    /// sent and answered.
    pub(crate) fn load_counts(&mut self, peers: [u64; 5], operations: [u64; 3]) -> fmt::Result {
        let outcomes = ["asked", "opened", "ready", "lost", "failed"].map(|outcome| [("outcome", outcome)]);
        let help = "Planned peers by outcome; a lost peer was ready before";
        self.gauges("bench_peers", help, outcomes.into_iter().zip(peers))?;
        let states = ["planned", "sent", "answered"].map(|state| [("state", state)]);
        let help = "Operations of the counted part that reached this state; an answered one was also sent and planned";
        self.counts("bench_operations", help, None, states.into_iter().zip(operations))
    }

    /// Writes the latencies and lags of the counted part.
    pub(crate) fn load_latencies(&mut self, rows: &[LatencyRow<'_>]) -> fmt::Result {
        self.fine_histograms("bench_latency", "Latencies and lags of the counted part", rows)
    }
}
