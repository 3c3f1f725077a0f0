//! `--repeat`: the same bench several times, each as a process of its own, and how the runs differ.

use super::setup::Setup;
use crate::children;
use crate::cli::BenchArgs;
use crate::exit::{Exit, Failure, Stops, precedence};
use crate::forms::text;
use crate::model::RESULT_FILE;
use crate::notices::Notices;
use crate::output::{self, page::Page};
use crate::runs::{self, Judged, Named, Spread, show_value};
use std::ffi::OsString;
use std::path::Path;

/// Runs the bench `count` times, into the folders `001` and so on of `folder`.
pub(super) fn run(args: &BenchArgs, setup: &Setup, count: usize, folder: &Path) -> Result<Exit, Failure> {
    children::create_folder(folder)?;
    let notices = Notices::new()?;
    let mut stops = Stops::default();
    let mut codes = Vec::new();
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    for number in 1..=count {
        if number > 1 {
            children::pause(&notices, &mut stops, args.pause);
        }
        if stops.is_any() {
            break;
        }
        let own = [OsString::from("--number"), number.to_string().into()];
        let code = children::bench(&notices, &mut stops, &[&own, &arguments[..]].concat())?;
        let run = folder.join(children::folder_name(number));
        if !run.join(RESULT_FILE).is_file() {
            // The signal arrived before the run could end in order.
            if stops.is_any() {
                break;
            }
            let message = format!("run {number} of {count} has no results: it exited with {code}");
            return Err(Failure { exit: Exit::of_code(code), message });
        }
        codes.push(code);
        for Named { name, document } in runs::read(&[run])? {
            output::print(&text::short(&format!("run {number}/{count}"), &name, &document))?;
        }
    }
    let runs = if codes.is_empty() { Vec::new() } else { runs::read(&[folder.to_owned()])? };
    output::print(&summary(&runs, folder))?;
    conclude(setup, stops, &codes, count)
}

/// Formats how the runs differ.
fn summary(runs: &[Named], folder: &Path) -> String {
    let mut page = Page(String::new());
    let Some(first) = runs.first() else { return page.0 };
    let main = first.document.main_metric().map_or("", |metric| &metric.name);
    page.line(format_args!(""));
    page.line(format_args!(
        "{:<14}{:>10}{:>10}{:>10}{:>10}  95 % sure",
        "Between runs", "mean", "lowest", "highest", "spread"
    ));
    for judged in Judged::ALL {
        let unit = judged.unit();
        let values: Vec<f64> = runs.iter().filter_map(|run| judged.value(&run.document)).collect();
        let Some(spread) = Spread::of(&values, unit) else { continue };
        let [mean, low, high] = [spread.mean, spread.low, spread.high].map(|value| show_value(value, unit));
        let deviation = spread.deviation.map_or_else(|| "-".to_owned(), |part| format!("{:.1} %", 100.0 * part));
        let interval = spread.interval.map_or_else(
            || "-".to_owned(),
            |(low, high)| format!("[{}, {}]", show_value(low, unit), show_value(high, unit)),
        );
        let name = judged.name(main);
        page.line(format_args!("{name:<14}{mean:>10}{low:>10}{high:>10}{deviation:>10}  {interval}"));
    }
    page.wrapped("", &format!("Compare these runs with others: peerloop compare {} -- OTHER", folder.display()));
    page.0
}

/// Returns the exit: that of the signal, or the first one of the runs in the order in which codes apply.
fn conclude(setup: &Setup, stops: Stops, codes: &[u8], count: usize) -> Result<Exit, Failure> {
    if let Some((exit, reason)) = stops.exit() {
        output::complain(&format!("bench --repeat: {reason}: {} of {count} runs were made", codes.len()));
        return Ok(exit);
    }
    let worst = codes.iter().copied().filter(|code| *code != 0).min_by_key(|code| precedence(*code));
    let Some(worst) = worst else { return Ok(Exit::Success) };
    let failed = codes.iter().filter(|code| **code != 0).count();
    let message = format!("bench {}: {failed} of {count} runs failed, see above", setup.target_text());
    Err(Failure { exit: Exit::of_code(worst), message })
}
