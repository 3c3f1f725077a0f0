//! What the peer manager hears and what is done about its answers: who is dialled, let in, recognised, punished.
//!
//! The manager decides and this carries it out on rows, lists and events. Without a manager every call here is the test
//! of a pointer.

use super::Engine;
use crate::address::{Host, NetGroup};
use crate::api::{ControlEvent, NextDial};
use crate::error::{
    CloseReason, IoStep, LocalCause, Misbehavior, NetworkFailure, Refusal, RequestError, ResolveCause, Shortage, Side,
};
use crate::id::{LinkId, PeerId};
use crate::limits::DIALS_PER_TURN;
use crate::link::row::Link;
use crate::manager::admit::evict;
use crate::manager::ban::{Ban, BanReason};
use crate::manager::dial::{Decision, Departure, Resolve};
use crate::manager::store::{Batch, KnownPeer};
use crate::manager::{Announced, Duplicate, Leaving, Manager};
use crate::peer::{ConnectionState, ConnectionType};
use crate::protocol::SERVICE_NETWORK;
use crate::state::LoopState;
use crate::time::Wait;
use crate::wire::Version;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

impl Engine {
    // --- Finding ----------------------------------------------------------------------------------------------------

    /// Does what is due: dials, gives up seeds, ends bans.
    pub(crate) fn run_manager(&mut self) {
        if let Some(manager) = &mut self.state.manager {
            manager.begin_turn();
        }
        self.watch_disk();
        let now = self.state.clocks.now();
        if !self.has_row() {
            self.report_lack_of_rows();
        }
        let Some(manager) = &self.state.manager else { return };
        let next_at = manager.next_at(self.has_row(), now, self.state.clocks.unix());
        if self.state.stopping || next_at.is_none_or(|moment| moment > now) {
            return;
        }
        self.dial_whom_it_wants();
        self.report_dial_holds();
        self.give_up_seeds();
        self.end_bans();
    }

    /// Whether there is a row for one more link: those who are told that there is no place have rows, too.
    fn has_row(&self) -> bool {
        self.state.links.table.len() < self.state.config.max_links
    }

    fn dial_whom_it_wants(&mut self) {
        for _ in 0..DIALS_PER_TURN {
            if !self.has_row() {
                return;
            }
            let state = &mut self.state;
            let Some(manager) = &mut state.manager else { return };
            let Some(address) = manager.next_dial(state.clocks.now(), state.clocks.unix(), &mut state.rng) else {
                return;
            };
            state.open(address, None);
        }
    }

    /// Reports a due dial for which the table has no row.
    fn report_lack_of_rows(&mut self) {
        let now = self.state.clocks.now();
        if let Some(manager) = self.state.manager.as_mut().filter(|_| !self.state.stopping) {
            manager.dialler.lacks_row(now);
            self.report_dial_holds();
        }
    }

    /// Reports the causes for which wanted peers are not dialled, each once until they are connected.
    fn report_dial_holds(&mut self) {
        let LoopState { manager, outbox, telemetry, .. } = &mut self.state;
        let Some(manager) = manager else { return };
        while let Some(cause) = manager.dialler.take_hold() {
            telemetry.dial_holds.add(cause);
            outbox.emit(ControlEvent::DialsHeldBack { cause });
        }
    }

    /// What to ask the network next for the manager.
    pub(crate) fn next_question(&mut self) -> Option<Resolve> {
        let now = self.state.clocks.now();
        self.state.manager.as_mut().filter(|_| !self.state.stopping)?.next_question(now)
    }

    /// The next changes of the book to write.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let now = self.state.clocks.now();
        self.state.manager.as_mut()?.persistence.next_batch(now)
    }

    /// Takes up what an earlier run has remembered.
    pub(crate) fn remember(&mut self, peers: Vec<KnownPeer>, bans: Vec<Ban>) {
        let LoopState { manager, clocks, rng, .. } = &mut self.state;
        if let Some(manager) = manager {
            manager.remember(peers, bans, clocks.moment(), rng);
        }
    }

    /// The loop stops: what has changed is written at once.
    pub(crate) fn hurry_book(&mut self) {
        if let Some(manager) = &mut self.state.manager {
            manager.persistence.hurry();
        }
    }

    /// Returns how many bans and peers are not written yet.
    pub(crate) fn unwritten_changes(&self) -> (usize, usize) {
        self.state.manager.as_ref().map_or((0, 0), |manager| manager.persistence.unwritten())
    }

    /// Whether the loop may end as far as the book is concerned: nothing waits to be written any more.
    pub(crate) fn is_durable(&self) -> bool {
        self.state.manager.as_ref().is_none_or(|manager| manager.persistence.is_durable())
    }

    fn give_up_seeds(&mut self) {
        let LoopState { manager, outbox, telemetry, clocks, rng, .. } = &mut self.state;
        let Some(manager) = manager else { return };
        while let Some(name) = manager.give_up_query(clocks.now(), rng) {
            telemetry.counters.resolve_failures += 1;
            outbox.emit(ControlEvent::SeedFailed { name, cause: ResolveCause::TimedOut });
        }
    }

    fn end_bans(&mut self) {
        let Some(manager) = &mut self.state.manager else { return };
        for ban in manager.end_bans(self.state.clocks.now(), self.state.clocks.unix()) {
            self.state.outbox.emit(ControlEvent::PeerUnbanned { host: ban.host });
        }
    }

    /// How long the manager has nothing to do.
    pub(crate) fn manager_wait(&self) -> Wait {
        let (now, unix) = (self.state.clocks.now(), self.state.clocks.unix());
        let next = self.state.manager.as_ref().and_then(|manager| match self.state.stopping {
            // All that is left is to write down what has changed.
            true => manager.persistence.write_at(now),
            false => manager.next_at(self.has_row(), now, unix),
        });
        match next {
            Some(moment) if moment <= now => Wait::Zero,
            Some(moment) => Wait::Until(moment),
            None => Wait::Forever,
        }
    }

    // --- Letting in -------------------------------------------------------------------------------------------------

    /// Whether the host of `address` may connect at all.
    pub(super) fn admit_host(&mut self, address: SocketAddr) -> Result<(), Refusal> {
        let (now, unix) = (self.state.clocks.now(), self.state.clocks.unix());
        self.state.manager.as_mut().map_or(Ok(()), |manager| manager.let_in(address.ip(), now, unix))
    }

    /// Whether there is a place for one more accepted peer, which is taken.
    pub(super) fn take_inbound_slot(&mut self) -> bool {
        let is_below_max = self.state.telemetry.census.of_type(ConnectionType::Inbound) < self.state.config.max_inbound;
        match &mut self.state.manager {
            Some(manager) => is_below_max && manager.dialler.slots.try_take() || self.make_room(),
            None => is_below_max,
        }
    }

    /// Closes an accepted peer for a new one, if that is wanted and one can be spared.
    fn make_room(&mut self) -> bool {
        let LoopState { manager, links, rng, outbox, .. } = &mut self.state;
        let Some(manager) = manager else { return false };
        if !manager.may_evict() {
            return false;
        }
        let table = &links.table;
        let rows = evict::rows(table.slots() as usize, rng);
        let links = rows.filter_map(|slot| table.id_at(slot as u32)).filter_map(|id| Some((id, table.get(id)?)));
        let candidates = links.filter_map(|(id, link)| candidate(manager, id, link));
        let Some(peer) = manager.choose_evicted(candidates) else { return false };
        if let Some(link) = table.get(peer.link()) {
            outbox.emit(ControlEvent::PeerEvicted { peer, address: link.peer.address() });
        }
        // Its row goes at the end of this turn and gives its place back then.
        manager.dialler.slots.take_beyond();
        self.state.links.abort(peer.link(), LocalCause::Evicted.into());
        true
    }

    /// A row was taken for an accepted connection.
    pub(super) fn link_added(&mut self, id: LinkId, address: SocketAddr) {
        if let Some(manager) = &mut self.state.manager {
            manager.entered(id, address);
        }
    }

    /// Says in the log that accepting has to wait.
    pub(crate) fn log_accept_pause(&mut self, listen_address: SocketAddr, error: &io::Error) {
        self.logbook.note_accept_pause(listen_address, error, self.state.clocks.now());
    }

    /// Accepting has to wait; where descriptors are short, so does dialling.
    pub(crate) fn accepting_paused(&mut self, error: &io::Error) {
        self.state.telemetry.counters.accept_pauses += 1;
        let is_short = NetworkFailure::new(IoStep::Connect, error).shortage() == Some(Shortage::Descriptors);
        if let Some(manager) = self.state.manager.as_mut().filter(|_| is_short) {
            manager.dialler.short_of_descriptors(self.state.clocks.now());
        }
    }

    /// The kernel has begun to connect a link that was dialled.
    pub(crate) fn connect_started(&mut self, id: LinkId) {
        let (table, manager) = (&self.state.links.table, &mut self.state.manager);
        if let (Some(manager), Some(link)) = (manager, table.get(id)) {
            manager.dialler.dialled(link.peer.address());
        }
    }

    /// Remembers the nonce of the `version` that goes out on a dialled link.
    pub(super) fn version_sent(&mut self, id: LinkId, nonce: u64) {
        let Some(link) = self.state.links.table.get(id).filter(|link| !link.peer.is_inbound()) else { return };
        self.nonces.insert(nonce, id);
        if let Some(manager) = &mut self.state.manager {
            manager.dialler.opened(link.peer.address());
        }
    }

    // --- Recognising ------------------------------------------------------------------------------------------------

    /// Closes a link whose peer's `version` has a nonce of ours: the loop is connected to itself, or somebody repeats
    /// it. Returns whether it did.
    pub(super) fn close_if_own(&mut self, id: LinkId) -> bool {
        let table = &self.state.links.table;
        let Some(link) = table.get(id) else { return false };
        let sender = link.peer.handshake().peer_version().and_then(|version| version.sender);
        let Some(dialled) = sender.and_then(|sender| self.nonces.link_of(sender.nonce)) else { return false };
        let ip_of = |link: &Link| link.peer.address().ip().to_canonical();
        // A stranger who repeats a nonce must not cost us the link that it left on.
        let is_proven = table.get(dialled).is_some_and(|dialled| ip_of(dialled) == ip_of(link));
        let reason = LocalCause::SelfConnection.into();
        if is_proven {
            self.state.links.close(dialled, reason, self.state.clocks.now());
        }
        self.state.links.close(id, reason, self.state.clocks.now());
        true
    }

    /// Whether the connection whose `version` has come may go on.
    pub(super) fn identify(&mut self, id: LinkId) -> bool {
        let now = self.state.clocks.now();
        let patience = self.state.config.handshake_timeout;
        let (table, manager) = (&self.state.links.table, &mut self.state.manager);
        let (Some(manager), Some(link)) = (manager, table.get(id)) else { return true };
        let Some(version) = link.peer.handshake().peer_version() else { return true };
        let opener = if link.peer.is_inbound() { Side::Remote } else { Side::Local };
        let is_settled = |other: LinkId| {
            let other = table.get(other).map(|link| &link.peer);
            let is_connected = |peer: &&crate::peer::PeerConnection| peer.state() == ConnectionState::Connected;
            other.filter(is_connected).is_some_and(|peer| now >= peer.since().plus(patience))
        };
        match manager.identify(id, link.peer.address(), opener, version, is_settled) {
            None => true,
            Some(Duplicate::This) => {
                self.state.links.close(id, LocalCause::Duplicate.into(), now);
                false
            }
            Some(Duplicate::Other(other)) => {
                self.state.links.close(other, LocalCause::Duplicate.into(), now);
                true
            }
        }
    }

    /// The handshake of a peer is complete.
    pub(super) fn handshake_completed(&mut self, id: LinkId) {
        let LoopState { links, manager, clocks, rng, .. } = &mut self.state;
        let (Some(manager), Some(link)) = (manager, links.table.get(id)) else { return };
        let Some(version) = link.peer.handshake().peer_version() else { return };
        let opener = if link.peer.is_inbound() { Side::Remote } else { Side::Local };
        manager.settled(id, link.peer.address(), opener, version, (clocks.now(), clocks.unix()), rng);
    }

    // --- Punishing --------------------------------------------------------------------------------------------------

    /// Charges a peer with something that a correct one does not do.
    pub(super) fn misbehaved(&mut self, id: LinkId, misbehavior: Misbehavior) {
        self.state.charge(id, misbehavior);
    }

    /// A message of a peer had a wrong checksum.
    pub(super) fn had_bad_checksum(&mut self, id: LinkId) {
        let now = self.state.clocks.now();
        let misbehavior = self.state.manager.as_mut().and_then(|manager| manager.conduct.count_bad_checksum(id, now));
        if let Some(misbehavior) = misbehavior {
            self.misbehaved(id, misbehavior);
        }
    }

    /// Other hosts are trusted than before: who is banned and not among them any more goes.
    pub(super) fn trust_changed(&mut self) {
        if let Ok(bans) = self.bans() {
            self.state.close_banned(&bans);
        }
    }

    // --- Commands ---------------------------------------------------------------------------------------------------

    /// Bans a host because the embedder asked for it.
    pub(crate) fn ban_as_asked(&mut self, address: IpAddr, length: Option<Duration>) -> Result<(), RequestError> {
        if self.state.manager.is_none() {
            return Err(RequestError::NoManager);
        }
        let is_in_force = self.state.ban(address, BanReason::Manual, length);
        // It outranks any other ban, so nothing but a full list keeps it out, or that it ends where it begins.
        let is_empty = length.is_some_and(|length| length.is_zero());
        if is_in_force || is_empty { Ok(()) } else { Err(RequestError::BansFull) }
    }

    /// Ends the ban of a host; says whether there was one.
    pub(crate) fn unban_as_asked(&mut self, address: IpAddr) -> Result<bool, RequestError> {
        let LoopState { manager, outbox, clocks, .. } = &mut self.state;
        let manager = manager.as_mut().ok_or(RequestError::NoManager)?;
        let host = Host::of(address);
        let was_banned = manager.unban(host, clocks.now(), clocks.unix());
        if was_banned {
            outbox.emit(ControlEvent::PeerUnbanned { host });
        }
        Ok(was_banned)
    }

    /// The bans in force.
    pub(crate) fn bans(&self) -> Result<Vec<Ban>, RequestError> {
        let manager = self.state.manager.as_ref().ok_or(RequestError::NoManager)?;
        Ok(manager.bans.list(self.state.clocks.now(), self.state.clocks.unix()))
    }

    // --- Leaving ----------------------------------------------------------------------------------------------------

    /// A row is about to be freed: gives back what it held and tells of the end.
    pub(super) fn link_removed(&mut self, leaving: Leaving) {
        let has_ready_peer = self.state.telemetry.ready_count() > 0;
        let LoopState { manager, outbox, telemetry, clocks, rng, .. } = &mut self.state;
        let moment = (clocks.now(), clocks.unix());
        let departure = manager.as_mut().and_then(|manager| manager.left(leaving, has_ready_peer, moment, rng));
        let address = leaving.address;
        let is_barred = manager.as_ref().is_some_and(|manager| manager.is_barred(address, moment.0, moment.1));
        outbox.emit(end_told(leaving, departure, is_barred));
        if let Some(Departure { decision: Decision::Restart, restarts, .. }) = departure {
            telemetry.counters.restarts += 1;
            outbox.emit(ControlEvent::ConnectionRestarting { address, restarts });
        }
        if let Some(manager) = manager {
            manager.record_ban_status(address, moment.0, moment.1);
        }
    }
}

/// A peer as one that may have to go, unless it is going already.
fn candidate(manager: &Manager, id: LinkId, link: &Link) -> Option<evict::Candidate> {
    if !link.is_open() {
        return None;
    }
    let address = link.peer.address().ip();
    let version = link.peer.handshake().peer_version();
    Some(evict::Candidate {
        peer: PeerId::of(id),
        connection_type: link.peer.connection_type(),
        is_trusted: manager.is_trusted(address),
        group: NetGroup::of(address),
        connected_at: link.peer.since(),
        shortest_ping: link.peer.ping_pong().least_rtt(),
        last_transaction: None,
        last_block: None,
        relays_transactions: version.is_some_and(Version::relays),
        has_needed_services: version.is_some_and(|version| version.services & SERVICE_NETWORK != 0),
    })
}

/// Builds the event of a connection's end; for a banned address no dial is planned.
fn end_told(leaving: Leaving, departure: Option<Departure>, is_barred: bool) -> ControlEvent {
    let Leaving { id, address, connection_type, state, reason, ended: _ } = leaving;
    let peer = PeerId::of(id);
    if let (ConnectionState::Disconnected, CloseReason::Network(failure)) = (state, reason) {
        return ControlEvent::InboundRejected { address, refusal: Refusal::Failed(failure) };
    }
    match connection_type {
        ConnectionType::Outbound if state != ConnectionState::Connected => {
            let failures = departure.map_or(1, |departure| departure.failures.max(1));
            let unbanned = departure.filter(|_| !is_barred);
            let next = unbanned.map_or(NextDial::Never, |departure| next_dial(departure.decision));
            ControlEvent::ConnectionFailed { peer, address, state, reason, failures, next }
        }
        ConnectionType::Outbound | ConnectionType::Inbound | ConnectionType::OverCapacity => {
            ControlEvent::ConnectionLost { peer, address, connection_type, state, reason }
        }
    }
}

/// What is told of a ban.
pub(super) fn banned(announced: Announced) -> ControlEvent {
    let Announced { ban: Ban { host, reason, until, .. }, peers_closed } = announced;
    ControlEvent::PeerBanned { host, reason, until, peers_closed }
}

/// When the address of a connection that has ended is dialled again.
fn next_dial(decision: Decision) -> NextDial {
    match decision {
        Decision::Restart => NextDial::Restart,
        Decision::WaitUntil(moment) => NextDial::At(moment),
        Decision::Inaccessible => NextDial::Inaccessible,
        Decision::NextAddress => NextDial::NextAddress,
        Decision::Nothing => NextDial::Never,
    }
}

#[cfg(test)]
mod tests;
