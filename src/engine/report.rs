//! The engine's reports: events to the handler, and control events to the log, the handler and subscribers.

use super::log::LogBook;
use crate::api::Event;
use crate::handler::{Ctx, Handler};
use crate::id::{LinkId, PeerId};
use crate::state::{LoopState, Mark};
use crate::time::Instant;

/// Passes a peer's event to the handler.
pub(super) fn emit<H: Handler>(id: LinkId, event: Event<'_>, state: &mut LoopState, handler: &mut H) {
    handler.on_event(&mut Ctx::new(state), PeerId::of(id), event);
}

/// Reports the marked messages whose last byte the kernel accepted in the write at `at`, each to the handler that
/// marked it. Returns whether any message was reported.
pub(super) fn report_written<H: Handler>(id: LinkId, at: Instant, state: &mut LoopState, handler: &mut H) -> bool {
    if state.marks.is_empty() {
        return false;
    }
    let written = state.links.table.get(id).map_or(0, |link| link.bytes_written);
    let peer = PeerId::of(state.links.peer_of(id));
    let mut has_reported = false;
    while let Some(Mark { number, lane, .. }) = state.marks.take_due(id, written) {
        let event = Event::Written { mark: number, at };
        handler.on_event(&mut Ctx::aimed_at(lane, state), peer, event);
        has_reported = true;
    }
    has_reported
}

/// Passes the turn's control events to the log and the handler, then these events and the turn's messages to the
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
