//! The same seed gives the same run, call by call; a different seed gives a different run.

use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::sim::{Actor, Conditions, Cut, Cuts, Driver, Poller, Tape, World};
use peerloop::time::Instant;
use peerloop_testkit::simulated::{Node, Player, config, raw_link, secs};
use std::net::SocketAddr;
use std::time::Duration;

const PINGS: u32 = 500;

fn hash_of_a_run(seed: u64) -> (u64, u64) {
    hash_of_a_run_with(Tape::from_seed(seed))
}

/// Sends a thousand pings over a connection with random cuts. Returns the hash of the world's trace, and the number
/// of its entries.
fn hash_of_a_run_with(tape: Tape) -> (u64, u64) {
    let world = World::with_tape(tape, Instant::ZERO);
    let cuts = || Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
    world.set_conditions(Conditions { capacity_bytes: 100, to_acceptor: cuts(), to_dialler: cuts() });
    let (first, pause) = (Instant::ZERO.plus(secs(1)), Duration::from_millis(10));
    let mut acceptor = Node::new(&world, config(), Player::default().pinging(first, pause, PINGS));
    let player = Player::dialling(acceptor.address).pinging(first, pause, PINGS);
    let mut dialler = Node::new(&world, config().with_seed(Some(2)), player);
    world.set_poller(acceptor.reactor.net().host(), Poller::Noisy);
    world.set_poller(dialler.reactor.net().host(), Poller::Tiny);
    let until = Instant::ZERO.plus(secs(10));
    let actors: &mut [&mut dyn Actor] = &mut [&mut acceptor.reactor, &mut dialler.reactor];
    Driver::new(&world).run_until(until, actors).unwrap();
    for node in [&acceptor, &dialler] {
        let seen = node.seen();
        assert_eq!(seen.pings.len(), PINGS as usize);
        assert_eq!(seen.pings, seen.pongs);
    }
    let trace = world.trace();
    (trace.hash(), trace.calls())
}

#[test]
fn the_same_seed_repeats_a_run_and_a_different_seed_does_not() {
    let first = hash_of_a_run(7);
    assert_eq!(first, hash_of_a_run(7));
    assert_ne!(first.0, hash_of_a_run(8).0);
}

#[test]
fn a_recorded_tape_repeats_its_run() {
    let recording = Tape::recording(7);
    let first = hash_of_a_run_with(recording.clone());
    assert_eq!(first, hash_of_a_run(7), "recording changed the run");
    let text = recording.to_text();
    assert!(text.lines().count() >= 2, "{text}");
    assert_eq!(hash_of_a_run_with(Tape::parse(&text).unwrap()), first);
}

#[test]
fn a_run_with_an_empty_tape_makes_fewer_calls_than_a_random_one() {
    let quiet = hash_of_a_run_with(Tape::parse("").unwrap());
    assert!(quiet.1 < hash_of_a_run(7).1, "the random tape added no calls");
}

/// Returns the lengths of the pieces in which the second dialler's bytes arrive. If `first_sends`, the first dialler
/// sends bytes too.
fn pieces_of_the_second(first_sends: bool) -> Vec<usize> {
    let world = World::new(5, Instant::ZERO);
    let to_acceptor = Cuts { arrivals: Cut::Drawn, writes: Cut::None };
    world.set_conditions(Conditions { to_acceptor, ..Conditions::default() });
    let (mut acceptor, mut first, mut second) = (world.host(), world.host(), world.host());
    let address = acceptor.listen(0, SocketAddr::new(acceptor.ip(), 1)).unwrap();
    for (link, dialler) in [&mut first, &mut second].into_iter().enumerate() {
        dialler.connect(raw_link(), address, None).unwrap();
        let (socket, _) = acceptor.accept(0).unwrap();
        acceptor.attach(LinkId::from_u64(link as u64), socket).unwrap();
    }
    let (mut pieces, mut block) = (Vec::new(), vec![0; 1_000]);
    for _ in 0..50 {
        if first_sends {
            first.write(raw_link(), &[1; 100]).unwrap();
            acceptor.read(LinkId::from_u64(0), &mut block).unwrap();
        }
        second.write(raw_link(), &[2; 100]).unwrap();
        pieces.push(acceptor.read(LinkId::from_u64(1), &mut block).unwrap());
    }
    pieces
}

#[test]
fn one_hosts_random_choices_do_not_depend_on_another_host() {
    let pieces = pieces_of_the_second(true);
    assert!(pieces.iter().any(|len| *len != pieces[0]), "{pieces:?}");
    assert_eq!(pieces, pieces_of_the_second(false));
}
