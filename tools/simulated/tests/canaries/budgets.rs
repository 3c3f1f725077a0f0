//! A run with every budget at its minimum needs more turns, but has the same outcome.

use peerloop::error::CloseReason;
use peerloop::internals::limits::READ_BLOCK_BYTES;
use peerloop::internals::{self, Budget};
use peerloop::sim::{Actor, Driver, World};
use peerloop::time::Instant;
use peerloop::{Ctx, PeerId};
use peerloop_testkit::bytes::{frame, frames, ping, verack, version};
use peerloop_testkit::simulated::{Journal, Node, Player, RawPeer, config, secs};
use std::time::Duration;

const BULK_BYTES: usize = 100_000;

/// A run's final observations, except the numbers of `on_writable` and `on_pull` calls.
#[derive(Debug, PartialEq)]
struct Outcome {
    acceptor: Journal,
    dialler: Journal,
    /// The frames that the acceptor sent to the hand-driven peer.
    received: Vec<(String, Vec<u8>)>,
    bytes_received: u64,
}

/// The course of a run, which may differ between runs with the same outcome.
#[derive(Debug, PartialEq)]
struct Course {
    /// Number of the acceptor's turns.
    turns: u64,
    /// A hash of all network calls of all hosts.
    calls: u64,
}

/// Runs two loops, an acceptor and a dialler, with three connections on which they ping each other for a few seconds.
/// A hand-driven peer pings the acceptor, sends it a large message, and gets two messages in reply. Then the acceptor
/// gets a different ping interval, and the peer closes.
fn run() -> (Outcome, Course) {
    let world = World::new(1, Instant::ZERO);
    let answer = |ctx: &mut Ctx<'_>, peer| {
        let part = frame("answer", &[8; 100]).into();
        ctx.send_shared(peer, &part).unwrap();
        ctx.send_shared(peer, &part).unwrap();
    };
    let acceptor_config = config().with_ping_interval(secs(2));
    let pull = |ctx: &mut Ctx<'_>| {
        let ready: Vec<PeerId> = ctx.peers().filter(|peer| peer.is_ready()).map(|peer| peer.id()).collect();
        ready.into_iter().for_each(|peer| ctx.pull(peer).unwrap());
    };
    let player = Player { on_message: Some(answer), on_request: Some(pull), ..Player::default() };
    let mut acceptor = Node::new(&world, acceptor_config.clone(), player);
    let dialler_config = config().with_seed(Some(2)).with_ping_interval(Duration::ZERO);
    let player = Player::default().pinging(Instant::ZERO.plus(secs(1)), secs(1), 5);
    let player = Player { dials: vec![acceptor.address; 3], ..player };
    let mut dialler = Node::new(&world, dialler_config, player);
    let mut peer = RawPeer::dialling(&world, acceptor.address);
    let mut received = Vec::new();
    let scripts = [[version(), verack()], [ping(), ping()], [frame("bulk", &[7; BULK_BYTES]), ping()]];
    for script in scripts {
        run_for(&world, secs(1), &mut acceptor, &mut dialler);
        script.iter().for_each(|bytes| peer.send(bytes));
        (0..3).for_each(|_| acceptor.reactor.handle().request(()).unwrap());
        run_for(&world, secs(1), &mut acceptor, &mut dialler);
        received.extend(peer.receive());
    }
    let sooner = acceptor_config.with_ping_interval(Duration::from_millis(700));
    acceptor.reactor.handle().update_config(sooner).unwrap();
    run_for(&world, secs(2), &mut acceptor, &mut dialler);
    received.extend(peer.receive());
    peer.close();
    run_for(&world, secs(1), &mut acceptor, &mut dialler);
    dialler.reactor.handle().stop().unwrap();
    run_for(&world, secs(1), &mut acceptor, &mut dialler);
    acceptor.reactor.handle().stop().unwrap();
    run_for(&world, secs(1), &mut acceptor, &mut dialler);
    let counters = acceptor.reactor.stats().counters;
    let outcome = Outcome {
        acceptor: Journal { writable: 0, pulled: 0, ..acceptor.seen() },
        dialler: Journal { writable: 0, pulled: 0, ..dialler.seen() },
        received: frames(&received),
        bytes_received: counters.bytes_received,
    };
    let calls = world.trace().hash();
    (outcome, Course { turns: counters.turns, calls })
}

fn run_with(budgets: &[(Budget, usize)]) -> (Outcome, Course) {
    let _shrunk = internals::shrink(budgets);
    run()
}

fn run_for(world: &World, time: Duration, acceptor: &mut Node, dialler: &mut Node) {
    let actors: &mut [&mut dyn Actor] = &mut [&mut acceptor.reactor, &mut dialler.reactor];
    Driver::new(world).run_until(world.now().plus(time), actors).unwrap();
}

fn smallest(but: Option<Budget>) -> Vec<(Budget, usize)> {
    let budgets = Budget::ALL.into_iter().filter(|budget| Some(*budget) != but);
    budgets.map(|budget| (budget, budget.smallest())).collect()
}

#[test]
fn an_ordinary_run_has_the_same_outcome_with_every_budget_at_its_minimum() {
    let (outcome, course) = run();
    assert_eq!(outcome.acceptor.ready.len(), 4);
    assert_eq!(outcome.acceptor.messages.len(), 1);
    assert_eq!(outcome.acceptor.messages[0].2, BULK_BYTES);
    assert_eq!(outcome.dialler.pongs.len(), 15);
    assert_eq!(outcome.acceptor.closed.len(), 4);
    assert!(outcome.acceptor.closed.iter().all(|closed| closed.reason == CloseReason::ClosedByPeer));
    let (shrunken_outcome, shrunken_course) = run_with(&smallest(None));
    assert_eq!(shrunken_outcome, outcome);
    let turns = shrunken_course.turns;
    assert!(turns > course.turns + BULK_BYTES as u64, "{turns} turns are too few for reading byte by byte");
}

#[test]
fn shrinking_any_budget_changes_the_course_but_not_the_outcome() {
    let (outcome, course) = run();
    let among_others = run_with(&smallest(None)).1;
    for budget in Budget::ALL {
        let (outcome_alone, course_alone) = run_with(&[(budget, budget.smallest())]);
        assert_eq!(outcome_alone, outcome, "{budget:?}");
        let is_asked_for = course_alone != course || run_with(&smallest(Some(budget))).1 != among_others;
        assert!(is_asked_for, "shrinking {budget:?} changes nothing");
    }
}

#[test]
fn dropping_the_guard_restores_the_budget() {
    let whole = run().1;
    let outer = internals::shrink(&[(Budget::ReadBytes, READ_BLOCK_BYTES)]);
    let inner = internals::shrink(&[(Budget::ReadBytes, 1)]);
    assert_ne!(run().1, whole);
    drop(inner);
    assert_eq!(run().1, whole);
    drop(outer);
    assert_eq!(run().1, whole);
}

#[test]
#[should_panic(expected = "was set to 0")]
fn a_budget_of_zero_is_refused() {
    let _shrunk = internals::shrink(&[(Budget::Closes, 0)]);
}
