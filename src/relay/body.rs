//! The body of a transaction: one frame, or the parts of a large one.
//!
//! The memory in which it has arrived is shared with all receivers. Nothing here decides how long a body is kept.

use super::window::Window;
use bytes::Bytes;

/// A transaction as it was received.
#[derive(Debug)]
pub(super) enum Body {
    /// A whole frame, with its header.
    Frame(Bytes),
    /// The whole payload of a large transaction, without a header.
    Parts(Box<Window>),
}

impl Body {
    /// Returns the frame; `None` if there are parts.
    pub(super) fn frame(&self) -> Option<&Bytes> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Parts(_) => None,
        }
    }

    /// Returns the length that the body counts with, in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.len(),
            Self::Parts(window) => window.retained_bytes(),
        }
    }
}
