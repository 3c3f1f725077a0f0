//! The embedder's interface: a [`Handler`] that the loop calls inline, and the [`Ctx`] through which the handler acts.
//!
//! A handler is called on the loop's thread, and never from within one of its own callbacks: events that the handler
//! causes are reported later in the same turn or in the next one. A handler must not block. A method of [`Ctx`]
//! updates queues and lists at once, and the loop does the remaining work before it sleeps.
//!
//! A message larger than memory is received in chunks and sent as a body that is fed in parts:
//!
//! ```
//! use bytes::Bytes;
//! use peerloop::api::ChecksumVerdict;
//! use peerloop::protocol::CommandName;
//! use peerloop::wire::Header;
//! use peerloop::{Chunk, Ctx, Delivery, Handler, PeerId};
//! use std::collections::VecDeque;
//!
//! /// Passes one block at a time on to another peer while the block is still arriving.
//! struct Forwarder {
//!     to: PeerId,
//!     parts: VecDeque<Bytes>,
//! }
//!
//! impl Forwarder {
//!     fn feed(&mut self, ctx: &mut Ctx<'_>) {
//!         while let Some(part) = self.parts.front_mut() {
//!             if ctx.feed_body(self.to, part).is_err() || !part.is_empty() {
//!                 return;
//!             }
//!             self.parts.pop_front();
//!         }
//!     }
//! }
//!
//! impl Handler for Forwarder {
//!     type Request = ();
//!
//!     fn on_header(&mut self, ctx: &mut Ctx<'_>, _: PeerId, header: &Header) -> Delivery {
//!         match header.command == CommandName::BLOCK && ctx.begin_body(self.to, header).is_ok() {
//!             true => Delivery::Chunks,
//!             false => Delivery::Discard,
//!         }
//!     }
//!
//!     fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
//!         self.parts.push_back(chunk.to_bytes());
//!         self.feed(ctx);
//!         // The sender waits while the receiver has no room.
//!         if !self.parts.is_empty() {
//!             ctx.pause(peer);
//!         }
//!         if chunk.last() == Some(ChecksumVerdict::Wrong) {
//!             println!("{} of {} bytes: wrong checksum", chunk.offset(), chunk.total());
//!         }
//!     }
//!
//!     fn on_writable(&mut self, ctx: &mut Ctx<'_>, _: PeerId) {
//!         self.feed(ctx);
//!         let senders: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).collect();
//!         if self.parts.is_empty() {
//!             senders.into_iter().for_each(|sender| ctx.resume(sender));
//!         }
//!     }
//! }
//! ```

mod broadcast;
mod connections;
mod ctx;
mod lanes;
mod pair;
mod peer_map;
mod peer_view;

pub use broadcast::Broadcast;
pub use ctx::Ctx;
pub use pair::PairRequest;
pub use peer_map::PeerMap;
pub use peer_view::PeerView;

use crate::api::{Chunk, ControlEvent, Delivery, Event, Frame};
use crate::id::PeerId;
use crate::wire::Header;

/// An embedder's code, called for each event of its peers. Every method has a default.
///
/// The engine itself handles the handshake, pings (unless [`Config::answer_pings`](crate::Config::answer_pings) is
/// off), pongs, `protoconf`, `sendheaders` and `reject`; [`Event`]s report the results. The header of every other
/// message that arrives after the handshake is passed to [`Handler::on_header`], whose result decides how the message
/// is delivered. Two handlers can share one loop as a pair, because `(A, B)` is also a handler.
///
/// ```
/// use peerloop::{Ctx, Event, Handler, PeerId};
///
/// #[derive(Default)]
/// struct Census {
///     ready: usize,
/// }
///
/// impl Handler for Census {
///     type Request = ();
///
///     fn on_event(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, event: Event<'_>) {
///         match event {
///             Event::Ready { .. } => self.ready += 1,
///             Event::Closed { .. } => self.ready = self.ready.saturating_sub(1),
///             _ => {}
///         }
///     }
/// }
/// ```
pub trait Handler {
    /// The requests that other threads send to this handler through a [`Handle`](crate::Handle); `()` for none.
    type Request: Send + 'static;

    /// Handles an event of a peer.
    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let _ = (ctx, peer, event);
    }

    /// Chooses a message's delivery once its header has arrived. By default the message is discarded.
    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        let _ = (ctx, peer, header);
        Delivery::Discard
    }

    /// Handles a whole message. Its checksum is correct, or its header is extended and has no checksum.
    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let _ = (ctx, peer, frame);
    }

    /// Handles the next chunk of a message that is delivered in chunks.
    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let _ = (ctx, peer, chunk);
    }

    /// Handles free room: the kernel has accepted all bytes for a ready peer or, while a body is fed, all but at most
    /// 256 KiB, so more may be sent or fed. This is called for the engine's own bytes too, and for bytes sent from any
    /// callback.
    fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let _ = (ctx, peer);
    }

    /// Handles a peer's free room after a request with [`Ctx::pull`], in the flush step of a turn. Frames sent here
    /// are written in the same turn.
    ///
    /// A frame of at most `free_bytes` bytes is accepted, unless it exceeds the peer's own limit.
    /// [`PeerView::free_bytes`] returns the room that remains after the frame. The loop keeps reading the peer. Call
    /// [`Ctx::pause`] if the peer must not send further requests before it has read the replies.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use peerloop::{Ctx, Handler, PeerId};
    /// use std::collections::VecDeque;
    ///
    /// struct Sender {
    ///     frames: VecDeque<Bytes>,
    /// }
    ///
    /// impl Handler for Sender {
    ///     type Request = ();
    ///
    ///     fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, mut free_bytes: usize) {
    ///         while let Some(frame) = self.frames.front().filter(|frame| frame.len() <= free_bytes) {
    ///             let _ = ctx.send_shared(peer, frame);
    ///             self.frames.pop_front();
    ///             free_bytes = ctx.peer(peer).map_or(0, |view| view.free_bytes());
    ///         }
    ///         if !self.frames.is_empty() {
    ///             let _ = ctx.pull(peer);
    ///         }
    ///     }
    /// }
    /// ```
    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, free_bytes: usize) {
        let _ = (ctx, peer, free_bytes);
    }

    /// Handles a timer set with [`Ctx::set_timer`]. The timer is no longer set, so this may set it again.
    ///
    /// A timer is due at most one tick, [`TICK`](crate::limits::TICK), after its moment. It fires later only if a turn
    /// delays it or more than [`EXPIRIES_PER_TURN`](crate::limits::EXPIRIES_PER_TURN) timers are due.
    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        let _ = (ctx, key);
    }

    /// Handles the wake-up requested with [`Ctx::wake_at`]. For another wake-up, call [`Ctx::wake_at`] again.
    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        let _ = ctx;
    }

    /// Handles a request from another thread.
    fn on_request(&mut self, ctx: &mut Ctx<'_>, request: Self::Request) {
        let _ = (ctx, request);
    }

    /// Handles a control event, for example about a connection, a listener or a ban. A turn's control events are
    /// reported at its end, in order, and then to the subscribers on other threads. Events caused here are reported in
    /// the next turn.
    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        let _ = (ctx, event);
    }

    /// Handles the start of the loop; connections may be opened here.
    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        let _ = ctx;
    }
}
