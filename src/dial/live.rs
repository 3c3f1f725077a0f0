//! Which address is whose: no two links to one address and port, in either direction.
//!
//! A link claims the address that it dialled or was accepted from and, once its `version` names the port that it
//! listens on, that one too. A claim is 60 bytes or so.

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

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: LinkId = LinkId::new(1, 0);
    const SECOND: LinkId = LinkId::new(2, 0);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_the_one_that_claimed_it_first_until_that_lets_go() {
        let mut live = Live::default();
        let theirs = address("192.0.2.1:8333");
        assert_eq!(live.claim(theirs, FIRST), Ok(()));
        assert_eq!(live.claim(theirs, FIRST), Ok(()), "it is its own already");
        assert_eq!(live.claim(address("[::ffff:192.0.2.1]:8333"), SECOND), Err(FIRST));
        assert_eq!(live.claim(address("192.0.2.1:8334"), SECOND), Ok(()));
        live.release(theirs, SECOND);
        assert_eq!(live.holder(theirs), Some(FIRST), "it is not for others to let go of");
        live.release(address("[::ffff:192.0.2.1]:8333"), FIRST);
        assert_eq!(live.claim(theirs, SECOND), Ok(()));
        assert_eq!(live.len(), 2);
    }

    #[test]
    fn a_link_that_is_gone_frees_nothing_of_its_slots_next_user() {
        let mut live = Live::default();
        let theirs = address("192.0.2.1:8333");
        assert_eq!(live.claim(theirs, LinkId::new(1, 1)), Ok(()));
        live.release(theirs, FIRST);
        assert_eq!(live.holder(theirs), Some(LinkId::new(1, 1)));
    }
}
