//! A world that exceeds its limit on calls, or for which [`Patience::end`] was called, is aborted and has no outcome.

use peerloop::sim::Tape;
use peerloop_swarm::{Patience, Profile, run, run_with};

const SEED: u64 = 7;

fn hash_with(patience: &Patience) -> Option<u64> {
    run_with(&Tape::from_seed(SEED), Profile::Standard, patience).map(|outcome| outcome.trace_hash)
}

#[test]
fn a_world_is_aborted_only_if_it_makes_more_calls_than_its_limit() {
    let whole = run(&Tape::from_seed(SEED), Profile::Standard);
    let with_calls = |max_calls| hash_with(&Patience::default().with_max_calls(max_calls));
    assert_eq!(with_calls(whole.calls), Some(whole.trace_hash));
    for max_calls in [whole.calls - 1, whole.calls / 2, 0] {
        assert_eq!(with_calls(max_calls), None);
    }
}

#[test]
fn calling_end_aborts_the_worlds_of_a_patience_and_of_its_clones() {
    let patience = Patience::default();
    let clone = patience.clone().with_max_calls(u64::MAX - 1);
    assert!(hash_with(&clone).is_some());
    patience.end();
    assert_eq!((hash_with(&clone), hash_with(&patience)), (None, None));
}
