//! The loop in a process of its own under faults of the real kernel: no descriptors, no ports, no memory, interrupted
//! calls, a stopped process, resets during writes, more connects than the backlog holds.
//!
//! strace injects the faults that cannot be produced otherwise. A test that needs strace or a network namespace where
//! there is none prints that it did not run, and passes. Tests assert only limits far above the expected durations,
//! and print the exact ones.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process needs a sleep and a clock")]

mod client;
mod descriptors;
mod injected;
mod node;
mod ports;
mod resets;
mod rush;
mod stopped;
