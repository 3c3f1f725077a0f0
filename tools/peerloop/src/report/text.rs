//! The report for people: what was asked, what happened, and whether to believe it.

use super::sample::show_share;
use super::{Outcome, Sample, explain};
use crate::bench::Setup;
use crate::machine::Machine;
use crate::units::{Percentiles, show_bytes, show_latency, show_rate, show_seconds};
use peerloop::error::Side;
use peerloop::limits::EXACT_WAKE_SPIN;
use peerloop::load::{Limit, Report, Verdict, WorkCounts};
use std::fmt::Write;
use std::time::Duration;

/// How wide the lines are that do not have to be wider: no terminal breaks them.
const WIDTH_CHARS: usize = 80;

/// Targets that have a row of their own; more would hide what follows.
const TARGET_ROWS_MAX: usize = 20;

/// A gap between the views of `ping_rtt` that is worth a remark.
const GAP_TO_MENTION: Duration = Duration::from_millis(1);

/// The share of a CPU from which on a whole one is in use.
const WHOLE_CPU_SHARE: f64 = 0.95;

/// Below a label of the summary.
const BELOW: &str = "           ";

/// A text that grows line by line.
pub(crate) struct Page(pub(crate) String);

impl Page {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("a string takes all that is written");
        self.0.push('\n');
    }

    /// A line of parts behind a label; those that do not fit go on below the first.
    pub(crate) fn parts<T: AsRef<str>>(&mut self, label: &str, gap: &str, parts: impl IntoIterator<Item = T>) {
        self.0.push_str(label);
        let indent = label.chars().count();
        let mut column = indent;
        for part in parts {
            let part = part.as_ref();
            let part_chars = part.chars().count();
            if column > indent && column + gap.len() + part_chars > WIDTH_CHARS {
                self.0 += &format!("\n{:indent$}", "");
                column = indent;
            } else if column > indent {
                self.0.push_str(gap);
                column += gap.len();
            }
            self.0.push_str(part);
            column += part_chars;
        }
        self.0.push('\n');
    }

    /// A sentence behind a label.
    pub(crate) fn sentence(&mut self, label: &str, sentence: &str) {
        self.parts(label, " ", sentence.split(' '));
    }
}

/// What is about to happen, before it does.
pub(crate) fn preamble(setup: &Setup) -> String {
    let mut page = Page(String::new());
    if setup.is_built_in() {
        page.line(format_args!("no target given: this machine's floor, against a built-in node on 127.0.0.1"));
    } else {
        let targets = setup.targets.iter().map(ToString::to_string);
        page.parts("target  ", "  ", targets.chain([format!("network {}", setup.network)]));
    }
    let [warmup, duration, drain] = [setup.warmup, setup.duration, setup.drain].map(show_seconds);
    let plan = [
        format!("{} peers at {}", setup.connections, show_rate(setup.connect_rate.as_per_second())),
        format!("{} pings, {} per peer", show_rate(setup.rate.as_per_second()), show_rate(setup.rate_per_peer())),
        format!("{warmup} warm-up, {duration} run, {drain} drain"),
    ];
    page.parts("plan    ", "  ", plan);
    let spinning = setup.spin.then(|| spinning(setup.rate.as_per_second()));
    page.parts("checks  ", "  ", checks(&setup.machine, setup.is_built_in()).into_iter().chain(spinning));
    page.0
}

/// What happened.
pub(crate) fn summary(setup: &Setup, outcome: &Outcome) -> String {
    let report = &outcome.report;
    let mut page = Page(String::new());
    let peers = report.peers;
    page.parts("ramp    ", "  ", ramp(setup, report));
    for ending in outcome.endings() {
        page.sentence(if ending.is_partial { "partial " } else { "failed  " }, &ending.reason);
    }
    page.line(format_args!(""));
    page.line(format_args!(
        "Peers      opened {}   ready {}   lost {}   failed {}",
        peers.opened, peers.ready, peers.lost, peers.failed
    ));
    if peers.ready > 0 {
        work(&mut page, setup, report);
        latencies(&mut page, &setup.percentiles, report);
    }
    failures(&mut page, report);
    if peers.ready > 0 {
        generator(&mut page, report);
    }
    files(&mut page, setup);
    page.0
}

/// Says how the ramp went, and the rate of its dials beside the asked one.
fn ramp(setup: &Setup, report: &Report) -> Vec<String> {
    let time = report.ramp.time.map(|time| format!(" in {:.1} s", time.as_secs_f64())).unwrap_or_default();
    let mut parts = vec![format!("{}/{} peers{time}", report.peers.ready, report.peers.asked)];
    let rate = report.ramp.dial_rate_per_second(setup.connect_rate);
    let asked = show_rate(setup.connect_rate.as_per_second());
    parts.extend(rate.map(|rate| format!("dialled at {} of {asked} asked", show_rate(rate))));
    parts
}

fn checks(machine: &Machine, is_built_in: bool) -> Vec<String> {
    let mut checks = vec![format!("descriptors {} ok", machine.descriptors)];
    checks.extend(machine.port_count().map(|ports| format!("ports {ports} ok")));
    checks.extend(machine.backlog.filter(|_| is_built_in).map(|backlog| format!("backlog {backlog} ok")));
    checks.extend(machine.load_average_text().map(|load| format!("load average {load}")));
    checks.push(match (machine.cpus, is_built_in) {
        (1, true) => "CPUs 1: generator and node share it".to_owned(),
        (2, true) => "CPUs 2: generator and node share them".to_owned(),
        (cpus, _) => format!("CPUs {cpus}"),
    });
    checks
}

/// Says how much of a CPU the generator takes to meet its exact wake-ups at so many pings per second.
fn spinning(rate: f64) -> String {
    match (rate * EXACT_WAKE_SPIN.as_secs_f64() * 100.0).ceil() {
        percent if percent >= 100.0 => "the generator spins: it takes a whole CPU".to_owned(),
        percent => format!("the generator spins {percent:.0} % of the time"),
    }
}

fn work(page: &mut Page, setup: &Setup, report: &Report) {
    let work = report.work;
    let rate = report.answered_per_second().map_or_else(|| "-".to_owned(), show_rate);
    let mut parts = vec![format!("{} planned", work.planned), format!("{} sent", work.sent)];
    parts.extend((work.unsent > 0).then(|| format!("{} unsent", work.unsent)));
    parts.push(format!("{} answered", work.answered));
    parts.push(format!("{} timed out", work.timed_out));
    parts.push(format!("{rate} of {} asked", show_rate(setup.rate.as_per_second())));
    page.parts("Work       ", "   ", parts);
    let traffic = report.traffic;
    page.line(format_args!(
        "Traffic    out {}   in {}",
        show_bytes(traffic.sent_bytes),
        show_bytes(traffic.received_bytes)
    ));
    for agent in &report.agents {
        page.line(format_args!(
            "Nodes      {} protocol {}   {} peers",
            if agent.user_agent.is_empty() { "(no user agent)" } else { &agent.user_agent },
            agent.protocol_version,
            agent.count
        ));
    }
    targets(page, setup, report);
    page.line(format_args!(""));
}

/// Writes a row for each of several targets; one alone has nothing that the lines above do not say.
fn targets(page: &mut Page, setup: &Setup, report: &Report) {
    if report.targets.len() < 2 {
        return;
    }
    for target in report.targets.iter().take(TARGET_ROWS_MAX) {
        let (peers, work) = (target.peers, target.work);
        let mut parts = vec![
            target.address.to_string(),
            format!("{}/{} ready", peers.ready, peers.asked),
            format!("{} lost", peers.lost),
            format!("{} failed", peers.failed),
            format!("{} planned", work.planned),
            format!("{} sent", work.sent),
            format!("{} unsent", work.unsent),
            format!("{} answered", work.answered),
        ];
        if let Some(sample) = Sample::of_target(target) {
            let value = |percent| sample.percentile(percent).shown();
            parts.extend(setup.percentiles.0.iter().map(|one| format!("{} {}", one.heading(), value(one.percent))));
        }
        page.parts("Target     ", "   ", parts);
    }
    if report.targets.len() > TARGET_ROWS_MAX {
        page.line(format_args!("{BELOW}{} more targets: see --json", report.targets.len() - TARGET_ROWS_MAX));
    }
}

fn latencies(page: &mut Page, percentiles: &Percentiles, report: &Report) {
    let headings: String = percentiles.0.iter().map(|one| format!("{:>10}", one.heading())).collect();
    page.line(format_args!("{:<12}{:>9}{headings}", "Latency", "count"));
    let mut row = |name: &str, sample: Sample<'_>| {
        let shown = |percent: f64| sample.percentile(percent).shown();
        let values: String = percentiles.0.iter().map(|one| format!(" {:>9}", shown(one.percent))).collect();
        page.line(format_args!("{name:<12}{:>9}{values}", sample.latencies.count()));
    };
    row("connect", Sample::connect_planned(report));
    row("  from dial", Sample::connect_dialled(report));
    row("handshake", Sample::handshake(report));
    row("ping_rtt", Sample::ping_rtt_planned(report));
    row("  from send", Sample::ping_rtt_sent(report));
    page.line(format_args!("connect and ping_rtt count from the planned time{}", gap_remark(report)));
    if let Some(unanswered) = unanswered(report) {
        page.sentence("", &unanswered);
    }
    page.line(format_args!(""));
}

/// Says what share of the planned pings was not answered, if any.
fn unanswered(report: &Report) -> Option<String> {
    let WorkCounts { planned, timed_out, unsent, .. } = report.work;
    let unanswered = timed_out + unsent;
    let shares = show_share(unanswered, planned);
    (unanswered > 0).then(|| {
        format!(
            "{shares} unanswered: {timed_out} timed out and {unsent} unsent of {planned} planned; a percentile among \
             them is shown as > T, T being the shortest wait for one of them"
        )
    })
}

/// Formats a latency; `-` is for none.
fn shown(latency: Option<Duration>) -> String {
    latency.map_or_else(|| "-".to_owned(), show_latency)
}

fn gap_remark(report: &Report) -> &'static str {
    match report.send_lag.percentile(99.0) {
        None => "",
        Some(p99) if p99 < GAP_TO_MENTION => ": the schedule was kept",
        Some(_) => ": pings left late",
    }
}

fn failures(page: &mut Page, report: &Report) {
    if report.failures.is_empty() {
        return;
    }
    let on = |side: Side| report.failures.iter().filter(move |failure| failure.side == side);
    for (side, name) in [(Side::Local, "local"), (Side::Remote, "remote")] {
        let total: u64 = on(side).map(|failure| failure.count).sum();
        if total == 0 {
            continue;
        }
        page.line(format_args!("Failed     {name} {total}"));
        for failure in on(side) {
            page.sentence(
                &format!("  {:<20}{:>7}  ", failure.label, failure.count),
                &explain(failure, &report.targets),
            );
        }
    }
    page.line(format_args!(""));
}

fn generator(page: &mut Page, report: &Report) {
    let verdict = match &report.verdict {
        Verdict::Trusted => "TRUSTED",
        Verdict::NotTrusted(_) => "NOT TRUSTED",
    };
    let parts = [
        format!("loop lag p99 {}", shown(report.loop_lag.percentile(99.0))),
        format!("send lag p99 {}", shown(report.send_lag.percentile(99.0))),
        format!("CPU {:.0} % working, {:.0} % spinning", report.busy * 100.0, report.spinning * 100.0),
        format!("verdict: {verdict}"),
        limit(report),
    ];
    page.parts("Generator  ", "   ", parts);
    if report.spinning > 0.0 && report.busy + report.spinning >= WHOLE_CPU_SHARE {
        page.sentence(
            BELOW,
            "a whole CPU was in use, part of it to spin until pings were due; --no-spin lets it sleep",
        );
    }
    if let Verdict::NotTrusted(doubts) = &report.verdict {
        for doubt in doubts {
            page.sentence(BELOW, &doubt.to_string());
        }
    }
}

/// Names what kept the load from being done as planned, and the rate that was kept.
fn limit(report: &Report) -> String {
    let name = report.limit.name();
    match report.answered_per_second() {
        Some(rate) if report.limit != Limit::None => format!("limit: {name}, at {}", show_rate(rate)),
        Some(_) | None => format!("limit: {name}"),
    }
}

fn files(page: &mut Page, setup: &Setup) {
    let written: Vec<String> =
        [&setup.json, &setup.hgrm].into_iter().flatten().filter_map(|sink| sink.name()).collect();
    match written.is_empty() {
        true => page.line(format_args!("Files      none (add --json FILE, --hgrm FILE)")),
        false => page.parts("Files      ", "  ", written),
    }
    if setup.is_built_in() {
        page.line(format_args!("Next       peerloop probe NODE:8333            one real node, step by step"));
        page.line(format_args!("{BELOW}peerloop bench NODE:18444 --network regtest -c 100"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::load::Doubt;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_goes_on_below_the_first_part() {
        let mut page = Page(String::new());
        page.parts("label  ", "   ", ["a".repeat(36), "b".repeat(34), "c".to_owned()]);
        page.parts("label  ", "   ", ["d".repeat(90), "e".to_owned()]);
        page.parts("label  ", "   ", [""; 0]);
        let (a, b, d) = ("a".repeat(36), "b".repeat(34), "d".repeat(90));
        assert_eq!(page.0, format!("label  {a}   {b}\n       c\nlabel  {d}\n       e\nlabel  \n"));
    }

    #[test]
    fn a_doubt_tells_its_lag_as_the_report_does() {
        for nanos in [1_000_001, 9_994_999, 9_995_000, 99_949_999, 99_950_000, 109_200_000, 999_499_999, 999_500_000] {
            let p99 = Duration::from_nanos(nanos);
            for doubt in [Doubt::SendLag { p99 }, Doubt::LoopLag { p99 }] {
                let told = doubt.to_string();
                assert!(told.contains(&format!("up to {} la", show_latency(p99))), "{told}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_sentence_keeps_its_words_and_the_width(words in proptest::collection::vec("[a-z]{1,20}", 1..60)) {
            let sentence = words.join(" ");
            let mut page = Page(String::new());
            page.sentence(BELOW, &sentence);
            prop_assert!(page.0.lines().all(|line| line.len() <= WIDTH_CHARS && line.starts_with(BELOW)));
            prop_assert_eq!(page.0.split_whitespace().collect::<Vec<_>>().join(" "), sentence);
        }
    }
}
