//! A number of peers that changes during the run, and operations that are given up.

use crate::stage::{Stage, config};
use peerloop::api::Pending;
use peerloop::load::{GeneratorRequest, Pace, Plan, Rate, Report, ResponderConfig, Workload, workloads};
use std::ops::Range;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Ten operations per second for each living peer, of which four are open when the run begins.
fn variable(plan: &mut Plan) {
    let base = plan.clone().with_interval(Duration::from_millis(500)).with_variable_peers(4);
    *plan = base.with_pace(Pace::PerLivingPeer).with_warmup(Duration::ZERO);
}

fn unanswered(stage: &mut Stage, ages: Range<Duration>) -> u64 {
    let (reply, pending) = Pending::new();
    stage.request(GeneratorRequest::Unanswered { ages, lags: Duration::ZERO..Duration::MAX, reply });
    stage.run_for(Duration::ZERO);
    pending.wait().unwrap()
}

/// Returns the number of unanswered operations that were sent late, by at least a millisecond.
fn late(stage: &mut Stage) -> u64 {
    let (reply, pending) = Pending::new();
    let ages = Duration::ZERO..Duration::MAX;
    stage.request(GeneratorRequest::Unanswered { ages, lags: SECOND / 1_000..Duration::MAX, reply });
    stage.run_for(Duration::ZERO);
    pending.wait().unwrap()
}

fn give_up(stage: &mut Stage, older_than: Duration) -> u64 {
    let (reply, pending) = Pending::new();
    stage.request(GeneratorRequest::GiveUp { older_than, reply });
    stage.run_for(Duration::ZERO);
    pending.wait().unwrap()
}

fn peers(report: &Report) -> [usize; 5] {
    let peers = report.peers;
    [peers.asked, peers.opened, peers.ready, peers.lost, peers.failed]
}

#[test]
fn peers_are_opened_and_closed_during_the_run() {
    let mut stage = Stage::with(variable);
    // The ramp opens four peers within 150 ms.
    stage.run_for(Duration::from_millis(150) + SECOND);
    assert_eq!((stage.progress().peers.asked, stage.progress().peers.ready), (4, 4));
    stage.request(GeneratorRequest::SetPeers(8));
    stage.run_for(2 * SECOND);
    assert_eq!((stage.progress().peers.asked, stage.progress().peers.left()), (8, 8));
    stage.request(GeneratorRequest::SetPeers(2));
    stage.run_for(2 * SECOND);
    assert_eq!((stage.progress().peers.asked, stage.progress().peers.left()), (2, 2));
    assert_eq!(stage.generator.stats().links, 2);
    let report = stage.finish();
    assert_eq!((peers(&report), report.failures.len()), ([2, 8, 2, 0, 0], 0));
    assert_eq!((report.work.timed_out, report.work.unsent), (0, 0));
    let peers: Vec<usize> = report.timeline.iter().map(|interval| interval.peers).collect();
    assert_eq!(peers[..11], [4, 4, 8, 8, 8, 8, 2, 2, 2, 2, 2], "{peers:?}");
    // 40 in the first second, about 155 in the next two, and then 20 per second.
    assert!((320..345).contains(&report.work.planned), "{:?}", report.work);
}

#[test]
fn a_request_that_is_replaced_dials_nobody_and_more_than_all_peers_are_all() {
    let mut stage = Stage::with(variable);
    stage.run_for(SECOND);
    stage.request(GeneratorRequest::SetPeers(99));
    stage.request(GeneratorRequest::SetPeers(5));
    stage.run_for(SECOND);
    assert_eq!((stage.progress().peers.asked, stage.progress().peers.ready), (5, 5));
    stage.request(GeneratorRequest::SetPeers(99));
    stage.run_for(SECOND);
    assert_eq!((stage.progress().peers.asked, stage.progress().peers.left()), (10, 10));
    assert_eq!(stage.finish().peers.opened, 10);
}

#[test]
fn lost_peers_are_opened_again_and_the_run_outlasts_them() {
    let mut stage = Stage::on(config().with_max_inbound(2), variable);
    stage.run_for(SECOND);
    let progress = stage.progress();
    assert_eq!((progress.peers.ready, progress.peers.lost), (4, 2));
    stage.request(GeneratorRequest::SetPeers(4));
    stage.run_for(SECOND);
    let progress = stage.progress();
    assert_eq!((progress.peers.asked, progress.peers.ready, progress.peers.left()), (6, 6, 2));
    stage.node.handle().stop().unwrap();
    stage.run_for(SECOND);
    assert_eq!(stage.progress().peers.left(), 0);
    let report = stage.finish();
    assert!(!report.is_partial(), "{:?}", report.early_end);
}

#[test]
fn requests_for_peers_need_variable_ones() {
    let mut stage = Stage::new();
    stage.run_for(3 * SECOND);
    stage.request(GeneratorRequest::SetPeers(2));
    stage.run_for(SECOND);
    assert_eq!(stage.progress().peers.left(), 10);
    assert_eq!(peers(&stage.finish()), [10, 10, 10, 0, 0]);
}

#[test]
fn pings_without_a_pong_are_counted_by_age_and_given_up() {
    let silent = ResponderConfig::default().with_drop_share(1.0);
    let mut stage = Stage::of(Box::new(workloads::Ping), silent, variable, |generator| generator);
    // The run begins once the four peers are ready, and has 40 pings per second.
    stage.run_for(4 * SECOND);
    let all = unanswered(&mut stage, Duration::ZERO..Duration::MAX);
    assert!((145..=160).contains(&all), "{all}");
    let old = unanswered(&mut stage, 2 * SECOND..Duration::MAX);
    assert_eq!(all - old, unanswered(&mut stage, Duration::ZERO..2 * SECOND));
    assert!((79..=81).contains(&(all - old)), "{all} {old}");
    assert_eq!((give_up(&mut stage, 2 * SECOND), give_up(&mut stage, 2 * SECOND)), (old, 0));
    assert_eq!(unanswered(&mut stage, Duration::ZERO..Duration::MAX), all - old);
    assert_eq!(stage.progress().peers.left(), 4, "a peer was closed");
    let report = stage.finish();
    assert_eq!((report.work.answered, report.work.timed_out), (0, report.work.sent));
}

#[test]
fn unanswered_operations_that_a_stalled_generator_sent_late_are_counted() {
    for workload in [Box::new(workloads::Ping) as Box<dyn Workload>, Box::new(workloads::Headers)] {
        let silent = ResponderConfig::default().with_drop_share(1.0).with_delay(9 * SECOND, 9 * SECOND);
        let mut stage = Stage::of(workload, silent, variable, |generator| generator);
        stage.run_for(2 * SECOND);
        assert_eq!(late(&mut stage), 0);
        // Of 40 operations per second.
        stage.stall_generator(SECOND);
        stage.run_for(SECOND);
        let late = late(&mut stage);
        assert!((38..=41).contains(&late), "{late}");
    }
}

#[test]
fn late_pongs_of_pings_that_were_given_up_count_nowhere() {
    let mut stage = Stage::with(|plan| {
        variable(plan);
        plan.stages = vec![peerloop::load::Stage::constant(Rate::per_second(100), 10 * SECOND)];
    });
    stage.run_for(SECOND);
    stage.stall_node(SECOND);
    let (reply, pending) = Pending::new();
    stage.request(GeneratorRequest::GiveUp { older_than: SECOND / 2, reply });
    stage.stall_node(Duration::ZERO);
    let given_up = pending.wait().unwrap();
    assert!((19..=21).contains(&given_up), "{given_up}");
    let report = stage.finish();
    assert_eq!((report.work.timed_out, report.work.answered), (given_up, report.work.sent - given_up));
    assert!(report.operations[0].planned.max().unwrap() <= SECOND / 2 + Duration::from_millis(10));
}

#[test]
fn other_operations_are_given_up_too() {
    let slow = ResponderConfig::default().with_delay(5 * SECOND, 5 * SECOND);
    let mut stage = Stage::of(Box::new(workloads::Headers), slow, variable, |generator| generator);
    stage.run_for(4 * SECOND);
    let all = unanswered(&mut stage, Duration::ZERO..Duration::MAX);
    assert_eq!(give_up(&mut stage, Duration::ZERO), all);
    assert!(all > 100, "{all}");
    assert_eq!(unanswered(&mut stage, Duration::ZERO..Duration::MAX), 0);
    let report = stage.finish();
    assert!(report.work.timed_out >= all, "{:?}", report.work);
}

#[test]
fn intervals_have_the_requested_length() {
    let report = Stage::with(|plan| {
        let long = plan.clone().with_interval(Duration::from_millis(100));
        *plan = long.with_rate(Rate::per_second(1), 30 * SECOND);
    })
    .finish();
    assert_eq!((report.interval, report.timeline.len()), (Duration::from_millis(100), 300));
    let absent: u64 = report.timeline.iter().map(|interval| interval.absent).sum();
    assert_eq!(absent, report.work.absent);
}
