//! The close of a link: its last bytes, its report, and the release of its row.
//!
//! A link's row is freed only in a turn's closing step, after the link's close was reported.

use super::managing;
use super::nonces::Nonces;
use super::report::emit;
use crate::api::Event;
use crate::bugs::canary;
use crate::error::EndState;
use crate::handler::Handler;
use crate::id::LinkId;
use crate::link::framer::FramerMemory;
use crate::link::row::{Ending, Phase};
use crate::manager::Leaving;
use crate::peer::ConnectionState;
use crate::state::LoopState;

/// A link that may be closing, and the parts of the engine that its close needs.
pub(crate) struct Closing<'a> {
    pub(super) id: LinkId,
    pub(super) state: &'a mut LoopState,
    pub(super) memory: &'a mut FramerMemory,
    pub(super) nonces: &'a mut Nonces,
}

/// The next action for a closing link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseStep {
    /// No action yet.
    Wait,
    /// All queued bytes have been sent: shut down writing.
    ShutDownWriting,
    /// The row has been freed: close the socket.
    Close,
}

impl Closing<'_> {
    /// Runs the next step of the link's close.
    pub(crate) fn step<H: Handler>(&mut self, handler: &mut H) -> CloseStep {
        let (state, id) = (&mut *self.state, self.id);
        let now = state.clocks.now();
        let Some(link) = state.links.table.get_mut(id) else { return CloseStep::Wait };
        match link.phase() {
            None | Some(Phase::Lingering(_)) => CloseStep::Wait,
            Some(Phase::Draining(_)) if !link.queue.is_empty() || now < link.may_shut_down_at() => {
                state.links.rearm(id, now);
                CloseStep::Wait
            }
            Some(Phase::Draining(_)) => {
                link.set_phase(Phase::Lingering(now));
                state.links.rearm(id, now);
                CloseStep::ShutDownWriting
            }
            Some(Phase::Ended) => {
                self.reap(handler);
                CloseStep::Close
            }
        }
    }

    fn reap<H: Handler>(&mut self, handler: &mut H) {
        let (state, id) = (&mut *self.state, self.id);
        let now = state.clocks.now();
        let Some(link) = state.links.table.get_mut(id) else { return };
        let Some(Ending { reason, consequences, .. }) = link.ending.as_deref().copied() else { return };
        let last = link.peer.state();
        let kind = link.peer.connection_type();
        state.telemetry.census.remove(kind, last);
        state.telemetry.closes.add(&reason);
        let end = end_of(last, consequences.end_state);
        let transition = match end {
            ConnectionState::Rejected => link.peer.transition_to_rejected(now),
            ConnectionState::Failed => link.peer.transition_to_failed(now),
            // An inbound connection whose handshake never began is already in this state.
            ConnectionState::Disconnected if last == end => Ok(()),
            ConnectionState::Disconnected
            | ConnectionState::Connecting
            | ConnectionState::AwaitingHandshake
            | ConnectionState::Connected => link.peer.transition_to_disconnected(now),
        };
        debug_assert!(transition.is_ok(), "{last:?} cannot close for {reason:?}");
        let ended = consequences.ended.while_in(last);
        let leaving = Leaving { id, address: link.peer.address(), connection_type: kind, state: last, reason, ended };
        let cut = link.framer.streaming();
        self.nonces.remove(id);
        managing::link_removed(leaving, state);
        state.telemetry.counters.closed += 1;
        if canary!(NoDeferredFree) {
            state.links.table.remove(id);
        }
        if let Some((header, received)) = cut {
            emit(id, Event::BodyCut { header, received, reason }, state, handler);
        }
        emit(id, Event::Closed { reason, state: last }, state, handler);
        state.links.wheel.disarm(id.slot() as u32);
        state.marks.remove(id);
        if let Some(link) = state.links.table.get_mut(id) {
            link.framer.reset(self.memory);
            link.queue.clear(&mut state.links.pool);
            if let Some(mut stream) = link.stream.take() {
                stream.behind.clear(&mut state.links.pool);
            }
        }
        state.links.table.remove(id);
    }
}

/// Returns the final state of a connection that was in `state`. A connection can end as rejected only once TCP has
/// connected; before that, `Rejected` becomes `Failed`. A final state does not change.
fn end_of(state: ConnectionState, end_state: EndState) -> ConnectionState {
    match (state, end_state) {
        (ConnectionState::Disconnected | ConnectionState::Rejected | ConnectionState::Failed, _) => state,
        (_, EndState::Disconnected) => ConnectionState::Disconnected,
        (ConnectionState::AwaitingHandshake | ConnectionState::Connected, EndState::Rejected) => {
            ConnectionState::Rejected
        }
        (_, EndState::Rejected | EndState::Failed) => ConnectionState::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::one_of_each;
    use crate::peer::ConnectionType;

    #[test]
    fn every_reason_can_close_a_connection_in_any_state_that_is_not_final() {
        use ConnectionState::{AwaitingHandshake, Connected, Connecting};
        for reason in one_of_each() {
            for state in [Connecting, AwaitingHandshake, Connected] {
                let end = end_of(state, reason.consequences().end_state);
                assert!(state.may_become(end, ConnectionType::Outbound), "{state:?} {reason:?}");
            }
            let end = end_of(AwaitingHandshake, reason.consequences().end_state);
            assert!(AwaitingHandshake.may_become(end, ConnectionType::OverCapacity), "{reason:?}");
        }
    }
}
