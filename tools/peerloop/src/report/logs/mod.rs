//! HdrHistogram interval logs of any program: read, added up by tag, and shown.
//!
//! Such a log has only latencies. Unknown facts, such as failed operations, the configuration or a verdict, have no
//! field in any form. The unit of its values is not in it either, so each form states the unit and its source.

mod forms;
mod read;
#[cfg(test)]
mod tests;

use super::{Format, ReportArgs};
use crate::exit::{Exit, Failure};
use crate::output::Sink;
use crate::units::parse_percentiles;
use clap::ValueEnum;
use read::{Bounds, Logs};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

/// The percentiles that are shown by default.
const PERCENTILES: &str = "50,90,99,99.9,99.99,100";

/// The unit of the values in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Unit {
    /// Nanoseconds
    Ns,
    /// Microseconds
    Us,
    /// Milliseconds
    Ms,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Ns => "nanoseconds",
            Self::Us => "microseconds",
            Self::Ms => "milliseconds",
        }
    }

    /// Returns the number of these units in a millisecond.
    fn per_milli(self) -> f64 {
        1e6 / f64::from(self.nanos())
    }

    fn nanos(self) -> u32 {
        match self {
            Self::Ns => 1,
            Self::Us => 1_000,
            Self::Ms => 1_000_000,
        }
    }
}

/// Returns whether an input is a log: it is named so, or it is a file that begins with a comment or with the names of a
/// log's columns. Of a pipe, nothing is read, because it can be read only once.
pub(super) fn is_log(path: &Path) -> bool {
    let begins_so = || {
        let mut first = [0];
        let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
        is_file
            && File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok()
            && [b'#', b'"'].contains(&first[0])
    };
    path.extension().is_some_and(|extension| extension == "hlog") || begins_so()
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// Shows the logs on stdout.
pub(super) fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    // The content of a pipe is known only once it is read.
    if let Some(path) = args.runs.iter().find(|path| !is_log(path) && is_file(path)) {
        let message = format!(
            "{} is no interval log: show runs and logs apart, and give --unit and --tag only with logs",
            path.display()
        );
        return Err(Failure::usage(message));
    }
    if !args.thresholds.is_empty() || args.by.is_some() {
        return Err(Failure::usage(
            "--threshold and --by need run documents: an interval log has no failures, hosts or stages",
        ));
    }
    let form = match args.format {
        Format::Text => forms::text,
        Format::Json => forms::json,
        Format::Hgrm => forms::hgrm,
        Format::SummaryCsv => forms::summary,
        Format::Html | Format::Hlog | Format::Csv | Format::Prom => {
            return Err(Failure::usage("an interval log can be shown as text, json, hgrm and summary-csv"));
        }
    };
    let bounds = Bounds { from: args.from.unwrap_or_default(), to: args.to.unwrap_or(Duration::MAX) };
    if bounds.from >= bounds.to {
        return Err(Failure::usage("--from must be before --to"));
    }
    let mut logs = Logs::new(bounds, args.tag.clone());
    for path in &args.runs {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::run(format!("reading the log {name}: {error}")))?;
        logs.read(&name, BufReader::new(file)).map_err(|error| Failure::run(format!("reading the log {error}")))?;
    }
    let default = || parse_percentiles(PERCENTILES).expect("the default is a list of percentiles");
    let shown = forms::Shown {
        unit: args.unit.unwrap_or(Unit::Ns),
        is_assumed: args.unit.is_none(),
        percentiles: args.percentiles.clone().unwrap_or_else(default),
        logs,
    };
    if shown.logs.totals.is_empty() {
        let flags = "if --from, --to or --tag is given, choose others";
        return Err(Failure::run(format!("{}: no interval with a histogram is in it; {flags}", shown.sources())));
    }
    if args.format == Format::Hgrm && shown.logs.totals.len() > 1 {
        return Err(Failure::usage(format!("hgrm shows one tag, and there are {}; use --tag", shown.tags())));
    }
    Sink::Stdout.write_with(|out| form(&shown, out))?;
    Ok(Exit::Success)
}
