//! `report` over several runs, and over a part of a run.

use crate::schema::assert_valid;
use crate::{Finished, folder, peerloop};
use peerloop_testkit::Folder;
use serde_json::Value;
use std::fs;

const LOAD: [&str; 14] = [
    "bench",
    "-c",
    "10",
    "--warmup",
    "0s",
    "--connect-rate",
    "1k",
    "-q",
    "--stage",
    "200@500ms",
    "--stage",
    "200..1k@500ms",
    "--arrival",
    "burst:7",
];

/// Runs a bench with these results in a folder, and returns its path.
#[track_caller]
fn bench(folder: &Folder, name: &str, flags: &[&str]) -> String {
    let dir = folder.file(name);
    let run = peerloop(&[flags, &["-o", &dir]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    dir
}

#[track_caller]
fn report(arguments: &[&str]) -> Finished {
    let run = peerloop(&[&["report"], arguments].concat());
    assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
    run
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&report(&[arguments, &["--format", "json"]].concat()).stdout).expect("the output is JSON")
}

/// Lists the planned operations of each interval, without the drain.
fn planned(document: &Value) -> Vec<u64> {
    let rows = document["timeline"]["rows"].as_array().expect("there are rows");
    let mut planned: Vec<u64> = rows.iter().map(|row| row[1].as_u64().expect("a count")).collect();
    while planned.last() == Some(&0) {
        planned.pop();
    }
    planned
}

#[test]
fn merged_segments_have_exactly_the_planned_operations_of_the_whole_load() {
    let folder = folder();
    let whole = bench(&folder, "whole", &LOAD);
    let segments = ["1/3", "2/3", "3/3"]
        .map(|segment| bench(&folder, &segment.replace('/', "of"), &[&LOAD[..], &["--segment", segment]].concat()));
    let [one, two, three] = segments.each_ref().map(String::as_str);
    let (whole, merged) = (json(&[&whole]), json(&[one, two, three]));
    assert_eq!(planned(&merged), planned(&whole));
    assert_eq!(merged["counts"]["planned"], whole["counts"]["planned"]);
    assert_eq!((&merged["counts"]["ready"], &merged["run"]["segment"]), (&10.into(), &serde_json::json!([1, 1])));
    let stage = |document: &Value, index: usize| document["stages"][index]["metrics"][0]["work"]["planned"].clone();
    assert_eq!([0, 1].map(|index| stage(&merged, index)), [0, 1].map(|index| stage(&whole, index)));
    assert_valid(&merged);
    // The document can be read again, and without one of the segments a warning says what is missing.
    let file = folder.with("merged.json", &merged.to_string());
    assert_eq!(json(&[&file])["run"]["id"], merged["run"]["id"]);
    let text = report(&[one, three]).stdout;
    for part in ["2 runs merged", "(segment 3/3)", "1 segment is missing: 2/3"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(report(&[one, three, "--format", "csv"]).stderr.contains("warning: 1 segment is missing: 2/3"));
    let twice = peerloop(&["report", &file, two]);
    assert_eq!(twice.code, Some(1));
    assert!(twice.complaint().contains("both contain the run with the `run.id`"), "{}", twice.stderr);
}

#[test]
fn a_folder_of_runs_stands_for_them_and_unlike_runs_are_refused() {
    let folder = folder();
    let runs = folder.file("runs");
    fs::create_dir(&runs).expect("the folder is ours");
    let short = ["bench", "-c", "2", "-r", "50", "-d", "300ms", "--warmup", "0s", "-q"];
    bench(&folder, "runs/002", &short);
    bench(&folder, "runs/001", &short);
    let merged = json(&[&runs]);
    let sources: Vec<&str> =
        merged["merged"]["runs"].as_array().expect("a list").iter().filter_map(|run| run["source"].as_str()).collect();
    assert_eq!(sources, [format!("{runs}/001"), format!("{runs}/002")]);
    assert_eq!(merged["counts"]["planned"], 30);
    let other = bench(&folder, "other", &["bench", "-c", "3", "-r", "50", "-d", "300ms", "--warmup", "0s", "-q"]);
    let refused = peerloop(&["report", &runs, &other]);
    assert_eq!(refused.code, Some(1));
    let complaint = refused.complaint();
    for part in [&format!("merging {runs}/001 and {other}: "), "`config.connections` differs: it is 2 in "] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

#[test]
fn hosts_and_stages_have_results_of_their_own() {
    let folder = folder();
    let run = bench(&folder, "run", &LOAD);
    let text = report(&[&run, "--by", "stage"]).stdout;
    assert!(text.contains("By stage   1 200/s for 0.5 s   100 planned   100 % answered\n"), "{text}");
    let document = json(&[&run, "--by", "host"]);
    assert_eq!(
        (&document["groups"][0]["by"], &document["groups"][0]["name"]),
        (&"host".into(), &document["host"]["name"])
    );
    assert_valid(&document);
    let csv = report(&[&run, "--by", "stage", "--format", "summary-csv"]).stdout;
    assert!(csv.contains("\nstage 2 200/s to 1000/s for 0.5 s,ping_rtt,planned,300,"), "{csv}");
    let refused = peerloop(&["report", &run, "--by", "host", "--format", "hlog"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
}

#[test]
fn a_part_of_a_run_has_the_operations_of_its_intervals_only() {
    let folder = folder();
    let run = bench(&folder, "run", &["bench", "-c", "2", "-r", "100", "-d", "1s", "--warmup", "0s", "-q"]);
    let part = json(&[&run, "--from", "200ms", "--to", "700ms"]);
    assert_eq!((&part["counts"]["planned"], part["timeline"]["rows"].as_array().map(Vec::len)), (&50.into(), Some(5)));
    assert_eq!(part["cut"]["from_ns"], 200_000_000);
    assert_valid(&part);
    let text = report(&[&run, "--from", "200ms", "--to", "700ms"]).stdout;
    assert!(text.contains("part    200 ms to 700 ms of ") || text.contains("part    0.2 s to 0.7 s of "), "{text}");
    let again = folder.with("part.json", &part.to_string());
    assert_eq!(json(&[&again])["counts"], part["counts"]);
    for (from, to, code, message) in
        [("700ms", "200ms", 2, "--from must be before --to"), ("1h", "2h", 1, "no interval lies within")]
    {
        let refused = peerloop(&["report", &run, "--from", from, "--to", to]);
        assert_eq!(refused.code, Some(code));
        assert!(refused.complaint().contains(message), "{}", refused.stderr);
    }
}
