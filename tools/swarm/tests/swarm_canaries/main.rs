//! The swarm finds each planted bug in bounded time, by an invariant that is meant for the bug.

use peerloop::internals::{Bug, plant};
use peerloop::sim::Tape;
use peerloop_swarm::{Profile, run};
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// Maximum real time until each bug is found.
const MAX_TIME: Duration = Duration::from_secs(60);
/// Maximum number of seeds tried for each bug: those that `tools/test` runs.
const MAX_SEEDS: u64 = 10_000;

/// Returns the invariants that are meant for a bug.
fn broken_by(bug: Bug) -> &'static [u8] {
    match bug {
        Bug::NoGenerationCheck => &[4],
        Bug::EarlyTimer | Bug::CancelledTimerFires => &[22],
        Bug::LostEdge => &[7],
        Bug::NoDeferredFree => &[4, 5],
        Bug::NoAcceptRetry => &[10, 39],
        Bug::SlotReleasedTwice => &[1],
        Bug::SecondVersionAccepted => &[19],
        Bug::UnboundedQueue => &[14],
        Bug::TimerStarvedByTraffic => &[22],
        Bug::StalePongAccepted => &[23],
        Bug::DialForgotten | Bug::InaccessibleForgotten => &[39],
        Bug::PingPositionLost => &[40],
        Bug::RepliesTellNobody => &[41],
        Bug::PullForgotten => &[42],
        Bug::MarkLeftBehind => &[45],
    }
}

/// Runs a world, and returns the first violated invariant that is in `invariants`, if any. A loop with a bug may also
/// panic, which does not count.
fn shows(seed: u64, invariants: &[u8]) -> Option<u8> {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(&Tape::from_seed(seed), Profile::Standard))).ok()?;
    outcome.violations.iter().map(|violation| violation.invariant).find(|number| invariants.contains(number))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the real time until a bug is found is limited")]
fn every_planted_bug_is_found_by_an_invariant_that_is_meant_for_it() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let _planted = plant(Some(bug));
        let began = Instant::now();
        let found = (0..MAX_SEEDS)
            .take_while(|_| began.elapsed() < MAX_TIME)
            .find_map(|seed| shows(seed, broken_by(bug)).map(|invariant| (seed, invariant)));
        let took = began.elapsed().as_secs_f64();
        match found {
            Some((seed, invariant)) => println!("canary: {bug:?}, invariant {invariant}, {took:.2} s, seed {seed}"),
            None => missed.push(bug),
        }
    }
    panic::set_hook(hook);
    assert!(missed.is_empty(), "the swarm does not find {missed:?}");
}
