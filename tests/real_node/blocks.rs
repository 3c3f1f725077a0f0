//! Blocks between two nodes that are connected only through a relay.

use crate::node::Node;
use crate::observer::config;
use crate::running::{RunningRelay, WHITELISTING, say};
use crate::two_nodes::until;
use peerloop::relay::{AnchorSource, Relay, RelayConfig};
use std::time::Instant;

/// Two nodes, both upstreams of a relay.
pub(crate) struct Joined {
    pub(crate) nodes: [Node; 2],
    relay: RunningRelay,
}

impl Joined {
    pub(crate) fn start() -> Option<Self> {
        let nodes = [Node::start_with(&WHITELISTING)?, Node::start_with(&WHITELISTING)?];
        let settings = RelayConfig::new(nodes.iter().map(Node::address).collect());
        let links = 2 * settings.upstream_links;
        let (relay, _) = RunningRelay::with(config(), Relay::new(settings), links);
        Some(Self { nodes, relay })
    }

    /// Waits until both nodes have the same tip.
    pub(crate) fn wait_for_one_tip(&self) {
        let [one, other] = &self.nodes;
        until("the same tip", || one.cli(&["getbestblockhash"]) == other.cli(&["getbestblockhash"]));
    }
}

#[test]
fn blocks_pass_between_two_nodes_and_a_reorganisation_follows() {
    let Some(joined) = Joined::start() else { return };
    for (miner, count) in [(0, 1), (0, 200), (1, 200), (0, 1), (1, 1)] {
        let begin = Instant::now();
        joined.nodes[miner].cli(&["generate", &count.to_string()]);
        let mined = begin.elapsed();
        joined.wait_for_one_tip();
        say(&format!("{count} blocks mined in {mined:?}, on both nodes after {:?}", begin.elapsed()));
    }
    // The last three blocks are replaced by four others.
    let miner = &joined.nodes[0];
    let height: u32 = miner.cli(&["getblockcount"]).parse().expect("the height is a number");
    let replaced = miner.cli(&["getblockhash", &(height - 2).to_string()]);
    miner.cli(&["invalidateblock", &replaced]);
    miner.cli(&["generate", "4"]);
    joined.wait_for_one_tip();
    let other = &joined.nodes[1];
    assert_eq!(other.cli(&["getblockcount"]), (height + 1).to_string());
    let counts = joined.relay.stats().counts;
    say(&format!("blocks: {counts:?}"));
    assert_eq!((counts.blocks_wrong, counts.headers_refused), (0, 0));
}

#[test]
fn an_anchor_is_learned_from_a_real_node_and_blocks_pass_above_it() {
    let Some(Joined { nodes, relay }) = Joined::start() else { return };
    nodes[0].cli(&["generate", "60"]);
    let joined = Joined { nodes, relay };
    joined.wait_for_one_tip();
    let Joined { nodes, relay } = joined;
    drop(relay);
    let settings = RelayConfig::new(nodes.iter().map(Node::address).collect()).with_anchor(AnchorSource::Upstream);
    let links = 2 * settings.upstream_links;
    let (relay, _) = RunningRelay::with(config(), Relay::new(settings), links);
    let joined = Joined { nodes, relay };
    for (miner, count) in [(0, "1"), (1, "1"), (0, "20")] {
        joined.nodes[miner].cli(&["generate", count]);
        joined.wait_for_one_tip();
    }
    let stats = joined.relay.stats();
    assert_eq!(stats.tip_height.map(|height| height.to_string()), Some(joined.nodes[1].cli(&["getblockcount"])));
    assert_eq!((stats.counts.blocks_wrong, stats.counts.headers_refused), (0, 0));
    let passed = stats.counts.blocks_served + stats.counts.compact_blocks_sent;
    assert!(passed >= 22, "the blocks did not pass through the relay: {:?}", stats.counts);
}
