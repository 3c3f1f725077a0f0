//! The peer manager in a virtual world: the peers that it dials, accepts, refuses and remembers, and its slots.

mod bans;
mod caps;
mod counts;
mod duplicates;
mod faults;
mod misbehavior;
mod names;
mod numbers;
mod outages;
mod restarts;
mod seeds;
mod slots;
pub(crate) mod support;
