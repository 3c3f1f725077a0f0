//! What an embedder may choose, with defaults, ranges and what it costs.
//!
//! A [`Config`] is a plain value. It is checked when a loop is built from it or takes it instead of another, and every
//! field that could harm is refused there with a [`ConfigError`] that names it. Nothing in here is read from files or
//! the environment.

mod change;
mod field;
mod manager;

pub use change::{ConfigChange, Effect, UpdateError};
pub use field::Field;
pub use manager::{DialMode, ManagerConfig};

use crate::limits;
use crate::protocol::{CommandName, Network, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use std::fmt;
use std::time::Duration;

/// How a loop behaves.
///
/// ```
/// use peerloop::{Config, Network};
/// use std::time::Duration;
///
/// let config = Config { ping_interval: Duration::from_secs(30), ..Config::new(Network::Regtest) };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The network whose magic every message carries. Default mainnet.
    pub network: Network,
    /// The magic to use instead of the network's own, for private networks. Default none.
    pub magic: Option<[u8; 4]>,
    /// The protocol version we claim. Default 70016; anything else is for testing what a peer does about it.
    pub protocol_version: u32,
    /// The services we claim. Default 0. [`SERVICE_NETWORK`](crate::protocol::SERVICE_NETWORK) is for a handler that
    /// answers `getheaders` and `getdata`: a node without a chain asks one peer that claims it for headers, and waits
    /// for that one. With 0 an SV Node leaves our address out of its `addr` messages, and may refuse us with
    /// `reject(version, 0x40)` where it dials us because another peer told it that we serve the chain.
    pub services: u64,
    /// The user agent we claim, at most 256 bytes. Default `/peerloop:VERSION/`.
    pub user_agent: String,
    /// The chain height we claim. Default 0.
    pub start_height: i32,
    /// Whether peers may announce transactions to us. Default true.
    pub relay: bool,
    /// Whom we talk to.
    pub version_rules: VersionRules,
    /// The most connections at once, both directions, each [`ROW_MAX_BYTES`](limits::ROW_MAX_BYTES) at the most plus
    /// its boxed version and a wheel node of 16 bytes. 1 to 16,777,216; default 100,000.
    pub max_links: usize,
    /// The most accepted connections at once; further ones complete their handshake, get a `reject` and are closed.
    /// Default no limit but [`Config::max_links`].
    pub max_inbound: usize,
    /// Time for a TCP connection. Over zero; default 5 s.
    pub connect_timeout: Duration,
    /// Time for a handshake. Over zero; default 10 s.
    pub handshake_timeout: Duration,
    /// Pause between two pings of a peer; the first comes one interval after the handshake. Default 120 s; zero sends
    /// none.
    pub ping_interval: Duration,
    /// Time for a pong to a ping of ours. Over zero; default 30 s.
    pub pong_timeout: Duration,
    /// Largest payload of `block` and its kin; default 2^63 - 1.
    pub block_max_bytes: u64,
    /// Largest payload of all other messages, which our `protoconf` announces. 1 MiB to 1 GB; default 2 MiB. A loop
    /// that takes a lower one announces it and still takes what it has announced before.
    pub message_max_bytes: u64,
    /// Largest payload that is gathered in memory for a handler; larger ones are discarded and counted unless they are
    /// streamed. 2,048 to [`Config::buffered_total_max_bytes`]; default 2 MiB.
    pub buffered_message_max_bytes: u64,
    /// Commands with a limit of their own in place of [`Config::buffered_message_max_bytes`], smaller or larger, in the
    /// same range. At most 64, each once, in any order; default none.
    pub buffered_command_max_bytes: Vec<(CommandName, u64)>,
    /// Most bytes of payload that are being gathered at any moment, for all peers together. Default 256 MiB.
    pub buffered_total_max_bytes: u64,
    /// Least rate of a payload that is arriving, in bytes per second over 60 s: below it the peer is closed, at it the
    /// payload may take any time. 0 to 1,000,000,000; default 1,024. With 0 it is too slow only when nothing of it has
    /// come for 60 s, so that a drip holds what has arrived for as long as it goes on. The header has 20 s in any case.
    pub body_min_bytes_per_second: u64,
    /// How the loop finds, keeps and refuses peers by itself. Default none: it connects to whom it is told to, and its
    /// only caps are [`Config::max_links`] and [`Config::max_inbound`].
    pub manager: Option<Box<ManagerConfig>>,
    /// Whether an exact wake-up is met by polling through its last millisecond. Default true; without it the loop uses
    /// less CPU and wakes up to a millisecond late, which the load generator's report then shows as its own lag.
    pub spin: bool,
    /// Whether the loop measures what [each peer costs](crate::stats::PeerCost): one more look at the clock for each
    /// link that a turn reads or writes, and [`PEER_COST_BYTES`](limits::PEER_COST_BYTES) for each link. Default false.
    pub measures_peers: bool,
    /// The seed of all randomness. Default none: taken from the operating system.
    pub seed: Option<u64>,
}

impl Config {
    /// The defaults for `network`.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            magic: None,
            protocol_version: PROTOCOL_VERSION,
            services: 0,
            user_agent: concat!("/peerloop:", env!("CARGO_PKG_VERSION"), "/").to_owned(),
            start_height: 0,
            relay: true,
            version_rules: VersionRules::default(),
            max_links: 100_000,
            max_inbound: usize::MAX,
            connect_timeout: limits::CONNECT_TIMEOUT,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            ping_interval: limits::PING_INTERVAL,
            pong_timeout: limits::PONG_TIMEOUT,
            block_max_bytes: limits::BLOCK_PAYLOAD_MAX_BYTES,
            message_max_bytes: limits::PAYLOAD_MAX_BYTES,
            buffered_message_max_bytes: limits::BUFFERED_MESSAGE_MAX_BYTES,
            buffered_command_max_bytes: Vec::new(),
            buffered_total_max_bytes: limits::BUFFERED_TOTAL_MAX_BYTES,
            body_min_bytes_per_second: limits::BODY_MIN_BYTES_PER_SECOND,
            manager: None,
            spin: true,
            measures_peers: false,
            seed: None,
        }
    }

    /// The defaults for `network` with a peer manager.
    pub fn managed(network: Network) -> Self {
        Self { manager: Some(Box::new(ManagerConfig::new(network))), ..Self::new(network) }
    }

    /// The four bytes that begin every message.
    pub fn magic_bytes(&self) -> [u8; 4] {
        self.magic.unwrap_or_else(|| self.network.magic())
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let rule = ConfigError::unless;
        let over_zero = |field, value: Duration| rule(field, !value.is_zero(), "must be longer than zero");
        over_zero(Field::ConnectTimeout, self.connect_timeout)?;
        over_zero(Field::HandshakeTimeout, self.handshake_timeout)?;
        over_zero(Field::PongTimeout, self.pong_timeout)?;
        rule(Field::UserAgent, self.user_agent.len() <= limits::USER_AGENT_MAX_BYTES, "has at most 256 bytes")?;
        rule(Field::MaxLinks, (1..=1 << 24).contains(&self.max_links), "must be 1 to 16,777,216")?;
        rule(
            Field::MessageMaxBytes,
            (limits::LEGACY_PAYLOAD_MAX_BYTES..=1_000_000_000).contains(&self.message_max_bytes),
            "must be 1,048,576 to 1,000,000,000, as the protocol demands of a protoconf",
        )?;
        rule(Field::BlockMaxBytes, self.block_max_bytes > 1_000_000, "must be above 1,000,000")?;
        rule(
            Field::BlockMaxBytes,
            self.block_max_bytes <= limits::BLOCK_PAYLOAD_MAX_BYTES,
            "must be at most 2^63 - 1",
        )?;
        rule(Field::BodyMinBytesPerSecond, self.body_min_bytes_per_second <= 1_000_000_000, "is 0 to 1,000,000,000")?;
        if let Some(manager) = &self.manager {
            manager.validate(self.max_links)?;
        }
        self.validate_buffering()
    }

    fn validate_buffering(&self) -> Result<(), ConfigError> {
        let rule = ConfigError::unless;
        let by_command = &self.buffered_command_max_bytes;
        let (field, least) = (Field::BufferedCommandMaxBytes, limits::HANDSHAKE_PAYLOAD_MAX_BYTES);
        rule(field, by_command.len() <= limits::BUFFERED_COMMANDS_MAX, "has at most 64 entries")?;
        for (index, &(command, max_bytes)) in by_command.iter().enumerate() {
            let is_named_before = by_command[..index].iter().any(|&(named, _)| named == command);
            rule(field, !is_named_before, "must have each command once")?;
            rule(field, command.is_well_formed(), "must have commands of printable ASCII, for no other is delivered")?;
            rule(field, max_bytes >= least, "must be 2,048 or more, which a handshake may need")?;
            let fits = max_bytes <= self.buffered_total_max_bytes;
            let others = &[Field::BufferedTotalMaxBytes];
            ConfigError::unless_compared(field, fits, "must not be above buffered_total_max_bytes", others)?;
        }
        let general = self.buffered_message_max_bytes;
        rule(Field::BufferedMessageMaxBytes, general >= least, "must be 2,048 or more, which a handshake may need")?;
        let (field, others) = (Field::BufferedTotalMaxBytes, &[Field::BufferedMessageMaxBytes]);
        let fits = general <= self.buffered_total_max_bytes;
        ConfigError::unless_compared(field, fits, "must not be below buffered_message_max_bytes", others)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Network::Mainnet)
    }
}

/// Which `version` messages are acceptable.
///
/// User agents are compared without regard to case. A pattern with `*` must match the whole agent, `*` standing for
/// any text; one without is looked for anywhere in it; an empty one names nobody. The lists are read in the order of
/// the fields, so an agent of Bitcoin SV is accepted although it names another chain, too. One that is in none of them
/// is accepted, for no list of good nodes is ever complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRules {
    /// Lowest protocol version. Default 31800.
    pub protocol_version_min: u32,
    /// Agents that are refused whatever they are. Default none.
    pub banned_agents: Vec<String>,
    /// Agents of Bitcoin SV nodes. Default Bitcoin SV, BitcoinSV, bsv/, /bsv, Teranode and peerloop.
    pub bitcoin_sv_agents: Vec<String>,
    /// Agents of other blockchains' nodes. Default satoshi, Bitcoin Core, btc, abc, cash and bch.
    pub other_chain_agents: Vec<String>,
}

impl Default for VersionRules {
    fn default() -> Self {
        let list = |agents: &[&str]| agents.iter().map(|&agent| agent.to_owned()).collect();
        Self {
            protocol_version_min: PROTOCOL_VERSION_MIN,
            banned_agents: Vec::new(),
            bitcoin_sv_agents: list(&["Bitcoin SV", "BitcoinSV", "bsv/", "/bsv", "Teranode", "peerloop"]),
            other_chain_agents: list(&["satoshi", "Bitcoin Core", "btc", "abc", "cash", "bch"]),
        }
    }
}

/// A field of the configuration is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The field.
    pub field: Field,
    /// The range or form that the field must have, as text.
    pub rule: &'static str,
    /// The other fields that the rule compares this one with; usually none. One of them may hold the wrong value.
    pub others: &'static [Field],
}

impl ConfigError {
    /// Refuses `field` unless its rule holds.
    fn unless(field: Field, holds: bool, rule: &'static str) -> Result<(), Self> {
        Self::unless_compared(field, holds, rule, &[])
    }

    /// Refuses `field` unless the rule holds that compares it with `others`.
    fn unless_compared(field: Field, holds: bool, rule: &'static str, others: &'static [Field]) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { field, rule, others }) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration: {} {}", self.field, self.rule)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_on_every_network() {
        for network in Network::ALL {
            assert_eq!(Config::new(network).validate(), Ok(()));
        }
    }

    #[test]
    fn each_harmful_value_is_refused_by_name() {
        let good = Config::default;
        for (field, config) in [
            (Field::ConnectTimeout, Config { connect_timeout: Duration::ZERO, ..good() }),
            (Field::HandshakeTimeout, Config { handshake_timeout: Duration::ZERO, ..good() }),
            (Field::PongTimeout, Config { pong_timeout: Duration::ZERO, ..good() }),
            (Field::UserAgent, Config { user_agent: "x".repeat(257), ..good() }),
            (Field::MaxLinks, Config { max_links: 0, ..good() }),
            (Field::MaxLinks, Config { max_links: (1 << 24) + 1, ..good() }),
            (Field::MessageMaxBytes, Config { message_max_bytes: 1_048_575, ..good() }),
            (Field::MessageMaxBytes, Config { message_max_bytes: 1_000_000_001, ..good() }),
            (Field::BlockMaxBytes, Config { block_max_bytes: 1_000_000, ..good() }),
            (Field::BlockMaxBytes, Config { block_max_bytes: 1 << 63, ..good() }),
            (Field::BufferedMessageMaxBytes, Config { buffered_message_max_bytes: 2_047, ..good() }),
            (Field::BufferedTotalMaxBytes, Config { buffered_total_max_bytes: 1, ..good() }),
            (Field::BodyMinBytesPerSecond, Config { body_min_bytes_per_second: 1_000_000_001, ..good() }),
        ] {
            assert_eq!(config.validate().map_err(|error| error.field), Err(field));
        }
    }

    #[test]
    fn a_rule_that_compares_two_fields_lists_the_other_one() {
        use Field::{
            BackoffMax, BufferedCommandMaxBytes, BufferedMessageMaxBytes, BufferedTotalMaxBytes, FixedNames,
            InitialBackoff, MaxLinks, MaxPeers, Mode, TargetPeers,
        };
        let good = || Config::managed(Network::Regtest);
        let managed = |change: fn(&mut ManagerConfig)| {
            let mut config = good();
            change(config.manager.as_mut().expect("it is managed"));
            config
        };
        let total = limits::BUFFERED_TOTAL_MAX_BYTES;
        for (field, others, config) in [
            (MaxPeers, &[MaxLinks][..], Config { max_links: 7, ..good() }),
            (TargetPeers, &[MaxPeers], managed(|manager| manager.max_peers = 7)),
            (BackoffMax, &[InitialBackoff], managed(|manager| manager.backoff_max = Duration::from_secs(4))),
            (Mode, &[FixedNames], managed(|manager| manager.mode = DialMode::Fixed(Vec::new()))),
            (BufferedTotalMaxBytes, &[BufferedMessageMaxBytes], Config { buffered_total_max_bytes: 2_048, ..good() }),
            (
                BufferedCommandMaxBytes,
                &[BufferedTotalMaxBytes],
                Config { buffered_command_max_bytes: vec![(CommandName::TX, total + 1)], ..good() },
            ),
            (Field::PongTimeout, &[], Config { pong_timeout: Duration::ZERO, ..good() }),
        ] {
            let refused = config.validate().expect_err("it is wrong");
            assert_eq!((refused.field, refused.others), (field, others));
            // A field that the text names is one that code finds in the list.
            let named = refused.rule.split(' ').filter_map(|word| Field::ALL.iter().find(|field| field.name() == word));
            assert!(named.clone().all(|named| others.contains(named)), "{refused}");
            assert_eq!(refused.to_string(), format!("configuration: {field} {}", refused.rule));
        }
    }

    #[test]
    fn limits_of_single_commands_are_few_unambiguous_and_within_the_total() {
        let validate = |by_command: &[(CommandName, u64)]| {
            Config { buffered_command_max_bytes: by_command.to_vec(), ..Config::default() }.validate()
        };
        let total = limits::BUFFERED_TOTAL_MAX_BYTES;
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
            assert_eq!(validate(refused).map_err(|error| error.field), Err(Field::BufferedCommandMaxBytes));
        }
    }

    #[test]
    fn the_least_rate_may_be_switched_off() {
        assert_eq!(Config { body_min_bytes_per_second: 0, ..Config::default() }.validate(), Ok(()));
    }
}
