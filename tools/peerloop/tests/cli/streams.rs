//! Peers with two TCP streams: the streams that each command opens and reports.

use crate::{Running, peerloop};
use serde_json::{Value, json};

#[test]
fn probe_opens_a_second_stream_and_prints_the_streams_and_their_policy() {
    let (node, address) = Running::serve(&[]);
    let run = peerloop(&["probe", &address, "--network", "regtest"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for part in ["streams     GENERAL, DATA1 with the policy BlockPriority", "policies    BlockPriority,Default"] {
        assert!(run.stdout.contains(part), "{part} is missing:\n{}", run.stdout);
    }
    let run = peerloop(&["probe", &address, "--network", "regtest", "--json"]);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let Value::Object(peer) = &json["peer"] else { panic!("{json}") };
    assert_eq!(
        [&peer["streams"], &peer["stream_policy"], &peer["stream_failure"]],
        [&json!(["GENERAL", "DATA1"]), &json!("BlockPriority"), &Value::Null]
    );
    node.signal("TERM");
    let summary = node.finish().stdout;
    assert!(summary.contains("2 second streams opened and 0 failed"), "{summary}");
}

#[test]
fn probe_opens_no_second_stream_with_no_multistreams() {
    let (node, address) = Running::serve(&[]);
    let run = peerloop(&["probe", &address, "--network", "regtest", "--no-multistreams"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for part in ["streams     GENERAL\n", "policies    BlockPriority,Default"] {
        assert!(run.stdout.contains(part), "{part} is missing:\n{}", run.stdout);
    }
    node.signal("TERM");
    let summary = node.finish().stdout;
    assert!(!summary.contains("second stream"), "{summary}");
}

#[test]
fn bench_opens_second_streams_only_on_request() {
    let (_node, address) = Running::serve(&[]);
    let bench = |more: &[&str]| {
        let arguments = ["bench", &address, "--network", "regtest", "-c", "10", "-d", "1s", "--warmup", "0s", "-q"];
        peerloop(&[&arguments[..], more].concat())
    };
    let run = bench(&["--multistreams"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("Streams    10 of 10 peers have a second stream   0 failed"), "{}", run.stdout);
    assert!(!bench(&[]).stdout.contains("Streams"));
    let json: Value = serde_json::from_str(&bench(&["--multistreams", "--json", "-"]).stdout).unwrap();
    assert_eq!((&json["counts"]["streams_opened"], &json["counts"]["stream_failures"]), (&json!(10), &json!(0)));
    assert_eq!(json["config"]["multistreams"], json!(true));
}

#[test]
fn bench_with_a_built_in_node_opens_second_streams_to_it() {
    let run = peerloop(&["bench", "-c", "100", "-d", "1s", "--warmup", "0s", "-q", "--multistreams"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("Streams    100 of 100 peers have a second stream   0 failed"), "{}", run.stdout);
}

#[test]
fn a_wrong_value_of_the_setting_is_refused_with_the_right_ones() {
    let run = peerloop(&["run", "--network", "regtest", "--multistreams", "yes"]);
    assert_eq!(run.code, Some(2));
    assert!(run.complaint().contains("`yes` is none of off, accept and open"), "{}", run.complaint());
}

#[cfg(target_os = "linux")]
#[test]
fn the_table_of_descriptors_has_room_for_two_streams_of_each_peer_from_the_start() {
    let peers = ["--max-peers", "1900"];
    let (node, _) = Running::serve(&peers);
    let mut run = Running::start(&[&["run", "--network", "regtest"], &peers[..]].concat());
    run.greeting();
    for running in [node, run] {
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).expect("the program runs");
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("the kernel reports the size");
        assert!(size.trim().parse::<u64>().expect("the field is a number") >= 3_800, "{size}");
    }
}
