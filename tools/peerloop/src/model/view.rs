//! Latencies, and the number of operations that never completed. Such an operation counts as slower than every
//! completed one.
//!
//! A view contains its whole histogram, so that several files can be merged exactly. `percentiles` cover all
//! operations; a percentile is null if it falls among the failed operations or if there are no operations.
//! `percentiles_of_answered`, `count`, `min`, `mean` and `max` cover only completed operations. A file's derived values
//! are computed again when the file is read: only the histogram, the failures and the shortest wait count.

use super::latencies::{Latencies, Packed};
use crate::output::json::{Nanos, nanos};
use crate::units::{self, Percentiles, parse_percentile, show_latency};
use peerloop::histogram::percentile_rank;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::time::Duration;

/// The measurements of one kind of operation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) latencies: Latencies,
    /// Number of operations that never completed.
    pub(crate) failed: u64,
    /// The shortest wait for an operation that never completed; `None` if there was no such wait.
    pub(crate) shortest_wait: Option<Duration>,
    pub(crate) percentiles: Table,
    /// The percentiles of the completed operations only.
    pub(crate) of_answered: Table,
}

/// The requested percentiles, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table(pub(crate) Vec<(units::Percentile, Percentile)>);

/// A percentile of all operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Percentile {
    Measured(Duration),
    /// The percentile falls among the operations that never completed. It exceeds every latency, and also the shortest
    /// wait for one of them, which is given if it says more than the latencies.
    Beyond(Option<Duration>),
    NoData,
}

impl View {
    pub(crate) fn new(
        percentiles: &Percentiles,
        latencies: impl Into<Latencies>,
        failed: u64,
        shortest_wait: Option<Duration>,
    ) -> Self {
        let latencies = latencies.into();
        let of_answered = Table::new(percentiles, &latencies, 0, None);
        let percentiles = Table::new(percentiles, &latencies, failed, shortest_wait);
        Self { latencies, failed, shortest_wait, percentiles, of_answered }
    }

    /// Returns the number of operations, completed or not.
    pub(crate) fn count(&self) -> u64 {
        self.latencies.count().saturating_add(self.failed)
    }

    /// Returns the percentile of all operations.
    pub(crate) fn percentile(&self, percent: f64) -> Percentile {
        Percentile::of(percent, &self.latencies, self.failed, self.shortest_wait)
    }

    /// Computes other percentiles.
    pub(crate) fn set_percentiles(&mut self, percentiles: &Percentiles) {
        self.of_answered = Table::new(percentiles, &self.latencies, 0, None);
        self.percentiles = Table::new(percentiles, &self.latencies, self.failed, self.shortest_wait);
    }

    /// Adds all operations of `other`, and computes the percentiles again. Fails if one of its latencies is beyond the
    /// bounds of this view's histogram.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), String> {
        self.latencies.add(&other.latencies)?;
        self.failed = self.failed.saturating_add(other.failed);
        self.shortest_wait = [self.shortest_wait, other.shortest_wait].into_iter().flatten().min();
        let percentiles = self.percentiles.labels();
        self.set_percentiles(&percentiles);
        Ok(())
    }

    /// Sets the number of operations that never completed, and computes the percentiles again.
    pub(crate) fn set_failed(&mut self, failed: u64) {
        self.failed = failed;
        for (one, value) in &mut self.percentiles.0 {
            *value = Percentile::of(one.percent, &self.latencies, failed, self.shortest_wait);
        }
    }
}

impl Serialize for View {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut view = serializer.serialize_struct("View", 9)?;
        view.serialize_field("count", &self.latencies.count())?;
        view.serialize_field("failed", &self.failed)?;
        view.serialize_field("shortest_wait_ns", &self.shortest_wait.map(Nanos))?;
        view.serialize_field("min", &self.latencies.min().map(Nanos))?;
        view.serialize_field("mean", &self.latencies.mean().map(Nanos))?;
        view.serialize_field("max", &self.latencies.max().map(Nanos))?;
        view.serialize_field("percentiles", &self.percentiles)?;
        view.serialize_field("percentiles_of_answered", &self.of_answered)?;
        view.serialize_field("hdr", &Packed::new(self.latencies.as_hdr()))?;
        view.end()
    }
}

/// The fields of a view from which the others follow.
#[derive(Debug, Deserialize)]
struct Source {
    count: u64,
    #[serde(default)]
    failed: u64,
    #[serde(default)]
    shortest_wait_ns: Option<Nanos>,
    percentiles: Labels,
    hdr: Packed,
}

impl<'de> Deserialize<'de> for View {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Source { count, failed, shortest_wait_ns, percentiles: Labels(percentiles), hdr } =
            Source::deserialize(deserializer)?;
        let latencies = hdr.open().map_err(D::Error::custom)?;
        if latencies.count() != count {
            let held = latencies.count();
            return Err(D::Error::custom(format!("its histogram has {held} latencies, but `count` is {count}")));
        }
        Ok(Self::new(&percentiles, latencies, failed, shortest_wait_ns.map(|Nanos(wait)| wait)))
    }
}

/// The keys of a table; its values are computed again.
#[derive(Debug)]
struct Labels(Percentiles);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with percentiles as keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut list = Vec::new();
                while let Some((label, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    list.push(parse_percentile(&label).map_err(A::Error::custom)?);
                }
                Ok(Labels(Percentiles(list)))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

impl Table {
    /// Computes the percentiles of all operations. The `failed` operations have no latency, and count as slower than
    /// the completed ones.
    fn new(percentiles: &Percentiles, latencies: &Latencies, failed: u64, shortest_wait: Option<Duration>) -> Self {
        let value = |percent| Percentile::of(percent, latencies, failed, shortest_wait);
        Self(percentiles.0.iter().map(|one| (one.clone(), value(one.percent))).collect())
    }

    /// Returns the percentiles without their values.
    pub(crate) fn labels(&self) -> Percentiles {
        Percentiles(self.0.iter().map(|(one, _)| one.clone()).collect())
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(one, value)| (&one.label, value.measured().map(nanos))))
    }
}

impl Percentile {
    fn of(percent: f64, latencies: &Latencies, failed: u64, shortest_wait: Option<Duration>) -> Self {
        match latencies.at_rank(percentile_rank(percent, latencies.count().saturating_add(failed))) {
            Some(latency) => Self::Measured(latency),
            None if failed == 0 => Self::NoData,
            None => Self::Beyond(shortest_wait.filter(|&wait| latencies.max().is_none_or(|max| wait >= max))),
        }
    }

    /// Returns the latency, if it was measured.
    pub(crate) fn measured(self) -> Option<Duration> {
        match self {
            Self::Measured(latency) => Some(latency),
            Self::Beyond(_) | Self::NoData => None,
        }
    }

    /// Formats the percentile, for example as `93 us` or `> 2.01 s`. Returns `failed` if it falls among failed
    /// operations and no wait says more, and `-` if there is no data.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Measured(latency) => show_latency(latency),
            Self::Beyond(Some(wait)) => format!("> {}", show_latency(wait)),
            Self::Beyond(None) => "failed".to_owned(),
            Self::NoData => "-".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::parse_percentiles;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use peerloop::histogram::LatencyHistogram;
    use serde_json::{Value, json};

    fn one_to(count: u64) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        (1..=count).for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        histogram
    }

    fn view(percentiles: &str, latencies: LatencyHistogram, failed: u64, shortest_wait: Option<Duration>) -> View {
        View::new(&parse_percentiles(percentiles).unwrap(), latencies, failed, shortest_wait)
    }

    fn values(percentiles: &str, latencies: LatencyHistogram, failed: u64) -> Vec<Option<u64>> {
        let Table(rows) = view(percentiles, latencies, failed, None).percentiles;
        rows.into_iter().map(|(_, value)| value.measured().map(nanos)).collect()
    }

    fn serialized(view: &View) -> Value {
        serde_json::to_value(view).unwrap()
    }

    #[test]
    fn a_view_contains_the_whole_histogram() {
        let view = serialized(&view("50,100", one_to(1_000), 0, None));
        assert_eq!((&view["count"], &view["min"], &view["max"]), (&json!(1_000), &json!(1), &json!(1_000)));
        let bytes = STANDARD.decode(view["hdr"].as_str().unwrap()).unwrap();
        let back: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(&back, one_to(1_000).as_hdr());
        assert_eq!(view["percentiles"], json!({ "50": 500, "100": 1_000 }));
    }

    #[test]
    fn failed_operations_count_as_slower_than_every_latency() {
        assert_eq!(values("25,50,75,90,100", one_to(100), 100), [Some(50), Some(100), None, None, None]);
        assert_eq!(
            values("1,50,100", LatencyHistogram::new(), 5),
            [None; 3],
            "a percentile had a value, although no operation completed"
        );
    }

    #[test]
    fn percentiles_next_to_the_failed_operations_are_exact() {
        assert_eq!(values("49.9,50,50.1,99.9", one_to(500), 500), [Some(499), Some(500), None, None]);
        assert_eq!(values("49.9,50,50.1,99.9", one_to(500), 0), [Some(250), Some(250), Some(251), Some(500)]);
    }

    #[test]
    fn a_view_has_percentiles_with_and_without_failures() {
        let view = serialized(&view("50,99", one_to(560), 440, Some(Duration::from_millis(2_010))));
        let counts = [&view["count"], &view["failed"], &view["shortest_wait_ns"]];
        assert_eq!(counts, [&json!(560), &json!(440), &json!(2_010_000_000)]);
        assert_eq!(view["percentiles"], json!({ "50": 500, "99": null }));
        assert_eq!(view["percentiles_of_answered"], json!({ "50": 280, "99": 555 }));
    }

    #[test]
    fn without_measurements_every_latency_is_null() {
        let view = serialized(&view("50", LatencyHistogram::new(), 0, None));
        assert_eq!([&view["min"], &view["mean"], &view["max"]], [&Value::Null; 3]);
        assert_eq!(view["percentiles"], json!({ "50": null }));
    }

    #[test]
    fn a_percentile_among_the_failed_operations_is_longer_than_their_shortest_wait() {
        let shown = |wait| {
            let view = view("50", one_to(560), 440, wait);
            [50.0, 56.0, 56.1, 99.0, 100.0].map(|percent| view.percentile(percent).shown())
        };
        let wait = Some(Duration::from_millis(2_010));
        assert_eq!(shown(wait), ["500 ns", "560 ns", "> 2.01 s", "> 2.01 s", "> 2.01 s"]);
        assert_eq!(shown(None)[3], "failed");
        let empty = |failed| view("50", LatencyHistogram::new(), failed, None).percentile(1.0);
        assert_eq!((empty(0), empty(1)), (Percentile::NoData, Percentile::Beyond(None)));
    }

    #[test]
    fn a_view_that_is_read_again_is_the_same_and_keeps_the_order_of_its_percentiles() {
        let written = view("99.90,50,100", one_to(560), 440, Some(Duration::from_millis(2_010)));
        let text = serde_json::to_string(&written).unwrap();
        let read: View = serde_json::from_str(&text).unwrap();
        assert_eq!(read, written);
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }

    #[test]
    fn derived_values_in_a_file_are_ignored_and_a_wrong_count_is_refused() {
        let written = serialized(&view("50,100", one_to(1_000), 0, None));
        let mut changed = written.clone();
        changed["percentiles"]["50"] = json!(7);
        changed["mean"] = json!(null);
        let read: View = serde_json::from_value(changed.clone()).unwrap();
        assert_eq!(serialized(&read), written);
        changed["count"] = json!(999);
        let refused = serde_json::from_value::<View>(changed).unwrap_err().to_string();
        assert!(refused.contains("has 1000 latencies, but `count` is 999"), "{refused}");
    }

    #[test]
    fn failures_that_are_set_later_change_the_percentiles_of_all_operations_alone() {
        let mut changed = view("50,99", one_to(560), 0, Some(Duration::from_millis(2_010)));
        changed.set_failed(440);
        assert_eq!(changed, view("50,99", one_to(560), 440, Some(Duration::from_millis(2_010))));
    }
}
