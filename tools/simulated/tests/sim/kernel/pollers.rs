//! The kinds of pollers, checked call by call.

use super::{ACCEPTOR, DIALLER, LINK, event, events, holding, hosts, pair, read, write};
use peerloop::internals::id::LinkId;
use peerloop::internals::net::{Net, Readiness};
use peerloop::sim::{Conditions, Cut, Cuts, Driver, Poller, SimNet, World};
use peerloop::time::Instant;
use peerloop_testkit::simulated::{Node, Player, config, raw_link, secs};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

fn pair_with(poller: Poller, conditions: Conditions) -> (World, SimNet, SimNet) {
    let (world, dialler, acceptor) = pair(conditions);
    (0..2).for_each(|host| world.set_poller(host, poller));
    (world, dialler, acceptor)
}

/// Builds two hosts with `count` connections. A byte has arrived at the acceptor on each connection, and the acceptor's
/// poller has not reported it yet.
fn crowded(poller: Poller, count: u64) -> (World, SimNet, SimNet) {
    let (world, mut dialler, mut acceptor, address) = hosts();
    for link in (0..count).map(LinkId::from_u64) {
        dialler.connect(link, address, None).unwrap();
        let (socket, _) = acceptor.accept(0).unwrap();
        acceptor.attach(link, socket).unwrap();
    }
    while !events(&mut acceptor).is_empty() {}
    world.set_poller(ACCEPTOR, poller);
    for link in (0..count).map(LinkId::from_u64) {
        dialler.write(link, b"a").unwrap();
    }
    (world, dialler, acceptor)
}

#[test]
fn a_mean_poller_reports_no_new_data_before_the_old_is_read() {
    let (_world, mut dialler, mut acceptor) = pair_with(Poller::Mean, Conditions::default());
    write(&mut dialler, b"ab").unwrap();
    assert_eq!(
        events(&mut acceptor),
        event(true, false, false),
        "data was not reported, or room was reported without a waiting writer"
    );
    write(&mut dialler, b"cd").unwrap();
    assert_eq!(events(&mut acceptor), []);
    assert_eq!(read(&mut acceptor, 2), Ok(b"ab".to_vec()));
    write(&mut dialler, b"ef").unwrap();
    assert_eq!(events(&mut acceptor), [], "a read that filled its buffer rearmed the event");
    assert_eq!(read(&mut acceptor, 4), Ok(b"cdef".to_vec()));
    assert_eq!(events(&mut acceptor), []);
    assert_eq!(read(&mut acceptor, 4), Err(ErrorKind::WouldBlock));
    write(&mut dialler, b"g").unwrap();
    assert_eq!(events(&mut acceptor), event(true, false, false), "no event was reported after WouldBlock");
    assert_eq!(read(&mut acceptor, 4), Ok(b"g".to_vec()));
    write(&mut dialler, b"h").unwrap();
    assert_eq!(events(&mut acceptor), event(true, false, false), "no event was reported after a short read");
}

#[test]
fn a_mean_poller_reports_an_end_of_stream_that_arrives_after_reported_data() {
    let (_world, mut dialler, mut acceptor) = pair_with(Poller::Mean, Conditions::default());
    write(&mut dialler, b"ab").unwrap();
    assert_eq!(events(&mut acceptor), event(true, false, false));
    dialler.shut_down_writing(raw_link());
    assert_eq!(events(&mut acceptor), [], "an event was reported before the acceptor had read");
    assert_eq!(read(&mut acceptor, 9), Ok(b"ab".to_vec()));
    assert_eq!(events(&mut acceptor), event(true, true, true), "the end of the stream was not reported");
    assert_eq!(read(&mut acceptor, 9), Ok(vec![]));
    assert_eq!(events(&mut acceptor), []);
}

#[test]
fn a_mean_poller_reports_an_end_of_stream_once_if_it_arrives_with_data() {
    let (_world, mut dialler, mut acceptor) = pair_with(Poller::Mean, Conditions::default());
    write(&mut dialler, b"ab").unwrap();
    dialler.shut_down_writing(raw_link());
    assert_eq!(events(&mut acceptor), event(true, true, true));
    assert_eq!(read(&mut acceptor, 9), Ok(b"ab".to_vec()));
    assert_eq!(events(&mut acceptor), [], "the end of the stream was reported twice");
}

#[test]
fn a_mean_poller_reports_only_room_when_only_the_room_is_new() {
    let (_world, mut dialler, mut acceptor) = pair_with(Poller::Mean, holding(4));
    assert_eq!(write(&mut dialler, b"abcdef"), Ok(4));
    write(&mut acceptor, b"x").unwrap();
    assert_eq!(events(&mut dialler), event(true, false, false));
    read(&mut acceptor, 9).unwrap();
    assert_eq!(events(&mut dialler), event(false, true, false), "the event does not report exactly the new room");
    write(&mut dialler, b"ef").unwrap();
    read(&mut acceptor, 9).unwrap();
    assert_eq!(events(&mut dialler), []);
}

#[test]
fn a_mean_poller_reports_each_piece_that_arrives_after_a_short_read() {
    let to_acceptor = Cuts { arrivals: Cut::AtMost(2), writes: Cut::AtMost(3) };
    let (_world, mut dialler, mut acceptor) =
        pair_with(Poller::Mean, Conditions { to_acceptor, ..Conditions::default() });
    let (mut sent, mut received) = (0, Vec::new());
    let bytes: Vec<u8> = (0..100).collect();
    // Each side acts only on events, so the transfer stalls if an event is not reported.
    sent += write(&mut dialler, &bytes).unwrap();
    while received.len() < bytes.len() {
        let (writer, reader) = (events(&mut dialler), events(&mut acceptor));
        assert!(
            !writer.is_empty() || !reader.is_empty(),
            "no event was reported, although {} bytes are missing",
            100 - received.len()
        );
        if writer.iter().any(|event| event.writable) && sent < bytes.len() {
            sent += write(&mut dialler, &bytes[sent..]).unwrap();
        }
        if reader.iter().any(|event| event.readable) {
            received.extend(read(&mut acceptor, 50).unwrap());
        }
    }
    assert_eq!(received, bytes);
}

#[test]
fn a_mean_poller_reports_an_established_and_a_refused_dial() {
    let (world, mut dialler, acceptor, address) = hosts();
    world.set_poller(DIALLER, Poller::Mean);
    dialler.connect(raw_link(), address, None).unwrap();
    assert_eq!(events(&mut dialler), event(false, true, false));
    dialler.close(raw_link());
    dialler.connect(raw_link(), SocketAddr::new(acceptor.ip(), 9), None).unwrap();
    assert_eq!(events(&mut dialler), event(true, true, true));
}

#[test]
fn a_noisy_poller_reports_repeated_invented_and_stale_events() {
    let (world, mut dialler, mut acceptor) = pair_with(Poller::Noisy, Conditions::default());
    let (mut twice, mut invented, mut stale) = (0, 0, 0);
    for _ in 0..200 {
        write(&mut dialler, b"a").unwrap();
        let ready = events(&mut acceptor);
        assert_eq!(ready[..1], event(true, true, false), "the true event was not reported first");
        twice += usize::from(ready.len() > 1);
        read(&mut acceptor, 9).unwrap();
        let ready = events(&mut acceptor);
        invented += ready.len();
        if !ready.is_empty() {
            assert_eq!(read(&mut acceptor, 9), Err(ErrorKind::WouldBlock), "bytes or an end remained to be read");
        }
    }
    acceptor.close(raw_link());
    for _ in 0..100 {
        stale += events(&mut acceptor).iter().filter(|event| event.token == LINK).count();
    }
    assert!(
        twice > 20 && invented > 20 && stale > 10,
        "too few repeated ({twice}), invented ({invented}) or stale ({stale}) events"
    );
    world.set_poller(ACCEPTOR, Poller::Linux);
    assert_eq!(events(&mut acceptor), []);
}

#[test]
fn a_tiny_poller_reports_one_to_three_events_at_a_time_in_random_order() {
    let (_world, _dialler, mut acceptor) = crowded(Poller::Tiny, 50);
    let (mut tokens, mut sizes) = (Vec::new(), Vec::new());
    while acceptor.has_events() {
        let ready = events(&mut acceptor);
        sizes.push(ready.len());
        tokens.extend(ready.iter().map(|event| event.token));
    }
    assert!(sizes.iter().all(|size| (1..=3).contains(size)), "{sizes:?}");
    let in_order: Vec<u64> = (0..50).collect();
    assert_ne!(tokens, in_order);
    tokens.sort_unstable();
    assert_eq!(tokens, in_order);
}

#[test]
fn a_tiny_poller_delays_no_event_of_an_earlier_moment() {
    let (world, mut dialler, mut acceptor) = crowded(Poller::Tiny, 50);
    events(&mut acceptor);
    world.advance(Duration::from_nanos(1));
    dialler.write(LinkId::from_u64(0), b"b").unwrap();
    let ready: Vec<Readiness> = events(&mut acceptor);
    assert!(
        ready.len() >= 47,
        "only {} events were reported, although at least 47 were due from the earlier moment",
        ready.len()
    );
    assert_eq!(events(&mut acceptor), []);
}

#[test]
fn the_loop_keeps_its_peers_under_every_poller() {
    for poller in [Poller::Linux, Poller::Mean, Poller::Noisy, Poller::Tiny] {
        let world = World::new(3, Instant::ZERO);
        let cuts = || Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
        world.set_conditions(Conditions { capacity_bytes: 100, to_acceptor: cuts(), to_dialler: cuts() });
        let (first, pause) = (Instant::ZERO.plus(secs(1)), Duration::from_millis(100));
        let mut acceptor = Node::new(&world, config(), Player::default().pinging(first, pause, 50));
        let player = Player { dials: vec![acceptor.address; 20], ..Player::default() }.pinging(first, pause, 50);
        let mut dialler = Node::new(&world, config().with_seed(Some(2)), player);
        (0..2).for_each(|host| world.set_poller(host, poller));
        let until = Instant::ZERO.plus(secs(10));
        Driver::new(&world).run_until(until, &mut [&mut acceptor.reactor, &mut dialler.reactor]).unwrap();
        for seen in [acceptor.seen(), dialler.seen()] {
            assert_eq!((seen.ready.len(), seen.pings.len(), seen.closed.len()), (20, 1_000, 0), "{poller:?}");
            let (mut pings, mut pongs) = (seen.pings, seen.pongs);
            pings.sort_unstable();
            pongs.sort_unstable();
            assert_eq!(pings, pongs, "{poller:?}");
        }
    }
}
