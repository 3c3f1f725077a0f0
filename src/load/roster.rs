//! The planned connections by index, and each connection's peer while the peer is ready.
//!
//! Operation k of the schedule belongs to connection `k mod c`, where c is the number of planned connections. A peer
//! that is lost, or was never ready, therefore keeps its share of the schedule: its operations stay planned but
//! are not sent, and the rates of the other peers do not change.

use crate::handler::PeerMap;
use crate::id::PeerId;
use std::ops::Range;

/// The planned connections.
#[derive(Debug)]
pub(super) struct Roster {
    /// Each connection's peer while the peer is ready, by index.
    ready: Vec<Option<PeerId>>,
    ready_count: usize,
    /// Each dialled peer's connection index, until the peer is closed.
    indices: PeerMap<u32>,
}

impl Roster {
    /// Returns the roster of this many connections, none of them ready.
    pub(super) fn new(connections: usize) -> Self {
        Self { ready: vec![None; connections], ready_count: 0, indices: PeerMap::new() }
    }

    /// Records the connection index of a dialled peer.
    pub(super) fn note_dialled(&mut self, index: usize, peer: PeerId) {
        // A loop has at most 2^24 rows, so no realistic number of planned connections exceeds 32 bits.
        self.indices.insert(peer, index as u32);
    }

    /// Returns the index of a peer's connection; `None` if the peer was removed or belongs to another handler.
    pub(super) fn index_of(&self, peer: PeerId) -> Option<usize> {
        self.indices.get(peer).map(|&index| index as usize)
    }

    /// Adds the ready peer of the connection with this index.
    pub(super) fn add(&mut self, index: usize, peer: PeerId) {
        self.ready_count += usize::from(self.ready[index].replace(peer).is_none());
    }

    /// Removes a peer whose connection was closed.
    pub(super) fn remove(&mut self, peer: PeerId) {
        let Some(index) = self.indices.remove(peer) else { return };
        self.ready_count -= usize::from(self.ready[index as usize].take_if(|ready| *ready == peer).is_some());
    }

    /// Lists the connections whose peers are ready.
    pub(super) fn peers(&self) -> impl Iterator<Item = (usize, PeerId)> {
        self.ready.iter().enumerate().filter_map(|(index, peer)| Some((index, (*peer)?)))
    }

    /// Returns whether no peer is ready.
    pub(super) fn is_empty(&self) -> bool {
        self.ready_count == 0
    }

    /// Returns the index of an operation's connection; 0 if there are no connections.
    pub(super) fn owner_of(&self, operation: u64) -> usize {
        operation.checked_rem(self.ready.len() as u64).unwrap_or(0) as usize
    }

    /// Returns the ready peer of the connection with this index, if there is one.
    pub(super) fn peer_at(&self, index: usize) -> Option<PeerId> {
        self.ready.get(index).copied().flatten()
    }

    /// Returns each connection's share of `operations`: the connection's index, the number of its operations, and
    /// whether its peer is ready.
    pub(super) fn shares(&self, operations: Range<u64>) -> impl Iterator<Item = (usize, u64, bool)> {
        let connections = self.ready.len() as u64;
        let before = move |end: u64, index: u64| end / connections + u64::from(index < end % connections);
        let end = operations.end.max(operations.start);
        self.ready.iter().enumerate().map(move |(index, peer)| {
            let count = before(end, index as u64) - before(operations.start, index as u64);
            (index, count, peer.is_some())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_belongs_to_one_connection() {
        let roster = Roster::new(3);
        assert_eq!([0, 1, 2, 3, 7].map(|operation| roster.owner_of(operation)), [0, 1, 2, 0, 1]);
        assert_eq!(Roster::new(0).owner_of(7), 0);
        let shares = |operations| roster.shares(operations).map(|(_, count, _)| count).collect::<Vec<_>>();
        assert_eq!(shares(0..7), [3, 2, 2]);
        assert_eq!(shares(2..5), [1, 1, 1]);
        assert_eq!(shares(4..6), [0, 1, 1]);
        assert_eq!(shares(5..5), [0, 0, 0]);
        let reversed = Range { start: 6, end: 5 };
        assert_eq!(shares(reversed), [0, 0, 0]);
    }
}
