//! What a generator does, and when: everything that is known before the first connection.

use crate::time::Instant;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A load: how many peers, where, how fast, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The nodes to connect to, in turn. At least one.
    pub targets: Vec<SocketAddr>,
    /// The local addresses to connect from, in turn; the system chooses if there are none.
    pub sources: Vec<IpAddr>,
    /// How many connections are opened.
    pub connections: usize,
    /// Connections opened per second. Over zero.
    pub connect_rate: f64,
    /// Pings per second, all peers together, evenly spaced and in turn over the peers. Zero sends none.
    pub rate: f64,
    /// Time for which pings are sent and not counted, once all connections are decided.
    pub warmup: Duration,
    /// Time for which pings are sent and counted.
    pub duration: Duration,
    /// Time that is left for answers after the last ping.
    pub drain: Duration,
}

impl Plan {
    /// The target and source of the connection with this index.
    pub(super) fn endpoints(&self, index: usize) -> (SocketAddr, Option<IpAddr>) {
        let target = self.targets[index % self.targets.len()];
        let fitting = || self.sources.iter().filter(|source| source.is_ipv4() == target.is_ipv4());
        let count = fitting().count();
        let source = if count == 0 { None } else { fitting().nth(index % count).copied() };
        (target, source)
    }
}

/// A rate as moments: the k-th of evenly spaced ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    begin: Instant,
    per_second: f64,
}

impl Schedule {
    /// A schedule whose first moment is `begin`.
    pub(super) fn new(begin: Instant, per_second: f64) -> Self {
        Self { begin, per_second }
    }

    /// How many moments lie before `end`.
    pub(super) fn count_until(&self, end: Instant) -> u64 {
        (end.since(self.begin).as_secs_f64() * self.per_second.max(0.0)).ceil() as u64
    }

    /// The moment with this index; never, if the rate is zero.
    pub(super) fn moment(&self, index: u64) -> Instant {
        if self.per_second <= 0.0 {
            return Instant::MAX;
        }
        let after = Duration::try_from_secs_f64(index as f64 / self.per_second).unwrap_or(Duration::MAX);
        self.begin.plus(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_evenly_spaced_and_begin_at_once() {
        let schedule = Schedule::new(Instant::from_nanos(5), 1_000.0);
        assert_eq!(schedule.moment(0), Instant::from_nanos(5));
        assert_eq!(schedule.moment(1), Instant::from_nanos(1_000_005));
        assert_eq!(schedule.moment(100_000), Instant::from_nanos(100_000_000_005));
        assert_eq!(Schedule::new(Instant::ZERO, 0.0).moment(0), Instant::MAX);
    }

    #[test]
    fn connections_take_targets_and_fitting_sources_in_turn() {
        let four: SocketAddr = "127.0.0.1:1".parse().expect("it is one");
        let six: SocketAddr = "[::1]:1".parse().expect("it is one");
        let sources: Vec<IpAddr> = ["127.0.0.2", "127.0.0.3"].map(|text| text.parse().expect("it is one")).into();
        let plan = Plan {
            targets: vec![four, six],
            sources: sources.clone(),
            connections: 4,
            connect_rate: 1.0,
            rate: 1.0,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
            drain: Duration::ZERO,
        };
        assert_eq!(plan.endpoints(0), (four, Some(sources[0])));
        assert_eq!(plan.endpoints(1), (six, None));
        let alone = Plan { targets: vec![four], ..plan };
        assert_eq!(alone.endpoints(1), (four, Some(sources[1])));
        assert_eq!(alone.endpoints(2), (four, Some(sources[0])));
    }
}
