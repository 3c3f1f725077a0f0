//! The peer manager on real sockets: lost peers that return, banned hosts, a book that outlives its loop, and more
//! peers than slots.

use crate::probe::{Node, PATIENCE, Probe, regtest, until};
use peerloop::MioNet;
use peerloop::address::Host;
use peerloop::api::{NextDial, Pending};
use peerloop::ban::{Ban, BanReason};
use peerloop::config::{DialMode, ManagerConfig};
use peerloop::error::{CloseReason, Disconnect, LocalCause, Refusal, RequestError};
use peerloop::peer::{ConnectionState, ConnectionType};
use peerloop::store::{PeerStatus, PeerStore, RedbStore};
use peerloop::time::Instant;
use peerloop::wire::RejectCode;
use peerloop::{Config, ControlEvent, Network, Reactor};
use peerloop_testkit::Folder;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

const INITIAL_BACKOFF: Duration = Duration::from_millis(10);
const MAX_BACKOFF: Duration = Duration::from_millis(80);

/// Returns an address with a free port, on a loopback host that no other test uses.
fn own_address(host: u8) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 5, host), 0)).expect("all of 127.0.0.0/8 is loopback");
    listener.local_addr().expect("the listener is bound")
}

fn fixed(peers: &[SocketAddr]) -> ManagerConfig {
    patient(ManagerConfig::fixed(Network::Regtest, peers.to_vec()))
}

/// Returns `manager` with short backoffs and up to 1,000 retries.
fn patient(manager: ManagerConfig) -> ManagerConfig {
    manager.with_initial_backoff(INITIAL_BACKOFF).with_max_backoff(MAX_BACKOFF).with_max_retries(1_000)
}

fn managed(manager: ManagerConfig) -> Config {
    regtest().with_manager(manager)
}

/// Runs turns of `node`'s loop until it answers the request, and returns the answer.
fn answer<T>(node: &mut Node, pending: &Pending<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        node.turn();
        match pending.try_take().expect("the loop runs") {
            Some(answer) => return answer,
            None => assert!(began.elapsed() < PATIENCE, "the reply does not arrive"),
        }
    }
}

fn ban(node: &mut Node, address: SocketAddr) {
    let pending = node.reactor.handle().ban(address.ip(), None).expect("the queue has room");
    assert_eq!(answer(node, &pending), Ok(()));
}

fn unban(node: &mut Node, address: SocketAddr) -> bool {
    let pending = node.reactor.handle().unban(address.ip()).expect("the queue has room");
    answer(node, &pending).expect("the loop has a manager")
}

fn events_of(node: &Node) -> &[ControlEvent] {
    &node.reactor.handler().control
}

/// Counts the unsuccessful dials of `address`.
fn failures_of(node: &Node, address: SocketAddr) -> usize {
    let is_one =
        |event: &&ControlEvent| matches!(event, ControlEvent::ConnectionFailed { address: of, .. } if *of == address);
    events_of(node).iter().filter(is_one).count()
}

/// Counts the completed handshakes with `address`.
fn handshakes_with(node: &Node, address: SocketAddr) -> usize {
    let is_one =
        |event: &&ControlEvent| matches!(event, ControlEvent::HandshakeComplete { address: of, .. } if *of == address);
    events_of(node).iter().filter(is_one).count()
}

fn accepted(node: &Node) -> u64 {
    node.reactor.stats().counters.accepted
}

/// Asserts that each event is a failed dial of `address`, that the failures are counted from `first`, and that each
/// retry is scheduled at least one backoff after the previous one.
fn assert_backs_off(events: &[ControlEvent], address: SocketAddr, first: u32) {
    let mut due = None;
    for (event, count) in events.iter().zip(first..) {
        let ControlEvent::ConnectionFailed { address: of, state, reason, failures, next, .. } = event else {
            panic!("{event} is not a failed dial")
        };
        assert_eq!((*of, *state, reason.label()), (address, ConnectionState::Connecting, "refused"));
        let NextDial::At(moment) = *next else { panic!("{next:?} is not a moment") };
        assert_eq!(*failures, count);
        let least = (INITIAL_BACKOFF * (1 << (count - 1).min(10))).min(MAX_BACKOFF);
        assert!(due.is_none_or(|due: Instant| moment >= due.plus(least)), "the retry after failure {count} is early");
        due = Some(moment);
    }
}

#[test]
fn req_e19_a_lost_peer_is_restarted_up_to_the_limit_and_dialled_at_growing_intervals_until_it_returns() {
    const RESTARTS: u32 = 2;
    const FAILURES: usize = 5;
    let address = own_address(1);
    let mut peer = Node::listening_on(regtest(), address);
    let mut node = Node::with(managed(fixed(&[address]).with_max_restarts(RESTARTS)));
    for loss in 1..=RESTARTS + 1 {
        until([&mut node, &mut peer], "the peer is ready", |[node, peer]| {
            peer.ready().len() == 1 && handshakes_with(node, address) == loss as usize
        });
        let before = events_of(&node).len();
        drop(peer);
        let failures = failures_of(&node, address) + FAILURES;
        until([&mut node], "dials fail", |[node]| failures_of(node, address) >= failures);
        let (lost, rest) = events_of(&node)[before..].split_first().expect("there are events");
        let ControlEvent::ConnectionLost { address: of, connection_type, state, reason, .. } = lost else {
            panic!("{lost} is not a loss")
        };
        assert_eq!((*of, *connection_type, *state), (address, ConnectionType::Outbound, ConnectionState::Connected));
        assert!(reason.is_transient(), "{reason}");
        if loss <= RESTARTS {
            assert_eq!(rest[0], ControlEvent::ConnectionRestarting { address, restarts: loss });
            assert_backs_off(&rest[1..], address, 1);
        } else {
            // Without a restart, the loss counts as the first failure.
            assert_backs_off(rest, address, 2);
        }
        peer = Node::listening_on(regtest(), address);
    }
    until([&mut node, &mut peer], "the peer has returned", |[_, peer]| peer.ready().len() == 1);
    assert_eq!(node.reactor.stats().links, 1);
}

#[test]
fn req_e38_a_banned_host_is_disconnected_and_neither_dialled_nor_accepted() {
    let [bad, good, deserted] = [2, 3, 4].map(own_address);
    let [mut bad_node, mut good_node] = [bad, good].map(|address| Node::listening_on(regtest(), address));
    let mut node = Node::with(managed(fixed(&[bad, good, deserted])));
    until([&mut node, &mut bad_node, &mut good_node], "both are ready", |[node, ..]| node.ready().len() == 2);

    ban(&mut node, bad);
    until([&mut node, &mut bad_node], "the connection is closed", |[_, bad]| bad.end_of(bad.ready()[0]).is_some());
    let host = Host::of(bad.ip());
    let banned = ControlEvent::PeerBanned { host, reason: BanReason::Manual, until: None, peers_closed: 1 };
    let is_the_end = |event: &ControlEvent| {
        matches!(event, ControlEvent::ConnectionLost { address, reason: CloseReason::Local(LocalCause::Banned), .. }
            if *address == bad)
    };
    until([&mut node, &mut bad_node], "both are reported", |[node, _]| {
        events_of(node).contains(&banned) && events_of(node).iter().any(is_the_end)
    });

    let failures = failures_of(&node, deserted) + 10;
    until([&mut node, &mut bad_node, &mut good_node], "others are dialled", |[node, ..]| {
        failures_of(node, deserted) >= failures
    });
    assert_eq!((accepted(&bad_node), accepted(&good_node)), (1, 1), "a node was not dialled exactly once");
    assert_eq!(node.act(move |ctx| ctx.connect(bad)), Err(RequestError::Banned));

    let address = node.address;
    let visit = bad_node.act(move |ctx| ctx.connect_from(bad.ip(), address)).expect("the table has room");
    until([&mut node, &mut bad_node], "the inbound connection is refused", |[_, bad]| bad.end_of(visit).is_some());
    let refused = events_of(&node).iter().filter_map(|event| match event {
        ControlEvent::InboundRejected { address, refusal } => Some((address.ip(), *refusal)),
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [(bad.ip(), Refusal::Banned)]);
    assert!(!bad_node.ready().contains(&visit), "a refused connection completed its handshake");
    assert_eq!(node.reactor.stats().ready, 1, "the good peer is not the only ready peer");

    assert!(unban(&mut node, bad) && !unban(&mut node, bad));
    node.dial(bad);
    until([&mut node, &mut bad_node], "the bad node is a peer again", |[node, _]| node.reactor.stats().ready == 2);
}

/// An address book in a folder of its own.
struct BookFile(Folder);

impl BookFile {
    fn new() -> Self {
        Self(Folder::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// Starts a node with the book, and returns the node and the book's bans.
    fn open(&self, manager: ManagerConfig) -> (Node, Vec<Ban>) {
        let (store, opened) = RedbStore::open(self.0.file("peers.redb")).expect("the folder can be written");
        assert_eq!((opened.set_aside, opened.dropped), (None, 0));
        let (peers, bans) = (store.list_all().expect("the store is open"), store.bans().expect("the store is open"));
        let net = MioNet::new().and_then(|net| net.with_store(store)).expect("the poller and the thread start");
        let mut reactor =
            Reactor::with_net(managed(manager), net, Probe::default()).expect("the configuration is valid");
        reactor.remember(peers, bans.clone());
        (Node { reactor, address: crate::probe::ANY_PORT }, bans)
    }

    fn status(&self, address: SocketAddr) -> Option<PeerStatus> {
        let (store, _) = RedbStore::open(self.0.file("peers.redb")).expect("the folder can be written");
        store.read(address).expect("the store is open").map(|peer| peer.status)
    }
}

/// Stops the node's loop gracefully, and runs turns of the loops of `others` in the meantime.
fn stop(mut node: Node, others: &mut [&mut Node]) {
    node.act(|ctx| ctx.stop());
    let began = std::time::Instant::now();
    while node.turn() {
        assert!(began.elapsed() < PATIENCE, "the loop does not stop");
        others.iter_mut().for_each(|other| _ = other.turn());
    }
}

/// Asserts that `address` is not dialled within 1,000 turns, and that no dial of it has failed.
fn assert_never_dials(node: &mut Node, address: SocketAddr) {
    let turns = node.reactor.stats().counters.turns + 1_000;
    while node.reactor.stats().counters.turns < turns {
        let is_dialled = node.act(move |ctx| ctx.peers().any(|peer| peer.address() == address));
        assert!(!is_dialled && failures_of(node, address) == 0, "a banned address was dialled");
    }
}

#[test]
fn req_e38_a_ban_outlives_the_loop_and_an_unbanned_peer_is_dialled() {
    let book = BookFile::new();
    let [bad, good] = [5, 6].map(own_address);
    let [mut bad_node, mut good_node] = [bad, good].map(|address| Node::listening_on(regtest(), address));
    let normal = || patient(ManagerConfig::new(Network::Regtest).with_mode(DialMode::Normal).with_dns_seeds(vec![]));

    let (mut node, bans) = book.open(normal());
    assert_eq!(bans, []);
    let _ = [bad, good].map(|address| node.dial(address));
    until([&mut node, &mut bad_node, &mut good_node], "both are ready", |[node, ..]| node.ready().len() == 2);
    ban(&mut node, bad);
    let is_ban = |event: &ControlEvent| matches!(event, ControlEvent::PeerBanned { .. });
    until([&mut node, &mut bad_node, &mut good_node], "the ban is durable", |[node, ..]| {
        events_of(node).iter().any(is_ban) && node.reactor.stats().links == 1
    });
    stop(node, &mut [&mut bad_node, &mut good_node]);
    assert_eq!(book.status(bad), Some(PeerStatus::Banned(BanReason::Manual)));
    assert_eq!(book.status(good), Some(PeerStatus::Valid));

    let (mut node, _) = book.open(fixed(&[bad, good]));
    until([&mut node, &mut good_node], "the other address of the list is dialled", |[node, _]| {
        handshakes_with(node, good) == 1
    });
    assert_never_dials(&mut node, bad);
    stop(node, &mut [&mut good_node]);

    let (mut node, bans) = book.open(normal());
    assert_eq!(bans.iter().map(|ban| ban.host).collect::<Vec<_>>(), [Host::of(bad.ip())]);
    until([&mut node, &mut good_node], "the good address is dialled", |[node, _]| handshakes_with(node, good) == 1);
    assert_never_dials(&mut node, bad);
    bad_node.turn();
    assert_eq!(accepted(&bad_node), 1);
    assert!(unban(&mut node, bad));
    until([&mut node, &mut bad_node], "the address is dialled", |[node, _]| handshakes_with(node, bad) == 1);
    stop(node, &mut [&mut bad_node, &mut good_node]);
    assert_eq!(book.status(bad), Some(PeerStatus::Valid));

    let (node, bans) = book.open(normal());
    assert_eq!(bans, []);
    drop(node);
}

#[test]
fn req_e26_a_listed_peer_beyond_the_maximum_waits_for_a_slot() {
    let addresses = [7, 8, 9].map(own_address);
    let [mut one, mut two, mut three] = addresses.map(|address| Node::listening_on(regtest(), address));
    let mut node = Node::with(managed(fixed(&addresses).with_target_peers(1).with_max_peers(2)));
    until([&mut node, &mut one, &mut two], "two peers are ready", |[node, ..]| node.ready().len() == 2);
    for _ in 0..100 {
        [&mut node, &mut one, &mut two, &mut three].into_iter().for_each(|node| _ = node.turn());
    }
    assert_eq!([&one, &two, &three].map(accepted), [1, 1, 0]);
    ban(&mut node, addresses[0]);
    until([&mut node, &mut one, &mut two, &mut three], "the third has the slot", |[.., three]| {
        three.ready().len() == 1
    });
    assert_eq!(node.reactor.stats().links, 2);
}

#[test]
fn req_e24_an_inbound_peer_beyond_the_maximum_is_rejected_and_not_counted_as_ready() {
    let address = own_address(10);
    let mut peer = Node::listening_on(regtest(), address);
    let manager = fixed(&[address]).with_target_peers(1).with_max_peers(2);
    let mut node = Node::with(managed(manager));
    let mut visitors = Node::new();
    until([&mut node, &mut peer], "the dialled one is ready", |[node, _]| node.ready().len() == 1);
    let door = node.address;
    let first = visitors.dial(door);
    until([&mut node, &mut visitors], "an inbound peer is ready", |[node, _]| node.ready().len() == 2);

    let second = visitors.dial(door);
    until([&mut node, &mut visitors], "the peer over capacity is closed", |[node, visitors]| {
        visitors.end_of(second).is_some() && node.reactor.stats().links == 2
    });
    let busy = CloseReason::RejectedByPeer(RejectCode::TOO_BUSY.0);
    assert_eq!(
        visitors.end_of(second),
        Some((busy, ConnectionState::Connected)),
        "the visitor was not rejected as too busy after its handshake"
    );
    let rejections = events_of(&node).iter().filter(|event| matches!(event, ControlEvent::RejectedOverCapacity { .. }));
    assert_eq!(rejections.count(), 1);
    assert_eq!((node.ready().len(), node.reactor.stats().ready), (2, 2), "the node does not have two ready peers");

    // Any closed peer frees a slot.
    visitors.act(move |ctx| ctx.close(first, Disconnect::Done));
    until([&mut node, &mut visitors], "one is closed", |[node, _]| node.reactor.stats().links == 1);
    let third = visitors.dial(door);
    until([&mut node, &mut visitors], "another peer is ready", |[node, _]| node.reactor.stats().ready == 2);
    assert_eq!(visitors.end_of(third), None);
}
