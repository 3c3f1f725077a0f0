//! Dials that are established, refused, unanswered or aborted, and the first messages of a connection.

use peerloop::api::Event;
use peerloop::error::{CloseReason, Deadline, Disconnect, IoStep, NetworkFailure};
use peerloop::handler::Handler;
use peerloop::internals::errno::ECONNREFUSED;
use peerloop::internals::limits::DIALS_PER_TURN;
use peerloop::peer::ConnectionState;
use peerloop::sim::{Driver, World};
use peerloop::time::{Instant, Wait};
use peerloop::{Ctx, PeerId, Reactor};
use peerloop_testkit::bytes::{commands, frame, hex, ping, pong, verack, version};
use peerloop_testkit::simulated::SlowHost;
use peerloop_testkit::simulated::{Node, Player, RawPeer, Stage, config, secs};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn a_refused_dial_is_reported_as_closed_but_never_as_opened() {
    let world = World::new(1, Instant::ZERO);
    let nobody = SocketAddr::from(([10, 9, 9, 9], 18_444));
    let mut node = Node::new(&world, config(), Player::dialling(nobody));
    Driver::new(&world).run_until(Instant::ZERO, &mut [&mut node.reactor]).unwrap();
    let failure = NetworkFailure::new(IoStep::Connect, &io::Error::from_raw_os_error(ECONNREFUSED));
    let closed = node.closed();
    assert_eq!((closed.reason, closed.state), (CloseReason::Network(failure), ConnectionState::Connecting));
    assert_eq!((node.seen().opened, node.reactor.net().open_connections()), (0, 0));
}

#[test]
fn req_e21_an_unanswered_dial_is_closed_after_exactly_five_seconds() {
    let world = World::new(1, Instant::ZERO);
    world.set_backlog(0);
    let mut raw = RawPeer::new(&world);
    let mut node = Node::new(&world, config(), Player::dialling(raw.listen()));
    let driver = Driver::new(&world);
    driver.run_until(Instant::ZERO.plus(secs(5) - Duration::from_nanos(1)), &mut [&mut node.reactor]).unwrap();
    assert_eq!(node.seen().closed, []);
    driver.run_until(Instant::ZERO.plus(secs(5)), &mut [&mut node.reactor]).unwrap();
    let closed = node.closed();
    assert_eq!(closed.reason, CloseReason::TimedOut(Deadline::Connect));
    assert_eq!((closed.at, node.seen().opened), (Instant::ZERO.plus(secs(5)), 0));
    assert_eq!(node.reactor.net().open_connections(), 0);
}

#[test]
fn more_dials_than_a_turn_starts_or_a_backlog_holds_are_all_established() {
    let world = World::new(1, Instant::ZERO);
    world.set_backlog(7);
    let mut node = Node::new(&world, config(), Player::default());
    let count = 2 * DIALS_PER_TURN + 3;
    let player = Player { dials: vec![node.address; count], ..Player::default() };
    let mut dialler = Node::new(&world, config().with_seed(Some(2)), player);
    Driver::new(&world).run_until(Instant::ZERO, &mut [&mut node.reactor, &mut dialler.reactor]).unwrap();
    assert_eq!((node.seen().ready.len(), dialler.seen().ready.len()), (count, count));
}

#[test]
fn a_version_contains_the_wall_time_at_which_it_is_sent() {
    let world = World::new(1, Instant::from_nanos(77));
    let mut raw = RawPeer::new(&world);
    let mut node = Node::new(&world, config(), Player::dialling(raw.listen()));
    world.advance(Duration::from_millis(100_500));
    Driver::new(&world).run_until(world.now(), &mut [&mut node.reactor]).unwrap();
    raw.accept();
    let version = raw.receive().split_off(24);
    assert_eq!(i64::from_le_bytes(version[12..20].try_into().unwrap()), 1_700_000_100);
}

/// A handler that dials, and aborts the dial before it has a result, or closes the connection once it is established.
struct Fickle {
    address: SocketAddr,
    /// If set, the handler aborts the dial for this reason before it has a result.
    aborts_dial: Option<Disconnect>,
    closed: Vec<(CloseReason, ConnectionState)>,
}

impl Handler for Fickle {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        let peer = ctx.connect(self.address).unwrap();
        if let Some(disconnect) = self.aborts_dial {
            ctx.abort(peer, disconnect);
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Opened { .. } => ctx.close(peer, Disconnect::Done),
            Event::Closed { reason, state } => self.closed.push((reason, state)),
            other => panic!("an unexpected event: {other:?}"),
        }
    }
}

#[test]
fn a_dial_that_the_handler_aborts_is_closed_with_the_handlers_reason() {
    for disconnect in Disconnect::ALL {
        let world = World::new(1, Instant::ZERO);
        let mut raw = RawPeer::new(&world);
        let fickle = Fickle { address: raw.listen(), aborts_dial: Some(disconnect), closed: Vec::new() };
        let mut reactor = Reactor::with_net(config(), world.host(), fickle).unwrap();
        Driver::new(&world).run_until(Instant::ZERO, &mut [&mut reactor]).unwrap();
        assert_eq!(reactor.handler().closed, [(disconnect.into(), ConnectionState::Connecting)]);
    }
}

#[test]
fn a_peer_that_is_closed_as_soon_as_it_is_opened_receives_no_version() {
    let world = World::new(1, Instant::ZERO);
    let mut raw = RawPeer::new(&world);
    let fickle = Fickle { address: raw.listen(), aborts_dial: None, closed: Vec::new() };
    let mut reactor = Reactor::with_net(config(), world.host(), fickle).unwrap();
    let driver = Driver::new(&world);
    driver.run_until(Instant::ZERO, &mut [&mut reactor]).unwrap();
    raw.accept();
    assert_eq!((raw.receive(), raw.has_seen_end), (vec![], true));
    raw.close();
    driver.run_until(Instant::ZERO, &mut [&mut reactor]).unwrap();
    let reason = CloseReason::Requested(Disconnect::Done);
    assert_eq!(reactor.handler().closed, [(reason, ConnectionState::AwaitingHandshake)]);
}

#[test]
fn closed_dials_do_not_keep_the_loop_awake() {
    let world = World::new(1, Instant::ZERO);
    let player = Player {
        on_request: Some(|ctx| {
            for _ in 0..100 * DIALS_PER_TURN {
                let peer = ctx.connect(([10, 9, 9, 9], 18_444).into()).unwrap();
                ctx.abort(peer, Disconnect::Done);
            }
        }),
        ..Player::default()
    };
    let mut node = Node::new(&world, config(), player);
    node.reactor.handle().request(()).unwrap();
    node.reactor.poll_once(Duration::ZERO).unwrap();
    while node.reactor.stats().links > 0 {
        node.reactor.poll_once(Duration::ZERO).unwrap();
    }
    assert_eq!(node.seen().closed.len(), 100 * DIALS_PER_TURN);
    assert_ne!(node.reactor.next_deadline(), Wait::Zero, "closed dials are still queued");
}

#[test]
fn a_dials_timeout_does_not_include_the_wait_in_our_own_queue() {
    const DIALS: usize = 100 * DIALS_PER_TURN;
    let world = World::new(1, Instant::ZERO);
    let mut raw = RawPeer::new(&world);
    // The last dial waits more than a hundred milliseconds for the others. Each dial is established
    // as soon as it is started.
    let config = config().with_connect_timeout(Duration::from_millis(50));
    let player = Player { dials: vec![raw.listen(); DIALS], ..Player::default() };
    let journal = Rc::clone(&player.journal);
    let mut reactor = Reactor::with_net(config, SlowHost::new(&world), player).unwrap();
    for _ in 0..DIALS / DIALS_PER_TURN + 2 {
        reactor.poll_once(Duration::ZERO).unwrap();
    }
    assert!(world.now() > Instant::ZERO.plus(Duration::from_millis(100)));
    assert_eq!((journal.borrow().opened, reactor.stats().counters.timeouts), (DIALS, 0));
}

#[test]
fn req_e11_sendheaders_is_sent_with_the_first_bytes_after_the_peers_verack() {
    let sendheaders = hex("dab5bffa73656e646865616465727300000000005df6e0e2");
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    peer.send(&version());
    stage.settle();
    assert_eq!(commands(&peer.receive()), ["version", "verack", "protoconf"]);
    stage.run_for(secs(1));
    assert_eq!(peer.receive(), [], "a fourth message was sent before the peer's verack arrived");
    peer.send(&[verack(), ping()].concat());
    stage.settle();
    assert_eq!(peer.receive(), [sendheaders, pong()].concat());
}

#[test]
fn req_e11_a_peer_with_an_old_version_receives_no_sendheaders() {
    const OLD: [u8; 4] = 70_011_u32.to_le_bytes();
    let mut payload = version()[24..].to_vec();
    payload[..4].copy_from_slice(&OLD);
    let mut stage = Stage::new();
    let mut peer = stage.peer();
    peer.send(&[frame("version", &payload), verack()].concat());
    stage.settle();
    assert_eq!(commands(&peer.receive()), ["version", "verack", "protoconf"]);
    assert_eq!(stage.node.seen().ready.len(), 2);
}

#[test]
fn repeated_versions_are_counted() {
    let player = Player {
        on_request: Some(|ctx| {
            let repeated: Vec<u8> =
                ctx.peers().map(|peer| peer.connection().handshake().duplicate_versions()).collect();
            assert_eq!(repeated, [0, 2], "the repeated versions of the honest and the raw peer were miscounted");
        }),
        ..Player::default()
    };
    let mut stage = Stage::with(config(), player);
    let mut peer = stage.peer();
    for _ in 0..3 {
        peer.send(&version());
    }
    peer.send(&verack());
    stage.settle();
    assert_eq!(stage.node.seen().ready.len(), 2);
    assert_eq!(stage.node.reactor.stats().counters.duplicate_handshakes, 2);
    stage.node.reactor.handle().request(()).unwrap();
    stage.settle();
    stage.assert_honest_peer_is_unaffected();
}
