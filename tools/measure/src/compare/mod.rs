//! The comparison of two versions, each measured by several runs.
//!
//! The runs decide, not the operations within a run: two runs of the same version differ by more than their intervals,
//! because each has its own placement in memory, its own neighbours and its own luck. Each run contributes one value
//! per metric. The change from the base to the new version is a ratio, or a difference for shares, and its interval is
//! compared with a margin, below which nobody would care:
//!
//! - **worse** or **better**: the whole interval lies beyond the margin. From [`MIN_CONFIRMED`] pairs on, an exact test
//!   that assumes no distribution has to agree. Over all metrics together, at most 5 % of such verdicts are wrong; this
//!   is Holm's correction.
//! - **same**: the whole interval lies within the margin.
//! - **undecided**: anything else, with an estimate of how many rounds would decide.
//!
//! A percentile may be infinite, if more operations failed than lie beyond it, and a rate may be 0. Then no mean and no
//! interval exists, but the direction of each change does, so the exact test alone decides: the sign-flip test for
//! pairs, the rank-sum test otherwise. A pair whose two values are both infinite shows no change.
//!
//! A value may exceed the true one by a known amount, as a latency does if its generator was late. Then *worse* has to
//! hold for the least new values, *better* for the least base values, and *same* for both.

mod change;
mod exact;
mod holm;
mod interval;

pub use change::{Direction, Scale};

use crate::student::CONFIDENCE;
use change::Changes;
use holm::holm;
use interval::Interval;
use std::fmt;

/// The smallest number of runs a side that is judged.
pub const MIN_RUNS: usize = 3;

/// The number of pairs, or of runs a side, from which a verdict may fail a build. Fewer pairs cannot be confirmed by an
/// exact test: 7 pairs that all point the same way do so by chance in 1 of 64 cases, too often for four metrics.
pub const MIN_CONFIRMED: usize = 8;

/// The margin of ratios, below which a change does not matter.
pub const MARGIN: f64 = 0.05;

/// More rounds than this are not suggested: the change is as large as the margin.
const MAX_ROUNDS: f64 = 1_000.0;

/// How the runs of both sides belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// The runs were interleaved, and each base run belongs to the new run with the same index. So drifts of the
    /// machine cancel out.
    Paired,
    /// The runs were made at different times.
    Unpaired,
}

/// One metric's values of all runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricRuns<'a> {
    /// The metric's name, for the caller.
    pub name: &'a str,
    /// Which direction is better.
    pub direction: Direction,
    /// How a change is expressed.
    pub scale: Scale,
    /// The size below which a change does not matter: a part of the base's value, or a difference of shares.
    pub margin: f64,
    /// One value per base run, in order. Values may be infinite but never negative.
    pub base: &'a [f64],
    /// One value per new run, in order.
    pub new: &'a [f64],
    /// How much each base value may exceed the true one; 0 for those that are missing.
    pub base_excess: &'a [f64],
    /// How much each new value may exceed the true one.
    pub new_excess: &'a [f64],
    /// Whether a run's value must not be relied on, for example because the run is partial. The metric is then
    /// undecided.
    pub has_bad_run: bool,
}

/// The result for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Better, beyond the margin.
    Better,
    /// Worse, beyond the margin.
    Worse,
    /// The same, within the margin.
    Same,
    /// The runs do not decide.
    Undecided,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::Undecided => "undecided",
        })
    }
}

/// Why a metric is undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A run's value must not be relied on.
    BadRun,
    /// A side has fewer runs than [`MIN_RUNS`], so the spread between runs is unknown.
    TooFewRuns,
    /// The runs would decide if their values exceeded the true ones by less.
    Excess,
    /// The interval of the change reaches across the margin.
    Spread,
    /// The change lies beyond the margin, but too few runs confirm it, as several metrics are judged at once.
    Unconfirmed,
    /// Infinite or zero values allow no interval, and the direction of the changes does not decide.
    Unbounded,
}

/// The change of one metric.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Change<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// The change from the base to the new version: a ratio or a difference, as [`Scale`] states. It may be infinite;
    /// `None` if the runs do not even show its direction.
    pub estimate: Option<f64>,
    /// The interval that contains the true change with a confidence of 95 %; `None` with too few runs, or if values are
    /// infinite or 0.
    pub interval: Option<(f64, f64)>,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason, for undecided metrics.
    pub doubt: Option<Doubt>,
    /// About how many more rounds, or runs a side, would decide; `None` if decided or if no number of rounds would.
    pub more_rounds: Option<u32>,
}

/// The changes of all metrics.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Comparison<'a> {
    /// One change per metric, in order.
    pub changes: Vec<Change<'a>>,
    /// The smaller number of runs of both sides.
    pub runs: usize,
}

/// Compares all metrics that may fail a build at once, because the number of metrics counts for the confidence.
///
/// ```
/// use peerloop_measure::{Direction, MARGIN, MetricRuns, Pairing, Scale, Verdict, compare};
///
/// let base = [410.0, 402.0, 415.0, 409.0, 398.0, 411.0, 405.0, 408.0];
/// let new = [520.0, 511.0, 530.0, 518.0, 509.0, 522.0, 516.0, 519.0];
/// let p99 = MetricRuns {
///     name: "p99",
///     direction: Direction::SmallerIsBetter,
///     scale: Scale::Ratio,
///     margin: MARGIN,
///     base: &base,
///     new: &new,
///     base_excess: &[],
///     new_excess: &[],
///     has_bad_run: false,
/// };
/// let comparison = compare(&[p99], Pairing::Paired);
/// assert_eq!(comparison.changes[0].verdict, Verdict::Worse);
/// assert!((comparison.changes[0].estimate.unwrap() - 1.27).abs() < 0.01);
/// ```
///
/// # Panics
///
/// If paired sides have different numbers of runs, a value is negative or not a number, a share is infinite, or a
/// margin is not positive.
pub fn compare<'a>(metrics: &[MetricRuns<'a>], pairing: Pairing) -> Comparison<'a> {
    let changes: Vec<Changes> = metrics.iter().map(|metric| Changes::of(metric, pairing)).collect();
    let evidence: Vec<Evidence> =
        metrics.iter().zip(&changes).map(|(metric, changes)| Evidence::of(metric, changes, pairing)).collect();
    let p_values: Vec<f64> = evidence.iter().map(|evidence| evidence.p_value).collect();
    let confirmed = holm(&p_values, 1.0 - CONFIDENCE);
    let judge = |index: usize| {
        let judgement = evidence[index].judge(&metrics[index], &changes[index], confirmed[index]);
        judgement.into_change(&metrics[index], &changes[index], metrics.len())
    };
    let runs = metrics.iter().map(|metric| metric.base.len().min(metric.new.len())).min().unwrap_or(0);
    Comparison { changes: (0..metrics.len()).map(judge).collect(), runs }
}

/// The evidence of the runs about one metric, before other metrics are considered.
struct Evidence {
    /// The interval of the change on its linear scale; `None` if the runs allow none.
    interval: Option<Interval>,
    /// The two-sided probability of runs like these if the change were no larger than the margin.
    p_value: f64,
    /// Whether the change, if it is beyond the margin, is an increase.
    is_increase: bool,
    /// Whether the change is within the margin, with and without the excesses.
    is_same: bool,
    /// Whether exact values would be within the margin or beyond it.
    would_decide: bool,
}

impl Evidence {
    fn of(metric: &MetricRuns<'_>, changes: &Changes, pairing: Pairing) -> Self {
        if changes.runs() < MIN_RUNS || metric.has_bad_run {
            return Self { interval: None, p_value: 1.0, is_increase: false, is_same: false, would_decide: false };
        }
        let exact = Bounds { least: changes, greatest: changes };
        let (p_value, is_increase) = exact.p_value();
        let interval = interval_of(changes);
        let is_same = exact.are_within_margin();
        let would_decide = is_same || p_value <= 1.0 - CONFIDENCE;
        if metric.is_exact() {
            return Self { interval, p_value, is_increase, is_same, would_decide };
        }
        let (least, greatest) = (Changes::least_of(metric, pairing), Changes::greatest_of(metric, pairing));
        let bounds = Bounds { least: &least, greatest: &greatest };
        let (p_value, is_increase) = bounds.p_value();
        Self { interval, p_value, is_increase, is_same: is_same && bounds.are_within_margin(), would_decide }
    }

    fn judge(&self, metric: &MetricRuns<'_>, changes: &Changes, is_confirmed: bool) -> Judgement {
        let doubt = |doubt| Judgement { verdict: Verdict::Undecided, doubt: Some(doubt), interval: self.interval };
        let decided = |verdict| Judgement { verdict, doubt: None, interval: self.interval };
        if metric.has_bad_run {
            return doubt(Doubt::BadRun);
        }
        if changes.runs() < MIN_RUNS {
            return doubt(Doubt::TooFewRuns);
        }
        if is_confirmed {
            return decided(changes.direction().verdict(self.is_increase));
        }
        if self.is_same {
            return decided(Verdict::Same);
        }
        match self.interval {
            _ if self.would_decide && !metric.is_exact() => doubt(Doubt::Excess),
            None => doubt(Doubt::Unbounded),
            Some(interval) if interval.is_beyond(changes.margin()) => doubt(Doubt::Unconfirmed),
            Some(_) => doubt(Doubt::Spread),
        }
    }
}

/// The smallest and the largest changes that the runs allow.
struct Bounds<'a> {
    least: &'a Changes,
    greatest: &'a Changes,
}

impl Bounds<'_> {
    /// Returns the two-sided probability of the changes if the true one were no larger than the margin, and whether
    /// they are increases.
    fn p_value(&self) -> (f64, bool) {
        let (increase, decrease) = (tail_beyond(self.least, true), tail_beyond(self.greatest, false));
        ((2.0 * increase.min(decrease)).min(1.0), increase < decrease)
    }

    fn are_within_margin(&self) -> bool {
        let is_within =
            |changes: &Changes| interval_of(changes).is_some_and(|interval| interval.is_within(changes.margin()));
        is_within(self.least) && is_within(self.greatest)
    }
}

/// Returns the interval of the changes; `None` if they are not finite.
fn interval_of(changes: &Changes) -> Option<Interval> {
    changes.is_finite().then(|| Interval::of(changes))
}

/// Returns the probability of these changes if the true one were no further beyond the margin in this direction.
fn tail_beyond(changes: &Changes, is_increase: bool) -> f64 {
    let interval = interval_of(changes);
    // Pairs are confirmed by an exact test, if they are enough for it. Without an interval, it alone decides.
    let is_tested = changes.is_paired() && changes.runs() >= MIN_CONFIRMED || interval.is_none();
    let by_spread = interval.map_or(0.0, |interval| interval.tail_beyond(is_increase, changes.margin()));
    // The larger probability counts, so a large one needs no second.
    let is_open = is_tested && by_spread <= 1.0 - CONFIDENCE;
    if is_open { by_spread.max(exact::tail_beyond(changes, is_increase)) } else { by_spread }
}

impl MetricRuns<'_> {
    /// Returns whether no value exceeds the true one.
    fn is_exact(&self) -> bool {
        self.base_excess.iter().chain(self.new_excess).all(|&excess| excess == 0.0)
    }
}

/// A verdict on one metric.
struct Judgement {
    verdict: Verdict,
    doubt: Option<Doubt>,
    interval: Option<Interval>,
}

impl Judgement {
    fn into_change<'a>(self, metric: &MetricRuns<'a>, changes: &Changes, metrics: usize) -> Change<'a> {
        let written = |value: f64| metric.scale.written(value);
        let more_rounds = match (self.doubt, self.interval) {
            (Some(Doubt::TooFewRuns), _) => Some((MIN_CONFIRMED - changes.runs().min(MIN_CONFIRMED - 1)) as u32),
            (Some(Doubt::Spread | Doubt::Unconfirmed), Some(interval)) => {
                let needed = interval.rounds(changes.margin(), metrics);
                let more = (needed - changes.runs() as f64).max(1.0);
                (needed <= MAX_ROUNDS).then_some(more.ceil() as u32)
            }
            (_, _) => None,
        };
        Change {
            name: metric.name,
            estimate: changes.estimate().map(written),
            interval: self.interval.map(|interval| (written(interval.low), written(interval.high))),
            verdict: self.verdict,
            doubt: self.doubt,
            more_rounds,
        }
    }
}

impl Comparison<'_> {
    /// Returns the verdict on all metrics together: worse if one is worse, else undecided if one is undecided, else
    /// better if one is better.
    pub fn verdict(&self) -> Verdict {
        let order = [Verdict::Worse, Verdict::Undecided, Verdict::Better];
        let has = |verdict: &Verdict| self.changes.iter().any(|change| change.verdict == *verdict);
        order.into_iter().find(has).unwrap_or(if self.changes.is_empty() { Verdict::Undecided } else { Verdict::Same })
    }

    /// Decides whether the comparison fails a build that must not be `worse`, or must not be `worse` or `undecided`.
    ///
    /// # Errors
    ///
    /// With fewer than [`MIN_CONFIRMED`] runs a side, which are too few for a build to depend on.
    pub fn fails(&self, on: FailOn) -> Result<bool, TooFewRuns> {
        if self.runs < MIN_CONFIRMED {
            return Err(TooFewRuns { runs: self.runs });
        }
        Ok(match self.verdict() {
            Verdict::Worse => true,
            Verdict::Undecided => on == FailOn::Undecided,
            Verdict::Same | Verdict::Better => false,
        })
    }
}

/// Which verdicts fail a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// Only `worse`.
    Worse,
    /// `worse` and `undecided`.
    Undecided,
}

/// A build cannot depend on so few runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewRuns {
    /// The runs of the side with fewer runs.
    pub runs: usize,
}

impl fmt::Display for TooFewRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = MIN_CONFIRMED - self.runs;
        write!(
            f,
            "a build cannot depend on {} runs a side: {MIN_CONFIRMED} are needed for a verdict that chance does not \
             decide; add {missing} more, best interleaved",
            self.runs
        )
    }
}

impl std::error::Error for TooFewRuns {}
