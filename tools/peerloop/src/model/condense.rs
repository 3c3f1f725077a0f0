//! A timeline with fewer intervals: neighbours are joined exactly.

use super::latencies::{Latencies, Packed, Packer};
use super::timeline::{Row, Series, Timeline};
use peerloop::histogram::percentile_rank;

impl Timeline {
    /// Joins equally many neighbouring intervals so that at most `max` remain. Counts and histograms are added, so
    /// they still add up to the totals of the run; the percentiles of a joined interval follow from the histogram of
    /// `main`, the metric of the rows, and are missing without one.
    pub(crate) fn condensed(&self, max: usize, main: &str) -> Result<Self, String> {
        let size = self.rows.len().div_ceil(max.max(1));
        if size <= 1 {
            return Ok(self.clone());
        }
        let mut packer = Packer::new();
        let mut histograms = Vec::with_capacity(self.histograms.len());
        for series in &self.histograms {
            let joined = series.intervals.chunks(size).map(|chunk| joined(chunk, &mut packer));
            let intervals = joined.collect::<Result<_, _>>().map_err(|error| format!("`{}`: {error}", series.tag()))?;
            histograms.push(Series { intervals, metric: series.metric.clone(), view: series.view.clone() });
        }
        let of_rows = histograms.iter().find(|series| series.metric == main && series.view == "planned");
        let mut rows = Vec::with_capacity(max);
        for (index, chunk) in self.rows.chunks(size).enumerate() {
            let packed = of_rows.and_then(|series| series.intervals[index].as_ref());
            let latencies = packed.map(Packed::open).transpose()?;
            rows.push(row(chunk, latencies.as_ref()));
        }
        // The latencies of an interval that are in the next one stay in the same joined interval, except at its end.
        let is_last = |index: &u64| (index + 1).is_multiple_of(size as u64);
        let joined = self.joined.iter().copied().filter(is_last).map(|index| index / size as u64).collect();
        let interval = self.interval.saturating_mul(u32::try_from(size).unwrap_or(u32::MAX));
        Ok(Self { interval, rows, histograms, joined })
    }
}

/// Adds up the histograms of neighbouring intervals; one alone is unchanged.
fn joined(chunk: &[Option<Packed>], packer: &mut Packer) -> Result<Option<Packed>, String> {
    let mut found = chunk.iter().flatten();
    let (Some(first), second) = (found.next(), found.next()) else { return Ok(None) };
    let Some(second) = second else { return Ok(Some(first.clone())) };
    let mut sum = Latencies::new();
    for packed in [first, second].into_iter().chain(found) {
        sum.add(&packed.open()?)?;
    }
    Ok(Some(packer.pack(sum.as_hdr())))
}

fn row(chunk: &[Row], latencies: Option<&Latencies>) -> Row {
    let percentile =
        |percent| latencies.and_then(|latencies| latencies.at_rank(percentile_rank(percent, latencies.count())));
    let sum = |of: fn(&Row) -> u64| chunk.iter().map(of).fold(0, u64::saturating_add);
    let last = chunk.last().copied().unwrap_or_default();
    Row {
        end: last.end,
        planned: sum(|row| row.planned),
        sent: sum(|row| row.sent),
        answered: sum(|row| row.answered),
        failed: chunk.iter().map(|row| row.failed).try_fold(0_u64, |sum, failed| Some(sum.saturating_add(failed?))),
        p50: percentile(50.0),
        p99: percentile(99.0),
        max: chunk.iter().filter_map(|row| row.max).max().or_else(|| latencies.and_then(Latencies::max)),
        peers: last.peers,
        lost: sum(|row| row.lost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::histogram::LatencyHistogram;
    use proptest::prelude::*;
    use std::time::Duration;

    fn packed(nanos: &[u64]) -> Option<Packed> {
        let mut histogram = LatencyHistogram::new();
        nanos.iter().for_each(|&nanos| histogram.record(Duration::from_nanos(nanos)));
        (!nanos.is_empty()).then(|| Packed::new(histogram.as_hdr()))
    }

    /// Returns a timeline whose intervals of one second have these latencies.
    fn timeline(latencies: &[Vec<u64>]) -> Timeline {
        let row = |(index, nanos): (usize, &Vec<u64>)| Row {
            end: Duration::from_secs(index as u64 + 1),
            planned: nanos.len() as u64 + 1,
            sent: nanos.len() as u64,
            answered: nanos.len() as u64,
            failed: Some(1),
            p50: None,
            p99: None,
            max: nanos.iter().max().copied().map(Duration::from_nanos),
            peers: index as u64,
            lost: 2,
        };
        let series = Series {
            metric: "ping_rtt".to_owned(),
            view: "planned".to_owned(),
            intervals: latencies.iter().map(|nanos| packed(nanos)).collect(),
        };
        let rows = latencies.iter().enumerate().map(row).collect();
        Timeline { interval: Duration::from_secs(1), rows, histograms: vec![series], joined: vec![1, 2] }
    }

    #[test]
    fn few_intervals_stay_as_they_are() {
        let timeline = timeline(&[vec![5], vec![], vec![7]]);
        assert_eq!(timeline.condensed(3, "ping_rtt").unwrap(), timeline);
    }

    #[test]
    fn neighbours_are_joined_with_their_counts_percentiles_and_largest_latency() {
        let timeline = timeline(&[vec![1, 2, 3], vec![40], vec![], vec![], vec![6]]);
        let condensed = timeline.condensed(3, "ping_rtt").unwrap();
        let ends: Vec<u64> = condensed.rows.iter().map(|row| row.end.as_secs()).collect();
        assert_eq!((condensed.interval, ends), (Duration::from_secs(2), vec![2, 4, 5]));
        let expected = Row {
            end: Duration::from_secs(2),
            planned: 6,
            sent: 4,
            answered: 4,
            failed: Some(2),
            p50: Some(Duration::from_nanos(2)),
            p99: Some(Duration::from_nanos(40)),
            max: Some(Duration::from_nanos(40)),
            peers: 1,
            lost: 4,
        };
        assert_eq!(condensed.rows[0], expected);
        assert_eq!((condensed.rows[1].p50, condensed.rows[1].max, condensed.rows[1].answered), (None, None, 0));
        assert_eq!(condensed.histograms[0].intervals, [packed(&[1, 2, 3, 40]), None, packed(&[6])]);
        assert_eq!(condensed.joined, [0], "only the latencies of an interval's end are in the next one");
    }

    #[test]
    fn without_histograms_a_joined_interval_has_its_largest_latency_and_no_percentiles() {
        let mut timeline = timeline(&[vec![1, 2, 3], vec![40], vec![5]]);
        timeline.histograms.clear();
        timeline.rows[1].failed = None;
        let condensed = timeline.condensed(2, "ping_rtt").unwrap();
        let row = condensed.rows[0];
        assert_eq!((row.p50, row.p99, row.max), (None, None, Some(Duration::from_nanos(40))));
        assert_eq!((row.failed, condensed.rows[1].failed), (None, Some(1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

        #[test]
        fn nothing_is_lost(
            latencies in proptest::collection::vec(proptest::collection::vec(1..1_000_000_u64, 0..5), 0..40),
            max in 1..20_usize,
        ) {
            let timeline = timeline(&latencies);
            let condensed = timeline.condensed(max, "ping_rtt").unwrap();
            prop_assert!(condensed.rows.len() <= max);
            let answered = |timeline: &Timeline| timeline.rows.iter().map(|row| row.answered).sum::<u64>();
            prop_assert_eq!(answered(&condensed), answered(&timeline));
            let mut sum = Latencies::new();
            for packed in condensed.histograms[0].intervals.iter().flatten() {
                sum.add(&packed.open().unwrap()).unwrap();
            }
            let all: Vec<u64> = latencies.into_iter().flatten().collect();
            let expected = packed(&all).map_or_else(Latencies::new, |packed| packed.open().unwrap());
            prop_assert!(sum == expected);
        }
    }
}
