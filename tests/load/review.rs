//! Review suspicions.
use crate::stage::Stage;
use peerloop::load::Plan;
use std::time::Duration;

#[test]
fn t6_a_stall_at_the_end_of_the_run_is_accounted_for() {
    let mut stage = Stage::with(|plan| Plan { rate: 2_000.0, ..plan });
    // ramp .45 s, warmup 1 s, run 10 s: stop short of the end, then the generator's thread gets no CPU
    stage.run_for(Duration::from_millis(10_000));
    stage.stall_generator(Duration::from_secs(3));
    let report = stage.finish();
    assert_eq!(report.work.planned, 20_000, "{:?} {:?}", report.work, report.verdict);
}
#[test]
fn t6b_dead_load_is_not_trusted() {
    let nobody = "10.0.0.1:1".parse().unwrap();
    let report = Stage::with(|plan| Plan { targets: vec![nobody], ..plan }).finish();
    assert_ne!(report.verdict, peerloop::load::Verdict::Trusted, "{:?}", report.peers);
}
#[test]
fn t6c_a_short_stall_at_the_end_is_not_lost_silently() {
    let mut stage = Stage::with(|plan| Plan { rate: 10_000.0, ..plan });
    stage.run_for(Duration::from_millis(11_405));
    stage.stall_generator(Duration::from_millis(50));
    let report = stage.finish();
    assert_eq!(report.work.planned, 100_000, "{:?} {:?}", report.work, report.verdict);
}
