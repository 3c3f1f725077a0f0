//! The name of an upstream's link in events and reports.
//!
//! It stays valid as a name after the link has ended.

use crate::id::PeerId;
use std::net::SocketAddr;

/// An upstream, and the link on which it did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamLink {
    /// The upstream's address.
    pub address: SocketAddr,
    /// The link's id.
    pub peer: PeerId,
    /// Whether this side only listens on the link.
    pub is_listening: bool,
}
