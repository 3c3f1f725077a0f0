//! A connection's life: the search for a duplicate once its `version` has arrived, the update of the book once its
//! handshake is complete, and the consequences of its close.

use super::Manager;
use super::duplicates::Duplicate;
use crate::error::{CloseReason, Side};
use crate::id::LinkId;
use crate::manager::dial::{Decision, Departure, Ended};
use crate::manager::store::{KnownPeer, PeerStatus, UserAgent};
use crate::peer::{ConnectionState, ConnectionType};
use crate::time::Moment;
use crate::wire::Version;
use rand::rngs::StdRng;
use std::net::SocketAddr;

/// A connection that ends as a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    pub(crate) id: LinkId,
    pub(crate) address: SocketAddr,
    pub(crate) connection_type: ConnectionType,
    /// The state that the connection had reached.
    pub(crate) state: ConnectionState,
    pub(crate) reason: CloseReason,
    /// The kind of close, for the dialler.
    pub(crate) ended: Ended,
}

/// The consequences of a connection's close.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Removed {
    /// Whether and when the address is dialled again, if this side dialled it.
    pub(crate) departure: Option<Departure>,
    /// Whether the host is banned and not trusted.
    pub(crate) is_barred: bool,
}

impl Manager {
    /// Looks for another link to the peer that sent `version`. Returns `None` if no link is certainly a duplicate, or
    /// if this side opened the link `id`.
    ///
    /// If the peer connected to us, its listening address is the IP address of `address` with the port in `version`.
    /// This link claims that listening address unless another link keeps it. All accepted links of a trusted address
    /// are kept.
    ///
    /// `is_long_ready` returns whether the link with the given ID has been ready for at least the handshake timeout.
    /// Such a link is treated as older than this one, so this one is the duplicate.
    pub(crate) fn identify(
        &mut self,
        id: LinkId,
        address: SocketAddr,
        opener: Side,
        version: &Version,
        is_long_ready: impl FnOnce(LinkId) -> bool,
    ) -> Option<Duplicate> {
        let is_trusted = self.is_trusted(address.ip());
        self.duplicates.identify(&mut self.dialler.live, id, address, opener, version, is_trusted, is_long_ready)
    }

    /// Records that a handshake is complete. If the peer's listening address is known, stores the facts from the
    /// peer's `version` in the book under that address. An accepted peer's address is added only within the limits on
    /// gossip.
    pub(crate) fn handshake_completed(
        &mut self,
        id: LinkId,
        address: SocketAddr,
        opener: Side,
        version: &Version,
        moment: Moment,
        rng: &mut StdRng,
    ) {
        let listening = match opener {
            // The embedder dials the address itself, so the book does not need it.
            Side::Local if self.further.contains(&id) => None,
            Side::Local => {
                self.dialler.ready(address, moment.now);
                self.names.ready(address, moment.now);
                Some(address)
            }
            Side::Remote => self.duplicates.said_listening(id),
        };
        self.outage.end();
        let Some(listening) = listening else { return };
        let mut peer = KnownPeer::new(listening, moment.unix);
        peer.services = version.services;
        match opener {
            Side::Local => self.add_to_book(peer, moment.now, rng),
            // The peer may claim a different port each time, so its claims are limited like gossip.
            Side::Remote => self.learn_address(address.ip(), peer, moment, rng),
        };
        self.persistence.update_book(listening, moment, |peer| {
            // An inbound connection does not prove that the address can be dialled.
            if opener == Side::Local {
                peer.status = PeerStatus::Valid;
                peer.failures = 0;
                peer.last_connected = Some(moment.unix);
            }
            peer.services = version.services;
            peer.user_agent = UserAgent::sanitised(version.user_agent.as_deref().unwrap_or_default());
        });
    }

    /// Releases everything that a connection held, decides whether its address is dialled again, and marks the address
    /// in the book as banned if its host is banned and not trusted.
    ///
    /// `has_ready_peer` states whether any other peer is ready.
    pub(crate) fn link_removed(
        &mut self,
        leaving: Leaving,
        has_ready_peer: bool,
        moment: Moment,
        rng: &mut StdRng,
    ) -> Removed {
        let address = leaving.address;
        let departure = self.forget_link(leaving, has_ready_peer, moment, rng);
        let is_barred = self.is_barred(address, moment);
        self.record_ban_status(address, moment);
        Removed { departure, is_barred }
    }

    fn forget_link(
        &mut self,
        leaving: Leaving,
        has_ready_peer: bool,
        moment: Moment,
        rng: &mut StdRng,
    ) -> Option<Departure> {
        let Leaving { id, address, connection_type, state, reason: _, mut ended } = leaving;
        self.admission.link_removed(address.ip());
        self.dialler.live.release(address, id);
        self.duplicates.link_removed(id, &mut self.dialler.live);
        self.conduct.link_removed(id);
        self.gossip.link_removed(id);
        match connection_type {
            ConnectionType::Outbound | ConnectionType::Inbound => self.dialler.slots.give_back(),
            ConnectionType::OverCapacity => {}
        }
        // The end of a further link says nothing about the address's other links, and the embedder dials it again.
        if self.further.remove(&id) || connection_type != ConnectionType::Outbound {
            return None;
        }
        if has_ready_peer {
            self.outage.end();
        } else if ended.is_failed_dial(state) && self.outage.note_failed_dial(address.ip(), moment.now) {
            ended = Ended::Offline;
        }
        let mut departure = self.dialler.ended(address, ended, moment.now, rng);
        if self.names.ended(address, ended, departure.decision, moment.now, rng) {
            departure.decision = Decision::NextAddress;
            self.update_fixed_list();
        }
        let Departure { decision, failures, restarts: _ } = departure;
        match decision {
            Decision::Inaccessible => self.persistence.update_book(address, moment, |peer| {
                peer.status = PeerStatus::Inaccessible;
                peer.failures = failures;
            }),
            Decision::WaitUntil(_) => self.persistence.update_book(address, moment, |peer| peer.failures = failures),
            Decision::Restart | Decision::NextAddress | Decision::Nothing => {}
        }
        Some(departure)
    }
}
