//! One seed, one hostile world: the loop under test among peers, faults and conditions that are drawn from a tape.
//!
//! [`Scenario::draw`] draws a world as plain data. [`run`] builds it around a real loop and holds each of the loop's
//! calls to the [`INVARIANTS`](peerloop::sim::invariant::INVARIANTS). The same tape gives the same run, call by call.
//! A run's [`Marks`] record what it came across, so that a swarm of runs can show that it reached everything.
//!
//! The crate is the project's own harness: it is not published, and the program has it behind the feature `sim` alone.

mod course;
mod judge;
mod managed;
mod marks;
mod numbered_peer;
mod patience;
mod scenario;
mod scripted_attacker;
mod scripted_handler;
mod stage;
mod trouble;

pub use marks::{Mark, Marks};
pub use patience::Patience;
pub use scenario::{Profile, Scenario};

use peerloop::internals;
use peerloop::sim::Tape;
use peerloop::sim::invariant::Violation;
use stage::Stage;
use std::time::Duration;

/// What came of one world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was drawn; its `Display` tells it.
    pub scenario: Scenario,
    /// Socket events: calls of the loops under test on their network, and the readiness events that they got.
    pub events: u64,
    /// Calls of all hosts on their networks, which [`Patience`] counts.
    pub calls: u64,
    /// How far the clock went.
    pub virtual_time: Duration,
    /// One number over all calls of all hosts.
    pub trace_hash: u64,
    /// What must hold and did not: the first of it, in order.
    pub violations: Vec<Violation>,
    /// What has happened at least once.
    pub marks: Marks,
    /// One number for each honest peer over all that it was told before the calm, by troop.
    pub heard: Vec<Vec<u64>>,
}

/// Draws a world from `tape`, of which nothing was drawn before, and runs it to its end.
pub fn run(tape: &Tape, profile: Profile) -> Outcome {
    run_with(tape, profile, &Patience::default()).expect("nothing ends this patience")
}

/// As [`run`], but for a world that ends too late for `patience`, of which nothing comes.
pub fn run_with(tape: &Tape, profile: Profile, patience: &Patience) -> Option<Outcome> {
    let mut scenario = Scenario::draw(tape, profile);
    if profile == Profile::WholeBudgets {
        scenario.budgets.clear();
    }
    let _shrunk = internals::shrink(&scenario.budgets);
    if let Some(plan) = scenario.managed.clone() {
        return managed::run(tape, scenario, plan, patience);
    }
    let mut stage = Stage::new(tape, scenario, patience.clone());
    stage.run_safety();
    judge::judge_peers(&mut stage);
    let heard = stage.cast.iter().map(|cast| cast.heard.borrow().digests.clone()).collect();
    if stage.course.goes_on {
        stage.calm_down();
        stage.run_liveness();
        stage.run_shutdown();
    }
    if stage.course.is_given_up {
        return None;
    }
    judge::judge_journals(&mut stage);
    judge::gather(&mut stage);
    let (trace_hash, calls) = (stage.world.trace().hash(), stage.world.trace().calls());
    Some(Outcome {
        events: stage.events(),
        calls,
        virtual_time: stage.course.virtual_time(),
        trace_hash,
        violations: stage.course.violations,
        marks: stage.marks,
        heard,
        scenario: stage.scenario,
    })
}
