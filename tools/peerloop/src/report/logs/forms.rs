//! The forms of interval logs.

use super::Unit;
use super::read::{Logs, Total};
use crate::forms::csv::quoted;
use crate::forms::hgrm::spectrum_in;
use crate::model::{Latencies, Packed, View};
use crate::output::json::{self, Nanos, Tool};
use crate::output::page::Page;
use crate::units::{Percentiles, counted, show_latency, show_seconds};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::time::Duration;

/// The version of the JSON form, raised whenever the meaning of a key changes.
const SCHEMA: u32 = 1;

/// The facts that no interval log contains.
const ABSENT: &str = "failed operations, configuration, peers and verdict: an interval log has only latencies";

/// Logs, and the way to show them.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) unit: Unit,
    pub(super) is_assumed: bool,
    pub(super) percentiles: Percentiles,
    pub(super) logs: Logs,
}

impl Shown {
    pub(super) fn sources(&self) -> String {
        self.logs.sources.join(", ")
    }

    pub(super) fn tags(&self) -> String {
        self.logs.totals.keys().map(|tag| name(tag)).collect::<Vec<_>>().join(", ")
    }

    fn unit(&self) -> String {
        let source = if self.is_assumed { "assumed, because a log names none; --unit sets it" } else { "by --unit" };
        format!("{} ({source})", self.unit.name())
    }

    /// Returns a value of a log as a time.
    fn time(&self, value: u64) -> Duration {
        Duration::from_nanos(value).saturating_mul(self.unit.nanos())
    }

    /// Returns the mean, the percentiles and the largest value of a sum; nothing for a sum without values.
    fn values(&self, total: &Total) -> Option<(Duration, Vec<Duration>)> {
        let histogram = &total.histogram;
        let view = View::new(&self.percentiles, Latencies::from(histogram.clone()), 0, None);
        let values = view.percentiles.0.iter().filter_map(|(_, value)| value.measured());
        let values = values.map(|value| value.saturating_mul(self.unit.nanos())).collect();
        let mean = Duration::from_secs_f64(histogram.mean() * f64::from(self.unit.nanos()) / 1e9);
        (!histogram.is_empty()).then_some((mean, values))
    }
}

fn name(tag: &str) -> String {
    // A tag may have any characters, and a terminal obeys some of them.
    if tag.is_empty() { "(no tag)".to_owned() } else { tag.chars().flat_map(char::escape_debug).collect() }
}

/// Writes the logs for people.
pub(super) fn text(shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let Shown { logs, percentiles, .. } = shown;
    let mut page = Page(String::new());
    page.parts("logs      ", "  ", &logs.sources);
    page.wrapped("unit      ", &shown.unit());
    page.wrapped("no data   ", ABSENT);
    for (tag, total) in &logs.totals {
        let [begin, end] = [total.begin, total.end].map(show_seconds);
        page.line(format_args!(""));
        page.line(format_args!("{}", name(tag)));
        let intervals = counted(total.intervals, "interval");
        page.line(format_args!("  {intervals} from {begin} to {end}, {} latencies", total.histogram.len()));
        let Some((mean, values)) = shown.values(total) else { continue };
        let values = percentiles.0.iter().zip(values);
        let values = values.map(|(one, value)| format!("{} {}", one.heading(), show_latency(value)));
        let mean = format!("mean {}", show_latency(mean));
        page.parts("  ", "   ", values.chain([mean]));
    }
    out.write_all(page.0.as_bytes())
}

/// The JSON form. Times are in nanoseconds; `hdr` has the values of the log, in its unit.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    tool: Tool,
    sources: &'a [String],
    /// The unit of the logs' values.
    unit: &'static str,
    /// Whether nothing names the unit.
    unit_is_assumed: bool,
    metrics: Vec<Metric<'a>>,
}

#[derive(Serialize)]
struct Metric<'a> {
    tag: Option<&'a str>,
    intervals: u64,
    begin_ns: Nanos,
    end_ns: Nanos,
    count: u64,
    min: Option<Nanos>,
    mean: Option<Nanos>,
    max: Option<Nanos>,
    percentiles: Map<String, Value>,
    hdr: Packed,
}

/// Writes the logs for programs.
pub(super) fn json(shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let metrics = shown.logs.totals.iter().map(|(tag, total)| {
        let values = shown.values(total);
        let of = |value: u64| values.as_ref().map(|_| Nanos(shown.time(value)));
        let percentiles = shown.percentiles.0.iter().enumerate().map(|(index, one)| {
            let value = values.as_ref().and_then(|(_, values)| values.get(index));
            (one.label.clone(), value.map_or(Value::Null, |value| json::nanos(*value).into()))
        });
        Metric {
            tag: (!tag.is_empty()).then_some(tag.as_str()),
            intervals: total.intervals,
            begin_ns: Nanos(total.begin),
            end_ns: Nanos(total.end),
            count: total.histogram.len(),
            min: of(total.histogram.min()),
            mean: values.as_ref().map(|(mean, _)| Nanos(*mean)),
            max: of(total.histogram.max()),
            percentiles: percentiles.collect(),
            hdr: Packed::new(&total.histogram),
        }
    });
    let document = Document {
        schema: SCHEMA,
        tool: Tool::THIS,
        sources: &shown.logs.sources,
        unit: shown.unit.name(),
        unit_is_assumed: shown.is_assumed,
        metrics: metrics.collect(),
    };
    json::write(&document, out)
}

/// Writes the spectrum of the only tag, in milliseconds.
pub(super) fn hgrm(shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    for total in shown.logs.totals.values() {
        let view = View::new(&shown.percentiles, Latencies::from(total.histogram.clone()), 0, None);
        writeln!(out, "{}#[Unit of the log = {}]", spectrum_in(&view, shown.unit.per_milli()), shown.unit())?;
    }
    Ok(())
}

/// Writes a row for each tag, in nanoseconds.
pub(super) fn summary(shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    let headings: Vec<String> = shown.percentiles.0.iter().map(|one| format!("{}_ns", one.heading())).collect();
    writeln!(out, "tag,intervals,count,mean_ns,{},unit_of_log", headings.join(","))?;
    for (tag, total) in &shown.logs.totals {
        let values = shown.values(total);
        let mean = values.as_ref().map_or_else(String::new, |(mean, _)| json::nanos(*mean).to_string());
        let value = |index: usize| values.as_ref().and_then(|(_, values)| values.get(index));
        let values =
            (0..headings.len()).map(|index| value(index).map_or_else(String::new, |v| json::nanos(*v).to_string()));
        let values: Vec<String> = values.collect();
        let (tag, count, unit) = (quoted(tag), total.histogram.len(), quoted(&shown.unit()));
        writeln!(out, "{tag},{},{count},{mean},{},{unit}", total.intervals, values.join(","))?;
    }
    Ok(())
}
