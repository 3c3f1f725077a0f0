//! What an embedder writes against: a [`Handler`] that is called inline, and the [`Ctx`] it acts through.
//!
//! A handler is called on the loop's own thread, where things happen, and never while it is already being called:
//! what it causes is heard later in the same turn or in the next one. It must not block. What it asks of its [`Ctx`]
//! is done at once on queues and lists, and the loop carries it out before it sleeps.

mod ctx;
mod peer_view;

pub use ctx::Ctx;
pub use peer_view::PeerView;

use crate::api::{Chunk, ControlEvent, Delivery, Event, Frame};
use crate::id::PeerId;
use crate::wire::Header;

/// What an embedder does with its peers. Every method may be left out.
///
/// Handshake, pings and pongs, `protoconf` and `sendheaders` are the engine's own affair and show as [`Event`]s;
/// every other message that arrives after the handshake is announced to [`Handler::on_header`] and delivered as it
/// says.
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
    /// What other threads can ask of this handler through a [`Handle`](crate::Handle); `()` if nothing.
    type Request: Send + 'static;

    /// Something happened to a peer.
    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let _ = (ctx, peer, event);
    }

    /// A message begins; the answer decides what becomes of its payload. By default it is discarded.
    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        let _ = (ctx, peer, header);
        Delivery::Discard
    }

    /// A message has arrived whole, with a correct checksum.
    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let _ = (ctx, peer, frame);
    }

    /// A part of a streamed message has arrived.
    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let _ = (ctx, peer, chunk);
    }

    /// The kernel has taken all that was sent to a ready peer, or all but 256 KiB of a message that is being fed: more
    /// may be sent, or fed. It makes no difference who sent it, the engine or the handler, or from which callback.
    fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        let _ = (ctx, peer);
    }

    /// The moment given to [`Ctx::wake_at`] has come; only a new call of it brings another.
    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        let _ = ctx;
    }

    /// Another thread asks for something.
    fn on_request(&mut self, ctx: &mut Ctx<'_>, command: Self::Request) {
        let _ = (ctx, command);
    }

    /// Something happened to the loop's connections, listeners, bans or book: all control events of a turn are told at
    /// its end, in their order, and to the subscribers on other threads after that. What this method causes is heard in
    /// the next turn.
    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        let _ = (ctx, event);
    }

    /// The loop begins; connections can be opened from here.
    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        let _ = ctx;
    }
}
