//! The findings, for people and for programs.

use super::{Finding, Verdict, Wanted};
use crate::exit::Exit;
use crate::output::json::{self, SCHEMA, Tool, pretty};
use crate::output::page::Page;
use crate::units::counted;
use serde::Serialize;

/// The indentation below the name of a check.
const BELOW: &str = "                         ";

#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: u32,
    tool: Tool,
    peers: usize,
    network: &'static str,
    checks: Vec<Check<'a>>,
    exit: json::Exit,
}

#[derive(Debug, Serialize)]
struct Check<'a> {
    name: &'static str,
    verdict: &'static str,
    value: &'a str,
    means: &'a str,
    change: Option<&'a str>,
}

/// Formats the findings for people.
pub(super) fn text(findings: &[Finding], wanted: Wanted) -> String {
    let mut page = Page(format!("doctor  {} on {}\n\n", counted(wanted.peers, "peer"), wanted.network));
    for Finding { name, verdict, value, means, change } in findings {
        page.wrapped(&format!("{:<9}{name:<16}", verdict.word()), value);
        page.wrapped(BELOW, means);
        if let Some(change) = change {
            // A wrapped command cannot be copied. No command contains a comma, so text is wrapped only after commas.
            page.parts(&format!("{BELOW}change: "), " ", change.split_inclusive(", ").map(str::trim_end));
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    page.0
        + &format!(
            "\n{}, {}\n",
            counted(count(Verdict::Problem), "problem"),
            counted(count(Verdict::Warning), "warning")
        )
}

/// Formats the findings for programs.
pub(super) fn json(findings: &[Finding], wanted: Wanted, exit: Exit) -> String {
    let checks = findings.iter().map(|Finding { name, verdict, value, means, change }| Check {
        name,
        verdict: verdict.word(),
        value,
        means,
        change: change.as_deref(),
    });
    let reason = if exit == Exit::Success { "finished" } else { "machine_cannot" };
    pretty(&Document {
        schema: SCHEMA,
        tool: Tool::THIS,
        peers: wanted.peers,
        network: wanted.network.name(),
        checks: checks.collect(),
        exit: json::Exit { code: exit.code(), reason: reason.to_owned() },
    })
}
