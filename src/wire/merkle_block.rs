//! `merkleblock`: a header and a partial Merkle tree, which proves that the matched transactions are in the block.
//!
//! The nodes are encoded depth-first, the first child before the second, with one bit each. The bit is set for a
//! matched leaf or a node above one, and clear for any other node, whose children are omitted. Each leaf, and each
//! node with a clear bit, also has a hash. The cost of [`MerkleBlockRef::matches`] is proportional to the number of
//! bits.

use super::codec::{Reader, put_items, put_var_bytes};
use super::hash::Hash256;
use super::headers::BlockHeader;
use super::merkle::{parent, parents};
use crate::error::WireError;
use crate::protocol::CommandName;

/// A borrowed `merkleblock` message (SV Node 1.2.2, merkleblock.h CMerkleBlock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MerkleBlockRef<'a> {
    /// The header.
    pub header: BlockHeader,
    /// The number of transactions in the block, as claimed.
    pub tx_count: u32,
    hashes: &'a [[u8; Hash256::LEN_BYTES]],
    flags: &'a [u8],
}

/// An owned `merkleblock` message.
///
/// ```
/// use peerloop::wire::{BlockHeader, Hash256, MerkleBlock, MerkleBlockRef, MerkleFrontier, MerkleMatch};
///
/// let txids = [1, 2, 3].map(|byte| Hash256::from_bytes([byte; 32]));
/// let merkle_root = MerkleFrontier::from_iter(txids).root().expect("the tree has leaf hashes");
/// let header = BlockHeader { merkle_root, ..BlockHeader::decode(&[0; 80]) };
/// let mut payload = Vec::new();
/// MerkleBlock::from_txids(header, &txids, |index| index == 1).as_ref().encode(&mut payload);
///
/// let received = MerkleBlockRef::decode(&payload)?;
/// assert_eq!((received.hashes().len(), received.flags()), (3, &[0b01011][..]));
/// assert_eq!(received.matches(), Some(vec![MerkleMatch { index: 1, txid: txids[1] }]));
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleBlock {
    header: BlockHeader,
    tx_count: u32,
    hashes: Box<[[u8; Hash256::LEN_BYTES]]>,
    flags: Box<[u8]>,
}

/// A matched transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MerkleMatch {
    /// The position in the block.
    pub index: u32,
    /// The id.
    pub txid: Hash256,
}

impl<'a> MerkleBlockRef<'a> {
    /// Reads the payload of a `merkleblock`; [`MerkleBlockRef::matches`] checks the tree.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside a field or is too short for its item counts,
    /// [`WireError::NonCanonicalSize`] or [`WireError::OverlongSize`] if a count is invalid.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::MERKLEBLOCK, payload);
        Ok(Self {
            header: BlockHeader::read(&mut reader)?,
            tx_count: reader.u32()?,
            hashes: reader.items()?,
            flags: reader.var_bytes(usize::MAX)?,
        })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header.encode());
        out.extend_from_slice(&self.tx_count.to_le_bytes());
        put_items(self.hashes, out);
        put_var_bytes(self.flags, usize::MAX, out);
    }

    /// Returns the hashes in encoding order.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = Hash256> + use<'a> {
        self.hashes.iter().map(|hash| Hash256::from_bytes(*hash))
    }

    /// Returns the flag bits, eight to a byte, the lowest first.
    pub const fn flags(&self) -> &'a [u8] {
        self.flags
    }

    /// Returns the matched transactions in block order, or `None` if the tree is malformed or its root is not the
    /// header's (SV Node 1.2.2, merkleblock.cpp ExtractMatches). Each match uses 36 bytes. There are at most as many
    /// matches as hashes in the message, and the call computes at most 32 hashes for each hash in the message.
    pub fn matches(&self) -> Option<Vec<MerkleMatch>> {
        let is_plausible = self.tx_count > 0
            && self.hashes.len() <= self.tx_count as usize
            && self.hashes.len() <= self.flags.len().saturating_mul(8);
        let mut walk = Walk {
            tx_count: u64::from(is_plausible.then_some(self.tx_count)?),
            hashes: self.hashes.iter(),
            flags: self.flags,
            flags_used: 0,
            matches: Vec::new(),
        };
        let root = walk.node(height(u64::from(self.tx_count)), 0)?;
        let all_used = walk.hashes.len() == 0 && walk.flags_used.div_ceil(8) == self.flags.len();
        (all_used && root == self.header.merkle_root).then_some(walk.matches)
    }

    /// Returns the owned message, with a copy of the tree.
    pub fn into_owned(self) -> MerkleBlock {
        let Self { header, tx_count, hashes, flags } = self;
        MerkleBlock { header, tx_count, hashes: hashes.into(), flags: flags.into() }
    }
}

impl MerkleBlock {
    /// Returns the message for a block with these transactions. `is_match` selects the matches by their positions.
    /// Without transactions the tree is empty, and [`MerkleBlockRef::matches`] returns `None`.
    ///
    /// # Panics
    ///
    /// If there are 2^32 transactions or more.
    pub fn from_txids(header: BlockHeader, txids: &[Hash256], is_match: impl FnMut(usize) -> bool) -> Self {
        let tx_count = u32::try_from(txids.len()).expect("a block has fewer than 2^32 transactions");
        let mut levels = vec![(txids.to_vec(), (0..txids.len()).map(is_match).collect::<Vec<bool>>())];
        while let Some((hashes, leads)) = levels.last().filter(|(hashes, _)| hashes.len() > 1) {
            levels.push((parents(hashes), leads.chunks(2).map(|pair| pair.contains(&true)).collect()));
        }
        let mut tree = Tree { levels: &levels, hashes: Vec::new(), bits: Vec::new() };
        if !txids.is_empty() {
            tree.write(levels.len() - 1, 0);
        }
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        let flags = tree.bits.chunks(8).map(byte).collect();
        Self { header, tx_count, hashes: tree.hashes.into(), flags }
    }

    /// Borrows the message.
    pub fn as_ref(&self) -> MerkleBlockRef<'_> {
        MerkleBlockRef { header: self.header, tx_count: self.tx_count, hashes: &self.hashes, flags: &self.flags }
    }
}

/// A walk over a partial tree. Every step consumes a bit, and the depth is at most 32 levels.
struct Walk<'a> {
    tx_count: u64,
    hashes: std::slice::Iter<'a, [u8; Hash256::LEN_BYTES]>,
    flags: &'a [u8],
    flags_used: usize,
    matches: Vec<MerkleMatch>,
}

impl Walk<'_> {
    /// Returns the hash of the node at `index` on the level `height`, or `None` if the tree is malformed.
    fn node(&mut self, height: u32, index: u64) -> Option<Hash256> {
        let leads_to_match = self.flags.get(self.flags_used / 8)? >> (self.flags_used % 8) & 1 == 1;
        self.flags_used += 1;
        if height == 0 || !leads_to_match {
            let hash = Hash256::from_bytes(*self.hashes.next()?);
            if leads_to_match {
                self.matches.push(MerkleMatch { index: u32::try_from(index).ok()?, txid: hash });
            }
            return Some(hash);
        }
        let left = self.node(height - 1, 2 * index)?;
        if 2 * index + 1 >= width(self.tx_count, height - 1) {
            return Some(parent(left, left));
        }
        let right = self.node(height - 1, 2 * index + 1)?;
        // Equal siblings would let one transaction count as two (CVE-2012-2459).
        (left != right).then(|| parent(left, right))
    }
}

/// A whole tree, from its leaf level upwards, and the hashes and bits written so far.
struct Tree<'a> {
    levels: &'a [(Vec<Hash256>, Vec<bool>)],
    hashes: Vec<[u8; Hash256::LEN_BYTES]>,
    bits: Vec<bool>,
}

impl Tree<'_> {
    fn write(&mut self, height: usize, index: usize) {
        let (hashes, leads) = &self.levels[height];
        self.bits.push(leads[index]);
        if height == 0 || !leads[index] {
            self.hashes.push(hashes[index].to_bytes());
            return;
        }
        self.write(height - 1, 2 * index);
        if 2 * index + 1 < self.levels[height - 1].0.len() {
            self.write(height - 1, 2 * index + 1);
        }
    }
}

/// Returns the number of nodes on a level of a tree over `tx_count` transactions.
const fn width(tx_count: u64, height: u32) -> u64 {
    tx_count.div_ceil(1 << height)
}

/// Returns the root's level in a tree over `tx_count` transactions.
fn height(tx_count: u64) -> u32 {
    (0..=32).find(|&height| width(tx_count, height) <= 1).expect("2^32 leaves have 32 levels above them")
}
