//! Admission of connections: caps per host and per range of addresses, and the rate at which a host may connect.
//!
//! [`Admission`] counts the live connections of both directions and decides whether there is room for a new one. These
//! limits never refuse a trusted address, but its connections are counted. [`evict`] chooses the peer to close when all
//! slots are in use. Nothing here closes a connection: the caller closes a refused one, which never gets a row in the
//! table of links. Only hosts and ranges with live connections have a count.

pub(crate) mod evict;
mod rate;

use crate::address::{Host, NetGroup};
use crate::config::ManagerConfig;
use crate::error::{DialHold, Refusal};
use crate::manager::ban::trusted::Trusted;
use crate::manager::keyed::KeyedState;
use crate::time::Instant;
use rate::AcceptRates;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// The live connections by host and range, and the rates at which hosts connect.
#[derive(Debug)]
pub(crate) struct Admission {
    trusted: Trusted,
    max_per_host: usize,
    max_per_group: usize,
    accepts_per_second: u32,
    by_host: Counts<Host>,
    by_group: Counts<NetGroup>,
    rates: AcceptRates,
}

impl Admission {
    pub(crate) fn new(config: &ManagerConfig, state: KeyedState) -> Self {
        Self {
            trusted: Trusted::new(&config.trusted),
            max_per_host: config.max_per_host,
            max_per_group: config.max_per_group(),
            accepts_per_second: config.accepts_per_host_per_second,
            by_host: Counts(HashMap::with_hasher(state)),
            by_group: Counts(HashMap::with_hasher(state)),
            rates: AcceptRates::new(config.accepts_per_host_per_second, state),
        }
    }

    /// Applies the caps, the rate and the trusted networks of `config`. Closes no connection.
    pub(crate) fn reconfigure(&mut self, config: &ManagerConfig) {
        self.trusted = Trusted::new(&config.trusted);
        self.max_per_host = config.max_per_host;
        self.max_per_group = config.max_per_group();
        self.accepts_per_second = config.accepts_per_host_per_second;
        self.rates.set_rate(config.accepts_per_host_per_second);
    }

    /// Returns whether `address` belongs to a network that is exempt from the caps per host and range, from the rate
    /// per host, and from scores, bans and evictions. Its connections count towards `max_peers`.
    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.contains(address)
    }

    /// Checks whether a connection from `address` may be admitted. An admitted connection counts towards its host's
    /// rate at once, unless it is trusted. It counts towards the caps only after [`Admission::link_added`].
    pub(crate) fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.has_room(address)?;
        if self.trusted.contains(address) || self.rates.take(Host::of(address), now) {
            Ok(())
        } else {
            Err(Refusal::TooFast { per_second: self.accepts_per_second })
        }
    }

    /// Checks whether the caps allow another connection with `address`.
    fn has_room(&self, address: IpAddr) -> Result<(), Refusal> {
        if let Some(count) = self.full_host(address) {
            return Err(Refusal::HostFull { count });
        }
        self.full_group(address).map_or(Ok(()), |count| Err(Refusal::GroupFull { count }))
    }

    /// Returns the cap that prevents another connection to `address`, if one does.
    pub(crate) fn full_cap(&self, address: IpAddr) -> Option<DialHold> {
        let of_host = self.full_host(address).map(|_| DialHold::HostFull);
        of_host.or_else(|| self.full_group(address).map(|_| DialHold::GroupFull))
    }

    /// Returns the number of connections of `address`'s host if that is the maximum or more and `address` is not
    /// trusted.
    fn full_host(&self, address: IpAddr) -> Option<usize> {
        let count = self.by_host.of(Host::of(address));
        (count >= self.max_per_host && !self.trusted.contains(address)).then_some(count)
    }

    /// Returns the number of connections of `address`'s range if that is the maximum or more and `address` is not
    /// trusted.
    fn full_group(&self, address: IpAddr) -> Option<usize> {
        let count = self.by_group.of(NetGroup::of(address));
        (count >= self.max_per_group && !self.trusted.contains(address)).then_some(count)
    }

    /// Counts a connection with `address`, in either direction, trusted or not.
    pub(crate) fn link_added(&mut self, address: IpAddr) {
        self.by_host.increase(Host::of(address));
        self.by_group.increase(NetGroup::of(address));
    }

    /// Stops counting a connection that was counted by [`link_added`](Admission::link_added).
    pub(crate) fn link_removed(&mut self, address: IpAddr) {
        self.by_host.decrease(Host::of(address));
        self.by_group.decrease(NetGroup::of(address));
    }

    /// Returns the numbers of connections of `address`'s host and range.
    #[cfg(feature = "sim")]
    pub(crate) fn counted(&self, address: IpAddr) -> (usize, usize) {
        (self.by_host.of(Host::of(address)), self.by_group.of(NetGroup::of(address)))
    }

    /// Returns the numbers of hosts and ranges with connections.
    #[cfg(feature = "sim")]
    pub(crate) fn counted_in_all(&self) -> (usize, usize) {
        (self.by_host.0.len(), self.by_group.0.len())
    }
}

/// The number of live connections per key; a key without connections has no entry.
#[derive(Debug)]
struct Counts<K>(HashMap<K, usize, KeyedState>);

impl<K: Copy + Eq + Hash> Counts<K> {
    fn of(&self, key: K) -> usize {
        self.0.get(&key).copied().unwrap_or(0)
    }

    fn increase(&mut self, key: K) {
        *self.0.entry(key).or_insert(0) += 1;
    }

    fn decrease(&mut self, key: K) {
        let count = self.0.get_mut(&key);
        debug_assert!(count.is_some(), "a connection that was not counted was removed");
        match count {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                self.0.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
