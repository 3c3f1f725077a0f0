//! The timeline of a run: its intervals are equally long, and together contain every answer.

use crate::stage::Stage;
use peerloop::load::{Interval, Phase};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(100);

fn ends(timeline: &[Interval]) -> Vec<u128> {
    timeline.iter().map(|row| row.end.as_millis()).collect()
}

fn sum(timeline: &[Interval], of: impl Fn(&Interval) -> u64) -> u64 {
    timeline.iter().map(of).sum()
}

#[test]
fn every_interval_has_the_same_length_whenever_progress_is_read() {
    let mut stage = Stage::new();
    // The run begins after the ramp of 0.45 s and the warm-up of 1 s.
    stage.run_for(Duration::from_millis(1_577));
    let progress = stage.progress();
    let first = progress.interval.expect("the first interval of the run is over");
    assert_eq!((first.end, first.planned, first.sent, first.answered, first.failed), (INTERVAL, 10, 10, 10, 0));
    let report = stage.finish();
    assert_eq!((report.interval, ends(&report.timeline)), (INTERVAL, (1..=100).map(|tenth| tenth * 100).collect()));
    for row in &report.timeline {
        assert_eq!((row.planned, row.sent, row.answered, row.peers, row.lost), (10, 10, 10, 10, 0));
        assert!(row.p50.is_some() && row.p50 <= row.p99 && row.p99 <= row.max, "{row:?}");
    }
    let max = report.timeline.iter().filter_map(|row| row.max).max();
    assert_eq!(max, report.operations[0].planned.max());
}

#[test]
fn a_run_of_twenty_seconds_has_intervals_of_one_second() {
    let report = Stage::with(|plan| plan.stages[0].time = Duration::from_secs(20)).finish();
    assert_eq!(report.interval, Duration::from_secs(1));
    assert_eq!(ends(&report.timeline), (1..=20).map(|second| second * 1_000).collect::<Vec<_>>());
    assert!(report.timeline.iter().all(|row| (row.planned, row.answered, row.failed) == (100, 100, 0)));
}

#[test]
fn an_interval_without_an_answer_has_no_latency_and_late_answers_count_when_they_arrive() {
    let mut stage = Stage::with(|plan| plan.warmup = Duration::ZERO);
    // The run begins after the ramp, which lasts 0.45 s.
    stage.run_for(Duration::from_millis(450 + 9_005));
    stage.stall_node(Duration::from_millis(2_000));
    let report = stage.finish();
    let (before, stalled) = report.timeline.split_at(91);
    assert!(before[..90].iter().all(|row| (row.planned, row.sent, row.answered) == (10, 10, 10)), "{before:?}");
    let due: u64 = sum(stalled, |row| row.planned);
    assert_eq!((due, sum(stalled, |row| row.sent), sum(stalled, |row| row.failed)), (90, 90, 0));
    assert_eq!(sum(&report.timeline, |row| row.answered), 1_000);
    let silent: Vec<&Interval> = report.timeline.iter().filter(|row| row.answered == 0).collect();
    assert!(silent.iter().all(|row| (row.p50, row.p99, row.max) == (None, None, None)), "{silent:?}");
    // The answers arrive together, when the stall ends 1.005 s after the run.
    assert_eq!(silent.len(), 19, "{:?}", report.timeline);
    assert_eq!(report.timeline.last().unwrap().answered, 100 - before[90].answered);
}

#[test]
fn an_operation_that_is_never_answered_has_failed_in_the_interval_of_its_planned_moment() {
    let mut stage = Stage::with(|plan| plan.warmup = Duration::ZERO);
    stage.run_for(Duration::from_millis(450 + 9_705));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    assert_eq!(sum(&report.timeline, |row| row.failed), report.work.timed_out);
    let failed: Vec<u64> = report.timeline.iter().map(|row| row.failed).collect();
    assert_eq!((failed[..97].iter().sum::<u64>(), &failed[97..]), (0, &[9, 10, 10][..]));
}

#[test]
fn reading_the_progress_changes_no_interval() {
    let timeline = |polls: bool| {
        let mut stage = Stage::with(|plan| plan.warmup = Duration::ZERO);
        stage.run_for(Duration::from_secs(9));
        stage.stall_node(Duration::from_secs(3));
        if polls {
            assert_eq!(stage.progress().phase, Phase::Drain);
        } else {
            stage.run_for(Duration::ZERO);
        }
        stage.finish().timeline
    };
    let rows = timeline(false);
    assert_eq!(sum(&rows, |row| row.answered), 1_000);
    assert_eq!(timeline(true), rows);
}

#[test]
fn lost_peers_are_counted_in_the_interval_of_their_loss_and_the_schedule_runs_to_its_end() {
    let mut stage = Stage::with(|plan| plan.warmup = Duration::ZERO);
    stage.run_for(Duration::from_millis(450 + 4_450));
    stage.node.handle().stop().unwrap();
    let report = stage.finish();
    let rows: Vec<(u64, usize, usize)> = report.timeline.iter().map(|row| (row.planned, row.peers, row.lost)).collect();
    let expected: Vec<_> = [(10, 10, 0); 44].into_iter().chain([(10, 0, 10)]).chain([(10, 0, 0); 55]).collect();
    assert_eq!(rows, expected);
    assert_eq!(sum(&report.timeline, |row| row.sent), report.work.sent);
    assert_eq!(sum(&report.timeline, |row| row.failed), report.work.planned - report.work.answered);
}
