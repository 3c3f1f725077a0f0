//! What the tests of transactions and blocks share: frames of a live node, and any transaction, header and block.

use peerloop::error::WireError;
use peerloop::wire::{Block, BlockHeader, Hash256, MerkleFrontier, Tx, TxInRef, TxOutRef};
use proptest::collection::vec;
use proptest::prelude::*;

/// A block with its coinbase alone, as a live node sent it.
pub(crate) const NODE_BLOCK: &str = "\
    dab5bffa626c6f636b00000000000000a90000002450d4f30000002035cfcc4ffa6ba080dbea9c831f9d5d1f3c3c2e4f299d\
    5a8cbbc866d849f7e76a7b63fe1740eaeee4aebb8a7a5f3cae536c92c457b7118322cc330beb169138c98199026bffff7f20\
    020000000102000000010000000000000000000000000000000000000000000000000000000000000000ffffffff03530101\
    ffffffff0100f2052a010000001976a914000000000000000000000000000000000000000088ac00000000";

/// The same block to a peer without a filter, for which every transaction matches.
pub(crate) const NODE_MERKLEBLOCK: &str = "\
    dab5bffa6d65726b6c65626c6f636b0077000000d718b23c0000002035cfcc4ffa6ba080dbea9c831f9d5d1f3c3c2e4f299d\
    5a8cbbc866d849f7e76a7b63fe1740eaeee4aebb8a7a5f3cae536c92c457b7118322cc330beb169138c98199026bffff7f20\
    0200000001000000017b63fe1740eaeee4aebb8a7a5f3cae536c92c457b7118322cc330beb169138c90101";

/// The next block, announced to a peer that said `sendhdrsen`.
pub(crate) const NODE_HDRSEN: &str = "\
    dab5bffa68647273656e000000000000f1000000f27df9a3010000002086cd0b64ebce9dcdbffed61c9010eacb12846ea4e9\
    eb4edfdc01fa462e51445f5db1647fb0a2fa984198819f824ab242b6c9d815f7fa7caa6f110f161086fad2d899026bffff7f\
    200300000001010102000000010000000000000000000000000000000000000000000000000000000000000000ffffffff04\
    016a0101ffffffff0100f2052a010000001976a914a5f735491ef2c88b975fc7c4ba16042ade8e081288ac0000000000005d\
    b1647fb0a2fa984198819f824ab242b6c9d815f7fa7caa6f110f161086fad264ac1dbc1f5ea613f133174abdb6978aa5c1cf\
    a2b77fba32bd23e2da3a3bee720000";

/// A block of five transactions in short, of which the coinbase is prefilled.
pub(crate) const NODE_CMPCTBLOCK: &str = "\
    dab5bffa636d706374626c6f636b0000cc000000b47a6ea100000020da2e31ca183a6014b88ac04121ca547bb18c69d9583b\
    1a9da31b4497e7c00373f629d5185d1c01e97cb0f1f20061e9336a2ef64531cdce79da637ce81fc6ff34039b026bffff7f20\
    0000000070c84a2de0255f0e049c882421cd9ce792799a241a112f411b7dbce4cecfdb4aad01000200000001000000000000\
    0000000000000000000000000000000000000000000000000000ffffffff04016e0101ffffffff01a038062a010000001976\
    a91483e295d4816a6c024e44576fdc590c231024c84588ac00000000";

/// The ids of the five transactions of [`NODE_CMPCTBLOCK`].
pub(crate) const COMPACT_TXIDS: [&str; 5] = [
    "5b48b130079deec6deff928b57889d08dc60bdbd126de32dadc34f720412f85b",
    "0dc5fa03358168387936de8f6ea43ab8c071816d0e28a5fa4632c601f32b5408",
    "3aefd757c9f072289cda8e311c420e0f9c55f9cbd974d5f74556d9aaa779fcd8",
    "01afd336cdc26c5e74794252031f0a4ee663e3897cd34a66697fac2855037093",
    "fee2aabda08743ca63262a0e56d8af84efc9618aa2d58e3e042249713e74531f",
];

pub(crate) fn compact_txids() -> Vec<Hash256> {
    COMPACT_TXIDS.map(|txid| txid.parse().expect("it is a hash")).to_vec()
}

/// What `encode` appends.
pub(crate) fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(&mut out);
    out.split_off(b"before".len())
}

/// Holds that no beginning of `payload` is taken for the whole.
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

/// A script whose size takes one, three or, now and then, five bytes to say.
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

/// A transaction that no other number makes.
pub(crate) fn numbered_tx(number: u32) -> Tx {
    let input = TxInRef { prev_txid: Hash256::of(&number.to_le_bytes()), prev_index: number, script: &[], sequence: 0 };
    Tx::from_parts(1, &[input], &[TxOutRef { value: i64::from(number), script: &[0x51] }], 0)
}

/// A block of these transactions, with the root that they have.
pub(crate) fn block_of(header: BlockHeader, transactions: &[Tx]) -> Block {
    let tree: MerkleFrontier = transactions.iter().map(|tx| tx.as_ref().txid()).collect();
    let merkle_root = tree.root().unwrap_or(Hash256::ZERO);
    Block::from_parts(BlockHeader { merkle_root, ..header }, transactions.iter().map(Tx::as_ref))
}

pub(crate) fn any_block() -> impl Strategy<Value = Block> {
    (any_header(), vec(any_tx(), 0..8)).prop_map(|(header, transactions)| block_of(header, &transactions))
}
