//! Comparisons of runs whose difference is known.

use super::document::{Pairing, Verdict};
use super::judge::judge;
use super::*;
use crate::model::{self, Trust, View};
use crate::runs::Judged;
use crate::units::parse_percentiles;
use peerloop::histogram::LatencyHistogram;
use std::time::Duration;

/// Returns a run that started at this second, with 100 latencies of 1 to 100 times `nanos`.
fn started(name: &str, second: u32, nanos: u64) -> Named {
    let mut document = model::parse(include_str!("../bench/golden/measured.json")).unwrap();
    document.run.id = name.to_owned();
    document.run.start = format!("2026-01-01T00:00:{second:02}.000Z");
    let mut histogram = LatencyHistogram::new();
    (1..=100).for_each(|rank| histogram.record(Duration::from_nanos(rank * nanos)));
    let percentiles = parse_percentiles("50,99").unwrap();
    let main = document.metrics.iter_mut().find(|metric| metric.work.is_some()).unwrap();
    main.planned = Some(View::new(&percentiles, histogram, 0, None));
    Named { name: name.to_owned(), document }
}

/// Returns runs that were made in the order A B B A, with a spread of a few percent.
pub(super) fn interleaved(count: u32, base_nanos: u64, new_nanos: u64) -> [Vec<Named>; 2] {
    let spread = |nanos: u64, index: u32| nanos + nanos * u64::from(index * 7 % 5) / 100;
    let run = |side: &str, position: u32, index: u32, nanos| {
        started(&format!("{side}{index}"), position, spread(nanos, index))
    };
    let positions =
        |index: u32| if index.is_multiple_of(2) { [2 * index, 2 * index + 1] } else { [2 * index + 1, 2 * index] };
    let base = (0..count).map(|index| run("base", positions(index)[0], index, base_nanos));
    let new = (0..count).map(|index| run("new", positions(index)[1], index, new_nanos));
    [base.collect(), new.collect()]
}

pub(super) fn judged([base, new]: [Vec<Named>; 2]) -> Judgement {
    judge(base, new, 0.05).unwrap()
}

fn verdicts(document: &Document) -> Vec<Verdict> {
    document.metrics.iter().map(|metric| metric.verdict).collect()
}

#[test]
fn a_slower_version_is_worse_and_a_faster_one_better() {
    let judgement = judged(interleaved(8, 1_000, 1_300));
    let Document { verdict, reason, pairing, metrics, .. } = &judgement.document;
    assert_eq!((*verdict, *pairing), (Verdict::Worse, Pairing::Interleaved));
    assert_eq!(verdicts(&judgement.document), [Verdict::Worse, Verdict::Worse, Verdict::Same, Verdict::Same]);
    assert!((metrics[1].change.unwrap() - 0.3).abs() < 0.001, "{metrics:?}");
    assert!(reason.contains("ping_rtt p99: +30.0 % [+30") && reason.contains("beyond the margin of 5 %"), "{reason}");
    assert_eq!((judgement.fails(FailOn::Worse), judgement.fails(FailOn::Undecided)), (Ok(true), Ok(true)));
    let judgement = judged(interleaved(8, 1_300, 1_000));
    assert_eq!(judgement.document.verdict, Verdict::Better);
    assert_eq!(judgement.fails(FailOn::Undecided), Ok(false));
}

#[test]
fn equal_versions_are_the_same() {
    let judgement = judged(interleaved(8, 1_000, 1_001));
    assert_eq!(verdicts(&judgement.document), [Verdict::Same; 4]);
    assert_eq!(judgement.document.reason, "every metric changed by less than its margin");
    assert_eq!(judgement.fails(FailOn::Undecided), Ok(false));
}

#[test]
fn one_run_a_side_is_never_a_verdict() {
    let document = judged(interleaved(1, 1_000, 9_000)).document;
    assert_eq!((document.verdict, verdicts(&document)), (Verdict::Undecided, vec![Verdict::Undecided; 4]));
    let metric = &document.metrics[1];
    assert!((metric.change.unwrap() - 8.0).abs() < 0.01 && metric.interval.is_none(), "{metric:?}");
    assert!(metric.reason.contains("with 1 run a side: from 3 on, the spread between runs is known"), "{metric:?}");
}

#[test]
fn fewer_than_8_pairs_fail_no_build() {
    let judgement = judged(interleaved(7, 1_000, 2_000));
    let refused = judgement.fails(FailOn::Worse).unwrap_err();
    assert!(refused.contains("a build cannot depend on 7 runs a side: 8 are needed"), "{refused}");
}

#[test]
fn a_run_that_did_not_carry_out_its_plan_is_named_and_nothing_is_decided() {
    for change in [
        (|run: &mut Named| run.document.run.partial = true) as fn(&mut Named),
        |run| run.document.generator.verdict = Trust::NotTrusted,
        |run| distrust(run, &["send_lag", "busy"]),
    ] {
        let mut sides = interleaved(8, 1_000, 1_300);
        change(&mut sides[1][3]);
        let document = judged(sides).document;
        assert_eq!(verdicts(&document), [Verdict::Undecided; 4]);
        assert!(document.warnings[0].starts_with("new3 "), "{:?}", document.warnings);
        assert_eq!(document.reason, format!("ping_rtt p50: {}", document.warnings[0]));
        assert!(document.new.runs[3].doubt.is_some() && document.new.runs[2].doubt.is_none());
    }
}

fn distrust(run: &mut Named, doubts: &[&str]) {
    let generator = &mut run.document.generator;
    generator.verdict = Trust::NotTrusted;
    generator.doubts = doubts.iter().map(|&name| name.to_owned()).collect();
    generator.reasons = doubts.iter().map(|name| format!("too much {name}")).collect();
}

/// Gives every lag of the generator 100 values: `slow` times `nanos`, and otherwise 0.
fn set_lags(run: &mut Named, slow: u64, nanos: u64) {
    let percentiles = parse_percentiles("50,99").unwrap();
    for name in ["send_lag", "loop_lag", "dial_lag"] {
        let mut histogram = LatencyHistogram::new();
        (0..100).for_each(|rank| histogram.record(Duration::from_nanos(if rank < slow { nanos } else { 0 })));
        let view = Some(View::new(&percentiles, histogram, 0, None));
        let metrics = &mut run.document.metrics;
        match metrics.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => metric.measured = view,
            None => metrics.push(model::Metric {
                name: name.to_owned(),
                unit: "ns".to_owned(),
                work: None,
                planned: None,
                sent: None,
                measured: view,
            }),
        }
    }
}

#[test]
fn a_late_generator_leaves_open_only_what_it_may_have_caused() {
    let mut sides = interleaved(8, 1_000, 1_300);
    for run in &mut sides[1] {
        // Two operations in a hundred were late: the median is not affected, the 99th percentile is.
        set_lags(run, 2, 15_000);
        distrust(run, &["send_lag", "dial_lag"]);
    }
    let judgement = judged(sides);
    let document = &judgement.document;
    assert_eq!(verdicts(document), [Verdict::Worse, Verdict::Undecided, Verdict::Same, Verdict::Same]);
    assert_eq!((document.verdict, judgement.fails(FailOn::Worse)), (Verdict::Worse, Ok(true)));
    assert_eq!(document.warnings[0], "new0 is not trusted: too much send_lag; too much dial_lag");
    let reason = &document.metrics[1].reason;
    assert!(reason.contains("; but the generator of new5 was late by 30"), "{reason}");
}

fn fail(run: &mut Named, failed: u64) {
    let work = &mut run.document.counts.work;
    (work.planned, work.sent, work.timed_out, work.unsent) = (1_000, 1_000, failed, 0);
}

/// Makes the 99th percentile infinite.
fn make_infinite(run: &mut Named) {
    let main = run.document.metrics.iter_mut().find(|metric| metric.work.is_some()).unwrap();
    main.planned.as_mut().unwrap().set_failed(5);
}

#[test]
fn a_late_generators_failures_and_shifted_replies_decide_nothing() {
    let doubted = |change: fn(&mut Named)| {
        let mut run = started("run", 0, 1_000);
        set_lags(&mut run, 1, 5_000);
        distrust(&mut run, &["loop_lag"]);
        change(&mut run);
        Judged::ALL.map(|judged| judged.doubt(&run.document).is_some())
    };
    assert_eq!(doubted(|_| ()), [false; 4]);
    // One failed operation in a thousand is within the margin, two are not.
    assert_eq!(doubted(|run| fail(run, 1)), [false; 4]);
    assert_eq!(doubted(|run| fail(run, 2)), [false, false, true, false]);
    // A burst of late operations can overflow a node's queue.
    assert_eq!(doubted(make_infinite), [false, true, false, false]);
    // Two lags of 1.1 % of the run each.
    assert!(doubted(|run| set_lags(run, 1, 11 * run.document.run.scheduled_ns.0.as_nanos() as u64 / 1_000))[3]);
}

#[test]
fn the_lags_of_a_late_generator_count_against_the_verdict() {
    let medians = |new_us: u64, late_side: usize, lag_ns: u64| {
        let mut sides = interleaved(8, 1_000, new_us);
        for run in &mut sides[late_side] {
            set_lags(run, 100, lag_ns);
            distrust(run, &["loop_lag"]);
        }
        judged(sides).document.metrics.remove(0).verdict
    };
    // The new median is 30 % longer, and two lags of the same size may be a part of it.
    assert_eq!(medians(1_300, 1, 4_000), Verdict::Worse);
    assert_eq!(medians(1_300, 1, 8_000), Verdict::Undecided);
    assert_eq!(medians(1_300, 0, 20_000), Verdict::Worse);
    assert_eq!(medians(1_001, 0, 100), Verdict::Same);
    assert_eq!(medians(1_001, 0, 2_000), Verdict::Undecided);
}

#[test]
fn runs_of_different_loads_are_refused_with_the_field_and_other_targets_are_allowed() {
    let refused = |change: fn(&mut model::Document)| {
        let [base, mut new] = interleaved(3, 1_000, 1_000);
        change(&mut new[2].document);
        judge(base, new, 0.05).unwrap_err().message
    };
    for (text, part) in [
        (refused(|document| document.config.connections = 7), "comparing base0 and new2: `config.connections` differs"),
        (refused(|document| document.run.segment = [1, 2]), "`run.segment` differs: it is [1, 1] in base0 and [1, 2]"),
        (refused(|document| document.run.id = "base1".to_owned()), "comparing base1 and new2: both have the `run.id`"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let [base, mut new] = interleaved(3, 1_000, 1_000);
    for run in &mut new {
        run.document.targets[0].addr = "192.0.2.7:8333".to_owned();
        run.document.tool.git = Some("other".to_owned());
        run.document.config.min_peers = 3;
    }
    assert_eq!(judge(base, new, 0.05).unwrap().document.new.targets, ["192.0.2.7:8333"]);
}

#[test]
fn only_runs_in_turn_are_pairs() {
    let apart = |count: u32| {
        let base = (0..count).map(|index| started(&format!("a{index}"), index, 1_000 + u64::from(index)));
        let new = (0..count).map(|index| started(&format!("b{index}"), count + index, 1_300 + u64::from(index)));
        [base.collect(), new.collect()]
    };
    let document = judged(apart(4)).document;
    assert_eq!((document.pairing, document.verdict), (Pairing::Apart, Verdict::Worse));
    // The order of the arguments does not matter, only that of the starts.
    let [mut base, new] = interleaved(4, 1_000, 1_300);
    base.reverse();
    assert_eq!(judged([base, new]).document.pairing, Pairing::Interleaved);
    let [base, mut new] = interleaved(4, 1_000, 1_300);
    new.pop();
    assert_eq!(judged([base, new]).document.pairing, Pairing::Apart);
}

#[test]
fn a_percentile_among_failed_operations_is_infinitely_worse() {
    let mut sides = interleaved(8, 1_000, 1_000);
    sides[1].iter_mut().for_each(make_infinite);
    let judgement = judged(sides);
    let metric = &judgement.document.metrics[1];
    assert_eq!((metric.verdict, metric.new, metric.change), (Verdict::Worse, None, None), "{metric:?}");
    assert!(metric.reason.contains("the change has no size"), "{metric:?}");
    let mut out = Vec::new();
    Format::Text.write(&judgement, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\nping_rtt p99        101 us      failed             -  worse\n"), "{text}");
}

#[test]
fn every_form_shows_the_verdict_and_its_reason() {
    let judgement = judged(interleaved(8, 1_000, 1_300));
    let written = |format: Format| {
        let mut out = Vec::new();
        format.write(&judgement, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let text = written(Format::Text);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("\nVerdict   worse: ping_rtt p50: +30") && text.contains("pair by pair"), "{text}");
    let markdown = written(Format::Markdown);
    assert!(
        markdown.starts_with("**worse**: ping_rtt p50: ") && markdown.contains("| failed | 0.000 % |"),
        "{markdown}"
    );
    let json: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
    assert_eq!((&json["verdict"], &json["pairing"]), (&"worse".into(), &"interleaved".into()));
    assert_eq!((&json["metrics"][2]["unit"], &json["metrics"][0]["unit"]), (&"share".into(), &"nanoseconds".into()));
    assert_eq!(json["base"]["runs"].as_array().map(Vec::len), Some(8));
}

#[test]
fn margins_are_percentages() {
    assert_eq!((parse_margin("5%"), parse_margin("0.5 %")), (Ok(0.05), Ok(0.005)));
    for wrong in ["5", "0%", "100%", "-5%", "five%", ""] {
        assert!(parse_margin(wrong).unwrap_err().contains("is not a margin"), "{wrong}");
    }
}
