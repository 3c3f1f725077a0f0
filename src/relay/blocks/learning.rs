//! An anchor that is being learned, and the upstream that is asked for its headers. These are plain values.

use crate::id::PeerId;
use crate::relay::headers::LearnedAnchor;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Learning {
    pub(super) anchor: LearnedAnchor,
    pub(super) peer: PeerId,
    /// The moment of the latest request.
    pub(super) asked: Instant,
}
