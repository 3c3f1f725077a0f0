//! `doctor`: its report of the machine's capacity, in words and as JSON, and its exit codes.

use crate::peerloop;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;

#[test]
fn any_machine_can_hold_one_peer() {
    let run = peerloop(&["doctor", "--peers", "1"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.starts_with("doctor  1 peer on mainnet\n"), "{}", run.stdout);
    for name in
        ["descriptors", "local ports", "listen backlog", "network port", "clock", "wall clock", "memory", "CPUs"]
    {
        assert!(run.stdout.contains(&format!(" {name} ")), "{name} is missing:\n{}", run.stdout);
    }
    assert!(run.stdout.contains("\n0 problems, "), "{}", run.stdout);
    for line in run.stdout.lines().filter(|line| !line.contains("change: ")) {
        assert!(line.len() <= 80, "{line}");
    }
}

#[test]
fn an_impossible_number_of_peers_is_reported_by_exit_code_3_and_one_error_line() {
    let run = peerloop(&["doctor", "--peers", "90m"]);
    assert_eq!(run.code, Some(3));
    assert!(run.complaint().contains("90000000 peers: descriptors"), "{}", run.complaint());
    assert!(run.stdout.contains("problem  descriptors"), "{}", run.stdout);
    assert!(run.stdout.contains("change: "), "{}", run.stdout);
    assert!(run.stdout.contains("90000097"), "the needed number of descriptors is missing: {}", run.stdout);
}

#[test]
fn the_json_lists_each_check_once_with_a_change_only_for_warnings_and_problems() {
    let run = peerloop(&["doctor", "--peers", "90m", "--network", "stn", "--json"]);
    assert_eq!(run.code, Some(3));
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&json["peers"], &json["network"]), (&90_000_000.into(), &"stn".into()));
    assert_eq!(json["exit"]["code"], 3);
    let checks = json["checks"].as_array().unwrap();
    let names: BTreeSet<&str> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), checks.len(), "a check is listed twice");
    for check in checks {
        let needs_change = ["warning", "problem"].contains(&check["verdict"].as_str().unwrap());
        assert_eq!(check["change"].is_string(), needs_change, "{check}");
        assert!(
            !check["value"].as_str().unwrap().is_empty() && !check["means"].as_str().unwrap().is_empty(),
            "{check}"
        );
    }
}

#[test]
fn a_port_in_use_is_a_warning_that_names_the_port() {
    // No other test listens on this network's port.
    let _taken = TcpListener::bind("0.0.0.0:9333");
    let run = peerloop(&["doctor", "--peers", "1", "--network", "stn"]);
    assert_eq!(run.code, Some(0), "a warning counted as a failure");
    assert!(run.stdout.contains("warning  network port    9333 of stn"), "{}", run.stdout);
}
