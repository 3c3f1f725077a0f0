//! Every message that both peerloop and the crate `bitcoin` know: the two read each other's frames. Hashes, Merkle
//! roots, compact blocks, short ids, targets and work are compared as well.

use crate::values::{any_block, any_common, any_compact_block};
use crate::{MAGIC, compare_all, frame_of};
use bitcoin::bip152::{self, HeaderAndShortIds};
use bitcoin::consensus::encode::deserialize;
use bitcoin::p2p::message::RawNetworkMessage;
use peerloop::wire::header::checksum;
use peerloop::wire::{CompactBlock, Hash256, Header, MessageRef, Target};
use peerloop_laws::theirs::{
    COMMON, assert_same, block_hash, compact_block, frame_of_theirs, header, merkle_node, to_theirs, txid, whole_block,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn every_common_message_has_the_same_bytes_in_both_codecs() {
    let seen = std::cell::RefCell::new(BTreeSet::new());
    compare_all("common messages against bitcoin", 3_000, any_common(), |message| {
        let ours = message.as_ref();
        let frame = frame_of(&ours);
        let theirs =
            deserialize::<RawNetworkMessage>(&frame).map_err(|error| TestCaseError::fail(error.to_string()))?;
        assert_same(&ours, theirs.payload());
        prop_assert_eq!(theirs.magic().to_bytes(), MAGIC);
        prop_assert_eq!(&frame_of_theirs(theirs.into_payload()), &frame);

        // The crate `bitcoin` cannot build a `merkleblock` from its parts. The module `merkle_trees` tests these
        // messages.
        if let Some(theirs) = to_theirs(&ours) {
            let frame_of_theirs = frame_of_theirs(theirs);
            prop_assert_eq!(&frame_of_theirs, &frame);
            let (header, payload) = frame_of_theirs.split_first_chunk().expect("there is a header");
            let header = Header::decode(header);
            prop_assert_eq!(header.checksum, Some(checksum(payload)));
            prop_assert_eq!(MessageRef::decode(header.command, payload), Ok(ours.clone()));
        }
        seen.borrow_mut().insert(ours.command());
        Ok(2)
    });
    assert_eq!(seen.into_inner(), COMMON.into_iter().collect(), "the compared commands are not the common ones");
}

#[test]
fn both_codecs_compute_the_same_hashes_and_merkle_roots() {
    compare_all("hashes against bitcoin", 256, any_block(), |block| {
        let ours = block.as_ref();
        let theirs = whole_block(&ours).expect("the crate can represent the block");
        prop_assert_eq!(block_hash(ours.hash()), theirs.block_hash());
        prop_assert_eq!(ours.hash().to_string(), theirs.block_hash().to_string());
        let root = ours.merkle_tree().expect("the block is whole").root();
        prop_assert_eq!(root.map(merkle_node), theirs.compute_merkle_root());
        prop_assert!(theirs.check_merkle_root());
        let mut compared = 2;
        for (ours, theirs) in ours.transactions.iter().zip(&theirs.txdata) {
            let ours = ours.expect("the block is whole");
            prop_assert_eq!(txid(ours.txid()), theirs.compute_txid());
            prop_assert_eq!(ours.is_coinbase(), theirs.is_coinbase());
            compared += 2;
        }
        Ok(compared)
    });
}

#[test]
fn both_codecs_build_the_same_compact_block_from_a_block() {
    let prefill = proptest::collection::btree_set(1..8_usize, 0..4);
    compare_all(
        "compact blocks against bitcoin",
        256,
        (any_block(), any::<u64>(), prefill),
        |(block, nonce, prefill)| {
            let block = block.as_ref();
            let theirs = whole_block(&block).expect("the crate can represent the block");
            let prefill: Vec<usize> = prefill.into_iter().filter(|&index| index < theirs.txdata.len()).collect();
            let transactions = block.transactions.iter().map(|tx| tx.expect("the block is whole"));
            let is_prefilled = |index: u32| index == 0 || prefill.contains(&(index as usize));
            let ours = CompactBlock::from_transactions(block.header, nonce, transactions, is_prefilled);
            let theirs = HeaderAndShortIds::from_block(&theirs, nonce, 1, &prefill);
            prop_assert_eq!(compact_block(&ours.as_ref()), theirs.ok());
            Ok(1)
        },
    );
}

#[test]
fn both_codecs_compute_the_same_short_ids() {
    compare_all("short ids against bitcoin", 256, (any_compact_block(), any::<[u8; 32]>()), |(block, id)| {
        let ours = block.as_ref().short_id_key();
        let header = header(&block.as_ref().header);
        let keys = bip152::ShortId::calculate_siphash_keys(&header, block.as_ref().nonce);
        prop_assert_eq!((ours.key().k0, ours.key().k1), keys);
        let theirs = bip152::ShortId::with_siphash_keys(&id, keys);
        prop_assert_eq!(bip152::ShortId::from(ours.short_id(Hash256::from_bytes(id))), theirs);
        Ok(2)
    });
}

proptest! {
    #[test]
    fn both_codecs_compute_the_same_target_and_work(len_bytes in 1..=34_u32, digits in 1..0x80_0000_u32) {
        let bits = len_bytes << 24 | digits;
        if let Some(target) = Target::from_bits(bits) {
            let theirs = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(bits));
            prop_assert_eq!(target.to_be_bytes(), theirs.to_be_bytes());
            prop_assert_eq!(target.work().to_be_bytes(), theirs.to_work().to_be_bytes());
        }
    }
}
