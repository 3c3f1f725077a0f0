//! `compare`, and the runs that it compares.

use crate::{folder, peerloop};
use serde_json::Value;

const SHORT: [&str; 10] = ["bench", "-c", "2", "-r", "100", "-d", "300ms", "--warmup", "0s", "-q"];

#[test]
fn two_runs_are_compared_without_a_verdict() {
    let folder = folder();
    let [base, new, other] = ["base", "new", "other"].map(|name| folder.file(name));
    for dir in [&base, &new] {
        assert_eq!(peerloop(&[&SHORT[..], &["-o", dir]].concat()).code, Some(0));
    }
    assert_eq!(peerloop(&[&SHORT[..], &["--drain", "1s", "-o", &other]].concat()).code, Some(0));
    let run = peerloop(&["compare", &base, "--", &new]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for part in ["base      1 run  127.0.0.1:", "ping_rtt p99", "Verdict   undecided: "] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let json = peerloop(&["compare", &base, "--format", "json", "--", &new]);
    let json: Value = serde_json::from_str(&json.stdout).expect("the output is JSON");
    assert_eq!((&json["verdict"], &json["margin"]), (&"undecided".into(), &0.05.into()));
    let refused = peerloop(&["compare", &base, "--", &other]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.complaint().contains("`config.drain_ns` differs: it is 2000000000 in "), "{}", refused.stderr);
    let few = peerloop(&["compare", &base, "--fail-on", "worse", "--", &new]);
    assert_eq!(few.code, Some(2));
    assert!(few.complaint().contains("a build cannot depend on 1 runs a side"), "{}", few.stderr);
}

#[test]
fn mistakes_in_a_comparison_are_reported_in_one_line() {
    for (arguments, part) in [
        (&["compare"][..], "required"),
        (&["compare", "a"], "<NEW>..."),
        (&["compare", "a", "--margin", "5", "--", "b"], "`5` is not a margin"),
        (&["compare", "a", "--fail-on", "better", "--", "b"], "better"),
    ] {
        let run = peerloop(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert!(run.complaint().contains(part), "{}", run.complaint());
    }
    let missing = peerloop(&["compare", "/nonexistent", "--", "/nonexistent"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.complaint().contains("reading the run /nonexistent"), "{}", missing.complaint());
}
