//! The last step of a turn: what has happened is told.

use super::Engine;
use crate::handler::{Ctx, Handler};

impl Engine {
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
