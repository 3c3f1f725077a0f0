//! One scenario for each planted bug. Each scenario returns whether the bug's symptom shows. The scenario's assertions
//! must hold whether or not the loop has the bug.

use peerloop::config::{DialMode, ManagerConfig, Multistreams};
use peerloop::error::{CloseReason, Deadline};
use peerloop::internals::limits::{HANDSHAKE_TIMEOUT, MAX_SEND_QUEUE_BYTES, PULL_WAITING_BYTES};
use peerloop::peer::ConnectionType;
use peerloop::protocol::CommandName;
use peerloop::sim::{Conditions, Driver, Site, World};
use peerloop::store::KnownPeer;
use peerloop::time::Instant;
use peerloop::wire::MessageRef;
use peerloop::{Ctx, Event, Network, Reactor};
use peerloop_testkit::bytes::{commands, frame, frames, ping, verack, version};
use peerloop_testkit::simulated::SlowHost;
use peerloop_testkit::simulated::{Node, Player, RawPeer, Stage, TICK, config, secs};
use std::io;
use std::time::Duration;

/// EMFILE: too many open descriptors.
const NO_DESCRIPTORS: i32 = 24;
/// ECONNREFUSED: no listener.
const REFUSED: i32 = 111;

/// A user closes a peer that is already closed. The peer's slot now belongs to another peer.
pub(crate) fn a_stale_id_closes_the_next_peer_in_its_slot() -> bool {
    let mut stage = Stage::new();
    let mut first = stage.ready_peer();
    first.close();
    stage.settle();
    let stale = stage.node.closed().peer;
    let mut second = stage.ready_peer();
    assert_eq!(stage.node.seen().ready[2].slot(), stale.slot());
    stage.node.reactor.handle().close(stale).unwrap();
    stage.settle();
    second.receive();
    second.has_seen_end
}

/// One tick before a silent peer's handshake must be complete, another peer's traffic wakes the loop.
pub(crate) fn a_silent_peer_is_closed_before_its_deadline() -> bool {
    let mut stage = Stage::new();
    let mut numbered_peer = stage.ready_peer();
    let _silent = stage.peer();
    stage.run_for(HANDSHAKE_TIMEOUT - TICK);
    numbered_peer.send(&ping());
    stage.settle();
    let is_early = !stage.node.seen().closed.is_empty();
    stage.run_for(TICK);
    assert_eq!(stage.node.closed().reason, CloseReason::TimedOut(Deadline::Handshake));
    is_early
}

/// More bytes arrive at once than one read returns, and no bytes arrive later.
pub(crate) fn bytes_after_a_full_read_are_never_read() -> bool {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    peer.send(&frame("bulk", &vec![0; 100_000]));
    peer.send(&ping());
    stage.run_for(secs(1));
    commands(&peer.receive()) != ["pong"]
}

/// A handler dials again in the callback for a close.
pub(crate) fn a_redial_gets_the_slot_whose_close_is_being_reported() -> bool {
    let mut stage = Stage::new();
    let mut listener = RawPeer::new(&stage.world);
    stage.node.reactor.handler_mut().redials = Some(listener.listen());
    let mut peer = stage.ready_peer();
    peer.close();
    stage.settle();
    let seen = stage.node.seen();
    seen.dialled[0].slot() == seen.closed[0].peer.slot()
}

/// An accept fails because descriptors have run out, and no later connection makes the listener ready again.
pub(crate) fn a_connection_is_never_accepted_after_descriptors_ran_out() -> bool {
    let world = World::new(1, Instant::ZERO);
    let net = SlowHost::new(&world);
    let address = net.address();
    net.accept_errors.borrow_mut().push_back(io::Error::from_raw_os_error(NO_DESCRIPTORS));
    let mut reactor = Reactor::with_net(config(), net, Player::default()).unwrap();
    reactor.listen(address).unwrap();
    let _peer = RawPeer::dialling(&world, address);
    for _ in 0..60 {
        reactor.poll_once(Duration::ZERO).unwrap();
        world.advance(secs(1));
    }
    reactor.stats().counters.accepted == 0
}

/// One of three peers closes its connection.
pub(crate) fn the_loop_counts_fewer_links_than_are_open() -> bool {
    let mut stage = Stage::new();
    let _stays = stage.ready_peer();
    let mut leaves = stage.ready_peer();
    leaves.close();
    stage.settle();
    stage.node.reactor.stats().links != stage.node.reactor.net().open_connections()
}

/// A peer sends a second `version`, to which a `reject` is the only correct reply.
pub(crate) fn a_second_version_is_answered() -> bool {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    peer.send(&version());
    stage.settle();
    commands(&peer.receive()) != ["reject"]
}

/// A handler sends to a peer that reads nothing, until a send is refused or twice the limit is queued.
pub(crate) fn more_is_queued_than_the_limit() -> bool {
    const PART_BYTES: usize = 100_000;
    let player = Player {
        on_event: Some(|ctx, peer, event| {
            let part = frame("bulk", &[0; PART_BYTES]).into();
            let parts = 2 * MAX_SEND_QUEUE_BYTES / PART_BYTES;
            if matches!(event, Event::Ready { .. }) {
                let _ = (0..parts).try_for_each(|_| ctx.send_shared(peer, &part));
            }
        }),
        ..Player::default()
    };
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config(), player);
    let mut peer = RawPeer::dialling(&world, node.address);
    node.reactor.poll_once(Duration::ZERO).unwrap();
    peer.send(&version());
    peer.send(&verack());
    node.reactor.poll_once(Duration::ZERO).unwrap();
    node.reactor.handle().request(()).unwrap();
    node.reactor.poll_once(Duration::ZERO).unwrap();
    node.seen().waiting[0] > MAX_SEND_QUEUE_BYTES
}

/// A peer is silent while another one sends a ping in every turn.
pub(crate) fn a_silent_peer_outlives_its_deadline_while_another_sends() -> bool {
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config(), Player::default());
    let mut numbered_peer = RawPeer::dialling(&world, node.address);
    node.reactor.poll_once(Duration::ZERO).unwrap();
    numbered_peer.send(&version());
    numbered_peer.send(&verack());
    node.reactor.poll_once(Duration::ZERO).unwrap();
    let _silent = RawPeer::dialling(&world, node.address);
    for _ in 0..=HANDSHAKE_TIMEOUT.as_secs() {
        numbered_peer.send(&ping());
        node.reactor.poll_once(Duration::ZERO).unwrap();
        world.advance(secs(1));
    }
    node.seen().closed.is_empty()
}

/// A peer answers the keepalive ping with a nonce that it never received.
pub(crate) fn a_pong_with_an_unknown_nonce_is_reported() -> bool {
    let mut stage = Stage::new();
    let mut peer = stage.ready_peer();
    stage.run_for(config().ping_interval);
    let [(command, nonce)] = &frames(&peer.receive())[..] else { panic!("the peer did not receive exactly one frame") };
    assert_eq!(command, "ping");
    let guess = u64::from_le_bytes(nonce[..].try_into().unwrap()).wrapping_add(1);
    peer.send(&frame("pong", &guess.to_le_bytes()));
    stage.settle();
    stage.node.seen().pongs.contains(&guess)
}

/// A handler replies with two large messages and a ping. The peer answers the ping before it reads the second
/// message.
pub(crate) fn a_pong_to_a_ping_among_large_replies_does_not_count() -> bool {
    const TAKEN_BYTES: usize = 4_096;
    let reply = |ctx: &mut Ctx<'_>, peer| {
        for _ in 0..2 {
            let command = CommandName::new("bulk");
            ctx.send(peer, &MessageRef::Opaque { command, payload: &[0; 5 * TAKEN_BYTES] }).unwrap();
        }
        ctx.ping(peer, ctx.now()).unwrap();
    };
    let mut stage = Stage::with(config(), Player { on_message: Some(reply), ..Player::default() });
    stage.world.set_conditions(Conditions { capacity_bytes: TAKEN_BYTES, ..Conditions::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", &[]));
    let mut received = Vec::new();
    while received.len() < 5 * TAKEN_BYTES + 24 + 32 {
        stage.settle();
        received.extend(peer.receive());
    }
    peer.send(&frame("pong", &received[5 * TAKEN_BYTES + 48..][..8]));
    stage.settle();
    stage.node.reactor.stats().counters.pongs_unmatched > 0
}

/// A handler replies, and the kernel accepts the whole reply at once.
pub(crate) fn a_handler_is_not_called_after_its_reply_is_sent() -> bool {
    let reply = |ctx: &mut Ctx<'_>, peer| ctx.send(peer, &MessageRef::GetAddr).unwrap();
    let mut stage = Stage::with(config(), Player { on_message: Some(reply), ..Player::default() });
    let mut peer = stage.ready_peer();
    let before = stage.node.seen().writable;
    peer.send(&frame("question", &[]));
    stage.settle();
    assert_eq!(commands(&peer.receive()), ["getaddr"]);
    stage.node.seen().writable == before
}

/// A handler sends more than a peer reads at once and requests an offer of room; then the peer reads everything.
pub(crate) fn a_requested_offer_of_room_is_never_made() -> bool {
    let reply = |ctx: &mut Ctx<'_>, peer| {
        ctx.send_shared(peer, &frame("bulk", &[0; 2 * PULL_WAITING_BYTES]).into()).unwrap();
        ctx.pull(peer).unwrap();
    };
    let mut stage = Stage::with(config(), Player { on_message: Some(reply), ..Player::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", &[]));
    let mut received = 0;
    while received < 24 + 2 * PULL_WAITING_BYTES {
        stage.settle();
        received += peer.receive().len();
    }
    stage.settle();
    stage.node.seen().pulled == 0
}

/// A ping overtakes a marked message, and the kernel accepts all but the last ten bytes of that message.
pub(crate) fn a_mark_is_reported_before_its_message_is_written() -> bool {
    const TAKEN_BYTES: usize = 4_096;
    const MISSING_BYTES: usize = 10;
    let reply = |ctx: &mut Ctx<'_>, peer| {
        let (ping_bytes, marked) = (32, frame("marked", &7_u64.to_le_bytes()));
        let bulk_bytes = 5 * TAKEN_BYTES + MISSING_BYTES - ping_bytes - marked.len();
        ctx.send_shared(peer, &frame("bulk", &vec![0; bulk_bytes - 24]).into()).unwrap();
        ctx.send_marked(peer, &marked.into(), 7).unwrap();
        ctx.ping(peer, ctx.now()).unwrap();
    };
    let mut stage = Stage::with(config(), Player { on_message: Some(reply), ..Player::default() });
    stage.world.set_conditions(Conditions { capacity_bytes: TAKEN_BYTES, ..Conditions::default() });
    let mut peer = stage.ready_peer();
    peer.send(&frame("question", &[]));
    stage.settle();
    for _ in 0..4 {
        assert_eq!(peer.receive().len(), TAKEN_BYTES);
        stage.settle();
    }
    let is_early = !stage.node.seen().written.is_empty();
    assert_eq!(peer.receive().len(), TAKEN_BYTES);
    stage.settle();
    assert_eq!(stage.node.seen().written, [7]);
    is_early
}

/// The first dial fails because descriptors have run out. Any later dial would succeed.
pub(crate) fn a_peer_is_not_dialled_again_after_descriptors_ran_out() -> bool {
    let world = World::new(1, Instant::ZERO);
    let mut target = Node::new(&world, config(), Player::default());
    let manager = ManagerConfig::new(Network::Regtest).with_mode(DialMode::Fixed(vec![target.address]));
    let net = world.host();
    world.fail_once(net.host(), Site::Connect, NO_DESCRIPTORS, 1);
    let config = config().with_manager(manager);
    let mut reactor = Reactor::with_net(config, net, Player::default()).unwrap();
    Driver::new(&world).run_until(Instant::ZERO.plus(secs(60)), &mut [&mut reactor, &mut target.reactor]).unwrap();
    reactor.stats().ready == 0
}

/// The first dial is refused, and after this one failure the address counts as inaccessible. Any later dial would
/// succeed.
pub(crate) fn a_peer_is_not_dialled_again_once_it_is_inaccessible() -> bool {
    let world = World::new(1, Instant::ZERO);
    let mut target = Node::new(&world, config(), Player::default());
    let manager = ManagerConfig::new(Network::Regtest).with_max_retries(1);
    let net = world.host();
    world.fail_once(net.host(), Site::Connect, REFUSED, 1);
    let config = config().with_manager(manager);
    let mut reactor = Reactor::with_net(config, net, Player::default()).unwrap();
    reactor.remember(vec![KnownPeer::new(target.address, world.unix_time())], Vec::new());
    Driver::new(&world).run_until(Instant::ZERO.plus(secs(60)), &mut [&mut reactor, &mut target.reactor]).unwrap();
    reactor.stats().ready == 0
}

/// A timer is cancelled before it is due.
pub(crate) fn a_cancelled_timer_fires() -> bool {
    let mut stage = Stage::new();
    stage.node.reactor.handler_mut().on_request = Some(|ctx| {
        ctx.set_timer(7, ctx.now().plus(secs(1))).unwrap();
        assert!(ctx.cancel_timer(7));
    });
    stage.node.reactor.handle().request(()).unwrap();
    stage.run_for(secs(2));
    stage.node.seen().timers == [7]
}

/// The network resets the second stream of a peer.
pub(crate) fn a_peer_whose_second_stream_ended_stays_open() -> bool {
    let (world, mut acceptor, mut dialler) = two_streams();
    let links = acceptor.reactor.inspect().links;
    let stream = links.iter().find(|link| !link.is_peer).expect("there is a second stream").id;
    world.reset(acceptor.reactor.net().host(), stream);
    run(&world, &mut acceptor, &mut dialler);
    acceptor.reactor.stats().ready == 1
}

/// A peer opens a second stream.
pub(crate) fn a_stream_counts_as_an_accepted_peer() -> bool {
    let (_world, acceptor, _dialler) = two_streams();
    acceptor.reactor.stats().connections.of_type(ConnectionType::Inbound) == 2
}

/// Builds two loops with one peer that has two streams.
fn two_streams() -> (World, Node, Node) {
    let world = World::new(1, Instant::ZERO);
    let mut acceptor = Node::new(&world, config(), Player::default());
    let dialler_config = config().with_seed(Some(2)).with_multistreams(Multistreams::Open);
    let mut dialler = Node::new(&world, dialler_config, Player::dialling(acceptor.address));
    run(&world, &mut acceptor, &mut dialler);
    assert_eq!((acceptor.reactor.stats().streams, dialler.reactor.stats().streams), (1, 1));
    (world, acceptor, dialler)
}

fn run(world: &World, acceptor: &mut Node, dialler: &mut Node) {
    let until = world.now().plus(secs(1));
    Driver::new(world).run_until(until, &mut [&mut acceptor.reactor, &mut dialler.reactor]).unwrap();
}
