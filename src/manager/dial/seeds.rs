//! Seeds, which are names that resolve to peers' addresses: their schedule and the checks of their replies.
//!
//! Each seed is queried at the start and then every hour, or every minute while peers are wanted and there is no
//! accessible address to dial. Each seed has at most one open query, which is abandoned after [`RESOLVE_TIMEOUT`]. A
//! reply is an unverified hint: the number of its addresses is limited, and addresses that no peer can have are
//! dropped and counted. Nothing here resolves a name.

use super::resolve::{QUERY_BIT, Resolve};
use crate::address::{canonical, is_routable};
use crate::config::{DialMode, ManagerConfig};
use crate::limits::{MAX_SEED_ANSWERS, MIN_SEED_INTERVAL, RESOLVE_TIMEOUT, SEED_INTERVAL};
use crate::protocol::Network;
use crate::time::Instant;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The schedule of all seeds.
#[derive(Debug)]
pub(crate) struct Seeds {
    seeds: Vec<Seed>,
    next_query: u32,
    default_port: u16,
    takes_unroutable: bool,
}

#[derive(Debug)]
struct Seed {
    name: String,
    asked_at: Option<Instant>,
    /// The query that has not been answered yet.
    open_query: Option<u32>,
}

/// The usable part of a seed's reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeedAnswer {
    /// The addresses that peers may have, without repetitions; at most [`MAX_SEED_ANSWERS`].
    pub(crate) addresses: Vec<SocketAddr>,
    /// The number of addresses dropped because they exceed the maximum, cannot belong to a peer, are repeated, or are
    /// our own.
    pub(crate) dropped: usize,
}

impl Seeds {
    /// Creates the seeds of `config`, all due at once. There are none in [`DialMode::Fixed`]. On regtest, peers may
    /// have addresses that cannot be routed.
    pub(crate) fn new(config: &ManagerConfig, network: Network) -> Self {
        let takes_unroutable = network == Network::Regtest;
        let mut seeds = Self { seeds: Vec::new(), next_query: 0, default_port: 0, takes_unroutable };
        seeds.reconfigure(config);
        seeds
    }

    /// Applies the names of `config`. New seeds are queried at once; known ones keep their schedule.
    pub(crate) fn reconfigure(&mut self, config: &ManagerConfig) {
        let names: &[String] = match &config.mode {
            DialMode::Normal => &config.dns_seeds,
            DialMode::Fixed(_) => &[],
        };
        let mut before = std::mem::take(&mut self.seeds);
        for name in names {
            let is_listed = |seed: &Seed| seed.name == *name;
            if self.seeds.iter().any(is_listed) {
                continue;
            }
            self.seeds.push(match before.iter().position(is_listed) {
                Some(index) => before.swap_remove(index),
                None => Seed { name: name.clone(), asked_at: None, open_query: None },
            });
        }
        self.default_port = config.default_port;
    }

    /// Returns the first moment at which a query is due or is to be abandoned; `None` if there is no seed.
    /// `is_hungry` is the result of [`Dialler::lacks_candidates`](super::Dialler::lacks_candidates).
    pub(crate) fn next_at(&self, is_hungry: bool) -> Option<Instant> {
        let given_up = self.seeds.iter().filter_map(Seed::given_up_at).min();
        self.seeds.iter().map(|seed| seed.due_at(is_hungry)).chain(given_up).min()
    }

    /// Abandons one query that was not answered in time, and returns its seed's name. Call it until it returns `None`.
    /// A later reply to the query is ignored.
    pub(crate) fn give_up(&mut self, now: Instant) -> Option<Arc<str>> {
        let seed = self.seeds.iter_mut().find(|seed| seed.given_up_at().is_some_and(|moment| moment <= now))?;
        seed.open_query = None;
        Some(seed.name.as_str().into())
    }

    /// Returns a query to send now. Call it until it returns `None`.
    pub(crate) fn next(&mut self, now: Instant, is_hungry: bool) -> Option<Resolve> {
        let seed = self.seeds.iter_mut().find(|seed| seed.due_at(is_hungry) <= now)?;
        let query = self.next_query;
        self.next_query = query.wrapping_add(1) & !QUERY_BIT;
        seed.asked_at = Some(now);
        seed.open_query = Some(query);
        Some(Resolve { query, name: seed.name.clone(), port: self.default_port })
    }

    /// Returns the name of the seed that `query` resolves, or `None` if the query is not open.
    pub(crate) fn name_of(&self, query: u32) -> Option<Arc<str>> {
        let seed = self.seeds.iter().find(|seed| seed.open_query == Some(query))?;
        Some(seed.name.as_str().into())
    }

    /// Returns the usable part of `answer`, a query's reply. The part is empty if the query failed or is no longer
    /// open.
    pub(crate) fn resolved(
        &mut self,
        query: u32,
        answer: &[SocketAddr],
        mut is_ours: impl FnMut(SocketAddr) -> bool,
    ) -> SeedAnswer {
        let Some(seed) = self.seeds.iter_mut().find(|seed| seed.open_query == Some(query)) else {
            return SeedAnswer::default();
        };
        seed.open_query = None;
        let mut seen = BTreeSet::new();
        let addresses: Vec<SocketAddr> = answer
            .iter()
            .take(MAX_SEED_ANSWERS)
            .map(|&address| canonical(address))
            .filter(|&address| self.may_be_peer(address) && seen.insert(address) && !is_ours(address))
            .collect();
        let dropped = answer.len() - addresses.len();
        SeedAnswer { addresses, dropped }
    }

    /// Returns whether `address`, which must be canonical, can belong to a peer of this network.
    pub(crate) fn may_be_peer(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        let is_host = !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast;
        is_host && address.port() != 0 && (self.takes_unroutable || is_routable(ip))
    }
}

impl Seed {
    fn due_at(&self, is_hungry: bool) -> Instant {
        let interval = if is_hungry { MIN_SEED_INTERVAL } else { SEED_INTERVAL };
        self.asked_at.map_or(Instant::ZERO, |asked_at| asked_at.plus(interval))
    }

    fn given_up_at(&self) -> Option<Instant> {
        self.open_query.and(self.asked_at).map(|asked_at| asked_at.plus(RESOLVE_TIMEOUT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const START: Instant = Instant::from_nanos(7_000_000_000);

    fn config(seeds: &[&str]) -> ManagerConfig {
        let dns_seeds = seeds.iter().map(|&seed| seed.to_owned()).collect();
        ManagerConfig { dns_seeds, ..ManagerConfig::new(Network::Mainnet) }
    }

    fn query_all(seeds: &mut Seeds, now: Instant, is_hungry: bool) -> Vec<String> {
        std::iter::from_fn(|| seeds.next(now, is_hungry)).map(|resolve| resolve.name).collect()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn req_e41_each_seed_is_queried_at_the_start_and_every_hour() {
        let mut seeds = Seeds::new(&config(&["a.example", "b.example"]), Network::Mainnet);
        assert_eq!(query_all(&mut seeds, START, false), ["a.example", "b.example"]);
        for query in 0..2 {
            seeds.resolved(query, &[], |_| false);
        }
        let due = START.plus(SEED_INTERVAL);
        assert_eq!(seeds.next_at(false), Some(due));
        assert_eq!(seeds.next(due.minus(Duration::from_nanos(1)), false), None);
        assert_eq!(query_all(&mut seeds, due, false), ["a.example", "b.example"]);
    }

    #[test]
    fn req_e41_a_failed_seed_is_queried_again_after_a_minute_only_without_accessible_addresses() {
        let mut seeds = Seeds::new(&config(&["a.example"]), Network::Mainnet);
        let query = seeds.next(START, true).unwrap().query;
        assert_eq!(seeds.next(START, true), None);
        assert_eq!(seeds.resolved(query, &[], |_| false), SeedAnswer::default());
        let due = START.plus(MIN_SEED_INTERVAL);
        assert_eq!(seeds.next_at(true), Some(due));
        assert_eq!(seeds.next(due.minus(Duration::from_nanos(1)), true), None);
        assert_eq!(seeds.next(due, false), None);
        assert_ne!(seeds.next(due, true).unwrap().query, query);
    }

    #[test]
    fn an_unanswered_query_is_repeated_and_its_late_reply_is_ignored() {
        let mut seeds = Seeds::new(&config(&["a.example"]), Network::Mainnet);
        let late = seeds.next(START, true).unwrap().query;
        let query = seeds.next(START.plus(MIN_SEED_INTERVAL), true).unwrap().query;
        let answer = addresses(&["8.8.8.8:8333"]);
        assert_eq!(seeds.resolved(late, &answer, |_| false), SeedAnswer::default());
        assert_eq!(seeds.resolved(query, &answer, |_| false).addresses.len(), 1);
        assert_eq!(
            seeds.resolved(query, &answer, |_| false),
            SeedAnswer::default(),
            "a second reply to a query was used"
        );
    }

    #[test]
    fn fault_e12_a_query_that_is_not_answered_in_time_is_abandoned_once() {
        let mut seeds = Seeds::new(&config(&["a.example", "b.example", "c.example"]), Network::Mainnet);
        query_all(&mut seeds, START, true);
        seeds.resolved(1, &[], |_| false);
        let due = START.plus(RESOLVE_TIMEOUT);
        assert_eq!((seeds.next_at(true), seeds.give_up(due.minus(Duration::from_nanos(1)))), (Some(due), None));
        let names = [seeds.give_up(due), seeds.give_up(due), seeds.give_up(due)];
        assert_eq!(
            names.map(|name| name.map(|name| name.to_string())),
            [Some("a.example".to_owned()), Some("c.example".to_owned()), None]
        );
        assert_eq!(seeds.next_at(true), Some(START.plus(MIN_SEED_INTERVAL)), "the next query is due at another time");
        assert_eq!((seeds.name_of(0), seeds.name_of(2)), (None, None));
    }

    #[test]
    fn req_e41_no_seed_is_queried_while_the_peers_are_fixed() {
        let mut fixed = config(&["a.example"]);
        fixed.mode = DialMode::Fixed(addresses(&["8.8.8.8:8333"]));
        let mut seeds = Seeds::new(&fixed, Network::Mainnet);
        assert_eq!((seeds.next_at(true), seeds.next(START, true)), (None, None));
        seeds.reconfigure(&config(&["a.example"]));
        assert_eq!(query_all(&mut seeds, START, false), ["a.example"]);
    }

    #[test]
    fn new_names_are_queried_at_once_and_known_ones_keep_their_open_queries() {
        let mut seeds = Seeds::new(&config(&["a.example", "b.example"]), Network::Mainnet);
        let queries: Vec<u32> = (0..2).map(|_| seeds.next(START, false).unwrap().query).collect();
        seeds.reconfigure(&config(&["c.example", "b.example", "c.example"]));
        assert_eq!(query_all(&mut seeds, START, false), ["c.example"]);
        assert_eq!(seeds.resolved(queries[0], &addresses(&["8.8.8.8:8333"]), |_| false), SeedAnswer::default());
        assert_eq!(seeds.resolved(queries[1], &addresses(&["8.8.8.8:8333"]), |_| false).addresses.len(), 1);
    }

    #[test]
    fn fault_e12_unusable_addresses_are_dropped_and_counted() {
        let answer = addresses(&[
            "8.8.8.8:8333",
            "[::ffff:8.8.8.8]:8333",
            "9.9.9.9:8333",
            "127.0.0.1:8333",
            "10.0.0.1:18444",
            "0.0.0.0:8333",
            "224.0.0.1:8333",
            "255.255.255.255:8333",
            "[::1]:8333",
            "[2001:4860::1]:8334",
            "1.1.1.1:0",
        ]);
        let ours = addresses(&["9.9.9.9:8333"]);
        let resolve = |network| {
            let mut seeds = Seeds::new(&config(&["a.example"]), network);
            let query = seeds.next(START, false).unwrap().query;
            seeds.resolved(query, &answer, |address| ours.contains(&address))
        };
        let found = resolve(Network::Mainnet);
        assert_eq!(found.addresses, addresses(&["8.8.8.8:8333", "[2001:4860::1]:8334"]));
        assert_eq!(found.dropped, 9);
        let found = resolve(Network::Regtest);
        let expected =
            addresses(&["8.8.8.8:8333", "127.0.0.1:8333", "10.0.0.1:18444", "[::1]:8333", "[2001:4860::1]:8334"]);
        assert_eq!(found.addresses, expected);
    }

    #[test]
    fn fault_e12_a_reply_is_used_only_up_to_the_limit() {
        let mut seeds = Seeds::new(&config(&["a.example"]), Network::Mainnet);
        let query = seeds.next(START, false).unwrap().query;
        let answer: Vec<SocketAddr> = (0..1_000_u16).map(|n| ([8, 8, (n >> 8) as u8, n as u8], 8_333).into()).collect();
        let found = seeds.resolved(query, &answer, |_| false);
        assert_eq!((found.addresses.len(), found.dropped), (MAX_SEED_ANSWERS, 1_000 - MAX_SEED_ANSWERS));
    }
}
