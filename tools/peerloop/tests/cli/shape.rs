//! `bench`: the shape of its load. Counts and planned moments are exact, so nothing here depends on time.

use crate::{ResultFile, Running, peerloop};
use serde_json::Value;

const SHORT: [&str; 8] = ["bench", "-c", "10", "--warmup", "0s", "--connect-rate", "1k", "-q"];

/// Runs a bench that succeeds, and returns its text and its document.
#[track_caller]
fn run(name: &str, more: &[&str]) -> (String, Value) {
    let file = ResultFile::new(name);
    let run = peerloop(&[&SHORT, more, &["--json", file.path()]].concat());
    assert_eq!(run.code, Some(0), "{more:?}: {}", run.stderr);
    (run.stdout, file.json())
}

fn number(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer}: {json}"))
}

/// Lists the index, the connection and the planned moment of each operation, sorted.
fn planned(name: &str, more: &[&str]) -> Vec<(u64, u64, u64)> {
    let file = ResultFile::new(name);
    let run = peerloop(&[&SHORT, more, &["--events", file.path()]].concat());
    assert_eq!(run.code, Some(0), "{more:?}: {}", run.stderr);
    let mut lines: Vec<_> = file.read().lines().skip(1).map(key).collect();
    lines.sort_unstable();
    lines
}

fn key(line: &str) -> (u64, u64, u64) {
    let columns: Vec<&str> = line.split(',').collect();
    let [index, _, connection, _, planned, ..] = columns[..] else { panic!("{line}") };
    let [index, connection, planned] = [index, connection, planned].map(|text| text.parse().expect("a number"));
    (index, connection, planned)
}

/// Counts the pings of a dry run.
#[track_caller]
fn dry(more: &[&str]) -> String {
    let run = peerloop(&[&SHORT, more, &["--dry-run"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run.stdout
}

#[test]
fn each_stage_has_its_planned_operations_and_a_row() {
    let stages = ["--stage", "100@500ms", "--stage", "100..300@500ms", "--stage", "0@100ms", "--stage", "40@500ms"];
    let (text, json) = run("stages.json", &stages);
    let work = |stage: usize, what: &str| number(&json, &format!("/stages/{stage}/metrics/0/work/{what}"));
    assert_eq!([0, 1, 2, 3].map(|stage| work(stage, "planned")), [50, 100, 0, 20]);
    assert_eq!([0, 1, 2, 3].map(|stage| work(stage, "answered")), [50, 100, 0, 20]);
    assert_eq!((number(&json, "/counts/planned"), number(&json, "/run/scheduled_ns")), (170, 1_600_000_000));
    assert_eq!(json["config"]["stages"][1]["from_per_s"], 100.0);
    assert_eq!(json["config"]["stages"][1]["to_per_s"], 300.0);
    assert_eq!(number(&json, "/config/duration_ns"), 1_600_000_000);
    for part in ["pings in stages", "2: 100/s to 300/s for 0.5 s", "Stage      1 100/s for 0.5 s   50 planned"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(dry(&stages).contains("dry run 170 pings would be sent and counted; nothing"));
}

#[test]
fn bursts_and_random_arrivals_have_the_planned_moments() {
    let bursts = planned("bursts.csv", &["-r", "200", "-d", "500ms", "--arrival", "burst:20"]);
    let expected = (0..100).map(|index| (index, index % 10, index / 20 * 100_000_000));
    assert_eq!(bursts, expected.collect::<Vec<_>>());
    let random = ["-r", "200", "-d", "500ms", "--arrival", "poisson"];
    let once = planned("poisson-1.csv", &[&random[..], &["--seed", "5"]].concat());
    assert_eq!(once, planned("poisson-2.csv", &[&random[..], &["--seed", "5"]].concat()));
    assert_ne!(once, planned("poisson-3.csv", &[&random[..], &["--seed", "6"]].concat()));
    assert!(once.windows(2).all(|pair| pair[0].2 <= pair[1].2));
}

#[test]
fn a_count_ends_the_run_and_is_exact() {
    for (name, more) in [
        ("count-even.json", &["-r", "300"][..]),
        ("count-poisson.json", &["-r", "300", "--arrival", "poisson"]),
        ("count-burst.json", &["-r", "300", "--arrival", "burst:50"]),
        ("count-max.json", &["-r", "max", "-d", "1m"]),
        ("count-stages.json", &["--stage", "100@500ms", "--stage", "300@1m"]),
    ] {
        let (_, json) = run(name, &[more, &["-n", "123"]].concat());
        assert_eq!((number(&json, "/counts/planned"), number(&json, "/counts/answered")), (123, 123), "{name}");
        assert_eq!((number(&json, "/config/max_operations"), &json["run"]["partial"]), (123, &Value::Bool(false)));
    }
    assert!(dry(&["-r", "300", "-n", "123"]).contains("at most 123 pings"));
}

#[test]
fn three_segments_plan_exactly_the_operations_of_one_run() {
    for (kind, name) in [("even", "even"), ("burst:7", "burst"), ("poisson", "poisson")] {
        let (_node, address) = Running::serve(&[]);
        let load = [address.as_str(), "--network", "regtest", "--stage", "100@300ms", "--stage", "100..500@300ms"];
        let load = [&load[..], &["-n", "100", "--arrival", kind, "--seed", "9"]].concat();
        let whole = planned(&format!("whole-{name}.csv"), &load);
        assert_eq!(whole.len(), 100);
        let segment = |index: usize| {
            let (file, part) = (format!("segment-{name}-{index}.csv"), format!("{index}/3"));
            planned(&file, &[&load[..], &["--segment", &part]].concat())
        };
        let segments = [1, 2, 3].map(segment);
        for (index, segment) in segments.iter().enumerate() {
            assert!(segment.iter().all(|(_, connection, _)| connection % 3 == index as u64), "{segment:?}");
        }
        let mut joined = segments.concat();
        joined.sort_unstable();
        assert_eq!(joined, whole, "{kind}");
    }
}

#[test]
fn a_segment_opens_its_own_peers_and_names_itself() {
    let (text, json) = run("segment.json", &["-r", "100", "-d", "500ms", "--segment", "3/3"]);
    assert_eq!((number(&json, "/counts/asked"), number(&json, "/counts/ready")), (3, 3));
    assert_eq!((&json["run"]["segment"], number(&json, "/config/connections")), (&serde_json::json!([3, 3]), 10));
    assert_eq!(number(&json, "/counts/planned"), 15);
    for part in ["segment 3 of 3", "30/s of 30/s requested"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn at_the_highest_rate_each_peer_has_one_ping_outstanding() {
    let (text, json) = run("max.json", &["-r", "max", "-d", "300ms"]);
    assert!(number(&json, "/counts/answered") >= 10, "{text}");
    assert_eq!(json["config"]["pace"], "max");
    assert!(json["config"]["rate_per_s"].is_null() && json["config"]["stages"][0]["from_per_s"].is_null());
    assert!(text.contains("pings as fast as each peer replies"), "{text}");
    assert!(!text.split("Work ").nth(1).unwrap_or_default().contains("requested"), "{text}");
    assert!(dry(&["-r", "max"]).contains("dry run pings would be sent and counted as fast as the peers reply"));
}

#[test]
fn a_rate_per_peer_counts_living_peers_only() {
    let (_node, address) = Running::serve(&["--max-peers", "4"]);
    let target = [address.as_str(), "--network", "regtest", "--min-peers", "0"];
    let rate = [&target[..], &["-d", "3s", "--rate-per-peer", "20"]].concat();
    let (text, json) = run("living.json", &rate);
    // A full node closes the other peers soon after their handshake. Each of the four that stay has 60 pings.
    let planned = number(&json, "/counts/planned");
    assert!((240..600).contains(&planned), "{text}");
    assert_eq!((number(&json, "/counts/unsent_absent"), &json["config"]["pace"]), (0, &Value::from("per_living_peer")));
    assert!(text.contains("200/s pings, 20/s per living peer"), "{text}");
    let (_, json) = run("dead.json", &[&target[..], &["-d", "3s", "-r", "200"]].concat());
    assert_eq!(number(&json, "/counts/planned"), 600);
    assert!((1..=360).contains(&number(&json, "/counts/unsent_absent")), "{json}");
    assert!(dry(&rate).contains("dry run 600 pings would be sent and counted if all peers stay;"));
}

#[test]
fn a_ramp_up_opens_the_connections_evenly() {
    let file = ResultFile::new("ramp-up.json");
    let flags = ["bench", "-c", "10", "--warmup", "0s", "-q", "-d", "100ms", "--ramp-up", "500ms"];
    let run = peerloop(&[&flags[..], &["--json", file.path()]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(number(&file.json(), "/run/ramp_planned_ns"), 450_000_000);
    assert!(run.stdout.contains("plan    10 peers at 20/s"), "{}", run.stdout);
}

#[test]
fn signals_change_the_rate_and_the_changes_stand_in_the_results() {
    let file = ResultFile::new("signals.json");
    let flags = ["bench", "-c", "5", "-r", "1k", "-d", "1h", "--warmup", "0s", "--json", file.path()];
    let mut run = Running::start(&flags);
    run.wait_for("run ");
    run.signal("USR1");
    run.wait_for_part(" of 1100/s");
    run.signal("USR1");
    run.wait_for_part(" of 1210/s");
    run.signal("USR2");
    run.wait_for_part(" of 1089/s");
    run.signal("INT");
    let run = run.finish();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    let json = file.json();
    let changes = json["run"]["rate_changes"].as_array().expect("the changes are listed");
    let rates = changes.iter().map(|change| (change["from_per_s"].as_f64(), change["to_per_s"].as_f64()));
    let expected = [(1_000.0, 1_100.0), (1_100.0, 1_210.0), (1_210.0, 1_089.0)];
    assert_eq!(rates.collect::<Vec<_>>(), expected.map(|(from, to)| (Some(from), Some(to))));
    assert!(changes.iter().all(|change| change["phase"] == "run"), "{changes:?}");
    assert_eq!(json["config"]["rate_per_s"], 1_000.0);
    assert!(run.stdout.contains("Changes    1000/s to 1100/s at "), "{}", run.stdout);
}

#[test]
fn at_the_highest_rate_a_signal_changes_nothing() {
    let mut run = Running::start(&["bench", "-c", "5", "-r", "max", "-d", "1h", "--warmup", "0s"]);
    run.wait_for("run ");
    run.signal("USR1");
    run.wait_for("the rate is not changed");
    run.signal("INT");
    assert_eq!(run.finish().code, Some(130));
}

#[test]
fn a_run_begins_at_the_requested_moment_and_not_before() {
    let (text, json) = run("start.json", &["-r", "100", "-d", "100ms", "--start-at", "+2s"]);
    let time = |key: &str| json["run"][key].as_str().expect("a time").to_owned();
    // Both times are RFC 3339 in UTC with milliseconds, which sort as texts.
    assert!(time("load_start") >= time("start_at") && time("start_at") > time("start"), "{json}");
    assert!(json["run"]["start_late_ns"].is_u64());
    assert!(text.contains(&format!("Start      {}", time("start_at"))), "{text}");
    let without = peerloop(&[&SHORT[..], &["-r", "100", "-d", "100ms", "--start-at", "+2s"]].concat());
    assert!(!without.stdout.contains(" was requested"), "{}", without.stdout);
}

#[test]
fn impossible_shapes_are_refused_before_anything_starts() {
    for (flags, part) in [
        (&["--start-at", "2020-01-01T00:00:00Z"][..], "--start-at 2020-01-01T00:00:00.000Z has passed: it is "),
        (&["--start-at", "+1s", "--warmup", "5s"], "choose a later time, or shorten --ramp-up or --warmup"),
        (&["--segment", "1/2", "--arrival", "poisson"], "needs --seed N, with the same number for all segments"),
        (&["--segment", "12/12"], "use at most as many segments as peers"),
        (&["--stage", "1k@5s", "-d", "5s"], "--stage cannot be used with -d"),
        (&["--stage", "max@5s"], "-r max -d TIME is a run of its own"),
        (&["--segment", "1/3", "--min-peers", "5"], "--min-peers 5 is more than the 4 planned peers"),
    ] {
        let run = peerloop(&[&["bench", "-c", "10", "--dry-run"], flags].concat());
        assert_eq!(run.code, Some(2), "{flags:?}: {}", run.stderr);
        assert!(run.complaint().contains(part), "{flags:?}: {}", run.complaint());
    }
}
