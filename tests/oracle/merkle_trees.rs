//! The partial trees of `merkleblock`, some of them damaged. We and the crate `bitcoin` must build the same trees and
//! find the same matches.

use crate::compare_all;
use crate::values::{any_hash, any_header, any_merkle_block};
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash as _;
use bitcoin::merkle_tree::{MerkleBlock as TheirMerkleBlock, PartialMerkleTree};
use bitcoin::{Txid, Weight};
use peerloop::wire::{BlockHeader, Hash256, MerkleBlock, MerkleBlockRef, MerkleFrontier, MerkleMatch};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Returns the matches that the crate finds, or `None` if it refuses the tree.
fn matches_of_theirs(block: &TheirMerkleBlock) -> Option<Vec<MerkleMatch>> {
    let (mut txids, mut indexes) = (Vec::new(), Vec::new());
    block.extract_matches(&mut txids, &mut indexes).ok()?;
    let item = |(index, txid): (u32, Txid)| MerkleMatch { index, txid: Hash256::from_bytes(txid.to_byte_array()) };
    Some(indexes.into_iter().zip(txids).map(item).collect())
}

#[test]
fn both_build_the_same_tree_and_find_its_matches() {
    let leaves = vec((any_hash(), any::<bool>()), 1..70);
    compare_all("partial trees against bitcoin", 512, (any_header(), leaves), |(header, leaves)| {
        let txids: Vec<Hash256> = leaves.iter().map(|(txid, _)| *txid).collect();
        let chosen: Vec<bool> = leaves.iter().map(|(_, chosen)| *chosen).collect();
        let root = txids.iter().copied().collect::<MerkleFrontier>().root().expect("there is a leaf");
        let header = BlockHeader { merkle_root: root, ..header };
        let ours = MerkleBlock::from_txids(header, &txids, |index| chosen[index]);
        let mut bytes = Vec::new();
        ours.as_ref().encode(&mut bytes);

        let their_txids: Vec<Txid> = txids.iter().map(|txid| Txid::from_byte_array(txid.to_bytes())).collect();
        let theirs = PartialMerkleTree::from_txids(&their_txids, &chosen);
        prop_assert_eq!(&bytes[BlockHeader::LEN_BYTES..], serialize(&theirs));

        let read: TheirMerkleBlock = deserialize(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let expected: Vec<MerkleMatch> = (0..)
            .zip(&leaves)
            .filter(|(_, (_, chosen))| *chosen)
            .map(|(index, (txid, _))| MerkleMatch { index, txid: *txid })
            .collect();
        prop_assert_eq!(matches_of_theirs(&read), Some(expected.clone()));
        prop_assert_eq!(ours.as_ref().matches(), Some(expected));
        Ok(3)
    });
}

#[test]
fn both_find_the_same_matches_in_a_damaged_tree() {
    let accepted = std::cell::Cell::new(0);
    let damage = vec((any::<Index>(), 0..8_u8), 0..3);
    compare_all("damaged trees against bitcoin", 2_000, (any_merkle_block(), damage), |(block, damage)| {
        let mut bytes = Vec::new();
        block.as_ref().encode(&mut bytes);
        // The damage is after the header, so that the header's root is unchanged.
        for (at, bit) in damage {
            let at = BlockHeader::LEN_BYTES + at.index(bytes.len() - BlockHeader::LEN_BYTES);
            bytes[at] ^= 1 << bit;
        }
        let (Ok(ours), Ok(theirs)) = (MerkleBlockRef::decode(&bytes), deserialize::<TheirMerkleBlock>(&bytes)) else {
            return Ok(0);
        };
        // The crate refuses a tree with more transactions than its maximum block weight allows. We have no such limit.
        let max_tx_count = Weight::MAX_BLOCK / Weight::MIN_TRANSACTION;
        let verdict = ours.matches();
        if u64::from(ours.tx_count) <= max_tx_count {
            accepted.set(accepted.get() + u64::from(verdict.is_some()));
            prop_assert_eq!(verdict, matches_of_theirs(&theirs));
        }
        Ok(1)
    });
    assert!(accepted.get() > 0, "no tree was accepted");
}
