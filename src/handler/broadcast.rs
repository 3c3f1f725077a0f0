//! The result of sending one frame to many peers.
//!
//! The result holds no frame, and allocates only if the frame is refused for a peer.

use crate::error::RequestError;
use crate::id::PeerId;

/// The result of [`Ctx::broadcast`](super::Ctx::broadcast).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "the frame may have been refused for some peers"]
#[non_exhaustive]
pub struct Broadcast {
    /// The number of peers for which the frame was accepted.
    pub accepted: usize,
    /// The peers for which the frame was refused, with the error of [`Ctx::send_shared`](super::Ctx::send_shared). An
    /// entry has 12 bytes.
    pub refused: Vec<(PeerId, RequestError)>,
}
