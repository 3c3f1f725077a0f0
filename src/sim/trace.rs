//! What a run did: one number over every call and its outcome, and the calls themselves if they are wanted.
//!
//! Clock reads are no entries of their own; each entry carries the moment at which it was made. The number depends on
//! nothing but the entries, so two runs are equal if and, but for one chance in 2^64, only if their numbers are.

use crate::id::LinkId;
use crate::time::Instant;
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::net::SocketAddr;

/// A call of [`Net`](crate::net::Net).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Asked for readiness; the outcome is the number of events.
    Wait,
    /// One of the events of the last wait.
    Event {
        /// Whom it is about.
        token: u64,
        /// As in [`Readiness`](crate::net::Readiness).
        readable: bool,
        /// As in [`Readiness`](crate::net::Readiness).
        writable: bool,
        /// As in [`Readiness`](crate::net::Readiness).
        hung_up: bool,
    },
    /// Opened a listener.
    Listen {
        /// At which address.
        address: SocketAddr,
    },
    /// Took a waiting connection.
    Accept {
        /// Of which listener.
        index: u32,
    },
    /// Closed a listener.
    CloseListener {
        /// Which.
        index: u32,
    },
    /// Registered an accepted connection.
    Attach {
        /// Under which id.
        link: LinkId,
    },
    /// Opened a connection.
    Connect {
        /// Under which id.
        link: LinkId,
        /// To where.
        address: SocketAddr,
    },
    /// Asked whether a connection is established; the outcome is 1 if it is.
    Connected {
        /// Which.
        link: LinkId,
    },
    /// Received; the outcome is the number of bytes.
    Read {
        /// On which connection.
        link: LinkId,
        /// Bytes that there was room for.
        room_bytes: usize,
    },
    /// Sent; the outcome is the number of bytes.
    Write {
        /// On which connection.
        link: LinkId,
        /// Bytes that were offered.
        offered_bytes: usize,
    },
    /// Ended the outgoing stream.
    ShutDownWriting {
        /// Of which connection.
        link: LinkId,
    },
    /// Closed a connection.
    Close {
        /// Which.
        link: LinkId,
    },
}

/// A call and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// By which host, in the order of [`World::host`](super::World::host).
    pub host: usize,
    /// What was called.
    pub call: Call,
    /// A number that the call defines, or its failure.
    pub outcome: Result<usize, ErrorKind>,
    /// The bytes that were moved by a read or a write.
    pub bytes: Vec<u8>,
}

/// The record of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: Fnv,
    calls: u64,
    log: Option<Vec<Entry>>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { hash: Fnv::default(), calls: 0, log: None }
    }

    pub(super) fn keep_log(&mut self) {
        self.log.get_or_insert_default();
    }

    pub(super) fn note(
        &mut self,
        at: Instant,
        host: usize,
        call: Call,
        outcome: Result<usize, ErrorKind>,
        moved: &[u8],
    ) {
        (at, host, call, outcome, moved).hash(&mut self.hash);
        self.calls += 1;
        if let Some(log) = &mut self.log {
            log.push(Entry { at, host, call, outcome, bytes: moved.to_vec() });
        }
    }

    /// One number over all entries.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// How many entries there were.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The entries since [`World::keep_log`](super::World::keep_log); none without it.
    pub fn log(&self) -> &[Entry] {
        self.log.as_deref().unwrap_or_default()
    }
}

/// FNV-1a with 64 bits: the same in every build, as no hasher of the standard library promises to be.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace_of(outcome: Result<usize, ErrorKind>, moved: &[u8]) -> u64 {
        let mut trace = Trace::new();
        let call = Call::Read { link: LinkId::from_u64(3), room_bytes: 8 };
        trace.note(Instant::from_nanos(5), 0, call, outcome, moved);
        trace.hash()
    }

    #[test]
    fn every_part_of_an_entry_counts() {
        let one = trace_of(Ok(1), b"a");
        assert_eq!(one, trace_of(Ok(1), b"a"));
        for other in [trace_of(Ok(1), b"b"), trace_of(Ok(2), b"a"), trace_of(Err(ErrorKind::WouldBlock), b"")] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        let mut hash = Fnv::default();
        hash.write(b"foobar");
        assert_eq!(hash.finish(), 0x8594_4171_f739_67e8);
    }
}
