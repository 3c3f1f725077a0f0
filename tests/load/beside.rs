//! A generator and another handler on one loop.

use crate::stage::{config, plan};
use peerloop::api::Pending;
use peerloop::handler::PairRequest;
use peerloop::load::{Generator, GeneratorRequest, Responder, Verdict};
use peerloop::sim::{Actor, Driver, World};
use peerloop::time::Instant;
use peerloop::{Ctx, Event, Handler, PeerId, PeerMap, Reactor};
use std::net::SocketAddr;
use std::time::Duration;

/// A handler that dials a peer of its own and pings it once a second.
struct Companion {
    node: SocketAddr,
    own: Option<PeerId>,
    pongs: PeerMap<u32>,
}

impl Handler for Companion {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        self.own = Some(ctx.connect(self.node).unwrap());
        ctx.wake_at(ctx.now().plus(Duration::from_secs(1)));
    }

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => drop(self.pongs.insert(peer, 0)),
            Event::Pong { .. } => *self.pongs.get_mut(peer).unwrap() += 1,
            _ => {}
        }
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        // When the generator stops the loop, this peer is closed too, and the ping fails.
        if self.own.is_some_and(|own| ctx.ping(own, ctx.now()).is_ok()) {
            ctx.wake_at(ctx.now().plus(Duration::from_secs(1)));
        }
    }
}

#[test]
fn a_generator_with_another_handler_counts_only_its_own_peers() {
    let world = World::new(7, Instant::ZERO);
    let mut node = Reactor::with_net(config(), world.host(), Responder::default()).unwrap();
    let address = node.listen(SocketAddr::new(node.net().ip(), 18_444)).unwrap();
    let companion = Companion { node: address, own: None, pongs: PeerMap::new() };
    let handlers = (companion, Generator::new(plan(address)));
    let mut reactor = Reactor::with_net(config(), world.host(), handlers).unwrap();
    let mut run_until = |secs, reactor: &mut Reactor<_, _>| {
        let actors: &mut [&mut dyn Actor] = &mut [reactor, &mut node];
        Driver::new(&world).run_until(Instant::ZERO.plus(Duration::from_secs(secs)), actors).unwrap();
    };
    run_until(5, &mut reactor);
    let (reply, pending) = Pending::new();
    reactor.handle().request(PairRequest::Second(GeneratorRequest::Progress(reply))).unwrap();
    run_until(6, &mut reactor);
    assert_eq!(pending.wait().unwrap().peers.ready, 10);
    run_until(60, &mut reactor);
    let (companion, generator) = reactor.into_handler();
    let report = generator.into_report();
    assert_eq!((report.peers.ready, report.peers.lost, report.work.answered), (10, 0, 1_000));
    assert_eq!(report.verdict, Verdict::Trusted);
    assert_eq!(
        companion.pongs.len(),
        11,
        "the companion did not see exactly eleven ready peers: its own and the generator's ten"
    );
    // The companion pings once a second until the generator stops the loop.
    let own = *companion.pongs.get(companion.own.unwrap()).unwrap();
    assert!((11..=13).contains(&own), "{own}");
}
