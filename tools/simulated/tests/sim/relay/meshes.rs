//! Relays that are each other's upstreams, in chains and rings, with random peers: nothing is lost and nothing is
//! announced twice.

use super::*;
use peerloop::rand::rngs::StdRng;
use peerloop::rand::{RngExt, SeedableRng};
use peerloop::relay::RelayAll;
use std::collections::BTreeMap;

type Node = Reactor<SimNet, Relay<RelayAll>>;

fn relay(world: &World, upstreams: Vec<SocketAddr>, seed: u64) -> (Node, SocketAddr) {
    let settings = RelayConfig::new(upstreams).with_trust(TrustMode::Open).with_upstream_links(1);
    let mut node = Reactor::with_net(config().with_seed(Some(seed)), world.host(), Relay::new(settings)).unwrap();
    let address = SocketAddr::new(node.net().ip(), 18_444);
    node.listen(address).unwrap();
    (node, address)
}

fn run(world: &World, nodes: &mut [Node], time: Duration) {
    let until = world.now().plus(time);
    let mut actors: Vec<&mut dyn Actor> = nodes.iter_mut().map(|node| node as &mut dyn Actor).collect();
    assert_eq!(Driver::new(world).run_until(until, &mut actors).unwrap(), RunOutcome::TimeOver);
}

/// A leaf that answers requests for its transactions, and counts the announcements that it receives.
struct Wallet {
    raw: RawPeer,
    own: BTreeMap<Hash256, Vec<u8>>,
    announced: BTreeMap<Hash256, u32>,
}

impl Wallet {
    fn answer(&mut self, world: &World, nodes: &mut [Node]) {
        let received = self.raw.receive_all(|| run(world, nodes, Duration::ZERO));
        let messages = frames(&received);
        for hash in hashes(&messages, "inv") {
            *self.announced.entry(hash).or_default() += 1;
        }
        for hash in hashes(&messages, "getdata") {
            self.raw.send(&tx(&self.own[&hash]));
        }
    }
}

#[test]
fn every_transaction_reaches_every_peer_of_a_ring_exactly_once() {
    let world = World::new(7, Instant::ZERO);
    let mut rng = StdRng::seed_from_u64(7);
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    for number in 0..4 {
        let upstreams = addresses.last().copied().into_iter().collect();
        let (node, address) = relay(&world, upstreams, number);
        nodes.push(node);
        addresses.push(address);
    }
    // The first relay dials the last one, which closes the ring.
    let request = RelayRequest::SetUpstreams { upstreams: vec![addresses[3]] };
    nodes[0].handle().request(request).unwrap();
    run(&world, &mut nodes, Duration::from_secs(2));
    let mut wallets: Vec<Wallet> = Vec::new();
    for address in addresses.iter().flat_map(|address| [address; 3]) {
        let mut raw = RawPeer::dialling(&world, *address);
        run(&world, &mut nodes, Duration::ZERO);
        raw.send(&[version(), verack()].concat());
        let (own, announced) = (BTreeMap::new(), BTreeMap::new());
        wallets.push(Wallet { raw, own, announced });
        run(&world, &mut nodes, Duration::ZERO);
    }
    for number in 0..400 {
        let (new, at) = (transaction(number), rng.random_range(0..wallets.len()));
        wallets[at].own.insert(Hash256::of(&new), new.clone());
        wallets[at].raw.send(&inv(&[&new]));
        if rng.random_range(0..3) == 0 {
            wallets.iter_mut().for_each(|wallet| wallet.answer(&world, &mut nodes));
            run(&world, &mut nodes, Duration::from_millis(rng.random_range(0..30)));
        }
    }
    for _ in 0..10 {
        wallets.iter_mut().for_each(|wallet| wallet.answer(&world, &mut nodes));
        run(&world, &mut nodes, Duration::from_millis(100));
    }
    for wallet in &wallets {
        assert!(wallet.announced.values().all(|&times| times == 1), "a transaction was announced twice");
        assert!(wallet.own.keys().all(|own| !wallet.announced.contains_key(own)));
        assert_eq!(wallet.announced.len() + wallet.own.len(), 400, "a transaction was lost");
    }
    for node in &nodes {
        let stats = node.handler().stats();
        assert_eq!((stats.counts.accepted, stats.counts.announcements_lost, stats.in_flight), (400, 0, 0));
    }
}
