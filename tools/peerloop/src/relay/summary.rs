//! A relay's counters as text: the status line and the closing summary.

use crate::status;
use crate::units::{counted, show_bytes, show_latency};
use peerloop::api::Stats;
use peerloop::histogram::LatencySummary;
use peerloop::relay::{HopSummary, ReceiverSummary, RelayStats};
use std::time::{Duration, Instant};

/// The values of the status line.
#[derive(Debug, Default)]
pub(super) struct Shown {
    leaf_peers: usize,
    ready_links: usize,
    links: usize,
    tx_per_second: f64,
    pool_bytes: u64,
    tip_height: Option<u32>,
    /// The first receivers' hops from arrival since the previous update.
    hop: LatencySummary,
    /// The number of accepted transactions at the previous update, and its moment.
    before: Option<(u64, Instant)>,
}

impl Shown {
    /// Updates the values. Without `hop`, the shown hop remains.
    pub(super) fn note(&mut self, stats: &RelayStats, hop: Option<LatencySummary>, now: Instant) {
        let accepted = stats.counts.accepted;
        if let Some((before, at)) = self.before.replace((accepted, now)) {
            let seconds = now.saturating_duration_since(at).as_secs_f64();
            let rate = accepted.saturating_sub(before) as f64 / seconds;
            self.tx_per_second = if rate.is_finite() { rate } else { 0.0 };
        }
        self.leaf_peers = stats.leaf_peers;
        self.ready_links = stats.upstream_links;
        self.links = stats.upstreams.iter().map(|upstream| upstream.links).sum();
        self.pool_bytes = stats.pool_bytes as u64;
        self.tip_height = stats.tip_height;
        self.hop = hop.unwrap_or(self.hop);
    }

    /// Returns the beginning of the status line: leaf peers, links to upstreams, and so on.
    pub(super) fn line(&self) -> String {
        let tip = self.tip_height.map_or_else(String::new, |height| format!("  tip {height}"));
        format!(
            "peers {}  upstreams {}/{}  tx {:.0}/s  hop p50 {} p99 {}  pool {}{tip}",
            self.leaf_peers,
            self.ready_links,
            self.links,
            self.tx_per_second,
            latency(self.hop.p50),
            latency(self.hop.p99),
            show_bytes(self.pool_bytes)
        )
    }
}

/// Returns the closing summary.
pub(super) fn summary(relay: &RelayStats, hops: &HopSummary, stats: &Stats, uptime: Duration) -> String {
    let (counts, requests) = (&relay.counts, &relay.requests);
    let done = format!(
        "{} accepted, {} announced, {} served",
        counted(counts.accepted, "transaction"),
        counted(counts.inv_items_sent, "item"),
        counts.served
    );
    let mut text = status::summary("relayed", uptime, &done, &stats.counters);
    text += &format!(
        "not found {}, rejected {}, announcements lost {}, over rate {}, over limit {}\n",
        counts.not_found, counts.rejected, counts.announcements_lost, counts.over_rate, counts.over_limit
    );
    text += &format!(
        "submitted {}, seen back {}, accepted on silence {}\n",
        counts.submitted, counts.seen_back, counts.accepted_on_silence
    );
    text += &format!(
        "requests {}, hedged {}, moved {}, overdue {}, failed {}\n",
        requests.sent, requests.hedged, requests.moved, requests.overdue, requests.failed
    );
    if let Some(height) = relay.tip_height {
        text += &format!(
            "tip at height {height}, {} passed, {} served, {} wrong, {}, {} cut\n",
            counted(counts.blocks_relayed, "block"),
            counts.blocks_served,
            counts.blocks_wrong,
            counted(counts.block_fail_overs, "fail-over"),
            counted(counts.block_readers_cut, "reader")
        );
        text += &format!(
            "{} received, {} rebuilt, {} of them with requested transactions, {} sent, {} wrong\n",
            counted(counts.compact_blocks_received, "compact block"),
            counts.compact_blocks_rebuilt,
            counts.compact_blocks_completed,
            counts.compact_blocks_sent,
            counts.compact_blocks_wrong
        );
        for (name, hops) in [
            ("block_first_byte", &hops.block_first_byte),
            ("block_last_byte", &hops.block_last_byte),
            ("compact_last_byte", &hops.compact_last_byte),
        ] {
            text += &receivers(name, hops);
        }
        text += &latencies("block_gap", &hops.block_gap);
    }
    for (name, summary) in [
        ("relay_hop{receiver=first} from read", &hops.hop_first),
        ("relay_hop{receiver=first} from arrival", &hops.hop_first_with_lag),
        ("relay_hop{receiver=last} from read", &hops.hop_last),
        ("relay_hop{receiver=last} from arrival", &hops.hop_last_with_lag),
        ("queued", &hops.queued),
        ("tx_fetch", &hops.tx_fetch),
        ("propagation", &hops.propagation),
    ] {
        text += &latencies(name, summary);
    }
    if counts.hops_unmeasured > 0 {
        text += &format!("relay_hop: {} not measured\n", counts.hops_unmeasured);
    }
    text
}

fn receivers(name: &str, hops: &ReceiverSummary) -> String {
    let rows = [
        ("first", "read", &hops.first),
        ("first", "arrival", &hops.first_with_lag),
        ("last", "read", &hops.last),
        ("last", "arrival", &hops.last_with_lag),
    ];
    rows.iter().map(|(to, view, summary)| latencies(&format!("{name}{{receiver={to}}} from {view}"), summary)).collect()
}

fn latencies(name: &str, summary: &LatencySummary) -> String {
    let LatencySummary { count, p50, p99, max, .. } = summary;
    match count {
        0 => format!("{name}: no data\n"),
        _ => format!(
            "{name}: {}, p50 {}, p99 {}, max {}\n",
            counted(*count, "sample"),
            latency(*p50),
            latency(*p99),
            latency(*max)
        ),
    }
}

fn latency(latency: Option<Duration>) -> String {
    latency.map_or_else(|| "-".to_owned(), show_latency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::relay::Hops;

    #[test]
    fn a_latency_without_samples_has_no_data() {
        let mut hops = Hops::default();
        hops.tx_fetch.record(Duration::from_millis(2));
        let text = summary(&RelayStats::default(), &hops.summary(), &Stats::default(), Duration::from_secs(2));
        assert!(text.starts_with("relayed 2 s: 0 transactions accepted, 0 items announced, 0 served, in "), "{text}");
        for part in ["relay_hop{receiver=first} from read: no data\n", "propagation: no data\n", "tx_fetch: 1 sample, "]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_relay_with_headers_shows_the_hops_of_blocks() {
        let mut relay = RelayStats::default();
        let text = |relay: &RelayStats| summary(relay, &HopSummary::default(), &Stats::default(), Duration::ZERO);
        assert!(!text(&relay).contains("block_first_byte"));
        relay.tip_height = Some(9);
        let text = text(&relay);
        let tip = "tip at height 9, 0 blocks passed, 0 served, 0 wrong, 0 fail-overs, 0 readers cut\n";
        for part in [
            tip,
            "0 compact blocks received, 0 rebuilt, 0 of them with requested transactions, 0 sent, 0 wrong\n",
            "block_first_byte{receiver=first} from read: no data\n",
            "block_last_byte{receiver=last} from ",
            "compact_last_byte{receiver=first} from arrival: no data\n",
            "block_gap: no data\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_status_line_shows_the_rate_since_the_previous_update() {
        let (mut shown, mut stats, began) = (Shown::default(), RelayStats::default(), Instant::now());
        shown.note(&stats, Some(LatencySummary::default()), began);
        assert_eq!(shown.line(), "peers 0  upstreams 0/0  tx 0/s  hop p50 - p99 -  pool 0 B");
        (stats.counts.accepted, stats.leaf_peers, stats.upstream_links) = (30, 7, 2);
        shown.note(&stats, Some(LatencySummary::default()), began + Duration::from_secs(2));
        assert!(shown.line().starts_with("peers 7  upstreams 2/0  tx 15/s  "), "{}", shown.line());
        shown.note(&stats, Some(LatencySummary::default()), began + Duration::from_secs(2));
        assert!(shown.line().contains("tx 0/s"), "{}", shown.line());
        stats.tip_height = Some(812);
        shown.note(&stats, None, began + Duration::from_secs(3));
        assert!(shown.line().ends_with("  tip 812"), "{}", shown.line());
    }
}
