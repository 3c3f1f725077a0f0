//! The begin of the page: whether the numbers can be trusted, whether the run is complete, and the failures.

use super::{escape, percentile_text};
use crate::forms::text::{noun, requested_rate, stayed};
use crate::model::{Cut, Document, Limit, Merged, Outcome, Peers, Reason, Trust, Work};
use crate::units::{counted, show_rate, show_seconds, show_share};

/// Writes the title of the page, without markup.
pub(super) fn title(document: &Document) -> String {
    match document.run.name.as_str() {
        "" => format!("Load of {}", targets(document)),
        name => format!("{name}: load of {}", targets(document)),
    }
}

fn targets(Document { config, targets, .. }: &Document) -> String {
    match &targets[..] {
        _ if config.built_in_node => "the built-in node".to_owned(),
        [] => "no target".to_owned(),
        [one] => one.addr.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.addr, rest.len()),
    }
}

/// Writes the begin of the page.
pub(super) fn top(document: &Document) -> String {
    let Document { tool, run, .. } = document;
    let mut html = format!("<header>\n<h1><bdi>{}</bdi></h1>\n", escape::text(&title(document)));
    let parts = [run.start.clone(), format!("{} {}", tool.name, tool.version)];
    let labels = run.labels.iter().take(MAX_LABELS).map(|(key, value)| format!("{key}={value}"));
    let parts: Vec<String> = parts.into_iter().chain(labels).map(|part| escape::text(&part)).collect();
    html += &format!("<p class=\"sub\">{}</p>\n</header>\n<main>\n", parts.join(" · "));
    html += &ending(document);
    html += &origin(document);
    html += &verdict(document);
    html += &tiles(document);
    html
}

/// Maximum number of labels that are shown, and of merged runs.
const MAX_LABELS: usize = 20;
const MAX_RUNS: usize = 20;

/// Writes the reasons for a run that is partial or has failed.
fn ending(Document { run, exit, .. }: &Document) -> String {
    let list = |is_partial: bool| {
        let reasons = exit.reasons.iter().filter(|reason| reason.partial == is_partial);
        reasons.map(|Reason { code, reason, .. }| (*code, reason.as_str())).collect::<Vec<_>>()
    };
    let item = |(code, reason): (u8, &str)| format!("<li>{} (exit code {code})</li>", escape::text(reason));
    let card = |class: &str, title: &str, reasons: Vec<(u8, &str)>| {
        let items: String = reasons.into_iter().map(item).collect();
        let items = if items.is_empty() { String::new() } else { format!("<ul>{items}</ul>") };
        format!("<div class=\"card {class}\"><p><strong>{title}</strong></p>{items}</div>\n")
    };
    let mut html = String::new();
    let (partial, failed) = (list(true), list(false));
    if run.partial || !partial.is_empty() {
        html += &card("part", "PARTIAL RUN: the results cover less than was planned", partial);
    }
    if !failed.is_empty() {
        html += &card("fault", "FAILED", failed);
    }
    html
}

/// Writes the runs that were merged, with the warnings about them, and the part of the run that the page covers.
fn origin(Document { merged, cut, .. }: &Document) -> String {
    let mut html = String::new();
    if let Some(Merged { runs, warnings }) = merged {
        let mut names: Vec<&str> = runs.iter().take(MAX_RUNS).map(|run| &*run.source).collect();
        let more = format!("{} more", runs.len().saturating_sub(MAX_RUNS));
        names.extend((runs.len() > MAX_RUNS).then_some(&*more));
        let (names, count) = (escape::text(&names.join(", ")), counted(runs.len() as u64, "run"));
        html += &format!("<p class=\"note\">The sum of {count}: {names}</p>\n");
        if !warnings.is_empty() {
            let item = |warning: &String| format!("<li>{}</li>", escape::text(warning));
            let items: String = warnings.iter().take(MAX_RUNS).map(item).collect();
            html += &format!("<div class=\"card part\"><p><strong>WARNING</strong></p><ul>{items}</ul></div>\n");
        }
    }
    if let Some(Cut { from_ns, to_ns, of_ns }) = cut {
        let [from, to, of] = [from_ns, to_ns, of_ns].map(|time| show_seconds(time.0));
        html += &format!(
            "<div class=\"card part\"><p><strong>PART OF A RUN</strong> {from} to {to} of {of}. Peers, traffic, failed \
             connections and the verdict are those of the whole run.</p></div>\n"
        );
    }
    html
}

fn verdict(document: &Document) -> String {
    let Document { generator, exit, counts, .. } = document;
    let (class, sentence) = match generator.verdict {
        Trust::Trusted if counts.work.answered == 0 => ("part", "No operation was answered, so nothing was measured."),
        Trust::Trusted => ("good", "The generator&#39;s own delays did not distort the latencies."),
        Trust::NotTrusted => {
            ("fault", "The latencies may show the generator&#39;s own delays instead of the target&#39;s:")
        }
    };
    let reasons: String = generator.reasons.iter().map(|reason| format!("<li>{}</li>", escape::text(reason))).collect();
    let reasons = if reasons.is_empty() { reasons } else { format!("<ul>{reasons}</ul>") };
    let limit = match generator.limit {
        Limit::None => "Nothing kept the load below its plan.",
        Limit::Node => "The node kept the load below its plan.",
        Limit::Generator => "The generator kept the load below its plan: the results are a lower bound for the node.",
    };
    format!(
        "<div class=\"card {class}\"><p><strong>{}</strong> {sentence}</p>{reasons}\
         <p>{limit}{} Exit code {}{}.</p></div>\n",
        generator.verdict.words(),
        thresholds(document),
        exit.code,
        // Other reasons are in a part of their own.
        if exit.reasons.is_empty() { format!(": {}", escape::text(&exit.reason)) } else { String::new() }
    )
}

/// States how many thresholds were met, as text after a space.
fn thresholds(Document { thresholds, .. }: &Document) -> String {
    let missed = thresholds.iter().filter(|threshold| threshold.result != Outcome::Pass).count();
    match thresholds.len() {
        0 => String::new(),
        all if missed == 0 => format!(" Thresholds: all {all} are met."),
        all => format!(" Thresholds: <span class=\"bad\">{missed} of {all} not met</span>."),
    }
}

/// Writes the most important values.
fn tiles(document: &Document) -> String {
    let Document { run, config, counts, .. } = document;
    let Work { planned, unsent, answered, timed_out, .. } = counts.work;
    let Peers { asked, ready, lost, failed, .. } = counts.peers;
    let noun = noun(&config.workload);
    let of = |count: u64, whole: u64| if whole == 0 { "no data".to_owned() } else { show_share(count, whole) };
    let mut tiles = vec![
        tile("Answered", &of(answered, planned), &format!("{answered} of {planned} {noun}"), false),
        tile(
            "Not answered",
            &of(counts.work.failed(), planned),
            &format!("{timed_out} timed out, {unsent} unsent"),
            counts.work.failed() > 0,
        ),
        tile(
            "Peers to the end",
            &of(stayed(counts.peers), asked),
            &format!("{ready} of {asked} ready, {lost} lost, {failed} failed"),
            stayed(counts.peers) < asked,
        ),
        tile(
            "Rate answered",
            &run.answered_per_s.map_or_else(|| "no data".to_owned(), show_rate),
            &requested_rate(document).map_or_else(String::new, |rate| format!("of {} requested", show_rate(rate))),
            false,
        ),
    ];
    if let Some((metric, view)) = document.main_metric().and_then(|metric| Some((metric, metric.first_view()?))) {
        for (percent, name) in [(50.0, "p50"), (99.0, "p99"), (99.9, "p99.9"), (100.0, "max")] {
            let value = view.percentile(percent);
            tiles.push(tile(name, &percentile_text(value), &metric.name, value.measured().is_none()));
        }
    }
    format!(
        "<dl class=\"tiles\">\n{}</dl>\n<p class=\"note\">Latencies count from the planned time. An operation without \
         an answer counts as slower than every other one.</p>\n",
        tiles.concat()
    )
}

fn tile(name: &str, value: &str, note: &str, is_bad: bool) -> String {
    let class = if is_bad { " class=\"bad\"" } else { "" };
    let [name, value, note] = [name, value, note].map(escape::text);
    format!("<div><dt>{name}</dt><dd{class}>{value}</dd><dd class=\"note\">{note}</dd></div>\n")
}
