//! The maximum memory of a relay, as a formula of its settings and the number of its peers.

use super::blocks::{Budgets, Compacts, HeaderAsks, passages_memory_bytes};
use super::config::RelayConfig;
use super::headers::HeaderChain;
use super::inventory::Inventory;
use super::offsets::TxOffsets;
use super::peers::Peers;
use super::pool::Pool;
use super::request::Requests;
use super::submissions::Submissions;
use crate::limits::{MAX_RELAY_PENDING_BYTES, RELAY_PASSING_BLOCKS, RELAY_SMALL_BLOCK_RETAINED_BYTES};

/// The histograms, the alerts, the marks, and the lists of one turn.
const OTHER_BYTES: usize = 2 * 1024 * 1024;

impl RelayConfig {
    /// Returns the maximum number of bytes that a relay with these settings uses for `peers` peers, without the loop's
    /// own memory. It is the sum of the following, each at its maximum:
    ///
    /// - up to 84 bytes for each of [`max_entries`](Self::max_entries), rounded up, and 1 MiB for the log;
    /// - 13 to 27 bytes for each of [`max_seen`](Self::max_seen), 17 at the default;
    /// - [`tx_pool_bytes`](Self::tx_pool_bytes);
    /// - 8 MB of requests in flight, 11 MB of submissions, 8 MiB of budgets, and 64 MiB of unanswered `getdata`
    ///   messages of leaf peers;
    /// - about 190 bytes for each of [`max_headers`](Self::max_headers);
    /// - [`small_blocks_bytes`](Self::small_blocks_bytes), and 128 MiB for the blocks that pass;
    /// - 33 MiB of compact blocks, 56 MiB to rebuild one, and 8 MiB of requests for their transactions;
    /// - 2 MB of requests for headers that are passed on;
    /// - 2 MiB for the offsets of the transactions of passing blocks;
    /// - about 1 KB for each peer: its row, its bits in the sets of announcers, its readings of blocks, and
    ///   the growth of the tables;
    /// - 4 bytes for each transaction that a peer has announced beyond 1,000 requests in flight, at most 50,000;
    /// - up to 2 MB of unanswered `getdata` messages for each link to an upstream;
    /// - about 50 bytes for each upstream link that the report of a followed transaction names.
    ///
    /// The last three items are not part of the result, because only upstreams cause them.
    pub fn max_memory_bytes(&self, peers: usize) -> usize {
        let peers = peers.min(u32::MAX as usize);
        // An index is used again after a cycle of the sweep, so about twice as many may be in use.
        let indexes = 2 * peers;
        let settings = self.clone().in_range();
        let tables = Inventory::memory_bytes(settings.max_entries, settings.max_seen, indexes)
            + Peers::memory_bytes(indexes)
            + passages_memory_bytes(indexes)
            + Requests::memory_bytes()
            + Submissions::memory_bytes()
            + Budgets::memory_bytes()
            + Pool::index_bytes()
            + MAX_RELAY_PENDING_BYTES
            + OTHER_BYTES
            + HeaderChain::memory_bytes(settings.max_headers)
            + RELAY_PASSING_BLOCKS * RELAY_SMALL_BLOCK_RETAINED_BYTES as usize
            + RELAY_PASSING_BLOCKS * TxOffsets::memory_bytes()
            + Compacts::memory_bytes(peers)
            + HeaderAsks::memory_bytes();
        tables.saturating_add(self.tx_pool_bytes).saturating_add(self.small_blocks_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LinkId, PeerId};
    use crate::relay::inventory::PeerIndex;
    use crate::relay::peers::{Peer, Role};
    use crate::time::Instant;
    use crate::wire::Hash256;
    use crate::wire::siphash::SipKey;
    use allocation_counter::measure;
    use std::time::Duration;

    /// Returns the bytes of the tables with this many peers, and with a full inventory in which every tenth transaction
    /// has more announcers than its entry holds.
    fn used_bytes(peers: u32, entries: usize) -> usize {
        let mut tables = None;
        let info = measure(|| {
            let mut inventory = Inventory::new(SipKey { k0: 1, k1: 2 }, entries, 2_000_000);
            let mut rows = Peers::default();
            for slot in 0..peers {
                rows.insert(Peer::new(PeerId::of(LinkId::new(slot, 0)), Role::Leaf, false, 0, Instant::ZERO));
            }
            for number in 0..entries as u32 {
                let slot = inventory.insert(inventory.id(Hash256::of(&number.to_le_bytes())));
                let announcers: PeerIndex = if number % 10 == 0 { 8 } else { 1 };
                for at in 0..announcers {
                    inventory.add_announcer(slot, (number + at * peers / 8) % peers, |_| Some(false));
                }
                inventory.accept(slot, Instant::ZERO, Duration::ZERO);
                if number % 1_000 == 0 {
                    inventory.pass(u64::from(number).saturating_sub(20_000));
                }
            }
            tables = Some((inventory, rows, Requests::new(1), Pool::new(1 << 20)));
        });
        drop(tables);
        usize::try_from(info.bytes_current).expect("tables use memory")
    }

    #[test]
    fn a_hundred_thousand_transactions_stay_within_the_budget_per_peer() {
        for (peers, most_bytes) in [(1_000, 10_000), (10_000, 2_000)] {
            let each = used_bytes(peers, 100_000) / peers as usize;
            println!("{peers} peers and 100,000 transactions use {each} bytes per peer");
            assert!(each <= most_bytes, "{each} bytes for each of {peers} peers");
        }
    }

    #[test]
    fn the_largest_settings_have_a_sum() {
        let config = RelayConfig::new(Vec::new()).with_max_entries(usize::MAX).with_max_seen(usize::MAX);
        assert!(config.max_memory_bytes(1_000) < 2_500_000_000);
        let config = config.with_tx_pool_bytes(usize::MAX).with_small_blocks_bytes(usize::MAX);
        assert_eq!(config.with_max_headers(usize::MAX).max_memory_bytes(usize::MAX), usize::MAX);
    }

    #[test]
    fn the_tables_stay_within_the_formula() {
        for (peers, entries) in [(10, 1_000), (1_000, 100_000), (10_000, 50_000)] {
            let config = RelayConfig::new(Vec::new()).with_max_entries(entries).with_tx_pool_bytes(0);
            let (used, stated) = (used_bytes(peers, entries), config.max_memory_bytes(peers as usize));
            assert!(used <= stated, "{used} bytes of at most {stated}");
        }
    }
}
