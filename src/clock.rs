//! The loop's monotonic clock as a handler reads it, for any kernel below.
//!
//! Each [`Net`](crate::net::Net) provides its only clock. Nothing here reads the operating system's clock.

use crate::time::Instant;
use std::fmt;

/// A monotonic clock that any thread can read. It shows the moments of one loop and never moves backwards.
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
