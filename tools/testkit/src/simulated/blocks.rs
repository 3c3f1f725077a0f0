//! Chains of valid blocks on regtest, and their messages.

use super::relay::{SUBMITTING, Scene};
use crate::bytes::frame;
use peerloop::Network;
use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::wire::{
    Block, BlockHeader, BlockRef, BlockTxn, CompactBlock, GetBlockTxn, Hash256, Headers, MerkleFrontier, SendCmpct, Tx,
    TxOutRef,
};
use std::io::ErrorKind;

/// A valid block.
pub struct Mined {
    pub header: BlockHeader,
    pub payload: Vec<u8>,
}

impl Mined {
    pub fn hash(&self) -> Hash256 {
        self.header.hash()
    }
}

/// Mines a block of about this length on top of another one.
fn mine(parent: &BlockHeader, len_bytes: usize, salt: u32) -> Mined {
    let script = vec![0x51; (len_bytes / 1_000).max(20)];
    let count = (len_bytes / (script.len() + 40)).max(1) as u32;
    let tx = |number| Tx::from_parts(1, &[], &[TxOutRef { value: 1, script: &script }], number);
    let txs: Vec<Tx> = (0..count).map(|number| tx(salt << 16 | number)).collect();
    mine_with(parent, &txs)
}

/// Mines a block with these transactions on top of another one.
pub fn mine_with(parent: &BlockHeader, txs: &[Tx]) -> Mined {
    let tree: MerkleFrontier = txs.iter().map(|tx| tx.as_ref().txid()).collect();
    let merkle_root = tree.root().expect("a block has transactions");
    let mut header =
        BlockHeader { prev_hash: parent.hash(), merkle_root, time: parent.time + 600, nonce: 0, ..*parent };
    while header.check_proof_of_work(Network::Regtest).is_err() {
        header.nonce += 1;
    }
    let mut payload = Vec::new();
    Block::from_parts(header, txs.iter().map(Tx::as_ref)).as_ref().encode(&mut payload);
    Mined { header, payload }
}

/// Mines a block of each of these lengths, one on top of the other, on the genesis block.
pub fn chain(lens: &[usize]) -> Vec<Mined> {
    let mut blocks: Vec<Mined> = Vec::new();
    for (salt, &len_bytes) in (1..).zip(lens) {
        let parent = blocks.last().map_or_else(|| BlockHeader::genesis_of(Network::Regtest), |block| block.header);
        blocks.push(mine(&parent, len_bytes, salt));
    }
    blocks
}

/// Returns the payload of a `headers` with these blocks.
pub fn headers(blocks: &[Mined]) -> Vec<u8> {
    let mut payload = Vec::new();
    Headers::from_headers(blocks.iter().map(|block| block.header)).as_ref().encode(&mut payload);
    payload
}

/// Returns the payload of an `inv`, a `getdata` or a `notfound` with one block.
pub fn block_item(hash: Hash256) -> Vec<u8> {
    [&[1, 2, 0, 0, 0][..], hash.as_bytes()].concat()
}

pub fn get_block(hash: Hash256) -> Vec<u8> {
    frame("getdata", &block_item(hash))
}

/// Sends a part of the rest of a message on the submitting link, as much as the relay reads.
pub fn offer(scene: &mut Scene, rest: &mut Vec<u8>) {
    let part = &rest[..rest.len().min(8_000)];
    match scene.upstream.net.write(LinkId::from_u64(SUBMITTING), part) {
        Ok(written) => drop(rest.drain(..written)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
    scene.settle();
}

/// Returns the payload of a `cmpctblock` with a block, whose first transaction is prefilled.
pub fn compact(block: &Mined, nonce: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    let txs = transactions(block);
    let compact = CompactBlock::from_transactions(block.header, nonce, txs.iter().map(Tx::as_ref), |index| index == 0);
    compact.as_ref().encode(&mut payload);
    payload
}

/// Returns the transactions of a block.
pub fn transactions(block: &Mined) -> Vec<Tx> {
    let txs = BlockRef::decode(&block.payload).expect("the block is valid").transactions;
    txs.iter().map(|tx| tx.expect("the block is valid").into_owned()).collect()
}

/// Returns a `sendcmpct`.
pub fn sendcmpct(announce: bool) -> Vec<u8> {
    frame("sendcmpct", &sendcmpct_payload(announce))
}

pub fn sendcmpct_payload(announce: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    SendCmpct { announce, version: SendCmpct::VERSION }.encode(&mut payload);
    payload
}

/// Returns the payload of a `getdata` with one compact block.
pub fn compact_item(hash: Hash256) -> Vec<u8> {
    [&[1, 4, 0, 0, 0][..], hash.as_bytes()].concat()
}

/// Returns the payload of a `getblocktxn`.
pub fn getblocktxn(hash: Hash256, indexes: &[u32]) -> Vec<u8> {
    let mut payload = Vec::new();
    GetBlockTxn::from_indexes(hash, indexes.iter().copied()).as_ref().encode(&mut payload);
    payload
}

/// Returns the payload of a `blocktxn` with these transactions of a block.
pub fn blocktxn(block: &Mined, indexes: &[u32]) -> Vec<u8> {
    let (mut payload, txs) = (Vec::new(), transactions(block));
    let asked = indexes.iter().map(|&index| txs[index as usize].as_ref());
    BlockTxn::from_transactions(block.hash(), asked).as_ref().encode(&mut payload);
    payload
}
