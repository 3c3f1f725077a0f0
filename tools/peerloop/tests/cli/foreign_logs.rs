//! `report` over interval logs that other programs wrote.

use crate::{folder, peerloop};
use serde_json::{Value, json};
use std::fs;

/// A log of the package hdrhistogram of PyPI; `tools/oracles/foreign_log.py` wrote it, and describes it.
const FOREIGN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/fixtures/foreign.hlog");

#[test]
fn a_log_of_another_program_is_shown_with_its_unit_and_without_invented_fields() {
    let run = peerloop(&["report", FOREIGN, "--unit", "us"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for part in [
        "unit      microseconds (by --unit)\n",
        "no data   failed operations, configuration, peers and verdict",
        "\n(no tag)\n  2 intervals from 0 s to 2 s, 2000 latencies\n  p50 1.00 ms   p90 1.80 ms   p99 1.98 ms",
        "\nwrite\n  1 interval from 2 s to 3 s, 5 latencies\n",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let json = peerloop(&["report", FOREIGN, "--format", "json", "--percentiles", "50,100", "--unit", "us"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("the output is JSON");
    assert_eq!((&json["unit"], &json["unit_is_assumed"]), (&json!("microseconds"), &json!(false)));
    let metric = &json["metrics"][0];
    assert_eq!((&metric["tag"], &metric["count"], &metric["min"]), (&Value::Null, &json!(2_000), &json!(1_000)));
    assert_eq!(metric["percentiles"], json!({ "50": 1_000_000, "100": 2_000_000 }));
    assert_eq!(metric.get("failed"), None);
    let assumed = peerloop(&["report", FOREIGN]);
    assert!(assumed.stdout.contains("unit      nanoseconds (assumed, because a log names none"), "{}", assumed.stdout);
    assert!(assumed.stdout.contains("p50 1.0 us"), "{}", assumed.stdout);
}

#[test]
fn logs_are_added_up_and_cut_and_shown_for_plotters_and_spreadsheets() {
    let folder = folder();
    let copy = folder.file("copy.hlog");
    fs::copy(FOREIGN, &copy).unwrap();
    let csv = peerloop(&["report", FOREIGN, &copy, "--format", "summary-csv", "--percentiles", "100", "--to", "2s"]);
    let lines: Vec<&str> = csv.stdout.lines().collect();
    assert_eq!(lines[0], "tag,intervals,count,mean_ns,max_ns,unit_of_log");
    assert!(lines[1].starts_with(",4,4000,1000,2000,\"nanoseconds (assumed"), "{}", csv.stdout);
    assert_eq!(lines.len(), 2);
    let several = peerloop(&["report", FOREIGN, "--format", "hgrm"]);
    assert_eq!(several.code, Some(2));
    assert!(several.complaint().contains("there are (no tag), write; use --tag"), "{}", several.stderr);
    let hgrm = peerloop(&["report", FOREIGN, "--format", "hgrm", "--tag", "write", "--unit", "us"]);
    assert!(hgrm.stdout.contains("#[Max     =    10.00"), "{}", hgrm.stdout);
    assert!(hgrm.stdout.ends_with("#[Unit of the log = microseconds (by --unit)]\n"), "{}", hgrm.stdout);
}

#[test]
fn mistakes_with_logs_say_what_to_do() {
    let folder = folder();
    let broken = folder.file("broken.hlog");
    fs::write(&broken, "#[Histogram log format version 1.3]\n1,2,3,????\n").unwrap();
    let run = folder.file("run.json");
    fs::write(&run, "{}").unwrap();
    for (arguments, code, part) in [
        (&[broken.as_str()][..], 1, ":2: its histogram is not base64"),
        (&["/nonexistent.hlog"], 1, "reading the log /nonexistent.hlog: No such file"),
        (&[FOREIGN, "/nonexistent"], 1, "reading the log /nonexistent: No such file"),
        (&[FOREIGN, &run], 2, "run.json is no interval log: show runs and logs apart"),
        (&[FOREIGN, "--threshold", "ping_rtt:p99<1s"], 2, "--threshold and --by need run documents"),
        (&[FOREIGN, "--format", "html"], 2, "can be shown as text, json, hgrm and summary-csv"),
        (&[FOREIGN, "--tag", "other"], 1, "no interval with a histogram is in it"),
        (&[FOREIGN, "--from", "2s", "--to", "1s"], 2, "--from must be before --to"),
        (&[FOREIGN, "--unit", "s"], 2, "possible values: ns, us, ms"),
    ] {
        let run = peerloop(&[&["report"], arguments].concat());
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}
