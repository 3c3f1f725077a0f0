//! The shortest time that an unanswered operation waited for its reply.

use crate::time::Instant;
use std::time::Duration;

/// The shortest waits of unanswered operations: one counted from the planned moment, one from the write. Each is `None`
/// if there is no such operation.
///
/// An unanswered operation's latency is unknown, but is at least its wait. The wait ended when the operation failed,
/// when the peer's connection closed, when the generator finished or when a report was requested, whichever was first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnansweredWaits {
    /// The shortest time from an operation's planned moment.
    pub planned: Option<Duration>,
    /// The shortest time from an operation's write.
    pub sent: Option<Duration>,
}

impl UnansweredWaits {
    /// Keeps the shorter ones of these waits and of `other`.
    pub(super) fn merge(&mut self, other: Self) {
        let shorter = |a: Option<Duration>, b: Option<Duration>| [a, b].into_iter().flatten().min();
        self.planned = shorter(self.planned, other.planned);
        self.sent = shorter(self.sent, other.sent);
    }

    /// Records that the wait for an operation's reply ends at `now`. `sent` is the moment of its write, if it was
    /// written.
    pub(super) fn note(&mut self, planned: Instant, sent: Option<Instant>, now: Instant) {
        let shorter = |wait: Option<Duration>, since: Instant| {
            let waited = now.since(since);
            Some(wait.map_or(waited, |wait| wait.min(waited)))
        };
        self.planned = shorter(self.planned, planned);
        if let Some(sent) = sent {
            self.sent = shorter(self.sent, sent);
        }
    }
}
