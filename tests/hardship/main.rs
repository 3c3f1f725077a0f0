//! The loop in a process of its own under faults of the real kernel: no descriptors, no ports, no memory, interrupted
//! calls, a stopped process, resets under way, more connects than the backlog.
//!
//! strace injects the faults that cannot be produced otherwise. Where it is missing, or where no network namespace
//! can be made, a test prints that it did not run, and passes. Tests assert durations only by bounds far beyond the
//! expected ones, and print the exact figures.

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
