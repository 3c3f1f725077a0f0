//! Tests of the loop in a virtual world, for example with streams split at every point, deadlines exact to the tick,
//! and hostile peers that a test drives by hand. Other tests check the virtual world itself.

#![expect(clippy::unwrap_used, reason = "a failure in a helper fails its test")]

mod accepting;
mod actors;
mod answering;
mod asking;
mod associations;
mod attackers;
mod backpressure;
mod budget;
mod cargo;
mod closing;
mod crowds;
mod deadlines;
mod determinism;
mod extremes;
mod facts;
mod gossip;
mod hostile;
mod invariants;
mod keen;
mod keepalive;
mod kernel;
mod listening;
mod manager;
mod opening;
mod overtaking;
mod pairs;
mod parts;
mod persisting;
mod pipe;
mod pongs;
mod quirks;
mod rejects;
mod relay;
mod reporting;
mod resolving;
mod sluggish;
mod splits;
mod stale;
mod stopped;
mod streams;
mod throughput;
mod timers;
mod updates;
mod wraps;
