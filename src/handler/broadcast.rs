//! The result of sending one frame to many peers.
//!
//! The result holds no frame, and allocates only for peers that refuse the frame.

use crate::error::RequestError;
use crate::id::PeerId;

/// The result of [`Ctx::broadcast`](super::Ctx::broadcast).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "peers may have refused the frame"]
#[non_exhaustive]
pub struct Broadcast {
    /// The number of peers that accepted the frame.
    pub accepted: usize,
    /// The peers that refused the frame, each with the error of [`Ctx::send_shared`](super::Ctx::send_shared); 12
    /// bytes each.
    pub refused: Vec<(PeerId, RequestError)>,
}
