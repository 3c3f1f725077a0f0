//! A dial that a handler or an embedder asks for.

use crate::peer::VersionFacts;
use std::net::{IpAddr, SocketAddr};

/// A connection to open, as it was requested.
#[derive(Debug)]
pub(crate) struct Dialling {
    pub(crate) address: SocketAddr,
    /// The local address; `None` if the system chooses it.
    pub(crate) source: Option<IpAddr>,
    /// Whether the address may have other links.
    pub(crate) is_further: bool,
    /// The facts that our `version` states on this connection; `None` for the configuration's.
    pub(crate) facts: Option<VersionFacts>,
    /// Whether the facts are those of another node, which must not promise a second connection.
    pub(crate) is_for_other: bool,
}

impl From<SocketAddr> for Dialling {
    fn from(address: SocketAddr) -> Self {
        Self { address, source: None, is_further: false, facts: None, is_for_other: false }
    }
}
