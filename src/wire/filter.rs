//! `filterload` and `filteradd`: a bloom filter with which a peer selects transactions without naming them (BIP 37).
//!
//! A filter always matches its elements, and may match other elements. A look-up computes at most one hash per hash
//! function. Decoding limits the number of hash functions, so a hostile filter costs at most 50 hashes per look-up.

use super::codec::{Reader, put_var_bytes};
use super::hash::Hash256;
use crate::error::WireError;
use crate::limits::{MAX_BLOOM_ELEMENT_BYTES, MAX_BLOOM_FILTER_BYTES, MAX_BLOOM_HASHES};
use crate::protocol::CommandName;
use std::f64::consts::LN_2;

/// A borrowed `filterload` message (SV Node 1.2.2, bloom.h CBloomFilter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterLoadRef<'a> {
    /// The bits, eight to a byte, the lowest first; at most [`MAX_BLOOM_FILTER_BYTES`].
    pub bits: &'a [u8],
    /// The number of hash functions, at most [`MAX_BLOOM_HASHES`].
    pub hash_count: u32,
    /// The seed of the hash functions.
    pub tweak: u32,
    /// The rule by which the filter grows on a match, in the two lowest bits: [`BloomFilter::UPDATE_NONE`],
    /// [`BloomFilter::UPDATE_ALL`] or [`BloomFilter::UPDATE_PUBKEYS`].
    pub flags: u8,
}

/// A bloom filter: an owned `filterload` message.
///
/// ```
/// use peerloop::wire::{BloomFilter, FilterAdd, FilterLoadRef, Hash256};
///
/// let mut filter = BloomFilter::new(10, 0.001, 7, BloomFilter::UPDATE_NONE);
/// filter.insert(b"public key");
/// filter.insert_outpoint(Hash256::ZERO, 1);
/// let mut payload = Vec::new();
/// filter.as_ref().encode(&mut payload);
///
/// let received = FilterLoadRef::decode(&payload)?;
/// assert!(received.contains(b"public key") && received.contains_outpoint(Hash256::ZERO, 1));
/// assert!(!received.contains(b"other key"));
///
/// // A single element is added to the peer's copy of the filter.
/// let mut payload = Vec::new();
/// FilterAdd { element: (*b"other key").into() }.as_ref().encode(&mut payload);
/// assert_eq!(payload, b"\x09other key");
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BloomFilter {
    bits: Box<[u8]>,
    hash_count: u32,
    tweak: u32,
    flags: u8,
}

/// A borrowed `filteradd` message (SV Node 1.2.2, protocol.h NetMsgType::FILTERADD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterAddRef<'a> {
    /// The element to add to the filter, at most [`MAX_BLOOM_ELEMENT_BYTES`].
    pub element: &'a [u8],
}

/// An owned `filteradd` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterAdd {
    /// The element to add to the filter, at most [`MAX_BLOOM_ELEMENT_BYTES`].
    pub element: Box<[u8]>,
}

impl<'a> FilterLoadRef<'a> {
    /// Reads the payload of a `filterload`.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] for more bits or hash functions than allowed, [`WireError::Truncated`],
    /// [`WireError::NonCanonicalSize`] and [`WireError::OverlongSize`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::FILTERLOAD, payload);
        let bits = reader.var_bytes(MAX_BLOOM_FILTER_BYTES)?;
        let hash_count = reader.u32()?;
        if hash_count > MAX_BLOOM_HASHES {
            return Err(reader.too_long());
        }
        Ok(Self { bits, hash_count, tweak: reader.u32()?, flags: reader.u8()? })
    }

    /// Appends the payload; bytes of `bits` beyond the first [`MAX_BLOOM_FILTER_BYTES`] are omitted.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_var_bytes(self.bits, MAX_BLOOM_FILTER_BYTES, out);
        out.extend_from_slice(&self.hash_count.to_le_bytes());
        out.extend_from_slice(&self.tweak.to_le_bytes());
        out.push(self.flags);
    }

    /// Returns whether `element` may be in the filter. No filter matches an element of more than
    /// [`MAX_BLOOM_ELEMENT_BYTES`]. A filter without bits or hash functions matches every element up to that size.
    pub fn contains(&self, element: &[u8]) -> bool {
        element.len() <= MAX_BLOOM_ELEMENT_BYTES
            && bit_indexes(self.bits.len(), self.hash_count, self.tweak, element)
                .all(|bit| self.bits[bit / 8] & 1 << (bit % 8) != 0)
    }

    /// Returns whether the output may be in the filter.
    pub fn contains_outpoint(&self, txid: Hash256, index: u32) -> bool {
        self.contains(&outpoint(txid, index))
    }

    /// Returns the owned filter, with a copy of the bits.
    pub fn into_owned(self) -> BloomFilter {
        let Self { bits, hash_count, tweak, flags } = self;
        BloomFilter { bits: bits.into(), hash_count, tweak, flags }
    }
}

impl BloomFilter {
    /// A match adds nothing.
    pub const UPDATE_NONE: u8 = 0;
    /// A match adds the matched output.
    pub const UPDATE_ALL: u8 = 1;
    /// A match adds the matched output if it pays to one or more bare public keys.
    pub const UPDATE_PUBKEYS: u8 = 2;

    /// Returns an empty filter for `element_count` elements. Its false positive rate is about `false_positive_rate`, or
    /// higher, because the numbers of bits and of hash functions are rounded down and limited. A rate above 1 or a NaN
    /// counts as 1, and a rate below 0 as 0.
    pub fn new(element_count: u32, false_positive_rate: f64, tweak: u32, flags: u8) -> Self {
        let rate = if false_positive_rate.is_nan() { 1.0 } else { false_positive_rate.clamp(0.0, 1.0) };
        let wanted_bits = -rate.ln() / (LN_2 * LN_2) * f64::from(element_count);
        // A float that is too large becomes the largest integer.
        let len_bytes = (wanted_bits as usize).min(MAX_BLOOM_FILTER_BYTES * 8) / 8;
        // SV Node divides integers here. The same division gives the same filter.
        let bits_per_element = (len_bytes * 8).checked_div(element_count as usize).unwrap_or(0);
        let hash_count = ((bits_per_element as f64 * LN_2) as u32).min(MAX_BLOOM_HASHES);
        Self { bits: vec![0; len_bytes].into(), hash_count, tweak, flags }
    }

    /// Adds `element`, unless it has more than [`MAX_BLOOM_ELEMENT_BYTES`].
    pub fn insert(&mut self, element: &[u8]) {
        if element.len() <= MAX_BLOOM_ELEMENT_BYTES {
            for bit in bit_indexes(self.bits.len(), self.hash_count, self.tweak, element) {
                self.bits[bit / 8] |= 1 << (bit % 8);
            }
        }
    }

    /// Adds an output.
    pub fn insert_outpoint(&mut self, txid: Hash256, index: u32) {
        self.insert(&outpoint(txid, index));
    }

    /// Returns whether `element` may be in the filter; see [`FilterLoadRef::contains`].
    pub fn contains(&self, element: &[u8]) -> bool {
        self.as_ref().contains(element)
    }

    /// Removes all elements.
    pub fn clear(&mut self) {
        self.bits.fill(0);
    }

    /// Borrows the message.
    pub fn as_ref(&self) -> FilterLoadRef<'_> {
        FilterLoadRef { bits: &self.bits, hash_count: self.hash_count, tweak: self.tweak, flags: self.flags }
    }
}

impl<'a> FilterAddRef<'a> {
    /// Reads the payload of a `filteradd`.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] above [`MAX_BLOOM_ELEMENT_BYTES`], [`WireError::Truncated`],
    /// [`WireError::NonCanonicalSize`] and [`WireError::OverlongSize`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::FILTERADD, payload);
        Ok(Self { element: reader.var_bytes(MAX_BLOOM_ELEMENT_BYTES)? })
    }

    /// Appends the payload; an element that is too long is truncated.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_var_bytes(self.element, MAX_BLOOM_ELEMENT_BYTES, out);
    }

    /// Returns the owned message, with a copy of the element.
    pub fn into_owned(self) -> FilterAdd {
        FilterAdd { element: self.element.into() }
    }
}

impl FilterAdd {
    /// Borrows the message.
    pub fn as_ref(&self) -> FilterAddRef<'_> {
        FilterAddRef { element: &self.element }
    }
}

/// Returns the bit indexes of `element` in a filter of `len_bytes` bytes. If `len_bytes` is 0, there are no indexes
/// (CVE-2013-5700).
fn bit_indexes(len_bytes: usize, hash_count: u32, tweak: u32, element: &[u8]) -> impl Iterator<Item = usize> {
    let hash_count = if len_bytes == 0 { 0 } else { hash_count };
    (0..hash_count).map(move |index| {
        let seed = index.wrapping_mul(0xfba4_c795).wrapping_add(tweak);
        murmur3(seed, element) as usize % (len_bytes * 8)
    })
}

fn outpoint(txid: Hash256, index: u32) -> [u8; 36] {
    let mut bytes = [0; 36];
    bytes[..32].copy_from_slice(txid.as_bytes());
    bytes[32..].copy_from_slice(&index.to_le_bytes());
    bytes
}

/// Computes MurmurHash3, the 32-bit variant for x86 (Austin Appleby).
fn murmur3(seed: u32, bytes: &[u8]) -> u32 {
    let scramble = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, rest) = bytes.as_chunks();
    let hash = words.iter().fold(seed, |hash, word| {
        (hash ^ scramble(u32::from_le_bytes(*word))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let mut hash = hash ^ scramble(u32::from_le_bytes(last)) ^ bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_match_the_reference_node() {
        for (seed, bytes, hash) in [
            (0, &[][..], 0),
            (0xfba4_c795, &[], 0x6a39_6f08),
            (0xffff_ffff, &[], 0x81f1_6f39),
            (0, &[0x00], 0x514e_28b7),
            (0xfba4_c795, &[0x00], 0xea3f_0b17),
            (0, &[0xff], 0xfd6c_f10d),
            (0, &[0x00, 0x11], 0x16c6_b7ab),
            (0, &[0x00, 0x11, 0x22], 0x8eb5_1c3d),
            (0, &[0x00, 0x11, 0x22, 0x33], 0xb447_1bf8),
            (0, &[0x00, 0x11, 0x22, 0x33, 0x44], 0xe230_1fa8),
            (0, &[0x00, 0x11, 0x22, 0x33, 0x44, 0x55], 0xfc2e_4a15),
            (0, &[0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66], 0xb074_502c),
            (0, &[0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77], 0x8034_d2a0),
            (0, &[0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88], 0xb469_8def),
        ] {
            assert_eq!(murmur3(seed, bytes), hash, "{seed:#x} {bytes:x?}");
        }
    }
}
