//! The table: one row per link, and the lists of links that need work.
//!
//! A row holds a connection's own state but not its socket, which [`Net`](crate::net::Net) holds under the same slot.
//! Ids carry a generation, so a stale id finds nothing. A slot whose generations are used up is never used again.
//! Each link is in each list at most once. The table does not act on its rows: the lists name the next link, and the
//! engine acts on it.

use super::framer::MessageFramer;
use super::row::{Hold, Link, LinkReadiness, Listed};
use super::send_queue::SendQueue;
use crate::bugs::canary;
use crate::id::{Lane, LinkId};
use crate::peer::PeerConnection;
use crate::time::Instant;
use slab::Slab;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// A connection to open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial {
    pub(crate) link: LinkId,
    pub(crate) address: SocketAddr,
    pub(crate) source: Option<IpAddr>,
}

#[derive(Debug)]
pub(crate) struct Table {
    rows: Slab<Link>,
    /// The generation of each slot's current or next use.
    generations: Vec<u32>,
    live: usize,
    ready: VecDeque<LinkId>,
    dirty: VecDeque<LinkId>,
    closing: VecDeque<LinkId>,
    pulls: VecDeque<LinkId>,
    dials: VecDeque<Dial>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            rows: Slab::new(),
            generations: Vec::new(),
            live: 0,
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
            closing: VecDeque::new(),
            pulls: VecDeque::new(),
            dials: VecDeque::new(),
        }
    }

    /// Returns the number of rows in use.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn insert(&mut self, peer: PeerConnection) -> LinkId {
        let slot = self.rows.vacant_key();
        if self.generations.len() <= slot {
            self.generations.resize(slot + 1, 0);
        }
        let generation = self.generations[slot];
        self.rows.insert(Link {
            peer,
            framer: MessageFramer::default(),
            queue: SendQueue::default(),
            body: None,
            body_end: 0,
            bytes_written: 0,
            pinged_at: Instant::ZERO,
            send_progress: Instant::ZERO,
            send_goal: 0,
            held_since: Instant::ZERO,
            retry_at: Instant::MAX,
            ending: None,
            readiness: LinkReadiness::default(),
            hold: Hold::default(),
            said_reject: false,
            prefers_enriched_headers: false,
            pull_last: 0,
            pull_lanes: 0,
            declined: false,
            negotiated_version: 0,
            reject_code: None,
            generation,
            listed: Listed::default(),
        });
        self.live += 1;
        let slot = u32::try_from(slot).expect("max_links keeps slots below 2^24");
        LinkId::new(slot, generation)
    }

    /// Frees a row. Its id is never valid again.
    pub(crate) fn remove(&mut self, id: LinkId) {
        if self.get(id).is_none() {
            return;
        }
        self.live -= if canary!(SlotReleasedTwice) { self.live.min(2) } else { 1 };
        self.generations[id.slot()] += 1;
        if self.generations[id.slot()] > LinkId::MAX_GENERATION {
            // The slot's next use would repeat an id, so the slot stays occupied by a row that no id finds.
            self.rows[id.slot()].generation = u32::MAX;
        } else {
            self.rows.remove(id.slot());
        }
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.rows.get(id.slot()).filter(|link| link.is_known_by(id))
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.rows.get_mut(id.slot()).filter(|link| link.is_known_by(id))
    }

    /// Returns the link id in `slot`; `None` if the slot is free or retired.
    pub(crate) fn id_at(&self, slot: u32) -> Option<LinkId> {
        let link = self.rows.get(slot as usize)?;
        (link.generation != u32::MAX).then(|| LinkId::new(slot, link.generation))
    }

    /// Returns all links, in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.rows
            .iter()
            .filter(|(_, link)| link.generation != u32::MAX)
            .map(|(slot, link)| (LinkId::new(slot as u32, link.generation), link))
    }

    /// Returns the links in the slots from `slot` on, in slot order.
    pub(crate) fn iter_from(&self, slot: usize) -> impl Iterator<Item = (LinkId, &Link)> {
        let ids = (slot..self.generations.len()).filter_map(|slot| self.id_at(slot as u32));
        ids.filter_map(|id| self.get(id).map(|link| (id, link)))
    }

    /// Lists a link for reading, if the link is believed readable, is not held and is not listed yet.
    pub(crate) fn mark_ready(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && link.readiness.readable
            && !link.hold.is_held()
            && !link.listed.on(Listed::READY)
        {
            link.listed.put(Listed::READY);
            self.ready.push_back(id);
        }
    }

    /// Lists a link for writing, if the link is believed writable and is not listed yet.
    pub(crate) fn mark_dirty(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && link.readiness.writable
            && !link.listed.on(Listed::DIRTY)
        {
            link.listed.put(Listed::DIRTY);
            self.dirty.push_back(id);
        }
    }

    /// Lists a link for the next step of its close.
    pub(crate) fn mark_closing(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && !link.listed.on(Listed::CLOSING)
        {
            link.listed.put(Listed::CLOSING);
            self.closing.push_back(id);
        }
    }

    /// Records a [`Ctx::pull`](crate::handler::Ctx::pull) by the handler of `lane`, and lists the link if its send
    /// queue already has enough room. Idempotent.
    pub(crate) fn ask_pull(&mut self, id: LinkId, lane: Lane) {
        if let Some(link) = self.get_mut(id) {
            link.ask_pull(lane);
            self.mark_pull(id);
        }
    }

    /// Lists a link for an offer of its free room, if a handler requested the room and there is enough.
    pub(crate) fn mark_pull(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && link.asks_pull()
            && link.has_pull_room()
            && !link.listed.on(Listed::PULL)
        {
            link.listed.put(Listed::PULL);
            self.pulls.push_back(id);
        }
    }

    /// Returns the next lane that requested the peer's free room, and the number of free bytes. Clears that lane's
    /// request. Returns `None` if there is no such link, or if it is closing, has too little room or has no request.
    /// A link with too little room is listed again once it has enough.
    pub(crate) fn take_pull(&mut self, id: LinkId) -> Option<(Lane, usize)> {
        let link = self.get_mut(id).filter(|link| link.is_open() && link.has_pull_room())?;
        let lane = link.next_pull()?;
        Some((lane, link.free_bytes()))
    }

    pub(crate) fn push_dial(&mut self, dial: Dial) {
        self.dials.push_back(dial);
    }

    /// Removes and returns the next link to be read, and whether it was put back the last time.
    pub(crate) fn pop_ready(&mut self) -> Option<(LinkId, bool)> {
        let id = self.ready.pop_front()?;
        let Some(link) = self.get_mut(id) else { return Some((id, false)) };
        let was_put_back = link.listed.on(Listed::PUT_BACK);
        link.listed.take(Listed::READY | Listed::PUT_BACK);
        Some((id, was_put_back))
    }

    /// Lists a link again that was just removed from the list, so that it is read after another stream of its peer. Not
    /// for a link that was put back the last time: it must be read now, however much the other stream receives.
    pub(crate) fn put_back_ready(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id) {
            link.listed.put(Listed::PUT_BACK);
            self.mark_ready(id);
        }
    }

    pub(crate) fn pop_dirty(&mut self) -> Option<LinkId> {
        let id = self.dirty.pop_front()?;
        if let Some(link) = self.get_mut(id) {
            link.listed.take(Listed::DIRTY);
        }
        Some(id)
    }

    pub(crate) fn pop_closing(&mut self) -> Option<LinkId> {
        let id = self.closing.pop_front()?;
        if let Some(link) = self.get_mut(id) {
            link.listed.take(Listed::CLOSING);
        }
        Some(id)
    }

    pub(crate) fn pop_pull(&mut self) -> Option<LinkId> {
        let id = self.pulls.pop_front()?;
        if let Some(link) = self.get_mut(id) {
            link.listed.take(Listed::PULL);
        }
        Some(id)
    }

    pub(crate) fn pop_dial(&mut self) -> Option<Dial> {
        self.dials.pop_front()
    }

    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    pub(crate) fn closing_len(&self) -> usize {
        self.closing.len()
    }

    pub(crate) fn pulls_len(&self) -> usize {
        self.pulls.len()
    }

    /// Returns the number of slots that were ever used.
    pub(crate) fn slots(&self) -> u32 {
        self.generations.len() as u32
    }

    /// Returns three numbers of slots: those that were ever used, those that hold a live or retired row, and those that
    /// are retired.
    #[cfg(feature = "sim")]
    pub(crate) fn slot_counts(&self) -> (usize, usize, usize) {
        let retired = self.generations.iter().filter(|generation| **generation > LinkId::MAX_GENERATION).count();
        (self.generations.len(), self.rows.len(), retired)
    }

    /// Returns the five lists' links, in this order: ready, dirty, closing, pulls, dials.
    #[cfg(feature = "sim")]
    pub(crate) fn lists(&self) -> [Vec<LinkId>; 5] {
        let ids = |list: &VecDeque<LinkId>| list.iter().copied().collect();
        let dials = self.dials.iter().map(|dial| dial.link).collect();
        [ids(&self.ready), ids(&self.dirty), ids(&self.closing), ids(&self.pulls), dials]
    }

    /// Returns the next link to read.
    #[cfg(feature = "sim")]
    pub(crate) fn next_ready(&self) -> Option<LinkId> {
        self.ready.front().copied()
    }

    #[cfg(feature = "sim")]
    pub(crate) fn dials_len(&self) -> usize {
        self.dials.len()
    }

    /// Returns the memory of the rows and lists in bytes, including unused entries.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let ids = [&self.ready, &self.dirty, &self.closing, &self.pulls].map(VecDeque::capacity).iter().sum::<usize>();
        self.rows.capacity() * size_of::<Link>()
            + self.generations.capacity() * size_of::<u32>()
            + ids * size_of::<LinkId>()
            + self.dials.capacity() * size_of::<Dial>()
    }

    /// Returns whether any list has work for the next turn.
    pub(crate) fn has_work(&self) -> bool {
        let lists = [&self.ready, &self.dirty, &self.closing, &self.pulls];
        !(lists.iter().all(|list| list.is_empty()) && self.dials.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn peer() -> PeerConnection {
        PeerConnection::new_inbound(([127, 0, 0, 1], 1).into(), Duration::from_secs(30))
    }

    #[test]
    fn a_stale_id_finds_nothing_after_its_slot_is_reused() {
        let mut table = Table::new();
        let old = table.insert(peer());
        table.remove(old);
        let new = table.insert(peer());
        assert_eq!(old.slot(), new.slot());
        assert!(table.get(old).is_none());
        assert!(table.get(new).is_some());
        table.remove(old);
        assert_eq!(table.len(), 1, "a stale id freed a row");
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut table = Table::new();
        let first = table.insert(peer());
        table.remove(first);
        table.generations[0] = LinkId::MAX_GENERATION;
        let last = table.insert(peer());
        assert_eq!((last.slot(), last.generation()), (0, LinkId::MAX_GENERATION));
        table.remove(last);
        assert_eq!(table.len(), 0);
        assert_eq!(table.id_at(0), None);
        assert_eq!(table.iter().count(), 0);
        assert_eq!(table.insert(peer()).slot(), 1);
    }

    #[test]
    fn only_a_readable_link_is_listed_for_reading_and_at_most_once() {
        let mut table = Table::new();
        let id = table.insert(peer());
        table.mark_ready(id);
        assert_eq!(table.ready_len(), 0, "an unreadable link was listed");
        table.get_mut(id).expect("the link is live").readiness.readable = true;
        table.mark_ready(id);
        table.mark_ready(id);
        assert_eq!(table.ready_len(), 1);
        assert_eq!(table.pop_ready(), Some((id, false)));
        table.mark_ready(id);
        assert_eq!(table.pop_ready(), Some((id, false)));
        assert_eq!(table.pop_ready(), None);
        assert!(!table.has_work());
    }
}
