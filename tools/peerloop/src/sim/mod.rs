//! `sim`: runs the loop in simulated worlds, one for each seed, and checks its invariants.
//!
//! No further seed starts after a violation. The tape of the violation's seed is then shrunk and written to a file, so
//! that the tape can be examined, replayed and kept. No tape is written if `--minimise` is 0, if a signal arrives
//! during the search, or if two arrive during the shrinking. Only programs that were built with the feature `sim` have
//! this command.

mod hunt;
mod report;

use crate::bench::random_seed;
use crate::cli::SimArgs;
use crate::exit::{Exit, Failure};
use crate::notices::{Notice, Notices};
use crate::output::{self, Sink};
use crate::progress::Progress;
use crate::units::show_seconds;
use clap::ValueEnum;
use hunt::Tally;
use peerloop::sim::invariant::Violation;
use peerloop::sim::{Minimised, Tape, minimise};
use peerloop_swarm::{Outcome, Patience, Profile, run_with};
use report::{Find, Origin, Smaller};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The kind of worlds to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Worlds {
    /// All kinds of peers and faults
    Standard,
    /// The same worlds without their hostile peers
    WithoutHostile,
}

/// The outcome of one world.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) events: u64,
    /// The number of calls to the simulated network, which a [`Patience`] may limit.
    pub(crate) calls: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) violations: Vec<Violation>,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seeds: u64,
    /// The first seed.
    pub(crate) seed: u64,
    pub(crate) worlds: Worlds,
    pub(crate) jobs: usize,
    /// Maximum time to shrink a violation's tape. With zero, no tape is shrunk or written.
    pub(crate) minimise: Duration,
    /// The file for the shrunk tape; `None` means the default name.
    pub(crate) save: Option<PathBuf>,
    /// Plays a tape; returns `None` if the patience runs out before the world ends.
    pub(crate) play: fn(&Tape, Profile, &Patience) -> Option<Played>,
}

impl Worlds {
    const fn profile(self) -> Profile {
        match self {
            Self::Standard => Profile::Standard,
            Self::WithoutHostile => Profile::WithoutHostile,
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Plan {
    fn new(args: &SimArgs) -> Self {
        Self {
            seeds: args.seeds as u64,
            seed: args.seed.unwrap_or_else(random_seed),
            worlds: args.profile,
            jobs: args.jobs,
            minimise: args.minimise,
            save: args.save.clone(),
            play,
        }
    }

    /// Returns the command that runs a seed again.
    fn repeat(&self, seed: u64) -> String {
        format!("{COMMAND} --seeds 1 --seed {seed} --profile {}", self.worlds.name())
    }

    /// Returns the command that replays a tape.
    fn replay(&self, path: &Path) -> String {
        format!("{COMMAND} --tape {} --profile {}", path.display(), self.worlds.name())
    }
}

/// The command that runs this program from the root of its sources.
const COMMAND: &str = "cargo run --release --features sim -- sim";

pub(crate) fn run(args: SimArgs) -> Result<Exit, Failure> {
    let tapes: Vec<(&str, &Path)> = [("--tape", &args.tape), ("--save", &args.save)]
        .into_iter()
        .filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
        .collect();
    let [mut json] = output::open_all([("--json", args.json.as_deref())], &tapes)?;
    let plan = Plan::new(&args);
    let began = Instant::now();
    let is_stdout_free = !json.as_ref().is_some_and(Sink::is_stdout);
    // A violation is reported at once, because shrinking its tape may fail.
    let announce = |find: &Find| if is_stdout_free { output::print(&find.text()) } else { Ok(()) };
    let (tally, find) = match &args.tape {
        Some(path) => replay(&plan, path, announce)?,
        None => search(&plan, announce, &Notices::new()?, &mut Progress::new(args.quiet))?,
    };
    let run = report::Run { plan: &plan, tape: args.tape.as_deref(), tally: &tally, took: began.elapsed() };
    if let Some(sink) = &mut json {
        let json = report::json(&run, find.as_ref());
        sink.write_with(|out| out.write_all(json.as_bytes()))?;
    }
    if is_stdout_free {
        output::print(&report::text(&run, find.as_ref()))?;
    }
    match (find, tally.stops.exit()) {
        (Some(find), _) => Err(Failure::run(find.reason())),
        (None, Some((exit, _))) => Ok(exit),
        (None, None) => Ok(Exit::Success),
    }
}

/// Plays one tape as it is.
fn replay(
    plan: &Plan,
    path: &Path,
    announce: impl Fn(&Find) -> Result<(), Failure>,
) -> Result<(Tally, Option<Find>), Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::run(format!("reading {name}: {error}")))?;
    let tape = Tape::parse(&text).map_err(|error| Failure::run(format!("reading {name}: {error}")))?;
    let played = (plan.play)(&tape, plan.worlds.profile(), &Patience::default());
    let played = played.expect("this patience has no limit");
    let mut tally = Tally::default();
    tally.add(&played);
    let find = played.violations.into_iter().next().map(|first| Find::new(Origin::Tape(path), first, plan));
    if let Some(find) = &find {
        announce(find)?;
    }
    Ok((tally, find))
}

/// Runs the plan's seeds; none starts after a violation. Shrinks the tape of the first seed with a violation, in the
/// plan's order, unless shrinking is disabled or a signal has arrived.
fn search(
    plan: &Plan,
    announce: impl Fn(&Find) -> Result<(), Failure>,
    notices: &Notices,
    progress: &mut Progress,
) -> Result<(Tally, Option<Find>), Failure> {
    let mut tally = hunt::hunt(plan, notices, progress)?;
    let Some((seed, first)) = tally.found.clone() else { return Ok((tally, None)) };
    let mut find = Find::new(Origin::Seed(seed), first, plan);
    announce(&find)?;
    if !plan.minimise.is_zero() && !tally.stops.is_any() {
        find.smaller = make_smaller(plan, seed, &find, notices, progress, &mut tally)?;
    }
    Ok((tally, Some(find)))
}

/// Shrinks the tape of `seed` and writes it to a file. A signal or the time limit ends the shrinking, and the
/// smallest tape so far is written. A second signal ends everything at once, and no tape is written.
fn make_smaller(
    plan: &Plan,
    seed: u64,
    find: &Find,
    notices: &Notices,
    progress: &mut Progress,
    tally: &mut Tally,
) -> Result<Option<Smaller>, Failure> {
    let path = plan.save.clone().unwrap_or_else(|| PathBuf::from(format!("sim-{seed}.tape")));
    let mut sink = Sink::open(&path)?;
    let (effort, began) = (Arc::new(Effort::default()), Instant::now());
    let thread = {
        let (effort, plan, invariant) = (Arc::clone(&effort), plan.clone(), find.violation.invariant);
        notices.spawn("minimise", move || least_tape(&plan, seed, invariant, &effort))?
    };
    loop {
        match notices.next(Some(progress.interval())) {
            Some(Notice::Ended) => break,
            Some(Notice::Stop(stop)) => {
                effort.patience.end();
                if tally.stops.note(stop) {
                    progress.clear();
                    return Ok(None);
                }
            }
            Some(Notice::Rate(_) | Notice::Bell) | None => {
                if began.elapsed() >= plan.minimise {
                    effort.patience.end();
                }
                let runs = effort.runs.load(Ordering::Relaxed);
                progress.show(&format!("shrinking the tape: {runs} runs, {}", show_seconds(began.elapsed())));
            }
        }
    }
    progress.clear();
    let tape = thread.join().map_err(|_| Failure::run("shrinking the tape: the loop panicked"))?;
    let text = report::tape_file(plan, find, &tape);
    sink.write_with(|out| out.write_all(text.as_bytes()))?;
    let LeastTape { runs, is_least, .. } = tape;
    Ok(Some(Smaller { replay: plan.replay(&path), path, bytes: text.len(), runs, is_least }))
}

/// The result of shrinking a tape. The tape is stored as text, because a tape cannot be sent to another thread.
#[derive(Debug)]
pub(crate) struct LeastTape {
    pub(crate) text: String,
    runs: u64,
    is_least: bool,
}

/// The progress of the shrinking: the runs so far, and the [`Patience`] that limits them.
#[derive(Debug, Default)]
struct Effort {
    runs: AtomicU64,
    patience: Patience,
}

/// The maximum number of calls of a smaller tape's world, as a multiple of the calls of the seed's world. A world with
/// more calls is abandoned and counts as a world without a violation.
const CALLS_FACTOR: u64 = 10;

/// Returns the smallest tape found that breaks the invariant. If the seed's own tape does not break it, or if the
/// patience runs out before that is known, returns the seed's own tape.
fn least_tape(plan: &Plan, seed: u64, invariant: u8, effort: &Effort) -> LeastTape {
    let Effort { runs, patience } = effort;
    let profile = plan.worlds.profile();
    let least = || {
        let recording = Tape::recording(seed);
        let calls = (plan.play)(&recording, profile, patience)?.calls;
        let patience = patience.clone().with_max_calls(calls.saturating_mul(CALLS_FACTOR));
        let breaks = |tape: &Tape| {
            let played = (plan.play)(tape, profile, &patience);
            played.is_some_and(|played| played.violations.iter().any(|violation| violation.invariant == invariant))
        };
        let may_continue = |count| {
            runs.store(count, Ordering::Relaxed);
            patience.is_active()
        };
        minimise(&recording, breaks, may_continue)
    };
    hunt::at_seed(seed, || match least() {
        Some(Minimised { tape, runs, is_least }) => {
            // If the patience has run out, the last run may have been abandoned, so a smaller tape may exist.
            LeastTape { text: tape.to_text(), runs, is_least: is_least && patience.is_active() }
        }
        None => LeastTape { text: Tape::from_seed(seed).to_text(), runs: 0, is_least: false },
    })
}

fn play(tape: &Tape, profile: Profile, patience: &Patience) -> Option<Played> {
    let Outcome { events, calls, virtual_time, violations, .. } = run_with(tape, profile, patience)?;
    Some(Played { events, calls, virtual_time, violations })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(3_600);

    /// Plays a world whose invariant is broken if at least eight of its 40 draws are high.
    fn play_dice(tape: &Tape, _profile: Profile, _patience: &Patience) -> Option<Played> {
        let dice = tape.stream(3);
        let high: Vec<u32> = (0..40).map(|_| dice.below(1_000)).filter(|draw| *draw >= 900).collect();
        let broken =
            Violation { invariant: 9, at: peerloop::time::Instant::from_nanos(1_500), text: format!("{high:?}") };
        let violations = if high.len() >= 8 { vec![broken] } else { Vec::new() };
        Some(Played { events: 10, calls: 20, virtual_time: TIME, violations })
    }

    /// Plays the world of [`play_dice`], unless stream 4 draws 0. In that case, the world runs until the patience
    /// runs out, and makes `calls_per_look` calls between two checks of the patience.
    fn play_on(tape: &Tape, profile: Profile, patience: &Patience, calls_per_look: u64) -> Option<Played> {
        if tape.stream(4).below(1_000_000) == 0 {
            let mut calls = 0;
            while patience.lasts(calls) {
                calls += calls_per_look;
                std::thread::yield_now();
            }
            return None;
        }
        play_dice(tape, profile, patience)
    }

    /// Returns a plan for 500 seeds from 100 on; some of these seeds break the invariant.
    fn plan(name: &str) -> Plan {
        let save = std::env::temp_dir().join(format!("peerloop-{}-{name}.tape", std::process::id()));
        Plan {
            seeds: 500,
            seed: 100,
            worlds: Worlds::Standard,
            jobs: 1,
            minimise: TIME,
            save: Some(save),
            play: play_dice,
        }
    }

    fn search_quietly(plan: &Plan) -> (Tally, Option<Find>) {
        search(plan, |_| Ok(()), &Notices::new().unwrap(), &mut Progress::new(true)).unwrap()
    }

    fn breaks(seed: u64) -> bool {
        !play_dice(&Tape::from_seed(seed), Profile::Standard, &Patience::default()).unwrap().violations.is_empty()
    }

    #[test]
    fn a_seed_that_breaks_the_invariant_is_found_on_one_thread_and_on_four() {
        let first = (100..).find(|seed| breaks(*seed)).unwrap();
        assert!((101..600).contains(&first), "{first}");
        for jobs in [1, 4] {
            let plan = Plan { jobs, minimise: Duration::ZERO, ..plan("first") };
            let (tally, find) = search_quietly(&plan);
            let (seed, violation) = tally.found.unwrap();
            assert!(breaks(seed) && seed >= first && violation.invariant == 9);
            assert_eq!((tally.events, tally.virtual_time), (10 * tally.worlds, TIME * tally.worlds as u32));
            assert!(find.unwrap().smaller.is_none(), "a tape was shrunk without a request");
            if jobs == 1 {
                assert_eq!((seed, tally.worlds, tally.violations), (first, first - 99, 1));
            }
        }
    }

    #[test]
    fn a_violation_is_reported_as_one_line_and_the_command_that_repeats_it() {
        let plan = Plan { minimise: Duration::ZERO, ..plan("line") };
        let (tally, find) = search_quietly(&plan);
        let (seed, _) = tally.found.unwrap();
        let text = find.as_ref().unwrap().text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(&format!("seed={seed} commit=")), "{text}");
        assert!(lines[0].contains(" at=0.000001500s invariant=9 ["), "{text}");
        let repeat = "repeat: cargo run --release --features sim -- sim --seeds 1 --seed";
        assert_eq!(lines[1], format!("{repeat} {seed} --profile standard"));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn the_tape_of_a_violation_is_minimal_and_can_be_replayed() {
        let plan = plan("least");
        let path = plan.save.clone().unwrap();
        let (_, find) = search_quietly(&plan);
        let smaller = find.unwrap().smaller.unwrap();
        let file = std::fs::read_to_string(&path).unwrap();
        assert_eq!((smaller.bytes, smaller.is_least), (file.len(), true));
        assert!(file.starts_with("# invariant 9 ("), "{file}");
        assert!(file.contains("profile=standard\n"), "{file}");
        let draws = Tape::parse(&file).unwrap().draws();
        let high: Vec<u64> = draws[&3].iter().copied().filter(|draw| *draw != 0).collect();
        assert_eq!((draws.len(), high), (1, vec![900; 8]));
        let (tally, replayed) = replay(&plan, &path, |_| Ok(())).unwrap();
        assert_eq!((tally.worlds, replayed.unwrap().violation.invariant), (1, 9));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_tape_whose_world_does_not_end_counts_as_a_tape_without_a_violation() {
        let play = |tape: &Tape, profile, patience: &_| play_on(tape, profile, patience, 1);
        let plan = Plan { play, ..plan("on-and-on") };
        let (_, find) = search_quietly(&plan);
        let smaller = find.unwrap().smaller.unwrap();
        let file = std::fs::read_to_string(&smaller.path).unwrap();
        std::fs::remove_file(&smaller.path).unwrap();
        assert!(smaller.is_least, "{file}");
        assert_eq!(Tape::parse(&file).unwrap().draws()[&4], [1], "the draw was not shrunk to 1");
    }

    #[test]
    fn the_time_limit_for_shrinking_ends_an_endless_world() {
        let play = |tape: &Tape, profile, patience: &_| play_on(tape, profile, patience, 0);
        let plan = Plan { play, minimise: Duration::from_nanos(1), ..plan("time-limit") };
        let (tally, find) = search_quietly(&plan);
        let smaller = find.unwrap().smaller.unwrap();
        let file = std::fs::read_to_string(&smaller.path).unwrap();
        std::fs::remove_file(&smaller.path).unwrap();
        assert!(!smaller.is_least && !tally.stops.is_any(), "{file}");
        let tape = Tape::parse(&file).unwrap();
        assert!(!play(&tape, Profile::Standard, &Patience::default()).unwrap().violations.is_empty(), "{file}");
    }

    #[test]
    fn the_json_contains_the_counts_and_the_violation() {
        let plan = Plan { minimise: Duration::ZERO, ..plan("json") };
        let (tally, find) = search_quietly(&plan);
        let run = report::Run { plan: &plan, tape: None, tally: &tally, took: TIME };
        let json: serde_json::Value = serde_json::from_str(&report::json(&run, find.as_ref())).unwrap();
        assert_eq!(json["counts"]["seeds"], tally.worlds);
        assert_eq!(json["counts"]["virtual_ns"], (tally.worlds * 3_600_000_000_000).to_string());
        assert_eq!(json["found"]["origin"], format!("seed={}", tally.found.unwrap().0));
        assert_eq!((&json["found"]["invariant"], &json["exit"]["code"]), (&9.into(), &1.into()));
    }

    #[test]
    fn worlds_without_violations_are_a_success() {
        let sound = (100..).take_while(|seed| !breaks(*seed)).count() as u64;
        let plan = Plan { seeds: sound, ..plan("sound") };
        let (tally, find) = search_quietly(&plan);
        assert_eq!((tally.worlds, tally.violations, find.is_none()), (sound, 0, true));
        let run = report::Run { plan: &plan, tape: None, tally: &tally, took: Duration::from_millis(2_510) };
        let days = sound as f64 / 24.0;
        let done = format!("seeds {sound}  events {}  virtual days {days:.2}  violations 0  took 2.5 s", 10 * sound);
        assert_eq!(report::text(&run, None), format!("{done}  first seed 100  profile standard\n"));
    }

    #[test]
    fn the_error_for_a_file_that_is_not_a_tape_names_the_file() {
        let path = plan("wrong").save.unwrap();
        std::fs::write(&path, "1: x").unwrap();
        let failure = replay(&plan("wrong"), &path, |_| Ok(())).unwrap_err();
        assert!(failure.message.contains("-wrong.tape: line 1 of the tape"), "{}", failure.message);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(replay(&plan("wrong"), &path, |_| Ok(())).unwrap_err().exit, Exit::RunFailed);
    }
}
