//! The local ports of simulated dials: each pair of a source and a destination can use the whole range of ports.
//!
//! A pair never uses a port twice at the same time, and never reuses a port before the moment that was given when the
//! port was released. Besides one small entry, a pair uses memory only for its released ports.

use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

#[derive(Debug)]
pub(super) struct Ports {
    pub(super) range: RangeInclusive<u16>,
    pairs: BTreeMap<(IpAddr, SocketAddr), Pair>,
}

#[derive(Debug)]
struct Pair {
    /// The port above all that were used, or the first port of the range if none was.
    fresh: u32,
    released: Option<Box<Released>>,
}

#[derive(Debug, Default)]
struct Released {
    free: VecDeque<u16>,
    /// The released ports that are not free yet, each with the moment at which it becomes free, the earliest first.
    waiting: VecDeque<(Instant, u16)>,
}

impl Ports {
    pub(super) fn new(range: RangeInclusive<u16>) -> Self {
        Self { range, pairs: BTreeMap::new() }
    }

    /// Returns a port for a dial from `source` to `destination`, if one is free.
    pub(super) fn take(&mut self, source: IpAddr, destination: SocketAddr, now: Instant) -> Option<u16> {
        let first = u32::from(*self.range.start());
        let pair = self.pairs.entry((source, destination)).or_insert(Pair { fresh: first, released: None });
        if let Ok(port) = u16::try_from(pair.fresh.max(first))
            && port <= *self.range.end()
        {
            pair.fresh = u32::from(port) + 1;
            return Some(port);
        }
        let Released { free, waiting } = &mut **pair.released.as_mut()?;
        while let Some((free_at, port)) = waiting.front()
            && *free_at <= now
        {
            free.push_back(*port);
            waiting.pop_front();
        }
        let is_in_range = |port: &u16| self.range.contains(port);
        let at = free.iter().position(is_in_range)?;
        free.remove(at)
    }

    /// Releases the port of `source` after its connection is closed. The port can be reused from `free_at` on, or at
    /// once if `free_at` is `None`.
    pub(super) fn release(&mut self, source: SocketAddr, destination: SocketAddr, free_at: Option<Instant>) {
        let Some(pair) = self.pairs.get_mut(&(source.ip(), destination)) else { return };
        let released = pair.released.get_or_insert_default();
        match free_at {
            Some(moment) => released.waiting.push_back((moment, source.port())),
            None => released.free.push_back(source.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn destination(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 8_333))
    }

    #[test]
    fn each_pair_reuses_a_port_only_after_its_release() {
        let mut ports = Ports::new(100..=101);
        let now = Instant::from_nanos(7);
        let take = |ports: &mut Ports| ports.take(SOURCE, destination(2), now);
        assert_eq!([take(&mut ports), take(&mut ports), take(&mut ports)], [Some(100), Some(101), None]);
        ports.release(SocketAddr::new(SOURCE, 101), destination(2), None);
        assert_eq!([take(&mut ports), take(&mut ports)], [Some(101), None]);
        assert_eq!(
            ports.take(SOURCE, destination(3), now),
            Some(100),
            "a port in use only for another destination was not assigned"
        );
        let elsewhere = IpAddr::from([10, 0, 0, 9]);
        assert_eq!(
            ports.take(elsewhere, destination(2), now),
            Some(100),
            "a port in use only by another source was not assigned"
        );
    }

    #[test]
    fn a_waiting_port_becomes_free_at_its_moment() {
        let mut ports = Ports::new(5..=5);
        let free_at = Instant::ZERO.plus(Duration::from_secs(60));
        assert_eq!(ports.take(SOURCE, destination(2), Instant::ZERO), Some(5));
        ports.release(SocketAddr::new(SOURCE, 5), destination(2), Some(free_at));
        assert_eq!(ports.take(SOURCE, destination(2), free_at.minus(Duration::from_nanos(1))), None);
        assert_eq!(ports.take(SOURCE, destination(2), free_at), Some(5));
    }

    #[test]
    fn a_range_may_end_at_the_highest_port() {
        let mut ports = Ports::new(u16::MAX..=u16::MAX);
        assert_eq!(ports.take(SOURCE, destination(2), Instant::ZERO), Some(u16::MAX));
        assert_eq!(ports.take(SOURCE, destination(2), Instant::ZERO), None);
    }
}
