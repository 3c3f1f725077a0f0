//! Hostile simulated worlds, one per seed: the loop under test, with peers, faults and conditions drawn from a tape.
//!
//! [`Scenario::draw`] draws a world as plain data. [`run`] builds the world around a real loop and checks each of the
//! loop's calls against the [`INVARIANTS`](peerloop::sim::invariant::INVARIANTS). The same tape gives the same run,
//! call by call. A run's [`Marks`] record which situations occurred in the run, so that a test can check whether a
//! swarm of runs covers every situation.
//!
//! The crate is the project's own harness: it is not published, and the program uses it only with the feature `sim`.

mod course;
mod description;
mod judge;
mod managed;
mod marks;
mod numbered_peer;
mod observer;
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

/// One world's outcome.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario drawn; its `Display` describes it.
    pub scenario: Scenario,
    /// Number of socket events: the loops' network calls, and the readiness events that the loops received.
    pub events: u64,
    /// Number of entries in the world's trace. A [`Patience`] can limit this number.
    pub calls: u64,
    /// The virtual time that passed.
    pub virtual_time: Duration,
    /// The hash of the world's trace.
    pub trace_hash: u64,
    /// The violations found, sorted by time. Most checks report only their first few violations.
    pub violations: Vec<Violation>,
    /// The situations that occurred in the run.
    pub marks: Marks,
    /// For each troop (the peers on one host), one hash per honest peer. It covers the messages that the peer received
    /// before the faults ended. Empty for a managed world.
    pub received: Vec<Vec<u64>>,
}

/// Draws a world from `tape`, which must be unused, and runs it to its end.
pub fn run(tape: &Tape, profile: Profile) -> Outcome {
    run_with(tape, profile, &Patience::default()).expect("this patience has no limit")
}

/// Draws and runs a world like [`run`], but returns `None` for a world that `patience` aborts.
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
    let received = stage.cast.iter().map(stage::Cast::digests).collect();
    if stage.course.is_running {
        stage.calm_down();
        stage.run_liveness();
        stage.run_shutdown();
    }
    if stage.course.is_given_up {
        return None;
    }
    judge::judge_journals(&mut stage);
    judge::collect_findings(&mut stage);
    let (trace_hash, calls) = (stage.world.trace().hash(), stage.world.trace().calls());
    Some(Outcome {
        events: stage.events(),
        calls,
        virtual_time: stage.course.virtual_time(),
        trace_hash,
        violations: stage.course.violations,
        marks: stage.marks,
        received,
        scenario: stage.scenario,
    })
}
