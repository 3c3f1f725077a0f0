//! The settings of a loop, with their defaults, ranges and costs.
//!
//! A [`Config`] is a plain value. The loop checks its first configuration and each new one, and rejects an invalid
//! one with a [`ConfigError`] that names the first invalid field. This module reads neither files nor the
//! environment.

mod change;
mod dial_mode;
mod effect;
mod error;
mod manager;
mod multistreams;
mod table;
mod value;

pub use change::{ConfigChange, UpdateError};
pub use dial_mode::DialMode;
pub use effect::Effect;
pub use error::ConfigError;
pub use multistreams::Multistreams;
pub use table::{Config, Field, ManagerConfig, VersionRules};

use crate::protocol::{CommandName, Network};

impl Config {
    /// Returns the defaults for `network` with a peer manager.
    pub fn managed(network: Network) -> Self {
        Self { manager: Some(ManagerConfig::new(network)), ..Self::new(network) }
    }

    /// Returns the four bytes at the start of every message: `magic` if it is set, otherwise the network's.
    pub fn magic_bytes(&self) -> [u8; 4] {
        self.magic.unwrap_or_else(|| self.network.magic())
    }

    /// Returns the largest payload of `command` that is buffered for a handler, in bytes: its own limit if it has one,
    /// otherwise [`Config::max_buffered_message_bytes`]. A handler receives a larger message only in chunks.
    ///
    /// ```
    /// use peerloop::wire::Header;
    /// use peerloop::{Ctx, Delivery};
    ///
    /// /// Requests each message whole if the loop can buffer it, and in chunks otherwise.
    /// fn delivery(ctx: &Ctx<'_>, header: &Header) -> Delivery {
    ///     let is_small = header.payload_len <= ctx.config().buffer_limit_bytes(header.command);
    ///     if is_small { Delivery::Buffer } else { Delivery::Chunks }
    /// }
    /// ```
    pub fn buffer_limit_bytes(&self, command: CommandName) -> u64 {
        let own = self.max_buffered_command_bytes.iter().find(|(limited, _)| *limited == command);
        own.map_or(self.max_buffered_message_bytes, |&(_, bytes)| bytes)
    }

    /// Checks the range of every field, and the rules that compare fields.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] for the first field that breaks a rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_ranges().and_then(|()| self.version_rules.check_ranges()).map_err(ConfigError::out_of_range)?;
        if let Some(manager) = &self.manager {
            manager.validate(self.max_links)?;
        }
        let total = self.max_buffered_total_bytes;
        let fits = self.max_buffered_command_bytes.iter().all(|&(_, bytes)| bytes <= total);
        let (field, others) = (Field::MaxBufferedCommandBytes, &[Field::MaxBufferedTotalBytes]);
        ConfigError::unless_compared(field, fits, "must not be above max_buffered_total_bytes", others)?;
        let (field, others) = (Field::MaxBufferedTotalBytes, &[Field::MaxBufferedMessageBytes]);
        let fits = self.max_buffered_message_bytes <= total;
        ConfigError::unless_compared(field, fits, "must not be below max_buffered_message_bytes", others)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Network::Mainnet)
    }
}

impl Default for VersionRules {
    fn default() -> Self {
        Self::defaults(Network::Mainnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use std::time::Duration;

    #[test]
    fn the_defaults_are_valid_on_every_network() {
        for network in Network::ALL {
            assert_eq!(Config::new(network).validate(), Ok(()));
        }
    }

    #[test]
    fn the_error_for_an_invalid_value_names_the_field() {
        let good = Config::default;
        for (field, config) in [
            (Field::ConnectTimeout, Config { connect_timeout: Duration::ZERO, ..good() }),
            (Field::HandshakeTimeout, Config { handshake_timeout: Duration::ZERO, ..good() }),
            (Field::PongTimeout, Config { pong_timeout: Duration::ZERO, ..good() }),
            (Field::UserAgent, Config { user_agent: "x".repeat(257), ..good() }),
            (Field::MaxLinks, Config { max_links: 0, ..good() }),
            (Field::MaxLinks, Config { max_links: (1 << 24) + 1, ..good() }),
            (Field::MaxMessageBytes, Config { max_message_bytes: 1_048_575, ..good() }),
            (Field::MaxMessageBytes, Config { max_message_bytes: 1_000_000_001, ..good() }),
            (Field::MaxBlockBytes, Config { max_block_bytes: 1_000_000, ..good() }),
            (Field::MaxBlockBytes, Config { max_block_bytes: 1 << 63, ..good() }),
            (Field::MaxBufferedMessageBytes, Config { max_buffered_message_bytes: 2_047, ..good() }),
            (Field::MaxBufferedTotalBytes, Config { max_buffered_total_bytes: 1, ..good() }),
            (Field::MinBodyBytesPerSecond, Config { min_body_bytes_per_second: 1_000_000_001, ..good() }),
        ] {
            assert_eq!(config.validate().map_err(|error| error.field), Err(field));
        }
    }

    #[test]
    fn a_rule_that_compares_two_fields_lists_the_other_field_and_a_range_lists_none() {
        use Field::{
            InitialBackoff, MaxBackoff, MaxBufferedCommandBytes, MaxBufferedMessageBytes, MaxBufferedTotalBytes,
            MaxLinks, MaxPeers, TargetPeers,
        };
        let good = || Config::managed(Network::Regtest);
        let managed = |change: fn(&mut ManagerConfig)| {
            let mut config = good();
            change(config.manager.as_mut().expect("the configuration has a manager"));
            config
        };
        let total = limits::MAX_BUFFERED_TOTAL_BYTES;
        for (field, others, config) in [
            (MaxPeers, &[MaxLinks][..], Config { max_links: 7, ..good() }),
            (TargetPeers, &[MaxPeers], managed(|manager| manager.max_peers = 7)),
            (MaxBackoff, &[InitialBackoff], managed(|manager| manager.max_backoff = Duration::from_secs(4))),
            (MaxBufferedTotalBytes, &[MaxBufferedMessageBytes], Config { max_buffered_total_bytes: 2_048, ..good() }),
            (
                MaxBufferedCommandBytes,
                &[MaxBufferedTotalBytes],
                Config { max_buffered_command_bytes: vec![(CommandName::TX, total + 1)], ..good() },
            ),
            (Field::PongTimeout, &[], Config { pong_timeout: Duration::ZERO, ..good() }),
        ] {
            let refused = config.validate().expect_err("the configuration is invalid");
            assert_eq!((refused.field, refused.others), (field, others));
            // The list must contain every field that the rule names.
            let named = refused.rule.split(' ').filter_map(|word| Field::ALL.iter().find(|field| field.name() == word));
            assert!(named.clone().all(|named| others.contains(named)), "{refused}");
            assert_eq!(refused.to_string(), format!("configuration: {field} {}", refused.rule));
        }
    }

    #[test]
    fn at_most_64_commands_may_each_have_one_limit_up_to_the_total() {
        let validate = |by_command: &[(CommandName, u64)]| {
            Config { max_buffered_command_bytes: by_command.to_vec(), ..Config::default() }.validate()
        };
        let total = limits::MAX_BUFFERED_TOTAL_BYTES;
        let numbered =
            |count: u8| -> Vec<_> { (0..count).map(|at| (CommandName::from_bytes([b' ' + at; 12]), 2_048)).collect() };
        assert_eq!(validate(&[(CommandName::TX, total), (CommandName::INV, 2_048)]), Ok(()));
        assert_eq!(validate(&numbered(64)), Ok(()));
        for refused in [
            &numbered(65)[..],
            &[(CommandName::TX, 4_096), (CommandName::INV, 4_096), (CommandName::TX, 4_096)],
            &[(CommandName::from_bytes(*b"a\0b\0\0\0\0\0\0\0\0\0"), 4_096)],
            &[(CommandName::TX, 2_047)],
            &[(CommandName::TX, total + 1)],
        ] {
            assert_eq!(validate(refused).map_err(|error| error.field), Err(Field::MaxBufferedCommandBytes));
        }
    }

    #[test]
    fn the_minimum_rate_may_be_disabled() {
        assert_eq!(Config { min_body_bytes_per_second: 0, ..Config::default() }.validate(), Ok(()));
    }
}
