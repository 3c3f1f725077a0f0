//! What honest peers have seen of the loop: counts, and every case in which it was wrong.
//!
//! Many peers share one journal. It never judges how fast the loop was, except that a peer gives up a handshake and a
//! pong that do not come.

use crate::time::Instant;
use std::cell::RefCell;
use std::rc::Rc;

/// Complaints that are kept; all are counted.
const COMPLAINTS_KEPT: usize = 64;

/// The shared record of any number of honest peers. Cheap to clone: all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    book: Rc<RefCell<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    tally: Tally,
    complaints: Vec<Complaint>,
}

/// What was counted so far, for all peers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that were established.
    pub opened: u64,
    /// Handshakes that were completed.
    pub ready: u64,
    /// Connections that the loop ended in an orderly way.
    pub closed: u64,
    /// Connections that failed: refused, reset, unreachable.
    pub failed: u64,
    /// Of those that were closed, how many ended inside a frame.
    pub torn: u64,
    /// Rejects that the loop sent.
    pub rejects: u64,
    /// Messages of all kinds.
    pub messages: u64,
    /// Pings that were answered.
    pub pings_answered: u64,
    /// Pings that were sent.
    pub pings_sent: u64,
    /// Pongs that answered one of them.
    pub pongs: u64,
    /// Cases in which the loop was wrong.
    pub complaints: u64,
}

/// A case in which the loop was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// When it was seen.
    pub at: Instant,
    /// Which connection of the crowd it was, by [`Line::serial`](super::Line::serial).
    pub serial: u32,
    /// What was wrong.
    pub what: Wrong,
}

/// What a correct loop never does to an honest peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A frame does not begin with the magic: frames are torn or mixed.
    Magic,
    /// A payload is not what its checksum says.
    Checksum,
    /// A message is longer than was announced to be acceptable.
    TooLong,
    /// A payload is not what its command demands.
    Malformed,
    /// Something came before the version.
    BeforeVersion,
    /// Something other than a reject came between version and verack.
    BeforeVerack,
    /// What is sent once came twice.
    Repeated,
    /// A pong answers no ping in flight.
    StrayPong,
    /// No pong came before the next ping was due.
    NoPong,
    /// The handshake was not complete after a minute.
    NoHandshake,
}

impl Wrong {
    /// Whether it is that something did not come, which may have causes outside of the loop.
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
            | Self::StrayPong => false,
        }
    }
}

impl Journal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        self.book.borrow().tally
    }

    /// The first complaints, at most 64.
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
