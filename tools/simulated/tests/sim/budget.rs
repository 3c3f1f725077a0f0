//! The limits of a turn: no step uses up the time of another, and a paused peer is not read.

use peerloop::internals::limits::{
    ACCEPTS_PER_TURN, DIALS_PER_TURN, MAX_FLUSH_STEP, MAX_WRITTEN_PER_TURN_BYTES, SLICES_PER_WRITE,
};
use peerloop::sim::{Conditions, World};
use peerloop::time::{Instant, Wait};
use peerloop::{Ctx, Handler, PeerId, Reactor};
use peerloop_testkit::bytes::{commands, frame, ping, verack, version};
use peerloop_testkit::simulated::SlowHost;
use peerloop_testkit::simulated::{Player, RawPeer, Stage, config};
use std::net::SocketAddr;
use std::time::Duration;

/// Number of turns for which the listener and the dial queue each have enough work.
const BUSY_TURNS: usize = 20;
const PEERS: usize = 100;

#[test]
fn accepting_and_dialling_do_not_delay_reading() {
    let world = World::new(1, Instant::ZERO);
    let net = SlowHost::new(&world);
    let address = net.address();
    let player = Player {
        on_request: Some(|ctx| {
            for _ in 0..BUSY_TURNS * DIALS_PER_TURN {
                ctx.connect(([10, 9, 9, 9], 18_444).into()).unwrap();
            }
        }),
        ..Player::default()
    };
    let mut reactor = Reactor::with_net(config(), net, player).unwrap();
    reactor.listen(address).unwrap();
    let mut peers = ready_count(&world, address, &mut reactor, PEERS);
    let _newcomers: Vec<RawPeer> =
        (0..BUSY_TURNS * ACCEPTS_PER_TURN).map(|_| RawPeer::dialling(&world, address)).collect();
    reactor.handle().request(()).unwrap();
    for peer in &mut peers {
        peer.send(&ping());
    }
    for _ in 0..3 {
        reactor.poll_once(Duration::ZERO).unwrap();
    }
    let counters = reactor.stats().counters;
    assert_eq!(counters.pings_answered, PEERS as u64);
    assert!(
        counters.accepted < (PEERS + BUSY_TURNS * ACCEPTS_PER_TURN) as u64,
        "no more connections wait to be accepted"
    );
}

/// Length of a frame that the kernel would accept at once.
const GIANT_BYTES: usize = 4 << 20;

#[test]
fn a_giant_queue_is_sent_in_bounded_parts_without_another_event_and_delays_no_other_peer() {
    let world = World::new(1, Instant::ZERO);
    world.set_conditions(Conditions { capacity_bytes: 4 * GIANT_BYTES, ..Conditions::default() });
    let net = SlowHost::new(&world);
    let address = net.address();
    let player = Player {
        on_request: Some(|ctx| {
            let peers: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).collect();
            ctx.send_shared(peers[0], &frame("block", &vec![7; GIANT_BYTES - 24]).into()).unwrap();
            ctx.send_shared(peers[1], &frame("other", b"").into()).unwrap();
        }),
        ..Player::default()
    };
    let mut reactor = Reactor::with_net(config(), net, player).unwrap();
    reactor.listen(address).unwrap();
    let mut peers = ready_count(&world, address, &mut reactor, 2);
    peers.iter_mut().for_each(|peer| drop(peer.receive()));

    reactor.handle().request(()).unwrap();
    reactor.poll_once(Duration::ZERO).unwrap();
    assert_eq!(commands(&peers[1].receive()), ["other"]);
    let mut received = peers[0].receive();
    assert_eq!(received.len(), MAX_WRITTEN_PER_TURN_BYTES);
    while received.len() < GIANT_BYTES {
        assert_eq!(reactor.next_deadline(), Wait::Zero, "the loop waits although bytes remain");
        reactor.poll_once(Duration::ZERO).unwrap();
        let more = peers[0].receive();
        assert_eq!(more.len(), MAX_WRITTEN_PER_TURN_BYTES.min(GIANT_BYTES - received.len()));
        received.extend(more);
    }
    assert!(received == frame("block", &vec![7; GIANT_BYTES - 24]));
    assert_ne!(reactor.next_deadline(), Wait::Zero, "the loop does not wait although no work remains");
}

#[test]
fn sending_many_small_frames_stops_at_the_time_limit_and_continues_in_the_next_turn() {
    const WRITE_TIME: Duration = Duration::from_micros(200);
    const FRAMES: usize = 20 * SLICES_PER_WRITE;
    let world = World::new(1, Instant::ZERO);
    let mut net = SlowHost::new(&world);
    net.write_time = WRITE_TIME;
    let address = net.address();
    let player = Player {
        on_request: Some(|ctx| {
            let peer = ctx.peers().next().unwrap().id();
            (0..FRAMES).for_each(|_| ctx.send_shared(peer, &frame("small", b"").into()).unwrap());
        }),
        ..Player::default()
    };
    let mut reactor = Reactor::with_net(config(), net, player).unwrap();
    reactor.listen(address).unwrap();
    let mut peer = ready_count(&world, address, &mut reactor, 1).remove(0);
    peer.receive();

    reactor.handle().request(()).unwrap();
    let mut frames_seen = 0;
    while frames_seen < FRAMES {
        let began = world.now();
        reactor.poll_once(Duration::ZERO).unwrap();
        let took = world.now().since(began);
        assert!(took <= MAX_FLUSH_STEP + WRITE_TIME, "a turn took {took:?}");
        let more = commands(&peer.receive()).len();
        assert!(more > 0, "a turn sent nothing although frames remain");
        frames_seen += more;
    }
    assert_eq!(frames_seen, FRAMES);
}

fn ready_count(
    world: &World,
    address: SocketAddr,
    reactor: &mut Reactor<SlowHost, Player>,
    count: usize,
) -> Vec<RawPeer> {
    let mut peers: Vec<RawPeer> = (0..count).map(|_| RawPeer::dialling(world, address)).collect();
    for peer in &mut peers {
        peer.send(&version());
        peer.send(&verack());
    }
    while reactor.stats().ready < count {
        reactor.poll_once(Duration::ZERO).unwrap();
    }
    peers
}

/// A handler that spends the requested time on each request.
struct Slow {
    world: World,
    done: usize,
}

impl Handler for Slow {
    type Request = Duration;

    fn on_request(&mut self, _ctx: &mut Ctx<'_>, takes: Duration) {
        self.world.advance(takes);
        self.done += 1;
    }
}

#[test]
fn handling_slow_requests_stops_at_the_time_limit_and_continues_in_the_next_turn() {
    const TAKES: Duration = Duration::from_micros(700);
    let world = World::new(1, Instant::ZERO);
    let slow = Slow { world: world.clone(), done: 0 };
    let mut reactor = Reactor::with_net(config(), world.host(), slow).unwrap();
    (0..7).for_each(|_| reactor.handle().request(TAKES).unwrap());
    let mut done = Vec::new();
    while reactor.handler().done < 7 {
        reactor.poll_once(Duration::ZERO).unwrap();
        done.push(reactor.handler().done);
        assert!(done.len() < 10, "{done:?}");
        assert!(
            reactor.handler().done == 7 || reactor.next_deadline() == Wait::Zero,
            "the loop waits although requests remain"
        );
    }
    assert_eq!(done, [3, 6, 7], "a turn did not stop right after the request that reached two milliseconds");
}

#[test]
fn a_handler_that_pauses_a_peer_receives_the_rest_of_the_same_read_and_nothing_more() {
    let mut stage = Stage::new();
    stage.node.reactor.handler_mut().on_message = Some(|ctx, peer| ctx.pause(peer));
    let mut peer = stage.ready_peer();
    peer.send(&[frame("tx", &[1; 10]), frame("tx", &[2; 20]), frame("tx", &[3; 30])].concat());
    stage.settle();
    let lens = |stage: &Stage| stage.node.seen().messages.iter().map(|(_, _, len)| *len).collect::<Vec<_>>();
    assert_eq!(lens(&stage), [10, 20, 30]);
    peer.send(&frame("tx", &[4; 40]));
    stage.settle();
    assert_eq!(lens(&stage), [10, 20, 30], "a paused peer was read");
}
