//! How a world is driven: its actors take their turns until a moment, for as long as anybody waits for that, and what
//! is found on the way is kept.

use super::patience::Patience;
use peerloop::sim::World;
use peerloop::sim::invariant::Violation;
use peerloop::sim::{Actor, Driver, RunOutcome};
use peerloop::time::Instant;
use std::time::Duration;

/// Time until all is as it should be when all is well.
pub(super) const RECOVERY: Duration = Duration::from_secs(30 * 60);
/// The same after an outage, if all wait for no more than ten minutes and a quarter.
pub(super) const RECOVERY_FROM_OUTAGE: Duration = Duration::from_secs(15 * 60);
/// Socket events after which the first phase ends early.
pub(super) const MAX_EVENTS: u64 = 60_000;
/// Rounds at one moment that no run needs, not even one in which a hundred peers are read three bytes at a time.
const MAX_ROUNDS: u64 = 4_000_000;

/// A run of a world.
pub(super) struct Course {
    pub(super) violations: Vec<Violation>,
    /// Nothing has ended the run before its time.
    pub(super) goes_on: bool,
    /// It takes too long.
    pub(super) is_given_up: bool,
    pub(super) began: Instant,
    world: World,
    patience: Patience,
}

impl Course {
    pub(super) fn new(world: &World, patience: Patience) -> Self {
        let (world, began) = (world.clone(), world.now());
        Self { violations: Vec::new(), goes_on: true, is_given_up: false, began, world, patience }
    }

    pub(super) fn run_until(&mut self, until: Instant, actors: &mut [&mut dyn Actor]) {
        if !self.goes_on {
            return;
        }
        let driver = Driver::new(&self.world).with_rounds_per_moment(MAX_ROUNDS);
        let is_over = || !self.patience.lasts(self.world.trace().calls());
        match driver.run(until, actors, is_over) {
            Ok(RunOutcome::TimeOver | RunOutcome::AllEnded) => {}
            Ok(RunOutcome::Done) => (self.is_given_up, self.goes_on) = (true, false),
            Err(error) => {
                self.found(9, error.to_string());
                self.goes_on = false;
            }
        }
    }

    pub(super) fn found(&mut self, invariant: u8, text: String) {
        self.violations.push(Violation { invariant, at: self.world.now(), text });
    }

    /// A loop was stopped long enough ago, and has nothing open any more but what every loop has.
    pub(super) fn check_stopped(&mut self, host: usize, has_ended: bool) {
        let open = self.world.open_descriptors(host);
        if !has_ended || open != 2 {
            self.found(36, format!("host {host}: has ended: {has_ended}, open descriptors: {open}"));
        }
    }

    pub(super) fn virtual_time(&self) -> Duration {
        self.world.now().since(self.began)
    }
}
