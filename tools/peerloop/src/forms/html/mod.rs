//! The run as a page for a browser: one file without scripts, readable without a network, light, dark and on paper.
//!
//! The verdict, the failures and the configuration are first, the pictures follow. Every value is that of the run
//! document. A page is smaller than 500,000 bytes for any run: long lists are cut, pictures have at most
//! [`times::MAX_INTERVALS`] intervals, and the embedded document is reduced. All text is untrusted and escaped, and the
//! page forbids the browser to run or load anything. A page is well-formed XML too, so any parser can check it.

pub(crate) mod curve;
mod embed;
pub(crate) mod escape;
mod facts;
mod head;
mod heat;
mod limits;
pub(crate) mod svg;
pub(crate) mod table;
#[cfg(test)]
pub(crate) mod tests;
mod times;

use crate::model::{Document, Percentile};
use embed::Embedded;
use std::io::{self, Write};
use times::Times;

/// The end of the names of metrics that describe the generator itself.
const LAG: &str = "_lag";

/// The maximum length of a page in bytes. The document in it has as many details as fit.
pub(crate) const MAX_BYTES: usize = 499_999;
/// Length of everything after the pictures and tables, without the embedded document.
pub(crate) const ROOM_FOR_THE_END: usize = 2_000;

const STYLE: &str = include_str!("style.css");

/// The policy of the page: nothing is loaded, and nothing is run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Writes the page.
pub(crate) fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let page = page(document).map_err(io::Error::other)?;
    out.write_all(page.as_bytes())
}

fn page(document: &Document) -> Result<String, String> {
    let main = document.main_metric().map_or("", |metric| metric.name.as_str());
    let times = Times::new(document, main)?;
    let mut html = opening(&head::title(document));
    html += &head::top(document);
    html += &section("configuration", "Configuration and host", &facts::configuration(document));
    html += &facts::thresholds(document);
    let caption = "Failed operations have no latency, and count as slower than every other one";
    html += &section(
        "percentiles",
        "Latency",
        &(facts::metrics_table(caption, &document.metrics, false)
            + &facts::intervals(document)
            + &curve::draw(document)),
    );
    html += &section("time", "Over time", &over_time(&times)?);
    html += &facts::stages(document);
    html += &facts::groups(document);
    html += &facts::targets_section(document);
    html += &facts::errors(document);
    html += &generator(document);
    let room = MAX_BYTES.saturating_sub(html.len() + ROOM_FOR_THE_END);
    let embedded = embed::embedded(document, times.timeline, main, room)?;
    html += &section("document", "The document in this page", &described(embedded.as_ref(), document));
    html += "</main>\n";
    html += embedded.as_ref().map_or("", |embedded| &embedded.block);
    html += "</body>\n</html>\n";
    Ok(html)
}

/// Writes the begin of a page, up to the begin of its body.
pub(crate) fn opening(title: &str) -> String {
    let title = escape::text(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n"
    )
}

/// Writes a section with a heading.
pub(crate) fn section(id: &str, heading: &str, body: &str) -> String {
    format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{heading}</h2>\n{body}</section>\n")
}

fn over_time(times: &Times<'_>) -> Result<String, String> {
    let (lag, heat) = (times::lag(times)?, heat::draw(times)?);
    Ok([times::latency(times), lag, heat, times::operations(times), times::peers(times)].concat())
}

fn generator(document: &Document) -> String {
    let generator = &document.generator;
    let [working, spinning] = [generator.cpu_working, generator.cpu_spinning].map(|share| share * 100.0);
    let text =
        format!("<p>CPU of its thread: {working:.0} % working, {spinning:.0} % polling for exact wake-ups.</p>\n");
    section(
        "generator",
        "The generator",
        &(text + &facts::metrics_table("The generator's own delays", &document.metrics, true)),
    )
}

/// Describes the embedded document.
fn described(embedded: Option<&Embedded>, document: &Document) -> String {
    let Some(Embedded { intervals, omitted, .. }) = embedded else {
        return "<p>This page has no document for programs, because it would be too large: use result.json.</p>\n"
            .to_owned();
    };
    let all = document.timeline.rows.len();
    let joined = if *intervals == all { String::new() } else { format!(", joined from {all} exactly") };
    let omitted = match &omitted[..] {
        [] => String::new(),
        omitted => format!(" It lacks {}; result.json has all.", escape::text(&omitted.join(", "))),
    };
    format!(
        "<p>This page has the run document for programs: <code>peerloop report</code> reads the page like a result \
         file. Its totals are exact, and it has {intervals} intervals{joined}.{omitted}</p>\n"
    )
}

/// Formats a percentile, or says why it has no value.
pub(crate) fn percentile_text(value: Percentile) -> String {
    match value {
        Percentile::NoData => "no data".to_owned(),
        Percentile::Beyond(_) | Percentile::Measured(_) => value.shown(),
    }
}

/// Writes a picture with its title and its explanation. A narrow window shows a part of it, and scrolls it.
pub(crate) fn figure(svg: String, title: &str, text: &str) -> String {
    let [title, text] = [title, text].map(escape::text);
    format!(
        "<figure>\n<h3>{title}</h3>\n<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"{title}\">\
         {svg}</div>\n\
         <figcaption>{text}</figcaption>\n</figure>\n"
    )
}

/// Writes the place of a picture that has nothing to show.
pub(crate) fn no_data(title: &str, why: &str) -> String {
    format!("<figure>\n<h3>{}</h3>\n<p>No data: {}.</p>\n</figure>\n", escape::text(title), escape::text(why))
}
