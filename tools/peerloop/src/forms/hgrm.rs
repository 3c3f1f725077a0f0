//! The percentile spectrum of a histogram as text, in the format of the public HdrHistogram plotter.
//!
//! Four columns: the value in milliseconds, the percentile as a ratio, the number of latencies up to the value, and
//! `1/(1-percentile)`, which the row for 100 % omits because it is infinite. Each time the distance to 100 % halves,
//! the step between two percentiles halves too. Every row begins with white space, because common plotters ignore any
//! other row.

use crate::model::{Document, View};
use hdrhistogram::Histogram;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Number of rows for each halving of the distance to 100 %.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
const NANOS_PER_MILLI: f64 = 1e6;

/// Writes the spectrum of the workload's operations, measured from their planned times.
pub(crate) fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let view = document.main_metric().and_then(|metric| metric.first_view());
    out.write_all(view.map(spectrum).unwrap_or_default().as_bytes())
}

/// Formats the spectrum of a view. Its percentiles cover all operations: the rows end where the unanswered operations
/// begin, and a comment states their number and their shortest wait.
pub(crate) fn spectrum(view: &View) -> String {
    spectrum_in(view, NANOS_PER_MILLI)
}

/// Formats the spectrum of a view whose unit is the given part of a millisecond.
pub(crate) fn spectrum_in(view: &View, per_milli: f64) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let histogram = view.latencies.as_hdr();
    for percent in levels() {
        let Some(value) = view.percentile(percent).measured() else { break };
        let value = value.as_nanos() as u64;
        let count = histogram.count_between(0, value);
        row(&mut text, value as f64 / per_milli, percent / 100.0, count);
        if count == view.count() {
            row(&mut text, value as f64 / per_milli, 1.0, count);
            break;
        }
    }
    let (mean, deviation) = (histogram.mean() / per_milli, histogram.stdev() / per_milli);
    let max = histogram.max() as f64 / per_milli;
    if view.failed > 0 {
        let wait = view.shortest_wait.map(|wait| wait.as_nanos() as f64 / per_milli);
        let wait = wait.map_or_else(|| format!("{:>12}", "none"), |wait| format!("{wait:12.6}"));
        put(&mut text, format_args!("#[Unanswered = {:9}, Shortest wait  = {wait}]\n", view.failed));
    }
    put(&mut text, format_args!("#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]\n"));
    put(&mut text, format_args!("#[Max     = {max:12.6}, Total count    = {:12}]\n", histogram.len()));
    put(
        &mut text,
        format_args!("#[Buckets = {:12}, SubBuckets     = {:12}]\n", histogram.buckets(), sub_buckets(histogram)),
    );
    text
}

/// Returns the percentages of the rows: [`TICKS_PER_HALF_DISTANCE`] rows each time the distance to 100 halves.
///
/// The percentages are exact for up to 47 halvings, because a step is 10 divided by a power of two.
pub(super) fn levels() -> impl Iterator<Item = f64> {
    (0..f64::MANTISSA_DIGITS).flat_map(|halvings| {
        let left = 100.0 / 2.0_f64.powi(halvings as i32);
        let step = left / f64::from(2 * TICKS_PER_HALF_DISTANCE);
        (0..TICKS_PER_HALF_DISTANCE).map(move |tick| 100.0 - left + f64::from(tick) * step)
    })
}

fn row(text: &mut String, value: f64, quantile: f64, count: u64) {
    // The space is apart from the padding, which a value of 100 s or more fills.
    put(text, format_args!(" {value:11.6} {quantile:2.12} {count:10}"));
    if quantile < 1.0 {
        put(text, format_args!(" {:14.2}", 1.0 / (1.0 - quantile)));
    }
    text.push('\n');
}

/// Returns the number of sub-buckets in one bucket: 2 * 10^n, rounded up to a power of two, for n significant digits.
fn sub_buckets(histogram: &Histogram<u64>) -> u64 {
    (2 * 10u64.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Percentiles;
    use peerloop::histogram::LatencyHistogram;
    use proptest::prelude::*;
    use std::time::Duration;

    fn of(nanos: impl IntoIterator<Item = u64>) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        nanos.into_iter().for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        histogram
    }

    fn view(latencies: LatencyHistogram, failed: u64, shortest_wait: Option<Duration>) -> View {
        View::new(&Percentiles(Vec::new()), latencies, failed, shortest_wait)
    }

    fn rendered(nanos: impl IntoIterator<Item = u64>) -> String {
        spectrum(&view(of(nanos), 0, None))
    }

    #[test]
    fn unanswered_pings_end_the_rows_and_are_counted_in_a_comment() {
        let rendered_with = |wait| spectrum(&view(of([1_000_000, 1_000_000]), 2, wait));
        let text = rendered_with(Some(Duration::from_millis(2_010)));
        let (rows, comments) = text.split_at(text.find('#').unwrap());
        assert_eq!(rows.lines().last(), Some("    1.000447 0.500000000000          2           2.00"));
        let comment = "#[Unanswered =         2, Shortest wait  =  2010.000000]\n#[Mean    =     1.000192,";
        assert!(comments.starts_with(comment), "{comments}");
        let unsent = rendered_with(None);
        assert!(unsent.contains("#[Unanswered =         2, Shortest wait  =         none]\n"), "{unsent}");
        assert!(!rendered([1]).contains("Unanswered"));
    }

    #[test]
    fn a_known_histogram_has_the_plotters_format() {
        let text = rendered([1_000_000, 1_000_000, 2_000_000, 4_000_000]);
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)

    1.000447 0.000000000000          2           1.00
    1.000447 0.100000000000          2           1.11
    1.000447 0.200000000000          2           1.25
    1.000447 0.300000000000          2           1.43
    1.000447 0.400000000000          2           1.67
    1.000447 0.500000000000          2           2.00
    2.000895 0.550000000000          3           2.22
    2.000895 0.600000000000          3           2.50
    2.000895 0.650000000000          3           2.86
    2.000895 0.700000000000          3           3.33
    2.000895 0.750000000000          3           4.00
    4.001791 0.775000000000          4           4.44
    4.001791 1.000000000000          4
#[Mean    =     2.000384, StdDeviation   =     1.224980]
#[Max     =     4.001791, Total count    =            4]
#[Buckets =           43, SubBuckets     =         2048]
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_row_begins_with_a_space_however_long_its_value_is() {
        let text = rendered([1, 100_000_000_000_000, 9_000_000_000_000_000]);
        let rows = text.lines().skip(2).take_while(|line| !line.starts_with('#'));
        assert!(rows.clone().count() > 2 && rows.clone().all(|row| row.starts_with(' ')), "{text}");
    }

    #[test]
    fn the_text_of_an_empty_histogram_has_no_nan_or_infinity() {
        let text = rendered([]);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(text.contains("Total count    =            0]"), "{text}");
    }

    #[test]
    fn a_percentile_with_an_exact_rank_does_not_count_the_next_latency() {
        let text = rendered(1..=1_000);
        let rows: Vec<&str> = text.lines().filter(|line| line.contains(" 0.750000000000 ")).collect();
        assert_eq!(rows, ["    0.000750 0.750000000000        750           4.00"]);
        assert!(text.contains("    0.000875 0.875000000000        875           8.00\n"), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]
        #[test]
        fn values_and_counts_never_fall_from_row_to_row(
            nanos in proptest::collection::vec(1u64..3_600_000_000_000, 1..200),
        ) {
            let text = rendered(nanos.iter().copied());
            let rows: Vec<Vec<f64>> = text
                .lines()
                .skip(2)
                .take_while(|line| !line.starts_with('#'))
                .map(|line| line.split_whitespace().map(|column| column.parse().unwrap()).collect())
                .collect();
            prop_assert!(rows.windows(2).all(|pair| (0..3).all(|column| pair[0][column] <= pair[1][column])));
            let last = rows.last().unwrap();
            prop_assert_eq!((last[1], last[2], last.len()), (1.0, nanos.len() as f64, 3));
            prop_assert!(rows[..rows.len() - 1].iter().all(|row| row.len() == 4 && row[3].is_finite()));
        }
    }
}
