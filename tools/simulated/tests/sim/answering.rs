//! Loops whose handler answers the pings, or does not answer them.

use crate::keen::{PORT, crowd, run};
use peerloop::api::{Delivery, Event, Frame};
use peerloop::error::RequestError;
use peerloop::handler::Handler;
use peerloop::protocol::CommandName;
use peerloop::sim::actor::byzantine::{Attacker, attacks};
use peerloop::sim::actor::{Honest, Journal, Profile, Role, Wrong};
use peerloop::sim::invariant::Checked;
use peerloop::sim::{Conditions, Cut, Cuts, World};
use peerloop::time::Instant;
use peerloop::wire::{Header, MessageRef};
use peerloop::{Config, Ctx, PeerId, Reactor};
use peerloop_testkit::bytes::{REGTEST, frame, frames, verack, version};
use peerloop_testkit::simulated::{RawPeer, config, secs};
use std::net::SocketAddr;
use std::rc::Rc;

/// A handler that answers pings unless it is silent, and records them.
#[derive(Debug, Default)]
struct Answering {
    is_silent: bool,
    delivery: Option<Delivery>,
    pings: Vec<(PeerId, Vec<u8>)>,
    headers: usize,
    results: Vec<Result<(), RequestError>>,
    ready: Vec<PeerId>,
    closed: usize,
}

impl Handler for Answering {
    type Request = ();

    fn on_event(&mut self, _ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Ready { .. } => self.ready.push(peer),
            Event::Closed { .. } => self.closed += 1,
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, header: &Header) -> Delivery {
        self.headers += usize::from(header.command == CommandName::PING);
        self.delivery.unwrap_or(Delivery::Buffer)
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, frame: Frame<'_>) {
        if frame.command() != CommandName::PING {
            return;
        }
        self.pings.push((peer, frame.payload().to_vec()));
        if let Ok(MessageRef::Ping { nonce }) = frame.decode()
            && !self.is_silent
        {
            self.results.push(ctx.pong(peer, nonce));
        }
    }
}

fn unanswering() -> Config {
    config().with_answer_pings(false)
}

fn node(world: &World, config: Config, handler: Answering) -> (Checked<Answering>, SocketAddr) {
    let mut node = Checked::new(world, world.host(), config, handler).unwrap();
    let address = SocketAddr::new(node.net().ip(), PORT);
    assert_eq!(node.listen(address).unwrap(), address);
    (node, address)
}

/// Returns a raw peer whose handshake is complete, with the given `version` and after all input was read.
fn ready_peer(world: &World, node: &mut Checked<Answering>, address: SocketAddr, version: &[u8]) -> RawPeer {
    let mut peer = RawPeer::dialling(world, address);
    run(world, secs(0), &mut [node]);
    peer.send(version);
    peer.send(&verack());
    run(world, secs(0), &mut [node]);
    peer.receive();
    peer
}

fn pongs(peer: &mut RawPeer) -> Vec<Vec<u8>> {
    let frames = frames(&peer.receive()).into_iter();
    frames.filter(|(command, _)| command == "pong").map(|(_, payload)| payload).collect()
}

#[test]
fn honest_peers_have_no_complaint_about_a_handler_that_answers() {
    let cuts = |cut: Cut| Cuts { writes: cut.clone(), arrivals: cut };
    for conditions in [
        Conditions::default(),
        Conditions { capacity_bytes: 7, to_acceptor: cuts(Cut::AtMost(3)), to_dialler: cuts(Cut::AtMost(3)) },
    ] {
        let world = World::new(1, Instant::ZERO);
        world.set_conditions(conditions);
        let (mut node, address) = node(&world, unanswering().with_ping_interval(secs(5)), Answering::default());
        let journal = Journal::new();
        let profile = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(3)));
        let mut peers = crowd(&world);
        peers.dial_many(address, Instant::ZERO, secs(0), 20, move |_| Honest::new(&profile).into());
        run(&world, secs(60), &mut [&mut node, &mut peers]);
        assert_eq!(journal.complaints(), []);
        let tally = journal.tally();
        assert!(tally.pings_sent >= 20 * 19 && tally.pongs == tally.pings_sent, "{tally:?}");
        let (answered, stats) = (node.handler().results.len() as u64, node.stats());
        assert_eq!((answered, stats.counters.pings_answered), (tally.pongs, tally.pongs));
        assert_eq!(stats.sent.count(CommandName::PONG).messages, tally.pongs);
        assert_eq!(node.violations(), []);
    }
}

#[test]
fn honest_peers_notice_a_handler_that_does_not_answer() {
    let world = World::new(1, Instant::ZERO);
    let (mut node, address) = node(&world, unanswering(), Answering { is_silent: true, ..Answering::default() });
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal).pinging(secs(3)));
    let mut peers = crowd(&world);
    peers.dial_many(address, Instant::ZERO, secs(0), 3, move |_| Honest::new(&profile).into());
    run(&world, secs(10), &mut [&mut node, &mut peers]);
    assert!(journal.complaints().iter().all(|complaint| complaint.what == Wrong::NoPong));
    assert!(journal.complaints().len() >= 3);
    assert_eq!((node.stats().counters.pings_answered, node.violations()), (0, vec![]));
}

#[test]
fn every_attack_on_a_handler_that_answers_is_harmless() {
    let world = World::new(7, Instant::ZERO);
    let (mut node, address) = node(&world, unanswering(), Answering::default());
    let journal = Journal::new();
    let profile = Rc::new(Profile::new(REGTEST, &journal));
    let mut attackers = crowd(&world);
    for attack in attacks().cycle().take(100) {
        attackers.dial(address, Role::of(Attacker::new(attack, &profile, &Rc::default())));
    }
    run(&world, secs(600), &mut [&mut node, &mut attackers]);
    node.sweep();
    assert_eq!((node.violations(), node.stats().counters.accepted), (vec![], 100));
}

#[test]
fn a_ping_is_delivered_like_every_other_message_and_its_first_eight_bytes_are_answered() {
    let world = World::new(1, Instant::ZERO);
    let (mut node, address) = node(&world, unanswering(), Answering::default());
    let mut peer = ready_peer(&world, &mut node, address, &version());
    let long = vec![9; 3_000];
    for payload in [&[1; 8][..], &[2; 9], &[3; 7], &[], &long] {
        peer.send(&frame("ping", payload));
    }
    run(&world, secs(0), &mut [&mut node]);
    assert_eq!(pongs(&mut peer), [vec![1; 8], vec![2; 8], vec![9; 8]]);
    let handler = node.handler();
    assert_eq!((handler.headers, handler.pings.len(), handler.results.len()), (5, 5, 3));
    assert_eq!(handler.pings[4].1, long);
    assert_eq!(node.stats().counters.undecodable, 0, "the loop has read a ping itself");
    // The handler may decline a ping, and a wrong checksum is noticed as usual.
    node.handler_mut().delivery = Some(Delivery::Discard);
    peer.send(&frame("ping", &[4; 8]));
    run(&world, secs(0), &mut [&mut node]);
    assert_eq!(node.stats().counters.discarded, 1);
    node.handler_mut().delivery = None;
    let mut broken = frame("ping", &[5; 8]);
    broken[20] ^= 1;
    peer.send(&broken);
    run(&world, secs(0), &mut [&mut node]);
    assert_eq!((pongs(&mut peer), node.stats().counters.bad_checksums), (vec![], 1));
}

#[test]
fn pings_are_not_delivered_while_the_loop_answers_them() {
    let world = World::new(1, Instant::ZERO);
    let (mut node, address) = node(&world, config(), Answering::default());
    let mut peer = ready_peer(&world, &mut node, address, &version());
    peer.send(&frame("ping", &[1; 8]));
    run(&world, secs(0), &mut [&mut node]);
    assert_eq!((pongs(&mut peer).len(), node.handler().headers, node.handler().pings.len()), (1, 0, 0));
}

#[test]
fn a_ping_before_the_end_of_the_handshake_is_not_delivered() {
    let world = World::new(1, Instant::ZERO);
    let (mut node, address) = node(&world, unanswering(), Answering::default());
    let mut peer = RawPeer::dialling(&world, address);
    run(&world, secs(0), &mut [&mut node]);
    [frame("ping", &[1; 8]), version(), frame("ping", &[2; 8]), verack()].iter().for_each(|bytes| peer.send(bytes));
    run(&world, secs(0), &mut [&mut node]);
    assert_eq!((node.handler().headers, node.stats().counters.before_handshake), (0, 2));
    assert_eq!(pongs(&mut peer), Vec::<Vec<u8>>::new());
}

#[test]
fn a_pong_overtakes_waiting_messages_and_is_refused_for_a_peer_that_cannot_receive_it() {
    let world = World::new(1, Instant::ZERO);
    world.set_conditions(Conditions { capacity_bytes: 1_000, ..Conditions::default() });
    let (mut node, address) = node(&world, unanswering(), Answering::default());
    let mut peer = ready_peer(&world, &mut node, address, &version());
    let id = node.handler().ready[0];
    let filler = CommandName::from_bytes(*b"filler\0\0\0\0\0\0");
    node.act(|_, ctx| {
        for _ in 0..3 {
            ctx.send(id, &MessageRef::Opaque { command: filler, payload: &[0; 900] }).unwrap();
        }
        ctx.pong(id, 5).unwrap();
    });
    let received = peer.receive_all(|| run(&world, secs(0), &mut [&mut node]));
    let commands: Vec<_> = frames(&received).into_iter().map(|(command, _)| command).collect();
    assert_eq!(commands, ["pong", "filler", "filler", "filler"]);
    // A peer of an old protocol version, and one that is closed.
    let mut old = version();
    old[24..28].copy_from_slice(&60_000_i32.to_le_bytes());
    let old = frame("version", &old[24..]);
    let mut ancient = ready_peer(&world, &mut node, address, &old);
    ancient.send(&frame("ping", &[1; 8]));
    run(&world, secs(0), &mut [&mut node]);
    assert_eq!(node.handler().results, [Err(RequestError::NoPongs)]);
    peer.close();
    run(&world, secs(0), &mut [&mut node]);
    assert_eq!(node.act(|_, ctx| ctx.pong(id, 5)), Err(RequestError::NoSuchPeer));
    assert_eq!(node.violations(), []);
}

#[test]
fn in_a_pair_the_part_that_wants_pings_answers_them() {
    let world = World::new(1, Instant::ZERO);
    let parts = (Answering { delivery: Some(Delivery::Discard), ..Answering::default() }, Answering::default());
    let mut node = Reactor::with_net(unanswering(), world.host(), parts).unwrap();
    let address = node.listen(SocketAddr::new(node.net().ip(), PORT)).unwrap();
    let mut peer = RawPeer::dialling(&world, address);
    run(&world, secs(0), &mut [&mut node]);
    [version(), verack(), frame("ping", &[1; 8])].iter().for_each(|bytes| peer.send(bytes));
    run(&world, secs(0), &mut [&mut node]);
    assert_eq!(pongs(&mut peer), [vec![1; 8]]);
    let (first, second) = node.handler();
    assert_eq!((first.pings.len(), second.pings.len(), second.results.len()), (0, 1, 1));
}
