//! A row of the table: all that one connection owns, except its socket.
//!
//! The socket lies under the same slot inside the [`Net`](crate::net::Net). A row is as small as it can be, and what
//! every message touches stands in its first 64 bytes: there may be a million.

use super::framer::MessageFramer;
use super::send_queue::SendQueue;
use crate::bugs::canary;
use crate::error::{CloseReason, Consequences};
use crate::id::LinkId;
use crate::limits::{MAX_ROW_BYTES, MIN_SEND_STALL_BYTES, REJECT_READ_TIME, SEND_STALL_TIMEOUT};
use crate::peer::{ConnectionState, PeerConnection};
use crate::protocol::PONG_ABOVE_VERSION;
use crate::time::Instant;
use std::mem::offset_of;
use std::num::NonZeroU8;

const _: () = assert!(size_of::<Link>() <= MAX_ROW_BYTES, "an idle peer costs its row");
const _: () = assert!(offset_of!(Link, peer) <= 64, "what every message touches is as much as one line of a cache");

/// One TCP connection.
///
/// What every message reads or writes stands first: between two messages the kernel has the caches, and each line of
/// them that a row touches is waited for.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Link {
    pub(crate) framer: MessageFramer,
    pub(super) generation: u32,
    pub(crate) readiness: LinkReadiness,
    pub(super) listed: Listed,
    /// Its end, if that has begun. Boxed, for few of many links are ending.
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
    pub(crate) stream: Option<Box<OutgoingBody>>,
    /// Bytes that the kernel has taken in the link's life.
    pub(crate) bytes_written: u64,
    /// Who speaks on it.
    pub(crate) peer: PeerConnection,
    /// Where among the link's outgoing bytes the last message ends that was fed in parts.
    pub(crate) body_end: u64,
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
        self.phase() == Some(Phase::Ended)
    }

    /// Returns how far its end has come; `None` while it is open.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.ending.as_deref().map(|ending| ending.phase)
    }

    /// Moves an end that has begun to `phase`.
    pub(crate) fn set_phase(&mut self, phase: Phase) {
        if let Some(ending) = &mut self.ending {
            ending.phase = phase;
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
            self.send_goal = self.bytes_written + self.queue.waiting_bytes().min(MIN_SEND_STALL_BYTES) as u64;
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
                let fed_bytes = self.body_end.saturating_sub(self.bytes_written);
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
    pub(super) fn is_known_by(&self, id: LinkId) -> bool {
        self.generation == id.generation() || canary!(NoGenerationCheck)
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
pub(crate) struct OutgoingBody {
    /// Bytes of payload that are still to be fed. Never 0: the last one ends the stream.
    pub(crate) left: u64,
    pub(crate) behind: SendQueue,
}

/// The end of a link. Its reason and consequences are decided once, when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) reason: CloseReason,
    pub(crate) consequences: Consequences,
    pub(crate) phase: Phase,
}

/// How far the end of a link has come, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// What waits is sent, a `reject` gets time to be read, then writing is shut down.
    Draining(Instant),
    /// Writing is shut down; input is dropped until the peer closes or the grace period ends.
    Lingering(Instant),
    /// It is freed at the end of this turn.
    Ended,
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
pub(super) struct Listed(u8);

impl Listed {
    pub(super) const READY: u8 = 1;
    pub(super) const DIRTY: u8 = 2;
    pub(super) const CLOSING: u8 = 4;

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
