//! Builds the [`Document`](super::Document) from the generator's report.
//!
//! A value that several output formats show is computed here, once for all of them.

use super::document::{
    Agent, Counts, Document, Ended, Failed, FailedPings, Generator, Host, Measured, Metrics, Run, Scheduled, Settings,
    Tally, Target, Timeline, Trust,
};
use super::ending::{self, explain};
use super::view::{Table, View};
use crate::bench::setup::Setup;
use crate::causes::Stage;
use crate::exit::{Exit, Stops};
use crate::output::json::{Nanos, SCHEMA, Tool, nanos};
use crate::units::{Percentiles, show_time};
use peerloop::load::{self, Interval, PeerCounts, Report, TargetReport, Verdict, WorkCounts};
use std::time::SystemTime;

impl Document {
    /// Builds the document for a bench that started at `start` and received the signals `stops`.
    pub(crate) fn new(setup: &Setup, start: SystemTime, stops: Stops, report: Report) -> Self {
        let endings = ending::all(setup, stops, &report);
        Self {
            schema: SCHEMA,
            tool: Tool::THIS,
            run: run(setup, start, stops, &report),
            host: host(setup),
            config: settings(setup),
            targets: targets(setup, &report),
            agents: report.agents.iter().map(agent).collect(),
            counts: counts(&report),
            timeline: timeline(&report),
            generator: generator(&report),
            metrics: metrics(&setup.percentiles, report),
            exit: Ended {
                code: endings.first().map_or(Exit::Success, |ending| ending.exit).code(),
                reason: endings.first().map_or("finished", |ending| &ending.reason).to_owned(),
                reasons: endings,
            },
        }
    }
}

fn run(setup: &Setup, start: SystemTime, stops: Stops, report: &Report) -> Run {
    Run {
        start: show_time(start),
        duration_ns: Nanos(report.run_time),
        scheduled_ns: Nanos(report.scheduled_time),
        ramp_ns: report.ramp.time.map(Nanos),
        ramp_planned_ns: Nanos(report.ramp.planned_time),
        ramp_dial_ns: Nanos(report.ramp.dial_time),
        dial_rate_per_s: report.ramp.dial_rate_per_second(setup.connect_rate),
        answered_per_s: report.answered_per_second(),
        partial: report.is_partial() || stops.is_any(),
        seed: setup.seed.to_string(),
        command: std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect(),
    }
}

fn host(setup: &Setup) -> Host {
    Host {
        os: std::env::consts::OS,
        cpus: setup.machine.cpus,
        clock: "monotonic",
        descriptors: setup.machine.descriptors,
        ports: setup.machine.ports,
        backlog: setup.machine.backlog,
        load_average: setup.machine.load_hundredths.map(|load| f64::from(load) / 100.0),
    }
}

fn settings(setup: &Setup) -> Settings {
    Settings {
        network: setup.network.name(),
        built_in_node: setup.is_built_in(),
        connections: setup.connections,
        min_peers: setup.min_peers.of(setup.connections),
        rate_per_s: setup.rate.as_per_second(),
        rate_per_peer_per_s: setup.rate_per_peer(),
        connect_rate_per_s: setup.connect_rate.as_per_second(),
        warmup_ns: Nanos(setup.warmup),
        duration_ns: Nanos(setup.duration),
        drain_ns: Nanos(setup.drain),
        timeout_ns: Nanos(setup.timeout),
        source_ips: setup.sources.iter().map(ToString::to_string).collect(),
        spin: setup.spin,
        multistreams: setup.multistreams,
    }
}

fn targets(setup: &Setup, report: &Report) -> Vec<Target> {
    let known = match (&setup.targets[..], &report.agents[..]) {
        ([_], [agent]) => Some(agent),
        _ => None,
    };
    let target = |target: &TargetReport| Target {
        addr: target.address.to_string(),
        agent: known.map(|agent| agent.user_agent.clone()),
        protocol: known.map(|agent| agent.protocol_version),
        tally: tally(target.peers, target.work),
        ping_rtt_percentiles: target.planned.as_ref().map(|latencies| {
            let unanswered = target.work.timed_out + target.work.unsent;
            Table::new(&setup.percentiles, latencies, unanswered, target.unanswered_waits.planned)
        }),
    };
    report.targets.iter().map(target).collect()
}

fn agent(agent: &load::Agent) -> Agent {
    Agent { agent: agent.user_agent.clone(), protocol: agent.protocol_version, peers: agent.count }
}

fn tally(peers: PeerCounts, work: WorkCounts) -> Tally {
    Tally {
        asked: peers.asked,
        opened: peers.opened,
        ready: peers.ready,
        lost: peers.lost,
        failed: peers.failed,
        planned: work.planned,
        sent: work.sent,
        unsent: work.unsent,
        unsent_absent: work.absent,
        answered: work.answered,
        timed_out: work.timed_out,
    }
}

fn counts(report: &Report) -> Counts {
    let failed = report.failures.iter().map(|failure| Failed {
        cause: failure.label,
        side: failure.side,
        stage: Stage::of(failure.state),
        count: failure.count,
        example: failure.example.map(|reason| reason.to_string()),
        explanation: explain(failure, &report.targets),
    });
    Counts {
        tally: tally(report.peers, report.work),
        streams_opened: report.streams_opened,
        stream_failures: report.stream_failures,
        sent_bytes: report.traffic.sent_bytes,
        received_bytes: report.traffic.received_bytes,
        errors: failed.collect(),
    }
}

fn metrics(percentiles: &Percentiles, mut report: Report) -> Metrics {
    let failed_in = |wanted| {
        let failures = report.failures.iter().filter(|failure| Stage::of(failure.state) == wanted);
        failures.map(|failure| failure.count).sum()
    };
    let (not_opened, not_ready) = (failed_in(Stage::Connecting), failed_in(Stage::Handshake));
    let WorkCounts { timed_out, unsent, .. } = report.work;
    let ping_rtt = report.operations.swap_remove(0);
    let waits = ping_rtt.unanswered_waits;
    let view = |latencies, failed, wait| View::new(percentiles, latencies, failed, wait);
    let measured = |name, latencies, failed| Measured { name, unit: "ns", measured: view(latencies, failed, None) };
    let scheduled =
        |name, planned, sent| Scheduled { name, unit: "ns", planned, sent, failed: None, p_with_failures: None };
    let planned = view(ping_rtt.planned, timed_out + unsent, waits.planned);
    Metrics {
        connect: scheduled(
            "connect",
            view(report.connect_planned, not_opened, None),
            view(report.connect_dialled, not_opened, None),
        ),
        handshake: measured("handshake", report.handshake, not_ready),
        ping_rtt: Scheduled {
            failed: Some(FailedPings { timeout: timed_out, unsent }),
            p_with_failures: Some(planned.percentiles.clone()),
            ..scheduled("ping_rtt", planned, view(ping_rtt.sent, timed_out, waits.sent))
        },
        send_lag: measured("send_lag", report.send_lag, 0),
        loop_lag: measured("loop_lag", report.loop_lag, 0),
        dial_lag: measured("dial_lag", report.dial_lag, 0),
    }
}

fn timeline(report: &Report) -> Timeline {
    let row = |row: &Interval| {
        let [p50, p99, max] = [row.p50, row.p99, row.max].map(|latency| latency.map(nanos));
        let [peers, lost] = [row.peers, row.lost].map(|count| Some(count as u64));
        [Some(nanos(row.end)), Some(row.planned), Some(row.sent), Some(row.answered), p50, p99, max, peers, lost]
    };
    Timeline {
        interval_ns: Nanos(report.interval),
        columns: ["t", "planned", "sent", "answered", "p50", "p99", "max", "peers", "lost"],
        rows: report.timeline.iter().map(row).collect(),
    }
}

fn generator(report: &Report) -> Generator {
    let (verdict, reasons) = match &report.verdict {
        Verdict::Trusted => (Trust::Trusted, Vec::new()),
        Verdict::NotTrusted(doubts) => (Trust::NotTrusted, doubts.iter().map(ToString::to_string).collect()),
    };
    Generator { cpu_working: report.busy, cpu_spinning: report.spinning, verdict, reasons, limit: report.limit }
}
