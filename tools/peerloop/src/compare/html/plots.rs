//! The pictures of the page: the percentile curves of both sides, and the runs of each judged metric.

use super::super::document::{Document, Metric, Pairing};
use super::super::judge::{show_change, show_margin};
use crate::forms::html::curve::{curve, marks};
use crate::forms::html::svg::{ACROSS, Axis, Plot, Scale, Tick, changes, latencies, nice, percentiles, upwards};
use crate::forms::html::{figure, no_data, percentile_text};
use crate::model::View;
use crate::runs::{Judged, Named, Unit, show_value};
use crate::units::show_share;

/// The heights of the frames of both kinds of pictures.
const CURVES_HEIGHT: f64 = 300.0;
const RUNS_HEIGHT: f64 = 170.0;

/// The names of both sides with the classes of their lines and marks.
const SIDES: [(&str, &str); 2] = [("base", "one"), ("new", "two")];

/// The distance of a run's mark from its number, so that the marks of a pair stand side by side.
const ASIDE: f64 = 0.14;

/// Maximum number of labels of the axis of runs.
const MAX_NUMBERS: f64 = 12.0;

/// Draws the percentile curves of both sides: a thin line for each run, at most `shown` of a side, and a thick one for
/// all runs of the side together.
pub(super) fn curves(runs: &[Vec<Named>; 2], shown: usize) -> String {
    const TITLE: &str = "Latency by percentile, base and new";
    let views: Vec<&View> = runs.iter().flatten().filter_map(main).collect();
    let ends = views.iter().filter_map(|view| Some((view.latencies.min()?, view.latencies.max()?)));
    let Some((min, max)) = ends.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))) else {
        return no_data(TITLE, "no operation of these runs was answered");
    };
    let totals = [0, 1].map(|side| total(runs[side].iter().filter_map(main)));
    let count = totals.iter().flatten().map(View::count).max().unwrap_or(0);
    let (end, ticks) = percentiles(count);
    let x = Axis { scale: Scale::log((1.0, end), ACROSS), ticks, name: "percentile of all operations" };
    let (ends, ticks) = latencies(min.as_nanos() as f64, max.as_nanos() as f64);
    let y = Axis { scale: Scale::log(ends, upwards(CURVES_HEIGHT)), ticks, name: "latency" };
    let mut plot = Plot::new(x, y);
    for ((_, class), runs) in SIDES.iter().zip(runs) {
        for view in runs.iter().take(shown).filter_map(main) {
            plot.trace(&format!("thin {class}"), curve(view));
        }
    }
    let mut descriptions = Vec::new();
    for ((name, class), total) in SIDES.iter().zip(&totals) {
        match total {
            Ok(view) => {
                plot.line(&format!("thick {class}"), &format!("{name}: all runs together"), curve(view));
                plot.marks(class, marks(view).map(|(at, text)| (at, format!("{name} {text}"))));
                descriptions.push(format!("{name}: {}", described(view)));
            }
            Err(problem) => descriptions.push(format!("{name}: its runs cannot be added: {problem}")),
        }
    }
    let metric = runs[0].first().and_then(|run| run.document.main_metric()).map_or("", |metric| &metric.name);
    let description = descriptions.join("; ");
    let text = format!(
        "{metric}, from the planned time. Thin lines are single runs. Where the thin lines of both sides mix, the \
         difference is that of runs, not of versions. {description}"
    );
    figure(plot.finish("curves", TITLE, &description), TITLE, &text)
}

/// Returns the latencies that are judged.
fn main(run: &Named) -> Option<&View> {
    run.document.main_metric()?.first_view()
}

/// Adds the operations of all runs of a side.
fn total<'a>(mut views: impl Iterator<Item = &'a View>) -> Result<View, String> {
    let mut total = views.next().ok_or("no operations")?.clone();
    views.try_for_each(|view| total.add(view))?;
    Ok(total)
}

fn described(view: &View) -> String {
    let value = |percent| percentile_text(view.percentile(percent));
    let failed = match view.failed {
        0 => String::new(),
        failed => format!(", {} never answered, which the curve does not reach", show_share(failed, view.count())),
    };
    format!("p50 {}, p99 {}, p99.9 {}{failed}", value(50.0), value(99.0), value(99.9))
}

/// Draws the runs of each judged metric, at most `shown` of a side.
pub(super) fn runs(document: &Document, runs: &[Vec<Named>; 2], shown: usize) -> String {
    let metrics = Judged::ALL.into_iter().zip(&document.metrics).enumerate();
    let one = |(index, (judged, metric)): (usize, (Judged, &Metric))| {
        let values = [0, 1].map(|side| {
            let runs = runs[side].iter().take(shown);
            runs.map(|run| judged.value(&run.document)).collect::<Vec<_>>()
        });
        dots(metric, document.pairing, index, &values)
    };
    metrics.map(one).collect()
}

/// Draws the runs of one metric as changes from the base, and at the right the change between the sides.
fn dots(metric: &Metric, pairing: Pairing, index: usize, values: &[Vec<Option<f64>>; 2]) -> String {
    let title = format!("{} of each run", metric.name);
    let Some(reference) = metric.base.filter(|base| metric.unit == Unit::Share || *base > 0.0) else {
        return no_data(&title, "the base has no mean to compare with, because its operations failed");
    };
    // Hundredths of the base, or percentage points.
    let change = |value: f64| match metric.unit {
        Unit::Share => 100.0 * (value - reference),
        Unit::Nanoseconds | Unit::PerSecond => 100.0 * (value / reference - 1.0),
    };
    let margin = 100.0 * metric.margin;
    let interval = metric.interval.map(|bounds| bounds.map(|bound| 100.0 * bound));
    let shown = values.iter().flatten().flatten().map(|value| change(*value)).chain(interval.into_iter().flatten());
    let shown = shown.chain(metric.change.map(|change| 100.0 * change)).filter(|value| value.is_finite());
    let (low, high) =
        shown.fold((-1.3 * margin, 1.3 * margin), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
    let (ends, ticks) = changes(low, high);
    let name = if metric.unit == Unit::Share { "change in points" } else { "change in %" };
    let y = Axis { scale: Scale::linear(ends, upwards(RUNS_HEIGHT)), ticks, name };
    let count = values.iter().map(Vec::len).max().unwrap_or(0);
    let (end, place, ticks) = numbers(count);
    let name = match pairing {
        Pairing::Interleaved => "pair of runs, in the order of their starts",
        Pairing::Apart => "run of each side, in the order of their starts",
    };
    let mut plot = Plot::new(Axis { scale: Scale::linear((0.5, end), ACROSS), ticks, name }, y);
    plot.cells("planned", [[(0.5, end), (-margin, margin)]]);
    // A failed run is at the upper edge.
    let at = |value: f64| if value.is_finite() { change(value) } else { ends.1 };
    if pairing == Pairing::Interleaved {
        let pairs = (1..).zip(values[0].iter().zip(&values[1])).filter_map(|(number, (base, new))| {
            let [base, new] = [(*base)?, (*new)?].map(at);
            Some([Some((f64::from(number) - ASIDE, base)), Some((f64::from(number) + ASIDE, new)), None])
        });
        plot.trace("pair", pairs.flatten());
    }
    for (((name, class), aside), values) in SIDES.iter().zip([-ASIDE, ASIDE]).zip(values) {
        let class = if aside < 0.0 { (*class).to_owned() } else { format!("{class} new") };
        plot.mark_key(&class, name);
        for (number, value) in (1..).zip(values).filter_map(|(number, value)| Some((number, (*value)?))) {
            let class = if value.is_finite() { &class } else { "failed" };
            let text = format!("{name} {number}: {}", show_value(value, metric.unit));
            plot.marks(class, [((f64::from(number) + aside, at(value)), text)]);
        }
    }
    plot.key("planned", "margin");
    plot.whiskers("plan", interval.map(|[low, high]| (place, (low, high))));
    let text = described_change(metric);
    plot.marks("change", metric.change.map(|change| ((place, 100.0 * change), text.clone())));
    let failed = values.iter().flatten().flatten().filter(|value| !value.is_finite()).count();
    let failed =
        if failed == 0 { String::new() } else { format!(" Runs that failed are at the upper edge: {failed}.") };
    let caption = format!("0 is the mean of the base, {}. {text}{failed}", show_value(reference, metric.unit));
    figure(plot.finish(&format!("runs-{index}"), &title, &text), &title, &caption)
}

fn described_change(metric: &Metric) -> String {
    let show = |change| show_change(change, metric.unit);
    let change = metric.change.map_or_else(|| "no size".to_owned(), show);
    let interval =
        metric.interval.map_or_else(|| "none".to_owned(), |bounds| format!("from {}", bounds.map(show).join(" to ")));
    format!(
        "At the right: the change, {change}, and its interval, {interval}. The margin is {}: {}.",
        show_margin(metric.margin, metric.unit),
        metric.verdict.word()
    )
}

/// Returns the end of the axis of runs, the place of the change on it, and the labels.
fn numbers(count: usize) -> (f64, f64, Vec<Tick>) {
    let last = count as f64;
    let room = (0.16 * last).max(1.0);
    let step = nice(last / MAX_NUMBERS).max(1.0);
    let ticks = (1..).map(|index| f64::from(index) * step).take_while(|number| *number <= last);
    let ticks = ticks.map(|number| (number, number.to_string()));
    let place = last + 0.5 + room / 2.0;
    (last + 0.5 + room, place, ticks.chain([(place, "change".to_owned())]).collect())
}
