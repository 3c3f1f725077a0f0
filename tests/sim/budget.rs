//! What one step of a turn takes leaves the others theirs.

use crate::host::SlowHost;
use crate::support::{Player, RawPeer, config, ping, verack, version};
use peerloop::Reactor;
use peerloop::limits::{ACCEPTS_PER_TURN, DIALS_PER_TURN};
use peerloop::sim::World;
use peerloop::time::Instant;
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
    let mut peers: Vec<RawPeer> = (0..PEERS).map(|_| dialling(&world, address)).collect();
    for peer in &mut peers {
        peer.send(&version());
        peer.send(&verack());
    }
    while reactor.stats().ready < PEERS {
        reactor.poll_once(Duration::ZERO).unwrap();
    }

    let _newcomers: Vec<RawPeer> = (0..BUSY_TURNS * ACCEPTS_PER_TURN).map(|_| dialling(&world, address)).collect();
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

fn dialling(world: &World, address: SocketAddr) -> RawPeer {
    let mut peer = RawPeer::new(world);
    peer.dial(address);
    peer
}
