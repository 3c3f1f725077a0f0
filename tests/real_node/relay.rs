//! Many large transactions that a node requests in one message: from the example `relay`, and through a relay.

use crate::mined::{MATURITY, signed_payment, with_data};
use crate::node::Node;
use crate::observer::config;
use crate::rpc::Rpc;
use crate::running::{RunningRelay, WHITELISTING, is_long, say};
use crate::two_nodes::until;
use peerloop::relay::{self, RelayConfig};
use peerloop_testkit::bytes::to_hex;
use peerloop_testkit::examples::{self, Client, Relay};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// The number of large transactions.
pub(crate) const COUNT: usize = 60;
const DATA_BYTES: u32 = 90_000;
/// Length of a `getdata` for all of the transactions, in bytes.
const REQUEST_BYTES: usize = 24 + 1 + 36 * COUNT;
/// The number of rounds in a long run.
const LONG_ROUNDS: usize = 10;

/// Returns large valid transactions. The node has signed their inputs, but does not store the transactions.
pub(crate) fn large_payments(node: &Node) -> Vec<Vec<u8>> {
    node.cli(&["generate", &(MATURITY + COUNT).to_string()]);
    let address = node.cli(&["getnewaddress"]);
    let unspent = node.json(&["listunspent"]);
    let unspent = unspent.as_array().expect("the reply is a list");
    assert_eq!(unspent.len(), COUNT, "the number of spendable coinbases differs from the number of transactions");
    unspent.iter().map(|output| large_payment(node, &address, output)).collect()
}

fn large_payment(node: &Node, address: &str, output: &Value) -> Vec<u8> {
    let amount = output["amount"].as_f64().expect("the field is a number") - 0.01;
    let bytes = signed_payment(node, output, address, amount, "NONE|FORKID");
    with_data(&bytes, DATA_BYTES)
}

#[test]
fn a_node_receives_all_sixty_large_transactions_that_it_requests_in_one_message() {
    let Some(node) = Node::start() else { return };
    let payments = large_payments(&node);
    let relay = Relay::start(&examples::folder(cfg!(feature = "sim-bugs")));
    Client::connect(relay.address).give(&payments);
    node.cli(&["addnode", &relay.address.to_string(), "onetry"]);
    let mut size = Value::Null;
    for _ in 0..600 {
        size = node.json(&["getmempoolinfo"])["size"].clone();
        if size == json!(COUNT) {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(size, json!(COUNT));
    let peer = node.peer_once(|_| true);
    assert_eq!(
        peer["bytessent_per_msg"]["getdata"],
        json!(REQUEST_BYTES),
        "the transactions were not requested in one message"
    );
}

/// A relay whose upstream has many coins, and whose leaf is a node with the same chain.
struct Between {
    giver: Node,
    taker: Node,
    payments: Vec<Vec<u8>>,
    relay: RunningRelay,
    relay_address: SocketAddr,
}

impl Between {
    fn start() -> Option<Self> {
        // The giver announces transactions every 3 s, so that it announces all large ones in one message.
        let giver = Node::start_with(&[&WHITELISTING[..], &["-txnpropagationfreq=3000"]].concat())?;
        let taker = Node::start()?;
        let payments = large_payments(&giver);
        // This block matures one more coin, for the first transaction.
        giver.cli(&["generate", "1"]);
        taker.cli(&["addnode", &giver.address().to_string(), "onetry"]);
        until("the chain", || giver.cli(&["getbestblockhash"]) == taker.cli(&["getbestblockhash"]));
        let seen = taker.peer_once(|_| true);
        taker.cli(&["disconnectnode", seen["addr"].as_str().expect("the peer has an address")]);
        giver.wait_for_no_peer();
        let settings = RelayConfig::new(vec![giver.address()]);
        let links = settings.upstream_links;
        let (relay, relay_address) = RunningRelay::with(config(), relay::Relay::new(settings), links);
        taker.cli(&["addnode", &relay_address.to_string(), "onetry"]);
        until("the leaf", || relay.stats().leaf_peers == 1);
        let between = Self { giver, taker, payments, relay, relay_address };
        between.wait_for_an_announcement();
        Some(between)
    }

    /// Sends a small transaction, and waits until it has passed. The giver's next announcement is then 3 s away.
    fn wait_for_an_announcement(&self) {
        let unspent = self.giver.json(&["listunspent"]);
        let newest = unspent.as_array().into_iter().flatten().min_by_key(|output| output["confirmations"].as_u64());
        let address = self.giver.cli(&["getnewaddress"]);
        self.send_from_giver(&[signed_payment(
            &self.giver,
            newest.expect("there are coins"),
            &address,
            1.0,
            "ALL|FORKID",
        )]);
        self.wait_for_taker(1);
    }

    fn send_from_giver(&self, transactions: &[Vec<u8>]) {
        let mut rpc = Rpc::connect(&self.giver);
        for transaction in transactions {
            // The small transaction's fee is high.
            rpc.call("sendrawtransaction", &[json!(to_hex(transaction)), json!(true)]);
        }
    }

    fn wait_for_taker(&self, count: usize) {
        until("the transactions", || self.taker.json(&["getmempoolinfo"])["size"] == json!(count));
    }

    /// Checks that everything has passed and nothing was lost.
    fn assert_all_passed(&self) {
        let stats = self.relay.stats();
        say(&format!("large transactions: {:?}, tx_fetch {:?}", stats.requests, stats.hops.tx_fetch));
        let (counts, requests) = (stats.counts, stats.requests);
        assert_eq!((counts.accepted, counts.not_found, counts.announcements_lost), (COUNT as u64 + 1, 0, 0));
        assert_eq!((counts.rejected, counts.held_dropped, counts.pool_evicted), (0, 0, 0));
        assert_eq!((requests.failed, requests.dropped), (0, 0));
        assert_eq!(self.giver.json(&["getmempoolinfo"])["size"], json!(COUNT + 1));
    }
}

/// Prints the number of requests for the small transaction and the large ones, each of which was requested once.
/// There are two if the giver announces all large ones at once; a slow machine lets it announce some of them earlier.
fn say_requests(bytes: u64) {
    let messages = (bytes as usize - 36 * (COUNT + 1)) as f64 / 25.0;
    say(&format!("large transactions: {messages} requests"));
}

fn rounds() -> usize {
    if is_long() { LONG_ROUNDS } else { 1 }
}

#[test]
fn a_relay_requests_sixty_large_transactions_of_its_upstream_at_once_and_a_node_receives_them() {
    for _ in 0..rounds() {
        let Some(between) = Between::start() else { return };
        between.send_from_giver(&between.payments);
        between.wait_for_taker(COUNT + 1);
        between.assert_all_passed();
        let requests = between.relay.stats().requests;
        assert_eq!(requests.hedged, 0, "both links lead to the same node");
        let peers = between.giver.json(&["getpeerinfo"]);
        let peers = peers.as_array().expect("the reply is a list").iter();
        say_requests(peers.filter_map(|peer| peer["bytesrecv_per_msg"]["getdata"].as_u64()).sum());
        assert_eq!(between.relay.stats().counts.served, COUNT as u64 + 1);
    }
}

#[test]
fn a_node_requests_sixty_large_transactions_of_a_relay_at_once_and_receives_them() {
    for _ in 0..rounds() {
        let Some(between) = Between::start() else { return };
        // The relay announces these to the taker once the giver has announced them.
        Client::connect(between.relay_address).give(&between.payments);
        between.wait_for_taker(COUNT + 1);
        between.assert_all_passed();
        let requested = &between.taker.peer_once(|_| true)["bytessent_per_msg"]["getdata"];
        say_requests(requested.as_u64().expect("the node has requested the transactions"));
        let counts = between.relay.stats().counts;
        assert_eq!((counts.submitted, counts.seen_back, counts.served), (60, 60, 121));
    }
}
