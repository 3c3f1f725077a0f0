//! Tests against a real Bitcoin SV node. Each test starts its own nodes.
//!
//! The environment variable `PEERLOOP_REAL_NODE` names the folder that contains the node's programs.
//! `tools/test real-node` sets the variable. A test fails if the node does not start. Without the variable, the tests
//! fail if `CI` is set to a non-empty value other than 0 or false, and otherwise print a notice and pass.

#![allow(
    clippy::disallowed_methods,
    reason = "the node is a process of its own; waiting for it needs a sleep and a clock"
)]

mod announcements;
mod associations;
mod bad_blocks;
mod block_latency;
mod blocks;
mod chain;
mod compact;
mod drops;
mod enriched;
mod handshake;
mod leaves;
mod manager;
mod many_peers;
mod mined;
mod node;
mod observer;
mod pings;
mod pipe;
mod plain;
mod probing;
mod relay;
mod rpc;
mod running;
mod said;
mod scene;
mod signed;
mod streams;
mod submitting;
mod syncing;
mod two_nodes;
mod ways;
mod workloads;

use node::Node;

#[test]
fn the_node_starts_and_answers_rpc() {
    let Some(node) = Node::start() else { return };
    assert_eq!(node.cli(&["getblockcount"]), "0");
    assert!(node.cli(&["getnetworkinfo"]).contains("Bitcoin SV"), "the node is not Bitcoin SV");
    let (command, address) = (["getpeerinfo"], node.address());
    assert_eq!(
        node.cli(&command).split_whitespace().collect::<String>(),
        "[]",
        "the node at {address} had a peer before the test connected one"
    );
    std::net::TcpStream::connect(address).expect("the node listens for peers");
}

#[test]
fn nodes_run_side_by_side_and_a_panic_kills_a_node_and_removes_its_data() {
    let Some(one) = Node::start() else { return };
    let Some(two) = Node::start() else { return };
    assert_ne!(one.address(), two.address());
    one.cli(&["generate", "1"]);
    assert_eq!([one.cli(&["getblockcount"]), two.cli(&["getblockcount"])], ["1", "0"]);

    let (address, folder) = (one.address(), one.data_folder().to_owned());
    assert!(folder.is_dir());
    let ended = std::thread::spawn(move || {
        let _node = one;
        panic!("intended: a panic must kill the node too");
    });
    ended.join().expect_err("the thread panicked");
    assert!(!folder.exists());
    std::net::TcpStream::connect(address).expect_err("the node has exited");
}
