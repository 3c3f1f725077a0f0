//! The report for people: the results, and whether they can be trusted.

mod bars;
mod latencies;
mod origin;
pub(crate) mod plan;
mod search;
mod short;

use crate::model::search::What;
use crate::model::{
    Document, Generator, Host, Limit, Outcome, Pace, Peers, Phase, RateChange, Run, Search, Side, Threshold, Trust,
    Work,
};
use crate::output::json::Nanos;
use crate::output::page::Page;
use crate::units::{counted, show_bytes, show_latency, show_rate, show_seconds, show_share};
pub(crate) use short::short;
use std::time::Duration;

/// Maximum number of targets with a row of their own; more rows would hide the following lines.
const MAX_TARGET_ROWS: usize = 20;

/// Maximum number of changes of the rate that are listed.
const MAX_CHANGES: usize = 5;

/// If the p99 of the send lag is at least this long, the report states that operations were started late.
const GAP_TO_MENTION: Duration = Duration::from_millis(1);

/// The share of a CPU that counts as a whole CPU.
const WHOLE_CPU_SHARE: f64 = 0.95;

/// The indentation below a label.
const BELOW: &str = "           ";

/// The end of the names of metrics that describe the generator itself.
const LAG: &str = "_lag";

/// Formats the description of a finished run: its name, its host, its targets and its plan.
pub(crate) fn heading(document: &Document) -> String {
    let Document { tool, run, host, config, targets, .. } = document;
    let mut page = Page(String::new());
    let git = tool.git.as_ref().map(|git| format!(" ({git})")).unwrap_or_default();
    let mut parts = vec![run.start.clone(), format!("{} {}{git}", tool.name, tool.version)];
    parts.extend((!run.name.is_empty()).then(|| run.name.clone()));
    parts.extend(run.labels.iter().map(|(key, value)| format!("{key}={value}")));
    page.parts("run     ", "  ", parts);
    page.parts("host    ", "  ", host_parts(host));
    let shown = targets.iter().take(MAX_TARGET_ROWS).map(|target| target.addr.clone());
    let more = targets.len().saturating_sub(MAX_TARGET_ROWS);
    let more = (more > 0).then(|| format!("and {}", counted(more as u64, "more target")));
    page.parts("target  ", "  ", shown.chain(more).chain([format!("network {}", config.network)]));
    match &document.search {
        Some(search) => page.parts("search  ", "  ", search::parts(search)),
        None => page.parts("plan    ", "  ", plan::parts(config, run.segment)),
    }
    origin::write(&mut page, document);
    page.0
}

fn host_parts(Host { name, os, kernel, cpu_model, cpus, load_average, .. }: &Host) -> Vec<String> {
    let mut parts: Vec<String> = name.iter().cloned().collect();
    parts.push(kernel.clone().unwrap_or_else(|| os.clone()));
    parts.push(match cpu_model {
        Some(model) => format!("{model}, CPUs {cpus}"),
        None => format!("CPUs {cpus}"),
    });
    parts.extend(load_average.map(|load| format!("load average {load:.2}")));
    parts
}

/// Formats the whole report. `files` are the names of the files with the results; without it, the report has no lines
/// about files and next steps.
pub(crate) fn summary(document: &Document, files: Option<&[String]>) -> String {
    let mut page = Page(String::new());
    let Peers { opened, ready, lost, failed, .. } = document.counts.peers;
    let has_results = ready > 0 || document.counts.work.answered > 0;
    page.parts("ramp    ", "  ", ramp(document));
    for reason in &document.exit.reasons {
        page.wrapped(if reason.partial { "partial " } else { "failed  " }, &reason.reason);
    }
    page.line(format_args!(""));
    if let Some(found) = &document.search {
        search::write(&mut page, found);
        failures(&mut page, document);
        if let Some(files) = files {
            afterwards(&mut page, document, files);
        }
        return page.0;
    }
    page.parts("Success    ", "   ", success(document));
    page.line(format_args!("Peers      opened {opened}   ready {ready}   lost {lost}   failed {failed}"));
    if has_results {
        work(&mut page, document);
        stages(&mut page, document);
        targets(&mut page, document);
        page.line(format_args!(""));
        latencies::write(&mut page, document, percentile(document, "send_lag", 99.0));
        if let Some((metric, view)) = document.main_metric().and_then(|metric| Some((metric, metric.first_view()?))) {
            bars::write(&mut page, &metric.name, noun(&document.config.workload), view);
        }
    }
    thresholds(&mut page, document);
    for group in &document.groups {
        latencies::of_group(&mut page, group);
    }
    failures(&mut page, document);
    failed_operations(&mut page, document);
    if has_results {
        generator(&mut page, document);
    }
    if let Some(events) = document.counts.events {
        page.line(format_args!("Events     {} written   {} lost", events.written, events.lost));
    }
    if !document.omitted.is_empty() {
        page.wrapped("Omitted    ", &format!("{}: see result.json of the run", document.omitted.join(", ")));
    }
    if let Some(files) = files {
        afterwards(&mut page, document, files);
    }
    page.0
}

/// Writes the names of the files, and for a newcomer the next steps.
fn afterwards(page: &mut Page, document: &Document, files: &[String]) {
    match files.is_empty() {
        true => page.line(format_args!("Files      none (add -o DIR, or --json FILE, --hlog FILE and others)")),
        false => page.parts("Files      ", "  ", files),
    }
    if document.config.built_in_node {
        page.line(format_args!("Next       peerloop probe NODE:8333            one real node, step by step"));
        page.line(format_args!("{BELOW}peerloop bench NODE:18444 --network regtest -c 100"));
    }
}

/// Formats in one line whether the numbers can be trusted, for a reader who does not see the report.
pub(crate) fn verdict(document: &Document) -> String {
    let Generator { verdict, reasons, limit, .. } = &document.generator;
    let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    format!("verdict: {}{reasons}; limit: {}", verdict.words(), limit.words())
}

/// Shows the verdict and the thresholds' results in a formatted report in green or red, for a terminal.
pub(crate) fn coloured(report: &str) -> String {
    const GREEN: &str = "\x1b[32m";
    const RED: &str = "\x1b[31m";
    const PLAIN: &str = "\x1b[0m";
    let paint = |text: &str, trust: Trust, colour: &str| {
        let words = trust.words();
        text.replace(&format!("verdict: {words}"), &format!("verdict: {colour}{words}{PLAIN}"))
    };
    let judged = paint(&paint(report, Trust::Trusted, GREEN), Trust::NotTrusted, RED);
    let results = [(Outcome::Pass, GREEN), (Outcome::Fail, RED), (Outcome::NoData, RED)];
    results.into_iter().fold(judged, |text, (result, colour)| {
        let words = result.words();
        text.replace(&format!("{THRESHOLD}{words}"), &format!("{THRESHOLD}{colour}{words}{PLAIN}"))
    })
}

impl Outcome {
    fn words(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::NoData => "NO DATA",
        }
    }
}

impl Trust {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Trusted => "TRUSTED",
            Self::NotTrusted => "NOT TRUSTED",
        }
    }
}

impl Limit {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Node => "node",
            Self::Generator => "generator",
        }
    }
}

/// Returns the name of the workload's operations, in the plural.
pub(crate) fn noun(workload: &str) -> &'static str {
    match kind(workload) {
        "ping" => "pings",
        "inv" | "propagation" => "announcements",
        "headers" | "getdata" | "block" => "requests",
        "tx" => "transactions",
        "connect" | "churn" => "connections",
        "handshake" => "handshakes",
        _ => "operations",
    }
}

/// Returns a workload's name without its value.
fn kind(workload: &str) -> &str {
    workload.split_once(':').map_or(workload, |(kind, _)| kind)
}

/// Returns whether each of the workload's operations opens a connection of its own.
fn opens_connections(workload: &str) -> bool {
    matches!(kind(workload), "connect" | "handshake" | "churn")
}

/// Returns whether the workload only observes.
fn is_passive(workload: &str) -> bool {
    kind(workload) == "propagation"
}

/// Describes the ramp: its ready peers, its duration, its dial rate and the requested dial rate.
fn ramp(Document { run, config, counts, search, .. }: &Document) -> Vec<String> {
    if opens_connections(&config.workload) {
        return vec!["no peers: each operation opens a connection of its own".to_owned()];
    }
    let Peers { asked, ready, .. } = counts.peers;
    let time = run.ramp_ns.map(|time| format!(" in {:.1} s", time.0.as_secs_f64())).unwrap_or_default();
    let mut parts = vec![match search {
        // A search for peers opens most of them after the ramp.
        Some(Search { what: What::Peers, .. }) => format!("{ready} of {asked} peers became ready in all trials"),
        Some(_) | None => format!("{ready}/{asked} peers{time}"),
    }];
    let asked = show_rate(config.connect_rate_per_s);
    parts.extend(run.dial_rate_per_s.map(|rate| format!("dialled at {} of {asked} requested", show_rate(rate))));
    parts
}

/// Describes the answered share of the planned operations, and the share of the peers that were ready to the end.
fn success(document: &Document) -> Vec<String> {
    let (peers, work) = (document.counts.peers, document.counts.work);
    let mut parts = Vec::new();
    if work.planned > 0 {
        let share = show_share(work.answered, work.planned);
        let noun = noun(&document.config.workload);
        parts.push(match is_passive(&document.config.workload) {
            true => format!("{share} of {} expected {noun} received", work.planned),
            false => format!("{share} of {} {noun} answered", work.planned),
        });
    }
    if opens_connections(&document.config.workload) {
        return parts;
    }
    let stayed = show_share(stayed(peers), peers.asked);
    parts.push(format!("{stayed} of {} ready to the end", counted(peers.asked, "peer")));
    parts
}

/// Returns the number of peers that were ready to the end.
pub(crate) fn stayed(peers: Peers) -> u64 {
    peers.ready.saturating_sub(peers.lost)
}

fn work(page: &mut Page, document: &Document) {
    let Document { run, config, counts, agents, .. } = document;
    let Work { planned, sent, unsent, answered, timed_out, .. } = counts.work;
    let rate = run.answered_per_s.map_or_else(|| "-".to_owned(), show_rate);
    if is_passive(&config.workload) {
        let counts = [format!("{planned} expected"), format!("{answered} received"), format!("{timed_out} missing")];
        page.parts("Work       ", "   ", counts.into_iter().chain([rate]));
    } else {
        let mut parts = vec![format!("{planned} planned"), format!("{sent} sent")];
        parts.extend((unsent > 0).then(|| format!("{unsent} unsent")));
        parts.push(format!("{answered} answered"));
        parts.push(format!("{timed_out} timed out"));
        parts.push(match requested_rate(document) {
            Some(requested) => format!("{rate} of {} requested", show_rate(requested)),
            None => rate,
        });
        page.parts("Work       ", "   ", parts);
    }
    changes(page, run);
    let [sent, received] = [counts.sent_bytes, counts.received_bytes].map(show_bytes);
    page.line(format_args!("Traffic    out {sent}   in {received}"));
    if config.multistreams {
        let (opened, failed) = (counts.streams_opened, counts.stream_failures);
        let ready = counts.peers.ready;
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

/// Computes the rate that was requested of this process. If it was not one constant rate, it is the mean of the planned
/// operations.
pub(crate) fn requested_rate(document: &Document) -> Option<f64> {
    let Document { run, config, counts, .. } = document;
    let is_constant = matches!(&config.stages[..], [stage] if stage.from_per_s == stage.to_per_s);
    let is_part = document.merged.is_some() || document.cut.is_some() || run.segment != [1, 1];
    let is_whole = !is_part && config.max_operations.is_none() && run.rate_changes.is_empty();
    let seconds = run.scheduled_ns.0.as_secs_f64();
    match config.pace {
        Pace::Max => None,
        Pace::Scheduled if is_constant && is_whole && config.arrival == "even" => config.rate_per_s,
        Pace::Scheduled | Pace::PerLivingPeer => (seconds > 0.0).then(|| counts.work.planned as f64 / seconds),
    }
}

/// Writes how late the counted part began, if a moment was requested, and the requested changes of the rate.
fn changes(page: &mut Page, run: &Run) {
    if let Some(start_at) = &run.start_at {
        let late = match run.start_late_ns {
            Some(Nanos(late)) if late < GAP_TO_MENTION => ", as requested".to_owned(),
            Some(Nanos(late)) => format!(", and was {} late", show_latency(late)),
            None => " was requested".to_owned(),
        };
        page.wrapped("Start      ", &format!("{start_at}{late}"));
    }
    let changes = &run.rate_changes;
    let change = |change: &RateChange| {
        let phase = match change.phase {
            Phase::Ramp => "ramp",
            Phase::Warmup => "warm-up",
            Phase::Run => "run",
        };
        let [from, to] = [change.from_per_s, change.to_per_s].map(show_rate);
        format!("{from} to {to} at {:.1} s of the {phase}", change.at_ns.0.as_secs_f64())
    };
    let more = changes.len().saturating_sub(MAX_CHANGES);
    let more = (more > 0).then(|| format!("and {more} more: see --json"));
    let parts: Vec<String> = changes.iter().take(MAX_CHANGES).map(change).chain(more).collect();
    if !parts.is_empty() {
        page.parts("Changes    ", "   ", parts);
    }
}

/// Writes a row for each stage; a single stage is covered by the other lines.
fn stages(page: &mut Page, document: &Document) {
    if document.stages.len() < 2 {
        return;
    }
    for (index, stage) in document.stages.iter().enumerate() {
        let rate = plan::changing(stage.from_per_s, stage.to_per_s);
        let time = show_seconds(stage.end_ns.0.saturating_sub(stage.begin_ns.0));
        let mut parts = vec![format!("{} {rate} for {time}", index + 1)];
        for metric in &stage.metrics {
            let Some(work) = metric.work else { continue };
            parts.push(format!("{} planned", work.planned));
            parts.push(format!("{} answered", show_share(work.answered, work.planned)));
            let percentiles = metric.first_view().into_iter().flat_map(|view| &view.percentiles.0);
            parts.extend(percentiles.map(|(one, value)| format!("{} {}", one.heading(), value.shown())));
        }
        page.parts("Stage      ", "   ", parts);
    }
}

/// Writes a row for each target, up to [`MAX_TARGET_ROWS`]; a single target is covered by the lines above.
fn targets(page: &mut Page, Document { targets, cut, .. }: &Document) {
    // The targets' results are not known by interval.
    if targets.len() < 2 || cut.is_some() {
        return;
    }
    for target in targets.iter().take(MAX_TARGET_ROWS) {
        let Peers { asked, ready, lost, failed, .. } = target.peers;
        let Work { planned, sent, unsent, answered, .. } = target.work;
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
        let percentiles = target.view.iter().flat_map(|view| &view.percentiles.0);
        parts.extend(percentiles.map(|(one, value)| format!("{} {}", one.heading(), value.shown())));
        page.parts("Target     ", "   ", parts);
    }
    if targets.len() > MAX_TARGET_ROWS {
        page.line(format_args!("{BELOW}{} more targets: see --json", targets.len() - MAX_TARGET_ROWS));
    }
}

/// Returns a percentile of a metric that has only measured values.
fn percentile(document: &Document, metric: &str, percent: f64) -> Option<Duration> {
    document.view(metric, "measured").and_then(|view| view.percentile(percent).measured())
}

/// The label of a threshold's row.
const THRESHOLD: &str = "Threshold  ";

/// Writes a row for each threshold: its result, its text and the reason.
fn thresholds(page: &mut Page, document: &Document) {
    for Threshold { expr, result, reason, .. } in &document.thresholds {
        page.parts(THRESHOLD, "   ", [result.words(), expr, reason]);
    }
    if !document.thresholds.is_empty() {
        page.line(format_args!(""));
    }
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

/// Writes a row for each cause of operations that failed or could not be sent.
fn failed_operations(page: &mut Page, Document { counts, config, .. }: &Document) {
    let total: u64 = counts.failed_operations.iter().map(|failed| failed.count).sum();
    if total == 0 {
        return;
    }
    page.line(format_args!("Failed     {} {total}", noun(&config.workload)));
    for failed in &counts.failed_operations {
        page.wrapped(&format!("  {:<20}{:>7}  ", failed.cause, failed.count), operation_cause(&failed.cause));
    }
    page.line(format_args!(""));
}

/// Explains the cause of a failed operation.
fn operation_cause(cause: &str) -> &'static str {
    match cause {
        "too_many_operations" => "not sent: the peer had the maximum number of unanswered operations",
        "too_many_connections" => "not opened: -c connections were open; raise -c, or lower the rate",
        "too_many_pings" => "not sent: the peer had the maximum number of unanswered pings",
        "queue_full" => "not sent: the peer reads too slowly, and its queue was full",
        "too_many_marks" => "not sent: too many messages wait for the peer, which reads too slowly",
        "table_full" => "not opened: the connection table was full, because connections were still being closed",
        "no_transaction" => "not sent: the file has too few transactions, or the warm-up used them",
        "notfound" => "the peer lacks the item",
        "no_block" => "the peer has no block after the genesis block; `serve` has some",
        "wrong_size" => "the block has another length than the workload's",
        "bad_checksum" => "the checksum of the transaction or block was wrong",
        "rejected" => "the peer rejected the transaction",
        "undecodable" => "the reply could not be decoded",
        "not_announced" => "the peer did not announce the hash within the time limit",
        "too_many_hashes" => "the hash was dropped, because too many newer ones were announced",
        _ => "",
    }
}

fn generator(page: &mut Page, document: &Document) {
    let Document { run: Run { answered_per_s, .. }, generator, .. } = document;
    let p99 = |metric| percentile(document, metric, 99.0).map_or_else(|| "-".to_owned(), show_latency);
    let (working, spinning) = (generator.cpu_working, generator.cpu_spinning);
    let limit = generator.limit.words();
    let parts = [
        format!("loop lag p99 {}", p99("loop_lag")),
        format!("send lag p99 {}", p99("send_lag")),
        format!("CPU {:.0} % working, {:.0} % spinning", working * 100.0, spinning * 100.0),
        format!("verdict: {}", generator.verdict.words()),
        match answered_per_s {
            Some(rate) if generator.limit != Limit::None => format!("limit: {limit}, at {}", show_rate(*rate)),
            Some(_) | None => format!("limit: {limit}"),
        },
    ];
    page.parts("Generator  ", "   ", parts);
    if spinning > 0.0 && working + spinning >= WHOLE_CPU_SHARE {
        let noun = noun(&document.config.workload);
        let whole =
            format!("a whole CPU was in use, part of it to spin until {noun} were due; --no-spin lets it sleep");
        page.wrapped(BELOW, &whole);
    }
    for reason in &generator.reasons {
        page.wrapped(BELOW, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use peerloop::load::Doubt;

    const UNANSWERED: &str = include_str!("../../model/fixtures/schema2-unanswered.json");

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

    #[test]
    fn only_the_verdict_is_coloured() {
        for (words, colour) in [("TRUSTED", "\x1b[32m"), ("NOT TRUSTED", "\x1b[31m")] {
            let text = coloured(&format!("Generator  verdict: {words}   limit: none\nverdict TRUSTED\n"));
            assert_eq!(text, format!("Generator  verdict: {colour}{words}\x1b[0m   limit: none\nverdict TRUSTED\n"));
        }
    }

    #[test]
    fn each_threshold_has_a_row_with_a_coloured_result() {
        let mut document = model::parse(UNANSWERED).unwrap();
        let threshold = |expr: &str, result| Threshold {
            expr: expr.to_owned(),
            result,
            value: None,
            reason: "p99 is that of operations that never completed".to_owned(),
        };
        document.thresholds = vec![
            threshold("a:p99<1s", Outcome::Pass),
            threshold("b:p99<1s", Outcome::Fail),
            threshold("c:p99<1s", Outcome::NoData),
        ];
        let text = coloured(&summary(&document, None));
        for part in [
            "Threshold  \x1b[32mpass\x1b[0m   a:p99<1s   p99 is",
            "  \x1b[31mFAIL\x1b[0m   b:",
            "\x1b[31mNO DATA\x1b[0m   c:",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_report_of_a_file_shows_its_failures_within_80_columns() {
        let document = model::parse(UNANSWERED).unwrap();
        let text = heading(&document) + &summary(&document, Some(&[]));
        for part in ["plan    4 peers at 100/s", "Success    75.8 % of 120 pings answered", "       never", "> 2"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
