//! The virtual kernel itself: hosts, listeners, connections, and the events that wait to be collected.
//!
//! An event is an edge: it is queued once when something new can be seen, and carries what can be seen when it is
//! collected, as epoll does it. A host that never collects has at most one event waiting per socket. Everything happens
//! inside the call that causes it; no packet is ever on its way.

mod view;

pub(super) use view::{EndView, HostView};

use super::connection::{Conditions, Connection, Edges, Mask, Side};
use super::trace::{Call, Trace};
use crate::bugs::{self, Budget};
use crate::id::Token;
use crate::limits::{EVENTS_PER_TURN, LISTEN_BACKLOG};
use crate::net::{Readiness, Wake};
use crate::time::{Instant, UnixTime};
use rand::SeedableRng;
use rand::rngs::StdRng;
use slab::Slab;
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The first port that is given to who asks for none.
const FIRST_FREE_PORT: u16 = 49_152;

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) now: Instant,
    pub(super) began: Instant,
    pub(super) unix_began: UnixTime,
    pub(super) conditions: Conditions,
    pub(super) backlog: usize,
    pub(super) trace: Trace,
    rng: StdRng,
    hosts: Vec<Host>,
    listeners: BTreeMap<SocketAddr, Listener>,
    connections: Slab<Connection>,
    next_serial: u64,
}

#[derive(Debug)]
struct Host {
    ip: IpAddr,
    next_port: u16,
    events: VecDeque<Pending>,
    /// Addresses of its listeners, by their index.
    listening: Vec<Option<SocketAddr>>,
    woken: Arc<Flag>,
}

#[derive(Clone, Copy, Debug)]
enum Pending {
    Link(EndId),
    Listener(u32),
    Forged(Readiness),
}

#[derive(Debug)]
struct Listener {
    host: usize,
    index: u32,
    room: usize,
    /// Established and not accepted yet.
    waiting: VecDeque<EndId>,
    /// For which there is no room among those that wait.
    opening: VecDeque<EndId>,
    is_queued: bool,
}

/// One end of a connection, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndId {
    index: usize,
    serial: u64,
    pub(super) side: Side,
}

/// A waker that is noticed by the next wait of its host.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Kernel {
    pub(super) fn new(seed: u64, began: Instant) -> Self {
        Self {
            now: began,
            began,
            unix_began: UnixTime::from_secs(1_700_000_000),
            conditions: Conditions::default(),
            backlog: usize::try_from(LISTEN_BACKLOG).expect("the backlog is positive"),
            trace: Trace::new(),
            rng: StdRng::seed_from_u64(seed),
            hosts: Vec::new(),
            listeners: BTreeMap::new(),
            connections: Slab::new(),
            next_serial: 0,
        }
    }

    pub(super) fn note(&mut self, host: usize, call: Call, outcome: Result<usize, ErrorKind>, moved: &[u8]) {
        self.trace.note(self.now, host, call, outcome, moved);
    }

    pub(super) fn unix_time(&self) -> UnixTime {
        let passed = i64::try_from(self.now.since(self.began).as_secs()).unwrap_or(i64::MAX);
        UnixTime::from_secs(self.unix_began.as_secs().saturating_add(passed))
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    // --- Hosts and their events -------------------------------------------------------------------------------------

    pub(super) fn add_host(&mut self) -> usize {
        let number = u32::try_from(self.hosts.len() + 1).expect("hosts are few");
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number).into();
        let (events, listening, woken) = (VecDeque::new(), Vec::new(), Arc::default());
        self.hosts.push(Host { ip, next_port: FIRST_FREE_PORT, events, listening, woken });
        self.hosts.len() - 1
    }

    pub(super) fn ip(&self, host: usize) -> IpAddr {
        self.hosts[host].ip
    }

    pub(super) fn flag(&self, host: usize) -> Arc<Flag> {
        Arc::clone(&self.hosts[host].woken)
    }

    /// Whether a wait of the host would find something to look at.
    pub(super) fn has_events(&self, host: usize) -> bool {
        let Host { events, woken, .. } = &self.hosts[host];
        !events.is_empty() || woken.0.load(Ordering::Acquire)
    }

    pub(super) fn forge(&mut self, host: usize, readiness: Readiness) {
        self.hosts[host].events.push_back(Pending::Forged(readiness));
    }

    pub(super) fn collect(&mut self, host: usize, ready: &mut Vec<Readiness>) {
        ready.clear();
        if self.hosts[host].woken.0.swap(false, Ordering::AcqRel) {
            ready.push(Readiness { token: Token::Waker.to_u64(), readable: true, writable: false, hung_up: false });
        }
        while ready.len() < bugs::shrunk(Budget::Events, EVENTS_PER_TURN)
            && let Some(pending) = self.hosts[host].events.pop_front()
        {
            ready.extend(match pending {
                Pending::Link(end) => self.see_link(end),
                Pending::Listener(index) => self.see_listener(host, index),
                Pending::Forged(readiness) => Some(readiness),
            });
        }
        self.note(host, Call::Wait, Ok(ready.len()), &[]);
        for &Readiness { token, readable, writable, hung_up } in &*ready {
            self.note(host, Call::Event { token, readable, writable, hung_up }, Ok(0), &[]);
        }
    }

    fn see_link(&mut self, id: EndId) -> Option<Readiness> {
        let connection = self.connection(id)?;
        connection.told(id.side);
        let (_, token) = connection.end(id.side).owner?;
        let Mask { readable, writable, hung_up } = connection.mask(id.side);
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
        let other = EndId { side: id.side.other(), ..id };
        for (end, _) in [(id, edges.own), (other, edges.other)].into_iter().filter(|(_, is_due)| *is_due) {
            let Some(connection) = self.connection(end) else { continue };
            let end_state = connection.end(end.side);
            if let Some((host, _)) = end_state.owner
                && !end_state.is_queued
            {
                end_state.is_queued = true;
                self.hosts[host].events.push_back(Pending::Link(end));
            }
        }
    }

    fn connection(&mut self, id: EndId) -> Option<&mut Connection> {
        self.connections.get_mut(id.index).filter(|connection| connection.serial == id.serial)
    }

    // --- Listeners --------------------------------------------------------------------------------------------------

    fn listener(&mut self, host: usize, index: u32) -> Option<&mut Listener> {
        let address = (*self.hosts[host].listening.get(index as usize)?)?;
        self.listeners.get_mut(&address)
    }

    pub(super) fn listen(&mut self, host: usize, index: u32, asked: SocketAddr) -> Result<SocketAddr, ErrorKind> {
        let ip = if asked.ip().is_unspecified() { self.ip(host) } else { asked.ip() };
        let port = if asked.port() == 0 { self.take_port(host) } else { asked.port() };
        let address = SocketAddr::new(ip, port);
        if self.listeners.contains_key(&address) {
            return Err(ErrorKind::AddrInUse);
        }
        let listener = Listener {
            host,
            index,
            room: self.backlog,
            waiting: VecDeque::new(),
            opening: VecDeque::new(),
            is_queued: false,
        };
        self.listeners.insert(address, listener);
        let listening = &mut self.hosts[host].listening;
        if listening.len() <= index as usize {
            listening.resize(index as usize + 1, None);
        }
        listening[index as usize] = Some(address);
        Ok(address)
    }

    pub(super) fn close_listener(&mut self, host: usize, index: u32) {
        let address = self.hosts[host].listening.get_mut(index as usize).and_then(Option::take);
        let Some(listener) = address.and_then(|address| self.listeners.remove(&address)) else { return };
        for dialler in listener.opening {
            if let Some(connection) = self.connection(dialler) {
                connection.refuse();
                self.announce(dialler, Edges { own: true, other: false });
            }
        }
        for acceptor in listener.waiting {
            if let Some(connection) = self.connection(acceptor) {
                connection.break_end(acceptor.side.other());
                self.announce(acceptor, Edges { own: false, other: true });
            }
            self.close(acceptor);
        }
    }

    pub(super) fn accept(&mut self, host: usize, index: u32) -> Result<(EndId, SocketAddr), ErrorKind> {
        let listener = self.listener(host, index).ok_or(ErrorKind::WouldBlock)?;
        let accepted = listener.waiting.pop_front().ok_or(ErrorKind::WouldBlock)?;
        if let Some(next) = listener.opening.pop_front() {
            self.establish(next);
        }
        let connection = self.connection(accepted).expect("who waits is not closed by anybody else");
        Ok((accepted, connection.dialled_from))
    }

    /// Registers an end for events; what it can see already is its first.
    pub(super) fn attach(&mut self, id: EndId, host: usize, token: u64) {
        if let Some(connection) = self.connection(id) {
            connection.end(id.side).owner = Some((host, token));
            self.announce(id, Edges { own: true, other: false });
        }
    }

    // --- Connections ------------------------------------------------------------------------------------------------

    pub(super) fn connect(&mut self, host: usize, token: u64, to: SocketAddr, source: Option<IpAddr>) -> EndId {
        let from = SocketAddr::new(source.unwrap_or(self.hosts[host].ip), self.take_port(host));
        let serial = self.next_serial;
        self.next_serial += 1;
        let index = self.connections.insert(Connection::new(serial, to, from, self.conditions.clone()));
        let dialler = EndId { index, serial, side: Side::Dialler };
        self.attach(dialler, host, token);
        match self.listeners.get_mut(&to) {
            None => {
                self.connections[index].refuse();
                self.announce(dialler, Edges { own: true, other: false });
            }
            Some(listener) if listener.waiting.len() >= listener.room => listener.opening.push_back(dialler),
            Some(_) => self.establish(dialler),
        }
        dialler
    }

    fn establish(&mut self, dialler: EndId) {
        let Some(connection) = self.connection(dialler) else { return };
        connection.establish();
        let address = connection.listener;
        self.announce(dialler, Edges { own: true, other: false });
        let listener = self.listeners.get_mut(&address).expect("who dials there knows that it listens");
        listener.waiting.push_back(EndId { side: Side::Acceptor, ..dialler });
        if !listener.is_queued {
            listener.is_queued = true;
            let (host, index) = (listener.host, listener.index);
            self.hosts[host].events.push_back(Pending::Listener(index));
        }
    }

    fn take_port(&mut self, host: usize) -> u16 {
        let next_port = &mut self.hosts[host].next_port;
        let port = *next_port;
        *next_port = next_port.checked_add(1).unwrap_or(FIRST_FREE_PORT);
        port
    }

    pub(super) fn connected(&mut self, id: EndId) -> Result<bool, ErrorKind> {
        self.connection(id).ok_or(ErrorKind::NotConnected)?.connected(id.side)
    }

    pub(super) fn read(&mut self, id: EndId, block: &mut [u8]) -> Result<usize, ErrorKind> {
        let Self { connections, rng, .. } = self;
        let connection = connections.get_mut(id.index).filter(|connection| connection.serial == id.serial);
        let (result, edges) = connection.ok_or(ErrorKind::NotConnected)?.read(id.side, block, rng);
        self.announce(id, edges);
        result
    }

    pub(super) fn write(&mut self, id: EndId, slices: &[IoSlice<'_>]) -> Result<usize, ErrorKind> {
        let Self { connections, rng, .. } = self;
        let connection = connections.get_mut(id.index).filter(|connection| connection.serial == id.serial);
        let (result, edges) = connection.ok_or(ErrorKind::NotConnected)?.write(id.side, slices, rng);
        self.announce(id, edges);
        result
    }

    pub(super) fn shut_down_writing(&mut self, id: EndId) {
        let Some(connection) = self.connection(id) else { return };
        let edges = connection.shut_down_writing(id.side);
        self.announce(id, edges);
    }

    pub(super) fn close(&mut self, id: EndId) {
        let Some(connection) = self.connection(id) else { return };
        if connection.is_opening() {
            let address = connection.listener;
            if let Some(listener) = self.listeners.get_mut(&address) {
                listener.opening.retain(|dialler| *dialler != id);
            }
            self.connections.remove(id.index);
            return;
        }
        let edges = connection.close(id.side);
        let is_over = connection.is_over();
        self.announce(id, edges);
        if is_over {
            self.connections.remove(id.index);
        }
    }
}
