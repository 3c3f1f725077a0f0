//! Runs seeds, each a world of its own, on the requested number of threads. No further seed starts after a violation.
//!
//! Worlds are independent, so the threads share only the number of started seeds, the totals, and requests to end. A
//! panic inside a world is reported with the command that runs the world's seed again.

use super::{Plan, Played};
use crate::exit::{Failure, Stops};
use crate::notices::{Notice, Notices};
use crate::output;
use crate::progress::Progress;
use crate::units::show_seconds;
use peerloop::sim::Tape;
use peerloop::sim::invariant::Violation;
use peerloop_swarm::Patience;
use std::cell::Cell;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The totals over all worlds so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) worlds: u64,
    pub(crate) events: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) violations: u64,
    /// Of the seeds with a violation so far, the first in the plan's order, and its first violation.
    pub(crate) found: Option<(u64, Violation)>,
    /// The signals that ended the run early. The first signal ends every world after its current round of turns;
    /// the second ends the run at once.
    pub(crate) stops: Stops,
}

/// The state that the threads share.
#[derive(Debug, Default)]
struct Shared {
    /// Number of seeds started so far. A thread that finds no remaining seed also adds 1.
    taken: AtomicU64,
    /// Whether no further seed may start.
    is_over: AtomicBool,
    /// Ends the started worlds after a signal.
    patience: Patience,
    tally: Mutex<Tally>,
}

thread_local! {
    /// The current seed of this thread.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_seeds(&self, plan: &Plan) {
        while !self.is_over.load(Ordering::Relaxed) {
            let before = self.taken.fetch_add(1, Ordering::Relaxed);
            if before >= plan.seeds {
                return;
            }
            let seed = plan.seed.wrapping_add(before);
            let world = || (plan.play)(&Tape::from_seed(seed), plan.worlds.profile(), &self.patience);
            let Some(played) = at_seed(seed, world) else { return };
            self.note(plan, seed, &played);
        }
    }

    fn note(&self, plan: &Plan, seed: u64, played: &Played) {
        let mut tally = self.tally();
        tally.add(played);
        let Some(first) = played.violations.first() else { return };
        self.is_over.store(true, Ordering::Relaxed);
        let before = |other: u64| seed.wrapping_sub(plan.seed) < other.wrapping_sub(plan.seed);
        if tally.found.as_ref().is_none_or(|(other, _)| before(*other)) {
            tally.found = Some((seed, first.clone()));
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, played: &Played) {
        self.worlds += 1;
        self.events += played.events;
        self.virtual_time += played.virtual_time;
        self.violations += played.violations.len() as u64;
    }

    /// Formats the work done as one line.
    pub(crate) fn line(&self, took: Duration) -> String {
        let done = self.done();
        format!("seeds {}  {done}  violations {}  took {}", self.worlds, self.violations, show_seconds(took))
    }

    fn done(&self) -> String {
        format!("events {}  virtual days {:.2}", self.events, self.virtual_time.as_secs_f64() / 86_400.0)
    }
}

/// Runs a plan's seeds. After a world has broken an invariant or a signal has arrived, no further seed starts. Worlds
/// that a signal has ended are not counted.
pub(crate) fn hunt(plan: &Plan, notices: &Notices, progress: &mut Progress) -> Result<Tally, Failure> {
    report_panics(plan);
    let shared = Arc::new(Shared::default());
    let mut threads = Vec::new();
    for _ in 0..plan.jobs {
        let (shared, plan) = (Arc::clone(&shared), plan.clone());
        threads.push(notices.spawn("seeds", move || shared.run_seeds(&plan))?);
    }
    let mut working = threads.len();
    while working > 0 {
        match notices.next(Some(progress.interval())) {
            Some(Notice::Ended) => working -= 1,
            Some(Notice::Stop(stop)) => {
                shared.is_over.store(true, Ordering::Relaxed);
                shared.patience.end();
                let is_second = shared.tally().stops.note(stop);
                if is_second {
                    progress.clear();
                    return Ok(shared.tally().clone());
                }
            }
            Some(Notice::Rate(_) | Notice::Bell) | None => {
                let tally = shared.tally().clone();
                progress.show(&format!("seeds {}/{}  {}", tally.worlds, plan.seeds, tally.done()));
            }
        }
    }
    progress.clear();
    for thread in threads {
        thread
            .join()
            .map_err(|_| Failure::run("simulating: the loop panicked; the lines above show how to repeat it"))?;
    }
    let tally = shared.tally().clone();
    Ok(tally)
}

/// Runs `work` for a seed. If `work` panics, the hook of [`report_panics`] names the seed.
pub(crate) fn at_seed<T>(seed: u64, work: impl FnOnce() -> T) -> T {
    SEED.set(Some(seed));
    let result = work();
    SEED.set(None);
    result
}

/// Sets a panic hook. After the message of a panic in a world, the hook prints the command that repeats the world's
/// seed. Only a hook can print this command, because a panic may end the program at once.
fn report_panics(plan: &Plan) {
    let (before, plan) = (panic::take_hook(), plan.clone());
    panic::set_hook(Box::new(move |what| {
        before(what);
        if let Some(seed) = SEED.get() {
            output::complain(&format!("seed {seed} panicked; repeat it with: {}", plan.repeat(seed)));
        }
    }));
}
