//! Many worlds, one per seed: the loop with peers, faults and conditions drawn from the seed.
//!
//! `PEERLOOP_SEEDS` sets the number of seeds and `PEERLOOP_FIRST_SEED` the first one, so that a run can be repeated.
//! With 5,000 or more seeds (`SEEDS_FOR_ALL_MARKS`), the worlds must together reach every situation that has a `Mark`.

mod comparison;
mod patience;
mod regressions;
mod worlds;
