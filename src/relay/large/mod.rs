//! Large transactions: those above the loop's buffer limit, which arrive and are sent in parts.
//!
//! The parts are kept as they arrive, and no byte is copied. The id is computed meanwhile. A transaction is announced
//! once it is whole, and has the checksum of its message. It is then a body like others, and sent to each peer as the
//! peer reads. The bytes count within the pool from the first one on. Longer transactions than
//! [`RELAY_LARGE_TX_BYTES`] are read, hashed and counted, and not kept.

mod arrive;
mod serve;

pub(super) use arrive::{begin, expire, on_closed, on_cut, on_part};
pub(super) use serve::{feed, is_reading, send};

use super::inventory::Id;
use super::window::Window;
use crate::handler::PeerMap;
use crate::id::PeerId;
use crate::limits::RELAY_LARGE_TX_BYTES;
use crate::time::Instant;
use crate::wire::{Hash256, StreamType, StreamedTx, TxStreamParser};

/// A large transaction that is whole and well-formed, and has its checksum.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) txid: Hash256,
    pub(super) parts: Window,
}

/// The progress of a peer that reads a large transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    id: Id,
    /// The offset of the next byte.
    at: u64,
}

/// The large transactions that arrive. Each stream of a peer can have one.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    by_peer: PeerMap<Vec<Arriving>>,
}

/// A large transaction that arrives.
#[derive(Debug)]
struct Arriving {
    stream: StreamType,
    is_from_leaf: bool,
    begun_at: Instant,
    parser: TxStreamParser,
    /// The transaction once its last byte was read, or the reason why it is none.
    read: Option<Result<StreamedTx, Malformed>>,
    keeping: Keeping,
}

/// The payload is not one transaction and nothing else.
#[derive(Clone, Copy, Debug)]
struct Malformed;

/// The parts of a large transaction that have arrived, or the reason why they are not kept.
#[derive(Debug)]
enum Keeping {
    Parts(Window),
    /// The transaction can never be kept.
    TooLarge,
    /// Too many bytes arrive at this moment, or the transaction has arrived for too long.
    NoRoom,
}

impl Arrivals {
    fn remove(&mut self, peer: PeerId, stream: StreamType) -> Option<Arriving> {
        let arriving = self.by_peer.get_mut(peer)?;
        let at = arriving.iter().position(|one| one.stream == stream)?;
        let removed = arriving.swap_remove(at);
        if arriving.is_empty() {
            self.by_peer.remove(peer);
        }
        Some(removed)
    }

    fn insert(&mut self, peer: PeerId, arriving: Arriving) {
        match self.by_peer.get_mut(peer) {
            Some(others) => others.push(arriving),
            None => drop(self.by_peer.insert(peer, vec![arriving])),
        }
    }
}

impl Arriving {
    /// Reads the next bytes of the payload.
    fn read(&mut self, mut unread: &[u8]) {
        if self.read.is_none() {
            self.read = self.parser.advance(&mut unread).map_err(|_| Malformed).transpose();
        }
        if !unread.is_empty() && self.read.is_some() {
            self.read = Some(Err(Malformed));
        }
    }

    /// Returns the number of bytes that the parts retain.
    fn retained_bytes(&self) -> usize {
        match &self.keeping {
            Keeping::Parts(parts) => parts.retained_bytes(),
            Keeping::TooLarge | Keeping::NoRoom => 0,
        }
    }
}
