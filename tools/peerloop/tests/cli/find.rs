//! `bench --find-max`: what it finds, and how it ends. The limits of the nodes are counts, so nothing here depends on a
//! duration: on a busy machine a search may find less, but never more than a node can do.

use crate::{ResultFile, Running, peerloop};
use serde_json::Value;

const COMMON: [&str; 6] = ["bench", "--network", "regtest", "--warmup", "0s", "-q"];

fn number(json: &Value, key: &str) -> u64 {
    json[key].as_u64().unwrap_or_else(|| panic!("no number `{key}` in {json}"))
}

/// Returns the trials, and asserts that they agree with the answer and with the exit code.
#[track_caller]
fn trials(json: &Value, code: Option<i32>) -> Vec<Value> {
    let search = &json["search"];
    let trials = search["trials"].as_array().expect("the trials are listed").clone();
    let has_passed = |load: u64| {
        let passes = |trial: &&Value| ["pass", "rather_pass"].iter().any(|verdict| trial["verdict"] == *verdict);
        trials.iter().filter(passes).any(|trial| number(trial, "load") == load)
    };
    let expected = match (search["answer"].as_str(), search["limit"].as_str()) {
        (Some("nothing"), None) => 1,
        (Some("nothing" | "at_least"), Some("generator")) => 4,
        _ => 0,
    };
    assert_eq!(code, Some(expected), "{search}");
    if search["answer"] != "nothing" {
        assert!(has_passed(number(search, "load")), "{search}");
    }
    if search["answer"] == "number" {
        assert!(number(search, "load") < number(search, "above"), "{search}");
    }
    assert_eq!((&json["run"]["partial"], &json["timeline"]["interval_ns"]), (&false.into(), &100_000_000.into()));
    trials
}

#[test]
fn a_rate_above_the_limit_of_a_node_never_passes() {
    let (_node, address) = Running::serve(&["-q", "--max-rate", "2k"]);
    let file = ResultFile::new("find-rate.json");
    let find = ["--find-max", "ping_rtt:p99<50ms", "--find-range", "1k..8k", "--find-time", "30s", "--confirm", "1"];
    let run = peerloop(&[&COMMON[..], &find, &["-c", "20", "--json", file.path(), &address]].concat());
    for trial in trials(&file.json(), run.code) {
        // The node answers 2,000 a second, and its queue holds 200 more.
        let millis = number(&trial, "duration_ns") / 1_000_000;
        assert!(number(&trial, "answered") <= 2 * millis + 200 + number(&trial, "planned") / 100, "{trial}");
        let is_above = number(&trial, "load") > 2_300;
        assert!(
            !is_above || ["fail", "rather_fail", "generator"].iter().any(|one| trial["verdict"] == *one),
            "{trial}"
        );
    }
    for part in ["search  ping_rtt:p99<50ms  from 1000/s to 8000/s  within 30 s", "Found      ", "Trials  "] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let shown = peerloop(&["report", file.path()]);
    assert!(shown.stdout.contains("Found      "), "{}", shown.stdout);
}

#[test]
fn more_peers_than_a_node_accepts_never_pass() {
    let (_node, address) = Running::serve(&["-q", "--max-peers", "5"]);
    let file = ResultFile::new("find-peers.json");
    let find = ["--find-max", "ping_rtt:p50<1h", "--find-what", "peers", "--find-range", "3..40", "--confirm", "1"];
    let rate = ["--find-time", "40s", "--rate-per-peer", "20", "--connect-rate", "1k"];
    let run = peerloop(&[&COMMON[..], &find, &rate, &["--json", file.path(), &address]].concat());
    let json = file.json();
    for trial in trials(&json, run.code) {
        let (load, missing) = (number(&trial, "load"), number(&trial, "missing_peers"));
        assert!(missing >= load.saturating_sub(5), "{trial}");
        assert!(load <= 5 || trial["verdict"] == "fail" || trial["verdict"] == "generator", "{trial}");
    }
    if json["search"]["answer"] == "number" && json["search"]["end"] == "narrow" {
        assert_eq!((number(&json["search"], "load"), number(&json["search"], "above")), (5, 6), "{}", run.stdout);
    }
}

#[test]
fn a_search_that_is_stopped_reports_what_it_knows() {
    let file = ResultFile::new("find-stopped.json");
    let find = ["--find-max", "ping_rtt:p99<1h", "--find-range", "500..100k", "-c", "5", "--connect-rate", "1k"];
    let mut run = Running::start(&[&COMMON[..5], &find, &["--json", file.path()]].concat());
    run.wait_for_part("search  trial 2: ");
    run.signal("INT");
    let run = run.finish();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    let json = file.json();
    assert_eq!((&json["run"]["partial"], &json["search"]["end"]), (&true.into(), &"stopped".into()));
    assert_eq!(json["search"]["trials"].as_array().map(Vec::len), Some(1), "{json}");
    for part in ["partial stopped by SIGINT", "the search was stopped before its end"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
}

#[test]
fn a_search_without_peers_fails_like_any_bench() {
    let find = ["--find-max", "ping_rtt:p99<50ms", "127.0.0.1:1"];
    let run = peerloop(&[&COMMON[..], &find].concat());
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.complaint().contains("refused"), "{}", run.complaint());
}

#[test]
fn impossible_searches_are_refused_before_anything_starts() {
    let file = ResultFile::new("find-mix");
    std::fs::write(file.path(), "7 ping\n1 headers\n").expect("the folder can be written");
    let mix = &*format!("mix:{}", file.path());
    for (flags, part) in [
        (&["--find-max", "ping_rtt:max<1s"][..], "no trial can show"),
        (&["--find-max", "pong:p99<1s"], "there is no metric `pong`; choose from connect"),
        (&["--find-max", "handshake:p99<1s"], "a trial has no operations of `handshake`; choose a metric of the"),
        (&["--workload", "handshake", "--find-max", "connect:p99<1s"], "choose `handshake`, the time of the whole"),
        (&["--workload", mix, "--find-max", "ping_rtt:p99<1s"], "search with one of its workloads"),
        (&["--find-max", "ping_rtt:p99<1s", "-c", "5", "--find-what", "peers"], "omit -c"),
        (&["--find-max", "ping_rtt:p99<1s", "--rate-per-peer", "5"], "with --find-what peers"),
        (&["--find-max", "ping_rtt:p99<1s", "--find-time", "5s"], "give it 37s or more"),
        (&["--find-max", "ping_rtt:p99<1s", "--threshold", "ping_rtt:p99<1s"], "cannot be used with"),
    ] {
        let run = peerloop(&[&COMMON[..], flags].concat());
        assert_eq!(run.code, Some(2), "{flags:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{flags:?}: {}", run.stderr);
    }
    let dry = peerloop(&[&COMMON[..], &["--find-max", "ping_rtt:p99<1s", "--dry-run"]].concat());
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(dry.stdout.contains("search  ping_rtt:p99<1s  from 1000/s to 100000/s"), "{}", dry.stdout);
}

/// Long searches, only with `PEERLOOP_LONG=1` and on a machine that does nothing else.
#[test]
fn the_limit_of_a_node_is_found_each_time_if_there_is_time_for_it() {
    if std::env::var_os("PEERLOOP_LONG").is_none() {
        return;
    }
    let (_node, address) = Running::serve(&["-q", "--max-rate", "20k"]);
    let file = ResultFile::new("find-long.json");
    for run in 0..10 {
        let find = ["--find-max", "ping_rtt:p99<50ms", "--find-time", "2m", "--json", file.path(), &address];
        let code = peerloop(&[&COMMON[..], &find].concat()).code;
        let json = file.json();
        let search = &json["search"];
        println!("run {run}: {} after {} ns", search["reason"], search["spent_ns"]);
        assert_eq!(
            (code, &search["answer"], &search["end"]),
            (Some(0), &"number".into(), &"narrow".into()),
            "{search}"
        );
        assert!((19_400..=20_600).contains(&number(search, "load")), "{search}");
    }
    for max_peers in [7, 116, 856] {
        let (_node, address) = Running::serve(&["-q", "--max-peers", &max_peers.to_string()]);
        let find = ["--find-max", "ping_rtt:p99<50ms", "--find-what", "peers", "--find-range", "10..2k", &address];
        let code = peerloop(&[&COMMON[..], &find, &["--json", file.path(), "--connect-rate", "1k"]].concat()).code;
        let json = file.json();
        println!("{max_peers} peers: {}", json["search"]["reason"]);
        assert_eq!((code, number(&json["search"], "load")), (Some(0), max_peers), "{}", json["search"]);
    }
}

/// A long search with a node in this process, which is faster than the generator; see above.
#[test]
fn a_node_that_is_faster_than_the_generator_gives_no_number() {
    if std::env::var_os("PEERLOOP_LONG").is_none() {
        return;
    }
    let file = ResultFile::new("find-fast.json");
    let find = ["--find-max", "ping_rtt:p99<50ms", "--find-range", "1k..10M", "--json", file.path()];
    let run = peerloop(&[&COMMON[..], &find].concat());
    let search = &file.json()["search"];
    println!("{}", search["reason"]);
    assert_eq!((run.code, &search["answer"], &search["limit"]), (Some(4), &"at_least".into(), &"generator".into()));
    assert!(run.stdout.contains("at least "), "{}", run.stdout);
}
