//! A record of one choice of an address to dial, for the simulator's checks.
//!
//! A [`Draw`] records a decision of the dialler and never influences a decision.

use std::net::SocketAddr;

/// An address that the manager chose to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The address.
    pub address: SocketAddr,
    /// The number of peer slots in use, including the one for this address.
    pub slots_in_use: usize,
}
