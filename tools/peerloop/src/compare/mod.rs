//! `compare`: whether a new version is better or worse than the base, by several runs of each.
//!
//! Nothing is measured here: with `--rounds`, each run is a `bench` in a process of its own.

mod document;
mod html;
mod judge;
mod rounds;
#[cfg(test)]
mod tests;
mod text;

use crate::estimates;
use crate::exit::{Exit, Failure};
use crate::output::{self, Sink, json};
use crate::runs::{self, Named};
use crate::units::{parse_count, parse_time};
use clap::{Args, ValueEnum};
pub(crate) use document::Document;
use judge::{Judgement, judge};
use peerloop_measure::{FailOn, MIN_CONFIRMED};
use rounds::Measured;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Compares the runs of a base version with those of a new version.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct CompareArgs {
    /// Runs of the base version: files of `bench --json`, folders of `bench -o`, or folders of runs
    #[arg(value_name = "BASE", required_unless_present = "rounds")]
    base: Vec<PathBuf>,
    /// Runs of the new version
    #[arg(value_name = "NEW", required_unless_present = "rounds", last = true)]
    new: Vec<PathBuf>,
    /// Measure both versions this many times in turn, instead of reading runs
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with_all = ["base", "new"],
        requires_all = ["base_arguments", "new_arguments"])]
    rounds: Option<usize>,
    /// Arguments of `bench` for the base version, quoted as one word: '127.0.0.1:8333 -c 100 -d 10s'
    #[arg(id = "base_arguments", long = "base", value_name = "ARGS", allow_hyphen_values = true, requires = "rounds")]
    base_arguments: Option<String>,
    /// Arguments of `bench` for the new version
    #[arg(id = "new_arguments", long = "new", value_name = "ARGS", allow_hyphen_values = true, requires = "rounds")]
    new_arguments: Option<String>,
    /// Keep the runs of --rounds in this empty or new folder
    #[arg(short, long, value_name = "DIR", requires = "rounds")]
    out: Option<PathBuf>,
    /// Time between two runs of --rounds
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time, requires = "rounds")]
    pause: Duration,
    /// Part of the base's value below which a change does not matter
    #[arg(long, value_name = "P%", default_value = "5%", value_parser = parse_margin)]
    margin: f64,
    /// Form of the comparison
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: Format,
    /// Exit with 99 if the verdict is worse or, with `undecided`, if it is worse or undecided; needs 8 runs a side
    #[arg(long, value_name = "VERDICT")]
    fail_on: Option<Failing>,
}

const EXIT_CODES: &str = "\
Exit codes: 0 compared, 1 a run could not be read or the runs measure different things,
2 wrong usage, 99 the verdict is that of --fail-on,
129/130/131/143 stopped by a signal; the complete rounds are judged";

/// The form of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For a review
    Markdown,
    /// For a browser: one page with plots and all runs, without scripts
    Html,
}

/// The verdicts that fail a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Failing {
    /// Only worse
    Worse,
    /// Worse and undecided
    Undecided,
}

impl Format {
    fn write(self, judgement: &Judgement, out: &mut dyn Write) -> io::Result<()> {
        let Judgement { document, runs, .. } = judgement;
        match self {
            Self::Text => text::text(document, out),
            Self::Json => json::write(document, out),
            Self::Markdown => text::markdown(document, out),
            Self::Html => html::write(document, runs, out),
        }
    }
}

/// Parses a margin above 0 and below 100 %.
fn parse_margin(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|digits| digits.trim_end().parse::<f64>().ok());
    let margin = percent.map(|percent| percent / 100.0).filter(|margin| *margin > 0.0 && *margin < 1.0);
    margin.ok_or_else(|| format!("`{text}` is not a margin: use a percentage above 0% and below 100%, for example 5%"))
}

pub(crate) fn run(args: &CompareArgs) -> Result<Exit, Failure> {
    let (Some(rounds), Some(base), Some(new)) = (args.rounds, &args.base_arguments, &args.new_arguments) else {
        let [base, new] = [&args.base, &args.new].map(|paths| read(paths));
        return conclude(args, base?, new?);
    };
    if args.fail_on.is_some() && rounds < MIN_CONFIRMED {
        return Err(Failure::usage(format!(
            "--fail-on needs --rounds {MIN_CONFIRMED} or more: a build must not depend on chance"
        )));
    }
    let plan = rounds::Plan { rounds, sides: [base, new], pause: args.pause, folder: args.out.as_deref() };
    let Measured { mut base, mut new, stops } = rounds::measure(&plan)?;
    base.iter_mut().chain(&mut new).for_each(|run| estimates::fill(&mut run.document));
    let complete = base.len();
    let outcome = if complete > 0 { conclude(args, base, new) } else { Ok(Exit::Success) };
    match stops.exit() {
        Some((exit, reason)) => {
            output::complain(&format!("compare: {reason}: {complete} of {rounds} rounds are complete"));
            Ok(exit)
        }
        None => outcome,
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Named>, Failure> {
    let mut runs = runs::read(paths)?;
    runs.iter_mut().for_each(|run| estimates::fill(&mut run.document));
    Ok(runs)
}

/// Compares the runs, writes the comparison, and decides the exit.
fn conclude(args: &CompareArgs, base: Vec<Named>, new: Vec<Named>) -> Result<Exit, Failure> {
    let judgement = judge(base, new, args.margin)?;
    Sink::Stdout.write_with(|out| args.format.write(&judgement, out))?;
    let on = match args.fail_on {
        None => return Ok(Exit::Success),
        Some(Failing::Worse) => FailOn::Worse,
        Some(Failing::Undecided) => FailOn::Undecided,
    };
    match judgement.fails(on) {
        Ok(false) => Ok(Exit::Success),
        Ok(true) => {
            let Document { verdict, reason, .. } = &judgement.document;
            let message = format!("compare: the new version is {}: {reason}", verdict.word());
            Err(Failure { exit: Exit::Missed, message })
        }
        Err(problem) => Err(Failure::usage(format!("compare --fail-on: {problem}"))),
    }
}
