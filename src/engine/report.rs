//! What the engine reports: events to the handler, control events to all that listen, and figures when asked.

use super::log::LogBook;
use crate::api::Event;
use crate::handler::{Ctx, Handler};
use crate::id::{LinkId, PeerId};
use crate::link::framer::FramerMemory;
use crate::manager::Manager;
use crate::manager::ban::BanReason;
use crate::manager::store::PeerStatus;
use crate::state::LoopState;
use crate::stats::{BookCounts, Stats};
use crate::time::Instant;

/// Emits an event of a peer to the handler.
pub(super) fn emit<H: Handler>(id: LinkId, event: Event<'_>, state: &mut LoopState, handler: &mut H) {
    handler.on_event(&mut Ctx::new(state), PeerId::of(id), event);
}

/// Passes the control events of the turn to the log and the handler, then these and the messages of the turn to the
/// subscribers.
pub(super) fn dispatch_control_events<H: Handler>(state: &mut LoopState, logbook: &mut LogBook, handler: &mut H) {
    if !state.outbox.has_work() {
        return;
    }
    let events = state.outbox.take_events();
    for event in &events {
        logbook.note(event, state.clocks.now());
        handler.on_control(&mut Ctx::new(state), event);
    }
    state.outbox.give_back(events);
    state.outbox.flush();
}

/// Returns all gauges, counters and latencies, at a cost that does not depend on the number of peers.
pub(super) fn stats(state: &LoopState, memory: &FramerMemory) -> Stats {
    Stats {
        links: state.links.table.len(),
        ready: state.telemetry.ready_count(),
        connections: state.telemetry.census,
        book: state.manager.as_deref().map(book_counts),
        banned_hosts: state.manager.as_ref().map_or(0, |manager| manager.bans.len()),
        send_queues: state.links.pool.queues_in_use(),
        waiting_bytes: state.links.pool.waiting_bytes(),
        gathered_bytes: memory.gathered_bytes(),
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
