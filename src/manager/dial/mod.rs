//! The dialler: decides which address to dial, and when.
//!
//! The [`Dialler`] fills the wanted slots. In normal mode it draws addresses from the book, valid ones before unknown
//! ones, and none from a routable range that already has a drawn peer. With a fixed list it uses that list, in order.
//! For each address it stores only the facts that polite dialling needs: whether the address is connected, its
//! failures and restarts, and the moment from which it may be dialled again.
//!
//! - A lost connection is reopened at once, a few times per window. A failed dial is retried after a pause that grows
//!   up to a maximum. Neither applies to a requested dial of an address without a record.
//! - An address in the book that failed too often is inaccessible: it is dialled when no other address can be, and
//!   occasionally before others. If its node is incompatible, an address in the book is inaccessible at once,
//!   and waits for an hour unless a ban of its host ends sooner.
//! - If this machine lacks descriptors, memory, ports or a network, that counts against no address. Dialling slows
//!   down instead.
//! - An endpoint that has a link is never dialled.
//!
//! The dialler opens no socket, uses no clock and no resolver, and does not write the book. It returns the address to
//! dial, and a decision for each reported close. Its memory is bounded by
//! [`MAX_DIAL_RECORDS`](crate::limits::MAX_DIAL_RECORDS) or by the fixed list.

mod backoff;
mod candidates;
mod crossing;
mod ended;
mod groups;
mod holds;
mod live;
#[cfg(test)]
mod model;
mod names;
mod outage;
mod pace;
mod peer_slots;
mod records;
mod resolve;
mod seeds;
#[cfg(test)]
mod tests;

pub(crate) use candidates::{Candidates, Standing};
pub(crate) use crossing::{Keep, resolve_crossing};
pub(crate) use ended::{Decision, Departure, Ended};
pub(crate) use live::Live;
pub(crate) use names::FixedNames;
pub(crate) use outage::Outage;
pub(crate) use peer_slots::PeerSlots;
pub(crate) use resolve::Resolve;
pub(crate) use seeds::Seeds;

use crate::address::{Host, canonical};
use crate::bugs::canary;
use crate::config::{DialMode, ManagerConfig};
use crate::error::{DialHold, Shortage};
use crate::limits::{
    BARRED_RECHECK, BOOK_RETRY, CANDIDATE_TRIES, INACCESSIBLE_DRAWS, INACCESSIBLE_RECHECK, RESTARTS_FORGOTTEN_AFTER,
    SELF_BACKOFF,
};
use crate::peer::RestartTracking;
use crate::time::Instant;
use backoff::Backoff;
use holds::Holds;
use pace::{Family, Pace};
use rand::{Rng, RngExt};
use records::{Kind, QueueEnd, Record, Records, State};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Decides which address to dial, and when.
///
/// Addresses are compared and returned in their canonical form. A returned address also has the interface that the
/// fixed list names for it.
#[derive(Debug)]
pub(crate) struct Dialler {
    /// The count of all peers. [`Dialler::next`] and [`Dialler::try_manual`] reserve a slot for each dial that they
    /// allow. The slot is returned when the connection's row is removed.
    pub(crate) slots: PeerSlots,
    /// The addresses of all live links. A link's addresses are released when its row is removed.
    pub(crate) live: Live,
    settings: Settings,
    records: Records,
    pace: Pace,
    /// The address family whose queue the next [`Dialler::next`] searches first.
    turn: Family,
    /// The moment before which no address is drawn from the book, because the last draw found none. [`Instant::MAX`]
    /// if only an event can change that.
    book_retry_at: Instant,
    /// Whether the last draw from the book found no address, or only an inaccessible one.
    book_is_dry: bool,
    holds: Holds,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    is_fixed: bool,
    /// The number of peers below which the dialler dials.
    target: usize,
    backoff: Backoff,
    max_retries: u16,
    restarts: RestartTracking,
}

/// The reason why a requested address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The address is connected or being dialled.
    Address,
    /// The maximum number of peers is reached.
    Slots,
}

impl Settings {
    fn of(config: &ManagerConfig) -> Self {
        let (is_fixed, target) = match &config.mode {
            DialMode::Normal => (false, config.target_peers),
            DialMode::Fixed(_) => (true, config.max_peers),
        };
        let restarts = RestartTracking::new(config.max_restarts, config.restart_window);
        let max_retries = u16::try_from(config.max_retries).unwrap_or(u16::MAX);
        Self { is_fixed, target, backoff: Backoff::of(config), max_retries, restarts }
    }
}

impl Dialler {
    /// Creates a dialler that knows only the fixed list. All addresses in the list are due.
    pub(crate) fn new(config: &ManagerConfig) -> Self {
        let mut dialler = Self {
            slots: PeerSlots::new(config.max_peers),
            live: Live::default(),
            settings: Settings::of(config),
            records: Records::default(),
            pace: Pace::default(),
            turn: Family::V4,
            book_retry_at: Instant::ZERO,
            book_is_dry: false,
            holds: Holds::default(),
        };
        if let DialMode::Fixed(peers) = &config.mode {
            dialler.records.fix(peers, dialler.settings.restarts);
        }
        dialler
    }

    /// Applies new settings. Closes no link, even if the target, the maximum or the fixed list shrinks.
    pub(crate) fn reconfigure(&mut self, config: &ManagerConfig) {
        let was_fixed = self.settings.is_fixed;
        self.settings = Settings::of(config);
        self.slots.set_max(config.max_peers);
        self.records.limit_restarts(config.max_restarts, config.restart_window);
        match &config.mode {
            DialMode::Normal if was_fixed => self.records.unfix(),
            DialMode::Normal => {}
            DialMode::Fixed(peers) => self.records.fix(peers, self.settings.restarts),
        }
        self.holds.clear();
        self.book_changed();
    }

    // --- Dialling ----------------------------------------------------------------------------------------------------

    /// Returns the moment at which to call [`Dialler::next`] if no event happens earlier. A past moment means at once;
    /// `None` means that only an event can make a dial possible.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        if !self.wants_peer() && !self.may_lack_slot() {
            return None;
        }
        let of_queues = Family::ALL
            .into_iter()
            .filter(|&family| self.records.has_queued(family))
            .map(|family| self.pace.ready_at(family))
            .min();
        let of_others = if self.settings.is_fixed {
            self.records.first_due()
        } else {
            let ready_at = Family::ALL.map(|family| self.pace.ready_at(family)).into_iter().min();
            ready_at.map(|ready_at| ready_at.max(self.book_retry_at)).filter(|&moment| moment < Instant::MAX)
        };
        of_queues.into_iter().chain(of_others).chain(self.holds.next_at()).min()
    }

    /// Returns one address to dial now, and reserves its slot. Call until `None`, or until the turn's limit.
    ///
    /// `barred` returns the reason why an address must not be dialled, if there is one. When the dialled connection
    /// is closed, [`Dialler::ended`] must be called. A cause that holds back a wanted dial is recorded for
    /// [`Dialler::take_hold`].
    pub(crate) fn next(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        book: &impl Candidates,
        mut barred: impl FnMut(SocketAddr) -> Option<DialHold>,
    ) -> Option<SocketAddr> {
        if !self.wants_peer() && !self.may_lack_slot() {
            return None;
        }
        if self.settings.is_fixed {
            self.records.recall_due(now, CANDIDATE_TRIES);
        } else {
            let memory = self.settings.restarts.window().max(INACCESSIBLE_RECHECK);
            self.records.forget_long_due(now, memory, CANDIDATE_TRIES);
            self.records.rest_groups(now);
        }
        let (address, standing) = match self.next_queued(now, &mut barred) {
            Some(address) => (address, None),
            None if self.settings.is_fixed => return None,
            None => {
                let (address, standing) = self.next_of_book(now, rng, book, &mut barred)?;
                (address, Some(standing))
            }
        };
        if !self.slots.try_take() {
            self.records.put_back(address);
            self.holds.note(DialHold::MaxPeers);
            return None;
        }
        self.dial(address, Kind::Drawn, now);
        if standing == Some(Standing::Inaccessible) {
            self.records.note_inaccessible(address, self.settings.max_retries);
        }
        Some(self.records.scoped(address))
    }

    fn wants_peer(&self) -> bool {
        self.slots.taken() < self.slots.max().min(self.settings.target)
    }

    /// Returns whether a missing slot may still have to be recorded: the list is fixed, and [`DialHold::MaxPeers`] is
    /// not recorded yet.
    fn may_lack_slot(&self) -> bool {
        self.settings.is_fixed && !self.holds.has(DialHold::MaxPeers)
    }

    /// Returns whether all wanted peers are connected or being dialled.
    fn has_wanted_peers(&self) -> bool {
        match self.settings.is_fixed {
            true => self.records.has_none_to_dial(),
            false => !self.wants_peer(),
        }
    }

    /// Records that the table has no row for a dial, if a peer is wanted and a dial is due.
    pub(crate) fn lacks_row(&mut self, now: Instant) {
        if self.wants_peer() && self.next_at().is_some_and(|due_at| due_at <= now) {
            self.holds.note(DialHold::MaxLinks);
        }
    }

    /// Returns a cause that holds back wanted dials and has not been reported yet. Call until `None`.
    ///
    /// Each cause is returned once until the wanted peers are connected or the settings change.
    pub(crate) fn take_hold(&mut self) -> Option<DialHold> {
        self.holds.take()
    }

    fn next_queued(
        &mut self,
        now: Instant,
        barred: &mut impl FnMut(SocketAddr) -> Option<DialHold>,
    ) -> Option<SocketAddr> {
        for family in [self.turn, self.turn.other()] {
            if !self.pace.is_ready(family, now) {
                continue;
            }
            for _ in 0..CANDIDATE_TRIES {
                let Some(address) = self.records.pop_queued(family) else { break };
                let is_free = self.live.holder(address).is_none() && self.records.fits_groups(address);
                if is_free {
                    let Some(cause) = barred(address) else {
                        self.turn = family.other();
                        return Some(address);
                    };
                    // In normal mode another address of the book can be dialled instead.
                    if self.settings.is_fixed {
                        self.holds.note(cause);
                    }
                }
                self.records.set_aside(address, now.plus(BARRED_RECHECK), now);
            }
        }
        None
    }

    fn next_of_book(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        book: &impl Candidates,
        barred: &mut impl FnMut(SocketAddr) -> Option<DialHold>,
    ) -> Option<(SocketAddr, Standing)> {
        if book.is_empty() {
            self.book_is_dry = true;
            self.book_retry_at = Instant::MAX;
            self.holds.drawn_without_candidate(true, now);
            return None;
        }
        let unready = || Family::ALL.into_iter().filter(|&family| !self.pace.is_ready(family, now));
        if now < self.book_retry_at || unready().count() == Family::ALL.len() {
            self.holds.check_candidates(now);
            return None;
        }
        let is_now_and_then = rng.random_ratio(1, INACCESSIBLE_DRAWS);
        let first = is_now_and_then.then_some((Standing::Inaccessible, INACCESSIBLE_RECHECK));
        let others = [Standing::Valid, Standing::Unknown, Standing::Inaccessible];
        let order = first.into_iter().chain(others.map(|standing| (standing, Duration::ZERO)));
        let mut order =
            order.filter(|&(standing, _)| !canary!(InaccessibleForgotten) || standing != Standing::Inaccessible);
        // Whether a due address was skipped or the tries ran out. The draw is then repeated later, even without an
        // event.
        let mut has_blocked = false;
        let (mut causes, mut has_resting) = (BTreeSet::new(), false);
        let drawn = order.find_map(|(standing, rest)| {
            let mut looked_at = 0;
            let mut accept = |address: SocketAddr| {
                looked_at += 1;
                let address = canonical(address);
                if !self.records.is_due(address, rest, now) {
                    return false;
                }
                let is_ready = self.pace.is_ready(Family::of(address), now);
                has_resting |= !is_ready;
                let is_free = is_ready && self.live.holder(address).is_none() && {
                    let rested = self.records.is_group_rested(address);
                    let cause = match rested {
                        true => barred(address),
                        false => self.records.is_group_taken(address).then_some(DialHold::GroupTaken),
                    };
                    has_resting |= !rested && cause.is_none();
                    causes.extend(cause);
                    rested && cause.is_none()
                };
                has_blocked |= !is_free;
                is_free
            };
            let address = book.pick(standing, rng, &mut accept, CANDIDATE_TRIES);
            has_resting |= looked_at >= CANDIDATE_TRIES;
            has_blocked |= looked_at >= CANDIDATE_TRIES;
            Some((canonical(address?), standing, rest))
        });
        if drawn.is_none() {
            let events = unready().map(|family| self.pace.ready_at(family)).chain(self.records.first_due_after(now));
            let latest = if has_blocked { now.plus(BOOK_RETRY) } else { Instant::MAX };
            self.book_retry_at = events.fold(latest, Instant::min);
            // Our own address in the book is not a candidate, so it holds nothing back.
            causes.remove(&DialHold::OwnAddress);
            let has_none = causes.is_empty() && !has_resting && self.records.first_due_after(now).is_none();
            causes.into_iter().for_each(|cause| self.holds.note(cause));
            self.holds.drawn_without_candidate(has_none, now);
        }
        // The seeds are also queried more often while only inaccessible addresses remain.
        self.book_is_dry = drawn.is_none_or(|(_, standing, rest)| standing == Standing::Inaccessible && rest.is_zero());
        drawn.map(|(address, standing, _)| (address, standing))
    }

    /// Reserves a slot for a requested dial.
    ///
    /// An address with a record, for example one in the fixed list or in a pause, is dialled even during its pause.
    /// The connection's close then has the usual consequences, but keeps the pause if its reason says nothing about
    /// the address. If a fixed address was closed on request, the dial makes it part of the list again. An address
    /// without a record is dialled only once: it is not restarted, and no record of it is kept.
    ///
    /// # Errors
    ///
    /// If the address is in use or the maximum number of peers is reached. No slot is reserved then.
    pub(crate) fn try_manual(&mut self, address: SocketAddr, now: Instant) -> Result<(), Taken> {
        let address = canonical(address);
        if self.is_taken(address) {
            return Err(Taken::Address);
        }
        if !self.slots.try_take() {
            return Err(Taken::Slots);
        }
        self.dial(address, Kind::OneShot, now);
        Ok(())
    }

    /// Records that a dial starts. An address without a record gets a record of this `kind`.
    fn dial(&mut self, address: SocketAddr, kind: Kind, now: Instant) {
        let restarts = self.settings.restarts;
        self.records.dial(address, || Record::new(kind, restarts), now);
        self.pace.connect_starting(Family::of(address), now);
        self.holds.connect_starting();
    }

    // --- Results -----------------------------------------------------------------------------------------------------

    /// Records that the kernel has started to connect, so descriptors, memory and a port were available.
    pub(crate) fn connect_started(&mut self, address: SocketAddr) {
        self.pace.connect_started(Family::of(canonical(address)));
    }

    /// Records that the TCP connection is open and the handshake begins.
    pub(crate) fn tcp_connected(&mut self, address: SocketAddr) {
        let address = canonical(address);
        self.pace.answered(Family::of(address));
        self.records.tcp_connected(address);
    }

    /// Records that the handshake is complete. The caller marks the address as valid in the book.
    pub(crate) fn ready(&mut self, address: SocketAddr, now: Instant) {
        self.records.ready(canonical(address), now);
        if self.has_wanted_peers() {
            self.holds.clear();
        }
    }

    /// Records that a dialled connection was closed. The slot is returned separately, when the connection's row is
    /// removed.
    ///
    /// A call for an unknown address and a repeated call have no effect.
    pub(crate) fn ended(&mut self, address: SocketAddr, ended: Ended, now: Instant, rng: &mut impl Rng) -> Departure {
        let address = canonical(address);
        let Some(mut record) = self.records.end(address) else {
            return Departure { decision: Decision::Nothing, failures: 0, restarts: 0 };
        };
        self.book_changed();
        self.note_fault(address, ended, now);
        if let State::Ready(since) = record.state() {
            if now.since(since) >= RESTARTS_FORGOTTEN_AFTER {
                record.restarts.reset();
            }
            // A full peer rejects us right after the handshake, so this handshake does not count as a success.
            if ended != Ended::TurnedAway {
                (record.failures, record.strikes) = (0, 0);
            }
        }
        let is_restarted = ended == Ended::Lost && record.kind != Kind::OneShot && record.restarts.try_restart(now);
        if ended.is_failure() && !is_restarted {
            record.failures = record.failures.saturating_add(1);
            record.strikes = record.strikes.saturating_add(u16::from(ended != Ended::Offline));
        }
        let decision = match record.kind {
            Kind::OneShot => Decision::Nothing,
            Kind::Drawn | Kind::Fixed if is_restarted => {
                self.records.enqueue(address, record, QueueEnd::First);
                Decision::Restart
            }
            Kind::Drawn | Kind::Fixed => self.judge(address, record, ended, now, rng),
        };
        Departure { decision, failures: record.failures.into(), restarts: record.restarts.restarts() }
    }

    /// Decides when an address is dialled again, if ever, and stores the record needed for that.
    fn judge(
        &mut self,
        address: SocketAddr,
        record: Record,
        ended: Ended,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Decision {
        let paused_until = record.paused_until();
        let after = |pause: Duration| now.plus(pause).max(paused_until);
        match ended {
            Ended::Unreached | Ended::Lost | Ended::TurnedAway | Ended::MissedDeadline | Ended::Offline => {
                let is_given_up = ended != Ended::Offline && record.strikes >= self.settings.max_retries;
                self.back_off(address, record, is_given_up, now, rng)
            }
            Ended::Incompatible if record.kind == Kind::Fixed => {
                let until = now.plus(self.settings.backoff.longest(rng));
                self.records.wait_for_unban(address, record, until, now);
                Decision::WaitUntil(until)
            }
            Ended::Incompatible => {
                self.records.wait_for_unban(address, record, now.plus(INACCESSIBLE_RECHECK), now);
                Decision::Inaccessible
            }
            Ended::ClosedByUs if record.kind == Kind::Fixed => {
                self.records.hold(address, record);
                Decision::Nothing
            }
            Ended::ClosedByUs => {
                let until = after(self.settings.backoff.longest(rng));
                self.pause(address, record, until, now)
            }
            Ended::NotAllowed if record.kind == Kind::Fixed => self.pause(address, record, after(BARRED_RECHECK), now),
            Ended::NotAllowed | Ended::Short(Shortage::Descriptors | Shortage::Memory) if paused_until > now => {
                self.pause(address, record, paused_until, now)
            }
            // `barred` is called before each dial of a drawn address, so the address needs no pause.
            Ended::NotAllowed => Decision::Nothing,
            Ended::SelfConnection => self.pause(address, record, now.plus(SELF_BACKOFF), now),
            Ended::Short(Shortage::Descriptors | Shortage::Memory) => {
                match canary!(DialForgotten) {
                    true => self.records.hold(address, record),
                    false => self.records.enqueue(address, record, QueueEnd::First),
                }
                Decision::WaitUntil(self.pace.ready_at(Family::of(address)))
            }
            // These failures may affect only this address, and may be permanent. The pause keeps this address from
            // blocking the others.
            Ended::Short(Shortage::Ports | Shortage::SourceAddress) | Ended::NoNetwork => {
                let until = after(self.settings.backoff.pause(1, rng));
                self.pause(address, record, until, now)
            }
        }
    }

    /// Slows dialling down if this machine lacked a resource. Ends the family's pause for a missing network if the
    /// close shows that the network works.
    fn note_fault(&mut self, address: SocketAddr, ended: Ended, now: Instant) {
        let family = Family::of(address);
        match ended {
            Ended::Short(shortage) => self.pace.short_of(shortage, family, now),
            Ended::NoNetwork => self.pace.no_network(family, now),
            Ended::ClosedByUs | Ended::NotAllowed | Ended::Offline => {}
            Ended::Unreached
            | Ended::Lost
            | Ended::TurnedAway
            | Ended::MissedDeadline
            | Ended::Incompatible
            | Ended::SelfConnection => self.pace.answered(family),
        }
    }

    /// Pauses an address. The pause grows with each failure. An address in the book that has failed too often also
    /// becomes inaccessible.
    fn back_off(
        &mut self,
        address: SocketAddr,
        record: Record,
        is_given_up: bool,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Decision {
        let is_given_up = is_given_up && record.kind == Kind::Drawn;
        let until = now.plus(self.settings.backoff.pause(record.failures.into(), rng));
        match self.pause(address, record, until, now) {
            // Too many other addresses wait, so this pause was not stored. An inaccessible address is drawn last, so it
            // is not dialled again at once.
            Decision::Nothing => Decision::Inaccessible,
            _ if is_given_up => Decision::Inaccessible,
            decision => decision,
        }
    }

    fn pause(&mut self, address: SocketAddr, record: Record, until: Instant, now: Instant) -> Decision {
        if self.records.wait(address, record, until, now) { Decision::WaitUntil(until) } else { Decision::Nothing }
    }

    /// Records that descriptors ran out elsewhere, for example while accepting.
    pub(crate) fn short_of_descriptors(&mut self, now: Instant) {
        self.pace.short_of(Shortage::Descriptors, Family::V4, now);
    }

    /// Ends the wait of `host`'s incompatible or barred addresses, because a ban of the host has ended.
    pub(crate) fn ban_lifted(&mut self, host: Host) {
        self.records.release_unfit(host);
        self.book_changed();
    }

    /// Allows another draw at once, for example because the book has new addresses or a ban has ended.
    pub(crate) const fn book_changed(&mut self) {
        self.book_retry_at = Instant::ZERO;
    }

    // --- State -------------------------------------------------------------------------------------------------------

    /// Returns the number of peers below which the dialler dials.
    #[cfg(feature = "sim")]
    pub(crate) fn target(&self) -> usize {
        self.slots.max().min(self.settings.target)
    }

    /// Returns the waiting addresses, and the ends of their pauses.
    #[cfg(feature = "sim")]
    pub(crate) fn waiting(&self) -> impl ExactSizeIterator<Item = &(Instant, SocketAddr)> {
        self.records.waiting()
    }

    /// Returns whether `address` is being dialled, or is connected in either direction.
    pub(crate) fn is_taken(&self, address: SocketAddr) -> bool {
        self.records.is_live(canonical(address)) || self.live.holder(address).is_some()
    }

    /// Returns whether the seeds should be queried more often: peers from the book are wanted, and the last draw found
    /// no address or only an inaccessible one.
    pub(crate) fn lacks_candidates(&self) -> bool {
        !self.settings.is_fixed && self.book_is_dry && self.wants_peer()
    }

    /// Returns the number of addresses with a record.
    #[cfg(feature = "sim")]
    pub(crate) fn records_len(&self) -> usize {
        self.records.len()
    }

    /// Returns the restarts of a dialled address, for the row of its connection.
    pub(crate) fn restarts(&self, address: SocketAddr) -> Option<RestartTracking> {
        self.records.get(canonical(address)).map(|record| record.restarts)
    }
}
