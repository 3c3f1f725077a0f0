//! The percentile curve: latencies over percentiles, on an axis of 1/(1-p), so that each further nine has equal room.

use super::svg::{ACROSS, Axis, Plot, Scale, latencies, percentiles, upwards};
use super::{figure, limits, no_data, percentile_text};
use crate::forms::hgrm;
use crate::model::{Document, Percentile, View};
use crate::units::{show_latency, show_share};

const TITLE: &str = "Latency by percentile";
const HEIGHT: f64 = 280.0;

/// The percentiles with a mark.
const MARKED: [(f64, &str); 7] = [
    (50.0, "p50"),
    (90.0, "p90"),
    (99.0, "p99"),
    (99.9, "p99.9"),
    (99.99, "p99.99"),
    (99.999, "p99.999"),
    (99.9999, "p99.9999"),
];

/// Draws the curve of the main metric, from the planned time and from the actual start.
pub(super) fn draw(document: &Document) -> String {
    let Some(metric) = document.main_metric() else { return no_data(TITLE, "the run has no operations") };
    let views: Vec<(&str, &View)> = metric.views().collect();
    let shown = |view: &View| (view.latencies.min(), view.latencies.max());
    let ends = views.iter().filter_map(|(_, view)| match shown(view) {
        (Some(min), Some(max)) => Some((min, max)),
        (Some(_) | None, _) => None,
    });
    let Some((min, max)) = ends.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))) else {
        return no_data(TITLE, "no operation was answered");
    };
    let count = views.iter().map(|(_, view)| view.count()).max().unwrap_or(0);
    let (end, ticks) = percentiles(count);
    let x = Axis { scale: Scale::log((1.0, end), ACROSS), ticks, name: "percentile of all operations" };
    let limits = limits::of(document, &metric.name);
    let shown = [min, max].map(|latency| latency.as_nanos() as f64);
    let shown = shown.into_iter().chain(limits.iter().map(|limit| limit.nanos));
    let (min, max) = shown.fold((f64::MAX, 0.0), |(min, max): (f64, f64), nanos| (min.min(nanos), max.max(nanos)));
    let (ends, ticks) = latencies(min, max);
    let y = Axis { scale: Scale::log(ends, upwards(HEIGHT)), ticks, name: "latency" };
    let mut plot = Plot::new(x, y);
    let mut descriptions: Vec<String> = Vec::new();
    for (name, view) in views {
        let (class, legend) = match name {
            "planned" => ("one", "from the planned time"),
            "sent" => ("two", "from the send"),
            _ => ("one", "measured"),
        };
        if name != "sent" && view.failed > 0 {
            let answered = view.latencies.count() as f64 / view.count() as f64;
            let label = format!("{} never answered", show_share(view.failed, view.count()));
            plot.bands("unanswered", &[((odds(answered), end), label)]);
        }
        plot.line(class, legend, curve(view));
        plot.whiskers(class, intervals(document, &metric.name, name));
        plot.marks(class, marks(view));
        descriptions.push(format!("{legend}: {}", described(view)));
    }
    let description = descriptions.join("; ");
    limits::draw(&mut plot, &limits);
    let marked = limits.iter().filter(|limit| limit.percent < 100.0);
    plot.marks("limit", marked.map(|limit| ((odds(limit.percent / 100.0), limit.nanos), limit.label())));
    figure(plot.finish("curve", TITLE, &description), TITLE, &format!("{}: {description}", metric.name))
}

/// Returns 1/(1-p).
fn odds(quantile: f64) -> f64 {
    1.0 / (1.0 - quantile).max(f64::EPSILON)
}

/// Lists the points of the curve, up to the percentile that a single operation is above. Operations that never
/// completed have no point.
pub(crate) fn curve(view: &View) -> Vec<Option<(f64, f64)>> {
    let last = view.count() as f64;
    let levels = hgrm::levels().map(|percent| (percent, odds(percent / 100.0))).take_while(|(_, at)| *at < last);
    let levels = levels.chain([(100.0 * (1.0 - 1.0 / last), last)]);
    let point = |(percent, at)| Some((at, view.percentile(percent).measured()?.as_nanos() as f64));
    levels.map(point).take_while(Option::is_some).collect()
}

/// Lists the intervals of a view's percentiles. A missing bound is infinite.
fn intervals<'a>(
    document: &'a Document,
    metric: &'a str,
    view: &'a str,
) -> impl Iterator<Item = (f64, (f64, f64))> + 'a {
    let estimates = document.estimates.iter().filter(move |one| one.metric == metric && one.view == view);
    estimates.filter_map(|one| {
        let bounds = one.bounds_ns?.map(|bound| bound.map_or(f64::INFINITY, |bound| bound.0.as_nanos() as f64));
        let percent: f64 = one.percentile.parse().ok()?;
        Some((odds(percent / 100.0), bounds.into()))
    })
}

pub(crate) fn marks(view: &View) -> impl Iterator<Item = ((f64, f64), String)> {
    let is_resolved = |percent: f64| view.count() as f64 * (1.0 - percent / 100.0) >= 0.999;
    MARKED.into_iter().filter(move |(percent, _)| is_resolved(*percent)).filter_map(|(percent, name)| {
        let value = view.percentile(percent).measured()?;
        Some(((odds(percent / 100.0), value.as_nanos() as f64), format!("{name}: {}", show_latency(value))))
    })
}

fn described(view: &View) -> String {
    let value = |percent| percentile_text(view.percentile(percent));
    let largest = view.latencies.max().map_or_else(|| percentile_text(Percentile::NoData), show_latency);
    format!("p50 {}, p99 {}, p99.9 {}, largest {largest}", value(50.0), value(99.0), value(99.9))
}
