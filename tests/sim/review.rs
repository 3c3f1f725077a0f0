//! Review suspicions.
use crate::support::*;
use peerloop::api::{Chunk, Delivery, Event, Frame, Handler};
use peerloop::error::{CloseReason, LocalCause};
use peerloop::id::LinkId;
use peerloop::net::{Net, Readiness, Wake};
use peerloop::peer::ConnectionState;
use peerloop::sim::{Actor, Conditions, Cut, Cuts, Driver, SimNet, World};
use peerloop::time::{Instant, UnixTime, Wait};
use peerloop::wire::Header;
use peerloop::{Config, Ctx, PeerId, Reactor};
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What limits.rs says that calls cost.
struct SlowNet {
    net: SimNet,
    world: World,
}
impl Net for SlowNet {
    type Socket = <SimNet as Net>::Socket;
    fn now(&self) -> Instant {
        self.net.now()
    }
    fn unix_time(&self) -> UnixTime {
        self.net.unix_time()
    }
    fn wait(&mut self, w: Wait, r: &mut Vec<Readiness>) -> io::Result<()> {
        self.net.wait(w, r)
    }
    fn waker(&self) -> Arc<dyn Wake> {
        self.net.waker()
    }
    fn listen(&mut self, i: u32, a: SocketAddr) -> io::Result<SocketAddr> {
        self.net.listen(i, a)
    }
    fn accept(&mut self, i: u32) -> io::Result<(Self::Socket, SocketAddr)> {
        let got = self.net.accept(i)?;
        self.world.advance(Duration::from_micros(15));
        Ok(got)
    }
    fn close_listener(&mut self, i: u32) {
        self.net.close_listener(i)
    }
    fn attach(&mut self, l: LinkId, s: Self::Socket) -> io::Result<()> {
        self.net.attach(l, s)
    }
    fn connect(&mut self, l: LinkId, a: SocketAddr, s: Option<IpAddr>) -> io::Result<()> {
        self.world.advance(Duration::from_micros(40));
        self.net.connect(l, a, s)
    }
    fn connected(&mut self, l: LinkId) -> io::Result<bool> {
        self.net.connected(l)
    }
    fn read(&mut self, l: LinkId, b: &mut [u8]) -> io::Result<usize> {
        self.world.advance(Duration::from_micros(2));
        self.net.read(l, b)
    }
    fn write(&mut self, l: LinkId, b: &[u8]) -> io::Result<usize> {
        self.net.write(l, b)
    }
    fn write_gathered(&mut self, l: LinkId, s: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.net.write_gathered(l, s)
    }
    fn shut_down_writing(&mut self, l: LinkId) {
        self.net.shut_down_writing(l)
    }
    fn close(&mut self, l: LinkId) {
        self.net.close(l)
    }
}

struct Dialler {
    nobody: SocketAddr,
}
impl Handler for Dialler {
    type Command = ();
    fn on_command(&mut self, ctx: &mut Ctx<'_>, (): ()) {
        for _ in 0..3_200 {
            ctx.connect(self.nobody).unwrap();
        }
    }
}

#[test]
fn t1_accepts_and_dials_do_not_eat_the_read_step() {
    let world = World::new(1, Instant::ZERO);
    let net = SlowNet { net: world.host(), world: world.clone() };
    let nobody: SocketAddr = "10.0.0.1:1".parse().unwrap();
    let mut node = Reactor::with_net(config(), net, Dialler { nobody }).unwrap();
    let address: SocketAddr = "10.0.0.1:18444".parse().unwrap();
    node.listen(address).unwrap();
    let mut ready: Vec<RawPeer> = (0..100)
        .map(|_| {
            let mut p = RawPeer::new(&world);
            p.dial(address);
            p
        })
        .collect();
    for _ in 0..10 {
        node.poll_once(Duration::ZERO).unwrap();
    }
    for p in &mut ready {
        p.send(&version());
        p.send(&verack());
    }
    for _ in 0..200 {
        node.poll_once(Duration::ZERO).unwrap();
    }
    assert_eq!(node.stats().ready, 100);
    // now a burst of connections in both directions, and a ping of each ready peer
    let _newcomers: Vec<RawPeer> = (0..64 * 20)
        .map(|_| {
            let mut p = RawPeer::new(&world);
            p.dial(address);
            p
        })
        .collect();
    node.handle().command(()).unwrap();
    for p in &mut ready {
        p.send(&ping());
    }
    let mut per_turn = Vec::new();
    for _ in 0..10 {
        let before = node.stats().counters.pings_answered;
        node.poll_once(Duration::ZERO).unwrap();
        per_turn.push(node.stats().counters.pings_answered - before);
    }
    assert_eq!(per_turn[..3].iter().sum::<u64>(), 100, "{per_turn:?}");
}

#[derive(Default)]
struct Scripted {
    log: Rc<RefCell<Vec<String>>>,
    on: Option<fn(&mut Ctx<'_>, PeerId, &Event<'_>)>,
    header: Option<fn(&mut Ctx<'_>, PeerId) -> Delivery>,
}
impl Handler for Scripted {
    type Command = ();
    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let text = format!("{event:?}");
        self.log.borrow_mut().push(format!("{:?} {}", ctx.now(), text));
        if let Some(on) = self.on {
            on(ctx, peer, &event)
        }
    }
    fn on_header(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, _h: &Header) -> Delivery {
        self.header.map_or(Delivery::Discard, |f| f(ctx, peer))
    }
    fn on_message(&mut self, _c: &mut Ctx<'_>, _p: PeerId, _f: Frame<'_>) {
        self.log.borrow_mut().push("message".into())
    }
    fn on_chunk(&mut self, _c: &mut Ctx<'_>, _p: PeerId, _f: Chunk<'_>) {
        self.log.borrow_mut().push("chunk".into())
    }
}
struct Room {
    world: World,
    node: Reactor<SimNet, Scripted>,
    log: Rc<RefCell<Vec<String>>>,
    address: SocketAddr,
}
impl Room {
    fn new(config: Config, scripted: Scripted) -> Self {
        let world = World::new(1, Instant::ZERO);
        let log = Rc::clone(&scripted.log);
        let mut node = Reactor::with_net(config, world.host(), scripted).unwrap();
        let address = SocketAddr::new(node.net().ip(), 18_444);
        node.listen(address).unwrap();
        Self { world, node, log, address }
    }
    fn run(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let actors: &mut [&mut dyn Actor] = &mut [&mut self.node];
        Driver::new(&self.world).run_until(until, actors).unwrap();
    }
    fn peer(&mut self) -> RawPeer {
        let mut p = RawPeer::new(&self.world);
        p.dial(self.address);
        self.run(Duration::ZERO);
        p
    }
    fn has(&self, what: &str) -> bool {
        self.log.borrow().iter().any(|l| l.contains(what))
    }
}

#[test]
fn t2_no_ready_after_close() {
    let mut room = Room::new(
        config(),
        Scripted {
            on: Some(|ctx, peer, event| {
                if let Event::VersionReceived = event {
                    ctx.close(peer, LocalCause::Requested.into())
                }
            }),
            ..Default::default()
        },
    );
    let mut p = room.peer();
    p.send(&verack());
    p.send(&version());
    room.run(Duration::ZERO);
    assert!(!room.has("Ready"), "{:#?} ready {}", room.log.borrow(), room.node.stats().ready);
}

#[test]
fn t2b_no_ready_after_abort() {
    let mut room = Room::new(
        config(),
        Scripted {
            on: Some(|ctx, peer, event| {
                if let Event::VersionReceived = event {
                    ctx.abort(peer, LocalCause::Requested.into())
                }
            }),
            ..Default::default()
        },
    );
    let mut p = room.peer();
    p.send(&verack());
    p.send(&version());
    room.run(Duration::ZERO);
    assert!(!room.has("Ready"), "{:#?}", room.log.borrow());
}

#[test]
fn t3_old_peer_without_pongs_is_kept() {
    let mut room = Room::new(config(), Scripted::default());
    let mut p = room.peer();
    let mut payload = version()[24..].to_vec();
    payload[..4].copy_from_slice(&60_000_i32.to_le_bytes());
    p.send(&frame("version", &payload));
    p.send(&verack());
    room.run(Duration::ZERO);
    assert_eq!(room.node.stats().ready, 1);
    room.run(secs(200));
    assert!(!room.has("Closed"), "{:#?}", room.log.borrow());
}

#[test]
fn t4_pause_is_not_charged_to_the_handshake() {
    let mut room = Room::new(
        config(),
        Scripted {
            on: Some(|ctx, peer, event| match event {
                Event::Opened { .. } => {
                    ctx.pause(peer);
                }
                _ => {}
            }),
            ..Default::default()
        },
    );
    let mut p = room.peer();
    p.send(&version());
    p.send(&verack());
    room.run(secs(11));
    assert!(!room.has("Closed"), "{:#?}", room.log.borrow());
}

#[test]
fn t5_pause_after_close_changes_nothing() {
    for pause in [false, true] {
        let on: fn(&mut Ctx<'_>, PeerId, &Event<'_>) = if pause {
            |ctx, peer, event| {
                if let Event::Ready { .. } = event {
                    ctx.close(peer, LocalCause::Requested.into());
                    ctx.pause(peer)
                }
            }
        } else {
            |ctx, peer, event| {
                if let Event::Ready { .. } = event {
                    ctx.close(peer, LocalCause::Requested.into())
                }
            }
        };
        let mut room = Room::new(config(), Scripted { on: Some(on), ..Default::default() });
        let mut p = room.peer();
        p.send(&version());
        p.send(&verack());
        room.run(Duration::ZERO);
        p.receive();
        assert!(p.has_seen_end);
        p.close();
        room.run(Duration::ZERO);
        assert!(room.has("Closed"), "pause {pause} {:#?}", room.log.borrow());
    }
}

#[test]
fn t7_a_closing_peer_that_trickles_is_gone_in_a_minute() {
    let mut room = Room::new(
        config(),
        Scripted {
            on: Some(|ctx, peer, event| {
                if let Event::Ready { .. } = event {
                    let command = peerloop::protocol::CommandName::new("farewell");
                    ctx.send(peer, &peerloop::MessageRef::Opaque { command, payload: &[7; 1_000_000] }).unwrap();
                    ctx.close(peer, LocalCause::Requested.into());
                }
            }),
            ..Default::default()
        },
    );
    room.world.set_conditions(Conditions { capacity_bytes: 1_000, ..Conditions::default() });
    let mut p = room.peer();
    p.send(&version());
    p.send(&verack());
    room.run(Duration::ZERO);
    for _ in 0..600 {
        let mut b = [0; 10];
        let _ = p.net.read(raw_link(), &mut b);
        room.run(Duration::from_millis(1_900));
    }
    assert!(room.has("Closed"), "{} minutes", room.world.now().as_nanos() / 60_000_000_000);
}

#[test]
fn t10_no_chunk_after_close_in_header() {
    for delivery in [Delivery::Buffer, Delivery::Stream] {
        let header: fn(&mut Ctx<'_>, PeerId) -> Delivery = if delivery == Delivery::Buffer {
            |ctx, peer| {
                ctx.abort(peer, LocalCause::Requested.into());
                Delivery::Buffer
            }
        } else {
            |ctx, peer| {
                ctx.abort(peer, LocalCause::Requested.into());
                Delivery::Stream
            }
        };
        let mut room = Room::new(config(), Scripted { header: Some(header), ..Default::default() });
        let mut p = room.peer();
        p.send(&version());
        p.send(&verack());
        room.run(Duration::ZERO);
        p.send(&frame("inv", &[0]));
        room.run(Duration::ZERO);
        assert!(!room.has("chunk") && !room.has("message"), "{delivery:?} {:#?}", room.log.borrow());
    }
}

#[test]
fn t11_duplicate_versions_are_counted_in_the_handshake() {
    let seen = Rc::new(RefCell::new(0u8));
    let mut room = Room::new(
        config(),
        Scripted {
            on: Some(|ctx, peer, event| {
                if let Event::Ready { .. } = event {
                    assert_eq!(ctx.peer(peer).unwrap().connection().handshake().duplicate_versions(), 1);
                }
            }),
            ..Default::default()
        },
    );
    let mut p = room.peer();
    p.send(&version());
    p.send(&version());
    p.send(&verack());
    room.run(Duration::ZERO);
    let _ = seen;
    assert!(room.has("Ready"));
}

#[test]
fn t12_connect_and_abort_in_a_loop_needs_no_memory() {
    // each Closed dials two and aborts them at once
    let mut room = Room::new(
        Config { max_links: 500, ..config() },
        Scripted {
            on: Some(|ctx, _peer, event| {
                if let Event::Closed { .. } = event {
                    for _ in 0..1 {
                        let id = ctx.connect("10.0.0.9:1".parse().unwrap()).unwrap();
                        ctx.abort(id, LocalCause::Requested.into());
                    }
                }
            }),
            ..Default::default()
        },
    );
    let _ = &mut room;
}
const _: fn(ConnectionState, CloseReason, Cut, Cuts) = |_, _, _, _| {};

#[test]
fn t13_who_answered_in_time_is_not_closed_for_what_we_have_not_read() {
    let world = World::new(1, Instant::ZERO);
    let net = SlowNet { net: world.host(), world: world.clone() };
    let nobody: SocketAddr = "10.0.0.1:1".parse().unwrap();
    let mut node = Reactor::with_net(config(), net, Dialler { nobody }).unwrap();
    let address: SocketAddr = "10.0.0.1:18444".parse().unwrap();
    node.listen(address).unwrap();
    let mut peers: Vec<RawPeer> = (0..3_000)
        .map(|_| {
            let mut p = RawPeer::new(&world);
            p.dial(address);
            p
        })
        .collect();
    for _ in 0..100 {
        node.poll_once(Duration::ZERO).unwrap();
    }
    for p in &mut peers {
        p.send(&version());
        p.send(&verack());
    }
    // the process is stopped for eleven seconds (SIGSTOP, a laptop's lid, a VM)
    world.advance(Duration::from_secs(11));
    for _ in 0..100 {
        node.poll_once(Duration::ZERO).unwrap();
    }
    assert_eq!(node.stats().ready, 3_000, "{:?}", node.stats().counters);
}

fn swarm() -> (World, Reactor<SlowNet, Dialler>, SocketAddr) {
    let world = World::new(1, Instant::ZERO);
    let net = SlowNet { net: world.host(), world: world.clone() };
    let nobody: SocketAddr = "10.0.0.1:1".parse().unwrap();
    let mut node = Reactor::with_net(config(), net, Dialler { nobody }).unwrap();
    let address: SocketAddr = "10.0.0.1:18444".parse().unwrap();
    node.listen(address).unwrap();
    (world, node, address)
}

/// The dial queue after a handler that dials and gives up for every connection that ends.
struct Fickle {
    n: u64,
}
impl Handler for Fickle {
    type Command = ();
    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..200 {
            let id = ctx.connect("10.0.0.9:1".parse().unwrap()).unwrap();
            ctx.abort(id, LocalCause::Requested.into());
        }
    }
    fn on_event(&mut self, ctx: &mut Ctx<'_>, _p: PeerId, e: Event<'_>) {
        if let Event::Closed { .. } = e {
            self.n += 1;
            if self.n < 100_000 {
                let id = ctx.connect("10.0.0.9:1".parse().unwrap()).unwrap();
                ctx.abort(id, LocalCause::Requested.into());
            }
        }
    }
}
#[test]
fn t15_dead_dials_do_not_pile_up() {
    let world = World::new(1, Instant::ZERO);
    let mut node = Reactor::with_net(config(), world.host(), Fickle { n: 0 }).unwrap();
    let mut turns_after = 0;
    while node.poll_once(Duration::ZERO).unwrap() {
        if node.stats().links == 0 {
            if node.next_deadline() == Wait::Zero { turns_after += 1 } else { break }
        }
    }
    assert!(turns_after < 10, "{turns_after} turns of 32 dead dials each were left when the last link was gone");
}

/// A peer closed while it is dialled: is the socket gone, too?
#[test]
fn t16_abort_while_connecting_leaks_nothing() {
    let _ = swarm;
    let world = World::new(1, Instant::ZERO);
    world.set_backlog(0);
    let mut room = Room::new(config(), Scripted { on: None, ..Default::default() });
    let mut listener = RawPeer::new(&room.world);
    let address = listener.listen();
    room.node.handle().connect(address, None).unwrap();
    room.run(Duration::ZERO);
    let ids: Vec<PeerId> = Vec::new();
    let _ = ids;
    assert_eq!(room.node.stats().links, 1);
    room.node.handle().stop().unwrap();
    let actors: &mut [&mut dyn Actor] = &mut [&mut room.node];
    Driver::new(&room.world).run_until(room.world.now().plus(secs(10)), actors).unwrap();
    assert_eq!((room.node.stats().links, room.node.net().open_connections()), (0, 0));
}

#[test]
fn t17_the_time_in_our_own_dial_queue_is_not_the_peers() {
    let world = World::new(1, Instant::ZERO);
    let net = SlowNet { net: world.host(), world: world.clone() };
    let mut listener = RawPeer::new(&world);
    let nobody = listener.listen();
    let config = Config { connect_timeout: Duration::from_millis(50), ..config() };
    let mut node = Reactor::with_net(config, net, Dialler { nobody }).unwrap();
    node.handle().command(()).unwrap();
    for _ in 0..150 {
        node.poll_once(Duration::ZERO).unwrap();
    }
    let counters = node.stats().counters;
    assert_eq!((counters.dialled, counters.timeouts), (3_200, 0), "every connect is decided at once");
}
