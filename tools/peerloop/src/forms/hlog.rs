//! The intervals' histograms as an HdrHistogram interval log, which HistogramLogProcessor and the `hdrhistogram`
//! packages of several languages read.
//!
//! A line holds an interval's start and length in seconds, its largest latency in milliseconds, and its histogram of
//! nanoseconds. Its tag is the metric and the view, for example `ping_rtt.planned`. Times count from `BaseTime`, the
//! start of the counted part. An interval without latencies has no line. The format has no place for operations that
//! never completed, so comments state their numbers.

use crate::model::{Document, Packed};
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS_PER_MILLI: f64 = 1e6;

/// Writes the log.
pub(crate) fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let begin = document.run.load_start.as_deref().unwrap_or(&document.run.start);
    let seconds = unix_seconds(begin);
    writeln!(out, "#[Histogram log format version 1.3]")?;
    writeln!(out, "#[Written by {} {}; latencies in nanoseconds]", document.tool.name, document.tool.version)?;
    for metric in &document.metrics {
        let failed = metric.views().filter(|(_, view)| view.failed > 0);
        for (name, view) in failed {
            let (metric, failed, count) = (&metric.name, view.failed, view.count());
            writeln!(out, "#[{metric}.{name}: {failed} of {count} operations never completed and have no latency]")?;
        }
    }
    for index in &document.timeline.joined {
        writeln!(out, "#[The latencies of interval {index} are in the one after it]")?;
    }
    writeln!(out, "#[StartTime: {seconds} (seconds since epoch), {begin}]")?;
    writeln!(out, "#[BaseTime: {seconds} (seconds since epoch)]")?;
    writeln!(out, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")?;
    for (index, (begin, row)) in document.timeline.spans().enumerate() {
        for series in &document.timeline.histograms {
            if let Some(packed) = series.intervals.get(index).and_then(Option::as_ref) {
                line(out, &series.tag(), begin, row.end.saturating_sub(begin), packed)?;
            }
        }
    }
    Ok(())
}

fn line(out: &mut dyn Write, tag: &str, begin: Duration, len: Duration, packed: &Packed) -> io::Result<()> {
    let max = packed.open().map_or(0, |latencies| latencies.as_hdr().max()) as f64 / NANOS_PER_MILLI;
    let (begin, len) = (begin.as_secs_f64(), len.as_secs_f64());
    writeln!(out, "Tag={tag},{begin:.3},{len:.3},{max:.3},{}", packed.to_base64())
}

/// Returns the seconds from 1970 to a time in RFC 3339, with three decimals; `0.000` for any other text.
fn unix_seconds(time: &str) -> String {
    let time = humantime::parse_rfc3339(time).unwrap_or(UNIX_EPOCH);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", since.as_secs(), since.subsec_millis())
}
