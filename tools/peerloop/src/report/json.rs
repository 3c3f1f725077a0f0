//! The report for programs: one JSON object, all times in nanoseconds.
//!
//! Each metric carries its whole histogram (HdrHistogram V2, deflated, base64), so that several files can be merged
//! exactly. `percentiles` are those of all operations, and null among those that failed, which count as infinitely
//! slow; `percentiles_of_answered` and all else of a view leave out what failed.

use super::{Outcome, Sample, Stage};
use crate::bench::Setup;
use crate::units::{Percentiles, show_time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use peerloop::error::Side;
use peerloop::load::{Interval, Report, TargetReport, Verdict};
use serde::Serialize;
use serde::ser::Serializer;
use serde_json::Value;
use std::time::Duration;

/// The form of the object; it rises when the meaning of a key changes.
pub(crate) const SCHEMA: u32 = 2;

#[derive(Debug, Serialize)]
struct Document {
    schema: u32,
    tool: Tool,
    run: Run,
    host: Host,
    config: Settings,
    targets: Vec<Target>,
    agents: Vec<Agent>,
    counts: Counts,
    metrics: Vec<Metric>,
    timeline: Timeline,
    generator: Generator,
    exit: Ended,
}

/// Who wrote the file.
#[derive(Debug, Serialize)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Run {
    start: String,
    duration_ns: u64,
    /// The time of the schedule that `counts.planned` covers.
    scheduled_ns: u64,
    ramp_ns: Option<u64>,
    /// From the begin of the ramp to its last dial, by the plan and as it was.
    ramp_planned_ns: u64,
    ramp_dial_ns: u64,
    dial_rate_per_s: Option<f64>,
    answered_per_s: Option<f64>,
    partial: bool,
    /// As text: most readers of JSON hold numbers in 53 bits.
    seed: String,
    command: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Host {
    os: &'static str,
    cpus: usize,
    clock: &'static str,
    descriptors: u64,
    ports: Option<(u16, u16)>,
    backlog: Option<u32>,
    load_average: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Settings {
    network: &'static str,
    built_in_node: bool,
    connections: usize,
    min_peers: usize,
    rate_per_s: f64,
    rate_per_peer_per_s: f64,
    connect_rate_per_s: f64,
    warmup_ns: u64,
    duration_ns: u64,
    drain_ns: u64,
    timeout_ns: u64,
    source_ips: Vec<String>,
    spin: bool,
}

#[derive(Debug, Serialize)]
struct Target {
    addr: String,
    /// Known if there is one target and all its peers say the same.
    agent: Option<String>,
    protocol: Option<i32>,
    asked: usize,
    opened: usize,
    ready: usize,
    lost: usize,
    failed: usize,
    planned: u64,
    sent: u64,
    unsent: u64,
    unsent_absent: u64,
    answered: u64,
    timed_out: u64,
    /// From the planned moment; none for a target after the first 64.
    ping_rtt_percentiles: Option<Table>,
}

#[derive(Debug, Serialize)]
struct Agent {
    agent: String,
    protocol: i32,
    peers: usize,
}

#[derive(Debug, Serialize)]
struct Counts {
    asked: usize,
    opened: usize,
    ready: usize,
    lost: usize,
    failed: usize,
    planned: u64,
    sent: u64,
    unsent: u64,
    /// Those of the unsent whose peer never was ready, was lost, or left too many unanswered.
    unsent_absent: u64,
    answered: u64,
    timed_out: u64,
    sent_bytes: u64,
    received_bytes: u64,
    errors: Vec<Failed>,
}

#[derive(Debug, Serialize)]
struct Failed {
    cause: &'static str,
    side: &'static str,
    stage: Stage,
    count: u64,
    example: Option<String>,
}

#[derive(Debug, Serialize)]
struct Metric {
    name: &'static str,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<View>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<View>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<View>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<FailedPings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p_with_failures: Option<Table>,
}

#[derive(Debug, Serialize)]
struct View {
    count: u64,
    failed: u64,
    /// The shortest time that one of the failed was waited for.
    shortest_wait_ns: Option<u64>,
    min: Option<u64>,
    mean: Option<u64>,
    max: Option<u64>,
    percentiles: Table,
    percentiles_of_answered: Table,
    hdr: String,
}

#[derive(Debug, Serialize)]
struct FailedPings {
    timeout: u64,
    unsent: u64,
}

/// Percentiles by the text that named them, in the order they were asked for; none is beyond every answer.
#[derive(Debug)]
struct Table(Vec<(String, Option<u64>)>);

#[derive(Debug, Serialize)]
struct Timeline {
    interval_ns: u64,
    columns: [&'static str; 9],
    rows: Vec<[Option<u64>; 9]>,
}

#[derive(Debug, Serialize)]
struct Generator {
    /// The share of the counted part of the run for which the loop's thread worked.
    cpu_working: f64,
    /// The share for which it polled for exact wake-ups instead of sleeping: the CPU is in use, too.
    cpu_spinning: f64,
    verdict: &'static str,
    reasons: Vec<String>,
    /// The side that kept the load from being done as planned: `none`, `node` or `generator`.
    limit: &'static str,
}

/// How a bench ended; `reason` is the first of `reasons`, or says that it finished.
#[derive(Debug, Serialize)]
struct Ended {
    code: u8,
    reason: String,
    reasons: Vec<String>,
}

/// How the program ended.
#[derive(Debug, Serialize)]
pub(crate) struct Exit {
    pub(crate) code: u8,
    pub(crate) reason: String,
}

impl Tool {
    pub(crate) const THIS: Self = Self { name: "peerloop", version: env!("CARGO_PKG_VERSION") };
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(label, nanos)| (label, nanos)))
    }
}

/// The whole report.
pub(crate) fn render(setup: &Setup, outcome: &Outcome) -> String {
    let report = &outcome.report;
    pretty(&Document {
        schema: SCHEMA,
        tool: Tool::THIS,
        run: Run {
            start: show_time(outcome.start),
            duration_ns: nanos(report.run_time),
            scheduled_ns: nanos(report.scheduled_time),
            ramp_ns: report.ramp.time.map(nanos),
            ramp_planned_ns: nanos(report.ramp.planned_time),
            ramp_dial_ns: nanos(report.ramp.dial_time),
            dial_rate_per_s: report.ramp.dial_rate_per_second(setup.connect_rate),
            answered_per_s: report.answered_per_second(),
            partial: report.is_partial() || outcome.course.stops.is_any(),
            seed: setup.seed.to_string(),
            command: std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect(),
        },
        host: host(setup),
        config: settings(setup),
        targets: targets(setup, report),
        agents: agents(report),
        counts: counts(report),
        metrics: metrics(&setup.percentiles, report),
        timeline: timeline(report),
        generator: generator(report),
        exit: Ended {
            code: outcome.exit().code(),
            reason: outcome.reason().to_owned(),
            reasons: outcome.endings().iter().map(|ending| ending.reason.clone()).collect(),
        },
    })
}

/// Formats any object as text that ends with a line break.
///
/// Its integers must be below 2^53: most readers of JSON hold numbers as floats. What may be larger is a text.
pub(crate) fn pretty(object: &impl Serialize) -> String {
    debug_assert!(serde_json::to_value(object).is_ok_and(|value| is_exact(&value)), "an integer is too large");
    serde_json::to_string_pretty(object).expect("numbers, texts and lists can always be written") + "\n"
}

/// Returns whether every reader holds all integers in `value` exactly.
pub(crate) fn is_exact(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => {
            let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            whole.is_none_or(|whole| whole < 1 << f64::MANTISSA_DIGITS)
        }
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
    }
}

/// A duration as the files carry it.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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
        warmup_ns: nanos(setup.warmup),
        duration_ns: nanos(setup.duration),
        drain_ns: nanos(setup.drain),
        timeout_ns: nanos(setup.timeout),
        source_ips: setup.sources.iter().map(ToString::to_string).collect(),
        spin: setup.spin,
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
        asked: target.peers.asked,
        opened: target.peers.opened,
        ready: target.peers.ready,
        lost: target.peers.lost,
        failed: target.peers.failed,
        planned: target.work.planned,
        sent: target.work.sent,
        unsent: target.work.unsent,
        unsent_absent: target.work.absent,
        answered: target.work.answered,
        timed_out: target.work.timed_out,
        ping_rtt_percentiles: Sample::of_target(target).map(|sample| table(&setup.percentiles, &sample)),
    };
    report.targets.iter().map(target).collect()
}

fn agents(report: &Report) -> Vec<Agent> {
    let agents = report.agents.iter();
    agents
        .map(|agent| Agent { agent: agent.user_agent.clone(), protocol: agent.protocol_version, peers: agent.count })
        .collect()
}

fn counts(report: &Report) -> Counts {
    let (peers, work, traffic) = (report.peers, report.work, report.traffic);
    let failed = report.failures.iter().map(|failure| Failed {
        cause: failure.label,
        side: match failure.side {
            Side::Local => "local",
            Side::Remote => "remote",
        },
        stage: Stage::of(failure.state),
        count: failure.count,
        example: failure.example.map(|reason| reason.to_string()),
    });
    Counts {
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
        sent_bytes: traffic.sent_bytes,
        received_bytes: traffic.received_bytes,
        errors: failed.collect(),
    }
}

fn metrics(percentiles: &Percentiles, report: &Report) -> Vec<Metric> {
    let view = |sample: Sample<'_>| Some(view(percentiles, &sample));
    let measured = |name, sample: Sample<'_>| Metric {
        name,
        unit: "ns",
        planned: None,
        sent: None,
        measured: view(sample),
        failed: None,
        p_with_failures: None,
    };
    let ping_rtt = Metric {
        name: "ping_rtt",
        unit: "ns",
        planned: view(Sample::ping_rtt_planned(report)),
        sent: view(Sample::ping_rtt_sent(report)),
        measured: None,
        failed: Some(FailedPings { timeout: report.work.timed_out, unsent: report.work.unsent }),
        p_with_failures: Some(table(percentiles, &Sample::ping_rtt_planned(report))),
    };
    let connect = Metric {
        planned: view(Sample::connect_planned(report)),
        sent: view(Sample::connect_dialled(report)),
        measured: None,
        ..measured("connect", Sample::connect_dialled(report))
    };
    vec![
        connect,
        measured("handshake", Sample::handshake(report)),
        ping_rtt,
        measured("send_lag", Sample::of(&report.send_lag)),
        measured("loop_lag", Sample::of(&report.loop_lag)),
        measured("dial_lag", Sample::of(&report.dial_lag)),
    ]
}

fn view(percentiles: &Percentiles, sample: &Sample<'_>) -> View {
    let histogram = sample.latencies;
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram.as_hdr(), &mut bytes)
        .expect("memory takes a histogram of this size");
    View {
        count: histogram.count(),
        failed: sample.failed,
        shortest_wait_ns: sample.shortest_wait.map(nanos),
        min: histogram.min().map(nanos),
        mean: histogram.mean().map(nanos),
        max: histogram.max().map(nanos),
        percentiles: table(percentiles, sample),
        percentiles_of_answered: table(percentiles, &Sample::of(histogram)),
        hdr: STANDARD.encode(bytes),
    }
}

/// Computes the percentiles of all operations; null is among those that failed, or without data.
fn table(percentiles: &Percentiles, sample: &Sample<'_>) -> Table {
    let value = |percent: f64| sample.percentile(percent).measured().map(nanos);
    Table(percentiles.0.iter().map(|one| (one.label.clone(), value(one.percent))).collect())
}

fn timeline(report: &Report) -> Timeline {
    let row = |row: &Interval| {
        let [p50, p99, max] = [row.p50, row.p99, row.max].map(|latency| latency.map(nanos));
        let [peers, lost] = [row.peers, row.lost].map(|count| Some(count as u64));
        [Some(nanos(row.end)), Some(row.planned), Some(row.sent), Some(row.answered), p50, p99, max, peers, lost]
    };
    Timeline {
        interval_ns: nanos(report.interval),
        columns: ["t", "planned", "sent", "answered", "p50", "p99", "max", "peers", "lost"],
        rows: report.timeline.iter().map(row).collect(),
    }
}

fn generator(report: &Report) -> Generator {
    let (verdict, reasons) = match &report.verdict {
        Verdict::Trusted => ("trusted", Vec::new()),
        Verdict::NotTrusted(doubts) => ("not_trusted", doubts.iter().map(ToString::to_string).collect()),
    };
    Generator { cpu_working: report.busy, cpu_spinning: report.spinning, verdict, reasons, limit: report.limit.name() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::parse_percentiles;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use peerloop::histogram::LatencyHistogram;

    fn one_to(count: u64) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        (1..=count).for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        histogram
    }

    #[test]
    fn a_view_carries_the_whole_histogram() {
        let histogram = one_to(1_000);
        let view = view(&parse_percentiles("50,100").unwrap(), &Sample::of(&histogram));
        assert_eq!((view.count, view.min, view.max), (1_000, Some(1), Some(1_000)));
        let bytes = STANDARD.decode(&view.hdr).unwrap();
        let back: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(&back, histogram.as_hdr());
        assert_eq!(serde_json::to_string(&view.percentiles).unwrap(), r#"{"50":500,"100":1000}"#);
    }

    #[test]
    fn no_reader_may_lose_an_integer() {
        let largest = u64::MAX >> 11;
        assert!(is_exact(
            &serde_json::json!([largest, -(largest as i64), null, { "a": [0.1, "18446744073709551615"] }])
        ));
        for too_large in [serde_json::json!(largest + 1), serde_json::json!({ "a": [u64::MAX] }), i64::MIN.into()] {
            assert!(!is_exact(&too_large), "{too_large}");
        }
    }

    fn values(percentiles: &str, latencies: &LatencyHistogram, failed: u64) -> Vec<Option<u64>> {
        let sample = Sample { failed, ..Sample::of(latencies) };
        let Table(rows) = table(&parse_percentiles(percentiles).unwrap(), &sample);
        rows.into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn failures_count_as_slower_than_everything() {
        assert_eq!(values("25,50,75,90,100", &one_to(100), 100), [Some(50), Some(100), None, None, None]);
        assert_eq!(values("1,50,100", &LatencyHistogram::new(), 5), [None; 3], "nothing was answered");
    }

    #[test]
    fn failures_take_no_whole_sample_too_many() {
        assert_eq!(values("49.9,50,50.1,99.9", &one_to(500), 500), [Some(499), Some(500), None, None]);
        assert_eq!(values("49.9,50,50.1,99.9", &one_to(500), 0), [Some(250), Some(250), Some(251), Some(500)]);
    }

    #[test]
    fn the_percentiles_of_a_view_count_what_failed_and_the_plain_ones_stand_beside() {
        let latencies = one_to(560);
        let shortest_wait = Some(Duration::from_millis(2_010));
        let sample = Sample { latencies: &latencies, failed: 440, shortest_wait };
        let view = view(&parse_percentiles("50,99").unwrap(), &sample);
        assert_eq!((view.count, view.failed, view.shortest_wait_ns), (560, 440, Some(2_010_000_000)));
        assert_eq!(serde_json::to_string(&view.percentiles).unwrap(), r#"{"50":500,"99":null}"#);
        assert_eq!(serde_json::to_string(&view.percentiles_of_answered).unwrap(), r#"{"50":280,"99":555}"#);
    }

    #[test]
    fn where_nothing_was_measured_there_is_no_number() {
        let view = view(&parse_percentiles("50").unwrap(), &Sample::of(&LatencyHistogram::new()));
        assert_eq!((view.count, view.min, view.mean, view.max), (0, None, None, None));
        assert_eq!(serde_json::to_string(&view.percentiles).unwrap(), r#"{"50":null}"#);
    }
}
