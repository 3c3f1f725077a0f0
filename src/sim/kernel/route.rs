//! The route that a test sets for dials to an address.
//!
//! It does not depend on listeners, and it never changes by itself.

use std::time::Duration;

/// The route of dials to an address, with or without a listener there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// Dials reach the address, and are refused if nothing listens there.
    #[default]
    Open,
    /// Dials fail with `ETIMEDOUT` after a random time in this range.
    Silent {
        /// The minimum time.
        least: Duration,
        /// The maximum time.
        most: Duration,
    },
    /// Dials fail with `EHOSTUNREACH` after a random time in this range.
    NoHost {
        /// The minimum time.
        least: Duration,
        /// The maximum time.
        most: Duration,
    },
    /// Dials fail at once with `ENETUNREACH`.
    NoNetwork,
}
