//! Two handlers on one loop.
//!
//! A pair is a handler: it passes each call to both of its parts, or only to the part for which the call is meant.
//! It has no state of its own. The loop stores a lane with each requested call: the lane identifies the part that
//! requested the call, also in nested pairs.

use super::{Ctx, Handler};
use crate::api::{Chunk, ControlEvent, Delivery, Event, Frame};
use crate::id::PeerId;
use crate::wire::Header;

/// A request to one handler of a pair.
///
/// A part can be a pair itself, up to [`MAX_HANDLER_DEPTH`](crate::limits::MAX_HANDLER_DEPTH) levels deep. Its
/// requests are then nested as well.
///
/// ```
/// use peerloop::handler::PairRequest;
/// use peerloop::load::Responder;
/// use peerloop::{Config, Ctx, Handler, Network, Reactor};
/// use std::time::Duration;
///
/// /// Adds up the numbers of its requests.
/// struct Sum(u64);
///
/// impl Handler for Sum {
///     type Request = u64;
///
///     fn on_request(&mut self, _ctx: &mut Ctx<'_>, number: u64) {
///         self.0 += number;
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reactor = Reactor::new(Config::new(Network::Regtest), (Sum(0), Responder::default()))?;
/// reactor.handle().request(PairRequest::First(7))?;
/// while reactor.handler().0.0 == 0 {
///     reactor.poll_once(Duration::from_secs(1))?;
/// }
/// assert_eq!(reactor.handler().0.0, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairRequest<A, B> {
    /// For the first handler.
    First(A),
    /// For the second handler.
    Second(B),
}

/// Two handlers on one loop, such as a load generator and your own observer.
///
/// - Both receive each event of a peer and of the loop, and each call of [`Handler::on_writable`], the first handler
///   first. There are two exceptions: only a handler that chose chunks receives [`Event::BodyCut`], and only the
///   handler that sent a message with [`Ctx::send_marked`] or began it with [`Ctx::begin_body_marked`] receives the
///   message's [`Event::Written`].
/// - Both receive each header, and each receives the message in the form that it chose. If one chose the whole
///   message and the other chose chunks, the message is buffered once: one receives it whole, the other as a single
///   chunk. Neither handler receives such a message if its checksum is wrong or the loop has no room to buffer it. A
///   message that is [too large to be buffered](crate::Config::buffer_limit_bytes) is delivered in the usual chunks,
///   only to the handler that chose chunks. A message that one handler chose as [`Delivery::UncheckedChunks`] and the
///   other in a checked form is checked for both.
/// - A call that a handler requests for itself, with [`Ctx::wake_at`], [`Ctx::set_timer`] or [`Ctx::pull`], is made to
///   that handler alone.
/// - A request is passed to the handler that it names. The pair's requests are [`PairRequest`]s.
///
/// Both act on the same peers and see each other's changes. If the first closes a peer during a call, the second still
/// receives the same call. Only one of them can feed a message to a peer at a time. [`Ctx::stop`] ends the loop for
/// both.
///
/// A part can be a pair itself, up to [`MAX_HANDLER_DEPTH`](crate::limits::MAX_HANDLER_DEPTH) levels deep.
///
/// # Panics
///
/// If pairs are nested more deeply, [`Handler::on_start`] panics.
///
/// ```
/// use peerloop::api::ControlEvent;
/// use peerloop::load::Responder;
/// use peerloop::{Config, Ctx, Handler, Network, Reactor};
/// use std::collections::BTreeMap;
/// use std::time::Duration;
///
/// /// Counts control events by their label.
/// #[derive(Default)]
/// struct Metrics(BTreeMap<&'static str, u64>);
///
/// impl Handler for Metrics {
///     type Request = ();
///
///     fn on_control(&mut self, _ctx: &mut Ctx<'_>, event: &ControlEvent) {
///         *self.0.entry(event.label()).or_default() += 1;
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let handlers = (Metrics::default(), Responder::default());
/// let mut reactor = Reactor::new(Config::new(Network::Regtest), handlers)?;
/// reactor.listen("127.0.0.1:0".parse()?)?;
/// reactor.poll_once(Duration::ZERO)?;
/// // Reads and resets the counts.
/// let (Metrics(counts), _responder) = reactor.handler_mut();
/// let counts = std::mem::take(counts);
/// assert_eq!(counts.get("connection_established"), None);
/// # Ok(())
/// # }
/// ```
impl<A: Handler, B: Handler> Handler for (A, B) {
    type Request = PairRequest<A::Request, B::Request>;

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let [first, second] = match event {
            // Only a handler that chose chunks is notified of the cut.
            Event::BodyCut { stream_type, .. } => ctx.wishes_on_stream(peer, stream_type).map(Delivery::is_chunks),
            Event::Written { .. } => ctx.is_for_part(),
            Event::Opened { .. }
            | Event::VersionReceived
            | Event::Ready { .. }
            | Event::Pong { .. }
            | Event::LimitsAnnounced { .. }
            | Event::StreamOpened { .. }
            | Event::SendHeaders
            | Event::Rejected(_)
            | Event::Closed { .. } => [true; 2],
        };
        if first {
            self.0.on_event(&mut ctx.first(), peer, event);
        }
        if second {
            self.1.on_event(&mut ctx.second(), peer, event);
        }
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        let first = self.0.on_header(&mut ctx.first(), peer, header);
        let second = self.1.on_header(&mut ctx.second(), peer, header);
        ctx.note_wishes(peer, [first, second]);
        let is_wanted_as = |delivery| first == delivery || second == delivery;
        let is_unchecked = !is_wanted_as(Delivery::Buffer) && !is_wanted_as(Delivery::Chunks);
        match (is_wanted_as(Delivery::Buffer), first.is_chunks() || second.is_chunks()) {
            (true, true) if header.payload_len <= ctx.config().buffer_limit_bytes(header.command) => Delivery::Buffer,
            (_, true) if is_unchecked => Delivery::UncheckedChunks,
            (_, true) => Delivery::Chunks,
            (true, false) => Delivery::Buffer,
            (false, false) => Delivery::Discard,
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        let [first, second] = ctx.wishes(peer);
        give_whole(&mut self.0, &mut ctx.first(), peer, frame, first);
        give_whole(&mut self.1, &mut ctx.second(), peer, frame, second);
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        let [first, second] = ctx.wishes(peer).map(Delivery::is_chunks);
        if first {
            self.0.on_chunk(&mut ctx.first(), peer, chunk);
        }
        if second {
            self.1.on_chunk(&mut ctx.second(), peer, chunk);
        }
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        self.0.on_writable(&mut ctx.first(), peer);
        self.1.on_writable(&mut ctx.second(), peer);
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, free_bytes: usize) {
        let [first, second] = ctx.is_for_part();
        if first {
            self.0.on_pull(&mut ctx.first(), peer, free_bytes);
        }
        if second {
            self.1.on_pull(&mut ctx.second(), peer, free_bytes);
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        let [first, second] = ctx.is_for_part();
        if first {
            self.0.on_timer(&mut ctx.first(), key);
        }
        if second {
            self.1.on_timer(&mut ctx.second(), key);
        }
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        let [first, second] = ctx.is_for_part();
        if first {
            self.0.on_wake(&mut ctx.first());
        }
        if second {
            self.1.on_wake(&mut ctx.second());
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, request: Self::Request) {
        match request {
            PairRequest::First(request) => self.0.on_request(&mut ctx.first(), request),
            PairRequest::Second(request) => self.1.on_request(&mut ctx.second(), request),
        }
    }

    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        self.0.on_control(&mut ctx.first(), event);
        self.1.on_control(&mut ctx.second(), event);
    }

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.0.on_start(&mut ctx.first());
        self.1.on_start(&mut ctx.second());
    }
}

/// Delivers a whole message to a handler in the form that it chose.
fn give_whole<H: Handler>(handler: &mut H, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>, wish: Delivery) {
    match wish {
        Delivery::Buffer => handler.on_message(ctx, peer, frame),
        Delivery::Chunks | Delivery::UncheckedChunks => handler.on_chunk(ctx, peer, frame.as_chunk()),
        Delivery::Discard => {}
    }
}
