//! What the engine reports: its gauges and counters when asked, and the control events of each turn.

use super::Engine;
use crate::api::Latency;
use crate::handler::{Ctx, Handler};
use crate::manager::Manager;
use crate::manager::ban::BanReason;
use crate::manager::store::PeerStatus;
use crate::stats::histogram::LatencyHistogram;
use crate::stats::{BookCounts, Stats};
use crate::time::Instant;
use std::mem;

impl Engine {
    /// All gauges, counters and latencies, at a cost that does not depend on the number of peers.
    pub(crate) fn stats(&self) -> Stats {
        let state = &self.state;
        Stats {
            links: state.table.len(),
            ready: state.ready_peers(),
            connections: state.census,
            book: state.manager.as_deref().map(book_counts),
            banned_hosts: state.manager.as_ref().map_or(0, |manager| manager.bans.len()),
            send_queues: state.pool.queues_in_use(),
            waiting_bytes: state.pool.waiting_bytes(),
            gathered_bytes: self.memory.gathered_bytes(),
            uptime: state.now.since(Instant::ZERO),
            busy: state.busy,
            spinning: state.spinning,
            counters: state.counters.clone(),
            closes: state.closes,
            dial_holds: state.dial_holds,
            received: state.received,
            sent: state.sent,
            connect: state.connect.summary(),
            handshake: state.handshake.summary(),
            ping_rtt: state.ping_rtt.summary(),
            turn: state.turn.summary(),
            loop_lag: state.loop_lag.summary(),
            keepalive_lag: state.keepalive_lag.summary(),
        }
    }

    /// Gives a histogram away whole, and goes on with `spare`.
    pub(super) fn take_latencies(&mut self, latency: Latency, spare: LatencyHistogram) -> LatencyHistogram {
        let histogram = match latency {
            Latency::Connect => &mut self.state.connect,
            Latency::Handshake => &mut self.state.handshake,
            Latency::PingRtt => &mut self.state.ping_rtt,
            Latency::Turn => &mut self.state.turn,
            Latency::LoopLag => &mut self.state.loop_lag,
            Latency::KeepaliveLag => &mut self.state.keepalive_lag,
        };
        mem::replace(histogram, spare)
    }

    /// Tells the control events of the turn to the log and the handler, then passes them and the messages of the turn
    /// on to the subscribers.
    pub(crate) fn tell_news<H: Handler>(&mut self, handler: &mut H) {
        let events = self.state.outbox.take_events();
        for event in &events {
            self.logbook.note(event, self.state.now);
            handler.on_control(&mut Ctx::new(&mut self.state), event);
        }
        self.state.outbox.give_back(events);
        self.state.outbox.flush();
    }
}

fn book_counts(manager: &Manager) -> BookCounts {
    let count = |status| manager.book.count(status);
    BookCounts {
        unknown: count(PeerStatus::Unknown),
        valid: count(PeerStatus::Valid),
        inaccessible: count(PeerStatus::Inaccessible),
        banned: count(PeerStatus::Banned(BanReason::Manual)),
    }
}
