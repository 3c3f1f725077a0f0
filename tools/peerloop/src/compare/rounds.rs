//! `compare --rounds`: measures both versions in turn, A B B A and so on, and judges the runs.
//!
//! The order changes in every round, so a drift of the machine and an effect of the order affect both sides alike. The
//! arguments are checked before the first round by a dry run, which also brings the program into memory.

use crate::children;
use crate::exit::{Exit, Failure, Stops};
use crate::forms::text;
use crate::model::RESULT_FILE;
use crate::notices::Notices;
use crate::output;
use crate::runs::{self, Named};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags of `bench` that would hide the results of a round or replace them.
const REFUSED: [&str; 3] = ["--repeat", "--dry-run", "--start-at"];

/// The rounds to measure.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) rounds: usize,
    /// The arguments of `bench` for the base and the new version.
    pub(super) sides: [&'a str; 2],
    pub(super) pause: Duration,
    /// The folder that keeps the runs; without one, they are removed.
    pub(super) folder: Option<&'a Path>,
}

/// The runs of all complete rounds.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) base: Vec<Named>,
    pub(super) new: Vec<Named>,
    pub(super) stops: Stops,
}

/// The names of the sides, which are also their folders.
const SIDES: [&str; 2] = ["base", "new"];

/// Measures the rounds. A signal ends the round in progress, whose runs then do not count.
pub(super) fn measure(plan: &Plan<'_>) -> Result<Measured, Failure> {
    let arguments = [split(0, plan.sides[0])?, split(1, plan.sides[1])?];
    let folder = Scratch::new(plan.folder)?;
    let notices = Notices::new()?;
    let mut stops = Stops::default();
    for (side, arguments) in SIDES.into_iter().zip(&arguments) {
        let own = ["--dry-run", "-o", side].map(OsString::from);
        let dry = [&own, &arguments[..]].concat();
        let code = children::bench(&notices, &mut stops, &dry)?;
        if code != 0 && !stops.is_any() {
            let message = format!("compare: bench refuses the arguments of --{side}, see above");
            return Err(Failure { exit: Exit::of_code(code), message });
        }
    }
    let mut sides: [Vec<Named>; 2] = [Vec::new(), Vec::new()];
    for round in 1..=plan.rounds {
        let order = if round.is_multiple_of(2) { [1, 0] } else { [0, 1] };
        let mut measured = [None, None];
        for side in order {
            if (round, side) != (1, 0) {
                children::pause(&notices, &mut stops, plan.pause);
            }
            if stops.is_any() {
                break;
            }
            let dir = folder.path.join(SIDES[side]).join(children::folder_name(round));
            let own = [OsString::from("-o"), dir.clone().into_os_string()];
            let code = children::bench(&notices, &mut stops, &[&own, &arguments[side][..]].concat())?;
            if stops.is_any() {
                break;
            }
            if !dir.join(RESULT_FILE).is_file() {
                let message =
                    format!("compare: round {round} of {} has no results: bench exited with {code}", SIDES[side]);
                return Err(Failure { exit: Exit::of_code(code), message });
            }
            for run in runs::read(&[dir])? {
                let label = format!("round {round}/{}", plan.rounds);
                output::remark(text::short(&label, SIDES[side], &run.document).trim_end());
                measured[side] = Some(run);
            }
        }
        if let [Some(base), Some(new)] = measured {
            sides[0].push(base);
            sides[1].push(new);
        } else {
            break;
        }
    }
    let [base, new] = sides;
    Ok(Measured { base, new, stops })
}

/// Splits arguments as a shell does.
fn split(side: usize, text: &str) -> Result<Vec<OsString>, Failure> {
    let name = SIDES[side];
    let words = shlex::split(text)
        .ok_or_else(|| Failure::usage(format!("--{name} '{text}': a quote is not closed; quote as for a shell")))?;
    let refused = |word: &&String| REFUSED.iter().any(|flag| word.split('=').next() == Some(flag));
    if let Some(word) = words.iter().find(refused) {
        return Err(Failure::usage(format!(
            "--{name}: {word} cannot be used here; omit it, --rounds repeats the runs"
        )));
    }
    Ok(words.into_iter().map(OsString::from).collect())
}

/// The folder of the runs. One that the user did not name is removed at the end.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    is_kept: bool,
}

impl Scratch {
    fn new(named: Option<&Path>) -> Result<Self, Failure> {
        let own = || std::env::temp_dir().join(format!("peerloop-compare-{}", std::process::id()));
        let folder = Self { path: named.map_or_else(own, Path::to_owned), is_kept: named.is_some() };
        children::create_folder(&folder.path)?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_as_a_shell_does() {
        let words = split(0, "127.0.0.1:8333 --name 'two words' -d 1s").unwrap();
        assert_eq!(words, ["127.0.0.1:8333", "--name", "two words", "-d", "1s"]);
        assert!(split(1, "--name 'open").unwrap_err().message.contains("--new '--name 'open': a quote is not closed"));
        for flag in ["--repeat 3", "--repeat=3", "--dry-run"] {
            assert!(split(0, flag).unwrap_err().message.contains("cannot be used here"), "{flag}");
        }
    }
}
