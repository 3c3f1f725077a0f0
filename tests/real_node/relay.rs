//! The example `relay` between a peer that sends it large transactions and a node that requests all of them.

use crate::mined::{MATURITY, from_hex};
use crate::node::Node;
use peerloop::wire::{Message, Tx, TxOutRef, TxRef};
use peerloop_testkit::examples::{self, Client, Relay};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

const COUNT: usize = 60;
const DATA_BYTES: u32 = 90_000;
/// Length of a `getdata` for all of the transactions, in bytes.
const REQUEST_BYTES: usize = 24 + 1 + 36 * COUNT;

/// Returns large valid transactions. The node has signed their inputs, but does not store the transactions.
fn large_payments(node: &Node) -> Vec<Vec<u8>> {
    node.cli(&["generate", &(MATURITY + COUNT).to_string()]);
    let address = node.cli(&["getnewaddress"]);
    let unspent = node.json(&["listunspent"]);
    let unspent = unspent.as_array().expect("the reply is a list");
    assert_eq!(unspent.len(), COUNT, "the number of spendable coinbases differs from the number of transactions");
    unspent.iter().map(|output| large_payment(node, &address, output)).collect()
}

fn large_payment(node: &Node, address: &str, output: &Value) -> Vec<u8> {
    let input = json!([{"txid": output["txid"], "vout": output["vout"]}]).to_string();
    let amount = output["amount"].as_f64().expect("the field is a number") - 0.01;
    let unsigned = node.cli(&["createrawtransaction", &input, &format!("{{\"{address}\":{amount:.8}}}")]);
    // The signature does not cover the outputs, so another output can be added.
    let signed = node.json(&["signrawtransaction", &unsigned, "[]", "null", "NONE|FORKID"]);
    assert_eq!(signed["complete"], Value::Bool(true), "{signed}");
    let bytes = from_hex(signed["hex"].as_str().expect("the node returns a transaction"));
    let tx = TxRef::decode(&bytes).expect("the bytes are a transaction");
    // OP_FALSE, OP_RETURN, OP_PUSHDATA4.
    let mut script = vec![0x00, 0x6a, 0x4e];
    script.extend(DATA_BYTES.to_le_bytes());
    script.resize(script.len() + DATA_BYTES as usize, 7);
    let (inputs, mut outputs): (Vec<_>, Vec<_>) = (tx.inputs().collect(), tx.outputs().collect());
    outputs.push(TxOutRef { value: 0, script: &script });
    let mut payload = Vec::new();
    Message::Tx(Tx::from_parts(tx.version(), &inputs, &outputs, tx.locktime())).as_ref().encode_payload(&mut payload);
    payload
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
