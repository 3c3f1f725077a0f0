//! `hdrsen` and `datareftx`: headers with proofs, and transactions with proofs.

use crate::chain::{any_hash, any_header, any_tx, assert_every_cut_fails, encoded, numbered_tx};
use crate::known_payload;
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{
    BlockHeader, EnrichedHeaderRef, EnrichedHeaders, EnrichedHeadersRef, Hash256, MerkleFrontier, MerkleProof,
    ProofSubject, ProofTarget, ProvenTx, ProvenTxRef, Tx,
};
use peerloop_testkit::bytes::hex;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const TRUNCATED: WireError = WireError::Truncated { command: CommandName::HDRSEN };

#[test]
fn a_message_from_a_live_node_decodes_and_encodes_exactly() {
    let payload = known_payload("hdrsen");
    let message = EnrichedHeadersRef::decode(&payload).unwrap();
    assert_eq!((message.len(), message.is_empty(), message.iter().len()), (1, false, 1));
    let entry = message.iter().next().unwrap();
    assert_eq!((entry.tx_count, entry.no_more_headers), (1, true));
    assert_eq!(entry.header.merkle_root, entry.coinbase.unwrap().tx.txid());
    assert!(entry.coinbase.unwrap().tx.is_coinbase());
    assert!(entry.miner_info.is_none());
    assert_eq!(
        entry.header.hash(),
        Hash256::from_bytes(payload[207..239].try_into().unwrap()),
        "the proof's target is not this block"
    );
    assert_eq!(encoded(|out| message.encode(out)), payload);
    assert_eq!(EnrichedHeaders::from_headers(message.iter()), message.into_owned());
    assert_eq!(encoded(|out| message.into_owned().as_ref().encode(out)), payload);
    assert_every_cut_fails(&payload, EnrichedHeadersRef::decode);
    assert_eq!(EnrichedHeadersRef::decode(&[&payload[..], b"more"].concat()), Ok(message));
}

#[test]
fn a_proof_in_a_block_of_five_transactions_has_three_nodes_and_fits_only_its_block_and_transaction() {
    let txs: Vec<Tx> = (0..5).map(numbered_tx).collect();
    let txids: Vec<Hash256> = txs.iter().map(|tx| tx.as_ref().txid()).collect();
    let tree: MerkleFrontier = txids.iter().copied().collect();
    let header = BlockHeader { merkle_root: tree.root().unwrap(), ..BlockHeader::decode(&[3; 80]) };
    let branch = MerkleProof::branch(&txids, 0).unwrap();
    assert_eq!(branch.len(), 3);
    let target = ProofTarget::BlockHash(header.hash());
    let proof = MerkleProof::from_parts(0, ProofSubject::Txid(txids[0]), target, branch);
    let proven = ProvenTx { tx: txs[0].clone(), proof: proof.clone() };
    assert!(proven.as_ref().is_proven_by(&header));
    assert!(
        !proven.as_ref().is_proven_by(&BlockHeader { nonce: 0, ..header }),
        "a proof for a different block was accepted"
    );
    let other = ProvenTx { tx: txs[1].clone(), proof };
    assert!(!other.as_ref().is_proven_by(&header), "a proof for a different transaction was accepted");
}

#[test]
fn datareftx_is_a_transaction_and_a_proof() {
    let tx = numbered_tx(4);
    let target = ProofTarget::BlockHash(Hash256::of(b"block"));
    let proof = MerkleProof::from_parts(2, ProofSubject::Txid(tx.as_ref().txid()), target, [Hash256::of(b"node")]);
    let message = ProvenTx { tx: tx.clone(), proof: proof.clone() };
    let payload = encoded(|out| message.as_ref().encode(out));
    let parts = [encoded(|out| tx.as_ref().encode(out)), encoded(|out| proof.as_ref().encode(out))];
    assert_eq!(payload, parts.concat());
    assert_eq!(ProvenTxRef::decode(&payload), Ok(message.as_ref()));
    assert_eq!(ProvenTxRef::decode(&payload).unwrap().into_owned(), message);
    assert_every_cut_fails(&payload, ProvenTxRef::decode);
    assert_eq!(ProvenTxRef::decode(&[&payload[..], b"more"].concat()), Ok(message.as_ref()));
}

#[test]
fn a_message_without_headers_is_valid() {
    let message = EnrichedHeadersRef::decode(&[0]).unwrap();
    assert!(message.is_empty() && message.iter().next().is_none());
    assert_eq!(message.into_owned(), EnrichedHeaders::default());
    assert_eq!(encoded(|out| message.encode(out)), [0]);
}

#[test]
fn a_flag_byte_other_than_zero_is_true() {
    let mut payload = known_payload("hdrsen");
    payload[1 + 80 + 1] = 0x7f;
    payload[1 + 80 + 2] = 0x80;
    let entry = EnrichedHeadersRef::decode(&payload).unwrap().iter().next().unwrap();
    assert!(entry.no_more_headers && entry.coinbase.is_some());
    let last = payload.len() - 1;
    payload[last] = 2;
    assert_eq!(
        EnrichedHeadersRef::decode(&payload),
        Err(TRUNCATED),
        "the miner's transaction is missing, but the payload was not refused as truncated"
    );
}

#[test]
fn counts_that_exceed_the_payload_are_rejected_at_every_level_without_an_allocation() {
    let headers = hex(&format!("feffffff7f{}", "00".repeat(200)));
    let nodes = hex(&format!(
        "01{}01000102000000000000000000{}{}{}feffffff7f{}",
        "00".repeat(80),
        "0000",
        "00".repeat(32),
        "00".repeat(32),
        "00".repeat(40)
    ));
    let inputs = hex(&format!("01{}01000102000000feffffff7f{}", "00".repeat(80), "00".repeat(100)));
    let used = measure(|| {
        for payload in [&headers, &nodes, &inputs] {
            assert_eq!(EnrichedHeadersRef::decode(payload), Err(TRUNCATED));
        }
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn an_invalid_transaction_invalidates_the_message() {
    let mut payload = known_payload("hdrsen");
    // This byte is the count of the coinbase's inputs.
    assert_eq!(payload[1 + 80 + 3 + 4], 1);
    payload[1 + 80 + 3 + 4] = 0xff;
    assert!(EnrichedHeadersRef::decode(&payload).is_err());
}

fn any_proven_tx() -> impl Strategy<Value = ProvenTx> {
    let subject = prop_oneof![any_tx().prop_map(ProofSubject::Tx), any_hash().prop_map(ProofSubject::Txid)];
    let target = prop_oneof![any_hash().prop_map(ProofTarget::BlockHash), any_hash().prop_map(ProofTarget::MerkleRoot)];
    (any_tx(), 0..=0xffff_ffff_u64, subject, target, vec(any_hash(), 0..5)).prop_map(
        |(tx, index, subject, target, nodes)| ProvenTx {
            tx,
            proof: MerkleProof::from_parts(index, subject, target, nodes),
        },
    )
}

proptest! {
    #[test]
    fn built_values_decode_unchanged(
        entries in vec(
            (
                any_header(),
                0..=0xffff_ffff_u64,
                any::<bool>(),
                option::of(any_proven_tx()),
                option::of(any_proven_tx()),
            ),
            0..4,
        ),
    ) {
        let entries: Vec<EnrichedHeaderRef<'_>> = entries
            .iter()
            .map(|(header, tx_count, no_more_headers, coinbase, miner_info)| EnrichedHeaderRef {
                header: *header,
                tx_count: *tx_count,
                no_more_headers: *no_more_headers,
                coinbase: coinbase.as_ref().map(ProvenTx::as_ref),
                miner_info: miner_info.as_ref().map(ProvenTx::as_ref),
            })
            .collect();
        let message = EnrichedHeaders::from_headers(entries.iter().copied());
        let payload = encoded(|out| message.as_ref().encode(out));
        let read = EnrichedHeadersRef::decode(&payload).unwrap();
        prop_assert!(read.iter().eq(entries.iter().copied()));
        prop_assert_eq!(read.into_owned(), message);
    }

    #[test]
    fn a_damaged_datareftx_is_refused_or_encodes_to_the_bytes_read(
        proven_tx in any_proven_tx(),
        damage in any::<[(proptest::sample::Index, u8); 2]>(),
    ) {
        let mut payload = encoded(|out| proven_tx.as_ref().encode(out));
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Ok(read) = ProvenTxRef::decode(&payload) {
            let emitted = encoded(|out| read.encode(out));
            prop_assert!(payload.starts_with(&emitted));
            prop_assert_eq!(ProvenTxRef::decode(&emitted), Ok(read));
        }
    }
}
