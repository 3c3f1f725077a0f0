//! A fresh node, to which a loop with default settings is connected, syncs from another node.

use crate::node::Node;
use crate::observer::Observer;
use peerloop::{Config, Network};
use std::thread;
use std::time::{Duration, Instant};

const BLOCKS: &str = "10";
/// Maximum duration of a sync, which usually lasts about one second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects a fresh node to our loop with `meet`, and then to a node with a chain. Asserts that the fresh node
/// receives the chain.
fn assert_syncs(meet: impl FnOnce(&Node, &mut Observer)) {
    let Some(source) = Node::start() else { return };
    let Some(fresh) = Node::start() else { return };
    source.cli(&["generate", BLOCKS]);
    let mut observer = Observer::new(Config::new(Network::Regtest));
    meet(&fresh, &mut observer);
    fresh.cli(&["addnode", &source.address().to_string(), "onetry"]);
    let began = Instant::now();
    while fresh.cli(&["getblockcount"]) != BLOCKS {
        assert!(began.elapsed() < PATIENCE, "the node did not sync in time: {:#}", fresh.json(&["getpeerinfo"]));
        observer.ask(|_| ());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_node_syncs_although_a_default_loop_connected_to_it_first() {
    assert_syncs(|fresh, observer| {
        observer.ready(fresh.address());
    });
}

#[test]
fn a_node_syncs_although_it_connected_to_a_default_loop_first() {
    assert_syncs(|fresh, observer| {
        let address = observer.listen();
        fresh.cli(&["addnode", &address.to_string(), "onetry"]);
        let peer = observer.accepted();
        observer.until_ready(peer);
    });
}
