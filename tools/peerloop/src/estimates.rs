//! The intervals of percentiles within one run: how far a percentile may be from that of an endless run.
//!
//! They follow from the histograms of the run's intervals, so a document without these has none. Failed operations
//! count as infinitely slow.

use crate::model::{Document, Estimated, Metric, Series};
use crate::output::json::Nanos;
use crate::thresholds::{failed_in, tally_of};
use peerloop::histogram::LATENCY_MAX_NANOS;
use peerloop_measure::{self as measure, Reading, Tally};
use std::time::Duration;

/// Estimates the percentiles of the workload's operations again, for each view with intervals.
pub(crate) fn fill(document: &mut Document) {
    document.estimates = document.metrics.iter().flat_map(|metric| of_metric(document, metric)).collect();
}

fn of_metric(document: &Document, metric: &Metric) -> Vec<Estimated> {
    let mut estimates = Vec::new();
    for (name, view) in metric.views().filter(|_| metric.work.is_some()) {
        let is_named = |series: &&Series| series.metric == metric.name && series.view == name;
        let found = document.timeline.histograms.iter().find(is_named);
        let Some(series) = found.and_then(|series| series_of(document, series, view.failed > 0)) else { continue };
        estimates.extend(view.percentiles.0.iter().filter_map(|(one, _)| {
            let estimate = series.percentile(one.percent)?;
            Some(Estimated {
                metric: metric.name.clone(),
                view: name.to_owned(),
                percentile: one.label.clone(),
                value_ns: nanos(estimate.value),
                bounds_ns: estimate.bounds.map(|(low, high)| [nanos(low), nanos(high)]),
                more_ns: estimate.more.map(|more| Nanos(more.min(Duration::from_nanos(LATENCY_MAX_NANOS)))),
            })
        }));
    }
    estimates
}

fn nanos(reading: Reading) -> Option<Nanos> {
    reading.finite().map(|nanos| Nanos(Duration::from_nanos(nanos)))
}

/// Returns the tallies of the intervals; `None` if a histogram is damaged. The drain belongs to the last interval of
/// the schedule, and an interval whose latencies are in the next one belongs to that.
fn series_of(document: &Document, series: &Series, has_failed: bool) -> Option<measure::Series> {
    let Document { timeline, run, .. } = document;
    let mut found = (!timeline.interval.is_zero()).then(|| measure::Series::new(timeline.interval))?;
    let mut pending: Option<Tally> = None;
    let mut is_joined = false;
    for (index, ((start, row), packed)) in timeline.spans().zip(&series.intervals).enumerate() {
        let failed = if has_failed { failed_in(row, &series.view) } else { 0 };
        let tally = tally_of(packed.as_ref(), failed).ok()?;
        match &mut pending {
            Some(sum) if is_joined || start >= run.scheduled_ns.0 => sum.add(&tally),
            Some(_) | None => {
                if let Some(before) = pending.replace(tally) {
                    found.push(&before);
                }
            }
        }
        is_joined = timeline.joined.contains(&(index as u64));
    }
    pending.into_iter().for_each(|last| found.push(&last));
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, Packed, Row};
    use crate::units::parse_percentiles;
    use peerloop::histogram::LatencyHistogram;

    /// A run of 40 intervals of 100 ms, the last of which is the drain. Each has latencies of 1 to 100 us.
    fn document(failed: u64) -> Document {
        let mut document = model::parse(include_str!("bench/golden/measured.json")).unwrap();
        let mut histogram = LatencyHistogram::new();
        (1..=100).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        let row = |index: u32| Row {
            end: Duration::from_millis(100) * (index + 1),
            planned: 100 + failed,
            sent: 100 + failed,
            answered: 100,
            failed: Some(failed),
            ..Row::default()
        };
        document.timeline.interval = Duration::from_millis(100);
        document.timeline.rows = (0..40).map(row).collect();
        document.run.scheduled_ns = Nanos(Duration::from_millis(3_900));
        document.timeline.histograms[0].intervals = vec![Some(Packed::new(histogram.as_hdr())); 40];
        let percentiles = parse_percentiles("50,99.99,100").unwrap();
        let metric = document.metrics.iter_mut().find(|metric| metric.work.is_some()).unwrap();
        metric.planned = Some(model::View::new(&percentiles, histogram, failed, None));
        fill(&mut document);
        document
    }

    #[test]
    fn a_percentile_has_its_interval_or_the_time_that_it_needs_and_the_maximum_has_neither() {
        let estimates = document(0).estimates;
        let labels: Vec<&str> = estimates.iter().map(|one| one.percentile.as_str()).collect();
        assert_eq!(labels, ["50", "99.99", "100"], "the view without intervals has no estimate");
        let [low, high] = estimates[0].bounds_ns.unwrap().map(|bound| bound.unwrap().0.as_nanos());
        let value = estimates[0].value_ns.unwrap().0.as_nanos();
        assert!(low <= value && value <= high && low > 45_000 && high < 55_000, "{low} {value} {high}");
        // 4,000 operations have 0.4 beyond p99.99, of which 10 are needed: 25 times as many.
        let more = estimates[1].more_ns.unwrap().0.as_secs_f64();
        assert!(estimates[1].bounds_ns.is_none() && (90.0..100.0).contains(&more), "{more}");
        assert_eq!((estimates[2].bounds_ns, estimates[2].more_ns), (None, None));
    }

    #[test]
    fn failed_operations_are_infinite_in_estimates() {
        let estimates = document(150).estimates;
        assert_eq!((estimates[0].value_ns, estimates[0].bounds_ns), (None, Some([None, None])));
    }

    #[test]
    fn a_document_without_intervals_has_no_estimates() {
        let mut document = document(0);
        document.timeline.histograms.clear();
        fill(&mut document);
        assert_eq!(document.estimates, []);
    }
}
