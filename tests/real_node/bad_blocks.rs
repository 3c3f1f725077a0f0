//! Wrong blocks between a source that lies and a real node: the node never has one whole, blames nobody, and receives
//! the right block from another source.

use crate::node::Node;
use crate::running::{RunningRelay, managed_config, say};
use crate::two_nodes::until;
use peerloop::relay::{Relay, RelayConfig, RelayCounts};
use peerloop::wire::{BlockRef, Header, TxRef};
use peerloop_testkit::bytes::{frame, hex, verack, version};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Blocks until the miner's first coin matures.
const FIRST_BLOCKS: u32 = 101;
const POLL: Duration = Duration::from_millis(20);

/// A node without an engine, which announces a chain and answers each request for a block with the same bytes. It
/// accepts one connection. Dropping the value ends it.
struct Liar {
    address: SocketAddr,
    /// Whether its connection has ended.
    has_ended: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Starts a node with the payload of a `headers` and the answer to a `getdata`.
    fn start(headers: &[u8], answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("the listener is bound");
        listener.set_nonblocking(true).expect("the listener is open");
        let (has_ended, stopping): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let (ends, stops, headers) = (Arc::clone(&has_ended), Arc::clone(&stopping), frame("headers", headers));
        let thread = thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        drop(listener);
                        serve(stream, &headers, &answer, &stops);
                        return ends.store(true, Ordering::Relaxed);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        thread::sleep(POLL);
                    }
                }
            }
        });
        Self { address, has_ended, stopping, thread: Some(thread) }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.expect("the thread has not been joined before").expect("the liar did not panic");
        }
    }
}

/// Reads exactly this many bytes; `None` once the connection or the liar ends.
fn read(stream: &mut TcpStream, len_bytes: usize, stopping: &AtomicBool) -> Option<Vec<u8>> {
    let (mut bytes, mut at) = (vec![0; len_bytes], 0);
    while at < len_bytes {
        match stream.read(&mut bytes[at..]) {
            Ok(0) => return None,
            Ok(len) => at += len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stopping.load(Ordering::Relaxed) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    Some(bytes)
}

/// Serves one connection until it ends.
fn serve(mut stream: TcpStream, headers: &[u8], answer: &[u8], stopping: &AtomicBool) {
    stream.set_nonblocking(false).expect("the connection is open");
    stream.set_read_timeout(Some(POLL)).expect("the connection is open");
    while let Some(bytes) = read(&mut stream, 24, stopping) {
        let header = Header::decode(bytes[..].try_into().expect("a header has 24 bytes"));
        let Some(payload) = read(&mut stream, header.payload_len as usize, stopping) else { return };
        let reply = match header.command.to_string().as_str() {
            "version" => [version(), verack()].concat(),
            "getheaders" => headers.to_vec(),
            "ping" => frame("pong", &payload),
            "getdata" => answer.to_vec(),
            _ => continue,
        };
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

/// Returns the payload of a `headers` with the node's whole chain above the genesis block.
fn headers_of(node: &Node, height: u32) -> Vec<u8> {
    let mut payload = vec![height as u8];
    for height in 1..=height {
        let hash = node.cli(&["getblockhash", &height.to_string()]);
        payload.extend(hex(&node.cli(&["getblockheader", &hash, "false"])));
        payload.push(0);
    }
    payload
}

/// Returns the ways in which a block of three transactions is sent wrongly, each with the frame.
fn wrong_frames(block: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let last = block.len() - 1;
    let mut other_root = block.to_vec();
    // The last byte of the last transaction, a part of its lock time.
    other_root[last] ^= 1;
    let mut wrong_checksum = frame("block", block);
    wrong_checksum[20] ^= 1;
    vec![
        ("a wrong Merkle root", frame("block", &other_root)),
        ("a wrong checksum", wrong_checksum),
        ("repeated transactions", frame("block", &with_last_twice(block))),
        ("too many bytes", frame("block", &[block, &[0]].concat())),
        ("too few bytes", frame("block", &block[..last])),
    ]
}

/// Returns a block of three transactions with the last one twice, which has the same Merkle root.
fn with_last_twice(block: &[u8]) -> Vec<u8> {
    let encoded = |tx: TxRef<'_>| {
        let mut bytes = Vec::new();
        tx.encode(&mut bytes);
        bytes
    };
    let parsed = BlockRef::decode(block).expect("the node's block is valid");
    let txs: Vec<Vec<u8>> =
        parsed.transactions.into_iter().map(|tx| encoded(tx.expect("the node's transaction is valid"))).collect();
    assert_eq!(txs.len(), 3, "only an odd number of transactions can be repeated");
    [&block[..80], &[4], &txs.concat(), &txs[2]].concat()
}

#[test]
fn a_wrong_block_reaches_no_node_and_the_right_one_follows() {
    let Some(miner) = Node::start() else { return };
    let Some(node) = Node::start() else { return };
    miner.cli(&["generate", &FIRST_BLOCKS.to_string()]);
    let mut height = FIRST_BLOCKS;
    let sync = RunningRelay::with(managed_config(), relay_of(&[miner.address(), node.address()]), 2);
    until("the first blocks on the node", || node.cli(&["getblockcount"]) == height.to_string());
    drop(sync);
    for kind in 0..5 {
        let own = miner.cli(&["getnewaddress"]);
        for _ in 0..2 {
            miner.cli(&["sendtoaddress", &own, "1"]);
        }
        let hash = miner.json(&["generate", "1"])[0].as_str().expect("the node lists the block").to_owned();
        height += 1;
        let block = hex(&miner.cli(&["getblock", &hash, "0"]));
        let (name, wrong) = wrong_frames(&block).swap_remove(kind);
        let liar = Liar::start(&headers_of(&miner, height), wrong);
        let (relay, _) = RunningRelay::with(managed_config(), relay_of(&[liar.address, node.address()]), 0);
        until("the liar's answer to be refused", || relay.stats().counts.blocks_wrong > 0);
        until("the end of the liar's connection", || liar.has_ended.load(Ordering::Relaxed));
        let counts = relay.stats().counts;
        assert!(counts.block_readers_cut > 0 && counts.blocks_served == 0, "{name}: {counts:?}");
        assert_eq!(node.cli(&["getblockcount"]), (height - 1).to_string(), "{name}");
        let tips = node.json(&["getchaintips"]);
        let tips = tips.as_array().expect("the reply is a list");
        let of_block = tips.iter().find(|tip| tip["hash"] == hash.as_str());
        assert!(of_block.is_none_or(|tip| tip["status"] == "headers-only"), "{name}: {tips:?}");
        relay.set_upstreams(vec![liar.address, node.address(), miner.address()]);
        until("the right block on the node", || node.cli(&["getbestblockhash"]) == hash);
        for node in [&node, &miner] {
            assert_eq!(node.json(&["listbanned"]), serde_json::json!([]), "{name}");
        }
        let RelayCounts { blocks_wrong, block_readers_cut, blocks_served, .. } = relay.stats().counts;
        say(&format!("{name}: wrong {blocks_wrong}, cut {block_readers_cut}, then served {blocks_served}"));
    }
    for node in [&node, &miner] {
        let log = node.log_once_it_says("UpdateTip");
        assert!(!log.contains("Misbehaving"), "a node has charged the relay");
    }
}

/// Returns a relay with one link to each of these upstreams.
fn relay_of(upstreams: &[SocketAddr]) -> Relay {
    Relay::new(RelayConfig::new(upstreams.to_vec()).with_upstream_links(1))
}
