//! Every known vice before the real loop, from either side: the loop does what the vice declares, and an honest peer
//! beside it notices nothing.

use crate::keen::{PORT, address_of, crowd, node, run};
use peerloop::error::CloseReason;
use peerloop::sim::actor::byzantine::{Record, Vice, Villain, vices};
use peerloop::sim::actor::{Expectation, Honest, Journal, Judgement, Profile, Role, Tally};
use peerloop::sim::{Conditions, Cut, Cuts, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes::REGTEST;
use peerloop_testkit::simulated::{config, secs};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// Longer than any script and any deadline.
const LONG: Duration = Duration::from_secs(400);
/// What the loop rounds its deadlines to.
const SLACK: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialler {
    Villain,
    Loop,
}

#[derive(Debug)]
struct Outcome {
    judgement: Judgement,
    record: Rc<Record>,
    closed: Option<(Instant, CloseReason)>,
    honest: Tally,
}

fn play(vice: &'static Vice, dialler: Dialler, conditions: Conditions) -> Outcome {
    let world = World::new(5, Instant::ZERO);
    world.set_conditions(conditions);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal));
    let (mut villains, record) = (crowd(&world), Rc::<Record>::default());
    let villain = Villain::new(vice, &profile, &record);
    let mut villain = Some(Role::of(villain));
    let (mut node, from): (_, IpAddr) = match dialler {
        Dialler::Loop => {
            let there = villains.listen(PORT, move |_| villain.take().expect("it is dialled once")).unwrap();
            (node(&world, config(), vec![there]), there.ip())
        }
        Dialler::Villain => {
            let node = node(&world, config(), vec![]);
            let from = villains.source(0);
            villains.dial_at(Instant::ZERO, address_of(&node), Some(from), villain.take().expect("it dials once"));
            (node, from)
        }
    };
    let mut peers = crowd(&world);
    let honest = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(1)));
    peers.dial(address_of(&node), Honest::new(&honest));
    run(&world, LONG, &mut [&mut node, &mut villains, &mut peers]);

    assert_eq!(journal.complaints(), [], "{vice:?}");
    assert_eq!(peers.len(), 1, "the honest peer is kept beside {vice:?}");
    let mut ends = node.handler().closed.iter().filter(|(address, ..)| address.ip() == from);
    let closed = ends.next().map(|(_, at, reason)| (*at, *reason));
    assert_eq!(ends.next(), None);
    assert_eq!(node.handler().closed.len(), usize::from(closed.is_some()), "nobody else is closed");
    let began = record.began().unwrap_or_else(|| panic!("{vice:?} has not begun"));
    let judgement = vice.expects.judge(began, closed, world.now(), SLACK);
    Outcome { judgement, record, closed, honest: journal.tally() }
}

/// What is wrong with the outcome, if anything.
fn fault(vice: &'static Vice, dialler: Dialler, conditions: Conditions) -> Option<String> {
    let outcome = play(vice, dialler, conditions);
    let Outcome { judgement, record, closed, honest } = &outcome;
    let is_silent = vice.name == "a peer that asks and reads a byte at a time";
    let is_proved = match vice.expects {
        Expectation::Kept => record.has_proved() || is_silent,
        Expectation::ClosedBy { .. } => closed.is_some(),
    };
    let pings = LONG.as_secs();
    let is_right = *judgement == Judgement::Right && is_proved && (pings - 1..=pings + 1).contains(&honest.pongs);
    (!is_right).then(|| format!("{} {}, {dialler:?} dials: {outcome:?}", vice.threat, vice.name))
}

#[test]
fn the_loop_does_what_every_vice_declares() {
    let faults: Vec<String> = vices()
        .flat_map(|vice| [Dialler::Villain, Dialler::Loop].map(|dialler| (vice, dialler)))
        .filter_map(|(vice, dialler)| fault(vice, dialler, Conditions::default()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn cuts_change_nothing_unless_the_vice_says_so() {
    let cut = Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
    let rough = Conditions { capacity_bytes: 5_000, to_acceptor: cut.clone(), to_dialler: cut };
    let faults: Vec<String> = vices()
        .filter(|vice| !vice.needs_quiet)
        .filter_map(|vice| fault(vice, Dialler::Villain, rough.clone()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_known_threats_have_vices() {
    for threat in [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 28, 30, 31, 32, 33, 36] {
        let threat = format!("P{threat}");
        assert!(vices().any(|vice| vice.threat == threat), "{threat}");
    }
    let mut names: Vec<&str> = vices().map(|vice| vice.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name tells a vice from all others");
}

/// Has many villains of one kind dial in the same instant, and returns how the loop ended them and when the last was.
fn storm(name: &str, count: u64) -> (Vec<&'static str>, Instant, usize) {
    let world = World::new(5, Instant::ZERO);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal));
    let vice = vices().find(|vice| vice.name == name).unwrap();
    let mut node = node(&world, config(), vec![]);
    let mut villains = crowd(&world);
    let record = Rc::default();
    villains.dial_many(address_of(&node), Instant::ZERO, Duration::ZERO, count, move |_| {
        Role::of(Villain::new(vice, &profile, &record))
    });
    let mut peers = crowd(&world);
    let honest = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(1)));
    peers.dial(address_of(&node), Honest::new(&honest));
    run(&world, secs(20), &mut [&mut node, &mut villains, &mut peers]);
    assert_eq!((journal.complaints(), peers.len(), node.stats().links), (vec![], 1, 1));
    let mut reasons: Vec<_> = node.handler().closed.iter().map(|(.., reason)| reason.label()).collect();
    let last = node.handler().closed.iter().map(|(_, at, _)| *at).max().unwrap();
    let closed = reasons.len();
    reasons.sort_unstable();
    reasons.dedup();
    (reasons, last, closed)
}

#[test]
fn a_storm_of_resets_passes() {
    let (reasons, last, closed) = storm("a reset at once", 3_000);
    assert_eq!((last, closed), (Instant::ZERO, 3_000));
    assert!(reasons.iter().all(|reason| ["reset", "closed_by_peer"].contains(reason)), "{reasons:?}");
}

#[test]
fn as_many_deadlines_as_one_likes_come_in_one_tick() {
    let (reasons, last, closed) = storm("silence", 6_000);
    assert_eq!((reasons, closed), (vec!["handshake_timeout"], 6_000));
    assert_eq!(last, Instant::ZERO.plus(secs(10)));
}
