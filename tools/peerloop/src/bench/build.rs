//! Builds the run document from the generator's report and from the recording of the intervals.
//!
//! A value that several output forms show is computed here, once for all of them. This is the only file that knows both
//! the generator's report and the model.

use super::ending::{Ending, explain};
use super::recorder::Recorded;
use super::setup::Setup;
use crate::causes;
use crate::exit::{Exit, Stops};
use crate::model::{
    self, Counts, Document, Ended, Failed, FailedOperations, Host, Metric, Pace, PlannedStage, RateChange, Reason, Row,
    Run, SCHEMA, Series, Settings, Stage, Target, Timeline, Tool, Trust, Work,
};
use crate::output::json::Nanos;
use crate::units::{Percentiles, show_time};
use peerloop::error::Side;
use peerloop::histogram::LatencyHistogram;
use peerloop::load::{self, EndCause, OperationReport, Phase, Rate, Report, TargetReport, Verdict, WorkCounts};
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

/// The names of the metrics of the generator itself that have intervals.
const SEND_LAG: &str = "send_lag";
const LOOP_LAG: &str = "loop_lag";

/// Builds the document of a run without results. It has all names of the run's metrics, views, stages and intervals.
pub(super) fn blank(setup: &Setup) -> Document {
    let mut plan = setup.plan();
    // The built-in node may have no address yet.
    plan.targets.push((Ipv4Addr::LOCALHOST, 1).into());
    let report = setup.generator_of(plan).into_report_of_no_run(EndCause::Asked);
    let views = report.operations.iter().flat_map(|one| [(one.metric, "planned"), (one.metric, "sent")]);
    let series = views.chain([(SEND_LAG, "measured"), (LOOP_LAG, "measured")]).map(|(metric, view)| Series {
        metric: metric.to_owned(),
        view: view.to_owned(),
        intervals: Vec::new(),
    });
    let recorded = Recorded { series: series.collect(), ..Recorded::default() };
    document(setup, SystemTime::UNIX_EPOCH, Stops::default(), recorded, report)
}

/// Builds the document of a bench that started at `start` and received the signals `stops`, as if it had ended without
/// a reason.
pub(super) fn document(setup: &Setup, start: SystemTime, stops: Stops, recorded: Recorded, report: Report) -> Document {
    Document {
        schema: SCHEMA,
        tool: Tool {
            name: "peerloop".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git: option_env!("PEERLOOP_COMMIT").map(str::to_owned),
        },
        run: run(setup, start, stops, &recorded, &report),
        host: host(setup),
        config: settings(setup),
        targets: targets(setup, &report),
        agents: report.agents.iter().map(agent).collect(),
        counts: counts(&recorded, &report),
        stages: report.stages.iter().map(|stage| self::stage(setup, stage)).collect(),
        timeline: timeline(&report, recorded),
        thresholds: Vec::new(),
        search: None,
        generator: generator(&report),
        metrics: metrics(&setup.percentiles, report),
        exit: ended(&[]),
        estimates: Vec::new(),
        merged: None,
        cut: None,
        groups: Vec::new(),
        omitted: Vec::new(),
    }
}

fn run(setup: &Setup, start: SystemTime, stops: Stops, recorded: &Recorded, report: &Report) -> Run {
    Run {
        id: setup.id.clone(),
        name: setup.name.clone(),
        labels: setup.labels.iter().cloned().collect(),
        start: show_time(start),
        load_start: recorded.begin.map(show_time),
        duration_ns: Nanos(report.run_time),
        scheduled_ns: Nanos(report.scheduled_time),
        ramp_ns: report.ramp.time.map(Nanos),
        ramp_planned_ns: Nanos(report.ramp.planned_time),
        ramp_dial_ns: Nanos(report.ramp.dial_time),
        dial_rate_per_s: report.ramp.dial_rate_per_second(setup.shape.connect_rate),
        answered_per_s: report.answered_per_second(),
        partial: report.is_partial() || stops.is_any(),
        segment: segment(setup),
        start_at: setup.shape.start_at.map(show_time),
        start_late_ns: late(setup, recorded).map(Nanos),
        rate_changes: report.rate_changes.iter().map(rate_change).collect(),
        seed: setup.seed.to_string(),
        command: std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect(),
    }
}

/// Returns the part of the load that this process carries out: segment i of n.
pub(super) fn segment(setup: &Setup) -> [u32; 2] {
    let segment = setup.shape.segment;
    // The flag's parser refuses a larger number.
    [segment.index() + 1, segment.of()].map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// Returns by how much the counted part began later than requested, if it began.
fn late(setup: &Setup, recorded: &Recorded) -> Option<Duration> {
    let (start_at, begin) = (setup.shape.start_at?, recorded.begin?);
    Some(begin.duration_since(start_at).unwrap_or_default())
}

fn rate_change(change: &load::RateChange) -> RateChange {
    RateChange {
        phase: match change.phase {
            Phase::Ramp => model::Phase::Ramp,
            Phase::Warmup => model::Phase::Warmup,
            Phase::Run | Phase::Drain | Phase::Done => model::Phase::Run,
        },
        at_ns: Nanos(change.at),
        from_per_s: change.from.as_per_second(),
        to_per_s: change.to.as_per_second(),
    }
}

fn host(setup: &Setup) -> Host {
    let (host, machine) = (&setup.host, setup.machine);
    Host {
        name: host.name.clone(),
        os: std::env::consts::OS.to_owned(),
        kernel: host.kernel.clone(),
        cpu_model: host.cpu_model.clone(),
        cpus: machine.cpus as u64,
        clock: "monotonic".to_owned(),
        descriptors: machine.descriptors,
        ports: machine.ports,
        backlog: machine.backlog,
        load_average: machine.load_hundredths.map(|load| f64::from(load) / 100.0),
    }
}

/// Returns the configuration of the run.
pub(super) fn settings(setup: &Setup) -> Settings {
    let shape = &setup.shape;
    let rate_per_s = shape.mean_rate_per_s();
    let rate = |rate: Rate| (shape.pace != load::Pace::Max).then(|| rate.as_per_second());
    let stages = shape.stages.iter().map(|stage| PlannedStage {
        from_per_s: rate(stage.from),
        to_per_s: rate(stage.to),
        duration_ns: Nanos(stage.time),
    });
    Settings {
        network: setup.network.name().to_owned(),
        built_in_node: setup.is_built_in(),
        workload: setup.workload.to_string(),
        arrival: shape.arrival.to_string(),
        pace: match shape.pace {
            load::Pace::PerLivingPeer => Pace::PerLivingPeer,
            load::Pace::Max => Pace::Max,
            _ => Pace::Scheduled,
        },
        max_operations: shape.max_operations,
        connections: setup.connections as u64,
        min_peers: setup.needed_peers() as u64,
        rate_per_s,
        rate_per_peer_per_s: rate_per_s.map(|rate| rate / setup.connections as f64),
        stages: stages.collect(),
        connect_rate_per_s: shape.connect_rate.as_per_second(),
        warmup_ns: Nanos(setup.warmup),
        duration_ns: Nanos(shape.duration()),
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
        peers: peers(target.peers),
        work: work(target.work),
        view: target.planned.as_ref().map(|latencies| {
            let unanswered = target.work.timed_out + target.work.unsent;
            let wait = target.unanswered_waits.planned;
            model::View::new(&setup.percentiles, latencies.clone(), unanswered, wait)
        }),
    };
    report.targets.iter().map(target).collect()
}

fn agent(agent: &load::Agent) -> model::Agent {
    model::Agent { agent: agent.user_agent.clone(), protocol: agent.protocol_version, peers: agent.count as u64 }
}

fn peers(peers: load::PeerCounts) -> model::Peers {
    model::Peers {
        asked: peers.asked as u64,
        opened: peers.opened as u64,
        ready: peers.ready as u64,
        lost: peers.lost as u64,
        failed: peers.failed as u64,
    }
}

fn work(work: WorkCounts) -> Work {
    Work {
        planned: work.planned,
        sent: work.sent,
        unsent: work.unsent,
        unsent_absent: work.absent,
        answered: work.answered,
        timed_out: work.timed_out,
    }
}

fn counts(recorded: &Recorded, report: &Report) -> Counts {
    let failed = report.failures.iter().map(|failure| Failed {
        cause: failure.label.to_owned(),
        side: match failure.side {
            Side::Local => model::Side::Local,
            Side::Remote => model::Side::Remote,
        },
        stage: causes::Stage::of(failure.state),
        count: failure.count,
        example: failure.example.map(|reason| reason.to_string()),
        explanation: explain(failure, &report.targets),
    });
    Counts {
        peers: peers(report.peers),
        work: work(report.work),
        streams_opened: report.streams_opened,
        stream_failures: report.stream_failures,
        sent_bytes: report.traffic.sent_bytes,
        received_bytes: report.traffic.received_bytes,
        events: recorded.events.as_ref().map(|events| events.counts),
        failed_operations: report.operation_failures.iter().map(failed_operations).collect(),
        errors: failed.collect(),
    }
}

fn failed_operations(failure: &load::OperationFailure) -> FailedOperations {
    FailedOperations { cause: failure.cause.to_owned(), count: failure.count }
}

fn stage(setup: &Setup, stage: &load::StageReport) -> Stage {
    let rate = |rate: Rate| (setup.shape.pace != load::Pace::Max).then(|| rate.as_per_second());
    Stage {
        from_per_s: rate(stage.from),
        to_per_s: rate(stage.to),
        begin_ns: Nanos(stage.begin),
        end_ns: Nanos(stage.end),
        metrics: stage.operations.iter().map(|one| operation(&setup.percentiles, one.clone())).collect(),
    }
}

/// Builds the metric of a kind of operation. The latencies from the start of an operation exist only for operations
/// that were started, so only those can fail there.
fn operation(percentiles: &Percentiles, report: OperationReport) -> Metric {
    let OperationReport { metric, planned, sent, work: counts, unanswered_waits: waits, .. } = report;
    let failed = counts.timed_out + counts.unsent;
    Metric {
        work: Some(work(counts)),
        planned: Some(model::View::new(percentiles, planned, failed, waits.planned)),
        sent: Some(model::View::new(percentiles, sent, counts.timed_out, waits.sent)),
        ..unmeasured(metric)
    }
}

fn unmeasured(name: &str) -> Metric {
    Metric { name: name.to_owned(), unit: "ns".to_owned(), work: None, planned: None, sent: None, measured: None }
}

fn metrics(percentiles: &Percentiles, report: Report) -> Vec<Metric> {
    let failed_in = |wanted| {
        let failures = report.failures.iter().filter(|failure| causes::Stage::of(failure.state) == wanted);
        failures.map(|failure| failure.count).sum()
    };
    let (not_opened, not_ready) = (failed_in(causes::Stage::Connecting), failed_in(causes::Stage::Handshake));
    let view = |latencies: LatencyHistogram, failed| Some(model::View::new(percentiles, latencies, failed, None));
    let measured = |name, latencies, failed| Metric { measured: view(latencies, failed), ..unmeasured(name) };
    let mut metrics = vec![
        Metric {
            planned: view(report.connect_planned, not_opened),
            sent: view(report.connect_dialled, not_opened),
            ..unmeasured("connect")
        },
        measured("handshake", report.handshake, not_ready),
    ];
    // Operations that open connections have these metrics themselves.
    metrics.retain(|metric| report.operations.iter().all(|one| one.metric != metric.name));
    metrics.extend(report.operations.into_iter().map(|one| operation(percentiles, one)));
    metrics.push(measured(SEND_LAG, report.send_lag, 0));
    metrics.push(measured(LOOP_LAG, report.loop_lag, 0));
    metrics.push(measured("dial_lag", report.dial_lag, 0));
    metrics
}

/// Builds the timeline. Intervals at the end that the recording lacks have no latencies.
fn timeline(report: &Report, recorded: Recorded) -> Timeline {
    let row = |row: &load::Interval| Row {
        end: row.end,
        planned: row.planned,
        sent: row.sent,
        answered: row.answered,
        failed: Some(row.failed),
        p50: row.p50,
        p99: row.p99,
        max: row.max,
        peers: row.peers as u64,
        lost: row.lost as u64,
    };
    let rows: Vec<Row> = report.timeline.iter().map(row).collect();
    let padded = |series: Series| {
        let mut intervals = series.intervals;
        intervals.resize(rows.len(), None);
        Series { intervals, ..series }
    };
    let histograms = recorded.series.into_iter().map(padded).collect();
    Timeline { interval: report.interval, histograms, joined: recorded.joined, rows }
}

fn generator(report: &Report) -> model::Generator {
    let (verdict, found) = match &report.verdict {
        Verdict::Trusted => (Trust::Trusted, &[][..]),
        Verdict::NotTrusted(doubts) => (Trust::NotTrusted, &doubts[..]),
    };
    let doubts = found.iter().map(|doubt| doubt.name().to_owned()).collect();
    let reasons = found.iter().map(ToString::to_string).collect();
    let limit = match report.limit {
        load::Limit::Node => model::Limit::Node,
        load::Limit::Generator => model::Limit::Generator,
        _ => model::Limit::None,
    };
    model::Generator { cpu_working: report.busy, cpu_spinning: report.spinning, verdict, doubts, reasons, limit }
}

/// Describes the end of a bench for these reasons, in the order in which they apply.
pub(super) fn ended(endings: &[Ending]) -> Ended {
    let reason = |ending: &Ending| Reason {
        code: ending.exit.code(),
        partial: ending.is_partial,
        reason: ending.reason.clone(),
    };
    Ended {
        code: endings.first().map_or(Exit::Success, |ending| ending.exit).code(),
        reason: endings.first().map_or("finished", |ending| &ending.reason).to_owned(),
        reasons: endings.iter().map(reason).collect(),
    }
}
