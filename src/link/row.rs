//! A row of the table: all state of one connection except its socket.
//!
//! [`Net`](crate::net::Net) holds the socket under the same slot. There may be a million rows, so a row is as small
//! as possible, and the fields that every message uses are in its first 64 bytes.

use super::framer::MessageFramer;
use super::send_queue::SendQueue;
use crate::bugs::canary;
use crate::error::{CloseReason, Consequences};
use crate::id::{Lane, LinkId};
use crate::limits::{
    MAX_ROW_BYTES, MAX_SEND_QUEUE_BYTES, MIN_SEND_STALL_BYTES, PULL_WAITING_BYTES, REJECT_READ_TIME, SEND_STALL_TIMEOUT,
};
use crate::peer::{ConnectionState, LinkRole, PeerConnection};
use crate::protocol::PONG_ABOVE_VERSION;
use crate::time::Instant;
use std::mem::offset_of;
use std::num::NonZeroU8;

const _: () = assert!(size_of::<Link>() <= MAX_ROW_BYTES, "a row exceeds `MAX_ROW_BYTES`");
const _: () = assert!(Lane::COUNT <= u32::BITS as usize, "there are more lanes than bits in a row's `pull_lanes`");
const _: () = assert!(offset_of!(Link, peer) <= 64, "the fields that every message uses exceed one cache line");

/// One TCP connection.
///
/// The fields that every message reads or writes are first. With many links, a row is evicted from the CPU's caches
/// between two messages, so each cache line that a message touches costs a miss.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Link {
    pub(crate) framer: MessageFramer,
    pub(super) generation: u32,
    pub(crate) readiness: LinkReadiness,
    pub(super) listed: Listed,
    /// The link's closing, once it has begun. Boxed, because few links are closing at a time.
    pub(crate) ending: Option<Box<Ending>>,
    pub(crate) hold: Hold,
    /// Whether the arriving message is only for subscribers or the peer manager, because the handler declined it.
    pub(crate) declined: bool,
    /// The code of the peer's last message, if that message was a `reject` with a code other than 0.
    pub(crate) reject_code: Option<NonZeroU8>,
    /// The lower of the peer's protocol version and ours. Before the peer's version is known, this is the version
    /// that we have sent, or 0 if we have sent none.
    pub(crate) negotiated_version: u32,
    pub(crate) queue: SendQueue,
    /// The message being sent in parts, if any.
    pub(crate) body: Option<Box<OutgoingBody>>,
    /// Bytes that the kernel has accepted since the link was opened.
    pub(crate) bytes_written: u64,
    /// The peer's connection state.
    pub(crate) peer: PeerConnection,
    /// The end of the last message sent in parts, as a position in the link's outgoing bytes.
    pub(crate) body_end: u64,
    /// The start of the interval to our next ping: the end of the handshake, or the moment at which the timer of the
    /// last ping fired.
    pub(crate) pinged_at: Instant,
    /// The moment of the peer's last progress in reading the queued bytes, or the moment at which they began to wait.
    pub(crate) send_progress: Instant,
    /// The peer makes progress when the kernel has accepted our outgoing bytes up to this position. If nothing waits,
    /// the kernel has already accepted them.
    pub(crate) send_goal: u64,
    /// The start of the current or most recent pause in reading.
    pub(crate) held_since: Instant,
    /// The moment to retry reading and writing after the kernel ran out of memory; [`Instant::MAX`] if no
    /// retry is due.
    pub(crate) retry_at: Instant,
    /// Whether we have sent the peer a last `reject`, after which the link closes.
    pub(crate) said_reject: bool,
    /// Whether the peer has sent `sendhdrsen`.
    pub(crate) prefers_enriched_headers: bool,
    /// One more than the index of the lane that was last offered the free room, modulo 32. The next search starts
    /// here.
    pub(super) pull_last: u8,
    /// The lanes that request the free room, one bit each.
    pub(super) pull_lanes: u32,
}

impl Link {
    /// Returns whether the link's closing has not begun. A link that is still connecting counts as open.
    pub(crate) fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// Returns whether the link's next closing step frees it.
    pub(crate) fn has_ended(&self) -> bool {
        self.phase() == Some(Phase::Ended)
    }

    /// Returns the phase of the closing, or `None` while the link is open.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.ending.as_deref().map(|ending| ending.phase)
    }

    /// Sets the phase of a closing that has begun.
    pub(crate) fn set_phase(&mut self, phase: Phase) {
        if let Some(ending) = &mut self.ending {
            ending.phase = phase;
        }
    }

    /// Returns the earliest moment at which a closing link with an empty queue may shut down writing. A node drops
    /// unread messages when it sees the shutdown, so it would not read a `reject` (observed with SV Node 1.0.13).
    pub(crate) fn may_shut_down_at(&self) -> Instant {
        if self.said_reject { self.send_progress.plus(REJECT_READ_TIME) } else { Instant::ZERO }
    }

    /// Sets the next goal for the peer's progress if the current goal is reached. Call this after bytes are queued or
    /// written.
    pub(crate) fn note_waiting(&mut self, now: Instant) {
        if self.bytes_written >= self.send_goal {
            self.send_progress = now;
            self.send_goal = self.bytes_written + self.queue.waiting_bytes().min(MIN_SEND_STALL_BYTES) as u64;
        }
    }

    /// Records that the kernel accepted queued bytes.
    pub(crate) fn note_taken(&mut self, now: Instant) {
        if !self.is_open() {
            // On a closing link, every write counts as progress, because another deadline limits the draining.
            self.send_progress = now;
        }
        self.note_waiting(now);
        let late = now.since(self.send_progress.plus(SEND_STALL_TIMEOUT));
        if !late.is_zero() {
            // The peer may have read in time, and only this write is late. The new deadline is therefore as long after
            // now as this write is after the old deadline.
            self.send_progress = now.plus(late).minus(SEND_STALL_TIMEOUT);
        }
    }

    /// Returns whether the peer's protocol version supports pongs.
    pub(crate) fn has_pongs(&self) -> bool {
        self.negotiated_version > PONG_ABOVE_VERSION
    }

    /// Returns the number of waiting bytes of whole messages. It excludes a message sent in parts and the bytes
    /// before it, which have their own bound.
    pub(crate) fn messages_waiting_bytes(&self) -> usize {
        match &self.body {
            Some(body) => body.behind.waiting_bytes(),
            None => {
                let fed_bytes = self.body_end.saturating_sub(self.bytes_written);
                self.queue.waiting_bytes() - fed_bytes as usize
            }
        }
    }

    /// Returns the length of the longest message that is accepted now. If no whole message waits, any length is
    /// accepted.
    pub(crate) fn free_bytes(&self) -> usize {
        match self.messages_waiting_bytes() {
            0 => usize::MAX,
            waiting_bytes => MAX_SEND_QUEUE_BYTES.saturating_sub(waiting_bytes),
        }
    }

    /// Returns whether a handler has requested the free room and waits for the offer.
    pub(crate) fn asks_pull(&self) -> bool {
        self.pull_lanes != 0
    }

    /// Records that the handler of `lane` requests the free room. Idempotent.
    pub(super) fn ask_pull(&mut self, lane: Lane) {
        self.pull_lanes |= 1 << lane.index();
    }

    /// Removes and returns the next lane that requests the free room. The lanes are served in rotation.
    pub(super) fn next_pull(&mut self) -> Option<Lane> {
        let after_last = self.pull_lanes & u32::MAX << self.pull_last;
        let index = if after_last == 0 { self.pull_lanes } else { after_last }.trailing_zeros();
        self.pull_lanes &= !(1_u32.checked_shl(index)?);
        self.pull_last = (index + 1) as u8 % u32::BITS as u8;
        Some(Lane::at(index as u8))
    }

    /// Returns whether so few bytes wait that the free room may be offered to a handler.
    pub(crate) fn has_pull_room(&self) -> bool {
        self.messages_waiting_bytes() <= PULL_WAITING_BYTES
    }

    /// Returns the number of waiting bytes that were queued ahead: pings, pongs and messages of the handshake. Reading
    /// from the peer pauses if there are too many.
    pub(crate) fn unread_replies_bytes(&self) -> usize {
        self.queue.ahead_bytes() + self.body.as_ref().map_or(0, |body| body.behind.ahead_bytes())
    }

    /// Returns whether the link is listed for reading or writing.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed.on(Listed::READY | Listed::DIRTY)
    }

    /// Returns whether the link is listed for reading.
    pub(crate) fn is_listed_ready(&self) -> bool {
        self.listed.on(Listed::READY)
    }

    /// Returns whether this is a peer's first link. A further stream, or a link that is being set up as one, is none.
    pub(crate) fn is_peer(&self) -> bool {
        match self.peer.role() {
            LinkRole::Single | LinkRole::General => true,
            LinkRole::Stream | LinkRole::Opening => false,
        }
    }

    /// Returns whether the link is listed for the next step of its closing.
    pub(crate) fn is_listed_closing(&self) -> bool {
        self.listed.on(Listed::CLOSING)
    }

    /// Returns whether `id` belongs to this link and not to an earlier link in the slot.
    pub(super) fn is_known_by(&self, id: LinkId) -> bool {
        self.generation == id.generation() || canary!(NoGenerationCheck)
    }

    /// Returns four flags: whether the link is listed as ready, dirty, closing and pulled.
    #[cfg(feature = "sim")]
    pub(crate) fn listed_as(&self) -> [bool; 4] {
        [Listed::READY, Listed::DIRTY, Listed::CLOSING, Listed::PULL].map(|list| self.listed.on(list))
    }

    /// Returns whether the TCP connection is still being established.
    pub(crate) fn is_connecting(&self) -> bool {
        self.peer.state() == ConnectionState::Connecting && self.is_open()
    }
}

/// A message that is sent in parts as the parts become available. All later messages wait until it is complete,
/// but pings and pongs can overtake it until its first byte is sent.
#[derive(Debug)]
pub(crate) struct OutgoingBody {
    /// Payload bytes still to be fed, never 0: the last byte ends the message.
    pub(crate) left: u64,
    pub(crate) behind: SendQueue,
}

/// The closing of a link. The reason and the consequences are decided when the closing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) reason: CloseReason,
    pub(crate) consequences: Consequences,
    pub(crate) phase: Phase,
}

/// The phase of a link's closing. The first two store the moment at which the draining began, and the third that of the
/// lingering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Queued bytes are sent, and a `reject` gets time to be read, before writing is shut down.
    Draining(Instant),
    /// All queued bytes are sent, but not those of the peer's other streams. A peer that sees the end of one stream
    /// drops the unread messages of all.
    AwaitingStreams(Instant),
    /// Writing is shut down, and input is dropped until the peer closes or the grace period ends.
    Lingering(Instant),
    /// The next closing step frees the link.
    Ended,
}

/// The readiness that the kernel last reported, corrected by the results of later calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkReadiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has hung up, so after a short read there is still the end of the stream to read.
    pub(crate) hung_up: bool,
}

/// The reasons for a pause in reading a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The handler paused reading.
    pub(crate) paused: bool,
    /// The peer does not read the replies that it caused.
    pub(crate) unread_replies: bool,
}

impl Hold {
    pub(crate) fn is_held(self) -> bool {
        self.paused || self.unread_replies
    }
}

/// The lists that contain a link, as bits of one byte because there may be a million rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listed(u8);

impl Listed {
    pub(super) const READY: u8 = 1;
    pub(super) const DIRTY: u8 = 2;
    pub(super) const CLOSING: u8 = 4;
    pub(super) const PULL: u8 = 8;
    /// Not a list: the link was removed from the list for reading and listed again without being read.
    pub(super) const PUT_BACK: u8 = 16;

    pub(super) fn on(self, list: u8) -> bool {
        self.0 & list != 0
    }

    pub(super) fn put(&mut self, list: u8) {
        self.0 |= list;
    }

    pub(super) fn take(&mut self, list: u8) {
        self.0 &= !list;
    }
}
