//! The paces: a rate for each living peer, and one operation outstanding for each peer.

use crate::kept::{check, recorded};
use crate::stage::{Stage, config, plan, set_rate};
use peerloop::api::Pending;
use peerloop::load::{EndCause, Generator, GeneratorRequest, OperationRecord, Pace, Plan, Rate, Verdict};
use std::time::Duration;

fn per_living_peer(plan: &mut Plan) {
    plan.pace = Pace::PerLivingPeer;
    plan.warmup = Duration::ZERO;
}

fn max(plan: &mut Plan) {
    plan.pace = Pace::Max;
    plan.warmup = Duration::ZERO;
}

#[test]
fn operations_of_peers_that_were_never_ready_are_not_planned() {
    let (stage, received) = recorded(|plan| {
        per_living_peer(plan);
        plan.targets.push("10.0.0.1:1".parse().unwrap());
    });
    let report = stage.finish();
    assert_eq!((report.peers.ready, report.peers.failed), (5, 5));
    assert_eq!((report.work.planned, report.work.answered, report.work.unsent), (500, 500, 0));
    assert_eq!((report.targets[0].work.planned, report.targets[1].work.planned), (500, 0));
    assert_eq!(report.scheduled_time, Duration::from_secs(10));
    check(&report, &received);
    assert!(received.lock().unwrap().operations.iter().all(|operation| operation.connection % 2 == 0));
}

#[test]
fn operations_of_a_lost_peer_are_planned_until_its_loss() {
    // The node rejects six peers right after their handshakes.
    let full = config().with_max_inbound(4);
    let report = Stage::on(full, per_living_peer).finish();
    assert_eq!((report.peers.ready, report.peers.lost), (10, 6));
    let work = report.work;
    // Four peers answer. The others have few operations before they are lost, which are sent in vain.
    assert_eq!((work.answered, work.unsent, work.planned), (400, 0, 400 + work.timed_out));
    assert!(work.timed_out < 60, "{work:?}");
    assert_eq!(report.verdict, Verdict::Trusted);
}

#[test]
fn a_schedule_of_living_peers_ends_with_the_last_of_them() {
    let (mut stage, received) = recorded(per_living_peer);
    stage.run_for(Duration::from_millis(450 + 3_000));
    stage.stall_node(Duration::from_millis(205));
    stage.node.handle().stop().unwrap();
    let report = stage.finish();
    let end = report.early_end.unwrap();
    assert_eq!((end.cause, report.scheduled_time), (EndCause::AllLost, end.elapsed));
    assert_eq!(report.work.planned, report.work.sent);
    assert!((320..=322).contains(&report.work.planned), "{:?}", report.work);
    check(&report, &received);
    let unstarted = Generator::new(plan("10.0.0.1:1".parse().unwrap()).with_pace(Pace::PerLivingPeer));
    assert_eq!(unstarted.into_report_of_no_run(EndCause::NoneReady).work.planned, 0);
}

#[test]
fn operations_that_are_overdue_when_their_peers_are_lost_stay_planned() {
    let (mut stage, received) = recorded(|plan| {
        per_living_peer(plan);
        set_rate(plan, Rate::per_second(2_000));
    });
    stage.run_for(Duration::from_millis(450 + 2_000));
    stage.node.handle().stop().unwrap();
    stage.run_node();
    // The generator's loop stands still for a second, and then learns that the peers were lost.
    stage.stall_generator(Duration::from_secs(1));
    let report = stage.finish();
    assert_eq!((report.peers.lost, report.early_end.unwrap().cause), (10, EndCause::AllLost));
    assert!((5_900..=6_010).contains(&report.work.planned), "{:?}", report.work);
    assert_eq!(report.work.planned, report.work.sent + report.work.unsent);
    check(&report, &received);
}

#[test]
fn each_peer_has_one_operation_outstanding_at_the_highest_pace() {
    let (mut stage, received) = recorded(max);
    stage.run_with_slow_node(450 + 20);
    stage.stall_node(Duration::from_millis(100));
    let (reply, pending) = Pending::new();
    stage.request(GeneratorRequest::Progress(reply));
    stage.request(GeneratorRequest::ScaleRate { percent: 200 });
    stage.request(GeneratorRequest::Finish);
    stage.stall_node(Duration::ZERO);
    let stalled = pending.wait().unwrap();
    assert!(stalled.planned > 150 && stalled.rate.is_none(), "{stalled:?}");
    assert_eq!(stalled.sent - stalled.answered, 10, "a stalled node has not one operation of each peer");
    let report = stage.finish();
    assert_eq!((report.work.unsent, report.work.timed_out, report.rate_changes.len()), (0, 0, 0));
    assert_eq!((report.pace, report.scheduled_time), (Pace::Max, report.early_end.unwrap().elapsed));
    check(&report, &received);
    // The planned moment of an operation is the end of its peer's previous one.
    let operations = &received.lock().unwrap().operations;
    for connection in 0..10 {
        let own: Vec<&OperationRecord> = operations.iter().filter(|each| each.connection == connection).collect();
        assert_eq!(own[0].planned, Duration::ZERO);
        assert!(own.windows(2).all(|pair| pair[1].planned == pair[0].ended));
    }
}

#[test]
fn the_highest_pace_ends_with_the_last_of_a_maximum_number_of_operations() {
    let (mut stage, received) = recorded(|plan| {
        max(plan);
        plan.warmup = Duration::from_millis(50);
        plan.max_operations = Some(777);
    });
    stage.run_with_slow_node(1_000);
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.answered, report.early_end), (777, 777, None));
    assert!(report.run_time < Duration::from_secs(5) && report.scheduled_time == report.run_time, "{report:?}");
    check(&report, &received);
}

#[test]
fn the_highest_pace_loses_the_operations_of_lost_peers_only() {
    let (mut stage, received) = recorded(max);
    stage.run_with_slow_node(450 + 10);
    stage.stall_node(Duration::from_millis(50));
    stage.node.handle().stop().unwrap();
    let report = stage.finish();
    assert_eq!((report.early_end.unwrap().cause, report.work.unsent), (EndCause::AllLost, 0));
    assert_eq!(report.work.planned, report.work.answered + report.work.timed_out);
    check(&report, &received);
}
