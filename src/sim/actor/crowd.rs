//! One host with any number of connections, each with its own persona.
//!
//! A crowd is driven like a loop and uses about 100 bytes for each idle honest connection, in addition to the
//! virtual kernel's memory. It handles events in order and does no work for a connection without an event.

use super::super::driver::Actor;
use super::super::net::SimNet;
use super::super::tape::Chance;
use super::line::{Line, Timers, Wire, Wish};
use super::persona::{End, Persona};
use super::role::Role;
use crate::id::{LinkId, Token};
use crate::limits::ACCEPT_RETRY_FIRST;
use crate::net::{Net, Readiness};
use crate::time::{Instant, Wait};
use slab::Slab;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const READ_BLOCK_BYTES: usize = 64 * 1024;
/// Maximum numbers of timers, of dials and of each listener's accepts in one turn. Later turns handle the rest.
const TIMERS_PER_TURN: usize = 4_096;
const DIALS_PER_TURN: usize = 1_024;
const ACCEPTS_PER_TURN: usize = 1_024;
/// Maximum number of a crowd's source addresses.
const MAX_SOURCES: u32 = 4_096;

/// A host of a [`World`](crate::sim::World) whose connections are played by personas.
pub struct Crowd {
    net: SimNet,
    chance: Chance,
    now: Instant,
    seats: Slab<Seat>,
    next_generation: u32,
    timers: Timers,
    dials: BinaryHeap<Dial>,
    dialled: u64,
    sources: Vec<IpAddr>,
    listeners: Vec<Listener>,
    /// Connections that have more to read.
    to_read: VecDeque<LinkId>,
    events: Vec<Readiness>,
    block: Box<[u8]>,
    out: Vec<u8>,
}

struct Seat {
    role: Role,
    wire: Wire,
}

struct Listener {
    cast: Box<dyn FnMut(u64) -> Role>,
    accepted: u64,
    is_ready: bool,
    /// The moment at which accepting is retried after a failure; [`Instant::MAX`] if no retry is due.
    retry_at: Instant,
}

/// A series of dials. `done` of them have been made, and `left` are still to be made.
struct Dial {
    at: Instant,
    order: u64,
    to: SocketAddr,
    source: Option<IpAddr>,
    every: Duration,
    left: u64,
    done: u64,
    cast: Box<dyn FnMut(u64) -> Role>,
}

impl Crowd {
    /// Returns an empty crowd on the host of `net`. The crowd draws its random numbers from `chance`.
    pub fn new(net: SimNet, chance: Chance) -> Self {
        Self {
            now: net.now(),
            net,
            chance,
            seats: Slab::new(),
            next_generation: 0,
            timers: Timers::default(),
            dials: BinaryHeap::new(),
            dialled: 0,
            sources: Vec::new(),
            listeners: Vec::new(),
            to_read: VecDeque::new(),
            events: Vec::new(),
            block: vec![0; READ_BLOCK_BYTES].into(),
            out: Vec::new(),
        }
    }

    /// Makes the crowd dial from `count` addresses in turn, because one address has few ports.
    ///
    /// # Panics
    ///
    /// If `count` is above 4,096.
    #[must_use]
    pub fn with_sources(mut self, count: u32) -> Self {
        assert!(count <= MAX_SOURCES, "{count} source addresses are more than {MAX_SOURCES}");
        self.sources = (0..count).map(|index| self.source(index)).collect();
        self
    }

    /// Returns the crowd's source address number `index` modulo 4,096. No other crowd dials from this address, so a
    /// test can identify the crowd's peers.
    pub fn source(&self, index: u32) -> IpAddr {
        let host = u32::try_from(self.net.host()).expect("there are fewer than 2^32 hosts");
        Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 0)) + host * MAX_SOURCES + index % MAX_SOURCES).into()
    }

    /// Opens a connection in the next turn.
    pub fn dial(&mut self, to: SocketAddr, role: impl Into<Role>) {
        self.dial_at(self.net.now(), to, None, role);
    }

    /// Opens a connection at the moment `at`, from `source` or else from one of the crowd's addresses.
    pub fn dial_at(&mut self, at: Instant, to: SocketAddr, source: Option<IpAddr>, role: impl Into<Role>) {
        let mut role = Some(role.into());
        self.push_dials(at, to, source, Duration::ZERO, 1, move |_| role.take().expect("a single dial uses one role"));
    }

    /// Opens `count` connections: the first at `from`, and each of the others `every` after the previous one. `cast`
    /// returns each connection's role. Its argument is the number of earlier connections in this series.
    pub fn dial_many(
        &mut self,
        to: SocketAddr,
        from: Instant,
        every: Duration,
        count: u64,
        cast: impl FnMut(u64) -> Role + 'static,
    ) {
        self.push_dials(from, to, None, every, count, cast);
    }

    /// Listens on a port of the host. `cast` returns each connection's role. Its argument is the number of connections
    /// that this listener has accepted before.
    ///
    /// # Errors
    ///
    /// Those of the virtual kernel.
    pub fn listen(&mut self, port: u16, cast: impl FnMut(u64) -> Role + 'static) -> io::Result<SocketAddr> {
        let index = u32::try_from(self.listeners.len()).expect("there are fewer than 2^32 listeners");
        let address = self.net.listen(index, SocketAddr::new(self.net.ip(), port))?;
        let cast = Box::new(cast);
        self.listeners.push(Listener { cast, accepted: 0, is_ready: false, retry_at: Instant::MAX });
        Ok(address)
    }

    /// Returns the number of connections that are open or being opened.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Returns whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Returns the number of dials still to be made.
    pub fn dials_left(&self) -> u64 {
        self.dials.iter().map(|dial| dial.left).sum()
    }

    /// Returns the host's network.
    pub fn net(&self) -> &SimNet {
        &self.net
    }

    fn push_dials(
        &mut self,
        at: Instant,
        to: SocketAddr,
        source: Option<IpAddr>,
        every: Duration,
        left: u64,
        cast: impl FnMut(u64) -> Role + 'static,
    ) {
        self.dialled += 1;
        let (order, cast) = (self.dialled, Box::new(cast));
        if left > 0 {
            self.dials.push(Dial { at, order, to, source, every, left, done: 0, cast });
        }
    }

    // --- Opening ----------------------------------------------------------------------------------------------------

    fn take_seat(&mut self, role: Role, is_dialled: bool) -> LinkId {
        let generation = self.next_generation;
        self.next_generation = (generation + 1) % LinkId::MAX_GENERATION;
        let slot = self.seats.insert(Seat { role, wire: Wire::new(generation, is_dialled) });
        LinkId::new(u32::try_from(slot).expect("a crowd has fewer than 2^32 seats"), generation)
    }

    fn dial_due(&mut self) {
        for _ in 0..DIALS_PER_TURN {
            let Some(mut dial) = self.dials.pop() else { return };
            if dial.at > self.now {
                return self.dials.push(dial);
            }
            let role = (dial.cast)(dial.done);
            dial.done += 1;
            let source = dial.source.or_else(|| self.next_source());
            let id = self.take_seat(role, true);
            if let Err(error) = self.net.connect(id, dial.to, source) {
                self.end(id, End::Failed(error.kind()));
            }
            dial.left -= 1;
            dial.at = dial.at.plus(dial.every);
            if dial.left > 0 {
                self.dials.push(dial);
            }
        }
    }

    fn next_source(&self) -> Option<IpAddr> {
        let source = self.sources.get(self.next_generation as usize % self.sources.len().max(1));
        source.copied()
    }

    fn accept_ready(&mut self) {
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            if listener.retry_at <= self.now {
                listener.retry_at = Instant::MAX;
                listener.is_ready = true;
            }
            for _ in 0..ACCEPTS_PER_TURN {
                if !self.listeners[index].is_ready {
                    break;
                }
                self.accept_one(index);
            }
        }
    }

    fn accept_one(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        match self.net.accept(index as u32) {
            Ok((socket, _)) => {
                let role = (listener.cast)(listener.accepted);
                listener.accepted += 1;
                let id = self.take_seat(role, false);
                match self.net.attach(id, socket) {
                    Ok(()) => self.play(id, |persona, line| persona.opened(line)),
                    Err(error) => self.end(id, End::Failed(error.kind())),
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                listener.is_ready = false;
                if error.kind() != ErrorKind::WouldBlock {
                    listener.retry_at = self.now.plus(ACCEPT_RETRY_FIRST);
                }
            }
        }
    }

    // --- Events of a connection -------------------------------------------------------------------------------

    fn wire(&mut self, id: LinkId) -> Option<&mut Wire> {
        let seat = self.seats.get_mut(id.slot())?;
        (seat.wire.generation == id.generation()).then_some(&mut seat.wire)
    }

    fn note(&mut self, id: LinkId, readiness: Readiness) {
        let Some(wire) = self.wire(id) else { return };
        if wire.is_opening {
            if !readiness.writable && !readiness.hung_up {
                return;
            }
            match self.net.connected(id) {
                Ok(Some(_)) => self.open(id),
                Ok(None) => return,
                Err(error) => return self.end(id, End::Failed(error.kind())),
            }
        }
        let Some(wire) = self.wire(id) else { return };
        wire.is_hung_up |= readiness.hung_up;
        wire.is_readable |= readiness.readable || readiness.hung_up;
        if readiness.writable && wire.is_blocked {
            self.unblock(id);
        }
        self.list(id);
    }

    fn open(&mut self, id: LinkId) {
        let Some(wire) = self.wire(id) else { return };
        wire.is_opening = false;
        self.play(id, |persona, line| persona.opened(line));
    }

    fn unblock(&mut self, id: LinkId) {
        let Some(seat) = self.seats.get_mut(id.slot()) else { return };
        seat.wire.is_blocked = false;
        seat.wire.flush(&mut self.net, id);
        if seat.wire.unsent.is_none() && !seat.wire.is_blocked {
            self.play(id, |persona, line| persona.writable(line));
        } else {
            self.settle(id);
        }
    }

    /// Queues a read for this turn or the next, if there are bytes to read and the persona wants them.
    fn list(&mut self, id: LinkId) {
        let Some(wire) = self.wire(id) else { return };
        if wire.is_readable && wire.appetite > 0 && !wire.is_listed {
            wire.is_listed = true;
            self.to_read.push_back(id);
        }
    }

    fn read_listed(&mut self) {
        for _ in 0..self.to_read.len() {
            let Some(id) = self.to_read.pop_front() else { return };
            let Some(wire) = self.wire(id) else { continue };
            wire.is_listed = false;
            let appetite = wire.appetite;
            let room = (appetite as usize).min(READ_BLOCK_BYTES);
            if room == 0 {
                continue;
            }
            let mut block = mem::take(&mut self.block);
            match self.net.read(id, &mut block[..room]) {
                Ok(0) => self.end(id, End::ByPeer),
                Ok(len) => {
                    if let Some(wire) = self.wire(id) {
                        wire.is_readable = len == room || wire.is_hung_up;
                        if appetite != u32::MAX {
                            wire.appetite -= len as u32;
                        }
                    }
                    self.play(id, |persona, line| persona.received(line, &block[..len]));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if let Some(wire) = self.wire(id) {
                        wire.is_readable = false;
                    }
                }
                Err(error) => self.end(id, End::Failed(error.kind())),
            }
            self.block = block;
        }
    }

    fn fire_timers(&mut self) {
        for _ in 0..TIMERS_PER_TURN {
            let Some((at, id)) = self.timers.pop_due(self.now) else { return };
            let now = self.now;
            let Some(wire) = self.wire(id) else { continue };
            if wire.armed != at {
                continue;
            }
            wire.armed = Instant::MAX;
            if wire.due <= now {
                wire.due = Instant::MAX;
                self.play(id, |persona, line| persona.due(line));
            } else if wire.due < Instant::MAX {
                wire.armed = wire.due;
                let due = wire.due;
                self.timers.push(due, id);
            }
        }
    }

    /// Lets a connection's persona act, and then finishes, closes or resets the connection if the persona requested it.
    fn play(&mut self, id: LinkId, act: impl FnOnce(&mut dyn Persona, &mut Line<'_>)) {
        let Self { net, seats, timers, out, chance, now, .. } = self;
        let Some(Seat { role, wire }) = seats.get_mut(id.slot()) else { return };
        let mut line = Line { net, wire, timers, out, chance, id, now: *now };
        act(role.persona(), &mut line);
        line.hand_over();
        self.settle(id);
    }

    fn settle(&mut self, id: LinkId) {
        let Some(wire) = self.wire(id) else { return };
        match wire.wish {
            Wish::Stay | Wish::Finished => self.list(id),
            Wish::Finish if wire.unsent.is_some() => self.list(id),
            Wish::Finish => {
                wire.wish = Wish::Finished;
                self.net.shut_down_writing(id);
                self.list(id);
            }
            Wish::Close => {
                self.net.close(id);
                self.seats.remove(id.slot());
            }
            Wish::Reset => {
                self.net.reset(id);
                self.seats.remove(id.slot());
            }
            Wish::Broken(kind) => self.end(id, End::Failed(kind)),
        }
    }

    fn end(&mut self, id: LinkId, how: End) {
        if self.wire(id).is_none() {
            return;
        }
        self.net.close(id);
        let mut seat = self.seats.remove(id.slot());
        seat.role.persona().ended(how, self.now);
    }
}

impl Actor for Crowd {
    fn turn(&mut self) -> io::Result<bool> {
        self.now = self.net.now();
        let mut events = mem::take(&mut self.events);
        self.net.wait(Wait::Zero, &mut events)?;
        for readiness in &events {
            match Token::from_u64(readiness.token) {
                Token::Link(id) => self.note(id, *readiness),
                Token::Listener(index) => {
                    if let Some(listener) = self.listeners.get_mut(index as usize) {
                        listener.is_ready = true;
                    }
                }
                Token::Waker => {}
            }
        }
        self.events = events;
        self.accept_ready();
        self.read_listed();
        self.fire_timers();
        self.dial_due();
        Ok(true)
    }

    fn wait(&self) -> Wait {
        if !self.to_read.is_empty() || self.listeners.iter().any(|listener| listener.is_ready) {
            return Wait::Zero;
        }
        let timers = self.timers.next();
        let dials = self.dials.peek().map(|dial| dial.at);
        let retries = self.listeners.iter().map(|listener| listener.retry_at).min();
        let next = [timers, dials, retries].into_iter().flatten().min().unwrap_or(Instant::MAX);
        if next == Instant::MAX { Wait::Forever } else { Wait::Until(next) }
    }

    fn host(&self) -> Option<usize> {
        Some(self.net.host())
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").field("host", &self.net.host()).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Dial {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.order)
    }
}

impl PartialEq for Dial {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Dial {}

impl PartialOrd for Dial {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The heap returns its greatest item first, so the order is reversed: the earliest dial is the greatest.
impl Ord for Dial {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_has_at_most_80_bytes() {
        assert!(size_of::<Seat>() <= 80, "a seat has {} bytes", size_of::<Seat>());
    }
}
