//! `sim`: seeds are run, and a tape is replayed. No violation can be caused here, so unit tests check how violations
//! are reported.

use crate::usage::refused;
use crate::{ResultFile, Running, folder, peerloop};
use serde_json::Value;

#[test]
fn seeds_are_run_and_summarised() {
    let run = peerloop(&["sim", "--seeds", "3", "--seed", "7", "-q"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(run.stdout.starts_with("seeds 3  events "), "{}", run.stdout);
    assert!(run.stdout.ends_with("first seed 7  profile standard\n"), "{}", run.stdout);
}

#[test]
fn the_same_seeds_have_the_same_counts_on_one_thread_and_on_three() {
    let counts = |jobs: &str| {
        let run = peerloop(&["sim", "--seeds", "4", "--seed", "7", "--jobs", jobs, "-q", "--json", "-"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let json: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((&json["run"]["first_seed"], &json["found"]), (&"7".into(), &Value::Null));
        json["counts"].clone()
    };
    let counts_of_one = counts("1");
    assert_eq!(counts_of_one["seeds"], 4);
    assert_eq!(counts("3"), counts_of_one);
}

#[test]
fn a_tape_is_replayed_instead_of_seeds() {
    let file = ResultFile::new("replay.tape");
    std::fs::write(file.path(), "# nothing happens\nseed 7\n").unwrap();
    let run = peerloop(&["sim", "--tape", file.path(), "--profile", "without-hostile"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.starts_with("seeds 1  events "), "{}", run.stdout);
    assert!(run.stdout.contains(".tape  profile without-hostile"), "{}", run.stdout);
    let missing = peerloop(&["sim", "--tape", "/no/such/tape"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""));
    assert!(missing.complaint().contains("reading /no/such/tape: "), "{}", missing.complaint());
}

#[test]
fn a_signal_ends_the_run_with_a_summary_of_the_finished_worlds() {
    let mut run = Running::start(&["sim", "--seeds", "1000000000", "--seed", "7"]);
    run.wait_for("seeds ");
    run.signal("TERM");
    let run = run.finish();
    assert_eq!(run.code, Some(143), "{}", run.stderr);
    assert!(run.stdout.starts_with("seeds ") && run.stdout.ends_with("partial\n"), "{}", run.stdout);
}

#[test]
fn every_mistake_is_reported_in_one_line() {
    let mistakes: [(&[&str], &str); 4] = [
        (&["sim", "--seeds", "0"], "`0` is not a count"),
        (&["sim", "--profile", "kind"], "standard, without-hostile"),
        (&["sim", "--tape", "a", "--seed", "1"], "cannot be used with"),
        (&["sim", "--jobs", "0"], "`0` is not a count"),
    ];
    for (arguments, part) in mistakes {
        let run = peerloop(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(run.complaint().contains(part), "{part}: {}", run.complaint());
    }
}

#[test]
fn help_and_completions_list_sim() {
    assert!(peerloop(&["--help"]).stdout.contains("  sim "));
    assert!(peerloop(&["sim", "--help"]).stdout.contains("--tape"));
    assert!(peerloop(&["completions", "bash"]).stdout.contains("without-hostile"));
}

#[test]
fn the_result_never_replaces_a_tape() {
    let folder = folder();
    let (tape, result) = (folder.with("tape", "kept"), folder.file("result"));
    let expected = |flag: &str| format!("and {flag} are the same file; use different files");
    refused(&["sim", "--tape", &tape, "--json", &folder.file("./tape")], 2, &[&expected("--tape")]);
    refused(&["sim", "--save", &result, "--json", &result], 2, &[&expected("--save")]);
    assert_eq!(folder.names(), ["tape"]);
}
