//! An anchor that is being learned, and the blocks below which it may begin. These are plain values.

use crate::id::PeerId;
use crate::relay::headers::LearnedAnchor;
use crate::time::Instant;
use crate::wire::Hash256;

/// An anchor, and the upstream that is asked for its headers.
#[derive(Debug)]
pub(super) struct Learning {
    pub(super) anchor: LearnedAnchor,
    pub(super) peer: PeerId,
    /// The moment of the latest request.
    pub(super) asked: Instant,
}

/// The latest block that an upstream has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) hash: Hash256,
    /// The height of the block minus the one that the upstream's `version` states.
    pub(super) above: i32,
    /// The number of blocks that the upstream has announced.
    pub(super) announced: i32,
    /// Whether no anchor could be learned below this block.
    pub(super) has_failed: bool,
}

impl Shown {
    /// Returns the parent of the upstream's tip.
    pub(super) fn below_tip(before: Option<Self>, hash: Hash256) -> Self {
        let announced = before.map_or(0, |before| before.announced);
        Self { hash, above: announced - 1, announced, has_failed: false }
    }

    /// Returns the upstream's new tip, the last of `count` new blocks.
    pub(super) fn announced(before: Option<Self>, hash: Hash256, count: usize) -> Self {
        match before {
            // A block may be announced in two forms.
            Some(before) if before.hash == hash => before,
            Some(_) | None => {
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                let announced = before.map_or(0, |before| before.announced).saturating_add(count);
                Self { hash, above: announced, announced, has_failed: false }
            }
        }
    }
}
