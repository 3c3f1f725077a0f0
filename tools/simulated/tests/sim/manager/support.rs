//! A managed world: a loop with a peer manager, targets that it may dial, and strangers that are driven by hand.

use peerloop::api::{Event, NextDial};
use peerloop::config::ManagerConfig;
use peerloop::error::{CloseReason, Disconnect, Misbehavior, Refusal};
use peerloop::internals::id::LinkId;
use peerloop::internals::net::Net;
use peerloop::protocol::CommandName;
use peerloop::sim::invariant::{Checked, ManagerReport, ManagerSummary};
use peerloop::sim::{Actor, Driver, SimNet, World};
use peerloop::store::{KnownPeer, PeerStatus};
use peerloop::time::{Instant, UnixTime};
use peerloop::wire::Header;
use peerloop::{Config, ControlEvent, Ctx, Delivery, Frame, Handler, Network, PeerId};
use peerloop_testkit::bytes::{frame, verack};
use peerloop_testkit::simulated::{Node, Player, config};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// The callback in which a handler acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Opened,
    VersionReceived,
    Ready,
    Closed,
    Control,
}

/// A handler that records all control events, and may close peers or perform another action in one callback.
#[derive(Default)]
pub(crate) struct Watcher {
    pub(crate) log: Rc<RefCell<Vec<(Instant, ControlEvent)>>>,
    pub(crate) closes_at: Option<Moment>,
    /// The reason for which the handler closes a peer. `None` means [`Disconnect::Done`].
    pub(crate) disconnect: Option<Disconnect>,
    /// The action that the handler performs instead of closing the peer.
    pub(crate) does: Option<fn(&mut Ctx<'_>, PeerId)>,
    /// On a request, the handler charges this misbehavior to all peers. If it is `None`, a request closes all peers.
    pub(crate) charges: Option<Misbehavior>,
    /// Whether the handler asks for whole messages. Otherwise it discards them.
    pub(crate) wants_messages: bool,
    /// The received messages' commands.
    pub(crate) messages: Vec<CommandName>,
}

impl Watcher {
    fn act(&self, ctx: &mut Ctx<'_>, peer: PeerId, moment: Moment) {
        match self.does {
            _ if self.closes_at != Some(moment) => {}
            Some(does) => does(ctx, peer),
            None => ctx.close(peer, self.disconnect.unwrap_or(Disconnect::Done)),
        }
    }
}

impl Handler for Watcher {
    type Request = ();

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        match event {
            Event::Opened { .. } => self.act(ctx, peer, Moment::Opened),
            Event::VersionReceived => self.act(ctx, peer, Moment::VersionReceived),
            Event::Ready { .. } => self.act(ctx, peer, Moment::Ready),
            Event::Closed { .. } => self.act(ctx, peer, Moment::Closed),
            _ => {}
        }
    }

    fn on_header(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, _header: &Header) -> Delivery {
        if self.wants_messages { Delivery::Buffer } else { Delivery::Discard }
    }

    fn on_message(&mut self, _ctx: &mut Ctx<'_>, _peer: PeerId, frame: Frame<'_>) {
        self.messages.push(frame.command());
    }

    fn on_control(&mut self, ctx: &mut Ctx<'_>, event: &ControlEvent) {
        if let Some(peer) = event.peer() {
            self.act(ctx, peer, Moment::Control);
        }
        self.log.borrow_mut().push((ctx.now(), event.clone()));
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, (): ()) {
        let peers: Vec<PeerId> = ctx.peers().map(|peer| peer.id()).collect();
        for peer in peers {
            match self.charges {
                Some(misbehavior) => ctx.penalize_for(peer, misbehavior),
                None => ctx.close(peer, Disconnect::Done),
            }
        }
    }
}

/// Returns a manager's configuration for a regtest network, where addresses need not be routable. Its limits on
/// connections per host and on each host's rate of connections are too high to be reached.
pub(crate) fn manager() -> ManagerConfig {
    ManagerConfig::new(Network::Regtest).with_max_per_host(1_000).with_accepts_per_host_per_second(1_000_000)
}

pub(crate) struct ManagedWorld {
    pub(crate) world: World,
    pub(crate) node: Checked<Watcher>,
    pub(crate) address: SocketAddr,
    pub(crate) targets: Vec<Node>,
}

impl ManagedWorld {
    pub(crate) fn new(manager: ManagerConfig) -> Self {
        Self::with(manager, Watcher::default())
    }

    pub(crate) fn with(manager: ManagerConfig, watcher: Watcher) -> Self {
        let world = World::new(1, Instant::ZERO);
        Self::at(world, manager, watcher)
    }

    /// Builds a managed world in `world`. Its loop runs on the next host.
    pub(crate) fn at(world: World, manager: ManagerConfig, watcher: Watcher) -> Self {
        Self::seeded(1, world, manager, watcher)
    }

    pub(crate) fn seeded(seed: u64, world: World, manager: ManagerConfig, watcher: Watcher) -> Self {
        let config = config().with_seed(Some(seed)).with_manager(manager).with_ping_interval(Duration::ZERO);
        Self::of(world, config, watcher)
    }

    /// Builds a managed world whose loop has this configuration.
    pub(crate) fn of(world: World, config: Config, watcher: Watcher) -> Self {
        let mut node = Checked::new(&world, world.host(), config, watcher).unwrap().with_calls_per_sweep(0);
        let address = SocketAddr::new(node.net().ip(), 18_444);
        node.listen(address).unwrap();
        Self { world, node, address, targets: Vec::new() }
    }

    /// Adds `count` loops that accept every peer, and returns their addresses.
    pub(crate) fn add_targets(&mut self, count: usize) -> Vec<SocketAddr> {
        let config = || config().with_ping_interval(Duration::ZERO);
        let nodes = (0..count).map(|_| Node::new(&self.world, config(), Player::default()));
        let nodes: Vec<Node> = nodes.collect();
        let addresses = nodes.iter().map(|node| node.address).collect();
        self.targets.extend(nodes);
        addresses
    }

    /// Adds these addresses to the book.
    pub(crate) fn remember(&mut self, addresses: &[SocketAddr], status: PeerStatus) {
        let unix = self.world.unix_time();
        self.node.remember(addresses.iter().map(|address| known_as(*address, status, unix)).collect(), Vec::new());
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.world.now().plus(time);
        let mut actors: Vec<&mut dyn Actor> = vec![&mut self.node];
        actors.extend(self.targets.iter_mut().map(|target| &mut target.reactor as &mut dyn Actor));
        Driver::new(&self.world).run_until(until, &mut actors).unwrap();
    }

    pub(crate) fn settle(&mut self) {
        self.run(Duration::ZERO);
    }

    /// Stops the loop. Asserts that it ends and releases everything.
    pub(crate) fn stop(&mut self) {
        self.node.handle().stop().unwrap();
        self.run(Duration::from_secs(10));
        assert!(self.node.has_ended());
        self.assert_nothing_remains();
    }

    pub(crate) fn assert_nothing_remains(&self) {
        assert_eq!(self.node.violations(), []);
        assert_eq!((self.slots_in_use(), self.node.stats().links, self.node.net().open_connections()), (0, 0, 0));
        assert_eq!((self.report().claims, self.report().hosts, self.report().groups), (vec![], 0, 0));
    }

    pub(crate) fn report(&self) -> ManagerReport {
        self.node.inspect().manager.expect("the loop has a manager")
    }

    pub(crate) fn summary(&self) -> ManagerSummary {
        self.node.inspect().summary.manager.expect("the loop has a manager")
    }

    pub(crate) fn slots_in_use(&self) -> usize {
        self.summary().slots_in_use
    }

    pub(crate) fn ready(&self) -> usize {
        self.node.stats().ready
    }

    /// Returns the book's entry for an address.
    pub(crate) fn known(&self, address: SocketAddr) -> KnownPeer {
        self.report().book.into_iter().find(|peer| peer.address() == address).expect("the address is in the book")
    }

    pub(crate) fn log(&self) -> Vec<(Instant, ControlEvent)> {
        self.node.handler().log.borrow().clone()
    }

    pub(crate) fn clear_log(&self) {
        self.node.handler().log.borrow_mut().clear();
    }

    pub(crate) fn events(&self) -> Vec<ControlEvent> {
        self.log().into_iter().map(|(_, event)| event).collect()
    }

    pub(crate) fn labels(&self) -> Vec<&'static str> {
        self.events().iter().map(ControlEvent::label).collect()
    }

    pub(crate) fn count(&self, label: &str) -> usize {
        self.labels().into_iter().filter(|&other| other == label).count()
    }

    /// Returns the addresses of established connections, in the order of their events.
    pub(crate) fn established(&self) -> Vec<SocketAddr> {
        let address = |event| match event {
            ControlEvent::ConnectionEstablished { address, .. } => Some(address),
            _ => None,
        };
        self.events().into_iter().filter_map(address).collect()
    }

    /// Returns the close reasons of all connections, ready or not.
    pub(crate) fn ends(&self) -> Vec<CloseReason> {
        let reason = |event| match event {
            ControlEvent::ConnectionFailed { reason, .. } | ControlEvent::ConnectionLost { reason, .. } => Some(reason),
            _ => None,
        };
        self.events().into_iter().filter_map(reason).collect()
    }

    /// Returns the time of each connection failure, with the reported number of failures and the next dial.
    pub(crate) fn failures(&self) -> Vec<(Instant, u32, NextDial)> {
        let failure = |(at, event)| match event {
            ControlEvent::ConnectionFailed { failures, next, .. } => Some((at, failures, next)),
            _ => None,
        };
        self.log().into_iter().filter_map(failure).collect()
    }

    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let refusal = |event| match event {
            ControlEvent::InboundRejected { refusal, .. } => Some(refusal),
            _ => None,
        };
        self.events().into_iter().filter_map(refusal).collect()
    }

    /// Lets the stranger dial the loop from `source` as `link`, and sends the stranger's half of the handshake.
    pub(crate) fn welcome(&mut self, stranger: &mut Stranger, link: u64, source: Option<IpAddr>) {
        stranger.dial_from(link, self.address, source);
        stranger.send(link, &[Claim::default().version(), verack()].concat());
        self.settle();
    }
}

pub(crate) fn known_as(address: SocketAddr, status: PeerStatus, unix: UnixTime) -> KnownPeer {
    let mut peer = KnownPeer::new(address, unix);
    peer.status = status;
    peer
}

impl Drop for ManagedWorld {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.node.violations(), []);
        }
    }
}

/// A host that is driven by hand, with any number of links.
pub(crate) struct Stranger {
    pub(crate) net: SimNet,
}

impl Stranger {
    pub(crate) fn new(world: &World) -> Self {
        Self { net: world.host() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.net.ip(), 18_444)
    }

    pub(crate) fn listen(&mut self) -> SocketAddr {
        let address = self.address();
        self.net.listen(0, address).unwrap()
    }

    pub(crate) fn stop_listening(&mut self) {
        self.net.close_listener(0);
    }

    pub(crate) fn dial_from(&mut self, link: u64, address: SocketAddr, source: Option<IpAddr>) {
        self.net.connect(LinkId::from_u64(link), address, source).unwrap();
    }

    /// Accepts a waiting connection as `link`. Returns whether a connection was waiting.
    pub(crate) fn accept(&mut self, link: u64) -> bool {
        let accepted = self.net.accept(0);
        if let Ok((socket, _)) = accepted {
            self.net.attach(LinkId::from_u64(link), socket).unwrap();
            return true;
        }
        false
    }

    pub(crate) fn send(&mut self, link: u64, bytes: &[u8]) {
        assert_eq!(self.net.write(LinkId::from_u64(link), bytes).unwrap(), bytes.len());
    }

    /// Returns the received bytes, and whether they are followed by the end of the stream or a reset.
    pub(crate) fn receive(&mut self, link: u64) -> (Vec<u8>, bool) {
        let mut received = Vec::new();
        let mut block = vec![0; 64 * 1024];
        loop {
            match self.net.read(LinkId::from_u64(link), &mut block) {
                Ok(0) => return (received, true),
                Ok(len) => received.extend_from_slice(&block[..len]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return (received, false),
                Err(_) => return (received, true),
            }
        }
    }

    pub(crate) fn close(&mut self, link: u64) {
        self.net.close(LinkId::from_u64(link));
    }

    pub(crate) fn reset(&mut self, link: u64) {
        self.net.reset(LinkId::from_u64(link));
    }
}

/// The contents of a `version`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) protocol_version: i32,
    pub(crate) nonce: u64,
    /// The peer's listening port, or 0 if the peer names none.
    pub(crate) port: u16,
    /// The address that the peer names as ours.
    pub(crate) receiver: Option<SocketAddr>,
    pub(crate) user_agent: &'static str,
}

impl Default for Claim {
    fn default() -> Self {
        let user_agent = "/Bitcoin SV:1.2.2/";
        Self { protocol_version: 70_016, nonce: 0x1234_5678, port: 0, receiver: None, user_agent }
    }
}

impl Claim {
    pub(crate) fn version(self) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.extend(self.protocol_version.to_le_bytes());
        payload.extend(0x21_u64.to_le_bytes());
        payload.extend(1_700_000_000_i64.to_le_bytes());
        payload.extend(0_u64.to_le_bytes());
        match self.receiver {
            Some(SocketAddr::V4(address)) => {
                payload.extend(address.ip().to_ipv6_mapped().octets());
                payload.extend(address.port().to_be_bytes());
            }
            Some(SocketAddr::V6(_)) | None => payload.extend([0; 18]),
        }
        payload.extend(0x21_u64.to_le_bytes());
        payload.extend([0; 16]);
        payload.extend(self.port.to_be_bytes());
        payload.extend(self.nonce.to_le_bytes());
        payload.push(u8::try_from(self.user_agent.len()).expect("the user agent is shorter than 256 bytes"));
        payload.extend(self.user_agent.as_bytes());
        payload.extend(0_i32.to_le_bytes());
        payload.push(1);
        frame("version", &payload)
    }

    /// Returns all messages that a peer sends to become ready.
    pub(crate) fn handshake(self) -> Vec<u8> {
        [self.version(), verack()].concat()
    }
}

/// Returns the nonce in the `version` at the beginning of a stream.
pub(crate) fn nonce_of(stream: &[u8]) -> u64 {
    const NONCE_AT: usize = 24 + 4 + 8 + 8 + 26 + 26;
    u64::from_le_bytes(stream[NONCE_AT..NONCE_AT + 8].try_into().expect("the nonce has eight bytes"))
}

/// Returns the listening port in the `version` at the beginning of a stream.
pub(crate) fn port_of(stream: &[u8]) -> u16 {
    const PORT_AT: usize = 24 + 4 + 8 + 8 + 26 + 24;
    u16::from_be_bytes(stream[PORT_AT..PORT_AT + 2].try_into().expect("the port has two bytes"))
}
