//! Drives a world: runs its actors until a given moment, or until its [`Patience`] runs out, and stores the
//! violations found.

use super::patience::Patience;
use peerloop::sim::World;
use peerloop::sim::invariant::Violation;
use peerloop::sim::{Actor, Driver, RunOutcome};
use peerloop::time::Instant;
use std::time::Duration;

/// Maximum time from the end of all faults until every honest peer is served.
pub(super) const RECOVERY: Duration = Duration::from_secs(30 * 60);
/// Maximum time from the end of an outage until every wanted slot is filled. It suffices because no pause before a
/// dial is longer than ten minutes plus 25 % jitter.
pub(super) const RECOVERY_FROM_OUTAGE: Duration = Duration::from_secs(15 * 60);
/// Number of socket events after which the first phase ends early.
pub(super) const MAX_EVENTS: u64 = 60_000;
/// Maximum number of rounds at one moment. The busiest of 50,000 worlds needed fewer than six million. It had 300
/// peers, pipes of 100 bytes and one event a turn.
const MAX_ROUNDS: u64 = 10_000_000;

/// A run of a world.
pub(super) struct Course {
    pub(super) violations: Vec<Violation>,
    /// Whether the run may continue; false once anything has ended it early.
    pub(super) is_running: bool,
    /// Whether `patience` ran out: the world's hosts made too many calls, or an abort was requested.
    pub(super) is_given_up: bool,
    pub(super) began: Instant,
    world: World,
    patience: Patience,
}

impl Course {
    pub(super) fn new(world: &World, patience: Patience) -> Self {
        let (world, began) = (world.clone(), world.now());
        Self { violations: Vec::new(), is_running: true, is_given_up: false, began, world, patience }
    }

    pub(super) fn run_until(&mut self, until: Instant, actors: &mut [&mut dyn Actor]) {
        if !self.is_running {
            return;
        }
        let driver = Driver::new(&self.world).with_rounds_per_moment(MAX_ROUNDS);
        let is_over = || !self.patience.lasts(self.world.trace().calls());
        match driver.run(until, actors, is_over) {
            Ok(RunOutcome::TimeOver | RunOutcome::AllEnded) => {}
            Ok(RunOutcome::Done) => (self.is_given_up, self.is_running) = (true, false),
            Err(error) => {
                self.found(9, error.to_string());
                self.is_running = false;
            }
        }
    }

    pub(super) fn found(&mut self, invariant: u8, text: String) {
        self.violations.push(Violation { invariant, at: self.world.now(), text });
    }

    /// Checks that a loop has stopped and has replied to the stop request, and that its host has only the two
    /// descriptors open that every loop has.
    pub(super) fn check_stopped(&mut self, host: usize, has_ended: bool, is_answered: bool) {
        let open = self.world.open_descriptors(host);
        if !has_ended || !is_answered || open != 2 {
            let text = format!("has ended: {has_ended}, answered: {is_answered}, open descriptors: {open}");
            self.found(36, format!("host {host}: {text}"));
        }
    }

    pub(super) fn virtual_time(&self) -> Duration {
        self.world.now().since(self.began)
    }
}
