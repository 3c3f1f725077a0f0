//! The library's own workloads against a responder, with exact latencies.

use crate::kept::{Keeper, Received, check};
use crate::stage::Stage;
use peerloop::load::workloads::{Churn, Connect, Handshake, Headers, Inv};
use peerloop::load::{Doubt, Limit, Pace, Plan, Report, ResponderConfig, ResponderCounts, Segment, Verdict, Workload};
use peerloop::peer::ConnectionState;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

/// Runs a workload against a responder with these settings. Returns the report and the responder's counts.
fn run(
    workload: impl Workload + 'static,
    node: ResponderConfig,
    change: impl FnOnce(&mut Plan),
) -> (Report, ResponderCounts) {
    let received = Arc::new(Mutex::new(Received::default()));
    let keeper = Keeper(received.clone());
    let mut stage = Stage::of(Box::new(workload), node, change, |generator| generator.with_recorder(Box::new(keeper)));
    stage.run_for(Duration::from_secs(60));
    let counts = stage.node.handler().snapshot(0, &stage.node.stats().counters).counts;
    let report = stage.finish();
    check(&report, &received);
    (report, counts)
}

fn slow(delay: Duration) -> ResponderConfig {
    ResponderConfig::default().with_delay(delay, delay)
}

/// Asserts that all 1,000 operations had this latency.
#[track_caller]
fn assert_latency(report: &Report, metric: &str, latency: Duration) {
    let of = report.operations.iter().find(|of| of.metric == metric).unwrap();
    assert_eq!((of.work.planned, of.work.answered, of.planned.count(), of.sent.count()), (1_000, 1_000, 1_000, 1_000));
    for found in [of.planned.percentile(0.0), of.planned.max(), of.sent.percentile(0.0), of.sent.max()] {
        // A histogram's buckets are exact to three digits, and begin at 1 ns.
        let error = found.unwrap().abs_diff(latency);
        assert!(error <= (latency / 1_000).max(Duration::from_nanos(1)), "{metric}: {found:?}");
    }
}

#[test]
fn an_announcement_is_timed_until_its_transaction_is_requested() {
    let (report, counts) = run(Inv::new(7), slow(3 * MILLI), |_| ());
    assert_latency(&report, "inv_getdata", 3 * MILLI);
    // The warm-up has a hundred operations too.
    assert_eq!((counts.requests, counts.answered), (1_100, 1_100));
    assert_eq!((report.verdict, report.limit), (Verdict::Trusted, Limit::None));
}

#[test]
fn announcements_that_are_ignored_time_out() {
    let (report, _) = run(Inv::new(7), ResponderConfig::default().with_drop_share(1.0), |_| ());
    assert_eq!((report.work.sent, report.work.timed_out, report.work.refused), (1_000, 1_000, 0));
    assert_eq!(report.limit, Limit::Node);
}

#[test]
fn a_request_for_headers_is_timed_until_they_arrive() {
    let (report, counts) = run(Headers, slow(4 * MILLI).with_blocks(30), |_| ());
    assert_latency(&report, "headers_fetch", 4 * MILLI);
    assert_eq!(counts.headers_sent, 1_100);
}

#[test]
fn a_connection_is_closed_once_it_is_established() {
    let (report, _) = run(Connect, ResponderConfig::default(), |_| ());
    assert_latency(&report, "connect", Duration::ZERO);
    let peers = report.peers;
    assert_eq!((peers.asked, peers.opened, peers.ready, peers.lost, peers.failed), (1_100, 1_100, 0, 0, 0));
    assert_eq!((report.targets[0].peers, report.failures.len()), (peers, 0));
    assert_eq!((report.verdict, report.limit), (Verdict::Trusted, Limit::None));
}

#[test]
fn a_handshake_is_timed_in_two_steps_and_its_connection_closed() {
    let (report, _) = run(Handshake, ResponderConfig::default(), |_| ());
    assert_latency(&report, "handshake", Duration::ZERO);
    assert_latency(&report, "connect", Duration::ZERO);
    let peers = report.peers;
    assert_eq!((peers.asked, peers.opened, peers.ready, peers.lost, peers.failed), (1_100, 1_100, 1_100, 0, 0));
    assert_eq!((report.agents[0].count, report.failures.len()), (1_100, 0));
    assert_eq!((report.verdict, report.early_end), (Verdict::Trusted, None));
}

#[test]
fn at_the_maximum_pace_each_connection_follows_the_end_of_the_one_before() {
    let (report, _) = run(Handshake, ResponderConfig::default(), |plan| {
        plan.pace = Pace::Max;
        (plan.max_operations, plan.warmup) = (Some(5_000), Duration::ZERO);
    });
    assert_eq!((report.work.planned, report.work.answered), (5_000, 5_000));
}

#[test]
fn a_dial_that_fails_is_a_failed_operation_and_its_cause_is_listed() {
    let nobody = "10.0.0.1:1".parse().unwrap();
    let (report, _) = run(Handshake, ResponderConfig::default(), |plan| plan.targets = vec![nobody]);
    let work = report.work;
    assert_eq!((work.planned, work.sent, work.answered, work.timed_out), (1_000, 1_000, 0, 1_000));
    let [failure] = report.failures[..] else { panic!("{:?}", report.failures) };
    assert_eq!((failure.label, failure.state), ("refused", ConnectionState::Connecting));
    assert_eq!((failure.count, report.peers.failed, report.early_end), (1_100, 1_100, None));
    assert_eq!(report.verdict, Verdict::NotTrusted(vec![Doubt::NothingMeasured]));
}

#[test]
fn a_held_connection_is_closed_when_its_time_is_over() {
    let (report, _) = run(Churn::new(200 * MILLI), ResponderConfig::default(), |plan| plan.connections = 30);
    assert_latency(&report, "handshake", Duration::ZERO);
    assert_eq!((report.peers.ready, report.peers.lost, report.failures.len()), (1_100, 0, 0));
}

#[test]
fn a_connection_beyond_the_maximum_number_is_not_opened() {
    // About twenty connections would be open at the same time.
    let (report, _) = run(Churn::new(200 * MILLI), ResponderConfig::default(), |_| ());
    let work = report.work;
    assert_eq!((work.planned, work.unsent, work.absent), (1_000, work.unsent, work.unsent));
    assert!((450..550).contains(&work.unsent), "{work:?}");
    let [failure] = report.operation_failures[..] else { panic!("{:?}", report.operation_failures) };
    assert_eq!((failure.cause, failure.count), ("too_many_connections", work.unsent));
}

#[test]
fn a_held_connection_that_the_node_closes_is_lost() {
    let hasty = ResponderConfig::default().with_close_after(Some(50 * MILLI));
    let (report, _) = run(Churn::new(200 * MILLI), hasty, |_| ());
    // The last five connections are still held at the end.
    assert_eq!((report.work.answered, report.peers.ready, report.peers.lost), (1_000, 1_100, 1_095));
    assert_eq!((report.failures[0].label, report.limit), ("closed_by_peer", Limit::Node));
}

#[test]
fn a_segment_opens_its_own_connections_alone() {
    let segment = Segment::new(1, 4).unwrap();
    let change = |plan: &mut Plan| (plan.connections, plan.segment) = (40, segment);
    let stage = Stage::of(Box::new(Connect), ResponderConfig::default(), change, |generator| generator);
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.answered), (250, 250));
}
