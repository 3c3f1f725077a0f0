//! `serve`'s preparation for many peers: a descriptor table of its full size, and an allocator that returns memory.
//!
//! The tests need Linux, which reports the table's size and the memory in `/proc`, and glibc, whose allocator `serve`
//! configures. The last tests check that signals end the program when it is process 1.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use crate::{Running, folder};
use peerloop::internals::limits::MAX_LEGACY_PAYLOAD_BYTES;
use peerloop::protocol::CommandName;
use peerloop::wire::Header;
use peerloop_testkit::greeting::{MAGIC, greeting};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Maximum memory, in bytes, by which the process may exceed its earlier use after a burst.
const MAX_KEPT_BYTES: u64 = 8 * 1024 * 1024;
/// Maximum wait for each step, longer than any step needs.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_descriptor_table_has_its_full_size_before_the_first_peer() {
    let (node, _address) = Running::serve(&["--max-peers", "900"]);
    assert!(node.status("FDSize:") >= 900, "{}", node.status("FDSize:"));
}

#[test]
fn the_memory_of_a_thousand_large_claims_is_returned() {
    // The loop buffers a `protoconf` by itself, independently of its handler.
    assert_given_back(1_000, MAX_LEGACY_PAYLOAD_BYTES, 16 * 1024);
}

#[test]
fn the_memory_of_three_thousand_claims_of_4_to_64_kib_is_returned() {
    for claimed_bytes in [4_097, 6_000, 10_000, 20_000, 40_000, 60_000, 65_535] {
        assert_given_back(3_000, claimed_bytes, claimed_bytes as usize - 1);
    }
}

/// Lets `peer_count` peers start a message, send a part of it and disconnect. Asserts that the process then returns
/// their memory.
#[track_caller]
fn assert_given_back(peer_count: usize, claimed_bytes: u64, sent_bytes: usize) {
    rlimit::increase_nofile_limit(u64::MAX).expect("the soft limit can be raised to the hard limit");
    let (node, address) = Running::serve(&["--max-peers", "3000"]);
    let rss_bytes = || node.status("VmRSS:") * 1024;
    let before = rss_bytes();
    let opening = [greeting(), claim(claimed_bytes, sent_bytes)].concat();
    let peers: Vec<TcpStream> = (0..peer_count).map(|_| open(&address, &opening)).collect();
    let sent_bytes = (peer_count * sent_bytes) as u64;
    until("the sent bytes are in memory", || (rss_bytes() >= before + sent_bytes, rss_bytes() - before));
    drop(peers);
    let kept_bytes = || rss_bytes().saturating_sub(before);
    until("the memory is returned", || (kept_bytes() <= MAX_KEPT_BYTES, kept_bytes()));
}

impl Running {
    /// Returns the number on the line of the process's status that starts with `beginning`.
    fn status(&self, beginning: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(beginning)).expect("the kernel reports the number");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("the field is a number")
    }
}

/// Connects, sends `opening`, and waits for the first byte of the node's answer.
fn open(address: &str, opening: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the node listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("the socket is connected");
    socket.write_all(opening).expect("the node reads");
    socket.read_exact(&mut [0; 1]).expect("the node answers");
    socket
}

/// Returns the start of a `protoconf`: a header for `payload_len` bytes, and `sent_bytes` bytes of payload.
fn claim(payload_len: u64, sent_bytes: usize) -> Vec<u8> {
    let header = Header { command: CommandName::PROTOCONF, payload_len, checksum: Some([0; 4]) };
    [header.encode(MAGIC).to_vec(), vec![0x55; sent_bytes]].concat()
}

/// Waits until `look` returns true. `look` also returns a number that shows the progress; the last number is printed at
/// the end, or reported at a timeout.
#[track_caller]
fn until(what: &str, mut look: impl FnMut() -> (bool, u64)) {
    let began = Instant::now();
    loop {
        let (is_so, number) = look();
        if is_so {
            return println!("{what}: {number}");
        }
        assert!(began.elapsed() < PATIENCE, "timed out waiting until {what}: {number}");
        sleep(Duration::from_millis(20));
    }
}

/// Starts the program as process 1 of a namespace of its own. Returns the running program and its process id outside
/// the namespace; `None` if `unshare` is missing or may not create a namespace.
fn start_as_init(arguments: &[&str]) -> Option<(Running, u32)> {
    let namespace = ["--pid", "--fork", "--kill-child"];
    let is_allowed = Command::new("unshare").args(namespace).arg("true").output().is_ok_and(|run| run.status.success());
    if !is_allowed {
        println!("skipped: `unshare` is missing or may not create a process namespace");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(namespace).arg(env!("CARGO_BIN_EXE_peerloop")).args(arguments).stdin(Stdio::null());
    let run = Running::spawn(command);
    let outer = run.child.id();
    let path = format!("/proc/{outer}/task/{outer}/children");
    loop {
        let children = std::fs::read_to_string(&path).expect("the kernel lists the children");
        if let Some(child) = children.split_whitespace().next() {
            return Some((run, child.parse().expect("the field is a number")));
        }
    }
}

fn kill(signal: &str, process: u32) {
    let status = Command::new("kill").args([format!("-{signal}"), process.to_string()]).status();
    assert!(status.expect("kill starts").success());
}

#[test]
fn as_process_1_a_probe_ends_on_a_signal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let arguments = ["probe", &address, "--network", "regtest", "--timeout", "1h"];
    let Some((run, process)) = start_as_init(&arguments) else { return };
    let _silent = listener.accept().unwrap();
    kill("TERM", process);
    let run = run.finish();
    assert_eq!(run.code, Some(143), "{}", run.stderr);
    assert!(run.complaint().ends_with("stopped by SIGTERM"), "{}", run.complaint());
}

#[test]
fn as_process_1_a_command_ends_on_a_signal_before_it_has_a_loop() {
    let folder = folder();
    let fifo = folder.file("targets");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("the tool exists").success());
    let targets = format!("@{fifo}");
    let Some((run, process)) = start_as_init(&["bench", &targets, "--network", "regtest"]) else { return };
    // Opening the pipe blocks until the program opens it too. The program then waits for input from the pipe.
    let _open = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    kill("INT", process);
    assert_eq!(run.finish().code, Some(130));
}
