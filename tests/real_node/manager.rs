//! The peer manager and a real node. The node is killed and started again, it is banned, or it connects when no slot
//! is free.

use crate::node::Node;
use peerloop::MioNet;
use peerloop::address::Host;
use peerloop::api::{NextDial, Pending};
use peerloop::ban::{Ban, BanReason};
use peerloop::config::ManagerConfig;
use peerloop::error::{CloseReason, DialHold, LocalCause, RequestError};
use peerloop::peer::{ConnectionState, ConnectionType};
use peerloop::store::{PeerStore, RedbStore};
use peerloop::time::Instant;
use peerloop::{Config, ControlEvent, Ctx, Handler, Network, PeerId, Reactor};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// A deadline far beyond any wait of a test.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_TURN: Duration = Duration::from_millis(20);
const INITIAL_BACKOFF: Duration = Duration::from_millis(20);
const MAX_BACKOFF: Duration = Duration::from_millis(160);

/// A loop with a manager, and a handler that records its control events.
struct Managed {
    reactor: Reactor<MioNet, Recorder>,
}

#[derive(Debug, Default)]
struct Recorder(Vec<ControlEvent>);

impl Handler for Recorder {
    type Request = ();

    fn on_control(&mut self, _ctx: &mut Ctx<'_>, event: &ControlEvent) {
        self.0.push(event.clone());
    }
}

/// Returns a configuration with `manager`, short backoffs, 1,000 retries, and no DNS seeds.
fn config(manager: ManagerConfig) -> Config {
    let (initial_backoff, max_backoff, max_retries) = (INITIAL_BACKOFF, MAX_BACKOFF, 1_000);
    let manager = manager
        .with_initial_backoff(initial_backoff)
        .with_max_backoff(max_backoff)
        .with_max_retries(max_retries)
        .with_dns_seeds(vec![]);
    Config::new(Network::Regtest).with_manager(manager)
}

impl Managed {
    fn new(manager: ManagerConfig) -> Self {
        Self { reactor: Reactor::new(config(manager), Recorder::default()).expect("the configuration is valid") }
    }

    /// Starts a loop with the address book in `folder`, and returns the loop and the book's bans.
    fn with_book(folder: &Path, manager: ManagerConfig) -> (Self, Vec<Ban>) {
        let (store, opened) = RedbStore::open(folder.join("peers.redb")).expect("the folder is writable");
        assert_eq!((opened.set_aside, opened.dropped), (None, 0));
        let (peers, bans) = (store.list_all().expect("the store is open"), store.bans().expect("the store is open"));
        let net = MioNet::new().and_then(|net| net.with_store(store)).expect("the poller and the thread start");
        let mut reactor =
            Reactor::with_net(config(manager), net, Recorder::default()).expect("the configuration is valid");
        reactor.remember(peers, bans.clone());
        (Self { reactor }, bans)
    }

    fn events(&self) -> &[ControlEvent] {
        &self.reactor.handler().0
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let began = std::time::Instant::now();
        while !done(self) {
            assert!(began.elapsed() < PATIENCE, "timed out before {what}: {:#?}", self.events());
            self.reactor.poll_once(MAX_TURN).expect("the poller works");
        }
    }

    fn answer<T>(&mut self, pending: &Pending<T>) -> T {
        let began = std::time::Instant::now();
        loop {
            if let Some(answer) = pending.try_take().expect("the loop runs") {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "the reply does not arrive");
            self.reactor.poll_once(MAX_TURN).expect("the poller works");
        }
    }

    fn connect(&mut self, address: SocketAddr) -> Result<PeerId, RequestError> {
        let pending = self.reactor.handle().connect(address, None).expect("the queue has room");
        self.answer(&pending)
    }

    fn ready_count(&mut self) -> usize {
        let pending = self.reactor.handle().connection_count().expect("the queue has room");
        self.answer(&pending)
    }

    fn ban(&mut self, address: SocketAddr) {
        let pending = self.reactor.handle().ban(address.ip(), None).expect("the queue has room");
        assert_eq!(self.answer(&pending), Ok(()));
    }

    fn count(&self, label: &str) -> usize {
        self.events().iter().filter(|event| event.label() == label).count()
    }

    /// Runs the loop for `time`, regardless of events.
    fn wait(&mut self, time: Duration) {
        let began = std::time::Instant::now();
        while began.elapsed() < time {
            self.reactor.poll_once(MAX_TURN).expect("the poller works");
        }
    }

    /// Stops the loop gracefully.
    fn stop(mut self) {
        self.reactor.handle().stop().expect("the queue has room");
        let began = std::time::Instant::now();
        while self.reactor.poll_once(MAX_TURN).expect("the poller works") {
            assert!(began.elapsed() < PATIENCE, "the loop does not stop");
        }
    }
}

/// Counts the occurrences of `text` in the node's log.
fn log_count(node: &Node, text: &str) -> usize {
    let log = std::fs::read(node.data_folder().join("regtest").join("bitcoind.log")).expect("the node writes a log");
    String::from_utf8_lossy(&log).matches(text).count()
}

#[test]
fn req_e19_a_killed_node_is_dialled_until_it_returns() {
    const FAILURES: usize = 6;
    let Some(mut node) = Node::start() else { return };
    let address = node.address();
    let mut managed = Managed::new(ManagerConfig::fixed(Network::Regtest, vec![address]));
    for life in 1..=2 {
        managed.until("the peer is ready", |managed| managed.count("handshake_complete") == life);
        let before = managed.events().len();
        node.kill();
        managed.until("dials fail", |managed| managed.count("connection_failed") >= FAILURES * life);
        let [lost, restarting, failed @ ..] = &managed.events()[before..] else {
            panic!("fewer than two events arrived after the node was killed")
        };
        let ControlEvent::ConnectionLost { connection_type, state, reason, .. } = lost else { panic!("{lost}") };
        assert_eq!((*connection_type, *state), (ConnectionType::Outbound, ConnectionState::Connected));
        assert!(reason.is_transient(), "{reason}");
        assert_eq!(*restarting, ControlEvent::ConnectionRestarting { address, restarts: life as u32 });
        assert_backs_off(failed, address);
        node.start_again();
    }
    managed.until("the peer is ready", |managed| managed.count("handshake_complete") == 3);
    assert_eq!(managed.ready_count(), 1);
    node.peer_once(|peer| peer["inbound"] == json!(true));
}

/// Asserts that each event is a failed dial of `address`, and that each retry is scheduled at least one backoff after
/// the previous one.
fn assert_backs_off(failed: &[ControlEvent], address: SocketAddr) {
    let mut due = None;
    for (event, count) in failed.iter().zip(1..) {
        let ControlEvent::ConnectionFailed { address: of, state, reason, failures, next, .. } = event else {
            panic!("{event} is not a failed dial")
        };
        assert_eq!((*of, *state, reason.label()), (address, ConnectionState::Connecting, "refused"));
        assert_eq!(*failures, count, "the failures were not counted from 1 after the handshake");
        let NextDial::At(moment) = *next else { panic!("{next:?} is not a moment") };
        let least = (INITIAL_BACKOFF * (1 << (count - 1))).min(MAX_BACKOFF);
        assert!(due.is_none_or(|due: Instant| moment >= due.plus(least)), "retry after failure {count} is too early");
        due = Some(moment);
    }
}

#[test]
fn req_e38_a_banned_node_is_closed_and_not_dialled_even_by_the_next_run_until_it_is_unbanned() {
    let Some(node) = Node::start_with(&["-debug=net"]) else { return };
    let (address, host) = (node.address(), Host::of(node.address().ip()));
    let folder = node.data_folder().join("book");
    std::fs::create_dir(&folder).expect("the node's folder is writable");

    let (mut managed, bans) = Managed::with_book(&folder, ManagerConfig::new(Network::Regtest));
    assert_eq!(bans, []);
    managed.connect(address).expect("there is a free slot");
    managed.until("the peer is ready", |managed| managed.count("handshake_complete") == 1);
    managed.ban(address);
    let banned = ControlEvent::PeerBanned { host, reason: BanReason::Manual, until: None, peers_closed: 1 };
    managed.until("the ban is reported", |managed| managed.events().contains(&banned));
    managed.until("the connection is closed", |managed| managed.count("connection_lost") == 1);
    let is_closed = |event: &ControlEvent| {
        matches!(event, ControlEvent::ConnectionLost { reason: CloseReason::Local(LocalCause::Banned), .. })
    };
    assert!(managed.events().iter().any(is_closed));
    node.log_once_it_says("Removing peer=0");
    managed.wait(MAX_BACKOFF * 10);
    assert_eq!(managed.connect(address), Err(RequestError::Banned));
    managed.stop();

    let fixed = ManagerConfig::fixed(Network::Regtest, vec![address]);
    let held_back = ControlEvent::DialsHeldBack { cause: DialHold::Banned };
    for (manager, expected) in [(fixed, vec![held_back]), (ManagerConfig::new(Network::Regtest), vec![])] {
        let (mut managed, bans) = Managed::with_book(&folder, manager);
        assert_eq!(bans.iter().map(|ban| (ban.host, ban.reason)).collect::<Vec<_>>(), [(host, BanReason::Manual)]);
        managed.wait(MAX_BACKOFF * 10);
        assert_eq!(
            (managed.events(), log_count(&node, "Added connection")),
            (&expected[..], 1),
            "the banned node was dialled, or the reported events are wrong"
        );
        managed.stop();
    }

    let (mut managed, _) = Managed::with_book(&folder, ManagerConfig::new(Network::Regtest));
    let pending = managed.reactor.handle().unban(address.ip()).expect("the queue has room");
    assert_eq!(managed.answer(&pending), Ok(true));
    managed.until("the node is dialled", |managed| managed.count("handshake_complete") == 1);
    managed.stop();
}

#[test]
fn req_e24_a_node_beyond_the_maximum_gets_a_handshake_and_a_reject_and_is_never_counted() {
    let Some(node) = Node::start_with(&["-debug=net"]) else { return };
    let fixed = ManagerConfig::fixed(Network::Regtest, vec![node.address()]);
    let mut managed = Managed::new(fixed.with_target_peers(1).with_max_peers(1));
    let listening = managed.reactor.listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port is free");
    managed.until("the peer is ready", |managed| managed.count("handshake_complete") == 1);

    node.cli(&["addnode", &listening.to_string(), "onetry"]);
    managed.until("the peer over capacity is closed", |managed| managed.count("connection_failed") == 1);
    let rejected: Vec<PeerId> = managed
        .events()
        .iter()
        .filter_map(|event| match event {
            ControlEvent::RejectedOverCapacity { peer, .. } => Some(*peer),
            _ => None,
        })
        .collect();
    let [rejected] = rejected[..] else { panic!("{:#?}", managed.events()) };
    let over_capacity = CloseReason::Local(LocalCause::OverCapacity);
    assert!(managed.events().iter().any(|event| matches!(event, ControlEvent::ConnectionLost {
        peer, connection_type: ConnectionType::OverCapacity, state: ConnectionState::AwaitingHandshake, reason, ..
    } if (*peer, *reason) == (rejected, over_capacity))));
    assert_eq!(managed.count("handshake_complete"), 1, "the rejected peer was counted");
    assert_eq!(managed.ready_count(), 1);

    let log = node.log_once_it_says("Removing peer=1");
    assert!(log.contains("received: verack (0 bytes) peer=1"), "the handshake did not complete: {log}");
    let is_reject = |line: &str| line.contains("received: reject") && line.contains("peer=1");
    assert!(log.lines().any(is_reject), "the node received no reject: {log}");
    assert!(log.contains("stream socket gracefully closed by peer=1"), "the connection was reset: {log}");
    assert_eq!(node.json(&["getconnectioncount"]), json!(1), "the node does not have exactly one connection");
}
