//! The cost of reading announcements of known transactions, the most frequent work of a relay with many peers.
//!
//! `cargo bench --bench relay` lets simulated peers announce the same transactions to a relay that has already relayed
//! them, 300 in each message, as SV Nodes do with the transactions of 150 ms at 2,000 per second. It prints the best
//! time per item over several rounds, with and without the time for receiving and checking the messages. The virtual
//! kernel's work is included.

use peerloop::relay::{Relay, RelayConfig, TrustMode};
use peerloop::sim::{Actor, Driver, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::Hash256;
use peerloop::{Config, Network, Reactor};
use peerloop_testkit::bytes::{frame, ready_bytes};
use peerloop_testkit::simulated::RawPeer;
use std::net::SocketAddr;
use std::time::Duration;

const PEERS: usize = 50;
const ITEMS: usize = 300;
/// The transactions that were relayed before, so that the tables do not fit into the processor's caches.
const EARLIER: u32 = 60_000;
const ROUNDS: usize = 20;

struct Scene {
    world: World,
    relay: Reactor<SimNet, Relay>,
    peers: Vec<RawPeer>,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(1, Instant::ZERO);
        // The source's rate is not limited.
        let config = RelayConfig::new(Vec::new()).with_trust(TrustMode::Open).with_leaf_tx_per_second(u32::MAX);
        let relay = Relay::new(config);
        let config = Config::new(Network::Regtest).with_seed(Some(1));
        let mut relay = Reactor::with_net(config, world.host(), relay).expect("the settings are valid");
        let address = SocketAddr::new(relay.net().ip(), 18_444);
        relay.listen(address).expect("the address is free");
        let mut scene = Self { world, relay, peers: Vec::new() };
        for _ in 0..=PEERS {
            let mut peer = RawPeer::dialling(&scene.world, address);
            scene.settle();
            peer.send(&ready_bytes());
            scene.settle();
            scene.peers.push(peer);
        }
        scene
    }

    fn settle(&mut self) {
        let until = self.world.now().plus(Duration::ZERO);
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.relay];
        Driver::new(&self.world).run_until(until, actors).expect("the poller works");
    }

    /// Lets each peer send a message, and returns the real time until the relay has read all of them.
    #[expect(clippy::disallowed_methods, reason = "the duration is the result")]
    fn time(&mut self, message: &[u8]) -> Duration {
        self.peers.iter_mut().skip(1).for_each(|peer| peer.send(message));
        let began = std::time::Instant::now();
        self.settle();
        let took = began.elapsed();
        self.peers.iter_mut().for_each(|peer| drop(peer.receive()));
        took
    }
}

/// Returns a transaction with this number.
fn transaction(number: u32) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 1];
    bytes.extend_from_slice(&[7; 28]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, 1, 0x51, 0xff, 0xff, 0xff, 0xff]);
    bytes.extend_from_slice(&[1, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0x51, 0, 0, 0, 0]);
    bytes
}

fn main() {
    let mut scene = Scene::new();
    for first in (0..EARLIER).step_by(ITEMS) {
        let bodies: Vec<u8> = (first..first + ITEMS as u32).flat_map(|at| frame("tx", &transaction(at))).collect();
        scene.peers[0].send(&bodies);
        scene.settle();
        scene.peers.iter_mut().for_each(|peer| drop(peer.receive()));
    }
    let (mut best, mut best_opaque) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS as u32 {
        let mut payload = [&[0xfd][..], &(ITEMS as u16).to_le_bytes()].concat();
        for number in 0..ITEMS as u32 {
            payload.extend_from_slice(&[1, 0, 0, 0]);
            let known = transaction(number + round * ITEMS as u32);
            payload.extend_from_slice(Hash256::of(&known).as_bytes());
        }
        best = best.min(scene.time(&frame("inv", &payload)));
        // The relay discards this message after its checksum.
        best_opaque = best_opaque.min(scene.time(&frame("opaque", &payload)));
    }
    assert_eq!(scene.relay.handler().stats().counts.accepted, u64::from(EARLIER));
    let each = |time: Duration| time.as_nanos() / (PEERS * ITEMS) as u128;
    println!("{} ns per known item, {} ns of it for the message", each(best), each(best_opaque));
}
