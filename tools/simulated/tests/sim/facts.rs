//! Dials on which our `version` states facts of their own.

use peerloop::error::RequestError;
use peerloop::peer::VersionFacts;
use peerloop::sim::{Driver, SimNet, World};
use peerloop::time::Instant;
use peerloop::wire::Version;
use peerloop::{Config, Ctx, Disconnect, Handler, PeerId, Reactor};
use peerloop_testkit::bytes::{commands, frame, hex, verack, version};
use peerloop_testkit::simulated::{RawPeer, config};
use std::net::SocketAddr;

/// A handler that does nothing.
struct Idle;

impl Handler for Idle {
    type Request = ();
}

struct Dialler {
    world: World,
    reactor: Reactor<SimNet, Idle>,
}

impl Dialler {
    fn new() -> Self {
        let world = World::new(1, Instant::ZERO);
        let reactor = Reactor::with_net(config(), world.host(), Idle).unwrap();
        Self { world, reactor }
    }

    fn settle(&mut self) {
        Driver::new(&self.world).run_until(self.world.now(), &mut [&mut self.reactor]).unwrap();
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Ctx<'_>) -> T) -> T {
        let result = self.reactor.act(|_, ctx| act(ctx));
        self.settle();
        result
    }

    /// Returns the `version` that arrives on the connection which `dial` opens.
    fn version_of(&mut self, dial: impl FnOnce(&mut Ctx<'_>, SocketAddr) -> PeerId) -> Vec<u8> {
        let mut peer = RawPeer::new(&self.world);
        let address = peer.listen();
        self.act(|ctx| dial(ctx, address));
        peer.accept();
        peer.receive()
    }

    fn held_facts(&self) -> usize {
        self.reactor.inspect_summary().links_with_facts
    }
}

fn facts() -> VersionFacts {
    let mut facts = VersionFacts::of_config(&Config::default());
    facts.protocol_version = 70_015;
    facts.services = 0x25;
    facts.user_agent = (*b"/\xff x/").into();
    facts.start_height = -2;
    facts.relay = false;
    facts
}

/// Returns the frame of the `version` with [`facts`], with the receiver, the sender's port and the nonce of `received`.
fn expected(received: &[u8]) -> Vec<u8> {
    let payload = &received[24..];
    let (receiver, port_and_nonce) = (&payload[28..46], &payload[70..80]);
    let parts: [&[u8]; 9] = [
        &hex("7f110100 2500000000000000"),
        // 1,700,000,000 seconds, the wall time of the world.
        &hex("00f1536500000000"),
        &hex("0000000000000000"),
        receiver,
        &hex("2500000000000000 00000000000000000000000000000000"),
        port_and_nonce,
        &hex("05 2fff20782f"),
        &hex("feffffff 00"),
        // An empty association id.
        &hex("00"),
    ];
    frame("version", &parts.concat())
}

#[test]
fn a_dial_with_facts_states_them_and_other_dials_state_the_configurations() {
    let mut dialler = Dialler::new();
    let usual = dialler.version_of(|ctx, address| ctx.connect(address).unwrap());
    let own = dialler.version_of(|ctx, address| ctx.connect_as(address, facts()).unwrap());
    assert_eq!(own, expected(&own));
    let later = dialler.version_of(|ctx, address| ctx.connect(address).unwrap());
    // Only the receiver, the nonce and the checksum may differ.
    let without_draws = |mut frame: Vec<u8>| {
        [20..24, 24 + 36..24 + 54, 24 + 72..24 + 80].into_iter().for_each(|range| frame[range].fill(0));
        frame
    };
    assert_eq!(without_draws(later), without_draws(usual.clone()));
    assert_ne!(without_draws(usual), without_draws(own));
    assert_eq!(dialler.held_facts(), 0);
}

#[test]
fn the_stated_protocol_version_is_the_negotiated_one() {
    let mut dialler = Dialler::new();
    let mut peer = RawPeer::new(&dialler.world);
    let address = peer.listen();
    let mut facts = facts();
    // `sendheaders` exists from version 70012 on.
    facts.protocol_version = 70_011;
    dialler.act(|ctx| ctx.connect_as(address, facts).unwrap());
    peer.accept();
    peer.send(&[version(), verack()].concat());
    dialler.settle();
    assert_eq!(commands(&peer.receive()), ["version", "verack", "protoconf"]);
}

#[test]
fn a_refused_dial_a_closed_dial_and_a_sent_version_release_the_facts() {
    let mut dialler = Dialler::new();
    let nobody = SocketAddr::from(([10, 9, 9, 9], 18_444));
    for ends_at_once in [false, true] {
        dialler.reactor.act(|_, ctx| {
            let peer = ctx.connect_as(nobody, facts()).unwrap();
            if ends_at_once {
                ctx.abort(peer, Disconnect::Done);
            }
        });
        assert_eq!(dialler.held_facts(), 1);
        dialler.settle();
        assert_eq!((dialler.held_facts(), dialler.reactor.stats().counters.closed), (0, 1 + u64::from(ends_at_once)));
    }
    let mut peer = RawPeer::new(&dialler.world);
    let address = peer.listen();
    dialler.reactor.act(|_, ctx| ctx.connect_as(address, facts()).unwrap());
    assert_eq!(dialler.held_facts(), 1);
    dialler.settle();
    assert_eq!(dialler.held_facts(), 0);
}

#[test]
fn a_refused_request_holds_no_facts() {
    let mut dialler = Dialler::new();
    let nobody = SocketAddr::from(([10, 9, 9, 9], 18_444));
    let mut facts = facts();
    facts.user_agent = vec![b'x'; 257].into();
    assert_eq!(dialler.act(|ctx| ctx.connect_as(nobody, facts.clone())), Err(RequestError::UserAgentTooLong));
    facts.user_agent = vec![b'x'; 256].into();
    assert_eq!(dialler.act(|ctx| ctx.connect_as(nobody, facts.clone()).map(drop)), Ok(()));
    dialler.reactor.act(|_, ctx| ctx.stop());
    assert_eq!(dialler.act(|ctx| ctx.connect_as(nobody, facts)), Err(RequestError::Stopped));
    assert_eq!((dialler.held_facts(), dialler.reactor.stats().counters.dialled), (0, 1));
}

#[test]
fn the_facts_of_a_peer_are_those_of_its_version() {
    let peer = Version::decode(&version()[24..]).unwrap();
    let facts = VersionFacts::of_peer(&peer);
    assert_eq!((facts.protocol_version, facts.services), (peer.negotiated_version(), peer.services));
    assert_eq!((Some(facts.user_agent), Some(facts.start_height)), (peer.user_agent.clone(), peer.start_height));
    let newer = Version { protocol_version: 70_017, user_agent: None, start_height: None, relay: None, ..peer };
    let facts = VersionFacts::of_peer(&newer);
    assert_eq!(
        (facts.protocol_version, &*facts.user_agent, facts.start_height, facts.relay),
        (70_016, &b""[..], 0, true)
    );
}
