//! The number of closed connections by reason.

use crate::error::CloseReason;
use std::fmt;

/// The number of closed connections, by [`CloseReason::label`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CloseCounts {
    /// Indexed by the label's index.
    counts: [u64; CloseReason::LABELS.len()],
}

impl CloseCounts {
    /// Lists all labels in the order of [`CloseReason::LABELS`], each with its number of connections.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CloseReason::LABELS.iter().copied().zip(self.counts)
    }

    /// Returns the number of connections that were closed for a reason with the same label as `reason`.
    pub const fn count(&self, reason: &CloseReason) -> u64 {
        self.counts[reason.index()]
    }

    pub(crate) const fn add(&mut self, reason: &CloseReason) {
        self.counts[reason.index()] += 1;
    }
}

impl Default for CloseCounts {
    fn default() -> Self {
        Self { counts: [0; CloseReason::LABELS.len()] }
    }
}

impl fmt::Debug for CloseCounts {
    /// Lists the labels with a count above zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().filter(|(_, count)| *count > 0)).finish()
    }
}
