//! The line that shows a node at work, and the one that sums it up.

use crate::units::{show_bytes, show_seconds};
use peerloop::api::Stats;
use peerloop::config::ManagerConfig;
use std::time::Duration;

/// What is happening now; the rates are those since `before`.
pub(super) fn line(now: &Stats, before: &Stats, manager: &ManagerConfig) -> String {
    let seconds = now.uptime.saturating_sub(before.uptime).as_secs_f64();
    let per_second = |now: u64, before: u64| {
        let rate = now.saturating_sub(before) as f64 / seconds;
        if rate.is_finite() { rate.round() as u64 } else { 0 }
    };
    let (counters, earlier) = (&now.counters, &before.counters);
    format!(
        "peers {} of {}  known {}  banned {}  frames {}/s  in {}/s  out {}/s",
        now.ready,
        manager.max_peers,
        now.book.map_or(0, |book| book.unknown + book.valid + book.inaccessible + book.banned),
        now.banned_hosts,
        per_second(counters.frames_received, earlier.frames_received),
        show_bytes(per_second(counters.bytes_received, earlier.bytes_received)),
        show_bytes(per_second(counters.bytes_sent, earlier.bytes_sent))
    )
}

/// What was done in all.
pub(super) fn summary(stats: &Stats, uptime: Duration) -> String {
    let counters = &stats.counters;
    format!(
        "ran {}: {} dialled, {} accepted, {} handshakes, in {}, out {}\n",
        show_seconds(uptime),
        counters.dialled,
        counters.accepted,
        counters.handshakes,
        show_bytes(counters.bytes_received),
        show_bytes(counters.bytes_sent)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerloop::Network;

    #[test]
    fn a_status_without_time_between_has_no_rates() {
        let manager = ManagerConfig::new(Network::Regtest);
        let line = line(&Stats::default(), &Stats::default(), &manager);
        assert_eq!(line, "peers 0 of 20  known 0  banned 0  frames 0/s  in 0 B/s  out 0 B/s");
    }
}
