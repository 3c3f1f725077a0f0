//! Peers with two TCP streams: the node and our loop, in both roles, and every failure of a stream's setup.
//!
//! A misbehaving dialler sends the same bytes to the node and to our loop, and both must give the same reply.

use crate::node::Node;
use crate::observer::{Happened, Observer, config};
use crate::plain::{Wire, protoconf, version};
use peerloop::config::Multistreams;
use peerloop::error::CloseReason;
use peerloop::load::{Generator, Phase, Plan, Rate, Responder};
use peerloop::peer::{ConnectionState, StreamPolicy};
use peerloop::protocol::CommandName;
use peerloop::wire::{AssociationId, CreateStream, Message, MessageRef, Reject, StreamAck, StreamType};
use peerloop::{PeerId, Reactor};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

const UUID: [u8; 16] = *b"0123456789abcdef";
const ID: AssociationId = AssociationId::Uuid(UUID);
const POLICY: &[u8] = b"BlockPriority";
const OPENED: Happened = Happened::StreamOpened(StreamType::Data1, StreamPolicy::BlockPriority);
/// Time in which the node would have dialled again. It opens queued streams ten times per second.
const NO_RETRY: Duration = Duration::from_secs(2);

/// Waits until the node sees one peer with two streams, and checks their types and the policy.
fn assert_two_streams(node: &Node) {
    let peer = node.peer_once(|peer| !peer["streams"][1].is_null());
    let types = [0, 1].map(|index| &peer["streams"][index]["streamtype"]);
    assert_eq!(types, [&json!("GENERAL"), &json!("DATA1")], "{peer}");
    assert_eq!((&peer["streampolicy"], &peer["banscore"]), (&json!("BlockPriority"), &json!(0)));
}

fn assert_traffic_both_ways(node: &Node, observer: &mut Observer, peer: PeerId) {
    observer.settle(peer);
    let pongs = || node.peer_once(|_| true)["pingtime"].as_f64().is_some();
    assert!(pongs(), "the node has no pong from us");
    node.cli(&["generate", "1"]);
    let announces = |message: &Message| match message {
        Message::Headers(_) | Message::CmpctBlock(_) | Message::Inv(_) => Some(()),
        _ => None,
    };
    observer.receive("announcement", peer, announces);
    observer.settle(peer);
}

#[test]
fn we_open_a_second_stream_to_the_node_and_use_both() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config().with_multistreams(Multistreams::Open));
    let peer = observer.ready(node.address());
    observer.until("second stream", peer, |happened| *happened == OPENED);
    assert_two_streams(&node);
    assert_traffic_both_ways(&node, &mut observer, peer);
}

#[test]
fn the_node_opens_a_second_stream_to_us_and_uses_both() {
    let Some(node) = Node::start() else { return };
    let mut observer = Observer::new(config());
    let address = observer.listen();
    node.cli(&["addnode", &address.to_string(), "onetry"]);
    let peer = observer.accepted();
    observer.until_ready(peer);
    observer.until("second stream", peer, |happened| *happened == OPENED);
    assert_two_streams(&node);
    assert_traffic_both_ways(&node, &mut observer, peer);
    let seen = node.peer_once(|_| true);
    node.cli(&["disconnectnode", seen["addr"].as_str().expect("the peer has an address")]);
    assert_eq!(observer.closed(peer), (CloseReason::ClosedByPeer, ConnectionState::Connected));
}

#[test]
fn a_node_without_streams_has_one_stream_with_us() {
    let Some(node) = Node::start_with(&["-multistreams=0"]) else { return };
    let mut observer = Observer::new(config().with_multistreams(Multistreams::Open));
    let peer = observer.ready(node.address());
    observer.settle(peer);
    assert_eq!(observer.ask(move |ctx| ctx.peer(peer).map(|view| view.streams().count())), Some(1));
    assert_eq!(observer.ask(|ctx| ctx.counters().stream_failures), 0);
}

// --- A misbehaving dialler ------------------------------------------------------------------------------------------

/// Our loop on a thread of its own, without a peer manager. Dropping the value stops it.
struct Ours {
    address: SocketAddr,
    stop: Box<dyn FnMut()>,
}

impl Ours {
    fn start() -> Self {
        let mut reactor = Reactor::new(config(), Responder::default()).expect("the configuration is valid");
        let address = reactor.listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port is free");
        let handle = reactor.handle();
        let mut thread = Some(thread::spawn(move || reactor.run().expect("the poller works")));
        let stop = move || {
            drop(handle.stop());
            if let Some(thread) = thread.take() {
                thread.join().expect("the loop does not panic");
            }
        };
        Self { address, stop: Box::new(stop) }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        (self.stop)();
    }
}

/// A peer of `address` with the association id [`ID`]. It is ready when this returns.
fn general(address: SocketAddr) -> Wire {
    let mut wire = Wire::dial(address);
    wire.say(&version(ID));
    let Message::Version(theirs) = wire.receive_command(CommandName::VERSION) else { panic!("no version") };
    assert_eq!(theirs.association_id, Some(ID), "the id was not repeated");
    wire.say(&Message::Verack);
    wire.say(&protoconf());
    wire.receive_command(CommandName::SENDHEADERS);
    wire
}

fn createstrm(association_id: AssociationId, stream_type: StreamType, policy: &[u8]) -> Message {
    Message::CreateStrm(CreateStream { association_id, stream_type, policy: policy.into() })
}

fn data1(address: SocketAddr) -> Wire {
    let mut wire = Wire::dial(address);
    wire.say(&createstrm(ID, StreamType::Data1, POLICY));
    assert_eq!(wire.receive(), Message::StreamAck(StreamAck { association_id: ID, stream_type: StreamType::Data1 }));
    wire
}

/// Sends a message on a new connection from `source`, and returns the `reject` that it causes. The connection must then
/// end.
fn refusal(address: SocketAddr, source: IpAddr, message: &Message) -> Reject {
    let mut wire = Wire::dial_from(address, source);
    wire.say(message);
    let Message::Reject(reject) = wire.receive() else { panic!("{message:?} was not rejected") };
    assert!(wire.ends(), "the connection stayed open after {reject:?}");
    reject
}

/// Returns the malformed and unacceptable messages of a dialler of streams.
fn refused_messages() -> Vec<Message> {
    let raw = |payload: Vec<u8>| Message::Opaque { command: CommandName::CREATESTRM, payload: payload.into() };
    let ours = [&[17, 0][..], &UUID].concat();
    vec![
        createstrm(AssociationId::Uuid([7; 16]), StreamType::Data2, POLICY),
        createstrm(AssociationId::Empty, StreamType::Data2, POLICY),
        createstrm(ID, StreamType::Data2, b"Foo"),
        createstrm(ID, StreamType::Data1, POLICY),
        createstrm(ID, StreamType::General, POLICY),
        raw([&ours[..], &[6, 0]].concat()),
        raw([&[17, 1][..], &UUID, &[2, 0]].concat()),
        raw(vec![5, 0, 1, 2, 3, 4, 2, 0]),
        raw([&[130][..], &[0; 130], &[2, 0]].concat()),
        raw([&ours[..], &[3, 65], &[b'F'; 65]].concat()),
        raw(ours[..10].to_vec()),
        raw(Vec::new()),
    ]
}

#[test]
fn every_refused_createstrm_has_the_same_reject_from_the_node_and_from_us_and_harms_no_other_stream() {
    let Some(node) = Node::start() else { return };
    let ours = Ours::start();
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let replies = [node.address(), ours.address].map(|address| {
        let (mut general, mut data) = (general(address), data1(address));
        let rejects: Vec<Reject> = refused_messages().iter().map(|message| refusal(address, local, message)).collect();
        general.say(&Message::Ping { nonce: 7 });
        assert_eq!(data.receive_command(CommandName::PONG), Message::Pong { nonce: 7 });
        rejects
    });
    let [theirs, ours] = replies;
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs, ours);
        assert_eq!((&theirs.message[..], theirs.code.0), (&b"createstrm"[..], 0x60));
    }
}

#[test]
fn a_late_stream_setup_closes_the_peer_at_the_node_and_at_us() {
    let Some(node) = Node::start() else { return };
    let ours = Ours::start();
    let late = [
        createstrm(ID, StreamType::Data1, POLICY),
        Message::StreamAck(StreamAck { association_id: ID, stream_type: StreamType::Data1 }),
    ];
    for message in late {
        let replies = [node.address(), ours.address].map(|address| {
            let mut wire = general(address);
            wire.say(&message);
            let Message::Reject(reject) = wire.receive_command(CommandName::REJECT) else { panic!("no reject") };
            assert!(wire.ends(), "the connection stayed open");
            reject
        });
        assert_eq!(replies[0], replies[1]);
        assert_eq!(replies[0].code.0, 0x40);
    }
}

#[test]
fn a_stream_from_another_host_is_rejected_alike_and_the_node_bans_that_host() {
    let Some(node) = Node::start() else { return };
    let ours = Ours::start();
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let message = createstrm(ID, StreamType::Data1, POLICY);
    let replies = [node.address(), ours.address].map(|address| {
        let _general = general(address);
        refusal(address, other, &message)
    });
    assert_eq!(replies[0], replies[1]);
    let banned: Value = node.json(&["listbanned"]);
    assert_eq!(banned[0]["address"], json!("127.0.0.2/32"), "{banned}");
}

#[test]
fn the_end_of_either_stream_is_the_peers_end_at_the_node_and_at_us() {
    let Some(node) = Node::start() else { return };
    let ours = Ours::start();
    for address in [node.address(), ours.address] {
        for closes_general in [true, false] {
            let (general, data) = (general(address), data1(address));
            let (closed, mut other) = if closes_general { (general, data) } else { (data, general) };
            drop(closed);
            assert!(other.ends(), "the other stream stayed open");
        }
    }
}

// --- The node as a misbehaving acceptor's peer ----------------------------------------------------------------------

/// A listener that the node has dialled, and the ready peer on its first connection.
fn dialled_by(node: &Node) -> (TcpListener, Wire, AssociationId) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    node.cli(&["addnode", &listener.local_addr().expect("the listener is bound").to_string(), "onetry"]);
    let mut general = Wire::new(listener.accept().expect("the node dials").0);
    let Message::Version(theirs) = general.receive() else { panic!("the first message is not a version") };
    let association_id = theirs.association_id.expect("the node offers an id");
    general.say(&version(association_id));
    general.receive_command(CommandName::VERACK);
    general.say(&Message::Verack);
    general.say(&protoconf());
    (listener, general, association_id)
}

#[test]
fn after_a_refused_or_closed_stream_the_node_does_not_retry_and_keeps_its_first_stream() {
    let Some(node) = Node::start() else { return };
    for rejects in [true, false] {
        let (listener, mut general, _) = dialled_by(&node);
        let mut data = Wire::new(listener.accept().expect("the node dials again").0);
        assert!(matches!(data.receive(), Message::CreateStrm(_)));
        if rejects {
            let reject = MessageRef::Reject(peerloop::wire::RejectRef {
                message: b"createstrm",
                code: peerloop::wire::RejectCode::STREAM_SETUP,
                reason: b"no",
                hash: None,
            });
            data.say(&reject.into_owned());
        }
        drop(data);
        listener.set_nonblocking(true).expect("the listener is open");
        thread::sleep(NO_RETRY);
        assert!(listener.accept().is_err(), "the node dialled again");
        general.say(&Message::Ping { nonce: 9 });
        assert_eq!(general.receive_command(CommandName::PONG), Message::Pong { nonce: 9 });
        drop(general);
        node.wait_for_no_peer();
    }
}

#[test]
fn the_end_of_either_stream_is_the_peers_end_for_a_node_that_dialled() {
    let Some(node) = Node::start() else { return };
    for closes_general in [true, false] {
        let (listener, general, association_id) = dialled_by(&node);
        let mut data = Wire::new(listener.accept().expect("the node dials again").0);
        data.receive();
        data.say(&Message::StreamAck(StreamAck { association_id, stream_type: StreamType::Data1 }));
        assert_two_streams(&node);
        let (closed, mut other) = if closes_general { (general, data) } else { (data, general) };
        drop(closed);
        assert!(other.ends(), "the other stream stayed open");
        node.wait_for_no_peer();
    }
}

// --- Many peers -----------------------------------------------------------------------------------------------------

/// The node uses `select`, so it holds about a thousand sockets.
const PEERS: usize = 400;
const HOLD: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn four_hundred_peers_with_two_streams_each_are_held_by_the_node() {
    let Some(node) = Node::start() else { return };
    hold(&node, PEERS, HOLD);
}

/// Holds `peers` peers with two streams each, and pings each once a second.
fn hold(node: &Node, peers: usize, hold: Duration) {
    let plan = Plan::new(vec![node.address()], peers, Rate::per_second(100))
        .with_rate(Rate::per_second(peers as u64), hold)
        .with_drain(Duration::from_secs(30));
    let config =
        config().with_multistreams(Multistreams::Open).with_pong_timeout(PATIENCE).with_handshake_timeout(PATIENCE);
    let mut reactor = Reactor::new(config, Generator::new(plan)).expect("the configuration is valid");
    let began = Instant::now();
    let mut held = None;
    while reactor.poll_once(Duration::from_millis(100)).expect("the poller works") {
        let stats = reactor.stats();
        if reactor.handler().phase() == Phase::Run && held.is_none() && stats.counters.streams_opened == peers as u64 {
            let seen = node.json(&["getpeerinfo"]);
            let with_two =
                seen.as_array().expect("the reply is a list").iter().filter(|peer| !peer["streams"][1].is_null());
            held = Some((with_two.count(), stats.links, stats.streams, stats.ready));
        }
        assert!(began.elapsed() < PATIENCE, "the run did not end in time: {:?}", reactor.handler());
    }
    assert_eq!(held, Some((peers, 2 * peers, peers, peers)));
    let report = reactor.into_handler().into_report();
    assert_eq!((report.peers.ready, report.peers.lost, report.peers.failed), (peers, 0, 0), "{:?}", report.failures);
    assert_eq!((report.streams_opened, report.stream_failures), (peers as u64, 0));
    assert_eq!((report.work.answered, report.work.timed_out), (report.work.planned, 0));
}
