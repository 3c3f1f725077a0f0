//! `sendcmpct` and `feefilter`: a peer's preferences for announcements.
//!
//! This file never checks a value: the receiver decides whether it honours a preference and whether the numbers are
//! sensible.

use super::codec::Reader;
use crate::error::WireError;
use crate::protocol::CommandName;

/// The `sendcmpct` message, 9 bytes: the peer understands compact blocks (SV Node 1.2.2, net_processing.cpp
/// ProcessSendCompactMessage).
///
/// ```
/// use peerloop::wire::{FeeFilter, SendCmpct};
///
/// let mut payload = Vec::new();
/// SendCmpct { announce: true, version: SendCmpct::VERSION }.encode(&mut payload);
/// assert_eq!(payload, [1, 1, 0, 0, 0, 0, 0, 0, 0]);
/// assert!(SendCmpct::decode(&payload)?.announce);
///
/// let mut payload = Vec::new();
/// FeeFilter { satoshis_per_1000_bytes: 500 }.encode(&mut payload);
/// assert_eq!(payload, [0xf4, 1, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(FeeFilter::decode(&payload)?.satoshis_per_1000_bytes, 500);
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendCmpct {
    /// Whether `cmpctblock` should announce new blocks.
    pub announce: bool,
    /// The version of compact blocks; a node ignores every version but [`SendCmpct::VERSION`].
    pub version: u64,
}

/// The `feefilter` message, 8 bytes: transactions that pay less than this fee should not be announced (SV Node 1.2.2,
/// net_processing.cpp ProcessFeeFilterMessage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeFilter {
    /// The lowest fee in satoshis per 1,000 bytes; a node ignores values outside 0 to 2,100,000,000,000,000.
    pub satoshis_per_1000_bytes: i64,
}

impl SendCmpct {
    /// The only version of compact blocks that SV Node supports.
    pub const VERSION: u64 = 1;

    /// Reads the payload of a `sendcmpct`.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`].
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::SENDCMPCT, payload);
        Ok(Self { announce: reader.bool()?, version: reader.u64()? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.announce));
        out.extend_from_slice(&self.version.to_le_bytes());
    }
}

impl FeeFilter {
    /// Reads the payload of a `feefilter`.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`].
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        Ok(Self { satoshis_per_1000_bytes: Reader::new(CommandName::FEEFILTER, payload).i64()? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.satoshis_per_1000_bytes.to_le_bytes());
    }
}
