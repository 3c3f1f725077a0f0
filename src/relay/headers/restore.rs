//! A chain of headers that is saved and restored: the headers in the order in which they were accepted.
//!
//! Every restored header is checked as a new one is, except that its time may be ahead of this machine's clock: it was
//! not when it was accepted. Nothing here reads or writes a file.

use super::anchor::{AnchorSource, HeaderAnchor};
use super::chain::{HeaderChain, TipChange};
use crate::protocol::Network;
use crate::wire::BlockHeader;
use crate::wire::siphash::SipKey;
use std::fmt;

/// Headers of a relay's chain, to be saved; see [`RelayRequest::headers`](crate::relay::RelayRequest::headers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedHeaders {
    /// The anchor, if the first headers were requested; `None` otherwise, and without a chain.
    pub anchor: Option<HeaderAnchor>,
    /// The requested headers above the anchor, on all branches, in the order in which they were accepted; at most
    /// 4,096.
    pub headers: Vec<BlockHeader>,
}

/// The reason why saved headers were not restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSavedHeaders {
    /// The relay's settings name another anchor.
    OtherAnchor,
    /// A header would not be accepted.
    Header {
        /// Its position among the headers above the anchor, from 0.
        position: usize,
        /// The reason.
        why: String,
    },
}

/// Returns the chain of saved headers.
///
/// # Errors
///
/// The first cause in [`InvalidSavedHeaders`]'s order that applies.
pub(in crate::relay) fn restore(
    source: &AnchorSource,
    anchor: &HeaderAnchor,
    headers: &[BlockHeader],
    capacity: usize,
) -> Result<HeaderChain, InvalidSavedHeaders> {
    let is_expected = match source {
        AnchorSource::Given(given) => given == anchor,
        AnchorSource::Network if anchor.network() == Network::Regtest => *anchor == HeaderAnchor::genesis_of_regtest(),
        AnchorSource::Network | AnchorSource::Upstream => true,
    };
    if !is_expected {
        return Err(InvalidSavedHeaders::OtherAnchor);
    }
    // The key is drawn when the loop starts.
    let mut chain = HeaderChain::new(anchor, capacity, SipKey { k0: 0, k1: 0 });
    for (position, header) in headers.iter().enumerate() {
        let why = match chain.accept(header, u32::MAX) {
            Ok(TipChange::Tip { .. } | TipChange::Branch) => continue,
            Ok(TipChange::Known) => "it is there twice".to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(InvalidSavedHeaders::Header { position, why });
    }
    Ok(chain)
}

impl fmt::Display for InvalidSavedHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherAnchor => f.write_str("they begin at another anchor than the relay's settings"),
            Self::Header { position, why } => write!(f, "the header at position {position} is invalid: {why}"),
        }
    }
}

impl std::error::Error for InvalidSavedHeaders {}
