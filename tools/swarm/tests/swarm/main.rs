//! Worlds by the thousand: the loop among peers, faults and conditions that each seed draws anew.
//!
//! `PEERLOOP_SEEDS` says how many seeds are run and `PEERLOOP_FIRST_SEED` which is the first, so a run can be repeated.
//! From five thousand on, everything that a swarm has to come across must have been come across.

mod comparison;
mod patience;
mod regressions;
mod worlds;
