//! Compact blocks (BIP 152, SV Node 1.2.2, blockencodings.h): blocks whose transactions are named by short ids.
//!
//! An upstream's compact block is passed on as it arrived, once its header is checked, and held for requests while it
//! is one of the newest. This file is the table of those that are held; it sends nothing. `agree` exchanges
//! `sendcmpct`, and `receive` handles a compact block's arrival.

mod agree;
mod receive;
mod serve;

use crate::limits::{HEADER_LEN_BYTES, RELAY_COMPACT_BLOCKS, RELAY_COMPACT_BYTES};
use crate::wire::Hash256;
pub(in crate::relay) use agree::{choose_sources, on_sendcmpct};
use bytes::Bytes;
pub(in crate::relay) use receive::{on_compact, on_compact_header};
pub(in crate::relay) use serve::on_getblocktxn;
use std::collections::VecDeque;

/// The exchange of compact blocks with one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    /// Whether both sides support compact blocks.
    is_supported: bool,
    /// Whether the peer wants new blocks announced as compact ones.
    is_announced: bool,
    /// Whether this side has asked the peer to announce new blocks as compact ones.
    is_source: bool,
}

impl Exchange {
    pub(super) const fn is_announced(&self) -> bool {
        self.is_announced
    }
}

/// The newest compact blocks.
#[derive(Debug, Default)]
pub(in crate::relay) struct Compacts {
    /// The oldest first.
    blocks: VecDeque<Compact>,
}

/// A compact block whose header is in the chain.
#[derive(Debug)]
struct Compact {
    hash: Hash256,
    /// The message, with a basic header.
    frame: Bytes,
}

impl Compacts {
    /// Returns the maximum number of bytes of all compact blocks.
    pub(in crate::relay) const fn memory_bytes() -> usize {
        RELAY_COMPACT_BLOCKS * (HEADER_LEN_BYTES + RELAY_COMPACT_BYTES as usize + size_of::<Compact>())
    }

    /// Returns the message with a compact block.
    pub(in crate::relay) fn frame(&self, hash: Hash256) -> Option<Bytes> {
        self.get(hash).map(|block| block.frame.clone())
    }

    fn get(&self, hash: Hash256) -> Option<&Compact> {
        self.blocks.iter().find(|block| block.hash == hash)
    }

    /// Holds a compact block, and drops the oldest one if there are too many.
    fn insert(&mut self, block: Compact) {
        if self.blocks.len() == RELAY_COMPACT_BLOCKS {
            self.blocks.pop_front();
        }
        self.blocks.push_back(block);
    }
}
