//! `bench`: its printed report, its files, and its exit codes.

use crate::{ResultFile, Running, peerloop};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;
use std::io::Read;
use std::net::TcpListener;

const SHORT: [&str; 8] = ["bench", "-c", "20", "-d", "1s", "--warmup", "0s", "-q"];

fn short(more: &[&str]) -> crate::Finished {
    peerloop(&[&SHORT, more].concat())
}

fn number(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer}: {json}"))
}

/// Asserts that the counts are consistent, which they are after a failed run too.
fn assert_counts_add_up(json: &Value) {
    let count = |name: &str| number(json, &format!("/counts/{name}"));
    assert_eq!(count("planned"), count("sent") + count("unsent"));
    assert_eq!(count("sent"), count("answered") + count("timed_out"));
    assert!(count("ready") <= count("opened") && count("opened") <= count("asked"));
    assert!(count("lost") <= count("ready"));
    let errors = json["counts"]["errors"].as_array().into_iter().flatten();
    let failed: u64 = errors.map(|error| number(error, "/count")).sum();
    assert_eq!(failed, count("failed") + count("lost"));
    let ping_rtt = &json["metrics"][2];
    assert_eq!(ping_rtt["name"], "ping_rtt");
    assert_eq!(number(ping_rtt, "/planned/count"), count("answered"));
    assert_eq!(number(ping_rtt, "/sent/count"), count("answered"));
    assert_eq!(number(ping_rtt, "/sent/failed"), count("timed_out"));
    for name in ["planned", "sent", "unsent", "unsent_absent", "answered", "timed_out"] {
        assert_eq!(ping_rtt["work"][name], count(name), "{name}");
    }
}

#[test]
fn the_printed_report_has_every_part() {
    let run = short(&[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stderr, "", "stderr is not empty, despite -q");
    for part in [
        "no target given",
        "checks  descriptors",
        "ramp    20/20 peers",
        "Success    100 % of 200 pings answered   100 % of 20 peers ready to the end",
        "Peers      opened 20   ready 20   lost 0   failed 0",
        "Work       200 planned   200 sent   200 answered   0 timed out",
        "Traffic    out ",
        "Latency",
        "p99.9       max",
        "connect ",
        "  from dial ",
        "handshake ",
        "ping_rtt ",
        "  from send ",
        "connect and ping_rtt count from the planned time",
        "ping_rtt <=        pings     share",
        "Generator  loop lag p99",
        "verdict: ",
        "Files      none",
        "Next       peerloop probe",
    ] {
        assert!(run.stdout.contains(part), "{part} is missing:\n{}", run.stdout);
    }
    assert!(
        run.stdout.lines().all(|line| line.chars().count() <= 80),
        "a line has more than 80 columns:\n{}",
        run.stdout
    );
}

#[test]
fn the_json_file_has_its_keys_and_counts_that_add_up() {
    let file = ResultFile::new("keys.json");
    let run = short(&["--json", file.path(), "--seed", "18446744073709551615", "--percentiles", "50,99.99"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains(file.path()), "the printed report does not name the file");
    let json = file.json();
    assert_counts_add_up(&json);
    assert_eq!(number(&json, "/schema"), 3);
    assert_eq!(
        json["run"]["seed"], "18446744073709551615",
        "the seed is wrong, or is not a string and would be rounded by a reader"
    );
    assert!(number(&json, "/host/descriptors") > 0);
    assert_eq!(number(&json, "/counts/ready"), 20);
    assert_eq!(number(&json, "/counts/planned"), 200);
    assert_eq!(number(&json, "/config/duration_ns"), 1_000_000_000);
    assert_eq!(number(&json, "/targets/0/protocol"), 70_016);
    assert_eq!(number(&json, "/exit/code"), 0);
    assert_eq!(json["run"]["partial"], false);
    assert_eq!(json["tool"]["name"], "peerloop");
    let names: Vec<&str> =
        json["metrics"].as_array().unwrap().iter().map(|metric| metric["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["connect", "handshake", "ping_rtt", "send_lag", "loop_lag", "dial_lag"]);
    let percentiles = json.pointer("/metrics/2/planned/percentiles").and_then(Value::as_object).unwrap();
    assert_eq!(percentiles.keys().collect::<Vec<_>>(), ["50", "99.99"]);
}

#[test]
fn the_json_contains_the_whole_histogram() {
    let file = ResultFile::new("whole.json");
    assert_eq!(short(&["--json", file.path()]).code, Some(0));
    let planned = &file.json()["metrics"][2]["planned"];
    let bytes = STANDARD.decode(planned["hdr"].as_str().unwrap()).unwrap();
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
    assert_eq!(histogram.len(), number(planned, "/count"));
    // The quantile is a little below one half, because `hdrhistogram` may return the value of the next sample.
    assert_eq!(histogram.value_at_quantile(0.499_999), number(planned, "/percentiles/50"));
}

#[test]
fn a_run_that_cannot_be_trusted_fails_with_strict() {
    // No machine can keep to a schedule of a million pings a second over 20 peers.
    let hopeless = ["-r", "1000k", "--drain", "0s"];
    let file = ResultFile::new("strict.json");
    let run = short(&[&hopeless[..], &["--strict", "--json", file.path()]].concat());
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert!(run.complaint().contains("not trusted, which --strict treats as a failure"), "{}", run.complaint());
    let json = file.json();
    assert_eq!((number(&json, "/exit/code"), json["generator"]["verdict"].as_str()), (4, Some("not_trusted")));
    assert_eq!(short(&hopeless).code, Some(0));
}

#[test]
fn every_output_shows_the_unanswered_pings() {
    let (node, address) = Running::serve(&[]);
    let (json, hgrm) = (ResultFile::new("unanswered.json"), ResultFile::new("unanswered.hgrm"));
    let target = [address.as_str(), "--network", "regtest", "-c", "5", "-r", "100", "-d", "3s", "--warmup", "0s"];
    let rest = ["--drain", "0s", "--json", json.path(), "--hgrm", hgrm.path()];
    let mut run = Running::start(&[&["bench"], &target[..], &rest[..]].concat());
    run.wait_for("run ");
    node.signal("STOP");
    let run = run.finish();
    node.signal("CONT");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let json = json.json();
    assert_counts_add_up(&json);
    let failed = number(&json, "/metrics/2/planned/failed");
    assert!(failed > 0 && failed == number(&json, "/counts/timed_out") + number(&json, "/counts/unsent"));
    let ping_rtt = &json["metrics"][2];
    assert_eq!(ping_rtt["planned"]["percentiles"]["99.9"], Value::Null);
    assert!(ping_rtt["planned"]["percentiles_of_answered"]["99.9"].is_u64());
    let row = run.stdout.lines().find(|line| line.starts_with("ping_rtt ")).expect("ping_rtt has a row");
    assert!(row.contains(" > ") || row.contains(" failed"), "{row}");
    assert!(run.stdout.contains(" % unanswered: "), "{}", run.stdout);
    assert!(hgrm.read().contains(&format!("#[Unanswered = {failed:9}, ")), "{}", hgrm.read());
}

#[test]
fn the_timeline_has_a_row_for_each_interval_and_counts_every_pong() {
    let file = ResultFile::new("timeline.json");
    let run =
        peerloop(&["bench", "-c", "5", "-r", "200", "-d", "2500ms", "--warmup", "0s", "--json", file.path(), "-q"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let json = file.json();
    let columns = ["t", "planned", "sent", "answered", "failed", "p50", "p99", "max", "peers", "lost"];
    assert_eq!(json["timeline"]["columns"], serde_json::json!(columns));
    assert_eq!(number(&json, "/timeline/interval_ns"), 100_000_000);
    let rows = json["timeline"]["rows"].as_array().unwrap();
    let of = |column: usize| rows.iter().map(move |row| row[column].as_u64().unwrap());
    assert_eq!(of(0).take(2).collect::<Vec<_>>(), [100_000_000, 200_000_000]);
    assert_eq!(of(1).take(25).collect::<Vec<_>>(), [20; 25]);
    assert_eq!(of(3).sum::<u64>(), number(&json, "/counts/answered"));
}

#[test]
fn a_run_too_long_to_be_measured_is_refused() {
    for flags in [["-d", "105days"], ["--timeout", "1year"], ["--drain", "300years"]] {
        let run = peerloop(&[&["bench", "-c", "1"], &flags[..]].concat());
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.complaint().contains("104 days"), "{}", run.complaint());
    }
}

#[test]
fn json_is_alone_on_stdout_and_the_verdict_is_on_stderr() {
    let run = short(&["--json", "-"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let [verdict] = run.stderr.lines().collect::<Vec<_>>()[..] else { panic!("not one line: {}", run.stderr) };
    assert!(verdict.starts_with("verdict: TRUSTED; limit: ") || verdict.starts_with("verdict: NOT TRUSTED: "));
    assert_counts_add_up(&serde_json::from_str(&run.stdout).unwrap());
}

#[test]
fn an_older_result_is_replaced_as_a_whole() {
    let file = ResultFile::new("older.hgrm");
    std::fs::write(file.path(), "~".repeat(1 << 20)).unwrap();
    assert_eq!(short(&["--hgrm", file.path()]).code, Some(0));
    let text = file.read();
    assert!(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"), "{text}");
    assert!(text.trim_end().ends_with(']') && !text.contains('~'), "{text}");
}

#[test]
fn progress_is_shown_as_plain_lines_without_a_terminal() {
    let run = peerloop(&["bench", "-c", "5", "-d", "2s", "--warmup", "0s"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("run     ["), "{}", run.stderr);
    assert!(!run.stderr.contains(['\r', '\x1b']), "{:?}", run.stderr);
}

#[test]
fn a_run_against_a_refusing_port_fails_and_names_the_cause() {
    let file = ResultFile::new("refused.json");
    // Port 1 is reserved and has no listener.
    let run = peerloop(&["bench", "127.0.0.1:1", "--network", "regtest", "-c", "5", "--json", file.path(), "-q"]);
    assert_eq!(run.code, Some(1));
    let complaint = run.complaint();
    for part in
        ["the first connection to 127.0.0.1:1 failed, and no other was opened: ", "refused", "is a node listening"]
    {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    let json = file.json();
    assert_counts_add_up(&json);
    assert_eq!((number(&json, "/counts/asked"), number(&json, "/counts/failed")), (5, 1));
    assert_eq!((number(&json, "/counts/planned"), number(&json, "/counts/unsent_absent")), (50, 50));
    assert_eq!(json["counts"]["errors"][0]["cause"], "refused");
    assert_eq!(json["counts"]["errors"][0]["side"], "remote");
    assert_eq!(number(&json, "/exit/code"), 1);
}

#[test]
fn a_node_that_closes_the_first_connection_gets_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let node = std::thread::spawn(move || {
        drop(listener.accept());
        listener
    });
    let run = short(&[&address, "--network", "regtest", "--connect-rate", "1k"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.complaint().contains("and no other was opened: in the handshake: "), "{}", run.complaint());
    assert!(run.complaint().contains("is --network right"), "{}", run.complaint());
    let listener = node.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a second connection was opened, which risks a ban");
}

#[test]
fn a_dead_node_among_good_ones_fails_the_run() {
    let (_node, address) = Running::serve(&[]);
    let targets = format!("{address},127.0.0.1:1");
    let run = short(&[&targets, "--network", "regtest"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.complaint().contains("the first connection to 127.0.0.1:1 failed"), "{}", run.complaint());
}

#[test]
fn a_signal_ends_the_wait_for_the_first_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let run = Running::start(&["bench", &address, "--network", "regtest", "-q"]);
    let (mut silent, _) = listener.accept().unwrap();
    silent.read_exact(&mut [0; 24]).unwrap();
    run.signal("INT");
    // The loop shuts down its side, and waits until the node does the same.
    silent.read_to_end(&mut Vec::new()).unwrap();
    drop(silent);
    let run = run.finish();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.stdout.contains("partial stopped by SIGINT"), "{}", run.stdout);
}

#[test]
fn targets_are_read_from_a_list_or_a_file_and_the_network_from_a_variable() {
    let (_one, one) = Running::serve(&[]);
    let (_two, two) = Running::serve(&[]);
    let file = ResultFile::new("targets");
    std::fs::write(file.path(), format!("# two nodes\n{one}\n{two} # the second\n")).unwrap();
    let (list, at_file) = (format!("{one},{two}"), format!("@{}", file.path()));
    for targets in [list, at_file] {
        let mut command = crate::command(&[&SHORT[..], &[&targets]].concat());
        let output = command.env("PEERLOOP_NETWORK", "regtest").output().expect("the program starts");
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stdout}");
        assert!(stdout.contains(&format!("target  {one}  {two}  network regtest\n")), "{stdout}");
        assert!(stdout.contains("ready 20   lost 0"), "{stdout}");
    }
}

#[test]
fn a_node_at_capacity_fails_the_run_and_is_distinguished_from_a_dead_one() {
    let (_node, address) = Running::serve(&["--max-peers", "5"]);
    let file = ResultFile::new("full.json");
    let target = [address.as_str(), "--network", "regtest", "--json", file.path()];
    let run = peerloop(&[&SHORT, &target[..]].concat());
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let json = file.json();
    assert_counts_add_up(&json);
    assert_eq!(number(&json, "/counts/errors/0/count"), 15);
    assert_eq!(number(&json, "/counts/planned"), 20);
    assert_eq!((number(&json, "/config/min_peers"), number(&json, "/exit/code")), (20, 1));
    assert_eq!(json["run"]["partial"], false);
    assert!(run.stdout.contains("Failed     remote 15"), "{}", run.stdout);
    let reason = "5 of 20 peers remained at the end, fewer than --min-peers 100%, that is 20; 15 of 20 failed: ";
    for text in [run.complaint(), json["exit"]["reasons"][0]["reason"].as_str().unwrap(), &unbroken(&run.stdout)] {
        assert!(text.contains(reason) && text.contains("856 inbound") && text.contains("116 by default"), "{text}");
    }
    for (min_peers, code) in [("5", 0), ("25%", 0), ("0", 0), ("6", 1)] {
        let run = peerloop(&[&SHORT, &target[..], &["--min-peers", min_peers]].concat());
        assert_eq!(run.code, Some(code), "{min_peers}: {}", run.stderr);
    }
}

/// Returns the text's words on one line, separated by single spaces.
fn unbroken(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn more_peers_than_planned_cannot_be_required() {
    let run = peerloop(&["bench", "-c", "50", "--min-peers", "51"]);
    assert_eq!(run.code, Some(2));
    assert!(run.complaint().contains("--min-peers 51 is more than the 50 planned peers"), "{}", run.complaint());
}

#[test]
fn a_node_that_dies_in_the_middle_fails_the_run() {
    let (node, address) = Running::serve(&[]);
    let file = ResultFile::new("dies.json");
    let target = [address.as_str(), "--network", "regtest", "-c", "5", "-d", "1h", "--warmup", "0s"];
    let mut run = Running::start(&[&["bench"], &target[..], &["--json", file.path()]].concat());
    run.wait_for("run ");
    node.signal("KILL");
    let run = run.finish();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let json = file.json();
    assert_counts_add_up(&json);
    assert_eq!((number(&json, "/counts/planned"), number(&json, "/counts/lost")), (18_000, 5));
    assert!(number(&json, "/counts/unsent_absent") > 17_000, "{json}");
    assert_eq!((&json["run"]["partial"], &json["generator"]["verdict"]), (&true.into(), &"not_trusted".into()));
    let reasons: Vec<&str> =
        json["exit"]["reasons"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    for text in [run.complaint(), reasons[0], &unbroken(&run.stdout)] {
        assert!(text.contains("ended early after ") && text.contains(" of 3600 s: all 5 peers were lost"), "{text}");
        assert!(text.contains("did the node stop?") && !text.contains("856"), "{text}");
    }
    assert!(reasons[1].starts_with("0 of 5 peers remained at the end, fewer than --min-peers 100%"), "{reasons:?}");
}

#[test]
fn each_of_two_targets_has_a_row() {
    let (first, first_address) = Running::serve(&[]);
    let (_second, second_address) = Running::serve(&[]);
    let file = ResultFile::new("two.json");
    let targets = [first_address.as_str(), &second_address, "--network", "regtest", "-c", "4", "-r", "8"];
    let rest = ["-d", "1h", "--warmup", "0s", "--json", file.path()];
    let mut run = Running::start(&[&["bench"], &targets[..], &rest[..]].concat());
    run.wait_for("run ");
    first.signal("KILL");
    run.wait_for_part("lost 2");
    run.signal("INT");
    let run = run.finish();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    let json = file.json();
    assert_counts_add_up(&json);
    let row = |index: usize, name: &str| number(&json, &format!("/targets/{index}/{name}"));
    assert_eq!(json["targets"][0]["addr"], first_address.as_str());
    assert_eq!((row(0, "lost"), row(1, "lost"), row(1, "unsent_absent")), (2, 0, 0));
    let reasons = json["exit"]["reasons"].as_array().unwrap();
    assert_eq!((reasons.len(), &reasons[0]["reason"]), (2, &"stopped by SIGINT".into()));
    assert_eq!((&reasons[0]["code"], &reasons[0]["partial"]), (&130.into(), &true.into()));
    assert_eq!((&reasons[1]["code"], &reasons[1]["partial"]), (&1.into(), &false.into()));
    let lost = "2 of 4 peers remained at the end, fewer than --min-peers 100%, that is 4; ";
    let cause =
        reasons[1]["reason"].as_str().unwrap().strip_prefix(lost).expect("the signal does not hide the lost peers");
    // The kernel resets a killed process's connection if unread input waits there, and closes it otherwise. If the two
    // lost peers have different causes, each cause has one peer.
    assert!(["2 of 4 failed: ", "1 of 4 failed: "].iter().any(|count| cause.starts_with(count)), "{cause}");
    let planned = [0, 1].map(|index| row(index, "planned"));
    assert!(planned[0] - planned[1] <= 1, "pings are not assigned to the targets in turn: {planned:?}");
    assert_eq!(planned.iter().sum::<u64>(), number(&json, "/counts/planned"));
    assert!(json["targets"][1]["view"]["percentiles"]["50"].is_number(), "{json}");
    for address in [first_address, second_address] {
        assert!(unbroken(&run.stdout).contains(&format!("Target {address} 2/2 ready")), "{}", run.stdout);
    }
}

#[test]
fn a_wrong_network_is_suspected() {
    let (_node, address) = Running::serve(&[]);
    let run = peerloop(&["bench", &address, "--network", "testnet", "-c", "2", "-q"]);
    assert_eq!(run.code, Some(1));
    assert!(run.complaint().contains("is --network right"), "{}", run.complaint());
}

#[test]
fn several_source_addresses_can_be_used() {
    let run = short(&["--source-ip", "127.0.0.2/30", "--source-ip", "127.0.0.9"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("ready 20   lost 0"), "{}", run.stdout);
}

#[test]
fn after_the_first_signal_the_run_drains_and_reports() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let file = ResultFile::new(&format!("{signal}.json"));
        let mut run = Running::start(&["bench", "-c", "5", "-d", "1h", "--warmup", "0s", "--json", file.path()]);
        run.wait_for("run ");
        run.signal(signal);
        let run = run.finish();
        assert_eq!(run.code, Some(code), "{}", run.stderr);
        assert!(run.stdout.contains(&format!("partial stopped by SIG{signal}")), "{}", run.stdout);
        let json = file.json();
        assert_counts_add_up(&json);
        assert_eq!(json["run"]["partial"], true);
        assert_eq!(number(&json, "/exit/code"), code as u64);
        assert!(number(&json, "/counts/answered") > 0);
    }
}

#[test]
fn after_a_signal_in_the_warm_up_the_bench_still_reports() {
    let file = ResultFile::new("early.json");
    let mut run = Running::start(&["bench", "-c", "5", "--warmup", "1h", "--json", file.path()]);
    run.wait_for("warmup ");
    run.signal("INT");
    assert_eq!(run.finish().code, Some(130));
    let json = file.json();
    assert_counts_add_up(&json);
    assert_eq!(number(&json, "/counts/planned"), 0);
    assert_eq!(json["run"]["partial"], true);
}

#[test]
fn after_a_second_signal_the_bench_reports_at_once() {
    let (node, address) = Running::serve(&[]);
    let file = ResultFile::new("second.json");
    let target = [address.as_str(), "--network", "regtest", "-c", "5", "-r", "100", "-d", "1h", "--warmup", "0s"];
    let rest = ["--drain", "1h", "--timeout", "1h", "--json", file.path()];
    let mut run = Running::start(&[&["bench"], &target[..], &rest[..]].concat());
    run.wait_for("run ");
    // A stopped node does not answer pings, so the drain does not end by itself.
    node.signal("STOP");
    run.wait_for("run ");
    run.signal("INT");
    run.wait_for("stopping");
    run.signal_until_it_ends("INT");
    let run = run.finish();
    node.signal("CONT");
    assert_eq!(run.code, Some(131), "{}", run.stderr);
    assert!(run.stdout.contains("partial stopped at once by a second signal, SIGINT"), "{}", run.stdout);
    let json = file.json();
    assert_counts_add_up(&json);
    assert!(number(&json, "/counts/timed_out") > 0, "no ping timed out, although the stopped node answers none");
    assert_eq!((number(&json, "/exit/code"), &json["run"]["partial"]), (131, &true.into()));
}

#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    for (signal, other, code) in [("INT", "TERM", 143), ("TERM", "INT", 130), ("HUP", "INT", 130)] {
        let mut run = Running::start_with_ignored(signal, &["bench", "-c", "5", "-d", "1h", "--warmup", "0s"]);
        run.wait_for("run ");
        run.signal(signal);
        run.wait_for("run ");
        run.wait_for("run ");
        run.signal(other);
        let run = run.finish();
        assert_eq!(run.code, Some(code), "{signal}: {}", run.stderr);
    }
}

#[test]
fn closing_the_stdout_pipe_is_not_a_failure() {
    let mut run = Running::start(&SHORT);
    run.close_stdout();
    let run = run.finish();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_the_run() {
    let run = short(&["--json", "/dev/full"]);
    assert_eq!(run.code, Some(1));
    assert!(run.complaint().contains("writing /dev/full: "), "{}", run.complaint());
    assert!(run.stdout.contains("verdict: "), "the report is not printed: {}", run.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_name_that_is_not_utf_8_is_used_and_shown() {
    use std::os::unix::ffi::OsStrExt;
    let file = ResultFile::new("no-text.json");
    let path = [file.path().as_bytes(), b"\xff"].concat();
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(&path));
    let mut command = crate::command(&SHORT);
    let output = command.arg("--json").arg(path).output().expect("the program starts");
    let json = std::fs::read_to_string(path);
    let _ = std::fs::remove_file(path);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(json.unwrap().contains("no-text.json\u{fffd}"));
}
