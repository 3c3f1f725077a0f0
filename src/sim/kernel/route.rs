//! The route of dials to an address, which a test sets.
//!
//! It does not depend on listeners, and it never changes by itself.

use std::time::Duration;

/// The route of dials to an address, with or without a listener there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// They reach the host with this address.
    #[default]
    Open,
    /// They fail with `ETIMEDOUT` after a time drawn between these two.
    Silent {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// They fail with `EHOSTUNREACH` after a time drawn between these two.
    NoHost {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// They fail at once with `ENETUNREACH`.
    NoNetwork,
}
