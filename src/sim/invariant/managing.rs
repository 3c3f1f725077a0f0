//! Invariants of a loop that manages its peers: slots, bans, pauses between dials, evictions and the address book.
//!
//! [`Managing`] is the ledger's record of the control events; it stays empty for a loop without a manager. It costs
//! one entry for each dialled address that must pause.

use super::Findings;
use super::hearsay::{self, Hearsay};
use super::saved::{self, Saved};
use super::sweep::{Check, SweepSight, none_of};
use super::turn::{TurnSight, ensure};
use crate::address::{Host, NetGroup, canonical};
use crate::api::{ControlEvent, NextDial};
use crate::config::{Config, Field, ManagerConfig};
use crate::error::{CloseReason, Deadline, LocalCause};
use crate::id::PeerId;
use crate::limits::{
    BACKOFF_JITTER_PERCENT, BARRED_RECHECK, INACCESSIBLE_RECHECK, MAX_BANS, MAX_BOOK_PEERS, RESTARTS_FORGOTTEN_AFTER,
    SELF_BACKOFF,
};
use crate::manager::ban::trusted::Trusted;
use crate::manager::inspect::ManagerSummary;
use crate::manager::store::KnownPeer;
use crate::peer::ConnectionType;
use crate::reactor::inspect::{EndingStep, LinkReport, ManagerReport};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Accepted peers that are never evicted: four for their range, eight for their pings, four for their transactions
/// and four for their blocks.
pub(super) const SPARED: usize = 20;
/// Those of them that are spared for their shortest ping. The others are spared for properties that are invisible
/// from outside, or not built.
pub(super) const SPARED_BY_PING: usize = 8;
/// Maximum difference between two ways to round a pause.
const ROUNDING: Duration = Duration::from_micros(1);

/// The configuration's promises about dials.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialBounds {
    initial_backoff: Duration,
    backoff_multiplier: f64,
    max_backoff: Duration,
    max_restarts: u32,
    restart_window: Duration,
    max_retries: u32,
}

/// The record of dials, restarts, bans and evictions.
#[derive(Debug, Default)]
pub(super) struct Managing {
    /// Addresses that the manager has dialled by itself and that are live.
    drawn: BTreeSet<SocketAddr>,
    /// Addresses whose connection has ended in this turn, even if it began in it.
    ended: BTreeSet<SocketAddr>,
    /// The moment until which an address is not dialled.
    pauses: BTreeMap<SocketAddr, Instant>,
    /// The latest moment until which an earlier failure may pause an address, despite later changes.
    rests: BTreeMap<SocketAddr, Instant>,
    /// The pauses of this turn, in which the address was dialled before it failed.
    new_pauses: Vec<(SocketAddr, Option<Instant>)>,
    /// The beginning of an address's latest window of restarts, the restarts in it, and the latest of them.
    restarts: BTreeMap<SocketAddr, (Instant, u32, Instant)>,
    /// Consecutive connections that an address failed to keep, or to make ready, without a restart.
    setbacks: BTreeMap<SocketAddr, u32>,
    /// Addresses that may be dropped in this turn.
    given_up: BTreeSet<SocketAddr>,
    /// Restarts of some addresses were dropped, for a new configuration or the end of a ban.
    has_forgotten: bool,
    /// Accepted peers that are established, and their addresses.
    inbound: BTreeMap<PeerId, SocketAddr>,
    /// The shortest ping of each peer that has answered one, as the loop counts it, in microseconds.
    shortest_pings: BTreeMap<PeerId, u128>,
    trusted: Trusted,
    /// The loop's own addresses, and those reported in this turn.
    own: BTreeSet<SocketAddr>,
    new_own: Vec<SocketAddr>,
    pub(super) hearsay: Hearsay,
    pub(super) saved: Saved,
    /// Hosts whose ban was reported in this turn and has not ended in it.
    pub(super) announced: BTreeSet<Host>,
}

impl DialBounds {
    pub(super) fn of(config: &Config) -> Option<Self> {
        let ManagerConfig {
            initial_backoff,
            backoff_multiplier,
            max_backoff,
            max_restarts,
            restart_window,
            max_retries,
            ..
        } = *config.manager.as_deref()?;
        Some(Self { initial_backoff, backoff_multiplier, max_backoff, max_restarts, restart_window, max_retries })
    }

    /// Returns the pause after a number of failures, without its jitter.
    fn pause(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let secs = self.initial_backoff.as_secs_f64() * self.backoff_multiplier.powi(exponent);
        Duration::try_from_secs_f64(secs).map_or(self.max_backoff, |pause| pause.min(self.max_backoff))
    }

    /// Whether a pause from `now` until `until` is correct for `reason`. Moments are compared, not lengths: a pause
    /// beyond the end of the clock ends there.
    fn allows(&self, now: Instant, until: Instant, failures: u32, reason: CloseReason) -> bool {
        let within = |least: Duration, most: Duration| {
            let longest = most.saturating_add(most / 100 * BACKOFF_JITTER_PERCENT as u32).saturating_add(ROUNDING);
            now.plus(least) <= until.plus(ROUNDING) && until <= now.plus(longest)
        };
        match reason {
            CloseReason::Local(LocalCause::SelfConnection) => within(SELF_BACKOFF, SELF_BACKOFF),
            CloseReason::TimedOut(Deadline::Connect) => within(self.pause(failures), self.pause(failures)),
            CloseReason::Local(LocalCause::Banned | LocalCause::Duplicate) => within(BARRED_RECHECK, BARRED_RECHECK),
            CloseReason::Local(_) => within(self.max_backoff, self.max_backoff),
            CloseReason::Wire(_)
            | CloseReason::Misbehaved(_)
            | CloseReason::Incompatible(_)
            | CloseReason::TimedOut(_)
            | CloseReason::Network(_)
            | CloseReason::ClosedByPeer
            | CloseReason::RejectedByPeer(_) => within(self.initial_backoff, self.max_backoff),
        }
    }
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
                    self.hearsay.welcome(*address);
                }
                ConnectionType::Outbound => self.new_pauses.push((*address, None)),
                ConnectionType::OverCapacity => self.hearsay.welcome(*address),
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
                    self.hearsay.knows(*address);
                }
            }
            ControlEvent::ListenerBound { address } => self.new_own.push(canonical(*address)),
            ControlEvent::InboundRejected { .. }
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

    /// Records the peers that the loop remembers before it begins.
    pub(super) fn remember(&mut self, peers: &[KnownPeer]) {
        self.saved.remember(peers);
        peers.iter().for_each(|peer| self.hearsay.knows(peer.address()));
    }

    /// Sets the trusted networks of a configuration.
    pub(super) fn trust(&mut self, config: &Config) {
        self.trusted = config.manager.as_deref().map(|manager| Trusted::new(&manager.trusted)).unwrap_or_default();
    }

    /// Records a peer's reply to a ping, and its delay.
    pub(super) fn ponged(&mut self, peer: PeerId, after: Duration) {
        let shortest = self.shortest_pings.entry(peer).or_insert(u128::MAX);
        *shortest = after.as_micros().min(*shortest);
    }

    fn left(&mut self, peer: PeerId) {
        self.inbound.remove(&peer);
        self.shortest_pings.remove(&peer);
        self.hearsay.left(peer.link());
    }

    fn unbanned(&mut self, host: Host) {
        self.announced.remove(&host);
        self.pauses.retain(|address, _| Host::of(address.ip()) != host);
        self.new_pauses.retain(|(address, _)| Host::of(address.ip()) != host);
        self.restarts.retain(|address, _| Host::of(address.ip()) != host);
        self.has_forgotten = true;
    }

    /// Begins anew for another list of peers, or other pauses. A dialled peer that is not in a list of peers then
    /// counts as a guest.
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

    /// Checks an eviction of an accepted peer. Peers that are closing already cannot be chosen, so there may be fewer
    /// than are known here; and pings answered since may have improved only others.
    fn evicted(&mut self, peer: PeerId, address: SocketAddr, findings: &mut Findings) {
        let is_inbound = self.inbound.remove(&peer).is_some();
        let rivals: Vec<PeerId> = self
            .inbound
            .iter()
            .filter(|(_, from)| !self.trusted.contains(from.ip()))
            .map(|(rival, _)| *rival)
            .collect();
        let is_right = is_inbound && !self.trusted.contains(address.ip()) && rivals.len() >= SPARED;
        findings.check(28, is_right, || format!("{peer:?} at {address} is evicted, beside {} others", rivals.len()));
        let ping = |peer: &PeerId| self.shortest_pings.get(peer).copied().unwrap_or(u128::MAX);
        let better = rivals.iter().filter(|rival| ping(rival) <= ping(&peer)).count();
        findings.check(28, better >= SPARED_BY_PING || rivals.len() < SPARED, || {
            format!("{peer:?} at {address} is evicted, and only {better} others answer pings at least as fast")
        });
    }

    fn lost(&mut self, address: SocketAddr, reason: CloseReason, bounds: DialBounds, now: Instant) {
        self.ended.insert(address);
        self.rest_until(address, now.plus(INACCESSIBLE_RECHECK));
        self.set_back(address, reason, bounds.max_retries);
        // A peer that is only a duplicate, or is banned, has no failure to pause for.
        let is_barred = is_barred(reason);
        if is_barred {
            self.forget_restarts(address);
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
            self.forget_restarts(address);
        }
        if next == NextDial::Inaccessible {
            self.rest_until(address, now.plus(INACCESSIBLE_RECHECK));
        }
        let NextDial::At(until) = next else { return };
        // A shortage of this machine may end sooner, but does not change the pause of an address dialled on request.
        if is_shortage(reason) {
            return;
        }
        // A reason that reveals nothing about an address does not change its earlier pause.
        let says_something = matches!(reason, CloseReason::TimedOut(_));
        let goes_on = !says_something && self.rests.get(&address).is_some_and(|latest| until <= *latest);
        self.rest_until(address, until);
        self.new_pauses.push((address, Some(until)));
        findings.check(26, goes_on || bounds.allows(now, until, failures, reason), || {
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
            || format!("{address} is restarted the {restarts}th time, {before} times since {began:?}"),
        );
        // The end of a window whose beginning was dropped is unknown.
        if restarts == 1 || before > 0 {
            self.restarts.insert(address, (if restarts == 1 { now } else { began }, restarts, now));
        }
    }

    /// Counts a connection that was not kept. After too many in a row the address is dropped with its record, unless
    /// it is restarted, which is reported right after this.
    fn set_back(&mut self, address: SocketAddr, reason: CloseReason, max_retries: u32) {
        let setbacks = self.setbacks.entry(address).or_default();
        *setbacks += 1;
        // A full peer rejects right after the handshake, which then counts as no success.
        let may_be_given_up = *setbacks >= max_retries || matches!(reason, CloseReason::RejectedByPeer(_));
        if may_be_given_up {
            self.given_up.insert(address);
        }
    }

    /// Permits the manager to drop an address's restarts: it has nothing more to do with it, or must wait for
    /// something else.
    fn forget_restarts(&mut self, address: SocketAddr) {
        if self.restarts.remove(&address).is_some() {
            self.has_forgotten = true;
        }
    }

    /// Ends a turn in which the manager chose these addresses.
    pub(super) fn settle(&mut self, manager: Option<&ManagerSummary>, now: Instant, findings: &mut Findings) {
        for draw in manager.into_iter().flat_map(|manager| &manager.drawn) {
            let address = draw.address;
            findings.check(27, !self.own.contains(&address), || {
                format!("{address} is dialled although it is the loop's own")
            });
            if let Some(until) = self.pauses.remove(&address) {
                findings.check(26, until <= now, || format!("{address} is dialled but pauses until {until:?}"));
            }
        }
        for (address, until) in self.new_pauses.drain(..) {
            match until {
                Some(until) => drop(self.pauses.insert(address, until)),
                None => drop(self.pauses.remove(&address)),
            }
        }
        for address in mem::take(&mut self.given_up) {
            self.forget_restarts(address);
        }
        let drawn = manager.into_iter().flat_map(|manager| &manager.drawn).map(|draw| draw.address);
        self.drawn.extend(drawn.filter(|address| !self.ended.contains(address)));
        self.ended.clear();
        self.own.extend(self.new_own.drain(..));
        self.announced.clear();
    }
}

/// Whether a duplicate or a ban bars the address.
fn is_barred(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Local(LocalCause::Banned | LocalCause::Duplicate))
}

fn is_shortage(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Network(failure) if failure.shortage().is_some())
}

// --- After each turn ------------------------------------------------------------------------------------------------

pub(super) fn slots_keep_their_maximum(sight: &TurnSight<'_>) -> Result<(), String> {
    let Some(after) = &sight.after.manager else { return Ok(()) };
    let before = sight.before.manager.as_ref().map_or(0, |before| before.places_taken);
    // A peer to be evicted closes before long, and its successor has a slot already.
    let most = after.max_places.max(before) + sight.after.closing;
    ensure(after.places_taken <= most, || format!("{} slots are in use, of {most}", after.places_taken))
}

pub(super) fn nobody_is_dialled_beyond_the_target(sight: &TurnSight<'_>) -> Result<(), String> {
    let Some(ManagerSummary { target, drawn, .. }) = &sight.after.manager else { return Ok(()) };
    let beyond = drawn.iter().find(|draw| draw.places_taken > *target);
    beyond.map_or(Ok(()), |draw| Err(format!("{draw:?} with a target of {target}")))
}

pub(super) fn bans_keep_their_bound(sight: &TurnSight<'_>) -> Result<(), String> {
    let Some(ManagerSummary { bans, unannounced_bans, .. }) = sight.after.manager else { return Ok(()) };
    ensure(bans <= MAX_BANS && unannounced_bans <= bans, || {
        format!("{bans} bans, of which {unannounced_bans} are not announced")
    })
}

pub(super) fn announced_bans_are_on_the_disk(sight: &TurnSight<'_>) -> Result<(), String> {
    ensure(sight.undurable.is_empty(), || format!("bans that are not on the disk: {:?}", sight.undurable))
}

pub(super) fn the_book_keeps_its_bound(sight: &TurnSight<'_>) -> Result<(), String> {
    let Some(ManagerSummary { book, .. }) = sight.after.manager else { return Ok(()) };
    ensure(book <= MAX_BOOK_PEERS, || format!("{book} addresses in the book"))
}

// --- In a sweep -----------------------------------------------------------------------------------------------------

/// Checks of the manager's view of the links, the disk and the book, each with the number of its invariant.
pub(super) const CHECKS: [(u8, Check); 10] = [
    (24, each_peer_has_one_place),
    (24, each_link_counts_once),
    (25, nobody_banned_is_a_peer),
    (27, no_address_is_dialled_twice),
    (27, each_link_has_its_address),
    (30, saved::the_disk_has_what_it_was_given),
    (30, saved::the_disk_has_what_is_known),
    (31, the_book_has_no_invalid_address),
    (31, hearsay::nobody_is_believed_who_was_not_asked),
    (31, hearsay::no_source_fills_more_than_its_share),
];

fn each_peer_has_one_place(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(manager) = &sight.inspection.summary.manager else { return Ok(()) };
    let has_place = |link: &&LinkReport| link.connection_type != ConnectionType::OverCapacity;
    let counted = sight.inspection.links.iter().filter(has_place).count();
    ensure(counted == manager.places_taken, || format!("{} slots are in use, by {counted}", manager.places_taken))
}

fn each_link_counts_once(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(manager) = &sight.inspection.manager else { return Ok(()) };
    let (mut hosts, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for link in &sight.inspection.links {
        *hosts.entry(Host::of(link.address.ip())).or_insert(0) += 1;
        *groups.entry(NetGroup::of(link.address.ip())).or_insert(0) += 1;
    }
    let (believed, counted) = ((manager.hosts, manager.groups), (hosts.len(), groups.len()));
    ensure(believed == counted, || format!("links of {counted:?} hosts and ranges, the manager counts {believed:?}"))?;
    none_of(sight.inspection.links.iter(), |link| {
        let ip = link.address.ip();
        link.counted != (hosts[&Host::of(ip)], groups[&NetGroup::of(ip)])
    })
}

fn nobody_banned_is_a_peer(sight: &SweepSight<'_>) -> Result<(), String> {
    none_of(sight.inspection.links.iter(), |link| link.is_banned && link.ending == EndingStep::Open)
}

/// Checks that no address is dialled twice. Without a manager, the embedder decides which addresses it dials.
fn no_address_is_dialled_twice(sight: &SweepSight<'_>) -> Result<(), String> {
    if sight.inspection.manager.is_none() {
        return Ok(());
    }
    let dialled = sight.inspection.links.iter().filter(|link| link.connection_type == ConnectionType::Outbound);
    let mut seen: BTreeSet<SocketAddr> = BTreeSet::new();
    let twice = dialled.map(|link| canonical(link.address)).find(|&address| !seen.insert(address));
    ensure(twice.is_none(), || format!("{twice:?} is dialled twice"))
}

fn each_link_has_its_address(sight: &SweepSight<'_>) -> Result<(), String> {
    let Some(ManagerReport { claims, .. }) = &sight.inspection.manager else { return Ok(()) };
    let links: BTreeSet<_> = sight.inspection.links.iter().map(|link| link.id).collect();
    let stray = claims.iter().find(|(_, link)| !links.contains(link));
    ensure(stray.is_none(), || format!("{stray:?} has no link"))?;
    none_of(sight.inspection.links.iter(), |link| claims.binary_search(&(canonical(link.address), link.id)).is_err())
}

/// Checks the book's addresses. Whether an unroutable one may be there depends on the network.
fn the_book_has_no_invalid_address(sight: &SweepSight<'_>) -> Result<(), String> {
    let is_undialable = |address: SocketAddr| {
        let ip = address.ip();
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || is_broadcast
    };
    let book = sight.inspection.manager.iter().flat_map(|manager| &manager.book);
    let invalid = book.map(KnownPeer::address).find(|address| is_undialable(*address));
    ensure(invalid.is_none(), || format!("{invalid:?} cannot be dialled"))
}
