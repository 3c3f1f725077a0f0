//! A comparison as a page for a browser: one file without scripts, like the page of a run.
//!
//! The verdict with its reasons is first; the metrics, the percentile curves of both sides, the runs of each metric,
//! and the configurations follow. The comparison document is embedded. A page is smaller than 500,000 bytes: long lists
//! are cut, and the page says so. All text is untrusted and escaped.

mod plots;
mod tables;
#[cfg(test)]
mod tests;

use super::document::{Document, Verdict};
use super::text;
use crate::forms::html::{MAX_BYTES, ROOM_FOR_THE_END, escape, opening, section};
use crate::runs::Named;
use crate::units::counted;
use std::io::{self, Write};

/// The numbers of runs per side that a page shows at most, tried from the largest until the page is small enough.
const SHOWN: [usize; 3] = [50, 20, 5];
/// Maximum number of warnings; the table of runs has a column for the bad ones.
const MAX_WARNINGS: usize = 4;

/// The begin and the end of the comparison document in the page.
const DATA_BLOCK: [&str; 2] = ["<script type=\"application/json\" id=\"comparison\">", "</script>\n"];

/// Writes the page. `runs` are those of the base and of the new version, in the order of their starts.
pub(super) fn write(document: &Document, runs: &[Vec<Named>; 2], out: &mut dyn Write) -> io::Result<()> {
    let page = page(document, runs).map_err(io::Error::other)?;
    out.write_all(page.as_bytes())
}

fn page(document: &Document, runs: &[Vec<Named>; 2]) -> Result<String, String> {
    let json = serde_json::to_string(document).map_err(|error| error.to_string())?;
    let [begin, end] = DATA_BLOCK;
    let block = format!("{begin}{}{end}", escape::json(&json));
    let body = |shown: usize| body(document, runs, shown);
    let fits = |body: &String, room: usize| body.len() + ROOM_FOR_THE_END + room <= MAX_BYTES;
    let whole = SHOWN.into_iter().map(body).find(|body| fits(body, block.len()));
    // Without the document, the smallest page fits always, because every text and every list in it is cut.
    let is_whole = whole.is_some();
    let mut html = whole.unwrap_or_else(|| body(SHOWN[SHOWN.len() - 1]));
    let note = match is_whole {
        true => "This page has the comparison document for programs, in the element <code>comparison</code>.",
        false => {
            "This page has no document for programs, because it would be too large: use \
                  <code>compare --format json</code>."
        }
    };
    html += &section("document", "The document in this page", &format!("<p>{note}</p>\n"));
    html += &format!("</main>\n{}</body>\n</html>\n", if is_whole { &block } else { "" });
    Ok(html)
}

/// Writes everything before the embedded document, with at most `shown` runs of each side.
fn body(document: &Document, runs: &[Vec<Named>; 2], shown: usize) -> String {
    let sides = [&document.base, &document.new];
    let title = sides.map(|side| side.targets.first().map_or("no target", String::as_str));
    let title = match title {
        [base, new] if base == new => format!("Two versions at {base} compared"),
        [base, new] => format!("{base} compared with {new}"),
    };
    let mut html = opening(&title);
    html += &format!("<header>\n<h1><bdi>{}</bdi></h1>\n", escape::text(&title));
    let [base, new] = sides.map(|side| counted(side.runs.len() as u64, "run"));
    let program = format!("{} {}", document.tool.name, document.tool.version);
    let parts = [format!("base {base}"), format!("new {new}"), text::runs(document), program];
    let parts = parts.map(|part| escape::text(&part));
    html += &format!("<p class=\"sub\">{}</p>\n</header>\n<main>\n", parts.join(" · "));
    html += &verdict(document);
    html += &warnings(&document.warnings);
    html += &section("metrics", "Metrics", &tables::metrics(document));
    html += &section("percentiles", "Latency", &plots::curves(runs, shown));
    html += &section("runs", "Runs", &(plots::runs(document, runs, shown) + &tables::runs(document, runs, shown)));
    html += &section("configuration", "Configurations and hosts", &tables::configuration(document, runs));
    html
}

fn verdict(document: &Document) -> String {
    let (class, sentence) = match document.verdict {
        Verdict::Better => ("good", "The new version is better than the base."),
        Verdict::Same => ("good", "The new version is like the base."),
        Verdict::Worse => ("fault", "The new version is worse than the base."),
        Verdict::Undecided => ("part", "These runs do not decide."),
    };
    format!(
        "<div class=\"card {class}\"><p><strong>{}</strong> {sentence}</p><p>{}</p></div>\n",
        document.verdict.word().to_uppercase(),
        escape::text(&document.reason)
    )
}

fn warnings(warnings: &[String]) -> String {
    let item = |warning: &String| format!("<li>{}</li>", escape::text(warning));
    let items: String = warnings.iter().take(MAX_WARNINGS).map(item).collect();
    let more = match warnings.len().saturating_sub(MAX_WARNINGS) {
        0 => String::new(),
        more => format!("<li>{}: see the runs</li>", counted(more as u64, "more warning")),
    };
    match items.is_empty() {
        true => String::new(),
        false => format!("<div class=\"card part\"><p><strong>WARNING</strong></p><ul>{items}{more}</ul></div>\n"),
    }
}
