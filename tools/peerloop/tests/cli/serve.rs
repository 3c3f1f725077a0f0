//! `serve`: the node keeps its peers, answers their pings, and ends on a signal.

use crate::{Running, peerloop};
use std::net::{TcpListener, TcpStream};

#[test]
fn a_signal_stops_the_node_which_prints_a_summary() {
    for signal in ["TERM", "INT"] {
        let (node, address) = Running::serve(&["-q"]);
        let load =
            peerloop(&["bench", &address, "--network", "regtest", "-c", "8", "-d", "1s", "--warmup", "0s", "-q"]);
        assert_eq!(load.code, Some(0), "{}", load.stderr);
        assert!(load.stdout.contains("ready 8   lost 0"), "{}", load.stdout);
        node.signal(signal);
        let served = node.finish();
        assert_eq!((served.code, served.stderr.as_str()), (Some(0), ""));
        // The bench opens one connection before the eight, and the node counts it too.
        assert!(
            served.stdout.contains("9 accepted, 9 handshakes, at most 8 peers at once, 8 pings"),
            "{}",
            served.stdout
        );
    }
}

#[test]
fn the_node_stops_while_peers_are_connected() {
    let (node, address) = Running::serve(&[]);
    let target = ["bench", address.as_str(), "--network", "regtest", "-c", "5", "-d", "1h", "--warmup", "0s"];
    let mut load = Running::start(&target);
    load.wait_for("run ");
    node.signal("TERM");
    assert_eq!(node.finish().code, Some(0));
    let load = load.finish();
    assert_eq!(load.code, Some(1), "the bench did not exit with 1 although its node had ended: {}", load.stderr);
    assert!(load.stdout.contains("ready 5   lost 5"), "{}", load.stdout);
    assert!(load.stdout.contains("closed_by_peer"), "{}", load.stdout);
}

#[test]
fn the_alias_listen_serves_on_several_addresses() {
    let arguments = ["listen", "--network", "regtest", "--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"];
    let mut node = Running::start(&arguments);
    let greeting = node.greeting();
    let addresses: Vec<&str> = greeting.split_whitespace().filter(|word| word.starts_with("127.")).collect();
    assert_eq!(addresses.len(), 2, "{greeting}");
    for address in addresses {
        assert_eq!(peerloop(&["probe", address, "--network", "regtest"]).code, Some(0), "{address}");
    }
    node.signal("TERM");
    assert_eq!(node.finish().code, Some(0));
}

#[test]
fn the_error_for_an_address_in_use_names_the_address_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = peerloop(&["serve", "--listen", &address]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.complaint().contains(&format!("listening on {address}: ")), "{}", run.complaint());
    assert!(run.complaint().contains("--listen"), "{}", run.complaint());
}

#[test]
fn a_maximum_of_more_peers_than_descriptors_is_refused() {
    let run = peerloop(&["serve", "--max-peers", "900000000"]);
    assert_eq!(run.code, Some(3));
    assert!(run.complaint().contains("900000097 descriptors"), "{}", run.complaint());
}

#[test]
fn a_second_signal_stops_the_node_without_a_wait_for_a_silent_peer() {
    let (mut node, address) = Running::serve(&[]);
    // This peer never closes its side of the connection, so a graceful stop would last seconds.
    let _silent = TcpStream::connect(&address).unwrap();
    assert_eq!(peerloop(&["probe", &address, "--network", "regtest"]).code, Some(0), "the probe failed");
    node.signal_until_it_ends("TERM");
    let node = node.finish();
    assert_eq!(node.code, Some(143), "{}", node.stderr);
    assert!(node.complaint().contains("stopped at once"), "{}", node.stderr);
    assert!(node.stdout.contains("1 handshake,"), "{}", node.stdout);
}
