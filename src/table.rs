//! The table: one row per link, and the lists of links that have something to do.
//!
//! A row holds all that a connection owns, except its socket, which lies under the same slot inside the
//! [`Net`](crate::net::Net). Ids carry a generation, so a stale one finds nothing; a slot whose generations are used
//! up is never given out again. Each link stands in each list at most once. Nothing here acts on a row: the lists say
//! who is next, the engine says what happens.

use crate::buffer::SendQueue;
use crate::bugs::{self, Bug};
use crate::error::CloseReason;
use crate::framer::MessageFramer;
use crate::id::LinkId;
use crate::limits::{REJECT_READ_TIME, ROW_MAX_BYTES, SEND_STALL_MIN_BYTES, SEND_STALL_TIMEOUT};
use crate::peer::{ConnectionState, PeerConnection};
use crate::protocol::PONG_ABOVE_VERSION;
use crate::time::Instant;
use slab::Slab;
use std::collections::VecDeque;
use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;

const _: () = assert!(size_of::<Link>() <= ROW_MAX_BYTES, "an idle peer costs its row");
const _: () = assert!(offset_of!(Link, peer) <= 64, "what every message touches is as much as one line of a cache");

/// One TCP connection.
///
/// What every message reads or writes stands first: between two messages the kernel has the caches, and each line of
/// them that a row touches is waited for.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Link {
    pub(crate) framer: MessageFramer,
    generation: u32,
    pub(crate) readiness: LinkReadiness,
    listed: Listed,
    /// How far its end has come; nothing while it is open. Boxed, for few of many links are ending.
    pub(crate) ending: Option<Box<Ending>>,
    pub(crate) hold: Hold,
    /// Whether the message that is arriving is only for subscribers or the peer manager: the handler did not want it.
    pub(crate) declined: bool,
    /// The code of the peer's `reject`, if that is the last message it sent. No code is 0.
    pub(crate) reject_code: Option<NonZeroU8>,
    /// The lower of the peer's protocol version and ours; before the peer's is known the one that we have claimed, if
    /// we have.
    pub(crate) negotiated_version: u32,
    pub(crate) queue: SendQueue,
    /// The message that is being fed in parts, if there is one.
    pub(crate) stream: Option<Box<OutgoingStream>>,
    /// Bytes that the kernel has taken in the link's life.
    pub(crate) bytes_written: u64,
    /// Who speaks on it.
    pub(crate) peer: PeerConnection,
    /// Where among the link's outgoing bytes the last message ends that was fed in parts.
    pub(crate) stream_end: u64,
    /// From when the time to the next ping of ours counts: the end of the handshake, or when the last one was due.
    pub(crate) pinged_at: Instant,
    /// When the peer last took as much of what waits for it as is progress, or when that began to wait.
    pub(crate) send_progress: Instant,
    /// Where among the link's outgoing bytes the next progress is. Not beyond what is written if nothing waits.
    pub(crate) send_goal: u64,
    /// When reading stopped, while it is stopped.
    pub(crate) held_since: Instant,
    /// When to read and write again after the kernel had no memory for it; [`Instant::MAX`] if it had.
    pub(crate) retry_at: Instant,
    /// Whether the last that the peer hears is a `reject`.
    pub(crate) said_reject: bool,
    /// Whether the reason of its end is one that the handler gave.
    pub(crate) ended_by_handler: bool,
    /// Whether the peer has sent `sendhdrsen`.
    pub(crate) prefers_enriched_headers: bool,
}

impl Link {
    /// Whether it is not ending.
    pub(crate) fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// Whether it is freed at the end of this turn.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.ending.as_deref(), Some(Ending::Ended(_)))
    }

    /// Its end goes on, or begins.
    pub(crate) fn set_ending(&mut self, ending: Ending) {
        match &mut self.ending {
            Some(before) => **before = ending,
            None => self.ending = Some(Box::new(ending)),
        }
    }

    /// When the graceful end of a link with nothing left to send may go on. A node drops what it has received and not
    /// yet looked at when it hears the end, so a `reject` would go unread (seen with SV Node 1.0.13).
    pub(crate) fn may_shut_down_at(&self) -> Instant {
        if self.said_reject { self.send_progress.plus(REJECT_READ_TIME) } else { Instant::ZERO }
    }

    /// Something was put into the queue.
    pub(crate) fn note_waiting(&mut self, now: Instant) {
        if self.bytes_written >= self.send_goal {
            self.send_progress = now;
            self.send_goal = self.bytes_written + self.queue.waiting_bytes().min(SEND_STALL_MIN_BYTES) as u64;
        }
    }

    /// The kernel has taken something of the queue.
    pub(crate) fn note_taken(&mut self, now: Instant) {
        if !self.is_open() {
            // An end has a bound of its own.
            self.send_progress = now;
        }
        self.note_waiting(now);
        let late = now.since(self.send_progress.plus(SEND_STALL_TIMEOUT));
        if !late.is_zero() {
            // The peer may have made this room in time, and has to get the time to make more.
            self.send_progress = now.plus(late).minus(SEND_STALL_TIMEOUT);
        }
    }

    /// Whether the peer's protocol version is one with pongs.
    pub(crate) fn has_pongs(&self) -> bool {
        self.negotiated_version > PONG_ABOVE_VERSION
    }

    /// Bytes of whole messages that wait. What was fed of a message in parts is not among them, nor what waits before
    /// it: that has a bound of its own, and two loops that feed each other must go on reading.
    pub(crate) fn messages_waiting_bytes(&self) -> usize {
        match &self.stream {
            Some(stream) => stream.behind.waiting_bytes(),
            None => {
                let fed_bytes = self.stream_end.saturating_sub(self.bytes_written);
                self.queue.waiting_bytes() - fed_bytes as usize
            }
        }
    }

    /// What decides by its length whether the peer is read: the messages that wait, or the pongs that wait in front of
    /// one that was fed, whichever is more.
    pub(crate) fn untaken_bytes(&self) -> usize {
        self.messages_waiting_bytes().max(self.queue.ahead_bytes())
    }

    /// Whether the loop has yet to read what the peer sent, or to write what the peer has room for.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed.on(Listed::READY | Listed::DIRTY)
    }

    /// Whether the turn will take the next step of its end.
    pub(crate) fn is_listed_closing(&self) -> bool {
        self.listed.on(Listed::CLOSING)
    }

    /// Whether `id`, whose slot this is, was not given to an earlier owner of it.
    fn is_known_by(&self, id: LinkId) -> bool {
        self.generation == id.generation() || bugs::is_planted(Bug::NoGenerationCheck)
    }

    /// Whether it is listed as ready, dirty and closing.
    #[cfg(feature = "sim")]
    pub(crate) fn listed_as(&self) -> [bool; 3] {
        [Listed::READY, Listed::DIRTY, Listed::CLOSING].map(|list| self.listed.on(list))
    }

    /// Whether its TCP connection is not decided yet.
    pub(crate) fn is_connecting(&self) -> bool {
        self.peer.state() == ConnectionState::Connecting && self.is_open()
    }
}

/// A message that is sent in parts as they become available; whatever else is sent waits behind it.
#[derive(Debug)]
pub(crate) struct OutgoingStream {
    /// Bytes of payload that are still to be fed. Never 0: the last one ends the stream.
    pub(crate) left: u64,
    pub(crate) behind: SendQueue,
}

/// How far the end of a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// What waits is sent, a `reject` gets time to be read, then writing is shut down.
    Draining(CloseReason, Instant),
    /// Writing is shut down; input is dropped until the peer closes or the grace period ends.
    Lingering(CloseReason, Instant),
    /// It is freed at the end of this turn.
    Ended(CloseReason),
}

impl Ending {
    /// Why it ends.
    pub(crate) fn reason(&self) -> CloseReason {
        match *self {
            Self::Draining(reason, _) | Self::Lingering(reason, _) | Self::Ended(reason) => reason,
        }
    }
}

/// What the kernel last said, and no call has contradicted since.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkReadiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The end is near: a short read is not the last.
    pub(crate) hung_up: bool,
}

/// Why a readable link is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The handler asked for it.
    pub(crate) paused: bool,
    /// The peer does not take what it caused.
    pub(crate) queue_full: bool,
}

impl Hold {
    pub(crate) fn is_held(self) -> bool {
        self.paused || self.queue_full
    }
}

/// On which lists a link is, in one byte: a million rows are as small as that.
#[derive(Clone, Copy, Debug, Default)]
struct Listed(u8);

impl Listed {
    const READY: u8 = 1;
    const DIRTY: u8 = 2;
    const CLOSING: u8 = 4;

    fn on(self, list: u8) -> bool {
        self.0 & list != 0
    }

    fn put(&mut self, list: u8) {
        self.0 |= list;
    }

    fn take(&mut self, list: u8) {
        self.0 &= !list;
    }
}

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
    /// The generation that each slot's next use gets, or its present one.
    generations: Vec<u32>,
    live: usize,
    ready: VecDeque<LinkId>,
    dirty: VecDeque<LinkId>,
    closing: VecDeque<LinkId>,
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
            dials: VecDeque::new(),
        }
    }

    /// Rows in use.
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
            stream: None,
            stream_end: 0,
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
            ended_by_handler: false,
            prefers_enriched_headers: false,
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

    /// Frees a row, so that its id is never valid again.
    pub(crate) fn remove(&mut self, id: LinkId) {
        if self.get(id).is_none() {
            return;
        }
        self.live -= if bugs::is_planted(Bug::SlotReleasedTwice) { self.live.min(2) } else { 1 };
        self.generations[id.slot()] += 1;
        if self.generations[id.slot()] > LinkId::GENERATION_MAX {
            // The slot stays occupied by a row that no id finds: its next use would repeat an id.
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

    /// The id of the link that now uses `slot`.
    pub(crate) fn id_at(&self, slot: u32) -> Option<LinkId> {
        let link = self.rows.get(slot as usize)?;
        (link.generation != u32::MAX).then(|| LinkId::new(slot, link.generation))
    }

    /// All links, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.rows
            .iter()
            .filter(|(_, link)| link.generation != u32::MAX)
            .map(|(slot, link)| (LinkId::new(slot as u32, link.generation), link))
    }

    /// The links in the slots from `slot` on, in their order.
    pub(crate) fn iter_from(&self, slot: usize) -> impl Iterator<Item = (LinkId, &Link)> {
        let ids = (slot..self.generations.len()).filter_map(|slot| self.id_at(slot as u32));
        ids.filter_map(|id| self.get(id).map(|link| (id, link)))
    }

    /// Lists a link as one to read, unless it is listed already or is not to be read.
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

    /// Lists a link as one with something to send that can be sent.
    pub(crate) fn mark_dirty(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && link.readiness.writable
            && !link.listed.on(Listed::DIRTY)
        {
            link.listed.put(Listed::DIRTY);
            self.dirty.push_back(id);
        }
    }

    /// Lists a link as one whose end has to go on.
    pub(crate) fn mark_closing(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && !link.listed.on(Listed::CLOSING)
        {
            link.listed.put(Listed::CLOSING);
            self.closing.push_back(id);
        }
    }

    pub(crate) fn push_dial(&mut self, dial: Dial) {
        self.dials.push_back(dial);
    }

    pub(crate) fn pop_ready(&mut self) -> Option<LinkId> {
        let id = self.ready.pop_front()?;
        if let Some(link) = self.get_mut(id) {
            link.listed.take(Listed::READY);
        }
        Some(id)
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

    /// Slots that were ever used.
    pub(crate) fn slots(&self) -> u32 {
        self.generations.len() as u32
    }

    /// Slots that were ever used, those in use, and those that are retired.
    #[cfg(feature = "sim")]
    pub(crate) fn slot_counts(&self) -> (usize, usize, usize) {
        let retired = self.generations.iter().filter(|generation| **generation > LinkId::GENERATION_MAX).count();
        (self.generations.len(), self.rows.len(), retired)
    }

    /// The links listed as ready, dirty and closing, and those that are still to be dialled.
    #[cfg(feature = "sim")]
    pub(crate) fn lists(&self) -> [Vec<LinkId>; 4] {
        let ids = |list: &VecDeque<LinkId>| list.iter().copied().collect();
        let dials = self.dials.iter().map(|dial| dial.link).collect();
        [ids(&self.ready), ids(&self.dirty), ids(&self.closing), dials]
    }

    /// The link that is read next.
    #[cfg(feature = "sim")]
    pub(crate) fn next_ready(&self) -> Option<LinkId> {
        self.ready.front().copied()
    }

    #[cfg(feature = "sim")]
    pub(crate) fn dials_len(&self) -> usize {
        self.dials.len()
    }

    /// Bytes of the rows and lists, those not in use among them.
    #[cfg(feature = "sim")]
    pub(crate) fn held_bytes(&self) -> usize {
        let ids = self.ready.capacity() + self.dirty.capacity() + self.closing.capacity();
        self.rows.capacity() * size_of::<Link>()
            + self.generations.capacity() * size_of::<u32>()
            + ids * size_of::<LinkId>()
            + self.dials.capacity() * size_of::<Dial>()
    }

    /// Whether any list has work for the next turn.
    pub(crate) fn has_work(&self) -> bool {
        !(self.ready.is_empty() && self.dirty.is_empty() && self.closing.is_empty() && self.dials.is_empty())
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
    fn a_stale_id_finds_nothing_though_its_slot_is_used_again() {
        let mut table = Table::new();
        let old = table.insert(peer());
        table.remove(old);
        let new = table.insert(peer());
        assert_eq!(old.slot(), new.slot());
        assert!(table.get(old).is_none());
        assert!(table.get(new).is_some());
        table.remove(old);
        assert_eq!(table.len(), 1, "a stale id frees nothing");
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut table = Table::new();
        let first = table.insert(peer());
        table.remove(first);
        table.generations[0] = LinkId::GENERATION_MAX;
        let last = table.insert(peer());
        assert_eq!((last.slot(), last.generation()), (0, LinkId::GENERATION_MAX));
        table.remove(last);
        assert_eq!(table.len(), 0);
        assert_eq!(table.id_at(0), None);
        assert_eq!(table.iter().count(), 0);
        assert_eq!(table.insert(peer()).slot(), 1);
    }

    #[test]
    fn a_link_is_listed_once() {
        let mut table = Table::new();
        let id = table.insert(peer());
        table.mark_ready(id);
        assert_eq!(table.ready_len(), 0, "it is not readable");
        table.get_mut(id).expect("it is live").readiness.readable = true;
        table.mark_ready(id);
        table.mark_ready(id);
        assert_eq!(table.ready_len(), 1);
        assert_eq!(table.pop_ready(), Some(id));
        table.mark_ready(id);
        assert_eq!(table.pop_ready(), Some(id));
        assert_eq!(table.pop_ready(), None);
        assert!(!table.has_work());
    }
}
