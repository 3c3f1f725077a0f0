//! Merges of documents whose sums are known.

use super::*;
use crate::model::{self, Percentile, Reason};
use serde_json::{Value, json};
use std::time::Duration;

const MEASURED: &str = include_str!("../../bench/golden/measured.json");
const FAILED: &str = include_str!("../../bench/golden/failed.json");

/// Returns a run with this name and id after `change`.
fn named(text: &str, name: &str, change: impl Fn(&mut Value)) -> Named {
    let mut value: Value = serde_json::from_str(text).unwrap();
    value["run"]["id"] = json!(name);
    change(&mut value);
    Named { name: name.to_owned(), document: model::parse(&value.to_string()).unwrap() }
}

fn measured(name: &str) -> Named {
    named(MEASURED, name, |_| {})
}

fn refused(one: Named, other: Named) -> String {
    merge(vec![one, other]).unwrap_err().message
}

#[test]
fn a_single_run_stays_as_it_is() {
    let merged = merge(vec![measured("a")]).unwrap();
    assert_eq!(crate::output::json::pretty(&merged), crate::output::json::pretty(&measured("a").document));
}

#[test]
fn counts_histograms_and_intervals_of_two_runs_add_up() {
    let other = named(MEASURED, "b", |value| {
        value["host"]["name"] = json!("other");
        value["run"]["load_start"] = json!("1970-01-01T00:00:03.100Z");
    });
    let merged = merge(vec![measured("a"), other]).unwrap();
    let (counts, one) = (&merged.counts, &measured("a").document);
    assert_eq!((counts.work.planned, counts.work.answered, counts.peers.ready), (1_000, 1_000, 40));
    assert_eq!(counts.sent_bytes, 2 * one.counts.sent_bytes);
    let view = merged.view("ping_rtt", "planned").unwrap();
    let alone = one.view("ping_rtt", "planned").unwrap();
    assert_eq!((view.latencies.count(), view.percentile(50.0)), (1_000, alone.percentile(50.0)));
    let rows: Vec<(u64, u64, u64)> =
        merged.timeline.rows.iter().map(|row| (row.planned, row.answered, row.peers)).collect();
    assert_eq!(rows, [(400, 300, 40), (400, 400, 40), (200, 300, 40)]);
    assert_eq!(merged.timeline.rows[0].p99, Some(Duration::from_nanos(198_015)));
    assert_eq!((merged.host.name.as_deref(), merged.host.cpus), (Some("tester, other"), 4));
    assert_eq!(merged.run.load_start.as_deref(), Some("1970-01-01T00:00:03.100Z"));
    assert_eq!(merged.run.answered_per_s, one.run.answered_per_s.map(|rate| 2.0 * rate));
    assert_eq!(merged.stages[0].metrics[0].work.unwrap().planned, 2 * one.stages[0].metrics[0].work.unwrap().planned);
    let origin = merged.merged.as_ref().unwrap();
    assert_eq!(origin.runs.iter().map(|part| part.source.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(origin.warnings, [""; 0]);
    // A merged document is consistent, so it can be read again.
    model::parse(&crate::output::json::pretty(&merged)).unwrap();
}

#[test]
fn the_worst_verdict_counts_and_reasons_name_their_run() {
    // Runs of one configuration: the failed one has its targets, which are no part of it.
    let bad = named(MEASURED, "bad", |value| {
        value["generator"] = json!({ "cpu_working": 0.9, "cpu_spinning": 0, "verdict": "not_trusted",
            "reasons": ["it was late"], "limit": "generator" });
        value["exit"] = json!({ "code": 4, "reason": "strict", "reasons":
            [{ "code": 4, "partial": false, "reason": "strict" }, { "code": 99, "partial": false,
            "reason": "slow" }] });
        value["run"]["partial"] = json!(true);
        value["thresholds"] = json!([{ "expr": "a", "result": "fail", "value": 1, "reason": "too slow" }]);
    });
    let good = named(MEASURED, "good", |value| {
        value["thresholds"] = json!([{ "expr": "a", "result": "pass", "value": 1, "reason": "fast" }]);
    });
    let merged = merge(vec![good, bad]).unwrap();
    assert_eq!((merged.generator.verdict, merged.generator.limit), (Trust::NotTrusted, Limit::Generator));
    assert_eq!(merged.generator.reasons, ["bad: it was late"]);
    assert_eq!((merged.exit.code, merged.exit.reason.as_str()), (99, "bad: slow"));
    let reason = |code, reason: &str| Reason { code, partial: false, reason: reason.to_owned() };
    assert_eq!(merged.exit.reasons, [reason(99, "bad: slow"), reason(4, "bad: strict")]);
    assert_eq!((merged.thresholds.len(), merged.thresholds[0].result), (1, Outcome::Fail));
    assert_eq!(merged.thresholds[0].reason, "bad: too slow");
    assert!(merged.run.partial);
    let warnings = merged.merged.unwrap().warnings;
    assert!(warnings[0].starts_with("bad is partial") && warnings[1] == "bad is not trusted", "{warnings:?}");
}

#[test]
fn the_doubts_of_all_runs_are_named_unless_one_has_none() {
    let run = |name: &str, generator: Value| {
        named(MEASURED, name, |value| {
            let fields = value["generator"].as_object_mut().unwrap();
            fields.extend(generator.as_object().unwrap().clone());
        })
    };
    let good = || run("good", json!({}));
    let doubted = |name: &str, doubts: &[&str]| run(name, json!({ "verdict": "not_trusted", "doubts": doubts }));
    let doubts = |runs: Vec<Named>| merge(runs).unwrap().generator.doubts;
    assert_eq!(
        doubts(vec![good(), doubted("one", &["busy"]), doubted("two", &["send_lag", "busy"])]),
        ["busy", "send_lag"]
    );
    // An older version gives no names.
    let older = || doubted("older", &[]);
    assert!(doubts(vec![older(), doubted("one", &["send_lag"]), good()]).is_empty());
    assert!(doubts(vec![doubted("one", &["send_lag"]), good(), older()]).is_empty());
}

#[test]
fn failures_are_slower_than_every_latency_in_the_sum_too() {
    let merged = merge(vec![named(FAILED, "a", |_| {}), named(FAILED, "b", |_| {})]).unwrap();
    let view = merged.view("ping_rtt", "planned").unwrap();
    assert_eq!((view.latencies.count(), view.failed), (100, 900));
    assert_eq!(view.percentile(50.0), Percentile::Beyond(Some(Duration::from_millis(2_010))));
    let (one, sum) = (&named(FAILED, "a", |_| {}).document.counts.errors, &merged.counts.errors);
    assert_eq!(one.iter().map(|error| 2 * error.count).sum::<u64>(), sum.iter().map(|error| error.count).sum::<u64>());
    assert_eq!(merged.targets.len(), 2);
}

#[test]
fn unlike_runs_are_refused_with_both_names_and_the_field() {
    for (change, field) in [
        (
            (|value| value["config"]["workload"] = json!("inv")) as fn(&mut Value),
            "`config.workload` differs: it is \"ping\" in a and \"inv\" in b",
        ),
        (|value| value["config"]["connections"] = json!(21), "`config.connections` differs: it is 20 in a and 21 in b"),
        (|value| value["config"]["stages"][0]["to_per_s"] = json!(7.0), "`config.stages` differs"),
        (|value| value["config"]["spin"] = json!(false), "`config.spin` differs"),
        (|value| value["stages"] = json!([]), "`stages` differs: it is 1 of them in a and 0 of them in b"),
        (|value| value["timeline"]["interval_ns"] = json!(5), "`timeline.interval_ns` differs"),
        (|value| value["metrics"][0]["unit"] = json!("ms"), "`metrics.connect.unit` differs"),
        (
            |value| {
                let other = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1_000_000, 2).unwrap();
                value["metrics"][1]["measured"]["hdr"] = json!(model::Packed::new(&other));
                value["metrics"][1]["measured"]["count"] = json!(0);
            },
            "`metrics.handshake.measured.hdr` differs: it is 1 to",
        ),
    ] {
        let text = refused(measured("a"), named(MEASURED, "b", change));
        assert!(text.starts_with("merging a and b: ") && text.contains(field), "{field}: {text}");
    }
}

#[test]
fn settings_of_one_process_may_differ() {
    let other = named(MEASURED, "b", |value| {
        value["config"]["min_peers"] = json!(5);
        value["config"]["source_ips"] = json!(["10.0.0.9"]);
    });
    let merged = merge(vec![measured("a"), other]).unwrap();
    assert_eq!(merged.config.min_peers, measured("a").document.config.min_peers + 5);
    assert_eq!(merged.config.source_ips, ["10.0.0.7", "10.0.0.9"]);
}

#[test]
fn a_run_is_never_counted_twice_even_inside_a_merged_document() {
    assert!(refused(measured("a"), measured("a")).contains("the `run.id` a; give each run once"));
    let merged = Named { name: "ab".to_owned(), document: merge(vec![measured("a"), measured("b")]).unwrap() };
    assert!(refused(merged, measured("b")).starts_with("merging b and b: "));
}

#[test]
fn a_run_without_intervals_leaves_the_sum_without_them_and_is_named() {
    let without = |name, text: &str| named(text, name, |value| value["timeline"]["histograms"] = json!([]));
    let merged = merge(vec![measured("a"), without("b", MEASURED)]).unwrap();
    assert_eq!((merged.timeline.histograms.len(), merged.timeline.rows.len()), (0, 3));
    let warning = "b has no intervals of `ping_rtt.planned`, so the merged document has none";
    assert_eq!(merged.merged.unwrap().warnings, [warning]);
    let none = named(MEASURED, "b", |value| {
        (value["timeline"]["histograms"], value["timeline"]["rows"]) = (json!([]), json!([]));
    });
    let merged = merge(vec![measured("a"), none]).unwrap();
    assert_eq!(merged.timeline.rows.len(), 0);
    assert_eq!(merged.merged.unwrap().warnings, ["b has no intervals, so the merged document has none"]);
}

#[test]
fn the_order_and_the_grouping_of_runs_do_not_change_the_sum() {
    let run = |index: usize| match index {
        2 => named(MEASURED, "c", |value| value["counts"]["sent_bytes"] = json!(7)),
        _ => measured(["a", "b"][index]),
    };
    let first = merge(vec![run(0), run(1), run(2)]).unwrap();
    for order in [[2, 1, 0], [1, 2, 0]] {
        let flat = merge(order.map(run).into()).unwrap();
        let pair = Named { name: "pair".to_owned(), document: merge(vec![run(order[0]), run(order[1])]).unwrap() };
        let nested = merge(vec![run(order[2]), pair]).unwrap();
        for sum in [&flat, &nested] {
            assert_eq!(sum.counts.sent_bytes, 2 * measured("a").document.counts.sent_bytes + 7);
            assert_eq!(
                (sum.counts.work, &sum.run.id, &sum.timeline),
                (first.counts.work, &first.run.id, &first.timeline)
            );
            assert_eq!(sum.view("ping_rtt", "planned"), first.view("ping_rtt", "planned"));
        }
    }
}
