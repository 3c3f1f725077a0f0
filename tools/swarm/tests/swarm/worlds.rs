//! The worlds of a range of seeds, and the marks that they set together.

use peerloop::sim::Tape;
use peerloop_swarm::{Marks, Outcome, Profile, run};
use std::env;
use std::fmt;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

/// Default number of seeds.
const SEEDS: u64 = 400;
/// From this number of seeds on, the worlds must together set every mark.
const SEEDS_FOR_ALL_MARKS: u64 = 5_000;
/// Maximum number of failures printed.
const MAX_PRINTED: usize = 10;

/// The totals of many worlds' outcomes.
#[derive(Default)]
struct Sum {
    seeds: u64,
    events: u64,
    virtual_time: Duration,
    failures: Vec<String>,
    marks: Marks,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.virtual_time += outcome.virtual_time;
        self.marks.merge(&outcome.marks);
        if let Some(first) = outcome.violations.first() {
            let count = outcome.violations.len();
            self.failures.push(format!("seed {seed}: {first}; {count} violations\n{}", outcome.scenario));
        }
    }

    /// Adds the outcomes of later seeds.
    fn merge(mut self, later: Self) -> Self {
        self.seeds += later.seeds;
        self.events += later.events;
        self.virtual_time += later.virtual_time;
        self.failures.extend(later.failures);
        self.marks.merge(&later.marks);
        self
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, events, virtual_time, failures, marks } = self;
        let (days, missing) = (virtual_time.as_secs_f64() / 86_400.0, marks.missing().count());
        write!(
            f,
            "swarm: {seeds} seeds, {events} socket events, {days:.1} virtual days, {} seeds with violations, \
             marks: {} hit, {missing} missing",
            failures.len(),
            marks.len()
        )
    }
}

fn seeds() -> u64 {
    env::var("PEERLOOP_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("PEERLOOP_SEEDS is a number"))
}

/// Returns the first seed; the others follow it.
fn first_seed() -> u64 {
    env::var("PEERLOOP_FIRST_SEED").map_or(0, |seed| seed.parse().expect("PEERLOOP_FIRST_SEED is a number"))
}

/// Runs a world for each seed, on at most one thread per processor.
fn run_worlds(seeds: &[u64]) -> Sum {
    let run_part = |part: &[u64]| {
        let mut sum = Sum::default();
        for &seed in part {
            sum.add(seed, &run(&Tape::from_seed(seed), Profile::Standard));
        }
        sum
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let parts = seeds.chunks(seeds.len().div_ceil(processors).max(1));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || run_part(part))).collect();
        let sums = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        sums.fold(Sum::default(), Sum::merge)
    })
}

#[test]
fn no_world_breaks_an_invariant_and_in_a_large_swarm_every_mark_is_set() {
    let (first, count) = (first_seed(), seeds());
    let seeds: Vec<u64> = (first..first + count).collect();
    let sum = run_worlds(&seeds);
    println!("{sum}, seeds from {first} on");
    let printed = sum.failures.iter().take(MAX_PRINTED).cloned().collect::<Vec<_>>().join("\n\n");
    assert_eq!(sum.seeds, count);
    assert!(
        sum.failures.is_empty(),
        "{sum}\n{printed}\nto replay one: cargo run --release --features sim -- sim --seeds 1 --seed SEED"
    );
    let missing: Vec<String> = sum.marks.missing().map(|mark| mark.to_string()).collect();
    assert!(count < SEEDS_FOR_ALL_MARKS || missing.is_empty(), "no world has set these marks: {missing:#?}");
}
