//! Dials: their routes, their errors, and the ports that they use.

use super::super::connection::EndId;
use super::super::connection::{Connection, Edge, Edges, Owner, Side};
use super::super::faults::Site;
use super::{Coming, Draw, Kernel, host_at};
use crate::errno::{EADDRINUSE, EADDRNOTAVAIL, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};
use crate::time::Instant;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Time for which the port of a dialler that ended its connection stays in use, as on Linux.
const TIME_WAIT: Duration = Duration::from_secs(60);
/// Time after which an unanswered dial fails, as on Linux after six repetitions.
const CONNECT_GIVEN_UP: Duration = Duration::from_secs(127);

/// The route of dials to an address, with or without a listener there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// They reach the host with this address.
    #[default]
    Open,
    /// They fail with `ETIMEDOUT` after a time drawn between these two.
    Silent {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// They fail with `EHOSTUNREACH` after a time drawn between these two.
    NoHost {
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// They fail at once with `ENETUNREACH`.
    NoNetwork,
}

impl Kernel {
    pub(in crate::sim) fn connect(
        &mut self,
        host: usize,
        token: u64,
        to: SocketAddr,
        source: Option<IpAddr>,
    ) -> Result<EndId, i32> {
        self.strike(host, Site::Connect)?;
        let route = self.routes.get(&to.ip()).copied().unwrap_or_default();
        if route == Route::NoNetwork {
            return Err(ENETUNREACH);
        }
        self.take_descriptor(host)?;
        // Linux finds a port for a given source address while binding it, and then reports that the address is in
        // use.
        let for_want_of_ports = if source.is_some() { EADDRINUSE } else { EADDRNOTAVAIL };
        let source = source.unwrap_or(self.hosts[host].ip);
        let Some(port) = self.ports.take(source, to, self.now) else {
            self.give_descriptor_back(host);
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
        let index = u32::try_from(index).expect("less than four billion connections");
        EndId { index, serial, side: Side::Dialler }
    }

    /// Returns the host that listens at an address, or else the one whose address it is.
    fn host_of(&self, address: SocketAddr) -> Option<usize> {
        match self.listeners.get(&address) {
            Some(listener) => Some(listener.host),
            None => host_at(address.ip()).filter(|host| *host < self.hosts.len()),
        }
    }

    /// Delivers a dial to its listener, unless the network is cut.
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

    pub(super) fn establish(&mut self, dialler: EndId) {
        // A dialler that has learned of a failure must not be established later.
        let Some(connection) = self.connection(dialler).filter(|connection| connection.is_undecided()) else { return };
        connection.establish();
        let address = connection.listener;
        self.announce(dialler, Edges { own: Edge::BOTH, other: Edge::NONE });
        let listener = self.listeners.get_mut(&address).expect("the dial has found the listener");
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
        self.happen_later(after, Coming::DialFails(dialler, errno));
    }

    pub(super) fn fail_dial(&mut self, dialler: EndId, errno: i32) {
        if let Some(connection) = self.connection(dialler)
            && connection.is_undecided()
        {
            connection.fail_to_open(errno);
            self.announce(dialler, Edges::OWN);
        }
    }

    /// Removes a connection that is over for both ends.
    pub(super) fn remove(&mut self, id: EndId) {
        let connection = self.connections.remove(id.index as usize);
        let free_at: Option<Instant> = connection.leaves_port_waiting().then(|| self.now.plus(TIME_WAIT));
        self.ports.give_back(connection.dialled_from, connection.listener, free_at);
    }
}
