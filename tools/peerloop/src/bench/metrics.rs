//! `bench --metrics-addr`: the state of a running load over HTTP, for collectors.
//!
//! The loop's own metrics have the names and buckets of `run`, so one dashboard shows both. The load's metrics follow
//! them. Their latencies are those of all whole intervals of the counted part so far. The process serves the metrics
//! until it ends, so a collector misses the last seconds of a run; the results have them all.

use super::live::Live;
use crate::run::exposition::{Metrics, section};
use crate::status::wait_for;
use peerloop::api::Pending;
use peerloop::histogram::LatencyHistogram;
use peerloop::load::{GeneratorRequest, IntervalHistograms, Phase, Progress};
use peerloop::{Handle, Network};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// The phases and their labels.
const PHASES: [(Phase, &str); 5] = [
    (Phase::Ramp, "ramp"),
    (Phase::Warmup, "warmup"),
    (Phase::Run, "run"),
    (Phase::Drain, "drain"),
    (Phase::Done, "done"),
];

/// Returns a function that returns the load's metrics as text; `None` if the loop does not reply.
pub(super) fn more(
    handle: Handle<GeneratorRequest>,
    live: Live,
    network: Network,
) -> impl FnMut() -> Option<String> + Send + 'static {
    move || {
        let (reply, pending) = Pending::new();
        handle.request(GeneratorRequest::Progress(reply)).ok()?;
        section(Snapshot { progress: wait_for(pending)?, totals: live.totals() }, network)
    }
}

/// A load's state at one moment.
#[derive(Debug)]
struct Snapshot {
    progress: Progress,
    totals: Option<IntervalHistograms>,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut metrics, progress) = (Metrics(encoder), &self.progress);
        let phases = PHASES.map(|(phase, label)| ([("phase", label)], u64::from(phase == progress.phase)));
        metrics.gauges("bench_phase", "Whether the load is in this phase", phases)?;
        let peers = &progress.peers;
        let peers = [
            ("asked", peers.asked),
            ("opened", peers.opened),
            ("ready", peers.ready),
            ("lost", peers.lost),
            ("failed", peers.failed),
        ];
        let peers = peers.map(|(outcome, count)| ([("outcome", outcome)], count as u64));
        metrics.gauges("bench_peers", "Planned peers by outcome; a lost peer was ready before", peers)?;
        let operations = [("planned", progress.planned), ("sent", progress.sent), ("answered", progress.answered)];
        let operations = operations.map(|(state, count)| ([("state", state)], count));
        let help = "Operations of the counted part that reached this state; an answered one was also sent and planned";
        metrics.counts("bench_operations", help, None, operations)?;
        let rate = progress.rate.map_or(0.0, |rate| rate.as_per_second());
        metrics.fraction("bench_planned_rate", "Planned operations per second at this moment", rate)?;
        let totals = self.totals.iter().flat_map(IntervalHistograms::iter);
        let rows: Vec<([(&str, &str); 2], &LatencyHistogram)> =
            totals.map(|(metric, view, histogram)| ([("metric", metric), ("view", view.name())], histogram)).collect();
        metrics.fine_histograms("bench_latency", "Latencies and lags of the counted part", &rows)
    }
}
