//! An address that was drawn, for the simulator's checks.
//!
//! It records a decision of the dialler and never takes part in one.

use std::net::SocketAddr;

/// An address that the manager chose to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Which.
    pub address: SocketAddr,
    /// Places that were taken with its own.
    pub places_taken: usize,
}
