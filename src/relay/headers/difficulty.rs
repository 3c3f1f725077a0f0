//! The difficulty rule: the `bits` that a header must have, from the blocks before it.
//!
//! The rule compares the work of about a day with its duration. Both ends of the day are the median in time of three
//! blocks, so one wrong clock changes nothing. The rule of this file is the one since its last change, at a height that
//! [`applies_from`] names; it needs the 147 blocks before a block. Nothing here knows a chain: the caller passes the
//! six blocks that count.

use crate::protocol::Network;
use crate::wire::{Target, Work};
use std::num::NonZeroU32;

/// The number of blocks whose median time a header must exceed (SV Node 1.2.2, chain.h nMedianTimeSpan).
pub(super) const MEDIAN_BLOCKS: usize = 11;

/// The number of blocks before a block that the rule needs: a day, and two more for its first median.
pub(super) const NEEDED_BLOCKS: usize = DAY_BLOCKS as usize + 3;

/// The number of blocks that the rule expects in a day.
pub(super) const DAY_BLOCKS: u32 = 144;

/// The time between two blocks that the rule aims at, in seconds.
const SPACING_S: u32 = 600;

/// The shortest and the longest duration that counts for the blocks of a day, in seconds: half a day and two days.
const DURATION_S: [u32; 2] = [72 * SPACING_S, 288 * SPACING_S];

/// The facts of a block that the rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The miner's clock, in Unix seconds.
    pub(super) time: u32,
    /// The work of the chain up to this block, with it.
    pub(super) work: Work,
}

/// Returns the height of the first block whose child follows this rule; `None` if the difficulty of the network never
/// changes (SV Node 1.2.2, chainparams.cpp daaHeight).
pub(super) const fn applies_from(network: Network) -> Option<u32> {
    match network {
        Network::Mainnet => Some(504_031),
        Network::Testnet => Some(1_188_697),
        Network::Stn => Some(2_200),
        Network::Regtest => None,
    }
}

/// Returns the bits of a block with this time (SV Node 1.2.2, pow.cpp GetNextCashWorkRequired).
///
/// `last` is the parent and the two blocks before it, `first` the block a day before the parent and the two blocks
/// before that, each with the oldest one first. The times may be in any order.
pub(super) fn required_bits(network: Network, time: u32, first: [Mark; 3], last: [Mark; 3]) -> u32 {
    let easiest = Target::easiest_of(network);
    // On the testnet, anybody may mine a block after twenty minutes without one.
    if network == Network::Testnet && i64::from(time) > i64::from(last[2].time) + 2 * i64::from(SPACING_S) {
        return easiest.to_bits();
    }
    let (first, last) = (median(first), median(last));
    let duration_s = i64::from(last.time) - i64::from(first.time);
    let [shortest, longest] = DURATION_S.map(i64::from);
    let duration_s = duration_s.clamp(shortest, longest) as u32;
    let divisor = NonZeroU32::new(duration_s).unwrap_or(NonZeroU32::MIN);
    let work = last.work.beyond(first.work).scaled(SPACING_S, divisor);
    Target::of_work(work).map_or(easiest, |target| target.min(easiest)).to_bits()
}

/// Returns the block with the middle time; of two equal times the one that the node's exchanges select (SV Node 1.2.2,
/// pow.cpp GetSuitableBlock).
fn median(mut blocks: [Mark; 3]) -> Mark {
    for (one, other) in [(0, 2), (0, 1), (1, 2)] {
        if blocks[one].time > blocks[other].time {
            blocks.swap(one, other);
        }
    }
    blocks[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain on which only the rule's facts exist.
    struct Blocks(Vec<Mark>, Vec<u32>);

    impl Blocks {
        /// Starts a chain of blocks every 600 s.
        fn new(count: usize, bits: u32) -> Self {
            let work = Target::from_bits(bits).unwrap().work();
            let mut blocks = Self(vec![Mark { time: 1_269_211_443, work }], vec![bits]);
            (0..count).for_each(|_| blocks.push(600, bits));
            blocks
        }

        fn push(&mut self, seconds: i64, bits: u32) {
            let before = self.0[self.0.len() - 1];
            let work = before.work + Target::from_bits(bits).unwrap().work();
            self.0.push(Mark { time: (i64::from(before.time) + seconds) as u32, work });
            self.1.push(bits);
        }

        /// Returns the bits of the next block.
        fn required(&self, network: Network, seconds: i64) -> u32 {
            let parent = self.0.len() - 1;
            let three = |at: usize| *self.0[at - 2..].first_chunk().unwrap();
            let time = (i64::from(self.0[parent].time) + seconds) as u32;
            required_bits(network, time, three(parent - DAY_BLOCKS as usize), three(parent))
        }

        /// Adds blocks at this distance that follow the rule, and returns the bits of the one after them.
        fn mine(&mut self, count: usize, seconds: i64) -> u32 {
            for _ in 0..count {
                let bits = self.required(Network::Mainnet, seconds);
                self.push(seconds, bits);
            }
            self.required(Network::Mainnet, seconds)
        }
    }

    /// The steps and the values are those of SV Node 1.2.2, test/pow_tests.cpp cash_difficulty_test.
    #[test]
    fn the_bits_are_those_of_the_nodes_own_vectors() {
        let initial = 0x1c0f_ffff;
        let mut blocks = Blocks::new(2_049, initial);
        assert_eq!(blocks.mine(10, 600), initial);
        // A clock far in the future, and the next block on time.
        assert_eq!(blocks.mine(1, 6_000), initial);
        assert_eq!(blocks.mine(1, 2 * 600 - 6_000), initial);
        assert_eq!(blocks.mine(20, 600), initial);
        // The first faster block changes nothing yet.
        assert_eq!(blocks.mine(1, 550), initial);
        assert_eq!(blocks.mine(10, 550), 0x1c0f_e7b1);
        assert_eq!(blocks.mine(20, 10), 0x1c0d_b19f);
        // The first slower block changes nothing yet.
        assert_eq!(blocks.mine(1, 6_000), 0x1c0d_9222);
        assert_eq!(blocks.mine(93, 6_000), 0x1c2f_13b9);
        // A fast block falls out of the day.
        assert_eq!(blocks.mine(1, 6_000), 0x1c2e_e9bf);
        assert_eq!(blocks.mine(192, 6_000), 0x1d00_ffff);
        assert_eq!(blocks.mine(5, 6_000), 0x1d00_ffff);
    }

    #[test]
    fn the_testnet_allows_the_easiest_target_after_more_than_twenty_minutes() {
        let blocks = Blocks::new(200, 0x1c0f_ffff);
        assert_eq!(blocks.required(Network::Testnet, 1_200), 0x1c0f_ffff);
        assert_eq!(blocks.required(Network::Testnet, 1_201), 0x1d00_ffff);
        for network in [Network::Mainnet, Network::Stn] {
            assert_eq!(blocks.required(network, 1_000_000), 0x1c0f_ffff);
        }
    }

    #[test]
    fn durations_beyond_half_and_two_days_count_as_those() {
        let bits_after = |seconds: i64| {
            let mut blocks = Blocks::new(3, 0x1c0f_ffff);
            (0..150).for_each(|_| blocks.push(seconds, 0x1c0f_ffff));
            blocks.required(Network::Mainnet, 600)
        };
        assert_eq!(bits_after(1), bits_after(300));
        assert_eq!(bits_after(-20), bits_after(300));
        assert_eq!(bits_after(9_000), bits_after(1_200));
        assert_ne!(bits_after(301), bits_after(300));
        // Half the time doubles the work, so the target is half as large.
        assert_eq!(bits_after(300), 0x1c07_ffff);
    }

    #[test]
    fn of_three_blocks_the_middle_time_counts_in_any_order() {
        let mark = |time| Mark { time, work: Work::ZERO };
        for times in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
            assert_eq!(median(times.map(mark)).time, 2, "{times:?}");
        }
    }
}
