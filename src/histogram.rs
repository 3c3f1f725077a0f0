//! Latency histograms, and the counters of a loop.
//!
//! Every latency is recorded in nanoseconds, from one nanosecond to a minute, with three significant digits; what is
//! longer counts as a minute. A histogram is a fixed 220 KiB, of which a loop touches the pages it needs. Nothing
//! here is ever serialised in the loop: a reader on another thread gets a whole histogram and gives a spare one for
//! it, or gets a summary.

use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// The longest latency that is told apart from longer ones, in nanoseconds.
pub const LATENCY_MAX_NANOS: u64 = 60_000_000_000;

/// A histogram of latencies.
#[derive(Clone)]
pub struct LatencyHistogram {
    histogram: Histogram<u64>,
}

impl LatencyHistogram {
    /// An empty histogram.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_NANOS, 3).expect("the bounds are legal");
        Self { histogram }
    }

    /// Records one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanos.max(1));
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency that `percent` of all recorded ones do not exceed; zero while empty.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_percentile(percent))
    }

    /// The shortest; zero while empty.
    pub fn min(&self) -> Duration {
        if self.count() == 0 { Duration::ZERO } else { Duration::from_nanos(self.histogram.min()) }
    }

    /// The longest; zero while empty.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }

    /// The mean; zero while empty.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.histogram.mean() as u64)
    }

    /// The shape of it, in a few numbers.
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.count(),
            p50: self.percentile(50.0),
            p99: self.percentile(99.0),
            p999: self.percentile(99.9),
            max: self.max(),
        }
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all latency histograms have the same bounds");
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// The histogram itself, for writing it to a file.
    pub fn as_hdr(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

impl fmt::Debug for LatencyHistogram {
    /// The shape of it; its thousands of slots would drown any message that mentions it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LatencyHistogram").field(&self.summary()).finish()
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The shape of a histogram: what a report needs of it, without its 220 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencySummary {
    /// How many were recorded; all else is zero while none was.
    pub count: u64,
    /// The latency that half of them do not exceed.
    pub p50: Duration,
    /// The latency that 99 % of them do not exceed.
    pub p99: Duration,
    /// The latency that 99.9 % of them do not exceed.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

/// What a loop has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that were accepted and closed at once, because there was no row for them.
    pub refused: u64,
    /// Accepts that failed for one connection only.
    pub accept_failures: u64,
    /// Times that accepting had to pause: for want of descriptors or memory, or because the listener itself failed.
    pub accept_pauses: u64,
    /// Listeners that the loop has opened by itself: those of the configuration, and new ones in place of broken ones.
    pub listeners_bound: u64,
    /// Addresses that could not be listened at, each try counted, and listeners that had to be closed.
    pub listen_failures: u64,
    /// Names that were looked up.
    pub names_resolved: u64,
    /// Names that could not be looked up.
    pub resolve_failures: u64,
    /// Times that the book became durable.
    pub batches_persisted: u64,
    /// Times that the book could not be written any more.
    pub persist_failures: u64,
    /// Addresses that peers have brought into the book.
    pub addresses_learned: u64,
    /// Addresses that peers were told because they asked.
    pub addresses_told: u64,
    /// Reads and writes that had to pause, because the kernel had no memory for them.
    pub memory_pauses: u64,
    /// Connections that were dialled.
    pub dialled: u64,
    /// Connections that failed and were dialled again at once.
    pub restarts: u64,
    /// Bans that began, or began anew with another end.
    pub bans: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Connections that ended.
    pub closed: u64,
    /// Frames received, delivered or not.
    pub frames_received: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Pings answered.
    pub pings_answered: u64,
    /// Pings queued for sending; one whose peer ends before that is never sent.
    pub pings_sent: u64,
    /// Pongs that answered a ping of ours.
    pub pongs_received: u64,
    /// Pongs that answered none: unsolicited, repeated, late or guessed.
    pub pongs_unmatched: u64,
    /// Frames dropped for a wrong checksum.
    pub bad_checksums: u64,
    /// Frames dropped for a command that is no legal name.
    pub malformed_commands: u64,
    /// Frames dropped because the handler did not want them.
    pub discarded: u64,
    /// Frames dropped because they were larger than what is gathered of their command.
    pub over_buffer_limit: u64,
    /// Frames dropped because all links together gathered too much.
    pub no_buffer_room: u64,
    /// Messages of the engine's own that could not be decoded and were ignored.
    pub undecodable: u64,
    /// Messages before the end of the handshake that are no part of it, ignored.
    pub before_handshake: u64,
    /// Veracks that came before the version.
    pub early_veracks: u64,
    /// Second versions and veracks, ignored.
    pub duplicate_handshakes: u64,
    /// Events whose link was gone already.
    pub stale_events: u64,
    /// Timers that were looked at before their link's deadline, because it had moved.
    pub timers_rearmed: u64,
    /// Deadlines that passed.
    pub timeouts: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_counts_at_its_end() {
        let mut histogram = LatencyHistogram::new();
        assert_eq!((histogram.min(), histogram.max(), histogram.percentile(99.0)), Default::default());
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.count(), 2);
        assert_eq!(histogram.min(), Duration::from_nanos(1));
        let max = histogram.max().as_nanos() as f64;
        assert!((max / LATENCY_MAX_NANOS as f64 - 1.0).abs() < 0.001);
    }

    #[test]
    fn a_summary_tells_the_few_from_the_many() {
        let mut histogram = LatencyHistogram::new();
        assert_eq!(histogram.summary(), LatencySummary::default());
        for tenths in 1..=10_000 {
            histogram.record(Duration::from_micros(100 * tenths));
        }
        let LatencySummary { count, p50, p99, p999, max } = histogram.summary();
        assert_eq!(count, 10_000);
        assert_eq!([p50, p99, p999, max].map(|latency| latency.as_millis()), [500, 990, 999, 1_000]);
    }

    #[test]
    fn merging_adds_the_counts() {
        let (mut one, mut two) = (LatencyHistogram::new(), LatencyHistogram::new());
        one.record(Duration::from_micros(10));
        two.record(Duration::from_micros(30));
        one.merge(&two);
        assert_eq!((one.count(), one.max().as_micros()), (2, 30));
        assert!(format!("{one:?}").len() < 200, "{one:?}");
        one.clear();
        assert_eq!(one.count(), 0);
    }
}
