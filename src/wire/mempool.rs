//! `mempool`: a request for an inventory of unconfirmed transactions.

use super::codec::Reader;
use crate::error::WireError;
use crate::protocol::CommandName;

/// The `mempool` message: the peer asks for an inventory of unconfirmed transactions (SV Node 1.2.2,
/// net_processing.cpp ProcessMempoolMessage).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mempool {
    /// Only transactions that are older than so many seconds; `None` asks for all.
    pub age_secs: Option<i64>,
}

impl Mempool {
    /// Reads the payload of a `mempool`; a lone zero byte is the same as nothing.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if an age is announced and missing.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(CommandName::MEMPOOL, payload);
        let has_age = reader.optional(Reader::bool)?.unwrap_or(false);
        Ok(Self { age_secs: if has_age { Some(reader.i64()?) } else { None } })
    }

    /// Appends the payload, which is empty without an age: older nodes know no other form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(age_secs) = self.age_secs {
            out.push(1);
            out.extend_from_slice(&age_secs.to_le_bytes());
        }
    }
}
