//! The simulated peers themselves: honest peers connected to the real loop, their complaints about a faulty loop, and
//! the methods of [`Line`].

use crate::keen::{PORT, address_of, crowd, node, run};
use peerloop::sim::actor::{End, Honest, Journal, Line, Persona, Profile, Role, Tally, Wrong};
use peerloop::sim::{Conditions, Cut, Cuts, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes::{REGTEST, frame, header, hex};
use peerloop_testkit::simulated::{config, secs};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Connects 20 honest peers to the loop, connects the loop to 20 other honest peers, and runs all of them for a minute.
/// Returns the peers' tally. Asserts that no peer complains and that no connection is closed before the loop ends.
fn a_minute_with_honest_peers(conditions: Conditions) -> Tally {
    let world = World::new(1, Instant::ZERO);
    world.set_conditions(conditions);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(3)));
    let mut peers = crowd(&world);
    let accepting = Rc::clone(&profile);
    let there = peers.listen(PORT, move |_| Honest::new(&accepting).into()).unwrap();
    let config = config().with_ping_interval(secs(5));
    let mut node = node(&world, config, vec![there; 20]);
    let here = address_of(&node);
    let dialling = Rc::clone(&profile);
    peers.dial_many(here, Instant::ZERO, Duration::from_millis(10), 20, move |_| Honest::new(&dialling).into());
    run(&world, secs(60), &mut [&mut node, &mut peers]);
    assert_eq!(journal.complaints(), []);
    assert_eq!((node.handler().ready, node.stats().ready, peers.len()), (40, 40, 40));
    assert_eq!(node.handler().closed, []);
    drop(node);
    run(&world, Duration::ZERO, &mut [&mut peers]);
    assert!(peers.is_empty());
    journal.tally()
}

#[test]
fn honest_peers_are_kept_in_both_directions() {
    let tally = a_minute_with_honest_peers(Conditions::default());
    assert_eq!((tally.opened, tally.ready, tally.complaints, tally.closed), (40, 40, 0, 40));
    assert_eq!(
        tally.pings_answered,
        21 * 12 + 19 * 11,
        "the answered pings are not 12 per peer ready at the start and 11 per other peer"
    );
    assert!((40 * 19..=40 * 21).contains(&tally.pings_sent), "{tally:?}");
    assert_eq!(tally.pings_sent, tally.pongs);
    assert_eq!((tally.torn, tally.failed), (0, 0));
}

#[test]
fn split_streams_and_tiny_pipes_change_nothing_for_honest_peers() {
    let smooth = a_minute_with_honest_peers(Conditions::default());
    let cuts = |cut: &Cut| Cuts { writes: cut.clone(), arrivals: cut.clone() };
    for (capacity_bytes, cut) in [(1, Cut::None), (7, Cut::AtMost(3)), (100_000, Cut::AtMost(1)), (4_096, Cut::Drawn)] {
        let (to_acceptor, to_dialler) = (cuts(&cut), cuts(&cut));
        let rough = a_minute_with_honest_peers(Conditions { capacity_bytes, to_acceptor, to_dialler });
        assert_eq!(rough, smooth, "{capacity_bytes} {cut:?}");
    }
}

#[test]
fn a_refused_dial_is_a_failure_and_not_a_complaint() {
    let world = World::new(1, Instant::ZERO);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal));
    let mut peers = crowd(&world);
    peers.dial("10.0.0.1:1".parse().unwrap(), Honest::new(&profile));
    run(&world, secs(1), &mut [&mut peers]);
    assert!(peers.is_empty());
    assert_eq!(journal.tally(), Tally { failed: 1, ..Tally::default() });
}

#[test]
fn dials_are_spread_evenly_over_the_requested_number_of_source_addresses() {
    let world = World::new(1, Instant::ZERO);
    let mut node = node(&world, config(), vec![]);
    let profile = Rc::new(Profile::new(REGTEST, &Journal::new()));
    let mut peers = crowd(&world).with_sources(3);
    let here = address_of(&node);
    peers.dial_many(here, Instant::ZERO, Duration::ZERO, 3_000, move |_| Honest::new(&profile).into());
    assert_eq!(peers.dials_left(), 3_000);
    run(&world, secs(1), &mut [&mut node, &mut peers]);
    assert_eq!((node.handler().ready, peers.dials_left()), (3_000, 0));
    let sources: Vec<_> = (0..3).map(|index| peers.source(index)).collect();
    drop(peers);
    run(&world, secs(1), &mut [&mut node]);
    for source in sources {
        let from_there = node.handler().closed.iter().filter(|(address, ..)| address.ip() == source).count();
        assert_eq!(from_there, 1_000);
    }
}

/// A faulty loop that an honest peer dials. It answers the honest peer's first bytes, a `version`, with the given
/// bytes.
struct FalseLoop {
    says: Vec<u8>,
}

impl Persona for FalseLoop {
    fn opened(&mut self, _line: &mut Line<'_>) {}

    fn received(&mut self, line: &mut Line<'_>, _bytes: &[u8]) {
        line.send(&std::mem::take(&mut self.says));
    }
}

/// Returns an honest peer's complaints about a loop that sends these messages.
fn complaints_about(says: &[Vec<u8>]) -> Vec<Wrong> {
    let world = World::new(1, Instant::ZERO);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(5)));
    let mut others = crowd(&world);
    let says = says.concat();
    let there = others.listen(PORT, move |_| Role::of(FalseLoop { says: says.clone() })).unwrap();
    let mut peers = crowd(&world);
    peers.dial(there, Honest::new(&profile));
    run(&world, secs(1), &mut [&mut peers, &mut others]);
    journal.complaints().iter().map(|complaint| complaint.what).collect()
}

#[test]
fn an_honest_peer_complains_about_every_kind_of_wrong_message() {
    let version = frame("version", &hex(&"00".repeat(46)));
    let (verack, protoconf) = (frame("verack", &[]), frame("protoconf", &hex("0100001000")));
    let (ping, pong) = (frame("ping", &[1; 8]), frame("pong", &[1; 8]));
    let mut bad = ping.clone();
    bad[24] ^= 1;
    let cases: [(&[&Vec<u8>], &[Wrong]); 14] = [
        (&[&version, &verack, &protoconf, &ping], &[]),
        (&[&verack], &[Wrong::BeforeVersion]),
        (&[&ping, &version, &verack], &[Wrong::BeforeVersion]),
        (&[&version, &ping, &verack], &[Wrong::BeforeVerack]),
        (&[&version, &version, &verack], &[Wrong::Repeated]),
        (&[&version, &verack, &verack], &[Wrong::Repeated]),
        (&[&version, &verack, &protoconf, &protoconf], &[Wrong::Repeated]),
        (&[&version, &verack, &pong], &[Wrong::StrayPong]),
        (&[&version, &verack, &bad], &[Wrong::Checksum]),
        (&[&version, &verack, &vec![0]], &[Wrong::Magic]),
        (&[&version, &verack, &header("addr", 3_000_000, &[0; 4])], &[Wrong::TooLong]),
        (&[&frame("version", &[0; 45]), &verack], &[Wrong::Malformed]),
        (&[&version, &frame("verack", &[0])], &[Wrong::Malformed]),
        (&[&version, &verack, &frame("ping", &[0; 7])], &[Wrong::Malformed]),
    ];
    for (says, expected) in cases {
        let says: Vec<Vec<u8>> = says.iter().map(|&bytes| bytes.clone()).collect();
        assert_eq!(complaints_about(&says), expected);
    }
}

#[test]
fn an_honest_peer_complains_about_a_missing_handshake_and_a_missing_pong() {
    for (says, expected) in
        [(vec![], Wrong::NoHandshake), ([frame("version", &[0; 46]), frame("verack", &[])].concat(), Wrong::NoPong)]
    {
        let world = World::new(1, Instant::ZERO);
        let journal = Journal::new();
        let profile = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(20)));
        let mut others = crowd(&world);
        let there = others.listen(PORT, move |_| Role::of(FalseLoop { says: says.clone() })).unwrap();
        let mut peers = crowd(&world);
        peers.dial(there, Honest::new(&profile));
        run(&world, secs(61), &mut [&mut peers, &mut others]);
        assert_eq!(journal.complaints().first().map(|complaint| complaint.what), Some(expected));
    }
}

/// A persona that calls the methods of its line and logs its callbacks.
struct Scripted {
    log: Rc<RefCell<Vec<String>>>,
}

impl Scripted {
    fn note(&self, line: &Line<'_>, what: &str) {
        self.log.borrow_mut().push(format!("{} {what}", line.now().as_nanos() / 1_000_000_000));
    }
}

impl Persona for Scripted {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.note(line, "opened");
        line.stop_reading();
        line.wake_at(line.now().plus(secs(9)));
        line.wake_at(line.now().plus(secs(2)));
        line.wake_at(line.now().plus(secs(4)));
        assert!(line.send(&[7; 1_000]), "the line did not queue the bytes");
        assert!(!line.send(&vec![7; 5_000_000]), "the line queued the bytes, although it has no room for them");
        assert_eq!(
            (line.offer(&[1]), line.unsent_bytes()),
            (0, 900),
            "an offered byte was sent, or the pipe does not hold exactly 100 bytes"
        );
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        self.note(line, &format!("received {}", bytes.len()));
        if bytes.len() == 50 {
            line.finish();
            assert!(!line.send(&[1]), "bytes after the end of the stream were accepted");
        }
    }

    fn due(&mut self, line: &mut Line<'_>) {
        self.note(line, "due");
        line.read_only(3);
        if line.now() > Instant::ZERO.plus(secs(4)) {
            line.start_reading();
        } else {
            line.wake_at(line.now().plus(secs(2)));
        }
    }

    fn writable(&mut self, line: &mut Line<'_>) {
        self.note(line, "writable");
    }

    fn ended(&mut self, how: End, _at: Instant) {
        self.log.borrow_mut().push(format!("{how:?}"));
    }
}

/// A persona that sends 53 bytes, and asserts that each byte it receives is 7.
struct Echo;

impl Persona for Echo {
    fn opened(&mut self, line: &mut Line<'_>) {
        line.send(&[5; 53]);
    }

    fn received(&mut self, _line: &mut Line<'_>, bytes: &[u8]) {
        assert!(bytes.iter().all(|byte| *byte == 7));
    }
}

#[test]
fn a_line_keeps_unsent_bytes_and_reads_only_as_many_bytes_as_requested() {
    let world = World::new(1, Instant::ZERO);
    world.set_conditions(Conditions { capacity_bytes: 100, ..Conditions::default() });
    let log = Rc::default();
    let mut others = crowd(&world);
    let there = others.listen(PORT, |_| Role::of(Echo)).unwrap();
    let mut peers = crowd(&world);
    peers.dial(there, Role::of(Scripted { log: Rc::clone(&log) }));
    run(&world, secs(20), &mut [&mut peers, &mut others]);
    let expected = ["0 opened", "0 writable", "4 due", "4 received 3", "6 due", "6 received 50", "ByPeer"];
    assert_eq!(*log.borrow(), expected);
    assert!(peers.is_empty() && others.is_empty());
}
