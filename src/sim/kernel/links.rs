//! Calls on one connection, and its end.

use super::super::connection::EndId;
use super::super::connection::{Connection, Edges, Owner, Side};
use super::super::faults::{Site, is_passing};
use super::super::pipe::Pool;
use super::super::tape::Chance;
use super::super::trace::Call;
use super::{Draw, Kernel};
use crate::errno::ENOTCONN;
use crate::id::LinkId;
use crate::net::Endpoints;
use std::io::IoSlice;

impl Kernel {
    /// Registers an end for events; its first event is its present state.
    pub(in crate::sim) fn attach(&mut self, host: usize, id: EndId, token: u64) -> Result<(), i32> {
        self.strike(host, Site::Attach)?;
        if let Some(connection) = self.connection(id) {
            connection.end(id.side).owner = Some(Owner { host: host as u32, token });
            self.announce(id, Edges::OWN);
        }
        Ok(())
    }

    pub(in crate::sim) fn connected(&mut self, host: usize, id: EndId) -> Result<Option<Endpoints>, i32> {
        self.strike_link(host, Site::Connected, id)?;
        self.connection(id).ok_or(ENOTCONN)?.connected(id.side)
    }

    pub(in crate::sim) fn read(&mut self, host: usize, id: EndId, block: &mut [u8]) -> Result<usize, i32> {
        self.strike_link(host, Site::Read, id)?;
        let (result, edges) =
            self.with_connection(id, |connection, chance, pool| connection.read(id.side, block, chance, pool))?;
        self.announce(id, edges);
        result
    }

    pub(in crate::sim) fn write(&mut self, host: usize, id: EndId, slices: &[IoSlice<'_>]) -> Result<usize, i32> {
        self.strike_link(host, Site::Write, id)?;
        let (result, edges) =
            self.with_connection(id, |connection, chance, pool| connection.write(id.side, slices, chance, pool))?;
        self.announce(id, edges);
        result
    }

    /// Records a write.
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
            // The peer no longer exists.
            None => trace.note(
                *now,
                host,
                call,
                result,
                &slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>(),
            ),
        }
    }

    /// Runs an operation with the state that it needs in addition to the connection.
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

    /// Makes a call fail if it must: either it has changed nothing and an event will announce the retry, or the
    /// connection is over.
    fn strike_link(&mut self, host: usize, site: Site, id: EndId) -> Result<(), i32> {
        let Err(errno) = self.strike(host, site) else { return Ok(()) };
        let edges = match is_passing(errno) {
            true => {
                // A caller that was refused waits for an event about present or later input.
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

    /// Closes an end and its descriptor.
    pub(in crate::sim) fn release(&mut self, host: usize, id: EndId) {
        self.close(id);
        self.give_descriptor_back(host);
    }

    /// Closes an end with a reset.
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
