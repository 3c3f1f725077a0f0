//! The waits for pings that were never answered.

use crate::peer::PingInFlight;
use crate::time::Instant;
use std::time::Duration;

/// The shortest waits for pings that were not answered; `None` if there are no such pings.
///
/// The latency of an unanswered ping is unknown, but it exceeds the wait, which ended with the peer's connection or
/// with the drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnansweredWaits {
    /// Time from the planned moment of a ping.
    pub planned: Option<Duration>,
    /// Time from the write of a ping.
    pub sent: Option<Duration>,
}

impl UnansweredWaits {
    /// Records that the wait for a ping's pong ends at `now`.
    pub(super) fn note(&mut self, ping: PingInFlight, now: Instant) {
        let shorter = |wait: Option<Duration>, since: Instant| {
            let waited = now.since(since);
            Some(wait.map_or(waited, |wait| wait.min(waited)))
        };
        self.planned = shorter(self.planned, ping.planned);
        if let Some(sent) = ping.sent {
            self.sent = shorter(self.sent, sent);
        }
    }
}
