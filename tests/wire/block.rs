//! Blocks: decoding reads the header and the transaction count. Iteration reads the transactions, up to the first
//! invalid one.

use crate::chain::{any_block, any_header, assert_every_cut_fails, block_of, encoded};
use crate::chain::{any_tx, numbered_tx};
use crate::known_payload;
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{Block, BlockHeader, BlockRef, BlockTxn, BlockTxnRef, Hash256, MerkleVerdict, Tx, TxRef};
use peerloop_testkit::bytes::hex;
use proptest::collection::vec;
use proptest::prelude::*;

const TRUNCATED: WireError = WireError::Truncated { command: CommandName::BLOCK };

#[test]
fn a_block_from_a_live_node_decodes_and_encodes_exactly() {
    let payload = known_payload("block");
    let block = BlockRef::decode(&payload).unwrap();
    assert_eq!(block.hash().to_string(), "6ac0cb6affd76abf66320aee66556f4ae5ffcf3585da6141c3dac2495430c7a6");
    assert_eq!((block.header.version, block.header.bits, block.header.nonce), (0x2000_0000, 0x207f_ffff, 2));
    assert_eq!(block.transactions.len(), 1);
    assert_eq!(block.merkle_tree().unwrap().verdict(block.header.merkle_root), MerkleVerdict::Valid);
    let txs: Vec<TxRef<'_>> = block.transactions.iter().map(Result::unwrap).collect();
    assert_eq!(txs[0].txid(), block.header.merkle_root);
    assert_eq!(encoded(|out| block.encode(out)), payload);
    let built = Block::from_parts(block.header, txs);
    assert_eq!(built, block.into_owned());
    assert_eq!(encoded(|out| built.as_ref().encode(out)), payload);
}

#[test]
fn decoding_or_iterating_a_truncated_block_reports_the_truncation() {
    let payload = known_payload("block");
    assert_every_cut_fails(&payload, |payload| BlockRef::decode(payload)?.validate());
    for len in 0..81 + TxRef::MIN_BYTES {
        assert_eq!(
            BlockRef::decode(&payload[..len]),
            Err(TRUNCATED),
            "a payload too short for one transaction was not refused as truncated"
        );
    }
    for len in 81 + TxRef::MIN_BYTES..payload.len() {
        let block = BlockRef::decode(&payload[..len]).unwrap();
        assert_eq!(block.merkle_tree(), Err(TRUNCATED));
        assert_eq!(encoded(|out| block.encode(out)), payload[..len], "encoding changed a block with an invalid tail");
    }
}

#[test]
fn iteration_ends_with_the_first_error() {
    let header = any_block_header();
    let mut payload = header.encode().to_vec();
    payload.push(3);
    numbered_tx(1).as_ref().encode(&mut payload);
    payload.extend_from_slice(&hex("01000000fd0000"));
    numbered_tx(2).as_ref().encode(&mut payload);
    let block = BlockRef::decode(&payload).unwrap();
    let mut transactions = block.transactions.iter();
    assert_eq!(transactions.next(), Some(Ok(numbered_tx(1).as_ref())));
    let error = WireError::NonCanonicalSize { command: CommandName::BLOCK };
    assert_eq!(transactions.next(), Some(Err(error)));
    assert_eq!(transactions.next(), None);
    assert_eq!(transactions.size_hint(), (0, Some(0)));
    assert_eq!(block.validate(), Err(error));
}

#[test]
fn bytes_after_the_last_transaction_are_not_encoded() {
    let payload = known_payload("block");
    let longer = [&payload[..], b"more"].concat();
    let block = BlockRef::decode(&longer).unwrap();
    assert_eq!(encoded(|out| block.encode(out)), payload);
    assert_eq!(encoded(|out| block.into_owned().as_ref().encode(out)), payload);
}

#[test]
fn decoding_and_validation_allocate_nothing_even_for_a_huge_count() {
    let mut payload = any_block_header().encode().to_vec();
    payload.extend_from_slice(&hex("feffffffff"));
    payload.resize(payload.len() + 1_000, 0);
    let node_block = known_payload("block");
    let used = measure(|| {
        assert_eq!(BlockRef::decode(&payload), Err(TRUNCATED));
        assert_eq!(BlockRef::decode(&node_block).unwrap().validate(), Ok(()));
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn a_block_without_transactions_does_not_match_its_headers_merkle_root() {
    let block = Block::from_parts(any_block_header(), []);
    let block = block.as_ref();
    assert!(block.transactions.is_empty());
    assert_eq!(block.merkle_tree().unwrap().verdict(block.header.merkle_root), MerkleVerdict::Mismatch);
    assert_eq!(encoded(|out| block.encode(out)).len(), 81);
}

#[test]
fn a_repeated_transaction_is_reported_as_a_mutation() {
    let transactions: Vec<Tx> = (0..3).map(numbered_tx).collect();
    let good = block_of(any_block_header(), &transactions);
    let repeated: Vec<Tx> = [0, 1, 2, 2].map(numbered_tx).to_vec();
    let bad = block_of(any_block_header(), &repeated);
    assert_eq!(good.as_ref().hash(), bad.as_ref().hash(), "blocks with the same header have different hashes");
    let verdict = |block: &Block| block.as_ref().merkle_tree().unwrap().verdict(block.as_ref().header.merkle_root);
    assert_eq!(verdict(&good), MerkleVerdict::Valid);
    assert_eq!(verdict(&bad), MerkleVerdict::Mutated);
}

#[test]
fn the_reply_to_getblocktxn_decodes_and_encodes_exactly() {
    let compact = known_payload("cmpctblock");
    let block_hash = Hash256::of(&compact[..80]);
    let transactions = [numbered_tx(1), numbered_tx(3)];
    let answer = BlockTxn::from_transactions(block_hash, transactions.iter().map(Tx::as_ref));
    let payload = encoded(|out| answer.as_ref().encode(out));
    let bytes =
        [&block_hash.to_bytes()[..], &[2], transactions[0].as_ref().encoded(), transactions[1].as_ref().encoded()];
    assert_eq!(payload, bytes.concat());
    assert_every_cut_fails(&payload, |payload| BlockTxnRef::decode(payload)?.transactions.validate());
    let longer = [&payload[..], b"more"].concat();
    let decoded = BlockTxnRef::decode(&longer).unwrap();
    assert_eq!(decoded.into_owned(), answer);
    assert_eq!(encoded(|out| decoded.encode(out)), payload);
}

fn any_block_header() -> BlockHeader {
    BlockHeader::decode(&std::array::from_fn(|at| at as u8))
}

proptest! {
    #[test]
    fn built_blocks_decode_unchanged(header in any_header(), transactions in vec(any_tx(), 0..8)) {
        let built = block_of(header, &transactions);
        let payload = encoded(|out| built.as_ref().encode(out));
        let block = BlockRef::decode(&payload).unwrap();
        prop_assert_eq!(block, built.as_ref());
        let read: Vec<Tx> = block.transactions.iter().map(|tx| tx.unwrap().into_owned()).collect();
        prop_assert_eq!(read, transactions);
        prop_assert_eq!(block.into_owned(), built);
    }

    #[test]
    fn a_changed_block_that_decodes_is_encoded_as_a_prefix_of_its_bytes(
        block in any_block(),
        (at, byte) in any::<(proptest::sample::Index, u8)>(),
    ) {
        let mut payload = encoded(|out| block.as_ref().encode(out));
        let at = at.index(payload.len());
        payload[at] = byte;
        if let Ok(block) = BlockRef::decode(&payload) {
            let walked = block.transactions.iter().try_fold(81, |len, tx| tx.map(|tx| len + tx.encoded().len()));
            prop_assert_eq!(walked.map(drop), block.validate());
            let emitted = encoded(|out| block.encode(out));
            prop_assert!(payload.starts_with(&emitted));
            prop_assert!(walked.is_err() || walked == Ok(emitted.len()));
        }
    }
}
