//! Merkle trees compared with their definition, and proofs and partial trees compared with the trees.

use crate::chain::{any_hash, any_header, assert_every_cut_fails, compact_txids, encoded, numbered_tx};
use crate::known_payload;
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::internals::codec::Reader;
use peerloop::protocol::CommandName;
use peerloop::wire::{
    BlockHeader, EnrichedHeadersRef, Hash256, MerkleBlock, MerkleBlockRef, MerkleFrontier, MerkleMatch, MerkleProof,
    MerkleProofRef, MerkleVerdict, ProofSubject, ProofTarget,
};
use peerloop_testkit::bytes::{hex, to_hex};
use proptest::collection::vec;
use proptest::prelude::*;

const COMMAND: CommandName = CommandName::DATAREFTX;
const BAD_VALUE: WireError = WireError::BadValue { command: COMMAND };

fn above(left: Hash256, right: Hash256) -> Hash256 {
    Hash256::of(&[left.to_bytes(), right.to_bytes()].concat())
}

/// Computes the root directly from the definition of a Merkle tree. Returns the root, and whether the tree is
/// mutated, that is, whether two paired hashes are equal.
fn plain_tree(txids: &[Hash256]) -> (Option<Hash256>, bool) {
    let mut level = txids.to_vec();
    let mut is_mutated = false;
    while level.len() > 1 {
        is_mutated |= level.chunks_exact(2).any(|pair| pair[0] == pair[1]);
        if level.len() % 2 == 1 {
            level.push(level[level.len() - 1]);
        }
        level = level.chunks(2).map(|pair| above(pair[0], pair[1])).collect();
    }
    (level.first().copied(), is_mutated)
}

fn numbered(number: u32) -> Hash256 {
    Hash256::of(&number.to_le_bytes())
}

fn header_over(txids: &[Hash256]) -> BlockHeader {
    let merkle_root = plain_tree(txids).0.unwrap_or(Hash256::ZERO);
    BlockHeader { version: 1, prev_hash: Hash256::ZERO, merkle_root, time: 2, bits: 3, nonce: 4 }
}

mod frontier {
    use super::*;

    /// Returns the tree's root, and whether the tree's verdict on that root is `Mutated`.
    fn root_and_mutation(tree: &MerkleFrontier) -> (Option<Hash256>, bool) {
        (tree.root(), tree.root().is_some_and(|root| tree.verdict(root) == MerkleVerdict::Mutated))
    }

    #[test]
    fn the_root_of_a_live_nodes_block_matches_the_blocks_header() {
        let header = known_payload("cmpctblock");
        let root = Hash256::from_bytes(header[36..68].try_into().unwrap());
        let tree: MerkleFrontier = compact_txids().into_iter().collect();
        assert_eq!(tree.root(), Some(root));
        assert_eq!(tree.verdict(root), MerkleVerdict::Valid);
        assert_eq!(tree.verdict(Hash256::ZERO), MerkleVerdict::Mismatch);
    }

    #[test]
    fn trees_of_up_to_130_leaves_match_the_definition() {
        let txids: Vec<Hash256> = (0..130).map(numbered).collect();
        let mut tree = MerkleFrontier::new();
        assert_eq!((tree.root(), tree.leaf_count()), (None, 0));
        for len in 1..=txids.len() {
            tree.push(txids[len - 1]);
            assert_eq!(root_and_mutation(&tree), plain_tree(&txids[..len]), "{len} leaves");
            assert_eq!(tree.leaf_count(), len as u64);
        }
    }

    #[test]
    fn a_tree_of_a_hundred_thousand_leaves_needs_at_most_2_kib() {
        let used = measure(|| {
            let tree: MerkleFrontier = (0..100_000).map(numbered).collect();
            assert_eq!(tree.leaf_count(), 100_000);
        });
        assert!(used.bytes_max <= 2 * 32 * 32, "{used:?}");
    }

    proptest! {
        #[test]
        fn mutations_match_the_definition(leaves in vec(0..3_u32, 0..40)) {
            let txids: Vec<Hash256> = leaves.into_iter().map(numbered).collect();
            let tree: MerkleFrontier = txids.iter().copied().collect();
            prop_assert_eq!(root_and_mutation(&tree), plain_tree(&txids));
        }
    }
}

mod proof {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<MerkleProofRef<'_>, WireError> {
        MerkleProofRef::read(&mut Reader::new(COMMAND, bytes))
    }

    #[test]
    fn a_live_nodes_proof_matches_the_blocks_header() {
        let payload = known_payload("hdrsen");
        let entry = EnrichedHeadersRef::decode(&payload).unwrap().iter().next().unwrap();
        let coinbase = entry.coinbase.unwrap();
        let proof = coinbase.proof;
        assert_eq!((proof.index, proof.nodes().len()), (0, 0));
        assert_eq!(proof.subject, ProofSubject::Txid(coinbase.tx.txid()));
        assert_eq!(proof.target, ProofTarget::BlockHash(entry.header.hash()));
        assert!(coinbase.is_proven_by(&entry.header));
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proven_and_nothing_else() {
        for len in 1..=9 {
            let txids: Vec<Hash256> = (0..len).map(numbered).collect();
            let header = header_over(&txids);
            for (index, &txid) in txids.iter().enumerate() {
                let branch = MerkleProof::branch(&txids, index).unwrap();
                let prove = |index: u64, txid, target| {
                    let proof = MerkleProof::from_parts(index, ProofSubject::Txid(txid), target, branch.clone());
                    proof.as_ref().proves(&header)
                };
                let root = ProofTarget::MerkleRoot(header.merkle_root);
                assert!(prove(index as u64, txid, root));
                assert!(prove(index as u64, txid, ProofTarget::BlockHash(header.hash())));
                assert!(
                    !prove(index as u64, txid, ProofTarget::MerkleRoot(header.hash())),
                    "the proof was accepted for another root"
                );
                assert!(
                    !prove(index as u64, txid, ProofTarget::BlockHash(header.merkle_root)),
                    "the proof was accepted for another block"
                );
                assert!(!prove(index as u64, numbered(99), root), "the proof was accepted for another transaction");
                assert!(
                    !prove(index as u64 + (1 << branch.len()), txid, root),
                    "the proof was accepted for a position outside the tree"
                );
                assert!(!prove(u64::MAX, txid, root), "the proof was accepted for a position outside any tree");
            }
            assert_eq!(MerkleProof::branch(&txids, len as usize), None);
        }
    }

    #[test]
    fn a_wrong_position_in_the_tree_is_refused() {
        let txids: Vec<Hash256> = (0..4).map(numbered).collect();
        let branch = MerkleProof::branch(&txids, 1).unwrap();
        let header = header_over(&txids);
        let target = ProofTarget::MerkleRoot(header.merkle_root);
        for index in [0, 2, 3] {
            let proof = MerkleProof::from_parts(index, ProofSubject::Txid(txids[1]), target, branch.clone());
            assert!(!proof.as_ref().proves(&header), "{index}");
        }
    }

    #[test]
    fn all_four_forms_decode_and_encode_exactly() {
        let tx = numbered_tx(5);
        let (txid, other) = (tx.as_ref().txid(), numbered(6));
        let tail = format!("{}0100{}", to_hex(other.as_bytes()), to_hex(numbered(7).as_bytes()));
        let tx_hex = to_hex(tx.as_ref().encoded());
        let tx_len = tx_hex.len() / 2;
        for (flags, subject, target) in [
            (0, ProofSubject::Txid(txid), ProofTarget::BlockHash(other)),
            (1, ProofSubject::Tx(tx.clone()), ProofTarget::BlockHash(other)),
            (4, ProofSubject::Txid(txid), ProofTarget::MerkleRoot(other)),
            (5, ProofSubject::Tx(tx), ProofTarget::MerkleRoot(other)),
        ] {
            let proof = MerkleProof::from_parts(300, subject.clone(), target, [numbered(7)]);
            let subject = if flags & 1 == 0 { to_hex(txid.as_bytes()) } else { format!("{tx_len:02x}{tx_hex}") };
            let bytes = hex(&format!("{flags:02x}fd2c01{subject}{tail}"));
            assert_eq!(encoded(|out| proof.as_ref().encode(out)), bytes);
            assert_eq!(decode(&bytes), Ok(proof.as_ref()));
            assert_eq!(decode(&bytes).unwrap().into_owned(), proof);
            assert_eq!(decode(&bytes).unwrap().txid(), txid);
            assert_every_cut_fails(&bytes, decode);
        }
    }

    #[test]
    fn unknown_flags_unknown_node_types_and_wrong_lengths_are_refused() {
        let proof = MerkleProof::from_parts(
            0,
            ProofSubject::Tx(numbered_tx(1)),
            ProofTarget::BlockHash(Hash256::ZERO),
            [numbered(1), numbered(2)],
        );
        let bytes = encoded(|out| proof.as_ref().encode(out));
        for flags in (0..=u8::MAX).filter(|flags| flags & !5 != 0) {
            assert_eq!(decode(&[&[flags], &bytes[1..]].concat()), Err(BAD_VALUE), "flags {flags:#x}");
        }
        for node in [1, 2] {
            let mut bad = bytes.clone();
            let at = bad.len() - 33 * node;
            bad[at] = 1;
            assert_eq!(decode(&bad), Err(BAD_VALUE), "a node of another type was not refused as a bad value");
        }
        let mut longer = bytes;
        longer[2] += 1;
        assert_eq!(decode(&longer), Err(BAD_VALUE), "a transaction of another length was not refused as a bad value");
    }

    #[test]
    fn a_node_count_that_exceeds_the_payload_is_rejected_without_allocation() {
        let bytes = hex(&format!("0000{}{}feffffff7f{}", "00".repeat(32), "00".repeat(32), "00".repeat(32)));
        let used = measure(|| assert_eq!(decode(&bytes), Err(WireError::Truncated { command: COMMAND })));
        assert_eq!(used.count_total, 0);
    }
}

mod partial_tree {
    use super::*;

    #[test]
    fn a_live_nodes_merkleblock_decodes_and_encodes_exactly() {
        let payload = known_payload("merkleblock");
        let message = MerkleBlockRef::decode(&payload).unwrap();
        assert_eq!((message.tx_count, message.hashes().len(), message.flags()), (1, 1, &[1][..]));
        let txid = message.header.merkle_root;
        assert_eq!(message.matches(), Some(vec![MerkleMatch { index: 0, txid }]));
        assert_eq!(encoded(|out| message.encode(out)), payload);
        assert_eq!(message.into_owned(), MerkleBlock::from_txids(message.header, &[txid], |_| true));
        assert_every_cut_fails(&payload, MerkleBlockRef::decode);
        assert_eq!(MerkleBlockRef::decode(&[&payload[..], b"more"].concat()), Ok(message));
    }

    #[test]
    fn every_selection_from_every_small_block_is_recovered() {
        for len in 1..=7_u32 {
            let txids: Vec<Hash256> = (0..len).map(numbered).collect();
            for choice in 0..1_u32 << len {
                let message = MerkleBlock::from_txids(header_over(&txids), &txids, |index| choice >> index & 1 == 1);
                let expected = (0..len).filter(|index| choice >> index & 1 == 1);
                let expected = expected.map(|index| MerkleMatch { index, txid: numbered(index) }).collect();
                assert_eq!(message.as_ref().matches(), Some(expected), "{choice:#b} of {len}");
            }
        }
    }

    #[test]
    fn an_inconsistent_tree_is_refused() {
        let txids: Vec<Hash256> = (0..7).map(numbered).collect();
        let good = MerkleBlock::from_txids(header_over(&txids), &txids, |index| index == 5);
        let payload = encoded(|out| good.as_ref().encode(out));
        let hash_count = good.as_ref().hashes().len();
        let flags_at = 84 + 1 + 32 * hash_count;
        assert_eq!((payload[84] as usize, payload[flags_at]), (hash_count, 1));
        let refused = |payload: &[u8], why: &str| {
            assert_eq!(MerkleBlockRef::decode(payload).unwrap().matches(), None, "the tree was accepted: {why}");
        };
        let hash = [9; 32];
        refused(
            &[&payload[..84], &[hash_count as u8 + 1], &hash, &payload[85..]].concat(),
            "an extra hash at the front",
        );
        let behind = [&payload[..84], &[hash_count as u8 + 1], &payload[85..flags_at], &hash, &payload[flags_at..]];
        refused(&behind.concat(), "an extra hash at the end");
        refused(&[&payload[..84], &[hash_count as u8 - 1], &payload[117..]].concat(), "a missing hash");
        refused(&[&payload[..flags_at], &[2, payload[flags_at + 1], 0]].concat(), "an extra byte of flags");
        refused(&[&payload[..flags_at], &[0]].concat(), "no flags");
        refused(&[&payload[..80], &[0; 4], &payload[84..]].concat(), "no transactions");
        refused(&[&payload[..80], &[0xff; 4], &payload[84..]].concat(), "the largest number of transactions");
        refused(&[&payload[..80], &[3, 0, 0, 0], &payload[84..]].concat(), "fewer transactions than hashes");
        refused(&[&payload[..40], &[0xff], &payload[41..]].concat(), "another root");
    }

    #[test]
    fn equal_siblings_are_refused() {
        let txids = [numbered(0), numbered(1), numbered(2), numbered(2)];
        let message = MerkleBlock::from_txids(header_over(&txids), &txids, |index| index == 2);
        assert_eq!(message.as_ref().matches(), None);
    }

    #[test]
    fn a_tree_without_transactions_is_refused() {
        let message = MerkleBlock::from_txids(header_over(&[]), &[], |_| true);
        assert_eq!(message.as_ref().matches(), None);
        assert_eq!(encoded(|out| message.as_ref().encode(out)).len(), 86);
    }

    #[test]
    fn counts_that_exceed_the_payload_are_rejected_without_allocation() {
        let head = [&header_over(&[]).encode()[..], &[0xff; 4]].concat();
        let hashes = [&head[..], &hex("feffffff7f"), &[0; 64]].concat();
        let flags = [&head[..], &hex("00feffffff7f"), &[0; 64]].concat();
        let used = measure(|| {
            let truncated = WireError::Truncated { command: CommandName::MERKLEBLOCK };
            assert_eq!(MerkleBlockRef::decode(&hashes), Err(truncated));
            assert_eq!(MerkleBlockRef::decode(&flags), Err(truncated));
        });
        assert_eq!(used.count_total, 0);
    }

    #[test]
    fn a_tree_with_too_few_hashes_for_its_flags_is_refused_in_bounded_memory() {
        let head = [&header_over(&[]).encode()[..], &u32::MAX.to_le_bytes()].concat();
        let payload = [&head[..], &[2], &[1; 64], &[0xfd, 0x10, 0x27], &[0xff; 10_000]].concat();
        let message = MerkleBlockRef::decode(&payload).unwrap();
        let used = measure(|| assert_eq!(message.matches(), None));
        assert!(used.bytes_max <= 2 * payload.len() as u64 + 4_096, "{used:?}");
    }

    proptest! {
        #[test]
        fn any_tree_with_an_arbitrary_header_decodes_and_encodes_exactly_but_is_refused(
            header in any_header(),
            tx_count in prop_oneof![0..20_u32, any::<u32>()],
            hashes in vec(any_hash(), 0..20),
            flags in vec(any::<u8>(), 0..8),
        ) {
            let mut payload = [&header.encode()[..], &tx_count.to_le_bytes(), &[hashes.len() as u8]].concat();
            hashes.iter().for_each(|hash| payload.extend_from_slice(hash.as_bytes()));
            payload.push(flags.len() as u8);
            payload.extend_from_slice(&flags);
            let message = MerkleBlockRef::decode(&payload).unwrap();
            prop_assert_eq!(message.hashes().collect::<Vec<_>>(), hashes);
            prop_assert_eq!(message.matches(), None, "a tree matched the root of an arbitrary header");
            prop_assert_eq!(encoded(|out| message.encode(out)), payload);
        }

        #[test]
        fn the_matches_in_a_partial_tree_are_recovered(len in 1..100_u32, choice in any::<u128>()) {
            let txids: Vec<Hash256> = (0..len).map(numbered).collect();
            let is_match = |index: usize| choice >> index & 1 == 1;
            let message = MerkleBlock::from_txids(header_over(&txids), &txids, is_match);
            let payload = encoded(|out| message.as_ref().encode(out));
            let found = MerkleBlockRef::decode(&payload).unwrap().matches().unwrap();
            let expected = txids.iter().enumerate().filter(|(index, _)| is_match(*index));
            let expected = expected.map(|(index, &txid)| MerkleMatch { index: index as u32, txid });
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }
    }
}
