//! Thousands of peers that close right after they have connected.

use crate::probe::{BareSocket, Node, PATIENCE, Seen};
use log::{Log, Metadata, Record};
use peerloop::error::{CloseReason, IoStep};
use peerloop::internals::limits::{ACCEPTS_PER_TURN, LOG_BURST_LINES};
use peerloop_testkit::greeting::greeting;
use std::cell::Cell;
use std::io;

const CYCLES: usize = 10_000;
const AT_ONCE: usize = 100;

thread_local! {
    static LINES: Cell<usize> = const { Cell::new(0) };
}

/// A logger that counts each thread's lines separately, so that the lines of other tests do not count.
struct LineCounter;

impl Log for LineCounter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // A feature of another package may make the poller log, too.
        LINES.set(LINES.get() + usize::from(record.target().starts_with("peerloop")));
    }

    fn flush(&self) {}
}

/// Connects 100 sockets at a time and passes each to `end_all`, some before and some after they are accepted.
fn storm(node: &mut Node, end_all: impl Fn(BareSocket)) {
    let began = std::time::Instant::now();
    for round in 0..CYCLES / AT_ONCE {
        let mut sockets: Vec<BareSocket> = (0..AT_ONCE).map(|_| BareSocket::connect(node.address)).collect();
        sockets.drain(..AT_ONCE / 3).for_each(&end_all);
        node.turn();
        sockets.drain(..AT_ONCE / 3).for_each(&end_all);
        for socket in &mut sockets {
            socket.write(&greeting());
        }
        node.turn();
        sockets.drain(..).for_each(&end_all);
        let so_far = ((round + 1) * AT_ONCE) as u64;
        while node.reactor.stats().counters.closed < so_far {
            assert!(began.elapsed() < PATIENCE, "some peers are not closed");
            node.turn();
        }
    }
}

/// Asserts that every peer was opened and closed, and that few table rows were used and few log lines written.
fn check(node: &Node) {
    let stats = node.reactor.stats();
    assert_eq!((stats.links, stats.ready), (0, 0));
    assert_eq!((stats.counters.accepted, stats.counters.closed), (CYCLES as u64, CYCLES as u64));
    let is_end = |seen: &Seen| matches!(seen, Seen::Closed(..));
    assert_eq!((node.count(|seen| *seen == Seen::Opened), node.count(is_end)), (CYCLES, CYCLES));
    let slots = node.seen().iter().map(|(peer, _)| peer.slot()).max().expect("peers were seen") + 1;
    assert!(slots <= AT_ONCE.max(ACCEPTS_PER_TURN), "{slots} rows were used for {AT_ONCE} peers at once");
    // Four kinds of lines (opened, ready, closed, closed before ready), each with a burst and then one line per second.
    let most = 4 * (LOG_BURST_LINES as usize + stats.uptime.as_secs() as usize + 1);
    assert!(LINES.get() <= most, "{} log lines were written for {CYCLES} peers", LINES.get());
}

fn count_lines() {
    static COUNTER: LineCounter = LineCounter;
    // Another test of this process may have set the logger already.
    let _ = log::set_logger(&COUNTER);
    log::set_max_level(log::LevelFilter::Trace);
}

#[test]
fn a_storm_of_resets_closes_every_peer_and_reuses_rows() {
    count_lines();
    let mut node = Node::new();
    storm(&mut node, BareSocket::reset);
    check(&node);
    for (_, seen) in node.seen() {
        if let Seen::Closed(CloseReason::Network(failure), _) = seen {
            assert_eq!(failure.kind, io::ErrorKind::ConnectionReset);
            assert!(matches!(failure.step, IoStep::Read | IoStep::Write), "{failure}");
        }
    }
    let is_reset = |seen: &Seen| matches!(seen, Seen::Closed(CloseReason::Network(_), _));
    assert_eq!(node.count(is_reset), CYCLES);
}

#[test]
fn a_storm_of_short_connections_closes_every_peer_and_reuses_rows() {
    count_lines();
    let mut node = Node::new();
    storm(&mut node, drop);
    check(&node);
}
