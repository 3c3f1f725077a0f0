//! Makes every network call fail once with each of its errors, at each of its first [`MAX_CALLS`] occurrences.
//!
//! A [`Life`] is a short scenario of one loop. It runs once without a fault, to count its calls, and then once for
//! each fault: a site (kind of call), an error and an occurrence. After any failure, every invariant holds, at most one
//! peer is lost, later peers are served, and the loop stops cleanly. Only a failed wait may end the loop, which must
//! then release everything. The test prints the occurrences that no life reaches.

#![expect(clippy::unwrap_used, reason = "a failure in a helper fails its test")]

mod errors;
mod scenario;

use errors::{ends_the_loop, errors_of, is_put_off};
use peerloop::handler::Handler;
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Actor, Driver, RunError, Site, World};
use peerloop::time::{Instant, Wait};
use peerloop_testkit::simulated::secs;
use scenario::{Life, Seen, Stage};
use std::io;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

/// Maximum number of calls that are made to fail at each site, counted from the first call.
const MAX_CALLS: u64 = 50;
/// Maximum number of rounds at one moment: far more than any life here needs.
const MAX_ROUNDS: u64 = 2_000;
/// Number of descriptors of a host without sockets: its poller and its waker.
const OWN_DESCRIPTORS: usize = 2;
/// The host under test.
const HOST: usize = 0;

/// A call that fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    site: Site,
    errno: i32,
    nth_call: u64,
}

/// A life's outcome, if no check failed.
#[derive(Debug)]
struct Lived {
    seen: Seen,
    turns: u64,
    /// Number of calls at each site.
    calls: [u64; Site::ALL.len()],
}

/// The loop under test, and whether it has stopped.
struct Watched<'a, H: Handler> {
    node: &'a mut Checked<H>,
    has_ended: bool,
}

impl<H: Handler> Actor for Watched<'_, H> {
    fn turn(&mut self) -> io::Result<bool> {
        let goes_on = self.node.turn()?;
        self.has_ended |= !goes_on;
        Ok(goes_on)
    }

    fn wait(&self) -> Wait {
        self.node.wait()
    }

    fn host(&self) -> Option<usize> {
        self.node.host()
    }
}

/// Runs a life with or without a fault, and returns the first failed check as an error. `sound` is the outcome of the
/// same life without a fault.
fn live(life: Life, fault: Option<Fault>, sound: Option<&Lived>) -> Result<Lived, String> {
    let mut stage = Stage::new(life);
    if let Some(Fault { site, errno, nth_call }) = fault {
        stage.world.fail_once(HOST, site, errno, nth_call);
    }
    stage.listen().map_err(|error| format!("listening failed twice: {error}"))?;
    let ended = run_life(&mut stage, life, fault, sound);
    let violations = stage.node.violations();
    let complaints = [stage.journal.complaints(), stage.late_journal.complaints()].concat();
    ensure(violations.is_empty(), || format!("{violations:?}"))?;
    ensure(complaints.is_empty(), || format!("the honest peers complained: {complaints:?}"))?;
    let lived = Lived {
        seen: stage.node.handler().seen.clone(),
        turns: stage.node.stats().counters.turns,
        calls: Site::ALL.map(|site| stage.world.calls(HOST, site)),
    };
    match (ended, fault) {
        (Err(RunError::Poller(_)), Some(fault)) if ends_the_loop(fault.site, fault.errno) => die(stage)?,
        (Err(error), _) => return Err(error.to_string()),
        (Ok(wrong), _) => wrong.map_or(Ok(()), Err)?,
    }
    if let (Some(fault), Some(sound)) = (fault, sound) {
        compare(fault, sound, &lived)?;
    }
    Ok(lived)
}

/// Runs a life, then connects late peers except in [`Life::Short`], and then stops the loop. Returns the failed
/// check, if any.
fn run_life(
    stage: &mut Stage,
    life: Life,
    fault: Option<Fault>,
    sound: Option<&Lived>,
) -> Result<Option<String>, RunError> {
    run(stage, life.time())?;
    if life != Life::Short {
        let is_over = fault.is_none_or(|fault| stage.world.calls(HOST, fault.site) >= fault.nth_call);
        stage.invite_late_peers();
        run(stage, secs(3))?;
        let late = stage.late_journal.tally();
        if is_over && (late.ready != 3 || late.pongs < 3) {
            return Ok(Some(format!("late peers were not served: {late:?}")));
        }
    }
    stage.node.handle().stop().unwrap();
    // A graceful stop is immediate if all peers answer; a failed call may delay it by up to the grace period.
    let grace = if sound.is_none() { Duration::from_millis(1) } else { secs(5) };
    let has_ended = run(stage, grace)?;
    let open = stage.world.open_descriptors(HOST);
    let is_clean = has_ended && open == OWN_DESCRIPTORS && stage.peers.is_empty() && stage.late.is_empty();
    Ok((!is_clean).then(|| {
        let left = stage.peers.len() + stage.late.len();
        format!("the stop was not clean: loop ended: {has_ended}, descriptors open: {open}, peers connected: {left}")
    }))
}

/// Runs the world for `time`; returns whether the loop has stopped.
fn run(stage: &mut Stage, time: Duration) -> Result<bool, RunError> {
    let Stage { world, node, peers, late, .. } = stage;
    let mut node = Watched { node, has_ended: false };
    let driver = Driver::new(world).with_rounds_per_moment(MAX_ROUNDS);
    driver.run_until(world.now().plus(time), &mut [&mut node, peers, late])?;
    Ok(node.has_ended)
}

/// Drops a loop whose poller has failed, and checks that all its descriptors and connections are released.
fn die(stage: Stage) -> Result<(), String> {
    let Stage { world, node, mut peers, mut late, .. } = stage;
    drop(node);
    let until = world.now().plus(secs(1));
    Driver::new(&world).run_until(until, &mut [&mut peers, &mut late]).map_err(|error| error.to_string())?;
    let left = (world.open_descriptors(HOST), peers.len(), late.len());
    ensure(left == (OWN_DESCRIPTORS, 0, 0), || format!("the failed loop has not released everything: {left:?}"))
}

/// Checks that the fault has happened, and that the fault has changed the life's outcome no more than is allowed.
fn compare(fault: Fault, sound: &Lived, lived: &Lived) -> Result<(), String> {
    let has_failed = lived.calls[fault.site as usize] >= fault.nth_call;
    ensure(has_failed, || "the call that was to fail was never made".to_owned())?;
    if ends_the_loop(fault.site, fault.errno) {
        return Ok(());
    }
    let (seen, expected) = (&lived.seen, &sound.seen);
    if is_put_off(fault.errno) {
        ensure(seen == expected, || format!("the fault changed the outcome: {seen:?} instead of {expected:?}"))?;
    }
    let lost = expected.ready.saturating_sub(seen.ready);
    ensure(lost <= 1, || format!("{lost} peers were lost"))?;
    let max_turns = 2 * sound.turns + 100;
    ensure(lived.turns <= max_turns, || format!("{} turns instead of {} without the fault", lived.turns, sound.turns))
}

fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(text()) }
}

/// The number of runs, their failed checks, and the number of occurrences at each site that were made to fail.
#[derive(Debug, Default)]
struct Account {
    runs: usize,
    wrong: Vec<String>,
    reached: [u64; Site::ALL.len()],
}

impl Account {
    /// Makes a life's calls fail, one in each run. At each site, the first calls are skipped: `after` returns their
    /// number.
    fn enumerate(&mut self, life: Life, after: impl Fn(&Self, Site) -> u64) {
        let sound = live(life, None, None).unwrap_or_else(|wrong| panic!("{life:?} without a fault: {wrong}"));
        let mut faults = Vec::new();
        for site in Site::ALL {
            let last = sound.calls[site as usize].min(MAX_CALLS);
            assert!(last > 0, "{life:?} never reaches {site:?}");
            let first = after(self, site) + 1;
            let faults_of = |nth_call| errors_of(site).iter().map(move |&errno| Fault { site, errno, nth_call });
            faults.extend((first..=last).flat_map(faults_of));
            self.reached[site as usize] = self.reached[site as usize].max(last);
        }
        self.runs += faults.len();
        self.wrong.extend(faults_found(life, &faults, &sound));
    }

    /// Returns the occurrences that no life reaches.
    fn unreached(&self) -> Vec<String> {
        let sites = Site::ALL.into_iter().zip(self.reached);
        let short = sites.filter(|(_, reached)| *reached < MAX_CALLS);
        short.map(|(site, reached)| format!("{site:?} {} to {MAX_CALLS}", reached + 1)).collect()
    }
}

/// Runs a life once for each fault, with the faults divided equally among the processors; returns the failed checks.
fn faults_found(life: Life, faults: &[Fault], sound: &Lived) -> Vec<String> {
    let live_with = |&fault: &Fault| {
        let Fault { site, errno, nth_call } = fault;
        let wrong = live(life, Some(fault), Some(sound)).err()?;
        Some(format!("{life:?}, {site:?} {nth_call}, {}: {wrong}", io::Error::from_raw_os_error(errno)))
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let parts = faults.chunks(faults.len().div_ceil(processors).max(1));
        let live_part = |part: &[Fault]| part.iter().filter_map(live_with).collect::<Vec<_>>();
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || live_part(part))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test prints its duration")]
fn after_any_failed_call_the_loop_continues_or_ends_cleanly() {
    let began = std::time::Instant::now();
    let mut account = Account::default();
    account.enumerate(Life::Busy, |_, _| 0);
    account.enumerate(Life::Crowded, |account, site| account.reached[site as usize]);
    account.enumerate(Life::Short, |_, _| 0);
    let pairs: usize = Site::ALL.iter().map(|site| errors_of(*site).len()).sum();
    println!(
        "{} sites, {pairs} errors, {} runs, {:.1} s; never reached: {}",
        Site::ALL.len(),
        account.runs,
        began.elapsed().as_secs_f64(),
        account.unreached().join(", ")
    );
    let wrong = &account.wrong;
    let first: Vec<&str> = wrong.iter().map(String::as_str).take(40).collect();
    assert!(wrong.is_empty(), "{} of {} runs failed:\n{}", wrong.len(), account.runs, first.join("\n"));
    // Each life opens only two listeners. Every other kind of call is made at least `MAX_CALLS` times in some life.
    assert_eq!(account.unreached(), [format!("{:?} 3 to {MAX_CALLS}", Site::Listen)]);
}

/// Checks that [`live`] finds a bug that shows only after a particular call has failed.
#[test]
fn a_bug_that_needs_a_failed_call_is_found() {
    use peerloop::internals::errno::EMFILE;
    use peerloop::internals::{Bug, plant};
    let fault = Fault { site: Site::Accept, errno: EMFILE, nth_call: 3 };
    let sound = live(Life::Busy, None, None).unwrap();
    live(Life::Busy, Some(fault), Some(&sound)).unwrap();
    let _planted = plant(Some(Bug::NoAcceptRetry));
    live(Life::Busy, None, None).unwrap();
    let wrong = live(Life::Busy, Some(fault), Some(&sound)).unwrap_err();
    assert!(wrong.contains("accept") || wrong.contains("not served"), "{wrong}");
}

#[test]
fn every_life_is_repeatable() {
    for life in [Life::Busy, Life::Crowded, Life::Short] {
        let hash = || {
            let mut stage = Stage::new(life);
            stage.listen().unwrap();
            run_life(&mut stage, life, None, None).unwrap();
            let world: &World = &stage.world;
            (world.now() > Instant::ZERO, world.trace().hash())
        };
        assert_eq!(hash(), hash());
    }
}
