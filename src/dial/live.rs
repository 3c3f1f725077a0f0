//! Which address is whose: no two links to one address and port, in either direction.
//!
//! A link claims the address that it dialled or was accepted from and, once its `version` names the port that it listens
//! on, that one too. A claim is 60 bytes or so.

use crate::address::canonical;
use crate::id::LinkId;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The addresses of all live links. It is ordered, so that nobody can choose addresses that are slow to find.
#[derive(Debug, Default)]
pub(crate) struct Live {
    holders: BTreeMap<SocketAddr, LinkId>,
}

impl Live {
    /// Claims `address` for `link`.
    ///
    /// # Errors
    ///
    /// The other link that has it.
    pub(crate) fn claim(&mut self, address: SocketAddr, link: LinkId) -> Result<(), LinkId> {
        match *self.holders.entry(canonical(address)).or_insert(link) {
            holder if holder == link => Ok(()),
            holder => Err(holder),
        }
    }

    /// Ends the claim of `link` to `address`, if it has one.
    pub(crate) fn release(&mut self, address: SocketAddr, link: LinkId) {
        let address = canonical(address);
        if self.holders.get(&address) == Some(&link) {
            self.holders.remove(&address);
        }
    }

    /// The link that has `address`.
    pub(crate) fn holder(&self, address: SocketAddr) -> Option<LinkId> {
        self.holders.get(&canonical(address)).copied()
    }

    /// Claims there are.
    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }
}
