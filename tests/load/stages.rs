//! Stages, arrivals, segments and changes of the rate.

use crate::kept::{Keeper, Received, check, recorded};
use crate::stage::{Stage, config, set_rate};
use peerloop::load::{
    self, Arrival, EndCause, GeneratorRequest, OperationRecord, Phase, Rate, RateChange, Report, Segment,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn per_second(count: u64) -> Rate {
    Rate::per_second(count)
}

fn three_stages() -> Vec<load::Stage> {
    let [two, one] = [2, 1].map(Duration::from_secs);
    vec![
        load::Stage::constant(per_second(100), two),
        load::Stage::ramp(per_second(100), per_second(300), two),
        load::Stage::constant(per_second(50), one),
    ]
}

#[test]
fn each_stage_has_the_operations_that_were_planned_in_it() {
    for arrival in [Arrival::Even, Arrival::Burst { size: 7 }, Arrival::Poisson { seed: 3 }] {
        let (stage, received) = recorded(|plan| (plan.stages, plan.arrival) = (three_stages(), arrival));
        let report = stage.finish();
        check(&report, &received);
        let planned = [0, 1, 2].map(|index| report.stages[index].operations[0].work.planned);
        match arrival {
            Arrival::Poisson { .. } => assert!(planned != [200, 400, 50] && (170..230).contains(&planned[0])),
            _ => assert_eq!(planned, [200, 400, 50]),
        }
        assert_eq!(report.work.planned, report.work.answered);
        let times = report.stages.iter().map(|stage| (stage.begin.as_secs(), stage.end.as_secs()));
        assert_eq!(times.collect::<Vec<_>>(), [(0, 2), (2, 4), (4, 5)]);
        assert_eq!((report.stages[1].from, report.stages[1].to), (per_second(100), per_second(300)));
    }
}

#[test]
fn a_late_answer_counts_in_the_stage_of_its_planned_moment() {
    let (mut stage, received) = recorded(|plan| plan.stages = three_stages());
    stage.run_for(Duration::from_millis(1_450 + 1_905));
    stage.stall_node(Duration::from_millis(1_000));
    let report = stage.finish();
    check(&report, &received);
    let slow = report.stages[0].operations[0].planned.max().unwrap();
    assert!((994..=1_006).contains(&slow.as_millis()), "{slow:?}");
    assert_eq!(report.stages[0].operations[0].work.answered, 200);
}

#[test]
fn a_staged_load_that_ends_early_counts_the_rest_of_each_stage() {
    for arrival in [Arrival::Even, Arrival::Burst { size: 7 }, Arrival::Poisson { seed: 3 }] {
        let complete = {
            let (stage, _) = recorded(|plan| (plan.stages, plan.arrival) = (three_stages(), arrival));
            stage.finish()
        };
        let (mut stage, received) = recorded(|plan| (plan.stages, plan.arrival) = (three_stages(), arrival));
        stage.run_for(Duration::from_millis(1_450 + 2_500));
        stage.node.handle().stop().unwrap();
        let report = stage.finish();
        check(&report, &received);
        let planned =
            |report: &Report| report.stages.iter().map(|stage| stage.operations[0].work.planned).collect::<Vec<_>>();
        assert_eq!((planned(&report), report.early_end.unwrap().cause), (planned(&complete), EndCause::AllLost));
        assert_eq!(report.stages[2].operations[0].work.absent, planned(&complete)[2]);
    }
}

#[test]
fn a_maximum_number_of_operations_ends_the_run() {
    let (stage, received) = recorded(|plan| {
        plan.stages = three_stages();
        plan.max_operations = Some(210);
    });
    let report = stage.finish();
    check(&report, &received);
    assert_eq!((report.work.planned, report.work.answered, report.early_end), (210, 210, None));
    // Operation 210 of the ramp would be due after sqrt(..) = 95 ms of the second stage.
    assert_eq!(report.run_time.as_millis(), 2_095);
    assert_eq!(report.run_time.as_millis(), report.scheduled_time.as_millis());
    // A load without peers counts the same operations.
    let dead = Stage::with(|plan| {
        plan.stages = three_stages();
        plan.max_operations = Some(210);
        plan.targets = vec!["10.0.0.1:1".parse().unwrap()];
    });
    let dead = dead.finish();
    assert_eq!((dead.work.planned, dead.scheduled_time), (210, report.scheduled_time));
}

#[test]
fn three_segments_plan_exactly_the_moments_of_one_load() {
    for arrival in [Arrival::Even, Arrival::Burst { size: 4 }, Arrival::Poisson { seed: 8 }] {
        let planned = |segment: Segment| {
            let received = Arc::new(Mutex::new(Received::default()));
            let keeper = Keeper(received.clone());
            let change = |plan: &mut load::Plan| {
                (plan.stages, plan.arrival, plan.segment) = (three_stages(), arrival, segment);
            };
            let stage = Stage::build(config(), config(), change, |generator| generator.with_recorder(Box::new(keeper)));
            let report = stage.finish();
            assert_eq!(report.peers.ready, segment.connections(10));
            assert_eq!(report.work.planned, report.work.answered);
            let received = received.lock().unwrap();
            assert_eq!(report.timeline.iter().map(|row| row.planned).sum::<u64>(), report.work.planned);
            let key = |each: &OperationRecord| (each.index, each.connection, each.planned);
            received.operations.iter().map(key).collect::<Vec<_>>()
        };
        let mut whole = planned(Segment::WHOLE);
        let mut joined: Vec<_> = (0..3).flat_map(|index| planned(Segment::new(index, 3).unwrap())).collect();
        whole.sort_unstable();
        joined.sort_unstable();
        assert_eq!(joined, whole);
    }
}

#[test]
fn the_dials_of_the_segments_are_those_of_one_load() {
    let segment = Segment::new(1, 3).unwrap();
    let report = Stage::with(|plan| plan.segment = segment).finish();
    // Connections 1, 4 and 7 of 10 are dialled every 150 ms, the last one 350 ms after the start.
    assert_eq!((report.peers.asked, report.ramp.dialled), (3, 3));
    assert_eq!(report.ramp.planned_time, Duration::from_millis(350));
    let empty = Stage::with(|plan| plan.segment = Segment::new(10, 11).unwrap()).finish();
    assert_eq!((empty.peers.asked, empty.work.planned, empty.early_end.unwrap().cause), (0, 0, EndCause::NoneReady));
}

#[test]
fn a_changed_rate_applies_at_once_and_is_listed() {
    let (mut stage, received) = recorded(|plan| plan.warmup = Duration::ZERO);
    stage.run_for(Duration::from_millis(450 + 5_005));
    stage.request(GeneratorRequest::ScaleRate { percent: 200 });
    stage.run_for(Duration::ZERO);
    assert_eq!(stage.progress().rate, Some(per_second(200)));
    stage.run_for(Duration::from_millis(2_000));
    stage.request(GeneratorRequest::SetRate(Rate::ZERO));
    let report = stage.finish();
    check(&report, &received);
    let change = |change: &RateChange| (change.phase, change.at.as_millis(), change.from, change.to);
    let expected =
        [(Phase::Run, 5_005, per_second(100), per_second(200)), (Phase::Run, 7_005, per_second(200), Rate::ZERO)];
    assert_eq!(report.rate_changes.iter().map(change).collect::<Vec<_>>(), expected);
    // 5.005 s at 100/s and 2 s at 200/s, each with an operation at its start.
    assert_eq!((report.work.planned, report.work.answered), (501 + 400, 901));
    assert_eq!((report.run_time, report.stages[0].from), (Duration::from_secs(10), per_second(100)));
}

#[test]
fn a_rate_changed_before_the_run_applies_to_all_of_it() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_millis(100));
    stage.request(GeneratorRequest::ScaleRate { percent: 50 });
    stage.run_for(Duration::from_millis(850));
    assert_eq!((stage.progress().phase, stage.progress().rate), (Phase::Warmup, Some(per_second(50))));
    stage.request(GeneratorRequest::ScaleRate { percent: 300 });
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.answered), (1_500, 1_500));
    let phases: Vec<Phase> = report.rate_changes.iter().map(|change| change.phase).collect();
    assert_eq!(phases, [Phase::Ramp, Phase::Warmup]);
}

#[test]
fn a_load_without_a_rate_is_measured_once_it_has_one() {
    let mut stage = Stage::with(|plan| set_rate(plan, Rate::ZERO));
    stage.run_for(Duration::from_millis(1_450 + 1_000));
    stage.request(GeneratorRequest::SetRate(per_second(10)));
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.answered), (90, 90));
}

#[test]
fn a_run_begins_at_the_requested_moment_with_its_warm_up_right_before() {
    let (second, tenth) = (Duration::from_secs(1), Duration::from_millis(100));
    let after = |time: Duration| {
        let change = |plan: &mut load::Plan| plan.warmup = 2 * second;
        Stage::build(config(), config(), change, |mut generator| {
            generator.begin_run_after(time);
            generator
        })
    };
    let mut stage = after(20 * second);
    stage.run_for(18 * second - tenth);
    let progress = stage.progress();
    assert_eq!((progress.phase, progress.peers.ready, progress.rate), (Phase::Ramp, 10, None));
    stage.run_for(2 * tenth);
    assert_eq!(stage.progress().phase, Phase::Warmup);
    stage.run_for(2 * second - 2 * tenth);
    assert_eq!(stage.progress().phase, Phase::Warmup);
    stage.run_for(2 * tenth);
    assert_eq!(stage.progress().phase, Phase::Run);
    let report = stage.finish();
    // The wait is no part of the ramp.
    assert!(report.ramp.time.is_some_and(|time| time < second), "{:?}", report.ramp);
    let late = after(tenth).finish();
    assert_eq!((late.work.planned, late.ramp.time), (report.work.planned, report.ramp.time));
}

#[test]
fn a_maximum_within_a_burst_ends_the_run_after_all_operations_before_it() {
    for arrival in [Arrival::Burst { size: 7 }, Arrival::Burst { size: 1_000 }, Arrival::Even] {
        for max_operations in [1, 6, 7, 8, 20] {
            let (stage, received) =
                recorded(|plan| (plan.arrival, plan.max_operations) = (arrival, Some(max_operations)));
            let report = stage.finish();
            check(&report, &received);
            assert_eq!((report.work.planned, report.work.answered), (max_operations, max_operations), "{arrival:?}");
        }
    }
}
