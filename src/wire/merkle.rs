//! Merkle trees: the root over a block's transactions, and the proof that a transaction is in the block.
//!
//! A [`MerkleFrontier`] accepts the transaction ids one by one and keeps at most one hash per level, 64 in total, so
//! the tree over a block of any size costs at most 2 KiB. A [`MerkleProofRef`] is a branch of such a tree in the
//! standardised format.

use super::codec::{Reader, put_compact_size, put_items};
use super::hash::Hash256;
use super::headers::BlockHeader;
use super::transaction::{Tx, TxRef};
use crate::error::WireError;
use sha2::{Digest, Sha256};

/// The right edge of a Merkle tree that grows by one leaf at a time (SV Node 1.2.2, consensus/merkle.cpp
/// ComputeMerkleRoot).
///
/// ```
/// use peerloop::wire::{Hash256, MerkleFrontier, MerkleVerdict};
///
/// let txids = [1, 2, 3].map(|byte| Hash256::from_bytes([byte; 32]));
/// let mut tree: MerkleFrontier = txids.into_iter().collect();
/// let root = tree.root().expect("the tree has leaf hashes");
/// assert_eq!((tree.leaf_count(), tree.verdict(root)), (3, MerkleVerdict::Valid));
///
/// // Repeating the third of three transactions does not change the root.
/// tree.push(txids[2]);
/// assert_eq!((tree.root(), tree.verdict(root)), (Some(root), MerkleVerdict::Mutated));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MerkleFrontier {
    leaf_count: u64,
    /// Whether two sibling nodes are equal somewhere in the tree.
    is_mutated: bool,
    /// The roots of the complete subtrees, the largest first: one for each set bit of the leaf count.
    subtrees: Vec<Hash256>,
}

/// The result of comparing a header's claimed root with the root of the transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MerkleVerdict {
    /// The root matches the tree.
    Valid,
    /// The root matches, but two sibling nodes of the tree are equal. A block without the second node's
    /// transactions may have the same root and the same hash, so one of the two blocks could be mistaken for the
    /// other (CVE-2012-2459).
    Mutated,
    /// The root does not match, or there are no transactions.
    Mismatch,
}

/// A borrowed proof that a transaction is in a block (SV Node 1.2.2, merkleproof.h MerkleProof).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MerkleProofRef<'a> {
    /// The position of the transaction in the block.
    pub index: u64,
    /// The transaction whose inclusion is proven.
    pub subject: ProofSubject<TxRef<'a>>,
    /// The block that contains the transaction, or that block's Merkle root.
    pub target: ProofTarget,
    nodes: &'a [[u8; NODE_BYTES]],
}

/// An owned proof that a transaction is in a block.
///
/// ```
/// use peerloop::wire::{BlockHeader, Hash256, MerkleFrontier, MerkleProof, ProofSubject, ProofTarget};
///
/// let txids = [1, 2, 3].map(|byte| Hash256::from_bytes([byte; 32]));
/// let merkle_root = MerkleFrontier::from_iter(txids).root().expect("the tree has leaf hashes");
/// let header = BlockHeader { merkle_root, ..BlockHeader::decode(&[0; 80]) };
///
/// let nodes = MerkleProof::branch(&txids, 2).expect("the tree has a third leaf");
/// let target = ProofTarget::BlockHash(header.hash());
/// let proof = MerkleProof::from_parts(2, ProofSubject::Txid(txids[2]), target, nodes);
/// assert_eq!(proof.as_ref().root(), merkle_root);
/// assert!(proof.as_ref().proves(&header));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleProof {
    index: u64,
    subject: ProofSubject<Tx>,
    target: ProofTarget,
    nodes: Box<[[u8; NODE_BYTES]]>,
}

/// The transaction whose inclusion is proven: the whole transaction, or its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofSubject<T> {
    /// The transaction itself.
    Tx(T),
    /// The transaction's id.
    Txid(Hash256),
}

/// The block that contains the transaction: its hash, or its Merkle root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofTarget {
    /// The hash of the block, whose header holds the root.
    BlockHash(Hash256),
    /// The root itself.
    MerkleRoot(Hash256),
}

/// The size of a node in bytes: its type, which is always 0, and a hash.
const NODE_BYTES: usize = 1 + Hash256::LEN_BYTES;

/// The used bits of a proof's first byte.
mod flag {
    pub(super) const FULL_TX: u8 = 0x01;
    pub(super) const MERKLE_ROOT: u8 = 0x04;
}

impl MerkleFrontier {
    /// Returns an empty tree.
    pub const fn new() -> Self {
        Self { leaf_count: 0, is_mutated: false, subtrees: Vec::new() }
    }

    /// Adds a leaf on the right.
    pub fn push(&mut self, txid: Hash256) {
        let mut subtree = txid;
        let mut larger = self.leaf_count;
        while larger & 1 == 1 {
            let left = self.subtrees.pop().expect("every set bit of the leaf count has a subtree");
            self.is_mutated |= left == subtree;
            subtree = parent(left, subtree);
            larger >>= 1;
        }
        self.subtrees.push(subtree);
        self.leaf_count += 1;
    }

    /// Returns the number of leaf hashes.
    pub const fn leaf_count(&self) -> u64 {
        self.leaf_count
    }

    /// Adds everything that determines the leaf hashes so far to a hash: equal additions have equal leaf hashes.
    pub(super) fn commit(&self, hasher: &mut Sha256) {
        hasher.update(self.leaf_count.to_le_bytes());
        self.subtrees.iter().for_each(|root| hasher.update(root.as_bytes()));
    }

    /// Returns the root over all leaf hashes so far, or `None` if there are none. Below the root, a level of odd
    /// length repeats its last hash.
    pub fn root(&self) -> Option<Hash256> {
        let mut subtrees = self.subtrees.iter().rev();
        let mut root = *subtrees.next()?;
        let mut level = self.leaf_count.trailing_zeros();
        let mut larger = self.leaf_count & (self.leaf_count - 1);
        for &left in subtrees {
            while level < larger.trailing_zeros() {
                root = parent(root, root);
                level += 1;
            }
            root = parent(left, root);
            level += 1;
            larger &= larger - 1;
        }
        Some(root)
    }

    /// Compares a header's claimed root with the tree's root.
    pub fn verdict(&self, claimed_root: Hash256) -> MerkleVerdict {
        match self.root() {
            Some(root) if root == claimed_root && self.is_mutated => MerkleVerdict::Mutated,
            Some(root) if root == claimed_root => MerkleVerdict::Valid,
            Some(_) | None => MerkleVerdict::Mismatch,
        }
    }
}

impl Extend<Hash256> for MerkleFrontier {
    fn extend<I: IntoIterator<Item = Hash256>>(&mut self, txids: I) {
        txids.into_iter().for_each(|txid| self.push(txid));
    }
}

impl FromIterator<Hash256> for MerkleFrontier {
    fn from_iter<I: IntoIterator<Item = Hash256>>(txids: I) -> Self {
        let mut tree = Self::new();
        tree.extend(txids);
        tree
    }
}

impl<'a> MerkleProofRef<'a> {
    /// The size in bytes of the shortest proof: flags, index, the shortest transaction after its length, a target and a
    /// node count of 0.
    pub(super) const MIN_BYTES: usize = 1 + 1 + 1 + TxRef::MIN_BYTES + 32 + 1;

    /// Reads the next proof.
    ///
    /// # Errors
    ///
    /// [`WireError::BadValue`] for an unknown flag or node type, and if the transaction's length differs from the
    /// stated length; [`WireError::Truncated`], [`WireError::NonCanonicalSize`] and [`WireError::OverlongSize`].
    #[doc(hidden)]
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let flags = reader.u8()?;
        if flags & !(flag::FULL_TX | flag::MERKLE_ROOT) != 0 {
            return Err(reader.bad_value());
        }
        let index = reader.compact_size()?;
        let subject = if flags & flag::FULL_TX == 0 {
            ProofSubject::Txid(Hash256::from_bytes(reader.array()?))
        } else {
            let len_bytes = reader.compact_size()?;
            let tx = TxRef::read(reader)?;
            if tx.encoded().len() as u64 != len_bytes {
                return Err(reader.bad_value());
            }
            ProofSubject::Tx(tx)
        };
        let target = Hash256::from_bytes(reader.array()?);
        let target = match flags & flag::MERKLE_ROOT {
            0 => ProofTarget::BlockHash(target),
            _ => ProofTarget::MerkleRoot(target),
        };
        let nodes: &[[u8; NODE_BYTES]] = reader.items()?;
        if nodes.iter().any(|node| node[0] != 0) {
            return Err(reader.bad_value());
        }
        Ok(Self { index, subject, target, nodes })
    }

    /// Appends the encoded proof to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let full_tx = match self.subject {
            ProofSubject::Tx(_) => flag::FULL_TX,
            ProofSubject::Txid(_) => 0,
        };
        let (merkle_root, target) = match self.target {
            ProofTarget::BlockHash(hash) => (0, hash),
            ProofTarget::MerkleRoot(hash) => (flag::MERKLE_ROOT, hash),
        };
        out.push(full_tx | merkle_root);
        put_compact_size(self.index, out);
        match self.subject {
            ProofSubject::Tx(tx) => {
                put_compact_size(tx.encoded().len() as u64, out);
                tx.encode(out);
            }
            ProofSubject::Txid(txid) => out.extend_from_slice(txid.as_bytes()),
        }
        out.extend_from_slice(target.as_bytes());
        put_items(self.nodes, out);
    }

    /// Returns the transaction's id. It is computed if the proof contains the whole transaction.
    pub fn txid(&self) -> Hash256 {
        match self.subject {
            ProofSubject::Tx(tx) => tx.txid(),
            ProofSubject::Txid(txid) => txid,
        }
    }

    /// Returns the sibling hashes of the branch, from the leaf upwards.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Hash256> + use<'a> {
        self.nodes.iter().map(|[_, hash @ ..]| Hash256::from_bytes(*hash))
    }

    /// Computes the Merkle root from the transaction's id and the branch's hashes.
    pub fn root(&self) -> Hash256 {
        let mut index = self.index;
        self.nodes().fold(self.txid(), |hash, node| {
            let is_right = index & 1 == 1;
            index >>= 1;
            if is_right { parent(node, hash) } else { parent(hash, node) }
        })
    }

    /// Returns whether the transaction and the branch hash to this header's root, the target matches this header, and
    /// the index is possible for a branch of this length.
    pub fn proves(&self, header: &BlockHeader) -> bool {
        let is_inside =
            u32::try_from(self.nodes.len()).map_or(true, |levels| self.index.checked_shr(levels).unwrap_or(0) == 0);
        let is_target = match self.target {
            ProofTarget::BlockHash(hash) => hash == header.hash(),
            ProofTarget::MerkleRoot(root) => root == header.merkle_root,
        };
        is_inside && is_target && self.root() == header.merkle_root
    }

    /// Returns the owned proof, with a copy of its borrowed parts.
    pub fn into_owned(self) -> MerkleProof {
        let subject = match self.subject {
            ProofSubject::Tx(tx) => ProofSubject::Tx(tx.into_owned()),
            ProofSubject::Txid(txid) => ProofSubject::Txid(txid),
        };
        MerkleProof { index: self.index, subject, target: self.target, nodes: self.nodes.into() }
    }
}

impl MerkleProof {
    /// Returns the proof with these parts; `nodes` are ordered from the leaf upwards.
    pub fn from_parts(
        index: u64,
        subject: ProofSubject<Tx>,
        target: ProofTarget,
        nodes: impl IntoIterator<Item = Hash256>,
    ) -> Self {
        let node = |hash: Hash256| {
            let mut node = [0; NODE_BYTES];
            node[1..].copy_from_slice(hash.as_bytes());
            node
        };
        Self { index, subject, target, nodes: nodes.into_iter().map(node).collect() }
    }

    /// Returns the nodes that [`MerkleProof::from_parts`] needs for the leaf at `index` of a tree, or `None` if there
    /// is no such leaf.
    pub fn branch(txids: &[Hash256], index: usize) -> Option<Vec<Hash256>> {
        let (mut level, mut at) = (txids.get(index).map(|_| txids.to_vec())?, index);
        let mut branch = Vec::new();
        while level.len() > 1 {
            branch.push(*level.get(at ^ 1).unwrap_or(&level[at]));
            level = parents(&level);
            at /= 2;
        }
        Some(branch)
    }

    /// Borrows the proof.
    pub fn as_ref(&self) -> MerkleProofRef<'_> {
        let subject = match &self.subject {
            ProofSubject::Tx(tx) => ProofSubject::Tx(tx.as_ref()),
            ProofSubject::Txid(txid) => ProofSubject::Txid(*txid),
        };
        MerkleProofRef { index: self.index, subject, target: self.target, nodes: &self.nodes }
    }
}

/// Returns the hash of two siblings' parent.
pub(super) fn parent(left: Hash256, right: Hash256) -> Hash256 {
    let mut pair = [0; 2 * Hash256::LEN_BYTES];
    pair[..Hash256::LEN_BYTES].copy_from_slice(left.as_bytes());
    pair[Hash256::LEN_BYTES..].copy_from_slice(right.as_bytes());
    Hash256::of(&pair)
}

/// Returns the next higher level. In a level of odd length, the last hash is its own sibling.
pub(super) fn parents(level: &[Hash256]) -> Vec<Hash256> {
    level.chunks(2).map(|pair| parent(pair[0], *pair.last().expect("a chunk is not empty"))).collect()
}
