//! The peer manager in a virtual world: whom it dials, lets in, keeps out and remembers, and that it gives back what it
//! takes.

mod bans;
mod caps;
mod counts;
mod duplicates;
mod faults;
mod misbehavior;
mod names;
mod numbers;
mod outages;
mod places;
mod restarts;
mod seeds;
pub(crate) mod support;
