//! Two nodes with one chain and coins of their own, and the latency of transactions from one to the other.
//!
//! The test connects them: directly, through a third node, or through the program under test.

use crate::mined::with_data;
use crate::node::Node;
use crate::rpc::Rpc;
use peerloop_testkit::bytes::{hex, to_hex};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

/// The number of blocks that each node mines at first. A node's coins mature after the other node's blocks.
const BLOCKS_EACH: u64 = 150;
/// The number of coins that each wallet then has.
const COINS_EACH: usize = 200;
/// The number of transactions from which on latencies count as measured, so that pauses between them are worth while.
const MEASURED: usize = 100;
const POLL: Duration = Duration::from_millis(20);
/// A deadline far beyond the time of any step.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node and its RPC.
#[derive(Debug)]
pub(crate) struct Wallet {
    pub(crate) node: Node,
    rpc: Rpc,
}

/// Two nodes that are not connected.
#[derive(Debug)]
pub(crate) struct TwoNodes {
    pub(crate) wallets: [Wallet; 2],
}

/// The latencies of transactions from one wallet to the other node's mempool, each in ascending order.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// From the start of `sendtoaddress`.
    pub(crate) from_start: Vec<Duration>,
    /// From its return.
    pub(crate) from_return: Vec<Duration>,
}

impl Wallet {
    fn start(options: &[&str]) -> Option<Self> {
        // By default, the node closes an RPC connection that is idle for 30 s.
        let node = Node::start_with(&[&["-rpcservertimeout=3600"], options].concat())?;
        let rpc = Rpc::connect(&node);
        Some(Self { node, rpc })
    }

    /// Connects to the RPC of a node that was started again.
    pub(crate) fn reconnect_rpc(&mut self) {
        self.rpc = Rpc::connect(&self.node);
    }

    pub(crate) fn call(&mut self, method: &str, parameters: &[Value]) -> Value {
        self.rpc.call(method, parameters)
    }

    /// Connects to another node.
    pub(crate) fn dial(&mut self, other: &Node) {
        self.call("addnode", &[json!(other.address().to_string()), json!("onetry")]);
    }

    /// Waits until the node has `count` peers whose handshakes are complete.
    pub(crate) fn wait_for_peers(&mut self, count: usize) {
        until("the expected number of peers", || {
            let peers = self.call("getpeerinfo", &[]);
            let peers = peers.as_array().expect("the reply is a list");
            // A peer has sent `verack` once it has sent more than its `version`.
            let is_ready = |peer: &&Value| peer["bytesrecv_per_msg"]["verack"].is_number();
            peers.len() == count && peers.iter().filter(is_ready).count() == count
        });
    }

    /// Waits until each of the node's peers has `count` TCP streams.
    pub(crate) fn wait_for_streams(&mut self, count: usize) {
        until("the expected number of streams", || {
            let peers = self.call("getpeerinfo", &[]);
            let mut peers = peers.as_array().expect("the reply is a list").iter();
            // For a moment, the node lists a further stream as a peer without a version.
            peers.all(|peer| peer["version"] != 0 && peer["streams"].as_array().map(Vec::len) == Some(count))
        });
    }

    /// Closes all connections of the node.
    pub(crate) fn part(&mut self) {
        let peers = self.call("getpeerinfo", &[]);
        for peer in peers.as_array().expect("the reply is a list") {
            // The other side may have closed the connection already.
            let _ = self.rpc.try_call("disconnectnode", &[peer["addr"].clone()]);
        }
        until("no peers", || self.call("getconnectioncount", &[]) == json!(0));
    }

    /// Fetches the chain of another node. The nodes are not connected afterwards.
    pub(crate) fn copy_chain(&mut self, from: &mut Self) {
        self.dial(&from.node);
        until("the chain of the other node", || self.best_block() == from.best_block());
        self.part();
    }

    fn best_block(&mut self) -> Value {
        self.call("getbestblockhash", &[])
    }

    /// Returns the transactions in the node's mempool.
    pub(crate) fn mempool(&mut self) -> BTreeSet<String> {
        let listed = self.call("getrawmempool", &[]);
        let listed = listed.as_array().expect("the reply is a list");
        listed.iter().map(|txid| txid.as_str().expect("an id is a string").to_owned()).collect()
    }

    /// Sends `count` transactions, each with an output of `data_bytes` bytes of data and one back to the wallet.
    pub(crate) fn send_data(&mut self, count: usize, data_bytes: u32) {
        let coins = self.call("listunspent", &[json!(1)]);
        let coins = coins.as_array().expect("the reply is a list");
        let is_ample = |coin: &&Value| coin["amount"].as_f64() > Some(0.1);
        let coins: Vec<&Value> = coins.iter().filter(is_ample).take(count).collect();
        assert_eq!(coins.len(), count, "the wallet has too few coins");
        let address = text(self.call("getnewaddress", &[]));
        for coin in coins {
            let input = json!([{"txid": coin["txid"], "vout": coin["vout"]}]);
            let amount = coin["amount"].as_f64().expect("the field is a number") - 0.01;
            let unsigned =
                self.call("createrawtransaction", &[input, json!({address.as_str(): format!("{amount:.8}")})]);
            // This signature does not cover the outputs. The node needs long to parse the data of a further one.
            let signed = self.call("signrawtransaction", &[unsigned, json!(null), json!(null), json!("NONE|FORKID")]);
            let small = hex(signed["hex"].as_str().expect("the node returns a transaction"));
            self.call("sendrawtransaction", &[json!(to_hex(&with_data(&small, data_bytes))), json!(true)]);
        }
    }

    /// Splits the wallet's money into [`COINS_EACH`] coins, which the next block confirms.
    fn split_coins(&mut self) {
        let balance = self.call("getbalance", &[]).as_f64().expect("a balance is a number");
        let each = (balance / COINS_EACH as f64 * 0.9 * 1e4).floor() / 1e4;
        assert!(each > 0.01, "the wallet has only {balance}");
        let outputs: serde_json::Map<String, Value> =
            (0..COINS_EACH).map(|_| (text(self.call("getnewaddress", &[])), json!(each))).collect();
        self.call("sendmany", &[json!(""), Value::Object(outputs)]);
    }
}

impl TwoNodes {
    /// Starts two nodes with one chain of fresh blocks and [`COINS_EACH`] confirmed coins in each wallet. Returns
    /// `None` as [`Node::start`] does.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts two nodes like [`TwoNodes::start`], with additional options.
    pub(crate) fn start_with(options: &[&str]) -> Option<Self> {
        let mut nodes = Self { wallets: [Wallet::start(options)?, Wallet::start(options)?] };
        nodes.connect_directly();
        for index in 0..2 {
            nodes.wallets[index].call("generate", &[json!(BLOCKS_EACH)]);
            nodes.wait_until_equal();
        }
        nodes.wallets.iter_mut().for_each(Wallet::split_coins);
        nodes.mine();
        nodes.part();
        Some(nodes)
    }

    /// Returns both nodes.
    pub(crate) fn nodes(&self) -> [&Node; 2] {
        self.wallets.each_ref().map(|wallet| &wallet.node)
    }

    /// Connects the nodes to each other.
    pub(crate) fn connect_directly(&mut self) {
        let [one, two] = &mut self.wallets;
        one.dial(&two.node);
        self.wallets.iter_mut().for_each(|wallet| wallet.wait_for_peers(1));
    }

    /// Closes all connections of both nodes.
    pub(crate) fn part(&mut self) {
        self.wallets.iter_mut().for_each(Wallet::part);
    }

    /// Lets each node mine one block with the transactions of its wallet. The nodes must be connected. The change of
    /// these transactions can then be spent again.
    pub(crate) fn mine(&mut self) {
        for index in 0..2 {
            self.wallets[index].call("generate", &[json!(1)]);
            self.wait_until_equal();
        }
    }

    /// Waits until both nodes have the same best block.
    pub(crate) fn wait_until_equal(&mut self) {
        until("the same best block", || {
            let [one, two] = self.wallets.each_mut().map(Wallet::best_block);
            one == two
        });
    }

    /// Sends `count` transactions from each wallet, and waits for each until it is in the other node's mempool. Returns
    /// the latencies of each direction, and all transaction ids.
    pub(crate) fn exchange(&mut self, count: usize) -> ([Latencies; 2], BTreeSet<String>) {
        let mut latencies = [(); 2].map(|()| Latencies { from_start: Vec::new(), from_return: Vec::new() });
        let mut txids = BTreeSet::new();
        let is_measured = count >= MEASURED;
        for number in 0..count {
            for (from, latencies) in latencies.iter_mut().enumerate() {
                // A node announces at ticks of 100 and 250 ms. Without varied pauses, each transaction would be sent
                // at the same time after a tick, because the previous one arrived at a tick.
                if is_measured {
                    thread::sleep(Duration::from_millis((number * 2 + from) as u64 * 97 % 250));
                }
                txids.insert(self.send_one(from, latencies));
            }
        }
        for latencies in &mut latencies {
            latencies.from_start.sort_unstable();
            latencies.from_return.sort_unstable();
        }
        (latencies, txids)
    }

    /// Sends one transaction, and waits until it is in the other node's mempool.
    fn send_one(&mut self, from: usize, latencies: &mut Latencies) -> String {
        let address = self.wallets[1 - from].call("getnewaddress", &[]);
        let began = Instant::now();
        let txid = self.wallets[from].call("sendtoaddress", &[address, json!(0.001)]);
        let returned = Instant::now();
        // The node reports an error until it has the transaction.
        while self.wallets[1 - from].rpc.try_call("getmempoolentry", std::slice::from_ref(&txid)).is_err() {
            assert!(began.elapsed() < PATIENCE, "{txid} did not arrive");
        }
        latencies.from_start.push(began.elapsed());
        latencies.from_return.push(returned.elapsed());
        text(txid)
    }
}

impl Latencies {
    /// Returns the median and the 99th percentile from the call's start and from its return, in one line.
    pub(crate) fn line(&self) -> String {
        let millis = |latency: Duration| format!("{:.1}", latency.as_secs_f64() * 1e3);
        let rank = |sorted: &[Duration], percent: usize| millis(sorted[(sorted.len() * percent).div_ceil(100) - 1]);
        format!(
            "from the return p50 {} p99 {} ms, from the start p50 {} p99 {} ms, {} transactions",
            rank(&self.from_return, 50),
            rank(&self.from_return, 99),
            rank(&self.from_start, 50),
            rank(&self.from_start, 99),
            self.from_return.len()
        )
    }
}

/// Starts a third node that has the chain of `nodes` and is not connected.
pub(crate) fn start_middle(nodes: &mut TwoNodes, options: &[&str]) -> Wallet {
    let mut middle = Wallet::start(options).expect("the other nodes have started, too");
    middle.copy_chain(&mut nodes.wallets[0]);
    middle
}

/// Waits until `holds` returns true.
///
/// # Panics
///
/// When it has not after [`PATIENCE`].
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "timed out waiting for {what}");
        thread::sleep(POLL);
    }
}

fn text(value: Value) -> String {
    value.as_str().expect("the value is a string").to_owned()
}
