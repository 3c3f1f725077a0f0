//! A simulated target with a virtual clock, for the search of the highest load.
//!
//! Operations arrive evenly and wait in a queue. An operation that waits longer than the queue's limit is dropped, as
//! by a node with a limited rate. Time passes in steps of a millisecond, so a search of two minutes needs milliseconds.
//!
//! The generator before it may pause, and may be slower than its load. It then sends the owed operations as fast as it
//! can, and latencies are measured from the planned time on.

use crate::random::Random;
use peerloop_measure::{Distrust, Goal, Remainder, Share, TRIAL_INTERVAL, Trial};
use std::time::Duration;

const STEP: f64 = 0.001;

/// The limit of the searched goal, p99 < 50 ms, in seconds.
pub(crate) const LIMIT: f64 = 0.05;

/// The longest lag, in seconds, that is not late, and the longest that says anything about a target.
const MAX_LAG: f64 = 0.001;
const MAX_EXCUSED_LAG: f64 = 0.1;

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
    /// The load above which the generator is busy.
    pub(crate) generator: f64,
    /// The operations per second that the generator can send.
    pub(crate) generator_speed: f64,
    /// The chance that the generator is busy with something else during a trial.
    pub(crate) accident: f64,
    /// The chance that the generator pauses during a trial: once per 160 ms on average, for `generator_pause` seconds.
    pub(crate) unsteady: f64,
    pub(crate) generator_pause: f64,
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
            generator_speed: f64::INFINITY,
            accident: 0.0,
            unsteady: 0.0,
            generator_pause: 0.008,
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
    /// The operations that the generator has not sent yet.
    owed: f64,
    /// Whether the generator pauses in this trial, and the end of its present pause.
    is_unsteady: bool,
    generator_paused_until: f64,
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
    latency: f64,
    /// The lag of the generator, in seconds.
    lag: f64,
}

impl Target {
    pub(crate) fn new(properties: Properties, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let next_pause = random.exponential(properties.pause_every);
        let level = properties.noise * random.normal();
        Self {
            properties,
            random,
            now: 0.0,
            backlog: 0.0,
            owed: 0.0,
            is_unsteady: false,
            generator_paused_until: 0.0,
            level,
            next_pause,
            paused_until: 0.0,
            overloaded_until: 0.0,
        }
    }

    /// Returns the operations that the generator sends in this step, and its lag.
    fn send(&mut self, load: f64) -> (f64, f64) {
        let Properties { generator_speed, generator_pause, .. } = self.properties;
        self.owed += load * STEP;
        if self.is_unsteady && self.now >= self.generator_paused_until && self.random.uniform() < STEP / 0.16 {
            self.generator_paused_until = self.now + generator_pause;
        }
        let pause_left = (self.generator_paused_until - self.now).max(0.0);
        let sent = if pause_left > 0.0 { 0.0 } else { self.owed.min(generator_speed * STEP) };
        self.owed -= sent;
        (sent, pause_left + self.owed / generator_speed)
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
        let (sent, lag) = self.send(load);
        let offered = self.backlog + sent;
        let completed = offered.min(served);
        let waiting = offered - completed;
        let dropped = (waiting - queue * speed).max(0.0);
        self.backlog = waiting - dropped;
        if dropped > 0.0 {
            self.overloaded_until = self.now + self.properties.overload_time;
        }
        let pause_left = (self.paused_until - self.now).max(0.0);
        Step { planned: load * STEP, completed, dropped, latency: lag + self.backlog / speed + pause_left, lag }
    }

    /// Applies the load for some time without counting.
    pub(crate) fn settle(&mut self, load: u64, time: Duration) {
        for _ in 0..time.as_millis() {
            self.step(load as f64);
        }
    }

    /// Applies the load and counts.
    pub(crate) fn trial(&mut self, load: u64, settle: Duration, time: Duration) -> Trial {
        self.is_unsteady = self.random.uniform() < self.properties.unsteady;
        self.settle(load, settle);
        let steps: Vec<Step> = (0..time.as_millis()).map(|_| self.step(load as f64)).collect();
        let sum = |of: fn(&Step) -> f64| steps.iter().map(of).sum::<f64>().round() as u64;
        let shares = self.shares(&steps);
        let mut latencies: Vec<f64> = steps.iter().map(|step| step.latency).collect();
        latencies.sort_by(f64::total_cmp);
        let is_disturbed = self.random.uniform() < self.properties.accident;
        let is_busy = load as f64 > self.properties.generator || is_disturbed;
        let distrust = is_busy.then(|| Distrust::Busy("its thread was busy".to_owned()));
        Trial {
            shares,
            planned: sum(|step| step.planned),
            completed: sum(|step| step.completed),
            failed: sum(|step| step.dropped),
            missing_peers: 0,
            p50: Some(100_000 + (1e9 * latencies[latencies.len() / 2]) as u64),
            distrust: distrust.or_else(|| lateness(&steps)),
            elapsed: settle + time,
        }
    }

    /// Returns the share of slow operations of each interval, among them those that are slow for reasons of their own.
    fn shares(&mut self, steps: &[Step]) -> Vec<Share> {
        let shares = shares(steps, LIMIT, 0.0).into_iter().map(|Share { above, total }| {
            let alone = self.random.poisson(self.properties.slow * total as f64);
            Share { above: (above + alone).min(total), total }
        });
        shares.collect()
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

/// Returns the share of operations of each interval that need longer than `limit` or have no reply. The first `excused`
/// ones without a reply do not count.
fn shares(steps: &[Step], limit: f64, mut excused: f64) -> Vec<Share> {
    let share = |interval: &[Step]| {
        let total = interval.iter().map(|step| step.planned).sum::<f64>().round() as u64;
        let slow = interval.iter().filter(|step| step.latency >= limit).map(|step| step.planned).sum::<f64>();
        let dropped: f64 = interval.iter().filter(|step| step.latency < limit).map(|step| step.dropped).sum();
        let rest = (dropped - excused).max(0.0);
        excused -= dropped - rest;
        Share { above: ((slow + rest).round() as u64).min(total), total }
    };
    steps.chunks(TRIAL_INTERVAL.as_millis() as usize).map(share).collect()
}

/// Returns whether the generator was late in these steps, and the evidence that its lateness does not explain.
fn lateness(steps: &[Step]) -> Option<Distrust> {
    let is_late = |step: &&Step| step.lag > MAX_LAG;
    let late = steps.iter().filter(is_late).count();
    let max = steps.iter().map(|step| step.lag).fold(0.0, f64::max);
    let goal = Goal::of(&"ping_rtt:p99<50ms".parse().expect("the threshold is valid")).expect("it is a goal");
    (late as f64 > goal.max_late() * steps.len() as f64).then(|| {
        let sum = |of: fn(&Step) -> f64| steps.iter().map(of).sum::<f64>().round() as u64;
        let late = steps.iter().filter(is_late).map(|step| step.planned).sum::<f64>().round() as u64;
        let remainder = Remainder {
            shares: shares(steps, LIMIT + 2.0 * max, late as f64),
            completed: sum(|step| step.completed) + late,
            failed: sum(|step| step.dropped).saturating_sub(late),
        };
        let reason = format!("its loop woke up to {:.1} ms late", 1e3 * max);
        Distrust::Late { reason, remainder: (max <= MAX_EXCUSED_LAG).then_some(remainder) }
    })
}
