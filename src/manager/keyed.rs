//! Hashing for maps whose keys a peer may choose: SipHash with a key that no peer knows.
//!
//! The SipHash key is drawn from the engine's random numbers, so a peer cannot choose map keys that collide, and a
//! replayed run produces the same hashes as the original run. [`KeyedHasher`] returns the same hash as
//! [`SipKey::hash`] for the bytes written to it, however they are split, and allocates nothing. Do not iterate over
//! such a map: its order depends on the run's SipHash key.

use crate::wire::siphash::{SipKey, SipState};
use rand::Rng;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

/// A builder of hashers for one map, or for several maps that share a key.
#[derive(Clone, Copy)]
pub(crate) struct KeyedState {
    key: SipKey,
}

impl KeyedState {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self { key: SipKey { k0: rng.next_u64(), k1: rng.next_u64() } }
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: SipState::new(self.key), pending: 0, len_bytes: 0 }
    }
}

impl fmt::Debug for KeyedState {
    /// Omits the key, which must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedState").finish_non_exhaustive()
    }
}

/// A hash in progress.
pub(crate) struct KeyedHasher {
    state: SipState,
    /// The bytes that do not fill a word yet, in little-endian order. The remaining high bytes are zero.
    pending: u64,
    len_bytes: u64,
}

impl KeyedHasher {
    /// Adds the `count` lowest bytes of `word`. `count` is 1 to 8, and the other bytes of `word` must be zero.
    fn push(&mut self, word: u64, count: u64) {
        let held = self.len_bytes % 8;
        self.len_bytes = self.len_bytes.wrapping_add(count);
        self.pending |= word << (8 * held);
        if held + count >= 8 {
            self.state.absorb(self.pending);
            self.pending = if held == 0 { 0 } else { word >> (8 * (8 - held)) };
        }
    }
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.push(u64::from_le_bytes(*word), 8);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.push(u64::from_le_bytes(last), rest.len() as u64);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.push(u64::from(value), 1);
    }

    fn write_u16(&mut self, value: u16) {
        self.push(u64::from(value), 2);
    }

    fn write_u32(&mut self, value: u32) {
        self.push(u64::from(value), 4);
    }

    fn write_u64(&mut self, value: u64) {
        self.push(value, 8);
    }

    fn write_usize(&mut self, value: usize) {
        self.push(value as u64, 8);
    }

    fn finish(&self) -> u64 {
        let mut state = self.state.clone();
        state.absorb(self.pending | self.len_bytes << 56);
        state.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Host;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::net::Ipv4Addr;

    fn keyed(seed: u64) -> KeyedState {
        KeyedState::new(&mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn the_hash_does_not_depend_on_how_the_bytes_are_split() {
        let state = keyed(1);
        let bytes: Vec<u8> = (1..=40).collect();
        for len in 0..=bytes.len() {
            let whole = state.key.hash(&bytes[..len]);
            for first in 0..=len {
                for second in first..=len {
                    let mut hasher = state.build_hasher();
                    hasher.write(&bytes[..first]);
                    hasher.write(&bytes[first..second]);
                    hasher.write(&bytes[second..len]);
                    assert_eq!(hasher.finish(), whole, "{len} bytes split at {first} and {second}");
                    assert_eq!(hasher.finish(), whole, "a second finish changed the hash");
                }
            }
        }
    }

    #[test]
    fn numbers_hash_like_their_little_endian_bytes_at_every_offset_in_a_word() {
        let state = keyed(2);
        for lead in 0..=8_usize {
            let mut hasher = state.build_hasher();
            let mut bytes = vec![0xff; lead];
            hasher.write(&bytes);
            hasher.write_u8(0x81);
            hasher.write_u16(0x8283);
            hasher.write_u32(0x8485_8687);
            hasher.write_u64(0x8889_8a8b_8c8d_8e8f);
            hasher.write_usize(0x9091);
            hasher.write_i8(-1);
            hasher.write_u128(7);
            bytes.push(0x81);
            bytes.extend(0x8283_u16.to_le_bytes());
            bytes.extend(0x8485_8687_u32.to_le_bytes());
            bytes.extend(0x8889_8a8b_8c8d_8e8f_u64.to_le_bytes());
            bytes.extend(0x9091_u64.to_le_bytes());
            bytes.push(0xff);
            bytes.extend(7_u128.to_ne_bytes());
            assert_eq!(hasher.finish(), state.key.hash(&bytes), "after {lead} bytes");
        }
    }

    #[test]
    fn the_key_depends_only_on_the_random_numbers_and_is_not_printed() {
        let host = Host::V6(7);
        assert_eq!(keyed(3).hash_one(host), keyed(3).hash_one(host));
        assert_ne!(keyed(3).hash_one(host), keyed(4).hash_one(host));
        assert_eq!(format!("{:?}", keyed(3)), "KeyedState { .. }");
    }

    #[test]
    fn hosts_that_collide_with_one_key_are_spread_by_another() {
        const BUCKETS: usize = 1 << 10;
        let bucket = |state: KeyedState, host| state.hash_one(host) as usize % BUCKETS;
        let known = keyed(5);
        let hosts = (0..1_000_000_u32).map(|bits| Host::V4(Ipv4Addr::from_bits(bits)));
        let colliding: Vec<Host> = hosts.filter(|&host| bucket(known, host) == 0).take(256).collect();
        let mut fill = vec![0; BUCKETS];
        for &host in &colliding {
            fill[bucket(keyed(6), host)] += 1;
        }
        assert_eq!(colliding.len(), 256);
        assert!(fill.iter().max() <= Some(&8), "{:?} hosts in the fullest bucket", fill.iter().max());
    }
}
