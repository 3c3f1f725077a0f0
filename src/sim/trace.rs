//! A run's trace: a hash of the recorded calls and their outcomes, and on request the calls themselves.
//!
//! A trace never records clock reads, but each entry holds the moment of its call. The hash depends only on the
//! entries: runs with the same entries have equal hashes. Two runs with different entries have equal hashes with a
//! probability of about one in 2^64.

use crate::id::LinkId;
use crate::time::Instant;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

/// A call of [`Net`](crate::net::Net) or [`Offload`](crate::offload::Offload), or an event that a wait returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Asked for readiness; the outcome is the number of events.
    Wait,
    /// An event of the last wait.
    Event {
        /// The token of the event's link or listener, or of the host's waker.
        token: u64,
        /// As in [`Readiness`](crate::net::Readiness).
        readable: bool,
        /// As in [`Readiness`](crate::net::Readiness).
        writable: bool,
        /// As in [`Readiness`](crate::net::Readiness).
        hung_up: bool,
    },
    /// Opened a listener; the outcome is its port.
    Listen {
        /// The requested address.
        address: SocketAddr,
    },
    /// Accepted a waiting connection; the outcome is the dialler's port.
    Accept {
        /// The listener's index.
        index: u32,
    },
    /// Closed a listener.
    CloseListener {
        /// The listener's index.
        index: u32,
    },
    /// Registered an accepted connection.
    Attach {
        /// The connection's id.
        link: LinkId,
    },
    /// Started to open a connection.
    Connect {
        /// The connection's id.
        link: LinkId,
        /// The address dialled.
        address: SocketAddr,
    },
    /// Asked whether a connection is established; the outcome is 1 if it is.
    Connected {
        /// The connection.
        link: LinkId,
    },
    /// Received; the outcome is the number of bytes.
    Read {
        /// The connection.
        link: LinkId,
        /// The room for received data, in bytes.
        room_bytes: usize,
    },
    /// Sent; the outcome is the number of bytes.
    Write {
        /// The connection.
        link: LinkId,
        /// The number of bytes offered.
        offered_bytes: usize,
    },
    /// Shut down the outgoing stream.
    ShutDownWriting {
        /// The connection.
        link: LinkId,
    },
    /// Closed a connection.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Asked for a name's addresses; the name is the entry's bytes.
    Resolve {
        /// The number of the query.
        query: u32,
        /// The port to use if the name contains none.
        port: u16,
    },
    /// Passed a batch of changes to the disk; the entry's bytes are the text of the changes, and the outcome
    /// is the number of changes.
    Persist {
        /// The batch's number.
        id: u64,
    },
    /// Collected a completion, whose text is the entry's bytes. A call that found none has no entry.
    TakeCompletion,
}

/// A call and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The moment of the call.
    pub at: Instant,
    /// The index of the host that made the call, as [`SimNet::host`](super::SimNet::host) returns it.
    pub host: usize,
    /// The call.
    pub call: Call,
    /// The number that [`Call`] describes (0 if it describes none), or the kind of the call's error.
    pub outcome: Result<usize, ErrorKind>,
    /// The bytes that a read or a write moved, or the text that [`Call`] describes.
    pub bytes: Vec<u8>,
}

/// The record of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: Mixer,
    calls: u64,
    log: Option<Vec<Entry>>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { hash: Mixer::default(), calls: 0, log: None }
    }

    pub(super) fn keep_log(&mut self) {
        self.log.get_or_insert_default();
    }

    pub(super) fn note(&mut self, at: Instant, host: usize, call: Call, outcome: Result<usize, i32>, moved: &[u8]) {
        self.hash.add(at.as_nanos());
        self.hash.add_call(host, call);
        self.hash.add(match outcome {
            Ok(number) => (number as u64) << 1,
            Err(errno) => u64::from(errno.unsigned_abs()) << 1 | 1,
        });
        if !moved.is_empty() {
            self.hash.add_bytes(moved);
        }
        self.calls += 1;
        if let Some(log) = &mut self.log {
            let outcome = outcome.map_err(|errno| io::Error::from_raw_os_error(errno).kind());
            log.push(Entry { at, host, call, outcome, bytes: moved.to_vec() });
        }
    }

    /// Returns the hash of all entries.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// Returns the number of entries.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the entries since [`World::keep_log`](super::World::keep_log) was called; none if it was not called.
    pub fn log(&self) -> &[Entry] {
        self.log.as_deref().unwrap_or_default()
    }
}

/// A hash of words, not bytes, with one multiplication per word. It is the same in every build, which no hasher of the
/// standard library guarantees.
#[derive(Clone, Copy, Debug)]
struct Mixer(u64);

impl Default for Mixer {
    fn default() -> Self {
        Self(KEYS[0])
    }
}

/// Odd numbers without a pattern: each consists of 64 binary digits of pi's fraction, with its last bit set to 1.
const KEYS: [u64; 4] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89];

impl Mixer {
    fn add(&mut self, word: u64) {
        self.0 = folded(self.0 ^ word, KEYS[1]).wrapping_add(word);
    }

    fn add_call(&mut self, host: usize, call: Call) {
        let host = (host as u64) << 8;
        let (kind, number) = match call {
            Call::Wait => (0, 0),
            Call::Event { token, readable, writable, hung_up } => {
                (0x80 | u64::from(readable) | u64::from(writable) << 1 | u64::from(hung_up) << 2, token)
            }
            Call::Listen { address } => return self.add_address(1 | host, 0, address),
            Call::Accept { index } => (2, u64::from(index)),
            Call::CloseListener { index } => (3, u64::from(index)),
            Call::Attach { link } => (4, link.to_u64()),
            Call::Connect { link, address } => return self.add_address(5 | host, link.to_u64(), address),
            Call::Connected { link } => (6, link.to_u64()),
            Call::Read { link, room_bytes } => {
                self.add(room_bytes as u64);
                (7, link.to_u64())
            }
            Call::Write { link, offered_bytes } => {
                self.add(offered_bytes as u64);
                (8, link.to_u64())
            }
            Call::ShutDownWriting { link } => (9, link.to_u64()),
            Call::Close { link } => (10, link.to_u64()),
            Call::Resolve { query, port } => (11, u64::from(query) << 16 | u64::from(port)),
            Call::TakeCompletion => (12, 0),
            Call::Persist { id } => (13, id),
        };
        self.add(kind | host);
        self.add(number);
    }

    fn add_address(&mut self, kind: u64, number: u64, address: SocketAddr) {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        for word in [kind, number, u64::from(address.port()), ip as u64, (ip >> 64) as u64] {
            self.add(word);
        }
    }

    /// Hashes four words at once, in independent lanes.
    fn add_bytes(&mut self, bytes: &[u8]) {
        let mut lanes = KEYS;
        let (blocks, rest) = bytes.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = folded(*lane ^ u64::from_le_bytes(*word), KEYS[1]);
            }
        }
        for word in rest.chunks(8) {
            self.add(word_of(word));
        }
        if bytes.len() >= 32 {
            lanes.into_iter().for_each(|lane| self.add(lane));
        }
        self.add(bytes.len() as u64);
    }
}

fn folded(word: u64, key: u64) -> u64 {
    let product = u128::from(word) * u128::from(key);
    product as u64 ^ (product >> 64) as u64
}

/// Returns up to eight bytes as one little-endian number.
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::EAGAIN;

    fn trace_of(at: u64, host: usize, call: Call, outcome: Result<usize, i32>, moved: &[u8]) -> u64 {
        let mut trace = Trace::new();
        trace.note(Instant::from_nanos(at), host, call, outcome, moved);
        trace.hash()
    }

    #[test]
    fn different_entries_have_different_hashes() {
        let link = LinkId::from_u64(3);
        let call = Call::Read { link, room_bytes: 8 };
        let event = |readable, hung_up| Call::Event { token: 3, readable, writable: false, hung_up };
        let address = SocketAddr::from(([10, 0, 0, 1], 7));
        let hashes = [
            trace_of(5, 0, call, Ok(1), b"a"),
            trace_of(5, 0, call, Ok(1), b"b"),
            trace_of(5, 0, call, Ok(2), b"a"),
            trace_of(5, 0, call, Ok(2), b"a\0"),
            trace_of(5, 0, call, Err(EAGAIN), b""),
            trace_of(6, 0, call, Ok(1), b"a"),
            trace_of(5, 1, call, Ok(1), b"a"),
            trace_of(5, 0, Call::Read { link, room_bytes: 9 }, Ok(1), b"a"),
            trace_of(5, 0, Call::Read { link: LinkId::from_u64(4), room_bytes: 8 }, Ok(1), b"a"),
            trace_of(5, 0, Call::Write { link, offered_bytes: 8 }, Ok(1), b"a"),
            trace_of(5, 0, Call::Close { link }, Ok(0), b""),
            trace_of(5, 0, Call::Connected { link }, Ok(0), b""),
            trace_of(5, 0, event(true, false), Ok(0), b""),
            trace_of(5, 0, event(true, true), Ok(0), b""),
            trace_of(5, 0, event(false, true), Ok(0), b""),
            trace_of(5, 0, Call::Listen { address }, Ok(0), b""),
            trace_of(5, 0, Call::Connect { link, address }, Ok(0), b""),
            trace_of(5, 0, Call::Resolve { query: 3, port: 4 }, Ok(0), b"a"),
            trace_of(5, 0, Call::Resolve { query: 4, port: 3 }, Ok(0), b"a"),
            trace_of(5, 0, Call::Resolve { query: 3, port: 4 }, Ok(0), b"b"),
            trace_of(5, 0, Call::TakeCompletion, Ok(0), b"a"),
            trace_of(5, 0, Call::Persist { id: 0 }, Ok(0), b"a"),
            trace_of(5, 0, Call::Persist { id: 1 }, Ok(0), b"a"),
        ];
        assert_eq!(hashes[0], trace_of(5, 0, call, Ok(1), b"a"));
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{index}");
        }
    }

    #[test]
    fn every_byte_and_its_position_change_the_hash() {
        let call = Call::Wait;
        for len in [1, 7, 8, 9, 31, 32, 33, 64, 100] {
            let bytes = vec![0; len];
            let hash = trace_of(0, 0, call, Ok(0), &bytes);
            assert_ne!(hash, trace_of(0, 0, call, Ok(0), &vec![0; len + 1]));
            let mut changed: Vec<u64> = (0..len)
                .map(|at| {
                    let mut bytes = bytes.clone();
                    bytes[at] = 1;
                    trace_of(0, 0, call, Ok(0), &bytes)
                })
                .collect();
            changed.push(hash);
            changed.sort_unstable();
            changed.dedup();
            assert_eq!(changed.len(), len + 1);
        }
    }

    #[test]
    fn the_order_of_the_entries_changes_the_hash() {
        let hash = |order: [u32; 2]| {
            let mut trace = Trace::new();
            for index in order {
                trace.note(Instant::ZERO, 0, Call::Accept { index }, Ok(0), &[]);
            }
            trace.hash()
        };
        assert_ne!(hash([1, 2]), hash([2, 1]));
    }

    #[test]
    fn the_hash_is_the_same_in_every_build() {
        let call = Call::Read { link: LinkId::from_u64(3), room_bytes: 8 };
        let hash = trace_of(5, 2, call, Ok(40), &[7; 40]);
        assert_eq!(hash, 0x9966_c842_0fb5_b63e);
    }
}
