//! Harm to hosts and connections from outside: silence, resets, unreachable hosts, exhausted ports and
//! descriptors, and pauses.

use super::{ACCEPTOR, DIALLER, code, event, events, holding, hosts, pair, read, write};
use peerloop::internals::errno::{EADDRNOTAVAIL, ECONNRESET, EHOSTUNREACH, EMFILE, ENETUNREACH, ETIMEDOUT};
use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::sim::{Conditions, Driver, Route, World};
use peerloop::time::Instant;
use peerloop_testkit::simulated::{Node, Player, RawPeer, config, raw_link, secs};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn a_cut_is_silent_both_ways_and_loses_nothing() {
    let (world, mut dialler, mut acceptor) = pair(holding(8));
    write(&mut dialler, b"before").unwrap();
    events(&mut acceptor);
    world.cut(ACCEPTOR);
    assert_eq!(write(&mut dialler, b"after"), Ok(2), "the sender's kernel did not accept exactly two bytes");
    assert_eq!(write(&mut acceptor, b"answer"), Ok(6));
    assert_eq!((events(&mut dialler), events(&mut acceptor)), (vec![], vec![]));
    assert_eq!(read(&mut acceptor, 99), Ok(b"before".to_vec()), "the arrived bytes were not readable");
    assert_eq!(read(&mut acceptor, 99), Err(ErrorKind::WouldBlock));
    assert_eq!(events(&mut dialler), [], "an event was reported during the cut");
    dialler.shut_down_writing(raw_link());
    assert_eq!(events(&mut acceptor), []);
    world.heal(ACCEPTOR);
    assert_eq!(events(&mut dialler), event(true, true, false));
    assert_eq!(events(&mut acceptor), event(true, true, true));
    assert_eq!(read(&mut acceptor, 99), Ok(b"af".to_vec()));
    assert_eq!(read(&mut acceptor, 99), Ok(vec![]));
    assert_eq!(read(&mut dialler, 99), Ok(b"answer".to_vec()));
}

#[test]
fn room_is_reported_when_the_cut_is_healed() {
    let (world, mut dialler, mut acceptor) = pair(holding(4));
    write(&mut dialler, b"abcd").unwrap();
    write(&mut dialler, b"e").unwrap_err();
    world.cut(DIALLER);
    read(&mut acceptor, 9).unwrap();
    assert_eq!(events(&mut dialler), []);
    assert_eq!(
        write(&mut dialler, b"e"),
        Err(ErrorKind::WouldBlock),
        "a write did not block although no room was reported"
    );
    world.heal(DIALLER);
    assert_eq!(events(&mut dialler), event(false, true, false));
    assert_eq!(write(&mut dialler, b"e"), Ok(1));
}

#[test]
fn a_close_during_the_cut_is_seen_after_the_cut() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    world.cut(ACCEPTOR);
    acceptor.close(raw_link());
    assert_eq!(read(&mut dialler, 9), Err(ErrorKind::WouldBlock));
    world.heal(ACCEPTOR);
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(read(&mut dialler, 9), Ok(vec![]));
}

#[test]
fn a_reset_during_the_cut_arrives_after_the_cut() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    world.cut(ACCEPTOR);
    acceptor.reset(raw_link());
    assert_eq!((events(&mut dialler), read(&mut dialler, 9)), (vec![], Err(ErrorKind::WouldBlock)));
    world.heal(ACCEPTOR);
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(read(&mut dialler, 9), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_write_to_a_closed_endpoint_during_the_cut_is_answered_with_a_reset_after_the_cut() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    world.cut(ACCEPTOR);
    acceptor.close(raw_link());
    write(&mut dialler, b"anybody?").unwrap();
    world.heal(ACCEPTOR);
    assert_eq!(read(&mut dialler, 9), Err(ErrorKind::ConnectionReset));
}

#[test]
fn two_cut_hosts_are_silent_until_both_are_healed() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    world.cut(DIALLER);
    world.cut(ACCEPTOR);
    write(&mut dialler, b"a").unwrap();
    world.heal(DIALLER);
    assert_eq!(events(&mut acceptor), []);
    world.heal(ACCEPTOR);
    assert_eq!(events(&mut acceptor), event(true, true, false));
}

#[test]
fn a_dial_during_a_cut_is_pending_until_the_cut_is_healed() {
    let (world, mut dialler, mut acceptor, address) = hosts();
    world.cut(ACCEPTOR);
    dialler.connect(raw_link(), address, None).unwrap();
    world.advance(secs(100));
    assert_eq!((events(&mut dialler), events(&mut acceptor)), (vec![], vec![]));
    assert!(dialler.connected(raw_link()).unwrap().is_none());
    world.heal(ACCEPTOR);
    assert_eq!(events(&mut dialler), event(false, true, false));
    let _accepted = acceptor.accept(0).unwrap();
    world.advance(secs(100));
    assert_eq!(events(&mut dialler), [], "an established connection reported an event");
}

#[test]
fn an_unanswered_dial_times_out_in_the_kernel() {
    let (world, mut dialler, _acceptor, address) = hosts();
    world.cut(DIALLER);
    dialler.connect(raw_link(), address, None).unwrap();
    world.advance(secs(127) - Duration::from_nanos(1));
    assert_eq!(events(&mut dialler), []);
    world.advance(Duration::from_nanos(1));
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(code(dialler.connected(raw_link())), Some(ETIMEDOUT));
    world.heal(DIALLER);
    assert_eq!(events(&mut dialler), [], "the failed dial reported another event");
}

#[test]
fn a_middlebox_resets_both_endpoints() {
    let (world, mut dialler, mut acceptor) = pair(Conditions::default());
    assert!(world.reset(ACCEPTOR, raw_link()));
    for net in [&mut dialler, &mut acceptor] {
        assert_eq!(events(net), event(true, true, true));
        assert_eq!(code(net.read(raw_link(), &mut [0])), Some(ECONNRESET));
        net.close(raw_link());
    }
    assert!(!world.reset(ACCEPTOR, raw_link()), "the closed connection was reset again");
}

#[test]
fn a_close_with_a_reset_is_not_orderly() {
    let (_world, mut dialler, mut acceptor) = pair(Conditions::default());
    acceptor.reset(raw_link());
    assert_eq!(events(&mut dialler), event(true, true, true));
    assert_eq!(read(&mut dialler, 9), Err(ErrorKind::ConnectionReset));
    assert_eq!(acceptor.open_connections(), 0);
}

#[test]
fn each_broken_route_makes_dials_fail_with_its_own_error() {
    let (world, mut dialler, acceptor, address) = hosts();
    let (least, most) = (secs(2), secs(4));
    for (route, errno) in [(Route::Silent { least, most }, ETIMEDOUT), (Route::NoHost { least, most }, EHOSTUNREACH)] {
        world.set_route(acceptor.ip(), route);
        let mut took = Vec::new();
        for _ in 0..20 {
            let began = world.now();
            dialler.connect(raw_link(), address, None).unwrap();
            while !dialler.has_events() {
                world.advance(Duration::from_millis(50));
            }
            took.push(world.now().since(began));
            assert_eq!(events(&mut dialler), event(true, true, true));
            assert_eq!(code(dialler.connected(raw_link())), Some(errno));
            dialler.close(raw_link());
        }
        assert!(took.iter().all(|time| (least..=most + Duration::from_millis(50)).contains(time)), "{took:?}");
        assert_ne!(took.iter().min(), took.iter().max());
    }
    world.set_route(acceptor.ip(), Route::NoNetwork);
    assert_eq!(code(dialler.connect(raw_link(), address, None)), Some(ENETUNREACH));
    assert_eq!((dialler.open_connections(), world.open_descriptors(DIALLER)), (0, 2));
    world.set_route(acceptor.ip(), Route::Open);
    dialler.connect(raw_link(), address, None).unwrap();
    assert!(dialler.connected(raw_link()).unwrap().is_some());
}

#[test]
fn calls_fail_without_a_free_descriptor_and_closing_frees_one() {
    let (world, mut dialler, mut acceptor, address) = hosts();
    let [first, second, third] = [0, 1, 2].map(LinkId::from_u64);
    world.set_descriptor_limit(DIALLER, 4);
    dialler.connect(first, address, None).unwrap();
    dialler.connect(second, address, None).unwrap();
    assert_eq!(world.open_descriptors(DIALLER), 4);
    assert_eq!(code(dialler.connect(third, address, None)), Some(EMFILE));
    assert_eq!(code(dialler.listen(0, SocketAddr::new(dialler.ip(), 1))), Some(EMFILE));
    dialler.close(first);
    dialler.connect(third, address, None).unwrap();
    world.set_descriptor_limit(ACCEPTOR, 4);
    let (socket, _) = acceptor.accept(0).unwrap();
    assert_eq!(code(acceptor.accept(0).map(drop)), Some(EMFILE), "the accept did not fail at the descriptor limit");
    drop(socket);
    let accepted = acceptor.accept(0).unwrap();
    assert_eq!(world.open_descriptors(ACCEPTOR), 4);
    drop((accepted, acceptor));
    assert_eq!(
        world.open_descriptors(ACCEPTOR),
        2,
        "the accepted socket or the listener was not closed, or another descriptor was"
    );
}

#[test]
fn a_port_serves_one_connection_per_address_pair_and_is_reserved_for_a_minute_if_the_dialler_closes_first() {
    let (world, mut dialler, mut acceptor, address) = hosts();
    world.set_ports(40_000..=40_000);
    dialler.connect(raw_link(), address, None).unwrap();
    let (mut accepted, from) = acceptor.accept(0).unwrap();
    assert_eq!(from.port(), 40_000);
    let other = LinkId::from_u64(1);
    assert_eq!(code(dialler.connect(other, address, None)), Some(EADDRNOTAVAIL));
    assert_eq!((dialler.open_connections(), world.open_descriptors(DIALLER)), (1, 3));
    assert!(
        dialler.connect(other, address, Some([10, 1, 1, 1].into())).is_ok(),
        "a dial from another source address failed"
    );
    drop(acceptor.accept(0).unwrap());
    // The dialler closes first.
    dialler.close(raw_link());
    drop(accepted);
    assert_eq!(code(dialler.connect(raw_link(), address, None)), Some(EADDRNOTAVAIL));
    world.advance(secs(60));
    dialler.connect(raw_link(), address, None).unwrap();
    accepted = acceptor.accept(0).unwrap().0;
    // The acceptor closes first.
    drop(accepted);
    dialler.close(raw_link());
    dialler.connect(raw_link(), address, None).unwrap();
    // A reset reserves no port.
    drop(acceptor.accept(0).unwrap());
    dialler.reset(raw_link());
    assert!(dialler.connect(raw_link(), address, None).is_ok());
}

#[test]
fn a_paused_host_sees_the_events_of_its_pause_afterwards() {
    let world = World::new(1, Instant::ZERO);
    let mut node = Node::new(&world, config(), Player::default());
    let mut raw = RawPeer::new(&world);
    world.pause_host(node.reactor.net().host(), secs(30));
    raw.dial(node.address);
    let driver = Driver::new(&world);
    driver.run_until(Instant::ZERO.plus(secs(30) - Duration::from_nanos(1)), &mut [&mut node.reactor]).unwrap();
    assert_eq!(node.seen().opened, 0);
    driver.run_until(Instant::ZERO.plus(secs(30)), &mut [&mut node.reactor]).unwrap();
    assert_eq!(node.seen().opened, 1);
}
