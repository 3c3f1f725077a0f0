//! A node with a chain that it mined for the test. Our observer is the node's only peer.

use crate::node::Node;
use crate::observer::{Observer, config};
use peerloop::PeerId;
use peerloop::error::Disconnect;
use peerloop::wire::{
    BlockHeader, Hash256, Inventory, InventoryItem, InventoryKind, Locator, Message, Tx, TxOutRef, TxRef,
};
use peerloop_testkit::bytes::hex;
use serde_json::Value;

/// Number of blocks after which a coinbase may be spent.
pub(crate) const MATURITY: usize = 100;

/// A node with a chain whose last block has transactions in addition to the coinbase.
pub(crate) struct Chain {
    pub(crate) node: Node,
    pub(crate) observer: Observer,
    pub(crate) peer: PeerId,
    address: String,
}

impl Chain {
    pub(crate) fn start_with(options: &[&str]) -> Option<Self> {
        let node = Node::start_with(options)?;
        node.cli(&["generate", &(MATURITY + 4).to_string()]);
        let address = node.cli(&["getnewaddress"]);
        let mut observer = Observer::new(config());
        let peer = observer.ready(node.address());
        let chain = Self { node, observer, peer, address };
        chain.pay(4);
        chain.mine();
        Some(chain)
    }

    /// Makes the node send `count` payments to itself, and returns the payments' ids. The payments wait until
    /// the node mines a block.
    pub(crate) fn pay(&self, count: usize) -> Vec<Hash256> {
        (0..count).map(|_| hash(&self.node.cli(&["sendtoaddress", &self.address, "1"]))).collect()
    }

    /// Mines a block with all waiting transactions and returns its hash.
    pub(crate) fn mine(&self) -> Hash256 {
        hash(self.node.json(&["generatetoaddress", "1", &self.address])[0].as_str().expect("the hash is a string"))
    }

    /// Closes the connection and connects again, as a peer to which the node has announced nothing yet.
    pub(crate) fn reconnect(&mut self) {
        let peer = self.peer;
        self.observer.ask(move |ctx| ctx.close(peer, Disconnect::Done));
        self.observer.closed(peer);
        self.peer = self.observer.ready(self.node.address());
    }

    pub(crate) fn best_block(&self) -> Hash256 {
        hash(&self.node.cli(&["getbestblockhash"]))
    }

    /// Returns the ids of a block's transactions, as RPC reports them.
    pub(crate) fn txids(&self, block: Hash256) -> Vec<Hash256> {
        let block = self.node.json(&["getblock", &block.to_string()]);
        let txids = block["tx"].as_array().expect("the block has transactions");
        txids.iter().map(|txid| hash(txid.as_str().expect("the hash is a string"))).collect()
    }

    /// Runs an RPC command that prints bytes as hexadecimal, and returns the bytes.
    pub(crate) fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        hex(&self.node.cli(arguments))
    }

    /// Returns a transaction that the node has signed, but neither sent nor added to its mempool. The transaction
    /// spends the wallet's unspent output at `position`, and its fee is `fee` coins.
    pub(crate) fn unsent_tx(&self, position: usize, fee: &str) -> Tx {
        let output = &self.node.json(&["listunspent"])[position];
        let amount = output["amount"].as_f64().expect("the field is a number")
            - fee.parse::<f64>().expect("the fee is a number");
        let bytes = signed_payment(&self.node, output, &self.address, amount, "ALL|FORKID");
        let tx = TxRef::decode(&bytes).expect("the bytes are a transaction");
        // The transaction is rebuilt from its parts, so that this crate encodes all of its bytes.
        let (inputs, outputs): (Vec<_>, Vec<_>) = (tx.inputs().collect(), tx.outputs().collect());
        Tx::from_parts(tx.version(), &inputs, &outputs, tx.locktime())
    }

    pub(crate) fn say(&mut self, message: Message) {
        self.observer.say(self.peer, message);
    }

    pub(crate) fn ask_for(&mut self, kind: InventoryKind, hash: Hash256) {
        self.say(Message::GetData(Inventory::from_items([InventoryItem { kind, hash }])));
    }

    pub(crate) fn receive<T>(&mut self, what: &str, find: impl Fn(&Message) -> Option<T>) -> T {
        self.observer.receive(what, self.peer, find)
    }

    /// Requests all headers and returns them. From then on the node assumes that we have these blocks.
    pub(crate) fn headers(&mut self) -> Vec<BlockHeader> {
        self.say(Message::GetHeaders(self.locator()));
        self.receive("headers", |message| match message {
            Message::Headers(headers) => Some(headers.as_ref().iter().map(|listed| listed.header).collect()),
            _ => None,
        })
    }

    pub(crate) fn genesis(&self) -> Hash256 {
        hash(&self.node.cli(&["getblockhash", "0"]))
    }

    /// Returns a locator that requests all blocks after the genesis block.
    pub(crate) fn locator(&self) -> Locator {
        Locator::from_hashes(70_016, [self.genesis()], Hash256::ZERO)
    }

    /// Asserts that the node's ban score for us is 0.
    pub(crate) fn assert_in_good_standing(mut self) {
        self.observer.settle(self.peer);
        let seen = self.node.peer_once(|_| true);
        assert_eq!(seen["banscore"], Value::from(0), "{seen}");
    }
}

/// Returns a transaction that the node has signed, but neither sent nor added to its mempool. The transaction spends
/// `output`, as `listunspent` describes it, and pays `amount` coins to an address. The node need not know the output if
/// its script is given, too.
pub(crate) fn signed_payment(node: &Node, output: &Value, address: &str, amount: f64, hash_type: &str) -> Vec<u8> {
    let input = format!("[{{\"txid\":{},\"vout\":{}}}]", output["txid"], output["vout"]);
    let unsigned = node.cli(&["createrawtransaction", &input, &format!("{{\"{address}\":{amount:.8}}}")]);
    let outputs = Value::Array(vec![output.clone()]).to_string();
    let signed = node.json(&["signrawtransaction", &unsigned, &outputs, "null", hash_type]);
    assert_eq!(signed["complete"], Value::Bool(true), "{signed}");
    hex(signed["hex"].as_str().expect("the node returns a transaction"))
}

/// Returns the transaction with one more output, of data. The signature must not cover the outputs.
pub(crate) fn with_data(transaction: &[u8], data_bytes: u32) -> Vec<u8> {
    let tx = TxRef::decode(transaction).expect("the bytes are a transaction");
    // OP_FALSE, OP_RETURN, OP_PUSHDATA4.
    let mut script = vec![0x00, 0x6a, 0x4e];
    script.extend(data_bytes.to_le_bytes());
    script.resize(script.len() + data_bytes as usize, 7);
    let (inputs, mut outputs): (Vec<_>, Vec<_>) = (tx.inputs().collect(), tx.outputs().collect());
    outputs.push(TxOutRef { value: 0, script: &script });
    payload(&Message::Tx(Tx::from_parts(tx.version(), &inputs, &outputs, tx.locktime())))
}

/// Parses a hash as RPC prints it.
pub(crate) fn hash(text: &str) -> Hash256 {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Returns the message's payload, encoded by this crate.
pub(crate) fn payload(message: &Message) -> Vec<u8> {
    let mut payload = Vec::new();
    message.as_ref().encode_payload(&mut payload);
    payload
}
