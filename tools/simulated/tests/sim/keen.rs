//! A loop that buffers and decodes every message, for runs with simulated actors.

use peerloop::api::{ControlEvent, Delivery, Event, Frame};
use peerloop::error::{CloseReason, LocalCause};
use peerloop::handler::Handler;
use peerloop::sim::actor::Crowd;
use peerloop::sim::{Actor, Driver, SimNet, Tape, World};
use peerloop::time::Instant;
use peerloop::wire::Header;
use peerloop::{Config, Ctx, PeerId, Reactor};
use std::net::SocketAddr;
use std::time::Duration;

/// The port of the loop's listener, and of the actors' listeners.
pub(crate) const PORT: u16 = 18_444;

/// A handler that dials, decodes every message, and records the address, time and reason of each close.
#[derive(Default)]
pub(crate) struct Keen {
    pub(crate) dials: Vec<SocketAddr>,
    pub(crate) ready: usize,
    pub(crate) messages: usize,
    pub(crate) closed: Vec<(SocketAddr, Instant, CloseReason)>,
    /// The reasons of all closes, including those of connections that became streams.
    pub(crate) ends: Vec<CloseReason>,
    /// The labels of the reasons for which streams failed.
    pub(crate) stream_failures: Vec<&'static str>,
}

impl Handler for Keen {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for address in self.dials.drain(..) {
            ctx.connect(address).unwrap();
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => self.ready += 1,
            Event::Closed { reason, .. } => {
                self.ends.push(reason);
                // A connection that becomes a stream is no peer any more.
                if reason != CloseReason::Local(LocalCause::BecameStream) {
                    let address = ctx.peer(peer).unwrap().address();
                    self.closed.push((address, ctx.now(), reason));
                }
            }
            _ => {}
        }
    }

    fn on_control(&mut self, _ctx: &mut Ctx<'_>, event: &ControlEvent) {
        if let ControlEvent::StreamFailed { reason, .. } = event {
            self.stream_failures.push(reason.label());
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _header: &Header) -> Delivery {
        Delivery::Buffer
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, frame: Frame<'_>) {
        self.messages += 1;
        let _ = frame.decode();
    }
}

/// Builds the loop under test, which listens.
pub(crate) fn node(world: &World, config: Config, dials: Vec<SocketAddr>) -> Reactor<SimNet, Keen> {
    let handler = Keen { dials, ..Keen::default() };
    let mut node = Reactor::with_net(config, world.host(), handler).unwrap();
    node.listen(SocketAddr::new(node.net().ip(), PORT)).unwrap();
    node
}

pub(crate) fn address_of(node: &Reactor<SimNet, Keen>) -> SocketAddr {
    node.listening_on().next().unwrap()
}

pub(crate) fn crowd(world: &World) -> Crowd {
    let net = world.host();
    let stream = u32::try_from(net.host()).unwrap();
    Crowd::new(net, Tape::from_seed(1).stream(stream))
}

pub(crate) fn run(world: &World, time: Duration, actors: &mut [&mut dyn Actor]) {
    let until = world.now().plus(time);
    Driver::new(world).run_until(until, actors).unwrap();
}
