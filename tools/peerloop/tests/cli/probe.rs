//! `probe`: every step with a good peer, and the failed step with a bad one.

use crate::{Running, peerloop};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn each_step_is_timed_and_the_peer_is_described() {
    let (_node, address) = Running::serve(&[]);
    let run = peerloop(&["probe", &address, "--network", "regtest"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for part in [
        "resolve ",
        "connect ",
        "version ",
        "verack ",
        "ping 1 ",
        "ping 10 ",
        "10 of 10 answered",
        "user agent  /peerloop:",
        "protocol    70016",
        "services    0x0: none",
        "height      0",
        "clock ",
        "relay ",
        "protoconf   accepts messages of up to 2.0 MiB",
        "sendheaders ",
    ] {
        assert!(run.stdout.contains(part), "{part} is missing:\n{}", run.stdout);
    }
}

#[test]
fn the_json_lists_the_steps_the_pings_and_the_facts_about_the_peer() {
    let (_node, address) = Running::serve(&[]);
    let run = peerloop(&["probe", &address, "--network", "regtest", "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let steps: Vec<&Value> = json["steps"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(steps, ["resolve", "connect", "version", "verack"]);
    assert_eq!(json["pings_ns"].as_array().unwrap().len(), 10);
    assert_eq!(json["peer"]["protocol"], 70_016);
    assert_eq!(json["peer"]["services"], "0");
    assert_eq!(json["exit"]["code"], 0);
}

#[test]
fn a_failed_step_is_named_and_a_refused_connection_gets_advice() {
    let refused = peerloop(&["probe", "127.0.0.1:1", "--network", "mainnet"]);
    assert_eq!(refused.code, Some(1));
    let complaint = refused.complaint();
    assert!(complaint.contains("127.0.0.1:1 on mainnet: connecting failed:"), "{complaint}");
    assert!(complaint.contains("is a node listening there?"), "{complaint}");

    let (_node, address) = Running::serve(&[]);
    let stranger = peerloop(&["probe", &address, "--network", "stn"]);
    assert_eq!(stranger.code, Some(1));
    assert!(stranger.complaint().contains("waiting for version"), "{}", stranger.complaint());
    assert!(stranger.stdout.contains("connect "), "the findings so far are not reported: {}", stranger.stdout);
}

#[test]
fn the_addresses_are_shown_with_their_outcomes() {
    let (_node, address) = Running::serve(&[]);
    let run = peerloop(&["probe", &address, "--network", "regtest", "--json"]);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["target"]["addresses"], serde_json::json!([{ "addr": address, "outcome": "connected" }]));
    let run = peerloop(&["probe", "127.0.0.1:1", "--network", "regtest", "--json"]);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let refused = serde_json::json!([{ "addr": "127.0.0.1:1", "outcome": "not connected" }]);
    assert_eq!(json["target"]["addresses"], refused);
}

#[test]
fn the_network_is_read_from_the_environment() {
    let (_node, address) = Running::serve(&[]);
    let output = crate::command(&["probe", &address]).env("PEERLOOP_NETWORK", "regtest").output();
    let output = output.expect("the program starts");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.starts_with(&format!("probe {address} on regtest\n")), "{stdout}");
}

#[test]
fn a_silent_peer_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let run = peerloop(&["probe", &address, "--network", "mainnet", "--timeout", "100ms", "--json"]);
    assert_eq!(run.code, Some(1));
    assert!(run.complaint().contains("the handshake was not completed"), "{}", run.complaint());
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["exit"]["code"], 1);
    assert_eq!(json["peer"], Value::Null);
}

#[test]
fn a_signal_ends_the_probe_which_reports_its_findings() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let run = Running::start(&["probe", &address, "--network", "regtest", "--timeout", "1h", "--json"]);
        let (mut silent, _) = listener.accept().unwrap();
        silent.read_exact(&mut [0; 24]).unwrap();
        run.signal(signal);
        let run = run.finish();
        assert_eq!(run.code, Some(code), "{}", run.stderr);
        assert!(run.complaint().ends_with(&format!("stopped by SIG{signal}")), "{}", run.complaint());
        let json: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((json["exit"]["code"].as_i64(), &json["steps"][1]["name"]), (Some(code.into()), &"connect".into()));
    }
}

#[test]
fn a_node_at_capacity_is_described_in_words() {
    let (_node, address) = Running::serve(&["--max-peers", "1"]);
    let mut holder = Running::start(&["bench", &address, "--network", "regtest", "-c", "1", "-d", "1h"]);
    holder.wait_for("warmup");
    let run = peerloop(&["probe", &address, "--network", "regtest"]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(run.stdout.contains("reject      version 0x44 (the node is at capacity): "), "{}", run.stdout);
}

#[test]
fn a_web_server_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        client.read_to_end(&mut Vec::new())
    });
    let run = peerloop(&["probe", &address, "--network", "regtest"]);
    let _ = server.join().unwrap();
    assert_eq!(run.code, Some(1));
    let expected = "48545450 is not this network's magic: HTTP, this looks like a web server";
    assert!(run.complaint().contains(expected), "{}", run.complaint());
}
