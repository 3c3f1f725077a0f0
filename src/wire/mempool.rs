//! `mempool`: a request for an inventory of unconfirmed transactions.

use super::codec::Reader;
use crate::error::WireError;
use crate::protocol::CommandName;

/// The `mempool` message: a request for an inventory of unconfirmed transactions (SV Node 1.2.2, net_processing.cpp
/// ProcessMempoolMessage).
///
/// ```
/// use peerloop::wire::Mempool;
///
/// let mut payload = Vec::new();
/// Mempool { age_secs: Some(3_600) }.encode(&mut payload);
/// assert_eq!(payload, [1, 0x10, 0x0e, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(Mempool::decode(&payload)?.age_secs, Some(3_600));
/// assert_eq!(Mempool::decode(&[])?, Mempool::default());
/// # Ok::<(), peerloop::error::WireError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mempool {
    /// The minimum age of the transactions in seconds; `None` requests all.
    pub age_secs: Option<i64>,
}

impl Mempool {
    /// Reads the payload of a `mempool`; a single zero byte means the same as an empty payload.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if an age is announced but missing or incomplete.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::MEMPOOL, payload);
        let has_age = reader.optional(Reader::bool)?.unwrap_or(false);
        Ok(Self { age_secs: if has_age { Some(reader.i64()?) } else { None } })
    }

    /// Appends the payload. Without an age it is empty, because older nodes know no other form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(age_secs) = self.age_secs {
            out.push(1);
            out.extend_from_slice(&age_secs.to_le_bytes());
        }
    }
}
