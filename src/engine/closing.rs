//! The close of a link: its last bytes, its report, and the release of its row.
//!
//! A link's row is freed only in a turn's closing step, after the link's close was reported.

use super::managing;
use super::nonces::Nonces;
use super::report::emit;
use super::streams;
use crate::api::Event;
use crate::bugs::canary;
use crate::error::{CloseReason, EndState};
use crate::handler::Handler;
use crate::id::LinkId;
use crate::link::framer::FramerMemory;
use crate::link::row::{Ending, Link, Phase};
use crate::peer::{ConnectionState, LinkRole};
use crate::state::{Links, LoopState};

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
            Some(Phase::AwaitingStreams(_)) => self.shut_down_if_all_sent(),
            Some(Phase::Draining(_)) if !link.queue.is_empty() || now < link.may_shut_down_at() => {
                state.links.rearm(id, now);
                CloseStep::Wait
            }
            Some(Phase::Draining(since)) => {
                link.set_phase(Phase::AwaitingStreams(since));
                self.shut_down_if_all_sent()
            }
            Some(Phase::Ended) => {
                self.reap(handler);
                CloseStep::Close
            }
        }
    }

    /// Shuts down writing if the queues of all the peer's links are sent, and lists the peer's other links for the same
    /// step.
    fn shut_down_if_all_sent(&mut self) -> CloseStep {
        let (links, id, now) = (&mut self.state.links, self.id, self.state.clocks.now());
        let phase_of = |links: &Links, member| links.table.get(member).and_then(Link::phase);
        let is_unsent = |member| matches!(phase_of(links, member), Some(Phase::Draining(_)));
        if links.members(id).any(is_unsent) {
            links.rearm(id, now);
            return CloseStep::Wait;
        }
        if let Some(link) = links.table.get_mut(id) {
            link.set_phase(Phase::Lingering(now));
        }
        self.list_waiting_links();
        self.state.links.rearm(id, now);
        CloseStep::ShutDownWriting
    }

    /// Lists the peer's links that wait for the others to be sent.
    fn list_waiting_links(&mut self) {
        let links = &mut self.state.links;
        for member in links.members(self.id) {
            if let Some(Phase::AwaitingStreams(_)) = links.table.get(member).and_then(Link::phase) {
                links.table.mark_closing(member);
            }
        }
    }

    fn reap<H: Handler>(&mut self, handler: &mut H) {
        let is_peer = self.state.links.table.get(self.id).is_some_and(Link::is_peer);
        match is_peer {
            true => self.reap_peer(handler),
            false => self.reap_stream(handler),
        }
        self.free();
    }

    /// Reports the end of a link that is a peer's further stream, or was being set up as one.
    fn reap_stream<H: Handler>(&mut self, handler: &mut H) {
        let (state, id) = (&mut *self.state, self.id);
        let Some(link) = state.links.table.get(id) else { return };
        let Some(Ending { reason, .. }) = link.ending.as_deref().copied() else { return };
        let peer = state.links.peer_of(id);
        if link.peer.role() == LinkRole::Opening {
            if state.links.is_open(peer) {
                streams::report_failure(peer, reason, state);
            }
        } else if state.links.peer(peer).is_some() {
            report_cut(id, peer, reason, state, handler);
        }
    }

    fn reap_peer<H: Handler>(&mut self, handler: &mut H) {
        let (state, id) = (&mut *self.state, self.id);
        let now = state.clocks.now();
        let Some(link) = state.links.table.get_mut(id) else { return };
        let Some(Ending { reason, consequences, .. }) = link.ending.as_deref().copied() else { return };
        let leaving = managing::leaving(id, link, reason, consequences);
        let last = leaving.state;
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
        self.nonces.remove(id);
        managing::give_back(leaving, state);
        for member in state.links.members(id) {
            // Nothing that happens on the other streams is reported after `Closed`.
            state.marks.remove(member);
            report_cut(member, id, reason, state, handler);
        }
        if canary!(NoDeferredFree) {
            state.links.table.remove(id);
        }
        emit(id, Event::Closed { reason, state: last }, state, handler);
        // The peer is gone, so no byte of its other streams is handled any more.
        for member in state.links.members(id).filter(|member| *member != id) {
            state.links.finish(member);
        }
    }

    /// Releases all that a link holds, and frees its row.
    fn free(&mut self) {
        self.list_waiting_links();
        let (state, id) = (&mut *self.state, self.id);
        state.links.wheel.disarm(id.slot() as u32);
        state.marks.remove(id);
        state.links.remove_member(id);
        state.facts.remove(&id);
        if let Some(link) = state.links.table.get_mut(id) {
            link.framer.reset(self.memory);
            link.queue.clear(&mut state.links.pool);
            if let Some(mut body) = link.body.take() {
                body.behind.clear(&mut state.links.pool);
            }
        }
        state.links.table.remove(id);
    }
}

/// Reports a link's incomplete message in chunks, if there is one, as an event of `peer`.
fn report_cut<H: Handler>(id: LinkId, peer: LinkId, reason: CloseReason, state: &mut LoopState, handler: &mut H) {
    let stream_type = state.links.stream_type(id);
    let Some(link) = state.links.table.get(id) else { return };
    if let Some((header, received)) = link.framer.streaming() {
        emit(peer, Event::BodyCut { header, stream_type, received, reason }, state, handler);
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
