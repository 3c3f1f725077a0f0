//! Synthetic runs: series of intervals with known percentiles.

use crate::random::Random;
use peerloop_measure::{Series, Tally, percentile_rank};
use std::time::Duration;

/// The median latency of every synthetic run, in nanoseconds.
const MEDIAN: f64 = 100_000.0;
/// The standard deviation of the logarithm of a latency.
const SPREAD: f64 = 0.4;

/// How the latencies of a run depend on each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Independent,
    /// Each latency depends on the one before it.
    Operations {
        correlation: f64,
    },
    /// All latencies of an interval share a level, and each level depends on the one before it. `weight` is the part
    /// of the spread that is shared.
    Levels {
        correlation: f64,
        weight: f64,
    },
    /// The target pauses at random moments, once per `every` seconds on average, for `pause` seconds on average. An
    /// operation during a pause waits for its end.
    Stalls {
        every: f64,
        pause: f64,
    },
}

/// The length of a run: its intervals, their time, and their operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    pub(crate) intervals: usize,
    pub(crate) seconds: f64,
    pub(crate) operations: usize,
}

/// Draws the latencies of a run, in the order of time.
struct Source<'a> {
    kind: Kind,
    random: &'a mut Random,
    /// The seconds between two operations.
    step: f64,
    now: f64,
    level: f64,
    stalled_until: f64,
    next_stall: f64,
}

impl<'a> Source<'a> {
    fn new(kind: Kind, length: Length, random: &'a mut Random) -> Self {
        let level = random.normal();
        let step = length.seconds / length.operations as f64;
        let mut source = Self { kind, random, step, now: 0.0, level, stalled_until: 0.0, next_stall: f64::INFINITY };
        if let Kind::Stalls { every, .. } = kind {
            source.next_stall = source.random.exponential(every);
        }
        source
    }

    fn begin_interval(&mut self) {
        if let Kind::Levels { correlation, .. } = self.kind {
            self.level = correlation * self.level + (1.0 - correlation * correlation).sqrt() * self.random.normal();
        }
    }

    fn latency(&mut self) -> f64 {
        self.now += self.step;
        match self.kind {
            Kind::Independent => log_normal(self.random.normal()),
            Kind::Operations { correlation } => {
                self.level = correlation * self.level + (1.0 - correlation * correlation).sqrt() * self.random.normal();
                log_normal(self.level)
            }
            Kind::Levels { weight, .. } => {
                log_normal(weight * self.level + (1.0 - weight * weight).sqrt() * self.random.normal())
            }
            Kind::Stalls { every, pause } => {
                while self.next_stall <= self.now {
                    let end = self.next_stall + self.random.exponential(pause);
                    self.stalled_until = end.max(self.stalled_until);
                    self.next_stall += self.random.exponential(every);
                }
                log_normal(self.random.normal()) + 1e9 * (self.stalled_until - self.now).max(0.0)
            }
        }
    }
}

fn log_normal(standard: f64) -> f64 {
    MEDIAN * (SPREAD * standard).exp()
}

/// Draws one run.
pub(crate) fn run(kind: Kind, length: Length, random: &mut Random) -> Series {
    let mut source = Source::new(kind, length, random);
    let mut series = Series::new(Duration::from_secs_f64(length.seconds));
    for _ in 0..length.intervals {
        source.begin_interval();
        let latencies = (0..length.operations).map(|_| (bucket(source.latency()), 1));
        series.push(&Tally::from_counts(latencies, 0));
    }
    series
}

/// Returns the true percentiles: exactly for the kinds with a log-normal latency, else from a very long run.
pub(crate) fn truth(kind: Kind, length: Length, percents: &[f64]) -> Vec<f64> {
    match kind {
        Kind::Independent | Kind::Operations { .. } | Kind::Levels { .. } => {
            let standard = |percent: f64| peerloop_measure::student_quantile(percent / 100.0, 1e6);
            percents.iter().map(|&percent| log_normal(standard(percent))).collect()
        }
        Kind::Stalls { .. } => {
            let mut random = Random::new(u64::MAX);
            let mut source = Source::new(kind, length, &mut random);
            let mut latencies: Vec<u64> = (0..10_000_000).map(|_| source.latency() as u64).collect();
            latencies.sort_unstable();
            let at = |percent: f64| latencies[percentile_rank(percent, latencies.len() as u64) as usize - 1] as f64;
            percents.iter().map(|&percent| at(percent)).collect()
        }
    }
}

/// Rounds a latency up to the end of its bucket, of which there are 1,024 for each doubling, as in a histogram with
/// three digits. The iterators of real histograms visit all empty buckets, too, which would need most of the time.
fn bucket(latency: f64) -> u64 {
    let latency = latency as u64;
    latency | ((1 << latency.ilog2().saturating_sub(10)) - 1)
}
