//! New blocks that the node announces by their enriched headers.
//!
//! The node announces blocks this way only to a peer that sends `sendhdrsen` without `sendheaders` (SV Node 1.2.2,
//! net_processing.cpp SendBlockHeaders). The engine sends `sendheaders` to every peer, so this test uses a plain
//! connection.

use crate::mined::hash;
use crate::node::Node;
use crate::plain::{Wire, protoconf, version};
use peerloop::protocol::CommandName;
use peerloop::wire::{AssociationId, Hash256, Locator, Message};

#[test]
fn after_sendhdrsen_a_new_block_is_announced_by_its_enriched_header() {
    let Some(node) = Node::start() else { return };
    // A node whose newest block is old does not answer getheaders.
    node.cli(&["generate", "1"]);
    let mut wire = Wire::dial(node.address());
    wire.say(&version(AssociationId::Empty));
    wire.receive_command(CommandName::VERACK);
    wire.say(&Message::Verack);
    // Until we announce a limit, the node treats any enriched header as too large and announces the block with inv.
    wire.say(&protoconf());
    // The node announces a block by its header only if it knows that the peer has the previous block.
    let genesis = hash(&node.cli(&["getblockhash", "0"]));
    wire.say(&Message::GetHeaders(Locator::from_hashes(70_016, [genesis], Hash256::ZERO)));
    wire.receive_command(CommandName::HEADERS);
    wire.say(&Message::SendHdrsEn);
    wire.say(&Message::Ping { nonce: 7 });
    wire.receive_command(CommandName::PONG);

    let mined = node.json(&["generate", "1"])[0].as_str().map(hash).expect("one block is mined");
    let Message::HdrsEn(announced) = wire.receive_command(CommandName::HDRSEN) else {
        panic!("the message is not a hdrsen")
    };
    let [item] = announced.as_ref().iter().collect::<Vec<_>>()[..] else { panic!("{announced:?} is not one header") };
    assert_eq!((item.header.hash(), item.tx_count, item.no_more_headers), (mined, 1, true));
    let coinbase = item.coinbase.expect("the item has the coinbase");
    assert!(coinbase.is_proven_by(&item.header), "{coinbase:?}");
    let block = node.json(&["getblock", &mined.to_string()]);
    assert_eq!(block["tx"][0].as_str().map(hash), Some(coinbase.tx.txid()));
}
