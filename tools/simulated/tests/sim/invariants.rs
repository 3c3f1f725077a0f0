//! A loop's invariants, checked from outside: a handler's faults are detected, and the memory that the loop reports
//! matches its allocations.

use allocation_counter::{measure, opt_out};
use bytes::Bytes;
use peerloop::api::Event;
use peerloop::config::Multistreams;
use peerloop::error::Disconnect;
use peerloop::handler::Handler;
use peerloop::internals::errno::{EAGAIN, ECONNABORTED, EMFILE, ENOBUFS, EPIPE};
use peerloop::sim::Layer;
use peerloop::sim::invariant::{Checked, Violation};
use peerloop::sim::{Actor, Conditions, Cut, Cuts, Driver, Poller, SimNet, Site, World};
use peerloop::time::{Instant, Wait};
use peerloop::{Ctx, PeerId, Reactor};
use peerloop_testkit::bytes::{frame, header, ping, pong, ready_bytes};
use peerloop_testkit::simulated::{Node, Player, RawPeer, config, secs};
use std::net::SocketAddr;
use std::time::Duration;

/// A handler that runs the given action on each peer when the peer becomes ready.
struct Faulty(fn(&mut Ctx<'_>, PeerId));

impl Handler for Faulty {
    type Request = ();

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        if matches!(event, Event::Ready { .. }) {
            self.0(ctx, peer);
        }
    }
}

/// Returns the violations found after this action on a ready peer.
fn found(fault: fn(&mut Ctx<'_>, PeerId)) -> Vec<Violation> {
    let world = World::new(1, Instant::ZERO);
    let mut checked = Checked::new(&world, world.host(), config(), Faulty(fault)).unwrap();
    let address = checked.listen(SocketAddr::new(checked.net().ip(), 18_444)).unwrap();
    let mut peer = RawPeer::dialling(&world, address);
    peer.send(&ready_bytes());
    Driver::new(&world).run_until(world.now().plus(secs(1)), &mut [&mut checked]).unwrap();
    assert_eq!(checked.violations().len() as u64, checked.violations_total());
    checked.violations()
}

#[test]
fn a_handlers_incomplete_frame_is_detected_where_the_next_frame_should_begin() {
    let found = found(|ctx, peer| {
        let whole = frame("question", b"what?");
        ctx.send_shared(peer, &Bytes::copy_from_slice(&whole[..whole.len() - 1])).unwrap();
        ctx.send_shared(peer, &whole.into()).unwrap();
    });
    let [violation] = &found[..] else { panic!("{found:?}") };
    assert_eq!((violation.invariant, violation.at), (17, Instant::ZERO));
    let text = violation.to_string();
    let holds = "Written bytes are whole frames in order, and only pings and pongs overtake others";
    assert!(text.starts_with(&format!("invariant 17 ({holds}) is broken")), "{text}");
}

#[test]
fn a_handler_that_closes_peers_breaks_no_invariant() {
    for closes in [
        |ctx: &mut Ctx<'_>, peer| ctx.abort(peer, Disconnect::Done),
        |ctx: &mut Ctx<'_>, peer| ctx.close(peer, Disconnect::RetryLater),
        |ctx: &mut Ctx<'_>, peer| ctx.close(peer, Disconnect::Unsuitable),
    ] {
        assert_eq!(found(closes), []);
    }
}

#[test]
fn a_handler_that_pings_a_ready_peer_breaks_no_invariant() {
    let found = found(|ctx, peer| {
        ctx.ping(peer, ctx.now()).unwrap();
    });
    assert_eq!(found, []);
}

#[test]
fn no_poller_and_no_failed_call_breaks_an_invariant() {
    const ERRORS: [(Site, i32); 8] = [
        (Site::Read, EAGAIN),
        (Site::Read, ENOBUFS),
        (Site::Write, EAGAIN),
        (Site::Write, ENOBUFS),
        (Site::Write, EPIPE),
        (Site::Accept, EMFILE),
        (Site::Accept, ECONNABORTED),
        (Site::Connect, EMFILE),
    ];
    let mut pongs = 0;
    for (seed, poller) in [Poller::Linux, Poller::Mean, Poller::Noisy, Poller::Tiny].into_iter().enumerate() {
        let world = World::new(seed as u64, Instant::ZERO);
        let cuts = Cuts { writes: Cut::Drawn, arrivals: Cut::Drawn };
        world.set_conditions(Conditions { capacity_bytes: 100, to_acceptor: cuts.clone(), to_dialler: cuts });
        let mut acceptor = Node::new(&world, config(), Player::default());
        let dials = vec![acceptor.address; 10];
        let player = Player { dials, redials: Some(acceptor.address), ..Player::default() };
        let mut dialler = Node::new(&world, config(), player.pinging(Instant::ZERO.plus(secs(1)), secs(1), u32::MAX));
        for host in [0, 1] {
            world.set_poller(host, poller);
            ERRORS.iter().for_each(|(site, errno)| world.fail_sometimes(host, *site, *errno, 100));
        }
        let actors: &mut [&mut dyn Actor] = &mut [&mut acceptor.reactor, &mut dialler.reactor];
        Driver::new(&world).run_until(Instant::ZERO.plus(secs(60)), actors).unwrap();
        pongs += dialler.seen().pongs.len();
        assert!(dialler.seen().closed.len() > 10, "failed calls closed too few connections");
    }
    assert!(pongs > 500, "only {pongs} pongs arrived");
}

/// A network whose own memory is not counted.
struct Uncounted(SimNet);

/// A handler that allocates nothing.
struct Idle;

impl Handler for Idle {
    type Request = ();
}

struct Count {
    node: Reactor<Uncounted, Idle>,
    /// Bytes that the node's turns have allocated, minus the bytes that they have freed.
    live_bytes: i64,
    allocations: u64,
}

impl Count {
    fn new(world: &World) -> Self {
        let node = Reactor::with_net(config(), Uncounted(world.host()), Idle).unwrap();
        Self { node, live_bytes: 0, allocations: 0 }
    }

    /// Runs both loops until neither has work.
    fn settle(&mut self, peers: &mut Node) {
        while self.node.next_deadline() == Wait::Zero || self.node.net().0.has_events() || peers.has_work() {
            let turn = measure(|| assert!(self.node.poll_once(Duration::ZERO).unwrap()));
            self.live_bytes += turn.bytes_current;
            self.allocations += turn.count_total;
            peers.reactor.poll_once(Duration::ZERO).unwrap();
        }
    }

    /// Asserts that the reported and the allocated memory have grown equally since `before`, to within 1 %. `before`
    /// contains the reported and the allocated bytes at the start.
    fn compare(&self, before: (u64, i64), what: &str) {
        let accounted = self.node.inspect().accounted_bytes as i64 - before.0 as i64;
        let allocated = self.live_bytes - before.1;
        println!("{what}: reported {accounted} bytes, allocated {allocated}");
        assert!(
            (accounted - allocated).abs() * 100 <= allocated.abs(),
            "{what}: the reported {accounted} bytes differ from the allocated {allocated} by more than 1 %"
        );
    }
}

#[test]
fn reported_memory_matches_allocated_memory() {
    const PEERS: usize = 1_500;
    let world = World::new(1, Instant::ZERO);
    let mut count = Count::new(&world);
    let address = SocketAddr::new(count.node.net().0.ip(), 18_444);
    count.node.listen(address).unwrap();
    let before = (count.node.inspect().accounted_bytes, 0);
    let mut peers = Node::new(&world, config(), Player { dials: vec![address; PEERS], ..Player::default() });
    count.settle(&mut peers);
    assert_eq!(count.node.stats().ready, PEERS);
    count.compare(before, "idle peers");

    peers.reactor.handler_mut().on_request = Some(|ctx| {
        let half = Bytes::from([header("question", 9_000, &[1; 4]), vec![7; 5_000]].concat());
        let ids: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).collect();
        for id in ids {
            ctx.send_shared(id, &half).unwrap();
        }
    });
    peers.reactor.handle().request(()).unwrap();
    count.settle(&mut peers);
    count.compare(before, "half a message from each peer");
}

#[test]
fn reported_memory_matches_allocated_memory_of_peers_with_two_streams() {
    const PEERS: usize = 1_400;
    let world = World::new(1, Instant::ZERO);
    let mut count = Count::new(&world);
    let address = SocketAddr::new(count.node.net().0.ip(), 18_444);
    count.node.listen(address).unwrap();
    let before = (count.node.inspect().accounted_bytes, 0);
    let player = Player { dials: vec![address; PEERS], ..Player::default() };
    let mut peers = Node::new(&world, config().with_multistreams(Multistreams::Open), player);
    count.settle(&mut peers);
    let stats = count.node.stats();
    assert_eq!((stats.ready, stats.streams), (PEERS, PEERS));
    count.compare(before, "idle peers with two streams");
}

#[test]
fn a_ping_costs_no_allocation() {
    let world = World::new(1, Instant::ZERO);
    let mut count = Count::new(&world);
    let address = SocketAddr::new(count.node.net().0.ip(), 18_444);
    count.node.listen(address).unwrap();
    let mut peer = RawPeer::dialling(&world, address);
    peer.send(&ready_bytes());
    let mut nobody = Node::new(&world, config(), Player::default());
    count.settle(&mut nobody);
    peer.receive();
    let before = count.allocations;
    for _ in 0..100 {
        peer.send(&ping());
        count.settle(&mut nobody);
        assert_eq!(peer.receive(), pong());
    }
    assert_eq!(count.allocations, before);
}

impl Layer for Uncounted {
    type Below = SimNet;

    fn below(&self) -> &SimNet {
        &self.0
    }

    fn below_mut(&mut self) -> &mut SimNet {
        &mut self.0
    }

    fn pass<T>(&mut self, call: impl FnOnce(&mut SimNet) -> T) -> T {
        let mut result = None;
        opt_out(|| result = Some(call(&mut self.0)));
        result.unwrap()
    }
}
