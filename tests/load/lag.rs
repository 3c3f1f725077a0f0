//! Stalls of the node or of the generator, and the side that the report names as the limit.

use crate::stage::Stage;
use peerloop::load::{Doubt, Limit, Verdict};
use std::time::Duration;

#[test]
fn a_stall_of_the_node_lengthens_the_round_trip_of_every_ping_that_is_due_meanwhile() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(5));
    stage.stall_node(Duration::from_secs(1));
    let report = stage.finish();
    assert_eq!(report.work.timed_out, 0);
    // The stall delays a hundred pongs, by at most one second. Both measures agree, since each ping was sent when due.
    for histogram in [&report.operations[0].planned, &report.operations[0].sent] {
        assert_eq!(histogram.count(), 1_000);
        assert!(histogram.percentile(89.9).unwrap() < Duration::from_millis(1));
        let p95 = histogram.percentile(95.0).unwrap();
        assert!((480..=520).contains(&p95.as_millis()), "{p95:?}");
        assert!((980..=1_010).contains(&histogram.max().unwrap().as_millis()));
    }
    assert_eq!(
        (report.verdict, report.limit),
        (Verdict::Trusted, Limit::None),
        "a node that had caught up during the run was reported as the limit, or the report was not trusted"
    );
}

#[test]
fn a_generator_that_stalls_still_measures_from_the_planned_moments_and_reports_the_stall() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(5));
    stage.stall_generator(Duration::from_secs(1));
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.answered), (1_000, 1_000), "a ping was skipped or not answered");
    let p95 = report.operations[0].planned.percentile(95.0).unwrap();
    assert!((480..=520).contains(&p95.as_millis()), "{p95:?}");
    assert!(report.operations[0].sent.max().unwrap() < Duration::from_millis(1), "the node's replies were slow");
    let lag = report.send_lag.max().unwrap();
    assert!((980..=1_010).contains(&lag.as_millis()), "{lag:?}");
    let Verdict::NotTrusted(doubts) = &report.verdict else { panic!("the report is trusted") };
    assert!(matches!(doubts[..], [Doubt::SendLag { .. }]), "{doubts:?}");
    assert_eq!(report.limit, Limit::Generator);
    assert!(doubts[0].to_string().contains("later than planned"));
}

#[test]
fn a_generator_that_always_wakes_late_is_not_trusted() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(2));
    for _ in 0..2_000 {
        stage.stall_generator(Duration::from_millis(12));
        stage.run_for(Duration::ZERO);
    }
    let Verdict::NotTrusted(doubts) = stage.finish().verdict else { panic!("the report is trusted") };
    assert!(doubts.iter().any(|doubt| matches!(doubt, Doubt::LoopLag { .. })), "{doubts:?}");
}

#[test]
fn a_node_that_falls_behind_is_the_limit_even_if_it_eventually_answers_every_ping() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_secs(9));
    stage.stall_node(Duration::from_secs(3));
    let report = stage.finish();
    assert_eq!((report.work.answered, report.work.timed_out), (1_000, 0));
    assert_eq!((report.verdict, report.limit), (Verdict::Trusted, Limit::Node));
}
