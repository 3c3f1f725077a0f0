//! `report`: shows the results of a finished run again, in any form.
//!
//! The run is read from the file of `bench --json` or from the folder of `bench -o`; runs of older versions are read
//! too. Values that follow from the histograms are computed again, so other percentiles can be requested.

use crate::exit::{Exit, Failure};
use crate::forms::{Form, csv, hgrm, hlog, json, text};
use crate::model::{self, Document, Threshold};
use crate::output::{self, Sink};
use crate::thresholds::{self, Condition, parse_condition};
use crate::units::{Percentiles, parse_percentiles};
use clap::{Args, ValueEnum};
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// File of `bench --json`, or folder of `bench -o`
    #[arg(value_name = "RUN")]
    run: PathBuf,
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
}

/// The form of a report.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// The intervals' histograms, as an HdrHistogram log
    Hlog,
    /// The percentile spectrum of the operations, for the HdrHistogram plotter
    Hgrm,
    /// The timeline, for spreadsheets
    Csv,
    /// Each view of each metric, for spreadsheets
    SummaryCsv,
}

impl Format {
    fn form(self) -> Form {
        match self {
            Self::Text => text,
            Self::Json => json::write,
            Self::Hlog => hlog::write,
            Self::Hgrm => hgrm::write,
            Self::Csv => csv::timeline,
            Self::SummaryCsv => csv::summary,
        }
    }
}

/// Shows the run on stdout.
pub(crate) fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    let mut document = model::read(&args.run)?;
    if let Some(percentiles) = &args.percentiles {
        document.set_percentiles(percentiles);
    }
    if !args.thresholds.is_empty() {
        let judged = args.thresholds.iter().map(|condition| thresholds::judge(condition, &document));
        document.thresholds = judged.collect::<Result<_, _>>().map_err(Failure::usage)?;
    }
    let form = args.format.form();
    Sink::Stdout.write_with(|out| form(&document, out))?;
    match document.thresholds.iter().filter(|_| !args.thresholds.is_empty()).find_map(Threshold::complaint) {
        Some(reason) => {
            let message = format!("report {}: {reason}", args.run.display());
            Err(Failure { exit: Exit::Missed, message })
        }
        None => Ok(Exit::Success),
    }
}

fn text(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let report = text::heading(document) + &text::summary(document, None);
    let report = if output::has_colours() { text::coloured(&report) } else { report };
    out.write_all(report.as_bytes())
}
