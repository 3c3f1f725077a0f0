//! The virtual kernel compared with the real one: the same scripts run on the real kernel, and on the virtual one with
//! the pollers `Linux` and `Mean`.
//!
//! A script makes calls and returns its observations, which must be the same on every kernel. They cover the results
//! of calls, and whether an edge arrives and reports that something is readable or has ended. They do not cover the
//! points on which kernels may differ: whether an edge for reading also reports room to write, how much a socket
//! buffers, whether a refused dial fails at once or by an event, and whether unread data survives a reset.

#![expect(clippy::unwrap_used, reason = "a failure in a helper fails its test")]

mod ending;
mod opening;
mod reading;
mod resolving;
mod stage;
mod writing;
