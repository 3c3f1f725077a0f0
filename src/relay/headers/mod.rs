//! The headers of blocks: which blocks exist, and which of them is the tip.
//!
//! A header is stored only if its parent is, and if its difficulty, its proof of work and its time are right, so a peer
//! needs a miner's work for each header that uses memory. Nothing here sends, reads a clock or knows a peer.

mod anchor;
mod chain;
mod difficulty;
mod learned;
mod locate;
mod restore;
#[cfg(test)]
mod tests;

pub use anchor::{AnchorSource, HeaderAnchor, InvalidAnchor};
pub(super) use chain::{HeaderChain, HeaderError, TipChange};
pub(super) use learned::{Learned, LearnedAnchor};
pub(super) use locate::{Located, MAX_HEADERS};
pub(super) use restore::restore;
pub use restore::{AcceptedHeaders, InvalidSavedHeaders};
