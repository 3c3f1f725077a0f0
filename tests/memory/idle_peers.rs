//! Memory of an accepted, idle peer after its handshake, without its socket.

use crate::node::{FarEnd, Node, Pings, Request};
use allocation_counter::{AllocationInfo, measure};

/// Maximum bytes per peer, including the growth of every table.
const MAX_PEER_BYTES: u64 = 1_024;

fn allow_descriptors(needed: u64) {
    let limit = rlimit::increase_nofile_limit(u64::MAX).expect("the soft limit may be raised to the hard limit");
    assert!(
        limit >= needed,
        "this test needs {needed} descriptors and gets {limit}; raise the hard limit (ulimit -Hn)"
    );
}

/// Connects `peers` peers and waits until `total` peers, including closed ones, have become ready. Returns this
/// thread's allocations during the wait.
fn welcome(node: &mut Node, far_end: &FarEnd, peers: usize, total: usize) -> AllocationInfo {
    far_end.ask(Request::Dial { address: node.address, peers });
    measure(|| node.until(|tally| tally.settled == total))
}

#[test]
fn an_idle_peer_uses_at_most_a_kibibyte() {
    allow_descriptors(5_000);
    let (mut node, far_end) = (Node::new(Pings::Never), FarEnd::start());
    // The tables double at powers of two: 1,000 peers are just before a doubling, and 1,025 peers just after it.
    let mut total = 0;
    let mut held_bytes = 0;
    for peers in [24, 976, 25, 975] {
        total += peers;
        let info = welcome(&mut node, &far_end, peers, total);
        held_bytes += info.bytes_current;
        println!(
            "{peers:>4} more idle peers: {:>5} bytes and {:.2} allocations each; all {total}: {:>4} bytes each",
            info.bytes_current / peers as i64,
            info.count_current as f64 / peers as f64,
            held_bytes / total as i64,
        );
        if total >= 1_000 {
            let each = u64::try_from(held_bytes).expect("peers use memory") / total as u64;
            assert!(each <= MAX_PEER_BYTES, "{total} peers use {each} bytes each");
        }
    }
    far_end.stop(&mut node);
}

#[test]
fn peers_that_replace_closed_ones_use_almost_no_new_memory() {
    const PEERS: usize = 300;
    allow_descriptors(2_000);
    let (mut node, far_end) = (Node::new(Pings::Never), FarEnd::start());
    let mut wave = |number: usize| {
        let came = welcome(&mut node, &far_end, PEERS, number * PEERS);
        far_end.ask(Request::CloseAll);
        let went = measure(|| node.until(|tally| tally.closed == number * PEERS));
        came.bytes_current + went.bytes_current
    };
    // The first waves grow tables and pooled buffers, whose sizes depend on how many peers connected in one turn.
    let warm_up: i64 = (1..=5).map(&mut wave).sum();
    let later: i64 = (6..=15).map(&mut wave).sum();
    println!("five waves of {PEERS} peers retain {warm_up} bytes, and the next ten waves {later}");
    assert!(later <= 16_384, "ten waves of {PEERS} peers retain {later} bytes");
    far_end.stop(&mut node);
}
