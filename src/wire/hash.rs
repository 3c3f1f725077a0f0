//! Hashes of 32 bytes, which identify blocks and transactions.
//!
//! A [`Hash256`] holds the bytes in wire order, as SHA-256 produces them. Only the text form is reversed, by
//! convention.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The initial state of SHA-256 (FIPS 180-4, 5.3.3).
const SHA256_BEGIN: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A double SHA-256: 32 bytes in wire order. Its text form is 64 hexadecimal digits that start with the last byte.
///
/// ```
/// use peerloop::wire::{Hash256, InvalidHash};
///
/// let genesis: Hash256 = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f".parse()?;
/// assert_eq!(genesis.as_bytes()[..4], [0x6f, 0xe2, 0x8c, 0x0a]);
/// assert_eq!(Hash256::from_bytes(genesis.to_bytes()), genesis);
/// assert_eq!(Hash256::of(b"").to_string(), "56944c5d3f98413ef45cf54545538103cc9f298e0575820ad3591376e2e0f65d");
/// assert_eq!("6fe2".parse::<Hash256>(), Err(InvalidHash));
/// # Ok::<(), InvalidHash>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash256([u8; 32]);

impl Hash256 {
    /// The zero hash: the parent of the genesis block, and the `stop` of a locator that names no last block.
    pub const ZERO: Self = Self([0; 32]);
    /// The length on the wire, in bytes.
    pub const LEN_BYTES: usize = 32;

    /// Applies SHA-256 twice to `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// Hashes the digest of `hasher` once more. The data may have been fed to `hasher` in parts.
    pub(crate) fn finish(hasher: Sha256) -> Self {
        let mut block = [0; 64];
        block[..Self::LEN_BYTES].copy_from_slice(&hasher.finalize());
        let mut bytes = [0; Self::LEN_BYTES];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(digest_one_block(block, Self::LEN_BYTES)) {
            *bytes = word.to_be_bytes();
        }
        Self(bytes)
    }

    /// Returns the hash with these bytes, in wire order.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes in wire order.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the bytes in wire order.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

/// Returns the digest of the first `len` bytes of `block`. `len` must be at most 55, and the other bytes must be zero.
#[inline]
pub(super) fn digest_one_block(mut block: [u8; 64], len: usize) -> [u32; 8] {
    block[len] = 0x80;
    block[62..].copy_from_slice(&(len as u16 * 8).to_be_bytes());
    let mut state = SHA256_BEGIN;
    compress256(&mut state, &[block]);
    state
}

impl fmt::Display for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error for text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHash;

impl fmt::Display for InvalidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hash must have 64 hexadecimal digits")
    }
}

impl std::error::Error for InvalidHash {}

impl FromStr for Hash256 {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| InvalidHash)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().rev().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn digit(byte: u8) -> Result<u8, InvalidHash> {
    char::from(byte).to_digit(16).map(|digit| digit as u8).ok_or(InvalidHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";

    #[test]
    fn the_text_form_reverses_the_wire_order() {
        let hash: Hash256 = GENESIS.parse().expect("the text is a hash");
        assert_eq!(hash.as_bytes()[..4], [0x6f, 0xe2, 0x8c, 0x0a]);
        assert_eq!(hash.as_bytes()[27..], [0; 5]);
        assert_eq!(hash.to_string(), GENESIS);
        assert_eq!(format!("{hash:?}"), GENESIS);
        assert_eq!(GENESIS.to_uppercase().parse(), Ok(hash));
    }

    #[test]
    fn text_that_is_not_a_hash_is_rejected() {
        let signed = format!("+{}", &GENESIS[1..]);
        let foreign = format!("{}é", &GENESIS[2..]);
        let spaced = format!(" {}", &GENESIS[1..]);
        for text in ["", &GENESIS[1..], &signed, &foreign, &spaced, &format!("{GENESIS}0"), &GENESIS.replace('f', "g")]
        {
            assert_eq!(text.parse::<Hash256>(), Err(InvalidHash), "{text}");
        }
    }

    #[test]
    fn a_hash_is_sha_256_twice() {
        let hash = Hash256::of(&[]);
        assert_eq!(hash.to_string(), "56944c5d3f98413ef45cf54545538103cc9f298e0575820ad3591376e2e0f65d");
        let mut hasher = Sha256::new();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(Hash256::finish(hasher), Hash256::of(b"abc"));
    }
}
