//! A handler's view of the loop, divided between the parts of a pair of handlers.
//!
//! Each part has a lane. A callback that a part requests through its view is made to that part alone.

use super::Ctx;
use crate::api::Delivery;
use crate::id::{LinkId, PeerId};
use crate::wire::StreamType;

impl Ctx<'_> {
    /// Returns the view of a pair's first handler. A call that is requested through this view, for example with
    /// [`Ctx::wake_at`], is made to the first handler alone. Call this in [`Reactor::act`](crate::Reactor::act).
    /// Elsewhere the pair creates the view.
    ///
    /// # Panics
    ///
    /// If pairs are nested deeper than [`MAX_HANDLER_DEPTH`](crate::limits::MAX_HANDLER_DEPTH).
    pub fn first(&mut self) -> Ctx<'_> {
        self.for_part(false)
    }

    /// Returns the view of a pair's second handler, like [`Ctx::first`] for the first one.
    ///
    /// # Panics
    ///
    /// As [`Ctx::first`].
    pub fn second(&mut self) -> Ctx<'_> {
        self.for_part(true)
    }

    fn for_part(&mut self, is_second: bool) -> Ctx<'_> {
        Ctx { state: &mut *self.state, lane: self.lane.part(is_second), target: self.target }
    }

    /// Returns whether the call is for the first part of a pair, and whether it is for the second part.
    pub(super) fn is_for_part(&self) -> [bool; 2] {
        [false, true].map(|is_second| self.lane.part(is_second).leads_to(self.target))
    }

    /// Stores the deliveries that the parts of a pair want for the arriving message of `peer`.
    pub(super) fn note_wishes(&mut self, peer: PeerId, wishes: [Delivery; 2]) {
        for (is_second, wish) in [false, true].into_iter().zip(wishes) {
            self.state.wishes.set(self.receiving(peer), self.lane.part(is_second), wish);
        }
    }

    /// Returns the deliveries that the parts of a pair want for the arriving message of `peer`.
    pub(super) fn wishes(&self, peer: PeerId) -> [Delivery; 2] {
        self.wishes_on(self.receiving(peer))
    }

    /// Returns the deliveries that the parts of a pair wanted for the last message that began on a peer's stream.
    pub(super) fn wishes_on_stream(&self, peer: PeerId, stream_type: StreamType) -> [Delivery; 2] {
        self.wishes_on(self.state.links.link_of(peer.link(), stream_type))
    }

    fn wishes_on(&self, link: LinkId) -> [Delivery; 2] {
        [false, true].map(|is_second| self.state.wishes.get(link, self.lane.part(is_second)))
    }

    /// Returns the link of the message that is being delivered. Each stream of a peer has its own message.
    fn receiving(&self, peer: PeerId) -> LinkId {
        self.state.links.receiving().unwrap_or_else(|| peer.link())
    }
}
