//! `probe --relay`: first sights of blocks and transactions at two nodes, which the tests play.

use crate::scripted::{Peer, transaction};
use crate::usage::refused;
use crate::{Running, peerloop};
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, InventoryItem};
use peerloop_testkit::simulated::blocks::{Mined, chain, headers};
use serde_json::Value;
use std::net::TcpListener;

/// Starts the program with two nodes that have no blocks, and returns it once it counts.
fn start(arguments: &[&str]) -> (Running, [Peer; 2], [String; 2]) {
    let (running, mut nodes, addresses) = begin(arguments);
    nodes.iter_mut().for_each(Peer::sync);
    (running, nodes, addresses)
}

/// Starts the program with two nodes that have no blocks.
fn begin(arguments: &[&str]) -> (Running, [Peer; 2], [String; 2]) {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    let [a, b] = [0, 1].map(|at| listeners[at].local_addr().expect("the listener has an address").to_string());
    let command = [&["probe", "--network", "regtest", "--relay", &a, &b], arguments].concat();
    let running = Running::start(&command);
    let nodes = listeners.each_ref().map(|listener| {
        let mut node = Peer::accept(listener);
        node.push(CommandName::HEADERS, &[0]);
        node
    });
    (running, nodes, [a, b])
}

/// Announces a block with a `cmpctblock`, of which only the block's header is read.
fn announce_compact(node: &mut Peer, block: &Mined) {
    node.push(CommandName::CMPCTBLOCK, &[&block.header.encode()[..], &[0; 10]].concat());
}

#[test]
fn first_sights_in_every_form_are_matched_by_hash_and_direction_and_the_others_are_missed() {
    let (running, [mut a, mut b], addresses) = start(&["-d", "1h", "--json"]);
    let blocks = chain(&[100; 4]);
    let tx = |number| InventoryItem::tx(Hash256::of(&transaction(number)));
    a.push(CommandName::HEADERS, &headers(&blocks[..1]));
    a.announce(tx(1));
    a.sync();
    b.announce(InventoryItem::block(blocks[0].hash()));
    // Its header is requested, so that the node knows that the program has it.
    let request = b.wait_for(CommandName::GETHEADERS);
    assert_eq!(request[request.len() - 32..], *blocks[0].hash().as_bytes());
    for block in &blocks[1..3] {
        announce_compact(&mut b, block);
        b.sync();
        a.push(CommandName::HEADERS, &headers(std::slice::from_ref(block)));
    }
    announce_compact(&mut a, &blocks[3]);
    for number in [2, 3, 2] {
        b.announce(tx(number));
    }
    b.sync();
    a.announce(tx(2));
    a.sync();
    running.signal("INT");
    let run = running.finish();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.complaint().ends_with("on regtest: stopped by SIGINT"), "{}", run.complaint());
    let json: Value = serde_json::from_str(&run.stdout).expect("the output is JSON");
    let ways = json["ways"].as_array().expect("a list");
    let counts: Vec<String> = ways
        .iter()
        .map(|way| {
            let word = |key: &str| way[key].as_str().expect("a word").to_owned();
            format!("{} {} {}: {} {}", word("kind"), word("first"), word("then"), way["count"], way["missed"])
        })
        .collect();
    assert_eq!(counts, ["block A B: 1 1", "block B A: 2 0", "tx A B: 0 1", "tx B A: 1 1"]);
    assert_eq!(ways[0]["percentiles"]["100"], Value::Null, "a missed block is not the longest one");
    assert!(ways[1]["max_ns"].as_u64() > Some(0) && ways[1]["hdr"].as_str().is_some());
    let nodes = json["nodes"].as_array().expect("a list");
    assert_eq!([0, 1].map(|at| nodes[at]["addr"].as_str().expect("an address")), addresses);
    assert_eq!(json["exit"]["code"], 130);
}

#[test]
fn a_finished_measurement_is_a_table_and_waits_for_late_announcements() {
    let (running, [mut a, mut b], _) = start(&["-d", "3s", "--timeout", "1h"]);
    let blocks = chain(&[100]);
    a.push(CommandName::HEADERS, &headers(&blocks));
    a.sync();
    std::thread::sleep(std::time::Duration::from_secs(4));
    b.push(CommandName::HEADERS, &headers(&blocks));
    let run = running.finish();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for part in ["probe --relay on regtest\n", "block A then B             1       0 ", "measured    3"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    for way in ["block B then A", "tx    A then B", "tx    B then A"] {
        let expected = format!("{way}             0       0   no data\n");
        assert!(run.stdout.contains(&expected), "{expected}: {}", run.stdout);
    }
}

#[test]
fn nothing_measured_and_a_lost_node_are_failures_with_a_cause() {
    let (running, [_a, _b], _) = begin(&["-d", "1ms"]);
    let run = running.finish();
    assert_eq!(run.code, Some(1));
    assert!(run.complaint().contains(": nothing was measured: "), "{}", run.complaint());
    assert!(run.stdout.contains("   no data\n"), "{}", run.stdout);
    let (running, [_a, b], [_, address]) = start(&["-d", "1h"]);
    drop(b);
    let run = running.finish();
    assert_eq!(run.code, Some(1));
    assert!(run.complaint().contains(&format!(": B ({address}): ")), "{}", run.complaint());
}

#[test]
fn two_different_nodes_are_required() {
    let relay = |nodes: &[&'static str]| [&["probe", "--network", "regtest", "--relay"], nodes].concat();
    refused(&relay(&["127.0.0.1"]), 2, &["--relay", "2 values"]);
    refused(&relay(&["127.0.0.1", "127.0.0.1:18444"]), 2, &["127.0.0.1:18444 are the same node"]);
    refused(&relay(&["127.0.0.1", "127.0.0.2", "--no-multistreams"]), 2, &["cannot be used with"]);
    refused(&["probe", "127.0.0.1", "-d", "1s"], 2, &["cannot be used with", "--duration"]);
    let run = peerloop(&relay(&["127.0.0.1:1", "127.0.0.2:1"]));
    assert_eq!(run.code, Some(1));
    assert!(
        run.complaint().contains("(127.0.0.") && run.complaint().contains("listening there"),
        "{}",
        run.complaint()
    );
}
