//! The virtual kernel itself: hosts, listeners, connections, and the events that wait to be collected.
//!
//! Everything happens inside the call that causes it, except for dials that fail after a while, delayed completions,
//! and traffic that a cut network delays. A host that never collects has at most one waiting event per socket. No
//! call looks at all hosts or all connections, except those by which a test cuts, heals or resets something.

mod dialling;
mod disk;
mod harm;
mod links;
mod listening;
mod naming;
mod view;

pub use dialling::Route;
pub use disk::Disk;
pub use naming::Names;
pub(super) use view::{EndView, HostView};

use super::connection::{Conditions, Connection, Edge, Edges, EndId, Mask, Owner, Side};
use super::faults::{Faults, Site};
use super::pipe::Pool;
use super::poller::{Pending, Queue};
use super::ports::Ports;
use super::tape::{Chance, Tape};
use super::trace::{Call, Trace};
use crate::bugs::budget;
use crate::errno::{EINTR, EMFILE};
use crate::id::Token;
use crate::limits::{EVENTS_PER_TURN, LISTEN_BACKLOG};
use crate::net::{Readiness, Wake};
use crate::time::{Instant, UnixTime};
use disk::Book;
use naming::Asked;
use slab::Slab;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The first port of a listener that asks for any.
const FIRST_LISTENER_PORT: u16 = 61_000;
/// The ports of dials, as on Linux.
const DIAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;
/// The address before that of the first host.
const NETWORK: u32 = u32::from_be_bytes([10, 0, 0, 0]);
/// Descriptors of the poller and its waker.
const OWN_DESCRIPTORS: usize = 2;

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) now: Instant,
    pub(super) began: Instant,
    pub(super) unix_began: UnixTime,
    pub(super) conditions: Rc<Conditions>,
    pub(super) backlog: usize,
    pub(super) trace: Trace,
    pub(super) tape: Tape,
    pub(super) ports: Ports,
    pub(super) routes: BTreeMap<IpAddr, Route>,
    /// The addresses of names.
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    hosts: Vec<Host>,
    /// Hosts that received an event since the driver last asked.
    stirred: Vec<u32>,
    any_woken: Arc<AtomicBool>,
    listeners: BTreeMap<SocketAddr, Listener>,
    connections: Slab<Connection>,
    next_serial: u32,
    /// Scheduled changes, by moment and order.
    coming: BTreeMap<(Instant, u64), Coming>,
    next_coming: u64,
    /// Dials that the cut network delays.
    unanswered: Vec<EndId>,
    pool: Pool,
}

#[derive(Debug)]
struct Host {
    ip: IpAddr,
    next_port: u16,
    queue: Queue,
    is_stirred: bool,
    is_cut: bool,
    paused_until: Instant,
    /// Addresses of its listeners, by their index.
    listening: BTreeMap<u32, SocketAddr>,
    woken: Arc<Flag>,
    descriptors: usize,
    max_descriptors: usize,
    faults: Faults,
    chances: [Chance; 5],
    names: Names,
    asked: Asked,
    disk: Disk,
    book: Book,
}

/// A purpose of a host's draws, each with a stream of its own.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Cuts,
    Poller,
    Routes,
    Names,
    Disk,
}

/// A scheduled change.
#[derive(Debug)]
enum Coming {
    /// A dial fails.
    DialFails(EndId, i32),
    /// A host receives a completion.
    Answer(naming::Reply),
    /// A host tries to write its address book, unless it was restarted since.
    Write { host: usize, life: u32 },
}

#[derive(Debug)]
struct Listener {
    host: usize,
    index: u32,
    room: usize,
    /// Established and not accepted yet.
    waiting: VecDeque<EndId>,
    /// Dials for which the backlog has no room.
    opening: VecDeque<EndId>,
    is_queued: bool,
}

/// A waker that the next wait of its host notices.
#[derive(Debug)]
pub(super) struct Flag {
    woken: AtomicBool,
    any_woken: Arc<AtomicBool>,
}

impl Wake for Flag {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.any_woken.store(true, Ordering::Release);
    }
}

/// Returns the world's own stream for one purpose of a host; lower streams are for actors.
fn stream_of(host: usize, purpose: usize) -> u32 {
    u32::try_from(host << 6 | purpose).map_or(u32::MAX, |id| 1 << 31 | id)
}

/// Returns the host that would have this address.
fn host_at(ip: IpAddr) -> Option<usize> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_sub(NETWORK + 1).map(|host| host as usize),
        IpAddr::V6(_) => None,
    }
}

impl Kernel {
    pub(super) fn new(tape: Tape, began: Instant) -> Self {
        Self {
            now: began,
            began,
            unix_began: UnixTime::from_secs(1_700_000_000),
            conditions: Rc::default(),
            backlog: usize::try_from(LISTEN_BACKLOG).expect("the backlog is positive"),
            trace: Trace::new(),
            tape,
            ports: Ports::new(DIAL_PORTS),
            routes: BTreeMap::new(),
            hosts: Vec::new(),
            stirred: Vec::new(),
            any_woken: Arc::default(),
            listeners: BTreeMap::new(),
            connections: Slab::new(),
            next_serial: 0,
            coming: BTreeMap::new(),
            next_coming: 0,
            names: BTreeMap::new(),
            unanswered: Vec::new(),
            pool: Pool::default(),
        }
    }

    // --- Time -------------------------------------------------------------------------------------------------------

    pub(super) fn unix_time(&self) -> UnixTime {
        let passed = i64::try_from(self.now.since(self.began).as_secs()).unwrap_or(i64::MAX);
        UnixTime::from_secs(self.unix_began.as_secs().saturating_add(passed))
    }

    /// Returns the moment of the next scheduled change.
    pub(super) fn next_coming(&self) -> Option<Instant> {
        self.coming.first_key_value().map(|((at, _), _)| *at)
    }

    fn happen_later(&mut self, after: Duration, what: Coming) {
        self.coming.insert((self.now.plus(after), self.next_coming), what);
        self.next_coming += 1;
    }

    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.now.plus(by);
        while let Some(at) = self.next_coming()
            && at <= until
        {
            let (_, what) = self.coming.pop_first().expect("it exists");
            self.now = at;
            match what {
                Coming::DialFails(dialler, errno) => self.fail_dial(dialler, errno),
                Coming::Answer(reply) => self.answer(reply),
                Coming::Write { host, life } => self.write_book(host, life),
            }
        }
        self.now = until;
    }

    // --- Hosts and their events -------------------------------------------------------------------------------------

    pub(super) fn add_host(&mut self) -> usize {
        let host = self.hosts.len();
        let number = u32::try_from(host + 1).expect("hosts are few");
        let chance = |draw: Draw| self.tape.stream(stream_of(host, draw as usize));
        self.hosts.push(Host {
            ip: Ipv4Addr::from(NETWORK + number).into(),
            next_port: FIRST_LISTENER_PORT,
            queue: Queue::default(),
            is_stirred: false,
            is_cut: false,
            paused_until: Instant::ZERO,
            listening: BTreeMap::new(),
            woken: Arc::new(Flag { woken: AtomicBool::new(false), any_woken: Arc::clone(&self.any_woken) }),
            descriptors: OWN_DESCRIPTORS,
            max_descriptors: usize::MAX,
            faults: Faults::default(),
            chances: [Draw::Cuts, Draw::Poller, Draw::Routes, Draw::Names, Draw::Disk].map(chance),
            names: Names::default(),
            asked: Asked::default(),
            disk: Disk::default(),
            book: Book::default(),
        });
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

    /// Replaces the poller for a new process on the host.
    pub(super) fn renew_poller(&mut self, host: usize) {
        self.hosts[host].queue.renew();
    }

    /// Whether a wait of the host would find an event.
    pub(super) fn has_events(&self, host: usize) -> bool {
        let Host { queue, woken, .. } = &self.hosts[host];
        !queue.is_empty() || woken.woken.load(Ordering::Acquire)
    }

    /// Moves the hosts that received an event since the last call to `hosts`; returns whether any waker was used.
    pub(super) fn take_stirred(&mut self, hosts: &mut Vec<u32>) -> bool {
        for &host in &self.stirred {
            self.hosts[host as usize].is_stirred = false;
        }
        hosts.append(&mut self.stirred);
        self.any_woken.load(Ordering::Relaxed) && self.any_woken.swap(false, Ordering::AcqRel)
    }

    pub(super) fn push(&mut self, host: usize, pending: Pending) {
        let now = self.now;
        let state = &mut self.hosts[host];
        state.queue.push(pending, now);
        if !state.is_stirred {
            state.is_stirred = true;
            self.stirred.push(host as u32);
        }
    }

    pub(super) fn wait(&mut self, host: usize, ready: &mut Vec<Readiness>) -> Result<(), i32> {
        ready.clear();
        let result = match self.hosts[host].faults.strike(Site::Wait) {
            // A stopped process is woken by a signal and must see the events of its pause.
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
        let Mask { readable, writable, hung_up } = connection.tell(id.side, |seen, owed| poller.shown(seen, owed));
        (readable || writable).then_some(Readiness { token, readable, writable, hung_up })
    }

    fn see_listener(&mut self, host: usize, index: u32) -> Option<Readiness> {
        let listener = self.listener(host, index)?;
        listener.is_queued = false;
        let token = Token::Listener(index).to_u64();
        let readiness = Readiness { token, readable: true, writable: false, hung_up: false };
        (!listener.waiting.is_empty()).then_some(readiness)
    }

    /// Queues the events that an operation of `id` has caused.
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

    // --- Common to all calls ----------------------------------------------------------------------------------------

    pub(super) fn note(&mut self, host: usize, call: Call, outcome: Result<usize, i32>, moved: &[u8]) {
        self.trace.note(self.now, host, call, outcome, moved);
    }

    /// Counts a call, and makes it fail if it must. An interrupted call is retried and succeeds.
    fn strike(&mut self, host: usize, site: Site) -> Result<(), i32> {
        match self.hosts[host].faults.strike(site) {
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

    fn give_descriptor_back(&mut self, host: usize) {
        self.hosts[host].descriptors -= 1;
    }
}
