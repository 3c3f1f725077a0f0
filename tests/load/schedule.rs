//! The schedule of connections and pings, and the reports about it.

use crate::stage::{RATE, Stage, set_rate};
use peerloop::load::{Doubt, Limit, Phase, Rate, Verdict};
use std::time::Duration;

#[test]
fn connections_are_opened_at_the_requested_rate() {
    let mut stage = Stage::new();
    for opened in 1..=9 {
        stage.run_for(Duration::from_millis(if opened == 1 { 0 } else { 50 }));
        let progress = stage.progress();
        assert_eq!((progress.phase, progress.peers.ready), (Phase::Ramp, opened));
    }
    stage.run_for(Duration::from_millis(50));
    assert_eq!(stage.progress().phase, Phase::Warmup, "the warm-up has not begun although the last peer is ready");
    let report = stage.finish();
    assert_eq!(
        (report.ramp.planned_time, report.ramp.dial_time),
        (Duration::from_millis(450), Duration::from_millis(450))
    );
    assert_eq!(report.ramp.dial_rate_per_second(Rate::per_second(20)), Some(20.0));
    assert_eq!((report.connect_planned.count(), report.dial_lag.count(), report.limit), (10, 10, Limit::None));
}

#[test]
fn late_dials_are_measured_from_their_planned_moments_and_make_the_report_untrusted() {
    let mut stage = Stage::new();
    stage.run_for(Duration::from_millis(210));
    stage.stall_generator(Duration::from_millis(440));
    let report = stage.finish();
    assert_eq!(
        (report.ramp.planned_time, report.ramp.dial_time),
        (Duration::from_millis(450), Duration::from_millis(650))
    );
    let lag = report.dial_lag.max().unwrap();
    assert!((399..=401).contains(&lag.as_millis()), "{lag:?} is not the lag of the dial planned for 250 ms");
    assert!(report.connect_planned.max().unwrap() >= lag && report.connect_dialled.max().unwrap() < lag);
    assert_eq!(report.limit, Limit::Generator);
    let Verdict::NotTrusted(doubts) = report.verdict else { panic!("the report is trusted") };
    assert!(matches!(doubts[..], [Doubt::DialLag { .. }]), "{doubts:?}");
}

#[test]
fn pings_are_evenly_spaced_and_each_is_answered() {
    let mut stage = Stage::with(|plan| plan.warmup = Duration::ZERO);
    stage.run_for(Duration::from_millis(450));
    assert_eq!(stage.progress().planned, 1, "not exactly one ping was planned for the start of the run");
    for planned in 2..=101_u64 {
        stage.run_for(Duration::from_nanos(1_000_000_000 / RATE));
        let progress = stage.progress();
        assert_eq!((progress.planned, progress.sent, progress.answered), (planned, planned, planned));
    }
    let counters = stage.node.stats().counters;
    assert_eq!(counters.pings_answered, 101);
    let report = stage.finish();
    assert_eq!(report.work.planned, 1_000);
}

#[test]
fn a_run_of_ten_seconds_has_three_pings_in_all_if_each_of_three_peers_is_pinged_every_ten_seconds() {
    let rate = Rate::new(1, Duration::from_secs(10)).unwrap().times(3).unwrap();
    let report = Stage::with(|plan| {
        plan.connections = 3;
        set_rate(plan, rate);
    })
    .finish();
    let work = report.work;
    assert_eq!((work.planned, work.sent, work.unsent, work.answered), (3, 3, 0, 3));
    assert_eq!(report.verdict, Verdict::Trusted);
}

#[test]
fn the_warm_up_is_not_counted_and_a_run_whose_pings_are_all_answered_needs_no_drain() {
    let mut stage = Stage::new();
    let began = stage.world.now();
    stage.run_for(Duration::from_secs(1));
    let progress = stage.progress();
    assert_eq!((progress.phase, progress.planned, progress.interval), (Phase::Warmup, 0, None));
    while stage.generator.handler().phase() != Phase::Done {
        stage.run_for(Duration::from_millis(10));
    }
    let took = stage.world.now().since(began);
    assert!(
        took < Duration::from_millis(11_500),
        "a ramp of 0.45 s, a warm-up of 1 s and a run of 10 s lasted {took:?}"
    );
    assert_eq!(stage.node.stats().counters.pings_answered, 1_100);
    let report = stage.finish();
    assert_eq!((report.work.planned, report.work.answered, report.verdict), (1_000, 1_000, Verdict::Trusted));
}

#[test]
fn a_rate_of_zero_sends_no_pings_and_keeps_the_peers() {
    let mut stage = Stage::with(|plan| set_rate(plan, Rate::ZERO));
    stage.run_for(Duration::from_secs(11));
    assert_eq!(stage.node.stats().ready, 10);
    let report = stage.finish();
    assert_eq!((report.peers.ready, report.work.planned, report.verdict), (10, 0, Verdict::Trusted));
}
