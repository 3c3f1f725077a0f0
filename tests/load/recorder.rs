//! The recorder: its intervals add up to the totals exactly, and it receives every planned operation exactly once.

use crate::stage::{Stage, config};
use peerloop::api::Pending;
use peerloop::histogram::LatencyHistogram;
use peerloop::load::{
    GeneratorRequest, Interval, IntervalHistograms, OperationRecord, OperationResult, Plan, Recorder, Report, View,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Everything that a recorder received.
#[derive(Default)]
struct Received {
    intervals: Vec<Interval>,
    histograms: Vec<IntervalHistograms>,
    operations: Vec<OperationRecord>,
}

struct Keeper(Arc<Mutex<Received>>);

impl Recorder for Keeper {
    fn on_interval(&mut self, interval: &Interval, histograms: &mut IntervalHistograms) {
        let mut received = self.0.lock().unwrap();
        received.intervals.push(*interval);
        let spare = histograms.spare();
        received.histograms.push(std::mem::replace(histograms, spare));
    }

    fn on_operation(&mut self, operation: &OperationRecord) {
        self.0.lock().unwrap().operations.push(*operation);
    }

    fn wants_operations(&self) -> bool {
        true
    }
}

fn recorded(change: impl FnOnce(&mut Plan)) -> (Stage, Arc<Mutex<Received>>) {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let stage = Stage::build(config(), config(), change, |generator| generator.with_recorder(Box::new(keeper)));
    (stage, received)
}

/// Checks everything that the recorder received against the report.
fn check(report: &Report, received: &Mutex<Received>) {
    let received = received.lock().unwrap();
    check_intervals(report, &received);
    check_operations(report, &received.operations);
}

fn check_intervals(report: &Report, received: &Received) {
    let mut total = received.histograms.first().map(IntervalHistograms::spare);
    for histograms in &received.histograms {
        total.as_mut().unwrap().merge(histograms);
    }
    let expected = [
        ("ping_rtt", View::Planned, &report.operations[0].planned),
        ("ping_rtt", View::Sent, &report.operations[0].sent),
        ("send_lag", View::Measured, &report.send_lag),
        ("loop_lag", View::Measured, &report.loop_lag),
    ];
    if let Some(total) = total {
        let listed: Vec<_> = total.iter().map(|(metric, view, _)| (metric, view)).collect();
        assert_eq!(listed, expected.map(|(metric, view, _)| (metric, view)));
        for ((metric, view, sum), (_, _, expected)) in total.iter().zip(expected) {
            assert_eq!(sum.as_hdr(), expected.as_hdr(), "{metric} {view:?}");
        }
    }
    let ends = |intervals: &[Interval]| intervals.iter().map(|interval| interval.end).collect::<Vec<_>>();
    assert_eq!(ends(&received.intervals), ends(&report.timeline));
    for (index, (live, last)) in received.intervals.iter().zip(&report.timeline).enumerate() {
        let counts = |row: &Interval| (row.planned, row.answered, row.p50, row.p99, row.max, row.peers, row.lost);
        assert_eq!(counts(live), counts(last), "interval {index}");
        let planned = received.histograms[index].get("ping_rtt", View::Planned).map(LatencyHistogram::count);
        assert_eq!(planned, Some(last.answered), "interval {index}");
    }
}

fn check_operations(report: &Report, operations: &[OperationRecord]) {
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
        assert_eq!((operation.metric, operation.target), ("ping_rtt", operation.connection % report.targets.len()));
        assert_eq!(operation.connection as u64, operation.index % report.peers.asked as u64);
        assert!(position == 0 || operations[position - 1].ended <= operation.ended, "{operation:?}");
    }
    let mut indices: Vec<u64> = operations.iter().map(|operation| operation.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..report.work.planned).collect::<Vec<_>>(), "{counts:?}");
    let count = |result: OperationResult| counts.get(result.name()).copied().unwrap_or(0);
    let work = report.work;
    assert_eq!(count(OperationResult::Answered), work.answered);
    assert_eq!(count(OperationResult::TimedOut) + count(OperationResult::Lost), work.timed_out);
    assert_eq!(
        (count(OperationResult::Unsent), count(OperationResult::Absent)),
        (work.unsent - work.absent, work.absent)
    );
}

#[test]
fn a_run_without_failures_is_recorded_completely() {
    let (stage, received) = recorded(|_| ());
    let report = stage.finish();
    check(&report, &received);
    let received = received.lock().unwrap();
    assert_eq!((received.intervals.len(), received.operations.len()), (100, 1_000));
    let [first, .., last] = &received.operations[..] else { panic!("fewer than two operations") };
    assert_eq!((first.index, first.planned), (0, Duration::ZERO));
    assert_eq!((last.index, last.connection, last.planned), (999, 9, Duration::from_millis(9_990)));
    assert_eq!(report.stages.len(), 1);
    assert_eq!(report.stages[0].operations[0].planned.as_hdr(), report.operations[0].planned.as_hdr());
    assert_eq!(report.stages[0].operations[0].work, report.work);
}

#[test]
fn the_intervals_end_in_time_even_if_nothing_else_happens() {
    let (mut stage, received) = recorded(|plan| {
        plan.rate = peerloop::load::Rate::ZERO;
        plan.warmup = Duration::ZERO;
    });
    stage.run_for(Duration::from_millis(450 + 555));
    assert_eq!(received.lock().unwrap().intervals.len(), 5);
    check(&stage.finish(), &received);
}

#[test]
fn pings_of_a_lost_node_are_recorded_as_lost_and_later_ones_as_absent() {
    let (mut stage, received) = recorded(|plan| plan.warmup = Duration::ZERO);
    stage.run_for(Duration::from_millis(450 + 3_000));
    stage.stall_node(Duration::from_millis(505));
    stage.node.handle().stop().unwrap();
    let report = stage.finish();
    check(&report, &received);
    let operations = &received.lock().unwrap().operations;
    let lost = operations.iter().filter(|operation| operation.result == OperationResult::Lost).count() as u64;
    assert_eq!((lost, report.work.planned), (report.work.timed_out, 1_000));
    assert!(operations.iter().any(|operation| operation.ended < operation.planned), "no operation was given up early");
}

#[test]
fn pings_without_a_pong_are_recorded_as_timed_out() {
    let (mut stage, received) = recorded(|plan| plan.rate = peerloop::load::Rate::per_second(500));
    stage.run_for(Duration::from_millis(1_450 + 5_000));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    assert!(report.work.timed_out > 2_000 && report.work.absent == 0, "{:?}", report.work);
    check(&report, &received);
}

#[test]
fn pings_beyond_a_peers_maximum_in_flight_are_recorded_as_absent() {
    let (mut stage, received) = recorded(|plan| plan.rate = peerloop::load::Rate::per_second(1_000));
    stage.run_for(Duration::from_millis(1_500));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    assert!(report.work.timed_out > 1_000 && report.work.absent > 1_000, "{:?}", report.work);
    check(&report, &received);
}

#[test]
fn every_ping_of_a_generator_that_stalls_at_the_end_is_recorded() {
    let (mut stage, received) = recorded(|plan| plan.rate = peerloop::load::Rate::per_second(2_000));
    stage.run_for(Duration::from_millis(10_000));
    stage.stall_generator(Duration::from_millis(3_000));
    let report = stage.finish();
    assert!(report.work.unsent > 0 && report.work.absent == 0, "{:?}", report.work);
    check(&report, &received);
}

#[test]
fn a_load_without_a_peer_is_recorded_as_absent() {
    let (stage, received) = recorded(|plan| plan.targets = vec!["10.0.0.1:1".parse().unwrap()]);
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.absent), (1_000, 1_000));
    check(&report, &received);
    assert!(received.lock().unwrap().intervals.is_empty());
}

#[test]
fn a_finished_load_and_a_report_at_once_record_everything_once() {
    for at_once in [false, true] {
        let (mut stage, received) = recorded(|plan| plan.warmup = Duration::ZERO);
        stage.run_for(Duration::from_millis(450 + 2_000));
        stage.stall_node(Duration::from_millis(333));
        let report = if at_once {
            let (reply, pending) = Pending::new();
            stage.request(GeneratorRequest::Report(reply));
            stage.stall_node(Duration::from_millis(1));
            let report = *pending.wait().unwrap();
            check(&report, &received);
            assert!(report.work.timed_out > 30, "{:?}", report.work);
            let later = stage.finish();
            assert_eq!((later.work, later.timeline), (report.work, report.timeline.clone()));
            report
        } else {
            stage.request(GeneratorRequest::Finish);
            let report = stage.finish();
            check(&report, &received);
            assert_eq!(report.work.timed_out, 0);
            report
        };
        assert!(report.is_partial() && (234..240).contains(&report.work.planned), "{:?}", report.work);
    }
}
