//! The text that `serve` prints: the greeting, the counts in the status line, and the summary.

use super::knobs::misbehaviour;
use crate::status;
use crate::units::counted;
use peerloop::Network;
use peerloop::load::{ResponderConfig, ResponderCounts, Snapshot};
use std::net::SocketAddr;
use std::time::Duration;

/// Formats the greeting: the addresses, and how the node misbehaves, if it does.
pub(super) fn greeting(
    addresses: &[SocketAddr],
    network: Network,
    max_peers: usize,
    responder: &ResponderConfig,
) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let most = counted(max_peers, "peer");
    let misbehaviour = misbehaviour(responder).map(|text| text + "\n").unwrap_or_default();
    format!("listening on {}  network {network}  at most {most}\n{misbehaviour}", addresses.join(" "))
}

/// Formats the replies that were not sent at once, and the closed peers, for the status line; empty if there are none.
pub(super) fn misdeeds(counts: &ResponderCounts) -> String {
    listed(&misdeeds_of(counts)).map(|text| format!("  {text}")).unwrap_or_default()
}

fn misdeeds_of(counts: &ResponderCounts) -> [(&'static str, u64); 7] {
    [
        ("delayed", counts.delayed),
        ("stalled", counts.stalled),
        ("dropped", counts.dropped),
        ("over the rate", counts.over_rate),
        ("over a limit", counts.over_limit),
        ("unsent", counts.unsent),
        ("peers closed", counts.closed),
    ]
}

/// Formats the counts that are not zero.
fn listed(counts: &[(&str, u64)]) -> Option<String> {
    let shown: Vec<String> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what} {count}")).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Formats the summary: the connections and pings, then the replies and the data if there were any.
pub(super) fn summary(snapshot: &Snapshot, uptime: Duration) -> String {
    let (counters, counts) = (&snapshot.counters, &snapshot.counts);
    let done = format!(
        "{} accepted, {}, at most {} at once, {} answered",
        counters.accepted,
        counted(counters.handshakes, "handshake"),
        counted(snapshot.peak, "peer"),
        counted(counters.pings_answered, "ping")
    );
    let mut text = status::summary("served", uptime, &done, counters);
    let misdeeds = misdeeds_of(counts);
    if counts.requests > 0 || listed(&misdeeds).is_some() {
        let misdeeds = listed(&misdeeds).map(|text| format!(", {text}")).unwrap_or_default();
        let requests = counted(counts.requests, "request");
        text += &format!("{requests} to the node: answered {}{misdeeds}\n", counts.answered);
    }
    let sent = [
        ("headers messages", counts.headers_sent),
        ("transactions", counts.txs_sent),
        ("blocks", counts.blocks_sent),
        ("items not found", counts.not_found),
        ("items requested", counts.requested),
        ("announcements", counts.announcements),
    ];
    let received = [
        ("transactions", counts.txs_received),
        ("blocks", counts.blocks_received),
        ("transactions evicted", counts.txs_evicted),
        ("undecodable messages", counts.undecodable),
    ];
    for (direction, counts) in [("sent", &sent[..]), ("received", &received)] {
        text += &listed(counts).map(|list| format!("{direction}: {list}\n")).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(change: impl FnOnce(&mut ResponderCounts)) -> Snapshot {
        let mut snapshot = Snapshot::default();
        change(&mut snapshot.counts);
        snapshot
    }

    #[test]
    fn a_node_that_only_answered_pings_has_a_summary_of_one_line() {
        let text = summary(&Snapshot::default(), Duration::from_secs(3));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("served 3 s: 0 accepted, 0 handshakes, at most 0 peers at once, 0 pings"), "{text}");
        assert_eq!(misdeeds(&ResponderCounts::default()), "");
    }

    #[test]
    fn the_summary_lists_every_count_that_is_not_zero() {
        let snapshot = snapshot(|counts| {
            (counts.requests, counts.answered, counts.delayed) = (10, 4, 7);
            (counts.dropped, counts.stalled, counts.over_rate) = (3, 2, 1);
            (counts.blocks_sent, counts.txs_received) = (5, 6);
        });
        let text = summary(&snapshot, Duration::from_secs(3));
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "10 requests to the node: answered 4, delayed 7, stalled 2, dropped 3, over the rate 1",
                "sent: blocks 5",
                "received: transactions 6",
            ]
        );
        assert_eq!(misdeeds(&snapshot.counts), "  delayed 7, stalled 2, dropped 3, over the rate 1");
    }

    #[test]
    fn closed_peers_are_listed_even_if_nothing_was_requested() {
        let text = summary(&snapshot(|counts| counts.closed = 9), Duration::from_secs(3));
        assert_eq!(text.lines().nth(1), Some("0 requests to the node: answered 0, peers closed 9"));
    }

    #[test]
    fn only_a_node_that_misbehaves_says_so() {
        let address = ["127.0.0.1:18444".parse().expect("the string is an address")];
        let greeting = |config: ResponderConfig| greeting(&address, Network::Regtest, 5, &config);
        let plain = "listening on 127.0.0.1:18444  network regtest  at most 5 peers\n";
        assert_eq!(greeting(ResponderConfig::default()), plain);
        let bad = ResponderConfig::default().with_drop_share(0.05);
        assert_eq!(greeting(bad), format!("{plain}misbehaves on purpose: drops 5 % of the requests\n"));
    }
}
