//! How often the interval of a percentile contains the truth.

use crate::random::Random;
use crate::series::{Kind, Length, run, truth};
use peerloop_measure::{Reading, Share, ShareInterval};

const PERCENTS: [f64; 3] = [50.0, 99.0, 99.9];

/// 10 s in intervals of 100 ms, one minute and ten minutes in seconds.
const TEN_SECONDS: Length = Length { intervals: 100, seconds: 0.1, operations: 100 };
const A_MINUTE: Length = Length { intervals: 60, seconds: 1.0, operations: 200 };
const A_FAST_MINUTE: Length = Length { intervals: 60, seconds: 1.0, operations: 1_000 };
const TEN_MINUTES: Length = Length { intervals: 600, seconds: 1.0, operations: 50 };

/// The runs of each row.
const RUNS: u64 = 1_000;

/// Returns whether the tables have all rows. The short tables need seconds, all rows minutes.
fn is_long() -> bool {
    std::env::var_os("PEERLOOP_LONG").is_some()
}

/// A percentile's row of the table, in parts of all runs.
#[derive(Debug, Default)]
struct Row {
    printed: f64,
    /// Of the printed intervals.
    covered: f64,
    /// The median of the upper bound over the value, of the printed intervals.
    width: f64,
}

fn rows(kind: Kind, length: Length) -> Vec<Row> {
    let truths = truth(kind, length, &PERCENTS);
    let mut counts = vec![(0.0, 0.0, Vec::new()); PERCENTS.len()];
    for seed in 0..RUNS {
        let series = run(kind, length, &mut Random::new(seed));
        for ((percent, truth), count) in PERCENTS.into_iter().zip(&truths).zip(&mut counts) {
            let estimate = series.percentile(percent).expect("the run has operations");
            let Some((low, high)) = estimate.bounds else {
                assert!(estimate.more.is_some());
                continue;
            };
            count.0 += 1.0;
            // A bucket's values are at most 0.1 % apart.
            let is_covered = low.as_f64() <= truth * 1.001 && truth * 0.999 <= high.as_f64();
            count.1 += f64::from(u8::from(is_covered));
            count.2.push(high.as_f64() / estimate.value.as_f64());
            assert!(low <= estimate.value && estimate.value <= high && high < Reading::Infinite);
        }
    }
    let row = |(printed, covered, mut widths): (f64, f64, Vec<f64>)| {
        widths.sort_by(f64::total_cmp);
        let width = widths.get(widths.len() / 2).copied().unwrap_or(f64::NAN);
        Row { printed: printed / RUNS as f64, covered: covered / printed, width }
    };
    counts.into_iter().map(row).collect()
}

/// Checks the rows of one kind at one length, prints them, and requires the coverage for the percentiles that are
/// printed in at least `min_printed` of the runs.
#[track_caller]
fn check(name: &str, kind: Kind, length: Length, required: &[f64], min_printed: f64) {
    for (percent, row) in PERCENTS.into_iter().zip(rows(kind, length)) {
        let time = length.intervals as f64 * length.seconds;
        let operations = length.intervals * length.operations;
        println!(
            "coverage: {name:<34} {time:>4} s {operations:>6} ops  p{percent:<5} printed {:>5.1} %  covered {:>5.1} %  \
             upper x{:.3}",
            100.0 * row.printed,
            100.0 * row.covered,
            row.width
        );
        if required.contains(&percent) {
            assert!(row.printed >= min_printed, "{name} p{percent}: printed only {row:?}");
            assert!(row.covered >= 0.93, "{name} p{percent}: {row:?}");
        }
    }
}

#[test]
fn intervals_of_independent_operations_cover_the_truth() {
    check("independent", Kind::Independent, TEN_SECONDS, &[50.0, 99.0], 0.9);
    check("independent", Kind::Independent, A_MINUTE, &[50.0, 99.0], 0.9);
    if is_long() {
        check("independent", Kind::Independent, A_FAST_MINUTE, &PERCENTS, 0.9);
        check("independent", Kind::Independent, TEN_MINUTES, &PERCENTS, 0.9);
    }
}

#[test]
fn intervals_of_correlated_operations_cover_the_truth() {
    let kind = Kind::Operations { correlation: 0.9 };
    check("AR(1) 0.9 of operations", kind, TEN_SECONDS, &[50.0], 0.9);
    check("AR(1) 0.9 of operations", kind, A_MINUTE, &[50.0, 99.0], 0.9);
    if is_long() {
        check("AR(1) 0.9 of operations", kind, A_FAST_MINUTE, &[50.0, 99.0], 0.9);
        check("AR(1) 0.9 of operations", kind, TEN_MINUTES, &[50.0, 99.0], 0.9);
    }
}

#[test]
fn intervals_of_correlated_seconds_cover_the_truth() {
    let kind = Kind::Levels { correlation: 0.5, weight: 0.3 };
    check("AR(1) 0.5 of intervals", kind, TEN_SECONDS, &[50.0, 99.0], 0.9);
    check("AR(1) 0.5 of intervals", kind, A_MINUTE, &[50.0, 99.0], 0.9);
    if is_long() {
        check("AR(1) 0.5 of intervals", kind, A_FAST_MINUTE, &[50.0, 99.0], 0.9);
        check("AR(1) 0.5 of intervals", kind, TEN_MINUTES, &PERCENTS, 0.9);
    }
}

#[test]
fn intervals_of_runs_with_stalls_cover_the_truth() {
    let often = Kind::Stalls { every: 2.0, pause: 0.02 };
    check("stalls of 20 ms every 2 s", often, A_MINUTE, &[50.0, 99.0], 0.8);
    if is_long() {
        check("stalls of 20 ms every 2 s", often, TEN_MINUTES, &[50.0, 99.0], 0.8);
        let long = Kind::Stalls { every: 5.0, pause: 0.1 };
        check("stalls of 100 ms every 5 s", long, TEN_MINUTES, &[50.0, 99.0], 0.8);
    }
}

/// The correlation of these runs is too long, or their stalls are too rare, for their own length. No method can know
/// that from the run alone; the rows say how much such an interval is worth.
#[test]
fn the_limits_of_the_method_are_printed() {
    if !is_long() {
        return;
    }
    let drift = Kind::Levels { correlation: 0.8, weight: 0.3 };
    check("AR(1) 0.8 of intervals", drift, A_MINUTE, &[], 0.0);
    check("AR(1) 0.8 of intervals", drift, TEN_MINUTES, &[50.0, 99.0], 0.9);
    check("stalls of 100 ms every 5 s", Kind::Stalls { every: 5.0, pause: 0.1 }, A_MINUTE, &[], 0.0);
    check("stalls of 300 ms every 20 s", Kind::Stalls { every: 20.0, pause: 0.3 }, A_MINUTE, &[], 0.0);
    check("stalls of 300 ms every 20 s", Kind::Stalls { every: 20.0, pause: 0.3 }, TEN_MINUTES, &[], 0.0);
}

/// The share of slow operations, at a limit that exactly 1 % of them exceed.
#[test]
fn intervals_of_shares_cover_the_truth() {
    let kinds = [
        ("independent", Kind::Independent),
        ("AR(1) 0.9 of operations", Kind::Operations { correlation: 0.9 }),
        ("AR(1) 0.5 of intervals", Kind::Levels { correlation: 0.5, weight: 0.3 }),
    ];
    for (name, kind) in kinds {
        let limit = truth(kind, A_MINUTE, &[99.0])[0] as u64;
        let is_covered = |seed: u64| {
            let series = run(kind, A_MINUTE, &mut Random::new(seed));
            let shares: Vec<Share> = series.intervals().iter().map(|interval| interval.above(limit)).collect();
            let interval = ShareInterval::of(&shares).expect("the run has enough intervals");
            interval.low <= 0.01 && 0.01 <= interval.high
        };
        let covered = (0..RUNS).filter(|&seed| is_covered(seed)).count() as f64 / RUNS as f64;
        println!("coverage: {name:<34} share of 1 %: covered {:.1} %", 100.0 * covered);
        assert!(covered >= 0.93, "{name}: {covered}");
    }
}
