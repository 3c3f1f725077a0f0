//! What one step of a turn takes leaves the others theirs.

use crate::host::SlowHost;
use crate::support::{Player, RawPeer, commands, config, frame, ping, verack, version};
use peerloop::limits::{
    ACCEPTS_PER_TURN, DIALS_PER_TURN, FLUSH_STEP_MAX, SLICES_PER_WRITE, WRITTEN_PER_TURN_MAX_BYTES,
};
use peerloop::sim::{Conditions, World};
use peerloop::time::{Instant, Wait};
use peerloop::{PeerId, Reactor};
use std::net::SocketAddr;
use std::time::Duration;

/// Turns for which both the listener and the dial queue have as much as a turn takes.
const BUSY_TURNS: usize = 20;
const PEERS: usize = 100;

#[test]
fn accepting_and_dialling_take_nothing_from_the_time_to_read() {
    let world = World::new(1, Instant::ZERO);
    let net = SlowHost::new(&world);
    let address = net.address();
    let player = Player {
        on_command: Some(|ctx| {
            for _ in 0..BUSY_TURNS * DIALS_PER_TURN {
                ctx.connect(([10, 9, 9, 9], 18_444).into()).unwrap();
            }
        }),
        ..Player::default()
    };
    let mut reactor = Reactor::with_net(config(), net, player).unwrap();
    reactor.listen(address).unwrap();
    let mut peers = ready_peers(&world, address, &mut reactor, PEERS);
    let _newcomers: Vec<RawPeer> =
        (0..BUSY_TURNS * ACCEPTS_PER_TURN).map(|_| RawPeer::dialling(&world, address)).collect();
    reactor.handle().command(()).unwrap();
    for peer in &mut peers {
        peer.send(&ping());
    }
    for _ in 0..3 {
        reactor.poll_once(Duration::ZERO).unwrap();
    }
    let counters = reactor.stats().counters;
    assert_eq!(counters.pings_answered, PEERS as u64);
    assert!(counters.accepted < (PEERS + BUSY_TURNS * ACCEPTS_PER_TURN) as u64, "accepting goes on");
}

/// A queue of this many bytes in one frame, which the kernel would take at once.
const GIANT_BYTES: usize = 4 << 20;

#[test]
fn a_giant_queue_leaves_in_bounded_parts_without_another_edge_and_others_do_not_wait_for_it() {
    let world = World::new(1, Instant::ZERO);
    world.set_conditions(Conditions { capacity_bytes: 4 * GIANT_BYTES, ..Conditions::default() });
    let net = SlowHost::new(&world);
    let address = net.address();
    let player = Player {
        on_command: Some(|ctx| {
            let peers: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).collect();
            ctx.send_shared(peers[0], &frame("block", &vec![7; GIANT_BYTES - 24]).into()).unwrap();
            ctx.send_shared(peers[1], &frame("other", b"").into()).unwrap();
        }),
        ..Player::default()
    };
    let mut reactor = Reactor::with_net(config(), net, player).unwrap();
    reactor.listen(address).unwrap();
    let mut peers = ready_peers(&world, address, &mut reactor, 2);
    peers.iter_mut().for_each(|peer| drop(peer.receive()));

    reactor.handle().command(()).unwrap();
    reactor.poll_once(Duration::ZERO).unwrap();
    assert_eq!(commands(&peers[1].receive()), ["other"]);
    let mut received = peers[0].receive();
    assert_eq!(received.len(), WRITTEN_PER_TURN_MAX_BYTES);
    while received.len() < GIANT_BYTES {
        assert_eq!(reactor.next_deadline(), Wait::Zero, "the rest waits for nothing");
        reactor.poll_once(Duration::ZERO).unwrap();
        let more = peers[0].receive();
        assert_eq!(more.len(), WRITTEN_PER_TURN_MAX_BYTES.min(GIANT_BYTES - received.len()));
        received.extend(more);
    }
    assert!(received == frame("block", &vec![7; GIANT_BYTES - 24]));
    assert_ne!(reactor.next_deadline(), Wait::Zero, "nothing is left to do");
}

#[test]
fn a_queue_of_many_small_frames_ends_with_the_time_of_its_step_and_goes_on_in_the_next_turn() {
    const WRITE_TIME: Duration = Duration::from_micros(200);
    const FRAMES: usize = 20 * SLICES_PER_WRITE;
    let world = World::new(1, Instant::ZERO);
    let mut net = SlowHost::new(&world);
    net.write_time = WRITE_TIME;
    let address = net.address();
    let player = Player {
        on_command: Some(|ctx| {
            let peer = ctx.peers().next().unwrap().id();
            (0..FRAMES).for_each(|_| ctx.send_shared(peer, &frame("small", b"").into()).unwrap());
        }),
        ..Player::default()
    };
    let mut reactor = Reactor::with_net(config(), net, player).unwrap();
    reactor.listen(address).unwrap();
    let mut peer = ready_peers(&world, address, &mut reactor, 1).remove(0);
    peer.receive();

    reactor.handle().command(()).unwrap();
    let mut frames_seen = 0;
    while frames_seen < FRAMES {
        let began = world.now();
        reactor.poll_once(Duration::ZERO).unwrap();
        let took = world.now().since(began);
        assert!(took <= FLUSH_STEP_MAX + WRITE_TIME, "a turn took {took:?}");
        let more = commands(&peer.receive()).len();
        assert!(more > 0, "the rest waits for nothing");
        frames_seen += more;
    }
    assert_eq!(frames_seen, FRAMES);
}

fn ready_peers(
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
