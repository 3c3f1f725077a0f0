//! Strategies and checks for transactions, headers and blocks, shared by several test modules.

use peerloop::error::WireError;
use peerloop::wire::{Block, BlockHeader, Hash256, MerkleFrontier, Tx, TxInRef, TxOutRef};
use proptest::collection::vec;
use proptest::prelude::*;

/// The ids of the five transactions of the recorded `cmpctblock`.
pub(crate) const COMPACT_TXIDS: [&str; 5] = [
    "5b48b130079deec6deff928b57889d08dc60bdbd126de32dadc34f720412f85b",
    "0dc5fa03358168387936de8f6ea43ab8c071816d0e28a5fa4632c601f32b5408",
    "3aefd757c9f072289cda8e311c420e0f9c55f9cbd974d5f74556d9aaa779fcd8",
    "01afd336cdc26c5e74794252031f0a4ee663e3897cd34a66697fac2855037093",
    "fee2aabda08743ca63262a0e56d8af84efc9618aa2d58e3e042249713e74531f",
];

pub(crate) fn compact_txids() -> Vec<Hash256> {
    COMPACT_TXIDS.map(|txid| txid.parse().expect("the string is a hash")).to_vec()
}

/// Returns the bytes that `encode` appends.
pub(crate) fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(&mut out);
    out.split_off(b"before".len())
}

/// Asserts that `payload` decodes, and that every proper prefix of it is reported as truncated.
pub(crate) fn assert_every_cut_fails<'a, T: std::fmt::Debug>(
    payload: &'a [u8],
    decode: impl Fn(&'a [u8]) -> Result<T, WireError>,
) {
    assert!(decode(payload).is_ok());
    for len in 0..payload.len() {
        assert!(matches!(decode(&payload[..len]), Err(WireError::Truncated { .. })), "cut at {len}");
    }
}

pub(crate) fn any_hash() -> impl Strategy<Value = Hash256> {
    any::<[u8; 32]>().prop_map(Hash256::from_bytes)
}

pub(crate) fn any_header() -> impl Strategy<Value = BlockHeader> {
    let hashes = (any_hash(), any_hash());
    (any::<(i32, u32, u32, u32)>(), hashes).prop_map(|((version, time, bits, nonce), (prev_hash, merkle_root))| {
        BlockHeader { version, prev_hash, merkle_root, time, bits, nonce }
    })
}

/// Generates a script whose size is encoded in one, three or, rarely, five bytes.
fn any_script() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![40 => 0..60_usize, 10 => 250..=256_usize, 1 => 0xfffe..=0x1_0001_usize];
    (len, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

/// The parts of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct TxParts {
    pub(crate) version: i32,
    pub(crate) inputs: Vec<(Hash256, u32, Vec<u8>, u32)>,
    pub(crate) outputs: Vec<(i64, Vec<u8>)>,
    pub(crate) locktime: u32,
}

impl TxParts {
    pub(crate) fn inputs<'a>(&'a self) -> Vec<TxInRef<'a>> {
        let input = |part: &'a (Hash256, u32, Vec<u8>, u32)| TxInRef {
            prev_txid: part.0,
            prev_index: part.1,
            script: &part.2,
            sequence: part.3,
        };
        self.inputs.iter().map(input).collect()
    }

    pub(crate) fn outputs(&self) -> Vec<TxOutRef<'_>> {
        self.outputs.iter().map(|(value, script)| TxOutRef { value: *value, script }).collect()
    }

    pub(crate) fn to_tx(&self) -> Tx {
        Tx::from_parts(self.version, &self.inputs(), &self.outputs(), self.locktime)
    }
}

pub(crate) fn any_tx_parts() -> impl Strategy<Value = TxParts> {
    let inputs = vec((any_hash(), any::<u32>(), any_script(), any::<u32>()), 0..4);
    let outputs = vec((any::<i64>(), any_script()), 0..4);
    (any::<i32>(), inputs, outputs, any::<u32>()).prop_map(|(version, inputs, outputs, locktime)| TxParts {
        version,
        inputs,
        outputs,
        locktime,
    })
}

pub(crate) fn any_tx() -> impl Strategy<Value = Tx> {
    any_tx_parts().prop_map(|parts| parts.to_tx())
}

/// Returns a different transaction for each number.
pub(crate) fn numbered_tx(number: u32) -> Tx {
    let input = TxInRef { prev_txid: Hash256::of(&number.to_le_bytes()), prev_index: number, script: &[], sequence: 0 };
    Tx::from_parts(1, &[input], &[TxOutRef { value: i64::from(number), script: &[0x51] }], 0)
}

/// Returns a block of these transactions, with their Merkle root.
pub(crate) fn block_of(header: BlockHeader, transactions: &[Tx]) -> Block {
    let tree: MerkleFrontier = transactions.iter().map(|tx| tx.as_ref().txid()).collect();
    let merkle_root = tree.root().unwrap_or(Hash256::ZERO);
    Block::from_parts(BlockHeader { merkle_root, ..header }, transactions.iter().map(Tx::as_ref))
}

pub(crate) fn any_block() -> impl Strategy<Value = Block> {
    (any_header(), vec(any_tx(), 0..8)).prop_map(|(header, transactions)| block_of(header, &transactions))
}
