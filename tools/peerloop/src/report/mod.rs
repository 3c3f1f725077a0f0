//! `report`: shows the results of finished runs again, in any form.
//!
//! A run is read from the file of `bench --json` or from the folder of `bench -o`; runs of older versions are read too.
//! Several runs are added up to one. Values that follow from the histograms are computed again, so other percentiles
//! can be requested, and parts of the runs.

mod logs;

use crate::estimates;
use crate::exit::{Exit, Failure};
use crate::forms::{Form, csv, hgrm, hlog, html, json, prom, text};
use crate::model::{Document, Threshold};
use crate::output::{self, Sink};
use crate::runs::{self, Named};
use crate::thresholds::{self, Condition, parse_condition};
use crate::units::{Percentiles, parse_percentiles, parse_time};
use clap::{Args, ValueEnum};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// File of `bench --json`, or folder of `bench -o`; several runs, or a folder of runs, are added up to one. Or
    /// interval logs of HdrHistogram, which other programs write too
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Form of the report
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: Format,
    /// Percentiles to report [default: those of the run]
    #[arg(long, value_name = "LIST", value_parser = parse_percentiles)]
    percentiles: Option<Percentiles>,
    /// Condition on the results, in place of those of the run, such as ping_rtt:p99<20ms; exit with 99 if it is not
    /// met; repeatable
    #[arg(long = "threshold", value_name = "EXPR", value_parser = parse_condition)]
    thresholds: Vec<Condition>,
    /// Also report the results of each host or of each stage
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// Report only the intervals that begin at or after this time of the counted part [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Duration>,
    /// Report only the intervals that end at or before this time of the counted part [default: its end]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<Duration>,
    /// Unit of the values in interval logs, which name none [default: ns]
    #[arg(long, value_name = "UNIT")]
    unit: Option<logs::Unit>,
    /// Read only this tag of interval logs
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For a browser, with plots
    Html,
    /// The intervals' histograms, as an HdrHistogram log
    Hlog,
    /// The percentile spectrum of the operations, for the HdrHistogram plotter
    Hgrm,
    /// The timeline, for spreadsheets
    Csv,
    /// Each view of each metric, for spreadsheets
    SummaryCsv,
    /// The totals, in the text format of Prometheus
    Prom,
}

/// The property whose values have results of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// The machine that ran the generator
    Host,
    /// The stage of the load
    Stage,
}

impl Format {
    fn form(self) -> Form {
        match self {
            Self::Text => text,
            Self::Json => json::write,
            Self::Html => html::write,
            Self::Hlog => hlog::write,
            Self::Hgrm => hgrm::write,
            Self::Csv => csv::timeline,
            Self::SummaryCsv => csv::summary,
            Self::Prom => prom::write,
        }
    }

    /// Returns whether the form contains the groups of `--by`.
    fn has_groups(self) -> bool {
        match self {
            Self::Text | Self::Json | Self::Html | Self::SummaryCsv => true,
            Self::Hlog | Self::Hgrm | Self::Csv | Self::Prom => false,
        }
    }

    /// Returns whether the form contains the warnings about a merge.
    fn has_warnings(self) -> bool {
        match self {
            Self::Text | Self::Json | Self::Html => true,
            Self::Hlog | Self::Hgrm | Self::Csv | Self::SummaryCsv | Self::Prom => false,
        }
    }
}

/// Shows the runs on stdout.
pub(crate) fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    if args.by.is_some() && !args.format.has_groups() {
        return Err(Failure::usage("--by is only for the forms text, json, html and summary-csv; choose one of them"));
    }
    if args.unit.is_some() || args.tag.is_some() || args.runs.iter().any(|path| logs::is_log(path)) {
        return logs::run(args);
    }
    let mut document = merged(args)?;
    if let Some(percentiles) = &args.percentiles {
        document.set_percentiles(percentiles);
    }
    // A page has joined intervals, but the estimates of the original ones, which hold as long as nothing is changed.
    let is_changed = args.percentiles.is_some() || document.cut.is_some() || document.merged.is_some();
    if is_changed || document.estimates.is_empty() {
        estimates::fill(&mut document);
    }
    if !args.thresholds.is_empty() {
        let judged = args.thresholds.iter().map(|condition| thresholds::judge(condition, &document));
        document.thresholds = judged.collect::<Result<_, _>>().map_err(Failure::usage)?;
    }
    let form = args.format.form();
    if let Some(merged) = document.merged.as_ref().filter(|_| !args.format.has_warnings()) {
        merged.warnings.iter().for_each(|warning| output::remark(&format!("warning: {warning}")));
    }
    Sink::Stdout.write_with(|out| form(&document, out))?;
    match document.thresholds.iter().filter(|_| !args.thresholds.is_empty()).find_map(Threshold::complaint) {
        Some(reason) => {
            let runs: Vec<String> = args.runs.iter().map(|run| run.display().to_string()).collect();
            let message = format!("report {}: {reason}", runs.join(", "));
            Err(Failure { exit: Exit::Missed, message })
        }
        None => Ok(Exit::Success),
    }
}

/// Reads the runs, cuts them and adds them up.
fn merged(args: &ReportArgs) -> Result<Document, Failure> {
    let mut named = runs::read(&args.runs)?;
    if args.from.is_some() || args.to.is_some() {
        let (from, to) = (args.from.unwrap_or_default(), args.to.unwrap_or(Duration::MAX));
        if from >= to {
            return Err(Failure::usage("--from must be before --to"));
        }
        for Named { name, document } in &mut named {
            runs::cut(document, from, to).map_err(|error| Failure::run(format!("cutting {name}: {error}")))?;
        }
    }
    let by_host = if args.by == Some(By::Host) { runs::hosts(&named)? } else { Vec::new() };
    let mut document = runs::merge(named)?;
    document.groups = match args.by {
        None => return Ok(document),
        Some(By::Host) => by_host,
        Some(By::Stage) => runs::stages(&document)?,
    };
    Ok(document)
}

fn text(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let report = text::heading(document) + &text::summary(document, None);
    let report = if output::has_colours() { text::coloured(&report) } else { report };
    out.write_all(report.as_bytes())
}
