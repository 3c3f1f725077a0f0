//! The pictures over time: latencies, the generator's own lag, operations and peers, on equal time axes.

use super::svg::{ACROSS, Axis, Plot, Point, Scale, counts, latencies, times, upwards};
use super::{figure, limits, no_data};
use crate::forms::text::plan;
use crate::model::{Document, Latencies, Packed, Phase, Row, Stage, Timeline, View};
use crate::units::{show_latency, show_rate, show_seconds};
use peerloop::histogram::percentile_rank;
use std::time::Duration;

/// Maximum number of intervals in a picture; more would be narrower than a line.
pub(super) const MAX_INTERVALS: usize = 120;

/// Maximum number of changes of the rate that are marked; the labels of more would overlap.
const MAX_CHANGES: usize = 8;

/// The share of the time axis from which on a stage is labelled with its rate.
const WIDE_STAGE: f64 = 0.2;

/// The times of a run, as all its pictures show them.
#[derive(Debug)]
pub(super) struct Times<'a> {
    document: &'a Document,
    pub(super) timeline: Timeline,
    main: &'a str,
}

/// An interval of a picture, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begin: f64,
    pub(super) end: f64,
    pub(super) row: Row,
}

impl<'a> Times<'a> {
    pub(super) fn new(document: &'a Document, main: &'a str) -> Result<Self, String> {
        Ok(Self { document, main, timeline: document.timeline.condensed(MAX_INTERVALS, main)? })
    }

    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        let span =
            |(begin, row): (Duration, &Row)| Span { begin: begin.as_secs_f64(), end: row.end.as_secs_f64(), row: *row };
        self.timeline.spans().map(span)
    }

    /// Returns the latencies of one interval; `None` without any.
    pub(super) fn latencies(&self, metric: &str, view: &str, index: usize) -> Result<Option<Latencies>, String> {
        let series = self.timeline.histograms.iter().find(|series| series.metric == metric && series.view == view);
        series.and_then(|series| series.intervals.get(index)?.as_ref()).map(Packed::open).transpose()
    }

    /// Returns the latencies of the main metric in one interval.
    pub(super) fn main_latencies(&self, index: usize) -> Result<Option<Latencies>, String> {
        self.latencies(self.main, "planned", index)
    }

    /// Returns the main metric's latencies from the planned time in the whole run.
    pub(super) fn main_view(&self) -> Option<&'a View> {
        self.document.metric(self.main)?.first_view()
    }

    /// Returns the length of an interval in words.
    pub(super) fn interval(&self) -> String {
        show_seconds(self.timeline.interval)
    }

    /// Returns an empty picture with the time axis, the stages and the drain.
    pub(super) fn plot(&self, y: Axis) -> Plot {
        let end = self.timeline.rows.last().map_or(Duration::ZERO, |row| row.end);
        let scale = Scale::linear((0.0, end.as_secs_f64()), ACROSS);
        let mut plot =
            Plot::new(Axis { scale, ticks: times(end), name: "time since the begin of the counted part" }, y);
        let end = end.as_secs_f64();
        let stages = self.document.stages.iter().enumerate().filter(|_| self.document.stages.len() > 1);
        let mut bands = [Vec::new(), Vec::new()];
        for (index, stage) in stages {
            let [from, to] = [stage.begin_ns, stage.end_ns].map(|time| time.0.as_secs_f64().min(end));
            let number = index + 1;
            let is_short = to - from < end * WIDE_STAGE;
            let label = if is_short { number.to_string() } else { format!("{number}: {}", rate(stage)) };
            bands[index % 2].push(((from, to), label));
        }
        let [even, odd] = bands;
        plot.bands("stage", &even);
        plot.bands("stage odd", &odd);
        let scheduled = self.document.run.scheduled_ns.0.as_secs_f64();
        if scheduled > 0.0 && scheduled < end * 0.999 {
            plot.bands("drain", &[((scheduled, end), "drain".to_owned())]);
        }
        plot
    }

    /// Returns a logarithmic axis that holds all these latencies.
    pub(super) fn latency_axis(&self, values: impl Iterator<Item = Duration> + Clone, height: f64) -> Option<Axis> {
        let nanos = values.map(|value| value.as_nanos() as f64);
        let (min, max) = (nanos.clone().reduce(f64::min)?, nanos.reduce(f64::max)?);
        let (ends, ticks) = latencies(min, max);
        Some(Axis { scale: Scale::log(ends, upwards(height)), ticks, name: "latency" })
    }
}

fn rate(stage: &Stage) -> String {
    plan::changing(stage.from_per_s, stage.to_per_s)
}

/// Draws p50, p99 and the maximum of each interval.
pub(super) fn latency(times: &Times<'_>) -> String {
    const TITLE: &str = "Latency over time";
    let rows: Vec<Span> = times.spans().collect();
    let values = rows.iter().flat_map(|span| [span.row.p50, span.row.p99, span.row.max]).flatten();
    let is_empty = values.clone().next().is_none();
    let limits = limits::of(times.document, times.main);
    let values = values.chain(limits.iter().map(|limit| Duration::from_nanos(limit.nanos as u64)));
    let Some(y) = times.latency_axis(values, 220.0).filter(|_| !is_empty) else {
        return no_data(TITLE, "no interval has a latency");
    };
    let mut plot = times.plot(y);
    let of = |value: fn(&Row) -> Option<Duration>| rows.iter().map(move |span| point(span, value(&span.row)));
    plot.line("three", "max", of(|row| row.max));
    plot.line("two", "p99", of(|row| row.p99));
    plot.line("one", "p50", of(|row| row.p50));
    limits::draw(&mut plot, &limits);
    let worst = rows.iter().filter_map(|span| Some((span.row.max?, span.begin))).max_by_key(|(max, _)| *max);
    let worst = worst.map(|(max, begin)| format!("The largest latency, {}, is at {begin:.1} s.", show_latency(max)));
    let text = format!(
        "{} from the planned time, by the arrival of the reply, in intervals of {}. {}",
        times.main,
        times.interval(),
        worst.unwrap_or_default()
    );
    figure(plot.finish("latency", TITLE, &text), TITLE, &text)
}

fn point(span: &Span, value: Option<Duration>) -> Point {
    Some((f64::midpoint(span.begin, span.end), value?.as_nanos() as f64))
}

/// Draws the generator's lag. A spike here at the time of a spike of the latency is the generator's own.
pub(super) fn lag(times: &Times<'_>) -> Result<String, String> {
    const TITLE: &str = "The generator's own lag over time";
    let mut lines = [("loop_lag", "one", "loop lag max", Vec::new()), ("send_lag", "two", "send lag max", Vec::new())];
    let mut medians: Vec<Option<Duration>> = Vec::new();
    for index in 0..times.timeline.rows.len() {
        for (metric, _, _, values) in &mut lines {
            values.push(times.latencies(metric, "measured", index)?.and_then(|latencies| latencies.max()));
        }
        let loop_lag = times.latencies("loop_lag", "measured", index)?;
        medians.push(loop_lag.and_then(|lag| lag.at_rank(percentile_rank(99.0, lag.count()))));
    }
    let values = lines.iter().flat_map(|(_, _, _, values)| values).chain(&medians).flatten().copied();
    let Some(y) = times.latency_axis(values, 120.0) else {
        return Ok(no_data(TITLE, "the lag of the intervals was not recorded"));
    };
    let mut plot = times.plot(Axis { name: "lag", ..y });
    let points = |values: Vec<Option<Duration>>| {
        let points = times.spans().zip(values).map(|(span, value)| point(&span, value));
        points.collect::<Vec<_>>()
    };
    for (_, class, name, values) in lines {
        plot.line(class, name, points(values));
    }
    plot.line("three", "loop lag p99", points(medians));
    let text = "A spike here and above at the same time points to the generator, not to the node.";
    Ok(figure(plot.finish("lag", TITLE, text), TITLE, text))
}

/// Draws the planned, started, answered and failed operations of each interval.
pub(super) fn operations(times: &Times<'_>) -> String {
    const TITLE: &str = "Operations over time";
    let rows: Vec<Span> = times.spans().collect();
    let failed = |row: &Row| row.failed.unwrap_or(0);
    let most = rows.iter().map(|span| span.row.planned.max(span.row.sent).max(span.row.answered)).max();
    let Some(most) = most.filter(|most| *most > 0) else { return no_data(TITLE, "no operation was planned") };
    let (end, ticks) = counts(most as f64);
    let scale = Scale::linear((0.0, end), upwards(150.0));
    let mut plot = times.plot(Axis { scale, ticks, name: "operations" });
    plot.cells("planned", rows.iter().map(|span| [(span.begin, span.end), (0.0, span.row.planned as f64)]));
    plot.key("planned", "planned");
    let failures = rows.iter().filter(|span| failed(&span.row) > 0);
    plot.cells("failed", failures.map(|span| [(span.begin, span.end), (0.0, failed(&span.row) as f64)]));
    let of = |value: fn(&Row) -> u64| {
        rows.iter().map(move |span| Some((f64::midpoint(span.begin, span.end), value(&span.row) as f64)))
    };
    plot.line("one", "sent", of(|row| row.sent));
    plot.line("two", "answered", of(|row| row.answered));
    let changes = times.document.run.rate_changes.iter().filter(|change| change.phase == Phase::Run);
    for change in changes.take(MAX_CHANGES) {
        plot.vertical("plan", change.at_ns.0.as_secs_f64(), &show_rate(change.to_per_s));
    }
    let total: u64 = rows.iter().map(|span| failed(&span.row)).sum();
    plot.key("failed", &if total == 0 { "failed: none".to_owned() } else { format!("failed: {total}") });
    let text = format!(
        "Operations in each interval of {}: planned, sent and failed ones by their planned time, answered ones by the \
         arrival of the reply.",
        times.interval()
    );
    figure(plot.finish("operations", TITLE, &text), TITLE, &text)
}

/// Draws the ready peers, and the lost ones of each interval.
pub(super) fn peers(times: &Times<'_>) -> String {
    const TITLE: &str = "Ready peers over time";
    let rows: Vec<Span> = times.spans().collect();
    if rows.is_empty() {
        return no_data(TITLE, "the counted part has no interval");
    }
    let asked = times.document.counts.peers.asked;
    let most = rows.iter().map(|span| span.row.peers.max(span.row.lost)).max().unwrap_or(0).max(asked);
    let (end, ticks) = counts(most as f64);
    let scale = Scale::linear((0.0, end), upwards(100.0));
    let mut plot = times.plot(Axis { scale, ticks, name: "peers" });
    let lost = rows.iter().filter(|span| span.row.lost > 0);
    plot.cells("failed", lost.map(|span| [(span.begin, span.end), (0.0, span.row.lost as f64)]));
    let line = |count: u64| [(0.0), rows[rows.len() - 1].end].map(|time| Some((time, count as f64)));
    plot.line("plan", &format!("planned: {asked}"), line(asked));
    // The count of an interval is that of its end.
    plot.line("one", "ready", rows.iter().map(|span| Some((span.end, span.row.peers as f64))));
    let total: u64 = rows.iter().map(|span| span.row.lost).sum();
    plot.key("failed", &if total == 0 { "lost: none".to_owned() } else { format!("lost: {total}") });
    let text = "Peers that were ready at the end of each interval, and the peers that were lost in it.";
    figure(plot.finish("peers", TITLE, text), TITLE, text)
}
