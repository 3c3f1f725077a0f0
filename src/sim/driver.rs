//! Runs loops in virtual time: everybody works until nobody has work, and only then does the clock move.

use super::net::SimNet;
use super::world::World;
use crate::api::Handler;
use crate::reactor::Reactor;
use crate::time::{Instant, Wait};
use std::fmt;
use std::io;
use std::time::Duration;

/// Rounds at one moment after which a run is given up: no correct loop needs as many to come to rest.
const ROUNDS_PER_MOMENT_MAX: u64 = 1_000_000;

/// A loop that can be driven.
pub trait Actor {
    /// Does all that can be done at once; returns whether it goes on.
    ///
    /// # Errors
    ///
    /// When its poller fails.
    fn turn(&mut self) -> io::Result<bool>;

    /// How long it has nothing to do unless its host gets an event.
    fn wait(&self) -> Wait;

    /// Whether its host has one.
    fn has_events(&self) -> bool;
}

impl<H: Handler> Actor for Reactor<SimNet, H> {
    fn turn(&mut self) -> io::Result<bool> {
        self.poll_once(Duration::ZERO)
    }

    fn wait(&self) -> Wait {
        self.next_deadline()
    }

    fn has_events(&self) -> bool {
        self.net().has_events()
    }
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// What was waited for has happened.
    Done,
    /// The time is over.
    TimeOver,
    /// Every loop has ended.
    AllEnded,
}

/// A run that could not be brought to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The loops keep each other busy without time passing.
    Livelock {
        /// The moment at which they do.
        at: Instant,
        /// How many rounds they were given.
        rounds: u64,
    },
    /// The poller of a loop failed, which ends that loop.
    Poller(io::Error),
}

/// Drives the loops of one [`World`] and its clock.
#[derive(Debug)]
pub struct Driver {
    world: World,
    rounds_per_moment_max: u64,
}

impl Driver {
    /// A driver that takes a million rounds at one moment for a livelock.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone(), rounds_per_moment_max: ROUNDS_PER_MOMENT_MAX }
    }

    /// Takes fewer or more rounds at one moment for a livelock.
    #[must_use]
    pub fn with_rounds_per_moment(self, rounds_per_moment_max: u64) -> Self {
        Self { rounds_per_moment_max, ..self }
    }

    /// Runs until the clock shows `until` and all work of that moment is done.
    ///
    /// # Errors
    ///
    /// [`RunError::Livelock`], or [`RunError::Poller`].
    pub fn run_until(&self, until: Instant, actors: &mut [&mut dyn Actor]) -> Result<RunOutcome, RunError> {
        self.run(until, actors, || false)
    }

    /// Runs until `is_done`, which is asked after every round, or else as [`Driver::run_until`].
    ///
    /// # Errors
    ///
    /// As [`Driver::run_until`].
    pub fn run(
        &self,
        until: Instant,
        actors: &mut [&mut dyn Actor],
        mut is_done: impl FnMut() -> bool,
    ) -> Result<RunOutcome, RunError> {
        let mut has_ended = vec![false; actors.len()];
        let mut rounds = 0;
        loop {
            if is_done() {
                return Ok(RunOutcome::Done);
            }
            let now = self.world.now();
            let mut live = actors.iter_mut().zip(&mut has_ended).filter(|(_, has_ended)| !**has_ended).peekable();
            if live.peek().is_none() {
                return Ok(RunOutcome::AllEnded);
            }
            let (mut was_busy, mut next) = (false, Wait::Until(until));
            for (actor, has_ended) in live {
                if actor.has_events() || is_over(actor.wait(), now) {
                    *has_ended = !actor.turn().map_err(RunError::Poller)?;
                    was_busy = true;
                } else {
                    next = next.or_sooner(actor.wait());
                }
            }
            rounds += 1;
            if was_busy {
                if rounds >= self.rounds_per_moment_max {
                    return Err(RunError::Livelock { at: now, rounds });
                }
                continue;
            }
            match next {
                Wait::Until(moment) if now < until => self.world.advance(moment.since(now)),
                Wait::Zero | Wait::Until(_) | Wait::Forever => return Ok(RunOutcome::TimeOver),
            }
            rounds = 0;
        }
    }
}

fn is_over(wait: Wait, now: Instant) -> bool {
    match wait {
        Wait::Zero => true,
        Wait::Until(moment) => moment <= now,
        Wait::Forever => false,
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Livelock { at, rounds } => {
                write!(f, "the loops still have work at {at:?} after {rounds} rounds: a livelock")
            }
            Self::Poller(error) => write!(f, "a loop's poller failed: {error}"),
        }
    }
}

impl std::error::Error for RunError {}
