//! `compare`, and the runs that it compares.

use crate::{Running, folder, peerloop};
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
    let page = peerloop(&["compare", &base, "--format", "html", "--", &new]).stdout;
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("UNDECIDED"), "{page}");
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

#[test]
fn repeated_runs_have_folders_of_their_own_and_a_summary() {
    let folder = folder();
    let dir = folder.file("runs");
    let run = peerloop(&[&SHORT[..], &["--repeat", "3", "--pause", "10ms", "-o", &dir]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for number in 1..=3 {
        let line = format!("run {number}/3   {dir}/00{number}");
        assert!(run.stdout.contains(&line), "{line}: {}", run.stdout);
    }
    for part in ["100 % of 30 pings answered", "Between runs", "ping_rtt p99", "95 % sure", "failed           0.000 %"]
    {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let merged = peerloop(&["report", &dir, "--format", "json"]);
    let merged: Value = serde_json::from_str(&merged.stdout).expect("the output is JSON");
    assert_eq!(
        (&merged["counts"]["planned"], merged["merged"]["runs"].as_array().map(Vec::len)),
        (&90.into(), Some(3))
    );
    let again = peerloop(&[&SHORT[..], &["--repeat", "3", "-o", &dir]].concat());
    assert_eq!(again.code, Some(2));
    assert!(again.complaint().contains("the folder is not empty"), "{}", again.stderr);
    for (flags, part) in
        [(&["--repeat", "2"][..], "--out <DIR>"), (&["--repeat", "2", "-o", "a", "--json", "b"], "--json")]
    {
        let refused = peerloop(&[&SHORT[..], flags].concat());
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.complaint().contains(part), "{}", refused.complaint());
    }
}

#[test]
fn a_signal_ends_the_run_in_progress_and_the_repetition() {
    let folder = folder();
    let dir = folder.file("runs");
    let endless = ["bench", "-c", "2", "-d", "1h", "--warmup", "0s", "--repeat", "9", "-o", &dir];
    let run = Running::start(&endless);
    while !std::path::Path::new(&dir).join("001").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    run.signal("INT");
    let run = run.finish();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.stderr.contains("bench --repeat: stopped by SIGINT: "), "{}", run.stderr);
    let names: Vec<String> =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["001"], "a further run began after the signal");
}

#[test]
fn a_repetition_exits_with_the_code_of_its_worst_run() {
    let folder = folder();
    let dir = folder.file("runs");
    let run = peerloop(&[&SHORT[..], &["--repeat", "2", "-o", &dir, "--threshold", "ping_rtt:p50<1ns"]].concat());
    assert_eq!(run.code, Some(99), "{}", run.stderr);
    assert!(run.stderr.contains("bench the built-in node: 2 of 2 runs failed, see above"), "{}", run.stderr);
    assert!(run.stdout.contains("Between runs"), "{}", run.stdout);
}

#[test]
fn rounds_measure_both_versions_in_turn() {
    let folder = folder();
    let dir = folder.file("rounds");
    let arguments = "-c 2 -r 100 -d 300ms --warmup 0s --name 'two words'";
    let run = peerloop(&["compare", "--rounds", "3", "--base", arguments, "--new", arguments, "-o", &dir]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for part in ["base      3 runs", "Interleaved runs, compared pair by pair", "ping_rtt p50", "Verdict   "] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let rounds = run.stderr.lines().filter(|line| line.starts_with("round "));
    let order: Vec<&str> = rounds.filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(order, ["base", "new", "new", "base", "base", "new"]);
    let [base, new] = ["base", "new"].map(|side| format!("{dir}/{side}"));
    let again = peerloop(&["compare", &base, "--", &new]);
    assert_eq!(again.stdout, run.stdout);
}

#[test]
fn mistakes_in_rounds_are_reported_before_the_first_round() {
    for (arguments, part) in [
        (&["--rounds", "3"][..], "--base"),
        (&["--rounds", "3", "--base", "-c 0", "--new", ""], "bench refuses the arguments of --base"),
        (&["--rounds", "3", "--base", "", "--new", "-o x"], "bench refuses the arguments of --new"),
        (&["--rounds", "3", "--base", "'", "--new", ""], "a quote is not closed"),
        (&["--rounds", "3", "--base", "--repeat 3", "--new", ""], "--repeat cannot be used here"),
        (&["--rounds", "3", "--base", "", "--new", "", "--fail-on", "worse"], "--fail-on needs --rounds 8 or more"),
        (&["--rounds", "3", "--base", "", "--new", "", "a"], "cannot be used with"),
    ] {
        let run = peerloop(&[&["compare"], arguments].concat());
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
}
