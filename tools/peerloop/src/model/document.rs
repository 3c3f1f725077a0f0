//! The run document's parts, in the order of the JSON output.
//!
//! Durations are in nanoseconds. A field that older documents lack has a default here; `read` then fills in the value
//! that follows from the other fields.

use super::merged::{Cut, Estimated, Group, Merged};
use super::search::Search;
use super::timeline::Timeline;
use super::view::View;
use crate::causes;
use crate::output::json::Nanos;
use crate::units::Percentiles;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The results of a run.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Document {
    pub(crate) schema: u32,
    pub(crate) tool: Tool,
    pub(crate) run: Run,
    pub(crate) host: Host,
    pub(crate) config: Settings,
    pub(crate) targets: Vec<Target>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) counts: Counts,
    #[serde(default)]
    pub(crate) stages: Vec<Stage>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) timeline: Timeline,
    #[serde(default)]
    pub(crate) thresholds: Vec<Threshold>,
    /// The search for the highest load, if the run was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<Search>,
    pub(crate) generator: Generator,
    pub(crate) exit: Ended,
    /// The intervals of percentiles, if the document has the intervals' histograms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) estimates: Vec<Estimated>,
    /// The runs that were merged into this document; `None` for a single run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) merged: Option<Merged>,
    /// The part of the run that this document covers; `None` for a whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cut: Option<Cut>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<Group>,
    /// The details that this copy of the document lacks, because it is part of a page; empty in a file of `--json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) omitted: Vec<String>,
}

impl Document {
    /// Returns the metric with this name.
    pub(crate) fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// Returns the metric of the workload's operations: the first one with counts of its own.
    pub(crate) fn main_metric(&self) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.work.is_some())
    }

    /// Computes other percentiles in all views.
    pub(crate) fn set_percentiles(&mut self, percentiles: &Percentiles) {
        let stages = self.stages.iter_mut().flat_map(|stage| &mut stage.metrics);
        let groups = self.groups.iter_mut().flat_map(|group| &mut group.metrics);
        let metrics = self.metrics.iter_mut().chain(stages).chain(groups);
        let views = metrics.flat_map(|metric| [&mut metric.planned, &mut metric.sent, &mut metric.measured]);
        let views = views.chain(self.targets.iter_mut().map(|target| &mut target.view));
        views.flatten().for_each(|view| view.set_percentiles(percentiles));
    }

    /// Returns the view with this name of a metric.
    pub(crate) fn view(&self, metric: &str, view: &str) -> Option<&View> {
        self.metric(metric)?.views().find(|(name, _)| *name == view).map(|(_, view)| view)
    }
}

/// The program that wrote the document.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The commit of the program's sources, with `-dirty` if they had uncommitted changes; `None` if it was not known
    /// when the program was built.
    #[serde(default)]
    pub(crate) git: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    /// Different for every run, so that a run is never counted twice in a merge.
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// The wall time at which the program started.
    pub(crate) start: String,
    /// The wall time at which the counted part began; `None` if it never began, and in older documents.
    #[serde(default)]
    pub(crate) load_start: Option<String>,
    pub(crate) duration_ns: Nanos,
    /// The length of the schedule that `counts.planned` covers.
    #[serde(default)]
    pub(crate) scheduled_ns: Nanos,
    pub(crate) ramp_ns: Option<Nanos>,
    /// Planned duration from the start of the ramp to its last dial.
    #[serde(default)]
    pub(crate) ramp_planned_ns: Nanos,
    /// Measured duration from the start of the ramp to its last dial.
    #[serde(default)]
    pub(crate) ramp_dial_ns: Nanos,
    pub(crate) dial_rate_per_s: Option<f64>,
    pub(crate) answered_per_s: Option<f64>,
    pub(crate) partial: bool,
    /// The share of the load that this process carried: segment i of n.
    #[serde(default = "whole")]
    pub(crate) segment: [u32; 2],
    /// The requested wall time of the begin of the counted part.
    #[serde(default)]
    pub(crate) start_at: Option<String>,
    /// How much later than `start_at` the counted part began.
    #[serde(default)]
    pub(crate) start_late_ns: Option<Nanos>,
    /// The changes of the rate that were requested during the run; only the first 1,000.
    #[serde(default)]
    pub(crate) rate_changes: Vec<RateChange>,
    /// A string, because the seed may use all 64 bits.
    pub(crate) seed: String,
    pub(crate) command: Vec<String>,
}

/// Returns the segment of a process that carries the whole load.
fn whole() -> [u32; 2] {
    [1, 1]
}

/// A change of the rate that was requested while the load was running.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct RateChange {
    pub(crate) phase: Phase,
    /// The moment, from the begin of the phase.
    pub(crate) at_ns: Nanos,
    pub(crate) from_per_s: f64,
    pub(crate) to_per_s: f64,
}

/// The phase in which a rate was changed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Ramp,
    Warmup,
    Run,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Host {
    #[serde(default)]
    pub(crate) name: Option<String>,
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) kernel: Option<String>,
    #[serde(default)]
    pub(crate) cpu_model: Option<String>,
    pub(crate) cpus: u64,
    pub(crate) clock: String,
    pub(crate) descriptors: u64,
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) backlog: Option<u32>,
    /// The load average of the last minute before the start.
    pub(crate) load_average: Option<f64>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    pub(crate) network: String,
    pub(crate) built_in_node: bool,
    #[serde(default = "ping")]
    pub(crate) workload: String,
    #[serde(default = "even")]
    pub(crate) arrival: String,
    #[serde(default)]
    pub(crate) pace: Pace,
    /// The number of operations after which the run ends, in all segments together.
    #[serde(default)]
    pub(crate) max_operations: Option<u64>,
    pub(crate) connections: u64,
    #[serde(default)]
    pub(crate) min_peers: u64,
    /// The mean rate of the whole schedule; `None` at the pace of the peers' replies.
    pub(crate) rate_per_s: Option<f64>,
    pub(crate) rate_per_peer_per_s: Option<f64>,
    #[serde(default)]
    pub(crate) stages: Vec<PlannedStage>,
    pub(crate) connect_rate_per_s: f64,
    pub(crate) warmup_ns: Nanos,
    pub(crate) duration_ns: Nanos,
    pub(crate) drain_ns: Nanos,
    pub(crate) timeout_ns: Nanos,
    pub(crate) source_ips: Vec<String>,
    pub(crate) spin: bool,
    #[serde(default)]
    pub(crate) multistreams: bool,
}

/// Returns the only workload of older documents.
fn ping() -> String {
    "ping".to_owned()
}

/// Returns the only arrival of older documents.
fn even() -> String {
    "even".to_owned()
}

/// The rule for the moments of the operations.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pace {
    /// All operations of the schedule are planned.
    #[default]
    Scheduled,
    /// A peer's operations are planned while the peer is ready.
    PerLivingPeer,
    /// Each peer's next operation is planned for the end of its previous one.
    Max,
}

/// A stage of the schedule: the rate changes evenly from `from_per_s` to `to_per_s`. Both are `None` at the pace of the
/// peers' replies.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct PlannedStage {
    pub(crate) from_per_s: Option<f64>,
    pub(crate) to_per_s: Option<f64>,
    pub(crate) duration_ns: Nanos,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Target {
    pub(crate) addr: String,
    /// The peers' user agent, if there is only one target and all peers have the same user agent and protocol
    /// version.
    pub(crate) agent: Option<String>,
    pub(crate) protocol: Option<i32>,
    #[serde(flatten)]
    pub(crate) peers: Peers,
    #[serde(flatten)]
    pub(crate) work: Work,
    /// The latencies of all operations from the planned time. `None` for each target after the first 64, and in older
    /// documents.
    #[serde(default)]
    pub(crate) view: Option<View>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Agent {
    pub(crate) agent: String,
    pub(crate) protocol: i32,
    pub(crate) peers: u64,
}

/// The outcomes of the connections, of one target or of all.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Peers {
    pub(crate) asked: u64,
    pub(crate) opened: u64,
    pub(crate) ready: u64,
    pub(crate) lost: u64,
    pub(crate) failed: u64,
}

/// The outcomes of the operations: of one metric, one target, one stage or the whole run.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Work {
    pub(crate) planned: u64,
    pub(crate) sent: u64,
    pub(crate) unsent: u64,
    /// Number of unsent operations whose peer was never ready, was lost, or had too many unanswered operations.
    pub(crate) unsent_absent: u64,
    pub(crate) answered: u64,
    pub(crate) timed_out: u64,
}

impl Work {
    /// Returns the number of planned operations that were never answered.
    pub(crate) fn failed(&self) -> u64 {
        self.timed_out.saturating_add(self.unsent)
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Counts {
    #[serde(flatten)]
    pub(crate) peers: Peers,
    #[serde(flatten)]
    pub(crate) work: Work,
    /// Further TCP streams that were opened, and those that could not be opened.
    #[serde(default)]
    pub(crate) streams_opened: u64,
    #[serde(default)]
    pub(crate) stream_failures: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// The lines of the events file; `None` if no such file was requested.
    #[serde(default)]
    pub(crate) events: Option<Events>,
    /// The operations that failed or could not be sent, by cause.
    #[serde(default)]
    pub(crate) failed_operations: Vec<FailedOperations>,
    pub(crate) errors: Vec<Failed>,
}

/// The operations in the events file, and those that could not be written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Events {
    pub(crate) written: u64,
    pub(crate) lost: u64,
}

/// The operations that failed, or could not be sent, for one cause.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct FailedOperations {
    pub(crate) cause: String,
    pub(crate) count: u64,
}

/// The connections that were closed too soon or never opened, for one cause at one stage.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Failed {
    pub(crate) cause: String,
    pub(crate) side: Side,
    pub(crate) stage: causes::Stage,
    pub(crate) count: u64,
    pub(crate) example: Option<String>,
    /// The full cause, and advice if there is any.
    #[serde(default)]
    pub(crate) explanation: String,
}

/// The side at fault.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Local,
    Remote,
}

/// The results of one stage. An operation belongs to the stage of its planned moment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Stage {
    pub(crate) from_per_s: Option<f64>,
    pub(crate) to_per_s: Option<f64>,
    pub(crate) begin_ns: Nanos,
    pub(crate) end_ns: Nanos,
    pub(crate) metrics: Vec<Metric>,
}

/// Latencies of one kind of operation: `planned` counts from its planned time and `sent` from its actual start; a
/// quantity without a schedule has the single view `measured`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) work: Option<Work>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) planned: Option<View>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<View>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) measured: Option<View>,
}

impl Metric {
    /// Lists the views with their names.
    pub(crate) fn views(&self) -> impl Iterator<Item = (&'static str, &View)> {
        let views = [("planned", &self.planned), ("sent", &self.sent), ("measured", &self.measured)];
        views.into_iter().filter_map(|(name, view)| Some((name, view.as_ref()?)))
    }

    /// Returns the view that counts from the planned time or, without a schedule, the only view.
    pub(crate) fn first_view(&self) -> Option<&View> {
        self.views().next().map(|(_, view)| view)
    }
}

/// A condition on the results, and whether they met it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Threshold {
    /// The condition as typed.
    pub(crate) expr: String,
    pub(crate) result: Outcome,
    /// The measured value; `None` without data.
    pub(crate) value: Option<f64>,
    /// Why the condition was or was not met, in one line.
    pub(crate) reason: String,
}

impl Threshold {
    /// Describes the threshold if it is not met.
    pub(crate) fn complaint(&self) -> Option<String> {
        let Self { expr, result, reason, .. } = self;
        match result {
            Outcome::Pass => None,
            Outcome::Fail => Some(format!("the threshold {expr} fails: {reason}")),
            Outcome::NoData => Some(format!("the threshold {expr} has no data: {reason}")),
        }
    }
}

/// Whether a threshold was met. Without data, it was not met.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Pass,
    Fail,
    NoData,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Generator {
    /// The share of `run.duration_ns` in which the loop's thread worked.
    #[serde(alias = "cpu")]
    pub(crate) cpu_working: f64,
    /// The share of `run.duration_ns` in which the thread polled for exact wake-ups instead of sleeping. Polling uses
    /// the CPU too.
    #[serde(default)]
    pub(crate) cpu_spinning: f64,
    pub(crate) verdict: Trust,
    /// The names of the doubts. A lag has the name of the metric that holds it.
    #[serde(default)]
    pub(crate) doubts: Vec<String>,
    /// Each doubt, in one line.
    pub(crate) reasons: Vec<String>,
    /// The side that kept the load below the plan, if there is one.
    #[serde(default)]
    pub(crate) limit: Limit,
}

/// Whether the numbers can be trusted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trust {
    Trusted,
    NotTrusted,
}

/// The side that kept the load below the plan.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Limit {
    #[default]
    None,
    Node,
    Generator,
}

/// The end of the program; `reason` is the first of `reasons`, or `finished`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ended {
    pub(crate) code: u8,
    pub(crate) reason: String,
    /// The reasons in order of precedence; the first one determines `code`.
    #[serde(default)]
    pub(crate) reasons: Vec<Reason>,
}

/// One reason for an exit code other than 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reason {
    pub(crate) code: u8,
    /// Whether the reason explains missing results.
    pub(crate) partial: bool,
    pub(crate) reason: String,
}

impl<'de> Deserialize<'de> for Reason {
    /// Reads a reason. In older documents a reason is only a string, and its code is unknown.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Whole { code: u8, partial: bool, reason: String },
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(reason) => Self { code: 1, partial: false, reason },
            Form::Whole { code, partial, reason } => Self { code, partial, reason },
        })
    }
}
