//! The view that a search has of a load: a way to change it, and its intervals, whose stream is the search's clock.

use peerloop_measure::Tally;
use std::ops::Range;
use std::time::Duration;

/// A load under the control of a search.
pub(super) trait Load {
    /// Changes the load from this moment on: operations per second, or peers.
    fn apply(&mut self, load: u64);

    /// Opens the peers again that were lost.
    fn restore_peers(&mut self);

    /// Returns how many operations were due this long ago, were sent with this lag, and are without a reply; `None` if
    /// the generator does not say in time.
    fn unanswered(&mut self, ages: Range<Duration>, lags: Range<Duration>) -> Option<u64>;

    /// Gives up the operations that have waited at least this long for their replies, and returns their number; `None`
    /// if the generator does not say in time. Late replies then count nowhere.
    fn give_up(&mut self, older_than: Duration) -> Option<u64>;

    /// Waits for the end of the next interval; `None` if the load has ended or is to end.
    fn next(&mut self) -> Option<Sample>;

    /// Returns the time for which the generator's thread was busy so far, and the time so far; `None` if the generator
    /// does not say in time.
    fn busy(&mut self) -> Option<(Duration, Duration)>;

    /// Returns whether every peer that was requested has become ready or has failed.
    fn is_settled(&mut self) -> bool;

    /// Shows what the search does.
    fn show(&mut self, line: &str);
}

/// One interval of a load, or several that were joined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(super) length: Duration,
    /// Operations that were due.
    pub(super) planned: u64,
    /// Those of them that could not be sent.
    pub(super) absent: u64,
    /// Replies that arrived, to operations of any interval.
    pub(super) answered: u64,
    /// Operations of any interval that failed, because their peer refused them or was lost.
    pub(super) broken: u64,
    /// Peers that were ready at the end.
    pub(super) peers: u64,
    /// The latencies of the goal's metric and view.
    pub(super) latencies: Tally,
    pub(super) send_lag: Tally,
    pub(super) loop_lag: Tally,
}

impl Sample {
    /// Returns the operations that are known to have failed.
    pub(super) fn failed(&self) -> u64 {
        self.absent + self.broken
    }
}
