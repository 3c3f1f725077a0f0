//! The table of latencies: a row for each view of each metric, with its percentiles.

use super::{GAP_TO_MENTION, LAG, noun};
use crate::model::{Document, Group, Metric, Table, View, Work};
use crate::output::page::Page;
use crate::units::show_share;
use std::time::Duration;

/// Writes the latencies of the whole run. `send_lag` is how late the operations were started (p99).
pub(super) fn write(page: &mut Page, document: &Document, send_lag: Option<Duration>) {
    let shown: Vec<&Metric> = document.metrics.iter().filter(|metric| !metric.name.ends_with(LAG)).collect();
    table(page, &shown);
    let scheduled: Vec<&str> =
        shown.iter().filter(|metric| metric.planned.is_some()).map(|metric| metric.name.as_str()).collect();
    let remark = match send_lag {
        None => "",
        Some(p99) if p99 < GAP_TO_MENTION => ": the schedule was kept",
        Some(_) => &format!(": {} were sent late", noun(&document.config.workload)),
    };
    page.wrapped("", &format!("{} count from the planned time{remark}", listed(&scheduled)));
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
    page.line(format_args!("{:<12}{:>9}{headings}", "Latency", "count"));
    let mut row = |name: &str, view: &View| {
        let Table(values) = &view.percentiles;
        let values: String = values.iter().map(|(_, value)| format!(" {:>9}", value.shown())).collect();
        page.line(format_args!("{name:<12}{:>9}{values}", view.latencies.count()));
    };
    for metric in metrics {
        for (view_name, view) in metric.views() {
            match (view_name, metric.name.as_str()) {
                ("sent", "connect") => row("  from dial", view),
                ("sent", _) => row("  from send", view),
                (_, name) => row(name, view),
            }
        }
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
             them is shown as > T, T being the shortest wait for one of them"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_in_words() {
        assert_eq!([listed(&["a"]), listed(&["a", "b"]), listed(&["a", "b", "c"])], ["a", "a and b", "a, b and c"]);
    }
}
