//! Mistyped arguments and impossible runs are refused with one line and the right exit code, before anything starts.

use crate::{ResultFile, command, folder, peerloop};
use std::fs::OpenOptions;
#[cfg(unix)]
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

/// Runs the program. Asserts its exit code, that stdout is empty, and that stderr is one line with all `parts`.
#[track_caller]
pub(crate) fn refused(arguments: &[&str], code: i32, parts: &[&str]) {
    let run = peerloop(arguments);
    assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
    assert_eq!(run.stdout, "", "{arguments:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{arguments:?}: {}", run.stderr);
    for part in parts {
        assert!(run.complaint().contains(part), "{part}: {}", run.complaint());
    }
}

#[cfg(unix)]
#[test]
fn the_error_about_an_argument_that_is_not_text_names_its_flag_if_it_has_one() {
    let bad = OsStr::from_bytes(b"book\xff");
    let both = [OsStr::new("--book="), bad].join(OsStr::new(""));
    let expected = "flag --book: the value is not UTF-8 text";
    for (arguments, expected) in [
        (&["run".as_ref(), "--book".as_ref(), bad][..], expected),
        (&["run".as_ref(), &both], expected),
        (&["bench".as_ref(), bad], "argument book\u{fffd} is not UTF-8 text"),
    ] {
        let output = command(&[]).args(arguments).output().expect("the program starts");
        let line = String::from_utf8(output.stderr).expect("the text is UTF-8");
        assert_eq!((output.status.code(), line), (Some(2), format!("peerloop: {expected}\n")));
    }
}

#[test]
fn every_mistake_is_reported_in_one_line() {
    refused(&["benhc"], 2, &["benhc", "bench", "--help"]);
    refused(&["bench", "--conections", "5"], 2, &["--conections", "--connections"]);
    refused(&["bench", "-c", "0"], 2, &["`0` is not a count"]);
    refused(&["bench", "-c", "-5"], 2, &["`-5` is not a count: use a whole number above zero"]);
    refused(&["bench", "-d", "-1s"], 2, &["`-1s` is not a duration: it cannot be negative"]);
    refused(&["bench", "--rate-per-peer", "-0.5"], 2, &["`-0.5` is not a rate"]);
    refused(&["run", "--max-peers", "-5"], 2, &["flag --max-peers: max_peers: `-5` is not a count"]);
    refused(&["run", "--ping-interval", "-5s"], 2, &["`-5s` is not a duration: it cannot be negative"]);
    refused(&["bench", "-d", "1000y"], 2, &["104 days"]);
    refused(&["bench", "-d", "1ns"], 2, &["`1ns` is shorter than 1ms"]);
    refused(&["bench", "-r", "1e9"], 2, &["`1e9` is not a rate"]);
    refused(&["bench", "--rate-per-peer", "max"], 2, &["`max` is not a rate: use a number, for example 50k/s"]);
    refused(&["bench", "-n", "0"], 2, &["`0` is not a count"]);
    refused(&["bench", "--stage", "1k"], 2, &["`1k` is not a stage", "1k..5k@60s"]);
    refused(&["bench", "-z", "5s"], 2, &["unexpected argument '-z' found; -d TIME sets the duration; see"]);
    refused(&["bench", "--percentiles", "50,50.0"], 2, &["the percentile 50.0 is given twice"]);
    refused(&["bench", ":99999"], 2, &["`:99999` is not a target", "; ports are 1 to 65535"]);
    refused(&["probe", ":8333"], 2, &["`:8333` is not a target", "; the host is missing"]);
    refused(&["serve", "--listen", ":8333"], 2, &["for all addresses of this machine use 0.0.0.0:8333"]);
    refused(&["run", "--listen", "127.0.0.1:99999"], 2, &["ports are 1 to 65535"]);
    refused(&["bench", "-c", "many"], 2, &["`many` is not a count"]);
    refused(&["bench", "-d", "10"], 2, &["-d", "10s"]);
    refused(&["bench", "-d", "0s"], 2, &["longer than zero"]);
    refused(&["bench", "-r", "fast"], 2, &["`fast` is not a rate"]);
    refused(&["bench", "-r", "1", "--rate-per-peer", "1"], 2, &["cannot be used with"]);
    refused(&["bench", "--connect-rate", "0"], 2, &["above zero"]);
    refused(&["bench", "--percentiles", "101"], 2, &["`101` is not a percentile"]);
    for command in ["bench", "serve", "doctor"] {
        refused(&[command, "--network", "bitcoin"], 2, &["[possible values: mainnet, testnet, stn, regtest]"]);
    }
    refused(&["bench", "--source-ip", "here"], 2, &["`here` is not an address"]);
    refused(&["bench", "--json", "-", "--hgrm", "-"], 2, &["--hgrm - and --json - are the same file"]);
    refused(&["bench", "127.0.0.1:18444"], 2, &["the port of regtest", "--network regtest"]);
    refused(&["probe", "127.0.0.1:18333"], 2, &["the port of testnet", "--network testnet"]);
    refused(&["bench", "127.0.0.1:1"], 2, &["no known network uses", "--network mainnet, testnet", "_NETWORK"]);
    refused(&["bench", "127.0.0.1,[::1]:1"], 2, &["[::1]:1 has a port that no known network uses"]);
    refused(&["probe", "127.0.0.1:1"], 2, &["a port that no known network uses"]);
    refused(&["run", "--fixed-peers", "127.0.0.1:18444"], 2, &["the port of regtest", "--network regtest"]);
    refused(&["run", "--fixed-peers", "127.0.0.1:1"], 2, &["a port that no known network uses"]);
    refused(&["probe", "127.0.0.1,::1"], 2, &["`127.0.0.1,::1` is not a target"]);
    refused(&["bench", "@/no/such/file"], 1, &["reading the targets in /no/such/file"]);
    refused(&["bench", "-4", "::1"], 2, &["-4", "::1"]);
    refused(&["bench", "-6", "--source-ip", "127.0.0.1"], 2, &["different families"]);
    refused(&["probe", "-4", "-6", "localhost"], 2, &["cannot be used with"]);
    refused(&["probe", "fe80::1"], 2, &["fe80::1 is link-local", "fe80::1%eth0"]);
    refused(&["bench", "http://node"], 2, &["`http://node` is not a target"]);
    refused(&["bench", "[::1]:8333", "--source-ip", "127.0.0.1"], 2, &["has only ::1, which"]);
    refused(&["bench", "--source-ip", "::1"], 2, &["127.0.0.1"]);
    refused(&["bench", "--source-ip", "::1", "--source-ip", "127.0.0.1"], 2, &["both families"]);
    refused(&["probe"], 2, &["HOST[:PORT]"]);
    refused(&["serve", "--listen", "localhost"], 2, &["--listen", "`localhost` is not an address with a port"]);
    refused(&["completions", "cmd"], 2, &["bash"]);
    refused(&["run", "--max-peer", "9"], 2, &["--max-peer", "--max-peers"]);
    refused(&["run", "--max-peers", "0"], 2, &["flag --max-peers", "`0` is not a count"]);
    refused(&["run", "--target-peers", "30"], 2, &["flag --target-peers: target_peers must be 1 to max_peers"]);
    refused(&["run", "--log-level", "loud"], 2, &["[possible values: off, error, warn, info, debug, trace]"]);
    refused(&["run", "--network", "bitcoin"], 2, &["[possible values: mainnet, testnet, stn, regtest]"]);
    refused(&["run", "--metrics-addr", "here"], 2, &["`here` is not an address with a port"]);
    refused(&["run", "--config", "/no/such/file"], 2, &["reading the settings in /no/such/file"]);
    refused(&["run", "--book", "/no/such/folder/book"], 1, &["/no/such/folder/book", "create the folder"]);
    refused(&["run", "--book", "/"], 1, &["name a file, not a folder"]);
    refused(&["run", "--max-peers", "16m", "--max-links", "16m"], 3, &["16000096 descriptors", "ulimit -Hn"]);
}

#[test]
fn every_mistake_about_a_test_node_is_reported_in_one_line() {
    refused(&["serve", "--delay", "5"], 2, &["--delay", "write the unit"]);
    refused(&["serve", "--delay", "0"], 2, &["--delay", "`0` delays nothing"]);
    refused(&["serve", "--delay", "-1ms"], 2, &["it cannot be negative"]);
    refused(&["serve", "--delay", "2s..1s"], 2, &["`2s..1s` begins after its end"]);
    refused(&["serve", "--drop", "5"], 2, &["--drop", "`5` is not a share", "5%"]);
    refused(&["serve", "--drop", "-5%"], 2, &["`-5%` is not a share"]);
    refused(&["serve", "--drop", "100%", "--delay", "1ms"], 2, &["--drop 100% answers nothing", "--delay"]);
    refused(&["serve", "--stall", "2s/1s"], 2, &["--stall", "never answers"]);
    refused(&["serve", "--close-after", "0s"], 2, &["--close-after", "longer than zero"]);
    refused(&["serve", "--max-rate", "0"], 2, &["--max-rate", "above zero"]);
    refused(&["serve", "--block-size", "100"], 2, &["--block-size", "143B to 64GiB"]);
    refused(&["serve", "--blocks", "1m"], 2, &["--blocks", "at most 100000 blocks"]);
    refused(&["serve", "--tx", "/no/such/file"], 1, &["reading the transactions in /no/such/file", "in hexadecimal"]);
}

#[test]
fn every_mistake_about_a_book_is_reported_in_one_line() {
    refused(&["peers"], 2, &["requires a subcommand", "list", "export"]);
    refused(&["peers", "lsit"], 2, &["lsit", "list"]);
    refused(&["peers", "list"], 2, &["no address book", "--book", "PEERLOOP_BOOK"]);
    let statuses = "[possible values: unknown, valid, inaccessible, banned]";
    refused(&["peers", "list", "--status", "good"], 2, &[statuses]);
    refused(&["peers", "list", "--book", "/no/such/book"], 1, &["there is no address book /no/such/book"]);
    refused(&["peers", "show", "host", "--book", "b"], 2, &["`host` is not an address"]);
    refused(&["peers", "ban", "host"], 2, &["invalid IP address"]);
    refused(&["peers", "ban", "192.0.2.1", "--for", "5"], 2, &["write the unit"]);
    refused(&["peers", "allow", "192.0.2.0/33"], 2, &["`192.0.2.0/33` is not an address"]);
    refused(&["peers", "import", "/no/such/lines", "--book", "b"], 1, &["reading /no/such/lines"]);
}

#[test]
fn a_public_address_needs_consent_for_more_than_eight_peers() {
    // The address is reserved for documentation (RFC 5737); the program refuses it before it sends a packet.
    refused(&["bench", "203.0.113.1"], 2, &["203.0.113.1:8333", "public", "--yes"]);
    refused(&["bench", "203.0.113.1:9", "-c", "9", "--network", "mainnet"], 2, &["exceed the 8"]);
}

#[test]
fn a_name_that_does_not_resolve_fails_the_run() {
    refused(&["bench", "nohost.invalid"], 1, &["resolving nohost.invalid", "check the name"]);
    refused(&["probe", "nohost.invalid:8333"], 1, &["resolving nohost.invalid"]);
}

#[test]
fn an_impossible_run_is_refused_with_the_reason() {
    refused(&["bench", "-c", "90m"], 3, &["180000032 descriptors", "90000000 peers", "two for each", "ulimit -Hn"]);
    refused(&["bench", "127.0.0.1", "-c", "90m"], 3, &["90000032 descriptors", "one for each"]);
    refused(&["bench", "--source-ip", "203.0.113.9"], 3, &["203.0.113.9", "interfaces"]);
}

#[test]
fn a_file_that_cannot_be_written_is_detected_before_the_run() {
    for flag in ["--json", "--hgrm"] {
        refused(&["bench", flag, "/no/such/folder/result"], 1, &["/no/such/folder/result"]);
        refused(&["bench", flag, "/"], 1, &["opening /"]);
    }
}

#[test]
fn two_outputs_to_the_same_file_are_refused_even_under_different_paths() {
    let folder = folder();
    let (result, dotted) = (folder.file("result"), folder.file("./result"));
    let refused = |json: &str, hgrm: &str, parts: &[&str]| {
        refused(&["bench", "-c", "1", "-d", "1s", "--json", json, "--hgrm", hgrm], 2, parts);
    };
    let expected = ["--hgrm", "and --json", "are the same file; use different files"];
    refused(&result, &result, &expected);
    refused(&result, &dotted, &expected);
    assert!(folder.names().is_empty(), "a created file remained");
    folder.with("result", "kept");
    std::os::unix::fs::symlink(&result, folder.file("link")).expect("the link can be created");
    std::fs::hard_link(&result, folder.file("hard")).expect("the link can be created");
    for other in ["link", "hard", "./result"] {
        refused(&result, &folder.file(other), &expected);
    }
    std::os::unix::fs::symlink(folder.file("none"), folder.file("nowhere")).expect("the link can be created");
    refused(&folder.file("nowhere"), &folder.file("none"), &expected);
    assert_eq!(std::fs::read_to_string(&result).expect("the file exists"), "kept");
    assert_eq!(folder.names(), ["hard", "link", "nowhere", "result"]);
}

#[test]
fn results_never_replace_the_book_the_settings_or_a_redirected_output() {
    let folder = folder();
    let file = folder.with("file", "kept");
    for variable in ["PEERLOOP_BOOK", "PEERLOOP_CONFIG"] {
        let mut run = command(&["bench", "-c", "1", "-d", "1s", "--json", &folder.file("./file")]);
        let output = run.env(variable, &file).output().expect("the program starts");
        let line = String::from_utf8(output.stderr).expect("the text is UTF-8");
        let expected = format!("and the file of variable {variable} are the same file; use different files\n");
        assert!(output.status.code() == Some(2) && line.ends_with(&expected), "{line}");
    }
    let stream = || OpenOptions::new().append(true).open(&file).expect("the file exists");
    let mut run = command(&["bench", "-c", "1", "-d", "1s", "--json", &file]);
    let output = run.stdout(stream()).output().expect("the program starts");
    let line = String::from_utf8(output.stderr).expect("the text is UTF-8");
    let expected = "and standard output are the same file; use different files; use `-` for standard output\n";
    assert!(output.status.code() == Some(2) && line.ends_with(expected), "{line}");
    assert_eq!(std::fs::read_to_string(&file).expect("the file exists"), "kept");
    let mut run = command(&["bench", "-c", "1", "-d", "1s", "--json", &file]);
    assert_eq!(run.stderr(stream()).output().expect("the program starts").status.code(), Some(2));
    let run =
        peerloop(&["bench", "-c", "1", "-d", "100ms", "--warmup", "0s", "--json", "/dev/null", "--hgrm", "/dev/null"]);
    assert_eq!(run.code, Some(0), "a device, which stores nothing, was refused: {}", run.stderr);
}

#[test]
fn a_refused_run_keeps_older_results() {
    let file = ResultFile::new("kept.json");
    std::fs::write(file.path(), "kept").unwrap();
    refused(&["bench", "--json", file.path(), "--hgrm", "/no/such/folder/result"], 1, &["/no/such/folder"]);
    assert_eq!(file.read(), "kept");
}

#[test]
fn help_version_and_completions_are_written_to_stdout() {
    let cases: [(&[&str], &str); 12] = [
        (&[], "Usage: peerloop"),
        (&["--help"], "Exit codes"),
        (&["--version"], concat!("peerloop ", env!("CARGO_PKG_VERSION"))),
        (&["bench", "--help"], "--source-ip"),
        (&["completions", "bash"], "_peerloop"),
        (&["completions", "fish"], "complete -c peerloop"),
        (&["run", "--help"], "--print-config"),
        (&["peers", "--help"], "unban"),
        (&["completions", "bash"], "--metrics-addr"),
        (&["completions", "bash"], "mainnet testnet stn regtest"),
        (&["completions", "zsh"], "(mainnet testnet stn regtest)"),
        (&["completions", "zsh"], "Import peers and bans"),
    ];
    for (arguments, part) in cases {
        let run = peerloop(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
        assert!(!run.stdout.contains('\x1b'), "the output of {arguments:?} has colours");
    }
}
