//! The table of latencies: a row for each view of each metric, with its percentiles.

use super::{GAP_TO_MENTION, LAG, is_passive, noun};
use crate::model::{Document, Estimated, Group, Metric, Table, Work};
use crate::output::json::Nanos;
use crate::output::page::Page;
use crate::units::{show_latency, show_seconds, show_share};
use std::time::Duration;

/// The value of a percentile among the operations that never completed.
const FAILED: &str = "failed";

/// A run that has to be longer by more than this is not worth its time.
const FAR: Duration = Duration::from_secs(86_400);

/// Writes the latencies of the whole run. `send_lag` is how late the operations were started (p99).
pub(super) fn write(page: &mut Page, document: &Document, send_lag: Option<Duration>) {
    let shown: Vec<&Metric> = document.metrics.iter().filter(|metric| !metric.name.ends_with(LAG)).collect();
    table(page, &shown);
    estimates(page, document);
    let is_passive = is_passive(&document.config.workload);
    // If the operations are not planned, only the connections are.
    let counts = |metric: &&&Metric| metric.planned.is_some() && (metric.work.is_some() || !is_passive);
    let scheduled: Vec<&str> = shown.iter().filter(counts).map(|metric| metric.name.as_str()).collect();
    let remark = match send_lag {
        None => "",
        Some(p99) if p99 < GAP_TO_MENTION => ": the schedule was kept",
        Some(_) => &format!(": {} were sent late", noun(&document.config.workload)),
    };
    let begin = if is_passive { "first announcement" } else { "planned time" };
    page.wrapped("", &format!("{} count from the {begin}{remark}", listed(&scheduled)));
    if let Some(unanswered) = unanswered(document.counts.work) {
        page.wrapped("", &unanswered);
    }
    page.line(format_args!(""));
}

/// Writes the counts and latencies of a host or a stage.
pub(super) fn of_group(page: &mut Page, group: &Group) {
    let mut parts = vec![group.name.clone()];
    if let Some(work) = group.metrics.iter().find_map(|metric| metric.work) {
        parts.push(format!("{} planned", work.planned));
        parts.push(format!("{} answered", show_share(work.answered, work.planned)));
    }
    page.parts(&format!("By {:<8}", group.by.word()), "   ", parts);
    let shown: Vec<&Metric> = group.metrics.iter().filter(|metric| !metric.name.ends_with(LAG)).collect();
    table(page, &shown);
    page.line(format_args!(""));
}

/// Writes a row for each view of the metrics.
fn table(page: &mut Page, metrics: &[&Metric]) {
    let columns = metrics.first().and_then(|metric| metric.first_view()).map_or(&[][..], |view| &view.percentiles.0);
    let headings: String = columns.iter().map(|(one, _)| format!("{:>10}", one.heading())).collect();
    let width = metrics.iter().map(|metric| metric.name.len() + 1).max().unwrap_or(0).max(12);
    page.line(format_args!("{:<width$}{:>9}{headings}", "Latency", "count"));
    let mut row = |name: &str, Table(values): &Table, count: u64| {
        let values: String = values.iter().map(|(_, value)| format!(" {:>9}", value.shown())).collect();
        page.line(format_args!("{name:<width$}{:>9}{values}", count));
    };
    for metric in metrics {
        for (view_name, view) in metric.views() {
            match (view_name, metric.name.as_str()) {
                ("sent", "connect" | "handshake") => {
                    row("  from dial", &view.percentiles, view.latencies.count());
                }
                // Nothing is sent for an expected announcement.
                ("sent", name) if name.ends_with("_propagation") => {}
                ("sent", _) => row("  from send", &view.percentiles, view.latencies.count()),
                (_, name) => row(name, &view.percentiles, view.latencies.count()),
            }
            if metric.work.is_some() && view.failed > 0 {
                row("    answered", &view.of_answered, view.latencies.count());
            }
        }
    }
}

/// Writes the intervals of the main metric's percentiles, from the planned time.
fn estimates(page: &mut Page, document: &Document) {
    let Some(main) = document.main_metric() else { return };
    let Some((view, _)) = main.views().next() else { return };
    let shown = document.estimates.iter().filter(|one| one.metric == main.name && one.view == view);
    let parts: Vec<String> = shown.filter_map(estimate).collect();
    if !parts.is_empty() {
        page.parts("95 % sure   ", "   ", parts);
    }
}

/// Formats a percentile with its interval: `p99 414 us [396, 437]`; `None` for the maximum, which has none.
fn estimate(estimated: &Estimated) -> Option<String> {
    let Estimated { percentile, value_ns, bounds_ns, more_ns, .. } = estimated;
    let value = value_ns.map_or_else(|| FAILED.to_owned(), |value| show_latency(value.0));
    let interval = match (bounds_ns, more_ns) {
        (Some(bounds), _) => show_bounds(&value, *bounds),
        (None, Some(Nanos(more))) if *more < FAR => format!(": needs about {} more", show_seconds(*more)),
        (None, Some(_)) => ": needs a far longer run".to_owned(),
        (None, None) => return None,
    };
    Some(format!("p{percentile} {value}{interval}"))
}

/// Formats bounds, without their unit if it is the value's.
fn show_bounds(value: &str, bounds: [Option<Nanos>; 2]) -> String {
    let texts = bounds.map(|bound| bound.map_or_else(|| FAILED.to_owned(), |bound| show_latency(bound.0)));
    let unit = value.rsplit_once(' ').map_or("", |(_, unit)| unit);
    let [low, high] = texts.each_ref().map(|text| text.strip_suffix(unit).map(str::trim_end));
    match (low, high) {
        (Some(low), Some(high)) if !unit.is_empty() => format!(" [{low}, {high}]"),
        (_, _) => format!(" [{}, {}]", texts[0], texts[1]),
    }
}

/// Joins names into a list: `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// Describes the unanswered share of the planned operations, if any.
fn unanswered(work: Work) -> Option<String> {
    let Work { planned, timed_out, unsent, .. } = work;
    let shares = show_share(work.failed(), planned);
    (work.failed() > 0).then(|| {
        format!(
            "{shares} unanswered: {timed_out} timed out and {unsent} unsent of {planned} planned; a percentile among \
             them is shown as > T, T being the shortest wait for one of them, or as failed \
             if T says nothing"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_has_its_interval_in_its_own_unit_if_that_fits() {
        let nanos = |nanos: u64| Some(Nanos(Duration::from_nanos(nanos)));
        let shown = |value, bounds, more| {
            estimate(&Estimated {
                metric: "ping_rtt".to_owned(),
                view: "planned".to_owned(),
                percentile: "99".to_owned(),
                value_ns: value,
                bounds_ns: bounds,
                more_ns: more,
            })
        };
        let [value, low, high] = [414_000, 396_000, 437_000].map(nanos);
        assert_eq!(shown(value, Some([low, high]), None).unwrap(), "p99 414 us [396, 437]");
        assert_eq!(shown(value, Some([low, nanos(1_200_000)]), None).unwrap(), "p99 414 us [396 us, 1.20 ms]");
        assert_eq!(shown(value, Some([low, None]), None).unwrap(), "p99 414 us [396 us, failed]");
        assert_eq!(shown(None, Some([None, None]), None).unwrap(), "p99 failed [failed, failed]");
        assert_eq!(shown(value, None, nanos(12_000_000_000)).unwrap(), "p99 414 us: needs about 12 s more");
        assert_eq!(shown(value, None, nanos(u64::MAX)).unwrap(), "p99 414 us: needs a far longer run");
        assert_eq!(shown(value, None, None), None);
    }

    #[test]
    fn names_are_listed_in_words() {
        assert_eq!([listed(&["a"]), listed(&["a", "b"]), listed(&["a", "b", "c"])], ["a", "a and b", "a, b and c"]);
    }
}
