//! The result files of `bench`: they agree with each other, with the operations, and with the output of `report`.

use crate::{Finished, ResultFile, Running, folder, peerloop};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

const SHORT: [&str; 10] = ["bench", "-c", "5", "-r", "200", "-d", "1500ms", "--warmup", "0s", "-q"];

fn short(more: &[&str]) -> Finished {
    peerloop(&[&SHORT, more].concat())
}

fn number(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer}: {json}"))
}

fn opened(base64: &str) -> Histogram<u64> {
    let bytes = STANDARD.decode(base64).expect("the histogram is base64");
    Deserializer::new().deserialize(&mut &bytes[..]).expect("the histogram is intact")
}

/// Adds up the histograms of an interval log by their tags.
fn sums(log: &str) -> BTreeMap<String, Histogram<u64>> {
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for line in log.lines().filter_map(|line| line.strip_prefix("Tag=")) {
        let columns: Vec<&str> = line.split(',').collect();
        let [tag, _, _, _, histogram] = columns[..] else { panic!("not five columns: {line}") };
        let histogram = opened(histogram);
        match sums.get_mut(tag) {
            Some(sum) => sum.add(&histogram).expect("the bounds are equal"),
            None => drop(sums.insert(tag.to_owned(), histogram)),
        }
    }
    sums
}

/// Asserts that the intervals of the document add up to its totals, and returns their number.
fn assert_intervals_add_up(json: &Value) -> usize {
    let list = |value: &Value| value.as_array().expect("the value is a list").clone();
    let text = |value: &Value| value.as_str().expect("the value is a string").to_owned();
    let rows = list(&json["timeline"]["rows"]);
    let sum = |column: usize| rows.iter().map(|row| row[column].as_u64().expect("the value is a count")).sum::<u64>();
    let counts = ["planned", "sent", "answered"].map(|name| number(json, &format!("/counts/{name}")));
    assert_eq!([sum(1), sum(2), sum(3)], counts);
    assert_eq!(sum(4), number(json, "/counts/timed_out") + number(json, "/counts/unsent"));
    let series = list(&json["timeline"]["histograms"]);
    assert_eq!(series.len(), 4, "{series:?}");
    for one in series {
        let (metric, view, intervals) = (text(&one["metric"]), text(&one["view"]), list(&one["intervals"]));
        assert_eq!(intervals.len(), rows.len());
        let metrics = list(&json["metrics"]);
        let total = metrics.iter().find(|each| each["name"] == *metric).expect("the metric has a total");
        let total = opened(&text(&total[&view]["hdr"]));
        let mut sum = Histogram::new_from(&total);
        for packed in intervals.iter().filter_map(Value::as_str) {
            sum.add(opened(packed)).expect("the bounds are equal");
        }
        assert_eq!(sum, total, "{metric} {view}");
    }
    rows.len()
}

#[test]
fn a_folder_holds_all_results_and_they_agree() {
    let folder = folder();
    let dir = folder.file("run");
    let events = format!("{dir}/events.csv");
    let run = short(&["-o", &dir, "--events", &events, "--name", "a name", "--label", "version=1.2"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("Events     300 written   0 lost"), "{}", run.stdout);
    let read =
        |name: &str| fs::read_to_string(format!("{dir}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"));
    let json: Value = serde_json::from_str(&read("result.json")).unwrap();
    assert_eq!((&json["run"]["name"], &json["run"]["labels"]["version"]), (&"a name".into(), &"1.2".into()));
    let intervals = assert_intervals_add_up(&json);
    assert!(intervals >= 15, "{intervals}");
    assert_eq!(read("timeline.csv").lines().count(), 1 + intervals);
    for (tag, sum) in sums(&read("intervals.hlog")) {
        let (metric, view) = tag.split_once('.').unwrap();
        let metric = json["metrics"].as_array().unwrap().iter().find(|each| each["name"] == metric).unwrap();
        assert_eq!(sum, opened(metric[view]["hdr"].as_str().unwrap()), "{tag}");
    }
    let report = read("report.txt");
    assert!(
        report.starts_with("run     ") && report.contains("  a name") && report.contains("  version=1.2\n"),
        "{report}"
    );
    assert!(report.contains("Success    100 % of 300 pings answered"), "{report}");
    assert!(read("ping_rtt.hgrm").contains("Total count    =          300"));
    let sums = read("SHA256SUMS");
    for name in
        ["result.json", "report.txt", "report.html", "intervals.hlog", "timeline.csv", "summary.csv", "events.csv"]
    {
        assert!(sums.contains(&format!("  {name}\n")), "{name}: {sums}");
    }
}

#[test]
fn every_operation_has_one_line_that_matches_the_counts() {
    let file = ResultFile::new("events.csv");
    let json = ResultFile::new("events.json");
    let (_node, address) = Running::serve(&["--max-peers", "4"]);
    let target = [address.as_str(), "--network", "regtest", "--min-peers", "0"];
    let run = short(&[&target[..], &["--events", file.path(), "--json", json.path()]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let (text, json) = (file.read(), json.json());
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("index,metric,connection,target,planned_ns,sent_ns,ended_ns,result"));
    let mut results: BTreeMap<&str, u64> = BTreeMap::new();
    let mut indices = Vec::new();
    for line in lines {
        let columns: Vec<&str> = line.split(',').collect();
        let [index, metric, connection, target, planned, sent, ended, result] = columns[..] else { panic!("{line}") };
        let of = |number: &str| number.parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
        assert_eq!((metric, target), ("ping_rtt", address.as_str()));
        assert_eq!((of(connection), of(planned)), (of(index) % 5, of(index) * 5_000_000), "{line}");
        assert_eq!(sent.is_empty(), result == "absent" || result == "unsent", "{line}");
        assert!(sent.is_empty() || of(planned) <= of(sent) && of(sent) <= of(ended), "{line}");
        *results.entry(result).or_default() += 1;
        indices.push(of(index));
    }
    indices.sort_unstable();
    assert_eq!(indices, (0..300).collect::<Vec<u64>>());
    assert_eq!(results.get("answered").copied(), Some(number(&json, "/counts/answered")), "{results:?}");
    assert_eq!(results.get("absent").copied(), Some(number(&json, "/counts/unsent_absent")), "{results:?}");
    assert_eq!((number(&json, "/counts/events/written"), number(&json, "/counts/events/lost")), (300, 0));
}

#[cfg(target_os = "linux")]
#[test]
fn operations_that_cannot_be_written_are_counted_and_fail_the_run() {
    let file = ResultFile::new("lost.json");
    let run = short(&["--events", "/dev/full", "--json", file.path()]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    let complaint = run.complaint();
    for part in ["writing the events to /dev/full: ", "No space left", "of 300 operations are missing"] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    let json = file.json();
    let lost = number(&json, "/counts/events/lost");
    assert_eq!(number(&json, "/counts/events/written") + lost, 300);
    assert!(lost > 0 && run.stdout.contains(&format!("{lost} lost")), "{}", run.stdout);
    assert_eq!(json["run"]["partial"], false, "the operations' file says nothing about the other results");
}

#[test]
fn events_on_stdout_are_alone_there() {
    let run = short(&["--events", "-"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stdout.lines().count(), 1 + 300, "{}", run.stdout);
    assert!(run.stderr.starts_with("verdict: "), "{}", run.stderr);
}

#[test]
fn intervals_of_a_run_that_is_stopped_at_once_add_up_too() {
    let (node, address) = Running::serve(&[]);
    let file = ResultFile::new("stopped.json");
    let events = ResultFile::new("stopped.csv");
    let target = [address.as_str(), "--network", "regtest", "-c", "5", "-r", "500", "-d", "1h", "--warmup", "0s"];
    let rest = ["--drain", "1h", "--timeout", "1h", "--json", file.path(), "--events", events.path()];
    let mut run = Running::start(&[&["bench"], &target[..], &rest[..]].concat());
    run.wait_for("run ");
    node.signal("STOP");
    run.wait_for("run ");
    run.signal("INT");
    run.wait_for("stopping");
    run.signal_until_it_ends("INT");
    let run = run.finish();
    node.signal("CONT");
    assert_eq!(run.code, Some(131), "{}", run.stderr);
    let json = file.json();
    assert!(assert_intervals_add_up(&json) >= 1);
    let lines = events.read().lines().count() as u64 - 1;
    assert_eq!((lines, number(&json, "/counts/events/lost")), (number(&json, "/counts/planned"), 0));
    assert_eq!(lines, number(&json, "/counts/events/written"));
}

#[test]
fn a_report_of_a_run_equals_the_files_of_the_run() {
    let folder = folder();
    let dir = folder.file("run");
    assert_eq!(short(&["-o", &dir]).code, Some(0));
    for (format, name) in [
        ("json", "result.json"),
        ("text", "report.txt"),
        ("html", "report.html"),
        ("hlog", "intervals.hlog"),
        ("hgrm", "ping_rtt.hgrm"),
        ("csv", "timeline.csv"),
        ("summary-csv", "summary.csv"),
    ] {
        let report = peerloop(&["report", &dir, "--format", format]);
        assert_eq!((report.code, report.stderr.as_str()), (Some(0), ""), "{format}");
        let file = fs::read_to_string(format!("{dir}/{name}")).unwrap();
        let differing = report.stdout.lines().zip(file.lines()).find(|(one, two)| one != two);
        assert_eq!((differing, report.stdout.len()), (None, file.len()), "{format}");
    }
    let page = format!("{dir}/report.html");
    let report = peerloop(&["report", &page]);
    assert_eq!((report.code, report.stdout), (Some(0), fs::read_to_string(format!("{dir}/report.txt")).unwrap()));
    let report = peerloop(&["report", &page, "--format", "json"]);
    let read: Value = serde_json::from_str(&report.stdout).unwrap();
    assert!(assert_intervals_add_up(&read) <= 60);
    let prom = peerloop(&["report", &dir, "--format", "prom"]).stdout;
    assert!(prom.contains("peerloop_bench_operations_total{network=\"regtest\",state=\"answered\"} 300\n"), "{prom}");
    let report = peerloop(&["report", &format!("{dir}/result.json"), "--percentiles", "75"]);
    assert!(report.stdout.contains("      p75"), "{}", report.stdout);
}

#[test]
fn a_report_of_no_run_is_refused_with_advice() {
    let folder = folder();
    let (empty, wrong) = (folder.file("empty"), folder.with("wrong.json", "{\"schema\": 99}"));
    fs::create_dir(&empty).unwrap();
    for (path, part) in [
        (&empty, "result.json: No such file"),
        (&wrong, "a newer peerloop wrote it"),
        (&folder.with("text", "text"), "it is not a result of `peerloop bench --json`"),
    ] {
        let run = peerloop(&["report", path]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(run.complaint().contains("reading the run ") && run.complaint().contains(part), "{}", run.stderr);
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let folder = folder();
    let (dir, json) = (folder.file("run"), folder.file("a.json"));
    // Port 1 has no listener, and nothing connects to it.
    let target = ["127.0.0.1:1", "--network", "regtest"];
    let run = short(&[&target[..], &["--dry-run", "-o", &dir, "--json", &json]].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    for part in ["target  127.0.0.1:1  network regtest", "plan    5 peers", "checks  descriptors", "dry run 300 pings"]
    {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    assert_eq!(folder.names(), [""; 0]);
    assert_eq!(peerloop(&["bench", "--dry-run", "-c", "100m"]).code, Some(3));
}

#[test]
fn outputs_that_would_collide_are_refused_before_the_run() {
    let folder = folder();
    let dir = folder.file("run");
    fs::create_dir(&dir).unwrap();
    let inside = format!("{dir}/result.json");
    let same = folder.file("same");
    for (flags, part) in [
        (&["-o", &dir, "--json", &inside][..], "the folder of -o holds only the results"),
        (&["--csv", &same, "--hlog", &same], "are the same file"),
        (&["--label", "a=1", "--label", "a=2"], "--label a is given twice"),
        (&["--label", "a"], "use KEY=VALUE"),
        (&["--name", "a\nb"], "use one line"),
    ] {
        let run = short(flags);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.complaint().contains(part), "{}", run.complaint());
    }
    fs::write(format!("{dir}/notes.txt"), "mine").unwrap();
    let run = short(&["-o", &dir]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.complaint().contains("holds `notes.txt`"), "{}", run.complaint());
}

#[test]
fn the_host_the_program_and_the_run_are_identified() {
    let (first, second) = (ResultFile::new("first.json"), ResultFile::new("second.json"));
    for file in [&first, &second] {
        assert_eq!(short(&["--json", file.path()]).code, Some(0));
    }
    let (first, second) = (first.json(), second.json());
    assert_ne!(first["run"]["id"], second["run"]["id"]);
    assert_eq!(first["run"]["id"].as_str().unwrap().len(), 32);
    for pointer in ["/host/name", "/host/kernel", "/tool/version", "/run/load_start"] {
        assert!(first.pointer(pointer).is_some_and(Value::is_string), "{pointer}: {first}");
    }
    let [start, load_start] = ["start", "load_start"].map(|name| first["run"][name].as_str().unwrap());
    assert!(start <= load_start && load_start.ends_with('Z'), "{start} {load_start}");
    // A build outside a repository does not know its commit.
    let git = &first["tool"]["git"];
    assert!(git.is_null() || git.as_str().is_some_and(|git| git.len() >= 12), "{git}");
}

/// Runs the program with a terminal as its standard output, and returns the text that the terminal received.
#[cfg(target_os = "linux")]
fn on_terminal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).expect("the system has terminals");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("the terminal is ours");
    let name = ptsname(&terminal, Vec::new()).expect("the terminal has a name");
    let name = name.to_str().expect("the text is UTF-8");
    let shown = fs::OpenOptions::new().write(true).open(name).expect("the file exists");
    let mut command = crate::command(arguments);
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(variables.iter().copied()).stdout(shown);
    let mut run = command.spawn().expect("the program starts");
    drop(command);
    // Once the program has ended, nobody holds the terminal's other end, and reading fails.
    let (mut text, mut terminal) = (Vec::new(), fs::File::from(terminal));
    let _ = std::io::Read::read_to_end(&mut terminal, &mut text);
    assert!(run.wait().expect("the program ends").success());
    String::from_utf8(text).expect("the program writes UTF-8")
}

#[cfg(target_os = "linux")]
#[test]
fn the_verdict_is_coloured_only_on_a_terminal_that_wants_it() {
    let golden = |name: &str| format!("{}/src/bench/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let (measured, failed) = (golden("measured"), golden("failed"));
    assert!(on_terminal(&["report", &measured], &[]).contains("verdict: \x1b[32mTRUSTED\x1b[0m"));
    assert!(on_terminal(&["report", &failed], &[]).contains("verdict: \x1b[31mNOT TRUSTED\x1b[0m"));
    for plain in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let text = on_terminal(&["report", &measured], &plain);
        assert!(text.contains("verdict: TRUSTED") && !text.contains('\x1b'), "{plain:?}: {text}");
    }
    let run = peerloop(&["report", &measured]);
    assert!(run.stdout.contains("verdict: TRUSTED") && !run.stdout.contains('\x1b'), "{}", run.stdout);
}
