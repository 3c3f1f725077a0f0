//! The virtual kernel itself: hosts, listeners, connections, and the events that wait to be collected.
//!
//! Everything happens inside the call that causes it, except for dials that fail after a while, delayed completions,
//! and traffic that a cut network delays. If a host never collects its events, at most one event per socket waits,
//! not counting forged events. No call examines all hosts or all connections, except a test's calls that cut, heal,
//! reset or check something, or that clear the faults.

mod disk;
mod harm;
mod host;
mod naming;
mod route;
mod schedule;
mod sockets;
mod view;

pub use disk::Disk;
pub use naming::Names;
pub use route::Route;
pub(super) use view::{EndView, HostView};

use super::connection::{Conditions, Connection, Edge, Edges, EndId, Mask, Owner};
use super::faults::Site;
use super::pipe::Pool;
use super::poller::{Pending, Queue};
use super::ports::Ports;
use super::tape::Tape;
use super::trace::{Call, Trace};
use crate::bugs::budget;
use crate::clock::Clock;
use crate::errno::{EINTR, EMFILE};
use crate::error::ResolveFailure;
use crate::id::Token;
use crate::limits::{EVENTS_PER_TURN, LISTEN_BACKLOG};
use crate::manager::store::{Batch, MemoryStore};
use crate::net::Readiness;
use crate::offload::Completion;
use crate::offload::resolver::outcome_of;
use crate::time::{Instant, UnixTime};
use host::{Draw, Flag, Host, Listener, stream_of};
use naming::{Reply, draw_answer, known};
use schedule::{Change, Schedule};
use slab::Slab;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The local ports of dials, as on Linux.
const DIAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) now: Instant,
    /// A copy of `now` for handlers, which may read it at any time.
    pub(super) clock: Arc<VirtualClock>,
    pub(super) began: Instant,
    pub(super) unix_began: UnixTime,
    pub(super) conditions: Rc<Conditions>,
    pub(super) backlog: usize,
    pub(super) trace: Trace,
    pub(super) tape: Tape,
    pub(super) ports: Ports,
    pub(super) routes: BTreeMap<IpAddr, Route>,
    /// Each name's addresses.
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    hosts: Vec<Host>,
    /// Hosts that received an event since [`Kernel::take_notified`] was last called.
    notified: Vec<u32>,
    any_woken: Arc<AtomicBool>,
    listeners: BTreeMap<SocketAddr, Listener>,
    connections: Slab<Connection>,
    next_serial: u32,
    schedule: Schedule,
    /// Dials that the cut network delays.
    unanswered: Vec<EndId>,
    pool: Pool,
}

/// The world's clock as handlers read it.
#[derive(Debug)]
pub(super) struct VirtualClock(AtomicU64);

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Acquire))
    }
}

impl Kernel {
    pub(super) fn new(tape: Tape, began: Instant) -> Self {
        Self {
            now: began,
            clock: Arc::new(VirtualClock(AtomicU64::new(began.as_nanos()))),
            began,
            unix_began: UnixTime::from_secs(1_700_000_000),
            conditions: Rc::default(),
            backlog: usize::try_from(LISTEN_BACKLOG).expect("the backlog is positive"),
            trace: Trace::new(),
            tape,
            ports: Ports::new(DIAL_PORTS),
            routes: BTreeMap::new(),
            hosts: Vec::new(),
            notified: Vec::new(),
            any_woken: Arc::default(),
            listeners: BTreeMap::new(),
            connections: Slab::new(),
            next_serial: 0,
            schedule: Schedule::default(),
            names: BTreeMap::new(),
            unanswered: Vec::new(),
            pool: Pool::default(),
        }
    }

    // --- Time -------------------------------------------------------------------------------------------------------

    fn set_now(&mut self, now: Instant) {
        self.now = now;
        self.clock.0.store(now.as_nanos(), Ordering::Release);
    }

    pub(super) fn unix_time(&self) -> UnixTime {
        let passed = i64::try_from(self.now.since(self.began).as_secs()).unwrap_or(i64::MAX);
        UnixTime::from_secs(self.unix_began.as_secs().saturating_add(passed))
    }

    /// Returns the moment of the next scheduled change.
    pub(super) fn next_change(&self) -> Option<Instant> {
        self.schedule.next_at()
    }

    fn happen_later(&mut self, after: Duration, what: Change) {
        self.schedule.add(self.now.plus(after), what);
    }

    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.now.plus(by);
        while let Some((at, what)) = self.schedule.take_by(until) {
            self.set_now(at);
            match what {
                Change::DialFails(dialler, errno) => self.fail_dial(dialler, errno),
                Change::Answer(reply) => self.answer(reply),
                Change::Write { host, life } => self.write_book(host, life),
            }
        }
        self.set_now(until);
    }

    // --- Hosts and their events -------------------------------------------------------------------------------------

    pub(super) fn add_host(&mut self) -> usize {
        let host = self.hosts.len();
        let number = u32::try_from(host + 1).expect("there are fewer than 2^32 hosts");
        let chance = |draw: Draw| self.tape.stream(stream_of(host, draw as usize));
        let chances = [Draw::Cuts, Draw::Poller, Draw::Routes, Draw::Names, Draw::Disk].map(chance);
        self.hosts.push(Host::new(number, chances, &self.any_woken));
        host
    }

    pub(super) fn ip(&self, host: usize) -> IpAddr {
        self.hosts[host].ip
    }

    pub(super) fn flag(&self, host: usize) -> Arc<Flag> {
        Arc::clone(&self.hosts[host].woken)
    }

    pub(super) fn queue_mut(&mut self, host: usize) -> &mut Queue {
        &mut self.hosts[host].queue
    }

    pub(super) fn pause(&mut self, host: usize, time: Duration) {
        let until = self.now.plus(time);
        let paused_until = &mut self.hosts[host].paused_until;
        *paused_until = until.max(*paused_until);
    }

    /// Returns the moment until which a host is paused, if it is.
    pub(super) fn paused_until(&self, host: usize) -> Option<Instant> {
        let until = self.hosts[host].paused_until;
        (until > self.now).then_some(until)
    }

    /// Discards a host's waiting events, because a new process on the host has a new poller.
    pub(super) fn renew_poller(&mut self, host: usize) {
        self.hosts[host].queue.renew();
    }

    /// Returns whether the host would receive an event if it waited now.
    pub(super) fn has_events(&self, host: usize) -> bool {
        let Host { queue, woken, .. } = &self.hosts[host];
        !queue.is_empty() || woken.woken.load(Ordering::Acquire)
    }

    /// Appends to `hosts` the hosts that received an event since the previous call. Returns whether any waker was used.
    pub(super) fn take_notified(&mut self, hosts: &mut Vec<u32>) -> bool {
        for &host in &self.notified {
            self.hosts[host as usize].is_notified = false;
        }
        hosts.append(&mut self.notified);
        self.any_woken.load(Ordering::Relaxed) && self.any_woken.swap(false, Ordering::AcqRel)
    }

    pub(super) fn push(&mut self, host: usize, pending: Pending) {
        let now = self.now;
        let state = &mut self.hosts[host];
        state.queue.push(pending, now);
        if !state.is_notified {
            state.is_notified = true;
            self.notified.push(host as u32);
        }
    }

    pub(super) fn wait(&mut self, host: usize, ready: &mut Vec<Readiness>) -> Result<(), i32> {
        ready.clear();
        let result = match self.hosts[host].faults.next_failure(Site::Wait) {
            // An interrupted wait returns no events, unless one arrived at an earlier moment: a process must see the
            // events that arrived while it was paused.
            Some(EINTR) if !self.hosts[host].queue.is_late(self.now) => Ok(()),
            Some(EINTR) | None => {
                self.collect(host, ready);
                Ok(())
            }
            Some(errno) => Err(errno),
        };
        self.note(host, Call::Wait, result.map(|()| ready.len()), &[]);
        for &Readiness { token, readable, writable, hung_up } in &*ready {
            self.note(host, Call::Event { token, readable, writable, hung_up }, Ok(0), &[]);
        }
        result
    }

    fn collect(&mut self, host: usize, ready: &mut Vec<Readiness>) {
        if self.hosts[host].woken.woken.swap(false, Ordering::AcqRel) {
            ready.push(Readiness { token: Token::Waker.to_u64(), readable: true, writable: false, hung_up: false });
        }
        let Host { queue, chances, .. } = &self.hosts[host];
        let most = queue.len_to_show(self.now, &chances[Draw::Poller as usize]);
        let most = most.min(budget!(Events, EVENTS_PER_TURN));
        while ready.len() < most {
            let Host { queue, chances, .. } = &mut self.hosts[host];
            let Some(pending) = queue.pop(&chances[Draw::Poller as usize]) else { break };
            ready.extend(match pending {
                Pending::Link(end) => self.see_link(host, end),
                Pending::Listener(index) => self.see_listener(host, index),
                Pending::Forged(readiness) => Some(readiness),
            });
        }
        let Host { queue, chances, .. } = &mut self.hosts[host];
        queue.add_noise(ready, &chances[Draw::Poller as usize]);
    }

    fn see_link(&mut self, host: usize, id: EndId) -> Option<Readiness> {
        let poller = self.hosts[host].queue.poller;
        let connection = self.connection(id)?;
        let Owner { token, .. } = connection.end(id.side).owner?;
        let Mask { readable, writable, hung_up } = connection.notify(id.side, |seen, owed| poller.shown(seen, owed));
        (readable || writable).then_some(Readiness { token, readable, writable, hung_up })
    }

    fn see_listener(&mut self, host: usize, index: u32) -> Option<Readiness> {
        let listener = self.listener(host, index)?;
        listener.is_queued = false;
        let token = Token::Listener(index).to_u64();
        let readiness = Readiness { token, readable: true, writable: false, hung_up: false };
        (!listener.waiting.is_empty()).then_some(readiness)
    }

    /// Queues the events that an operation on the endpoint `id` has caused.
    fn announce(&mut self, id: EndId, edges: Edges) {
        if !edges.own.is_none() {
            self.announce_to(id, edges.own);
        }
        if !edges.other.is_none() {
            self.announce_to(EndId { side: id.side.other(), ..id }, edges.other);
        }
    }

    fn announce_to(&mut self, id: EndId, edge: Edge) {
        let Self { connections, hosts, .. } = self;
        let Some(connection) = connections.get_mut(id.index as usize) else { return };
        let end = connection.end(id.side);
        let Some(Owner { host, .. }) = end.owner else { return };
        let edge = hosts[host as usize].queue.poller.edge(edge, end.is_drained);
        if edge.is_none() {
            return;
        }
        end.owed.readable |= edge.readable;
        end.owed.writable |= edge.writable;
        if !std::mem::replace(&mut end.is_queued, true) {
            self.push(host as usize, Pending::Link(id));
        }
    }

    fn connection(&mut self, id: EndId) -> Option<&mut Connection> {
        self.connections.get_mut(id.index as usize).filter(|connection| connection.serial == id.serial)
    }

    // --- Jobs off the loop -------------------------------------------------------------------------------------------

    pub(super) fn set_names(&mut self, host: usize, names: Names) {
        self.hosts[host].names = names;
    }

    pub(super) fn resolve(&mut self, host: usize, query: u32, name: &str, port: u16) -> Result<(), ResolveFailure> {
        let Host { asked, names: resolver, chances, ip, .. } = &mut self.hosts[host];
        asked.ask(name)?;
        let life = asked.life;
        let known = || known(&self.names, name, port);
        let (found, after) = match resolver {
            Names::Known => (known(), Some(Duration::ZERO)),
            Names::Wild => draw_answer(&chances[Draw::Names as usize], *ip, port, known),
        };
        let answer = Completion::Resolved { query, outcome: outcome_of(name.to_owned(), found) };
        match after {
            Some(Duration::ZERO) => self.hosts[host].complete(answer),
            Some(after) => self.happen_later(after, Change::Answer(Reply { host, life, answer })),
            None => {}
        }
        Ok(())
    }

    /// Delivers a completion to a host, unless the host was restarted after its query.
    fn answer(&mut self, reply: Reply) {
        let host = &mut self.hosts[reply.host];
        if host.asked.life == reply.life {
            host.complete(reply.answer);
        }
    }

    pub(super) fn take_completion(&mut self, host: usize) -> Option<Completion> {
        self.hosts[host].asked.take_completion()
    }

    /// Drops all queries of a host.
    pub(super) fn drop_queries(&mut self, host: usize) {
        self.hosts[host].asked.drop_all();
    }

    pub(super) fn set_disk(&mut self, host: usize, disk: Disk) {
        self.hosts[host].disk = disk;
    }

    pub(super) fn book(&self, host: usize) -> MemoryStore {
        self.hosts[host].book.durable()
    }

    pub(super) fn persist(&mut self, host: usize, batch: Batch) -> Result<(), Batch> {
        let book = &mut self.hosts[host].book;
        book.take(batch)?;
        if !book.is_writing() {
            self.write_later(host);
        }
        Ok(())
    }

    /// Begins the next attempt to write a host's book, if there is anything to write.
    fn write_later(&mut self, host: usize) {
        let Host { book, disk, chances, asked, .. } = &mut self.hosts[host];
        let life = asked.life;
        match book.begin_write(*disk, &chances[Draw::Disk as usize]) {
            None => {}
            Some(Duration::ZERO) => self.write_book(host, life),
            Some(after) => self.happen_later(after, Change::Write { host, life }),
        }
    }

    fn write_book(&mut self, host: usize, life: u32) {
        let Host { book, disk, chances, asked, .. } = &mut self.hosts[host];
        if asked.life != life {
            return;
        }
        if let Some(answer) = book.end_write(*disk, &chances[Draw::Disk as usize]) {
            self.hosts[host].complete(Completion::Persisted(answer));
        }
        self.write_later(host);
    }

    /// Discards a killed host's unwritten changes. A wild disk may write all of them instead.
    pub(super) fn lose_unwritten(&mut self, host: usize) {
        let Host { book, disk, chances, .. } = &mut self.hosts[host];
        book.lose_unwritten(*disk, &chances[Draw::Disk as usize]);
    }

    // --- Common to all calls ----------------------------------------------------------------------------------------

    pub(super) fn note(&mut self, host: usize, call: Call, outcome: Result<usize, i32>, moved: &[u8]) {
        self.trace.note(self.now, host, call, outcome, moved);
    }

    /// Counts a call, and returns its planned error, if any. An interrupted call is retried and succeeds.
    fn count_call(&mut self, host: usize, site: Site) -> Result<(), i32> {
        match self.hosts[host].faults.next_failure(site) {
            None | Some(EINTR) => Ok(()),
            Some(errno) => Err(errno),
        }
    }

    fn take_descriptor(&mut self, host: usize) -> Result<(), i32> {
        let Host { descriptors, max_descriptors, .. } = &mut self.hosts[host];
        if *descriptors >= *max_descriptors {
            return Err(EMFILE);
        }
        *descriptors += 1;
        Ok(())
    }

    fn release_descriptor(&mut self, host: usize) {
        self.hosts[host].descriptors -= 1;
    }
}
