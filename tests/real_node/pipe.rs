//! The pipe between two nodes.

use crate::node::Node;
use crate::relay::{COUNT as COUNT_OF_LARGE, large_payments};
use crate::rpc::Rpc;
use crate::running::{RunningPipe, exchange_all, is_long};
use crate::two_nodes::{TwoNodes, until};
use peerloop::protocol::CommandName;
use peerloop::relay::pipe::Side;
use peerloop_testkit::bytes::to_hex;
use serde_json::json;

/// The number of transactions that each node sends to the other, in a plain run and in a long one.
const COUNT: usize = 20;
const LONG_COUNT: usize = 200;

#[test]
fn every_transaction_of_each_node_reaches_the_other_through_the_pipe() {
    let Some(mut nodes) = TwoNodes::start() else { return };
    let pipe = RunningPipe::between(nodes.nodes());
    let count = if is_long() { LONG_COUNT } else { COUNT };
    exchange_all(&mut nodes, count, "pipe");
    let report = pipe.report();
    pipe.say_hops("pipe");
    for side in &report.sides {
        assert_eq!((side.connects, side.lost.total().messages, side.problem), (1, 0, None), "{side:?}");
        assert!(side.user_agent.as_deref().is_some_and(|agent| agent.contains("Bitcoin SV")), "{side:?}");
    }
    // Each node takes the pipe for the other node.
    for wallet in &mut nodes.wallets {
        let peers = wallet.call("getpeerinfo", &[]);
        let [peer] = &peers.as_array().expect("the reply is a list")[..] else { panic!("{peers}") };
        assert_eq!((&peer["services"], &peer["banscore"]), (&json!("0000000000000021"), &json!(0)), "{peer}");
        assert_eq!(peer["subver"], json!("/Bitcoin SV:1.0.13/"));
    }
    // Blocks pass in both directions, and confirm all transactions.
    nodes.mine();
    for wallet in &mut nodes.wallets {
        assert!(wallet.mempool().is_empty());
    }
}

#[test]
fn an_empty_node_syncs_through_the_pipe_and_receives_sixty_large_transactions() {
    let (Some(one), Some(two)) = (Node::start(), Node::start()) else { return };
    let payments = large_payments(&one);
    let pipe = RunningPipe::between([&one, &two]);
    until("the chain", || one.cli(&["getbestblockhash"]) == two.cli(&["getbestblockhash"]));
    let mut rpc = Rpc::connect(&one);
    for payment in &payments {
        rpc.call("sendrawtransaction", &[json!(to_hex(payment))]);
    }
    until("all large transactions", || two.json(&["getmempoolinfo"])["size"] == json!(COUNT_OF_LARGE));
    let report = pipe.report();
    assert_eq!(report.side(Side::A).forwarded.count(CommandName::TX).messages, COUNT_OF_LARGE as u64);
    assert_eq!(report.sides.each_ref().map(|side| (side.connects, side.problem)), [(1, None); 2]);
}

#[test]
fn a_node_that_restarts_is_joined_again_and_receives_what_it_missed() {
    let Some(mut nodes) = TwoNodes::start() else { return };
    let pipe = RunningPipe::between(nodes.nodes());
    nodes.wallets[1].node.kill();
    until("the loss of the node", || !pipe.report().is_joined());
    nodes.wallets[0].call("generate", &[json!(2)]);
    nodes.wallets[1].node.start_again();
    nodes.wallets[1].reconnect_rpc();
    pipe.wait_until_joined();
    nodes.wait_until_equal();
    exchange_all(&mut nodes, 3, "pipe after a restart");
    assert!(pipe.report().side(Side::B).connects >= 2);
}
