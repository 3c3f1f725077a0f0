//! The time that a block needs from one node to another: directly, and through a relay that sends whole blocks or
//! compact ones. All ways are measured in one run, in rounds, so that other work of the machine affects all alike.
//!
//! A sample ends with the first reply to `getbestblockhash` that names the block. The polls begin before the block is
//! mined, because it can arrive before `generate` returns; a time after the return is then negative. Each sample's
//! `gap`, the time between the request of the last poll before and that reply, is the resolution, and is printed.
//!
//! The transactions of a large block have reached both nodes before it is mined, over the way that is measured. Those
//! of an unseen block were sent while the nodes were parted, so that only the miner has them.
//!
//! SV Node 1.2.2 never asks another node to push compact blocks. It requests them after a header, which the miner sends
//! after its own validation, and up to 100 ms later. A relay asks, so it has a block before the miner has validated it.

use crate::observer::config;
use crate::running::{RunningRelay, WHITELISTING, is_long, say};
use crate::two_nodes::{TwoNodes, Wallet, until};
use peerloop::relay::{CompactBlocks, Relay, RelayConfig};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// A large block has this number of transactions of the miner's wallet, each with an output of so many data bytes.
const LARGE_COUNT: usize = 60;
const DATA_BYTES: u32 = 90_000;
/// The minimum length of a large block, in bytes.
const LARGE_BYTES: u64 = 5_000_000;
/// The number of replaced blocks.
const REPLACED: u64 = 3;
/// The pause between two polls. A poll lasts about as long.
const POLL: Duration = Duration::from_micros(200);
/// A deadline far beyond the time of any block. A block that has not arrived by then is lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// The messages that carry blocks.
const CARRIERS: [&str; 3] = ["block", "cmpctblock", "blocktxn"];
const DIRECTIONS: [&str; 2] = ["A to B", "B to A"];

/// A block's class: its samples are printed apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The first block of a direction after the nodes were connected.
    First,
    /// The same, but as large as a large one, with transactions that neither the relay nor the other node has.
    Unseen,
    Small,
    Large,
}

/// The time of one block in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Sample {
    class: Class,
    direction: usize,
    from_start: f64,
    from_return: f64,
    gap: f64,
}

/// A way between the nodes, with a relay unless it is the direct one.
struct Way {
    name: &'static str,
    relay: Option<RunningRelay>,
    samples: Vec<Sample>,
    /// The bytes that both nodes have received in messages of [`CARRIERS`].
    received: [u64; 3],
}

struct Measured {
    nodes: TwoNodes,
    addresses: Vec<SocketAddr>,
}

impl Way {
    /// Starts a relay without upstreams.
    fn relay(name: &'static str, blocks: CompactBlocks) -> Self {
        let settings = RelayConfig::new(Vec::new()).with_compact_blocks(blocks);
        let (relay, _) = RunningRelay::with(config(), Relay::new(settings), 0);
        Self { name, relay: Some(relay), samples: Vec::new(), received: [0; 3] }
    }

    fn print(&self) {
        for (direction, name) in DIRECTIONS.iter().enumerate() {
            for class in [Class::First, Class::Unseen, Class::Small, Class::Large] {
                let of_class = |sample: &&Sample| (sample.direction, sample.class) == (direction, class);
                let ranks_of = |field: fn(&Sample) -> f64| {
                    ranks(self.samples.iter().filter(of_class).map(field).collect::<Vec<_>>())
                };
                let count = self.samples.iter().filter(of_class).count();
                say(&format!(
                    "{}, {name}, {class:?}: {count} blocks, 0 lost; ms from the start {}; from the return {}; gap {}",
                    self.name,
                    ranks_of(|sample| sample.from_start),
                    ranks_of(|sample| sample.from_return),
                    ranks_of(|sample| sample.gap),
                ));
            }
        }
        say(&format!("{}: bytes received in {CARRIERS:?}: {:?}", self.name, self.received));
    }

    /// Checks the relay's counters after `blocks` blocks, and prints them.
    fn check_counts(&self, blocks: u64) {
        let Some(relay) = &self.relay else { return };
        let counts = relay.stats().counts;
        let (whole, compact) = (counts.blocks_served, counts.compact_blocks_sent);
        say(&format!(
            "{}: {blocks} blocks, {whole} sent whole, {} passed, {compact} compact blocks sent",
            self.name, counts.blocks_relayed
        ));
        assert_eq!((counts.blocks_wrong, counts.headers_refused, counts.blocks_refused), (0, 0, 0), "{counts:?}");
        assert_eq!((counts.block_readers_cut, counts.block_fail_overs), (0, 0), "{counts:?}");
        assert_eq!((counts.announcements_lost, counts.rejected), (0, 0), "{counts:?}");
        if self.name == "compact" {
            assert!(compact + whole >= blocks && compact > 0, "{counts:?}");
        } else {
            assert!(whole >= blocks && compact == 0, "{counts:?}");
        }
    }
}

impl Measured {
    fn height(&mut self) -> u64 {
        self.nodes.wallets[0].call("getblockcount", &[]).as_u64().expect("the height is a number")
    }

    /// Connects the nodes on a way, runs `body`, and parts them.
    fn on_way(&mut self, way: &mut Way, body: impl FnOnce(&mut Self, &mut Way)) {
        let height = self.height();
        if let Some(relay) = &way.relay {
            relay.set_upstreams(self.addresses.clone());
            relay.wait_for_links(4);
            self.nodes.wallets.iter_mut().for_each(|wallet| wallet.wait_for_peers(2));
            until("the headers", || relay.stats().tip_height.map(u64::from) == Some(height));
        } else {
            self.nodes.connect_directly();
        }
        body(self, way);
        for wallet in &mut self.nodes.wallets {
            for peer in wallet.call("getpeerinfo", &[]).as_array().expect("the reply is a list") {
                for (received, command) in way.received.iter_mut().zip(CARRIERS) {
                    *received += peer["bytesrecv_per_msg"][command].as_u64().unwrap_or(0);
                }
            }
        }
        if let Some(relay) = &way.relay {
            relay.set_upstreams(Vec::new());
            relay.wait_for_links(0);
        }
        self.nodes.part();
    }

    /// Lets both nodes mine `small` blocks in turn, and then one large block each if `is_large`. Then their first
    /// blocks are unseen ones.
    fn round(&mut self, way: &mut Way, small: usize, is_large: bool) {
        for number in 0..small + usize::from(is_large) {
            let class = match number {
                0 if is_large => Class::Unseen,
                0 => Class::First,
                _ if number < small => Class::Small,
                _ => Class::Large,
            };
            for direction in 0..2 {
                if class == Class::Large {
                    self.send_large(direction);
                }
                // Varied pauses keep the blocks out of step with the nodes' own timers.
                thread::sleep(Duration::from_millis((number * 2 + direction) as u64 * 37 % 23));
                way.samples.push(self.pass_block(way, class, direction));
            }
        }
    }

    /// Sends the transactions of an unseen block from each wallet. The nodes are parted.
    fn send_unseen(&mut self) {
        for wallet in &mut self.nodes.wallets {
            wallet.send_data(LARGE_COUNT, DATA_BYTES);
        }
    }

    /// Sends the transactions of a large block from a wallet, and waits until both nodes have them.
    fn send_large(&mut self, from: usize) {
        self.nodes.wallets[from].send_data(LARGE_COUNT, DATA_BYTES);
        for wallet in &mut self.nodes.wallets {
            until("the large transactions", || wallet.call("getmempoolinfo", &[])["size"] == json!(LARGE_COUNT));
        }
    }

    /// Mines one block, and waits until it is the other node's best one.
    fn pass_block(&mut self, way: &Way, class: Class, direction: usize) -> Sample {
        let [one, other] = &mut self.nodes.wallets;
        let (miner, receiver) = if direction == 0 { (one, other) } else { (other, one) };
        let before = receiver.call("getbestblockhash", &[]);
        let (began, returned, mined, arrived) = thread::scope(|scope| {
            let watching = scope.spawn(|| next_tip(receiver, &before));
            let began = Instant::now();
            let mined = miner.call("generate", &[json!(1)])[0].take();
            (began, Instant::now(), mined, watching.join().expect("the watch does not panic"))
        });
        let Some((tip, seen, gap)) = arrived else {
            let stats = way.relay.as_ref().map(RunningRelay::stats);
            panic!("{}, {}: {class:?} block {mined} is lost: {stats:?}", way.name, DIRECTIONS[direction]);
        };
        assert_eq!(tip, mined);
        if matches!(class, Class::Large | Class::Unseen) {
            let size = miner.call("getblock", &[mined])["size"].as_u64();
            assert!(size >= Some(LARGE_BYTES), "a large block has {size:?} bytes");
        }
        let millis = |span: Duration| span.as_secs_f64() * 1e3;
        let from_start = millis(seen.saturating_duration_since(began));
        let from_return = from_start - millis(returned - began);
        Sample { class, direction, from_start, from_return, gap: millis(gap) }
    }

    /// Replaces the last blocks, and waits until the other node follows.
    fn reorganise(&mut self, way: &Way) {
        let height = self.height();
        let miner = &mut self.nodes.wallets[0];
        let replaced = miner.call("getblockhash", &[json!(height + 1 - REPLACED)]);
        miner.call("invalidateblock", &[replaced]);
        let began = Instant::now();
        miner.call("generate", &[json!(REPLACED + 1)]);
        self.nodes.wait_until_equal();
        say(&format!("{}: a reorganisation of {REPLACED} blocks followed after {:?}", way.name, began.elapsed()));
        assert_eq!(self.nodes.wallets[1].call("getblockcount", &[]), json!(height + 1));
    }
}

/// Polls until the best block is another one. Returns it with the moment of the reply and its gap.
fn next_tip(wallet: &mut Wallet, before: &Value) -> Option<(Value, Instant, Duration)> {
    let began = Instant::now();
    let mut last_asked = began;
    while began.elapsed() < PATIENCE {
        let asked = Instant::now();
        let tip = wallet.call("getbestblockhash", &[]);
        let replied = Instant::now();
        if tip != *before {
            return Some((tip, replied, replied - last_asked));
        }
        last_asked = asked;
        thread::sleep(POLL);
    }
    None
}

/// Returns percentiles in one line.
fn ranks(mut values: Vec<f64>) -> String {
    values.sort_unstable_by(f64::total_cmp);
    let rank = |percent: usize| match values.get((values.len() * percent).div_ceil(100).saturating_sub(1)) {
        Some(value) => format!("{value:.1}"),
        None => "no data".to_owned(),
    };
    format!("p50 {} p90 {} p99 {} max {}", rank(50), rank(90), rank(99), rank(100))
}

#[test]
fn no_block_is_lost_on_any_way_and_a_reorganisation_follows() {
    let (rounds, small, large_every) = if is_long() { (10, 20, 2) } else { (1, 6, 1) };
    let Some(nodes) = TwoNodes::start_with(&WHITELISTING) else { return };
    let addresses = nodes.nodes().map(|node| node.address()).to_vec();
    let mut measured = Measured { nodes, addresses };
    let mut ways = [
        Way { name: "direct", relay: None, samples: Vec::new(), received: [0; 3] },
        Way::relay("stream", CompactBlocks::Off),
        Way::relay("compact", CompactBlocks::All),
    ];
    for round in 0..rounds {
        // Each way is the first in some rounds.
        for turn in round..round + ways.len() {
            let (way, is_large) = (&mut ways[turn % 3], round % large_every == 0);
            if is_large {
                measured.send_unseen();
            }
            measured.on_way(way, |measured, way| measured.round(way, small, is_large));
        }
    }
    for way in &mut ways {
        measured.on_way(way, |measured, way| measured.reorganise(way));
        way.print();
        way.check_counts(way.samples.len() as u64 + REPLACED + 1);
    }
}
