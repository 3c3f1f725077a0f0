//! The loop's monotonic clock, as a handler reads it.
//!
//! The loop's [`Net`](crate::net::Net) provides the clock, and the loop has no other monotonic clock. This module
//! never reads the operating system's clock.

use crate::time::Instant;
use std::fmt;

/// A monotonic clock that any thread can read. Its instants are comparable only within one loop, and never decrease.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the current moment.
    fn now(&self) -> Instant;
}

/// A stopped clock.
#[cfg(test)]
impl Clock for Instant {
    fn now(&self) -> Instant {
        *self
    }
}
