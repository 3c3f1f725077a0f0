//! Block headers: the 80 bytes that name a block.
//!
//! A header is read as it is; whether its work and its links are right is for others to check.

use super::hash::Hash256;

/// A block header, 80 bytes on the wire (SV Node 1.2.2, primitives/block.h CBlockHeader).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The block version.
    pub version: i32,
    /// The hash of the parent's header.
    pub prev_hash: Hash256,
    /// The root of the tree over the ids of the block's transactions.
    pub merkle_root: Hash256,
    /// The miner's clock in seconds since 1970.
    pub time: u32,
    /// The target of the proof of work, in its short form.
    pub bits: u32,
    /// What the miner varied.
    pub nonce: u32,
}

impl BlockHeader {
    /// Bytes on the wire.
    pub const LEN_BYTES: usize = 80;

    /// Reads the fields; every 80 bytes are a header.
    pub fn decode(bytes: &[u8; Self::LEN_BYTES]) -> Self {
        let word = |at: usize| bytes[at..at + 4].try_into().expect("the field has four bytes");
        let hash = |at: usize| Hash256::from_bytes(bytes[at..at + 32].try_into().expect("the field has 32 bytes"));
        Self {
            version: i32::from_le_bytes(word(0)),
            prev_hash: hash(4),
            merkle_root: hash(36),
            time: u32::from_le_bytes(word(68)),
            bits: u32::from_le_bytes(word(72)),
            nonce: u32::from_le_bytes(word(76)),
        }
    }

    /// The bytes of the wire.
    pub fn encode(&self) -> [u8; Self::LEN_BYTES] {
        let mut bytes = [0; Self::LEN_BYTES];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(self.prev_hash.as_bytes());
        bytes[36..68].copy_from_slice(self.merkle_root.as_bytes());
        bytes[68..72].copy_from_slice(&self.time.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.bits.to_le_bytes());
        bytes[76..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// The hash that the block is named by.
    pub fn hash(&self) -> Hash256 {
        Hash256::of(&self.encode())
    }
}
