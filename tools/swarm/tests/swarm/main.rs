//! Many worlds, one per seed: the loop with peers, faults and conditions drawn from the seed.
//!
//! `PEERLOOP_SEEDS` sets the number of seeds and `PEERLOOP_FIRST_SEED` the first one, so that a run can be repeated.
//! A swarm of five thousand or more seeds must meet every situation that the list of marks contains.

mod comparison;
mod patience;
mod regressions;
mod worlds;
