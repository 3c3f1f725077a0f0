//! The judgement of a threshold, interval by interval.
//!
//! A threshold without windows is judged over all operations. With windows, every window has to hold at least
//! [`MIN_WINDOW_OPERATIONS`] operations and to fulfil the condition, so a target that answers nothing for a while
//! never passes. A metric without any operation is never a pass, with any limit.

use super::{Function, Threshold};
use crate::tally::Tally;
use std::collections::VecDeque;
use std::time::Duration;

/// The number of operations, failed ones included, that a window needs.
pub const MIN_WINDOW_OPERATIONS: u64 = 100;

/// How many windows in a row have to fail before a run is aborted: one may be an accident.
const FAILING_WINDOWS: u32 = 2;

/// The result of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition is fulfilled.
    Pass,
    /// The condition is not fulfilled.
    Fail,
    /// Too little was measured, which counts like a failure.
    NoData,
}

/// The judgement of a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Judgement {
    /// The result.
    pub outcome: Outcome,
    /// The value of the threshold's function, of the worst window if there are windows. It may be infinite; `None` if
    /// there were no operations.
    pub value: Option<f64>,
    /// The windows; `None` for a threshold without them.
    pub windows: Option<Windows>,
}

impl Judgement {
    /// Returns whether the threshold is fulfilled. Without data it is not.
    pub fn is_pass(&self) -> bool {
        self.outcome == Outcome::Pass
    }
}

/// The windows of a judgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Windows {
    /// All windows.
    pub count: u64,
    /// The windows that did not fulfil the condition.
    pub failed: u64,
    /// The windows with too few operations.
    pub without_data: u64,
    /// When the window with the worst value began, after the first interval's begin.
    pub worst_begin: Option<Duration>,
}

/// Judges one threshold while intervals arrive.
///
/// ```
/// use peerloop_measure::{Outcome, Tally, Watch};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let mut watch = Watch::new("ping_rtt:p99<20ms over 2s".parse().unwrap());
/// for latency in [5_000_000, 30_000_000, 30_000_000, 30_000_000] {
///     watch.push(&Tally::from_counts([(latency, 100)], 0), second);
/// }
/// assert!(watch.must_abort(second) && !watch.must_abort(3 * second));
/// let judgement = watch.judgement();
/// assert_eq!((judgement.outcome, judgement.value), (Outcome::Fail, Some(30e6)));
/// assert_eq!(judgement.windows.unwrap().failed, 3);
/// ```
#[derive(Clone, Debug)]
pub struct Watch {
    threshold: Threshold,
    /// The intervals of the current window; unused without windows.
    window: VecDeque<(Tally, Duration)>,
    /// The sum of the current window, or of all intervals.
    sum: Tally,
    /// The time that `sum` covers.
    sum_time: Duration,
    /// The time of all intervals.
    time: Duration,
    windows: Windows,
    /// The value of the worst window with enough operations.
    worst: Option<f64>,
    /// The begins of the latest windows in a row that failed, at most as many as an abort needs.
    failing: VecDeque<Duration>,
}

impl Watch {
    /// Returns a watch that has seen no interval.
    pub fn new(threshold: Threshold) -> Self {
        Self {
            threshold,
            window: VecDeque::new(),
            sum: Tally::default(),
            sum_time: Duration::ZERO,
            time: Duration::ZERO,
            windows: Windows::default(),
            worst: None,
            failing: VecDeque::new(),
        }
    }

    /// Returns the threshold.
    pub fn threshold(&self) -> &Threshold {
        &self.threshold
    }

    /// Adds the next interval, of this length. Give only intervals of the threshold's metric, view and stage.
    pub fn push(&mut self, interval: &Tally, length: Duration) {
        self.sum.add(interval);
        self.sum_time += length;
        self.time += length;
        match self.threshold.over {
            None => self.judge_so_far(),
            Some(over) => {
                self.window.push_back((interval.clone(), length));
                self.shrink_window(over);
                if self.sum_time >= over {
                    self.judge_window();
                }
            }
        }
    }

    /// Removes the oldest intervals that the window does not need.
    fn shrink_window(&mut self, over: Duration) {
        while let Some((oldest, length)) = self.window.front()
            && self.sum_time - *length >= over
        {
            self.sum.remove(oldest);
            self.sum_time -= *length;
            self.window.pop_front();
        }
    }

    fn judge_window(&mut self) {
        let begin = self.time - self.sum_time;
        let (outcome, value) = self.judge_sum(MIN_WINDOW_OPERATIONS);
        self.windows.count += 1;
        match outcome {
            Outcome::Pass => {}
            Outcome::Fail => self.windows.failed += 1,
            Outcome::NoData => self.windows.without_data += 1,
        }
        if let Some(value) = value.filter(|_| outcome != Outcome::NoData)
            && self.worst.is_none_or(|worst| self.is_worse(value, worst))
        {
            self.worst = Some(value);
            self.windows.worst_begin = Some(begin);
        }
        self.note(outcome != Outcome::Pass, begin);
    }

    /// Judges all operations so far, for an abort. The count of operations only grows, so it fails early only if it is
    /// already too large.
    fn judge_so_far(&mut self) {
        let (outcome, _) = self.judge_sum(1);
        let may_recover = self.threshold.function == Function::Count && !self.threshold.relation.wants_small();
        self.note(outcome == Outcome::Fail && !may_recover, self.time);
    }

    fn note(&mut self, is_failing: bool, begin: Duration) {
        if !is_failing {
            self.failing.clear();
            return;
        }
        if self.failing.len() == FAILING_WINDOWS as usize {
            self.failing.pop_front();
        }
        self.failing.push_back(begin);
    }

    fn judge_sum(&self, min_operations: u64) -> (Outcome, Option<f64>) {
        let value = self.threshold.function.of(&self.sum, self.sum_time);
        let outcome = match value {
            Some(value) if self.sum.total() >= min_operations => {
                let holds = self.threshold.relation.holds(value, self.threshold.limit);
                if holds { Outcome::Pass } else { Outcome::Fail }
            }
            Some(_) | None => Outcome::NoData,
        };
        (outcome, value)
    }

    fn is_worse(&self, value: f64, than: f64) -> bool {
        if self.threshold.relation.wants_small() { value > than } else { value < than }
    }

    /// Returns whether the last two windows failed, both begun `grace` after the first interval's begin or later. A
    /// window without enough operations fails. Without windows, every interval after `grace` is judged together with
    /// all before it.
    pub fn must_abort(&self, grace: Duration) -> bool {
        self.failing.len() == FAILING_WINDOWS as usize && self.failing.iter().all(|&begin| begin >= grace)
    }

    /// Returns the judgement of the intervals so far.
    pub fn judgement(&self) -> Judgement {
        if self.threshold.over.is_none() {
            let (outcome, value) = self.judge_sum(1);
            return Judgement { outcome, value, windows: None };
        }
        let outcome = match self.windows {
            Windows { failed: 1.., .. } => Outcome::Fail,
            Windows { count: 0, .. } | Windows { without_data: 1.., .. } => Outcome::NoData,
            Windows { .. } => Outcome::Pass,
        };
        Judgement { outcome, value: self.worst, windows: Some(self.windows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch(text: &str, intervals: &[(u64, u64, u64)]) -> Watch {
        let mut watch = Watch::new(text.parse().expect("the threshold is valid"));
        for &(latency, count, failed) in intervals {
            watch.push(&Tally::from_counts([(latency, count)], failed), SECOND);
        }
        watch
    }

    fn judged(text: &str, intervals: &[(u64, u64, u64)]) -> (Outcome, Option<f64>) {
        let judgement = watch(text, intervals).judgement();
        assert_eq!(judgement.is_pass(), judgement.outcome == Outcome::Pass);
        (judgement.outcome, judgement.value)
    }

    #[test]
    fn a_metric_without_operations_passes_nothing() {
        for text in ["a:p99<1h", "a:max<1h", "a:mean<1h", "a:count<1k", "a:rate<1k", "a:failed<1", "a:count>=0"] {
            assert_eq!(judged(text, &[]), (Outcome::NoData, None), "{text}");
            assert_eq!(judged(text, &[(1, 0, 0)]), (Outcome::NoData, None), "{text}");
            assert_eq!(judged(&format!("{text} over 1s"), &[(1, 0, 0); 5]), (Outcome::NoData, None), "{text}");
        }
    }

    #[test]
    fn failed_operations_fail_every_latency() {
        let one_of_1000 = [(10, 999, 1)];
        assert_eq!(judged("a:p99<20ns", &one_of_1000), (Outcome::Pass, Some(10.0)));
        assert_eq!(judged("a:p99.95<20ns", &one_of_1000), (Outcome::Fail, Some(f64::INFINITY)));
        assert_eq!(judged("a:max<1h", &one_of_1000), (Outcome::Fail, Some(f64::INFINITY)));
        assert_eq!(judged("a:mean<1h", &one_of_1000), (Outcome::Fail, Some(f64::INFINITY)));
        assert_eq!(judged("a:failed<=0.1%", &one_of_1000), (Outcome::Pass, Some(0.001)));
        assert_eq!(judged("a:failed<0.1%", &one_of_1000), (Outcome::Fail, Some(0.001)));
    }

    #[test]
    fn counts_and_rates_are_those_of_answered_operations() {
        let seconds = [(10, 500, 5), (10, 300, 0)];
        assert_eq!(judged("a:count>=800", &seconds), (Outcome::Pass, Some(800.0)));
        assert_eq!(judged("a:rate>400", &seconds), (Outcome::Fail, Some(400.0)));
        assert_eq!(judged("a:rate>=400/s", &seconds), (Outcome::Pass, Some(400.0)));
        assert_eq!(judged("a:rate>=400/s over 1s", &seconds), (Outcome::Fail, Some(300.0)));
    }

    #[test]
    fn every_window_has_to_pass() {
        let mut seconds = vec![(10, 1_000, 0); 10];
        seconds[6].0 = 90;
        assert_eq!(judged("a:p50<50ns", &seconds), (Outcome::Pass, Some(10.0)));
        assert_eq!(judged("a:p50<50ns over 1s", &seconds), (Outcome::Fail, Some(90.0)));
        assert_eq!(judged("a:p50<50ns over 3s", &seconds), (Outcome::Pass, Some(10.0)));
        let windows = watch("a:p50<50ns over 1s", &seconds).judgement().windows.unwrap();
        assert_eq!((windows.count, windows.failed, windows.worst_begin), (10, 1, Some(6 * SECOND)));
        // No window is as long as this.
        assert_eq!(judged("a:p50<50ns over 11s", &seconds), (Outcome::NoData, None));
    }

    #[test]
    fn a_window_with_too_few_operations_is_no_pass() {
        let seconds = [(10, 60, 0), (10, 60, 0), (10, 39, 0)];
        assert_eq!(judged("a:p50<50ns over 2s", &seconds).0, Outcome::NoData);
        assert_eq!(judged("a:p50<50ns over 3s", &seconds), (Outcome::Pass, Some(10.0)));
        // Failed operations are operations.
        assert_eq!(judged("a:p50<50ns over 1s", &[(10, 60, 40)]), (Outcome::Pass, Some(10.0)));
        // A window that failed is the clearer reason.
        assert_eq!(judged("a:p50<50ns over 1s", &[(90, 100, 0), (10, 1, 0)]).0, Outcome::Fail);
    }

    #[test]
    fn a_window_is_rounded_up_to_whole_intervals() {
        let mut watch = Watch::new("a:count>=100 over 1500ms".parse().unwrap());
        for _ in 0..4 {
            watch.push(&Tally::from_counts([(1, 100)], 0), SECOND);
        }
        // The last interval of a run may be short.
        watch.push(&Tally::from_counts([(1, 50)], 0), Duration::from_millis(500));
        let judgement = watch.judgement();
        assert_eq!((judgement.windows.unwrap().count, judgement.value), (4, Some(150.0)));
    }

    #[test]
    fn an_abort_needs_two_failing_windows_in_a_row_after_the_grace() {
        let (good, bad) = ((10, 100, 0), (90, 100, 0));
        let aborts = |grace: u32, intervals: &[_]| watch("a:p50<50ns over 1s", intervals).must_abort(grace * SECOND);
        assert!(!aborts(0, &[bad]) && !aborts(0, &[bad, good, bad]) && aborts(0, &[bad, bad]));
        assert!(!aborts(0, &[bad, bad, good]));
        assert!(aborts(1, &[bad, bad, bad]) && !aborts(2, &[bad, bad, bad]) && aborts(2, &[bad, bad, bad, bad]));
        // A target that answers nothing fails its windows.
        assert!(aborts(0, &[good, (1, 0, 0), (1, 0, 0)]));
    }

    #[test]
    fn an_abort_without_windows_judges_everything_so_far() {
        let (good, bad) = ((10, 100, 0), (90, 100, 0));
        let aborts = |text: &str, intervals: &[_]| watch(text, intervals).must_abort(Duration::ZERO);
        assert!(!aborts("a:p50<50ns", &[good, bad, bad]) && aborts("a:p50<50ns", &[good, bad, bad, bad]));
        // Nothing is measured yet.
        assert!(!aborts("a:p50<50ns", &[(1, 0, 0); 3]));
        // More operations may follow.
        assert!(!aborts("a:count>=1k", &[good, good, good]));
        assert!(aborts("a:count<150", &[good, good, good]));
    }

    proptest! {
        #[test]
        fn windows_are_those_of_a_naive_model(
            intervals in prop::collection::vec((1_u64..40, 0_u64..120, 0_u64..3, 1_u64..4), 0..30),
            over in 1_u64..8,
            function in 0_usize..6,
            small in any::<bool>(),
        ) {
            let name = ["p90", "max", "mean", "count", "rate", "failed"][function];
            let (limit, sign) = (["20ns", "20ns", "20ns", "90", "90", "1%"][function], if small { "<=" } else { ">=" });
            let threshold: Threshold = format!("a:{name}{sign}{limit} over {over}s").parse().unwrap();
            let mut watch = Watch::new(threshold.clone());
            type Interval = (u64, u64, u64, u64);
            let tally = |&(value, count, failed, _): &Interval| Tally::from_counts([(value, count)], failed);
            let (mut failed, mut without, mut count, mut values) = (0, 0, 0, Vec::new());
            for (end, interval) in intervals.iter().enumerate() {
                watch.push(&tally(interval), Duration::from_secs(interval.3));
                // The latest begin from which the window is long enough.
                let time = |begin: usize| intervals[begin..=end].iter().map(|interval| interval.3).sum::<u64>();
                let Some(begin) = (0..=end).rev().find(|&begin| time(begin) >= over) else { continue };
                let mut sum = Tally::default();
                intervals[begin..=end].iter().for_each(|interval| sum.add(&tally(interval)));
                count += 1;
                match threshold.function.of(&sum, Duration::from_secs(time(begin))) {
                    Some(value) if sum.total() >= MIN_WINDOW_OPERATIONS => {
                        values.push(value);
                        failed += u64::from(!threshold.relation.holds(value, threshold.limit));
                    }
                    Some(_) | None => without += 1,
                }
            }
            let judgement = watch.judgement();
            let windows = judgement.windows.unwrap();
            prop_assert_eq!((windows.count, windows.failed, windows.without_data), (count, failed, without));
            let worst = values.into_iter().reduce(if small { f64::max } else { f64::min });
            prop_assert_eq!(judgement.value, worst);
            prop_assert_eq!(judgement.is_pass(), count > 0 && failed == 0 && without == 0);
        }
    }
}
