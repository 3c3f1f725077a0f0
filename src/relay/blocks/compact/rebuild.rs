//! Rebuilding a block from its compact form and transactions that are already here.
//!
//! A [`Rebuild`] indexes the short ids, and then collects the transactions: those that are in the compact block, those
//! of the pool by their short ids, and those that were requested. An [`Assembly`] then concatenates them, and is right
//! only if their Merkle root is the header's and no transaction is repeated. Two pool transactions with one short id
//! count as missing. Nothing here sends or knows a peer, and each step does a limited amount of work.

use crate::bugs::canary;
use crate::limits::{RELAY_REBUILT_BYTES, RELAY_REBUILT_TXS};
use crate::protocol::CommandName;
use crate::relay::index::Index;
use crate::relay::offsets::TxOffsets;
use crate::wire::codec::put_compact_size;
use crate::wire::compact::{SHORT_ID_BYTES, ShortIds};
use crate::wire::header::finish_checksum;
use crate::wire::siphash::SipKey;
use crate::wire::{BlockHeader, CompactBlockRef, Hash256, Header, MerkleFrontier, MerkleVerdict};
use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use std::iter::Peekable;
use std::vec::IntoIter;

/// Maximum length of the number of transactions.
const MAX_COUNT_BYTES: usize = 9;

/// The work of one leaf of the Merkle tree, in bytes of hashing.
const LEAF_BYTES: usize = 192;

/// The work of one short id that is indexed, in bytes of hashing.
const ID_BYTES: usize = 64;

/// The transactions of a block, as far as they were found.
#[derive(Debug)]
pub(super) struct Rebuild {
    header: BlockHeader,
    key: ShortIds,
    /// The key of the index, which nobody else knows.
    index_key: SipKey,
    /// The transactions that have a short id, by it.
    index: Index,
    ids: Vec<[u8; SHORT_ID_BYTES]>,
    txs: Vec<Slot>,
    /// The number of transactions, of which the first ones are in `txs`.
    count: usize,
    missing: usize,
    /// The length of the block's payload, as far as it is known.
    len_bytes: usize,
    /// The positions of the transactions that were requested.
    fetched: Vec<u32>,
    /// The short ids in the message that are not indexed yet.
    short_ids: Bytes,
    /// The transactions in the message that are not indexed yet, each with its position.
    prefilled: Peekable<IntoIter<(u32, Bytes)>>,
}

/// A transaction of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Missing,
    /// Several transactions of the pool have its short id.
    Ambiguous,
    Found {
        txid: Hash256,
        body: Bytes,
    },
}

/// The result of a step of the indexing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexed {
    /// More remains to be done.
    Part,
    All,
    /// Two transactions have the same short id.
    Repeated,
}

impl Rebuild {
    /// Begins to rebuild a compact block whose bytes are in `payload`. Returns `None` if it has too many transactions.
    pub(super) fn new(block: &CompactBlockRef<'_>, payload: &Bytes, index_key: SipKey) -> Option<Self> {
        let count = block.tx_count();
        if count > RELAY_REBUILT_TXS {
            return None;
        }
        let prefilled = block.prefilled().map(|tx| (tx.index, payload.slice_ref(tx.tx.encoded())));
        Some(Self {
            header: block.header,
            key: block.short_id_key(),
            index_key,
            index: Index::new(count),
            ids: Vec::with_capacity(count),
            txs: Vec::with_capacity(count),
            count,
            missing: count,
            len_bytes: BlockHeader::LEN_BYTES + MAX_COUNT_BYTES,
            fetched: Vec::new(),
            short_ids: payload.slice_ref(block.short_ids.as_flattened()),
            prefilled: prefilled.collect::<Vec<_>>().into_iter().peekable(),
        })
    }

    /// Continues to index the transactions, until about as much is done as it costs to hash `budget` bytes.
    pub(super) fn index(&mut self, budget: usize) -> Indexed {
        let mut done = 0;
        while self.txs.len() < self.count {
            if done >= budget {
                return Indexed::Part;
            }
            let position = self.txs.len();
            self.txs.push(Slot::Missing);
            if let Some((_, body)) = self.prefilled.next_if(|&(at, _)| at as usize == position) {
                done += body.len() + LEAF_BYTES;
                self.ids.push([0; SHORT_ID_BYTES]);
                self.set(position, Hash256::of(&body), body);
                continue;
            }
            done += ID_BYTES;
            // A message has a short id for each transaction that is not prefilled.
            let Some(&id) = self.short_ids.first_chunk() else { return Indexed::Repeated };
            if self.position(id).is_some() {
                return Indexed::Repeated;
            }
            self.short_ids.advance(SHORT_ID_BYTES);
            self.ids.push(id);
            self.index.insert(self.index_key.hash(&id), position as u32);
        }
        Indexed::All
    }

    /// Uses a transaction of the pool if the block names its short id.
    pub(super) fn offer(&mut self, txid: Hash256, offered: impl FnOnce() -> Bytes) {
        let Some(position) = self.position(self.key.short_id(txid)) else { return };
        match &self.txs[position] {
            Slot::Missing => self.set(position, txid, offered()),
            Slot::Found { txid: known, body } if *known != txid => {
                self.len_bytes -= body.len();
                self.txs[position] = Slot::Ambiguous;
                self.missing += 1;
            }
            Slot::Found { .. } | Slot::Ambiguous => {}
        }
    }

    /// Uses a transaction that was requested.
    pub(super) fn fill(&mut self, position: u32, txid: Hash256, body: Bytes) {
        if !matches!(self.txs.get(position as usize), Some(Slot::Missing | Slot::Ambiguous)) {
            return;
        }
        self.fetched.push(position);
        self.set(position as usize, txid, body);
    }

    fn set(&mut self, position: usize, txid: Hash256, body: Bytes) {
        self.len_bytes += body.len();
        self.txs[position] = Slot::Found { txid, body };
        self.missing -= 1;
    }

    fn position(&self, id: [u8; SHORT_ID_BYTES]) -> Option<usize> {
        let found = self.index.find(self.index_key.hash(&id), |position| self.ids[position as usize] == id);
        found.map(|position| position as usize)
    }

    /// Returns the number of transactions.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Returns the number of missing transactions.
    pub(super) fn missing_len(&self) -> usize {
        self.missing
    }

    /// Lists the positions of the missing transactions.
    pub(super) fn missing(&self) -> impl Iterator<Item = u32> {
        let is_missing = |slot: &Slot| !matches!(slot, Slot::Found { .. });
        (0..).zip(&self.txs).filter(move |(_, slot)| is_missing(slot)).map(|(position, _)| position)
    }

    /// Lists the transactions that were requested, each with its position.
    pub(super) fn fetched(&self) -> impl Iterator<Item = (u32, &Bytes)> {
        self.fetched.iter().filter_map(|&position| match &self.txs[position as usize] {
            Slot::Found { body, .. } => Some((position, body)),
            Slot::Missing | Slot::Ambiguous => None,
        })
    }

    /// Returns whether the block is too long to be rebuilt.
    pub(super) fn is_too_long(&self) -> bool {
        self.len_bytes > RELAY_REBUILT_BYTES
    }
}

/// A block that is being concatenated.
#[derive(Debug)]
pub(super) struct Assembly {
    payload: Vec<u8>,
    /// The hash of the payload, for the checksum of the message.
    hasher: Sha256,
    tree: MerkleFrontier,
    offsets: TxOffsets,
    next: usize,
}

/// A block that is complete and right.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) header: Header,
    pub(super) payload: Bytes,
    pub(super) offsets: TxOffsets,
}

/// The result of a step of an assembly.
#[derive(Debug)]
pub(super) enum Assembled {
    /// More remains to be done.
    Part,
    Whole(Built),
    /// The transactions are not those of the block, or one is repeated.
    Wrong,
}

impl Assembly {
    /// Begins to concatenate a block. Returns `None` if it is too long, or if a transaction is missing.
    pub(super) fn new(rebuild: &Rebuild) -> Option<Self> {
        if rebuild.missing > 0 || rebuild.is_too_long() {
            return None;
        }
        let len_bytes = rebuild.len_bytes;
        let mut payload = Vec::with_capacity(len_bytes);
        payload.extend_from_slice(&rebuild.header.encode());
        put_compact_size(rebuild.txs.len() as u64, &mut payload);
        let offsets = TxOffsets::of_block(len_bytes as u64, rebuild.txs.len() as u64);
        let hasher = Sha256::new_with_prefix(&payload);
        Some(Self { payload, hasher, tree: MerkleFrontier::new(), offsets, next: 0 })
    }

    /// Continues until about `budget` bytes are hashed.
    pub(super) fn advance(&mut self, rebuild: &Rebuild, budget: usize) -> Assembled {
        let mut done = 0;
        while let Some(slot) = rebuild.txs.get(self.next) {
            if done >= budget {
                return Assembled::Part;
            }
            let Slot::Found { txid, body } = slot else { return Assembled::Wrong };
            self.tree.push(*txid);
            self.offsets.push(body.len() as u64);
            self.payload.extend_from_slice(body);
            self.hasher.update(body);
            self.next += 1;
            done += body.len() + LEAF_BYTES;
        }
        match self.tree.verdict(rebuild.header.merkle_root) {
            MerkleVerdict::Valid => {}
            MerkleVerdict::Mismatch if canary!(WrongBlockRebuilt) => {}
            MerkleVerdict::Mismatch | MerkleVerdict::Mutated => return Assembled::Wrong,
        }
        let payload = Bytes::from(std::mem::take(&mut self.payload));
        let checksum = Some(finish_checksum(std::mem::take(&mut self.hasher)));
        let header = Header { command: CommandName::BLOCK, payload_len: payload.len() as u64, checksum };
        Assembled::Whole(Built { header, payload, offsets: std::mem::take(&mut self.offsets) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Block, BlockRef, CompactBlock, Tx, TxOutRef};
    use proptest::prelude::*;

    const KEY: SipKey = SipKey { k0: 1, k1: 2 };

    fn tx(number: u32, len_bytes: usize) -> Tx {
        Tx::from_parts(1, &[], &[TxOutRef { value: 1, script: &vec![0x51; len_bytes] }], number)
    }

    /// Returns a block's header with the right Merkle root.
    fn header_of(txs: &[Tx]) -> BlockHeader {
        let tree: MerkleFrontier = txs.iter().map(|tx| tx.as_ref().txid()).collect();
        BlockHeader { merkle_root: tree.root().unwrap(), bits: 1, ..BlockHeader::decode(&[0; 80]) }
    }

    fn compact(header: BlockHeader, txs: &[Tx], prefilled: &[u32]) -> Bytes {
        let txs = txs.iter().map(Tx::as_ref);
        let block = CompactBlock::from_transactions(header, 9, txs, |index| prefilled.contains(&index));
        let mut payload = Vec::new();
        block.as_ref().encode(&mut payload);
        payload.into()
    }

    fn from_hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn new(payload: &Bytes) -> Option<Rebuild> {
        Rebuild::new(&CompactBlockRef::decode(payload).unwrap(), payload, KEY)
    }

    /// Indexes in steps of this budget. Returns the end, and the number of steps before it.
    fn index(rebuild: &mut Rebuild, budget: usize) -> (Indexed, usize) {
        let mut steps = std::iter::repeat_with(|| rebuild.index(budget)).enumerate();
        let (parts, end) = steps.find(|&(_, indexed)| indexed != Indexed::Part).expect("the steps have an end");
        (end, parts)
    }

    fn begin(payload: &Bytes) -> Option<Rebuild> {
        let mut rebuild = new(payload)?;
        (index(&mut rebuild, 1) == (Indexed::All, rebuild.len() - 1)).then_some(rebuild)
    }

    fn offer(rebuild: &mut Rebuild, tx: &Tx) {
        rebuild.offer(tx.as_ref().txid(), || Bytes::copy_from_slice(tx.as_ref().encoded()));
    }

    /// Assembles a block in steps of this budget.
    fn assemble(rebuild: &Rebuild, budget: usize) -> Assembled {
        let mut assembly = Assembly::new(rebuild).expect("nothing is missing");
        loop {
            match assembly.advance(rebuild, budget) {
                Assembled::Part => {}
                end @ (Assembled::Whole(_) | Assembled::Wrong) => return end,
            }
        }
    }

    fn encoded(header: BlockHeader, txs: &[Tx]) -> Vec<u8> {
        let mut payload = Vec::new();
        Block::from_parts(header, txs.iter().map(Tx::as_ref)).as_ref().encode(&mut payload);
        payload
    }

    #[test]
    fn a_recorded_block_of_a_node_has_its_short_ids() {
        // The message of SV Node 1.0.13 and the ids of its transactions, in the order of the block.
        let payload = Bytes::from(from_hex(concat!(
            "00000020da2e31ca183a6014b88ac04121ca547bb18c69d9583b1a9da31b4497e7c00373f629d5185d1c01e97cb0f1f20061",
            "e9336a2ef64531cdce79da637ce81fc6ff34039b026bffff7f200000000070c84a2de0255f0e049c882421cd9ce792799a24",
            "1a112f411b7dbce4cecfdb4aad01000200000001000000000000000000000000000000000000000000000000000000000000",
            "0000ffffffff04016e0101ffffffff01a038062a010000001976a91483e295d4816a6c024e44576fdc590c231024c84588ac",
            "00000000"
        )));
        let txids = [
            "0dc5fa03358168387936de8f6ea43ab8c071816d0e28a5fa4632c601f32b5408",
            "3aefd757c9f072289cda8e311c420e0f9c55f9cbd974d5f74556d9aaa779fcd8",
            "01afd336cdc26c5e74794252031f0a4ee663e3897cd34a66697fac2855037093",
            "fee2aabda08743ca63262a0e56d8af84efc9618aa2d58e3e042249713e74531f",
        ];
        let mut rebuild = begin(&payload).unwrap();
        assert_eq!(rebuild.missing().collect::<Vec<_>>(), [1, 2, 3, 4]);
        for (found, txid) in (1..).zip(txids) {
            rebuild.offer(txid.parse().unwrap(), Bytes::new);
            assert_eq!(rebuild.missing_len(), 4 - found);
        }
    }

    #[test]
    fn two_transactions_with_one_short_id_count_as_missing() {
        let txs = [tx(1, 5), tx(2, 6), tx(3, 7)];
        let payload = compact(header_of(&txs), &txs, &[0]);
        let mut rebuild = begin(&payload).unwrap();
        offer(&mut rebuild, &txs[1]);
        offer(&mut rebuild, &txs[1]);
        assert_eq!(rebuild.missing().collect::<Vec<_>>(), [2]);
        // A different transaction whose short id is the same one.
        let other = tx(9, 9).as_ref().txid();
        rebuild.index.remove(KEY.hash(&rebuild.ids[1]), 1);
        rebuild.ids[1] = rebuild.key.short_id(other);
        rebuild.index.insert(KEY.hash(&rebuild.ids[1]), 1);
        rebuild.offer(other, Bytes::new);
        offer(&mut rebuild, &txs[2]);
        assert_eq!(rebuild.missing().collect::<Vec<_>>(), [1]);
        rebuild.fill(1, txs[1].as_ref().txid(), Bytes::copy_from_slice(txs[1].as_ref().encoded()));
        assert_eq!(rebuild.fetched().map(|(position, _)| position).collect::<Vec<_>>(), [1]);
        assert!(matches!(assemble(&rebuild, 1), Assembled::Whole(_)));
    }

    #[test]
    fn short_ids_are_indexed_as_far_as_one_turn_allows() {
        let txs: Vec<Tx> = (0..100).map(|number| tx(number, 5)).collect();
        let mut rebuild = new(&compact(header_of(&txs), &txs, &[])).unwrap();
        assert_eq!(index(&mut rebuild, 10 * ID_BYTES), (Indexed::All, 9));
        // A transaction costs its hash.
        let long = [tx(1, 200), tx(2, 200), tx(3, 5), tx(4, 5)];
        let mut rebuild = new(&compact(header_of(&long), &long, &[0, 1])).unwrap();
        let one = long[0].as_ref().encoded().len() + LEAF_BYTES;
        assert_eq!(index(&mut rebuild, one + 1), (Indexed::All, 1));
        assert_eq!(rebuild.missing().collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_compact_block_with_a_repeated_short_id_or_too_many_transactions_is_not_rebuilt() {
        let (one, other) = (tx(1, 5), tx(2, 5));
        let repeated = [one.clone(), other.clone(), other];
        let mut rebuild = new(&compact(header_of(&repeated), &repeated, &[0])).unwrap();
        assert_eq!(index(&mut rebuild, usize::MAX), (Indexed::Repeated, 0));
        let many = vec![one; RELAY_REBUILT_TXS + 1];
        let mut payload = compact(header_of(&many[..1]), &many[..1], &[0])[..88].to_vec();
        put_compact_size(many.len() as u64, &mut payload);
        payload.extend((0..many.len() as u64).flat_map(|number| number.to_le_bytes()[..6].to_vec()));
        payload.push(0);
        assert!(new(&payload.into()).is_none());
    }

    #[test]
    fn a_block_with_other_or_repeated_transactions_is_wrong() {
        let txs = [tx(1, 5), tx(2, 6), tx(3, 7)];
        let other = [tx(1, 5), tx(2, 6), tx(4, 7)];
        let rebuild = begin(&compact(header_of(&txs), &other, &[0, 1, 2])).unwrap();
        assert!(matches!(assemble(&rebuild, 100), Assembled::Wrong));
        // The block with its last transaction twice has the same root.
        let twice = [tx(1, 5), tx(2, 6), tx(3, 7), tx(3, 7)];
        assert_eq!(header_of(&txs), header_of(&twice));
        let rebuild = begin(&compact(header_of(&txs), &twice, &[0, 1, 2, 3])).unwrap();
        assert!(matches!(assemble(&rebuild, 100), Assembled::Wrong));
    }

    proptest! {
        #[test]
        fn a_rebuilt_block_is_the_block(
            lens in prop::collection::vec(0..300_usize, 1..40),
            prefilled in prop::collection::btree_set(0..40_u32, 0..5),
            known in prop::collection::btree_set(0..60_u32, 0..60),
            budget in 1..3_000_usize,
        ) {
            let txs: Vec<Tx> = (0..).zip(&lens).map(|(number, &len_bytes)| tx(number, len_bytes)).collect();
            let prefilled: Vec<u32> = prefilled.into_iter().collect();
            let header = header_of(&txs);
            let payload = compact(header, &txs, &prefilled);
            let mut rebuild = begin(&payload).unwrap();
            // Some of the known transactions are in no block.
            for &number in &known {
                let len_bytes = lens.get(number as usize).copied().unwrap_or(7);
                offer(&mut rebuild, &tx(number, len_bytes));
            }
            let missing: Vec<u32> =
                (0..txs.len() as u32).filter(|index| !prefilled.contains(index) && !known.contains(index)).collect();
            prop_assert_eq!(rebuild.missing().collect::<Vec<_>>(), &missing[..]);
            prop_assert_eq!(Assembly::new(&rebuild).is_some(), missing.is_empty());
            for &index in &missing {
                let tx = &txs[index as usize];
                rebuild.fill(index, tx.as_ref().txid(), Bytes::copy_from_slice(tx.as_ref().encoded()));
            }
            let Assembled::Whole(built) = assemble(&rebuild, budget) else { panic!("the block is right") };
            let whole = encoded(header, &txs);
            prop_assert_eq!(&built.payload[..], &whole[..]);
            prop_assert_eq!(built.header, Header::of(CommandName::BLOCK, &whole));
            prop_assert_eq!(built.offsets.len(), txs.len());
            for (index, tx) in (0..).zip(BlockRef::decode(&whole).unwrap().transactions) {
                let range = built.offsets.range(index).unwrap();
                prop_assert_eq!(&whole[range.start as usize..range.end as usize], tx.unwrap().encoded());
            }
        }
    }
}
