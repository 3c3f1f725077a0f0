//! `getblocks`, `getheaders` and `gethdrsen`: requests for the blocks or headers that follow a locator.
//!
//! All three have the same payload: a protocol version, a locator, and the hash of the last block requested. A locator
//! lists hashes of the requester's chain, from its tip to genesis in growing steps. The reply starts after the first
//! listed block that is in the replying peer's chain. [`locator_heights`] lists the heights of a locator; the caller
//! looks up the hashes.

use super::codec::{Reader, put_items};
use super::hash::Hash256;
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;
use std::iter::successors;

/// A borrowed request for the blocks or headers that follow a locator (SV Node 1.2.2, primitives/block.h
/// CBlockLocator).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocatorRef<'a> {
    /// The requester's protocol version; no node reads it.
    pub protocol_version: i32,
    /// The hash of the last block requested. Zero requests as many blocks as possible.
    pub stop: Hash256,
    hashes: &'a [[u8; Hash256::LEN_BYTES]],
}

/// An owned request for the blocks or headers that follow a locator.
///
/// ```
/// use peerloop::protocol::{CommandName, PROTOCOL_VERSION};
/// use peerloop::wire::{Hash256, Locator, LocatorRef, locator_heights};
///
/// let heights: Vec<u32> = locator_heights(20).collect();
/// assert_eq!(heights[10..], [10, 9, 7, 3, 0]);
///
/// # let hash_at = |height: u32| Hash256::of(&height.to_le_bytes());
/// let hashes = heights.iter().map(|&height| hash_at(height));
/// let mut payload = Vec::new();
/// Locator::from_hashes(PROTOCOL_VERSION as i32, hashes, Hash256::ZERO).as_ref().encode(&mut payload);
/// assert_eq!(payload[..5], [0x80, 0x11, 0x01, 0x00, 15], "the version or the number of hashes is wrong");
///
/// let request = LocatorRef::decode(CommandName::GETHEADERS, &payload)?;
/// assert_eq!(request.hashes().next(), Some(hash_at(20)));
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// The requester's protocol version; no node reads it.
    pub protocol_version: i32,
    /// The hash of the last block requested. Zero requests as many blocks as possible.
    pub stop: Hash256,
    hashes: Bytes,
}

impl<'a> LocatorRef<'a> {
    /// Reads the payload of `command`, one of the three messages, without copying the locator's hashes.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if the payload ends inside a field or holds fewer hashes than its count,
    /// [`WireError::NonCanonicalSize`] and [`WireError::OverlongSize`] for an invalid count.
    pub fn decode(command: CommandName, payload: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(command, payload);
        let protocol_version = reader.i32()?;
        let hashes = reader.items()?;
        let stop = Hash256::from_bytes(reader.array()?);
        Ok(Self { protocol_version, stop, hashes })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.protocol_version.to_le_bytes());
        put_items(self.hashes, out);
        out.extend_from_slice(self.stop.as_bytes());
    }

    /// Returns the locator's hashes, newest first. In `getheaders` and `gethdrsen`, an empty locator requests only the
    /// block `stop`.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = Hash256> + DoubleEndedIterator + Clone + use<'a> {
        self.hashes.iter().map(|&hash| Hash256::from_bytes(hash))
    }

    /// Returns the owned request, with a copy of the hashes.
    pub fn into_owned(self) -> Locator {
        Locator {
            protocol_version: self.protocol_version,
            stop: self.stop,
            hashes: Bytes::copy_from_slice(self.hashes.as_flattened()),
        }
    }
}

impl Locator {
    /// Returns a request for the blocks up to `stop` that follow the first of `hashes` in the peer's chain. `hashes`
    /// starts with the newest block.
    pub fn from_hashes(protocol_version: i32, hashes: impl IntoIterator<Item = Hash256>, stop: Hash256) -> Self {
        let hashes: Vec<u8> = hashes.into_iter().flat_map(Hash256::to_bytes).collect();
        Self { protocol_version, stop, hashes: hashes.into() }
    }

    /// Borrows the request.
    pub fn as_ref(&self) -> LocatorRef<'_> {
        LocatorRef { protocol_version: self.protocol_version, stop: self.stop, hashes: self.hashes.as_chunks().0 }
    }
}

/// Returns the heights of a chain's locator, from `tip` to 0: eleven steps of one, then each step is twice the
/// previous one, but the last step ends at 0 (SV Node 1.2.2, chain.cpp CChain::GetLocator). At most 43 heights.
pub fn locator_heights(tip: u32) -> impl Iterator<Item = u32> + Clone {
    const STEPS_OF_ONE: u32 = 11;
    let step_behind = |index: u32| 1 << (index + 1).saturating_sub(STEPS_OF_ONE).min(u32::BITS - 1);
    let indexed = successors(Some((0, tip)), move |&(index, height): &(u32, u32)| {
        (height > 0).then(|| (index + 1, height.saturating_sub(step_behind(index))))
    });
    indexed.map(|(_, height)| height)
}
