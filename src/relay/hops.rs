//! The latencies of a relay.
//!
//! A transaction's hop begins when its last byte has been read, and ends when the kernel has accepted the first byte of
//! its announcement. The moment of a read hides the time for which the bytes waited while the loop was busy with other
//! links. Hops are therefore recorded twice: from the read, and from the earliest moment at which the bytes can have
//! arrived: the beginning of the last turn, if the loop did not wait since then. The hops of a block's first and last
//! byte are recorded in the same views.

use super::event::{BlockForm, BlockHop, BlockRelayed};
use crate::stats::histogram::{LatencyHistogram, LatencySummary};
use crate::time::Instant;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// The summaries of a relay's latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct HopSummary {
    /// From the read of a transaction to the write of its announcement to the first receiver.
    pub hop_first: LatencySummary,
    /// The same for the last receiver. Receivers that read slowly do not count.
    pub hop_last: LatencySummary,
    /// As `hop_first`, from the earliest moment at which the transaction can have arrived.
    pub hop_first_with_lag: LatencySummary,
    /// As `hop_last`, from the earliest moment at which the transaction can have arrived.
    pub hop_last_with_lag: LatencySummary,
    /// From the queueing of an announcement to its write, for the first and the last receiver.
    pub queued: LatencySummary,
    /// From a request to the transaction.
    pub tx_fetch: LatencySummary,
    /// From the acceptance of a transaction to its announcement by each further upstream link.
    pub propagation: LatencySummary,
    /// From the first byte of a block in to its first byte out, for the readers that waited for it.
    pub block_first_byte: ReceiverSummary,
    /// From the last byte of a block in to its last byte out, for the readers that received it while it passed.
    pub block_last_byte: ReceiverSummary,
    /// From the last byte of a compact block in to its last byte out, for the peers that received it as an
    /// announcement.
    pub compact_last_byte: ReceiverSummary,
    /// The longest time without a new byte of each block that has lost a source in the middle.
    pub block_gap: LatencySummary,
}

/// The summaries of [`ReceiverHops`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ReceiverSummary {
    /// From the read to the write for the first receiver.
    pub first: LatencySummary,
    /// The same for the last receiver.
    pub last: LatencySummary,
    /// As `first`, from the earliest moment at which the byte can have arrived.
    pub first_with_lag: LatencySummary,
    /// As `last`, from the earliest moment at which the byte can have arrived.
    pub last_with_lag: LatencySummary,
}

/// The hops of a byte of each block, to the first and to the last receiver, in both views. A write is the moment at
/// which the kernel accepts the byte.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReceiverHops {
    /// See [`ReceiverSummary::first`].
    pub first: LatencyHistogram,
    /// See [`ReceiverSummary::last`].
    pub last: LatencyHistogram,
    /// See [`ReceiverSummary::first_with_lag`].
    pub first_with_lag: LatencyHistogram,
    /// See [`ReceiverSummary::last_with_lag`].
    pub last_with_lag: LatencyHistogram,
}

impl ReceiverHops {
    /// Returns the summaries.
    pub fn summary(&self) -> ReceiverSummary {
        ReceiverSummary {
            first: self.first.summary(),
            last: self.last.summary(),
            first_with_lag: self.first_with_lag.summary(),
            last_with_lag: self.last_with_lag.summary(),
        }
    }

    /// Adds all samples of `other`.
    fn merge(&mut self, other: &Self) {
        self.first.merge(&other.first);
        self.last.merge(&other.last);
        self.first_with_lag.merge(&other.first_with_lag);
        self.last_with_lag.merge(&other.last_with_lag);
    }

    fn clear(&mut self) {
        let Self { first, last, first_with_lag, last_with_lag } = self;
        [first, last, first_with_lag, last_with_lag].into_iter().for_each(LatencyHistogram::clear);
    }

    fn record(&mut self, hop: BlockHop) {
        let BlockHop { first, last, lag } = hop;
        self.first.record(first);
        self.last.record(last);
        self.first_with_lag.record(first + lag);
        self.last_with_lag.record(last + lag);
    }
}

/// The histograms of a relay's latencies, 8 to 100 KiB each once used.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Hops {
    /// See [`HopSummary::hop_first`].
    pub hop_first: LatencyHistogram,
    /// See [`HopSummary::hop_last`].
    pub hop_last: LatencyHistogram,
    /// See [`HopSummary::hop_first_with_lag`].
    pub hop_first_with_lag: LatencyHistogram,
    /// See [`HopSummary::hop_last_with_lag`].
    pub hop_last_with_lag: LatencyHistogram,
    /// See [`HopSummary::queued`].
    pub queued: LatencyHistogram,
    /// See [`HopSummary::tx_fetch`].
    pub tx_fetch: LatencyHistogram,
    /// See [`HopSummary::propagation`].
    pub propagation: LatencyHistogram,
    /// See [`HopSummary::block_first_byte`].
    pub block_first_byte: ReceiverHops,
    /// See [`HopSummary::block_last_byte`].
    pub block_last_byte: ReceiverHops,
    /// See [`HopSummary::compact_last_byte`].
    pub compact_last_byte: ReceiverHops,
    /// See [`HopSummary::block_gap`].
    pub block_gap: LatencyHistogram,
}

impl Hops {
    /// Returns the summaries.
    pub fn summary(&self) -> HopSummary {
        HopSummary {
            hop_first: self.hop_first.summary(),
            hop_last: self.hop_last.summary(),
            hop_first_with_lag: self.hop_first_with_lag.summary(),
            hop_last_with_lag: self.hop_last_with_lag.summary(),
            queued: self.queued.summary(),
            tx_fetch: self.tx_fetch.summary(),
            propagation: self.propagation.summary(),
            block_first_byte: self.block_first_byte.summary(),
            block_last_byte: self.block_last_byte.summary(),
            compact_last_byte: self.compact_last_byte.summary(),
            block_gap: self.block_gap.summary(),
        }
    }

    /// Adds all samples of `other`.
    ///
    /// ```
    /// use peerloop::relay::Hops;
    /// use std::time::Duration;
    ///
    /// let (mut all, mut taken) = (Hops::default(), Hops::default());
    /// taken.tx_fetch.record(Duration::from_millis(3));
    /// all.merge(&taken);
    /// assert_eq!(all.summary().tx_fetch.count, 1);
    /// ```
    pub fn merge(&mut self, other: &Self) {
        self.block_first_byte.merge(&other.block_first_byte);
        self.block_last_byte.merge(&other.block_last_byte);
        self.compact_last_byte.merge(&other.compact_last_byte);
        self.block_gap.merge(&other.block_gap);
        let Self { hop_first, hop_last, hop_first_with_lag, hop_last_with_lag, queued, tx_fetch, propagation, .. } =
            self;
        for (all, other) in [
            (hop_first, &other.hop_first),
            (hop_last, &other.hop_last),
            (hop_first_with_lag, &other.hop_first_with_lag),
            (hop_last_with_lag, &other.hop_last_with_lag),
            (queued, &other.queued),
            (tx_fetch, &other.tx_fetch),
            (propagation, &other.propagation),
        ] {
            all.merge(other);
        }
    }

    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.block_first_byte.clear();
        self.block_last_byte.clear();
        self.compact_last_byte.clear();
        self.block_gap.clear();
        let Self { hop_first, hop_last, hop_first_with_lag, hop_last_with_lag, queued, tx_fetch, propagation, .. } =
            self;
        for histogram in [hop_first, hop_last, hop_first_with_lag, hop_last_with_lag, queued, tx_fetch, propagation] {
            histogram.clear();
        }
    }

    /// Records a hop to the first receiver, in a turn with the lag `lag`.
    pub(super) fn record_first(&mut self, hop: Duration, lag: Duration) {
        self.hop_first.record(hop);
        self.hop_first_with_lag.record(hop + lag);
    }

    /// Records the hops of a block's first and last byte and its longest gap, as far as there are any.
    pub(super) fn record_block(&mut self, block: &BlockRelayed) {
        block.first_byte.into_iter().for_each(|hop| self.block_first_byte.record(hop));
        let last_byte = match block.form {
            BlockForm::Whole => &mut self.block_last_byte,
            BlockForm::Compact { .. } => &mut self.compact_last_byte,
        };
        block.last_byte.into_iter().for_each(|hop| last_byte.record(hop));
        block.longest_gap.into_iter().for_each(|gap| self.block_gap.record(gap));
    }

    /// Records a hop to the last receiver, in a turn with the lag `lag`.
    pub(super) fn record_last(&mut self, hop: Duration, lag: Duration) {
        self.hop_last.record(hop);
        self.hop_last_with_lag.record(hop + lag);
    }
}

/// The announcements that one marked message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    /// The moment at which it was queued.
    pub(super) queued: Instant,
    /// The positions for which its receiver is the first, and those for which it is the last.
    pub(super) first: Range<u64>,
    pub(super) last: Range<u64>,
}

impl Marked {
    /// Returns the number of hops that the message's write ends.
    pub(super) fn hops(&self) -> u64 {
        [&self.first, &self.last].into_iter().map(|positions| positions.end.saturating_sub(positions.start)).sum()
    }
}

/// The marked messages that wait to be written. The oldest ones are dropped beyond [`MAX_MARKED`]; marks of closed
/// peers are dropped in this way.
#[derive(Debug, Default)]
pub(super) struct Marks {
    waiting: VecDeque<Option<Marked>>,
    /// The mark of the first one.
    first: u64,
}

const MAX_MARKED: usize = 1_024;

impl Marks {
    /// Adds a message. Returns its mark, and the number of hops that are not measured because the oldest message was
    /// dropped.
    pub(super) fn add(&mut self, marked: Marked) -> (u64, u64) {
        let mut displaced = 0;
        if self.waiting.len() == MAX_MARKED {
            displaced = self.waiting.pop_front().flatten().map_or(0, |oldest| oldest.hops());
            self.first += 1;
        }
        self.waiting.push_back(Some(marked));
        (self.first + self.waiting.len() as u64 - 1, displaced)
    }

    /// Removes and returns the message with a mark.
    pub(super) fn take(&mut self, mark: u64) -> Option<Marked> {
        let marked = self.waiting.get_mut(usize::try_from(mark.checked_sub(self.first)?).ok()?)?.take();
        while self.waiting.front().is_some_and(Option::is_none) {
            self.waiting.pop_front();
            self.first += 1;
        }
        marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_returns_its_message_once_and_old_marks_are_dropped() {
        let marked = |at| Marked { queued: Instant::from_nanos(at), first: at..at + 1, last: 0..0 };
        let mut marks = Marks::default();
        let numbers: Vec<u64> = (0..3).map(|at| marks.add(marked(at)).0).collect();
        assert_eq!(marks.take(numbers[1]), Some(marked(1)));
        assert_eq!((marks.take(numbers[1]), marks.take(99)), (None, None));
        assert_eq!(marks.take(numbers[0]), Some(marked(0)));
        assert_eq!(marks.take(numbers[0]), None);
        let displaced: u64 = (3..3 + MAX_MARKED as u64).map(|at| marks.add(marked(at)).1).sum();
        assert_eq!(displaced, 1, "the dropped message is not counted");
        assert_eq!((marks.take(numbers[2]), marks.waiting.len()), (None, MAX_MARKED));
    }

    #[test]
    fn both_views_of_a_hop_are_recorded() {
        let (mut hops, lag) = (Hops::default(), Duration::from_micros(300));
        hops.record_first(Duration::from_micros(20), lag);
        hops.record_last(Duration::from_micros(500), lag);
        let max = |histogram: &LatencyHistogram| histogram.max().map(|max| max.as_micros());
        assert_eq!((max(&hops.hop_first), max(&hops.hop_first_with_lag)), (Some(20), Some(320)));
        assert_eq!((max(&hops.hop_last), max(&hops.hop_last_with_lag)), (Some(500), Some(800)));
        let mut twice = hops.clone();
        twice.merge(&hops);
        let counts = [&twice.hop_first, &twice.hop_last_with_lag, &twice.queued].map(|all| all.summary().count);
        assert_eq!(counts, [2, 2, 0]);
        assert_eq!(max(&twice.hop_last_with_lag), Some(800));
        hops.clear();
        assert_eq!(hops.summary(), HopSummary::default());
    }
}
