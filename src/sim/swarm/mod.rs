//! One seed, one hostile world: the loop under test among peers, faults and conditions that are drawn from a tape.
//!
//! A [`Scenario`] is drawn first, as plain data; then [`run`] brings it to life around a real loop whose every call is
//! held to the [`INVARIANTS`](super::invariant::INVARIANTS). The same tape gives the same run, call by call. What a run
//! has come across is told by its [`Marks`], so that a swarm of them can show that it got everywhere.

mod heckler;
mod judge;
mod juggler;
mod marks;
mod scenario;
mod stage;
mod talker;
mod trouble;

pub use marks::{Mark, Marks};
pub use scenario::{Profile, Scenario};

use super::invariant::Violation;
use super::tape::Tape;
use crate::bugs;
use stage::Stage;
use std::time::Duration;

/// What came of one world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was drawn; its `Display` tells it.
    pub scenario: Scenario,
    /// Socket events: calls of the loops under test on their network, and the readiness events that they got.
    pub events: u64,
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
    let scenario = Scenario::draw(tape, profile);
    let _shrunk = bugs::shrink(&scenario.budgets);
    let mut stage = Stage::new(tape, scenario);
    stage.run_safety();
    judge::judge_peers(&mut stage);
    let heard = stage.cast.iter().map(|cast| cast.heard.borrow().digests.clone()).collect();
    if stage.goes_on {
        stage.calm_down();
        stage.run_liveness();
        stage.run_shutdown();
    }
    judge::judge_journals(&mut stage);
    judge::gather(&mut stage);
    let trace_hash = stage.world.trace().hash();
    Outcome {
        events: stage.events(),
        virtual_time: stage.virtual_time(),
        trace_hash,
        violations: stage.violations,
        marks: stage.marks,
        heard,
        scenario: stage.scenario,
    }
}
