//! The swarm finds each planted bug in bounded time, by an invariant that is meant for the bug.

use peerloop::internals::{Bug, plant};
use peerloop::sim::Tape;
use peerloop_swarm::{Profile, run};
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Maximum real time until each bug is found.
const MAX_TIME: Duration = Duration::from_secs(60);
/// Maximum number of seeds tried for each bug: as many as `tools/test` runs without `--long`.
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
        // The swarm's loops have no relay. `tools/simulated/tests/canaries` finds these bugs.
        Bug::AnnouncementLost
        | Bug::AnnouncementRepeated
        | Bug::UntrustedAnnounced
        | Bug::RequestNotMoved
        | Bug::IndexReusedEarly
        | Bug::WrongBlockSent
        | Bug::ContinuedEarly
        | Bug::SourceHeld
        | Bug::WrongBlockRebuilt => &[],
        Bug::StreamOutlivesPeer => &[46],
        Bug::StreamKeepsSlot => &[1],
    }
}

/// Runs a world, and returns the first violated invariant that is in `invariants`, if any. A loop with a bug may also
/// panic, which does not count.
fn shows(seed: u64, invariants: &[u8]) -> Option<u8> {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(&Tape::from_seed(seed), Profile::Standard))).ok()?;
    outcome.violations.iter().map(|violation| violation.invariant).find(|number| invariants.contains(number))
}

/// Searches for a seed whose world shows `bug`. Returns the line to print, or `None` if the search fails.
#[expect(clippy::disallowed_methods, reason = "the real time until a bug is found is limited")]
fn search(bug: Bug) -> Option<String> {
    let _planted = plant(Some(bug));
    let began = Instant::now();
    let (seed, invariant) = (0..MAX_SEEDS)
        .take_while(|_| began.elapsed() < MAX_TIME)
        .find_map(|seed| shows(seed, broken_by(bug)).map(|invariant| (seed, invariant)))?;
    let took = began.elapsed().as_secs_f64();
    Some(format!("canary: {bug:?}, invariant {invariant}, {took:.2} s, seed {seed}"))
}

#[test]
fn every_planted_bug_is_found_by_an_invariant_that_is_meant_for_it() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let bugs = Mutex::new(Bug::ALL.into_iter());
    let next = || bugs.lock().expect("no search panics").next();
    // A planted bug affects only the thread that plants it, so each thread can search for a different bug.
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let found: Vec<(Bug, Option<String>)> = thread::scope(|scope| {
        let searches = (0..processors)
            .map(|_| scope.spawn(|| std::iter::from_fn(next).map(|bug| (bug, search(bug))).collect::<Vec<_>>()));
        let searches: Vec<_> = searches.collect();
        searches.into_iter().flat_map(|thread| thread.join().expect("no search panics")).collect()
    });
    panic::set_hook(hook);
    found.iter().filter_map(|(_, line)| line.as_ref()).for_each(|line| println!("{line}"));
    let missed: Vec<Bug> = found.iter().filter(|(_, line)| line.is_none()).map(|(bug, _)| *bug).collect();
    assert_eq!(found.len(), Bug::ALL.len());
    assert!(missed.is_empty(), "the swarm does not find {missed:?}");
}
