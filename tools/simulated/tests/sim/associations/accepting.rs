//! The acceptor: the ids that it repeats, the streams that it adds, its routes, and its refusals.

use super::{
    DATA1, GENERAL, HOST, OTHER, Scene, UUID, UUID_TEXT, association_of, createstrm, id, inventory, names, ping, quiet,
    reject, version,
};
use crate::manager::support::{ManagedWorld, Stranger, manager};
use bytes::Bytes;
use peerloop::ban::BanReason;
use peerloop::config::Multistreams;
use peerloop::error::{CloseReason, LocalCause, Misbehavior};
use peerloop::peer::{ConnectionState, StreamPolicy};
use peerloop::protocol::CommandName;
use peerloop::wire::{Hash256, Header, Inventory, InventoryItem, MessageRef, StreamType};
use peerloop::{ControlEvent, Event, PeerId};
use peerloop_testkit::bytes::{frame, frames, protoconf, verack};
use peerloop_testkit::simulated::{Player, judge, secs};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const FOREIGN: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 9));

/// Returns the only ready peer of a scene.
fn peer_of(scene: &Scene) -> PeerId {
    let ready = scene.seen().ready;
    assert_eq!(ready.len(), 1, "not exactly one peer is ready");
    ready[0]
}

#[test]
fn an_offered_id_is_repeated_unless_streams_are_off_or_another_peer_has_it() {
    for (multistreams, offered, repeated, policies) in [
        (Multistreams::Accept, id(UUID), id(UUID), &b"\x15BlockPriority,Default"[..]),
        (Multistreams::Open, id(UUID), id(UUID), b"\x15BlockPriority,Default"),
        (Multistreams::Accept, vec![0], vec![0], b"\x15BlockPriority,Default"),
        (Multistreams::Accept, vec![], vec![0], b"\x15BlockPriority,Default"),
        (Multistreams::Off, id(UUID), vec![0], b"\x07Default"),
    ] {
        let mut scene = Scene::new(multistreams);
        scene.dial(GENERAL);
        let (said, _) = scene.ask(GENERAL, &version(&offered));
        assert_eq!((names(&said), association_of(&said[0].1)), (vec!["version", "verack", "protoconf"], repeated));
        assert!(said[2].1.ends_with(policies), "{multistreams:?}: {said:?}");
        scene.dial(OTHER);
        let (said, _) = scene.ask(OTHER, &version(&offered));
        assert_eq!(association_of(&said[0].1), [0], "the id of another peer was repeated");
    }
}

#[test]
fn a_createstrm_adds_a_stream_to_the_peer_and_the_connection_is_no_peer_any_more() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = peer_of(&scene);
    let seen = scene.seen();
    assert_eq!(seen.streams, [(peer, StreamType::Data1, StreamPolicy::BlockPriority)]);
    let closed = seen.closed.iter().map(|closed| (closed.reason, closed.state)).collect::<Vec<_>>();
    assert_eq!(closed, [(LocalCause::BecameStream.into(), ConnectionState::AwaitingHandshake)]);
    let stats = scene.node.reactor.stats();
    assert_eq!((stats.links, stats.streams, stats.ready, stats.counters.streams_opened), (2, 1, 1, 1));
    let (closed, addresses) = (seen.closed[0].peer, scene.act(|ctx| ctx.peers().count()));
    assert_eq!((addresses, scene.act(|ctx| ctx.peer(closed).is_none())), (1, true));
    let (streams, policy) = scene.act(|ctx| {
        let view = ctx.peer(peer).unwrap();
        (view.streams().collect::<Vec<_>>(), view.stream_policy())
    });
    assert_eq!((streams, policy), (vec![StreamType::General, StreamType::Data1], Some(StreamPolicy::BlockPriority)));
}

#[test]
fn the_streamack_is_the_streams_first_message_even_if_the_handler_sends_at_once() {
    let player = Player {
        on_event: Some(|ctx, peer, event| {
            if let Event::StreamOpened { .. } = event {
                ctx.send_shared(peer, &Bytes::from(frame("block", &[1; 100_000]))).unwrap();
                ctx.ping(peer, ctx.now()).unwrap();
            }
        }),
        ..Player::default()
    };
    let mut scene = Scene::with(quiet(), player);
    scene.handshake();
    let (said, _) = scene.open_stream(DATA1, 2, "BlockPriority");
    assert_eq!(names(&said), ["streamack", "ping", "block"]);
}

#[test]
fn a_peer_that_sends_on_data1_in_each_turn_is_still_read_on_its_first_stream() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    scene.stranger.send(GENERAL, &frame("mempool", &[]));
    for _ in 0..4 {
        scene.stranger.send(DATA1, &frame("headers", &[0]));
        scene.node.reactor.poll_once(Duration::ZERO).unwrap();
    }
    let commands: Vec<String> = scene.seen().messages.into_iter().map(|(_, command, _)| command).collect();
    assert_eq!(commands.iter().filter(|command| *command == "mempool").count(), 1, "{commands:?}");
    assert_eq!(commands[0], "headers", "the first stream was read before DATA1");
}

#[test]
fn a_createstrm_in_two_pieces_adds_the_stream_wherever_it_is_cut_and_bytes_after_its_policy_are_ignored() {
    let mut payload = [&id(UUID)[..], &[2, 13], b"BlockPriority"].concat();
    payload.extend(b"more");
    let bytes = frame("createstrm", &payload);
    for cut in 1..bytes.len() {
        let mut scene = Scene::new(Multistreams::Accept);
        scene.handshake();
        scene.dial(DATA1);
        assert_eq!(scene.ask(DATA1, &bytes[..cut]), (vec![], false));
        let (said, _) = scene.ask(DATA1, &bytes[cut..]);
        assert_eq!(names(&said), ["streamack"], "cut after {cut} bytes");
    }
}

#[test]
fn messages_on_any_stream_are_the_peers() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = peer_of(&scene);
    scene.stranger.send(DATA1, &[inventory("inv", 1), frame("sendhdrsen", &[])].concat());
    scene.settle();
    scene.stranger.send(GENERAL, &frame("block", &[1; 100]));
    scene.settle();
    let expected = [("inv", 37), ("sendhdrsen", 0), ("block", 100)];
    assert_eq!(scene.seen().messages, expected.map(|(command, len)| (peer, command.to_owned(), len)));
}

#[test]
fn pings_on_any_stream_are_answered_on_data1() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    assert_eq!(scene.ask(GENERAL, &ping(1)), (vec![], false));
    assert_eq!(scene.receive(DATA1).0, [("pong".to_owned(), 1_u64.to_le_bytes().to_vec())]);
    assert_eq!(scene.ask(DATA1, &ping(2)).0, [("pong".to_owned(), 2_u64.to_le_bytes().to_vec())]);
}

#[test]
fn while_a_body_is_fed_on_data1_pongs_use_the_first_stream() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = peer_of(&scene);
    let header = Header::of(CommandName::BLOCK, &[7; 200]);
    scene.act(|ctx| {
        ctx.begin_body(peer, &header).unwrap();
        ctx.feed_body(peer, &mut Bytes::from_static(&[7; 50])).unwrap();
    });
    scene.settle();
    assert_eq!(scene.ask(GENERAL, &ping(1)).0, [("pong".to_owned(), 1_u64.to_le_bytes().to_vec())]);
    scene.stranger.send(DATA1, &ping(2));
    assert_eq!(scene.receive(GENERAL).0, [("pong".to_owned(), 2_u64.to_le_bytes().to_vec())]);
    scene.act(|ctx| ctx.feed_body(peer, &mut Bytes::from_static(&[7; 150])).unwrap());
    assert_eq!(scene.receive(DATA1).0, [("block".to_owned(), vec![7; 200])]);
    assert_eq!(names(&scene.ask(GENERAL, &ping(3)).0), Vec::<&str>::new());
    assert_eq!(names(&scene.receive(DATA1).0), ["pong"]);
}

#[test]
fn messages_are_routed_by_the_policy_whichever_way_they_are_sent() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = peer_of(&scene);
    let of = |kind| Inventory::from_items([InventoryItem { kind, hash: Hash256::from_bytes([7; 32]) }]);
    let (txs, blocks) = (of(peerloop::wire::InventoryKind::TX), of(peerloop::wire::InventoryKind::BLOCK));
    scene.act(|ctx| {
        for items in [txs.as_ref(), blocks.as_ref()] {
            ctx.send(peer, &MessageRef::Inv(items)).unwrap();
            ctx.send(peer, &MessageRef::GetData(items)).unwrap();
            ctx.send(peer, &MessageRef::NotFound(items)).unwrap();
            let shared = ctx.encode(&MessageRef::Inv(items));
            ctx.send_shared(peer, &shared).unwrap();
        }
        ctx.send_shared(peer, &Bytes::from(frame("headers", &[0]))).unwrap();
        ctx.ping(peer, ctx.now()).unwrap();
    });
    assert_eq!(names(&scene.receive(GENERAL).0), ["inv", "getdata", "notfound", "inv", "notfound"]);
    assert_eq!(names(&scene.receive(DATA1).0), ["ping", "inv", "getdata", "inv", "headers"]);
}

#[test]
fn a_mark_on_data1_is_reported_as_the_peers() {
    // The invariant of marks knows only messages of the first stream.
    judge(false);
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = peer_of(&scene);
    scene.act(|ctx| ctx.send_marked(peer, &Bytes::from(frame("headers", &[0])), 5).unwrap());
    scene.settle();
    assert_eq!(scene.seen().written, [5]);
}

#[test]
fn a_pong_on_either_stream_answers_a_ping_and_is_the_peers_round_trip() {
    for link in [GENERAL, DATA1] {
        let mut scene = Scene::new(Multistreams::Accept);
        scene.with_two_streams();
        let peer = peer_of(&scene);
        let nonce = scene.act(|ctx| ctx.ping(peer, ctx.now()).unwrap());
        assert_eq!(scene.receive(DATA1).0, [("ping".to_owned(), nonce.to_le_bytes().to_vec())]);
        scene.run(secs(1));
        scene.stranger.send(link, &frame("pong", &nonce.to_le_bytes()));
        scene.settle();
        assert_eq!(scene.seen().pongs, [nonce]);
        let rtt = scene.act(|ctx| ctx.peer(peer).unwrap().info().last_rtt);
        assert_eq!(rtt, Some(secs(1)));
    }
}

#[test]
fn data1_is_read_before_the_first_stream_each_time() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    let peer = peer_of(&scene);
    for round in 1..4 {
        scene.act(|ctx| ctx.pause(peer));
        scene.stranger.send(GENERAL, &frame("mempool", &[]));
        scene.settle();
        scene.stranger.send(DATA1, &frame("getaddr", &[]));
        scene.settle();
        assert_eq!(scene.seen().messages.len(), 2 * (round - 1), "a paused peer was read");
        scene.act(|ctx| ctx.resume(peer));
        scene.settle();
        let commands: Vec<String> = scene.seen().messages.into_iter().map(|(_, command, _)| command).collect();
        assert_eq!(commands, ["getaddr", "mempool"].repeat(round));
    }
}

#[test]
fn a_stream_is_not_read_before_its_peers_handshake_is_complete() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.dial(GENERAL);
    scene.ask(GENERAL, &version(&id(UUID)));
    scene.dial(DATA1);
    let (said, _) = scene.ask(DATA1, &createstrm(&id(UUID), 2, "BlockPriority"));
    assert_eq!(names(&said), ["streamack"]);
    assert_eq!(scene.ask(DATA1, &inventory("inv", 2)), (vec![], false));
    assert_eq!((scene.seen().ready.len(), scene.seen().messages), (0, vec![]));
    scene.stranger.send(GENERAL, &[verack(), protoconf()].concat());
    scene.settle();
    assert_eq!(scene.seen().messages, [(peer_of(&scene), "inv".to_owned(), 37)]);
}

#[test]
fn every_refused_createstrm_is_answered_with_the_nodes_text_and_closes_only_its_own_connection() {
    let ours = id(UUID);
    let other = id(*b"fedcba9876543210");
    let not_found = "No node found with association ID 66656463-6261-3938-3736-353433323130";
    let cases: [(Vec<u8>, &str); 13] = [
        ([&other[..], &[2, 0]].concat(), not_found),
        (vec![0, 2, 0], "NULL association ID"),
        (vec![1, 0, 2, 0], "NULL association ID"),
        ([&[17, 1][..], &UUID, &[2, 0]].concat(), "Unsupported association ID type \x01"),
        (vec![5, 0, 1, 2, 3, 4, 2, 0], "Wrong number of bytes in UUID (4 != 16)"),
        ([&[130][..], &[0; 130], &[2, 0]].concat(), "Badly formatted message"),
        ([&ours[..], &[2, 3], b"Foo"].concat(), "Unknown stream policy name Foo"),
        ([&ours[..], &[3, 3], b"Foo"].concat(), "Unknown stream policy name Foo"),
        ([&ours[..], &[2, 65], &[b'F'; 65]].concat(), "Badly formatted message"),
        ([&ours[..], &[6, 0]].concat(), "StreamType out of range"),
        ([&ours[..], &[0, 0]].concat(), "StreamType out of range"),
        ([&ours[..], &[1, 0]].concat(), "Attempt to overwrite existing stream in move"),
        ([&ours[..], &[2, 13], b"BlockPriority"].concat(), "Attempt to overwrite existing stream in move"),
    ];
    for (payload, text) in
        cases.into_iter().chain([(vec![], "Badly formatted message"), (ours[..18].to_vec(), "Badly formatted message")])
    {
        let mut scene = Scene::new(Multistreams::Accept);
        scene.with_two_streams();
        scene.dial(OTHER);
        let (said, _) = scene.ask(OTHER, &frame("createstrm", &payload));
        assert_eq!(said, [reject("createstrm", 0x60, text)]);
        scene.run(secs(1));
        assert_eq!(scene.receive(OTHER), (vec![], true), "{text}: the connection stayed open");
        scene.stranger.close(OTHER);
        scene.run(secs(5));
        let closed = scene.seen().closed;
        assert_eq!(
            closed.iter().map(|closed| closed.reason).collect::<Vec<_>>(),
            [LocalCause::BecameStream.into(), LocalCause::StreamRefused.into()]
        );
        assert_eq!(names(&scene.ask(GENERAL, &ping(1)).0), Vec::<&str>::new());
        assert_eq!(names(&scene.receive(DATA1).0), ["pong"], "{text}: the peer's streams do not work");
    }
}

#[test]
fn without_streams_every_createstrm_is_refused_as_that_of_an_unknown_association() {
    let mut scene = Scene::new(Multistreams::Off);
    assert_eq!(scene.handshake(), [0]);
    let (said, _) = scene.open_stream(DATA1, 2, "BlockPriority");
    assert_eq!(said, [reject("createstrm", 0x60, &format!("No node found with association ID {UUID_TEXT}"))]);
}

#[test]
fn a_stream_setup_on_a_connection_in_use_closes_the_peer_with_all_its_streams() {
    for (command, text) in [("createstrm", "Invalid createstream scenario"), ("streamack", "Invalid streamack")] {
        for link in [GENERAL, DATA1] {
            let mut scene = Scene::new(Multistreams::Accept);
            scene.with_two_streams();
            scene.stranger.send(link, &frame(command, &[]));
            assert_eq!(scene.receive(GENERAL).0, [reject(command, 0x40, text)]);
            scene.run(secs(1));
            assert_eq!((scene.receive(GENERAL).1, scene.receive(DATA1).1), (true, true));
            [GENERAL, DATA1].into_iter().for_each(|link| scene.stranger.close(link));
            scene.run(secs(5));
            let reason = scene.seen().closed.last().unwrap().reason;
            assert_eq!(reason, CloseReason::Misbehaved(Misbehavior::LateStreamSetup));
            assert_eq!(scene.node.reactor.stats().links, 0);
        }
    }
}

#[test]
fn an_empty_policy_keeps_the_current_one_and_a_later_stream_may_change_it() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.handshake();
    assert_eq!(names(&scene.open_stream(DATA1, 2, "").0), ["streamack"]);
    assert_eq!(names(&scene.ask(GENERAL, &ping(1)).0), ["pong"], "the policy Default does not use DATA1");
    assert_eq!(names(&scene.open_stream(OTHER, 5, "BlockPriority").0), ["streamack"]);
    scene.stranger.send(GENERAL, &ping(2));
    assert_eq!(names(&scene.receive(DATA1).0), ["pong"]);
    let policies: Vec<StreamPolicy> = scene.seen().streams.into_iter().map(|(_, _, policy)| policy).collect();
    assert_eq!(policies, [StreamPolicy::Default, StreamPolicy::BlockPriority]);
}

#[test]
fn a_stream_from_another_host_is_refused_and_that_host_is_banned() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    stranger.dial_from(GENERAL, managed.address, Some(HOST));
    managed.settle();
    stranger.send(GENERAL, &[version(&id(UUID)), verack()].concat());
    managed.settle();
    stranger.receive(GENERAL);
    stranger.dial_from(DATA1, managed.address, Some(FOREIGN));
    managed.settle();
    stranger.send(DATA1, &createstrm(&id(UUID), 2, "BlockPriority"));
    managed.settle();
    let text = format!("Attempt to move stream between peers with different IPs: {FOREIGN} != {HOST}");
    assert_eq!(frames(&stranger.receive(DATA1).0), [reject("createstrm", 0x60, &text)]);
    managed.run(secs(3));
    let banned = managed.events().into_iter().find_map(|event| match event {
        ControlEvent::PeerBanned { host, reason, .. } => Some((host, reason)),
        _ => None,
    });
    assert_eq!(banned, Some((peerloop::address::Host::of(FOREIGN), BanReason::Misbehavior)));
    assert_eq!((managed.ready(), managed.ends()), (1, vec![Misbehavior::StreamFromOtherHost.into()]));
    stranger.dial_from(OTHER, managed.address, Some(FOREIGN));
    managed.settle();
    assert_eq!(managed.refusals().len(), 1, "the banned host was accepted");
}

#[test]
fn a_stream_uses_no_slot_and_does_not_count_towards_its_hosts_cap() {
    let mut managed = ManagedWorld::new(manager().with_max_per_host(2).with_max_peers(2).with_target_peers(1));
    let mut stranger = Stranger::new(&managed.world);
    stranger.dial_from(GENERAL, managed.address, Some(HOST));
    managed.settle();
    stranger.send(GENERAL, &[version(&id(UUID)), verack()].concat());
    managed.settle();
    for (link, stream_type) in (1..).zip(2..=5) {
        stranger.dial_from(link, managed.address, Some(HOST));
        managed.settle();
        stranger.send(link, &createstrm(&id(UUID), stream_type, ""));
        managed.settle();
        assert_eq!(frames(&stranger.receive(link).0)[0].0, "streamack", "stream type {stream_type}");
    }
    assert_eq!((managed.slots_in_use(), managed.node.stats().streams, managed.node.stats().links), (1, 4, 5));
    managed.welcome(&mut stranger, 7, Some(HOST));
    assert_eq!((managed.ready(), managed.slots_in_use()), (2, 2));
    managed.node.sweep();
    assert_eq!(managed.node.violations(), []);
}

#[test]
fn a_connection_over_capacity_can_still_become_a_stream() {
    let config = quiet().with_max_inbound(1);
    let mut scene = Scene::with(config, Player::default());
    scene.with_two_streams();
    let stats = scene.node.reactor.stats();
    assert_eq!((stats.links, stats.streams, stats.ready), (2, 1, 1));
    let over_capacity = peerloop::peer::ConnectionType::OverCapacity;
    assert_eq!(stats.connections.of_type(over_capacity), 0, "the stream still counts as over capacity");
}

#[test]
fn a_handler_that_closes_the_peer_while_a_stream_joins_leaves_nothing_behind() {
    let player = Player {
        on_event: Some(|ctx, _, event| {
            if let Event::Closed { reason: CloseReason::Local(LocalCause::BecameStream), .. } = event {
                let peers: Vec<PeerId> = ctx.peers().map(|view| view.id()).collect();
                peers.into_iter().for_each(|peer| ctx.abort(peer, peerloop::Disconnect::Done));
            }
        }),
        ..Player::default()
    };
    let mut scene = Scene::with(quiet(), player);
    scene.handshake();
    scene.open_stream(DATA1, 2, "BlockPriority");
    scene.run(secs(1));
    assert!(scene.receive(DATA1).1 && scene.receive(GENERAL).1, "a connection stayed open");
    let stats = scene.node.reactor.stats();
    assert_eq!((stats.links, stats.streams), (0, 0));
}
