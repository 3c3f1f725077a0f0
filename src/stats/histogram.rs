//! Latency histograms, and the counters of a loop.
//!
//! Every latency is recorded in nanoseconds, from one nanosecond to 104 days, with three significant digits. A
//! histogram has a fixed 352 KiB of address space, but a loop touches only the pages it needs: 8 KiB for each
//! doubling of the latency. All histograms have the same bounds, so any two can be merged. The loop never serialises
//! a histogram: a reader on another thread receives a whole histogram in exchange for a spare one, or a summary.

use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// The longest latency that a histogram distinguishes, in nanoseconds: 104 days.
///
/// This is also the largest integer that every JSON reader and every HdrHistogram library represents exactly.
pub const LATENCY_MAX_NANOS: u64 = (1 << 53) - 1;

/// Returns the rank of the percentile `percent` of `count` samples: 1 for the first sample.
///
/// The rule matches HdrHistogram's Java original: `percent` is lowered by one ulp before the product is rounded up.
/// Otherwise a percentage that binary fractions cannot represent, such as 99.9, could reach one sample too far.
pub fn percentile_rank(percent: f64, count: u64) -> u64 {
    let percent = percent.next_down().clamp(0.0, 100.0);
    ((percent * count as f64 / 100.0).ceil() as u64).max(1)
}

/// A histogram of latencies.
///
/// ```
/// use peerloop::histogram::LatencyHistogram;
/// use std::time::Duration;
///
/// let mut latencies = LatencyHistogram::new();
/// for millis in 1..=100 {
///     latencies.record(Duration::from_millis(millis));
/// }
/// assert_eq!(latencies.count(), 100);
/// ```
#[derive(Clone)]
pub struct LatencyHistogram {
    histogram: Histogram<u64>,
}

impl LatencyHistogram {
    /// Returns an empty histogram.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_NANOS, 3).expect("the bounds are valid");
        Self { histogram }
    }

    /// Records one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanos.max(1));
    }

    /// Returns the number of recorded latencies.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns the latency that at least `percent` % of all recorded latencies do not exceed; `None` while empty.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        self.at_rank(percentile_rank(percent, self.count()))
    }

    /// Returns the latency with this rank, 1 for the shortest; `None` beyond the longest.
    pub fn at_rank(&self, rank: u64) -> Option<Duration> {
        if rank > self.count() {
            return None;
        }
        // Half a rank below the requested rank, so that no rounding error of the division crosses a rank.
        let quantile = (rank as f64 - 0.5) / self.count() as f64;
        Some(Duration::from_nanos(self.histogram.value_at_quantile(quantile)))
    }

    /// Returns the shortest latency; `None` while empty.
    pub fn min(&self) -> Option<Duration> {
        self.of_some(self.histogram.min())
    }

    /// Returns the longest latency; `None` while empty.
    pub fn max(&self) -> Option<Duration> {
        self.of_some(self.histogram.max())
    }

    /// Returns the mean; `None` while empty.
    pub fn mean(&self) -> Option<Duration> {
        self.of_some(self.histogram.mean() as u64)
    }

    /// Returns `nanos` as a duration; `None` without samples, because the value is then meaningless.
    fn of_some(&self, nanos: u64) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Returns a summary of the histogram.
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.count(),
            p50: self.percentile(50.0),
            p99: self.percentile(99.0),
            p999: self.percentile(99.9),
            max: self.max(),
        }
    }

    /// Adds all samples of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all latency histograms have the same bounds");
    }

    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// Returns the underlying histogram, for writing it to a file.
    pub fn as_hdr(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// Returns the underlying histogram without a copy.
    pub fn into_hdr(self) -> Histogram<u64> {
        self.histogram
    }
}

impl fmt::Debug for LatencyHistogram {
    /// Formats the summary, because thousands of buckets would flood any message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LatencyHistogram").field(&self.summary()).finish()
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

/// A summary of a histogram, without its 352 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencySummary {
    /// The number of recorded latencies; the other fields are `None` while it is 0.
    pub count: u64,
    /// The median.
    pub p50: Option<Duration>,
    /// The 99th percentile.
    pub p99: Option<Duration>,
    /// The 99.9th percentile.
    pub p999: Option<Duration>,
    /// The longest latency.
    pub max: Option<Duration>,
}

/// The counters of a loop since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Inbound connections that were refused and closed at once, for any [`Refusal`](crate::error::Refusal).
    pub refused: u64,
    /// Accepts that failed for one connection only.
    pub accept_failures: u64,
    /// Pauses in accepting, because descriptors or memory ran out or the listener itself failed.
    pub accept_pauses: u64,
    /// Socket options that the system refused. The loop works without them.
    pub socket_options_refused: u64,
    /// Listeners that the loop opened by itself: those in the configuration, and replacements of broken listeners.
    pub listeners_bound: u64,
    /// Failed attempts to open a listener, and listeners that had to be closed.
    pub listen_failures: u64,
    /// Names that were looked up successfully.
    pub names_resolved: u64,
    /// Names that could not be looked up.
    pub resolve_failures: u64,
    /// Batches of changes to the address book that became durable.
    pub batches_persisted: u64,
    /// Reported failures to write the address book.
    pub persist_failures: u64,
    /// Addresses that peers added to the address book.
    pub addresses_learned: u64,
    /// Addresses sent to peers that requested them.
    pub addresses_told: u64,
    /// Pauses in reading and writing because the kernel ran out of memory.
    pub memory_pauses: u64,
    /// Outbound connections: dialled by the loop, or added as outbound by the embedder.
    pub dialled: u64,
    /// Connections lost or closed by the peer, and dialled again at once.
    pub restarts: u64,
    /// Bans that started, or whose end was changed.
    pub bans: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Connections that were closed.
    pub closed: u64,
    /// Frames received, delivered or not.
    pub frames_received: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Pings from peers that were answered.
    pub pings_answered: u64,
    /// Pings queued for sending. A queued ping is never sent if its peer disconnects first.
    pub pings_sent: u64,
    /// Pongs that answered one of our pings.
    pub pongs_received: u64,
    /// Pongs that matched no sent ping: unsolicited, repeated, guessed or malformed.
    pub pongs_unmatched: u64,
    /// Frames with a wrong checksum. They were dropped, or had been delivered in chunks by the time of the check.
    pub bad_checksums: u64,
    /// Frames dropped because their command name is malformed.
    pub malformed_commands: u64,
    /// Frames dropped because the handler declined them, and no subscriber or peer manager needed them.
    pub discarded: u64,
    /// Frames dropped because they exceeded their command's buffer limit.
    pub over_buffer_limit: u64,
    /// Frames dropped because all links together had reached the total buffer limit.
    pub no_buffer_room: u64,
    /// Messages for the engine that could not be decoded and were ignored.
    pub undecodable: u64,
    /// Messages before the end of the handshake that do not belong to it. With a peer manager, a `createstrm` or
    /// `streamack` after the `version` closes the connection. All others are ignored.
    pub before_handshake: u64,
    /// Veracks that arrived before the version.
    pub early_veracks: u64,
    /// Further versions and veracks after the first. They did not change the handshake.
    pub duplicate_handshakes: u64,
    /// Further streams of peers that were opened, by either side.
    pub streams_opened: u64,
    /// Further streams that we could not open.
    pub stream_failures: u64,
    /// Readiness events of links that had already been removed.
    pub stale_events: u64,
    /// Timers that fired before their link's deadline because the deadline had moved.
    pub timers_rearmed: u64,
    /// Connections that were closed because a deadline passed.
    pub timeouts: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_out_of_range_are_clamped_to_the_range() {
        let mut histogram = LatencyHistogram::new();
        assert_eq!((histogram.min(), histogram.max(), histogram.percentile(99.0)), (None, None, None));
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.count(), 2);
        assert_eq!(histogram.min(), Some(Duration::from_nanos(1)));
        assert_eq!(histogram.max(), Some(Duration::from_nanos(LATENCY_MAX_NANOS)));
        assert_eq!(histogram.percentile(100.0), histogram.max());
    }

    #[test]
    fn latencies_of_up_to_104_days_are_not_clipped() {
        for secs in [61, 3_600, 86_400, 9_000_000] {
            let mut histogram = LatencyHistogram::new();
            histogram.record(Duration::from_secs(secs));
            let max = histogram.max().unwrap().as_secs_f64();
            assert!((max / secs as f64 - 1.0).abs() < 0.001, "{max}");
        }
    }

    #[test]
    fn a_histogram_has_the_documented_size() {
        let counters = LatencyHistogram::new().as_hdr().distinct_values();
        assert_eq!(counters * size_of::<u64>(), 352 * 1_024);
    }

    #[test]
    fn a_summary_has_the_count_the_percentiles_and_the_maximum() {
        let mut histogram = LatencyHistogram::new();
        assert_eq!(histogram.summary(), LatencySummary::default());
        for tenths in 1..=10_000 {
            histogram.record(Duration::from_micros(100 * tenths));
        }
        let LatencySummary { count, p50, p99, p999, max } = histogram.summary();
        assert_eq!(count, 10_000);
        assert_eq!([p50, p99, p999, max].map(|latency| latency.unwrap().as_millis()), [500, 990, 999, 1_000]);
    }

    #[test]
    fn a_percentile_with_an_exact_rank_does_not_reach_the_next_sample() {
        let mut histogram = LatencyHistogram::new();
        (1..=1_000).for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        let nanos = |percent| histogram.percentile(percent).unwrap().as_nanos();
        assert_eq!([50.0, 99.0, 99.9, 99.91, 100.0].map(nanos), [500, 990, 999, 1_000, 1_000]);
        assert_eq!([0.0, 0.1, 0.2, 7.0, 55.0, 57.0].map(nanos), [1, 1, 2, 70, 550, 570]);
        assert_eq!(percentile_rank(10.21, 10_000), 1_021, "the rank is not exact; plain rounding up gives 1,022");
        assert_eq!((histogram.at_rank(1_000), histogram.at_rank(1_001)), (Some(Duration::from_micros(1)), None));
    }

    proptest! {
        /// The rank is the smallest integer not below the exact fraction, but at least 1. This holds while floats can
        /// distinguish neighbouring fractions, so `count` is limited accordingly.
        #[test]
        fn ranks_match_exact_arithmetic(
            decimals in 0u32..=6,
            digits in 0u64..=100_000_000,
            count in prop_oneof![1u64..10_000, 1u64..1 << 44],
            whole in any::<bool>(),
        ) {
            let scale = 10u64.pow(decimals);
            let digits = digits % (100 * scale + 1);
            let count = count.min((1 << 50) / (100 * scale));
            let count = if whole { count.next_multiple_of(100 * scale) } else { count };
            let percent: f64 = format!("{}.{:0width$}", digits / scale, digits % scale, width = decimals as usize)
                .trim_end_matches('.')
                .parse()
                .unwrap();
            let exact = (u128::from(digits) * u128::from(count)).div_ceil(100 * u128::from(scale)).max(1);
            prop_assert_eq!(u128::from(percentile_rank(percent, count)), exact, "{} % of {}", percent, count);
        }

        #[test]
        fn each_rank_has_its_sample(mut nanos in proptest::collection::vec(1u64..1 << 36, 1..40)) {
            let mut histogram = LatencyHistogram::new();
            nanos.iter().for_each(|&nanos| histogram.record(Duration::from_nanos(nanos)));
            nanos.sort_unstable();
            for (index, &nanos) in nanos.iter().enumerate() {
                let found = histogram.at_rank(index as u64 + 1).unwrap().as_nanos() as u64;
                prop_assert_eq!(found, histogram.as_hdr().highest_equivalent(nanos));
            }
        }
    }

    #[test]
    fn merging_adds_all_samples_and_clearing_removes_them() {
        let (mut one, mut two) = (LatencyHistogram::new(), LatencyHistogram::new());
        one.record(Duration::from_micros(10));
        two.record(Duration::from_micros(30));
        one.merge(&two);
        assert_eq!((one.count(), one.max().unwrap().as_micros()), (2, 30));
        assert!(format!("{one:?}").len() < 200, "{one:?}");
        one.clear();
        assert_eq!(one.count(), 0);
    }
}
