//! A copy of the loop's statistics for handlers and other threads, with summaries of the histograms.
//!
//! Copying changes nothing. The histograms themselves stay in the loop.

use super::LoopState;
use crate::manager::Manager;
use crate::manager::ban::BanReason;
use crate::manager::store::PeerStatus;
use crate::stats::{BookCounts, Stats};
use crate::time::Instant;

/// Returns all gauges, counters and latencies, at a cost that does not depend on the number of peers. `gathered_bytes`
/// is the memory held for large messages that are being buffered.
pub(crate) fn stats(state: &LoopState, gathered_bytes: u64) -> Stats {
    Stats {
        links: state.links.table.len(),
        streams: state.links.streams_len(),
        ready: state.telemetry.ready_count(),
        connections: state.telemetry.census,
        book: state.manager.as_deref().map(book_counts),
        banned_hosts: state.manager.as_ref().map_or(0, |manager| manager.bans.len()),
        send_queues: state.links.pool.queues_in_use(),
        waiting_bytes: state.links.pool.waiting_bytes(),
        gathered_bytes,
        uptime: state.clocks.now().since(Instant::ZERO),
        busy: state.telemetry.busy,
        spinning: state.telemetry.spinning,
        counters: state.telemetry.counters.clone(),
        closes: state.telemetry.closes,
        dial_holds: state.telemetry.dial_holds,
        received: state.telemetry.received,
        sent: state.telemetry.sent,
        connect: state.telemetry.connect.summary(),
        handshake: state.telemetry.handshake.summary(),
        ping_rtt: state.telemetry.ping_rtt.summary(),
        turn: state.telemetry.turn.summary(),
        loop_lag: state.telemetry.loop_lag.summary(),
        keepalive_lag: state.telemetry.keepalive_lag.summary(),
    }
}

fn book_counts(manager: &Manager) -> BookCounts {
    let count = |status| manager.persistence.book.count(status);
    BookCounts {
        unknown: count(PeerStatus::Unknown),
        valid: count(PeerStatus::Valid),
        inaccessible: count(PeerStatus::Inaccessible),
        banned: count(PeerStatus::Banned(BanReason::Manual)),
    }
}
