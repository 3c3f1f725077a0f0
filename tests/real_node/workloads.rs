//! The load generator's workloads against a real node, which answers every operation.

use crate::mined::{MATURITY, hash, signed_payment};
use crate::node::Node;
use crate::observer::config;
use crate::two_nodes::until;
use peerloop::Reactor;
use peerloop::load::workloads::{Churn, Connect, GetData, Handshake, Headers, Inv, SendTx};
use peerloop::load::{Generator, Plan, Rate, Report, Workload};
use peerloop::wire::{InventoryItem, TxRef};
use serde_json::json;
use std::time::Duration;

/// Starts fifty operations in a second, and waits for their replies.
fn run(node: &Node, workload: impl Workload + 'static) -> Report {
    let plan = Plan::new(vec![node.address()], 8, Rate::per_second(100))
        .with_rate(Rate::per_second(50), Duration::from_secs(1))
        .with_drain(Duration::from_secs(30));
    let generator = Generator::new(plan).with_workload(Box::new(workload));
    let mut reactor = Reactor::new(config().with_ping_interval(Duration::ZERO), generator).expect("a poller is free");
    reactor.run().expect("the poller works");
    reactor.into_handler().into_report()
}

/// Asserts that the operations of each metric were answered.
#[track_caller]
fn assert_answered(report: &Report) {
    assert_eq!((report.work.planned, report.work.answered), (50, 50), "{:?} {:?}", report.work, report.failures);
    for operation in &report.operations {
        assert_eq!(operation.sent.count(), 50, "{}", operation.metric);
    }
}

#[test]
fn a_node_requests_each_announced_transaction_and_sends_headers() {
    let Some(node) = Node::start() else { return };
    // A node whose newest block is old requests and sends nothing.
    node.cli(&["generate", "3"]);
    assert_answered(&run(&node, Inv::new(1)));
    // Another seed has other transactions, so the node knows none of them.
    assert_answered(&run(&node, Inv::new(2)));
    assert_answered(&run(&node, Headers));
}

#[test]
fn a_node_accepts_a_connection_for_each_operation() {
    let Some(node) = Node::start() else { return };
    assert_answered(&run(&node, Connect));
    for report in [run(&node, Handshake), run(&node, Churn::new(Duration::from_millis(50)))] {
        assert_answered(&report);
        assert_eq!((report.peers.ready, report.peers.lost, report.peers.failed), (50, 0, 0));
    }
}

#[test]
fn a_node_requests_and_accepts_the_transactions_of_its_wallet() {
    const COUNT: usize = 50;
    let Some(node) = Node::start() else { return };
    node.cli(&["generate", &(MATURITY + COUNT).to_string()]);
    let address = node.cli(&["getnewaddress"]);
    let unspent = node.json(&["listunspent"]);
    let payments = unspent.as_array().expect("the reply is a list").iter().map(|output| {
        let amount = output["amount"].as_f64().expect("the field is a number") - 0.01;
        let bytes = signed_payment(&node, output, &address, amount, "ALL|FORKID");
        TxRef::decode(&bytes).expect("the bytes are a transaction").into_owned()
    });
    let workload = SendTx::new(payments.collect());
    assert_eq!(workload.count(), COUNT);
    assert_answered(&run(&node, workload));
    // The node validates a transaction after it has answered the ping.
    until("the transactions", || node.json(&["getmempoolinfo"])["size"] == json!(COUNT));
}

#[test]
fn a_node_sends_the_requested_blocks() {
    let Some(node) = Node::start() else { return };
    let mined = node.json(&["generate", "5"]);
    let hashes = mined.as_array().expect("the reply is a list").iter();
    let items = hashes.map(|text| InventoryItem::block(hash(text.as_str().expect("the hash is a string"))));
    let workload = GetData::new(items.collect()).expect("there are blocks");
    assert_answered(&run(&node, workload));
}
