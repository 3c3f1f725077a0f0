//! A loop's run with many peers: they connect, they are pinged twice, some are replaced by others, and the loop stops.
//!
//! Half of the peers dial the loop and the loop dials the other half. Before any peer is replaced, the numbers of
//! connects and pings per millisecond do not depend on the number of peers, so a turn of a large loop has as much
//! work as a turn of a small one. Only the number of idle peers, and thus their cost, differs. The peers check that
//! the loop treats them correctly.

mod meter;

pub use meter::Account;

use meter::Measured;
use peerloop::peer::ConnectionType;
use peerloop::sim::actor::{Crowd, Honest, Journal, Line, Persona, Profile, Role};
use peerloop::sim::{Driver, Tape, World};
use peerloop::time::Instant;
use peerloop::{Config, Ctx, Event, Handler, Network, PeerId, Reactor};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Number of connections opened in each direction per millisecond.
const PER_MILLISECOND: u64 = 32;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// The loop's ping interval. It is longer than the time in which the maximum number of peers connects.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_ROUNDS: u32 = 2;
const CHURN_SECONDS: u32 = 3;
/// One in this many peers is replaced per second.
const CHURN_ONE_IN: u64 = 100;
const PORT: u16 = 18_444;
/// Maximum number of connections from the loop to one port of the crowd. The loop has 28,232 local ports for them.
const PER_LISTENER: u64 = 20_000;
/// Number of addresses from which the crowd dials.
const SOURCES: u32 = 61;
/// Number of additional rows in the loop's table. While a link closes, its replacement already needs a row.
const ENDING: usize = 1_024;

/// The events and memory of the loop up to the end of one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The phase's description.
    pub name: &'static str,
    /// Number of ready peers.
    pub ready: u64,
    /// The loop's totals since it began.
    pub account: Account,
    /// Memory that the loop itself reports, in bytes.
    pub accounted_bytes: u64,
}

/// Runs a loop with `peers` peers, an even number up to 1,800,000, from start to stop, and returns the run's phases.
///
/// # Panics
///
/// If `peers` is zero, odd or too large, if a peer was not treated correctly, or if a connection remains at the end.
pub fn live(peers: u64) -> Vec<Phase> {
    assert!(peers > 0 && peers.is_multiple_of(2), "the number of peers is zero or odd");
    let times = Times::of(peers);
    let mut stage = Stage::new(peers, times);
    let mut phases = Vec::new();
    stage.run_until(times.connected);
    phases.push(stage.phase("connect and handshake"));
    stage.run_until(times.pinged);
    phases.push(stage.phase("two rounds of pings"));
    stage.dial_replacements();
    stage.run_until(times.churned);
    phases.push(stage.phase("1 % churn a second"));
    stage.node.handle().stop().expect("the request queue has room");
    stage.run_until(times.churned.plus(SECOND));
    phases.push(stage.phase("shutdown"));
    stage.check();
    phases
}

/// The moments at which a run's first three phases end.
#[derive(Clone, Copy, Debug)]
struct Times {
    connected: Instant,
    pinged: Instant,
    churned: Instant,
}

impl Times {
    fn of(peers: u64) -> Self {
        let millis = (peers / 2).div_ceil(PER_MILLISECOND);
        let connected = Instant::ZERO.plus(Duration::from_millis(millis) + SECOND);
        assert!(connected < Instant::ZERO.plus(PING_INTERVAL), "too many peers to connect before the first ping");
        let pinged = connected.plus(PING_INTERVAL * PING_ROUNDS);
        Self { connected, pinged, churned: pinged.plus(SECOND * (CHURN_SECONDS + 1)) }
    }

    /// Returns the moment at which the peer with this index among `count` closes its connection, if it does.
    fn closes_at(self, index: u64, count: u64) -> Option<Instant> {
        let second = u32::try_from(index % CHURN_ONE_IN).ok().filter(|second| *second < CHURN_SECONDS)?;
        let within_second = SECOND.mul_f64(index as f64 / count as f64);
        Some(self.pinged.plus(MILLISECOND + SECOND * second + within_second))
    }
}

/// The loop, its peers and their observations.
struct Stage {
    peers: u64,
    times: Times,
    driver: Driver,
    node: Measured<Dialler>,
    crowd: Crowd,
    profile: Rc<Profile>,
    journal: Journal,
    address: SocketAddr,
}

impl Stage {
    fn new(peers: u64, times: Times) -> Self {
        let world = World::with_tape(Tape::from_seed(1), Instant::ZERO);
        let journal = Journal::new();
        let profile = Rc::new(Profile::new(Network::Regtest.magic(), &journal));
        let net = world.host();
        let address = SocketAddr::new(net.ip(), PORT);
        let mut crowd = Crowd::new(world.host(), world.chance(1)).with_sources(SOURCES);
        let half = peers / 2;
        let listeners = half.div_ceil(PER_LISTENER);
        let targets = (0..listeners).map(|index| {
            let profile = Rc::clone(&profile);
            let port = PORT + u16::try_from(index).expect("listeners are few");
            let cast = move |accepted| cast(&profile, times, accepted * listeners + index, half);
            crowd.listen(port, cast).expect("the port is free")
        });
        let targets = targets.collect();
        for lane in 0..PER_MILLISECOND {
            let profile = Rc::clone(&profile);
            let count = half.saturating_sub(lane).div_ceil(PER_MILLISECOND);
            let cast = move |dialled| cast(&profile, times, dialled * PER_MILLISECOND + lane, half);
            crowd.dial_many(address, Instant::ZERO, MILLISECOND, count, cast);
        }
        let node = Measured::new(net, |net| {
            let max_links = usize::try_from(peers).expect("a table can hold this many peers") + ENDING;
            let defaults = Config::new(Network::Regtest);
            let config = defaults.with_max_links(max_links).with_ping_interval(PING_INTERVAL).with_seed(Some(1));
            let handler = Dialler { targets, dialled: 0, dials: half };
            let mut reactor = Reactor::with_net(config, net, handler).expect("the configuration is valid");
            reactor.listen(address).expect("the address is free");
            reactor
        });
        Self { peers, times, driver: Driver::new(&world), node, crowd, profile, journal, address }
    }

    /// Returns the number of inbound peers that are replaced; the same number of outbound peers is replaced, too.
    fn replaced_peers(&self) -> u64 {
        let half = self.peers / 2;
        (0..half).filter(|index| self.times.closes_at(*index, half).is_some()).count() as u64
    }

    /// Makes as many new peers dial as inbound peers close their connections.
    fn dial_replacements(&mut self) {
        let count = self.replaced_peers();
        let every = (SECOND * CHURN_SECONDS).div_f64(count as f64);
        let profile = Rc::clone(&self.profile);
        self.crowd.dial_many(self.address, self.times.pinged, every, count, move |_| Honest::new(&profile).into());
    }

    fn run_until(&mut self, until: Instant) {
        self.driver.run_until(until, &mut [&mut self.node, &mut self.crowd]).expect("the loop becomes idle");
    }

    fn phase(&self, name: &'static str) -> Phase {
        let reactor = self.node.reactor();
        let ready = reactor.stats().ready as u64;
        Phase { name, ready, account: self.node.account(), accounted_bytes: reactor.inspect().accounted_bytes }
    }

    fn check(&self) {
        let (tally, peers) = (self.journal.tally(), self.peers);
        assert_eq!(self.journal.complaints(), []);
        assert_eq!(tally.ready, peers + 2 * self.replaced_peers(), "not every peer and replacement became ready once");
        assert_eq!(tally.pings_answered, peers * u64::from(PING_ROUNDS));
        assert_eq!((tally.closed, tally.failed, tally.torn), (peers, 0, 0));
        assert_eq!((self.crowd.len(), self.node.reactor().stats().links), (0, 0));
    }
}

/// The handler under test. It dials its targets, dials again when an outbound connection closes, and stores nothing
/// about any peer.
#[derive(Debug)]
struct Dialler {
    targets: Vec<SocketAddr>,
    dialled: u64,
    dials: u64,
}

impl Handler for Dialler {
    type Request = ();

    fn on_start(&mut self, ctx: &mut Ctx<'_>) {
        ctx.wake_at(ctx.now());
    }

    fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        for index in self.dialled..self.dials.min(self.dialled + PER_MILLISECOND) {
            let target = self.targets[index as usize % self.targets.len()];
            ctx.connect(target).expect("the table has room");
            self.dialled += 1;
        }
        if self.dialled < self.dials {
            ctx.wake_at(ctx.now().plus(MILLISECOND));
        }
    }

    fn on_event(&mut self, ctx: &mut Ctx<'_>, peer: PeerId, event: Event<'_>) {
        let Event::Closed { .. } = event else { return };
        let Some(view) = ctx.peer(peer) else { return };
        if view.connection().connection_type() == ConnectionType::Outbound {
            let address = view.address();
            // The call is refused while the loop stops.
            let _ = ctx.connect(address);
        }
    }
}

/// Returns the role of the peer with this index. If the index is `count` or more, the peer does not close its
/// connection.
fn cast(profile: &Rc<Profile>, times: Times, index: u64, count: u64) -> Role {
    let honest = Honest::new(profile);
    match times.closes_at(index, count).filter(|_| index < count) {
        Some(leaves_at) => Role::of(ClosingPeer { honest, leaves_at }),
        None => honest.into(),
    }
}

/// An honest peer that closes its connection at a given moment.
struct ClosingPeer {
    honest: Honest,
    leaves_at: Instant,
}

impl Persona for ClosingPeer {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.honest.opened(line);
    }

    fn received(&mut self, line: &mut Line<'_>, bytes: &[u8]) {
        self.honest.received(line, bytes);
        line.wake_at(self.leaves_at);
    }

    fn due(&mut self, line: &mut Line<'_>) {
        line.close();
    }
}
