//! The hops of blocks: the moments at which a block's first and last bytes are in and out, and its readers' ends.
//!
//! A passage begins with the first byte of a block's first source. It ends once the block is complete and the kernel
//! has accepted its last byte for all readers that are not closed. Readers that request the block while it passes
//! belong to the passage, and those that are served from memory later do not. Nothing here sends, and a part of a block
//! costs nothing.
//!
//! A compact block has a passage of its own, which begins when it is whole, and ends a second later at the earliest,
//! once the block is rebuilt or given up.

use crate::handler::Ctx;
use crate::id::PeerId;
use crate::limits::{MAX_RELAY_PASSAGES, RELAY_COMPACT_PASSAGE_TIME, RELAY_PASSAGE_TIME};
use crate::relay::event::{BlockForm, BlockHop, BlockRelayed, Rebuilt};
use crate::time::Instant;
use crate::wire::Hash256;
use std::collections::VecDeque;
use std::time::Duration;

/// The bit that distinguishes the marks of blocks from those of announcements.
const OF_BLOCKS: u64 = 1 << 63;
/// The bit that distinguishes a block's last byte from its first one.
const OF_LAST_BYTE: u64 = 1;

/// A moment at which bytes were read, and the longest time for which they can have waited in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    at: Instant,
    lag: Duration,
}

impl Stamp {
    pub(super) fn of(ctx: &Ctx<'_>) -> Self {
        Self { at: ctx.now(), lag: ctx.max_input_wait() }
    }
}

/// The sources of a block so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Those whose bytes have arrived.
    pub(super) used: u32,
    /// Those that were replaced.
    pub(super) replaced: u32,
    /// The longest time without a new byte because a source was lost.
    pub(super) gap: Option<Duration>,
}

/// The passages that have not ended, and the reports of those that have.
#[derive(Debug, Default)]
pub(super) struct Passages {
    open: VecDeque<Passage>,
    ended: Vec<BlockRelayed>,
    /// The number of passages so far.
    begun: u64,
}

/// One block on its way.
#[derive(Debug)]
struct Passage {
    number: u64,
    hash: Hash256,
    height: Option<u32>,
    form: BlockForm,
    /// Whether the block of a compact block may still be rebuilt.
    is_rebuilding: bool,
    size_bytes: u64,
    first_in: Stamp,
    /// `None` until the block is complete.
    last_in: Option<Stamp>,
    /// The readers whose end is not known.
    readers: Vec<Reader>,
    first_out: Outs,
    last_out: Outs,
    sources: Sources,
    finished: u32,
    cut: u32,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    peer: PeerId,
    /// Whether it had requested the block before the first byte arrived, and has not received the first byte. For a
    /// compact block, whether it receives the block as an announcement.
    awaits_first: bool,
}

/// The moments of the first and the last write of a byte.
#[derive(Clone, Copy, Debug, Default)]
struct Outs(Option<(Instant, Instant)>);

impl Outs {
    fn note(&mut self, at: Instant) {
        let (first, last) = self.0.unwrap_or((at, at));
        self.0 = Some((first.min(at), last.max(at)));
    }

    fn since(self, arrived: Stamp) -> Option<BlockHop> {
        let (first, last) = self.0?;
        Some(BlockHop { first: first.since(arrived.at), last: last.since(arrived.at), lag: arrived.lag })
    }
}

/// Returns the maximum number of bytes of the readers of all passages, for `peers` peers.
pub(in crate::relay) const fn memory_bytes(peers: usize) -> usize {
    // A list doubles, so it may be twice as large as its content.
    peers.saturating_mul(2 * MAX_RELAY_PASSAGES * size_of::<Reader>())
}

/// Returns whether a mark is one of a block.
pub(in crate::relay) const fn is_mark(mark: u64) -> bool {
    mark & OF_BLOCKS != 0
}

impl Passages {
    /// Begins a passage with the first byte of a block, for the peers that wait for it.
    pub(super) fn begin(
        &mut self,
        hash: Hash256,
        height: Option<u32>,
        size_bytes: u64,
        first_in: Stamp,
        to: &[PeerId],
    ) {
        let readers = to.iter().map(|&peer| Reader { peer, awaits_first: true }).collect();
        self.push(Passage { readers, ..Passage::new(hash, height, size_bytes, first_in) });
    }

    /// Begins the passage of a compact block that has arrived whole.
    pub(super) fn begin_compact(
        &mut self,
        hash: Hash256,
        height: Option<u32>,
        (size_bytes, transactions): (u64, u64),
        (first_in, last_in): (Stamp, Stamp),
    ) {
        self.push(Passage {
            form: BlockForm::Compact { transactions, rebuilt: Rebuilt::No },
            is_rebuilding: true,
            last_in: Some(last_in),
            sources: Sources { used: 1, replaced: 0, gap: None },
            ..Passage::new(hash, height, size_bytes, first_in)
        });
    }

    fn push(&mut self, passage: Passage) {
        // A block that still passes is not reported before its end, if another one can be.
        let at = self.open.iter().position(|passage| passage.last_in.is_some()).unwrap_or(0);
        if self.open.len() == MAX_RELAY_PASSAGES
            && let Some(oldest) = self.open.remove(at)
        {
            self.ended.push(oldest.report(passage.first_in.at));
        }
        self.open.push_back(Passage { number: self.begun, ..passage });
        self.begun += 1;
    }

    /// Adds a reader that has requested a block while it passes.
    pub(super) fn join(&mut self, hash: Hash256, peer: PeerId) {
        if let Some(passage) = self.passing(hash) {
            passage.readers.push(Reader { peer, awaits_first: false });
        }
    }

    /// Returns the marks for the first and the last byte of a block that begins to be sent to one of its readers;
    /// `None` if the peer is none of them.
    pub(super) fn marks(&self, hash: Hash256, peer: PeerId) -> Option<[u64; 2]> {
        let is_reader = |passage: &&Passage| passage.readers.iter().any(|reader| reader.peer == peer);
        let mut passages = self.open.iter().filter(|passage| passage.hash == hash && !passage.is_compact());
        let mark = OF_BLOCKS | passages.find(is_reader)?.number << 1;
        Some([mark, mark | OF_LAST_BYTE])
    }

    /// Returns the mark for the last byte of a compact block; `None` if its passage has ended.
    pub(super) fn compact_mark(&self, hash: Hash256) -> Option<u64> {
        let passage = self.open.iter().find(|passage| passage.hash == hash && passage.is_compact());
        passage.map(|passage| OF_BLOCKS | passage.number << 1 | OF_LAST_BYTE)
    }

    /// Adds a reader of a compact block.
    pub(super) fn join_compact(&mut self, hash: Hash256, peer: PeerId, is_announced: bool) {
        let Some(passage) = self.compact(hash) else { return };
        if passage.readers.iter().all(|reader| reader.peer != peer) {
            passage.readers.push(Reader { peer, awaits_first: is_announced });
        }
    }

    /// Handles the rebuilt block of a compact block.
    pub(super) fn rebuilt(&mut self, hash: Hash256, with: Rebuilt) {
        if let Some(passage) = self.compact(hash)
            && let BlockForm::Compact { rebuilt, .. } = &mut passage.form
        {
            *rebuilt = with;
        }
    }

    /// Notes the block that is being rebuilt. The work on all others has ended.
    pub(super) fn note_rebuilding(&mut self, hash: Option<Hash256>) {
        self.open.iter_mut().for_each(|passage| passage.is_rebuilding &= Some(passage.hash) == hash);
    }

    /// Handles the write of a marked byte.
    pub(super) fn written(&mut self, peer: PeerId, mark: u64, at: Instant) {
        let number = (mark & !OF_BLOCKS) >> 1;
        let Some(passage) = self.open.iter_mut().find(|passage| passage.number == number) else { return };
        let Some(index) = passage.readers.iter().position(|reader| reader.peer == peer) else { return };
        if mark & OF_LAST_BYTE != 0 {
            let reader = passage.readers.swap_remove(index);
            if reader.awaits_first || !passage.is_compact() {
                passage.last_out.note(at);
            }
            passage.finished += 1;
            self.settle(at);
        } else if std::mem::take(&mut passage.readers[index].awaits_first) {
            passage.first_out.note(at);
        }
    }

    /// Handles the end of a complete and right block.
    pub(super) fn complete(&mut self, hash: Hash256, last_in: Stamp, sources: Sources) {
        if let Some(passage) = self.passing(hash) {
            (passage.last_in, passage.sources) = (Some(last_in), sources);
            self.settle(last_in.at);
        }
    }

    /// Ends the passage of a block that cannot be completed, or that nobody reads. All its readers are being closed.
    pub(super) fn abort(&mut self, hash: Hash256, sources: Sources, now: Instant) {
        let is_passing = |passage: &Passage| passage.hash == hash && passage.last_in.is_none();
        if let Some(mut passage) = self.open.iter().position(is_passing).and_then(|index| self.open.remove(index)) {
            passage.sources = sources;
            passage.cut += std::mem::take(&mut passage.readers).len() as u32;
            self.ended.push(passage.report(now));
        }
    }

    /// Handles the close of a peer, of which the last bytes may not have been written.
    pub(super) fn on_closed(&mut self, peer: PeerId, now: Instant) {
        for passage in &mut self.open {
            let before = passage.readers.len();
            passage.readers.retain(|reader| reader.peer != peer);
            passage.cut += (before - passage.readers.len()) as u32;
        }
        self.settle(now);
    }

    /// Ends the passages of compact blocks whose time is over, and those of blocks that were complete long ago,
    /// although some of their readers still read.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_old = |last_in: Stamp| now >= last_in.at.plus(RELAY_PASSAGE_TIME);
        self.end(now, |passage| passage.is_over(now) || passage.last_in.is_some_and(is_old));
    }

    /// Removes and returns the reports of the passages that have ended.
    pub(super) fn take_ended(&mut self) -> Vec<BlockRelayed> {
        std::mem::take(&mut self.ended)
    }

    fn compact(&mut self, hash: Hash256) -> Option<&mut Passage> {
        self.open.iter_mut().find(|passage| passage.hash == hash && passage.is_compact())
    }

    /// Returns the passage of a block that is not complete.
    fn passing(&mut self, hash: Hash256) -> Option<&mut Passage> {
        self.open.iter_mut().find(|passage| passage.hash == hash && passage.last_in.is_none())
    }

    /// Ends the passages of complete blocks without readers.
    fn settle(&mut self, now: Instant) {
        self.end(now, |passage| passage.is_over(now));
    }

    fn end(&mut self, now: Instant, is_over: impl Fn(&Passage) -> bool) {
        while let Some(passage) = self.open.iter().position(&is_over).and_then(|index| self.open.remove(index)) {
            self.ended.push(passage.report(now));
        }
    }
}

impl Passage {
    /// Creates the passage of a whole block without readers.
    fn new(hash: Hash256, height: Option<u32>, size_bytes: u64, first_in: Stamp) -> Self {
        Self {
            number: 0,
            hash,
            height,
            form: BlockForm::Whole,
            is_rebuilding: false,
            size_bytes,
            first_in,
            last_in: None,
            readers: Vec::new(),
            first_out: Outs::default(),
            last_out: Outs::default(),
            sources: Sources::default(),
            finished: 0,
            cut: 0,
        }
    }

    const fn is_compact(&self) -> bool {
        matches!(self.form, BlockForm::Compact { .. })
    }

    /// Returns whether the block is complete and all its readers have it.
    fn is_over(&self, now: Instant) -> bool {
        let is_late = |last_in: Stamp| !self.is_compact() || now >= last_in.at.plus(RELAY_COMPACT_PASSAGE_TIME);
        self.last_in.is_some_and(is_late) && self.readers.is_empty() && !self.is_rebuilding
    }

    fn report(self, now: Instant) -> BlockRelayed {
        BlockRelayed {
            hash: self.hash,
            height: self.height,
            form: self.form,
            size_bytes: self.size_bytes,
            is_complete: self.last_in.is_some(),
            received_in: self.last_in.map_or(now, |last_in| last_in.at).since(self.first_in.at),
            first_byte: self.first_out.since(self.first_in),
            last_byte: self.last_in.and_then(|last_in| self.last_out.since(last_in)),
            readers_finished: self.finished,
            readers_cut: self.cut,
            readers_open: self.readers.len() as u32,
            sources: self.sources.used,
            fail_overs: self.sources.replaced,
            longest_gap: self.sources.gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;

    const HASH: Hash256 = Hash256::ZERO;
    const SOURCES: Sources = Sources { used: 2, replaced: 1, gap: Some(Duration::from_millis(4)) };

    fn peer(slot: u32) -> PeerId {
        PeerId::of(LinkId::new(slot, 0))
    }

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    fn stamp(micros: u64, lag_micros: u64) -> Stamp {
        Stamp { at: at(micros), lag: Duration::from_micros(lag_micros) }
    }

    fn hop(first: u64, last: u64, lag: u64) -> Option<BlockHop> {
        let [first, last, lag] = [first, last, lag].map(Duration::from_micros);
        Some(BlockHop { first, last, lag })
    }

    /// Returns a passage with two readers that wait and one that has joined, and the marks of all.
    fn passing() -> (Passages, [u64; 2]) {
        let mut passages = Passages::default();
        passages.begin(HASH, Some(7), 1_000, stamp(100, 5), &[peer(1), peer(2)]);
        passages.join(HASH, peer(3));
        let marks = [1, 2, 3].map(|slot| passages.marks(HASH, peer(slot)).expect("the peer is a reader"));
        assert!(marks[0] == marks[1] && marks[0] == marks[2] && marks[0].into_iter().all(is_mark));
        assert_eq!(passages.marks(HASH, peer(9)), None);
        (passages, marks[0])
    }

    #[test]
    fn a_passage_measures_the_first_byte_for_those_that_waited_and_the_last_byte_for_all() {
        let (mut passages, [first, last]) = passing();
        for (slot, mark, micros) in [(1, first, 120), (3, first, 900), (2, first, 150), (1, last, 1_010)] {
            passages.written(peer(slot), mark, at(micros));
        }
        passages.complete(HASH, stamp(1_000, 20), SOURCES);
        passages.written(peer(3), last, at(1_300));
        assert_eq!(passages.take_ended(), []);
        passages.written(peer(2), last, at(1_040));
        let [report] = &passages.take_ended()[..] else { panic!("the passage has not ended") };
        assert_eq!((report.first_byte, report.last_byte), (hop(20, 50, 5), hop(10, 300, 20)));
        assert_eq!(
            (report.height, report.size_bytes, report.received_in),
            (Some(7), 1_000, Duration::from_micros(900))
        );
        assert_eq!((report.readers_finished, report.readers_cut, report.readers_open), (3, 0, 0));
        assert_eq!((report.sources, report.fail_overs, report.is_complete), (2, 1, true));
        assert_eq!(report.longest_gap, SOURCES.gap);
        assert!(passages.open.is_empty());
    }

    #[test]
    fn closed_readers_are_cut_and_do_not_keep_a_passage_open() {
        let (mut passages, [first, last]) = passing();
        passages.written(peer(1), first, at(130));
        passages.on_closed(peer(2), at(140));
        passages.complete(HASH, stamp(1_000, 0), SOURCES);
        passages.written(peer(1), last, at(1_001));
        passages.on_closed(peer(3), at(2_000));
        let [report] = &passages.take_ended()[..] else { panic!("the passage has not ended") };
        assert_eq!((report.first_byte, report.last_byte), (hop(30, 30, 5), hop(1, 1, 0)));
        assert_eq!((report.readers_finished, report.readers_cut), (1, 2));
    }

    #[test]
    fn a_block_that_cannot_be_completed_has_no_last_byte_and_all_its_readers_are_cut() {
        let (mut passages, [first, _]) = passing();
        passages.written(peer(1), first, at(130));
        passages.abort(HASH, SOURCES, at(600));
        passages.on_closed(peer(1), at(700));
        let [report] = &passages.take_ended()[..] else { panic!("the passage has not ended") };
        assert_eq!((report.is_complete, report.last_byte, report.readers_cut), (false, None, 3));
        assert_eq!((report.received_in, report.sources), (Duration::from_micros(500), 2));
        // The same block may pass again.
        passages.begin(HASH, None, 1, stamp(800, 0), &[peer(4)]);
        assert!(passages.marks(HASH, peer(4)).is_some_and(|marks| marks[0] != first));
    }

    #[test]
    fn readers_that_read_for_long_or_while_many_blocks_pass_are_reported_as_open() {
        let (mut passages, _) = passing();
        passages.complete(HASH, stamp(1_000, 0), SOURCES);
        passages.expire(at(999).plus(RELAY_PASSAGE_TIME));
        assert_eq!(passages.take_ended(), []);
        passages.expire(at(1_000).plus(RELAY_PASSAGE_TIME));
        let open = |passages: &mut Passages| -> Vec<u32> {
            passages.take_ended().iter().map(|report| report.readers_open).collect()
        };
        assert_eq!(open(&mut passages), [3]);
        for _ in 0..=MAX_RELAY_PASSAGES {
            passages.begin(HASH, None, 1, stamp(2_000, 0), &[peer(1)]);
            passages.complete(HASH, stamp(2_001, 0), SOURCES);
        }
        assert_eq!((open(&mut passages), passages.open.len()), (vec![1], MAX_RELAY_PASSAGES));
    }

    #[test]
    fn a_compact_block_is_reported_after_a_second_with_the_hops_of_its_announcements() {
        let mut passages = Passages::default();
        passages.begin_compact(HASH, Some(7), (90, 4), (stamp(100, 5), stamp(300, 6)));
        let mark = passages.compact_mark(HASH).expect("the compact block passes");
        passages.join_compact(HASH, peer(1), true);
        passages.join_compact(HASH, peer(2), true);
        passages.written(peer(1), mark, at(310));
        passages.join_compact(HASH, peer(3), false);
        // One of the readers requests the whole block, too, and the same bytes have other marks.
        passages.begin(HASH, Some(7), 1_000, stamp(400, 0), &[peer(2)]);
        assert!(passages.marks(HASH, peer(2)).is_some_and(|[_, last]| last != mark));
        passages.abort(HASH, SOURCES, at(500));
        assert_eq!(passages.take_ended().len(), 1);
        passages.written(peer(2), mark, at(350));
        passages.written(peer(3), mark, at(9_000));
        passages.rebuilt(HASH, Rebuilt::WithRequested(2));
        let over = at(300).plus(RELAY_COMPACT_PASSAGE_TIME);
        for (rebuilding, now) in [(Some(HASH), over), (None, at(9_999))] {
            passages.note_rebuilding(rebuilding);
            passages.expire(now);
            assert_eq!(passages.take_ended(), []);
        }
        passages.expire(over);
        let [report] = &passages.take_ended()[..] else { panic!("the passage has not ended") };
        assert_eq!((report.first_byte, report.last_byte), (None, hop(10, 50, 6)));
        assert_eq!((report.readers_finished, report.readers_cut, report.is_complete), (3, 0, true));
        assert_eq!((report.size_bytes, report.received_in), (90, Duration::from_micros(200)));
        assert_eq!(report.form, BlockForm::Compact { transactions: 4, rebuilt: Rebuilt::WithRequested(2) });
        assert_eq!(passages.compact_mark(HASH), None);
    }

    #[test]
    fn a_block_that_still_passes_is_not_reported_while_another_one_can_be() {
        let mut passages = Passages::default();
        passages.begin(HASH, None, 1_000, stamp(1, 0), &[peer(1)]);
        for number in 0..2 * MAX_RELAY_PASSAGES as u8 {
            passages.begin_compact(Hash256::of(&[number]), None, (90, 4), (stamp(2, 0), stamp(2, 0)));
        }
        assert!(passages.take_ended().iter().all(|report| report.hash != HASH));
        passages.complete(HASH, stamp(9, 0), SOURCES);
        passages.expire(at(10).plus(RELAY_PASSAGE_TIME));
        let reports = passages.take_ended();
        let of_block: Vec<bool> =
            reports.iter().filter(|report| report.hash == HASH).map(|report| report.is_complete).collect();
        assert_eq!(of_block, [true]);
    }

    #[test]
    fn a_reader_of_a_compact_block_that_does_not_read_keeps_its_passage_open_for_a_minute() {
        let mut passages = Passages::default();
        passages.begin_compact(HASH, None, (90, 4), (stamp(100, 0), stamp(100, 0)));
        [1, 2, 2].into_iter().for_each(|slot| passages.join_compact(HASH, peer(slot), true));
        passages.on_closed(peer(1), at(200));
        passages.note_rebuilding(None);
        passages.expire(at(99).plus(RELAY_PASSAGE_TIME));
        assert_eq!(passages.take_ended(), []);
        passages.expire(at(100).plus(RELAY_PASSAGE_TIME));
        let [report] = &passages.take_ended()[..] else { panic!("the passage has not ended") };
        assert_eq!((report.readers_finished, report.readers_cut, report.readers_open), (0, 1, 1));
        assert_eq!(report.form, BlockForm::Compact { transactions: 4, rebuilt: Rebuilt::No });
    }
}
