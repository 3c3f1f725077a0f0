//! The result of a simulation in three forms: text for people, JSON for programs, and a tape file.

use super::hunt::Tally;
use super::{LeastTape, Plan};
use crate::exit::Exit;
use crate::output::json::{self, SCHEMA, Tool, nanos, pretty};
use crate::units::show_bytes;
use peerloop::sim::Tape;
use peerloop::sim::invariant::Violation;
use peerloop_swarm::Scenario;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The source of a violation: a seed, or a tape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    Seed(u64),
    Tape(&'a Path),
}

/// A violation of an invariant.
#[derive(Debug)]
pub(crate) struct Find {
    origin: String,
    /// The commit of the sources. With other sources, the same seed may draw another world.
    commit: String,
    pub(crate) violation: Violation,
    repeat: String,
    pub(crate) smaller: Option<Smaller>,
}

/// The file of a smaller tape.
#[derive(Debug)]
pub(crate) struct Smaller {
    pub(crate) path: PathBuf,
    pub(crate) bytes: usize,
    pub(crate) runs: u64,
    pub(crate) is_least: bool,
    pub(crate) replay: String,
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) tape: Option<&'a Path>,
    pub(crate) tally: &'a Tally,
    pub(crate) took: Duration,
}

impl Find {
    pub(crate) fn new(origin: Origin<'_>, violation: Violation, plan: &Plan) -> Self {
        let (origin, repeat) = match origin {
            Origin::Seed(seed) => (format!("seed={seed}"), plan.repeat(seed)),
            Origin::Tape(path) => (format!("tape={}", path.display()), plan.replay(path)),
        };
        Self { origin, commit: commit(), violation, repeat, smaller: None }
    }

    /// Formats the violation as one line.
    fn line(&self) -> String {
        let Violation { invariant, at, text } = &self.violation;
        let seconds = at.as_nanos() as f64 / 1e9;
        let text = text.replace('\n', " ");
        format!("{} commit={} at={seconds:.9}s invariant={invariant} {text}", self.origin, self.commit)
    }

    /// Formats the violation, and the command that repeats it.
    pub(crate) fn text(&self) -> String {
        format!("{}\nrepeat: {}\n", self.line(), self.repeat)
    }

    /// Describes why the run failed.
    pub(crate) fn reason(&self) -> String {
        let number = self.violation.invariant;
        format!("simulating: {} breaks invariant {number}; repeat it with: {}", self.origin, self.repeat)
    }
}

impl Smaller {
    fn text(&self) -> String {
        let least = if self.is_least { "; no draw can be removed or lowered" } else { "" };
        let (path, bytes) = (self.path.display(), show_bytes(self.bytes as u64));
        format!("smaller: {path}, {bytes} after {} runs{least}\nreplay: {}\n", self.runs, self.replay)
    }
}

/// Formats the rest of the result for people; [`Find::text`] is printed before it.
pub(crate) fn text(run: &Run<'_>, find: Option<&Find>) -> String {
    let smaller = find.and_then(|find| find.smaller.as_ref());
    let (tally, profile) = (run.tally.line(run.took), run.plan.worlds.name());
    match run.tape {
        Some(path) => format!("{tally}  tape {}  profile {profile}\n", path.display()),
        None => {
            let partial = if run.tally.stops.is_any() { "  partial" } else { "" };
            let smaller = smaller.map_or_else(String::new, Smaller::text);
            format!("{smaller}{tally}  first seed {}  profile {profile}{partial}\n", run.plan.seed)
        }
    }
}

/// Formats a tape file: the violation in the first line, then its source, the world, and the draws.
pub(crate) fn tape_file(plan: &Plan, find: &Find, tape: &LeastTape) -> String {
    let mut file = format!("# {}\n", find.violation.to_string().replace('\n', " "));
    let _ = writeln!(file, "# {} commit={} profile={}", find.origin, find.commit, plan.worlds.name());
    if let Ok(tape) = Tape::parse(&tape.text) {
        let scenario = Scenario::draw(&tape, plan.worlds.profile()).to_string();
        scenario.lines().for_each(|line| {
            let _ = writeln!(file, "# {line}");
        });
    }
    file + &tape.text
}

/// Returns the commit that is checked out in this program's source folder, with `-dirty` if there are uncommitted
/// changes; `unknown` if Git cannot name it.
fn commit() -> String {
    let describe = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    let output = Command::new("git").args(describe).output().ok().filter(|output| output.status.success());
    let commit = output.and_then(|output| String::from_utf8(output.stdout).ok());
    commit.map_or_else(|| "unknown".to_owned(), |commit| commit.trim().to_owned())
}

#[derive(Debug, Serialize)]
struct Document {
    schema: u32,
    tool: Tool,
    run: Facts,
    counts: Counts,
    found: Option<Found>,
    exit: json::Exit,
}

#[derive(Debug, Serialize)]
struct Facts {
    profile: String,
    /// A string, because most JSON readers represent integers exactly only up to 2^53.
    first_seed: Option<String>,
    tape: Option<String>,
    duration_ns: u64,
    partial: bool,
}

#[derive(Debug, Serialize)]
struct Counts {
    seeds: u64,
    events: u64,
    /// A string, because all worlds together may last longer than 2^53 ns.
    virtual_ns: String,
    violations: u64,
}

#[derive(Debug, Serialize)]
struct Found {
    origin: String,
    commit: String,
    /// A string, because a world's clock may exceed 2^53 ns.
    at_ns: String,
    invariant: u8,
    text: String,
    repeat: String,
    smaller: Option<SmallerTape>,
}

#[derive(Debug, Serialize)]
struct SmallerTape {
    path: String,
    bytes: usize,
    runs: u64,
    is_least: bool,
    replay: String,
}

/// Formats the result for programs.
pub(crate) fn json(run: &Run<'_>, find: Option<&Find>) -> String {
    let (exit, reason) = match (find, run.tally.stops.exit()) {
        (Some(find), _) => (Exit::RunFailed, find.reason()),
        (None, Some(stopped)) => stopped,
        (None, None) => (Exit::Success, "finished".to_owned()),
    };
    pretty(&Document {
        schema: SCHEMA,
        tool: Tool::THIS,
        run: Facts {
            profile: run.plan.worlds.name(),
            first_seed: run.tape.is_none().then(|| run.plan.seed.to_string()),
            tape: run.tape.map(|path| path.display().to_string()),
            duration_ns: nanos(run.took),
            partial: run.tally.stops.is_any(),
        },
        counts: Counts {
            seeds: run.tally.worlds,
            events: run.tally.events,
            virtual_ns: run.tally.virtual_time.as_nanos().to_string(),
            violations: run.tally.violations,
        },
        found: find.map(found),
        exit: json::Exit { code: exit.code(), reason },
    })
}

fn found(find: &Find) -> Found {
    Found {
        origin: find.origin.clone(),
        commit: find.commit.clone(),
        at_ns: find.violation.at.as_nanos().to_string(),
        invariant: find.violation.invariant,
        text: find.violation.text.clone(),
        repeat: find.repeat.clone(),
        smaller: find.smaller.as_ref().map(|smaller| SmallerTape {
            path: smaller.path.display().to_string(),
            bytes: smaller.bytes,
            runs: smaller.runs,
            is_least: smaller.is_least,
            replay: smaller.replay.clone(),
        }),
    }
}
