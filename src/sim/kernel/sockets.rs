//! Sockets: listeners and their backlogs, dials and their routes, and the calls on connections.
//!
//! A call returns the result that Linux would return, or a failure that a test has planned. No call here ever blocks.
//! The module `connection` holds the bytes in transit.

use super::Kernel;
use super::host::{Draw, FIRST_LISTENER_PORT, Listener, host_at};
use super::route::Route;
use super::schedule::Change;
use crate::errno::{EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EHOSTUNREACH, ENETUNREACH, ENOTCONN, ETIMEDOUT};
use crate::id::LinkId;
use crate::net::Endpoints;
use crate::sim::connection::{Connection, Edge, Edges, EndId, Owner, Side};
use crate::sim::faults::{Site, is_passing};
use crate::sim::pipe::Pool;
use crate::sim::poller::Pending;
use crate::sim::tape::Chance;
use crate::sim::trace::Call;
use crate::time::Instant;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Time for which a dialler's port stays in use if the dialler closed the connection first and neither side reset it,
/// as on Linux.
const TIME_WAIT: Duration = Duration::from_secs(60);
/// Time after which an unanswered dial fails, as on Linux after six retransmissions.
const CONNECT_GIVEN_UP: Duration = Duration::from_secs(127);

impl Kernel {
    // --- Listeners ---------------------------------------------------------------------------------------------------

    pub(super) fn listener(&mut self, host: usize, index: u32) -> Option<&mut Listener> {
        let address = self.hosts[host].listening.get(&index)?;
        self.listeners.get_mut(address)
    }

    pub(in crate::sim) fn listen(&mut self, host: usize, index: u32, asked: SocketAddr) -> Result<SocketAddr, i32> {
        self.count_call(host, Site::Listen)?;
        let ip = if asked.ip().is_unspecified() { self.ip(host) } else { asked.ip() };
        let port = if asked.port() == 0 { self.free_listener_port(host) } else { asked.port() };
        let address = SocketAddr::new(ip, port);
        if self.listeners.contains_key(&address) {
            return Err(EADDRINUSE);
        }
        self.take_descriptor(host)?;
        let (waiting, opening) = (VecDeque::new(), VecDeque::new());
        let listener = Listener { host, index, room: self.backlog, waiting, opening, is_queued: false };
        self.listeners.insert(address, listener);
        self.hosts[host].listening.insert(index, address);
        Ok(address)
    }

    fn free_listener_port(&mut self, host: usize) -> u16 {
        let next_port = &mut self.hosts[host].next_port;
        let port = *next_port;
        *next_port = next_port.checked_add(1).unwrap_or(FIRST_LISTENER_PORT);
        port
    }

    pub(in crate::sim) fn close_listener(&mut self, host: usize, index: u32) {
        let address = self.hosts[host].listening.remove(&index);
        let Some(listener) = address.and_then(|address| self.listeners.remove(&address)) else { return };
        self.release_descriptor(host);
        for dialler in listener.opening {
            if let Some(connection) = self.connection(dialler) {
                connection.refuse();
                self.announce(dialler, Edges::OWN);
            }
        }
        for acceptor in listener.waiting {
            self.abort(acceptor);
        }
    }

    pub(in crate::sim) fn close_listeners(&mut self, host: usize) {
        while let Some((&index, _)) = self.hosts[host].listening.first_key_value() {
            self.close_listener(host, index);
        }
    }

    pub(in crate::sim) fn accept(&mut self, host: usize, index: u32) -> Result<(EndId, SocketAddr), i32> {
        let listener = self.listener(host, index).ok_or(EAGAIN)?;
        let has_waiting = !listener.waiting.is_empty();
        match self.count_call(host, Site::Accept) {
            Ok(()) => {}
            // The host receives no further event for this listener unless one is queued here.
            Err(EAGAIN) => {
                self.remind_of_listener(host, index);
                return Err(EAGAIN);
            }
            Err(errno) if is_passing(errno) => return Err(errno),
            Err(errno) if has_waiting => {
                let (lost, _) = self.take_waiting(host, index)?;
                self.abort(lost);
                return Err(errno);
            }
            Err(_) => {}
        }
        self.take_descriptor(host)?;
        self.take_waiting(host, index).inspect_err(|_| self.release_descriptor(host))
    }

    /// Queues a listener's event unless one is already queued.
    fn remind_of_listener(&mut self, host: usize, index: u32) {
        let is_new =
            self.listener(host, index).is_some_and(|listener| !std::mem::replace(&mut listener.is_queued, true));
        if is_new {
            self.push(host, Pending::Listener(index));
        }
    }

    fn take_waiting(&mut self, host: usize, index: u32) -> Result<(EndId, SocketAddr), i32> {
        let listener = self.listener(host, index).ok_or(EAGAIN)?;
        let accepted = listener.waiting.pop_front().ok_or(EAGAIN)?;
        if let Some(next) = listener.opening.pop_front() {
            self.establish(next);
        }
        let connection = self.connection(accepted).expect("a waiting connection is not closed elsewhere");
        Ok((accepted, connection.dialled_from))
    }

    // --- Dials -------------------------------------------------------------------------------------------------------

    pub(in crate::sim) fn connect(
        &mut self,
        host: usize,
        token: u64,
        to: SocketAddr,
        source: Option<IpAddr>,
    ) -> Result<EndId, i32> {
        self.count_call(host, Site::Connect)?;
        let route = self.routes.get(&to.ip()).copied().unwrap_or_default();
        if route == Route::NoNetwork {
            return Err(ENETUNREACH);
        }
        self.take_descriptor(host)?;
        // For a given source address, Linux chooses the port while it binds the socket. If no port is free, it then
        // reports that the address is in use.
        let for_want_of_ports = if source.is_some() { EADDRINUSE } else { EADDRNOTAVAIL };
        let source = source.unwrap_or(self.hosts[host].ip);
        let Some(port) = self.ports.take(source, to, self.now) else {
            self.release_descriptor(host);
            return Err(for_want_of_ports);
        };
        let dialler = self.open(host, SocketAddr::new(source, port), to);
        if let Some(connection) = self.connection(dialler) {
            connection.end(Side::Dialler).owner = Some(Owner { host: host as u32, token });
        }
        match route {
            Route::Open => self.reach(dialler),
            Route::Silent { least, most } => self.fail_later(dialler, ETIMEDOUT, self.draw_time(host, least, most)),
            Route::NoHost { least, most } => self.fail_later(dialler, EHOSTUNREACH, self.draw_time(host, least, most)),
            Route::NoNetwork => {}
        }
        Ok(dialler)
    }

    fn open(&mut self, host: usize, from: SocketAddr, to: SocketAddr) -> EndId {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let acceptor = self.host_of(to);
        let hosts = [host, acceptor.unwrap_or(host)];
        let mut connection = Connection::new(serial, hosts.map(|host| host as u32), to, from, &self.conditions);
        connection.is_cut = hosts.into_iter().any(|host| self.hosts[host].is_cut);
        let index = self.connections.insert(connection);
        let index = u32::try_from(index).expect("there are fewer than 2^32 connections");
        EndId { index, serial, side: Side::Dialler }
    }

    /// Returns the host that listens on an address, or else the host that has the IP address, if any.
    fn host_of(&self, address: SocketAddr) -> Option<usize> {
        match self.listeners.get(&address) {
            Some(listener) => Some(listener.host),
            None => host_at(address.ip()).filter(|host| *host < self.hosts.len()),
        }
    }

    /// Delivers a dial to its listener, or refuses it if there is none. If the listener's backlog is full, the dial
    /// waits for a free slot in it. On a cut network, the dial waits, and fails after [`CONNECT_GIVEN_UP`] unless the
    /// network is healed first.
    pub(super) fn reach(&mut self, dialler: EndId) {
        let Some(connection) = self.connection(dialler) else { return };
        if connection.is_cut {
            self.unanswered.push(dialler);
            return self.fail_later(dialler, ETIMEDOUT, CONNECT_GIVEN_UP);
        }
        let address = connection.listener;
        match self.listeners.get_mut(&address) {
            None => {
                self.connections[dialler.index as usize].refuse();
                self.announce(dialler, Edges::OWN);
            }
            Some(listener) if listener.waiting.len() >= listener.room => listener.opening.push_back(dialler),
            Some(_) => self.establish(dialler),
        }
    }

    fn establish(&mut self, dialler: EndId) {
        // A dial must not be established after its failure was reported.
        let Some(connection) = self.connection(dialler).filter(|connection| connection.is_undecided()) else { return };
        connection.establish();
        let address = connection.listener;
        self.announce(dialler, Edges { own: Edge::BOTH, other: Edge::NONE });
        let listener = self.listeners.get_mut(&address).expect("the dial's listener exists");
        listener.waiting.push_back(EndId { side: Side::Acceptor, ..dialler });
        let (host, index) = (listener.host, listener.index);
        self.remind_of_listener(host, index);
    }

    fn draw_time(&self, host: usize, least: Duration, most: Duration) -> Duration {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let chance = &self.hosts[host].chances[Draw::Routes as usize];
        Duration::from_nanos(chance.range(nanos(least), nanos(most)))
    }

    fn fail_later(&mut self, dialler: EndId, errno: i32, after: Duration) {
        self.happen_later(after, Change::DialFails(dialler, errno));
    }

    pub(super) fn fail_dial(&mut self, dialler: EndId, errno: i32) {
        if let Some(connection) = self.connection(dialler)
            && connection.is_undecided()
        {
            connection.fail_to_open(errno);
            self.announce(dialler, Edges::OWN);
        }
    }

    /// Removes a connection after both sides have closed it, or after the dialler has closed it before it was
    /// established.
    fn remove(&mut self, id: EndId) {
        let connection = self.connections.remove(id.index as usize);
        let free_at: Option<Instant> = connection.keeps_port_in_use().then(|| self.now.plus(TIME_WAIT));
        self.ports.release(connection.dialled_from, connection.listener, free_at);
    }

    // --- Connections -------------------------------------------------------------------------------------------------

    /// Registers an endpoint for events. Its first event reports its current state.
    pub(in crate::sim) fn attach(&mut self, host: usize, id: EndId, token: u64) -> Result<(), i32> {
        self.count_call(host, Site::Attach)?;
        if let Some(connection) = self.connection(id) {
            connection.end(id.side).owner = Some(Owner { host: host as u32, token });
            self.announce(id, Edges::OWN);
        }
        Ok(())
    }

    pub(in crate::sim) fn connected(&mut self, host: usize, id: EndId) -> Result<Option<Endpoints>, i32> {
        self.count_link_call(host, Site::Connected, id)?;
        self.connection(id).ok_or(ENOTCONN)?.connected(id.side)
    }

    pub(in crate::sim) fn read(&mut self, host: usize, id: EndId, block: &mut [u8]) -> Result<usize, i32> {
        self.count_link_call(host, Site::Read, id)?;
        let (result, edges) =
            self.with_connection(id, |connection, chance, pool| connection.read(id.side, block, chance, pool))?;
        self.announce(id, edges);
        result
    }

    pub(in crate::sim) fn write(&mut self, host: usize, id: EndId, slices: &[IoSlice<'_>]) -> Result<usize, i32> {
        self.count_link_call(host, Site::Write, id)?;
        let (result, edges) =
            self.with_connection(id, |connection, chance, pool| connection.write(id.side, slices, chance, pool))?;
        self.announce(id, edges);
        result
    }

    /// Records a write in the trace, with the bytes that the kernel accepted.
    pub(in crate::sim) fn note_write(
        &mut self,
        host: usize,
        link: LinkId,
        id: Result<EndId, i32>,
        slices: &[IoSlice<'_>],
        result: Result<usize, i32>,
    ) {
        let Self { connections, trace, now, .. } = self;
        let call = Call::Write { link, offered_bytes: slices.iter().map(|slice| slice.len()).sum() };
        let (Ok(len), Ok(id)) = (result, id) else { return trace.note(*now, host, call, result, &[]) };
        match connections.get_mut(id.index as usize).and_then(|connection| connection.last_written(id.side, len)) {
            Some(moved) => trace.note(*now, host, call, result, moved),
            // The pipe has discarded the bytes, because the peer no longer exists.
            None => trace.note(
                *now,
                host,
                call,
                result,
                &slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>(),
            ),
        }
    }

    /// Runs an operation on a connection, with the random numbers and the buffers that it needs.
    fn with_connection<T>(
        &mut self,
        id: EndId,
        operation: impl FnOnce(&mut Connection, &Chance, &mut Pool) -> T,
    ) -> Result<T, i32> {
        let Self { connections, hosts, pool, .. } = self;
        let connection = connections.get_mut(id.index as usize).filter(|connection| connection.serial == id.serial);
        let connection = connection.ok_or(ENOTCONN)?;
        let chance = &hosts[connection.drawn_by()].chances[Draw::Cuts as usize];
        Ok(operation(connection, chance, pool))
    }

    /// Counts a call on a connection, and returns the call's planned error, if any. After a transient error the
    /// connection is unchanged, and an event follows so that the caller retries. Any other error breaks the connection.
    fn count_link_call(&mut self, host: usize, site: Site, id: EndId) -> Result<(), i32> {
        let Err(errno) = self.count_call(host, site) else { return Ok(()) };
        let edges = match is_passing(errno) {
            true => {
                // A refused caller waits for an event, even if it could make progress now.
                self.with_connection(id, |connection, _, _| connection.put_off(id.side, site == Site::Write))?;
                Edges::OWN
            }
            false => self.with_connection(id, |connection, _, pool| connection.fail_end(id.side, pool))?,
        };
        self.announce(id, edges);
        Err(errno)
    }

    pub(in crate::sim) fn shut_down_writing(&mut self, id: EndId) {
        let Some(connection) = self.connection(id) else { return };
        let edges = connection.shut_down_writing(id.side);
        self.announce(id, edges);
    }

    fn close(&mut self, id: EndId) {
        self.end(id, Connection::close);
    }

    /// Closes an endpoint and releases its descriptor.
    pub(in crate::sim) fn release(&mut self, host: usize, id: EndId) {
        self.close(id);
        self.release_descriptor(host);
    }

    /// Closes an endpoint with a reset.
    pub(in crate::sim) fn abort(&mut self, id: EndId) {
        self.end(id, Connection::abort);
    }

    fn end(&mut self, id: EndId, end: fn(&mut Connection, Side, &mut Pool) -> Edges) {
        let Some(connection) = self.connection(id) else { return };
        if connection.is_opening() {
            let address = connection.listener;
            if let Some(listener) = self.listeners.get_mut(&address) {
                listener.opening.retain(|dialler| *dialler != id);
            }
            return self.remove(id);
        }
        let Ok(edges) = self.with_connection(id, |connection, _, pool| end(connection, id.side, pool)) else { return };
        self.announce(id, edges);
        if self.connection(id).is_some_and(|connection| connection.is_over()) {
            self.remove(id);
        }
    }
}
