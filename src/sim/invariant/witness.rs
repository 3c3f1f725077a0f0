//! A handler that wraps another one and checks the loop's guarantees to handlers.

use super::Violation;
use super::ledger::Ledger;
use crate::api::{Chunk, ControlEvent, Delivery, Event, Frame};
use crate::config::{Config, DialMode};
use crate::handler::{Ctx, Handler};
use crate::id::PeerId;
use crate::peer::ConnectionType;
use crate::protocol::CommandName;
use crate::wire::{AddressesRef, Header};
use std::cell::RefCell;
use std::rc::Rc;

/// Passes every call on to a user's handler, and checks these rules:
///
/// - If a peer's connection opens, `Opened` is the peer's first event. A peer is reported as ready before its
///   messages, and as closed exactly once, in its last event.
/// - Messages arrive whole or as a gapless stream, as the handler decided.
/// - Offers of `on_pull` state the free room of a ready peer.
/// - Control events match the peers' events.
/// - The handler is not woken before the moment that it requested, and no deadline expires early.
#[derive(Debug)]
pub struct Witness<H> {
    handler: H,
    ledger: Rc<RefCell<Ledger>>,
}

impl<H> Witness<H> {
    /// Creates a witness for a loop with this configuration.
    pub fn new(config: &Config, handler: H) -> Self {
        Self::with(Rc::new(RefCell::new(Ledger::of(config))), handler)
    }

    pub(super) fn with(ledger: Rc<RefCell<Ledger>>, handler: H) -> Self {
        Self { handler, ledger }
    }

    /// Returns the wrapped handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Returns the wrapped handler, for changes between turns.
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Calls `act` with the wrapped handler, between turns.
    pub(super) fn act<R>(&mut self, ctx: &mut Ctx<'_>, act: impl FnOnce(&mut H, &mut Ctx<'_>) -> R) -> R {
        let result = act(&mut self.handler, ctx);
        self.called(ctx);
        result
    }

    /// Returns the first 32 violations found, in order.
    pub fn violations(&self) -> Vec<Violation> {
        self.ledger.borrow().findings.list().to_vec()
    }

    fn check_callback(&self, ctx: &Ctx<'_>, peer: PeerId) {
        self.ledger.borrow_mut().record_callback(peer.link(), ctx.peer(peer).is_some());
    }

    fn check_message(&self, ctx: &Ctx<'_>, peer: PeerId) {
        self.check_callback(ctx, peer);
        self.ledger.borrow_mut().record_message(peer.link(), is_ready(ctx, peer));
    }

    /// Records the addresses that a peer names in an `addr`, if the loop has a peer manager.
    fn note_addresses(&self, ctx: &Ctx<'_>, peer: PeerId, frame: &Frame<'_>) {
        let Some(manager) = ctx.config().manager.as_ref().filter(|_| frame.command() == CommandName::ADDR) else {
            return;
        };
        let (Ok(addresses), Some(view)) = (AddressesRef::decode(frame.payload()), ctx.peer(peer)) else { return };
        let is_dialled = view.connection().connection_type() == ConnectionType::Outbound;
        let is_learning = manager.learn_addresses && manager.mode == DialMode::Normal;
        self.ledger.borrow_mut().named(peer.link(), (view.address(), is_dialled), addresses, is_learning, ctx.now());
    }

    /// Stops the checks of gossip if the handler does not receive an `addr` whole, because its addresses are then
    /// unknown.
    fn note_missed(&self, ctx: &Ctx<'_>, header: &Header, delivery: Delivery) {
        if ctx.config().manager.is_some() && header.command == CommandName::ADDR && delivery != Delivery::Buffer {
            self.ledger.borrow_mut().managing.gossip.missed();
        }
    }

    /// Records the wake-up moment that the handler has requested.
    fn called(&self, ctx: &Ctx<'_>) {
        self.ledger.borrow_mut().wake_at = ctx.asked_wake();
    }
}

impl<H: Handler> Handler for Witness<H> {
    type Request = H::Request;

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let handshake = ctx.peer(peer).map(|view| view.connection().handshake().is_complete());
        let mut ledger = self.ledger.borrow_mut();
        ledger.follow(ctx.config());
        ledger.event(peer.link(), &event, ctx.now(), handshake);
        drop(ledger);
        self.handler.on_event(ctx, peer, event);
        self.called(ctx);
    }

    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, header: &Header) -> Delivery {
        self.check_message(ctx, peer);
        let delivery = self.handler.on_header(ctx, peer, header);
        // A message is not delivered if the handler has closed the peer in `on_header`.
        let effective = if is_ready(ctx, peer) { delivery } else { Delivery::Discard };
        self.ledger.borrow_mut().admitted((peer.link(), ctx.receiving_stream()), header, effective);
        self.note_missed(ctx, header, delivery);
        self.called(ctx);
        delivery
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        self.check_message(ctx, peer);
        self.ledger.borrow_mut().delivered((peer.link(), ctx.receiving_stream()), frame.header());
        self.note_addresses(ctx, peer, &frame);
        self.handler.on_message(ctx, peer, frame);
        self.called(ctx);
    }

    fn on_chunk(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, chunk: Chunk<'_>) {
        self.check_message(ctx, peer);
        let (len_bytes, is_last) = (chunk.bytes().len(), chunk.last().is_some());
        let stream = (peer.link(), ctx.receiving_stream());
        self.ledger.borrow_mut().streamed(stream, chunk.header(), chunk.offset(), len_bytes, is_last);
        self.handler.on_chunk(ctx, peer, chunk);
        self.called(ctx);
    }

    fn on_writable(&mut self, ctx: &mut Ctx<'_>, peer: PeerId) {
        self.check_callback(ctx, peer);
        self.ledger.borrow_mut().record_writable(peer.link());
        self.handler.on_writable(ctx, peer);
        self.called(ctx);
    }

    fn on_pull(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, free_bytes: usize) {
        self.check_callback(ctx, peer);
        let there = ctx.peer(peer).filter(|view| view.is_ready()).map(|view| view.free_bytes());
        self.ledger.borrow_mut().offered(peer.link(), free_bytes, there);
        self.handler.on_pull(ctx, peer, free_bytes);
        self.called(ctx);
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, key: u64) {
        self.handler.on_timer(ctx, key);
        self.called(ctx);
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        self.ledger.borrow_mut().woken(ctx.now());
        self.handler.on_wake(ctx);
        self.called(ctx);
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, command: Self::Request) {
        self.handler.on_request(ctx, command);
        self.called(ctx);
    }

    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        self.ledger.borrow_mut().control(event, ctx.config());
        self.handler.on_control(ctx, event);
        self.called(ctx);
    }

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.handler.on_start(ctx);
        self.called(ctx);
    }
}

fn is_ready(ctx: &Ctx<'_>, peer: PeerId) -> bool {
    ctx.peer(peer).is_some_and(|view| view.is_ready())
}
