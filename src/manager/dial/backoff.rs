//! Backoff: the pause before a failed address is dialled again. It grows with each failure up to a maximum, and
//! random jitter is added to each pause.

use crate::config::ManagerConfig;
use crate::limits::BACKOFF_JITTER_PERCENT;
use rand::{Rng, RngExt};
use std::time::Duration;

/// Pauses that grow by a factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Backoff {
    initial: Duration,
    multiplier: f64,
    max: Duration,
}

impl Backoff {
    pub(super) const fn of(config: &ManagerConfig) -> Self {
        Self { initial: config.initial_backoff, multiplier: config.backoff_multiplier, max: config.max_backoff }
    }

    /// Returns the pause after `failures` consecutive failures, including jitter.
    pub(super) fn pause(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let least = self.least(failures);
        let nanos = u64::try_from(least.as_nanos()).unwrap_or(u64::MAX);
        least.saturating_add(Duration::from_nanos(rng.random_range(0..=nanos / 100 * BACKOFF_JITTER_PERCENT)))
    }

    /// Returns the maximum pause plus jitter.
    pub(super) fn longest(&self, rng: &mut impl Rng) -> Duration {
        Self { initial: self.max, ..*self }.pause(1, rng)
    }

    /// Returns the pause without jitter. Jitter only extends it.
    pub(super) fn least(&self, failures: u32) -> Duration {
        let mut pause = self.initial;
        for _ in 1..failures {
            if pause >= self.max {
                break;
            }
            let longer = Duration::try_from_secs_f64(pause.as_secs_f64() * self.multiplier);
            pause = longer.map_or(self.max, |longer| longer.min(self.max));
        }
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Network;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn backoff(initial: Duration, multiplier: f64, max: Duration) -> Backoff {
        Backoff { initial, multiplier, max }
    }

    #[test]
    fn req_e20_the_default_pauses_double_from_5_seconds_to_10_minutes() {
        let backoff = Backoff::of(&ManagerConfig::new(Network::Mainnet));
        let pauses: Vec<u64> = (1..=10).map(|failures| backoff.least(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
    }

    #[test]
    fn jitter_extends_a_pause_by_at_most_a_quarter() {
        let backoff = backoff(Duration::from_secs(8), 2.0, Duration::from_secs(600));
        let mut rng = StdRng::seed_from_u64(1);
        let pauses: Vec<Duration> = (0..1_000).map(|_| backoff.pause(1, &mut rng)).collect();
        let (shortest, longest) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(*shortest >= Duration::from_secs(8) && *longest <= Duration::from_secs(10));
        assert!(*shortest < Duration::from_millis(8_200) && *longest > Duration::from_millis(9_800));
    }

    #[test]
    fn no_setting_makes_a_pause_overflow() {
        let mut rng = StdRng::seed_from_u64(2);
        for initial in [Duration::from_nanos(1), Duration::from_secs(1), Duration::MAX] {
            for multiplier in [1.0 + f64::EPSILON, 100.0] {
                let backoff = backoff(initial, multiplier, Duration::MAX);
                for failures in [0, 1, 2, 1_000] {
                    assert!(backoff.pause(failures, &mut rng) >= initial);
                }
                assert_eq!(backoff.longest(&mut rng), Duration::MAX);
            }
        }
    }
}
