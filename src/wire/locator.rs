//! `getblocks`, `getheaders` and `gethdrsen`: where the asker's chain is, and what it wants of ours.
//!
//! The three share one payload: a locator, which names blocks of a chain from its tip to genesis in growing steps, and
//! the block to stop at. The side that answers begins behind the first block that it knows. Which heights a locator
//! names is [`locator_heights`]; the hashes there are for the owner of a chain to look up.

use super::codec::{Reader, put_items};
use super::hash::Hash256;
use crate::error::WireError;
use crate::protocol::CommandName;
use bytes::Bytes;
use std::iter::successors;

/// A request for what follows a locator, over the hashes that it was read from (SV Node 1.2.2, primitives/block.h
/// CBlockLocator).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocatorRef<'a> {
    /// The version that the asker speaks; nobody reads it.
    pub protocol_version: i32,
    /// The last block wanted; zero for as much as there is.
    pub stop: Hash256,
    hashes: &'a [[u8; Hash256::LEN_BYTES]],
}

/// A request for what follows a locator, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// The version that the asker speaks; nobody reads it.
    pub protocol_version: i32,
    /// The last block wanted; zero for as much as there is.
    pub stop: Hash256,
    hashes: Bytes,
}

impl<'a> LocatorRef<'a> {
    /// Reads the payload of `command`, one of the three; looks at no hash but the last.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if it ends inside a field or holds less than it counts, [`WireError::NonCanonicalSize`]
    /// and [`WireError::TooLong`] for the count.
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

    /// The hashes of the locator, newest first; none asks for the block `stop` alone.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = Hash256> + DoubleEndedIterator + Clone + use<'a> {
        self.hashes.iter().map(|&hash| Hash256::from_bytes(hash))
    }

    /// The request on its own; copies the hashes.
    pub fn into_owned(self) -> Locator {
        Locator {
            protocol_version: self.protocol_version,
            stop: self.stop,
            hashes: Bytes::copy_from_slice(self.hashes.as_flattened()),
        }
    }
}

impl Locator {
    /// A request for what follows the first known one of `hashes`, newest first, up to `stop`.
    pub fn from_hashes(protocol_version: i32, hashes: impl IntoIterator<Item = Hash256>, stop: Hash256) -> Self {
        let hashes: Vec<u8> = hashes.into_iter().flat_map(Hash256::to_bytes).collect();
        Self { protocol_version, stop, hashes: hashes.into() }
    }

    /// The request, borrowed.
    pub fn as_ref(&self) -> LocatorRef<'_> {
        LocatorRef { protocol_version: self.protocol_version, stop: self.stop, hashes: self.hashes.as_chunks().0 }
    }
}

/// The heights that the locator of a chain names, from `tip` to 0: eleven steps of one, then each step is twice the one
/// before (SV Node 1.2.2, chain.cpp CChain::GetLocator). At most 43 of them.
pub fn locator_heights(tip: u32) -> impl Iterator<Item = u32> + Clone {
    const STEPS_OF_ONE: u32 = 11;
    let step_behind = |index: u32| 1 << (index + 1).saturating_sub(STEPS_OF_ONE).min(u32::BITS - 1);
    let indexed = successors(Some((0, tip)), move |&(index, height): &(u32, u32)| {
        (height > 0).then(|| (index + 1, height.saturating_sub(step_behind(index))))
    });
    indexed.map(|(_, height)| height)
}
