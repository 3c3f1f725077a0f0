//! Dial modes: the manager dials either peers from the book or the peers on a fixed list.
//!
//! A [`DialMode`] is a plain value. [`ManagerConfig`](super::ManagerConfig) has the related limits.

use std::net::SocketAddr;

/// The peers that the manager dials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialMode {
    /// Dials peers from the book until there are [`ManagerConfig::target_peers`] peers. Peers with which
    /// a handshake was completed precede untried ones.
    ///
    /// [`ManagerConfig::target_peers`]: super::ManagerConfig::target_peers
    Normal,
    /// Dials only these peers and [`ManagerConfig::fixed_names`], at most [`ManagerConfig::max_peers`] at a time.
    /// Skips the loop's own addresses, and banned hosts that are not trusted. The list has at most 100,000 peers.
    /// Without a peer and a name, the manager dials nobody by itself.
    ///
    /// [`ManagerConfig::fixed_names`]: super::ManagerConfig::fixed_names
    /// [`ManagerConfig::max_peers`]: super::ManagerConfig::max_peers
    Fixed(Vec<SocketAddr>),
}

impl DialMode {
    /// Returns whether every fixed peer has a port other than 0 and an address other than the unspecified one.
    pub(super) fn is_dialable(&self) -> bool {
        match self {
            Self::Normal => true,
            Self::Fixed(peers) => peers.iter().all(|peer| peer.port() != 0 && !peer.ip().is_unspecified()),
        }
    }
}
