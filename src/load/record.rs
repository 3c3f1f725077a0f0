//! The recorder: an observer of a load's intervals and of its operations.
//!
//! A generator without a recorder keeps one row of counts per interval and nothing else. With a recorder it also keeps
//! one histogram per metric and view for the current interval, each of 352 KiB, and offers them when the interval is
//! over. If the recorder wants the operations, the generator keeps 16 bytes (in a tree) for each operation in flight.

use super::interval::Interval;
use crate::stats::histogram::LatencyHistogram;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// An observer of a load. The generator calls it on the loop's thread, so its methods must return quickly: they
/// should pass what they receive to another thread.
///
/// ```
/// use peerloop::load::{Generator, Interval, IntervalHistograms, Plan, Rate, Recorder, View};
/// use std::mem;
/// use std::sync::mpsc::{Receiver, Sender, channel};
///
/// /// Passes each interval's histograms to another thread, which returns them empty.
/// struct Passer {
///     filled: Sender<(Interval, IntervalHistograms)>,
///     cleared: Receiver<IntervalHistograms>,
/// }
///
/// impl Recorder for Passer {
///     fn on_interval(&mut self, interval: &Interval, histograms: &mut IntervalHistograms) {
///         let spare = self.cleared.try_recv().unwrap_or_else(|_| histograms.spare());
///         let _ = self.filled.send((*interval, mem::replace(histograms, spare)));
///     }
/// }
///
/// let (filled, receiver) = channel();
/// let (back, cleared) = channel();
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 10, Rate::per_second(10));
/// let generator = Generator::new(plan).with_recorder(Box::new(Passer { filled, cleared }));
/// std::thread::spawn(move || {
///     for (interval, mut histograms) in receiver {
///         let slowest = histograms.get("ping_rtt", View::Planned).and_then(|latencies| latencies.max());
///         println!("{:?}: {} replies, the slowest after {slowest:?}", interval.end, interval.answered);
///         histograms.clear();
///         let _ = back.send(histograms);
///     }
/// });
/// # drop(generator);
/// ```
pub trait Recorder: Send {
    /// Handles the begin of the counted run, once and before all other calls. A load that ends earlier never makes
    /// this call. By default does nothing.
    fn on_begin(&mut self) {}

    /// Handles the end of an interval. The intervals arrive in order, and the last ones at the end of the load. The
    /// recorder may replace `histograms` with its own [spare](IntervalHistograms::spare), or read them. Afterwards the
    /// generator clears them if they are not empty, and records the next interval in them.
    ///
    /// All intervals' histograms of a metric and view add up to the report's histogram exactly: a reply is recorded in
    /// the interval of its arrival. In contrast to the report's timeline, the counts of `interval` may still change:
    /// its `failed` contains the operations that were not sent so far.
    fn on_interval(&mut self, interval: &Interval, histograms: &mut IntervalHistograms);

    /// Handles an operation of the counted run that has ended, however it ended. Each planned operation is recorded
    /// exactly once, in the order of the ends. By default does nothing.
    fn on_operation(&mut self, operation: &OperationRecord) {
        let _ = operation;
    }

    /// Handles the end of the load, once and after all other calls, and before the report is passed on. By default does
    /// nothing.
    fn on_end(&mut self) {}

    /// Returns whether [`on_operation`](Self::on_operation) is to be called. The generator asks once, before the load.
    /// By default returns false.
    fn wants_operations(&self) -> bool {
        false
    }
}

/// The moment from which a latency is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum View {
    /// From the planned moment of an operation.
    Planned,
    /// From the moment at which the operation was sent.
    Sent,
    /// A lag of the generator itself.
    Measured,
}

impl View {
    /// Returns the name: `planned`, `sent` or `measured`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Sent => "sent",
            Self::Measured => "measured",
        }
    }
}

/// The name of the metric [`Report::send_lag`](super::Report::send_lag).
const SEND_LAG: &str = "send_lag";
/// The name of the metric [`Report::loop_lag`](super::Report::loop_lag).
const LOOP_LAG: &str = "loop_lag";

/// One interval's histograms: for each metric of the operations the views [`View::Planned`] and [`View::Sent`], and
/// the metrics `send_lag` and `loop_lag` with the view [`View::Measured`].
#[derive(Clone, Debug)]
pub struct IntervalHistograms {
    metrics: Vec<OperationHistograms>,
    send_lag: LatencyHistogram,
    loop_lag: LatencyHistogram,
}

#[derive(Clone, Debug)]
struct OperationHistograms {
    metric: &'static str,
    planned: LatencyHistogram,
    sent: LatencyHistogram,
}

impl OperationHistograms {
    fn new(metric: &'static str) -> Self {
        Self { metric, planned: LatencyHistogram::new(), sent: LatencyHistogram::new() }
    }
}

impl IntervalHistograms {
    pub(super) fn new(metrics: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            metrics: metrics.into_iter().map(OperationHistograms::new).collect(),
            send_lag: LatencyHistogram::new(),
            loop_lag: LatencyHistogram::new(),
        }
    }

    /// Returns empty histograms of the same metrics and views.
    #[must_use]
    pub fn spare(&self) -> Self {
        Self::new(self.metrics.iter().map(|metric| metric.metric))
    }

    /// Returns the histogram of a metric and view, if there is one.
    pub fn get(&self, metric: &str, view: View) -> Option<&LatencyHistogram> {
        self.iter().find(|&(name, of, _)| (name, of) == (metric, view)).map(|(_, _, histogram)| histogram)
    }

    /// Returns the histogram of a metric and view for exchanging it, if there is one.
    pub fn get_mut(&mut self, metric: &str, view: View) -> Option<&mut LatencyHistogram> {
        self.iter_mut().find(|(name, of, _)| (*name, *of) == (metric, view)).map(|(_, _, histogram)| histogram)
    }

    /// Lists the metrics, views and histograms, always in the same order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, View, &LatencyHistogram)> {
        let of_operations = self
            .metrics
            .iter()
            .flat_map(|each| [(each.metric, View::Planned, &each.planned), (each.metric, View::Sent, &each.sent)]);
        let lags = [(SEND_LAG, View::Measured, &self.send_lag), (LOOP_LAG, View::Measured, &self.loop_lag)];
        of_operations.chain(lags)
    }

    /// Lists the metrics, views and histograms for exchanging the latter, in the order of [`iter`](Self::iter).
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&'static str, View, &mut LatencyHistogram)> {
        let of_operations = self.metrics.iter_mut().flat_map(|each| {
            [(each.metric, View::Planned, &mut each.planned), (each.metric, View::Sent, &mut each.sent)]
        });
        let lags = [(SEND_LAG, View::Measured, &mut self.send_lag), (LOOP_LAG, View::Measured, &mut self.loop_lag)];
        of_operations.chain(lags)
    }

    /// Adds all samples of `other`, metric by metric. Metrics that only `other` has are added with empty histograms
    /// first.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.metrics {
            let index = self.metrics.iter().position(|ours| ours.metric == theirs.metric).unwrap_or_else(|| {
                self.metrics.push(OperationHistograms::new(theirs.metric));
                self.metrics.len() - 1
            });
            let ours = &mut self.metrics[index];
            ours.planned.merge(&theirs.planned);
            ours.sent.merge(&theirs.sent);
        }
        self.send_lag.merge(&other.send_lag);
        self.loop_lag.merge(&other.loop_lag);
    }

    /// Removes all samples and keeps the memory. Histograms without samples cost nothing.
    pub fn clear(&mut self) {
        self.iter_mut().filter(|(_, _, histogram)| histogram.count() > 0).for_each(|(_, _, full)| full.clear());
    }
}

/// One operation of the counted run that has ended. Times are measured from the start of the counted run.
///
/// ```
/// use peerloop::load::{Interval, IntervalHistograms, OperationRecord, OperationResult, Recorder};
/// use std::sync::mpsc::Sender;
///
/// /// Passes the operations that failed to another thread.
/// struct Failures(Sender<OperationRecord>);
///
/// impl Recorder for Failures {
///     fn on_interval(&mut self, _: &Interval, _: &mut IntervalHistograms) {}
///
///     fn on_operation(&mut self, operation: &OperationRecord) {
///         if operation.result != OperationResult::Answered {
///             let _ = self.0.send(*operation);
///         }
///     }
///
///     fn wants_operations(&self) -> bool {
///         true
///     }
/// }
///
/// fn print(failed: &OperationRecord) {
///     let OperationRecord { index, metric, planned, .. } = failed;
///     println!("{metric} {index}, planned {planned:?} after the start: {}", failed.result.name());
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationRecord {
    /// The operation's index in the schedule.
    pub index: u64,
    /// The index of the operation's planned connection.
    pub connection: usize,
    /// The index of the connection's target in the plan.
    pub target: usize,
    /// The metric.
    pub metric: &'static str,
    /// The planned moment.
    pub planned: Duration,
    /// The moment at which the operation was sent; `None` if it was not.
    pub sent: Option<Duration>,
    /// The moment at which the operation ended: the arrival of its reply, or the moment at which the generator gave it
    /// up. If the load ended early, this may be before the planned moment.
    pub ended: Duration,
    /// The outcome.
    pub result: OperationResult,
}

/// The outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationResult {
    /// It was sent and answered.
    Answered,
    /// It was sent, and not answered in time.
    TimedOut,
    /// It was sent, and its peer was lost before the reply.
    Lost,
    /// It was sent, and failed: for example, the peer refused it.
    Refused,
    /// It was not sent, because the run ended first.
    Unsent,
    /// It could not be sent: for example, its peer was never ready, was lost, or had too many unanswered operations.
    Absent,
}

impl OperationResult {
    /// Returns the name, for example `timed_out`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::TimedOut => "timed_out",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Unsent => "unsent",
            Self::Absent => "absent",
        }
    }
}

/// A recorder, and the data that the generator keeps for it.
pub(super) struct Recording {
    recorder: Box<dyn Recorder>,
    wants_operations: bool,
    metrics: Vec<&'static str>,
    histograms: IntervalHistograms,
    /// The index of each ping in flight by its nonce, if the recorder wants the operations.
    indices: BTreeMap<u64, u64>,
}

impl Recording {
    pub(super) fn new(recorder: Box<dyn Recorder>, metrics: Vec<&'static str>) -> Self {
        Self {
            wants_operations: recorder.wants_operations(),
            recorder,
            histograms: IntervalHistograms::new(metrics.iter().copied()),
            metrics,
            indices: BTreeMap::new(),
        }
    }

    pub(super) fn into_recorder(self) -> Box<dyn Recorder> {
        self.recorder
    }

    pub(super) fn wants_operations(&self) -> bool {
        self.wants_operations
    }

    /// Announces the begin of the counted run.
    pub(super) fn begin(&mut self) {
        self.recorder.on_begin();
    }

    /// Announces the end of the load.
    pub(super) fn end(&mut self) {
        self.recorder.on_end();
    }

    /// Records a reply in the current interval.
    pub(super) fn note_answered(&mut self, metric: usize, planned: Duration, sent: Duration) {
        let histograms = &mut self.histograms.metrics[metric];
        histograms.planned.record(planned);
        histograms.sent.record(sent);
    }

    pub(super) fn note_send_lag(&mut self, lag: Duration) {
        self.histograms.send_lag.record(lag);
    }

    pub(super) fn note_loop_lag(&mut self, lag: Duration) {
        self.histograms.loop_lag.record(lag);
    }

    /// Offers the histograms of an interval that is over, and empties them.
    pub(super) fn end_interval(&mut self, interval: &Interval) {
        self.recorder.on_interval(interval, &mut self.histograms);
        if !self.histograms.metrics.iter().map(|each| each.metric).eq(self.metrics.iter().copied()) {
            // The recorder exchanged the histograms for those of a generator with other metrics.
            self.histograms = IntervalHistograms::new(self.metrics.iter().copied());
        }
        self.histograms.clear();
    }

    /// Keeps the index of an operation that was sent as the ping `nonce`.
    pub(super) fn note_sent(&mut self, nonce: u64, index: u64) {
        if self.wants_operations {
            self.indices.insert(nonce, index);
        }
    }

    /// Returns and forgets the index of the operation that was sent as the ping `nonce`.
    pub(super) fn take_index(&mut self, nonce: u64) -> Option<u64> {
        self.indices.remove(&nonce)
    }

    pub(super) fn note_operation(&mut self, operation: &OperationRecord) {
        self.recorder.on_operation(operation);
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("wants_operations", &self.wants_operations).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn histograms_are_found_by_metric_and_view_and_listed_in_one_order() {
        let mut histograms = IntervalHistograms::new(["a", "b"]);
        histograms.get_mut("b", View::Sent).unwrap().record(MICRO);
        histograms.get_mut("loop_lag", View::Measured).unwrap().record(MICRO);
        let listed: Vec<_> =
            histograms.iter().map(|(metric, view, each)| (metric, view.name(), each.count())).collect();
        let expected = [
            ("a", "planned", 0),
            ("a", "sent", 0),
            ("b", "planned", 0),
            ("b", "sent", 1),
            ("send_lag", "measured", 0),
            ("loop_lag", "measured", 1),
        ];
        assert_eq!(listed, expected);
        let mutable: Vec<_> =
            histograms.iter_mut().map(|(metric, view, each)| (metric, view.name(), each.count())).collect();
        assert_eq!(mutable, expected);
        assert!(histograms.get("send_lag", View::Sent).is_none() && histograms.get("c", View::Sent).is_none());
    }

    #[test]
    fn a_spare_is_empty_and_of_the_same_metrics() {
        let mut histograms = IntervalHistograms::new(["a"]);
        histograms.get_mut("a", View::Planned).unwrap().record(MICRO);
        let names = |of: &IntervalHistograms| of.iter().map(|(metric, view, _)| (metric, view)).collect::<Vec<_>>();
        let mut spare = histograms.spare();
        assert_eq!(names(&spare), names(&histograms));
        assert_eq!(spare.iter().map(|(_, _, each)| each.count()).sum::<u64>(), 0);
        spare.merge(&histograms);
        spare.merge(&histograms);
        assert_eq!(spare.get("a", View::Planned).unwrap().count(), 2);
        spare.merge(&IntervalHistograms::new(["z"]));
        assert_eq!(spare.get("z", View::Sent).unwrap().count(), 0);
        spare.clear();
        assert!(spare.iter().all(|(_, _, each)| each.count() == 0));
    }

    /// A recorder that puts unsuitable histograms in place.
    struct Careless(IntervalHistograms);

    impl Recorder for Careless {
        fn on_interval(&mut self, _: &Interval, histograms: &mut IntervalHistograms) {
            std::mem::swap(histograms, &mut self.0);
        }
    }

    #[test]
    fn unsuitable_or_full_histograms_from_a_recorder_corrupt_no_later_interval() {
        let mut full = IntervalHistograms::new(["a"]);
        full.get_mut("a", View::Planned).unwrap().record(MICRO);
        for careless in [full, IntervalHistograms::new(["b", "c"]), IntervalHistograms::new([])] {
            let mut recording = Recording::new(Box::new(Careless(careless)), vec!["a"]);
            recording.end_interval(&Interval::default());
            recording.note_answered(0, MICRO, MICRO);
            recording.note_send_lag(MICRO);
            assert_eq!(recording.histograms.get("a", View::Planned).unwrap().count(), 1);
        }
    }
}
