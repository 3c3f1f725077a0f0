//! The plan of a load: everything that is known before the first connection.

use super::schedule::Rate;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A load: the number of peers, their addresses, the rates and the durations.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The nodes to connect to, in turn; at least one.
    pub targets: Vec<SocketAddr>,
    /// The local addresses to connect from. Each target is dialled from the addresses of its own family in turn. If
    /// there are none, the system chooses.
    pub sources: Vec<IpAddr>,
    /// The number of connections to open.
    pub connections: usize,
    /// The rate at which connections are opened, above zero.
    pub connect_rate: Rate,
    /// The total rate of pings. They are evenly spaced and sent to the peers in turn. Zero sends none.
    pub rate: Rate,
    /// The time during which pings are sent but not counted. It begins once every connection is ready or has failed.
    pub warmup: Duration,
    /// The time during which pings are sent and counted.
    pub duration: Duration,
    /// The maximum time to wait for replies after the last ping.
    pub drain: Duration,
}

impl Plan {
    /// Returns a plan that opens `connections` connections to `targets` at `connect_rate`, and sends no ping. A
    /// [`Generator`](super::Generator) needs at least one target and a `connect_rate` above zero.
    ///
    /// ```
    /// use peerloop::load::{Plan, Rate};
    /// use std::time::Duration;
    ///
    /// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 1_000, Rate::per_second(500))
    ///     .with_pings(Rate::per_second(20_000), Duration::from_secs(30))
    ///     .with_warmup(Duration::from_secs(2))
    ///     .with_drain(Duration::from_secs(5));
    /// assert_eq!(plan.connections, 1_000);
    /// ```
    pub fn new(targets: Vec<SocketAddr>, connections: usize, connect_rate: Rate) -> Self {
        Self {
            targets,
            sources: Vec::new(),
            connections,
            connect_rate,
            rate: Rate::ZERO,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
            drain: Duration::ZERO,
        }
    }

    /// Connects from these local addresses in turn.
    #[must_use]
    pub fn with_sources(self, sources: Vec<IpAddr>) -> Self {
        Self { sources, ..self }
    }

    /// Sends and counts pings at `rate`, in total for all peers, for `duration`.
    #[must_use]
    pub fn with_pings(self, rate: Rate, duration: Duration) -> Self {
        Self { rate, duration, ..self }
    }

    /// Sends uncounted pings for `warmup`, before the counted pings.
    #[must_use]
    pub fn with_warmup(self, warmup: Duration) -> Self {
        Self { warmup, ..self }
    }

    /// Waits for replies for at most `drain` after the last ping. Replies that are still missing then count as timed
    /// out.
    #[must_use]
    pub fn with_drain(self, drain: Duration) -> Self {
        Self { drain, ..self }
    }

    /// Returns the target and source of the connection with this index.
    pub(super) fn endpoints(&self, index: usize) -> (SocketAddr, Option<IpAddr>) {
        let target = self.targets[index % self.targets.len()];
        let fitting = || self.sources.iter().filter(|source| source.is_ipv4() == target.is_ipv4());
        let count = fitting().count();
        // The number of earlier connections to this target, so that each target is combined with each source.
        let earlier = index / self.targets.len();
        let source = if count == 0 { None } else { fitting().nth(earlier % count).copied() };
        (target, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn connections_use_all_pairs_of_a_target_and_a_source() {
        let targets: Vec<SocketAddr> = vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
        let sources: Vec<IpAddr> = vec![[127, 0, 0, 2].into(), [127, 0, 0, 3].into()];
        let plan = Plan::new(targets, 4, Rate::per_second(1)).with_sources(sources);
        let pairs: BTreeSet<_> = (0..4).map(|index| plan.endpoints(index)).collect();
        assert_eq!(pairs.len(), 4);
    }

    #[test]
    fn connections_use_targets_and_matching_sources_in_turn() {
        let four: SocketAddr = "127.0.0.1:1".parse().expect("the string is an address");
        let six: SocketAddr = "[::1]:1".parse().expect("the string is an address");
        let sources: Vec<IpAddr> =
            ["127.0.0.2", "127.0.0.3"].map(|text| text.parse().expect("the string is an address")).into();
        let plan = Plan::new(vec![four, six], 4, Rate::per_second(1)).with_sources(sources.clone());
        assert_eq!(plan.endpoints(0), (four, Some(sources[0])));
        assert_eq!(plan.endpoints(1), (six, None));
        let alone = Plan { targets: vec![four], ..plan };
        assert_eq!(alone.endpoints(1), (four, Some(sources[1])));
        assert_eq!(alone.endpoints(2), (four, Some(sources[0])));
    }
}
