//! Duplicate connections to one peer, detected by the peer's listening address.

use crate::error::Side;
use crate::id::LinkId;
use crate::manager::dial::{Keep, Live, resolve_crossing};
use crate::wire::Version;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The duplicate link to close, found when a connection's `version` arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicate {
    /// This link is closed, because another link to the same peer exists.
    This,
    /// The other link is closed, because the two links crossed and this one is kept.
    Other(LinkId),
}

/// The listening addresses that accepted peers have claimed.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    pub(super) said_listening: BTreeMap<LinkId, SocketAddr>,
}

impl Duplicates {
    /// Returns the listening address that an accepted peer has claimed.
    pub(super) fn said_listening(&self, id: LinkId) -> Option<SocketAddr> {
        self.said_listening.get(&id).copied()
    }

    /// Removes a link, and releases the address that it claimed.
    pub(super) fn link_removed(&mut self, id: LinkId, live: &mut Live) {
        if let Some(listening) = self.said_listening.remove(&id) {
            live.release(listening, id);
        }
    }

    /// Looks for another link to the peer that sent `version`. Returns `None` if there is none, if both are kept, if
    /// this side opened the link, or if `version` names no listening port.
    ///
    /// If the peer connected to us, its listening address is the IP address of `address` with the port in `version`.
    /// This link claims that listening address unless another link keeps it for itself.
    ///
    /// `is_long_ready` returns whether the link with the given ID has been ready for at least the handshake timeout.
    /// Such a link is treated as older than this one, so this one is the duplicate.
    ///
    /// All accepted links are kept if `is_trusted` is set: the peers of a trusted network may share one IP address.
    /// Each of them claims the listening address, so that the address is not dialled while one of them is open.
    #[expect(clippy::too_many_arguments, reason = "the link, its peer's claim and the manager's view of both")]
    pub(super) fn identify(
        &mut self,
        live: &mut Live,
        id: LinkId,
        address: SocketAddr,
        opener: Side,
        version: &Version,
        is_trusted: bool,
        is_long_ready: impl FnOnce(LinkId) -> bool,
    ) -> Option<Duplicate> {
        if opener == Side::Local {
            return None;
        }
        let sender = version.sender?;
        if sender.address.port == 0 {
            return None;
        }
        let theirs = SocketAddr::new(address.ip(), sender.address.port);
        // Another link was accepted, too, if it has claimed a listening address.
        let is_kept = |other: &LinkId| is_trusted && self.said_listening.contains_key(other);
        let other = live.holders(theirs).find(|other| *other != id && !is_kept(other));
        if other.is_some_and(is_long_ready) {
            return Some(Duplicate::This);
        }
        let crossing = other.map(|_| resolve_crossing(opener, Some(version.receiver.to_socket()), Some(theirs)));
        match crossing {
            Some(Keep::Both) => None,
            Some(Keep::Other) => Some(Duplicate::This),
            Some(Keep::This) | None => {
                live.enter(theirs, id);
                self.said_listening.insert(id, theirs);
                other.map(Duplicate::Other)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ManagerConfig;
    use crate::manager::Manager;
    use crate::manager::store::{KnownPeer, PeerStatus};
    use crate::protocol::Network;
    use crate::time::{Instant, Moment, UnixTime};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// Returns the `version` of a peer that listens on port 8333.
    fn version() -> Version {
        let mut payload = vec![0; 46];
        payload[..4].copy_from_slice(&70_016_i32.to_le_bytes());
        payload[4] = 0x21;
        // The sender's services and IP address, its port, its nonce, an empty user agent, and a height.
        payload.extend([0; 24]);
        payload.extend(8_333_u16.to_be_bytes());
        payload.extend([7; 8]);
        payload.extend([0; 5]);
        Version::decode(&payload).unwrap()
    }

    #[test]
    fn accepted_links_of_one_address_are_duplicates_unless_it_is_trusted() {
        let from = |port| SocketAddr::from(([192, 0, 2, 1], port));
        for is_trusted in [false, true] {
            let config = ManagerConfig {
                trusted: if is_trusted { vec![(from(0).ip(), 32)] } else { Vec::new() },
                ..ManagerConfig::new(Network::Mainnet)
            };
            let mut manager = Manager::new(&config, Network::Mainnet, &mut StdRng::seed_from_u64(1));
            let mut identify = |slot, is_old| {
                let port = 50_000 + slot as u16;
                manager.identify(LinkId::new(slot, 0), from(port), Side::Remote, &version(), |_| is_old)
            };
            assert_eq!(identify(0, false), None);
            let expected = if is_trusted { None } else { Some(Duplicate::This) };
            assert_eq!([identify(1, true), identify(2, true)], [expected; 2]);
            let listening = SocketAddr::from(([192, 0, 2, 1], 8_333));
            manager.duplicates.link_removed(LinkId::new(0, 0), &mut manager.dialler.live);
            let holder = if is_trusted { Some(LinkId::new(1, 0)) } else { None };
            assert_eq!(manager.dialler.live.holder(listening), holder);
            // A link that this side has dialled is the only one to its address.
            manager.dialler.live.enter(listening, LinkId::new(9, 0));
            let crossing = manager.identify(LinkId::new(3, 0), from(1), Side::Remote, &version(), |_| true);
            assert_eq!(crossing, Some(Duplicate::This));
        }
    }

    #[test]
    fn req_e33_an_inbound_peer_is_stored_as_unknown_at_its_listening_address() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut manager = Manager::new(&ManagerConfig::new(Network::Mainnet), Network::Mainnet, &mut rng);
        let (from, listening) = ("192.0.2.1:50000".parse().unwrap(), "192.0.2.1:8333".parse().unwrap());
        let (id, moment) = (LinkId::new(0, 1), Moment { now: Instant::from_nanos(1), unix: UnixTime::from_secs(1) });
        assert_eq!(manager.identify(id, from, Side::Remote, &version(), |_| false), None);
        manager.handshake_completed(id, from, Side::Remote, &version(), moment, &mut rng);
        let known = manager.persistence.book.peer(listening).expect("the peer is in the book");
        assert_eq!((known.status, known.services, known.last_connected), (PeerStatus::Unknown, 0x21, None));
        assert_eq!(manager.persistence.book.peer(from), None, "the source address is in the book");
    }

    #[test]
    fn req_e33_an_inaccessible_peer_may_connect_and_is_unknown_until_dialled() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut manager = Manager::new(&ManagerConfig::new(Network::Mainnet), Network::Mainnet, &mut rng);
        let (from, listening) = ("192.0.2.1:50000".parse().unwrap(), "192.0.2.1:8333".parse().unwrap());
        let (id, moment) = (LinkId::new(0, 1), Moment { now: Instant::from_nanos(1), unix: UnixTime::from_secs(1) });
        let mut peer = KnownPeer::new(listening, moment.unix);
        peer.status = PeerStatus::Inaccessible;
        manager.persistence.book.admit(peer, &mut rng).unwrap();
        assert_eq!(manager.identify(id, from, Side::Remote, &version(), |_| false), None);
        manager.handshake_completed(id, from, Side::Remote, &version(), moment, &mut rng);
        let known = manager.persistence.book.peer(listening).expect("the peer is in the book");
        assert_eq!((known.status, known.services), (PeerStatus::Unknown, 0x21));
        manager.handshake_completed(id, listening, Side::Local, &version(), moment, &mut rng);
        assert_eq!(manager.persistence.book.peer(listening).map(|peer| peer.status), Some(PeerStatus::Valid));
    }
}
