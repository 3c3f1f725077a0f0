//! A running estimate of a latency's 95th percentile, in four bytes.
//!
//! Each sample moves the estimate by a step that is proportional to it: up by 19 parts if the sample is longer, down by
//! one part if it is not. The estimate rests where one sample in twenty is longer. It follows a change within about a
//! hundred samples, and no single sample moves it by more than an eighth.

use std::time::Duration;

/// The estimate, in microseconds, up to 71 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percentile95 {
    micros: u32,
}

impl Percentile95 {
    /// The parts into which the estimate is divided for its steps.
    const PARTS: u32 = 160;

    pub(super) const fn starting_at(estimate: Duration) -> Self {
        Self { micros: estimate.as_micros() as u32 }
    }

    /// Adds a sample.
    pub(super) fn add(&mut self, sample: Duration) {
        let sample = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX);
        // Below 160 us, a step of at least one keeps the estimate moving.
        let part = (self.micros / Self::PARTS).max(1);
        self.micros = match sample > self.micros {
            true => self.micros.saturating_add(part.saturating_mul(19)),
            false => self.micros.saturating_sub(part).max(1),
        };
    }

    pub(super) const fn get(self) -> Duration {
        Duration::from_micros(self.micros as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn the_estimate_follows_the_distribution_of_the_samples() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut estimate = Percentile95::starting_at(Duration::from_millis(100));
        for scale in [1_000_u64, 200_000, 50] {
            for _ in 0..20_000 {
                estimate.add(Duration::from_micros(rng.next_u64() % scale));
            }
            let share = estimate.get().as_micros() as f64 / scale as f64;
            // Steps of one microsecond are coarse for the shortest latencies.
            let most = if scale < 1_000 { 1.4 } else { 1.05 };
            assert!((0.80..=most).contains(&share), "{share} of {scale} us");
        }
    }

    #[test]
    fn one_sample_moves_the_estimate_by_at_most_an_eighth() {
        let mut estimate = Percentile95::starting_at(Duration::from_millis(160));
        estimate.add(Duration::MAX);
        assert_eq!(estimate.get(), Duration::from_millis(179));
        estimate.add(Duration::ZERO);
        assert_eq!(estimate.get(), Duration::from_micros(177_882));
        (0..100_000).for_each(|_| estimate.add(Duration::ZERO));
        assert_eq!(estimate.get(), Duration::from_micros(1));
        (0..100_000).for_each(|_| estimate.add(Duration::MAX));
        assert_eq!(estimate.get(), Duration::from_micros(u32::MAX.into()));
    }
}
