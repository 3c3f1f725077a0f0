//! One link per address: a second dial, two loops that dial each other simultaneously, and a loop that dials itself.

use super::support::{Claim, ManagedWorld, Stranger, Watcher, manager, nonce_of, port_of};
use peerloop::config::DialMode;
use peerloop::error::{CloseReason, LocalCause, RequestError};
use peerloop::peer::ConnectionType;
use peerloop::sim::{Driver, World};
use peerloop::store::PeerStatus;
use peerloop::time::Instant;
use peerloop_testkit::bytes::verack;
use peerloop_testkit::simulated::secs;
use std::net::SocketAddr;

fn asked(managed: &mut ManagedWorld, address: SocketAddr) -> Result<(), RequestError> {
    let answer = managed.node.handle().connect(address, None).unwrap();
    managed.settle();
    answer.wait().unwrap().map(|_| ())
}

#[test]
fn req_e31_a_second_dial_to_an_address_is_refused_at_any_stage_of_the_first() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    let theirs = stranger.listen();
    let first = managed.node.handle().connect(theirs, None).unwrap();
    let second = managed.node.handle().connect(theirs, None).unwrap();
    managed.settle();
    assert!(first.wait().unwrap().is_ok());
    assert_eq!(
        second.wait().unwrap(),
        Err(RequestError::AddressTaken),
        "the second dial was not refused while the first one was in progress"
    );
    assert!(stranger.accept(0));
    assert_eq!(
        asked(&mut managed, theirs),
        Err(RequestError::AddressTaken),
        "the dial was not refused during the handshake"
    );
    stranger.send(0, &Claim::default().handshake());
    managed.settle();
    assert_eq!((asked(&mut managed, theirs), managed.ready()), (Err(RequestError::AddressTaken), 1));
    stranger.close(0);
    managed.settle();
    assert!(stranger.accept(1), "the address was not dialled again, although it is in the book");
    stranger.stop_listening();
    stranger.reset(1);
    managed.run(secs(1));
    assert_eq!(
        (managed.slots_in_use(), asked(&mut managed, theirs)),
        (0, Ok(())),
        "a slot is in use, or the address in backoff could not be dialled on request"
    );
}

#[test]
fn req_e31_an_inbound_peer_is_not_dialled_at_its_listening_address() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    let theirs = stranger.listen();
    stranger.dial_from(0, managed.address, None);
    stranger.send(0, &Claim { port: theirs.port(), ..Claim::default() }.handshake());
    managed.run(secs(3_600));
    assert_eq!((asked(&mut managed, theirs), managed.ready()), (Err(RequestError::AddressTaken), 1));
    assert_eq!(managed.node.stats().counters.dialled, 0, "the connected peer's address was dialled");
    stranger.close(0);
    managed.run(secs(1));
    assert!(stranger.accept(1), "the address was not dialled after its connection had closed");
}

#[test]
fn req_e31_a_loop_announces_its_listening_port() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    managed.remember(&[stranger.listen()], PeerStatus::Unknown);
    managed.settle();
    assert!(stranger.accept(0));
    assert_eq!(port_of(&stranger.receive(0).0), managed.address.port());
}

/// Builds two managed loops in one world. Each loop has the other loop's address in its fixed list.
fn crossing() -> [ManagedWorld; 2] {
    let world = World::new(1, Instant::ZERO);
    let address = |host: u8| SocketAddr::from(([10, 0, 0, host], 18_444));
    [2, 1].map(|other: u8| {
        let config = manager().with_mode(DialMode::Fixed(vec![address(other)]));
        ManagedWorld::seeded(other.into(), world.clone(), config, Watcher::default())
    })
}

fn run(worlds: &mut [ManagedWorld; 2], time: std::time::Duration) {
    let [one, other] = worlds;
    let world = one.world.clone();
    Driver::new(&world).run_until(world.now().plus(time), &mut [&mut one.node, &mut other.node]).unwrap();
}

#[test]
fn threat_p18_two_loops_that_dial_each_other_simultaneously_keep_exactly_one_link() {
    let mut worlds = crossing();
    run(&mut worlds, secs(4 * 3_600));
    for managed in &worlds {
        assert_eq!(
            (managed.ready(), managed.slots_in_use(), managed.node.stats().links),
            (1, 1, 1),
            "{:?}",
            managed.events()
        );
    }
    let kept = |managed: &ManagedWorld| managed.node.inspect().links[0].connection_type;
    assert_eq!(
        worlds.each_ref().map(kept),
        [ConnectionType::Outbound, ConnectionType::Inbound],
        "the link dialled by the loop with the smaller address was not kept"
    );
    assert!(worlds[0].ends().len() <= 1, "{:?}", worlds[0].events());
    assert!(worlds[1].ends().len() <= 1, "{:?}", worlds[1].events());
    assert_eq!(worlds[1].known(worlds[0].address).status, PeerStatus::Unknown, "the address's status changed");
}

#[test]
fn threat_p18_the_closed_duplicate_does_not_prevent_a_dial_after_the_other_link_has_closed() {
    let mut worlds = crossing();
    run(&mut worlds, secs(60));
    worlds[0].node.handle().request(()).unwrap();
    run(&mut worlds, secs(60));
    assert_eq!((worlds[0].ready(), worlds[1].ready()), (1, 1));
    let kept = |managed: &ManagedWorld| managed.node.inspect().links[0].connection_type;
    assert_eq!(
        kept(&worlds[1]),
        ConnectionType::Outbound,
        "the loop with the larger address did not dial the new link"
    );
}

#[test]
fn threat_p18_a_second_link_from_a_peer_that_is_connected_is_closed() {
    let mut managed = ManagedWorld::new(manager());
    let mut stranger = Stranger::new(&managed.world);
    let claim = Claim { port: 18_444, receiver: Some(managed.address), ..Claim::default() };
    stranger.dial_from(0, managed.address, None);
    stranger.send(0, &claim.handshake());
    managed.run(secs(11));
    stranger.dial_from(1, managed.address, None);
    stranger.send(1, &claim.handshake());
    managed.settle();
    assert!(stranger.receive(1).1, "the second link was not closed");
    stranger.close(1);
    managed.run(secs(5));
    assert_eq!((managed.ready(), managed.ends()), (1, vec![LocalCause::Duplicate.into()]));
}

#[test]
fn threat_p18_links_whose_peers_name_no_port_are_limited_only_by_the_cap_per_host() {
    let mut managed = ManagedWorld::new(manager().with_max_per_host(3));
    let mut stranger = Stranger::new(&managed.world);
    (0..3).for_each(|link| managed.welcome(&mut stranger, link, None));
    stranger.dial_from(3, managed.address, None);
    managed.settle();
    assert_eq!((managed.ready(), managed.refusals().len()), (3, 1));
}

#[test]
fn threat_p17_a_loop_that_dials_itself_closes_both_ends_and_does_not_dial_the_address_for_a_day() {
    let mut managed = ManagedWorld::new(manager());
    let theirs = SocketAddr::from(([10, 0, 0, 2], 18_444));
    // Another host forwards this address's connections to the loop, so the loop does not know that the address is its
    // own.
    let mut alias = Stranger::new(&managed.world);
    assert_eq!(alias.listen(), theirs);
    managed.remember(&[theirs], PeerStatus::Unknown);
    managed.settle();
    assert!(alias.accept(0));
    let (version, _) = alias.receive(0);
    alias.dial_from(1, managed.address, None);
    alias.send(1, &version);
    managed.settle();
    assert!(alias.receive(0).1 && alias.receive(1).1, "an end of the self-connection stayed open");
    alias.close(0);
    alias.close(1);
    managed.run(secs(5));
    assert_eq!(managed.ends(), [CloseReason::Local(LocalCause::SelfConnection); 2]);
    managed.assert_nothing_remains();
    managed.run(secs(24 * 3_600 - 60));
    assert!(!alias.accept(2));
    assert_eq!(managed.known(theirs).failures, 0);
    managed.run(secs(120));
    assert!(alias.accept(2), "the address was not dialled again after a day");
}

#[test]
fn threat_p17_a_loop_does_not_dial_its_own_address() {
    let mut managed = ManagedWorld::new(manager());
    managed.remember(&[managed.address], PeerStatus::Valid);
    managed.run(secs(60));
    assert_eq!(managed.node.stats().counters.dialled, 0);
}

#[test]
fn threat_p17_a_replayed_nonce_closes_only_the_replaying_peer() {
    let mut managed = ManagedWorld::new(manager());
    let mut victim = Stranger::new(&managed.world);
    let mut liar = Stranger::new(&managed.world);
    managed.remember(&[victim.listen()], PeerStatus::Unknown);
    managed.settle();
    assert!(victim.accept(0));
    let nonce = nonce_of(&victim.receive(0).0);
    liar.dial_from(0, managed.address, None);
    liar.send(0, &Claim { nonce, ..Claim::default() }.version());
    managed.settle();
    assert!(liar.receive(0).1, "the replaying peer was not closed");
    liar.close(0);
    victim.send(0, &Claim::default().handshake());
    managed.run(secs(5));
    assert_eq!((managed.ready(), managed.ends()), (1, vec![LocalCause::SelfConnection.into()]));
    // The handshake is over, so the nonce no longer identifies a pending dial.
    liar.dial_from(1, managed.address, None);
    liar.send(1, &[Claim { nonce, ..Claim::default() }.version(), verack()].concat());
    managed.settle();
    assert_eq!(managed.ready(), 2);
}

#[test]
fn req_e31_one_remote_port_may_be_connected_to_two_of_our_listeners() {
    let mut managed = ManagedWorld::new(manager());
    let second = SocketAddr::new(managed.address.ip(), 18_445);
    managed.node.listen(second).unwrap();
    managed.world.set_ports(40_000..=40_000);
    let mut stranger = Stranger::new(&managed.world);
    managed.welcome(&mut stranger, 0, None);
    stranger.dial_from(1, second, None);
    stranger.send(1, &Claim::default().handshake());
    managed.settle();
    assert_eq!(managed.ready(), 2);
    assert_eq!(managed.report().claims.len(), 2);
    let host = stranger.net.ip();
    let done = managed.node.handle().ban(host, None).unwrap();
    managed.settle();
    assert_eq!(done.wait(), Ok(Ok(())));
    (0..2).for_each(|link| stranger.close(link));
    managed.run(secs(5));
    managed.assert_nothing_remains();
}
