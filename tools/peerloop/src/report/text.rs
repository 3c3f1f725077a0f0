//! The report for people: what was asked, what happened, and whether to believe it.

use super::{Outcome, explain};
use crate::bench::Setup;
use crate::machine::Machine;
use crate::units::{Percentiles, Rate, show_bytes, show_latency, show_seconds};
use peerloop::error::Side;
use peerloop::histogram::LatencyHistogram;
use peerloop::load::{Report, Verdict};
use std::fmt::Write;
use std::time::Duration;

/// A gap between the views of `ping_rtt` that is worth a remark.
const GAP_TO_MENTION: Duration = Duration::from_millis(1);

/// A text that grows line by line.
struct Page(String);

impl Page {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("a string takes all that is written");
        self.0.push('\n');
    }
}

/// What is about to happen, before it does.
pub(crate) fn preamble(setup: &Setup) -> String {
    let mut page = Page(String::new());
    if setup.is_built_in() {
        page.line(format_args!("no target given: measuring this machine's floor against a built-in node on 127.0.0.1"));
    } else {
        let targets: Vec<String> = setup.targets.iter().map(ToString::to_string).collect();
        page.line(format_args!("target  {}  network {}", targets.join(" "), setup.network));
    }
    page.line(format_args!(
        "plan    {} peers at {}  {} pings, {} per peer  {} warm-up, {} run, {} drain",
        setup.connections,
        setup.connect_rate,
        setup.rate,
        setup.rate_per_peer(),
        show_seconds(setup.warmup),
        show_seconds(setup.duration),
        show_seconds(setup.drain)
    ));
    page.line(format_args!("checks  {}", checks(&setup.machine, setup.is_built_in())));
    page.0
}

/// What happened.
pub(crate) fn summary(setup: &Setup, outcome: &Outcome) -> String {
    let report = &outcome.report;
    let mut page = Page(String::new());
    let peers = report.peers;
    let ramp = report.ramp_time.map(|time| format!(" in {:.1} s", time.as_secs_f64())).unwrap_or_default();
    page.line(format_args!("ramp    {}/{} peers{ramp}", peers.ready, peers.asked));
    if outcome.course.stop.is_some() || report.is_partial {
        page.line(format_args!("partial {}: the numbers cover what was done until then", outcome.reason()));
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

fn checks(machine: &Machine, is_built_in: bool) -> String {
    let mut checks = format!("fds {} ok", machine.descriptors);
    if let Some(ports) = machine.port_count() {
        checks += &format!("  ports {ports} ok");
    }
    if let Some(backlog) = machine.backlog.filter(|_| is_built_in) {
        checks += &format!("  backlog {backlog} ok");
    }
    checks += &match (machine.cpus, is_built_in) {
        (1, true) => "  CPUs 1: engine and node share it".to_owned(),
        (2, true) => "  CPUs 2: engine and node share them".to_owned(),
        (cpus, _) => format!("  CPUs {cpus}"),
    };
    checks
}

fn work(page: &mut Page, setup: &Setup, report: &Report) {
    let work = report.work;
    let seconds = report.run_time.as_secs_f64();
    let unsent = if work.unsent > 0 { format!("{} unsent   ", work.unsent) } else { String::new() };
    let rate = if seconds > 0.0 { Rate(work.answered as f64 / seconds) } else { Rate(0.0) };
    page.line(format_args!(
        "Work       {} planned   {} sent   {unsent}{} answered   {} timed out   {rate} of {} asked",
        work.planned, work.sent, work.answered, work.timed_out, setup.rate
    ));
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
    page.line(format_args!(""));
}

fn latencies(page: &mut Page, percentiles: &Percentiles, report: &Report) {
    let headings: String = percentiles.0.iter().map(|one| format!("{:>10}", one.heading())).collect();
    page.line(format_args!("{:<12}{:>9}{headings}", "Latency", "count"));
    let mut row = |name: &str, histogram: &LatencyHistogram, remark: &str| {
        let shown = |percent: f64| match histogram.count() {
            0 => "-".to_owned(),
            _ => show_latency(histogram.percentile(percent)),
        };
        let values: String = percentiles.0.iter().map(|one| format!("{:>10}", shown(one.percent))).collect();
        page.line(format_args!("{name:<12}{:>9}{values}{remark}", histogram.count()));
    };
    row("connect", &report.connect, "");
    row("handshake", &report.handshake, "");
    row("ping_rtt", &report.ping_rtt_planned, "   from planned time");
    row("  from send", &report.ping_rtt_sent, &gap_remark(report));
    page.line(format_args!(""));
}

fn gap_remark(report: &Report) -> String {
    if report.ping_rtt_sent.count() == 0 {
        return String::new();
    }
    let gap = report.send_lag.percentile(99.0);
    let verdict = match gap < GAP_TO_MENTION {
        true => "schedule kept",
        false => "pings left late",
    };
    format!("   gap p99 {}: {verdict}", show_latency(gap))
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
            page.line(format_args!("  {:<20}{:>7}  {}", failure.label, failure.count, explain(failure)));
        }
    }
    page.line(format_args!(""));
}

fn generator(page: &mut Page, report: &Report) {
    let verdict = match &report.verdict {
        Verdict::Trusted => "TRUSTED",
        Verdict::NotTrusted(_) => "NOT TRUSTED",
    };
    page.line(format_args!(
        "Generator  loop lag p99 {}   send lag p99 {}   CPU {:.0} %   verdict: {verdict}",
        show_latency(report.loop_lag.percentile(99.0)),
        show_latency(report.send_lag.percentile(99.0)),
        report.busy * 100.0
    ));
    if let Verdict::NotTrusted(doubts) = &report.verdict {
        for doubt in doubts {
            page.line(format_args!("           {doubt}"));
        }
    }
}

fn files(page: &mut Page, setup: &Setup) {
    let written: Vec<String> =
        [&setup.json, &setup.hgrm].into_iter().flatten().filter_map(|sink| sink.name()).collect();
    match written.is_empty() {
        true => page.line(format_args!("Files      none (add --json FILE, --hgrm FILE)")),
        false => page.line(format_args!("Files      {}", written.join("  "))),
    }
    if setup.is_built_in() {
        page.line(format_args!("Next       peerloop probe NODE:8333            one real node, step by step"));
        page.line(format_args!("           peerloop bench NODE:18444 --network regtest -c 100"));
    }
}
