//! The settings of the peer manager.
//!
//! A loop without a [`ManagerConfig`] never dials a peer by itself, and limits its connections only by `max_links` and
//! `max_inbound`. Every field is checked with the rest of the [`Config`](crate::Config).

use super::{ConfigError, DialMode, Field, ManagerConfig};
use crate::limits;
use crate::protocol::Network;
use std::net::SocketAddr;

impl ManagerConfig {
    /// Returns a configuration that dials only `peers` and otherwise has the defaults of `network`.
    ///
    /// ```
    /// use peerloop::Network;
    /// use peerloop::config::{Config, DialMode, ManagerConfig};
    ///
    /// let manager = ManagerConfig::fixed(Network::Mainnet, vec!["192.0.2.1:8333".parse()?]);
    /// assert!(matches!(manager.mode, DialMode::Fixed(_)));
    ///
    /// let config = Config::new(Network::Mainnet).with_manager(manager);
    /// assert!(config.with_manager(None).manager.is_none());
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn fixed(network: Network, peers: Vec<SocketAddr>) -> Self {
        Self { mode: DialMode::Fixed(peers), ..Self::new(network) }
    }

    /// Returns the maximum number of peers in one address range, such as a /16 of IPv4: `max_per_group_percent` of
    /// `max_peers`, but at least `max_per_host`.
    ///
    /// ```
    /// use peerloop::Network;
    /// use peerloop::config::ManagerConfig;
    ///
    /// let config = ManagerConfig::new(Network::Mainnet).with_max_peers(1_000).with_max_per_group_percent(10);
    /// assert_eq!(config.max_per_group(), 100);
    /// ```
    pub fn max_per_group(&self) -> usize {
        let share = self.max_peers as u64 * u64::from(self.max_per_group_percent) / 100;
        usize::try_from(share).unwrap_or(usize::MAX).max(self.max_per_host)
    }

    pub(super) fn validate(&self, max_links: usize) -> Result<(), ConfigError> {
        self.check_ranges().map_err(ConfigError::out_of_range)?;
        let compare = ConfigError::unless_compared;
        let is_possible = (1..=max_links).contains(&self.max_peers);
        compare(Field::MaxPeers, is_possible, "must be 1 to max_links", &[Field::MaxLinks])?;
        let is_possible = (1..=self.max_peers).contains(&self.target_peers);
        compare(Field::TargetPeers, is_possible, "must be 1 to max_peers", &[Field::MaxPeers])?;
        if let DialMode::Fixed(peers) = &self.mode {
            let is_possible = peers.len() <= limits::MAX_FIXED_PEERS;
            compare(Field::Mode, is_possible, "must list at most 100,000 fixed peers", &[])?;
        }
        let is_possible = self.max_backoff >= self.initial_backoff;
        compare(Field::MaxBackoff, is_possible, "must not be below initial_backoff", &[Field::InitialBackoff])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MAX_LINKS: usize = 1_000;

    fn fixed(peers: &[&str]) -> DialMode {
        DialMode::Fixed(peers.iter().map(|peer| peer.parse().unwrap()).collect())
    }

    /// Returns one fixed peer more than are allowed.
    fn many_peers() -> Vec<SocketAddr> {
        vec![([192, 0, 2, 1], 8_333).into(); limits::MAX_FIXED_PEERS + 1]
    }

    #[test]
    fn a_manager_that_dials_nobody_is_valid() {
        let config = ManagerConfig { mode: fixed(&[]), ..ManagerConfig::new(Network::Regtest) };
        assert_eq!(config.validate(MAX_LINKS), Ok(()));
    }

    #[test]
    fn req_e43_the_defaults_are_valid_on_every_network() {
        for network in Network::ALL {
            assert_eq!(ManagerConfig::new(network).validate(MAX_LINKS), Ok(()));
            let peers = vec!["192.0.2.1:8333".parse().unwrap()];
            assert_eq!(ManagerConfig::fixed(network, peers).validate(MAX_LINKS), Ok(()));
        }
    }

    #[test]
    fn req_e23_the_error_for_an_invalid_value_names_the_field() {
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
            (Field::Mode, ManagerConfig { mode: DialMode::Fixed(many_peers()), ..good() }),
            (Field::Mode, ManagerConfig { mode: fixed(&["192.0.2.1:0"]), ..good() }),
            (Field::Mode, ManagerConfig { mode: fixed(&["0.0.0.0:8333"]), ..good() }),
            (Field::RestartWindow, ManagerConfig { restart_window: Duration::ZERO, ..good() }),
            (Field::InitialBackoff, ManagerConfig { initial_backoff: Duration::ZERO, ..good() }),
            (Field::BackoffMultiplier, ManagerConfig { backoff_multiplier: 1.0, ..good() }),
            (Field::BackoffMultiplier, ManagerConfig { backoff_multiplier: f64::NAN, ..good() }),
            (Field::MaxBackoff, ManagerConfig { max_backoff: Duration::from_secs(4), ..good() }),
            (Field::MaxRetries, ManagerConfig { max_retries: 0, ..good() }),
            (Field::MaxPerHost, ManagerConfig { max_per_host: 0, ..good() }),
            (Field::MaxPerGroupPercent, ManagerConfig { max_per_group_percent: 101, ..good() }),
            (Field::AcceptsPerHostPerSecond, ManagerConfig { accepts_per_host_per_second: 0, ..good() }),
            (Field::BanScore, ManagerConfig { ban_score: 0, ..good() }),
            (Field::BanDuration, ManagerConfig { ban_duration: Duration::ZERO, ..good() }),
            (Field::Trusted, ManagerConfig { trusted: vec![([127, 0, 0, 1].into(), 33)], ..good() }),
        ] {
            assert_eq!(config.validate(MAX_LINKS).map_err(|error| error.field), Err(field));
        }
    }

    #[test]
    fn the_limit_per_range_is_at_least_the_limit_per_host() {
        let config = ManagerConfig {
            max_peers: 20,
            max_per_host: 8,
            max_per_group_percent: 10,
            ..ManagerConfig::new(Network::Regtest)
        };
        assert_eq!(config.max_per_group(), 8);
        assert_eq!(ManagerConfig { max_peers: 1_000, ..config }.max_per_group(), 100);
    }
}
