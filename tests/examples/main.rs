//! The examples, run the way a reader runs them. Without arguments, most examples start their own nodes.
//!
//! Each test checks the example's main result, but no address, time or order that may differ between runs.

#![allow(clippy::disallowed_methods, reason = "the tests limit their waits by the clock")]

use peerloop_testkit::examples::{self, Client, Relay, large_transaction};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Builds the examples, with `sim-bugs` if this test was built with it, and returns their folder.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| examples::folder(cfg!(feature = "sim-bugs")))
}

/// Runs the example without arguments and returns its output. Asserts that it succeeds in time and prints nothing on
/// stderr.
fn output_of(name: &str) -> String {
    let mut example = Command::new(folder().join(name))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let began = Instant::now();
    // The output fits in the pipe's buffer, so it need not be read while the example runs.
    while example.try_wait().expect("the process is our child").is_none() {
        if began.elapsed() > PATIENCE {
            example.kill().expect("the process is our child");
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let ended = example.wait_with_output().expect("the process is our child");
    let printed = String::from_utf8(ended.stdout).expect("the output is text");
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{name}: {}\n{printed}\n{complaint}", ended.status);
    assert_eq!(complaint, "", "{name}");
    printed
}

fn count(printed: &str, part: &str) -> usize {
    printed.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn req_e54_a_simple_client_measures_three_pings() {
    let printed = output_of("simple_client");
    let first: Vec<&str> = printed.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(first, ["ready", "pong 1", "pong 2", "pong 3", "closed"], "{printed}");
    assert_eq!(count(&printed, "/peerloop:"), 1, "{printed}");
}

#[test]
fn req_e54_all_fixed_peers_are_connected_and_a_lost_one_is_dialled_again() {
    let printed = output_of("fixed_peers");
    let (before, after) = printed.split_once("all 3 peers are ready; stopping one of them\n").expect(&printed);
    assert!(before.lines().count() >= 6, "too few lines for three connections and three handshakes:\n{printed}");
    assert!(after.lines().count() >= 2, "too few lines for a loss and a failed dial:\n{printed}");
}

#[test]
fn req_e54_an_event_monitor_prints_events_and_messages() {
    let printed = output_of("event_monitor");
    for label in ["connection_established: ", "handshake_complete: ", "connection_lost: ", "message: addr of 31 bytes"]
    {
        assert_eq!(count(&printed, label), 1, "{label}\n{printed}");
    }
}

#[test]
fn req_e54_a_crawler_finds_nodes_that_it_was_not_given() {
    let printed = output_of("crawler");
    assert_eq!(count(&printed, " is /peerloop:"), 4, "{printed}");
    assert_eq!(printed.lines().last(), Some("4 nodes known, 4 reached"), "{printed}");
}

#[cfg(unix)]
#[test]
fn req_e54_a_loop_runs_within_another_loop() {
    let printed = output_of("foreign_event_loop");
    for part in ["the inner loop has a peer", "pong after ", "closed: ", "has ended after "] {
        assert_eq!(count(&printed, part), 1, "{part}\n{printed}");
    }
}

#[test]
fn req_e54_a_tokio_task_receives_events_as_a_stream_and_awaits_its_requests() {
    let printed = output_of("tokio_tasks");
    for part in ["connection_established", "ready: 1 peer", "addr of 1 bytes", "stopped, with "] {
        assert_eq!(count(&printed, part), 1, "{part}\n{printed}");
    }
}

#[test]
fn a_refused_connection_ends_the_tokio_example() {
    let node = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    let (complaint, _) = complaint_of("tokio_tasks", &["regtest", &node.to_string()]);
    assert!(complaint.starts_with(&format!("Error: the connection to {node} failed")), "{complaint}");
}

/// Runs an example that fails, and returns its output on stderr and on stdout.
fn complaint_of(name: &str, arguments: &[&str]) -> (String, String) {
    let ended = Command::new(folder().join(name)).args(arguments).output().expect("the example is built");
    assert!(!ended.status.success(), "{name} {arguments:?} succeeded");
    let [complaint, printed] =
        [ended.stderr, ended.stdout].map(|bytes| String::from_utf8(bytes).expect("the output is text"));
    (complaint, printed)
}

#[test]
fn req_e54_a_watcher_of_announcements_requires_a_node() {
    let (complaint, _) = complaint_of("relay_watch", &[]);
    assert_eq!(complaint, "Error: name at least one node: write [NETWORK] ADDRESS:PORT..\n");
}

#[test]
fn req_e54_a_relay_serves_sixty_large_transactions_at_once() {
    let relay = Relay::start(folder());
    let transactions: Vec<Vec<u8>> = (0..60).map(|number| large_transaction(number, 90_000)).collect();
    Client::connect(relay.address).give(&transactions);
    assert_eq!(Client::connect(relay.address).ask(60), (60, 0));
}

#[test]
fn an_invalid_address_is_shown_with_the_expected_form() {
    for name in ["simple_client", "crawler", "relay_watch", "relay"] {
        let (complaint, _) = complaint_of(name, &["mainnet", "localhost"]);
        assert!(
            complaint.starts_with("Error: `localhost` is not an address with a port: use [NETWORK]"),
            "{complaint}"
        );
    }
}

#[test]
fn a_refused_connection_is_reported_with_the_nodes_address() {
    // A port that was just released has no listener.
    let node = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    let node = node.to_string();
    let (complaint, printed) = complaint_of("simple_client", &["regtest", &node]);
    assert_eq!(complaint, format!("Error: {node} answered 0 of 3 pings\n"), "{printed}");
    let crawl = Command::new(folder().join("crawler")).args(["regtest", &node]).output().expect("the example is built");
    let printed = String::from_utf8(crawl.stdout).expect("the output is text");
    assert!(printed.starts_with(&format!("{node}: ")), "{printed}");
    assert!(printed.ends_with("1 nodes known, 0 reached\n"), "{printed}");
}

#[test]
fn a_submitted_transaction_is_followed_until_it_is_seen_back() {
    let printed = output_of("submit");
    let steps = printed.lines().filter(|line| line.contains("UpstreamLink"));
    let steps: Vec<&str> = steps.filter_map(|line| line.split('(').next()).collect();
    assert_eq!(steps, ["Announced", "Requested", "Sent", "SeenBack"], "{printed}");
    assert_eq!(count(&printed, ": SeenBack"), 1, "{printed}");
}
