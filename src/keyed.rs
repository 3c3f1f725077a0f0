//! Hash maps whose keys a peer may choose: SipHash under a key of our own, drawn from the engine's generator.

use crate::wire::SipKey;
use rand::Rng;
use std::hash::{BuildHasher, Hasher};

/// Builds the hashers of a map with peer-chosen keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedState(SipKey);

impl KeyedState {
    /// A state whose key nobody knows.
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self(SipKey { k0: rng.next_u64(), k1: rng.next_u64() })
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { key: self.0, hash: 0 }
    }
}

/// Hashes one key, a chain of SipHashes over its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedHasher {
    key: SipKey,
    hash: u64,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.hash ^= self.key.hash(bytes);
        self.hash = self.key.hash(&self.hash.to_le_bytes());
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
