//! The changes that a new configuration would make, field by field, with the effect of each.
//!
//! [`Config::changes_to`] validates the new configuration, compares every field and reports the effect of each
//! change. It changes nothing itself: [`Handle::update_config`](crate::Handle::update_config) applies a new
//! configuration to a loop and returns this list. A configuration that changes a fixed field is rejected, and the
//! error names all such fields at once.

use super::table::Difference;
use super::{Config, ConfigError, Effect, Field};
use std::fmt;

/// One field that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigChange {
    /// The field.
    pub field: Field,
    /// Its old value as text; a list of more than eight elements is truncated.
    pub old: String,
    /// Its new value as text; a list of more than eight elements is truncated.
    pub new: String,
    /// When the new value applies, such as at once or for new connections.
    pub effect: Effect,
}

/// The error for a configuration that a running loop cannot apply. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateError {
    /// The configuration is invalid.
    Invalid(ConfigError),
    /// The configuration changes fields that are fixed for the lifetime of a loop.
    Fixed {
        /// All such fields.
        fields: Vec<Field>,
    },
}

impl Config {
    /// Lists the fields in which `new` differs from this configuration, with each change's effect on a running loop.
    /// The list is empty if the two are equal.
    ///
    /// ```
    /// use peerloop::{Config, Network};
    ///
    /// let old = Config::new(Network::Regtest);
    /// let new = old.clone().with_relay(false);
    /// assert_eq!(old.magic_bytes(), new.magic_bytes());
    /// for change in old.changes_to(&new)? {
    ///     println!("{change}"); // relay from true to false, for the next handshakes
    /// }
    /// # Ok::<(), peerloop::config::UpdateError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UpdateError::Invalid`] if `new` is invalid, [`UpdateError::Fixed`] if it changes a fixed field: `network`,
    /// `magic`, `answer_pings`, `reuse_port`, `seed`, or the presence of a `manager`.
    pub fn changes_to(&self, new: &Self) -> Result<Vec<ConfigChange>, UpdateError> {
        new.validate().map_err(UpdateError::Invalid)?;
        let (mut changes, mut fields) = (Vec::new(), Vec::new());
        self.compare(new, &mut |difference| match difference {
            Difference::Fixed(field) => fields.push(field),
            Difference::Value { field, effect, old, new } => {
                changes.push(ConfigChange { field, old: old.text(), new: new.text(), effect });
            }
        });
        if fields.is_empty() { Ok(changes) } else { Err(UpdateError::Fixed { fields }) }
    }
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}, {}", self.field, self.old, self.new, self.effect)
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Fixed { fields } => {
                let fields = Field::names(fields);
                write!(f, "configuration: a running loop cannot change {fields}; start a new loop instead")
            }
        }
    }
}

impl std::error::Error for UpdateError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DialMode, ManagerConfig, Multistreams};
    use crate::protocol::{CommandName, Network};
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// A field, the effect of changing it, and a function that changes only this field.
    type Case = (Field, Effect, fn(&mut Config));

    const CASES: [Case; 24] = [
        (Field::Multistreams, Effect::NextHandshakes, |config| config.multistreams = Multistreams::Open),
        (Field::ProtocolVersion, Effect::NextHandshakes, |config| config.protocol_version = 70_015),
        (Field::Services, Effect::NextHandshakes, |config| config.services = 1),
        (Field::UserAgent, Effect::NextHandshakes, |config| config.user_agent = "/else:1/".to_owned()),
        (Field::StartHeight, Effect::NextHandshakes, |config| config.start_height = 7),
        (Field::Relay, Effect::NextHandshakes, |config| config.relay = false),
        (Field::MinProtocolVersion, Effect::NextHandshakes, |config| config.version_rules.min_protocol_version += 1),
        (Field::BannedAgents, Effect::NextHandshakes, |config| config.version_rules.banned_agents.push("x".to_owned())),
        (Field::BitcoinSvAgents, Effect::NextHandshakes, |config| config.version_rules.bitcoin_sv_agents.clear()),
        (Field::OtherChainAgents, Effect::NextHandshakes, |config| config.version_rules.other_chain_agents.clear()),
        (Field::MaxLinks, Effect::NewConnections, |config| config.max_links -= 1),
        (Field::MaxInbound, Effect::NewConnections, |config| config.max_inbound = 7),
        (Field::ConnectTimeout, Effect::Now, |config| config.connect_timeout += Duration::from_nanos(1)),
        (Field::HandshakeTimeout, Effect::Now, |config| config.handshake_timeout += Duration::from_nanos(1)),
        (Field::PingInterval, Effect::Now, |config| config.ping_interval = Duration::ZERO),
        (Field::PongTimeout, Effect::Now, |config| config.pong_timeout += Duration::from_nanos(1)),
        (Field::MaxBlockBytes, Effect::NextMessages, |config| config.max_block_bytes -= 1),
        (Field::MaxMessageBytes, Effect::NextHandshakes, |config| config.max_message_bytes += 1),
        (Field::MaxBufferedMessageBytes, Effect::NextMessages, |config| config.max_buffered_message_bytes -= 1),
        (Field::MaxBufferedCommandBytes, Effect::NextMessages, |config| {
            config.max_buffered_command_bytes.push((CommandName::TX, 4_096));
        }),
        (Field::MaxBufferedTotalBytes, Effect::Now, |config| config.max_buffered_total_bytes += 1),
        (Field::MinBodyBytesPerSecond, Effect::Now, |config| config.min_body_bytes_per_second = 0),
        (Field::Spin, Effect::Now, |config| config.spin = false),
        (Field::MeasurePeers, Effect::Now, |config| config.measure_peers = true),
    ];

    /// A field of [`ManagerConfig`], the effect of changing it, and a function that changes only this field.
    type ManagerCase = (Field, Effect, fn(&mut ManagerConfig));

    const MANAGER_CASES: [ManagerCase; 21] = [
        (Field::Mode, Effect::NextDials, |manager| manager.mode = DialMode::Fixed(vec![([192, 0, 2, 1], 1).into()])),
        (Field::FixedNames, Effect::NextDials, |manager| manager.fixed_names.push("node.example".to_owned())),
        (Field::TargetPeers, Effect::NextDials, |manager| manager.target_peers += 1),
        (Field::MaxPeers, Effect::NewConnections, |manager| manager.max_peers += 1),
        (Field::Listen, Effect::Listeners, |manager| manager.listen.push(([127, 0, 0, 1], 0).into())),
        (Field::DnsSeeds, Effect::NextDials, |manager| manager.dns_seeds.push("seed.example".to_owned())),
        (Field::DefaultPort, Effect::NextDials, |manager| manager.default_port += 1),
        (Field::MaxRestarts, Effect::NextDials, |manager| manager.max_restarts += 1),
        (Field::RestartWindow, Effect::NextDials, |manager| manager.restart_window *= 2),
        (Field::InitialBackoff, Effect::NextDials, |manager| manager.initial_backoff *= 2),
        (Field::BackoffMultiplier, Effect::NextDials, |manager| manager.backoff_multiplier *= 1.5),
        (Field::MaxBackoff, Effect::NextDials, |manager| manager.max_backoff *= 2),
        (Field::MaxRetries, Effect::NextDials, |manager| manager.max_retries += 1),
        (Field::MaxPerHost, Effect::NewConnections, |manager| manager.max_per_host += 1),
        (Field::MaxPerGroupPercent, Effect::NewConnections, |manager| manager.max_per_group_percent -= 1),
        (Field::AcceptsPerHostPerSecond, Effect::NewConnections, |manager| manager.accepts_per_host_per_second += 1),
        (Field::EvictInbound, Effect::NewConnections, |manager| manager.evict_inbound = true),
        (Field::BanScore, Effect::NextBans, |manager| manager.ban_score += 1),
        (Field::BanDuration, Effect::NextBans, |manager| manager.ban_duration *= 2),
        (Field::Trusted, Effect::Now, |manager| manager.trusted.push(([127, 0, 0, 0].into(), 8))),
        (Field::LearnAddresses, Effect::Now, |manager| manager.learn_addresses = false),
    ];

    fn config() -> Config {
        Config::managed(Network::Regtest)
    }

    fn manager_of(config: &mut Config) -> &mut ManagerConfig {
        config.manager.as_mut().expect("the configuration has a manager")
    }

    /// Returns the names of all fields, as the debug output lists them.
    fn field_names() -> BTreeSet<String> {
        let text = format!("{:#?}", config());
        let names = text.lines().filter_map(|line| line.trim_start().split_once(": "));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    #[track_caller]
    fn assert_only_change(new: &Config, field: Field, effect: Effect) {
        let changes = config().changes_to(new).expect("the change is allowed");
        let [change] = &changes[..] else { panic!("{field}: {changes:?}") };
        assert_eq!((change.field, change.effect), (field, effect));
        assert_ne!(change.old, change.new);
        let back = new.changes_to(&config()).expect("the reverse change is allowed");
        assert_eq!((&back[0].old, &back[0].new), (&change.new, &change.old));
    }

    #[test]
    fn req_e45_each_changed_field_is_reported_alone_with_its_effect() {
        for (field, effect, change) in CASES {
            let mut new = config();
            change(&mut new);
            assert_only_change(&new, field, effect);
        }
        for (field, effect, change) in MANAGER_CASES {
            let mut new = config();
            change(manager_of(&mut new));
            assert_only_change(&new, field, effect);
        }
        assert_eq!(config().changes_to(&config()), Ok(Vec::new()));
    }

    #[test]
    fn every_field_is_tested_and_has_a_unique_name() {
        let listed = CASES.iter().map(|(field, ..)| *field);
        let of_manager = MANAGER_CASES.iter().map(|(field, ..)| *field);
        let fixed = [Field::Network, Field::Magic, Field::AnswerPings, Field::ReusePort, Field::Seed];
        let nested = [Field::VersionRules, Field::Manager];
        let mut names = BTreeSet::new();
        for field in listed.chain(of_manager).chain(fixed).chain(nested) {
            assert!(names.insert(field.to_string()), "{field} is listed twice");
        }
        assert_eq!(field_names(), names);
        let all: Vec<String> = Field::ALL.iter().map(ToString::to_string).collect();
        assert_eq!((all.len(), BTreeSet::from_iter(all)), (names.len(), names));
    }

    #[test]
    fn all_changed_fixed_fields_are_named_at_once() {
        let new = Config {
            network: Network::Mainnet,
            magic: Some([1; 4]),
            seed: Some(1),
            manager: None,
            answer_pings: false,
            reuse_port: true,
            ping_interval: Duration::ZERO,
            ..config()
        };
        let refused = config().changes_to(&new).unwrap_err();
        assert_eq!(
            refused,
            UpdateError::Fixed {
                fields: vec![
                    Field::Network,
                    Field::Magic,
                    Field::AnswerPings,
                    Field::Manager,
                    Field::ReusePort,
                    Field::Seed
                ]
            }
        );
        assert!(refused.to_string().contains("network, magic, answer_pings, manager, reuse_port, seed"), "{refused}");
        let unmanaged = Config { manager: None, ..config() };
        assert_eq!(unmanaged.changes_to(&config()), Err(UpdateError::Fixed { fields: vec![Field::Manager] }));
    }

    #[test]
    fn an_invalid_configuration_is_rejected_before_any_comparison() {
        let new = Config { pong_timeout: Duration::ZERO, network: Network::Mainnet, ..config() };
        let refused = config().changes_to(&new).unwrap_err();
        assert!(matches!(refused, UpdateError::Invalid(ConfigError { field: Field::PongTimeout, .. })), "{refused:?}");
        let mut new = config();
        manager_of(&mut new).target_peers = 21;
        let refused = config().changes_to(&new).unwrap_err();
        assert!(matches!(refused, UpdateError::Invalid(ConfigError { field: Field::TargetPeers, .. })), "{refused:?}");
    }

    #[test]
    fn the_text_of_a_long_list_is_truncated() {
        let mut new = config();
        let peers = (1..=100_000_u32).map(|at| (at.to_be_bytes(), 8_333).into()).collect();
        manager_of(&mut new).mode = DialMode::Fixed(peers);
        let changes = config().changes_to(&new).unwrap();
        assert_eq!(changes[0].old, "normal");
        assert!(changes[0].new.starts_with("fixed [0.0.0.1:8333, 0.0.0.2:8333, "), "{}", changes[0].new);
        assert!(changes[0].new.ends_with(", and 99992 more]") && changes[0].new.len() < 200, "{}", changes[0].new);
    }

    #[test]
    fn a_change_is_displayed_with_its_field_its_values_and_its_effect() {
        let new = Config { ping_interval: Duration::from_secs(30), ..config() };
        let changes = config().changes_to(&new).unwrap();
        assert_eq!(changes[0].to_string(), "ping_interval from 120s to 30s, at once");
    }
}
