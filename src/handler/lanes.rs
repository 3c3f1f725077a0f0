//! A handler's view of the loop, divided between the parts of a pair of handlers, and the callbacks at a moment that a
//! handler requests: wake-ups and timers.
//!
//! Each part has a lane. A callback that a part requests through its view is made to that part alone.

use super::Ctx;
use crate::api::Delivery;
use crate::error::RequestError;
use crate::id::{LinkId, PeerId};
use crate::state::{LoopState, TimerKey};
use crate::time::Instant;
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

    // --- Wake-ups and timers ----------------------------------------------------------------------------------------

    /// Requests one call of [`Handler::on_wake`](super::Handler::on_wake) at `moment`. The call is exact if the
    /// configuration lets the loop spin. Only the earliest of several requested moments is kept. Each handler of a
    /// pair has its own wake-up.
    pub fn wake_at(&mut self, moment: Instant) {
        self.state.clocks.ask_wake(self.lane, moment);
    }

    /// Sets the timer `key` to the moment `at`. A timer that is already set is moved to `at`.
    /// [`Handler::on_timer`](super::Handler::on_timer) is called once per timer. Setting a timer costs about 100 ns,
    /// for any number of timers, and allocates only when more timers are set than ever before.
    ///
    /// A timer never fires early, and never before this call returns. A timer that is already due fires in the next
    /// timer step; inside [`on_timer`](super::Handler::on_timer), that is the next turn's timer step. A timer at
    /// [`Instant::MAX`] never fires. Each handler of a pair has its own keys. For an exact moment use
    /// [`Ctx::wake_at`].
    ///
    /// # Errors
    ///
    /// [`RequestError::TooManyTimers`] if [`MAX_TIMERS`](crate::limits::MAX_TIMERS) other timers are set.
    ///
    /// ```
    /// use peerloop::{Ctx, Disconnect, Event, Handler, PeerId};
    /// use std::collections::HashMap;
    /// use std::time::Duration;
    ///
    /// /// Closes each peer a minute after it became ready.
    /// #[derive(Default)]
    /// struct ShortVisits {
    ///     peers: HashMap<u64, PeerId>,
    ///     visits: u64,
    /// }
    ///
    /// impl Handler for ShortVisits {
    ///     type Request = ();
    ///
    ///     fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
    ///         if let Event::Ready { .. } = event {
    ///             self.visits += 1;
    ///             match ctx.set_timer(self.visits, ctx.now().plus(Duration::from_secs(60))) {
    ///                 Ok(()) => drop(self.peers.insert(self.visits, peer)),
    ///                 Err(_) => ctx.close(peer, Disconnect::RetryLater),
    ///             }
    ///         }
    ///     }
    ///
    ///     fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
    ///         if let Some(peer) = self.peers.remove(&key) {
    ///             ctx.close(peer, Disconnect::Done);
    ///         }
    ///     }
    /// }
    /// ```
    pub fn set_timer(&mut self, key: u64, at: Instant) -> Result<(), RequestError> {
        let key = TimerKey { lane: self.lane, key };
        let LoopState { timers, clocks, rng, .. } = &mut *self.state;
        timers.set(key, at, clocks.now(), rng)
    }

    /// Cancels the timer `key` and returns whether it was set. A cancelled timer does not fire, even if it is due.
    pub fn cancel_timer(&mut self, key: u64) -> bool {
        self.state.timers.cancel(TimerKey { lane: self.lane, key })
    }

    /// Returns the earliest wake-up that was requested.
    #[cfg(feature = "sim")]
    pub(crate) fn asked_wake(&self) -> Option<Instant> {
        self.state.clocks.wake_at()
    }
}
