//! The report accounts for every connection and every ping, however each of them ends.

use crate::stage::{Stage, config, set_rate};
use peerloop::Network;
use peerloop::config::ManagerConfig;
use peerloop::error::Side;
use peerloop::load::{
    Doubt, EndCause, GeneratorRequest, Limit, Phase, Rate, Traffic, UnansweredWaits, Verdict, WorkCounts,
};
use peerloop::peer::ConnectionState;
use std::time::Duration;

#[test]
fn a_refused_connection_counts_as_a_failure_of_the_other_side() {
    let nobody = "10.0.0.1:1".parse().unwrap();
    let stage = Stage::with(|plan| plan.targets = vec![nobody]);
    let report = stage.finish();
    assert_eq!((report.peers.asked, report.peers.opened, report.peers.failed), (10, 0, 10));
    let [failure] = report.failures[..] else { panic!("{:?}", report.failures) };
    assert_eq!((failure.label, failure.side, failure.count), ("refused", Side::Remote, 10));
    assert_eq!(failure.state, ConnectionState::Connecting);
    let work = report.work;
    assert_eq!((work.planned, work.sent, work.unsent, work.absent), (1_000, 0, 1_000, 1_000));
    let Verdict::NotTrusted(doubts) = report.verdict else { panic!("the report is trusted") };
    assert_eq!(doubts, [Doubt::NothingMeasured, Doubt::Unsent { count: 1_000, absent: 1_000 }]);
    let end = report.early_end.unwrap();
    assert_eq!((end.cause, end.phase, report.limit), (EndCause::NoneReady, Phase::Ramp, Limit::Node));
}

#[test]
fn the_pings_of_a_dead_target_are_counted_as_unsent() {
    let nobody = "10.0.0.1:1".parse().unwrap();
    let stage = Stage::with(|plan| plan.targets.push(nobody));
    let report = stage.finish();
    assert_eq!((report.peers.ready, report.peers.failed), (5, 5));
    let work = report.work;
    assert_eq!(
        (work.planned, work.answered),
        (1_000, 500),
        "the dead target changed the plan, or the number of pings that the living one answered"
    );
    assert_eq!((work.unsent, work.absent), (500, 500));
    assert_eq!(report.limit, Limit::Node);
    let [living, dead] = [0, 1].map(|target| report.targets[target].peers);
    assert_eq!((living.asked, living.opened, living.ready, living.lost, living.failed), (5, 5, 5, 0, 0));
    assert_eq!((dead.asked, dead.opened, dead.ready, dead.lost, dead.failed), (5, 0, 0, 0, 5));
    let [answered, absent] = [0, 1].map(|target| {
        let WorkCounts { planned, sent, unsent, absent, answered, timed_out, .. } = report.targets[target].work;
        [planned, sent, unsent, absent, answered, timed_out]
    });
    assert_eq!(answered, [500, 500, 0, 0, 500, 0]);
    assert_eq!(absent, [500, 0, 500, 500, 0, 0]);
    assert_eq!(report.targets[0].planned.as_ref().unwrap().count(), 500);
    assert_eq!(report.targets[1].planned.as_ref().unwrap().count(), 0);
    assert_eq!(report.agents.len(), 1);
    assert_eq!((report.agents[0].user_agent.as_str(), report.agents[0].count), (config().user_agent.as_str(), 5));
}

#[test]
fn a_connection_that_the_node_rejects_after_the_handshake_counts_as_lost() {
    let full = config().with_max_inbound(4);
    let report = Stage::on(full, |_| ()).finish();
    assert_eq!((report.peers.ready, report.peers.lost), (10, 6));
    assert_eq!(report.failures[0].label, "rejected_by_peer");
    assert_eq!(report.failures[0].count, 6);
    let work = report.work;
    assert_eq!(
        (work.planned, work.answered, work.absent),
        (1_000, 400, 600),
        "the plan is not 1,000 pings: 400 that the remaining peers answer, and 600 of the lost peers"
    );
    assert_eq!(report.work.sent, report.work.answered + report.work.timed_out);
}

#[test]
fn every_ping_is_accounted_for_when_the_node_stops() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(5));
    stage.node.handle().stop().unwrap();
    let report = stage.finish();
    assert_eq!((report.peers.ready, report.peers.lost), (10, 10));
    let work = report.work;
    assert_eq!(work.planned, 1_000, "the pings lost with the node were not counted as planned");
    assert!(work.sent > 300 && work.sent < 400, "{work:?}: the number of pings sent is not that of a run of 3.55 s");
    assert_eq!(work.absent, work.unsent);
    let end = report.early_end.unwrap();
    assert_eq!((end.cause, end.phase), (EndCause::AllLost, Phase::Run));
    assert!((3_500..3_600).contains(&end.elapsed.as_millis()), "{end:?}: the run did not last about 3.55 s");
    assert_eq!((report.scheduled_time, report.limit), (Duration::from_secs(10), Limit::Node));
    let Verdict::NotTrusted(doubts) = report.verdict else { panic!("the report is trusted") };
    assert_eq!(doubts, [Doubt::Unsent { count: work.unsent, absent: work.unsent }]);
    assert_eq!(work.planned, work.sent + work.unsent);
    assert_eq!(work.sent, work.answered + work.timed_out);
    assert_eq!(report.failures[0].state, ConnectionState::Connected);
}

#[test]
fn refused_dials_are_counted_by_cause() {
    let small = config().with_max_links(4);
    let managed = config().with_manager(ManagerConfig::fixed(Network::Regtest, vec![([192, 0, 2, 1], 18_444).into()]));
    for (own, label, count) in [(small, "table_full", 6), (managed, "address_taken", 9)] {
        let report = Stage::between(config().with_max_links(1_000), own, |_| ()).finish();
        let [failure] = report.failures[..] else { panic!("{:?}", report.failures) };
        assert_eq!((failure.label, failure.side, failure.count), (label, Side::Local, count));
        assert_eq!(report.peers.failed as u64, failure.count);
    }
}

#[test]
fn a_run_that_loses_all_peers_in_the_warm_up_is_not_trusted() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(1));
    stage.node.handle().stop().unwrap();
    let report = stage.finish();
    let work = report.work;
    assert_eq!((work.planned, work.sent, work.absent), (1_000, 0, 1_000));
    let end = report.early_end.unwrap();
    assert_eq!((end.cause, end.phase, report.run_time), (EndCause::AllLost, Phase::Warmup, Duration::ZERO));
    let Verdict::NotTrusted(doubts) = report.verdict else { panic!("the report is trusted") };
    assert_eq!(doubts[0], Doubt::NothingMeasured);
}

#[test]
fn the_ramp_ends_when_its_first_dials_all_fail_alike() {
    let nobody = "10.0.0.1:1".parse().unwrap();
    for (targets, dials) in [(vec![nobody], 100), (vec![nobody; 150], 150)] {
        let report = Stage::with(|plan| (plan.targets, plan.connections) = (targets, 10_000)).finish();
        assert_eq!((report.peers.asked, report.peers.failed, report.ramp.dialled), (10_000, dials, dials));
        let end = report.early_end.unwrap();
        assert_eq!((end.cause, end.phase), (EndCause::FirstDialsFailed { dials }, Phase::Ramp));
        assert_eq!((report.work.planned, report.work.absent), (1_000, 1_000));
    }
}

#[test]
fn one_good_target_keeps_the_ramp_going() {
    let nobody = "10.0.0.1:1".parse().unwrap();
    let report = Stage::with(|plan| {
        plan.targets.splice(..0, [nobody; 99]);
        (plan.connections, plan.connect_rate) = (300, Rate::per_second(1_000));
    });
    let report = report.finish();
    assert_eq!((report.peers.failed, report.peers.ready, report.early_end), (297, 3, None));
}

#[test]
fn pings_without_an_answer_by_the_end_of_the_drain_have_timed_out() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(10));
    stage.stall_node(Duration::from_secs(5));
    let report = stage.finish();
    let work = report.work;
    assert_eq!((work.planned, work.sent), (1_000, 1_000));
    assert!(
        (140..=150).contains(&work.timed_out),
        "{work:?}: the pings that timed out are not those of the last 1.45 s of the run"
    );
    assert_eq!(
        report.operations[0].planned.count(),
        work.answered,
        "the number of latencies is not that of the answered pings"
    );
}

#[test]
fn pings_due_while_the_generator_stalled_are_accounted_for_even_at_the_end_of_the_run() {
    // The run ends 11.45 s after the start. In the first case the stall ends 1.55 s after the run, in the second 5 ms.
    for (rate, at, stall) in [(500_u64, 10_000, 3_000), (6_000, 11_405, 50)] {
        let mut stage = Stage::with(|plan| set_rate(plan, Rate::per_second(rate)));
        stage.run_for(Duration::from_millis(at));
        stage.stall_generator(Duration::from_millis(stall));
        let work = stage.finish().work;
        let planned = 10 * rate;
        assert_eq!((work.planned, work.sent + work.unsent), (planned, planned), "{work:?}");
        assert!(work.unsent > 0, "{work:?}: every ping was sent, so some were sent during the drain");
    }
}

#[test]
fn the_shortest_wait_for_an_unanswered_ping_is_reported() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_millis(1_400));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    // The last ping was due 10 ms before the end of the run, and the drain lasts 2 s.
    let least = Some(Duration::from_millis(2_010));
    assert_eq!(
        (report.operations[0].unanswered_waits.planned, report.operations[0].unanswered_waits.sent),
        (least, least)
    );
    assert_eq!(report.targets[0].unanswered_waits, report.operations[0].unanswered_waits);

    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(10));
    assert_eq!(stage.finish().operations[0].unanswered_waits, UnansweredWaits::default());
}

#[test]
fn the_wait_for_a_lost_peers_pong_ends_with_the_loss() {
    let hasty = config().with_pong_timeout(Duration::from_secs(1));
    let mut stage = Stage::between(config(), hasty, |_| ());
    stage.run_for(Duration::from_millis(5_005));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    assert_eq!((report.peers.lost, report.failures[0].label), (10, "pong_timeout"));
    // Each peer is pinged every 100 ms, and is lost one second after the first ping that it did not answer. Its last
    // ping was due at the moment of the loss, or 100 ms before.
    assert_eq!(report.work.timed_out, report.work.sent - report.work.answered);
    assert!((100..=110).contains(&report.work.timed_out), "{:?}", report.work);
    let waited = report.operations[0].unanswered_waits.planned.unwrap();
    assert!(waited <= Duration::from_millis(100), "{waited:?}");
}

#[test]
fn a_run_without_a_warm_up_counts_no_byte_of_the_handshakes() {
    const PING_BYTES: u64 = 24 + 8;
    let stage = Stage::with(|plan| plan.warmup = Duration::ZERO);
    let report = stage.finish();
    assert_eq!((report.work.answered, report.run_time), (1_000, Duration::from_secs(10)));
    let Traffic { sent_bytes, received_bytes, .. } = report.traffic;
    assert_eq!((sent_bytes, received_bytes), (1_000 * PING_BYTES, 1_000 * PING_BYTES));
}

#[test]
fn a_run_without_answers_is_not_trusted() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_millis(1_400));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.answered, report.work.timed_out), (1_000, 0, 1_000));
    let Verdict::NotTrusted(doubts) = report.verdict else { panic!("the report is trusted") };
    assert_eq!(doubts, [Doubt::NothingMeasured]);
}

#[test]
fn an_answer_after_more_than_a_minute_is_measured_with_its_whole_latency() {
    let mut stage = Stage::with(|plan| plan.drain = Duration::from_secs(100));
    stage.run_for(Duration::from_millis(1_400));
    stage.stall_node(Duration::from_secs(90));
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.answered, report.work.timed_out), (1_000, 1_000, 0));
    // The first ping was due 50 ms after the stall began.
    let max = report.operations[0].planned.max().unwrap();
    assert!((89_900..=90_050).contains(&max.as_millis()), "{max:?}");
}

#[test]
fn pings_not_sent_because_too_many_are_unanswered_are_charged_to_the_node() {
    let mut stage = Stage::with(|plan| set_rate(plan, Rate::per_second(1_000)));
    stage.run_for(Duration::from_millis(1_400));
    stage.stall_node(Duration::from_secs(20));
    let report = stage.finish();
    let work = report.work;
    assert!(work.unsent > 0, "{work:?}: a peer's pings in flight are not limited");
    assert_eq!((work.planned, work.absent, report.limit), (10_000, work.unsent, Limit::Node));
}

#[test]
fn a_run_that_is_finished_early_is_reported_as_partial() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(5));
    stage.request(GeneratorRequest::Finish);
    let report = stage.finish();
    assert!(report.is_partial());
    assert!(report.work.planned > 300 && report.work.planned < 400, "{:?}", report.work);
    assert_eq!(report.work.answered, report.work.sent);

    let mut stage = Stage::new();
    stage.run_for(Duration::from_millis(100));
    stage.request(GeneratorRequest::Finish);
    let report = stage.finish();
    assert!(report.is_partial());
    assert_eq!((report.work.planned, report.peers.ready), (0, 3));
}
