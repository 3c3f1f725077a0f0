//! The transactions that a responder was given, for peers that request them.
//!
//! The pool never retains more than its maximum: the oldest transactions are dropped first, and counted. Nothing is
//! validated.

use crate::limits::{READ_BLOCK_BYTES, RESPONDER_TX_COST_BYTES};
use crate::wire::Hash256;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub(super) struct Pool {
    frames: BTreeMap<Hash256, Bytes>,
    /// The ids in the order of their arrival.
    order: VecDeque<Hash256>,
    max_bytes: usize,
    retained_bytes: usize,
    evicted: u64,
}

impl Pool {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { frames: BTreeMap::new(), order: VecDeque::new(), max_bytes, retained_bytes: 0, evicted: 0 }
    }

    /// Returns the `tx` frame of a transaction.
    pub(super) fn get(&self, txid: Hash256) -> Option<&Bytes> {
        self.frames.get(&txid)
    }

    pub(super) fn contains(&self, txid: Hash256) -> bool {
        self.frames.contains_key(&txid)
    }

    /// Adds a transaction that the pool does not contain; `frame` is its message. A transaction that exceeds the pool
    /// alone is not added.
    pub(super) fn insert(&mut self, txid: Hash256, frame: Bytes) {
        let bytes = retained_bytes(&frame);
        if bytes > self.max_bytes {
            self.evicted += 1;
            return;
        }
        while self.retained_bytes + bytes > self.max_bytes {
            let Some(oldest) = self.order.pop_front() else { break };
            self.retained_bytes -= self.frames.remove(&oldest).map_or(0, |frame| retained_bytes(&frame));
            self.evicted += 1;
        }
        self.retained_bytes += bytes;
        self.order.push_back(txid);
        self.frames.insert(txid, frame);
    }

    /// Returns the number of transactions that were dropped because the pool was full.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// Returns the number of bytes that a frame costs. One that fills half a read block or more may keep the whole block.
fn retained_bytes(frame: &Bytes) -> usize {
    let is_shared = (READ_BLOCK_BYTES / 2..READ_BLOCK_BYTES).contains(&frame.len());
    RESPONDER_TX_COST_BYTES + if is_shared { READ_BLOCK_BYTES } else { frame.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txid(number: u32) -> Hash256 {
        Hash256::of(&number.to_le_bytes())
    }

    fn frame(len: usize) -> Bytes {
        vec![7; len].into()
    }

    #[test]
    fn the_oldest_transactions_are_dropped_first_and_counted() {
        let each = 100 + RESPONDER_TX_COST_BYTES;
        let mut pool = Pool::new(10 * each);
        (0..25).for_each(|number| pool.insert(txid(number), frame(100)));
        let kept: Vec<u32> = (0..25).filter(|&number| pool.contains(txid(number))).collect();
        assert_eq!((kept, pool.evicted()), ((15..25).collect(), 15));
        assert_eq!((pool.retained_bytes, pool.order.len(), pool.frames.len()), (10 * each, 10, 10));
        assert_eq!((pool.get(txid(20)), pool.get(txid(3))), (Some(&frame(100)), None));
    }

    #[test]
    fn a_transaction_larger_than_the_pool_displaces_nothing() {
        let mut pool = Pool::new(1_000);
        pool.insert(txid(1), frame(100));
        pool.insert(txid(2), frame(1_000));
        assert!(pool.contains(txid(1)) && !pool.contains(txid(2)));
        assert_eq!(pool.evicted(), 1);
    }

    #[test]
    fn a_frame_that_may_share_a_read_block_counts_with_the_block() {
        for (len, bytes) in [(32_767, 32_767), (32_768, 65_536), (65_535, 65_536), (65_536, 65_536), (90_000, 90_000)] {
            assert_eq!(retained_bytes(&frame(len)), RESPONDER_TX_COST_BYTES + bytes);
        }
    }
}
