//! Messages that prove a double spend, and every way in which such a proof fails.

use crate::chain::{assert_every_cut_fails, encoded, numbered_tx};
use allocation_counter::measure;
use peerloop::error::WireError;
use peerloop::protocol::CommandName;
use peerloop::wire::{
    BlockHeader, DoubleSpend, DoubleSpendFault, DoubleSpendRef, Hash256, MerkleFrontier, MerkleProof, ProofSubject,
    ProofTarget, Tx, TxInRef, TxOutRef,
};
use peerloop_testkit::bytes::hex;

const BAD_VALUE: WireError = WireError::BadValue { command: CommandName::DSDETECTED };

/// A branch: its headers, from the last block's to the first block's, and a Merkle proof that the last block contains a
/// transaction.
#[derive(Clone)]
struct Fork {
    headers: Vec<BlockHeader>,
    proof: MerkleProof,
}

/// Returns a transaction that spends these outputs and pays `value`. A different `value` makes a different
/// transaction.
fn spending(outputs: &[u32], value: i64) -> Tx {
    let input = |&number: &u32| TxInRef {
        prev_txid: Hash256::of(&number.to_le_bytes()),
        prev_index: number,
        script: &[],
        sequence: 0,
    };
    let inputs: Vec<TxInRef<'_>> = outputs.iter().map(input).collect();
    Tx::from_parts(1, &inputs, &[TxOutRef { value, script: &[] }], 0)
}

fn proof_of(tx: &Tx, index: usize, txids: &[Hash256], root: Hash256) -> MerkleProof {
    let branch = MerkleProof::branch(txids, index).expect("the position exists");
    MerkleProof::from_parts(index as u64, ProofSubject::Tx(tx.clone()), ProofTarget::MerkleRoot(root), branch)
}

/// Returns a branch of `blocks` blocks on top of `ancestor`. In each block, `tx` follows the coinbase.
fn fork(ancestor: Hash256, blocks: usize, tx: &Tx) -> Fork {
    let txids = [numbered_tx(0), tx.clone(), numbered_tx(2)].map(|tx| tx.as_ref().txid());
    let tree: MerkleFrontier = txids.into_iter().collect();
    let root = tree.root().expect("there are leaves");
    let mut headers = Vec::new();
    let mut prev_hash = ancestor;
    for nonce in 0..blocks {
        let header = BlockHeader { version: 1, prev_hash, merkle_root: root, time: 5, bits: 6, nonce: nonce as u32 };
        prev_hash = header.hash();
        headers.insert(0, header);
    }
    Fork { headers, proof: proof_of(tx, 1, &txids, root) }
}

fn message(forks: &[Fork]) -> Option<DoubleSpend> {
    DoubleSpend::from_forks(forks.iter().map(|fork| (&fork.headers[..], fork.proof.as_ref())))
}

fn verdict(forks: &[Fork]) -> Result<(), DoubleSpendFault> {
    let message = message(forks).expect("the message is well formed");
    let payload = encoded(|out| message.as_ref().encode(out));
    let read = DoubleSpendRef::decode(&payload).expect("a built message decodes");
    assert_eq!(read.into_owned(), message);
    read.validate()
}

fn ancestor() -> Hash256 {
    Hash256::of(b"ancestor")
}

/// Returns a branch of two blocks and a branch of one block. In each branch, a transaction spends output 1.
fn double_spend() -> [Fork; 2] {
    [fork(ancestor(), 2, &spending(&[1, 2], 10)), fork(ancestor(), 1, &spending(&[3, 1], 20))]
}

#[test]
fn a_double_spend_is_valid_and_encoded_exactly() {
    let forks = double_spend();
    assert_eq!(verdict(&forks), Ok(()));
    let message = message(&forks).unwrap();
    let payload = encoded(|out| message.as_ref().encode(out));

    let mut bytes = hex("010002");
    for fork in &forks {
        bytes.push(fork.headers.len() as u8);
        fork.headers.iter().for_each(|header| bytes.extend_from_slice(&header.encode()));
        fork.proof.as_ref().encode(&mut bytes);
    }
    assert_eq!(payload, bytes);
    let read = DoubleSpendRef::decode(&payload).unwrap();
    for (read, fork) in read.forks().zip(&forks) {
        assert!(read.headers().eq(fork.headers.iter().copied()));
        assert_eq!(read.proof, fork.proof.as_ref());
        assert_eq!(ProofSubject::Tx(read.tx), read.proof.subject);
    }
    assert_eq!(read.forks().len(), 2);
    assert_every_cut_fails(&payload, DoubleSpendRef::decode);
    assert_eq!(DoubleSpendRef::decode(&[&payload[..], b"more"].concat()), Ok(read));
}

#[test]
fn three_branches_are_a_double_spend_if_each_shares_an_output_with_another() {
    let spends = |outputs: [&[u32]; 3]| {
        let fork = |(value, outputs)| fork(ancestor(), 1 + value as usize, &spending(outputs, value));
        verdict(&(0..).zip(outputs).map(fork).collect::<Vec<_>>())
    };
    assert_eq!(spends([&[1], &[1], &[1]]), Ok(()));
    assert_eq!(spends([&[1, 2], &[2, 3], &[3, 4]]), Ok(()));
    assert_eq!(spends([&[1], &[1], &[2]]), Err(DoubleSpendFault::NoDoubleSpend));
    assert_eq!(spends([&[1], &[2], &[3]]), Err(DoubleSpendFault::NoDoubleSpend));
}

#[test]
fn a_transaction_that_spends_one_output_twice_is_not_a_double_spend() {
    let forks = [fork(ancestor(), 1, &spending(&[1, 1], 1)), fork(ancestor(), 1, &spending(&[2, 2], 2))];
    assert_eq!(verdict(&forks), Err(DoubleSpendFault::NoDoubleSpend));
}

#[test]
fn the_spent_output_is_identified_by_id_and_index() {
    let tx = |prev_index| {
        let input = TxInRef { prev_txid: Hash256::of(b"same"), prev_index, script: &[], sequence: 0 };
        Tx::from_parts(1, &[input], &[], prev_index)
    };
    let forks = [fork(ancestor(), 1, &tx(0)), fork(ancestor(), 1, &tx(1))];
    assert_eq!(verdict(&forks), Err(DoubleSpendFault::NoDoubleSpend));
}

#[test]
fn headers_must_be_a_chain() {
    let mut forks = double_spend();
    forks[0].headers[1].nonce ^= 1;
    assert_eq!(
        verdict(&forks),
        Err(DoubleSpendFault::NoChain),
        "a first header with another parent is not reported as a broken chain"
    );
    let mut forks = double_spend();
    forks[0].headers.reverse();
    assert_eq!(verdict(&forks), Err(DoubleSpendFault::NoChain), "reversed headers are not reported as a broken chain");
    let mut forks = double_spend();
    forks[0].headers[1] = forks[0].headers[0];
    assert_eq!(verdict(&forks), Err(DoubleSpendFault::NoChain), "a repeated header is not reported as a broken chain");
    let mut forks = double_spend();
    forks[1].headers.clear();
    assert_eq!(
        verdict(&forks),
        Err(DoubleSpendFault::NoChain),
        "an empty list of headers is not reported as a broken chain"
    );
}

#[test]
fn proofs_must_match_the_merkle_root_of_the_first_header() {
    let mut forks = double_spend();
    let [first, second] = forks.clone();
    forks[0].proof = second.proof;
    assert_eq!(
        verdict(&forks),
        Err(DoubleSpendFault::NotProven),
        "the other branch's proof is not reported as invalid"
    );
    let mut forks = double_spend();
    let tx = spending(&[1], 99);
    let header = first.headers[0];
    let txids = [numbered_tx(0), tx.clone(), numbered_tx(2)].map(|tx| tx.as_ref().txid());
    forks[0].proof = proof_of(&tx, 1, &txids, header.merkle_root);
    assert_eq!(
        verdict(&forks),
        Err(DoubleSpendFault::NotProven),
        "a proof of a transaction that is not in the block is not reported as invalid"
    );
}

#[test]
fn the_shortest_branches_are_decoded() {
    let branch = |locktime| {
        let (tx, root) = (Tx::from_parts(1, &[], &[], locktime), Hash256::of(b"root"));
        let proof = MerkleProof::from_parts(1, ProofSubject::Tx(tx), ProofTarget::MerkleRoot(root), []);
        Fork { headers: Vec::new(), proof }
    };
    let message = message(&[branch(1), branch(2)]).expect("the message is well formed");
    let payload = encoded(|out| message.as_ref().encode(out));
    assert_eq!(payload.len(), 3 + 2 * 47);
    assert_eq!(DoubleSpendRef::decode(&payload).map(|read| read.into_owned()), Ok(message));
}

#[test]
fn branches_must_fork_from_the_same_block() {
    let [first, _] = double_spend();
    let second = fork(Hash256::of(b"elsewhere"), 1, &spending(&[1], 20));
    assert_eq!(verdict(&[first, second]), Err(DoubleSpendFault::NoCommonAncestor));
}

#[test]
fn the_same_transaction_twice_is_not_a_double_spend() {
    let tx = spending(&[1], 1);
    let forks = [fork(ancestor(), 1, &tx), fork(ancestor(), 2, &tx)];
    assert_eq!(verdict(&forks), Err(DoubleSpendFault::SameTransaction));
}

#[test]
fn proofs_of_other_kinds_or_for_a_coinbase_are_neither_built_nor_decoded() {
    let forks = double_spend();
    let (tx, root) = (spending(&[1], 1), Hash256::of(b"root"));
    let proofs = [
        MerkleProof::from_parts(1, ProofSubject::Txid(tx.as_ref().txid()), ProofTarget::MerkleRoot(root), []),
        MerkleProof::from_parts(1, ProofSubject::Tx(tx.clone()), ProofTarget::BlockHash(root), []),
        MerkleProof::from_parts(0, ProofSubject::Tx(tx), ProofTarget::MerkleRoot(root), []),
    ];
    for proof in proofs {
        assert_eq!(message(&[forks[0].clone(), Fork { proof: proof.clone(), ..forks[1].clone() }]), None);
        let mut payload = hex("010002");
        for proof in [&forks[0].proof, &proof] {
            payload.push(0);
            proof.as_ref().encode(&mut payload);
        }
        assert_eq!(DoubleSpendRef::decode(&payload), Err(BAD_VALUE));
    }
}

#[test]
fn other_versions_and_fewer_than_two_branches_are_refused() {
    let forks = double_spend();
    assert_eq!(message(&forks[..1]), None);
    assert_eq!(message(&[]), None);
    let payload = encoded(|out| message(&forks).unwrap().as_ref().encode(out));
    for (version, len) in [(0, 2), (2, 2), (0x0101, 2), (1, 0), (1, 1)] {
        let head = [u16::to_le_bytes(version).as_slice(), &[len]].concat();
        assert_eq!(DoubleSpendRef::decode(&[&head[..], &payload[3..]].concat()), Err(BAD_VALUE), "{version} {len}");
    }
}

#[test]
fn counts_that_exceed_the_payload_are_rejected_without_allocating() {
    let truncated = WireError::Truncated { command: CommandName::DSDETECTED };
    let forks = hex(&format!("0100feffffff7f{}", "00".repeat(200)));
    let headers = hex(&format!("010002feffffff7f{}", "00".repeat(400)));
    let used = measure(|| {
        assert_eq!(DoubleSpendRef::decode(&forks), Err(truncated));
        assert_eq!(DoubleSpendRef::decode(&headers), Err(truncated));
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn validation_allocates_at_most_twice_the_message_plus_4_kib() {
    let outputs: Vec<u32> = (0..5_000).collect();
    let forks = [fork(ancestor(), 1, &spending(&outputs, 1)), fork(ancestor(), 1, &spending(&outputs, 2))];
    let payload = encoded(|out| message(&forks).unwrap().as_ref().encode(out));
    let read = DoubleSpendRef::decode(&payload).unwrap();
    let used = measure(|| assert_eq!(read.validate(), Ok(())));
    assert!(used.bytes_max <= 2 * payload.len() as u64 + 4_096, "{used:?} for {}", payload.len());
}
