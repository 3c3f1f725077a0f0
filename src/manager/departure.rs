//! What the end of a connection changes: its place, its claims, and what is thought of its address.

use super::Manager;
use crate::error::CloseReason;
use crate::id::LinkId;
use crate::manager::dial::{Departure, Ended, Verdict};
use crate::manager::store::{Change, KnownPeer, PeerStatus};
use crate::peer::{ConnectionState, ConnectionType};
use crate::time::{Instant, UnixTime};
use rand::rngs::StdRng;
use std::net::SocketAddr;

/// A connection whose row is about to be freed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    pub(crate) id: LinkId,
    pub(crate) address: SocketAddr,
    pub(crate) connection_type: ConnectionType,
    /// How far it had come.
    pub(crate) state: ConnectionState,
    pub(crate) reason: CloseReason,
    /// How the dialler treats the address.
    pub(crate) ended: Ended,
}

impl Manager {
    /// Gives back all that the connection held; says of one that was dialled what becomes of its address.
    ///
    /// `has_ready_peer` says whether any other peer is ready.
    pub(crate) fn left(
        &mut self,
        leaving: Leaving,
        has_ready_peer: bool,
        (now, unix): (Instant, UnixTime),
        rng: &mut StdRng,
    ) -> Option<Departure> {
        let Leaving { id, address, connection_type, state, reason: _, mut ended } = leaving;
        self.admission.left(address.ip());
        self.dialler.live.release(address, id);
        if let Some(listening) = self.said_listening.remove(&id) {
            self.dialler.live.release(listening, id);
        }
        self.scores.remove(&id);
        self.gossip.left(id);
        self.bad_checksums.remove(&id);
        match connection_type {
            ConnectionType::Outbound | ConnectionType::Inbound => self.dialler.slots.give_back(),
            ConnectionType::OverCapacity => {}
        }
        if connection_type != ConnectionType::Outbound {
            return None;
        }
        if has_ready_peer {
            self.outage.end();
        } else if ended.is_failed_dial(state) && self.outage.note_failed_dial(address.ip(), now) {
            ended = Ended::Offline;
        }
        let mut departure = self.dialler.ended(address, ended, now, rng);
        if self.names.ended(address, ended, departure.verdict, now, rng) {
            departure.verdict = Verdict::NextAddress;
            self.update_fixed_list();
        }
        let Departure { verdict, failures, restarts: _ } = departure;
        match verdict {
            Verdict::Inaccessible => self.update_book(address, unix, now, |peer| {
                peer.status = PeerStatus::Inaccessible;
                peer.failures = failures;
            }),
            Verdict::WaitUntil(_) => self.update_book(address, unix, now, |peer| peer.failures = failures),
            Verdict::Restart | Verdict::NextAddress | Verdict::Nothing => {}
        }
        Some(departure)
    }

    /// Changes what the book says of a peer that it knows.
    pub(super) fn update_book(
        &mut self,
        address: SocketAddr,
        unix: UnixTime,
        now: Instant,
        change: impl FnOnce(&mut KnownPeer),
    ) {
        let Some(known) = self.book.peer(address) else { return };
        let mut peer = known.clone();
        change(&mut peer);
        if peer == *known {
            return;
        }
        if peer.status != known.status {
            peer.status_since = unix;
        }
        self.book.replace(peer.clone());
        self.record(Change::PutPeer(peer), true, now);
    }
}
