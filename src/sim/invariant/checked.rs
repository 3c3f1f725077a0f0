//! A loop on which all invariants are checked.

use super::bounds::Bounds;
use super::gate::Gate;
use super::ledger::Ledger;
use super::saved::Disk;
use super::sight::{Memory, SweepSight, TurnSight, ensure};
use super::{Inspection, StreamCase, Summary, Violation, Witness, manager_checks, outside, sweep, turn};
use crate::address::Host;
use crate::api::Stats;
use crate::config::Config;
use crate::handle::Handle;
use crate::handler::{Ctx, Handler};
use crate::id::LinkId;
use crate::manager::ban::Ban;
use crate::manager::store::{KnownPeer, PeerStore};
use crate::reactor::{Reactor, StartError};
use crate::sim::driver::Actor;
use crate::sim::faults::Site;
use crate::sim::net::SimNet;
use crate::sim::world::World;
use crate::stats::Census;
use crate::time::{Instant, Wait};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Number of calls to the network after which a sweep is due.
const CALLS_PER_SWEEP: u64 = 1_024;

/// A loop in a [`World`]. All [`INVARIANTS`](super::INVARIANTS) except those checked elsewhere or not built are
/// checked while it runs and when it stops.
pub struct Checked<H: Handler> {
    reactor: Reactor<Gate, Witness<H>>,
    world: World,
    ledger: Rc<RefCell<Ledger>>,
    bounds: Bounds,
    /// The state before the next turn.
    summary: Summary,
    /// The reading of the loop's clock before the last turn.
    settled: Instant,
    /// The next link to read, and the last turn in which that link was read or became the next.
    next_since: (Option<LinkId>, u64),
    memory: Memory,
    calls_per_sweep: u64,
    next_sweep: u64,
    has_ended: bool,
}

impl<H: Handler> Checked<H> {
    /// Creates a loop on a network of `world`.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::with_net`].
    pub fn new(world: &World, net: SimNet, config: Config, handler: H) -> Result<Self, StartError> {
        let bounds = Bounds::of(&config);
        let mut ledger = Ledger::of(&config);
        if config.manager.is_some() {
            ledger.managing.saved.begin(Disk::of(&world.book(net.host())));
        }
        let ledger = Rc::new(RefCell::new(ledger));
        let gate = Gate::new(net, Rc::clone(&ledger));
        let witness = Witness::with(Rc::clone(&ledger), handler);
        let reactor = Reactor::with_net(config, gate, witness)?;
        let summary = reactor.inspect_summary();
        Ok(Self {
            world: world.clone(),
            ledger,
            bounds,
            settled: summary.now,
            summary,
            next_since: (None, 0),
            memory: Memory::default(),
            calls_per_sweep: CALLS_PER_SWEEP,
            next_sweep: CALLS_PER_SWEEP,
            has_ended: false,
            reactor,
        })
    }

    /// Sets the minimum number of network calls from one sweep to the next. The minimum is raised to the number of
    /// the loop's links or of the world's connections if either is larger. With 0, a sweep follows every turn.
    /// Default 1,024.
    #[must_use]
    pub fn with_calls_per_sweep(self, calls: u64) -> Self {
        Self { calls_per_sweep: calls, next_sweep: calls, ..self }
    }

    /// Returns the loop.
    pub fn reactor(&self) -> &Reactor<Gate, Witness<H>> {
        &self.reactor
    }

    /// Returns the network of the loop's host.
    pub fn net(&self) -> &SimNet {
        self.reactor.net().net()
    }

    /// Returns the user's own handler.
    pub fn handler(&self) -> &H {
        self.reactor.handler().handler()
    }

    /// Returns a mutable reference to the user's own handler, for changes between turns.
    pub fn handler_mut(&mut self) -> &mut H {
        self.reactor.handler_mut().handler_mut()
    }

    /// Calls [`Reactor::handle`].
    pub fn handle(&self) -> Handle<H::Request> {
        self.reactor.handle()
    }

    /// Calls [`Reactor::stats`].
    pub fn stats(&self) -> Stats {
        self.reactor.stats()
    }

    /// Calls [`Reactor::listen`].
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::listen`].
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.reactor.listen(address)
    }

    /// Calls [`Reactor::remember`].
    pub fn remember(&mut self, peers: Vec<KnownPeer>, bans: Vec<Ban>) {
        self.ledger.borrow_mut().managing.remember(&peers);
        self.reactor.remember(peers, bans);
        self.summary = self.reactor.inspect_summary();
    }

    /// Calls [`Reactor::act`] with the user's own handler.
    pub fn act<R>(&mut self, act: impl FnOnce(&mut H, &mut Ctx<'_>) -> R) -> R {
        let result = self.reactor.act(|witness, ctx| witness.act(ctx, act));
        self.summary = self.reactor.inspect_summary();
        result
    }

    /// Calls [`Reactor::next_deadline`].
    pub fn next_deadline(&self) -> Wait {
        self.reactor.next_deadline()
    }

    /// Calls [`Reactor::poll_once`], and checks the turn.
    ///
    /// # Errors
    ///
    /// If the poller fails.
    pub fn poll_once(&mut self, timeout: Duration) -> io::Result<bool> {
        let continues = self.reactor.poll_once(timeout)?;
        self.check_turn();
        if !continues && !mem::replace(&mut self.has_ended, true) {
            self.sweep();
            self.check_end();
        } else if self.ledger.borrow().calls >= self.next_sweep {
            self.sweep();
        }
        Ok(continues)
    }

    /// Checks the complete state, between two turns.
    pub fn sweep(&mut self) {
        let inspection = self.reactor.inspect();
        let host = self.world.view_of(self.net().host());
        let has_changed = self.ledger.borrow_mut().managing.saved.take_change() || self.has_ended;
        let is_written = has_changed && inspection.manager.is_some();
        let disk = is_written.then(|| Disk::of(&self.world.book(self.net().host())));
        let ledger = self.ledger.borrow();
        let sight = SweepSight {
            inspection: &inspection,
            ledger: &ledger,
            host: &host,
            open_sockets: self.net().open_connections(),
            settled: self.settled,
            memory: &self.memory,
            disk: disk.as_ref(),
        };
        let checks = sweep::CHECKS.iter().chain(&outside::CHECKS).chain(&manager_checks::CHECKS);
        let found: Vec<(u8, String)> =
            checks.filter_map(|(number, check)| check(&sight).err().map(|text| (*number, text))).collect();
        let (turn, calls) = (ledger.turn, ledger.calls);
        drop(ledger);
        self.report(found);
        self.memory = mem::take(&mut self.memory).of(&inspection, turn);
        self.next_sweep = calls + self.calls_per_sweep.max(self.sweep_cost(inspection.links.len(), host.looked_at));
    }

    /// Returns the loop's complete visible state.
    pub fn inspect(&self) -> Inspection {
        self.reactor.inspect()
    }

    /// Returns the first 32 violations found, in order.
    pub fn violations(&self) -> Vec<Violation> {
        self.ledger.borrow().findings.list().to_vec()
    }

    /// Returns the number of network calls so far that could have failed, plus the number of readiness events that the
    /// loop received.
    pub fn socket_events(&self) -> u64 {
        self.ledger.borrow().attempts
    }

    /// Returns whether a call at this site has ever failed with this error.
    pub fn has_failed(&self, site: Site, errno: i32) -> bool {
        self.ledger.borrow().has_failed(site, errno)
    }

    /// Returns whether a peer of the loop has ever been in this situation.
    pub fn has_seen(&self, case: StreamCase) -> bool {
        self.ledger.borrow().streams.has_seen(case)
    }

    /// Returns whether the loop has run its last turn.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns the number of all violations found.
    pub fn violations_total(&self) -> u64 {
        self.ledger.borrow().findings.total
    }

    /// Returns the cost of a sweep as a number of calls; 0 if a sweep follows every turn. At least this many calls
    /// separate two sweeps, so that sweeps cost no more than the calls.
    fn sweep_cost(&self, links: usize, connections: usize) -> u64 {
        if self.calls_per_sweep == 0 { 0 } else { links.max(connections) as u64 }
    }

    fn check_turn(&mut self) {
        let after = self.reactor.inspect_summary();
        let promised = Bounds::of(self.reactor.config());
        let bounds = self.bounds.or_looser(promised);
        let mut ledger = self.ledger.borrow_mut();
        let undurable = self.undurable(&ledger.managing.announced);
        let misdated_pings = self.misdated_pings(&ledger);
        let missing = ledger.missing_writable();
        let missing_writable: Vec<LinkId> = missing.filter(|link| self.reactor.is_drained(*link)).collect();
        if after.streams > 0 || !ledger.streams.is_empty() {
            ledger.settle_streams(self.reactor.inspect_streams());
        }
        let survivors: Vec<LinkId> = ledger.streams.doomed().filter(|link| self.reactor.is_open(*link)).collect();
        let was_read = after.next_ready.is_some_and(|link| ledger.read_in(link) == ledger.turn);
        if after.next_ready != self.next_since.0 || was_read {
            self.next_since = (after.next_ready, ledger.turn);
        }
        let next_unread_turns = if after.next_ready.is_some() { ledger.turn - self.next_since.1 } else { 0 };
        let sight = TurnSight {
            before: &self.summary,
            after: &after,
            bounds: &bounds,
            reported_ready: ledger.ready,
            reported_closed: ledger.closed,
            next_unread_turns,
            undurable: &undurable,
            misdated_pings: &misdated_pings,
            missing_writable: &missing_writable,
            missing_written: &ledger.missing_written(),
            survivors: &survivors,
            granted: ledger.managing.gossip.granted(),
        };
        for (number, check) in &turn::CHECKS {
            if let Err(text) = check(&sight) {
                ledger.findings.found(*number, text);
            }
        }
        let Ledger { managing, findings, .. } = &mut *ledger;
        managing.settle(after.manager.as_ref(), after.now, findings);
        self.settled = self.summary.now;
        drop(ledger);
        self.bounds = promised.at_least(&after);
        self.summary = after;
    }

    /// Returns the hosts with an announced ban that is not on the disk.
    fn undurable(&self, announced: &BTreeSet<Host>) -> Vec<Host> {
        if announced.is_empty() {
            return Vec::new();
        }
        let bans = self.world.book(self.net().host()).bans().unwrap_or_default();
        announced.iter().copied().filter(|host| bans.iter().all(|ban| ban.host != *host)).collect()
    }

    /// Returns the links with a ping that was written in the last turn, but that the loop considers sent earlier or not
    /// yet sent. Each link is listed with that earlier moment; `None` if the loop considers the ping not yet sent.
    fn misdated_pings(&self, ledger: &Ledger) -> Vec<(LinkId, Option<Instant>)> {
        let turn_began = ledger.findings.now;
        let sent = |(link, nonce): &(LinkId, u64)| Some((*link, self.reactor.ping_sent(*link, *nonce)?));
        let in_flight = ledger.written_pings().iter().filter_map(sent);
        in_flight.filter(|(_, sent)| sent.is_none_or(|sent| sent < turn_began)).collect()
    }

    /// Checks that a stopped loop has released everything.
    fn check_end(&self) {
        let found = end(&self.reactor.inspect()).err().map(|text| (36, text));
        self.report(found.into_iter().collect());
    }

    fn report(&self, found: Vec<(u8, String)>) {
        let mut ledger = self.ledger.borrow_mut();
        for (number, text) in found {
            ledger.findings.found(number, text);
        }
    }
}

/// Checks that a stopped loop has released everything.
pub(super) fn end(inspection: &Inspection) -> Result<(), String> {
    let Inspection { summary, links, listeners, unbound_addresses, dials, manager, .. } = inspection;
    let places = summary.manager.as_ref().map_or(0, |manager| manager.slots_in_use);
    let claims = manager.as_ref().map_or(0, |manager| manager.claims.len());
    let left = [
        links.len(),
        listeners.len() + unbound_addresses,
        dials.len(),
        summary.timers,
        summary.ready_count,
        summary.inbound,
        summary.marked_links,
        summary.links_with_facts,
        places + claims,
    ];
    let held_bytes = summary.gathered_bytes + summary.waiting_bytes;
    let is_empty = summary.connections == Census::default() && summary.over_capacity == 0 && held_bytes == 0;
    ensure(left == [0; 9] && is_empty, || {
        format!(
            "the stopped loop still holds something; links, listeners, dials, timers, ready, inbound, marked, with \
             facts, slots plus claims: {left:?}; {summary:?}"
        )
    })
}

impl<H: Handler> Actor for Checked<H> {
    fn turn(&mut self) -> io::Result<bool> {
        self.poll_once(Duration::ZERO)
    }

    fn wait(&self) -> Wait {
        self.next_deadline()
    }

    fn host(&self) -> Option<usize> {
        Some(self.net().host())
    }
}

impl<H: Handler> fmt::Debug for Checked<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("reactor", &self.reactor).finish_non_exhaustive()
    }
}
