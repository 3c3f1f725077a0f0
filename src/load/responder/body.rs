//! The transactions of a block, of any total length, in constant memory.
//!
//! All blocks of a responder have the same transactions: a coinbase, and then three transactions over and over. Readers
//! accept the Merkle tree, because no two neighbours in it are equal. The transactions spend nothing that exists, and
//! repeating them is against the rules of consensus, so a node that validates rejects the block.

use crate::limits::{MIN_RESPONDER_TX_BYTES, RESPONDER_BLOCK_TXS, RESPONDER_TEMPLATE_BYTES, RESPONDER_TX_BYTES};
use crate::wire::codec::put_compact_size;
use crate::wire::{BlockHeader, Hash256, MerkleFrontier, Tx, TxInRef, TxOutRef};
use bytes::Bytes;
use std::iter::once;

/// Number of different transactions besides the coinbase. It is odd, so that no two subtrees of the Merkle tree that
/// are siblings have the same transactions.
const KINDS: u8 = 3;

/// The payload of a `block` after its header.
#[derive(Debug)]
pub(super) struct Body {
    /// The number of transactions, and the coinbase.
    head: Bytes,
    /// The other transactions, several times in turn.
    template: Bytes,
    len_bytes: u64,
    merkle_root: Hash256,
}

impl Body {
    /// Builds the transactions of a block that has `block_bytes` in all. The length is in the range of
    /// [`ResponderConfig::block_bytes`](super::ResponderConfig::block_bytes).
    pub(super) fn new(block_bytes: u64) -> Self {
        let len_bytes = block_bytes - BlockHeader::LEN_BYTES as u64;
        let tx_bytes = (block_bytes / RESPONDER_BLOCK_TXS).max(RESPONDER_TX_BYTES);
        let others = other_count(len_bytes, tx_bytes);
        let coinbase_bytes = len_bytes - size_len(others + 1) - others * tx_bytes;
        let coinbase = transaction(Hash256::ZERO, coinbase_bytes as usize);
        let kinds: Vec<Tx> =
            (1..=KINDS).map(|kind| transaction(Hash256::from_bytes([kind; 32]), tx_bytes as usize)).collect();
        let txids: Vec<Hash256> = kinds.iter().map(|tx| tx.as_ref().txid()).collect();
        let leaves = once(coinbase.as_ref().txid()).chain(txids.into_iter().cycle().take(others as usize));
        let tree: MerkleFrontier = leaves.collect();
        let mut head = Vec::new();
        put_compact_size(others + 1, &mut head);
        coinbase.as_ref().encode(&mut head);
        let period: Vec<u8> = kinds.iter().flat_map(|tx| tx.as_ref().encoded()).copied().collect();
        let template = period.repeat(RESPONDER_TEMPLATE_BYTES.div_ceil(period.len()));
        let merkle_root = tree.root().expect("the tree has the coinbase");
        Self { head: head.into(), template: template.into(), len_bytes, merkle_root }
    }

    /// Returns the Merkle root over the transactions.
    pub(super) fn merkle_root(&self) -> Hash256 {
        self.merkle_root
    }

    /// Returns the length in bytes of the block with these transactions.
    pub(super) fn block_bytes(&self) -> u64 {
        BlockHeader::LEN_BYTES as u64 + self.len_bytes
    }

    /// Returns the next bytes of the block after the first `offset` ones; no bytes at the block's end. Only the
    /// block's first bytes are copied.
    pub(super) fn part(&self, header: &BlockHeader, offset: u64) -> Bytes {
        let first_bytes = (BlockHeader::LEN_BYTES + self.head.len()) as u64;
        if offset < first_bytes {
            let first = [&header.encode()[..], &self.head].concat();
            return Bytes::from(first).slice(offset as usize..);
        }
        let rest_bytes = self.block_bytes().saturating_sub(offset);
        let begin = (offset - first_bytes) % self.template.len() as u64;
        let end = (self.template.len() as u64).min(begin.saturating_add(rest_bytes));
        self.template.slice(begin as usize..end as usize)
    }
}

/// Returns the number of transactions besides the coinbase, so that the coinbase has at least its shortest length.
fn other_count(len_bytes: u64, tx_bytes: u64) -> u64 {
    let fits = |others: u64| size_len(others + 1) + others * tx_bytes + MIN_RESPONDER_TX_BYTES as u64 <= len_bytes;
    let mut others = len_bytes / tx_bytes;
    while others > 0 && !fits(others) {
        others -= 1;
    }
    others
}

/// Returns a transaction of exactly `len_bytes`, which spends an output of the transaction `prev_txid`. With a zero
/// `prev_txid` it is a coinbase.
fn transaction(prev_txid: Hash256, len_bytes: usize) -> Tx {
    /// The length without the output's script and that script's size.
    const OTHER_BYTES: usize = MIN_RESPONDER_TX_BYTES - 1;
    let rest = len_bytes - OTHER_BYTES;
    // A longer script may have a longer size, so some lengths need one or two more bytes in the input's script.
    let script_bytes = match rest {
        0..=253 => rest - 1,
        254..=255 => 252,
        256..=0x1_0002 => rest - 3,
        0x1_0003..=0x1_0004 => 0xffff,
        _ => rest - 5,
    };
    let padding_bytes = rest - script_bytes - size_len(script_bytes as u64) as usize;
    let (input_script, output_script) = (vec![0x51; 2 + padding_bytes], vec![0x6a; script_bytes]);
    let prev_index = if prev_txid == Hash256::ZERO { u32::MAX } else { 0 };
    let input = TxInRef { prev_txid, prev_index, script: &input_script, sequence: u32::MAX };
    Tx::from_parts(1, &[input], &[TxOutRef { value: 0, script: &output_script }], 0)
}

/// Returns the number of bytes of a CompactSize.
fn size_len(size: u64) -> u64 {
    match size {
        0..0xfd => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_RESPONDER_BLOCK_BYTES, MIN_RESPONDER_BLOCK_BYTES};
    use crate::protocol::Network;
    use crate::wire::{BlockRef, BlockStreamEvent, BlockStreamParser, MerkleVerdict, StreamedBlock, TxRef};

    fn header(body: &Body) -> BlockHeader {
        BlockHeader { merkle_root: body.merkle_root(), ..BlockHeader::genesis_of(Network::Regtest) }
    }

    /// Returns the whole block, read in parts that begin at arbitrary offsets.
    fn block(body: &Body, max_part_bytes: usize) -> Vec<u8> {
        let (header, mut payload) = (header(body), Vec::new());
        loop {
            let part = body.part(&header, payload.len() as u64);
            if part.is_empty() {
                return payload;
            }
            payload.extend_from_slice(&part[..part.len().min(max_part_bytes)]);
        }
    }

    /// Parses the block without holding it.
    fn streamed(body: &Body) -> StreamedBlock {
        let (header, mut parser, mut offset) = (header(body), BlockStreamParser::new(), 0);
        loop {
            let part = body.part(&header, offset);
            assert!(!part.is_empty(), "the parser expects more than {offset} bytes");
            offset += part.len() as u64;
            let mut unread = &part[..];
            while let Some(event) = parser.advance(&mut unread).unwrap() {
                if let BlockStreamEvent::End(block) = event {
                    assert_eq!((offset, unread), (body.block_bytes(), &[][..]));
                    return block;
                }
            }
        }
    }

    #[test]
    fn a_transaction_has_exactly_the_requested_length() {
        let lengths = (62..700).chain(65_500..65_700).chain([1_000_000]);
        for len_bytes in lengths {
            for prev_txid in [Hash256::ZERO, Hash256::from_bytes([1; 32])] {
                let tx = transaction(prev_txid, len_bytes);
                let read = TxRef::decode(tx.as_ref().encoded()).unwrap();
                assert_eq!((read.encoded().len(), read.is_coinbase()), (len_bytes, prev_txid == Hash256::ZERO));
                let script = read.inputs().next().unwrap().script;
                assert!(
                    (2..=100).contains(&script.len()),
                    "the script of a coinbase's input has {} bytes",
                    script.len()
                );
            }
        }
    }

    #[test]
    fn a_block_has_exactly_the_requested_length_and_a_valid_merkle_root() {
        let small = MIN_RESPONDER_BLOCK_BYTES..MIN_RESPONDER_BLOCK_BYTES + 1_200;
        let around_sizes = [65_500..65_700, 66_040..66_080].into_iter().flatten();
        for len in small.chain(around_sizes).chain([1 << 20, 17_000_003]) {
            let body = Body::new(len);
            let payload = block(&body, usize::MAX);
            assert_eq!((payload.len() as u64, body.block_bytes()), (len, len));
            let block = BlockRef::decode(&payload).unwrap();
            let tree = block.merkle_tree().unwrap();
            assert_eq!(tree.verdict(block.header.merkle_root), MerkleVerdict::Valid, "{len}");
            assert!(block.transactions.iter().next().unwrap().unwrap().is_coinbase());
            assert_eq!(tree.leaf_count(), block.transactions.len() as u64);
        }
    }

    #[test]
    fn a_block_is_the_same_however_it_is_read() {
        let body = Body::new(900_001);
        let whole = block(&body, usize::MAX);
        for max_part_bytes in [1_000, 4_097, 262_143] {
            assert!(block(&body, max_part_bytes) == whole, "{max_part_bytes}");
        }
        assert!(block(&Body::new(901), 1) == block(&Body::new(901), usize::MAX));
    }

    #[test]
    fn a_long_block_has_a_valid_merkle_root_and_needs_little_memory() {
        let body = Body::new(100_000_007);
        let block = streamed(&body);
        assert_eq!((block.verdict, block.len_bytes), (MerkleVerdict::Valid, 100_000_007));
        assert!(body.template.len() < 2 * RESPONDER_TEMPLATE_BYTES, "{}", body.template.len());
    }

    #[test]
    fn the_longest_block_is_built_in_a_few_megabytes() {
        let body = Body::new(MAX_RESPONDER_BLOCK_BYTES);
        assert!(body.head.len() + body.template.len() <= 5 << 20, "{} {}", body.head.len(), body.template.len());
        let header = header(&body);
        let last = body.part(&header, MAX_RESPONDER_BLOCK_BYTES - 1);
        assert_eq!((last.len(), body.part(&header, MAX_RESPONDER_BLOCK_BYTES).len()), (1, 0));
        // The last transaction ends at the end of the block.
        assert_eq!(last[0], 0);
    }
}
