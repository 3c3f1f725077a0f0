//! What the engine reports: its gauges and counters when asked, and the control events of each turn.

use super::Engine;
use crate::handler::{Ctx, Handler};
use crate::manager::Manager;
use crate::manager::ban::BanReason;
use crate::manager::store::PeerStatus;
use crate::stats::{BookCounts, Stats};
use crate::time::Instant;

impl Engine {
    /// All gauges, counters and latencies, at a cost that does not depend on the number of peers.
    pub(crate) fn stats(&self) -> Stats {
        let state = &self.state;
        Stats {
            links: state.links.table.len(),
            ready: state.telemetry.ready_count(),
            connections: state.telemetry.census,
            book: state.manager.as_deref().map(book_counts),
            banned_hosts: state.manager.as_ref().map_or(0, |manager| manager.bans.len()),
            send_queues: state.links.pool.queues_in_use(),
            waiting_bytes: state.links.pool.waiting_bytes(),
            gathered_bytes: self.memory.gathered_bytes(),
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

    /// Passes the control events of the turn to the log and the handler, then these and the messages of the turn to the
    /// subscribers.
    pub(crate) fn dispatch_control_events<H: Handler>(&mut self, handler: &mut H) {
        if !self.state.outbox.has_work() {
            return;
        }
        let events = self.state.outbox.take_events();
        for event in &events {
            self.logbook.note(event, self.state.clocks.now());
            handler.on_control(&mut Ctx::new(&mut self.state), event);
        }
        self.state.outbox.give_back(events);
        self.state.outbox.flush();
    }

    /// Ends all subscriptions, with what is left for them.
    pub(crate) fn end_subscriptions(&mut self) {
        self.state.outbox.end();
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
