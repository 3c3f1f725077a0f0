//! The blocks that a relay has passed on, as lines for people.
//!
//! The loop only adds each block to a short list, and the main thread prints it once a second. While many old blocks
//! pass, as in a node's initial sync, only the first ones of each second have a line of their own. The others share
//! one.

use crate::run::Console;
use crate::units::{counted, show_bytes, show_latency};
use log::Level;
use peerloop::Ctx;
use peerloop::relay::{BlockForm, BlockRelayed, Rebuilt, RelayPolicy};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Maximum number of blocks per second that have a line of their own.
const MAX_LINES: usize = 5;

/// The relay's policy, which relays everything and notes the blocks. Its clones share the list.
#[derive(Clone, Debug, Default)]
pub(super) struct PassedBlocks(Arc<Mutex<Passed>>);

/// The blocks since the last print.
#[derive(Debug, Default)]
struct Passed {
    shown: Vec<BlockRelayed>,
    others: Others,
}

/// The blocks that share a line.
#[derive(Debug, Default, PartialEq)]
struct Others {
    blocks: u64,
    compact: u64,
    bytes: u64,
    incomplete: u64,
    finished: u64,
    cut: u64,
    fail_overs: u64,
    /// The longest times to the first and to the last byte out, from arrival.
    first_byte: Option<Duration>,
    last_byte: Option<Duration>,
    longest_gap: Option<Duration>,
}

impl RelayPolicy for PassedBlocks {
    fn on_block_relayed(&mut self, _ctx: &mut Ctx<'_>, block: &BlockRelayed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(*block);
    }
}

impl PassedBlocks {
    /// Prints the blocks since the last call, at most six lines.
    pub(super) fn print(&self, console: &Console) {
        let passed = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (level, line) in passed.lines() {
            console.note(level, &line);
        }
    }
}

impl Passed {
    fn add(&mut self, block: BlockRelayed) {
        if self.shown.len() < MAX_LINES {
            return self.shown.push(block);
        }
        let Others { blocks, compact, bytes, incomplete, finished, cut, fail_overs, .. } = &mut self.others;
        *blocks += 1;
        *compact += u64::from(is_compact(&block));
        *bytes += block.size_bytes;
        *incomplete += u64::from(!block.is_complete);
        *finished += u64::from(block.readers_finished);
        *cut += u64::from(block.readers_cut);
        *fail_overs += u64::from(block.fail_overs);
        let Others { first_byte, last_byte, longest_gap, .. } = &mut self.others;
        *first_byte = (*first_byte).max(first_out(&block));
        *last_byte = (*last_byte).max(last_out(&block));
        *longest_gap = (*longest_gap).max(block.longest_gap);
    }

    fn lines(&self) -> Vec<(Level, String)> {
        let own = self.shown.iter().map(|block| (level(block.is_complete), line(block)));
        own.chain(self.others.line()).collect()
    }
}

impl Others {
    fn line(&self) -> Option<(Level, String)> {
        let incomplete = if self.incomplete > 0 { format!(", {} incomplete", self.incomplete) } else { String::new() };
        let compact = if self.compact > 0 { format!(", {} compact", self.compact) } else { String::new() };
        let line = format!(
            "and {}: {}{compact}{incomplete}, first byte out after {} at most, last byte after {} at most, \
             {} finished, {} cut, {}",
            counted(self.blocks, "other block"),
            show_bytes(self.bytes),
            latency(self.first_byte),
            latency(self.last_byte),
            counted(self.finished, "reader"),
            self.cut,
            fail_overs(self.fail_overs, self.longest_gap)
        );
        (self.blocks > 0).then(|| (level(self.incomplete == 0), line))
    }
}

fn level(is_complete: bool) -> Level {
    if is_complete { Level::Info } else { Level::Warn }
}

fn line(block: &BlockRelayed) -> String {
    let height = block.height.map_or_else(String::new, |height| format!(" at height {height}"));
    let done = if block.is_complete { "in" } else { "incomplete after" };
    let last_byte = latency(last_out(block));
    let way = match block.form {
        BlockForm::Compact { transactions, rebuilt } => {
            format!("{}, last byte out after {last_byte}", compact(transactions, rebuilt))
        }
        _ => format!("first byte out after {}, last byte after {last_byte}", latency(first_out(block))),
    };
    let open = if block.readers_open > 0 { format!(", {} open", block.readers_open) } else { String::new() };
    format!(
        "{}block {}{height}: {} {done} {}, {way}, {} finished, {} cut{open}, {}",
        if is_compact(block) { "compact " } else { "" },
        block.hash,
        show_bytes(block.size_bytes),
        show_latency(block.received_in),
        counted(block.readers_finished, "reader"),
        block.readers_cut,
        fail_overs(block.fail_overs, block.longest_gap)
    )
}

fn is_compact(block: &BlockRelayed) -> bool {
    matches!(block.form, BlockForm::Compact { .. })
}

fn compact(transactions: u64, rebuilt: Rebuilt) -> String {
    let rebuilt = match rebuilt {
        Rebuilt::FromPool => "rebuilt from the pool".to_owned(),
        Rebuilt::WithRequested(count) => format!("rebuilt with {}", counted(count, "requested transaction")),
        _ => "not rebuilt".to_owned(),
    };
    format!("{}, {rebuilt}", counted(transactions, "transaction"))
}

fn fail_overs(count: impl Into<u64>, longest_gap: Option<Duration>) -> String {
    let gap = longest_gap.map_or_else(|| "no data".to_owned(), show_latency);
    format!("{}, longest gap {gap}", counted(count.into(), "fail-over"))
}

/// Returns the time from the first byte's arrival to its write to the first reader.
fn first_out(block: &BlockRelayed) -> Option<Duration> {
    block.first_byte.map(|hop| hop.first + hop.lag)
}

/// Returns the time from the last byte's arrival to its write to the last reader.
fn last_out(block: &BlockRelayed) -> Option<Duration> {
    block.last_byte.map(|hop| hop.last + hop.lag)
}

fn latency(latency: Option<Duration>) -> String {
    latency.map_or_else(|| "-".to_owned(), show_latency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::relay::BlockHop;
    use peerloop::wire::Hash256;

    /// Returns a complete block with hops of so many microseconds, in a turn with a lag of one.
    fn block(micros: u64) -> BlockRelayed {
        let mut block = BlockRelayed::new(Hash256::ZERO, 2_048, true, Duration::from_millis(3));
        let [first, last, lag] = [micros, 2 * micros, 1].map(Duration::from_micros);
        let hop = BlockHop::new(first, last, lag);
        (block.height, block.first_byte, block.last_byte) = (Some(7), Some(hop), Some(hop));
        block.readers_finished = 2;
        block
    }

    fn lines(blocks: impl IntoIterator<Item = BlockRelayed>) -> Vec<(Level, String)> {
        let mut passed = Passed::default();
        blocks.into_iter().for_each(|block| passed.add(block));
        passed.lines()
    }

    #[test]
    fn a_block_has_a_line_with_its_hops_from_arrival_and_its_readers() {
        let zeros = "0".repeat(64);
        let whole = format!(
            "block {zeros} at height 7: 2.0 KiB in 3.00 ms, first byte out after 41 us, last byte after 81 us, \
             2 readers finished, 0 cut, 0 fail-overs, longest gap no data"
        );
        assert_eq!(lines([block(40)]), [(Level::Info, whole)]);
        let mut broken = BlockRelayed::new(Hash256::ZERO, 9, false, Duration::from_millis(3));
        (broken.readers_cut, broken.readers_open, broken.fail_overs) = (3, 1, 1);
        broken.longest_gap = Some(Duration::from_millis(12));
        let expected = format!(
            "block {zeros}: 9 B incomplete after 3.00 ms, first byte out after -, last byte after -, \
             0 readers finished, 3 cut, 1 open, 1 fail-over, longest gap 12.0 ms"
        );
        assert_eq!(lines([broken]), [(Level::Warn, expected)]);
    }

    #[test]
    fn a_compact_block_has_a_line_with_the_way_in_which_it_was_rebuilt() {
        let zeros = "0".repeat(64);
        for (rebuilt, way) in [
            (Rebuilt::FromPool, "rebuilt from the pool"),
            (Rebuilt::WithRequested(1), "rebuilt with 1 requested transaction"),
            (Rebuilt::No, "not rebuilt"),
        ] {
            let mut compact = block(40);
            compact.first_byte = None;
            compact.form = BlockForm::Compact { transactions: 12, rebuilt };
            let expected = format!(
                "compact block {zeros} at height 7: 2.0 KiB in 3.00 ms, 12 transactions, {way}, last byte out after \
                 81 us, 2 readers finished, 0 cut, 0 fail-overs, longest gap no data"
            );
            assert_eq!(lines([compact]), [(Level::Info, expected)]);
        }
    }

    #[test]
    fn many_blocks_of_a_second_share_a_line_that_counts_them() {
        assert_eq!(lines([]), []);
        let mut all: Vec<BlockRelayed> = (1..=8).map(block).collect();
        all[6].readers_cut = 1;
        all[7].is_complete = false;
        all[6].form = BlockForm::Compact { transactions: 3, rebuilt: Rebuilt::No };
        (all[5].longest_gap, all[7].longest_gap) = (Some(Duration::from_millis(2)), Some(Duration::from_millis(1)));
        (all[5].fail_overs, all[7].fail_overs) = (1, 1);
        let lines = lines(all);
        assert_eq!(lines.len(), MAX_LINES + 1);
        let expected = "and 3 other blocks: 6.0 KiB, 1 compact, 1 incomplete, first byte out after 9.0 us at most, \
                        last byte after 17 us at most, 6 readers finished, 1 cut, 2 fail-overs, longest gap 2.00 ms";
        assert_eq!(lines[MAX_LINES], (Level::Warn, expected.to_owned()));
    }
}
