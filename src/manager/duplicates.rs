//! The identity of a peer once it has sent its `version`: one that is connected already, or one to remember.

use super::Manager;
use crate::error::Side;
use crate::id::LinkId;
use crate::manager::dial::{Keep, resolve_crossing};
use crate::manager::store::{Change, KnownPeer, PeerStatus, UserAgent};
use crate::time::{Instant, UnixTime};
use crate::wire::Version;
use rand::rngs::StdRng;
use std::net::SocketAddr;

/// What is wrong with a connection whose `version` has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicate {
    /// There is another link to the same peer, and this one goes.
    This,
    /// There is another link to the same peer, which was opened at the same moment, and goes.
    Other(LinkId),
}

impl Manager {
    /// Judges the `version` of a peer that was dialled at, or came from, `address`.
    ///
    /// `is_settled` says of another link whether it has been ready for longer than two handshakes that cross can last.
    pub(crate) fn identify(
        &mut self,
        id: LinkId,
        address: SocketAddr,
        opener: Side,
        version: &Version,
        is_settled: impl FnOnce(LinkId) -> bool,
    ) -> Option<Duplicate> {
        if opener == Side::Local {
            return None;
        }
        let sender = version.sender?;
        if sender.address.port == 0 {
            return None;
        }
        let theirs = SocketAddr::new(address.ip(), sender.address.port);
        let Err(other) = self.dialler.live.claim(theirs, id) else {
            self.said_listening.insert(id, theirs);
            return None;
        };
        if is_settled(other) {
            return Some(Duplicate::This);
        }
        match resolve_crossing(opener, Some(version.receiver.to_socket()), Some(theirs)) {
            Keep::Both => None,
            Keep::This => {
                self.dialler.live.enter(theirs, id);
                self.said_listening.insert(id, theirs);
                Some(Duplicate::Other(other))
            }
            Keep::Other => Some(Duplicate::This),
        }
    }

    /// The handshake is complete: writes down what the peer said of itself, at the address where it listens.
    pub(crate) fn settled(
        &mut self,
        id: LinkId,
        address: SocketAddr,
        opener: Side,
        version: &Version,
        (now, unix): (Instant, UnixTime),
        rng: &mut StdRng,
    ) {
        let listening = match opener {
            Side::Local => {
                self.dialler.ready(address, now);
                self.names.ready(address, now);
                Some(address)
            }
            Side::Remote => self.said_listening.get(&id).copied(),
        };
        self.outage.end();
        let Some(listening) = listening else { return };
        let mut peer = KnownPeer::new(listening, unix);
        peer.services = version.services;
        match opener {
            Side::Local => self.add_to_book(peer, now, rng),
            // It may say another port each time.
            Side::Remote => self.learn_address(address.ip(), peer, (now, unix), rng),
        };
        self.update_book(listening, unix, now, |peer| {
            // That somebody has come from there does not say that one can connect to it.
            if opener == Side::Local {
                peer.status = PeerStatus::Valid;
                peer.failures = 0;
                peer.last_connected = Some(unix);
            }
            peer.services = version.services;
            peer.user_agent = UserAgent::sanitised(version.user_agent.as_deref().unwrap_or_default());
        });
    }

    /// Takes a peer into the book that nobody has tried; returns whether it is new and there is room.
    pub(super) fn add_to_book(&mut self, peer: KnownPeer, now: Instant, rng: &mut StdRng) -> bool {
        let Ok(gone) = self.book.admit(peer.clone(), rng) else { return false };
        if let Some(gone) = gone {
            self.record(Change::RemovePeer(gone.address()), true, now);
        }
        self.record(Change::PutPeer(peer), false, now);
        self.dialler.book_changed();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ManagerConfig;
    use crate::protocol::Network;
    use rand::SeedableRng;

    /// What somebody says who listens at port 8333, and speaks from another one.
    fn version() -> Version {
        let mut payload = vec![0; 46];
        payload[..4].copy_from_slice(&70_016_i32.to_le_bytes());
        payload[4] = 0x21;
        // The sender's services and address, its port, its nonce, an empty user agent and a height.
        payload.extend([0; 24]);
        payload.extend(8_333_u16.to_be_bytes());
        payload.extend([7; 8]);
        payload.extend([0; 5]);
        Version::decode(&payload).unwrap()
    }

    #[test]
    fn seed_e33_who_came_is_remembered_where_it_listens_as_one_that_nobody_has_tried() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut manager = Manager::new(&ManagerConfig::new(Network::Mainnet), Network::Mainnet, &mut rng);
        let (from, listening) = ("192.0.2.1:50000".parse().unwrap(), "192.0.2.1:8333".parse().unwrap());
        let (id, moment) = (LinkId::new(0, 1), (Instant::from_nanos(1), UnixTime::from_secs(1)));
        assert_eq!(manager.identify(id, from, Side::Remote, &version(), |_| false), None);
        manager.settled(id, from, Side::Remote, &version(), moment, &mut rng);
        let known = manager.book.peer(listening).expect("it is remembered");
        assert_eq!((known.status, known.services, known.last_connected), (PeerStatus::Unknown, 0x21, None));
        assert_eq!(manager.book.peer(from), None, "nobody listens there");
    }

    #[test]
    fn seed_e33_one_that_was_inaccessible_is_let_in_and_unknown_until_it_was_reached() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut manager = Manager::new(&ManagerConfig::new(Network::Mainnet), Network::Mainnet, &mut rng);
        let (from, listening) = ("192.0.2.1:50000".parse().unwrap(), "192.0.2.1:8333".parse().unwrap());
        let (id, moment) = (LinkId::new(0, 1), (Instant::from_nanos(1), UnixTime::from_secs(1)));
        let mut peer = KnownPeer::new(listening, moment.1);
        peer.status = PeerStatus::Inaccessible;
        manager.book.admit(peer, &mut rng).unwrap();
        assert_eq!(manager.identify(id, from, Side::Remote, &version(), |_| false), None);
        manager.settled(id, from, Side::Remote, &version(), moment, &mut rng);
        let known = manager.book.peer(listening).expect("it is remembered");
        assert_eq!((known.status, known.services), (PeerStatus::Unknown, 0x21));
        manager.settled(id, listening, Side::Local, &version(), moment, &mut rng);
        assert_eq!(manager.book.peer(listening).map(|peer| peer.status), Some(PeerStatus::Valid));
    }
}
