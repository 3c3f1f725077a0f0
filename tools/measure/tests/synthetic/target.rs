//! A simulated target with a virtual clock, for the search of the highest load.
//!
//! Operations arrive evenly and wait in a queue. An operation that waits longer than the queue's limit is dropped, as
//! by a node with a limited rate. Time passes in steps of a millisecond, so a search of two minutes needs milliseconds.

use crate::random::Random;
use peerloop_measure::{Share, TRIAL_INTERVAL, Trial};
use std::time::Duration;

const STEP: f64 = 0.001;

/// The limit of the searched goal, p99 < 50 ms, in seconds.
pub(crate) const LIMIT: f64 = 0.05;

/// The properties of a target, and of the generator before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Properties {
    /// The operations per second that it can answer.
    pub(crate) capacity: f64,
    /// The standard deviation of the capacity's logarithm, and the seconds after which it has changed.
    pub(crate) noise: f64,
    pub(crate) noise_time: f64,
    /// The longest wait in the queue, in seconds.
    pub(crate) queue: f64,
    /// Pauses: one per `pause_every` seconds on average, each of `pause` seconds.
    pub(crate) pause_every: f64,
    pub(crate) pause: f64,
    /// The share of operations that are slow for reasons of their own, at any load.
    pub(crate) slow: f64,
    /// The load above which the generator is not trusted.
    pub(crate) generator: f64,
    /// The chance that the generator is disturbed during a trial.
    pub(crate) accident: f64,
    /// The factor by which an overload lowers the capacity for some seconds, and for how many.
    pub(crate) overload_factor: f64,
    pub(crate) overload_time: f64,
}

impl Properties {
    /// A target that answers at most this many operations per second, and whose queue holds 100 ms.
    pub(crate) fn limited(capacity: f64) -> Self {
        Self {
            capacity,
            noise: 0.0,
            noise_time: 1.0,
            queue: 0.1,
            pause_every: f64::INFINITY,
            pause: 0.0,
            slow: 0.0,
            generator: f64::INFINITY,
            accident: 0.0,
            overload_factor: 1.0,
            overload_time: 0.0,
        }
    }
}

/// A target at work.
#[derive(Debug)]
pub(crate) struct Target {
    properties: Properties,
    random: Random,
    now: f64,
    /// The operations that wait.
    backlog: f64,
    /// The logarithm of the capacity's factor.
    level: f64,
    next_pause: f64,
    paused_until: f64,
    overloaded_until: f64,
}

/// The operations of a step.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    planned: f64,
    completed: f64,
    dropped: f64,
    slow: f64,
    latency: f64,
}

impl Target {
    pub(crate) fn new(properties: Properties, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let next_pause = random.exponential(properties.pause_every);
        let level = properties.noise * random.normal();
        let (backlog, paused_until, overloaded_until) = (0.0, 0.0, 0.0);
        Self { properties, random, now: 0.0, backlog, level, next_pause, paused_until, overloaded_until }
    }

    fn step(&mut self, load: f64) -> Step {
        let Properties { capacity, noise, noise_time, queue, pause_every, pause, .. } = self.properties;
        self.now += STEP;
        let decay = (-STEP / noise_time).exp();
        self.level = decay * self.level + (1.0 - decay * decay).sqrt() * noise * self.random.normal();
        if self.now >= self.next_pause {
            self.paused_until = self.next_pause + pause;
            self.next_pause += self.random.exponential(pause_every);
        }
        let weakened = if self.now < self.overloaded_until { self.properties.overload_factor } else { 1.0 };
        let speed = capacity * self.level.exp() * weakened;
        let served = if self.now < self.paused_until { 0.0 } else { speed * STEP };
        let planned = load * STEP;
        let offered = self.backlog + planned;
        let completed = offered.min(served);
        let waiting = offered - completed;
        let dropped = (waiting - queue * speed).max(0.0);
        self.backlog = waiting - dropped;
        if dropped > 0.0 {
            self.overloaded_until = self.now + self.properties.overload_time;
        }
        let pause_left = (self.paused_until - self.now).max(0.0);
        let latency = self.backlog / speed + pause_left;
        let slow = if latency >= LIMIT { planned } else { dropped.min(planned) };
        Step { planned, completed, dropped, slow, latency }
    }

    /// Applies the load for some time without counting.
    pub(crate) fn settle(&mut self, load: u64, time: Duration) {
        for _ in 0..time.as_millis() {
            self.step(load as f64);
        }
    }

    /// Applies the load and counts.
    pub(crate) fn trial(&mut self, load: u64, settle: Duration, time: Duration) -> Trial {
        self.settle(load, settle);
        let mut sum = Step::default();
        let mut latencies = Vec::new();
        let mut shares = Vec::new();
        for _ in 0..time.as_millis() / TRIAL_INTERVAL.as_millis() {
            let mut interval = Step::default();
            for _ in 0..TRIAL_INTERVAL.as_millis() {
                let step = self.step(load as f64);
                interval.planned += step.planned;
                interval.slow += step.slow;
                sum.completed += step.completed;
                sum.dropped += step.dropped;
                latencies.push(step.latency);
            }
            sum.planned += interval.planned;
            let total = interval.planned.round() as u64;
            let alone = self.random.poisson(self.properties.slow * interval.planned);
            shares.push(Share { above: (interval.slow.round() as u64 + alone).min(total), total });
        }
        latencies.sort_by(f64::total_cmp);
        let is_disturbed = self.random.uniform() < self.properties.accident;
        let is_limit = load as f64 > self.properties.generator || is_disturbed;
        Trial {
            shares,
            planned: sum.planned.round() as u64,
            completed: sum.completed.round() as u64,
            failed: sum.dropped.round() as u64,
            missing_peers: 0,
            p50: Some(100_000 + (1e9 * latencies[latencies.len() / 2]) as u64),
            distrust: is_limit.then(|| "its loop was late".to_owned()),
            elapsed: settle + time,
        }
    }

    /// Waits at a low load until the queue has been short for some time, and returns the outstanding operations and the
    /// time.
    pub(crate) fn recover(
        &mut self,
        load: u64,
        max_p50: Option<u64>,
        calm: Duration,
        at_most: Duration,
    ) -> (u64, Duration) {
        let (mut waited, mut calm_for) = (Duration::ZERO, Duration::ZERO);
        while waited < at_most && calm_for < calm {
            let p50 = self.trial(load, Duration::ZERO, TRIAL_INTERVAL).p50;
            waited += TRIAL_INTERVAL;
            // Less than one operation waits.
            let is_calm = self.backlog < 1.0 && max_p50.is_none_or(|max_p50| p50 <= Some(max_p50));
            calm_for = if is_calm { calm_for + TRIAL_INTERVAL } else { Duration::ZERO };
        }
        (self.backlog as u64, waited)
    }

    /// Returns the highest load that meets the goal in a very long run, to 0.3 %.
    pub(crate) fn truth(properties: Properties) -> f64 {
        let (mut low, mut high) = (properties.capacity / 4.0, properties.capacity * 1.5);
        while high / low > 1.003 {
            let middle = (low * high).sqrt();
            let mut target = Self::new(properties, u64::MAX);
            let trial = target.trial(middle as u64, Duration::from_secs(10), Duration::from_secs(600));
            let slow: u64 = trial.shares.iter().map(|share| share.above).sum();
            let is_good = slow as f64 <= 0.01 * trial.planned as f64
                && trial.completed as f64 >= 0.99 * trial.planned as f64
                && trial.failed as f64 <= 0.001 * trial.planned as f64;
            if is_good { low = middle } else { high = middle }
        }
        low
    }
}
