//! What the peer manager may be told: how many peers, which, and how hard it tries.
//!
//! A loop without a [`ManagerConfig`] connects to nobody by itself and turns nobody away but beyond its table. Every
//! field has its default in [`limits`](crate::limits) and is checked with the rest of the
//! [`Config`](crate::Config).

use super::{ConfigError, Field};
use crate::limits;
use crate::protocol::Network;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How a loop finds, keeps and refuses peers by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagerConfig {
    /// Whom the manager dials. Default [`DialMode::Normal`].
    pub mode: DialMode,
    /// Fixed peers that are known by name, each dialled at one of its addresses beside those of [`DialMode::Fixed`]:
    /// `host`, `host:port` or `[ipv6]:port`, with [`ManagerConfig::default_port`] if there is none. The next address is
    /// tried when one fails, and after the last the name is resolved again. At most 64; default none; without effect in
    /// [`DialMode::Normal`].
    pub fixed_names: Vec<String>,
    /// Peers to have: below it the manager dials. 1 to [`ManagerConfig::max_peers`]; default 8.
    pub target_peers: usize,
    /// Most peers, both directions and those being dialled together; who comes above it is told so by a `reject`.
    /// 1 to [`Config::max_links`](crate::Config::max_links); default 20.
    pub max_peers: usize,
    /// Addresses to accept connections at; one that cannot be bound is tried again. At most 64; default none.
    pub listen: Vec<SocketAddr>,
    /// Names whose addresses are peers, asked at the start and every hour in [`DialMode::Normal`]. At most 64; default
    /// the network's own.
    pub dns_seeds: Vec<String>,
    /// The port of an address that came without one. 1 to 65,535; default the network's own.
    pub default_port: u16,
    /// Restarts at once of a failed outbound connection per [`ManagerConfig::restart_window`]. Default 3; zero for
    /// none.
    pub max_restarts: u32,
    /// The window in which restarts are counted. Over zero; default an hour.
    pub restart_window: Duration,
    /// Pause after the first dial of an address that failed. Over zero; default 5 s.
    pub initial_backoff: Duration,
    /// What each further pause is longer than the one before. Above 1, at most 100; default 2.
    pub backoff_multiplier: f64,
    /// Longest pause between two dials of an address. Not below [`ManagerConfig::initial_backoff`]; default 10 min.
    pub backoff_max: Duration,
    /// Failed dials after which an address counts as inaccessible. 1 to 1,000; default 10.
    pub max_retries: u32,
    /// Most peers of one host, an IPv4 address or a /64 of IPv6, both directions together; no bound for the dials of a
    /// fixed list. Over zero; default 8.
    pub per_host_max: usize,
    /// Most peers of one [range](crate::address::NetGroup), in percent of [`ManagerConfig::max_peers`] but at least
    /// [`ManagerConfig::per_host_max`]. 1 to 100; default 100, for all loopback and private addresses are one range.
    pub per_group_max_percent: u32,
    /// Connections of one host that are accepted per second once its burst of twice as many is used up. Over zero;
    /// default 10.
    pub accepts_per_host_per_second: u32,
    /// Whether an accepted peer is closed for a new one if all places are taken. Default false.
    pub evicts_inbound: bool,
    /// Misbehaviour at which a peer is closed and its host banned. 1 to 1,000,000; default 100.
    pub ban_score: u32,
    /// How long a ban for misbehaviour lasts. Over zero; default 24 h.
    pub ban_duration: Duration,
    /// Hosts to which no cap, rate or ban applies, each with the length of its prefix in bits. At most 1,024; default
    /// none.
    pub trusted: Vec<(IpAddr, u8)>,
    /// Whether peers are asked for addresses, what they say is taken into the book, and those who ask are answered. The
    /// handler gets `addr` and `getaddr` as if nobody else read them; one that answers by itself turns this off.
    /// Default true; without effect in [`DialMode::Fixed`]. Costs 7 MB with a full book, and 50 bytes per peer.
    pub learns_addresses: bool,
}

/// Whom the manager dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialMode {
    /// Peers of the book, those that once were valid before those that nobody knows, until there are
    /// [`ManagerConfig::target_peers`].
    Normal,
    /// These and [`ManagerConfig::fixed_names`] and no others, all of them as far as [`ManagerConfig::max_peers`] and
    /// bans allow. At most 100,000, and at least one if there is no name.
    Fixed(Vec<SocketAddr>),
}

impl ManagerConfig {
    /// The defaults for `network`.
    pub fn new(network: Network) -> Self {
        Self {
            mode: DialMode::Normal,
            fixed_names: Vec::new(),
            target_peers: limits::TARGET_PEERS,
            max_peers: limits::MAX_PEERS,
            listen: Vec::new(),
            dns_seeds: network.dns_seeds().iter().map(|&seed| seed.to_owned()).collect(),
            default_port: network.default_port(),
            max_restarts: limits::RESTARTS_MAX,
            restart_window: limits::RESTART_WINDOW,
            initial_backoff: limits::INITIAL_BACKOFF,
            backoff_multiplier: limits::BACKOFF_MULTIPLIER,
            backoff_max: limits::BACKOFF_MAX,
            max_retries: limits::RETRIES_MAX,
            per_host_max: limits::PER_HOST_MAX,
            per_group_max_percent: 100,
            accepts_per_host_per_second: limits::ACCEPTS_PER_HOST_PER_SECOND,
            evicts_inbound: false,
            ban_score: limits::BAN_SCORE,
            ban_duration: limits::BAN_DURATION,
            trusted: Vec::new(),
            learns_addresses: true,
        }
    }

    /// The defaults for `network` with a list of peers that is all there is.
    pub fn with_fixed_peers(network: Network, peers: Vec<SocketAddr>) -> Self {
        Self { mode: DialMode::Fixed(peers), ..Self::new(network) }
    }

    /// Most peers of one range of addresses.
    pub fn per_group_max(&self) -> usize {
        let share = self.max_peers as u64 * u64::from(self.per_group_max_percent) / 100;
        usize::try_from(share).unwrap_or(usize::MAX).max(self.per_host_max)
    }

    pub(super) fn validate(&self, max_links: usize) -> Result<(), ConfigError> {
        let rule = ConfigError::unless;
        let compare = ConfigError::unless_compared;
        let is_possible = (1..=max_links).contains(&self.max_peers);
        compare(Field::MaxPeers, is_possible, "must be 1 to max_links", &[Field::MaxLinks])?;
        let is_possible = (1..=self.max_peers).contains(&self.target_peers);
        compare(Field::TargetPeers, is_possible, "must be 1 to max_peers", &[Field::MaxPeers])?;
        rule(Field::Listen, self.listen.len() <= limits::LISTENERS_MAX, "has at most 64 addresses")?;
        let is_listed_twice = |(index, address)| self.listen[..index].contains(address);
        rule(Field::Listen, !self.listen.iter().enumerate().any(is_listed_twice), "must have each address once")?;
        rule(Field::DnsSeeds, self.dns_seeds.len() <= limits::DNS_SEEDS_MAX, "has at most 64 names")?;
        let is_name =
            |name: &String| (1..=253).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        rule(
            Field::DnsSeeds,
            self.dns_seeds.iter().all(is_name),
            "must have names of 1 to 253 printable ASCII characters",
        )?;
        rule(Field::DefaultPort, self.default_port != 0, "must be 1 to 65,535")?;
        if let DialMode::Fixed(peers) = &self.mode {
            let least = usize::from(self.fixed_names.is_empty());
            let is_possible = (least..=limits::FIXED_PEERS_MAX).contains(&peers.len());
            compare(Field::Mode, is_possible, "fixed peers are 1 to 100,000", &[Field::FixedNames])?;
            let is_dialable = |peer: &SocketAddr| peer.port() != 0 && !peer.ip().is_unspecified();
            rule(Field::Mode, peers.iter().all(is_dialable), "fixed peers need an address and a port")?;
        }
        rule(Field::FixedNames, self.fixed_names.len() <= limits::FIXED_NAMES_MAX, "has at most 64 names")?;
        rule(
            Field::FixedNames,
            self.fixed_names.iter().all(is_name),
            "must have names of 1 to 253 printable ASCII characters",
        )?;
        self.validate_persistence()?;
        rule(Field::PerHostMax, self.per_host_max > 0, "must be above zero")?;
        rule(Field::PerGroupMaxPercent, (1..=100).contains(&self.per_group_max_percent), "must be 1 to 100")?;
        rule(Field::AcceptsPerHostPerSecond, self.accepts_per_host_per_second > 0, "must be above zero")?;
        rule(Field::BanScore, (1..=1_000_000).contains(&self.ban_score), "must be 1 to 1,000,000")?;
        rule(Field::BanDuration, !self.ban_duration.is_zero(), "must be longer than zero")?;
        rule(Field::Trusted, self.trusted.len() <= limits::TRUSTED_MAX, "has at most 1,024 networks")?;
        let has_prefix = |&(address, bits): &(IpAddr, u8)| bits <= if address.is_ipv4() { 32 } else { 128 };
        rule(Field::Trusted, self.trusted.iter().all(has_prefix), "has prefixes of at most 32 or 128 bits")
    }

    /// How hard it is tried.
    fn validate_persistence(&self) -> Result<(), ConfigError> {
        let rule = ConfigError::unless;
        rule(Field::RestartWindow, !self.restart_window.is_zero(), "must be longer than zero")?;
        rule(Field::InitialBackoff, !self.initial_backoff.is_zero(), "must be longer than zero")?;
        let grows = self.backoff_multiplier > 1.0 && self.backoff_multiplier <= 100.0;
        rule(Field::BackoffMultiplier, grows, "must be above 1 and at most 100")?;
        let (is_possible, others) = (self.backoff_max >= self.initial_backoff, &[Field::InitialBackoff]);
        ConfigError::unless_compared(Field::BackoffMax, is_possible, "must not be below initial_backoff", others)?;
        rule(Field::MaxRetries, (1..=1_000).contains(&self.max_retries), "must be 1 to 1,000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LINKS: usize = 1_000;

    fn fixed(peers: &[&str]) -> DialMode {
        DialMode::Fixed(peers.iter().map(|peer| peer.parse().unwrap()).collect())
    }

    #[test]
    fn seed_e43_the_defaults_are_valid_on_every_network() {
        for network in Network::ALL {
            assert_eq!(ManagerConfig::new(network).validate(MAX_LINKS), Ok(()));
            let peers = vec!["192.0.2.1:8333".parse().unwrap()];
            assert_eq!(ManagerConfig::with_fixed_peers(network, peers).validate(MAX_LINKS), Ok(()));
        }
    }

    #[test]
    fn seed_e23_each_harmful_value_is_refused_by_name() {
        let good = || ManagerConfig::new(Network::Regtest);
        let listen = |count| (0..count).map(|port| ([127, 0, 0, 1], port).into()).collect::<Vec<SocketAddr>>();
        for (field, config) in [
            (Field::MaxPeers, ManagerConfig { max_peers: 0, ..good() }),
            (Field::MaxPeers, ManagerConfig { max_peers: MAX_LINKS + 1, ..good() }),
            (Field::TargetPeers, ManagerConfig { target_peers: 0, ..good() }),
            (Field::TargetPeers, ManagerConfig { target_peers: 21, ..good() }),
            (Field::Listen, ManagerConfig { listen: listen(65), ..good() }),
            (Field::Listen, ManagerConfig { listen: [listen(1), listen(1)].concat(), ..good() }),
            (Field::FixedNames, ManagerConfig { fixed_names: vec!["a.example".to_owned(); 65], ..good() }),
            (Field::FixedNames, ManagerConfig { fixed_names: vec!["a b".to_owned()], ..good() }),
            (Field::DnsSeeds, ManagerConfig { dns_seeds: vec!["a.example".to_owned(); 65], ..good() }),
            (Field::DnsSeeds, ManagerConfig { dns_seeds: vec![String::new()], ..good() }),
            (Field::DnsSeeds, ManagerConfig { dns_seeds: vec!["a b".to_owned()], ..good() }),
            (Field::DefaultPort, ManagerConfig { default_port: 0, ..good() }),
            (Field::Mode, ManagerConfig { mode: fixed(&[]), ..good() }),
            (Field::Mode, ManagerConfig { mode: fixed(&["192.0.2.1:0"]), ..good() }),
            (Field::Mode, ManagerConfig { mode: fixed(&["0.0.0.0:8333"]), ..good() }),
            (Field::RestartWindow, ManagerConfig { restart_window: Duration::ZERO, ..good() }),
            (Field::InitialBackoff, ManagerConfig { initial_backoff: Duration::ZERO, ..good() }),
            (Field::BackoffMultiplier, ManagerConfig { backoff_multiplier: 1.0, ..good() }),
            (Field::BackoffMultiplier, ManagerConfig { backoff_multiplier: f64::NAN, ..good() }),
            (Field::BackoffMax, ManagerConfig { backoff_max: Duration::from_secs(4), ..good() }),
            (Field::MaxRetries, ManagerConfig { max_retries: 0, ..good() }),
            (Field::PerHostMax, ManagerConfig { per_host_max: 0, ..good() }),
            (Field::PerGroupMaxPercent, ManagerConfig { per_group_max_percent: 101, ..good() }),
            (Field::AcceptsPerHostPerSecond, ManagerConfig { accepts_per_host_per_second: 0, ..good() }),
            (Field::BanScore, ManagerConfig { ban_score: 0, ..good() }),
            (Field::BanDuration, ManagerConfig { ban_duration: Duration::ZERO, ..good() }),
            (Field::Trusted, ManagerConfig { trusted: vec![([127, 0, 0, 1].into(), 33)], ..good() }),
        ] {
            assert_eq!(config.validate(MAX_LINKS).map_err(|error| error.field), Err(field));
        }
    }

    #[test]
    fn a_range_of_addresses_may_hold_what_one_host_may() {
        let config = ManagerConfig {
            max_peers: 20,
            per_host_max: 8,
            per_group_max_percent: 10,
            ..ManagerConfig::new(Network::Regtest)
        };
        assert_eq!(config.per_group_max(), 8);
        assert_eq!(ManagerConfig { max_peers: 1_000, ..config }.per_group_max(), 100);
    }
}
