//! The plan of a load: everything that is known before the first connection.

use super::rate::Rate;
use super::schedule::{Arrival, Schedule, Segment, Share};
use super::stage::{Pace, Stage};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The stream of random moments of the warm-up. Streams from 1 on belong to the stages.
const WARMUP_STREAM: u64 = 1 << 63;

/// A load: the number of peers, their addresses, the rates and the durations.
///
/// ```
/// use peerloop::load::{Arrival, Pace, Plan, Rate, Segment, Stage};
/// use std::time::Duration;
///
/// // The second of three processes that together raise the rate for a minute and then hold it, in bursts of ten.
/// let [low, high] = [1_000, 5_000].map(Rate::per_second);
/// let minute = Duration::from_secs(60);
/// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 1_000, Rate::per_second(500))
///     .with_stages(vec![Stage::ramp(low, high, minute), Stage::constant(high, minute)])
///     .with_arrival(Arrival::Burst { size: 10 })
///     .with_pace(Pace::PerLivingPeer)
///     .with_max_operations(400_000)
///     .with_segment(Segment::new(1, 3).unwrap());
/// assert_eq!(plan.duration(), 2 * minute);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The nodes to connect to, in turn; at least one.
    pub targets: Vec<SocketAddr>,
    /// The local addresses to connect from. Each target is dialled from the addresses of its own family in turn. If
    /// there are none, the system chooses.
    pub sources: Vec<IpAddr>,
    /// The number of connections to open, in all segments together.
    pub connections: usize,
    /// The rate at which connections are opened, in all segments together; above zero.
    pub connect_rate: Rate,
    /// The stages of the run, in which operations are started and counted. At least one and at most
    /// [`MAX_LOAD_STAGES`](crate::limits::MAX_LOAD_STAGES). The operations belong to the planned connections in turn.
    pub stages: Vec<Stage>,
    /// The arrival of the operations within each stage.
    pub arrival: Arrival,
    /// The rule for the moments of the operations.
    pub pace: Pace,
    /// The number of operations after which the run ends, in all segments together, if the stages do not end first.
    pub max_operations: Option<u64>,
    /// The part of the load that this process carries out.
    pub segment: Segment,
    /// The time during which operations are started but not counted, at the rate at which the first stage begins. It
    /// begins once every connection is ready or has failed.
    pub warmup: Duration,
    /// The maximum time to wait for replies after the run.
    pub drain: Duration,
    /// The length of the timeline's intervals; `None` for the default, which depends on the length of the run.
    pub interval: Option<Duration>,
    /// The number of this process's connections that are open when the run begins, if their number may change; see
    /// [`Plan::with_variable_peers`].
    pub initial_peers: Option<usize>,
}

impl Plan {
    /// Returns a plan that opens `connections` connections to `targets` at `connect_rate`, and starts no operation. A
    /// [`Generator`](super::Generator) needs at least one target and a `connect_rate` above zero.
    ///
    /// ```
    /// use peerloop::load::{Plan, Rate};
    /// use std::time::Duration;
    ///
    /// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 1_000, Rate::per_second(500))
    ///     .with_rate(Rate::per_second(20_000), Duration::from_secs(30))
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
            stages: vec![Stage::constant(Rate::ZERO, Duration::ZERO)],
            arrival: Arrival::Even,
            pace: Pace::Scheduled,
            max_operations: None,
            segment: Segment::WHOLE,
            warmup: Duration::ZERO,
            drain: Duration::ZERO,
            interval: None,
            initial_peers: None,
        }
    }

    /// Connects from these local addresses in turn.
    #[must_use]
    pub fn with_sources(self, sources: Vec<IpAddr>) -> Self {
        Self { sources, ..self }
    }

    /// Opens the connections evenly within `time`, instead of at the connect rate. A `time` of zero opens all of them
    /// at once.
    ///
    /// ```
    /// use peerloop::load::{Plan, Rate};
    /// use std::time::Duration;
    ///
    /// let plan = Plan::new(vec!["127.0.0.1:18444".parse().unwrap()], 600, Rate::per_second(1));
    /// assert_eq!(plan.with_ramp_up(Duration::from_secs(60)).connect_rate, Rate::per_second(10));
    /// ```
    #[must_use]
    pub fn with_ramp_up(self, time: Duration) -> Self {
        let time = time.max(Duration::from_nanos(1));
        let connect_rate = Rate::new(self.connections.max(1) as u64, time).unwrap_or(self.connect_rate);
        Self { connect_rate, ..self }
    }

    /// Starts and counts operations at `rate`, in total for all peers, for `duration`.
    #[must_use]
    pub fn with_rate(self, rate: Rate, duration: Duration) -> Self {
        self.with_stages(vec![Stage::constant(rate, duration)])
    }

    /// Starts and counts operations in these stages, one after another.
    #[must_use]
    pub fn with_stages(self, stages: Vec<Stage>) -> Self {
        Self { stages, ..self }
    }

    /// Sets the arrival of the operations within each stage.
    #[must_use]
    pub fn with_arrival(self, arrival: Arrival) -> Self {
        Self { arrival, ..self }
    }

    /// Sets the rule for the moments of the operations.
    #[must_use]
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Ends the run after this number of operations, in all segments together.
    #[must_use]
    pub fn with_max_operations(self, count: u64) -> Self {
        Self { max_operations: Some(count), ..self }
    }

    /// Carries out only one part of the load.
    #[must_use]
    pub fn with_segment(self, segment: Segment) -> Self {
        Self { segment, ..self }
    }

    /// Starts uncounted operations for `warmup`, before the counted ones.
    #[must_use]
    pub fn with_warmup(self, warmup: Duration) -> Self {
        Self { warmup, ..self }
    }

    /// Waits for replies for at most `drain` after the last operation. Replies that are still missing then count as
    /// timed out.
    #[must_use]
    pub fn with_drain(self, drain: Duration) -> Self {
        Self { drain, ..self }
    }

    /// Sets the length of the timeline's intervals. It is raised if the run would have more than 86,400 of them.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval: Some(interval), ..self }
    }

    /// Opens only the first `initial` of this process's connections before the run. While the run lasts,
    /// [`GeneratorRequest::SetPeers`](super::GeneratorRequest::SetPeers) opens further ones, opens lost ones again, and
    /// closes some. Such a run does not end when all peers are lost.
    ///
    /// ```no_run
    /// use peerloop::api::Pending;
    /// use peerloop::load::{Generator, GeneratorRequest, Pace, Plan, Rate};
    /// use peerloop::{Config, Network, Reactor};
    /// use std::time::Duration;
    ///
    /// // One operation per second for each living peer, first of 100 peers, after 10 s of 200.
    /// let plan = Plan::new(vec!["127.0.0.1:18444".parse()?], 1_000, Rate::per_second(100))
    ///     .with_rate(Rate::per_second(1_000), Duration::from_secs(60))
    ///     .with_pace(Pace::PerLivingPeer)
    ///     .with_interval(Duration::from_millis(100))
    ///     .with_variable_peers(100);
    /// let mut reactor = Reactor::new(Config::new(Network::Regtest), Generator::new(plan))?;
    /// let handle = reactor.handle();
    /// std::thread::spawn(move || {
    ///     std::thread::sleep(Duration::from_secs(10));
    ///     let _ = handle.request(GeneratorRequest::SetPeers(200));
    ///     std::thread::sleep(Duration::from_secs(5));
    ///     let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    ///     let (reply, pending) = Pending::new();
    ///     let lags = Duration::ZERO..Duration::MAX;
    ///     let _ = handle.request(GeneratorRequest::Unanswered { ages: second..minute, lags, reply });
    ///     println!("{:?} operations have no reply after a second", pending.wait());
    ///     let (reply, pending) = Pending::new();
    ///     let _ = handle.request(GeneratorRequest::GiveUp { older_than: second, reply });
    ///     println!("{:?} were given up", pending.wait());
    /// });
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_variable_peers(self, initial: usize) -> Self {
        Self { initial_peers: Some(initial), ..self }
    }

    /// Returns the total time of the stages.
    pub fn duration(&self) -> Duration {
        self.stages.iter().fold(Duration::ZERO, |total, stage| total.saturating_add(stage.time))
    }

    /// Returns the plan with the same times and without operations.
    pub(super) fn without_operations(mut self) -> Self {
        self.stages.iter_mut().for_each(|stage| (stage.from, stage.to) = (Rate::ZERO, Rate::ZERO));
        Self { pace: Pace::Scheduled, max_operations: None, ..self }
    }

    /// Returns whether the plan has operations.
    pub(super) fn has_operations(&self) -> bool {
        let is_idle = |stage: &Stage| stage.from.is_zero() && stage.to.is_zero();
        self.pace == Pace::Max || !self.stages.iter().all(is_idle)
    }

    /// Returns the assignment of connections and operations to this process.
    pub(super) fn share(&self) -> Share {
        Share::new(self.segment, self.connections)
    }

    /// Returns the number of this process's connections that are opened before the run.
    pub(super) fn ramp_slots(&self) -> usize {
        let slots = self.share().slots();
        self.initial_peers.map_or(slots, |initial| initial.min(slots))
    }

    /// Returns the schedule of the run.
    pub(super) fn run_schedule(&self) -> Schedule {
        let max_operations = self.max_operations.unwrap_or(u64::MAX);
        Schedule::new(&self.stages, self.arrival, self.share(), max_operations, 0)
    }

    /// Returns the schedule of the warm-up.
    pub(super) fn warmup_schedule(&self) -> Schedule {
        let rate = self.stages.first().map_or(Rate::ZERO, |stage| stage.from);
        let stage = Stage::constant(rate, self.warmup);
        Schedule::new(&[stage], self.arrival, self.share(), u64::MAX, WARMUP_STREAM)
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

    #[test]
    fn a_ramp_up_time_is_exact_for_any_number_of_connections() {
        let plan = |connections| Plan::new(vec![([127, 0, 0, 1], 1).into()], connections, Rate::per_second(1));
        let rate = plan(7).with_ramp_up(Duration::from_secs(3)).connect_rate;
        assert_eq!(rate.count_before(3_000_000_000), 7);
        let at_once = plan(1_000).with_ramp_up(Duration::ZERO).connect_rate;
        assert_eq!(at_once.moment(999), Some(0));
        assert!(!plan(0).with_ramp_up(Duration::ZERO).connect_rate.is_zero());
    }
}
