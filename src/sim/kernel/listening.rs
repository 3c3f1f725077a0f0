//! Listeners, and the connections that wait at them.

use super::super::connection::Edges;
use super::super::connection::EndId;
use super::super::faults::{Site, is_passing};
use super::super::poller::Pending;
use super::{FIRST_LISTENER_PORT, Kernel, Listener};
use crate::errno::{EADDRINUSE, EAGAIN};
use std::collections::VecDeque;
use std::net::SocketAddr;

impl Kernel {
    pub(super) fn listener(&mut self, host: usize, index: u32) -> Option<&mut Listener> {
        let address = self.hosts[host].listening.get(&index)?;
        self.listeners.get_mut(address)
    }

    pub(in crate::sim) fn listen(&mut self, host: usize, index: u32, asked: SocketAddr) -> Result<SocketAddr, i32> {
        self.strike(host, Site::Listen)?;
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
        self.give_descriptor_back(host);
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
        match self.strike(host, Site::Accept) {
            Ok(()) => {}
            // The host gets no further event of this listener unless one is queued.
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
        self.take_waiting(host, index).inspect_err(|_| self.give_descriptor_back(host))
    }

    /// Queues a listener's event, if none waits already.
    pub(super) fn remind_of_listener(&mut self, host: usize, index: u32) {
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
}
