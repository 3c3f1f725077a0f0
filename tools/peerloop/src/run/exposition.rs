//! The metrics of a loop as text for Prometheus: the exposition format of OpenMetrics 1.0.
//!
//! Every name begins with `peerloop_`, and every value is a duration in seconds, a size in bytes or a count. Every
//! label is from a closed list, so that no peer can add a line. Nothing is remembered between two snapshots.

use hdrhistogram::Histogram;
use peerloop::api::Stats;
use peerloop::histogram::{Counters, LatencyHistogram, LatencySummary};
use peerloop::protocol::CommandName;
use peerloop::stats::{BookCounts, MessageCounts};
use peerloop::{ConnectionState, ConnectionType, Network};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::time::Duration;

/// Labels and the histogram that they describe.
pub(crate) type LabelledHistogram<'a, const N: usize> = ([(&'a str, &'a str); N], &'a Histogram<u64>);

/// The metric of a counter: its name, its help, and the function that reads its value.
type Row = (&'static str, &'static str, fn(&Counters) -> u64);

const COUNTERS: [Row; 38] = [
    ("turns", "Turns of the loop", |counters| counters.turns),
    ("accepted_connections", "Connections accepted", |counters| counters.accepted),
    ("refused_connections", "Inbound connections refused and closed at once", |counters| counters.refused),
    ("accept_failures", "Connections that failed while being accepted, without pausing the listener", |counters| {
        counters.accept_failures
    }),
    ("accept_pauses", "Times that accepting had to pause", |counters| counters.accept_pauses),
    ("socket_options_refused", "Socket options that the system refused", |counters| counters.socket_options_refused),
    ("listeners_bound", "Listeners opened", |counters| counters.listeners_bound),
    ("listen_failures", "Failed attempts to open a listener, and listeners that had to be closed", |counters| {
        counters.listen_failures
    }),
    ("names_resolved", "Names resolved", |counters| counters.names_resolved),
    ("resolve_failures", "Names that could not be resolved", |counters| counters.resolve_failures),
    ("book_writes", "Batches of changes to the book that became durable", |counters| counters.batches_persisted),
    ("book_failures", "Reported failures to write the book", |counters| counters.persist_failures),
    ("addresses_learned", "Addresses that peers added to the book", |counters| counters.addresses_learned),
    ("addresses_told", "Addresses sent to peers", |counters| counters.addresses_told),
    ("memory_pauses", "Reads and writes that had to pause for lack of memory", |counters| counters.memory_pauses),
    ("dialled_connections", "Connections dialled", |counters| counters.dialled),
    ("restarts", "Connections lost or closed by the peer, and dialled again at once", |counters| counters.restarts),
    ("bans", "Bans that started or whose end was changed", |counters| counters.bans),
    ("handshakes", "Handshakes completed", |counters| counters.handshakes),
    ("streams_opened", "Further streams of peers that were opened, by either side", |counters| counters.streams_opened),
    ("stream_failures", "Further streams of peers that this node could not open", |counters| counters.stream_failures),
    ("frames_received", "Frames received", |counters| counters.frames_received),
    ("pings_answered", "Pings answered", |counters| counters.pings_answered),
    ("pings_sent", "Pings queued for sending", |counters| counters.pings_sent),
    ("pongs_received", "Pongs that answered a ping", |counters| counters.pongs_received),
    ("pongs_unmatched", "Pongs that answered no ping", |counters| counters.pongs_unmatched),
    ("bad_checksums", "Frames with a wrong checksum", |counters| counters.bad_checksums),
    ("malformed_commands", "Frames dropped for an invalid command name", |counters| counters.malformed_commands),
    ("undecodable_messages", "Messages for the loop itself that could not be decoded", |counters| counters.undecodable),
    ("early_messages", "Messages before the end of the handshake that do not belong to it", |counters| {
        counters.before_handshake
    }),
    ("early_veracks", "Veracks that arrived before the version", |counters| counters.early_veracks),
    ("duplicate_handshakes", "Repeated versions and veracks", |counters| counters.duplicate_handshakes),
    ("discarded_frames", "Frames dropped because the handler declined them", |counters| counters.discarded),
    ("oversize_frames", "Frames dropped because they exceeded their command's buffer limit", |counters| {
        counters.over_buffer_limit
    }),
    ("unbuffered_frames", "Frames dropped because the total buffer limit was reached", |counters| {
        counters.no_buffer_room
    }),
    ("deadlines_missed", "Connections closed because a deadline passed", |counters| counters.timeouts),
    ("stale_events", "Readiness events of connections that had already been removed", |counters| counters.stale_events),
    ("timers_rearmed", "Timers set again because their deadline had moved", |counters| counters.timers_rearmed),
];

/// The upper bounds of the latency buckets, in nanoseconds; longer latencies are in a bucket without a bound.
const BUCKETS_NANOS: [u64; 15] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
];

/// The upper bounds of further buckets, for latencies that are often below the first of [`BUCKETS_NANOS`].
const FINE_BUCKETS_NANOS: [u64; 3] = [10_000, 25_000, 50_000];

/// The end mark of OpenMetrics text.
pub(super) const END: &str = "# EOF\n";

/// The state of a loop at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) stats: Stats,
    /// The latencies since the loop started.
    pub(super) connect: LatencyHistogram,
    pub(super) handshake: LatencyHistogram,
    pub(super) ping_rtt: LatencyHistogram,
}

/// Formats the exposition of one snapshot.
pub(crate) fn exposition(snapshot: impl Collector + 'static, network: Network) -> Result<String, fmt::Error> {
    let labels = [("network".into(), network.name().into())];
    let mut registry = Registry::with_prefix_and_labels("peerloop", labels.into_iter());
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Returns the number of messages with each known command, and with all others as `other`.
pub(crate) fn commands(counts: &MessageCounts) -> Vec<(String, u64)> {
    let name = |command: Option<CommandName>| command.map_or_else(|| "other".to_owned(), |command| command.to_string());
    counts.iter().map(|(command, count)| (name(command), count.messages)).collect()
}

/// Encodes further metrics, which follow the loop's own, without an end mark; `None` if they cannot be encoded.
pub(crate) fn section(metrics: impl Collector + 'static, network: Network) -> Option<String> {
    exposition(metrics, network).ok()?.strip_suffix(END).map(str::to_owned)
}

/// Converts an exposition to Prometheus's text format, version 0.0.4. In that format a counter's description also
/// uses the name with `_total`, and there are no units and no end marker.
pub(crate) fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // A metric's help precedes its type, but only the type shows whether the help's name needs `_total`.
    let mut help = None;
    for line in open_metrics.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", ..] => help = Some(words),
            ["#", "TYPE", name, kind] => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some(["#", "HELP", _, description]) = help.take().as_deref() {
                    text += &format!("# HELP {name}{suffix} {description}\n");
                }
                text += &format!("# TYPE {name}{suffix} {kind}\n");
            }
            ["#", "UNIT", ..] | ["#", "EOF"] => {}
            _ => text += &format!("{line}\n"),
        }
    }
    text
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metrics = Metrics(encoder);
        metrics.state_of(&self.stats)?;
        metrics.work_of(&self.stats)?;
        metrics.histogram("connect", "Time from a dial to its TCP connection", &self.connect)?;
        metrics.histogram("handshake", "Time from the TCP connection to the end of the handshake", &self.handshake)?;
        metrics.histogram("ping_rtt", "Time from a ping to its pong", &self.ping_rtt)?;
        metrics.quantiles("turn", "Duration of each turn's work", &self.stats.turn)?;
        metrics.quantiles("loop_lag", "Delay of exact wake-ups", &self.stats.loop_lag)?;
        metrics.quantiles("keepalive_lag", "Delay of keepalive pings", &self.stats.keepalive_lag)
    }
}

/// A writer of metrics.
pub(crate) struct Metrics<'a>(pub(crate) DescriptorEncoder<'a>);

impl Metrics<'_> {
    /// Writes the current state.
    fn state_of(&mut self, stats: &Stats) -> fmt::Result {
        self.gauge("peers", "Peers whose handshake is complete", stats.ready as u64)?;
        self.gauge("streams", "Connections that are further streams of peers", stats.streams as u64)?;
        let help = "Connections by direction and state, including those being opened or closed";
        let kinds = ConnectionType::ALL.into_iter();
        let all = kinds.flat_map(|kind| ConnectionState::ALL.into_iter().map(move |state| (kind, state)));
        let row = |(kind, state): (ConnectionType, ConnectionState)| {
            let labels = [("direction", kind.label()), ("state", state.label())];
            (labels, stats.connections.count(kind, state) as u64)
        };
        self.gauges("connections", help, all.map(row))?;
        let BookCounts { unknown, valid, inaccessible, banned, .. } = stats.book.unwrap_or_default();
        let all = [("unknown", unknown), ("valid", valid), ("inaccessible", inaccessible), ("banned", banned)];
        let rows = all.map(|(status, count)| ([("status", status)], count as u64));
        self.gauges("book_peers", "Peers in the book by status", rows)?;
        self.gauge("banned_hosts", "Banned hosts", stats.banned_hosts as u64)?;
        self.gauge("send_queues", "Non-empty send queues", stats.send_queues as u64)?;
        let bytes = Some(&Unit::Bytes);
        self.one("waiting", "Waiting bytes in all send queues", bytes, &gauge(stats.waiting_bytes))?;
        self.one("gathered", "Bytes held for incomplete large messages", bytes, &gauge(stats.gathered_bytes))
    }

    /// Writes the work since the loop started.
    fn work_of(&mut self, stats: &Stats) -> fmt::Result {
        self.seconds("uptime", "Time since the loop started", stats.uptime)?;
        self.seconds("busy", "Time that the loop was working", stats.busy)?;
        self.seconds("spinning", "Time that the loop polled for exact wake-ups instead of sleeping", stats.spinning)?;
        let counters = &stats.counters;
        for (name, help, of) in COUNTERS {
            self.one(name, help, None, &counter(of(counters)))?;
        }
        let closes = stats.closed_by_reason().map(|(reason, count)| ([("reason", reason)], count));
        self.counts("closed_connections", "Connections closed", None, closes)?;
        let help = "Reported reasons for not dialling wanted peers";
        let holds = stats.dial_holds.iter().map(|(cause, count)| ([("cause", cause.label())], count));
        self.counts("dial_holds", help, None, holds)?;
        let traffic = [("received", counters.bytes_received), ("sent", counters.bytes_sent)];
        let traffic = traffic.map(|(direction, bytes)| ([("direction", direction)], bytes));
        self.counts("traffic", "Bytes on all connections", Some(&Unit::Bytes), traffic)?;
        let help = "Messages sent or received, even if not delivered; commands outside the protocol count as other";
        let all = [("received", commands(&stats.received)), ("sent", commands(&stats.sent))];
        let rows = all.iter().flat_map(|(direction, commands)| {
            commands.iter().map(|(command, count)| ([("command", command.as_str()), ("direction", direction)], *count))
        });
        self.counts("messages", help, None, rows)
    }

    fn one(&mut self, name: &str, help: &str, unit: Option<&Unit>, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.family(name, help, unit, metric)?)
    }

    /// Starts a metric that has the same type as `metric`.
    fn family<'a>(
        &'a mut self,
        name: &'a str,
        help: &str,
        unit: Option<&'a Unit>,
        metric: &impl EncodeMetric,
    ) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.0.encode_descriptor(name, &format!("{help}."), unit, metric.metric_type())
    }

    /// Writes a counter with one value for each set of labels.
    pub(crate) fn counts<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = ([(&'a str, &'a str); N], u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, unit, &counter(0_u64))?;
        rows.into_iter().try_for_each(|(labels, value)| counter(value).encode(family.encode_family(&Labels(&labels))?))
    }

    /// Writes a gauge with one value for each set of labels.
    pub(crate) fn gauges<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([(&'a str, &'a str); N], u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, None, &gauge(0_u64))?;
        rows.into_iter().try_for_each(|(labels, value)| gauge(value).encode(family.encode_family(&Labels(&labels))?))
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.one(name, help, None, &gauge(value))
    }

    /// Writes a gauge that need not be a whole number.
    pub(crate) fn fraction(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.one(name, help, None, &gauge(value))
    }

    pub(crate) fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.one(name, help, None, &counter(value))
    }

    /// Writes a gauge of bytes.
    pub(crate) fn bytes(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.one(name, help, Some(&Unit::Bytes), &gauge(value))
    }

    fn seconds(&mut self, name: &str, help: &str, time: Duration) -> fmt::Result {
        self.one(name, help, Some(&Unit::Seconds), &counter(time.as_secs_f64()))
    }

    /// Writes the summary of a histogram as gauges, which have no value before the first measurement.
    fn quantiles(&mut self, name: &str, help: &str, summary: &LatencySummary) -> fmt::Result {
        self.labelled_quantiles(name, help, &[([], *summary)])
    }

    /// Writes the summaries of one metric, each with its labels, as [`Metrics::quantiles`] does.
    pub(crate) fn labelled_quantiles<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        all: &[([(&str, &str); N], LatencySummary)],
    ) -> fmt::Result {
        let mut family = self.family(name, help, Some(&Unit::Seconds), &gauge(0.0))?;
        for (labels, LatencySummary { p50, p99, p999, max, .. }) in all {
            for (quantile, latency) in [("0.5", p50), ("0.99", p99), ("0.999", p999), ("1", max)] {
                let Some(latency) = latency else { continue };
                let labels = [&labels[..], &[("quantile", quantile)]].concat();
                gauge(latency.as_secs_f64()).encode(family.encode_family(&Labels(&labels))?)?;
            }
        }
        Ok(())
    }

    /// Writes a histogram in the buckets that all nodes use, so that the histograms of several nodes can be added.
    pub(crate) fn histogram(&mut self, name: &str, help: &str, histogram: &LatencyHistogram) -> fmt::Result {
        put_histogram(self.histogram_family(name, help)?, histogram.as_hdr(), &BUCKETS_NANOS)
    }

    /// Writes histograms of one metric, each with its labels, as [`Metrics::histogram`] does. They have further buckets
    /// for latencies below 100 us.
    pub(crate) fn fine_histograms<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        all: &[LabelledHistogram<'_, N>],
    ) -> fmt::Result {
        let buckets = [&FINE_BUCKETS_NANOS[..], &BUCKETS_NANOS].concat();
        let mut family = self.histogram_family(name, help)?;
        for (labels, histogram) in all {
            put_histogram(family.encode_family(&Labels(labels))?, histogram, &buckets)?;
        }
        Ok(())
    }

    fn histogram_family<'a>(&'a mut self, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
        self.0.encode_descriptor(name, &format!("{help}."), Some(&Unit::Seconds), MetricType::Histogram)
    }
}

fn put_histogram(mut encoder: MetricEncoder<'_>, hdr: &Histogram<u64>, bounds: &[u64]) -> fmt::Result {
    let mut counted = 0;
    let mut buckets = Vec::with_capacity(bounds.len() + 1);
    for &bound in bounds {
        // Latencies are counted from zero, because counting from the previous bound would include the latencies at
        // that bound again.
        let up_to_bound = hdr.count_between(0, bound);
        buckets.push((bound as f64 / 1e9, up_to_bound - counted));
        counted = up_to_bound;
    }
    buckets.push((f64::INFINITY, hdr.len() - counted));
    let sum = hdr.mean() * hdr.len() as f64 / 1e9;
    encoder.encode_histogram::<[(&str, &str); 0]>(sum, hdr.len(), &buckets, None)
}

fn counter<N>(value: N) -> ConstCounter<N> {
    ConstCounter::new(value)
}

fn gauge<N>(value: N) -> ConstGauge<N> {
    ConstGauge::new(value)
}

/// Labels and their values.
#[derive(Debug)]
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|label| EncodeLabel::encode(label, encoder.encode_label()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn req_e47_every_metric_appears_once_with_our_prefix() {
        let text = exposition(Snapshot::default(), Network::Regtest).unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let mut named = BTreeSet::new();
        for line in text.lines().filter(|line| *line != "# EOF") {
            let name = line.trim_start_matches("# TYPE ").trim_start_matches("# HELP ").trim_start_matches("# UNIT ");
            assert!(name.starts_with("peerloop_"), "{line}");
            assert!(!line.starts_with("# TYPE ") || named.insert(name.to_owned()), "{line}");
            assert!(line.starts_with('#') || line.contains("{network=\"regtest\""), "{line}");
        }
        assert!(named.len() > COUNTERS.len());
        for part in [
            "# TYPE peerloop_peers gauge\n",
            "peerloop_connections{network=\"regtest\",direction=\"inbound\",state=\"connected\"} 0\n",
            "peerloop_book_peers{network=\"regtest\",status=\"valid\"} 0\n",
            "peerloop_closed_connections_total{network=\"regtest\",reason=\"pong_timeout\"} 0\n",
            "peerloop_dial_holds_total{network=\"regtest\",cause=\"host_full\"} 0\n",
            "peerloop_messages_total{network=\"regtest\",command=\"inv\",direction=\"sent\"} 0\n",
            "peerloop_messages_total{network=\"regtest\",command=\"other\",direction=\"received\"} 0\n",
            "peerloop_traffic_bytes_total{network=\"regtest\",direction=\"sent\"} 0\n",
            "# TYPE peerloop_turn_seconds gauge\n",
            "peerloop_uptime_seconds_total{network=\"regtest\"} 0",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn each_cause_that_holds_dials_back_has_a_line_of_its_own() {
        let text = exposition(Snapshot::default(), Network::Regtest).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("peerloop_dial_holds")).collect();
        let line = |cause: &str| format!("peerloop_dial_holds_total{{network=\"regtest\",cause=\"{cause}\"}} 0");
        let described = [
            "# HELP peerloop_dial_holds Reported reasons for not dialling wanted peers.",
            "# TYPE peerloop_dial_holds counter",
        ];
        assert_eq!(lines[..2], described);
        let causes = [
            "no_candidates",
            "banned",
            "own_address",
            "host_full",
            "group_full",
            "group_taken",
            "max_peers",
            "max_links",
        ];
        assert_eq!(lines[2..], causes.map(line));
    }

    #[test]
    fn quantiles_have_a_value_once_something_was_measured() {
        let quantile = |stats: Stats| {
            let text = exposition(Snapshot { stats, ..Snapshot::default() }, Network::Regtest).unwrap();
            let name = "peerloop_turn_seconds{network=\"regtest\",quantile=\"0.999\"} ";
            text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
        };
        assert_eq!(quantile(Stats::default()), None, "a quantile without data has a value");
        let mut turn = LatencyHistogram::new();
        (1..=1_000).for_each(|nanos| turn.record(Duration::from_nanos(nanos)));
        let mut stats = Stats::default();
        stats.turn = turn.summary();
        assert_eq!(quantile(stats).as_deref(), Some("9.99e-7"));
    }

    #[test]
    fn the_plain_format_describes_counters_by_their_whole_names() {
        let open_metrics = exposition(Snapshot::default(), Network::Regtest).unwrap();
        let text = plain(&open_metrics);
        for part in [
            "# HELP peerloop_peers Peers whose handshake is complete.\n# TYPE peerloop_peers gauge\npeerloop_peers{",
            "# HELP peerloop_bans_total Bans that started or whose end was changed.\n# TYPE peerloop_bans_total \
             counter\npeerloop_bans_total{",
            "# TYPE peerloop_uptime_seconds_total counter\npeerloop_uptime_seconds_total{network=\"regtest\"} 0",
            "# TYPE peerloop_connect_seconds histogram\npeerloop_connect_seconds_sum{",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let (of_plain, of_open): (Vec<String>, Vec<String>) = (samples(&text), samples(&open_metrics));
        assert_eq!(of_plain, of_open);
    }

    #[test]
    fn every_counter_is_exposed() {
        // These three counters are exposed by reason or by direction instead.
        const OTHERWISE: [&str; 3] = ["closed", "bytes_received", "bytes_sent"];
        let text = format!("{:#?}", Counters::default());
        let fields = text.lines().filter_map(|line| line.trim_start().split_once(": ")).map(|(name, _)| name);
        let fields: BTreeSet<&str> = fields.filter(|name| !OTHERWISE.contains(name)).collect();
        assert_eq!(COUNTERS.len(), fields.len(), "{fields:?}");
        let names: BTreeSet<&str> = COUNTERS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), COUNTERS.len());
    }

    #[test]
    fn a_latency_at_the_bound_of_a_bucket_counts_once() {
        let mut ping_rtt = LatencyHistogram::new();
        BUCKETS_NANOS.into_iter().for_each(|nanos| ping_rtt.record(Duration::from_nanos(nanos)));
        let text = exposition(Snapshot { ping_rtt, ..Snapshot::default() }, Network::Regtest).unwrap();
        let buckets = text.lines().filter(|line| line.starts_with("peerloop_ping_rtt_seconds_bucket"));
        let counts: Vec<usize> = buckets
            .map(|line| line.rsplit_once(' ').expect("the line has a value").1.parse().expect("the field is a number"))
            .collect();
        let expected: Vec<usize> = (1..=BUCKETS_NANOS.len()).chain([BUCKETS_NANOS.len()]).collect();
        assert_eq!(counts, expected);
    }

    #[test]
    fn each_latency_is_in_its_own_and_all_higher_buckets() {
        let mut handshake = LatencyHistogram::new();
        for micros in [90, 900, 900, 30_000_000] {
            handshake.record(Duration::from_micros(micros));
        }
        let text = exposition(Snapshot { handshake, ..Snapshot::default() }, Network::Regtest).unwrap();
        let value = |name: &str, le: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name) && line.contains(le)).expect(name);
            line.rsplit_once(' ').expect("the line has a value").1.parse().expect("the field is a number")
        };
        let bucket = |le: &str| value("peerloop_handshake_seconds_bucket", &format!("le=\"{le}\""));
        assert_eq!(
            [bucket("0.0001"), bucket("0.0005"), bucket("0.001"), bucket("10.0"), bucket("+Inf")],
            [1., 1., 3., 3., 4.]
        );
        assert_eq!(value("peerloop_handshake_seconds_count", ""), 4.0);
        assert!((value("peerloop_handshake_seconds_sum", "") / 30.001_89 - 1.0).abs() < 0.001);
    }
}
