//! The timeline of a run: its intervals last exactly one second each, and together contain every answer.

use crate::stage::Stage;
use peerloop::load::{Interval, Phase};
use std::time::Duration;

fn whole_seconds(timeline: &[Interval]) -> Vec<u64> {
    timeline.iter().map(|row| row.end.as_secs()).collect()
}

#[test]
fn every_interval_is_a_whole_second_whenever_progress_is_read() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_millis(2_777));
    let progress = stage.progress();
    let first = progress.interval.expect("the first second of the run is over");
    assert_eq!((first.end, first.planned, first.answered), (Duration::from_secs(1), 100, 100));
    let report = stage.finish();
    assert_eq!((report.interval, whole_seconds(&report.timeline)), (Duration::from_secs(1), (1..=10).collect()));
    for row in &report.timeline {
        assert_eq!((row.planned, row.sent, row.answered, row.peers, row.lost), (100, 100, 100, 10, 0));
        assert!(row.p50.is_some() && row.p50 <= row.p99 && row.p99 <= row.max, "{row:?}");
    }
    let max = report.timeline.iter().filter_map(|row| row.max).max();
    assert_eq!(max, report.ping_rtt_planned.max());
}

#[test]
fn a_second_without_an_answer_has_no_latency_and_late_answers_count_when_they_arrive() {
    let mut stage = Stage::with(|plan| plan.warmup = Duration::ZERO);
    // The run begins after the ramp, which lasts 0.45 s.
    stage.run_for(Duration::from_millis(450 + 9_005));
    stage.stall_node(Duration::from_millis(2_000));
    let report = stage.finish();
    let rows: Vec<(u64, u64, u64)> =
        report.timeline.iter().map(|row| (row.planned, row.sent, row.answered)).skip(8).collect();
    assert_eq!(rows[0], (100, 100, 100));
    assert_eq!((rows[1].0, rows[1].1, rows[2].0, rows[2].1), (100, 100, 0, 0));
    assert_eq!(rows[1].2 + rows[2].2 + report.timeline.get(11).map_or(0, |row| row.answered), 100);
    assert_eq!(report.timeline.iter().map(|row| row.answered).sum::<u64>(), 1_000);
    let silent: Vec<&Interval> = report.timeline.iter().filter(|row| row.answered == 0).collect();
    assert!(silent.iter().all(|row| (row.p50, row.p99, row.max) == (None, None, None)), "{silent:?}");
    assert_eq!(silent.len(), 1, "{:?}", report.timeline);
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
    assert_eq!(rows.iter().map(|row| row.answered).sum::<u64>(), 1_000);
    assert_eq!(timeline(true), rows);
}

#[test]
fn lost_peers_are_counted_in_the_second_of_their_loss_and_the_schedule_runs_to_its_end() {
    let mut stage = Stage::with(|plan| plan.warmup = Duration::ZERO);
    stage.run_for(Duration::from_millis(450 + 4_500));
    stage.node.handle().stop().unwrap();
    let report = stage.finish();
    let rows: Vec<(u64, usize, usize)> = report.timeline.iter().map(|row| (row.planned, row.peers, row.lost)).collect();
    let expected: Vec<_> = [(100, 10, 0); 4].into_iter().chain([(100, 0, 10)]).chain([(100, 0, 0); 5]).collect();
    assert_eq!(rows, expected);
    assert_eq!(report.timeline.iter().map(|row| row.sent).sum::<u64>(), report.work.sent);
}
