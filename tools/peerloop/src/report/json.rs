//! The report for programs: one JSON object, all times in nanoseconds.
//!
//! Each metric carries its whole histogram (HdrHistogram V2, deflated, base64), so that several files can be merged
//! exactly. What failed is counted apart from the latencies; `p_with_failures` takes it as infinitely slow.

use super::{Outcome, stage};
use crate::bench::{Setup, TIMELINE_INTERVAL};
use crate::units::{Percentiles, show_time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use peerloop::error::Side;
use peerloop::histogram::{LatencyHistogram, percentile_rank};
use peerloop::load::{Report, TargetReport, Verdict};
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
    /// Those of the unsent whose peer never was ready or was lost.
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
    stage: &'static str,
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
    min: Option<u64>,
    mean: Option<u64>,
    max: Option<u64>,
    percentiles: Table,
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
    columns: [&'static str; 6],
    rows: Vec<[Option<u64>; 6]>,
}

#[derive(Debug, Serialize)]
struct Generator {
    /// The share of the counted part of the run for which the loop's thread worked.
    cpu: f64,
    verdict: &'static str,
    reasons: Vec<String>,
    /// What kept the load from being done as planned: `none`, `node` or `generator`.
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
        timeline: timeline(outcome),
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
        ping_rtt_percentiles: target
            .ping_rtt_planned
            .as_ref()
            .map(|histogram| with_failures(&setup.percentiles, histogram, 0)),
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
        stage: stage(failure.state),
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
    let view = |histogram: &LatencyHistogram| Some(view(percentiles, histogram));
    let measured = |name, histogram| Metric {
        name,
        unit: "ns",
        planned: None,
        sent: None,
        measured: view(histogram),
        failed: None,
        p_with_failures: None,
    };
    let ping_rtt = Metric {
        name: "ping_rtt",
        unit: "ns",
        planned: view(&report.ping_rtt_planned),
        sent: view(&report.ping_rtt_sent),
        measured: None,
        failed: Some(FailedPings { timeout: report.work.timed_out, unsent: report.work.unsent }),
        p_with_failures: Some(with_failures(
            percentiles,
            &report.ping_rtt_planned,
            report.work.timed_out + report.work.unsent,
        )),
    };
    let connect = Metric {
        planned: view(&report.connect_planned),
        sent: view(&report.connect_dialled),
        measured: None,
        ..measured("connect", &report.connect_dialled)
    };
    vec![
        connect,
        measured("handshake", &report.handshake),
        ping_rtt,
        measured("send_lag", &report.send_lag),
        measured("loop_lag", &report.loop_lag),
        measured("dial_lag", &report.dial_lag),
    ]
}

fn view(percentiles: &Percentiles, histogram: &LatencyHistogram) -> View {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram.as_hdr(), &mut bytes)
        .expect("memory takes a histogram of this size");
    View {
        count: histogram.count(),
        min: histogram.min().map(nanos),
        mean: histogram.mean().map(nanos),
        max: histogram.max().map(nanos),
        percentiles: with_failures(percentiles, histogram, 0),
        hdr: STANDARD.encode(bytes),
    }
}

/// Computes the percentiles of all operations; the `failures` among them took longer than every other.
fn with_failures(percentiles: &Percentiles, histogram: &LatencyHistogram, failures: u64) -> Table {
    let all = histogram.count() + failures;
    let value = |percent: f64| histogram.at_rank(percentile_rank(percent, all)).map(nanos);
    Table(percentiles.0.iter().map(|one| (one.label.clone(), value(one.percent))).collect())
}

fn timeline(outcome: &Outcome) -> Timeline {
    let rows = outcome.course.timeline.iter();
    Timeline {
        interval_ns: nanos(TIMELINE_INTERVAL),
        columns: ["t", "sent", "answered", "p50", "p99", "max"],
        rows: rows
            .map(|row| {
                let [p50, p99, max] = [row.p50, row.p99, row.max].map(|latency| latency.map(nanos));
                [Some(nanos(row.end)), Some(row.sent), Some(row.answered), p50, p99, max]
            })
            .collect(),
    }
}

fn generator(report: &Report) -> Generator {
    let (verdict, reasons) = match &report.verdict {
        Verdict::Trusted => ("trusted", Vec::new()),
        Verdict::NotTrusted(doubts) => ("not_trusted", doubts.iter().map(ToString::to_string).collect()),
    };
    Generator { cpu: report.busy, verdict, reasons, limit: report.limit.name() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::parse_percentiles;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;

    fn one_to(count: u64) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        (1..=count).for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        histogram
    }

    #[test]
    fn a_view_carries_the_whole_histogram() {
        let histogram = one_to(1_000);
        let view = view(&parse_percentiles("50,100").unwrap(), &histogram);
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

    #[test]
    fn failures_count_as_slower_than_everything() {
        let percentiles = parse_percentiles("25,50,75,90,100").unwrap();
        let Table(rows) = with_failures(&percentiles, &one_to(100), 100);
        let values: Vec<Option<u64>> = rows.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [Some(50), Some(100), None, None, None]);
        let Table(rows) = with_failures(&percentiles, &LatencyHistogram::new(), 5);
        assert!(rows.iter().all(|(_, value)| value.is_none()), "nothing was answered");
    }

    #[test]
    fn failures_take_no_whole_sample_too_many() {
        let percentiles = parse_percentiles("49.9,50,50.1,99.9").unwrap();
        let values =
            |failures| with_failures(&percentiles, &one_to(500), failures).0.into_iter().map(|(_, value)| value);
        assert_eq!(values(500).collect::<Vec<_>>(), [Some(499), Some(500), None, None]);
        assert_eq!(values(0).collect::<Vec<_>>(), [Some(250), Some(250), Some(251), Some(500)]);
    }

    #[test]
    fn where_nothing_was_measured_there_is_no_number() {
        let view = view(&parse_percentiles("50").unwrap(), &LatencyHistogram::new());
        assert_eq!((view.count, view.min, view.mean, view.max), (0, None, None, None));
        assert_eq!(serde_json::to_string(&view.percentiles).unwrap(), r#"{"50":null}"#);
        let Table(rows) = with_failures(&parse_percentiles("50").unwrap(), &LatencyHistogram::new(), 0);
        assert_eq!(rows, [("50".to_owned(), None)]);
    }
}
