//! Failures, cuts and resets that a test causes from outside.

use super::Kernel;
use super::host::{Draw, OWN_DESCRIPTORS, stream_of};
use crate::sim::connection::{Connection, EndId, Side};
use crate::sim::faults::Site;

/// The purpose passed to [`stream_of`] for faults at the first site. Each further site has the next number, and thus
/// its own random stream.
const FIRST_FAULT_STREAM: usize = 16;

impl Kernel {
    pub(in crate::sim) fn fail_sometimes(&mut self, host: usize, site: Site, errno: i32, one_in: u32) {
        let chance = self.tape.stream(stream_of(host, FIRST_FAULT_STREAM + site as usize));
        self.hosts[host].faults.fail_sometimes(site, errno, one_in, chance);
    }

    pub(in crate::sim) fn fail_once(&mut self, host: usize, site: Site, errno: i32, nth_call: u64) {
        self.hosts[host].faults.fail_once(site, errno, nth_call);
    }

    pub(in crate::sim) fn clear_faults(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.faults.clear());
    }

    pub(in crate::sim) fn calls(&self, host: usize, site: Site) -> u64 {
        self.hosts[host].faults.calls(site)
    }

    pub(in crate::sim) fn set_descriptor_limit(&mut self, host: usize, limit: usize) {
        self.hosts[host].max_descriptors = limit.max(OWN_DESCRIPTORS);
    }

    pub(in crate::sim) fn open_descriptors(&self, host: usize) -> usize {
        self.hosts[host].descriptors
    }

    /// Stops all traffic to and from a host.
    pub(in crate::sim) fn cut(&mut self, host: usize) {
        self.hosts[host].is_cut = true;
        for (_, connection) in &mut self.connections {
            connection.is_cut |= connection.hosts.contains(&(host as u32));
        }
    }

    /// Ends a host's cut and delivers its delayed traffic, except to and from hosts that are still cut.
    pub(in crate::sim) fn heal(&mut self, host: usize) {
        self.hosts[host].is_cut = false;
        let is_healed = |connection: &Connection| {
            let is_cut = |host: &u32| self.hosts[*host as usize].is_cut;
            connection.hosts.contains(&(host as u32)) && !connection.hosts.iter().any(is_cut)
        };
        for id in self.ids_where(is_healed) {
            let Self { connections, hosts, pool, .. } = self;
            let connection = &mut connections[id.index as usize];
            let chance = &hosts[connection.drawn_by()].chances[Draw::Cuts as usize];
            let edges = connection.heal(chance, pool);
            self.announce(id, edges);
        }
        for dialler in std::mem::take(&mut self.unanswered) {
            match self.connection(dialler) {
                None => {}
                Some(connection) if !connection.is_undecided() => {}
                Some(connection) if connection.is_cut => self.unanswered.push(dialler),
                Some(_) => self.reach(dialler),
            }
        }
    }

    /// Resets both endpoints of the connection that `host` has under `token`, as a middlebox does. Returns whether
    /// there is such a connection.
    pub(in crate::sim) fn reset(&mut self, host: usize, token: u64) -> bool {
        let is_it = |connection: &Connection| {
            let owners = [Side::Dialler, Side::Acceptor].map(|side| connection.owner(side));
            owners.into_iter().flatten().any(|owner| owner.host as usize == host && owner.token == token)
        };
        let Some(id) = self.ids_where(is_it).pop() else { return false };
        let Self { connections, pool, .. } = self;
        let edges = connections[id.index as usize].reset_both(pool);
        self.announce(id, edges);
        true
    }

    /// Returns the dialling endpoints of all matching connections.
    fn ids_where(&self, is_so: impl Fn(&Connection) -> bool) -> Vec<EndId> {
        let found = self.connections.iter().filter(|(_, connection)| is_so(connection));
        found
            .map(|(index, connection)| EndId { index: index as u32, serial: connection.serial, side: Side::Dialler })
            .collect()
    }
}
