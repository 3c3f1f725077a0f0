//! Reads interval logs: formats 1.0 to 1.3, with V2 histograms in base64, deflated.
//!
//! Any input is bounded: a line, the number of intervals, the number of tags, and the memory of all histograms.
//! Histograms of one tag must have one precision, so that the sum is exact.

use crate::model::Packed;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::time::Duration;

/// Maximum length of a line in bytes: a histogram with every bucket in use has less.
const MAX_LINE_BYTES: usize = 16 << 20;
/// Maximum number of intervals in all logs: twelve days of one tag in intervals of one second.
const MAX_INTERVALS: u64 = 1 << 20;
/// Maximum number of tags.
const MAX_TAGS: usize = 1_000;
/// Maximum length of a tag in bytes.
const MAX_TAG_BYTES: usize = 256;
/// Maximum number of counts in all sums, each of 8 bytes: 256 MiB.
const MAX_COUNTS: usize = 32 << 20;
/// The longest time that a log may state, in seconds: a time since 1970 for the next 30,000 years.
const MAX_SECS: f64 = 1e12;
/// Timestamps that are this much smaller than the start are relative to it, if the log has no base. HdrHistogram's
/// own reader has this rule, because early logs had no base.
const YEAR_SECS: f64 = 365.0 * 86_400.0;

/// The part of each log that counts, from its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

/// The sum of a tag's histograms, in the unit of the log.
#[derive(Debug)]
pub(super) struct Total {
    pub(super) intervals: u64,
    /// The begin of the first interval and the end of the last one, from the start of their logs.
    pub(super) begin: Duration,
    pub(super) end: Duration,
    pub(super) histogram: Histogram<u64>,
}

/// Logs that were read.
#[derive(Debug)]
pub(super) struct Logs {
    bounds: Bounds,
    only: Option<String>,
    pub(super) sources: Vec<String>,
    /// The sums, by tag; the empty tag is that of histograms without one.
    pub(super) totals: BTreeMap<String, Total>,
    intervals: u64,
}

/// The times of one log.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    start: Option<f64>,
    base: Option<f64>,
}

/// A line with a histogram.
struct Interval<'a> {
    tag: &'a str,
    timestamp: f64,
    len: f64,
    packed: &'a str,
}

impl Logs {
    /// Returns no logs. `only` is the only tag that is read.
    pub(super) fn new(bounds: Bounds, only: Option<String>) -> Self {
        Self { bounds, only, sources: Vec::new(), totals: BTreeMap::new(), intervals: 0 }
    }

    /// Reads a log, and adds its histograms. The error names the line.
    pub(super) fn read(&mut self, name: &str, mut log: impl BufRead) -> Result<(), String> {
        self.sources.push(name.to_owned());
        let mut clock = Clock::default();
        let mut line = Vec::new();
        for number in 1_u64.. {
            let at = |problem: &dyn std::fmt::Display| format!("{name}:{number}: {problem}");
            line.clear();
            let limit = MAX_LINE_BYTES as u64 + 1;
            if log.by_ref().take(limit).read_until(b'\n', &mut line).map_err(|error| at(&error))? == 0 {
                break;
            }
            if line.len() > MAX_LINE_BYTES {
                return Err(at(&format!("the line has more than {} MiB; use an intact log", MAX_LINE_BYTES >> 20)));
            }
            let text = std::str::from_utf8(&line).map_err(|_| at(&"the line is no text; use an interval log"))?;
            self.line(text.trim(), &mut clock).map_err(|problem| at(&problem))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str, clock: &mut Clock) -> Result<(), String> {
        match line {
            "" => Ok(()),
            _ if line.starts_with('#') => clock.comment(line),
            _ if line.starts_with("\"StartTimestamp\"") => Ok(()),
            _ => {
                let interval = Interval::parse(line)?;
                let begin = clock.since_start(interval.timestamp)?;
                self.add(&interval, begin)
            }
        }
    }

    fn add(&mut self, interval: &Interval<'_>, begin: Duration) -> Result<(), String> {
        let end = begin.saturating_add(seconds(interval.len));
        let is_in = begin >= self.bounds.from && end <= self.bounds.to;
        if !is_in || self.only.as_ref().is_some_and(|only| only != interval.tag) {
            return Ok(());
        }
        self.intervals += 1;
        if self.intervals > MAX_INTERVALS {
            return Err(format!("there are more than {MAX_INTERVALS} intervals; use --from and --to for a part"));
        }
        let opened = Packed::from_base64(interval.packed).and_then(|packed| packed.open()).map_err(|problem| {
            format!("{problem}; read `{}`, expected a V2 histogram that begins with HISTFAAA", short(interval.packed))
        })?;
        let other = opened.as_hdr();
        let used: usize = self.totals.values().map(|total| total.histogram.distinct_values()).sum();
        if used + other.distinct_values() > MAX_COUNTS {
            return Err(format!(
                "all tags together need more than {} MiB; use --tag for one of them",
                MAX_COUNTS >> 17
            ));
        }
        if let Some(total) = self.totals.get_mut(interval.tag) {
            return total.add(other, begin, end);
        }
        if self.totals.len() == MAX_TAGS {
            return Err(format!("there are more than {MAX_TAGS} tags; use --tag for one of them"));
        }
        let mut histogram = other.clone();
        histogram.auto(true);
        self.totals.insert(interval.tag.to_owned(), Total { intervals: 1, begin, end, histogram });
        Ok(())
    }
}

impl Total {
    fn add(&mut self, other: &Histogram<u64>, begin: Duration, end: Duration) -> Result<(), String> {
        let precision = |histogram: &Histogram<u64>| (histogram.low(), histogram.sigfig());
        let [(own_low, own_digits), (low, digits)] = [precision(&self.histogram), precision(other)];
        if (own_low, own_digits) != (low, digits) {
            return Err(format!(
                "the histogram has a smallest value of {low} and {digits} digits, and those before it with this tag \
                 {own_low} and {own_digits}; show logs of unlike precision apart"
            ));
        }
        if self.histogram.len().checked_add(other.len()).is_none() {
            return Err("the counts are too large to add up; use an intact log".to_owned());
        }
        self.histogram.add(other).map_err(|error| format!("the histogram cannot be added ({error})"))?;
        self.intervals += 1;
        (self.begin, self.end) = (self.begin.min(begin), self.end.max(end));
        Ok(())
    }
}

impl Clock {
    /// Reads the times and the version of a log; other comments are ignored.
    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let after = |name: &str| comment.strip_prefix("#[").and_then(|rest| rest.strip_prefix(name));
        let time = |rest: &str| number(rest.split_whitespace().next().unwrap_or_default().trim_end_matches(']'));
        if let Some(rest) = after("StartTime:") {
            self.start = Some(time(rest)?);
        } else if let Some(rest) = after("BaseTime:") {
            self.base = Some(time(rest)?);
        } else if let Some(rest) = after("Histogram log format version") {
            let version = rest.trim().trim_end_matches(']');
            if !["1.0", "1.1", "1.2", "1.3"].contains(&version) {
                return Err(format!("the log has format {}; this program reads 1.0 to 1.3", short(version)));
            }
        }
        Ok(())
    }

    /// Returns the time from the start of the log to a timestamp. Without a stated start, the first timestamp is it.
    fn since_start(&mut self, timestamp: f64) -> Result<Duration, String> {
        let first = timestamp + self.base.unwrap_or(0.0);
        let start = *self.start.get_or_insert(first);
        let base = *self.base.get_or_insert(if timestamp < start - YEAR_SECS { start } else { 0.0 });
        // Logs have three decimals of a time since 1970, which rounding may put before the start.
        let since = timestamp + base - start;
        match since {
            -0.001..0.0 => Ok(Duration::ZERO),
            0.0.. => Ok(seconds(since)),
            _ => Err(format!("the interval begins {:.3} s before the start of the log; correct its StartTime", -since)),
        }
    }
}

impl<'a> Interval<'a> {
    fn parse(line: &'a str) -> Result<Self, String> {
        let (tag, rest) = match line.strip_prefix("Tag=") {
            Some(rest) => rest.split_once(',').ok_or_else(|| unreadable(line))?,
            None => ("", line),
        };
        if tag.len() > MAX_TAG_BYTES {
            return Err(format!("the tag `{}` has more than {MAX_TAG_BYTES} bytes; use an intact log", short(tag)));
        }
        let fields: Vec<&str> = rest.splitn(5, ',').map(str::trim).collect();
        let [timestamp, len, max, packed] = fields[..] else { return Err(unreadable(line)) };
        // The largest value is in the histogram, too; in the line it has any unit.
        max.parse::<f64>().map_err(|_| unreadable(line))?;
        Ok(Self { tag, timestamp: number(timestamp)?, len: number(len)?, packed })
    }
}

fn unreadable(line: &str) -> String {
    format!(
        "read `{}`, expected a comment, or an interval: an optional Tag=NAME, then its start, its length, its largest \
         value and its histogram, with commas between; use an interval log of HdrHistogram",
        short(line)
    )
}

fn number(text: &str) -> Result<f64, String> {
    let secs = text.parse::<f64>().ok().filter(|secs| (0.0..=MAX_SECS).contains(secs));
    secs.ok_or_else(|| format!("read `{}`, expected seconds from 0 to {MAX_SECS:e}; use an intact log", short(text)))
}

fn seconds(secs: f64) -> Duration {
    // Timestamps have three decimals; the rest is an error of the subtraction.
    Duration::from_millis((secs * 1e3).round() as u64)
}

/// Returns the begin of a text for a message, without control characters.
fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    shown.extend((text.chars().nth(40).is_some()).then_some("..."));
    shown
}
