//! Reports of the engine: events to the handler, and control events to the log, the handler and subscribers.

use super::log::LogBook;
use crate::api::Event;
use crate::handler::{Ctx, Handler};
use crate::id::{LinkId, PeerId};
use crate::state::LoopState;

/// Emits an event of a peer to the handler.
pub(super) fn emit<H: Handler>(id: LinkId, event: Event<'_>, state: &mut LoopState, handler: &mut H) {
    handler.on_event(&mut Ctx::new(state), PeerId::of(id), event);
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
