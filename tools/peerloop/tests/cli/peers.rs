//! `peers`: the book of a stopped node is listed, changed, exported and imported.

use crate::usage::refused;
use crate::{Running, command, folder, peerloop};
use peerloop_testkit::Folder;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const LINES: &str = concat!(
    r#"{"peer":{"address":"192.0.2.7:8333","status":"valid","status_since":1700000000,"#,
    r#""last_connected":1700000000,"services":"33","user_agent":"/Bitcoin SV:1.2.2/","failures":0}}"#,
    "\n",
    r#"{"peer":{"address":"192.0.2.8:8333","status":"unknown","status_since":0,"#,
    r#""last_connected":null,"services":"0","user_agent":"","failures":0}}"#,
    "\n",
    r#"{"ban":{"host":"198.51.100.1","reason":"misbehaviour","since":1700000000,"until":null}}"#,
    "\n"
);

/// Runs `peers` with `arguments`, asserts that it succeeds, and returns its stdout.
#[track_caller]
fn peers(book: &str, arguments: &[&str]) -> String {
    let run = peerloop(&[&["peers", "--book", book], arguments].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    run.stdout
}

/// Creates a book with the content of [`LINES`], and returns its path.
fn filled(folder: &Folder) -> String {
    let (book, lines) = (folder.file("peers.redb"), folder.with("lines", LINES));
    assert_eq!(peers(&book, &["import", &lines]), format!("imported into {book}: peers 2, bans 1\n"));
    book
}

#[test]
fn exported_lines_equal_the_imported_ones() {
    let folder = folder();
    let book = filled(&folder);
    assert_eq!(peers(&book, &["export"]), LINES);
    let (copy, lines) = (folder.file("copy.redb"), folder.with("again", &peers(&book, &["export"])));
    peers(&copy, &["import", &lines]);
    peers(&copy, &["import", &lines]);
    assert_eq!(peers(&copy, &["export"]), LINES);
}

#[test]
fn a_list_can_be_filtered_by_status_and_printed_as_json() {
    let folder = folder();
    let book = filled(&folder);
    let list = peers(&book, &["list"]);
    assert!(list.contains("192.0.2.7:8333") && list.contains("192.0.2.8:8333"), "{list}");
    assert!(list.ends_with("banned 198.51.100.1 for ever: it misbehaved\npeers 2, bans 1\n"), "{list}");
    let valid = peers(&book, &["list", "--status", "valid"]);
    assert!(valid.contains("192.0.2.7:8333") && valid.ends_with("\npeers 1, bans 0\n"), "{valid}");
    let json: serde_json::Value = serde_json::from_str(&peers(&book, &["list", "--json"])).expect("the output is JSON");
    assert_eq!(json["peers"][0]["user_agent"], "/Bitcoin SV:1.2.2/");
    assert_eq!(json["bans"][0]["host"], "198.51.100.1");
    assert_eq!(peers(&book, &["show", "192.0.2.7:8333"]), peers(&book, &["show", "192.0.2.7"]));
    refused(&["peers", "show", "192.0.2.7:1", "--book", &book], 1, &["does not list 192.0.2.7:1"]);
}

#[test]
fn a_ban_applies_to_its_hosts_peers_until_it_is_lifted() {
    let folder = folder();
    let book = filled(&folder);
    assert!(peers(&book, &["ban", "192.0.2.7", "--for", "1h"]).starts_with("banned 192.0.2.7 until 2"));
    assert!(peers(&book, &["list", "--status", "banned"]).contains("192.0.2.7:8333"));
    let shown = peers(&book, &["show", "192.0.2.7"]);
    assert!(
        shown.contains("status          banned: by hand") && shown.contains("banned          192.0.2.7"),
        "{shown}"
    );
    peers(&book, &["unban", "192.0.2.7"]);
    assert!(peers(&book, &["list", "--status", "unknown"]).contains("192.0.2.7:8333"));
    refused(&["peers", "unban", "192.0.2.7", "--book", &book], 1, &["192.0.2.7 is not banned"]);
    let banned = r#"{"peer":{"address":"192.0.2.7:1","status":"banned","reason":"misbehaviour"}}"#;
    peers(&book, &["import", &folder.with("peer-alone", banned)]);
    peers(&book, &["unban", "192.0.2.7"]);
    assert_eq!(
        peers(&book, &["list", "--status", "banned"]),
        "peers 0, bans 0\n",
        "an imported peer stays banned although its host has no ban"
    );
    assert_eq!(peers(&book, &["ban", "2001:db8:0:1::5"]), "banned 2001:db8:0:1::/64 for ever\n");
}

#[test]
fn one_invalid_line_prevents_the_whole_import() {
    let folder = folder();
    let (book, lines) = (folder.file("peers.redb"), folder.with("lines", &format!("{LINES}nonsense\n")));
    refused(&["peers", "import", &lines, "--book", &book], 1, &["lines:4: expected", "nothing was imported"]);
    assert!(!Path::new(&book).exists());
}

#[test]
fn a_file_that_is_not_a_book_stays_unchanged() {
    let folder = folder();
    let book = folder.with("list", "my shopping list");
    for arguments in [&["list"][..], &["ban", "192.0.2.1"], &["export"], &["import", &folder.with("lines", LINES)]] {
        refused(&[&["peers", "--book", &book], arguments].concat(), 1, &["is not an address book; it was not changed"]);
    }
    assert_eq!(fs::read_to_string(&book).unwrap(), "my shopping list");
    assert_eq!(folder.names(), ["lines", "list"]);
}

#[test]
fn a_read_only_book_is_listed_shown_and_exported() {
    let folder = folder();
    let book = filled(&folder);
    fs::remove_file(format!("{book}.lock")).expect("the lock file exists");
    let bytes = fs::read(&book).expect("the book was filled");
    fs::set_permissions(&book, Permissions::from_mode(0o400)).expect("the file is ours");
    fs::set_permissions(folder.file(""), Permissions::from_mode(0o500)).expect("the folder is ours");
    assert_eq!(peers(&book, &["export"]), LINES);
    assert!(peers(&book, &["list"]).ends_with("peers 2, bans 1\n"));
    assert!(peers(&book, &["show", "192.0.2.7"]).contains("192.0.2.7:8333"));
    fs::set_permissions(folder.file(""), Permissions::from_mode(0o700)).expect("the folder is ours");
    assert!(fs::read(&book).expect("the file exists") == bytes);
    assert_eq!(folder.names(), ["lines", "peers.redb"]);
}

/// Creates a book that lacks the second half of its bytes, and returns its path.
fn damaged(folder: &Folder) -> String {
    let whole = fs::read(filled(folder)).expect("the book was filled");
    let book = folder.file("damaged");
    fs::write(&book, &whole[..whole.len() / 2]).expect("the folder exists");
    book
}

#[test]
fn every_command_reports_an_unusable_book_in_one_line() {
    let folder = folder();
    let lines = folder.with("lines", LINES);
    let (missing, pipe, locked) = (folder.file("missing"), folder.file("pipe"), filled(&folder));
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts");
    assert!(made.success());
    let books = vec![
        (folder.file(""), &["name a file, not a folder"][..]),
        (pipe, &["use an ordinary file"]),
        (missing, &["there is no address book", "`run --book` creates one"]),
        (damaged(&folder), &["cannot be used: it is damaged", "it was not changed"]),
    ];
    for (book, parts) in &books {
        for arguments in [
            &["list", "--json"][..],
            &["list", "--status", "valid"],
            &["show", "192.0.2.7", "--json"],
            &["ban", "192.0.2.7"],
            &["unban", "192.0.2.7"],
            &["export"],
        ] {
            refused(&[&["peers", "--book", book], arguments].concat(), 1, parts);
        }
    }
    // `import` creates the missing book, so that book is not tried.
    for (book, parts) in books.iter().filter(|(book, _)| fs::metadata(book).is_ok()) {
        refused(&["peers", "--book", book, "import", &lines], 1, parts);
    }
    assert!(!Path::new(&folder.file("damaged.set-aside-1")).exists(), "a command other than `run` set a book aside");
    fs::set_permissions(&locked, Permissions::from_mode(0o400)).expect("the file is ours");
    // A user with all permissions can still write to the book.
    if OpenOptions::new().write(true).open(&locked).is_err() {
        for arguments in [&["ban", "192.0.2.7"][..], &["unban", "192.0.2.7"], &["import", &lines]] {
            let parts = ["Permission denied", "allow this process to write the file"];
            refused(&[&["peers", "--book", &locked], arguments].concat(), 1, &parts);
        }
    }
}

#[test]
fn a_hundred_thousand_lines_are_imported_and_exported() {
    let folder = folder();
    let lines = |count: u32, line: &dyn Fn(u32) -> String| -> String { (0..count).map(line).collect() };
    let peer = |at: u32| format!("{{\"peer\":{{\"address\":\"10.{}.{}.1:8333\"}}}}\n", at >> 8, at & 255);
    let ban =
        |at: u32| format!("{{\"ban\":{{\"host\":\"11.{}.{}.1\",\"since\":0,\"until\":null}}}}\n", at >> 8, at & 255);
    let book = folder.file("peers.redb");
    let full = lines(65_536, &peer) + &lines(34_464, &ban);
    let printed = peers(&book, &["import", &folder.with("lines", &full)]);
    assert_eq!(printed, format!("imported into {book}: peers 65536, bans 34464\n"));
    assert_eq!(peers(&book, &["export"]).lines().count(), 100_000);
    let json: serde_json::Value = serde_json::from_str(&peers(&book, &["list", "--json"])).expect("the output is JSON");
    let len = |name: &str| json[name].as_array().map(Vec::len);
    assert_eq!((len("peers"), len("bans")), (Some(65_536), Some(34_464)));
    let too_many = folder.with("too-many", &(lines(65_536, &peer) + &peer(0)));
    let parts =
        ["too-many:65537: there are more than 65536 peers, the most that a book can hold", "nothing was imported"];
    refused(&["peers", "import", &too_many, "--book", &book], 1, &parts);
    let mut list = Running::start(&["peers", "--book", &book, "list"]);
    list.greeting();
    list.close_stdout();
    let ended = list.finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn json_is_valid_for_an_empty_book_and_for_unusual_user_agents() {
    let folder = folder();
    let book = folder.file("peers.redb");
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&peers(&book, arguments)).expect("the output is JSON")
    };
    peers(&book, &["import", &folder.with("empty", "")]);
    let (nothing, quotes) = (serde_json::json!({ "peers": [], "bans": [] }), r#"/\"\\\u0000\u2028\u00e9/"#);
    assert_eq!(json(&["list", "--json"]), nothing);
    let peer = format!("{{\"peer\":{{\"address\":\"[2001:db8::1]:8333\",\"user_agent\":\"{quotes}\"}}}}\n");
    peers(&book, &["import", &folder.with("odd", &peer)]);
    peers(&book, &["ban", "2001:db8::2"]);
    assert_eq!(json(&["list", "--json", "--status", "valid"]), nothing);
    let shown = json(&["show", "2001:db8::3", "--json"]);
    assert_eq!(shown, json(&["list", "--json"]));
    assert_eq!((&shown["peers"][0]["status"], &shown["bans"][0]["host"]), (&"banned".into(), &"2001:db8::/64".into()));
    assert!(shown["peers"][0]["user_agent"].as_str().is_some_and(|agent| agent.starts_with("/\"\\")), "{shown}");
    for line in peers(&book, &["export"]).lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("the output is JSON");
    }
}

#[test]
fn the_setting_that_allow_prints_can_be_used_as_the_configuration() {
    let folder = folder();
    let before = folder.with("node.toml", "trusted = ['10.0.0.0/8']\n");
    let run = peerloop(&["peers", "allow", "192.0.2.1", "--config", &before]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.ends_with("\ntrusted = [\"10.0.0.0/8\", \"192.0.2.1/32\"]\n"), "{}", run.stdout);
    let after = folder.with("after.toml", &run.stdout);
    let again = peerloop(&["peers", "allow", "192.0.2.1", "--config", &after]);
    assert_eq!(again.stdout, run.stdout);
}

#[test]
fn the_book_can_be_named_by_the_environment_and_by_a_configuration_file() {
    let folder = folder();
    let book = filled(&folder);
    let settings = folder.with("node.toml", &format!("book = '{book}'\n"));
    for (name, value) in [("PEERLOOP_BOOK", &book), ("PEERLOOP_CONFIG", &settings)] {
        let output = command(&["peers", "export"]).env(name, value).output().expect("the program starts");
        assert_eq!(output.stdout, LINES.as_bytes(), "{name}");
    }
    assert_eq!(peerloop(&["peers", "export", "--config", &settings]).stdout, LINES);
}
