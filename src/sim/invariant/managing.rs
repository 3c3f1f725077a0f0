//! Invariants of a loop that manages its peers: slots, bans, pauses between dials, evictions and the address book.
//!
//! [`Managing`] is the ledger's record of the control events. It never records events of a loop without a manager. Its
//! size grows with the number of dialled addresses.

use super::bounds::DialBounds;
use super::findings::Findings;
use super::gossip::GossipRecord;
use super::saved::Saved;
use crate::address::{Host, canonical};
use crate::api::{ControlEvent, NextDial};
use crate::config::{Config, Field};
use crate::error::{CloseReason, LocalCause};
use crate::id::PeerId;
use crate::limits::{INACCESSIBLE_RECHECK, RESTARTS_FORGOTTEN_AFTER};
use crate::manager::ban::trusted::Trusted;
use crate::manager::inspect::ManagerSummary;
use crate::manager::store::KnownPeer;
use crate::peer::ConnectionType;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

/// Number of accepted peers that are never evicted: four for their range, eight for their pings, four for their
/// transactions and four for their blocks.
pub(super) const SPARED: usize = 20;
/// Number of accepted peers that are spared for their pings. The rest of [`SPARED`] are spared for properties that are
/// not visible from outside or that the loop does not track.
pub(super) const SPARED_BY_PING: usize = 8;

/// The record of dials, restarts, bans and evictions.
#[derive(Debug, Default)]
pub(super) struct Managing {
    /// Addresses with a live connection that the manager dialled by its own choice.
    drawn: BTreeSet<SocketAddr>,
    /// Addresses whose connection was closed in this turn, even if it was opened in this turn.
    ended: BTreeSet<SocketAddr>,
    /// For each address, the moment before which the manager must not choose it.
    pauses: BTreeMap<SocketAddr, Instant>,
    /// For each address, the latest moment until which an earlier failure may pause it. A new configuration or a
    /// lifted ban does not change this moment.
    rests: BTreeMap<SocketAddr, Instant>,
    /// The pauses set in this turn. They apply from the next turn on. `None` ends an address's pause.
    new_pauses: Vec<(SocketAddr, Option<Instant>)>,
    /// For each address, the beginning of its latest restart window, the number of restarts in the window, and the
    /// moment of the latest restart.
    restarts: BTreeMap<SocketAddr, (Instant, u32, Instant)>,
    /// For each address, the number of failed or lost connections since its last handshake or restart.
    setbacks: BTreeMap<SocketAddr, u32>,
    /// Addresses that the manager may drop in this turn.
    given_up: BTreeSet<SocketAddr>,
    /// Whether the restarts of some addresses are no longer known, for example after a new configuration or a lifted
    /// ban.
    has_forgotten: bool,
    /// Accepted peers that are established, and their addresses.
    inbound: BTreeMap<PeerId, SocketAddr>,
    /// The shortest ping latency of each peer, as the loop measures it, in microseconds.
    shortest_pings: BTreeMap<PeerId, u128>,
    trusted: Trusted,
    /// The loop's own addresses, as reported before this turn.
    own: BTreeSet<SocketAddr>,
    /// The loop's own addresses that were reported in this turn.
    new_own: Vec<SocketAddr>,
    pub(super) gossip: GossipRecord,
    pub(super) saved: Saved,
    /// Hosts whose ban was reported in this turn and was not lifted later in the turn.
    pub(super) announced: BTreeSet<Host>,
}

impl Managing {
    /// Records a control event of the turn that began at `now`.
    pub(super) fn follow(
        &mut self,
        event: &ControlEvent,
        bounds: Option<DialBounds>,
        now: Instant,
        findings: &mut Findings,
    ) {
        let Some(bounds) = bounds else { return };
        match event {
            ControlEvent::ConnectionEstablished { peer, address, connection_type } => match connection_type {
                ConnectionType::Inbound => {
                    self.inbound.insert(*peer, *address);
                    self.gossip.add_host(*address);
                }
                ConnectionType::Outbound => self.new_pauses.push((*address, None)),
                ConnectionType::OverCapacity => self.gossip.add_host(*address),
            },
            ControlEvent::ConnectionFailed { peer, address, reason, failures, next, .. } => {
                self.left(*peer);
                self.failed(*address, *reason, *failures, *next, (bounds, now), findings);
            }
            ControlEvent::ConnectionLost { peer, address, reason, .. } => {
                self.left(*peer);
                self.lost(*address, *reason, bounds, now);
            }
            ControlEvent::ConnectionRestarting { address, restarts } => {
                self.setbacks.remove(address);
                self.given_up.remove(address);
                self.new_pauses.push((*address, None));
                self.restarted(*address, *restarts, bounds, now, findings);
            }
            ControlEvent::PeerEvicted { peer, address } => {
                self.evicted(*peer, *address, findings);
            }
            ControlEvent::PeerBanned { host, .. } => drop(self.announced.insert(*host)),
            ControlEvent::PeerUnbanned { host } => self.unbanned(*host),
            ControlEvent::ConfigUpdated { fields } => self.config_updated(fields),
            ControlEvent::HandshakeComplete { address, connection_type, .. } => {
                self.setbacks.remove(address);
                if *connection_type == ConnectionType::Outbound {
                    self.gossip.allow_address(*address);
                }
            }
            ControlEvent::ListenerBound { address } => self.new_own.push(canonical(*address)),
            ControlEvent::StreamOpened { .. }
            | ControlEvent::StreamFailed { .. }
            | ControlEvent::InboundRejected { .. }
            | ControlEvent::RejectedOverCapacity { .. }
            | ControlEvent::PeerMisbehaved { .. }
            | ControlEvent::DialsHeldBack { .. }
            | ControlEvent::ListenerBindFailed { .. }
            | ControlEvent::SocketOptionRefused { .. }
            | ControlEvent::SeedResolved { .. }
            | ControlEvent::SeedFailed { .. }
            | ControlEvent::BookFailing { .. }
            | ControlEvent::BookRecovered => {}
        }
    }

    /// Records the peers that the loop remembers before it starts.
    pub(super) fn remember(&mut self, peers: &[KnownPeer]) {
        self.saved.remember(peers);
        peers.iter().for_each(|peer| self.gossip.allow_address(peer.address()));
    }

    /// Records a configuration's trusted networks.
    pub(super) fn trust(&mut self, config: &Config) {
        self.trusted = config.manager.as_ref().map(|manager| Trusted::new(&manager.trusted)).unwrap_or_default();
    }

    /// Records the latency of a peer's pong, if it is the peer's shortest.
    pub(super) fn ponged(&mut self, peer: PeerId, after: Duration) {
        let shortest = self.shortest_pings.entry(peer).or_insert(u128::MAX);
        *shortest = after.as_micros().min(*shortest);
    }

    fn left(&mut self, peer: PeerId) {
        self.inbound.remove(&peer);
        self.shortest_pings.remove(&peer);
        self.gossip.link_removed(peer.link());
    }

    fn unbanned(&mut self, host: Host) {
        self.announced.remove(&host);
        self.pauses.retain(|address, _| Host::of(address.ip()) != host);
        self.new_pauses.retain(|(address, _)| Host::of(address.ip()) != host);
        self.restarts.retain(|address, _| Host::of(address.ip()) != host);
        self.has_forgotten = true;
    }

    /// Clears the records that a new configuration invalidates. After a change of the mode, no live address counts as
    /// the manager's own choice.
    fn config_updated(&mut self, fields: &[Field]) {
        if fields.contains(&Field::Mode) {
            self.drawn.clear();
        }
        self.own.clear();
        self.pauses.clear();
        self.new_pauses.clear();
        self.restarts.clear();
        self.has_forgotten = true;
    }

    /// Checks an eviction of an accepted peer. The loop may have had fewer candidates than are known here, because it
    /// never evicts a peer that is already closing. Pongs that arrived after the loop's choice can only have lowered
    /// the other peers' shortest latencies.
    fn evicted(&mut self, peer: PeerId, address: SocketAddr, findings: &mut Findings) {
        let is_inbound = self.inbound.remove(&peer).is_some();
        let rivals: Vec<PeerId> = self
            .inbound
            .iter()
            .filter(|(_, from)| !self.trusted.contains(from.ip()))
            .map(|(rival, _)| *rival)
            .collect();
        let is_right = is_inbound && !self.trusted.contains(address.ip()) && rivals.len() >= SPARED;
        findings.check(28, is_right, || {
            format!(
                "{peer:?} at {address} was evicted, although it was not accepted, is trusted or had too few rivals: {}",
                rivals.len()
            )
        });
        let ping = |peer: &PeerId| self.shortest_pings.get(peer).copied().unwrap_or(u128::MAX);
        let better = rivals.iter().filter(|rival| ping(rival) <= ping(&peer)).count();
        findings.check(28, better >= SPARED_BY_PING || rivals.len() < SPARED, || {
            format!("{peer:?} at {address} was evicted, but only {better} others answer pings at least as fast")
        });
    }

    fn lost(&mut self, address: SocketAddr, reason: CloseReason, bounds: DialBounds, now: Instant) {
        self.ended.insert(address);
        self.rest_until(address, now.plus(INACCESSIBLE_RECHECK));
        self.set_back(address, reason, bounds.max_retries);
        // A duplicate or a ban is not a failure, and requires no pause.
        let is_barred = is_barred(reason);
        if is_barred {
            self.drop_restarts(address);
        }
        let is_blameless = is_barred || is_shortage(reason);
        if self.drawn.remove(&address) && !is_blameless {
            self.new_pauses.push((address, Some(now.plus(bounds.initial_backoff))));
        }
    }

    fn failed(
        &mut self,
        address: SocketAddr,
        reason: CloseReason,
        failures: u32,
        next: NextDial,
        (bounds, now): (DialBounds, Instant),
        findings: &mut Findings,
    ) {
        self.drawn.remove(&address);
        self.ended.insert(address);
        self.set_back(address, reason, bounds.max_retries);
        if is_barred(reason) || matches!(next, NextDial::Inaccessible | NextDial::Never) {
            self.drop_restarts(address);
        }
        if next == NextDial::Inaccessible {
            self.rest_until(address, now.plus(INACCESSIBLE_RECHECK));
        }
        let NextDial::At(until) = next else { return };
        // A pause after a local shortage may end early, so it is not recorded. If the address was dialled on request
        // during an earlier pause, that pause remains in force.
        if is_shortage(reason) {
            return;
        }
        // Unless a deadline was missed, the reason may reveal nothing about the address. An earlier pause may then
        // remain.
        let says_something = matches!(reason, CloseReason::TimedOut(_));
        let is_unchanged = !says_something && self.rests.get(&address).is_some_and(|latest| until <= *latest);
        self.rest_until(address, until);
        self.new_pauses.push((address, Some(until)));
        findings.check(26, is_unchanged || bounds.allows(now, until, failures, reason), || {
            format!("{address} pauses until {until:?} after {failures} failures: {reason:?}")
        });
    }

    fn rest_until(&mut self, address: SocketAddr, moment: Instant) {
        let latest = self.rests.entry(address).or_insert(moment);
        *latest = moment.max(*latest);
    }

    fn restarted(
        &mut self,
        address: SocketAddr,
        restarts: u32,
        bounds: DialBounds,
        now: Instant,
        findings: &mut Findings,
    ) {
        let (began, before, latest) = self.restarts.get(&address).copied().unwrap_or((Instant::ZERO, 0, Instant::ZERO));
        let is_new =
            before == 0 || now.since(began) >= bounds.restart_window || now.since(latest) >= RESTARTS_FORGOTTEN_AFTER;
        let is_known = before > 0 || !self.has_forgotten;
        let is_next = restarts == before + 1 && now.since(began) < bounds.restart_window;
        findings.check(
            26,
            restarts <= bounds.max_restarts && (is_next || restarts == 1 && is_new || !is_known),
            || format!("{address}: restart {restarts}, after {before} restarts since {began:?}"),
        );
        // If the beginning of the window is not known, its end is not known either.
        if restarts == 1 || before > 0 {
            self.restarts.insert(address, (if restarts == 1 { now } else { began }, restarts, now));
        }
    }

    /// Counts a failed or lost connection. After too many of them, the manager may drop the address and its record. If
    /// the manager restarts the address instead, it reports the restart right after this event.
    fn set_back(&mut self, address: SocketAddr, reason: CloseReason, max_retries: u32) {
        let setbacks = self.setbacks.entry(address).or_default();
        *setbacks += 1;
        // A peer at capacity rejects right after the handshake. Such a handshake does not count as a success.
        let may_be_given_up = *setbacks >= max_retries || matches!(reason, CloseReason::RejectedByPeer(_));
        if may_be_given_up {
            self.given_up.insert(address);
        }
    }

    /// Forgets an address's restarts, because the manager may have dropped them.
    fn drop_restarts(&mut self, address: SocketAddr) {
        if self.restarts.remove(&address).is_some() {
            self.has_forgotten = true;
        }
    }

    /// Ends a turn, and checks the addresses that the manager chose in it.
    pub(super) fn settle(&mut self, manager: Option<&ManagerSummary>, now: Instant, findings: &mut Findings) {
        for draw in manager.into_iter().flat_map(|manager| &manager.drawn) {
            let address = draw.address;
            findings.check(27, !self.own.contains(&address), || {
                format!("{address} was dialled, although it is the loop's own")
            });
            if let Some(until) = self.pauses.remove(&address) {
                findings.check(26, until <= now, || format!("{address} was dialled, but pauses until {until:?}"));
            }
        }
        for (address, until) in self.new_pauses.drain(..) {
            match until {
                Some(until) => drop(self.pauses.insert(address, until)),
                None => drop(self.pauses.remove(&address)),
            }
        }
        for address in mem::take(&mut self.given_up) {
            self.drop_restarts(address);
        }
        let drawn = manager.into_iter().flat_map(|manager| &manager.drawn).map(|draw| draw.address);
        self.drawn.extend(drawn.filter(|address| !self.ended.contains(address)));
        self.ended.clear();
        self.own.extend(self.new_own.drain(..));
        self.announced.clear();
    }
}

/// Returns whether a connection was closed because its address is banned or already connected.
fn is_barred(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Local(LocalCause::Banned | LocalCause::Duplicate))
}

fn is_shortage(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Network(failure) if failure.shortage().is_some())
}
