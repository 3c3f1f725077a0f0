//! How often comparisons of synthetic runs are right.

use crate::random::Random;
use peerloop_measure::{
    Comparison, Direction, Doubt, FailOn, MARGIN, MIN_CONFIRMED, MetricRuns, Pairing, Scale, Verdict, compare,
};
use proptest::strategy::Strategy;

const COMPARISONS: u64 = 1_000;

/// The values of all runs of one side, by metric.
#[derive(Debug, Default)]
struct Side {
    p50: Vec<f64>,
    p99: Vec<f64>,
    failed: Vec<f64>,
    rate: Vec<f64>,
}

/// A target, and how much its runs differ.
#[derive(Clone, Copy, Debug)]
struct Target {
    p50: f64,
    p99: f64,
    /// The standard deviation of the logarithms of p50 and p99 between runs.
    spread: (f64, f64),
    /// The chance that another program disturbs a run, which doubles its p99.
    disturbance: f64,
    /// The standard deviation of the logarithm of the machine's speed, from one round to the next.
    drift: f64,
    /// The share of operations that fail.
    failed: f64,
}

/// As short runs against the built-in node on two shared CPUs.
const LOOPBACK: Target =
    Target { p50: 41.0, p99: 118.0, spread: (0.06, 0.25), disturbance: 0.05, drift: 0.05, failed: 0.0 };

impl Target {
    fn run(self, speed: f64, random: &mut Random, side: &mut Side) {
        side.p50.push(self.p50 * (speed + self.spread.0 * random.normal()).exp());
        let disturbed = if random.uniform() < self.disturbance { 2.0 } else { 1.0 };
        side.p99.push(self.p99 * disturbed * (speed + self.spread.1 * random.normal()).exp());
        let operations = 10_000.0;
        let noise = (self.failed / operations).sqrt() * random.normal();
        side.failed.push((self.failed + noise).max(0.0));
        side.rate.push(1_000.0 * (1.0 - 0.002 * random.uniform()));
    }
}

/// Runs both targets in turn.
fn rounds(base: Target, new: Target, count: usize, random: &mut Random) -> (Side, Side) {
    let (mut base_side, mut new_side) = (Side::default(), Side::default());
    let mut speed = 0.0;
    for _ in 0..count {
        speed += base.drift * random.normal();
        base.run(speed, random, &mut base_side);
        new.run(speed, random, &mut new_side);
    }
    (base_side, new_side)
}

/// Returns a latency of runs whose values are exact.
fn exact<'a>(base: &'a [f64], new: &'a [f64]) -> MetricRuns<'a> {
    MetricRuns {
        name: "p50",
        direction: Direction::SmallerIsBetter,
        scale: Scale::Ratio,
        margin: MARGIN,
        base,
        new,
        base_excess: &[],
        new_excess: &[],
        has_bad_run: false,
    }
}

fn judge<'a>(base: &'a Side, new: &'a Side, pairing: Pairing) -> Comparison<'a> {
    let metric =
        |name, direction, scale, margin, base, new| MetricRuns { name, direction, scale, margin, ..exact(base, new) };
    let smaller = Direction::SmallerIsBetter;
    let metrics = [
        metric("p50", smaller, Scale::Ratio, MARGIN, &base.p50, &new.p50),
        metric("p99", smaller, Scale::Ratio, MARGIN, &base.p99, &new.p99),
        metric("failed", smaller, Scale::Difference, 0.001, &base.failed, &new.failed),
        metric("rate", Direction::LargerIsBetter, Scale::Ratio, MARGIN, &base.rate, &new.rate),
    ];
    compare(&metrics, pairing)
}

/// Counts the comparisons in which a metric has one of these verdicts.
fn count(base: Target, new: Target, runs: usize, pairing: Pairing, verdicts: &[Verdict]) -> u64 {
    let has = |seed: &u64| {
        let (base, new) = rounds(base, new, runs, &mut Random::new(*seed));
        judge(&base, &new, pairing).changes.iter().any(|change| verdicts.contains(&change.verdict))
    };
    (0..COMPARISONS).filter(has).count() as u64
}

#[test]
fn a_version_compared_with_itself_is_seldom_better_or_worse() {
    for pairing in [Pairing::Paired, Pairing::Unpaired] {
        for runs in [3, 5, 8, 15] {
            let wrong = count(LOOPBACK, LOOPBACK, runs, pairing, &[Verdict::Better, Verdict::Worse]);
            println!("comparison: the same version, {runs} runs a side, {pairing:?}: {wrong} of {COMPARISONS} wrong");
            assert!(wrong <= COMPARISONS / 20);
        }
    }
}

/// A change of exactly the margin is neither within nor beyond it, and is the hardest case of both mistakes.
#[test]
fn a_change_of_just_the_margin_is_seldom_decided() {
    let slower = Target { p50: 41.0 * 1.05, p99: 118.0 * 1.05, ..LOOPBACK };
    let calm = Target { spread: (0.01, 0.02), disturbance: 0.0, ..LOOPBACK };
    let calm_slower = Target { p50: 41.0 * 1.05, p99: 118.0 * 1.05, ..calm };
    for (name, base, new) in [("noisy", LOOPBACK, slower), ("calm", calm, calm_slower)] {
        for runs in [5, 8, 15] {
            let worse = count(base, new, runs, Pairing::Paired, &[Verdict::Better, Verdict::Worse]);
            let both_same = |seed: &u64| {
                let (base, new) = rounds(base, new, runs, &mut Random::new(*seed));
                judge(&base, &new, Pairing::Paired).changes[0].verdict == Verdict::Same
            };
            let same = (0..COMPARISONS).filter(both_same).count();
            println!("comparison: 5 % slower, {name}, {runs} pairs: {worse} worse, p50 of {same} the same");
            assert!(worse <= COMPARISONS / 20 && same <= COMPARISONS as usize / 20);
        }
    }
}

#[test]
fn a_node_that_answers_200_us_later_is_worse() {
    let late = Target { p50: 241.0, p99: 318.0, ..LOOPBACK };
    for pairing in [Pairing::Paired, Pairing::Unpaired] {
        let found = (0..COMPARISONS).filter(|&seed| {
            let (base, new) = rounds(LOOPBACK, late, 8, &mut Random::new(seed));
            let comparison = judge(&base, &new, pairing);
            comparison.verdict() == Verdict::Worse && comparison.fails(FailOn::Worse) == Ok(true)
        });
        let found = found.count();
        println!("comparison: 200 us later, 8 runs a side, {pairing:?}: {found} of {COMPARISONS} found");
        assert!(found >= COMPARISONS as usize * 95 / 100);
    }
    // And the other way round it is better.
    let found = count(late, LOOPBACK, 8, Pairing::Paired, &[Verdict::Better]);
    assert!(found >= COMPARISONS * 95 / 100);
}

#[test]
fn a_version_that_loses_one_operation_of_50_is_worse_by_its_failures() {
    let lossy = Target { failed: 0.02, ..LOOPBACK };
    let is_found = |seed: &u64| {
        let (base, new) = rounds(LOOPBACK, lossy, 8, &mut Random::new(*seed));
        judge(&base, &new, Pairing::Paired).changes[2].verdict == Verdict::Worse
    };
    assert!((0..COMPARISONS).filter(is_found).count() as u64 >= COMPARISONS * 95 / 100);
}

/// Runs that differ by 5 % need 24 pairs to be shown the same within 5 %, and runs that differ by 10 % need 91.
#[test]
fn the_number_of_rounds_is_that_which_decides() {
    for (spread, needed) in [(0.05, 24), (0.10, 91)] {
        let target = Target { spread: (spread, spread), disturbance: 0.0, ..LOOPBACK };
        let is_same = |runs: usize, seed: u64| {
            let (base, new) = rounds(target, target, runs, &mut Random::new(seed));
            judge(&base, &new, Pairing::Paired).changes[0].verdict == Verdict::Same
        };
        let same = (0..COMPARISONS).filter(|&seed| is_same(needed, seed)).count();
        let too_few = (0..COMPARISONS).filter(|&seed| is_same(needed / 3, seed)).count();
        println!("comparison: spread {spread}: the same by {needed} pairs in {same}, by a third in {too_few}");
        assert!((750..=900).contains(&same) && too_few < 250, "{same} {too_few}");
        let mut suggested: Vec<u32> = (0..COMPARISONS)
            .filter_map(|seed| {
                let (base, new) = rounds(target, target, 8, &mut Random::new(seed));
                judge(&base, &new, Pairing::Paired).changes[0].more_rounds
            })
            .map(|more| more + 8)
            .collect();
        suggested.sort_unstable();
        let median = suggested[suggested.len() / 2] as usize;
        println!("comparison: spread {spread}: suggested after 8 pairs: {median} in the median");
        assert!(needed / 2 <= median && median <= needed * 2, "{median}");
    }
}

#[test]
fn infinite_percentiles_are_compared_by_their_direction() {
    let runs = |seed: u64, chances: (f64, f64)| {
        let mut random = Random::new(seed);
        let (mut base, mut new) = rounds(LOOPBACK, LOOPBACK, 8, &mut random);
        for (side, chance) in [(&mut base, chances.0), (&mut new, chances.1)] {
            side.p99.iter_mut().for_each(|p99| *p99 = if random.uniform() < chance { f64::INFINITY } else { *p99 });
        }
        (base, new)
    };
    for pairing in [Pairing::Paired, Pairing::Unpaired] {
        let verdict = |seed: u64, chances| {
            let (base, new) = runs(seed, chances);
            judge(&base, &new, pairing).changes[1].verdict
        };
        // The same share of runs loses too many operations: a verdict would be wrong.
        let wrong = |seed: &u64| matches!(verdict(*seed, (0.4, 0.4)), Verdict::Better | Verdict::Worse);
        let wrong = (0..COMPARISONS).filter(wrong).count();
        assert!(wrong <= COMPARISONS as usize / 20, "{wrong}");
        assert!((0..COMPARISONS).all(|seed| verdict(seed, (0.0, 1.0)) == Verdict::Worse));
        assert!((0..COMPARISONS).all(|seed| verdict(seed, (1.0, 0.0)) == Verdict::Better));
        let (base, new) = runs(1, (1.0, 1.0));
        let change = &judge(&base, &new, pairing).changes[1];
        assert_eq!((change.verdict, change.doubt), (Verdict::Undecided, Some(Doubt::Unbounded)));
    }
}

#[test]
fn few_or_bad_runs_decide_nothing() {
    let late = Target { p50: 241.0, p99: 318.0, ..LOOPBACK };
    for runs in [1, 2] {
        let (base, new) = rounds(LOOPBACK, late, runs, &mut Random::new(1));
        let comparison = judge(&base, &new, Pairing::Paired);
        assert!(comparison.changes.iter().all(|change| change.doubt == Some(Doubt::TooFewRuns)));
        assert!(comparison.changes[0].estimate.is_some() && comparison.changes[0].interval.is_none());
        assert_eq!(comparison.changes[0].more_rounds, Some((MIN_CONFIRMED - runs) as u32));
        assert_eq!(comparison.verdict(), Verdict::Undecided);
    }
    let (base, new) = rounds(LOOPBACK, late, MIN_CONFIRMED - 1, &mut Random::new(1));
    let refusal = judge(&base, &new, Pairing::Paired).fails(FailOn::Worse).unwrap_err();
    assert!(refusal.to_string().contains("add 1 more"), "{refusal}");
    let (base, new) = rounds(LOOPBACK, late, 8, &mut Random::new(1));
    let metric = MetricRuns { has_bad_run: true, ..exact(&base.p50, &new.p50) };
    let doubted = compare(&[metric], Pairing::Paired);
    assert_eq!((doubted.changes[0].verdict, doubted.changes[0].doubt), (Verdict::Undecided, Some(Doubt::BadRun)));
    assert_eq!((doubted.fails(FailOn::Worse), doubted.fails(FailOn::Undecided)), (Ok(false), Ok(true)));
    // The other metrics are still judged.
    let good = MetricRuns { has_bad_run: false, ..metric };
    let judged = compare(&[metric, good, metric], Pairing::Paired);
    let verdicts: Vec<Verdict> = judged.changes.iter().map(|change| change.verdict).collect();
    assert_eq!(verdicts, [Verdict::Undecided, Verdict::Worse, Verdict::Undecided]);
    assert_eq!(judged.verdict(), Verdict::Worse);
}

/// Measures 8 pairs of a version that needs 75 us with one that needs `new_us`, with late generators: each value
/// exceeds the true one by up to as much as is known. Returns the verdict.
fn late_pairs(new_us: f64, random: &mut Random) -> Verdict {
    let mut sides = [Vec::new(), Vec::new()];
    let mut excesses = [Vec::new(), Vec::new()];
    for _ in 0..8 {
        for (side, micros) in [75.0, new_us].into_iter().enumerate() {
            let known = 25.0 * random.uniform();
            sides[side].push(micros * (0.03 * random.normal()).exp() + known * random.uniform());
            excesses[side].push(known);
        }
    }
    let metric = MetricRuns { base_excess: &excesses[0], new_excess: &excesses[1], ..exact(&sides[0], &sides[1]) };
    compare(&[metric], Pairing::Paired).changes[0].verdict
}

#[test]
fn late_generators_hide_no_large_change_and_invent_none() {
    let mut random = Random::new(8);
    let mut verdicts = |new_us: f64| (0..1_000).map(|_| late_pairs(new_us, &mut random)).collect::<Vec<_>>();
    let wrong = verdicts(75.0);
    let wrong = wrong.iter().filter(|change| matches!(change, Verdict::Better | Verdict::Worse)).count();
    assert!(wrong <= 50, "{wrong} of 1,000 comparisons of equal versions found a change");
    let found = verdicts(275.0).iter().filter(|&&change| change == Verdict::Worse).count();
    assert!(found >= 950, "only {found} of 1,000 changes of 200 us were found");
    let faster = verdicts(20.0).iter().filter(|&&change| change == Verdict::Better).count();
    assert!(faster >= 950, "only {faster} of 1,000 large improvements were found");
    println!("late generators: {wrong} wrong, {found} and {faster} found, of 1,000 each");
}

#[test]
fn a_change_smaller_than_the_excess_is_undecided() {
    let (base, same, slower) = ([100.0; 8], [101.0; 8], [120.0; 8]);
    let judged = |new: &[f64], base_excess: f64, new_excess: f64| {
        let (base_excess, new_excess) = ([base_excess; 8], [new_excess; 8]);
        let metric = MetricRuns { base_excess: &base_excess, new_excess: &new_excess, ..exact(&base, new) };
        let change = compare(&[metric], Pairing::Paired).changes.remove(0);
        (change.verdict, change.doubt)
    };
    assert_eq!(judged(&same, 0.0, 0.0), (Verdict::Same, None));
    assert_eq!(judged(&same, 2.0, 2.0), (Verdict::Same, None));
    assert_eq!(judged(&same, 8.0, 0.0), (Verdict::Undecided, Some(Doubt::Excess)));
    assert_eq!(judged(&same, 0.0, 8.0), (Verdict::Undecided, Some(Doubt::Excess)));
    // An excess of the base makes a slower version look faster than it is, never slower.
    assert_eq!(judged(&slower, 100.0, 0.0), (Verdict::Worse, None));
    assert_eq!(judged(&slower, 0.0, 10.0), (Verdict::Worse, None));
    assert_eq!(judged(&slower, 0.0, 18.0), (Verdict::Undecided, Some(Doubt::Excess)));
    // Missing excesses are those of exact values.
    let metric = MetricRuns { new_excess: &[0.0, 1.0], ..exact(&base, &slower) };
    assert_eq!(compare(&[metric], Pairing::Paired).changes[0].verdict, Verdict::Worse);
}

/// A value of a run: often one of few, so that equal ones, infinite ones and zeros meet.
fn value() -> impl Strategy<Value = f64> {
    use proptest::prelude::Just;
    proptest::prop_oneof![1.0_f64..1_000.0, Just(100.0), Just(130.0), Just(f64::INFINITY), Just(0.0)]
}

proptest::proptest! {
    #[test]
    fn the_sides_may_be_exchanged(
        (base, new) in (0_usize..14).prop_flat_map(|runs| {
            let side = || proptest::collection::vec(value(), runs);
            (side(), side())
        }),
        is_paired in proptest::bool::ANY,
    ) {
        let pairing = if is_paired { Pairing::Paired } else { Pairing::Unpaired };
        let judged = |base: &[f64], new: &[f64]| {
            let (direction, scale) = (Direction::SmallerIsBetter, Scale::Ratio);
            let metric = MetricRuns { name: "p99", direction, scale, margin: MARGIN, base, new, ..exact(base, new) };
            let mut comparison = compare(&[metric], pairing);
            let change = comparison.changes.remove(0);
            (change.verdict, change.doubt, change.estimate, change.interval)
        };
        let (verdict, doubt, estimate, interval) = judged(&base, &new);
        let (mirrored, other_doubt, other_estimate, other_interval) = judged(&new, &base);
        let expected = match verdict {
            Verdict::Better => Verdict::Worse,
            Verdict::Worse => Verdict::Better,
            Verdict::Same | Verdict::Undecided => verdict,
        };
        proptest::prop_assert_eq!((mirrored, other_doubt), (expected, doubt));
        proptest::prop_assert_eq!(estimate.is_some(), other_estimate.is_some());
        proptest::prop_assert_eq!(interval.is_some(), other_interval.is_some());
        if let (Some((low, high)), Some((other_low, other_high))) = (interval, other_interval) {
            proptest::prop_assert!(low <= high);
            proptest::prop_assert!((low * other_high - 1.0).abs() < 1e-6 && (high * other_low - 1.0).abs() < 1e-6);
        }
        // A side is never better or worse than itself.
        let (itself, ..) = judged(&base, &base);
        proptest::prop_assert!(matches!(itself, Verdict::Same | Verdict::Undecided));
    }
}
