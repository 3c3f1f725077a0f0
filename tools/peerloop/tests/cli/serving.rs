//! `serve` as a test node: the data that it serves, and its misbehaviour on purpose. No test depends on a duration.

use crate::scripted::Peer;
use crate::{ResultFile, Running, peerloop};
use peerloop::Network;
use peerloop::protocol::CommandName;
use peerloop::wire::{
    BlockHeader, BlockRef, Hash256, HeadersRef, InventoryItem, Locator, MerkleVerdict, MessageRef, TxRef,
};
use std::net::SocketAddr;

pub(crate) fn connect(address: &str) -> Peer {
    Peer::connect(address.parse::<SocketAddr>().expect("the node prints its address"))
}

/// Stops the node, and returns the text that it printed.
fn stopped(node: Running) -> String {
    node.signal("TERM");
    let served = node.finish();
    assert_eq!((served.code, served.stderr.as_str()), (Some(0), ""));
    served.stdout
}

/// Requests the headers after the genesis block, and returns the hashes.
pub(crate) fn hashes(peer: &mut Peer) -> Vec<Hash256> {
    let mut prev = BlockHeader::genesis_of(Network::Regtest).hash();
    peer.send(&MessageRef::GetHeaders(Locator::from_hashes(70_016, [prev], Hash256::ZERO).as_ref()));
    let payload = peer.wait_for(CommandName::HEADERS);
    let headers = HeadersRef::decode(&payload).expect("the node sends valid messages");
    let check = |header: BlockHeader| {
        assert_eq!((header.prev_hash, header.check_proof_of_work(Network::Regtest)), (prev, Ok(())));
        prev = header.hash();
        prev
    };
    headers.iter().map(|item| item.header).map(check).collect()
}

#[test]
fn headers_blocks_and_transactions_are_served() {
    let file = ResultFile::new("transactions");
    // A transaction without inputs and outputs.
    let preset = [1, 0, 0, 0, 0, 0, 7, 0, 0, 0];
    std::fs::write(file.path(), "# one\n01000000000007000000\n").expect("the folder is writable");
    let flags = ["-q", "--blocks", "30", "--block-size", "3MiB", "--tx", file.path(), "--announce"];
    let (node, address) = Running::serve(&flags);
    let (mut peer, mut other) = (connect(&address), connect(&address));
    let hashes = hashes(&mut peer);
    assert_eq!(hashes.len(), 30);

    peer.request(InventoryItem::block(hashes[29]));
    let payload = peer.wait_for(CommandName::BLOCK);
    let block = BlockRef::decode(&payload).expect("the node sends valid messages");
    let verdict = block.merkle_tree().expect("the transactions are valid").verdict(block.header.merkle_root);
    assert_eq!((payload.len(), block.hash(), verdict), (3 << 20, hashes[29], MerkleVerdict::Valid));

    let tx = InventoryItem::tx(TxRef::decode(&preset).expect("the transaction is valid").txid());
    peer.request(tx);
    assert_eq!(peer.transaction(), preset);

    let unknown = InventoryItem::tx(Hash256::from_bytes([9; 32]));
    peer.request(unknown);
    assert_eq!(peer.missing(), [unknown]);
    peer.announce(unknown);
    assert_eq!(peer.requested(), [unknown]);
    let given = [2, 0, 0, 0, 0, 0, 7, 0, 0, 0];
    peer.give(&given);
    let item = InventoryItem::tx(TxRef::decode(&given).expect("the transaction is valid").txid());
    assert_eq!(other.announced(), [item]);
    other.request(item);
    assert_eq!(other.transaction(), given);

    let text = stopped(node);
    assert!(text.contains("6 requests to the node: answered 6\n"), "{text}");
    let sent =
        "sent: headers messages 1, transactions 2, blocks 1, items not found 1, items requested 1, announcements 1";
    assert!(text.contains(sent) && text.contains("received: transactions 1\n"), "{text}");
}

#[test]
fn a_node_that_misbehaves_says_so_and_counts_what_it_does() {
    let knobs =
        ["-q", "--delay", "100us..2ms", "--drop", "20%", "--stall", "1ms/20ms", "--max-rate", "50k", "--seed", "5"];
    let mut node = Running::start(&[&crate::SERVE[..], &knobs].concat());
    let address = node.greeting();
    let address = address.split_whitespace().nth(2).expect("the greeting has an address").to_owned();
    assert_eq!(
        node.greeting(),
        "misbehaves on purpose: delays each reply by 100us to 2ms, drops 20 % of the requests, sends no reply for 1ms \
         once every 20ms, limits its replies to 50000/s\n"
    );
    let load = ["bench", &address, "--network", "regtest", "-c", "10", "-d", "1s", "-r", "500", "--warmup", "0s", "-q"];
    let load = peerloop(&load);
    assert!(load.stdout.contains("ready 10   lost 0"), "{}", load.stdout);
    let text = stopped(node);
    let line = text.lines().find(|line| line.contains("requests to the node")).expect("the summary has the counts");
    for word in ["answered ", "delayed ", "stalled ", "dropped "] {
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn a_node_that_drops_everything_keeps_its_peers_and_answers_nothing() {
    let (node, address) = Running::serve(&["-q", "--drop", "100%"]);
    let load = ["bench", &address, "--network", "regtest", "-c", "4", "-d", "1s", "--warmup", "0s", "--drain", "100ms"];
    let load = peerloop(&[&load[..], &["-q"]].concat());
    assert!(load.stdout.contains("ready 4   lost 0"), "{}", load.stdout);
    let text = stopped(node);
    assert!(text.contains("4 requests to the node: answered 0, dropped 4\n"), "{text}");
    assert!(text.contains(" 0 pings answered"), "{text}");
}

#[test]
fn every_peer_is_closed_after_the_time() {
    let (node, address) = Running::serve(&["-q", "--close-after", "200ms"]);
    let load = ["bench", &address, "--network", "regtest", "-c", "6", "-d", "1h", "--warmup", "0s", "-q"];
    let load = peerloop(&load);
    assert!(load.stdout.contains("lost 6") && load.stdout.contains("closed_by_peer"), "{}", load.stdout);
    let text = stopped(node);
    // The bench opens one connection before the six, and may close it first.
    assert!(text.contains("peers closed 6") || text.contains("peers closed 7"), "{text}");
}
