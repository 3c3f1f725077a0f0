//! The rates at which hosts connect: one token bucket per host, with room for the tokens of two seconds.
//!
//! A bucket is one number: the moment at which it is full again. That moment is at most two seconds away, and a full
//! bucket needs no entry. The entries are in two maps. When a host connects at least two seconds after the last swap,
//! the older map is cleared and the maps are swapped. By then, each host that is only in the older map has a full
//! bucket again. Buckets are dropped early only if more hosts connect within two seconds than fit in a map. Then the
//! buckets of the least recent hosts are dropped.

use crate::address::Host;
use crate::limits::MAX_ACCEPT_RATES;
use crate::manager::keyed::KeyedState;
use crate::time::Instant;
use std::collections::HashMap;
use std::mem;
use std::time::Duration;

/// Time needed to fill an empty bucket.
const FILL_TIME: Duration = Duration::from_secs(2);
/// Maximum number of hosts in each of the two maps.
const MAX_HOSTS: usize = MAX_ACCEPT_RATES / 2;

/// The buckets of the hosts that connected recently.
#[derive(Debug)]
pub(super) struct AcceptRates {
    /// The moment at which each bucket is full again.
    recent: HashMap<Host, Instant, KeyedState>,
    older: HashMap<Host, Instant, KeyedState>,
    /// The moment at which `recent` was started.
    begun: Instant,
    /// The interval at which tokens are added.
    per_token: Duration,
}

impl AcceptRates {
    pub(super) fn new(per_second: u32, state: KeyedState) -> Self {
        let map = || HashMap::with_hasher(state);
        Self { recent: map(), older: map(), begun: Instant::ZERO, per_token: per_token(per_second) }
    }

    pub(super) fn set_rate(&mut self, per_second: u32) {
        self.per_token = per_token(per_second);
    }

    /// Removes one of `host`'s tokens. Returns `false` and stores nothing if the host has no token.
    #[must_use]
    pub(super) fn take(&mut self, host: Host, now: Instant) -> bool {
        if now.since(self.begun) >= FILL_TIME {
            self.swap_maps(now);
        }
        let known = self.recent.get(&host).or_else(|| self.older.get(&host));
        let full_at = known.map_or(now, |&full_at| full_at.max(now)).plus(self.per_token);
        if full_at.since(now) > FILL_TIME {
            return false;
        }
        if self.recent.len() >= MAX_HOSTS && !self.recent.contains_key(&host) {
            self.swap_maps(now);
        }
        self.recent.insert(host, full_at);
        true
    }

    fn swap_maps(&mut self, now: Instant) {
        mem::swap(&mut self.recent, &mut self.older);
        self.recent.clear();
        self.begun = now;
    }
}

/// Returns the interval at which tokens are added. At more than one token per nanosecond the interval is zero, so there
/// is no limit.
fn per_token(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    fn rates(per_second: u32) -> AcceptRates {
        AcceptRates::new(per_second, KeyedState::new(&mut StdRng::seed_from_u64(1)))
    }

    fn host(bits: u32) -> Host {
        Host::V4(Ipv4Addr::from_bits(bits))
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO.plus(Duration::from_millis(millis))
    }

    fn taken(rates: &mut AcceptRates, now: Instant, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(rates.take(host(1), now))).sum()
    }

    #[test]
    fn a_full_bucket_has_the_tokens_of_two_seconds_and_refills_at_the_rate() {
        for per_second in [1, 3, 7, 10, 1_000] {
            let mut rates = rates(per_second);
            assert_eq!(taken(&mut rates, at(5_000), 3 * per_second), 2 * per_second);
            assert_eq!(taken(&mut rates, at(6_000), 3 * per_second), per_second);
            assert_eq!(taken(&mut rates, at(6_500), 3 * per_second), per_second / 2);
            assert_eq!(taken(&mut rates, at(60_000), 3 * per_second), 2 * per_second);
        }
    }

    #[test]
    fn a_host_that_keeps_trying_is_admitted_at_its_rate() {
        let mut rates = rates(10);
        let granted: u32 = (0..100_000).map(|millis| taken(&mut rates, at(millis), 1)).sum();
        assert_eq!(granted, 20 + 999, "the host was not admitted 20 times and then once per 100 ms");
    }

    #[test]
    fn one_host_does_not_use_anothers_tokens() {
        let mut rates = rates(10);
        assert_eq!(taken(&mut rates, at(0), 50), 20);
        assert!(rates.take(host(2), at(0)));
    }

    #[test]
    fn the_largest_rate_limits_nothing() {
        assert_eq!(taken(&mut rates(u32::MAX), at(0), 10_000), 10_000);
    }

    #[test]
    fn a_changed_rate_applies_within_two_seconds() {
        let mut rates = rates(10);
        assert_eq!(taken(&mut rates, at(0), 50), 20);
        rates.set_rate(1);
        assert_eq!(taken(&mut rates, at(2_000), 50), 2);
        rates.set_rate(100);
        assert_eq!(taken(&mut rates, at(4_000), 500), 200);
    }

    #[test]
    fn a_stopped_clock_adds_no_tokens_near_either_end_of_its_range() {
        for moment in [Instant::ZERO, Instant::MAX.minus(Duration::from_secs(9))] {
            assert_eq!(taken(&mut rates(10), moment, 50), 20);
        }
        assert!(taken(&mut rates(10), Instant::MAX, 50) > 0);
    }

    #[test]
    fn a_flood_of_hosts_does_not_exceed_the_maximum_number_of_buckets() {
        const HOSTS: u32 = 200_000;
        let mut rates = rates(10);
        for bits in 0..HOSTS {
            assert!(rates.take(host(bits), at(0)));
            assert!(rates.recent.len() + rates.older.len() <= MAX_ACCEPT_RATES);
        }
        assert!(rates.recent.capacity() + rates.older.capacity() <= 2 * MAX_ACCEPT_RATES);
        assert!(rates.recent.contains_key(&host(HOSTS - 1)));
    }

    #[test]
    fn a_flood_of_other_hosts_does_not_refill_the_bucket_of_a_recent_host() {
        let mut rates = rates(10);
        assert_eq!(taken(&mut rates, at(0), 50), 20);
        for bits in 2..2 + MAX_HOSTS as u32 {
            assert!(rates.take(host(bits), at(0)));
        }
        assert!(!rates.take(host(1), at(0)), "the flood refilled the host's bucket");
    }

    proptest! {
        #[test]
        fn the_maps_grant_the_same_tokens_as_buckets_that_are_never_dropped(
            per_second in 1..50_u32,
            steps in prop::collection::vec((0..4_u32, 0..400_u64), 1..300),
        ) {
            let mut rates = rates(per_second);
            let per_token = 1_000_000_000 / u64::from(per_second);
            let brim = 2_000_000_000;
            let mut buckets: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
            let mut now = 0;
            for (bits, millis) in steps {
                now += millis * 1_000_000;
                let (level, filled_at) = buckets.entry(bits).or_insert((brim, now));
                *level = (*level + (now - *filled_at)).min(brim);
                *filled_at = now;
                let expected = *level >= per_token;
                if expected {
                    *level -= per_token;
                }
                prop_assert_eq!(rates.take(host(bits), Instant::from_nanos(now)), expected);
            }
        }
    }
}
