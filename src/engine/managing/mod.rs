//! The peer manager's part in a turn: dials, and the consequences of the manager's decisions.
//!
//! The manager decides, and [`Managing`] applies its decisions to links, events and statistics. For a loop without a
//! manager, each step costs one pointer check. This module never uses a socket or reads a clock.

mod completions;

pub(super) use completions::job_completed;

use crate::address::{Host, NetGroup};
use crate::api::{ControlEvent, NextDial};
use crate::bugs::canary;
use crate::config::Config;
use crate::error::{CloseReason, Consequences, LocalCause, Refusal, ResolveCause, Side};
use crate::id::{LinkId, PeerId};
use crate::limits::DIALS_PER_TURN;
use crate::link::association::Association;
use crate::link::row::Link;
use crate::manager::admit::evict;
use crate::manager::ban::Ban;
use crate::manager::dial::{Decision, Departure, Resolve};
use crate::manager::store::{Batch, KnownPeer};
use crate::manager::{Duplicate, Leaving, Manager, Removed};
use crate::peer::{ConnectionState, ConnectionType, PeerConnection};
use crate::protocol::SERVICE_NETWORK;
use crate::state::{Links, LoopState, Outbox, Telemetry};
use crate::time::{Moment, Wait};
use crate::wire::Version;
use rand::rngs::StdRng;
use std::net::SocketAddr;

/// A loop's peer manager, with the parts of the loop that the manager's decisions change.
pub(crate) struct Managing<'a> {
    pub(crate) manager: &'a mut Manager,
    links: &'a mut Links,
    outbox: &'a mut Outbox,
    telemetry: &'a mut Telemetry,
    rng: &'a mut StdRng,
    config: &'a Config,
    moment: Moment,
    is_stopping: bool,
}

// --- Steps of the turn ----------------------------------------------------------------------------------------------

/// Runs the manager's step of a turn: dials due addresses, abandons late queries, and ends bans.
pub(super) fn run(state: &mut LoopState) {
    let Some(mut managing) = Managing::of(state) else { return };
    managing.manager.begin_turn();
    managing.report_late_disk();
    managing.report_lack_of_rows();
    if !managing.is_due() {
        return;
    }
    dial_wanted(state);
    if let Some(mut managing) = Managing::of(state) {
        managing.report_dial_holds();
        managing.give_up_queries();
        managing.end_bans();
    }
}

fn dial_wanted(state: &mut LoopState) {
    for _ in 0..DIALS_PER_TURN {
        let Some(address) = Managing::of(state).and_then(|mut managing| managing.next_dial()) else { return };
        state.open(address, None);
    }
}

/// Returns the longest wait before the manager's next step.
pub(crate) fn wait(state: &LoopState) -> Wait {
    let Some(manager) = &state.manager else { return Wait::Forever };
    let moment = state.clocks.moment();
    let next = match state.stopping {
        // A stopping loop only writes the remaining changes to the address book.
        true => manager.persistence.write_at(moment.now),
        false => manager.next_at(has_row(&state.links, &state.config), moment),
    };
    match next {
        Some(due_at) if due_at <= moment.now => Wait::Zero,
        Some(due_at) => Wait::Until(due_at),
        None => Wait::Forever,
    }
}

/// Returns whether the table has a row for one more link. Connections over capacity also use rows.
fn has_row(links: &Links, config: &Config) -> bool {
    links.table.len() < config.max_links
}

impl<'a> Managing<'a> {
    /// Borrows the manager, if the loop has one.
    pub(super) fn of(state: &'a mut LoopState) -> Option<Self> {
        let LoopState { config, rng, links, clocks, telemetry, outbox, manager, stopping, .. } = state;
        let (manager, moment, is_stopping) = (manager.as_deref_mut()?, clocks.moment(), *stopping);
        Some(Self { manager, links, outbox, telemetry, rng, config, moment, is_stopping })
    }

    fn has_row(&self) -> bool {
        has_row(self.links, self.config)
    }

    fn is_due(&self) -> bool {
        let next_at = self.manager.next_at(self.has_row(), self.moment);
        !self.is_stopping && next_at.is_some_and(|due_at| due_at <= self.moment.now)
    }

    /// Returns the next address to dial, and reserves its slot.
    fn next_dial(&mut self) -> Option<SocketAddr> {
        if !self.has_row() {
            return None;
        }
        self.manager.next_dial(self.moment, self.rng)
    }

    /// Reports the lack of a free row in the table, if it holds back a due dial.
    fn report_lack_of_rows(&mut self) {
        if !self.has_row() && !self.is_stopping {
            self.manager.dialler.lacks_row(self.moment.now);
            self.report_dial_holds();
        }
    }

    /// Reports why wanted peers are not dialled. Each cause is reported once until the wanted peers are connected or
    /// the configuration changes.
    fn report_dial_holds(&mut self) {
        while let Some(cause) = self.manager.dialler.take_hold() {
            self.telemetry.dial_holds.add(cause);
            self.outbox.emit(ControlEvent::DialsHeldBack { cause });
        }
    }

    fn give_up_queries(&mut self) {
        while let Some(name) = self.manager.give_up_query(self.moment.now, self.rng) {
            self.telemetry.counters.resolve_failures += 1;
            self.outbox.emit(ControlEvent::SeedFailed { name, cause: ResolveCause::TimedOut });
        }
    }

    fn end_bans(&mut self) {
        for ban in self.manager.end_bans(self.moment) {
            self.outbox.emit(ControlEvent::PeerUnbanned { host: ban.host });
        }
    }

    // --- Jobs off the loop ------------------------------------------------------------------------------------------

    /// Returns the next name to resolve; `None` if no name is due or the loop is stopping.
    pub(crate) fn next_query(&mut self) -> Option<Resolve> {
        if self.is_stopping { None } else { self.manager.next_query(self.moment.now) }
    }

    /// Returns the next batch of changes to write to the address book, if one is due.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        self.manager.persistence.next_batch(self.moment.now)
    }

    /// Loads the peers and bans that an earlier run stored.
    pub(crate) fn remember(&mut self, peers: Vec<KnownPeer>, bans: Vec<Ban>) {
        self.manager.remember(peers, bans, self.moment, self.rng);
    }

    // --- Slots ------------------------------------------------------------------------------------------------------

    /// Reserves a slot for an accepted peer. If no slot is free or `max_inbound` is reached, tries to evict another
    /// accepted peer. Returns whether a slot is reserved.
    pub(super) fn take_inbound_slot(&mut self, host: Host) -> bool {
        let is_below_max = self.telemetry.census.of_type(ConnectionType::Inbound) < self.config.max_inbound;
        is_below_max && self.manager.dialler.slots.try_take() || !self.awaits_stream_of(host) && self.make_room()
    }

    /// Returns whether a peer of `host` may be about to open its second stream, which needs no slot.
    fn awaits_stream_of(&self, host: Host) -> bool {
        let association_of = |id| self.links.association(id);
        self.manager.dialler.live.of_host(host).filter_map(association_of).any(Association::awaits_stream)
    }

    /// Evicts an accepted peer for a new one, if another eviction is allowed in this turn and a candidate exists.
    fn make_room(&mut self) -> bool {
        if !self.manager.may_evict() {
            return false;
        }
        let table = &self.links.table;
        let rows = evict::rows(table.slots() as usize, self.rng);
        let links = rows.filter_map(|slot| table.id_at(slot as u32)).filter_map(|id| Some((id, table.get(id)?)));
        let candidates = links.filter_map(|(id, link)| candidate(self.manager, id, link));
        let Some(peer) = self.manager.choose_evicted(candidates) else { return false };
        if let Some(link) = table.get(peer.link()) {
            self.outbox.emit(ControlEvent::PeerEvicted { peer, address: link.peer.address() });
        }
        // The evicted peer's row and slot are freed at the end of this turn.
        self.manager.dialler.slots.take_beyond();
        self.links.abort(peer.link(), LocalCause::Evicted.into());
        true
    }

    // --- Links ------------------------------------------------------------------------------------------------------

    /// Closes one of two connections to the same peer, if the `version` received on the link `id` shows that there are
    /// two. Returns whether `id` may continue.
    pub(super) fn identify(&mut self, id: LinkId) -> bool {
        let now = self.moment.now;
        let patience = self.config.handshake_timeout;
        let table = &self.links.table;
        let Some((peer, version)) = table.get(id).and_then(introduced) else { return true };
        let is_long_ready = |other: LinkId| {
            let other = table.get(other).map(|link| &link.peer);
            let ready = other.filter(|peer| peer.state() == ConnectionState::Connected);
            ready.is_some_and(|peer| now >= peer.since().plus(patience))
        };
        match self.manager.identify(id, peer.address(), opener_of(peer), version, is_long_ready) {
            None => true,
            Some(Duplicate::This) => {
                self.links.close(id, LocalCause::Duplicate.into(), now);
                false
            }
            Some(Duplicate::Other(other)) => {
                self.links.close(other, LocalCause::Duplicate.into(), now);
                true
            }
        }
    }

    /// Records a peer whose handshake is complete.
    pub(super) fn handshake_completed(&mut self, id: LinkId) {
        let Some((peer, version)) = self.links.table.get(id).and_then(introduced) else { return };
        self.manager.handshake_completed(id, peer.address(), opener_of(peer), version, self.moment, self.rng);
    }
}

/// Describes the end of a link as a peer, before its state changes.
pub(super) fn leaving(id: LinkId, link: &Link, reason: CloseReason, consequences: Consequences) -> Leaving {
    let state = link.peer.state();
    let ended = consequences.ended.while_in(state);
    Leaving { id, address: link.peer.address(), connection_type: link.peer.connection_type(), state, reason, ended }
}

/// Gives back all that a peer holds besides its links, and reports its end to the manager: its slot, its host's count
/// and its place in the statistics.
pub(super) fn give_back(leaving: Leaving, state: &mut LoopState) {
    let became_stream = leaving.reason == CloseReason::Local(LocalCause::BecameStream);
    if !(became_stream && canary!(StreamKeepsSlot)) {
        state.telemetry.census.remove(leaving.connection_type, leaving.state);
    }
    state.telemetry.closes.add(&leaving.reason);
    state.telemetry.counters.closed += 1;
    link_removed(leaving, state);
}

/// Reports the close of a link whose row is about to be freed, and releases the manager's records of the link.
fn link_removed(leaving: Leaving, state: &mut LoopState) {
    let has_ready_peer = state.telemetry.ready_count() > 0;
    let removed = Managing::of(state)
        .map(|Managing { manager, moment, rng, .. }| manager.link_removed(leaving, has_ready_peer, moment, rng));
    let Removed { departure, is_barred } = removed.unwrap_or_default();
    state.outbox.emit(end_event(leaving, departure, is_barred));
    if let Some(Departure { decision: Decision::Restart, restarts, .. }) = departure {
        state.telemetry.counters.restarts += 1;
        state.outbox.emit(ControlEvent::ConnectionRestarting { address: leaving.address, restarts });
    }
}

/// Returns a peer and its `version`, if the `version` has arrived.
fn introduced(link: &Link) -> Option<(&PeerConnection, &Version)> {
    Some((&link.peer, link.peer.handshake().peer_version()?))
}

fn opener_of(peer: &PeerConnection) -> Side {
    if peer.is_inbound() { Side::Remote } else { Side::Local }
}

/// Returns a link as a candidate for eviction, unless it is closing.
fn candidate(manager: &Manager, id: LinkId, link: &Link) -> Option<evict::Candidate> {
    if !link.is_open() || !link.is_peer() {
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

/// Builds the event of a connection's close. The next dial of a banned address is reported as [`NextDial::Never`].
fn end_event(leaving: Leaving, departure: Option<Departure>, is_barred: bool) -> ControlEvent {
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

/// Returns the next dial of a closed connection's address.
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
