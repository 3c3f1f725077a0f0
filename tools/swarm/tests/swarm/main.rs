//! Many worlds, one per seed: the loop with peers, faults and conditions drawn from the seed.
//!
//! `PEERLOOP_SEEDS` sets the number of seeds and `PEERLOOP_FIRST_SEED` the first one, so that a run can be repeated.
//! From five thousand seeds on, a swarm must set every mark.

mod comparison;
mod patience;
mod regressions;
mod worlds;
