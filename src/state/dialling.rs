//! Dials that handlers and embedders ask for: the checks of a dial, and the row that it gets.

use super::LoopState;
use crate::error::RequestError;
use crate::id::LinkId;
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
}

impl From<SocketAddr> for Dialling {
    fn from(address: SocketAddr) -> Self {
        Self { address, source: None, is_further: false, facts: None }
    }
}

impl LoopState {
    /// Allocates a row for a connection. The turn then opens the connection.
    pub(crate) fn connect(&mut self, dialling: impl Into<Dialling>) -> Result<LinkId, RequestError> {
        let Dialling { address, source, is_further, facts } = dialling.into();
        facts.as_ref().map_or(Ok(()), VersionFacts::check)?;
        self.allow_outbound(address, is_further)?;
        let link = self.open(address, source);
        if let Some(manager) = self.manager.as_mut().filter(|_| is_further) {
            manager.further_link_added(link);
        }
        if let Some(facts) = facts {
            // Facts that stand for another node must not promise a second connection.
            self.links.dissociate(link);
            self.facts.insert(link, facts);
        }
        Ok(link)
    }

    /// Allocates a row for a connection to `address` that an embedder has opened.
    pub(crate) fn add_outbound(&mut self, address: SocketAddr) -> Result<LinkId, RequestError> {
        self.allow_outbound(address, false)?;
        Ok(self.take_outbound_row(address))
    }

    /// Checks that a connection to `address` is allowed, and reserves the manager's slot for it. A further connection
    /// is allowed even if the address has other links.
    fn allow_outbound(&mut self, address: SocketAddr, is_further: bool) -> Result<(), RequestError> {
        if self.stopping {
            return Err(RequestError::Stopped);
        }
        if self.links.table.len() >= self.config.max_links {
            return Err(RequestError::TableFull);
        }
        let moment = self.clocks.moment();
        match &mut self.manager {
            Some(manager) if is_further => manager.allow_further_dial(address, moment),
            Some(manager) => manager.allow_dial(address, moment),
            None => Ok(()),
        }
    }
}
