//! Step 4 of the turn, its second half: connections that are opened.

use super::Reactor;
use crate::bugs::{self, Budget};
use crate::error::{IoStep, LocalCause, NetworkFailure};
use crate::handler::Handler;
use crate::id::LinkId;
use crate::limits::DIALS_PER_TURN;
use crate::net::Net;
use crate::offload::Offload;

impl<N: Net + Offload, H: Handler> Reactor<N, H> {
    pub(super) fn dial(&mut self) {
        let mut left = bugs::shrunk(Budget::Dials, DIALS_PER_TURN);
        while left > 0
            && let Some(dial) = self.engine.state.links.table.pop_dial()
        {
            if !self.engine.state.links.table.get(dial.link).is_some_and(|link| link.is_open()) {
                continue;
            }
            left -= 1;
            self.read_clock();
            self.engine.dialling(dial.link);
            match self.net.connect(dial.link, dial.address, dial.source) {
                Ok(()) => self.engine.dial_began(dial.link),
                Err(error) => {
                    let step = NetworkFailure::step_of_dial(dial.source.is_some(), &error);
                    self.engine.failed(dial.link, step, &error);
                }
            }
        }
    }

    pub(super) fn finish_connect(&mut self, id: LinkId) {
        match self.net.connected(id) {
            Ok(None) => {}
            Ok(Some(endpoints)) if endpoints.are_one() => {
                self.engine.state.links.abort(id, LocalCause::SelfConnection.into());
            }
            Ok(Some(_)) => {
                self.engine.opened(id, &mut self.handler);
                self.engine.state.links.table.mark_ready(id);
            }
            Err(error) => self.engine.failed(id, IoStep::Connect, &error),
        }
    }
}
