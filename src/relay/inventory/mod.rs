//! The inventory: the transactions that the relay knows, their announcers, and the order of their announcements.
//!
//! An entry has 64 bytes. After a transaction was announced to a peer, nothing about the two is kept: the peer's cursor
//! has passed the transaction's position in the [`Log`]. Entries are dropped first in, first out; a fingerprint of each
//! announced one remains, so that a late announcer does not make it new again. The module knows peers only by their
//! dense indexes, and neither sends nor reads a clock.

mod log;
mod seen;
mod spill;

pub(super) use log::{Log, Record};

use super::bits::PeerSet;
use crate::limits::{MAX_RELAY_SPILLS, RELAY_ANNOUNCERS, RELAY_HELD_STEPS, RELAY_SWEEP_STEP};
use crate::relay::index::Index;
use crate::time::Instant;
use crate::wire::Hash256;
use crate::wire::siphash::SipKey;
use seen::Seen;
use spill::Spills;
use std::collections::VecDeque;
use std::time::Duration;

/// A peer's dense index.
pub(super) type PeerIndex = u32;
/// An entry's slot.
pub(super) type Slot = u32;

/// The value of a link, a spill set or an announcer that is absent.
pub(super) const NONE: u32 = u32::MAX;

/// A transaction id and its keyed hash, which is computed once per use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) hash: Hash256,
    pub(super) key: u64,
}

/// The progress of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// It has been announced, and its body has not been requested.
    Wanted,
    /// Its body has been requested.
    Asked,
    /// Its body is held until an upstream announces it.
    Held,
    /// It has been added to the log for all peers.
    Accepted,
    /// An upstream has rejected it, or it is malformed. Until the next tip, only an upstream can make it wanted again.
    Rejected,
    /// The policy has dropped it. Nothing makes it wanted again until the next tip.
    Dropped,
    /// Its body is too large to be relayed.
    Oversized,
}

impl State {
    /// Returns whether the body is wanted and has not arrived.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Wanted | Self::Asked)
    }
}

/// The reason for which a transaction is not relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// An upstream has rejected it, or it is malformed.
    Rejected,
    /// The policy has dropped it.
    Dropped,
}

impl Refusal {
    const fn state(self) -> State {
        match self {
            Self::Rejected => State::Rejected,
            Self::Dropped => State::Dropped,
        }
    }
}

/// The knowledge about one transaction.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) hash: Hash256,
    /// The first announcers; [`NONE`] where one is missing.
    announcers: [PeerIndex; RELAY_ANNOUNCERS],
    /// The set of further announcers, or [`NONE`].
    spill: u32,
    /// In the states before `Accepted`: the first request, or [`NONE`]. If accepted: the low bits of the position. If
    /// rejected or dropped: the number of the tip.
    pub(super) link: u32,
    pub(super) state: State,
    /// A bit for each announcer that has been asked.
    asked: u8,
    /// Whether an upstream has announced it.
    pub(super) is_validated: bool,
    /// Whether it has been submitted to the upstreams.
    pub(super) is_submitted: bool,
}

const _: () = assert!(size_of::<Entry>() == 64, "an entry does not fill a cache line");
const _: () = assert!(size_of::<Option<Entry>>() == 64, "a free slot needs a flag of its own");

/// The result of adding an announcer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// The entry holds it, and it may be asked.
    Held,
    /// The entry holds it instead of this one, for which there is no other room.
    HeldInstead(PeerIndex),
    /// It is only known not to need an announcement.
    Spilled,
    /// It had announced the transaction before.
    Known,
    /// There is no room, so the announcer may receive an announcement of its own transaction.
    Dropped,
}

/// All known transactions.
#[derive(Debug)]
pub(super) struct Inventory {
    key: SipKey,
    entries: Vec<Option<Entry>>,
    capacity: usize,
    /// The number of slots that were ever filled or passed; the slot of the next entry follows from it.
    added: u64,
    index: Index,
    log: Log,
    spills: Spills,
    /// The spill sets of accepted entries, by position, which are freed once all peers have passed them.
    accepted_spills: VecDeque<(u64, Slot)>,
    seen: Seen,
    len: usize,
    /// The number of the tip. Rejections of earlier tips do not count.
    tip: u32,
    /// The number of announcers that were added to accepted entries, so that a shared announcement can be recognised as
    /// outdated.
    revision: u64,
    /// The number of places that the sweep has examined so far.
    swept: u64,
}

impl Entry {
    /// Returns the announcers that the entry holds.
    pub(super) fn announcers(&self) -> impl Iterator<Item = PeerIndex> {
        self.announcers.into_iter().filter(|&peer| peer != NONE)
    }

    /// Returns the announcers that the entry holds and that have not been asked.
    pub(super) fn unasked(&self) -> impl Iterator<Item = PeerIndex> {
        let asked = self.asked;
        let all = self.announcers.into_iter().enumerate();
        all.filter(move |&(at, peer)| peer != NONE && asked >> at & 1 == 0).map(|(_, peer)| peer)
    }

    /// Records that an announcer has been asked.
    pub(super) fn note_asked(&mut self, peer: PeerIndex) {
        if let Some(at) = self.announcers.iter().position(|&held| held == peer) {
            self.asked |= 1 << at;
        }
    }
}

impl Inventory {
    /// Creates an empty inventory of `capacity` entries and `max_seen` fingerprints.
    pub(super) fn new(key: SipKey, capacity: usize, max_seen: usize) -> Self {
        Self {
            key,
            entries: Vec::with_capacity(capacity),
            capacity,
            added: 0,
            index: Index::new(capacity),
            log: Log::new(),
            spills: Spills::default(),
            accepted_spills: VecDeque::new(),
            seen: Seen::new(max_seen),
            len: 0,
            tip: 0,
            revision: 0,
            swept: 0,
        }
    }

    /// Returns the maximum number of bytes that an inventory uses, with peers whose indexes are below `peers`.
    pub(super) const fn memory_bytes(capacity: usize, max_seen: usize, peers: usize) -> usize {
        capacity * size_of::<Entry>()
            + Index::memory_bytes(capacity)
            + Log::memory_bytes()
            + Spills::memory_bytes(peers)
            + Seen::memory_bytes(max_seen)
    }

    /// Sets the key of the index. The inventory must be empty.
    pub(super) fn set_key(&mut self, key: SipKey) {
        debug_assert!(self.len == 0 && self.seen.len() == 0, "the index has entries under another key");
        self.key = key;
    }

    /// Returns the id of a hash.
    pub(super) fn id(&self, hash: Hash256) -> Id {
        Id { hash, key: self.key.hash(hash.as_bytes()) }
    }

    /// Returns the slot of a transaction.
    #[inline]
    pub(super) fn find(&self, id: Id) -> Option<Slot> {
        let entries = &self.entries;
        self.index.find(id.key, |slot| entries[slot as usize].as_ref().is_some_and(|entry| entry.hash == id.hash))
    }

    /// Returns the entry in a slot that [`Inventory::find`] or [`Inventory::insert`] has returned.
    pub(super) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    /// Returns whether a transaction was announced and its entry has been dropped since.
    pub(super) fn was_seen(&self, id: Id) -> bool {
        self.seen.contains(id.key)
    }

    /// Returns the occupied slot that the next [`Inventory::insert`] needs; remove its entry first.
    pub(super) fn victim(&self) -> Option<Slot> {
        let slot = (self.added % self.capacity as u64) as Slot;
        self.get(slot).map(|_| slot)
    }

    /// Moves the next [`Inventory::insert`] past held transactions. Returns whether it displaces none.
    pub(super) fn pass_held(&mut self) -> bool {
        for _ in 0..RELAY_HELD_STEPS.min(self.capacity) {
            let victim = self.victim().and_then(|slot| self.get(slot));
            if victim.is_none_or(|entry| entry.state != State::Held) {
                return true;
            }
            self.added += 1;
        }
        false
    }

    /// Adds an entry in the state `Wanted`. There must be no [`Inventory::victim`], and no entry with the id.
    pub(super) fn insert(&mut self, id: Id) -> Slot {
        debug_assert!(self.find(id).is_none() && self.victim().is_none());
        let slot = (self.added % self.capacity as u64) as Slot;
        let entry = Entry {
            hash: id.hash,
            announcers: [NONE; RELAY_ANNOUNCERS],
            spill: NONE,
            link: NONE,
            state: State::Wanted,
            asked: 0,
            is_validated: false,
            is_submitted: false,
        };
        match self.entries.get_mut(slot as usize) {
            Some(free) => *free = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        self.index.insert(id.key, slot);
        self.added += 1;
        self.len += 1;
        slot
    }

    /// Removes an entry, and returns it. If it was accepted, its fingerprint remains, and its announcement is lost for
    /// the peers that have not passed it.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        let id = self.id(entry.hash);
        self.index.remove(id.key, slot);
        self.len -= 1;
        if entry.spill != NONE {
            self.spills.remove_set(entry.spill);
        }
        if entry.state == State::Accepted {
            let position = self.log.full_position(entry.link);
            self.log.remove(position, true);
            self.seen.insert(id.key);
        }
        Some(entry)
    }

    // --- Announcers -------------------------------------------------------------------------------------------------

    /// Adds an announcer. If the entry is full, a preferred announcer replaces one that is not. `is_preferred` returns
    /// `None` for a closed peer.
    pub(super) fn add_announcer(
        &mut self,
        slot: Slot,
        peer: PeerIndex,
        is_preferred: impl Fn(PeerIndex) -> Option<bool>,
    ) -> Added {
        let Some(entry) = self.entries.get_mut(slot as usize).and_then(Option::as_mut) else { return Added::Dropped };
        if entry.announcers.contains(&peer) || entry.spill != NONE && self.spills.contains(entry.spill, peer) {
            return Added::Known;
        }
        self.revision += u64::from(entry.state == State::Accepted || entry.is_submitted);
        if let Some(at) = entry.announcers.iter().position(|&held| held == NONE) {
            entry.announcers[at] = peer;
            entry.asked &= !(1 << at);
            return Added::Held;
        }
        let mut spilled = peer;
        if is_preferred(peer) == Some(true)
            && let Some(at) = entry.announcers.iter().position(|&held| is_preferred(held) != Some(true))
        {
            spilled = std::mem::replace(&mut entry.announcers[at], peer);
            entry.asked &= !(1 << at);
            // The sweep may have examined the sets already, so a closed peer is not added to one.
            if is_preferred(spilled).is_none() {
                return Added::Held;
            }
        }
        if entry.spill == NONE {
            entry.spill = self.spills.add_set().unwrap_or(NONE);
            if entry.spill != NONE && entry.state == State::Accepted {
                self.accepted_spills.push_back((self.log.full_position(entry.link), slot));
            }
        }
        if entry.spill != NONE {
            self.spills.insert(entry.spill, spilled);
        }
        match (spilled == peer, entry.spill == NONE) {
            (false, false) => Added::Held,
            (false, true) => Added::HeldInstead(spilled),
            (true, false) => Added::Spilled,
            (true, true) => Added::Dropped,
        }
    }

    /// Returns whether a peer has announced the transaction.
    pub(super) fn is_announced_by(&self, entry: &Entry, peer: PeerIndex) -> bool {
        entry.announcers.contains(&peer) || entry.spill != NONE && self.spills.contains(entry.spill, peer)
    }

    /// Calls `each` with all announcers.
    pub(super) fn for_each_announcer(&self, slot: Slot, mut each: impl FnMut(PeerIndex)) {
        let Some(entry) = self.get(slot) else { return };
        entry.announcers().for_each(&mut each);
        if entry.spill != NONE {
            self.spills.peers(entry.spill).for_each(each);
        }
    }

    /// Adds all announcers of an entry to `peers`.
    pub(super) fn add_announcers(&self, entry: &Entry, peers: &mut PeerSet) {
        for announcer in entry.announcers() {
            peers.insert(announcer);
        }
        if entry.spill != NONE {
            self.spills.add_to(entry.spill, peers);
        }
    }

    // --- The log ----------------------------------------------------------------------------------------------------

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Adds an entry to the log for all peers, and returns its position. `lag` is the time for which the message that
    /// caused it may have waited.
    pub(super) fn accept(&mut self, slot: Slot, at: Instant, lag: Duration) -> u64 {
        let position = self.log.push(slot, false, at, lag);
        if let Some(entry) = self.get_mut(slot) {
            (entry.state, entry.link) = (State::Accepted, position as u32);
            if entry.spill != NONE {
                self.accepted_spills.push_back((position, slot));
            }
        }
        position
    }

    /// Adds an entry to the log for the upstreams, and returns its position.
    pub(super) fn submit(&mut self, slot: Slot, at: Instant, lag: Duration) -> u64 {
        if let Some(entry) = self.get_mut(slot) {
            entry.is_submitted = true;
        }
        self.log.push(slot, true, at, lag)
    }

    /// Removes an announcement for the upstreams from the log.
    pub(super) fn withdraw(&mut self, position: u64) {
        self.log.remove(position, false);
    }

    /// Returns the position of an accepted entry.
    pub(super) fn position(&self, entry: &Entry) -> Option<u64> {
        (entry.state == State::Accepted).then(|| self.log.full_position(entry.link))
    }

    /// Marks an entry as too large to be relayed.
    pub(super) fn set_oversized(&mut self, slot: Slot) {
        if let Some(entry) = self.get_mut(slot) {
            entry.state = State::Oversized;
        }
    }

    /// Marks an entry as rejected or dropped until the next tip.
    pub(super) fn refuse(&mut self, slot: Slot, refusal: Refusal) {
        let tip = self.tip;
        if let Some(entry) = self.get_mut(slot) {
            (entry.state, entry.link) = (refusal.state(), tip);
        }
    }

    /// Returns whether an entry is refused, if a peer announces or sends it again.
    pub(super) fn is_refused(&self, entry: &Entry, is_upstream: bool) -> bool {
        match entry.state {
            State::Rejected => entry.link == self.tip && !is_upstream,
            State::Dropped => entry.link == self.tip,
            State::Wanted | State::Asked | State::Held | State::Accepted | State::Oversized => false,
        }
    }

    /// Invalidates all refusals, because a new tip may make the transactions valid.
    pub(super) fn clear_refusals(&mut self) {
        self.tip = self.tip.wrapping_add(1);
    }

    /// Frees the announcers of accepted entries that all peers have passed, up to the position `floor`.
    pub(super) fn pass(&mut self, floor: u64) {
        while let Some(&(position, slot)) = self.accepted_spills.front().filter(|(position, _)| *position < floor) {
            self.accepted_spills.pop_front();
            let low = position as u32;
            let Some(entry) = self.get_mut(slot).filter(|entry| entry.state == State::Accepted && entry.link == low)
            else {
                continue;
            };
            let set = std::mem::replace(&mut entry.spill, NONE);
            if set != NONE {
                self.spills.remove_set(set);
            }
        }
    }

    // --- Housekeeping -----------------------------------------------------------------------------------------------

    /// Advances the time of the fingerprints. Call it about once a second.
    pub(super) fn advance(&mut self, now: Instant) {
        self.seen.advance(now);
    }

    /// Returns the number of places after which a sweep that begins now has examined everything.
    pub(super) fn sweep_end(&self) -> u64 {
        self.swept + self.places()
    }

    /// Returns the number of places that the sweep has examined so far.
    pub(super) fn swept(&self) -> u64 {
        self.swept
    }

    /// Removes the peers of `closed` from the next entries and spill sets.
    pub(super) fn sweep(&mut self, closed: &PeerSet) {
        let places = self.places();
        for _ in 0..RELAY_SWEEP_STEP.min(places as usize) {
            let place = (self.swept % places) as usize;
            self.swept += 1;
            match place.checked_sub(self.capacity) {
                Some(set) if set < self.spills.len() => self.spills.sweep(set, closed),
                Some(_) => {}
                None => {
                    let Some(Some(entry)) = self.entries.get_mut(place) else { continue };
                    for announcer in &mut entry.announcers {
                        if *announcer != NONE && closed.contains(*announcer) {
                            *announcer = NONE;
                        }
                    }
                }
            }
        }
    }

    /// Returns the number of places of a sweep: all entries, and all spill sets that there may be. It never changes, so
    /// a cycle of the sweep examines every place once.
    fn places(&self) -> u64 {
        (self.capacity + MAX_RELAY_SPILLS) as u64
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(super) fn spills_used(&self) -> usize {
        self.spills.used()
    }

    pub(super) fn seen_len(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn seen_early(&self) -> u64 {
        self.seen.early()
    }

    /// Returns a number that changes whenever an announcer is added to an entry that is in the log.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| Some((slot as Slot, entry.as_ref()?)))
    }
}

#[cfg(test)]
mod tests;
