//! `relay --pipe`: joins two nodes, reports their loss, and prints a summary. [`crate::relaying`] tests the relay.

use crate::run::scrape;
use crate::usage::refused;
use crate::{Running, peerloop};
use std::net::TcpListener;

/// Starts a pipe between two nodes, and waits until both are ready.
fn joined(one: &str, two: &str) -> Running {
    let mut pipe = Running::start(&["relay", "--pipe", one, two, "--network", "regtest"]);
    assert_eq!(pipe.greeting(), format!("joining A {one} and B {two} on regtest\n"));
    // Either node may be ready first.
    let mut lines = [(); 2].map(|()| pipe.wait_for_part(" is ready: "));
    lines.sort_unstable();
    for (line, (side, address)) in lines.iter().zip([("A", one), ("B", two)]) {
        assert!(line.starts_with(&format!("peerloop: {side} is ready: {address} /peerloop:")), "{line}");
    }
    pipe
}

#[test]
fn two_nodes_are_joined_until_a_signal_and_a_summary_is_printed() {
    for signal in ["TERM", "INT"] {
        let ((one_node, one), (two_node, two)) = (Running::serve(&["-q"]), Running::serve(&["-q"]));
        let pipe = joined(&one, &two);
        pipe.signal(signal);
        let piped = pipe.finish();
        assert_eq!(piped.code, Some(0), "{}", piped.stderr);
        for part in ["relayed ", "A to B ", "connects 1", "replays 0, notfounds 0"] {
            assert!(piped.stdout.contains(part), "{part}: {}", piped.stdout);
        }
        for node in [one_node, two_node] {
            node.signal("TERM");
            // The probe, and the connection with the other node's facts.
            let served = node.finish();
            assert!(served.stdout.contains("2 handshakes"), "{}", served.stdout);
        }
    }
}

#[test]
fn a_node_that_is_lost_and_one_that_is_unreachable_are_reported_with_the_reason() {
    let ((_one_node, one), (two_node, two)) = (Running::serve(&["-q"]), Running::serve(&["-q"]));
    let mut pipe = joined(&one, &two);
    two_node.signal("TERM");
    two_node.finish();
    // The line about the loss itself is missing if the next dial has failed before the next report.
    let unreachable = pipe.wait_for_part("refused");
    assert!(unreachable.starts_with("peerloop: B is "), "{unreachable}");
    assert!(unreachable.contains(&two), "{unreachable}");
    pipe.signal("TERM");
    assert_eq!(pipe.finish().code, Some(0));
}

#[test]
fn a_sighup_changes_nothing_and_a_second_signal_ends_a_pipe_whose_nodes_do_not_close() {
    let nodes = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    let [one, two] = nodes.each_ref().map(|node| node.local_addr().expect("a listener has an address").to_string());
    let mut pipe = Running::start(&["relay", "--pipe", &one, &two, "--network", "regtest"]);
    pipe.greeting();
    // Both nodes are connected, and neither replies or closes.
    let _connections = nodes.each_ref().map(|node| node.accept().expect("the pipe dials"));
    for _ in 0..2 {
        pipe.signal("HUP");
        let line = pipe.wait_for_part("SIGHUP");
        assert_eq!(line, "peerloop: SIGHUP: a pipe reads no settings again; it continues\n");
    }
    pipe.signal("TERM");
    pipe.signal("HUP");
    pipe.signal_until_it_ends("INT");
    let piped = pipe.finish();
    assert_eq!(piped.code, Some(130), "{}", piped.stderr);
}

#[test]
fn a_quiet_pipe_writes_nothing_to_stderr() {
    let ((_one_node, one), (_two_node, two)) = (Running::serve(&["-q"]), Running::serve(&["-q"]));
    let mut pipe = Running::start(&["relay", "-q", "--pipe", &one, &two, "--network", "regtest"]);
    pipe.greeting();
    pipe.signal("TERM");
    let piped = pipe.finish();
    assert_eq!((piped.code, piped.stderr.as_str()), (Some(0), ""));
}

#[test]
fn mistakes_in_the_arguments_are_refused_before_anything_starts() {
    refused(&["relay"], 2, &["--pipe A B"]);
    refused(&["relay", "--pipe", "127.0.0.1"], 2, &["--pipe <A> <B>", "2 values required", "--help"]);
    refused(&["relay", "--pipe", "127.0.0.1:18444", "127.0.0.1:18445"], 2, &["add --network", "PEERLOOP_NETWORK"]);
    let same = ["relay", "--network", "regtest", "--pipe", "127.0.0.1", "127.0.0.1:18444"];
    refused(&same, 2, &["127.0.0.1 and 127.0.0.1:18444 are the same node", "two different nodes"]);
    refused(&["relay", "--pipe", "127.0.0.1", "no such"], 2, &["`no such` is not a target"]);
    refused(&["relay", "--pipe", "127.0.0.1", "nosuchhost.invalid"], 1, &["resolving nosuchhost.invalid"]);
    let small = ["relay", "--pipe", "127.0.0.1", "127.0.0.2", "--max-message-bytes", "1000000"];
    refused(&small, 2, &["flag --max-message-bytes: ", "max_message_bytes must be 1,048,576 to 1,000,000,000"]);
    let yes = ["relay", "--network", "regtest", "--pipe", "127.0.0.1", "127.0.0.2", "--yes"];
    refused(&yes, 2, &["--pipe does not use --yes", "--upstream"]);
    refused(&["relay", "-4", "--pipe", "127.0.0.1", "[::1]"], 2, &["has only ::1", "-4"]);
}

#[test]
fn the_metrics_of_a_pipe_follow_those_of_its_loop() {
    let ((_one_node, one), (_two_node, two)) = (Running::serve(&["-q"]), Running::serve(&["-q"]));
    let arguments = ["relay", "--pipe", &one, &two, "--network", "regtest", "--metrics-addr", "127.0.0.1:0"];
    let mut pipe = Running::start(&arguments);
    pipe.greeting();
    let line = pipe.greeting();
    let address = line.strip_prefix("metrics at http://").and_then(|rest| rest.split_once('/')).expect("an address").0;
    for _ in 0..2 {
        pipe.wait_for_part(" is ready: ");
    }
    let samples = scrape(address);
    assert_eq!(samples["peerloop_peers{network=\"regtest\"}"], 2.0);
    for side in ["A", "B"] {
        let labels = format!("{{network=\"regtest\",side=\"{side}\"}}");
        assert_eq!(samples[&format!("peerloop_pipe_ready{labels}")], 1.0);
        assert_eq!(samples[&format!("peerloop_pipe_connects_total{labels}")], 1.0);
    }
}

#[test]
fn the_error_for_a_metrics_port_in_use_names_the_address_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = peerloop(&["relay", "--pipe", "127.0.0.1", "127.0.0.2", "--metrics-addr", &address]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.complaint().contains(&format!("serving metrics on {address}: ")), "{}", run.complaint());
    assert!(run.complaint().contains("--metrics-addr"), "{}", run.complaint());
}
