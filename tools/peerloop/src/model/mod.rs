//! The run document: the results of a load, as one model that is written to files and read back.
//!
//! `bench` builds the model from the generator's report, and [`read`] from a file; every output form renders it. The
//! serialized model is the JSON output, with the fields in the same order. The file `schema/run.json` describes that
//! output, and the manual's page `results` explains it field by field; a test keeps all three in step. The model knows
//! neither the generator nor the command line.

mod condense;
mod document;
mod latencies;
mod merged;
mod read;
pub(crate) mod search;
mod timeline;
mod view;

pub(crate) use document::{
    Agent, Counts, Document, Ended, Events, Failed, FailedOperations, Generator, Host, Limit, Metric, Outcome, Pace,
    Peers, Phase, PlannedStage, RateChange, Reason, Run, Settings, Side, Stage, Target, Threshold, Tool, Trust, Work,
};
pub(crate) use latencies::{Latencies, Packed, Packer};
pub(crate) use merged::{By, Cut, Estimated, Group, Merged, Part};
#[cfg(test)]
pub(crate) use read::parse;
pub(crate) use read::{DATA_BLOCK, RESULT_FILE, read};
pub(crate) use search::Search;
pub(crate) use timeline::{Row, Series, Timeline};
pub(crate) use view::{Percentile, Table, View};

/// The version of the run document, raised whenever the meaning of a key changes. Version 3 added the intervals'
/// histograms, the stages and the facts about the host; documents of the versions before it are still read.
pub(crate) const SCHEMA: u32 = 3;
