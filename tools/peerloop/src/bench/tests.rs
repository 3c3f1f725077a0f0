//! Golden tests: every output of a successful bench and of a failed bench equals its stored file, apart from values
//! that differ between machines or versions.

use super::events::EventsOutcome;
use super::min_peers::MinPeers;
use super::recorder::Recorded;
use super::setup::{Outputs, Setup};
use super::shape::Shape;
use super::terms::ArrivalKind;
use super::workload::WorkloadKind;
use super::{build, ending, find, preamble};
use crate::exit::{Stop, Stops};
use crate::forms::{Form, csv, hgrm, hlog, text};
use crate::host::Host;
use crate::machine::Machine;
use crate::model::search::{Answer, Bound, End, Purpose, Trial, What};
use crate::model::{self, Document, Events, Packed, Search, Series};
use crate::output::json::{Nanos, pretty};
use crate::targets::Target;
use crate::units::parse_percentiles;
use peerloop::Network;
use peerloop::error::{CloseReason, IoStep, NetworkFailure, Side};
use peerloop::histogram::LatencyHistogram;
use peerloop::load::{
    self, Agent, Doubt, EndCause, Generator, Interval, Limit, Pace, PeerCounts, Phase, Rate, RateChange, Report,
    Segment, Stage, Verdict, WorkCounts,
};
use peerloop::peer::ConnectionState;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, SystemTime};

fn setup(targets: &[&str]) -> Setup {
    let addresses = |name: &str| vec![name.parse::<SocketAddr>().unwrap()];
    let nodes = targets.iter().map(|&name| Target { name: name.to_owned(), addresses: addresses(name) });
    let built_in = ["127.0.0.1:40000"];
    let targets = if targets.is_empty() { &built_in } else { targets };
    Setup {
        nodes: nodes.collect(),
        targets: targets.iter().map(|address| address.parse().unwrap()).collect(),
        failed_ahead: None,
        sources: vec!["10.0.0.7".parse().unwrap()],
        network: Network::Regtest,
        connections: 20,
        min_peers: MinPeers::Share(1_000_000),
        shape: Shape {
            stages: vec![Stage::constant(Rate::per_second(200), Duration::from_millis(2_500))],
            pace: Pace::Scheduled,
            arrival: ArrivalKind::Even,
            max_operations: None,
            connect_rate: Rate::per_second(1_000),
            segment: Segment::WHOLE,
            start_at: None,
        },
        workload: WorkloadKind::Ping,
        workload_maker: WorkloadKind::Ping.prepare().unwrap(),
        warmup: Duration::from_secs(2),
        drain: Duration::from_secs(2),
        timeout: Duration::from_secs(10),
        percentiles: parse_percentiles("50,99.90,100").unwrap(),
        seed: u64::MAX,
        spin: true,
        multistreams: false,
        strict: true,
        quiet: false,
        tui: false,
        machine: Machine {
            descriptors: 1_048_576,
            ports: Some((32_768, 60_999)),
            backlog: Some(4_096),
            cpus: 2,
            load_hundredths: Some(1_205),
        },
        host: Host {
            name: Some("tester".to_owned()),
            kernel: Some("Linux 6.1.0".to_owned()),
            cpu_model: Some("Example CPU @ 2.80GHz".to_owned()),
        },
        id: "00c0ffee".to_owned(),
        name: "nightly".to_owned(),
        labels: vec![("version".to_owned(), "1.2".to_owned()), ("branch".to_owned(), "main".to_owned())],
        thresholds: Vec::new(),
        find: None,
        abort_after: None,
        dry_run: false,
        outputs: Outputs::default(),
    }
}

fn latencies(micros: impl IntoIterator<Item = u64>) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::new();
    micros.into_iter().for_each(|micros| histogram.record(Duration::from_micros(micros)));
    histogram
}

fn peer_counts([asked, opened, ready, lost, failed]: [usize; 5]) -> PeerCounts {
    let mut counts = PeerCounts::default();
    (counts.asked, counts.opened, counts.ready) = (asked, opened, ready);
    (counts.lost, counts.failed) = (lost, failed);
    counts
}

fn work_counts([planned, sent, unsent, absent, answered, timed_out]: [u64; 6]) -> WorkCounts {
    let mut counts = WorkCounts::default();
    (counts.planned, counts.sent, counts.unsent, counts.absent) = (planned, sent, unsent, absent);
    (counts.answered, counts.timed_out) = (answered, timed_out);
    counts
}

fn agent(user_agent: &str, count: usize) -> Agent {
    let mut agent = Agent::new(user_agent.to_owned(), 70_016);
    agent.count = count;
    agent
}

/// Returns an interval of a second, with these counts: planned and sent, answered, and ready peers.
fn interval(end_ms: u64, [planned, answered, peers]: [u64; 3]) -> Interval {
    let mut interval = Interval::default();
    interval.end = Duration::from_millis(end_ms);
    (interval.planned, interval.sent, interval.answered) = (planned, planned, answered);
    interval.failed = planned - answered.min(planned);
    interval.peers = peers as usize;
    interval
}

/// Returns the recording of a run whose intervals have the latencies of these ranges, in microseconds.
fn recorded(ranges: &[Range<u64>]) -> Recorded {
    let packed = |range: &Range<u64>| Packed::new(latencies(range.clone()).as_hdr());
    let intervals = ranges.iter().map(|range| (!range.is_empty()).then(|| packed(range))).collect();
    let series = Series { metric: "ping_rtt".to_owned(), view: "planned".to_owned(), intervals };
    let begin = SystemTime::UNIX_EPOCH + Duration::from_millis(3_500);
    Recorded { begin: Some(begin), series: vec![series], ..Recorded::default() }
}

/// Builds the document, without the values that differ between machines or between versions of the program.
fn document(setup: &Setup, stops: Stops, recorded: Recorded, report: Report) -> Document {
    let endings = ending::all(setup, stops, &report, &recorded);
    let mut document = build::document(setup, SystemTime::UNIX_EPOCH, stops, recorded, report);
    super::judge(setup, &mut document, endings).expect("the thresholds can be judged");
    document.tool.version = "VERSION".to_owned();
    document.tool.git = Some("COMMIT".to_owned());
    document.host.os = "OS".to_owned();
    document.run.command.clear();
    document
}

/// Returns a run against the built-in node, in which all connections and pings succeeded.
fn measured() -> (Setup, Document) {
    let setup = setup(&[]);
    let mut report = Generator::new(setup.plan()).into_report_of_no_run(EndCause::Asked);
    report.early_end = None;
    report.scheduled_time = setup.shape.duration();
    report.run_time = Duration::from_millis(2_501);
    report.peers = peer_counts([20, 20, 20, 0, 0]);
    report.work = work_counts([500, 500, 0, 0, 500, 0]);
    report.operations[0].work = report.work;
    report.ramp.dialled = 20;
    report.ramp.planned_time = Duration::from_millis(19);
    report.ramp.dial_time = Duration::from_millis(38);
    report.ramp.time = Some(Duration::from_millis(140));
    (report.traffic.sent_bytes, report.traffic.received_bytes) = (16_000, 16_384);
    report.connect_planned = latencies(100..120);
    report.connect_dialled = latencies(90..110);
    report.handshake = latencies(200..220);
    report.operations[0].planned = latencies(50..550);
    report.operations[0].sent = latencies(40..540);
    report.send_lag = latencies(1..501);
    report.loop_lag = latencies(1..50);
    report.agents = vec![agent("/peerloop:0.1.0/", 20)];
    (report.busy, report.spinning) = (0.125, 0.875);
    report.verdict = Verdict::Trusted;
    report.limit = Limit::None;
    report.stages[0].operations = report.operations.clone();
    report.targets[0].peers = report.peers;
    report.targets[0].work = report.work;
    report.targets[0].planned = Some(report.operations[0].planned.clone());
    report.interval = Duration::from_secs(1);
    report.timeline =
        vec![interval(1_000, [200, 150, 20]), interval(2_000, [200, 200, 20]), interval(2_500, [100, 150, 20])];
    let mut recorded = recorded(&[50..200, 200..400, 400..550]);
    recorded.events = Some(EventsOutcome { counts: Events { written: 500, lost: 0 }, failure: None });
    let document = document(&setup, Stops::default(), recorded, report);
    (setup, document)
}

/// Returns a run against two nodes that ended early because all ready peers, those of one node, were lost. The other
/// connections failed, SIGINT was received, and the results cannot be trusted.
fn failed() -> (Setup, Document) {
    let setup = setup(&["192.0.2.1:18444", "[2001:db8::2]:18444"]);
    let mut report = Generator::new(setup.plan()).into_report_of_no_run(EndCause::AllLost);
    report.peers = peer_counts([20, 12, 10, 10, 10]);
    report.work = work_counts([500, 60, 440, 430, 50, 10]);
    report.operations[0].work = report.work;
    report.operations[0].planned = latencies(1_000..1_050);
    report.operations[0].sent = latencies(900..950);
    report.send_lag = latencies([1_500]);
    report.operations[0].unanswered_waits.planned = Some(Duration::from_millis(2_010));
    report.targets[1].peers = peer_counts([10, 10, 10, 10, 0]);
    report.targets[1].work = work_counts([250, 60, 190, 180, 50, 10]);
    report.targets[1].planned = Some(latencies(1_000..1_050));
    report.agents = vec![agent("/Bitcoin SV:1.0.13/", 7), agent("", 3)];
    let refused = NetworkFailure::new(IoStep::Connect, &ErrorKind::ConnectionRefused.into());
    let failure = |label, side, state, count, example| {
        let mut failure = load::Failure::new(label, side, state, example);
        failure.count = count;
        failure
    };
    report.failures = vec![
        failure("closed", Side::Remote, ConnectionState::Connected, 10, Some(CloseReason::ClosedByPeer)),
        failure("refused", Side::Remote, ConnectionState::Connecting, 8, Some(CloseReason::Network(refused))),
        failure("table_full", Side::Local, ConnectionState::Disconnected, 2, None),
    ];
    (report.busy, report.spinning) = (0.25, 0.5);
    let lag = Duration::from_micros(1_500);
    report.verdict = Verdict::NotTrusted(vec![Doubt::SendLag { p99: lag }, Doubt::Unsent { count: 440, absent: 430 }]);
    report.limit = Limit::Node;
    let mut stops = Stops::default();
    stops.note(Stop::Interrupted);
    report.stages[0].operations = report.operations.clone();
    report.interval = Duration::from_secs(1);
    report.timeline = vec![interval(1_000, [200, 50, 0]), interval(2_000, [200, 0, 0]), interval(2_500, [100, 0, 0])];
    let failure = Some("writing the events to events.csv: No space left on device; 7 of 500 are missing".to_owned());
    let mut recorded = recorded(&[1_000..1_050, 0..0]);
    recorded.events = Some(EventsOutcome { counts: Events { written: 493, lost: 7 }, failure });
    let document = document(&setup, stops, recorded, report);
    (setup, document)
}

/// Returns the second of three segments of a run in stages, whose rate was changed, that began late.
fn staged() -> (Setup, Document) {
    let mut setup = setup(&["192.0.2.1:18444"]);
    let [low, high] = [300, 900].map(Rate::per_second);
    let second = Duration::from_secs(1);
    setup.shape = Shape {
        stages: vec![Stage::constant(low, second), Stage::ramp(low, high, 2 * second)],
        arrival: ArrivalKind::Burst(3),
        max_operations: Some(1_200),
        segment: Segment::new(1, 3).expect("there are three segments"),
        start_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(3_490)),
        ..setup.shape
    };
    let mut report = Generator::new(setup.plan()).into_report_of_no_run(EndCause::Asked);
    report.early_end = None;
    (report.scheduled_time, report.run_time) = (Duration::from_millis(2_700), Duration::from_millis(2_701));
    report.peers = peer_counts([7, 7, 7, 0, 0]);
    let work = [100, 320].map(|count| work_counts([count, count, 0, 0, count, 0]));
    report.work = work_counts([420, 420, 0, 0, 420, 0]);
    for (stage, (work, micros)) in report.stages.iter_mut().zip(work.into_iter().zip([50..150, 100..420])) {
        stage.operations[0].work = work;
        stage.operations[0].planned = latencies(micros.clone());
        stage.operations[0].sent = latencies(micros);
    }
    report.operations[0].work = report.work;
    report.operations[0].planned = latencies((50..150).chain(100..420));
    report.operations[0].sent = latencies((50..150).chain(100..420));
    report.send_lag = latencies(1..421);
    report.ramp.time = Some(Duration::from_millis(140));
    report.agents = vec![agent("/peerloop:0.1.0/", 7)];
    report.verdict = Verdict::Trusted;
    report.targets[0].peers = report.peers;
    report.targets[0].work = report.work;
    report.targets[0].planned = Some(report.operations[0].planned.clone());
    let [before, after] = [450, 495].map(Rate::per_second);
    report.rate_changes = vec![RateChange::new(Phase::Run, Duration::from_millis(1_500), before, after)];
    report.interval = Duration::from_secs(1);
    report.timeline = vec![interval(1_000, [100, 100, 7]), interval(2_701, [320, 320, 7])];
    let document = document(&setup, Stops::default(), recorded(&[50..150, 100..420]), report);
    (setup, document)
}

/// Returns a search whose target drops operations above 20,000 per second.
fn searched() -> (Setup, Document) {
    let (mut setup, mut document) = measured();
    let mut find = find::Find::example("ping_rtt:p99<50ms");
    find.settings = find.settings.with_time(Duration::from_secs(120));
    setup.find = Some(find);
    let second = Duration::from_secs(1);
    let trial = |load: u64, purpose, begin: u32, seconds: u32, verdict, p99_us: Option<u64>| Trial {
        load,
        purpose,
        begin_ns: Nanos(begin * second),
        duration_ns: Nanos(seconds * second),
        planned: load * u64::from(seconds),
        answered: load.min(20_000) * u64::from(seconds),
        failed: load.saturating_sub(20_000) * u64::from(seconds) / 2,
        missing_peers: 0,
        p50_ns: Some(150_000),
        p99_ns: p99_us.map(|micros| micros * 1_000),
        verdict,
        reason: "only 62.50 % of the planned operations were completed".to_owned(),
        distrust: (load == 16_000).then(|| "its loop woke up to 2.10 ms late".to_owned()),
    };
    let mut search = Search {
        goal: "ping_rtt:p99<50ms".to_owned(),
        what: What::Rate,
        low: 1_000,
        high: 100_000,
        width: 0.02,
        time_ns: Nanos(120 * second),
        answer: Answer::Number,
        limit: Some(Bound::Node),
        load: Some(20_000),
        above: Some(20_400),
        reason: "20000/s is the most that meets ping_rtt:p99<50ms; at 20400/s, 3.10 % miss the limit".to_owned(),
        end: End::Time,
        confirmations: 2,
        confirmations_required: 3,
        spent_ns: Nanos(119 * second),
        knee: None,
        trials: vec![
            trial(8_000, Purpose::Climb, 1, 2, model::search::Verdict::Pass, Some(310)),
            trial(16_000, Purpose::Climb, 4, 2, model::search::Verdict::Pass, Some(350)),
            trial(32_000, Purpose::Climb, 7, 2, model::search::Verdict::Fail, None),
            trial(20_400, Purpose::Bisect, 14, 10, model::search::Verdict::RatherFail, Some(58_000)),
            trial(20_000, Purpose::Confirm, 30, 10, model::search::Verdict::RatherPass, Some(4_100)),
        ],
    };
    search.knee = search.find_knee();
    document.search = Some(search);
    (setup, document)
}

/// Compares each output of a bench with its golden file. If `PEERLOOP_BLESS` is set, writes the golden files instead.
#[track_caller]
fn assert_golden(name: &str, (setup, document): &(Setup, Document)) {
    let written = |form: Form| {
        let mut bytes = Vec::new();
        form(document, &mut bytes).expect("memory can be written");
        String::from_utf8(bytes).expect("every form is UTF-8")
    };
    for (form, text) in [
        ("preamble.txt", preamble::render(setup)),
        ("heading.txt", text::heading(document)),
        ("summary.txt", text::summary(document, Some(&[]))),
        ("verdict.txt", text::verdict(document) + "\n"),
        ("json", pretty(document)),
        ("hgrm", written(hgrm::write)),
        ("hlog", written(hlog::write)),
        ("timeline.csv", written(csv::timeline)),
        ("summary.csv", written(csv::summary)),
    ] {
        let path = format!("{}/src/bench/golden/{name}.{form}", env!("CARGO_MANIFEST_DIR"));
        match std::env::var_os("PEERLOOP_BLESS") {
            Some(_) => std::fs::write(path, text).unwrap(),
            None => assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{path}"),
        }
    }
    let read = model::parse(&pretty(document)).expect("the document is consistent");
    assert_eq!(pretty(&read), pretty(document), "reading and writing a document changes it");
}

#[test]
fn a_measured_bench_matches_its_golden_files() {
    assert_golden("measured", &measured());
}

#[test]
fn a_failed_bench_matches_its_golden_files() {
    assert_golden("failed", &failed());
}

#[test]
fn a_search_matches_its_golden_files() {
    assert_golden("searched", &searched());
}

#[test]
fn a_staged_bench_matches_its_golden_files() {
    assert_golden("staged", &staged());
}
