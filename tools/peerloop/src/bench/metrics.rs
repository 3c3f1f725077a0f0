//! `bench --metrics-addr`: the state of a running load over HTTP, for collectors.
//!
//! The loop's own metrics have the names and buckets of `run`, so one dashboard shows both. The load's metrics follow
//! them. Their latencies are those of all whole intervals of the counted part so far. The process serves the metrics
//! until it ends, so a collector misses the last seconds of a run; the results have them all.

use super::live::Live;
use crate::run::exposition::{Metrics, section};
use crate::run::load::LatencyRow;
use crate::status::wait_for;
use peerloop::api::Pending;
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
        let peers = [peers.asked, peers.opened, peers.ready, peers.lost, peers.failed].map(|count| count as u64);
        metrics.load_counts(peers, [progress.planned, progress.sent, progress.answered])?;
        let rate = progress.rate.map_or(0.0, |rate| rate.as_per_second());
        metrics.fraction("bench_planned_rate", "Planned operations per second at this moment", rate)?;
        let totals = self.totals.iter().flat_map(IntervalHistograms::iter);
        let rows: Vec<LatencyRow<'_>> = totals
            .map(|(metric, view, histogram)| ([("metric", metric), ("view", view.name())], histogram.as_hdr()))
            .collect();
        metrics.load_latencies(&rows)
    }
}
