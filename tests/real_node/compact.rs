//! Blocks of wallet transactions between two nodes that are connected only through a relay, in compact form.

use crate::node::Node;
use crate::observer::config;
use crate::running::{RunningRelay, WHITELISTING, exchange_all, say};
use crate::two_nodes::TwoNodes;
use peerloop::relay::{CompactBlocks, Relay, RelayConfig, RelayCounts};
use serde_json::json;
use std::time::Instant;

/// Mines four blocks, by each node in turn, each with the transactions of both wallets. Returns the relay's counts.
fn mine_through(setting: CompactBlocks) -> Option<RelayCounts> {
    let mut nodes = TwoNodes::start_with(&WHITELISTING)?;
    let addresses = nodes.nodes().map(Node::address).to_vec();
    let settings = RelayConfig::new(addresses).with_compact_blocks(setting);
    let links = 2 * settings.upstream_links;
    let (relay, _) = RunningRelay::with(config(), Relay::new(settings), links);
    for miner in [0, 1, 0, 1] {
        exchange_all(&mut nodes, 10, &format!("compact blocks {setting}"));
        let begin = Instant::now();
        nodes.wallets[miner].call("generate", &[json!(1)]);
        let mined = begin.elapsed();
        nodes.wait_until_equal();
        say(&format!("compact blocks {setting}: mined in {mined:?}, on both nodes after {:?}", begin.elapsed()));
    }
    let counts = relay.stats().counts;
    say(&format!("compact blocks {setting}: {counts:?}"));
    assert_eq!((counts.blocks_wrong, counts.compact_blocks_wrong, counts.headers_refused), (0, 0, 0));
    Some(counts)
}

#[test]
fn compact_blocks_of_wallet_transactions_reach_the_other_node_without_a_fetch() {
    let Some(counts) = mine_through(CompactBlocks::All) else { return };
    assert!(
        counts.compact_blocks_received >= 3,
        "the nodes announce {} compact blocks",
        counts.compact_blocks_received
    );
    assert!(counts.compact_blocks_sent >= 3, "the nodes received {} compact blocks", counts.compact_blocks_sent);
    assert!(counts.compact_blocks_rebuilt >= 3, "{} blocks were rebuilt", counts.compact_blocks_rebuilt);
}

#[test]
fn without_compact_blocks_the_nodes_request_whole_blocks() {
    let Some(counts) = mine_through(CompactBlocks::Off) else { return };
    assert_eq!((counts.compact_blocks_received, counts.compact_blocks_sent), (0, 0));
    assert_eq!(counts.blocks_relayed, 4);
}
