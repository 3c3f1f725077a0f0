//! The ways of a transaction from one node to another: directly, through a third node, a pipe, or a relay in each trust
//! mode. A plain run exchanges a few transactions through relays; a long one measures every way in one run.
//!
//! Nodes that are the only peers of a relay need no options: in each mode, all transactions pass and nobody is charged.
//! A node that whitelists the relay (`-whitelist=IP_OF_THE_RELAY`) announces to it without its pause of 150 ms, which
//! saves about 60 ms in the median. A pipe has one stream to each node, because it presents itself as the other node.

use crate::observer::config;
use crate::running::{RunningPipe, RunningRelay, WHITELISTING, exchange_all, is_long, say};
use crate::two_nodes::{TwoNodes, Wallet, start_middle};
use peerloop::config::Multistreams;
use peerloop::relay::{Relay, RelayConfig, TrustMode};
use serde_json::json;

/// The number of transactions that each node sends to the other in a long run.
const LONG_COUNT: usize = 200;

/// One way between two nodes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Direct,
    Middle,
    Pipe,
    /// A relay with both nodes as upstreams.
    Relay(TrustMode, Multistreams),
}

const MODES: [TrustMode; 3] = [TrustMode::Validated, TrustMode::Trusted, TrustMode::Open];

/// The two nodes, and for a long run a third one.
struct Measured {
    nodes: TwoNodes,
    middle: Option<Wallet>,
    options: &'static [&'static str],
    /// The nodes in words, which begin each printed line.
    label: &'static str,
}

impl Measured {
    /// Exchanges transactions one way, and then confirms them, so that their change can be spent.
    fn exchange(&mut self, way: Way, count: usize) {
        let label = self.label;
        match way {
            Way::Direct => {
                self.nodes.connect_directly();
                exchange_all(&mut self.nodes, count, &format!("{label}: direct"));
            }
            Way::Middle => self.exchange_through_middle(count),
            Way::Pipe => {
                let pipe = RunningPipe::between(self.nodes.nodes());
                exchange_all(&mut self.nodes, count, &format!("{label}: pipe"));
                pipe.say_hops(label);
            }
            Way::Relay(trust, streams) => self.exchange_through_relay(trust, streams, count),
        }
        self.nodes.part();
        self.nodes.connect_directly();
        self.nodes.mine();
        self.nodes.part();
    }

    fn exchange_through_middle(&mut self, count: usize) {
        let Self { nodes, middle, options, label } = self;
        let middle = middle.get_or_insert_with(|| start_middle(nodes, options));
        // The middle needs the coins that the earlier ways have confirmed.
        middle.copy_chain(&mut nodes.wallets[0]);
        nodes.wallets.iter_mut().for_each(|wallet| wallet.dial(&middle.node));
        middle.wait_for_peers(2);
        exchange_all(nodes, count, &format!("{label}: node in the middle"));
        middle.part();
    }

    fn exchange_through_relay(&mut self, trust: TrustMode, streams: Multistreams, count: usize) {
        let Self { nodes, label, .. } = self;
        let addresses = nodes.nodes().map(|node| node.address());
        let settings = RelayConfig::new(addresses.to_vec()).with_trust(trust);
        let links = settings.upstream_links;
        let config = config().with_multistreams(streams);
        let (relay, _) = RunningRelay::with(config, Relay::new(settings), 2 * links);
        let streams_each = if streams == Multistreams::Open { 2 } else { 1 };
        for wallet in &mut nodes.wallets {
            wallet.wait_for_peers(links);
            wallet.wait_for_streams(streams_each);
        }
        let title = format!("{label}: relay, {trust}, streams {streams_each}");
        exchange_all(nodes, count, &title);
        relay.say_hops(&title);

        let stats = relay.stats();
        let transactions = 2 * count as u64;
        assert_eq!((stats.counts.accepted, stats.hops.hop_first.count), (transactions, transactions), "{stats:?}");
        assert_eq!((stats.counts.announcements_lost, stats.counts.not_found, stats.counts.rejected), (0, 0, 0));
        assert_eq!((stats.counts.submitted, stats.leaf_peers, stats.upstream_links), (0, 0, 2 * links), "{stats:?}");
        for wallet in &mut nodes.wallets {
            let peers = wallet.call("getpeerinfo", &[]);
            let peers = peers.as_array().expect("the reply is a list");
            assert!(peers.iter().all(|peer| peer["banscore"] == json!(0)), "{peers:?}");
        }
    }
}

/// Exchanges transactions between two nodes with these options on every way, or in a plain run only through relays.
fn exchange_on_all_ways(label: &'static str, options: &'static [&'static str], plain_count: usize) {
    let Some(nodes) = TwoNodes::start_with(options) else { return };
    let mut measured = Measured { nodes, middle: None, options, label };
    let one_stream = MODES.map(|trust| Way::Relay(trust, Multistreams::Off));
    let two_streams = MODES.map(|trust| Way::Relay(trust, Multistreams::Open));
    if is_long() {
        let ways = [Way::Direct, Way::Middle, Way::Pipe].into_iter().chain(one_stream).chain(two_streams);
        ways.for_each(|way| measured.exchange(way, LONG_COUNT));
    } else {
        one_stream.into_iter().for_each(|way| measured.exchange(way, plain_count));
        measured.exchange(two_streams[0], 2);
    }
}

#[test]
fn every_transaction_reaches_the_other_node_through_a_relay_in_each_trust_mode() {
    exchange_on_all_ways("whitelisting", &WHITELISTING, 20);
}

#[test]
fn nodes_need_not_whitelist_a_relay_that_has_only_upstreams() {
    exchange_on_all_ways("default", &[], 2);
}

/// The relay races the connection between the nodes. It must lose nothing, and announce to no node what that node has
/// announced before.
#[test]
fn nodes_that_are_also_connected_to_each_other_receive_every_transaction_once() {
    let Some(mut nodes) = TwoNodes::start_with(&WHITELISTING) else { return };
    let settings = RelayConfig::new(nodes.nodes().map(|node| node.address()).to_vec());
    let (relay, _) = RunningRelay::with(config(), Relay::new(settings), 4);
    let [one, two] = &mut nodes.wallets;
    one.dial(&two.node);
    nodes.wallets.iter_mut().for_each(|wallet| wallet.wait_for_peers(3));
    exchange_all(&mut nodes, 10, "whitelisting: relay beside a direct connection");
    let counts = relay.stats().counts;
    assert_eq!((counts.accepted, counts.announcements_lost, counts.rejected), (20, 0, 0), "{counts:?}");
    assert!(counts.inv_items_sent <= 20 && counts.served <= counts.inv_items_sent, "{counts:?}");
    say(&format!("relay beside a direct connection: {} announced, {} served", counts.inv_items_sent, counts.served));
}
