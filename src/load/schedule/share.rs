//! The share of one process in a load that several processes carry out together.

use std::num::NonZeroU64;
use std::ops::Range;

/// One of several equal parts of a load. Each part is carried out by a process of its own, with the same plan except
/// for the segment.
///
/// Planned connection j belongs to segment `j mod n`. Operation k belongs to connection `k mod c`, where c is the total
/// number of planned connections, and so to that connection's segment. All n processes together therefore plan exactly
/// the connections and the moments of one process with the whole load.
///
/// ```
/// use peerloop::load::Segment;
///
/// let second_of_three = Segment::new(1, 3).unwrap();
/// assert_eq!((second_of_three.connections(10), Segment::WHOLE.connections(10)), (3, 10));
/// assert_eq!(Segment::new(3, 3), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    index: u64,
    of: NonZeroU64,
}

impl Segment {
    /// The whole load.
    pub const WHOLE: Self = Self { index: 0, of: NonZeroU64::MIN };

    /// Returns the segment `index`, 0 for the first, of `of` segments; `None` if there is no such segment.
    pub const fn new(index: u64, of: u64) -> Option<Self> {
        match NonZeroU64::new(of) {
            Some(of) if index < of.get() => Some(Self { index, of }),
            Some(_) | None => None,
        }
    }

    /// Returns the index of the segment, 0 for the first.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Returns the number of segments.
    pub const fn of(self) -> u64 {
        self.of.get()
    }

    /// Returns the number of the segment's connections, for a load with this number of connections.
    pub const fn connections(self, of_load: usize) -> usize {
        let (load, of) = (of_load as u64, self.of.get());
        (load / of) as usize + (self.index < load % of) as usize
    }
}

impl Default for Segment {
    fn default() -> Self {
        Self::WHOLE
    }
}

/// The assignment of the load's connections and operations to this process. The process counts its own connections by
/// slot: slot s has the connection `index + n x s`.
#[derive(Clone, Copy, Debug)]
pub(in crate::load) struct Share {
    segment: Segment,
    /// The number of connections of the whole load.
    connections: u64,
}

impl Share {
    pub(in crate::load) fn new(segment: Segment, connections: usize) -> Self {
        Self { segment, connections: connections as u64 }
    }

    /// Returns the number of slots: the number of this process's connections.
    pub(in crate::load) fn slots(&self) -> usize {
        self.segment.connections(self.connections as usize)
    }

    /// Returns the number of connections of the whole load.
    pub(in crate::load) fn connections(&self) -> u64 {
        self.connections
    }

    /// Returns the connection of a slot.
    pub(in crate::load) fn connection(&self, slot: usize) -> usize {
        self.segment.index as usize + self.segment.of() as usize * slot
    }

    /// Returns the slot of an operation that belongs to this process; 0 if there are no connections.
    pub(in crate::load) fn slot_of(&self, operation: u64) -> usize {
        let connection = operation.checked_rem(self.connections).unwrap_or(0);
        (connection.saturating_sub(self.segment.index) / self.segment.of) as usize
    }

    /// Returns the first of this process's operations from `operation` on; `None` if the process has none.
    pub(super) fn first_from(&self, operation: u64) -> Option<u64> {
        let connection = operation.checked_rem(self.connections)?;
        let (index, of) = (self.segment.index, self.segment.of);
        if index >= self.connections {
            return None;
        }
        let next = connection + (index + of.get() - connection % of) % of;
        match next < self.connections {
            true => Some(operation.saturating_add(next - connection)),
            false => Some(operation.saturating_add(self.connections - connection + index)),
        }
    }

    /// Counts this process's operations before `operation`.
    pub(in crate::load) fn count_before(&self, operation: u64) -> u64 {
        let (Some(rounds), of) = (operation.checked_div(self.connections), self.segment.of()) else { return 0 };
        let of_first = |connections: u64| connections / of + u64::from(self.segment.index < connections % of);
        rounds * of_first(self.connections) + of_first(operation % self.connections)
    }

    /// Lists the operations of a slot among `operations`.
    pub(in crate::load) fn operations_of_slot(
        &self,
        slot: usize,
        operations: Range<u64>,
    ) -> impl Iterator<Item = u64> + use<> {
        let (connections, connection) = (self.connections.max(1), self.connection(slot) as u64);
        // The distance from the first operation to the slot's first one.
        let skipped = (connection + connections - operations.start % connections) % connections;
        (operations.start.saturating_add(skipped)..operations.end).step_by(connections as usize)
    }

    /// Counts the operations of a slot before `operation`.
    pub(in crate::load) fn count_of_slot_before(&self, slot: usize, operation: u64) -> u64 {
        let connection = self.connection(slot) as u64;
        let Some(rounds) = operation.checked_div(self.connections) else { return 0 };
        rounds + u64::from(connection < operation % self.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_segments_divide_connections_and_operations_exactly(
            connections in 1..40_usize,
            of in 1..50_u64,
            operations in 0..200_u64,
        ) {
            let shares: Vec<Share> =
                (0..of).map(|index| Share::new(Segment::new(index, of).unwrap(), connections)).collect();
            let mut owned: Vec<usize> = shares
                .iter()
                .flat_map(|share| (0..share.slots()).map(move |slot| share.connection(slot)))
                .collect();
            owned.sort_unstable();
            prop_assert_eq!(owned, (0..connections).collect::<Vec<_>>());
            for (index, share) in shares.iter().enumerate() {
                let is_own = |operation: &u64| operation % connections as u64 % of == index as u64;
                let own: Vec<u64> = (0..operations).filter(is_own).collect();
                prop_assert_eq!(share.count_before(operations), own.len() as u64);
                for &operation in &own {
                    let slot = share.slot_of(operation);
                    prop_assert_eq!(share.connection(slot) as u64, operation % connections as u64);
                }
                for slot in 0..share.slots() {
                    let count = own.iter().filter(|&&operation| share.slot_of(operation) == slot).count() as u64;
                    prop_assert_eq!(share.count_of_slot_before(slot, operations), count);
                    let of_slot: Vec<u64> = own.iter().copied().filter(|&each| share.slot_of(each) == slot).collect();
                    let middle = operations / 3;
                    let (first, rest) = (share.operations_of_slot(slot, 0..middle), middle..operations);
                    let listed: Vec<u64> = first.chain(share.operations_of_slot(slot, rest)).collect();
                    prop_assert_eq!(listed, of_slot);
                }
                let next = (operations..operations + 2 * connections as u64).find(|operation| is_own(operation));
                prop_assert_eq!(share.first_from(operations), next);
            }
        }
    }

    #[test]
    fn a_load_without_connections_has_no_operations() {
        let share = Share::new(Segment::WHOLE, 0);
        assert_eq!((share.slots(), share.slot_of(7), share.first_from(7), share.count_before(7)), (0, 0, None, 0));
    }
}
