//! A relay's metrics as OpenMetrics text, which follows the loop's own.

use crate::run::exposition::{LabelledHistogram, Metrics, section};
use peerloop::Network;
use peerloop::histogram::LatencyHistogram;
use peerloop::relay::{Hops, ReceiverHops, RelayCounts, RelayStats, RequestCounts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// The metric of a counter: its name, its help, and the function that reads its value.
type Row<C> = (&'static str, &'static str, fn(&C) -> u64);

const COUNTS: [Row<RelayCounts>; 52] = [
    ("relay_accepted", "Transactions announced to all peers", |counts| counts.accepted),
    ("relay_submitted", "Transactions submitted to the upstreams", |counts| counts.submitted),
    ("relay_resubmitted", "Submitted transactions announced to the upstreams again", |counts| counts.resubmitted),
    ("relay_seen_back", "Submitted transactions that an upstream has announced", |counts| counts.seen_back),
    ("relay_rejected", "Transactions rejected by an upstream", |counts| counts.rejected),
    ("relay_accepted_on_silence", "Submitted transactions accepted without an announcement", |counts| {
        counts.accepted_on_silence
    }),
    ("relay_inv_items_received", "Items of received inv messages", |counts| counts.inv_items_received),
    ("relay_inv_items_sent", "Items of sent inv messages", |counts| counts.inv_items_sent),
    ("relay_invs_sent", "Sent inv messages", |counts| counts.invs_sent),
    ("relay_invs_encoded", "Encoded inv messages, each sent to one or more peers", |counts| counts.invs_encoded),
    ("relay_announcements_lost", "Announcements that a peer missed", |counts| counts.announcements_lost),
    ("relay_served", "Transactions served", |counts| counts.served),
    ("relay_not_found", "Items answered with notfound", |counts| counts.not_found),
    ("relay_over_rate", "Transactions dropped because their peer exceeded its rate", |counts| counts.over_rate),
    ("relay_over_limit", "Announcements dropped because their message or peer had too many", |counts| {
        counts.over_limit
    }),
    ("relay_announcers_dropped", "Announcers forgotten for lack of room", |counts| counts.announcers_dropped),
    ("relay_seen_again", "Announcements of transactions that are no longer kept", |counts| counts.seen_again),
    ("relay_oversized", "Transactions too large to be relayed", |counts| counts.oversized),
    ("relay_large_received", "Large transactions received whole", |counts| counts.large_received),
    ("relay_large_dropped", "Large transactions dropped for lack of room or time", |counts| counts.large_dropped),
    ("relay_large_readers_cut", "Connections closed because their large transaction was dropped", |counts| {
        counts.large_readers_cut
    }),
    ("relay_malformed", "Transactions that could not be decoded", |counts| counts.malformed),
    ("relay_dropped_by_policy", "Transactions dropped by the policy", |counts| counts.dropped_by_policy),
    ("relay_held_dropped", "Held transactions dropped for lack of room", |counts| counts.held_dropped),
    ("relay_pool_evicted", "Transactions dropped because the pool was full", |counts| counts.pool_evicted),
    ("relay_seen_evicted", "Remembered transactions dropped before their time", |counts| counts.seen_evicted),
    ("relay_fee_unknown", "Fee filters that were not applied", |counts| counts.fee_unknown),
    ("relay_blocks_refused", "Requests for blocks, each of which ended its connection", |counts| counts.blocks_refused),
    ("relay_blocks_over_budget", "Requests for old blocks that exceeded a budget", |counts| counts.blocks_over_budget),
    ("relay_old_block_bytes", "Bytes of old blocks charged to budgets", |counts| counts.old_block_bytes),
    ("relay_blocks_served", "Blocks sent whole to a peer", |counts| counts.blocks_served),
    ("relay_blocks_relayed", "Blocks that have passed", |counts| counts.blocks_relayed),
    ("relay_blocks_wrong", "Blocks, or sources of blocks, that were wrong", |counts| counts.blocks_wrong),
    ("relay_block_fail_overs", "Changes of the source of a passing block", |counts| counts.block_fail_overs),
    ("relay_blocks_raced", "Blocks requested from two upstreams at the same time", |counts| counts.blocks_raced),
    ("relay_block_readers_cut", "Connections closed because their block could not be continued", |counts| {
        counts.block_readers_cut
    }),
    ("relay_headers_refused", "Headers of upstreams that were refused", |counts| counts.headers_refused),
    ("relay_header_requests_relayed", "Requests for headers answered by an upstream", |counts| {
        counts.header_requests_relayed
    }),
    ("relay_header_requests_refused", "Requests for headers, each of which ended its connection", |counts| {
        counts.header_requests_refused
    }),
    ("relay_tips_announced", "Announcements of new blocks", |counts| counts.tips_announced),
    ("relay_compact_blocks_received", "Compact blocks announced by upstreams", |counts| counts.compact_blocks_received),
    ("relay_compact_blocks_sent", "Compact blocks sent to a peer", |counts| counts.compact_blocks_sent),
    ("relay_compact_blocks_rebuilt", "Compact blocks rebuilt from the pool", |counts| counts.compact_blocks_rebuilt),
    ("relay_compact_blocks_completed", "Rebuilt compact blocks with requested transactions", |counts| {
        counts.compact_blocks_completed
    }),
    ("relay_compact_blocks_wrong", "Compact blocks and replies that did not match their block", |counts| {
        counts.compact_blocks_wrong
    }),
    ("relay_blocktxn_served", "Requests for transactions of a block answered from memory", |counts| {
        counts.blocktxn_served
    }),
    ("relay_blocktxn_relayed", "Requests for transactions of a block answered by an upstream", |counts| {
        counts.blocktxn_relayed
    }),
    ("relay_serving_overruns", "Connections closed because too many items waited", |counts| counts.serving_overruns),
    ("relay_alerts", "Alerts passed on", |counts| counts.alerts),
    ("relay_hops_unmeasured", "Hops that are missing in the latencies", |counts| counts.hops_unmeasured),
    ("relay_submissions_dropped", "Followed transactions dropped for later ones", |counts| counts.submissions_dropped),
    ("relay_dials_refused", "Dials of upstreams that this side refused", |counts| counts.dials_refused),
];

const REQUESTS: [Row<RequestCounts>; 8] = [
    ("relay_requests_sent", "Requests sent", |counts| counts.sent),
    ("relay_requests_hedged", "Requests to a second announcer", |counts| counts.hedged),
    ("relay_requests_moved", "Requests that moved to the next announcer", |counts| counts.moved),
    ("relay_requests_overdue", "Requests whose deadline passed", |counts| counts.overdue),
    ("relay_requests_repeated", "Requests repeated to the last announcer", |counts| counts.repeated),
    ("relay_requests_failed", "Transactions forgotten because all announcers had failed", |counts| counts.failed),
    ("relay_unrequested", "Transactions without a request, or after its deadline", |counts| counts.unrequested),
    ("relay_requests_dropped", "Announcements dropped because a limit was reached", |counts| counts.dropped),
];

/// A relay's state at one moment, and its latencies since its start.
#[derive(Debug)]
struct Snapshot {
    stats: RelayStats,
    hops: Hops,
}

/// Returns the metrics without an end mark; `None` if they cannot be encoded.
pub(super) fn exposition(stats: RelayStats, hops: &Hops, network: Network) -> Option<String> {
    let snapshot = Snapshot { stats, hops: hops.clone() };
    section(snapshot, network)
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut metrics, Self { stats, hops }) = (Metrics(encoder), self);
        for (name, help, value) in [
            ("relay_leaf_peers", "Ready peers that are no upstreams", stats.leaf_peers),
            ("relay_upstream_links", "Ready links to upstreams", stats.upstream_links),
            ("relay_entries", "Transactions with announcers", stats.entries),
            ("relay_seen", "Dropped transactions that are still remembered", stats.seen),
            ("relay_bodies", "Transactions in the pool", stats.bodies),
            ("relay_requests_in_flight", "Requests in flight", stats.in_flight),
            ("relay_following", "Submitted transactions that are followed", stats.following),
            ("relay_headers", "Headers on all branches", stats.headers),
            ("relay_passing_blocks", "Blocks that are passing", stats.passing_blocks),
            ("relay_kept_blocks", "Small blocks that are kept", stats.kept_blocks),
        ] {
            metrics.gauge(name, help, value as u64)?;
        }
        metrics.bytes("relay_pool", "Bytes of the transactions in the pool", stats.pool_bytes as u64)?;
        metrics.bytes("relay_pending", "Bytes of unanswered getdata messages", stats.pending_bytes as u64)?;
        metrics.bytes("relay_passing_block", "Bytes of the passing blocks", stats.passing_block_bytes as u64)?;
        metrics.bytes("relay_kept_block", "Bytes of the kept blocks", stats.kept_block_bytes as u64)?;
        if let Some(height) = stats.tip_height {
            metrics.gauge("relay_tip_height", "Height of the best chain of headers", u64::from(height))?;
        }
        for (name, help, of) in COUNTS {
            metrics.count(name, help, of(&stats.counts))?;
        }
        for (name, help, of) in REQUESTS {
            metrics.count(name, help, of(&stats.requests))?;
        }
        let Hops { hop_first, hop_first_with_lag, hop_last, hop_last_with_lag, .. } = hops;
        let all = labelled([hop_first, hop_first_with_lag, hop_last, hop_last_with_lag]);
        metrics.fine_histograms("relay_hop", "Time from a transaction to its announcement", &all)?;
        for (name, help, hops) in [
            (
                "relay_block_first_byte",
                "Time from a block's first byte in to its first byte out",
                &hops.block_first_byte,
            ),
            ("relay_block_last_byte", "Time from a block's last byte in to its last byte out", &hops.block_last_byte),
            (
                "relay_compact_last_byte",
                "Time from a compact block's last byte in to its last byte out",
                &hops.compact_last_byte,
            ),
        ] {
            let ReceiverHops { first, first_with_lag, last, last_with_lag, .. } = hops;
            metrics.fine_histograms(name, help, &labelled([first, first_with_lag, last, last_with_lag]))?;
        }
        let help = "Longest time without a new byte of a block that has lost a source in the middle";
        metrics.histogram("relay_block_gap", help, &hops.block_gap)?;
        metrics.histogram("relay_queued", "Time from the queueing of an announcement to its write", &hops.queued)?;
        metrics.histogram("relay_tx_fetch", "Time from a request to the transaction", &hops.tx_fetch)?;
        let help = "Time from a transaction's acceptance to its announcement by each further upstream link";
        metrics.histogram("relay_propagation", help, &hops.propagation)
    }
}

/// Labels the hops to the first and to the last receiver, each from the read and from the arrival.
fn labelled([first, first_with_lag, last, last_with_lag]: [&LatencyHistogram; 4]) -> [LabelledHistogram<'_, 2>; 4] {
    [
        ("first", "read", first),
        ("first", "arrival", first_with_lag),
        ("last", "read", last),
        ("last", "arrival", last_with_lag),
    ]
    .map(|(receiver, view, hops)| ([("receiver", receiver), ("view", view)], hops.as_hdr()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn text(stats: RelayStats, hops: &Hops) -> String {
        exposition(stats, hops, Network::Regtest).expect("the metrics can be encoded")
    }

    #[test]
    fn both_receivers_and_views_of_the_hop_have_buckets() {
        let mut hops = Hops::default();
        hops.hop_last_with_lag.record(Duration::from_micros(300));
        let text = text(RelayStats::default(), &hops);
        let line = |receiver: &str, view: &str, count: u64| {
            let labels = format!("receiver=\"{receiver}\",view=\"{view}\"");
            let network = "network=\"regtest\"";
            let found = text.lines().any(|line| {
                line.starts_with("peerloop_relay_hop_seconds_count{")
                    && line.contains(&labels)
                    && line.contains(network)
                    && line.ends_with(&format!(" {count}"))
            });
            assert!(found, "{receiver} {view}: {text}");
        };
        for (receiver, view, count) in
            [("first", "read", 0), ("first", "arrival", 0), ("last", "read", 0), ("last", "arrival", 1)]
        {
            line(receiver, view, count);
        }
        assert_eq!(text.matches("# TYPE peerloop_relay_hop_seconds histogram\n").count(), 1);
        assert!(!text.contains("# EOF"), "{text}");
        assert!(text.lines().all(|line| line.contains("peerloop_relay_")), "{text}");
    }

    #[test]
    fn a_hop_of_less_than_100_microseconds_has_a_bucket_of_its_own() {
        let mut hops = Hops::default();
        [5, 20, 40, 90].into_iter().for_each(|micros| hops.hop_first.record(Duration::from_micros(micros)));
        let text = text(RelayStats::default(), &hops);
        let hops = text.lines().filter(|line| line.starts_with("peerloop_relay_hop_seconds_bucket{"));
        let first = hops.filter(|line| line.contains("receiver=\"first\",view=\"read\""));
        let counts: Vec<&str> = first.filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(counts[..5], ["1", "2", "3", "4", "4"]);
    }

    #[test]
    fn every_count_is_exposed_once() {
        let names: Vec<&str> = COUNTS.iter().map(|row| row.0).chain(REQUESTS.iter().map(|row| row.0)).collect();
        let fields = |debug: String| debug.lines().filter(|line| line.contains(": ")).count();
        let expected =
            fields(format!("{:#?}", RelayCounts::default())) + fields(format!("{:#?}", RequestCounts::default()));
        assert_eq!(names.len(), expected);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), expected);
        let text = text(RelayStats::default(), &Hops::default());
        for name in names {
            assert!(text.contains(&format!("peerloop_{name}_total{{network=\"regtest\"}} 0\n")), "{name}: {text}");
        }
    }
}
