//! Runs loops in virtual time: all loops work until none has work, and only then does the clock move.
//!
//! A round gives one turn to each loop that has work, in the order in which the driver noticed the work. The driver
//! does not check every loop before each round: hosts report that they received an event, and a heap holds the next
//! moment at which each loop wants a turn. Only after the use of a waker does it check all loops. The driver never
//! waits for real time.

use super::net::SimNet;
use super::world::World;
use crate::handler::Handler;
use crate::reactor::Reactor;
use crate::time::{Instant, Wait};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io;
use std::time::Duration;

/// Number of rounds at one moment after which a run is aborted. Correct loops become idle after far fewer rounds.
const MAX_ROUNDS_PER_MOMENT: u64 = 1_000_000;

/// A loop that can be driven.
pub trait Actor {
    /// Runs one turn; returns whether the loop continues to run.
    ///
    /// # Errors
    ///
    /// If the loop's poller fails.
    fn turn(&mut self) -> io::Result<bool>;

    /// Returns when the loop wants its next turn if its host receives no event before then.
    fn wait(&self) -> Wait;

    /// Returns the actor's host ([`SimNet::host`]). The actor also has work if an event waits for its host. An actor
    /// without a host is asked before every round whether it has work, and is never paused.
    fn host(&self) -> Option<usize> {
        None
    }
}

impl<H: Handler> Actor for Reactor<SimNet, H> {
    fn turn(&mut self) -> io::Result<bool> {
        self.poll_once(Duration::ZERO)
    }

    fn wait(&self) -> Wait {
        self.next_deadline()
    }

    fn host(&self) -> Option<usize> {
        Some(self.net().host())
    }
}

/// The outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// The awaited condition is met.
    Done,
    /// The time limit is reached.
    TimeOver,
    /// Every loop has stopped.
    AllEnded,
}

/// A failed run.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Loops had work in the maximum number of rounds at one moment.
    Livelock {
        /// The moment of the livelock.
        at: Instant,
        /// The number of rounds at that moment.
        rounds: u64,
    },
    /// A loop's poller failed, which ends the run.
    Poller(io::Error),
}

/// Drives the loops of one [`World`] and its clock.
#[derive(Debug)]
pub struct Driver {
    world: World,
    max_rounds_per_moment: u64,
}

impl Driver {
    /// Creates a driver that considers a million rounds at one moment a livelock.
    pub fn new(world: &World) -> Self {
        Self { world: world.clone(), max_rounds_per_moment: MAX_ROUNDS_PER_MOMENT }
    }

    /// Sets the number of rounds at one moment that is considered a livelock.
    #[must_use]
    pub fn with_rounds_per_moment(self, max_rounds_per_moment: u64) -> Self {
        Self { max_rounds_per_moment, ..self }
    }

    /// Runs until the clock shows `until` and all work of that moment is done.
    ///
    /// # Errors
    ///
    /// [`RunError::Livelock`], or [`RunError::Poller`].
    pub fn run_until(&self, until: Instant, actors: &mut [&mut dyn Actor]) -> Result<RunOutcome, RunError> {
        self.run(until, actors, || false)
    }

    /// Runs like [`Driver::run_until`], but stops early once `is_done` returns true. `is_done` is called before every
    /// round and every step of the clock.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::run_until`].
    pub fn run(
        &self,
        until: Instant,
        actors: &mut [&mut dyn Actor],
        mut is_done: impl FnMut() -> bool,
    ) -> Result<RunOutcome, RunError> {
        let mut schedule = Schedule::new(&self.world, actors);
        let mut rounds = 0;
        loop {
            if is_done() {
                return Ok(RunOutcome::Done);
            }
            if schedule.live == 0 {
                return Ok(RunOutcome::AllEnded);
            }
            schedule.find_work(actors);
            if schedule.next.is_empty() {
                let now = self.world.now();
                if now >= until {
                    return Ok(RunOutcome::TimeOver);
                }
                self.world.advance(schedule.next_moment(until).since(now));
                rounds = 0;
                continue;
            }
            schedule.run_round(actors).map_err(RunError::Poller)?;
            rounds += 1;
            if rounds >= self.max_rounds_per_moment {
                return Err(RunError::Livelock { at: self.world.now(), rounds });
            }
        }
    }
}

/// The loops that have work, and the moments at which the other loops will have work.
#[derive(Debug)]
struct Schedule {
    world: World,
    /// The loops that have a turn in the next round, each once.
    next: Vec<usize>,
    is_next: Vec<bool>,
    round: Vec<usize>,
    has_ended: Vec<bool>,
    live: usize,
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The soonest alarm of each loop; any other alarm in the heap is void.
    alarm_at: Vec<Instant>,
    /// Each host's loop, by the host's index; `None` if the driver does not drive the host.
    loops: Vec<Option<usize>>,
    without_host: Vec<usize>,
    stirred: Vec<u32>,
}

impl Schedule {
    fn new(world: &World, actors: &[&mut dyn Actor]) -> Self {
        let count = actors.len();
        let mut schedule = Self {
            world: world.clone(),
            next: Vec::new(),
            is_next: vec![false; count],
            round: Vec::new(),
            has_ended: vec![false; count],
            live: count,
            alarms: BinaryHeap::new(),
            alarm_at: vec![Instant::MAX; count],
            loops: Vec::new(),
            without_host: Vec::new(),
            stirred: Vec::new(),
        };
        for (index, actor) in actors.iter().enumerate() {
            match actor.host() {
                None => schedule.without_host.push(index),
                Some(host) => {
                    schedule.loops.resize(schedule.loops.len().max(host + 1), None);
                    schedule.loops[host] = Some(index);
                }
            }
            schedule.consider(index, &**actor);
        }
        schedule
    }

    /// Adds every loop that received work since the last round to the next round.
    fn find_work(&mut self, actors: &[&mut dyn Actor]) {
        let mut stirred = std::mem::take(&mut self.stirred);
        let any_woken = self.world.kernel_mut().take_notified(&mut stirred);
        for host in stirred.drain(..) {
            if let Some(index) = self.loops.get(host as usize).copied().flatten() {
                self.consider(index, &*actors[index]);
            }
        }
        self.stirred = stirred;
        for at in 0..self.without_host.len() {
            let index = self.without_host[at];
            self.consider(index, &*actors[index]);
        }
        if any_woken {
            (0..actors.len()).for_each(|index| self.consider(index, &*actors[index]));
        }
        let now = self.world.now();
        while let Some(&Reverse((moment, index))) = self.alarms.peek()
            && moment <= now
        {
            self.alarms.pop();
            if self.alarm_at[index] == moment {
                self.alarm_at[index] = Instant::MAX;
                self.consider(index, &*actors[index]);
            }
        }
    }

    /// Gives a loop a turn in the next round if the loop has work. Otherwise sets the loop's alarm for the moment at
    /// which the loop wants a turn, if any. If the loop's host is paused, only sets the alarm for the end of the
    /// pause.
    fn consider(&mut self, index: usize, actor: &dyn Actor) {
        if self.has_ended[index] || self.is_next[index] {
            return;
        }
        let host = actor.host();
        if let Some(until) = host.and_then(|host| self.world.kernel().paused_until(host)) {
            return self.wake_at(index, until);
        }
        let has_events = host.is_some_and(|host| self.world.kernel().has_events(host));
        let wait = actor.wait();
        if has_events || is_over(wait, self.world.now()) {
            self.is_next[index] = true;
            self.next.push(index);
        } else if let Wait::Until(moment) = wait {
            self.wake_at(index, moment);
        }
    }

    /// Sets a loop's alarm, unless the loop already has an earlier one. At an alarm, the loop is asked again whether it
    /// has work.
    fn wake_at(&mut self, index: usize, moment: Instant) {
        if moment < self.alarm_at[index] {
            self.alarm_at[index] = moment;
            self.alarms.push(Reverse((moment, index)));
        }
    }

    fn run_round(&mut self, actors: &mut [&mut dyn Actor]) -> io::Result<()> {
        std::mem::swap(&mut self.round, &mut self.next);
        for at in 0..self.round.len() {
            let index = self.round[at];
            self.is_next[index] = false;
            if actors[index].turn()? {
                self.consider(index, &*actors[index]);
            } else {
                self.has_ended[index] = true;
                self.live -= 1;
            }
        }
        self.round.clear();
        Ok(())
    }

    /// Returns the next moment at which a loop or the network may have work, `until` at the latest.
    fn next_moment(&self, until: Instant) -> Instant {
        let alarm = self.alarms.peek().map(|Reverse((moment, _))| *moment);
        let coming = self.world.kernel().next_change();
        [alarm, coming].into_iter().flatten().fold(until, Instant::min)
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
                write!(f, "loops had work in {rounds} rounds at {at:?}: a livelock")
            }
            Self::Poller(error) => write!(f, "a loop's poller failed: {error}"),
        }
    }
}

impl std::error::Error for RunError {}
