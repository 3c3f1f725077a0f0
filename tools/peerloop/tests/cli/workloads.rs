//! `bench --workload`: each workload against `serve`. Counts are exact, and nothing here depends on time.

use crate::scripted::Peer;
use crate::serving::{connect, hashes};
use crate::{ResultFile, Running, peerloop};
use peerloop::wire::{Hash256, InventoryItem, TxRef};
use peerloop_testkit::bytes::hex;
use serde_json::Value;

/// Runs a workload against a node, and returns the exit code, the text and the document.
fn run(name: &str, workload: &str, address: &str, more: &[&str]) -> (Option<i32>, String, Value) {
    let file = ResultFile::new(name);
    let flags = ["bench", address, "--network", "regtest", "--workload", workload, "-r", "200"];
    // On a slow machine, all connections of a load may be open at the same time.
    let opens_connections = ["connect", "handshake", "churn"].iter().any(|kind| workload.starts_with(kind));
    let peers = match more.contains(&"-c") {
        true => &[][..],
        false => &["-c", if opens_connections { "100" } else { "10" }],
    };
    let shape = ["-d", "500ms", "--warmup", "0s", "--connect-rate", "1k", "-q", "--json", file.path()];
    let run = peerloop(&[&flags[..], peers, &shape, more].concat());
    (run.code, run.stdout + &run.stderr, file.json())
}

fn number(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer}: {json}"))
}

/// Returns the document's metric with this name.
#[track_caller]
fn metric<'a>(json: &'a Value, name: &str) -> &'a Value {
    let metrics = json["metrics"].as_array().expect("the metrics are a list");
    let mut named = metrics.iter().filter(|metric| metric["name"] == name);
    let (Some(metric), None) = (named.next(), named.next()) else { panic!("not one metric {name}: {json}") };
    metric
}

#[test]
fn each_workload_measures_its_own_metrics_against_a_node() {
    let (node, address) = Running::serve(&["-q", "--blocks", "20", "--block-size", "1KiB"]);
    for (workload, noun, metrics) in [
        ("ping", "pings", &["ping_rtt"][..]),
        ("inv", "announcements", &["inv_getdata"]),
        ("headers", "requests", &["headers_fetch"]),
        ("block:1KiB", "requests", &["block_fetch", "block_first_bytes"]),
        ("connect", "connections", &["connect"]),
        ("handshake", "handshakes", &["handshake", "connect"]),
        ("churn:10ms", "connections", &["handshake", "connect"]),
    ] {
        let name = format!("workload-{}.json", &workload[..2]);
        let (code, text, json) = run(&name, workload, &address, &[]);
        assert_eq!(code, Some(0), "{workload}: {text}");
        assert_eq!((json["config"]["workload"].as_str(), number(&json, "/counts/planned")), (Some(workload), 100));
        assert_eq!((number(&json, "/counts/answered"), number(&json, "/counts/lost")), (100, 0), "{workload}: {text}");
        for of in metrics {
            let found = metric(&json, of);
            assert_eq!(found["work"]["answered"], 100, "{workload} {of}");
            for view in ["planned", "sent"] {
                assert_eq!(
                    (&found[view]["count"], &found[view]["failed"]),
                    (&100.into(), &0.into()),
                    "{workload} {of}"
                );
            }
        }
        assert!(text.contains(&format!("of 100 {noun} answered")) && text.contains(metrics[0]), "{workload}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    node.signal("TERM");
    let served = node.finish().stdout;
    assert!(served.contains("headers messages "), "{served}");
}

#[test]
fn the_built_in_node_answers_every_workload() {
    for workload in ["inv", "headers", "block:64KiB", "connect", "handshake", "churn:0s"] {
        let flags = ["bench", "--workload", workload, "-c", "40", "-r", "200", "-d", "200ms", "--warmup", "0s", "-q"];
        let run = peerloop(&flags);
        assert_eq!(run.code, Some(0), "{workload}: {}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("of 40 ") && run.stdout.contains("100 %"), "{workload}: {}", run.stdout);
    }
}

#[test]
fn replies_that_the_node_drops_are_failed_operations() {
    let (node, address) = Running::serve(&["-q", "--drop", "100%"]);
    for workload in ["inv", "headers", "block:1KiB"] {
        let (code, text, json) =
            run(&format!("dropped-{}.json", &workload[..3]), workload, &address, &["--drain", "100ms"]);
        assert_eq!((code, number(&json, "/counts/timed_out")), (Some(0), 100), "{workload}: {text}");
        assert_eq!(
            (&json["generator"]["verdict"], &json["metrics"][2]["planned"]["failed"]),
            (&"not_trusted".into(), &100.into())
        );
    }
    // Handshakes are not dropped.
    let (code, text, _) = run("dropped-handshake.json", "handshake", &address, &[]);
    assert_eq!(code, Some(0), "{text}");
    node.signal("TERM");
    node.finish();
}

#[test]
fn connections_beyond_the_maximum_are_unsent_with_their_cause() {
    let (node, address) = Running::serve(&["-q"]);
    // The ten connections of the first operations are held until the end.
    let (code, text, json) = run("held.json", "churn:1h", &address, &["-c", "10"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((number(&json, "/counts/answered"), number(&json, "/counts/unsent")), (10, 90));
    let [cause] = &json["counts"]["failed_operations"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((&cause["cause"], &cause["count"]), (&"too_many_connections".into(), &90.into()));
    assert!(text.contains("Failed     connections 90") && text.contains("raise -c"), "{text}");
    node.signal("TERM");
    node.finish();
}

#[test]
fn thresholds_and_segments_apply_to_every_workload() {
    let (node, address) = Running::serve(&["-q"]);
    let met = ["--threshold", "inv_getdata:p99<1h", "--threshold", "inv_getdata:failed<=0%", "--segment", "2/2"];
    let (code, text, json) = run("met.json", "inv", &address, &met);
    assert_eq!((code, number(&json, "/counts/answered")), (Some(0), 50), "{text}");
    let (code, text, _) = run("missed.json", "handshake", &address, &["--threshold", "connect:p99>1h"]);
    assert_eq!(code, Some(99), "{text}");
    node.signal("TERM");
    node.finish();
    let refused = peerloop(&["bench", "--workload", "inv", "--threshold", "ping_rtt:p99<1s"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("inv_getdata"), "{}", refused.stderr);
}

#[test]
fn a_node_that_has_gone_fails_the_run() {
    let (node, address) = Running::serve(&["-q"]);
    node.signal("TERM");
    node.finish();
    let run = peerloop(&["bench", &address, "--network", "regtest", "--workload", "connect", "-d", "1s", "-q"]);
    assert!(run.code == Some(1) && run.stderr.contains("refused"), "{:?} {}", run.code, run.stderr);
}

#[test]
fn the_announcements_of_two_nodes_are_observed() {
    let file = ResultFile::new("propagation.json");
    let nodes = [0, 1].map(|_| Running::serve(&["-q", "--announce"]));
    let targets = nodes.each_ref().map(|(_, address)| address.as_str());
    let flags = [
        "--network",
        "regtest",
        "--workload",
        "propagation",
        "-c",
        "4",
        "-d",
        "1h",
        "--warmup",
        "0s",
        "--drain",
        "60s",
    ];
    let files = ["--json", file.path(), "--connect-rate", "1k"];
    let mut bench = Running::start(&[&["bench"], &targets[..], &flags, &files].concat());
    let transaction = crate::scripted::transaction(1);
    let item = InventoryItem::tx(Hash256::of(&transaction));
    bench.wait_for("run ");
    for (_, address) in &nodes {
        let address = address.parse().expect("the node prints an address");
        // The node announces to all other peers, so also to the witness, and before this to the older peers.
        let (mut sender, mut witness) = (Peer::connect(address), Peer::connect(address));
        sender.give(&transaction);
        assert_eq!(witness.announced(), [item]);
    }
    bench.wait_for("run ");
    bench.signal("INT");
    let run = bench.finish();
    let text = run.stdout + &run.stderr;
    let json = file.json();
    assert_eq!(number(&json, "/counts/planned"), 3, "{text}");
    assert_eq!((number(&json, "/counts/answered"), number(&json, "/counts/timed_out")), (3, 0), "{text}");
    assert_eq!(metric(&json, "tx_propagation")["planned"]["count"], 3);
    assert_eq!(metric(&json, "block_propagation")["planned"]["count"], 0);
    assert!(text.contains("100 % of 3 expected announcements received"), "{text}");
    assert!(text.contains("3 expected   3 received   0 missing"), "{text}");
    assert!(
        text.contains("announcements are observed")
            && text.contains("\ntx_propagation and block_propagation count from the first announcement"),
        "{text}"
    );
    assert!(!text.contains("from send") && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for (node, _) in nodes {
        node.signal("TERM");
        node.finish();
    }
}

#[test]
fn a_run_that_only_observes_refuses_a_schedule_with_advice() {
    let refused = |more: &[&str], part: &str| {
        let run = peerloop(&[&["bench", "--network", "regtest", "--workload", "propagation:5s"], more].concat());
        assert!(run.code == Some(2) && run.stderr.contains(part), "{more:?}: {}", run.stderr);
    };
    refused(&[], "--workload propagation:5s cannot be used without a target: the built-in node announces nothing");
    for (flag, value, advice) in [
        ("-r", "5", "omit -r"),
        ("--rate-per-peer", "5", "omit --rate-per-peer"),
        ("--stage", "1@1s", "use -d"),
        ("-n", "5", "use -d"),
        ("--arrival", "even", "omit --arrival"),
        ("--find-max", "tx_propagation:p99<1s", "omit --find-max"),
    ] {
        refused(&["127.0.0.1:18444", flag, value], advice);
    }
    refused(&["127.0.0.1:18444", "-c", "1"], "this run has only 1 peer; raise -c to 2 or more");
    let flags = ["bench", "203.0.113.1", "--workload", "propagation", "-c", "2", "--dry-run"];
    let polite = peerloop(&flags);
    assert_eq!(polite.code, Some(0), "{}", polite.stderr);
    assert!(polite.stdout.contains("announcements would be observed"), "{}", polite.stdout);
}

#[test]
fn a_wrong_workload_and_a_public_address_are_refused_with_advice() {
    let wrong = peerloop(&["bench", "--workload", "pings"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("use ping, connect,"), "{}", wrong.stderr);
    let public = peerloop(&["bench", "203.0.113.1", "--workload", "inv", "-c", "1", "--dry-run"]);
    assert!(public.code == Some(2) && public.stderr.contains("add --yes if the owner agrees"), "{}", public.stderr);
    let agreed = peerloop(&["bench", "203.0.113.1", "--workload", "churn:5s", "-c", "1", "--yes", "--dry-run"]);
    assert_eq!(agreed.code, Some(0), "{}", agreed.stderr);
    let plan = "plan    churn:5s, at most 1 connection at a time";
    assert!(agreed.stdout.contains(plan) && agreed.stdout.contains("10 connections would be"), "{}", agreed.stdout);
}

/// Returns the text of a file with different transactions without inputs and outputs.
fn transactions(count: u16) -> String {
    (0..count).map(|locktime| format!("010000000000{:08x}\n", u32::from(locktime).swap_bytes())).collect()
}

#[test]
fn transactions_of_a_file_are_announced_sent_and_timed() {
    let (node, address) = Running::serve(&["-q"]);
    let folder = crate::folder();
    let workload = format!("tx:{}", folder.with("enough", &transactions(100)));
    let (code, text, json) = run("tx.json", &workload, &address, &["--threshold", "tx_getdata:failed<=0%"]);
    assert_eq!((code, number(&json, "/counts/answered")), (Some(0), 100), "{text}");
    assert!(text.contains("file    100 transactions for 100 operations") && !text.contains("too few"), "{text}");
    assert!(text.contains("of 100 transactions answered"), "{text}");
    assert_eq!(json["config"]["workload"], workload.as_str());
    for name in ["tx_roundtrip", "tx_getdata"] {
        assert_eq!(metric(&json, name)["planned"]["count"], 100, "{name}");
    }
    node.signal("TERM");
    let served = node.finish().stdout;
    assert!(served.contains("received: transactions 100\n"), "{served}");
}

#[test]
fn operations_beyond_the_transactions_are_unsent_with_their_cause() {
    let folder = crate::folder();
    let workload = format!("tx:{}", folder.with("few", &transactions(60)));
    let (node, address) = Running::serve(&["-q"]);
    let (code, text, json) = run("few.json", &workload, &address, &[]);
    assert_eq!((code, number(&json, "/counts/answered"), number(&json, "/counts/unsent")), (Some(0), 60, 40), "{text}");
    let [cause] = &json["counts"]["failed_operations"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((&cause["cause"], &cause["count"]), (&"no_transaction".into(), &40.into()));
    assert!(text.contains("Failed     transactions 40") && text.contains("60 transactions for 100"), "{text}");
    node.signal("TERM");
    node.finish();
    // The warm-up and all segments need transactions, too.
    let flags = ["bench", "--workload", &workload, "-c", "4", "-r", "20", "-d", "2s", "--segment", "1/2", "--dry-run"];
    let dry = peerloop(&flags);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    let supply = "file    60 transactions for 80 operations with the warm-up\n        too few: the other operations";
    assert!(dry.stdout.contains(supply) && dry.stdout.contains("run 20 transactions would"), "{}", dry.stdout);
    // In a mix, only the share that sends transactions needs them.
    let mix = format!("mix:{}", folder.with("mix", &format!("1 {workload}\n3 ping\n")));
    for (rate, supply) in
        [("120", "60 transactions for 60 operations with"), ("200", "60 transactions for 100 operations")]
    {
        let flags = ["bench", "--workload", &mix, "-c", "4", "-r", rate, "-d", "2s", "--warmup", "0s", "--dry-run"];
        let dry = peerloop(&flags);
        assert!(dry.stdout.contains(supply) && dry.stdout.contains("too few") == (rate == "200"), "{}", dry.stdout);
    }
    let dry = peerloop(&["bench", "--workload", &workload, "-r", "max", "-d", "1s", "--dry-run"]);
    assert!(dry.stdout.contains("file    60 transactions  each is sent once"), "{}", dry.stdout);
}

#[test]
fn a_wrong_file_of_transactions_is_refused_with_its_line() {
    let folder = crate::folder();
    let path = folder.with("wrong", &(transactions(2) + "zz\n"));
    let wrong = peerloop(&["bench", "--workload", &format!("tx:{path}"), "--dry-run"]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.stderr);
    assert!(
        wrong.complaint().contains(&format!("{path}:3: `z` is not a hexadecimal digit; write")),
        "{}",
        wrong.stderr
    );
    let none = peerloop(&["bench", "--workload", "tx", "--dry-run"]);
    assert!(none.code == Some(2) && none.stderr.contains("write `tx:FILE`"), "{}", none.stderr);
}

#[test]
fn items_of_a_file_are_requested_and_timed() {
    let folder = crate::folder();
    let text = transactions(2);
    let served = folder.with("served", &text);
    let (node, address) = Running::serve(&["-q", "--blocks", "3", "--block-size", "100KiB", "--tx", &served]);
    let txids = text.lines().map(|line| TxRef::decode(&hex(line)).expect("the transaction is valid").txid());
    let txs: String = txids.map(|txid| format!("tx {txid}\n")).collect();
    let blocks = hashes(&mut connect(&address)).into_iter().map(|hash| format!("block {hash}\n"));
    let blocks: String = blocks.collect();
    let patient = ["--drain", "60s"];
    for (name, items, metric_name) in
        [("txs", &txs, "tx_fetch"), ("blocks", &blocks, "block_fetch"), ("both", &(blocks.clone() + &txs), "fetch")]
    {
        let workload = format!("getdata:{}", folder.with(name, items));
        let (code, text, json) = run(&format!("getdata-{name}.json"), &workload, &address, &patient);
        assert_eq!((code, number(&json, "/counts/answered")), (Some(0), 100), "{text}");
        assert_eq!(metric(&json, metric_name)["planned"]["count"], 100, "{text}");
        assert!(text.contains("of 100 requests answered"), "{text}");
    }
    let lacking = folder.with("lacking", &format!("tx {}\n", "7".repeat(64)));
    let (code, text, json) = run("lacking.json", &format!("getdata:{lacking}"), &address, &patient);
    assert_eq!((code, number(&json, "/counts/timed_out")), (Some(0), 100), "{text}");
    let [cause] = &json["counts"]["failed_operations"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((&cause["cause"], &cause["count"]), (&"notfound".into(), &100.into()));
    node.signal("TERM");
    node.finish();
    let wrong = folder.with("wrong", &(txs + "header 77\n"));
    let refused = peerloop(&["bench", "--workload", &format!("getdata:{wrong}"), "--dry-run"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.complaint().contains(&format!("{wrong}:3: `77` is not a hash")), "{}", refused.stderr);
}

#[test]
fn blocks_of_another_size_are_failed_operations_with_their_cause() {
    let (node, address) = Running::serve(&["-q", "--blocks", "3", "--block-size", "1KiB"]);
    let (code, text, json) = run("wrong-size.json", "block:2KiB", &address, &[]);
    assert_eq!((code, number(&json, "/counts/answered"), number(&json, "/counts/timed_out")), (Some(0), 0, 100));
    let [cause] = &json["counts"]["failed_operations"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((&cause["cause"], &cause["count"]), (&"wrong_size".into(), &100.into()));
    assert!(text.contains("the block has another length"), "{text}");
    assert_eq!(metric(&json, "block_first_bytes")["planned"]["failed"], 100);
    node.signal("TERM");
    node.finish();
    let none = peerloop(&["bench", "--workload", "block", "--dry-run"]);
    assert!(none.code == Some(2) && none.stderr.contains("write `block:SIZE`"), "{}", none.stderr);
}

#[test]
fn the_workloads_of_a_mix_are_counted_and_timed_apart() {
    let folder = crate::folder();
    let (node, address) = Running::serve(&["-q", "--blocks", "20", "--block-size", "1KiB"]);
    let workload = format!("mix:{}", folder.with("mix", "# pings above all\n7 ping\n2 headers\n1 inv\n"));
    let met = ["--threshold", "headers_fetch:failed<=0%", "--threshold", "ping_rtt:p99<1h"];
    let (code, text, json) = run("mix.json", &workload, &address, &met);
    assert_eq!((code, number(&json, "/counts/answered")), (Some(0), 100), "{text}");
    assert_eq!(json["config"]["workload"], workload.as_str());
    assert!(text.contains("of 100 operations answered"), "{text}");
    for (name, count) in [("ping_rtt", 70), ("headers_fetch", 20), ("inv_getdata", 10)] {
        let metric = metric(&json, name);
        assert_eq!(metric["planned"]["count"], count, "{name}");
        assert_eq!(metric["work"]["planned"], count, "{name}: {metric}");
        assert!(text.contains(name), "{name}: {text}");
    }
    node.signal("TERM");
    node.finish();
    let blocks = format!("mix:{}", folder.with("blocks", "1 block:64KiB\n9 ping\n"));
    let flags = ["bench", "--workload", &blocks, "-c", "10", "-r", "200", "-d", "200ms", "--warmup", "0s", "-q"];
    let built_in = peerloop(&flags);
    assert!(built_in.code == Some(0) && built_in.stdout.contains("100 % of 40 "), "{}", built_in.stdout);
    let wrong = folder.with("wrong", "7 ping\n3 connect\n");
    let refused = peerloop(&["bench", "--workload", &format!("mix:{wrong}"), "--dry-run"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.complaint().contains(&format!("{wrong}:2: ")), "{}", refused.stderr);
    assert!(refused.complaint().contains("getdata:FILE or block:SIZE"), "{}", refused.stderr);
}
