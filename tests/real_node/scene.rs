//! A relay between a node, its upstream, and scripted leaf peers, with good and bad transactions for them to send.

use crate::mined::{MATURITY, hash, signed_payment};
use crate::node::Node;
use crate::observer::{Observer, config};
use crate::running::RunningRelay;
use peerloop::relay::{Relay, RelayConfig, RelayEvent, RelayPolicy, RelayStep, TrustMode};
use peerloop::wire::{Hash256, Inventory, InventoryItem, Message, TxRef};
use peerloop::{Config, Ctx, PeerId};
use peerloop_testkit::bytes::to_hex;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// A wait far longer than that of any test.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of coins of the node's wallet.
const COINS: usize = 20;

// Offsets in a transaction with one input.
const IN_VERSION: usize = 0;
const IN_SPENT_TXID: usize = 4 + 1;
/// In the second integer of the signature, after the lengths of the script and of the signature.
pub(crate) const IN_SIGNATURE: usize = 4 + 1 + 36 + 1 + 1 + 60;

/// A policy that passes on all steps of submitted transactions.
struct Steps(Sender<RelayEvent>);

impl RelayPolicy for Steps {
    fn on_relay_event(&mut self, _ctx: &mut Ctx<'_>, event: &RelayEvent) {
        // The test may have ended.
        let _ = self.0.send(event.clone());
    }
}

/// A peer of the relay that is no upstream.
pub(crate) struct Leaf {
    pub(crate) observer: Observer,
    pub(crate) peer: PeerId,
}

impl Leaf {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut observer = Observer::new(config());
        let peer = observer.ready(address);
        Self { observer, peer }
    }

    /// Announces a transaction, and sends it when the relay requests it.
    pub(crate) fn offer(&mut self, transaction: &[u8]) {
        let txid = Hash256::of(transaction);
        self.observer.say(self.peer, Message::Inv(Inventory::from_items([InventoryItem::tx(txid)])));
        self.observer.receive("request", self.peer, |message| match message {
            Message::GetData(items) => items.as_ref().iter().any(|item| item == InventoryItem::tx(txid)).then_some(()),
            _ => None,
        });
        self.push(transaction);
    }

    /// Sends a transaction without an announcement.
    pub(crate) fn push(&mut self, transaction: &[u8]) {
        self.observer.send(self.peer, "tx", transaction.to_vec());
    }

    /// Requests a transaction. Returns it, or `None` if the relay replies with `notfound`.
    pub(crate) fn fetch(&mut self, txid: Hash256) -> Option<Vec<u8>> {
        self.observer.say(self.peer, Message::GetData(Inventory::from_items([InventoryItem::tx(txid)])));
        self.observer.receive("reply", self.peer, |message| match message {
            Message::Tx(tx) if tx.as_ref().txid() == txid => Some(Some(tx.as_ref().encoded().to_vec())),
            Message::NotFound(_) => Some(None),
            _ => None,
        })
    }

    /// Waits for the announcement of a transaction.
    pub(crate) fn until_announced(&mut self, txid: Hash256) {
        self.observer.receive("announcement", self.peer, |message| match message {
            Message::Inv(items) => items.as_ref().iter().any(|item| item.hash == txid).then_some(()),
            _ => None,
        });
    }

    /// Returns all transactions that the relay has announced so far, in order.
    pub(crate) fn announced(&mut self) -> Vec<Hash256> {
        self.observer.settle(self.peer);
        let announced = RefCell::new(Vec::new());
        self.observer.first(self.peer, |message| -> Option<()> {
            if let Message::Inv(items) = message {
                announced.borrow_mut().extend(items.as_ref().iter().map(|item| item.hash));
            }
            None
        });
        announced.into_inner()
    }

    /// Returns whether the relay has closed the connection. A leaf that it has not closed is still served.
    pub(crate) fn is_closed(&mut self) -> bool {
        let peer = self.peer;
        let is_ready = self.observer.ask(move |ctx| ctx.peer(peer).is_some());
        if is_ready {
            self.observer.settle(peer);
        }
        !is_ready
    }
}

/// Transactions that the node does not accept.
pub(crate) struct Bad {
    /// Spends an output that a transaction in the mempool spends.
    pub(crate) conflict: Vec<u8>,
    /// Spends an output that a transaction in a block spends.
    pub(crate) spent: Vec<u8>,
    /// Spends an output of an unknown transaction.
    pub(crate) orphan: Vec<u8>,
    /// Has a version that the node does not relay, which costs no points.
    pub(crate) nonstandard: Vec<u8>,
    /// Has an invalid signature.
    pub(crate) script: Vec<u8>,
}

impl Bad {
    /// Returns each transaction with the node's words for the result, which follow the id in the log.
    pub(crate) fn all(&self) -> [(&[u8], &str); 5] {
        [
            (&self.conflict, "rejected txn-mempool-conflict"),
            (&self.spent, "detected orphan"),
            (&self.orphan, "detected orphan"),
            (&self.nonstandard, "rejected version"),
            (&self.script, "rejected mandatory-script-verify-flag-failed"),
        ]
    }
}

/// An upstream with coins, and a relay.
pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) address: String,
    coins: Vec<Value>,
    pub(crate) bad: Bad,
    /// A transaction that the node has accepted before the relay connects.
    pub(crate) in_mempool: Vec<u8>,
    pub(crate) relay: RunningRelay,
    relay_address: SocketAddr,
    steps: Receiver<RelayEvent>,
}

impl Scene {
    /// Starts a node with these options, and a relay with two links to it, or one in the mode `trusted`.
    pub(crate) fn start(options: &[&str], trust: TrustMode) -> Option<Self> {
        Self::start_with(options, RelayConfig::new(Vec::new()).with_trust(trust), config())
    }

    pub(crate) fn start_with(options: &[&str], mut settings: RelayConfig, config: Config) -> Option<Self> {
        let node = Node::start_with(&[&["-acceptnonstdtxn=0", "-debug=mempool", "-debug=txnval"], options].concat())?;
        node.cli(&["generate", &(MATURITY + COINS).to_string()]);
        let address = node.cli(&["getnewaddress"]);
        let mut coins = node.json(&["listunspent"]).as_array().expect("the reply is a list").clone();
        assert_eq!(coins.len(), COINS);
        let mut next = || coins.pop().expect("there are enough coins");
        let pay = |coin: &Value, fee: f64| payment(&node, &address, coin, fee);
        let (spent_twice, contested, other, third, fourth) = (next(), next(), next(), next(), next());
        let bad = Bad {
            conflict: pay(&contested, 0.002),
            spent: pay(&spent_twice, 0.002),
            orphan: with_flipped_bit(pay(&other, 0.001), IN_SPENT_TXID),
            nonstandard: with_flipped_bit(pay(&third, 0.001), IN_VERSION),
            script: with_flipped_bit(pay(&fourth, 0.001), IN_SIGNATURE),
        };
        node.cli(&["sendrawtransaction", &to_hex(&pay(&spent_twice, 0.001))]);
        node.cli(&["generate", "1"]);
        let in_mempool = pay(&contested, 0.001);
        node.cli(&["sendrawtransaction", &to_hex(&in_mempool)]);

        let (sender, steps) = channel();
        settings.upstreams = vec![node.address()];
        let links = settings.upstream_links;
        let (relay, relay_address) = RunningRelay::with(config, Relay::with_policy(settings, Steps(sender)), links);
        Some(Self { node, address, coins, bad, in_mempool, relay, relay_address, steps })
    }

    pub(crate) fn leaves<const N: usize>(&self) -> [Leaf; N] {
        [(); N].map(|()| Leaf::connect(self.relay_address))
    }

    /// Returns a valid transaction that the node has not seen.
    pub(crate) fn good(&mut self) -> Vec<u8> {
        let coin = self.coins.pop().expect("there are enough coins");
        payment(&self.node, &self.address, &coin, 0.001)
    }

    /// Returns transactions of which each spends the output of the one before.
    pub(crate) fn chain(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut chain = vec![self.good()];
        while chain.len() < count {
            let last = chain.last().expect("the chain has a first transaction");
            let output = TxRef::decode(last).expect("the bytes are a transaction").outputs().next();
            let output = output.expect("the transaction has an output");
            let coin = json!({
                "txid": Hash256::of(last).to_string(),
                "vout": 0,
                "scriptPubKey": to_hex(output.script),
                "amount": output.value as f64 / 1e8,
            });
            chain.push(payment(&self.node, &self.address, &coin, 0.001));
        }
        chain
    }

    /// Gives a transaction to the node itself.
    pub(crate) fn send_through_node(&self, transaction: &[u8]) {
        self.node.cli(&["sendrawtransaction", &to_hex(transaction)]);
    }

    /// Makes the node's wallet send a transaction, and returns its id.
    pub(crate) fn send_from_node(&self) -> Hash256 {
        hash(&self.node.cli(&["sendtoaddress", &self.address, "1"]))
    }

    /// Lets a leaf offer each bad transaction, and waits until the node has refused it.
    pub(crate) fn offer_bad(&self, leaf: &mut Leaf) {
        for (transaction, result) in self.bad.all() {
            leaf.offer(transaction);
            self.node.log_once_it_says(&format!("{} {result}", Hash256::of(transaction)));
        }
    }

    /// Waits for the next step of a transaction that `is_it` accepts.
    pub(crate) fn until_step(&self, txid: Hash256, is_it: impl Fn(&RelayStep) -> bool) {
        loop {
            let event = self.steps.recv_timeout(PATIENCE).expect("the step is reported");
            if event.txid == txid && is_it(&event.step) {
                return;
            }
        }
    }

    /// Returns the steps of a transaction that were reported so far.
    pub(crate) fn steps_so_far(&self, txid: Hash256) -> Vec<RelayStep> {
        self.steps.try_iter().filter(|event| event.txid == txid).map(|event| event.step).collect()
    }

    /// Returns the node's ids of the connected peers, in ascending order, and the sum of their ban scores.
    pub(crate) fn peers_and_scores(&self) -> (Vec<u64>, u64) {
        let peers = self.node.json(&["getpeerinfo"]);
        let peers = peers.as_array().expect("the reply is a list");
        let numbers = |field: &str| -> Vec<u64> {
            peers.iter().map(|peer| peer[field].as_u64().expect("the field is a number")).collect()
        };
        (numbers("id"), numbers("banscore").iter().sum())
    }
}

fn payment(node: &Node, address: &str, coin: &Value, fee: f64) -> Vec<u8> {
    let amount = coin["amount"].as_f64().expect("the field is a number") - fee;
    signed_payment(node, coin, address, amount, "ALL|FORKID")
}

pub(crate) fn with_flipped_bit(mut transaction: Vec<u8>, at: usize) -> Vec<u8> {
    transaction[at] ^= 0x10;
    transaction
}
