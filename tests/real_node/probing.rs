//! `peerloop probe --relay` between two nodes that are connected only through a relay.

use crate::blocks::Joined;
use crate::running::say;
use peerloop_testkit::examples;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

/// The number of blocks that each node mines.
const BLOCKS: u64 = 20;

#[test]
fn every_block_that_passes_a_relay_is_measured_and_none_is_missed() {
    let Some(joined) = Joined::start() else { return };
    // The first block ends the initial sync of both nodes, in which they send no headers.
    joined.nodes[0].cli(&["generate", "1"]);
    joined.wait_for_one_tip();
    let [a, b] = joined.nodes.each_ref().map(|node| node.address().to_string());
    let mut probe = Command::new(examples::program())
        .args(["probe", "--network", "regtest", "--json", "--duration", "1h", "--relay", &a, &b])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is built");
    let mut progress = String::new();
    let stderr = probe.stderr.take().expect("the stream is piped");
    BufReader::new(stderr).read_line(&mut progress).expect("the output is text");
    assert!(progress.starts_with("observing "), "{progress}");
    for miner in &joined.nodes {
        for _ in 0..BLOCKS {
            miner.cli(&["generate", "1"]);
            joined.wait_for_one_tip();
        }
    }
    let stopped = Command::new("kill").args(["-INT", &probe.id().to_string()]).status().expect("kill runs");
    assert!(stopped.success());
    let mut report = String::new();
    probe.stdout.take().expect("the stream is piped").read_to_string(&mut report).expect("the output is text");
    assert_eq!(probe.wait().expect("the program ends").code(), Some(130), "{report}");
    let report: Value = serde_json::from_str(&report).expect("the output is JSON");
    let (mut count, mut missed) = (0, 0);
    for way in &report["ways"].as_array().expect("a list")[..2] {
        say(&format!("block {} then {}: {} {}", way["first"], way["then"], way["count"], way["percentiles"]));
        assert_eq!(way["kind"], "block");
        count += way["count"].as_u64().expect("a number");
        missed += way["missed"].as_u64().expect("a number");
    }
    // A node announces a block to its peers one after the other, so the other node may be seen to announce it first.
    assert_eq!((count, missed), (2 * BLOCKS, 0));
}
