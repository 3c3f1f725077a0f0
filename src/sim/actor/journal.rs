//! Honest peers' record of the loop: counts, and the faults that these peers observed.
//!
//! Many peers share one journal. A journal never measures the loop's speed, but its peers complain if a handshake or a
//! pong is too slow.

use crate::time::Instant;
use std::cell::RefCell;
use std::rc::Rc;

/// Maximum number of complaints that a journal keeps. Further complaints are only counted.
const COMPLAINTS_KEPT: usize = 64;

/// The shared record of any number of honest peers. Clones are cheap and share one record.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    book: Rc<RefCell<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    tally: Tally,
    complaints: Vec<Complaint>,
}

/// Totals of all peers so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections established.
    pub opened: u64,
    /// Handshakes completed.
    pub ready: u64,
    /// Further streams opened.
    pub streams: u64,
    /// Connections that the loop closed without an error.
    pub closed: u64,
    /// Connections that failed or were never established.
    pub failed: u64,
    /// Connections in `closed` that ended inside a frame.
    pub torn: u64,
    /// Rejects received from the loop.
    pub rejects: u64,
    /// Messages of all kinds received from the loop.
    pub messages: u64,
    /// Pings from the loop that a peer answered.
    pub pings_answered: u64,
    /// Pings sent to the loop.
    pub pings_sent: u64,
    /// Pongs received from the loop that match a ping sent to it.
    pub pongs: u64,
    /// All complaints about the loop, kept or not.
    pub complaints: u64,
}

/// A fault that a peer observed on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The moment at which the peer noticed the fault.
    pub at: Instant,
    /// The connection's number in the crowd, as [`Line::serial`](super::Line::serial) returns it.
    pub serial: u32,
    /// The observed fault.
    pub what: Wrong,
}

/// A fault that an honest peer observed in the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A frame does not begin with the magic: frames are torn or mixed.
    Magic,
    /// A payload does not match its checksum.
    Checksum,
    /// A message exceeds the peer's announced maximum, and its command is not exempt.
    TooLong,
    /// A payload is not valid for its command.
    Malformed,
    /// A message other than a reject arrived before the version.
    BeforeVersion,
    /// A message other than a reject arrived between version and verack.
    BeforeVerack,
    /// A message that the loop must send only once arrived twice.
    Repeated,
    /// A pong matches no ping in flight.
    StrayPong,
    /// No pong arrived before the next ping was due.
    NoPong,
    /// The handshake was not complete after a minute.
    NoHandshake,
    /// A connection that asked to become a stream received a message other than the expected reply.
    NoStreamAck,
}

impl Wrong {
    /// Returns whether the fault is a missing message. Its cause may be outside the loop.
    pub const fn is_silence(self) -> bool {
        match self {
            Self::NoPong | Self::NoHandshake => true,
            Self::Magic
            | Self::Checksum
            | Self::TooLong
            | Self::Malformed
            | Self::BeforeVersion
            | Self::BeforeVerack
            | Self::Repeated
            | Self::StrayPong
            | Self::NoStreamAck => false,
        }
    }
}

impl Journal {
    /// Returns an empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the counts so far.
    pub fn tally(&self) -> Tally {
        self.book.borrow().tally
    }

    /// Returns the first complaints, at most 64.
    pub fn complaints(&self) -> Vec<Complaint> {
        self.book.borrow().complaints.clone()
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.book.borrow_mut().tally);
    }

    pub(super) fn complain(&self, at: Instant, serial: u32, what: Wrong) {
        let mut book = self.book.borrow_mut();
        book.tally.complaints += 1;
        if book.complaints.len() < COMPLAINTS_KEPT {
            book.complaints.push(Complaint { at, serial, what });
        }
    }
}
