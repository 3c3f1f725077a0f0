//! The heat map: the latencies of each interval, as the share of its operations in each range of latencies.

use super::svg::STRIP;
use super::times::{Span, Times};
use super::{figure, no_data};
use crate::model::Latencies;

const TITLE: &str = "All latencies over time";
const HEIGHT: f64 = 230.0;
/// The number of ranges of latencies.
const RANGES: u32 = 34;

/// The colours, from the smallest share to the largest: the class, the smallest share of the colour, and its name.
const COLOURS: [(&str, f64, &str); 6] = [
    ("h1", 0.0, "below 0.1 %"),
    ("h2", 0.001, "0.1 %"),
    ("h3", 0.01, "1 %"),
    ("h4", 0.05, "5 %"),
    ("h5", 0.2, "20 %"),
    ("h6", 0.5, "50 % and more"),
];

/// Cells of one colour: their horizontal and vertical ends.
type Cells = Vec<[(f64, f64); 2]>;

/// Draws the map. A strip above it shows the operations that were never answered.
pub(super) fn draw(times: &Times<'_>) -> Result<String, String> {
    let view = times.main_view();
    let ends = view.and_then(|view| Some([view.latencies.min()?, view.latencies.max()?]));
    let axis = times.latency_axis(ends.into_iter().flatten(), HEIGHT);
    let has_series = times.timeline.histograms.iter().any(|series| series.intervals.iter().any(Option::is_some));
    let Some(axis) = axis.filter(|_| has_series) else {
        return Ok(no_data(TITLE, "the latencies of the intervals were not recorded"));
    };
    let (low, high) = axis.scale.values();
    let has_failures = times.spans().any(|span| span.row.failed.unwrap_or(0) > 0);
    let mut plot = times.plot(axis.below(if has_failures { STRIP } else { 0.0 }));
    let edges: Vec<u64> =
        (0..=RANGES).map(|index| (low * (high / low).powf(f64::from(index) / f64::from(RANGES))) as u64).collect();
    let mut colours: [Cells; COLOURS.len()] = Default::default();
    let mut failures: Vec<(&str, (f64, f64))> = Vec::new();
    for (index, span) in times.spans().enumerate() {
        let latencies = times.main_latencies(index)?;
        let failed = span.row.failed.unwrap_or(0);
        let all = latencies.as_ref().map_or(0, Latencies::count).saturating_add(failed);
        for ((low, high), count) in latencies.iter().flat_map(|latencies| ranges(latencies, &edges)) {
            let cells = &mut colours[colour(count, all)];
            let times = (span.begin, span.end);
            // Neighbours of one colour are one cell, which keeps the page small.
            match cells.last_mut() {
                Some([last_times, (_, end)]) if *last_times == times && *end == low => *end = high,
                Some(_) | None => cells.push([times, (low, high)]),
            }
        }
        failures.extend((failed > 0).then(|| (COLOURS[colour(failed, all)].0, (span.begin, span.end))));
    }
    for ((class, _, name), cells) in COLOURS.iter().zip(colours) {
        plot.key(class, name);
        plot.cells(class, cells);
    }
    plot.strip("failed", &failures);
    let text = format!(
        "The share of the operations of each interval of {} in each range of latencies: the stronger the colour, the \
         more. {}",
        times.interval(),
        failed_text(times.spans())
    );
    Ok(figure(plot.finish("heat", TITLE, &text), TITLE, &text))
}

/// Counts the latencies between the edges; ranges without any are omitted.
fn ranges(latencies: &Latencies, edges: &[u64]) -> Vec<((f64, f64), u64)> {
    let histogram = latencies.as_hdr();
    let mut counted = 0;
    let mut ranges = Vec::new();
    for (number, pair) in edges.windows(2).enumerate() {
        // Rounding may move the longest latencies beyond the last edge.
        let end = if number + 2 == edges.len() { u64::MAX } else { pair[1] };
        let below = histogram.count_between(0, end.min(histogram.high()));
        if below > counted {
            ranges.push(((pair[0] as f64, pair[1] as f64), below - counted));
        }
        counted = below;
    }
    ranges
}

/// Returns the index of the colour of a share.
fn colour(part: u64, whole: u64) -> usize {
    let share = part as f64 / whole.max(1) as f64;
    COLOURS.iter().rposition(|(_, from, _)| share >= *from).unwrap_or(0)
}

fn failed_text(spans: impl Iterator<Item = Span>) -> String {
    match spans.map(|span| span.row.failed.unwrap_or(0)).sum::<u64>() {
        0 => "No operation failed.".to_owned(),
        failed => format!("The strip at the top shows the {failed} operations that were never answered."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::histogram::LatencyHistogram;
    use std::time::Duration;

    #[test]
    fn every_latency_is_in_one_range() {
        let mut histogram = LatencyHistogram::new();
        for nanos in [1, 5, 9, 10, 11, 99, 100, 5_000] {
            histogram.record(Duration::from_nanos(nanos));
        }
        let ranges = ranges(&Latencies::from(histogram), &[1, 10, 100, 1_000]);
        assert_eq!(ranges, [((1.0, 10.0), 4), ((10.0, 100.0), 3), ((100.0, 1_000.0), 1)]);
    }

    #[test]
    fn a_colour_begins_at_its_share() {
        assert_eq!(
            [(0, 0), (1, 10_000), (1, 1_000), (1, 2), (2, 2)].map(|(part, all)| colour(part, all)),
            [0, 0, 1, 5, 5]
        );
    }
}
