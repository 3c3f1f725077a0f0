//! The latencies of a running load, as the recorder's thread adds them up for collectors and for the live view.
//!
//! Memory: two histograms per metric and two for the lags, of up to 352 KiB each, and 100 bytes for each of the last
//! [`MAX_ROWS`] intervals. The loop's thread never waits for a reader.

use peerloop::load::{IntervalHistograms, View};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum number of intervals in the live view: more than the columns of any terminal.
pub(super) const MAX_ROWS: usize = 600;

/// The latencies of all whole intervals so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    totals: Option<IntervalHistograms>,
    rows: VecDeque<Row>,
}

/// The latencies of one interval, or of several if the recorder could not keep up. A latency without a sample is
/// `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// The end, from the start of the counted part.
    pub(super) end: Duration,
    /// Replies that arrived in the interval.
    pub(super) answered: u64,
    /// The main metric's latencies from the planned moments.
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
    pub(super) max: Option<Duration>,
    /// The 99th percentiles of the generator's lags.
    pub(super) send_lag: Option<Duration>,
    pub(super) loop_lag: Option<Duration>,
}

impl Row {
    fn new(end: Duration, histograms: &IntervalHistograms) -> Self {
        let lag = |metric| histograms.get(metric, View::Measured).and_then(|lag| lag.percentile(99.0));
        // The main metric is the first one.
        let Some((_, _, latencies)) = histograms.iter().next() else { return Self { end, ..Self::default() } };
        Self {
            end,
            answered: latencies.count(),
            p50: latencies.percentile(50.0),
            p99: latencies.percentile(99.0),
            max: latencies.max(),
            send_lag: lag("send_lag"),
            loop_lag: lag("loop_lag"),
        }
    }
}

impl Live {
    /// Adds the histograms of one or more intervals, the last of which ended at `end`.
    pub(super) fn add(&self, end: Duration, histograms: &IntervalHistograms) {
        let row = Row::new(end, histograms);
        let mut state = self.lock();
        state.totals.get_or_insert_with(|| histograms.spare()).merge(histograms);
        if state.rows.len() == MAX_ROWS {
            state.rows.pop_front();
        }
        state.rows.push_back(row);
    }

    /// Returns the histograms of all intervals; `None` before the end of the first interval.
    pub(super) fn totals(&self) -> Option<IntervalHistograms> {
        self.lock().totals.clone()
    }

    /// Returns the last [`MAX_ROWS`] intervals in order.
    #[cfg(feature = "tui")]
    pub(super) fn rows(&self) -> Vec<Row> {
        self.lock().rows.iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent after a panic of another thread, because no code that changes it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::capture::capture;
    use super::*;

    #[test]
    fn the_totals_have_all_intervals_and_the_rows_the_last_ones() {
        let captured = capture();
        let live = Live::default();
        assert!(live.totals().is_none());
        let count = MAX_ROWS + 7;
        for index in 1..=count {
            live.add(Duration::from_secs(index as u64), &captured.histograms);
        }
        let one = captured.histograms.get("ping_rtt", View::Planned).unwrap();
        let totals = live.totals().unwrap();
        assert_eq!(totals.get("ping_rtt", View::Planned).unwrap().count(), one.count() * count as u64);
        let state = live.lock();
        assert_eq!((state.rows.len(), state.rows[0].end), (MAX_ROWS, Duration::from_secs(8)));
        let row = state.rows[MAX_ROWS - 1];
        assert_eq!((row.answered, row.p50, row.max), (one.count(), one.percentile(50.0), one.max()));
        assert_eq!(row.end, Duration::from_secs(count as u64));
    }
}
