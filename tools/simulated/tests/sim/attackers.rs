//! Every known attack on the real loop, with the attacker as the dialler and with the loop as the dialler: the loop
//! reacts as the attack declares, and an honest peer is unaffected.

use crate::keen::{PORT, address_of, crowd, node, run};
use peerloop::error::CloseReason;
use peerloop::sim::actor::byzantine::{Attack, Attacker, Record, attacks};
use peerloop::sim::actor::{Expectation, Honest, Journal, Judgement, Profile, Role, Tally};
use peerloop::sim::{Conditions, Cut, Cuts, World};
use peerloop::time::Instant;
use peerloop_testkit::bytes::REGTEST;
use peerloop_testkit::simulated::{config, secs};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// Duration of each attack's run, longer than every attack's script and the loop's timeouts for a connection.
const LONG: Duration = Duration::from_secs(400);
/// Maximum delay of a close. The loop rounds its deadlines up to ticks.
const SLACK: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialler {
    Attacker,
    Loop,
}

#[derive(Debug)]
struct Outcome {
    judgement: Judgement,
    record: Rc<Record>,
    closed: Option<(Instant, CloseReason)>,
    honest: Tally,
}

fn play(attack: &'static Attack, dialler: Dialler, conditions: Conditions) -> Outcome {
    let world = World::new(5, Instant::ZERO);
    world.set_conditions(conditions);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal));
    let (mut attackers, record) = (crowd(&world), Rc::<Record>::default());
    let attacker = Attacker::new(attack, &profile, &record);
    let mut attacker = Some(Role::of(attacker));
    let (mut node, from): (_, IpAddr) = match dialler {
        Dialler::Loop => {
            let there =
                attackers.listen(PORT, move |_| attacker.take().expect("the attacker is dialled once")).unwrap();
            (node(&world, config(), vec![there]), there.ip())
        }
        Dialler::Attacker => {
            let node = node(&world, config(), vec![]);
            let from = attackers.source(0);
            attackers.dial_at(
                Instant::ZERO,
                address_of(&node),
                Some(from),
                attacker.take().expect("the attacker dials once"),
            );
            (node, from)
        }
    };
    let mut peers = crowd(&world);
    let honest = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(1)));
    peers.dial(address_of(&node), Honest::new(&honest));
    run(&world, LONG, &mut [&mut node, &mut attackers, &mut peers]);

    assert_eq!(journal.complaints(), [], "{attack:?}");
    assert_eq!(peers.len(), 1, "the honest peer was closed during {attack:?}");
    let mut ends = node.handler().closed.iter().filter(|(address, ..)| address.ip() == from);
    let closed = ends.next().map(|(_, at, reason)| (*at, *reason));
    assert_eq!(ends.next(), None);
    assert_eq!(node.handler().closed.len(), usize::from(closed.is_some()), "another peer was closed during {attack:?}");
    let began = record.began().unwrap_or_else(|| panic!("{attack:?} has not begun"));
    let judgement = attack.expects(dialler == Dialler::Attacker).judge(began, closed, world.now(), SLACK);
    Outcome { judgement, record, closed, honest: journal.tally() }
}

/// Returns `None` if the loop did three things: it reacted as the attack declares, answered the last ping of an
/// attacker that it must keep, and answered the honest peer's pings. Otherwise returns a description of the outcome.
fn fault(attack: &'static Attack, dialler: Dialler, conditions: Conditions) -> Option<String> {
    let outcome = play(attack, dialler, conditions);
    let Outcome { judgement, record, closed, honest } = &outcome;
    let is_proved = match attack.expects(dialler == Dialler::Attacker) {
        Expectation::Kept => record.has_proved(),
        Expectation::ClosedBy { .. } => closed.is_some(),
    };
    let pings = LONG.as_secs();
    let is_right = *judgement == Judgement::Right && is_proved && (pings - 1..=pings + 1).contains(&honest.pongs);
    (!is_right).then(|| format!("{} {}, {dialler:?} dials: {outcome:?}", attack.threat, attack.name))
}

#[test]
fn the_loop_reacts_as_every_attack_declares() {
    let faults: Vec<String> = attacks()
        .flat_map(|attack| [Dialler::Attacker, Dialler::Loop].map(|dialler| (attack, dialler)))
        .filter_map(|(attack, dialler)| fault(attack, dialler, Conditions::default()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn split_streams_change_nothing_for_attacks_that_need_no_quiet_network() {
    let cut = Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
    let rough = Conditions { capacity_bytes: 5_000, to_acceptor: cut.clone(), to_dialler: cut };
    let faults: Vec<String> = attacks()
        .filter(|attack| !attack.needs_quiet)
        .filter_map(|attack| fault(attack, Dialler::Attacker, rough.clone()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_listed_threats_have_attacks_and_each_attack_has_a_unique_name() {
    for threat in [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 28, 30, 31, 32, 33, 36] {
        let threat = format!("P{threat}");
        assert!(attacks().any(|attack| attack.threat == threat), "{threat}");
    }
    let mut names: Vec<&str> = attacks().map(|attack| attack.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two attacks have the same name");
}

/// Lets `count` attackers play the attack `name` at the same time. Returns the distinct labels of the close reasons,
/// the moment of the last close and the number of closes.
fn storm(name: &str, count: u64) -> (Vec<&'static str>, Instant, usize) {
    let world = World::new(5, Instant::ZERO);
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal));
    let attack = attacks().find(|attack| attack.name == name).unwrap();
    let mut node = node(&world, config(), vec![]);
    let mut attackers = crowd(&world);
    let record = Rc::default();
    attackers.dial_many(address_of(&node), Instant::ZERO, Duration::ZERO, count, move |_| {
        Role::of(Attacker::new(attack, &profile, &record))
    });
    let mut peers = crowd(&world);
    let honest = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(1)));
    peers.dial(address_of(&node), Honest::new(&honest));
    run(&world, secs(20), &mut [&mut node, &mut attackers, &mut peers]);
    assert_eq!((journal.complaints(), peers.len(), node.stats().links), (vec![], 1, 1));
    let mut reasons: Vec<_> = node.handler().closed.iter().map(|(.., reason)| reason.label()).collect();
    let last = node.handler().closed.iter().map(|(_, at, _)| *at).max().unwrap();
    let closed = reasons.len();
    reasons.sort_unstable();
    reasons.dedup();
    (reasons, last, closed)
}

#[test]
fn a_storm_of_resets_closes_only_the_attackers() {
    let (reasons, last, closed) = storm("a reset at once", 3_000);
    assert_eq!((last, closed), (Instant::ZERO, 3_000));
    assert!(reasons.iter().all(|reason| ["reset", "closed_by_peer"].contains(reason)), "{reasons:?}");
}

#[test]
fn thousands_of_deadlines_can_expire_in_one_tick() {
    let (reasons, last, closed) = storm("silence", 6_000);
    assert_eq!((reasons, closed), (vec!["handshake_timeout"], 6_000));
    assert_eq!(last, Instant::ZERO.plus(secs(10)));
}
