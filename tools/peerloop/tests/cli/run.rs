//! `run`: the node dials its peers, reports events, applies new settings, and maintains its book.

use crate::usage::refused;
use crate::{Running, command, folder, peerloop};
#[cfg(target_os = "linux")]
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Starts a node on regtest that dials only `peers`, and returns it with its first two lines of output.
fn node(peers: &[&str], arguments: &[&str]) -> (Running, String) {
    let fixed: Vec<String> = peers.iter().map(|peer| format!("--fixed-peers={peer}")).collect();
    let fixed = fixed.iter().map(String::as_str);
    let command: Vec<&str> = ["run", "--network", "regtest", "--dns-seeds="]
        .into_iter()
        .chain(fixed)
        .chain(arguments.iter().copied())
        .collect();
    let mut node = Running::start(&command);
    let greeting = node.greeting() + &node.greeting();
    let wanted = format!("running on regtest  {} fixed, maximum 20 peers\n", peers.len());
    assert!(greeting.starts_with(&wanted), "{greeting}");
    (node, greeting)
}

/// Returns the address on which the node listens.
fn listening(node: &mut Running) -> String {
    let line = node.wait_for_part("event=listener_bound");
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("listen_address="));
    address.unwrap_or_else(|| panic!("no address in {line}")).to_owned()
}

#[test]
fn the_node_dials_its_peers_and_ends_with_a_summary() {
    let (server, address) = Running::serve(&["-q"]);
    for signal in ["INT", "TERM"] {
        let (mut node, greeting) = node(&[&address], &[]);
        assert!(greeting.contains("no book: peers and bans are lost at exit; --book FILE"), "{greeting}");
        let line = node.wait_for_part("event=handshake_complete");
        assert!(line.contains(&format!("peer_address={address} connection_type=outbound")), "{line}");
        node.signal(signal);
        let ended = node.finish();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(&format!("info  SIG{signal}: closing peers; send it again to exit at once")),
            "{}",
            ended.stderr
        );
        assert!(ended.stdout.contains(": 1 dialled, 0 accepted, 1 handshakes, in "), "{}", ended.stdout);
    }
    drop(server);
}

#[test]
fn the_node_dials_a_peer_by_its_name() {
    let (server, address) = Running::serve(&["-q"]);
    let port = address.rsplit_once(':').expect("the address has a port").1;
    let name = format!("localhost:{port}");
    let (mut node, _) = node(&[&name], &[]);
    let line = node.wait_for_part("event=seed_resolved");
    assert!(line.contains(&format!("detail=\"{name} has ")), "{line}");
    let line = node.wait_for_part("event=handshake_complete");
    assert!(line.contains(&format!("peer_address={address} connection_type=outbound")), "{line}");
    node.signal("TERM");
    assert_eq!(node.finish().code, Some(0));
    drop(server);
}

#[test]
fn a_second_signal_ends_the_node_at_once() {
    for has_book in [true, false] {
        end_at_once(has_book);
    }
}

fn end_at_once(has_book: bool) {
    let folder = folder();
    let book = folder.file("peers.redb");
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--log-level", "debug"];
    if has_book {
        arguments.extend(["--book", &book]);
    }
    let (mut node, _) = node(&["127.0.0.1:1"], &arguments);
    // After the first signal the node waits for this peer, because the peer does not close its side.
    let silent = TcpStream::connect(listening(&mut node)).expect("the node listens");
    node.wait_for_part("event=connection_established");
    node.signal("INT");
    node.wait_for_part("SIGINT: closing");
    // An earlier signal would count as a repetition of the first.
    std::thread::sleep(Duration::from_millis(150));
    node.signal("TERM");
    let ended = node.finish();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(143), ""), "{}", ended.stderr);
    let expected = if has_book { "; the book may lack the latest changes" } else { "" };
    assert_eq!(ended.complaint(), format!("peerloop: stopped at once{expected}"));
    drop(silent);
}

#[test]
fn a_node_that_neither_dials_nor_listens_prints_a_warning() {
    let folder = folder();
    let book = folder.file("peers.redb");
    let alone = |has: &str| format!("no peers to dial: {has} no seeds; use --fixed-peers or --listen\n");
    for (arguments, expected) in [
        (&["--network", "regtest"][..], Some(alone("regtest has"))),
        (&["--dns-seeds="], Some(alone("the settings have"))),
        (&["--network", "regtest", "--book", &book], Some(alone("regtest has"))),
        (&["--network", "regtest", "--listen", "127.0.0.1:0"], None),
        (&["--network", "regtest", "--fixed-peers", "127.0.0.1:1"], None),
    ] {
        let mut node = Running::start(&[&["run"], arguments].concat());
        let first = node.greeting();
        let wanted = if first.contains("fixed") { "1 fixed" } else { "target 8" };
        assert!(first.ends_with(&format!("  {wanted}, maximum 20 peers\n")), "{first}");
        node.greeting();
        // The node is ready for signals before it prints the greeting.
        node.signal("TERM");
        let ended = node.finish();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let has_warning = expected.as_ref().is_some_and(|expected| ended.stdout.starts_with(expected));
        assert_eq!(
            (ended.stdout.contains("no peers to dial"), has_warning),
            (expected.is_some(), expected.is_some()),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn req_e45_a_sighup_makes_the_node_read_its_settings_again() {
    let folder = folder();
    let settings = folder.with("node.toml", "network = 'regtest'\nfixed_peers = ['127.0.0.1:1']\n");
    let mut node = Running::start(&["run", "--config", &settings, "--ping-interval", "7s"]);
    node.greeting();
    node.wait_for_part("event=connection_failed");
    folder.with(
        "node.toml",
        "network = 'regtest'\nfixed_peers = ['127.0.0.1:1']\nmax_peers = 30\nping_interval = '9s'\n",
    );
    node.signal("HUP");
    let line = node.wait_for_part("SIGHUP: ");
    assert!(line.ends_with("info  SIGHUP: max_peers from 20 to 30, for new connections\n"), "{line}");
    for (text, expected) in [
        ("network = 'regtest'\nmax_peers = 0", "error SIGHUP: "),
        ("network = 'testnet'", "error SIGHUP: configuration: a running loop cannot change network"),
        ("network = 'regtest'\nfixed_peers = ['127.0.0.1:1']\nmax_peers = 30", "info  SIGHUP: no setting has changed"),
        (
            "network = 'regtest'\nfixed_peers = ['127.0.0.1:1']\nmax_peers = 30\nbook = 'other'",
            "info  SIGHUP: book changes when the node is restarted",
        ),
        (
            "network = 'regtest'\nfixed_peers = ['127.0.0.1:1']\nmax_peers = '16m'\nmax_links = '16m'",
            "error SIGHUP: 16000096 descriptors are needed for 16000000 peers (one for each, plus 96 for the process)",
        ),
        ("network = 'regtest'\nping_intervall = '9s'", "node.toml:2: there is no setting `ping_intervall`"),
    ] {
        folder.with("node.toml", text);
        node.signal("HUP");
        let line = node.wait_for_part("SIGHUP: ");
        assert!(line.contains(expected), "{line}");
        assert_eq!(line.contains("nothing has changed"), line.contains(" error "), "{line}");
    }
    std::fs::remove_file(&settings).expect("the file exists");
    node.signal("HUP");
    let line = node.wait_for_part("SIGHUP: ");
    for part in [" error SIGHUP: flag --config: reading the settings in ", "--print-config", "nothing has changed"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    node.signal("TERM");
    let ended = node.finish();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("config_updated"), "the log reports the reload twice: {}", ended.stderr);
}

#[test]
fn a_settings_file_that_blocks_delays_no_signal() {
    let folder = folder();
    let pipe = folder.file("node.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts").success());
    let write = |text: &str| {
        // Opening the pipe blocks until the node reads.
        let mut file = OpenOptions::new().write(true).open(&pipe).expect("the file exists");
        file.write_all(text.as_bytes()).expect("the node reads");
    };
    let mut node = Running::start(&["run", "--config", &pipe]);
    write("network = 'regtest'\nlisten = ['127.0.0.1:0']\n");
    listening(&mut node);
    node.signal("HUP");
    // The node starts to read the pipe within this time.
    std::thread::sleep(Duration::from_millis(150));
    node.signal("TERM");
    let ended = node.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("SIGTERM: closing"), "{}", ended.stderr);
}

#[test]
fn a_sighup_without_a_settings_file_is_reported() {
    let (mut node, _) = node(&["127.0.0.1:1"], &[]);
    node.wait_for_part("event=connection_failed");
    node.signal("HUP");
    let line = node.wait_for_part("SIGHUP: ");
    assert!(
        line.ends_with("no setting has changed: there is no settings file to read again; name one with --config\n"),
        "{line}"
    );
    node.signal("TERM");
    assert_eq!(node.finish().code, Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_sighup_ends_the_node_only_if_its_terminal_is_closed() {
    let run = ["run", "--network", "regtest", "--fixed-peers", "127.0.0.1:1"];
    end_with_terminal(&run, "SIGHUP: no setting has changed", ["ran ", " dialled"]);
    let pipe = ["relay", "--network", "regtest", "--pipe", "127.0.0.1:1", "127.0.0.1:2"];
    end_with_terminal(&pipe, "SIGHUP: a pipe reads no settings again", ["relayed ", "A to B"]);
}

fn end_with_terminal(arguments: &[&str], expected: &str, summary: [&str; 2]) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).expect("the system has terminals");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("the terminal is ours");
    let name = ptsname(&terminal, Vec::new()).expect("the terminal has a name");
    let name = name.to_str().expect("the text is UTF-8");
    let shown = OpenOptions::new().write(true).open(name).expect("the file exists");
    let mut run = command(arguments);
    let mut node = run.stdout(Stdio::piped()).stderr(shown).spawn().expect("the program starts");
    drop(run);
    let mut stdout = BufReader::new(node.stdout.take().expect("the stream is piped"));
    // The node is ready for signals before it prints the greeting.
    stdout.read_line(&mut String::new()).expect("the output can be read");
    let hang_up = || {
        let kill = Command::new("kill").args(["-HUP", &node.id().to_string()]).status().expect("kill starts");
        assert!(kill.success());
    };
    hang_up();
    let mut shown = BufReader::new(File::from(terminal));
    let mut line = String::new();
    while !line.contains(expected) {
        line.clear();
        shown.read_line(&mut line).expect("the node keeps running");
    }
    drop(shown);
    hang_up();
    let ended = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        node.try_wait().expect("the process is our child")
    });
    node.kill().expect("the process is our child");
    assert_eq!(ended.expect("the node has ended").code(), Some(0));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the output can be read");
    assert!(summary.iter().all(|part| rest.contains(part)), "{rest}");
}

#[test]
fn a_mistake_in_a_setting_is_reported_with_its_source() {
    let folder = folder();
    let refused = |text: &str, variables: &[(&str, &str)], flags: &[&str]| {
        let settings = folder.with("node.toml", text);
        let mut run = command(&[&["run", "--print-config", "--config", &settings], flags].concat());
        let output = run.envs(variables.iter().copied()).output().expect("the program starts");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{text} {variables:?} {flags:?}");
        let line = String::from_utf8(output.stderr).expect("the text is UTF-8");
        assert_eq!(line.lines().count(), 1, "{line}");
        line.replace(&settings, "node.toml")
    };
    for (text, variables, flags, expected) in [
        ("colour = 1", &[][..], &[][..], "node.toml:1: there is no setting `colour`; --print-config lists all"),
        ("max_peers = true", &[], &[], "node.toml:1: max_peers: `true` is not a count: use a whole number above zero"),
        ("", &[("PEERLOOP_MAX_PEERS", "0")], &[], "variable PEERLOOP_MAX_PEERS: max_peers: `0` is not a count"),
        ("", &[("PEERLOOP_MAXPEERS", "1")], &[], "there is no such setting; did you mean PEERLOOP_MAX_PEERS?"),
        ("", &[], &["--max-peers", "1", "--max-peers", "2"], "'--max-peers <N>' cannot be used multiple times"),
        ("max_peers = 5", &[], &[], "target_peers is 8 (default); max_peers is 5 (node.toml:1)"),
        ("", &[("PEERLOOP_DEFAULT_PORT", "0")], &[], "PEERLOOP_DEFAULT_PORT: default_port must be 1 to 65,535"),
    ] {
        let line = refused(text, variables, flags);
        assert!(line.contains(expected), "{expected}: {line}");
    }
    let nowhere = command(&["run"]).env("PEERLOOP_CONFIG", "/no/such/file").output().expect("the program starts");
    let line = String::from_utf8(nowhere.stderr).expect("the text is UTF-8");
    assert!(line.starts_with("peerloop: variable PEERLOOP_CONFIG: reading the settings in /no/such/file: "), "{line}");
    assert_eq!(nowhere.status.code(), Some(2));
}

#[test]
fn req_e38_a_ban_holds_after_a_restart_until_it_is_lifted() {
    let folder = folder();
    let book = folder.file("peers.redb");
    let listen = ["--book", &book, "--listen", "127.0.0.1:0"];
    // The fixed peer has no listener; whether the node dials it does not matter.
    let is_let_in = |is_let_in: bool| {
        let (mut node, greeting) = node(&["127.0.0.2:1"], &listen);
        let address = listening(&mut node);
        let probe = peerloop(&["probe", &address, "--network", "regtest"]);
        assert_eq!(probe.code, Some(i32::from(!is_let_in)), "{}{}", probe.stdout, probe.stderr);
        for command in [&["list", "--json"][..], &["show", "127.0.0.1"], &["ban", "127.0.0.1"], &["export"]] {
            let command = [&["peers", "--book", &book], command].concat();
            refused(&command, 1, &["in use by a running node; stop it first"]);
        }
        node.signal("TERM");
        assert_eq!(node.finish().code, Some(0));
        greeting
    };
    let peers = |arguments: &[&str]| {
        let run = peerloop(&[&["peers", "--book", &book], arguments].concat());
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        run.stdout
    };
    assert!(is_let_in(true).contains("peers 0, bans 0"));
    assert_eq!(peers(&["ban", "127.0.0.1"]), "banned 127.0.0.1 for ever\n");
    assert!(is_let_in(false).contains(", bans 1"));
    assert!(is_let_in(false).contains(", bans 1"));
    assert!(peers(&["list"]).contains("banned 127.0.0.1 for ever: by hand"));
    assert_eq!(peers(&["unban", "127.0.0.1"]), "127.0.0.1 is no longer banned\n");
    assert!(is_let_in(true).contains(", bans 0"));
}

#[test]
fn a_file_that_is_not_a_book_is_refused_and_unchanged() {
    let folder = folder();
    let book = folder.with("list", "my shopping list");
    let run = peerloop(&["run", "--network", "regtest", "--book", &book]);
    let why = "it is not an address book; it was not changed; move it away, or use another";
    let expected = format!("peerloop: the address book {book} cannot be used: {why}\n");
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(1), "", expected.as_str()));
    assert_eq!(std::fs::read_to_string(&book).unwrap(), "my shopping list");
    assert_eq!(folder.names(), ["list"]);
}

#[test]
fn a_damaged_book_is_kept_and_reported() {
    let folder = folder();
    let (book, lines) = (folder.file("peers.redb"), folder.with("lines", ""));
    assert_eq!(peerloop(&["peers", "--book", &book, "import", &lines]).code, Some(0));
    let whole = std::fs::read(&book).expect("the book exists");
    let spoilt = &whole[..whole.len() / 2];
    std::fs::write(&book, spoilt).expect("the file is ours");
    let (node, _) = node(&["127.0.0.1:1"], &["--book", &book]);
    node.signal("TERM");
    let ended = node.finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.complaint().contains("could not be used: it is damaged: "), "{}", ended.stderr);
    assert!(ended.complaint().contains("; it is kept as "), "{}", ended.stderr);
    assert!(std::fs::read(folder.file("peers.redb.set-aside-1")).unwrap() == spoilt);
}

/// Returns a command that runs the program under a limit: each file that it writes may have at most `blocks` blocks
/// of 512 bytes.
fn under_a_limit_of_blocks(blocks: &str, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_peerloop")]).args(arguments).stdin(Stdio::null());
    shell
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_whose_book_cannot_be_written_at_the_end_fails_and_reports_the_loss() {
    let folder = folder();
    let (book, lines) = (folder.file("peers.redb"), folder.with("lines", ""));
    assert_eq!(peerloop(&["peers", "--book", &book, "import", &lines]).code, Some(0));
    let settings = folder.with("node.toml", "network = 'regtest'\nlisten = ['127.0.0.1:0']\n");
    let arguments = ["run", "--book", &book, "--config", &settings];
    let mut node = Running::spawn(under_a_limit_of_blocks("unlimited", &arguments));
    listening(&mut node);
    // From here on every write of the process to a file fails.
    let process = i32::try_from(node.child.id()).expect("a process id fits an i32");
    rlimit::prlimit(process, rlimit::Resource::FSIZE, Some((0, 0)), None).expect("the limit can be lowered");
    // The node connects to a peer that the book would store.
    let (server, address) = Running::serve(&["-q"]);
    folder.with("node.toml", &format!("network = 'regtest'\nlisten = ['127.0.0.1:0']\nfixed_peers = ['{address}']\n"));
    node.signal("HUP");
    node.wait_for_part("event=book_failing");
    node.signal("TERM");
    let ended = node.finish();
    assert_eq!((ended.code, ended.stdout.contains("ran ")), (Some(1), false), "{}", ended.stderr);
    let line = ended.complaint();
    assert!(line.starts_with("peerloop: writing the book at the end: ") && line.contains("File too large"), "{line}");
    assert!(line.ends_with("; the changes to 0 bans and 1 peer are lost"), "{line}");
    drop(server);
}

#[cfg(target_os = "linux")]
#[test]
fn a_book_that_cannot_be_created_or_filled_is_removed() {
    let folder = folder();
    let book = folder.file("peers.redb");
    let peer = |at: u32| format!("{{\"peer\":{{\"address\":\"10.{}.{}.1:8333\"}}}}\n", at >> 8, at & 255);
    let lines = folder.with("lines", &(0..20_000).map(peer).collect::<String>());
    for (blocks, expected) in [("8", "creating the address book"), ("1000", "nothing was imported")] {
        let mut import = under_a_limit_of_blocks(blocks, &["peers", "--book", &book, "import", &lines]);
        let output = import.output().expect("a shell starts");
        let line = String::from_utf8(output.stderr).expect("the text is UTF-8");
        assert!(output.status.code() == Some(1) && line.contains(expected), "{blocks}: {line}");
        assert_eq!(folder.names(), ["lines", "peers.redb.lock"], "{blocks}");
    }
}

#[test]
fn req_e47_the_metrics_can_be_scraped() {
    let (server, address) = Running::serve(&["-q"]);
    let (mut node, greeting) = node(&[&address], &["--metrics-addr", "127.0.0.1:0", "--ping-interval", "10ms"]);
    let line = greeting + &node.greeting();
    let url =
        line.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("the greeting has the address");
    let (metrics_addr, path) = url.split_at(url.find('/').expect("the URL has a path"));
    assert_eq!(path, "/metrics");
    node.wait_for_part("event=handshake_complete");
    let samples = scrape(metrics_addr);
    for (name, value) in [
        ("peerloop_peers{network=\"regtest\"}", 1.0),
        ("peerloop_handshakes_total{network=\"regtest\"}", 1.0),
        ("peerloop_dialled_connections_total{network=\"regtest\"}", 1.0),
        ("peerloop_connections{network=\"regtest\",direction=\"outbound\",state=\"connected\"}", 1.0),
        ("peerloop_messages_total{network=\"regtest\",command=\"verack\",direction=\"received\"}", 1.0),
        ("peerloop_handshake_seconds_bucket{network=\"regtest\",le=\"+Inf\"}", 1.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}");
    }
    assert!(samples["peerloop_traffic_bytes_total{network=\"regtest\",direction=\"sent\"}"] > 100.0);
    let plain = get(metrics_addr, "GET", "text/plain");
    assert!(plain.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{plain}");
    assert!(plain.contains("\n# TYPE peerloop_handshakes_total counter\npeerloop_handshakes_total{"), "{plain}");
    let (head, body) = plain.split_once("\r\n\r\n").expect("the reply has a head");
    let only_head = get(metrics_addr, "HEAD", "text/plain");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.ends_with('\n'), "{plain}");
    assert!(only_head.starts_with("HTTP/1.1 200 OK\r\n") && only_head.ends_with("\r\n\r\n"), "{only_head}");
    // Idle clients do not delay others.
    let idle: Vec<TcpStream> = (0..99).map(|_| TcpStream::connect(metrics_addr).expect("the node listens")).collect();
    assert_eq!(scrape(metrics_addr)["peerloop_peers{network=\"regtest\"}"], 1.0);
    drop(idle);
    let rtt = |name: &str| scrape(metrics_addr)[&format!("peerloop_ping_rtt_seconds_{name}{{network=\"regtest\"}}")];
    while rtt("count") < 2.0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(rtt("sum") > 0.0);
    let taken = peerloop(&["run", "--network", "regtest", "--metrics-addr", metrics_addr]);
    assert_eq!(taken.code, Some(1));
    assert!(taken.complaint().contains("--metrics-addr"), "{}", taken.complaint());
    node.signal("TERM");
    assert_eq!(node.finish().code, Some(0));
    drop(server);
}

/// Returns the whole reply to a request.
fn get(address: &str, method: &str, accept: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("the node listens");
    let request = format!("{method} http://{address}/metrics HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("the node reads");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("the server replies and closes");
    text
}

/// Requests the metrics as OpenMetrics, and returns each sample's value by its name and labels.
pub(crate) fn scrape(address: &str) -> BTreeMap<String, f64> {
    let text = get(address, "GET", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5");
    let (head, body) = text.split_once("\r\n\r\n").expect("the reply has a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("openmetrics-text"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in `{line}`"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number in `{line}`")))
    };
    body.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

#[test]
fn printed_settings_are_accepted_as_settings() {
    let folder = folder();
    let given = ["--max-peers", "30", "--listen", "127.0.0.1:8333", "--book", "b \"c\".redb", "--log-level", "warn"];
    let first = peerloop(&[&["run", "--print-config"], &given[..]].concat());
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    assert!(first.stdout.contains("max_peers = 30 # flag --max-peers\n"), "{}", first.stdout);
    let file = folder.with("node.toml", &first.stdout);
    let second = peerloop(&["run", "--print-config", "--config", &file]);
    assert_eq!((second.code, second.stderr.as_str()), (Some(0), ""));
    assert!(second.stdout.contains(&format!("max_peers = 30 # {file}:")), "{}", second.stdout);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit_once(" # ").map_or(line, |(value, _)| value).to_owned()).collect()
    };
    assert_eq!(values(&first.stdout), values(&second.stdout));
}

#[test]
fn printed_settings_change_nothing_in_a_running_node() {
    let folder = folder();
    let given = ["--network", "regtest", "--fixed-peers", "127.0.0.1:1", "--ping-interval", "90s"];
    let file = folder.with("node.toml", "");
    let mut node = Running::start(&[&["run", "--config", &file], &given[..]].concat());
    node.wait_for_part("event=connection_failed");
    folder.with("node.toml", &peerloop(&[&["run", "--print-config"], &given[..]].concat()).stdout);
    node.signal("HUP");
    let line = node.wait_for_part("SIGHUP: ");
    assert!(line.ends_with("info  SIGHUP: no setting has changed\n"), "{line}");
    node.signal("TERM");
    assert_eq!(node.finish().code, Some(0));
}
