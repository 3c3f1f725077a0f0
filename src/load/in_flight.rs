//! The operations in flight that the generator keeps itself: all but the pings that the engine keeps.
//!
//! Each peer has a queue, the oldest operation first. Most replies arrive in the order of the requests, so a search
//! usually ends at once; the queue's bound is also the bound of a search.

use super::ledger::Entry;
use super::operations::Part;
use crate::handler::PeerMap;
use crate::id::PeerId;
use crate::limits::MAX_OPERATIONS_PER_PEER;
use crate::time::Instant;
use std::collections::VecDeque;

/// An operation in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) entry: Entry,
    /// The key by which the workload finds the operation; `None` while the workload holds the operation.
    pub(super) key: Option<u64>,
    pub(super) mark: u64,
    /// The moment of the operation's write; that of its start until the write is known.
    pub(super) sent: Instant,
    pub(super) slot: u32,
    /// A bit for each metric that is already measured.
    pub(super) measured: u32,
}

impl Flight {
    /// Returns the moment of the operation's write, or of its start until the write is known; `None` while the workload
    /// holds the operation.
    pub(super) fn sent(&self) -> Option<Instant> {
        self.key.map(|_| self.sent)
    }

    fn is_of(&self, part: Option<Part>) -> bool {
        part.is_none_or(|part| part == self.entry.part)
    }
}

const _: () = assert!(size_of::<Flight>() <= 80, "an operation in flight is larger than its documented size");

/// The operations in flight of all peers.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    peers: PeerMap<VecDeque<Flight>>,
    /// The number of operations that were started.
    started: u64,
    /// Whether an operation has ended since the last question.
    has_ended: bool,
}

impl InFlight {
    /// Returns the mark of the next operation.
    pub(super) fn next_mark(&mut self) -> u64 {
        self.started += 1;
        self.started - 1
    }

    /// Returns whether a peer may have a further operation in flight.
    pub(super) fn has_room(&self, peer: PeerId) -> bool {
        self.peers.get(peer).is_none_or(|flights| flights.len() < MAX_OPERATIONS_PER_PEER)
    }

    pub(super) fn add(&mut self, peer: PeerId, flight: Flight) {
        match self.peers.get_mut(peer) {
            Some(flights) => flights.push_back(flight),
            None => drop(self.peers.insert(peer, VecDeque::from([flight]))),
        }
    }

    /// Records the write of the message with this mark. A later message with the same mark changes nothing.
    pub(super) fn note_written(&mut self, peer: PeerId, mark: u64, at: Instant) {
        let flights = self.peers.get_mut(peer).into_iter().flatten();
        if let Some(flight) = flights.rev().find(|flight| flight.mark == mark) {
            flight.sent = flight.sent.max(at);
            // No operation has this mark, so no second write is found.
            flight.mark = u64::MAX;
        }
    }

    /// Sets the moment at which the connection of a peer's only operation was dialled.
    pub(super) fn note_dialled(&mut self, peer: PeerId, at: Instant) -> Option<Flight> {
        let flight = self.peers.get_mut(peer)?.front_mut()?;
        flight.sent = at;
        Some(*flight)
    }

    /// Returns a peer's oldest operation with this key, or the oldest held one without a key, of any part or of one
    /// alone.
    pub(super) fn find(&mut self, peer: PeerId, key: Option<u64>, part: Option<Part>) -> Option<&mut Flight> {
        self.peers.get_mut(peer)?.iter_mut().find(|flight| flight.key == key && flight.is_of(part))
    }

    /// Removes the operation that [`find`](Self::find) returns, because it has ended.
    pub(super) fn end(&mut self, peer: PeerId, key: Option<u64>, part: Option<Part>) -> Option<Flight> {
        let flights = self.peers.get_mut(peer)?;
        let position = flights.iter().position(|flight| flight.key == key && flight.is_of(part))?;
        self.has_ended = true;
        flights.remove(position)
    }

    /// Lists all operations.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.peers.iter().flat_map(|(_, flights)| flights)
    }

    /// Removes the operations that were due before `before`.
    pub(super) fn take_before(&mut self, before: Instant) -> Vec<Flight> {
        let mut taken = Vec::new();
        for (_, flights) in self.peers.iter_mut() {
            flights.retain(|flight| {
                let is_kept = flight.entry.planned >= before;
                taken.extend((!is_kept).then_some(*flight));
                is_kept
            });
        }
        taken
    }

    /// Removes all operations of a peer.
    pub(super) fn remove(&mut self, peer: PeerId) -> VecDeque<Flight> {
        self.peers.remove(peer).unwrap_or_default()
    }

    /// Removes all operations.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Flight> + use<> {
        let peers: Vec<PeerId> = self.peers.iter().map(|(peer, _)| peer).collect();
        let all: Vec<Flight> = peers.into_iter().flat_map(|peer| self.remove(peer)).collect();
        all.into_iter()
    }

    /// Returns the number of a peer's operations in flight, of all parts or of one alone.
    pub(super) fn count(&self, peer: PeerId, part: Option<Part>) -> usize {
        self.peers.get(peer).into_iter().flatten().filter(|flight| flight.is_of(part)).count()
    }

    /// Returns the number of a peer's held operations.
    pub(super) fn held_count(&self, peer: PeerId) -> usize {
        self.peers.get(peer).into_iter().flatten().filter(|flight| flight.key.is_none()).count()
    }

    /// Notes the end of an operation that is kept elsewhere.
    pub(super) fn note_ended(&mut self) {
        self.has_ended = true;
    }

    /// Returns whether an operation has ended since the last call.
    pub(super) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.has_ended)
    }
}
