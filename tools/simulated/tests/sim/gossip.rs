//! Gossip: loops find each other by the addresses that they exchange, and a hostile peer's addresses do only limited
//! harm.

use peerloop::api::{CommandFilter, Delivery};
use peerloop::config::{DialMode, ManagerConfig};
use peerloop::error::{CloseReason, Misbehavior};
use peerloop::peer::ConnectionState;
use peerloop::protocol::CommandName;
use peerloop::sim::{Actor, Driver, World};
use peerloop::time::Instant;
use peerloop::{Config, ControlEvent, Network};
use peerloop::{Received, Subscription};
use peerloop_testkit::bytes::{commands, frame, frames, ready_bytes};
use peerloop_testkit::simulated::{Node, Player, RawPeer, config, secs};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const SEED: &str = "seed.example";
/// The services that an SV node offers.
const SERVICES: u64 = 0x21;

/// Configures a loop that finds peers by itself, beginning with the addresses of `SEED`.
fn managed(seed: u64) -> Config {
    let manager = ManagerConfig::new(Network::Regtest).with_dns_seeds(vec![SEED.to_owned()]);
    config().with_seed(Some(seed)).with_ping_interval(Duration::ZERO).with_manager(manager)
}

/// Configures a loop with a peer manager and no DNS seed, so that it dials only learned addresses.
fn waiting(seed: u64) -> Config {
    let manager = ManagerConfig::new(Network::Regtest);
    config().with_seed(Some(seed)).with_ping_interval(Duration::ZERO).with_manager(manager)
}

fn run(world: &World, time: Duration, actors: &mut [&mut dyn Actor]) {
    Driver::new(world).run_until(world.now().plus(time), actors).unwrap();
}

/// Builds an `addr` message by hand.
fn addr(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count = 0_u16;
    for address in addresses {
        count += 1;
        entries.extend_from_slice(&1_500_000_000_u32.to_le_bytes());
        entries.extend_from_slice(&SERVICES.to_le_bytes());
        let IpAddr::V4(ip) = address.ip() else { panic!("the addresses are IPv4") };
        entries.extend_from_slice(&ip.to_ipv6_mapped().octets());
        entries.extend_from_slice(&address.port().to_be_bytes());
    }
    let mut payload = match u8::try_from(count) {
        Ok(small) if small < 0xfd => vec![small],
        Ok(_) | Err(_) => [&[0xfd], &count.to_le_bytes()[..]].concat(),
    };
    payload.extend_from_slice(&entries);
    frame("addr", &payload)
}

/// Returns the address with this number, at which nobody listens. Consecutive numbers give addresses in different
/// ranges.
fn stranger(number: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from_bits(0x1400_0000 + (number.wrapping_mul(0x9e37_79b1) & 0x07ff_ffff)).into(), 8_333)
}

/// A managed loop and a ready raw peer. The loop dialled the peer because its DNS seed or its fixed list contains the
/// peer's address.
struct Dialled {
    world: World,
    node: Node,
    peer: RawPeer,
    /// The bytes that the loop sent in the first second after it received the peer's `version` and `verack`.
    greeting: Vec<u8>,
}

impl Dialled {
    fn new(player: Player) -> Self {
        Self::with(managed(1), player)
    }

    fn with(config: Config, player: Player) -> Self {
        let world = World::new(1, Instant::ZERO);
        let mut peer = RawPeer::new(&world);
        let address = peer.listen();
        world.set_name(SEED, vec![address.ip()]);
        let mut config = config;
        if let Some(DialMode::Fixed(peers)) = config.manager.as_mut().map(|manager| &mut manager.mode) {
            *peers = vec![address];
        }
        let mut node = Node::new(&world, config, player);
        run(&world, secs(1), &mut [&mut node.reactor]);
        peer.accept();
        assert_eq!(commands(&peer.receive()), ["version"]);
        peer.send(&ready_bytes());
        run(&world, secs(1), &mut [&mut node.reactor]);
        let greeting = peer.receive();
        Self { world, node, peer, greeting }
    }

    fn run_for(&mut self, time: Duration) {
        run(&self.world, time, &mut [&mut self.node.reactor]);
    }

    fn learned(&self) -> u64 {
        self.node.reactor.stats().counters.addresses_learned
    }
}

fn discarding() -> Player {
    Player { on_header: Some(|_, _| Delivery::Discard), ..Player::default() }
}

#[test]
fn two_loops_that_know_only_a_third_loop_find_each_other() {
    // Loops share only the addresses of nodes whose services include the blockchain.
    let serving = |config: Config| config.with_services(SERVICES);
    let world = World::new(1, Instant::ZERO);
    let mut known = Node::new(&world, serving(waiting(1)), Player::default());
    world.set_name(SEED, vec![known.address.ip()]);
    let mut first = Node::new(&world, serving(managed(2)), Player::default());
    run(&world, secs(5), &mut [&mut known.reactor, &mut first.reactor]);
    assert_eq!((known.reactor.stats().ready, first.reactor.stats().ready), (1, 1));
    let mut second = Node::new(&world, serving(managed(3)), Player::default());
    run(&world, secs(60), &mut [&mut known.reactor, &mut first.reactor, &mut second.reactor]);
    for node in [&known, &first, &second] {
        assert_eq!(node.reactor.stats().ready, 2, "a loop is not connected to exactly two loops");
    }
    let counters = second.reactor.stats().counters;
    assert_eq!(counters.addresses_learned, 1, "the second loop did not learn exactly one address");
    assert_eq!(known.reactor.stats().counters.addresses_told, 1);
}

#[test]
fn a_dialled_peer_is_asked_for_addresses_once_and_the_received_addresses_are_dialled() {
    let mut stage = Dialled::new(Player::default());
    assert_eq!(commands(&stage.greeting), ["verack", "protoconf", "sendheaders", "getaddr"]);
    let mut named = RawPeer::new(&stage.world);
    let address = named.listen();
    stage.peer.send(&addr([address]));
    stage.run_for(secs(2));
    named.accept();
    assert_eq!(commands(&named.receive()), ["version"]);
    stage.peer.send(&addr([address]));
    stage.run_for(secs(100));
    assert_eq!(commands(&stage.peer.receive()), [] as [&str; 0], "the peer received another message");
    let messages = stage.node.seen().messages;
    assert_eq!(messages.len(), 2, "the handler did not receive exactly two messages");
    assert!(messages.iter().all(|(_, command, len)| (command.as_str(), *len) == ("addr", 31)));
}

#[test]
fn gossip_is_read_even_if_the_handler_discards_it() {
    let mut stage = Dialled::new(discarding());
    let wanted = CommandFilter::Only(vec![CommandName::ADDR]);
    let subscription = stage.node.reactor.handle().subscribe_messages(wanted, 16).unwrap();
    stage.peer.send(&addr([stranger(1)]));
    stage.run_for(secs(1));
    assert_eq!(stage.learned(), 1);
    let Ok(Some(Received::Item(message))) = subscription.try_recv() else { panic!("no message") };
    assert_eq!(message.header.command, CommandName::ADDR);
    drop(subscription);
    stage.run_for(secs(1));
    stage.peer.send(&addr([stranger(2)]));
    stage.peer.send(&frame("tx", &[0; 10]));
    stage.run_for(secs(1));
    assert_eq!(stage.learned(), 2);
    assert_eq!(stage.node.seen().messages, [], "the handler received a message that it discards");
    assert_eq!(
        stage.node.reactor.stats().counters.discarded,
        1,
        "the transaction was not discarded, or another message was"
    );
}

#[test]
fn a_loop_without_a_manager_and_one_with_a_fixed_list_do_not_gossip() {
    let list = DialMode::Fixed(vec![([10, 0, 0, 9], 1).into()]);
    let fixed = ManagerConfig::new(Network::Regtest).with_mode(list);
    let mut stage = Dialled::with(managed(1).with_manager(fixed), discarding());
    assert_eq!(commands(&stage.greeting), ["verack", "protoconf", "sendheaders"]);
    stage.peer.send(&addr([stranger(1)]));
    stage.peer.send(&addr((0..1_001).map(stranger)));
    stage.run_for(secs(1));
    assert_eq!((stage.learned(), stage.node.reactor.stats().counters.discarded), (0, 2));

    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config(), Player::default());
    let mut peer = RawPeer::dialling(&world, node.address);
    peer.send(&[ready_bytes(), addr([stranger(1)]), frame("getaddr", &[]), addr((0..1_001).map(stranger))].concat());
    run(&world, secs(1), &mut [&mut node.reactor]);
    assert_eq!(commands(&peer.receive()), ["version", "verack", "protoconf", "sendheaders"]);
    assert_eq!(node.seen().messages.len(), 3);
    assert_eq!(node.seen().closed, []);
}

#[test]
fn threat_p12_a_flood_adds_at_most_a_thousand_addresses_and_one_more_every_ten_seconds() {
    let mut stage = Dialled::new(discarding());
    for message in 0..100 {
        stage.peer.send(&addr((0..1_000).map(|number| stranger(message * 1_000 + number))));
        stage.run_for(secs(10));
    }
    let learned = stage.learned();
    assert!((300..=1_100).contains(&learned), "{learned} of 100,000 addresses were learned");
    let closed = stage.node.seen().closed;
    assert!(
        closed.iter().all(|closed| closed.state == ConnectionState::Connecting),
        "a connected peer was closed; only a dial of a learned address may fail"
    );
}

#[test]
fn threat_p12_a_flood_from_an_inbound_peer_adds_nothing() {
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, waiting(1), Player::default());
    let mut peer = RawPeer::dialling(&world, node.address);
    peer.send(&ready_bytes());
    run(&world, secs(1), &mut [&mut node.reactor]);
    for message in 0..20 {
        peer.send(&addr((0..1_000).map(|number| stranger(message * 1_000 + number))));
        run(&world, secs(10), &mut [&mut node.reactor]);
    }
    assert_eq!(node.reactor.stats().counters.addresses_learned, 0);
    assert_eq!(node.reactor.stats().counters.dialled, 0);
    assert_eq!(node.seen().closed, []);
}

/// Returns the points charged since the last call.
fn points(events: &Subscription<ControlEvent>) -> Vec<u32> {
    let mut charged = Vec::new();
    while let Ok(Some(event)) = events.try_recv() {
        if let Received::Item(ControlEvent::PeerMisbehaved { points, .. }) = event {
            charged.push(points);
        }
    }
    charged
}

#[test]
fn threat_p12_a_message_with_more_than_a_thousand_addresses_is_charged_only_if_its_checksum_is_correct() {
    for player in [Player::default(), discarding()] {
        let mut stage = Dialled::new(player);
        let events = stage.node.reactor.handle().subscribe_control_events(1_000).unwrap();
        let mut wrong = addr((0..1_001).map(stranger));
        wrong[20] ^= 1;
        stage.peer.send(&wrong);
        stage.run_for(secs(1));
        assert_eq!((points(&events), stage.node.reactor.stats().counters.bad_checksums), (vec![], 1));

        let payload = [&addr((0..1_000).map(stranger))[24..], &[7; 100]].concat();
        stage.peer.send(&frame("addr", &payload));
        stage.run_for(secs(1));
        assert_eq!(points(&events), []);
        assert!(stage.learned() > 300, "too few addresses were learned from a message with surplus bytes");
        let learned = stage.learned();

        stage.peer.send(&addr((0..1_001).map(stranger)));
        stage.peer.send(&addr((0..5_000).map(stranger)));
        stage.run_for(secs(1));
        assert_eq!((points(&events), stage.learned()), (vec![20, 20], learned));
    }
}

#[test]
fn threat_p12_messages_with_too_many_addresses_are_ignored_and_their_sender_is_eventually_banned() {
    for player in [Player::default(), discarding()] {
        let mut stage = Dialled::new(player);
        for _ in 0..4 {
            stage.peer.send(&addr((0..1_001).map(stranger)));
            stage.run_for(secs(1));
        }
        assert_eq!(stage.node.seen().closed, [], "a peer was closed at 80 points");
        stage.peer.send(&addr((0..1_001).map(stranger)));
        stage.run_for(secs(1));
        assert_eq!(stage.node.closed().reason, CloseReason::Misbehaved(Misbehavior::TooManyAddresses));
        assert_eq!(stage.learned(), 0);
        let bans = stage.node.reactor.handle().bans().unwrap();
        stage.run_for(secs(1));
        assert_eq!(bans.try_take().unwrap().unwrap().unwrap().len(), 1);
    }
}

#[test]
fn threat_p12_unusable_addresses_are_not_dialled() {
    let mut stage = Dialled::new(Player::default());
    let own = stage.node.address;
    let poison = ["0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "10.0.0.77:0"].map(|text| text.parse().unwrap());
    stage.peer.send(&addr(poison.into_iter().chain([own])));
    stage.peer.send(&frame("addr", &[9; 31]));
    stage.run_for(secs(60));
    let counters = stage.node.reactor.stats().counters;
    assert_eq!((counters.addresses_learned, counters.dialled, counters.undecodable), (0, 1, 1));
    assert_eq!(stage.node.seen().closed, []);
}

#[test]
fn threat_p27_addresses_are_sent_once_and_only_to_inbound_peers() {
    let mut stage = Dialled::new(Player::default());
    stage.peer.send(&addr((0..500).map(stranger)));
    stage.peer.send(&frame("getaddr", &[]));
    stage.run_for(secs(1));
    assert_eq!(commands(&stage.peer.receive()), [] as [&str; 0], "a dialled peer received a reply");
    let mut asker = RawPeer::dialling(&stage.world, stage.node.address);
    asker.send(&ready_bytes());
    stage.run_for(secs(1));
    asker.receive();
    (0..1_000).for_each(|_| asker.send(&frame("getaddr", &[])));
    stage.run_for(secs(10));
    let answers = frames(&asker.receive());
    assert_eq!(answers.len(), 1, "a thousand requests did not get exactly one reply");
    let (command, payload) = &answers[0];
    let known = stage.learned() as usize + 1;
    let sent = payload[0] as usize;
    assert_eq!((command.as_str(), payload.len()), ("addr", 1 + 30 * sent));
    assert!((1..=(known * 23).div_ceil(100)).contains(&sent), "{sent} of {known} known addresses were sent");
    assert_eq!(stage.node.reactor.stats().counters.addresses_told, sent as u64);
}
