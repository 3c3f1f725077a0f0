//! Who is let in: caps per host and per range of addresses, and how often a host may come.
//!
//! [`Admission`] counts the live connections of both directions and says of each new one whether there is room; what it
//! refuses is closed before it costs a row. Of trusted addresses nothing is refused, but they count. [`evict`] chooses
//! who has to go when all places are taken. Nothing in here closes a connection, and the counts grow with the live
//! connections alone.

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

/// The live connections by whose they are, and the rates at which hosts come.
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

    /// Takes the caps, the rate and the trusted networks of `config`; nobody who is in has to go for that.
    pub(crate) fn reconfigure(&mut self, config: &ManagerConfig) {
        self.trusted = Trusted::new(&config.trusted);
        self.max_per_host = config.max_per_host;
        self.max_per_group = config.max_per_group();
        self.accepts_per_second = config.accepts_per_host_per_second;
        self.rates.set_rate(config.accepts_per_host_per_second);
    }

    /// Whether `address` is of a network that nothing here, no score and no ban is for.
    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.contains(address)
    }

    /// Whether a connection that has come from `address` may be taken in. It counts as come, unless a cap refuses it;
    /// as live it counts from [`Admission::link_added`] on.
    pub(crate) fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.has_room(address)?;
        if self.trusted.contains(address) || self.rates.take(Host::of(address), now) {
            Ok(())
        } else {
            Err(Refusal::TooFast { per_second: self.accepts_per_second })
        }
    }

    /// Whether the caps allow one connection more with `address`.
    fn has_room(&self, address: IpAddr) -> Result<(), Refusal> {
        if let Some(count) = self.full_host(address) {
            return Err(Refusal::HostFull { count });
        }
        self.full_group(address).map_or(Ok(()), |count| Err(Refusal::GroupFull { count }))
    }

    /// Returns the cap that keeps this side from opening one connection more to `address`.
    pub(crate) fn full_cap(&self, address: IpAddr) -> Option<DialHold> {
        let of_host = self.full_host(address).map(|_| DialHold::HostFull);
        of_host.or_else(|| self.full_group(address).map(|_| DialHold::GroupFull))
    }

    /// Returns the connections of `address`'s host if there may be no more.
    fn full_host(&self, address: IpAddr) -> Option<usize> {
        let count = self.by_host.of(Host::of(address));
        (count >= self.max_per_host && !self.trusted.contains(address)).then_some(count)
    }

    /// Returns the connections of `address`'s range if there may be no more.
    fn full_group(&self, address: IpAddr) -> Option<usize> {
        let count = self.by_group.of(NetGroup::of(address));
        (count >= self.max_per_group && !self.trusted.contains(address)).then_some(count)
    }

    /// Counts a connection with `address`, of either direction, trusted or not.
    pub(crate) fn link_added(&mut self, address: IpAddr) {
        self.by_host.increase(Host::of(address));
        self.by_group.increase(NetGroup::of(address));
    }

    /// Ends the count of a connection that was [added](Admission::link_added).
    pub(crate) fn link_removed(&mut self, address: IpAddr) {
        self.by_host.decrease(Host::of(address));
        self.by_group.decrease(NetGroup::of(address));
    }

    /// The connections of the host of `address` and of its range.
    #[cfg(feature = "sim")]
    pub(crate) fn counted(&self, address: IpAddr) -> (usize, usize) {
        (self.by_host.of(Host::of(address)), self.by_group.of(NetGroup::of(address)))
    }

    /// The hosts and the ranges that have connections.
    #[cfg(feature = "sim")]
    pub(crate) fn counted_in_all(&self) -> (usize, usize) {
        (self.by_host.0.len(), self.by_group.0.len())
    }
}

/// Live connections by key; a key without any takes no room.
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
        debug_assert!(count.is_some(), "only what has entered can leave");
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
