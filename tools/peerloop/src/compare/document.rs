//! The comparison document: the verdict on two versions, as one model that every form renders.
//!
//! The serialized model is the JSON output. Latencies are in nanoseconds, rates per second, and shares between 0 and 1.
//! A value is null if it is infinite, because too many operations failed.

use crate::output::json::Tool;
use crate::runs::Unit;
use peerloop_measure as measure;
use serde::Serialize;

/// The version of the comparison document, raised whenever the meaning of a key changes.
pub(crate) const SCHEMA: u32 = 1;

/// A comparison of a base version and a new version.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(crate) schema: u32,
    pub(crate) tool: Tool,
    pub(crate) verdict: Verdict,
    /// Why, in one line.
    pub(crate) reason: String,
    /// The part of the base's value below which a change does not matter.
    pub(crate) margin: f64,
    pub(crate) pairing: Pairing,
    pub(crate) base: Side,
    pub(crate) new: Side,
    /// The metrics that are judged.
    pub(crate) metrics: Vec<Metric>,
    /// The reasons for caution, in one line each: bad runs first.
    pub(crate) warnings: Vec<String>,
}

/// The result for a metric, or for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Better,
    Worse,
    Same,
    Undecided,
}

/// How the runs of both sides belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pairing {
    /// The runs were interleaved, and run i of one side belongs to run i of the other.
    Interleaved,
    /// The runs were made at different times.
    Apart,
}

/// The runs of one version.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) targets: Vec<String>,
    /// The user agents of the peers.
    pub(crate) agents: Vec<String>,
    pub(crate) runs: Vec<Run>,
}

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// The file or folder from which it was read.
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) start: String,
    /// Why the run is in doubt, in one line; `None` for a good run. The reason of each metric states whether it is
    /// still judged.
    pub(crate) doubt: Option<String>,
    /// The values of the judged metrics, in their order.
    pub(crate) values: Vec<Option<f64>>,
}

/// The change of a metric.
#[derive(Debug, Serialize)]
pub(crate) struct Metric {
    /// For example `ping_rtt p99`, `failed` or `rate`.
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// Whether a smaller value is better.
    pub(crate) smaller_is_better: bool,
    /// The size below which a change does not matter: a part of the base's value, or a difference of shares.
    pub(crate) margin: f64,
    /// The value of each side: the geometric mean of its runs, of shares the mean.
    pub(crate) base: Option<f64>,
    pub(crate) new: Option<f64>,
    /// The interval within the only run of a side, if the run has one.
    pub(crate) base_interval: Option<[Option<f64>; 2]>,
    pub(crate) new_interval: Option<[Option<f64>; 2]>,
    /// The change: the part of the base's value by which it grew, of shares the difference.
    pub(crate) change: Option<f64>,
    /// The interval that contains the change with 95 % confidence.
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) verdict: Verdict,
    /// Why, in one line.
    pub(crate) reason: String,
    /// About how many more rounds would decide.
    pub(crate) more_rounds: Option<u32>,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::Undecided => "undecided",
        }
    }
}

impl From<measure::Verdict> for Verdict {
    fn from(verdict: measure::Verdict) -> Self {
        match verdict {
            measure::Verdict::Better => Self::Better,
            measure::Verdict::Worse => Self::Worse,
            measure::Verdict::Same => Self::Same,
            measure::Verdict::Undecided => Self::Undecided,
        }
    }
}
