//! The part of a run document that a search for the highest load writes.

use crate::output::json::Nanos;
use serde::{Deserialize, Serialize};

/// The least growth of the 99th percentile, from the knee to the highest load.
const MIN_GROWTH: f64 = 3.0;

/// The growth of the 99th percentile, from its largest value on, that operations without a reply stand for.
const FAILED_GROWTH: f64 = 10.0;

/// Minimum number of loads of a curve with a knee.
const MIN_LOADS: usize = 4;

/// The search of `bench --find-max`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Search {
    /// The goal as typed.
    pub(crate) goal: String,
    pub(crate) what: What,
    /// The first and the highest load of the range.
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) width: f64,
    pub(crate) time_ns: Nanos,
    pub(crate) answer: Answer,
    /// The limit of the load; `None` if the target meets the goal at no load that was tried.
    pub(crate) limit: Option<Bound>,
    /// The highest load that meets the goal; `None` without an answer.
    pub(crate) load: Option<u64>,
    /// The lowest load above it that does not. Without an answer because of the generator, the lowest load at which the
    /// target fails.
    pub(crate) above: Option<u64>,
    /// The answer in one line.
    pub(crate) reason: String,
    pub(crate) end: End,
    pub(crate) confirmations: u64,
    pub(crate) confirmations_required: u64,
    /// The time of all trials and recoveries.
    pub(crate) spent_ns: Nanos,
    /// The load from which latencies grow fast.
    pub(crate) knee: Option<u64>,
    pub(crate) trials: Vec<Trial>,
}

/// The quantity that is searched.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// Operations per second.
    Rate,
    Peers,
}

/// The kind of a search's answer.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The highest load of the target.
    Number,
    /// A load that the target copes with; its limit is higher.
    AtLeast,
    /// No load that was tried meets the goal.
    Nothing,
}

/// The bound of a search from above.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    Node,
    Generator,
    Range,
    Time,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The gap is as narrow as required, and the answer is confirmed.
    Narrow,
    Time,
    /// After an overload, the target still had unanswered operations.
    NotRecovered,
    /// The user or the load ended the search before.
    Stopped,
}

/// One trial of a load.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Trial {
    pub(crate) load: u64,
    pub(crate) purpose: Purpose,
    /// The begin after the settling time, from the begin of the counted part.
    pub(crate) begin_ns: Nanos,
    pub(crate) duration_ns: Nanos,
    pub(crate) planned: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) missing_peers: u64,
    /// Percentiles of all operations; `None` without data, or if they fall among operations without a reply.
    pub(crate) p50_ns: Option<u64>,
    pub(crate) p99_ns: Option<u64>,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    /// Why the generator was not trusted, even if that could not change the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distrust: Option<String>,
}

/// Why a trial was made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    Climb,
    Descend,
    Bisect,
    Decide,
    Recheck,
    Confirm,
}

/// The verdict of a trial on its load.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Pass,
    Fail,
    /// More time is needed; the estimates meet the goal.
    RatherPass,
    /// More time is needed; an estimate misses the goal.
    RatherFail,
    /// The generator was not trusted.
    Generator,
}

impl Trial {
    /// Computes the replies per second.
    pub(crate) fn achieved_per_s(&self) -> f64 {
        self.answered as f64 / self.duration_ns.0.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Search {
    /// Counts the trials that count although their generator was late.
    pub(crate) fn late_trials(&self) -> usize {
        let counts = |trial: &&Trial| trial.distrust.is_some() && trial.verdict != Verdict::Generator;
        self.trials.iter().filter(counts).count()
    }

    /// Returns the last trial of each load, in the order of the loads: the curve of latency over load.
    pub(crate) fn curve(&self) -> Vec<&Trial> {
        let mut curve: Vec<&Trial> = Vec::new();
        for trial in self.trials.iter().filter(|trial| trial.verdict != Verdict::Generator) {
            match curve.binary_search_by_key(&trial.load, |one| one.load) {
                Ok(index) => curve[index] = trial,
                Err(index) => curve.insert(index, trial),
            }
        }
        curve
    }

    /// Finds the load from which the 99th percentile grows fast: the one farthest below the line from the first point
    /// of the curve to the last, with both axes logarithmic. Returns `None` for a curve without such a bend, or that
    /// hardly grows after it.
    pub(crate) fn find_knee(&self) -> Option<u64> {
        let curve = self.curve();
        let slowest = curve.iter().filter_map(|trial| trial.p99_ns).max()? as f64;
        let mut highest = 0.0_f64;
        let points: Vec<(f64, f64)> = curve
            .iter()
            .map(|trial| {
                highest = highest.max(trial.p99_ns.map_or(FAILED_GROWTH * slowest, |p99| p99.max(1) as f64));
                ((trial.load as f64).ln(), highest.ln())
            })
            .collect();
        let (&(first_x, first_y), &(last_x, last_y)) = points.first().zip(points.last())?;
        if points.len() < MIN_LOADS || last_y <= first_y {
            return None;
        }
        let below = |&(x, y): &(f64, f64)| (x - first_x) / (last_x - first_x) - (y - first_y) / (last_y - first_y);
        let farthest =
            (0..points.len()).max_by(|&one, &other| below(&points[one]).total_cmp(&below(&points[other])))?;
        (last_y - points[farthest].1 >= MIN_GROWTH.ln()).then(|| curve[farthest].load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn trial(load: u64, p99_us: Option<u64>) -> Trial {
        Trial {
            load,
            purpose: Purpose::Climb,
            begin_ns: Nanos(Duration::ZERO),
            duration_ns: Nanos(Duration::from_secs(2)),
            planned: 2 * load,
            answered: 2 * load,
            failed: 0,
            missing_peers: 0,
            p50_ns: Some(100_000),
            p99_ns: p99_us.map(|micros| micros * 1_000),
            verdict: Verdict::Pass,
            reason: String::new(),
            distrust: None,
        }
    }

    fn search(trials: &[(u64, Option<u64>)]) -> Search {
        Search {
            goal: "ping_rtt:p99<50ms".to_owned(),
            what: What::Rate,
            low: 1_000,
            high: 100_000,
            width: 0.02,
            time_ns: Nanos(Duration::from_secs(300)),
            answer: Answer::Nothing,
            limit: None,
            load: None,
            above: None,
            reason: String::new(),
            end: End::Narrow,
            confirmations: 0,
            confirmations_required: 3,
            spent_ns: Nanos(Duration::ZERO),
            knee: None,
            trials: trials.iter().map(|&(load, p99)| trial(load, p99)).collect(),
        }
    }

    #[test]
    fn the_curve_has_the_last_trial_of_each_load() {
        let mut search =
            search(&[(1_000, Some(5)), (4_000, None), (2_000, Some(7)), (1_000, Some(6)), (8_000, Some(9))]);
        search.trials[4].verdict = Verdict::Generator;
        let curve: Vec<_> = search.curve().iter().map(|trial| (trial.load, trial.p99_ns)).collect();
        assert_eq!(curve, [(1_000, Some(6_000)), (2_000, Some(7_000)), (4_000, None)]);
        assert_eq!(search.trials[0].achieved_per_s(), 1_000.0);
    }

    #[test]
    fn the_knee_is_the_last_load_before_latencies_grow_fast() {
        let cliff = [(1_000, Some(200)), (2_000, Some(210)), (4_000, Some(190)), (8_000, Some(230)), (16_000, None)];
        assert_eq!(search(&cliff).find_knee(), Some(8_000));
        let queue =
            [(1_000, Some(200)), (4_000, Some(210)), (8_000, Some(220)), (9_000, Some(900)), (9_500, Some(30_000))];
        assert_eq!(search(&queue).find_knee(), Some(8_000));
    }

    #[test]
    fn a_flat_or_short_curve_has_no_knee() {
        let flat = [(1_000, Some(200)), (2_000, Some(210)), (4_000, Some(250)), (8_000, Some(400))];
        assert_eq!(search(&flat).find_knee(), None);
        // One slow trial at a low load.
        let noisy =
            [(100, Some(5)), (200, Some(25)), (400, Some(11)), (800, Some(19)), (856, Some(14)), (1_600, Some(17))];
        assert_eq!(search(&noisy).find_knee(), None);
        assert_eq!(search(&[(1_000, Some(200)), (2_000, Some(900)), (4_000, None)]).find_knee(), None);
        assert_eq!(search(&[]).find_knee(), None);
        assert_eq!(search(&[(1_000, None); 9]).find_knee(), None);
    }
}
