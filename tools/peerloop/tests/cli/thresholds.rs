//! Thresholds of `bench` and `report`: their results, their exit code among others, and the early end of a run.
//!
//! The limits are a nanosecond, an hour, or counts, so no test depends on a duration.

use crate::{ResultFile, Running, peerloop};
use serde_json::{Value, json};

const SHORT: [&str; 8] = ["bench", "-c", "5", "--warmup", "0s", "--drain", "100ms", "-q"];
const LOAD: [&str; 4] = ["-r", "200", "-d", "1s"];

/// Lists the results of the document's thresholds.
fn results(json: &Value) -> Vec<&str> {
    let thresholds = json["thresholds"].as_array().expect("the thresholds are listed");
    thresholds.iter().map(|threshold| threshold["result"].as_str().expect("a result")).collect()
}

/// Lists the codes of all reasons, in order.
fn codes(json: &Value) -> Vec<u64> {
    let reasons = json["exit"]["reasons"].as_array().expect("the reasons are listed");
    reasons.iter().map(|reason| reason["code"].as_u64().expect("a code")).collect()
}

#[test]
fn thresholds_that_are_met_change_nothing_but_the_report() {
    let file = ResultFile::new("met.json");
    let met = ["--threshold", "ping_rtt:p(99) < 1h over 1s", "--threshold", "connect{view=sent}:count>=5"];
    let run = peerloop(&[&SHORT[..], &LOAD, &met, &["--json", file.path()]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let json = file.json();
    assert_eq!((results(&json), codes(&json)), (vec!["pass", "pass"], vec![]));
    assert_eq!(json["thresholds"][0]["expr"], "ping_rtt:p(99) < 1h over 1s");
    assert_eq!((&json["thresholds"][1]["value"], &json["thresholds"][1]["reason"]), (&json!(5.0), &json!("count 5")));
    for part in ["Threshold  pass   ping_rtt:p(99) < 1h over 1s", "Threshold  pass   connect{view=sent}:count>=5"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
}

#[test]
fn a_threshold_that_is_not_met_has_an_exit_code_of_its_own() {
    let file = ResultFile::new("missed.json");
    let flags =
        ["--threshold", "ping_rtt{stage=1}:p50<1ns", "--threshold", "ping_rtt:count>=200", "--json", file.path()];
    let run = peerloop(&[&SHORT[..], &LOAD, &flags].concat());
    assert_eq!(run.code, Some(99), "{}", run.stdout);
    assert!(run.complaint().contains("the threshold ping_rtt{stage=1}:p50<1ns fails: p50 "), "{}", run.complaint());
    assert!(run.stdout.contains("Threshold  FAIL   ping_rtt{stage=1}:p50<1ns"), "{}", run.stdout);
    let json = file.json();
    assert_eq!((results(&json), codes(&json)), (vec!["fail", "pass"], vec![99]));
    assert_eq!(json["run"]["partial"], false);
}

#[test]
fn operations_without_a_reply_are_infinitely_slow_and_no_operation_is_no_pass() {
    let (_node, address) = Running::serve(&["-q", "--drop", "100%"]);
    let file = ResultFile::new("dropped.json");
    let target = [address.as_str(), "--network", "regtest", "--json", file.path()];
    let flags = ["--threshold", "ping_rtt:p50<1h", "--threshold", "ping_rtt{view=sent}:failed<=100%"];
    let run = peerloop(&[&SHORT[..], &LOAD, &target, &flags].concat());
    assert_eq!((run.code, results(&file.json())), (Some(99), vec!["fail", "pass"]), "{}", run.stdout);
    assert!(file.json()["thresholds"][0]["value"].is_null());
    let idle = ["-r", "0", "-d", "100ms", "--threshold", "ping_rtt:p50<1h", "--threshold", "ping_rtt:p50<1h over 1s"];
    let run = peerloop(&[&SHORT[..], &target, &idle].concat());
    assert_eq!((run.code, results(&file.json())), (Some(99), vec!["no_data"; 2]), "{}", run.stdout);
    for part in ["nothing was measured", "the run has no whole window of 1 s"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
}

#[test]
fn other_reasons_come_before_or_after_a_threshold_and_all_are_listed() {
    let (_node, address) = Running::serve(&["-q", "--max-peers", "4"]);
    let file = ResultFile::new("precedence.json");
    let common = [&address, "--network", "regtest", "--threshold", "ping_rtt:p50<1ns", "--json", file.path()];
    let run = peerloop(&[&SHORT[..], &LOAD, &common].concat());
    assert_eq!((run.code, codes(&file.json())), (Some(1), vec![1, 99]), "{}", run.stdout);
    let untrusted = ["-r", "0", "-d", "100ms", "--strict", "--threshold", "handshake:max<1ns", "--min-peers", "0"];
    let run =
        peerloop(&[&SHORT[..], &untrusted, &["127.0.0.1:1", "--network", "regtest", "--json", file.path()]].concat());
    assert_eq!((run.code, codes(&file.json())), (Some(1), vec![1, 99, 4]), "{}", run.stdout);
    let endless = ["bench", "-c", "5", "-r", "200", "-d", "1h", "--warmup", "0s", "--json", file.path()];
    let mut run = Running::start(&[&endless[..], &["--threshold", "ping_rtt:count>=1m"]].concat());
    run.wait_for("run ");
    run.signal("INT");
    assert_eq!((run.finish().code, codes(&file.json())), (Some(130), vec![130, 99]));
}

#[test]
fn a_run_that_fails_a_threshold_ends_early_if_asked_to() {
    let file = ResultFile::new("aborted.json");
    for threshold in ["ping_rtt:p50<1ns over 2s", "ping_rtt{view=sent}:max<1ns"] {
        let flags =
            ["-r", "200", "-d", "1h", "--threshold", threshold, "--abort-on-threshold=1s", "--json", file.path()];
        let run = peerloop(&[&SHORT[..], &flags].concat());
        assert_eq!(run.code, Some(99), "{}", run.stderr);
        let json = file.json();
        assert_eq!((&json["run"]["partial"], codes(&json)), (&json!(true), vec![99, 99]));
        let reason = json["exit"]["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("aborted after ") && reason.contains(" of 3600 s: the threshold "), "{reason}");
        assert!(reason.contains(threshold) && run.complaint().ends_with(reason), "{reason}");
        assert!(run.stdout.contains("partial aborted after"), "{}", run.stdout);
    }
}

#[test]
fn a_threshold_that_is_met_ends_no_run() {
    let flags = ["--threshold", "ping_rtt:p99<1h", "--abort-on-threshold"];
    let run = peerloop(&[&SHORT[..], &LOAD, &flags].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!run.stdout.contains("partial"), "{}", run.stdout);
}

#[test]
fn wrong_names_are_refused_before_anything_is_opened() {
    let file = ResultFile::new("refused.json");
    for (threshold, part) in [
        (
            "pong:p99<1s",
            "there is no metric `pong`; choose from connect (planned, sent), handshake (measured), ping_rtt",
        ),
        ("ping_rtt{view=measured}:p99<1s", "`ping_rtt` has no view `measured`; choose from connect"),
        ("ping_rtt{stage=2}:p99<1s", "there is no stage 2; the run has 1 stage"),
        ("handshake:p99<1s over 1s", "no intervals of `handshake.measured`"),
        ("ping_rtt:p99<1", "the duration `1` has no unit"),
        ("ping_rtt:median<1s", "`median` is called p50 here"),
    ] {
        // Nothing listens there.
        let target = ["127.0.0.1:1", "--network", "regtest", "--json", file.path(), "--threshold", threshold];
        let run = peerloop(&[&SHORT[..], &target].concat());
        assert_eq!(run.code, Some(2), "{threshold}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{threshold}: {}", run.stderr);
        assert!(!std::fs::exists(file.path()).expect("the folder is readable"), "{threshold}");
    }
    let alone = peerloop(&[&SHORT[..], &["--abort-on-threshold"]].concat());
    assert_eq!(alone.code, Some(2), "{}", alone.stderr);
}

#[test]
fn report_shows_the_thresholds_of_a_run_and_judges_others() {
    let file = ResultFile::new("judged.json");
    let run = peerloop(&[&SHORT[..], &LOAD, &["--threshold", "ping_rtt:p50<1ns", "--json", file.path()]].concat());
    assert_eq!(run.code, Some(99), "{}", run.stderr);
    let shown = peerloop(&["report", file.path()]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("Threshold  FAIL   ping_rtt:p50<1ns"), "{}", shown.stdout);
    let other = "ping_rtt:p99<1h over 1s";
    let passed = peerloop(&["report", file.path(), "--threshold", other]);
    assert_eq!(passed.code, Some(0), "{}", passed.stderr);
    assert!(passed.stdout.contains(&format!("Threshold  pass   {other}")), "{}", passed.stdout);
    assert!(!passed.stdout.contains("Threshold  FAIL"), "{}", passed.stdout);
    let failed = peerloop(&["report", file.path(), "--threshold", other, "--threshold", "loop_lag:max<1ns"]);
    assert_eq!(failed.code, Some(99), "{}", failed.stderr);
    assert!(failed.complaint().contains("the threshold loop_lag:max<1ns fails: max "), "{}", failed.complaint());
    let refused = peerloop(&["report", file.path(), "--threshold", "dial_lag:max<1s over 1s"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.complaint().contains("no intervals of `dial_lag.measured`"), "{}", refused.complaint());
}
