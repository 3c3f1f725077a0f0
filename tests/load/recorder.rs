//! The recorder: its intervals add up to the totals exactly, and it receives every planned operation exactly once.

use crate::kept::{Keeper, Received, check, recorded};
use crate::stage::{Stage, config, set_rate};
use peerloop::api::Pending;
use peerloop::load::{GeneratorRequest, OperationResult, Rate};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
        set_rate(plan, Rate::ZERO);
        plan.warmup = Duration::ZERO;
    });
    stage.run_for(Duration::from_millis(450 + 555));
    assert_eq!(received.lock().unwrap().intervals.len(), 5);
    check(&stage.finish(), &received);
}

#[test]
fn pings_of_peers_that_do_not_answer_in_time_are_recorded_as_lost() {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let hasty = config().with_pong_timeout(Duration::from_secs(1));
    let mut stage = Stage::build(config(), hasty, |_| (), |generator| generator.with_recorder(Box::new(keeper)));
    stage.run_for(Duration::from_millis(5_005));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    check(&report, &received);
    let operations = &received.lock().unwrap().operations;
    let lost = operations.iter().filter(|operation| operation.result == OperationResult::Lost).count() as u64;
    assert!(lost >= 100 && lost == report.work.timed_out, "{:?}", report.work);
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
    let (mut stage, received) = recorded(|plan| set_rate(plan, Rate::per_second(500)));
    stage.run_for(Duration::from_millis(1_450 + 5_000));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    assert!(report.work.timed_out > 2_000 && report.work.absent == 0, "{:?}", report.work);
    check(&report, &received);
}

#[test]
fn pings_beyond_a_peers_maximum_in_flight_are_recorded_as_absent() {
    let (mut stage, received) = recorded(|plan| set_rate(plan, Rate::per_second(1_000)));
    stage.run_for(Duration::from_millis(1_500));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    assert!(report.work.timed_out > 1_000 && report.work.absent > 1_000, "{:?}", report.work);
    check(&report, &received);
}

#[test]
fn every_ping_of_a_generator_that_stalls_at_the_end_is_recorded() {
    let (mut stage, received) = recorded(|plan| set_rate(plan, Rate::per_second(500)));
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
