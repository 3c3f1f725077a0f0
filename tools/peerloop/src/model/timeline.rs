//! The counted part of a run and its drain, by interval: a row of counts for each interval, and a histogram for each
//! metric, view and interval.
//!
//! The intervals are exact: their counts and histograms add up to the totals of the run. A reply counts in the interval
//! of its arrival. An interval without a latency has no histogram.

use super::latencies::Packed;
use crate::output::json::{Nanos, nanos};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// The names of a row's columns in files.
pub(crate) const COLUMNS: [&str; 10] =
    ["t", "planned", "sent", "answered", "failed", "p50", "p99", "max", "peers", "lost"];

/// The intervals of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Timeline {
    /// The intervals' length; only the last interval may be shorter.
    pub(crate) interval: Duration,
    pub(crate) rows: Vec<Row>,
    pub(crate) histograms: Vec<Series>,
    /// The intervals whose latencies are in the next interval's histograms, because the recording could not keep up.
    pub(crate) joined: Vec<u64>,
}

/// One interval. Its latencies are those of the main metric, from the planned time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// The end, from the start of the counted part.
    pub(crate) end: Duration,
    /// Operations due in the interval.
    pub(crate) planned: u64,
    pub(crate) sent: u64,
    /// Replies that arrived in the interval.
    pub(crate) answered: u64,
    /// Operations due in the interval that were never answered; `None` in older documents.
    pub(crate) failed: Option<u64>,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) max: Option<Duration>,
    /// Peers that were ready at the interval's end.
    pub(crate) peers: u64,
    pub(crate) lost: u64,
}

/// The histograms of one view of one metric, one for each interval.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Series {
    pub(crate) metric: String,
    pub(crate) view: String,
    pub(crate) intervals: Vec<Option<Packed>>,
}

impl Series {
    /// Returns the name under which interval logs list the histograms: `ping_rtt.planned`.
    pub(crate) fn tag(&self) -> String {
        format!("{}.{}", self.metric, self.view)
    }
}

impl Timeline {
    /// Lists the rows, each with the start of its interval.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Duration, &Row)> {
        let begins = std::iter::once(Duration::ZERO).chain(self.rows.iter().map(|row| row.end));
        begins.zip(&self.rows)
    }
}

impl Row {
    /// Lists the values in the order of [`COLUMNS`].
    fn values(&self) -> [Option<u64>; COLUMNS.len()] {
        let Self { end, planned, sent, answered, failed, p50, p99, max, peers, lost } = *self;
        let [p50, p99, max] = [p50, p99, max].map(|latency| latency.map(nanos));
        [Some(nanos(end)), Some(planned), Some(sent), Some(answered), failed, p50, p99, max, Some(peers), Some(lost)]
    }

    /// Sets the value of one column. A column that this program does not know is ignored.
    fn set(&mut self, column: &str, value: Option<u64>) {
        let (count, latency) = (value.unwrap_or(0), value.map(Duration::from_nanos));
        match column {
            "t" => self.end = Duration::from_nanos(count),
            "planned" => self.planned = count,
            "sent" => self.sent = count,
            "answered" => self.answered = count,
            "failed" => self.failed = value,
            "p50" => self.p50 = latency,
            "p99" => self.p99 = latency,
            "max" => self.max = latency,
            "peers" => self.peers = count,
            "lost" => self.lost = count,
            _ => {}
        }
    }
}

/// The timeline as it is written.
#[derive(Serialize)]
struct Written<'a> {
    interval_ns: Nanos,
    columns: [&'static str; COLUMNS.len()],
    rows: Vec<[Option<u64>; COLUMNS.len()]>,
    histograms: &'a [Series],
    joined: &'a [u64],
}

impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { interval, rows, histograms, joined } = self;
        let rows = rows.iter().map(Row::values).collect();
        Written { interval_ns: Nanos(*interval), columns: COLUMNS, rows, histograms, joined }.serialize(serializer)
    }
}

/// The timeline as it is read. Older documents have fewer columns and no histograms.
#[derive(Deserialize)]
struct Found {
    interval_ns: Nanos,
    columns: Vec<String>,
    rows: Vec<Vec<Option<u64>>>,
    #[serde(default)]
    histograms: Vec<Series>,
    #[serde(default)]
    joined: Vec<u64>,
}

impl<'de> Deserialize<'de> for Timeline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Found { interval_ns: Nanos(interval), columns, rows, histograms, joined } =
            Found::deserialize(deserializer)?;
        let row = |values: Vec<Option<u64>>| {
            if values.len() != columns.len() {
                let (has, named) = (values.len(), columns.len());
                return Err(D::Error::custom(format!("a row of the timeline has {has} values for {named} columns")));
            }
            let mut row = Row::default();
            for (column, value) in columns.iter().zip(values) {
                row.set(column, value);
            }
            Ok(row)
        };
        let rows: Vec<Row> = rows.into_iter().map(row).collect::<Result<_, _>>()?;
        if rows.windows(2).any(|pair| pair[1].end < pair[0].end) {
            return Err(D::Error::custom("the intervals of the timeline are not in order"));
        }
        if let Some(series) = histograms.iter().find(|series| series.intervals.len() != rows.len()) {
            let (tag, has, rows) = (series.tag(), series.intervals.len(), rows.len());
            return Err(D::Error::custom(format!("`{tag}` has {has} histograms for {rows} intervals")));
        }
        Ok(Self { interval, rows, histograms, joined })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(end_ms: u64) -> Row {
        Row {
            end: Duration::from_millis(end_ms),
            planned: 9,
            sent: 8,
            answered: 7,
            failed: Some(2),
            p50: Some(Duration::from_nanos(5)),
            p99: None,
            max: Some(Duration::from_nanos(6)),
            peers: 4,
            lost: 3,
        }
    }

    #[test]
    fn a_row_is_read_by_the_names_of_its_columns() {
        let timeline = Timeline { interval: Duration::from_secs(1), rows: vec![row(1_000)], ..Timeline::default() };
        let written = serde_json::to_value(&timeline).unwrap();
        assert_eq!(written["rows"], json!([[1_000_000_000, 9, 8, 7, 2, 5, null, 6, 4, 3]]));
        assert_eq!(serde_json::from_value::<Timeline>(written).unwrap(), timeline);
        let older = json!({ "interval_ns": 5, "columns": ["t", "max", "unknown", "sent"], "rows": [[5, 3, 9, 2]] });
        let expected =
            Row { end: Duration::from_nanos(5), sent: 2, max: Some(Duration::from_nanos(3)), ..Row::default() };
        assert_eq!(serde_json::from_value::<Timeline>(older).unwrap().rows, [expected]);
    }

    #[test]
    fn rows_that_do_not_fit_the_columns_or_the_histograms_are_refused() {
        let refused = |timeline| serde_json::from_value::<Timeline>(timeline).unwrap_err().to_string();
        let text = refused(json!({ "interval_ns": 5, "columns": ["t"], "rows": [[5, 3]] }));
        assert!(text.contains("a row of the timeline has 2 values for 1 columns"), "{text}");
        let text = refused(json!({ "interval_ns": 5, "columns": ["t"], "rows": [[5], [4]] }));
        assert!(text.contains("not in order"), "{text}");
        let histograms = json!([{ "metric": "ping_rtt", "view": "planned", "intervals": [null, null] }]);
        let text = refused(json!({ "interval_ns": 5, "columns": ["t"], "rows": [[5]], "histograms": histograms }));
        assert!(text.contains("`ping_rtt.planned` has 2 histograms for 1 intervals"), "{text}");
    }

    #[test]
    fn spans_begin_where_the_interval_before_ends() {
        let timeline = Timeline { rows: vec![row(100), row(250)], ..Timeline::default() };
        let begins: Vec<u128> = timeline.spans().map(|(begin, _)| begin.as_millis()).collect();
        assert_eq!(begins, [0, 100]);
    }
}
