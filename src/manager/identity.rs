//! Who a peer turns out to be once it has said its `version`: this loop itself, one that is connected already, or one
//! to remember.

use super::Manager;
use crate::dial::{Keep, resolve_crossing};
use crate::error::Side;
use crate::id::LinkId;
use crate::store::{Change, KnownPeer, PeerStatus, UserAgent};
use crate::time::{Instant, UnixTime};
use crate::wire::Version;
use rand::rngs::StdRng;
use std::net::SocketAddr;

/// What is wrong with a connection whose `version` has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicate {
    /// It is one of this loop to itself; so is the link that dialled, if it is still there.
    Itself {
        /// The other end.
        dialled: Option<LinkId>,
        /// The other end came from where it was dialled, so nobody has replayed a nonce of ours.
        is_proven: bool,
    },
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
        if let Some(found) = self.dialler.self_connection(sender.nonce, address.ip()) {
            return Some(Duplicate::Itself {
                dialled: self.dialler.live.holder(found.dialled),
                is_proven: found.is_proven,
            });
        }
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
            Keep::This => Some(Duplicate::Other(other)),
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
                Some(address)
            }
            Side::Remote => self.said_listening.get(&id).copied(),
        };
        let Some(listening) = listening else { return };
        if self.book.peer(listening).is_none() {
            self.learn(listening, version.services, (now, unix), rng);
        }
        self.write_down(listening, unix, now, |peer| {
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

    /// Takes an address into the book that nobody has tried; returns whether it is new.
    pub(crate) fn learn(
        &mut self,
        address: SocketAddr,
        services: u64,
        (now, unix): (Instant, UnixTime),
        rng: &mut StdRng,
    ) -> bool {
        let mut peer = KnownPeer::new(address, unix);
        peer.services = services;
        let Ok(gone) = self.book.admit(peer.clone(), rng) else { return false };
        if let Some(gone) = gone {
            self.record(Change::RemovePeer(gone.address()), true, now);
        }
        self.record(Change::PutPeer(peer), false, now);
        self.dialler.book_changed();
        true
    }
}
