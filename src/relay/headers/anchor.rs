//! The start of a chain of headers: blocks that are believed without a check.
//!
//! An anchor has as many headers as the rules need to check the next one. Its headers are consecutive and have a proof
//! of work; their difficulty and their times are not checked. It never changes.

use super::difficulty::{MEDIAN_BLOCKS, NEEDED_BLOCKS, applies_from};
use crate::protocol::Network;
use crate::wire::BlockHeader;
use std::fmt;

/// Consecutive headers of a chain, with the height of the first one. A chain of headers begins with them.
///
/// An anchor needs 147 headers above the last change of the difficulty rule, so that the rule can check the next one.
/// On regtest, whose difficulty never changes, the genesis block is enough, or else 11 headers, whose median time is
/// needed.
///
/// ```
/// use peerloop::Network;
/// use peerloop::relay::HeaderAnchor;
/// use peerloop::wire::BlockHeader;
///
/// let genesis = HeaderAnchor::genesis_of_regtest();
/// assert_eq!((genesis.first_height(), genesis.headers().len()), (0, 1));
/// // The mainnet's genesis block is far below the last change of the rule.
/// let genesis = vec![BlockHeader::genesis_of(Network::Mainnet)];
/// assert!(HeaderAnchor::new(Network::Mainnet, 0, genesis).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderAnchor {
    network: Network,
    first_height: u32,
    headers: Vec<BlockHeader>,
}

/// Where a relay's chain of headers begins.
///
/// ```
/// use peerloop::relay::{AnchorSource, HeaderAnchor, RelayConfig};
///
/// let config = RelayConfig::new(vec!["127.0.0.1:18444".parse().unwrap()]);
/// assert_eq!(config.anchor, AnchorSource::Network);
/// let config = config.with_anchor(AnchorSource::Given(HeaderAnchor::genesis_of_regtest()));
/// assert_ne!(config.with_anchor(AnchorSource::Upstream).anchor, AnchorSource::Network);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnchorSource {
    /// At the genesis block on regtest, and as [`AnchorSource::Upstream`] on every other network.
    #[default]
    Network,
    /// At these headers. An anchor of another network is logged and not used, so that no blocks are relayed.
    Given(HeaderAnchor),
    /// Below the tip of the first upstream that shows it. Its headers are believed as those of a given anchor are, and
    /// so is the height that it states. They are requested one by one, so 167 round trips pass before blocks are
    /// relayed. A reorganisation that begins more than 20 blocks below that tip is not followed.
    Upstream,
}

/// The reason why headers cannot be an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidAnchor {
    /// There are fewer headers than the difficulty rule needs.
    TooFew {
        /// The number of headers.
        count: usize,
        /// The number that the rule needs.
        needed: usize,
    },
    /// The last header is below the last change of the difficulty rule.
    TooLow {
        /// The height of the last header.
        height: u32,
        /// The lowest height that is high enough.
        lowest: u32,
    },
    /// A header is not the child of the one before it.
    NotConsecutive {
        /// The height of the header.
        height: u32,
    },
    /// A header has no proof of work.
    NoProofOfWork {
        /// The height of the header.
        height: u32,
    },
}

/// Returns the number of headers that the rules need to check the next one.
pub(super) const fn needed_headers(network: Network, first_height: u32) -> usize {
    match (applies_from(network), first_height) {
        (Some(_), _) => NEEDED_BLOCKS,
        (None, 0) => 1,
        (None, _) => MEDIAN_BLOCKS,
    }
}

impl HeaderAnchor {
    /// Returns the anchor of a regtest chain: its genesis block.
    pub fn genesis_of_regtest() -> Self {
        Self { network: Network::Regtest, first_height: 0, headers: vec![BlockHeader::genesis_of(Network::Regtest)] }
    }

    /// Returns the anchor with these headers. Their own difficulty and times are believed.
    ///
    /// # Errors
    ///
    /// The first cause in [`InvalidAnchor`]'s order that applies.
    pub fn new(network: Network, first_height: u32, headers: Vec<BlockHeader>) -> Result<Self, InvalidAnchor> {
        let needed = needed_headers(network, first_height);
        if headers.len() < needed {
            return Err(InvalidAnchor::TooFew { count: headers.len(), needed });
        }
        let height_of = |index: usize| first_height.saturating_add(u32::try_from(index).unwrap_or(u32::MAX));
        let height = height_of(headers.len() - 1);
        if let Some(lowest) = applies_from(network).filter(|&lowest| height < lowest) {
            return Err(InvalidAnchor::TooLow { height, lowest });
        }
        let mut parent = None;
        for (index, header) in headers.iter().enumerate() {
            if parent.is_some_and(|hash| header.prev_hash != hash) {
                return Err(InvalidAnchor::NotConsecutive { height: height_of(index) });
            }
            if header.check_proof_of_work(network).is_err() {
                return Err(InvalidAnchor::NoProofOfWork { height: height_of(index) });
            }
            parent = Some(header.hash());
        }
        Ok(Self { network, first_height, headers })
    }

    /// Returns the anchor with these headers without any check.
    pub(in crate::relay) fn believed(network: Network, first_height: u32, headers: Vec<BlockHeader>) -> Self {
        Self { network, first_height, headers }
    }

    /// Returns the network of the chain.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Returns the height of the first header.
    pub fn first_height(&self) -> u32 {
        self.first_height
    }

    /// Returns the headers, the lowest first; at least one.
    pub fn headers(&self) -> &[BlockHeader] {
        &self.headers
    }
}

impl fmt::Display for InvalidAnchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { count, needed } => {
                write!(f, "an anchor of {count} headers is too short: the rules need {needed}")
            }
            Self::TooLow { height, lowest } => {
                write!(f, "the last header of the anchor has the height {height}; it must be {lowest} or more")
            }
            Self::NotConsecutive { height } => {
                write!(f, "the header at height {height} of the anchor is not the child of the one before it")
            }
            Self::NoProofOfWork { height } => {
                write!(f, "the header at height {height} of the anchor has no proof of work")
            }
        }
    }
}

impl std::error::Error for InvalidAnchor {}
