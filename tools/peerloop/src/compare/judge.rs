//! Compares the runs of two versions.
//!
//! The spread from run to run decides, never that within a run: at least three runs a side are judged.
//! Interleaved runs are paired in the order of time, so that a drift of the machine cancels out.

use super::document::{Document, Metric, Pairing, Run, SCHEMA, Side, Verdict};
use crate::exit::Failure;
use crate::model;
use crate::output::json::Tool;
use crate::runs::{Judged, Named, Unit, doubt, of_settings, show_value};
use crate::units::counted;
use peerloop_measure::{self as measure, Change, Comparison, Direction, Doubt, FailOn, MIN_RUNS, MetricRuns};
use std::collections::{BTreeMap, BTreeSet};

/// A comparison, and whether it fails a build.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) document: Document,
    /// The runs of the base and of the new version, in the order of their starts.
    pub(super) runs: [Vec<Named>; 2],
    /// Whether the build fails if it must not be worse, or neither worse nor undecided. The error says why a build
    /// cannot depend on these runs.
    fails: [Result<bool, String>; 2],
}

impl Judgement {
    pub(super) fn fails(&self, on: FailOn) -> Result<bool, String> {
        let [worse, undecided] = &self.fails;
        match on {
            FailOn::Worse => worse.clone(),
            FailOn::Undecided => undecided.clone(),
        }
    }
}

/// Compares the runs, which are put into the order of their starts. Refuses runs that do not measure the same.
pub(super) fn judge(mut base: Vec<Named>, mut new: Vec<Named>, margin: f64) -> Result<Judgement, Failure> {
    // RFC 3339 in UTC and in one precision sorts as text.
    for side in [&mut base, &mut new] {
        side.sort_by(|one, other| one.document.run.start.cmp(&other.document.run.start));
    }
    check(&base, &new)?;
    let pairing = pairing(&base, &new);
    let sides = [&base, &new];
    let values = Judged::ALL.map(|judged| sides.map(|side| values(side, judged)));
    let excesses = Judged::ALL.map(|judged| sides.map(|side| excesses(side, judged)));
    let main = base[0].document.main_metric().map_or("", |metric| &metric.name);
    let names = Judged::ALL.map(|judged| judged.name(main));
    let metrics: Vec<MetricRuns<'_>> = Judged::ALL
        .into_iter()
        .zip(values.iter().zip(&excesses))
        .zip(&names)
        .map(|((judged, ([base, new], [base_excess, new_excess])), name)| MetricRuns {
            name,
            direction: judged.direction(),
            scale: judged.scale(),
            margin: judged.margin(margin),
            base,
            new,
            base_excess,
            new_excess,
            has_bad_run: first_doubt(sides, judged).is_some(),
        })
        .collect();
    let how = match pairing {
        Pairing::Interleaved => measure::Pairing::Paired,
        Pairing::Apart => measure::Pairing::Unpaired,
    };
    let comparison = measure::compare(&metrics, how);
    let rows = comparison.changes.iter().zip(&metrics).zip(Judged::ALL);
    let rows: Vec<Metric> = rows.map(|((change, runs), judged)| row(change, runs, judged, sides)).collect();
    let verdict = Verdict::from(comparison.verdict());
    let document = Document {
        schema: SCHEMA,
        tool: Tool::THIS,
        verdict,
        reason: reason(verdict, &rows),
        margin,
        pairing,
        metrics: rows,
        warnings: warnings(sides),
        base: side(&base),
        new: side(&new),
    };
    let fails = [FailOn::Worse, FailOn::Undecided].map(|on| fails(&comparison, on));
    Ok(Judgement { document, runs: [base, new], fails })
}

fn fails(comparison: &Comparison<'_>, on: FailOn) -> Result<bool, String> {
    comparison.fails(on).map_err(|error| error.to_string())
}

/// Refuses sides that do not measure the same, and runs that are given twice.
fn check(base: &[Named], new: &[Named]) -> Result<(), Failure> {
    let refused = |one: &Named, other: &Named, problem: String| {
        Err(Failure::run(format!("comparing {} and {}: {problem}", one.name, other.name)))
    };
    let mut seen: BTreeMap<&str, &Named> = BTreeMap::new();
    let all: Vec<&Named> = base.iter().chain(new).collect();
    for run in &all {
        if let Some(before) = seen.insert(&run.document.run.id, run) {
            return refused(before, run, format!("both have the `run.id` {}; give each run once", run.document.run.id));
        }
    }
    for run in &all[1..] {
        let names = [all[0].name.as_str(), run.name.as_str()];
        let [one, other] = [&all[0].document, &run.document];
        let segments = [one, other].map(|document| format!("{:?}", document.run.segment));
        let difference =
            of_settings(&one.config, &other.config).map(|difference| difference.describe(names)).or_else(|| {
                (segments[0] != segments[1]).then(|| {
                    format!(
                        "`run.segment` differs: it is {} in {} and {} in {}",
                        segments[0], names[0], segments[1], names[1]
                    )
                })
            });
        if let Some(difference) = difference {
            return refused(all[0], run, format!("{difference}; compare runs of the same load"));
        }
    }
    Ok(())
}

/// Returns whether both sides have as many runs, and each run was made before the next run of the other side.
fn pairing(base: &[Named], new: &[Named]) -> Pairing {
    let start = |run: &Named| run.document.run.start.clone();
    let pairs: Vec<[String; 2]> = base.iter().zip(new).map(|(one, other)| [start(one), start(other)]).collect();
    let is_in_order = pairs.windows(2).all(|two| two[0].iter().max() < two[1].iter().min());
    match base.len() == new.len() && is_in_order {
        true => Pairing::Interleaved,
        false => Pairing::Apart,
    }
}

/// Returns the value of each run. A run without a value is bad, which makes the metric undecided; here it counts as
/// the worst value.
fn values(side: &[Named], judged: Judged) -> Vec<f64> {
    let worst = match judged {
        Judged::Percentile(..) => f64::INFINITY,
        Judged::Failed => 1.0,
        Judged::Rate => 0.0,
    };
    side.iter().map(|run| judged.value(&run.document).unwrap_or(worst)).collect()
}

/// Returns how much the value of each run may exceed the true one.
fn excesses(side: &[Named], judged: Judged) -> Vec<f64> {
    side.iter().map(|run| judged.excess(&run.document)).collect()
}

fn side(runs: &[Named]) -> Side {
    let texts = |of: fn(&model::Document) -> Vec<String>| {
        let all: BTreeSet<String> = runs.iter().flat_map(|run| of(&run.document)).collect();
        all.into_iter().collect()
    };
    let run = |run: &Named| Run {
        source: run.name.clone(),
        id: run.document.run.id.clone(),
        start: run.document.run.start.clone(),
        doubt: doubt(&run.document),
        values: Judged::ALL.map(|judged| judged.value(&run.document).filter(|value| value.is_finite())).into(),
    };
    Side {
        targets: texts(|document| document.targets.iter().map(|target| target.addr.clone()).collect()),
        agents: texts(|document| document.agents.iter().map(|agent| agent.agent.clone()).collect()),
        runs: runs.iter().map(run).collect(),
    }
}

fn row(change: &Change<'_>, runs: &MetricRuns<'_>, judged: Judged, [base, new]: [&Vec<Named>; 2]) -> Metric {
    let part = |value: f64| if judged.unit() == Unit::Share { value } else { value - 1.0 };
    let of_only = |side: &[Named]| match side {
        [only] => judged.interval(&only.document),
        _ => None,
    };
    let mean = |values: &[f64]| mean(values, judged.unit()).filter(|value| value.is_finite());
    let mut metric = Metric {
        name: change.name.to_owned(),
        unit: judged.unit(),
        smaller_is_better: judged.direction() == Direction::SmallerIsBetter,
        margin: runs.margin,
        base: mean(runs.base),
        new: mean(runs.new),
        base_interval: of_only(base),
        new_interval: of_only(new),
        change: change.estimate.map(part).filter(|value| value.is_finite()),
        interval: change.interval.map(|(low, high)| [part(low), part(high)]),
        verdict: change.verdict.into(),
        reason: String::new(),
        more_rounds: change.more_rounds,
    };
    let sides = [base, new];
    let bad_run = first_doubt(sides, judged).or_else(|| latest(sides, judged));
    metric.reason = reason_of(&metric, change.doubt, runs.base.len().min(runs.new.len()), bad_run);
    metric
}

/// Returns the geometric mean of the values, of shares the mean.
fn mean(values: &[f64], unit: Unit) -> Option<f64> {
    let count = values.len() as f64;
    match unit {
        _ if values.is_empty() => None,
        Unit::Share => Some(values.iter().sum::<f64>() / count),
        Unit::Nanoseconds | Unit::PerSecond => Some((values.iter().map(|value| value.ln()).sum::<f64>() / count).exp()),
    }
}

/// Formats a change: `+12.3 %`, of shares `+0.02 points`, which are hundredths.
pub(super) fn show_change(change: f64, unit: Unit) -> String {
    let hundredths = 100.0 * change;
    match unit {
        Unit::Share => format!("{hundredths:+.3} points"),
        Unit::Nanoseconds | Unit::PerSecond => format!("{hundredths:+.1} %"),
    }
}

/// Formats the size of a margin: `5 %`, of shares `0.1 points`.
pub(super) fn show_margin(margin: f64, unit: Unit) -> String {
    let hundredths = (100.0 * margin * 1e6).round() / 1e6;
    match unit {
        Unit::Share => format!("{hundredths} points"),
        Unit::Nanoseconds | Unit::PerSecond => format!("{hundredths} %"),
    }
}

fn reason_of(metric: &Metric, doubt: Option<Doubt>, runs: usize, bad_run: Option<String>) -> String {
    let Metric { unit, change, interval, .. } = metric;
    let margin = show_margin(metric.margin, *unit);
    let change = match (change, interval) {
        (Some(change), Some([low, high])) => {
            let [low, high] = [low, high].map(|bound| show_change(*bound, *unit));
            format!("{} [{low}, {high}]", show_change(*change, *unit))
        }
        (Some(change), None) => show_change(*change, *unit),
        (None, _) => "so many operations failed that the change has no size".to_owned(),
    };
    let more = metric.more_rounds.map(|more| format!("; about {} would decide", counted(more, "more round")));
    let more = more.unwrap_or_default();
    match doubt {
        None => match metric.verdict {
            Verdict::Better | Verdict::Worse => format!("{change}, beyond the margin of {margin}"),
            Verdict::Same | Verdict::Undecided => format!("{change}, within the margin of {margin}"),
        },
        Some(Doubt::BadRun) => bad_run.unwrap_or_default(),
        Some(Doubt::Excess) => format!("{change}; but {}", bad_run.unwrap_or_default()),
        Some(Doubt::TooFewRuns) => format!(
            "{change} with {} a side: from {MIN_RUNS} on, the spread between runs is known{more}",
            counted(runs as u64, "run")
        ),
        Some(Doubt::Spread) => format!("{change} reaches across the margin of {margin}{more}"),
        Some(Doubt::Unconfirmed) => {
            format!("{change} is beyond the margin of {margin}, but too few runs confirm it{more}")
        }
        Some(Doubt::Unbounded) => format!("{change}: so many operations failed that only more runs can decide"),
    }
}

/// Describes the verdict by the metrics that decided it.
fn reason(verdict: Verdict, rows: &[Metric]) -> String {
    let of: Vec<String> =
        rows.iter().filter(|row| row.verdict == verdict).map(|row| format!("{}: {}", row.name, row.reason)).collect();
    match verdict {
        Verdict::Same => "every metric changed by less than its margin".to_owned(),
        Verdict::Better | Verdict::Worse => of.join("; "),
        Verdict::Undecided => of.first().cloned().unwrap_or_else(|| "nothing was compared".to_owned()),
    }
}

/// Names the first run whose value must not be relied on, with the reason.
fn first_doubt(sides: [&Vec<Named>; 2], judged: Judged) -> Option<String> {
    sides.into_iter().flatten().find_map(|run| Some(format!("{} {}", run.name, judged.doubt(&run.document)?)))
}

/// Names the run whose generator was late by the largest part of the value, with its lag.
fn latest(sides: [&Vec<Named>; 2], judged: Judged) -> Option<String> {
    let share = |run: &&Named| judged.excess(&run.document) / judged.value(&run.document).unwrap_or(f64::INFINITY);
    let late = sides.into_iter().flatten().filter(|run| judged.excess(&run.document) > 0.0);
    let run = late.max_by(|one, other| share(one).total_cmp(&share(other)))?;
    let lag = show_value(judged.excess(&run.document), judged.unit());
    Some(format!("the generator of {} was late by {lag} there; lower the rate or free a CPU for it", run.name))
}

/// Names each run that is in doubt, with the reason.
fn doubtful_runs(sides: [&Vec<Named>; 2]) -> impl Iterator<Item = String> {
    sides.into_iter().flatten().filter_map(|run| Some(format!("{} {}", run.name, doubt(&run.document)?)))
}

fn warnings(sides: [&Vec<Named>; 2]) -> Vec<String> {
    let all = || sides.into_iter().flatten();
    let mut warnings: Vec<String> = doubtful_runs(sides).collect();
    let hosts: BTreeSet<Option<&str>> = all().map(|run| run.document.host.name.as_deref()).collect();
    if hosts.len() > 1 {
        warnings.push("the runs were made on different machines".to_owned());
    }
    let versions: BTreeSet<&str> = all().map(|run| run.document.tool.version.as_str()).collect();
    if versions.len() > 1 {
        warnings.push(format!("peerloop itself differs: {}", versions.into_iter().collect::<Vec<_>>().join(", ")));
    }
    warnings
}
