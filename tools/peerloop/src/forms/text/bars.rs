//! A histogram as lines of text: at most ten ranges of latencies, each with its number of operations and a bar.
//!
//! The ranges grow by a constant factor, so that both the bulk and the tail are visible. Every operation is in exactly
//! one line; operations that never completed have a line of their own below the others.

use crate::model::View;
use crate::output::page::Page;
use crate::units::{show_latency, show_share};
use std::time::Duration;

/// Maximum number of ranges.
const MAX_RANGES: u32 = 10;

/// Length of the longest bar in characters.
const MAX_BAR_CHARS: f64 = 40.0;

/// Writes the lines of a metric's view, whose operations are named by `noun`; nothing if there are no operations.
pub(super) fn write(page: &mut Page, metric: &str, noun: &str, view: &View) {
    if view.count() == 0 {
        return;
    }
    page.line(format_args!("{:<12}{noun:>12}{:>10}", format!("{metric} <="), "share"));
    let mut lines: Vec<(String, u64)> =
        ranges(view).into_iter().map(|(end, count)| (show_latency(end), count)).collect();
    if view.failed > 0 {
        lines.push(("never".to_owned(), view.failed));
    }
    let most = lines.iter().map(|&(_, count)| count).max().unwrap_or(1);
    for (end, count) in lines {
        let bar = "#".repeat((count as f64 / most as f64 * MAX_BAR_CHARS).ceil() as usize);
        let share = show_share(count, view.count());
        let line = format!("{end:>12}{count:>12}{share:>10}  {bar}");
        page.line(format_args!("{}", line.trim_end()));
    }
    page.line(format_args!(""));
}

/// Splits the latencies into ranges. Each range has its largest latency, and the number of latencies in it; the ends of
/// two ranges are never shown as the same latency.
fn ranges(view: &View) -> Vec<(Duration, u64)> {
    let histogram = view.latencies.as_hdr();
    let (Some(min), Some(max)) = (view.latencies.min(), view.latencies.max()) else { return Vec::new() };
    let (min, max) = (min.as_nanos() as f64, max.as_nanos() as f64);
    let mut ranges: Vec<(Duration, u64)> = Vec::new();
    let mut counted = 0;
    for number in 1..=MAX_RANGES {
        let end = match number {
            MAX_RANGES => histogram.max(),
            _ => {
                histogram.highest_equivalent((min * (max / min).powf(f64::from(number) / f64::from(MAX_RANGES))) as u64)
            }
        };
        let below = histogram.count_between(0, end);
        let (end, count) = (Duration::from_nanos(end), below - counted);
        counted = below;
        match ranges.last_mut() {
            Some((last, in_last)) if show_latency(*last) == show_latency(end) => {
                (*last, *in_last) = (end, *in_last + count);
            }
            Some(_) | None => ranges.push((end, count)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Percentiles;
    use peerloop::histogram::LatencyHistogram;
    use proptest::prelude::*;

    fn view(nanos: &[u64], failed: u64) -> View {
        let mut histogram = LatencyHistogram::new();
        nanos.iter().for_each(|&nanos| histogram.record(Duration::from_nanos(nanos)));
        View::new(&Percentiles(Vec::new()), histogram, failed, None)
    }

    fn written(nanos: &[u64], failed: u64) -> String {
        let mut page = Page(String::new());
        write(&mut page, "ping_rtt", "pings", &view(nanos, failed));
        page.0
    }

    #[test]
    fn the_bulk_the_tail_and_the_failures_each_have_a_line() {
        let nanos: Vec<u64> = std::iter::repeat_n(1_000, 98).chain([1_000_000]).collect();
        let text = written(&nanos, 1);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 10 + 1 + 1, "{text}");
        assert_eq!(lines[0], "ping_rtt <=        pings     share");
        assert_eq!(lines[1], format!("      2.0 us          98      98 %  {}", "#".repeat(40)));
        assert_eq!(lines[5], "       32 us           0       0 %");
        assert_eq!(lines[10], "     1.00 ms           1       1 %  #");
        assert_eq!(lines[11], "       never           1       1 %  #");
    }

    #[test]
    fn equal_latencies_have_one_line_and_no_latency_has_none() {
        assert_eq!(written(&[5_000; 7], 0).lines().count(), 2 + 1);
        assert_eq!(written(&[], 0), "");
        assert_eq!(written(&[], 3).lines().count(), 1 + 1 + 1);
    }

    proptest! {
        #[test]
        fn every_latency_is_in_exactly_one_line(nanos in proptest::collection::vec(1..10_u64.pow(15), 1..100)) {
            let ranges = ranges(&view(&nanos, 0));
            prop_assert!(ranges.len() <= MAX_RANGES as usize);
            prop_assert_eq!(ranges.iter().map(|(_, count)| count).sum::<u64>(), nanos.len() as u64);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let labels: Vec<String> = ranges.iter().map(|(end, _)| show_latency(*end)).collect();
            prop_assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", labels);
            let longest = *nanos.iter().max().unwrap();
            prop_assert!(ranges.last().unwrap().0 >= Duration::from_nanos(longest));
        }
    }
}
