//! Tests of gossip: the accepted addresses, the limits on a flood, and the replies. A random history is compared with
//! a naive model.

use super::*;
use crate::address::NetGroup;
use crate::config::ManagerConfig;
use crate::limits::{
    ADDRESS_TOKEN_INTERVAL, ANSWER_LIFETIME, GOSSIP_BUCKET_SLOTS, MAX_ADDRESS_PAYLOAD_BYTES, MAX_BOOK_PEERS,
};
use crate::manager::ban::BanReason;
use crate::protocol::Network;
use proptest::prelude::*;
use rand::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

const NETWORK: u64 = SERVICE_NETWORK;
const UNIX: UnixTime = UnixTime::from_secs(1_700_000_000);

/// A manager, its clock and its random numbers.
struct Stage {
    manager: Manager,
    rng: StdRng,
    now: Instant,
    peers: u64,
}

impl Stage {
    fn with(network: Network, mode: DialMode) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let config = ManagerConfig { mode, ..ManagerConfig::new(network) };
        Self { manager: Manager::new(&config, network, &mut rng), rng, now: Instant::ZERO, peers: 0 }
    }

    fn new() -> Self {
        Self::with(Network::Mainnet, DialMode::Normal)
    }

    /// Returns a connected peer at `address`.
    fn sender(&mut self, address: [u8; 4]) -> GossipPeer {
        self.peers += 1;
        GossipPeer { id: LinkId::from_u64(self.peers), address: SocketAddr::from((address, 50_000)) }
    }

    /// Returns a peer that the manager has dialled and asked for addresses.
    fn dialled_and_asked(&mut self, address: [u8; 4]) -> GossipPeer {
        let sender = self.sender(address);
        assert!(self.manager.asks(sender.id, self.now));
        sender
    }

    fn receive(&mut self, sender: GossipPeer, addresses: impl IntoIterator<Item = SocketAddr>) -> usize {
        let entries = addresses.into_iter().map(|address| entry(address, NETWORK, UNIX.as_secs() as u32));
        self.receive_entries(sender, entries)
    }

    fn receive_entries(&mut self, sender: GossipPeer, entries: impl IntoIterator<Item = AddressEntry>) -> usize {
        let entries: Vec<AddressEntry> = entries.into_iter().collect();
        let message = Addresses::from_entries(entries);
        self.manager.on_addr(sender, message.as_ref(), Moment { now: self.now, unix: UNIX }, &mut self.rng)
    }

    fn answer(&mut self, asker: GossipPeer) -> Option<Vec<AddressEntry>> {
        let answer = self.manager.build_addr_reply(asker, Moment { now: self.now, unix: UNIX }, &mut self.rng);
        answer.map(|addresses| addresses.as_ref().iter().collect())
    }

    /// Adds a peer to the book directly, not through gossip.
    fn put(&mut self, address: SocketAddr, status: PeerStatus, services: u64) {
        let mut peer = KnownPeer::new(address, UNIX);
        peer.services = services;
        peer.status = status;
        self.manager.persistence.book.admit(peer, &mut self.rng).unwrap();
    }

    fn set_status(&mut self, address: SocketAddr, status: PeerStatus) {
        let mut peer = self.manager.persistence.book.peer(address).unwrap().clone();
        peer.status = status;
        self.manager.persistence.book.replace(peer).unwrap();
    }

    fn knows(&self, address: SocketAddr) -> bool {
        self.manager.persistence.book.peer(address).is_some()
    }
}

fn entry(address: SocketAddr, services: u64, time: u32) -> AddressEntry {
    AddressEntry { time, address: NetAddress::from_socket(services, address) }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Returns a routable address that is different for each number below 2^26.
fn routable(number: u32) -> SocketAddr {
    let bits = 0x1400_0000 + (number.wrapping_mul(0x9e37_79b1) & 0x03ff_ffff);
    SocketAddr::new(Ipv4Addr::from_bits(bits).into(), 8_333)
}

/// Returns two addresses that have the same slot for `source`.
fn rivals(stage: &Stage, source: IpAddr) -> (SocketAddr, SocketAddr) {
    let slot_of = |address| stage.manager.gossip.slots.slot_of(source, address);
    let first = routable(0);
    let second = (1..).map(routable).find(|&other| slot_of(other) == slot_of(first)).unwrap();
    (first, second)
}

#[test]
fn threat_p12_a_million_addresses_sent_by_the_peers_of_one_range_fill_at_most_a_64th_of_the_book() {
    let mut stage = Stage::new();
    for message in 0..1_000 {
        // Each message is from a different peer in the range, and all these peers were dialled.
        let sender = stage.dialled_and_asked([8, 8, (message % 256) as u8, (message / 256) as u8]);
        stage.receive(sender, (0..1_000).map(|number| routable(message * 1_000 + number)));
        stage.manager.gossip.link_removed(sender.id);
    }
    let len = stage.manager.persistence.book.len();
    assert!(len <= MAX_BOOK_PEERS / 64, "{len}");
    assert!(len > MAX_BOOK_PEERS / 128, "{len}: the limit is too strict for an honest source");
    let honest = stage.dialled_and_asked([9, 9, 9, 9]);
    let new = stage.receive(honest, (2_000_000..2_000_500).map(routable));
    assert!(new > 300, "{new} of 500: the flood uses the honest source's slots");
}

#[test]
fn threat_p12_a_host_that_reconnects_and_names_other_ports_uses_only_one_bucket() {
    let mut stage = Stage::new();
    for port in 1..=5_000 {
        let sender = stage.sender([8, 8, 8, 8]);
        stage.receive(sender, [SocketAddr::from(([8, 8, 8, 8], port))]);
        let peer = KnownPeer::new(SocketAddr::from(([8, 8, 8, 8], 10_000 + port)), UNIX);
        stage.manager.learn_address(sender.address.ip(), peer, Moment { now: stage.now, unix: UNIX }, &mut stage.rng);
    }
    assert_eq!(stage.manager.persistence.book.len(), GOSSIP_BUCKET_SLOTS as usize);
}

#[test]
fn threat_p12_a_dialled_peer_may_add_a_thousand_addresses_and_one_more_every_ten_seconds() {
    let mut stage = Stage::with(Network::Mainnet, DialMode::Normal);
    let sender = stage.dialled_and_asked([8, 8, 8, 8]);
    let taken = |stage: &Stage| MAX_ADDRESSES_PER_MESSAGE as u32 - stage.manager.gossip.states[&sender.id].tokens;
    stage.receive(sender, (0..600).map(routable));
    assert_eq!(taken(&stage), 600);
    stage.receive(sender, (600..1_200).map(routable));
    assert_eq!(taken(&stage), 1_000);
    let before = stage.manager.persistence.book.len();
    assert_eq!(stage.receive(sender, (1_200..2_200).map(routable)), 0);
    stage.now = stage.now.plus(ADDRESS_TOKEN_INTERVAL - Duration::from_nanos(1));
    assert_eq!(stage.receive(sender, (1_200..2_200).map(routable)), 0);
    stage.now = stage.now.plus(Duration::from_nanos(1));
    stage.receive(sender, (1_200..2_200).map(routable));
    assert!(stage.manager.persistence.book.len() <= before + 1);
    assert_eq!(taken(&stage), 1_000);
    stage.now = stage.now.plus(ADDRESS_TOKEN_INTERVAL * 1_000_000);
    stage.receive(sender, []);
    stage.receive(sender, [routable(3_000)]);
    assert_eq!(taken(&stage), 1, "a long pause did not restore an allowance of exactly a thousand");
}

#[test]
fn req_e20_gossip_makes_an_inaccessible_address_unknown_and_does_not_change_a_valid_one() {
    let mut stage = Stage::new();
    for (number, status) in [PeerStatus::Inaccessible, PeerStatus::Valid].into_iter().enumerate() {
        stage.put(routable(number as u32), status, NETWORK);
    }
    let sender = stage.dialled_and_asked([8, 8, 8, 8]);
    assert_eq!(stage.receive(sender, [routable(0), routable(1)]), 0, "a known address was added");
    let statuses = [0, 1].map(|number| stage.manager.persistence.book.peer(routable(number)).unwrap().status);
    assert_eq!(statuses, [PeerStatus::Unknown, PeerStatus::Valid]);
}

#[test]
fn threat_p12_a_peer_is_asked_only_once_and_its_second_reply_adds_nothing() {
    let mut stage = Stage::new();
    let sender = stage.dialled_and_asked([8, 8, 8, 8]);
    stage.receive(sender, (0..1_000).map(routable));
    assert!(!stage.manager.asks(sender.id, stage.now));
    assert_eq!(stage.receive(sender, (1_000..2_000).map(routable)), 0);
}

#[test]
fn threat_p12_a_peer_that_was_not_asked_may_add_only_its_own_host() {
    let mut stage = Stage::new();
    let sender = stage.sender([8, 8, 8, 8]);
    let others = ["9.9.9.9:8333", "8.8.8.9:8333", "[2a00::1]:8333"].map(at);
    assert_eq!(stage.receive(sender, others), 0);
    let own = ["9.9.9.9:8333", "8.8.8.8:8333", "8.8.8.8:8334"].map(at);
    assert_eq!(stage.receive(sender, own), 1, "the peer did not add exactly one address");
    assert!(stage.knows(own[1]));
    stage.now = stage.now.plus(ADDRESS_TOKEN_INTERVAL);
    stage.receive(sender, own);
    assert!(!stage.knows(others[0]));
}

#[test]
fn threat_p12_an_unusable_peer_address_is_not_stored() {
    let mut stage = Stage::new();
    stage.manager.listens_on(at("8.8.4.4:8333"));
    stage.manager.ban(at("8.8.5.5:1").ip(), BanReason::Manual, None, Moment { now: stage.now, unix: UNIX }).unwrap();
    let sender = stage.dialled_and_asked([8, 8, 8, 8]);
    for bad in [
        "0.0.0.0:8333",
        "10.1.2.3:8333",
        "127.0.0.1:8333",
        "169.254.1.1:8333",
        "192.168.1.1:8333",
        "224.0.0.1:8333",
        "255.255.255.255:8333",
        "9.9.9.9:0",
        "[::]:8333",
        "[::1]:8333",
        "[fe80::1]:8333",
        "[ff02::1]:8333",
        "[fd87:d87e:eb43::1]:8333",
        "[::ffff:10.0.0.1]:8333",
        "8.8.4.4:8333",
        "8.8.5.5:8333",
    ] {
        assert_eq!(stage.receive(sender, [at(bad)]), 0, "{bad}");
    }
    let pruned = entry(at("9.9.9.9:8333"), SERVICE_NETWORK << 1, 0);
    assert_eq!(stage.receive_entries(sender, [pruned]), 0);
    assert_eq!(
        stage.receive(sender, ["9.9.9.9:8333", "[::ffff:9.9.9.9]:8333"].map(at)),
        1,
        "a valid address was not added exactly once"
    );
    assert!(stage.manager.persistence.book.len() == 1);
}

#[test]
fn peers_on_regtest_may_have_private_or_loopback_addresses() {
    let mut stage = Stage::with(Network::Regtest, DialMode::Normal);
    let sender = stage.dialled_and_asked([10, 0, 0, 1]);
    assert_eq!(stage.receive(sender, ["10.0.0.2:18444", "127.0.0.1:18444", "9.9.9.9:1"].map(at)), 3);
    assert_eq!(stage.receive(sender, ["0.0.0.0:18444", "224.0.0.1:18444", "255.255.255.255:1"].map(at)), 0);
}

#[test]
fn an_impossible_time_is_read_as_five_days_ago_and_every_time_is_reduced_by_two_hours() {
    const HOUR: i64 = 3_600;
    let now = UNIX.as_secs();
    for (claimed, believed) in [
        (now, now - 2 * HOUR),
        (now + 600, now + 600 - 2 * HOUR),
        (now + 601, now - 122 * HOUR),
        (i64::from(u32::MAX), now - 122 * HOUR),
        (0, now - 122 * HOUR),
        (100_000_000, now - 122 * HOUR),
        (100_000_001, 100_000_001 - 2 * HOUR),
    ] {
        assert_eq!(believed_time(claimed as u32, UNIX).as_secs(), believed, "{claimed}");
    }
    for unix in [i64::MIN, -1, 0, i64::MAX] {
        believed_time(u32::MAX, UnixTime::from_secs(unix));
        entry_of(&KnownPeer::new(routable(1), UnixTime::from_secs(unix)), UnixTime::from_secs(unix));
    }
}

#[test]
fn threat_p12_only_an_inaccessible_or_long_untried_peer_is_displaced() {
    let rival_comes = |status: PeerStatus, after: Duration| {
        let mut stage = Stage::new();
        let sender = stage.dialled_and_asked([8, 8, 8, 8]);
        let (first, second) = rivals(&stage, sender.address.ip());
        assert_eq!(stage.receive(sender, [first]), 1);
        stage.set_status(first, status);
        stage.now = stage.now.plus(after);
        stage.receive(sender, [second]);
        assert_ne!(stage.knows(first), stage.knows(second), "the slot does not hold exactly one address");
        stage.knows(second)
    };
    let (long, ages) = (MAX_GOSSIP_UNTRIED, MAX_GOSSIP_UNTRIED * 1_000);
    assert!(!rival_comes(PeerStatus::Unknown, long - Duration::from_nanos(1)));
    assert!(rival_comes(PeerStatus::Unknown, long));
    assert!(rival_comes(PeerStatus::Inaccessible, Duration::ZERO));
    assert!(!rival_comes(PeerStatus::Valid, ages));
    assert!(!rival_comes(PeerStatus::Banned(BanReason::Manual), ages));
}

#[test]
fn threat_p12_a_full_book_of_valid_peers_loses_none_of_them() {
    let mut stage = Stage::new();
    for number in 0..MAX_BOOK_PEERS as u32 {
        stage.put(routable(number), PeerStatus::Valid, NETWORK);
    }
    let sender = stage.dialled_and_asked([8, 8, 8, 8]);
    assert_eq!(stage.receive(sender, (100_000..101_000).map(routable)), 0);
    assert_eq!(stage.manager.persistence.book.count(PeerStatus::Valid), MAX_BOOK_PEERS);
    assert!((100_000..101_000).all(|number| stage.manager.persistence.book.peer(routable(number)).is_none()));
}

#[test]
fn threat_p27_each_peer_gets_one_reply_of_at_most_a_thousand_addresses_and_23_percent_of_the_book() {
    for (known, most) in [(1, 1), (4, 1), (5, 2), (100, 23), (4_347, 1_000), (20_000, 1_000)] {
        let mut stage = Stage::new();
        for number in 0..known {
            let status = if number % 2 == 0 { PeerStatus::Valid } else { PeerStatus::Unknown };
            stage.put(routable(number), status, NETWORK);
        }
        let asker = stage.sender([9, 9, 9, 9]);
        let sent = stage.answer(asker).unwrap();
        let different: BTreeSet<SocketAddr> = sent.iter().map(|entry| entry.address.to_socket()).collect();
        assert_eq!((sent.len(), different.len()), (most, most), "of {known}");
        assert!(sent.iter().all(|entry| stage.knows(entry.address.to_socket())));
        let mut payload = Vec::new();
        Addresses::from_entries(sent).as_ref().encode(&mut payload);
        assert!(payload.len() as u64 <= MAX_ADDRESS_PAYLOAD_BYTES);
        assert_eq!(stage.answer(asker), None, "a second reply was sent");
        let another = stage.sender([9, 9, 9, 9]);
        assert_eq!(stage.answer(another).map(|sent| sent.len()), Some(most));
    }
}

#[test]
fn threat_p27_only_addresses_worth_a_dial_are_sent_and_never_the_requesters_own() {
    let mut stage = Stage::new();
    let good: Vec<SocketAddr> = (0..10).map(routable).collect();
    good.iter().for_each(|&address| stage.put(address, PeerStatus::Unknown, NETWORK));
    for (number, status) in [PeerStatus::Inaccessible, PeerStatus::Banned(BanReason::Misbehavior)].iter().enumerate() {
        (0..10).for_each(|low| stage.put(routable(100 + 10 * number as u32 + low), *status, NETWORK));
    }
    (0..10).for_each(|low| stage.put(routable(200 + low), PeerStatus::Valid, 0));
    (0..10_u16).for_each(|low| stage.put(SocketAddr::from(([10, 0, 0, 1], 1 + low)), PeerStatus::Valid, NETWORK));
    for _ in 0..100 {
        stage.now = stage.now.plus(ANSWER_LIFETIME);
        let asker = stage.sender([9, 9, 9, 9]);
        stage.manager.duplicates.said_listening.insert(asker.id, good[0]);
        let sent = stage.answer(asker).unwrap_or_default();
        assert!(sent.len() <= (50_usize * 23).div_ceil(100));
        for entry in sent {
            let address = entry.address.to_socket();
            assert!(good[1..].contains(&address), "{address}");
            assert_eq!((entry.address.services, entry.time), (NETWORK, UNIX.as_secs() as u32));
        }
    }
}

#[test]
fn threat_p27_all_peers_of_a_group_get_the_same_reply_for_a_day() {
    let mut stage = Stage::new();
    (0..1_000).for_each(|number| stage.put(routable(number), PeerStatus::Unknown, NETWORK));
    let sent = |stage: &mut Stage, from| {
        let asker = stage.sender(from);
        let entries = stage.answer(asker).unwrap();
        let addresses: BTreeSet<SocketAddr> = entries.iter().map(|entry| entry.address.to_socket()).collect();
        addresses
    };
    let first = sent(&mut stage, [9, 9, 9, 9]);
    assert_eq!(first.len(), 230);
    for host in 0..50 {
        stage.put(routable(2_000 + u32::from(host)), PeerStatus::Valid, NETWORK);
        assert_eq!(sent(&mut stage, [9, 9, host, 1]), first);
    }
    let of_all: BTreeSet<BTreeSet<SocketAddr>> = (1..=200).map(|group| sent(&mut stage, [group, 7, 7, 7])).collect();
    assert!((30..=64).contains(&of_all.len()), "{} different replies", of_all.len());
    stage.now = stage.now.plus(ANSWER_LIFETIME - Duration::from_nanos(1));
    assert_eq!(sent(&mut stage, [9, 9, 9, 9]), first);
    stage.now = stage.now.plus(Duration::from_nanos(1));
    assert_ne!(sent(&mut stage, [9, 9, 9, 9]), first);
}

#[test]
fn no_reply_is_sent_from_an_empty_book() {
    let mut stage = Stage::new();
    let asker = stage.sender([9, 9, 9, 9]);
    assert_eq!(stage.answer(asker), None);
}

#[test]
fn each_address_is_equally_likely_to_be_sent() {
    let mut stage = Stage::new();
    (0..100).for_each(|number| stage.put(routable(number), PeerStatus::Unknown, NETWORK));
    let mut times = vec![0; 100];
    for _ in 0..2_000 {
        stage.now = stage.now.plus(ANSWER_LIFETIME);
        let asker = stage.sender([9, 9, 9, 9]);
        for entry in stage.answer(asker).unwrap() {
            let sent = entry.address.to_socket();
            times[(0..100).position(|number| routable(number) == sent).unwrap()] += 1;
        }
    }
    // On average each address is sent 460 times, with a standard deviation of 19.
    assert!(times.iter().all(|&times| (360..560).contains(&times)), "{times:?}");
}

#[test]
fn with_a_fixed_list_addresses_are_neither_requested_accepted_nor_sent() {
    let mut stage = Stage::with(Network::Mainnet, DialMode::Fixed(vec![routable(0)]));
    stage.put(routable(1), PeerStatus::Valid, NETWORK);
    let sender = stage.sender([8, 8, 8, 8]);
    assert!(!stage.manager.asks(sender.id, stage.now));
    assert_eq!(stage.receive(sender, [at("8.8.8.8:8333"), routable(2)]), 0);
    assert_eq!(stage.answer(sender), None);
    assert!(!stage.manager.wants(CommandName::ADDR, 31) && !stage.manager.wants(CommandName::GETADDR, 0));
    assert!(stage.manager.gossip.states.is_empty(), "gossip state was stored");
}

#[test]
fn only_short_gossip_messages_are_read_if_the_handler_declines_them() {
    let stage = Stage::new();
    assert!(stage.manager.wants(CommandName::ADDR, MAX_ADDRESS_GATHERED_BYTES));
    assert!(!stage.manager.wants(CommandName::ADDR, MAX_ADDRESS_GATHERED_BYTES + 1));
    assert!(stage.manager.wants(CommandName::GETADDR, 0));
    assert!(!stage.manager.wants(CommandName::TX, 31));
    let mut longest = Vec::new();
    Addresses::from_entries((0..1_000).map(|number| entry(routable(number), NETWORK, 0))).as_ref().encode(&mut longest);
    assert_eq!(longest.len() as u64, MAX_ADDRESS_PAYLOAD_BYTES);
}

#[test]
fn a_peers_gossip_state_is_removed_with_its_connection() {
    let mut stage = Stage::new();
    for _ in 0..100 {
        let (sender, asker) = (stage.dialled_and_asked([8, 8, 8, 8]), stage.sender([9, 9, 9, 9]));
        stage.receive(sender, [routable(1)]);
        stage.receive(asker, [routable(2)]);
        stage.answer(asker);
        assert_eq!(stage.manager.gossip.states.len(), 2);
        stage.manager.gossip.link_removed(sender.id);
        stage.manager.gossip.link_removed(asker.id);
    }
    assert!(stage.manager.gossip.states.is_empty());
}

/// A step of the book's history. There are so few sources and ranges that addresses compete for slots.
#[derive(Clone, Debug)]
enum Step {
    Sends { source: u8, is_asked: bool, addresses: Vec<u16> },
    Passes { secs: u64 },
    Becomes { address: u16, status: PeerStatus },
    Leaves { source: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let addresses = prop::collection::vec(0..2_000_u16, 0..300);
    let status = prop_oneof![Just(PeerStatus::Valid), Just(PeerStatus::Inaccessible)];
    let step = prop_oneof![
        6 => (0..6_u8, any::<bool>(), addresses)
            .prop_map(|(source, is_asked, addresses)| Step::Sends { source, is_asked, addresses }),
        1 => (0..400_000_u64).prop_map(|secs| Step::Passes { secs }),
        6 => (0..2_000_u16, status).prop_map(|(address, status)| Step::Becomes { address, status }),
        1 => (0..6_u8).prop_map(|source| Step::Leaves { source }),
    ];
    prop::collection::vec(step, 1..60)
}

/// A naive model of the number of addresses that a peer may add.
#[derive(Clone, Copy)]
struct Bucket {
    since: Instant,
    left: u64,
    is_asked: bool,
}

/// Returns one of 2,000 addresses in two ranges. Some of them are the sending peers' own addresses.
fn of_two_ranges(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([20, 20 + (number % 2) as u8, high, low], 8_333))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn threat_p12_in_any_history_valid_peers_stay_and_allowances_and_buckets_are_respected(steps in steps()) {
        let mut stage = Stage::new();
        let mut senders: BTreeMap<u8, GossipPeer> = BTreeMap::new();
        let mut buckets: BTreeMap<u8, Bucket> = BTreeMap::new();
        // For each address in the book, the range of the peer that added it.
        let mut sources: BTreeMap<SocketAddr, NetGroup> = BTreeMap::new();
        let mut valid: BTreeSet<SocketAddr> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Sends { source, is_asked, addresses } => {
                    let own = SocketAddr::from(([20, 20, 0, source], 8_333));
                    let SocketAddr::V4(own) = own else { unreachable!("the address is not IPv4") };
                    let fresh = stage.sender(own.ip().octets());
                    let sender = *senders.entry(source).or_insert(fresh);
                    let now = stage.now;
                    let bucket = buckets.entry(source).or_insert(Bucket { since: now, left: 1, is_asked: false });
                    if is_asked && !bucket.is_asked {
                        (bucket.is_asked, bucket.left) = (true, 1_000);
                    }
                    if is_asked {
                        stage.manager.asks(sender.id, now);
                    }
                    while now >= bucket.since.plus(ADDRESS_TOKEN_INTERVAL) {
                        bucket.since = bucket.since.plus(ADDRESS_TOKEN_INTERVAL);
                        bucket.left = (bucket.left + 1).min(1_000);
                    }
                    let addresses: Vec<SocketAddr> = addresses.into_iter().map(of_two_ranges).collect();
                    let may_speak = |address: &&SocketAddr| bucket.is_asked || address.ip() == sender.address.ip();
                    let believed: Vec<SocketAddr> =
                        addresses.iter().filter(may_speak).take(bucket.left as usize).copied().collect();
                    bucket.left -= believed.len() as u64;
                    let known: BTreeSet<SocketAddr> =
                        addresses.iter().filter(|&&address| stage.knows(address)).copied().collect();
                    stage.receive(sender, addresses.iter().copied());
                    sources.retain(|&address, _| stage.knows(address));
                    for address in addresses.into_iter().filter(|address| !known.contains(address)) {
                        if stage.knows(address) {
                            prop_assert!(believed.contains(&address), "{address} was added beyond the allowance");
                            sources.insert(address, NetGroup::of(sender.address.ip()));
                        }
                    }
                }
                Step::Passes { secs } => stage.now = stage.now.plus(Duration::from_secs(secs)),
                Step::Becomes { address, status } => {
                    let address = of_two_ranges(address);
                    if stage.knows(address) && !valid.contains(&address) {
                        stage.set_status(address, status);
                        if status == PeerStatus::Valid {
                            valid.insert(address);
                        }
                    }
                }
                Step::Leaves { source } => {
                    buckets.remove(&source);
                    if let Some(sender) = senders.remove(&source) {
                        stage.manager.gossip.link_removed(sender.id);
                    }
                }
            }
            prop_assert!(valid.iter().all(|&address| stage.knows(address)), "a valid peer was removed");
            prop_assert_eq!(stage.manager.persistence.book.len(), sources.len(), "the model differs from the book");
            let mut shares: BTreeMap<(NetGroup, NetGroup), u32> = BTreeMap::new();
            for (address, source) in &sources {
                *shares.entry((*source, NetGroup::of(address.ip()))).or_default() += 1;
            }
            prop_assert!(shares.values().all(|&share| share <= GOSSIP_BUCKET_SLOTS), "{:?}", shares);
        }
    }
}
