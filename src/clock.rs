//! The loop's monotonic clock as a handler reads it, whatever kernel is below.
//!
//! Each [`Net`](crate::net::Net) hands out its only clock. Nothing here reads the operating system's.

use crate::time::Instant;
use std::fmt;

/// A monotonic clock that any thread can read. It shows the moments of one loop, and never an earlier one than before.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the present moment.
    fn now(&self) -> Instant;
}

/// A clock that stands still.
#[cfg(test)]
impl Clock for Instant {
    fn now(&self) -> Instant {
        *self
    }
}
