//! Worlds by the thousand: the loop among peers, faults and conditions that each seed draws anew.
//!
//! `PEERLOOP_SEEDS` says how many seeds are run, half of them always the same and half of them new with each commit.
//! From five thousand on, everything that a swarm has to come across must have been come across.

#[cfg(feature = "sim-bugs")]
mod canaries;
mod comparison;
mod patience;
mod regressions;
mod worlds;
