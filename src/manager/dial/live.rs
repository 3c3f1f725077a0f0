//! The addresses of live links, in either direction. Links may share an address.
//!
//! A dialled link has the dialled address, and an accepted link has the peer's source address. If an accepted peer's
//! `version` names a listening port, the link also claims the peer's listening address, unless another link keeps it.
//! Each entry is 56 bytes, and the entries of one host are adjacent.

use super::records::LEAST_ADDRESS;
use crate::address::{Host, canonical};
use crate::id::LinkId;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The addresses of all live links. The set is ordered, so that no peer can choose addresses that are slow to find.
#[derive(Debug, Default)]
pub(crate) struct Live {
    claims: BTreeSet<(Host, SocketAddr, LinkId)>,
}

const LEAST_ID: LinkId = LinkId::new(0, 0);

impl Live {
    /// Records that `link` has `address`, even if another link has it: one remote port may be connected to two of our
    /// ports.
    pub(crate) fn enter(&mut self, address: SocketAddr, link: LinkId) {
        self.claims.insert(claim(address, link));
    }

    /// Removes the claim of `link` to `address`, if it has one.
    pub(crate) fn release(&mut self, address: SocketAddr, link: LinkId) {
        self.claims.remove(&claim(address, link));
    }

    /// Returns a link with this address, if there is one.
    pub(crate) fn holder(&self, address: SocketAddr) -> Option<LinkId> {
        self.holders(address).next()
    }

    /// Returns the links with an address of `host`, in address order. A link with two such addresses is listed twice.
    pub(crate) fn of_host(&self, host: Host) -> impl Iterator<Item = LinkId> {
        let claims = self.claims.range((host, LEAST_ADDRESS, LEAST_ID)..);
        claims.take_while(move |(other, ..)| *other == host).map(|&(_, _, link)| link)
    }

    /// Returns all claims, in address order.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketAddr, LinkId)> {
        let claims: BTreeSet<_> = self.claims.iter().map(|&(_, address, link)| (address, link)).collect();
        claims.into_iter()
    }

    /// Returns the links with this address.
    pub(crate) fn holders(&self, address: SocketAddr) -> impl Iterator<Item = LinkId> {
        let (host, address, least) = claim(address, LEAST_ID);
        let claims = self.claims.range((host, address, least)..);
        claims.take_while(move |(_, other, _)| *other == address).map(|&(_, _, link)| link)
    }
}

fn claim(address: SocketAddr, link: LinkId) -> (Host, SocketAddr, LinkId) {
    (Host::of(address.ip()), canonical(address), link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: LinkId = LinkId::new(1, 0);
    const SECOND: LinkId = LinkId::new(2, 0);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_link_until_released_however_it_is_written() {
        let mut live = Live::default();
        let (theirs, mapped) = (address("192.0.2.1:8333"), address("[::ffff:192.0.2.1]:8333"));
        [theirs, theirs, mapped].into_iter().for_each(|address| live.enter(address, FIRST));
        live.enter(address("192.0.2.1:8334"), SECOND);
        assert_eq!(live.iter().count(), 2);
        live.release(theirs, SECOND);
        assert_eq!(live.holder(mapped), Some(FIRST), "another link released the address");
        live.release(mapped, FIRST);
        assert_eq!(live.holder(theirs), None);
    }

    #[test]
    fn two_links_may_share_an_address_and_each_releases_its_own_claim() {
        let mut live = Live::default();
        let theirs = address("192.0.2.1:5000");
        live.enter(theirs, SECOND);
        live.enter(theirs, FIRST);
        assert!(live.holders(theirs).eq([FIRST, SECOND]));
        live.release(theirs, SECOND);
        assert_eq!(live.holder(theirs), Some(FIRST));
        live.release(theirs, FIRST);
        assert_eq!(live.holder(theirs), None);
    }

    #[test]
    fn a_hosts_links_are_found_at_all_its_addresses_and_ports() {
        let mut live = Live::default();
        let links: Vec<LinkId> = (0..9).map(|slot| LinkId::new(slot, 0)).collect();
        let addresses = [
            "192.0.2.0:65535",
            "192.0.2.1:0",
            "[::ffff:192.0.2.1]:65535",
            "192.0.2.2:0",
            "[2001:4860:0:ffff:ffff:ffff:ffff:ffff]:65535",
            "[2001:4860:0:1::]:0",
            "[2001:4860:0:1:ffff:ffff:ffff:ffff]:65535",
            "[2001:4860:0:2::]:0",
        ];
        for (text, &link) in addresses.iter().zip(&links) {
            live.enter(address(text), link);
        }
        let of = |text: &str| live.of_host(Host::of(address(text).ip())).collect::<Vec<_>>();
        assert_eq!(of("192.0.2.1:1"), links[1..3]);
        assert_eq!(of("[2001:4860:0:1:7::]:1"), links[5..7]);
        assert_eq!(of("[2001:4860:0:3::]:1"), []);
    }

    #[test]
    fn a_hosts_links_are_found_at_its_translated_addresses_too() {
        let mut live = Live::default();
        let links: Vec<LinkId> = (0..5).map(|slot| LinkId::new(slot, 0)).collect();
        let addresses = [
            "8.8.8.8:1",
            "[2002:808:808::1]:1",
            "[2002:808:808:7::1]:1",
            "[64:ff9b::808:808]:1",
            "[64:ff9b::808:809]:1",
        ];
        for (text, &link) in addresses.iter().zip(&links) {
            live.enter(address(text), link);
        }
        let of_host: BTreeSet<LinkId> = live.of_host(Host::of(address("8.8.8.8:1").ip())).collect();
        assert!(of_host.iter().eq(&links[..4]), "{of_host:?}");
    }

    /// Generates one of a few addresses, so that two of them are often equal or share a host.
    fn any_address() -> impl Strategy<Value = SocketAddr> {
        const TEXTS: &[&str] =
            &["8.8.8.8", "8.8.8.9", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808:1::", "2a00::1", "2a00::2"];
        (prop::sample::select(TEXTS), 0..2_u16).prop_map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port))
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Enter,
        Release,
    }

    proptest! {
        #[test]
        fn the_set_equals_a_plain_list_of_all_claims(
            steps in prop::collection::vec(
                (prop::sample::select(&[Step::Enter, Step::Release][..]), any_address(), 0..3_u32),
                1..60,
            ),
        ) {
            let mut live = Live::default();
            let mut model: Vec<(SocketAddr, LinkId)> = Vec::new();
            for (step, theirs, slot) in steps {
                let (claim, link) = ((canonical(theirs), LinkId::new(slot, 0)), LinkId::new(slot, 0));
                model.retain(|other| *other != claim);
                match step {
                    Step::Enter => {
                        live.enter(theirs, link);
                        model.push(claim);
                    }
                    Step::Release => live.release(theirs, link),
                }
                model.sort();
                prop_assert!(live.iter().eq(model.iter().copied()));
                let holders = model.iter().filter(|(other, _)| *other == claim.0).map(|&(_, holder)| holder);
                prop_assert!(live.holders(theirs).eq(holders));
                let host = Host::of(theirs.ip());
                let of_host = model.iter().filter(|(other, _)| Host::of(other.ip()) == host).map(|&(_, link)| link);
                prop_assert!(live.of_host(host).eq(of_host));
            }
        }
    }

    #[test]
    fn a_removed_link_releases_no_address_of_the_next_link_in_its_slot() {
        let mut live = Live::default();
        let theirs = address("192.0.2.1:8333");
        live.enter(theirs, LinkId::new(1, 1));
        live.release(theirs, FIRST);
        assert_eq!(live.holder(theirs), Some(LinkId::new(1, 1)));
    }
}
