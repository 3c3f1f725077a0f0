//! Adds up the intervals of runs by their time since the begin of each run's counted part.
//!
//! A run that ended before the others keeps its last number of peers, unless it is partial. A row's percentiles are
//! computed again from the added histograms. If a run lacks intervals, or their histograms, the sum lacks them too,
//! because it would not match the totals; a warning says so.

use crate::model::{Document, Latencies, Packed, Packer, Row, Series, Timeline};
use peerloop::histogram::percentile_rank;
use std::collections::BTreeSet;
use std::mem;
use std::time::Duration;

/// The timeline of one run.
pub(super) struct Span {
    name: String,
    timeline: Timeline,
    partial: bool,
    has_replies: bool,
    /// The metrics and views that have latencies.
    filled: Vec<(String, String)>,
    /// The view of the main metric from which the rows' percentiles follow.
    main: Option<(String, String)>,
}

impl Span {
    /// Moves the timeline out of the document.
    pub(super) fn of(name: &str, document: &mut Document) -> Self {
        let key = |metric: &str, view: &str| (metric.to_owned(), view.to_owned());
        let filled = document.metrics.iter().flat_map(|metric| {
            let views = metric.views().filter(|(_, view)| view.latencies.count() > 0);
            views.map(|(view, _)| key(&metric.name, view))
        });
        Self {
            name: name.to_owned(),
            partial: document.run.partial,
            has_replies: document.counts.work.answered > 0,
            filled: filled.collect(),
            main: document.main_metric().and_then(|metric| Some(key(&metric.name, metric.views().next()?.0))),
            timeline: mem::take(&mut document.timeline),
        }
    }

    fn series(&self, metric: &str, view: &str) -> Option<&Series> {
        self.timeline.histograms.iter().find(|series| series.metric == metric && series.view == view)
    }
}

/// Adds up the timelines. The error names the run.
pub(super) fn merge(spans: Vec<Span>, warnings: &mut Vec<String>) -> Result<Timeline, (String, String)> {
    let interval = spans.first().map_or(Duration::ZERO, |span| span.timeline.interval);
    if let Some(lacking) = spans.iter().find(|span| span.timeline.rows.is_empty() && span.has_replies) {
        warnings.push(format!("{} has no intervals, so the merged document has none", lacking.name));
        return Ok(Timeline { interval, ..Timeline::default() });
    }
    let mut rows = rows(&spans);
    let joined: BTreeSet<u64> = spans.iter().flat_map(|span| &span.timeline.joined).copied().collect();
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for series in spans.iter().flat_map(|span| &span.timeline.histograms) {
        if !keys.contains(&(&series.metric, &series.view)) {
            keys.push((&series.metric, &series.view));
        }
    }
    let mut histograms = Vec::new();
    let mut packer = Packer::new();
    for (metric, view) in keys {
        let is_filled = |span: &&Span| span.filled.iter().any(|(one, other)| one == metric && other == view);
        if let Some(lacking) = spans.iter().filter(is_filled).find(|span| span.series(metric, view).is_none()) {
            let name = &lacking.name;
            warnings.push(format!("{name} has no intervals of `{metric}.{view}`, so the merged document has none"));
            continue;
        }
        let is_main = spans[0].main.as_ref().is_some_and(|(one, other)| one == metric && other == view);
        let mut series = Series { metric: metric.to_owned(), view: view.to_owned(), intervals: Vec::new() };
        for (index, row) in rows.iter_mut().enumerate() {
            let sum = sum(&spans, metric, view, index)?;
            if let (true, Some(sum)) = (is_main, &sum) {
                summarise(row, sum);
            }
            series.intervals.push(sum.map(|sum| packer.pack(sum.as_hdr())));
        }
        histograms.push(series);
    }
    Ok(Timeline { interval, rows, histograms, joined: joined.into_iter().collect() })
}

/// Adds up the counts of the rows.
fn rows(spans: &[Span]) -> Vec<Row> {
    let len = spans.iter().map(|span| span.timeline.rows.len()).max().unwrap_or(0);
    let mut rows = vec![Row { failed: Some(0), ..Row::default() }; len];
    for Span { timeline, partial, .. } in spans {
        for (row, other) in rows.iter_mut().zip(&timeline.rows) {
            row.end = row.end.max(other.end);
            row.planned += other.planned;
            row.sent += other.sent;
            row.answered += other.answered;
            row.failed = row.failed.zip(other.failed).map(|(one, other)| one + other);
            row.max = row.max.max(other.max);
            row.peers += other.peers;
            row.lost += other.lost;
        }
        let last = timeline.rows.last().filter(|_| !partial).map_or(0, |row| row.peers);
        rows.iter_mut().skip(timeline.rows.len()).for_each(|row| row.peers += last);
    }
    rows
}

/// Adds up the histograms of one interval.
fn sum(spans: &[Span], metric: &str, view: &str, index: usize) -> Result<Option<Latencies>, (String, String)> {
    let mut sum: Option<Latencies> = None;
    for span in spans {
        let series = span.series(metric, view);
        let Some(packed) = series.and_then(|series| series.intervals.get(index)).and_then(Option::as_ref) else {
            continue;
        };
        let named = |error| (span.name.clone(), format!("`{metric}.{view}` of interval {index}: {error}"));
        let latencies = Packed::open(packed).map_err(named)?;
        match &mut sum {
            None => sum = Some(latencies),
            Some(sum) => sum.add(&latencies).map_err(named)?,
        }
    }
    Ok(sum)
}

fn summarise(row: &mut Row, latencies: &Latencies) {
    let percentile = |percent| latencies.at_rank(percentile_rank(percent, latencies.count()));
    (row.p50, row.p99, row.max) = (percentile(50.0), percentile(99.0), percentile(100.0));
}
