//! The first sights of hashes at two nodes, and the times between them.
//!
//! A hash's first sight at one node begins its way, and its first sight at the other node ends it. Only ways that begin
//! while the measurement runs count. A way without an end counts as missed. Nothing here sends or knows a peer.

use peerloop::histogram::LatencyHistogram;
use peerloop::time::Instant;
use peerloop::wire::Hash256;
use std::collections::{BTreeMap, VecDeque};

/// Maximum number of remembered hashes, about 100 bytes each. Beyond it the oldest is dropped: its way counts as missed
/// unless it has ended.
const MAX_HASHES: usize = 262_144;

/// The two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

/// The kinds of hashes, which are measured apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Tx,
}

/// The ways of one kind that begin at one node.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// The times from the first sight at one node to the first sight at the other.
    pub(super) latencies: LatencyHistogram,
    /// The hashes that only the first node has announced.
    pub(super) missed: u64,
}

/// The stages of a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Hashes are remembered, because they are not new later, and nothing counts.
    #[default]
    Before,
    Counting,
    /// Ways end and none begins.
    Closing,
}

/// All remembered hashes, and the ways so far.
#[derive(Debug, Default)]
pub(super) struct Sights {
    stage: Stage,
    seen: BTreeMap<Hash256, Sight>,
    /// The hashes in the order of their first sights.
    order: VecDeque<Hash256>,
    ways: [[Ways; 2]; 2],
    /// The number of ways that have not ended.
    open: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sight {
    kind: Kind,
    side: Side,
    at: Instant,
    is_open: bool,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Block, Self::Tx];

    const fn index(self) -> usize {
        match self {
            Self::Block => 0,
            Self::Tx => 1,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Tx => "tx",
        }
    }
}

impl Sights {
    /// Begins to count.
    pub(super) fn begin(&mut self) {
        self.stage = Stage::Counting;
    }

    /// Lets no further way begin.
    pub(super) fn close(&mut self) {
        self.stage = Stage::Closing;
    }

    /// Returns whether every way has ended.
    pub(super) fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// Counts the ways without an end as missed.
    pub(super) fn finish(&mut self) {
        while let Some(hash) = self.order.pop_front() {
            self.drop_hash(hash);
        }
    }

    /// Returns the ways of a kind that begin at a node.
    pub(super) fn ways(&self, kind: Kind, from: Side) -> &Ways {
        &self.ways[kind.index()][from.index()]
    }

    /// Notes a node's announcement.
    pub(super) fn note(&mut self, kind: Kind, side: Side, hash: Hash256, at: Instant) {
        if let Some(sight) = self.seen.get_mut(&hash) {
            if sight.is_open && sight.side != side {
                sight.is_open = false;
                let Sight { kind, side, at: first, .. } = *sight;
                self.open -= 1;
                self.ways[kind.index()][side.index()].latencies.record(at.since(first));
            }
            return;
        }
        let is_open = match self.stage {
            Stage::Before => false,
            Stage::Counting => true,
            Stage::Closing => return,
        };
        if self.order.len() == MAX_HASHES
            && let Some(oldest) = self.order.pop_front()
        {
            self.drop_hash(oldest);
        }
        self.open += usize::from(is_open);
        self.seen.insert(hash, Sight { kind, side, at, is_open });
        self.order.push_back(hash);
    }

    fn drop_hash(&mut self, hash: Hash256) {
        if let Some(Sight { kind, side, is_open: true, .. }) = self.seen.remove(&hash) {
            self.open -= 1;
            self.ways[kind.index()][side.index()].missed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(number: u32) -> Hash256 {
        Hash256::of(&number.to_le_bytes())
    }

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    /// Returns the number of ways that ended and of those that were missed, for blocks from each node and then for
    /// transactions.
    fn counts(sights: &Sights) -> Vec<(u64, u64)> {
        let all = Kind::ALL.into_iter().flat_map(|kind| Side::BOTH.map(|from| sights.ways(kind, from)));
        all.map(|ways| (ways.latencies.count(), ways.missed)).collect()
    }

    #[test]
    fn each_direction_and_kind_has_its_own_times_and_repeats_do_not_count() {
        let mut sights = Sights::default();
        sights.begin();
        sights.note(Kind::Block, Side::A, hash(1), at(100));
        for side in [Side::A, Side::B, Side::B, Side::A] {
            sights.note(Kind::Block, side, hash(1), at(350));
        }
        sights.note(Kind::Tx, Side::B, hash(2), at(400));
        sights.note(Kind::Tx, Side::A, hash(2), at(400));
        sights.finish();
        assert_eq!(counts(&sights), [(1, 0), (0, 0), (0, 0), (1, 0)]);
        let block = sights.ways(Kind::Block, Side::A).latencies.max().expect("a block was measured");
        assert_eq!(block.as_micros(), 250);
        assert!(sights.is_settled());
    }

    #[test]
    fn hashes_from_before_the_begin_never_count_and_those_without_an_end_are_missed() {
        let mut sights = Sights::default();
        sights.note(Kind::Block, Side::A, hash(1), at(1));
        sights.begin();
        sights.note(Kind::Block, Side::B, hash(1), at(2));
        sights.note(Kind::Block, Side::A, hash(2), at(3));
        sights.note(Kind::Tx, Side::B, hash(3), at(4));
        sights.close();
        assert!(!sights.is_settled());
        sights.note(Kind::Block, Side::B, hash(2), at(5));
        sights.note(Kind::Tx, Side::A, hash(4), at(6));
        sights.finish();
        assert_eq!(counts(&sights), [(1, 0), (0, 0), (0, 0), (0, 1)]);
    }

    #[test]
    fn a_hash_that_is_dropped_for_newer_ones_is_missed() {
        let mut sights = Sights::default();
        sights.begin();
        for number in 0..=MAX_HASHES as u32 {
            sights.note(Kind::Tx, Side::A, hash(number), at(0));
        }
        assert_eq!((counts(&sights)[2], sights.seen.len()), ((0, 1), MAX_HASHES));
    }

    proptest! {
        #[test]
        fn every_hash_is_measured_or_missed_once(events in prop::collection::vec((0..12_u32, any::<bool>()), 0..60)) {
            let mut sights = Sights::default();
            sights.begin();
            for &(number, is_a) in &events {
                sights.note(Kind::Tx, if is_a { Side::A } else { Side::B }, hash(number), at(0));
            }
            sights.finish();
            let mut expected = [(0, 0), (0, 0), (0, 0), (0, 0)];
            for number in 0..12 {
                let sides: Vec<bool> = events.iter().filter(|event| event.0 == number).map(|event| event.1).collect();
                let Some(&first) = sides.first() else { continue };
                let of_way = &mut expected[if first { 2 } else { 3 }];
                if sides.iter().any(|&side| side != first) { of_way.0 += 1 } else { of_way.1 += 1 }
            }
            prop_assert_eq!(counts(&sights), expected);
        }
    }
}
