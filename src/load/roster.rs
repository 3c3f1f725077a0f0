//! This process's planned connections by slot, and each connection's peer while the peer is ready.
//!
//! Operation k of the schedule belongs to connection `k mod c`, where c is the number of planned connections. A peer
//! that is lost, or was never ready, therefore keeps its share of the schedule: its operations stay planned but
//! are not sent, and the rates of the other peers do not change.

use super::schedule::Share;
use crate::handler::PeerMap;
use crate::id::PeerId;
use crate::time::Instant;
use std::collections::VecDeque;
use std::ops::Range;

/// The planned connections.
#[derive(Debug)]
pub(super) struct Roster {
    share: Share,
    slots: Vec<Slot>,
    ready_count: usize,
    /// Each dialled peer's slot, until the peer is closed.
    dialled: PeerMap<u32>,
    /// The dialled peers that are being closed on purpose.
    released: PeerMap<()>,
}

/// A planned connection.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The peer while it is ready.
    peer: Option<PeerId>,
    /// The moment of the peer's loss; [`Instant::ZERO`] if it was never ready.
    lost_at: Instant,
}

impl Roster {
    /// Returns the roster of this process's connections, none of them ready.
    pub(super) fn new(share: Share) -> Self {
        let slots = vec![Slot { peer: None, lost_at: Instant::ZERO }; share.slots()];
        Self { share, slots, ready_count: 0, dialled: PeerMap::new(), released: PeerMap::new() }
    }

    /// Returns the number of this process's connections.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number of connections of all segments.
    pub(super) fn connections(&self) -> u64 {
        self.share.connections()
    }

    /// Returns the connection of a slot, counted over all segments.
    pub(super) fn connection(&self, slot: usize) -> usize {
        self.share.connection(slot)
    }

    /// Records the slot of a dialled peer.
    pub(super) fn note_dialled(&mut self, slot: usize, peer: PeerId) {
        // A loop has at most 2^24 rows, so no realistic number of planned connections exceeds 32 bits.
        self.dialled.insert(peer, slot as u32);
    }

    /// Returns the number of dialled peers that are not closed.
    pub(super) fn dialled_count(&self) -> usize {
        self.dialled.len()
    }

    /// Returns a peer's slot; `None` if the peer was removed or belongs to another handler.
    pub(super) fn slot_of_peer(&self, peer: PeerId) -> Option<usize> {
        self.dialled.get(peer).map(|&slot| slot as usize)
    }

    /// Adds the ready peer of a slot.
    pub(super) fn add(&mut self, slot: usize, peer: PeerId) {
        self.ready_count += usize::from(self.slots[slot].peer.replace(peer).is_none());
    }

    /// Removes a peer whose connection was closed at `now`. Returns whether it was released before.
    pub(super) fn remove(&mut self, peer: PeerId, now: Instant) -> bool {
        if let Some(slot) = self.dialled.remove(peer) {
            self.clear(slot as usize, peer, now);
        }
        self.released.remove(peer).is_some()
    }

    /// Releases a peer that is about to be closed on purpose: its slot is free at once. Returns whether it was ready.
    pub(super) fn release(&mut self, slot: usize, peer: PeerId, now: Instant) -> bool {
        self.released.insert(peer, ());
        self.clear(slot, peer, now)
    }

    /// Empties the slot of a peer. Returns whether the peer was ready.
    fn clear(&mut self, slot: usize, peer: PeerId, now: Instant) -> bool {
        let slot = &mut self.slots[slot];
        let was_ready = slot.peer.take_if(|ready| *ready == peer).is_some();
        if was_ready {
            slot.lost_at = now;
            self.ready_count -= 1;
        }
        was_ready
    }

    /// Returns whether a peer was released and is not closed yet.
    pub(super) fn is_released(&self, peer: PeerId) -> bool {
        self.released.get(peer).is_some()
    }

    /// Lists the dialled peers and their slots, without released ones.
    pub(super) fn dialled(&self) -> impl Iterator<Item = (usize, PeerId)> {
        let dialled = self.dialled.iter().map(|(peer, &slot)| (slot as usize, peer));
        dialled.filter(|&(_, peer)| !self.is_released(peer))
    }

    /// Lists the slots below `end` that have no peer and no dial in progress.
    pub(super) fn free_slots(&self, end: usize) -> VecDeque<usize> {
        let mut is_free = vec![true; end];
        self.dialled().filter(|&(slot, _)| slot < end).for_each(|(slot, _)| is_free[slot] = false);
        (0..end).filter(|&slot| is_free[slot]).collect()
    }

    /// Lists the slots whose peers are ready.
    pub(super) fn peers(&self) -> impl Iterator<Item = (usize, PeerId)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.peer?)))
    }

    /// Returns whether no peer is ready.
    pub(super) fn is_empty(&self) -> bool {
        self.ready_count == 0
    }

    /// Returns the slot of one of this process's operations; 0 if there are no connections.
    pub(super) fn slot_of(&self, operation: u64) -> usize {
        self.share.slot_of(operation)
    }

    /// Returns the ready peer of a slot, if there is one.
    pub(super) fn peer_at(&self, slot: usize) -> Option<PeerId> {
        self.slots.get(slot).and_then(|slot| slot.peer)
    }

    /// Returns whether the peer of a slot is ready or was lost after `moment`.
    pub(super) fn was_ready_at(&self, slot: usize, moment: Instant) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.peer.is_some() || moment < slot.lost_at)
    }

    /// Lists the indices of a slot's operations among `operations`.
    pub(super) fn operations_of(&self, slot: usize, operations: Range<u64>) -> impl Iterator<Item = u64> + use<> {
        self.share.operations_of_slot(slot, operations)
    }

    /// Returns each slot's share of `operations`: the slot, the number of its operations, and whether its peer is
    /// ready.
    pub(super) fn shares(&self, operations: Range<u64>) -> impl Iterator<Item = (usize, u64, bool)> {
        let end = operations.end.max(operations.start);
        self.slots.iter().enumerate().map(move |(index, slot)| {
            let before = |operation| self.share.count_of_slot_before(index, operation);
            (index, before(end) - before(operations.start), slot.peer.is_some())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Segment;
    use super::*;

    #[test]
    fn each_operation_belongs_to_one_connection() {
        let roster = Roster::new(Share::new(Segment::WHOLE, 3));
        assert_eq!([0, 1, 2, 3, 7].map(|operation| roster.slot_of(operation)), [0, 1, 2, 0, 1]);
        assert_eq!(Roster::new(Share::new(Segment::WHOLE, 0)).slot_of(7), 0);
        let shares = |operations| roster.shares(operations).map(|(_, count, _)| count).collect::<Vec<_>>();
        assert_eq!(shares(0..7), [3, 2, 2]);
        assert_eq!(shares(2..5), [1, 1, 1]);
        assert_eq!(shares(4..6), [0, 1, 1]);
        assert_eq!(shares(5..5), [0, 0, 0]);
        let reversed = Range { start: 6, end: 5 };
        assert_eq!(shares(reversed), [0, 0, 0]);
    }

    #[test]
    fn a_segment_has_only_its_own_connections() {
        let roster = Roster::new(Share::new(Segment::new(1, 3).unwrap(), 8));
        assert_eq!((roster.len(), [0, 1, 2].map(|slot| roster.connection(slot))), (3, [1, 4, 7]));
        assert_eq!([1, 4, 7, 9].map(|operation| roster.slot_of(operation)), [0, 1, 2, 0]);
        let shares: Vec<_> = roster.shares(0..12).map(|(slot, count, _)| (slot, count)).collect();
        assert_eq!(shares, [(0, 2), (1, 1), (2, 1)]);
    }

    #[test]
    fn a_released_peer_frees_its_slot_before_it_is_closed() {
        let at = Instant::from_nanos;
        let mut roster = Roster::new(Share::new(Segment::WHOLE, 3));
        let [old, dialling, new] = [5, 6, 7].map(|index| PeerId::of(crate::id::LinkId::new(index, 1)));
        roster.note_dialled(0, old);
        roster.add(0, old);
        roster.note_dialled(2, dialling);
        assert_eq!(roster.free_slots(3), [1]);
        assert!(roster.release(0, old, at(10)) && !roster.release(2, dialling, at(10)));
        assert_eq!((roster.free_slots(3), roster.peer_at(0)), ([0, 1, 2].into(), None));
        assert!(roster.is_released(old) && roster.slot_of_peer(old) == Some(0));
        // The slot has its next peer before the old one is closed.
        roster.note_dialled(0, new);
        roster.add(0, new);
        assert!(roster.remove(old, at(20)) && !roster.is_released(old));
        assert_eq!((roster.peer_at(0), roster.free_slots(2)), (Some(new), [1].into()));
        assert!(!roster.remove(new, at(30)) && roster.is_empty());
    }

    #[test]
    fn a_lost_peer_was_ready_until_its_loss() {
        let at = Instant::from_nanos;
        let mut roster = Roster::new(Share::new(Segment::WHOLE, 2));
        let peer = PeerId::of(crate::id::LinkId::new(5, 1));
        roster.note_dialled(0, peer);
        assert!(!roster.was_ready_at(0, at(7)));
        roster.add(0, peer);
        assert!(roster.was_ready_at(0, at(700)) && !roster.was_ready_at(1, at(7)));
        roster.remove(peer, at(10));
        assert_eq!([9, 10].map(|nanos| roster.was_ready_at(0, at(nanos))), [true, false]);
        assert!(roster.is_empty());
    }
}
