//! A peer costs about the same in a loop of any size, and the memory of a million peers stays within the documented
//! bound.

use peerloop_scale::{Phase, live};

/// Maximum memory of a loop with a million peers, in bytes, including peaks while its tables grow.
const MAX_MILLION_PEERS_BYTES: i64 = 600_000_000;

/// Returns the events and allocations per peer, counted from the loop's creation to the end of each phase.
fn per_peer(peers: u64, phases: &[Phase]) -> Vec<[f64; 2]> {
    let per_peer = |count: u64| count as f64 / peers as f64;
    phases.iter().map(|Phase { account, .. }| [account.events, account.allocations].map(per_peer)).collect()
}

#[test]
fn a_peer_costs_at_most_two_percent_more_among_sixteen_thousand_than_among_a_thousand() {
    let (few, many) = (live(1_000), live(16_000));
    for (few, many) in per_peer(1_000, &few).iter().zip(per_peer(16_000, &many)) {
        for (few, many) in few.iter().zip(many) {
            assert!(many <= few * 1.02, "{many} events or allocations per peer with many peers, {few} with few");
        }
    }
    assert_eq!(many.iter().map(|phase| phase.ready).collect::<Vec<_>>(), [16_000, 16_000, 16_000, 0]);
}

#[test]
fn the_loop_accounts_for_all_memory_that_grows_with_its_peers() {
    let unaccounted = |phases: &[Phase]| -> Vec<i64> {
        let unaccounted = |phase: &Phase| phase.account.held_bytes - i64::try_from(phase.accounted_bytes).unwrap();
        phases.iter().map(unaccounted).collect()
    };
    let (few, many) = (unaccounted(&live(100)), unaccounted(&live(4_000)));
    for (few, many) in few.iter().zip(&many) {
        assert!((many - few).abs() <= 4_096, "{few:?} bytes unaccounted for with few peers, {many:?} with many");
    }
}

#[test]
fn a_million_peers_fit_into_600_megabytes_even_while_the_tables_grow() {
    let phases = live(1_000_000);
    for Phase { name, ready, account, accounted_bytes } in &phases {
        println!("{name}: {ready} peers ready, {} bytes held, {accounted_bytes} accounted for", account.held_bytes);
        assert!(account.peak_bytes <= MAX_MILLION_PEERS_BYTES, "{} bytes at the peak", account.peak_bytes);
    }
    assert_eq!(phases.iter().map(|phase| phase.ready).collect::<Vec<_>>(), [1_000_000, 1_000_000, 1_000_000, 0]);
}
