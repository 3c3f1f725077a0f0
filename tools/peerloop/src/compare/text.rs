//! A comparison for people: as text, and as Markdown for a review.

use super::document::{Document, Metric, Pairing, Side};
use super::judge::show_change;
use crate::output::page::Page;
use crate::runs::show_value;
use crate::units::counted;
use std::io::{self, Write};

/// Writes the comparison as text.
pub(super) fn text(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page(String::new());
    page.parts("base      ", "  ", side(&document.base));
    page.parts("new       ", "  ", side(&document.new));
    page.parts("runs      ", "  ", [runs(document)]);
    document.warnings.iter().for_each(|warning| page.wrapped("warning   ", warning));
    page.line(format_args!(""));
    page.line(format_args!("{:<14}{:>12}{:>12}{:>14}  {}", "Metric", "base", "new", "change", "verdict"));
    for metric in &document.metrics {
        let [base, new, change] = cells(metric);
        let verdict = metric.verdict.word();
        page.line(format_args!("{:<14}{base:>12}{new:>12}{change:>14}  {verdict}", metric.name));
        page.wrapped("              ", &metric.reason);
        for (name, interval) in [("base", metric.base_interval), ("new", metric.new_interval)] {
            if let Some([low, high]) = interval {
                let [low, high] = [low, high].map(|bound| show_value(bound.unwrap_or(f64::INFINITY), metric.unit));
                page.wrapped("              ", &format!("within the only run of {name}: [{low}, {high}]"));
            }
        }
    }
    page.line(format_args!(""));
    page.wrapped("Verdict   ", &format!("{}: {}", document.verdict.word(), document.reason));
    out.write_all(page.0.as_bytes())
}

/// Writes the comparison as Markdown.
pub(super) fn markdown(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "**{}**: {}\n", document.verdict.word(), document.reason)?;
    writeln!(out, "| metric | base | new | change | verdict | reason |\n|---|--:|--:|--:|---|---|")?;
    for metric in &document.metrics {
        let [base, new, change] = cells(metric);
        let verdict = metric.verdict.word();
        writeln!(out, "| {} | {base} | {new} | {change} | {verdict} | {} |", metric.name, metric.reason)?;
    }
    writeln!(
        out,
        "\n{}. Base: {}. New: {}.",
        runs(document),
        side(&document.base).join(", "),
        side(&document.new).join(", ")
    )?;
    document.warnings.iter().try_for_each(|warning| writeln!(out, "\n> {warning}"))
}

fn side(side: &Side) -> Vec<String> {
    let agents = side.agents.iter().filter(|agent| !agent.is_empty());
    [counted(side.runs.len() as u64, "run")].into_iter().chain(side.targets.iter().chain(agents).cloned()).collect()
}

/// States how the runs belong together.
pub(super) fn runs(document: &Document) -> String {
    match document.pairing {
        Pairing::Interleaved => "Interleaved runs, compared pair by pair".to_owned(),
        Pairing::Apart => "Runs at different times: a drift of the machine counts as a change".to_owned(),
    }
}

/// Formats the values of both sides and the change.
pub(super) fn cells(metric: &Metric) -> [String; 3] {
    let show = |value: Option<f64>| show_value(value.unwrap_or(f64::INFINITY), metric.unit);
    let change = metric.change.map_or_else(|| "-".to_owned(), |change| show_change(change, metric.unit));
    [show(metric.base), show(metric.new), change]
}
