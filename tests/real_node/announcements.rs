//! Messages sent right after the handshake, such as `protoconf` and `sendheaders`.

use crate::node::Node;
use crate::observer::{Happened, Observer, config};
use peerloop::protocol::{CommandName, SERVICE_NETWORK};
use serde_json::json;

#[test]
fn protoconf_announces_each_sides_limit_to_the_other() {
    let Some(node) = Node::start_with(&["-debug=net"]) else { return };
    let mut observer = Observer::new(config().with_max_message_bytes(3_456_789));
    let peer = observer.ready(node.address());
    observer.until("protoconf", peer, |happened| *happened == Happened::LimitsAnnounced(2_097_152));
    let limit = observer.ask(move |ctx| ctx.peer(peer).map(|view| view.connection().max_recv_payload()));
    assert_eq!(limit, Some(2_097_152));

    node.log_once_it_says("peer's proposed max message size: 3456789,");
    node.log_once_it_says(
        "their stream policies: BlockPriority,Default, common stream policies: BlockPriority,Default",
    );
    assert_eq!(node.peer_once(|_| true)["bytesrecv_per_msg"]["protoconf"], json!(51));
}

#[test]
fn a_node_announces_its_configured_limit() {
    let Some(node) = Node::start_with(&["-maxprotocolrecvpayloadlength=5000001"]) else { return };
    let mut observer = Observer::new(config());
    let peer = observer.ready(node.address());
    observer.until("protoconf", peer, |happened| *happened == Happened::LimitsAnnounced(5_000_001));
}

#[test]
fn req_e11_sendheaders_is_exchanged_and_the_node_obeys_ours() {
    let Some(node) = Node::start() else { return };
    // A node whose newest block is old does not answer getheaders.
    node.cli(&["generate", "1"]);
    let mut observer = Observer::new(config());
    let peer = observer.ready(node.address());
    assert_eq!(observer.ask(move |ctx| ctx.peer(peer).map(|view| view.connection().send_headers_mode())), Some(true));
    node.peer_once(|peer| peer["bytesrecv_per_msg"]["sendheaders"] == json!(24));

    // The node announces a block with `headers` only if it knows that the peer has the previous block.
    observer.send(peer, "getheaders", getheaders_after(&node.cli(&["getblockhash", "0"])));
    let is_headers = |happened: &Happened| *happened == Happened::Message(CommandName::new("headers"));
    observer.until("headers in answer to getheaders", peer, is_headers);
    node.cli(&["generate", "1"]);
    observer.until_times(2, "headers of a new block", peer, is_headers);
    let is_inv = |happened: &Happened| *happened == Happened::Message(CommandName::new("inv"));
    assert!(!observer.happened(peer).iter().any(is_inv), "a block was announced with inv");
}

#[test]
fn req_e35_messages_that_the_engine_does_not_answer_reach_the_handler() {
    let Some(node) = Node::start() else { return };
    // The node sends getheaders only to a peer that claims to have the chain.
    let mut observer = Observer::new(config().with_services(SERVICE_NETWORK));
    let peer = observer.ready(node.address());
    let getheaders = Happened::Message(CommandName::new("getheaders"));
    observer.until("getheaders", peer, |happened| *happened == getheaders);
    // The node sends its messages in this order.
    let expected = [
        Happened::Opened { accepted: false },
        Happened::Ready,
        Happened::LimitsAnnounced(2_097_152),
        Happened::Message(CommandName::new("authch")),
        Happened::SendHeaders,
        Happened::Message(CommandName::new("sendcmpct")),
        getheaders,
    ];
    assert_eq!(observer.happened(peer), expected);
    let undecodable = observer.ask(|ctx| ctx.counters().undecodable + ctx.counters().bad_checksums);
    assert_eq!(undecodable, 0, "a message is undecodable or has a wrong checksum");
}

/// Returns the payload of a `getheaders` for all blocks after the one with this hash. `hash` has the form that the
/// RPC prints.
fn getheaders_after(hash: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hash[at..at + 2], 16).expect("a hash is hexadecimal");
    let mut payload = 70_016_u32.to_le_bytes().to_vec();
    payload.push(1);
    payload.extend((0..64).step_by(2).rev().map(byte));
    payload.extend([0; 32]);
    payload
}
