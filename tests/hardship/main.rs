//! The loop in a process of its own while the kernel itself gives the fault: no descriptors, no ports, no memory,
//! interrupted calls, a stopped process, resets under way, more connects than the backlog.
//!
//! Faults that cannot be had otherwise are injected with strace. Where it is missing, or a network namespace cannot be
//! made, a test says loudly that it did not run and passes. No test asserts a duration but by a bound that is many
//! times what it should be; the exact figures are printed.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a sleep and a clock")]

mod client;
mod descriptors;
#[path = "../../benches/greeting/mod.rs"]
mod greeting;
mod injected;
mod node;
mod ports;
mod resets;
mod rush;
mod stopped;
