//! The tables of the page: the judged metrics, the runs, and the configurations and hosts of both sides.

use super::super::document::{Document, Metric, Side, Verdict};
use super::super::judge::{show_change, show_margin};
use super::super::text::cells;
use crate::forms::html::table::{Cell, Table};
use crate::forms::text::plan;
use crate::model;
use crate::runs::{Judged, Named, Unit, show_value};
use crate::units::counted;
use std::collections::BTreeSet;

/// Maximum number of values of one fact.
const MAX_VALUES: usize = 10;

/// Writes the judged metrics with their verdicts and reasons.
pub(super) fn metrics(document: &Document) -> String {
    let columns = ["metric", "base", "new", "change", "interval", "margin", "verdict", "reason"];
    let caption = "The interval contains the true change with 95 % confidence; it is compared with the margin";
    let mut table = Table::new(caption, columns);
    for metric in &document.metrics {
        let [base, new, change] = cells(metric);
        let interval = metric.interval.map_or_else(|| "none".to_owned(), |bounds| interval(bounds, metric.unit));
        let verdict = Cell::marked(metric.verdict.word(), metric.verdict == Verdict::Worse);
        let margin = show_margin(metric.margin, metric.unit);
        table.row(
            &metric.name,
            [
                base.into(),
                new.into(),
                change.into(),
                interval.into(),
                margin.into(),
                verdict,
                (metric.reason.clone() + &within(metric)).into(),
            ],
        );
    }
    table.finish("judged")
}

/// Formats an interval of changes: `[-0.4, +2.6] %`.
fn interval(bounds: [f64; 2], unit: Unit) -> String {
    let [low, high] = bounds.map(|bound| show_change(bound, unit));
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((low, unit)), Some((high, _))) => format!("[{low}, {high}] {unit}"),
        _ => format!("[{low}, {high}]"),
    }
}

/// States the intervals within the only run of each side.
fn within(metric: &Metric) -> String {
    let sides = [("base", metric.base_interval), ("new", metric.new_interval)];
    let show = |bound: Option<f64>| show_value(bound.unwrap_or(f64::INFINITY), metric.unit);
    let texts = sides.into_iter().filter_map(|(name, interval)| {
        let [low, high] = interval?.map(show);
        Some(format!("; within the only run of {name}: {low} to {high}"))
    });
    texts.collect()
}

/// Writes a row for each run, at most `shown` of each side.
pub(super) fn runs(document: &Document, runs: &[Vec<Named>; 2], shown: usize) -> String {
    let names = document.metrics.iter().map(|metric| metric.name.as_str());
    let columns = ["run", "begin"].into_iter().chain(names).chain(["source", "use"]);
    let mut table = Table::new("Runs, in the order of their starts", columns);
    for ((name, side), runs) in [("base", &document.base), ("new", &document.new)].into_iter().zip(runs) {
        for (number, (run, named)) in (1..).zip(side.runs.iter().zip(runs)).take(shown) {
            let values = Judged::ALL.into_iter().zip(&document.metrics).map(|(judged, metric)| {
                let value = judged.value(&named.document);
                let text = value.map_or_else(|| "no data".to_owned(), |value| show_value(value, metric.unit));
                Cell::marked(text, !value.is_some_and(f64::is_finite))
            });
            let doubt = run.doubt.clone().unwrap_or_else(|| "good".to_owned());
            let ends = [run.source.clone().into(), Cell::marked(doubt, run.doubt.is_some())];
            table.row(&format!("{name} {number}"), [run.start.clone().into()].into_iter().chain(values).chain(ends));
        }
    }
    table.finish("judged") + &unshown(runs, shown)
}

/// States the number of runs that are not shown.
fn unshown(runs: &[Vec<Named>; 2], shown: usize) -> String {
    match runs.iter().map(|side| side.len().saturating_sub(shown)).sum::<usize>() {
        0 => String::new(),
        more => format!(
            "<p>{} are not shown here, and have no line and no point above. They count in every verdict.</p>\n",
            counted(more as u64, "more run")
        ),
    }
}

/// Writes the configuration and the host of each side. A value in which runs of a side differ has several parts.
pub(super) fn configuration(document: &Document, runs: &[Vec<Named>; 2]) -> String {
    let mut table = Table::new("Both sides measured the same load", ["key", "base", "new"]);
    let mut fact = |key: &str, values: [String; 2]| table.row(key, values.map(Cell::from));
    let of_sides = |of: fn(&Side) -> &[String]| [&document.base, &document.new].map(|side| list(of(side).iter()));
    let of_runs = |of: &dyn Fn(&model::Document) -> String| {
        [0, 1].map(|side| {
            let all: BTreeSet<String> = runs[side].iter().map(|run| of(&run.document)).collect();
            list(all.iter())
        })
    };
    let unknown = || "not reported".to_owned();
    fact("Targets", of_sides(|side| &side.targets));
    fact("User agents", of_sides(|side| &side.agents));
    fact("Labels", of_runs(&|run| labels(run)));
    fact("Plan", of_runs(&|run| plan::parts(&run.config, run.run.segment).join(", ")));
    fact("Workload", of_runs(&|run| format!("{}, arrival {}", run.config.workload, run.config.arrival)));
    fact("Network", of_runs(&|run| run.config.network.clone()));
    fact("Host of the generator", of_runs(&|run| run.host.name.clone().unwrap_or_else(unknown)));
    fact("System", of_runs(&|run| run.host.kernel.clone().unwrap_or_else(|| run.host.os.clone())));
    fact("CPUs", of_runs(&|run| format!("{}, {}", run.host.cpus, run.host.cpu_model.clone().unwrap_or_else(unknown))));
    fact(
        "Program",
        of_runs(&|run| {
            let git = run.tool.git.as_ref().map(|git| format!(", commit {git}")).unwrap_or_default();
            format!("{} {}{git}", run.tool.name, run.tool.version)
        }),
    );
    fact("Command", of_runs(&|run| format!("peerloop {}", run.run.command.join(" "))));
    table.finish("facts sides")
}

fn labels(run: &model::Document) -> String {
    let name = (!run.run.name.is_empty()).then(|| run.run.name.clone());
    let labels = run.run.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let all: Vec<String> = name.into_iter().chain(labels).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Joins the first values, and states the number of the others.
fn list<'a>(values: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = values.len().saturating_sub(MAX_VALUES);
    let mut shown: Vec<String> = values
        .take(MAX_VALUES)
        .map(|value| if value.is_empty() { "(none)".to_owned() } else { value.clone() })
        .collect();
    shown.extend((more > 0).then(|| format!("and {more} more")));
    if shown.is_empty() { "no data".to_owned() } else { shown.join("; ") }
}
