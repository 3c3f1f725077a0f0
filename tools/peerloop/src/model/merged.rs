//! The parts of a document that are computed from the others or by `report`: the percentiles' intervals, the runs that
//! were merged, the time that was cut out, and the groups.

use super::document::{Document, Metric, Trust};
use crate::output::json::Nanos;
use serde::{Deserialize, Serialize};

/// The origin of a merged document.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Merged {
    pub(crate) runs: Vec<Part>,
    /// Why the runs may not belong together, or why one of them may mislead, in one line each.
    pub(crate) warnings: Vec<String>,
}

/// One of the runs of a merged document.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Part {
    /// The file or folder from which the run was read. Messages about the run begin with it.
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) host: Option<String>,
    pub(crate) segment: [u32; 2],
    pub(crate) load_start: Option<String>,
    pub(crate) partial: bool,
    pub(crate) verdict: Trust,
}

/// The intervals that remain of a run's counted part; times count from its begin.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Cut {
    pub(crate) from_ns: Nanos,
    pub(crate) to_ns: Nanos,
    /// The end of the last interval of the whole run.
    pub(crate) of_ns: Nanos,
}

/// A percentile with the interval that contains it with 95 % confidence. A missing value or bound is infinite: it falls
/// among the operations that never completed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Estimated {
    pub(crate) metric: String,
    pub(crate) view: String,
    pub(crate) percentile: String,
    pub(crate) value_ns: Option<Nanos>,
    /// `None` for the maximum, and if too little was measured.
    pub(crate) bounds_ns: Option<[Option<Nanos>; 2]>,
    /// If too little was measured: about how much longer the run has to be.
    pub(crate) more_ns: Option<Nanos>,
}

/// The results of one host or of one stage.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) by: By,
    pub(crate) name: String,
    pub(crate) metrics: Vec<Metric>,
}

/// The property that the results of a group share.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Host,
    Stage,
}

impl By {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Stage => "stage",
        }
    }
}

impl Document {
    /// Lists the runs of this document: those that were merged, or the run itself, which was read from `source`.
    pub(crate) fn parts(&self, source: &str) -> Vec<Part> {
        let Self { tool, run, host, generator, merged, .. } = self;
        let itself = || Part {
            source: source.to_owned(),
            id: run.id.clone(),
            version: tool.version.clone(),
            host: host.name.clone(),
            segment: run.segment,
            load_start: run.load_start.clone(),
            partial: run.partial,
            verdict: generator.verdict,
        };
        merged.as_ref().map_or_else(|| vec![itself()], |merged| merged.runs.clone())
    }
}
