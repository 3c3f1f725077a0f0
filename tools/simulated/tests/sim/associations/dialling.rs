//! The dialler: the id that it offers, the stream that it opens, and its failures.

use super::{DATA1, GENERAL, OTHER, Scene, association_of, id, names, ping, quiet, reject, version};
use peerloop::config::Multistreams;
use peerloop::error::{CloseReason, Deadline, WireError};
use peerloop::peer::StreamPolicy;
use peerloop::protocol::CommandName;
use peerloop::wire::StreamType;
use peerloop::{Config, ControlEvent, Ctx, Event, PeerId};
use peerloop_testkit::bytes::{frame, protoconf, verack};
use peerloop_testkit::simulated::{Player, secs};

/// A scene whose node dials the stranger.
struct Dialled {
    scene: Scene,
    /// The encoded association id in the node's `version`.
    offered: Vec<u8>,
}

impl Dialled {
    fn new() -> Self {
        Self::with(quiet().with_multistreams(Multistreams::Open))
    }

    fn with(config: Config) -> Self {
        let mut scene = Scene::with(config, Player::default());
        let address = scene.stranger.listen();
        scene.act(|ctx: &mut Ctx<'_>| ctx.connect(address).unwrap());
        scene.settle();
        assert!(scene.stranger.accept(GENERAL), "the node did not dial");
        let (said, _) = scene.receive(GENERAL);
        assert_eq!(names(&said), ["version"]);
        let offered = association_of(&said[0].1);
        Self { scene, offered }
    }

    /// Completes the handshake with this association id and this `protoconf`.
    fn answer(&mut self, association: &[u8], protoconf: &[u8]) -> Vec<(String, Vec<u8>)> {
        self.scene.ask(GENERAL, &[&version(association)[..], &verack(), protoconf].concat()).0
    }

    /// Accepts the second connection and returns its first message.
    fn accept_stream(&mut self) -> Vec<(String, Vec<u8>)> {
        let offered = self.offered.clone();
        self.answer(&offered, &protoconf());
        assert!(self.scene.stranger.accept(DATA1), "the node opened no second connection");
        self.scene.receive(DATA1).0
    }

    fn peer(&self) -> PeerId {
        self.scene.seen().ready[0]
    }

    /// Asserts that the node opens no second connection now, and that the peer works.
    fn assert_single_stream(&mut self) {
        self.scene.settle();
        assert!(!self.scene.stranger.accept(OTHER), "the node opened another connection");
        assert_eq!(names(&self.scene.ask(GENERAL, &ping(1)).0), ["pong"]);
        let stats = self.scene.node.reactor.stats();
        assert_eq!((stats.links, stats.streams, stats.ready), (1, 0, 1));
    }
}

/// Returns a frame of `protoconf` with this list of policies.
fn policies(list: &str) -> Vec<u8> {
    let len = u8::try_from(list.len()).expect("the list is short");
    frame("protoconf", &[&[2, 0, 0, 0x20, 0, len][..], list.as_bytes()].concat())
}

#[test]
fn an_id_is_offered_only_by_a_loop_that_opens_streams_and_each_peer_gets_another_random_uuid() {
    for multistreams in [Multistreams::Off, Multistreams::Accept] {
        assert_eq!(Dialled::with(quiet().with_multistreams(multistreams)).offered, [0]);
    }
    let first = Dialled::new().offered;
    assert_eq!((first.len(), first[0], first[1], first[2 + 6] >> 4, first[2 + 8] >> 6), (18, 17, 0, 4, 2));
    let second = Dialled::with(quiet().with_multistreams(Multistreams::Open).with_seed(Some(9))).offered;
    assert_ne!(first, second);
}

#[test]
fn a_second_stream_is_opened_and_used_once_the_peer_has_agreed() {
    let mut dialled = Dialled::new();
    let offered = dialled.offered.clone();
    let expected = [&offered[..], &[2, 13], b"BlockPriority"].concat();
    assert_eq!(dialled.accept_stream(), [("createstrm".to_owned(), expected)]);
    assert_eq!(dialled.scene.seen().streams, [], "the stream was reported before its `streamack`");
    dialled.scene.stranger.send(DATA1, &frame("streamack", &[&offered[..], &[2]].concat()));
    dialled.scene.settle();
    let peer = dialled.peer();
    assert_eq!(dialled.scene.seen().streams, [(peer, StreamType::Data1, StreamPolicy::BlockPriority)]);
    dialled.scene.stranger.send(GENERAL, &ping(1));
    assert_eq!(names(&dialled.scene.receive(DATA1).0), ["pong"]);
    let stats = dialled.scene.node.reactor.stats();
    assert_eq!((stats.links, stats.streams, stats.counters.dialled), (2, 1, 1));
    assert_eq!(dialled.scene.seen().opened, 1, "the second connection was reported as a peer");
}

#[test]
fn no_second_stream_is_opened_without_an_id_or_a_common_policy_that_uses_it() {
    for (repeats, protoconf) in [
        (false, protoconf()),
        (true, policies("Default")),
        (true, policies("Other")),
        (true, frame("protoconf", &[1, 0, 0, 0x20, 0])),
        (true, vec![]),
    ] {
        let mut dialled = Dialled::new();
        let association = if repeats { dialled.offered.clone() } else { vec![0] };
        dialled.answer(&association, &protoconf);
        dialled.assert_single_stream();
    }
}

#[test]
fn a_peer_that_names_another_id_is_rejected() {
    let mut dialled = Dialled::new();
    let said = dialled.answer(&id(*b"another id......"), &[]);
    let text = "Badly formatted association ID: Mismatched association IDs";
    assert_eq!(said, [reject("version", 0x60, text)]);
    dialled.scene.run(secs(1));
    assert!(dialled.scene.receive(GENERAL).1, "the connection stayed open");
    dialled.scene.stranger.close(GENERAL);
    dialled.scene.run(secs(3));
    let error = WireError::BadValue { command: CommandName::VERSION };
    assert_eq!(dialled.scene.node.closed().reason, CloseReason::Wire(error));
}

/// Accepts the second connection, lets `fail` act on it, and returns the reason that the node reports.
fn failure(fail: impl FnOnce(&mut Scene, &[u8])) -> CloseReason {
    let mut dialled = Dialled::new();
    let subscription = dialled.scene.node.reactor.handle().subscribe_control_events(100).unwrap();
    dialled.scene.settle();
    dialled.accept_stream();
    let offered = dialled.offered.clone();
    fail(&mut dialled.scene, &offered);
    dialled.scene.run(secs(3));
    dialled.assert_single_stream();
    let stats = dialled.scene.node.reactor.stats();
    assert_eq!((stats.counters.stream_failures, stats.counters.streams_opened), (1, 0));
    assert_eq!(dialled.scene.seen().closed, [], "a failed stream was reported as a peer");
    dialled.scene.run(secs(600));
    dialled.assert_single_stream();
    let mut reasons = Vec::new();
    while let Ok(Some(received)) = subscription.try_recv() {
        if let peerloop::Received::Item(ControlEvent::StreamFailed { reason, .. }) = received {
            reasons.push(reason);
        }
    }
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons[0]
}

#[test]
fn a_stream_that_fails_is_reported_and_not_tried_again_and_the_peer_stays() {
    let refused = |scene: &mut Scene, _: &[u8]| {
        let (_, payload) = reject("createstrm", 0x60, "No node found with association ID 0");
        scene.stranger.send(DATA1, &frame("reject", &payload));
        scene.settle();
        scene.stranger.close(DATA1);
    };
    assert_eq!(failure(refused), CloseReason::RejectedByPeer(0x60));
    assert_eq!(failure(|scene, _| scene.stranger.close(DATA1)), CloseReason::ClosedByPeer);
    let late = |scene: &mut Scene, _: &[u8]| {
        scene.run(secs(59) - std::time::Duration::from_millis(1));
        assert_eq!(scene.node.reactor.stats().streams, 1, "the stream was closed early");
    };
    assert_eq!(failure(late), CloseReason::TimedOut(Deadline::Handshake));
    let bad_value = CloseReason::Wire(WireError::BadValue { command: CommandName::STREAMACK });
    let other_type = |scene: &mut Scene, id: &[u8]| {
        scene.stranger.send(DATA1, &frame("streamack", &[id, &[3]].concat()));
    };
    assert_eq!(failure(other_type), bad_value);
    let other_id = |scene: &mut Scene, _: &[u8]| {
        scene.stranger.send(DATA1, &frame("streamack", &[&id(*b"another id......")[..], &[2]].concat()));
    };
    assert_eq!(failure(other_id), bad_value);
    let flood = |scene: &mut Scene, _: &[u8]| scene.stranger.send(DATA1, &ping(1).repeat(17));
    assert_eq!(failure(flood).label(), "handshake_flood");
}

#[test]
fn a_dial_that_is_refused_and_a_full_table_are_failures_of_the_stream_too() {
    let mut dialled = Dialled::new();
    dialled.scene.stranger.stop_listening();
    let offered = dialled.offered.clone();
    dialled.answer(&offered, &protoconf());
    dialled.scene.run(secs(6));
    assert_eq!(dialled.scene.node.reactor.stats().counters.stream_failures, 1);
    assert_eq!(names(&dialled.scene.ask(GENERAL, &ping(1)).0), ["pong"]);

    let mut dialled = Dialled::with(quiet().with_multistreams(Multistreams::Open).with_max_links(1));
    let offered = dialled.offered.clone();
    dialled.answer(&offered, &protoconf());
    dialled.assert_single_stream();
    assert_eq!(dialled.scene.node.reactor.stats().counters.stream_failures, 1);
}

#[test]
fn a_peer_that_closes_while_its_stream_is_set_up_takes_the_stream_with_it() {
    let mut dialled = Dialled::new();
    dialled.accept_stream();
    dialled.scene.stranger.close(GENERAL);
    dialled.scene.run(secs(3));
    assert!(dialled.scene.receive(DATA1).1, "the second connection stayed open");
    let stats = dialled.scene.node.reactor.stats();
    assert_eq!((stats.links, stats.streams, stats.counters.stream_failures), (0, 0, 0));
    assert_eq!(dialled.scene.node.closed().reason, CloseReason::ClosedByPeer);
}

#[test]
fn a_second_stream_uses_the_source_address_of_the_first() {
    let mut scene = Scene::with(quiet().with_multistreams(Multistreams::Open), Player::default());
    let address = scene.stranger.listen();
    scene.act(|ctx: &mut Ctx<'_>| ctx.connect_from(super::HOST, address).unwrap());
    scene.settle();
    let mut sources = Vec::new();
    for link in [GENERAL, DATA1] {
        let accepted = peerloop::internals::net::Net::accept(&mut scene.stranger.net, 0);
        let (socket, from) = accepted.expect("the node dials");
        let id = peerloop::internals::id::LinkId::from_u64(link);
        peerloop::internals::net::Net::attach(&mut scene.stranger.net, id, socket).unwrap();
        sources.push(from.ip());
        if link == GENERAL {
            let (said, _) = scene.receive(GENERAL);
            let offered = association_of(&said[0].1);
            scene.ask(GENERAL, &[version(&offered), verack(), protoconf()].concat());
        }
    }
    assert_eq!(sources, [super::HOST; 2]);
}

#[test]
fn the_handler_may_close_the_peer_when_its_stream_opens() {
    let player = Player {
        on_event: Some(|ctx, peer, event| {
            if let Event::StreamOpened { .. } = event {
                ctx.close(peer, peerloop::Disconnect::Done);
            }
        }),
        ..Player::default()
    };
    let mut scene = Scene::with(quiet(), player);
    scene.handshake();
    assert_eq!(names(&scene.open_stream(DATA1, 2, "BlockPriority").0), ["streamack"]);
    scene.run(secs(1));
    assert!(scene.receive(GENERAL).1 && scene.receive(DATA1).1);
}
