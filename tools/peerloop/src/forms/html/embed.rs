//! The run document in the page, for programs: `peerloop report` reads it back.
//!
//! The totals are exact. Neighbouring intervals are joined exactly; at most [`MAX_INTERVALS`] remain. If the document
//! is still too large, more of its details are omitted, and `omitted` lists them.

use super::escape;
use crate::model::{DATA_BLOCK, Document, Timeline};

/// Maximum number of intervals.
pub(super) const MAX_INTERVALS: usize = 60;

/// Maximum number of targets, of user agents and of changes of the rate, if not all fit.
const MAX_TARGETS: usize = 256;
const MAX_AGENTS: usize = 10;
const MAX_CHANGES: usize = 100;

/// A way to make the document smaller; mildest first.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Fewer intervals; zero for none.
    Intervals(usize),
    /// No latencies of the stages, and no groups.
    Stages,
    /// No latencies of the targets.
    TargetLatencies,
    /// Of the intervals' latencies, only those of the main metric from the planned time.
    Series,
    /// Only the first targets, the first user agents and the first changes of the rate, and no list of arguments.
    Lists,
}

const STEPS: [Step; 10] = [
    Step::Intervals(MAX_INTERVALS),
    Step::Intervals(30),
    Step::Intervals(15),
    Step::Lists,
    Step::Stages,
    Step::TargetLatencies,
    Step::Series,
    Step::Intervals(8),
    Step::Intervals(4),
    Step::Intervals(0),
];

/// The document as it is embedded.
#[derive(Debug)]
pub(super) struct Embedded {
    /// The data block.
    pub(super) block: String,
    /// The number of intervals in it.
    pub(super) intervals: usize,
    /// The details that it lacks.
    pub(super) omitted: Vec<String>,
}

/// Returns the data block with the document and this timeline, which is already condensed; `None` if the document
/// cannot be made as small as `max_bytes`.
pub(super) fn embedded(
    document: &Document,
    timeline: Timeline,
    main: &str,
    max_bytes: usize,
) -> Result<Option<Embedded>, String> {
    let mut copy = copy(document, timeline);
    for step in STEPS {
        reduce(&mut copy, step, main)?;
        let json = serde_json::to_string(&copy).map_err(|error| error.to_string())?;
        let [begin, end] = DATA_BLOCK;
        let block = format!("{begin}{}{end}\n", escape::json(&json));
        if block.len() <= max_bytes {
            return Ok(Some(Embedded { block, intervals: copy.timeline.rows.len(), omitted: copy.omitted }));
        }
    }
    Ok(None)
}

/// Copies the document with another timeline.
fn copy(document: &Document, timeline: Timeline) -> Document {
    Document {
        schema: document.schema,
        tool: document.tool.clone(),
        run: document.run.clone(),
        host: document.host.clone(),
        config: document.config.clone(),
        targets: document.targets.clone(),
        agents: document.agents.clone(),
        counts: document.counts.clone(),
        stages: document.stages.clone(),
        metrics: document.metrics.clone(),
        timeline,
        thresholds: document.thresholds.clone(),
        search: document.search.clone(),
        generator: document.generator.clone(),
        exit: document.exit.clone(),
        estimates: document.estimates.clone(),
        merged: document.merged.clone(),
        cut: document.cut,
        groups: document.groups.clone(),
        omitted: document.omitted.clone(),
    }
}

fn reduce(copy: &mut Document, step: Step, main: &str) -> Result<(), String> {
    let Document { timeline, targets, agents, stages, groups, run, omitted, .. } = copy;
    match step {
        Step::Intervals(0) => {
            *timeline = Timeline { interval: timeline.interval, ..Timeline::default() };
            omitted.push("the intervals".to_owned());
        }
        Step::Intervals(max) => *timeline = timeline.condensed(max, main)?,
        Step::Stages => {
            let metrics = stages.iter_mut().flat_map(|stage| &mut stage.metrics);
            metrics.for_each(|metric| (metric.planned, metric.sent, metric.measured) = (None, None, None));
            omitted.extend((!stages.is_empty()).then(|| "the latencies of the stages".to_owned()));
            omitted.extend(cut(groups, 0, "groups"));
        }
        Step::TargetLatencies => {
            targets.iter_mut().for_each(|target| target.view = None);
            omitted.extend((!targets.is_empty()).then(|| "the latencies of the targets".to_owned()));
        }
        Step::Series => {
            let all = timeline.histograms.len();
            timeline.histograms.retain(|series| series.metric == main && series.view == "planned");
            let is_less = timeline.histograms.len() < all;
            omitted.extend(is_less.then(|| "the lags and other latencies of the intervals".to_owned()));
        }
        Step::Lists => {
            omitted.extend(cut(targets, MAX_TARGETS, "targets"));
            omitted.extend(cut(agents, MAX_AGENTS, "user agents"));
            omitted.extend(cut(&mut run.rate_changes, MAX_CHANGES, "changes of the rate"));
            omitted.extend(cut(&mut run.command, 0, "arguments of the program"));
        }
    }
    Ok(())
}

/// Cuts a list, and returns the number of its lost items in words.
fn cut<T>(list: &mut Vec<T>, max: usize, name: &str) -> Option<String> {
    let all = list.len();
    list.truncate(max);
    (all > max).then(|| format!("{} of {all} {name}", all - max))
}
