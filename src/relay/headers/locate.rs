//! Answers to locators: the part of the best chain that a peer does not know yet.
//!
//! A locator that names no block of ours is answered from the genesis block's child on, if the chain begins there. A
//! chain that begins at an anchor does not know whether the peer's blocks are below it; the caller then has to ask a
//! node that has all headers.

use super::chain::HeaderChain;
use crate::wire::{BlockHeader, Hash256, LocatorRef};
use std::ops::Range;

/// Maximum number of headers in one `headers` (SV Node 1.2.2, net_processing.cpp MAX_HEADERS_RESULTS).
pub(in crate::relay) const MAX_HEADERS: u32 = 2_000;

/// Maximum number of hashes in the answer to a `getblocks` (SV Node 1.2.2, net_processing.cpp ProcessGetBlocks).
pub(in crate::relay) const MAX_BLOCKS: u32 = 500;

/// The answer to a locator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Located {
    /// The blocks of the best chain at these heights; there may be none.
    Heights(Range<u32>),
    /// The one block that a request without a locator names, on any branch.
    One(Hash256),
    /// A node answers such a request with silence: it names an unknown block alone.
    Unknown,
    /// The blocks may be below the anchor.
    BelowAnchor,
}

impl HeaderChain {
    /// Returns the answer to a `getheaders` (SV Node 1.2.2, net_processing.cpp ProcessGetHeadersMessage): at most 2,000
    /// headers, the last of which is that of the stop block.
    pub(in crate::relay) fn headers_after(&self, request: LocatorRef<'_>) -> Located {
        if request.hashes().len() == 0 {
            return match self.get(request.stop) {
                Some(block) => Located::One(block.hash),
                None => Located::Unknown,
            };
        }
        self.after(request, MAX_HEADERS, 1)
    }

    /// Returns the answer to a `getblocks` (SV Node 1.2.2, net_processing.cpp ProcessGetBlocks): at most 500 hashes,
    /// the last of which is that of the block before the stop block.
    pub(in crate::relay) fn blocks_after(&self, request: LocatorRef<'_>) -> Located {
        self.after(request, MAX_BLOCKS, 0)
    }

    /// Returns the hashes of a locator for this chain: from the tip to the first header, in growing steps.
    pub(in crate::relay) fn locator(&self) -> impl Iterator<Item = Hash256> {
        let first = self.first_height();
        let heights = crate::wire::locator_heights(self.tip().height - first);
        heights.filter_map(move |height| self.block_at(first + height)).map(|block| block.hash)
    }

    /// Lists the headers of an answer.
    pub(in crate::relay) fn headers_of(&self, located: &Located) -> Vec<BlockHeader> {
        match located {
            Located::Heights(heights) => heights.clone().filter_map(|height| self.at(height)).copied().collect(),
            Located::One(hash) => self.header(*hash).copied().into_iter().collect(),
            Located::Unknown | Located::BelowAnchor => Vec::new(),
        }
    }

    /// Returns the heights after the locator's first block that is on the best chain. With `stops`, the stop block is
    /// the last one, otherwise the one before it is.
    fn after(&self, request: LocatorRef<'_>, max: u32, stops: u32) -> Located {
        let known = request.hashes().find(|&hash| self.is_best(hash)).and_then(|hash| self.get(hash));
        let begin = match known {
            Some(block) => block.height + 1,
            None if self.first_height() == 0 => 1,
            None => return Located::BelowAnchor,
        };
        let stop = self.get(request.stop).filter(|block| block.height >= begin && self.is_best(block.hash));
        let end = stop.map_or(u32::MAX, |block| block.height + stops);
        let end = end.min(self.tip().height + 1).min(begin.saturating_add(max));
        Located::Heights(begin..end.max(begin))
    }
}
