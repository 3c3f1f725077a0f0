//! The nonces of our unfinished outbound handshakes. If a peer's `version` contains one of them, the loop has connected
//! to itself, or the peer repeats our nonce.

use crate::id::LinkId;
use std::collections::BTreeMap;

/// The nonces that were sent on outbound links whose handshake has not ended: at most one per link, about 60 bytes
/// each.
///
/// A nonce is removed when its handshake ends, so it has no effect if a peer repeats it later.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    links: BTreeMap<u64, LinkId>,
    nonces: BTreeMap<LinkId, u64>,
}

impl Nonces {
    pub(super) fn insert(&mut self, nonce: u64, link: LinkId) {
        self.links.insert(nonce, link);
        self.nonces.insert(link, nonce);
    }

    pub(super) fn remove(&mut self, link: LinkId) {
        if let Some(nonce) = self.nonces.remove(&link) {
            self.links.remove(&nonce);
        }
    }

    /// Returns the link on which `nonce` was sent, if the link's handshake has not ended.
    pub(super) fn link_of(&self, nonce: u64) -> Option<LinkId> {
        self.links.get(&nonce).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_known_until_its_link_is_removed() {
        let [first, second] = [LinkId::new(1, 0), LinkId::new(1, 1)];
        let mut nonces = Nonces::default();
        nonces.insert(7, first);
        nonces.insert(8, second);
        assert_eq!([7, 8, 9].map(|nonce| nonces.link_of(nonce)), [Some(first), Some(second), None]);
        nonces.remove(first);
        nonces.remove(first);
        assert_eq!([7, 8].map(|nonce| nonces.link_of(nonce)), [None, Some(second)]);
        nonces.remove(second);
        assert!(nonces.links.is_empty() && nonces.nonces.is_empty());
    }
}
