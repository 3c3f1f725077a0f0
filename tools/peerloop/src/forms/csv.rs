//! Tables for spreadsheets, as CSV: the timeline with a line for each interval, and a summary with a line for each view
//! of each metric.
//!
//! Times are in seconds and latencies in milliseconds, without rounding. An empty cell means that nothing was measured.
//! A percentile among the operations that never completed is `inf`. Fields are separated by commas and quoted if they
//! need it (RFC 4180); lines end with a line feed.

use crate::model::{Document, Latencies, Metric, Percentile, Row, View, Work};
use crate::units::{self, Percentiles};
use peerloop::histogram::percentile_rank;
use std::io::{self, Write};
use std::time::Duration;

/// Writes the timeline. Each view of a metric has columns for its number of latencies and its percentiles.
pub(crate) fn timeline(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let percentiles = percentiles(document);
    let series = &document.timeline.histograms;
    let mut header: Vec<String> =
        ["start_s", "end_s", "planned", "sent", "answered", "failed", "peers", "lost"].map(str::to_owned).into();
    for one in series {
        header.push(format!("{}.count", one.tag()));
        header.extend(percentiles.0.iter().map(|percentile| format!("{}.{}_ms", one.tag(), percentile.heading())));
    }
    if series.is_empty() {
        header.extend(["p50_ms", "p99_ms", "max_ms"].map(str::to_owned));
    }
    write_line(out, &header)?;
    for (index, (begin, row)) in document.timeline.spans().enumerate() {
        let mut cells = counts(begin, row);
        for one in series {
            // The document was checked when it was built or read, so every histogram can be decoded.
            let packed = one.intervals.get(index).and_then(Option::as_ref);
            let latencies = packed.and_then(|packed| packed.open().ok()).unwrap_or_else(Latencies::new);
            cells.push(latencies.count().to_string());
            cells.extend(percentiles.0.iter().map(|percentile| of_latencies(percentile, &latencies)));
        }
        if series.is_empty() {
            cells.extend([row.p50, row.p99, row.max].map(|latency| latency.map(millis).unwrap_or_default()));
        }
        write_line(out, &cells)?;
    }
    Ok(())
}

fn counts(begin: Duration, row: &Row) -> Vec<String> {
    let Row { end, planned, sent, answered, failed, peers, lost, .. } = *row;
    let failed = failed.map(|failed| failed.to_string()).unwrap_or_default();
    let [begin, end] = [begin, end].map(|time| decimal(time, 1_000_000_000));
    let [planned, sent, answered, peers, lost] = [planned, sent, answered, peers, lost].map(|count| count.to_string());
    vec![begin, end, planned, sent, answered, failed, peers, lost]
}

/// Writes the summary: the whole run, then each stage if there are several, each group, and each target if there are
/// several.
pub(crate) fn summary(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let percentiles = percentiles(document);
    let mut header: Vec<String> =
        ["scope", "metric", "view", "planned", "sent", "unsent", "answered", "timed_out", "count", "failed"]
            .map(str::to_owned)
            .into();
    header.extend(["min_ms", "mean_ms"].map(str::to_owned));
    header.extend(percentiles.0.iter().map(|percentile| format!("{}_ms", percentile.heading())));
    write_line(out, &header)?;
    let mut metrics = |scope: &str, list: &[Metric]| {
        for metric in list {
            for (name, view) in metric.views() {
                write_line(out, &summary_cells([scope, &metric.name, name], metric.work, view))?;
            }
        }
        Ok::<_, io::Error>(())
    };
    metrics("run", &document.metrics)?;
    if document.stages.len() > 1 {
        for (index, stage) in document.stages.iter().enumerate() {
            metrics(&format!("stage {}", index + 1), &stage.metrics)?;
        }
    }
    for group in &document.groups {
        metrics(&format!("{} {}", group.by.word(), group.name), &group.metrics)?;
    }
    if document.cut.is_some() {
        // The targets' results are not known by interval.
        return Ok(());
    }
    let main = document.main_metric().map_or("", |metric| &metric.name);
    for target in document.targets.iter().filter(|_| document.targets.len() > 1) {
        let names = [&format!("target {}", target.addr), main, "planned"];
        if let Some(view) = &target.view {
            write_line(out, &summary_cells(names, Some(target.work), view))?;
        }
    }
    Ok(())
}

fn summary_cells(names: [&str; 3], work: Option<Work>, view: &View) -> Vec<String> {
    let mut cells: Vec<String> = names.map(str::to_owned).into();
    let counts = work.map(|work| [work.planned, work.sent, work.unsent, work.answered, work.timed_out]);
    cells.extend(counts.map_or_else(Default::default, |counts| counts.map(|count| count.to_string())));
    cells.extend([view.latencies.count(), view.failed].map(|count| count.to_string()));
    cells.extend([view.latencies.min(), view.latencies.mean()].map(|latency| latency.map(millis).unwrap_or_default()));
    cells.extend(view.percentiles.0.iter().map(|(_, value)| match value {
        Percentile::Measured(latency) => millis(*latency),
        Percentile::Beyond(_) => "inf".to_owned(),
        Percentile::NoData => String::new(),
    }));
    cells
}

/// Returns the percentiles that the run reports, which are the same for every view.
fn percentiles(document: &Document) -> Percentiles {
    let view = document.main_metric().or_else(|| document.metrics.first()).and_then(Metric::first_view);
    Percentiles(view.into_iter().flat_map(|view| &view.percentiles.0).map(|(one, _)| one.clone()).collect())
}

fn of_latencies(percentile: &units::Percentile, latencies: &Latencies) -> String {
    latencies.at_rank(percentile_rank(percentile.percent, latencies.count())).map(millis).unwrap_or_default()
}

/// Formats a latency in milliseconds, exactly.
fn millis(latency: Duration) -> String {
    decimal(latency, 1_000_000)
}

/// Formats a duration as an exact decimal in a unit of `nanos` nanoseconds, which is a power of ten.
fn decimal(time: Duration, nanos: u128) -> String {
    let (whole, part) = (time.as_nanos() / nanos, time.as_nanos() % nanos);
    let digits = nanos.ilog10() as usize;
    let text = format!("{whole}.{part:0digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn write_line(out: &mut dyn Write, cells: &[String]) -> io::Result<()> {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    writeln!(out, "{}", cells.join(","))
}

pub(crate) fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let of = |nanos| decimal(Duration::from_nanos(nanos), 1_000_000);
        let shown = [0, 1, 1_000_000, 1_500_000, 10_000_000, u64::MAX].map(of);
        assert_eq!(shown, ["0", "0.000001", "1", "1.5", "10", "18446744073709.551615"]);
    }

    #[test]
    fn a_cell_is_quoted_only_if_it_has_to_be() {
        assert_eq!(quoted("target [::1]:8333"), "target [::1]:8333");
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
    }
}
