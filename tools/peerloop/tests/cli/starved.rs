//! Runs `serve` with far fewer descriptors than visitors. The descriptor limit applies from the start, or is lowered
//! later.
//!
//! The tests need Linux to read another process's CPU time and to change its limits. Every bound on a time
//! or a CPU share is many times the expected figure. The measured figures are printed.
#![cfg(target_os = "linux")]

use crate::Running;
use peerloop_testkit::greeting::greeting;
use rlimit::Resource;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The node's limit on open files and sockets.
const LIMIT: u64 = 200;
/// Number of visitors that connect to the node.
const VISITORS: usize = 1_000;
/// The duration of each measurement of the node's CPU time while the node has no descriptor for another visitor.
const STARVED: Duration = Duration::from_millis(1_500);
/// Maximum wait for each step, longer than any step needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The node's treatment of a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reception {
    Waits,
    Answered,
    Closed,
}

fn reception(visitor: &TcpStream) -> Reception {
    match visitor.peek(&mut [0]) {
        Ok(0) => Reception::Closed,
        Ok(_) => Reception::Answered,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Reception::Waits,
        Err(_) => Reception::Closed,
    }
}

fn visit(address: &str) -> TcpStream {
    let mut visitor = TcpStream::connect(address).expect("the node listens");
    // The node may have closed the connection already.
    let _ = visitor.write_all(&greeting());
    visitor.set_nonblocking(true).expect("the socket is open");
    visitor
}

fn visit_all(address: &str) -> Vec<TcpStream> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).expect("the soft limit can be raised to the hard limit");
    assert!(
        limit > VISITORS as u64 + 50,
        "the limit of {limit} descriptors is too low for {VISITORS} visitors; see ulimit -Hn"
    );
    (0..VISITORS).map(|_| visit(address)).collect()
}

fn count(visitors: &[TcpStream], of: Reception) -> usize {
    visitors.iter().filter(|visitor| reception(visitor) == of).count()
}

/// Waits until the condition holds, and returns the duration of the wait.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "timed out waiting until {what}");
        sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

impl Running {
    /// Returns the CPU time of all the program's threads so far.
    fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the process runs");
        let nanos = tasks.map(|task| {
            let path = task.expect("the thread runs").path().join("schedstat");
            let schedstat = std::fs::read_to_string(path).expect("no thread ends");
            let on_cpu = schedstat.split_whitespace().next().expect("schedstat has three numbers");
            on_cpu.parse::<u64>().expect("the field is a number")
        });
        Duration::from_nanos(nanos.sum())
    }

    fn assert_is_quiet(&self) {
        let before = self.cpu_time();
        sleep(STARVED);
        let share = (self.cpu_time() - before).as_secs_f64() / STARVED.as_secs_f64();
        println!("starved for {STARVED:?}: {:.3} % of a core", share * 100.0);
        assert!(share < 0.2, "the node spins while it waits: {share:.2} of a core");
    }
}

/// Reads the bytes that have arrived from the node. Returns whether the node has closed the connection.
fn read_input(mut visitor: &TcpStream, received: &mut Vec<u8>) -> bool {
    match visitor.read_to_end(received) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Ok(_) | Err(_) => true,
    }
}

#[test]
fn serve_refuses_visitors_when_descriptors_run_out_and_accepts_again_once_visitors_disconnect() {
    let (node, address) = Running::serve_under(LIMIT);
    let mut visitors = visit_all(&address);
    until("no visitor waits", || count(&visitors, Reception::Waits) == 0);
    visitors.retain(|visitor| !read_input(visitor, &mut Vec::new()));
    let inside = visitors.len() as u64;
    assert!(
        inside > LIMIT / 4 && inside < LIMIT,
        "too few or too many visitors are connected at a limit of {LIMIT} descriptors: {inside}"
    );
    node.assert_is_quiet();
    drop(visitors);
    let (mut newcomer, mut received) = (visit(&address), Vec::new());
    let took = until("the node accepts a visitor", || {
        if read_input(&newcomer, &mut received) {
            (newcomer, received) = (visit(&address), Vec::new());
        }
        received.windows(11).any(|command| command == b"sendheaders")
    });
    println!("descriptors are free: a newcomer is ready after {took:?}");
}

#[test]
fn fault_e01_serve_sleeps_when_descriptors_run_out_and_accepts_again_by_itself() {
    let (node, address) = Running::serve(&["--max-peers", "2000"]);
    let process = i32::try_from(node.child.id()).expect("a process id fits an i32");
    rlimit::prlimit(process, Resource::NOFILE, Some((LIMIT, LIMIT)), None).expect("the limit can be lowered");
    let mut visitors = visit_all(&address);
    until("descriptors run out", || count(&visitors, Reception::Answered) > LIMIT as usize / 2);
    node.assert_is_quiet();
    while !visitors.is_empty() {
        assert_eq!(count(&visitors, Reception::Closed), 0, "the node closed a visitor's connection");
        visitors.retain(|visitor| reception(visitor) == Reception::Waits);
        if !visitors.is_empty() {
            let took = until("the node accepts again", || count(&visitors, Reception::Answered) > 0);
            println!("descriptors are free: accepting again after {took:?}");
            until("all visitors that fit are connected", || {
                let before = count(&visitors, Reception::Waits);
                sleep(Duration::from_millis(50));
                count(&visitors, Reception::Waits) == before
            });
        }
    }
}
