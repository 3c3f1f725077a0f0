//! The report for people: the results, and whether they can be trusted.
//!
//! This module renders the [`Document`](super::Document), and never reads the generator's report.

use super::document::{Document, Generator, Tally, Trust};
use super::view::{Table, View};
use crate::output::page::Page;
use crate::units::{show_bytes, show_latency, show_rate, show_share};
use peerloop::error::Side;
use peerloop::load::Limit;
use std::time::Duration;

/// Maximum number of targets with a row of their own; more rows would hide the following lines.
const MAX_TARGET_ROWS: usize = 20;

/// If the p99 of the send lag is at least this long, the report states that pings were sent late.
const GAP_TO_MENTION: Duration = Duration::from_millis(1);

/// The share of a CPU that counts as a whole CPU.
const WHOLE_CPU_SHARE: f64 = 0.95;

/// The indentation below a label.
const BELOW: &str = "           ";

/// Formats the whole report. `files` are the names of the files with the results.
pub(crate) fn summary(document: &Document, files: &[String]) -> String {
    let mut page = Page(String::new());
    let tally = document.counts.tally;
    page.parts("ramp    ", "  ", ramp(document));
    for ending in &document.exit.reasons {
        page.wrapped(if ending.is_partial { "partial " } else { "failed  " }, &ending.reason);
    }
    page.line(format_args!(""));
    page.line(format_args!(
        "Peers      opened {}   ready {}   lost {}   failed {}",
        tally.opened, tally.ready, tally.lost, tally.failed
    ));
    if tally.ready > 0 {
        work(&mut page, document);
        targets(&mut page, document);
        page.line(format_args!(""));
        latencies(&mut page, document);
    }
    failures(&mut page, document);
    if tally.ready > 0 {
        generator(&mut page, document);
    }
    match files.is_empty() {
        true => page.line(format_args!("Files      none (add --json FILE, --hgrm FILE)")),
        false => page.parts("Files      ", "  ", files),
    }
    if document.config.built_in_node {
        page.line(format_args!("Next       peerloop probe NODE:8333            one real node, step by step"));
        page.line(format_args!("{BELOW}peerloop bench NODE:18444 --network regtest -c 100"));
    }
    page.0
}

/// Formats in one line whether the numbers can be trusted, for a reader who does not see the report.
pub(crate) fn verdict(document: &Document) -> String {
    let Generator { verdict, reasons, limit, .. } = &document.generator;
    let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    format!("verdict: {}{reasons}; limit: {}", verdict.words(), limit.name())
}

impl Trust {
    fn words(self) -> &'static str {
        match self {
            Self::Trusted => "TRUSTED",
            Self::NotTrusted => "NOT TRUSTED",
        }
    }
}

/// Describes the ramp: its ready peers, its duration, its dial rate and the requested dial rate.
fn ramp(Document { run, config, counts, .. }: &Document) -> Vec<String> {
    let time = run.ramp_ns.map(|time| format!(" in {:.1} s", time.0.as_secs_f64())).unwrap_or_default();
    let mut parts = vec![format!("{}/{} peers{time}", counts.tally.ready, counts.tally.asked)];
    let asked = show_rate(config.connect_rate_per_s);
    parts.extend(run.dial_rate_per_s.map(|rate| format!("dialled at {} of {asked} requested", show_rate(rate))));
    parts
}

fn work(page: &mut Page, Document { run, config, counts, agents, .. }: &Document) {
    let Tally { planned, sent, unsent, answered, timed_out, .. } = counts.tally;
    let rate = run.answered_per_s.map_or_else(|| "-".to_owned(), show_rate);
    let mut parts = vec![format!("{planned} planned"), format!("{sent} sent")];
    parts.extend((unsent > 0).then(|| format!("{unsent} unsent")));
    parts.push(format!("{answered} answered"));
    parts.push(format!("{timed_out} timed out"));
    parts.push(format!("{rate} of {} requested", show_rate(config.rate_per_s)));
    page.parts("Work       ", "   ", parts);
    let [sent, received] = [counts.sent_bytes, counts.received_bytes].map(show_bytes);
    page.line(format_args!("Traffic    out {sent}   in {received}"));
    if config.multistreams {
        let (opened, failed) = (counts.streams_opened, counts.stream_failures);
        let ready = counts.tally.ready;
        page.line(format_args!("Streams    {opened} of {ready} peers have a second stream   {failed} failed"));
    }
    for agent in agents {
        page.line(format_args!(
            "Nodes      {} protocol {}   {} peers",
            if agent.agent.is_empty() { "(no user agent)" } else { &agent.agent },
            agent.protocol,
            agent.peers
        ));
    }
}

/// Writes a row for each target, up to [`MAX_TARGET_ROWS`]; a single target is covered by the lines above.
fn targets(page: &mut Page, Document { targets, .. }: &Document) {
    if targets.len() < 2 {
        return;
    }
    for target in targets.iter().take(MAX_TARGET_ROWS) {
        let Tally { asked, ready, lost, failed, planned, sent, unsent, answered, .. } = target.tally;
        let mut parts = vec![
            target.addr.clone(),
            format!("{ready}/{asked} ready"),
            format!("{lost} lost"),
            format!("{failed} failed"),
            format!("{planned} planned"),
            format!("{sent} sent"),
            format!("{unsent} unsent"),
            format!("{answered} answered"),
        ];
        let percentiles = target.ping_rtt_percentiles.iter().flat_map(|Table(rows)| rows);
        parts.extend(percentiles.map(|(one, value)| format!("{} {}", one.heading(), value.shown())));
        page.parts("Target     ", "   ", parts);
    }
    if targets.len() > MAX_TARGET_ROWS {
        page.line(format_args!("{BELOW}{} more targets: see --json", targets.len() - MAX_TARGET_ROWS));
    }
}

fn latencies(page: &mut Page, Document { metrics, counts, .. }: &Document) {
    let Table(columns) = &metrics.connect.planned.percentiles;
    let headings: String = columns.iter().map(|(one, _)| format!("{:>10}", one.heading())).collect();
    page.line(format_args!("{:<12}{:>9}{headings}", "Latency", "count"));
    let mut row = |name: &str, view: &View| {
        let values: String = view.percentiles.0.iter().map(|(_, value)| format!(" {:>9}", value.shown())).collect();
        page.line(format_args!("{name:<12}{:>9}{values}", view.latencies.count()));
    };
    row("connect", &metrics.connect.planned);
    row("  from dial", &metrics.connect.sent);
    row("handshake", &metrics.handshake.measured);
    row("ping_rtt", &metrics.ping_rtt.planned);
    row("  from send", &metrics.ping_rtt.sent);
    let remark = match metrics.send_lag.measured.latencies.percentile(99.0) {
        None => "",
        Some(p99) if p99 < GAP_TO_MENTION => ": the schedule was kept",
        Some(_) => ": pings were sent late",
    };
    page.line(format_args!("connect and ping_rtt count from the planned time{remark}"));
    if let Some(unanswered) = unanswered(counts.tally) {
        page.wrapped("", &unanswered);
    }
    page.line(format_args!(""));
}

/// Describes the unanswered share of the planned pings, if any.
fn unanswered(Tally { planned, timed_out, unsent, .. }: Tally) -> Option<String> {
    let unanswered = timed_out + unsent;
    let shares = show_share(unanswered, planned);
    (unanswered > 0).then(|| {
        format!(
            "{shares} unanswered: {timed_out} timed out and {unsent} unsent of {planned} planned; a percentile among \
             them is shown as > T, T being the shortest wait for one of them"
        )
    })
}

fn failures(page: &mut Page, Document { counts, .. }: &Document) {
    if counts.errors.is_empty() {
        return;
    }
    let on = |side: Side| counts.errors.iter().filter(move |failed| failed.side == side);
    for (side, name) in [(Side::Local, "local"), (Side::Remote, "remote")] {
        let total: u64 = on(side).map(|failed| failed.count).sum();
        if total == 0 {
            continue;
        }
        page.line(format_args!("Failed     {name} {total}"));
        for failed in on(side) {
            page.wrapped(&format!("  {:<20}{:>7}  ", failed.cause, failed.count), &failed.explanation);
        }
    }
    page.line(format_args!(""));
}

fn generator(page: &mut Page, Document { run, metrics, generator, .. }: &Document) {
    let p99 = |view: &View| view.latencies.percentile(99.0).map_or_else(|| "-".to_owned(), show_latency);
    let (working, spinning) = (generator.cpu_working, generator.cpu_spinning);
    let limit = generator.limit.name();
    let parts = [
        format!("loop lag p99 {}", p99(&metrics.loop_lag.measured)),
        format!("send lag p99 {}", p99(&metrics.send_lag.measured)),
        format!("CPU {:.0} % working, {:.0} % spinning", working * 100.0, spinning * 100.0),
        format!("verdict: {}", generator.verdict.words()),
        match run.answered_per_s {
            Some(rate) if generator.limit != Limit::None => format!("limit: {limit}, at {}", show_rate(rate)),
            Some(_) | None => format!("limit: {limit}"),
        },
    ];
    page.parts("Generator  ", "   ", parts);
    if spinning > 0.0 && working + spinning >= WHOLE_CPU_SHARE {
        page.wrapped(BELOW, "a whole CPU was in use, part of it to spin until pings were due; --no-spin lets it sleep");
    }
    for reason in &generator.reasons {
        page.wrapped(BELOW, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::load::Doubt;

    #[test]
    fn a_doubt_shows_its_lag_in_the_format_of_the_report() {
        for nanos in [1_000_001, 9_994_999, 9_995_000, 99_949_999, 99_950_000, 109_200_000, 999_499_999, 999_500_000] {
            let p99 = Duration::from_nanos(nanos);
            for doubt in [Doubt::SendLag { p99 }, Doubt::LoopLag { p99 }] {
                let text = doubt.to_string();
                assert!(text.contains(&format!(" {} late", show_latency(p99))), "{text}");
            }
        }
    }
}
