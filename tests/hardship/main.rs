//! The loop in a process of its own under real faults: no descriptors, no ports, no memory, interrupted
//! calls, a stopped process, resets during writes, and more connects than the backlog holds.
//!
//! strace injects the faults that cannot be produced otherwise. If strace or network namespaces are not available, the
//! tests that need them print that they did not run, and pass. Where tests limit a duration, the limit is far above the
//! expected duration.

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
