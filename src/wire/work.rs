//! Proof of work: a header's target, the work that the target represents, and the check of the header's hash.
//!
//! The arithmetic is on 256-bit integers and uses constant memory. This module never looks at a chain: the caller
//! checks whether `bits` is the right target for a header's height.

use super::hash::Hash256;
use super::headers::BlockHeader;
use crate::protocol::Network;
use std::fmt;
use std::iter::Sum;
use std::num::NonZeroU32;
use std::ops::{Add, AddAssign};

/// The largest hash that a header may have, as a 256-bit number.
///
/// ```
/// use peerloop::Network;
/// use peerloop::wire::{Hash256, Target};
///
/// let target = Target::from_bits(0x1d00_ffff).expect("the target is in range");
/// assert!(target < Target::easiest_of(Network::Mainnet) && target.is_met_by(Hash256::ZERO));
/// assert_eq!(target.to_be_bytes()[..8], [0, 0, 0, 0, 0xff, 0xff, 0, 0]);
/// assert_eq!(target.work().to_be_bytes()[24..], [0, 0, 0, 1, 0, 1, 0, 1]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

/// The expected number of hashes for a header or a chain, as a 256-bit number. Sums saturate.
///
/// The chain with the most work is the best one, so work is compared and added up:
///
/// ```
/// use peerloop::wire::{BlockHeader, Target, Work};
///
/// fn work_of_chain(headers: &[BlockHeader]) -> Work {
///     headers.iter().map(BlockHeader::work).sum()
/// }
/// assert_eq!(work_of_chain(&[]), Work::ZERO);
///
/// // A database keeps the work as bytes that sort in the same order.
/// let work = Target::from_bits(0x1d00_ffff).expect("the target is in range").work();
/// assert_eq!(Work::from_be_bytes(work.to_be_bytes()), work);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(U256);

/// The reason why a header has no valid proof of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofOfWorkError {
    /// The target in `bits` is negative, zero or longer than 256 bits.
    InvalidTarget {
        /// The header's `bits`.
        bits: u32,
    },
    /// The target is easier than the network allows.
    TargetTooEasy {
        /// The header's target.
        target: Target,
    },
    /// The header's hash is above its target.
    HashAboveTarget {
        /// The header's hash.
        hash: Hash256,
        /// The header's target.
        target: Target,
    },
}

impl BlockHeader {
    /// Expands `bits` to the target. Returns `None` if the target is negative, zero or longer than 256 bits (SV Node
    /// 1.2.2, arith_uint256.cpp SetCompact).
    pub fn target(&self) -> Option<Target> {
        Target::from_bits(self.bits)
    }

    /// Returns the expected number of hashes for this header's target, or [`Work::ZERO`] if `bits` is not a valid
    /// target (SV Node 1.2.2, chain.cpp GetBlockProof).
    pub fn work(&self) -> Work {
        self.target().map_or(Work::ZERO, Target::work)
    }

    /// Checks that the header's hash meets its target, and that the network allows that target (SV Node 1.2.2,
    /// pow.cpp CheckProofOfWork). Hashes the header, in less than a microsecond.
    ///
    /// # Errors
    ///
    /// The first cause in [`ProofOfWorkError`]'s order that applies.
    pub fn check_proof_of_work(&self, network: Network) -> Result<(), ProofOfWorkError> {
        let target = self.target().ok_or(ProofOfWorkError::InvalidTarget { bits: self.bits })?;
        if target > Target::easiest_of(network) {
            return Err(ProofOfWorkError::TargetTooEasy { target });
        }
        let hash = self.hash();
        match target.is_met_by(hash) {
            true => Ok(()),
            false => Err(ProofOfWorkError::HashAboveTarget { hash, target }),
        }
    }
}

impl Target {
    /// Expands the short form in a header's `bits`: the target's length in bytes (8 bits), a sign bit, and the
    /// target's first 23 bits.
    ///
    /// Returns `None` if the target is negative, zero or longer than 256 bits.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let (len_bytes, digits) = (bits >> 24, bits & 0x007f_ffff);
        let digits = if len_bytes < 3 { digits >> (8 * (3 - len_bytes)) } else { digits };
        let is_negative = bits & 0x0080_0000 != 0;
        if digits == 0 || is_negative {
            return None;
        }
        let shift_bits = 8 * len_bytes.saturating_sub(3);
        let value = U256::from(u64::from(digits)).checked_shl(shift_bits)?;
        Some(Self(value))
    }

    /// Returns the easiest target that the network allows (SV Node 1.2.2, chainparams.cpp powLimit).
    pub const fn easiest_of(network: Network) -> Self {
        match network {
            Network::Mainnet | Network::Testnet | Network::Stn => {
                Self(U256([u64::MAX, u64::MAX, u64::MAX, 0xffff_ffff]))
            }
            Network::Regtest => Self(U256([u64::MAX, u64::MAX, u64::MAX, u64::MAX >> 1])),
        }
    }

    /// Returns the short form of the target, as in a header's `bits`. Bits after the first 23 are dropped (SV Node
    /// 1.2.2, arith_uint256.cpp GetCompact).
    pub fn to_bits(self) -> u32 {
        let len_bytes = self.0.bit_len().div_ceil(8);
        let [digits, ..] = match len_bytes {
            0..=3 => self.0.0.map(|word| word << (8 * (3 - len_bytes))),
            _ => self.0.shifted_down(8 * (len_bytes - 3)).0,
        };
        // A set bit in the place of the sign belongs to the digits, so they move down by a byte.
        match digits & 0x0080_0000 {
            0 => len_bytes << 24 | digits as u32,
            _ => (len_bytes + 1) << 24 | (digits >> 8) as u32,
        }
    }

    /// Returns the target that this much work meets once on average: 2^256 / work - 1, rounded down. Returns `None` for
    /// no work.
    pub(crate) fn of_work(work: Work) -> Option<Self> {
        // 2^256 - w is w modulo 2^256, negated.
        (work != Work::ZERO).then(|| Self(U256::default().minus(work.0).divided_by(work.0)))
    }

    /// Returns whether a header with this hash meets the target.
    pub fn is_met_by(self, hash: Hash256) -> bool {
        U256::from_le_bytes(*hash.as_bytes()) <= self.0
    }

    /// Returns the expected number of hashes until one meets the target: 2^256 / (target + 1), rounded down.
    pub fn work(self) -> Work {
        let Some(divisor) = self.0.checked_add(U256::from(1)) else { return Work(U256::from(1)) };
        // 2^256 / d = (2^256 - d) / d + 1, and 2^256 - d is d - 1 with all bits inverted.
        Work(self.0.inverted().divided_by(divisor).saturating_add(U256::from(1)))
    }

    /// Returns the 32 bytes, the most significant first.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }
}

impl Work {
    /// No work.
    pub const ZERO: Self = Self(U256([0; 4]));

    /// Returns the work with these 32 bytes, the most significant first, as written by [`Work::to_be_bytes`].
    pub fn from_be_bytes(mut bytes: [u8; 32]) -> Self {
        bytes.reverse();
        Self(U256::from_le_bytes(bytes))
    }

    /// Returns the 32 bytes, the most significant first.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Returns the work beyond `other`, which may not be more than this.
    pub(crate) fn beyond(self, other: Self) -> Self {
        debug_assert!(other <= self, "the work of a chain does not shrink");
        Self(self.0.minus(other.0))
    }

    /// Returns this work times `numerator / denominator`, rounded down. The product is computed modulo 2^256.
    pub(crate) fn scaled(self, numerator: u32, denominator: NonZeroU32) -> Self {
        let product = self.0.times(numerator);
        Self(product.divided_by(U256::from(u64::from(denominator.get()))))
    }
}

impl Add for Work {
    type Output = Self;

    /// Adds two amounts of work; the sum saturates at 2^256 - 1.
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::ZERO, Self::add)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for ProofOfWorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidTarget { bits } => write!(f, "the header's bits {bits:#010x} are not a valid target"),
            Self::TargetTooEasy { target } => {
                write!(f, "the header's target {target} is easier than the network allows")
            }
            Self::HashAboveTarget { hash, target } => {
                write!(f, "the header's hash {hash} is above its target {target}")
            }
        }
    }
}

impl std::error::Error for ProofOfWorkError {}

/// An unsigned 256-bit number, as four words, the least significant first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct U256([u64; 4]);

impl U256 {
    const BITS: u32 = 256;

    fn from_le_bytes(bytes: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words)
    }

    fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0.iter().rev()) {
            *bytes = word.to_be_bytes();
        }
        bytes
    }

    fn inverted(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    fn bit(self, position: u32) -> bool {
        self.0[(position / 64) as usize] >> (position % 64) & 1 == 1
    }

    fn bit_len(self) -> u32 {
        let highest = self.0.iter().rposition(|&word| word != 0);
        highest.map_or(0, |index| 64 * (index as u32 + 1) - self.0[index].leading_zeros())
    }

    /// Shifts towards the most significant bit. Returns `None` if a set bit would be lost.
    fn checked_shl(self, shift_bits: u32) -> Option<Self> {
        if self.bit_len() + shift_bits > Self::BITS {
            return None;
        }
        let (words, bits) = ((shift_bits / 64) as usize, shift_bits % 64);
        let mut shifted = [0; 4];
        for (index, &word) in self.0.iter().enumerate().take(4 - words.min(4)) {
            shifted[index + words] |= word << bits;
            if bits > 0 && index + words + 1 < 4 {
                shifted[index + words + 1] |= word >> (64 - bits);
            }
        }
        Some(Self(shifted))
    }

    /// Shifts towards the least significant bit, by less than 256 bits.
    fn shifted_down(self, shift_bits: u32) -> Self {
        let (words, bits) = ((shift_bits / 64) as usize, shift_bits % 64);
        let mut shifted = [0; 4];
        for (index, word) in shifted.iter_mut().enumerate().take(4 - words) {
            *word = self.0[index + words] >> bits;
            if bits > 0 && index + words + 1 < 4 {
                *word |= self.0[index + words + 1] << (64 - bits);
            }
        }
        Self(shifted)
    }

    /// Multiplies modulo 2^256.
    fn times(self, factor: u32) -> Self {
        let mut carry = 0;
        Self(self.0.map(|word| {
            let product = u128::from(word) * u128::from(factor) + carry;
            carry = product >> 64;
            product as u64
        }))
    }

    fn checked_add(self, other: Self) -> Option<Self> {
        let mut carry = false;
        let mut sum = [0; 4];
        for (sum, (&left, &right)) in sum.iter_mut().zip(self.0.iter().zip(&other.0)) {
            let (partial, first) = left.overflowing_add(right);
            let (total, second) = partial.overflowing_add(u64::from(carry));
            (*sum, carry) = (total, first || second);
        }
        (!carry).then_some(Self(sum))
    }

    fn saturating_add(self, other: Self) -> Self {
        self.checked_add(other).unwrap_or(Self([u64::MAX; 4]))
    }

    /// Subtracts modulo 2^256.
    fn minus(self, other: Self) -> Self {
        let mut borrow = false;
        let mut rest = [0; 4];
        for (rest, (&left, &right)) in rest.iter_mut().zip(self.0.iter().zip(&other.0)) {
            let (partial, first) = left.overflowing_sub(right);
            let (total, second) = partial.overflowing_sub(u64::from(borrow));
            (*rest, borrow) = (total, first || second);
        }
        Self(rest)
    }

    /// Divides by a nonzero number and rounds down, by binary long division.
    fn divided_by(self, divisor: Self) -> Self {
        let (mut quotient, mut rest) = (Self::default(), Self::default());
        for position in (0..self.bit_len()).rev() {
            // A remainder that already has 256 bits exceeds every divisor once the next bit is appended.
            let overflows = rest.bit(Self::BITS - 1);
            rest = Self([
                rest.0[0] << 1 | u64::from(self.bit(position)),
                rest.0[1] << 1 | rest.0[0] >> 63,
                rest.0[2] << 1 | rest.0[1] >> 63,
                rest.0[3] << 1 | rest.0[2] >> 63,
            ]);
            if overflows || rest >= divisor {
                rest = rest.minus(divisor);
                quotient.0[(position / 64) as usize] |= 1 << (position % 64);
            }
        }
        quotient
    }
}

impl PartialOrd for U256 {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for U256 {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl From<u64> for U256 {
    fn from(low: u64) -> Self {
        Self([low, 0, 0, 0])
    }
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|word| write!(f, "{word:016x}"))
    }
}
