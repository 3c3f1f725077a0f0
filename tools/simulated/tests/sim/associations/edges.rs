//! Effects on a peer of each of its streams, and moments at which several things happen at once.

use super::{DATA1, GENERAL, HOST, OTHER, Scene, UUID, createstrm, id, names, ping, quiet, reject, version};
use crate::manager::support::{ManagedWorld, Stranger, manager};
use bytes::Bytes;
use peerloop::api::{Chunk, Delivery};
use peerloop::config::Multistreams;
use peerloop::error::{CloseReason, Deadline};
use peerloop::load::Responder;
use peerloop::protocol::CommandName;
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Driver, RunOutcome, World};
use peerloop::time::Instant;
use peerloop::wire::Header;
use peerloop::{Ctx, Disconnect, Event, Handler, PeerId};
use peerloop_testkit::bytes::{frame, frames, protoconf, verack};
use peerloop_testkit::simulated::{Player, secs};
use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

/// Changes the setting of a running loop.
fn switch(scene: &mut Scene, multistreams: Multistreams) {
    let config = scene.node.reactor.reactor().config().clone().with_multistreams(multistreams);
    let pending = scene.node.reactor.handle().update_config(config).unwrap();
    scene.node.reactor.poll_once(Duration::ZERO).unwrap();
    pending.try_take().unwrap().expect("the loop has answered").unwrap();
}

/// A handler that wants one command in chunks and nothing else, and counts the cuts that it sees.
#[derive(Debug)]
struct Cuts {
    wanted: CommandName,
    count: usize,
}

impl Handler for Cuts {
    type Request = ();

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        if header.command == self.wanted { Delivery::Chunks } else { Delivery::Discard }
    }

    fn on_chunk(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, chunk: Chunk<'_>) {
        assert_eq!(chunk.header().command, self.wanted, "a chunk of another handler's message was delivered");
    }

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, event: Event<'_>) {
        self.count += usize::from(matches!(event, Event::BodyCut { .. }));
    }
}

#[test]
fn a_cut_is_reported_to_the_handler_of_a_pair_that_chose_chunks_on_that_stream() {
    for (on_general, on_data1, cuts) in [("block", "tx", [1, 1]), ("tx", "other", [0, 1]), ("other", "block", [1, 0])] {
        let world = World::new(1, Instant::ZERO);
        let [blocks, txs] = [CommandName::BLOCK, CommandName::TX].map(|wanted| Cuts { wanted, count: 0 });
        let mut node = Checked::new(&world, world.host(), quiet(), (blocks, txs)).unwrap();
        let address = node.listen((node.net().ip(), 18_444).into()).unwrap();
        let mut stranger = Stranger::new(&world);
        let run = |node: &mut Checked<(Cuts, Cuts)>, time: u64| {
            let until = world.now().plus(secs(time));
            assert_eq!(Driver::new(&world).run_until(until, &mut [node]).unwrap(), RunOutcome::TimeOver);
        };
        let hello = [version(&id(UUID)), verack(), protoconf()].concat();
        let partial = |command| frame(command, &[3; 1_000])[..24 + 40].to_vec();
        for (link, first) in [(GENERAL, hello), (DATA1, createstrm(&id(UUID), 2, "BlockPriority"))] {
            stranger.dial_from(link, address, Some(HOST));
            run(&mut node, 0);
            stranger.send(link, &first);
            run(&mut node, 0);
        }
        stranger.send(GENERAL, &partial(on_general));
        stranger.send(DATA1, &partial(on_data1));
        run(&mut node, 0);
        stranger.close(GENERAL);
        run(&mut node, 3);
        let (blocks, txs) = node.handler();
        assert_eq!([blocks.count, txs.count], cuts, "{on_general} on GENERAL, {on_data1} on DATA1");
        assert_eq!(node.violations(), []);
    }
}

#[test]
fn pings_without_a_pong_on_data1_are_seen_when_the_peer_closes_although_its_first_stream_ends_first() {
    thread_local! {
        static IN_FLIGHT: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let player = Player {
        on_event: Some(|ctx, peer, event| {
            if let Event::Closed { reason: CloseReason::ClosedByPeer, .. } = event {
                IN_FLIGHT.set(ctx.peer(peer).map(|view| view.pings_in_flight().count()));
            }
        }),
        ..Player::default()
    };
    let mut scene = Scene::with(quiet(), player);
    scene.with_two_streams();
    let peer = scene.seen().ready[0];
    scene.act(|ctx| (0..3).for_each(|_| _ = ctx.ping(peer, ctx.now()).unwrap()));
    assert_eq!(names(&scene.receive(DATA1).0), ["ping"; 3]);
    scene.stranger.close(GENERAL);
    scene.run(secs(3));
    assert_eq!(IN_FLIGHT.get(), Some(3));
}

#[test]
fn a_reject_explains_a_close_only_if_no_message_follows_it_on_any_stream() {
    for (follows, reason) in [(None, CloseReason::RejectedByPeer(0x10)), (Some(DATA1), CloseReason::ClosedByPeer)] {
        let mut scene = Scene::new(Multistreams::Accept);
        scene.with_two_streams();
        let (command, payload) = reject("tx", 0x10, "bad");
        scene.stranger.send(GENERAL, &frame(&command, &payload));
        scene.settle();
        if let Some(link) = follows {
            scene.stranger.send(link, &frame("mempool", &[]));
            scene.settle();
        }
        scene.stranger.close(GENERAL);
        scene.run(secs(3));
        assert_eq!(scene.seen().closed.last().unwrap().reason, reason);
    }
}

#[test]
fn a_peers_cost_is_that_of_all_its_streams() {
    let mut scene = Scene::with(quiet().with_measure_peers(true), Player::default());
    scene.with_two_streams();
    let peer = scene.seen().ready[0];
    let received = |scene: &mut Scene| scene.act(|ctx| ctx.peer(peer).unwrap().cost().unwrap().received_bytes);
    let before = received(&mut scene);
    let message = frame("headers", &[0; 1_000]);
    for (link, times) in [(GENERAL, 1), (DATA1, 2)] {
        scene.stranger.send(link, &message);
        scene.settle();
        assert_eq!(received(&mut scene), before + times * message.len() as u64);
    }
}

#[test]
fn pongs_may_be_late_while_a_large_payload_arrives_on_another_stream() {
    let player = Player { on_header: Some(|_, _| Delivery::Chunks), ..Player::default() };
    let mut scene = Scene::with(quiet(), player);
    scene.with_two_streams();
    let peer = scene.seen().ready[0];
    let block = frame("block", &[1; 5_000_000]);
    let mut parts = block.chunks(100_000);
    scene.stranger.send(GENERAL, parts.next().unwrap());
    scene.settle();
    scene.act(|ctx| _ = ctx.ping(peer, ctx.now()).unwrap());
    for part in parts {
        scene.run(secs(1));
        scene.stranger.send(GENERAL, part);
        scene.settle();
    }
    assert_eq!(scene.seen().closed.len(), 1, "the peer was closed while its payload arrived");
    scene.run(secs(29));
    assert_eq!(scene.seen().closed.len(), 1, "the timeout did not restart at the end of the payload");
    scene.run(secs(2));
    assert_eq!(scene.seen().closed[1].reason, CloseReason::TimedOut(Deadline::Pong));
}

#[test]
fn a_pause_applies_to_a_stream_that_joins_later() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.handshake();
    let peer = scene.seen().ready[0];
    scene.act(|ctx| ctx.pause(peer));
    scene.open_stream(DATA1, 2, "BlockPriority");
    [DATA1, GENERAL].into_iter().for_each(|link| scene.stranger.send(link, &frame("mempool", &[])));
    scene.run(secs(100));
    assert_eq!(scene.seen().messages, []);
    scene.act(|ctx| ctx.resume(peer));
    scene.settle();
    assert_eq!(scene.seen().messages.len(), 2);
}

#[test]
fn an_abort_ends_all_streams_of_a_peer_that_is_closing_already() {
    for first in [GENERAL, DATA1] {
        let mut scene = Scene::new(Multistreams::Accept);
        scene.with_two_streams();
        let peer = scene.seen().ready[0];
        let command = if first == GENERAL { "tx" } else { "block" };
        let unread = Bytes::from(frame(command, &[1; 1_900_000]));
        scene.act(|ctx| {
            ctx.send_shared(peer, &unread).unwrap();
            ctx.close(peer, Disconnect::Done);
        });
        scene.settle();
        assert_eq!(scene.node.reactor.stats().links, 2);
        scene.act(|ctx| ctx.abort(peer, Disconnect::Done));
        scene.settle();
        let stats = scene.node.reactor.stats();
        assert_eq!((stats.links, stats.streams, stats.waiting_bytes), (0, 0, 0), "{command} waited");
    }
}

#[test]
fn two_connections_that_ask_for_the_same_stream_at_once_leave_one_stream() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.handshake();
    [DATA1, OTHER].into_iter().for_each(|link| scene.dial(link));
    let request = createstrm(&id(UUID), 2, "BlockPriority");
    [DATA1, OTHER].into_iter().for_each(|link| scene.stranger.send(link, &request));
    scene.settle();
    let mut said = [DATA1, OTHER].map(|link| scene.receive(link).0);
    said.sort_by_key(|said| said[0].0.clone());
    let text = "Attempt to overwrite existing stream in move";
    assert_eq!((said[0].clone(), names(&said[1])), (vec![reject("createstrm", 0x60, text)], vec!["streamack"]));
    assert_eq!(scene.node.reactor.stats().streams, 1);
}

#[test]
fn an_id_is_free_again_once_its_peer_has_closed_and_names_no_later_peer() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.with_two_streams();
    [GENERAL, DATA1].into_iter().for_each(|link| scene.stranger.close(link));
    scene.run(secs(3));
    // Two other peers take the slots.
    for (link, uuid) in [(3, *b"third.peers.uuid"), (4, *b"fourth.peer.uuid")] {
        scene.dial(link);
        scene.ask(link, &[version(&id(uuid)), verack()].concat());
    }
    let (said, _) = scene.open_stream(OTHER, 2, "BlockPriority");
    let text = format!("No node found with association ID {}", super::UUID_TEXT);
    assert_eq!(said, [reject("createstrm", 0x60, &text)]);
    scene.dial(5);
    let (said, _) = scene.ask(5, &version(&id(UUID)));
    assert_eq!(super::association_of(&said[0].1), id(UUID));
}

#[test]
fn streams_may_be_switched_off_and_on_while_the_loop_runs() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.handshake();
    switch(&mut scene, Multistreams::Off);
    assert_eq!(names(&scene.open_stream(DATA1, 2, "BlockPriority").0), ["streamack"], "the peer's id was repeated");
    scene.dial(OTHER);
    let (said, _) = scene.ask(OTHER, &version(&id(*b"another id......")));
    assert_eq!(super::association_of(&said[0].1), [0]);
    switch(&mut scene, Multistreams::Accept);
    scene.dial(4);
    let (said, _) = scene.ask(4, &version(&id(*b"third id........")));
    assert_eq!(super::association_of(&said[0].1), id(*b"third id........"));
    scene.stranger.send(GENERAL, &ping(1));
    assert_eq!(names(&scene.receive(DATA1).0), ["pong"]);
}

#[test]
fn a_dial_that_was_begun_before_streams_were_switched_off_offers_no_id() {
    let mut scene = Scene::new(Multistreams::Open);
    let address = scene.stranger.listen();
    scene.act(|ctx: &mut Ctx<'_>| _ = ctx.connect(address).unwrap());
    switch(&mut scene, Multistreams::Off);
    scene.settle();
    assert!(scene.stranger.accept(GENERAL));
    let (said, _) = scene.receive(GENERAL);
    assert_eq!(super::association_of(&said[0].1), [0]);
    scene.ask(GENERAL, &[version(&[0]), verack(), protoconf()].concat());
    assert_eq!((scene.seen().ready.len(), scene.node.reactor.stats().streams), (1, 0));
}

#[test]
fn a_peer_of_a_version_without_pongs_may_have_two_streams() {
    let mut scene = Scene::new(Multistreams::Accept);
    scene.dial(GENERAL);
    let mut payload = version(&id(UUID))[24..].to_vec();
    payload[..4].copy_from_slice(&60_000_i32.to_le_bytes());
    scene.ask(GENERAL, &[frame("version", &payload), verack(), protoconf()].concat());
    assert_eq!(names(&scene.open_stream(DATA1, 2, "BlockPriority").0), ["streamack"]);
    for link in [GENERAL, DATA1] {
        scene.stranger.send(link, &ping(1));
        scene.settle();
        assert_eq!((scene.receive(GENERAL).0, scene.receive(DATA1).0), (vec![], vec![]), "a ping was answered");
    }
}

#[test]
fn a_shutdown_while_a_stream_is_set_up_leaves_nothing() {
    for is_connected in [false, true] {
        let mut scene = Scene::new(Multistreams::Open);
        let address = scene.stranger.listen();
        scene.act(|ctx: &mut Ctx<'_>| _ = ctx.connect(address).unwrap());
        scene.settle();
        assert!(scene.stranger.accept(GENERAL));
        let (said, _) = scene.receive(GENERAL);
        let offered = super::association_of(&said[0].1);
        scene.stranger.send(GENERAL, &[version(&offered), verack(), protoconf()].concat());
        if is_connected {
            scene.settle();
            assert!(scene.stranger.accept(DATA1), "no second connection was opened");
            assert_eq!(names(&scene.receive(DATA1).0), ["createstrm"]);
        } else {
            scene.node.reactor.poll_once(Duration::ZERO).unwrap();
        }
        assert_eq!(scene.node.reactor.stats().streams, 1);
        scene.node.reactor.handle().stop().unwrap();
        for _ in 0..2 {
            let until = scene.world.now().plus(secs(15));
            let outcome = Driver::new(&scene.world).run_until(until, &mut [&mut scene.node.reactor]).unwrap();
            if outcome == RunOutcome::AllEnded {
                break;
            }
            [GENERAL, DATA1].into_iter().for_each(|link| scene.stranger.close(link));
        }
        let stats = scene.node.reactor.stats();
        assert_eq!((stats.links, stats.streams, stats.counters.stream_failures), (0, 0, 0));
    }
}

#[test]
fn a_full_loop_evicts_nobody_for_a_connection_that_may_become_a_stream() {
    let config = manager().with_target_peers(1).with_max_peers(60).with_evict_inbound(true);
    let mut managed = ManagedWorld::new(config);
    let mut stranger = Stranger::new(&managed.world);
    for link in 0..60_u8 {
        let source = if link % 3 == 0 { [9, 9, 1, link] } else { [20 + link, 1, 1, 1] };
        stranger.dial_from(link.into(), managed.address, Some(IpAddr::from(source)));
        managed.settle();
        let uuid = [link; 16];
        stranger.send(link.into(), &[version(&id(uuid)), verack()].concat());
        managed.run(secs(1));
        stranger.receive(link.into());
    }
    assert_eq!(managed.ready(), 60);
    let source = Some(IpAddr::from([9, 9, 1, 0]));
    stranger.dial_from(100, managed.address, source);
    managed.settle();
    stranger.send(100, &createstrm(&id([0; 16]), 2, "BlockPriority"));
    managed.settle();
    assert_eq!(names(&frames(&stranger.receive(100).0)), ["streamack"]);
    assert_eq!((managed.count("peer_evicted"), managed.ready(), managed.slots_in_use()), (0, 60, 60));
    // The peer has its stream, so the host's next connection competes for a slot as usual.
    managed.welcome(&mut stranger, 101, source);
    assert_eq!((managed.count("peer_evicted"), managed.ready()), (1, 60));
}

#[test]
fn the_handler_sees_a_closed_peer_when_a_connection_becomes_a_stream_and_can_do_nothing_to_it() {
    thread_local! {
        static LISTED: Cell<usize> = const { Cell::new(0) };
    }
    let player = Player {
        on_event: Some(|ctx, peer, event| {
            if let Event::Closed { .. } = event {
                LISTED.set(ctx.peers().count());
                assert!(!ctx.peer(peer).expect("a closed peer can be seen in its last event").is_ready());
                assert!(ctx.send_shared(peer, &Bytes::from(frame("tx", &[1]))).is_err());
                ctx.pause(peer);
                ctx.close(peer, Disconnect::Done);
                ctx.abort(peer, Disconnect::Done);
            }
        }),
        ..Player::default()
    };
    let mut scene = Scene::with(quiet(), player);
    scene.with_two_streams();
    scene.stranger.send(DATA1, &ping(1));
    assert_eq!((LISTED.get(), names(&scene.receive(DATA1).0)), (2, vec!["pong"]));
    assert_eq!(scene.act(|ctx| ctx.peers().count()), 1);
}

#[test]
fn a_responder_counts_no_failed_handshake_for_a_connection_that_becomes_a_stream() {
    let world = World::new(1, Instant::ZERO);
    let mut node = Checked::new(&world, world.host(), quiet(), Responder::default()).unwrap();
    let address = node.listen((node.net().ip(), 18_444).into()).unwrap();
    let mut stranger = Stranger::new(&world);
    let hello = [version(&id(UUID)), verack(), protoconf()].concat();
    for (link, first) in [(GENERAL, hello), (DATA1, createstrm(&id(UUID), 2, "BlockPriority"))] {
        stranger.dial_from(link, address, Some(HOST));
        stranger.send(link, &first);
        let outcome = Driver::new(&world).run_until(world.now(), &mut [&mut node]).unwrap();
        assert_eq!(outcome, RunOutcome::TimeOver);
    }
    let stats = node.stats();
    let snapshot = node.handler().snapshot(stats.ready, &stats.counters);
    assert_eq!((snapshot.ready, snapshot.failed, snapshot.lost, stats.streams), (1, 0, 0, 1));
}
