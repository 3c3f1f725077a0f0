//! A recorder that keeps everything, and the check that this agrees with the report.

use crate::stage::{Stage, config};
use peerloop::histogram::LatencyHistogram;
use peerloop::load::{
    Interval, IntervalHistograms, OperationRecord, OperationResult, Pace, Plan, Recorder, Report, View,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Everything that a recorder received.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) intervals: Vec<Interval>,
    pub(crate) histograms: Vec<IntervalHistograms>,
    pub(crate) operations: Vec<OperationRecord>,
    pub(crate) has_ended: bool,
}

pub(crate) struct Keeper(pub(crate) Arc<Mutex<Received>>);

impl Recorder for Keeper {
    fn on_interval(&mut self, interval: &Interval, histograms: &mut IntervalHistograms) {
        let mut received = self.0.lock().unwrap();
        assert!(!received.has_ended, "an interval after the end of the load");
        received.intervals.push(*interval);
        let spare = histograms.spare();
        received.histograms.push(std::mem::replace(histograms, spare));
    }

    fn on_operation(&mut self, operation: &OperationRecord) {
        let mut received = self.0.lock().unwrap();
        assert!(!received.has_ended, "an operation after the end of the load");
        received.operations.push(*operation);
    }

    fn on_end(&mut self) {
        let mut received = self.0.lock().unwrap();
        assert!(!received.has_ended, "a second end of the load");
        received.has_ended = true;
    }

    fn wants_operations(&self) -> bool {
        true
    }
}

/// Returns a stage with a recorder, and everything that the recorder receives.
pub(crate) fn recorded(change: impl FnOnce(&mut Plan)) -> (Stage, Arc<Mutex<Received>>) {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let stage = Stage::build(config(), config(), change, |generator| generator.with_recorder(Box::new(keeper)));
    (stage, received)
}

/// Checks everything that the recorder received against the report of a load with one kind of operations.
pub(crate) fn check(report: &Report, received: &Mutex<Received>) {
    check_kinds(report, received, &[0]);
}

/// Checks everything that the recorder received against the report. `mains` are the indices of the main metrics.
pub(crate) fn check_kinds(report: &Report, received: &Mutex<Received>, mains: &[usize]) {
    let received = received.lock().unwrap();
    assert!(received.has_ended, "the recorder did not receive the end of the load");
    check_intervals(report, &received, mains);
    check_operations(report, &received.operations, mains);
    mains.iter().for_each(|&main| check_stages(report, &received.operations, main));
    let planned: u64 = report.timeline.iter().map(|interval| interval.planned).sum();
    assert!(planned == report.work.planned || report.timeline.is_empty(), "{planned} instead of {:?}", report.work);
    let broken: u64 = report.timeline.iter().map(|interval| interval.broken).sum();
    let has_failed = |each: &&OperationRecord| matches!(each.result, OperationResult::Refused | OperationResult::Lost);
    assert_eq!(broken, received.operations.iter().filter(has_failed).count() as u64);
}

fn check_intervals(report: &Report, received: &Received, mains: &[usize]) {
    let mut total = received.histograms.first().map(IntervalHistograms::spare);
    for histograms in &received.histograms {
        total.as_mut().unwrap().merge(histograms);
    }
    let of_operations = report
        .operations
        .iter()
        .flat_map(|each| [(each.metric, View::Planned, &each.planned), (each.metric, View::Sent, &each.sent)]);
    let lags = [("send_lag", View::Measured, &report.send_lag), ("loop_lag", View::Measured, &report.loop_lag)];
    let expected: Vec<_> = of_operations.chain(lags).collect();
    if let Some(total) = total {
        let listed: Vec<_> = total.iter().map(|(metric, view, _)| (metric, view)).collect();
        assert_eq!(listed, expected.iter().map(|&(metric, view, _)| (metric, view)).collect::<Vec<_>>());
        for ((metric, view, sum), (_, _, expected)) in total.iter().zip(expected) {
            assert_eq!(sum.as_hdr(), expected.as_hdr(), "{metric} {view:?}");
        }
    }
    let ends = |intervals: &[Interval]| intervals.iter().map(|interval| interval.end).collect::<Vec<_>>();
    assert_eq!(ends(&received.intervals), ends(&report.timeline));
    for (index, (live, last)) in received.intervals.iter().zip(&report.timeline).enumerate() {
        // Only a schedule without exceptions is known before its operations are started.
        let planned = |row: &Interval| (report.pace == Pace::Scheduled).then_some(row.planned);
        let counts =
            |row: &Interval| (planned(row), row.answered, row.broken, row.p50, row.p99, row.max, row.peers, row.lost);
        assert_eq!(counts(live), counts(last), "interval {index}");
        let of_main = |&main: &usize| received.histograms[index].get(report.operations[main].metric, View::Planned);
        let planned: u64 = mains.iter().filter_map(of_main).map(LatencyHistogram::count).sum();
        assert_eq!(planned, last.answered, "interval {index}");
    }
}

fn check_operations(report: &Report, operations: &[OperationRecord], mains: &[usize]) {
    let mut counts = BTreeMap::new();
    for (position, operation) in operations.iter().enumerate() {
        *counts.entry(operation.result.name()).or_insert(0) += 1;
        let is_sent = match operation.result {
            OperationResult::Answered => true,
            OperationResult::Unsent | OperationResult::Absent => false,
            _ => operation.sent.is_some(),
        };
        assert_eq!(operation.sent.is_some(), is_sent, "{operation:?}");
        if let Some(sent) = operation.sent {
            assert!(operation.planned <= sent && sent <= operation.ended, "{operation:?}");
        }
        assert!(mains.iter().any(|&main| report.operations[main].metric == operation.metric), "{operation:?}");
        assert_eq!(operation.target, operation.connection % report.targets.len());
        assert!(position == 0 || operations[position - 1].ended <= operation.ended, "{operation:?}");
    }
    let mut indices: Vec<u64> = operations.iter().map(|operation| operation.index).collect();
    indices.sort_unstable();
    indices.dedup();
    assert_eq!(indices.len() as u64, report.work.planned, "{counts:?}");
    if report.pace != Pace::PerLivingPeer {
        assert_eq!(indices, (0..report.work.planned).collect::<Vec<_>>(), "{counts:?}");
    }
    // Operations that open their own connections need no ramp.
    if report.pace != Pace::Max && report.ramp.dialled > 0 {
        let is_owner = |of: &OperationRecord| of.connection as u64 == of.index % report.peers.asked as u64;
        assert!(operations.iter().all(is_owner));
    }
    let count = |result: OperationResult| counts.get(result.name()).copied().unwrap_or(0);
    let work = report.work;
    assert_eq!(count(OperationResult::Answered), work.answered);
    assert_eq!(count(OperationResult::Refused), work.refused);
    assert_eq!(count(OperationResult::TimedOut) + count(OperationResult::Lost) + work.refused, work.timed_out);
    assert_eq!(
        (count(OperationResult::Unsent), count(OperationResult::Absent)),
        (work.unsent - work.absent, work.absent)
    );
}

/// Checks that the stages add up to the totals, and that each has the operations of its time.
fn check_stages(report: &Report, operations: &[OperationRecord], main: usize) {
    let mut total = LatencyHistogram::new();
    for stage in &report.stages {
        let of_kind = &stage.operations[main];
        total.merge(&of_kind.planned);
        let is_within =
            |each: &&OperationRecord| each.metric == of_kind.metric && (stage.begin..stage.end).contains(&each.planned);
        let within: Vec<_> = operations.iter().filter(is_within).collect();
        let work = of_kind.work;
        assert_eq!(work.planned, within.len() as u64, "{stage:?}");
        let answered = within.iter().filter(|each| each.result == OperationResult::Answered).count() as u64;
        assert_eq!((work.answered, of_kind.planned.count()), (answered, answered), "{stage:?}");
        assert_eq!(work.sent, work.answered + work.timed_out, "{stage:?}");
    }
    assert_eq!(total.as_hdr(), report.operations[main].planned.as_hdr());
}
